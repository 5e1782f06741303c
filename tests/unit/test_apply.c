/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epochs go through the encoder and a socketpair; the other end reads records by rules of its own and
 * keeps what a restorer would have: memory, state and the last whole checkpoint.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/rd.h"
#include "replicator/apply.h"
#include "replicator/epoch.h"
#include "replicator/xc_stream.h"

#define GUEST_PAGES 8192
#define ARENA_PAGES 2500

/* ---- a reader of the stream ------------------------------------------------ */

struct reader {
	int fd;
	pthread_t thread;
	bool bad;
	bool static_end;
	unsigned int cpuid, msrs;
	unsigned int checkpoints;
	unsigned int pages_now; /* since the last checkpoint */
	unsigned int pages[16]; /* of each checkpoint */
	unsigned int tsc_khz;
	uint64_t param;
	char context[16];
	uint8_t mem[GUEST_PAGES]; /* first byte of each page as of the last record */
	uint8_t last[GUEST_PAGES];
};

static bool reader_get(struct reader *r, void *buf, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(r->fd, (uint8_t *)buf + got, size - got);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static bool reader_pages(struct reader *r, struct rd *body)
{
	uint32_t n = rd_u32(body);
	struct rd pfns;

	rd_zero(body, 4);
	pfns = rd_sub(body, (size_t)n * 8);
	for (uint32_t i = 0; i < n && rd_ok(body); i++) {
		uint64_t pfn = rd_u64(&pfns);
		const uint8_t *p = rd_ptr(body, 4096);

		if (pfn >= GUEST_PAGES || !p || p[4095] != p[0])
			return false;
		r->mem[pfn] = p[0];
	}
	r->pages_now += n;
	return n >= 1 && n <= 1024 && rd_done(body) && r->static_end;
}

static bool reader_record(struct reader *r, uint32_t type, struct rd *body)
{
	uint8_t end[8];

	switch (type) {
	case 0x01:
		return reader_pages(r, body);
	case 0x08:
		rd_skip(body, 4);
		r->tsc_khz = rd_u32(body);
		return rd_left(body) == 16;
	case 0x09:
		rd_bytes(body, r->context, MIN(sizeof(r->context), rd_left(body)));
		return true;
	case 0x0a:
		rd_skip(body, 16);
		r->param = rd_u64(body);
		return rd_done(body);
	case 0x0e:
		if (!reader_get(r, end, 8) || memcmp(end, "\4\0\0\0\0\0\0\0", 8) != 0)
			return false;
		if (r->checkpoints < ARRAY_SIZE(r->pages))
			r->pages[r->checkpoints] = r->pages_now;
		r->checkpoints++;
		r->pages_now = 0;
		memcpy(r->last, r->mem, sizeof(r->last));
		return true;
	case 0x10:
		r->static_end = true;
		return true;
	case 0x11:
		r->cpuid = (unsigned int)rd_left(body) / 24;
		return !r->static_end;
	case 0x12:
		r->msrs = (unsigned int)rd_left(body) / 16;
		return !r->static_end;
	default:
		return false;
	}
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	size_t room = (size_t)5 << 20;
	autofree uint8_t *buf = mem_alloc(room);
	uint8_t head[XCS_HEADERS_SIZE];

	r->bad = !buf || !reader_get(r, head, sizeof(head)) || memcmp(head, "LibxlFmt", 8) != 0;
	while (!r->bad && reader_get(r, head, 8)) {
		struct rd h = rd_init(head, 8);
		uint32_t type = rd_u32(&h);
		size_t size = rd_u32(&h);
		struct rd body;

		if (size + 8 > room || !reader_get(r, buf, (size + 7) & ~(size_t)7))
			break;
		body = rd_init(buf, size);
		r->bad = !reader_record(r, type, &body);
	}
	return NULL;
}

/* ---- the writer ------------------------------------------------------------ */

struct world {
	int fd[2];
	int wake;
	struct apply *ap;
	struct reader *r;
};

static void world_init(struct world *w, uint32_t arena_pages, uint64_t stall_ns)
{
	int small = 64 << 10;
	struct apply_conf conf = {
		.arena_pages = arena_pages,
		.mem_pages = GUEST_PAGES,
		.xen_major = 4,
		.xen_minor = 17,
		.stall_ns = stall_ns,
	};

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->fd), 0);
	assert_int_equal(setsockopt(w->fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	w->wake = eventfd(0, EFD_CLOEXEC);
	conf.wake_fd = w->wake;
	w->r = calloc(1, sizeof(*w->r));
	assert_non_null(w->r);
	w->r->fd = w->fd[1];
	assert_int_equal(apply_new_take(&w->ap, &conf, w->fd[0], NULL), 0);
}

static void world_read(struct world *w)
{
	assert_int_equal(pthread_create(&w->r->thread, NULL, reader_main, w->r), 0);
}

/* The reader sees the end of the stream and its result is there. */
static void world_join(struct world *w)
{
	apply_free(w->ap);
	w->ap = NULL;
	assert_int_equal(pthread_join(w->r->thread, NULL), 0);
	assert_false(w->r->bad);
}

static void world_fini(struct world *w)
{
	apply_free(w->ap);
	close(w->fd[1]);
	close(w->wake);
	free(w->r);
}

static int put_page(struct world *w, uint64_t pfn, int fill)
{
	uint8_t page[4096];

	memset(page, fill, sizeof(page));
	return apply_page(w->ap, pfn, page, NULL);
}

static void put_pages(struct world *w, uint64_t first, uint64_t n, int fill)
{
	for (uint64_t pfn = first; pfn < first + n; pfn++)
		assert_int_equal(put_page(w, pfn, fill), 0);
}

static void put_state(struct world *w, uint32_t tag)
{
	struct wire_state s = {.kind = WIRE_TSC_INFO, .tsc.khz = tag};
	char context[16] = {0};

	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
	s = (struct wire_state){.kind = WIRE_HVM_PARAMS, .n_params = 1, .param = {{1, tag}}};
	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
	context[0] = (char)tag;
	s = (struct wire_state){.kind = WIRE_HVM_CONTEXT};
	s.hvm.data = (const uint8_t *)context;
	s.hvm.size = 9;
	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
}

static void put_static(struct world *w)
{
	static const struct wire_static m = {.n_leaves = 3, .n_msrs = 2};

	assert_int_equal(apply_static(w->ap, &m, NULL), 0);
}

static void put_epoch(struct world *w, uint64_t epoch, uint32_t tag)
{
	put_state(w, tag);
	assert_int_equal(apply_seal(w->ap, epoch, NULL), 0);
	assert_int_equal(apply_commit(w->ap, epoch, NULL), 0);
	assert_true(apply_fed(w->ap) == epoch);
}

#define LONG (20 * NS_PER_SEC)

static void epochs_arrive_whole(void **state)
{
	struct world w;

	world_init(&w, ARENA_PAGES, LONG);
	world_read(&w);
	put_static(&w);
	assert_true(apply_fed(w.ap) == EPOCH_NONE);
	/* The first copy may be larger than the arena. */
	put_pages(&w, 0, 5000, 1);
	put_epoch(&w, 0, 100);
	put_pages(&w, 10, ARENA_PAGES, 2);
	put_epoch(&w, 1, 101);
	put_epoch(&w, 2, 102); /* nothing was dirtied */
	/* What is collected but not committed stays away from the standby. */
	put_pages(&w, 0, 50, 9);
	put_state(&w, 103);
	assert_int_equal(apply_seal(w.ap, 3, NULL), 0);
	assert_int_equal(apply_finish(w.ap, NULL), 0);
	assert_int_equal(apply_finish(w.ap, NULL), 0);
	assert_int_equal(put_page(&w, 1, 1), -EPROTO);
	world_join(&w);

	assert_int_equal(w.r->cpuid, 3);
	assert_int_equal(w.r->msrs, 2);
	assert_int_equal(w.r->checkpoints, 3);
	assert_int_equal(w.r->pages[0], 5000);
	assert_int_equal(w.r->pages[1], ARENA_PAGES);
	assert_int_equal(w.r->pages[2], 0);
	assert_int_equal(w.r->pages_now, 0);
	assert_int_equal(w.r->tsc_khz, 102);
	assert_int_equal(w.r->param, 102);
	assert_int_equal(w.r->context[0], 102);
	for (unsigned int i = 0; i < 5000; i++)
		assert_int_equal(w.r->last[i], i >= 10 && i < 10 + ARENA_PAGES ? 2 : 1);
	world_fini(&w);
}

static void dropped_epoch_leaves_nothing(void **state)
{
	struct world w;

	world_init(&w, ARENA_PAGES, LONG);
	world_read(&w);
	put_static(&w);
	put_pages(&w, 0, 100, 1);
	put_epoch(&w, 0, 50);
	put_pages(&w, 0, 2000, 7);
	put_state(&w, 51);
	assert_int_equal(apply_pages(w.ap), 2000);
	apply_drop(w.ap);
	assert_int_equal(apply_pages(w.ap), 0);
	/* Its state went as well. */
	assert_int_equal(apply_seal(w.ap, 1, NULL), -EPROTO);
	put_pages(&w, 0, 1, 3);
	put_epoch(&w, 1, 52);
	assert_int_equal(apply_finish(w.ap, NULL), 0);
	world_join(&w);
	assert_int_equal(w.r->checkpoints, 2);
	assert_int_equal(w.r->last[0], 3);
	assert_int_equal(w.r->last[1], 1);
	assert_int_equal(w.r->tsc_khz, 52);
	world_fini(&w);
}

static void order_is_kept(void **state)
{
	static const struct wire_static m = {.n_leaves = 1};
	struct wire_state s = {.kind = 9};
	struct world w;

	world_init(&w, 4, LONG);
	world_read(&w);
	assert_int_equal(put_page(&w, 0, 1), -EPROTO);
	assert_int_equal(apply_state(w.ap, &s, NULL), -EPROTO);
	assert_int_equal(apply_finish(w.ap, NULL), -ENODATA);
	put_static(&w);
	assert_int_equal(apply_static(w.ap, &m, NULL), -EPROTO);
	assert_int_equal(apply_state(w.ap, &s, NULL), -EPROTO);
	assert_int_equal(put_page(&w, GUEST_PAGES, 1), -EPROTO);
	assert_int_equal(put_page(&w, UINT64_MAX, 1), -EPROTO);
	assert_int_equal(apply_seal(w.ap, 0, NULL), -EPROTO);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -EINVAL);
	put_state(&w, 1);
	assert_int_equal(apply_seal(w.ap, 1, NULL), -EPROTO);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	assert_int_equal(put_page(&w, 0, 1), -EPROTO);
	assert_int_equal(apply_commit(w.ap, 1, NULL), -EINVAL);
	assert_int_equal(apply_commit(w.ap, 0, NULL), 0);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -EINVAL);
	/* The arena bounds an epoch (P6). */
	put_pages(&w, 0, 4, 2);
	assert_int_equal(put_page(&w, 5, 1), -ENOSPC);
	apply_drop(w.ap);
	assert_int_equal(apply_finish(w.ap, NULL), 0);
	world_join(&w);
	assert_int_equal(w.r->checkpoints, 1);
	world_fini(&w);
}

