/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_ctl.h. The answer's members are in romulus-disk(8). */
#include "disk/disk_ctl.h"

#include <errno.h>
#include <string.h>

#include "disk/backup_disk.h"
#include "disk/blk_io.h"
#include "disk/block_server.h"
#include "disk/disk_state.h"
#include "disk/epoch_log.h"
#include "disk/port_shell.h"
#include "disk/primary_disk.h"
#include "lib/clock.h"
#include "lib/ctl_server.h"
#include "lib/ctl_std.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"

static void put_hist(struct json *j, const char *key, const struct hist *h)
{
	struct json *o = json_out_object(j, key);

	json_out_u64(o, "count", h->count);
	json_out_u64(o, "p50", hist_percentile(h, 0.50) / NS_PER_US);
	json_out_u64(o, "p99", hist_percentile(h, 0.99) / NS_PER_US);
	json_out_u64(o, "max", h->max / NS_PER_US);
}

static void put_stats(struct json *j, const struct block_stats *st)
{
	json_out_u64(j, "reads", st->reads);
	json_out_u64(j, "writes", st->writes);
	json_out_u64(j, "zeroes", st->zeroes);
	json_out_u64(j, "discards", st->discards);
	json_out_u64(j, "flushes", st->flushes);
	json_out_u64(j, "read_bytes", st->read_bytes);
	json_out_u64(j, "write_bytes", st->write_bytes);
	json_out_u64(j, "errors", st->errors);
	json_out_u64(j, "refused", st->refused);
	json_out_u64(j, "dropped", st->dropped);
	json_out_u64(j, "connections", st->connections);
	json_out_u64(j, "in_flight", st->in_flight);
	json_out_u64(j, "parked", st->parked);
	json_out_u64(j, "blocked", st->blocked);
	json_out_u64(j, "waiting", st->waiting);
	json_out_u64(j, "on_disk", st->on_disk);
	json_out_u64(j, "held", st->held);
	put_hist(j, "read_us", &st->read_ns);
	put_hist(j, "write_us", &st->write_ns);
	put_hist(j, "flush_us", &st->flush_ns);
}

static void put_disk(struct json *j, const struct disk_ctl *c)
{
	const struct disk *d = c->disk;
	struct primary_disk_stats p;
	struct journal_stats st;

	primary_disk_stats(c->primary, &p);
	journal_stats(d->journal, &st);
	json_out_text(j, "state", journal_state_name(d->state));
	json_out_text(j, "why", d->why[0] ? d->why : NULL);
	json_out_text(j, "role", c->port ? port_shell_role(c->port) : NULL);
	json_out_text(j, "vm", c->port ? port_shell_vm(c->port) : NULL);
	json_out_textf(j, "generation", "%016llx", (unsigned long long)d->gens.current);
	json_out_textf(j, "bitmap", "%016llx", (unsigned long long)d->gens.bitmap);
	json_out_u64(j, "dirty_bytes", epoch_log_behind(d->log));
	json_out_u64(j, "streaming", (uint64_t)p.streaming);
	json_out_u64(j, "epoch", p.epoch);
	json_out_u64(j, "copy_total", p.total);
	json_out_u64(j, "copy_left", p.left);
	json_out_u64(j, "copied_bytes", p.copied);
	json_out_u64(j, "equal_bytes", p.equal);
	json_out_u64(j, "verifying", (uint64_t)p.verifying);
	json_out_u64(j, "verified_bytes", p.verified);
	json_out_u64(j, "differed_bytes", p.differed);
	json_out_u64(j, "busy_bytes", p.busy);
	json_out_u64(j, "queue_fill", p.fill);
	json_out_u64(j, "journal_bytes", st.ring_size);
	json_out_u64(j, "journal_used", st.ring_used);
}

static int on_verify(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct disk_ctl *c = ctx;
	int rc = c->primary ? primary_disk_verify(c->primary) : -ENOTCONN;

	if (rc == -EBUSY)
		return err_setx(e, rc, "a verification is under way");
	return rc < 0 ? err_setx(e, rc, "the disk is not protected from this host") : 0;
}

/* ---- surrender ---- */

/* Longer than the journal needs, shorter than whoever asks waits. */
#define SURRENDER_NS (4 * NS_PER_SEC)

