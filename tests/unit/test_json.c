/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/mem.h"

static void builds(void **state)
{
	struct json *j = json_out_new();
	struct json *o;
	struct json *a;
	size_t len;
	const char *line;

	json_out_bool(j, "ok", true);
	json_out_text(j, "vm", "a\"b\n/");
	json_out_text(j, "none", NULL);
	json_out_textf(j, "n", "%d of %d", 1, 2);
	json_out_u64(j, "big", UINT64_MAX);
	json_out_i64(j, "neg", -5);
	json_out_double(j, "pi", 3.14159);
	json_out_double(j, "inf", INFINITY);
	o = json_out_object(j, "o");
	json_out_u64(o, "x", 1);
	a = json_out_array(o, "a");
	json_out_u64(a, NULL, 1);
	json_out_text(a, NULL, NULL);
	json_out_bool(json_out_object(a, NULL), "y", false);
	/* The first place, the last value. */
	json_out_bool(j, "ok", false);
	line = json_out_line(j, &len);
	assert_string_equal(line,
			    "{\"ok\":false,\"vm\":\"a\\\"b\\n/\",\"none\":null,\"n\":\"1 of 2\","
			    "\"big\":18446744073709551615,\"neg\":-5,\"pi\":3.142,\"inf\":null,"
			    "\"o\":{\"x\":1,\"a\":[1,null,{\"y\":false}]}}");
	assert_int_equal(len, strlen(line));
	json_out_free(j);
	json_out_free(NULL);
}

static void only_utf8_leaves(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} table[] = {
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xf0\x9f\x90\xba", "\xf0\x9f\x90\xba"},
		{"a\xff", "a?"},
		{"\xc3", "?"},
		{"\xc3(", "?("},
		{"\xc0\x80", "??"},	      /* overlong */
		{"\xed\xa0\x80", "???"},      /* surrogate */
		{"\xf5\x80\x80\x80", "????"}, /* beyond the last */
		{"\x80z", "?z"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct json *j = json_out_new();
		struct json_in *v = NULL;
		const char *line;
		size_t len;

		json_out_text(j, "t", table[i].in);
		line = json_out_line(j, &len);
		assert_int_equal(json_in_parse(line, len, &v, NULL), 0);
		assert_string_equal(json_in_text(v, "t", ""), table[i].out);
		json_in_free(v);
		json_out_free(j);
	}
}

/* Wherever memory runs out: no crash, and never half an answer. */
static void no_memory(void **state)
{
	for (long n = 0;; n++) {
		struct json *j;
		const char *line = NULL;
		size_t len;

		mem_fail_after(n);
		j = json_out_new();
		if (j) {
			struct json *o = json_out_object(j, "o");

			json_out_text(o, "t", "x");
			json_out_u64(json_out_array(o, "a"), NULL, 1);
			line = json_out_line(j, &len);
		}
		mem_fail_after(MEM_NEVER);
		if (line)
			assert_string_equal(line, "{\"o\":{\"t\":\"x\",\"a\":[1]}}");
		json_out_free(j);
		if (line)
			break;
		assert_true(n < 100);
	}
	json_out_text(NULL, "x", "y");
	json_out_u64(NULL, NULL, 1);
	assert_null(json_out_object(NULL, "x"));
}

static void embeds_what_was_read(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\":2.5}]}";
	struct json *j = json_out_new();
	struct json_in *v = NULL;
	const char *line;
	size_t len;

	assert_int_equal(json_in_parse(text, strlen(text), &v, NULL), 0);
	json_out_value(j, "v", v);
	json_out_value(json_out_array(j, "w"), NULL, json_in_at(v, "a"));
	json_out_value(j, "n", NULL);
	json_in_free(v);
	line = json_out_line(j, &len);
	assert_string_equal(line,
			    "{\"v\":{\"a\":[1,{\"b\":2.5}]},\"w\":[[1,{\"b\":2.5}]],\"n\":null}");
	json_out_free(j);
}

