/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 with certificates on both sides, kernel TLS where there is one, keys for others from the
 * exporter, and the MAC of the heartbeats. With cert.c the only place that sees OpenSSL.
 *
 * A tls_ctx is read-only once made and may serve many connections; a struct tls belongs to one
 * thread, a struct tls_mac to one thread at a time.
 */
#ifndef LIB_TLS_H
#define LIB_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;
struct tls;
struct tls_ctx;
struct tls_mac;

/* PEM files. */
struct tls_conf {
	const char *ca;
	const char *cert;
	const char *key;
	bool ktls; /* kernel TLS, if the kernel has it */
};

/* Loads the files and checks that they belong together. 0 or negative errno; the text names the file. */
MUST_CHECK int tls_ctx_new(struct tls_ctx **out, const struct tls_conf *conf, struct err *e);
/* After the last connection. NULL is a no-op. */
void tls_ctx_free(struct tls_ctx *ctx);

enum tls_side {
	TLS_CLIENT,
	TLS_SERVER,
};

/* What handshake, read and write return besides 0 and a negative errno: wait for this, call again. */
#define TLS_WANT_READ 1
#define TLS_WANT_WRITE 2

/* fd: a connected non-blocking stream socket; borrowed, must outlive *out. ctx is borrowed too. */
MUST_CHECK int tls_new(struct tls **out, struct tls_ctx *ctx, int fd, enum tls_side side,
		       struct err *e);
void tls_free(struct tls *t);

/*
 * 0: done, the peer's certificate is good and its name is known. -EKEYREJECTED: certificates.
 * -EPROTO: not TLS 1.3, or broken. -ECONNRESET: the peer went. The text says which and why.
 */
MUST_CHECK int tls_handshake(struct tls *t, struct err *e);

/* Up to size bytes; *n of them. -ECONNRESET: the peer closed or went. */
MUST_CHECK int tls_read(struct tls *t, void *buf, size_t size, size_t *n, struct err *e);
/*
 * Up to size bytes; *n of them were taken. After WANT_*, call again with the same bytes first, at the same place: kernel TLS goes on
 * from there.
 */
MUST_CHECK int tls_write(struct tls *t, const void *buf, size_t size, size_t *n, struct err *e);
/* Says goodbye if the socket takes it at once. */
void tls_bye(struct tls *t);

/* After the handshake. The first DNS name of the peer's certificate; owned by t. */
const char *tls_peer_name(const struct tls *t);
const char *tls_cipher(const struct tls *t);
bool tls_ktls_send(const struct tls *t);
bool tls_ktls_recv(const struct tls *t);

/* size bytes that both ends of this connection and nobody else can make from the label. */
MUST_CHECK int tls_export_key(struct tls *t, const char *label, uint8_t *out, size_t size,
			      struct err *e);

/* HMAC-SHA256 cut to its first 16 bytes. */
#define TLS_MAC_SIZE 16
#define TLS_KEY_SIZE 32

MUST_CHECK int tls_mac_new(struct tls_mac **out, const uint8_t key[TLS_KEY_SIZE], struct err *e);
/* Wipes the key. NULL is a no-op. */
void tls_mac_free(struct tls_mac *m);
/* Allocates nothing, cannot fail. */
void tls_mac_make(const struct tls_mac *m, const void *data, size_t size,
		  uint8_t mac[TLS_MAC_SIZE]);
/* In a time that does not depend on where they differ. */
MUST_CHECK bool tls_mac_check(const struct tls_mac *m, const void *data, size_t size,
			      const uint8_t mac[TLS_MAC_SIZE]);

/* Overwrites a secret; the compiler cannot leave it out. */
void tls_wipe(void *secret, size_t size);

#endif
