/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epoch log, dirty map and copier of a primary against a backup made of two arrays: random writes of the guest
 * under a range lock, epochs, late acknowledgements, breaks, lost backups, first copies by bitmap and by hash,
 * verification with bits that rot. The oracle demands:
 *
 *	- at each commit of an epoch that the copier calls whole the backup has just what was written up to it;
 *	- at each break every block that differs is marked;
 *	- verification finds what rotted, and nothing else;
 *	- when the guest is quiet, all of it comes to an end.
 *
 * The modules are compiled once more with mutants in them (disk/mutant.h), and each must be caught.
 */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_MUTATION
#include "disk/mutant.h"

int disk_mutant;

/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "disk/copier.c"    /* NOLINT(bugprone-suspicious-include) */
#include "disk/epoch_log.c" /* NOLINT(bugprone-suspicious-include) */

#define BLOCK 4096U
#define BLOCKS 48U
#define DISK (BLOCKS * BLOCK - 1024U) /* its last block is short */
#define CHUNK (6 * BLOCK)
#define EPOCHS 8U /* not settled at once */
#define OPS 6U
#define WIRE 512U
#define ASKS 16U

enum op_state {
	OP_NONE,
	OP_WAITS,
	OP_ADMITTED
};

struct op {
	enum op_state state;
	struct write_req w;
	uint8_t data[4 * BLOCK];
};

struct job {
	enum {
		JOB_NONE,
		JOB_WAITS,
		JOB_LOCKED
	} state;
	struct copier_job j;
};

/* A record at the backup. */
struct item {
	uint64_t epoch;
	enum write_op op;
	uint64_t off;
	uint32_t len;
	uint8_t *data;
};

struct ask {
	bool used;
	bool answered; /* and the answer is on its way */
	enum copier_kind kind;
	uint64_t off, epoch, digest;
	uint32_t len;
	enum copier_verdict verdict;
};

struct world {
	uint64_t seed;
	uint64_t now;
	struct epoch_page page;
	struct epoch_word word;
	struct dirty_map *map;
	struct epoch_log *log;
	struct copier *copier;
	struct write_sink *sink;
	bool quiet;

	uint8_t local[DISK];
	uint8_t tagged[DISK]; /* what was admitted, in that order */
	uint8_t snap[EPOCHS][DISK];
	struct op ops[OPS];
	struct job jobs[4];

	uint8_t mem[DISK];	/* the backup's: all that is committed */
	uint8_t disk[DISK];	/* all that is durable */
	struct item wire[WIRE]; /* by epoch: durable .. committed .. sent */
	unsigned int n_wire;
	struct epoch_count count;		     /* of the epoch that comes in */
	uint64_t ended, committed, durable, settled; /* epochs below */
	struct ask asks[ASKS];
	bool rotten[BLOCKS];

	unsigned long commits, wholes, breaks, refusals, drops, rot_found, hash_equal, dones;
	const char *why;
};

static uint32_t rnd(struct world *w, uint32_t below)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (uint32_t)((w->seed * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % below;
}

static bool chance(struct world *w, uint32_t percent)
{
	return rnd(w, 100) < percent;
}

static void violated(struct world *w, const char *why)
{
	if (!w->why)
		w->why = why;
}

static void apply(uint8_t *to, enum write_op op, uint64_t off, uint32_t len, const void *data)
{
	if (op == WRITE_DATA)
		memcpy(to + off, data, len);
	else if (op != WRITE_FLUSH)
		memset(to + off, 0, len);
}

static uint32_t block_len(uint32_t b)
{
	return MIN(BLOCK, DISK - b * BLOCK);
}

static bool same(const struct world *w, const uint8_t *a, const uint8_t *b, bool rot_too)
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		if (!(rot_too && w->rotten[i]) &&
		    memcmp(a + i * BLOCK, b + i * BLOCK, block_len(i)) != 0)
			return false;
	return true;
}

/* ---- the backup --------------------------------------------------------- */

static void wire_drop(struct world *w, unsigned int from)
{
	for (unsigned int i = from; i < w->n_wire; i++)
		free(w->wire[i].data);
	w->n_wire = from;
}

