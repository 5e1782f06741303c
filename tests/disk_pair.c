/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk_pair BIN DIR [SEED [ROUNDS]]: two romulus-disk --socket-only, and this program as everything between and around
 * them: both workers, the link, and a guest that writes by NBD. What the backup has must be, byte for byte, what the guest
 * had written at the end of the epoch that was committed last, however the session ended. Says what was wrong; closes with
 * a line of resync:, one of disk-pair:, and "N passed, N failed".
 */
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <lz4.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/epoch_word.h"
#include "disk/generation.h"
#include "disk/journal_fmt.h"
#include "lib/clock.h"
#include "lib/compiler.h"
#include "lib/ctl_client.h"
#include "lib/disk_port.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/port_conn.h"

#define DISK_BYTES (UINT32_C(32) << 20)
#define BLOCK 4096u
#define BLOCKS (DISK_BYTES / BLOCK)
#define GUESTS 3
#define SNAPSHOTS 4
#define PATIENCE_NS (20 * NS_PER_SEC)

struct host {
	struct port_conn *port;
	struct frame frame;
	struct port_state state;
	pid_t server;
	unsigned int texts; /* DROPPED and ERROR */
	bool holds;	    /* a message that the other side had no room for */
	bool has_state;
	bool active;
	char dir[200];
	char text[WIRE_TEXT_MAX + 1];
};

struct snapshot {
	uint64_t epoch;
	uint8_t *data;
};

static const char *bin;
static struct host hosts[2];
static struct host *prim = &hosts[0]; /* where the guest runs */
static struct host *back = &hosts[1];
static struct epoch_word word = EPOCH_WORD_INIT;
static int word_fd = -1;

static uint8_t *oracle; /* what the guest has written */
static struct snapshot snapshots[SNAPSHOTS];
static uint64_t epoch;	   /* that runs */
static uint64_t held;	   /* newest HELD + 1 */
static uint64_t committed; /* newest COMMIT + 1 */
static uint64_t durable;   /* newest DISK_PROGRESS + 1 */
static unsigned int wants; /* unasked ones that are due */
static bool synced;
static uint64_t sent_bytes; /* of DISK_DATA */
static uint8_t *kept;	    /* what the backup had when it was looked at last ... */
static const struct host *kept_by;
static unsigned int too_big; /* copies that were larger than a journal */

/* Which of what is rare was seen. */
static unsigned int waited;	   /* HELD that had to wait for its journal */
static unsigned int did_not_wait;  /* ... and that had not */
static unsigned long packed;	   /* records that were sent by LZ4 */
static unsigned int stalls;	   /* DROPPED because nobody took the stream */
static unsigned int journal_fails; /* of a primary's journal */

static uint8_t ack_mode = WIRE_ACK_MEMORY;
static bool packs; /* the link sends records by LZ4 where they become smaller */

static unsigned int passed;
static unsigned int failed_checks;
static uint64_t epochs_done;
static atomic_ulong writes_done;
static unsigned int activations;
static unsigned int kills;

static uint64_t seed;

