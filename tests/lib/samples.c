/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See samples.h. */
#include "tests/lib/samples.h"

#include <errno.h>

#include "lib/compiler.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/wire_v1.h"

static void hello(struct wr *w)
{
	static const struct wire_hello m = {
		.version_min = 1,
		.version_max = 1,
		.flags = WIRE_HELLO_ADOPT,
		.uuid = {0x6f, 0x0e, 0x3b, 0x8d, 0x11, 0x52, 0x43, 0x90, 0x9c, 0x7a, 0x55, 0x01,
			 0x02, 0x03, 0x04, 0x05},
		.term = 7,
		.mem_pages = 0x10ff000,
		.ram_pages = 0x40000,
		.arena_pages = 65536,
		.cache_slots = 32768,
		.heartbeat_period_ms = 50,
		.failure_timeout_ms = 500,
		.epoch_period_us = 50000,
		.vcpus = 2,
		.policy = WIRE_POLICY_BACKUP_WINS,
		.vm = "web-1",
		.host = "alpha.example",
	};

	wire_hello_encode(w, &m);
}

static void hello_ok(struct wr *w)
{
	static const struct wire_hello_ok m = {
		.version = 1, .heartbeat_port = 7404, .term = 6, .host = "beta"};

	wire_hello_ok_encode(w, &m);
}

static void refuse(struct wr *w)
{
	static const struct wire_refuse m = {
		.code = WIRE_ACTIVATED, .term = 8, .text = "beta runs web-1 since term 8"};

	wire_refuse_encode(w, &m);
}

static void config(struct wr *w)
{
	static const char json[] = "{\"c_info\": {\"type\": \"pvh\"}}";

	wire_config_encode(w, json, sizeof(json) - 1);
}

static void statics(struct wr *w)
{
	static const struct wire_static m = {
		.n_leaves = 2,
		.n_msrs = 1,
		.leaf = {{0, 0xffffffff, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69},
			 {7, 1, 0x10, 0, 0, 0}},
		.msr = {{0xce, 0, UINT64_C(0x80000000)}},
	};

	wire_static_encode(w, &m);
}

static void copy_round(struct wr *w)
{
	wire_copy_round_encode(w,
			       &(struct wire_copy_round){.round = 2, .pages = 900, .sent = 70000});
}

static void pages(struct wr *w)
{
	wire_pages_begin(w);
	wr_u64(w, UINT64_C(0x0100000000001234)); /* ZERO, page 0x1234 */
	wr_u64(w, UINT64_C(0x0100000000001235));
	wire_pages_end(w, 2);
}

