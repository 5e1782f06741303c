/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said to etcd's JSON gateway (v3) and what it says: bytes are base64, 64-bit numbers are texts. */
#ifndef ARBITER_ETCD_JSON_H
#define ARBITER_ETCD_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define ETCD_VALUE_MAX 512
#define ETCD_BODY_SIZE 4096 /* of what we say */

struct etcd_kv {
	bool there;
	uint64_t revision; /* mod_revision; 0 when it is not there */
	size_t len;
	char value[ETCD_VALUE_MAX];
};

/* Into body, a text. 0 or -EMSGSIZE, -ENOMEM. */
MUST_CHECK int etcd_json_range(const char *key, char body[ETCD_BODY_SIZE], struct err *e);
/* Put the value if the key's mod_revision is still this; else say what it is. */
MUST_CHECK int etcd_json_swap(const char *key, uint64_t revision, const char *value,
			      char body[ETCD_BODY_SIZE], struct err *e);

/* Any text. 0, -EBADMSG or -ENOMEM. */
MUST_CHECK int etcd_json_range_answer(const char *key, const char *text, size_t len,
				      struct etcd_kv *kv, struct err *e);
/* *swapped, or what the key is now in *kv. */
MUST_CHECK int etcd_json_swap_answer(const char *key, const char *text, size_t len, bool *swapped,
				     struct etcd_kv *kv, struct err *e);
/* What etcd says besides status 200; buf gets one line. Returns buf. */
const char *etcd_json_error(const char *text, size_t len, char *buf, size_t size);

/* Returns the length of text, or 0 if it does not fit. */
size_t base64_encode(const void *data, size_t len, char *text, size_t size);
/* Strict: no blanks, padded, no spare bits. 0 and *len, or -EBADMSG, -EMSGSIZE. */
MUST_CHECK int base64_decode(const char *text, void *data, size_t size, size_t *len);

#endif
