/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a certificate authority and certificates for hosts (EC P-256), for `romulus cert`. Files
 * are PEM, mode 0600, synced; what exists is never overwritten. May block on the disk.
 */
#ifndef LIB_CERT_H
#define LIB_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;

#define CERT_CA_DAYS 3650
#define CERT_HOST_DAYS 1825
#define CERT_MAX_DAYS 36500
#define CERT_MAX_ALT 16

/*
 * A new authority of this name (name_ok()). 0, -EEXIST when one of the files is there, -EINVAL, or
 * another negative errno; then none of the files is left.
 */
MUST_CHECK int cert_make_ca(const char *cert_path, const char *key_path, const char *name,
			    unsigned int days, struct err *e);

struct cert_host {
	const char *ca_cert; /* paths */
	const char *ca_key;
	const char *cert;
	const char *key;
	const char *name;	       /* name_ok(); becomes the first DNS name: the peer's name */
	const char *alt[CERT_MAX_ALT]; /* further names: IP addresses or DNS names */
	size_t n_alt;
	unsigned int days; /* cut to what the authority lives */
};

/* A new key and a certificate signed by the authority. Errors as above. */
MUST_CHECK int cert_make_host(const struct cert_host *h, struct err *e);

struct cert_info {
	char name[NAME_SIZE];	/* first DNS name, or the common name */
	char issuer[NAME_SIZE]; /* common name, cut */
	time_t not_before;
	time_t not_after;
	bool is_ca;
	char fingerprint[65]; /* SHA-256, hex */
};

/* Reads a certificate for people and `doctor`. 0 or negative errno. */
MUST_CHECK int cert_read(const char *path, struct cert_info *info, struct err *e);

#endif
