/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See samples.h. */
#include "tests/lib/samples.h"

#include <errno.h>
#include <string.h>

#include "lib/compiler.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_disk.h"
#include "lib/wire_v1_drill.h"

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

static void hello_vote(struct wr *w)
{
	static const struct wire_hello m = {
		.version_min = 1,
		.version_max = 1,
		.uuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		.term = 9,
		.mem_pages = 0x20000,
		.ram_pages = 0x20000,
		.arena_pages = 32768,
		.cache_slots = 16384,
		.heartbeat_period_ms = 100,
		.failure_timeout_ms = 1000,
		.epoch_period_us = 50000,
		.vcpus = 1,
		.policy = WIRE_POLICY_ARBITER,
		.arbiter = 1,
		.arbiter_id = 0x12345678,
		.vm = "web-2",
		.host = "alpha",
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

const struct wire_disks sample_disks = {
	.n = 2,
	.ack_mode = WIRE_ACK_FLUSH,
	.disk = {{.name = "web-root",
		  .uuid = {0xaa, 0x0e, 0x3b, 0x8d, 0x11, 0x52, 0x43, 0x90, 0x9c, 0x7a, 0x55, 0x01,
			   0x02, 0x03, 0x04, 0x05},
		  .size = UINT64_C(8) << 30,
		  .block_size = 512,
		  .flags = WIRE_DISK_BY_HASH,
		  .gen = {.current = 0x1111, .bitmap = 0x2222, .history = {0x3333, 0x4444}}},
		 {.name = "web-data",
		  .uuid = {0xbb, 1},
		  .size = (UINT64_C(5) << 20) + 4096,
		  .block_size = 4096,
		  .gen = {.current = 0x5555}}},
};

static void disks(struct wr *w)
{
	wire_disks_encode(w, &sample_disks);
}

static void disks_ok(struct wr *w)
{
	static const struct wire_disks_ok m = {
		.n = 2,
		.disk = {{.plan = WIRE_PLAN_DIRTY,
			  .state = WIRE_DISK_OUTDATED,
			  .wants = 1,
			  .gen = {.current = 0x2222, .bitmap = 0x3333, .history = {0x4444, 0}},
			  .dirty_bytes = 4 << 20},
			 {.plan = WIRE_PLAN_FULL, .state = WIRE_DISK_EMPTY}},
	};

	wire_disks_ok_encode(w, &m);
}

static void disk_hash(struct wr *w)
{
	static const uint8_t hashes[2 * WIRE_DISK_HASH_SIZE] = {1, 2, 3, [31] = 0xff};
	const struct wire_disk_range m = {.disk = 1, .chunk = 4 << 20, .off = 0, .count = 2};

	wire_disk_hash_encode(w, &m, hashes);
}

static void disk_want(struct wr *w)
{
	static const uint8_t bits[] = {0x81, 0x03};
	const struct wire_disk_range m = {.disk = 0, .chunk = 65536, .off = 65536, .count = 10};

	wire_disk_want_encode(w, &m, bits);
}

static void disk_data(struct wr *w)
{
	static uint8_t sector[512];
	static const struct wire_disk_record records[] = {
		{.op = WIRE_DISK_WRITE, .len = 512, .off = 1024, .data = sector, .stored = 512},
		{.op = WIRE_DISK_SYNC,
		 .flags = WIRE_RECORD_LZ4,
		 .len = 4096,
		 .off = 8192,
		 .data = sector,
		 .stored = 9},
		{.op = WIRE_DISK_ZERO, .len = 1 << 20, .off = 0},
		{.op = WIRE_DISK_DISCARD, .len = 4096, .off = 4096},
		{.op = WIRE_DISK_FLUSH},
	};

	memset(sector, 0x5a, sizeof(sector));
	wire_disk_data_begin(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(records); i++)
		wire_disk_record_encode(w, &records[i]);
	wire_disk_data_end(w, ARRAY_SIZE(records));
}

static void disk_end(struct wr *w)
{
	wire_disk_end_encode(w, &(struct wire_disk_end){.disk = 1,
							.records = 5,
							.bytes = 1057280,
							.digest = UINT64_C(0xfedcba9876543210)});
}

static void disk_progress(struct wr *w)
{
	wire_disk_progress_encode(w, &(struct wire_disk_progress){.disk = 1,
								  .durable = 8,
								  .applied = FRAME_NO_EPOCH,
								  .free_bytes = 1 << 30});
}

static void disk_verify(struct wr *w)
{
	wire_disk_verify_encode(
		w, &(struct wire_disk_verify){
			   .disk = 0, .len = 1 << 20, .off = 1 << 20, .hash = {9, 8, 7}});
}

static void disk_verified(struct wr *w)
{
	wire_disk_verified_encode(w, &(struct wire_disk_verified){.disk = 0,
								  .result = WIRE_VERIFY_DIFFERENT,
								  .len = 1 << 20,
								  .off = 1 << 20});
}

static void handover(struct wr *w)
{
	static const struct wire_handover m = {.reason = WIRE_HANDOVER_DISK,
					       .text = "web-data: write error"};

	wire_handover_encode(w, &m);
}

static void ask_facts(struct wr *w)
{
	wire_ask_facts_encode(w, &(struct wire_ask_facts){.vm = "web"});
}

static void ask_host_facts(struct wr *w)
{
	wire_ask_facts_encode(w, &(struct wire_ask_facts){.vm = ""});
}

static void facts(struct wr *w)
{
	static const char json[] = "{\"facts\":1}";

	wire_facts_encode(w, json, strlen(json));
}

static void drill(struct wr *w)
{
	static const char text[] = "start {\"time_ms\":30000}";
	const struct wire_drill m = {.id = 7, .text = text, .size = sizeof(text) - 1};

	wire_drill_encode(w, &m);
}

static void drill_says(struct wr *w)
{
	static const char text[] = "{\"ok\":true,\"drill\":{\"over\":false}}";
	const struct wire_drill m = {.id = 7, .text = text, .size = sizeof(text) - 1};

	wire_drill_encode(w, &m);
}

static void nothing(struct wr *w)
{
}

const struct sample samples[] = {
	{"hello", FRAME_HELLO, FRAME_NO_EPOCH, hello},
	{"hello_vote", FRAME_HELLO, FRAME_NO_EPOCH, hello_vote},
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
	{"disks", FRAME_DISKS, FRAME_NO_EPOCH, disks},
	{"disks_ok", FRAME_DISKS_OK, FRAME_NO_EPOCH, disks_ok},
	{"disk_hash", FRAME_DISK_HASH, FRAME_NO_EPOCH, disk_hash},
	{"disk_want", FRAME_DISK_WANT, FRAME_NO_EPOCH, disk_want},
	{"disk_data", FRAME_DISK_DATA, 9, disk_data},
	{"disk_end", FRAME_DISK_END, 9, disk_end},
	{"disk_progress", FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, disk_progress},
	{"disk_verify", FRAME_DISK_VERIFY, 9, disk_verify},
	{"disk_verified", FRAME_DISK_VERIFIED, 9, disk_verified},
	{"handover", FRAME_HANDOVER, 9, handover},
	{"ask_facts", FRAME_ASK_FACTS, FRAME_NO_EPOCH, ask_facts},
	{"ask_host_facts", FRAME_ASK_FACTS, FRAME_NO_EPOCH, ask_host_facts},
	{"facts", FRAME_FACTS, FRAME_NO_EPOCH, facts},
	{"drill", FRAME_DRILL, FRAME_NO_EPOCH, drill},
	{"drill_says", FRAME_DRILL_SAYS, FRAME_NO_EPOCH, drill_says},
};
const size_t n_samples = ARRAY_SIZE(samples);

static int config_again(const struct frame *f, struct wr *w, struct err *e)
{
	const char *json;
	size_t size;
	int rc = wire_config_decode(f, &json, &size, e);

	if (!rc)
		wire_config_encode(w, json, size);
	return rc;
}

static int facts_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_ask_facts ask;
	const char *json;
	size_t size;
	int rc;

	if (f->h.type == FRAME_ASK_FACTS) {
		rc = wire_ask_facts_decode(f, &ask, e);
		if (!rc)
			wire_ask_facts_encode(w, &ask);
		return rc;
	}
	rc = wire_facts_decode(f, &json, &size, e);
	if (!rc)
		wire_facts_encode(w, json, size);
	return rc;
}

static int drill_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_drill m;
	int rc = wire_drill_decode(f, &m, e);

	if (!rc)
		wire_drill_encode(w, &m);
	return rc;
}

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

