/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fence under agents that work, lie, hang, contradict themselves, print garbage. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arbiter/arbiter.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/mem.h"

static char dir[] = "/tmp/fence-XXXXXX";
static char agent[64];
static char power[64]; /* exists: the machine is off */
static char input[64]; /* what the agent was told, all runs */
static struct conf *conf;
static struct verdict v;

/* The script sees $action; its folder is its working directory. */
static void install(const char *body)
{
	FILE *file = fopen(agent, "w");

	assert_non_null(file);
	fprintf(file,
		"#!/bin/sh\ncd %s || exit 9\nin=$(cat)\nprintf '%%s\\n' \"$in\" >>input\n"
		"action=$(printf '%%s\\n' \"$in\" | sed -n 's/^action=//p')\n%s\n",
		dir, body);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(agent, 0700), 0);
}

/* What every good one does with status. */
#define STATUS                                                                             \
	"if [ $action = status ]; then if [ -e off ]; then echo Status: OFF; exit 2; fi; " \
	"echo Status: ON; exit 0; fi\n"
#define GOOD STATUS "[ $action = off ] && : >off"

static int set_up(void **state)
{
	(void)unlink(power);
	(void)unlink(input);
	memset(conf, 0, sizeof(*conf));
	conf->arbiter_kind = CONF_ARBITER_FENCE;
	snprintf(conf->host_name, sizeof(conf->host_name), "a");
	snprintf(conf->fence_agent, sizeof(conf->fence_agent), "%s", agent);
	snprintf(conf->fence_options, sizeof(conf->fence_options), "user=u\npassword=p q");
	snprintf(conf->peer[0].name, sizeof(conf->peer[0].name), "b");
	snprintf(conf->peer[0].fence_options, sizeof(conf->peer[0].fence_options), "plug=7");
	conf->n_peers = 1;
	conf->fence_timeout_ns = 20 * NS_PER_SEC;
	return 0;
}

static const char *ask(enum ballot_op op, const char *peer, bool is_backup,
		       const volatile sig_atomic_t *stop)
{
	static char line[VERDICT_LINE_SIZE];
	struct arbiter_ask q = {.is_backup = is_backup, .stop = stop};

	q.ballot = (struct ballot){.op = op, .term = op == BALLOT_LOOK ? 0 : 5, .asker = "a"};
	q.ballot.uuid[0] = 1;
	snprintf(q.ballot.peer, sizeof(q.ballot.peer), "%s", peer);
	arbiter_ask(conf, &q, &v);
	return verdict_format(&v, line);
}

static void refuses(const char *body, const char *why)
{
	const char *line;

	install(body);
	line = ask(BALLOT_VOTE, "b", false, NULL);
	if (v.kind != VERDICT_UNKNOWN || !strstr(line, why))
		fail_msg("\"%s\" instead of \"%s\"", line, why);
}

static void a_good_one(void **state)
{
	char told[512];
	ssize_t n;
	int fd;

	install(GOOD);
	assert_string_equal(ask(BALLOT_JOIN, "b", false, NULL), "granted 5");
	assert_string_equal(ask(BALLOT_LOOK, "b", false, NULL), "none");
	assert_int_equal(access(power, F_OK), -1);
	assert_string_equal(ask(BALLOT_VOTE, "b", false, NULL), "granted 5");
	assert_int_equal(access(power, F_OK), 0);
	assert_string_equal(ask(BALLOT_VOTE, "b", false, NULL), "granted 5");
	fd = open(input, O_RDONLY | O_CLOEXEC);
	n = read(fd, told, sizeof(told) - 1);
	close(fd);
	assert_true(n > 0);
	told[n] = 0;
	assert_int_equal(strncmp(told, "user=u\npassword=p q\nplug=7\naction=status\n", 41), 0);
	assert_non_null(strstr(told, "user=u\npassword=p q\nplug=7\naction=off\n"));
}

/* At join the peer is up: an agent that says "off" means another machine. */
static void the_wrong_machine(void **state)
{
	int fd = open(power, O_CREAT | O_CLOEXEC, 0600);

	close(fd);
	install(GOOD);
	assert_non_null(strstr(ask(BALLOT_JOIN, "b", false, NULL), "name another machine"));
}

