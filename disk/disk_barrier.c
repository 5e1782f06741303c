/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_barrier.h. The data thread runs only what is under "data thread". */
#include "disk/disk_barrier.h"

#include <errno.h>

#include "disk/epoch_word.h"

#define EPOCH_NONE UINT64_MAX

/* The attempt of a checkpoint: prepare() writes PREPARED, the data thread moves it on. */
enum turn_phase {
	TURN_IDLE,
	TURN_PREPARED,
	TURN_PAUSED,  /* postsuspend() */
	TURN_ENDED,   /* preresume(): the word has moved on */
	TURN_ABORTED, /* the guest goes on in the epoch */
};

#define TURN_PHASE_MASK UINT64_C(7)
#define TURN_EPOCH_SHIFT 3

static uint64_t turn_make(enum turn_phase phase, uint64_t epoch)
{
	return (uint64_t)phase | epoch << TURN_EPOCH_SHIFT;
}

static uint64_t turn_epoch(uint64_t turn)
{
	return turn >> TURN_EPOCH_SHIFT;
}

static enum turn_phase turn_phase(uint64_t turn)
{
	return (enum turn_phase)(turn & TURN_PHASE_MASK);
}

/* From one phase of this epoch to the next; false when it is not in that phase, or was taken away. */
static bool turn_move(struct disk_barrier *b, uint64_t epoch, enum turn_phase from,
		      enum turn_phase to)
{
	uint64_t have = turn_make(from, epoch);

	return atomic_compare_exchange_strong_explicit(&b->turn, &have, turn_make(to, epoch),
						       memory_order_acq_rel, memory_order_acquire);
}

/* ---- data thread -------------------------------------------------------- */

static int barrier_postsuspend(struct ckpt_device *d, uint64_t epoch)
{
	return turn_move(d->priv, epoch, TURN_PREPARED, TURN_PAUSED) ? 0 : -EINVAL;
}

static int barrier_preresume(struct ckpt_device *d, uint64_t epoch)
{
	struct disk_barrier *b = d->priv;

	if (!turn_move(b, epoch, TURN_PAUSED, TURN_ENDED))
		return -EINVAL;
	epoch_word_store(b->word, epoch + 1);
	return 0;
}

static void barrier_abort(struct ckpt_device *d, uint64_t epoch)
{
	struct disk_barrier *b = d->priv;

	if (turn_move(b, epoch, TURN_PREPARED, TURN_ABORTED) ||
	    turn_move(b, epoch, TURN_PAUSED, TURN_ABORTED))
		return;
	/*
	 * Another device refused after us. A write may have come in between, of the guest's old epoch
	 * and with the new number: it would be missing beside a memory that shows it done.
	 */
	if (turn_move(b, epoch, TURN_ENDED, TURN_ABORTED))
		epoch_word_store(b->word, EPOCH_WORD_VOID);
}

/* ---- control thread ----------------------------------------------------- */

static void sync_turn(struct disk_barrier *b)
{
	uint64_t turn = atomic_load_explicit(&b->turn, memory_order_acquire);

	if (turn_phase(turn) == TURN_ENDED)
		b->ended = turn_epoch(turn);
}

static int barrier_setup(struct ckpt_device *d, struct err *e)
{
	return 0;
}

static int barrier_prepare(struct ckpt_device *d, uint64_t epoch)
{
	struct disk_barrier *b = d->priv;

	sync_turn(b);
	atomic_store_explicit(&b->turn, turn_make(TURN_IDLE, 0), memory_order_release);
	if (epoch >= UINT64_MAX >> TURN_EPOCH_SHIFT || epoch != epoch_word_load(b->word))
		return -EINVAL;
	if (b->full && b->ended != b->committed)
		return -EAGAIN;
	atomic_store_explicit(&b->turn, turn_make(TURN_PREPARED, epoch), memory_order_release);
	return 0;
}

static int barrier_commit(struct ckpt_device *d, uint64_t epoch)
{
	struct disk_barrier *b = d->priv;

	sync_turn(b);
	if (b->ended == EPOCH_NONE || epoch > b->ended ||
	    (b->committed != EPOCH_NONE && epoch <= b->committed))
		return -EINVAL;
	b->committed = epoch;
	return 0;
}

static int barrier_open(struct ckpt_device *d, struct err *e)
{
	struct disk_barrier *b = d->priv;
	uint64_t turn = atomic_load_explicit(&b->turn, memory_order_acquire);

	/* A pause that has not reached its end must not move the word any more. */
	if (turn_phase(turn) == TURN_PREPARED || turn_phase(turn) == TURN_PAUSED)
		(void)atomic_compare_exchange_strong_explicit(&b->turn, &turn,
							      turn_make(TURN_IDLE, 0),
							      memory_order_acq_rel,
							      memory_order_acquire);
	sync_turn(b);
	b->full = false;
	return 0;
}

static int barrier_teardown(struct ckpt_device *d, struct err *e)
{
	return barrier_open(d, e);
}

static const struct ckpt_device_ops barrier_ops = {
	.setup = barrier_setup,
	.prepare = barrier_prepare,
	.postsuspend = barrier_postsuspend,
	.preresume = barrier_preresume,
	.commit = barrier_commit,
	.abort = barrier_abort,
	.open = barrier_open,
	.teardown = barrier_teardown,
};

void disk_barrier_init(struct disk_barrier *b, struct epoch_word *word)
{
	*b = (struct disk_barrier){
		.word = word,
		.ended = EPOCH_NONE,
		.committed = EPOCH_NONE,
	};
	b->dev = (struct ckpt_device){.ops = &barrier_ops, .priv = b};
	atomic_init(&b->turn, turn_make(TURN_IDLE, 0));
}

struct ckpt_device *disk_barrier_device(struct disk_barrier *b)
{
	return &b->dev;
}

int disk_barrier_begin(struct disk_barrier *b, uint64_t epoch)
{
	uint64_t turn = atomic_load_explicit(&b->turn, memory_order_acquire);

	if (turn_phase(turn) == TURN_PREPARED || turn_phase(turn) == TURN_PAUSED)
		return -EBUSY;
	atomic_store_explicit(&b->turn, turn_make(TURN_IDLE, 0), memory_order_release);
	b->ended = b->committed = EPOCH_NONE;
	b->full = false;
	epoch_word_store(b->word, epoch);
	return 0;
}

void disk_barrier_set_full(struct disk_barrier *b, bool full)
{
	b->full = full;
}

uint64_t disk_barrier_ended(struct disk_barrier *b)
{
	sync_turn(b);
	return b->ended;
}
