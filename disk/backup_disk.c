/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See backup_disk.h. */
#include "disk/backup_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/disk_state.h"
#include "disk/drill_guard.h"
#include "disk/epoch_numbers.h"
#include "disk/hash_reader.h"
#include "disk/port_link.h"
#include "disk/unpack.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

enum session_step {
	SESSION_NONE,
	SESSION_OPENING, /* BEGIN was said; what is there makes way first */
	SESSION_OPEN,
	SESSION_ACTIVATING,
	SESSION_ACTIVE, /* the guest is served here */
};

/* A DISK_DATA that is being worked off; its frame is looked at again and again until it is through. */
struct unwinding {
	bool begun;
	uint32_t left; /* records */
	struct rd records;
	bool have; /* the one in front: */
	struct journal_rec rec;
	struct write_req write;
	bool sync;
};

struct backup_disk {
	struct disk *disk;
	struct port_link *link; /* NULL: no worker */
	struct hash_reader *reader;
	uint8_t *unpacked; /* WIRE_MAX_RECORD_DATA */

	enum session_step step;
	struct port_begin begin;
	bool direct;  /* the copy goes past the journal */
	bool too_big; /* the last one did not fit into it */
	bool copying; /* journal_copy_begin() was called */
	uint64_t first;
	uint32_t wants;	     /* DISK_WANT that were said unasked */
	uint32_t wants_due;  /* of so many */
	uint64_t activating; /* the epoch */
	uint64_t generation;
	struct unwinding unwinding;
	struct epoch_count *count; /* of the epoch that arrives */

	bool state_due;
	bool leave_due; /* STATE is due when it is done */
	unsigned int version;
	uint64_t durable_told;
	uint64_t applied_told;
	char error_due[DISK_WHY_SIZE];
};

static int failed(struct backup_disk *b, const char *why)
{
	log_err("%s", why);
	snprintf(b->error_due, sizeof(b->error_due), "%s", why);
	return 0;
}

static bool in_session(const struct backup_disk *b)
{
	return b->step == SESSION_OPEN || b->step == SESSION_ACTIVATING;
}

bool backup_disk_busy(const struct backup_disk *b)
{
	return b->step != SESSION_NONE || b->disk->leaving;
}

/* ---- a session begins --------------------------------------------------------- */

static int on_begin(struct backup_disk *b, const struct frame *f, struct err *e)
{
	int rc;

	if (b->disk->leaving)
		return -EAGAIN;
	rc = port_begin_decode(f, &b->begin, e);
	if (rc < 0)
		return rc;
	if (b->step != SESSION_NONE)
		return err_setx(e, -EPROTO, "disk port: BEGIN within a session");
	b->step = SESSION_OPENING;
	b->first = f->h.epoch;
	b->copying = false;
	b->error_due[0] = '\0';
	b->durable_told = b->applied_told = FRAME_NO_EPOCH;
	b->wants = 0;
	b->wants_due = b->begin.plan == WIRE_PLAN_DIRTY ? port_link_wants(b->disk) : 0;
	b->unwinding.begun = false;
	epoch_count_init(b->count);
	return 0;
}

/* What the source will have when it has forgotten its bitmap. */
static struct journal_gens adopted(const struct wire_generations *g, uint64_t mine_now)
{
	struct gen_tuple source = {.current = g->current,
				   .bitmap = g->bitmap,
				   .history = {g->history[0], g->history[1]}};
	struct gen_tuple mine = {.current = 0};

	gen_finish(&source, mine_now);
	gen_adopt(&mine, &source);
	return (struct journal_gens){.current = mine.current,
				     .bitmap = mine.bitmap,
				     .history = {mine.history[0], mine.history[1]}};
}

static enum journal_ack ack_of(unsigned int mode)
{
	if (mode == WIRE_ACK_EPOCH)
		return JOURNAL_ACK_EPOCH;
	return mode == WIRE_ACK_FLUSH ? JOURNAL_ACK_FLUSH : JOURNAL_ACK_MEMORY;
}

static void opened(struct backup_disk *b)
{
	struct disk *d = b->disk;
	struct journal_gens gens = adopted(&b->begin.peer, d->gens.current);

	journal_set_ack(d->journal, ack_of(b->link->role.ack_mode));
	journal_copy_adopt(d->journal, &gens);
	b->step = SESSION_OPEN;
	log_info("a session from epoch %llu on, plan %u, %s", (unsigned long long)b->first,
		 b->begin.plan, b->direct ? "copied directly" : "by the journal");
}

