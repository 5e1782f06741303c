/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only way to the allocator. Sizes are checked for overflow, and tests can
 * make allocations fail. Any thread may call; the steady state of a protected VM
 * and the heartbeat thread never do.
 */
#ifndef LIB_MEM_H
#define LIB_MEM_H

#include <stddef.h>

#include "lib/compiler.h"

/* Takes back what the functions below returned. NULL is fine. */
void mem_free(void *ptr);

/*
 * All of these return NULL when there is no memory (or the size overflows);
 * the caller owns the result and gives it back with mem_free(). A size of 0
 * gives a pointer that must not be read.
 */
ALLOCATES(mem_free) void *mem_alloc(size_t size);
ALLOCATES(mem_free) void *mem_zalloc(size_t size);
/* n elements of size bytes each, zeroed. */
ALLOCATES(mem_free) void *mem_array(size_t n, size_t size);
/* One object, zeroed, at an address that is a multiple of align: a power of 2, at least 8. */
ALLOCATES(mem_free) void *mem_aligned(size_t align, size_t size);
ALLOCATES(mem_free) char *mem_strdup(const char *text);
/* A copy of size bytes. */
ALLOCATES(mem_free) void *mem_dup(const void *data, size_t size);

/*
 * For tests: the next n allocations succeed and all later ones fail, in every
 * thread, until called again. MEM_NEVER ends it.
 */
#define MEM_NEVER (-1L)
void mem_fail_after(long n);

#endif
