/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the journal does about errors, damage and restarts, and what the disk becomes. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/journal_rig.h"

#define RING_AT (3u * JOURNAL_BLOCK) /* of a disk this small */

static int set_up(void **state)
{
	struct rig *r = rig_new(64);

	assert_int_equal(rig_open(r), 0);
	rig_copy(r);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	rig_free(*state);
	return 0;
}

static enum journal_state state_of(const struct rig *r)
{
	struct journal_stats st;

	journal_stats(r->j, &st);
	return st.state;
}

/* ---- what the disk is ---- */

/* Epochs 1 to n, each of `len` bytes at 0 and behind all that came before; the journal has them, the disk does not. */
static void epochs_wait(struct rig *r, unsigned int n, uint32_t len)
{
	for (unsigned int i = 1; i <= n; i++) {
		assert_int_equal(rig_write(r, i, 0, len, (uint8_t)i), 0);
		assert_int_equal(rig_write(r, i, (uint64_t)i * len, len, (uint8_t)i), 0);
		rig_commit(r, i);
		rig_run(r, 0);
	}
	rig_close(r);
	rig_holds(r, 0, (uint64_t)(n + 1) * len, 0x11);
	r->disk.count[BLOCK_WRITE] = 0;
}

static void epochs_are_there(const struct rig *r, unsigned int n, uint32_t len)
{
	struct journal_stats st;

	journal_stats(r->j, &st);
	assert_int_equal(st.replayed, n);
	rig_holds(r, 0, len, (uint8_t)n);
	for (unsigned int i = 1; i <= n; i++)
		rig_holds(r, (uint64_t)i * len, len, (uint8_t)i);
	rig_holds(r, (uint64_t)(n + 1) * len, len, 0x11);
}

static void what_is_written_again_is_replayed_once(void **state)
{
	struct rig *r = *state;

	epochs_wait(r, 5, 512);
	assert_int_equal(rig_open(r), 0);
	epochs_are_there(r, 5, 512);
	/* Six neighbours. */
	assert_int_equal(r->disk.count[BLOCK_WRITE], 1);
}

/* In passes: what comes later wins, whatever it shares a pass with. */
static void little_memory_replays_in_passes(void **state)
{
	struct rig *r = *state;

	epochs_wait(r, 5, 4096);
	r->o.batch_bytes = 4096;
	r->o.ram_bytes = 4ull * (4096 + 4096);
	assert_int_equal(rig_open(r), 0);
	epochs_are_there(r, 5, 4096);
	/* 10 records, 8 of which fit: 5 neighbours, then one at either end. */
	assert_int_equal(r->disk.count[BLOCK_WRITE], 3);
}

/* Who was here before had more memory for one record than we have for all. */
static void a_record_larger_than_the_memory_is_replayed(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	r->o.batch_bytes = 36864;
	r->o.ram_bytes = 8ull * (36864 + 4096);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 7), 0);
	rig_end(r, 7);
	assert_int_equal(journal_copy_end(r->j, 7), 0);
	assert_int_equal(journal_commit(r->j, 7), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_CONSISTENT);
	assert_int_equal(rig_write(r, 8, 512, 512, 0x21), 0);
	assert_int_equal(rig_write(r, 8, 0, 36864, 0x22), 0);
	assert_int_equal(rig_write(r, 8, 1024, 512, 0x23), 0);
	rig_commit(r, 8);
	rig_run(r, 0);
	rig_close(r);
	rig_holds(r, 0, 36864, 0x11);
	r->o.batch_bytes = 4096;
	r->o.ram_bytes = 4ull * (4096 + 4096);
	assert_int_equal(rig_open(r), 0);
	rig_holds(r, 0, 1024, 0x22);
	rig_holds(r, 1024, 512, 0x23);
	rig_holds(r, 1536, 36864 - 1536, 0x22);
	rig_holds(r, 36864, 512, 0x11);
}

