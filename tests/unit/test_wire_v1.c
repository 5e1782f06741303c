/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_disk.h"
#include "tests/lib/golden.h"
#include "tests/lib/samples.h"

#define BUF_SIZE (FRAME_HEADER_SIZE + FRAME_MAX_PAYLOAD)

static uint8_t buf[BUF_SIZE];
static uint8_t copy[BUF_SIZE];

/* The sample's frame into buf. */
static struct frame make(const struct sample *s)
{
	struct wr w = wr_init(buf + FRAME_HEADER_SIZE, FRAME_MAX_PAYLOAD);
	struct frame f = {.payload = buf + FRAME_HEADER_SIZE};

	s->encode(&w);
	assert_true(wr_ok(&w));
	f.h = frame_make(s->type, s->epoch, f.payload, wr_used(&w));
	f.h.seq = 42;
	frame_encode(buf, &f.h);
	return f;
}

static const struct sample *find(const char *name)
{
	for (size_t i = 0; i < n_samples; i++) {
		if (strcmp(samples[i].name, name) == 0)
			return &samples[i];
	}
	fail_msg("no sample %s", name);
	return NULL;
}

static void golden(void **state)
{
	for (size_t i = 0; i < n_samples; i++) {
		struct frame f = make(&samples[i]);

		golden_check(samples[i].name, buf, FRAME_HEADER_SIZE + f.h.length);
	}
}

static void round_trip(void **state)
{
	for (size_t i = 0; i < n_samples; i++) {
		struct wr w = wr_init(copy, sizeof(copy));
		struct frame f = make(&samples[i]);
		struct err e = ERR_INIT;

		assert_int_equal(sample_again(&f, &w, &e), 0);
		assert_int_equal(wr_used(&w), f.h.length);
		assert_memory_equal(copy, f.payload, f.h.length);
	}
}

static bool any_length(const struct sample *s)
{
	return s->type == FRAME_CONFIG || s->type == FRAME_PAGES || s->type == FRAME_FACTS ||
	       s->type == FRAME_DRILL || s->type == FRAME_DRILL_SAYS ||
	       strcmp(s->name, "state_hvm_context") == 0 || !frame_rule(s->type)->max;
}

static void every_wrong_length(void **state)
{
	for (size_t i = 0; i < n_samples; i++) {
		struct frame f = make(&samples[i]);
		uint32_t good = f.h.length;

		for (f.h.length = 0; f.h.length < good + 40 && !any_length(&samples[i]);
		     f.h.length++) {
			struct wr w = wr_init(copy, sizeof(copy));
			struct err e = ERR_INIT;

			memset(buf + FRAME_HEADER_SIZE + good, 0, 40);
			if (f.h.length != good && sample_again(&f, &w, &e) != -EBADMSG)
				fail_msg("%s of %u bytes", samples[i].name, f.h.length);
		}
	}
}

