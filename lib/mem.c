/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only file that calls malloc; see mem.h. */
#include "lib/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Allocations left before the injected failure; negative: no injection. */
static atomic_long left = MEM_NEVER;

void mem_fail_after(long n)
{
	atomic_store(&left, n);
}

static bool must_fail(void)
{
	long n = atomic_load_explicit(&left, memory_order_relaxed);

	while (n > 0) {
		if (atomic_compare_exchange_weak(&left, &n, n - 1))
			return false;
	}
	return n == 0;
}

void mem_free(void *ptr)
{
	free(ptr);
}

void *mem_alloc(size_t size)
{
	return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_zalloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_array(size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total) || must_fail())
		return NULL;
	return calloc(1, total ? total : 1);
}

void *mem_aligned(size_t align, size_t size)
{
	void *ptr = NULL;

	if (must_fail() || posix_memalign(&ptr, align, size ? size : 1) != 0)
		return NULL;
	return memset(ptr, 0, size);
}

char *mem_strdup(const char *text)
{
	return mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *data, size_t size)
{
	void *copy = mem_alloc(size);

	if (copy && size)
		memcpy(copy, data, size);
	return copy;
}
