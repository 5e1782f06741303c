/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dirty_map.h. Chunks of words, each with its number of bits: most chunks are empty, or full. */
#include "disk/dirty_map.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/mem.h"

/* 4 GiB of disk, 128 KiB of memory. */
#define CHUNK_BITS (UINT64_C(1) << 20)
#define CHUNK_WORDS (CHUNK_BITS / 64)

struct dirty_map {
	uint64_t disk_bytes;
	uint64_t blocks;
	uint64_t count;
	size_t n_chunks;
	uint64_t **chunks;
	uint32_t *chunk_count;
};

int dirty_map_new(struct dirty_map **out, uint64_t disk_bytes, struct err *e)
{
	struct dirty_map *m;

	if (disk_bytes == 0 || disk_bytes > DIRTY_DISK_MAX)
		return err_setx(e, -EINVAL, "no bitmap for a disk of %llu bytes; %llu is the most",
				(unsigned long long)disk_bytes, (unsigned long long)DIRTY_DISK_MAX);
	m = mem_zalloc(sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "bitmap of a disk");
	m->disk_bytes = disk_bytes;
	m->blocks = (disk_bytes + DIRTY_BLOCK_SIZE - 1) / DIRTY_BLOCK_SIZE;
	m->n_chunks = (size_t)((m->blocks + CHUNK_BITS - 1) / CHUNK_BITS);
	m->chunks = mem_array(m->n_chunks, sizeof(*m->chunks));
	m->chunk_count = mem_array(m->n_chunks, sizeof(*m->chunk_count));
	for (size_t i = 0; m->chunks && m->chunk_count && i < m->n_chunks; i++) {
		m->chunks[i] = mem_array(CHUNK_WORDS, sizeof(uint64_t));
		if (!m->chunks[i])
			break;
	}
	if (!m->chunks || !m->chunk_count || !m->chunks[m->n_chunks - 1]) {
		dirty_map_free(m);
		return err_set(e, -ENOMEM, "bitmap of a disk of %llu MiB",
			       (unsigned long long)(disk_bytes >> 20));
	}
	*out = m;
	return 0;
}

void dirty_map_free(struct dirty_map *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->chunks && i < m->n_chunks; i++)
		mem_free(m->chunks[i]);
	mem_free(m->chunks);
	mem_free(m->chunk_count);
	mem_free(m);
}

uint64_t dirty_map_disk_bytes(const struct dirty_map *m)
{
	return m->disk_bytes;
}

uint64_t dirty_map_count(const struct dirty_map *m)
{
	return m->count;
}

uint64_t dirty_map_bytes(const struct dirty_map *m)
{
	return MIN(m->count * DIRTY_BLOCK_SIZE, m->disk_bytes);
}

/* ---- words -------------------------------------------------------------- */

/* The bits of a word from block `from` on and before `end`, both within or around the word at `base`. */
static uint64_t word_mask(uint64_t base, uint64_t from, uint64_t end)
{
	uint64_t mask = ~UINT64_C(0);

	if (from > base)
		mask &= ~UINT64_C(0) << (from - base);
	if (end < base + 64)
		mask &= ~(~UINT64_C(0) << (end - base));
	return mask;
}

static uint64_t *word_of(const struct dirty_map *m, uint64_t block)
{
	return &m->chunks[block / CHUNK_BITS][block % CHUNK_BITS / 64];
}

static void blocks_set(struct dirty_map *m, uint64_t from, uint64_t end)
{
	for (uint64_t base = from & ~UINT64_C(63); from < end && base < end; base += 64) {
		uint64_t *w = word_of(m, base);
		uint64_t add = word_mask(base, from, end) & ~*w;
		uint32_t n = (uint32_t)__builtin_popcountll(add);

		*w |= add;
		m->chunk_count[base / CHUNK_BITS] += n;
		m->count += n;
	}
}

static void blocks_clear(struct dirty_map *m, uint64_t from, uint64_t end)
{
	for (uint64_t base = from & ~UINT64_C(63); from < end && base < end; base += 64) {
		uint64_t *w = word_of(m, base);
		uint64_t drop = word_mask(base, from, end) & *w;
		uint32_t n = (uint32_t)__builtin_popcountll(drop);

		*w &= ~drop;
		m->chunk_count[base / CHUNK_BITS] -= n;
		m->count -= n;
	}
}

/* The first block from `from` on that is marked (or not), or end. */
static uint64_t block_find(const struct dirty_map *m, uint64_t from, uint64_t end, bool marked)
{
	while (from < end) {
		uint64_t chunk = from / CHUNK_BITS;
		uint64_t base = from & ~UINT64_C(63);
		uint64_t hit;

		/* Nothing to be found in this chunk. */
		if (m->chunk_count[chunk] == (marked ? 0 : CHUNK_BITS)) {
			from = (chunk + 1) * CHUNK_BITS;
			continue;
		}
		hit = (marked ? *word_of(m, base) : ~*word_of(m, base)) &
		      word_mask(base, from, end);
		if (hit)
			return base + (uint64_t)__builtin_ctzll(hit);
		from = base + 64;
	}
	return end;
}

/* ---- ranges ------------------------------------------------------------- */

/* Where the range ends, in bytes, within the disk. */
static uint64_t range_end(const struct dirty_map *m, uint64_t off, uint64_t len)
{
	return len > m->disk_bytes || off > m->disk_bytes - len ? m->disk_bytes : off + len;
}