/* Offsets into the payload; a run of `fill` bytes there makes the message bad. */
static const struct {
	const char *sample;
	unsigned int at, size;
	uint8_t fill;
	const char *text;
} bad[] = {
	{"drill", 0, 4, 0, "id"},
	{"drill", 4, 1, 1, "reserved"},
	{"drill", 8, 1, 7, "text"},
	{"drill_says", 0, 4, 0, "id"},
	{"hello", 0, 2, 0, "version"},
	{"hello", 2, 2, 0, "version"},
	{"hello", 4, 1, 4, "flags"},
	{"hello", 7, 1, 1, "flags"},
	{"hello", 8, 16, 0, "uuid"},
	{"hello", 24, 8, 0, "term"},
	{"hello", 24, 8, 0xff, "term"},
	{"hello", 32, 8, 0, "mem_pages"},
	{"hello", 37, 1, 1, "mem_pages"},
	{"hello", 40, 8, 0, "ram_pages"},
	{"hello", 44, 1, 1, "ram_pages"},
	{"hello", 48, 4, 0, "arena"},
	{"hello", 51, 1, 0x11, "arena"},
	{"hello", 52, 4, 0, "cache"},
	{"hello", 55, 1, 0x11, "cache"},
	{"hello", 56, 4, 0, "heartbeat"},
	{"hello", 56, 4, 0xff, "heartbeat"},
	{"hello", 60, 4, 0, "failure"},
	{"hello", 60, 4, 0xff, "failure"},
	{"hello", 64, 4, 0, "epoch period"},
	{"hello", 64, 4, 0xff, "epoch period"},
	{"hello", 68, 4, 0, "vCPUs"},
	{"hello", 69, 1, 0xff, "vCPUs"},
	{"hello", 72, 1, 0, "policy"},
	{"hello", 72, 1, 5, "policy"},
	{"hello", 72, 1, 4, "arbiter"},
	{"hello", 73, 1, 1, "arbiter"},
	{"hello", 74, 1, 1, "reserved"},
	{"hello", 79, 1, 1, "arbiter"},
	{"hello_vote", 73, 1, 0, "arbiter"},
	{"hello_vote", 73, 1, 4, "arbiter"},
	{"hello_vote", 72, 1, 3, "arbiter"},
	{"hello", 80, 1, 0, "VM's name"},
	{"hello", 80, 1, '/', "VM's name"},
	{"hello", 80, 1, '-', "VM's name"},
	{"hello", 143, 1, 'x', "VM's name"},
	{"hello", 80, 64, 'x', "VM's name"},
	{"hello", 144, 1, 0, "host's name"},
	{"hello", 207, 1, 'x', "host's name"},
	{"hello_ok", 0, 2, 0, "version"},
	{"hello_ok", 0, 1, 2, "version"},
	{"hello_ok", 2, 2, 0, "port"},
	{"hello_ok", 4, 1, 1, "reserved"},
	{"hello_ok", 8, 8, 0xff, "term"},
	{"hello_ok", 16, 1, ' ', "name"},
	{"refuse", 0, 2, 0, "code"},
	{"refuse", 0, 1, 8, "code"},
	{"refuse", 2, 1, 0, "text"},
	{"refuse", 2, 2, 0xff, "text"},
	{"refuse", 4, 1, 1, "reserved"},
	{"refuse", 8, 8, 0xff, "term"},
	{"refuse", 20, 1, '\n', "text"},
	{"refuse", 20, 1, 0x1b, "text"},
	{"refuse", 20, 1, 0, "text"},
	{"refuse", 20, 1, 0x7f, "text"},
	{"config", 3, 1, 0, "text"},
	{"static", 0, 4, 0, "leaves"},
	{"static", 0, 4, 0xff, "leaves"},
	{"static", 1, 1, 2, "leaves"},
	{"static", 0, 1, 1, "length"},
	{"static", 4, 4, 0xff, "MSRs"},
	{"static", 4, 1, 0, "length"},
	{"static", 4, 1, 2, "length"},
	{"copy_round", 0, 4, 0, "round"},
	{"copy_round", 4, 1, 1, "reserved"},
	{"pages", 0, 4, 0, "count"},
	{"pages", 0, 1, 3, "count"},
	{"pages", 0, 4, 0xff, "count"},
	{"pages", 4, 1, 1, "count"},
	{"state_hvm_context", 0, 2, 0, "kind"},
	{"state_hvm_context", 0, 1, 4, "kind"},
	{"state_hvm_context", 2, 1, 1, "reserved"},
	{"state_tsc_info", 28, 1, 1, "reserved"},
	{"state_tsc_info", 7, 1, 1, "reserved"},
	{"state_hvm_params", 8, 4, 0, "parameters"},
	{"state_hvm_params", 8, 1, 65, "parameters"},
	{"state_hvm_params", 8, 1, 1, "length"},
	{"state_hvm_params", 12, 1, 1, "reserved"},
	{"epoch_end", 32, 1, 1, "reserved"},
	{"epoch_end", 39, 1, 1, "reserved"},
	{"ack", 0, 8, 0, "term"},
	{"ack", 0, 8, 0xff, "term"},
	{"bye", 0, 1, 7, "reason"},
	{"bye", 2, 1, 22, "text"},
	{"bye", 4, 1, 1, "reserved"},
	{"bye", 9, 1, 1, "text"},
	{"disks", 0, 2, 0, "number"},
	{"disks", 0, 1, 17, "length"},
	{"disks", 0, 1, 1, "length"},
	{"disks", 2, 1, 0, "ack mode"},
	{"disks", 2, 1, 4, "ack mode"},
	{"disks", 3, 1, 1, "reserved"},
	{"disks", 8, 1, '-', "name"},
	{"disks", 8, 1, 0, "name"},
	{"disks", 72, 16, 0, "uuid"},
	{"disks", 88, 8, 0, "size"},
	{"disks", 88, 1, 1, "size"},
	{"disks", 95, 1, 2, "size"},
	{"disks", 217, 1, 2, "size"}, /* not a multiple of 4096 */
	{"disks", 96, 4, 0, "block size"},
	{"disks", 97, 1, 4, "block size"},
	{"disks", 100, 1, 3, "flags"},
	{"disks", 104, 8, 0, "generation"},
	{"disks_ok", 0, 2, 0, "number"},
	{"disks_ok", 0, 1, 17, "number"},
	{"disks_ok", 0, 1, 1, "length"},
	{"disks_ok", 0, 1, 3, "length"},
	{"disks_ok", 2, 1, 1, "reserved"},
	{"disks_ok", 8, 1, 4, "plan"},
	{"disks_ok", 9, 1, 3, "state"},
	{"disks_ok", 9, 1, 5, "state"},
	{"disks_ok", 10, 1, 1, "reserved"},
	{"disks_ok", 14, 1, 1, "DISK_WANT"},
	{"disk_hash", 0, 1, 2, "disk"},
	{"disk_hash", 1, 1, 1, "disk"},
	{"disk_hash", 2, 1, 1, "reserved"},
	{"disk_hash", 4, 4, 0, "chunk"},
	{"disk_hash", 4, 1, 1, "chunk"},
	{"disk_hash", 4, 4, 0x80, "chunk"},
	{"disk_hash", 8, 1, 1, "offset"},
	{"disk_hash", 11, 1, 1, "offset"},
	{"disk_hash", 10, 1, 0x80, "offset"}, /* behind the disk's end */
	{"disk_hash", 16, 4, 0, "chunks"},
	{"disk_hash", 16, 1, 1, "length"},
	{"disk_hash", 16, 1, 3, "chunks"}, /* the third would begin behind the end */
	{"disk_hash", 16, 4, 0xff, "chunks"},
	{"disk_hash", 20, 1, 1, "reserved"},
	{"disk_want", 0, 1, 2, "disk"},
	{"disk_want", 4, 4, 0, "chunk"},
	{"disk_want", 16, 4, 0xff, "chunks"},
	{"disk_want", 16, 1, 9, "spare"},
	{"disk_want", 16, 1, 17, "length"},
	{"disk_want", 25, 1, 7, "spare"},
	{"disk_data", 0, 1, 2, "disk"},
	{"disk_data", 2, 1, 1, "count"},
	{"disk_data", 4, 4, 0, "count"},
	{"disk_data", 4, 4, 0xff, "count"},
	{"disk_data", 4, 1, 4, "length"},
	{"disk_data", 4, 1, 6, "length"},
	{"disk_data", 8, 1, 0, "op"},
	{"disk_data", 8, 1, 6, "op"},
	{"disk_data", 8, 1, 4, "FLUSH"},
	{"disk_data", 9, 1, 2, "flags"},
	{"disk_data", 10, 1, 1, "length"},
	{"disk_data", 12, 4, 0, "range"},
	{"disk_data", 12, 1, 1, "range"},
	{"disk_data", 14, 1, 0x11, "length"},
	{"disk_data", 16, 1, 1, "range"},
	{"disk_data", 16, 8, 0xff, "range"},
	{"disk_data", 18, 1, 0x51, "range"}, /* behind the disk's end */
	{"disk_data", 552, 4, 0, "stored"},
	{"disk_data", 553, 1, 0x10, "stored"},
	{"disk_data", 552, 4, 0xff, "stored"},
	{"disk_data", 553, 1, 0x0f, "data"},
	{"disk_data", 566, 1, 1, "flags"}, /* ZERO has no data */
	{"disk_end", 0, 1, 2, "disk"},
	{"disk_end", 2, 1, 1, "reserved"},
	{"disk_progress", 0, 1, 2, "disk"},
	{"disk_progress", 2, 1, 1, "reserved"},
	{"disk_progress", 16, 8, 1, "applied"},
	{"disk_verify", 0, 1, 2, "disk"},
	{"disk_verify", 2, 1, 1, "range"},
	{"disk_verify", 4, 4, 0, "range"},
	{"disk_verify", 4, 1, 1, "range"},
	{"disk_verify", 6, 1, 0x41, "range"},
	{"disk_verify", 8, 1, 1, "range"},
	{"disk_verify", 12, 1, 2, "range"},
	{"disk_verified", 0, 1, 2, "disk"},
	{"disk_verified", 2, 1, 3, "result"},
	{"disk_verified", 4, 4, 0, "range"},
	{"disk_verified", 12, 1, 2, "range"},
	{"handover", 0, 1, 2, "reason"},
	{"handover", 2, 1, 23, "text"},
	{"handover", 4, 1, 1, "reserved"},
	{"handover", 9, 1, 1, "text"},
};

