/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames both ways over an open connection. See conn.h; conn_open.c makes one. */
#include "lib/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conn_impl.h"
#include "lib/tls.h"

/* conn_end() starts sending once so much has gathered. */
#define PUSH_BYTES ((size_t)64 << 10)
/* How late a wake-up may be seen while data flows so fast that nothing ever waits. */
#define LOOK_NS NS_PER_MS
/* Beside CONN_*: room for c->begun_as.size more bytes in the send buffer. */
#define WANT_ROOM 4u

/* ---- waiting ----------------------------------------------------------- */

int conn_poll__(struct conn *c, short events, uint64_t deadline_ns, struct err *e)
{
	struct pollfd p[] = {
		{.fd = c->wake_fd, .events = POLLIN},
		{.fd = events ? c->fd : -1, .events = events},
	};
	uint64_t now = clock_now();
	uint64_t left = deadline_ns == CLOCK_NEVER ? CLOCK_NEVER : clock_until(deadline_ns, now);
	int r = poll(p, ARRAY_SIZE(p), clock_poll_ms(left));

	c->looked_ns = now;
	if (r < 0)
		return errno == EINTR ? 0 : err_set(e, -errno, "poll");
	if (p[0].revents)
		return err_setx(e, -ECANCELED, "cancelled");
	if (!left)
		return err_setx(e, -ETIMEDOUT, "the peer took too long");
	return 0;
}

/* While there is always something to do, nobody polls: look at the wake descriptor all the same. */
static int look_at_wake(struct conn *c, struct err *e)
{
	uint64_t now = clock_now();
	int rc;

	if (c->wake_fd < 0 || now - c->looked_ns < LOOK_NS)
		return 0;
	rc = conn_poll__(c, 0, 0, e);
	return rc == -ETIMEDOUT ? 0 : rc;
}

/* ---- receiving --------------------------------------------------------- */

static int check_version(const struct conn *c, const struct frame_header *h, struct err *e)
{
	bool chosen = h->type != FRAME_HELLO && h->type != FRAME_HELLO_OK &&
		      h->type != FRAME_REFUSE;

	if (chosen && h->version != c->version)
		return err_setx(e, -EPROTO, "frame of protocol version %u, agreed was %u",
				h->version, c->version);
	return 0;
}

/* The header at in_next, once it is there. */
static int parse_header(struct conn *c, struct err *e)
{
	enum frame_side peer = c->side == FRAME_PRIMARY ? FRAME_BACKUP : FRAME_PRIMARY;
	int rc = frame_decode(c->in + c->in_next, peer, &c->h, e);

	if (!rc)
		rc = check_version(c, &c->h, e);
	if (!rc)
		rc = frame_check_seq(&c->h, &c->seq_in, e);
	c->header_done = !rc;
	return rc;
}

/* All of the frame is there. */
static int finish_frame(struct conn *c, struct err *e)
{
	enum frame_side peer = c->side == FRAME_PRIMARY ? FRAME_BACKUP : FRAME_PRIMARY;
	struct frame f = {.h = c->h, .payload = c->in + c->in_next + FRAME_HEADER_SIZE};
	int rc = frame_check_payload(&f.h, f.payload, e);

	if (rc < 0)
		return rc;
	c->info.frames_received++;
	if (frame_rule(f.h.type)) {
		c->frame_ready = true;
		return wire_order_check(&c->order, peer, &f, e);
	}
	c->info.frames_skipped++;
	c->in_next += FRAME_HEADER_SIZE + f.h.length;
	if (!c->in_held)
		c->in_start = c->in_next;
	c->header_done = false;
	return 0;
}

static size_t arrived(const struct conn *c)
{
	return c->in_end - c->in_next;
}

/* Looks at what came; afterwards either a frame is ready, or more bytes are needed, or it is over. */
static void parse(struct conn *c)
{
	struct err e = ERR_INIT;
	int rc = 0;

	while (!rc && !c->frame_ready && !c->frames_ended) {
		if (!c->header_done) {
			if (arrived(c) < FRAME_HEADER_SIZE)
				return;
			rc = parse_header(c, &e);
		} else {
			if (arrived(c) < FRAME_HEADER_SIZE + c->h.length)
				return;
			rc = finish_frame(c, &e);
		}
	}
	if (rc < 0) {
		c->in_err = e;
		c->frame_ready = false;
		c->frames_ended = true;
	}
}

/* What of the buffer may be filled. What is handed out stays where it is. */
static size_t make_room(struct conn *c)
{
	if (!c->in_held && c->in_start && CONN_IN_SIZE - c->in_end < CONN_IN_SIZE / 2) {
		memmove(c->in, c->in + c->in_start, arrived(c));
		c->in_end -= c->in_start;
		c->in_start = 0;
		c->in_next = 0;
	}
	return CONN_IN_SIZE - c->in_end;
}

