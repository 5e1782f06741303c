/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ears of a drill: the packet socket in its network namespace, the terminal of the copy's console, and, where the operator
 * has one, the command that is the probe. The drill's process; nothing waits.
 */
#ifndef REPLICATOR_DRILL_PROBE_H
#define REPLICATOR_DRILL_PROBE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/compiler.h"
#include "replicator/drill_ping.h"
#include "replicator/drill_report.h"

struct err;

struct drill_probe {
	struct drill_ping ping;
	int packet_fd;
	int console_fd;
	uint64_t begun_ns;
	uint64_t ask_ns;  /* when to ask next */
	uint64_t type_ns; /* when to press the return key next */
	bool typed;
	bool console_moved;

	/* The command. */
	pid_t pid; /* 0: none */
	int pidfd;
	int out_fd;
	bool over;
	int status; /* of wait; as a shell says it */
	size_t used;
	char output[DRILL_OUTPUT_SIZE];
};

void drill_probe_init(struct drill_probe *p);
/* Ends the command. A second call is a no-op. */
void drill_probe_fini(struct drill_probe *p);

/* Within the namespace: listens at that device. */
MUST_CHECK int drill_probe_listen(struct drill_probe *p, const char *ifname, struct err *e);
/* Watches the console there; without it the ping has to do. */
MUST_CHECK int drill_probe_console(struct drill_probe *p, const char *path, struct err *e);
/*
 * Within the namespace: runs a command line by the shell, or, without arguments, the program at that path. env ends with
 * NULL. Its output is kept, the end of it.
 */
MUST_CHECK int drill_probe_command(struct drill_probe *p, const char *command, bool is_path,
				   const char *const *env, struct err *e);

#define DRILL_PROBE_FDS 4
unsigned int drill_probe_poll(const struct drill_probe *p, struct pollfd *fds);
/* At least every DRILL_PROBE_STEP_MS, and when one of the descriptors is readable. */
#define DRILL_PROBE_STEP_MS 200
void drill_probe_step(struct drill_probe *p, uint64_t now);

/* "ping", "arp", "console": what the copy answered by; NULL: nothing yet. */
const char *drill_probe_answer(const struct drill_probe *p);

#endif
