/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building one JSON value; with json_in.c the one place that uses json-c. Any thread, one at a time per
 * value. Memory that runs out is remembered in the root and reported once, by json_out_line(): the
 * functions in between return nothing and take NULL.
 */
#ifndef LIB_JSON_OUT_H
#define LIB_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct json;
struct json_in;

void json_out_free(struct json *j);
/* A new object that the caller owns. NULL without memory. */
ALLOCATES(json_out_free) struct json *json_out_new(void);

/*
 * Add a member. key NULL: j is an array and the value is appended. A second value of the same key
 * replaces the first. Text is copied; bytes that are not UTF-8 become '?'. NULL text becomes null.
 */
void json_out_text(struct json *j, const char *key, const char *text);
PRINTF(3, 4) void json_out_textf(struct json *j, const char *key, const char *fmt, ...);
void json_out_u64(struct json *j, const char *key, uint64_t v);
void json_out_i64(struct json *j, const char *key, int64_t v);
/* Infinite and NaN become null. */
void json_out_double(struct json *j, const char *key, double v);
void json_out_bool(struct json *j, const char *key, bool v);

/* What somebody else wrote, as it is; NULL becomes null. v may be freed afterwards. */
void json_out_value(struct json *j, const char *key, const struct json_in *v);

/* A new object or array in j, owned by j, never freed by the caller. NULL without memory: may be passed on. */
struct json *json_out_object(struct json *j, const char *key);
struct json *json_out_array(struct json *j, const char *key);

/*
 * The whole value on one line, without a newline; *len without the final 0. Owned by j, valid until j
 * changes. NULL if memory ran out at any time since json_out_new().
 */
const char *json_out_line(struct json *j, size_t *len);

#endif
