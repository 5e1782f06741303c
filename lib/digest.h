/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XXH3, 64 bits: finds accidents, not malice (that is TLS's work). Allocates
 * nothing; any thread. The number goes out little-endian like all others.
 */
#ifndef LIB_DIGEST_H
#define LIB_DIGEST_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* Of size bytes in one piece. */
uint64_t digest_of(const void *data, size_t size);

/* The same, 128 bits, in its canonical (big-endian) form. */
#define DIGEST_LONG_SIZE 16
void digest_long_of(const void *data, size_t size, uint8_t out[DIGEST_LONG_SIZE]);

/* In pieces: init, update any number of times, final; gives what digest_of() gives. */
struct digest {
	alignas(64) unsigned char state[576];
};

void digest_init(struct digest *d);
void digest_update(struct digest *d, const void *data, size_t size);
/* Leaves *d as it is: more may be added. */
uint64_t digest_final(const struct digest *d);

#endif
