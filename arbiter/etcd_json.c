/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See etcd_json.h. */
#include "arbiter/etcd_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"

#define KEY_B64_SIZE 512

/* ---- base64 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *data, size_t len, char *text, size_t size)
{
	const uint8_t *p = data;
	size_t n = 0;

	if ((len + 2) / 3 * 4 + 1 > size)
		return 0;
	for (size_t i = 0; i < len; i += 3) {
		size_t have = MIN(len - i, (size_t)3);
		uint32_t v = (uint32_t)p[i] << 16;

		if (have > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (have > 2)
			v |= p[i + 2];
		text[n++] = digits[v >> 18];
		text[n++] = digits[v >> 12 & 63];
		text[n++] = have > 1 ? digits[v >> 6 & 63] : '=';
		text[n++] = have > 2 ? digits[v & 63] : '=';
	}
	text[n] = 0;
	return n;
}

/* Four characters to `have` bytes, 1 to 3, in the high ones of *v; 0 if they are none. */
static size_t decode_four(const char *text, bool last, uint32_t *v)
{
	size_t have = 3;

	*v = 0;
	if (last && text[3] == '=')
		have = text[2] == '=' ? 1 : 2;
	for (size_t i = 0; i < 4; i++) {
		const char *at = strchr(digits, text[i]);

		*v <<= 6;
		if (i > have)
			continue;
		if (!at || !text[i])
			return 0;
		*v |= (uint32_t)(at - digits);
	}
	return *v & ((1u << (24 - 8 * have)) - 1) ? 0 : have;
}

int base64_decode(const char *text, void *data, size_t size, size_t *len)
{
	size_t n = strlen(text);
	uint8_t *out = data;

	*len = 0;
	if (n % 4)
		return -EBADMSG;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v;
		size_t have = decode_four(text + i, i + 4 == n, &v);

		if (!have)
			return -EBADMSG;
		if (have > size - *len)
			return -EMSGSIZE;
		for (size_t j = 0; j < have; j++)
			out[(*len)++] = (uint8_t)(v >> (16 - 8 * j));
	}
	return 0;
}

/* ---- what is said ---- */

static int put_body(struct json *j, char body[ETCD_BODY_SIZE], struct err *e)
{
	size_t len = 0;
	const char *line = json_out_line(j, &len);
	int rc = 0;

	if (!line)
		rc = err_set(e, -ENOMEM, "question to etcd");
	else if (len >= ETCD_BODY_SIZE)
		rc = err_setx(e, -EMSGSIZE, "a question to etcd of %zu bytes", len);
	else
		memcpy(body, line, len + 1);
	json_out_free(j);
	return rc;
}

static int encode_text(const char *what, const char *text, char *out, size_t size, struct err *e)
{
	if (!base64_encode(text, strlen(text), out, size))
		return err_setx(e, -EMSGSIZE, "etcd: the %s \"%.64s\" is too long", what, text);
	return 0;
}

int etcd_json_range(const char *key, char body[ETCD_BODY_SIZE], struct err *e)
{
	char key_b64[KEY_B64_SIZE];
	struct json *j;
	int rc = encode_text("key", key, key_b64, sizeof(key_b64), e);

	if (rc < 0)
		return rc;
	j = json_out_new();
	json_out_text(j, "key", key_b64);
	return put_body(j, body, e);
}

int etcd_json_swap(const char *key, uint64_t revision, const char *value, char body[ETCD_BODY_SIZE],
		   struct err *e)
{
	char value_b64[2 * ETCD_VALUE_MAX];
	char key_b64[KEY_B64_SIZE];
	struct json *j;
	struct json *part;
	int rc = encode_text("key", key, key_b64, sizeof(key_b64), e);

	if (!rc)
		rc = encode_text("value", value, value_b64, sizeof(value_b64), e);
	if (rc < 0)
		return rc;
	j = json_out_new();
	part = json_out_object(json_out_array(j, "compare"), NULL);
	json_out_text(part, "key", key_b64);
	json_out_text(part, "target", "MOD");
	json_out_text(part, "result", "EQUAL");
	json_out_textf(part, "mod_revision", "%" PRIu64, revision);
	part = json_out_object(json_out_object(json_out_array(j, "success"), NULL), "request_put");
	json_out_text(part, "key", key_b64);
	json_out_text(part, "value", value_b64);
	part = json_out_object(json_out_object(json_out_array(j, "failure"), NULL),
			       "request_range");
	json_out_text(part, "key", key_b64);
	return put_body(j, body, e);
}

