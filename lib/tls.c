/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tls.h. */
#include "lib/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define MAX_CERT_LIST 16384
#define MAX_CHAIN 4
/* Several records for each read(2). */
#define READ_BUFFER 131072

struct tls_ctx {
	SSL_CTX *ssl;
};

struct tls {
	SSL *ssl;
	char peer_name[NAME_SIZE];
};

/* ---- errors ------------------------------------------------------------- */

/* What an operator can use instead of the library's words. */
static const struct {
	int reason;
	int rc;
	const char *text;
} reasons[] = {
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, -EKEYREJECTED, "the peer showed no certificate"},
	{SSL_R_WRONG_VERSION_NUMBER, -EPROTO, "the peer does not speak TLS"},
	{SSL_R_HTTP_REQUEST, -EPROTO, "the peer does not speak TLS but HTTP"},
	{SSL_R_HTTPS_PROXY_REQUEST, -EPROTO, "the peer does not speak TLS but HTTP"},
	{SSL_R_UNSUPPORTED_PROTOCOL, -EPROTO, "the peer does not speak TLS 1.3"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, -EPROTO, "the peer does not speak TLS 1.3"},
	{SSL_R_NO_SHARED_CIPHER, -EPROTO, "the peer knows none of our ciphers"},
	{SSL_R_EXCESSIVE_MESSAGE_SIZE, -EMSGSIZE, "the peer's certificates are too long"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, -EKEYREJECTED,
	 "the peer refused us: we showed no certificate"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA, -EKEYREJECTED,
	 "the peer refused our certificate: its CA is another one"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, -EKEYREJECTED,
	 "the peer refused our certificate: expired or not yet valid by its clock"},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, -EKEYREJECTED, "the peer refused our certificate"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, -EKEYREJECTED, "the peer refused our certificate"},
	{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, -EKEYREJECTED,
	 "the peer refused our certificate: not made for this use"},
	{SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, -EPROTO,
	 "bytes were changed on the way (bad record MAC)"},
};

/* Translates the newest entry of the library's error queue and empties that. */
static int library_error(struct err *e, int rc, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = ERR_reason_error_string(code);

	ERR_clear_error();
	for (size_t i = 0; i < ARRAY_SIZE(reasons) && ERR_GET_LIB(code) == ERR_LIB_SSL; i++) {
		if (ERR_GET_REASON(code) == reasons[i].reason)
			return err_setx(e, reasons[i].rc, "%s", reasons[i].text);
	}
	return err_setx(e, rc, "%s: %s", what, text ? text : "unknown TLS error");
}

static int ssl_error(struct tls *t, int r, const char *what, struct err *e)
{
	int saved = errno;
	long verify;

	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return err_setx(e, -ECONNRESET, "the peer closed the connection");
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		if (!saved)
			return err_setx(e, -ECONNRESET, "the peer closed the connection");
		if (saved == EPIPE)
			saved = ECONNRESET;
		return err_set(e, -saved, "%s", what);
	default:
		break;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return err_setx(e, -ECONNRESET, "the peer closed the connection");
	}
	verify = SSL_get_verify_result(t->ssl);
	if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		ERR_clear_error();
		return err_setx(e, -EKEYREJECTED, "the peer's certificate is not accepted: %s",
				X509_verify_cert_error_string(verify));
	}
	return library_error(e, -EPROTO, what);
}

/* ---- the context -------------------------------------------------------- */

/* No terminal to ask: a key with a passphrase is refused. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

static int load_files(SSL_CTX *ssl, const struct tls_conf *conf, struct err *e)
{
	SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ssl, conf->cert) != 1)
		return library_error(e, -EINVAL, conf->cert);
	if (SSL_CTX_use_PrivateKey_file(ssl, conf->key, SSL_FILETYPE_PEM) != 1)
		return library_error(e, -EINVAL, conf->key);
	if (SSL_CTX_load_verify_file(ssl, conf->ca) != 1)
		return library_error(e, -EINVAL, conf->ca);
	if (SSL_CTX_check_private_key(ssl) != 1) {
		ERR_clear_error();
		return err_setx(e, -EINVAL, "%s is not the key of %s", conf->key, conf->cert);
	}
	return 0;
}

static int set_up(SSL_CTX *ssl, const struct tls_conf *conf, struct err *e)
{
	SSL_CTX_set_options(ssl,
			    SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	if (conf->ktls)
		SSL_CTX_set_options(ssl, SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ssl, MAX_CHAIN);
	SSL_CTX_set_max_cert_list(ssl, MAX_CERT_LIST);
	SSL_CTX_set_default_read_buffer_len(ssl, READ_BUFFER);
	SSL_CTX_set_read_ahead(ssl, 1);
	if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_num_tickets(ssl, 0) != 1 || SSL_CTX_set_ciphersuites(ssl, SUITES) != 1)
		return library_error(e, -EINVAL, "set up TLS 1.3");
	return load_files(ssl, conf, e);
}

int tls_ctx_new(struct tls_ctx **out, const struct tls_conf *conf, struct err *e)
{
	struct tls_ctx *ctx = mem_zalloc(sizeof(*ctx));
	int rc;

	if (!ctx)
		return err_set(e, -ENOMEM, "TLS");
	ERR_clear_error();
	ctx->ssl = SSL_CTX_new(TLS_method());
	rc = ctx->ssl ? set_up(ctx->ssl, conf, e) : library_error(e, -ENOMEM, "set up TLS");
	if (rc < 0) {
		tls_ctx_free(ctx);
		return rc;
	}
	*out = ctx;
	return 0;
}

void tls_ctx_free(struct tls_ctx *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl);
	mem_free(ctx);
}

/* ---- a connection ------------------------------------------------------- */

