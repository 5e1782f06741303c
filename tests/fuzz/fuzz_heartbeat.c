/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Datagrams, as they are and with a right MAC. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"
#include "replicator/heartbeat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* That of the golden file, without its last byte. */
static const uint8_t key[TLS_KEY_SIZE] = "0123456789abcdef0123456789abcde";

static void look(const uint8_t *buf, size_t size, const uint8_t *session, const struct tls_mac *mac)
{
	enum heartbeat_side side = HEARTBEAT_PRIMARY;

	for (; side <= HEARTBEAT_BACKUP; side++) {
		struct heartbeat_packet p;
		uint8_t again[HEARTBEAT_SIZE];

		if (heartbeat_decode(buf, size, side, session, mac, &p) != HEARTBEAT_GOOD)
			continue;
		assert(size == HEARTBEAT_SIZE && p.seq && p.side == side);
		heartbeat_encode(again, &p, mac);
		assert(memcmp(again, buf, size) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t session[HEARTBEAT_SESSION_SIZE] = {0};
	uint8_t buf[HEARTBEAT_SIZE];
	struct tls_mac *mac;

	if (tls_mac_new(&mac, key, NULL) < 0)
		return 0;
	look(data, size, session, mac);
	if (size >= HEARTBEAT_SIZE) {
		memcpy(buf, data, sizeof(buf));
		memcpy(session, buf + 8, sizeof(session));
		tls_mac_make(mac, buf, HEARTBEAT_SIZE - TLS_MAC_SIZE,
			     buf + HEARTBEAT_SIZE - TLS_MAC_SIZE);
		look(buf, sizeof(buf), session, mac);
	}
	tls_mac_free(mac);
	return 0;
}
