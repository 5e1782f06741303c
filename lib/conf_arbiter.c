/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the keys of the arbiter must say together, and the times that follow from them. Pure. See conf.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/digest.h"
#include "lib/err.h"

#define GROUP "arbiter."
/* After its own bound: to start, to read its files, to end. */
#define ARBITER_SLACK_NS (2 * NS_PER_SEC)

bool conf_line(const char *lines, size_t i, char *buf, size_t size)
{
	size_t len;

	for (; i && *lines; i--) {
		lines += strcspn(lines, "\n");
		lines += *lines == '\n';
	}
	if (!*lines)
		return false;
	len = MIN(strcspn(lines, "\n"), size - 1);
	memcpy(buf, lines, len);
	buf[len] = 0;
	return true;
}

uint64_t conf_arbiter_bound(const struct conf *c)
{
	switch ((enum conf_arbiter_kind)c->arbiter_kind) {
	case CONF_ARBITER_NONE:
		return 0;
	case CONF_ARBITER_WITNESS:
	case CONF_ARBITER_ETCD:
		return c->arbiter_timeout_ns + ARBITER_SLACK_NS;
	case CONF_ARBITER_FENCE:
		return c->fence_delay_ns + c->fence_timeout_ns + ARBITER_SLACK_NS;
	}
	return 0;
}

uint32_t conf_arbiter_id(const struct conf *c)
{
	const char *text = "";

	switch ((enum conf_arbiter_kind)c->arbiter_kind) {
	case CONF_ARBITER_WITNESS:
		text = c->witness_name;
		break;
	case CONF_ARBITER_ETCD:
		text = c->etcd_prefix;
		break;
	case CONF_ARBITER_NONE:
	case CONF_ARBITER_FENCE:
		break;
	}
	return *text ? (uint32_t)digest_of(text, strlen(text)) : 0;
}

/* Keys of another kind of arbiter than the one chosen: one of both is a mistake. */
static int check_kind(const struct conf *c, struct err *e)
{
	static const char *const kinds[] = {"none", "witness", "etcd", "fence"};
	const char *kind = kinds[c->arbiter_kind];
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	/* Those without a default, which are texts. */
	for (size_t i = 0; i < n; i++) {
		const char *of = k[i].name + sizeof(GROUP) - 1;

		if (strncmp(k[i].name, GROUP, sizeof(GROUP) - 1) != 0 || *k[i].dflt ||
		    !*((const char *)c + k[i].offset))
			continue;
		if (strncmp(of, kind, strlen(kind)) != 0 || of[strlen(kind)] != '-')
			return err_setx(e, -EINVAL, "%s:%u: %s is set, but arbiter.kind is \"%s\"",
					c->path, c->source_line[i], k[i].name, kind);
	}
	return 0;
}

static int check_witness(const struct conf *c, struct err *e)
{
	if (!*c->witness_name)
		return err_setx(
			e, -EINVAL,
			"%s: arbiter.kind is \"witness\", and arbiter.witness-name is not set",
			c->path);
	if (!*c->witness_address)
		return err_setx(
			e, -EINVAL,
			"%s: arbiter.kind is \"witness\", and arbiter.witness-address is not set",
			c->path);
	if (!strcmp(c->witness_name, c->host_name))
		return err_setx(e, -EINVAL,
				"%s: arbiter.witness-name \"%s\" is this host: a witness must be a "
				"third machine",
				c->path, c->witness_name);
	return 0;
}

