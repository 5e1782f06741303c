/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One good message of each kind, for golden files and round trips. */
#ifndef TESTS_LIB_SAMPLES_H
#define TESTS_LIB_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/frame.h"
#include "lib/wr.h"

struct err;
struct wire_disks;

struct sample {
	const char *name; /* of the golden file */
	enum frame_type type;
	uint64_t epoch;
	void (*encode)(struct wr *w);
};

extern const struct sample samples[];
extern const size_t n_samples;
/* What frames of disks are decoded against: of 8 GiB and of 5 MiB + 4 KiB. */
extern const struct wire_disks sample_disks;

/*
 * Decodes a payload by its type and encodes it again into w: what every good message must survive
 * without a difference. 0 or the decoder's error. PAGES are taken to their records only.
 */
int sample_again(const struct frame *f, struct wr *w, struct err *e);

#endif
