/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See bench_order.h. */
#include "replicator/bench_order.h"

size_t bench_order(size_t n, size_t round, size_t place)
{
	size_t zigzag;

	if (n % 2 && round / n % 2)
		place = n - 1 - place;
	/* 0, 1, n-1, 2, n-2, ... has each difference once; each round is shifted by one. */
	zigzag = place % 2 ? (place + 1) / 2 : (n - place / 2) % n;
	return (zigzag + round) % n;
}
