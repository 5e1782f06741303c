/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk port's bytes: there and back, and everything that nobody may say. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/disk_port.h"
#include "lib/err.h"
#include "lib/wr.h"

static uint8_t payload[4096];

static struct frame made(unsigned int type, const struct wr *w)
{
	struct port_header h = {
		.type = (uint16_t)type, .length = (uint32_t)wr_used(w), .epoch = FRAME_NO_EPOCH};

	assert_true(wr_ok(w));
	return port_frame(&h, payload);
}

static struct wr writer(void)
{
	return wr_init(payload, sizeof(payload));
}

static const struct port_role role = {
	.index = 3, .side = FRAME_BACKUP, .ack_mode = WIRE_ACK_FLUSH, .session = 77, .vm = "web"};
static const struct port_state state = {.state = 3,
					.flags = PORT_DIRT | PORT_IN_USE,
					.block_size = 512,
					.size = 1 << 20,
					.uuid = {1, 2, 3},
					.gen = {5, 6, {7, 8}},
					.dirty_bytes = 4096,
					.applied = FRAME_NO_EPOCH,
					.wants = 3,
					.name = "web-root",
					.why = "nothing"};

static void headers(void **unused)
{
	struct port_header out = {.type = PORT_COMMIT, .epoch = 9};
	uint8_t buf[PORT_HEADER_SIZE];
	struct err e = ERR_INIT;
	struct port_header h;

	port_header_encode(buf, &out);
	assert_int_equal(port_header_decode(buf, PORT_WORKER, &h, &e), 0);
	assert_int_equal(h.type, PORT_COMMIT);
	assert_int_equal(h.length, 0);
	assert_int_equal(h.epoch, 9);
	/* Not the server's to say. */
	assert_int_equal(port_header_decode(buf, PORT_SERVER, &h, &e), -EPROTO);
	/* Each byte counts: magic, type, version, length, reserved. */
	for (size_t i = 0; i < 16; i++) {
		buf[i] ^= 0x40;
		assert_in_range(-port_header_decode(buf, PORT_WORKER, &h, &e), 1, 4095);
		buf[i] ^= 0x40;
	}
	memset(buf + 16, 0xff, 8);
	assert_int_equal(port_header_decode(buf, PORT_WORKER, &h, &e), -EPROTO);
	assert_non_null(strstr(e.text, "COMMIT without an epoch"));
}

static void passed_on(void **unused)
{
	struct port_header out = {.type = FRAME_DISK_END, .length = 32, .epoch = 1};
	uint8_t buf[PORT_HEADER_SIZE];
	struct err e = ERR_INIT;
	struct port_header h;

	port_header_encode(buf, &out);
	assert_int_equal(port_header_decode(buf, PORT_WORKER, &h, &e), 0);
	assert_int_equal(port_header_decode(buf, PORT_SERVER, &h, &e), 0);
	buf[8] = 31;
	assert_int_equal(port_header_decode(buf, PORT_SERVER, &h, &e), -EMSGSIZE);
	/* The rest of the link's is not for here. */
	buf[8] = 32;
	buf[4] = FRAME_EPOCH_END;
	assert_int_equal(port_header_decode(buf, PORT_SERVER, &h, &e), -EPROTO);
	buf[4] = FRAME_DISKS;
	assert_int_equal(port_header_decode(buf, PORT_SERVER, &h, &e), -EPROTO);
	assert_string_equal(port_name(FRAME_DISK_END), "DISK_END");
	assert_string_equal(port_name(PORT_ERROR), "ERROR");
	assert_string_equal(port_name(PORT_DEPOSED), "DEPOSED");
	assert_string_equal(port_name(PORT_COMPARED), "COMPARED");
	assert_string_equal(port_name(PORT_COMPARED + 1), "?");
	assert_string_equal(port_name(FRAME_DISKS), "?");
}

static void roles(void **unused)
{
	struct err e = ERR_INIT;
	struct port_role m;
	struct wr w;

	w = writer();
	port_role_encode(&w, &role);
	struct frame f = made(PORT_ROLE, &w);

	assert_int_equal(port_role_decode(&f, &m, &e), 0);
	assert_memory_equal(&m, &role, sizeof(m));
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {{1, 1}, {2, 3}, {2, 0}, {3, 0}, {3, 4}, {4, 1}, {16, '/'}, {79, 'x'}};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t was = payload[wrong[i].at];

		payload[wrong[i].at] = wrong[i].value;
		assert_int_equal(port_role_decode(&f, &m, &e), -EBADMSG);
		payload[wrong[i].at] = was;
	}
	memset(payload + 8, 0, 8);
	assert_int_equal(port_role_decode(&f, &m, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "session"));
	f.h.length--;
	assert_int_equal(port_role_decode(&f, &m, &e), -EBADMSG);
}

