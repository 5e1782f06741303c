/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A reader over bytes that somebody else wrote: little-endian, bounds-checked,
 * sticky. Once a read does not fit, the reader is bad for good, every further
 * read gives 0, and one rd_ok() or rd_done() at the end tells. No thread rules;
 * the bytes are borrowed.
 *
 *	struct rd r = rd_init(buf, size);
 *	msg->epoch = rd_u64(&r);
 *	msg->flags = rd_u32(&r);
 *	rd_zero(&r, 4);
 *	return rd_done(&r) ? 0 : -EBADMSG;
 */
#ifndef LIB_RD_H
#define LIB_RD_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"

struct rd {
	const uint8_t *p; /* the next byte */
	size_t left;
	bool bad;
};

static inline struct rd rd_init(const void *buf, size_t size)
{
	return (struct rd){.p = buf, .left = size};
}

/* The next size bytes where they lie, or NULL (also for size 0 of a bad reader). */
static inline const uint8_t *rd_ptr(struct rd *r, size_t size)
{
	const uint8_t *p = r->p;

	if (r->bad || size > r->left) {
		r->bad = true;
		r->left = 0;
		return NULL;
	}
	/* An empty reader may stand on NULL, which must not be moved. */
	if (size)
		r->p += size;
	r->left -= size;
	return p;
}

/* Copies size bytes to dst; zeroes there when they are not to be had. */
static inline void rd_bytes(struct rd *r, void *dst, size_t size)
{
	const uint8_t *p = rd_ptr(r, size);

	if (!size)
		return;
	if (p)
		memcpy(dst, p, size);
	else
		memset(dst, 0, size);
}

static inline void rd_skip(struct rd *r, size_t size)
{
	(void)rd_ptr(r, size);
}

static inline uint8_t rd_u8(struct rd *r)
{
	uint8_t v;

	rd_bytes(r, &v, sizeof(v));
	return v;
}

static inline uint16_t rd_u16(struct rd *r)
{
	uint16_t v;

	rd_bytes(r, &v, sizeof(v));
	return le16toh(v);
}

static inline uint32_t rd_u32(struct rd *r)
{
	uint32_t v;

	rd_bytes(r, &v, sizeof(v));
	return le32toh(v);
}

static inline uint64_t rd_u64(struct rd *r)
{
	uint64_t v;

	rd_bytes(r, &v, sizeof(v));
	return le64toh(v);
}

/* For the caller's own checks: what was read makes no sense. */
static inline void rd_set_bad(struct rd *r)
{
	r->bad = true;
	r->left = 0;
}

/* Reserved bytes: they must be there and be 0. */
static inline void rd_zero(struct rd *r, size_t size)
{
	while (size-- && !r->bad) {
		if (rd_u8(r))
			rd_set_bad(r);
	}
}

/* A reader over the next size bytes alone, for a record within; bad when they are not there. */
static inline struct rd rd_sub(struct rd *r, size_t size)
{
	const uint8_t *p = rd_ptr(r, size);

	return (struct rd){.p = p, .left = r->bad ? 0 : size, .bad = r->bad};
}

static inline size_t rd_left(const struct rd *r)
{
	return r->left;
}

MUST_CHECK static inline bool rd_ok(const struct rd *r)
{
	return !r->bad;
}

/* All was well and nothing is left over. */
MUST_CHECK static inline bool rd_done(const struct rd *r)
{
	return !r->bad && !r->left;
}

#endif
