/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pki.h. */
#include "tests/lib/pki.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cert.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "tests/lib/test.h"

struct pki {
	char *dir;
	unsigned int next;
	char path[8][512];
};

const char *pki_path(struct pki *p, const char *file)
{
	char *path = p->path[p->next++ % ARRAY_SIZE(p->path)];

	(void)snprintf(path, sizeof(p->path[0]), "%s/%s", p->dir, file);
	return path;
}

static const char *with(struct pki *p, const char *name, const char *suffix)
{
	char file[32];

	(void)snprintf(file, sizeof(file), "%s%s", name, suffix);
	return pki_path(p, file);
}

static void make_ca(struct pki *p, const char *name)
{
	struct err e = ERR_INIT;

	if (cert_make_ca(with(p, name, ".pem"), with(p, name, ".key"), name, 10, &e) < 0)
		fail_msg("%s", e.text);
}

static void make_host(struct pki *p, const char *ca, const char *name)
{
	struct err e = ERR_INIT;
	struct cert_host h = {
		.ca_cert = with(p, ca, ".pem"),
		.ca_key = with(p, ca, ".key"),
		.cert = with(p, name, ".pem"),
		.key = with(p, name, ".key"),
		.name = name,
		.alt = {"127.0.0.1"},
		.n_alt = 1,
		.days = 5,
	};

	if (cert_make_host(&h, &e) < 0)
		fail_msg("%s", e.text);
}

struct pki *pki_new(void)
{
	struct pki *p = mem_zalloc(sizeof(*p));

	assert_non_null(p);
	p->dir = mem_strdup("/tmp/pki-XXXXXX");
	assert_non_null(p->dir);
	assert_non_null(mkdtemp(p->dir));
	make_ca(p, "ca");
	make_ca(p, "other");
	make_host(p, "ca", "a");
	make_host(p, "ca", "b");
	make_host(p, "other", "evil");
	return p;
}

void pki_free(struct pki *p)
{
	struct dirent *entry;
	DIR *dir;

	if (!p)
		return;
	dir = opendir(p->dir);
	while (dir && (entry = readdir(dir)))
		(void)unlink(pki_path(p, entry->d_name));
	if (dir)
		(void)closedir(dir);
	(void)rmdir(p->dir);
	mem_free(p->dir);
	mem_free(p);
}

struct tls_ctx *pki_ctx(struct pki *p, const char *ca, const char *host, bool ktls)
{
	struct err e = ERR_INIT;
	struct tls_ctx *ctx = NULL;
	struct tls_conf conf = {
		.ca = with(p, ca, ".pem"),
		.cert = with(p, host, ".pem"),
		.key = with(p, host, ".key"),
		.ktls = ktls,
	};

	if (tls_ctx_new(&ctx, &conf, &e) < 0)
		fail_msg("%s", e.text);
	return ctx;
}
