/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See digest.h; the only file that includes <xxhash.h>. */
#include "lib/digest.h"

/* Makes the state's struct visible, so that it can live in ours. */
#define XXH_STATIC_LINKING_ONLY
#include <string.h>
#include <xxhash.h>

#include "lib/compiler.h"

static_assert(sizeof(XXH3_state_t) <= SIZEOF_FIELD(struct digest, state), "digest state too small");
static_assert(alignof(XXH3_state_t) <= alignof(struct digest), "digest state not aligned");

/* The errors of these calls are for NULL arguments only. */

uint64_t digest_of(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

void digest_long_of(const void *data, size_t size, uint8_t out[DIGEST_LONG_SIZE])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits(data, size));
	memcpy(out, c.digest, DIGEST_LONG_SIZE);
}

void digest_init(struct digest *d)
{
	XXH3_state_t *s = (void *)d->state;

	XXH3_INITSTATE(s);
	(void)XXH3_64bits_reset(s);
}

void digest_update(struct digest *d, const void *data, size_t size)
{
	if (size)
		(void)XXH3_64bits_update((void *)d->state, data, size);
}

uint64_t digest_final(const struct digest *d)
{
	return XXH3_64bits_digest((const void *)d->state);
}