static short needs(int want)
{
	return want == TLS_WANT_READ ? POLLIN : POLLOUT;
}

static void note_end(struct conn *c, int rc, const struct err *e)
{
	c->in_err = *e;
	if (rc == -ECONNRESET && arrived(c))
		(void)err_setx(&c->in_err, rc,
			       "the peer closed the connection in the middle of a frame");
}

/* Takes in what is there: up to one whole frame, or (greedy) as much as there is room for. */
static void fill(struct conn *c, bool greedy)
{
	struct err e = ERR_INIT;
	size_t taken = 0;

	/* Bounded, so that a flood of frames that are skipped cannot outlast a deadline. */
	while (!c->in_err.rc && (greedy || !c->frame_ready) && taken < CONN_IN_SIZE) {
		size_t room = make_room(c);
		size_t n;
		int rc;

		if (!room)
			break;
		rc = tls_read(c->tls, c->in + c->in_end, room, &n, &e);
		if (rc < 0) {
			note_end(c, rc, &e);
			return;
		}
		if (rc > 0) {
			c->in_needs = needs(rc);
			c->in_drained = true;
			return;
		}
		taken += n;
		c->in_end += n;
		c->info.bytes_received += n;
		parse(c);
	}
	/* Not asked until it would block: there may be more, but not now. */
	c->in_needs = 0;
}

/* ---- sending ----------------------------------------------------------- */

static size_t pending(const struct conn *c)
{
	return c->out_end - c->out_start;
}

/* Hands the socket what it takes. */
static void push(struct conn *c)
{
	struct err e = ERR_INIT;

	c->out_needs = 0;
	while (!c->out_err.rc && pending(c)) {
		size_t n;
		int rc = tls_write(c->tls, c->out + c->out_start, pending(c), &n, &e);

		if (rc < 0)
			c->out_err = e;
		if (rc > 0)
			c->out_needs = needs(rc);
		if (rc)
			return;
		c->out_start += n;
	}
	if (!pending(c)) {
		c->out_start = 0;
		c->out_end = 0;
	}
}

/*
 * May what is pending be moved to the front? With kernel TLS a write that the socket did not take leaves a pointer to our bytes in
 * OpenSSL, and the retry sends from there, whatever it is given (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER notwithstanding).
 */
static bool may_move(const struct conn *c)
{
	return !c->out_needs;
}

static bool has_room(const struct conn *c)
{
	size_t room = CONN_OUT_SIZE - (may_move(c) ? pending(c) : c->out_end);

	return room >= FRAME_HEADER_SIZE + c->begun_as.size;
}

/* ---- both -------------------------------------------------------------- */

unsigned int conn_ready(const struct conn *c)
{
	unsigned int ready = 0;

	if (c->frame_ready || c->in_err.rc || !c->in_drained)
		ready |= CONN_FRAME;
	if (!pending(c) && !c->out_err.rc)
		ready |= CONN_SENT;
	return ready;
}

static unsigned int ready_now(const struct conn *c, unsigned int want)
{
	unsigned int ready = 0;

	if (c->frame_ready)
		ready |= CONN_FRAME;
	if (!pending(c) && !c->out_err.rc)
		ready |= CONN_SENT;
	if (has_room(c) && !c->out_err.rc)
		ready |= WANT_ROOM;
	return ready & want;
}

/* What ended before what was wanted could hold. */
static int failed(const struct conn *c, unsigned int want, struct err *e)
{
	const struct err *why = NULL;

	if (want & (CONN_SENT | WANT_ROOM) && c->out_err.rc)
		why = &c->out_err;
	/* An alert that was read says more than the reset that followed it. */
	if (c->in_err.rc && (!why || why->rc == -ECONNRESET))
		why = &c->in_err;
	if (!why)
		return 0;
	if (e)
		*e = *why;
	return why->rc;
}

static int run(struct conn *c, unsigned int want, uint64_t deadline_ns, struct err *e)
{
	int rc = look_at_wake(c, e);

	while (!rc) {
		unsigned int ready;

		if (pending(c))
			push(c);
		ready = ready_now(c, want);
		if (!ready) {
			fill(c, !(want & CONN_FRAME));
			ready = ready_now(c, want);
		}
		if (ready)
			return (int)ready;
		rc = failed(c, want, e);
		if (!rc)
			rc = conn_poll__(c, conn_events(c), deadline_ns, e);
	}
	return rc;
}

