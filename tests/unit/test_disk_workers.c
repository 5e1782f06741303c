/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A protected VM with a disk, whole but for Xen: both workers with their shells, cores, data threads and the link between them,
 * and a real romulus-disk on either side, to which the guest writes by NBD. The guest's memory is a fake, the lanes are
 * flags, the standby's builder is this very program in another role, and what clears the way for a session is left out.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <libnbd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "replicator/backup_shell.h"
#include "replicator/primary_shell.h"
#include "replicator/xen_version.h"
#include "tests/lib/fake_guest.h"
#include "tests/lib/loopback.h"
#include "tests/lib/pki.h"

#define TERM 7
#define LIMIT_NS (30 * NS_PER_SEC)
#define STEP_US 2000
#define DISK_BYTES (8 << 20)
#define BLOCK 4096
#define ROLE "DISK_WORKERS_CHILD"

static struct pki *pki;
static struct tls_ctx *ctx_a;
static struct tls_ctx *ctx_b;
static char bin[256]; /* where romulus-disk is */

struct host {
	char dir[20];
	struct conf conf;
	pid_t server;
};

struct bed {
	char dir[16];
	struct host a, b;
	sd_event *p_loop, *s_loop; /* a worker's end is its loop's */
	int listen_fd;
	uint16_t port;
	struct fake_guest_report report;
	struct guest *guest;
	struct conf_peer peer;
	struct primary_shell p;
	bool p_live;
	struct backup_shell s;
	bool s_live;
	unsigned int sessions; /* of the backup */
	atomic_bool locked;
	struct nbd_handle *nbd;
	uint8_t content[DISK_BYTES]; /* what the guest wrote */
	bool lanes_open;
	unsigned int opened;
	unsigned int destroyed;
	uint64_t seed;
	enum peer_loss_policy policy;
};

static struct bed *bed;

/* ---- fakes ----------------------------------------------------------------------- */

static int fake_prepare(struct ckpt_device *d, uint64_t epoch)
{
	bed->lanes_open = false;
	return 0;
}

static int fake_pause(struct ckpt_device *d, uint64_t epoch)
{
	return 0;
}

static void fake_abort(struct ckpt_device *d, uint64_t epoch)
{
}

static int fake_open(struct ckpt_device *d, struct err *e)
{
	bed->lanes_open = true;
	bed->opened++;
	return 0;
}

static const struct ckpt_device_ops lane_ops = {
	.prepare = fake_prepare,
	.postsuspend = fake_pause,
	.preresume = fake_pause,
	.commit = fake_pause,
	.abort = fake_abort,
	.open = fake_open,
};
static struct ckpt_device lanes = {.ops = &lane_ops};

struct ckpt_device *netbuf_device(struct netbuf *nb)
{
	return &lanes;
}

bool netbuf_half_full(const struct netbuf *nb)
{
	return false;
}

bool netbuf_is_open(const struct netbuf *nb)
{
	return bed->lanes_open;
}

uint64_t netbuf_next_deadline(const struct netbuf *nb)
{
	return CLOCK_NEVER;
}

void netbuf_poll(struct netbuf *nb, uint64_t now)
{
}

int __wrap_spawn_check(struct spawn *sp, struct err *e);
int __wrap_spawn_check(struct spawn *sp, struct err *e)
{
	if (strcmp(sp->argv[1], "config") == 0) {
		memcpy(sp->out, "{}", 3);
		sp->out_used = 2;
	} else if (strcmp(sp->argv[1], "destroy") == 0) {
		bed->destroyed++;
	}
	return 0;
}

int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e);
int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e)
{
	*major = 4;
	*minor = 17;
	return 0;
}

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

/* Where the test holds the builder up: before it says `built`, or before it obeys `run`. */
#define GATE_BUILT "DISK_WORKERS_BUILT"
#define GATE_RUN "DISK_WORKERS_RUN"

/* False: given up meanwhile. */
static bool pass_gate(const char *name)
{
	const char *path = getenv(name);
	struct pollfd p = {.fd = 4, .events = POLLIN};

	while (path && access(path, F_OK) < 0)
		if (poll(&p, 1, 5) > 0)
			return false;
	return true;
}

