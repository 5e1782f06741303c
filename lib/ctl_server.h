/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control socket of a daemon: one request per line in, one JSON object per line out, in order. Runs on the
 * control thread's sd-event loop, at the lowest priority, and never blocks it: reads and writes do not
 * wait, each client has one request at a time, a bounded line and a bounded answer, and is dropped when it
 * is idle or does not read. Only root and the daemon's own user are served (SO_PEERCRED).
 *
 *	request:	command arg "arg with space" arg\n		at most CTL_LINE_MAX bytes
 *	answer:		{"ok":true,...}\n  or  {"ok":false,"error":"text","code":"EBUSY"}\n
 */
#ifndef LIB_CTL_SERVER_H
#define LIB_CTL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/ctl_line.h"

struct ctl_server;
struct err;
struct json;

#define CTL_MAX_CLIENTS 16
#define CTL_MAX_COMMANDS 32
#define CTL_ANSWER_MAX (256u << 10)
#define CTL_IDLE_NS (60ull * 1000000000)

/* Names a request that is answered later. Stays valid, as "nobody", after its client has gone. */
struct ctl_token {
	uint64_t id; /* 0: none */
};

/* One request; valid during the callback only. */
struct ctl_request {
	struct ctl_server *server;
	struct ctl_token token; /* see ctl_server_later() */
	int argc;		/* words after the command, within the registered bounds */
	char *const *argv;	/* argv[argc] is NULL */
	struct json *reply;	/* put the answer's members here; "ok" is added by the server */
	bool later;		/* private */
};

/*
 * Returns 0 (the reply is sent with ok true) or a negative errno (ok false; the text of e is the
 * error, and members put into the reply are sent as well).
 */
typedef int (*ctl_command_fn)(void *ctx, struct ctl_request *rq, struct err *e);

struct ctl_command {
	const char *name;  /* "status", "log/level" */
	const char *usage; /* arguments, then what it does: "[force]  leave protection" */
	int min_args;
	int max_args;
	ctl_command_fn fn;
	void *ctx;
};

/*
 * Creates path (an old socket there is removed if nobody listens on it; -EADDRINUSE if somebody does) with
 * mode 0600 and starts to serve `help`. The caller owns *out. event is borrowed and must outlive it.
 */
MUST_CHECK int ctl_server_new(sd_event *event, const char *path, struct ctl_server **out,
			      struct err *e);
/* Drops all clients, removes the socket's file. NULL is a no-op. */
void ctl_server_free(struct ctl_server *s);

/* The strings are borrowed for the server's life. -ENOSPC, -EEXIST: our own mistake. */
MUST_CHECK int ctl_server_add(struct ctl_server *s, const struct ctl_command *cmd);

/*
 * For a callback that cannot answer yet: call this, keep rq->token, return 0. After timeout_ns without
 * ctl_server_finish() the client is told that it took too long. The reply stays with the server.
 */
void ctl_server_later(struct ctl_request *rq, uint64_t timeout_ns);
/* The reply of a request answered later; NULL when nobody waits any more. */
struct json *ctl_server_reply(struct ctl_server *s, struct ctl_token t);
/* Send it: rc 0 as ok, else e's text as the error (e may be NULL then and when rc is 0). Once. */
void ctl_server_finish(struct ctl_server *s, struct ctl_token t, int rc, const struct err *e);

#endif
