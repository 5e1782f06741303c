/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sm.h"

enum {
	ONE,
	TWO,
	THREE
};

static const struct sm_state states[] = {
	[ONE] = {"one", SM_BIT(TWO), SM_INITIAL},
	[TWO] = {"two", SM_BIT(ONE) | SM_BIT(THREE), 0},
	[THREE] = {"three", 0, SM_FINAL},
};

static const struct sm_table table = {"test", states, ARRAY_SIZE(states)};

static void moves(void **state)
{
	static const bool allowed[3][3] = {
		[ONE] = {false, true, false},
		[TWO] = {true, false, true},
		[THREE] = {false, false, false},
	};

	assert_null(sm_flaw(&table));
	for (unsigned int from = 0; from < 3; from++) {
		for (unsigned int to = 0; to < 3; to++)
			assert_int_equal(sm_allowed(&table, from, to), allowed[from][to]);
	}
	assert_false(sm_allowed(&table, 3, ONE));
	assert_false(sm_allowed(&table, ONE, 3));
	assert_int_equal(sm_move(&table, ONE, TWO), TWO);
	assert_string_equal(sm_name(&table, TWO), "two");
	assert_string_equal(sm_name(&table, 3), "?");
}

/* A move that the table does not know is our mistake, and ends the program. */
static void a_wrong_move_aborts(void **state)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		signal(SIGABRT, SIG_DFL);
		sm_move(&table, ONE, THREE);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void flaws(void **state)
{
	static const struct sm_state nameless[] = {{NULL, 0, SM_INITIAL | SM_FINAL}};
	static const struct sm_state astray[] = {{"a", SM_BIT(1), SM_INITIAL}};
	static const struct sm_state circle[] = {{"a", SM_BIT(0), SM_INITIAL}};
	static const struct sm_state undead[] = {{"a", SM_BIT(1), SM_INITIAL | SM_FINAL},
						 {"b", 0, SM_FINAL}};
	static const struct sm_state dead_end[] = {{"a", 0, SM_INITIAL}};
	static const struct sm_state island[] = {
		{"a", SM_BIT(1), SM_INITIAL}, {"b", 0, SM_FINAL}, {"c", SM_BIT(1), 0}};
	static const struct {
		struct sm_table table;
		const char *flaw;
	} cases[] = {
		{{"t", NULL, 0}, "no states, or too many"},
		{{"t", NULL, SM_MAX_STATES + 1}, "no states, or too many"},
		{{"t", nameless, 1}, "a state without a name"},
		{{"t", astray, 1}, "a way to a state that is not there"},
		{{"t", circle, 1}, "a state that follows itself"},
		{{"t", undead, 2}, "a final state that goes on"},
		{{"t", dead_end, 1}, "a state that leads nowhere and is not final"},
		{{"t", island, 3}, "a state that cannot be reached"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *flaw = sm_flaw(&cases[i].table);

		assert_non_null(flaw);
		assert_string_equal(flaw, cases[i].flaw);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves),
		cmocka_unit_test(a_wrong_move_aborts),
		cmocka_unit_test(flaws),
	};

	return RUN_TESTS("sm", tests);
}
