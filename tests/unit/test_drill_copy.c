/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby of words, one for each page, that is fed epochs while it is copied: at every read and between reads the worker may
 * begin an epoch, be half through working it in, or have it settled, as the seed says. What the reader of the copy's stream has
 * at the end must be the standby exactly as it was at the epoch that the copy names.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/rd.h"
#include "replicator/apply.h"
#include "replicator/drill_copy.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/xc_stream.h"

#define PAGES 3000
#define HOLE 7 /* every so many pages there is none */

/* ---- who reads the copy's stream ------------------------------------------------ */

struct reader {
	int fd;
	pthread_t thread;
	bool bad;
	unsigned int checkpoints;
	uint32_t khz;
	uint64_t word[PAGES];
	uint8_t buf[8 << 20];
};

static bool get(int fd, void *buf, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(fd, (uint8_t *)buf + got, size - got);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static void take_pages(struct reader *r, struct rd body)
{
	uint32_t n = rd_u32(&body);
	struct rd pfns;

	rd_zero(&body, 4);
	pfns = rd_sub(&body, (size_t)n * 8);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t pfn = rd_u64(&pfns);
		const uint8_t *page = rd_ptr(&body, 4096);

		if (!page || pfn >= PAGES || pfn % HOLE == 0)
			r->bad = true;
		else
			memcpy(&r->word[pfn], page, 8);
	}
	r->bad |= !rd_done(&body);
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	uint8_t head[XCS_HEADERS_SIZE];

	r->bad = !get(r->fd, head, sizeof(head));
	while (!r->bad && get(r->fd, head, 8)) {
		struct rd h = rd_init(head, 8);
		uint32_t type = rd_u32(&h);
		size_t size = rd_u32(&h);
		struct rd body;

		if (size > sizeof(r->buf) || !get(r->fd, r->buf, (size + 7) & ~(size_t)7)) {
			r->bad = true;
			break;
		}
		body = rd_init(r->buf, size);
		if (type == 1) {
			take_pages(r, body);
		} else if (type == 8) {
			rd_skip(&body, 4);
			r->khz = rd_u32(&body);
		} else if (type == 0x0e) {
			r->checkpoints++;
			r->bad = !get(r->fd, head, 8);
		}
	}
	return NULL;
}

/* ---- the standby, and who feeds it ------------------------------------------------ */

enum step {
	STEP_SETTLED,
	STEP_FED, /* all of it is with the standby, nothing is worked in */
	STEP_HALF,
};

struct world {
	struct drill_share *worker, *drill;
	struct drill_copy c;
	struct reader *r;
	unsigned int seed;
	enum step step;
	bool stands;	    /* no epoch comes by itself any more */
	unsigned int dirty; /* pages of an epoch */
	uint64_t epoch;
	uint64_t pfn[PAGES];
	uint32_t n;
	uint64_t word[PAGES];	/* of the standby now */
	uint64_t (*all)[PAGES]; /* of all pages, of the last 64 epochs */
	unsigned int reads, errors;
	unsigned int haste;
};

static unsigned int chance(struct world *w, unsigned int n)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 8) % n;
}

static void work_in(struct world *w, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		w->word[w->pfn[i]] = w->epoch << 20 | w->pfn[i];
}

static void settle(struct world *w)
{
	memcpy(w->all[w->epoch % 64], w->word, sizeof(w->word));
	w->step = STEP_SETTLED;
	drill_share_settled(w->worker, w->epoch);
}

static void feed(struct world *w)
{
	struct drill_state *st;

	w->epoch++;
	w->n = w->dirty;
	for (uint32_t i = 0; i < w->n; i++)
		w->pfn[i] = chance(w, PAGES);
	drill_share_feeding(w->worker, w->epoch, w->pfn, w->n);
	st = drill_share_state_of(w->worker, w->epoch);
	st->tsc.khz = (uint32_t)w->epoch;
	st->n_params = 1;
	st->hvm_size = 8;
	w->step = STEP_FED;
}

/* One thing happens. */
static void go_on(struct world *w)
{
	switch (w->step) {
	case STEP_SETTLED:
		if (!w->stands)
			feed(w);
		break;
	case STEP_FED:
		work_in(w, 0, w->n / 2);
		w->step = STEP_HALF;
		break;
	case STEP_HALF:
		work_in(w, w->n / 2, w->n);
		settle(w);
		break;
	}
}

/* Between the drill's look at the epoch and its look at what has changed, too. */
static struct world *now_in;
void __real_drill_share_take(struct drill_share *s, uint64_t *bitmap);
void __wrap_drill_share_take(struct drill_share *s, uint64_t *bitmap);
void __wrap_drill_share_take(struct drill_share *s, uint64_t *bitmap)
{
	if (now_in && chance(now_in, 3) == 0)
		go_on(now_in);
	__real_drill_share_take(s, bitmap);
	if (now_in && chance(now_in, 8) == 0)
		go_on(now_in);
}