static void bad_fields(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct frame f = make(find(bad[i].sample));
		struct wr w = wr_init(copy, sizeof(copy));
		struct err e = ERR_INIT;

		memset(buf + FRAME_HEADER_SIZE + bad[i].at, bad[i].fill, bad[i].size);
		if (sample_again(&f, &w, &e) != -EBADMSG || !strstr(e.text, bad[i].text) ||
		    !strstr(e.text, frame_rule(f.h.type)->name))
			fail_msg("%s at %u: %s", bad[i].sample, bad[i].at, e.text);
	}
}

static void fields_arrive(void **state)
{
	struct frame f = make(find("hello"));
	struct wire_refuse refuse;
	struct wire_hello m;
	struct wire_bye bye;

	assert_int_equal(wire_hello_decode(&f, &m, NULL), 0);
	assert_string_equal(m.vm, "web-1");
	assert_string_equal(m.host, "alpha.example");
	assert_int_equal(m.mem_pages, 0x10ff000);
	assert_int_equal(m.ram_pages, 0x40000);
	assert_int_equal(m.failure_timeout_ms, 500);
	f = make(find("refuse"));
	assert_int_equal(wire_refuse_decode(&f, &refuse, NULL), 0);
	assert_string_equal(refuse.text, "beta runs web-1 since term 8");
	assert_int_equal(refuse.code, WIRE_ACTIVATED);
	f = make(find("bye"));
	assert_int_equal(wire_bye_decode(&f, &bye, NULL), 0);
	assert_string_equal(bye.text, "the guest powered off");
	assert_string_equal(wire_refusal_name(WIRE_BUSY), "BUSY");
	assert_string_equal(wire_refusal_name(99), "?");
}