/* Does what is missing go past the journal? */
static bool goes_direct(const struct backup_disk *b)
{
	if (b->begin.plan == WIRE_PLAN_NOTHING)
		return false;
	return b->begin.plan != WIRE_PLAN_DIRTY || b->too_big || b->disk->state != JOURNAL_OUTDATED;
}

static void give_up_opening(struct backup_disk *b, int rc)
{
	char why[DISK_WHY_SIZE];
	const struct disk *d = b->disk;

	snprintf(why, sizeof(why), "disk \"%s\" cannot begin: it is %s here%s%.150s", d->conf.name,
		 journal_state_name(d->state), d->why[0] ? ", " : "", d->why);
	log_warn("begin: %s", strerrordesc_np(-rc));
	b->step = SESSION_NONE;
	(void)failed(b, why);
}

static void opening(struct backup_disk *b)
{
	struct disk *d = b->disk;
	int rc;

	if (!disk_settled(d))
		return;
	if (b->copying && d->state == JOURNAL_SYNCING) {
		opened(b);
		return;
	}
	if (d->state == JOURNAL_ACTIVE) {
		/* It served a guest that is gone: its own marks are in the map. */
		disk_serve(d, false);
		rc = journal_leave(d->journal);
		d->changing = !rc;
	} else if ((b->direct = goes_direct(b))) {
		rc = journal_copy_begin(d->journal, b->link->role.session, b->first);
		d->changing = b->copying = !rc;
	} else {
		rc = journal_begin(d->journal, b->link->role.session, b->first);
		if (!rc)
			opened(b);
	}
	if (rc < 0 && rc != -EAGAIN && rc != -EBUSY)
		give_up_opening(b, rc);
}

/* ---- its epochs ----------------------------------------------------------------- */

/* The next record into b->unwinding. */
static int unwind(struct backup_disk *b, struct err *e)
{
	static const enum journal_op op[] = {
		[WIRE_DISK_WRITE] = JOURNAL_WRITE,     [WIRE_DISK_ZERO] = JOURNAL_ZERO,
		[WIRE_DISK_DISCARD] = JOURNAL_DISCARD, [WIRE_DISK_FLUSH] = JOURNAL_FLUSH,
		[WIRE_DISK_SYNC] = JOURNAL_WRITE,
	};
	static const enum write_op as_written[] = {
		[WIRE_DISK_WRITE] = WRITE_DATA,	     [WIRE_DISK_ZERO] = WRITE_ZERO,
		[WIRE_DISK_DISCARD] = WRITE_DISCARD, [WIRE_DISK_FLUSH] = WRITE_FLUSH,
		[WIRE_DISK_SYNC] = WRITE_DATA,
	};
	struct unwinding *u = &b->unwinding;
	struct wire_disk_record r;
	int rc = wire_disk_record_decode(&u->records, b->disk->geo.disk_size, &r, e);

	if (rc < 0)
		return rc;
	if (r.flags & WIRE_RECORD_LZ4) {
		if (unpack(r.data, r.stored, b->unpacked, r.len) < 0)
			return err_setx(e, -EBADMSG, "DISK_DATA: a record does not unpack");
		r.data = b->unpacked;
	}
	u->rec = (struct journal_rec){.op = op[r.op], .off = r.off, .len = r.len, .data = r.data};
	u->write = (struct write_req){
		.op = as_written[r.op], .off = r.off, .len = r.len, .data = r.data};
	u->sync = r.op == WIRE_DISK_SYNC;
	u->have = true;
	return 0;
}

/* What the journal says to something of an epoch. */
static int judge(struct backup_disk *b, int rc, uint64_t epoch, struct err *e)
{
	if (!rc || rc == -EAGAIN)
		return rc;
	if (rc == -EFBIG) {
		b->too_big = true;
		return err_setx(e, rc,
				"epoch %llu is larger than the journal; the next session copies "
				"without it",
				(unsigned long long)epoch);
	}
	/* FAILED: its event says why. */
	if (rc == -EIO)
		return 0;
	return err_set(e, rc, "epoch %llu", (unsigned long long)epoch);
}

