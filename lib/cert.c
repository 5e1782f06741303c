/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cert.h. */
#include "lib/cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

#define SERIAL_BITS 128
#define DAY 86400L
/* The hosts' clocks may differ when they are new. */
#define BACKDATE DAY
#define PATH_SIZE 4096
#define SAN_SIZE 8192

/* What a certificate is made of; freed as a whole. */
struct work {
	EVP_PKEY *key;
	X509 *cert;
	X509 *ca;
	EVP_PKEY *ca_key;
};

static void work_fini(struct work *w)
{
	EVP_PKEY_free(w->key);
	EVP_PKEY_free(w->ca_key);
	X509_free(w->cert);
	X509_free(w->ca);
}

static int library_error(struct err *e, int rc, const char *what)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return err_setx(e, rc, "%s: %s", what, text ? text : "OpenSSL failed");
}

/* ---- files ---------------------------------------------------------------- */

static int must_be_new(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return err_setx(e, -EEXIST, "%s exists and is not overwritten", path);
	return errno == ENOENT ? 0 : err_set(e, -errno, "%s", path);
}

static int sync_folder(const char *path, struct err *e)
{
	char copy[PATH_SIZE];
	autofd fd = -1;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return err_set(e, -ENAMETOOLONG, "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, -errno, "sync the folder of %s", path);
	return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_new(const char *path, BIO *text, struct err *e)
{
	char *data;
	long size = BIO_get_mem_data(text, &data);
	autofd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "create %s", path);
	rc = write_all(fd, data, (size_t)size);
	if (!rc)
		rc = sync_folder(path, e);
	else
		(void)err_set(e, rc, "write %s", path);
	if (rc < 0)
		(void)unlink(path);
	return rc;
}

static int write_key(const char *path, EVP_PKEY *key, struct err *e)
{
	BIO *text = BIO_new(BIO_s_mem());
	char *data;
	long size;
	int rc;

	if (text && PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1)
		rc = write_new(path, text, e);
	else
		rc = library_error(e, -ENOMEM, path);
	if (text) {
		size = BIO_get_mem_data(text, &data);
		OPENSSL_cleanse(data, size > 0 ? (size_t)size : 0);
	}
	BIO_free(text);
	return rc;
}

static int write_cert(const char *path, X509 *cert, struct err *e)
{
	BIO *text = BIO_new(BIO_s_mem());
	int rc;

	if (text && PEM_write_bio_X509(text, cert) == 1)
		rc = write_new(path, text, e);
	else
		rc = library_error(e, -ENOMEM, path);
	BIO_free(text);
	return rc;
}

/* Both or none. */
static int write_pair(const struct work *w, const char *cert_path, const char *key_path,
		      struct err *e)
{
	int rc = write_key(key_path, w->key, e);

	if (rc < 0)
		return rc;
	rc = write_cert(cert_path, w->cert, e);
	if (rc < 0)
		(void)unlink(key_path);
	return rc;
}

/* Never asks at a terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

static int open_pem(const char *path, BIO **out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(e, -errno, "%s", path);
	*out = BIO_new_fd(fd, BIO_CLOSE);
	if (!*out) {
		close(fd);
		return library_error(e, -ENOMEM, path);
	}
	return 0;
}

static int read_cert(const char *path, X509 **out, struct err *e)
{
	BIO *file = NULL;
	int rc = open_pem(path, &file, e);

	if (rc < 0)
		return rc;
	*out = PEM_read_bio_X509(file, NULL, no_passphrase, NULL);
	BIO_free(file);
	return *out ? 0 : library_error(e, -EINVAL, path);
}

static int read_key(const char *path, EVP_PKEY **out, struct err *e)
{
	BIO *file = NULL;
	int rc = open_pem(path, &file, e);

	if (rc < 0)
		return rc;
	*out = PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL);
	BIO_free(file);
	return *out ? 0 : library_error(e, -EINVAL, path);
}

/* ---- making --------------------------------------------------------------- */

static bool set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	bool ok = n && BN_rand(n, SERIAL_BITS - 1, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		  BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

	BN_free(n);
	return ok;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_days(X509 *cert, unsigned int days, const X509 *ca)
{
	ASN1_TIME *end = X509_getm_notAfter(cert);

	if (!X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE) ||
	    !X509_time_adj_ex(end, (int)days, 0, NULL))
		return false;
	/* A certificate that outlives its authority would fail without warning that day. */
	if (ca && ASN1_TIME_compare(end, X509_get0_notAfter(ca)) > 0)
		return X509_set1_notAfter(cert, X509_get0_notAfter(ca)) == 1;
	return true;
}

/* Key, number, time and name; what it is for follows. */
static bool begin_cert(struct work *w, const char *name, unsigned int days)
{
	X509_NAME *subject;

	w->key = EVP_EC_gen("P-256");
	w->cert = X509_new();
	if (!w->key || !w->cert)
		return false;
	subject = X509_get_subject_name(w->cert);
	return X509_set_version(w->cert, X509_VERSION_3) == 1 && set_serial(w->cert) &&
	       set_days(w->cert, days, w->ca) &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
					  -1, -1, 0) == 1 &&
	       X509_set_issuer_name(w->cert, w->ca ? X509_get_subject_name(w->ca) : subject) == 1 &&
	       X509_set_pubkey(w->cert, w->key) == 1;
}

