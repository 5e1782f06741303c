/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen_libxl.h: the handle, its complaints, its event loop, and the simple calls. */
#include "replicator/xen_libxl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/xen_libxl_impl.h"

/* ---- complaints ------------------------------------------------------------ */

PRINTF(5, 0)
static void log_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
			const char *context, const char *format, va_list al)
{
	struct xen_libxl_log *log = (struct xen_libxl_log *)(void *)logger;
	char text[sizeof(log->first)];
	int n = vsnprintf(text, sizeof(text), format, al);

	if (errnoval >= 0 && n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(errnoval));
	text[strcspn(text, "\n")] = '\0';
	if (level < XTL_ERROR) {
		log_debug("%s: %s", context ? context : "libxl", text);
		return;
	}
	log_warn("%s: %s", context ? context : "libxl", text);
	memcpy(log->errors++ ? log->last : log->first, text, sizeof(text));
}

static void log_destroy(struct xentoollog_logger *logger)
{
}

void xen_libxl_begin(struct xen_libxl *x)
{
	x->log.errors = 0;
}

static int errno_of(int r)
{
	switch (r) {
	case ERROR_NOMEM:
		return -ENOMEM;
	case ERROR_INVAL:
		return -EINVAL;
	case ERROR_TIMEDOUT:
		return -ETIMEDOUT;
	case ERROR_ABORTED:
		return -ECANCELED;
	case ERROR_DOMAIN_NOTFOUND:
	case ERROR_DOMAIN_DESTROYED:
		return -ENOENT;
	default:
		return -EIO;
	}
}

int xen_libxl_failed(struct xen_libxl *x, int r, struct err *e, const char *fmt, ...)
{
	const struct xen_libxl_log *log = &x->log;
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!log->errors)
		return err_setx(e, errno_of(r), "%s: libxl: %s", what,
				libxl_error_to_string((libxl_error)r));
	if (log->errors == 1)
		return err_setx(e, errno_of(r), "%s: libxl: %s", what, log->first);
	return err_setx(e, errno_of(r), "%s: libxl: %s ... %s", what, log->first, log->last);
}

/* ---- the handle and its loop ----------------------------------------------- */

int xen_libxl_open(struct xen_libxl **out, struct err *e)
{
	struct xen_libxl *x = mem_zalloc(sizeof(*x));
	int r;

	if (!x)
		return err_set(e, -ENOMEM, "handle of libxl");
	x->log.vtable.vmessage = log_message;
	x->log.vtable.destroy = log_destroy;
	r = libxl_ctx_alloc(&x->ctx, LIBXL_VERSION, 0, &x->log.vtable);
	if (r) {
		r = xen_libxl_failed(x, r, e, "no way to Xen's toolstack, is this a domain 0");
		mem_free(x);
		return r;
	}
	*out = x;
	return 0;
}

void xen_libxl_close(struct xen_libxl *x)
{
	if (!x)
		return;
	libxl_ctx_free(x->ctx);
	mem_free(x);
}

static void op_done(libxl_ctx *ctx, int r, void *arg)
{
	struct xen_libxl_op *op = arg;

	op->done = true;
	op->r = r;
}

void xen_libxl_op_init(struct xen_libxl_op *op)
{
	*op = (struct xen_libxl_op){.how.callback = op_done};
	op->how.u.for_callback = op;
}

#define MAX_FDS 64 /* that libxl may want to wait for */

int xen_libxl_pass(struct xen_libxl *x, int fd, int timeout_ms, struct err *e)
{
	struct pollfd fds[1 + MAX_FDS] = {{.fd = fd, .events = POLLIN}};
	struct timeval now;
	int n = MAX_FDS;
	int r;

	gettimeofday(&now, NULL);
	r = libxl_osevent_beforepoll(x->ctx, &n, fds + 1, &timeout_ms, now);
	if (r)
		return xen_libxl_failed(x, r, e, "wait for libxl's events");
	if (poll(fds, (nfds_t)n + 1, timeout_ms) < 0) {
		if (errno == EINTR)
			return 0;
		return err_set(e, -errno, "wait for libxl's events");
	}
	gettimeofday(&now, NULL);
	libxl_osevent_afterpoll(x->ctx, n, fds + 1, now);
	return fds[0].revents != 0;
}

/* ---- simple calls ---------------------------------------------------------- */

