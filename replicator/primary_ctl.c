// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's control commands. Control thread. The answers' shape is in romulus-status(8). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/ctl_std.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "replicator/primary_shell.h"

/* Abandoning destroys a domain at the peer; longer than that and the peer is lost anyway. */
#define UNPROTECT_TIMEOUT_NS (60 * NS_PER_SEC)

static void put_hist(struct json *j, const char *key, const struct hist *h)
{
	struct json *o = json_out_object(j, key);

	json_out_u64(o, "count", h->count);
	json_out_u64(o, "sum", h->sum);
	json_out_u64(o, "p50", hist_percentile(h, 0.50));
	json_out_u64(o, "p99", hist_percentile(h, 0.99));
	json_out_u64(o, "max", h->max);
}

static void put_epoch(struct json *j, const char *key, uint64_t epoch)
{
	if (epoch == EPOCH_NONE)
		json_out_text(j, key, NULL);
	else
		json_out_u64(j, key, epoch);
}

static double rate_hz(const struct primary_figures *f, uint64_t now)
{
	uint64_t n = f->n_taken < SHELL_RATE_WINDOW ? f->n_taken : SHELL_RATE_WINDOW;
	uint64_t oldest;

	if (n < 2)
		return 0;
	oldest = f->taken_at[f->n_taken < SHELL_RATE_WINDOW ? 0 : f->n_taken % SHELL_RATE_WINDOW];
	return (double)(n - 1) * (double)NS_PER_SEC / (double)(clock_until(now, oldest) + 1);
}

static void put_times(struct json *j, const struct primary_figures *f)
{
	struct json *o;

	put_hist(j, "pause_us", &f->pause_us);
	o = json_out_object(j, "phases_us");
	put_hist(o, "request", &f->request_us);
	put_hist(o, "switch", &f->switch_us);
	put_hist(o, "bitmap", &f->bitmap_us);
	put_hist(o, "copy", &f->copy_us);
	put_hist(o, "state", &f->state_us);
	put_hist(o, "resume", &f->resume_us);
	o = json_out_object(j, "suspend");
	json_out_text(o, "path", f->suspend_path);
	json_out_text(o, "resume", f->suspend_path ? (f->self_aware ? "bare" : "told") : NULL);
	o = json_out_object(j, "dirty_pages");
	json_out_u64(o, "last", f->last_pages);
	json_out_u64(o, "p50", hist_percentile(&f->dirty_pages, 0.50));
	json_out_u64(o, "p99", hist_percentile(&f->dirty_pages, 0.99));
	o = json_out_object(j, "lag_ms");
	json_out_double(o, "p50", (double)hist_percentile(&f->lag_us, 0.50) / 1000);
	json_out_double(o, "p99", (double)hist_percentile(&f->lag_us, 0.99) / 1000);
}

static void put_copy(struct json *j, const struct primary_shell *s, uint64_t now)
{
	const struct primary_figures *f = &s->fig;
	struct json *o = json_out_object(j, "copy");
	double seconds = (double)(clock_until(now, f->copy_started_ns) + 1) / (double)NS_PER_SEC;

	json_out_u64(o, "round", f->copy_round);
	json_out_u64(o, "pages", f->copy_done);
	json_out_u64(o, "total", f->copy_total);
	json_out_double(o, "percent",
			f->copy_total ? 100.0 * (double)f->copy_done / (double)f->copy_total : 0);
	json_out_double(o, "mb_s",
			s->core.state == PRIMARY_COPYING
				? (double)f->copy_sent * GUEST_PAGE_SIZE / 1e6 / seconds
				: 0);
}

static void put_wire(struct json *j, const struct primary_figures *f)
{
	struct json *o = json_out_object(j, "wire");

	json_out_u64(o, "raw_bytes", f->wire.raw_bytes);
	json_out_u64(o, "sent_bytes", f->sent_bytes);
	json_out_u64(o, "zero", f->wire.pages[PAGE_ZERO]);
	json_out_u64(o, "same", f->wire.pages[PAGE_UNCHANGED]);
	json_out_u64(o, "delta", f->wire.pages[PAGE_DELTA]);
	json_out_u64(o, "lz4", f->wire.pages[PAGE_LZ4]);
	json_out_u64(o, "raw", f->wire.pages[PAGE_RAW]);
	json_out_bool(o, "ktls", f->ktls);
}