/* Rot in a block that is overwritten as a whole is gone. */
static void heal(struct world *w, const struct item *x)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (x->off <= b * BLOCK && x->off + x->len >= b * BLOCK + block_len(b))
			w->rotten[b] = false;
}

static void verify_at_backup(struct world *w, uint64_t epoch)
{
	for (unsigned int i = 0; i < ASKS; i++) {
		struct ask *a = &w->asks[i];

		if (!a->used || a->answered || a->kind != COPIER_VERIFY || a->epoch != epoch)
			continue;
		a->answered = true;
		a->verdict = chance(w, 2)				       ? COPIER_UNREAD
			     : digest_of(w->mem + a->off, a->len) == a->digest ? COPIER_EQUAL
									       : COPIER_DIFFERENT;
	}
}

static void commit(struct world *w)
{
	uint64_t n = w->committed;

	if (n == w->ended)
		return;
	for (unsigned int i = 0; i < w->n_wire; i++) {
		const struct item *x = &w->wire[i];

		if (x->epoch != n)
			continue;
		apply(w->mem, x->op, x->off, x->len, x->data);
		heal(w, x);
	}
	w->committed++;
	w->commits++;
	if (copier_whole(w->copier, n)) {
		w->wholes++;
		if (!same(w, w->mem, w->snap[n % EPOCHS], true))
			violated(w, "an epoch called whole is not");
	}
	verify_at_backup(w, n);
}

static void make_durable(struct world *w)
{
	unsigned int k = 0;

	if (w->durable == w->committed)
		return;
	for (; k < w->n_wire && w->wire[k].epoch <= w->durable; k++) {
		apply(w->disk, w->wire[k].op, w->wire[k].off, w->wire[k].len, w->wire[k].data);
		free(w->wire[k].data);
	}
	memmove(w->wire, w->wire + k, sizeof(w->wire[0]) * (w->n_wire - k));
	w->n_wire -= k;
	w->durable++;
}

static void answer(struct world *w)
{
	struct ask *a = &w->asks[rnd(w, ASKS)];

	if (!a->used)
		return;
	if (a->kind == COPIER_HASH && !a->answered) {
		a->answered = true;
		a->verdict = digest_of(w->mem + a->off, a->len) == a->digest ? COPIER_EQUAL
									     : COPIER_DIFFERENT;
		return;
	}
	if (!a->answered)
		return;
	a->used = false;
	if (a->kind == COPIER_HASH && a->verdict == COPIER_EQUAL)
		w->hash_equal++;
	if (copier_answer(w->copier, a->kind, a->off, a->len, a->verdict) != 0)
		violated(w, "an answer that was not asked for");
}

/* ---- the link ----------------------------------------------------------- */

static void send(struct world *w)
{
	struct epoch_rec recs[5];
	uint64_t now = epoch_word_load(&w->word);
	/* Of the epoch after one whose END is due nothing is sent. */
	size_t n = epoch_log_next(w->log, w->ended, recs, ARRAY_SIZE(recs), 3 * BLOCK);
	struct epoch_numbers got;

	for (size_t i = 0; i < n && w->n_wire < WIRE; i++) {
		const struct epoch_rec *r = &recs[i];
		struct item *x = &w->wire[w->n_wire++];

		*x = (struct item){r->epoch, r->w.op, r->w.off, r->w.len, NULL};
		if (r->epoch != w->ended)
			violated(w, "a record of another epoch");
		if (r->w.op == WRITE_DATA) {
			x->data = malloc(r->w.len);
			assert_non_null(x->data);
			memcpy(x->data, r->w.data, r->w.len);
		}
		epoch_count_add(&w->count, &r->w, r->sync);
		epoch_log_taken(w->log, 1);
	}
	if (n > 0 || w->ended >= now)
		return;
	if (epoch_log_end(w->log, w->ended, &got) != 0) {
		violated(w, "END is refused");
		return;
	}
	if (got.records != w->count.records || got.bytes != w->count.bytes ||
	    got.digest != epoch_count_get(&w->count).digest)
		violated(w, "the numbers of an epoch differ");
	epoch_count_init(&w->count);
	w->ended++;
}