int tls_new(struct tls **out, struct tls_ctx *ctx, int fd, enum tls_side side, struct err *e)
{
	struct tls *t = mem_zalloc(sizeof(*t));

	if (!t)
		return err_set(e, -ENOMEM, "TLS");
	ERR_clear_error();
	t->ssl = SSL_new(ctx->ssl);
	if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1) {
		tls_free(t);
		return library_error(e, -ENOMEM, "begin TLS");
	}
	if (side == TLS_CLIENT)
		SSL_set_connect_state(t->ssl);
	else
		SSL_set_accept_state(t->ssl);
	*out = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	mem_free(t);
}

/* The first DNS name of the certificate. */
static int find_name(X509 *cert, char name[NAME_SIZE], struct err *e)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int rc = err_setx(e, -EKEYREJECTED,
			  "the peer's certificate has no DNS name that is a host's name");

	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);
		int len;

		if (n->type != GEN_DNS)
			continue;
		len = ASN1_STRING_length(n->d.dNSName);
		if (len < 1 || len >= NAME_SIZE)
			break;
		memcpy(name, ASN1_STRING_get0_data(n->d.dNSName), (size_t)len);
		name[len] = 0;
		/* A byte 0 within makes the text shorter than it says. */
		if (strlen(name) == (size_t)len && name_ok(name))
			rc = 0;
		break;
	}
	GENERAL_NAMES_free(all);
	return rc;
}

int tls_handshake(struct tls *t, struct err *e)
{
	X509 *cert;
	int rc;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(t->ssl);
	if (r != 1)
		return ssl_error(t, r, "TLS handshake", e);
	cert = SSL_get1_peer_certificate(t->ssl);
	if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK) {
		X509_free(cert);
		return err_setx(e, -EKEYREJECTED, "the peer showed no certificate");
	}
	rc = find_name(cert, t->peer_name, e);
	X509_free(cert);
	return rc;
}

int tls_read(struct tls *t, void *buf, size_t size, size_t *n, struct err *e)
{
	int rc;

	*n = 0;
	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(t->ssl, buf, size, n) == 1)
		return 0;
	rc = ssl_error(t, 0, "receive", e);
	*n = 0;
	return rc;
}

int tls_write(struct tls *t, const void *buf, size_t size, size_t *n, struct err *e)
{
	int rc;

	*n = 0;
	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(t->ssl, buf, size, n) == 1)
		return 0;
	rc = ssl_error(t, 0, "send", e);
	*n = 0;
	return rc;
}

void tls_bye(struct tls *t)
{
	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

const char *tls_peer_name(const struct tls *t)
{
	return t->peer_name;
}

const char *tls_cipher(const struct tls *t)
{
	return SSL_get_cipher_name(t->ssl);
}

bool tls_ktls_send(const struct tls *t)
{
	return BIO_get_ktls_send(SSL_get_wbio(t->ssl));
}

bool tls_ktls_recv(const struct tls *t)
{
	return BIO_get_ktls_recv(SSL_get_rbio(t->ssl));
}

int tls_export_key(struct tls *t, const char *label, uint8_t *out, size_t size, struct err *e)
{
	if (SSL_export_keying_material(t->ssl, out, size, label, strlen(label), NULL, 0, 0) == 1)
		return 0;
	return library_error(e, -EPROTO, "export a key");
}

void tls_wipe(void *secret, size_t size)
{
	OPENSSL_cleanse(secret, size);
}
