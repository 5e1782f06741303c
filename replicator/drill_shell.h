/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup worker's hold on a drill: starts romulus-drill, hands on what it reports, ends it when nobody asks any more, or at
 * once when the standby becomes something else. A drill decides nothing and is not the core's affair; that it makes way is
 * this file's. Control thread, on the worker's loop.
 */
#ifndef REPLICATOR_DRILL_SHELL_H
#define REPLICATOR_DRILL_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/conf.h"
#include "lib/wire_v1_disk.h"
#include "replicator/drill_report.h"
#include "replicator/drill_request.h"
#include "replicator/drill_rule.h"

struct drill_share;
struct err;
struct json;

struct drill_shell_ops {
	/* The data thread is to tell into the share, which becomes its own. */
	void (*begin_take)(void *arg, struct drill_share *share);
	/* ... and no more. */
	void (*end)(void *arg);
};

struct drill_shell {
	/* Set by the worker before the first request; borrowed. */
	sd_event *loop;
	const struct conf *conf;
	const struct drill_shell_ops *ops;
	void *arg;
	const char *program; /* NULL: the installed romulus-drill */
	const char *vm;
	uint64_t mem_pages;
	char *json; /* the VM's configuration: the shell's own */
	size_t json_size;
	unsigned int n_disks; /* before each request */
	const char *disk[WIRE_MAX_DISKS];

	/* Private. */
	struct drill_rule rule;
	pid_t pid; /* 0: no process */
	int pidfd;
	int ctl_fd;
	sd_event_source *ctl_io, *pid_io, *timer;
	size_t size; /* of the newest report; 0: there was no drill */
	bool over;   /* ... is the last one */
	char report[DRILL_REPORT_MAX];
};

void drill_shell_init(struct drill_shell *d);
/* The worker ends: the drill notices, and takes itself away. */
void drill_shell_fini(struct drill_shell *d);

struct drill_asked {
	const char *text; /* drill_request.h */
	size_t size;
	bool by_peer; /* from the other host: probes are those of this one's operator */
	bool may;     /* drill_rule_may() */
};

/* The report goes into reply, as "drill". 0, -EINVAL, -EBUSY, -EPERM, -ENOENT (no drill to ask for), ... */
MUST_CHECK int drill_shell_request(struct drill_shell *d, const struct drill_asked *a,
				   struct json *reply, struct err *e);

/* Ends a drill, if there is one; why is a sentence for its report. Returns at once. */
void drill_shell_end(struct drill_shell *d, const char *why);

#endif
