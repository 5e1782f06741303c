/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See copier.h. */
#include "disk/copier.h"

#include <errno.h>

#include "disk/dirty_map.h"
#include "disk/epoch_log.h"
#include "disk/mutant.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

enum slot_state {
	SLOT_FREE,
	SLOT_READING,
	SLOT_ASKED, /* HASH, VERIFY: the peer's answer is due */
	SLOT_AGAIN, /* VERIFY: written meanwhile */
	SLOT_VOID,  /* being read, for a stream that is over */
};

struct slot {
	enum slot_state state;
	enum copier_kind kind;
	uint64_t off;
	uint32_t len;
	uint32_t tries;
	bool touched; /* the guest wrote there since it was read */
};

struct copier {
	struct copier_conf conf;
	uint64_t disk;
	bool on;
	int failed;
	uint64_t copy_at;   /* where the next COPY is looked for */
	uint64_t hash_at;   /* chunks below were asked; disk: all */
	uint64_t verify_at; /* disk: no pass, or its last chunks */
	uint64_t carry;	    /* the epoch in which a bit went last */

	uint64_t tokens; /* bytes that may be read now */
	uint64_t filled_at;
	uint64_t deadline;
	uint64_t started_at;
	struct copier_progress progress;
	struct slot slots[COPIER_SLOTS_MAX];
};

/* ---- slots -------------------------------------------------------------- */

static bool busy(const struct slot *s)
{
	return s->state != SLOT_FREE && s->state != SLOT_VOID;
}

/* How many slots of this kind are busy. */
static uint32_t slots_of(const struct copier *c, enum copier_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->conf.slots; i++)
		n += busy(&c->slots[i]) && c->slots[i].kind == kind;
	return n;
}

/* Bytes of COPY that are being read. */
static uint64_t copying(const struct copier *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->conf.slots; i++)
		if (busy(&c->slots[i]) && c->slots[i].kind == COPIER_COPY)
			n += c->slots[i].len;
	return n;
}

static bool overlaps(const struct slot *s, uint64_t off, uint64_t len)
{
	return off < s->off + s->len && s->off < off + len;
}

static struct slot *find_state(struct copier *c, enum slot_state state)
{
	for (uint32_t i = 0; i < c->conf.slots; i++)
		if (c->slots[i].state == state)
			return &c->slots[i];
	return NULL;
}

/* Everything below was compared, or was not to be: copies do not go further. */
static uint64_t frontier(const struct copier *c)
{
	uint64_t end = c->hash_at;

	for (uint32_t i = 0; i < c->conf.slots; i++)
		if (busy(&c->slots[i]) && c->slots[i].kind == COPIER_HASH)
			end = MIN(end, c->slots[i].off);
	return end;
}

/* Blocks were unmarked in the epoch that runs. */
static void carried(struct copier *c, uint64_t epoch)
{
	if (!DISK_MUTANT(DISK_MUTANT_NO_CARRY))
		c->carry = epoch;
}

/* ---- what to do next ---------------------------------------------------- */

/* A run of marked blocks at or after from and before end that no job has. */
static bool find_run(const struct copier *c, uint64_t from, uint64_t end, struct copier_job *job)
{
	uint64_t off = 0;
	uint64_t len = 0;
	bool again = true;

	while (again) {
		if (!dirty_map_next_run(c->conf.map, from, end, c->conf.copy_bytes, &off, &len))
			return false;
		again = false;
		for (uint32_t i = 0; i < c->conf.slots && !again; i++) {
			const struct slot *s = &c->slots[i];

			if (s->state == SLOT_FREE || !overlaps(s, off, len))
				continue;
			again = s->off <= off;
			if (again)
				from = s->off + s->len + DIRTY_BLOCK_SIZE -
				       1; /* past a short one */
			else
				len = s->off - off;
		}
	}
	*job = (struct copier_job){.kind = COPIER_COPY, .off = off, .len = (uint32_t)len};
	return true;
}

