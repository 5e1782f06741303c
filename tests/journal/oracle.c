/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See run.h. What may be on the disk after a loss of power. */
#include "tests/journal/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"

void content_fill(uint64_t tag, uint64_t sector, uint8_t *to)
{
	uint64_t w[SECTOR / 8];

	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++)
		w[i] = tag ? (tag * 0x9e3779b97f4a7c15u) ^ (sector << 32) ^ i : 0;
	memcpy(to, w, sizeof(w));
}

int content_differs(const struct content *c, const uint8_t *disk)
{
	uint8_t want[SECTOR];

	for (unsigned int i = 0; i < SECTORS; i++) {
		if (c->tag[i] == ANYTHING)
			continue;
		content_fill(c->tag[i], i, want);
		if (memcmp(want, disk + (size_t)i * SECTOR, SECTOR) != 0)
			return (int)i;
	}
	return -1;
}

void oracle_init(struct oracle *o)
{
	*o = (struct oracle){.told = JOURNAL_EMPTY, .asked = JOURNAL_EMPTY};
}

void oracle_note(struct oracle *o, const struct rec_entry *e)
{
	if (e->kind != REC_NOTE)
		return;
	switch ((enum note)e->what) {
	case NOTE_COMMIT:
		o->max = e->value;
		break;
	case NOTE_SAFE:
		o->min = e->value;
		break;
	case NOTE_ASKED:
		o->asked = (enum journal_state)e->value;
		break;
	case NOTE_TOLD:
		o->told = o->asked = (enum journal_state)e->value;
		break;
	case NOTE_GUEST:
		o->guest = e->value;
		break;
	case NOTE_GEN:
		o->gen = e->value;
		break;
	}
}

void found_open(struct found *f, const struct life *l, struct block_rec *file,
		struct block_rec *disk, uint64_t inc_seed)
{
	struct err e = ERR_INIT;
	struct journal_opts o;
	struct journal *j = NULL;
	struct journal_stats st;
	struct journal_sb sb;

	*f = (struct found){.rc = 0};
	life_opts(l, &o, &inc_seed);
	f->rc = journal_open(&file->base, &disk->base, &o, &j, &e);
	if (f->rc < 0) {
		memcpy(f->why, e.text, sizeof(f->why));
		return;
	}
	journal_stats(j, &st);
	journal_free(j);
	f->state = st.state;
	f->gens = st.gens;
	memcpy(f->why, st.why, sizeof(st.why));
	f->rc = journal_peek(&file->base, &sb, &e);
	f->session = sb.session;
	f->epoch = sb.applied_epoch;
}

/* What is found of a journal that was this when the power was lost. */
static enum journal_state after(enum journal_state s)
{
	return s == JOURNAL_CONSISTENT ? JOURNAL_OUTDATED : s;
}

/* The newest snapshot of the epoch that was there yet; 0: none. */
static uint64_t snap_of(const struct life *l, const struct found *f, uint64_t max)
{
	for (uint64_t k = max; k; k--) {
		if (l->snaps[k].session == f->session && l->snaps[k].epoch == f->epoch)
			return k;
	}
	return 0;
}

static const char *judge_content(const struct oracle *o, const struct life *l,
				 const struct found *f, const uint8_t *disk, enum flip flip)
{
	static char text[128];
	uint64_t k = snap_of(l, f, o->max);
	int sector;

	if (o->guest && f->state == JOURNAL_ACTIVE)
		return NULL;
	if (!k)
		return "an epoch that was not committed";
	if (k < o->min && flip != FLIP_RING)
		return "an epoch that was durable is lost";
	if (k < o->min && f->state == JOURNAL_ACTIVE)
		return "what the guest runs on is lost";
	/* The guest's own writes follow the epoch that it was activated with. */
	sector = content_differs(&l->snaps[f->state == JOURNAL_ACTIVE ? o->max : k].c, disk);
	if (sector < 0)
		return NULL;
	snprintf(text, sizeof(text), "sector %d is not of epoch %llu", sector,
		 (unsigned long long)f->epoch);
	return text;
}

const char *oracle_judge(const struct oracle *o, const struct life *l, const struct found *f,
			 const uint8_t *disk, enum flip flip)
{
	if (f->rc < 0)
		return flip == FLIP_SUPERBLOCK && f->rc == -EBADMSG ? NULL : "refused";
	if (f->state == JOURNAL_FAILED)
		return flip == FLIP_RING && *f->why ? NULL : "FAILED";
	if (f->state != after(o->told) && f->state != after(o->asked))
		return "a state that nobody was told of";
	if (f->state == JOURNAL_ACTIVE ? f->gens.current != o->gen
				       : o->asked == JOURNAL_ACTIVE && o->told != o->asked &&
						 f->gens.current == o->gen)
		return "the generation is not the state's";
	if (f->state == JOURNAL_SYNCING || f->state == JOURNAL_EMPTY)
		return NULL;
	return judge_content(o, l, f, disk, flip);
}
