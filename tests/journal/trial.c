/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See run.h. The power is lost after each entry of a life's log; what is found then? */
#include "tests/journal/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trial {
	struct life *l;
	struct oracle o;
	struct block_crash c;
	uint8_t *image[CRASH_STORES];
	uint8_t *saved; /* the disk's image */
	uint64_t seed;
	enum flip flip;
	bool both; /* superblocks are spoilt: refusal is due */
	char what[96];
};

static void stores(const struct trial *t, struct block_rec *file, struct block_rec *disk)
{
	block_rec_init(file, t->image[STORE_FILE], FILE_MAX, 4096);
	block_rec_init(disk, t->image[STORE_DISK], DISK_SIZE, 512);
}

static void turn_bit(struct trial *t, uint64_t block)
{
	uint64_t bit = rec_below(&t->seed, JOURNAL_BLOCK * 8);

	t->image[STORE_FILE][block * JOURNAL_BLOCK + bit / 8] ^= (uint8_t)(1u << bit % 8);
	snprintf(t->what, sizeof(t->what), "bit %" PRIu64 " of block %" PRIu64 " turned", bit,
		 block);
}

/* Now and then a bit has turned: in a superblock, in the ring. */
static void spoil(struct trial *t)
{
	uint64_t how = rec_below(&t->seed, 16);
	uint64_t ring = journal_ring_off(&t->l->o.geo) / JOURNAL_BLOCK;

	t->flip = how < 3 ? FLIP_SUPERBLOCK : how < 6 ? FLIP_RING : FLIP_NONE;
	t->both = how == 0;
	snprintf(t->what, sizeof(t->what), "no bit turned");
	if (t->both) {
		turn_bit(t, 0);
		turn_bit(t, 1);
	} else if (how < 3) {
		turn_bit(t, rec_below(&t->seed, 2));
	} else if (how < 6) {
		turn_bit(t, ring + rec_below(&t->seed, t->l->o.geo.ring_size / JOURNAL_BLOCK));
	}
}

/* The recovery dies as well, and its writes are as good as lost. */
static void die_again(struct trial *t)
{
	struct block_rec file;
	struct block_rec disk;
	struct rec_log log = {.e = NULL};
	struct block_crash c;
	struct found f;
	uint64_t upto;

	stores(t, &file, &disk);
	block_crash_init(&c, &log);
	block_crash_store(&c, STORE_FILE, t->image[STORE_FILE], FILE_MAX);
	block_crash_store(&c, STORE_DISK, t->image[STORE_DISK], DISK_SIZE);
	file.log = disk.log = &log;
	file.id = STORE_FILE;
	disk.id = STORE_DISK;
	found_open(&f, t->l, &file, &disk, t->seed ^ 7);
	upto = rec_below(&t->seed, log.n + 1);
	while (c.at < upto)
		(void)block_crash_step(&c);
	(void)block_crash_image(&c, t->image, &t->seed);
	block_crash_fini(&c);
	rec_log_free(&log);
}

static const char *judge(struct trial *t, struct found *f)
{
	struct block_rec file;
	struct block_rec disk;

	stores(t, &file, &disk);
	found_open(f, t->l, &file, &disk, t->seed);
	if (t->both && f->rc != -EBADMSG)
		return "two bad superblocks are not refused";
	return oracle_judge(&t->o, t->l, f, t->image[STORE_DISK], t->flip);
}

/* Once more: nothing may change. */
static const char *again(struct trial *t, const struct found *before)
{
	struct block_rec file;
	struct block_rec disk;
	struct found f;

	memcpy(t->saved, t->image[STORE_DISK], DISK_SIZE);
	stores(t, &file, &disk);
	found_open(&f, t->l, &file, &disk, t->seed ^ 3);
	if (f.rc || f.state != before->state || f.session != before->session ||
	    f.epoch != before->epoch)
		return "a second recovery finds something else";
	return memcmp(t->saved, t->image[STORE_DISK], DISK_SIZE) ? "a second recovery writes"
								 : NULL;
}

static void try_one(struct trial *t, struct tally *n)
{
	unsigned int torn = block_crash_image(&t->c, t->image, &t->seed);
	const char *why;
	struct found f;

	spoil(t);
	if (!t->both && !rec_below(&t->seed, 4))
		die_again(t);
	why = judge(t, &f);
	if (!why && !f.rc)
		why = again(t, &f);
	n->prefixes++;
	n->torn += torn > 0;
	n->recovered += !f.rc && f.state != JOURNAL_FAILED;
	n->refused += f.rc || f.state == JOURNAL_FAILED;
	if (!why)
		return;
	n->bad++;
	printf("bad: prefix %zu of seed %" PRIu64 ": %s (%s); found %s, session %" PRIu64
	       " epoch %" PRIu64 ", due %s..%s, snapshots %" PRIu64 "..%" PRIu64 "; %s\n",
	       t->c.at, t->l->seed, why, t->what, journal_state_name(f.state), f.session, f.epoch,
	       journal_state_name(t->o.told), journal_state_name(t->o.asked), t->o.min, t->o.max,
	       f.why);
}

void trial_life(struct life *l, struct tally *n, uint64_t upto, bool stop)
{
	struct trial *t = calloc(1, sizeof(*t));
	/* Spread over all of the life. */
	uint64_t odds = upto > n->prefixes ? 2 * (upto - n->prefixes) : 0;
	const struct rec_entry *e;

	assert(t);
	t->l = l;
	t->seed = l->inc_seed ^ 0x5555;
	t->image[STORE_FILE] = malloc(FILE_MAX);
	t->image[STORE_DISK] = malloc(DISK_SIZE);
	t->saved = malloc(DISK_SIZE);
	assert(t->image[STORE_FILE] && t->image[STORE_DISK] && t->saved);
	oracle_init(&t->o);
	block_crash_init(&t->c, &l->log);
	block_crash_store(&t->c, STORE_FILE, l->file_start, FILE_MAX);
	block_crash_store(&t->c, STORE_DISK, l->disk_start, DISK_SIZE);
	while ((e = block_crash_step(&t->c)) && n->prefixes < upto && !(stop && n->bad)) {
		oracle_note(&t->o, e);
		if (e->kind != REC_NOTE && rec_below(&t->seed, l->log.n) < odds)
			try_one(t, n);
	}
	block_crash_fini(&t->c);
	free(t->image[STORE_FILE]);
	free(t->image[STORE_DISK]);
	free(t->saved);
	free(t);
}