int xen_libxl_find(struct xen_libxl *x, const char *name_or_id, uint32_t *domid, struct err *e)
{
	char *name;
	int r;

	xen_libxl_begin(x);
	r = libxl_domain_qualifier_to_domid(x->ctx, name_or_id, domid);
	if (r)
		return err_setx(e, -ENOENT, "there is no domain '%.63s'", name_or_id);
	if (*domid == 0)
		return err_setx(e, -EPERM, "domain 0 is the host itself");
	/* A number is taken as it is. */
	r = libxl_domain_info(x->ctx, NULL, *domid);
	if (r == ERROR_DOMAIN_NOTFOUND)
		return err_setx(e, -ENOENT, "there is no domain '%.63s'", name_or_id);
	if (r)
		return xen_libxl_failed(x, r, e, "domain '%.63s'", name_or_id);
	name = libxl_domid_to_name(x->ctx, *domid);
	log_debug("domain '%s' is %u", name ? name : "(unnamed)", *domid);
	free(name);
	return 0;
}

int xen_libxl_config(struct xen_libxl *x, uint32_t domid, char **json, struct err *e)
{
	libxl_domain_config dc;
	int rc = 0;
	int r;

	xen_libxl_begin(x);
	libxl_domain_config_init(&dc);
	r = libxl_retrieve_domain_configuration(x->ctx, domid, &dc, NULL);
	if (r) {
		rc = xen_libxl_failed(x, r, e, "configuration of domain %u", domid);
	} else {
		*json = libxl_domain_config_to_json(x->ctx, &dc);
		if (!*json)
			rc = err_set(e, -ENOMEM, "configuration of domain %u", domid);
	}
	libxl_domain_config_dispose(&dc);
	return rc;
}

int xen_libxl_free_memory(struct xen_libxl *x, uint64_t *mib, struct err *e)
{
	uint64_t kib;
	int r;

	xen_libxl_begin(x);
	r = libxl_get_free_memory(x->ctx, &kib);
	if (r)
		return xen_libxl_failed(x, r, e, "ask for free memory");
	*mib = kib >> 10;
	return 0;
}

int xen_libxl_destroy(struct xen_libxl *x, uint32_t domid, struct err *e)
{
	int r;

	xen_libxl_begin(x);
	r = libxl_domain_destroy(x->ctx, domid, NULL);
	if (r && r != ERROR_DOMAIN_NOTFOUND)
		return xen_libxl_failed(x, r, e, "destroy domain %u", domid);
	return 0;
}

int xen_libxl_pause(struct xen_libxl *x, uint32_t domid, struct err *e)
{
	int r;

	xen_libxl_begin(x);
	r = libxl_domain_pause(x->ctx, domid, NULL);
	if (r)
		return xen_libxl_failed(x, r, e, "pause domain %u", domid);
	return 0;
}

static int vif_fill(struct xen_libxl_vif *v, const libxl_device_nic *nic, uint32_t domid)
{
	int n;

	*v = (struct xen_libxl_vif){.name = ""};
	if (nic->ifname)
		n = snprintf(v->name, sizeof(v->name), "%s", nic->ifname);
	else
		n = snprintf(v->name, sizeof(v->name), "vif%u.%d", domid, nic->devid);
	if (n < 0 || (size_t)n >= sizeof(v->name))
		return -ENAMETOOLONG;
	n = snprintf(v->bridge, sizeof(v->bridge), "%s", nic->bridge ? nic->bridge : "");
	if (n < 0 || (size_t)n >= sizeof(v->bridge))
		return -ENAMETOOLONG;
	memcpy(v->mac, nic->mac, sizeof(v->mac));
	return 0;
}

int xen_libxl_take_vifs(const libxl_domain_config *dc, uint32_t domid, struct xen_libxl_vifs *vifs,
			struct err *e)
{
	int rc;

	vifs->n = 0;
	if (dc->num_nics > XEN_LIBXL_MAX_VIFS)
		return err_setx(e, -E2BIG, "domain %u has %d interfaces, more than %d", domid,
				dc->num_nics, XEN_LIBXL_MAX_VIFS);
	for (int i = 0; i < dc->num_nics; i++) {
		rc = vif_fill(&vifs->vif[i], &dc->nics[i], domid);
		if (rc < 0)
			return err_set(e, rc, "interface %d of domain %u", i, domid);
		vifs->n++;
	}
	return 0;
}

int xen_libxl_vifs(struct xen_libxl *x, uint32_t domid, struct xen_libxl_vifs *vifs, struct err *e)
{
	libxl_domain_config dc;
	int rc;
	int r;

	xen_libxl_begin(x);
	libxl_domain_config_init(&dc);
	r = libxl_retrieve_domain_configuration(x->ctx, domid, &dc, NULL);
	if (r)
		rc = xen_libxl_failed(x, r, e, "interfaces of domain %u", domid);
	else
		rc = xen_libxl_take_vifs(&dc, domid, vifs, e);
	libxl_domain_config_dispose(&dc);
	return rc;
}
