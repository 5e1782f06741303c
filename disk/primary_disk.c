/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See primary_disk.h. */
#include "disk/primary_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/copier.h"
#include "disk/copy_reader.h"
#include "disk/dirty_map.h"
#include "disk/disk_state.h"
#include "disk/epoch_log.h"
#include "disk/epoch_word.h"
#include "disk/port_link.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

#define RECORDS 256
#define DATA_BYTES (UINT64_C(512) << 10)
/* Copying is late when the log is so full at the end of an epoch. */
#define LATE_FILL 25
#define FILL_STEP 10
/* Between two STATE that say nothing but how much may differ, or two COMPARED of a pass that goes on. */
#define STATE_PERIOD_NS (500 * NS_PER_MS)

struct primary_disk {
	struct disk *disk;
	struct port_link *link; /* NULL: no worker */
	struct copy_reader *reader;
	struct epoch_word word;

	bool in_session;
	uint64_t first;
	uint64_t sending; /* records up to this epoch may go: the last DISK_END's and one more */
	uint64_t asked;	  /* ASK_END to be answered, or FRAME_NO_EPOCH */
	uint64_t ended;	  /* newest DISK_END, or FRAME_NO_EPOCH */
	uint64_t durable; /* what the peer says, or FRAME_NO_EPOCH */
	bool finishing;	  /* gen_finish() was wished for */
	bool synced;	  /* SYNCED was said */
	bool state_due;
	unsigned int version; /* of the disk, as the worker has it */
	uint64_t dirty_told;
	uint64_t state_ns; /* when it was told */
	unsigned int fill;
	char drop_due[DISK_WHY_SIZE];  /* DROPPED is to be said */
	char error_due[DISK_WHY_SIZE]; /* ERROR is, unless it was */
	bool error_told;
	struct port_compared compared; /* pass 0: the worker asked for none */
	bool compared_due;
	uint64_t compared_ns; /* when it was told */
	struct epoch_rec recs[RECORDS];
};

/* ---- leaving ---- */

/* What was asked has an end, whatever comes. */
static void break_off(struct primary_disk *p)
{
	if (p->compared.pass && p->compared.state == PORT_COMPARING) {
		p->compared.state = PORT_COMPARED_NOT;
		p->compared_due = true;
	}
}

static void leave(struct primary_disk *p)
{
	if (p->in_session)
		log_info("out of the stream at epoch %llu; %llu bytes may differ at the peer",
			 (unsigned long long)p->sending,
			 (unsigned long long)epoch_log_behind(p->disk->log));
	break_off(p);
	p->in_session = false;
	p->asked = FRAME_NO_EPOCH;
	p->disk->failed = 0;
	p->error_due[0] = '\0';
	p->error_told = false;
	disk_leave_stream(p->disk);
}

/* Out of the stream without the worker's word. What was held back stays so until it says LEAVE. */
static void drop(struct primary_disk *p, const char *why)
{
	log_err("%s; the stream is left, the guest goes on", why);
	tracker_leave(&p->disk->tracker);
	break_off(p);
	p->in_session = false;
	p->asked = FRAME_NO_EPOCH;
	snprintf(p->drop_due, sizeof(p->drop_due), "%s", why);
}

/* ---- what the worker says ---- */

static int on_begin(struct primary_disk *p, const struct frame *f, struct err *e)
{
	struct disk *d = p->disk;
	struct port_begin m;
	int rc = port_begin_decode(f, &m, e);

	if (rc < 0)
		return rc;
	if (p->in_session || !p->word.page)
		return err_setx(e, -EPROTO, "disk port: BEGIN %s",
				p->in_session ? "within a session" : "without an epoch word");
	if (d->leaving || !disk_settled(d))
		return -EAGAIN;
	d->dropped = false;
	d->failed = 0;
	if (d->state != JOURNAL_ACTIVE) {
		drop(p, d->why[0] ? d->why : "the disk is not ACTIVE on this host");
		return 0;
	}
	if (epoch_word_load(&p->word) != f->h.epoch)
		return err_setx(e, -EPROTO, "disk port: BEGIN(%llu), but the word says %llu",
				(unsigned long long)f->h.epoch,
				(unsigned long long)epoch_word_load(&p->word));
	/* Before the copy begins: it may break off. */
	if (m.plan == WIRE_PLAN_FULL || m.plan == WIRE_PLAN_HASH)
		dirty_map_set_all(d->map);
	copy_reader_begin(p->reader);
	rc = tracker_begin(&d->tracker, &p->word);
	if (!rc)
		rc = copier_start(d->copier, m.plan == WIRE_PLAN_HASH, clock_now());
	if (rc < 0)
		return err_set(e, rc, "begin a stream");
	p->in_session = true;
	d->target_generation = m.peer.current;
	p->first = p->sending = f->h.epoch;
	p->asked = p->ended = p->durable = FRAME_NO_EPOCH;
	p->finishing = p->synced = false;
	p->fill = 0;
	log_info("in the stream from epoch %llu on; %llu bytes to copy%s",
		 (unsigned long long)p->first, (unsigned long long)dirty_map_bytes(d->map),
		 m.plan == WIRE_PLAN_HASH ? ", compared first" : "");
	return 0;
}

