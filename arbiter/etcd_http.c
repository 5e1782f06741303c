/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See etcd_http.h. */
#include "arbiter/etcd_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/mem.h"

struct etcd_http {
	CURL *curl;
	struct curl_slist *headers;
	size_t len;
	char text[ETCD_ANSWER_MAX + 1];
	char why[CURL_ERROR_SIZE];
};

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct etcd_http *h = arg;

	/* Less than what came: libcurl ends it. */
	if (n > ETCD_ANSWER_MAX - h->len)
		return 0;
	memcpy(h->text + h->len, data, n);
	h->len += n;
	return n;
}

static const char *or_else(const char *own, const char *dflt)
{
	return *own ? own : dflt;
}

static bool set_up(struct etcd_http *h, const struct conf *c)
{
	CURL *u = h->curl;
	CURLcode r = CURLE_OK;

#define SET(option, value) (r = r ? r : curl_easy_setopt(u, option, value))
	SET(CURLOPT_ERRORBUFFER, h->why);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	/* Nothing from the environment, nobody between. */
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_CAINFO, or_else(c->etcd_ca, c->tls_ca));
	/* Else every authority of the system would do as well. */
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSLCERT, or_else(c->etcd_cert, c->tls_cert));
	SET(CURLOPT_SSLKEY, or_else(c->etcd_key, c->tls_key));
	SET(CURLOPT_HTTPHEADER, h->headers);
	SET(CURLOPT_WRITEFUNCTION, take);
	SET(CURLOPT_WRITEDATA, h);
#undef SET
	return r == CURLE_OK;
}

int etcd_http_new(const struct conf *conf, struct etcd_http **out, struct err *e)
{
	struct etcd_http *h = mem_zalloc(sizeof(*h));

	if (h) {
		h->curl = curl_easy_init();
		h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	}
	if (!h || !h->curl || !h->headers || !set_up(h, conf)) {
		etcd_http_free(h);
		return err_set(e, -ENOMEM, "prepare a connection to etcd");
	}
	*out = h;
	return 0;
}

void etcd_http_free(struct etcd_http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	mem_free(h);
}

static int errno_of(CURLcode r)
{
	switch ((int)r) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CONNECT_ERROR:
		return -EKEYREJECTED;
	case CURLE_WRITE_ERROR:
		return -EMSGSIZE;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -ECONNRESET;
	}
}

int etcd_http_post(struct etcd_http *h, const struct etcd_question *q, struct etcd_answer *answer,
		   struct err *e)
{
	uint64_t left = clock_until(q->deadline_ns, clock_now());
	char url[CONF_LINES_SIZE + 64];
	CURLcode r;

	/* 0 would mean no limit. */
	if (left < NS_PER_MS)
		return err_setx(e, -ETIMEDOUT, "%s: no time is left", q->endpoint);
	(void)snprintf(url, sizeof(url), "%s%s", q->endpoint, q->path);
	h->len = 0;
	h->why[0] = 0;
	r = curl_easy_setopt(h->curl, CURLOPT_URL, url);
	if (!r)
		r = curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, q->body);
	if (!r)
		r = curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)(left / NS_PER_MS));
	if (!r)
		r = curl_easy_perform(h->curl);
	if (r)
		return err_setx(e, errno_of(r), "%s: %s", q->endpoint,
				r == CURLE_WRITE_ERROR ? "an answer that is too long"
				: *h->why	       ? h->why
						       : curl_easy_strerror(r));
	h->text[h->len] = 0;
	*answer = (struct etcd_answer){.text = h->text, .len = h->len};
	(void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	return 0;
}
