/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulusd's commands over a real control socket, with scripts for workers. */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/ctl_client.h"
#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "replicator/host_ctl.h"
#include "replicator/supervisor.h"
#include "replicator/vm_state.h"

#define DEADLINE_NS (20 * NS_PER_SEC)

struct fixture {
	char dir[32];
	char ctl[64];
	struct host host;
	sd_event *event;
	struct ctl_server *server;
	struct json_in *answer; /* of the last request */
};

static void put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static const char *more_conf = "";

static void load_conf(struct fixture *f)
{
	struct err e = ERR_INIT;
	char text[512];
	char path[64];

	snprintf(
		text, sizeof(text),
		"host = { name = \"hosta\"; };\n"
		"peers = ( { name = \"hostb\"; address = \"b\"; }, { name = \"hostc\"; address = \"c\"; } );\n"
		"paths = { state-dir = \"%s\"; run-dir = \"%s\"; vm-dir = \"%s\"; };\n%s",
		f->dir, f->dir, f->dir, more_conf);
	put(f->dir, "romulus.conf", text, 0600);
	snprintf(path, sizeof(path), "%s/romulus.conf", f->dir);
	if (conf_load(path, &f->host.conf, &e) < 0)
		fail_msg("%s", e.text);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct supervisor_conf sc = {
		.libexec_dir = f->dir,
		.conf_path = "/the.conf",
		.run_dir = f->dir,
		.max_unauthenticated = 2,
		.handshake_timeout_ns = 5 * NS_PER_SEC,
		.ctx = &f->host,
		.wanted = host_wanted,
		.ended = host_ended,
	};
	struct err e = ERR_INIT;

	log_set_fd(-1);
	strcpy(f->dir, "/tmp/test_hc.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->ctl, sizeof(f->ctl), "%s/romulusd.ctl", f->dir);
	load_conf(f);
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(supervisor_new(&sc, &f->host.workers, &e), 0);
	assert_int_equal(ctl_server_new(f->event, f->ctl, &f->server, &e), 0);
	assert_int_equal(host_ctl_add(f->server, &f->host), 0);
	put(f->dir, "romulus-primary", "#!/bin/sh\nexec sleep 30\n", 0755);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	const struct supervised *w;
	char command[64];

	for (unsigned int i = 0; (w = supervisor_at(f->host.workers, i)); i++) {
		if (w->state == SUPERVISED_RUNNING)
			kill(w->pid, SIGKILL);
	}
	ctl_server_free(f->server);
	supervisor_free(f->host.workers);
	sd_event_unref(f->event);
	json_in_free(f->answer);
	conf_free(f->host.conf);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Asks from a child while the loop runs here; the exit code is 0 or the errno. */
static int ask(struct fixture *f, const char *const argv[])
{
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	char path[64];
	char text[65536];
	int status = 0;
	FILE *file;
	size_t n;
	pid_t pid = fork();

	snprintf(path, sizeof(path), "%s/answer", f->dir);
	if (!pid) {
		int rc = ctl_client_call(f->ctl, argv, DEADLINE_NS, &reply, &e);
		struct json *j = json_out_new();

		json_out_value(j, "v", reply);
		put(f->dir, "answer", json_out_line(j, &n), 0600);
		_exit(-rc);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		assert_true(sd_event_run(f->event, 2000) >= 0);
	file = fopen(path, "r");
	n = fread(text, 1, sizeof(text), file);
	fclose(file);
	json_in_free(f->answer);
	f->answer = NULL;
	assert_int_equal(json_in_parse(text, n, &f->answer, &e), 0);
	return -WEXITSTATUS(status);
}

#define ASK(f, ...) ask(f, (const char *const[]){__VA_ARGS__, NULL})

static const char *text_at(const struct fixture *f, const char *path)
{
	return json_in_text(f->answer, path, "-");
}

static void refused(struct fixture *f, int rc, const char *what)
{
	assert_int_equal(rc, -EREMOTEIO);
	if (!strstr(text_at(f, "v.error"), what))
		fail_msg("\"%s\" is not in: %s", what, text_at(f, "v.error"));
}

static struct vm_state state_of(const struct fixture *f, const char *vm)
{
	struct vm_state s;
	struct err e = ERR_INIT;
	int rc = vm_state_load(f->dir, vm, &s, &e);

	assert_true(rc == 0 || rc == -ENOENT);
	return s;
}

static void until_ended(struct fixture *f, enum supervised_state wanted, bool gone)
{
	uint64_t end = clock_now() + DEADLINE_NS;

	for (;;) {
		const struct supervised *w =
			supervisor_find(f->host.workers, "web", WORKER_PRIMARY);

		if (gone ? !w : w && w->state == wanted)
			return;
		assert_true(clock_now() < end);
		supervisor_dispatch(f->host.workers, clock_now());
		assert_true(sd_event_run(f->event, 2000) >= 0);
	}
}

static void protects(void **state)
{
	struct fixture *f = *state;
	struct vm_state s;

	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=backup-wins",
			     "epoch-period=25ms", "heartbeat-period=50ms", "failure-timeout=2s"),
			 0);
	assert_string_equal(text_at(f, "v.peer"), "hostb");
	assert_string_equal(text_at(f, "v.policy"), "backup-wins");
	assert_int_equal(json_in_u64(f->answer, "v.epoch_period_ms", 0), 25);
	assert_int_equal(json_in_u64(f->answer, "v.term", 0), 1);
	s = state_of(f, "web");
	assert_int_equal(s.role, VM_PRIMARY);
	assert_int_equal(s.term, 1);
	assert_string_equal(s.peer, "hostb");
	assert_int_equal(s.policy, POLICY_BACKUP_WINS);
	assert_int_equal(s.failure_timeout_ns, 2000000000);
	assert_true(host_wanted(&f->host, "web"));
	assert_int_equal(supervisor_find(f->host.workers, "web", WORKER_PRIMARY)->state,
			 SUPERVISED_RUNNING);
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold"),
		"already protected to hostb");
	refused(f, ASK(f, "forget", "web"), "unprotect it first");

	assert_int_equal(ASK(f, "status"), 0);
	assert_string_equal(text_at(f, "v.host"), "hosta");
	assert_int_equal(json_in_count(f->answer, "v.peers"), 2);
	assert_string_equal(json_in_text(json_in_item(f->answer, "v.workers", 0), "state", ""),
			    "running");
	assert_string_equal(json_in_text(json_in_item(f->answer, "v.vms", 0), "role", ""),
			    "primary");
}