static void settle(struct world *w)
{
	if (w->settled == w->durable)
		return;
	w->settled = w->durable;
	if (epoch_log_settle(w->log, w->settled - 1) != 0)
		violated(w, "a settled epoch is refused");
	if (copier_done(w->copier)) {
		w->dones++;
		if (!copier_whole(w->copier, w->settled - 1))
			violated(w, "done, and not whole");
	}
}

/* Both sides find out; the backup may have died, and comes back with what is durable. */
static void after_break(struct world *w, bool backup_dies)
{
	unsigned int k = 0;

	copier_stop(w->copier);
	epoch_log_leave(w->log);
	memset(w->asks, 0, sizeof(w->asks));
	while (k < w->n_wire && w->wire[k].epoch < w->committed)
		k++;
	wire_drop(w, k);
	if (backup_dies)
		memcpy(w->mem, w->disk, DISK);
	else
		memcpy(w->disk, w->mem, DISK);
	wire_drop(w, 0);
	w->breaks++;
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (!w->rotten[b] &&
		    memcmp(w->mem + b * BLOCK, w->tagged + b * BLOCK, block_len(b)) != 0 &&
		    !dirty_map_all(w->map, b * BLOCK, 1))
			violated(w, "a block that differs is not marked");
}

static void link_up(struct world *w)
{
	bool hash = chance(w, 40);

	if (epoch_log_streaming(w->log))
		return;
	if (hash)
		dirty_map_set_all(w->map);
	/* Rot makes the backup another disk: all of it is compared. */
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (w->rotten[b])
			dirty_map_set(w->map, b * BLOCK, BLOCK);
	memset(w->rotten, 0, sizeof(w->rotten));
	epoch_word_store(&w->word, 0);
	w->ended = w->committed = w->durable = w->settled = 0;
	epoch_count_init(&w->count);
	if (epoch_log_begin(w->log, &w->word) != 0 || copier_start(w->copier, hash, w->now) != 0)
		violated(w, "the stream does not begin");
}

/* ---- the primary -------------------------------------------------------- */

static bool locked(const struct world *w, uint64_t off, uint64_t len)
{
	for (unsigned int i = 0; i < OPS; i++)
		if (w->ops[i].state == OP_ADMITTED && w->ops[i].w.off < off + len &&
		    off < w->ops[i].w.off + w->ops[i].w.len)
			return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(w->jobs); i++)
		if (w->jobs[i].state == JOB_LOCKED && w->jobs[i].j.off < off + len &&
		    off < w->jobs[i].j.off + w->jobs[i].j.len)
			return true;
	return false;
}

static void new_op(struct world *w, struct op *o)
{
	uint32_t sectors = 1 + rnd(w, chance(w, 70) ? 8 : 32);
	uint32_t first = rnd(w, DISK / 512 - sectors + 1);
	/* Few values: what is written may be what is there. */
	uint32_t value = chance(w, 60) ? rnd(w, 2) : rnd(w, 250) + 2;

	if (chance(w, 60)) {
		sectors = sectors / 8 * 8 + 8;
		first = first / 8 * 8;
		sectors = MIN(sectors, DISK / 512 - first);
	}
	o->w = (struct write_req){.op = chance(w, 85) ? WRITE_DATA : WRITE_ZERO,
				  .off = (uint64_t)first * 512,
				  .len = MIN(sectors * 512, (uint32_t)sizeof(o->data))};
	if (o->w.op == WRITE_DATA) {
		memset(o->data, (int)value, o->w.len);
		o->w.data = o->data;
	}
	o->state = OP_WAITS;
}

static void guest(struct world *w)
{
	struct op *o = &w->ops[rnd(w, OPS)];

	switch (o->state) {
	case OP_NONE:
		if (!w->quiet)
			new_op(w, o);
		break;
	case OP_WAITS:
		if (locked(w, o->w.off, o->w.len))
			break;
		if (w->sink->ops->admit(w->sink, &o->w) != 0) {
			w->refusals++;
			break;
		}
		copier_guest_write(w->copier, o->w.off, o->w.len);
		apply(w->tagged, o->w.op, o->w.off, o->w.len, o->w.data);
		o->state = OP_ADMITTED;
		break;
	case OP_ADMITTED:
		apply(w->local, o->w.op, o->w.off, o->w.len, o->w.data);
		(void)w->sink->ops->done(w->sink, &o->w, 0);
		o->state = OP_NONE;
		break;
	}
}

