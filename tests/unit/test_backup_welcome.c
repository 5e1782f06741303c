/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands in the way of a new session, with real state files, pid files and processes; a shell script stands in
 * for romulus-domain and writes down what it was asked.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/backup_shell.h"

#define ASKED_WHAT_RUNS "vifs web\n"
#define DESTROYED_THE_REST "destroy web--standby\n"

struct fixture {
	char dir[32];
	char tool[64];
	char trace[64];
	struct conf *conf;
	struct backup_shell s;
	struct bd_msg m;
	struct backup_conf bc;
	struct bd_cmd answer;
	pid_t older;
};

/* romulus-domain: is there a domain of the VM's name? */
static void put_tool(const struct fixture *f, bool vm_runs)
{
	FILE *file = fopen(f->tool, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho \"$*\" >>%s\n[ \"$1\" = destroy ] || exit %d\n", f->trace,
		vm_runs ? 0 : 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f->tool, 0700), 0);
}

static const char *traced(const struct fixture *f)
{
	static char text[256];
	FILE *file = fopen(f->trace, "r");
	size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[n] = '\0';
	return text;
}

static void set_conf(struct fixture *f)
{
	f->conf = calloc(1, sizeof(*f->conf));
	assert_non_null(f->conf);
	strcpy(f->conf->host_name, "hostb");
	strcpy(f->conf->peer[0].name, "hosta");
	strcpy(f->conf->peer[1].name, "hostc");
	f->conf->n_peers = 2;
	snprintf(f->conf->run_dir, sizeof(f->conf->run_dir), "%s", f->dir);
	snprintf(f->conf->state_dir, sizeof(f->conf->state_dir), "%s", f->dir);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_fd(-1);
	assert_non_null(f);
	strcpy(f->dir, "/tmp/test_wel.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->tool, sizeof(f->tool), "%s/tool", f->dir);
	snprintf(f->trace, sizeof(f->trace), "%s/trace", f->dir);
	put_tool(f, false);
	set_conf(f);
	f->s = (struct backup_shell){
		.conf = f->conf, .status_fd = -1, .lock_fd = -1, .domain_tool = f->tool};
	assert_true(sd_event_new(&f->s.loop) >= 0);
	f->m.hello = (struct wire_hello){
		.uuid = {7},
		.term = 1,
		.mem_pages = 4096,
		.arena_pages = 16,
		.cache_slots = 16,
		.heartbeat_period_ms = 100,
		.failure_timeout_ms = 1000,
		.epoch_period_us = 50000,
		.policy = WIRE_POLICY_HOLD,
		.vm = "web",
		.host = "hosta",
	};
	strcpy(f->m.peer_name, "hosta");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"tool",	      "trace",		 "vm/web.state",
					    "web.backup.pid", "web.primary.pid", "vm"};
	struct fixture *f = *state;
	char path[128];

	if (f->older) {
		kill(f->older, SIGKILL);
		waitpid(f->older, NULL, 0);
	}
	ctl_server_free(f->s.ctl);
	worker_unclaim(f->dir, "web", WORKER_BACKUP, &f->s.lock_fd);
	sd_event_unref(f->s.loop);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
		remove(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f->conf);
	free(f);
	return 0;
}

/* What an earlier session left in the durable state; its peer was hosta. */
static void left_behind(const struct fixture *f, enum vm_role role)
{
	struct vm_state s;
	struct err e = ERR_INIT;

	vm_state_init(&s, "web");
	s.role = role;
	s.term = 2;
	s.policy = POLICY_HOLD;
	strcpy(s.peer, "hosta");
	s.uuid[0] = 7;
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
}

static void nap(void)
{
	const struct timespec ts = {.tv_nsec = NS_PER_MS};

	nanosleep(&ts, NULL);
}

