/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of romulusd's control socket: protect, forget, list, status. Its only thread. */
#ifndef REPLICATOR_HOST_CTL_H
#define REPLICATOR_HOST_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct conf;
struct ctl_server;
struct supervisor;

/* What the commands work on; lives as long as the server. */
struct host {
	const struct conf *conf;
	struct supervisor *workers;
	struct event_log *events; /* NULL: nobody writes them down */
	uint64_t started_ns;
};

/* 0 or negative errno. */
MUST_CHECK int host_ctl_add(struct ctl_server *s, struct host *h);

/*
 * After romulusd's start: watch the workers that live, start those that the durable states want. What is
 * broken is logged and left.
 */
void host_adopt_all(struct host *h, uint64_t now);

/* The hooks of struct supervisor_conf; ctx is the host. */
bool host_wanted(void *ctx, const char *vm);
void host_ended(void *ctx, const char *vm, int code, bool fresh);
void host_told(void *ctx, const char *vm, const char *kind, const char *text);

#endif
