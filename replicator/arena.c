/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See arena.h. */
#include "replicator/arena.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "lib/err.h"

/* One mapping: the slots, then their frame numbers. */
static int arena_bytes(uint32_t pages, size_t *bytes)
{
	if (!pages ||
	    __builtin_mul_overflow((size_t)pages, ARENA_PAGE_SIZE + sizeof(uint64_t), bytes))
		return -EINVAL;
	return 0;
}

int arena_init(struct arena *a, uint32_t pages, bool lock, struct err *e)
{
	struct sysinfo info;
	size_t bytes;
	void *mem;
	int rc;

	*a = ARENA_INIT;
	if (arena_bytes(pages, &bytes) < 0)
		return err_setx(e, -EINVAL, "an arena cannot have %u pages", pages);
	/* Touching more than there is would not fail but get somebody killed. */
	if (sysinfo(&info) == 0 && bytes / info.mem_unit > info.totalram)
		return err_set(e, -ENOMEM, "arena of %zu MiB", bytes >> 20);
	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		   -1, 0);
	if (mem == MAP_FAILED)
		return err_set(e, -errno, "arena of %zu MiB", bytes >> 20);
	/* Guest memory has no place in a core dump, and a child has no use for it. */
	(void)madvise(mem, bytes, MADV_DONTDUMP);
	(void)madvise(mem, bytes, MADV_DONTFORK);
	if (lock && mlock(mem, bytes) < 0) {
		rc = err_set(e, -errno, "keep an arena of %zu MiB in memory", bytes >> 20);
		munmap(mem, bytes);
		return rc;
	}
	a->mem = mem;
	a->pfn = (void *)(a->mem + (size_t)pages * ARENA_PAGE_SIZE);
	a->pages = pages;
	return 0;
}

void arena_fini(struct arena *a)
{
	size_t bytes;

	if (a->mem && arena_bytes(a->pages, &bytes) == 0)
		munmap(a->mem, bytes);
	*a = ARENA_INIT;
}
