/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_state.h. */
#include "disk/disk_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "disk/blk_store.h"
#include "disk/block_server.h"
#include "disk/copier.h"
#include "disk/dirty_map.h"
#include "disk/disk_format.h"
#include "disk/drill_guard.h"
#include "disk/drill_talk.h"
#include "disk/epoch_log.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

#define FILE_DEPTH 256
#define INTENT_IDLE_NS NS_PER_SEC
#define INTENT_SWEEP 4096
#define COPY_BYTES (UINT32_C(256) << 10)

uint64_t disk_random(void)
{
	uint64_t x = 0;

	while (!x)
		(void)!getrandom(&x, sizeof(x), 0);
	return x;
}

/* ---- what others see ---- */

/* For the hotplug script; best effort. */
static void write_state_file(const struct disk *d)
{
	char path[256];
	FILE *f;

	if (!d->conf.state_path)
		return;
	snprintf(path, sizeof(path), "%s.new", d->conf.state_path);
	f = fopen(path, "we");
	if (!f) {
		log_limited(LOG_AT_WARN, "%s: %s", path, strerrordesc_np(errno));
		return;
	}
	fprintf(f, "%s\n%s\n", journal_state_name(d->state), d->why);
	if (fclose(f) != 0 || rename(path, d->conf.state_path) < 0)
		log_limited(LOG_AT_WARN, "%s: %s", path, strerrordesc_np(errno));
}

static void changed(struct disk *d)
{
	d->version++;
	write_state_file(d);
}

void disk_serve(struct disk *d, bool on)
{
	d->serving = on;
	block_server_park(d->conf.server, !on);
}

bool disk_in_use(const struct disk *d)
{
	bool kernel = d->conf.used_path && access(d->conf.used_path, F_OK) == 0;

	return d->serving && (kernel || block_server_clients(d->conf.server));
}

/* ---- the gate: what holds up a write ---- */

static struct disk *disk_of(struct write_sink *s)
{
	return container_of(s, struct disk, gate);
}

/* A write that makes a history needs its name first. */
static bool generation_ready(struct disk *d)
{
	if (d->pending_generation)
		disk_want(d, DISK_WISH_ACTIVATE);
	else if (d->starts_alone && d->state == JOURNAL_ACTIVE)
		disk_want(d, DISK_WISH_ALONE);
	return !disk_wants(d, DISK_WISH_ACTIVATE) && !disk_wants(d, DISK_WISH_ALONE);
}

static int gate_admit(struct write_sink *s, const struct write_req *w)
{
	struct disk *d = disk_of(s);
	struct write_sink *next = tracker_sink(&d->tracker);

	return w->op == WRITE_FLUSH || generation_ready(d) ? next->ops->admit(next, w) : -EAGAIN;
}

static bool gate_done(struct write_sink *s, const struct write_req *w, int rc)
{
	struct write_sink *next = tracker_sink(&disk_of(s)->tracker);

	return next->ops->done(next, w, rc);
}

static bool gate_read_failed(struct write_sink *s, uint64_t off, uint32_t len, int rc)
{
	struct write_sink *next = tracker_sink(&disk_of(s)->tracker);

	return next->ops->read_failed(next, off, len, rc);
}

static const struct write_sink_ops gate_ops = {
	.admit = gate_admit,
	.done = gate_done,
	.read_failed = gate_read_failed,
};

/* ---- what the log says ---- */

static void on_wake(void *arg)
{
	struct disk *d = arg;

	block_server_wake(d->conf.server);
}

static void on_dropped(void *arg, const char *why)
{
	struct disk *d = arg;

	d->dropped = true;
	snprintf(d->drop_why, sizeof(d->drop_why), "%s", why);
}

static void on_failed(void *arg, int rc)
{
	struct disk *d = arg;

	d->failed = rc;
}

static void on_differs(void *arg, uint64_t off, uint32_t len)
{
	struct disk *d = arg;

	log_err("verification: %u bytes at %llu differ from the peer's; they are copied", len,
		(unsigned long long)off);
	tracker_differs(&d->tracker, off, len);
}