static void hvm_context(struct wr *w)
{
	static const uint8_t blob[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	const struct wire_state m = {.kind = WIRE_HVM_CONTEXT,
				     .hvm = {.data = blob, .size = sizeof(blob)}};

	wire_state_encode(w, &m);
}

static void tsc_info(struct wr *w)
{
	static const struct wire_state m = {.kind = WIRE_TSC_INFO,
					    .tsc = {.mode = 0,
						    .khz = 2400000,
						    .nsec = UINT64_C(123456789012),
						    .incarnation = 3}};

	wire_state_encode(w, &m);
}

static void hvm_params(struct wr *w)
{
	static const struct wire_state m = {
		.kind = WIRE_HVM_PARAMS, .n_params = 2, .param = {{1, 0xfeff8}, {17, 0xfeff9}}};

	wire_state_encode(w, &m);
}

static void epoch_end(struct wr *w)
{
	wire_epoch_end_encode(w, &(struct wire_epoch_end){.pages = 500,
							  .raw_bytes = 2048000,
							  .wire_bytes = 300123,
							  .digest = UINT64_C(0x0123456789abcdef)});
}

static void term(struct wr *w)
{
	wire_term_encode(w, 7);
}

static void bye(struct wr *w)
{
	static const struct wire_bye m = {.reason = WIRE_BYE_GUEST_SHUTDOWN,
					  .text = "the guest powered off"};

	wire_bye_encode(w, &m);
}

static void nothing(struct wr *w)
{
}

const struct sample samples[] = {
	{"hello", FRAME_HELLO, FRAME_NO_EPOCH, hello},
	{"hello_ok", FRAME_HELLO_OK, FRAME_NO_EPOCH, hello_ok},
	{"refuse", FRAME_REFUSE, FRAME_NO_EPOCH, refuse},
	{"config", FRAME_CONFIG, FRAME_NO_EPOCH, config},
	{"static", FRAME_STATIC, FRAME_NO_EPOCH, statics},
	{"copy_round", FRAME_COPY_ROUND, 0, copy_round},
	{"pages", FRAME_PAGES, 9, pages},
	{"state_hvm_context", FRAME_STATE, 9, hvm_context},
	{"state_tsc_info", FRAME_STATE, 9, tsc_info},
	{"state_hvm_params", FRAME_STATE, 9, hvm_params},
	{"epoch_end", FRAME_EPOCH_END, 9, epoch_end},
	{"ack", FRAME_ACK, 9, term},
	{"takeover", FRAME_TAKEOVER, FRAME_NO_EPOCH, term},
	{"bye", FRAME_BYE, FRAME_NO_EPOCH, bye},
	{"bye_ok", FRAME_BYE_OK, FRAME_NO_EPOCH, term},
	{"keepalive", FRAME_KEEPALIVE, FRAME_NO_EPOCH, nothing},
};
const size_t n_samples = ARRAY_SIZE(samples);

static int static_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_static *m = mem_alloc(sizeof(*m));
	int rc = m ? wire_static_decode(f, m, e) : -ENOMEM;

	if (!rc)
		wire_static_encode(w, m);
	mem_free(m);
	return rc;
}

static int pages_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct rd records;
	uint32_t count;
	int rc = wire_pages_decode(f, &count, &records, e);

	if (rc < 0)
		return rc;
	wire_pages_begin(w);
	wr_bytes(w, records.p, rd_left(&records));
	wire_pages_end(w, count);
	return 0;
}

#define AGAIN(what, ...)                                      \
	do {                                                  \
		rc = wire_##what##_decode(f, &m.what, e);     \
		if (!rc)                                      \
			wire_##what##_encode(w, __VA_ARGS__); \
	} while (0)

int sample_again(const struct frame *f, struct wr *w, struct err *e)
{
	union {
		struct wire_hello hello;
		struct wire_hello_ok hello_ok;
		struct wire_refuse refuse;
		struct wire_copy_round copy_round;
		struct wire_state state;
		struct wire_epoch_end epoch_end;
		struct wire_bye bye;
		uint64_t term;
	} m;
	const char *json;
	size_t size;
	int rc = 0;

	switch ((enum frame_type)f->h.type) {
	case FRAME_HELLO:
		AGAIN(hello, &m.hello);
		break;
	case FRAME_HELLO_OK:
		AGAIN(hello_ok, &m.hello_ok);
		break;
	case FRAME_REFUSE:
		AGAIN(refuse, &m.refuse);
		break;
	case FRAME_CONFIG:
		rc = wire_config_decode(f, &json, &size, e);
		if (!rc)
			wire_config_encode(w, json, size);
		break;
	case FRAME_STATIC:
		rc = static_again(f, w, e);
		break;
	case FRAME_COPY_ROUND:
		AGAIN(copy_round, &m.copy_round);
		break;
	case FRAME_PAGES:
		rc = pages_again(f, w, e);
		break;
	case FRAME_STATE:
		AGAIN(state, &m.state);
		break;
	case FRAME_EPOCH_END:
		AGAIN(epoch_end, &m.epoch_end);
		break;
	case FRAME_ACK:
	case FRAME_TAKEOVER:
	case FRAME_BYE_OK:
		AGAIN(term, m.term);
		break;
	case FRAME_BYE:
		AGAIN(bye, &m.bye);
		break;
	case FRAME_KEEPALIVE:
		break;
	}
	assert(!rc == !e->rc);
	return rc;
}
