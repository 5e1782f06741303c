/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What etcd, or whatever is at its port, may answer. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arbiter/etcd_json.h"
#include "lib/err.h"
#include "lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is decoded is encoded the same. */
static void look_at_base64(const char *text)
{
	char data[256];
	char again[400];
	size_t len;

	if (base64_decode(text, data, sizeof(data), &len) < 0)
		return;
	assert(base64_encode(data, len, again, sizeof(again)) == strlen(text));
	assert(!strcmp(again, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_alloc(size + 1);
	struct err e = ERR_INIT;
	struct etcd_kv kv;
	bool swapped;
	char why[64];

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	look_at_base64(text);
	if (etcd_json_range_answer("/k", text, size, &kv, &e) == 0)
		assert(kv.len <= sizeof(kv.value) && kv.there == (kv.revision != 0));
	else
		assert(*e.text);
	if (etcd_json_swap_answer("/k", text, size, &swapped, &kv, &e) == 0 && !swapped)
		assert(kv.len <= sizeof(kv.value) && kv.there == (kv.revision != 0));
	assert(strlen(etcd_json_error(text, size, why, sizeof(why))) < sizeof(why));
	mem_free(text);
	return 0;
}
