/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that was activated here is protected again, to the host that it was taken over from, without a word from the
 * operator: as `protect` would, with the policy and the times that came with its session. See host_ctl.h, reprotect.h.
 */
#include <errno.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/event_log.h"
#include "replicator/epoch.h"
#include "replicator/host_ctl.h"
#include "replicator/supervisor.h"
#include "replicator/vm_state.h"

void host_want_again__(struct host *h, const struct vm_state *s, uint64_t now)
{
	if (s->role != VM_ACTIVE || s->alone)
		return;
	if (reprotect_want(&h->again, s->vm, now))
		log_info(
			"vm %s: it was activated here; it is protected to %s again as soon as that is back",
			s->vm, s->peer);
	else
		log_err("vm %s: there are %d VMs to be protected again, more cannot be; use romulus protect",
			s->vm, REPROTECT_MAX);
}

void host_activated(void *ctx, const char *vm)
{
	struct host *h = ctx;
	struct err e = ERR_INIT;
	struct vm_state s;

	if (vm_state_load(h->conf->state_dir, vm, &s, &e) < 0)
		log_err("vm %s: not protected again: %s", vm, e.text);
	else
		host_want_again__(h, &s, clock_now());
}

static void failed(struct host *h, const char *vm, uint64_t now, const char *why)
{
	if (reprotect_failed(&h->again, vm, now))
		log_warn("vm %s: not protected again yet: %s", vm, why);
	else
		log_err("vm %s: not protected again: %s; use romulus protect", vm, why);
}

void host_refused_again__(struct host *h, const char *vm, uint64_t now)
{
	const struct supervised *w = supervisor_find(h->workers, vm, WORKER_PRIMARY);
	struct err e = ERR_INIT;
	struct vm_state s;

	if (vm_state_load(h->conf->state_dir, vm, &s, &e) == 0 && s.role == VM_ACTIVE && !s.alone)
		failed(h, vm, now, w ? w->problem : "its worker refused");
}

/* As with `protect`: the arbiter hears of a term that nobody can have asked it for. */
static void again_by_vote(struct vm_state *s)
{
	if (s->policy != POLICY_ARBITER)
		return;
	s->joined = false;
	s->term = MAX(s->term, s->asked) + 1;
}

static void protect_again(struct host *h, const char *vm, uint64_t now)
{
	struct err e = ERR_INIT;
	struct vm_state old, new;

	if (vm_state_load(h->conf->state_dir, vm, &old, &e) < 0) {
		failed(h, vm, now, e.text);
		return;
	}
	if (old.role != VM_ACTIVE || old.alone) {
		reprotect_drop(&h->again, vm); /* the operator was faster */
		return;
	}
	new = old;
	new.role = VM_PRIMARY;
	again_by_vote(&new);
	if (!conf_peer(h->conf, old.peer))
		err_setx(&e, -ENOENT, "\"%s\" is not in the list of peers of %s", old.peer,
			 h->conf->path);
	else if (host_protect__(h, &old, &new, &e) == 0)
		event_log_say(
			h->events, "protect", vm,
			"the VM, which was taken over from %s, is protected to it again by itself, term %llu",
			new.peer, (unsigned long long)new.term);
	if (e.rc < 0)
		failed(h, vm, now, e.text);
}

uint64_t host_deadline(const struct host *h)
{
	return reprotect_deadline(&h->again);
}

void host_dispatch(struct host *h, uint64_t now)
{
	char vm[NAME_SIZE];

	while (reprotect_due(&h->again, now, vm))
		protect_again(h, vm, now);
}
