/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers' ends of disk ports against servers that the test plays, with a link that only writes down: what is passed on
 * when, and what of a server, or of the peer, is not taken.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/port_conn.h"
#include "replicator/backup_ports.h"
#include "replicator/disk_figures.h"
#include "replicator/primary_ports.h"

#define N 2
#define SIZE (UINT64_C(1) << 30)
#define LIMIT_NS (10 * NS_PER_SEC)

static const char *const names[N] = {"root", "data"};

struct bed {
	char dir[24];
	int listen_fd[N];
	pthread_t thread;
	struct port_conn *server[N];
	struct port_state state[N];
	bool silent; /* the servers do not say STATE */
	struct primary_ports *p;
	struct backup_ports *b;
	struct conf conf;
	char sent[8192]; /* frames on the link */
	char told[1024];
	uint8_t *payload; /* of the newest DISKS_OK */
	struct frame last;
};

static struct bed *bed;

static void note(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
static void note(char *buf, size_t size, const char *fmt, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, size - n, fmt, ap);
	va_end(ap);
}

/* What was written down since the last call. */
static const char *since(char *buf, size_t size)
{
	static char text[sizeof(bed->sent)];

	assert_true(size <= sizeof(text));
	memcpy(text, buf, size);
	buf[0] = '\0';
	return text;
}

static const char *sent(void)
{
	return since(bed->sent, sizeof(bed->sent));
}

static const char *told(void)
{
	return since(bed->told, sizeof(bed->told));
}

/* ---- the link ----------------------------------------------------------------- */

static struct conn *const link_c = (struct conn *)&bed; /* not NULL; only the fakes see it */
static uint8_t begun[1 << 16];
static enum frame_type begun_as;

static void write_down(enum frame_type type, uint64_t epoch)
{
	char buf[16];

	note(bed->sent, sizeof(bed->sent), "%s%s", bed->sent[0] ? " " : "",
	     frame_name(type, buf, sizeof(buf)));
	if (epoch != FRAME_NO_EPOCH)
		note(bed->sent, sizeof(bed->sent), "(%llu)", (unsigned long long)epoch);
}

int __wrap_conn_send(struct conn *c, const struct conn_out *out, uint64_t deadline_ns,
		     struct err *e);
int __wrap_conn_send(struct conn *c, const struct conn_out *out, uint64_t deadline_ns,
		     struct err *e)
{
	write_down(out->type, out->epoch);
	return 0;
}

int __wrap_conn_begin(struct conn *c, enum frame_type type, uint64_t epoch, struct wr *w,
		      uint64_t deadline_ns, struct err *e);
int __wrap_conn_begin(struct conn *c, enum frame_type type, uint64_t epoch, struct wr *w,
		      uint64_t deadline_ns, struct err *e)
{
	*w = wr_init(begun, sizeof(begun));
	begun_as = type;
	write_down(type, epoch);
	return 0;
}

int __wrap_conn_end(struct conn *c, const struct wr *w, struct err *e);
int __wrap_conn_end(struct conn *c, const struct wr *w, struct err *e)
{
	bed->last = (struct frame){.h = frame_make(begun_as, FRAME_NO_EPOCH, begun, wr_used(w)),
				   .payload = begun};
	return 0;
}

int __wrap_conn_flush(struct conn *c, uint64_t deadline_ns, struct err *e);
int __wrap_conn_flush(struct conn *c, uint64_t deadline_ns, struct err *e)
{
	return 0;
}

/* ---- the servers ---------------------------------------------------------------- */

static void say_state(unsigned int i)
{
	struct err e = ERR_INIT;
	struct wr w;

	assert_int_equal(port_conn_begin(bed->server[i], 1200, &w, &e), 0);
	port_state_encode(&w, &bed->state[i]);
	assert_int_equal(port_conn_end(bed->server[i], PORT_STATE, FRAME_NO_EPOCH, &w, &e), 0);
}

/* Takes the workers' connections while the worker waits. */
static void *accept_all(void *arg)
{
	for (unsigned int i = 0; i < N; i++) {
		struct err e = ERR_INIT;
		int fd = accept4(bed->listen_fd[i], NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 || port_conn_new_take(&bed->server[i], fd, PORT_SERVER, &e) < 0)
			return NULL;
		if (!bed->silent)
			say_state(i);
	}
	return NULL;
}

static void servers_wait(void)
{
	for (unsigned int i = 0; i < N; i++) {
		port_conn_free(bed->server[i]);
		bed->server[i] = NULL;
	}
	assert_int_equal(pthread_create(&bed->thread, NULL, accept_all, NULL), 0);
}

static void servers_there(void)
{
	assert_int_equal(pthread_join(bed->thread, NULL), 0);
}

