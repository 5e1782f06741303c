/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suspends and resumes a guest by a path of the caller's choice, with the clock at hand: what
 * romulus-suspend-bench is made of. One thread. Includes no header of Xen, so that the main may use it.
 */
#ifndef REPLICATOR_XEN_BENCH_H
#define REPLICATOR_XEN_BENCH_H

#include "lib/bench.h"
#include "lib/compiler.h"

struct err;
struct guest;
struct xen_bench;

/* g: of xen_guest_open() with suspend_only, nobody else's meanwhile, and closed after the bench is freed. */
MUST_CHECK int xen_bench_new(struct guest *g, struct xen_bench **out, struct err *e);
/* The guest runs afterwards; if it cannot be made to, the log says so. NULL is a no-op. */
void xen_bench_free(struct xen_bench *b);

/*
 * One cycle. After 0 the guest runs and *out is what it took. -EOPNOTSUPP: the guest does not offer this path; it
 * runs. Other errors: only xen_bench_free() may follow.
 */
MUST_CHECK int xen_bench_cycle(struct xen_bench *b, enum bench_path path, struct bench_sample *out,
			       struct err *e);

#endif