static void refuses(void **state)
{
	struct fixture *f = *state;

	refused(f, ASK(f, "protect", "web", "to=hostb"), "there is no default");
	assert_string_equal(text_at(f, "v.missing"), "policy");
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=both"), "none of: hold");
	refused(f, ASK(f, "protect", "web", "policy=hold"), "to which host?");
	refused(f, ASK(f, "protect", "web", "to=hostx", "policy=hold"),
		"\"hostx\" is not in the list of peers");
	assert_non_null(strstr(text_at(f, "v.error"), "hostb, hostc"));
	refused(f, ASK(f, "protect", "../web", "to=hostb", "policy=hold"), "not a VM's name");
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold", "colour=red"),
		"\"colour=red\" is not understood");
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold", "epoch-period=5"),
		"not a time");
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold", "failure-timeout=100ms"),
		"failure timeout");
	refused(f, ASK(f, "protect"), "usage: protect VM");
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	assert_null(supervisor_at(f->host.workers, 0));
	/* A plan changes nothing. */
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold", "dry-run"), 0);
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	assert_null(supervisor_at(f->host.workers, 0));
}

static void takes_from_vm_d(void **state)
{
	struct fixture *f = *state;

	put(f->dir, "web.conf",
	    "to = \"hostc\"; on-peer-loss = \"primary-wins\"; epoch-period = \"40ms\";", 0600);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "dry-run"), 0);
	assert_string_equal(text_at(f, "v.peer"), "hostb");
	assert_string_equal(text_at(f, "v.policy"), "primary-wins");
	assert_int_equal(json_in_u64(f->answer, "v.epoch_period_ms", 0), 40);
	assert_int_equal(json_in_u64(f->answer, "v.heartbeat_period_ms", 0), 100);
	put(f->dir, "web.conf", "tu = \"hostc\";", 0600);
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold"),
		"web.conf:1: unknown key \"tu\"");
}