static bool next_copy(struct copier *c, struct copier_job *job)
{
	uint64_t end = frontier(c);

	if (!epoch_log_sync_room(c->conf.log, copying(c) + c->conf.copy_bytes))
		return false;
	return find_run(c, c->copy_at, end, job) || find_run(c, 0, end, job);
}

static uint32_t chunk_at(const struct copier *c, uint64_t off)
{
	return (uint32_t)MIN((uint64_t)c->conf.chunk_bytes, c->disk - off);
}

static bool next_hash(struct copier *c, struct copier_job *job)
{
	if (slots_of(c, COPIER_HASH) >= c->conf.slots / 2)
		return false;
	while (c->hash_at < c->disk) {
		uint32_t len = chunk_at(c, c->hash_at);

		/* Part of it is sent as it is written: the peer's content does not stand still. */
		if (dirty_map_all(c->conf.map, c->hash_at, len)) {
			*job = (struct copier_job){
				.kind = COPIER_HASH, .off = c->hash_at, .len = len};
			return true;
		}
		c->hash_at += len;
	}
	return false;
}

static bool next_verify(struct copier *c, struct copier_job *job)
{
	struct slot *s = find_state(c, SLOT_AGAIN);

	if (s) {
		*job = (struct copier_job){.kind = COPIER_VERIFY, .off = s->off, .len = s->len};
		return true;
	}
	if (slots_of(c, COPIER_VERIFY) >= c->conf.slots / 2)
		return false;
	while (c->verify_at < c->disk) {
		uint32_t len = chunk_at(c, c->verify_at);

		*job = (struct copier_job){.kind = COPIER_VERIFY, .off = c->verify_at, .len = len};
		if (!dirty_map_any(c->conf.map, c->verify_at, len))
			return true;
		c->progress.busy += len;
		c->verify_at += len;
	}
	return false;
}

/* ---- rate --------------------------------------------------------------- */

static void refill(struct copier *c, uint64_t now)
{
	uint64_t most =
		MAX(c->progress.rate / 8, (uint64_t)MAX(c->conf.chunk_bytes, c->conf.copy_bytes));
	uint64_t past = MIN(clock_until(now, c->filled_at), NS_PER_SEC);
	uint64_t add = c->progress.rate * past / NS_PER_SEC;

	/* Otherwise frequent calls would round everything away. */
	if (add == 0)
		return;
	c->tokens = MIN(c->tokens + add, most);
	c->filled_at = now;
}

/* May len bytes be read? Sets the deadline if not. */
static bool spend(struct copier *c, uint64_t now, uint32_t len)
{
	if (c->tokens >= len) {
		c->tokens -= len;
		return true;
	}
	c->deadline = clock_add(now, (len - c->tokens) * NS_PER_SEC / c->progress.rate + 1);
	return false;
}

void copier_pace(struct copier *c, bool late)
{
	uint64_t least = MAX(c->conf.rate / 16, COPIER_RATE_MIN);
	uint64_t more = c->progress.rate + c->conf.rate / 16;

	c->progress.rate = late ? MAX(c->progress.rate / 2, least) : MIN(more, c->conf.rate);
}

/* ---- jobs --------------------------------------------------------------- */

static void take_slot(struct copier *c, struct copier_job *job)
{
	struct slot *s = job->kind == COPIER_VERIFY ? find_state(c, SLOT_AGAIN) : NULL;
	uint32_t tries = s ? s->tries : 0;

	if (!s)
		s = find_state(c, SLOT_FREE);
	job->slot = (uint32_t)(s - c->slots);
	*s = (struct slot){.state = SLOT_READING,
			   .kind = job->kind,
			   .off = job->off,
			   .len = job->len,
			   .tries = tries + 1};
	if (job->kind == COPIER_COPY)
		c->copy_at = job->off + job->len;
	else if (job->kind == COPIER_HASH)
		c->hash_at = job->off + job->len;
	else if (tries == 0)
		c->verify_at = job->off + job->len;
	if (job->kind == COPIER_COPY && DISK_MUTANT(DISK_MUTANT_CLEAR_EARLY))
		dirty_map_clear(c->conf.map, job->off, job->len);
}