static int on_want(struct primary_disk *p, const struct frame *f, struct err *e)
{
	struct disk *d = p->disk;
	struct wire_disk_range m;
	const uint8_t *bits;
	int rc = wire_disk_want_decode(f, &p->link->disks, &m, &bits, e);

	for (uint32_t i = 0; !rc && i < m.count; i++) {
		uint64_t off = m.off + (uint64_t)i * m.chunk;
		uint32_t len = (uint32_t)MIN((uint64_t)m.chunk, d->geo.disk_size - off);
		bool wanted = bits[i / 8] >> i % 8 & 1;

		if (p->in_session)
			rc = copier_answer(d->copier, COPIER_HASH, off, len,
					   wanted ? COPIER_DIFFERENT : COPIER_EQUAL);
		else if (wanted)
			disk_mark(d, off, len);
	}
	/* After the stream was left by itself answers may still be on their way. */
	if (rc == -ENOENT)
		rc = epoch_log_streaming(d->log)
			     ? err_setx(e, -EPROTO, "disk port: DISK_WANT that answers nothing")
			     : 0;
	return rc;
}

static int on_verified(struct primary_disk *p, const struct frame *f, struct err *e)
{
	static const enum copier_verdict verdicts[] = {
		[WIRE_VERIFY_EQUAL] = COPIER_EQUAL,
		[WIRE_VERIFY_DIFFERENT] = COPIER_DIFFERENT,
		[WIRE_VERIFY_UNREADABLE] = COPIER_UNREAD,
	};
	struct wire_disk_verified m;
	int rc = wire_disk_verified_decode(f, &p->link->disks, &m, e);

	if (rc < 0 || !p->in_session)
		return rc;
	rc = copier_answer(p->disk->copier, COPIER_VERIFY, m.off, m.len, verdicts[m.result]);
	return rc == -ENOENT ? err_setx(e, -EPROTO, "disk port: DISK_VERIFIED that answers nothing")
			     : rc;
}

static int on_ask_end(struct primary_disk *p, const struct frame *f, struct err *e)
{
	if (!p->in_session)
		return 0; /* it crossed a DROPPED */
	if (f->h.epoch != p->sending || p->asked != FRAME_NO_EPOCH)
		return err_setx(e, -EPROTO, "disk port: ASK_END(%llu), it is the turn of %llu",
				(unsigned long long)f->h.epoch, (unsigned long long)p->sending);
	p->asked = f->h.epoch;
	return 0;
}

static int on_progress(struct primary_disk *p, const struct frame *f, struct err *e)
{
	struct wire_disk_progress m;
	int rc = wire_disk_progress_decode(f, &p->link->disks, &m, e);

	if (rc < 0 || !p->in_session || m.durable == FRAME_NO_EPOCH)
		return rc;
	if (p->ended == FRAME_NO_EPOCH || m.durable > p->ended)
		return err_setx(e, -EPROTO, "disk port: DISK_PROGRESS of an epoch without end");
	if (p->durable != FRAME_NO_EPOCH && m.durable <= p->durable)
		return 0;
	p->durable = m.durable;
	rc = tracker_settle(&p->disk->tracker, m.durable);
	return rc < 0 ? err_set(e, rc, "settle epoch %llu", (unsigned long long)m.durable) : 0;
}

/* One that is under way already, by the control socket, is as good: its figures are told. */
static int on_verify(struct primary_disk *p, const struct frame *f, struct err *e)
{
	uint64_t pass;
	int rc = port_verify_decode(f, &pass, e);

	if (rc < 0)
		return rc;
	rc = primary_disk_verify(p);
	p->compared = (struct port_compared){
		.pass = pass,
		.state = rc < 0 && rc != -EBUSY ? PORT_COMPARED_NOT : PORT_COMPARING,
	};
	p->compared_due = true;
	return 0;
}

