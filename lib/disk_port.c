/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_port.h. */
#include "lib/disk_port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wire_impl.h"
#include "lib/wr.h"

#define MAGIC UINT32_C(0x50444d52) /* "RMDP" */
#define VERSION 1

struct rule {
	const char *name;
	unsigned int from; /* bits of enum port_side */
	uint32_t min;	   /* of the payload */
	uint32_t max;
	bool has_epoch;
};

static const struct rule local[] = {
	[0] = {"ROLE", PORT_WORKER, 80, 80, false},
	[PORT_STATE - PORT_ROLE] = {"STATE", PORT_SERVER, 160, 160 + WIRE_TEXT_MAX, false},
	[PORT_BEGIN - PORT_ROLE] = {"BEGIN", PORT_WORKER, 40, 40, true},
	[PORT_ASK_END - PORT_ROLE] = {"ASK_END", PORT_WORKER, 0, 0, true},
	[PORT_SYNCED - PORT_ROLE] = {"SYNCED", PORT_SERVER, 0, 0, true},
	[PORT_FILL - PORT_ROLE] = {"FILL", PORT_SERVER, 4, 4, false},
	[PORT_HELD - PORT_ROLE] = {"HELD", PORT_SERVER, 4, 4, true},
	[PORT_COMMIT - PORT_ROLE] = {"COMMIT", PORT_WORKER, 0, 0, true},
	[PORT_ACKED - PORT_ROLE] = {"ACKED", PORT_WORKER, 0, 0, true},
	[PORT_ACTIVATE - PORT_ROLE] = {"ACTIVATE", PORT_WORKER, 8, 8, true},
	[PORT_ACTIVE - PORT_ROLE] = {"ACTIVE", PORT_SERVER, 0, 0, true},
	[PORT_LEAVE - PORT_ROLE] = {"LEAVE", PORT_WORKER, 0, 0, false},
	[PORT_DROPPED - PORT_ROLE] = {"DROPPED", PORT_SERVER, 0, WIRE_TEXT_MAX, false},
	[PORT_ERROR - PORT_ROLE] = {"ERROR", PORT_SERVER, 0, WIRE_TEXT_MAX, false},
	[PORT_ALONE - PORT_ROLE] = {"ALONE", PORT_WORKER, 0, 0, false},
	[PORT_DEPOSED - PORT_ROLE] = {"DEPOSED", PORT_WORKER, 0, 0, false},
	[PORT_VERIFY - PORT_ROLE] = {"VERIFY", PORT_WORKER, 8, 8, false},
	[PORT_COMPARED - PORT_ROLE] = {"COMPARED", PORT_SERVER, 40, 40, false},
};

/* What is passed on comes from the server on one host and from the worker on the other. */
static bool passed_on(unsigned int type)
{
	return type >= FRAME_DISK_HASH && type <= FRAME_DISK_VERIFIED;
}

static bool find(unsigned int type, struct rule *out)
{
	if (passed_on(type)) {
		const struct frame_rule *f = frame_rule(type);

		*out = (struct rule){f->name, PORT_WORKER | PORT_SERVER, f->min, f->max,
				     f->has_epoch};
		return true;
	}
	if (type < PORT_ROLE || type - PORT_ROLE >= ARRAY_SIZE(local))
		return false;
	*out = local[type - PORT_ROLE];
	return true;
}

const char *port_name(unsigned int type)
{
	struct rule r;

	return find(type, &r) ? r.name : "?";
}

/* ---- the header --------------------------------------------------------------- */

void port_header_encode(uint8_t buf[PORT_HEADER_SIZE], const struct port_header *h)
{
	struct wr w = wr_init(buf, PORT_HEADER_SIZE);
	struct rule r = {0};
	bool known = find(h->type, &r);

	assert(known && h->length >= r.min && h->length <= r.max);
	assert(r.has_epoch == (h->epoch != FRAME_NO_EPOCH));
	wr_u32(&w, MAGIC);
	wr_u16(&w, h->type);
	wr_u16(&w, VERSION);
	wr_u32(&w, h->length);
	wr_zero(&w, 4);
	wr_u64(&w, h->epoch);
	assert(wr_ok(&w));
}

int port_header_decode(const uint8_t buf[PORT_HEADER_SIZE], enum port_side from,
		       struct port_header *h, struct err *e)
{
	struct rd r = rd_init(buf, PORT_HEADER_SIZE);
	uint32_t magic = rd_u32(&r);
	unsigned int version;
	struct rule rule;

