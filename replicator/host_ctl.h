/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of romulusd's control socket: protect, forget, list, status; and that VMs which were activated here are
 * protected again (host_reprotect.c). Its only thread.
 */
#ifndef REPLICATOR_HOST_CTL_H
#define REPLICATOR_HOST_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/reprotect.h"

struct conf;
struct ctl_server;
struct err;
struct supervisor;
struct vm_state;

/* What the commands work on; lives as long as the server. */
struct host {
	const struct conf *conf;
	struct supervisor *workers;
	struct event_log *events; /* NULL: nobody writes them down */
	uint64_t started_ns;
	struct reprotect again;
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
void host_activated(void *ctx, const char *vm);

/* When host_dispatch() is wanted; CLOCK_NEVER: not. */
uint64_t host_deadline(const struct host *h);
void host_dispatch(struct host *h, uint64_t now);

/* host_ctl.c: make `new` durable and start its worker; on failure `old` is durable again. */
MUST_CHECK int host_protect__(struct host *h, const struct vm_state *old,
			      const struct vm_state *new, struct err *e);
/* host_reprotect.c: the VM was activated here once; if it may be, it is protected again. */
void host_want_again__(struct host *h, const struct vm_state *s, uint64_t now);
/* A first start of its worker was refused. */
void host_refused_again__(struct host *h, const char *vm, uint64_t now);

#endif
