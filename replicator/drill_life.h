/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One drill from its beginning to its end, in a process of its own (drill_main.c): counts the memory, makes the network, copies
 * the standby, lets the copy live, probes it, takes all of it away. What it says to the worker is a report (JSON, one packet);
 * what it hears is "end TEXT", and the end of the socket, which means the same. One thread.
 */
#ifndef REPLICATOR_DRILL_LIFE_H
#define REPLICATOR_DRILL_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/drill_disks.h"
#include "replicator/drill_probe.h"
#include "replicator/drill_report.h"
#include "replicator/drill_request.h"

struct drill_share;
struct err;
struct standby;
struct xen_drill;

/* What only the main can wire: the network. All return 0 or a negative errno. */
struct drill_net {
	/* The bridge, up, without any way out; bridge is its name. */
	int (*make)(void *arg, struct err *e);
	int (*remove)(void *arg, struct err *e);
	/* What is opened between the two is in the drill's namespace. */
	int (*enter)(void *arg, struct err *e);
	int (*leave)(void *arg, struct err *e);
	const char *bridge;
	const char *inside; /* the device in the namespace */
	void *arg;
};

/* Of the drill's process and what it starts, from its first moment on: what the VM needs comes before. */
#define DRILL_NICE 19

struct drill_life {
	/* Set by the main; borrowed. */
	const struct drill_net *net;
	struct drill_share *share;
	struct xen_drill *xen;
	int ctl_fd;
	const char *json; /* libxl's configuration of the VM */
	size_t json_size;
	const char *domain_tool; /* NULL: the installed romulus-domain */
	struct drill_request request;
	bool probe_is_path;	  /* the probe is a program without arguments */
	struct drill_disks disks; /* names were added; of a VM without any: none */

	struct drill_report report; /* vm and host are set */

	/* Private. */
	struct standby *copy;
	struct drill_probe probe;
	uint32_t standby_domid;
	int stop; /* a negative errno ends what is under way */
	bool built, running, gone, left;
	bool net_made;
	bool command_begun;
	uint64_t told_ns;
	uint64_t look_ns;
};

/* True: nothing is left of it. The verdict is in the report, and was said. */
bool drill_life_run(struct drill_life *l);

/* Instead: it could not even begin. */
void drill_life_refuse(struct drill_life *l, const char *why);

#endif
