/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Durable VM state: what is taken makes sense, and is written as the same bytes again, but for the version and what an
 * older one did not say.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/err.h"
#include "replicator/vm_state.h"

#define VERSION_AT 4
#define TAKEN_AT 187

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[VM_STATE_BYTES];
	struct err e = ERR_INIT;
	struct vm_state s;

	if (vm_state_decode(&s, data, size, &e) < 0) {
		assert(*e.text);
		return 0;
	}
	assert(size == VM_STATE_BYTES && name_ok(s.vm) && s.role <= VM_ACTIVE);
	assert(s.role == VM_NONE || (*s.peer && s.policy && s.term));
	vm_state_encode(&s, again);
	assert(again[VERSION_AT] >= data[VERSION_AT]);
	again[VERSION_AT] = data[VERSION_AT];
	if (s.role == VM_ACTIVE && !data[TAKEN_AT])
		again[TAKEN_AT] = 0;
	assert(!memcmp(again, data, size));
	return 0;
}