/* Nobody reads: the wait ends, and goes on at the very byte later. */
static void interrupted_commit_goes_on(void **state)
{
	const uint64_t one = 1;
	struct err e = ERR_INIT;
	uint64_t value;
	struct world w;

	world_init(&w, ARENA_PAGES, 20 * NS_PER_MS);
	put_static(&w);
	put_pages(&w, 0, 300, 1);
	put_state(&w, 9);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	assert_int_equal(apply_commit(w.ap, 0, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "20 ms"));
	assert_int_equal(apply_drained(w.ap, NULL), -EAGAIN);
	assert_int_equal(apply_finish(w.ap, NULL), -EBUSY); /* P2 */
	assert_int_equal(write(w.wake, &one, 8), 8);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -ECANCELED);
	assert_int_equal(read(w.wake, &value, 8), 8);
	world_read(&w);
	for (int rc = -ETIMEDOUT; rc; rc = apply_commit(w.ap, 0, NULL))
		assert_int_equal(rc, -ETIMEDOUT);
	assert_true(apply_fed(w.ap) == 0);
	assert_int_equal(apply_finish(w.ap, NULL), 0);
	world_join(&w);
	assert_int_equal(w.r->checkpoints, 1);
	assert_int_equal(w.r->pages[0], 300);
	world_fini(&w);
}

