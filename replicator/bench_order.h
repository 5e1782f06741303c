/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In which order the paths of a comparison take turns. Pure. */
#ifndef REPLICATOR_BENCH_ORDER_H
#define REPLICATOR_BENCH_ORDER_H

#include <stddef.h>

/*
 * Which of n things is the place-th of a round; n at least 1, place less than n. Each comes once in each round. Over
 * 2 * n rounds each comes as often at each place, and as often right after each of the others: a guest that
 * has not yet got over one path burdens all the others alike. (Williams' squares; for an odd n every second one is
 * read backwards.)
 */
size_t bench_order(size_t n, size_t round, size_t place);

#endif
