/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See collect.h. */
#include "tools/collect.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/ctl_client.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/mem.h"

/* A worker that is alive answers at once; several silent ones must not add up. */
#define WORKER_NS (2 * NS_PER_SEC)

static struct seen *find(struct report *r, const char *vm, const char *role)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->vm[i].vm, vm) && (!role || !strcmp(r->vm[i].role, role)))
			return &r->vm[i];
	}
	return NULL;
}

static struct seen *add(struct report *r, const char *vm, const char *role)
{
	struct seen *s = &r->vm[r->n];

	if (r->n == COLLECT_MAX)
		return NULL;
	r->n++;
	*s = (struct seen){.status = NULL};
	tool_clean(vm, s->vm, sizeof(s->vm));
	tool_clean(role, s->role, sizeof(s->role));
	return s;
}

static void set(char *to, size_t size, const char *text)
{
	tool_clean(text, to, size);
}

static void read_status(struct seen *s)
{
	const struct json_in *v = s->status;

	set(s->state, sizeof(s->state), json_in_text(v, "state", "unknown"));
	set(s->peer, sizeof(s->peer), json_in_text(v, "peer", ""));
	set(s->problem, sizeof(s->problem), json_in_text(v, "problem", ""));
	set(s->hint, sizeof(s->hint), json_in_text(v, "hint", ""));
	s->is_protected = json_in_bool(v, "protected", false);
}

/* A socket whose owner died is as good as none: romulusd knows what became of it. */
static void ask_worker(struct report *r, const char *run_dir, const char *vm, const char *role)
{
	const struct tool_worker w = {run_dir, vm, role, WORKER_NS};
	const char *const argv[] = {"status", NULL};
	struct json_in *status = NULL;
	struct err e = ERR_INIT;
	struct seen *s;
	int rc = tool_ask_worker(&w, argv, &status, &e);

	if (tool_nobody(rc))
		return;
	s = add(r, vm, role);
	if (!s) {
		json_in_free(status);
		return;
	}
	if (!rc) {
		s->status = status;
		read_status(s);
		return;
	}
	json_in_free(status);
	set(s->state, sizeof(s->state), "silent");
	set(s->problem, sizeof(s->problem), e.text);
	set(s->hint, sizeof(s->hint), "look at its log: journalctl -u romulusd");
}

/* "web.primary.ctl" → vm and role. */
static bool split_name(const char *file, char vm[NAME_SIZE], const char **role)
{
	static const char *const roles[] = {"primary", "backup"};
	size_t len = strlen(file);

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		size_t suffix = strlen(roles[i]) + strlen("..ctl");
		const char *tail = file + len - suffix;

		if (len <= suffix || len - suffix >= NAME_SIZE || tail[0] != '.' ||
		    strncmp(tail + 1, roles[i], strlen(roles[i])) != 0 ||
		    strcmp(tail + 1 + strlen(roles[i]), ".ctl") != 0)
			continue;
		memcpy(vm, file, len - suffix);
		vm[len - suffix] = 0;
		*role = roles[i];
		return name_ok(vm);
	}
	return false;
}

static int ask_workers(struct report *r, const char *run_dir, const char *only, struct err *e)
{
	DIR *dir = opendir(run_dir);
	const struct dirent *d;

	if (!dir)
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s", run_dir);
	while ((d = readdir(dir))) {
		char vm[NAME_SIZE];
		const char *role;

		if (split_name(d->d_name, vm, &role) && (!only || !strcmp(only, vm)))
			ask_worker(r, run_dir, vm, role);
	}
	closedir(dir);
	return 0;
}

/* Workers that have no socket (yet): romulusd tells why. */
static void add_known_worker(struct report *r, const struct json_in *w, const char *only)
{
	const char *vm = json_in_text(w, "vm", "");
	const char *side = json_in_text(w, "side", "");
	const char *state = json_in_text(w, "state", "");
	struct seen *s;

	if (!name_ok(vm) || (only && strcmp(only, vm) != 0) || find(r, vm, side))
		return;
	s = add(r, vm, side);
	if (!s)
		return;
	set(s->state, sizeof(s->state), strcmp(state, "running") != 0 ? state : "starting");
	set(s->problem, sizeof(s->problem), json_in_text(w, "problem", ""));
	if (!strcmp(state, "restarting"))
		set(s->hint, sizeof(s->hint),
		    "the worker ended and is started again; remove the cause if one is named, or see its "
		    "log");
	else if (!strcmp(state, "refused"))
		set(s->hint, sizeof(s->hint),
		    "remove the cause, then protect it again, or forget it");
}

