/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See witness_client.h. */
#include "arbiter/witness_client.h"

#include <errno.h>
#include <string.h>

#include "arbiter/dial.h"
#include "arbiter/witness_wire.h"
#include "lib/cert.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/tls.h"

/* The witness knows us by our certificate: a record under another name would never be found ours. */
static int check_own_name(const struct conf *c, struct err *e)
{
	struct cert_info info;
	int rc = cert_read(c->tls_cert, &info, e);

	if (rc < 0)
		return rc;
	if (strcmp(info.name, c->host_name) != 0)
		return err_setx(e, -EKEYREJECTED, "%s is the certificate of %s, this host is %s",
				c->tls_cert, info.name, c->host_name);
	return 0;
}

static int exchange(const struct conf *c, struct dial *d, const struct ballot *b,
		    uint64_t deadline_ns, struct verdict *v, struct err *e)
{
	uint8_t answer[WITNESS_ANSWER_SIZE];
	uint8_t ask[WITNESS_ASK_SIZE];
	int rc;

	/* Any host has a certificate of our authority; only one of them is the witness. */
	if (strcmp(dial_peer_name(d), c->witness_name) != 0)
		return err_setx(e, -EKEYREJECTED, "it is %s by its certificate", dial_peer_name(d));
	witness_ask_encode(b, ask);
	rc = dial_write(d, ask, sizeof(ask), deadline_ns, e);
	if (!rc)
		rc = dial_read(d, answer, sizeof(answer), deadline_ns, e);
	return rc < 0 ? rc : witness_answer_decode(b, v, answer, e);
}

static int ask(const struct conf *c, const struct ballot *b, struct verdict *v, struct err *e)
{
	const struct tls_conf tc = {.ca = c->tls_ca, .cert = c->tls_cert, .key = c->tls_key};
	uint64_t deadline_ns = clock_add(clock_now(), c->arbiter_timeout_ns);
	struct tls_ctx *tls = NULL;
	struct dial *d = NULL;
	int rc = check_own_name(c, e);

	if (!rc)
		rc = tls_ctx_new(&tls, &tc, e);
	if (!rc)
		rc = dial_open(&d, tls, c->witness_address, (uint16_t)c->witness_port, deadline_ns,
			       e);
	if (!rc)
		rc = exchange(c, d, b, deadline_ns, v, e);
	dial_close(d);
	tls_ctx_free(tls);
	return rc;
}

void witness_client_ask(const struct conf *conf, const struct ballot *b, struct verdict *v)
{
	struct err e = ERR_INIT;

	if (!strcmp(b->peer, conf->witness_name)) {
		verdict_unknown(v, "%s is the witness and cannot be a VM's host as well", b->peer);
		return;
	}
	if (ask(conf, b, v, &e) < 0)
		verdict_unknown(v, "witness %s at %s port %u: %s", conf->witness_name,
				conf->witness_address, (unsigned int)conf->witness_port, e.text);
}
