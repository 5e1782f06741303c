/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See arbiter.h. */
#include "arbiter/arbiter.h"

#include "arbiter/etcd.h"
#include "arbiter/fence.h"
#include "arbiter/witness_client.h"
#include "lib/conf.h"

void arbiter_ask(const struct conf *conf, const struct arbiter_ask *ask, struct verdict *v)
{
	switch ((enum conf_arbiter_kind)conf->arbiter_kind) {
	case CONF_ARBITER_WITNESS:
		witness_client_ask(conf, &ask->ballot, v);
		return;
	case CONF_ARBITER_ETCD:
		etcd_ask(conf, &ask->ballot, v);
		return;
	case CONF_ARBITER_FENCE:
		fence_ask(conf, ask, v);
		return;
	case CONF_ARBITER_NONE:
		break;
	}
	verdict_unknown(v, "no arbiter is configured: set arbiter.kind in romulus.conf(5)");
}