/* What must stay 0 on a good host, and the figures to find out why it does not. */
static void put_counters(struct json *j, const struct primary_shell *s)
{
	const struct guest_counters *g = &s->fig.guest;
	struct heartbeat_stats hb = {0};
	struct netbuf_counters nb;
	struct json *o = json_out_object(j, "guest");

	json_out_u64(o, "timeouts", g->timeouts);
	json_out_u64(o, "late_resumed", g->late_resumed);
	json_out_u64(o, "ext_lost", g->ext_lost);
	json_out_u64(o, "log_stolen", g->log_stolen);
	json_out_u64(o, "hole_dirty", g->hole_dirty);
	if (s->hb.hb)
		heartbeat_stats(s->hb.hb, &hb);
	o = json_out_object(j, "heartbeat");
	json_out_bool(o, "realtime", hb.realtime);
	json_out_u64(o, "sent", hb.sent);
	json_out_u64(o, "received", hb.received);
	json_out_u64(o, "missed", hb.missed);
	json_out_u64(o, "bad", hb.malformed + hb.bad_session + hb.bad_mac + hb.replayed);
	netbuf_get_counters(s->net, &nb);
	o = json_out_object(j, "lanes");
	json_out_u64(o, "switches", nb.switches);
	json_out_u64(o, "waits", nb.waits);
	json_out_u64(o, "again", nb.again);
	json_out_u64(o, "failures", nb.failures);
}

static void put_output(struct json *j, const struct primary_shell *s)
{
	struct json *o = json_out_object(j, "output");
	struct netbuf_stats sum = {0};

	for (unsigned int i = 0; i < netbuf_vifs(s->net); i++) {
		struct netbuf_stats one;

		netbuf_get_stats(s->net, i, &one);
		sum.held_frames += one.held_frames;
		sum.held_bytes += one.held_bytes;
		sum.peak_bytes += one.peak_bytes;
		sum.released_frames += one.released_frames;
		sum.dropped_frames += one.dropped_frames;
	}
	json_out_bool(o, "held", s->core.held);
	json_out_u64(o, "held_frames", sum.held_frames);
	json_out_u64(o, "held_bytes", sum.held_bytes);
	json_out_u64(o, "peak_bytes", sum.peak_bytes);
	json_out_u64(o, "released_frames", sum.released_frames);
	json_out_u64(o, "dropped", sum.dropped_frames);
	json_out_u64(o, "released_epochs", s->fig.acks);
	json_out_u64(o, "early", s->fig.early);
}

/* How long the copy of a disk will take as it goes, in seconds; 0: nobody can say. */
static uint64_t left_s(const struct primary_figures *f, unsigned int i, uint64_t now)
{
	uint64_t lacks = f->disk[i].behind_bytes, lacked = f->disk_lacked[i];
	uint64_t ms = clock_until(now, f->disks_started_ns) / NS_PER_MS;

	if (f->disk[i].synced || lacks >= lacked || !ms)
		return 0;
	return (uint64_t)((double)lacks / ((double)(lacked - lacks) / (double)ms) / 1000) + 1;
}

static void put_disks(struct json *j, const struct primary_shell *s, uint64_t now)
{
	struct json *a = s->disks ? json_out_array(j, "disks") : NULL;

	for (unsigned int i = 0; a && i < s->fig.n_disks; i++)
		disk_figures_put(a, &s->fig.disk[i], left_s(&s->fig, i, now));
}

/* A state that needs no message of somebody else to be explained. */
/* Held output of which the arbiter decides. */
static const char *vote_hint(const struct primary_shell *s)
{
	if (s->core.outvoted)
		return "the output stays held; if that host does not run it and never will, `romulus unprotect --force`";
	if (s->vote.answered && !s->vote.reachable)
		return "the guest runs, its output is held: the arbiter does not answer, it is asked again and again; bring it or the "
		       "backup back, or, if you know that the backup does not run this VM, `romulus unprotect --force`";
	return "the guest runs, its output is held: the arbiter is asked when the failure timeout has passed, "
	       "again and again; if you know that the backup does not run this VM, `romulus unprotect --force`";
}

static void put_problem(struct json *j, const struct primary_shell *s, uint64_t now)
{
	const char *what = s->problem, *hint = s->hint;
	char waits[SHELL_TEXT_SIZE + 256];
	char outvoted[SHELL_TEXT_SIZE];

	if (s->core.state == PRIMARY_PROTECTED && !primary_is_protected(&s->core, now)) {
		what = "nothing was heard from the backup for two heartbeats";
		hint = "it is lost when the failure timeout has passed";
	} else if (s->core.state == PRIMARY_LOST && s->core.conf.policy == POLICY_ARBITER) {
		hint = vote_hint(s);
		/* Not what each attempt to connect fails of. */
		if (s->core.outvoted) {
			snprintf(outvoted, sizeof(outvoted),
				 "outvoted: the arbiter gave this VM to %s under term %" PRIu64,
				 s->vote.holder, s->core.outvoted_term);
			what = outvoted;
		}
	} else if (s->core.state == PRIMARY_CONNECTING && s->state.taken == TAKEN_FROM_PEER) {
		snprintf(
			waits, sizeof(waits),
			"it runs here since it was taken over from %s, and waits for %s to return to protect it "
			"again%s%s",
			s->state.peer, s->state.peer, *what ? ": " : "", what);
		what = waits;
		hint = "nothing is to be done when that host is on its way; `romulus protect` to another one after "
		       "`romulus unprotect`";
	} else if (s->core.state == PRIMARY_LOST && s->core.conf.policy != POLICY_PRIMARY_WINS) {
		hint = "the guest runs, its output is held: bring the backup back, or, if you know that it does not "
		       "run this VM, `romulus unprotect --force`";
	}
	json_out_text(j, "problem", what);
	json_out_text(j, "hint", hint);
}