/* An older worker that answers nobody. activates: as soon as somebody asks what runs, it says "active" and dies. */
static void start_older(struct fixture *f, bool activates)
{
	int ready[2];
	int lock = -1;
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	f->older = fork();
	assert_true(f->older >= 0);
	if (!f->older) {
		alarm(60);
		if (worker_claim(f->dir, "web", WORKER_BACKUP, &lock, NULL) < 0 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		while (!activates || !*traced(f))
			nap();
		_exit(vm_state_set_role(f->dir, "web", VM_ACTIVE, 3, NULL) < 0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

/* 0 or the code of the refusal, whose text has these words. */
static int welcome(struct fixture *f, const char *says)
{
	int rc = backup_shell_welcome(&f->s, &f->m, &f->bc, &f->answer);

	if (rc == 0)
		return 0;
	if (!strstr(f->answer.text, says))
		fail_msg("refused with \"%s\", without \"%s\"", f->answer.text, says);
	return f->answer.code;
}

/* ---- tests ---- */

static void nothing_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct vm_state s;

	assert_int_equal(welcome(f, ""), 0);
	assert_string_equal(traced(f), ASKED_WHAT_RUNS DESTROYED_THE_REST);
	assert_true(f->s.lock_fd >= 0);
	assert_int_equal(f->bc.term, 1);
	assert_int_equal(vm_state_load(f->dir, "web", &s, NULL), 0);
	assert_int_equal(s.role, VM_BACKUP);
	assert_string_equal(s.peer, "hosta");
	assert_memory_equal(s.uuid, f->m.hello.uuid, sizeof(s.uuid));
}

static void a_leftover_is_destroyed(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_BACKUP);
	assert_int_equal(welcome(f, ""), 0);
	assert_string_equal(traced(f), ASKED_WHAT_RUNS DESTROYED_THE_REST);
	assert_int_equal(f->bc.term, 2);
}

static void a_running_vm_deposes(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_ACTIVE);
	put_tool(f, true);
	assert_int_equal(welcome(f, "runs here"), WIRE_ACTIVATED);
	assert_int_equal(f->answer.term, 2);
	assert_string_equal(traced(f), ASKED_WHAT_RUNS);
}

static void a_vm_that_is_gone_is_for_the_operator(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_ACTIVE);
	assert_int_equal(
		welcome(f, "has run at hostb under term 2 and is gone: `romulus forget web` there"),
		WIRE_BUSY);
	assert_string_equal(traced(f), ASKED_WHAT_RUNS);
}

static void somebody_elses_domain(void **state)
{
	struct fixture *f = *state;

	put_tool(f, true);
	assert_int_equal(welcome(f, "Romulus did not start it"), WIRE_BUSY);
	left_behind(f, VM_PRIMARY);
	assert_int_equal(welcome(f, "hostb protects web itself"), WIRE_NOT_ALLOWED);
}

/* This host was the primary when it died; hosta, its backup, has activated and runs the VM. */
static void a_primary_that_was_rebooted_is_deposed(void **state)
{
	struct fixture *f = *state;
	struct vm_state s;

	left_behind(f, VM_PRIMARY);
	f->m.hello.term = 3;
	assert_int_equal(welcome(f, ""), 0);
	assert_int_equal(f->bc.term, 3);
	assert_int_equal(vm_state_load(f->dir, "web", &s, NULL), 0);
	assert_int_equal(s.role, VM_BACKUP);
	assert_int_equal(s.term, 3);
	assert_int_equal(s.taken, TAKEN_NOT);
	assert_false(s.alone);
}

/* ... but by nobody else, by no older term, and not while anything of the VM is left here. */
static void a_primary_is_not_deposed_by_a_word(void **state)
{
	struct fixture *f = *state;
	int lock = -1;

	left_behind(f, VM_PRIMARY);
	f->m.hello.term = 2;
	assert_int_equal(welcome(f, "hostb protects web itself"), WIRE_NOT_ALLOWED);
	f->m.hello.term = 3;
	put_tool(f, true);
	assert_int_equal(welcome(f, "of the older term 2"), WIRE_BUSY);
	put_tool(f, false);
	assert_int_equal(worker_claim(f->dir, "web", WORKER_PRIMARY, &lock, NULL), 0);
	assert_int_equal(welcome(f, "of the older term 2"), WIRE_BUSY);
	worker_unclaim(f->dir, "web", WORKER_PRIMARY, &lock);
	strcpy(f->m.peer_name, "hostc");
	strcpy(f->m.hello.host, "hostc");
	assert_int_equal(welcome(f, "protects another VM called web, to hosta"), WIRE_NOT_ALLOWED);
	assert_null(strstr(traced(f), "destroy"));
}

