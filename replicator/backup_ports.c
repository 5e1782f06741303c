/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See backup_ports.h. Data thread. */
#include "replicator/backup_ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/disk_shell.h"

#define PUMP_FRAMES 256
/* A server that takes nothing for so long while a frame waits for it: its disk hangs. */
#define STUCK_NS (30 * NS_PER_SEC)
/* To make durable that it is OUTDATED; for one whose server died, to be started again first. */
#define LEAVE_NS (10 * NS_PER_SEC)
/* How often such a server is looked for. */
#define LOOK_NS (50 * NS_PER_MS)

#define BIT(i) ((uint16_t)(1u << (i)))

struct backup_ports {
	struct backup_ports_conf conf;
	struct disk_link *link;
	struct wire_disks disks;
	uint16_t failed; /* told */
	uint16_t active;
	uint16_t told_to_leave; /* on the connection that stands */
	uint16_t left;
	bool activating;
	bool all_active; /* told */
	bool leaving;
	bool all_left; /* told */
	bool committed;
	bool more;
	uint64_t epoch; /* of ACTIVATE */
	uint64_t leave_by;
	uint64_t look_at;  /* for servers that died and must be told to leave; CLOCK_NEVER */
	uint64_t stuck_at; /* a frame waits for a server until then; CLOCK_NEVER */
	unsigned int stuck_disk;
	uint64_t durable[WIRE_MAX_DISKS];
	uint64_t free_bytes[WIRE_MAX_DISKS];
	uint16_t progressed; /* what its server said of its journal is not in status yet */
	uint64_t states[WIRE_MAX_DISKS]; /* that had come when LEAVE was said */
};

static unsigned int count(const struct backup_ports *d)
{
	return d->disks.n;
}

static uint16_t all(const struct backup_ports *d)
{
	return (uint16_t)((UINT32_C(1) << count(d)) - 1);
}

unsigned int backup_ports_count(const struct backup_ports *d)
{
	return count(d);
}

uint8_t backup_ports_ack_mode(const struct backup_ports *d)
{
	return d->disks.ack_mode;
}

/* ---- the session begins ----------------------------------------------------------- */

static int make_link(struct backup_ports *d, struct err *e)
{
	struct disk_link_conf lc = {
		.side = FRAME_BACKUP,
		.run_dir = d->conf.conf->run_dir,
		.vm = d->conf.vm,
		.ack_mode = d->disks.ack_mode,
		.word_fd = -1,
		.wake_fd = d->conf.wake_fd,
		.n = count(d),
	};

	for (unsigned int i = 0; i < count(d); i++) {
		const char *name = d->disks.disk[i].name;

		/* What the peer names is a file of ours only if our operator said so. */
		if (!conf_disk(d->conf.conf, name))
			return err_setx(e, -EOPNOTSUPP, "disk %s is not in romulus.conf of %s",
					name, d->conf.conf->host_name);
		memcpy(lc.name[i], name, NAME_SIZE);
	}
	return disk_link_new(&d->link, &lc, e);
}

/* Is the disk here one to hold that copy? */
static int compare(const struct port_state *mine, const struct wire_disk *theirs, struct err *e)
{
	if (mine->size != theirs->size)
		return err_setx(e, -EOPNOTSUPP,
				"it has %" PRIu64 " bytes at the backup, %" PRIu64
				" at the primary: make both of one size",
				mine->size, theirs->size);
	if (mine->block_size > theirs->block_size)
		return err_setx(
			e, -EOPNOTSUPP,
			"its blocks have %u bytes at the backup, %u at the primary: the guest would "
			"write what this one cannot",
			mine->block_size, theirs->block_size);
	if (memcmp(mine->uuid, theirs->uuid, sizeof(mine->uuid)) != 0)
		return err_setx(e, -EOPNOTSUPP, "it is another disk than the primary's");
	return 0;
}

