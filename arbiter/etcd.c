/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See etcd.h. */
#include "arbiter/etcd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arbiter/etcd_http.h"
#include "arbiter/etcd_json.h"
#include "arbiter/record.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"

/* Only the two members change a key: more than a few lost races in one question are no race. */
#define MAX_SWAPS 8
#define KEY_SIZE (CONF_PATH_SIZE + UUID_TEXT_SIZE)

struct question {
	const struct ballot *b;
	struct verdict *v;
	struct etcd_http *http;
	char key[KEY_SIZE];
	char endpoint[CONF_LINES_SIZE];
	uint64_t deadline_ns; /* of this endpoint */
};

static int post(struct question *q, const char *path, const char *body, struct etcd_answer *answer,
		struct err *e)
{
	const struct etcd_question eq = {
		.endpoint = q->endpoint,
		.path = path,
		.body = body,
		.deadline_ns = q->deadline_ns,
	};
	char why[160];
	int rc = etcd_http_post(q->http, &eq, answer, e);

	if (rc < 0 || answer->status == 200)
		return rc;
	return err_setx(e, -EREMOTEIO, "%s: status %ld: %s", q->endpoint, answer->status,
			etcd_json_error(answer->text, answer->len, why, sizeof(why)));
}

static int read_key(struct question *q, struct etcd_kv *kv, struct err *e)
{
	char body[ETCD_BODY_SIZE];
	struct etcd_answer answer = {.status = 0};
	int rc = etcd_json_range(q->key, body, e);

	if (!rc)
		rc = post(q, "/v3/kv/range", body, &answer, e);
	if (rc < 0)
		return rc;
	rc = etcd_json_range_answer(q->key, answer.text, answer.len, kv, e);
	return rc < 0 ? err_wrap(e, rc, "%s", q->endpoint) : 0;
}

/* *kv is what was found; when it has changed meanwhile it becomes what is there now. */
static int swap(struct question *q, struct etcd_kv *kv, const char *value, bool *swapped,
		struct err *e)
{
	char body[ETCD_BODY_SIZE];
	struct etcd_answer answer = {.status = 0};
	int rc = etcd_json_swap(q->key, kv->revision, value, body, e);

	if (!rc)
		rc = post(q, "/v3/kv/txn", body, &answer, e);
	if (rc < 0)
		return rc;
	rc = etcd_json_swap_answer(q->key, answer.text, answer.len, swapped, kv, e);
	return rc < 0 ? err_wrap(e, rc, "%s", q->endpoint) : 0;
}

/* True: there is an answer in *q->v. */
static bool is_damaged(const struct question *q, const struct etcd_kv *kv, struct record *r)
{
	struct err e = ERR_INIT;
	int rc = record_decode(r, kv->value, kv->len, &e);

	if (!rc && memcmp(r->uuid, q->b->uuid, UUID_SIZE) != 0)
		rc = err_setx(&e, -EBADMSG, "the record of another VM");
	if (!rc)
		return false;
	verdict_unknown(q->v,
			"the value of %s in etcd is damaged (%s); find out which host runs the VM, "
			"then remove it: etcdctl del %s",
			q->key, e.text, q->key);
	return true;
}

/* 0: answered in *q->v. */
static int ask_endpoint(struct question *q, struct err *e)
{
	struct etcd_kv kv;
	int rc = read_key(q, &kv, e);

	for (int i = 0; !rc && i < MAX_SWAPS; i++) {
		char value[RECORD_TEXT_SIZE];
		struct record recorded;
		struct record next;
		bool swapped = false;

		if (kv.there && is_damaged(q, &kv, &recorded))
			return 0;
		if (!ballot_decide(q->b, kv.there ? &recorded : NULL, &next, q->v))
			return 0;
		/* Asked again: what a majority has is durable. */
		if (record_encode(&next, value) == kv.len && !memcmp(value, kv.value, kv.len))
			return 0;
		rc = swap(q, &kv, value, &swapped, e);
		if (!rc && swapped)
			return 0;
	}
	return rc < 0 ? rc
		      : err_setx(e, -EBUSY, "%s: %s was changed by others %d times", q->endpoint,
				 q->key, MAX_SWAPS);
}

static size_t count_endpoints(const struct conf *c)
{
	char url[CONF_LINES_SIZE];
	size_t n = 0;

	while (conf_line(c->etcd_endpoints, n, url, sizeof(url)))
		n++;
	return n;
}

static void ask_in_turn(const struct conf *c, struct question *q)
{
	uint64_t deadline_ns = clock_add(clock_now(), c->arbiter_timeout_ns);
	size_t n = count_endpoints(c);
	struct err first = ERR_INIT;
	struct err e = ERR_INIT;

	for (size_t i = 0; conf_line(c->etcd_endpoints, i, q->endpoint, sizeof(q->endpoint)); i++) {
		uint64_t now = clock_now();

		/* Its share of what is left. */
		q->deadline_ns =
			clock_add(now, clock_until(deadline_ns, now) / MAX(n - i, (size_t)1));
		if (ask_endpoint(q, &e) == 0)
			return;
		if (!i)
			first = e;
	}
	if (n > 1)
		verdict_unknown(q->v, "no endpoint of etcd answered: %s; %s", first.text, e.text);
	else
		verdict_unknown(q->v, "etcd: %s", e.text);
}

void etcd_ask(const struct conf *conf, const struct ballot *b, struct verdict *v)
{
	struct question q = {.b = b, .v = v};
	struct err e = ERR_INIT;
	char uuid[UUID_TEXT_SIZE];

	(void)snprintf(q.key, sizeof(q.key), "%s%s", conf->etcd_prefix, uuid_format(b->uuid, uuid));
	if (etcd_http_new(conf, &q.http, &e) < 0) {
		verdict_unknown(v, "%s", e.text);
		return;
	}
	ask_in_turn(conf, &q);
	etcd_http_free(q.http);
}
