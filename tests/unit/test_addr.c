/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/clock.h"
#include "lib/err.h"

#define SECONDS(n) clock_add(clock_now(), (n)*NS_PER_SEC)

static void numbers(void **state)
{
	static const struct {
		const char *host;
		const char *text;
	} t[] = {
		{"192.0.2.1", "192.0.2.1:7403"},
		{"2001:db8::1", "[2001:db8::1]:7403"},
		{"::1", "[::1]:7403"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr_list list;
		char buf[ADDR_TEXT_SIZE];

		/* No resolver is asked: a deadline in the past does not matter. */
		assert_int_equal(addr_resolve(t[i].host, 7403, &list, -1, 1, NULL), 0);
		assert_int_equal(list.n, 1);
		assert_string_equal(addr_format(&list.a[0], buf), t[i].text);
		assert_int_equal(addr_port(&list.a[0]), 7403);
		addr_set_port(&list.a[0], 1);
		assert_int_equal(addr_port(&list.a[0]), 1);
	}
}

static void names(void **state)
{
	struct addr_list list;
	struct err e = ERR_INIT;

	assert_int_equal(addr_resolve("localhost", 80, &list, -1, SECONDS(60), &e), 0);
	assert_true(list.n >= 1 && list.n <= ADDR_MAX);
	assert_int_equal(addr_port(&list.a[0]), 80);
}

static void no_hosts(void **state)
{
	char host[300];
	struct addr_list list;
	struct err e = ERR_INIT;

	assert_int_equal(addr_resolve("", 80, &list, -1, SECONDS(60), &e), -EHOSTUNREACH);
	memset(host, 'x', sizeof(host) - 1);
	host[sizeof(host) - 1] = 0;
	assert_int_equal(addr_resolve(host, 80, &list, -1, SECONDS(60), &e), -EHOSTUNREACH);
	/* A label that is too long: the resolver says no without asking anybody. */
	host[100] = 0;
	assert_int_equal(addr_resolve(host, 80, &list, -1, SECONDS(60), &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "resolve xxx"));
}

static void woken(void **state)
{
	int wake = eventfd(1, EFD_CLOEXEC);
	struct addr_list list;
	struct err e = ERR_INIT;

	assert_true(wake >= 0);
	assert_int_equal(addr_resolve("localhost", 80, &list, wake, SECONDS(60), &e), -ECANCELED);
	close(wake);
}

static void nothing(void **state)
{
	struct addr a = {.size = 0};
	char buf[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(&a, buf), "-");
	assert_int_equal(addr_port(&a), 0);
	addr_set_port(&a, 5);
	assert_int_equal(addr_port(&a), 0);
}

static void same_sources(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool same;
	} table[] = {
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.2", "::ffff:192.0.2.1", false},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "2001:db8::1", false},
		{"::", "0.0.0.0", false},
	};
	struct addr none = {.size = 0};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct addr_list a, b;

		assert_int_equal(addr_resolve(table[i].a, 1, &a, -1, SECONDS(60), &e), 0);
		assert_int_equal(addr_resolve(table[i].b, 2, &b, -1, SECONDS(60), &e), 0);
		if (addr_same_source(&a.a[0], &b.a[0]) != table[i].same)
			fail_msg("%s and %s", table[i].a, table[i].b);
		assert_false(addr_same_source(&a.a[0], &none));
	}
	assert_false(addr_same_source(&none, &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),  cmocka_unit_test(names),
		cmocka_unit_test(no_hosts), cmocka_unit_test(woken),
		cmocka_unit_test(nothing),  cmocka_unit_test(same_sources),
	};

	return RUN_TESTS("addr", tests);
}