static void states(void **unused)
{
	struct err e = ERR_INIT;
	struct port_state m;
	struct wr w = writer();
	struct frame f;

	port_state_encode(&w, &state);
	f = made(PORT_STATE, &w);
	assert_int_equal(port_state_decode(&f, &m, &e), 0);
	assert_memory_equal(&m.uuid, &state.uuid, sizeof(m.uuid));
	assert_memory_equal(&m.gen, &state.gen, sizeof(m.gen));
	assert_int_equal(m.size, state.size);
	assert_int_equal(m.flags, state.flags);
	assert_true(m.applied == FRAME_NO_EPOCH);
	assert_int_equal(m.wants, 3);
	assert_string_equal(m.name, "web-root");
	assert_string_equal(m.why, "nothing");
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {{0, 0},  {0, 7},  {1, 1},	{4, 8},	   {8, 1},
		     {12, 1}, {16, 1}, {23, 2}, {96, ' '}, {160, 7}};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t was = payload[wrong[i].at];

		payload[wrong[i].at] = wrong[i].value;
		assert_int_equal(port_state_decode(&f, &m, &e), -EBADMSG);
		payload[wrong[i].at] = was;
	}
	/* A text that is too long is cut when it is sent. */
	struct port_state wordy = state;

	memset(wordy.why, 'x', WIRE_TEXT_MAX);
	w = writer();
	port_state_encode(&w, &wordy);
	f = made(PORT_STATE, &w);
	assert_int_equal(port_state_decode(&f, &m, &e), 0);
	assert_int_equal(strlen(m.why), WIRE_TEXT_MAX);
}

static void small_ones(void **unused)
{
	struct port_begin begin = {.plan = WIRE_PLAN_HASH, .peer_state = 2, .peer = {1, 2, {3, 4}}};
	char text[WIRE_TEXT_MAX + 1];
	struct err e = ERR_INIT;
	struct port_begin m;
	struct wr w = writer();
	struct frame f;
	uint64_t generation;
	uint32_t n;

	port_begin_encode(&w, &begin);
	f = made(PORT_BEGIN, &w);
	assert_int_equal(port_begin_decode(&f, &m, &e), 0);
	assert_memory_equal(&m.peer, &begin.peer, sizeof(m.peer));
	assert_int_equal(m.plan, WIRE_PLAN_HASH);
	payload[0] = WIRE_PLAN_FULL + 1;
	assert_int_equal(port_begin_decode(&f, &m, &e), -EBADMSG);

	w = writer();
	port_fill_encode(&w, 100);
	f = made(PORT_FILL, &w);
	assert_int_equal(port_fill_decode(&f, &n, &e), 0);
	assert_int_equal(n, 100);
	payload[0]++;
	assert_int_equal(port_fill_decode(&f, &n, &e), -EBADMSG);

	w = writer();
	port_held_encode(&w, PORT_HELD_WAITS);
	f = made(PORT_HELD, &w);
	assert_int_equal(port_held_decode(&f, &n, &e), 0);
	assert_int_equal(n, PORT_HELD_WAITS);
	payload[1] = 1;
	assert_int_equal(port_held_decode(&f, &n, &e), -EBADMSG);

	w = writer();
	port_activate_encode(&w, 0x1234);
	f = made(PORT_ACTIVATE, &w);
	assert_int_equal(port_activate_decode(&f, &generation, &e), 0);
	assert_int_equal(generation, 0x1234);
	memset(payload, 0, 8);
	assert_int_equal(port_activate_decode(&f, &generation, &e), -EBADMSG);

	w = writer();
	port_text_encode(&w, "write at 4096: I/O error");
	f = made(PORT_ERROR, &w);
	assert_int_equal(port_text_decode(&f, text, &e), 0);
	assert_string_equal(text, "write at 4096: I/O error");
	payload[3] = '\n';
	assert_int_equal(port_text_decode(&f, text, &e), -EBADMSG);
}

static void verification(void **unused)
{
	const struct port_compared compared = {.state = PORT_COMPARED_ALL,
					       .pass = 3,
					       .verified = 8192,
					       .differed = 4096,
					       .busy = 512};
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {{0, 0}, {0, 4}, {7, 1}, {8, 0}, {25, 0x21}};
	struct port_compared m;
	struct err e = ERR_INIT;
	struct wr w = writer();
	struct frame f;
	uint64_t pass;

	port_verify_encode(&w, 3);
	f = made(PORT_VERIFY, &w);
	assert_int_equal(port_verify_decode(&f, &pass, &e), 0);
	assert_int_equal(pass, 3);
	payload[0] = 0;
	assert_int_equal(port_verify_decode(&f, &pass, &e), -EBADMSG);

	w = writer();
	port_compared_encode(&w, &compared);
	f = made(PORT_COMPARED, &w);
	assert_int_equal(port_compared_decode(&f, &m, &e), 0);
	assert_int_equal(m.state, PORT_COMPARED_ALL);
	assert_int_equal(m.pass, 3);
	assert_int_equal(m.verified, 8192);
	assert_int_equal(m.differed, 4096);
	assert_int_equal(m.busy, 512);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t was = payload[wrong[i].at];

		payload[wrong[i].at] = wrong[i].value;
		assert_int_equal(port_compared_decode(&f, &m, &e), -EBADMSG);
		payload[wrong[i].at] = was;
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),    cmocka_unit_test(passed_on),
		cmocka_unit_test(roles),      cmocka_unit_test(states),
		cmocka_unit_test(small_ones), cmocka_unit_test(verification),
	};

	return cmocka_run_group_tests_name("disk_port", tests, NULL, NULL);
}
