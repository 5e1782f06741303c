/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Around the primary's core: turns messages of the data thread, heartbeats, watches and requests into
 * events, carries out the core's actions in order, keeps the figures for status. Control thread.
 */
#ifndef REPLICATOR_PRIMARY_SHELL_H
#define REPLICATOR_PRIMARY_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/conf.h"
#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/hypervisor.h"
#include "lib/stats.h"
#include "lib/wire_v1_drill.h"
#include "netbuffer/netbuf.h"
#include "replicator/checkpoint.h"
#include "replicator/disk_figures.h"
#include "replicator/disk_shell.h"
#include "replicator/hb_shell.h"
#include "replicator/primary.h"
#include "replicator/primary_data.h"
#include "replicator/story.h"
#include "replicator/vm_state.h"
#include "replicator/vote_shell.h"
#include "replicator/worker.h"

#define SHELL_TEXT_SIZE 512
#define SHELL_RATE_WINDOW 32

/* Figures for status; written by the shell, read by primary_ctl.c on the same thread. */
struct primary_figures {
	struct hist pause_us, request_us, switch_us, bitmap_us, copy_us, state_us, resume_us;
	struct hist dirty_pages;
	struct hist lag_us;		      /* checkpoint taken → acknowledged */
	uint64_t taken_at[SHELL_RATE_WINDOW]; /* ring of the newest checkpoints */
	uint64_t n_taken;
	uint64_t acks;
	uint64_t early; /* checkpoints taken early because of held output */
	uint32_t last_pages;
	const char *suspend_path; /* of the newest checkpoint; NULL before the first */
	bool self_aware;
	struct guest_counters guest;
	uint64_t copy_done, copy_total, copy_started_ns, copy_sent;
	uint32_t copy_round;
	struct page_counters wire;
	uint64_t sent_bytes;
	bool ktls;
	unsigned int n_disks;
	struct disk_figures disk[WIRE_MAX_DISKS];
	/* When the copy of the disks began, and what each lacked then. */
	uint64_t disks_started_ns;
	uint64_t disk_lacked[WIRE_MAX_DISKS];
};

struct primary_drill_asked {
	uint32_t id; /* 0: a free place */
	struct ctl_token by;
};

struct primary_shell {
	/* Set by the main before primary_shell_start(), borrowed. */
	const struct conf *conf;
	struct vm_state state;
	const struct guest_info *guest;
	struct netbuf *net;
	struct disk_shell *disks; /* NULL: the VM has none */
	struct primary_data *data;
	sd_event *loop;
	struct ctl_server *ctl;	  /* NULL until there is one */
	struct event_log *events; /* NULL: nobody writes them down */
	struct flight *flight;	  /* the same */

	/* Private. */
	struct primary core;
	struct ckpt_device *device[CHECKPOINT_MAX_DEVICES];
	unsigned int n_devices;
	struct hb_shell hb;
	struct vote_shell vote; /* under policy arbiter */
	struct pd_msg session;	/* the LINK_UP of the session, while there is one */
	bool in_session;
	bool hb_tried; /* heartbeats were started in this session, or could not be */
	sd_event_source *timer;
	struct primary_figures fig;
	struct story story;
	const struct vote_answer *said; /* while it is dealt with */
	uint64_t problem_told_ns;
	uint64_t pending_checkpoint; /* prepare() said -EAGAIN; EPOCH_NONE if none */
	bool pending_last;	     /* ... its `last` */
	bool lapsed;  /* a release came too late: this session lets nothing out any more */
	bool opening; /* the lanes are being opened */
	bool pressure_told;
	bool rebuild;  /* as soon as that may be: start afresh, the guest or its lanes changed */
	bool tampered; /* ... and it was the lanes */
	bool deposed; /* the peer runs the VM, our copy is gone: its lanes go too, held output and all */
	bool finished;
	int exit_code;
	struct ctl_token unprotect; /* who waits for the end */
	struct ctl_token switchover;
	uint64_t verify_pass; /* the newest that was asked for, 0 none */
	uint32_t drill_id;    /* of the newest question about drills */
	struct primary_drill_asked drill[WIRE_DRILLS_UNANSWERED];
	char problem[SHELL_TEXT_SIZE];
	char hint[SHELL_TEXT_SIZE];
};

/* Attaches to the loop and feeds the first event. adopt: held output was found. */
MUST_CHECK int primary_shell_start(struct primary_shell *s, const struct timing *t,
				   uint32_t arena_pages, bool adopt, struct err *e);
/* The system, or the operator, ends us: the loop ends, nothing starts afresh, output stays as it is. */
void primary_shell_asked_to_end(struct primary_shell *s);
/* Stops heartbeats and timers. Output stays as it is. */
void primary_shell_stop(struct primary_shell *s);

/* Feeds one event to the core and does what it says. */
void primary_shell_event(struct primary_shell *s, const struct primary_event *ev);

/* One message of the data thread. */
void primary_shell_message(struct primary_shell *s, const struct pd_msg *m);

/* The guest's watches became readable. */
void primary_shell_guest_event(struct primary_shell *s, enum leave_reason leave, const char *text);
/* P1: somebody took the lanes away, or what leads output into them. */
void primary_shell_tampered(struct primary_shell *s, const char *text);

/* The command `drill` of the control socket, and what the backup answers (primary_drill.c). */
int primary_drill_cmd(void *ctx, struct ctl_request *rq, struct err *e);
void primary_drill_says(struct primary_shell *s, const struct pd_msg *m);

/* Registers status, verify, drill, unprotect and switchover, and what ctl_std.h has. */
MUST_CHECK int primary_ctl_register(struct primary_shell *s, struct ctl_server *ctl, struct err *e);

/*
 * The VM is to run at the peer: refused with the reason, or answered later, by one of the two below. -EBUSY.
 */
MUST_CHECK int primary_switchover(struct primary_shell *s, struct ctl_request *rq, struct err *e);
/* The worker ends: deposed, as it was to be, or not. Fine when nobody waits. */
void primary_switchover_done(struct primary_shell *s);
/* Nothing comes of it, the guest goes on here (P4). What was wrong, if anybody knows, is in `problem`. */
void primary_switchover_failed(struct primary_shell *s);

/*
 * Has the peer's disks compared with those here; what comes of it is in the figures, by the pass's number. -ENODEV: there
 * are none, -ENOTCONN: not protected now, -EBUSY: it is done already.
 */
MUST_CHECK int primary_verify(struct primary_shell *s, struct err *e);

#endif