bool copier_next(struct copier *c, uint64_t now, struct copier_job *job)
{
	c->deadline = CLOCK_NEVER;
	if (!c->on)
		return false;
	refill(c, now);
	if (!find_state(c, SLOT_FREE) && !find_state(c, SLOT_AGAIN))
		return false;
	if (find_state(c, SLOT_FREE)
		    ? !next_copy(c, job) && !next_hash(c, job) && !next_verify(c, job)
		    : !next_verify(c, job))
		return false;
	if (!spend(c, now, job->len))
		return false;
	take_slot(c, job);
	return true;
}

uint64_t copier_deadline(const struct copier *c)
{
	return c->deadline;
}

/* Queues what was read. When there is no room the blocks stay marked, and their turn comes again. */
static void copied(struct copier *c, const struct slot *s, const void *data)
{
	uint64_t epoch;

	if (epoch_log_add_sync(c->conf.log, s->off, s->len, data, &epoch) < 0)
		return;
	c->progress.copied += s->len;
	carried(c, epoch);
}

void copier_read(struct copier *c, uint32_t slot, const void *data, int rc)
{
	struct slot *s = &c->slots[slot];

	assert(slot < c->conf.slots && (s->state == SLOT_READING || s->state == SLOT_VOID));
	if (s->state == SLOT_VOID) {
		s->state = SLOT_FREE;
		return;
	}
	s->state = SLOT_FREE;
	if (rc < 0) {
		copier_stop(c);
		c->failed = rc;
		return;
	}
	if (s->kind == COPIER_COPY) {
		copied(c, s, data);
		return;
	}
	s->touched = false;
	s->state = SLOT_ASKED;
}

void copier_guest_write(struct copier *c, uint64_t off, uint64_t len)
{
	for (uint32_t i = 0; c->on && i < c->conf.slots; i++)
		if (c->slots[i].state == SLOT_ASKED && overlaps(&c->slots[i], off, len))
			c->slots[i].touched = true;
}

static void hashed(struct copier *c, const struct slot *s, enum copier_verdict verdict)
{
	uint64_t epoch = epoch_log_epoch(c->conf.log);

	/* What the guest wrote there was not sent: it is copied. */
	if (verdict != COPIER_EQUAL || epoch == EPOCH_LOG_NONE ||
	    (s->touched && !DISK_MUTANT(DISK_MUTANT_VERDICT_ANYHOW)))
		return;
	dirty_map_clear(c->conf.map, s->off, s->len);
	c->progress.equal += s->len;
	carried(c, epoch);
}

static void compared(struct copier *c, struct slot *s, enum copier_verdict verdict)
{
	bool touched = s->touched && !DISK_MUTANT(DISK_MUTANT_VERDICT_ANYHOW);

	if (verdict == COPIER_EQUAL) {
		c->progress.verified += s->len;
		return;
	}
	if (verdict == COPIER_DIFFERENT && touched && s->tries < COPIER_TRIES) {
		s->state = SLOT_AGAIN;
		return;
	}
	if (verdict == COPIER_UNREAD || touched) {
		c->progress.busy += s->len;
		return;
	}
	c->progress.verified += s->len;
	c->progress.differed += s->len;
	dirty_map_set(c->conf.map, s->off, s->len);
	if (c->conf.differs)
		c->conf.differs(c->conf.arg, s->off, s->len);
}

int copier_answer(struct copier *c, enum copier_kind kind, uint64_t off, uint32_t len,
		  enum copier_verdict verdict)
{
	for (uint32_t i = 0; i < c->conf.slots; i++) {
		struct slot *s = &c->slots[i];

		if (s->state != SLOT_ASKED || s->kind != kind || s->off != off || s->len != len)
			continue;
		s->state = SLOT_FREE;
		if (kind == COPIER_HASH)
			hashed(c, s, verdict);
		else
			compared(c, s, verdict);
		return 0;
	}
	return -ENOENT;
}

/* ---- start, stop, done -------------------------------------------------- */