static int read_pages(void *arg, const uint64_t *pfn, uint32_t n, uint8_t *pages, bool *have,
		      struct err *e)
{
	struct world *w = arg;
	if (w->errors && ++w->reads == w->errors)
		return err_setx(e, -ESRCH, "the domain is gone");
	for (uint32_t i = 0; i < n; i++) {
		if (chance(w, n / 2 + 1) == 0)
			go_on(w);
		have[i] = pfn[i] % HOLE != 0;
		if (have[i])
			memcpy(pages + (size_t)i * 4096, &w->word[pfn[i]], 8);
	}
	return 0;
}

static int between(void *arg, struct err *e)
{
	struct world *w = arg;

	if (chance(w, 2))
		go_on(w);
	return 0;
}

static void haste(void *arg, bool on)
{
	struct world *w = arg;

	w->haste += on;
}

static struct world *world_new(unsigned int seed, unsigned int dirty)
{
	struct world *w = calloc(1, sizeof(*w));
	static const struct wire_static statics = {.n_leaves = 1};
	struct apply_conf ac = {.arena_pages = DRILL_COPY_BATCH,
				.mem_pages = PAGES,
				.xen_major = 4,
				.stall_ns = 20 * NS_PER_SEC,
				.wake_fd = -1};
	int pair[2], fd;

	assert_non_null(w);
	w->r = calloc(1, sizeof(*w->r));
	w->all = calloc(64, sizeof(*w->all));
	w->seed = seed;
	w->dirty = dirty;
	assert_int_equal(drill_share_make(&w->worker, PAGES, &fd, NULL), 0);
	assert_int_equal(drill_share_open(&w->drill, fd, NULL), 0);
	close(fd);
	drill_share_begin(w->worker, &statics, 0);
	for (uint64_t i = 0; i < PAGES; i++)
		w->word[i] = i;
	w->step = STEP_FED; /* epoch 0, without a page and unmarked */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	w->r->fd = pair[1];
	w->c = (struct drill_copy){.share = w->drill,
				   .read = read_pages,
				   .between = between,
				   .haste = haste,
				   .arg = w,
				   .last_max = 1024,
				   .timeout_ns = 20 * NS_PER_SEC};
	assert_int_equal(apply_new_take(&w->c.apply, &ac, pair[0], NULL), 0);
	assert_int_equal(pthread_create(&w->r->thread, NULL, reader_main, w->r), 0);
	return w;
}

static void world_free(struct world *w)
{
	apply_free(w->c.apply);
	pthread_join(w->r->thread, NULL);
	close(w->r->fd);
	drill_share_close(w->worker);
	drill_share_close(w->drill);
	free(w->all);
	free(w->r);
	free(w);
}

static void end_of_stream(struct world *w)
{
	apply_free(w->c.apply);
	w->c.apply = NULL;
	pthread_join(w->r->thread, NULL);
	w->r->thread = pthread_self();
}

/* What the drill has is what the standby was at that epoch, page by page. */
static void is_one_instant(void **state)
{
	for (unsigned int seed = 1; seed <= 60; seed++) {
		struct world *w = world_new(seed * 7919, 1 + seed * 4 % 600);
		struct err e = ERR_INIT;
		int rc;

		now_in = w;
		w->c.last_max = seed % 2 ? 3000 : 200;
		rc = drill_copy_run(&w->c, &e);
		now_in = NULL;
		if (rc < 0)
			fail_msg("seed %u: %s", seed, e.text);
		end_of_stream(w);
		assert_false(w->r->bad);
		assert_int_equal(w->r->checkpoints, 1);
		assert_true(w->c.epoch != EPOCH_NONE && w->c.epoch + 64 > w->epoch);
		assert_int_equal(w->r->khz, w->c.epoch);
		for (uint64_t i = 0; i < PAGES; i++) {
			if (i % HOLE && w->r->word[i] != w->all[w->c.epoch % 64][i])
				fail_msg("seed %u: page %llu is of epoch %llu, not %llu", seed,
					 (unsigned long long)i,
					 (unsigned long long)(w->r->word[i] >> 20),
					 (unsigned long long)w->c.epoch);
		}
		assert_true(w->haste == w->c.tries);
		drill_share_close(w->worker);
		drill_share_close(w->drill);
		close(w->r->fd);
		free(w->all);
		free(w->r);
		free(w);
	}
}

/* No epoch comes, so none can be taken; the worker says that it is over. */
static int over_after_a_while(void *arg, struct err *e)
{
	struct world *w = arg;

	if (++w->reads == 20)
		drill_share_end(w->worker);
	return 0;
}

static void ends_with_the_standby(void **state)
{
	struct world *w = world_new(3, 10);
	struct err e = ERR_INIT;

	w->stands = true;
	w->c.between = over_after_a_while;
	settle(w);
	assert_int_equal(drill_copy_run(&w->c, &e), -ESTALE);
	assert_true(w->c.epoch == EPOCH_NONE);
	assert_int_equal(w->c.pages, PAGES - (PAGES + HOLE - 1) / HOLE);
	world_free(w);
}

