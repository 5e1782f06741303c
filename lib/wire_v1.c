/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See wire_v1.h. */
#include "lib/wire_v1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_impl.h"

#define TERM_NONE 0

/* ---- parts that several messages have ---------------------------------- */

int wire_bad__(struct err *e, const struct frame *f, const char *field)
{
	char buf[16];

	return err_setx(e, -EBADMSG, "%s from the peer: %s is out of range",
			frame_name(f->h.type, buf, sizeof(buf)), field);
}

int wire_done__(struct err *e, const struct frame *f, const struct rd *r)
{
	char buf[16];

	if (rd_done(r))
		return 0;
	return err_setx(e, -EBADMSG, "%s from the peer: wrong length or reserved bytes in use",
			frame_name(f->h.type, buf, sizeof(buf)));
}

static struct rd reader(const struct frame *f)
{
	return rd_init(f->payload, f->h.length);
}

void wire_put_name__(struct wr *w, const char *name)
{
	size_t len = strnlen(name, NAME_SIZE);

	assert(name_ok(name));
	wr_bytes(w, name, len);
	wr_zero(w, NAME_SIZE - len);
}

bool wire_get_name__(struct rd *r, char name[NAME_SIZE])
{
	bool ok = true;
	size_t len;

	rd_bytes(r, name, NAME_SIZE);
	len = strnlen(name, NAME_SIZE);
	for (size_t i = len; i < NAME_SIZE; i++)
		ok = ok && !name[i];
	ok = ok && len < NAME_SIZE && name_ok(name);
	name[ok ? len : 0] = 0;
	return ok || !rd_ok(r);
}

static bool is_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f)
			return false;
	}
	return true;
}

void wire_put_text__(struct wr *w, const char *text, size_t len)
{
	uint8_t *p = wr_ptr(w, len);

	for (size_t i = 0; p && i < len; i++)
		p[i] = is_text(text + i, 1) ? (uint8_t)text[i] : ' ';
}

bool wire_get_text__(struct rd *r, size_t len, char text[WIRE_TEXT_MAX + 1])
{
	text[0] = 0;
	if (!rd_ok(r))
		return true;
	if (len > WIRE_TEXT_MAX || len != rd_left(r))
		return false;
	rd_bytes(r, text, len);
	text[len] = 0;
	return is_text(text, len);
}

static bool term_ok(uint64_t term)
{
	return term != TERM_NONE && term != UINT64_MAX;
}

/* ---- HELLO, HELLO_OK, REFUSE --------------------------------------------- */

static const char *hello_fault(const struct wire_hello *m)
{
	static const uint8_t no_uuid[WIRE_UUID_SIZE];

	if (!m->version_min || m->version_max < m->version_min)
		return "version";
	if (m->flags & ~(WIRE_HELLO_ADOPT | WIRE_HELLO_ALONE))
		return "flags";
	if (memcmp(m->uuid, no_uuid, sizeof(no_uuid)) == 0)
		return "uuid";
	if (!term_ok(m->term))
		return "term";
	if (!m->mem_pages || m->mem_pages > WIRE_MAX_MEM_PAGES)
		return "mem_pages";
	if (!m->ram_pages || m->ram_pages > m->mem_pages)
		return "ram_pages";
	if (!m->arena_pages || m->arena_pages > WIRE_MAX_ARENA_PAGES)
		return "arena_pages";
	if (!m->cache_slots || m->cache_slots > WIRE_MAX_CACHE_SLOTS)
		return "cache_slots";
	if (!m->heartbeat_period_ms || m->heartbeat_period_ms > WIRE_MAX_HEARTBEAT_MS)
		return "heartbeat period";
	if (m->failure_timeout_ms <= m->heartbeat_period_ms ||
	    m->failure_timeout_ms > WIRE_MAX_FAILURE_MS)
		return "failure timeout";
	if (m->epoch_period_us < WIRE_MIN_EPOCH_US || m->epoch_period_us > WIRE_MAX_EPOCH_US)
		return "epoch period";
	if (!m->vcpus || m->vcpus > WIRE_MAX_VCPUS)
		return "vCPUs";
	if (m->policy < WIRE_POLICY_HOLD || m->policy > WIRE_POLICY_ARBITER)
		return "policy";
	if (m->arbiter > WIRE_MAX_ARBITER ||
	    (m->arbiter != 0) != (m->policy == WIRE_POLICY_ARBITER) ||
	    (m->arbiter_id && !m->arbiter))
		return "arbiter";
	return NULL;
}

