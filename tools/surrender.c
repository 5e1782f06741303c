/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus surrender: this host's copy of a VM's disks is the one to be overwritten, after two histories (docs/disk.md). Asks
 * every server first, says what is lost and what nobody here can verify, and needs --yes for exactly that.
 */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ctl_client.h"
#include "lib/disk_port.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "tools/collect.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_DISK,
	OPT_YES
};

/* Of this host: more are not looked at. */
#define MAX_FOUND 256

struct options {
	const char *run_dir;
	const char *vm;
	bool yes;
	unsigned int n_named;
	const char *named[WIRE_MAX_DISKS];
};

/* The disks that are meant. */
struct chosen {
	unsigned int n;
	char name[WIRE_MAX_DISKS][NAME_SIZE];
};

static const struct argp_option option_list[] = {
	{"disk", OPT_DISK, "NAME", 0, "This disk and no other; may be given again", 0},
	{"yes", OPT_YES, NULL, 0, "Do it; without it, say what would be done", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static void name_disk(struct options *o, const char *name, struct argp_state *state)
{
	if (!name_ok(name))
		argp_error(state, "--disk: \"%s\" is not a disk's name", name);
	if (o->n_named == ARRAY_SIZE(o->named))
		argp_error(state, "--disk: a VM has at most %u disks", o->n_named);
	for (unsigned int i = 0; i < o->n_named; i++) {
		if (!strcmp(o->named[i], name))
			argp_error(state, "--disk: \"%s\" is given twice", name);
	}
	o->named[o->n_named++] = name;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_DISK:
		name_disk(o, arg, state);
		return 0;
	case OPT_YES:
		o->yes = true;
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* ---- the VM ---- */

/* Does it run here, as far as is known? The disks' servers know for sure whether a guest has them. */
static int check_vm(const struct options *o, const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct seen *s = &r->vm[i];

		if (!strcmp(s->role, "primary"))
			return tool_fail(
				TOOL_ERROR,
				"%s is protected from this host, on this copy of its disks; "
				"romulus-protect(8), TWO HISTORIES, tells how to give that up",
				o->vm);
		if (!strcmp(s->role, "backup") && !strcmp(s->state, "active"))
			return tool_fail(TOOL_ERROR,
					 "%s runs here; end it first, if the other host's copy is "
					 "the one to keep",
					 o->vm);
	}
	return TOOL_OK;
}

/* It was activated here, and this host does not take the other one's copy until that is forgotten. */
static bool is_remembered(const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->vm[i].state, "alone"))
			return true;
	}
	return false;
}

/* ---- its disks ---- */

static int ask_disk(const struct options *o, const char *disk, const char *const argv[],
		    struct json_in **reply, struct err *e)
{
	char path[TOOL_PATH_SIZE];
	int n = snprintf(path, sizeof(path), "%s/disk/%s.ctl", o->run_dir, disk);

	*reply = NULL;
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, -ENAMETOOLONG, "%.64s", o->run_dir);
	return ctl_client_call(path, argv, TOOL_ASK_NS, reply, e);
}

/* "web-root.ctl" → name. */
static bool split_name(const char *file, char name[NAME_SIZE])
{
	size_t len = strlen(file);
	size_t suffix = strlen(".ctl");

	if (len <= suffix || len - suffix >= NAME_SIZE || strcmp(file + len - suffix, ".ctl") != 0)
		return false;
	memcpy(name, file, len - suffix);
	name[len - suffix] = 0;
	return name_ok(name);
}

