/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's worker without its main: shell, core and data thread on a real connection, whose other end the
 * test plays. What clears the way for a session (processes, domains) is left out, and the standby's builder is
 * this very program in another role.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/conn_impl.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "replicator/apply.h"
#include "replicator/backup_shell.h"
#include "replicator/page_codec.h"
#include "replicator/xen_version.h"
#include "tests/lib/loopback.h"
#include "tests/lib/pki.h"

#define TERM 7
#define LIMIT_NS (20 * NS_PER_SEC)
#define STEP_US 5000

static struct pki *pki;
static struct tls_ctx *ctx_a;
static struct tls_ctx *ctx_b;

struct bed {
	char dir[CONF_RUN_DIR_SIZE];
	struct conf conf;
	sd_event *loop;
	struct backup_shell s;
	struct conn *c; /* the primary's end */
	char end[64];	/* when this file is there the guest ends */
	int listen_fd;
	uint16_t port;
};

/* ---- in the place of backup_welcome_shell.c ---- */

int __wrap_backup_shell_welcome(struct backup_shell *s, const struct bd_msg *m,
				struct backup_conf *bc, struct bd_cmd *r);
int __wrap_backup_shell_welcome(struct backup_shell *s, const struct bd_msg *m,
				struct backup_conf *bc, struct bd_cmd *r)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = m->hello.heartbeat_period_ms * NS_PER_MS,
		.failure_timeout_ns = m->hello.failure_timeout_ms * NS_PER_MS,
		.epoch_period_ns = m->hello.epoch_period_us * NS_PER_US,
	};
	struct err e = ERR_INIT;

	*bc = (struct backup_conf){.policy = (enum peer_loss_policy)m->hello.policy};
	assert_int_equal(timing_check(&tc, &e), 0);
	timing_derive(&bc->timing, &tc);
	vm_state_init(&s->state, m->hello.vm);
	s->state.role = VM_BACKUP;
	s->state.term = m->hello.term;
	s->state.policy = bc->policy;
	snprintf(s->state.peer, sizeof(s->state.peer), "%s", m->peer_name);
	assert_int_equal(vm_state_save(s->conf->state_dir, &s->state, &e), 0);
	assert_int_equal(
		worker_claim(s->conf->run_dir, s->state.vm, WORKER_BACKUP, &s->lock_fd, &e), 0);
	bc->term = s->state.term;
	return 0;
}

/* ---- the standby's builder ---- */

#define ROLE "BACKUP_WORKER_CHILD"

int __real_standby_start(struct standby **out, const struct standby_conf *conf, int *stream_fd,
			 struct err *e);
int __wrap_standby_start(struct standby **out, const struct standby_conf *conf, int *stream_fd,
			 struct err *e);
int __wrap_standby_start(struct standby **out, const struct standby_conf *conf, int *stream_fd,
			 struct err *e)
{
	struct standby_conf sc = *conf;

	sc.program = "/proc/self/exe";
	return __real_standby_start(out, &sc, stream_fd, e);
}

int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e);
int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e)
{
	*major = 4;
	*minor = 17;
	return 0;
}

/* Arena and cache, by the data thread. */
static atomic_int given_back;

void __real_apply_free(struct apply *ap);
void __wrap_apply_free(struct apply *ap);
void __wrap_apply_free(struct apply *ap)
{
	if (ap)
		atomic_fetch_add(&given_back, 1);
	__real_apply_free(ap);
}

void __real_page_dec_free(struct page_dec *dec);
void __wrap_page_dec_free(struct page_dec *dec);
void __wrap_page_dec_free(struct page_dec *dec)
{
	if (dec)
		atomic_fetch_add(&given_back, 1);
	__real_page_dec_free(dec);
}

/* As if the host's time were set back an hour after it was asked for. */
static atomic_bool wall_steps;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = __real_clock_gettime(id, ts);

	if (atomic_load(&wall_steps) && id == CLOCK_REALTIME)
		ts->tv_sec -= 3600;
	return r;
}

