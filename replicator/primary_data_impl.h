/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the primary's data thread share among themselves; nobody else includes it. primary_data.c has the thread
 * and its queues, and calls the others, which stand here in their order: each calls only what stands below it. Data thread, but
 * where another is named.
 */
#ifndef REPLICATOR_PRIMARY_DATA_IMPL_H
#define REPLICATOR_PRIMARY_DATA_IMPL_H

#include <pthread.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/queue.h"
#include "replicator/arena.h"
#include "replicator/primary_data.h"
#include "replicator/primary_link.h"
#include "replicator/primary_ports.h"

struct primary_data {
	struct pd_conf conf;
	struct guest *guest;
	struct queue *commands; /* control → data */
	struct queue *messages; /* data → control */
	int urgent_fd;
	pthread_t thread;
	bool started;

	/* The thread's own. */
	struct primary_link link;
	struct page_enc *enc;
	struct arena arena;
	struct checkpoint cp;
	char *json; /* WIRE_CONFIG_MAX + 1 bytes */
	uint64_t health_at_ns;
	uint64_t progress_at_ns;
	enum guest_health health_said;
	uint64_t ext_lost; /* so often was told */
	bool stop;
	bool parked; /* the guest is suspended since the last checkpoint, until RESUME */
	struct primary_ports *disks; /* NULL: the VM has none */
	bool head_sent;		     /* CONFIG and STATIC of this session are, with DISKS */
	uint64_t figures_at_ns;
};

/* ---- messages ---- */

/* Stamped with the present, unless it says when it was. */
static inline void post(struct primary_data *d, struct pd_msg *m)
{
	if (!m->at_ns)
		m->at_ns = clock_now();
	if (!queue_put(d->messages, m))
		die("the control thread does not read its messages");
}

static inline void post_text(struct primary_data *d, enum pd_msg_type type, uint64_t epoch,
			     const char *text)
{
	struct pd_msg m = {.type = type, .epoch = epoch};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

/* The session is over, and it is told: there is no connection from here on. */
static inline void drop_link(struct primary_data *d, const char *text)
{
	primary_link_close(&d->link);
	d->head_sent = false;
	guest_logdirty_disable(d->guest);
	post_text(d, PD_LINK_DOWN, 0, text);
}

/* ---- primary_data_copy.c ---- */

/* PD_START_COPY, PD_DISKS_SYNC. What comes of them is told. */
void primary_data_start_copy__(struct primary_data *d);
void primary_data_disks_sync__(struct primary_data *d);

/* ---- primary_data_epochs.c ---- */

/* PD_CHECKPOINT, PD_RESUME, PD_THROTTLE. What comes of them is told. A guest that cannot be resumed ends the process. */
void primary_data_checkpoint__(struct primary_data *d, const struct pd_cmd *cmd);
void primary_data_resume__(struct primary_data *d);
void primary_data_throttle__(struct primary_data *d, const struct pd_cmd *cmd);

/* ---- primary_data_disks.c ---- */

/* Of a VM that has any. Control thread, before there is a data thread. 0 or negative errno. */
MUST_CHECK int primary_data_set_up_disks__(struct primary_data *d, struct err *e);
/* Passes on what there is of the disks, if there are any. Negative: the session is over, and it was told. */
int primary_data_pump_disks__(struct primary_data *d);
/* PD_DISKS_ALONE, PD_DISKS_DEPOSED: tells `answer` when the disks know it, or at the latest after SETTLE_NS. */
void primary_data_settle_disks__(struct primary_data *d, enum pd_msg_type answer);

/* ---- primary_data_health.c ---- */

/* Says each change of the guest's health once. */
void primary_data_check_health__(struct primary_data *d);
/* The guest is not what can be protected, and why. */
void primary_data_post_guest__(struct primary_data *d, enum leave_reason leave, const char *text);
/* Of a suspend that did not end with SUSPEND_DONE. */
enum leave_reason primary_data_leave_of_suspend__(const struct suspend_result *s);

/* ---- primary_data_session.c ---- */

/* All that the peer has said; negative errno when the session is over (and it was told). */
int primary_data_read_peer__(struct primary_data *d);
/* PD_CONNECT, PD_DISCONNECT, PD_BYE, PD_HANDOVER, PD_DRILL (its text is freed). What comes of them is told. */
void primary_data_connect__(struct primary_data *d, const struct pd_cmd *cmd);
void primary_data_disconnect__(struct primary_data *d);
void primary_data_bye__(struct primary_data *d, const struct pd_cmd *cmd);
void primary_data_handover__(struct primary_data *d, const struct pd_cmd *cmd);
void primary_data_drill__(struct primary_data *d, const struct pd_cmd *cmd);
/* What went over this session's link so far, for SENT and COPY_PROGRESS. */
void primary_data_count_wire__(struct primary_data *d, struct pd_msg *m);

#endif
