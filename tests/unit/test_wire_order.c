/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_disk.h"

/*
 * A conversation, one letter a frame: capital letters are the primary's.
 *
 *	H hello  C config  S static  R copy round  P pages  1 2 3 state of a kind  E epoch end
 *	B bye  K keepalive
 *	h hello_ok  r refuse  a ack  t takeover  b bye_ok  k keepalive
 *	D disks (two)  d disks_ok  n disks_ok that announces a want  X hash  x want  F G data  I J end, of
 *	disk 0 and 1  L data of a third  V verify  v verified  p progress (the newest ended epoch)
 *	q progress (the next)  W drill  w drill_says  O handover (the newest acknowledged)  Q handover (the next)
 *	+ the frames that follow belong to one more epoch than the last E (or a) said
 */
static const struct {
	char letter;
	enum frame_type type;
} letters[] = {
	{'H', FRAME_HELLO},	    {'C', FRAME_CONFIG},	{'S', FRAME_STATIC},
	{'R', FRAME_COPY_ROUND},    {'P', FRAME_PAGES},		{'1', FRAME_STATE},
	{'2', FRAME_STATE},	    {'3', FRAME_STATE},		{'4', FRAME_STATE},
	{'E', FRAME_EPOCH_END},	    {'B', FRAME_BYE},		{'K', FRAME_KEEPALIVE},
	{'h', FRAME_HELLO_OK},	    {'r', FRAME_REFUSE},	{'a', FRAME_ACK},
	{'t', FRAME_TAKEOVER},	    {'b', FRAME_BYE_OK},	{'k', FRAME_KEEPALIVE},
	{'D', FRAME_DISKS},	    {'d', FRAME_DISKS_OK},	{'n', FRAME_DISKS_OK},
	{'X', FRAME_DISK_HASH},	    {'x', FRAME_DISK_WANT},	{'F', FRAME_DISK_DATA},
	{'G', FRAME_DISK_DATA},	    {'L', FRAME_DISK_DATA},	{'I', FRAME_DISK_END},
	{'J', FRAME_DISK_END},	    {'V', FRAME_DISK_VERIFY},	{'v', FRAME_DISK_VERIFIED},
	{'p', FRAME_DISK_PROGRESS}, {'q', FRAME_DISK_PROGRESS}, {'O', FRAME_HANDOVER},
	{'Q', FRAME_HANDOVER},	    {'A', FRAME_ASK_FACTS},	{'f', FRAME_FACTS},
	{'Q', FRAME_HANDOVER},	    {'W', FRAME_DRILL},		{'w', FRAME_DRILL_SAYS},
};

/* What wire_order_check() looks at; the rest is zeroes. */
static uint32_t fill(char letter, uint64_t epoch, uint8_t payload[112])
{
	struct wr w = wr_init(payload, 112);

	memset(payload, 0, 112);
	if (letter >= '1' && letter <= '4')
		wr_u16(&w, (uint16_t)(letter - '0'));
	else if (letter == 'D' || letter == 'd' || letter == 'n')
		wr_u16(&w, 2);
	else
		wr_u16(&w, letter == 'G' || letter == 'J' ? 1 : letter == 'L' ? 2 : 0);
	wr_zero(&w, 6);
	if (letter == 'n') {
		wr_zero(&w, 4);
		wr_u32(&w, 1);
	}
	if (letter == 'p' || letter == 'q')
		wr_u64(&w, letter == 'p' ? epoch - 1 : epoch);
	return letter == 'D' || letter == 'd' || letter == 'n' ? 104 : 32;
}

/* How many frames passed before one did not; all of them if none. */
static size_t run(const char *talk, struct err *e)
{
	struct wire_order o = {.phase = 0};
	uint64_t epoch = 0;
	uint64_t ack = 0;
	size_t n = 0;

	for (const char *p = talk; *p; p++) {
		uint8_t payload[112];
		struct frame f = {.payload = payload};
		bool primary = *p < 'a';
		size_t i = 0;

		if (*p == '+') {
			epoch++;
			continue;
		}
		while (letters[i].letter != *p)
			i++;
		f.h.type = (uint16_t)letters[i].type;
		f.h.epoch = *p == 'a' || *p == 'Q' ? ack : *p == 'O' ? ack - 1 : epoch;
		if (*p == 'v')
			f.h.epoch = epoch - 1;
		f.h.length = fill(*p, epoch, payload);
		if (wire_order_check(&o, primary ? FRAME_PRIMARY : FRAME_BACKUP, &f, e) < 0)
			return n;
		ack += *p == 'a';
		epoch += *p == 'E';
		n++;
	}
	return n;
}

