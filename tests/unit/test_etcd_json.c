/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arbiter/etcd_json.h"
#include "lib/err.h"

#define HEADER "\"header\":{\"cluster_id\":\"1\",\"revision\":\"5\"}"
/* "/k" and "v". */
#define KV \
	"{\"key\":\"L2s=\",\"create_revision\":\"2\",\"mod_revision\":\"4\",\"version\":\"3\",\"value\":\"dg==\"}"

static void base64(void **state)
{
	static const struct {
		const char *data;
		const char *text;
	} pairs[] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xff\xfe\xfb", "//77"},
	};
	static const char *const bad[] = {"Zg=",  "Zg",	      "Z===", "====",	"Zh==", "Zm9=",
					  "Zm 9", "Zg==Zg==", "Zg=a", "Zm9v\n", "Zm-v", "=Zg="};
	char text[16];
	char data[16];
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(base64_encode(pairs[i].data, strlen(pairs[i].data), text,
					       sizeof(text)),
				 strlen(pairs[i].text));
		assert_string_equal(text, pairs[i].text);
		assert_int_equal(base64_decode(text, data, sizeof(data), &len), 0);
		assert_int_equal(len, strlen(pairs[i].data));
		assert_memory_equal(data, pairs[i].data, len);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (base64_decode(bad[i], data, sizeof(data), &len) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
	assert_int_equal(base64_decode("Zm9vYmFy", data, 5, &len), -EMSGSIZE);
	assert_int_equal(base64_encode("foobar", 6, text, 8), 0);
}

static void questions(void **state)
{
	char body[ETCD_BODY_SIZE];
	char long_key[600];

	assert_int_equal(etcd_json_range("/k", body, NULL), 0);
	assert_string_equal(body, "{\"key\":\"L2s=\"}");
	assert_int_equal(etcd_json_swap("/k", 4, "v", body, NULL), 0);
	assert_string_equal(
		body,
		"{\"compare\":[{\"key\":\"L2s=\",\"target\":\"MOD\",\"result\":\"EQUAL\","
		"\"mod_revision\":\"4\"}],\"success\":[{\"request_put\":{\"key\":\"L2s=\","
		"\"value\":\"dg==\"}}],\"failure\":[{\"request_range\":{\"key\":\"L2s=\"}}]}");
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = 0;
	assert_int_equal(etcd_json_range(long_key, body, NULL), -EMSGSIZE);
}

static int range(const char *text, struct etcd_kv *kv)
{
	return etcd_json_range_answer("/k", text, strlen(text), kv, NULL);
}

static void what_is_there(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"null",
		"{\"kvs\":[" KV "]}",
		"{" HEADER ",\"kvs\":{}}",
		"{" HEADER ",\"kvs\":[" KV "," KV "]}",
		"{" HEADER
		",\"kvs\":[{\"key\":\"L2o=\",\"mod_revision\":\"4\",\"value\":\"dg==\"}]}",
		"{" HEADER
		",\"kvs\":[{\"key\":\"L2s=\",\"mod_revision\":\"0\",\"value\":\"dg==\"}]}",
		"{" HEADER
		",\"kvs\":[{\"key\":\"L2s=\",\"mod_revision\":\"x\",\"value\":\"dg==\"}]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"L2s=\",\"value\":\"dg==\"}]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"L2s=\",\"mod_revision\":\"4\",\"value\":\"dg\"}]}",
	};
	struct etcd_kv kv;

	assert_int_equal(range("{" HEADER "}", &kv), 0);
	assert_false(kv.there);
	assert_int_equal(kv.revision, 0);
	assert_int_equal(range("{" HEADER ",\"kvs\":[" KV "],\"count\":\"1\"}", &kv), 0);
	assert_true(kv.there);
	assert_int_equal(kv.revision, 4);
	assert_int_equal(kv.len, 1);
	assert_memory_equal(kv.value, "v", 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (range(bad[i], &kv) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
}

static int swapped(const char *text, bool *done, struct etcd_kv *kv)
{
	return etcd_json_swap_answer("/k", text, strlen(text), done, kv, NULL);
}

/* "succeeded" alone is not believed: what was done must be what was asked for. */
static void what_came_of_it(void **state)
{
	static const char *const bad[] = {
		"{" HEADER ",\"succeeded\":true}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{" HEADER "}}]}",
		"{" HEADER ",\"responses\":[{\"response_put\":{" HEADER "}}]}",
		"{" HEADER ",\"responses\":[{\"response_range\":{" HEADER
		"}},{\"response_put\":{}}]}",
		"{" HEADER "}",
		"{\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}",
	};
	struct etcd_kv kv;
	bool done;

	assert_int_equal(swapped("{" HEADER
				 ",\"succeeded\":true,\"responses\":[{\"response_put\":{" HEADER
				 "}}]}",
				 &done, &kv),
			 0);
	assert_true(done);
	assert_int_equal(swapped("{" HEADER ",\"responses\":[{\"response_range\":{" HEADER
				 ",\"kvs\":[" KV "]}}]}",
				 &done, &kv),
			 0);
	assert_false(done);
	assert_int_equal(kv.revision, 4);
	assert_int_equal(swapped("{" HEADER
				 ",\"succeeded\":false,\"responses\":[{\"response_range\":{" HEADER
				 "}}]}",
				 &done, &kv),
			 0);
	assert_false(done);
	assert_false(kv.there);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (swapped(bad[i], &done, &kv) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
}

static const char *complaint(const char *text, size_t size)
{
	static char buf[32];

	return etcd_json_error(text, strlen(text), buf, size);
}

static void complaints(void **state)
{
	assert_string_equal(complaint("{\"error\":\"x\",\"message\":\"no leader\"}", 32),
			    "no leader");
	assert_string_equal(complaint("{\"error\":\"x\"}", 32), "x");
	assert_string_equal(complaint("404 page", 32), "no reason given");
	assert_string_equal(complaint("{\"error\":\"0123456789abcdef\"}", 8), "0123456");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64),	 cmocka_unit_test(questions),
		cmocka_unit_test(what_is_there), cmocka_unit_test(what_came_of_it),
		cmocka_unit_test(complaints),
	};

	return RUN_TESTS("etcd_json", tests);
}