/* ---- what is answered ---- */

static int parse_number(const char *text, uint64_t *v)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return -EBADMSG;
	errno = 0;
	*v = strtoull(text, &end, 10);
	return *end || errno ? -EBADMSG : 0;
}

/* range: an object with "kvs", of exactly our key. */
static int get_kv(const char *key, const struct json_in *range, struct etcd_kv *kv, struct err *e)
{
	size_t n = json_in_count(range, "kvs");
	const struct json_in *item = json_in_item(range, "kvs", 0);
	const char *key_b64 = json_in_text(item, "key", "");
	const char *value_b64 = json_in_text(item, "value", "");
	char found[KEY_B64_SIZE];
	size_t len = 0;

	*kv = (struct etcd_kv){.there = false};
	if (!n && json_in_has(range, "kvs"))
		return err_setx(e, -EBADMSG, "etcd answered with keys that are no list");
	if (!n)
		return 0;
	if (n != 1 || base64_decode(key_b64, found, sizeof(found), &len) < 0 ||
	    len != strlen(key) || memcmp(found, key, len) != 0)
		return err_setx(e, -EBADMSG, "etcd answered with another key");
	if (parse_number(json_in_text(item, "mod_revision", NULL), &kv->revision) < 0 ||
	    !kv->revision)
		return err_setx(e, -EBADMSG, "etcd answered with no revision");
	if (base64_decode(value_b64, kv->value, sizeof(kv->value), &kv->len) < 0)
		return err_setx(e, -EBADMSG, "etcd's value of %s cannot be read", key);
	kv->there = true;
	return 0;
}

/* Each answer has a header; without it this is something else that speaks JSON. */
static int parse(const char *text, size_t len, struct json_in **out, struct err *e)
{
	uint64_t revision;
	int rc = json_in_parse(text, len, out, e);

	if (rc < 0)
		return err_wrap(e, rc, "etcd");
	if (parse_number(json_in_text(*out, "header.revision", NULL), &revision) == 0)
		return 0;
	json_in_free(*out);
	return err_setx(e, -EBADMSG, "the answer is not etcd's: it has no header");
}

int etcd_json_range_answer(const char *key, const char *text, size_t len, struct etcd_kv *kv,
			   struct err *e)
{
	struct json_in *j;
	int rc = parse(text, len, &j, e);

	if (rc < 0)
		return rc;
	rc = get_kv(key, j, kv, e);
	json_in_free(j);
	return rc;
}

int etcd_json_swap_answer(const char *key, const char *text, size_t len, bool *swapped,
			  struct etcd_kv *kv, struct err *e)
{
	const struct json_in *response;
	const struct json_in *range;
	struct json_in *j;
	int rc = parse(text, len, &j, e);

	if (rc < 0)
		return rc;
	/* The gateway leaves out what is false. */
	*swapped = json_in_bool(j, "succeeded", false);
	response = json_in_item(j, "responses", 0);
	range = json_in_at(response, "response_range");
	/* What was done must be what was said: a put if it succeeded, else what is there. */
	if (json_in_count(j, "responses") != 1 ||
	    !json_in_has(response, *swapped ? "response_put" : "response_range"))
		rc = err_setx(e, -EBADMSG, "etcd's answer to a transaction makes no sense");
	else if (!*swapped)
		rc = get_kv(key, range, kv, e);
	json_in_free(j);
	return rc;
}

const char *etcd_json_error(const char *text, size_t len, char *buf, size_t size)
{
	struct json_in *j = NULL;
	const char *said = NULL;

	if (json_in_parse(text, len, &j, NULL) == 0) {
		said = json_in_text(j, "message", NULL);
		if (!said)
			said = json_in_text(j, "error", NULL);
	}
	(void)snprintf(buf, size, "%s", said ? said : "no reason given");
	json_in_free(j);
	return buf;
}