void wire_hello_encode(struct wr *w, const struct wire_hello *m)
{
	assert(!hello_fault(m));
	wr_u16(w, m->version_min);
	wr_u16(w, m->version_max);
	wr_u32(w, m->flags);
	wr_bytes(w, m->uuid, sizeof(m->uuid));
	wr_u64(w, m->term);
	wr_u64(w, m->mem_pages);
	wr_u64(w, m->ram_pages);
	wr_u32(w, m->arena_pages);
	wr_u32(w, m->cache_slots);
	wr_u32(w, m->heartbeat_period_ms);
	wr_u32(w, m->failure_timeout_ms);
	wr_u32(w, m->epoch_period_us);
	wr_u32(w, m->vcpus);
	wr_u8(w, m->policy);
	wr_u8(w, m->arbiter);
	wr_zero(w, 2);
	wr_u32(w, m->arbiter_id);
	wire_put_name__(w, m->vm);
	wire_put_name__(w, m->host);
}

int wire_hello_decode(const struct frame *f, struct wire_hello *m, struct err *e)
{
	struct rd r = reader(f);
	const char *fault;

	memset(m, 0, sizeof(*m));
	m->version_min = rd_u16(&r);
	m->version_max = rd_u16(&r);
	m->flags = rd_u32(&r);
	rd_bytes(&r, m->uuid, sizeof(m->uuid));
	m->term = rd_u64(&r);
	m->mem_pages = rd_u64(&r);
	m->ram_pages = rd_u64(&r);
	m->arena_pages = rd_u32(&r);
	m->cache_slots = rd_u32(&r);
	m->heartbeat_period_ms = rd_u32(&r);
	m->failure_timeout_ms = rd_u32(&r);
	m->epoch_period_us = rd_u32(&r);
	m->vcpus = rd_u32(&r);
	m->policy = rd_u8(&r);
	m->arbiter = rd_u8(&r);
	rd_zero(&r, 2);
	m->arbiter_id = rd_u32(&r);
	if (!wire_get_name__(&r, m->vm))
		return wire_bad__(e, f, "the VM's name");
	if (!wire_get_name__(&r, m->host))
		return wire_bad__(e, f, "the host's name");
	fault = hello_fault(m);
	if (fault)
		return wire_bad__(e, f, fault);
	return wire_done__(e, f, &r);
}

int wire_hello_version(const struct frame *f, uint16_t *version, struct err *e)
{
	struct rd r = reader(f);
	uint16_t peer_min = rd_u16(&r);
	uint16_t peer_max = rd_u16(&r);

	if (!rd_ok(&r) || !peer_min || peer_max < peer_min)
		return wire_bad__(e, f, "version");
	if (peer_min > FRAME_VERSION_MAX || peer_max < FRAME_VERSION_MIN)
		return err_setx(e, -EPROTO,
				"no common protocol version: the peer speaks %u to %u, we %d to %d",
				peer_min, peer_max, FRAME_VERSION_MIN, FRAME_VERSION_MAX);
	*version = MIN(peer_max, (uint16_t)FRAME_VERSION_MAX);
	return 0;
}

void wire_hello_ok_encode(struct wr *w, const struct wire_hello_ok *m)
{
	assert(m->version && m->heartbeat_port && m->term != UINT64_MAX);
	wr_u16(w, m->version);
	wr_u16(w, m->heartbeat_port);
	wr_zero(w, 4);
	wr_u64(w, m->term);
	wire_put_name__(w, m->host);
}