static void an_error_of_the_disk_ends_the_replay(void **state)
{
	struct rig *r = *state;

	epochs_wait(r, 4, 4096);
	block_rec_fail(&r->disk, BLOCK_WRITE, 0, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	assert_non_null(strstr(r->e.text, "replay the journal onto the disk"));
	/* Nothing of the journal is lost by that. */
	assert_int_equal(rig_open(r), 0);
	epochs_are_there(r, 4, 4096);
}

static void restarted_is_outdated(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
	assert_int_equal(rig_write(r, 2, 512, 512, 0x33), 0);
	rig_end(r, 2);
	rig_run(r, 0);
	rig_close(r);
	rig_holds(r, 0, 512, 0x11);
	assert_int_equal(rig_open(r), 0);
	journal_stats(r->j, &st);
	assert_int_equal(st.state, JOURNAL_OUTDATED);
	assert_int_equal(st.replayed, 1);
	rig_holds(r, 0, 512, 0x22);
	rig_holds(r, 512, 512, 0x11);
	assert_int_equal(journal_activate(r->j, 1, 9), -EPERM);
	/* The missing comes through the ring; then it is as good as before. */
	assert_int_equal(journal_begin(r->j, 2, 7), 0);
	assert_int_equal(rig_write(r, 7, 512, 512, 0x44), 0);
	rig_end(r, 7);
	assert_int_equal(journal_copy_end(r->j, 7), 0);
	rig_run(r, 1000);
	assert_int_equal(state_of(r), JOURNAL_OUTDATED);
	assert_int_equal(journal_commit(r->j, 7), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_CONSISTENT);
	assert_int_equal(r->applied, 7);
	rig_holds(r, 512, 512, 0x44);
}

static void syncing_stays_syncing(void **state)
{
	struct rig *r = *state;

	assert_int_equal(journal_copy_begin(r->j, 2, 0), 0);
	assert_int_equal(rig_write(r, 0, 0, 512, 1), -EAGAIN);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_SYNCING);
	r->durable = JOURNAL_NO_EPOCH;
	assert_int_equal(rig_write(r, 0, 0, 512, 0x66), 0);
	rig_end(r, 0);
	assert_int_equal(journal_commit(r->j, 0), 0);
	rig_run(r, 0);
	rig_holds(r, 0, 512, 0x66);
	assert_true(r->durable == JOURNAL_NO_EPOCH);
	assert_int_equal(journal_activate(r->j, 0, 9), -EPERM);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_SYNCING);
	assert_int_equal(journal_begin(r->j, 5, 0), -EPERM);
	assert_int_equal(journal_copy_begin(r->j, 5, 0), 0);
}

static void the_end_of_a_copy(void **state)
{
	struct rig *r = *state;

	assert_int_equal(journal_copy_begin(r->j, 2, 0), 0);
	rig_run(r, 0);
	assert_int_equal(journal_copy_end(r->j, 0), -EPROTO);
	assert_int_equal(rig_write(r, 0, 0, 512, 0x66), 0);
	rig_end(r, 0);
	assert_int_equal(journal_copy_end(r->j, 0), 0);
	assert_int_equal(journal_copy_end(r->j, 0), -EPERM);
	/* What comes after it waits in the ring. */
	assert_int_equal(rig_write(r, 1, 0, 512, 0x77), 0);
	rig_end(r, 1);
	rig_run(r, 1000);
	assert_int_equal(r->state, JOURNAL_SYNCING);
	rig_holds(r, 0, 512, 0x66);
	assert_int_equal(journal_commit(r->j, 0), 0);
	assert_int_equal(journal_commit(r->j, 1), 0);
	assert_int_equal(journal_leave(r->j), -EBUSY);
	/* The worker dies here; both epochs count. */
	journal_drop(r->j);
	rig_run(r, 100);
	assert_int_equal(r->state, JOURNAL_CONSISTENT);
	assert_int_equal(r->applied, 1);
	rig_holds(r, 0, 512, 0x77);
}