static int child_main(void)
{
	static char buf[1 << 16];
	struct pollfd p[2] = {{.fd = 3, .events = POLLIN}, {.fd = 4, .events = POLLIN}};

	for (;;) {
		poll(p, 2, -1);
		if (p[1].revents)
			return 3; /* given up */
		if (p[0].revents && read(3, buf, sizeof(buf)) <= 0)
			break;
	}
	if (!pass_gate(GATE_BUILT))
		return 3;
	(void)!send(4, "built domid=12", 14, MSG_NOSIGNAL);
	if (recv(4, buf, sizeof(buf), 0) != 3)
		return 3;
	(void)pass_gate(GATE_RUN);
	(void)!send(4, "running domid=12", 16, MSG_NOSIGNAL);
	(void)!recv(4, buf, sizeof(buf), 0);
	return 0;
}

/* ---- servers --------------------------------------------------------------------- */

static pid_t start(const struct host *h, const char *first, const char *second)
{
	const char *argv[8] = {"romulus-disk", "--config", NULL, first};
	char program[300], conf[64], log[64];
	int n = 4;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/romulus-disk", bin);
	snprintf(conf, sizeof(conf), "%s/romulus.conf", h->dir);
	snprintf(log, sizeof(log), "%s/log", h->dir);
	argv[2] = conf;
	if (second)
		argv[n++] = second;
	argv[n++] = "web";
	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		signal(SIGXFSZ, SIG_IGN); /* a limit stands in for a disk's error */
		execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

/* The end of its log. */
static const char *last_words(const struct host *h)
{
	static char text[2048];
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/log", h->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		off_t size = lseek(fd, 0, SEEK_END);

		n = pread(fd, text, sizeof(text) - 1,
			  MAX(size - (off_t)sizeof(text) + 1, (off_t)0));
		close(fd);
	}
	text[MAX(n, (ssize_t)0)] = '\0';
	return text;
}

static void serve(struct host *h)
{
	uint64_t end = clock_now() + LIMIT_NS;
	char port[64], export[64];

	snprintf(port, sizeof(port), "%s/run/disk/web.port", h->dir);
	snprintf(export, sizeof(export), "%s/run/disk/web.export", h->dir);
	unlink(port);
	unlink(export);
	h->server = start(h, "--socket-only", NULL);
	/* What was killed may hold its locks for a moment: it waits for them. */
	while ((access(port, F_OK) < 0 || access(export, F_OK) < 0) && clock_now() < end &&
	       waitpid(h->server, NULL, WNOHANG) == 0)
		usleep(STEP_US * 10);
	if (access(port, F_OK) < 0 || access(export, F_OK) < 0)
		fail_msg("romulus-disk does not serve: %s", last_words(h));
}

static void slay(struct host *h)
{
	kill(h->server, SIGKILL);
	waitpid(h->server, NULL, 0);
}