static void say(unsigned int i, unsigned int type, uint64_t epoch, const void *payload, size_t size)
{
	struct err e = ERR_INIT;

	assert_int_equal(port_conn_send(bed->server[i], type, epoch, payload, size, &e), 0);
}

/* What the worker says next but ROLE; 0: nothing. */
static unsigned int heard(unsigned int i, struct frame *f)
{
	struct err e = ERR_INIT;

	do {
		if (port_conn_recv(bed->server[i], f, &e) < 0)
			return 0;
	} while (f->h.type == PORT_ROLE);
	return f->h.type;
}

static void hears(unsigned int i, unsigned int type, uint64_t epoch)
{
	struct frame f;

	assert_string_equal(port_name(heard(i, &f)), port_name(type));
	if (epoch != FRAME_NO_EPOCH)
		assert_int_equal(f.h.epoch, epoch);
}

static void hears_nothing(unsigned int i)
{
	struct frame f;

	assert_int_equal(heard(i, &f), 0);
}

static void say_data(unsigned int i, uint16_t disk, uint64_t epoch)
{
	static const uint8_t bytes[512];
	const struct wire_disk_record r = {
		.op = WIRE_DISK_WRITE, .len = 512, .data = bytes, .stored = 512};
	uint8_t buf[1024];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_disk_data_begin(&w, disk);
	wire_disk_record_encode(&w, &r);
	wire_disk_data_end(&w, 1);
	say(i, FRAME_DISK_DATA, epoch, buf, wr_used(&w));
}

static void say_end(unsigned int i, uint64_t epoch)
{
	const struct wire_disk_end m = {.disk = (uint16_t)i};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_disk_end_encode(&w, &m);
	say(i, FRAME_DISK_END, epoch, buf, wr_used(&w));
}

static void say_hash(unsigned int i)
{
	static const uint8_t hash[WIRE_DISK_HASH_SIZE];
	const struct wire_disk_range m = {.disk = (uint16_t)i, .chunk = 4096, .count = 1};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_disk_hash_encode(&w, &m, hash);
	say(i, FRAME_DISK_HASH, FRAME_NO_EPOCH, buf, wr_used(&w));
}

/* ---- the peer ------------------------------------------------------------------- */

static uint8_t peer_buf[2048];

static struct frame peer_frame(enum frame_type type, uint64_t epoch, const struct wr *w)
{
	return (struct frame){.h = frame_make(type, epoch, peer_buf, wr_used(w)),
			      .payload = peer_buf};
}

static struct frame disks_ok(uint32_t wants)
{
	struct wire_disks_ok m = {.n = N};
	struct wr w = wr_init(peer_buf, sizeof(peer_buf));

	for (unsigned int i = 0; i < N; i++)
		m.disk[i] = (struct wire_disk_ok){.plan = WIRE_PLAN_DIRTY,
						  .state = WIRE_DISK_CONSISTENT,
						  .gen = {.current = 5}};
	m.disk[1].wants = wants;
	wire_disks_ok_encode(&w, &m);
	return peer_frame(FRAME_DISKS_OK, FRAME_NO_EPOCH, &w);
}

static struct frame want(uint16_t disk)
{
	static const uint8_t bits[1] = {1};
	const struct wire_disk_range m = {.disk = disk, .chunk = 4096, .count = 1};
	struct wr w = wr_init(peer_buf, sizeof(peer_buf));

	wire_disk_want_encode(&w, &m, bits);
	return peer_frame(FRAME_DISK_WANT, FRAME_NO_EPOCH, &w);
}

static struct frame peer_progress(uint16_t disk, uint64_t durable, uint64_t free_bytes)
{
	const struct wire_disk_progress m = {.disk = disk,
					     .durable = durable,
					     .applied = FRAME_NO_EPOCH,
					     .free_bytes = free_bytes};
	struct wr w = wr_init(peer_buf, sizeof(peer_buf));

	wire_disk_progress_encode(&w, &m);
	return peer_frame(FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, &w);
}

static struct frame disks(void)
{
	struct wire_disks m = {.n = N, .ack_mode = WIRE_ACK_MEMORY};
	struct wr w = wr_init(peer_buf, sizeof(peer_buf));

	for (unsigned int i = 0; i < N; i++) {
		m.disk[i] = (struct wire_disk){
			.uuid = {1}, .size = SIZE, .block_size = 512, .gen = {.current = 5}};
		snprintf(m.disk[i].name, NAME_SIZE, "%s", names[i]);
	}
	wire_disks_encode(&w, &m);
	return peer_frame(FRAME_DISKS, FRAME_NO_EPOCH, &w);
}

/* ---- the stage ------------------------------------------------------------------ */

static void tell_primary(void *arg, enum primary_ports_news news, const char *text)
{
	static const char *const words[] = {"synced", "dropped", "error", "pressure"};

	note(bed->told, sizeof(bed->told), "%s%s%s;", words[news], *text ? ": " : "", text);
}

