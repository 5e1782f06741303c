/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The witness's memory: a folder with one file for each VM, <uuid>.grant (lib/persist around the line of
 * record.h), replaced durably before an answer is given. Files are read at each question and nothing is
 * kept in memory, so a crash at any point leaves nothing behind that differs from the disk.
 *
 * The folder has a file "witness" that only witness_store_init() makes. Without it the store does not open:
 * a witness whose file system is not mounted has forgotten every grant and must not grant anew. The file is
 * locked while the store is open, so there is one writer.
 *
 * One thread. Blocks on the disk.
 */
#ifndef ARBITER_WITNESS_STORE_H
#define ARBITER_WITNESS_STORE_H

#include <stdint.h>

#include "arbiter/ballot.h"
#include "arbiter/record.h"
#include "lib/compiler.h"

struct err;
struct witness_store;

/* Makes the folder if need be, and its mark. 0, -EEXIST (is one already), -ENOTEMPTY (grants without the mark). */
MUST_CHECK int witness_store_init(const char *dir, struct err *e);

/* 0 and the caller owns *out; -ENOENT without the mark, -EBUSY when another one has it. */
MUST_CHECK int witness_store_open(const char *dir, uint64_t max_vms, struct witness_store **out,
				  struct err *e);
void witness_store_close(struct witness_store *s);

/*
 * Answers. What is GRANTED is durable. A record that cannot be read, or not be made durable, is UNKNOWN
 * with a text; of a damaged one (true is returned) nothing is granted until the operator removed it.
 */
bool witness_store_ask(struct witness_store *s, const struct ballot *b, struct verdict *v);

/*
 * Each record in no order, needs no open store; rc < 0: it cannot be read, only r->uuid is valid. Stops at
 * non-zero, which is returned.
 */
typedef int witness_store_fn(void *arg, const struct record *r, int rc, const struct err *e);
MUST_CHECK int witness_store_each(const char *dir, witness_store_fn *fn, void *arg, struct err *e);

/* The operator's: durably removed, whatever is in it. -ENOENT when there was none. */
MUST_CHECK int witness_store_forget(const char *dir, const uint8_t uuid[UUID_SIZE], struct err *e);

#endif
