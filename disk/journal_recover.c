/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See journal_impl.h. From what is on the disk to the last epoch that was committed there, in three walks over the ring
 * that need little memory however big it is: one to find the last COMMIT, one to replay, and within that one for each
 * epoch, whose batches may lie among those of others. Blocks; nothing else is in flight.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/journal_impl.h"
#include "lib/cleanup.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/mem.h"

/* ---- superblocks ---- */

int recover_sb(struct block_store *file, struct journal_sb *sb, struct err *e)
{
	autofree uint8_t *block = mem_aligned(JOURNAL_BLOCK, JOURNAL_BLOCK);
	struct err why[2] = {ERR_INIT, ERR_INIT};
	int rc[2] = {-EBADMSG, -EBADMSG};
	struct journal_sb got[2];
	unsigned int pick;

	if (!block)
		return err_set(e, -ENOMEM, "read the journal");
	for (unsigned int i = 0; i < (JOURNAL_MUTANT(JM_ONE_SUPERBLOCK) ? 1 : 2); i++) {
		int r = block_do(file, BLOCK_READ, (uint64_t)i * JOURNAL_BLOCK, block,
				 JOURNAL_BLOCK);

		if (r < 0)
			return err_set(e, r, "read superblock %c of the journal", 'A' + (int)i);
		rc[i] = journal_sb_decode(&got[i], block, i, &why[i]);
	}
	/* A newer program may have been here: whatever the other place says, it is not ours to judge. */
	for (unsigned int i = 0; i < 2; i++) {
		if (rc[i] == -EPROTO)
			return err_setx(e, rc[i], "%s", why[i].text);
	}
	if (rc[0] && rc[1])
		return err_setx(
			e, -EBADMSG,
			"the journal has no valid superblock (A: %s; B: %s); it must be made "
			"anew, and the disk copied again",
			why[0].text, why[1].text);
	pick = rc[0] ? 1 : 0;
	if (!rc[0] && !rc[1])
		pick = (got[1].seq > got[0].seq) != JOURNAL_MUTANT(JM_OLDER_SUPERBLOCK);
	*sb = got[pick];
	return 0;
}

static int put_one(struct block_store *file, struct journal_sb *sb, void *block)
{
	int rc;

	sb->seq++;
	journal_sb_encode(sb, block);
	rc = block_do(file, BLOCK_WRITE, (uint64_t)journal_sb_slot(sb->seq) * JOURNAL_BLOCK, block,
		      JOURNAL_BLOCK);
	return rc ? rc : block_do(file, BLOCK_SYNC, 0, NULL, 0);
}

int recover_put_both(struct block_store *file, struct journal_sb *sb, void *block)
{
	int rc = put_one(file, sb, block);

	return rc ? rc : put_one(file, sb, block);
}

/* ---- walking ---- */

struct place {
	uint64_t off; /* in the ring */
	uint64_t lsn;
	uint64_t prev;
};

struct walk {
	struct journal *j;
	struct place at;
	uint64_t walked; /* bytes */
	uint8_t *block;
	uint8_t *payload;
	struct journal_item item; /* the present one */
};

static int walk_init(struct walk *w, struct journal *j)
{
	w->j = j;
	w->block = mem_aligned(JOURNAL_BLOCK, JOURNAL_BLOCK);
	w->payload =
		mem_aligned(JOURNAL_BLOCK, MIN((uint64_t)JOURNAL_PAYLOAD_MAX, j->o.geo.ring_size));
	return w->block && w->payload ? 0 : -ENOMEM;
}

static void walk_fini(struct walk *w)
{
	mem_free(w->block);
	mem_free(w->payload);
}

static struct place tail_of(const struct journal_sb *sb)
{
	return (struct place){.off = sb->tail_off, .lsn = sb->tail_lsn, .prev = sb->tail_prev};
}

static void walk_from(struct walk *w, struct place at)
{
	w->at = at;
	w->walked = 0;
}

static bool is_next(const struct walk *w)
{
	const struct journal_item *it = &w->item;

	if (it->incarnation != w->j->sb.incarnation && !JOURNAL_MUTANT(JM_ANY_INCARNATION))
		return false;
	if (JOURNAL_MUTANT(JM_ANY_POSITION))
		return true;
	return it->lsn == w->at.lsn && it->prev == w->at.prev;
}

