/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's uuid as 16 bytes and as text, "8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b90". Pure. */
#ifndef LIB_UUID_H
#define LIB_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

#define UUID_SIZE 16
#define UUID_TEXT_SIZE 37 /* with the final 0 */

/* Exactly 36 characters, hex digits of either case. 0, or -EINVAL (also when all of it is 0). */
MUST_CHECK int uuid_parse(const char *text, uint8_t uuid[UUID_SIZE]);
/* In lower case. Returns text. */
const char *uuid_format(const uint8_t uuid[UUID_SIZE], char text[UUID_TEXT_SIZE]);
/* All 0: names no VM. */
bool uuid_is_nil(const uint8_t uuid[UUID_SIZE]);

#endif
