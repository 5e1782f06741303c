/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See drill_share.h. All words that both sides touch are sequentially consistent: an epoch is fed some twenty times a
 * second, and the order is all that there is to be right. The worker says "feeding" before it marks a page, so who
 * finds after a look that nothing is being fed has seen no mark of an epoch that is not there.
 */
#include "replicator/drill_share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/epoch.h"
#include "replicator/mutant.h"

#define MAGIC UINT64_C(0x316c6c6972646d72) /* "rmdrill1" */

struct shared {
	uint64_t magic;
	uint64_t size; /* of all of it */
	uint64_t mem_pages;
	_Atomic uint64_t feeding;
	_Atomic uint64_t settled;
	_Atomic uint64_t state_epoch;
	atomic_bool ended;
	struct wire_static statics;
	struct drill_state state;
	_Atomic uint64_t dirty[];
};

struct drill_share {
	struct shared *m;
	size_t size;
};

static size_t size_for(uint64_t mem_pages)
{
	return sizeof(struct shared) + drill_share_words(mem_pages) * sizeof(uint64_t);
}

static int map(struct drill_share **out, int fd, size_t size, struct err *e)
{
	struct drill_share *s = mem_zalloc(sizeof(*s));
	void *at;

	if (!s)
		return err_set(e, -ENOMEM, "memory shared with a drill");
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		int rc = -errno;

		mem_free(s);
		return err_set(e, rc, "map %zu bytes shared with a drill", size);
	}
	s->m = at;
	s->size = size;
	*out = s;
	return 0;
}

int drill_share_make(struct drill_share **out, uint64_t mem_pages, int *fd, struct err *e)
{
	autofd mem = -1;
	size_t size = size_for(mem_pages);
	int rc;

	if (!mem_pages || mem_pages > WIRE_MAX_MEM_PAGES)
		return err_setx(e, -EINVAL, "a guest of %llu pages", (unsigned long long)mem_pages);
	mem = memfd_create("drill", MFD_CLOEXEC);
	if (mem < 0)
		return err_set(e, -errno, "memory shared with a drill");
	/* All of it now: a page that is not to be had later would end the worker (SIGBUS), or make an epoch wait. */
	rc = -posix_fallocate(mem, 0, (off_t)size);
	if (rc < 0)
		return err_set(e, rc, "%zu bytes of memory shared with a drill", size);
	rc = map(out, mem, size, e);
	if (rc < 0)
		return rc;
	(*out)->m->size = size;
	(*out)->m->mem_pages = mem_pages;
	atomic_store(&(*out)->m->feeding, EPOCH_NONE);
	atomic_store(&(*out)->m->settled, EPOCH_NONE);
	atomic_store(&(*out)->m->state_epoch, EPOCH_NONE);
	(*out)->m->magic = MAGIC;
	*fd = take_fd(&mem);
	return 0;
}

int drill_share_open(struct drill_share **out, int fd, struct err *e)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "memory of the worker");
	if (st.st_size < (off_t)sizeof(struct shared))
		return err_setx(e, -EPROTO, "memory of the worker: %lld bytes",
				(long long)st.st_size);
	rc = map(out, fd, (size_t)st.st_size, e);
	if (rc < 0)
		return rc;
	if ((*out)->m->magic == MAGIC && (*out)->m->size == (*out)->size &&
	    size_for((*out)->m->mem_pages) == (*out)->size)
		return 0;
	drill_share_close(*out);
	*out = NULL;
	return err_setx(e, -EPROTO,
			"the worker is of another build than romulus-drill: it was installed anew "
			"since; begin a new session");
}

void drill_share_close(struct drill_share *s)
{
	if (!s)
		return;
	munmap(s->m, s->size);
	mem_free(s);
}

uint64_t drill_share_mem_pages(const struct drill_share *s)
{
	return s->m->mem_pages;
}

/* ---- the worker ---- */

void drill_share_begin(struct drill_share *s, const struct wire_static *m, uint64_t epoch)
{
	s->m->statics = *m;
	atomic_store(&s->m->feeding, epoch);
}

void drill_share_feeding(struct drill_share *s, uint64_t epoch, const uint64_t *pfn, uint32_t n)
{
	if (!MUTANT(MUTANT_DRILL_FED_UNSAID))
		atomic_store(&s->m->feeding, epoch);
	for (uint32_t i = 0; i < n; i++)
		if (pfn[i] < s->m->mem_pages)
			atomic_fetch_or(&s->m->dirty[pfn[i] / 64], UINT64_C(1) << (pfn[i] % 64));
}

struct drill_state *drill_share_state_of(struct drill_share *s, uint64_t epoch)
{
	atomic_store(&s->m->state_epoch, epoch);
	/* What the caller writes does not move before that. */
	atomic_thread_fence(memory_order_seq_cst);
	return &s->m->state;
}

void drill_share_settled(struct drill_share *s, uint64_t epoch)
{
	if (MUTANT(MUTANT_DRILL_FED_UNSAID))
		atomic_store(&s->m->feeding, epoch);
	atomic_store(&s->m->settled, epoch);
}

void drill_share_end(struct drill_share *s)
{
	atomic_store(&s->m->ended, true);
	if (!MUTANT(MUTANT_DRILL_WINDOW_STAYS))
		atomic_store(&s->m->feeding, EPOCH_NONE);
}

/* ---- the drill ---- */

const struct wire_static *drill_share_statics(const struct drill_share *s)
{
	return &s->m->statics;
}

bool drill_share_begun(const struct drill_share *s)
{
	return atomic_load(&s->m->settled) != EPOCH_NONE || MUTANT(MUTANT_DRILL_UNSETTLED);
}

bool drill_share_ended(const struct drill_share *s)
{
	return atomic_load(&s->m->ended);
}

uint64_t drill_share_window(const struct drill_share *s)
{
	uint64_t epoch = atomic_load(&s->m->feeding);

	return atomic_load(&s->m->settled) == epoch ? epoch : EPOCH_NONE;
}

bool drill_share_still(const struct drill_share *s, uint64_t epoch)
{
	/* What was copied was read before this is. */
	atomic_thread_fence(memory_order_seq_cst);
	return epoch != EPOCH_NONE && atomic_load(&s->m->feeding) == epoch;
}

void drill_share_take(struct drill_share *s, uint64_t *bitmap)
{
	size_t words = drill_share_words(s->m->mem_pages);

	for (size_t i = 0; i < words; i++)
		if (atomic_load_explicit(&s->m->dirty[i], memory_order_relaxed))
			bitmap[i] |= atomic_exchange(&s->m->dirty[i], 0);
	/* Nothing that was read before moves behind what is asked next. */
	atomic_thread_fence(memory_order_seq_cst);
}

const struct drill_state *drill_share_state(const struct drill_share *s, uint64_t epoch)
{
	if (MUTANT(MUTANT_DRILL_ANY_STATE_OF_CPU))
		return &s->m->state;
	return atomic_load(&s->m->state_epoch) == epoch ? &s->m->state : NULL;
}

void drill_state_copy(struct drill_state *to, const struct drill_state *from)
{
	to->tsc = from->tsc;
	to->n_params = MIN(from->n_params, (uint32_t)ARRAY_SIZE(to->param));
	memcpy(to->param, from->param, to->n_params * sizeof(to->param[0]));
	to->hvm_size = MIN(from->hvm_size, (uint32_t)sizeof(to->hvm));
	memcpy(to->hvm, from->hvm, to->hvm_size);
}
