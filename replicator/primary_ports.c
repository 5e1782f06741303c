/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See primary_ports.h. Data thread. */
#include "replicator/primary_ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/disk_figures.h"

/* What one pump passes on before it looks at the rest of the world again: milliseconds of a gigabit link. */
#define PUMP_BYTES ((size_t)2 << 20)
#define PUMP_FRAMES 256
/* Of a log: at so much an early checkpoint is wanted. */
#define HALF_FULL 50
/* How long a server may take nothing while the link waits for it. */
#define STUCK_NS (5 * NS_PER_SEC)
#define ANSWER_POLL_MS 20

#define BIT(i) ((uint16_t)(1u << (i)))

struct primary_ports {
	struct primary_ports_conf conf;
	struct disk_link *link;
	struct wire_disks mine; /* as DISKS said */
	struct port_begin begin[WIRE_MAX_DISKS];
	bool session;  /* DISKS is sent, and we did not leave since */
	bool answered; /* ... and DISKS_OK came */
	bool pressure; /* told */
	bool more;
	uint64_t answer_by;
	uint64_t next;			  /* the epoch whose EPOCH_END comes next */
	uint64_t asked;			  /* newest ASK_END, FRAME_NO_EPOCH none */
	uint16_t begun;			  /* BEGIN was said */
	uint16_t out;			  /* dropped out, and told */
	uint16_t synced;		  /* SYNCED came */
	uint16_t ended;			  /* DISK_END of `next` was passed on */
	uint32_t unasked[WIRE_MAX_DISKS]; /* DISK_WANT that are to come before BEGIN */
	uint32_t hashes;		  /* DISK_HASH without an answer */
	uint64_t durable[WIRE_MAX_DISKS];
	uint64_t peer_free[WIRE_MAX_DISKS];
	uint16_t progressed;		 /* what the peer said of it is not in status yet */
	uint64_t states[WIRE_MAX_DISKS]; /* that had come when something was asked */
};

/* What a turn of a port comes to. */
enum turn {
	TURN_DONE,
	TURN_KEPT, /* its time has not come */
};

