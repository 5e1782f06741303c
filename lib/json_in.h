/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a JSON text that somebody else wrote: bounded in size and depth, and every getter has an answer
 * for a member that is missing or of another type. Any thread.
 */
#ifndef LIB_JSON_IN_H
#define LIB_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
/* A value: the whole text or a part of it. */
struct json_in;

#define JSON_IN_MAX_BYTES (1u << 20)
#define JSON_IN_MAX_DEPTH 16

/*
 * Exactly one value and white space. The caller owns *out: json_in_free().
 * 0, -EMSGSIZE, -EBADMSG or -ENOMEM.
 */
MUST_CHECK int json_in_parse(const char *text, size_t len, struct json_in **out, struct err *e);
/* Only for what json_in_parse() returned. NULL is a no-op. */
void json_in_free(struct json_in *v);

/*
 * path is member names with dots between, "copy.percent"; NULL is v itself. v may be NULL. Results belong
 * to the parsed root.
 */
const struct json_in *json_in_at(const struct json_in *v, const char *path);
bool json_in_has(const struct json_in *v, const char *path);
const char *json_in_text(const struct json_in *v, const char *path, const char *missing);
/* A negative number gives 0. */
uint64_t json_in_u64(const struct json_in *v, const char *path, uint64_t missing);
double json_in_double(const struct json_in *v, const char *path, double missing);
bool json_in_bool(const struct json_in *v, const char *path, bool missing);
/* Elements of an array, 0 if it is none. */
size_t json_in_count(const struct json_in *v, const char *path);
const struct json_in *json_in_item(const struct json_in *v, const char *path, size_t i);
/* The name of the ith member of an object, in the order of the text; NULL: there is none. */
const char *json_in_key(const struct json_in *v, const char *path, size_t i);
/* ... and its value. */
const struct json_in *json_in_value(const struct json_in *v, const char *path, size_t i);

#endif