int conn_wait(struct conn *c, unsigned int want, uint64_t deadline_ns, struct err *e)
{
	assert(!c->begun && want && !(want & ~(CONN_FRAME | CONN_SENT)));
	return run(c, want, deadline_ns, e);
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

short conn_events(const struct conn *c)
{
	short events = 0;

	if (pending(c) && !c->out_err.rc)
		events |= c->out_needs ? c->out_needs : POLLOUT;
	if (!c->in_err.rc && c->in_end < CONN_IN_SIZE)
		events |= c->in_needs ? c->in_needs : POLLIN;
	return events;
}

int conn_recv(struct conn *c, struct frame *out, uint64_t deadline_ns, struct err *e)
{
	int rc;

	assert(!c->begun);
	c->in_held = false;
	c->in_start = c->in_next;
	if (c->in_start == c->in_end) {
		c->in_start = 0;
		c->in_next = 0;
		c->in_end = 0;
	}
	parse(c);
	rc = run(c, CONN_FRAME, deadline_ns, e);
	if (rc < 0)
		return rc;
	*out = (struct frame){.h = c->h, .payload = c->in + c->in_next + FRAME_HEADER_SIZE};
	c->in_next += FRAME_HEADER_SIZE + c->h.length;
	c->in_held = true;
	c->in_drained = false;
	c->header_done = false;
	c->frame_ready = false;
	return 0;
}

/* Waits until out[out_end..] has the room that begun_as asks for. */
static int wait_for_room(struct conn *c, uint64_t deadline_ns, struct err *e)
{
	size_t needed = FRAME_HEADER_SIZE + c->begun_as.size;
	int rc = run(c, WANT_ROOM, deadline_ns, e);

	if (rc < 0)
		return rc;
	if (CONN_OUT_SIZE - c->out_end < needed) {
		assert(may_move(c));
		memmove(c->out, c->out + c->out_start, pending(c));
		c->out_end -= c->out_start;
		c->out_start = 0;
	}
	return 0;
}

int conn_begin(struct conn *c, enum frame_type type, uint64_t epoch, struct wr *w,
	       uint64_t deadline_ns, struct err *e)
{
	const struct frame_rule *rule = frame_rule(type);
	int rc;

	assert(!c->begun && rule && rule->from & c->side);
	c->begun_as = (struct conn_out){
		.type = type,
		.epoch = epoch,
		.size = type == FRAME_PAGES ? FRAME_PAGES_ROOM : rule->max,
	};
	rc = wait_for_room(c, deadline_ns, e);
	if (rc < 0)
		return rc;
	*w = wr_init(c->out + c->out_end + FRAME_HEADER_SIZE, c->begun_as.size);
	c->begun = true;
	return 0;
}

void conn_cancel(struct conn *c)
{
	c->begun = false;
}

int conn_end(struct conn *c, const struct wr *w, struct err *e)
{
	uint8_t *start = c->out + c->out_end;
	struct frame f = {.payload = start + FRAME_HEADER_SIZE};
	struct err why = ERR_INIT;

	assert(c->begun && wr_ok(w) && w->buf == f.payload);
	c->begun = false;
	f.h = frame_make(c->begun_as.type, c->begun_as.epoch, f.payload, wr_used(w));
	f.h.version = c->version;
	f.h.seq = c->seq_out + 1;
	if (wire_order_check(&c->order, c->side, &f, &why) < 0)
		return err_setx(e, -EINVAL, "our own mistake: %s", why.text);
	c->seq_out++;
	frame_encode(start, &f.h);
	c->out_end += FRAME_HEADER_SIZE + f.h.length;
	c->info.frames_sent++;
	c->info.bytes_sent += FRAME_HEADER_SIZE + f.h.length;
	if (pending(c) >= PUSH_BYTES)
		push(c);
	return c->out_err.rc ? failed(c, CONN_SENT, e) : 0;
}

int conn_send(struct conn *c, const struct conn_out *out, uint64_t deadline_ns, struct err *e)
{
	struct wr w;
	int rc;

	assert(!c->begun);
	c->begun_as = *out;
	rc = wait_for_room(c, deadline_ns, e);
	if (rc < 0)
		return rc;
	w = wr_init(c->out + c->out_end + FRAME_HEADER_SIZE, out->size);
	wr_bytes(&w, out->payload, out->size);
	c->begun = true;
	return conn_end(c, &w, e);
}

int conn_flush(struct conn *c, uint64_t deadline_ns, struct err *e)
{
	int rc;

	assert(!c->begun);
	rc = run(c, CONN_SENT, deadline_ns, e);
	return rc < 0 ? rc : 0;
}

/* ---- asking ------------------------------------------------------------ */

const char *conn_peer_name(const struct conn *c)
{
	return tls_peer_name(c->tls);
}

int conn_export_key(struct conn *c, const char *label, uint8_t *out, size_t size, struct err *e)
{
	return tls_export_key(c->tls, label, out, size, e);
}

void conn_set_version(struct conn *c, uint16_t version)
{
	assert(version >= FRAME_VERSION_MIN && version <= FRAME_VERSION_MAX);
	c->version = version;
}

void conn_info(const struct conn *c, struct conn_info *info)
{
	*info = c->info;
}