static void activation(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	assert_int_equal(journal_activate(r->j, 1, 9), -ESTALE);
	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
	assert_int_equal(journal_activate(r->j, 0, 9), -ESTALE);
	assert_int_equal(rig_write(r, 2, 0, 512, 0x33), 0);
	rig_end(r, 2);
	assert_int_equal(journal_activate(r->j, 1, 0xabc), 0);
	assert_int_equal(journal_activate(r->j, 1, 0xabc), -EBUSY);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_ACTIVE);
	rig_holds(r, 0, 512, 0x22);
	journal_stats(r->j, &st);
	assert_true(st.gens.current == 0xabc && !st.gens.history[0]);
	assert_int_equal(rig_write(r, 2, 0, 512, 0x33), -EPERM);
	assert_int_equal(journal_begin(r->j, 4, 0), -EPERM);
	assert_int_equal(journal_copy_begin(r->j, 4, 0), -EPERM);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_ACTIVE);
	/* A primary's: the owner says what it is. */
	st.gens = (struct journal_gens){.current = 4, .bitmap = 3, .history = {2, 1}};
	assert_int_equal(journal_set(r->j, JOURNAL_SYNCING, &st.gens), -EPERM);
	assert_int_equal(journal_set(r->j, JOURNAL_ACTIVE, &st.gens), 0);
	rig_run(r, 0);
	assert_int_equal(journal_leave(r->j), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_OUTDATED);
	journal_stats(r->j, &st);
	assert_int_equal(st.gens.history[1], 1);
}

static void activation_after_the_session(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
	/* The link broke before the core decided. */
	journal_drop(r->j);
	assert_int_equal(journal_activate(r->j, 1, 0xabc), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_ACTIVE);
	rig_holds(r, 0, 512, 0x22);
	journal_stats(r->j, &st);
	assert_int_equal(st.ring_used, 0);
}

static void a_new_session_has_nothing_to_activate(void **state)
{
	struct rig *r = *state;

	assert_int_equal(journal_begin(r->j, 2, 0), 0);
	assert_int_equal(journal_activate(r->j, 0, 9), -ESTALE);
}

static void leaving(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
	assert_int_equal(rig_write(r, 2, 0, 512, 0x33), 0);
	assert_int_equal(journal_leave(r->j), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_OUTDATED);
	rig_holds(r, 0, 512, 0x22);
	assert_true(journal_idle(r->j));
}

/* ---- errors ---- */

static void expect_failed(struct rig *r, const char *why)
{
	unsigned int states = r->states;

	rig_run(r, 2000);
	assert_int_equal(r->states, states + 1);
	assert_int_equal(r->state, JOURNAL_FAILED);
	if (!strstr(r->why, why))
		fail_msg("%s", r->why);
	assert_int_equal(state_of(r), JOURNAL_FAILED);
	assert_int_equal(rig_write(r, 2, 0, 512, 1), -EIO);
	assert_int_equal(journal_activate(r->j, 1, 9), -EIO);
	assert_int_equal(journal_leave(r->j), -EIO);
	assert_true(journal_idle(r->j));
	rig_close(r);
}

static void one_epoch(struct rig *r)
{
	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
}

static void the_disk_cannot_be_written(void **state)
{
	struct rig *r = *state;

	block_rec_fail(&r->disk, BLOCK_WRITE, 0, 1, -EIO);
	one_epoch(r);
	expect_failed(r, "write 512 bytes at 0 of the disk: Input/output error");
	/* It is not forgotten; only a full copy helps. */
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_FAILED);
	assert_int_equal(journal_begin(r->j, 8, 0), -EPERM);
	assert_int_equal(journal_copy_begin(r->j, 8, 0), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_SYNCING);
}