static void keeps_terms(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct vm_state s;

	/* It was activated here under term 5; now it is protected to the other one. */
	vm_state_init(&s, "web");
	s.role = VM_ACTIVE;
	s.term = 5;
	s.policy = POLICY_BACKUP_WINS;
	strcpy(s.peer, "hostb");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_false(host_wanted(&f->host, "web"));
	assert_int_equal(ASK(f, "protect", "web", "to=hostc", "policy=hold"), 0);
	assert_int_equal(state_of(f, "web").term, 5);
	assert_string_equal(state_of(f, "web").peer, "hostc");
	assert_int_equal(state_of(f, "web").taken, TAKEN_FROM_OTHER);
	/* The worker unprotects it: nothing to do, the term stays; and that hostb may have an older copy. */
	host_ended(&f->host, "web", WORKER_DONE, false);
	assert_int_equal(state_of(f, "web").role, VM_ACTIVE);
	assert_int_equal(state_of(f, "web").term, 5);
	kill(supervisor_find(f->host.workers, "web", WORKER_PRIMARY)->pid, SIGKILL);
	supervisor_free(f->host.workers);
	assert_int_equal(supervisor_new(&(struct supervisor_conf){.run_dir = f->dir},
					&f->host.workers, &e),
			 0);
	assert_int_equal(ASK(f, "forget", "web"), 0);
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	assert_int_equal(state_of(f, "web").taken, TAKEN_NOT);
	assert_int_equal(state_of(f, "web").term, 5);
}

/* ---- protected again ---- */

static void activated_here(const struct fixture *f, bool alone)
{
	struct err e = ERR_INIT;
	struct vm_state s;

	vm_state_init(&s, "web");
	s.role = VM_BACKUP;
	s.term = 5;
	s.policy = POLICY_BACKUP_WINS;
	s.epoch_period_ns = 25 * NS_PER_MS;
	s.alone = alone;
	strcpy(s.peer, "hostb");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_ACTIVE, 6, &e), 0);
}

static void protected_again(void **state)
{
	struct fixture *f = *state;
	uint64_t at;
	struct vm_state s;

	activated_here(f, false);
	host_activated(&f->host, "web");
	at = host_deadline(&f->host);
	assert_true(at != CLOCK_NEVER);
	host_dispatch(&f->host, at - 1);
	assert_null(supervisor_find(f->host.workers, "web", WORKER_PRIMARY));
	host_dispatch(&f->host, at);
	assert_int_equal(supervisor_find(f->host.workers, "web", WORKER_PRIMARY)->state,
			 SUPERVISED_RUNNING);
	/* As its session was, and as one that was taken over. */
	s = state_of(f, "web");
	assert_int_equal(s.role, VM_PRIMARY);
	assert_int_equal(s.term, 6);
	assert_string_equal(s.peer, "hostb");
	assert_int_equal(s.policy, POLICY_BACKUP_WINS);
	assert_int_equal(s.epoch_period_ns, 25 * NS_PER_MS);
	assert_int_equal(s.taken, TAKEN_FROM_PEER);
	assert_true(host_deadline(&f->host) == CLOCK_NEVER);
}

/* By a romulusd that was not there when it was activated. */
static void protected_again_after_a_restart(void **state)
{
	struct fixture *f = *state;

	activated_here(f, false);
	host_adopt_all(&f->host, clock_now());
	assert_true(host_deadline(&f->host) != CLOCK_NEVER);
	host_dispatch(&f->host, host_deadline(&f->host));
	assert_int_equal(state_of(f, "web").role, VM_PRIMARY);
}