int wire_hello_ok_decode(const struct frame *f, struct wire_hello_ok *m, struct err *e)
{
	struct rd r = reader(f);

	memset(m, 0, sizeof(*m));
	m->version = rd_u16(&r);
	m->heartbeat_port = rd_u16(&r);
	rd_zero(&r, 4);
	m->term = rd_u64(&r);
	if (!wire_get_name__(&r, m->host))
		return wire_bad__(e, f, "the host's name");
	if (m->version < FRAME_VERSION_MIN || m->version > FRAME_VERSION_MAX)
		return wire_bad__(e, f, "version");
	if (!m->heartbeat_port)
		return wire_bad__(e, f, "the heartbeat port");
	if (m->term == UINT64_MAX)
		return wire_bad__(e, f, "term");
	return wire_done__(e, f, &r);
}

const char *wire_refusal_name(unsigned int code)
{
	static const char *const names[] = {
		[WIRE_BAD_VERSION] = "BAD_VERSION",
		[WIRE_BAD_CONFIG] = "BAD_CONFIG",
		[WIRE_NO_MEMORY] = "NO_MEMORY",
		[WIRE_ACTIVATED] = "ACTIVATED",
		[WIRE_BUSY] = "BUSY",
		[WIRE_NOT_ALLOWED] = "NOT_ALLOWED",
		[WIRE_INTERNAL] = "INTERNAL",
	};

	return code < ARRAY_SIZE(names) && names[code] ? names[code] : "?";
}

void wire_refuse_encode(struct wr *w, const struct wire_refuse *m)
{
	size_t len = strnlen(m->text, WIRE_TEXT_MAX);

	assert(m->code >= WIRE_BAD_VERSION && m->code <= WIRE_INTERNAL && m->term != UINT64_MAX);
	wr_u16(w, m->code);
	wr_u16(w, (uint16_t)len);
	wr_zero(w, 4);
	wr_u64(w, m->term);
	wire_put_text__(w, m->text, len);
}

int wire_refuse_decode(const struct frame *f, struct wire_refuse *m, struct err *e)
{
	struct rd r = reader(f);
	uint16_t len;

	m->code = rd_u16(&r);
	len = rd_u16(&r);
	rd_zero(&r, 4);
	m->term = rd_u64(&r);
	if (!wire_get_text__(&r, len, m->text))
		return wire_bad__(e, f, "text");
	if (m->code < WIRE_BAD_VERSION || m->code > WIRE_INTERNAL)
		return wire_bad__(e, f, "code");
	if (m->term == UINT64_MAX)
		return wire_bad__(e, f, "term");
	return wire_done__(e, f, &r);
}

/* ---- CONFIG, STATIC ---------------------------------------------------- */

void wire_config_encode(struct wr *w, const char *json, size_t size)
{
	assert(size >= 2 && size <= WIRE_CONFIG_MAX && !memchr(json, 0, size));
	wr_bytes(w, json, size);
}

int wire_config_decode(const struct frame *f, const char **json, size_t *size, struct err *e)
{
	if (f->h.length < 2 || f->h.length > WIRE_CONFIG_MAX || memchr(f->payload, 0, f->h.length))
		return wire_bad__(e, f, "text");
	*json = (const char *)f->payload;
	*size = f->h.length;
	return 0;
}

void wire_static_encode(struct wr *w, const struct wire_static *m)
{
	assert(m->n_leaves && m->n_leaves <= WIRE_MAX_LEAVES && m->n_msrs <= WIRE_MAX_MSRS);
	wr_u32(w, m->n_leaves);
	wr_u32(w, m->n_msrs);
	for (uint32_t i = 0; i < m->n_leaves; i++) {
		wr_u32(w, m->leaf[i].leaf);
		wr_u32(w, m->leaf[i].subleaf);
		wr_u32(w, m->leaf[i].a);
		wr_u32(w, m->leaf[i].b);
		wr_u32(w, m->leaf[i].c);
		wr_u32(w, m->leaf[i].d);
	}
	for (uint32_t i = 0; i < m->n_msrs; i++) {
		wr_u32(w, m->msr[i].index);
		wr_u32(w, m->msr[i].flags);
		wr_u64(w, m->msr[i].value);
	}
}

