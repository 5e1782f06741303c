// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's part of `romulus switchover`: the request and its answer; see primary_shell.h. Control thread. */
#include <errno.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event_log.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "replicator/primary_shell.h"

/* The last checkpoint, the peer's activation, and destroying the domain here: each has a bound of its own. */
#define TIMEOUT_NS (120 * NS_PER_SEC)

int primary_switchover(struct primary_shell *s, struct ctl_request *rq, struct err *e)
{
	const struct primary_event ev = {.type = PEV_SWITCHOVER};
	enum switchover_refusal why = primary_may_switch_over(&s->core, clock_now());

	if (why != SWITCHOVER_MAY)
		return err_setx(e, -EBUSY, "%s cannot be moved to %s now: %s", s->state.vm,
				s->state.peer, switchover_refusal_text(why));
	/* It would stand still for the backup's question, and go on here. */
	if (s->core.conf.policy == POLICY_ARBITER && s->vote.answered && !s->vote.reachable)
		return err_setx(
			e, -EBUSY,
			"%s cannot be moved to %s now: the arbiter, whose vote it needs, cannot be asked: %s",
			s->state.vm, s->state.peer, s->vote.text);
	if (s->rebuild)
		return err_setx(e, -EBUSY,
				"%s cannot be moved to %s now: its devices or memory just changed",
				s->state.vm, s->state.peer);
	log_info("the operator moves the VM to %s", s->state.peer);
	event_log_say(s->events, "switchover", s->state.vm, "the operator moves the VM to %s",
		      s->state.peer);
	ctl_server_later(rq, TIMEOUT_NS);
	s->switchover = rq->token;
	primary_shell_event(s, &ev);
	return 0;
}

void primary_switchover_done(struct primary_shell *s)
{
	struct err e = ERR_INIT;
	struct json *reply;
	int rc = 0;

	if (!s->switchover.id || !s->ctl)
		return;
	reply = ctl_server_reply(s->ctl, s->switchover);
	if (reply) {
		json_out_text(reply, "peer", s->state.peer);
		json_out_u64(reply, "term", s->core.conf.term);
	}
	if (!s->deposed)
		rc = err_setx(&e, -ECANCELED, "the protection of %s has ended before it was moved",
			      s->state.vm);
	ctl_server_finish(s->ctl, s->switchover, rc, &e);
	s->switchover.id = 0;
}

void primary_switchover_failed(struct primary_shell *s)
{
	const char *why = "the backup does not answer";
	struct err e = ERR_INIT;

	if (s->core.leaving)
		why = "its protection is to end";
	else if (*s->problem)
		why = s->problem;

	if (s->core.handed)
		err_setx(
			&e, -EHOSTUNREACH,
			"%s was to take %s over and did not say that it did (%s): the guest goes on here, what it "
			"sends is held until %s is heard; see romulus status %s",
			s->state.peer, s->state.vm, why, s->state.peer, s->state.vm);
	else
		err_setx(&e, -ECANCELED, "%s stays here: %s", s->state.vm, why);
	log_warn("%s", e.text);
	event_log_say(s->events, "switchover-failed", s->state.vm, "%s", e.text);
	if (s->switchover.id && s->ctl)
		ctl_server_finish(s->ctl, s->switchover, e.rc, &e);
	s->switchover.id = 0;
}
