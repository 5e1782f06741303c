/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_v1.h"
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
	return s->type == FRAME_CONFIG || s->type == FRAME_PAGES ||
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
	{"hello", 0, 2, 0, "version"},
	{"hello", 2, 2, 0, "version"},
	{"hello", 4, 1, 2, "flags"},
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
	{"hello", 72, 1, 4, "policy"},
	{"hello", 73, 1, 1, "reserved"},
	{"hello", 79, 1, 1, "reserved"},
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
	};

	return RUN_TESTS("wire_v1", tests);
}
