/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal whose disk is looked at by a drill: what may be overwritten when, and that nobody is waited for. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/drill_guard.h"
#include "disk/drill_talk.h"
#include "disk/drill_wire.h"
#include "lib/clock.h"
#include "tests/lib/journal_rig.h"

struct world {
	struct rig *r;
	struct drill_guard *g;
	int fd; /* the view's */
};

static void on_state(void *arg, enum journal_state s, const char *why)
{
	((struct rig *)arg)->state = s;
}

static const struct journal_events events = {.state = on_state};

/* CONSISTENT, all bytes 0x11, session 1; through the guard. */
static void begin(struct world *w)
{
	int pair[2];

	w->r = rig_new(64);
	assert_int_equal(drill_guard_new(&w->g, &w->r->disk.base, &drill_talk_socket), 0);
	w->r->o.incarnation++;
	w->r->durable = w->r->applied = JOURNAL_NO_EPOCH;
	assert_int_equal(journal_open(&w->r->file.base, drill_guard_blocks(w->g), &w->r->o,
				      &w->r->j, &w->r->e),
			 0);
	journal_set_events(w->r->j, &events, w->r);
	rig_copy(w->r);
	rig_run(w->r, 2000);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	w->fd = pair[0];
	assert_int_equal(drill_guard_begin_take(w->g, w->r->j, pair[1]), 0);
}

static void over(struct world *w)
{
	drill_guard_end(w->g, "the test is over");
	rig_run(w->r, 2000);
	close(w->fd);
	drill_guard_free(w->g);
	rig_free(w->r);
}

static void tell(struct world *w, enum drill_word word, uint32_t seq, uint64_t epoch)
{
	const struct drill_msg m = {.word = word, .seq = seq, .epoch = epoch};

	assert_int_equal(send(w->fd, &m, sizeof(m), 0), sizeof(m));
}

static bool hear(struct world *w, struct drill_msg *m)
{
	return recv(w->fd, m, sizeof(*m), 0) == (ssize_t)sizeof(*m);
}

/* As disk_go_on() does it. */
static void go_on(struct world *w, uint64_t ms)
{
	for (int i = 0; i < 3; i++) {
		rig_run(w->r, ms / 3);
		(void)drill_guard_go_on(w->g, w->r->now);
	}
	rig_run(w->r, 0);
}

static void put_epoch(struct world *w, uint64_t epoch, uint64_t off, uint8_t fill)
{
	assert_int_equal(rig_write(w->r, epoch, off, 4096, fill), 0);
	rig_commit(w->r, epoch);
}

/* The view is of exactly one epoch, and what follows waits until it was saved. */
static void to_the_epoch(struct world *w)
{
	struct drill_msg m;

	put_epoch(w, 1, 0, 0x21);
	go_on(w, 1000);
	rig_holds(w->r, 0, 4096, 0x21);
	tell(w, DRILL_WORD_HOLD, 0, 0);
	go_on(w, 3);
	assert_true(hear(w, &m));
	assert_int_equal(m.word, DRILL_WORD_HELD);
	assert_int_equal(m.epoch, 1);
	put_epoch(w, 2, 4096, 0x22);
	put_epoch(w, 3, 8192, 0x23);
	put_epoch(w, 4, 4096, 0x24);
	go_on(w, 3000);
	/* Nothing of them is there. */
	rig_holds(w->r, 4096, 8192, 0x11);
	tell(w, DRILL_WORD_AT, 0, 3);
	go_on(w, 600);
	assert_true(hear(w, &m));
	assert_int_equal(m.word, DRILL_WORD_READY);
	assert_int_equal(m.epoch, 3);
	rig_holds(w->r, 4096, 4096, 0x22);
	rig_holds(w->r, 8192, 4096, 0x23);
}

static void what_is_overwritten_is_saved_first(void **state)
{
	struct drill_msg m;
	struct world w;

	begin(&w);
	to_the_epoch(&w);
	go_on(&w, 600);
	assert_true(hear(&w, &m));
	assert_int_equal(m.word, DRILL_WORD_GOING);
	assert_int_equal(m.off, 4096);
	assert_int_equal(m.len, 4096);
	rig_holds(w.r, 4096, 4096, 0x22);
	tell(&w, DRILL_WORD_SAVED, m.seq, 0);
	go_on(&w, 600);
	rig_holds(w.r, 4096, 4096, 0x24);
	/* And so for ever; epochs are acknowledged meanwhile. */
	put_epoch(&w, 5, 0, 0x25);
	go_on(&w, 300);
	assert_true(hear(&w, &m));
	assert_int_equal(m.word, DRILL_WORD_GOING);
	put_epoch(&w, 6, 0, 0x26);
	rig_holds(w.r, 0, 4096, 0x21);
	tell(&w, DRILL_WORD_SAVED, m.seq, 0);
	go_on(&w, 300);
	rig_holds(w.r, 0, 4096, 0x25);
	over(&w);
}