int copier_start(struct copier *c, bool hash, uint64_t now)
{
	uint64_t epoch = epoch_log_epoch(c->conf.log);

	if (epoch == EPOCH_LOG_NONE)
		return -ENOTCONN;
	copier_stop(c);
	c->on = true;
	c->failed = 0;
	c->copy_at = 0;
	c->hash_at = hash ? 0 : c->disk;
	c->carry = epoch;
	c->tokens = 0;
	c->filled_at = c->started_at = now;
	c->progress = (struct copier_progress){.total = dirty_map_bytes(c->conf.map),
					       .rate = c->conf.rate};
	return 0;
}

void copier_stop(struct copier *c)
{
	for (uint32_t i = 0; i < c->conf.slots; i++) {
		struct slot *s = &c->slots[i];

		if (s->state != SLOT_FREE)
			s->state = s->state == SLOT_READING || s->state == SLOT_VOID ? SLOT_VOID
										     : SLOT_FREE;
	}
	c->on = false;
	c->deadline = CLOCK_NEVER;
	c->hash_at = c->verify_at = c->disk;
}

int copier_verify(struct copier *c)
{
	if (!c->on)
		return -ENOTCONN;
	if (frontier(c) < c->disk || c->verify_at < c->disk || slots_of(c, COPIER_VERIFY) > 0)
		return -EBUSY;
	c->verify_at = 0;
	c->progress.verified = c->progress.differed = c->progress.busy = 0;
	return 0;
}

bool copier_whole(const struct copier *c, uint64_t epoch)
{
	return c->on && dirty_map_count(c->conf.map) == 0 && epoch >= c->carry;
}

bool copier_done(const struct copier *c)
{
	uint64_t settled = epoch_log_settled(c->conf.log);

	return settled != EPOCH_LOG_NONE && copier_whole(c, settled) &&
	       slots_of(c, COPIER_COPY) == 0 && frontier(c) == c->disk;
}

int copier_failed(const struct copier *c)
{
	return c->failed;
}

void copier_get_progress(const struct copier *c, uint64_t now, struct copier_progress *out)
{
	uint64_t gone = c->progress.copied + c->progress.equal;
	uint64_t ms = clock_until(now, c->started_at) / NS_PER_MS;
	uint64_t per_ms = ms ? gone / ms : 0;

	*out = c->progress;
	out->left = dirty_map_bytes(c->conf.map);
	out->verifying = c->verify_at < c->disk || slots_of(c, COPIER_VERIFY) > 0;
	out->eta_ms = out->left == 0 ? 0 : per_ms ? out->left / per_ms : UINT64_MAX;
}

int copier_new(struct copier **out, const struct copier_conf *conf, struct err *e)
{
	struct copier *c;

	if (conf->rate < COPIER_RATE_MIN || conf->rate > COPIER_RATE_MAX)
		return err_setx(e, -EINVAL,
				"a copier's rate of %llu bytes a second; %llu to %llu are right",
				(unsigned long long)conf->rate, (unsigned long long)COPIER_RATE_MIN,
				(unsigned long long)COPIER_RATE_MAX);
	if (conf->copy_bytes == 0 || conf->copy_bytes > EPOCH_REC_MAX || conf->chunk_bytes == 0 ||
	    conf->chunk_bytes > COPIER_CHUNK_MAX || conf->copy_bytes % DIRTY_BLOCK_SIZE ||
	    conf->chunk_bytes % DIRTY_BLOCK_SIZE || conf->slots < 2 ||
	    conf->slots > COPIER_SLOTS_MAX)
		return err_setx(e, -EINVAL, "a copier with %u jobs of %u bytes, chunks of %u",
				conf->slots, conf->copy_bytes, conf->chunk_bytes);
	c = mem_zalloc(sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "copier of a disk");
	c->conf = *conf;
	c->disk = dirty_map_disk_bytes(conf->map);
	c->progress.rate = conf->rate;
	copier_stop(c);
	*out = c;
	return 0;
}

void copier_free(struct copier *c)
{
	mem_free(c);
}
