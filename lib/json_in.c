/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See json_in.h. A struct json_in is json-c's object under a name of ours and never defined. */
#include "lib/json_in.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <string.h>

#include "lib/err.h"

static const struct json_object *in(const struct json_in *v)
{
	return (const struct json_object *)(const void *)v;
}

static bool rest_is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			return false;
	}
	return true;
}

int json_in_parse(const char *text, size_t len, struct json_in **out, struct err *e)
{
	struct json_tokener *tok;
	struct json_object *v;
	enum json_tokener_error r;
	size_t end;

	if (len > JSON_IN_MAX_BYTES)
		return err_setx(e, -EMSGSIZE, "a JSON text of %zu bytes; %u are allowed", len,
				JSON_IN_MAX_BYTES);
	tok = json_tokener_new_ex(JSON_IN_MAX_DEPTH);
	if (!tok)
		return err_set(e, -ENOMEM, "parse JSON");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS |
					    JSON_TOKENER_VALIDATE_UTF8);
	v = json_tokener_parse_ex(tok, text, (int)len);
	r = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	/* A bare number or word ends only at what follows; nobody sends one. */
	if (r != json_tokener_success || !v || !rest_is_blank(text + end, len - end)) {
		json_object_put(v);
		return err_setx(e, -EBADMSG, "not a JSON text: %s at byte %zu",
				r != json_tokener_success ? json_tokener_error_desc(r)
							  : "something follows",
				end);
	}
	*out = (struct json_in *)(void *)v;
	return 0;
}

void json_in_free(struct json_in *v)
{
	json_object_put((struct json_object *)(void *)v);
}

const struct json_in *json_in_at(const struct json_in *v, const char *path)
{
	char name[64];

	while (path && *path && v) {
		size_t len = strcspn(path, ".");
		struct json_object *member = NULL;

		if (len >= sizeof(name))
			return NULL;
		memcpy(name, path, len);
		name[len] = 0;
		if (!json_object_object_get_ex(in(v), name, &member))
			return NULL;
		v = (const struct json_in *)(const void *)member;
		path += len + (path[len] == '.');
	}
	return v;
}

static enum json_type type_at(const struct json_in *v)
{
	return json_object_get_type(in(v));
}

static bool is_number(const struct json_in *v)
{
	return type_at(v) == json_type_int || type_at(v) == json_type_double;
}

bool json_in_has(const struct json_in *v, const char *path)
{
	return json_in_at(v, path) != NULL;
}

const char *json_in_text(const struct json_in *v, const char *path, const char *missing)
{
	v = json_in_at(v, path);
	if (type_at(v) != json_type_string)
		return missing;
	return json_object_get_string((struct json_object *)(void *)(uintptr_t)v);
}

uint64_t json_in_u64(const struct json_in *v, const char *path, uint64_t missing)
{
	v = json_in_at(v, path);
	return is_number(v) ? json_object_get_uint64(in(v)) : missing;
}

double json_in_double(const struct json_in *v, const char *path, double missing)
{
	v = json_in_at(v, path);
	/* json-c reads NaN and Infinity, which are no JSON. */
	return is_number(v) && isfinite(json_object_get_double(in(v)))
		       ? json_object_get_double(in(v))
		       : missing;
}

bool json_in_bool(const struct json_in *v, const char *path, bool missing)
{
	v = json_in_at(v, path);
	return type_at(v) == json_type_boolean ? json_object_get_boolean(in(v)) != 0 : missing;
}

size_t json_in_count(const struct json_in *v, const char *path)
{
	v = json_in_at(v, path);
	return type_at(v) == json_type_array ? json_object_array_length(in(v)) : 0;
}

const struct json_in *json_in_item(const struct json_in *v, const char *path, size_t i)
{
	if (i >= json_in_count(v, path))
		return NULL;
	return (const struct json_in *)(const void *)json_object_array_get_idx(
		in(json_in_at(v, path)), i);
}

/* The iterator at the ith member; false: there is none. */
static bool find_member(const struct json_in *v, const char *path, size_t i,
			struct json_object_iterator *at)
{
	struct json_object_iterator end;

	v = json_in_at(v, path);
	if (type_at(v) != json_type_object)
		return false;
	/* The iterator changes nothing; json-c's own functions do not say so. */
	*at = json_object_iter_begin((struct json_object *)(uintptr_t)v);
	end = json_object_iter_end((struct json_object *)(uintptr_t)v);
	while (i && !json_object_iter_equal(at, &end)) {
		json_object_iter_next(at);
		i--;
	}
	return !json_object_iter_equal(at, &end);
}

const char *json_in_key(const struct json_in *v, const char *path, size_t i)
{
	struct json_object_iterator at;

	return find_member(v, path, i, &at) ? json_object_iter_peek_name(&at) : NULL;
}

const struct json_in *json_in_value(const struct json_in *v, const char *path, size_t i)
{
	struct json_object_iterator at;

	if (!find_member(v, path, i, &at))
		return NULL;
	return (const struct json_in *)(const void *)json_object_iter_peek_value(&at);
}
