/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus protect: ask romulusd to protect a VM, then follow the worker until it is. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "tools/collect.h"
#include "tools/doctor.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_TO,
	OPT_POLICY,
	OPT_EPOCH,
	OPT_HEARTBEAT,
	OPT_FAILURE,
	OPT_REPROTECT,
	OPT_WAIT,
	OPT_NO_WAIT,
	OPT_TIMEOUT,
	OPT_DRY_RUN,
	OPT_SKIP_DOCTOR,
	OPT_CONFIG,
	OPT_LIBEXEC
};

#define POLL_NS (200 * NS_PER_MS)
/* A worker needs a moment until its socket is there; then something is wrong. */
#define APPEAR_NS (15 * NS_PER_SEC)
#define WORDS_MAX 8
#define WORD_SIZE 96

struct options {
	const char *run_dir;
	const char *vm;
	char word[WORDS_MAX][WORD_SIZE]; /* for romulusd */
	int n_words;
	bool has_policy;
	bool wait;
	bool dry_run;
	bool skip_doctor;
	struct doctor_ask doctor;
	uint64_t timeout_ns;
};

static const struct argp_option option_list[] = {
	{"to", OPT_TO, "HOST", 0, "The backup host, one of romulus.conf's peers", 0},
	{"on-peer-loss", OPT_POLICY, "POLICY", 0,
	 "Who may go on alone when the other host is silent: arbiter, hold, primary-wins or backup-wins",
	 0},
	{"epoch", OPT_EPOCH, "TIME", 0, "Time between two checkpoints", 0},
	{"heartbeat", OPT_HEARTBEAT, "TIME", 0, "Time between two heartbeats", 0},
	{"failure-timeout", OPT_FAILURE, "TIME", 0, "A peer silent for so long is lost", 0},
	{"reprotect", OPT_REPROTECT, "WHEN", 0,
	 "After a failover: auto, protect it again by itself when this host is back; or never", 0},
	{"wait", OPT_WAIT, NULL, 0, "Follow the first copy until the VM is protected (default)", 0},
	{"no-wait", OPT_NO_WAIT, NULL, 0, "Return at once; romulus status tells the rest", 0},
	{"timeout", OPT_TIMEOUT, "TIME", 0, "With --wait: stop waiting after TIME (30m)", 0},
	{"dry-run", OPT_DRY_RUN, NULL, 0, "Check everything and show the plan, change nothing", 0},
	{"skip-doctor", OPT_SKIP_DOCTOR, NULL, 0,
	 "Begin although romulus doctor would find, or has found, why it fails", 0},
	{"config", OPT_CONFIG, "FILE", 0, "For the doctor: instead of " CONF_DEFAULT_PATH, 0},
	{"libexec-dir", OPT_LIBEXEC, "DIR", 0, "For the doctor: where romulus-facts is", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static const char policies[] =
	"on-peer-loss says who may go on alone when the other host is silent. There is no default\n"
	"without an arbiter in romulus.conf: two hosts cannot know which of them is cut off, so each\n"
	"choice gives something up.\n"
	"\n"
	"  arbiter       Either host, if the arbiter of romulus.conf grants it. The default with one.\n"
	"  backup-wins   The backup takes the VM over by itself. If only the backup dies, the VM's\n"
	"                output stays held until it is back, or until romulus unprotect --force.\n"
	"  primary-wins  The VM goes on here by itself. If this host dies, somebody must type\n"
	"                romulus failover --force at the backup.\n"
	"  hold          Nobody goes on alone. Any loss stops the VM's output until both hosts talk\n"
	"                again or somebody decides.\n";

static void add_word(struct argp_state *state, const char *name, const char *value)
{
	struct options *o = state->input;
	int n = o->n_words < WORDS_MAX
			? snprintf(o->word[o->n_words], WORD_SIZE, "%s=%s", name, value)
			: WORD_SIZE;

	if (n >= WORD_SIZE)
		argp_error(state, "%s: \"%.40s\" is too long, or given too often", name, value);
	else
		o->n_words++;
}

static void add_time(struct argp_state *state, const char *name, const char *value)
{
	uint64_t ns;

	tool_parse_time(value, state, name, &ns);
	add_word(state, name, value);
}

static void take_policy(struct argp_state *state, const char *arg)
{
	struct options *o = state->input;

	if (strcmp(arg, "hold") != 0 && strcmp(arg, "primary-wins") != 0 &&
	    strcmp(arg, "backup-wins") != 0 && strcmp(arg, "arbiter") != 0) {
		fputs(policies, stderr);
		argp_error(state,
			   "--on-peer-loss=%s is none of: arbiter, hold, primary-wins, backup-wins",
			   arg);
	}
	o->has_policy = true;
	o->doctor.policy = arg;
	add_word(state, "policy", arg);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_TO:
		if (!name_ok(arg))
			argp_error(state, "--to=%s is not a host's name", arg);
		add_word(state, "to", arg);
		o->doctor.peer = arg;
		return 0;
	case OPT_POLICY:
		take_policy(state, arg);
		return 0;
	case OPT_EPOCH:
		add_time(state, "epoch-period", arg);
		return 0;
	case OPT_HEARTBEAT:
		add_time(state, "heartbeat-period", arg);
		return 0;
	case OPT_FAILURE:
		add_time(state, "failure-timeout", arg);
		return 0;
	case OPT_REPROTECT:
		if (strcmp(arg, "auto") != 0 && strcmp(arg, "never") != 0)
			argp_error(state, "--reprotect=%s is none of: auto, never", arg);
		add_word(state, "reprotect", arg);
		return 0;
	case OPT_WAIT:
	case OPT_NO_WAIT:
		o->wait = key == OPT_WAIT;
		return 0;
	case OPT_TIMEOUT:
		tool_parse_time(arg, state, "timeout", &o->timeout_ns);
		return 0;
	case OPT_DRY_RUN:
		o->dry_run = true;
		return 0;
	case OPT_SKIP_DOCTOR:
		o->skip_doctor = true;
		return 0;
	case OPT_CONFIG:
		o->doctor.conf_path = arg;
		return 0;
	case OPT_LIBEXEC:
		o->doctor.libexec_dir = arg;
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* ---- following ---- */

struct follow {
	char state[32];
	char problem[COLLECT_TEXT];
	int percent;	 /* last shown */
	uint64_t behind; /* the same, of the disks */
	bool on_tty;
	bool line_open; /* a progress line without its newline */
};

static void end_line(struct follow *f)
{
	if (f->line_open)
		putchar('\n');
	f->line_open = false;
}

static void show_copy(struct follow *f, const struct json_in *v)
{
	int percent = (int)json_in_double(v, "copy.percent", 0);

	/* A log gets a line every tenth, a terminal one that changes. */
	if (percent == f->percent || (!f->on_tty && percent / 10 == f->percent / 10))
		return;
	f->percent = percent;
	printf("%sfirst copy: %d%%, %.0f MB/s", f->on_tty ? "\r" : "", percent,
	       json_in_double(v, "copy.mb_s", 0));
	if (f->on_tty)
		fputs("   ", stdout);
	f->line_open = true;
	if (!f->on_tty)
		end_line(f);
}

/* The disks come before the memory; their part of the copy is told when it takes long enough to be seen. */
static bool show_disks(struct follow *f, const struct json_in *v)
{
	uint64_t left = 0, behind = 0;
	bool in_sync = true;
	char bytes[32];

	for (size_t i = 0; i < json_in_count(v, "disks"); i++) {
		const struct json_in *d = json_in_item(v, "disks", i);

		in_sync = in_sync && json_in_bool(d, "in_sync", false);
		behind += json_in_u64(d, "behind_bytes", 0);
		left = MAX(left, json_in_u64(d, "left_s", 0));
	}
	if (in_sync)
		return false;
	if (behind == f->behind || !f->on_tty)
		return true;
	f->behind = behind;
	printf("\rfirst copy of the disks: %s to go",
	       tool_bytes((double)behind, bytes, sizeof(bytes)));
	if (left)
		printf(", %" PRIu64 " s", left);
	fputs("   ", stdout);
	f->line_open = true;
	return true;
}

static void show(struct follow *f, const struct seen *s)
{
	if (strcmp(f->state, s->state) != 0) {
		end_line(f);
		snprintf(f->state, sizeof(f->state), "%s", s->state);
		f->percent = -100;
		printf("%s: %s\n", s->vm, s->state);
	}
	if (strcmp(f->problem, s->problem) != 0) {
		end_line(f);
		snprintf(f->problem, sizeof(f->problem), "%s", s->problem);
		if (*s->problem)
			printf("%s: %s\n", s->vm, s->problem);
	}
	if (!strcmp(s->state, "copying") && !show_disks(f, s->status))
		show_copy(f, s->status);
}

static const struct seen *find_primary(const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->vm[i].role, "primary"))
			return &r->vm[i];
	}
	return NULL;
}