static void ask_peer(struct world *w, const struct copier_job *j)
{
	for (unsigned int i = 0; i < ASKS; i++) {
		if (w->asks[i].used)
			continue;
		w->asks[i] = (struct ask){.used = true,
					  .kind = j->kind,
					  .off = j->off,
					  .len = j->len,
					  .epoch = epoch_word_load(&w->word),
					  .digest = digest_of(w->local + j->off, j->len)};
		return;
	}
	violated(w, "more asked than there are slots");
}

static void copier_step(struct world *w)
{
	struct job *j = &w->jobs[rnd(w, ARRAY_SIZE(w->jobs))];

	switch (j->state) {
	case JOB_NONE:
		if (copier_next(w->copier, w->now, &j->j))
			j->state = JOB_WAITS;
		break;
	case JOB_WAITS:
		if (!locked(w, j->j.off, j->j.len))
			j->state = JOB_LOCKED;
		break;
	case JOB_LOCKED:
		/* A job of a stream that is over asks nobody. */
		if (j->j.kind != COPIER_COPY && w->copier->slots[j->j.slot].state == SLOT_READING)
			ask_peer(w, &j->j);
		copier_read(w->copier, j->j.slot, w->local + j->j.off, 0);
		j->state = JOB_NONE;
		break;
	}
}

static void next_epoch(struct world *w)
{
	uint64_t n = epoch_word_load(&w->word);

	if (!epoch_log_streaming(w->log) || n - w->settled >= EPOCHS - 1)
		return;
	memcpy(w->snap[n % EPOCHS], w->tagged, DISK);
	epoch_word_store(&w->word, n + 1);
}

static void rot(struct world *w)
{
	uint32_t b = rnd(w, BLOCKS);

	/* Where nothing is on its way: otherwise it may heal before it is found. */
	if (dirty_map_count(w->map) > 0 || !copier_done(w->copier))
		return;
	w->mem[b * BLOCK + 7] ^= 0x40;
	w->disk[b * BLOCK + 7] ^= 0x40;
	w->rotten[b] = true;
}

static void on_differs(void *arg, uint64_t off, uint32_t len)
{
	struct world *w = arg;
	bool rotten = false;

	for (uint64_t b = off / BLOCK; b * BLOCK < off + len; b++)
		rotten = rotten || w->rotten[b];
	w->rot_found += rotten;
	if (!rotten)
		violated(w, "verification found a difference where there is none");
}

static void on_dropped(void *arg, const char *why)
{
	((struct world *)arg)->drops++;
}

/* ---- a run -------------------------------------------------------------- */

static void step(struct world *w)
{
	uint32_t what = rnd(w, 1000);

	w->now += rnd(w, 2000) * NS_PER_US;
	if (!epoch_log_streaming(w->log) && w->copier->on)
		after_break(w, false);
	if (what < 350)
		guest(w);
	else if (what < 600)
		copier_step(w);
	else if (what < 750)
		answer(w);
	else if (epoch_log_streaming(w->log) && what < 850)
		send(w);
	else if (what < 890)
		next_epoch(w);
	else if (epoch_log_streaming(w->log) && what < 930)
		commit(w);
	else if (epoch_log_streaming(w->log) && what < 960)
		make_durable(w);
	else if (epoch_log_streaming(w->log) && what < 980)
		settle(w);
	else if (what < 984)
		link_up(w);
	else if (what < 988 && epoch_log_streaming(w->log))
		(void)!copier_verify(w->copier);
	else if (what < 990)
		copier_pace(w->copier, chance(w, 30));
	else if (what < 994 && !w->quiet)
		rot(w);
	else if (what < 995 && !w->quiet && epoch_log_streaming(w->log))
		after_break(w, chance(w, 40));
	else
		epoch_log_poll(w->log, w->now);
}

static bool at_rest(const struct world *w)
{
	for (unsigned int i = 0; i < OPS; i++)
		if (w->ops[i].state != OP_NONE)
			return false;
	return copier_done(w->copier) && epoch_log_behind(w->log) == 0;
}

