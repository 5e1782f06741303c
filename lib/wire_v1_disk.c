/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See wire_v1_disk.h. */
#include "lib/wire_v1_disk.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_impl.h"

static struct rd reader(const struct frame *f)
{
	return rd_init(f->payload, f->h.length);
}

/* [off, off + len) lies within the disk and on its sectors. */
static bool within(uint64_t off, uint64_t len, uint64_t size)
{
	return len && !(off % WIRE_DISK_SECTOR) && !(len % WIRE_DISK_SECTOR) && off < size &&
	       len <= size - off;
}

/* ---- DISKS, DISKS_OK ---------------------------------------------------------- */

void wire_put_generations__(struct wr *w, const struct wire_generations *g)
{
	wr_u64(w, g->current);
	wr_u64(w, g->bitmap);
	for (int i = 0; i < WIRE_DISK_HISTORY; i++)
		wr_u64(w, g->history[i]);
}

void wire_get_generations__(struct rd *r, struct wire_generations *g)
{
	g->current = rd_u64(r);
	g->bitmap = rd_u64(r);
	for (int i = 0; i < WIRE_DISK_HISTORY; i++)
		g->history[i] = rd_u64(r);
}

static const char *disk_fault(const struct wire_disks *m, unsigned int n)
{
	static const uint8_t no_uuid[WIRE_UUID_SIZE];
	const struct wire_disk *d = &m->disk[n];

	for (unsigned int i = 0; i < n; i++) {
		if (!strcmp(m->disk[i].name, d->name))
			return "a disk's name";
	}
	if (memcmp(d->uuid, no_uuid, sizeof(no_uuid)) == 0)
		return "a disk's uuid";
	if (d->block_size != 512 && d->block_size != 4096)
		return "a disk's block size";
	if (!d->size || d->size > WIRE_MAX_DISK_BYTES || d->size % d->block_size)
		return "a disk's size";
	if (d->flags & ~WIRE_DISK_BY_HASH)
		return "a disk's flags";
	return d->gen.current ? NULL : "a disk's generation";
}

static const char *disks_fault(const struct wire_disks *m)
{
	const char *fault = NULL;

	if (!m->n || m->n > WIRE_MAX_DISKS)
		return "number of disks";
	if (m->ack_mode < WIRE_ACK_MEMORY || m->ack_mode > WIRE_ACK_EPOCH)
		return "ack mode";
	for (unsigned int i = 0; i < m->n && !fault; i++)
		fault = disk_fault(m, i);
	return fault;
}

void wire_disks_encode(struct wr *w, const struct wire_disks *m)
{
	assert(!disks_fault(m));
	wr_u16(w, m->n);
	wr_u8(w, m->ack_mode);
	wr_zero(w, 5);
	for (unsigned int i = 0; i < m->n; i++) {
		const struct wire_disk *d = &m->disk[i];

		wire_put_name__(w, d->name);
		wr_bytes(w, d->uuid, sizeof(d->uuid));
		wr_u64(w, d->size);
		wr_u32(w, d->block_size);
		wr_u32(w, d->flags);
		wire_put_generations__(w, &d->gen);
	}
}

int wire_disks_decode(const struct frame *f, struct wire_disks *m, struct err *e)
{
	struct rd r = reader(f);
	const char *fault;

	memset(m, 0, sizeof(*m));
	m->n = rd_u16(&r);
	m->ack_mode = rd_u8(&r);
	rd_zero(&r, 5);
	for (unsigned int i = 0; i < m->n && i < WIRE_MAX_DISKS; i++) {
		struct wire_disk *d = &m->disk[i];

		if (!wire_get_name__(&r, d->name))
			return wire_bad__(e, f, "a disk's name");
		rd_bytes(&r, d->uuid, sizeof(d->uuid));
		d->size = rd_u64(&r);
		d->block_size = rd_u32(&r);
		d->flags = rd_u32(&r);
		wire_get_generations__(&r, &d->gen);
	}
	if (!rd_ok(&r))
		return wire_done__(e, f, &r);
	fault = disks_fault(m);
	return fault ? wire_bad__(e, f, fault) : wire_done__(e, f, &r);
}