static bool is_over(const struct seen *s)
{
	static const char *const over[] = {"refused", "ended", "deposed", "leaving", "stopped"};

	for (size_t i = 0; i < ARRAY_SIZE(over); i++) {
		if (!strcmp(s->state, over[i]))
			return true;
	}
	return false;
}

static int protected_now(const struct seen *s)
{
	char pause[32];

	printf("%s: protected to %s", s->vm, s->peer);
	if (json_in_u64(s->status, "pause_us.count", 0))
		printf("; pause p50 %s",
		       tool_us(json_in_double(s->status, "pause_us.p50", 0), pause, sizeof(pause)));
	putchar('\n');
	if (!strcmp(json_in_text(s->status, "suspend.path", ""), "xenstore"))
		printf("%s: each checkpoint asks it through xenstore; the module xen_suspend_channel in the "
		       "guest makes that far faster, see romulus(7)\n",
		       s->vm);
	return TOOL_OK;
}

/* One look; -1: go on. */
static int look(const struct options *o, struct follow *f, uint64_t waited_ns)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	const struct seen *s;
	int code = -1;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	s = find_primary(r);
	if (s)
		show(f, s);
	if (s && s->is_protected) {
		end_line(f);
		code = protected_now(s);
	} else if (s && is_over(s)) {
		end_line(f);
		code = tool_fail(TOOL_ERROR, "%s is not protected (%s)%s%s", o->vm, s->state,
				 *s->problem ? ": " : "", s->problem);
		if (*s->hint)
			fprintf(stderr, "%s\n", s->hint);
	} else if ((!s || !s->status) && waited_ns > APPEAR_NS) {
		end_line(f);
		code = tool_fail(TOOL_ERROR,
				 "%s: its worker does not answer%s%s; see journalctl -u romulusd",
				 o->vm, s && *s->problem ? ": " : "", s ? s->problem : "");
	}
	collect_free(r);
	return code;
}