static void liars(void **state)
{
	refuses("exit 0", "ended with status 0 and said neither");
	refuses(STATUS "exit 1", "action=off ended with status 1");
	refuses(STATUS "echo no such plug >&2; exit 1", "it complained: no such plug");
	refuses("[ $action = off ] && exit 0; echo Status: OFF; exit 0",
		"said \"Status: OFF\": not believed");
	refuses("[ $action = off ] && exit 0; exit 2", "status 2 and said neither");
	refuses("[ $action = off ] && exit 0; echo Status: ON; exit 2", "not believed");
	refuses("[ $action = off ] && exit 0; echo Status: ON; echo Status: OFF; exit 2", "both");
	/* Words about it are no status. */
	refuses("[ $action = off ] && exit 0; echo 'not Status: OFF'; exit 2", "said neither");
	refuses("[ $action = off ] && exit 0; echo Status: OFF >&2; exit 2", "said neither");
	/* Death is no answer. */
	refuses("[ $action = off ] && kill -9 $$; echo Status: OFF; exit 2", "status 137");
	refuses("[ $action = off ] && exit 0; kill -9 $$", "status 137");
}

static void one_that_does_nothing(void **state)
{
	conf->fence_timeout_ns = 3 * NS_PER_SEC;
	refuses(STATUS "exit 0", "but b is still on");
}

static void it_takes_its_time(void **state)
{
	install(STATUS "[ $action = off ] && { (sleep 1.5; : >off) >/dev/null 2>&1 & }; exit 0");
	assert_string_equal(ask(BALLOT_VOTE, "b", false, NULL), "granted 5");
}

static void one_that_hangs(void **state)
{
	uint64_t began = clock_now();

	conf->fence_timeout_ns = NS_PER_SEC;
	refuses("sleep 100", "did not end within");
	refuses("[ $action = off ] && exit 0; trap '' TERM; sleep 100 & wait; sleep 100",
		"did not end within");
	assert_in_range((clock_now() - began) / NS_PER_MS, 1900, 8000);
}

static void garbage(void **state)
{
	conf->fence_timeout_ns = 10 * NS_PER_SEC;
	refuses("head -c 100000 /dev/urandom; exit 2", "status 2");
	refuses("[ $action = off ] && exit 0; head -c 100000 /dev/urandom; echo; echo Status: OFF; exit 2",
		"said neither");
	refuses("[ $action = off ] && exit 0; printf 'a\\001\\nb\\007' >&2; exit 5",
		"complained: a  b ");
	/* A byte 0 before it hides nothing. */
	install("[ $action = off ] && exit 0; printf '\\000\\nstatus: off \\r\\n'; exit 2");
	assert_string_equal(ask(BALLOT_VOTE, "b", false, NULL), "granted 5");
}

static void no_agent(void **state)
{
	(void)unlink(agent);
	assert_non_null(strstr(ask(BALLOT_VOTE, "b", false, NULL), "No such file"));
	install(GOOD);
	assert_non_null(strstr(ask(BALLOT_VOTE, "c", false, NULL), "\"c\" is no peer"));
	assert_int_equal(access(power, F_OK), -1);
}

static void the_backup_waits(void **state)
{
	uint64_t began = clock_now();

	install(GOOD);
	conf->fence_delay_ns = NS_PER_SEC;
	assert_string_equal(ask(BALLOT_VOTE, "b", true, NULL), "granted 5");
	assert_true(clock_now() - began >= NS_PER_SEC);
}

/* Asked to end in the delay: nobody is switched off. */
static void stopped(void **state)
{
	const volatile sig_atomic_t stop = 1;

	install(GOOD);
	conf->fence_delay_ns = 60 * NS_PER_SEC;
	assert_non_null(strstr(ask(BALLOT_VOTE, "b", true, &stop), "stopped before b"));
	assert_int_equal(access(power, F_OK), -1);
	assert_non_null(strstr(ask(BALLOT_VOTE, "b", false, &stop), "was stopped"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_good_one, set_up),
		cmocka_unit_test_setup(the_wrong_machine, set_up),
		cmocka_unit_test_setup(liars, set_up),
		cmocka_unit_test_setup(one_that_does_nothing, set_up),
		cmocka_unit_test_setup(it_takes_its_time, set_up),
		cmocka_unit_test_setup(one_that_hangs, set_up),
		cmocka_unit_test_setup(garbage, set_up),
		cmocka_unit_test_setup(no_agent, set_up),
		cmocka_unit_test_setup(the_backup_waits, set_up),
		cmocka_unit_test_setup(stopped, set_up),
	};
	int rc;

	conf = mem_zalloc(sizeof(*conf));
	if (!conf || !mkdtemp(dir))
		return 1;
	snprintf(agent, sizeof(agent), "%s/agent", dir);
	snprintf(power, sizeof(power), "%s/off", dir);
	snprintf(input, sizeof(input), "%s/input", dir);
	rc = RUN_TESTS("fence", tests);
	set_up(NULL);
	(void)unlink(agent);
	(void)rmdir(dir);
	mem_free(conf);
	return rc;
}