static void good(void **state)
{
	static const char *const talks[] = {
		"",
		"r",
		"Hr",
		"HKkr",
		"HhB",
		"HhBb",
		"HhCSRPPRP123E",
		"HhCSP321EPPP1E1E",
		"HhCS123EaP1EaP1EP1Eaa",
		"HhCSRP123EaPP1EaBb",
		"HhCSRP123EaPPBb",
		"HhCSRP123EP1EBaab",
		"HhCSRP123EatP1EB",
		"HhCSRP123EarPPP",
		"HhCr",
		"HhCSRKPkK123KE",
		/* disks */
		"HhCSDr",
		"HhCSDBb",
		"HhCSDKkdFGP123FIJE",
		"HhCSDdIJ123E",
		"HhCSDdI1J23EaFGJVI1Ea",
		"HhCSDnxI123JE",
		"HhCSDnXXxxFxGIJ123EapP",
		"HhCSDdpP",
		"HhCSDdIJ123EaVVFIJ1EvpavP1IJE",
		"HhCSDdIJ123EaFBb",
		"HhCSDdIJ123EaFOtK",
		"HhCS123EaOKkt",
		"HhCS123EP1EaOat",
		/* in place of a session */
		"Af",
		"AKkf",
		"Ar",
		/* drills */
		"HhCS123EWwaPW1EwaB",
		"HhCS123EWWWWwWa",
		"HhCSDdIJ123EaFWGwIJ1Ea",
		"HhCS123EWaBwb",
	};

	for (size_t i = 0; i < ARRAY_SIZE(talks); i++) {
		struct err e = ERR_INIT;

		if (run(talks[i], &e) != strlen(talks[i]))
			fail_msg("%s: %s", talks[i], e.text);
	}
}

/* The last frame is the one that must not come. */
static const char *const bad_talks[] = {
	"HW",
	"HhCSW",
	"HhCSRPW",
	"HhCS123Ew",
	"HhCS123EWww",
	"HhCS123EWWWWW",
	"HhCS123EBW",
	"HhCS123EaOW",
	"K",
	"k",
	"C",
	"S",
	"P",
	"h",
	"a",
	"t",
	"b",
	"B",
	"HH",
	"HC",
	"HP",
	"HB",
	"Ha",
	"Ht",
	"Hb",
	"HhH",
	"Hhh",
	"Hha",
	"Hht",
	"Hhb",
	"HhP",
	"HhR",
	"Hh1",
	"HhE",
	"HhCC",
	"HhS",
	"HhCSS",
	"HhCP",
	"HhCSPC",
	"HhCSPS",
	"HhCS+P",
	"HhCSPE",
	"HhCSP12E",
	"HhCSP11",
	"HhCSP1P",
	"HhCSP1R",
	"HhCSP4",
	"HhCSP123ER",
	"HhCSP123EPE",
	"HhCSP123E1P",
	"HhCSP123E11",
	"HhCSP123E+P",
	"HhCSP123EP1E+E",
	"HhCSP123EPE",
	"HhCSP123Et",
	"HhCSP123Eaa",
	"HhCSP123EP1Eaaa",
	"HhCSPBB",
	"HhCSPBP",
	"HhCSPBE",
	"HhBC",
	"HhBS",
	"HhCSP123Eb",
	"rr",
	"rh",
	"Hrh",
	"HrHk",
	"HhCSP123Eata",
	"HhCSP123Eatt",
	"HhCSP123Eatk",
	"HhBbb",
	"HhBbr",
	"HhBbk",
	/* in place of a session */
	"f",
	"AA",
	"AH",
	"AC",
	"AP",
	"AB",
	"AO",
	"A1",
	"AE",
	"AD",
	"AX",
	"AI",
	"Ah",
	"Aa",
	"At",
	"Ab",
	"Ad",
	"Ap",
	"Aff",
	"Afr",
	"Afk",
	"Arf",
	"HA",
	"Hf",
	"HhA",
	"HhCSPA",
	"HhCSP123Ef",
	/* disks */
	"HD",
	"HhD",
	"HhCD",
	"HhCSDD",
	"HhCSPD",
	"HhCSd",
	"HhCSDP",
	"HhCSDF",
	"HhCSDX",
	"HhCSDx",
	"HhCSDp",
	"HhCSDdd",
	"HhCSF",
	"HhCSI",
	"HhCSX",
	"HhCSp",
	"HhCSDdL",
	"HhCSDdx",
	"HhCSDnxx",
	"HhCSDdXxx",
	"HhCSDnI",
	"HhCSDdXI",
	"HhCSDdIX",
	"HhCSDdII",
	"HhCSDdIF",
	"HhCSDd123E",
	"HhCSDdI123E",
	"HhCSDdIJE",
	"HhCSDdIJ123E1E",
	"HhCSDdIJ123EI1E",
	"HhCSDd+F",
	"HhCSDdIJ123E+F",
	"HhCSDdV",
	"HhCSDdv",
	"HhCSDdIJ123EVIV",
	"HhCSDdIJ123EVIJ1Evv",
	"HhCSDdq",
	"HhCSDdIJ123Eq",
	"HhCSDdBF",
	"HhCSDdBX",
	"HO",
	"HhQ",
	"HhCSQ",
	"HhCS123EQ",
	"HhCS123EaQ",
	"HhCS123EaOO",
	"HhCS123EaOB",
	"HhCS123EaBO",
	"HhCS123EaOP",
	"HhCS123EaO1",
	"HhCS123EaOb",
	"HhCSDdIJ123EaOF",
};

