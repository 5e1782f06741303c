/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subcommands of `romulus` share: exit codes, the table's shape, asking a daemon. One thread.
 * The tools know the daemons by the control protocol alone.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;
struct json_in;

/* Documented in romulus(8). */
enum tool_exit {
	TOOL_OK = 0, /* done; the VM is protected */
	TOOL_ERROR = 1,
	TOOL_USAGE = 2,
	TOOL_DEGRADED = 3,	/* a worker is at it, but the VM is not protected now */
	TOOL_NOT_PROTECTED = 4, /* nobody protects it */
};

/* argv[0] is "romulus NAME"; returns an enum tool_exit. Usage errors end the process with TOOL_USAGE. */
int cmd_protect(int argc, char **argv);
int cmd_unprotect(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_failover(int argc, char **argv);
int cmd_switchover(int argc, char **argv);
int cmd_drill(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_surrender(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_forget(int argc, char **argv);
int cmd_cert(int argc, char **argv);
int cmd_suspend_bench(int argc, char **argv);

#define TOOL_PATH_SIZE 256
/* How long a daemon may take for a plain answer. */
#define TOOL_ASK_NS (5ull * 1000000000)

/* <run_dir>/<vm>.<side>.ctl, or romulusd's for vm NULL. -ENAMETOOLONG when it cannot be a socket. */
MUST_CHECK int tool_ctl_path(char path[TOOL_PATH_SIZE], const char *run_dir, const char *vm,
			     const char *side, struct err *e);

/* Ask romulusd, or the worker of a VM and side; results as of ctl_client_call(). */
MUST_CHECK int tool_ask_host(const char *run_dir, const char *const argv[], struct json_in **reply,
			     struct err *e);
struct tool_worker {
	const char *run_dir;
	const char *vm;
	const char *side;
	uint64_t timeout_ns;
};

MUST_CHECK int tool_ask_worker(const struct tool_worker *w, const char *const argv[],
			       struct json_in **reply, struct err *e);

/* True for the results that mean that nobody listens there. */
bool tool_nobody(int rc);

/* "romulus: text\n" to standard error; returns code. */
PRINTF(2, 3) int tool_fail(int code, const char *fmt, ...);

/*
 * For the end of an argp parser: takes the name of the one VM that a subcommand is about, which has to be given, and
 * leaves the other keys (ARGP_ERR_UNKNOWN). Where none is needed ARGP_KEY_END is the parser's own. *vm is NULL at first.
 */
error_t tool_parse_vm(int key, char *arg, struct argp_state *state, const char **vm);
/* The time of an option --NAME. What is none is a usage error. */
void tool_parse_time(const char *arg, const struct argp_state *state, const char *name,
		     uint64_t *ns);

/* Between two looks at a daemon. */
void tool_pause(uint64_t ns);

/* "1.2 ms", "3.4 MiB"; buf of 32 bytes is enough. Returns buf. */
const char *tool_us(double us, char *buf, size_t size);
const char *tool_bytes(double bytes, char *buf, size_t size);

/* What comes from a daemon, without control bytes, for a terminal. Returns buf. */
const char *tool_clean(const char *text, char *buf, size_t size);

#endif