static void interrupted_first_copy_goes_on(void **state)
{
	struct world w;
	int rc = 0;
	uint64_t pfn;

	world_init(&w, ARENA_PAGES, 5 * NS_PER_MS);
	put_static(&w);
	for (pfn = 0; rc == 0 && pfn < 2000; pfn++)
		rc = put_page(&w, pfn, 1);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(pfn, XCS_BATCH_PAGES + 1);
	world_read(&w);
	for (pfn--; pfn < 2000; pfn++) {
		while ((rc = put_page(&w, pfn, 1)) == -ETIMEDOUT)
			;
		assert_int_equal(rc, 0);
	}
	put_state(&w, 1);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	while ((rc = apply_commit(w.ap, 0, NULL)) == -ETIMEDOUT)
		;
	assert_int_equal(rc, 0);
	world_join(&w);
	assert_int_equal(w.r->pages[0], 2000);
	for (unsigned int i = 0; i < 2000; i++)
		assert_int_equal(w.r->last[i], 1);
	world_fini(&w);
}

static void drained_when_all_is_read(void **state)
{
	uint64_t give_up = clock_now() + LONG;
	struct world w;
	struct pollfd p;

	world_init(&w, 16, LONG);
	put_static(&w);
	assert_int_equal(apply_drained(w.ap, NULL), -EAGAIN);
	world_read(&w);
	put_epoch(&w, 0, 1);
	p = (struct pollfd){.fd = w.wake, .events = POLLIN};
	while (apply_drained(w.ap, NULL) == -EAGAIN && clock_now() < give_up)
		poll(&p, 1, 1);
	assert_int_equal(apply_drained(w.ap, NULL), 0);
	world_join(&w);
	world_fini(&w);
}