static int follow(const struct options *o)
{
	struct follow f = {.percent = -100, .on_tty = isatty(STDOUT_FILENO) == 1};
	uint64_t began = clock_now();
	uint64_t waited = 0;
	int code;

	do {
		code = look(o, &f, waited);
		if (code >= 0)
			return code;
		tool_pause(POLL_NS);
		waited = clock_now() - began;
	} while (waited < o->timeout_ns);
	end_line(&f);
	return tool_fail(
		TOOL_DEGRADED,
		"%s is not protected yet; its worker goes on trying, see romulus status %s", o->vm,
		o->vm);
}

/* ---- asking ---- */

static void show_plan(const struct options *o, const struct json_in *v)
{
	char peer[NAME_SIZE];

	printf("%s: %s to %s, on peer loss %s, an epoch every %.0f ms, peer lost after %.0f ms\n",
	       o->vm, o->dry_run ? "would be protected" : "being protected",
	       tool_clean(json_in_text(v, "peer", "?"), peer, sizeof(peer)),
	       json_in_text(v, "policy", "?"), json_in_double(v, "epoch_period_ms", 0),
	       json_in_double(v, "failure_timeout_ms", 0));
}

/* What is well is not worth a line here. */
static int see_doctor(const struct options *o, const struct json_in *plan)
{
	autofree struct doctor_report *r = mem_zalloc(sizeof(*r));
	struct doctor_ask ask_about = o->doctor;
	char peer[NAME_SIZE] = "";
	struct err e = ERR_INIT;

	if (!r)
		return tool_fail(TOOL_ERROR, "out of memory");
	ask_about.vm = o->vm;
	ask_about.run_dir = o->run_dir;
	ask_about.peer = json_in_text(plan, "peer", ask_about.peer);
	ask_about.policy = json_in_text(plan, "policy", ask_about.policy);
	if (doctor_examine(&ask_about, r, peer, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	for (unsigned int i = 0; i < r->n; i++) {
		const struct doctor_line *l = &r->line[i];

		if (l->verdict != DOCTOR_OK)
			fprintf(stderr, "%s: %s: %s\n%s  -> %s\n", doctor_verdict_name(l->verdict),
				l->check, l->found, "", l->todo);
	}
	if (r->worst != DOCTOR_ERROR)
		return TOOL_OK;
	return tool_fail(
		TOOL_ERROR,
		"%s is not protected: it would fail. Put that right; or, if you know better, "
		"--skip-doctor",
		o->vm);
}

static int refused(const struct options *o, const struct json_in *reply, const struct err *e)
{
	/* It is romulusd who knows whether vm.d has a policy. */
	bool no_policy = !strcmp(json_in_text(reply, "missing", ""), "policy");

	if (no_policy && !o->has_policy)
		fputs(policies, stderr);
	return tool_fail(no_policy ? TOOL_USAGE : TOOL_ERROR, "%s", e->text);
}

/* *reply: the plan; the caller's in any case. */
static int ask(const struct options *o, bool dry_run, struct json_in **reply)
{
	const char *words[WORDS_MAX + 4];
	struct err e = ERR_INIT;
	int n = 0;

	words[n++] = "protect";
	words[n++] = o->vm;
	for (int i = 0; i < o->n_words; i++)
		words[n++] = o->word[i];
	if (dry_run)
		words[n++] = "dry-run";
	words[n] = NULL;
	return tool_ask_host(o->run_dir, words, reply, &e) < 0 ? refused(o, *reply, &e) : TOOL_OK;
}

int cmd_protect(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Protect a running VM of this host. What is not given comes from vm.d and romulus.conf.\v"
		"Exit status: 0 protected (with --no-wait: begun), 1 error, 2 usage, 3 not protected "
		"yet.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR,
			    .wait = true,
			    .timeout_ns = 1800 * NS_PER_SEC,
			    .doctor = {.conf_path = CONF_DEFAULT_PATH, .libexec_dir = LIBEXEC_DIR}};
	struct json_in *reply = NULL;
	int code = TOOL_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!o.skip_doctor) {
		/* What romulusd knows by itself is said first, and it knows vm.d. */
		code = ask(&o, true, &reply);
		if (code == TOOL_OK)
			code = see_doctor(&o, reply);
		json_in_free(reply);
	}
	if (code == TOOL_OK) {
		code = ask(&o, o.dry_run, &reply);
		if (code == TOOL_OK)
			show_plan(&o, reply);
		json_in_free(reply);
	}
	if (code != TOOL_OK || o.dry_run || !o.wait)
		return code;
	return follow(&o);
}
