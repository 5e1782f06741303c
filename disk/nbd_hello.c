/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_hello.h. */
#include "disk/nbd_hello.h"

#include <endian.h>
#include <string.h>

#include "lib/rd.h"
#include "lib/wr.h"

#define INIT_MAGIC UINT64_C(0x4e42444d41474943)	  /* "NBDMAGIC" */
#define OPTION_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define REPLY_MAGIC UINT64_C(0x0003e889045565a9)

/* Handshake flags, ours and the client's alike. */
#define FIXED_NEWSTYLE 0x1u
#define NO_ZEROES 0x2u

#define HEADER_SIZE 16 /* magic, option, length */
#define EXPORT_NAME_ZEROES 124

/* NBD_OPT_* */
enum option {
	OPT_EXPORT_NAME = 1,
	OPT_ABORT = 2,
	OPT_LIST = 3,
	OPT_INFO = 6,
	OPT_GO = 7,
};

/* NBD_REP_* */
enum reply {
	REP_ACK = 1,
	REP_SERVER = 2,
	REP_INFO = 3,
};
#define REP_ERR_UNSUP 0x80000001u
#define REP_ERR_INVALID 0x80000003u
#define REP_ERR_UNKNOWN 0x80000006u
#define REP_ERR_TOO_BIG 0x80000009u

/* NBD_INFO_* */
enum info {
	INFO_EXPORT = 0,
	INFO_NAME = 1,
	INFO_BLOCK_SIZE = 3,
};

/* ---- big-endian ---- */

static uint16_t get16(struct rd *r)
{
	uint16_t v;

	rd_bytes(r, &v, sizeof(v));
	return be16toh(v);
}

static uint32_t get32(struct rd *r)
{
	uint32_t v;

	rd_bytes(r, &v, sizeof(v));
	return be32toh(v);
}

static uint64_t get64(struct rd *r)
{
	uint64_t v;

	rd_bytes(r, &v, sizeof(v));
	return be64toh(v);
}

static void put16(struct wr *w, uint16_t v)
{
	v = htobe16(v);
	wr_bytes(w, &v, sizeof(v));
}

static void put32(struct wr *w, uint32_t v)
{
	v = htobe32(v);
	wr_bytes(w, &v, sizeof(v));
}

static void put64(struct wr *w, uint64_t v)
{
	v = htobe64(v);
	wr_bytes(w, &v, sizeof(v));
}

/* ---- what we say ---- */

static struct wr writer(const struct nbdhello *h)
{
	struct wr w = wr_init((uint8_t *)h->out, sizeof(h->out));

	w.used = h->out_used;
	return w;
}

/* All that one step says fits: at most LIST's or INFO's answer. */
static void written(struct nbdhello *h, const struct wr *w)
{
	assert(wr_ok(w));
	h->out_used = wr_used(w);
}

static void put_reply(struct wr *w, const struct nbdhello *h, uint32_t type, uint32_t len)
{
	put64(w, REPLY_MAGIC);
	put32(w, h->option);
	put32(w, type);
	put32(w, len);
}

static enum nbdhello_next answer(struct nbdhello *h, uint32_t type)
{
	struct wr w = writer(h);

	put_reply(&w, h, type, 0);
	written(h, &w);
	return NBDHELLO_MORE;
}

static enum nbdhello_next refuse(struct nbdhello *h, uint32_t type, const char *why)
{
	struct wr w = writer(h);
	size_t len = strlen(why);

	put_reply(&w, h, type, (uint32_t)len);
	wr_bytes(&w, why, len);
	written(h, &w);
	return NBDHELLO_MORE;
}

void nbdhello_start(struct nbdhello *h, const struct nbdwire_export *ex)
{
	struct wr w;

	*h = (struct nbdhello){.export = ex, .state = NBDHELLO_FLAGS};
	w = writer(h);
	put64(&w, INIT_MAGIC);
	put64(&w, OPTION_MAGIC);
	put16(&w, FIXED_NEWSTYLE | NO_ZEROES);
	written(h, &w);
}

/* ---- options ---- */

/* The empty name is the default export. */
static bool is_ours(const struct nbdhello *h, const uint8_t *name, size_t len)
{
	size_t ours = strlen(h->export->name);

	return !len || (len == ours && memcmp(name, h->export->name, len) == 0);
}

/* There is no way to say no but to hang up. */
static enum nbdhello_next on_export_name(struct nbdhello *h, const uint8_t *name, size_t len)
{
	struct wr w = writer(h);

	if (!is_ours(h, name, len))
		return NBDHELLO_CLOSE;
	put64(&w, h->export->size);
	put16(&w, NBDWIRE_FLAGS);
	if (!h->no_zeroes)
		wr_zero(&w, EXPORT_NAME_ZEROES);
	written(h, &w);
	return NBDHELLO_TRANSMIT;
}

static enum nbdhello_next on_list(struct nbdhello *h, size_t len)
{
	size_t name = strlen(h->export->name);
	struct wr w = writer(h);