static uint64_t roll(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

PRINTF(2, 3) static bool check(bool right, const char *fmt, ...)
{
	va_list args;

	if (right) {
		passed++;
		return true;
	}
	failed_checks++;
	printf("wrong: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	return false;
}

PRINTF(1, 2) NORETURN static void give_up(const char *fmt, ...)
{
	va_list args;

	printf("wrong: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n0 passed, 1 failed\n");
	for (int i = 0; i < 2; i++)
		if (hosts[i].server > 0)
			kill(hosts[i].server, SIGKILL);
	exit(1);
}

static void path_of(const struct host *h, const char *name, char buf[256])
{
	snprintf(buf, 256, "%s/%s", h->dir, name);
}

/* ---- servers ---- */

static pid_t start(const struct host *h, const char *const extra[])
{
	const char *argv[12] = {"romulus-disk", "--config", NULL};
	char program[256];
	char conf[256];
	char log[256];
	pid_t pid;
	int n = 3;

	snprintf(program, sizeof(program), "%s/romulus-disk", bin);
	path_of(h, "romulus.conf", conf);
	path_of(h, "log", log);
	argv[2] = conf;
	for (int i = 0; extra[i]; i++)
		argv[n++] = extra[i];
	argv[n++] = "web";
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		signal(SIGXFSZ, SIG_IGN); /* a limit stands in for a store that fails */
		execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static void format(const struct host *h, const char *how)
{
	const char *const extra[] = {how, "--force", NULL};
	int status = 0;
	pid_t pid = start(h, extra);

	waitpid(pid, &status, 0);
	if (status != 0)
		give_up("%s fails", how);
}

static void serve(struct host *h)
{
	const char *const extra[] = {"--socket-only", NULL};
	char path[256];
	uint64_t end = clock_now() + PATIENCE_NS;

	path_of(h, "run/disk/web.export", path);
	unlink(path);
	h->server = start(h, extra);
	while (access(path, F_OK) < 0) {
		if (clock_now() > end || waitpid(h->server, NULL, WNOHANG) == h->server)
			give_up("the server of %s does not start", h->dir);
		usleep(5000);
	}
}

static void hang_up(struct host *h)
{
	port_conn_free(h->port);
	h->port = NULL;
	h->holds = h->has_state = h->active = false;
}

static void slay(struct host *h)
{
	kill(h->server, SIGKILL);
	waitpid(h->server, NULL, 0);
	kills++;
	hang_up(h);
}

static void set_up(struct host *h, const char *dir, const char *name)
{
	char path[256];
	FILE *f;

	snprintf(h->dir, sizeof(h->dir), "%.180s/%s", dir, name);
	mkdir(h->dir, 0700);
	path_of(h, "disk", path);
	f = fopen(path, "we");
	if (!f || ftruncate(fileno(f), DISK_BYTES) < 0)
		give_up("%s", path);
	fclose(f);
	path_of(h, "romulus.conf", path);
	f = fopen(path, "we");
	if (!f)
		give_up("%s", path);
	fprintf(f,
		"host = { name = \"%s\"; };\npaths = { state-dir = \"%s/state\"; run-dir = \"%s/run\"; };\n"
		"disks = ( { name = \"web\"; path = \"%s/disk\"; journal-size = \"%s\"; "
		"queue-limit = \"64MiB\"; } );\n",
		name, h->dir, h->dir, h->dir, h == &hosts[0] ? "64MiB" : "16MiB");
	fclose(f);
}

/* ---- the guest ---- */

struct guest {
	pthread_t thread;
	pthread_mutex_t between; /* held while a write is under way */
	unsigned int no;
	uint64_t seed;
	struct nbd_handle *nbd;
	uint8_t data[64 * BLOCK];
};

static struct guest guests[GUESTS];
static atomic_bool guests_end;
static atomic_bool guests_rest;

static uint64_t guest_roll(struct guest *g, uint64_t n)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed % n;
}

static struct nbd_handle *dial(const struct host *h)
{
	struct nbd_handle *nbd = nbd_create();
	char path[256];

	path_of(h, "run/disk/web.export", path);
	if (nbd && nbd_set_export_name(nbd, "web") == 0 && nbd_connect_unix(nbd, path) == 0)
		return nbd;
	nbd_close(nbd);
	return NULL;
}

/* The same again over a new connection, as the kernel does, until it is answered. */
static void carry_out(struct guest *g, unsigned int op, uint64_t off, uint32_t len)
{
	for (;;) {
		int rc = -1;

		if (!g->nbd)
			g->nbd = dial(prim);
		if (g->nbd && op == 0)
			rc = nbd_zero(g->nbd, len, off, 0);
		else if (g->nbd && op == 1)
			rc = nbd_flush(g->nbd, 0);
		else if (g->nbd)
			rc = nbd_pwrite(g->nbd, g->data, len, off,
					op == 2 ? LIBNBD_CMD_FLAG_FUA : 0);
		if (rc == 0)
			return;
		if (atomic_load(&guests_end))
			return;
		nbd_close(g->nbd);
		g->nbd = NULL;
		usleep(10000);
	}
}

/* Each guest has every GUESTS-th MiB, so that the order between them does not matter. */
static void write_something(struct guest *g)
{
	uint32_t len = (uint32_t)(512 * (1 + guest_roll(g, guest_roll(g, 8) ? 16 : 512)));
	uint64_t mib = guest_roll(g, (DISK_BYTES >> 20) / GUESTS) * GUESTS + g->no;
	uint64_t off = (mib << 20) + 512 * guest_roll(g, 2048 - len / 512 + 1);
	unsigned int op = (unsigned int)guest_roll(g, 30);

	for (uint32_t i = 0; i < len; i += 8) {
		uint64_t x = guest_roll(g, UINT64_MAX);

		memcpy(g->data + i, &x, 8);
	}
	carry_out(g, op, off, len);
	if (op == 0)
		memset(oracle + off, 0, len);
	else if (op != 1)
		memcpy(oracle + off, g->data, len);
	atomic_fetch_add(&writes_done, 1);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;

	while (!atomic_load(&guests_end)) {
		if (atomic_load(&guests_rest)) {
			usleep(1000);
			continue;
		}
		pthread_mutex_lock(&g->between);
		if (!atomic_load(&guests_rest))
			write_something(g);
		pthread_mutex_unlock(&g->between);
		usleep((unsigned int)guest_roll(g, 1500));
	}
	nbd_close(g->nbd);
	g->nbd = NULL;
	return NULL;
}

static void guests_start(void)
{
	atomic_store(&guests_end, false);
	for (unsigned int i = 0; i < GUESTS; i++) {
		guests[i].no = i;
		guests[i].seed = roll(UINT64_MAX) | 1;
		pthread_mutex_init(&guests[i].between, NULL);
		pthread_create(&guests[i].thread, NULL, guest_main, &guests[i]);
	}
}

static void guests_stop(void)
{
	atomic_store(&guests_end, true);
	for (unsigned int i = 0; i < GUESTS; i++)
		pthread_join(guests[i].thread, NULL);
}

static void pause_guests(bool pause)
{
	for (unsigned int i = 0; i < GUESTS; i++) {
		if (pause)
			pthread_mutex_lock(&guests[i].between);
		else
			pthread_mutex_unlock(&guests[i].between);
	}
}

/* ---- both workers and the link ---- */

static bool passes(unsigned int type)
{
	return type >= FRAME_DISK_HASH && type <= FRAME_DISK_VERIFIED;
}

static void on_frame(struct host *h, const struct frame *f)
{
	struct wire_disks disks = {.n = 1};
	struct wire_disk_progress progress;
	struct err e = ERR_INIT;

	disks.disk[0].size = DISK_BYTES;
	disks.disk[0].block_size = 512;
	if (f->h.type == PORT_STATE) {
		h->has_state = port_state_decode(f, &h->state, &e) == 0;
		check(h->has_state, "%s", e.text);
	} else if (f->h.type == PORT_HELD) {
		uint32_t flags = 0;

		check(port_held_decode(f, &flags, &e) == 0, "%s", e.text);
		*(flags & PORT_HELD_WAITS ? &waited : &did_not_wait) += 1;
		check(f->h.epoch == held, "HELD(%llu), not %llu", (unsigned long long)f->h.epoch,
		      (unsigned long long)held);
		held = f->h.epoch + 1;
	} else if (f->h.type == PORT_SYNCED) {
		synced = true;
	} else if (f->h.type == PORT_ACTIVE) {
		h->active = true;
	} else if (f->h.type == PORT_DROPPED || f->h.type == PORT_ERROR) {
		h->texts++;
		(void)!port_text_decode(f, h->text, &e);
		printf("%s says %s: %s\n", h->dir, port_name(f->h.type), h->text);
	} else if (f->h.type == FRAME_DISK_PROGRESS) {
		if (wire_disk_progress_decode(f, &disks, &progress, &e) < 0)
			check(false, "%s", e.text);
		else if (progress.durable != FRAME_NO_EPOCH)
			durable = progress.durable + 1;
	} else if (f->h.type == FRAME_DISK_DATA) {
		sent_bytes += f->h.length;
	} else if (f->h.type == FRAME_DISK_WANT && wants) {
		wants--;
	}
}

/* The same records, by LZ4 where that is smaller. How many bytes. */
static size_t pack(const struct frame *f, uint8_t *out, size_t size)
{
	static char small[WIRE_MAX_RECORD_DATA];
	struct wire_disks disks = {.n = 1};
	struct wr w = wr_init(out, size);
	struct wire_disk_record r;
	struct err e = ERR_INIT;
	struct rd records;
	uint32_t count;
	uint16_t disk;

	disks.disk[0].size = DISK_BYTES;
	disks.disk[0].block_size = 512;
	if (wire_disk_data_decode(f, &disks, &disk, &count, &records, &e) < 0)
		give_up("%s", e.text);
	wire_disk_data_begin(&w, disk);
	for (uint32_t i = 0; i < count; i++) {
		int n = 0;

		if (wire_disk_record_decode(&records, DISK_BYTES, &r, &e) < 0)
			give_up("%s", e.text);
		if (r.data)
			n = LZ4_compress_default((const char *)r.data, small, (int)r.len,
						 (int)sizeof(small));
		if (n > 0 && (uint32_t)n < r.len) {
			r.flags = WIRE_RECORD_LZ4;
			r.data = (const uint8_t *)small;
			r.stored = (uint32_t)n;
			packed++;
		}
		wire_disk_record_encode(&w, &r);
	}
	wire_disk_data_end(&w, count);
	return wr_used(&w);
}

static int pass_on(const struct host *from, const struct host *to)
{
	static uint8_t buf[FRAME_MAX_PAYLOAD];
	const struct frame *f = &from->frame;
	const uint8_t *payload = f->payload;
	size_t size = f->h.length;
	struct err e = ERR_INIT;

	if (packs && from == prim && f->h.type == FRAME_DISK_DATA) {
		size = pack(f, buf, sizeof(buf));
		payload = buf;
	}
	return port_conn_send(to->port, f->h.type, f->h.epoch, payload, size, &e);
}

/* What has come from h. False: its port is gone. */
static bool listen_to(struct host *h)
{
	struct host *other = h == prim ? back : prim;
	struct err e = ERR_INIT;

	while (h->port) {
		int rc = h->holds ? 0 : port_conn_recv(h->port, &h->frame, &e);

		if (rc == -EAGAIN)
			return true;
		if (rc < 0) {
			hang_up(h);
			return false;
		}
		if (!h->holds)
			on_frame(h, &h->frame);
		h->holds = passes(h->frame.h.type) && other->port && pass_on(h, other) == -EAGAIN;
		if (h->holds)
			return true;
	}
	return false;
}

static void pump(void)
{
	struct pollfd p[2];
	struct err e = ERR_INIT;

	for (int i = 0; i < 2; i++) {
		if (hosts[i].port)
			(void)!port_conn_flush(hosts[i].port, &e);
		(void)listen_to(&hosts[i]);
	}
	for (int i = 0; i < 2; i++) {
		const struct host *h = &hosts[i];

		p[i] = (struct pollfd){.fd = h->port ? port_conn_fd(h->port) : -1};
		p[i].events = h->port ? port_conn_events(h->port) : 0;
		if (h->holds)
			p[i].events = (short)(p[i].events & ~POLLIN);
	}
	(void)poll(p, 2, 2);
}

static void pump_for(uint64_t ns)
{
	uint64_t end = clock_now() + ns;

	while (clock_now() < end)
		pump();
}

#define UNTIL(cond, what)                                                                        \
	do {                                                                                     \
		uint64_t end__ = clock_now() + PATIENCE_NS;                                      \
		while (!(cond)) {                                                                \
			pump();                                                                  \
			if (clock_now() > end__)                                                 \
				give_up("%s does not come (line %d)", what, __LINE__);           \
			if (!prim->port || !back->port)                                          \
				give_up("a port is gone while %s is waited for (line %d)", what, \
					__LINE__);                                               \
		}                                                                                \
	} while (0)

static void say(struct host *h, unsigned int type, uint64_t n, const void *payload, size_t size)
{
	struct err e = ERR_INIT;

	if (h->port && port_conn_send(h->port, type, n, payload, size, &e) < 0 &&
	    e.rc != -ECONNRESET)
		check(false, "send %s: %s", port_name(type), e.text);
}

static void greet(struct host *h, unsigned int side)
{
	struct port_role role = {
		.side = (uint8_t)side, .ack_mode = ack_mode, .session = roll(UINT64_MAX) | 1};
	uint8_t buf[128];
	struct wr w = wr_init(buf, sizeof(buf));
	struct err e = ERR_INIT;
	char path[256];

	path_of(h, "run/disk/web.port", path);
	if (!h->port && port_conn_connect(&h->port, path, &e) < 0)
		give_up("%s", e.text);
	snprintf(role.vm, sizeof(role.vm), "vm");
	port_role_encode(&w, &role);
	if (side == FRAME_PRIMARY)
		port_conn_attach_fd(h->port, word_fd);
	h->has_state = h->active = false;
	say(h, PORT_ROLE, FRAME_NO_EPOCH, buf, wr_used(&w));
}

static void say_begin(struct host *h, unsigned int plan, const struct host *peer)
{
	const struct port_begin m = {.plan = (uint8_t)plan, .peer = peer->state.gen};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	port_begin_encode(&w, &m);
	say(h, PORT_BEGIN, 0, buf, wr_used(&w));
}

static struct gen_side side_of(const struct host *h, bool runs)
{
	const struct wire_generations *g = &h->state.gen;

	return (struct gen_side){
		.gen = {.current = g->current,
			.bitmap = g->bitmap,
			.history = {g->history[0], g->history[1]}},
		.state = (enum gen_state)h->state.state,
		.runs_guest = runs,
		.dirt = h->state.flags & PORT_DIRT,
		.dirt_known = h->state.flags & PORT_DIRT_KNOWN,
	};
}

/* A session begins; what way it takes. */
static enum gen_how begin_copy(void)
{
	static const unsigned int plans[] = {
		[GEN_NOTHING] = WIRE_PLAN_NOTHING,
		[GEN_BITMAP] = WIRE_PLAN_DIRTY,
		[GEN_HASH] = WIRE_PLAN_HASH,
		[GEN_FULL] = WIRE_PLAN_FULL,
	};
	struct gen_side mine;
	struct gen_side peers;
	struct gen_plan plan;

	epoch = held = committed = durable = 0;
	synced = false;
	epoch_word_store(&word, 0);
	greet(prim, FRAME_PRIMARY);
	greet(back, FRAME_BACKUP);
	UNTIL(prim->has_state && back->has_state, "STATE");
	mine = side_of(prim, true);
	peers = side_of(back, false);
	gen_plan(&mine, &peers, &plan);
	printf("%s\n", plan.text);
	if (plan.how > GEN_FULL || plan.direction != GEN_TO_PEER)
		give_up("%s: not a plan that was expected", plan.text);
	wants = plan.how == GEN_BITMAP ? back->state.wants : 0;
	sent_bytes = 0;
	say_begin(back, plans[plan.how], prim);
	UNTIL(!wants, "unasked DISK_WANT");
	say_begin(prim, plans[plan.how], back);
	return plan.how;
}

/* The pause: from here on the guest writes in the next epoch. */
static void barrier(void)
{
	struct snapshot *s = &snapshots[epoch % SNAPSHOTS];

	pause_guests(true);
	memcpy(s->data, oracle, DISK_BYTES);
	s->epoch = epoch;
	epoch_word_store(&word, epoch + 1);
	pause_guests(false);
}

static void commit(uint64_t n)
{
	say(back, PORT_COMMIT, n, NULL, 0);
	committed = n + 1;
	say(prim, PORT_ACKED, n, NULL, 0);
	epochs_done++;
}

static void one_epoch(void)
{
	uint64_t n = epoch;

	barrier();
	epoch++;
	say(prim, PORT_ASK_END, n, NULL, 0);
	UNTIL(held == n + 1, "HELD");
	commit(n);
}

/* Until all is sent, and all of the first epoch held. False: it did not fit into the backup's journal. */
static bool in_sync(void)
{
	uint64_t end = clock_now() + PATIENCE_NS;

	while (back->port && !synced) {
		pump();
		if (clock_now() > end || !prim->port)
			give_up("SYNCED does not come");
	}
	barrier();
	say(prim, PORT_ASK_END, epoch++, NULL, 0);
	while (back->port && !held) {
		pump();
		if (clock_now() > end || !prim->port)
			give_up("HELD(0) does not come");
	}
	return back->port != NULL;
}

static enum gen_how begin_held(void)
{
	enum gen_how how = begin_copy();

	if (in_sync())
		return how;
	check(how == GEN_BITMAP, "a backup closed its port in a copy past the journal");
	too_big++;
	hang_up(prim);
	how = begin_copy();
	if (!in_sync())
		give_up("the second time the copy does not go past the journal");
	return how;
}

/* A session with its first epoch. */
static enum gen_how begin(void)
{
	enum gen_how how = begin_held();

	commit(0);
	return how;
}

/* ---- what must be so ---- */

static const uint8_t *committed_content(void)
{
	const struct snapshot *s = &snapshots[(committed - 1) % SNAPSHOTS];

	if (s->epoch != committed - 1)
		give_up("no snapshot of epoch %llu", (unsigned long long)(committed - 1));
	return s->data;
}

static void compare(const uint8_t *got, const uint8_t *want, const char *what)
{
	uint64_t first = UINT64_MAX;
	unsigned int n = 0;

	for (uint64_t i = 0; i < BLOCKS; i++) {
		if (!memcmp(got + i * BLOCK, want + i * BLOCK, BLOCK))
			continue;
		first = MIN(first, i);
		n++;
	}
	check(!n, "%s: %u of %u blocks differ, the first is %llu (epoch %llu committed)", what, n,
	      BLOCKS, (unsigned long long)first, (unsigned long long)committed - 1);
}

static void compare_file(const struct host *h, const uint8_t *want, const char *what)
{
	uint8_t *got = malloc(DISK_BYTES);
	char path[256];
	int fd;

	path_of(h, "disk", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!got || fd < 0)
		give_up("read %s", path);
	if (pread(fd, got, DISK_BYTES, 0) != DISK_BYTES)
		give_up("read %s", path);
	compare(got, want, what);
	close(fd);
	free(got);
}

static void compare_export(const struct host *h, const uint8_t *want, const char *what)
{
	uint8_t *got = malloc(DISK_BYTES);
	struct nbd_handle *nbd = dial(h);

	if (!got || !nbd)
		give_up("dial %s", h->dir);
	for (uint64_t off = 0; off < DISK_BYTES; off += UINT64_C(1) << 20)
		if (nbd_pread(nbd, got + off, UINT64_C(1) << 20, off, 0) < 0)
			give_up("read: %s", nbd_get_error());
	compare(got, want, what);
	nbd_close(nbd);
	free(got);
}

/* The backup has what was committed when its state says that it is done with it. */
static void check_backup(const char *what)
{
	if (!back->port)
		greet(back, FRAME_BACKUP);
	back->has_state = false;
	say(back, PORT_LEAVE, FRAME_NO_EPOCH, NULL, 0);
	for (uint64_t end = clock_now() + PATIENCE_NS;
	     !back->has_state || back->state.state != 5;) {
		pump();
		if (clock_now() > end || !back->port)
			give_up("%s: the backup does not become OUTDATED but %u", what,
				back->state.state);
	}
	compare_file(back, committed_content(), what);
	memcpy(kept, committed_content(), DISK_BYTES);
	kept_by = back;
}

static void part(void)
{
	hang_up(prim);
	hang_up(back);
}

/* ---- scenarios ---- */

static void run_epochs(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		pump_for((5 + roll(15)) * NS_PER_MS);
		one_epoch();
	}
}

/* An epoch is broken off somewhere: its end may be asked for, may be held, and is not committed. */
static void half_an_epoch(void)
{
	pump_for(roll(10) * NS_PER_MS);
	if (roll(2)) {
		barrier();
		say(prim, PORT_ASK_END, epoch, NULL, 0);
		epoch++;
		pump_for(roll(10) * NS_PER_MS);
	}
}

static void first_copy(void)
{
	check(begin() == GEN_FULL, "the first copy is not a full one");
	run_epochs(10);
	half_an_epoch();
	check_backup("first copy, link cut");
	part();
}

static void resync(void)
{
	unsigned int changed = BLOCKS / 100;
	struct guest *g = &guests[0];
	const double whole = DISK_BYTES;
	double sent;

	/* All that was sent is durable, so that nothing but the change differs. */
	(void)begin();
	run_epochs(2);
	atomic_store(&guests_rest, true);
	pause_guests(true);
	pause_guests(false);
	run_epochs(1);
	UNTIL(durable == committed, "DISK_PROGRESS");
	pump_for(20 * NS_PER_MS);
	part();
	g->nbd = g->nbd ? g->nbd : dial(prim);
	for (unsigned int i = 0; i < changed; i++) {
		uint64_t block = i * (BLOCKS / changed);

		memset(g->data, (int)(1 + roll(255)), BLOCK);
		if (!g->nbd || nbd_pwrite(g->nbd, g->data, BLOCK, block * BLOCK, 0) < 0)
			give_up("write: %s", nbd_get_error());
		memcpy(oracle + block * BLOCK, g->data, BLOCK);
	}
	check(begin() == GEN_BITMAP, "not by what is marked");
	sent = 100.0 * (double)sent_bytes / whole;
	printf("resync: changed_pct=%.2f sent_pct=%.2f\n", 100.0 * changed * BLOCK / whole, sent);
	check(sent <= 2.0, "%.2f %% sent for 1 %% changed", sent);
	check_backup("resync");
	part();
	atomic_store(&guests_rest, false);
}

static void broken_resync(void)
{
	(void)begin();
	run_epochs((unsigned int)(1 + roll(4)));
	half_an_epoch();
	part();
	check_backup("link cut");
	part();
}

static void backup_killed(void)
{
	(void)begin();
	run_epochs((unsigned int)(1 + roll(4)));
	/* In the memory mode it comes back with what was durable, or newer. */
	UNTIL(durable == committed, "DISK_PROGRESS");
	half_an_epoch();
	slay(back);
	hang_up(prim);
	serve(back);
	check_backup("backup's server killed");
	part();
}

static void primary_killed(void)
{
	(void)begin();
	run_epochs((unsigned int)(1 + roll(4)));
	half_an_epoch();
	slay(prim);
	serve(prim);
	check_backup("primary's server killed");
	part();
}

/* As the hotplug script says that a guest has the disk: somebody will tell the server what it is for. */
static void mark_used(const struct host *h, bool used)
{
	char path[256];
	FILE *f;

	path_of(h, "run/disk/web.used", path);
	if (!used) {
		unlink(path);
		return;
	}
	f = fopen(path, "we");
	if (!f || fclose(f) != 0)
		give_up("%s", path);
}

/* The guest runs at h: its first write has made a history of its own. */
static void check_new_history(struct host *h, uint64_t base)
{
	greet(h, FRAME_PRIMARY);
	for (uint64_t end = clock_now() + PATIENCE_NS;
	     !h->has_state || h->state.gen.bitmap != base || h->state.gen.current == base;) {
		pump();
		if (clock_now() > end) {
			check(false, "the activated disk has no history of its own");
			break;
		}
	}
	hang_up(h);
}

/* The primary's host is gone; the guest goes on at the backup, and later the other way round. */
static void failover(void)
{
	struct host *h;
	bool reborn = activations % 2 == 0; /* the backup's server dies before the first write */
	unsigned int texts = back->texts;   /* of earlier times */
	uint64_t base;
	uint64_t generation = roll(UINT64_MAX) | 1;
	bool killed = roll(2);

	(void)begin();
	run_epochs((unsigned int)(1 + roll(6)));
	half_an_epoch();
	guests_stop();
	if (killed)
		slay(prim);
	for (uint64_t end = clock_now() + PATIENCE_NS; !back->active;) {
		if (clock_now() + PATIENCE_NS == end || !back->active) {
			uint8_t buf[8];
			struct wr w = wr_init(buf, sizeof(buf));
			static uint64_t said;

			port_activate_encode(&w, generation);
			if (said != generation)
				say(back, PORT_ACTIVATE, committed - 1, buf, wr_used(&w));
			said = generation;
		}
		pump();
		if (clock_now() > end || back->texts > texts)
			give_up("no activation: %s", back->text);
	}
	activations++;
	base = back->state.gen.current;
	if (reborn) {
		mark_used(back, true);
		slay(back);
		serve(back);
	}
	compare_export(back, committed_content(), "after activation");
	memcpy(oracle, committed_content(), DISK_BYTES);
	if (killed) {
		serve(prim);
		greet(prim, FRAME_PRIMARY);
	}
	prim->has_state = false;
	say(prim, PORT_DEPOSED, FRAME_NO_EPOCH, NULL, 0);
	for (uint64_t end = clock_now() + PATIENCE_NS;
	     !prim->has_state || prim->state.state != 5;) {
		pump();
		if (clock_now() > end)
			give_up("a deposed disk is not OUTDATED but %u", prim->state.state);
	}
	part();
	kept_by = NULL;
	h = prim;
	prim = back;
	back = h;
	guests_start();
	check_new_history(prim, base);
	mark_used(prim, false);
	pump_for(30 * NS_PER_MS);
}

/* An activation that comes to nothing leaves no history, also if the server that was asked for it is gone. */
static void false_activation(void)
{
	static unsigned int n;
	uint8_t buf[8];
	struct wr w = wr_init(buf, sizeof(buf));

	(void)begin();
	run_epochs(2);
	UNTIL(durable, "DISK_PROGRESS");
	port_activate_encode(&w, 77);
	say(back, PORT_ACTIVATE, committed - 1, buf, wr_used(&w));
	UNTIL(back->active, "ACTIVE");
	compare_export(back, committed_content(), "false activation");
	if (n++ % 2 == 0) {
		slay(back);
		serve(back);
	}
	check_backup("left after a false activation");
	part();
	check(begin() == GEN_BITMAP, "an activation that came to nothing left a history");
	run_epochs(1);
	check_backup("after it");
	part();
}

/* romulus surrender: 0, or what the server says against it. */
static int surrender(const struct host *h, const char *how, struct err *e)
{
	const char *const argv[] = {"surrender", how, NULL};
	struct json_in *reply = NULL;
	char path[256];
	int rc;

	path_of(h, "run/disk/web.ctl", path);
	rc = ctl_client_call(path, argv, PATIENCE_NS, &reply, e);
	json_in_free(reply);
	return rc;
}

static void refuses_to_surrender(const struct host *h, const char *why)
{
	struct err e = ERR_INIT;
	int rc = surrender(h, NULL, &e);

	check(rc == -EREMOTEIO && strstr(e.text, why), "surrender: %d '%s', not '%s'", rc, e.text,
	      why);
}

static enum gen_how plan_now(void)
{
	struct gen_side mine, peers;
	struct gen_plan plan;

	greet(prim, FRAME_PRIMARY);
	greet(back, FRAME_BACKUP);
	UNTIL(prim->has_state && back->has_state, "STATE");
	mine = side_of(prim, true);
	peers = side_of(back, false);
	gen_plan(&mine, &peers, &plan);
	return plan.how;
}

/* The backup was activated although the primary lived, and wrote. */
static void activate_beside(void)
{
	uint8_t buf[8], data[4 * BLOCK];
	struct wr w = wr_init(buf, sizeof(buf));
	struct nbd_handle *nbd;

	port_activate_encode(&w, roll(UINT64_MAX) | 1);
	say(back, PORT_ACTIVATE, committed - 1, buf, wr_used(&w));
	UNTIL(back->active, "ACTIVE");
	part();
	/* It may be about to end a connection, and takes no other then. */
	for (uint64_t end = clock_now() + PATIENCE_NS; !(nbd = dial(back));) {
		if (clock_now() > end)
			give_up("dial %s: %s", back->dir, nbd_get_error());
		usleep(5000);
	}
	for (int i = 0; i < 20; i++) {
		memset(data, (int)roll(256), sizeof(data));
		if (nbd_pwrite(nbd, data, sizeof(data), roll(BLOCKS - 4) * BLOCK, 0) < 0)
			give_up("write beside: %s", nbd_get_error());
	}
	refuses_to_surrender(back, "a guest of this host has disk");
	nbd_close(nbd);
}

/* Two histories: nothing is copied until the operator gives up one, and then no more than was written to either. */
static void two_histories(void)
{
	static unsigned int n;
	bool killed = n++ % 2;
	struct err e = ERR_INIT;
	uint64_t before;

	(void)begin();
	run_epochs(2);
	UNTIL(durable == committed && back->state.state == 3, "CONSISTENT");
	refuses_to_surrender(back, "follows the other host's already");
	refuses_to_surrender(prim, "is protected from this host");
	activate_beside();
	greet(prim, FRAME_PRIMARY);
	before = prim->state.gen.current;
	say(prim, PORT_ALONE, FRAME_NO_EPOCH, NULL, 0);
	while (prim->state.gen.current == before)
		pump();
	check(plan_now() == GEN_DIVERGED, "two histories are taken for one");
	check(back->state.state == 4, "the backup's disk is %u, not ACTIVE", back->state.state);
	part();
	while (surrender(back, "dry-run", &e) < 0 && strstr(e.text, "a guest of this host"))
		usleep(1000); /* the server has not seen yet that it hung up */
	check(!surrender(back, "dry-run", &e), "surrender dry-run: %s", e.text);
	check(plan_now() == GEN_DIVERGED, "a dry run gave something up");
	part();
	check(!surrender(back, NULL, &e), "surrender: %s", e.text);
	if (killed) {
		slay(back);
		serve(back);
	}
	check(!surrender(back, NULL, &e), "the second time: %s", e.text);
	check(plan_now() == GEN_BITMAP, "what both have marked does not suffice");
	check(back->state.state == 5 && !back->state.gen.current, "it was not given up");
	part();
	check(begin() == GEN_BITMAP, "another plan than was made");
	/* A server that was killed knows its marks by 4 MiB, and the disk has few of those. */
	check(killed || sent_bytes < DISK_BYTES / 2, "%llu bytes were copied",
	      (unsigned long long)sent_bytes);
	run_epochs(1);
	check_backup("after a history was given up");
	part();
}

/* Output is let out alone; the peer is a generation behind. */
static void alone(void)
{
	uint64_t before;

	(void)begin();
	run_epochs(2);
	/* A break before the target has taken over costs a comparison by hash. */
	UNTIL(durable, "DISK_PROGRESS");
	UNTIL(back->state.state == 3, "CONSISTENT");
	before = prim->state.gen.current;
	check(back->state.gen.current == before, "the backup has not taken over the generations");
	check(prim->state.gen.bitmap == 0, "the source has not forgotten its bitmap");
	prim->has_state = false;
	say(prim, PORT_LEAVE, FRAME_NO_EPOCH, NULL, 0);
	say(prim, PORT_ALONE, FRAME_NO_EPOCH, NULL, 0);
	UNTIL(prim->has_state && prim->state.gen.current != before, "a new generation");
	check(prim->state.gen.bitmap == before, "alone: bitmap");
	part();
	check(begin() == GEN_BITMAP, "not by what is marked after alone");
	run_epochs(1);
	check_backup("after alone");
	part();
}

/* Broken off while it is being copied: what was there is still there, or is said to be nothing whole. */
static void broken_copy(void)
{
	unsigned int who = (unsigned int)roll(3);

	(void)begin_copy();
	pump_for(roll(30) * NS_PER_MS);
	if (who == 1)
		slay(prim);
	else if (who == 2)
		slay(back);
	part();
	if (who == 1)
		serve(prim);
	else if (who == 2)
		serve(back);
	greet(back, FRAME_BACKUP);
	for (uint64_t end = clock_now() + PATIENCE_NS; !back->has_state;) {
		pump();
		if (clock_now() > end || !back->port)
			give_up("no STATE after a broken copy");
	}
	check(back->state.state == 2 || back->state.state == 5, "a broken copy leaves state %u",
	      back->state.state);
	if (back->state.state == 5 && kept_by == back)
		compare_file(back, kept, "after a broken copy");
	part();
	(void)begin();
	run_epochs(2);
	check_backup("after a broken copy, and another");
	part();
}

/* Broken off where the source has finished and the target has not: compared, and little is sent. */
static void hashed(void)
{
	enum gen_how how;

	greet(prim, FRAME_PRIMARY);
	say(prim, PORT_ALONE, FRAME_NO_EPOCH, NULL, 0);
	for (uint64_t end = clock_now() + PATIENCE_NS;
	     !prim->has_state || !prim->state.gen.bitmap;) {
		pump();
		if (clock_now() > end)
			give_up("no STATE of one that is alone");
	}
	part();
	(void)begin_held();
	part();
	how = begin();
	check(how == GEN_HASH, "compared by hash, not %s", gen_how_name(how));
	run_epochs(3);
	check_backup("by hash");
	part();
}

/* Does the answer to a control command have these words? */
static bool answers(const struct host *h, const char *command, const char *words)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[4096] = "";
	char path[256];

	path_of(h, "run/disk/web.ctl", path);
	snprintf(to.sun_path, sizeof(to.sun_path), "%.100s", path);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    write(fd, command, strlen(command)) < 0 || read(fd, answer, sizeof(answer) - 1) <= 0)
		give_up("ask %s", path);
	close(fd);
	return strstr(answer, words) != NULL;
}

