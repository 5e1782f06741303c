/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See frame.h. */
#include "lib/frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wr.h"

#define HEADER_DIGESTED 40 /* the bytes before the header's own digest */

static const uint8_t magic[4] = {'R', 'M', 'L', 'S'};

#define BOTH (FRAME_PRIMARY | FRAME_BACKUP)
#define KIB UINT32_C(1024)

/* The table of docs/protocol.md. */
/* clang-format off */
static const struct frame_rule rules[] = {
	/*                   name          from           min max             must   epoch */
	[FRAME_HELLO]      = {"HELLO",      FRAME_PRIMARY, 208, 208,           true,  false},
	[FRAME_HELLO_OK]   = {"HELLO_OK",   FRAME_BACKUP,  80,  80,            true,  false},
	[FRAME_REFUSE]     = {"REFUSE",     FRAME_BACKUP,  16,  16 + KIB,      true,  false},
	[FRAME_CONFIG]     = {"CONFIG",     FRAME_PRIMARY, 2,   1024 * KIB,    true,  false},
	[FRAME_STATIC]     = {"STATIC",     FRAME_PRIMARY, 32,  8 + 512 * 24 + 256 * 16, true, false},
	[FRAME_COPY_ROUND] = {"COPY_ROUND", FRAME_PRIMARY, 24,  24,            true,  true},
	[FRAME_PAGES]      = {"PAGES",      FRAME_PRIMARY, 16,  1088 * KIB,    true,  true},
	[FRAME_STATE]      = {"STATE",      FRAME_PRIMARY, 9,   8 + 256 * KIB, true,  true},
	[FRAME_EPOCH_END]  = {"EPOCH_END",  FRAME_PRIMARY, 40,  40,            true,  true},
	[FRAME_ACK]        = {"ACK",        FRAME_BACKUP,  8,   8,             true,  true},
	[FRAME_TAKEOVER]   = {"TAKEOVER",   FRAME_BACKUP,  8,   8,             true,  false},
	[FRAME_BYE]        = {"BYE",        FRAME_PRIMARY, 8,   8 + KIB,       true,  false},
	[FRAME_BYE_OK]     = {"BYE_OK",     FRAME_BACKUP,  8,   8,             true,  false},
	[FRAME_KEEPALIVE]  = {"KEEPALIVE",  BOTH,          0,   0,             false, false},
	[FRAME_DISKS]      = {"DISKS",      FRAME_PRIMARY, 136, 8 + 16 * 128,  true,  false},
	[FRAME_DISKS_OK]   = {"DISKS_OK",   FRAME_BACKUP,  56,  8 + 16 * 48,   true,  false},
	[FRAME_DISK_HASH]  = {"DISK_HASH",  FRAME_PRIMARY, 40,  24 + 64 * KIB, true,  false},
	[FRAME_DISK_WANT]  = {"DISK_WANT",  FRAME_BACKUP,  25,  24 + 64 * KIB, true,  false},
	[FRAME_DISK_DATA]  = {"DISK_DATA",  FRAME_PRIMARY, 24,  1088 * KIB,    true,  true},
	[FRAME_DISK_END]   = {"DISK_END",   FRAME_PRIMARY, 32,  32,            true,  true},
	[FRAME_DISK_PROGRESS] = {"DISK_PROGRESS", FRAME_BACKUP, 32, 32,        true,  false},
	[FRAME_DISK_VERIFY] = {"DISK_VERIFY", FRAME_PRIMARY, 32, 32,           true,  true},
	[FRAME_DISK_VERIFIED] = {"DISK_VERIFIED", FRAME_BACKUP, 16, 16,        true,  true},
	[FRAME_HANDOVER]   = {"HANDOVER",   FRAME_PRIMARY, 8,   8 + KIB,       true,  true},
	[FRAME_ASK_FACTS]  = {"ASK_FACTS",  FRAME_PRIMARY, 72,  72,            false, false},
	[FRAME_FACTS]      = {"FACTS",      FRAME_BACKUP,  2,   256 * KIB,     false, false},
	[FRAME_DRILL]      = {"DRILL",      FRAME_PRIMARY, 9,   8 + 2 * KIB,   false, false},
	[FRAME_DRILL_SAYS] = {"DRILL_SAYS", FRAME_BACKUP,  9,   8 + 16 * KIB,  false, false},
};
/* clang-format on */

const struct frame_rule *frame_rule(unsigned int type)
{
	return type < ARRAY_SIZE(rules) && rules[type].name ? &rules[type] : NULL;
}

const char *frame_name(unsigned int type, char *buf, size_t size)
{
	const struct frame_rule *rule = frame_rule(type);

	if (rule)
		return rule->name;
	(void)snprintf(buf, size, "type %u", type);
	return buf;
}