/* The time for saving is counted from the write on, however long the loop had nothing to do before. */
static void an_idle_loop_is_no_slow_view(void **state)
{
	struct drill_msg m;
	struct world w;

	begin(&w);
	to_the_epoch(&w);
	go_on(&w, 300);
	assert_true(hear(&w, &m));
	tell(&w, DRILL_WORD_SAVED, m.seq, 0);
	go_on(&w, 300);
	rig_holds(w.r, 4096, 4096, 0x24);
	put_epoch(&w, 5, 0, 0x25);
	rig_run(w.r, 5 * DRILL_SAVE_NS / NS_PER_MS);
	(void)drill_guard_go_on(w.g, w.r->now);
	assert_true(drill_guard_fd(w.g) >= 0);
	assert_int_equal(drill_guard_deadline(w.g), w.r->now + DRILL_SAVE_NS);
	assert_true(hear(&w, &m));
	tell(&w, DRILL_WORD_SAVED, m.seq, 0);
	go_on(&w, 300);
	rig_holds(w.r, 0, 4096, 0x25);
	over(&w);
}

/* COMMIT comes from the worker, AT from the view: in any order. One that never comes ends the view in time. */
static void a_commit_may_come_later(void **state)
{
	struct drill_msg m;
	struct world w;

	begin(&w);
	tell(&w, DRILL_WORD_HOLD, 0, 0);
	go_on(&w, 3);
	assert_true(hear(&w, &m));
	tell(&w, DRILL_WORD_AT, 0, 1);
	go_on(&w, 300);
	assert_false(hear(&w, &m));
	put_epoch(&w, 1, 0, 0x21);
	put_epoch(&w, 2, 0, 0x22);
	go_on(&w, 600);
	assert_true(hear(&w, &m));
	assert_int_equal(m.word, DRILL_WORD_READY);
	assert_int_equal(m.epoch, 1);
	rig_holds(w.r, 0, 4096, 0x21);
	over(&w);
	begin(&w);
	tell(&w, DRILL_WORD_HOLD, 0, 0);
	tell(&w, DRILL_WORD_AT, 0, 9);
	go_on(&w, 300);
	assert_true(drill_guard_fd(w.g) >= 0);
	assert_true(drill_guard_deadline(w.g) <= w.r->now + DRILL_HOLD_NS);
	go_on(&w, 12000);
	assert_int_equal(drill_guard_fd(w.g), -1);
	over(&w);
}

/* One that saves too slowly is sent away, and everything goes on. */
static void nobody_is_waited_for(void **state)
{
	struct drill_msg m;
	struct world w;

	begin(&w);
	to_the_epoch(&w);
	go_on(&w, 300);
	assert_true(hear(&w, &m));
	rig_holds(w.r, 4096, 4096, 0x22);
	assert_true(drill_guard_deadline(w.g) <= w.r->now + DRILL_SAVE_NS);
	go_on(&w, 3000);
	rig_holds(w.r, 4096, 4096, 0x24);
	assert_int_equal(drill_guard_fd(w.g), -1);
	assert_int_equal(recv(w.fd, &m, sizeof(m), 0), 0);
	over(&w);
	/* One that holds and then says nothing, too. */
	begin(&w);
	tell(&w, DRILL_WORD_HOLD, 0, 0);
	go_on(&w, 3);
	put_epoch(&w, 1, 0, 0x21);
	go_on(&w, 3000);
	rig_holds(w.r, 0, 4096, 0x11);
	go_on(&w, 9000);
	assert_int_equal(drill_guard_fd(w.g), -1);
	go_on(&w, 1000);
	rig_holds(w.r, 0, 4096, 0x21);
	over(&w);
}