/* What is in the way of the guests' own order: they rest between two writes. */
static void rest(bool on)
{
	atomic_store(&guests_rest, on);
	if (!on)
		return;
	pause_guests(true);
	pause_guests(false);
}

static void write_block(uint64_t block, int value)
{
	struct guest *g = &guests[0];

	memset(g->data, value, BLOCK);
	carry_out(g, 3, block * BLOCK, BLOCK);
	memcpy(oracle + block * BLOCK, g->data, BLOCK);
}

/* In which epochs has the acknowledgement to wait for the journal? What it waited for survives the server. */
static void durable_modes(void)
{
	static const uint8_t modes[] = {WIRE_ACK_FLUSH, WIRE_ACK_EPOCH};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		bool flush = modes[i] == WIRE_ACK_FLUSH;
		unsigned int before;

		ack_mode = modes[i];
		rest(true);
		(void)begin();
		before = waited;
		write_block(roll(BLOCKS), 1 + (int)i);
		one_epoch();
		check(waited - before == !flush, "mode %u: an epoch without a flush %s", modes[i],
		      flush ? "waits" : "does not wait");
		write_block(roll(BLOCKS), 3 + (int)i);
		carry_out(&guests[0], 1, 0, 0);
		before = waited;
		one_epoch();
		check(waited - before == 1, "mode %u: an epoch with a flush does not wait",
		      modes[i]);
		UNTIL(durable == committed, "DISK_PROGRESS of an epoch that is waited for");
		slay(back);
		hang_up(prim);
		serve(back);
		check_backup("server killed when the epoch was durable");
		part();
		rest(false);
	}
	ack_mode = WIRE_ACK_MEMORY;
}

