/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: words, server, client; hostile lines, half lines, slow readers. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/ctl_client.h"
#include "lib/ctl_server.h"
#include "lib/ctl_std.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/mem.h"

#define DEADLINE_NS (10 * NS_PER_SEC)

/* ---- words ---- */

static void splits(void **state)
{
	static const struct {
		const char *line;
		int n; /* words, or a negative errno */
		const char *words[4];
	} table[] = {
		{"status", 1, {"status"}},
		{"  a \t b  ", 2, {"a", "b"}},
		{"", 0, {0}},
		{"   ", 0, {0}},
		{"a \"b c\" d", 3, {"a", "b c", "d"}},
		{"a \"\"", 2, {"a", ""}},
		{"a\"b\"c", 1, {"abc"}},
		{"a \\\"b", 2, {"a", "\"b"}},
		{"a \\ b", 2, {"a", " b"}},
		{"\"a\\\"\\\\b\"", 1, {"a\"\\b"}},
		{"\"a\" \"b\"", 2, {"a", "b"}},
		{"\"open", -EINVAL, {0}},
		{"a \\", -EINVAL, {0}},
		{"a\001b", -EINVAL, {0}},
		{"a\033[2Jb", -EINVAL, {0}},
		{"a\rb", -EINVAL, {0}},
		{"a\x7f", -EINVAL, {0}},
		{"a b c d e", -E2BIG, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char line[64];
		char *argv[5];
		struct err e = ERR_INIT;

		snprintf(line, sizeof(line), "%s", table[i].line);
		assert_int_equal(ctl_split(line, argv, 4, &e), table[i].n);
		assert_true(table[i].n >= 0 || *e.text);
		for (int k = 0; k < table[i].n; k++)
			assert_string_equal(argv[k], table[i].words[k]);
		if (table[i].n >= 0)
			assert_null(argv[table[i].n]);
	}
}

static void joins(void **state)
{
	const char *const words[] = {"a", "b c", "", "d\"e", "f\\g", "h\ti", NULL};
	const char *const bad[] = {"a\nb", NULL};
	const char *const none[] = {NULL};
	const char *many[CTL_ARGS_MAX + 2] = {0};
	char line[64];
	char *argv[8];
	size_t len;

	assert_int_equal(ctl_join(words, line, sizeof(line), &len), 0);
	assert_int_equal(line[len - 1], '\n');
	line[len - 1] = 0;
	assert_int_equal(ctl_split(line, argv, 7, NULL), 6);
	for (int i = 0; i < 6; i++)
		assert_string_equal(argv[i], words[i]);
	assert_int_equal(ctl_join(bad, line, sizeof(line), &len), -EINVAL);
	assert_int_equal(ctl_join(none, line, sizeof(line), &len), -EINVAL);
	for (size_t size = 0; size < 20; size++)
		assert_int_equal(ctl_join(words, line, size, &len), -EMSGSIZE);
	for (int i = 0; i <= CTL_ARGS_MAX; i++)
		many[i] = "x";
	assert_int_equal(ctl_join(many, line, 1, &len), -EMSGSIZE);
	{
		char big[256];

		assert_int_equal(ctl_join(many, big, sizeof(big), &len), -E2BIG);
	}
}

/* ---- server ---- */

struct fixture {
	char dir[64];
	char path[96];
	sd_event *event;
	struct ctl_server *server;
	struct ctl_token kept;
	int called;
};

static int on_echo(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct json *a = json_out_array(rq->reply, "argv");
	struct fixture *f = ctx;

	f->called++;
	for (int i = 0; i < rq->argc; i++)
		json_out_text(a, NULL, rq->argv[i]);
	assert_null(rq->argv[rq->argc]);
	return 0;
}

static int on_fail(void *ctx, struct ctl_request *rq, struct err *e)
{
	json_out_text(rq->reply, "detail", "more");
	return err_setx(e, -EBUSY, "not \"now\"");
}

static int on_silent_fail(void *ctx, struct ctl_request *rq, struct err *e)
{
	return -EIO;
}

static int on_later(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct fixture *f = ctx;

	ctl_server_later(rq, strtoull(rq->argv[0], NULL, 10) * NS_PER_MS);
	f->kept = rq->token;
	return 0;
}

static int on_later_at_once(void *ctx, struct ctl_request *rq, struct err *e)
{
	ctl_server_later(rq, DEADLINE_NS);
	json_out_text(ctl_server_reply(rq->server, rq->token), "x", "y");
	ctl_server_finish(rq->server, rq->token, 0, NULL);
	return 0;
}

static int on_big(void *ctx, struct ctl_request *rq, struct err *e)
{
	size_t n = strtoul(rq->argv[0], NULL, 10);
	char *text = malloc(n + 1);

	memset(text, 'x', n);
	text[n] = 0;
	json_out_text(rq->reply, "big", text);
	free(text);
	return 0;
}

static int on_no_memory(void *ctx, struct ctl_request *rq, struct err *e)
{
	mem_fail_after(0);
	json_out_text(rq->reply, "x", "y");
	mem_fail_after(MEM_NEVER);
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct ctl_command commands[] = {
		{"echo", "[WORD...]  says it again", 0, 5, on_echo, f},
		{"fail", " never works", 0, 0, on_fail, f},
		{"silent", " never works", 0, 0, on_silent_fail, f},
		{"later", "MS  answered later", 1, 1, on_later, f},
		{"at-once", " answered later, at once", 0, 0, on_later_at_once, f},
		{"big", "BYTES  a long answer", 1, 1, on_big, f},
		{"no-memory", " runs out of it", 0, 0, on_no_memory, f},
	};
	struct err e = ERR_INIT;

	log_set_fd(-1);
	strcpy(f->dir, "/tmp/test_ctl.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/x.ctl", f->dir);
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(ctl_server_new(f->event, f->path, &f->server, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		assert_int_equal(ctl_server_add(f->server, &commands[i]), 0);
	assert_int_equal(ctl_server_add(f->server, &commands[0]), -EEXIST);
	assert_int_equal(ctl_std_add(f->server, "test"), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ctl_server_free(f->server);
	ctl_server_free(NULL);
	sd_event_unref(f->event);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int connect_to(const struct fixture *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void run_once(struct fixture *f)
{
	assert_true(sd_event_run(f->event, 10000) >= 0);
}

/* Everything that is ready now. */
static void settle(struct fixture *f)
{
	while (sd_event_run(f->event, 0) > 0)
		;
}

/* A line without its newline into buf; 0: the server hung up. */
static size_t hear(struct fixture *f, int fd, char *buf, size_t size)
{
	uint64_t end = clock_now() + DEADLINE_NS;
	size_t used = 0;

	while (clock_now() < end) {
		ssize_t n = recv(fd, buf + used, 1, 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			run_once(f);
			continue;
		}
		if (buf[used] == '\n') {
			buf[used] = 0;
			return used;
		}
		used++;
		assert_true(used < size);
	}
	fail_msg("no answer in time");
	return 0;
}

static void expect(struct fixture *f, int fd, const char *answer)
{
	static char buf[CTL_ANSWER_MAX + 256];

	if (!hear(f, fd, buf, sizeof(buf)))
		fail_msg("hung up instead of: %s", answer);
	assert_string_equal(buf, answer);
}

static void expect_end(struct fixture *f, int fd)
{
	char buf[CTL_LINE_MAX];

	assert_int_equal(hear(f, fd, buf, sizeof(buf)), 0);
	close(fd);
}

#define SAY(fd, text) say(fd, text, sizeof(text) - 1)

static void answers(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);

	SAY(fd, "echo a \"b c\" \xc3\xbc\n");
	expect(f, fd, "{\"ok\":true,\"argv\":[\"a\",\"b c\",\"\xc3\xbc\"]}");
	SAY(fd, "fail\n");
	expect(f, fd,
	       "{\"ok\":false,\"detail\":\"more\",\"error\":\"not \\\"now\\\"\",\"code\":\"EBUSY\"}");
	SAY(fd, "silent\n");
	expect(f, fd, "{\"ok\":false,\"error\":\"Input/output error\",\"code\":\"EIO\"}");
	SAY(fd, "what\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"unknown command \\\"what\\\"; try help\","
	       "\"code\":\"EOPNOTSUPP\"}");
	SAY(fd, "echo 1 2 3 4 5 6\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"usage: echo [WORD...]  says it again\",\"code\":\"EINVAL\"}");
	SAY(fd, "no-memory\n");
	expect(f, fd, "{\"ok\":false,\"error\":\"out of memory\",\"code\":\"ENOMEM\"}");
	/* Blank lines are nothing; the next one is answered. */
	SAY(fd, "\n  \necho\n");
	expect(f, fd, "{\"ok\":true,\"argv\":[]}");
	close(fd);
}

static void help_and_standard_commands(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);
	char buf[16384];
	struct json_in *v = NULL;
	bool found = false;

	SAY(fd, "help\n");
	assert_true(hear(f, fd, buf, sizeof(buf)) > 0);
	assert_int_equal(json_in_parse(buf, strlen(buf), &v, NULL), 0);
	for (size_t i = 0; i < json_in_count(v, "commands"); i++)
		found |= !strcmp(json_in_text(json_in_item(v, "commands", i), "name", ""), "big");
	assert_true(found);
	json_in_free(v);
	SAY(fd, "version\n");
	hear(f, fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "\"program\":\"test\""));
	SAY(fd, "log/level loud\n");
	hear(f, fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "\"ok\":false"));
	SAY(fd, "log/level debug\n");
	expect(f, fd, "{\"ok\":true}");
	log_info("a line to be found");
	SAY(fd, "log/dump\n");
	hear(f, fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "a line to be found"));
	SAY(fd, "log/level info\n");
	expect(f, fd, "{\"ok\":true}");
	close(fd);
}

/* Byte by byte, and many at a time: the same answers in the same order. */
static void pieces_and_floods(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);
	char flood[CTL_LINE_MAX];
	size_t used = 0;
	int n = 0;

	for (const char *p = "echo piece\n"; *p; p++) {
		say(fd, p, 1);
		settle(f);
	}
	expect(f, fd, "{\"ok\":true,\"argv\":[\"piece\"]}");
	for (; used < sizeof(flood) - 20; n++)
		used += (size_t)sprintf(flood + used, "echo %d\n", n);
	say(fd, flood, used);
	for (int i = 0; i < n; i++) {
		char answer[64];

		sprintf(answer, "{\"ok\":true,\"argv\":[\"%d\"]}", i);
		expect(f, fd, answer);
	}
	close(fd);
}

