/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an arbiter remembers of a VM: the newest term, who holds it, and the two hosts that may ask for the
 * next one. One line of text, the same in the witness's files and in etcd's values, so that people can
 * read it:
 *
 *	romulus-term 1 8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b90 7 hosta hosta hostb\n
 *
 * format version, uuid, term, holder, the members. Pure.
 */
#ifndef ARBITER_RECORD_H
#define ARBITER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/uuid.h"
#include "lib/compiler.h"
#include "lib/names.h"

struct err;

#define RECORD_MEMBERS 2
/* Of the line, with its newline and a final 0. */
#define RECORD_TEXT_SIZE 320
#define RECORD_MAX_TERM (UINT64_MAX - 1)

struct record {
	uint8_t uuid[UUID_SIZE];
	uint64_t term;		/* 1..RECORD_MAX_TERM */
	char holder[NAME_SIZE]; /* one of the members */
	char member[RECORD_MEMBERS][NAME_SIZE];
};

/* Returns the length without the final 0. *r must make sense: our mistake otherwise. */
size_t record_encode(const struct record *r, char text[RECORD_TEXT_SIZE]);
/* Exactly one line in the one form that record_encode() gives. 0 or -EBADMSG. */
MUST_CHECK int record_decode(struct record *r, const char *text, size_t len, struct err *e);

bool record_has_member(const struct record *r, const char *host);

#endif