/* The blocks that the range touches: *from until the result; none when it is not above. */
static uint64_t touched(const struct dirty_map *m, uint64_t off, uint64_t len, uint64_t *from)
{
	*from = off / DIRTY_BLOCK_SIZE;
	if (len == 0 || off >= m->disk_bytes)
		return *from;
	return (range_end(m, off, len) + DIRTY_BLOCK_SIZE - 1) / DIRTY_BLOCK_SIZE;
}

void dirty_map_set(struct dirty_map *m, uint64_t off, uint64_t len)
{
	uint64_t from;
	uint64_t end = touched(m, off, len, &from);

	blocks_set(m, from, end);
}

void dirty_map_clear(struct dirty_map *m, uint64_t off, uint64_t len)
{
	uint64_t end = range_end(m, off, len);
	uint64_t from = off / DIRTY_BLOCK_SIZE + (off % DIRTY_BLOCK_SIZE != 0);

	if (len == 0 || off >= m->disk_bytes)
		return;
	end = end == m->disk_bytes ? m->blocks : end / DIRTY_BLOCK_SIZE;
	blocks_clear(m, from, end);
}

void dirty_map_set_all(struct dirty_map *m)
{
	blocks_set(m, 0, m->blocks);
}

void dirty_map_clear_all(struct dirty_map *m)
{
	blocks_clear(m, 0, m->blocks);
}

bool dirty_map_any(const struct dirty_map *m, uint64_t off, uint64_t len)
{
	uint64_t from;
	uint64_t end = touched(m, off, len, &from);

	return block_find(m, from, end, true) < end;
}

bool dirty_map_all(const struct dirty_map *m, uint64_t off, uint64_t len)
{
	uint64_t from;
	uint64_t end = touched(m, off, len, &from);

	return block_find(m, from, end, false) >= end;
}

uint64_t dirty_map_same(const struct dirty_map *m, uint64_t off, uint64_t len, bool *marked)
{
	uint64_t from;
	uint64_t end = touched(m, off, len, &from);
	uint64_t stop;

	*marked = from < end && block_find(m, from, from + 1, true) == from;
	stop = block_find(m, from, end, !*marked);
	return stop >= end ? len : stop * DIRTY_BLOCK_SIZE - off;
}

bool dirty_map_next_run(const struct dirty_map *m, uint64_t from, uint64_t end, uint64_t max_bytes,
			uint64_t *off, uint64_t *len)
{
	uint64_t last = MIN(end / DIRTY_BLOCK_SIZE + (end % DIRTY_BLOCK_SIZE != 0), m->blocks);
	uint64_t most = MAX(max_bytes / DIRTY_BLOCK_SIZE, UINT64_C(1));
	uint64_t first = block_find(m, from / DIRTY_BLOCK_SIZE, last, true);
	uint64_t stop;

	if (first >= last)
		return false;
	stop = block_find(m, first, MIN(last, first + most), false);
	*off = first * DIRTY_BLOCK_SIZE;
	*len = MIN(stop * DIRTY_BLOCK_SIZE, m->disk_bytes) - *off;
	return true;
}

/* ---- two maps ----------------------------------------------------------- */

int dirty_map_or(struct dirty_map *to, const struct dirty_map *from)
{
	if (to->disk_bytes != from->disk_bytes)
		return -EINVAL;
	for (size_t c = 0; c < from->n_chunks; c++) {
		uint32_t n = 0;

		if (from->chunk_count[c] == 0)
			continue;
		for (size_t i = 0; i < CHUNK_WORDS; i++) {
			to->chunks[c][i] |= from->chunks[c][i];
			n += (uint32_t)__builtin_popcountll(to->chunks[c][i]);
		}
		to->count += n - to->chunk_count[c];
		to->chunk_count[c] = n;
	}
	return 0;
}

bool dirty_map_equal(const struct dirty_map *a, const struct dirty_map *b)
{
	return a->count == b->count && dirty_map_covers(a, b);
}

bool dirty_map_covers(const struct dirty_map *a, const struct dirty_map *b)
{
	if (a->disk_bytes != b->disk_bytes)
		return false;
	for (size_t c = 0; c < b->n_chunks; c++) {
		if (b->chunk_count[c] > a->chunk_count[c])
			return false;
		for (size_t i = 0; b->chunk_count[c] && i < CHUNK_WORDS; i++)
			if (b->chunks[c][i] & ~a->chunks[c][i])
				return false;
	}
	return true;
}

/* ---- pieces for the wire ------------------------------------------------ */

void dirty_map_get_bits(const struct dirty_map *m, uint64_t first, uint8_t *bits, size_t size)
{
	assert(first % 8 == 0);
	for (size_t j = 0; j < size; j++) {
		uint64_t block = first + 8 * (uint64_t)j;

		bits[j] = block < m->blocks ? (uint8_t)(*word_of(m, block) >> block % 64) : 0;
	}
}

int dirty_map_or_bits(struct dirty_map *m, uint64_t first, const uint8_t *bits, size_t size)
{
	int rc = 0;

	assert(first % 8 == 0);
	for (size_t j = 0; j < size; j++) {
		for (unsigned int v = bits[j]; v; v &= v - 1) {
			uint64_t block = first + 8 * (uint64_t)j + (uint64_t)__builtin_ctz(v);

			if (block < m->blocks)
				blocks_set(m, block, block + 1);
			else
				rc = -EBADMSG;
		}
	}
	return rc;
}