static int make_plans(struct backup_ports *d, struct wire_disks_ok *ok, struct err *e)
{
	ok->n = d->disks.n;
	for (unsigned int i = 0; i < count(d); i++) {
		const struct port_state *mine = disk_link_state(d->link, i);
		const struct wire_disk *theirs = &d->disks.disk[i];
		int rc = compare(mine, theirs, e);

		if (rc == 0)
			rc = disk_shell_plan(d->conf.vm, mine, theirs, &ok->disk[i], e);
		if (rc < 0) {
			struct err why = *e;

			return err_setx(e, -EOPNOTSUPP, "disk %s: %s", theirs->name, why.text);
		}
	}
	return 0;
}

static void begin_all(struct backup_ports *d, const struct wire_disks_ok *ok)
{
	for (unsigned int i = 0; i < count(d); i++) {
		const struct port_begin b = {.plan = ok->disk[i].plan,
					     .peer_state = WIRE_DISK_CONSISTENT,
					     .peer = d->disks.disk[i].gen};

		disk_link_say_begin(d->link, i, &b);
	}
}

static int send_ok(struct backup_ports *d, const struct wire_disks_ok *ok, struct conn *c,
		   struct err *e)
{
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct wr w;
	int rc = conn_begin(c, FRAME_DISKS_OK, FRAME_NO_EPOCH, &w, deadline, e);

	if (rc < 0)
		return rc;
	wire_disks_ok_encode(&w, ok);
	rc = conn_end(c, &w, e);
	return rc < 0 ? rc : conn_flush(c, deadline, e);
}

static int begin(struct backup_ports *d, const struct frame *f, struct conn *c, struct err *e)
{
	struct wire_disks_ok ok = {.n = 0};
	int rc = wire_disks_decode(f, &d->disks, e);

	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < count(d); i++) {
		d->durable[i] = FRAME_NO_EPOCH;
		d->free_bytes[i] = DISK_FREE_UNKNOWN;
	}
	rc = make_link(d, e);
	if (rc < 0)
		return rc;
	rc = disk_link_open(d->link, clock_now() + d->conf.open_timeout_ns, e);
	if (rc < 0 && rc != -ECANCELED)
		return err_setx(e, -EOPNOTSUPP, "%.300s", e->text);
	if (rc == 0)
		rc = make_plans(d, &ok, e);
	if (rc < 0)
		return rc;
	begin_all(d, &ok);
	return send_ok(d, &ok, c, e);
}