static int on_data(struct backup_disk *b, const struct frame *f, struct err *e)
{
	struct unwinding *u = &b->unwinding;
	uint16_t unused;
	int rc;

	if (b->step != SESSION_OPEN)
		return b->step == SESSION_OPENING ? -EAGAIN : 0;
	if (!u->begun) {
		rc = wire_disk_data_decode(f, &b->link->disks, &unused, &u->left, &u->records, e);
		if (rc < 0)
			return rc;
		u->begun = true;
		u->have = false;
	}
	while (u->left) {
		rc = u->have ? 0 : unwind(b, e);
		if (!rc)
			rc = judge(b, journal_append(b->disk->journal, f->h.epoch, &u->rec),
				   f->h.epoch, e);
		if (rc < 0)
			return rc;
		epoch_count_add(b->count, &u->write, u->sync);
		u->have = false;
		u->left--;
	}
	u->begun = false;
	return rd_done(&u->records) ? 0 : err_setx(e, -EBADMSG, "DISK_DATA: bytes left over");
}

static int say_held(struct backup_disk *b, uint64_t epoch, struct err *e)
{
	bool waits = journal_ack_waits(b->disk->journal, epoch);
	struct wr w;
	int rc = port_conn_begin(b->link->conn, 4, &w, e);

	if (rc < 0)
		return rc;
	port_held_encode(&w, waits ? PORT_HELD_WAITS : 0);
	return port_conn_end(b->link->conn, PORT_HELD, epoch, &w, e);
}

static int on_end(struct backup_disk *b, const struct frame *f, struct err *e)
{
	struct epoch_numbers n = epoch_count_get(b->count);
	struct journal_count unused;
	struct wire_disk_end m;
	int rc;

	if (b->step != SESSION_OPEN)
		return b->step == SESSION_OPENING ? -EAGAIN : 0;
	rc = wire_disk_end_decode(f, &b->link->disks, &m, e);
	if (rc < 0)
		return rc;
	if (m.records != n.records || m.bytes != n.bytes || m.digest != n.digest)
		return err_setx(e, -EBADMSG,
				"DISK_END(%llu): %llu records of %llu bytes, but %llu of %llu came",
				(unsigned long long)f->h.epoch, (unsigned long long)m.records,
				(unsigned long long)m.bytes, (unsigned long long)n.records,
				(unsigned long long)n.bytes);
	rc = judge(b, journal_end(b->disk->journal, f->h.epoch, &unused), f->h.epoch, e);
	if (rc < 0 || b->disk->state == JOURNAL_FAILED)
		return rc;
	if (f->h.epoch == b->first)
		rc = journal_copy_end(b->disk->journal, f->h.epoch);
	if (rc < 0)
		return rc == -EIO ? 0 : err_set(e, rc, "end of the copy");
	epoch_count_init(b->count);
	return b->link->mute ? 0 : say_held(b, f->h.epoch, e);
}

static int on_commit(struct backup_disk *b, const struct frame *f, struct err *e)
{
	struct disk *d = b->disk;
	int rc;

	if (b->step != SESSION_OPEN)
		return 0;
	rc = journal_commit(d->journal, f->h.epoch);
	if (rc == -EIO)
		return 0;
	if (rc < 0)
		return err_set(e, rc, "disk port: COMMIT(%llu)", (unsigned long long)f->h.epoch);
	if (f->h.epoch == b->first) {
		d->changing = true;
		d->adopts = true;
		b->too_big = false;
	}
	return 0;
}

static int on_hash(struct backup_disk *b, const struct frame *f, struct err *e)
{
	struct wire_disk_range m;
	const uint8_t *hashes;
	int rc;

	if (b->step != SESSION_OPEN)
		return b->step == SESSION_OPENING ? -EAGAIN : 0;
	rc = wire_disk_hash_decode(f, &b->link->disks, &m, &hashes, e);
	if (!rc)
		rc = hash_reader_ask(b->reader, &m, hashes);
	return rc < 0 ? err_wrap(e, rc, "DISK_HASH") : 0;
}

static int on_verify(struct backup_disk *b, const struct frame *f, struct err *e)
{
	struct wire_disk_verify m;
	int rc = wire_disk_verify_decode(f, &b->link->disks, &m, e);

	if (!rc && b->step == SESSION_OPEN)
		rc = hash_reader_verify(b->reader, &m, f->h.epoch);
	return rc < 0 ? err_wrap(e, rc, "DISK_VERIFY") : 0;
}

/* ---- activation --------------------------------------------------------------------- */

static int on_activate(struct backup_disk *b, const struct frame *f, struct err *e)
{
	int rc = port_activate_decode(f, &b->generation, e);

	if (rc < 0)
		return rc;
	if (b->step != SESSION_OPEN)
		return b->step == SESSION_OPENING
			       ? -EAGAIN
			       : failed(b, "there is no session to be activated from");
	drill_guard_end(b->disk->guard, "the VM is to run here");
	b->step = SESSION_ACTIVATING;
	b->activating = f->h.epoch;
	hash_reader_forget(b->reader);
	return 0;
}

