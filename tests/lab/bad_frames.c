// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bad_frames CASE HOST: what a primary with a good certificate may send and should not, as bytes on stdout, for
 * tests/lab/peers to put through somebody else's TLS client. `bad_frames` alone lists the cases. One thread.
 */
#include <stdio.h>
#include <string.h>

#include "lib/frame.h"
#include "lib/wire_v1.h"

/* A VM that nobody has, so that no case can stand in for a real session. */
#define NO_VM "nobody"

struct bytes {
	const char *host; /* as the certificate has it */
	uint8_t buf[8192];
	size_t n;
};

/* Appends a frame; returns where its header begins. */
static uint8_t *put(struct bytes *b, const struct frame_header *h, const void *payload, size_t size)
{
	uint8_t *at = b->buf + b->n;

	frame_encode(at, h);
	memcpy(at + FRAME_HEADER_SIZE, payload, size);
	b->n += FRAME_HEADER_SIZE + size;
	return at;
}

static struct wire_hello good_hello(const struct bytes *b)
{
	struct wire_hello m = {
		.version_min = FRAME_VERSION_MIN,
		.version_max = FRAME_VERSION_MAX,
		.uuid = {0x4e, 0x6f},
		.term = 1,
		.mem_pages = 49152,
		.ram_pages = 49152,
		.arena_pages = 4096,
		.cache_slots = 1024,
		.heartbeat_period_ms = 250,
		.failure_timeout_ms = 2000,
		.epoch_period_us = 50000,
		.vcpus = 1,
		.policy = WIRE_POLICY_HOLD,
		.vm = NO_VM,
	};

	snprintf(m.host, sizeof(m.host), "%s", b->host);
	return m;
}

static void put_hello(struct bytes *b, const struct wire_hello *m, uint64_t seq)
{
	uint8_t payload[256];
	struct wr w = wr_init(payload, sizeof(payload));
	struct frame_header h;

	wire_hello_encode(&w, m);
	h = frame_make(FRAME_HELLO, FRAME_NO_EPOCH, payload, wr_used(&w));
	h.seq = seq;
	put(b, &h, payload, wr_used(&w));
}

static void garbage(struct bytes *b)
{
	for (; b->n < 1000; b->n++)
		b->buf[b->n] = (uint8_t)(b->n * 167 + 13);
}

static void truncated(struct bytes *b)
{
	const struct wire_hello m = good_hello(b);

	put_hello(b, &m, 1);
	b->n -= 100;
}

static void oversized(struct bytes *b)
{
	const struct frame_header h = {.version = FRAME_VERSION_MIN,
				       .type = FRAME_CONFIG,
				       .flags = FRAME_MANDATORY,
				       .length = UINT32_MAX,
				       .seq = 1,
				       .epoch = FRAME_NO_EPOCH};

	put(b, &h, "", 0);
}

static void damaged_header(struct bytes *b)
{
	const struct wire_hello m = good_hello(b);

	put_hello(b, &m, 1);
	b->buf[20] ^= 1;
}

static void damaged_payload(struct bytes *b)
{
	const struct wire_hello m = good_hello(b);

	put_hello(b, &m, 1);
	b->buf[FRAME_HEADER_SIZE + 30] ^= 1;
}

static void replayed(struct bytes *b)
{
	const struct wire_hello m = good_hello(b);

	put_hello(b, &m, 1);
	put_hello(b, &m, 1);
}

static void out_of_order(struct bytes *b)
{
	uint8_t payload[64];
	struct wr w = wr_init(payload, sizeof(payload));
	const struct wire_epoch_end m = {.pages = 0};
	struct frame_header h;

	wire_epoch_end_encode(&w, &m);
	h = frame_make(FRAME_EPOCH_END, 0, payload, wr_used(&w));
	h.seq = 1;
	put(b, &h, payload, wr_used(&w));
}

static void unknown_type(struct bytes *b)
{
	const struct frame_header h = {.version = FRAME_VERSION_MIN,
				       .type = 77,
				       .flags = FRAME_MANDATORY,
				       .seq = 1,
				       .epoch = FRAME_NO_EPOCH};

	put(b, &h, "", 0);
}

static void future_version(struct bytes *b)
{
	struct wire_hello m = good_hello(b);

	m.version_min = FRAME_VERSION_MAX + 1;
	m.version_max = FRAME_VERSION_MAX + 1;
	put_hello(b, &m, 1);
}

static void impostor(struct bytes *b)
{
	struct wire_hello m = good_hello(b);

	memcpy(m.host, "hostC", sizeof("hostC"));
	put_hello(b, &m, 1);
}

static void greedy(struct bytes *b)
{
	struct wire_hello m = good_hello(b);

	m.mem_pages = m.ram_pages = m.arena_pages = WIRE_MAX_ARENA_PAGES;
	put_hello(b, &m, 1);
}

static const struct {
	const char *name;
	void (*make)(struct bytes *b);
} cases[] = {
	{"garbage", garbage},
	{"truncated", truncated},
	{"oversized", oversized},
	{"damaged-header", damaged_header},
	{"damaged-payload", damaged_payload},
	{"replayed", replayed},
	{"out-of-order", out_of_order},
	{"unknown-type", unknown_type},
	{"future-version", future_version},
	{"impostor", impostor},
	{"greedy", greedy},
};

int main(int argc, char **argv)
{
	static struct bytes b;

	b.host = argc > 2 ? argv[2] : "hostA";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (argc == 1)
			puts(cases[i].name);
		else if (!strcmp(argv[1], cases[i].name))
			cases[i].make(&b);
	}
	if (argc == 1)
		return 0;
	if (!b.n) {
		fprintf(stderr, "bad_frames: there is no case \"%s\"\n", argv[1]);
		return 2;
	}
	return fwrite(b.buf, 1, b.n, stdout) == b.n && !fflush(stdout) ? 0 : 1;
}