static void packed_records(void)
{
	unsigned long before = packed;

	packs = true;
	(void)begin();
	rest(true);
	for (unsigned int i = 0; i < 50; i++)
		write_block(roll(BLOCKS), (int)(1 + roll(255)));
	one_epoch();
	rest(false);
	run_epochs(2);
	check(packed > before, "nothing became smaller");
	packs = false;
	check_backup("by LZ4");
	part();
}

/* The worker takes nothing: the guest's writes wait, and then go on without the peer. */
static void stalled(void)
{
	struct guest *g = &guests[0];
	unsigned int before = prim->texts;

	(void)begin();
	rest(true);
	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t off = 0; off < DISK_BYTES; off += sizeof(g->data)) {
			memset(g->data, (int)(1 + roll(255)), sizeof(g->data));
			carry_out(g, 3, off, sizeof(g->data));
			memcpy(oracle + off, g->data, sizeof(g->data));
		}
	}
	UNTIL(prim->texts > before, "DROPPED");
	stalls += strstr(prim->text, "writes waited") != NULL;
	check_backup("a worker that takes nothing");
	part();
	rest(false);
	(void)begin();
	run_epochs(1);
	check_backup("after a stall");
	part();
}

/*
 * The superblock cannot be written when the source has finished: the stream is left, the guest goes on. Nothing remembers
 * what the disk is then, so the operator makes its journal anew, and the backup's, which knows another history.
 */