static void activating(struct backup_disk *b)
{
	struct disk *d = b->disk;
	char why[DISK_WHY_SIZE];
	int rc;

	if (d->state == JOURNAL_FAILED)
		return; /* was said */
	if (!disk_settled(d) || d->pending_generation)
		return;
	rc = journal_activate(d->journal, b->activating, 0);
	if (rc == -EBUSY)
		return;
	if (!rc) {
		/* Made by the first write: this activation may come to nothing. */
		d->pending_generation = b->generation;
		d->changing = true;
		return;
	}
	b->step = SESSION_OPEN;
	snprintf(why, sizeof(why),
		 "disk \"%s\" cannot be activated at epoch %llu: %s, it is %s here", d->conf.name,
		 (unsigned long long)b->activating,
		 rc == -ESTALE ? "that is not the one committed last" : strerrordesc_np(-rc),
		 journal_state_name(d->state));
	(void)failed(b, why);
}

static int activated(struct backup_disk *b, struct err *e)
{
	int rc;

	if (b->step != SESSION_ACTIVATING || b->disk->state != JOURNAL_ACTIVE || b->disk->changing)
		return 0;
	rc = port_link_say(b->link, PORT_ACTIVE, b->activating, e);
	if (!rc) {
		b->step = SESSION_ACTIVE;
		log_info("serves the guest from epoch %llu on", (unsigned long long)b->activating);
	}
	return rc;
}

/* ---- leaving ------------------------------------------------------------------------ */

static void leave(struct backup_disk *b, bool by_word)
{
	/* The server that was asked to activate it may have died since: the word is for us all the same. */
	if (b->step == SESSION_NONE && !(by_word && b->disk->pending_generation))
		return;
	/* The worker of a guest that runs here may go; only its word says that the guest never ran. */
	if (b->step == SESSION_ACTIVE && !by_word) {
		b->step = SESSION_NONE;
		return;
	}
	b->step = SESSION_NONE;
	b->disk->leaving = true;
	b->unwinding.begun = false;
	hash_reader_forget(b->reader);
}

static void leave_active(struct backup_disk *b)
{
	struct disk *d = b->disk;

	b->disk->leaving = false;
	if (!d->pending_generation) {
		snprintf(d->why, sizeof(d->why), "the guest has written here: it stays ACTIVE");
		return;
	}
	disk_serve(d, false);
	d->pending_generation = 0;
	d->changing = journal_leave(d->journal) == 0;
}

static void leaving(struct backup_disk *b)
{
	struct disk *d = b->disk;

	if (!disk_settled(d))
		return;
	if (d->state == JOURNAL_ACTIVE) {
		leave_active(b);
		return;
	}
	b->disk->leaving = false;
	d->adopts = false;
	if (d->state == JOURNAL_CONSISTENT || d->state == JOURNAL_OUTDATED)
		d->changing = journal_leave(d->journal) == 0;
	else
		journal_drop(d->journal);
}

/* ---- all of it ------------------------------------------------------------------------ */

int backup_disk_take(struct backup_disk *b, const struct frame *f, struct err *e)
{
	/* Each answer finds room: nothing more is taken before the last ones are sent. */
	if (!b->link->mute && !port_conn_sent(b->link->conn))
		return -EAGAIN;
	switch (f->h.type) {
	case PORT_BEGIN:
		return on_begin(b, f, e);
	case PORT_COMMIT:
		return on_commit(b, f, e);
	case PORT_ACTIVATE:
		return on_activate(b, f, e);
	case PORT_LEAVE:
		leave(b, true);
		b->leave_due = true;
		return 0;
	case FRAME_DISK_DATA:
		return on_data(b, f, e);
	case FRAME_DISK_END:
		return on_end(b, f, e);
	case FRAME_DISK_HASH:
		return on_hash(b, f, e);
	case FRAME_DISK_VERIFY:
		return on_verify(b, f, e);
	default:
		return err_setx(e, -EPROTO, "disk port: %s to a backup's disk",
				port_name(f->h.type));
	}
}

static int say_wants(struct backup_disk *b, struct err *e)
{
	int rc = 0;

	while (!rc && b->wants < b->wants_due) {
		rc = port_link_want(b->link, b->disk, b->wants, e);
		b->wants += !rc;
	}
	return rc;
}

