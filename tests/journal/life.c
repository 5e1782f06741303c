/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See run.h. A journal's life: first copies, sessions, broken sessions, kills, activation, all by a seed. */
#include "tests/journal/run.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"

#define STEPS 9000
#define BLOCKED_MAX 4000

static uint64_t below(struct life *l, uint64_t n)
{
	return rec_below(&l->seed, n);
}

static void note(struct life *l, enum note what, uint64_t value)
{
	rec_log_note(&l->log, (int)what, value);
}

static void wrong(struct life *l, const char *what, int rc)
{
	if (!*l->why)
		snprintf(l->why, sizeof(l->why), "%s: %s, %s, session %llu, epoch %llu", what,
			 rc ? strerrorname_np(-rc) : "-", journal_state_name(l->state),
			 (unsigned long long)l->session, (unsigned long long)l->epoch);
}

/* ---- events ---- */

static uint64_t snap_of(const struct life *l, uint64_t epoch)
{
	for (uint64_t k = l->n_snaps; k; k--) {
		if (l->snaps[k].session == l->session && l->snaps[k].epoch == epoch)
			return k;
	}
	return 0;
}

static void safe(struct life *l, uint64_t epoch)
{
	uint64_t k = snap_of(l, epoch);

	if (!k)
		wrong(l, "durable without commit", 0);
	note(l, NOTE_SAFE, k);
}

static void on_durable(void *arg, uint64_t epoch)
{
	safe(arg, epoch);
}

static void on_applied(void *arg, uint64_t epoch)
{
	safe(arg, epoch);
}

static void on_space(void *arg)
{
	struct life *l = arg;

	l->blocked = false;
}

static void on_state(void *arg, enum journal_state state, const char *why)
{
	struct life *l = arg;

	if (state == JOURNAL_FAILED) {
		wrong(l, why, 0);
		return;
	}
	l->state = l->asked = state;
	l->blocked = false;
	if (state == JOURNAL_CONSISTENT)
		l->settling = false;
	note(l, NOTE_TOLD, state);
	if (state == JOURNAL_SYNCING) {
		l->in_session = true;
		l->session++;
		l->copied = 0;
		l->copies++;
	}
}

static const struct journal_events events = {
	.durable = on_durable, .applied = on_applied, .space = on_space, .state = on_state};

/* ---- opening ---- */

void life_opts(const struct life *l, struct journal_opts *o, uint64_t *inc_seed)
{
	*o = l->o;
	o->incarnation = rec_random(inc_seed) | 1;
}

static void choose_opts(struct life *l)
{
	struct journal_opts *o = &l->o;

	journal_opts_init(o);
	o->geo = (struct journal_geometry){
		.uuid = {7}, .disk_size = DISK_SIZE, .block_size = l->unit * SECTOR};
	o->geo.ring_size = (64 + below(l, 64)) * JOURNAL_BLOCK;
	o->ack = (enum journal_ack)below(l, 3);
	o->batch_bytes = (uint32_t)(1 + below(l, 4)) * JOURNAL_BLOCK;
	o->ram_bytes = (4 + below(l, 8)) * (o->batch_bytes + JOURNAL_BLOCK);
	o->max_items = 256;
	o->max_records = 1024;
	o->depth = 1 + (uint32_t)below(l, 8);
	o->sync_ns = below(l, 50) * NS_PER_MS;
	o->sync_bytes = 16384 + below(l, 200000);
	o->apply_ns = below(l, 60) * NS_PER_MS;
	o->apply_bytes = 8192 + below(l, 100000);
	o->superblock_ns = below(l, 100) * NS_PER_MS;
	o->superblock_bytes = 16384 + below(l, 200000);
}

static bool open_it(struct life *l)
{
	struct err e = ERR_INIT;
	struct journal_opts o;
	int rc;

	life_opts(l, &o, &l->inc_seed);
	rc = journal_open(&l->file.base, &l->disk.base, &o, &l->j, &e);
	if (rc < 0) {
		wrong(l, e.text, rc);
		return false;
	}
	journal_set_events(l->j, &events, l);
	return true;
}