static void not_protected_again(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	activated_here(f, true);
	host_activated(&f->host, "web");
	host_adopt_all(&f->host, clock_now());
	assert_true(host_deadline(&f->host) == CLOCK_NEVER);
	/* The operator was faster. */
	assert_int_equal(vm_state_set_alone(f->dir, "web", false, &e), 0);
	host_activated(&f->host, "web");
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_NONE, 0, &e), 0);
	host_dispatch(&f->host, host_deadline(&f->host));
	assert_null(supervisor_find(f->host.workers, "web", WORKER_PRIMARY));
	assert_true(host_deadline(&f->host) == CLOCK_NEVER);
	/* ... and says whether, for the next time. */
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold", "reprotect=never"), 0);
	assert_string_equal(text_at(f, "v.reprotect"), "never");
	assert_true(state_of(f, "web").alone);
	refused(f, ASK(f, "protect", "db", "to=hostb", "policy=hold", "reprotect=soon"),
		"none of: auto, never");
}

/* P4: a worker that cannot start is tried again; that the VM was taken over is not forgotten meanwhile. */
static void refused_again(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second;

	activated_here(f, false);
	put(f->dir, "romulus-primary", "#!/bin/sh\nexit 11\n", 0755);
	host_activated(&f->host, "web");
	first = host_deadline(&f->host);
	host_dispatch(&f->host, first);
	until_ended(f, SUPERVISED_REFUSED, false);
	assert_int_equal(state_of(f, "web").role, VM_ACTIVE);
	second = host_deadline(&f->host);
	assert_true(second != CLOCK_NEVER);
	put(f->dir, "romulus-primary", "#!/bin/sh\nexec sleep 30\n", 0755);
	host_dispatch(&f->host, second);
	assert_int_equal(supervisor_find(f->host.workers, "web", WORKER_PRIMARY)->state,
			 SUPERVISED_RUNNING);
	assert_int_equal(state_of(f, "web").role, VM_PRIMARY);
}

static void with_an_arbiter(struct fixture *f)
{
	conf_free(f->host.conf);
	more_conf = "arbiter = { kind = \"witness\"; witness-name = \"wit\"; "
		    "witness-address = \"127.0.0.1\"; };\n";
	load_conf(f);
	more_conf = "";
}

/* The default where there is one, and none where there is none. */
static void the_arbiter_is_the_default(void **state)
{
	struct fixture *f = *state;

	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=arbiter", "dry-run"),
		"names none: set arbiter.kind");
	with_an_arbiter(f);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "dry-run"), 0);
	assert_string_equal(text_at(f, "v.policy"), "arbiter");
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold", "dry-run"), 0);
	assert_string_equal(text_at(f, "v.policy"), "hold");
}

/* A vote of a session before, which the peer did not use, must not be in the way of the next protection. */
static void joins_under_a_new_term(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct vm_state s;

	with_an_arbiter(f);
	vm_state_init(&s, "web");
	s.term = 5;
	s.asked = 7;
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb"), 0);
	assert_int_equal(state_of(f, "web").term, 8);
	assert_false(state_of(f, "web").joined);
	/* A primary that is found without its worker has joined already, as long as the pair is the same. */
	vm_state_init(&s, "db");
	s.role = VM_PRIMARY;
	s.policy = POLICY_ARBITER;
	s.term = 5;
	s.joined = true;
	strcpy(s.peer, "hostb");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(ASK(f, "protect", "db", "to=hostb"), 0);
	assert_true(state_of(f, "db").joined);
	assert_int_equal(state_of(f, "db").term, 5);
	strcpy(s.vm, "mail");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(ASK(f, "protect", "mail", "to=hostc"), 0);
	assert_false(state_of(f, "mail").joined);
	assert_int_equal(state_of(f, "mail").term, 5);
}

