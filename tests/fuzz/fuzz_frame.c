/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream of frames as the link reads it: headers, sequence, payloads. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What passes must be the same bytes when it is made again. */
static void check(const uint8_t *buf, const struct frame_header *h)
{
	const struct frame_rule *rule = frame_rule(h->type);
	uint8_t again[FRAME_HEADER_SIZE];

	frame_encode(again, h);
	assert(memcmp(buf, again, sizeof(again)) == 0);
	assert(h->length <= FRAME_MAX_PAYLOAD);
	assert(rule || !(h->flags & FRAME_MANDATORY) || h->version != 1);
	if (rule && h->version == 1)
		assert(h->length >= rule->min && h->length <= rule->max);
}

static void read_stream(const uint8_t *data, size_t size, enum frame_side from, bool mend)
{
	uint64_t last = 0;

	while (size >= FRAME_HEADER_SIZE) {
		uint8_t buf[FRAME_HEADER_SIZE];
		struct frame_header h;
		struct err e = ERR_INIT;
		uint64_t sum;

		memcpy(buf, data, sizeof(buf));
		/* A right checksum, or the fuzzer would hardly get past it. */
		sum = digest_of(buf, 40);
		for (int i = 0; mend && i < 8; i++)
			buf[40 + i] = (uint8_t)(sum >> 8 * i);
		if (frame_decode(buf, from, &h, &e) < 0) {
			assert(e.text[0]);
			return;
		}
		check(buf, &h);
		data += FRAME_HEADER_SIZE;
		size -= FRAME_HEADER_SIZE;
		if (h.length > size || (frame_check_payload(&h, data, &e) < 0 && !mend))
			return;
		if (frame_check_seq(&h, &last, &e) < 0)
			return;
		data += h.length;
		size -= h.length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_stream(data, size, FRAME_PRIMARY, false);
	read_stream(data, size, FRAME_PRIMARY, true);
	read_stream(data, size, FRAME_BACKUP, true);
	return 0;
}
