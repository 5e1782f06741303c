/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A writer of bytes that leave the process: little-endian, bounds-checked,
 * sticky. Once a write does not fit, the writer is bad for good and writes
 * nothing more; one wr_ok() at the end tells. The buffer is borrowed.
 */
#ifndef LIB_WR_H
#define LIB_WR_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"

struct wr {
	uint8_t *buf; /* its start */
	size_t size;
	size_t used;
	bool bad;
};

static inline struct wr wr_init(void *buf, size_t size)
{
	return (struct wr){.buf = buf, .size = size};
}

static inline size_t wr_left(const struct wr *w)
{
	return w->bad ? 0 : w->size - w->used;
}

/* Room for size bytes that the caller fills, or NULL. */
static inline uint8_t *wr_ptr(struct wr *w, size_t size)
{
	uint8_t *p;

	if (w->bad || size > w->size - w->used) {
		w->bad = true;
		return NULL;
	}
	p = size ? w->buf + w->used : w->buf;
	w->used += size;
	return p;
}

static inline void wr_bytes(struct wr *w, const void *src, size_t size)
{
	uint8_t *p = wr_ptr(w, size);

	if (p && size)
		memcpy(p, src, size);
}

/* Reserved bytes and padding. */
static inline void wr_zero(struct wr *w, size_t size)
{
	uint8_t *p = wr_ptr(w, size);

	if (p && size)
		memset(p, 0, size);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, sizeof(v));
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
	v = htole16(v);
	wr_bytes(w, &v, sizeof(v));
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
	v = htole32(v);
	wr_bytes(w, &v, sizeof(v));
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
	v = htole64(v);
	wr_bytes(w, &v, sizeof(v));
}

/* Writes v over the four bytes at offset, which were written before: a length or a checksum. */
static inline void wr_patch_u32(struct wr *w, size_t offset, uint32_t v)
{
	if (w->bad || offset > w->used || w->used - offset < sizeof(v)) {
		w->bad = true;
		return;
	}
	v = htole32(v);
	memcpy(w->buf + offset, &v, sizeof(v));
}

static inline void wr_patch_u64(struct wr *w, size_t offset, uint64_t v)
{
	if (w->bad || offset > w->used || w->used - offset < sizeof(v)) {
		w->bad = true;
		return;
	}
	v = htole64(v);
	memcpy(w->buf + offset, &v, sizeof(v));
}

static inline size_t wr_used(const struct wr *w)
{
	return w->used;
}

MUST_CHECK static inline bool wr_ok(const struct wr *w)
{
	return !w->bad;
}

#endif
