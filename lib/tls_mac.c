/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MAC of the heartbeats. See tls.h.
 *
 * HMAC is spelled out over the plain SHA-256 calls: OpenSSL 3.0's EVP_MAC allocates for each
 * message, and the heartbeat thread must never meet the allocator's lock. These calls are called
 * deprecated there, and are still the same code underneath.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "lib/tls.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "lib/err.h"
#include "lib/mem.h"

static_assert(TLS_KEY_SIZE <= SHA256_CBLOCK, "a longer key would have to be digested first");

/* The digests after their first block, the padded key: it is the same for every message. */
struct tls_mac {
	SHA256_CTX inner;
	SHA256_CTX outer;
};

static void start(SHA256_CTX *sha, const uint8_t *key, uint8_t pad)
{
	uint8_t block[SHA256_CBLOCK];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < TLS_KEY_SIZE; i++)
		block[i] ^= key[i];
	(void)SHA256_Init(sha);
	(void)SHA256_Update(sha, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

int tls_mac_new(struct tls_mac **out, const uint8_t key[TLS_KEY_SIZE], struct err *e)
{
	struct tls_mac *m = mem_zalloc(sizeof(*m));

	if (!m)
		return err_set(e, -ENOMEM, "MAC");
	start(&m->inner, key, 0x36);
	start(&m->outer, key, 0x5c);
	*out = m;
	return 0;
}

void tls_mac_free(struct tls_mac *m)
{
	if (m)
		OPENSSL_cleanse(m, sizeof(*m));
	mem_free(m);
}

void tls_mac_make(const struct tls_mac *m, const void *data, size_t size, uint8_t mac[TLS_MAC_SIZE])
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	SHA256_CTX sha = m->inner;

	(void)SHA256_Update(&sha, data, size);
	(void)SHA256_Final(sum, &sha);
	sha = m->outer;
	(void)SHA256_Update(&sha, sum, sizeof(sum));
	(void)SHA256_Final(sum, &sha);
	memcpy(mac, sum, TLS_MAC_SIZE);
}

bool tls_mac_check(const struct tls_mac *m, const void *data, size_t size,
		   const uint8_t mac[TLS_MAC_SIZE])
{
	uint8_t good[TLS_MAC_SIZE];

	tls_mac_make(m, data, size, good);
	return CRYPTO_memcmp(good, mac, sizeof(good)) == 0;
}