static bool life_init(struct life *l, uint64_t seed)
{
	struct err e = ERR_INIT;
	int rc;

	*l = (struct life){.seed = seed, .io_seed = seed ^ 0x1234, .inc_seed = seed ^ 0x99};
	l->state = l->asked = JOURNAL_EMPTY;
	l->tag = 2;
	l->unit = below(l, 4) ? 1 : 8;
	l->commit_rate = below(l, 4) ? 140 : 5 + (unsigned int)below(l, 20);
	l->session = 100;
	l->snaps = malloc((SNAPS_MAX + 1) * sizeof(*l->snaps));
	l->file_view = calloc(1, FILE_MAX);
	l->disk_view = calloc(1, DISK_SIZE);
	l->file_start = malloc(FILE_MAX);
	l->disk_start = malloc(DISK_SIZE);
	assert(l->snaps && l->file_view && l->disk_view && l->file_start && l->disk_start);
	choose_opts(l);
	block_rec_init(&l->file, l->file_view, FILE_MAX, 4096);
	block_rec_init(&l->disk, l->disk_view, DISK_SIZE, 512);
	rc = journal_format(&l->file.base, &l->o.geo, rec_random(&l->inc_seed) | 1, &e);
	if (rc < 0) {
		wrong(l, e.text, rc);
		return false;
	}
	memcpy(l->file_start, l->file_view, FILE_MAX);
	memcpy(l->disk_start, l->disk_view, DISK_SIZE);
	l->file.log = l->disk.log = &l->log;
	l->file.id = STORE_FILE;
	l->disk.id = STORE_DISK;
	l->file.seed = l->disk.seed = &l->io_seed;
	return open_it(l);
}

void life_fini(struct life *l)
{
	if (l->j) {
		l->file.log = l->disk.log = NULL;
		block_rec_kill(&l->file, &l->io_seed);
		block_rec_kill(&l->disk, &l->io_seed);
		journal_free(l->j);
	}
	rec_log_free(&l->log);
	free(l->snaps);
	free(l->file_view);
	free(l->disk_view);
	free(l->file_start);
	free(l->disk_start);
}

/* ---- what it does ---- */

static void session_over(struct life *l)
{
	l->in_session = l->open = l->settling = l->blocked = false;
	l->n_ended = 0;
	if (l->n_snaps)
		l->now_written = l->snaps[l->n_snaps].c;
}

static void ask(struct life *l, enum journal_state state, int rc)
{
	if (rc == -EBUSY)
		return;
	if (rc < 0) {
		wrong(l, "change refused", rc);
		return;
	}
	session_over(l);
	l->asked = state;
	note(l, NOTE_ASKED, state);
}

static void copy_begin(struct life *l)
{
	uint64_t first = below(l, 3);
	int rc = journal_copy_begin(l->j, l->session + 1, first);

	ask(l, JOURNAL_SYNCING, rc);
	/* What is told until then is of the old session. */
	if (!rc)
		l->epoch = first;
}

static void begin(struct life *l)
{
	int rc = journal_begin(l->j, l->session + 1, 5);

	if (rc == -EAGAIN) {
		session_over(l);
		l->blocked = true;
		l->eagain++;
		return;
	}
	if (rc < 0) {
		wrong(l, "session refused", rc);
		return;
	}
	session_over(l);
	l->session++;
	l->epoch = 5;
	l->in_session = true;
}

static void drop(struct life *l)
{
	journal_drop(l->j);
	session_over(l);
	l->drops++;
}

static bool took(struct life *l, int rc)
{
	if (!rc)
		return true;
	if (rc == -EAGAIN) {
		l->blocked = true;
		l->eagain++;
	} else if (rc == -EFBIG) {
		l->efbig++;
		drop(l);
	} else {
		wrong(l, "append", rc);
	}
	return false;
}

