/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See port_conn.h. */
#include "lib/port_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

/* Twice the largest message: one is looked at, or waits, while the next comes behind it. */
#define BUFFER (2 * (PORT_HEADER_SIZE + PORT_MAX_PAYLOAD))

struct buffer {
	uint8_t *p;
	size_t start;
	size_t end;
};

struct port_conn {
	int fd;
	enum port_side side;
	struct err in_broken;  /* rc 0: it is not */
	struct err out_broken; /* apart: the other side's last word may still lie here to be read */
	struct buffer in;
	size_t held; /* bytes of the message that was handed out */
	int fd_in;
	struct buffer out;
	size_t begun; /* payload that was asked for; 0: nothing has begun */
	bool open;    /* ... or only a header */
	int fd_out;   /* goes with the byte at fd_at; -1: none */
	size_t fd_at;
};

static enum port_side other(enum port_side s)
{
	return s == PORT_WORKER ? PORT_SERVER : PORT_WORKER;
}

static size_t used(const struct buffer *b)
{
	return b->end - b->start;
}

/* Moves what is there to the front when `size` bytes would not fit behind it. */
static bool make_room(struct buffer *b, size_t size)
{
	if (BUFFER - b->end >= size)
		return true;
	if (BUFFER - used(b) < size)
		return false;
	memmove(b->p, b->p + b->start, used(b));
	b->end -= b->start;
	b->start = 0;
	return true;
}

static int failed(const struct err *why, struct err *e)
{
	*e = *why;
	return why->rc;
}

int port_conn_new_take(struct port_conn **out, int fd, enum port_side side, struct err *e)
{
	struct port_conn *c = mem_zalloc(sizeof(*c));

	*out = NULL;
	if (c) {
		c->fd_in = -1;
		c->fd_out = -1;
		c->in.p = mem_alloc(BUFFER);
		c->out.p = mem_alloc(BUFFER);
		c->fd = fd;
	}
	if (!c || !c->in.p || !c->out.p) {
		if (!c)
			close(fd);
		port_conn_free(c);
		return err_setx(e, -ENOMEM, "no memory for a disk port");
	}
	c->side = side;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		port_conn_free(c);
		return err_set(e, -errno, "disk port: non-blocking");
	}
	*out = c;
	return 0;
}

int port_conn_connect(struct port_conn **out, const char *path, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	autofd fd = -1;

	*out = NULL;
	if (strlen(path) >= sizeof(to.sun_path))
		return err_setx(e, -ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, -errno, "socket");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_set(e, -errno, "connect to %s", path);
	return port_conn_new_take(out, take_fd(&fd), PORT_WORKER, e);
}

void port_conn_free(struct port_conn *c)
{
	if (!c)
		return;
	close(c->fd);
	if (c->fd_in >= 0)
		close(c->fd_in);
	mem_free(c->in.p);
	mem_free(c->out.p);
	mem_free(c);
}

int port_conn_fd(const struct port_conn *c)
{
	return c->fd;
}

short port_conn_events(const struct port_conn *c)
{
	short events = c->in_broken.rc ? 0 : POLLIN;

	return !c->out_broken.rc && used(&c->out) ? (short)(events | POLLOUT) : events;
}

/* ---- receiving ---------------------------------------------------------------- */

static void keep_fd(struct port_conn *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		int fd;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
		    h->cmsg_len != CMSG_LEN(sizeof(fd)))
			continue;
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
		if (c->fd_in >= 0)
			close(c->fd_in);
		c->fd_in = fd;
	}
}

/* Bytes read, 0 for none now, or negative: broken. There is room. */
static ssize_t fill(struct port_conn *c)
{
	/* Room for one descriptor: the kernel closes what does not fit. */
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = c->in.p + c->in.end, .iov_len = BUFFER - c->in.end};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.buf,
			   .msg_controllen = sizeof(control.buf)};
	ssize_t n;

	do {
		n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return err_set(&c->in_broken, -errno, "disk port: receive");
	keep_fd(c, &m);
	if (!n)
		return err_setx(&c->in_broken, -ECONNRESET, "disk port: the other side closed it");
	c->in.end += (size_t)n;
	return n;
}