static int guest_again(const struct frame *f, struct wr *w, struct err *e)
{
	if (f->h.type == FRAME_CONFIG)
		return config_again(f, w, e);
	return f->h.type == FRAME_STATIC ? static_again(f, w, e) : pages_again(f, w, e);
}

static int disks_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_disks_ok ok;
	struct wire_disks m;
	int rc;

	if (f->h.type == FRAME_DISKS) {
		rc = wire_disks_decode(f, &m, e);
		if (!rc)
			wire_disks_encode(w, &m);
		return rc;
	}
	rc = wire_disks_ok_decode(f, &ok, e);
	if (!rc)
		wire_disks_ok_encode(w, &ok);
	return rc;
}

static int range_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_disk_range m;
	const uint8_t *data;
	int rc;

	if (f->h.type == FRAME_DISK_HASH) {
		rc = wire_disk_hash_decode(f, &sample_disks, &m, &data, e);
		if (!rc)
			wire_disk_hash_encode(w, &m, data);
		return rc;
	}
	rc = wire_disk_want_decode(f, &sample_disks, &m, &data, e);
	if (!rc)
		wire_disk_want_encode(w, &m, data);
	return rc;
}

static int data_again(const struct frame *f, struct wr *w, struct err *e)
{
	struct wire_disk_record r;
	struct rd records;
	uint32_t count;
	uint16_t disk;
	int rc = wire_disk_data_decode(f, &sample_disks, &disk, &count, &records, e);

	if (rc < 0)
		return rc;
	wire_disk_data_begin(w, disk);
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		rc = wire_disk_record_decode(&records, sample_disks.disk[disk].size, &r, e);
		if (rc == 0)
			wire_disk_record_encode(w, &r);
	}
	wire_disk_data_end(w, count);
	if (rc == 0 && !rd_done(&records))
		rc = err_setx(e, -EBADMSG, "DISK_DATA has bytes after its %u records: length",
			      count);
	return rc;
}

