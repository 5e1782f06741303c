/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of a disk that travelled as LZ4 blocks. Pure; any thread. */
#ifndef DISK_UNPACK_H
#define DISK_UNPACK_H

#include <stdint.h>

#include "lib/compiler.h"

/* Unpacks to exactly len bytes: 0, or -EBADMSG. */
MUST_CHECK int unpack(const uint8_t *packed, uint32_t size, uint8_t *out, uint32_t len);

#endif