static int cmd_status(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct primary_shell *s = ctx;
	const struct primary *p = &s->core;
	uint64_t now = clock_now();
	struct json *j = rq->reply;

	json_out_text(j, "vm", s->state.vm);
	json_out_text(j, "role", "primary");
	json_out_text(j, "state", primary_state_name(p->state));
	json_out_bool(j, "protected", primary_is_protected(p, now));
	json_out_u64(j, "since_ms", clock_until(now, p->state_since_ns) / NS_PER_MS);
	json_out_u64(j, "domid", s->guest->domid);
	json_out_u64(j, "term", p->conf.term);
	put_epoch(j, "epoch", p->taken);
	put_epoch(j, "acked", p->acked);
	json_out_text(j, "peer", s->state.peer);
	json_out_u64(j, "peer_heard_ms", clock_until(now, p->peer.heard_ns) / NS_PER_MS);
	json_out_text(j, "policy", policy_name(p->conf.policy));
	vote_shell_put(&s->vote, j);
	json_out_text(j, "reprotect", s->state.alone ? "never" : "auto");
	json_out_double(j, "rate_hz", rate_hz(&s->fig, now));
	json_out_double(j, "epoch_period_ms",
			(double)p->conf.timing.epoch_period_ns / (double)NS_PER_MS);
	put_copy(j, s, now);
	put_times(j, &s->fig);
	put_wire(j, &s->fig);
	put_output(j, s);
	put_counters(j, s);
	put_disks(j, s, now);
	json_out_u64(j, "throttle_percent", p->throttle_percent);
	json_out_bool(j, "switching_over", p->moving);
	put_problem(j, s, now);
	return 0;
}

static int cmd_unprotect(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct primary_shell *s = ctx;
	struct primary_event ev = {.type = PEV_UNPROTECT};

	if (rq->argc == 1 && strcmp(rq->argv[0], "force") == 0)
		ev.force = true;
	else if (rq->argc)
		return err_setx(e, -EINVAL, "unknown word '%s', expected: force", rq->argv[0]);
	if (s->unprotect.id && ctl_server_reply(s->ctl, s->unprotect))
		return err_setx(e, -EBUSY, "it is being unprotected already");
	/* With an arbiter it can be found out. */
	if (!ev.force && s->core.state == PRIMARY_LOST &&
	    (s->core.conf.policy != POLICY_ARBITER || s->core.outvoted))
		return err_setx(
			e, -EHOSTUNREACH,
			"%s cannot be reached, and may run this VM: only it can say that it does not; "
			"bring it back, or make sure and use --force",
			s->state.peer);
	ctl_server_later(rq, UNPROTECT_TIMEOUT_NS);
	s->unprotect = rq->token;
	primary_shell_event(s, &ev);
	return 0;
}

static int cmd_switchover(void *ctx, struct ctl_request *rq, struct err *e)
{
	return primary_switchover(ctx, rq, e);
}

static int cmd_verify(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct primary_shell *s = ctx;
	int rc = primary_verify(s, e);

	if (rc == 0)
		json_out_u64(rq->reply, "pass", s->verify_pass);
	return rc;
}

int primary_ctl_register(struct primary_shell *s, struct ctl_server *ctl, struct err *e)
{
	const struct ctl_command commands[] = {
		{"status", "how the VM is", 0, 0, cmd_status, s},
		{"verify", "compare the backup's disks with those here", 0, 0, cmd_verify, s},
		{"drill", "'start JSON', 'ask' or 'end': try a copy of the standby, at the backup",
		 1, 1, primary_drill_cmd, s},
		{"unprotect", "[force]  leave protection, the VM runs on alone", 0, 1,
		 cmd_unprotect, s},
		{"switchover", "have the backup run the VM, nothing is lost", 0, 0, cmd_switchover,
		 s},
	};
	int rc = ctl_std_add(ctl, "romulus-primary");

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(commands); i++)
		rc = ctl_server_add(ctl, &commands[i]);
	if (rc < 0)
		return err_set(e, rc, "control commands");
	s->ctl = ctl;
	return 0;
}