#define AGAIN(what, ...)                                      \
	do {                                                  \
		rc = wire_##what##_decode(f, &m.what, e);     \
		if (!rc)                                      \
			wire_##what##_encode(w, __VA_ARGS__); \
	} while (0)

#define AGAIN_DISK(what)                                                 \
	do {                                                             \
		rc = wire_##what##_decode(f, &sample_disks, &m.what, e); \
		if (!rc)                                                 \
			wire_##what##_encode(w, &m.what);                \
	} while (0)

static int disk_frame_again(const struct frame *f, struct wr *w, struct err *e)
{
	union {
		struct wire_disk_end disk_end;
		struct wire_disk_progress disk_progress;
		struct wire_disk_verify disk_verify;
		struct wire_disk_verified disk_verified;
		struct wire_handover handover;
	} m;
	int rc = 0;

	switch ((int)f->h.type) {
	case FRAME_DISKS:
	case FRAME_DISKS_OK:
		rc = disks_again(f, w, e);
		break;
	case FRAME_DISK_HASH:
	case FRAME_DISK_WANT:
		rc = range_again(f, w, e);
		break;
	case FRAME_DISK_DATA:
		rc = data_again(f, w, e);
		break;
	case FRAME_DISK_END:
		AGAIN_DISK(disk_end);
		break;
	case FRAME_DISK_PROGRESS:
		AGAIN_DISK(disk_progress);
		break;
	case FRAME_DISK_VERIFY:
		AGAIN_DISK(disk_verify);
		break;
	case FRAME_DISK_VERIFIED:
		AGAIN_DISK(disk_verified);
		break;
	case FRAME_HANDOVER:
		AGAIN(handover, &m.handover);
		break;
	}
	return rc;
}

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
	int rc = 0;

	switch ((enum frame_type)f->h.type) {
	case FRAME_ASK_FACTS:
	case FRAME_FACTS:
		rc = facts_again(f, w, e);
		break;
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
	case FRAME_STATIC:
	case FRAME_PAGES:
		rc = guest_again(f, w, e);
		break;
	case FRAME_COPY_ROUND:
		AGAIN(copy_round, &m.copy_round);
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
	case FRAME_DISKS:
	case FRAME_DISKS_OK:
	case FRAME_DISK_HASH:
	case FRAME_DISK_WANT:
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_PROGRESS:
	case FRAME_DISK_VERIFY:
	case FRAME_DISK_VERIFIED:
	case FRAME_HANDOVER:
		rc = disk_frame_again(f, w, e);
		break;
	case FRAME_DRILL:
	case FRAME_DRILL_SAYS:
		rc = drill_again(f, w, e);
		break;
	}
	assert(!rc == !e->rc);
	return rc;
}
