/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of a drill's copy, and questions about drills: each input is both. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/err.h"
#include "replicator/drill_ping.h"
#include "replicator/drill_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
	uint8_t reply[DRILL_PING_FRAME];
	struct drill_request r;
	struct err e = ERR_INIT;
	struct drill_ping p;
	char path[256];

	drill_ping_init(&p, our_mac, 0x1234);
	/* Whoever it is from is the guest. */
	if (size >= 12)
		drill_ping_guest(&p, data + 6);
	for (int i = 0; i < 3; i++) {
		assert(drill_ping_hear(&p, data, size, reply) <= sizeof(reply));
		assert(drill_ping_ask(&p, reply) <= sizeof(reply));
	}
	if (drill_request_parse(&r, (const char *)data, size, &e) < 0) {
		assert(*e.text);
		return 0;
	}
	assert(r.time_ms >= DRILL_TIME_MIN_MS && r.time_ms <= DRILL_TIME_MAX_MS);
	if (drill_request_remote(&r, "/etc/romulus/probe.d", path, sizeof(path), &e) == 0)
		assert(!strchr(path + strlen("/etc/romulus/probe.d/"), '/'));
	return 0;
}
