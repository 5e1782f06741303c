/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to programs that answer, hang, lie and die, beside a loop that waits for none of them. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "replicator/vote_shell.h"

struct bed {
	char dir[32];
	char program[64];
	sd_event *loop;
	struct vote_ask *v;
	struct vote_answer answer;
	int answers;
};

static void on_answer(void *arg, const struct vote_answer *a)
{
	struct bed *b = arg;

	b->answer = *a;
	b->answers++;
}

/* The program, as a shell script; $1.. are its arguments. */
static void program(struct bed *b, const char *script)
{
	FILE *f = fopen(b->program, "w");

	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(b->program, 0700), 0);
}

static void bed_init(struct bed *b, uint64_t limit_ns)
{
	struct vote_ask_conf c = {
		.conf_path = "/etc/romulus/romulus.conf",
		.vm = "web",
		.peer = "hostb",
		.uuid = {0x6f, 0x0e, 0x3b, 0x8d, 0x11, 0x52, 0x43, 0x90, 0x9c, 0x7a, 0x55, 1, 2, 3,
			 4, 5},
		.limit_ns = limit_ns,
		.answered = on_answer,
		.arg = b,
	};
	struct err e = ERR_INIT;

	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/test-vote-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->program, sizeof(b->program), "%s/arbiter", b->dir);
	c.program = b->program;
	assert_true(sd_event_new(&b->loop) >= 0);
	assert_int_equal(vote_ask_new(&b->v, b->loop, &c, &e), 0);
}

static void bed_fini(struct bed *b)
{
	char line[128];

	vote_ask_free(b->v);
	sd_event_unref(b->loop);
	snprintf(line, sizeof(line), "rm -r %s", b->dir);
	assert_int_equal(system(line), 0);
}

/* Until there is another answer, or the time is over. */
static bool run(struct bed *b, uint64_t ns)
{
	uint64_t end = clock_add(clock_now(), ns);
	int before = b->answers;

	while (b->answers == before && clock_now() < end)
		assert_true(sd_event_run(b->loop, 20000) >= 0);
	return b->answers > before;
}

static void answers(void **state)
{
	struct bed b;

	bed_init(&b, 10 * NS_PER_SEC);
	program(&b, "[ \"$*\" = '--config /etc/romulus/romulus.conf "
		    "--uuid 6f0e3b8d-1152-4390-9c7a-550102030405 --peer hostb --side primary "
		    "--term 8 vote web' ] && echo granted 8");
	vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
	assert_true(vote_ask_busy(b.v));
	assert_int_equal(b.answers, 0);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_false(vote_ask_busy(b.v));
	assert_int_equal(b.answer.vote, VOTE_GRANTED);
	assert_true(b.answer.asked == 8 && b.answer.question == VOTE_ASK_VOTE);

	program(&b, "echo refused 8 hostb; exit 1");
	vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_REFUSED);
	assert_string_equal(b.answer.holder, "hostb");

	program(&b,
		"[ \"${11} ${12}\" = ' ' ] && [ \"$9 ${10}\" = 'look web' ] && echo held 3 hosta");
	vote_ask_start(b.v, VOTE_ASK_LOOK, 8);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_GRANTED);
	assert_true(b.answer.term == 3 && b.answer.asked == 0);
	/* Exactly one answer each. */
	assert_false(run(&b, 100 * NS_PER_MS));
	bed_fini(&b);
}

static void nonsense(void **state)
{
	static const char *const scripts[] = {
		"exit 0",
		"echo granted 8; exit 2",
		"echo granted 9",
		"echo granted 8; kill -9 $$",
		"echo granted 8; echo granted 8",
		"while :; do echo granted 8; done",
		"exec head -c 100000 /dev/zero",
		"echo granted 8 >&2",
	};
	struct bed b;

	bed_init(&b, 2 * NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		program(&b, scripts[i]);
		vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
		assert_true(run(&b, 10 * NS_PER_SEC));
		if (b.answer.vote != VOTE_UNKNOWN || !*b.answer.text)
			fail_msg("%s: believed", scripts[i]);
	}
	bed_fini(&b);
}

static void hangs(void **state)
{
	uint64_t began;
	struct bed b;

	bed_init(&b, 200 * NS_PER_MS);
	program(&b, "sleep 60 & echo granted 8; sleep 60");
	began = clock_now();
	vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_UNKNOWN);
	assert_non_null(strstr(b.answer.text, "200 ms"));
	assert_true(clock_now() - began >= 200 * NS_PER_MS);
	/* A program that has ended and left one that keeps its output open. */
	program(&b, "sleep 60 & echo granted 8");
	vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_UNKNOWN);
	bed_fini(&b);
}

