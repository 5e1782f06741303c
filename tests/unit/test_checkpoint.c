/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * checkpoint_take() on a fake guest and a fake device: what an epoch holds is the guest at one instant, nothing
 * that was dirtied is lost when a checkpoint is given up, and the devices are told in order.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/checkpoint.h"
#include "replicator/dirty.h"
#include "tests/lib/fake_guest.h"

#define RAM 512
#define ARENA 128

/* Writes down what it is told: one letter a call. */
struct fake_device {
	struct ckpt_device dev;
	char calls[64];
	int fail_postsuspend;
	int fail_preresume;
};

struct rig {
	struct guest *guest;
	struct fake_guest_report report;
	struct fake_device device;
	struct arena arena;
	struct checkpoint cp;
	unsigned char *copy; /* what the backup would have */
	uint64_t seed;
	unsigned int writes; /* by the guest, each time it is resumed */
};

static int note(struct fake_device *f, char c, int rc)
{
	size_t n = strlen(f->calls);

	assert_true(n + 1 < sizeof(f->calls));
	f->calls[n] = c;
	return rc;
}

static struct fake_device *of(struct ckpt_device *d)
{
	return d->priv;
}

static int dev_postsuspend(struct ckpt_device *d, uint64_t epoch)
{
	return note(of(d), 's', of(d)->fail_postsuspend);
}

static int dev_preresume(struct ckpt_device *d, uint64_t epoch)
{
	return note(of(d), 'r', of(d)->fail_preresume);
}

static void dev_abort(struct ckpt_device *d, uint64_t epoch)
{
	note(of(d), 'a', 0);
}

static const struct ckpt_device_ops device_ops = {
	.postsuspend = dev_postsuspend,
	.preresume = dev_preresume,
	.abort = dev_abort,
};

static void guest_runs(void *arg, struct guest *g, enum fake_moment moment)
{
	struct rig *r = arg;

	if (moment == FAKE_RESUMED)
		fake_guest_scribble(g, r->writes, &r->seed);
}

static void rig_init(struct rig *r)
{
	const struct fake_guest_conf conf = {.ram_pages = RAM,
					     .p2m_pages = RAM + 64,
					     .run = guest_runs,
					     .arg = r,
					     .report = &r->report};
	struct err e = ERR_INIT;

	memset(r, 0, sizeof(*r));
	r->seed = 42;
	r->guest = fake_guest_new(&conf);
	r->device.dev.ops = &device_ops;
	r->device.dev.priv = &r->device;
	assert_int_equal(arena_init(&r->arena, ARENA, false, &e), 0);
	r->cp.guest = r->guest;
	r->cp.device[0] = &r->device.dev;
	r->cp.n_devices = 1;
	r->cp.arena = &r->arena;
	r->cp.dirty = mem_array(guest_bitmap_words(r->guest), sizeof(uint64_t));
	r->copy = mem_array(RAM + 64, GUEST_PAGE_SIZE);
	assert_non_null(r->cp.dirty);
	assert_non_null(r->copy);
	assert_int_equal(guest_logdirty_enable(r->guest, &e), 0);
	for (uint64_t p = 0; p < RAM; p++)
		memcpy(r->copy + p * GUEST_PAGE_SIZE, guest_page(r->guest, p), GUEST_PAGE_SIZE);
}

static void rig_fini(struct rig *r)
{
	guest_close(r->guest);
	assert_false(r->report.was_suspended);
	arena_fini(&r->arena);
	mem_free(r->cp.dirty);
	mem_free(r->copy);
}

static enum checkpoint_outcome take(struct rig *r, uint64_t epoch)
{
	struct err e = ERR_INIT;
	enum checkpoint_outcome out;

	memset(r->device.calls, 0, sizeof(r->device.calls));
	out = checkpoint_take(&r->cp, epoch, UINT64_MAX, &e);
	/* Whatever happened, the guest runs, and a failure has a text. */
	assert_false(fake_guest_suspended(r->guest));
	assert_int_equal(out == CHECKPOINT_TAKEN, e.text[0] == '\0');
	return out;
}

/* The epoch, applied to the copy, is the guest at the instant of the captured context. */
static void apply_and_compare(struct rig *r)
{
	uint64_t want[2];

	for (uint32_t i = 0; i < r->arena.count; i++)
		memcpy(r->copy + r->arena.pfn[i] * GUEST_PAGE_SIZE, arena_slot(&r->arena, i),
		       GUEST_PAGE_SIZE);
	assert_true(r->cp.state->context_size >= sizeof(want));
	memcpy(want, r->cp.state->context, sizeof(want));
	assert_int_equal(fake_guest_digest_of(r->guest, r->copy), want[1]);
}

static void one_instant(void **state)
{
	struct rig r;

	rig_init(&r);
	r.writes = 40;
	for (uint64_t n = 0; n < 200; n++) {
		assert_int_equal(take(&r, n), CHECKPOINT_TAKEN);
		assert_string_equal(r.device.calls, "sr");
		apply_and_compare(&r);
	}
	assert_int_equal(r.report.suspends, 200);
	assert_int_equal(r.report.resumes, 200);
	rig_fini(&r);
}