static int may_surrender(const struct disk_ctl *c, struct err *e)
{
	const char *name, *role;

	if (!c->disk || !c->port)
		return err_setx(e, -EAGAIN, "the disk is not open yet");
	name = c->disk->conf.name;
	role = port_shell_role(c->port);
	if (role && !strcmp(role, "primary"))
		return err_setx(e, -EBUSY,
				"VM %s is protected from this host, on this copy of disk \"%s\": "
				"unprotect and end it first",
				port_shell_vm(c->port), name);
	if (backup_disk_busy(c->backup))
		return err_setx(e, -EBUSY,
				"disk \"%s\" follows the other host's already: there is nothing to "
				"give up",
				name);
	return disk_may_surrender(c->disk, e);
}

static void put_surrender(struct json *j, const struct disk_ctl *c)
{
	const struct disk *d = c->disk;

	json_out_text(j, "disk", d->conf.name);
	json_out_text(j, "vm", port_shell_vm(c->port));
	json_out_text(j, "state", journal_state_name(d->state));
	json_out_textf(j, "generation", "%016llx", (unsigned long long)d->gens.current);
	json_out_u64(j, "dirty_bytes", epoch_log_behind(d->log));
	json_out_bool(j, "surrendered", disk_is_surrendered(d));
}

static int on_surrender(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct disk_ctl *c = ctx;
	bool dry_run = rq->argc == 1;
	int rc;

	if (dry_run && strcmp(rq->argv[0], "dry-run") != 0)
		return err_setx(e, -EINVAL, "surrender: \"%.32s\" is not dry-run", rq->argv[0]);
	rc = may_surrender(c, e);
	if (rc < 0)
		return rc;
	put_surrender(rq->reply, c);
	if (dry_run || disk_is_surrendered(c->disk))
		return 0;
	if (c->surrenders.id || disk_wants(c->disk, DISK_WISH_SURRENDER))
		return err_setx(e, -EBUSY, "disk \"%s\" is being given up", c->disk->conf.name);
	log_warn("the operator gives up what is here, generation %016llx",
		 (unsigned long long)c->disk->gens.current);
	disk_want(c->disk, DISK_WISH_SURRENDER);
	c->ctl = rq->server;
	c->surrenders = rq->token;
	ctl_server_later(rq, SURRENDER_NS);
	return 0;
}

void disk_ctl_go_on(struct disk_ctl *c)
{
	struct err e = ERR_INIT;
	int rc = 0;

	if (!c->surrenders.id || disk_wants(c->disk, DISK_WISH_SURRENDER))
		return;
	if (!disk_is_surrendered(c->disk))
		rc = err_setx(&e, -EIO, "disk \"%s\" could not be given up, it is %s%s%.200s",
			      c->disk->conf.name, journal_state_name(c->disk->state),
			      c->disk->why[0] ? ": " : "", c->disk->why);
	ctl_server_finish(c->ctl, c->surrenders, rc, &e);
	c->surrenders.id = 0;
}

static int on_status(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct disk_ctl *c = ctx;
	const struct nbdwire_export *ex = block_server_export(c->server);

	json_out_text(rq->reply, "disk", ex->name);
	json_out_u64(rq->reply, "size", ex->size);
	json_out_u64(rq->reply, "block", ex->block);
	json_out_text(rq->reply, "engine", c->blk->engine);
	if (c->nbd_index < 0)
		json_out_text(rq->reply, "device", NULL);
	else
		json_out_textf(rq->reply, "device", "/dev/nbd%d", c->nbd_index);
	if (c->disk)
		put_disk(rq->reply, c);
	put_stats(rq->reply, block_server_stats(c->server));
	return 0;
}

int disk_ctl_add(struct ctl_server *s, struct disk_ctl *ctx)
{
	const struct ctl_command status = {"status", "  what the disk does", 0, 0, on_status, ctx};
	const struct ctl_command verify = {
		"verify", "  compare the peer's copy with this one", 0, 0, on_verify, ctx};
	const struct ctl_command surrender = {
		"surrender",
		"[dry-run]  give up what is here: it is to be overwritten from the other host",
		0,
		1,
		on_surrender,
		ctx};
	int rc = ctl_std_add(s, "romulus-disk");

	if (!rc)
		rc = ctl_server_add(s, &status);
	if (!rc)
		rc = ctl_server_add(s, &verify);
	return rc ? rc : ctl_server_add(s, &surrender);
}