static void on_deposed(struct primary_disk *p)
{
	leave(p);
	disk_want(p->disk, DISK_WISH_OUTDATED);
	p->state_due = true;
}

int primary_disk_take(struct primary_disk *p, const struct frame *f, struct err *e)
{
	switch (f->h.type) {
	case PORT_BEGIN:
		return on_begin(p, f, e);
	case PORT_ASK_END:
		return on_ask_end(p, f, e);
	case PORT_ACKED: /* what counts is DISK_PROGRESS */
		return 0;
	case PORT_LEAVE:
		leave(p);
		p->state_due = true;
		return 0;
	case PORT_ALONE:
		if (p->in_session)
			return err_setx(e, -EPROTO, "disk port: ALONE within a session");
		disk_want(p->disk, DISK_WISH_ALONE);
		p->state_due = true;
		return 0;
	case PORT_DEPOSED:
		on_deposed(p);
		return 0;
	case PORT_VERIFY:
		return on_verify(p, f, e);
	case FRAME_DISK_WANT:
		return on_want(p, f, e);
	case FRAME_DISK_VERIFIED:
		return on_verified(p, f, e);
	case FRAME_DISK_PROGRESS:
		return on_progress(p, f, e);
	default:
		return err_setx(e, -EPROTO, "disk port: %s to a primary's disk",
				port_name(f->h.type));
	}
}

/* ---- what it is told ---- */

static void notice(struct primary_disk *p)
{
	struct disk *d = p->disk;

	if (d->dropped) {
		d->dropped = false;
		if (p->in_session)
			drop(p, d->drop_why);
	}
	if (!p->in_session)
		return;
	if (d->failed && !p->error_due[0]) {
		snprintf(p->error_due, sizeof(p->error_due), "disk \"%s\": %s", d->conf.name,
			 strerrordesc_np(-d->failed));
		log_err("%s; the guest is not told yet", p->error_due);
	}
	if (d->state != JOURNAL_ACTIVE)
		drop(p, d->why);
	else if (copier_failed(d->copier))
		drop(p, "the disk cannot be read for its copy");
}

static size_t payload_size(const struct epoch_rec *recs, size_t n)
{
	size_t size = 8;

	for (size_t i = 0; i < n; i++)
		size += 24 + (recs[i].w.op == WRITE_DATA ? recs[i].w.len : 0);
	return size;
}

static struct wire_disk_record record_of(const struct epoch_rec *r)
{
	static const uint8_t op[] = {
		[WRITE_DATA] = WIRE_DISK_WRITE,
		[WRITE_ZERO] = WIRE_DISK_ZERO,
		[WRITE_DISCARD] = WIRE_DISK_DISCARD,
		[WRITE_FLUSH] = WIRE_DISK_FLUSH,
	};

	return (struct wire_disk_record){
		.op = r->sync ? WIRE_DISK_SYNC : op[r->w.op],
		.len = r->w.len,
		.off = r->w.off,
		.data = r->w.data,
		.stored = r->w.op == WRITE_DATA ? r->w.len : 0,
	};
}

/* 0: all that may go has gone. */
static int send_records(struct primary_disk *p, struct err *e)
{
	struct epoch_log *log = p->disk->log;
	size_t n;

	while ((n = epoch_log_next(log, p->sending, p->recs, RECORDS, DATA_BYTES)) > 0) {
		struct wr w;
		int rc = port_conn_begin(p->link->conn, payload_size(p->recs, n), &w, e);

		if (rc < 0)
			return rc;
		wire_disk_data_begin(&w, p->link->role.index);
		for (size_t i = 0; i < n; i++) {
			const struct wire_disk_record r = record_of(&p->recs[i]);

			wire_disk_record_encode(&w, &r);
		}
		wire_disk_data_end(&w, (uint32_t)n);
		rc = port_conn_end(p->link->conn, FRAME_DISK_DATA, p->sending, &w, e);
		if (rc < 0)
			return rc;
		epoch_log_taken(log, n);
		copy_reader_taken(p->reader, n);
	}
	return 0;
}

static int send_word(struct primary_disk *p, const struct copy_word *c, struct err *e)
{
	const struct wire_disk_range range = {
		.disk = p->link->role.index, .chunk = DISK_CHUNK, .off = c->off, .count = 1};
	struct wire_disk_verify v = {.disk = p->link->role.index, .len = c->len, .off = c->off};
	struct wr w;
	int rc = port_conn_begin(p->link->conn, 64, &w, e);

	if (rc < 0)
		return rc;
	if (c->kind == COPIER_HASH) {
		wire_disk_hash_encode(&w, &range, c->digest);
		return port_conn_end(p->link->conn, FRAME_DISK_HASH, FRAME_NO_EPOCH, &w, e);
	}
	memcpy(v.hash, c->digest, sizeof(v.hash));
	wire_disk_verify_encode(&w, &v);
	return port_conn_end(p->link->conn, FRAME_DISK_VERIFY, p->sending, &w, e);
}