/* It was taken over from hosta, and is protected from here already, which hosta cannot know: it is told (P3). */
static void a_survivor_that_protects_again_deposes(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_PRIMARY);
	put_tool(f, true);
	assert_int_equal(vm_state_set_taken(f->dir, "web", TAKEN_FROM_PEER, NULL), 0);
	f->m.hello.term = 1;
	assert_int_equal(welcome(f, "runs here under term 2"), WIRE_ACTIVATED);
	assert_int_equal(f->answer.term, 2);
	/* Neither ever hears that of itself. */
	f->m.hello.term = 2;
	assert_int_equal(welcome(f, "hostb protects web itself"), WIRE_NOT_ALLOWED);
	/* P4: here it is gone as well; the older copy is for the operator. */
	f->m.hello.term = 1;
	put_tool(f, false);
	assert_int_equal(welcome(f, "has run at hostb under term 2 and is gone"), WIRE_BUSY);
	/* Protected to another host meanwhile; and another VM. */
	put_tool(f, true);
	assert_int_equal(vm_state_set_taken(f->dir, "web", TAKEN_FROM_OTHER, NULL), 0);
	strcpy(f->m.peer_name, "hostc");
	strcpy(f->m.hello.host, "hostc");
	assert_int_equal(welcome(f, "runs here under term 2"), WIRE_ACTIVATED);
	f->m.hello.uuid[0] = 8;
	assert_int_equal(welcome(f, "protects another VM"), WIRE_NOT_ALLOWED);
	assert_null(strstr(traced(f), "destroy"));
}

/* What the survivor of a failover needs to protect it again came with the session. */
static void times_and_wish_are_kept(void **state)
{
	struct fixture *f = *state;
	struct vm_state s;

	f->conf->epoch_period_ns = f->m.hello.epoch_period_us * NS_PER_US;
	f->m.hello.flags = WIRE_HELLO_ALONE;
	assert_int_equal(welcome(f, ""), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &s, NULL), 0);
	assert_true(s.alone);
	assert_int_equal(s.epoch_period_ns, 0);
	assert_int_equal(s.heartbeat_period_ns, f->m.hello.heartbeat_period_ms * NS_PER_MS);
	assert_int_equal(s.failure_timeout_ns, f->m.hello.failure_timeout_ms * NS_PER_MS);
}

/* The HELLO comes from hostc, about a VM of its own. */
static void from_a_third_host(struct fixture *f)
{
	strcpy(f->m.peer_name, "hostc");
	strcpy(f->m.hello.host, "hostc");
	f->m.hello.uuid[0] = 8;
}

/* REFUSE(ACTIVATED) would make hostc destroy its VM, which has nothing to do with ours. */
static void another_vm_is_not_deposed(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_ACTIVE);
	put_tool(f, true);
	f->m.hello.uuid[0] = 8; /* hosta has made a new one of that name */
	assert_int_equal(welcome(f, "was taken over from hosta by hostb"), WIRE_NOT_ALLOWED);
	f->m.hello.uuid[0] = 7;
	strcpy(f->m.peer_name, "hostc"); /* or the VM was moved behind our back */
	strcpy(f->m.hello.host, "hostc");
	assert_int_equal(welcome(f, "romulus forget web"), WIRE_NOT_ALLOWED);
	from_a_third_host(f);
	assert_int_equal(welcome(f, "was taken over"), WIRE_NOT_ALLOWED);
	put_tool(f, false);
	assert_int_equal(welcome(f, "was taken over"), WIRE_NOT_ALLOWED);
	assert_null(strstr(traced(f), "destroy"));
}

