// SPDX-License-Identifier: GPL-2.0-or-later
/* The backup's control commands. Control thread. The answers' shape is in romulus-status(8). */
#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/ctl_std.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "replicator/backup_shell.h"

/* Completing a standby and bringing up its devices, or destroying it. */
#define ANSWER_TIMEOUT_NS (60 * NS_PER_SEC)

static void put_epoch(struct json *j, const char *key, uint64_t epoch)
{
	if (epoch == EPOCH_NONE)
		json_out_text(j, key, NULL);
	else
		json_out_u64(j, key, epoch);
}

static void put_figures(struct json *j, const struct backup_shell *s)
{
	struct json *o = json_out_object(j, "copy");

	json_out_u64(o, "round", s->copy_round);
	json_out_u64(o, "pages", s->copy_done);
	json_out_u64(o, "total", s->copy_total);
	json_out_double(o, "percent",
			s->copy_total ? 100.0 * (double)s->copy_done / (double)s->copy_total : 0);
	o = json_out_object(j, "wire");
	json_out_u64(o, "received_bytes", s->received_bytes);
	json_out_u64(o, "raw_bytes", s->wire.raw_bytes);
	o = json_out_object(j, "epoch_pages");
	json_out_u64(o, "p50", hist_percentile(&s->epoch_pages, 0.50));
	json_out_u64(o, "p99", hist_percentile(&s->epoch_pages, 0.99));
	o = json_out_object(j, "apply_us");
	json_out_u64(o, "p50", hist_percentile(&s->apply_us, 0.50));
	json_out_u64(o, "p99", hist_percentile(&s->apply_us, 0.99));
	json_out_u64(o, "max", s->apply_us.max);
}

static void put_disks(struct json *j, const struct backup_shell *s)
{
	struct json *a = s->n_disks ? json_out_array(j, "disks") : NULL;

	for (unsigned int i = 0; i < s->n_disks; i++)
		disk_figures_put(a, &s->disk[i], 0);
}

static const char *silent_hint(const struct backup *b)
{
	switch (b->conf.policy) {
	case POLICY_BACKUP_WINS:
		return "when the failure timeout has passed the VM is activated here";
	case POLICY_ARBITER:
		return "when the failure timeout has passed the arbiter is asked, again and again, and the VM is "
		       "activated here if it grants that";
	case POLICY_HOLD:
	case POLICY_PRIMARY_WINS:
		break;
	}
	return "if you know that the VM does not run there: `romulus failover --force`";
}

static void put_problem(struct json *j, const struct backup_shell *s, uint64_t now)
{
	const char *what = s->problem, *hint = s->hint;
	const struct backup *b = &s->core;
	char outvoted[ERR_TEXT_SIZE];

	if (b->outvoted && b->state == BACKUP_STANDING) {
		snprintf(outvoted, sizeof(outvoted),
			 "outvoted: the arbiter gave this VM to %s under term %" PRIu64,
			 s->vote.holder, b->outvoted_term);
		what = outvoted;
		hint = "this copy is older than what runs there, or ran; if nothing runs: `romulus failover --force`";
	} else if (b->state == BACKUP_STANDING &&
		   liveness_verdict(&b->peer, now) != LIVENESS_ALIVE) {
		what = "nothing was heard from the primary";
		hint = silent_hint(b);
	} else if (b->state == BACKUP_STANDING && !b->link_up) {
		what = "the connection to the primary is lost, its heartbeats come";
		hint = "the primary connects again by itself";
	} else if (b->state == BACKUP_ACTIVE && !*what) {
		what = "the VM runs here, unprotected";
		hint = s->state.alone
			       ? "protect it to another host"
			       : "it is protected again, to the host that it came from, by itself";
	}
	json_out_text(j, "problem", what);
	json_out_text(j, "hint", hint);
}

static int cmd_status(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct backup_shell *s = ctx;
	const struct backup *b = &s->core;
	uint64_t now = clock_now();
	struct json *j = rq->reply;

	json_out_text(j, "vm", s->state.vm);
	json_out_text(j, "role", "backup");
	json_out_text(j, "state", backup_state_name(b->state));
	json_out_bool(j, "protected", backup_is_protecting(b, now));
	json_out_u64(j, "since_ms", clock_until(now, b->state_since_ns) / NS_PER_MS);
	if (s->domid)
		json_out_u64(j, "domid", s->domid);
	json_out_u64(j, "term", b->term);
	put_epoch(j, "epoch", b->committed);
	put_epoch(j, "acked", b->committed);
	put_epoch(j, "applied", b->applied);
	json_out_text(j, "peer", s->state.peer);
	json_out_u64(j, "peer_heard_ms", clock_until(now, b->peer.heard_ns) / NS_PER_MS);
	json_out_text(j, "policy", policy_name(b->conf.policy));
	vote_shell_put(&s->vote, j);
	json_out_text(j, "reprotect", s->state.alone ? "never" : "auto");
	json_out_u64(j, "epochs", s->epochs);
	put_figures(j, s);
	put_disks(j, s);
	put_problem(j, s, now);
	return 0;
}

static int later(struct backup_shell *s, struct ctl_request *rq, struct ctl_token *t,
		 const struct backup_event *ev, struct err *e)
{
	if (t->id && ctl_server_reply(s->ctl, *t))
		return err_setx(e, -EBUSY, "another request for the same is being worked on");
	ctl_server_later(rq, ANSWER_TIMEOUT_NS);
	*t = rq->token;
	backup_shell_event(s, ev);
	return 0;
}

static int cmd_failover(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct backup_event ev = {.type = BEV_FAILOVER};
	struct backup_shell *s = ctx;

	if (rq->argc == 1 && strcmp(rq->argv[0], "force") == 0)
		ev.force = true;
	else if (rq->argc)
		return err_setx(e, -EINVAL, "unknown word '%s', expected: force", rq->argv[0]);
	return later(s, rq, &s->failover_by, &ev, e);
}

static int cmd_supersede(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct backup_event ev = {.type = BEV_SUPERSEDE};
	struct backup_shell *s = ctx;

	return later(s, rq, &s->supersede_by, &ev, e);
}

/* The VM is protected from here now: nothing is left to watch. Its monitor lives on. */
static int cmd_retire(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct backup_shell *s = ctx;

	if (s->core.state != BACKUP_ACTIVE)
		return err_setx(e, -EBUSY, "the backup is %s, not active",
				backup_state_name(s->core.state));
	backup_shell_leave(s);
	return 0;
}

int backup_ctl_register(struct backup_shell *s, struct err *e)
{
	const struct ctl_command commands[] = {
		{"status", "how the standby is", 0, 0, cmd_status, s},
		{"failover", "[force]  activate the standby", 0, 1, cmd_failover, s},
		{"supersede", "abandon the standby for a new session", 0, 0, cmd_supersede, s},
		{"drill", "'start JSON', 'ask' or 'end': try a copy of the standby", 1, 1,
		 backup_drill_cmd, s},
		{"retire", "end this worker of a VM that was activated", 0, 0, cmd_retire, s},
	};
	int rc = ctl_std_add(s->ctl, "romulus-backup");

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(commands); i++)
		rc = ctl_server_add(s->ctl, &commands[i]);
	return rc < 0 ? err_set(e, rc, "control commands") : 0;
}