static void bad(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_talks); i++) {
		struct err e = ERR_INIT;
		size_t frames = 0;

		for (const char *p = bad_talks[i]; *p; p++)
			frames += *p != '+';
		if (strcmp(bad_talks[i], "HrHk") == 0)
			frames = 3;
		if (run(bad_talks[i], &e) != frames - 1)
			fail_msg("%s: passed", bad_talks[i]);
		assert_int_equal(e.rc, -EPROTO);
		assert_true(strlen(e.text) > 20);
	}
}

/* A jump of the acknowledged epoch. */
static void ack_of_another_epoch(void **state)
{
	struct wire_order o = {.phase = 5, .next_epoch = 5, .next_ack = 2};
	struct frame f = {.h = {.type = FRAME_ACK, .epoch = 3}};
	struct err e = ERR_INIT;

	assert_int_equal(wire_order_check(&o, FRAME_BACKUP, &f, &e), -EPROTO);
	assert_non_null(strstr(e.text, "epoch 3 (due: 2)"));
}

/* P6: what waits for an answer is bounded. */
static void unanswered_is_bounded(void **state)
{
	static const struct {
		const char *start;
		char ask;
	} cases[] = {{"HhCSDd", 'X'}, {"HhCSDdIJ123Ea", 'V'}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].start);
		struct err e = ERR_INIT;
		char talk[128];

		memcpy(talk, cases[i].start, len);
		memset(talk + len, cases[i].ask, WIRE_MAX_UNANSWERED + 1);
		talk[len + WIRE_MAX_UNANSWERED + 1] = '\0';
		assert_int_equal(run(talk, &e), len + WIRE_MAX_UNANSWERED);
	}
}

/* As many as it was asked about, and no more DISK_WANT than there may be. */
static void disks_ok_is_looked_into(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct wire_order o = {.phase = 3, .n_disks = 1};
		uint8_t payload[56] = {1};
		struct frame f = {.h = {.type = FRAME_DISKS_OK, .length = 56}, .payload = payload};
		struct err e = ERR_INIT;

		payload[0] = i == 1 ? 2 : 1;
		payload[14] = i == 2;
		assert_int_equal(wire_order_check(&o, FRAME_BACKUP, &f, &e), i ? -EPROTO : 0);
		assert_true(!i || strstr(e.text, "due: DISKS_OK"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(bad),
		cmocka_unit_test(ack_of_another_epoch),
		cmocka_unit_test(unanswered_is_bounded),
		cmocka_unit_test(disks_ok_is_looked_into),
	};

	return RUN_TESTS("wire_order", tests);
}