static void world_start(struct world *w, uint64_t seed)
{
	struct epoch_log_conf log = {.queue_bytes = EPOCH_LOG_QUEUE_MIN,
				     .extents = 40,
				     .stall_ns = 100 * NS_PER_MS,
				     .dropped = on_dropped,
				     .arg = w};
	struct copier_conf conf = {.rate = 8 << 20,
				   .copy_bytes = 3 * BLOCK,
				   .chunk_bytes = CHUNK,
				   .slots = 4,
				   .differs = on_differs,
				   .arg = w};
	struct err e = ERR_INIT;

	memset(w, 0, sizeof(*w));
	w->seed = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->now = 1;
	w->word.page = &w->page;
	assert_int_equal(dirty_map_new(&w->map, DISK, &e), 0);
	log.map = conf.map = w->map;
	assert_int_equal(epoch_log_new(&w->log, &log, &e), 0);
	conf.log = w->log;
	assert_int_equal(copier_new(&w->copier, &conf, &e), 0);
	w->sink = epoch_log_sink(w->log);
	/* Two disks that are half alike. */
	memset(w->local, 1, DISK);
	memset(w->mem, 1, DISK / 2);
	memcpy(w->tagged, w->local, DISK);
	memcpy(w->disk, w->mem, DISK);
	dirty_map_set_all(w->map);
}

static void world_stop(struct world *w)
{
	wire_drop(w, 0);
	copier_free(w->copier);
	epoch_log_free(w->log);
	dirty_map_free(w->map);
}

static bool run(struct world *w, uint64_t seed, int steps)
{
	world_start(w, seed);
	for (int i = 0; i < steps && !w->why; i++)
		step(w);
	w->quiet = true;
	for (int i = 0; i < 200000 && !w->why && !at_rest(w); i++)
		step(w);
	if (!w->why && !at_rest(w))
		violated(w, "it does not come to rest");
	if (!w->why && (!same(w, w->local, w->tagged, false) || !same(w, w->mem, w->local, true)))
		violated(w, "the disks differ at rest");
	world_stop(w);
	return !w->why;
}

#define SEEDS 200
#define RUN_STEPS 6000

static void disks_are_equal_at_each_epoch(void **state)
{
	static struct world w;
	unsigned long commits = 0, wholes = 0, breaks = 0, refusals = 0, drops = 0, found = 0,
		      equal = 0, dones = 0;

	disk_mutant = DISK_MUTANT_NONE;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		if (!run(&w, seed, RUN_STEPS))
			fail_msg("seed %llu: %s", (unsigned long long)seed, w.why);
		commits += w.commits;
		wholes += w.wholes;
		breaks += w.breaks;
		refusals += w.refusals;
		drops += w.drops;
		found += w.rot_found;
		equal += w.hash_equal;
		dones += w.dones;
	}
	printf("  commits %lu, whole %lu, done %lu, breaks %lu, refusals %lu, drops %lu, equal by hash %lu, rot found %lu\n",
	       commits, wholes, dones, breaks, refusals, drops, equal, found);
	assert_true(wholes > 1000 && breaks > 100 && refusals > 100 && drops > 0 && found > 10 &&
		    equal > 100 && dones > 100);
}

static void broken_rules_are_seen(void **state)
{
	static const struct {
		int mutant;
		const char *name;
	} mutants[] = {
		{DISK_MUTANT_FORGET_EXTENTS, "forget-extents"},
		{DISK_MUTANT_SETTLE_TOO_MUCH, "settle-too-much"},
		{DISK_MUTANT_CLEAR_EARLY, "clear-early"},
		{DISK_MUTANT_NO_CARRY, "no-carry"},
		{DISK_MUTANT_VERDICT_ANYHOW, "verdict-anyhow"},
	};
	static struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(mutants); i++) {
		uint64_t seed = 0;

		disk_mutant = mutants[i].mutant;
		while (seed < SEEDS && run(&w, seed, RUN_STEPS))
			seed++;
		if (seed == SEEDS)
			fail_msg("%s is not seen", mutants[i].name);
		printf("  %-16s seed %llu: %s\n", mutants[i].name, (unsigned long long)seed, w.why);
	}
	disk_mutant = DISK_MUTANT_NONE;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_are_equal_at_each_epoch),
		cmocka_unit_test(broken_rules_are_seen),
	};

	return RUN_TESTS("copier_sim", tests);
}