static const char *disks_ok_fault(const struct wire_disks_ok *m)
{
	if (!m->n || m->n > WIRE_MAX_DISKS)
		return "number of disks";
	for (unsigned int i = 0; i < m->n; i++) {
		const struct wire_disk_ok *d = &m->disk[i];

		if (d->plan > WIRE_PLAN_FULL)
			return "plan";
		if (d->state > WIRE_DISK_CONSISTENT && d->state != WIRE_DISK_OUTDATED)
			return "state";
		if (d->wants > WIRE_MAX_UNASKED)
			return "number of DISK_WANT";
	}
	return NULL;
}

void wire_disks_ok_encode(struct wr *w, const struct wire_disks_ok *m)
{
	assert(!disks_ok_fault(m));
	wr_u16(w, m->n);
	wr_zero(w, 6);
	for (unsigned int i = 0; i < m->n; i++) {
		const struct wire_disk_ok *d = &m->disk[i];

		wr_u8(w, d->plan);
		wr_u8(w, d->state);
		wr_zero(w, 2);
		wr_u32(w, d->wants);
		wire_put_generations__(w, &d->gen);
		wr_u64(w, d->dirty_bytes);
	}
}

int wire_disks_ok_decode(const struct frame *f, struct wire_disks_ok *m, struct err *e)
{
	struct rd r = reader(f);
	const char *fault;

	memset(m, 0, sizeof(*m));
	m->n = rd_u16(&r);
	rd_zero(&r, 6);
	for (unsigned int i = 0; i < m->n && i < WIRE_MAX_DISKS; i++) {
		struct wire_disk_ok *d = &m->disk[i];

		d->plan = rd_u8(&r);
		d->state = rd_u8(&r);
		rd_zero(&r, 2);
		d->wants = rd_u32(&r);
		wire_get_generations__(&r, &d->gen);
		d->dirty_bytes = rd_u64(&r);
	}
	fault = disks_ok_fault(m);
	return fault ? wire_bad__(e, f, fault) : wire_done__(e, f, &r);
}

/* ---- DISK_HASH, DISK_WANT ---------------------------------------------------------- */

static bool chunk_ok(uint32_t chunk)
{
	return chunk >= WIRE_MIN_CHUNK && chunk <= WIRE_MAX_CHUNK && !(chunk & (chunk - 1));
}

/* The fields that can be wrong by themselves, for both directions. */
static const char *range_fault(const struct wire_disk_range *m, uint32_t max)
{
	if (m->disk >= WIRE_MAX_DISKS)
		return "disk";
	if (!chunk_ok(m->chunk))
		return "chunk";
	if (m->off % m->chunk || m->off >= WIRE_MAX_DISK_BYTES)
		return "offset";
	return m->count && m->count <= max ? NULL : "number of chunks";
}

static void put_range(struct wr *w, const struct wire_disk_range *m)
{
	wr_u16(w, m->disk);
	wr_zero(w, 2);
	wr_u32(w, m->chunk);
	wr_u64(w, m->off);
	wr_u32(w, m->count);
	wr_zero(w, 4);
}

/* NULL, or which field of it is wrong. */
static const char *get_range(struct rd *r, const struct wire_disks *disks, uint32_t max,
			     struct wire_disk_range *m)
{
	const char *fault;
	uint64_t size;

	m->disk = rd_u16(r);
	rd_zero(r, 2);
	m->chunk = rd_u32(r);
	m->off = rd_u64(r);
	m->count = rd_u32(r);
	rd_zero(r, 4);
	if (!rd_ok(r))
		return NULL;
	fault = range_fault(m, max);
	if (fault)
		return fault;
	if (m->disk >= disks->n)
		return "disk";
	size = disks->disk[m->disk].size;
	if (m->off >= size)
		return "offset";
	/* The last chunk begins within the disk. */
	return m->count - 1 <= (size - 1 - m->off) / m->chunk ? NULL : "number of chunks";
}