static void append(struct life *l)
{
	static alignas(512) uint8_t data[16 * SECTOR];
	unsigned int most = l->o.batch_bytes / SECTOR > 16 ? 16 : l->o.batch_bytes / SECTOR;
	unsigned int n = 1 + (unsigned int)below(l, below(l, 3) ? 4 : most);
	unsigned int at = (unsigned int)below(l, below(l, 2) ? SECTORS : 64);
	struct journal_rec rec = {.op = JOURNAL_WRITE, .data = data};
	uint64_t tag = ++l->tag;

	if (l->state == JOURNAL_SYNCING && l->copied < SECTORS && !l->settling && below(l, 4)) {
		at = l->copied;
		n = most;
	} else if (!below(l, 8)) {
		rec.op = JOURNAL_ZERO;
		tag = 0;
		n = 1 + (unsigned int)below(l, 64);
	} else if (!below(l, 12)) {
		rec.op = JOURNAL_DISCARD;
		tag = ANYTHING;
	} else if (!below(l, 10)) {
		rec = (struct journal_rec){.op = JOURNAL_FLUSH};
	}
	at -= at % l->unit;
	n = MIN((n + l->unit - 1) / l->unit * l->unit, SECTORS - at);
	if (rec.op != JOURNAL_FLUSH) {
		rec.off = (uint64_t)at * SECTOR;
		rec.len = n * SECTOR;
	}
	for (unsigned int i = 0; rec.op == JOURNAL_WRITE && i < n; i++)
		content_fill(tag, at + i, data + (size_t)i * SECTOR);
	if (!took(l, journal_append(l->j, l->epoch, &rec)))
		return;
	l->open = true;
	if (rec.op == JOURNAL_FLUSH)
		return;
	for (unsigned int i = 0; i < n; i++)
		l->now_written.tag[at + i] = tag;
	if (rec.op == JOURNAL_WRITE && at == l->copied)
		l->copied += n;
}

static void end(struct life *l)
{
	bool settles = !l->settling && ((l->state == JOURNAL_SYNCING && l->copied == SECTORS) ||
					(l->state == JOURNAL_OUTDATED && below(l, 4) == 0));
	struct journal_count count;

	if (l->n_ended == ENDED_MAX || !took(l, journal_end(l->j, l->epoch, &count)))
		return;
	l->ended[l->n_ended] = l->now_written;
	l->ended_epoch[l->n_ended++] = l->epoch;
	l->open = false;
	if (settles) {
		int rc = journal_copy_end(l->j, l->epoch);

		if (rc < 0)
			wrong(l, "end of copy", rc);
		l->settling = true;
		l->settle_epoch = l->epoch;
	}
	l->epoch++;
}

static void commit(struct life *l)
{
	struct snap *s;
	int rc;

	if (!l->n_ended)
		return;
	s = &l->snaps[++l->n_snaps];
	*s = (struct snap){.session = l->session, .epoch = l->ended_epoch[0], .c = l->ended[0]};
	l->n_ended--;
	memmove(l->ended, l->ended + 1, l->n_ended * sizeof(l->ended[0]));
	memmove(l->ended_epoch, l->ended_epoch + 1, l->n_ended * sizeof(l->ended_epoch[0]));
	note(l, NOTE_COMMIT, l->n_snaps);
	if (l->settling && s->epoch == l->settle_epoch)
		note(l, NOTE_ASKED, JOURNAL_CONSISTENT);
	rc = journal_commit(l->j, s->epoch);
	if (rc < 0)
		wrong(l, "commit", rc);
}

static void activate(struct life *l)
{
	uint64_t gen = rec_random(&l->inc_seed) | 1;
	const struct snap *s = &l->snaps[l->n_snaps];
	int rc;

	if (!l->n_snaps || s->session != l->session)
		return;
	rc = journal_activate(l->j, s->epoch, gen);
	if (rc == -EBUSY)
		return;
	note(l, NOTE_GEN, gen);
	ask(l, JOURNAL_ACTIVE, rc);
	l->activations++;
}

/* The guest runs here and writes past the journal. */
static void guest_writes(struct life *l)
{
	static alignas(512) uint8_t data[SECTOR];
	struct snap *s;
	int rc = 0;

	note(l, NOTE_GUEST, 1);
	for (unsigned int i = 0; i < 20 && !rc; i++) {
		uint64_t at = below(l, SECTORS);

		content_fill(++l->tag, at, data);
		l->now_written.tag[at] = l->tag;
		rc = block_do(&l->disk.base, BLOCK_WRITE, at * SECTOR, data, SECTOR);
	}
	if (!rc)
		rc = block_do(&l->disk.base, BLOCK_SYNC, 0, NULL, 0);
	if (rc < 0)
		wrong(l, "guest", rc);
	s = &l->snaps[++l->n_snaps];
	*s = (struct snap){.session = l->snaps[l->n_snaps - 1].session,
			   .epoch = l->snaps[l->n_snaps - 1].epoch,
			   .c = l->now_written};
	note(l, NOTE_COMMIT, l->n_snaps);
	note(l, NOTE_SAFE, l->n_snaps);
	note(l, NOTE_GUEST, 0);
}