/* 0: the item is at off. -ENOENT: it is not. Else the error. */
static int look_at(struct walk *w, uint64_t off)
{
	const struct journal_geometry *g = &w->j->o.geo;
	int rc = block_do(w->j->file, BLOCK_READ, w->j->ring_off + off, w->block, JOURNAL_BLOCK);
	uint32_t whole;

	if (rc < 0)
		return rc;
	if (journal_item_decode(&w->item, w->block, g) < 0 || !is_next(w) ||
	    off + journal_item_size(&w->item) > g->ring_size)
		return -ENOENT;
	whole = journal_whole(w->item.payload_len);
	if (whole)
		rc = block_do(w->j->file, BLOCK_READ, w->j->ring_off + off + JOURNAL_BLOCK,
			      w->payload, whole);
	if (rc < 0)
		return rc;
	if (w->item.type == JOURNAL_BATCH &&
	    digest_of(w->payload, whole) != w->item.payload_digest &&
	    !JOURNAL_MUTANT(JM_NO_PAYLOAD_DIGEST))
		return -ENOENT;
	w->at.off = off;
	return 0;
}

/*
 * 0: item and payload are the next one's, at.off is where it is. -ENOENT: the end. walk_on() goes on.
 */
static int walk_look(struct walk *w)
{
	int rc;

	if (w->walked >= w->j->o.geo.ring_size)
		return -ENOENT;
	rc = look_at(w, w->at.off);
	if (rc == -ENOENT && w->at.off)
		rc = look_at(w, 0);
	return rc;
}

static void walk_on(struct walk *w)
{
	uint32_t size = journal_item_size(&w->item);

	w->walked += size;
	w->at.off = (w->at.off + size) % w->j->o.geo.ring_size;
	w->at.lsn++;
	w->at.prev = w->item.digest;
}

/* ---- what the items say together ---- */

struct open_epoch {
	struct place first; /* its first batch */
	uint64_t epoch;
	uint32_t batches;
	uint64_t records;
	uint64_t bytes;
};

struct story {
	uint64_t session;
	uint64_t next; /* the epoch whose COMMIT is due; NO_EPOCH: any */
	uint64_t committed;
	uint64_t lsn; /* of the last COMMIT; 0: none */
	uint64_t lsn_session;
	struct open_epoch open[JOURNAL_UNCOMMITTED];
	uint32_t n_open;
	struct open_epoch ended; /* by the COMMIT that was told last */
	bool commits;		 /* and there was one, with something to replay */
};

static void story_begin(struct story *s, const struct journal_sb *sb)
{
	*s = (struct story){.session = sb->session, .next = JOURNAL_NO_EPOCH};
	s->committed = sb->applied_epoch;
	s->lsn_session = sb->session;
	if (sb->applied_epoch != JOURNAL_NO_EPOCH)
		s->next = sb->applied_epoch + 1;
}

static bool tell_batch(struct story *s, const struct walk *w)
{
	const struct journal_item *it = &w->item;
	struct open_epoch *last = s->n_open ? &s->open[s->n_open - 1] : NULL;

	if (JOURNAL_MUTANT(JM_ANY_POSITION) && !(last && last->epoch == it->epoch))
		s->n_open = 0;
	else if (it->session != s->session)
		/* Of a session that was dropped whole: its BEGIN may be gone before its batches are. */
		return true;
	if (!last || last->epoch != it->epoch || !s->n_open) {
		/* An epoch without a write has no batch, so that numbers may be left out. */
		uint64_t least = last ? last->epoch + 1 : s->next;

		if (s->n_open == JOURNAL_UNCOMMITTED ||
		    (least != JOURNAL_NO_EPOCH && it->epoch < least &&
		     !JOURNAL_MUTANT(JM_ANY_POSITION)))
			return false;
		last = &s->open[s->n_open++];
		*last = (struct open_epoch){.epoch = it->epoch, .first = w->at};
	}
	last->batches++;
	last->records += it->n_descs;
	last->bytes += it->payload_len;
	return true;
}