static int say_answer(struct backup_disk *b, const struct hash_answer *a, struct err *e)
{
	struct wr w;
	int rc = port_conn_begin(b->link->conn, 24 + (a->range.count + 7) / 8, &w, e);

	if (rc < 0)
		return rc;
	if (a->is_verify) {
		wire_disk_verified_encode(&w, &a->verified);
		return port_conn_end(b->link->conn, FRAME_DISK_VERIFIED, a->epoch, &w, e);
	}
	wire_disk_want_encode(&w, &a->range, a->bits);
	return port_conn_end(b->link->conn, FRAME_DISK_WANT, FRAME_NO_EPOCH, &w, e);
}

static int say_answers(struct backup_disk *b, struct err *e)
{
	struct hash_answer a;
	int rc = 0;

	while (!rc && hash_reader_next(b->reader, &a)) {
		rc = say_answer(b, &a, e);
		if (!rc)
			hash_reader_said(b->reader);
	}
	return rc;
}

static int say_progress(struct backup_disk *b, const struct journal_stats *st, struct err *e)
{
	const struct wire_disk_progress m = {
		.disk = b->link->role.index,
		.durable = st->durable_epoch,
		.applied = st->applied_epoch,
		.free_bytes = st->ring_size - st->ring_used,
	};
	struct wr w;
	int rc;

	if (st->durable_epoch == b->durable_told && st->applied_epoch == b->applied_told)
		return 0;
	rc = port_conn_begin(b->link->conn, 64, &w, e);
	if (rc < 0)
		return rc;
	wire_disk_progress_encode(&w, &m);
	b->durable_told = st->durable_epoch;
	b->applied_told = st->applied_epoch;
	return port_conn_end(b->link->conn, FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, &w, e);
}

static int say_state(struct backup_disk *b, struct err *e)
{
	struct disk *d = b->disk;
	int rc = 0;

	if (d->state == JOURNAL_FAILED && b->version != d->version && backup_disk_busy(b))
		(void)failed(b, d->why);
	if (b->error_due[0])
		rc = port_link_text(b->link, PORT_ERROR, b->error_due, e);
	if (rc)
		return rc;
	b->error_due[0] = '\0';
	if (b->leave_due && !b->disk->leaving && disk_settled(d)) {
		b->leave_due = false;
		b->state_due = true;
	}
	/* What is about to change is not said. */
	if ((!b->state_due && b->version == d->version) || d->leaving || !disk_settled(d))
		return 0;
	rc = port_link_state(b->link, d, e);
	if (!rc) {
		b->state_due = false;
		b->version = d->version;
	}
	return rc;
}

int backup_disk_go_on(struct backup_disk *b, struct err *e)
{
	struct journal_stats st;
	int rc = 0;

	if (b->disk->leaving)
		leaving(b);
	if (!b->link)
		return 0;
	if (b->step == SESSION_OPENING)
		opening(b);
	if (b->step == SESSION_ACTIVATING)
		activating(b);
	if (b->link->mute)
		return 0;
	journal_stats(b->disk->journal, &st);
	if (in_session(b)) {
		hash_reader_go_on(b->reader, st.applied_epoch);
		rc = say_wants(b, e);
		if (!rc)
			rc = say_answers(b, e);
		if (!rc)
			rc = say_progress(b, &st, e);
		if (!rc)
			rc = activated(b, e);
	}
	if (!rc)
		rc = say_state(b, e);
	return rc == -EAGAIN ? 0 : rc;
}

void backup_disk_arrived(struct backup_disk *b)
{
	if (b->step == SESSION_OPEN)
		journal_push(b->disk->journal);
}

void backup_disk_start(struct backup_disk *b, struct port_link *l)
{
	b->link = l;
	b->state_due = true;
	b->disk->starts_alone = false;
}

void backup_disk_end(struct backup_disk *b)
{
	if (!b->link)
		return;
	leave(b, false);
	b->link = NULL;
	b->leave_due = false;
	b->error_due[0] = '\0';
}

int backup_disk_new(struct backup_disk **out, struct disk *d)
{
	struct backup_disk *b = mem_zalloc(sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->disk = d;
	b->unpacked = mem_alloc(WIRE_MAX_RECORD_DATA);
	b->count = mem_aligned(alignof(struct epoch_count), sizeof(*b->count));
	if (!b->unpacked || !b->count || hash_reader_new(&b->reader, d) < 0) {
		backup_disk_free(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

void backup_disk_free(struct backup_disk *b)
{
	if (!b)
		return;
	hash_reader_free(b->reader);
	mem_free(b->unpacked);
	mem_free(b->count);
	mem_free(b);
}