static int send_words(struct primary_disk *p, struct err *e)
{
	struct copy_word c;

	while (copy_reader_next(p->reader, &c)) {
		int rc = send_word(p, &c, e);

		if (rc < 0)
			return rc;
		copy_reader_said(p->reader);
	}
	return 0;
}

/* May the first epoch end? All must be there, and this side's generations be what the peer takes over. */
static bool finished(struct primary_disk *p)
{
	struct disk *d = p->disk;

	if (p->sending != p->first)
		return true;
	if (!copier_whole(d->copier, p->first))
		return false;
	if (!p->finishing)
		disk_want(d, DISK_WISH_FINISH);
	p->finishing = true;
	return !disk_wants(d, DISK_WISH_FINISH);
}

static int send_end(struct primary_disk *p, struct err *e)
{
	struct wire_disk_end m = {.disk = p->link->role.index};
	struct epoch_numbers n;
	struct wr w;
	int rc;

	if (p->asked == FRAME_NO_EPOCH || !finished(p))
		return 0;
	rc = epoch_log_end(p->disk->log, p->asked, &n);
	if (rc == -EAGAIN)
		return 0;
	if (rc == -EINVAL)
		return err_setx(e, -EPROTO, "disk port: ASK_END(%llu) of an epoch that runs",
				(unsigned long long)p->asked);
	if (rc < 0)
		return 0; /* it has left the stream: DROPPED is said */
	rc = port_conn_begin(p->link->conn, 32, &w, e);
	if (rc < 0)
		return rc;
	m.records = n.records;
	m.bytes = n.bytes;
	m.digest = n.digest;
	wire_disk_end_encode(&w, &m);
	rc = port_conn_end(p->link->conn, FRAME_DISK_END, p->asked, &w, e);
	p->ended = p->asked;
	p->sending = p->asked + 1;
	p->asked = FRAME_NO_EPOCH;
	copier_pace(p->disk->copier, epoch_log_fill(p->disk->log) >= LATE_FILL);
	return rc;
}

static int send_synced(struct primary_disk *p, struct err *e)
{
	int rc;

	if (p->synced || !copier_whole(p->disk->copier, p->sending))
		return 0;
	rc = port_link_say(p->link, PORT_SYNCED, p->sending, e);
	p->synced = !rc;
	return rc;
}

static int send_fill(struct primary_disk *p, struct err *e)
{
	unsigned int fill = MIN(epoch_log_fill(p->disk->log), 100u);
	unsigned int step = fill / FILL_STEP;
	struct wr w;
	int rc;

	if (step == p->fill)
		return 0;
	rc = port_conn_begin(p->link->conn, 4, &w, e);
	if (rc < 0)
		return rc;
	port_fill_encode(&w, fill);
	p->fill = step;
	return port_conn_end(p->link->conn, PORT_FILL, FRAME_NO_EPOCH, &w, e);
}

static int send_texts(struct primary_disk *p, struct err *e)
{
	int rc = 0;

	if (p->drop_due[0]) {
		rc = port_link_text(p->link, PORT_DROPPED, p->drop_due, e);
		if (!rc)
			p->drop_due[0] = '\0';
	}
	if (!rc && p->error_due[0] && !p->error_told) {
		rc = port_link_text(p->link, PORT_ERROR, p->error_due, e);
		p->error_told = !rc;
	}
	return rc;
}

static int send_state(struct primary_disk *p, uint64_t now, struct err *e)
{
	struct disk *d = p->disk;
	uint64_t dirty = epoch_log_behind(d->log);
	int rc;

	if (dirty != p->dirty_told && now >= clock_add(p->state_ns, STATE_PERIOD_NS))
		p->state_due = true;
	if ((!p->state_due && p->version == d->version) || d->leaving || !disk_settled(d))
		return 0;
	rc = port_link_state(p->link, d, e);
	if (!rc) {
		p->state_due = false;
		p->version = d->version;
		p->dirty_told = dirty;
		p->state_ns = now;
	}
	return rc;
}