static bool tell_commit(struct story *s, const struct walk *w, const struct journal_sb *sb)
{
	const struct journal_item *it = &w->item;
	struct open_epoch none = {.epoch = it->epoch};
	const struct open_epoch *o = &none;

	if (it->session != s->session && !JOURNAL_MUTANT(JM_ANY_POSITION))
		return false;
	if (it->session == sb->session && sb->applied_epoch != JOURNAL_NO_EPOCH &&
	    it->epoch <= sb->applied_epoch)
		return true;
	if (s->next != JOURNAL_NO_EPOCH && it->epoch != s->next && !JOURNAL_MUTANT(JM_ANY_POSITION))
		return false;
	if (s->n_open && s->open[0].epoch == it->epoch)
		o = &s->open[0];
	if ((it->batches != o->batches || it->records != o->records || it->bytes != o->bytes) &&
	    !JOURNAL_MUTANT(JM_ANY_POSITION))
		return false;
	s->ended = *o;
	s->commits = true;
	s->committed = it->epoch;
	s->next = it->epoch + 1;
	s->lsn = it->lsn;
	s->lsn_session = it->session;
	if (o == &s->open[0]) {
		s->n_open--;
		memmove(s->open, s->open + 1, s->n_open * sizeof(*s->open));
	}
	return true;
}

/* False: it does not fit what came before; the walk ends before it. */
static bool tell_item(struct story *s, const struct walk *w, const struct journal_sb *sb)
{
	const struct journal_item *it = &w->item;

	s->commits = false;
	switch (it->type) {
	case JOURNAL_BATCH:
		return tell_batch(s, w);
	case JOURNAL_COMMIT:
		return tell_commit(s, w, sb);
	case JOURNAL_BEGIN:
		s->n_open = 0;
		s->session = it->session;
		s->next = it->epoch;
		return true;
	}
	return false;
}

/* ---- replaying ---- */

static int replay_batch(const struct walk *w, struct replay *to)
{
	const struct journal_item *it = &w->item;
	uint8_t *p = w->payload;
	int rc = 0;

	for (unsigned int i = 0; !rc && i < it->n_descs; i++) {
		const struct journal_desc *d = &it->descs[i];

		rc = replay_add(to, d, p);
		if (d->op == JOURNAL_WRITE)
			p += d->len;
	}
	return rc;
}

/* The batches of one epoch, from its first to its COMMIT. */
static int replay_epoch(struct walk *w, const struct open_epoch *o, uint64_t session,
			struct replay *to)
{
	uint32_t left = o->batches;

	walk_from(w, o->first);
	while (left) {
		int rc = walk_look(w);

		if (rc < 0)
			return rc == -ENOENT ? -EBADMSG : rc;
		if (w->item.type == JOURNAL_BATCH && w->item.epoch == o->epoch &&
		    w->item.session == session) {
			rc = replay_batch(w, to);
			left--;
		}
		if (rc < 0)
			return rc;
		walk_on(w);
	}
	return 0;
}

/* How epochs are replayed on the way. */
struct replaying {
	struct walk *walk;
	struct replay to;
};

/* Walks to the end, or to the COMMIT with lsn `last`; replays on the way if r is given. *end: the lsn it ended at. */
static int walk_all(struct walk *w, struct replaying *r, struct story *s, uint64_t last,
		    uint64_t *end)
{
	struct journal *j = w->j;
	int rc = 0;

	story_begin(s, &j->sb);
	walk_from(w, tail_of(&j->sb));
	while (!rc && !(last && s->lsn == last)) {
		rc = walk_look(w);
		if (rc == -ENOENT || (!rc && !tell_item(s, w, &j->sb))) {
			*end = w->at.lsn;
			return 0;
		}
		if (!rc && r && s->commits) {
			rc = replay_epoch(r->walk, &s->ended, w->item.session, &r->to);
			j->replayed++;
		}
		walk_on(w);
	}
	*end = w->at.lsn;
	return rc;
}

static int replay_rest(struct replaying *r, const struct story *s)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < s->n_open; i++)
		rc = replay_epoch(r->walk, &s->open[i], s->session, &r->to);
	return rc;
}

/* ---- the whole ---- */

