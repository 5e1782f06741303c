/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_shell.h. */
#include "replicator/disk_shell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "disk/disk_barrier.h"
#include "disk/epoch_word.h"
#include "disk/generation.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- the primary ----------------------------------------------------------- */

struct disk_shell {
	struct epoch_word word;
	struct disk_barrier barrier;
	int word_fd;
};

int disk_shell_new(struct disk_shell **out, struct err *e)
{
	struct disk_shell *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return err_set(e, -ENOMEM, "epoch word");
	rc = epoch_word_create(&s->word, &s->word_fd, e);
	if (rc < 0) {
		mem_free(s);
		return rc;
	}
	disk_barrier_init(&s->barrier, &s->word);
	*out = s;
	return 0;
}

void disk_shell_free(struct disk_shell *s)
{
	if (!s)
		return;
	epoch_word_fini(&s->word);
	close(s->word_fd);
	mem_free(s);
}

struct ckpt_device *disk_shell_device(struct disk_shell *s)
{
	return disk_barrier_device(&s->barrier);
}

int disk_shell_word_fd(const struct disk_shell *s)
{
	return s->word_fd;
}

void disk_shell_begin(struct disk_shell *s)
{
	if (disk_barrier_begin(&s->barrier, 0) < 0)
		die("a session of disks begins in the middle of a checkpoint");
}

/* ---- the backup ------------------------------------------------------------ */

static struct gen_tuple tuple(const struct wire_generations *g)
{
	return (struct gen_tuple){.current = g->current,
				  .bitmap = g->bitmap,
				  .history = {g->history[0], g->history[1]}};
}

static uint8_t state_on_wire(uint8_t state)
{
	switch ((enum gen_state)state) {
	case GEN_EMPTY:
		return WIRE_DISK_EMPTY;
	case GEN_SYNCING:
		return WIRE_DISK_SYNCING;
	case GEN_CONSISTENT:
		return WIRE_DISK_CONSISTENT;
	case GEN_ACTIVE: /* of a life that is over: an old state of the guest */
	case GEN_OUTDATED:
	case GEN_FAILED:
		break;
	}
	return WIRE_DISK_OUTDATED;
}

/* Nothing is chosen for the operator; what there is to choose from is said. */
static int two_histories(const struct gen_plan *p, const char *vm, const char *disk, struct err *e)
{
	return err_setx(
		e, -EOPNOTSUPP,
		"%s. One copy has to be given up: for that of the backup, type there `romulus "
		"surrender %s --disk %s`; for that of the primary, see romulus-protect(8), TWO "
		"HISTORIES",
		p->text, vm, disk);
}

/* It is the primary's operator who reads it, and he has to go to the other host. */
static int has_failed(const struct port_state *mine, const char *name, struct err *e)
{
	return err_setx(
		e, -EOPNOTSUPP,
		"it has failed at the backup%s%.120s. When the cause is mended, end its romulus-disk there, "
		"type `romulus-disk --format=target --force %s`, and restart romulusd; it is copied "
		"as a whole",
		mine->why[0] ? ": " : "", mine->why, name);
}

static int plan_on_wire(const struct gen_plan *p, bool by_hash, uint8_t *plan, struct err *e)
{
	switch (p->how) {
	case GEN_NOTHING:
		*plan = by_hash ? WIRE_PLAN_HASH : WIRE_PLAN_NOTHING;
		break;
	case GEN_BITMAP:
		*plan = by_hash ? WIRE_PLAN_HASH : WIRE_PLAN_DIRTY;
		break;
	case GEN_HASH:
		*plan = WIRE_PLAN_HASH;
		break;
	case GEN_FULL:
		*plan = WIRE_PLAN_FULL;
		break;
	case GEN_DIVERGED: /* the caller has said that */
	case GEN_REFUSED:
		return err_setx(e, -EOPNOTSUPP, "%s", p->text);
	}
	/* The guest runs at the primary: from there, or not at all. */
	if (p->direction == GEN_TO_PEER)
		return err_setx(e, -EOPNOTSUPP, "the backup's copy is the newer one (%s)", p->text);
	return 0;
}

int disk_shell_plan(const char *vm, const struct port_state *mine, const struct wire_disk *theirs,
		    struct wire_disk_ok *ok, struct err *e)
{
	const bool by_hash = theirs->flags & WIRE_DISK_BY_HASH;
	const struct gen_side me = {
		.gen = tuple(&mine->gen),
		.state = (enum gen_state)mine->state,
		.runs_guest = mine->flags & PORT_IN_USE,
		.dirt = mine->flags & PORT_DIRT,
		.dirt_known = mine->flags & PORT_DIRT_KNOWN,
	};
	/* How much is marked there is not said: its copier knows. */
	const struct gen_side peer = {
		.gen = tuple(&theirs->gen),
		.state = GEN_ACTIVE,
		.runs_guest = true,
		.dirt = true,
		.dirt_known = !by_hash,
	};
	struct gen_plan plan;
	int rc;

	if (me.state == GEN_FAILED)
		return has_failed(mine, theirs->name, e);
	gen_plan(&me, &peer, &plan);
	*ok = (struct wire_disk_ok){
		.state = state_on_wire(mine->state),
		.gen = mine->gen,
		.dirty_bytes = mine->dirty_bytes,
	};
	if (plan.how == GEN_DIVERGED)
		return two_histories(&plan, vm, theirs->name, e);
	rc = plan_on_wire(&plan, by_hash, &ok->plan, e);
	if (rc == 0 && ok->plan == WIRE_PLAN_DIRTY)
		ok->wants = mine->wants;
	return rc;
}
