/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked of drills, and what is reported of one. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "replicator/drill_report.h"
#include "replicator/drill_request.h"
#include "replicator/epoch.h"

static void questions(void **state)
{
	static const struct {
		const char *text;
		int rc;
		enum drill_verb verb;
		uint64_t time_ms;
		const char *probe, *says;
	} t[] = {
		{"ask", 0, DRILL_ASK, 30000, "", ""},
		{"end", 0, DRILL_END, 30000, "", ""},
		{"start", 0, DRILL_START, 30000, "", ""},
		{"start {}", 0, DRILL_START, 30000, "", ""},
		{"start {\"time_ms\":1000}", 0, DRILL_START, 1000, "", ""},
		{"start {\"time_ms\":3600000,\"probe\":\"a b\"}", 0, DRILL_START, 3600000, "a b",
		 ""},
		{"start {\"time_ms\":999}", -EINVAL, 0, 0, "", "999 ms"},
		{"start {\"time_ms\":3600001}", -EINVAL, 0, 0, "", "3600001 ms"},
		{"start {\"probe\":\"a\\nb\"}", -EINVAL, 0, 0, "", "control"},
		{"start {", -EINVAL, 0, 0, "", "start of a drill"},
		{"start x", -EINVAL, 0, 0, "", "start of a drill"},
		{"starting", -EINVAL, 0, 0, "", "'starting'"},
		{"", -EINVAL, 0, 0, "", "''"},
		{"ask ", -EINVAL, 0, 0, "", "'ask '"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct drill_request r;
		struct err e = ERR_INIT;

		assert_int_equal(drill_request_parse(&r, t[i].text, strlen(t[i].text), &e),
				 t[i].rc);
		if (t[i].rc) {
			assert_non_null(strstr(e.text, t[i].says));
			continue;
		}
		assert_int_equal(r.verb, t[i].verb);
		assert_int_equal(r.time_ms, t[i].time_ms);
		assert_string_equal(r.probe, t[i].probe);
	}
}

static void a_probe_has_a_limit(void **state)
{
	char text[DRILL_PROBE_SIZE + 64];
	struct drill_request r;
	struct err e = ERR_INIT;

	snprintf(text, sizeof(text), "start {\"probe\":\"%0*d\"}", DRILL_PROBE_SIZE - 1, 1);
	assert_int_equal(drill_request_parse(&r, text, strlen(text), &e), 0);
	assert_int_equal(strlen(r.probe), DRILL_PROBE_SIZE - 1);
	snprintf(text, sizeof(text), "start {\"probe\":\"%0*d\"}", DRILL_PROBE_SIZE, 1);
	assert_int_equal(drill_request_parse(&r, text, strlen(text), &e), -EINVAL);
}

/* The other host names one of this host's programs, nothing else. */
static void a_peer_may_name_a_program(void **state)
{
	static const char *const bad[] = {"/bin/rm", "../rm", "rm -rf", "a;b", ".hidden", "a/b"};
	struct drill_request r = {.probe = "check-shop"};
	struct err e = ERR_INIT;
	char path[64];

	assert_int_equal(drill_request_remote(&r, "/etc/p", path, sizeof(path), &e), 0);
	assert_string_equal(path, "/etc/p/check-shop");
	assert_int_equal(drill_request_remote(&r, "/etc/p", path, 8, &e), -ENAMETOOLONG);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(r.probe, sizeof(r.probe), "%s", bad[i]);
		assert_int_equal(drill_request_remote(&r, "/etc/p", path, sizeof(path), &e),
				 -EPERM);
		assert_non_null(strstr(e.text, bad[i]));
		assert_non_null(strstr(e.text, "/etc/p"));
	}
}

static struct json_in *put(const struct drill_report *r, uint64_t now)
{
	struct json *j = json_out_new();
	struct json_in *in = NULL;
	const char *line;
	size_t len;

	drill_report_put(j, r, now);
	line = json_out_line(j, &len);
	assert_non_null(line);
	assert_int_equal(json_in_parse(line, len, &in, NULL), 0);
	json_out_free(j);
	return in;
}

static void a_report(void **state)
{
	static struct drill_report r = {.vm = "web", .host = "b", .epoch = EPOCH_NONE};
	struct json_in *j;

	drill_report_phase(&r, DRILL_PREPARING, 1000 * NS_PER_MS);
	j = put(&r, 1250 * NS_PER_MS);
	assert_string_equal(json_in_text(j, "phase", ""), "preparing");
	assert_false(json_in_bool(j, "over", true));
	assert_string_equal(json_in_text(j, "verdict", ""), "undecided");
	assert_true(json_in_double(j, "ms.preparing", 0) == 250);
	assert_false(json_in_has(j, "ms.copying"));
	assert_false(json_in_has(j, "memory.free_after_mib"));
	json_in_free(j);
	/* It went from preparing to its end at once. */
	drill_report_verdict(&r, DRILL_BROKEN, "no %s", "room");
	drill_report_verdict(&r, DRILL_PASSED, "never");
	drill_report_phase(&r, DRILL_ENDING, 1500 * NS_PER_MS);
	drill_report_phase(&r, DRILL_OVER, 1600 * NS_PER_MS);
	r.free_kib = 3 << 10;
	j = put(&r, 9000 * NS_PER_MS);
	assert_true(json_in_double(j, "ms.preparing", 0) == 500);
	assert_true(json_in_double(j, "ms.ending", 0) == 100);
	assert_true(json_in_double(j, "ms.all", 0) == 600);
	assert_true(json_in_bool(j, "over", false));
	assert_false(json_in_bool(j, "passed", true));
	assert_string_equal(json_in_text(j, "verdict", ""), "broken");
	assert_string_equal(json_in_text(j, "why", ""), "no room");
	assert_int_equal(json_in_u64(j, "memory.free_mib", 0), 3);
	json_in_free(j);
}

/* What is left of one that had passed is said over it. */
static void what_is_left_counts(void **state)
{
	struct drill_report r = {.verdict = DRILL_UNDECIDED};

	drill_report_verdict(&r, DRILL_PASSED, "it answered");
	drill_report_verdict(&r, DRILL_FAILED, "no");
	assert_int_equal(r.verdict, DRILL_PASSED);
	drill_report_verdict(&r, DRILL_BROKEN, "web--drill could not be destroyed");
	assert_int_equal(r.verdict, DRILL_BROKEN);
	assert_string_equal(r.why, "web--drill could not be destroyed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions),
		cmocka_unit_test(a_probe_has_a_limit),
		cmocka_unit_test(a_peer_may_name_a_program),
		cmocka_unit_test(a_report),
		cmocka_unit_test(what_is_left_counts),
	};

	return RUN_TESTS("drill_request", tests);
}