void disk_mark(struct disk *d, uint64_t off, uint64_t len)
{
	dirty_map_set(d->map, off, len);
	(void)!intent_log_admit(d->intents, off, len);
}

void disk_leave_stream(struct disk *d)
{
	tracker_leave(&d->tracker);
	block_server_answer_held(d->conf.server);
	block_server_wake(d->conf.server);
}

/* ---- the intent log's blocks ---- */

static void intent_failed(struct disk *d, int rc)
{
	intent_log_written(d->intents, rc);
	intent_log_give_up(d->intents);
	journal_fail(d->journal, rc, "write the intent log");
	block_server_wake(d->conf.server);
}

static void on_intent(struct block_req *r, int rc)
{
	struct disk *d = r->arg;

	if (rc < 0) {
		d->intent_step = INTENT_IDLE;
		intent_failed(d, rc);
		return;
	}
	if (d->intent_step == INTENT_WRITING) {
		d->intent_step = INTENT_SYNCING;
		*r = (struct block_req){.op = BLOCK_SYNC, .done = on_intent, .arg = d};
		block_submit(blk_store_blocks(d->file), r);
		return;
	}
	d->intent_step = INTENT_IDLE;
	intent_log_written(d->intents, 0);
	block_server_wake(d->conf.server);
}

static void intents_go_on(struct disk *d, uint64_t now)
{
	static const struct intent_block empty;
	struct intent_block b = empty;
	bool idle = now >= clock_add(d->intent_idle_ns, INTENT_IDLE_NS);
	const uint8_t *bits;
	uint32_t k;

	if (d->intent_step != INTENT_IDLE)
		return;
	if (idle) {
		d->intent_idle_ns = now;
		intent_log_sweep(d->intents, INTENT_SWEEP);
	}
	if (!intent_log_next_write(d->intents, idle, &k, &bits))
		return;
	b.index = k;
	b.seq = ++d->intent_seq;
	memcpy(b.bits, bits, sizeof(b.bits));
	intent_block_encode(&b, d->geo.uuid, d->intent_block);
	d->intent_step = INTENT_WRITING;
	d->intent_req = (struct block_req){
		.op = BLOCK_WRITE,
		.off = JOURNAL_INTENT_OFF + (uint64_t)k * JOURNAL_BLOCK,
		.len = JOURNAL_BLOCK,
		.n_iov = 1,
		.iov = {{.iov_base = d->intent_block, .iov_len = JOURNAL_BLOCK}},
		.done = on_intent,
		.arg = d,
	};
	block_submit(blk_store_blocks(d->file), &d->intent_req);
}

/* ---- changes ---- */

static struct gen_tuple tuple_of(const struct journal_gens *g)
{
	return (struct gen_tuple){
		.current = g->current,
		.bitmap = g->bitmap,
		.history = {g->history[0], g->history[1]},
	};
}

static struct journal_gens gens_of(const struct gen_tuple *t)
{
	return (struct journal_gens){
		.current = t->current,
		.bitmap = t->bitmap,
		.history = {t->history[0], t->history[1]},
	};
}

bool disk_is_surrendered(const struct disk *d)
{
	struct gen_tuple t = tuple_of(&d->gens);

	return gen_is_surrendered(&t);
}

int disk_may_surrender(const struct disk *d, struct err *e)
{
	const char *name = d->conf.name;

	if (disk_in_use(d))
		return err_setx(e, -EBUSY, "a guest of this host has disk \"%s\": end it first",
				name);
	switch (d->state) {
	case JOURNAL_ACTIVE:
	case JOURNAL_OUTDATED:
	case JOURNAL_SYNCING:
		return 0;
	case JOURNAL_CONSISTENT:
		return err_setx(
			e, -EBUSY,
			"disk \"%s\" follows the other host's already: there is nothing to give up",
			name);
	case JOURNAL_EMPTY:
		return err_setx(e, -ENODATA,
				"disk \"%s\" is empty here: there is nothing to give up", name);
	case JOURNAL_FAILED:
		break;
	}
	return err_setx(e, -EIO,
			"disk \"%s\" has failed here (%.100s): make it anew with romulus-disk "
			"--format=target --force %s",
			name, d->why, name);
}