void wire_disk_hash_encode(struct wr *w, const struct wire_disk_range *m, const uint8_t *hashes)
{
	assert(!range_fault(m, WIRE_MAX_HASHES));
	put_range(w, m);
	wr_bytes(w, hashes, (size_t)m->count * WIRE_DISK_HASH_SIZE);
}

int wire_disk_hash_decode(const struct frame *f, const struct wire_disks *disks,
			  struct wire_disk_range *m, const uint8_t **hashes, struct err *e)
{
	struct rd r = reader(f);
	const char *fault = get_range(&r, disks, WIRE_MAX_HASHES, m);

	if (fault)
		return wire_bad__(e, f, fault);
	*hashes = rd_ptr(&r, rd_ok(&r) ? (size_t)m->count * WIRE_DISK_HASH_SIZE : 0);
	return wire_done__(e, f, &r);
}

static bool spare_bits_are_0(const uint8_t *bits, uint32_t count)
{
	return !(count % 8) || !(bits[count / 8] >> (count % 8));
}

void wire_disk_want_encode(struct wr *w, const struct wire_disk_range *m, const uint8_t *bits)
{
	assert(!range_fault(m, WIRE_MAX_WANTS) && spare_bits_are_0(bits, m->count));
	put_range(w, m);
	wr_bytes(w, bits, (m->count + 7) / 8);
}

int wire_disk_want_decode(const struct frame *f, const struct wire_disks *disks,
			  struct wire_disk_range *m, const uint8_t **bits, struct err *e)
{
	struct rd r = reader(f);
	const char *fault = get_range(&r, disks, WIRE_MAX_WANTS, m);

	if (fault)
		return wire_bad__(e, f, fault);
	*bits = rd_ptr(&r, rd_ok(&r) ? (m->count + 7) / 8 : 0);
	if (!rd_done(&r))
		return wire_done__(e, f, &r);
	return spare_bits_are_0(*bits, m->count) ? 0 : wire_bad__(e, f, "spare bits");
}

/* ---- DISK_DATA, DISK_END ---------------------------------------------------------- */

static bool has_data(const struct wire_disk_record *r)
{
	return r->op == WIRE_DISK_WRITE || r->op == WIRE_DISK_SYNC;
}

static const char *record_fault(const struct wire_disk_record *r, uint64_t size)
{
	uint32_t max = has_data(r) ? WIRE_MAX_RECORD_DATA : WIRE_MAX_RECORD_RANGE;

	if (r->op < WIRE_DISK_WRITE || r->op > WIRE_DISK_SYNC)
		return "op";
	if (r->flags && (r->flags != WIRE_RECORD_LZ4 || !has_data(r)))
		return "flags";
	if (r->op == WIRE_DISK_FLUSH)
		return r->len || r->off ? "range of FLUSH" : NULL;
	if (r->len > max)
		return "length";
	return within(r->off, r->len, size) ? NULL : "range";
}

void wire_disk_data_begin(struct wr *w, uint16_t disk)
{
	assert(!wr_used(w) && disk < WIRE_MAX_DISKS);
	wr_u16(w, disk);
	wr_zero(w, 6);
}

size_t wire_disk_record_size(const struct wire_disk_record *r)
{
	if (!has_data(r))
		return 16;
	return 16 + (size_t)r->stored + (r->flags & WIRE_RECORD_LZ4 ? 4 : 0);
}