/* VMs that no worker speaks for, but whose role here says that one should know of them. */
static void add_remembered(struct report *r, const struct json_in *v, const char *only)
{
	const char *vm = json_in_text(v, "vm", "");
	const char *role = json_in_text(v, "role", "none");
	const char *problem = json_in_text(v, "problem", "");
	struct seen *s;

	if (!name_ok(vm) || (only && strcmp(only, vm) != 0))
		return;
	s = find(r, vm, NULL);
	if (s) {
		if (!*s->peer)
			set(s->peer, sizeof(s->peer), json_in_text(v, "peer", ""));
		return;
	}
	if (!*problem && strcmp(role, "active") != 0 && strcmp(role, "primary") != 0)
		return;
	s = add(r, vm, strcmp(role, "primary") != 0 ? "none" : role);
	if (!s)
		return;
	set(s->peer, sizeof(s->peer), json_in_text(v, "peer", ""));
	set(s->problem, sizeof(s->problem), problem);
	if (!strcmp(role, "active")) {
		set(s->state, sizeof(s->state), "alone");
		set(s->problem, sizeof(s->problem),
		    "it was activated here and has no backup; whether it runs is not known");
		set(s->hint, sizeof(s->hint),
		    "protect it again when a peer is there, or forget it if it has ended for good");
	} else {
		set(s->state, sizeof(s->state), "stopped");
	}
}

static void ask_host(struct report *r, const char *run_dir, const char *only)
{
	const char *const argv[] = {"status", NULL};
	struct err e = ERR_INIT;

	if (tool_ask_host(run_dir, argv, &r->host, &e) < 0) {
		json_in_free(r->host);
		r->host = NULL;
		set(r->host_problem, sizeof(r->host_problem), e.text);
		return;
	}
	for (size_t i = 0; i < json_in_count(r->host, "workers"); i++)
		add_known_worker(r, json_in_item(r->host, "workers", i), only);
	for (size_t i = 0; i < json_in_count(r->host, "vms"); i++)
		add_remembered(r, json_in_item(r->host, "vms", i), only);
}

static int by_name(const void *a, const void *b)
{
	const struct seen *x = a;
	const struct seen *y = b;
	int order = strcmp(x->vm, y->vm);

	/* "primary" after "backup" in the alphabet, before it for people. */
	return order ? order : strcmp(y->role, x->role);
}

int collect(const char *run_dir, const char *only, struct report **out, struct err *e)
{
	struct report *r = mem_zalloc(sizeof(*r));
	int rc;

	if (!r)
		return err_set(e, -ENOMEM, "status");
	rc = ask_workers(r, run_dir, only, e);
	if (rc < 0) {
		collect_free(r);
		return rc;
	}
	ask_host(r, run_dir, only);
	qsort(r->vm, r->n, sizeof(r->vm[0]), by_name);
	*out = r;
	return 0;
}

void collect_free(struct report *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		json_in_free(r->vm[i].status);
	json_in_free(r->host);
	mem_free(r);
}

enum tool_exit seen_exit(const struct seen *s)
{
	static const char *const working[] = {"connecting", "copying",	"syncing",
					      "protected",  "lost",	"waiting",
					      "building",   "standing", "starting",
					      "restarting", "silent",	"handing-over"};

	if (s->is_protected)
		return TOOL_OK;
	for (size_t i = 0; i < ARRAY_SIZE(working); i++) {
		if (!strcmp(s->state, working[i]))
			return TOOL_DEGRADED;
	}
	return TOOL_NOT_PROTECTED;
}

enum tool_exit report_exit(const struct report *r)
{
	enum tool_exit worst = r->n ? TOOL_OK : TOOL_NOT_PROTECTED;

	for (size_t i = 0; i < r->n; i++)
		worst = MAX(worst, seen_exit(&r->vm[i]));
	return worst;
}