int backup_ports_new(struct backup_ports **out, const struct backup_ports_conf *conf,
		     const struct frame *f, struct conn *c, struct err *e)
{
	struct backup_ports *d = mem_zalloc(sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return err_set(e, -ENOMEM, "disks");
	d->conf = *conf;
	d->stuck_at = d->leave_by = d->look_at = CLOCK_NEVER;
	rc = begin(d, f, c, e);
	if (rc < 0) {
		backup_ports_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void backup_ports_free(struct backup_ports *d)
{
	if (!d)
		return;
	disk_link_free(d->link);
	mem_free(d);
}

/* ---- what is told ----------------------------------------------------------------- */

static void tell(struct backup_ports *d, const struct backup_ports_news_item *news)
{
	d->conf.tell(d->conf.arg, news);
}

static void fail(struct backup_ports *d, unsigned int i, const char *text)
{
	const struct backup_ports_news_item news = {
		.type = BACKUP_PORTS_FAILED, .disk = i, .text = text};

	d->told_to_leave &= (uint16_t)~BIT(i);
	if (d->failed & BIT(i))
		return;
	d->failed |= BIT(i);
	if (!d->leaving)
		tell(d, &news);
}

static void tell_to_leave(struct backup_ports *d, unsigned int i)
{
	d->told_to_leave |= BIT(i);
	d->states[i] = disk_link_states(d->link, i);
	disk_link_say(d->link, i, PORT_LEAVE, FRAME_NO_EPOCH);
}

/*
 * P3: a disk that was activated is ACTIVE again when a new server has taken it over, and could be run. That server is told to
 * leave as soon as it is there.
 */
static void call_the_dead(struct backup_ports *d, uint64_t now)
{
	bool look = now >= d->look_at;

	if (look)
		d->look_at = CLOCK_NEVER;
	for (unsigned int i = 0; i < count(d); i++) {
		struct err ignored = ERR_INIT;

		if (d->left & BIT(i) || d->told_to_leave & BIT(i))
			continue;
		if (look)
			(void)!disk_link_call(d->link, i, &ignored);
		if (disk_link_is_up(d->link, i))
			tell_to_leave(d, i);
		else
			d->look_at = MIN(d->look_at, clock_add(now, LOOK_NS));
	}
}

/* Nothing of the session can be activated there any more. */
static bool has_left(const struct backup_ports *d, unsigned int i)
{
	/* A server that died, or a dying one: what it comes back with is OUTDATED, if it was not told to activate. */
	if (!d->activating && (d->failed & BIT(i) || !disk_link_is_up(d->link, i)))
		return true;
	if (!(d->told_to_leave & BIT(i)) || disk_link_states(d->link, i) == d->states[i])
		return false;
	switch ((enum disk_state)disk_link_state(d->link, i)->state) {
	case DISK_STATE_CONSISTENT:
	case DISK_STATE_ACTIVE:
		return false;
	case DISK_STATE_SYNCING:
		/* It may be from before the COMMIT that ended the copy. */
		return !d->committed;
	case DISK_STATE_EMPTY:
	case DISK_STATE_OUTDATED:
	case DISK_STATE_FAILED:
		break;
	}
	return true;
}

static void look_who_left(struct backup_ports *d)
{
	const struct backup_ports_news_item news = {.type = BACKUP_PORTS_LEFT};
	uint64_t now = clock_now();
	bool late = now >= d->leave_by;

	if (!d->leaving || d->all_left)
		return;
	if (d->activating)
		call_the_dead(d, now);
	for (unsigned int i = 0; i < count(d); i++) {
		if (d->left & BIT(i) || has_left(d, i))
			d->left |= BIT(i);
		else if (late)
			log_err("disk %s: %s; do not start the VM from it here",
				disk_link_name(d->link, i),
				disk_link_is_up(d->link, i)
					? "its server does not say that it has left the session"
					: "no server is there that could be told to leave the session");
	}
	if (d->left != all(d) && !late)
		return;
	d->all_left = true;
	d->leave_by = d->look_at = CLOCK_NEVER;
	tell(d, &news);
}

/* ---- what the peer says ------------------------------------------------------------- */

static int names(const struct backup_ports *d, const struct frame *f, unsigned int *i)
{
	struct rd r = rd_init(f->payload, f->h.length);

	*i = rd_u16(&r);
	return rd_ok(&r) && *i < count(d) ? 0 : -EBADMSG;
}

/* Sizes and offsets: nothing outside of a disk is passed on. Content is the server's to check. */
static int check(const struct backup_ports *d, const struct frame *f, struct err *e)
{
	struct wire_disk_range range;
	struct wire_disk_verify verify;
	struct wire_disk_end end;
	const uint8_t *hashes;
	struct rd records;
	uint32_t n;
	uint16_t disk;

	switch (f->h.type) {
	case FRAME_DISK_HASH:
		return wire_disk_hash_decode(f, &d->disks, &range, &hashes, e);
	case FRAME_DISK_DATA:
		return wire_disk_data_decode(f, &d->disks, &disk, &n, &records, e);
	case FRAME_DISK_END:
		return wire_disk_end_decode(f, &d->disks, &end, e);
	case FRAME_DISK_VERIFY:
		return wire_disk_verify_decode(f, &d->disks, &verify, e);
	default:
		return 0;
	}
}

int backup_ports_frame(struct backup_ports *d, const struct frame *f, struct err *e)
{
	unsigned int i;
	int rc = check(d, f, e);

	if (rc < 0)
		return rc;
	if (names(d, f, &i) < 0)
		return err_setx(e, -EBADMSG, "there is no such disk");
	if (d->activating || d->leaving || d->failed & BIT(i))
		return 0;
	rc = disk_link_send(d->link, i, f);
	if (rc == -EAGAIN && d->stuck_at == CLOCK_NEVER) {
		d->stuck_at = clock_now() + STUCK_NS;
		d->stuck_disk = i;
	} else if (rc == 0) {
		d->stuck_at = CLOCK_NEVER;
	}
	return rc;
}

/* ---- what the servers say ----------------------------------------------------------- */

static int relay(struct backup_ports *d, struct conn *c, const struct frame *f, struct err *e)
{
	const struct conn_out out = {.type = (enum frame_type)f->h.type,
				     .epoch = f->h.epoch,
				     .payload = f->payload,
				     .size = f->h.length};

	return c ? conn_send(c, &out, clock_now() + d->conf.send_timeout_ns, e) : 0;
}

static void reject(struct backup_ports *d, unsigned int i, const struct frame *f)
{
	disk_link_reject(d->link, i, "its server says %s of epoch %" PRIi64 " out of turn",
			 port_name(f->h.type), (int64_t)f->h.epoch);
}

static int on_progress(struct backup_ports *d, unsigned int i, const struct frame *f,
		       struct conn *c, struct err *e)
{
	struct backup_ports_news_item news = {.type = BACKUP_PORTS_DURABLE, .disk = i};
	struct err why = ERR_INIT;
	struct wire_disk_progress m;

	if (wire_disk_progress_decode(f, &d->disks, &m, &why) < 0 || m.disk != i) {
		reject(d, i, f);
		return 0;
	}
	d->free_bytes[i] = m.free_bytes;
	d->progressed |= BIT(i);
	if (m.durable != FRAME_NO_EPOCH && m.durable != d->durable[i]) {
		d->durable[i] = m.durable;
		news.epoch = m.durable;
		tell(d, &news);
	}
	return relay(d, c, f, e);
}

static void on_held(struct backup_ports *d, unsigned int i, const struct frame *f)
{
	struct backup_ports_news_item news = {
		.type = BACKUP_PORTS_HELD, .disk = i, .epoch = f->h.epoch};
	struct err why = ERR_INIT;
	uint32_t flags;

	if (port_held_decode(f, &flags, &why) < 0) {
		reject(d, i, f);
		return;
	}
	news.waits = flags & PORT_HELD_WAITS;
	tell(d, &news);
}

static void on_active(struct backup_ports *d, unsigned int i, const struct frame *f)
{
	const struct backup_ports_news_item news = {.type = BACKUP_PORTS_ACTIVE, .epoch = d->epoch};

	/* P2 */
	if (!d->activating || f->h.epoch != d->epoch) {
		reject(d, i, f);
		return;
	}
	d->active |= BIT(i);
	if (d->active != all(d) || d->all_active)
		return;
	d->all_active = true;
	tell(d, &news);
}

static void on_error(struct backup_ports *d, unsigned int i, const struct frame *f)
{
	char why[WIRE_TEXT_MAX + 1], text[ERR_TEXT_SIZE];
	struct err ignored = ERR_INIT;

	if (port_text_decode(f, why, &ignored) < 0)
		snprintf(why, sizeof(why), "its server does not say why");
	snprintf(text, sizeof(text), "disk %s: %.300s", disk_link_name(d->link, i), why);
	fail(d, i, text);
}

static int one(struct backup_ports *d, unsigned int i, const struct frame *f, struct conn *c,
	       struct err *e)
{
	switch (f->h.type) {
	case FRAME_DISK_PROGRESS:
		return on_progress(d, i, f, c, e);
	case FRAME_DISK_WANT:
	case FRAME_DISK_VERIFIED:
		return relay(d, c, f, e);
	case PORT_HELD:
		on_held(d, i, f);
		return 0;
	case PORT_ACTIVE:
		on_active(d, i, f);
		return 0;
	case PORT_ERROR:
		on_error(d, i, f);
		return 0;
	default:
		reject(d, i, f);
		return 0;
	}
}

static int pump_one(struct backup_ports *d, unsigned int i, struct conn *c, struct err *e)
{
	struct err why = ERR_INIT;

	for (unsigned int n = 0; n < PUMP_FRAMES; n++) {
		struct frame f;
		int rc = disk_link_recv(d->link, i, &f, &why);

		if (rc == -EAGAIN)
			return 0;
		if (rc < 0) {
			fail(d, i, why.text);
			return 0;
		}
		rc = one(d, i, &f, c, e);
		if (rc < 0)
			return rc;
	}
	d->more = true;
	return 0;
}

int backup_ports_pump(struct backup_ports *d, struct conn *c, struct err *e)
{
	d->more = false;
	disk_link_flush(d->link);
	for (unsigned int i = 0; i < count(d); i++) {
		int rc = pump_one(d, i, c, e);

		if (rc < 0)
			return rc;
	}
	look_who_left(d);
	if (clock_now() >= d->stuck_at) {
		d->stuck_at = CLOCK_NEVER;
		disk_link_reject(d->link, d->stuck_disk, "its server takes nothing any more");
	}
	return 0;
}

bool backup_ports_more(const struct backup_ports *d)
{
	return d->more || disk_link_pending(d->link);
}

uint64_t backup_ports_deadline(const struct backup_ports *d)
{
	return MIN(MIN(d->stuck_at, d->leave_by), d->look_at);
}

unsigned int backup_ports_poll(const struct backup_ports *d, struct pollfd *p)
{
	return disk_link_poll(d->link, p);
}

/* ---- what is decided ---------------------------------------------------------------- */

void backup_ports_commit(struct backup_ports *d, uint64_t epoch)
{
	d->committed = true;
	for (unsigned int i = 0; i < count(d); i++)
		disk_link_say(d->link, i, PORT_COMMIT, epoch);
}

/* Random, not 0: no two histories are to have one name. */
static uint64_t generation(void)
{
	uint64_t g = 0;

	while (!g) {
		if (getrandom(&g, sizeof(g), 0) != (ssize_t)sizeof(g))
			die("no random number: %s", strerror(errno));
	}
	return g;
}

void backup_ports_activate(struct backup_ports *d, uint64_t epoch)
{
	d->activating = true;
	d->epoch = epoch;
	d->stuck_at = CLOCK_NEVER;
	for (unsigned int i = 0; i < count(d); i++)
		disk_link_say_number(d->link, i, PORT_ACTIVATE, epoch, generation());
}

void backup_ports_leave(struct backup_ports *d)
{
	if (d->leaving)
		return;
	d->leaving = true;
	d->stuck_at = CLOCK_NEVER;
	d->leave_by = clock_now() + LEAVE_NS;
	for (unsigned int i = 0; i < count(d); i++) {
		if (disk_link_is_up(d->link, i))
			tell_to_leave(d, i);
	}
	d->look_at = clock_now();
	d->more = true; /* those that are gone already may have left */
}

bool backup_ports_figures(struct backup_ports *d, unsigned int disk, struct disk_figures *f)
{
	const struct port_state *st = disk_link_state(d->link, disk);

	if (!disk_link_changed(d->link, disk) && !(d->progressed & BIT(disk)))
		return false;
	d->progressed &= (uint16_t)~BIT(disk);
	*f = (struct disk_figures){
		.up = disk_link_is_up(d->link, disk),
		.state = st->state,
		.synced = st->state == DISK_STATE_CONSISTENT || st->state == DISK_STATE_ACTIVE,
		.generation = st->gen.current,
		.size = st->size,
		.behind_bytes = st->dirty_bytes,
		.durable = d->durable[disk],
		.journal_free_bytes = d->free_bytes[disk],
	};
	snprintf(f->name, sizeof(f->name), "%s", disk_link_name(d->link, disk));
	snprintf(f->why, sizeof(f->why), "%.150s", st->why);
	return true;
}
