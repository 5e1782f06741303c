/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/frame.h"

static const uint8_t payload[8] = {1, 0, 0, 0, 0, 0, 0, 0};

static struct frame_header ack(void)
{
	struct frame_header h = frame_make(FRAME_ACK, 5, payload, sizeof(payload));

	h.seq = 3;
	return h;
}

static void round_trip(void **state)
{
	uint8_t buf[FRAME_HEADER_SIZE];
	uint8_t again[FRAME_HEADER_SIZE];
	struct frame_header h = ack();
	struct frame_header got;
	uint64_t last = 2;

	frame_encode(buf, &h);
	assert_int_equal(frame_decode(buf, FRAME_BACKUP, &got, NULL), 0);
	frame_encode(again, &got);
	assert_memory_equal(again, buf, sizeof(buf));
	assert_int_equal(frame_check_seq(&got, &last, NULL), 0);
	assert_int_equal(last, 3);
	assert_int_equal(frame_check_payload(&got, payload, NULL), 0);
}

/* The header as it is sent, for reading docs/protocol.md against it. */
static void layout(void **state)
{
	uint8_t buf[FRAME_HEADER_SIZE];
	struct frame_header h = ack();

	frame_encode(buf, &h);
	assert_memory_equal(buf, "RMLS\1\0\12\0\1\0\0\0\10\0\0\0\3\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0",
			    32);
}

static void every_bit_counts(void **state)
{
	uint8_t buf[FRAME_HEADER_SIZE];
	struct frame_header h = ack();
	struct frame_header got;

	frame_encode(buf, &h);
	for (unsigned int bit = 0; bit < 8 * sizeof(buf); bit++) {
		struct err e = ERR_INIT;

		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(frame_decode(buf, FRAME_BACKUP, &got, &e), 0);
		assert_true(e.text[0]);
		assert_true(e.rc == -EPROTO || e.rc == -EBADMSG || e.rc == -EMSGSIZE);
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Headers whose checksum is right and whose content is not. */
static void bad_headers(void **state)
{
	static const struct {
		uint16_t version, type;
		uint32_t flags, length;
		uint64_t epoch;
		enum frame_side from;
		int rc;
		const char *text;
	} t[] = {
		{1, FRAME_ACK, 1, 8, 5, FRAME_BACKUP, 0, ""},
		{1, FRAME_ACK, 1, 8, 5, FRAME_PRIMARY, -EPROTO, "not its to send"},
		{1, FRAME_ACK, 0, 8, 5, FRAME_BACKUP, -EPROTO, "flags"},
		{1, FRAME_ACK, 3, 8, 5, FRAME_BACKUP, -EPROTO, "flags"},
		{1, FRAME_ACK, 1, 7, 5, FRAME_BACKUP, -EMSGSIZE, "7 bytes"},
		{1, FRAME_ACK, 1, 9, 5, FRAME_BACKUP, -EMSGSIZE, "9 bytes"},
		{1, FRAME_ACK, 1, UINT32_MAX, 5, FRAME_BACKUP, -EMSGSIZE, "limit"},
		{1, FRAME_ACK, 1, 8, FRAME_NO_EPOCH, FRAME_BACKUP, -EPROTO, "lacks"},
		{1, FRAME_BYE_OK, 1, 8, 5, FRAME_BACKUP, -EPROTO, "carries"},
		{2, FRAME_ACK, 1, 8, 5, FRAME_BACKUP, -EPROTO, "version 2"},
		{0, FRAME_ACK, 1, 8, 5, FRAME_BACKUP, -EPROTO, "version 0"},
		{9, FRAME_HELLO, 1, 300, FRAME_NO_EPOCH, FRAME_PRIMARY, 0, ""},
		{9, FRAME_REFUSE, 1, 300, FRAME_NO_EPOCH, FRAME_BACKUP, 0, ""},
		{1, FRAME_PAGES, 1, 1088 * 1024, 0, FRAME_PRIMARY, 0, ""},
		{1, FRAME_PAGES, 1, 1088 * 1024 + 1, 0, FRAME_PRIMARY, -EMSGSIZE, "limit"},
		{1, 99, 1, 8, 5, FRAME_BACKUP, -EPROTO, "unknown"},
		{1, 99, 0, 8, 5, FRAME_BACKUP, 0, ""},
		{1, 0, 1, 8, 5, FRAME_BACKUP, -EPROTO, "unknown"},
		{1, UINT16_MAX, 0, FRAME_MAX_PAYLOAD, 5, FRAME_PRIMARY, 0, ""},
		{1, UINT16_MAX, 0, FRAME_MAX_PAYLOAD + 1, 5, FRAME_PRIMARY, -EMSGSIZE, "limit"},
		{1, FRAME_KEEPALIVE, 0, 0, FRAME_NO_EPOCH, FRAME_PRIMARY, 0, ""},
		{1, FRAME_KEEPALIVE, 0, 0, FRAME_NO_EPOCH, FRAME_BACKUP, 0, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct frame_header h = {.version = t[i].version,
					 .type = t[i].type,
					 .flags = t[i].flags,
					 .length = t[i].length,
					 .seq = 1,
					 .epoch = t[i].epoch};
		uint8_t buf[FRAME_HEADER_SIZE];
		struct frame_header got;
		struct err e = ERR_INIT;

		frame_encode(buf, &h);
		if (frame_decode(buf, t[i].from, &got, &e) != t[i].rc || !strstr(e.text, t[i].text))
			fail_msg("row %zu: %d \"%s\"", i, e.rc, e.text);
	}
}

static void sequence(void **state)
{
	static const uint64_t bad[] = {0, 1, 2, 4, UINT64_MAX};
	struct frame_header h = ack();
	uint64_t last = 2;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		h.seq = bad[i];
		assert_int_equal(frame_check_seq(&h, &last, NULL), -EPROTO);
		assert_int_equal(last, 2);
	}
}

static void damaged_payload(void **state)
{
	struct frame_header h = ack();
	uint8_t copy[sizeof(payload)];

	memcpy(copy, payload, sizeof(copy));
	copy[7] ^= 0x80;
	assert_int_equal(frame_check_payload(&h, copy, NULL), -EBADMSG);
}

static void table(void **state)
{
	char buf[16];

	for (unsigned int type = 0; type < 100; type++) {
		const struct frame_rule *rule = frame_rule(type);

		assert_int_equal(rule != NULL, (type >= FRAME_HELLO && type <= FRAME_FACTS) ||
						       type == FRAME_DRILL ||
						       type == FRAME_DRILL_SAYS);
		if (rule) {
			assert_true(rule->min <= rule->max && rule->max <= FRAME_MAX_PAYLOAD);
			assert_true(rule->from & (FRAME_PRIMARY | FRAME_BACKUP));
		}
	}
	assert_true(FRAME_PAGES_ROOM <= frame_rule(FRAME_PAGES)->max);
	assert_string_equal(frame_name(FRAME_PAGES, buf, sizeof(buf)), "PAGES");
	assert_string_equal(frame_name(77, buf, sizeof(buf)), "type 77");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(layout),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(bad_headers),
		cmocka_unit_test(sequence),
		cmocka_unit_test(damaged_payload),
		cmocka_unit_test(table),
	};

	return RUN_TESTS("frame", tests);
}