static void look_at_verify(struct primary_disk *p, uint64_t now)
{
	struct port_compared *m = &p->compared;
	struct copier_progress c;

	if (!m->pass || m->state != PORT_COMPARING)
		return;
	copier_get_progress(p->disk->copier, now, &c);
	if (!c.verifying)
		m->state = PORT_COMPARED_ALL;
	if (!c.verifying || ((c.verified != m->verified || c.busy != m->busy) &&
			     now >= clock_add(p->compared_ns, STATE_PERIOD_NS)))
		p->compared_due = true;
	m->verified = c.verified;
	m->differed = c.differed;
	m->busy = c.busy;
}

static int send_compared(struct primary_disk *p, uint64_t now, struct err *e)
{
	struct wr w;
	int rc;

	look_at_verify(p, now);
	if (!p->compared_due)
		return 0;
	rc = port_conn_begin(p->link->conn, 40, &w, e);
	if (rc < 0)
		return rc;
	port_compared_encode(&w, &p->compared);
	p->compared_due = false;
	p->compared_ns = now;
	return port_conn_end(p->link->conn, PORT_COMPARED, FRAME_NO_EPOCH, &w, e);
}

static int stream(struct primary_disk *p, struct err *e)
{
	int rc = send_records(p, e);

	if (!rc)
		rc = send_words(p, e);
	if (!rc)
		rc = send_end(p, e);
	/* What waited for that end. */
	if (!rc)
		rc = send_records(p, e);
	if (!rc)
		rc = send_synced(p, e);
	return rc ? rc : send_fill(p, e);
}

int primary_disk_go_on(struct primary_disk *p, uint64_t now, struct err *e)
{
	int rc;

	copy_reader_go_on(p->reader, now);
	if (!p->link)
		return 0;
	notice(p);
	if (p->link->mute)
		return 0;
	rc = send_texts(p, e);
	if (!rc && p->in_session)
		rc = stream(p, e);
	if (!rc)
		rc = send_compared(p, now, e);
	if (!rc)
		rc = send_state(p, now, e);
	return rc == -EAGAIN ? 0 : rc;
}

uint64_t primary_disk_deadline(const struct primary_disk *p)
{
	uint64_t at = copier_deadline(p->disk->copier);

	if (p->link && epoch_log_behind(p->disk->log) != p->dirty_told)
		at = MIN(at, clock_add(p->state_ns, STATE_PERIOD_NS));
	return at;
}

/* ---- a worker comes and goes ---- */

int primary_disk_start(struct primary_disk *p, struct port_link *l, int fd, struct err *e)
{
	int rc = 0;

	if (fd >= 0) {
		epoch_word_fini(&p->word);
		rc = epoch_word_map(&p->word, fd, e);
	}
	if (rc < 0)
		return rc;
	p->link = l;
	p->state_due = true;
	/* From now on it is the worker's to say who goes alone. */
	p->disk->starts_alone = false;
	/* The guest runs here for certain: a session shall not meet a generation that is yet to be made. */
	if (p->disk->pending_generation)
		disk_want(p->disk, DISK_WISH_ACTIVATE);
	return 0;
}

void primary_disk_end(struct primary_disk *p)
{
	if (!p->link)
		return;
	leave(p);
	p->link = NULL;
	p->drop_due[0] = '\0';
	p->compared.pass = 0;
	p->compared_due = false;
	epoch_word_fini(&p->word);
}

int primary_disk_new(struct primary_disk **out, struct disk *d)
{
	struct primary_disk *p = mem_zalloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->disk = d;
	p->word = EPOCH_WORD_INIT;
	p->asked = FRAME_NO_EPOCH;
	if (copy_reader_new(&p->reader, d) < 0) {
		mem_free(p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

void primary_disk_close(struct primary_disk *p)
{
	copy_reader_close(p->reader);
}

void primary_disk_free(struct primary_disk *p)
{
	if (!p)
		return;
	copy_reader_free(p->reader);
	epoch_word_fini(&p->word);
	mem_free(p);
}

int primary_disk_verify(struct primary_disk *p)
{
	return p->in_session && p->ended != FRAME_NO_EPOCH ? copier_verify(p->disk->copier)
							   : -ENOTCONN;
}

void primary_disk_stats(const struct primary_disk *p, struct primary_disk_stats *st)
{
	struct copier_progress c;

	copier_get_progress(p->disk->copier, clock_now(), &c);
	*st = (struct primary_disk_stats){
		.streaming = p->in_session,
		.epoch = p->sending,
		.copied = c.copied,
		.equal = c.equal,
		.total = c.total,
		.left = c.left,
		.verifying = c.verifying,
		.verified = c.verified,
		.differed = c.differed,
		.busy = c.busy,
		.fill = epoch_log_fill(p->disk->log),
	};
}
