/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_wire.h. */
#include "disk/nbd_wire.h"

#include <endian.h>
#include <errno.h>

#include "lib/rd.h"
#include "lib/wr.h"

#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u

int nbdwire_request_decode(const uint8_t buf[NBDWIRE_REQUEST_SIZE], struct nbdwire_request *rq)
{
	struct rd r = rd_init(buf, NBDWIRE_REQUEST_SIZE);
	uint32_t magic;

	rd_bytes(&r, &magic, sizeof(magic));
	rd_bytes(&r, &rq->flags, sizeof(rq->flags));
	rd_bytes(&r, &rq->type, sizeof(rq->type));
	rd_bytes(&r, &rq->cookie, sizeof(rq->cookie));
	rd_bytes(&r, &rq->off, sizeof(rq->off));
	rd_bytes(&r, &rq->len, sizeof(rq->len));
	rq->flags = be16toh(rq->flags);
	rq->type = be16toh(rq->type);
	rq->cookie = be64toh(rq->cookie);
	rq->off = be64toh(rq->off);
	rq->len = be32toh(rq->len);
	return rd_done(&r) && be32toh(magic) == REQUEST_MAGIC ? 0 : -EBADMSG;
}

void nbdwire_request_encode(uint8_t buf[NBDWIRE_REQUEST_SIZE], const struct nbdwire_request *rq)
{
	struct wr w = wr_init(buf, NBDWIRE_REQUEST_SIZE);
	const uint32_t magic = htobe32(REQUEST_MAGIC);
	const struct nbdwire_request be = {
		.flags = htobe16(rq->flags),
		.type = htobe16(rq->type),
		.cookie = htobe64(rq->cookie),
		.off = htobe64(rq->off),
		.len = htobe32(rq->len),
	};

	wr_bytes(&w, &magic, sizeof(magic));
	wr_bytes(&w, &be.flags, sizeof(be.flags));
	wr_bytes(&w, &be.type, sizeof(be.type));
	wr_bytes(&w, &be.cookie, sizeof(be.cookie));
	wr_bytes(&w, &be.off, sizeof(be.off));
	wr_bytes(&w, &be.len, sizeof(be.len));
	assert(wr_ok(&w) && wr_used(&w) == NBDWIRE_REQUEST_SIZE);
}

static bool is_known(uint16_t type)
{
	switch (type) {
	case NBDWIRE_READ:
	case NBDWIRE_WRITE:
	case NBDWIRE_DISC:
	case NBDWIRE_FLUSH:
	case NBDWIRE_TRIM:
	case NBDWIRE_ZEROES:
		return true;
	default:
		return false;
	}
}

enum nbdwire_error nbdwire_check(const struct nbdwire_request *rq, const struct nbdwire_export *ex)
{
	/* FUA is valid with every command, says the document. */
	uint16_t known = NBDWIRE_FUA | (rq->type == NBDWIRE_ZEROES ? NBDWIRE_NO_HOLE : 0);
	bool has_payload = rq->type == NBDWIRE_READ || rq->type == NBDWIRE_WRITE;
	bool fills = rq->type == NBDWIRE_WRITE || rq->type == NBDWIRE_ZEROES;

	if (!is_known(rq->type) || (rq->flags & ~known))
		return NBDWIRE_EINVAL;
	if (rq->type == NBDWIRE_DISC)
		return NBDWIRE_OK;
	if (rq->type == NBDWIRE_FLUSH)
		return rq->off || rq->len ? NBDWIRE_EINVAL : NBDWIRE_OK;
	if (!rq->len || rq->off % ex->block || rq->len % ex->block)
		return NBDWIRE_EINVAL;
	if (has_payload && rq->len > NBDWIRE_MAX_PAYLOAD)
		return NBDWIRE_EINVAL;
	if (rq->off > ex->size || rq->len > ex->size - rq->off)
		return fills ? NBDWIRE_ENOSPC : NBDWIRE_EINVAL;
	return NBDWIRE_OK;
}

bool nbdwire_is_hostile(const struct nbdwire_request *rq)
{
	return rq->type == NBDWIRE_WRITE && rq->len > NBDWIRE_MAX_REFUSED;
}

enum nbdwire_error nbdwire_error_of(int rc)
{
	switch (-rc) {
	case 0:
		return NBDWIRE_OK;
	case EPERM:
	case EROFS:
		return NBDWIRE_EPERM;
	case ENOMEM:
		return NBDWIRE_ENOMEM;
	case EINVAL:
		return NBDWIRE_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBDWIRE_ENOSPC;
	case ESHUTDOWN:
		return NBDWIRE_ESHUTDOWN;
	default:
		return NBDWIRE_EIO;
	}
}

void nbdwire_reply_encode(uint8_t buf[NBDWIRE_REPLY_SIZE], uint64_t cookie,
			  enum nbdwire_error error)
{
	struct wr w = wr_init(buf, NBDWIRE_REPLY_SIZE);
	const uint32_t magic = htobe32(REPLY_MAGIC);
	const uint32_t be_error = htobe32((uint32_t)error);
	const uint64_t be_cookie = htobe64(cookie);

	wr_bytes(&w, &magic, sizeof(magic));
	wr_bytes(&w, &be_error, sizeof(be_error));
	wr_bytes(&w, &be_cookie, sizeof(be_cookie));
	assert(wr_ok(&w) && wr_used(&w) == NBDWIRE_REPLY_SIZE);
}
