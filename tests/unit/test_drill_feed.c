/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data thread's side: a standby counts as settled when its reader has come past all that was fed, and not before. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "replicator/apply.h"
#include "replicator/drill_feed.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/xc_stream.h"

struct world {
	int fd[2];
	struct apply *ap;
	struct drill_feed feed;
	struct drill_share *seen; /* the drill's view */
};

static void put_epoch(struct world *w, uint64_t epoch, uint64_t pfn, bool through_feed)
{
	static const uint8_t page[4096];
	struct wire_state s = {.kind = WIRE_TSC_INFO, .tsc.khz = (uint32_t)(100 + epoch)};
	const uint8_t context[8] = {(uint8_t)epoch};

	assert_int_equal(apply_page(w->ap, pfn, page, NULL), 0);
	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
	s = (struct wire_state){.kind = WIRE_HVM_PARAMS, .n_params = 1, .param = {{1, epoch}}};
	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
	s = (struct wire_state){.kind = WIRE_HVM_CONTEXT, .hvm = {.data = context, .size = 8}};
	assert_int_equal(apply_state(w->ap, &s, NULL), 0);
	assert_int_equal(apply_seal(w->ap, epoch, NULL), 0);
	if (through_feed)
		drill_feed_before(&w->feed, w->ap, epoch);
	assert_int_equal(apply_commit(w->ap, epoch, NULL), 0);
	if (through_feed)
		drill_feed_after(&w->feed);
}

static void begin(struct world *w)
{
	static const struct wire_static m = {.n_leaves = 1};
	struct apply_conf conf = {.arena_pages = 64,
				  .mem_pages = 256,
				  .xen_major = 4,
				  .stall_ns = NS_PER_SEC,
				  .wake_fd = -1};
	struct drill_share *share;
	int fd;

	*w = (struct world){.ap = NULL};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->fd), 0);
	assert_int_equal(apply_new_take(&w->ap, &conf, w->fd[0], NULL), 0);
	assert_int_equal(apply_static(w->ap, &m, NULL), 0);
	put_epoch(w, 0, 1, false);
	assert_int_equal(drill_share_make(&share, 256, &fd, NULL), 0);
	assert_int_equal(drill_share_open(&w->seen, fd, NULL), 0);
	close(fd);
	drill_feed_begin_take(&w->feed, share, &m, w->ap);
}

static void over(struct world *w)
{
	drill_feed_end(&w->feed);
	drill_share_close(w->seen);
	apply_free(w->ap);
	if (w->fd[1] >= 0)
		close(w->fd[1]);
}

/* All bytes that are there now; the last record is the mark. */
static size_t read_all(struct world *w, uint8_t last[XCS_TSC_SIZE])
{
	static uint8_t buf[1 << 20];
	size_t used = 0;
	ssize_t n;

	while ((n = recv(w->fd[1], buf + used, sizeof(buf) - used, MSG_DONTWAIT)) > 0)
		used += (size_t)n;
	if (used >= XCS_TSC_SIZE)
		memcpy(last, buf + used - XCS_TSC_SIZE, XCS_TSC_SIZE);
	return used;
}

static void settles_when_it_was_read(void **state)
{
	uint8_t last[XCS_TSC_SIZE];
	struct world w;
	struct rd r;

	begin(&w);
	assert_true(drill_feed_waits(&w.feed));
	drill_feed_pump(&w.feed, w.ap);
	drill_feed_pump(&w.feed, w.ap);
	assert_false(drill_share_begun(w.seen));
	assert_true(read_all(&w, last) > 0);
	drill_feed_pump(&w.feed, w.ap);
	assert_int_equal(drill_share_window(w.seen), 0);
	assert_false(drill_feed_waits(&w.feed));
	/* What was said once more is the time stamp counter of the epoch that is there. */
	r = rd_init(last, sizeof(last));
	assert_int_equal(rd_u32(&r), 8);
	assert_int_equal(rd_u32(&r), 24);
	assert_int_equal(rd_u32(&r), 0);
	assert_int_equal(rd_u32(&r), 100);
	over(&w);
}

static void each_epoch_is_marked(void **state)
{
	uint8_t last[XCS_TSC_SIZE];
	uint64_t bits[4] = {0};
	struct world w;

	begin(&w);
	drill_feed_pump(&w.feed, w.ap);
	(void)read_all(&w, last);
	drill_feed_pump(&w.feed, w.ap);
	put_epoch(&w, 1, 70, true);
	assert_true(drill_share_window(w.seen) == EPOCH_NONE);
	drill_feed_pump(&w.feed, w.ap);
	assert_true(drill_share_window(w.seen) == EPOCH_NONE);
	(void)read_all(&w, last);
	drill_feed_pump(&w.feed, w.ap);
	assert_int_equal(drill_share_window(w.seen), 1);
	drill_share_take(w.seen, bits);
	assert_true(!bits[0] && bits[1] == 1 << 6);
	assert_int_equal(drill_share_state(w.seen, 1)->tsc.khz, 101);
	assert_int_equal(drill_share_state(w.seen, 1)->hvm[0], 1);
	assert_int_equal(drill_share_state(w.seen, 1)->param[0].value, 1);
	over(&w);
}

/* An epoch that is collected and not committed yet: no mark gets between, and none is sent in its midst. */
static void no_mark_within_an_epoch(void **state)
{
	static const uint8_t page[4096];
	uint8_t last[XCS_TSC_SIZE];
	struct world w;

	begin(&w);
	assert_int_equal(apply_page(w.ap, 3, page, NULL), 0);
	(void)read_all(&w, last);
	drill_feed_pump(&w.feed, w.ap);
	assert_int_equal(read_all(&w, last), XCS_TSC_SIZE);
	drill_feed_pump(&w.feed, w.ap);
	assert_int_equal(drill_share_window(w.seen), 0);
	over(&w);
}

static void a_lost_standby_ends_it(void **state)
{
	struct world w;

	begin(&w);
	close(w.fd[1]);
	w.fd[1] = -1;
	drill_feed_pump(&w.feed, w.ap);
	assert_true(drill_share_ended(w.seen));
	assert_false(drill_feed_waits(&w.feed));
	/* And nothing more is told to nobody. */
	drill_feed_after(&w.feed);
	drill_feed_pump(&w.feed, w.ap);
	drill_feed_end(&w.feed);
	over(&w);
}

static void without_a_drill_nothing_is_sent(void **state)
{
	uint8_t last[XCS_TSC_SIZE];
	struct world w;
	size_t with;

	begin(&w);
	drill_feed_end(&w.feed);
	assert_true(drill_share_ended(w.seen));
	(void)read_all(&w, last);
	put_epoch(&w, 1, 2, true);
	drill_feed_pump(&w.feed, w.ap);
	with = read_all(&w, last);
	put_epoch(&w, 2, 2, false);
	assert_int_equal(read_all(&w, last), with);
	over(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settles_when_it_was_read),
		cmocka_unit_test(each_epoch_is_marked),
		cmocka_unit_test(no_mark_within_an_epoch),
		cmocka_unit_test(a_lost_standby_ends_it),
		cmocka_unit_test(without_a_drill_nothing_is_sent),
	};

	return RUN_TESTS("drill_feed", tests);
}
