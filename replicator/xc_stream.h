/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes that libxenlight reads when it builds a PVH domain from a checkpointed stream: libxl's stream
 * (version 2) around libxc's (version 3), as the specifications of the Xen project lay down. Pure: no Xen
 * header, no system call; what does not fit makes the writer bad. Any thread.
 *
 *	headers		xcs_put_headers()
 *	static data	xcs_put_cpuid() xcs_put_msrs() xcs_put_static_end()
 *	checkpoint	any number of xcs_put_pages() followed by the pages themselves,
 *			xcs_put_tsc() xcs_put_params() xcs_put_context(), xcs_put_checkpoint()
 *	checkpoint	...
 *
 * The first checkpoint is taken in as it comes; every later one is buffered by the reader and taken in
 * whole when its end has arrived. The stream has no end: closing it makes the reader complete the domain
 * from the last whole checkpoint. An END record would do the same with a partial one, so there is none.
 * VERIFY is a debugging aid of the saver, which we do not send; EMULATOR records are for guests with a
 * device model, which PVH has not.
 *
 * The prefix is xcs_ because xc_ belongs to libxenctrl.
 */
#ifndef REPLICATOR_XC_STREAM_H
#define REPLICATOR_XC_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/wire_v1.h"
#include "lib/wr.h"

#define XCS_PAGE_SIZE 4096
#define XCS_BATCH_PAGES 1024		     /* in one PAGE_DATA record; the savers' own limit */
#define XCS_PFN_LIMIT (UINT64_C(1) << 52)    /* frame numbers are below */
#define XCS_RECORD_MAX (UINT32_C(128) << 20) /* body of a record; the reader refuses longer ones */

#define XCS_HEADERS_SIZE 64 /* what xcs_put_headers() writes */
#define XCS_TSC_SIZE 32
#define XCS_CHECKPOINT_SIZE 16
#define XCS_PAGES_HEAD_SIZE(n) (16 + (size_t)(n)*8)
#define XCS_PARAMS_SIZE(n) (16 + (size_t)(n)*16)
#define XCS_BLOB_SIZE(size) (8 + (((size_t)(size) + 7) & ~(size_t)7))

/* Once, first. The version of the hypervisor that the guest runs on, as 4 and 17. */
void xcs_put_headers(struct wr *w, uint32_t xen_major, uint32_t xen_minor);

/* The CPU that the guest was built with; n 0 writes nothing: the reader then makes its own defaults. */
void xcs_put_cpuid(struct wr *w, const struct wire_leaf *leaf, uint32_t n);
void xcs_put_msrs(struct wr *w, const struct wire_msr *msr, uint32_t n);
void xcs_put_static_end(struct wr *w);

/*
 * The head of a PAGE_DATA record of n (1 .. XCS_BATCH_PAGES) ordinary pages, XCS_PAGES_HEAD_SIZE(n) bytes.
 * The caller sends n * XCS_PAGE_SIZE bytes of content right behind it, in this order. A frame number
 * outside XCS_PFN_LIMIT or a wrong n makes the writer bad.
 */
void xcs_put_pages(struct wr *w, const uint64_t *pfn, uint32_t n);

void xcs_put_tsc(struct wr *w, const struct wire_tsc_info *tsc);
/* n 0 writes nothing. */
void xcs_put_params(struct wr *w, const struct wire_param *param, uint32_t n);
/* After the parameters. */
void xcs_put_context(struct wr *w, const void *hvm, size_t size);
/* libxc's CHECKPOINT and libxl's CHECKPOINT_END. */
void xcs_put_checkpoint(struct wr *w);

#endif