static void ends_and_refusals(void **state)
{
	struct fixture *f = *state;

	/* Refused at once: not a primary, so that no restart tries again. */
	put(f->dir, "romulus-primary", "#!/bin/sh\nprintf '\\003no such VM' >&3\nexit 11\n", 0755);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold"), 0);
	until_ended(f, SUPERVISED_REFUSED, false);
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	assert_int_equal(ASK(f, "list"), 0);
	assert_string_equal(json_in_text(json_in_item(f->answer, "v.workers", 0), "problem", ""),
			    "no such VM");
	/* Refused after a restart: remembered. */
	put(f->dir, "romulus-primary",
	    "#!/bin/sh\ncase \"$*\" in *--adopt*) exit 11;; esac\nkill -9 $$\n", 0755);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold"), 0);
	until_ended(f, SUPERVISED_REFUSED, false);
	assert_int_equal(state_of(f, "web").role, VM_PRIMARY);
	/* Protected again: what is left of it is taken over, and it is not a first try. */
	put(f->dir, "romulus-primary", "#!/bin/sh\nexit 11\n", 0755);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold"), 0);
	until_ended(f, SUPERVISED_REFUSED, false);
	assert_int_equal(state_of(f, "web").role, VM_PRIMARY);
	assert_int_equal(ASK(f, "forget", "web"), 0);
	assert_true(json_in_has(f->answer, "v.hint"));
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	assert_int_equal(state_of(f, "web").term, 1);
	/* Done. */
	put(f->dir, "romulus-primary", "#!/bin/sh\nexit 0\n", 0755);
	assert_int_equal(ASK(f, "protect", "web", "to=hostb", "policy=hold"), 0);
	until_ended(f, 0, true);
	assert_int_equal(state_of(f, "web").role, VM_NONE);
	refused(f, ASK(f, "forget", "db"), "nothing is known of vm db");
	refused(f, ASK(f, "forget", "a b"), "not a VM's name");
}

static void start_fails(void **state)
{
	struct fixture *f = *state;
	char path[64];

	snprintf(path, sizeof(path), "%s/romulus-primary", f->dir);
	assert_int_equal(unlink(path), 0);
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold"), "romulus-primary");
	assert_int_equal(state_of(f, "web").role, VM_NONE);
}

static void torn_state(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char path[64];

	assert_int_equal(vm_state_set_role(f->dir, "web", VM_NONE, 3, &e), 0);
	snprintf(path, sizeof(path), "%s/vm/web.state", f->dir);
	assert_int_equal(truncate(path, 33), 0);
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold"), "romulus forget web");
	/* A worker that dies now is not given up: it may have left its guest suspended. */
	assert_true(host_wanted(&f->host, "web"));
	assert_false(host_wanted(&f->host, "db"));
	assert_int_equal(ASK(f, "list"), 0);
	assert_true(json_in_has(json_in_item(f->answer, "v.vms", 0), "problem"));
	assert_int_equal(ASK(f, "forget", "web"), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void adopts_all(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct vm_state s;

	vm_state_init(&s, "web");
	s.role = VM_PRIMARY;
	s.term = 1;
	s.policy = POLICY_HOLD;
	strcpy(s.peer, "hostb");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_set_role(f->dir, "db", VM_NONE, 9, &e), 0);
	assert_int_equal(vm_state_set_role(f->dir, "torn", VM_NONE, 9, &e), 0);
	{
		char path[64];

		snprintf(path, sizeof(path), "%s/vm/torn.state", f->dir);
		assert_int_equal(truncate(path, 0), 0);
	}
	host_adopt_all(&f->host, clock_now());
	assert_int_equal(supervisor_find(f->host.workers, "web", WORKER_PRIMARY)->state,
			 SUPERVISED_RUNNING);
	assert_null(supervisor_at(f->host.workers, 1));
}

static void not_at_the_backup(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int lock = -1;

	assert_int_equal(worker_claim(f->dir, "web", WORKER_BACKUP, &lock, &e), 0);
	supervisor_adopt_backups(f->host.workers, clock_now());
	refused(f, ASK(f, "protect", "web", "to=hostb", "policy=hold"),
		"this host is the backup of vm web");
	worker_unclaim(f->dir, "web", WORKER_BACKUP, &lock);
	/* tear_down must not take us for a worker to be killed. */
	supervisor_free(f->host.workers);
	assert_int_equal(supervisor_new(&(struct supervisor_conf){.run_dir = f->dir},
					&f->host.workers, &e),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(protects, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_from_vm_d, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keeps_terms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_arbiter_is_the_default, set_up, tear_down),
		cmocka_unit_test_setup_teardown(joins_under_a_new_term, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protected_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protected_again_after_a_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(not_protected_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_and_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(start_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(torn_state, set_up, tear_down),
		cmocka_unit_test_setup_teardown(adopts_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(not_at_the_backup, set_up, tear_down),
	};

	return RUN_TESTS("host_ctl", tests);
}
