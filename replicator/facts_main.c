/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-facts [--config FILE] [VM]: one JSON object with what `romulus doctor` has to know of this host, and of one VM
 * here. Run by the tool, and by romulus-backup for a peer that asks. Changes nothing; ends by itself.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "lib/wire_v1.h"
#include "replicator/facts.h"
#include "replicator/standby.h"
#include "replicator/xen_version.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
#define DOMAIN_TIMEOUT_NS (5 * NS_PER_SEC)

struct options {
	const char *conf_path;
	const char *vm;
};

static int usage(int rc)
{
	fputs("usage: romulus-facts [--config FILE] [VM]\n"
	      "What romulus doctor has to know of this host; see romulus-doctor(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.conf_path = CONF_DEFAULT_PATH};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-facts " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	if (optind < argc)
		o->vm = argv[optind++];
	return optind == argc && (!o->vm || name_ok(o->vm)) ? 0 : -EINVAL;
}

static void put_xen(struct json *j)
{
	struct xen_host_facts f;
	struct err e = ERR_INIT;
	uint32_t major, minor;
	int rc = xen_version(&major, &minor, &e);

	if (rc == 0) {
		json_out_u64(j, "xen_major", major);
		json_out_u64(j, "xen_minor", minor);
		rc = xen_facts_host(&f, &e);
	}
	facts_xen(j, &f, rc < 0 ? e.text : NULL);
}

/* Lines of romulus-domain, or a member with what is wrong. */
static void put_list(struct json *vm, const char *what, const char *name,
		     void (*put)(struct json *vm, const char *lines))
{
	const char *const argv[] = {DOMAIN_TOOL, what, name, NULL};
	char out[4096], said[512], key[32];
	struct spawn sp = {.argv = argv,
			   .timeout_ns = DOMAIN_TIMEOUT_NS,
			   .out = out,
			   .out_size = sizeof(out),
			   .err = said,
			   .err_size = sizeof(said)};
	struct err e = ERR_INIT;

	if (spawn_check(&sp, &e) == 0) {
		put(vm, out);
		return;
	}
	snprintf(key, sizeof(key), "%s_problem", what);
	json_out_text(vm, key, e.text);
}

static void put_vm(struct json *j, const struct conf *c, const char *name)
{
	struct json *o = json_out_object(j, "vm");
	char standby[NAME_SIZE + sizeof(STANDBY_SUFFIX)];
	struct xen_vm_facts f;
	struct err e = ERR_INIT;
	int rc = xen_facts_vm(name, &f, &e);

	json_out_text(o, "name", name);
	json_out_bool(o, "found", rc == 0);
	if (rc < 0 && rc != -ENOENT)
		json_out_text(o, "problem", e.text);
	if (rc == 0) {
		facts_domain(o, &f);
		put_list(o, "vifs", name, facts_vifs);
		put_list(o, "disks", name, facts_disks);
	}
	snprintf(standby, sizeof(standby), "%s%s", name, STANDBY_SUFFIX);
	json_out_bool(o, "standby_found", xen_facts_vm(standby, &f, &e) == 0);
	facts_remembered(o, c, name);
}

int main(int argc, char **argv)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	struct options o;
	const char *line;
	struct json *j;
	size_t len = 0;

	if (parse(argc, argv, &o) < 0)
		return usage(2);
	if (conf_load(o.conf_path, &c, &e) < 0) {
		fprintf(stderr, "romulus-facts: %s\n", e.text);
		return 1;
	}
	j = json_out_new();
	facts_host(j, c);
	put_xen(j);
	if (o.vm)
		put_vm(j, c, o.vm);
	line = j ? json_out_line(j, &len) : NULL;
	if (line && len < WIRE_FACTS_MAX)
		printf("%s\n", line);
	else
		fputs("romulus-facts: out of memory, or more facts than fit\n", stderr);
	json_out_free(j);
	conf_free(c);
	return line && len < WIRE_FACTS_MAX && fflush(stdout) == 0 ? 0 : 1;
}