static void child_say(const char *text)
{
	if (send(4, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(98);
}

/* The domain's end, or the monitor's, by the exit status in `role`. */
static int child_main(void)
{
	const char *role = getenv(ROLE);
	const char *end = getenv("BACKUP_WORKER_END");
	char buf[4096];

	if (!role || !end)
		return 93;
	while (read(3, buf, sizeof(buf)) > 0)
		;
	child_say("built domid=12");
	if (recv(4, buf, sizeof(buf), 0) != 3 || memcmp(buf, "run", 3) != 0)
		return 97;
	if (strcmp(role, "crash") == 0)
		raise(SIGKILL);
	child_say("running domid=12");
	/* Until the test has seen it run, or has failed. */
	while (access(end, F_OK) < 0)
		if (recv(4, buf, sizeof(buf), MSG_DONTWAIT) == 0)
			return 96;
		else
			usleep(STEP_US);
	return atoi(role);
}

/* ---- the worker ---- */

static int on_message(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct backup_shell *s = arg;
	struct bd_msg m;

	while (!s->finished && backup_data_next(s->data, &m))
		backup_shell_message(s, &m);
	return 0;
}

static void turn(struct bed *b)
{
	if (b->s.finished)
		usleep(STEP_US);
	else
		assert_true(sd_event_run(b->loop, STEP_US) >= 0);
}

static void until_finished(struct bed *b)
{
	uint64_t end = clock_now() + LIMIT_NS;

	while (!b->s.finished && clock_now() < end)
		turn(b);
	assert_true(b->s.finished);
}

static void start_worker(struct bed *b, int fd)
{
	const struct bd_conf dc = {
		.tls = ctx_b,
		.fd = fd,
		.handshake_timeout_ns = LIMIT_NS,
		.send_timeout_ns = LIMIT_NS,
	};
	struct err e = ERR_INIT;

	assert_true(sd_event_new(&b->loop) >= 0);
	b->s = (struct backup_shell){.conf = &b->conf, .loop = b->loop, .status_fd = -1};
	assert_int_equal(backup_shell_start(&b->s, &e), 0);
	assert_int_equal(backup_data_new(&b->s.data, &dc, &e), 0);
	assert_true(sd_event_add_io(b->loop, NULL, backup_data_fd(b->s.data), EPOLLIN, on_message,
				    &b->s) >= 0);
}

/* ---- the primary ---- */

static void *dial(void *arg)
{
	struct conn_conf conf = {.tls = ctx_a,
				 .wake_fd = -1,
				 .handshake_deadline_ns = clock_now() + LIMIT_NS,
				 .socket_buffer = 65536};
	struct bed *b = arg;
	struct err e = ERR_INIT;

	if (conn_connect(&b->c, "127.0.0.1", b->port, &conf, &e) < 0)
		b->c = NULL;
	return NULL;
}

static void say(struct bed *b, enum frame_type type, const void *data, size_t size)
{
	struct conn_out out = {
		.type = type, .epoch = FRAME_NO_EPOCH, .payload = data, .size = size};
	struct err e = ERR_INIT;

	if (conn_send(b->c, &out, clock_now() + LIMIT_NS, &e) < 0 ||
	    conn_flush(b->c, clock_now() + LIMIT_NS, &e) < 0)
		fail_msg("%s", e.text);
}

/* The worker goes on meanwhile. 0 or what conn_recv() says. */
static int hear(struct bed *b, struct frame *f)
{
	uint64_t end = clock_now() + LIMIT_NS;
	struct err e = ERR_INIT;
	int rc;

	for (;;) {
		rc = conn_recv(b->c, f, 0, &e);
		if (rc != -ETIMEDOUT || clock_now() >= end)
			return rc;
		turn(b);
	}
}

#define HELLO_SIZE 208

static void make_hello(uint8_t buf[HELLO_SIZE])
{
	static const struct wire_hello m = {.version_min = 1,
					    .version_max = 1,
					    .uuid = {1},
					    .term = TERM,
					    .mem_pages = 1000,
					    .ram_pages = 1000,
					    .arena_pages = 10,
					    .cache_slots = 10,
					    .heartbeat_period_ms = 100,
					    .failure_timeout_ms = 30000,
					    .epoch_period_us = 50000,
					    .vcpus = 1,
					    .policy = POLICY_HOLD,
					    .vm = "web",
					    .host = "a"};
	struct wr w = wr_init(buf, HELLO_SIZE);

	wire_hello_encode(&w, &m);
	assert_int_equal(wr_used(&w), HELLO_SIZE);
}

static void say_hello(struct bed *b)
{
	uint8_t buf[HELLO_SIZE];
	struct frame f;

	make_hello(buf);
	say(b, FRAME_HELLO, buf, sizeof(buf));
	assert_int_equal(hear(b, &f), 0);
	assert_int_equal(f.h.type, FRAME_HELLO_OK);
	conn_set_version(b->c, 1);
}

static void say_state(struct bed *b, uint16_t kind)
{
	static const uint8_t blob[100] = {1};
	struct wire_state st = {
		.kind = kind, .hvm = {.data = blob, .size = sizeof(blob)}, .n_params = 1};
	struct err e = ERR_INIT;
	struct wr w;

	assert_int_equal(conn_begin(b->c, FRAME_STATE, 0, &w, clock_now() + LIMIT_NS, &e), 0);
	wire_state_encode(&w, &st);
	assert_int_equal(conn_end(b->c, &w, &e), 0);
}

/* A first copy without a page, to its acknowledgement. */
static void first_copy(struct bed *b)
{
	static const uint8_t statics[32] = {1};
	struct wire_epoch_end m = {0};
	struct err e = ERR_INIT;
	struct digest nothing;
	struct frame f;
	struct wr w;

	digest_init(&nothing);
	m.digest = digest_final(&nothing);
	say(b, FRAME_CONFIG, "{}", 2);
	say(b, FRAME_STATIC, statics, sizeof(statics));
	say_state(b, WIRE_HVM_CONTEXT);
	say_state(b, WIRE_TSC_INFO);
	say_state(b, WIRE_HVM_PARAMS);
	assert_int_equal(conn_begin(b->c, FRAME_EPOCH_END, 0, &w, clock_now() + LIMIT_NS, &e), 0);
	wire_epoch_end_encode(&w, &m);
	assert_int_equal(conn_end(b->c, &w, &e), 0);
	assert_int_equal(conn_flush(b->c, clock_now() + LIMIT_NS, &e), 0);
	assert_int_equal(hear(b, &f), 0);
	assert_int_equal(f.h.type, FRAME_ACK);
}

/* ---- a bed ---- */

static void bed_init(struct bed *b)
{
	pthread_t dialler;
	int fd;

	*b = (struct bed){.dir = "/tmp/backup-worker-XXXXXX"};
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->conf.state_dir, sizeof(b->conf.state_dir), "%s", b->dir);
	snprintf(b->conf.run_dir, sizeof(b->conf.run_dir), "%s", b->dir);
	snprintf(b->conf.host_name, sizeof(b->conf.host_name), "b");
	b->listen_fd = loopback_listener(&b->port);
	assert_int_equal(pthread_create(&dialler, NULL, dial, b), 0);
	fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	start_worker(b, fd);
	assert_int_equal(pthread_join(dialler, NULL), 0);
	assert_non_null(b->c);
}

static bool pid_file(const struct bed *b)
{
	char path[WORKER_PATH_SIZE];

	worker_pid_path(path, b->dir, "web", WORKER_BACKUP);
	return access(path, F_OK) == 0;
}

/* As the main does it; the primary hangs up first, so that no last word waits for it. */
static void bed_fini(struct bed *b)
{
	char command[128];

	conn_free(b->c);
	backup_shell_stop(&b->s);
	assert_false(pid_file(b));
	backup_data_free(b->s.data);
	sd_event_unref(b->loop);
	close(b->listen_fd);
	snprintf(command, sizeof(command), "rm -r %s", b->dir);
	assert_int_equal(system(command), 0);
}

/* ---- tests ---- */

/* P4: or the primary would take each end in order for a loss. */
static void bye_is_answered(void **state)
{
	static const uint8_t bye[8];
	uint64_t term = 0;
	struct frame f;
	struct err e = ERR_INIT;
	struct vm_state st;
	struct bed b;

	bed_init(&b);
	say_hello(&b);
	assert_true(pid_file(&b));
	say(&b, FRAME_BYE, bye, sizeof(bye));
	assert_int_equal(hear(&b, &f), 0);
	assert_int_equal(f.h.type, FRAME_BYE_OK);
	assert_int_equal(wire_term_decode(&f, &term, &e), 0);
	assert_int_equal(term, TERM);
	until_finished(&b);
	assert_int_equal(b.s.exit_code, WORKER_DONE);
	assert_int_equal(vm_state_load(b.dir, "web", &st, &e), 0);
	assert_int_equal(st.role, VM_NONE);
	bed_fini(&b);
}

/* The last word has its two seconds whatever somebody does to the host's time. */
static void a_step_of_time_cuts_no_last_word(void **state)
{
	static const uint8_t bye[8];
	uint64_t begun;
	struct frame f;
	struct bed b;

	bed_init(&b);
	say_hello(&b);
	say(&b, FRAME_BYE, bye, sizeof(bye));
	assert_int_equal(hear(&b, &f), 0);
	until_finished(&b);
	backup_shell_stop(&b.s);
	/* The primary does not hang up. */
	begun = clock_now();
	atomic_store(&wall_steps, true);
	backup_data_free(b.s.data);
	atomic_store(&wall_steps, false);
	assert_true(clock_now() - begun >= NS_PER_SEC);
	b.s.data = NULL;
	bed_fini(&b);
}

/* An order that the protocol does not allow ends the session, not the worker. */
static void static_before_config(void **state)
{
	static const uint8_t statics[32] = {1};
	struct frame f;
	struct bed b;

	bed_init(&b);
	say_hello(&b);
	b.c->order.config_seen = true; /* or our own end would not let it out */
	say(&b, FRAME_STATIC, statics, sizeof(statics));
	assert_int_equal(hear(&b, &f), -ECONNRESET);
	until_finished(&b);
	assert_int_equal(b.s.exit_code, WORKER_DONE);
	bed_fini(&b);
}

/* A script in the place of romulus-facts. */
static void facts_script(struct bed *b, const char *text)
{
	static char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/facts", b->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fchmod(fileno(f), 0700), 0);
	assert_int_equal(fclose(f), 0);
	b->s.facts_tool = path;
	b->s.conf_path = "/the.conf";
	snprintf(b->conf.peer[0].name, NAME_SIZE, "a");
	b->conf.n_peers = 1;
}

static void ask_facts(struct bed *b, const char *vm, struct frame *f)
{
	uint8_t buf[72] = {0};

	snprintf((char *)buf, NAME_SIZE, "%s", vm);
	say(b, FRAME_ASK_FACTS, buf, sizeof(buf));
	assert_int_equal(hear(b, f), 0);
}

static void facts_are_answered(void **state)
{
	const char *json;
	struct err e = ERR_INIT;
	struct frame f;
	struct bed b;
	size_t size;

	bed_init(&b);
	facts_script(&b, "echo \"{\\\"asked\\\":\\\"$*\\\"}\"");
	ask_facts(&b, "web", &f);
	assert_int_equal(f.h.type, FRAME_FACTS);
	assert_int_equal(wire_facts_decode(&f, &json, &size, &e), 0);
	assert_memory_equal(json, "{\"asked\":\"--config /the.conf web\"}\n", size);
	/* Nothing of a session: no state, no pid file, no events. */
	assert_false(pid_file(&b));
	assert_false(b.s.begun);
	assert_null(b.s.events);
	conn_free(b.c);
	b.c = NULL;
	until_finished(&b);
	bed_fini(&b);
}

static void facts_of_the_host_alone(void **state)
{
	struct frame f;
	struct bed b;

	bed_init(&b);
	facts_script(&b, "test $# = 2 && echo {}");
	ask_facts(&b, "", &f);
	assert_int_equal(f.h.type, FRAME_FACTS);
	assert_memory_equal(f.payload, "{}\n", 3);
	bed_fini(&b);
}

static void facts_refused(struct bed *b, uint16_t code, const char *text)
{
	struct wire_refuse refuse;
	struct err e = ERR_INIT;
	struct frame f;

	ask_facts(b, "web", &f);
	assert_int_equal(f.h.type, FRAME_REFUSE);
	assert_int_equal(wire_refuse_decode(&f, &refuse, &e), 0);
	assert_int_equal(refuse.code, code);
	if (!strstr(refuse.text, text))
		fail_msg("%s", refuse.text);
	bed_fini(b);
}

static void facts_that_are_none(void **state)
{
	struct bed b;

	/* A true certificate is not enough. */
	bed_init(&b);
	facts_script(&b, "echo {}");
	b.conf.n_peers = 0;
	facts_refused(&b, WIRE_NOT_ALLOWED, "a is not among the peers of b");
	bed_init(&b);
	facts_script(&b, "echo no Xen here >&2; exit 1");
	facts_refused(&b, WIRE_INTERNAL, "no Xen here");
	bed_init(&b);
	facts_script(&b, "exit 0");
	facts_refused(&b, WIRE_INTERNAL, "0 bytes that are no facts");
	bed_init(&b);
	facts_script(&b, "head -c 300000 /dev/zero | tr '\\0' 7");
	facts_refused(&b, WIRE_INTERNAL, "no facts");
}

/* A primary that is newer than us learns why it is not heard. */
static void no_common_version(void **state)
{
	uint8_t buf[HELLO_SIZE];
	struct wire_refuse refuse;
	struct err e = ERR_INIT;
	struct frame f;
	struct bed b;

	bed_init(&b);
	make_hello(buf);
	buf[0] = FRAME_VERSION_MAX + 1;
	buf[2] = FRAME_VERSION_MAX + 2;
	say(&b, FRAME_HELLO, buf, sizeof(buf));
	assert_int_equal(hear(&b, &f), 0);
	assert_int_equal(f.h.type, FRAME_REFUSE);
	assert_int_equal(wire_refuse_decode(&f, &refuse, &e), 0);
	assert_int_equal(refuse.code, WIRE_BAD_VERSION);
	assert_non_null(strstr(refuse.text, "speaks 2 to 3, we 1 to 1"));
	conn_free(b.c);
	b.c = NULL;
	until_finished(&b);
	assert_int_equal(b.s.exit_code, WORKER_REFUSED);
	bed_fini(&b);
}

static void fail_over(struct bed *b, const char *role)
{
	const struct backup_event failover = {.type = BEV_FAILOVER, .force = true};

	bed_init(b);
	atomic_store(&given_back, 0);
	snprintf(b->end, sizeof(b->end), "%s/end", b->dir);
	setenv(ROLE, role, 1);
	setenv("BACKUP_WORKER_END", b->end, 1);
	say_hello(b);
	first_copy(b);
	assert_int_equal(atomic_load(&given_back), 0);
	backup_shell_event(&b->s, &failover);
}

/* A session up to "the VM runs here"; the guest ends with end_it(). */
static void bed_active(struct bed *b, const char *role)
{
	struct frame f;

	fail_over(b, role);
	assert_int_equal(hear(b, &f), 0);
	assert_int_equal(f.h.type, FRAME_TAKEOVER);
	assert_int_equal(b->s.core.state, BACKUP_ACTIVE);
	conn_free(b->c);
	b->c = NULL;
}

static void end_it(const struct bed *b)
{
	FILE *f = fopen(b->end, "we");

	assert_non_null(f);
	fclose(f);
}

/* P5: "the VM runs here" ends with the VM. The role stays: the primary may have an older copy (P4). */
static void the_active_vm_ends(void **state)
{
	struct vm_state st;
	struct err e = ERR_INIT;
	struct bed b;

	bed_active(&b, "0");
	assert_false(b.s.finished);
	/* What the session needed is given back. */
	assert_int_equal(atomic_load(&given_back), 2);
	end_it(&b);
	until_finished(&b);
	assert_int_equal(b.s.exit_code, WORKER_DONE);
	assert_int_equal(vm_state_load(b.dir, "web", &st, &e), 0);
	assert_int_equal(st.role, VM_ACTIVE);
	bed_fini(&b);
}

/* The monitor failed: nobody knows whether the VM has ended, so nobody says so. */
static void the_active_vm_is_not_watched(void **state)
{
	uint64_t end = clock_now() + LIMIT_NS;
	struct bed b;

	bed_active(&b, "1");
	end_it(&b);
	while (!b.s.problem[0] && clock_now() < end)
		turn(&b);
	assert_non_null(strstr(b.s.problem, "status 1"));
	assert_non_null(strstr(b.s.hint, "romulus-domain monitor 12"));
	assert_false(b.s.finished);
	bed_fini(&b);
}

/* P3, P4: nobody knows whether the VM ran: it is neither taken down nor forgotten, and the primary is told nothing. */
static void the_builder_dies_as_the_vm_runs(void **state)
{
	struct vm_state st;
	struct err e = ERR_INIT;
	struct frame f;
	struct bed b;

	fail_over(&b, "crash");
	until_finished(&b);
	assert_int_equal(b.s.exit_code, WORKER_DONE);
	assert_int_equal(b.s.core.state, BACKUP_ACTIVATING);
	assert_int_equal(vm_state_load(b.dir, "web", &st, &e), 0);
	assert_int_equal(st.role, VM_ACTIVE);
	assert_int_equal(st.term, TERM + 1);
	backup_data_free(b.s.data);
	b.s.data = NULL;
	assert_int_equal(hear(&b, &f), -ECONNRESET);
	bed_fini(&b);
}

static int set_up(void **state)
{
	pki = pki_new();
	ctx_a = pki_ctx(pki, "ca", "a", false);
	ctx_b = pki_ctx(pki, "ca", "b", false);
	return 0;
}

static int tear_down(void **state)
{
	tls_ctx_free(ctx_a);
	tls_ctx_free(ctx_b);
	pki_free(pki);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bye_is_answered),
		cmocka_unit_test(a_step_of_time_cuts_no_last_word),
		cmocka_unit_test(static_before_config),
		cmocka_unit_test(no_common_version),
		cmocka_unit_test(facts_are_answered),
		cmocka_unit_test(facts_of_the_host_alone),
		cmocka_unit_test(facts_that_are_none),
		cmocka_unit_test(the_active_vm_ends),
		cmocka_unit_test(the_active_vm_is_not_watched),
		cmocka_unit_test(the_builder_dies_as_the_vm_runs),
	};

	if (argc > 1 && strcmp(argv[1], "restore") == 0)
		return child_main();
	return cmocka_run_group_tests_name("backup_worker", tests, set_up, tear_down);
}
