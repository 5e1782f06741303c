/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * etcd as the arbiter: one key for each VM with the line of record.h as its value, changed by one
 * transaction that compares the key's revision. The same rules as the witness's (ballot.h), decided here.
 */
#ifndef ARBITER_ETCD_H
#define ARBITER_ETCD_H

#include "arbiter/ballot.h"

struct conf;

/*
 * Within arbiter.timeout, of which each endpoint gets its share of what is left. Reads are linearizable and
 * a change is acknowledged by a majority, so what is GRANTED is durable. A transaction whose answer was
 * lost is found at the next endpoint, or at the next question.
 */
void etcd_ask(const struct conf *conf, const struct ballot *b, struct verdict *v);

#endif
