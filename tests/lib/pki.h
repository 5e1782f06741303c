/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates for tests: two authorities, good hosts and bad ones, in a folder that goes away. */
#ifndef TESTS_LIB_PKI_H
#define TESTS_LIB_PKI_H

#include <stdbool.h>

#include "lib/tls.h"

/* Fails the running test when something does not work. NULL-safe free. */
struct pki;

struct pki *pki_new(void);
void pki_free(struct pki *p);
/* "ca.pem", "a.key", ... in the folder; valid until the eighth call after it. */
const char *pki_path(struct pki *p, const char *file);
/*
 * A context for this host with this authority to trust. Hosts of the good authority "ca": "a", "b".
 * Host of the authority "other": "evil".
 */
struct tls_ctx *pki_ctx(struct pki *p, const char *ca, const char *host, bool ktls);

#endif