/* 0: a whole message is at in.start. -EAGAIN: not yet. */
static int parse(struct port_conn *c, struct frame *f)
{
	struct port_header h;
	int rc;

	if (used(&c->in) < PORT_HEADER_SIZE)
		return -EAGAIN;
	rc = port_header_decode(c->in.p + c->in.start, other(c->side), &h, &c->in_broken);
	if (rc < 0)
		return rc;
	if (used(&c->in) < PORT_HEADER_SIZE + h.length)
		return -EAGAIN;
	*f = port_frame(&h, c->in.p + c->in.start + PORT_HEADER_SIZE);
	c->held = PORT_HEADER_SIZE + h.length;
	return 0;
}

int port_conn_recv(struct port_conn *c, struct frame *f, struct err *e)
{
	c->in.start += c->held;
	c->held = 0;
	if (c->in.start == c->in.end)
		c->in.start = c->in.end = 0;
	for (;;) {
		int rc;

		if (c->in_broken.rc)
			return failed(&c->in_broken, e);
		rc = parse(c, f);
		if (rc != -EAGAIN)
			return rc ? failed(&c->in_broken, e) : 0;
		(void)make_room(&c->in, PORT_HEADER_SIZE + PORT_MAX_PAYLOAD);
		if (fill(c) == 0)
			return -EAGAIN;
	}
}

int port_conn_take_fd(struct port_conn *c)
{
	int fd = c->fd_in;

	c->fd_in = -1;
	return fd;
}

/* ---- sending ------------------------------------------------------------------ */

/* Sends what lies before the descriptor's byte, or from it on with the descriptor. */
static ssize_t push(struct port_conn *c)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.buf = {0}};
	struct iovec iov = {.iov_base = c->out.p + c->out.start, .iov_len = used(&c->out)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	bool with = c->fd_out >= 0 && c->out.start == c->fd_at;
	ssize_t n;

	if (c->fd_out >= 0 && c->out.start < c->fd_at)
		iov.iov_len = c->fd_at - c->out.start;
	if (with) {
		struct cmsghdr *h;

		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control.buf);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &c->fd_out, sizeof(int));
	}
	do {
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n > 0 && with)
		c->fd_out = -1;
	return n;
}

int port_conn_flush(struct port_conn *c, struct err *e)
{
	while (!c->out_broken.rc && used(&c->out)) {
		ssize_t n = push(c);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			(void)err_set(&c->out_broken, -errno, "disk port: send");
			break;
		}
		c->out.start += (size_t)n;
	}
	if (!used(&c->out))
		c->out.start = c->out.end = 0;
	return c->out_broken.rc ? failed(&c->out_broken, e) : 0;
}

bool port_conn_sent(const struct port_conn *c)
{
	return !used(&c->out);
}

void port_conn_attach_fd(struct port_conn *c, int fd)
{
	assert(c->fd_out < 0 && !c->open);
	c->fd_out = fd;
	c->fd_at = SIZE_MAX; /* until the message is begun */
}

int port_conn_begin(struct port_conn *c, size_t size, struct wr *w, struct err *e)
{
	size_t moved = c->out.start;

	assert(!c->open && size <= PORT_MAX_PAYLOAD);
	if (c->out_broken.rc)
		return failed(&c->out_broken, e);
	if (!make_room(&c->out, PORT_HEADER_SIZE + size))
		return -EAGAIN;
	if (c->fd_out >= 0 && c->fd_at != SIZE_MAX)
		c->fd_at -= moved - c->out.start;
	*w = wr_init(c->out.p + c->out.end + PORT_HEADER_SIZE, size);
	c->begun = size;
	c->open = true;
	return 0;
}

int port_conn_end(struct port_conn *c, unsigned int type, uint64_t epoch, const struct wr *w,
		  struct err *e)
{
	uint8_t *start = c->out.p + c->out.end;
	struct port_header h = {
		.type = (uint16_t)type, .length = (uint32_t)wr_used(w), .epoch = epoch};

	assert(c->open && wr_ok(w) && w->buf == start + PORT_HEADER_SIZE && wr_used(w) <= c->begun);
	c->open = false;
	port_header_encode(start, &h);
	if (c->fd_out >= 0 && c->fd_at == SIZE_MAX)
		c->fd_at = c->out.end;
	c->out.end += PORT_HEADER_SIZE + h.length;
	return port_conn_flush(c, e);
}

int port_conn_send(struct port_conn *c, unsigned int type, uint64_t epoch, const void *payload,
		   size_t size, struct err *e)
{
	struct wr w = wr_init(NULL, 0);
	int rc = port_conn_begin(c, size, &w, e);

	if (rc < 0)
		return rc;
	wr_bytes(&w, payload, size);
	return port_conn_end(c, type, epoch, &w, e);
}