static void journal_fails_at_the_primary(void)
{
	const struct rlimit bad = {0, RLIM_INFINITY}, good = {RLIM_INFINITY, RLIM_INFINITY};
	unsigned int before = prim->texts;
	struct gen_side mine, peers;
	struct gen_plan plan;

	rest(true);
	greet(prim, FRAME_PRIMARY);
	say(prim, PORT_ALONE, FRAME_NO_EPOCH, NULL, 0);
	for (uint64_t end = clock_now() + PATIENCE_NS; !prim->state.gen.bitmap;) {
		pump();
		if (clock_now() > end)
			give_up("no STATE of one that is alone");
	}
	(void)begin_copy();
	UNTIL(synced, "SYNCED");
	if (prlimit(prim->server, RLIMIT_FSIZE, &bad, NULL) < 0)
		give_up("prlimit");
	barrier();
	say(prim, PORT_ASK_END, epoch++, NULL, 0);
	UNTIL(prim->texts > before, "DROPPED");
	check(!held, "an epoch is held though its source has not finished");
	if (prlimit(prim->server, RLIMIT_FSIZE, &good, NULL) < 0)
		give_up("prlimit");
	write_block(0, 0x5a);
	check(answers(prim, "status\n", "\"state\":\"failed\""), "the journal has not failed");
	journal_fails++;
	part();
	kill(prim->server, SIGKILL);
	waitpid(prim->server, NULL, 0);
	format(prim, "--format=source");
	serve(prim);
	greet(prim, FRAME_PRIMARY);
	greet(back, FRAME_BACKUP);
	UNTIL(prim->has_state && back->has_state, "STATE");
	mine = side_of(prim, true);
	peers = side_of(back, false);
	gen_plan(&mine, &peers, &plan);
	check(plan.how == GEN_DIVERGED, "a new history and an old one: %s", plan.text);
	part();
	kill(back->server, SIGKILL);
	waitpid(back->server, NULL, 0);
	format(back, "--format=target");
	serve(back);
	kept_by = NULL;
	rest(false);
	check(begin() == GEN_FULL, "a new journal is not copied to as a whole");
	run_epochs(2);
	check_backup("after the operator chose");
	part();
}

