/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block_store of a file, logical volume or partition by plain system calls: submit() does the work, wait() tells.
 * For making a journal, for tools and tests. One thread.
 */
#ifndef DISK_FILE_STORE_H
#define DISK_FILE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/block_store.h"
#include "lib/compiler.h"

struct err;
struct file_store;

/*
 * Opens what is there. direct: past the page cache, as it must be for anything that is to survive. Block size: a
 * device's own; 512 for a file, 4096 if want_4k.
 */
MUST_CHECK int file_store_open(const char *path, bool direct, bool want_4k, struct file_store **out,
			       struct err *e);
void file_store_free(struct file_store *f);
/* Valid as long as f. */
struct block_store *file_store_blocks(struct file_store *f);

/*
 * Makes the file at path, or takes the device that is there, for `size` bytes, allocates all of it, writes it from end to
 * end with zeroes and syncs it. A file that is there already is refused with -EEXIST. When it fails, no file is left.
 */
MUST_CHECK int file_store_create(const char *path, uint64_t size, struct err *e);

#endif
