/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Around the backup's core: messages of the data thread, heartbeats, the standby's child and requests become
 * events; actions are carried out in order. One session. Control thread.
 */
#ifndef REPLICATOR_BACKUP_SHELL_H
#define REPLICATOR_BACKUP_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/conf.h"
#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/stats.h"
#include "lib/wire_v1_disk.h"
#include "replicator/announce.h"
#include "replicator/backup.h"
#include "replicator/backup_data.h"
#include "replicator/drill_shell.h"
#include "replicator/hb_shell.h"
#include "replicator/standby.h"
#include "replicator/story.h"
#include "replicator/vm_state.h"
#include "replicator/vote_shell.h"
#include "replicator/worker.h"

struct backup_shell {
	/* Set by the main, borrowed. */
	const struct conf *conf;
	struct backup_data *data;
	sd_event *loop;
	int status_fd;
	const char *facts_tool; /* NULL: the installed romulus-facts */
	const char *conf_path;	/* for it */
	const char *
		domain_tool; /* NULL: the installed romulus-domain, asked before a session begins */
	const char *drill_program; /* NULL: the installed romulus-drill */

	/* Private. */
	struct vm_state state; /* the VM's once HELLO came */
	struct backup core;
	bool begun;		  /* the core is initialised */
	struct event_log *events; /* NULL until the peer is welcome, or if there cannot be one */
	struct flight *flight;	  /* the same */
	struct story story;
	const struct vote_answer *said; /* while it is dealt with */
	struct hb_shell hb;
	struct vote_shell vote; /* under policy arbiter */
	struct standby *standby;
	uint64_t mem_pages;	  /* of the session's VM */
	struct drill_shell drill; /* has the configuration once CONFIG came */
	sd_event_source *standby_io;
	sd_event_source *timer;
	struct announce *announce;
	struct ctl_server *ctl;
	int lock_fd;
	bool finished;
	bool abandoning; /* BEV_ABANDONED is owed when the standby is gone, and the disks have left */
	bool standby_gone;     /* ... the first of it */
	bool disks_leaving;    /* ... the second is awaited */
	bool name_taken;       /* the standby waits until the VM's name is free here */
	uint64_t run_again_ns; /* then it is tried; CLOCK_NEVER */
	int exit_code;
	struct ctl_token failover_by;
	struct ctl_token supersede_by;

	/* For status. */
	uint32_t domid;
	uint64_t copy_done, copy_total, received_bytes;
	uint32_t copy_round;
	struct page_counters wire;
	struct hist epoch_pages, apply_us;
	uint64_t acked_at_ns;
	uint64_t epochs;
	unsigned int n_disks;
	struct disk_figures disk[WIRE_MAX_DISKS];
	char problem[ERR_TEXT_SIZE];
	char hint[ERR_TEXT_SIZE];
};

/* 0 or negative errno. */
MUST_CHECK int backup_shell_start(struct backup_shell *s, struct err *e);
/* A standby that does not run and was not abandoned is left to its child, which destroys it. */
void backup_shell_stop(struct backup_shell *s);

void backup_shell_message(struct backup_shell *s, struct bd_msg *m);
void backup_shell_event(struct backup_shell *s, const struct backup_event *ev);

/* The VM was activated here and needs this worker no more. */
void backup_shell_leave(struct backup_shell *s);

/* A drill (backup_drill_shell.c): CONFIG came, json is the shell's from here on. */
void backup_drill_start_take(struct backup_shell *s, char *json, size_t json_size);
/* The peer asks about drills; the answer goes to it. */
void backup_drill_asked(struct backup_shell *s, const struct bd_msg *m);
/* The command `drill` of the control socket. */
int backup_drill_cmd(void *ctx, struct ctl_request *rq, struct err *e);
/* After each step of the core: a drill ends when there is no standby any more. Does not wait. */
void backup_drill_make_way(struct backup_shell *s);

/* Registers status, failover, supersede, retire, drill. backup_ctl.c. */
MUST_CHECK int backup_ctl_register(struct backup_shell *s, struct err *e);

/* ASK_FACTS came: what romulus doctor is answered. It takes seconds; there is no session. backup_facts_shell.c. */
void backup_shell_facts(struct backup_shell *s, const struct bd_msg *ask);

/* HELLO came: may this session be, and what is in its way? backup_welcome_shell.c. 0: welcome; else *refuse. */
MUST_CHECK int backup_shell_welcome(struct backup_shell *s, const struct bd_msg *hello,
				    struct backup_conf *bc, struct bd_cmd *refuse);

#endif