/* What has rotted at the backup is found by verification, and copied. */
static void verified(void)
{
	uint8_t rot[BLOCK];
	char path[256];
	int fd;

	(void)begin();
	run_epochs(2);
	UNTIL(durable == committed, "DISK_PROGRESS");
	path_of(back, "disk", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 5; i++) {
		memset(rot, (int)(0xa0 + i), sizeof(rot));
		if (pwrite(fd, rot, BLOCK, (off_t)(roll(BLOCKS) * BLOCK)) != BLOCK || fsync(fd) < 0)
			give_up("write %s", path);
	}
	close(fd);
	/* Chunks that are written all the time cannot be compared. */
	atomic_store(&guests_rest, true);
	check(answers(prim, "verify\n", "\"ok\":true"), "no verification");
	for (int i = 0; i < 1000 && !answers(prim, "status\n", "\"verifying\":0"); i++)
		run_epochs(1);
	check(!answers(prim, "status\n", "\"differed_bytes\":0"), "verification finds nothing");
	atomic_store(&guests_rest, false);
	run_epochs(3);
	check_backup("verified");
	part();
}

/* More changes while they are apart than the smaller journal can hold. */
static void much_changed(void)
{
	struct guest *g = &guests[0];
	unsigned int before = too_big;

	atomic_store(&guests_rest, true);
	pause_guests(true);
	for (uint64_t off = 0; off < DISK_BYTES; off += sizeof(g->data)) {
		memset(g->data, (int)(1 + roll(255)), sizeof(g->data));
		carry_out(g, 3, off, sizeof(g->data));
		memcpy(oracle + off, g->data, sizeof(g->data));
	}
	pause_guests(false);
	atomic_store(&guests_rest, false);
	(void)begin();
	check(too_big > before || back == &hosts[0], "32 MiB fit into a journal of 16 MiB");
	run_epochs(2);
	check_backup("much changed");
	part();
}