int primary_ports_new(struct primary_ports **out, const struct primary_ports_conf *conf,
		      struct err *e)
{
	struct primary_ports *d = mem_zalloc(sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return err_set(e, -ENOMEM, "disks");
	d->conf = *conf;
	rc = disk_link_new(&d->link, &conf->link, e);
	if (rc < 0) {
		mem_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void primary_ports_free(struct primary_ports *d)
{
	if (!d)
		return;
	disk_link_free(d->link);
	mem_free(d);
}

static unsigned int count(const struct primary_ports *d)
{
	return disk_link_disks(d->link);
}

static uint16_t all(const struct primary_ports *d)
{
	return (uint16_t)((UINT32_C(1) << count(d)) - 1);
}

/* ---- for status --------------------------------------------------------------- */

const struct disk_link *primary_ports_link(const struct primary_ports *d)
{
	return d->link;
}

bool primary_ports_changed(struct primary_ports *d, unsigned int disk)
{
	bool progressed = d->progressed & BIT(disk);

	d->progressed &= (uint16_t)~BIT(disk);
	return disk_link_changed(d->link, disk) || progressed;
}

bool primary_ports_is_synced(const struct primary_ports *d, unsigned int disk)
{
	return d->session && d->synced & BIT(disk);
}

uint64_t primary_ports_durable(const struct primary_ports *d, unsigned int disk)
{
	return d->durable[disk];
}

uint64_t primary_ports_peer_free(const struct primary_ports *d, unsigned int disk)
{
	return d->peer_free[disk];
}

/* ---- a session begins ----------------------------------------------------------- */

/* May the peer's copy be made from this one? */
static int describe(struct primary_ports *d, unsigned int i, struct wire_disk *w, struct err *e)
{
	static const char *const unfit[] = {
		[DISK_STATE_SYNCING] = "is being copied to, and holds no state of the guest",
		[DISK_STATE_OUTDATED] = "is outdated: a newer copy is elsewhere",
		[DISK_STATE_FAILED] = "has failed",
	};
	const struct port_state *st = disk_link_state(d->link, i);
	const char *name = disk_link_name(d->link, i);

	if (st->state < ARRAY_SIZE(unfit) && unfit[st->state])
		return err_setx(e, -ENODEV, "disk %s %s%s%s", name, unfit[st->state],
				st->why[0] ? ": " : "", st->why);
	if (!st->gen.current)
		return err_setx(e, -ENODEV, "disk %s has no content yet that a guest has written",
				name);
	*w = (struct wire_disk){.size = st->size,
				.block_size = st->block_size,
				.flags = st->flags & PORT_DIRT_KNOWN ? 0 : WIRE_DISK_BY_HASH,
				.gen = st->gen};
	memcpy(w->uuid, st->uuid, sizeof(w->uuid));
	snprintf(w->name, sizeof(w->name), "%s", name);
	return 0;
}

static int send_disks(struct primary_ports *d, struct conn *c, struct err *e)
{
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct wr w;
	int rc = conn_begin(c, FRAME_DISKS, FRAME_NO_EPOCH, &w, deadline, e);

	if (rc < 0)
		return rc;
	wire_disks_encode(&w, &d->mine);
	rc = conn_end(c, &w, e);
	return rc < 0 ? rc : conn_flush(c, deadline, e);
}

int primary_ports_begin(struct primary_ports *d, struct conn *c, struct err *e)
{
	int rc;

	d->session = d->answered = d->pressure = false;
	rc = disk_link_open(d->link, clock_now() + d->conf.open_timeout_ns, e);
	memset(&d->mine, 0, sizeof(d->mine));
	d->mine.n = (uint16_t)count(d);
	d->mine.ack_mode = d->conf.link.ack_mode;
	for (unsigned int i = 0; rc == 0 && i < count(d); i++)
		rc = describe(d, i, &d->mine.disk[i], e);
	if (rc == -ECANCELED)
		return rc;
	if (rc < 0)
		return err_setx(e, -ENODEV, "%s", e->text);
	d->next = 0;
	d->asked = FRAME_NO_EPOCH;
	d->begun = d->out = d->synced = d->ended = 0;
	d->hashes = 0;
	memset(d->unasked, 0, sizeof(d->unasked));
	for (unsigned int i = 0; i < count(d); i++) {
		d->durable[i] = FRAME_NO_EPOCH;
		d->peer_free[i] = DISK_FREE_UNKNOWN;
	}
	d->session = true;
	d->answer_by = clock_now() + d->conf.answer_timeout_ns;
	return send_disks(d, c, e);
}

/* ---- what the peer says --------------------------------------------------------- */

static void begin_disk(struct primary_ports *d, unsigned int i)
{
	disk_link_say_begin(d->link, i, &d->begin[i]);
	d->begun |= BIT(i);
}

static int on_disks_ok(struct primary_ports *d, const struct frame *f, struct err *e)
{
	struct wire_disks_ok ok;
	int rc = wire_disks_ok_decode(f, &ok, e);

	if (rc < 0)
		return rc;
	if (ok.n != d->mine.n)
		return err_setx(e, -EBADMSG, "DISKS_OK of %u disks, not %u", ok.n, d->mine.n);
	d->answered = true;
	for (unsigned int i = 0; i < ok.n; i++) {
		d->begin[i] = (struct port_begin){.plan = ok.disk[i].plan,
						  .peer_state = ok.disk[i].state,
						  .peer = ok.disk[i].gen};
		d->unasked[i] = ok.disk[i].wants;
		/* Its copier must know all that the peer lacks before it begins. */
		if (!d->unasked[i])
			begin_disk(d, i);
	}
	return 0;
}

static void pass(struct primary_ports *d, unsigned int i, const struct frame *f)
{
	disk_link_send_wait(d->link, i, f, clock_now() + STUCK_NS);
}

static int on_want(struct primary_ports *d, const struct frame *f, struct err *e)
{
	struct wire_disk_range m;
	const uint8_t *bits;
	int rc = wire_disk_want_decode(f, &d->mine, &m, &bits, e);

	if (rc < 0)
		return rc;
	pass(d, m.disk, f);
	if (d->unasked[m.disk]) {
		if (!--d->unasked[m.disk])
			begin_disk(d, m.disk);
	} else if (d->hashes) {
		d->hashes--;
		d->more = true; /* a server's next may have waited for it */
	}
	return 0;
}

static int on_progress(struct primary_ports *d, const struct frame *f, struct err *e)
{
	struct wire_disk_progress m;
	int rc = wire_disk_progress_decode(f, &d->mine, &m, e);

	if (rc < 0)
		return rc;
	d->durable[m.disk] = m.durable;
	d->peer_free[m.disk] = m.free_bytes;
	d->progressed |= BIT(m.disk);
	pass(d, m.disk, f);
	return 0;
}

static int on_verified(struct primary_ports *d, const struct frame *f, struct err *e)
{
	struct wire_disk_verified m;
	int rc = wire_disk_verified_decode(f, &d->mine, &m, e);

	if (rc == 0)
		pass(d, m.disk, f);
	return rc;
}

int primary_ports_frame(struct primary_ports *d, const struct frame *f, struct err *e)
{
	if (!d->session)
		return 0;
	switch (f->h.type) {
	case FRAME_DISKS_OK:
		return on_disks_ok(d, f, e);
	case FRAME_DISK_WANT:
		return on_want(d, f, e);
	case FRAME_DISK_PROGRESS:
		return on_progress(d, f, e);
	case FRAME_DISK_VERIFIED:
		return on_verified(d, f, e);
	default:
		return 0;
	}
}

/* ---- what the servers say ------------------------------------------------------- */

static void drop_out(struct primary_ports *d, unsigned int i, const char *text)
{
	if (!d->session || d->out & BIT(i))
		return;
	d->out |= BIT(i);
	d->conf.tell(d->conf.arg, PRIMARY_PORTS_DROPPED, text);
}

/* It breaks the contract: its stream is worth nothing. */
static enum turn reject(struct primary_ports *d, unsigned int i, const struct frame *f)
{
	disk_link_reject(d->link, i, "its server says %s of epoch %" PRIi64 ", at epoch %" PRIu64,
			 port_name(f->h.type), (int64_t)f->h.epoch, d->next);
	return TURN_DONE;
}

static int relay(struct primary_ports *d, struct conn *c, const struct frame *f, struct err *e)
{
	const struct conn_out out = {.type = (enum frame_type)f->h.type,
				     .epoch = f->h.epoch,
				     .payload = f->payload,
				     .size = f->h.length};

	return conn_send(c, &out, clock_now() + d->conf.send_timeout_ns, e);
}

static bool names(const struct frame *f, unsigned int i)
{
	struct rd r = rd_init(f->payload, f->h.length);

	return rd_u16(&r) == i && rd_ok(&r);
}

/* No epoch of the peer's may be whole while it may still lack something. */
static bool end_may_come(const struct primary_ports *d, unsigned int i, const struct frame *f)
{
	if (d->asked == FRAME_NO_EPOCH || f->h.epoch > d->asked)
		return false;
	return f->h.epoch || (d->synced & BIT(i) && !d->hashes);
}

/* DISK_DATA, DISK_END, DISK_VERIFY. */
static int epoch_part(struct primary_ports *d, unsigned int i, const struct frame *f,
		      struct conn *c, enum turn *turn, struct err *e)
{
	bool end = f->h.type == FRAME_DISK_END;

	if (!names(f, i) || f->h.epoch < d->next || (f->h.epoch == d->next && d->ended & BIT(i))) {
		*turn = reject(d, i, f);
		return 0;
	}
	if (f->h.epoch > d->next || !c) {
		*turn = TURN_KEPT;
		return 0;
	}
	if (end && !end_may_come(d, i, f)) {
		*turn = reject(d, i, f);
		return 0;
	}
	if (end)
		d->ended |= BIT(i);
	return relay(d, c, f, e);
}

static int on_hash(struct primary_ports *d, unsigned int i, const struct frame *f, struct conn *c,
		   enum turn *turn, struct err *e)
{
	if (!names(f, i) || d->next || d->ended || d->synced & BIT(i)) {
		*turn = reject(d, i, f);
		return 0;
	}
	if (d->hashes == WIRE_MAX_UNANSWERED || !c) {
		*turn = TURN_KEPT;
		return 0;
	}
	d->hashes++;
	return relay(d, c, f, e);
}

static void on_synced(struct primary_ports *d, unsigned int i)
{
	bool before = d->synced == all(d);

	d->synced |= BIT(i);
	if (!before && d->synced == all(d))
		d->conf.tell(d->conf.arg, PRIMARY_PORTS_SYNCED, "");
}

static void on_text(struct primary_ports *d, unsigned int i, const struct frame *f)
{
	char why[WIRE_TEXT_MAX + 1], text[ERR_TEXT_SIZE];
	struct err ignored = ERR_INIT;

	if (port_text_decode(f, why, &ignored) < 0)
		snprintf(why, sizeof(why), "its server does not say why");
	snprintf(text, sizeof(text), "disk %s: %.300s", disk_link_name(d->link, i), why);
	if (f->h.type == PORT_DROPPED)
		drop_out(d, i, text);
	else
		d->conf.tell(d->conf.arg, PRIMARY_PORTS_ERROR, text);
}

static int one(struct primary_ports *d, unsigned int i, const struct frame *f, struct conn *c,
	       enum turn *turn, struct err *e)
{
	*turn = TURN_DONE;
	/* Of a session that is over, or not yet begun. */
	if (!d->session || !(d->begun & BIT(i)) || d->out & BIT(i))
		return 0;
	switch (f->h.type) {
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_VERIFY:
		return epoch_part(d, i, f, c, turn, e);
	case FRAME_DISK_HASH:
		return on_hash(d, i, f, c, turn, e);
	case PORT_SYNCED:
		on_synced(d, i);
		return 0;
	case PORT_DROPPED:
	case PORT_ERROR:
		on_text(d, i, f);
		return 0;
	default:
		*turn = reject(d, i, f);
		return 0;
	}
}

static int pump_one(struct primary_ports *d, unsigned int i, struct conn *c, size_t *bytes,
		    struct err *e)
{
	struct err why = ERR_INIT;

	for (unsigned int n = 0; *bytes < PUMP_BYTES && n < PUMP_FRAMES; n++) {
		enum turn turn;
		struct frame f;
		int rc = disk_link_recv(d->link, i, &f, &why);

		if (rc == -EAGAIN)
			return 0;
		if (rc < 0) {
			drop_out(d, i, why.text);
			return 0;
		}
		*bytes += f.h.length;
		rc = one(d, i, &f, c, &turn, e);
		if (rc < 0)
			return rc;
		if (turn == TURN_KEPT) {
			disk_link_keep(d->link, i);
			return 0;
		}
	}
	d->more = true;
	return 0;
}

static void look_at_fill(struct primary_ports *d)
{
	uint32_t most = 0;

	for (unsigned int i = 0; i < count(d); i++)
		most = MAX(most, disk_link_fill(d->link, i));
	if (most >= HALF_FULL && !d->pressure && d->session)
		d->conf.tell(d->conf.arg, PRIMARY_PORTS_PRESSURE, "");
	d->pressure = most >= HALF_FULL;
}

int primary_ports_pump(struct primary_ports *d, struct conn *c, struct err *e)
{
	d->more = false;
	disk_link_flush(d->link);
	for (unsigned int i = 0; i < count(d); i++) {
		size_t bytes = 0;
		int rc = pump_one(d, i, c, &bytes, e);

		if (rc < 0)
			return rc;
	}
	look_at_fill(d);
	return 0;
}

bool primary_ports_more(const struct primary_ports *d)
{
	return d->more || disk_link_pending(d->link);
}

uint64_t primary_ports_deadline(const struct primary_ports *d)
{
	return d->session && !d->answered ? d->answer_by : CLOCK_NEVER;
}

unsigned int primary_ports_poll(const struct primary_ports *d, struct pollfd *p)
{
	return disk_link_poll(d->link, p);
}

/* ---- epochs --------------------------------------------------------------------- */

static void say_all(struct primary_ports *d, uint16_t to, unsigned int type, uint64_t epoch)
{
	for (unsigned int i = 0; i < count(d); i++) {
		if (to & BIT(i))
			disk_link_say(d->link, i, type, epoch);
	}
}

void primary_ports_ask_end(struct primary_ports *d, uint64_t epoch)
{
	if (!d->session)
		return;
	d->asked = epoch;
	say_all(d, d->begun, PORT_ASK_END, epoch);
}

bool primary_ports_ended(const struct primary_ports *d)
{
	return d->ended == all(d);
}

bool primary_ports_whole(const struct primary_ports *d)
{
	return d->session && d->begun == all(d) && !d->out;
}

void primary_ports_epoch_over(struct primary_ports *d)
{
	d->next++;
	d->ended = 0;
	d->more = true; /* what was kept */
}

void primary_ports_acked(struct primary_ports *d, uint64_t epoch)
{
	if (d->session)
		say_all(d, d->begun, PORT_ACKED, epoch);
}

void primary_ports_verify(struct primary_ports *d, uint64_t pass)
{
	for (unsigned int i = 0; i < count(d); i++)
		disk_link_verify(d->link, i, pass,
				 d->session && d->begun & BIT(i) && !(d->out & BIT(i)));
}

void primary_ports_leave(struct primary_ports *d)
{
	if (!d->session)
		return;
	say_all(d, d->begun, PORT_LEAVE, FRAME_NO_EPOCH);
	d->session = false;
	d->more = true; /* what was kept is nobody's now */
}

/* ---- histories ------------------------------------------------------------------ */

typedef bool done_fn(const struct port_state *st);

static bool is_alone(const struct port_state *st)
{
	return st->gen.bitmap != 0;
}

static bool is_outdated(const struct port_state *st)
{
	return st->state == DISK_STATE_OUTDATED;
}

/* Reads and drops all but what the servers are. */
static void read_states(struct primary_ports *d)
{
	for (unsigned int i = 0; i < count(d); i++) {
		struct err ignored = ERR_INIT;
		struct frame f;

		while (disk_link_recv(d->link, i, &f, &ignored) == 0)
			;
	}
}

static bool all_done(const struct primary_ports *d, done_fn *done, const char **missing)
{
	for (unsigned int i = 0; i < count(d); i++) {
		if (disk_link_states(d->link, i) > d->states[i] &&
		    done(disk_link_state(d->link, i)))
			continue;
		*missing = disk_link_name(d->link, i);
		return false;
	}
	return true;
}

static int wait_for_states(struct primary_ports *d, done_fn *done, uint64_t deadline_ns,
			   struct err *e)
{
	struct pollfd p[WIRE_MAX_DISKS + 1];
	const char *missing = "";

	for (;;) {
		unsigned int n = disk_link_poll(d->link, p);

		if (all_done(d, done, &missing))
			return 0;
		if (clock_now() >= deadline_ns)
			return err_setx(e, -ETIMEDOUT,
					"disk %s: its server does not say that it is durable",
					missing);
		p[n] = (struct pollfd){.fd = d->conf.link.wake_fd, .events = POLLIN};
		if (poll(p, n + 1, ANSWER_POLL_MS) < 0 && errno != EINTR)
			return err_set(e, -errno, "poll");
		if (p[n].revents)
			return err_setx(e, -ECANCELED, "cancelled");
		disk_link_flush(d->link);
		read_states(d);
	}
}

/* Has every server do something that lasts. One that died meanwhile is asked again when it is back. */
static int settle(struct primary_ports *d, unsigned int type, done_fn *done, uint64_t deadline_ns,
		  struct err *e)
{
	bool up = true;
	int rc = 0;

	primary_ports_leave(d);
	for (unsigned int i = 0; i < count(d); i++)
		up = up && disk_link_is_up(d->link, i);
	if (!up)
		rc = disk_link_open(d->link, deadline_ns, e);
	if (rc < 0)
		return rc;
	/* What the worker had been told before is no answer. */
	read_states(d);
	for (unsigned int i = 0; i < count(d); i++)
		d->states[i] = disk_link_states(d->link, i);
	say_all(d, all(d), type, FRAME_NO_EPOCH);
	return wait_for_states(d, done, deadline_ns, e);
}

int primary_ports_alone(struct primary_ports *d, uint64_t deadline_ns, struct err *e)
{
	return settle(d, PORT_ALONE, is_alone, deadline_ns, e);
}

int primary_ports_deposed(struct primary_ports *d, uint64_t deadline_ns, struct err *e)
{
	return settle(d, PORT_DEPOSED, is_outdated, deadline_ns, e);
}