/* A text from an error may hold anything: it is cleaned and cut, not a reason to fail. */
static void texts_are_cleaned(void **state)
{
	static struct wire_refuse in = {.code = WIRE_INTERNAL};
	struct wr w = wr_init(buf, sizeof(buf));
	static struct wire_refuse out;
	struct frame f = {.h = {.type = FRAME_REFUSE}, .payload = buf};

	memset(in.text, 'x', WIRE_TEXT_MAX);
	memcpy(in.text, "one\ntwo\x1b[1m", 11);
	wire_refuse_encode(&w, &in);
	assert_true(wr_ok(&w));
	f.h.length = (uint32_t)wr_used(&w);
	assert_int_equal(f.h.length, frame_rule(FRAME_REFUSE)->max);
	assert_int_equal(wire_refuse_decode(&f, &out, NULL), 0);
	assert_memory_equal(out.text, "one two [1m", 11);
	assert_int_equal(strlen(out.text), WIRE_TEXT_MAX);
}

static void versions(void **state)
{
	static const struct {
		uint16_t min, max;
		int rc;
	} t[] = {
		{1, 1, 0}, {1, 9, 0}, {2, 9, -EPROTO}, {0, 1, -EBADMSG}, {3, 2, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct frame f = make(find("hello"));
		struct err e = ERR_INIT;
		uint16_t version = 0;

		/* A HELLO of the future may be of any length behind its first four bytes. */
		f.h.length = 4;
		buf[FRAME_HEADER_SIZE] = (uint8_t)t[i].min;
		buf[FRAME_HEADER_SIZE + 2] = (uint8_t)t[i].max;
		assert_int_equal(wire_hello_version(&f, &version, &e), t[i].rc);
		assert_int_equal(version, t[i].rc ? 0 : 1);
	}
}

static void largest_messages_fit(void **state)
{
	static struct wire_static statics = {.n_leaves = WIRE_MAX_LEAVES, .n_msrs = WIRE_MAX_MSRS};
	static uint8_t blob[WIRE_HVM_CONTEXT_MAX];
	const struct wire_state hvm = {.kind = WIRE_HVM_CONTEXT,
				       .hvm = {.data = blob, .size = sizeof(blob)}};
	struct wr w = wr_init(buf, frame_rule(FRAME_STATIC)->max);

	wire_static_encode(&w, &statics);
	assert_true(wr_ok(&w) && !wr_left(&w));
	w = wr_init(buf, frame_rule(FRAME_STATE)->max);
	wire_state_encode(&w, &hvm);
	assert_true(wr_ok(&w) && !wr_left(&w));
	assert_int_equal(frame_rule(FRAME_CONFIG)->max, WIRE_CONFIG_MAX);
}

/* Of disks: what is largest is a frame, what is one more is not. */
static void largest_disk_messages_fit(void **state)
{
	static uint8_t bits[WIRE_MAX_WANTS / 8];
	static uint8_t data[WIRE_MAX_RECORD_DATA];
	static const struct wire_disk_range hash = {.chunk = 4096, .count = WIRE_MAX_HASHES};
	static const struct wire_disk_range want = {.chunk = 4096, .count = WIRE_MAX_WANTS};
	const struct wire_disk_record r = {
		.op = WIRE_DISK_WRITE, .len = sizeof(data), .data = data, .stored = sizeof(data)};
	static struct wire_disks disks;
	static struct wire_disks_ok ok = {.n = WIRE_MAX_DISKS};
	struct wr w = wr_init(buf, frame_rule(FRAME_DISKS)->max);

	disks = (struct wire_disks){.n = WIRE_MAX_DISKS, .ack_mode = WIRE_ACK_EPOCH};
	for (int i = 0; i < WIRE_MAX_DISKS; i++) {
		disks.disk[i] = sample_disks.disk[0];
		disks.disk[i].name[0] = (char)('a' + i);
	}
	wire_disks_encode(&w, &disks);
	assert_true(wr_ok(&w) && !wr_left(&w));
	w = wr_init(buf, frame_rule(FRAME_DISKS_OK)->max);
	wire_disks_ok_encode(&w, &ok);
	assert_true(wr_ok(&w) && !wr_left(&w));
	w = wr_init(buf, frame_rule(FRAME_DISK_HASH)->max);
	wire_disk_hash_encode(&w, &hash, data);
	assert_true(wr_ok(&w) && !wr_left(&w));
	w = wr_init(buf, frame_rule(FRAME_DISK_WANT)->max);
	wire_disk_want_encode(&w, &want, bits);
	assert_true(wr_ok(&w) && !wr_left(&w));
	w = wr_init(buf, frame_rule(FRAME_DISK_DATA)->max);
	wire_disk_data_begin(&w, 0);
	assert_true(wire_disk_record_size(&r) <= wr_left(&w));
	wire_disk_record_encode(&w, &r);
	wire_disk_data_end(&w, 1);
	assert_true(wr_ok(&w));
}

/* Two disks of one name could not be told apart by anybody. */
static void disks_have_names_of_their_own(void **state)
{
	struct frame f = make(find("disks"));
	struct wire_disks m;
	struct err e = ERR_INIT;

	assert_int_equal(wire_disks_decode(&f, &m, &e), 0);
	assert_string_equal(m.disk[1].name, "web-data");
	assert_int_equal(m.disk[0].gen.history[1], 0x4444);
	memcpy(buf + FRAME_HEADER_SIZE + 136, "web-root", 9);
	assert_int_equal(wire_disks_decode(&f, &m, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "name"));
}

static void records_arrive(void **state)
{
	struct frame f = make(find("disk_data"));
	struct wire_disk_record r;
	struct rd records;
	uint32_t count;
	uint16_t disk;

	assert_int_equal(wire_disk_data_decode(&f, &sample_disks, &disk, &count, &records, NULL),
			 0);
	assert_int_equal(disk, 1);
	assert_int_equal(count, 5);
	assert_int_equal(wire_disk_record_decode(&records, 1 << 20, &r, NULL), 0);
	assert_int_equal(r.op, WIRE_DISK_WRITE);
	assert_int_equal(r.data[511], 0x5a);
	assert_int_equal(wire_disk_record_decode(&records, 1 << 20, &r, NULL), 0);
	assert_int_equal(r.stored, 9);
	assert_int_equal(r.len, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_wrong_length),
		cmocka_unit_test(bad_fields),
		cmocka_unit_test(fields_arrive),
		cmocka_unit_test(texts_are_cleaned),
		cmocka_unit_test(versions),
		cmocka_unit_test(largest_messages_fit),
		cmocka_unit_test(largest_disk_messages_fit),
		cmocka_unit_test(disks_have_names_of_their_own),
		cmocka_unit_test(records_arrive),
	};

	return RUN_TESTS("wire_v1", tests);
}