static void oversized_line(void **state)
{
	struct fixture *f = *state;
	static char line[CTL_LINE_MAX + 64];
	int fd = connect_to(f);

	/* The longest that is allowed, then one byte more. */
	memset(line, ' ', sizeof(line));
	for (int i = 0; i < 4; i++)
		line[i] = "echo"[i];
	line[CTL_LINE_MAX - 1] = '\n';
	say(fd, line, CTL_LINE_MAX);
	expect(f, fd, "{\"ok\":true,\"argv\":[]}");
	line[CTL_LINE_MAX - 1] = ' ';
	say(fd, line, sizeof(line));
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"a request of more than 4096 bytes\",\"code\":\"EMSGSIZE\"}");
	expect_end(f, fd);
}

static void hostile_bytes(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);
	unsigned int seed = 7;
	char buf[512];

	SAY(fd, "echo a\0b\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"a zero byte in the request\",\"code\":\"EINVAL\"}");
	SAY(fd, "echo \033[2J\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"control byte 0x1b in the request\",\"code\":\"EINVAL\"}");
	SAY(fd, "\xff\xfe\n");
	assert_true(hear(f, fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "\"ok\":false"));
	close(fd);
	/* Noise of any kind, cut off anywhere. */
	for (int round = 0; round < 200; round++) {
		char noise[300];
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(noise);

		for (size_t i = 0; i < n; i++)
			noise[i] = (char)rand_r(&seed);
		fd = connect_to(f);
		say(fd, noise, n);
		settle(f);
		close(fd);
		settle(f);
	}
	fd = connect_to(f);
	SAY(fd, "echo alive\n");
	expect(f, fd, "{\"ok\":true,\"argv\":[\"alive\"]}");
	close(fd);
}