int wire_static_decode(const struct frame *f, struct wire_static *m, struct err *e)
{
	struct rd r = reader(f);

	m->n_leaves = rd_u32(&r);
	m->n_msrs = rd_u32(&r);
	if (!m->n_leaves || m->n_leaves > WIRE_MAX_LEAVES)
		return wire_bad__(e, f, "number of leaves");
	if (m->n_msrs > WIRE_MAX_MSRS)
		return wire_bad__(e, f, "number of MSRs");
	for (uint32_t i = 0; i < m->n_leaves; i++) {
		m->leaf[i].leaf = rd_u32(&r);
		m->leaf[i].subleaf = rd_u32(&r);
		m->leaf[i].a = rd_u32(&r);
		m->leaf[i].b = rd_u32(&r);
		m->leaf[i].c = rd_u32(&r);
		m->leaf[i].d = rd_u32(&r);
	}
	for (uint32_t i = 0; i < m->n_msrs; i++) {
		m->msr[i].index = rd_u32(&r);
		m->msr[i].flags = rd_u32(&r);
		m->msr[i].value = rd_u64(&r);
	}
	return wire_done__(e, f, &r);
}

/* ---- COPY_ROUND, PAGES, STATE, EPOCH_END ---------------------------------- */

void wire_copy_round_encode(struct wr *w, const struct wire_copy_round *m)
{
	assert(m->round);
	wr_u32(w, m->round);
	wr_zero(w, 4);
	wr_u64(w, m->pages);
	wr_u64(w, m->sent);
}

int wire_copy_round_decode(const struct frame *f, struct wire_copy_round *m, struct err *e)
{
	struct rd r = reader(f);

	m->round = rd_u32(&r);
	rd_zero(&r, 4);
	m->pages = rd_u64(&r);
	m->sent = rd_u64(&r);
	if (!m->round)
		return wire_bad__(e, f, "round");
	return wire_done__(e, f, &r);
}

void wire_pages_begin(struct wr *w)
{
	assert(!wr_used(w));
	wr_zero(w, 8);
}

void wire_pages_end(struct wr *w, uint32_t count)
{
	assert(count && count <= WIRE_MAX_PAGES);
	wr_patch_u32(w, 0, count);
}

int wire_pages_decode(const struct frame *f, uint32_t *count, struct rd *records, struct err *e)
{
	struct rd r = reader(f);

	*count = rd_u32(&r);
	rd_zero(&r, 4);
	/* Each record has 8 bytes at the least, so a count cannot make anybody work for nothing. */
	if (!*count || *count > WIRE_MAX_PAGES || rd_left(&r) / 8 < *count)
		return wire_bad__(e, f, "count");
	*records = r;
	return 0;
}

void wire_state_encode(struct wr *w, const struct wire_state *m)
{
	wr_u16(w, m->kind);
	wr_zero(w, 6);
	switch ((enum wire_state_kind)m->kind) {
	case WIRE_HVM_CONTEXT:
		assert(m->hvm.size && m->hvm.size <= WIRE_HVM_CONTEXT_MAX);
		wr_bytes(w, m->hvm.data, m->hvm.size);
		return;
	case WIRE_TSC_INFO:
		wr_u32(w, m->tsc.mode);
		wr_u32(w, m->tsc.khz);
		wr_u64(w, m->tsc.nsec);
		wr_u32(w, m->tsc.incarnation);
		wr_zero(w, 4);
		return;
	case WIRE_HVM_PARAMS:
		assert(m->n_params && m->n_params <= WIRE_MAX_PARAMS);
		wr_u32(w, m->n_params);
		wr_zero(w, 4);
		for (uint32_t i = 0; i < m->n_params; i++) {
			wr_u64(w, m->param[i].index);
			wr_u64(w, m->param[i].value);
		}
		return;
	}
	assert(!"a kind of STATE that does not exist");
}