	h->type = rd_u16(&r);
	version = rd_u16(&r);
	h->length = rd_u32(&r);
	rd_zero(&r, 4);
	h->epoch = rd_u64(&r);
	if (magic != MAGIC || !rd_done(&r))
		return err_setx(e, -EPROTO, "disk port: this is no message of ours");
	if (version != VERSION)
		return err_setx(
			e, -EPROTO,
			"disk port: version %u, this program speaks %d; restart what is older",
			version, VERSION);
	if (!find(h->type, &rule) || !(rule.from & (unsigned int)from))
		return err_setx(e, -EPROTO, "disk port: no message of type %u from this side",
				h->type);
	if (h->length < rule.min || h->length > rule.max)
		return err_setx(e, -EMSGSIZE, "disk port: %s of %u bytes, not %u to %u", rule.name,
				h->length, rule.min, rule.max);
	if (rule.has_epoch != (h->epoch != FRAME_NO_EPOCH))
		return err_setx(e, -EPROTO, "disk port: %s %s an epoch", rule.name,
				rule.has_epoch ? "without" : "with");
	return 0;
}

struct frame port_frame(const struct port_header *h, const uint8_t *payload)
{
	return (struct frame){.h = {.version = FRAME_VERSION_MAX,
				    .type = h->type,
				    .length = h->length,
				    .epoch = h->epoch},
			      .payload = payload};
}

/* ---- payloads ------------------------------------------------------------------- */

static int bad(struct err *e, const struct frame *f, const char *field)
{
	return err_setx(e, -EBADMSG, "disk port: %s: bad %s", port_name(f->h.type), field);
}

static int done(struct err *e, const struct frame *f, const struct rd *r)
{
	return rd_done(r) ? 0 : bad(e, f, "length");
}

static struct rd reader(const struct frame *f)
{
	return rd_init(f->payload, f->h.length);
}

void port_role_encode(struct wr *w, const struct port_role *m)
{
	wr_u16(w, m->index);
	wr_u8(w, m->side);
	wr_u8(w, m->ack_mode);
	wr_zero(w, 4);
	wr_u64(w, m->session);
	wire_put_name__(w, m->vm);
}

int port_role_decode(const struct frame *f, struct port_role *m, struct err *e)
{
	struct rd r = reader(f);

	*m = (struct port_role){.index = rd_u16(&r), .side = rd_u8(&r), .ack_mode = rd_u8(&r)};
	rd_zero(&r, 4);
	m->session = rd_u64(&r);
	if (!wire_get_name__(&r, m->vm))
		return bad(e, f, "name of the VM");
	if (m->index >= WIRE_MAX_DISKS)
		return bad(e, f, "index");
	if (m->side != FRAME_PRIMARY && m->side != FRAME_BACKUP)
		return bad(e, f, "side");
	if (m->ack_mode < WIRE_ACK_MEMORY || m->ack_mode > WIRE_ACK_EPOCH)
		return bad(e, f, "acknowledgement mode");
	if (!m->session)
		return bad(e, f, "session");
	return done(e, f, &r);
}

#define LAST_STATE 6 /* FAILED */

void port_state_encode(struct wr *w, const struct port_state *m)
{
	wr_u8(w, m->state);
	wr_zero(w, 3);
	wr_u32(w, m->flags);
	wr_u32(w, m->block_size);
	wr_zero(w, 4);
	wr_u64(w, m->size);
	wr_bytes(w, m->uuid, sizeof(m->uuid));
	wire_put_generations__(w, &m->gen);
	wr_u64(w, m->dirty_bytes);
	wr_u64(w, m->applied);
	wr_u32(w, m->wants);
	wr_zero(w, 4);
	wire_put_name__(w, m->name);
	port_text_encode(w, m->why);
}

