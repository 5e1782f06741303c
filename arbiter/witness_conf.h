/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /etc/romulus/witness.conf: the settings of romulus-witness. A key that is not known is an error. */
#ifndef ARBITER_WITNESS_CONF_H
#define ARBITER_WITNESS_CONF_H

#include <stdint.h>
#include <stdio.h>

#include "lib/compiler.h"
#include "lib/conf.h"

struct err;

#define WITNESS_CONF_PATH CONF_DIR "/witness.conf"

struct witness_conf {
	char listen_address[CONF_ADDRESS_SIZE];
	uint64_t listen_port;
	char tls_ca[CONF_PATH_SIZE];
	char tls_cert[CONF_PATH_SIZE];
	char tls_key[CONF_PATH_SIZE];
	char state_dir[CONF_PATH_SIZE];
	uint64_t max_connections;
	uint64_t timeout_ns; /* of a connection, from accept to close */
	uint64_t max_vms;
	uint64_t log_level; /* enum log_level */

	/* For witness_conf_print(). */
	char path[CONF_PATH_SIZE];
	unsigned int source_line[CONF_MAX_KEYS];
};

/* 0, -ENOENT, -EINVAL (text has file:line), or another negative errno. */
MUST_CHECK int witness_conf_load(const char *path, struct witness_conf *c, struct err *e);
void witness_conf_print(const struct witness_conf *c, FILE *out);
/* The schema. */
const struct conf_key *witness_conf_keys(size_t *n);

#endif
