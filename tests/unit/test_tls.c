/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The context and the MAC; connections are test_conn.c's. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/tls.h"
#include "tests/lib/pki.h"

/* RFC 4231; a key is filled up with zeroes, which HMAC does anyway. */
static void mac_vectors(void **state)
{
	static const struct {
		uint8_t key[TLS_KEY_SIZE];
		const char *data;
		uint8_t mac[TLS_MAC_SIZE];
	} t[] = {
		{{0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b,
		  0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b},
		 "Hi There",
		 {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf,
		  0x0b, 0xf1, 0x2b}},
		{"Jefe",
		 "what do ya want for nothing?",
		 {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08,
		  0x95, 0x75, 0xc7}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint8_t mac[TLS_MAC_SIZE];
		struct tls_mac *m;

		assert_int_equal(tls_mac_new(&m, t[i].key, NULL), 0);
		/* Twice: what was prepared is not used up. */
		for (int k = 0; k < 2; k++) {
			tls_mac_make(m, t[i].data, strlen(t[i].data), mac);
			assert_memory_equal(mac, t[i].mac, sizeof(mac));
		}
		assert_true(tls_mac_check(m, t[i].data, strlen(t[i].data), mac));
		for (unsigned int bit = 0; bit < 8 * sizeof(mac); bit++) {
			mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_false(tls_mac_check(m, t[i].data, strlen(t[i].data), mac));
			mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		tls_mac_free(m);
	}
	tls_mac_free(NULL);
}

static void bad_files(void **state)
{
	static const struct {
		const char *ca, *cert, *key, *text;
	} t[] = {
		{"ca.pem", "a.pem", "a.key", NULL},
		{"ca.pem", "missing", "a.key", "missing"},
		{"ca.pem", "a.pem", "missing", "missing"},
		{"missing", "a.pem", "a.key", "missing"},
		{"ca.pem", "a.pem", "b.key", "b.key"},
		{"ca.pem", "a.key", "a.key", "a.key"},
		{"empty", "a.pem", "a.key", "empty"},
	};
	struct pki *pki = pki_new();

	close(open(pki_path(pki, "empty"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct tls_conf conf = {.ca = pki_path(pki, t[i].ca),
					.cert = pki_path(pki, t[i].cert),
					.key = pki_path(pki, t[i].key)};
		struct tls_ctx *ctx = NULL;
		struct err e = ERR_INIT;
		int rc = tls_ctx_new(&ctx, &conf, &e);

		if ((rc < 0) != (t[i].text != NULL) || (rc < 0 && !strstr(e.text, t[i].text)))
			fail_msg("row %zu: %d %s", i, rc, e.text);
		tls_ctx_free(ctx);
	}
	pki_free(pki);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mac_vectors),
		cmocka_unit_test(bad_files),
	};

	return RUN_TESTS("tls", tests);
}