/* Half-closing clients, as `echo status | nc -U`, get their answer. */
static void half_closed(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);

	SAY(fd, "echo one\necho two\n");
	shutdown(fd, SHUT_WR);
	expect(f, fd, "{\"ok\":true,\"argv\":[\"one\"]}");
	expect(f, fd, "{\"ok\":true,\"argv\":[\"two\"]}");
	expect_end(f, fd);
	/* A half line and the end: nothing to answer. */
	fd = connect_to(f);
	SAY(fd, "ech");
	shutdown(fd, SHUT_WR);
	expect_end(f, fd);
}

/* One that does not read holds up nobody; what it sent behind waits. */
static void slow_reader(void **state)
{
	struct fixture *f = *state;
	int slow = connect_to(f);
	int other = connect_to(f);
	const int small = 1;
	static char buf[CTL_ANSWER_MAX + 256];

	setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	SAY(slow, "big 250000\nbig 250000\nbig 250000\necho end\n");
	settle(f);
	SAY(other, "echo x\n");
	expect(f, other, "{\"ok\":true,\"argv\":[\"x\"]}");
	for (int i = 0; i < 3; i++)
		assert_true(hear(f, slow, buf, sizeof(buf)) > 250000);
	expect(f, slow, "{\"ok\":true,\"argv\":[\"end\"]}");
	SAY(other, "big 300000\n");
	expect(f, other,
	       "{\"ok\":false,\"error\":\"the answer is too large\",\"code\":\"EMSGSIZE\"}");
	/* One that asks much and leaves. */
	SAY(slow, "big 250000\n");
	settle(f);
	close(slow);
	settle(f);
	SAY(other, "echo y\n");
	expect(f, other, "{\"ok\":true,\"argv\":[\"y\"]}");
	close(other);
}