static int check_request(const char *name, unsigned int days, struct err *e)
{
	if (!name_ok(name))
		return err_setx(e, -EINVAL, "\"%.80s\" is no name: 1 to %d of A-Z a-z 0-9 . _ -",
				name, NAME_SIZE - 1);
	if (!days || days > CERT_MAX_DAYS)
		return err_setx(e, -EINVAL, "%u days: must be 1 to %d", days, CERT_MAX_DAYS);
	return 0;
}

static int check_paths(const char *cert_path, const char *key_path, struct err *e)
{
	int rc = must_be_new(key_path, e);

	return rc < 0 ? rc : must_be_new(cert_path, e);
}

int cert_make_ca(const char *cert_path, const char *key_path, const char *name, unsigned int days,
		 struct err *e)
{
	struct work w = {.key = NULL};
	int rc = check_request(name, days, e);

	if (!rc)
		rc = check_paths(cert_path, key_path, e);
	if (rc < 0)
		return rc;
	ERR_clear_error();
	if (begin_cert(&w, name, days) &&
	    add_extension(w.cert, w.cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(w.cert, w.cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(w.cert, w.cert, NID_subject_key_identifier, "hash") &&
	    X509_sign(w.cert, w.key, EVP_sha256()))
		rc = write_pair(&w, cert_path, key_path, e);
	else
		rc = library_error(e, -ENOMEM, "make an authority");
	work_fini(&w);
	return rc;
}

/* One more of the alternative names, as the library wants to read it. */
static int add_alt(char san[SAN_SIZE], const char *alt, struct err *e)
{
	size_t used = strlen(san);
	struct in6_addr in6;
	struct in_addr in;
	const char *kind = "DNS";

	if (inet_pton(AF_INET, alt, &in) == 1 || inet_pton(AF_INET6, alt, &in6) == 1)
		kind = "IP";
	else if (!alt[0] || strlen(alt) > 253 ||
		 strspn(alt, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") !=
			 strlen(alt))
		return err_setx(e, -EINVAL, "\"%.80s\" is neither an IP address nor a DNS name",
				alt);
	(void)snprintf(san + used, SAN_SIZE - used, ",%s:%s", kind, alt);
	return 0;
}

static int make_san(const struct cert_host *h, char san[SAN_SIZE], struct err *e)
{
	int rc = 0;

	if (h->n_alt > CERT_MAX_ALT)
		return err_setx(e, -EINVAL, "more than %d further names", CERT_MAX_ALT);
	(void)snprintf(san, SAN_SIZE, "DNS:%s", h->name);
	for (size_t i = 0; i < h->n_alt && !rc; i++)
		rc = add_alt(san, h->alt[i], e);
	return rc;
}

static int read_authority(const struct cert_host *h, struct work *w, struct err *e)
{
	int rc = read_cert(h->ca_cert, &w->ca, e);

	if (!rc)
		rc = read_key(h->ca_key, &w->ca_key, e);
	if (rc < 0)
		return rc;
	if (X509_check_ca(w->ca) < 1)
		return err_setx(e, -EINVAL, "%s is not the certificate of an authority",
				h->ca_cert);
	if (X509_check_private_key(w->ca, w->ca_key) != 1) {
		ERR_clear_error();
		return err_setx(e, -EINVAL, "%s is not the key of %s", h->ca_key, h->ca_cert);
	}
	return 0;
}

static int sign_host(const struct cert_host *h, const char *san, struct work *w, struct err *e)
{
	if (begin_cert(w, h->name, h->days) &&
	    add_extension(w->cert, w->ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(w->cert, w->ca, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(w->cert, w->ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(w->cert, w->ca, NID_subject_key_identifier, "hash") &&
	    add_extension(w->cert, w->ca, NID_authority_key_identifier, "keyid") &&
	    add_extension(w->cert, w->ca, NID_subject_alt_name, san) &&
	    X509_sign(w->cert, w->ca_key, EVP_sha256()))
		return write_pair(w, h->cert, h->key, e);
	return library_error(e, -ENOMEM, "make a host's certificate");
}

int cert_make_host(const struct cert_host *h, struct err *e)
{
	struct work w = {.key = NULL};
	char san[SAN_SIZE];
	int rc = check_request(h->name, h->days, e);

	if (!rc)
		rc = check_paths(h->cert, h->key, e);
	if (!rc)
		rc = make_san(h, san, e);
	if (rc < 0)
		return rc;
	ERR_clear_error();
	rc = read_authority(h, &w, e);
	if (!rc)
		rc = sign_host(h, san, &w, e);
	work_fini(&w);
	return rc;
}

/* ---- reading -------------------------------------------------------------- */

static time_t to_time(const ASN1_TIME *t)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return timegm(&tm);
}

static void common_name(const X509_NAME *from, char name[NAME_SIZE])
{
	if (X509_NAME_get_text_by_NID(from, NID_commonName, name, NAME_SIZE) < 0)
		name[0] = 0;
}

/* The first DNS name, if there is one that fits. */
static void dns_name(const X509 *cert, char name[NAME_SIZE])
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);
		int len;

		if (n->type != GEN_DNS)
			continue;
		len = ASN1_STRING_length(n->d.dNSName);
		if (len > 0 && len < NAME_SIZE) {
			memcpy(name, ASN1_STRING_get0_data(n->d.dNSName), (size_t)len);
			name[len] = 0;
		}
		break;
	}
	GENERAL_NAMES_free(all);
}

int cert_read(const char *path, struct cert_info *info, struct err *e)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	X509 *cert;
	int rc;

	ERR_clear_error();
	rc = read_cert(path, &cert, e);
	if (rc < 0)
		return rc;
	memset(info, 0, sizeof(*info));
	common_name(X509_get_subject_name(cert), info->name);
	common_name(X509_get_issuer_name(cert), info->issuer);
	dns_name(cert, info->name);
	info->not_before = to_time(X509_get0_notBefore(cert));
	info->not_after = to_time(X509_get0_notAfter(cert));
	info->is_ca = X509_check_ca(cert) > 0;
	if (X509_digest(cert, EVP_sha256(), sum, &size) != 1)
		size = 0;
	for (unsigned int i = 0; i < size && i < 32; i++)
		(void)snprintf(info->fingerprint + 2 * (size_t)i, 3, "%02x", sum[i]);
	X509_free(cert);
	return 0;
}
