/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See apply.h. */
#include "replicator/apply.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/arena.h"
#include "replicator/epoch.h"
#include "replicator/xc_stream.h"

/* What the state of an epoch takes at most, encoded; the static data take less. */
#define STATE_SIZE                                                                               \
	(XCS_TSC_SIZE + XCS_PARAMS_SIZE(WIRE_MAX_PARAMS) + XCS_BLOB_SIZE(WIRE_HVM_CONTEXT_MAX) + \
	 XCS_CHECKPOINT_SIZE)
#define STATIC_SIZE                                                                     \
	(XCS_HEADERS_SIZE + XCS_BLOB_SIZE(WIRE_MAX_LEAVES * sizeof(struct wire_leaf)) + \
	 XCS_BLOB_SIZE(WIRE_MAX_MSRS * sizeof(struct wire_msr)) + 8)
static_assert(STATIC_SIZE <= STATE_SIZE, "one buffer for both");

enum apply_phase {
	PHASE_NEW,	  /* the static data are due */
	PHASE_COLLECTING, /* pages and state of the epoch `due` come in */
	PHASE_SEALED,	  /* all of it is here */
	PHASE_PAGES,	  /* commit: its pages are being fed */
	PHASE_STATE,	  /* commit: its state is being fed */
	PHASE_FINISHED,
};

struct apply {
	struct apply_conf conf;
	enum apply_phase phase;
	bool broken; /* the stream cannot be used any more */
	int fd;
	uint64_t due;	    /* the epoch that is being collected */
	uint64_t fed;	    /* EPOCH_NONE: none */
	struct arena arena; /* during the first copy only its first batch is used */
	uint32_t fed_pages; /* of those in the arena */
	/* On its way into the socket, a head and then pages; survives an interrupted wait. */
	struct iovec iov[2];
	uint8_t state_seen; /* a bit for each enum wire_state_kind */
	struct wire_tsc_info tsc;
	struct wire_tsc_info fed_tsc; /* of the epoch `fed` */
	uint32_t n_params;
	struct wire_param param[WIRE_MAX_PARAMS];
	size_t hvm_size;
	uint8_t hvm[WIRE_HVM_CONTEXT_MAX];
	uint8_t pages_head[XCS_PAGES_HEAD_SIZE(XCS_BATCH_PAGES)];
	uint8_t state[STATE_SIZE];
};

#define STATE_BIT(kind) (1U << (kind))
#define STATE_ALL \
	(STATE_BIT(WIRE_HVM_CONTEXT) | STATE_BIT(WIRE_TSC_INFO) | STATE_BIT(WIRE_HVM_PARAMS))

int apply_new_take(struct apply **out, const struct apply_conf *conf, int stream_fd, struct err *e)
{
	struct apply *ap;
	int rc;

	if (!conf->mem_pages || conf->mem_pages > WIRE_MAX_MEM_PAGES)
		return err_setx(e, -EINVAL, "a guest with %" PRIu64 " page numbers is out of range",
				conf->mem_pages);
	ap = mem_zalloc(sizeof(*ap));
	if (!ap)
		return err_set(e, -ENOMEM, "buffer of epochs");
	rc = arena_init(&ap->arena, conf->arena_pages, conf->lock, e);
	if (rc < 0) {
		mem_free(ap);
		return rc;
	}
	ap->conf = *conf;
	ap->fd = stream_fd;
	ap->fed = EPOCH_NONE;
	*out = ap;
	return 0;
}

void apply_free(struct apply *ap)
{
	if (!ap)
		return;
	arena_fini(&ap->arena);
	if (ap->fd >= 0)
		close(ap->fd);
	mem_free(ap);
}

/* ---- into the socket ------------------------------------------------------ */

static void feed_set(struct apply *ap, void *head, size_t head_size, void *pages, size_t pages_size)
{
	ap->iov[0] = (struct iovec){.iov_base = head, .iov_len = head_size};
	ap->iov[1] = (struct iovec){.iov_base = pages, .iov_len = pages_size};
}

