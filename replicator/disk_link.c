/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_link.h. Data thread. */
#include "replicator/disk_link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/port_conn.h"

#define PATH_SIZE 128
/* How often a server that is not there is looked for. */
#define LOOK_MS 20
/* Small messages that wait for room: a server that lets so many gather is not well. */
#define SMALL 32
#define SMALL_SIZE 40 /* BEGIN */
#define ROLE_SIZE 80
#define NUMBER_SIZE 8

struct small {
	unsigned int type;
	uint64_t epoch;
	uint8_t payload[SMALL_SIZE];
	size_t size;
};

struct port {
	struct port_conn *conn; /* NULL: none */
	bool known;		/* STATE came */
	bool ended;		/* disk_link_recv() has to tell why */
	bool changed;
	bool kept; /* frame is given again */
	struct frame frame;
	struct port_state state;
	uint64_t states;
	uint32_t fill;
	struct port_compared compared; /* pass 0: none was asked for */
	struct small small[SMALL];
	unsigned int n_small;
	struct err why;
};

struct disk_link {
	struct disk_link_conf conf;
	struct port port[WIRE_MAX_DISKS];
};

const char *disk_state_name(uint8_t state)
{
	static const char *const names[] = {
		[DISK_STATE_EMPTY] = "empty",		[DISK_STATE_SYNCING] = "syncing",
		[DISK_STATE_CONSISTENT] = "consistent", [DISK_STATE_ACTIVE] = "active",
		[DISK_STATE_OUTDATED] = "outdated",	[DISK_STATE_FAILED] = "failed",
	};

	return state < ARRAY_SIZE(names) && names[state] ? names[state] : "unknown";
}

int disk_link_new(struct disk_link **out, const struct disk_link_conf *conf, struct err *e)
{
	struct disk_link *l = mem_zalloc(sizeof(*l));

	*out = NULL;
	if (!l)
		return err_set(e, -ENOMEM, "disk ports");
	assert(conf->n && conf->n <= WIRE_MAX_DISKS);
	l->conf = *conf;
	*out = l;
	return 0;
}

void disk_link_free(struct disk_link *l)
{
	if (!l)
		return;
	disk_link_close(l);
	mem_free(l);
}

/* ---- ports come and go ------------------------------------------------------ */

static void close_port(struct port *p)
{
	port_conn_free(p->conn);
	p->conn = NULL;
	p->known = false;
	p->ended = false;
	p->kept = false;
	p->n_small = 0;
	p->fill = 0;
	if (p->compared.state == PORT_COMPARING)
		p->compared.state = PORT_COMPARED_NOT;
	p->changed = true;
}

void disk_link_close(struct disk_link *l)
{
	for (unsigned int i = 0; i < l->conf.n; i++)
		close_port(&l->port[i]);
}

/* Its end is to be told. */
static void end_port(struct disk_link *l, unsigned int i, const struct err *why)
{
	struct port *p = &l->port[i];

	if (!p->conn)
		return;
	close_port(p);
	p->ended = true;
	err_setx(&p->why, why->rc, "disk %s: %s", l->conf.name[i], why->text);
}

