/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scoped clean-up: a local that gives back what it holds when it goes out of
 * scope, and take_*() to hand it over instead.
 *
 *	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
 *	...
 *	*fd_out = take_fd(&fd);
 *
 * An auto variable is always initialised where it is declared: fd -1, pointer NULL.
 * All of them keep errno.
 */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "lib/compiler.h"
#include "lib/mem.h"

static inline void cleanup_fd__(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_mem__(void *ptr)
{
	mem_free(*(void **)ptr);
}

static inline pthread_mutex_t *cleanup_lock__(pthread_mutex_t *lock)
{
	int r = pthread_mutex_lock(lock);

	assert(r == 0);
	return lock;
}

static inline void cleanup_unlock__(pthread_mutex_t **lock)
{
	int r = pthread_mutex_unlock(*lock);

	assert(r == 0);
}

/* An int that is closed unless it is negative. */
#define autofd __attribute__((cleanup(cleanup_fd__))) int
/* Before a pointer type: goes to mem_free(). */
#define autofree __attribute__((cleanup(cleanup_mem__)))
/* autolock(&x->lock); holds the mutex to the end of the scope, one per scope. */
#define autolock(mutex)                                    \
	__attribute__((cleanup(cleanup_unlock__), unused)) \
	pthread_mutex_t *autolock__ = cleanup_lock__(mutex)

/* Returns *fd and leaves -1 there: the caller owns it now. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Returns *pp and leaves NULL there, with its type: the caller owns it now. */
#define take_ptr(pp)                                  \
	__extension__({                               \
		__typeof__(*(pp)) take_ptr__ = *(pp); \
		*(pp) = NULL;                         \
		take_ptr__;                           \
	})

#endif