/* The second half of the primary's file is gone, or is there again as the guest wrote it. */
static void lose_half(bool lost)
{
	char path[256];
	int fd;

	path_of(prim, "disk", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, lost ? DISK_BYTES / 2 : DISK_BYTES) < 0)
		give_up("truncate %s", path);
	if (!lost && (pwrite(fd, oracle + DISK_BYTES / 2, DISK_BYTES / 2, DISK_BYTES / 2) < 0 ||
		      fsync(fd) < 0))
		give_up("write %s", path);
	close(fd);
}

static bool answered(struct nbd_handle *nbd, int64_t cookie, uint64_t ns)
{
	uint64_t end = clock_now() + ns;

	while (clock_now() < end) {
		if (nbd_poll(nbd, 1) < 0 || nbd_aio_command_completed(nbd, (uint64_t)cookie) != 0)
			return true;
		pump();
	}
	return false;
}

/* A protected guest is not shown an error of its disk, until its worker leaves. */
static void local_error(void)
{
	uint8_t *buf = malloc(BLOCK);
	struct nbd_handle *nbd;
	unsigned int before;
	int64_t cookie;

	(void)begin();
	run_epochs(2);
	atomic_store(&guests_rest, true);
	pause_guests(true);
	pause_guests(false);
	run_epochs(1);
	UNTIL(durable == committed, "DISK_PROGRESS");
	nbd = dial(prim);
	before = prim->texts;
	lose_half(true);
	cookie =
		nbd ? nbd_aio_pread(nbd, buf, BLOCK, DISK_BYTES / 2 + BLOCK, NBD_NULL_COMPLETION, 0)
		    : -1;
	if (cookie < 0)
		give_up("read: %s", nbd_get_error());
	check(!answered(nbd, cookie, 100 * NS_PER_MS), "a protected guest sees an error");
	UNTIL(prim->texts > before, "ERROR");
	lose_half(false);
	say(prim, PORT_LEAVE, FRAME_NO_EPOCH, NULL, 0);
	check(answered(nbd, cookie, PATIENCE_NS), "the error is not answered after LEAVE");
	check(nbd_aio_command_completed(nbd, (uint64_t)cookie) < 0 ||
		      strstr(nbd_get_error(), "Input/output"),
	      "a lost half can be read");
	nbd_close(nbd);
	free(buf);
	check_backup("a disk error of the primary");
	part();
	atomic_store(&guests_rest, false);
}