/* What a builder that fails leaves unread is not with the standby. */
static void not_drained_by_a_reader_that_goes(void **state)
{
	struct err e = ERR_INIT;
	struct world w;

	world_init(&w, 16, LONG);
	put_static(&w);
	put_epoch(&w, 0, 1);
	assert_int_equal(apply_drained(w.ap, NULL), -EAGAIN);
	close(w.fd[1]);
	assert_int_equal(apply_drained(w.ap, &e), -EPIPE);
	assert_int_equal(apply_drained(w.ap, &e), -EPIPE);
	assert_int_equal(apply_finish(w.ap, NULL), -EPIPE);
	w.fd[1] = -1;
	world_fini(&w);
}

static void reader_is_gone(void **state)
{
	struct err e = ERR_INIT;
	struct world w;

	world_init(&w, 16, LONG);
	put_static(&w);
	close(w.fd[1]);
	put_state(&w, 1);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	assert_int_equal(apply_commit(w.ap, 0, &e), -EPIPE);
	assert_int_equal(apply_commit(w.ap, 0, &e), -EPIPE);
	assert_int_equal(apply_finish(w.ap, NULL), -EPIPE);
	apply_free(w.ap);
	w.ap = NULL;
	w.fd[1] = -1;
	world_fini(&w);
}

/* The builder dies while the newest acknowledged epoch is fed; the decision that follows drops what there is. */
static void drop_after_a_failed_commit(void **state)
{
	struct world w;

	world_init(&w, 16, LONG);
	world_read(&w);
	put_static(&w);
	put_epoch(&w, 0, 1);
	put_pages(&w, 0, 3, 1);
	put_state(&w, 2);
	assert_int_equal(apply_seal(w.ap, 1, NULL), 0);
	assert_int_equal(shutdown(w.fd[1], SHUT_RDWR), 0);
	assert_int_equal(apply_commit(w.ap, 1, NULL), -EPIPE);
	apply_drop(w.ap);
	assert_int_equal(apply_commit(w.ap, 1, NULL), -EPIPE);
	assert_int_equal(apply_finish(w.ap, NULL), -EPIPE);
	world_join(&w);
	assert_int_equal(w.r->checkpoints, 1);
	world_fini(&w);
}

/* P2: half of an epoch may be with the standby, so nothing may be made of it any more. */
static void drop_after_a_stalled_commit(void **state)
{
	struct world w;

	world_init(&w, ARENA_PAGES, 5 * NS_PER_MS);
	put_static(&w);
	put_pages(&w, 0, 300, 1);
	put_state(&w, 9);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -ETIMEDOUT);
	apply_drop(w.ap);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -EPIPE);
	assert_int_equal(apply_finish(w.ap, NULL), -EPIPE);
	world_fini(&w);
}

static void dropped_first_copy_is_lost(void **state)
{
	struct world w;

	world_init(&w, 16, LONG);
	put_static(&w);
	put_pages(&w, 0, 3, 1);
	apply_drop(w.ap);
	put_state(&w, 1);
	assert_int_equal(apply_seal(w.ap, 0, NULL), 0);
	assert_int_equal(apply_commit(w.ap, 0, NULL), -EPIPE);
	world_fini(&w);
}

static void refuses_settings(void **state)
{
	static const struct apply_conf cases[] = {
		{.arena_pages = 1},
		{.mem_pages = 1},
		{.arena_pages = 1, .mem_pages = WIRE_MAX_MEM_PAGES + 1},
	};
	struct apply *ap = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(apply_new_take(&ap, &cases[i], -1, NULL), -EINVAL);
	apply_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(epochs_arrive_whole),
		cmocka_unit_test(dropped_epoch_leaves_nothing),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(interrupted_commit_goes_on),
		cmocka_unit_test(interrupted_first_copy_goes_on),
		cmocka_unit_test(drained_when_all_is_read),
		cmocka_unit_test(not_drained_by_a_reader_that_goes),
		cmocka_unit_test(reader_is_gone),
		cmocka_unit_test(drop_after_a_failed_commit),
		cmocka_unit_test(drop_after_a_stalled_commit),
		cmocka_unit_test(dropped_first_copy_is_lost),
		cmocka_unit_test(refuses_settings),
	};

	return RUN_TESTS("apply", tests);
}