void wire_disk_record_encode(struct wr *w, const struct wire_disk_record *r)
{
	assert(!record_fault(r, WIRE_MAX_DISK_BYTES));
	wr_u8(w, r->op);
	wr_u8(w, r->flags);
	wr_zero(w, 2);
	wr_u32(w, r->len);
	wr_u64(w, r->off);
	if (!has_data(r))
		return;
	if (r->flags & WIRE_RECORD_LZ4) {
		assert(r->stored && r->stored < r->len);
		wr_u32(w, r->stored);
	} else {
		assert(r->stored == r->len);
	}
	wr_bytes(w, r->data, r->stored);
}

void wire_disk_data_end(struct wr *w, uint32_t count)
{
	assert(count && count <= WIRE_MAX_RECORDS);
	wr_patch_u32(w, 4, count);
}

int wire_disk_data_decode(const struct frame *f, const struct wire_disks *disks, uint16_t *disk,
			  uint32_t *count, struct rd *records, struct err *e)
{
	struct rd r = reader(f);

	*disk = rd_u16(&r);
	rd_zero(&r, 2);
	*count = rd_u32(&r);
	if (*disk >= disks->n)
		return wire_bad__(e, f, "disk");
	/* Each record has 16 bytes at the least, so a count cannot make anybody work for nothing. */
	if (!*count || *count > WIRE_MAX_RECORDS || rd_left(&r) / 16 < *count)
		return wire_bad__(e, f, "count");
	*records = r;
	return 0;
}

int wire_disk_record_decode(struct rd *records, uint64_t size, struct wire_disk_record *r,
			    struct err *e)
{
	const char *fault;

	*r = (struct wire_disk_record){.op = rd_u8(records)};
	r->flags = rd_u8(records);
	rd_zero(records, 2);
	r->len = rd_u32(records);
	r->off = rd_u64(records);
	fault = rd_ok(records) ? record_fault(r, size) : "length";
	if (!fault && has_data(r)) {
		r->stored = r->flags & WIRE_RECORD_LZ4 ? rd_u32(records) : r->len;
		if (r->flags & WIRE_RECORD_LZ4 && (!r->stored || r->stored >= r->len))
			fault = "stored size";
		else
			r->data = rd_ptr(records, r->stored);
	}
	if (!fault && rd_ok(records))
		return 0;
	return err_setx(e, -EBADMSG, "DISK_DATA from the peer: %s of a record is out of range",
			fault ? fault : "data");
}

void wire_disk_end_encode(struct wr *w, const struct wire_disk_end *m)
{
	assert(m->disk < WIRE_MAX_DISKS);
	wr_u16(w, m->disk);
	wr_zero(w, 6);
	wr_u64(w, m->records);
	wr_u64(w, m->bytes);
	wr_u64(w, m->digest);
}

int wire_disk_end_decode(const struct frame *f, const struct wire_disks *disks,
			 struct wire_disk_end *m, struct err *e)
{
	struct rd r = reader(f);

	m->disk = rd_u16(&r);
	rd_zero(&r, 6);
	m->records = rd_u64(&r);
	m->bytes = rd_u64(&r);
	m->digest = rd_u64(&r);
	if (m->disk >= disks->n)
		return wire_bad__(e, f, "disk");
	return wire_done__(e, f, &r);
}

/* ---- DISK_PROGRESS, DISK_VERIFY, DISK_VERIFIED --------------------------------------- */

/* a came before b or is b; FRAME_NO_EPOCH comes before everything. */
static bool not_after(uint64_t a, uint64_t b)
{
	return a + 1 <= b + 1;
}

void wire_disk_progress_encode(struct wr *w, const struct wire_disk_progress *m)
{
	assert(m->disk < WIRE_MAX_DISKS && not_after(m->applied, m->durable));
	wr_u16(w, m->disk);
	wr_zero(w, 6);
	wr_u64(w, m->durable);
	wr_u64(w, m->applied);
	wr_u64(w, m->free_bytes);
}

int wire_disk_progress_decode(const struct frame *f, const struct wire_disks *disks,
			      struct wire_disk_progress *m, struct err *e)
{
	struct rd r = reader(f);

