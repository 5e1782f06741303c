/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus cert: make the certificates by which hosts know each other. */
#include "lib/cert.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/err.h"
#include "tools/tool.h"

enum {
	OPT_SAN = 256,
	OPT_OUT,
	OPT_CA_DIR,
	OPT_DAYS
};

struct options {
	const char *what;
	const char *name;
	const char *out;
	const char *ca_dir;
	const char *san[CERT_MAX_ALT];
	size_t n_san;
	unsigned int days;
};

static const struct argp_option option_list[] = {
	{"san", OPT_SAN, "NAME", 0, "A further DNS name or IP address of the host; may be repeated",
	 0},
	{"out", OPT_OUT, "DIR", 0, "Where the new files go (.)", 0},
	{"ca-dir", OPT_CA_DIR, "DIR", 0, "Where ca.pem and ca.key are (the folder of --out)", 0},
	{"days", OPT_DAYS, "N", 0, "Valid for N days (ca: 3650, host: 1825)", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	unsigned long v;
	char *end;

	switch (key) {
	case OPT_SAN:
		if (o->n_san == CERT_MAX_ALT)
			argp_error(state, "more than %d names", CERT_MAX_ALT);
		o->san[o->n_san++] = arg;
		return 0;
	case OPT_OUT:
		o->out = arg;
		return 0;
	case OPT_CA_DIR:
		o->ca_dir = arg;
		return 0;
	case OPT_DAYS:
		v = strtoul(arg, &end, 10);
		if (!v || v > CERT_MAX_DAYS || *end)
			argp_error(state, "--days=%s: 1 to %d", arg, CERT_MAX_DAYS);
		o->days = (unsigned int)v;
		return 0;
	case ARGP_KEY_ARG:
		if (!o->what)
			o->what = arg;
		else if (!o->name)
			o->name = arg;
		else
			argp_error(state, "\"%s\" is too much", arg);
		return 0;
	case ARGP_KEY_END:
		if (!o->what || (strcmp(o->what, "ca") != 0 && strcmp(o->what, "host") != 0 &&
				 strcmp(o->what, "show") != 0))
			argp_error(state, "say one of: ca, host, show");
		else if (!o->name && strcmp(o->what, "ca") != 0)
			argp_error(state, !strcmp(o->what, "host") ? "which host?" : "which file?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int path_in(char path[PATH_MAX], const char *dir, const char *file)
{
	return snprintf(path, PATH_MAX, "%s/%s", dir, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int make_ca(const struct options *o, struct err *e)
{
	const char *name = o->name ? o->name : "romulus";
	char cert[PATH_MAX];
	char key[PATH_MAX];
	int rc;

	if (path_in(cert, o->out, "ca.pem") < 0 || path_in(key, o->out, "ca.key") < 0)
		return err_set(e, -ENAMETOOLONG, "--out");
	rc = cert_make_ca(cert, key, name, o->days ? o->days : CERT_CA_DAYS, e);
	if (!rc)
		printf("%s\n%s (keep it away from the hosts; it is needed for new ones only)\n",
		       cert, key);
	return rc;
}

static int make_host(const struct options *o, struct err *e)
{
	const char *ca_dir = o->ca_dir ? o->ca_dir : o->out;
	struct cert_host h = {
		.name = o->name, .n_alt = o->n_san, .days = o->days ? o->days : CERT_HOST_DAYS};
	char path[4][PATH_MAX];
	int rc;

	if (path_in(path[0], ca_dir, "ca.pem") < 0 || path_in(path[1], ca_dir, "ca.key") < 0 ||
	    path_in(path[2], o->out, "host.pem") < 0 || path_in(path[3], o->out, "host.key") < 0)
		return err_set(e, -ENAMETOOLONG, "--out");
	h.ca_cert = path[0];
	h.ca_key = path[1];
	h.cert = path[2];
	h.key = path[3];
	memcpy(h.alt, o->san, sizeof(h.alt));
	rc = cert_make_host(&h, e);
	if (!rc)
		printf("%s\n%s (with ca.pem, both belong into " CONF_DIR " of %s)\n", h.cert, h.key,
		       o->name);
	return rc;
}

static int show(const struct options *o, struct err *e)
{
	struct cert_info info;
	char until[64] = "?";
	char name[NAME_SIZE];
	char issuer[NAME_SIZE];
	struct tm tm;
	int rc = cert_read(o->name, &info, e);

	if (rc < 0)
		return rc;
	if (gmtime_r(&info.not_after, &tm))
		strftime(until, sizeof(until), "%Y-%m-%d %H:%M UTC", &tm);
	printf("name        %s%s\nissuer      %s\nvalid until %s%s\nSHA-256     %s\n",
	       tool_clean(info.name, name, sizeof(name)), info.is_ca ? " (authority)" : "",
	       tool_clean(info.issuer, issuer, sizeof(issuer)), until,
	       info.not_after < time(NULL) ? " (EXPIRED)" : "", info.fingerprint);
	return 0;
}

int cmd_cert(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"ca [NAME]\nhost NAME\nshow FILE",
		"Make an authority (ca.pem, ca.key), or with it a host's certificate (host.pem, host.key), "
		"or show one. NAME of a host is its host.name. What exists is never overwritten.\v"
		"Exit status: 0 done, 1 error, 2 usage.",
		NULL,
		NULL,
		NULL};
	struct options o = {.out = "."};
	struct err e = ERR_INIT;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!strcmp(o.what, "ca"))
		rc = make_ca(&o, &e);
	else if (!strcmp(o.what, "host"))
		rc = make_host(&o, &e);
	else
		rc = show(&o, &e);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}