static void the_disk_cannot_be_synced(void **state)
{
	block_rec_fail(&((struct rig *)*state)->disk, BLOCK_SYNC, 0, 1, -EIO);
	one_epoch(*state);
	expect_failed(*state, "sync the disk: Input/output error");
}

static void the_journal_cannot_be_written(void **state)
{
	struct rig *r = *state;

	block_rec_fail(&r->file, BLOCK_WRITE, 0, 1, -EIO);
	one_epoch(r);
	expect_failed(r, "write 8192 bytes of epoch 1 to the journal");
	rig_holds(r, 0, 512, 0x11);
}

static void the_journal_cannot_be_synced(void **state)
{
	struct rig *r = *state;

	block_rec_fail(&r->file, BLOCK_SYNC, 0, 100, -EIO);
	one_epoch(r);
	expect_failed(r, "sync the journal");
	rig_holds(r, 0, 512, 0x11);
}

static void the_superblock_cannot_be_written(void **state)
{
	struct rig *r = *state;

	one_epoch(r);
	rig_run(r, 0);
	block_rec_fail(&r->file, BLOCK_WRITE, 0, 100, -EIO);
	expect_failed(r, "write a superblock");
	/* Nobody could write it down, and nothing was applied either. */
	assert_int_equal(rig_open(r), -EIO);
	block_rec_fail(&r->file, BLOCK_WRITE, 0, 0, 0);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_OUTDATED);
	rig_holds(r, 0, 512, 0x22);
}

static void somebody_else_saw_an_error(void **state)
{
	struct rig *r = *state;

	journal_fail(r->j, -EIO, "read the disk");
	expect_failed(r, "read the disk: Input/output error");
}

/* Five batches, the first ones only in the ring, COMMIT not yet durable. */
static void spill_some(struct rig *r)
{
	rig_close(r);
	r->o.ram_bytes = 4ull * (16384 + 4096);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(rig_write(r, 1, i * 16384, 16384, (uint8_t)(0x80 + i)), 0);
		rig_run(r, 0);
	}
	rig_commit(r, 1);
}

static void the_journal_cannot_be_read(void **state)
{
	struct rig *r = *state;

	spill_some(r);
	block_rec_fail(&r->file, BLOCK_READ, 0, 1, -EIO);
	expect_failed(r, "read the journal at ");
}

static void a_bit_turns_in_what_was_spilled(void **state)
{
	struct rig *r = *state;

	spill_some(r);
	/* BEGIN, the first batch's head, its payload. */
	r->file_image[RING_AT + 2 * 4096 + 77] ^= 1;
	expect_failed(r, "the journal lost a part of epoch 1");
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_FAILED);
}

/* ---- damage found at opening ---- */

/* Epochs 1 to 3 in the ring, durable, none of them applied: batch, COMMIT, each 2 + 1 blocks. */
static void three_epochs(struct rig *r)
{
	for (uint64_t n = 1; n <= 3; n++) {
		assert_int_equal(rig_write(r, n, n * 512, 512, (uint8_t)(0x20 + n)), 0);
		rig_commit(r, n);
	}
	rig_run(r, 0);
	rig_close(r);
	rig_holds(r, 0, RIG_DISK, 0x11);
}

static void a_bit_turns(void **state)
{
	/* block of the ring, epochs that are left */
	static const struct {
		unsigned int block;
		uint64_t left;
	} hits[] = {{0, 0}, {1, 0}, {2, 0}, {3, 1}, {4, 1}, {5, 1}, {6, 2}, {7, 2}, {8, 2}, {9, 3}};

	for (size_t i = 0; i < ARRAY_SIZE(hits); i++) {
		struct rig *r;

		assert_int_equal(set_up((void **)&r), 0);
		three_epochs(r);
		r->file_image[RING_AT + hits[i].block * 4096 + 5] ^= 0x10;
		assert_int_equal(rig_open(r), 0);
		assert_int_equal(state_of(r), JOURNAL_OUTDATED);
		for (uint64_t n = 1; n <= 3; n++)
			rig_holds(r, n * 512, 512, n <= hits[i].left ? (uint8_t)(0x20 + n) : 0x11);
		rig_free(r);
	}
}