static void too_many_clients(void **state)
{
	struct fixture *f = *state;
	int fd[CTL_MAX_CLIENTS];
	int extra;

	for (int i = 0; i < CTL_MAX_CLIENTS; i++) {
		fd[i] = connect_to(f);
		SAY(fd[i], "echo\n");
		expect(f, fd[i], "{\"ok\":true,\"argv\":[]}");
	}
	extra = connect_to(f);
	expect(f, extra, "{\"ok\":false,\"error\":\"too many clients\",\"code\":\"EBUSY\"}");
	expect_end(f, extra);
	close(fd[3]);
	settle(f);
	fd[3] = connect_to(f);
	SAY(fd[3], "echo\n");
	expect(f, fd[3], "{\"ok\":true,\"argv\":[]}");
	for (int i = 0; i < CTL_MAX_CLIENTS; i++)
		close(fd[i]);
	settle(f);
}

static void answered_later(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int fd = connect_to(f);

	SAY(fd, "later 60000\necho behind\n");
	settle(f);
	assert_int_not_equal(f->kept.id, 0);
	assert_non_null(ctl_server_reply(f->server, f->kept));
	json_out_u64(ctl_server_reply(f->server, f->kept), "n", 5);
	ctl_server_finish(f->server, f->kept, 0, NULL);
	expect(f, fd, "{\"ok\":true,\"n\":5}");
	expect(f, fd, "{\"ok\":true,\"argv\":[\"behind\"]}");
	/* A token is good for one answer. */
	assert_null(ctl_server_reply(f->server, f->kept));
	ctl_server_finish(f->server, f->kept, 0, NULL);

	SAY(fd, "later 60000\n");
	settle(f);
	err_setx(&e, -EHOSTUNREACH, "peer is away");
	ctl_server_finish(f->server, f->kept, -EHOSTUNREACH, &e);
	expect(f, fd, "{\"ok\":false,\"error\":\"peer is away\",\"code\":\"EHOSTUNREACH\"}");

	SAY(fd, "at-once\necho\n");
	expect(f, fd, "{\"ok\":true,\"x\":\"y\"}");
	expect(f, fd, "{\"ok\":true,\"argv\":[]}");

	/* Nobody answers: the server does, in bounded time. */
	SAY(fd, "later 20\necho after\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"it takes too long; look at the status\",\"code\":\"ETIMEDOUT\"}");
	expect(f, fd, "{\"ok\":true,\"argv\":[\"after\"]}");
	assert_null(ctl_server_reply(f->server, f->kept));

	/* The client leaves before its answer. */
	SAY(fd, "later 60000\n");
	settle(f);
	close(fd);
	settle(f);
	assert_null(ctl_server_reply(f->server, f->kept));
	ctl_server_finish(f->server, f->kept, 0, NULL);
	assert_null(ctl_server_reply(f->server, (struct ctl_token){0}));
}