/* Half a journal of epochs that are not applied: the hold ends before it costs an epoch anything. */
static void a_full_journal_goes_before(void **state)
{
	struct world w;

	begin(&w);
	tell(&w, DRILL_WORD_HOLD, 0, 0);
	go_on(&w, 3);
	for (uint64_t n = 1; drill_guard_fd(w.g) >= 0; n++) {
		assert_true(n < 20);
		put_epoch(&w, n, 0, (uint8_t)n);
		go_on(&w, 300);
	}
	go_on(&w, 1000);
	over(&w);
}

/* A view that saves, but each time only just in time, does not fill the journal either. */
static void a_slow_view_costs_no_epoch(void **state)
{
	struct drill_msg m;
	struct world w;
	uint64_t n = 5;
	int rc = 0;

	begin(&w);
	to_the_epoch(&w);
	while (drill_guard_fd(w.g) >= 0 && rc == 0) {
		assert_true(n < 500);
		rc = rig_write(w.r, n, 0, 4096, (uint8_t)n);
		if (rc == 0)
			rig_commit(w.r, n++);
		go_on(&w, 30);
		if (n % 20 == 0 && hear(&w, &m))
			tell(&w, DRILL_WORD_SAVED, m.seq, 0);
	}
	assert_int_equal(rc, -EAGAIN);
	(void)drill_guard_go_on(w.g, w.r->now);
	assert_int_equal(drill_guard_fd(w.g), -1);
	go_on(&w, 300);
	assert_int_equal(rig_write(w.r, n, 0, 4096, (uint8_t)n), 0);
	over(&w);
}

/* P4: the VM is to run here. */
static void an_activation_goes_before(void **state)
{
	struct world w;

	begin(&w);
	to_the_epoch(&w);
	go_on(&w, 300);
	/* As backup_disk.c does it. */
	drill_guard_end(w.g, "the VM is to run here");
	assert_int_equal(journal_activate(w.r->j, 4, 7), 0);
	rig_run(w.r, 300);
	rig_holds(w.r, 4096, 4096, 0x24);
	over(&w);
	/* A hold alone is in nobody's way, whoever forgets to end it. */
	begin(&w);
	tell(&w, DRILL_WORD_HOLD, 0, 0);
	go_on(&w, 3);
	put_epoch(&w, 1, 0, 0x21);
	assert_int_equal(journal_activate(w.r->j, 1, 7), 0);
	rig_run(w.r, 300);
	rig_holds(w.r, 0, 4096, 0x21);
	go_on(&w, 3);
	assert_int_equal(drill_guard_fd(w.g), -1);
	over(&w);
}

static void nonsense_ends_it(void **state)
{
	static const struct {
		uint64_t epoch;
		enum drill_word word;
		bool hold_first;
	} t[] = {
		{0, DRILL_WORD_AT, false},   {0, DRILL_WORD_SAVED, false},
		{0, DRILL_WORD_HELD, false}, {0, DRILL_WORD_HOLD, true},
		{0, DRILL_WORD_SAVED, true}, {0, (enum drill_word)99, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct world w;

		begin(&w);
		if (t[i].hold_first)
			tell(&w, DRILL_WORD_HOLD, 0, 0);
		tell(&w, t[i].word, 1, t[i].epoch);
		go_on(&w, 3);
		assert_int_equal(drill_guard_fd(w.g), -1);
		put_epoch(&w, 1, 0, 0x21);
		go_on(&w, 1000);
		rig_holds(w.r, 0, 4096, 0x21);
		over(&w);
	}
}

static void who_may_look(void **state)
{
	struct world w;
	int pair[2];

	begin(&w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(drill_guard_begin_take(w.g, w.r->j, pair[1]), -EBUSY);
	close(pair[0]);
	/* Without a session there is nothing to look at. */
	journal_drop(w.r->j);
	go_on(&w, 3);
	assert_int_equal(drill_guard_fd(w.g), -1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(drill_guard_begin_take(w.g, w.r->j, pair[1]), -EPERM);
	close(pair[0]);
	over(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_overwritten_is_saved_first),
		cmocka_unit_test(an_idle_loop_is_no_slow_view),
		cmocka_unit_test(a_commit_may_come_later),
		cmocka_unit_test(nobody_is_waited_for),
		cmocka_unit_test(a_full_journal_goes_before),
		cmocka_unit_test(a_slow_view_costs_no_epoch),
		cmocka_unit_test(an_activation_goes_before),
		cmocka_unit_test(nonsense_ends_it),
		cmocka_unit_test(who_may_look),
	};

	return RUN_TESTS("drill_guard", tests);
}