int port_state_decode(const struct frame *f, struct port_state *m, struct err *e)
{
	struct rd r = reader(f);

	*m = (struct port_state){.state = rd_u8(&r)};
	rd_zero(&r, 3);
	m->flags = rd_u32(&r);
	m->block_size = rd_u32(&r);
	rd_zero(&r, 4);
	m->size = rd_u64(&r);
	rd_bytes(&r, m->uuid, sizeof(m->uuid));
	wire_get_generations__(&r, &m->gen);
	m->dirty_bytes = rd_u64(&r);
	m->applied = rd_u64(&r);
	m->wants = rd_u32(&r);
	rd_zero(&r, 4);
	if (!m->state || m->state > LAST_STATE)
		return bad(e, f, "state");
	if (m->flags & ~(PORT_DIRT | PORT_DIRT_KNOWN | PORT_IN_USE))
		return bad(e, f, "flags");
	if (m->block_size != 512 && m->block_size != 4096)
		return bad(e, f, "block size");
	if (!m->size || m->size % m->block_size || m->size > WIRE_MAX_DISK_BYTES)
		return bad(e, f, "size");
	if (m->wants > WIRE_MAX_UNASKED)
		return bad(e, f, "number of unasked DISK_WANT");
	if (!wire_get_name__(&r, m->name))
		return bad(e, f, "name");
	if (!wire_get_text__(&r, rd_left(&r), m->why))
		return bad(e, f, "text");
	return done(e, f, &r);
}

void port_begin_encode(struct wr *w, const struct port_begin *m)
{
	wr_u8(w, m->plan);
	wr_u8(w, m->peer_state);
	wr_zero(w, 6);
	wire_put_generations__(w, &m->peer);
}

int port_begin_decode(const struct frame *f, struct port_begin *m, struct err *e)
{
	struct rd r = reader(f);

	*m = (struct port_begin){.plan = rd_u8(&r), .peer_state = rd_u8(&r)};
	rd_zero(&r, 6);
	wire_get_generations__(&r, &m->peer);
	if (m->plan > WIRE_PLAN_FULL)
		return bad(e, f, "plan");
	return done(e, f, &r);
}

void port_fill_encode(struct wr *w, uint32_t percent)
{
	wr_u32(w, percent);
}

int port_fill_decode(const struct frame *f, uint32_t *percent, struct err *e)
{
	struct rd r = reader(f);

	*percent = rd_u32(&r);
	return *percent > 100 ? bad(e, f, "percentage") : done(e, f, &r);
}

void port_held_encode(struct wr *w, uint32_t flags)
{
	wr_u32(w, flags);
}

int port_held_decode(const struct frame *f, uint32_t *flags, struct err *e)
{
	struct rd r = reader(f);

	*flags = rd_u32(&r);
	return *flags & ~PORT_HELD_WAITS ? bad(e, f, "flags") : done(e, f, &r);
}

void port_activate_encode(struct wr *w, uint64_t generation)
{
	wr_u64(w, generation);
}

int port_activate_decode(const struct frame *f, uint64_t *generation, struct err *e)
{
	struct rd r = reader(f);

	*generation = rd_u64(&r);
	return *generation ? done(e, f, &r) : bad(e, f, "generation");
}

void port_verify_encode(struct wr *w, uint64_t pass)
{
	wr_u64(w, pass);
}

int port_verify_decode(const struct frame *f, uint64_t *pass, struct err *e)
{
	struct rd r = reader(f);

	*pass = rd_u64(&r);
	return *pass ? done(e, f, &r) : bad(e, f, "number");
}

void port_compared_encode(struct wr *w, const struct port_compared *m)
{
	wr_u8(w, m->state);
	wr_zero(w, 7);
	wr_u64(w, m->pass);
	wr_u64(w, m->verified);
	wr_u64(w, m->differed);
	wr_u64(w, m->busy);
}

int port_compared_decode(const struct frame *f, struct port_compared *m, struct err *e)
{
	struct rd r = reader(f);

	*m = (struct port_compared){.state = rd_u8(&r)};
	rd_zero(&r, 7);
	m->pass = rd_u64(&r);
	m->verified = rd_u64(&r);
	m->differed = rd_u64(&r);
	m->busy = rd_u64(&r);
	if (m->state < PORT_COMPARING || m->state > PORT_COMPARED_NOT)
		return bad(e, f, "state");
	if (!m->pass)
		return bad(e, f, "number");
	if (m->differed > m->verified)
		return bad(e, f, "number of bytes that differ");
	return done(e, f, &r);
}

void port_text_encode(struct wr *w, const char *text)
{
	wire_put_text__(w, text, strnlen(text, WIRE_TEXT_MAX));
}

int port_text_decode(const struct frame *f, char text[WIRE_TEXT_MAX + 1], struct err *e)
{
	struct rd r = reader(f);

	if (!wire_get_text__(&r, rd_left(&r), text))
		return bad(e, f, "text");
	return done(e, f, &r);
}