/* Each way to give a checkpoint up; the next one must have all that the given up one had. */
static void aborted_pages_are_kept(void **state)
{
	static const struct {
		int postsuspend, preresume, fetch, capture;
		const char *calls;
	} way[] = {
		{.postsuspend = -EINVAL, .calls = "sa"},
		{.fetch = -EIO, .calls = "sa"},
		{.capture = -EIO, .calls = "sa"},
		{.preresume = -EIO, .calls = "sra"},
	};
	struct rig r;

	rig_init(&r);
	r.writes = 20;
	for (uint64_t n = 0; n < 100; n++) {
		size_t k = n % ARRAY_SIZE(way);

		r.device.fail_postsuspend = way[k].postsuspend;
		r.device.fail_preresume = way[k].preresume;
		if (way[k].fetch)
			fake_guest_fail(r.guest, FAKE_FETCH_FINAL, way[k].fetch, 0, 1);
		if (way[k].capture)
			fake_guest_fail(r.guest, FAKE_CAPTURE, way[k].capture, 0, 1);
		assert_int_equal(take(&r, n), CHECKPOINT_ABORTED);
		assert_string_equal(r.device.calls, way[k].calls);
		r.device.fail_postsuspend = 0;
		r.device.fail_preresume = 0;
		assert_int_equal(take(&r, n), CHECKPOINT_TAKEN);
		apply_and_compare(&r);
	}
	rig_fini(&r);
}

/* All are told in order, and each of an abort, whoever refused. */
static void two_devices(void **state)
{
	struct fake_device disks = {.fail_preresume = -EINVAL};
	struct rig r;

	rig_init(&r);
	disks.dev = (struct ckpt_device){.ops = &device_ops, .priv = &disks};
	r.cp.device[1] = &disks.dev;
	r.cp.n_devices = 2;
	assert_int_equal(take(&r, 0), CHECKPOINT_ABORTED);
	assert_string_equal(r.device.calls, "sra");
	assert_string_equal(disks.calls, "sra");
	r.device.fail_postsuspend = -EINVAL;
	assert_int_equal(take(&r, 0), CHECKPOINT_ABORTED);
	assert_string_equal(r.device.calls, "sa");
	assert_string_equal(disks.calls, "sraa");
	r.device.fail_postsuspend = disks.fail_preresume = 0;
	assert_int_equal(take(&r, 0), CHECKPOINT_TAKEN);
	assert_string_equal(disks.calls, "sraasr");
	rig_fini(&r);
}

static void overflow(void **state)
{
	struct rig r;

	rig_init(&r);
	for (uint64_t p = 0; p < ARENA + 1; p++)
		fake_guest_write(r.guest, p, 0, "x", 1);
	assert_int_equal(take(&r, 0), CHECKPOINT_OVERFLOW);
	assert_string_equal(r.device.calls, "sa");
	assert_int_equal(r.cp.dirty_pages, ARENA + 1);
	/* Nothing was forgotten: it still does not fit. */
	assert_int_equal(take(&r, 0), CHECKPOINT_OVERFLOW);
	assert_int_equal(r.cp.dirty_pages, ARENA + 1);
	rig_fini(&r);
}

static void exactly_full(void **state)
{
	struct rig r;

	rig_init(&r);
	for (uint64_t p = 0; p < ARENA; p++)
		fake_guest_write(r.guest, p + 7, 1, "y", 1);
	assert_int_equal(take(&r, 0), CHECKPOINT_TAKEN);
	assert_int_equal(r.arena.count, ARENA);
	apply_and_compare(&r);
	rig_fini(&r);
}

/* Memory that came after the mapping cannot be in the epoch: no such epoch may be committed. */
static void memory_that_appeared(void **state)
{
	struct rig r;

	rig_init(&r);
	fake_guest_plug(r.guest, RAM + 3);
	assert_int_equal(take(&r, 0), CHECKPOINT_RESYNC);
	rig_fini(&r);
}

static void log_was_stolen(void **state)
{
	struct rig r;

	rig_init(&r);
	fake_guest_fail(r.guest, FAKE_FETCH_FINAL, -ESTALE, 0, 1);
	assert_int_equal(take(&r, 0), CHECKPOINT_RESYNC);
	assert_string_equal(r.device.calls, "sa");
	rig_fini(&r);
}

