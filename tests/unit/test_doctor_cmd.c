/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus doctor with a script for romulus-facts and a peer that this test plays on a real connection: what it asks, and
 * what becomes of answers, refusals, silence and strangers. The command runs in a child, for argp ends the process.
 */
#include "tests/lib/test.h"

#include <argp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/wire_v1.h"
#include "tests/lib/loopback.h"
#include "tests/lib/pki.h"
#include "tests/lib/tool_run.h"
#include "tools/tool.h"

struct fixture {
	struct pki *pki;
	char dir[64];
	uint16_t port;
	int listen_fd;
	pid_t peer;
	const char *arbiter; /* of romulus.conf */
	char out[32768];
	char err[16384];
};

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fchmod(fileno(file), 0700), 0);
	assert_int_equal(fclose(file), 0);
}

static void write_conf(struct fixture *f, const char *peer)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "host = { name = \"a\"; };\n"
		 "tls = { ca = \"%s\"; cert = \"%s\"; key = \"%s\"; };\n"
		 "peers = ( { name = \"%s\"; address = \"127.0.0.1\"; port = %u; } );\n"
		 "%s"
		 "limits = { handshake-timeout = \"2s\"; };\n"
		 "paths = { state-dir = \"%s\"; run-dir = \"%.31s\"; vm-dir = \"%s\"; };\n",
		 pki_path(f->pki, "ca.pem"), pki_path(f->pki, "a.pem"), pki_path(f->pki, "a.key"),
		 peer, f->port, f->arbiter, f->dir, f->dir, f->dir);
	write_file(f, "romulus.conf", text);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_doctor.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->pki = pki_new();
	f->listen_fd = loopback_listener(&f->port);
	f->arbiter = "";
	write_conf(f, "b");
	write_file(f, "romulus-facts",
		   "#!/bin/sh\necho \"{\\\"host\\\":\\\"a\\\",\\\"asked\\\":\\\"$*\\\",\\\"vm\\\":{"
		   "\\\"found\\\":true,\\\"uuid\\\":\\\"11112222333344445555666677778888\\\","
		   "\\\"remembered\\\":{\\\"term\\\":7}}}\"\n");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->peer) {
		kill(f->peer, SIGKILL);
		waitpid(f->peer, NULL, 0);
	}
	close(f->listen_fd);
	pki_free(f->pki);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- the peer ---- */

enum answer {
	FACTS_OF_VM,
	NOT_JSON,
	REFUSE,
	HANG_UP,
};

static void answer(struct conn *c, const struct frame *asked, enum answer how)
{
	uint64_t deadline = clock_now() + 5 * NS_PER_SEC;
	struct wire_refuse refuse = {.code = WIRE_NOT_ALLOWED,
				     .text = "a is not among the peers of b"};
	struct wire_ask_facts m;
	struct err e = ERR_INIT;
	struct wr w;
	char json[256];

	if (how == HANG_UP || wire_ask_facts_decode(asked, &m, &e) < 0)
		return;
	snprintf(json, sizeof(json), "{\"host\":\"b\",\"version\":\"9.%s\"}", m.vm);
	if (how == NOT_JSON)
		snprintf(json, sizeof(json), "{\"host\"");
	if (conn_begin(c, how == REFUSE ? FRAME_REFUSE : FRAME_FACTS, FRAME_NO_EPOCH, &w, deadline,
		       &e) < 0)
		return;
	if (how == REFUSE)
		wire_refuse_encode(&w, &refuse);
	else
		wire_facts_encode(&w, json, strlen(json));
	if (conn_end(c, &w, &e) == 0)
		(void)!conn_finish(c, deadline, &e);
}

static void peer(struct fixture *f, const char *ca, const char *host, enum answer how)
{
	struct tls_ctx *ctx = pki_ctx(f->pki, ca, host, false);
	struct conn *c = NULL;
	struct err e = ERR_INIT;
	struct frame frame;

	f->peer = fork();
	if (f->peer) {
		tls_ctx_free(ctx);
		return;
	}
	alarm(30);
	for (;;) {
		const struct conn_conf cc = {.tls = ctx,
					     .wake_fd = -1,
					     .handshake_deadline_ns = clock_now() + 5 * NS_PER_SEC};
		int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (conn_accept_take(&c, fd, &cc, &e) == 0 &&
		    conn_recv(c, &frame, cc.handshake_deadline_ns, &e) == 0)
			answer(c, &frame, how);
		conn_free(c);
		c = NULL;
	}
}

/* ---- the command ---- */

static int run(struct fixture *f, const char *const words[])
{
	char name[] = "romulus doctor", conf[128], libexec[128], run_dir[128], copy[4][64];
	char *argv[10] = {name, conf, libexec, run_dir};
	int argc = 4;

	snprintf(conf, sizeof(conf), "--config=%s/romulus.conf", f->dir);
	snprintf(libexec, sizeof(libexec), "--libexec-dir=%s", f->dir);
	snprintf(run_dir, sizeof(run_dir), "--run-dir=%s", f->dir);
	for (int i = 0; words[i]; i++) {
		snprintf(copy[i], sizeof(copy[i]), "%s", words[i]);
		argv[argc++] = copy[i];
	}
	return tool_finish(f->dir, tool_start(f->dir, cmd_doctor, argc, argv),
			   (struct tool_said){f->out, sizeof(f->out)},
			   (struct tool_said){f->err, sizeof(f->err)});
}

#define RUN(f, ...) run(f, (const char *const[]){__VA_ARGS__, NULL})