/* https://HOST:PORT, HOST a name, an IPv4 address or [an IPv6 address]. */
static bool is_endpoint(const char *url)
{
	static const char name[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
	static const char scheme[] = "https://";
	uint64_t port = 0;
	size_t len;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return false;
	url += sizeof(scheme) - 1;
	if (*url == '[') {
		len = strspn(url + 1, "0123456789abcdefABCDEF:.%");
		if (!len || url[len + 1] != ']')
			return false;
		url += len + 2;
	} else {
		len = strspn(url, name);
		if (!len)
			return false;
		url += len;
	}
	if (*url++ != ':')
		return false;
	len = strspn(url, "0123456789");
	if (!len || len > 5 || url[len])
		return false;
	for (; *url; url++)
		port = port * 10 + (uint64_t)(*url - '0');
	return port > 0 && port < 65536;
}

static int check_endpoints(const struct conf *c, size_t *n, struct err *e)
{
	char url[CONF_LINES_SIZE];
	char before[CONF_LINES_SIZE];

	for (*n = 0; conf_line(c->etcd_endpoints, *n, url, sizeof(url)); ++*n) {
		if (*n == CONF_MAX_ENDPOINTS)
			return err_setx(e, -EINVAL, "%s: more than %d arbiter.etcd-endpoints",
					c->path, CONF_MAX_ENDPOINTS);
		if (!is_endpoint(url))
			return err_setx(
				e, -EINVAL,
				"%s: arbiter.etcd-endpoints: \"%.80s\" is not https://HOST:PORT",
				c->path, url);
		for (size_t i = 0; i < *n; i++) {
			if (conf_line(c->etcd_endpoints, i, before, sizeof(before)) &&
			    !strcmp(before, url))
				return err_setx(
					e, -EINVAL,
					"%s: arbiter.etcd-endpoints: \"%.80s\" is there twice",
					c->path, url);
		}
	}
	return 0;
}

static int check_etcd(const struct conf *c, struct err *e)
{
	char timeout[32];
	size_t n = 0;
	int rc = check_endpoints(c, &n, e);

	if (rc < 0)
		return rc;
	if (!n)
		return err_setx(e, -EINVAL,
				"%s: arbiter.kind is \"etcd\", and arbiter.etcd-endpoints is empty",
				c->path);
	if (c->arbiter_timeout_ns < n * CONF_ENDPOINT_MIN_NS)
		return err_setx(
			e, -EINVAL,
			"%s: arbiter.timeout %s < %zu endpoints x %llu ms = %llu ms: the last "
			"ones would not be asked",
			c->path,
			conf_format_duration(c->arbiter_timeout_ns, timeout, sizeof(timeout)), n,
			(unsigned long long)(CONF_ENDPOINT_MIN_NS / NS_PER_MS),
			(unsigned long long)(n * CONF_ENDPOINT_MIN_NS / NS_PER_MS));
	if (!*c->etcd_cert != !*c->etcd_key)
		return err_setx(
			e, -EINVAL,
			"%s: arbiter.etcd-cert and arbiter.etcd-key belong together, only %s is "
			"set",
			c->path, *c->etcd_cert ? "etcd-cert" : "etcd-key");
	return 0;
}

/* Each line KEY=VALUE; the action is ours to say. */
static int check_options(const struct conf *c, const char *whose, const char *lines, struct err *e)
{
	char line[CONF_LINES_SIZE];

	for (size_t i = 0; conf_line(lines, i, line, sizeof(line)); i++) {
		size_t len = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "0123456789_-");

		/* Not the whole line: the value may be a password. */
		if (!len || line[len] != '=')
			return err_setx(e, -EINVAL,
					"%s: fence-options of %s: text %zu is not KEY=VALUE",
					c->path, whose, i + 1);
		line[len] = 0;
		if (!strcmp(line, "action") || !strcmp(line, "option"))
			return err_setx(e, -EINVAL,
					"%s: fence-options of %s: \"%s\" is said by Romulus",
					c->path, whose, line);
	}
	return 0;
}

/* Options that were copied and not changed would switch the wrong host off. */
static int check_targets(const struct conf *c, struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		const struct conf_peer *p = &c->peer[i];
		int rc = check_options(c, p->name, p->fence_options, e);

		if (rc < 0)
			return rc;
		if (!*p->fence_options)
			return err_setx(e, -EINVAL,
					"%s:%u: arbiter.kind is \"fence\", and peer \"%s\" has no "
					"fence-options that say which machine it is",
					c->path, p->line, p->name);
		for (size_t j = 0; j < i; j++) {
			if (!strcmp(p->fence_options, c->peer[j].fence_options))
				return err_setx(e, -EINVAL,
						"%s:%u: peers \"%s\" and \"%s\" have the same "
						"fence-options: one of them is the wrong machine",
						c->path, p->line, c->peer[j].name, p->name);
		}
	}
	return 0;
}

static int check_fence(const struct conf *c, struct err *e)
{
	char delay[32];
	char timeout[32];
	int rc;

	if (!*c->fence_agent)
		return err_setx(e, -EINVAL,
				"%s: arbiter.kind is \"fence\", and arbiter.fence-agent is not set",
				c->path);
	rc = check_options(c, "arbiter", c->fence_options, e);
	if (!rc)
		rc = check_targets(c, e);
	if (rc < 0)
		return rc;
	/* A longer one gives nothing: by then the other side is done or has given up. */
	if (c->fence_delay_ns > c->fence_timeout_ns)
		return err_setx(
			e, -EINVAL,
			"%s: arbiter.fence-delay %s > arbiter.fence-timeout %s: the delay lets the "
			"other side finish, which may take the timeout at most",
			c->path, conf_format_duration(c->fence_delay_ns, delay, sizeof(delay)),
			conf_format_duration(c->fence_timeout_ns, timeout, sizeof(timeout)));
	return 0;
}

int conf_arbiter_check__(const struct conf *c, struct err *e)
{
	int rc = check_kind(c, e);

	if (rc < 0)
		return rc;
	switch ((enum conf_arbiter_kind)c->arbiter_kind) {
	case CONF_ARBITER_NONE:
		return 0;
	case CONF_ARBITER_WITNESS:
		return check_witness(c, e);
	case CONF_ARBITER_ETCD:
		return check_etcd(c, e);
	case CONF_ARBITER_FENCE:
		return check_fence(c, e);
	}
	return 0;
}
