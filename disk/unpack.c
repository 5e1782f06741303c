/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See unpack.h; the only file of disk/ that includes <lz4.h>. */
#include "disk/unpack.h"

#include <errno.h>
#include <lz4.h>

int unpack(const uint8_t *packed, uint32_t size, uint8_t *out, uint32_t len)
{
	int n = LZ4_decompress_safe((const char *)packed, (char *)out, (int)size, (int)len);

	return n >= 0 && (uint32_t)n == len ? 0 : -EBADMSG;
}