void disk_want(struct disk *d, enum disk_wish wish)
{
	if (wish == DISK_WISH_OUTDATED || wish == DISK_WISH_SURRENDER) {
		disk_serve(d, false);
		/* Its guest is to be destroyed, and must not hang on us. */
		block_server_refuse_parked(d->conf.server);
	}
	d->wanted |= (unsigned int)wish;
}

static void forget(struct disk *d, unsigned int wishes)
{
	d->wanted &= ~wishes;
	if (wishes & DISK_WISH_ACTIVATE)
		d->pending_generation = 0;
	if (wishes & (DISK_WISH_ALONE | DISK_WISH_OUTDATED | DISK_WISH_SURRENDER))
		d->starts_alone = false;
	if (wishes & DISK_WISH_SURRENDER)
		d->pending_generation = 0;
	d->news = true;
	block_server_wake(d->conf.server);
}

static bool may_become(const struct disk *d, unsigned int wish)
{
	if (d->state == JOURNAL_ACTIVE)
		return true;
	return wish == DISK_WISH_SURRENDER &&
	       (d->state == JOURNAL_OUTDATED || d->state == JOURNAL_SYNCING);
}

/* One wish after the other, in the order of their numbers. */
static void wishes_go_on(struct disk *d)
{
	unsigned int wish = d->wanted & -d->wanted;
	struct gen_tuple t = tuple_of(&d->gens);
	enum journal_state state = JOURNAL_ACTIVE;
	struct journal_gens gens;
	int rc;

	if (!wish || d->doing || d->changing)
		return;
	if (!may_become(d, wish)) {
		/* A journal that failed: nothing can be written down any more, and nobody will believe this side. */
		forget(d, wish);
		return;
	}
	if (wish == DISK_WISH_ALONE)
		(void)!gen_alone(&t, disk_random());
	else if (wish == DISK_WISH_FINISH)
		gen_finish(&t, d->target_generation);
	else if (wish == DISK_WISH_ACTIVATE)
		gen_activate(&t, d->pending_generation);
	else
		state = d->state == JOURNAL_SYNCING ? JOURNAL_SYNCING : JOURNAL_OUTDATED;
	if (wish == DISK_WISH_SURRENDER)
		gen_surrender(&t);
	gens = gens_of(&t);
	if (state == d->state && !memcmp(&gens, &d->gens, sizeof(gens))) {
		forget(d, wish);
		return;
	}
	rc = journal_set(d->journal, state, &gens);
	if (!rc)
		d->doing = wish;
	else if (rc != -EBUSY)
		forget(d, wish);
}

static void own_marks_end(struct disk *d)
{
	d->adopts = false;
	d->dirt_known = true;
	dirty_map_clear_all(d->map);
	intent_log_clear(d->intents);
}

static void say_why(struct disk *d, const char *why)
{
	if (!why[0] && disk_is_surrendered(d))
		why = "it was given up, and waits to be overwritten from the other host";
	snprintf(d->why, sizeof(d->why), "%s", why);
}

static void on_state(void *arg, enum journal_state state, const char *why)
{
	struct disk *d = arg;
	struct journal_stats st;

	journal_stats(d->journal, &st);
	if (state == JOURNAL_FAILED)
		log_err("the disk has failed here: %s", why);
	else if (state != d->state)
		log_info("%s, was %s", journal_state_name(state), journal_state_name(d->state));
	if (state == JOURNAL_CONSISTENT && d->adopts)
		own_marks_end(d);
	if (state == JOURNAL_FAILED)
		intent_log_give_up(d->intents);
	/* The disk of a guest that runs is not taken away for its journal's sake. */
	if (state == JOURNAL_ACTIVE && !d->serving)
		disk_serve(d, !disk_wants(d, DISK_WISH_OUTDATED));
	d->state = state;
	/* What was to be written when it failed is not there. */
	if (state != JOURNAL_FAILED)
		d->gens = st.gens;
	say_why(d, why);
	d->changing = false;
	forget(d, d->doing);
	d->doing = 0;
	changed(d);
}