static bool feed_pending(const struct apply *ap)
{
	return ap->iov[0].iov_len || ap->iov[1].iov_len;
}

static void feed_advance(struct apply *ap, size_t n)
{
	for (size_t i = 0; n && i < ARRAY_SIZE(ap->iov); i++) {
		size_t part = MIN(n, ap->iov[i].iov_len);

		ap->iov[i].iov_base = (uint8_t *)ap->iov[i].iov_base + part;
		ap->iov[i].iov_len -= part;
		n -= part;
	}
}

static int feed_wait(struct apply *ap, uint64_t deadline, struct err *e)
{
	struct pollfd p[2] = {
		{.fd = ap->fd, .events = POLLOUT},
		{.fd = ap->conf.wake_fd, .events = POLLIN},
	};
	int r = poll(p, ARRAY_SIZE(p), clock_poll_ms(clock_until(deadline, clock_now())));

	if (r < 0)
		return errno == EINTR ? 0 : err_set(e, -errno, "wait for the standby");
	if (p[1].revents)
		return err_setx(e, -ECANCELED, "feeding the standby was interrupted");
	if (!r)
		return err_setx(e, -ETIMEDOUT, "the standby took nothing for %" PRIu64 " ms",
				ap->conf.stall_ns / NS_PER_MS);
	return 0;
}

/* Sends what was set; a record has the stall time from each call on. */
static int feed_flush(struct apply *ap, struct err *e)
{
	uint64_t deadline = clock_add(clock_now(), ap->conf.stall_ns);
	int rc = 0;

	if (ap->broken)
		return err_setx(e, -EPIPE, "the standby was lost before");
	while (rc == 0 && feed_pending(ap)) {
		struct msghdr msg = {.msg_iov = ap->iov, .msg_iovlen = ARRAY_SIZE(ap->iov)};
		ssize_t n = sendmsg(ap->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			feed_advance(ap, (size_t)n);
		} else if (errno == EAGAIN || errno == ENOBUFS) {
			rc = feed_wait(ap, deadline, e);
		} else if (errno != EINTR) {
			ap->broken = true;
			rc = err_set(e, -errno, "feed the standby");
		}
	}
	return rc;
}

/* Sends the pages in the arena that were not sent yet. */
static int feed_pages(struct apply *ap, struct err *e)
{
	while (ap->fed_pages < ap->arena.count) {
		uint32_t n = MIN(ap->arena.count - ap->fed_pages, (uint32_t)XCS_BATCH_PAGES);
		int rc;

		if (!feed_pending(ap)) {
			struct wr w = wr_init(ap->pages_head, sizeof(ap->pages_head));

			xcs_put_pages(&w, ap->arena.pfn + ap->fed_pages, n);
			assert(wr_ok(&w));
			feed_set(ap, ap->pages_head, wr_used(&w),
				 arena_slot(&ap->arena, ap->fed_pages), (size_t)n * XCS_PAGE_SIZE);
		}
		rc = feed_flush(ap, e);
		if (rc < 0)
			return rc;
		ap->fed_pages += n;
	}
	arena_reset(&ap->arena);
	ap->fed_pages = 0;
	return 0;
}

/* ---- what comes in -------------------------------------------------------- */

int apply_static(struct apply *ap, const struct wire_static *m, struct err *e)
{
	struct wr w = wr_init(ap->state, sizeof(ap->state));
	int rc;

	if (ap->phase != PHASE_NEW)
		return err_setx(e, -EPROTO, "static data came twice");
	if (m->n_leaves > WIRE_MAX_LEAVES || m->n_msrs > WIRE_MAX_MSRS)
		return err_setx(e, -EPROTO, "%u leaves and %u registers are too many", m->n_leaves,
				m->n_msrs);
	if (!feed_pending(ap)) {
		xcs_put_headers(&w, ap->conf.xen_major, ap->conf.xen_minor);
		xcs_put_cpuid(&w, m->leaf, m->n_leaves);
		xcs_put_msrs(&w, m->msr, m->n_msrs);
		xcs_put_static_end(&w);
		assert(wr_ok(&w));
		feed_set(ap, ap->state, wr_used(&w), NULL, 0);
	}
	rc = feed_flush(ap, e);
	if (rc == 0)
		ap->phase = PHASE_COLLECTING;
	return rc;
}

