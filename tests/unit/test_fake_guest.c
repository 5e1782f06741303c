/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake guest must itself keep the contract of lib/hypervisor.h, or what is tested with it proves nothing. */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/dirty.h"
#include "tests/lib/fake_guest.h"

#define RAM 300
#define P2M 1000
#define WORDS ((P2M + 63) / 64)
#define SPECIAL 990

static struct guest *make(struct fake_guest_report *report, fake_guest_run *run, void *arg)
{
	const struct fake_guest_conf conf = {
		.ram_pages = RAM,
		.p2m_pages = P2M,
		.special = {SPECIAL},
		.n_vifs = 1,
		.run = run,
		.arg = arg,
		.report = report,
	};

	return fake_guest_new(&conf);
}

static void suspended(struct guest *g)
{
	struct suspend_result r;

	assert_int_equal(guest_suspend(g, CLOCK_NEVER, &r, NULL), 0);
	assert_int_equal(r.outcome, SUSPEND_DONE);
}

static void is_what_was_asked(void **state)
{
	struct fake_guest_report report;
	struct guest *g = make(&report, NULL, NULL);

	assert_int_equal(g->info.p2m_pages, P2M);
	assert_int_equal(g->present_pages, RAM + 1);
	assert_int_equal(guest_bitmap_words(g), WORDS);
	assert_non_null(guest_page(g, RAM - 1));
	assert_null(guest_page(g, RAM));
	assert_non_null(guest_page(g, SPECIAL));
	assert_string_equal(g->info.vif[0].ifname, "vif7.0");
	assert_false(report.closed);
	guest_close(g);
	assert_true(report.closed && !report.was_suspended);
	guest_close(NULL);
}

/* A copy kept up by live rounds and one final one is the guest's memory at the suspension. */
static void scribble(void *arg, struct guest *g, enum fake_moment moment)
{
	fake_guest_scribble(g, moment == FAKE_ASKED ? 5 : 40, arg);
}

static void copy_dirty(const struct guest *g, uint64_t *bits, unsigned char *copy)
{
	uint64_t pfns[P2M];
	struct dirty_found found;

	assert_int_equal(dirty_scan(bits, g->present, WORDS, pfns, P2M, &found), 0);
	for (size_t i = 0; i < found.pages; i++)
		memcpy(copy + pfns[i] * GUEST_PAGE_SIZE, guest_page(g, pfns[i]), GUEST_PAGE_SIZE);
	dirty_clear(bits, WORDS);
}

static void copies_are_of_one_instant(void **state)
{
	autofree unsigned char *copy = mem_array(P2M, GUEST_PAGE_SIZE);
	uint64_t bits[WORDS];
	uint64_t seed = 1;
	struct guest *g = make(NULL, scribble, &seed);
	const struct guest_state *st;
	uint64_t head[2];

	assert_non_null(copy);
	assert_int_equal(guest_logdirty_enable(g, NULL), 0);
	dirty_fill(bits, WORDS, P2M);
	for (int round = 0; round < 5; round++) {
		copy_dirty(g, bits, copy);
		assert_int_equal(guest_dirty_fetch_live(g, bits), 0);
	}
	for (int epoch = 0; epoch < 20; epoch++) {
		fake_guest_write_behind(g, (uint64_t)epoch);
		suspended(g);
		assert_int_equal(guest_dirty_fetch_final(g, bits), 0);
		assert_true(dirty_test(bits, (uint64_t)epoch));
		copy_dirty(g, bits, copy);
		assert_int_equal(guest_state_capture(g, &st), 0);
		memcpy(head, st->context, sizeof(head));
		assert_true(head[0] == fake_guest_writes(g));
		assert_true(head[1] == fake_guest_digest_of(g, copy));
		assert_int_equal(guest_resume(g), 0);
		assert_true(head[0] < fake_guest_writes(g));
		assert_false(head[1] == fake_guest_digest(g));
	}
	guest_close(g);
}

