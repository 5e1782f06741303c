/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See json_out.h. */
#include "lib/json_out.h"

#include <json-c/json.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"

struct json {
	struct json_object *value; /* owned by the parent's value, or by the root */
	struct json *root;
	struct json *next; /* all parts of a root, to free them */
	bool failed;	   /* the root's alone counts */
};

struct json *json_out_new(void)
{
	struct json *j = mem_zalloc(sizeof(*j));

	if (!j)
		return NULL;
	j->root = j;
	j->value = json_object_new_object();
	if (!j->value) {
		mem_free(j);
		return NULL;
	}
	return j;
}

void json_out_free(struct json *j)
{
	if (!j)
		return;
	json_object_put(j->value);
	while (j) {
		struct json *next = j->next;

		mem_free(j);
		j = next;
	}
}

/* Takes value, whatever happens; NULL stands for memory that ran out. */
static bool add_take(struct json *j, const char *key, struct json_object *value)
{
	int r;

	if (!j || !value) {
		json_object_put(value);
		if (j)
			j->root->failed = true;
		return false;
	}
	if (key)
		r = json_object_object_add(j->value, key, value);
	else
		r = json_object_array_add(j->value, value);
	if (r < 0) {
		json_object_put(value);
		j->root->failed = true;
	}
	return r >= 0;
}

/* null is no object of json-c's. */
static void add_null(struct json *j, const char *key)
{
	int r;

	if (!j)
		return;
	r = key ? json_object_object_add(j->value, key, NULL)
		: json_object_array_add(j->value, NULL);
	if (r < 0)
		j->root->failed = true;
}

/* Length of the UTF-8 sequence at p, 0 if there is none. p ends with a 0. */
static size_t utf8_len(const unsigned char *p)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80       ? 1
		     : p[0] >> 5 == 6  ? 2
		     : p[0] >> 4 == 14 ? 3
		     : p[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t code;

	if (len < 2)
		return len;
	code = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return len;
}

static void make_utf8(char *text)
{
	unsigned char *p = (unsigned char *)text;
	size_t len;

	for (; *p; p += len) {
		len = utf8_len(p);
		if (!len) {
			*p = '?';
			len = 1;
		}
	}
}

void json_out_text(struct json *j, const char *key, const char *text)
{
	char *copy;

	if (!text) {
		add_null(j, key);
		return;
	}
	copy = mem_strdup(text);
	if (copy)
		make_utf8(copy);
	add_take(j, key, copy ? json_object_new_string(copy) : NULL);
	mem_free(copy);
}

void json_out_textf(struct json *j, const char *key, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = 0;
	va_end(args);
	json_out_text(j, key, text);
}

void json_out_u64(struct json *j, const char *key, uint64_t v)
{
	add_take(j, key, json_object_new_uint64(v));
}

void json_out_i64(struct json *j, const char *key, int64_t v)
{
	add_take(j, key, json_object_new_int64(v));
}

void json_out_double(struct json *j, const char *key, double v)
{
	char text[32];

	if (!isfinite(v)) {
		add_null(j, key);
		return;
	}
	/* Three decimals are plenty for rates and milliseconds; json-c would print 17 digits. */
	snprintf(text, sizeof(text), fabs(v) < 1e15 ? "%.3f" : "%.17g", v);
	add_take(j, key, json_object_new_double_s(v, text));
}

void json_out_bool(struct json *j, const char *key, bool v)
{
	add_take(j, key, json_object_new_boolean(v));
}

/* A struct json_in is json-c's object (json_in.c); both hold a reference from here on. */
void json_out_value(struct json *j, const char *key, const struct json_in *v)
{
	if (v)
		add_take(j, key, json_object_get((struct json_object *)(void *)(uintptr_t)v));
	else
		add_null(j, key);
}

static struct json *add_part(struct json *j, const char *key, struct json_object *value)
{
	struct json *part = j ? mem_zalloc(sizeof(*part)) : NULL;

	if (!part) {
		json_object_put(value);
		value = NULL;
	}
	if (!add_take(j, key, value)) {
		mem_free(part);
		return NULL;
	}
	part->value = value;
	part->root = j->root;
	part->next = j->root->next;
	j->root->next = part;
	return part;
}

struct json *json_out_object(struct json *j, const char *key)
{
	return add_part(j, key, json_object_new_object());
}

struct json *json_out_array(struct json *j, const char *key)
{
	return add_part(j, key, json_object_new_array());
}

const char *json_out_line(struct json *j, size_t *len)
{
	const char *line;

	if (j->root->failed)
		return NULL;
	line = json_object_to_json_string_length(
		j->value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, len);
	return line;
}
