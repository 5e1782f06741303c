// SPDX-License-Identifier: GPL-2.0-or-later
/* See vote_shell.h. */
#include "replicator/vote_shell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event_log.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/spawn.h"

/* From look to look; a look of a fence runs its agent. */
#define LOOK_NS (30 * NS_PER_SEC)
/* Beside what the program takes at most by itself: starting it on a busy host. */
#define SLACK_NS (3 * NS_PER_SEC)

const char *vote_kind_name(const struct conf *c)
{
	static const char *const names[] = {"none", "witness", "etcd", "fence"};

	return c->arbiter_kind < ARRAY_SIZE(names) ? names[c->arbiter_kind] : "?";
}

static uint64_t limit(const struct conf *c)
{
	return conf_arbiter_bound(c) + SLACK_NS;
}

static void look_at(struct vote_shell *v, uint64_t at)
{
	if (sd_event_source_set_time(v->timer, at / NS_PER_US + 1) < 0 ||
	    sd_event_source_set_enabled(v->timer, SD_EVENT_ONESHOT) < 0)
		die("cannot arm the timer of the arbiter");
}

/* Said when it changes, not each time. */
static void note_reachable(struct vote_shell *v, const struct vote_answer *a, uint64_t now)
{
	bool reachable = a->vote != VOTE_UNKNOWN;

	if (v->answered && reachable == v->reachable)
		return;
	v->answered = true;
	v->reachable = reachable;
	v->since_ns = now;
	if (reachable) {
		log_info("the arbiter (%s) answers", vote_kind_name(v->conf));
		event_log_say(v->events, "arbiter-answers", v->vm, "the arbiter (%s) answers",
			      vote_kind_name(v->conf));
		return;
	}
	log_warn(
		"the arbiter (%s) cannot be asked: %s; nothing changes for the VM while both hosts "
		"live",
		vote_kind_name(v->conf), a->text);
	event_log_say(
		v->events, "arbiter-silent", v->vm,
		"the arbiter (%s) cannot be asked: %s -> nothing changes for the VM while both "
		"hosts live",
		vote_kind_name(v->conf), a->text);
}

static void note(struct vote_shell *v, const struct vote_answer *a)
{
	uint64_t now = clock_now();

	note_reachable(v, a, now);
	snprintf(v->text, sizeof(v->text), "%s", a->text);
	if (a->vote == VOTE_UNKNOWN)
		return;
	v->heard_ns = now;
	v->term = a->term;
	/* Who is granted holds. */
	snprintf(v->holder, sizeof(v->holder), "%s",
		 *a->holder || !a->term ? a->holder : v->conf->host_name);
}

static void on_answer(void *arg, const struct vote_answer *a)
{
	struct vote_shell *v = arg;

	note(v, a);
	look_at(v, clock_add(clock_now(), LOOK_NS));
	if (a->question != VOTE_ASK_VOTE)
		return;
	log_warn("the arbiter (%s) on term %" PRIu64 ": %s%s%s", vote_kind_name(v->conf), a->asked,
		 vote_name(a->vote),
		 *a->text     ? ": "
		 : *a->holder ? ", held by "
			      : "",
		 *a->text ? a->text : a->holder);
	v->voted(v->arg, a);
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct vote_shell *v = arg;

	if (!vote_ask_busy(v->ask))
		vote_ask_start(v->ask, VOTE_ASK_LOOK, 0);
	return 0;
}

static void fill(struct vote_ask_conf *ac, const struct vote_shell_conf *c, const char *program)
{
	*ac = (struct vote_ask_conf){
		.program = program,
		.conf_path = c->conf->path,
		.vm = c->vm,
		.peer = c->peer,
		.is_backup = c->is_backup,
		.limit_ns = limit(c->conf),
	};
	memcpy(ac->uuid, c->uuid, sizeof(ac->uuid));
}

int vote_shell_start(struct vote_shell *v, sd_event *loop, const struct vote_shell_conf *c,
		     struct err *e)
{
	struct vote_ask_conf ac;
	int rc;

	fill(&ac, c, v->program);
	ac.answered = on_answer;
	ac.arg = v;
	v->conf = c->conf;
	snprintf(v->vm, sizeof(v->vm), "%s", c->vm);
	rc = sd_event_add_time(loop, &v->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer, v);
	if (rc < 0)
		return err_set(e, rc, "timer of the arbiter");
	rc = vote_ask_new(&v->ask, loop, &ac, e);
	if (rc == 0)
		look_at(v, 0);
	return rc;
}

void vote_shell_stop(struct vote_shell *v)
{
	v->timer = sd_event_source_disable_unref(v->timer);
	vote_ask_free(v->ask);
	v->ask = NULL;
}

void vote_shell_ask(struct vote_shell *v, uint64_t term)
{
	log_warn("asking the arbiter (%s) for term %" PRIu64, vote_kind_name(v->conf), term);
	vote_ask_start(v->ask, VOTE_ASK_VOTE, term);
}

void vote_shell_fail(struct vote_shell *v, uint64_t term, const char *why)
{
	vote_ask_fail(v->ask, VOTE_ASK_VOTE, term, why);
}

void vote_shell_put(const struct vote_shell *v, struct json *j)
{
	uint64_t now = clock_now();
	struct json *o;

	if (!v->ask)
		return;
	o = json_out_object(j, "arbiter");
	json_out_text(o, "kind", vote_kind_name(v->conf));
	json_out_bool(o, "asked", v->answered);
	json_out_bool(o, "reachable", v->reachable);
	if (v->answered)
		json_out_u64(o, "since_ms", clock_until(now, v->since_ns) / NS_PER_MS);
	if (v->heard_ns)
		json_out_u64(o, "heard_ms", clock_until(now, v->heard_ns) / NS_PER_MS);
	if (v->term) {
		json_out_u64(o, "term", v->term);
		json_out_text(o, "holder", v->holder);
	}
	json_out_text(o, "problem", v->text);
}

/* ---- join ---- */

static int joined(const struct vote_answer *a, const struct vote_shell_conf *c, struct err *e)
{
	switch (a->vote) {
	case VOTE_GRANTED:
		return 0;
	case VOTE_REFUSED:
		return err_setx(
			e, -EBUSY,
			"the arbiter gave %s to %s under term %" PRIu64
			": if it runs there, protect it from there; this host knows no newer term",
			c->vm, a->holder, a->term);
	case VOTE_UNKNOWN:
		break;
	}
	return err_setx(
		e, -EHOSTUNREACH,
		"the arbiter (%s) cannot be asked, without it protection does not begin: %s",
		vote_kind_name(c->conf), a->text);
}

int vote_shell_join(const struct vote_shell_conf *c, const char *program, uint64_t term,
		    struct err *e)
{
	struct vote_answer a = {.question = VOTE_ASK_JOIN, .asked = term};
	struct vote_ask_conf ac;
	const char *argv[VOTE_ARGS];
	char buf[VOTE_BUF];
	char said[512];
	char complaint[256];
	struct spawn sp = {.argv = argv,
			   .timeout_ns = limit(c->conf),
			   .out = said,
			   .out_size = sizeof(said),
			   .err = complaint,
			   .err_size = sizeof(complaint)};
	int rc;

	fill(&ac, c, program);
	vote_ask_argv(&ac, VOTE_ASK_JOIN, term, argv, buf);
	rc = spawn_run(&sp, e);
	if (rc < 0)
		return err_wrap(e, rc, "the arbiter cannot be asked");
	vote_line_read(&a, said, sp.out_used, sp.out_cut ? -1 : sp.status);
	return joined(&a, c, e);
}