static void outcomes_come_in_order(void **state)
{
	struct fake_guest_report report;
	struct guest *g = make(&report, NULL, NULL);
	enum guest_shutdown reason;
	struct suspend_result r;
	struct err e = ERR_INIT;

	fake_guest_script(g, SUSPEND_TIMEOUT, GUEST_POWEROFF);
	fake_guest_script(g, SUSPEND_SHUTDOWN, GUEST_CRASH);
	assert_int_equal(guest_suspend(g, 0, &r, NULL), 0);
	assert_int_equal(r.outcome, SUSPEND_TIMEOUT);
	assert_false(r.taken);
	assert_int_equal(guest_suspend(g, 0, &r, NULL), 0);
	assert_int_equal(r.outcome, SUSPEND_SHUTDOWN);
	assert_int_equal(r.reason, GUEST_CRASH);
	fake_guest_script_late(g);
	assert_int_equal(guest_suspend(g, 0, &r, NULL), 0);
	assert_true(r.outcome == SUSPEND_TIMEOUT && r.taken);
	assert_int_equal(guest_health(g, &reason), GUEST_HEALTH_RUNNING);
	assert_int_equal(g->counters.late_resumed, 1);
	fake_guest_fail(g, FAKE_SUSPEND, -EIO, 0, 1);
	assert_int_equal(guest_suspend(g, 0, &r, &e), -EIO);
	assert_int_equal(r.outcome, SUSPEND_FAILED);
	suspended(g);
	assert_int_equal(guest_health(g, &reason), GUEST_HEALTH_PAUSED);
	fake_guest_fail(g, FAKE_RESUME, -EIO, 0, 1);
	assert_int_equal(guest_resume(g), -EIO);
	guest_close(g);
	assert_true(report.was_suspended);
}

static void a_change_lasts(void **state)
{
	struct guest *g = make(NULL, NULL, NULL);
	enum guest_shutdown reason;
	struct suspend_result r;

	fake_guest_balloon(g);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(guest_health(g, &reason), GUEST_HEALTH_CHANGED);
		assert_int_equal(guest_suspend(g, 0, &r, NULL), 0);
		assert_int_equal(r.outcome, SUSPEND_CHANGED);
	}
	guest_close(g);
}

static void a_stolen_log_stays_stolen(void **state)
{
	struct guest *g = make(NULL, NULL, NULL);
	uint64_t bits[WORDS] = {0};

	assert_int_equal(guest_dirty_fetch_live(g, bits), -ESTALE);
	assert_int_equal(guest_logdirty_enable(g, NULL), 0);
	fake_guest_fail(g, FAKE_FETCH_LIVE, -ESTALE, 1, 1);
	assert_int_equal(guest_dirty_fetch_live(g, bits), 0);
	assert_int_equal(guest_dirty_fetch_live(g, bits), -ESTALE);
	assert_int_equal(guest_dirty_fetch_live(g, bits), -ESTALE);
	guest_logdirty_disable(g);
	assert_int_equal(guest_logdirty_enable(g, NULL), 0);
	assert_int_equal(guest_dirty_fetch_live(g, bits), 0);
	guest_close(g);
}

static void late_pages(void **state)
{
	struct guest *g = make(NULL, NULL, NULL);
	uint64_t bits[WORDS] = {0};
	uint64_t pfns[4];
	struct dirty_found found;

	assert_int_equal(guest_logdirty_enable(g, NULL), 0);
	fake_guest_plug(g, 500);
	assert_int_equal(guest_dirty_fetch_live(g, bits), 0);
	dirty_set(bits, 501);
	assert_int_equal(dirty_scan(bits, g->present, WORDS, pfns, 4, &found), 0);
	assert_int_equal(found.holes, 2);
	assert_int_equal(guest_map_late(g, bits), 1);
	assert_non_null(guest_page(g, 500));
	assert_null(guest_page(g, 501));
	assert_int_equal(guest_map_late(g, bits), 0);
	assert_int_equal(g->counters.hole_mapped, 1);
	guest_close(g);
}

static void events(void **state)
{
	struct guest *g = make(NULL, NULL, NULL);
	struct pollfd p = {.fd = guest_watch_fd(g), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 0), 0);
	fake_guest_event(g, GUEST_EV_MEMORY);
	fake_guest_event(g, GUEST_EV_VIFS);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(guest_watch_read(g), GUEST_EV_MEMORY);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(guest_watch_read(g), GUEST_EV_VIFS);
	assert_int_equal(guest_watch_read(g), GUEST_EV_NONE);
	assert_int_equal(poll(&p, 1, 0), 0);
	guest_close(g);
}

static void caps(void **state)
{
	struct fake_guest_report report;
	struct guest *g = make(&report, NULL, NULL);

	assert_int_equal(guest_cpu_cap(g, 40, NULL), 0);
	assert_int_equal(fake_guest_cap(g), 40);
	assert_int_equal(guest_cpu_cap(g, 100, NULL), 0);
	assert_int_equal(fake_guest_cap(g), 0);
	assert_int_equal(guest_cpu_cap(g, 70, NULL), 0);
	guest_close(g);
	assert_int_equal(report.cap_was, 70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_was_asked),
		cmocka_unit_test(copies_are_of_one_instant),
		cmocka_unit_test(outcomes_come_in_order),
		cmocka_unit_test(a_change_lasts),
		cmocka_unit_test(a_stolen_log_stays_stolen),
		cmocka_unit_test(late_pages),
		cmocka_unit_test(events),
		cmocka_unit_test(caps),
	};

	return RUN_TESTS("fake_guest", tests);
}