static void guest_is_not_to_be_had(void **state)
{
	static const struct {
		enum suspend_outcome suspend;
		enum checkpoint_outcome want;
	} way[] = {
		{SUSPEND_TIMEOUT, CHECKPOINT_ABORTED}, {SUSPEND_FAILED, CHECKPOINT_ABORTED},
		{SUSPEND_FOREIGN, CHECKPOINT_GUEST},   {SUSPEND_CHANGED, CHECKPOINT_GUEST},
		{SUSPEND_SHUTDOWN, CHECKPOINT_GUEST},  {SUSPEND_GONE, CHECKPOINT_GUEST},
	};

	for (size_t k = 0; k < ARRAY_SIZE(way); k++) {
		struct err e = ERR_INIT;
		struct rig r;

		rig_init(&r);
		if (way[k].suspend == SUSPEND_FAILED)
			fake_guest_fail(r.guest, FAKE_SUSPEND, -EIO, 0, 1);
		else
			fake_guest_script(r.guest, way[k].suspend, GUEST_POWEROFF);
		assert_int_equal(checkpoint_take(&r.cp, 0, UINT64_MAX, &e), way[k].want);
		assert_true(e.text[0] != '\0');
		/* A guest that was not suspended by us: no device hears of it. */
		assert_string_equal(r.device.calls, "");
		assert_int_equal(r.report.captures, 0);
		rig_fini(&r);
	}
}

/* A resume that fails now and then is tried again; one that always fails is said, and close() helps. */
static void resume_fails(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	fake_guest_fail(r.guest, FAKE_RESUME, -EINTR, 0, 3);
	assert_int_equal(take(&r, 0), CHECKPOINT_TAKEN);
	fake_guest_fail(r.guest, FAKE_RESUME, -EIO, 0, 100);
	assert_int_equal(checkpoint_take(&r.cp, 1, UINT64_MAX, &e), CHECKPOINT_STUCK);
	assert_true(fake_guest_suspended(r.guest));
	guest_close(r.guest);
	assert_true(r.report.was_suspended);
	arena_fini(&r.arena);
	mem_free(r.cp.dirty);
	mem_free(r.copy);
}

/* P2: a guest that somebody else let run in the pause was not copied at one instant. */
static void resumed_by_others(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	assert_int_equal(take(&r, 0), CHECKPOINT_TAKEN);
	fake_guest_fail(r.guest, FAKE_RESUME, -ESTALE, 0, 1);
	assert_int_equal(checkpoint_take(&r.cp, 1, UINT64_MAX, &e), CHECKPOINT_RESYNC);
	assert_non_null(strstr(e.text, "somebody else"));
	assert_false(fake_guest_suspended(r.guest));
	/* Also on the way out of a checkpoint that failed anyway: it runs, that is all. */
	r.device.fail_preresume = -EIO;
	fake_guest_fail(r.guest, FAKE_RESUME, -ESTALE, 0, 1);
	assert_int_equal(checkpoint_take(&r.cp, 1, UINT64_MAX, &e), CHECKPOINT_ABORTED);
	assert_false(fake_guest_suspended(r.guest));
	rig_fini(&r);
}

/* A guest that is moved: nothing that it does is missing in the epoch, because it does nothing. */
static void stays_suspended(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	r.writes = 20;
	for (uint64_t n = 0; n < 20; n++) {
		assert_int_equal(take(&r, 2 * n), CHECKPOINT_TAKEN);
		apply_and_compare(&r);
		r.cp.stay = true;
		assert_int_equal(checkpoint_take(&r.cp, 2 * n + 1, UINT64_MAX, &e),
				 CHECKPOINT_TAKEN);
		assert_true(fake_guest_suspended(r.guest));
		apply_and_compare(&r);
		assert_int_equal(fake_guest_digest_of(r.guest, r.copy), fake_guest_digest(r.guest));
		assert_int_equal(checkpoint_resume(&r.cp), 0);
		assert_false(fake_guest_suspended(r.guest));
		r.cp.stay = false;
	}
	/* One that is given up runs, whoever wanted it to stay. */
	r.cp.stay = true;
	r.device.fail_preresume = -EIO;
	assert_int_equal(take(&r, 100), CHECKPOINT_ABORTED);
	r.device.fail_preresume = 0;
	/* Somebody else resumed it: it runs, that is all that is wanted. */
	assert_int_equal(checkpoint_take(&r.cp, 100, UINT64_MAX, &e), CHECKPOINT_TAKEN);
	fake_guest_fail(r.guest, FAKE_RESUME, -ESTALE, 0, 1);
	assert_int_equal(checkpoint_resume(&r.cp), 0);
	assert_int_equal(checkpoint_take(&r.cp, 101, UINT64_MAX, &e), CHECKPOINT_TAKEN);
	fake_guest_fail(r.guest, FAKE_RESUME, -EIO, 0, 100);
	assert_int_equal(checkpoint_resume(&r.cp), -EIO);
	guest_close(r.guest);
	assert_true(r.report.was_suspended);
	arena_fini(&r.arena);
	mem_free(r.cp.dirty);
	mem_free(r.copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_instant),	   cmocka_unit_test(aborted_pages_are_kept),
		cmocka_unit_test(two_devices),	   cmocka_unit_test(overflow),
		cmocka_unit_test(exactly_full),	   cmocka_unit_test(memory_that_appeared),
		cmocka_unit_test(log_was_stolen),  cmocka_unit_test(guest_is_not_to_be_had),
		cmocka_unit_test(resume_fails),	   cmocka_unit_test(resumed_by_others),
		cmocka_unit_test(stays_suspended),
	};

	return RUN_TESTS("checkpoint", tests);
}