static int get_params(const struct frame *f, struct rd *r, struct wire_state *m, struct err *e)
{
	m->n_params = rd_u32(r);
	rd_zero(r, 4);
	if (!m->n_params || m->n_params > WIRE_MAX_PARAMS)
		return wire_bad__(e, f, "number of parameters");
	for (uint32_t i = 0; i < m->n_params; i++) {
		m->param[i].index = rd_u64(r);
		m->param[i].value = rd_u64(r);
	}
	return 0;
}

int wire_state_decode(const struct frame *f, struct wire_state *m, struct err *e)
{
	struct rd r = reader(f);
	int rc = 0;

	memset(m, 0, sizeof(*m));
	m->kind = rd_u16(&r);
	rd_zero(&r, 6);
	if (!rd_ok(&r))
		return wire_done__(e, f, &r);
	switch (m->kind) {
	case WIRE_HVM_CONTEXT:
		m->hvm.size = rd_left(&r);
		m->hvm.data = rd_ptr(&r, m->hvm.size);
		if (!m->hvm.size || m->hvm.size > WIRE_HVM_CONTEXT_MAX)
			return wire_bad__(e, f, "size of the HVM context");
		break;
	case WIRE_TSC_INFO:
		m->tsc.mode = rd_u32(&r);
		m->tsc.khz = rd_u32(&r);
		m->tsc.nsec = rd_u64(&r);
		m->tsc.incarnation = rd_u32(&r);
		rd_zero(&r, 4);
		break;
	case WIRE_HVM_PARAMS:
		rc = get_params(f, &r, m, e);
		break;
	default:
		return wire_bad__(e, f, "kind");
	}
	return rc < 0 ? rc : wire_done__(e, f, &r);
}

void wire_epoch_end_encode(struct wr *w, const struct wire_epoch_end *m)
{
	wr_u64(w, m->pages);
	wr_u64(w, m->raw_bytes);
	wr_u64(w, m->wire_bytes);
	wr_u64(w, m->digest);
	wr_zero(w, 8);
}

int wire_epoch_end_decode(const struct frame *f, struct wire_epoch_end *m, struct err *e)
{
	struct rd r = reader(f);

	m->pages = rd_u64(&r);
	m->raw_bytes = rd_u64(&r);
	m->wire_bytes = rd_u64(&r);
	m->digest = rd_u64(&r);
	rd_zero(&r, 8);
	return wire_done__(e, f, &r);
}

/* ---- terms, BYE -------------------------------------------------------- */

void wire_term_encode(struct wr *w, uint64_t term)
{
	assert(term_ok(term));
	wr_u64(w, term);
}

int wire_term_decode(const struct frame *f, uint64_t *term, struct err *e)
{
	struct rd r = reader(f);

	*term = rd_u64(&r);
	if (!rd_ok(&r) || !term_ok(*term))
		return wire_bad__(e, f, "term");
	return wire_done__(e, f, &r);
}

void wire_bye_encode(struct wr *w, const struct wire_bye *m)
{
	size_t len = strnlen(m->text, WIRE_TEXT_MAX);

	assert(m->reason <= WIRE_BYE_GUEST_CHANGED);
	wr_u16(w, m->reason);
	wr_u16(w, (uint16_t)len);
	wr_zero(w, 4);
	wire_put_text__(w, m->text, len);
}

int wire_bye_decode(const struct frame *f, struct wire_bye *m, struct err *e)
{
	struct rd r = reader(f);
	uint16_t len;

	m->reason = rd_u16(&r);
	len = rd_u16(&r);
	rd_zero(&r, 4);
	if (!wire_get_text__(&r, len, m->text))
		return wire_bad__(e, f, "text");
	if (m->reason > WIRE_BYE_GUEST_CHANGED)
		return wire_bad__(e, f, "reason");
	return wire_done__(e, f, &r);
}
