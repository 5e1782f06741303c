/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks romulus-witness: one connection, one question, one answer. */
#ifndef ARBITER_WITNESS_CLIENT_H
#define ARBITER_WITNESS_CLIENT_H

#include "arbiter/ballot.h"

struct conf;

/*
 * Within arbiter.timeout. The witness must show a certificate with the configured name, and records what
 * ours says. SIGPIPE must be ignored.
 */
void witness_client_ask(const struct conf *conf, const struct ballot *b, struct verdict *v);

#endif
