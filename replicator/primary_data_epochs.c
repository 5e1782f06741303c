// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's data thread takes epochs and sends them; see primary_data_impl.h. */
#include "replicator/primary_data_impl.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"

static void send_epoch(struct primary_data *d, uint64_t epoch)
{
	struct pd_msg sent = {.type = PD_SENT, .epoch = epoch};
	struct err e = ERR_INIT;
	int rc = checkpoint_send(&d->cp, epoch, d->enc, d->link.conn,
				 clock_now() + d->conf.timing.send_timeout_ns, &e);

	if (rc == -ENODATA && d->link.conn)
		return; /* the disk's end was told: there will be no such epoch */
	if (rc < 0) {
		if (d->link.conn)
			drop_link(d, e.text);
		return;
	}
	if (d->disks)
		primary_ports_epoch_over(d->disks);
	/* The lease counts from before the backup can have had all of it. */
	sent.at_ns = d->cp.end_ns;
	primary_data_count_wire__(d, &sent);
	post(d, &sent);
}

/* The guest's AVX registers are wrong from here on: the one harm that a checkpoint can do and not undo. */
static void tell_ext_lost(struct primary_data *d)
{
	uint64_t lost = d->guest->counters.ext_lost;

	if (lost == d->ext_lost)
		return;
	log_err("a vCPU's extended registers (AVX) could not be put back after a checkpoint, %llu times so far: "
		"programs in the guest that use them may compute wrongly",
		(unsigned long long)lost);
	d->ext_lost = lost;
}

void primary_data_checkpoint__(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct pd_msg taken = {.type = PD_TAKEN, .epoch = cmd->epoch};
	struct err e = ERR_INIT;

	d->cp.stay = cmd->last;
	switch (checkpoint_take(&d->cp, cmd->epoch, clock_now() + d->conf.timing.suspend_timeout_ns,
				&e)) {
	case CHECKPOINT_TAKEN:
		d->parked = cmd->last;
		taken.pages = (uint32_t)d->cp.dirty_pages;
		taken.phases = d->cp.phases;
		taken.suspend_path = d->cp.suspend.path;
		taken.self_aware = d->cp.state->self_aware;
		taken.guest = d->guest->counters;
		post(d, &taken);
		tell_ext_lost(d);
		/* They collect while the pages are encoded. */
		if (d->disks)
			primary_ports_ask_end(d->disks, cmd->epoch);
		if (d->link.conn)
			send_epoch(d, cmd->epoch);
		return;
	case CHECKPOINT_ABORTED:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		return;
	case CHECKPOINT_OVERFLOW:
	case CHECKPOINT_RESYNC:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		primary_data_post_guest__(d, LEAVE_RESYNC, e.text);
		return;
	case CHECKPOINT_GUEST:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		primary_data_post_guest__(d, primary_data_leave_of_suspend__(&d->cp.suspend),
					  e.text);
		return;
	case CHECKPOINT_STUCK:
		/* The supervisor starts us again, and a fresh handle resumes it. */
		die("the guest cannot be resumed: %s", e.text);
	}
}

void primary_data_resume__(struct primary_data *d)
{
	int rc;

	if (!d->parked)
		return;
	d->parked = false;
	rc = checkpoint_resume(&d->cp);
	/* That it is gone is seen with its health. */
	if (rc < 0 && rc != -ESRCH)
		die("the guest cannot be resumed: %s", strerror(-rc));
}

void primary_data_throttle__(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (guest_cpu_cap(d->guest, cmd->percent, &e) < 0)
		log_warn("guest's CPU cap of %u%%: %s", cmd->percent, e.text);
}
