/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A flight recorder's file: whatever it is, it is refused with a text, or its epochs are in bounds. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/flight.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Most inputs are short: laid over an empty recorder, with digests that are right, so that something is decoded. */
static void decode(const uint8_t *data, size_t size, int with_digests)
{
	static uint8_t file[FLIGHT_FILE_SIZE];
	static struct flight_view v;
	struct err e = ERR_INIT;
	uint64_t digest;

	memset(file, 0, sizeof(file));
	memcpy(file, data, size < sizeof(file) ? size : sizeof(file));
	if (with_digests) {
		digest = digest_of(file, FLIGHT_HEADER_SIZE - 8);
		memcpy(file + FLIGHT_HEADER_SIZE - 8, &digest, 8);
		for (size_t i = 0; i < FLIGHT_SLOTS; i++) {
			uint8_t *r = file + FLIGHT_HEADER_SIZE + i * FLIGHT_RECORD_SIZE;

			digest = digest_of(r, FLIGHT_RECORD_SIZE - 8);
			memcpy(r + FLIGHT_RECORD_SIZE - 8, &digest, 8);
		}
	}
	if (flight_decode(&v, file, sizeof(file), &e) < 0) {
		assert(*e.text);
		return;
	}
	assert(v.n <= FLIGHT_SLOTS && v.torn <= FLIGHT_SLOTS);
	assert(name_ok(v.head.vm) && name_ok(v.head.side));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct flight_view v;
	struct err e = ERR_INIT;

	if (flight_decode(&v, data, size, &e) < 0)
		assert(*e.text);
	decode(data, size, 0);
	decode(data, size, 1);
	return 0;
}