/* The first epoch is never worked in: nothing is read, for it may be anything. */
static void waits_for_what_was_fed_before(void **state)
{
	struct world *w = world_new(4, 10);
	struct err e = ERR_INIT;

	w->c.between = NULL;
	w->c.timeout_ns = 50 * NS_PER_MS;
	assert_int_equal(drill_copy_run(&w->c, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "was not copied in time"));
	assert_int_equal(w->c.pages, 0);
	world_free(w);
}

static void an_error_of_reading_ends_it(void **state)
{
	struct world *w = world_new(5, 10);
	struct err e = ERR_INIT;

	w->errors = 2;
	assert_int_equal(drill_copy_run(&w->c, &e), -ESRCH);
	assert_string_equal(e.text, "the domain is gone");
	world_free(w);
}

static int called_off(void *arg, struct err *e)
{
	go_on(arg);
	return err_setx(e, -ECANCELED, "called off");
}

static void can_be_called_off(void **state)
{
	struct world *w = world_new(6, 10);
	struct err e = ERR_INIT;

	w->c.between = called_off;
	assert_int_equal(drill_copy_run(&w->c, &e), -ECANCELED);
	world_free(w);
}

static void memory_can_run_out(void **state)
{
	for (long n = 0; n < 5; n++) {
		struct world *w = world_new(7, 10);
		struct err e = ERR_INIT;

		mem_fail_after(n);
		assert_int_equal(drill_copy_run(&w->c, &e), -ENOMEM);
		mem_fail_after(MEM_NEVER);
		world_free(w);
	}
}

/* ---- the share by itself ---------------------------------------------------------- */

static void share_of_another_build(void **state)
{
	struct drill_share *s = NULL, *other = NULL;
	struct err e = ERR_INIT;
	struct stat st;
	int fd;

	assert_int_equal(drill_share_make(&s, 0, &fd, &e), -EINVAL);
	assert_int_equal(drill_share_make(&s, WIRE_MAX_MEM_PAGES + 1, &fd, &e), -EINVAL);
	assert_int_equal(drill_share_make(&s, 1000, &fd, &e), 0);
	assert_int_equal(drill_share_mem_pages(s), 1000);
	/* All of it is there: the data thread must not be the one to find that it is not. */
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size && st.st_size > 1000 / 8);
	assert_int_equal(ftruncate(fd, 16), 0);
	assert_int_equal(drill_share_open(&other, fd, &e), -EPROTO);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(drill_share_open(&other, fd, &e), -EPROTO);
	assert_non_null(strstr(e.text, "another build"));
	assert_null(other);
	close(fd);
	drill_share_close(s);
	drill_share_close(NULL);
}

static void windows(void **state)
{
	static const uint64_t pfn[] = {0, 63, 64, 199, 200, UINT64_MAX};
	static const struct wire_static statics = {.n_leaves = 3};
	struct drill_share *s;
	uint64_t bits[4] = {0};
	int fd;

	assert_int_equal(drill_share_make(&s, 200, &fd, NULL), 0);
	close(fd);
	assert_false(drill_share_begun(s));
	drill_share_begin(s, &statics, 5);
	assert_int_equal(drill_share_statics(s)->n_leaves, 3);
	assert_true(drill_share_window(s) == EPOCH_NONE);
	drill_share_settled(s, 5);
	assert_true(drill_share_begun(s));
	assert_int_equal(drill_share_window(s), 5);
	assert_true(drill_share_still(s, 5));
	/* Its state was never said. */
	assert_null(drill_share_state(s, 5));
	drill_share_feeding(s, 6, pfn, ARRAY_SIZE(pfn));
	assert_false(drill_share_still(s, 5));
	assert_true(drill_share_window(s) == EPOCH_NONE);
	drill_share_state_of(s, 6)->tsc.khz = 9;
	drill_share_settled(s, 6);
	assert_int_equal(drill_share_window(s), 6);
	assert_int_equal(drill_share_state(s, 6)->tsc.khz, 9);
	drill_share_take(s, bits);
	assert_true(bits[0] == (1 | UINT64_C(1) << 63) && bits[1] == 1 && !bits[2] &&
		    bits[3] == 1 << 7);
	memset(bits, 0, sizeof(bits));
	drill_share_take(s, bits);
	assert_false(bits[0] || bits[1] || bits[3]);
	drill_share_end(s);
	assert_true(drill_share_ended(s));
	assert_true(drill_share_window(s) == EPOCH_NONE);
	assert_false(drill_share_still(s, EPOCH_NONE));
	drill_share_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_one_instant),
		cmocka_unit_test(ends_with_the_standby),
		cmocka_unit_test(waits_for_what_was_fed_before),
		cmocka_unit_test(an_error_of_reading_ends_it),
		cmocka_unit_test(can_be_called_off),
		cmocka_unit_test(memory_can_run_out),
		cmocka_unit_test(share_of_another_build),
		cmocka_unit_test(windows),
	};

	return RUN_TESTS("drill_copy", tests);
}
