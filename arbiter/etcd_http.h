/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One POST after the other to etcd over HTTPS with certificates on both sides; the only place that sees libcurl. */
#ifndef ARBITER_ETCD_HTTP_H
#define ARBITER_ETCD_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct conf;
struct err;
struct etcd_http;

#define ETCD_ANSWER_MAX ((size_t)64 << 10)

/* 0 and the caller owns *out, or -ENOMEM. conf is borrowed. */
MUST_CHECK int etcd_http_new(const struct conf *conf, struct etcd_http **out, struct err *e);
/* NULL is a no-op. */
void etcd_http_free(struct etcd_http *h);

struct etcd_question {
	const char *endpoint; /* "https://host:port" */
	const char *path;
	const char *body;
	uint64_t deadline_ns;
};

struct etcd_answer {
	long status; /* HTTP's */
	const char *text;
	size_t len; /* at most ETCD_ANSWER_MAX */
};

/*
 * *answer is valid until the next call. 0 with whatever status; or
 * -ETIMEDOUT, -EKEYREJECTED, -EMSGSIZE, -EHOSTUNREACH, ... with a text that names the endpoint.
 */
MUST_CHECK int etcd_http_post(struct etcd_http *h, const struct etcd_question *q,
			      struct etcd_answer *answer, struct err *e);

#endif