static void the_file(void **state)
{
	struct fixture *f = *state;
	struct ctl_server *second = NULL;
	struct err e = ERR_INIT;
	struct stat st;
	char path[128];
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	/* Served already. */
	assert_int_equal(ctl_server_new(f->event, f->path, &second, &e), -EADDRINUSE);
	/* What a crash left is replaced. */
	snprintf(path, sizeof(path), "%s/y.ctl", f->dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(ctl_server_new(f->event, path, &second, &e), 0);
	ctl_server_free(second);
	assert_int_equal(access(path, F_OK), -1);
	/* Somebody's file is not. */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ctl_server_new(f->event, path, &second, &e), -EEXIST);
	assert_int_equal(unlink(path), 0);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	assert_int_equal(ctl_server_new(f->event, path, &second, &e), -ENAMETOOLONG);
	settle(f);
}

/* The file's mode is one lock, the credentials are the other. */
static void only_root(void **state)
{
	struct fixture *f = *state;
	char buf[256] = "";
	int status = 0;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(f->path, 0666), 0);
	pid = fork();
	if (!pid) {
		alarm(30);
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		status = connect_to(f);
		fcntl(status, F_SETFL, 0);
		(void)!recv(status, buf, sizeof(buf) - 1, 0);
		_exit(strstr(buf, "only root may ask") ? 0 : 1);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		assert_true(sd_event_run(f->event, 2000) >= 0);
	assert_int_equal(status, 0);
	assert_int_equal(f->called, 0);
}

/* ---- client ---- */

static int fake_server(const struct fixture *f, const char *name, char path[128])
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(path, 128, "%s/%s", f->dir, name);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static int call(const char *path, uint64_t timeout_ns, struct err *e)
{
	const char *const argv[] = {"x", NULL};
	struct json_in *reply = NULL;
	int rc = ctl_client_call(path, argv, timeout_ns, &reply, e);

	*e = *e->text ? *e : ERR_INIT;
	assert_true((rc == 0 || rc == -EREMOTEIO) == (reply != NULL));
	json_in_free(reply);
	return rc;
}

/* In a child: take one connection, read its request, say `answer`, hang up. */
static pid_t answer_once(int listener, const char *answer, size_t len)
{
	pid_t pid = fork();
	char buf[64];
	int fd;

	if (pid)
		return pid;
	alarm(30);
	fd = accept(listener, NULL, NULL);
	if (recv(fd, buf, sizeof(buf), 0) > 0 && len)
		send(fd, answer, len, MSG_NOSIGNAL);
	/* Too long: keep it coming. */
	while (len > 1000 && send(fd, answer, len, MSG_NOSIGNAL) > 0)
		;
	_exit(0);
}

