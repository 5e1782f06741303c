/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See xc_stream.h. Numbers are those of docs/specs/libxl-migration-stream and libxc-migration-stream
 * in the Xen source.
 */
#include "replicator/xc_stream.h"

/* The two layers' headers are big-endian, all else is little-endian. */
#define LIBXL_IDENT UINT64_C(0x4c6962786c466d74) /* "LibxlFmt" */
#define LIBXL_VERSION 2
#define LIBXC_MARKER UINT64_MAX
#define LIBXC_ID 0x58454e46 /* "XENF" */
#define LIBXC_VERSION 3
#define LIBXC_TYPE_X86_HVM 2 /* PVH too */
#define LIBXC_PAGE_SHIFT 12

enum libxl_record {
	LIBXL_LIBXC_CONTEXT = 1,
	LIBXL_CHECKPOINT_END = 4,
};

enum libxc_record {
	LIBXC_PAGE_DATA = 0x01,
	LIBXC_X86_TSC_INFO = 0x08,
	LIBXC_HVM_CONTEXT = 0x09,
	LIBXC_HVM_PARAMS = 0x0a,
	LIBXC_CHECKPOINT = 0x0e,
	LIBXC_STATIC_DATA_END = 0x10,
	LIBXC_X86_CPUID_POLICY = 0x11,
	LIBXC_X86_MSR_POLICY = 0x12,
};

static void put_be16(struct wr *w, uint16_t v)
{
	v = htobe16(v);
	wr_bytes(w, &v, sizeof(v));
}

static void put_be32(struct wr *w, uint32_t v)
{
	v = htobe32(v);
	wr_bytes(w, &v, sizeof(v));
}

static void put_be64(struct wr *w, uint64_t v)
{
	v = htobe64(v);
	wr_bytes(w, &v, sizeof(v));
}

/* Both layers' records begin alike. The padding after the body is the caller's. */
static void put_head(struct wr *w, uint32_t type, size_t length)
{
	if (length > XCS_RECORD_MAX)
		w->bad = true;
	wr_u32(w, type);
	wr_u32(w, (uint32_t)length);
}

void xcs_put_headers(struct wr *w, uint32_t xen_major, uint32_t xen_minor)
{
	put_be64(w, LIBXL_IDENT);
	put_be32(w, LIBXL_VERSION);
	put_be32(w, 0); /* little-endian, native */
	put_head(w, LIBXL_LIBXC_CONTEXT, 0);

	put_be64(w, LIBXC_MARKER);
	put_be32(w, LIBXC_ID);
	put_be32(w, LIBXC_VERSION);
	put_be16(w, 0); /* little-endian */
	wr_zero(w, 6);

	wr_u32(w, LIBXC_TYPE_X86_HVM);
	wr_u16(w, LIBXC_PAGE_SHIFT);
	wr_zero(w, 2);
	wr_u32(w, xen_major);
	wr_u32(w, xen_minor);
}

void xcs_put_cpuid(struct wr *w, const struct wire_leaf *leaf, uint32_t n)
{
	if (!n)
		return;
	put_head(w, LIBXC_X86_CPUID_POLICY, (size_t)n * 24);
	for (uint32_t i = 0; i < n; i++) {
		wr_u32(w, leaf[i].leaf);
		wr_u32(w, leaf[i].subleaf);
		wr_u32(w, leaf[i].a);
		wr_u32(w, leaf[i].b);
		wr_u32(w, leaf[i].c);
		wr_u32(w, leaf[i].d);
	}
}

void xcs_put_msrs(struct wr *w, const struct wire_msr *msr, uint32_t n)
{
	if (!n)
		return;
	put_head(w, LIBXC_X86_MSR_POLICY, (size_t)n * 16);
	for (uint32_t i = 0; i < n; i++) {
		wr_u32(w, msr[i].index);
		wr_u32(w, msr[i].flags);
		wr_u64(w, msr[i].value);
	}
}

void xcs_put_static_end(struct wr *w)
{
	put_head(w, LIBXC_STATIC_DATA_END, 0);
}

void xcs_put_pages(struct wr *w, const uint64_t *pfn, uint32_t n)
{
	if (!n || n > XCS_BATCH_PAGES) {
		w->bad = true;
		return;
	}
	put_head(w, LIBXC_PAGE_DATA, 8 + (size_t)n * (8 + XCS_PAGE_SIZE));
	wr_u32(w, n);
	wr_zero(w, 4);
	for (uint32_t i = 0; i < n; i++) {
		/* The bits above are the page's type; 0 is an ordinary page. */
		if (pfn[i] >= XCS_PFN_LIMIT)
			w->bad = true;
		wr_u64(w, pfn[i]);
	}
}

void xcs_put_tsc(struct wr *w, const struct wire_tsc_info *tsc)
{
	put_head(w, LIBXC_X86_TSC_INFO, 24);
	wr_u32(w, tsc->mode);
	wr_u32(w, tsc->khz);
	wr_u64(w, tsc->nsec);
	wr_u32(w, tsc->incarnation);
	wr_zero(w, 4);
}

void xcs_put_params(struct wr *w, const struct wire_param *param, uint32_t n)
{
	if (!n)
		return;
	put_head(w, LIBXC_HVM_PARAMS, 8 + (size_t)n * 16);
	wr_u32(w, n);
	wr_zero(w, 4);
	for (uint32_t i = 0; i < n; i++) {
		wr_u64(w, param[i].index);
		wr_u64(w, param[i].value);
	}
}

void xcs_put_context(struct wr *w, const void *hvm, size_t size)
{
	put_head(w, LIBXC_HVM_CONTEXT, size);
	wr_bytes(w, hvm, size);
	wr_zero(w, -size & 7);
}

void xcs_put_checkpoint(struct wr *w)
{
	put_head(w, LIBXC_CHECKPOINT, 0);
	put_head(w, LIBXL_CHECKPOINT_END, 0);
}
