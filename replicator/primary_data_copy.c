// SPDX-License-Identifier: GPL-2.0-or-later
/* The head of a session and the first copy, on the primary's data thread; see primary_data_impl.h. */
#include "replicator/primary_data_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/spawn.h"
#include "replicator/first_copy.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
#define PROGRESS_NS (100 * NS_PER_MS)
#define CONFIG_TIMEOUT_NS (20 * NS_PER_SEC)

static int copy_between(void *arg, const struct first_copy *fc, struct err *e)
{
	struct primary_data *d = arg;
	struct pd_msg m = {.type = PD_COPY_PROGRESS};
	uint64_t now = clock_now();

	if (now >= d->health_at_ns)
		primary_data_check_health__(d);
	if (primary_data_pump_disks__(d) < 0)
		return err_setx(e, -ENOTCONN, "the session ended");
	if (now < d->progress_at_ns)
		return 0;
	d->progress_at_ns = now + PROGRESS_NS;
	m.round = fc->round;
	m.done = fc->round_done;
	m.total = fc->round_pages;
	m.epoch = fc->sent;
	primary_data_count_wire__(d, &m);
	post(d, &m);
	if (primary_data_read_peer__(d) < 0)
		return err_setx(e, -ENOTCONN, "the session ended");
	return 0;
}

/* libxl's configuration of the domain, fresh: a device may have been attached since the last session. */
static int read_config(struct primary_data *d, size_t *size, struct err *e)
{
	char domid[16], said[512];
	const char *const argv[] = {DOMAIN_TOOL, "config", domid, NULL};
	/* A warning of libxl is not part of it. */
	struct spawn sp = {.argv = argv,
			   .timeout_ns = CONFIG_TIMEOUT_NS,
			   .out = d->json,
			   .out_size = WIRE_CONFIG_MAX + 1,
			   .err = said,
			   .err_size = sizeof(said)};
	int rc;

	snprintf(domid, sizeof(domid), "%u", d->guest->info.domid);
	rc = spawn_check(&sp, e);
	if (rc < 0)
		return err_wrap(e, rc, "the guest's configuration");
	if (sp.out_cut || sp.out_used < 2)
		return err_setx(e, -EMSGSIZE, "the guest's configuration has no usable size");
	*size = sp.out_used;
	return 0;
}

static int start_session(struct primary_data *d, struct err *e)
{
	const struct guest_static *st;
	size_t size = 0;
	int rc;

	page_enc_free(d->enc);
	d->enc = NULL;
	memset(&d->cp.told, 0, sizeof(d->cp.told));
	rc = page_enc_new(&d->enc, d->conf.cache_slots, e);
	if (rc < 0)
		return rc;
	rc = guest_static_state(d->guest, &st, e);
	if (rc < 0)
		return rc;
	rc = read_config(d, &size, e);
	if (rc < 0)
		return rc;
	return primary_link_send_config(&d->link, d->json, size, st,
					clock_now() + d->conf.timing.send_timeout_ns, e);
}

void primary_data_disks_sync__(struct primary_data *d)
{
	struct err e = ERR_INIT;
	int rc;

	if (!d->link.conn)
		return;
	guest_settle(d->guest);
	rc = start_session(d, &e);
	d->head_sent = rc == 0;
	if (rc == 0)
		rc = primary_ports_begin(d->disks, d->link.conn, &e);
	if (rc == -ENODEV)
		post_text(d, PD_DISK_DROPPED, 0, e.text);
	else if (rc < 0)
		drop_link(d, e.text);
}

void primary_data_start_copy__(struct primary_data *d)
{
	struct first_copy fc = {
		.guest = d->guest,
		.conn = d->link.conn,
		.dirty = d->cp.dirty,
		.arena_pages = d->conf.arena_pages,
		.send_timeout_ns = d->conf.timing.send_timeout_ns,
		.between = copy_between,
		.arg = d,
	};
	struct pd_msg failed = {.type = PD_COPY_FAILED, .leave = LEAVE_RESYNC};
	struct err e = ERR_INIT;
	int rc;

	if (!d->link.conn)
		return;
	guest_settle(d->guest);
	rc = d->head_sent ? 0 : start_session(d, &e);
	if (rc == 0) {
		fc.enc = d->enc;
		rc = first_copy_run(&fc, &e);
	}
	if (rc == 0) {
		post_text(d, PD_COPY_DONE, 0, "");
		return;
	}
	if (!d->link.conn)
		return; /* told already, with its reason */
	if (rc == -ENOSPC || rc == -ESTALE) {
		snprintf(failed.text, sizeof(failed.text), "%s", e.text);
		post(d, &failed);
		return;
	}
	drop_link(d, e.text);
}