static void another_standby_is_not_superseded(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_BACKUP);
	start_older(f, false);
	from_a_third_host(f);
	assert_int_equal(welcome(f, "of hosta"), WIRE_NOT_ALLOWED);
	assert_int_equal(waitpid(f->older, NULL, WNOHANG), 0);
	assert_null(strstr(traced(f), "destroy"));
	/* With nobody behind it, it is a leftover like any other. */
	assert_int_equal(kill(f->older, SIGKILL), 0);
	assert_int_equal(waitpid(f->older, NULL, 0), f->older);
	f->older = 0;
	assert_int_equal(welcome(f, ""), 0);
}

/*
 * The older worker dies between "active" and the renaming of its domain, which has no name of its own yet and may run:
 * that is no leftover.
 */
static void died_as_it_activated(void **state)
{
	struct fixture *f = *state;

	left_behind(f, VM_BACKUP);
	start_older(f, true);
	assert_int_equal(welcome(f, "has run at hostb"), WIRE_BUSY);
	assert_null(strstr(traced(f), "destroy"));
}

/* P3: of two arbiters each may let one host go alone. */
static void both_ask_the_same_arbiter(void **state)
{
	struct fixture *f = *state;

	f->m.hello.policy = WIRE_POLICY_ARBITER;
	f->m.hello.arbiter = CONF_ARBITER_WITNESS;
	strcpy(f->conf->witness_name, "wit");
	f->m.hello.arbiter_id = 1;
	assert_int_equal(welcome(f, "names none"), WIRE_BAD_CONFIG);
	f->conf->arbiter_kind = CONF_ARBITER_WITNESS;
	assert_int_equal(welcome(f, "different arbiters"), WIRE_BAD_CONFIG);
	f->m.hello.arbiter_id = conf_arbiter_id(f->conf);
	assert_true(f->m.hello.arbiter_id);
	f->m.hello.arbiter = CONF_ARBITER_ETCD;
	assert_int_equal(welcome(f, "different arbiters"), WIRE_BAD_CONFIG);
	f->m.hello.arbiter = CONF_ARBITER_WITNESS;
	assert_int_equal(welcome(f, ""), 0);
	assert_int_equal(f->s.state.policy, POLICY_ARBITER);
}

/* What an older worker has asked the arbiter for is used up: its successor is told. */
static void a_term_that_was_asked_for(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	left_behind(f, VM_BACKUP);
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_BACKUP, 9, &e), 0);
	assert_int_equal(welcome(f, ""), 0);
	assert_true(f->bc.term == 9);
}

/* What a drill has left is removed beside the session: its remover may hang for as long as it likes. */
static void a_drills_rest_keeps_nobody(void **state)
{
	struct fixture *f = *state;
	char program[64], path[64], asked[128];
	uint64_t began, deadline;
	FILE *file;

	snprintf(program, sizeof(program), "%s/drill", f->dir);
	snprintf(path, sizeof(path), "%s/web.drill", f->dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	file = fopen(program, "we");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho \"$*\" >>%s\nexec sleep 2\n", f->trace);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(program, 0700), 0);
	f->s.drill_program = program;
	began = clock_now();
	assert_int_equal(welcome(f, ""), 0);
	assert_true(clock_now() < began + 1500 * NS_PER_MS);
	deadline = clock_now() + 10 * NS_PER_SEC;
	while (waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOWAIT | WNOHANG) == 0 &&
	       clock_now() < deadline)
		assert_true(sd_event_run(f->s.loop, 100000) >= 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	snprintf(asked, sizeof(asked), "--clean --vm web --run-dir %s\n", f->dir);
	assert_non_null(strstr(traced(f), asked));
	unlink(program);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_in_the_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_leftover_is_destroyed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_running_vm_deposes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_vm_that_is_gone_is_for_the_operator, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(somebody_elses_domain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_primary_that_was_rebooted_is_deposed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_primary_is_not_deposed_by_a_word, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_survivor_that_protects_again_deposes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(times_and_wish_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_vm_is_not_deposed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_standby_is_not_superseded, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(died_as_it_activated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(both_ask_the_same_arbiter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_term_that_was_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_drills_rest_keeps_nobody, set_up, tear_down),
	};

	return RUN_TESTS("backup_welcome", tests);
}