static void tell_backup(void *arg, const struct backup_ports_news_item *n)
{
	static const char *const words[] = {"held", "durable", "failed", "active", "left"};

	note(bed->told, sizeof(bed->told), "%s %u %llu%s%s%s;", words[n->type], n->disk,
	     (unsigned long long)n->epoch, n->waits ? " waits" : "", n->text ? " " : "",
	     n->text ? n->text : "");
}

static int listener(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(to.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int set_up(void **state)
{
	char path[64];

	log_set_fd(-1);
	bed = calloc(1, sizeof(*bed));
	strcpy(bed->dir, "/tmp/dport.XXXXXX");
	assert_non_null(mkdtemp(bed->dir));
	snprintf(path, sizeof(path), "%s/disk", bed->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(bed->conf.run_dir, sizeof(bed->conf.run_dir), "%s", bed->dir);
	strcpy(bed->conf.host_name, "b");
	bed->conf.n_disks = N;
	for (unsigned int i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "%s/disk/%s.port", bed->dir, names[i]);
		bed->listen_fd[i] = listener(path);
		snprintf(bed->conf.disk[i].name, NAME_SIZE, "%s", names[i]);
		bed->state[i] = (struct port_state){.state = DISK_STATE_CONSISTENT,
						    .flags = PORT_DIRT_KNOWN,
						    .block_size = 512,
						    .size = SIZE,
						    .uuid = {1},
						    .gen = {.current = 5},
						    .applied = FRAME_NO_EPOCH};
		snprintf(bed->state[i].name, NAME_SIZE, "%s", names[i]);
	}
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	primary_ports_free(bed->p);
	backup_ports_free(bed->b);
	for (unsigned int i = 0; i < N; i++) {
		port_conn_free(bed->server[i]);
		close(bed->listen_fd[i]);
	}
	snprintf(command, sizeof(command), "rm -rf %s", bed->dir);
	assert_int_equal(system(command), 0);
	free(bed);
	return 0;
}

/* ---- the primary ---------------------------------------------------------------- */

static void pump(void)
{
	struct err e = ERR_INIT;

	assert_int_equal(primary_ports_pump(bed->p, link_c, &e), 0);
}

static void make_primary(void)
{
	struct primary_ports_conf c = {
		.link = {.side = FRAME_PRIMARY,
			 .run_dir = bed->dir,
			 .vm = "web",
			 .ack_mode = WIRE_ACK_MEMORY,
			 .word_fd = -1,
			 .wake_fd = -1,
			 .n = N},
		.open_timeout_ns = LIMIT_NS,
		.answer_timeout_ns = LIMIT_NS,
		.send_timeout_ns = LIMIT_NS,
		.tell = tell_primary,
	};
	struct err e = ERR_INIT;

	for (unsigned int i = 0; i < N; i++)
		snprintf(c.link.name[i], NAME_SIZE, "%s", names[i]);
	assert_int_equal(primary_ports_new(&bed->p, &c, &e), 0);
}

static int begin_primary(struct err *e)
{
	int rc;

	make_primary();
	servers_wait();
	rc = primary_ports_begin(bed->p, link_c, e);
	servers_there();
	return rc;
}

static void from_peer(struct frame f)
{
	struct err e = ERR_INIT;

	assert_int_equal(primary_ports_frame(bed->p, &f, &e), 0);
}

/* A session to the point where every disk is in sync. */
static void session(void)
{
	struct err e = ERR_INIT;

	assert_int_equal(begin_primary(&e), 0);
	assert_string_equal(sent(), "DISKS");
	from_peer(disks_ok(0));
	for (unsigned int i = 0; i < N; i++) {
		hears(i, PORT_BEGIN, 0);
		assert_string_equal(told(), "");
		say(i, PORT_SYNCED, 0, NULL, 0);
		pump();
	}
	assert_string_equal(told(), "synced;");
	assert_true(primary_ports_whole(bed->p));
}

/* Its copier must know all that the peer lacks before it begins. */
static void wants_come_before_begin(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(begin_primary(&e), 0);
	from_peer(disks_ok(2));
	hears(0, PORT_BEGIN, 0);
	hears_nothing(1);
	from_peer(want(1));
	hears(1, FRAME_DISK_WANT, FRAME_NO_EPOCH);
	hears_nothing(1);
	from_peer(want(1));
	hears(1, FRAME_DISK_WANT, FRAME_NO_EPOCH);
	hears(1, PORT_BEGIN, 0);
}

/* P2: nothing of the next epoch passes before the end of this one, whatever the servers' pace. */
static void epochs_in_order(void **state)
{
	session();
	say_data(0, 0, 0);
	pump();
	assert_string_equal(sent(), "DISK_DATA(0)");
	primary_ports_ask_end(bed->p, 0);
	hears(0, PORT_ASK_END, 0);
	hears(1, PORT_ASK_END, 0);
	say_data(0, 0, 0);
	say_end(0, 0);
	say_data(0, 0, 1);
	say(0, PORT_DROPPED, FRAME_NO_EPOCH, "later", 5);
	pump();
	pump();
	assert_string_equal(sent(), "DISK_DATA(0) DISK_END(0)");
	assert_false(primary_ports_ended(bed->p));
	say_end(1, 0);
	pump();
	assert_string_equal(sent(), "DISK_END(0)");
	assert_true(primary_ports_ended(bed->p));
	assert_string_equal(told(), "");
	primary_ports_epoch_over(bed->p);
	assert_true(primary_ports_more(bed->p));
	pump();
	assert_string_equal(sent(), "DISK_DATA(1)");
	assert_string_equal(told(), "dropped: disk root: later;");
	assert_false(primary_ports_whole(bed->p));
}

static void drops(const char *text)
{
	const char *news;

	pump();
	news = told();
	if (strncmp(news, "dropped: disk root: ", 20) != 0 || !strstr(news, text))
		fail_msg("'%s' lacks '%s'", news, text);
	assert_false(primary_ports_whole(bed->p));
	/* Once. */
	pump();
	assert_string_equal(told(), "");
}

/* What the peer's journal has free is told in status, also when no server says anything. */
static void progress_is_for_status(void **state)
{
	session();
	for (unsigned int i = 0; i < N; i++) {
		primary_ports_changed(bed->p, i);
		assert_false(primary_ports_changed(bed->p, i));
		assert_true(primary_ports_peer_free(bed->p, i) == DISK_FREE_UNKNOWN);
	}
	from_peer(peer_progress(1, 0, 0));
	hears(1, FRAME_DISK_PROGRESS, FRAME_NO_EPOCH);
	assert_false(primary_ports_changed(bed->p, 0));
	assert_true(primary_ports_changed(bed->p, 1));
	assert_false(primary_ports_changed(bed->p, 1));
	assert_int_equal(primary_ports_peer_free(bed->p, 1), 0);
	assert_int_equal(primary_ports_durable(bed->p, 1), 0);
}

static void end_unasked(void **state)
{
	session();
	say_end(0, 0);
	drops("says DISK_END of epoch 0");
	assert_string_equal(sent(), "");
}

static void data_of_another_disk(void **state)
{
	session();
	say_data(0, 1, 0);
	drops("says DISK_DATA");
}

static void data_after_its_end(void **state)
{
	session();
	primary_ports_ask_end(bed->p, 0);
	say_end(0, 0);
	say_data(0, 0, 0);
	drops("says DISK_DATA of epoch 0");
}

static void message_of_the_other_side(void **state)
{
	session();
	say(0, PORT_ACTIVE, 0, NULL, 0);
	drops("says ACTIVE");
}

static void server_dies(void **state)
{
	session();
	port_conn_free(bed->server[0]);
	bed->server[0] = NULL;
	drops("closed");
}

static void error_is_told(void **state)
{
	session();
	say(0, PORT_ERROR, FRAME_NO_EPOCH, "bad sector", 10);
	pump();
	assert_string_equal(told(), "error: disk root: bad sector;");
}

static void pressure_is_told_once(void **state)
{
	uint8_t half[4] = {50}, less[4] = {49};

	session();
	say(1, PORT_FILL, FRAME_NO_EPOCH, less, 4);
	pump();
	assert_string_equal(told(), "");
	for (int i = 0; i < 3; i++) {
		say(1, PORT_FILL, FRAME_NO_EPOCH, half, 4);
		pump();
	}
	assert_string_equal(told(), "pressure;");
	say(1, PORT_FILL, FRAME_NO_EPOCH, less, 4);
	pump();
	say(1, PORT_FILL, FRAME_NO_EPOCH, half, 4);
	pump();
	assert_string_equal(told(), "pressure;");
}

/* The protocol has room for so many questions, of all disks together. */
static void hashes_are_bounded(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(begin_primary(&e), 0);
	from_peer(disks_ok(0));
	hears(0, PORT_BEGIN, 0);
	sent();
	for (int i = 0; i < WIRE_MAX_UNANSWERED + 1; i++)
		say_hash(0);
	pump();
	assert_int_equal(strlen(sent()), WIRE_MAX_UNANSWERED * strlen("DISK_HASH ") - 1);
	pump();
	assert_string_equal(sent(), "");
	from_peer(want(0));
	assert_true(primary_ports_more(bed->p));
	pump();
	assert_string_equal(sent(), "DISK_HASH");
}

static const struct port_compared *compared(unsigned int i)
{
	pump();
	return disk_link_compared(primary_ports_link(bed->p), i);
}

static void say_compared(unsigned int i, uint64_t pass, uint8_t state)
{
	const struct port_compared m = {
		.state = state, .pass = pass, .verified = 8192, .differed = 4096};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	port_compared_encode(&w, &m);
	say(i, PORT_COMPARED, FRAME_NO_EPOCH, buf, wr_used(&w));
}

/* Each pass has its end, also when the server has none. */
static void verifies(void **state)
{
	session();
	assert_int_equal(compared(0)->pass, 0);
	primary_ports_verify(bed->p, 7);
	hears(0, PORT_VERIFY, FRAME_NO_EPOCH);
	hears(1, PORT_VERIFY, FRAME_NO_EPOCH);
	assert_int_equal(compared(0)->state, PORT_COMPARING);
	say_compared(0, 6, PORT_COMPARED_ALL); /* of an older one */
	assert_int_equal(compared(0)->state, PORT_COMPARING);
	say_compared(0, 7, PORT_COMPARED_ALL);
	assert_int_equal(compared(0)->state, PORT_COMPARED_ALL);
	assert_int_equal(compared(0)->differed, 4096);
	port_conn_free(bed->server[1]);
	bed->server[1] = NULL;
	assert_int_equal(compared(1)->state, PORT_COMPARED_NOT);
	assert_int_equal(compared(1)->pass, 7);
}

static void verifies_only_in_a_session(void **state)
{
	session();
	primary_ports_leave(bed->p);
	hears(0, PORT_LEAVE, FRAME_NO_EPOCH);
	primary_ports_verify(bed->p, 1);
	hears_nothing(0);
	assert_int_equal(compared(0)->state, PORT_COMPARED_NOT);
	assert_int_equal(compared(0)->pass, 1);
}

/* Without a link what is for it waits; after LEAVE it is nobody's. */
static void leaves(void **state)
{
	struct err e = ERR_INIT;

	session();
	say_data(0, 0, 0);
	assert_int_equal(primary_ports_pump(bed->p, NULL, &e), 0);
	primary_ports_acked(bed->p, 0);
	primary_ports_leave(bed->p);
	for (unsigned int i = 0; i < N; i++) {
		hears(i, PORT_ACKED, 0);
		hears(i, PORT_LEAVE, FRAME_NO_EPOCH);
	}
	pump();
	assert_string_equal(sent(), "");
	port_conn_free(bed->server[0]);
	bed->server[0] = NULL;
	pump();
	assert_string_equal(told(), "");
}

static void outdated_disk_is_no_source(void **state)
{
	struct err e = ERR_INIT;

	bed->state[1].state = DISK_STATE_OUTDATED;
	assert_int_equal(begin_primary(&e), -ENODEV);
	assert_string_equal(e.text, "disk data is outdated: a newer copy is elsewhere");
	assert_string_equal(sent(), "");
}

static void *alone(void *arg)
{
	struct err *e = arg;

	return primary_ports_alone(bed->p, clock_now() + LIMIT_NS, e) == 0 ? bed : NULL;
}

/* A STATE from before the question is no answer, even when it says the right thing. */
static void alone_waits_for_every_disk(void **state)
{
	struct err e = ERR_INIT;
	pthread_t asks;
	void *done;

	for (unsigned int i = 0; i < N; i++)
		bed->state[i].gen.bitmap = 4;
	session();
	assert_int_equal(pthread_create(&asks, NULL, alone, &e), 0);
	for (unsigned int i = 0; i < N; i++) {
		struct frame f;

		while (heard(i, &f) != PORT_ALONE)
			usleep(1000);
		usleep(20000);
		assert_int_equal(pthread_tryjoin_np(asks, &done), EBUSY);
		say_state(i);
	}
	assert_int_equal(pthread_join(asks, &done), 0);
	assert_ptr_equal(done, bed);
}

static void alone_ends_in_time(void **state)
{
	struct err e = ERR_INIT;

	session();
	assert_int_equal(primary_ports_alone(bed->p, clock_now() + NS_PER_SEC / 10, &e),
			 -ETIMEDOUT);
	assert_non_null(strstr(e.text, "disk root: its server does not say"));
}

static void no_server(void **state)
{
	struct err e = ERR_INIT;
	char path[64];

	make_primary();
	primary_ports_free(bed->p);
	bed->p = NULL;
	snprintf(path, sizeof(path), "%s/disk/%s.port", bed->dir, names[0]);
	unlink(path);
	struct disk_link_conf c = {.side = FRAME_PRIMARY,
				   .run_dir = bed->dir,
				   .vm = "web",
				   .ack_mode = WIRE_ACK_MEMORY,
				   .word_fd = -1,
				   .wake_fd = -1,
				   .n = 1,
				   .name = {"root"}};
	struct disk_link *l;

	assert_int_equal(disk_link_new(&l, &c, &e), 0);
	assert_int_equal(disk_link_open(l, clock_now() + NS_PER_SEC / 10, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "disk root: connect to"));
	assert_non_null(strstr(e.text,
			       "no romulus-disk serves it at the primary; has it a journal there "
			       "(romulus-disk --format)"));
	disk_link_free(l);
}

/* ---- the backup ------------------------------------------------------------------- */

static int begin_backup(struct err *e)
{
	const struct backup_ports_conf c = {
		.conf = &bed->conf,
		.vm = "web",
		.wake_fd = -1,
		.open_timeout_ns = LIMIT_NS,
		.send_timeout_ns = LIMIT_NS,
		.tell = tell_backup,
	};
	struct frame f = disks();

	return backup_ports_new(&bed->b, &c, &f, link_c, e);
}

static void begins_at_the_backup(void)
{
	struct err e = ERR_INIT;

	servers_wait();
	if (begin_backup(&e) < 0)
		fail_msg("%s", e.text);
	servers_there();
	assert_string_equal(sent(), "DISKS_OK");
	for (unsigned int i = 0; i < N; i++)
		hears(i, PORT_BEGIN, 0);
}

static void pump_backup(void)
{
	struct err e = ERR_INIT;

	assert_int_equal(backup_ports_pump(bed->b, link_c, &e), 0);
}

static void plans(void **state)
{
	struct wire_disks_ok ok;
	struct err e = ERR_INIT;

	bed->state[1] = (struct port_state){.state = DISK_STATE_EMPTY,
					    .block_size = 512,
					    .size = SIZE,
					    .uuid = {1},
					    .applied = FRAME_NO_EPOCH,
					    .name = "data"};
	begins_at_the_backup();
	assert_int_equal(wire_disks_ok_decode(&bed->last, &ok, &e), 0);
	assert_int_equal(ok.disk[0].plan, WIRE_PLAN_DIRTY);
	assert_int_equal(ok.disk[0].state, WIRE_DISK_CONSISTENT);
	assert_int_equal(ok.disk[1].plan, WIRE_PLAN_FULL);
	assert_int_equal(ok.disk[1].state, WIRE_DISK_EMPTY);
}

static void refused(const char *text)
{
	struct err e = ERR_INIT;

	servers_wait();
	assert_int_equal(begin_backup(&e), -EOPNOTSUPP);
	servers_there();
	if (!strstr(e.text, text))
		fail_msg("'%s' lacks '%s'", e.text, text);
	assert_string_equal(sent(), "");
}

static void of_another_size(void **state)
{
	bed->state[1].size /= 2;
	refused("disk data: it has 536870912 bytes at the backup, 1073741824 at the primary");
}

static void of_two_histories(void **state)
{
	bed->state[0].gen.current = 77;
	refused("disk root: each has a history that the other does not know. One copy has to be given "
		"up: for that of the backup, type there `romulus surrender web --disk root`;");
}

/* The operator gave it up: by what both have marked, since both count from the same. */
static void given_up_here(void **state)
{
	struct wire_disks_ok ok;
	struct err e = ERR_INIT;

	bed->state[0].state = DISK_STATE_OUTDATED;
	bed->state[0].gen = (struct wire_generations){.bitmap = 5};
	bed->state[1].state = DISK_STATE_OUTDATED;
	bed->state[1].gen = (struct wire_generations){.bitmap = 99};
	begins_at_the_backup();
	assert_int_equal(wire_disks_ok_decode(&bed->last, &ok, &e), 0);
	assert_int_equal(ok.disk[0].plan, WIRE_PLAN_DIRTY);
	assert_int_equal(ok.disk[1].plan, WIRE_PLAN_HASH);
}

static void failed_here(void **state)
{
	bed->state[1].state = DISK_STATE_FAILED;
	snprintf(bed->state[1].why, sizeof(bed->state[1].why), "write of the disk: I/O error");
	refused("disk data: it has failed at the backup: write of the disk: I/O error. When the cause "
		"is mended, end its romulus-disk there, type `romulus-disk --format=target --force "
		"data`");
}

static void in_use_here(void **state)
{
	bed->state[0].flags |= PORT_IN_USE;
	refused("disk root: both run the guest");
}

static void not_configured(void **state)
{
	struct err e = ERR_INIT;

	strcpy(bed->conf.disk[1].name, "other");
	assert_int_equal(begin_backup(&e), -EOPNOTSUPP);
	assert_string_equal(e.text, "disk data is not in romulus.conf of b");
}

static struct frame big_data(uint16_t disk, uint64_t epoch, uint8_t *buf, size_t size)
{
	static uint8_t bytes[1 << 20];
	const struct wire_disk_record r = {.op = WIRE_DISK_WRITE,
					   .len = sizeof(bytes),
					   .data = bytes,
					   .stored = sizeof(bytes)};
	struct wr w = wr_init(buf, size);

	wire_disk_data_begin(&w, disk);
	wire_disk_record_encode(&w, &r);
	wire_disk_data_end(&w, 1);
	return (struct frame){.h = frame_make(FRAME_DISK_DATA, epoch, buf, wr_used(&w)),
			      .payload = buf};
}

/* A server that does not read stops the reading of the link, and goes on where it was. */
static void full_port(void **state)
{
	size_t size = (1 << 20) + 4096;
	uint8_t *buf = malloc(size);
	struct err e = ERR_INIT;
	unsigned int n = 0, got = 0;
	struct frame f, out;
	int rc;

	begins_at_the_backup();
	f = big_data(0, 0, buf, size);
	while ((rc = backup_ports_frame(bed->b, &f, &e)) == 0)
		assert_true(++n < 100);
	assert_int_equal(rc, -EAGAIN);
	assert_true(backup_ports_deadline(bed->b) != CLOCK_NEVER);
	/* The other disk is no worse for it. */
	f = big_data(1, 0, buf, size);
	assert_int_equal(backup_ports_frame(bed->b, &f, &e), 0);
	f = big_data(0, 0, buf, size);
	while (got < n + 1) {
		if (heard(0, &out) == FRAME_DISK_DATA)
			got++;
		pump_backup();
		if (rc == -EAGAIN)
			rc = backup_ports_frame(bed->b, &f, &e);
	}
	assert_int_equal(rc, 0);
	assert_string_equal(told(), "");
	free(buf);
}

static void outside_of_the_disk(void **state)
{
	struct err e = ERR_INIT;
	struct frame f;

	begins_at_the_backup();
	f = want(5);
	f.h.type = FRAME_DISK_DATA;
	assert_int_equal(backup_ports_frame(bed->b, &f, &e), -EBADMSG);
}

static void say_progress(unsigned int i, uint64_t durable)
{
	const struct wire_disk_progress m = {.disk = (uint16_t)i,
					     .durable = durable,
					     .applied = FRAME_NO_EPOCH,
					     .free_bytes = 7};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_disk_progress_encode(&w, &m);
	say(i, FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, buf, wr_used(&w));
}

static void epochs_at_the_backup(void **state)
{
	uint8_t none[4] = {0}, waits[4] = {1};
	struct disk_figures fig;

	begins_at_the_backup();
	say(0, PORT_HELD, 0, none, 4);
	say(1, PORT_HELD, 0, waits, 4);
	pump_backup();
	assert_string_equal(told(), "held 0 0;held 1 0 waits;");
	backup_ports_commit(bed->b, 0);
	hears(0, PORT_COMMIT, 0);
	hears(1, PORT_COMMIT, 0);
	while (backup_ports_figures(bed->b, 0, &fig))
		;
	say_progress(0, 0);
	say_progress(0, 0);
	pump_backup();
	assert_string_equal(told(), "durable 0 0;");
	assert_true(backup_ports_figures(bed->b, 0, &fig));
	assert_int_equal(fig.journal_free_bytes, 7);
	assert_false(backup_ports_figures(bed->b, 0, &fig));
	assert_string_equal(sent(), "DISK_PROGRESS DISK_PROGRESS");
}

static void activates(void **state)
{
	begins_at_the_backup();
	backup_ports_commit(bed->b, 3);
	backup_ports_activate(bed->b, 3);
	for (unsigned int i = 0; i < N; i++) {
		hears(i, PORT_COMMIT, 3);
		hears(i, PORT_ACTIVATE, 3);
		assert_string_equal(told(), "");
		say(i, PORT_ACTIVE, 3, NULL, 0);
		pump_backup();
	}
	assert_string_equal(told(), "active 0 3;");
}

/* P2 */
static void active_at_another_epoch(void **state)
{
	begins_at_the_backup();
	backup_ports_activate(bed->b, 3);
	say(1, PORT_ACTIVE, 2, NULL, 0);
	pump_backup();
	assert_string_equal(told(),
			    "failed 1 0 disk data: its server says ACTIVE of epoch 2 out of turn;");
}

static void disk_fails(void **state)
{
	begins_at_the_backup();
	say(1, PORT_ERROR, FRAME_NO_EPOCH, "bad sector", 10);
	pump_backup();
	assert_string_equal(told(), "failed 1 0 disk data: bad sector;");
}

/* Only what is said after LEAVE counts, and a disk that can still be activated has not left. */
static void leaves_at_the_backup(void **state)
{
	begins_at_the_backup();
	backup_ports_commit(bed->b, 0);
	bed->state[0].state = DISK_STATE_OUTDATED;
	say_state(0);
	pump_backup();
	backup_ports_leave(bed->b);
	pump_backup();
	assert_string_equal(told(), "");
	say_state(0);
	say_state(1);
	pump_backup();
	assert_string_equal(told(), "");
	bed->state[1].state = DISK_STATE_SYNCING; /* from before the COMMIT */
	say_state(1);
	pump_backup();
	assert_string_equal(told(), "");
	bed->state[1].state = DISK_STATE_OUTDATED;
	say_state(1);
	pump_backup();
	assert_string_equal(told(), "left 0 0;");
	pump_backup();
	assert_string_equal(told(), "");
}

static void the_dead_have_left(void **state)
{
	begins_at_the_backup();
	for (unsigned int i = 0; i < N; i++) {
		port_conn_free(bed->server[i]);
		bed->server[i] = NULL;
	}
	backup_ports_leave(bed->b);
	pump_backup();
	assert_string_equal(told(), "left 0 0;");
}

static void server_dies_and_comes_back(unsigned int i)
{
	struct pollfd p = {.fd = bed->listen_fd[i], .events = POLLIN};
	struct err e = ERR_INIT;
	int fd;

	port_conn_free(bed->server[i]);
	bed->server[i] = NULL;
	pump_backup();
	while (clock_now() < backup_ports_deadline(bed->b))
		usleep(1000);
	pump_backup();
	assert_int_equal(poll(&p, 1, (int)(LIMIT_NS / NS_PER_MS)), 1);
	fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(port_conn_new_take(&bed->server[i], fd, PORT_SERVER, &e), 0);
}

/* P3: a disk that was activated comes back ACTIVE, and is told to leave as soon as somebody serves it. */
static void those_that_come_back_are_told(void **state)
{
	char path[64];

	begins_at_the_backup();
	backup_ports_commit(bed->b, 3);
	backup_ports_activate(bed->b, 3);
	for (unsigned int i = 0; i < N; i++) {
		hears(i, PORT_COMMIT, 3);
		hears(i, PORT_ACTIVATE, 3);
	}
	say(1, PORT_ACTIVE, 3, NULL, 0);
	pump_backup();
	snprintf(path, sizeof(path), "%s/disk/%s.port", bed->dir, names[1]);
	/* The server is dead, and no new one is there yet. */
	assert_int_equal(unlink(path), 0);
	close(bed->listen_fd[1]);
	port_conn_free(bed->server[1]);
	bed->server[1] = NULL;
	pump_backup();
	assert_non_null(strstr(told(), "failed 1 0 disk data: "));
	backup_ports_leave(bed->b);
	hears(0, PORT_LEAVE, FRAME_NO_EPOCH);
	bed->state[0].state = DISK_STATE_OUTDATED;
	say_state(0);
	pump_backup();
	assert_string_equal(told(), "");
	/* It is looked for again and again, and not at once. */
	assert_true(backup_ports_deadline(bed->b) <= clock_now() + NS_PER_SEC);
	bed->listen_fd[1] = listener(path);
	server_dies_and_comes_back(1);
	bed->state[1].state = DISK_STATE_ACTIVE;
	say_state(1);
	pump_backup();
	hears(1, PORT_LEAVE, FRAME_NO_EPOCH);
	/* What it is before it has heard us counts as little as before. */
	say_state(1);
	pump_backup();
	assert_string_equal(told(), "");
	/* It dies once more. */
	server_dies_and_comes_back(1);
	say_state(1);
	pump_backup();
	hears(1, PORT_LEAVE, FRAME_NO_EPOCH);
	bed->state[1].state = DISK_STATE_OUTDATED;
	say_state(1);
	pump_backup();
	assert_string_equal(told(), "left 0 0;");
	assert_true(backup_ports_deadline(bed->b) == CLOCK_NEVER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(wants_come_before_begin),
		TEST(epochs_in_order),
		TEST(progress_is_for_status),
		TEST(end_unasked),
		TEST(data_of_another_disk),
		TEST(data_after_its_end),
		TEST(message_of_the_other_side),
		TEST(server_dies),
		TEST(error_is_told),
		TEST(pressure_is_told_once),
		TEST(hashes_are_bounded),
		TEST(verifies),
		TEST(verifies_only_in_a_session),
		TEST(leaves),
		TEST(outdated_disk_is_no_source),
		TEST(alone_waits_for_every_disk),
		TEST(alone_ends_in_time),
		TEST(no_server),
		TEST(plans),
		TEST(of_another_size),
		TEST(of_two_histories),
		TEST(failed_here),
		TEST(given_up_here),
		TEST(in_use_here),
		TEST(not_configured),
		TEST(full_port),
		TEST(outside_of_the_disk),
		TEST(epochs_at_the_backup),
		TEST(activates),
		TEST(active_at_another_epoch),
		TEST(disk_fails),
		TEST(leaves_at_the_backup),
		TEST(the_dead_have_left),
		TEST(those_that_come_back_are_told),
	};

	return RUN_TESTS("disk_ports", tests);
}