static void client_meets_nonsense(void **state)
{
	static char huge[100000];
	static const struct {
		const char *answer;
		size_t len;
		int rc;
	} table[] = {
		{"{\"ok\":true}\n", 12, 0},
		{"{\"ok\":false,\"error\":\"no\"}\n", 27, -EREMOTEIO},
		{"{\"ok\":false}\n", 13, -EPROTO},
		{"{}\n", 3, -EPROTO},
		{"[]\n", 3, -EPROTO},
		{"\n", 1, -EPROTO},
		{"hello\n", 6, -EPROTO},
		{"{\"ok\":true", 10, -ECONNRESET},
		{"", 0, -ECONNRESET},
		{huge, sizeof(huge), -EMSGSIZE},
	};
	struct fixture *f = *state;

	memset(huge, ' ', sizeof(huge));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct err e = ERR_INIT;
		char path[128];
		int listener = fake_server(f, "fake", path);
		pid_t pid = answer_once(listener, table[i].answer, table[i].len);
		int rc = call(path, DEADLINE_NS, &e);

		if (rc != table[i].rc)
			fail_msg("case %zu: %d %s", i, rc, e.text);
		assert_true(rc == 0 || *e.text);
		close(listener);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		unlink(path);
	}
}

static void client_gives_up(void **state)
{
	struct fixture *f = *state;
	const char *const bad[] = {"a\nb", NULL};
	struct json_in *reply;
	struct err e = ERR_INIT;
	char path[128];
	uint64_t start = clock_now();
	int listener = fake_server(f, "mute", path);

	/* Accepted by the kernel, answered by nobody. */
	assert_int_equal(call(path, 50 * NS_PER_MS, &e), -ETIMEDOUT);
	assert_true(clock_now() - start >= 50 * NS_PER_MS);
	assert_true(clock_now() - start < DEADLINE_NS);
	assert_int_equal(ctl_client_call(path, bad, DEADLINE_NS, &reply, &e), -EINVAL);
	close(listener);
	assert_int_equal(call(path, DEADLINE_NS, &e), -ECONNREFUSED);
	unlink(path);
	assert_int_equal(call(path, DEADLINE_NS, &e), -ENOENT);
}

/* A server in a child, which is to be killed; an event loop does not survive a fork. */
static pid_t serve(char path[128])
{
	struct fixture *f = NULL;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		alarm(60);
		set_up((void **)&f);
		if (write(ready[1], f->path, sizeof(f->path)) != sizeof(f->path))
			_exit(1);
		while (sd_event_run(f->event, UINT64_MAX) >= 0)
			;
		_exit(1);
	}
	assert_int_equal(read(ready[0], path, 128), SIZEOF_FIELD(struct fixture, path));
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void client_and_server(void **state)
{
	const char *const argv[] = {"echo", "two words", "quo\"te", NULL};
	const char *const fail[] = {"fail", NULL};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	char path[128];
	pid_t pid = serve(path);

	assert_int_equal(ctl_client_call(path, argv, DEADLINE_NS, &reply, &e), 0);
	assert_string_equal(json_in_text(json_in_item(reply, "argv", 0), NULL, ""), "two words");
	assert_string_equal(json_in_text(json_in_item(reply, "argv", 1), NULL, ""), "quo\"te");
	json_in_free(reply);
	assert_int_equal(ctl_client_call(path, fail, DEADLINE_NS, &reply, &e), -EREMOTEIO);
	assert_string_equal(e.text, "not \"now\"");
	assert_string_equal(json_in_text(reply, "code", ""), "EBUSY");
	assert_string_equal(json_in_text(reply, "detail", ""), "more");
	json_in_free(reply);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unlink(path);
	*strrchr(path, '/') = 0;
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits),
		cmocka_unit_test(joins),
		cmocka_unit_test(client_and_server),
		cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(help_and_standard_commands, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pieces_and_floods, set_up, tear_down),
		cmocka_unit_test_setup_teardown(oversized_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hostile_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slow_reader, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_many_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(answered_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(client_meets_nonsense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(client_gives_up, set_up, tear_down),
	};

	return RUN_TESTS("ctl", tests);
}