static void host_init(struct host *h, const char *name, const char *how)
{
	char path[64];
	int status = -1;
	FILE *f;

	snprintf(h->dir, sizeof(h->dir), "%s/%s", bed->dir, name);
	assert_int_equal(mkdir(h->dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/disk", h->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), DISK_BYTES), 0);
	fclose(f);
	snprintf(path, sizeof(path), "%s/romulus.conf", h->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f,
		"host = { name = \"%s\"; };\npaths = { state-dir = \"%s/state\"; run-dir = \"%s/run\"; };\n"
		"disks = ( { name = \"web\"; path = \"%s/disk\"; journal-size = \"64MiB\"; "
		"queue-limit = \"64MiB\"; } );\n",
		name, h->dir, h->dir, h->dir);
	fclose(f);
	waitpid(start(h, how, "--force"), &status, 0);
	assert_int_equal(status, 0);
	snprintf(h->conf.host_name, sizeof(h->conf.host_name), "%s", name);
	snprintf(h->conf.state_dir, sizeof(h->conf.state_dir), "%s/state", h->dir);
	snprintf(h->conf.run_dir, sizeof(h->conf.run_dir), "%s/run", h->dir);
	snprintf(h->conf.disk[0].name, NAME_SIZE, "web");
	h->conf.n_disks = 1;
	serve(h);
}

static const char *server_state(const struct host *h)
{
	static char text[64];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/run/disk/web.state", h->dir);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* ---- the guest's disk ------------------------------------------------------------- */

/* Its socket is there a moment before it listens. */
static struct nbd_handle *dial(const struct host *h)
{
	uint64_t end = clock_now() + LIMIT_NS;
	char path[64];

	snprintf(path, sizeof(path), "%s/run/disk/web.export", h->dir);
	for (;;) {
		struct nbd_handle *nbd = nbd_create();

		assert_non_null(nbd);
		assert_int_equal(nbd_set_export_name(nbd, "web"), 0);
		if (nbd_connect_unix(nbd, path) == 0)
			return nbd;
		if (clock_now() > end)
			fail_msg("%s", nbd_get_error());
		nbd_close(nbd);
		usleep(STEP_US);
	}
}

static void write_some(unsigned int n)
{
	uint8_t data[BLOCK];

	for (unsigned int i = 0; i < n; i++) {
		bed->seed = bed->seed * 6364136223846793005u + 1442695040888963407u;
		uint64_t off = (bed->seed >> 33) % (DISK_BYTES / BLOCK) * BLOCK;

		memset(data, (int)(bed->seed >> 24), sizeof(data));
		memcpy(data, &bed->seed, sizeof(bed->seed));
		if (nbd_pwrite(bed->nbd, data, sizeof(data), off, 0) != 0)
			fail_msg("%s", nbd_get_error());
		memcpy(bed->content + off, data, sizeof(data));
	}
}

static void check_content(const struct host *h)
{
	static uint8_t have[DISK_BYTES];
	struct nbd_handle *nbd = dial(h);

	for (size_t off = 0; off < DISK_BYTES; off += 1 << 20)
		assert_int_equal(nbd_pread(nbd, have + off, 1 << 20, off, 0), 0);
	nbd_close(nbd);
	for (size_t off = 0; off < DISK_BYTES; off += BLOCK)
		if (memcmp(have + off, bed->content + off, BLOCK) != 0)
			fail_msg("block %zu differs", off / BLOCK);
}

/* ---- workers ----------------------------------------------------------------------- */

static int on_p(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct pd_msg m;

	while (bed->p_live && !bed->p.finished && primary_data_next(bed->p.data, &m))
		primary_shell_message(&bed->p, &m);
	return 0;
}

static int on_s(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct bd_msg m;

	while (bed->s_live && !bed->s.finished && backup_data_next(bed->s.data, &m))
		backup_shell_message(&bed->s, &m);
	return 0;
}

static sd_event_source *s_source;
static sd_event_source *p_source;

static void backup_start(int fd)
{
	const struct bd_conf dc = {
		.tls = ctx_b,
		.conf = &bed->b.conf,
		.fd = fd,
		.handshake_timeout_ns = 5 * NS_PER_SEC,
		.send_timeout_ns = LIMIT_NS,
	};
	struct err e = ERR_INIT;

	assert_true(sd_event_new(&bed->s_loop) >= 0);
	bed->s = (struct backup_shell){.conf = &bed->b.conf, .loop = bed->s_loop, .status_fd = -1};
	assert_int_equal(backup_shell_start(&bed->s, &e), 0);
	assert_int_equal(backup_data_new(&bed->s.data, &dc, &e), 0);
	bed->s_live = true;
	bed->sessions++;
	assert_true(sd_event_add_io(bed->s_loop, &s_source, backup_data_fd(bed->s.data), EPOLLIN,
				    on_s, NULL) >= 0);
}

static void backup_stop(void)
{
	if (!bed->s_live)
		return;
	bed->s_live = false;
	s_source = sd_event_source_disable_unref(s_source);
	backup_shell_stop(&bed->s);
	backup_data_free(bed->s.data);
	sd_event_unref(bed->s_loop);
}

static void primary_start(void)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = 300 * NS_PER_MS,
		.failure_timeout_ns = 3 * NS_PER_SEC,
		.epoch_period_ns = 30 * NS_PER_MS,
	};
	struct disk_link_conf disks = {.n = 1, .ack_mode = WIRE_ACK_MEMORY};
	struct pd_conf pc = {
		.conf = &bed->a.conf,
		.peer = &bed->peer,
		.vm = "web",
		.policy = bed->policy,
		.arena_pages = 64,
		.cache_slots = 16,
		.tls = ctx_a,
		.device = {&lanes},
		.n_devices = 2,
		.disks = &disks,
	};
	struct err e = ERR_INIT;

	timing_derive(&pc.timing, &tc);
	memset(&bed->p, 0, sizeof(bed->p));
	bed->p.conf = &bed->a.conf;
	bed->p.guest = &bed->guest->info;
	assert_true(sd_event_new(&bed->p_loop) >= 0);
	bed->p.loop = bed->p_loop;
	bed->lanes_open = true;
	vm_state_init(&bed->p.state, "web");
	bed->p.state.role = VM_PRIMARY;
	bed->p.state.policy = bed->policy;
	bed->p.state.term = TERM;
	strcpy(bed->p.state.peer, "b");
	assert_int_equal(vm_state_save(bed->a.conf.state_dir, &bed->p.state, &e), 0);
	assert_int_equal(disk_shell_new(&bed->p.disks, &e), 0);
	strcpy(disks.name[0], "web");
	disks.word_fd = disk_shell_word_fd(bed->p.disks);
	pc.device[1] = disk_shell_device(bed->p.disks);
	if (primary_data_new(&bed->p.data, &pc, bed->guest, &e) < 0)
		fail_msg("%s", e.text);
	bed->p_live = true;
	assert_true(sd_event_add_io(bed->p_loop, &p_source, primary_data_fd(bed->p.data), EPOLLIN,
				    on_p, NULL) >= 0);
	assert_int_equal(primary_shell_start(&bed->p, &pc.timing, pc.arena_pages, false, &e), 0);
}

/* As if its host had died: not a word to anybody. */
static void primary_stop(void)
{
	if (!bed->p_live)
		return;
	bed->p_live = false;
	p_source = sd_event_source_disable_unref(p_source);
	primary_shell_stop(&bed->p);
	primary_data_free(bed->p.data);
	disk_shell_free(bed->p.disks);
	sd_event_unref(bed->p_loop);
}

static void turn(void)
{
	struct pollfd l = {.fd = bed->listen_fd, .events = POLLIN};

	if (bed->s_live && bed->s.finished)
		backup_stop();
	if (!bed->s_live && poll(&l, 1, 0) > 0 && l.revents & POLLIN)
		backup_start(accept4(bed->listen_fd, NULL, NULL, SOCK_CLOEXEC));
	if (bed->s_live && !bed->s.finished)
		assert_true(sd_event_run(bed->s_loop, STEP_US) >= 0);
	if (bed->p_live && !bed->p.finished)
		assert_true(sd_event_run(bed->p_loop, STEP_US) >= 0);
	if (!bed->p_live && !bed->s_live)
		usleep(STEP_US);
}

#define UNTIL(condition)                                                                       \
	do {                                                                                   \
		uint64_t end__ = clock_now() + LIMIT_NS;                                       \
		while (!(condition)) {                                                         \
			if (clock_now() > end__)                                               \
				fail_msg("never: %s (primary %s, '%s'; backup %s, '%s')",      \
					 #condition, primary_state_name(bed->p.core.state),    \
					 bed->p.problem, backup_state_name(bed->s.core.state), \
					 bed->s.problem);                                      \
			turn();                                                                \
		}                                                                              \
	} while (0)

static bool protects(void)
{
	return bed->p.core.state == PRIMARY_PROTECTED && bed->s_live &&
	       bed->s.core.state == BACKUP_STANDING;
}

/* All that was written before is in an epoch that was acknowledged. */
static void settle(void)
{
	uint64_t epoch = bed->p.core.taken + 2;

	UNTIL(bed->p.core.state != PRIMARY_PROTECTED || bed->p.core.acked >= epoch);
	assert_int_equal(bed->p.core.state, PRIMARY_PROTECTED);
}

/* ---- the stage --------------------------------------------------------------------- */

static void guest_runs(void *arg, struct guest *g, enum fake_moment moment)
{
	if (moment == FAKE_RESUMED)
		fake_guest_scribble(g, 3, arg);
}

static int set_up(void **state)
{
	static uint64_t seed = 5;
	const struct fake_guest_conf gc = {
		.name = "web", .ram_pages = 256, .run = guest_runs, .arg = &seed};
	static uint64_t beds;

	if (!getenv("DISK_WORKERS_LOG"))
		log_set_fd(-1);
	bed = calloc(1, sizeof(*bed));
	assert_non_null(bed);
	bed->seed = ++beds;
	bed->policy = POLICY_BACKUP_WINS;
	strcpy(bed->dir, "/tmp/dw.XXXXXX");
	assert_non_null(mkdtemp(bed->dir));
	host_init(&bed->a, "a", "--format=source");
	host_init(&bed->b, "b", "--format=target");
	bed->guest = fake_guest_new(&gc);
	bed->guest->info.uuid[0] = 1;
	bed->listen_fd = loopback_listener(&bed->port);
	bed->peer = (struct conf_peer){.port = bed->port};
	strcpy(bed->peer.name, "b");
	strcpy(bed->peer.address, "127.0.0.1");
	bed->nbd = dial(&bed->a);
	write_some(50);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	unsetenv(GATE_BUILT);
	unsetenv(GATE_RUN);
	primary_stop();
	backup_stop();
	nbd_close(bed->nbd);
	guest_close(bed->guest);
	if (bed->listen_fd >= 0)
		close(bed->listen_fd);
	slay(&bed->a);
	slay(&bed->b);
	snprintf(command, sizeof(command), "rm -rf %s", bed->dir);
	assert_int_equal(system(command), 0);
	free(bed);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------- */

static void protect(void)
{
	primary_start();
	write_some(20);
	UNTIL(protects());
}

/* The primary's host dies: the VM runs from memory and disk of one epoch. */
static void host_death(void **state)
{
	protect();
	for (int i = 0; i < 10; i++) {
		write_some(10);
		turn();
	}
	settle();
	primary_stop();
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	assert_true(bed->s.core.disks_active);
	check_content(&bed->b);
}

/* The link breaks: the next session copies only what was written since. */
static void link_breaks(void **state)
{
	unsigned int before;

	bed->policy = POLICY_HOLD;
	protect();
	write_some(30);
	settle();
	before = bed->sessions;
	backup_stop();
	write_some(30);
	UNTIL(bed->sessions > before && protects());
	settle();
	assert_true(bed->opened >= 1);
	/* Each had its last word: what runs there now has all. */
	const struct backup_event failover = {.type = BEV_FAILOVER, .force = true};

	backup_shell_event(&bed->s, &failover);
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	check_content(&bed->b);
	/* The primary hears of it, its copy goes, and its disk knows. */
	UNTIL(bed->p.finished);
	assert_int_equal(bed->p.exit_code, WORKER_DEPOSED);
	assert_int_equal(bed->destroyed, 1);
}

static void unprotected(void **state)
{
	const struct primary_event ev = {.type = PEV_UNPROTECT};

	protect();
	settle();
	primary_shell_event(&bed->p, &ev);
	UNTIL(bed->p.finished);
	assert_int_equal(bed->p.exit_code, WORKER_DONE);
	assert_true(bed->lanes_open);
	write_some(5);
	check_content(&bed->a);
}

/* Whichever server dies: the guest goes on, and when the server is back the VM is protected again. */
static void server_dies(struct host *h)
{
	unsigned int before;

	protect();
	write_some(10);
	settle();
	before = bed->sessions;
	if (h == &bed->a)
		nbd_close(bed->nbd);
	slay(h);
	UNTIL(bed->p.core.state != PRIMARY_PROTECTED);
	serve(h);
	if (h == &bed->a)
		bed->nbd = dial(h);
	UNTIL(bed->sessions > before && protects());
	write_some(10);
	settle();
	primary_stop();
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	check_content(&bed->b);
}

static void servers_die_at_the_primary(void **state)
{
	server_dies(&bed->a);
}

static void servers_die_at_the_backup(void **state)
{
	server_dies(&bed->b);
}

static void close_gate(const char *name, char path[64])
{
	snprintf(path, 64, "%s/gate", bed->dir);
	setenv(name, path, 1);
}

static void open_gate(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void fail_over(void)
{
	const struct backup_event failover = {.type = BEV_FAILOVER, .force = true};

	write_some(10);
	settle();
	backup_shell_event(&bed->s, &failover);
}

/* P4: the VM was let run, nobody has seen it run yet, and its disk's server dies: it is the VM's own disk by now. */
static void server_dies_as_the_vm_runs(void **state)
{
	char gate[64];

	close_gate(GATE_RUN, gate);
	protect();
	fail_over();
	UNTIL(bed->s.core.let_run);
	slay(&bed->b);
	UNTIL(bed->s.problem[0]);
	assert_int_equal(bed->s.core.state, BACKUP_ACTIVATING);
	assert_false(bed->s.abandoning);
	open_gate(gate);
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	serve(&bed->b);
	assert_string_equal(server_state(&bed->b), "active");
	check_content(&bed->b);
	UNTIL(bed->p.finished);
	assert_int_equal(bed->p.exit_code, WORKER_DEPOSED);
}

/* P3: active, and the VM is not let run yet: given up; whoever serves the disk by then is told to leave. */
static void server_dies_before_the_vm_runs(void **state)
{
	unsigned int before;
	char gate[64];

	bed->policy = POLICY_HOLD;
	close_gate(GATE_BUILT, gate);
	protect();
	fail_over();
	UNTIL(bed->s.core.disks_active);
	before = bed->sessions;
	slay(&bed->b);
	UNTIL(bed->s.standby_gone);
	for (int i = 0; i < 100; i++)
		turn();
	assert_int_equal(bed->s.core.state, BACKUP_ABANDONING);
	/* Its last word; whoever serves the disk next may have been told to leave by the time serve() is back. */
	assert_string_equal(server_state(&bed->b), "active");
	serve(&bed->b);
	UNTIL(bed->sessions > before || !bed->s_live || bed->s.finished);
	assert_string_equal(server_state(&bed->b), "outdated");
	open_gate(gate);
	UNTIL(bed->sessions > before && protects());
	write_some(10);
	fail_over();
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	check_content(&bed->b);
}

/* As one that is being killed: both locks go late, the journal's after the disk's. */
static void *hold_locks(void *arg)
{
	static const char *const names[] = {"disk", "state/disk/web.journal"};
	const struct host *h = arg;
	int fd[2];

	for (int i = 0; i < 2; i++) {
		struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", h->dir, names[i]);
		fd[i] = open(path, O_RDWR | O_CLOEXEC);
		while (fd[i] >= 0 && fcntl(fd[i], F_OFD_SETLK, &l) < 0)
			usleep(STEP_US);
	}
	atomic_store(&bed->locked, true);
	for (int i = 0; i < 2; i++) {
		usleep(300000);
		close(fd[i]);
	}
	return fd[1] >= 0 ? bed : NULL;
}

static void locks_stay_for_a_while(void **state)
{
	pthread_t holds;
	void *held;

	slay(&bed->b);
	assert_int_equal(pthread_create(&holds, NULL, hold_locks, &bed->b), 0);
	while (!atomic_load(&bed->locked))
		usleep(STEP_US);
	serve(&bed->b);
	assert_int_equal(pthread_join(holds, &held), 0);
	assert_non_null(held);
	assert_non_null(strstr(last_words(&bed->b), "disk: another process has it; waiting"));
	assert_non_null(strstr(last_words(&bed->b), "journal: another process has it; waiting"));
}

#define BAD_FROM (DISK_BYTES - (1 << 20))

static void *write_there(void *arg)
{
	static uint8_t data[BLOCK];

	return nbd_pwrite(bed->nbd, data, sizeof(data), BAD_FROM + BLOCK, 0) == 0 ? bed : NULL;
}

/* The primary's disk fails: the guest is handed over, and never sees it. */
static void disk_error(void **state)
{
	const struct rlimit bad = {BAD_FROM, BAD_FROM};
	pthread_t writes;
	void *done;

	bed->policy = POLICY_PRIMARY_WINS;
	protect();
	settle();
	assert_int_equal(prlimit(bed->a.server, RLIMIT_FSIZE, &bad, NULL), 0);
	assert_int_equal(pthread_create(&writes, NULL, write_there, NULL), 0);
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	/* Only when the peer has it the answer comes, and nobody hears it. */
	UNTIL(bed->p.finished);
	assert_int_equal(bed->p.exit_code, WORKER_DEPOSED);
	assert_int_equal(pthread_join(writes, &done), 0);
	assert_null(done);
	assert_false(bed->lanes_open);
	check_content(&bed->b);
}

static void switch_over(void)
{
	const struct primary_event ev = {.type = PEV_SWITCHOVER};

	primary_shell_event(&bed->p, &ev);
}

/* The operator moves it: what the guest has ever written is there, and it has done nothing since. */
static void switchover(void **state)
{
	bed->policy = POLICY_HOLD;
	protect();
	write_some(50);
	/* It is refused while a busy machine's heartbeat is late. */
	UNTIL(protects());
	switch_over();
	assert_true(bed->p.core.moving);
	UNTIL(bed->s.core.state == BACKUP_ACTIVE);
	assert_true(bed->s.core.planned);
	assert_int_equal(bed->s.core.committed, bed->p.core.acked);
	assert_int_equal(bed->p.core.taken, bed->p.core.acked);
	UNTIL(bed->p.finished);
	assert_int_equal(bed->p.exit_code, WORKER_DEPOSED);
	assert_int_equal(bed->destroyed, 1);
	assert_false(bed->lanes_open);
	check_content(&bed->b);
}

/* The peer goes before it says that it has it: the guest goes on here, and the pair is protected again. */
static void switchover_without_an_answer(void **state)
{
	unsigned int before;

	bed->policy = POLICY_HOLD;
	protect();
	settle();
	before = bed->sessions;
	switch_over();
	UNTIL(bed->p.core.parked);
	assert_true(bed->p.core.state == PRIMARY_PROTECTED || bed->p.core.state == PRIMARY_HANDING);
	backup_stop();
	UNTIL(bed->p.core.state == PRIMARY_LOST || bed->sessions > before);
	assert_false(bed->p.core.parked);
	UNTIL(bed->sessions > before && protects());
	write_some(20);
	settle();
	assert_int_equal(bed->destroyed, 0);
}

/* Nobody is there to take the guest: it gets its error. */
static void disk_error_unprotected(void **state)
{
	const struct rlimit bad = {BAD_FROM, BAD_FROM};
	pthread_t writes;
	void *done;

	bed->policy = POLICY_HOLD;
	protect();
	settle();
	backup_stop();
	close(bed->listen_fd);
	bed->listen_fd = -1;
	assert_int_equal(prlimit(bed->a.server, RLIMIT_FSIZE, &bad, NULL), 0);
	UNTIL(bed->p.core.state == PRIMARY_LOST);
	assert_int_equal(pthread_create(&writes, NULL, write_there, NULL), 0);
	assert_int_equal(pthread_join(writes, &done), 0);
	assert_null(done);
}

/* The backup's operator has not given it that disk. */
static void disk_is_not_there(void **state)
{
	strcpy(bed->b.conf.disk[0].name, "other");
	primary_start();
	UNTIL(strstr(bed->p.problem, "disk web is not in romulus.conf of b"));
	assert_int_not_equal(bed->p.core.state, PRIMARY_PROTECTED);
}

/* For status: both sides say what the disk is. */
static void figures(void **state)
{
	protect();
	settle();
	UNTIL(bed->p.fig.n_disks == 1 && bed->p.fig.disk[0].synced && bed->s.disk[0].synced);
	assert_string_equal(bed->p.fig.disk[0].name, "web");
	assert_int_equal(bed->p.fig.disk[0].state, DISK_STATE_ACTIVE);
	assert_int_equal(bed->s.disk[0].state, DISK_STATE_CONSISTENT);
	assert_int_equal(bed->p.fig.disk[0].size, DISK_BYTES);
	assert_true(server_state(&bed->a) != NULL);
}

static bool compared(uint64_t pass)
{
	const struct port_compared *c = &bed->p.fig.disk[0].compared;

	return c->pass == pass && c->state != PORT_COMPARING;
}

/* A block of the backup's that no guest wrote is spoilt behind its server's back. */
static void spoil(void)
{
	static const uint8_t bad[BLOCK] = {1}, none[BLOCK];
	char path[64];
	size_t off = 0;
	int fd;

	while (memcmp(bed->content + off, none, BLOCK) != 0)
		off += BLOCK;
	snprintf(path, sizeof(path), "%s/disk", bed->b.dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bad, sizeof(bad), (off_t)off), sizeof(bad));
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

/* romulus verify: what differs is found, and copied again. */
static void verifies(void **state)
{
	const struct port_compared *c = &bed->p.fig.disk[0].compared;
	struct err e = ERR_INIT;

	bed->policy = POLICY_HOLD;
	primary_start();
	assert_int_equal(primary_verify(&bed->p, &e), -ENOTCONN);
	assert_non_null(strstr(e.text, "web is not protected now"));
	UNTIL(protects() && bed->p.fig.n_disks == 1);
	settle();
	assert_int_equal(primary_verify(&bed->p, &e), 0);
	assert_int_equal(primary_verify(&bed->p, &e), -EBUSY);
	UNTIL(compared(1));
	assert_int_equal(c->state, PORT_COMPARED_ALL);
	assert_int_equal(c->verified, DISK_BYTES);
	assert_int_equal(c->differed, 0);
	spoil();
	assert_int_equal(primary_verify(&bed->p, &e), 0);
	UNTIL(compared(2));
	assert_in_range(c->differed, BLOCK, DISK_BYTES / 2);
	UNTIL(bed->p.fig.disk[0].behind_bytes == 0);
	settle();
	assert_int_equal(primary_verify(&bed->p, &e), 0);
	UNTIL(compared(3));
	assert_int_equal(c->differed, 0);
	/* A session that ends takes it along. */
	assert_int_equal(primary_verify(&bed->p, &e), 0);
	backup_stop();
	UNTIL(compared(4));
}

static int group_set_up(void **state)
{
	pki = pki_new();
	ctx_a = pki_ctx(pki, "ca", "a", false);
	ctx_b = pki_ctx(pki, "ca", "b", false);
	return 0;
}

static int group_tear_down(void **state)
{
	tls_ctx_free(ctx_a);
	tls_ctx_free(ctx_b);
	pki_free(pki);
	return 0;
}

#define SKIPPED 77

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(host_death, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link_breaks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(servers_die_at_the_primary, set_up, tear_down),
		cmocka_unit_test_setup_teardown(servers_die_at_the_backup, set_up, tear_down),
		cmocka_unit_test_setup_teardown(server_dies_as_the_vm_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(server_dies_before_the_vm_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(locks_stay_for_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(disk_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(switchover, set_up, tear_down),
		cmocka_unit_test_setup_teardown(switchover_without_an_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(disk_error_unprotected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(disk_is_not_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verifies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(figures, set_up, tear_down),
	};
	char self[256];
	ssize_t n;

	if (argc > 1 && strcmp(argv[1], "restore") == 0)
		return child_main();
	if (argc > 1)
		return 0; /* destroy: there is no domain */
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert(n > 0);
	self[n] = '\0';
	snprintf(bin, sizeof(bin), "%s/../bin", dirname(self));
	snprintf(self, sizeof(self), "%.240s/romulus-disk", bin);
	if (access(self, X_OK) < 0) {
		fprintf(stderr, "skipped: %s is not built\n", self);
		return SKIPPED;
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("disk_workers", tests, group_set_up, group_tear_down);
}