int apply_page(struct apply *ap, uint64_t pfn, const void *page, struct err *e)
{
	uint32_t batch = MIN(ap->arena.pages, (uint32_t)XCS_BATCH_PAGES);
	uint8_t *slot;
	int rc;

	if (ap->phase != PHASE_COLLECTING)
		return err_setx(e, -EPROTO, "a page came when none was due");
	if (pfn >= ap->conf.mem_pages)
		return err_setx(e, -EPROTO, "page %#" PRIx64 " is not below %#" PRIx64, pfn,
				ap->conf.mem_pages);
	if (ap->due == 0 && ap->arena.count >= batch) {
		rc = feed_pages(ap, e);
		if (rc < 0)
			return rc;
	}
	slot = arena_add(&ap->arena, pfn);
	if (!slot)
		return err_setx(e, -ENOSPC, "epoch %" PRIu64 " has more than the %u pages agreed",
				ap->due, ap->arena.pages);
	memcpy(slot, page, XCS_PAGE_SIZE);
	return 0;
}

int apply_state(struct apply *ap, const struct wire_state *m, struct err *e)
{
	if (ap->phase != PHASE_COLLECTING)
		return err_setx(e, -EPROTO, "state came when none was due");
	switch (m->kind) {
	case WIRE_HVM_CONTEXT:
		if (!m->hvm.size || m->hvm.size > sizeof(ap->hvm))
			return err_setx(e, -EPROTO, "a context of %zu bytes", m->hvm.size);
		memcpy(ap->hvm, m->hvm.data, m->hvm.size);
		ap->hvm_size = m->hvm.size;
		break;
	case WIRE_TSC_INFO:
		ap->tsc = m->tsc;
		break;
	case WIRE_HVM_PARAMS:
		if (!m->n_params || m->n_params > ARRAY_SIZE(ap->param))
			return err_setx(e, -EPROTO, "%u parameters", m->n_params);
		memcpy(ap->param, m->param, m->n_params * sizeof(ap->param[0]));
		ap->n_params = m->n_params;
		break;
	default:
		return err_setx(e, -EPROTO, "state of the unknown kind %u", m->kind);
	}
	ap->state_seen |= STATE_BIT(m->kind);
	return 0;
}

int apply_seal(struct apply *ap, uint64_t epoch, struct err *e)
{
	if (ap->phase != PHASE_COLLECTING || epoch != ap->due)
		return err_setx(e, -EPROTO, "epoch %" PRIu64 " ended when %" PRIu64 " was due",
				epoch, ap->due);
	if (ap->state_seen != STATE_ALL)
		return err_setx(e, -EPROTO, "epoch %" PRIu64 " came without all of its state",
				epoch);
	ap->phase = PHASE_SEALED;
	return 0;
}

/* ---- commit --------------------------------------------------------------- */

static void commit_state(struct apply *ap)
{
	struct wr w = wr_init(ap->state, sizeof(ap->state));

	xcs_put_tsc(&w, &ap->tsc);
	xcs_put_params(&w, ap->param, ap->n_params);
	xcs_put_context(&w, ap->hvm, ap->hvm_size);
	xcs_put_checkpoint(&w);
	assert(wr_ok(&w));
	feed_set(ap, ap->state, wr_used(&w), NULL, 0);
}