static void reads(void **state)
{
	static const char text[] =
		" {\"s\":\"x\",\"n\":-3,\"u\":18446744073709551615,\"d\":2.5,\"t\":true,\"z\":null,"
		"\"o\":{\"p\":{\"q\":7}},\"a\":[1,\"two\",{\"three\":3}]} \n";
	struct json_in *v = NULL;

	assert_int_equal(json_in_parse(text, strlen(text), &v, NULL), 0);
	assert_string_equal(json_in_text(v, "s", "-"), "x");
	assert_string_equal(json_in_text(v, "n", "-"), "-");
	assert_string_equal(json_in_text(v, "missing", "-"), "-");
	assert_int_equal(json_in_u64(v, "u", 0), UINT64_MAX);
	assert_int_equal(json_in_u64(v, "n", 9), 0);
	assert_int_equal(json_in_u64(v, "s", 9), 9);
	assert_true(json_in_double(v, "d", 0) == 2.5);
	assert_true(json_in_double(v, "t", 1.5) == 1.5);
	assert_true(json_in_bool(v, "t", false));
	assert_false(json_in_bool(v, "s", false));
	assert_true(json_in_has(v, "s"));
	assert_false(json_in_has(v, "z"));
	assert_int_equal(json_in_u64(v, "o.p.q", 0), 7);
	assert_int_equal(json_in_u64(v, "o.x.q", 1), 1);
	assert_int_equal(json_in_u64(v, "s.q", 1), 1);
	assert_int_equal(json_in_count(v, "a"), 3);
	assert_int_equal(json_in_count(v, "o"), 0);
	assert_string_equal(json_in_text(json_in_item(v, "a", 1), NULL, "-"), "two");
	assert_int_equal(json_in_u64(json_in_item(v, "a", 2), "three", 0), 3);
	assert_null(json_in_item(v, "a", 3));
	assert_null(json_in_item(v, "o", 0));
	assert_string_equal(json_in_key(v, "o", 0), "p");
	assert_null(json_in_key(v, "o", 1));
	assert_null(json_in_key(v, "a", 0));
	assert_null(json_in_key(NULL, NULL, 0));
	assert_int_equal(json_in_u64(NULL, "a", 4), 4);
	assert_int_equal(
		json_in_u64(
			v, "0123456789012345678901234567890123456789012345678901234567890123456789",
			5),
		5);
	json_in_free(v);
	json_in_free(NULL);
	/* json-c takes some of these; nobody may get a NaN to calculate with. */
	if (!json_in_parse("{\"a\":NaN,\"b\":Infinity}", 24, &v, NULL)) {
		assert_true(json_in_double(v, "a", 1) == 1);
		assert_true(json_in_double(v, "b", 2) == 2);
		json_in_free(v);
	}
}

static void refuses(void **state)
{
	static const char *const table[] = {
		"",	      "{",    "{\"a\":}",	  "{} x",     "{}{}", "nope",
		"{\"a\":1,}", "[1,]", "{\"a\":\"\xff\"}", "// c\n{}",
	};
	char deep[64];
	struct json_in *v = NULL;
	char *big;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct err e = ERR_INIT;

		if (json_in_parse(table[i], strlen(table[i]), &v, &e) != -EBADMSG)
			fail_msg("\"%s\" was taken", table[i]);
		assert_true(*e.text);
	}
	assert_int_equal(json_in_parse("{\"a\":1}\0x", 9, &v, NULL), -EBADMSG);
	memset(deep, '[', 32);
	memset(deep + 32, ']', 32);
	assert_int_equal(json_in_parse(deep, 64, &v, NULL), -EBADMSG);
	big = calloc(1, JSON_IN_MAX_BYTES + 1);
	memset(big, ' ', JSON_IN_MAX_BYTES + 1);
	assert_int_equal(json_in_parse(big, JSON_IN_MAX_BYTES + 1, &v, NULL), -EMSGSIZE);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds),    cmocka_unit_test(only_utf8_leaves),
		cmocka_unit_test(no_memory), cmocka_unit_test(embeds_what_was_read),
		cmocka_unit_test(reads),     cmocka_unit_test(refuses),
	};

	return RUN_TESTS("json", tests);
}
