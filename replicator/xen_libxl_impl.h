/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of xen_libxl.h share; nobody else includes it. */
#ifndef REPLICATOR_XEN_LIBXL_IMPL_H
#define REPLICATOR_XEN_LIBXL_IMPL_H

#include <libxl.h>
#include <libxl_event.h>
#include <libxl_utils.h>
#include <xentoollog.h>

#include "lib/compiler.h"
#include "replicator/xen_libxl.h"

struct err;

/* Keeps what libxl complains about. */
struct xen_libxl_log {
	xentoollog_logger vtable; /* first */
	unsigned int errors;
	char first[160];
	char last[160];
};

struct xen_libxl {
	libxl_ctx *ctx;
	struct xen_libxl_log log;
};

/* Before a call whose complaints matter. */
void xen_libxl_begin(struct xen_libxl *x);
/* Makes libxl's rc and complaints an error of ours: "what: ...". Returns a negative errno. */
PRINTF(4, 5)
COLD int xen_libxl_failed(struct xen_libxl *x, int r, struct err *e, const char *fmt, ...);

/* An asynchronous call of libxl: pass &op->how, then xen_libxl_pass() until op->done. */
struct xen_libxl_op {
	libxl_asyncop_how how;
	bool done;
	int r;
};
void xen_libxl_op_init(struct xen_libxl_op *op);

/*
 * Lets libxl work once, waiting at most timeout_ms (-1: as long as it likes) for it or for fd (-1: none).
 * 1: fd is readable or hung up; 0; negative errno.
 */
MUST_CHECK int xen_libxl_pass(struct xen_libxl *x, int fd, int timeout_ms, struct err *e);

/* See xen_libxl_disks(). */
MUST_CHECK int xen_libxl_take_disks(const libxl_domain_config *dc, const char *vm,
				    struct disk_list *disks, struct err *e);

/* The interfaces of a configuration that libxl has filled in. */
MUST_CHECK int xen_libxl_take_vifs(const libxl_domain_config *dc, uint32_t domid,
				   struct xen_libxl_vifs *vifs, struct err *e);

#endif