int apply_commit(struct apply *ap, uint64_t epoch, struct err *e)
{
	int rc;

	if (ap->phase < PHASE_SEALED || ap->phase > PHASE_STATE || epoch != ap->due)
		return err_setx(e, -EINVAL, "epoch %" PRIu64 " is not there to be committed",
				epoch);
	if (ap->phase != PHASE_STATE) {
		ap->phase = PHASE_PAGES;
		rc = feed_pages(ap, e);
		if (rc < 0)
			return rc;
		commit_state(ap);
		ap->phase = PHASE_STATE;
	}
	rc = feed_flush(ap, e);
	if (rc < 0)
		return rc;
	ap->fed = ap->due++;
	ap->fed_tsc = ap->tsc;
	ap->state_seen = 0;
	ap->phase = PHASE_COLLECTING;
	return 0;
}

void apply_drop(struct apply *ap)
{
	/* P2: its commit failed and part of it is with the standby, which can be nothing whole any more. */
	if (ap->phase == PHASE_PAGES || ap->phase == PHASE_STATE)
		ap->broken = true;
	if (ap->phase != PHASE_COLLECTING && ap->phase != PHASE_SEALED)
		return;
	/* What was passed on of a first copy cannot be taken back. */
	if (ap->due == 0)
		ap->broken = true;
	arena_reset(&ap->arena);
	ap->state_seen = 0;
	ap->phase = PHASE_COLLECTING;
}

uint64_t apply_fed(const struct apply *ap)
{
	return ap->fed;
}

int apply_drained(struct apply *ap, struct err *e)
{
	struct pollfd p = {.fd = ap->fd};
	int left = 0;

	if (ap->broken)
		return err_setx(e, -EPIPE, "the standby was lost before");
	if (feed_pending(ap) || ioctl(ap->fd, SIOCOUTQ, &left) < 0 || left)
		return err_setx(e, -EAGAIN, "the standby has not taken all");
	/* Nothing is left either when the reader closed with bytes unread, and it hangs up before they go. */
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR)) {
		ap->broken = true;
		return err_setx(e, -EPIPE, "the standby's builder closed its stream");
	}
	return 0;
}

uint32_t apply_pages(const struct apply *ap)
{
	return ap->arena.count;
}

void apply_sealed(const struct apply *ap, struct apply_sealed *out)
{
	*out = (struct apply_sealed){
		.pfn = ap->arena.pfn,
		.n = ap->arena.count,
		.tsc = &ap->tsc,
		.param = ap->param,
		.n_params = ap->n_params,
		.hvm = ap->hvm,
		.hvm_size = ap->hvm_size,
	};
}

/*
 * A record of a kind that the reader does not know would do, if it did not buffer: what it does not know fails the restore
 * then, optional or not.
 */
int apply_mark(struct apply *ap)
{
	uint8_t buf[XCS_TSC_SIZE];
	struct wr w = wr_init(buf, sizeof(buf));
	ssize_t n;

	if (ap->broken)
		return -EPIPE;
	if (ap->phase != PHASE_COLLECTING || ap->fed == EPOCH_NONE || feed_pending(ap))
		return -EAGAIN;
	xcs_put_tsc(&w, &ap->fed_tsc);
	assert(wr_ok(&w));
	n = send(ap->fd, buf, wr_used(&w), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)wr_used(&w))
		return 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
		return -EAGAIN;
	/* Half a record, or nobody reads. */
	ap->broken = true;
	return -EPIPE;
}

int apply_finish(struct apply *ap, struct err *e)
{
	if (ap->phase == PHASE_FINISHED)
		return 0;
	if (ap->broken)
		return err_setx(e, -EPIPE, "the standby was lost before");
	if (ap->phase == PHASE_PAGES || ap->phase == PHASE_STATE)
		return err_setx(e, -EBUSY, "epoch %" PRIu64 " is not wholly with the standby",
				ap->due); /* P2 */
	if (ap->fed == EPOCH_NONE)
		return err_setx(e, -ENODATA, "the standby has no whole epoch");
	apply_drop(ap);
	/* Also where somebody else holds a copy of the descriptor. */
	if (shutdown(ap->fd, SHUT_WR) < 0)
		return err_set(e, -errno, "close the standby's stream");
	ap->phase = PHASE_FINISHED;
	return 0;
}