static void on_space(void *arg)
{
	struct disk *d = arg;

	d->news = true;
}

static void on_epoch(void *arg, uint64_t epoch)
{
	on_space(arg);
}

void disk_go_on(struct disk *d, uint64_t now)
{
	blk_store_go_on(d->file);
	blk_store_go_on(d->data);
	wishes_go_on(d);
	intents_go_on(d, now);
	d->deadline = journal_run(d->journal, now);
	if (drill_guard_go_on(d->guard, now))
		d->news = true;
	d->deadline = MIN(d->deadline, drill_guard_deadline(d->guard));
	epoch_log_poll(d->log, now);
	d->deadline = MIN(d->deadline, epoch_log_deadline(d->log));
}

/* ---- opening ---- */

static int open_file(struct disk *d, struct err *e)
{
	const struct blk_conf bc = {
		.path = d->conf.journal_path,
		.engine = d->conf.engine,
		.depth = FILE_DEPTH,
		.may_cache = d->conf.may_cache,
	};
	int rc = blk_open_wait(&bc, &d->file_blk, e);

	if (rc == -ENOENT)
		return err_setx(e, rc,
				"disk \"%s\" has no journal %s: make one with romulus-disk "
				"--format=source where its data is the right one, --format=target "
				"on the other host",
				d->conf.name, d->conf.journal_path);
	if (rc < 0)
		return err_wrap(e, rc, "journal of disk \"%s\"", d->conf.name);
	if (blk_store_new(&d->file, d->file_blk) < 0 || blk_store_new(&d->data, d->conf.blk) < 0 ||
	    drill_guard_new(&d->guard, blk_store_blocks(d->data), &drill_talk_socket) < 0)
		return err_set(e, -ENOMEM, "disk");
	return 0;
}

static int open_journal(struct disk *d, struct err *e)
{
	struct journal_opts o;
	struct journal_sb sb;
	int rc = journal_peek(blk_store_blocks(d->file), &sb, e);

	if (rc < 0)
		return err_wrap(e, rc, "%s", d->conf.journal_path);
	disk_geometry(&d->geo, d->conf.name, d->conf.blk);
	d->geo.ring_size = sb.geo.ring_size;
	journal_opts_init(&o);
	o.geo = d->geo;
	o.incarnation = disk_random();
	rc = journal_open(blk_store_blocks(d->file), drill_guard_blocks(d->guard), &o, &d->journal,
			  e);
	return rc < 0 ? err_wrap(e, rc, "%s", d->conf.journal_path) : 0;
}

static int load_intents(struct disk *d, struct err *e)
{
	struct intent_block b;

	for (uint32_t k = 0; k < intent_log_blocks(d->intents); k++) {
		int rc = block_do(blk_store_blocks(d->file), BLOCK_READ,
				  JOURNAL_INTENT_OFF + (uint64_t)k * JOURNAL_BLOCK, d->intent_block,
				  JOURNAL_BLOCK);

		if (rc < 0)
			return err_set(e, rc, "read the intent log");
		rc = intent_block_decode(&b, k, &d->geo, d->intent_block);
		if (rc < 0)
			d->dirt_known = false;
		d->intent_seq = MAX(d->intent_seq, rc < 0 ? 0 : b.seq);
		intent_log_load(d->intents, k, rc < 0 ? NULL : b.bits);
	}
	intent_log_mark(d->intents, d->map);
	return 0;
}