/* The same after a round had begun: nothing can be made whole any more, and it says so. */
static void a_bit_turns_under_a_round(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	for (uint64_t n = 1; n <= 3; n++) {
		assert_int_equal(rig_write(r, n, n * 512, 512, (uint8_t)(0x20 + n)), 0);
		rig_commit(r, n);
	}
	/* Dies in the middle of applying. */
	block_rec_fail(&r->disk, BLOCK_SYNC, 0, 1, -EIO);
	block_rec_fail(&r->file, BLOCK_WRITE, 1, 100, -EIO);
	expect_failed(r, "sync the disk");
	block_rec_fail(&r->file, BLOCK_WRITE, 0, 0, 0);
	r->file_image[RING_AT + 4 * 4096 + 5] ^= 0x10;
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(state_of(r), JOURNAL_FAILED);
	journal_stats(r->j, &st);
	assert_non_null(strstr(st.why, "the journal is damaged: item 3 cannot be read"));
}

static void errors_while_reading_back(void **state)
{
	static const enum block_op ops[] = {BLOCK_READ, BLOCK_WRITE, BLOCK_SYNC};
	struct rig *r = *state;

	three_epochs(r);
	for (size_t k = 0; k < ARRAY_SIZE(ops); k++) {
		for (long n = 0;; n++) {
			uint8_t *file = r->file_image;
			uint8_t saved[2 * JOURNAL_BLOCK];
			int rc;

			/* Each time from the same superblocks. */
			memcpy(saved, file, sizeof(saved));
			block_rec_fail(&r->file, ops[k], n, 1, -EIO);
			rc = rig_open(r);
			block_rec_fail(&r->file, ops[k], 0, 0, 0);
			rig_close(r);
			memcpy(file, saved, sizeof(saved));
			if (!rc)
				break;
			assert_int_equal(rc, -EIO);
			assert_true(*r->e.text);
		}
	}
	/* Neighbours, so a single write. */
	block_rec_fail(&r->disk, BLOCK_WRITE, 0, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	assert_non_null(strstr(r->e.text, "replay the journal onto the disk"));
	block_rec_fail(&r->disk, BLOCK_SYNC, 0, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	assert_int_equal(rig_open(r), 0);
	rig_holds(r, 3 * 512, 512, 0x23);
}

int main(void)
{
#define ON_COPY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		ON_COPY(restarted_is_outdated),
		ON_COPY(what_is_written_again_is_replayed_once),
		ON_COPY(little_memory_replays_in_passes),
		ON_COPY(a_record_larger_than_the_memory_is_replayed),
		ON_COPY(an_error_of_the_disk_ends_the_replay),
		ON_COPY(syncing_stays_syncing),
		ON_COPY(the_end_of_a_copy),
		ON_COPY(activation),
		ON_COPY(activation_after_the_session),
		ON_COPY(a_new_session_has_nothing_to_activate),
		ON_COPY(leaving),
		ON_COPY(the_disk_cannot_be_written),
		ON_COPY(the_disk_cannot_be_synced),
		ON_COPY(the_journal_cannot_be_written),
		ON_COPY(the_journal_cannot_be_synced),
		ON_COPY(the_superblock_cannot_be_written),
		ON_COPY(somebody_else_saw_an_error),
		ON_COPY(the_journal_cannot_be_read),
		ON_COPY(a_bit_turns_in_what_was_spilled),
		cmocka_unit_test(a_bit_turns),
		ON_COPY(a_bit_turns_under_a_round),
		ON_COPY(errors_while_reading_back),
	};

	return RUN_TESTS("journal_faults", tests);
}
