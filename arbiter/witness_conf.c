/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every key of witness.conf; man/romulus-witness.8 and etc/witness.conf say the same. See witness_conf.h. */
#include "arbiter/witness_conf.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"

#define FIELD(field)                                    \
	.offset = offsetof(struct witness_conf, field), \
	.size = SIZEOF_FIELD(struct witness_conf, field)

/* In the order of enum log_level. */
static const char *const log_levels[] = {"err", "warn", "info", "debug", NULL};

static const struct conf_key keys[] = {
	{.name = "listen-address",
	 .type = CONF_ADDRESS,
	 .dflt = "0.0.0.0",
	 FIELD(listen_address),
	 .help = "Where hosts ask."},
	{.name = "listen-port",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 65535,
	 .dflt = "7405",
	 FIELD(listen_port),
	 .help = "TCP port where hosts ask."},
	{.name = "ca",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/ca.pem",
	 FIELD(tls_ca),
	 .help = "Certificate of the authority that signed every host's certificate."},
	{.name = "cert",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/host.pem",
	 FIELD(tls_cert),
	 .help = "The witness's certificate."},
	{.name = "key",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/host.key",
	 FIELD(tls_key),
	 .help = "The witness's private key."},
	{.name = "state-dir",
	 .type = CONF_PATH,
	 .dflt = "/var/lib/romulus-witness",
	 FIELD(state_dir),
	 .help = "The grants; must survive a loss of power, and must never be restored from a backup."},
	{.name = "max-connections",
	 .type = CONF_INT,
	 .min = 2,
	 .max = 1024,
	 .dflt = "64",
	 FIELD(max_connections),
	 .help = "Connections at a time; at most half of them from one address (IPv6: from one /64)."},
	{.name = "timeout",
	 .type = CONF_DURATION,
	 .min = 100 * NS_PER_MS,
	 .max = 60 * NS_PER_SEC,
	 .dflt = "5s",
	 FIELD(timeout_ns),
	 .help = "A connection that is not done by then is closed."},
	{.name = "max-vms",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 100000,
	 .dflt = "4096",
	 FIELD(max_vms),
	 .help = "VMs that it remembers at most."},
	{.name = "log-level",
	 .type = CONF_ENUM,
	 .values = log_levels,
	 .dflt = "info",
	 FIELD(log_level),
	 .help = "What is logged: err, warn, info or debug."},
};
static_assert(ARRAY_SIZE(keys) <= CONF_MAX_KEYS, "struct witness_conf has no room");

const struct conf_key *witness_conf_keys(size_t *n)
{
	*n = ARRAY_SIZE(keys);
	return keys;
}

int witness_conf_load(const char *path, struct witness_conf *c, struct err *e)
{
	*c = (struct witness_conf){.listen_port = 0};
	if (strlen(path) >= sizeof(c->path))
		return err_set(e, -ENAMETOOLONG, "read %.64s...", path);
	memcpy(c->path, path, strlen(path) + 1);
	return conf_load_keys(path, keys, ARRAY_SIZE(keys), c, c->source_line, e);
}

void witness_conf_print(const struct witness_conf *c, FILE *out)
{
	conf_print_keys(c->path, keys, ARRAY_SIZE(keys), c, c->source_line, out);
}
