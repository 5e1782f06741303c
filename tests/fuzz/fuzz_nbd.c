/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client's whole life: handshake in the pieces that the server asks for, then requests. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "disk/nbd_hello.h"
#include "disk/nbd_wire.h"
#include "lib/compiler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct nbdwire_export disk = {.name = "web", .size = 1 << 30, .block = 512};

static void requests(const uint8_t *data, size_t size)
{
	while (size >= NBDWIRE_REQUEST_SIZE) {
		struct nbdwire_request rq;
		uint8_t again[NBDWIRE_REQUEST_SIZE];
		enum nbdwire_error error;
		size_t payload;

		if (nbdwire_request_decode(data, &rq) < 0)
			return;
		nbdwire_request_encode(again, &rq);
		assert(memcmp(again, data, sizeof(again)) == 0);
		error = nbdwire_check(&rq, &disk);
		if (error == NBDWIRE_OK && rq.type != NBDWIRE_FLUSH && rq.type != NBDWIRE_DISC) {
			assert(rq.len && rq.len % disk.block == 0 && rq.off % disk.block == 0);
			assert(rq.off < disk.size && rq.len <= disk.size - rq.off);
			assert(rq.len <= NBDWIRE_MAX_PAYLOAD || rq.type == NBDWIRE_TRIM ||
			       rq.type == NBDWIRE_ZEROES);
		}
		if (nbdwire_is_hostile(&rq))
			return;
		payload = rq.type == NBDWIRE_WRITE ? rq.len : 0;
		data += NBDWIRE_REQUEST_SIZE;
		size -= NBDWIRE_REQUEST_SIZE;
		if (payload > size)
			return;
		data += payload;
		size -= payload;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nbdhello h;
	enum nbdhello_next next = NBDHELLO_MORE;

	requests(data, size);
	nbdhello_start(&h, &disk);
	while (next == NBDHELLO_MORE) {
		size_t need = nbdhello_need(&h);

		assert(need <= NBDHELLO_NEED_MAX);
		if (need > size)
			return 0;
		h.out_used = 0;
		next = nbdhello_step(&h, data);
		data += need;
		size -= need;
	}
	if (next == NBDHELLO_TRANSMIT)
		requests(data, size);
	return 0;
}