static void asked_again(void **state)
{
	struct bed b;

	bed_init(&b, 10 * NS_PER_SEC);
	program(&b, "sleep 60; echo granted 8");
	/* More often than there are places for killed ones: each is gone by the time that it matters. */
	for (int i = 0; i < 20; i++) {
		vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
		assert_true(sd_event_run(b.loop, 20000) >= 0);
	}
	program(&b, "echo granted 9");
	vote_ask_start(b.v, VOTE_ASK_VOTE, 9);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_GRANTED);
	assert_true(b.answer.asked == 9);
	assert_false(run(&b, 100 * NS_PER_MS));
	/* One under way ends with *v, unanswered. */
	program(&b, "sleep 60");
	vote_ask_start(b.v, VOTE_ASK_VOTE, 9);
	bed_fini(&b);
	assert_int_equal(b.answers, 1);
}

static void cannot_be_run(void **state)
{
	struct bed b;

	bed_init(&b, 10 * NS_PER_SEC);
	vote_ask_start(b.v, VOTE_ASK_VOTE, 8);
	/* Not from within the call. */
	assert_int_equal(b.answers, 0);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_UNKNOWN);
	assert_non_null(strstr(b.answer.text, "cannot be run"));

	vote_ask_fail(b.v, VOTE_ASK_VOTE, 9, "the disk is full");
	assert_int_equal(b.answers, 1);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_UNKNOWN);
	assert_true(b.answer.asked == 9);
	assert_string_equal(b.answer.text, "the disk is full");
	bed_fini(&b);
}

/* ---- what a worker has of it ---- */

static void on_vote(void *arg, const struct vote_answer *a)
{
	on_answer(arg, a);
}

static void the_shell(void **state)
{
	const struct conf conf = {.arbiter_kind = CONF_ARBITER_WITNESS,
				  .arbiter_timeout_ns = NS_PER_SEC,
				  .host_name = "hosta",
				  .path = "/etc/romulus/romulus.conf"};
	const uint8_t uuid[UUID_SIZE] = {1};
	const struct vote_shell_conf c = {
		.conf = &conf, .vm = "web", .peer = "hostb", .uuid = uuid};
	struct vote_shell v = {.voted = on_vote};
	struct err e = ERR_INIT;
	struct bed b;

	bed_init(&b, NS_PER_SEC);
	v.program = b.program;
	v.arg = &b;
	program(&b, "case \" $* \" in *' look '*) echo held 3 hostb;; *) echo granted 4;; esac");
	assert_int_equal(vote_shell_start(&v, b.loop, &c, &e), 0);
	/* A look is nobody's business but status'. */
	for (int i = 0; i < 500 && !v.answered; i++)
		assert_true(sd_event_run(b.loop, 20000) >= 0);
	assert_true(v.reachable && v.term == 3);
	assert_string_equal(v.holder, "hostb");
	assert_int_equal(b.answers, 0);
	vote_shell_ask(&v, 4);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_int_equal(b.answer.vote, VOTE_GRANTED);
	assert_string_equal(v.holder, "hosta");
	program(&b, "echo unknown nobody is there; exit 2");
	vote_shell_ask(&v, 5);
	assert_true(run(&b, 10 * NS_PER_SEC));
	assert_false(v.reachable);
	assert_string_equal(v.text, "nobody is there");
	/* What is known stays known. */
	assert_true(v.term == 4);
	vote_shell_stop(&v);
	vote_shell_stop(&v);
	bed_fini(&b);
}

static void join(void **state)
{
	const struct conf conf = {.arbiter_kind = CONF_ARBITER_WITNESS,
				  .arbiter_timeout_ns = NS_PER_SEC,
				  .host_name = "hosta",
				  .path = "/etc/romulus/romulus.conf"};
	const uint8_t uuid[UUID_SIZE] = {1};
	const struct vote_shell_conf c = {
		.conf = &conf, .vm = "web", .peer = "hostb", .uuid = uuid};
	struct err e = ERR_INIT;
	struct bed b;

	bed_init(&b, NS_PER_SEC);
	program(&b, "[ \"$9 ${10} ${11}\" = '--term 2 join' ] && echo granted 2");
	assert_int_equal(vote_shell_join(&c, b.program, 2, &e), 0);
	program(&b, "echo refused 5 hostb; exit 1");
	assert_int_equal(vote_shell_join(&c, b.program, 2, &e), -EBUSY);
	assert_non_null(strstr(e.text, "hostb under term 5"));
	program(&b, "echo unknown nobody is there; exit 2");
	assert_int_equal(vote_shell_join(&c, b.program, 2, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "nobody is there"));
	assert_true(vote_shell_join(&c, "/nowhere/arbiter", 2, &e) < 0);
	bed_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),	 cmocka_unit_test(nonsense),
		cmocka_unit_test(hangs),	 cmocka_unit_test(asked_again),
		cmocka_unit_test(cannot_be_run), cmocka_unit_test(the_shell),
		cmocka_unit_test(join),
	};

	return RUN_TESTS("vote-ask", tests);
}