static void all_scenarios(unsigned int rounds)
{
	static void (*const some[])(void) = {broken_resync,  backup_killed,    primary_killed,
					     failover,	     false_activation, two_histories,
					     alone,	     broken_copy,      hashed,
					     verified,	     much_changed,     local_error,
					     packed_records, durable_modes};
	/* What each run sees once. */
	static void (*const once[])(void) = {stalled, journal_fails_at_the_primary};

	first_copy();
	resync();
	for (unsigned int i = 0; i < ARRAY_SIZE(some); i++)
		some[i]();
	for (unsigned int i = 0; i < ARRAY_SIZE(once); i++)
		once[i]();
	for (unsigned int i = 0; i < rounds; i++)
		some[roll(ARRAY_SIZE(some))]();
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	if (argc < 3) {
		fputs("usage: disk_pair BIN DIR [SEED [ROUNDS]]\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	bin = argv[1];
	seed = (argc > 3 ? strtoull(argv[3], NULL, 0) : 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	oracle = calloc(1, DISK_BYTES);
	kept = calloc(1, DISK_BYTES);
	for (int i = 0; i < SNAPSHOTS; i++) {
		snapshots[i].data = malloc(DISK_BYTES);
		snapshots[i].epoch = UINT64_MAX;
		if (!snapshots[i].data || !oracle || !kept)
			return 1;
	}
	if (epoch_word_create(&word, &word_fd, &e) < 0)
		give_up("%s", e.text);
	set_up(&hosts[0], argv[2], "a");
	set_up(&hosts[1], argv[2], "b");
	format(prim, "--format=source");
	format(back, "--format=target");
	serve(prim);
	serve(back);
	guests_start();
	pump_for(100 * NS_PER_MS);
	all_scenarios(argc > 4 ? (unsigned int)strtoul(argv[4], NULL, 0) : 4);
	guests_stop();
	for (int i = 0; i < 2; i++) {
		int status = 0;

		hang_up(&hosts[i]);
		kill(hosts[i].server, SIGTERM);
		waitpid(hosts[i].server, &status, 0);
		check(status == 0, "the server of %s ends with status %#x", hosts[i].dir,
		      (unsigned int)status);
	}
	printf("disk-pair: seed=%s epochs=%llu writes=%lu activations=%u kills=%u past_journal=%u\n",
	       argc > 3 ? argv[3] : "1", (unsigned long long)epochs_done, atomic_load(&writes_done),
	       activations, kills, too_big);
	check(waited && did_not_wait && packed && stalls && journal_fails,
	      "not everything was seen");
	printf("disk-pair: held_waited=%u held_at_once=%u lz4_records=%lu stalls=%u journal_errors=%u\n",
	       waited, did_not_wait, packed, stalls, journal_fails);
	printf("%u passed, %u failed\n", passed, failed_checks);
	return failed_checks ? 1 : 0;
}