/* Is it, as far as its server was ever told, a disk of this VM? */
static bool is_of_vm(const struct options *o, const char *disk)
{
	const char *const argv[] = {"status", NULL};
	struct json_in *status = NULL;
	struct err e = ERR_INIT;
	bool mine;

	/* One that does not answer is missed by its name, by whoever knows it. */
	(void)!ask_disk(o, disk, argv, &status, &e);
	mine = !strcmp(json_in_text(status, "vm", ""), o->vm);
	json_in_free(status);
	return mine;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Without --disk: those of which a worker has said since the server began that they are this VM's. */
static int find_disks(const struct options *o, struct chosen *c, struct err *e)
{
	char path[TOOL_PATH_SIZE];
	const struct dirent *d;
	unsigned int found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/disk", o->run_dir);
	dir = opendir(path);
	if (!dir && errno != ENOENT)
		return err_set(e, -errno, "%s", path);
	while (dir && found < MAX_FOUND && (d = readdir(dir))) {
		char name[NAME_SIZE];

		if (!split_name(d->d_name, name))
			continue;
		found++;
		if (c->n < ARRAY_SIZE(c->name) && is_of_vm(o, name))
			memcpy(c->name[c->n++], name, sizeof(name));
	}
	if (dir)
		closedir(dir);
	qsort(c->name, c->n, sizeof(c->name[0]), by_name);
	if (c->n)
		return 0;
	return err_setx(e, -ENOENT,
			"no disk of this host is known to be one of %s: its servers have not been "
			"told since they were started. Name them: --disk NAME",
			o->vm);
}

static int choose_disks(const struct options *o, struct chosen *c, struct err *e)
{
	for (unsigned int i = 0; i < o->n_named; i++)
		snprintf(c->name[c->n++], NAME_SIZE, "%s", o->named[i]);
	return c->n ? 0 : find_disks(o, c, e);
}

/* ---- what it is about ---- */

static int no_server(const char *disk, int rc, const struct err *e)
{
	if (tool_nobody(rc))
		return tool_fail(TOOL_ERROR,
				 "no romulus-disk serves \"%s\" on this host: is it in "
				 "romulus.conf, does romulusd run?",
				 disk);
	return tool_fail(TOOL_ERROR, "%s", e->text);
}

static void show_disk(const char *disk, const struct json_in *v)
{
	char state[32], generation[32], bytes[32];

	tool_clean(json_in_text(v, "state", "?"), state, sizeof(state));
	tool_clean(json_in_text(v, "generation", "?"), generation, sizeof(generation));
	tool_bytes(json_in_double(v, "dirty_bytes", 0), bytes, sizeof(bytes));
	if (json_in_bool(v, "surrendered", false))
		printf("  %s: was given up before, and waits to be overwritten\n", disk);
	else
		printf("  %s: %s, generation %s; %s are marked as written here and not there\n",
		       disk, state, generation, bytes);
}

/* Nothing is done before every server would. */
static int check_disks(const struct options *o, const struct chosen *c)
{
	static const char *const argv[] = {"surrender", "dry-run", NULL};
	int code = TOOL_OK;

	printf("%s: this host's copy of these disks is to be given up; the other host's overwrites it.\n",
	       o->vm);
	for (unsigned int i = 0; i < c->n && code == TOOL_OK; i++) {
		struct json_in *reply = NULL;
		struct err e = ERR_INIT;
		int rc = ask_disk(o, c->name[i], argv, &reply, &e);
		const char *vm = json_in_text(reply, "vm", "");
		char other[NAME_SIZE];

		if (rc < 0)
			code = no_server(c->name[i], rc, &e);
		else if (*vm && strcmp(vm, o->vm) != 0)
			code = tool_fail(TOOL_ERROR, "disk \"%s\" is one of %s, not of %s",
					 c->name[i], tool_clean(vm, other, sizeof(other)), o->vm);
		else
			show_disk(c->name[i], reply);
		json_in_free(reply);
	}
	return code;
}

static void show_price(const struct options *o)
{
	printf("  What was written to them here, and not at the other host, is lost when %s is\n"
	       "  protected from there the next time; until then it can be read with dd(1).\n"
	       "  What cannot be verified from here: that the other host has a copy, and that it is\n"
	       "  the one you want. romulus status %s there says so, if it is refused for two\n"
	       "  histories.\n",
	       o->vm, o->vm);
}

/* ---- doing it ---- */

static int surrender_all(const struct options *o, const struct chosen *c)
{
	static const char *const argv[] = {"surrender", NULL};

	for (unsigned int i = 0; i < c->n; i++) {
		struct json_in *reply = NULL;
		struct err e = ERR_INIT;
		int rc = ask_disk(o, c->name[i], argv, &reply, &e);

		json_in_free(reply);
		if (rc < 0)
			return tool_fail(TOOL_ERROR,
					 "%s; %u of %u disks are given up, type the same again for "
					 "the rest",
					 e.text, i, c->n);
		printf("%s: given up\n", c->name[i]);
	}
	return TOOL_OK;
}

static int act(const struct options *o, const struct report *r)
{
	struct chosen c = {.n = 0};
	struct err e = ERR_INIT;
	int code = check_vm(o, r);

	if (code != TOOL_OK)
		return code;
	if (choose_disks(o, &c, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	code = check_disks(o, &c);
	if (code != TOOL_OK)
		return code;
	show_price(o);
	if (!o->yes)
		return tool_fail(TOOL_ERROR, "nothing was done; with --yes it is");
	code = surrender_all(o, &c);
	if (code == TOOL_OK && is_remembered(r))
		printf("%s was activated here: romulus forget %s, or this host does not stand by for "
		       "it\n",
		       o->vm, o->vm);
	return code;
}

int cmd_surrender(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Give up this host's copy of the disks of a VM that does not run here: both hosts "
		"wrote to theirs without the other, and this one is to be overwritten.\v"
		"Exit status: 0 given up, 1 error, or --yes was not given, 2 usage.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR};
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (collect(o.run_dir, o.vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	code = act(&o, r);
	collect_free(r);
	return code;
}
