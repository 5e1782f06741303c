/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small state that survives a power cut: what was there before or what was
 * written, never something between. One writer per path at a time; blocks on the
 * disk, so no thread with deadlines calls it.
 *
 * The file, little-endian:
 *
 *	 0  4  magic "pst1"
 *	 4  4  reserved, 0
 *	 8  8  generation
 *	16  8  size of the payload
 *	24  8  digest of the payload (XXH3-64)
 *	32  8  digest of the 32 bytes before
 *	40     payload
 */
#ifndef LIB_PERSIST_H
#define LIB_PERSIST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/compiler.h"

struct err;

#define PERSIST_MAX ((size_t)1 << 20)

/*
 * Replaces path durably: writes path.new, syncs it, renames it, syncs the folder.
 * The generation is the caller's, rising with each save; a state without order
 * uses 0. Mode is 0600. On an error the old file is still there, with one
 * exception: when only the folder's sync fails, either may be found after a power cut.
 */
MUST_CHECK int persist_save(const char *path, const void *data, size_t size, uint64_t generation,
			    struct err *e);

/*
 * Reads what was saved, at most cap bytes, into buf; *size and *generation tell.
 * -ENOENT: nothing was ever saved; -EBADMSG: torn or changed by others;
 * -EFBIG: larger than cap. buf, *size and *generation are set only on success.
 */
MUST_CHECK int persist_load(const char *path, void *buf, size_t cap, size_t *size,
			    uint64_t *generation, struct err *e);

/* The same way of replacing for a plain file that people read; no header. */
MUST_CHECK int persist_replace(const char *path, const void *data, size_t size, mode_t mode,
			       struct err *e);

/* Removes path durably; fine when it is not there. */
MUST_CHECK int persist_remove(const char *path, struct err *e);

#endif
