/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See coalesce.h. A sweep over the places: one heap gives the next start, another the youngest of those under way. */
#include "disk/coalesce.h"

#include "disk/journal_mutant.h"
#include "lib/compiler.h"

/* The least key is on top. */
struct heap {
	struct heap_node *node;
	size_t n;
};

static void swap(struct heap_node *a, struct heap_node *b)
{
	struct heap_node t = *a;

	*a = *b;
	*b = t;
}

static void push(struct heap *h, uint64_t key, uint32_t idx)
{
	size_t i = h->n++;

	h->node[i] = (struct heap_node){.key = key, .idx = idx};
	while (i && h->node[(i - 1) / 2].key > h->node[i].key) {
		swap(&h->node[(i - 1) / 2], &h->node[i]);
		i = (i - 1) / 2;
	}
}

static struct heap_node pop(struct heap *h)
{
	struct heap_node top = h->node[0];
	size_t i = 0;

	h->node[0] = h->node[--h->n];
	for (;;) {
		size_t least = i;

		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < h->n; k++) {
			if (h->node[k].key < h->node[least].key)
				least = k;
		}
		if (least == i)
			return top;
		swap(&h->node[i], &h->node[least]);
		i = least;
	}
}

static size_t emit(struct piece *out, size_t n, uint64_t off, uint64_t end, uint32_t src)
{
	if (n && out[n - 1].src == src && out[n - 1].off + out[n - 1].len == off) {
		out[n - 1].len += end - off;
		return n;
	}
	out[n] = (struct piece){.off = off, .len = end - off, .src = src};
	return n + 1;
}

/* The youngest has the least key. */
static uint64_t age(uint32_t idx)
{
	return JOURNAL_MUTANT(JM_FIRST_WRITER) ? idx : ~(uint64_t)idx;
}

size_t coalesce(const struct extent *in, uint32_t n, struct heap_node *scratch, struct piece *out)
{
	struct heap starts = {.node = scratch};
	struct heap live = {.node = n ? scratch + n : scratch};
	uint64_t x = 0;
	size_t n_out = 0;

	for (uint32_t i = 0; i < n; i++)
		push(&starts, in[i].off, i);
	while (starts.n || live.n) {
		uint64_t next;

		if (!live.n)
			x = starts.node[0].key;
		while (starts.n && starts.node[0].key <= x) {
			uint32_t idx = pop(&starts).idx;

			push(&live, age(idx), idx);
		}
		while (live.n && in[live.node[0].idx].end <= x)
			(void)pop(&live);
		if (!live.n)
			continue;
		next = in[live.node[0].idx].end;
		if (starts.n)
			next = MIN(next, starts.node[0].key);
		n_out = emit(out, n_out, x, next, live.node[0].idx);
		x = next;
	}
	assert(n_out <= 2 * (size_t)n);
	return n_out;
}
