/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_v1.h"

/*
 * A conversation, one letter a frame: capital letters are the primary's.
 *
 *	H hello  C config  S static  R copy round  P pages  1 2 3 state of a kind  E epoch end
 *	B bye  K keepalive
 *	h hello_ok  r refuse  a ack  t takeover  b bye_ok  k keepalive
 *	+ the frames that follow belong to one more epoch than the last E (or a) said
 */
static const struct {
	char letter;
	enum frame_type type;
} letters[] = {
	{'H', FRAME_HELLO},    {'C', FRAME_CONFIG},    {'S', FRAME_STATIC}, {'R', FRAME_COPY_ROUND},
	{'P', FRAME_PAGES},    {'1', FRAME_STATE},     {'2', FRAME_STATE},  {'3', FRAME_STATE},
	{'4', FRAME_STATE},    {'E', FRAME_EPOCH_END}, {'B', FRAME_BYE},    {'K', FRAME_KEEPALIVE},
	{'h', FRAME_HELLO_OK}, {'r', FRAME_REFUSE},    {'a', FRAME_ACK},    {'t', FRAME_TAKEOVER},
	{'b', FRAME_BYE_OK},   {'k', FRAME_KEEPALIVE},
};

/* How many frames passed before one did not; all of them if none. */
static size_t run(const char *talk, struct err *e)
{
	struct wire_order o = {.phase = 0};
	uint64_t epoch = 0;
	uint64_t ack = 0;
	size_t n = 0;

	for (const char *p = talk; *p; p++) {
		uint8_t payload[2] = {0, 0};
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
		f.h.epoch = *p == 'a' ? ack : epoch;
		if (f.h.type == FRAME_STATE) {
			f.h.length = 2;
			payload[0] = (uint8_t)(*p - '0');
		}
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
	};

	for (size_t i = 0; i < ARRAY_SIZE(talks); i++) {
		struct err e = ERR_INIT;

		if (run(talks[i], &e) != strlen(talks[i]))
			fail_msg("%s: %s", talks[i], e.text);
	}
}

/* The last frame is the one that must not come. */
static const char *const bad_talks[] = {
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
	struct wire_order o = {.phase = 4, .next_epoch = 5, .next_ack = 2};
	struct frame f = {.h = {.type = FRAME_ACK, .epoch = 3}};
	struct err e = ERR_INIT;

	assert_int_equal(wire_order_check(&o, FRAME_BACKUP, &f, &e), -EPROTO);
	assert_non_null(strstr(e.text, "epoch 3 (due: 2)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(bad),
		cmocka_unit_test(ack_of_another_epoch),
	};

	return RUN_TESTS("wire_order", tests);
}