static void both_are_asked(void **state)
{
	struct fixture *f = *state;

	peer(f, "ca", "b", FACTS_OF_VM);
	/* romulusd does not run, and these facts are poor: that is told, too. */
	assert_int_equal(RUN(f, "web", "--to=b"), TOOL_ERROR);
	tool_says(f->out, "ok       peer         b answers, by its certificate");
	tool_says(f->out, "Romulus ? here, 9.web at b");
	tool_says(f->out, "error    romulusd     romulusd does not run");
	tool_says(f->out, "-> systemctl start romulusd");
	tool_says(f->out, "a question and its answer take");
	assert_string_equal(f->err, "");
	/* The only peer need not be named. Of the hosts alone. */
	assert_int_equal(RUN(f, "--json"), TOOL_ERROR);
	tool_says(f->out, "Romulus ? here, 9. at b");
	tool_says(f->out, "\"to\":\"b\",\"worst\":\"error\",\"checks\":[{\"check\":\"romulusd\"");
}

static void json_is_json(void **state)
{
	struct fixture *f = *state;
	struct json_in *v = NULL;

	peer(f, "ca", "b", FACTS_OF_VM);
	assert_int_equal(RUN(f, "web", "--json"), TOOL_ERROR);
	assert_int_equal(json_in_parse(f->out, strlen(f->out), &v, NULL), 0);
	assert_string_equal(json_in_text(v, "vm", ""), "web");
	assert_true(json_in_count(v, "checks") > 5);
	assert_true(json_in_has(json_in_item(v, "checks", 0), "found"));
	json_in_free(v);
}

static void the_peer_says_no(void **state)
{
	static const struct {
		const char *ca, *host;
		enum answer how;
		const char *said;
	} cases[] = {
		{"ca", "b", REFUSE, "b: a is not among the peers of b"},
		{"ca", "b", NOT_JSON, "b: "},
		{"ca", "b", HANG_UP, "its Romulus may be older than this question"},
		/* Another host of ours at that address, and a stranger. */
		{"ca", "a", FACTS_OF_VM, "at 127.0.0.1 port"},
		{"other", "evil", FACTS_OF_VM, "b: "},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		peer(f, cases[i].ca, cases[i].host, cases[i].how);
		assert_int_equal(RUN(f, "web"), TOOL_ERROR);
		tool_says(f->out, "error    peer");
		tool_says(f->out, cases[i].said);
		assert_null(strstr(f->out, "9.web"));
		kill(f->peer, SIGKILL);
		waitpid(f->peer, NULL, 0);
		f->peer = 0;
	}
}

static void nobody_is_there(void **state)
{
	struct fixture *f = *state;

	close(f->listen_fd);
	f->listen_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->out, "Connection refused");
	/* What is known of this host is told all the same. */
	tool_says(f->out, "error    certificate");
	assert_int_equal(RUN(f, "web", "--to=x"), TOOL_ERROR);
	tool_says(f->out, "x: it is not in the list of peers");
}

static void own_facts_fail(void **state)
{
	struct fixture *f = *state;

	peer(f, "ca", "b", FACTS_OF_VM);
	write_file(f, "romulus-facts", "#!/bin/sh\necho broken >&2\nexit 1\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->out, "error    config");
	tool_says(f->out, "broken");
	write_file(f, "romulus.conf", "host = { nam = \"x\"; };\n");
	assert_int_equal(RUN(f, "web", "--to=b"), TOOL_ERROR);
	tool_says(f->out, "nam");
	assert_int_equal(RUN(f, "web"), TOOL_USAGE);
	tool_says(f->err, "Say --to HOST");
}

static void the_arbiter_is_asked(void **state)
{
	struct fixture *f = *state;

	peer(f, "ca", "b", FACTS_OF_VM);
	/* It is there, but this host has none. */
	write_file(f, "romulus-arbiter", "#!/bin/sh\necho held 7 a\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	assert_null(strstr(f->out, "held 7 a"));
	f->arbiter = "arbiter = { kind = \"witness\"; witness-name = \"w\"; witness-address = "
		     "\"127.0.0.1\"; timeout = \"1s\"; };\n";
	write_conf(f, "b");
	write_file(f, "romulus-arbiter", "#!/bin/sh\necho held 7 a $*\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->out, "ok       arbiter      held 7 a look web --uuid "
			  "11112222-3333-4444-5555-666677778888 --peer b --config ");
	write_file(f, "romulus-arbiter",
		   "#!/bin/sh\necho unknown no route to the witness; exit 2\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	/* Without a word on the policy it is the arbiter's, as for protect. */
	tool_says(f->out, "error    arbiter      unknown no route to the witness");
	write_file(f, "romulus-arbiter", "#!/bin/sh\necho no such option >&2; exit 64\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->out, "error    arbiter      no such option");
	write_file(f, "romulus-arbiter", "#!/bin/sh\nexec sleep 60\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->out, "error    arbiter");
}

static void wrong_usage(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, "web", "db"), TOOL_USAGE);
	assert_int_equal(RUN(f, "--to=../b"), TOOL_USAGE);
	tool_says(f->err, "is not a host's name");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(both_are_asked), T(json_is_json),	    T(the_peer_says_no), T(nobody_is_there),
		T(own_facts_fail), T(the_arbiter_is_asked), T(wrong_usage),
	};

	argp_err_exit_status = TOOL_USAGE;
	return RUN_TESTS("doctor_cmd", tests);
}