	if (len)
		return refuse(h, REP_ERR_INVALID, "LIST takes no data");
	put_reply(&w, h, REP_SERVER, (uint32_t)(4 + name));
	put32(&w, (uint32_t)name);
	wr_bytes(&w, h->export->name, name);
	written(h, &w);
	return answer(h, REP_ACK);
}

/* All that we have to say, asked for or not: the client has to ignore what it does not understand. */
static void put_infos(struct nbdhello *h)
{
	size_t name = strlen(h->export->name);
	struct wr w = writer(h);

	put_reply(&w, h, REP_INFO, 12);
	put16(&w, INFO_EXPORT);
	put64(&w, h->export->size);
	put16(&w, NBDWIRE_FLAGS);
	put_reply(&w, h, REP_INFO, (uint32_t)(2 + name));
	put16(&w, INFO_NAME);
	wr_bytes(&w, h->export->name, name);
	put_reply(&w, h, REP_INFO, 14);
	put16(&w, INFO_BLOCK_SIZE);
	put32(&w, h->export->block);
	put32(&w, MAX(h->export->block, UINT32_C(4096)));
	put32(&w, NBDWIRE_MAX_PAYLOAD);
	written(h, &w);
}

static enum nbdhello_next on_info(struct nbdhello *h, const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	uint32_t len = get32(&r);
	const uint8_t *name = rd_ptr(&r, len);
	uint16_t n = get16(&r);

	rd_skip(&r, (size_t)n * 2);
	if (!rd_done(&r))
		return refuse(h, REP_ERR_INVALID, "lengths do not add up");
	if (!is_ours(h, name, len))
		return refuse(h, REP_ERR_UNKNOWN, "no such export");
	put_infos(h);
	answer(h, REP_ACK);
	return h->option == OPT_GO ? NBDHELLO_TRANSMIT : NBDHELLO_MORE;
}

static enum nbdhello_next on_option(struct nbdhello *h, const uint8_t *data, size_t size)
{
	switch (h->option) {
	case OPT_EXPORT_NAME:
		return on_export_name(h, data, size);
	case OPT_ABORT:
		answer(h, REP_ACK);
		return NBDHELLO_CLOSE;
	case OPT_LIST:
		return on_list(h, size);
	case OPT_INFO:
	case OPT_GO:
		return on_info(h, data, size);
	default:
		return answer(h, REP_ERR_UNSUP);
	}
}

/* ---- steps ---- */

static enum nbdhello_next on_flags(struct nbdhello *h, struct rd *r)
{
	uint32_t flags = get32(r);

	/* Bits that we did not offer: we must drop the client. */
	if (flags & ~(FIXED_NEWSTYLE | NO_ZEROES))
		return NBDHELLO_CLOSE;
	h->no_zeroes = flags & NO_ZEROES;
	h->state = NBDHELLO_HEADER;
	return NBDHELLO_MORE;
}

static enum nbdhello_next on_header(struct nbdhello *h, struct rd *r)
{
	uint64_t magic = get64(r);

	h->option = get32(r);
	h->left = get32(r);
	if (magic != OPTION_MAGIC || h->left > NBDHELLO_OPTION_MAX)
		return NBDHELLO_CLOSE;
	if (h->left <= NBDHELLO_NEED_MAX) {
		h->state = NBDHELLO_DATA;
		return NBDHELLO_MORE;
	}
	if (h->option == OPT_EXPORT_NAME)
		return NBDHELLO_CLOSE;
	h->state = NBDHELLO_SKIP;
	return NBDHELLO_MORE;
}

static enum nbdhello_next on_skip(struct nbdhello *h, size_t size)
{
	h->left -= (uint32_t)size;
	if (h->left)
		return NBDHELLO_MORE;
	h->state = NBDHELLO_HEADER;
	if (h->option == OPT_ABORT) {
		answer(h, REP_ACK);
		return NBDHELLO_CLOSE;
	}
	return refuse(h, REP_ERR_TOO_BIG, "the option is too long");
}

size_t nbdhello_need(const struct nbdhello *h)
{
	switch (h->state) {
	case NBDHELLO_FLAGS:
		return sizeof(uint32_t);
	case NBDHELLO_HEADER:
		return HEADER_SIZE;
	case NBDHELLO_DATA:
	case NBDHELLO_SKIP:
		break;
	}
	return MIN(h->left, (uint32_t)NBDHELLO_NEED_MAX);
}

enum nbdhello_next nbdhello_step(struct nbdhello *h, const uint8_t *data)
{
	size_t size = nbdhello_need(h);
	struct rd r = rd_init(data, size);

	assert(!h->out_used);
	switch (h->state) {
	case NBDHELLO_FLAGS:
		return on_flags(h, &r);
	case NBDHELLO_HEADER:
		return on_header(h, &r);
	case NBDHELLO_SKIP:
		return on_skip(h, size);
	case NBDHELLO_DATA:
		break;
	}
	h->state = NBDHELLO_HEADER;
	return on_option(h, data, size);
}