static int make_books(struct disk *d, struct err *e)
{
	struct intent_log_conf ic = {.bits_per_block = INTENT_BITS, .hot_max = INTENT_HOT_DEFAULT};
	struct epoch_log_conf lc = {
		.queue_bytes = d->conf.queue_bytes,
		.stall_ns = d->conf.stall_ns,
		.wake = on_wake,
		.dropped = on_dropped,
		.failed = on_failed,
		.arg = d,
	};
	struct copier_conf cc = {
		.rate = d->conf.copy_rate,
		.copy_bytes = COPY_BYTES,
		.chunk_bytes = DISK_CHUNK,
		.slots = DISK_COPY_SLOTS,
		.differs = on_differs,
		.arg = d,
	};
	int rc = dirty_map_new(&d->map, d->conf.blk->size, e);

	if (rc < 0)
		return rc;
	ic.map = lc.map = cc.map = d->map;
	rc = intent_log_new(&d->intents, &ic, e);
	if (!rc)
		rc = epoch_log_new(&d->log, &lc, e);
	cc.log = d->log;
	if (!rc)
		rc = copier_new(&d->copier, &cc, e);
	if (rc < 0)
		return rc;
	tracker_init(&d->tracker, &(struct tracker_parts){.map = d->map,
							  .intent = d->intents,
							  .log = d->log,
							  .copier = d->copier});
	return load_intents(d, e);
}

static void begin(struct disk *d)
{
	static const struct journal_events ev = {
		.durable = on_epoch, .applied = on_epoch, .space = on_space, .state = on_state};
	struct journal_stats st;

	journal_set_events(d->journal, &ev, d);
	journal_stats(d->journal, &st);
	d->state = st.state;
	d->gens = st.gens;
	say_why(d, st.why);
	/* A guest that has it is somebody's who will tell us; one that is yet to start has nobody. */
	d->starts_alone = !d->conf.used_path || access(d->conf.used_path, F_OK) < 0;
	/* A server before us was asked to activate it, and no write came yet: what it was to make, we make. */
	if (st.activated)
		d->pending_generation = disk_random();
	d->gate.ops = &gate_ops;
	block_server_set_sink(d->conf.server, &d->gate);
	disk_serve(d, d->state == JOURNAL_ACTIVE);
	if (st.replayed)
		log_info("%llu epochs of the journal were brought to the disk",
			 (unsigned long long)st.replayed);
	log_info("%s%s%s", journal_state_name(d->state), d->why[0] ? ": " : "", d->why);
	changed(d);
}

int disk_open(struct disk **out, const struct disk_conf *c, struct err *e)
{
	struct disk *d = mem_zalloc(sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, -ENOMEM, "disk");
	d->conf = *c;
	d->dirt_known = true;
	d->deadline = CLOCK_NEVER;
	d->intent_block = mem_aligned(JOURNAL_BLOCK, JOURNAL_BLOCK);
	rc = d->intent_block ? open_file(d, e) : err_set(e, -ENOMEM, "disk");
	if (!rc)
		rc = open_journal(d, e);
	if (!rc)
		rc = make_books(d, e);
	if (rc < 0) {
		disk_free(d);
		return rc;
	}
	begin(d);
	*out = d;
	return 0;
}

void disk_free(struct disk *d)
{
	if (!d)
		return;
	if (d->guard)
		drill_guard_end(d->guard, "romulus-disk ends");
	while (d->file && blk_store_blocks(d->file)->ops->wait(blk_store_blocks(d->file)) == 0)
		;
	while (d->data && blk_store_blocks(d->data)->ops->wait(blk_store_blocks(d->data)) == 0)
		;
	if (d->log)
		epoch_log_leave(d->log);
	journal_free(d->journal);
	copier_free(d->copier);
	epoch_log_free(d->log);
	intent_log_free(d->intents);
	dirty_map_free(d->map);
	drill_guard_free(d->guard);
	blk_store_free(d->data);
	blk_store_free(d->file);
	blk_close(d->file_blk);
	mem_free(d->intent_block);
	mem_free(d);
}