struct frame_header frame_make(enum frame_type type, uint64_t epoch, const void *payload,
			       size_t size)
{
	const struct frame_rule *rule = frame_rule(type);

	assert(rule && size >= rule->min && size <= rule->max);
	assert(rule->has_epoch == (epoch != FRAME_NO_EPOCH));
	return (struct frame_header){
		.version = FRAME_VERSION_MIN,
		.type = (uint16_t)type,
		.flags = rule->mandatory ? FRAME_MANDATORY : 0,
		.length = (uint32_t)size,
		.epoch = epoch,
		.digest = digest_of(payload, size),
	};
}

void frame_encode(uint8_t buf[FRAME_HEADER_SIZE], const struct frame_header *h)
{
	struct wr w = wr_init(buf, FRAME_HEADER_SIZE);

	wr_bytes(&w, magic, sizeof(magic));
	wr_u16(&w, h->version);
	wr_u16(&w, h->type);
	wr_u32(&w, h->flags);
	wr_u32(&w, h->length);
	wr_u64(&w, h->seq);
	wr_u64(&w, h->epoch);
	wr_u64(&w, h->digest);
	assert(wr_used(&w) == HEADER_DIGESTED);
	wr_u64(&w, digest_of(buf, HEADER_DIGESTED));
	assert(wr_ok(&w) && !wr_left(&w));
}

static int check_known(const struct frame_header *h, const struct frame_rule *rule,
		       enum frame_side from, struct err *e)
{
	if (!(rule->from & from))
		return err_setx(e, -EPROTO, "the peer sent %s, which is not its to send",
				rule->name);
	if (h->flags != (rule->mandatory ? FRAME_MANDATORY : 0))
		return err_setx(e, -EPROTO, "frame %s has the flags 0x%x", rule->name, h->flags);
	if (h->length < rule->min || h->length > rule->max)
		return err_setx(e, -EMSGSIZE, "frame %s is %u bytes long, must have %u to %u",
				rule->name, h->length, rule->min, rule->max);
	if (rule->has_epoch != (h->epoch != FRAME_NO_EPOCH))
		return err_setx(e, -EPROTO, "frame %s %s epoch", rule->name,
				rule->has_epoch ? "lacks its" : "carries an");
	return 0;
}

int frame_decode(const uint8_t buf[FRAME_HEADER_SIZE], enum frame_side from, struct frame_header *h,
		 struct err *e)
{
	struct rd r = rd_init(buf, FRAME_HEADER_SIZE);
	const struct frame_rule *rule;
	uint8_t peer_magic[sizeof(magic)];

	rd_bytes(&r, peer_magic, sizeof(peer_magic));
	*h = (struct frame_header){.version = rd_u16(&r)};
	h->type = rd_u16(&r);
	h->flags = rd_u32(&r);
	h->length = rd_u32(&r);
	h->seq = rd_u64(&r);
	h->epoch = rd_u64(&r);
	h->digest = rd_u64(&r);
	if (memcmp(peer_magic, magic, sizeof(magic)) != 0)
		return err_setx(e, -EPROTO, "what the peer sent is not a frame");
	if (rd_u64(&r) != digest_of(buf, HEADER_DIGESTED))
		return err_setx(e, -EBADMSG, "a frame's header is damaged (checksum)");
	assert(rd_done(&r));
	if (h->flags & ~FRAME_MANDATORY)
		return err_setx(e, -EPROTO, "frame type %u has the flags 0x%x", h->type, h->flags);
	if (h->length > FRAME_MAX_PAYLOAD)
		return err_setx(e, -EMSGSIZE, "frame type %u says %u bytes, the limit is %zu",
				h->type, h->length, FRAME_MAX_PAYLOAD);
	if (h->version < FRAME_VERSION_MIN || h->version > FRAME_VERSION_MAX) {
		/* Their first bytes are the same in every version; the caller looks no further. */
		if (h->type == FRAME_HELLO || h->type == FRAME_REFUSE)
			return 0;
		return err_setx(e, -EPROTO,
				"frame type %u of protocol version %u, we speak %d to %d", h->type,
				h->version, FRAME_VERSION_MIN, FRAME_VERSION_MAX);
	}
	rule = frame_rule(h->type);
	if (rule)
		return check_known(h, rule, from, e);
	if (h->flags & FRAME_MANDATORY)
		return err_setx(e, -EPROTO, "mandatory frame type %u is unknown here", h->type);
	return 0;
}

int frame_check_seq(const struct frame_header *h, uint64_t *last, struct err *e)
{
	if (h->seq != *last + 1)
		return err_setx(
			e, -EPROTO,
			"a frame was repeated, lost or reordered: sequence %llu, expected %llu",
			(unsigned long long)h->seq, (unsigned long long)*last + 1);
	*last = h->seq;
	return 0;
}

int frame_check_payload(const struct frame_header *h, const void *payload, struct err *e)
{
	char buf[16];

	if (digest_of(payload, h->length) != h->digest)
		return err_setx(e, -EBADMSG, "the payload of %s is damaged (checksum)",
				frame_name(h->type, buf, sizeof(buf)));
	return 0;
}