static int replay(struct journal *j, struct walk *w, struct walk *inner, struct story *s,
		  struct err *e)
{
	struct replaying r = {.walk = inner, .to = {.j = j}};
	uint64_t last = s->lsn;
	uint64_t end;
	int rc = 0;

	/* What was read may not have been durable yet; the superblock may not name what can still go away. */
	if (!JOURNAL_MUTANT(JM_REPLAY_UNSYNCED))
		rc = block_do(j->file, BLOCK_SYNC, 0, NULL, 0);
	if (rc < 0)
		return err_set(e, rc, "sync the journal");
	j->sb.applying_lsn = MAX(j->sb.applying_lsn, last);
	if (!JOURNAL_MUTANT(JM_REPLAY_UNSYNCED))
		rc = put_one(j->file, &j->sb, j->sb_block);
	if (rc < 0)
		return err_set(e, rc, "write a superblock of the journal");
	rc = walk_all(w, &r, s, last, &end);
	if (!rc && JOURNAL_MUTANT(JM_REPLAY_UNCOMMITTED)) {
		rc = walk_all(w, NULL, s, 0, &end);
		if (!rc)
			rc = replay_rest(&r, s);
	}
	if (!rc)
		rc = replay_flush(&r.to);
	if (!rc && !JOURNAL_MUTANT(JM_RECOVER_NO_SYNC))
		rc = block_do(j->disk, BLOCK_SYNC, 0, NULL, 0);
	return rc ? err_set(e, rc, "replay the journal onto the disk") : 0;
}

/* Reads back the ring. Leaves state, session and applied epoch in sb. */
static int read_ring(struct journal *j, struct err *e)
{
	autofree struct walk *w = mem_array(2, sizeof(*w));
	autofree struct story *s = mem_zalloc(sizeof(*s));
	uint64_t end = 0;
	int rc = -ENOMEM;

	if (!w || !s)
		return err_set(e, rc, "read the journal back");
	rc = walk_init(&w[0], j);
	if (!rc)
		rc = walk_init(&w[1], j);
	if (!rc)
		rc = walk_all(&w[0], NULL, s, 0, &end);
	if (rc < 0) {
		(void)err_set(e, rc, "read the journal back");
	} else if (end <= j->sb.applying_lsn && !JOURNAL_MUTANT(JM_NO_APPLYING)) {
		snprintf(j->why, sizeof(j->why),
			 "the journal is damaged: item %llu cannot be read, but the disk may hold "
			 "parts of what comes up to item %llu; copy the disk again",
			 (unsigned long long)end, (unsigned long long)j->sb.applying_lsn);
		j->sb.state = JOURNAL_FAILED;
	} else if (s->lsn || JOURNAL_MUTANT(JM_REPLAY_UNCOMMITTED)) {
		rc = replay(j, &w[0], &w[1], s, e);
		j->sb.session = s->lsn_session;
		j->sb.applied_epoch = s->committed;
	}
	walk_fini(&w[0]);
	walk_fini(&w[1]);
	return rc;
}

int recover(struct journal *j, struct err *e)
{
	int rc = 0;

	if (j->sb.state == JOURNAL_CONSISTENT || j->sb.state == JOURNAL_OUTDATED)
		rc = read_ring(j, e);
	else if (j->sb.state == JOURNAL_FAILED)
		snprintf(j->why, sizeof(j->why),
			 "an error of an earlier time; copy the disk again");
	if (rc < 0)
		return rc;
	if (j->sb.state == JOURNAL_CONSISTENT && !JOURNAL_MUTANT(JM_STAY_CONSISTENT))
		j->sb.state = JOURNAL_OUTDATED;
	if (!JOURNAL_MUTANT(JM_KEEP_INCARNATION))
		j->sb.incarnation = j->o.incarnation;
	j->sb.tail_off = 0;
	j->sb.tail_lsn = 1;
	j->sb.tail_prev = 0;
	j->sb.applying_lsn = 0;
	rc = recover_put_both(j->file, &j->sb, j->sb_block);
	if (rc < 0)
		return err_set(e, rc, "write a superblock of the journal");
	j->sb_durable_seq = j->sb.seq;
	return 0;
}