void disk_link_reject(struct disk_link *l, unsigned int disk, const char *fmt, ...)
{
	struct err why = ERR_INIT;
	char text[ERR_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_setx(&why, -EPROTO, "%s", text);
	end_port(l, disk, &why);
}

static int say_role(struct disk_link *l, unsigned int i, uint64_t session, struct err *e)
{
	struct port_role role = {.index = (uint16_t)i,
				 .side = (uint8_t)l->conf.side,
				 .ack_mode = l->conf.ack_mode,
				 .session = session};
	struct port_conn *c = l->port[i].conn;
	struct wr w;
	int rc;

	snprintf(role.vm, sizeof(role.vm), "%s", l->conf.vm);
	if (l->conf.word_fd >= 0)
		port_conn_attach_fd(c, l->conf.word_fd);
	rc = port_conn_begin(c, ROLE_SIZE, &w, e);
	if (rc < 0)
		return rc;
	port_role_encode(&w, &role);
	return port_conn_end(c, PORT_ROLE, FRAME_NO_EPOCH, &w, e);
}

/* The sentence may be read at the other host. */
static int nobody_serves(const struct disk_link *l, int rc, struct err *e)
{
	const struct err was = *e;

	return err_setx(e, rc,
			"%.160s: no romulus-disk serves it at the %s; has it a journal there "
			"(romulus-disk --format), does romulusd run?",
			was.text, l->conf.side == FRAME_BACKUP ? "backup" : "primary");
}

static int connect_port(struct disk_link *l, unsigned int i, uint64_t session, struct err *e)
{
	struct port *p = &l->port[i];
	char path[PATH_SIZE];
	int rc, n = snprintf(path, sizeof(path), "%s/disk/%s.port", l->conf.run_dir,
			     l->conf.name[i]);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_setx(e, -ENAMETOOLONG, "its port's path is too long");
	rc = port_conn_connect(&p->conn, path, e);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return nobody_serves(l, rc, e);
	if (rc < 0)
		return rc;
	rc = say_role(l, i, session, e);
	if (rc < 0)
		close_port(p);
	return rc;
}

/* A server that starts, or that is being replaced. */
static bool may_come(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -EAGAIN || rc == -ECONNRESET ||
	       rc == -EPIPE;
}

static bool all_up(const struct disk_link *l)
{
	for (unsigned int i = 0; i < l->conf.n; i++) {
		if (!l->port[i].known)
			return false;
	}
	return true;
}

/* What can be done for one of them now. Negative: there is no sense in waiting. *last: why it is not up. */
static int come_up(struct disk_link *l, unsigned int i, uint64_t session, struct err *last)
{
	struct port *p = &l->port[i];
	struct err e = ERR_INIT;
	struct frame f = {.payload = NULL};
	int rc;

	if (!p->conn) {
		rc = connect_port(l, i, session, &e);
		if (rc < 0) {
			err_setx(last, rc, "disk %s: %s", l->conf.name[i], e.text);
			return may_come(rc) ? 0 : rc;
		}
	}
	rc = disk_link_recv(l, i, &f, &e);
	if (rc == 0 && p->known) {
		disk_link_keep(l, i);
		return 0;
	}
	if (rc == -EAGAIN)
		return 0;
	if (rc == 0) {
		rc = err_setx(&e, -EPROTO, "disk %s: its server says %s before STATE",
			      l->conf.name[i], port_name(f.h.type));
		close_port(p);
	}
	*last = e;
	return may_come(rc) ? 0 : rc;
}

static int wait_a_little(struct disk_link *l, uint64_t deadline_ns, const struct err *last,
			 struct err *e)
{
	struct pollfd p[WIRE_MAX_DISKS + 1];
	unsigned int n = disk_link_poll(l, p);

	p[n] = (struct pollfd){.fd = l->conf.wake_fd, .events = POLLIN};
	if (poll(p, n + 1, LOOK_MS) < 0 && errno != EINTR)
		return err_set(e, -errno, "poll");
	if (p[n].revents)
		return err_setx(e, -ECANCELED, "cancelled");
	if (clock_now() < deadline_ns)
		return 0;
	return err_setx(e, -ETIMEDOUT, "%s",
			last->text[0] ? last->text : "a disk's server does not answer");
}

/* Random, not 0. */
static int session_number(uint64_t *out, struct err *e)
{
	*out = 0;
	while (!*out) {
		if (getrandom(out, sizeof(*out), 0) != (ssize_t)sizeof(*out))
			return err_set(e, -errno, "random number");
	}
	return 0;
}

int disk_link_call(struct disk_link *l, unsigned int disk, struct err *e)
{
	uint64_t session;
	int rc;

	if (l->port[disk].conn)
		return 0;
	rc = session_number(&session, e);
	return rc < 0 ? rc : connect_port(l, disk, session, e);
}

int disk_link_open(struct disk_link *l, uint64_t deadline_ns, struct err *e)
{
	struct err last = ERR_INIT;
	uint64_t session;
	int rc;

	disk_link_close(l);
	rc = session_number(&session, e);
	if (rc < 0)
		return rc;
	for (;;) {
		for (unsigned int i = 0; rc == 0 && i < l->conf.n; i++) {
			if (!l->port[i].known)
				rc = come_up(l, i, session, &last);
		}
		if (rc < 0)
			*e = last;
		else if (!all_up(l))
			rc = wait_a_little(l, deadline_ns, &last, e);
		else
			return 0;
		if (rc < 0) {
			disk_link_close(l);
			return rc;
		}
	}
}

/* ---- what is known ---------------------------------------------------------- */

unsigned int disk_link_disks(const struct disk_link *l)
{
	return l->conf.n;
}

const char *disk_link_name(const struct disk_link *l, unsigned int disk)
{
	return l->conf.name[disk];
}

bool disk_link_is_up(const struct disk_link *l, unsigned int disk)
{
	return l->port[disk].conn && l->port[disk].known;
}

const struct port_state *disk_link_state(const struct disk_link *l, unsigned int disk)
{
	return &l->port[disk].state;
}

uint64_t disk_link_states(const struct disk_link *l, unsigned int disk)
{
	return l->port[disk].states;
}

uint32_t disk_link_fill(const struct disk_link *l, unsigned int disk)
{
	return l->port[disk].fill;
}

const struct port_compared *disk_link_compared(const struct disk_link *l, unsigned int disk)
{
	return &l->port[disk].compared;
}

bool disk_link_changed(struct disk_link *l, unsigned int disk)
{
	bool was = l->port[disk].changed;

	l->port[disk].changed = false;
	return was;
}

/* ---- receiving -------------------------------------------------------------- */

static int take_state(struct disk_link *l, unsigned int i, const struct frame *f, struct err *e)
{
	struct port *p = &l->port[i];
	struct port_state st;
	int rc = port_state_decode(f, &st, e);

	if (rc < 0)
		return rc;
	if (strcmp(st.name, l->conf.name[i]) != 0)
		return err_setx(e, -EPROTO, "its port is that of disk %s", st.name);
	p->state = st;
	p->states++;
	p->known = true;
	p->changed = true;
	return 0;
}

static int take_fill(struct port *p, const struct frame *f, struct err *e)
{
	p->changed = true;
	return port_fill_decode(f, &p->fill, e);
}

/* Of an older pass than the one that is asked for: nobody waits for it. */
static int take_compared(struct port *p, const struct frame *f, struct err *e)
{
	struct port_compared m;
	int rc = port_compared_decode(f, &m, e);

	if (rc == 0 && m.pass == p->compared.pass) {
		p->compared = m;
		p->changed = true;
	}
	return rc;
}

int disk_link_recv(struct disk_link *l, unsigned int disk, struct frame *f, struct err *e)
{
	struct port *p = &l->port[disk];
	struct err why = ERR_INIT;
	int rc = 0;

	while (rc == 0 && p->conn) {
		if (p->kept)
			*f = p->frame;
		else
			rc = port_conn_recv(p->conn, f, &why);
		if (rc == -EAGAIN)
			return rc;
		p->kept = false;
		if (rc == 0 && f->h.type == PORT_STATE) {
			rc = take_state(l, disk, f, &why);
		} else if (rc == 0 && f->h.type == PORT_FILL) {
			rc = take_fill(p, f, &why);
		} else if (rc == 0 && f->h.type == PORT_COMPARED) {
			rc = take_compared(p, f, &why);
		} else if (rc == 0) {
			p->frame = *f;
			return 0;
		}
	}
	if (rc < 0)
		end_port(l, disk, &why);
	if (!p->ended)
		return -EAGAIN;
	p->ended = false;
	*e = p->why;
	return p->why.rc;
}

void disk_link_keep(struct disk_link *l, unsigned int disk)
{
	l->port[disk].kept = l->port[disk].conn != NULL;
}

/* ---- sending ---------------------------------------------------------------- */

/* 0; -EAGAIN. An error is seen by who receives, after what the server may have said last. */
static int send_one(struct port *p, unsigned int type, uint64_t epoch, const void *payload,
		    size_t size)
{
	struct err ignored = ERR_INIT;

	return port_conn_send(p->conn, type, epoch, payload, size, &ignored) == -EAGAIN ? -EAGAIN
											: 0;
}

static void send_small(struct port *p)
{
	unsigned int n = 0;

	while (n < p->n_small && send_one(p, p->small[n].type, p->small[n].epoch,
					  p->small[n].payload, p->small[n].size) == 0)
		n++;
	p->n_small -= n;
	memmove(p->small, p->small + n, p->n_small * sizeof(p->small[0]));
}

int disk_link_send(struct disk_link *l, unsigned int disk, const struct frame *f)
{
	struct port *p = &l->port[disk];

	if (!p->conn)
		return 0;
	send_small(p);
	if (p->n_small)
		return -EAGAIN;
	return send_one(p, f->h.type, f->h.epoch, f->payload, f->h.length);
}

void disk_link_send_wait(struct disk_link *l, unsigned int disk, const struct frame *f,
			 uint64_t deadline_ns)
{
	struct pollfd p[2] = {{.fd = l->conf.wake_fd, .events = POLLIN}, {.events = POLLOUT}};

	while (disk_link_send(l, disk, f) == -EAGAIN) {
		struct err ignored = ERR_INIT;
		uint64_t left = clock_until(deadline_ns, clock_now());

		p[1].fd = port_conn_fd(l->port[disk].conn);
		if (!left || (poll(p, 2, clock_poll_ms(left)) < 0 && errno != EINTR) ||
		    p[0].revents) {
			disk_link_reject(l, disk, "its server takes nothing any more");
			return;
		}
		(void)!port_conn_flush(l->port[disk].conn, &ignored);
	}
}

static void say(struct disk_link *l, unsigned int disk, const struct small *m)
{
	struct port *p = &l->port[disk];

	if (!p->conn)
		return;
	if (p->n_small == SMALL) {
		disk_link_reject(l, disk, "its server takes nothing any more");
		return;
	}
	p->small[p->n_small++] = *m;
	send_small(p);
}

void disk_link_say(struct disk_link *l, unsigned int disk, unsigned int type, uint64_t epoch)
{
	const struct small m = {.type = type, .epoch = epoch};

	say(l, disk, &m);
}

void disk_link_say_number(struct disk_link *l, unsigned int disk, unsigned int type, uint64_t epoch,
			  uint64_t number)
{
	struct small m = {.type = type, .epoch = epoch, .size = NUMBER_SIZE};
	struct wr w = wr_init(m.payload, sizeof(m.payload));

	wr_u64(&w, number);
	say(l, disk, &m);
}

void disk_link_say_begin(struct disk_link *l, unsigned int disk, const struct port_begin *b)
{
	struct small m = {.type = PORT_BEGIN, .epoch = 0};
	struct wr w = wr_init(m.payload, sizeof(m.payload));

	port_begin_encode(&w, b);
	assert(wr_ok(&w));
	m.size = wr_used(&w);
	say(l, disk, &m);
}

void disk_link_verify(struct disk_link *l, unsigned int disk, uint64_t pass, bool begun)
{
	struct port *p = &l->port[disk];

	begun = begun && p->conn;
	p->compared = (struct port_compared){.pass = pass,
					     .state = begun ? PORT_COMPARING : PORT_COMPARED_NOT};
	p->changed = true;
	if (begun)
		disk_link_say_number(l, disk, PORT_VERIFY, FRAME_NO_EPOCH, pass);
}

void disk_link_flush(struct disk_link *l)
{
	for (unsigned int i = 0; i < l->conf.n; i++) {
		struct port *p = &l->port[i];
		struct err ignored = ERR_INIT;

		if (!p->conn)
			continue;
		(void)!port_conn_flush(p->conn, &ignored);
		send_small(p);
	}
}

/* ---- waiting ---------------------------------------------------------------- */

bool disk_link_pending(const struct disk_link *l)
{
	for (unsigned int i = 0; i < l->conf.n; i++) {
		if (l->port[i].ended)
			return true;
	}
	return false;
}

unsigned int disk_link_poll(const struct disk_link *l, struct pollfd *p)
{
	for (unsigned int i = 0; i < l->conf.n; i++) {
		const struct port *o = &l->port[i];

		p[i] = (struct pollfd){.fd = -1};
		if (!o->conn)
			continue;
		p[i].fd = port_conn_fd(o->conn);
		p[i].events = port_conn_events(o->conn);
		if (o->kept)
			p[i].events &= (short)~POLLIN;
		/* A hang-up would be told again and again while a kept message bars the way to it. */
		if (!p[i].events)
			p[i].fd = -1;
	}
	return l->conf.n;
}