/* The process dies and comes again; the machine goes on. */
static void kill_and_open(struct life *l)
{
	struct journal_stats st;
	struct journal_sb sb;
	uint64_t k;

	block_rec_kill(&l->file, &l->io_seed);
	block_rec_kill(&l->disk, &l->io_seed);
	journal_free(l->j);
	l->j = NULL;
	l->kills++;
	if (!open_it(l))
		return;
	journal_stats(l->j, &st);
	if (journal_peek(&l->file.base, &sb, NULL) < 0 || st.state == JOURNAL_FAILED) {
		wrong(l, st.why, 0);
		return;
	}
	session_over(l);
	/* The copy that was asked for may have got its session already. */
	l->session++;
	l->state = l->asked = st.state;
	note(l, NOTE_TOLD, st.state);
	if (st.state != JOURNAL_OUTDATED)
		return;
	for (k = l->n_snaps; k; k--) {
		if (l->snaps[k].session == sb.session && l->snaps[k].epoch == sb.applied_epoch)
			break;
	}
	if (!k || content_differs(&l->snaps[k].c, l->disk_view) >= 0) {
		wrong(l, "after a kill the disk is of no epoch", 0);
		return;
	}
	/* What came after it is history that never was; earlier prefixes still look at it. */
	l->snaps[++l->n_snaps] = l->snaps[k];
	l->now_written = l->snaps[k].c;
	note(l, NOTE_COMMIT, l->n_snaps);
	note(l, NOTE_SAFE, l->n_snaps);
}

static void outside_session(struct life *l)
{
	switch (l->state) {
	case JOURNAL_EMPTY:
	case JOURNAL_SYNCING:
	case JOURNAL_FAILED:
		copy_begin(l);
		break;
	case JOURNAL_CONSISTENT:
		if (!below(l, 4))
			ask(l, JOURNAL_OUTDATED, journal_leave(l->j));
		else if (!below(l, 4))
			activate(l);
		else
			begin(l);
		break;
	case JOURNAL_OUTDATED:
		if (!below(l, 3))
			copy_begin(l);
		else
			begin(l);
		break;
	case JOURNAL_ACTIVE:
		if (below(l, 3))
			guest_writes(l);
		else if (below(l, 2))
			kill_and_open(l);
		else
			ask(l, JOURNAL_OUTDATED, journal_leave(l->j));
		break;
	}
}

static void in_session(struct life *l)
{
	uint64_t what = below(l, 1000);

	if (what < 4)
		drop(l);
	else if (what < 8 && l->state == JOURNAL_CONSISTENT)
		activate(l);
	else if (what < 8 + l->commit_rate)
		commit(l);
	else if (what < 180 && !l->blocked && (l->open || what < 160))
		end(l);
	else if (what < 230)
		journal_push(l->j);
	else if (!l->blocked && l->n_ended < ENDED_MAX)
		append(l);
}

static void step(struct life *l)
{
	uint64_t what = below(l, 100);

	if (what < 30)
		(void)l->file.base.ops->wait(&l->file.base);
	else if (what < 55)
		(void)l->disk.base.ops->wait(&l->disk.base);
	else if (!below(l, 700))
		kill_and_open(l);
	else if (l->asked != l->state)
		;
	else if (l->in_session)
		in_session(l);
	else if (!l->blocked && !below(l, 10))
		outside_session(l);
	if (*l->why)
		return;
	l->now += below(l, 3) ? 0 : below(l, 10) * NS_PER_MS;
	(void)journal_run(l->j, l->now);
	l->blocked_for = l->blocked || l->asked != l->state ? l->blocked_for + 1 : 0;
	if (l->blocked_for > BLOCKED_MAX)
		wrong(l, "nothing happens any more", 0);
}

bool life_run(struct life *l, uint64_t seed)
{
	if (!life_init(l, seed))
		return false;
	for (int i = 0; i < STEPS && !*l->why && l->n_snaps < SNAPS_MAX - 2; i++)
		step(l);
	return !*l->why;
}