	m->disk = rd_u16(&r);
	rd_zero(&r, 6);
	m->durable = rd_u64(&r);
	m->applied = rd_u64(&r);
	m->free_bytes = rd_u64(&r);
	if (m->disk >= disks->n)
		return wire_bad__(e, f, "disk");
	if (!not_after(m->applied, m->durable))
		return wire_bad__(e, f, "applied epoch");
	return wire_done__(e, f, &r);
}

void wire_disk_verify_encode(struct wr *w, const struct wire_disk_verify *m)
{
	assert(m->disk < WIRE_MAX_DISKS && m->len <= WIRE_MAX_VERIFY &&
	       within(m->off, m->len, WIRE_MAX_DISK_BYTES));
	wr_u16(w, m->disk);
	wr_zero(w, 2);
	wr_u32(w, m->len);
	wr_u64(w, m->off);
	wr_bytes(w, m->hash, sizeof(m->hash));
}

int wire_disk_verify_decode(const struct frame *f, const struct wire_disks *disks,
			    struct wire_disk_verify *m, struct err *e)
{
	struct rd r = reader(f);

	m->disk = rd_u16(&r);
	rd_zero(&r, 2);
	m->len = rd_u32(&r);
	m->off = rd_u64(&r);
	rd_bytes(&r, m->hash, sizeof(m->hash));
	if (m->disk >= disks->n)
		return wire_bad__(e, f, "disk");
	if (m->len > WIRE_MAX_VERIFY || !within(m->off, m->len, disks->disk[m->disk].size))
		return wire_bad__(e, f, "range");
	return wire_done__(e, f, &r);
}

void wire_disk_verified_encode(struct wr *w, const struct wire_disk_verified *m)
{
	assert(m->disk < WIRE_MAX_DISKS && m->result <= WIRE_VERIFY_UNREADABLE &&
	       m->len <= WIRE_MAX_VERIFY && within(m->off, m->len, WIRE_MAX_DISK_BYTES));
	wr_u16(w, m->disk);
	wr_u16(w, m->result);
	wr_u32(w, m->len);
	wr_u64(w, m->off);
}

int wire_disk_verified_decode(const struct frame *f, const struct wire_disks *disks,
			      struct wire_disk_verified *m, struct err *e)
{
	struct rd r = reader(f);

	m->disk = rd_u16(&r);
	m->result = rd_u16(&r);
	m->len = rd_u32(&r);
	m->off = rd_u64(&r);
	if (m->disk >= disks->n)
		return wire_bad__(e, f, "disk");
	if (m->result > WIRE_VERIFY_UNREADABLE)
		return wire_bad__(e, f, "result");
	if (m->len > WIRE_MAX_VERIFY || !within(m->off, m->len, disks->disk[m->disk].size))
		return wire_bad__(e, f, "range");
	return wire_done__(e, f, &r);
}

/* ---- HANDOVER ----------------------------------------------------------------- */

void wire_handover_encode(struct wr *w, const struct wire_handover *m)
{
	size_t len = strnlen(m->text, WIRE_TEXT_MAX);

	assert(m->reason <= WIRE_HANDOVER_PLANNED);
	wr_u16(w, m->reason);
	wr_u16(w, (uint16_t)len);
	wr_zero(w, 4);
	wire_put_text__(w, m->text, len);
}

int wire_handover_decode(const struct frame *f, struct wire_handover *m, struct err *e)
{
	struct rd r = reader(f);
	uint16_t len;

	m->reason = rd_u16(&r);
	len = rd_u16(&r);
	rd_zero(&r, 4);
	if (!wire_get_text__(&r, len, m->text))
		return wire_bad__(e, f, "text");
	if (m->reason > WIRE_HANDOVER_PLANNED)
		return wire_bad__(e, f, "reason");
	return wire_done__(e, f, &r);
}
