// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary's shell: see primary_shell.h. The functions stand in the order in which a session lives.
 * Control thread.
 */
#include "replicator/primary_shell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/log.h"
#include "lib/spawn.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
/* Destroying a domain with its devices: seconds at worst; longer means libxl hangs. */
#define DOMAIN_TIMEOUT_NS (60 * NS_PER_SEC)

PRINTF(3, 4)
static void problem(struct primary_shell *s, const char *hint, const char *fmt, ...)
{
	char before[sizeof(s->problem)];
	uint64_t now = clock_now();
	va_list ap;

	memcpy(before, s->problem, sizeof(before));

	va_start(ap, fmt);
	vsnprintf(s->problem, sizeof(s->problem), fmt, ap);
	va_end(ap);
	snprintf(s->hint, sizeof(s->hint), "%s", hint);
	log_warn("%s%s%s", s->problem, *hint ? "; " : "", hint);
	/* An attempt to connect that fails as the last one did is no news. */
	if (strcmp(before, s->problem) == 0 || now < s->problem_told_ns)
		return;
	s->problem_told_ns = clock_add(now, STORY_PROBLEM_NS);
	event_log_say(s->events, "problem", s->state.vm, "%s%s%s", s->problem, *hint ? "; " : "",
		      hint);
}

static void no_problem(struct primary_shell *s)
{
	s->problem[0] = '\0';
	s->hint[0] = '\0';
}

/* ---- heartbeats ---- */

static struct heartbeat_values values(const struct primary_shell *s)
{
	return (struct heartbeat_values){
		.state = (uint8_t)s->core.state,
		.flags = primary_is_protected(&s->core, clock_now()) ? HEARTBEAT_PROTECTED : 0,
		.term = s->core.conf.term,
		.epoch = s->core.taken,
		.done = s->fig.copy_done,
		.total = s->fig.copy_total,
	};
}

static void on_heartbeat(void *arg, const struct heartbeat_msg *newest)
{
	const struct primary_event ev = {.type = PEV_HEARTBEAT, .at_ns = newest->at_ns};

	primary_shell_event(arg, &ev);
}

static void start_heartbeats(struct primary_shell *s)
{
	struct heartbeat_conf c = {
		.side = HEARTBEAT_PRIMARY,
		.peer = s->session.hb_peer,
		.period_ns = s->core.conf.timing.heartbeat_period_ns,
		.first = values(s),
	};
	struct addr local = s->session.hb_local;
	struct err e = ERR_INIT;
	int fd, rc = heartbeat_socket(&local, 0, 1, &fd, &e);

	memcpy(c.secret, s->session.hb_secret, sizeof(c.secret));
	if (rc == 0)
		rc = hb_shell_start_take(&s->hb, s->loop, &c, fd, &e);
	/*
	 * Once in a session: without them both sides hear nothing, and give it up. The next one tries again.
	 */
	s->hb_tried = true;
	if (rc < 0)
		log_err("heartbeats: %s", e.text);
}

/* P5: they begin once in a session, when the core says so, and end with it at the latest. */
static void update_heartbeats(struct primary_shell *s)
{
	struct heartbeat_values v = values(s);

	if (!s->in_session || !primary_heartbeats(&s->core))
		hb_shell_stop(&s->hb);
	else if (!s->hb_tried)
		start_heartbeats(s);
	else
		hb_shell_tell(&s->hb, &v);
}

/* HELLO_OK: whoever had the VM before it was activated here stands by for us, its older copy is gone. */
static void taken_is_known(struct primary_shell *s)
{
	struct err e = ERR_INIT;

	if (s->state.taken != TAKEN_FROM_PEER)
		return;
	if (vm_state_set_taken(s->conf->state_dir, s->state.vm, TAKEN_NOT, &e) < 0)
		log_warn("%s", e.text); /* it is told once more than is needed */
	else
		s->state.taken = TAKEN_NOT;
}

static void begin_session(struct primary_shell *s, const struct pd_msg *up)
{
	s->session = *up;
	s->in_session = true;
	s->hb_tried = false;
	s->lapsed = false;
	s->fig.ktls = up->ktls;
	flight_session(s->flight);
	taken_is_known(s);
}

static void end_session(struct primary_shell *s)
{
	s->in_session = false;
	hb_shell_stop(&s->hb);
	tls_wipe(s->session.hb_secret, sizeof(s->session.hb_secret));
}

/* ---- actions ---- */

static void arm(struct primary_shell *s)
{
	uint64_t at = primary_next_deadline(&s->core);
	uint64_t net = netbuf_next_deadline(s->net);
	int r;

	if (net < at)
		at = net;
	if (s->opening && netbuf_is_open(s->net))
		at = 0; /* on_timer() tells the core */
	if (at == CLOCK_NEVER) {
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	} else {
		r = sd_event_source_set_time(s->timer, at / NS_PER_US + 1);
		if (r >= 0)
			r = sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		die("cannot arm the timer: %s", strerror(-r));
}

static void command(struct primary_shell *s, enum pd_cmd_type type, const struct primary_action *a)
{
	struct pd_cmd cmd = {
		.type = type,
		.epoch = a->epoch,
		.term = a->term,
		.percent = a->percent,
		.leave = a->leave,
		.adopt = s->core.held,
		.last = a->last,
		.planned = a->planned,
	};

	primary_data_command(s->data, &cmd);
}

/* Asks the devices first: a lane must be free. If none is, on_timer() asks again. */
static void order_checkpoint(struct primary_shell *s, uint64_t epoch, bool last)
{
	const struct primary_action a = {.type = PACT_CHECKPOINT, .epoch = epoch, .last = last};
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < s->n_devices; i++)
		rc = s->device[i]->ops->prepare(s->device[i], epoch);
	s->pending_checkpoint = EPOCH_NONE;
	if (rc == -EAGAIN) {
		s->pending_checkpoint = epoch;
		s->pending_last = last;
		return;
	}
	if (rc < 0)
		die("checkpoint %" PRIu64 ": the network lanes%s refuse it: %s", epoch,
		    s->disks ? " or the disks" : "", strerror(-rc));
	command(s, PD_CHECKPOINT, &a);
}

static void disconnect(struct primary_shell *s, const struct primary_action *a)
{
	primary_data_cancel(s->data);
	command(s, PD_DISCONNECT, a);
}

/* P3: who was stopped since it was decided finds the lease over, and lets nothing out of this session any more. */
static bool release_lapsed(struct primary_shell *s, const struct primary_action *a)
{
	const struct primary_action end = {.type = PACT_DISCONNECT};

	if (!s->lapsed && clock_now() < a->until_ns)
		return false;
	if (!s->lapsed) {
		log_warn("epoch %" PRIu64 ": its acknowledgement is too old; the output stays held",
			 a->epoch);
		disconnect(s, &end);
	}
	s->lapsed = true;
	return true;
}

static void release(struct primary_shell *s, uint64_t epoch)
{
	const struct primary_action acked = {.type = PACT_RELEASE, .epoch = epoch};

	for (unsigned int i = 0; i < s->n_devices; i++) {
		int rc = s->device[i]->ops->commit(s->device[i], epoch);

		/* P1: an epoch that the lanes do not know is not let out; a later ACK covers it. */
		if (rc < 0)
			log_err("epoch %" PRIu64 ": output not released: %s", epoch, strerror(-rc));
	}
	flight_step(s->flight, epoch, FLIGHT_RELEASE, clock_now());
	if (s->disks)
		command(s, PD_DISKS_ACKED, &acked);
}

static void open_lanes(struct primary_shell *s)
{
	struct err e = ERR_INIT;

	for (unsigned int i = 0; i < s->n_devices; i++) {
		if (s->device[i]->ops->open(s->device[i], &e) < 0)
			problem(s, "it is tried again", "cannot open the guest's output: %s",
				e.text);
	}
	s->opening = true;
}

/* The disks first: what the world sees from here on is a history of their own. */
static void open_output(struct primary_shell *s, const struct primary_action *a)
{
	if (s->disks)
		command(s, PD_DISKS_ALONE, a);
	else
		open_lanes(s);
}

static void disks_alone(struct primary_shell *s, const struct pd_msg *m)
{
	const struct primary_action again = {.type = PACT_OPEN_OUTPUT};

	/* P3: what was decided since counts. */
	if (!s->core.opening || s->core.state == PRIMARY_DEPOSED || s->core.state == PRIMARY_ENDED)
		return;
	if (m->again) {
		command(s, PD_DISKS_ALONE, &again);
		return;
	}
	/* P4: the guest is not silenced for what its disk cannot remember. */
	if (m->text[0])
		problem(s,
			"see romulus-disk(8); if the other host's copy is ever written, compare both",
			"the output is opened, though %s", m->text);
	open_lanes(s);
	arm(s);
}

/* False: it is not durable. The disk that fails may be the one that it was written to. */
static bool persist_handover(struct primary_shell *s, bool handed)
{
	struct err e = ERR_INIT;
	int rc = vm_state_set_handed(s->conf->state_dir, s->state.vm, handed, &e);

	if (rc < 0)
		problem(s, "make room there", "the handover cannot be remembered: %s", e.text);
	return rc == 0;
}

/* What is durable already costs nothing: a question is asked again every second. */
static bool persist_term(struct primary_shell *s, const struct primary_action *a)
{
	struct err e = ERR_INIT;
	int rc = 0;

	if (a->term > s->state.term || a->asked > s->state.asked)
		rc = vm_state_set_terms(s->conf->state_dir, s->state.vm, a->term, a->asked, &e);
	if (rc < 0) {
		problem(s, "make room there", "term %" PRIu64 " cannot be remembered: %s",
			MAX(a->term, a->asked), e.text);
		return false;
	}
	s->state.term = MAX(s->state.term, a->term);
	s->state.asked = MAX(s->state.asked, a->asked);
	return true;
}

static void sync_disks(struct primary_shell *s, const struct primary_action *a)
{
	disk_shell_begin(s->disks);
	s->fig.disks_started_ns = clock_now();
	memset(s->fig.disk_lacked, 0, sizeof(s->fig.disk_lacked));
	command(s, PD_DISKS_SYNC, a);
}

/* Runs romulus-domain to its end; a failure is said and remembered, the caller goes on. */
static int domain_tool(struct primary_shell *s, const char *const argv[])
{
	char out[1024];
	struct spawn sp = {
		.argv = argv, .timeout_ns = DOMAIN_TIMEOUT_NS, .out = out, .out_size = sizeof(out)};
	struct err e = ERR_INIT;
	int rc = spawn_check(&sp, &e);

	if (rc < 0)
		problem(s, "look at `xl list` and the log", "%s", e.text);
	return rc;
}

/* Ends the worker; whoever comes next starts from what it finds. */
static void give_up(struct primary_shell *s)
{
	s->finished = true;
	s->exit_code = 1;
	sd_event_exit(s->loop, 0);
}

/*
 * What we work with is not the guest, or not its lanes, any more (`rebuild`): may a fresh start put that right
 * now? P1: not a page is copied, and so nothing is ever called protected, before one has. With the output open
 * it costs nothing. Lanes are urgent in LOST, as output may pass by them while the peer goes alone, and the
 * next worker adopts what is held; but not when it is decided what becomes of that. A changed guest is not: its
 * devices may go because it is being destroyed. Between, the peer is told first.
 */
static bool may_start_afresh(const struct primary_shell *s)
{
	const struct primary *p = &s->core;

	switch (p->state) {
	case PRIMARY_CONNECTING:
	case PRIMARY_COPYING:
		return !p->held;
	case PRIMARY_LOST:
		return s->tampered && !p->leaving && !p->open_wanted && !p->opening;
	case PRIMARY_SYNCING:
	case PRIMARY_PROTECTED:
	case PRIMARY_LEAVING:
	case PRIMARY_HANDING:
	case PRIMARY_DEPOSED:
	case PRIMARY_ENDED:
		break;
	}
	return false;
}

static void destroy_domain(struct primary_shell *s)
{
	char domid[16];
	const char *const argv[] = {DOMAIN_TOOL, "destroy", domid, NULL};
	const struct primary_event done = {.type = PEV_GUEST_GONE_DONE};

	snprintf(domid, sizeof(domid), "%u", s->guest->domid);
	log_warn("%s runs this VM under term %" PRIu64 ": destroying domain %s here", s->state.peer,
		 s->core.conf.term, domid);
	/* A guest that cannot be destroyed stays silent: its output is held until it is gone. */
	if (domain_tool(s, argv) < 0) {
		give_up(s); /* the next one finds the output held, and asks the peer anew */
		return;
	}
	s->deposed = true;
	primary_shell_event(s, &done);
}

/* The disks first: one that keeps answers back would keep the domain from going. */
static void destroy_guest(struct primary_shell *s)
{
	const struct primary_action a = {.type = PACT_DESTROY_GUEST};

	if (s->disks)
		command(s, PD_DISKS_DEPOSED, &a);
	else
		destroy_domain(s);
}

static void disks_deposed(struct primary_shell *s, const struct pd_msg *m)
{
	if (m->again) {
		destroy_guest(s);
		return;
	}
	if (m->text[0])
		problem(s, "see romulus-disk(8)",
			"the copy here is outdated, and a disk does not know it: %s", m->text);
	destroy_domain(s);
}

static const char *shutdown_word(enum leave_reason r)
{
	return r == LEAVE_GUEST_CRASH ? "crash" : "shutdown";
}

static void end_guest(struct primary_shell *s, enum leave_reason reason)
{
	char domid[16];
	const char *const argv[] = {DOMAIN_TOOL, "lifecycle", domid, NULL};

	snprintf(domid, sizeof(domid), "%u", s->guest->domid);
	log_info("the guest ended by itself (%s): obeying its on_* setting", shutdown_word(reason));
	(void)domain_tool(s, argv);
}

/*
 * P4: as long as a host may have an older copy of what was activated here, it must not hear that this is a VM like any
 * other. But nobody protects it again against the operator's will, or when it has ended.
 */
static int forget_role(struct primary_shell *s, struct err *e)
{
	const char *dir = s->conf->state_dir, *vm = s->state.vm;
	enum vm_role role;
	int rc = 0;

	if (s->deposed && s->state.taken == TAKEN_FROM_PEER) {
		s->state.taken = TAKEN_NOT; /* the peer has it */
		rc = vm_state_set_taken(dir, vm, TAKEN_NOT, e);
	}
	role = vm_state_role_after(&s->state);
	if (rc == 0 && role == VM_ACTIVE)
		rc = vm_state_set_alone(dir, vm, true, e);
	return rc < 0 ? rc : vm_state_set_role(dir, vm, role, s->core.conf.term, e);
}

static void finish(struct primary_shell *s)
{
	struct err e = ERR_INIT;
	int rc = forget_role(s, &e);

	if (rc < 0)
		log_err("%s", e.text);
	s->exit_code = rc < 0 ? 1 : s->deposed ? WORKER_DEPOSED : WORKER_DONE;
	s->finished = true;
	log_info("done: %s", s->deposed ? "deposed" : "unprotected");
	rc = 0;
	if (s->deposed)
		rc = err_setx(&e, -EOWNERDEAD, "%s runs at %s now; the copy here is gone",
			      s->state.vm, s->state.peer);
	if (s->unprotect.id && s->ctl)
		ctl_server_finish(s->ctl, s->unprotect, rc, &e);
	primary_switchover_done(s);
	sd_event_exit(s->loop, 0);
}

static void execute(struct primary_shell *s, const struct primary_action *a)
{
	switch (a->type) {
	case PACT_CONNECT:
		command(s, PD_CONNECT, a);
		break;
	case PACT_DISCONNECT:
		disconnect(s, a);
		break;
	case PACT_START_COPY:
		s->fig.copy_started_ns = clock_now();
		command(s, PD_START_COPY, a);
		break;
	case PACT_CHECKPOINT:
		order_checkpoint(s, a->epoch, a->last);
		break;
	case PACT_RELEASE:
		if (!release_lapsed(s, a))
			release(s, a->epoch);
		break;
	case PACT_OPEN_OUTPUT:
		open_output(s, a);
		break;
	case PACT_SEND_BYE:
		command(s, PD_BYE, a);
		break;
	case PACT_THROTTLE:
		log_info("guest's CPU cap: %u%%", a->percent);
		command(s, PD_THROTTLE, a);
		break;
	case PACT_DESTROY_GUEST:
		destroy_guest(s);
		break;
	case PACT_END_GUEST:
		end_guest(s, a->leave);
		break;
	case PACT_END:
		finish(s);
		break;
	case PACT_DISKS_SYNC:
		sync_disks(s, a);
		break;
	case PACT_DISKS_LEAVE:
		command(s, PD_DISKS_LEAVE, a);
		break;
	case PACT_SEND_HANDOVER:
		command(s, PD_HANDOVER, a);
		break;
	case PACT_PERSIST_HANDOVER:
	case PACT_PERSIST_TERM:
		break; /* execute_all() */
	case PACT_RESUME:
		command(s, PD_RESUME, a);
		break;
	case PACT_SWITCHOVER_FAILED:
		primary_switchover_failed(s);
		break;
	case PACT_ASK_VOTE:
		vote_shell_ask(&s->vote, a->term);
		break;
	}
}

/* What depends on what could not be made durable is not done. False: `next` does not. */
static bool do_instead(struct primary_shell *s, enum primary_action_type lost,
		       const struct primary_action *next)
{
	if (lost == PACT_PERSIST_TERM && next->type == PACT_ASK_VOTE) {
		vote_shell_fail(&s->vote, next->term, s->problem);
		return true;
	}
	if (lost == PACT_PERSIST_TERM && next->type != PACT_START_COPY &&
	    next->type != PACT_DISKS_SYNC)
		return false;
	disconnect(s, next);
	return true;
}

static bool persist(struct primary_shell *s, const struct primary_action *a)
{
	if (a->type == PACT_PERSIST_TERM)
		return persist_term(s, a);
	return a->type != PACT_PERSIST_HANDOVER || persist_handover(s, a->handed);
}

static void execute_all(struct primary_shell *s, const struct primary_actions *out)
{
	for (unsigned int i = 0; i < out->n && !s->finished; i++) {
		if (persist(s, &out->a[i]))
			execute(s, &out->a[i]);
		else if (i + 1 < out->n && do_instead(s, out->a[i].type, &out->a[i + 1]))
			i++;
	}
}

static void put_story(struct primary_shell *s, struct event *ev)
{
	snprintf(ev->vm, sizeof(ev->vm), "%s", s->state.vm);
	event_fact_text(ev, "peer", s->state.peer);
	event_log_put(s->events, ev);
}

static void tell_vote(struct primary_shell *s, const struct primary *was, uint64_t now,
		      const struct primary_event *cause)
{
	struct event ev;

	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_primary_vote(&s->story, was, &s->core, cause, s->said, &ev))
		put_story(s, &ev);
}

/* For those who ask afterwards what was decided, and on which evidence. An answer comes before what comes of it. */
static void tell_story(struct primary_shell *s, const struct primary *was, uint64_t now,
		       const struct primary_event *cause)
{
	bool is_answer = cause->type == PEV_VOTE;
	struct event ev;

	if (is_answer)
		tell_vote(s, was, now, cause);
	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_primary(&s->story, was, &s->core, cause, &ev))
		put_story(s, &ev);
	if (!is_answer)
		tell_vote(s, was, now, cause);
}

/* Who wants to go on alone is told that he may not. */
static void tell_outvoted(struct primary_shell *s)
{
	struct err e = ERR_INIT;
	int rc;

	problem(s, "", "outvoted: the arbiter gave this VM to %s under term %" PRIu64,
		s->vote.holder, s->core.outvoted_term);
	rc = err_setx(&e, -EBUSY, "%s; say --force again if you know that it does not run there",
		      s->problem);
	if (s->unprotect.id && s->ctl)
		ctl_server_finish(s->ctl, s->unprotect, rc, &e);
	s->unprotect = (struct ctl_token){.id = 0};
}

void primary_shell_event(struct primary_shell *s, const struct primary_event *ev)
{
	struct primary_actions out;
	struct primary was = s->core;
	uint64_t now = clock_now();

	if (s->finished)
		return;
	primary_step(&s->core, now, ev, &out);
	if (s->core.outvoted && !was.outvoted)
		tell_outvoted(s);
	if (s->core.state != was.state)
		log_info("state %s -> %s on %s, epoch %" PRIi64 " acknowledged %" PRIi64,
			 primary_state_name(was.state), primary_state_name(s->core.state),
			 primary_event_name(ev->type), (int64_t)s->core.taken,
			 (int64_t)s->core.acked);
	tell_story(s, &was, now, ev);
	if (s->core.state == PRIMARY_PROTECTED && was.state != PRIMARY_PROTECTED)
		no_problem(s);
	update_heartbeats(s);
	if (s->rebuild && may_start_afresh(s)) {
		give_up(s);
		return;
	}
	execute_all(s, &out);
	if (!s->finished)
		arm(s);
}

/* ---- what happens ---- */

/* The output is open: tell the core. */
static void check_opened(struct primary_shell *s)
{
	const struct primary_event ev = {.type = PEV_OUTPUT_OPENED};

	if (!s->opening || !netbuf_is_open(s->net))
		return;
	s->opening = false;
	primary_shell_event(s, &ev);
}

static void check_pressure(struct primary_shell *s)
{
	const struct primary_event ev = {.type = PEV_OUTPUT_PRESSURE};
	bool half = netbuf_half_full(s->net);

	if (half && !s->pressure_told) {
		s->fig.early++;
		primary_shell_event(s, &ev);
	}
	s->pressure_told = half;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct primary_shell *s = arg;
	const struct primary_event tick = {.type = PEV_TICK};

	netbuf_poll(s->net, clock_now());
	if (s->pending_checkpoint != EPOCH_NONE && s->core.checkpointing)
		order_checkpoint(s, s->pending_checkpoint, s->pending_last);
	check_opened(s);
	check_pressure(s);
	if (!s->finished)
		primary_shell_event(s, &tick);
	return 0;
}

static void record_taken(struct primary_shell *s, const struct pd_msg *m)
{
	const struct checkpoint_phases *ph = &m->phases;
	struct flight_epoch f = {.epoch = m->epoch, .at_ns = m->at_ns, .pages = m->pages};

	for (int p = 0; p < FLIGHT_PHASES; p++)
		f.us[p] = FLIGHT_UNKNOWN;
	f.us[FLIGHT_REQUEST] = (uint32_t)(ph->request_ns / NS_PER_US);
	f.us[FLIGHT_SWITCH] = (uint32_t)(ph->switch_ns / NS_PER_US);
	f.us[FLIGHT_BITMAP] = (uint32_t)(ph->bitmap_ns / NS_PER_US);
	f.us[FLIGHT_COPY] = (uint32_t)(ph->copy_ns / NS_PER_US);
	f.us[FLIGHT_STATE] = (uint32_t)(ph->state_ns / NS_PER_US);
	f.us[FLIGHT_RESUME] = (uint32_t)(ph->resume_ns / NS_PER_US);
	f.us[FLIGHT_PAUSE] = (uint32_t)(ph->pause_ns / NS_PER_US);
	flight_begin(s->flight, &f);
}

static void count_taken(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	const struct checkpoint_phases *ph = &m->phases;

	hist_add(&f->pause_us, ph->pause_ns / NS_PER_US);
	hist_add(&f->request_us, ph->request_ns / NS_PER_US);
	hist_add(&f->switch_us, ph->switch_ns / NS_PER_US);
	hist_add(&f->bitmap_us, ph->bitmap_ns / NS_PER_US);
	hist_add(&f->copy_us, ph->copy_ns / NS_PER_US);
	hist_add(&f->state_us, ph->state_ns / NS_PER_US);
	hist_add(&f->resume_us, ph->resume_ns / NS_PER_US);
	hist_add(&f->dirty_pages, m->pages);
	f->last_pages = m->pages;
	f->suspend_path = m->suspend_path;
	f->self_aware = m->self_aware;
	f->guest = m->guest;
	f->taken_at[f->n_taken++ % SHELL_RATE_WINDOW] = m->at_ns;
}

static void count_ack(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	uint64_t behind;

	if (s->core.taken == EPOCH_NONE || m->epoch > s->core.taken)
		return;
	behind = s->core.taken - m->epoch;
	f->acks++;
	if (behind < f->n_taken && behind < SHELL_RATE_WINDOW)
		hist_add(&f->lag_us,
			 clock_until(m->at_ns,
				     f->taken_at[(f->n_taken - 1 - behind) % SHELL_RATE_WINDOW]) /
				 NS_PER_US);
}

static void note_disk(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	struct port_compared compared;

	/* What it says of an older pass had left before the command for the newest came. */
	compared = m->disk.compared.pass < s->verify_pass ? f->disk[m->index].compared
							  : m->disk.compared;
	f->disk[m->index] = m->disk;
	f->disk[m->index].compared = compared;
	f->n_disks = MAX(f->n_disks, m->index + 1);
	f->disk_lacked[m->index] = MAX(f->disk_lacked[m->index], m->disk.behind_bytes);
}

/* Messages that are only figures or texts; true if the core need not know. */
static bool note(struct primary_shell *s, const struct pd_msg *m)
{
	switch (m->type) {
	case PD_COPY_PROGRESS:
		s->fig.copy_done = m->done;
		s->fig.copy_total = m->total;
		s->fig.copy_round = m->round;
		s->fig.copy_sent = m->epoch;
		s->fig.wire = m->wire;
		s->fig.sent_bytes = m->sent_bytes;
		return true;
	case PD_TAKEN:
		count_taken(s, m);
		record_taken(s, m);
		return false;
	case PD_SENT:
		flight_step(s->flight, m->epoch, FLIGHT_SEND, m->at_ns);
		flight_bytes(s->flight, m->epoch, m->sent_bytes);
		s->fig.wire = m->wire;
		s->fig.sent_bytes = m->sent_bytes;
		return false;
	case PD_ACK:
		count_ack(s, m);
		flight_step(s->flight, m->epoch, FLIGHT_ACK, m->at_ns);
		return false;
	case PD_LINK_UP:
		begin_session(s, m);
		return false;
	case PD_LINK_DOWN:
	case PD_REFUSED:
		end_session(s);
		/* After our BYE the peer hangs up: no problem, or one that the core's next state tells. */
		if (s->core.state == PRIMARY_LEAVING)
			log_info("the session has ended: %s", m->text);
		else if (m->text[0])
			problem(s, "it is tried again; see `romulus status` on both hosts",
				"no session with %s: %s", s->state.peer, m->text);
		return false;
	case PD_COPY_FAILED:
	case PD_ABORTED:
	case PD_GUEST:
	case PD_DISK_DROPPED:
		problem(s, "", "%s", m->text);
		return false;
	case PD_DISK_ERROR:
		problem(s, "see the host's kernel log", "%s", m->text);
		return false;
	case PD_DISK_PRESSURE:
		s->fig.early++;
		return false;
	case PD_DISK:
		note_disk(s, m);
		return true;
	case PD_DISKS_ALONE_DONE:
		disks_alone(s, m);
		return true;
	case PD_DISKS_DEPOSED_DONE:
		disks_deposed(s, m);
		return true;
	case PD_DRILL_SAYS:
		primary_drill_says(s, m);
		return true;
	case PD_STOPPED:
		return true;
	case PD_DISKS_SYNCED:
	case PD_PEER_ACTIVATED:
	case PD_COPY_DONE:
	case PD_BYE_OK:
		return false;
	}
	return true;
}

static enum primary_event_type event_of(enum pd_msg_type t)
{
	switch (t) {
	case PD_LINK_UP:
		return PEV_LINK_UP;
	case PD_LINK_DOWN:
	case PD_REFUSED:
		return PEV_LINK_DOWN;
	case PD_PEER_ACTIVATED:
		return PEV_PEER_ACTIVATED;
	case PD_COPY_DONE:
		return PEV_COPY_DONE;
	case PD_COPY_FAILED:
		return PEV_COPY_FAILED;
	case PD_TAKEN:
		return PEV_CHECKPOINT_TAKEN;
	case PD_ABORTED:
		return PEV_CHECKPOINT_ABORTED;
	case PD_SENT:
		return PEV_EPOCH_SENT;
	case PD_ACK:
		return PEV_ACK;
	case PD_BYE_OK:
		return PEV_BYE_OK;
	case PD_GUEST:
		return PEV_GUEST_EVENT;
	case PD_DISKS_SYNCED:
		return PEV_DISKS_SYNCED;
	case PD_DISK_DROPPED:
		return PEV_DISK_DROPPED;
	case PD_DISK_ERROR:
		return PEV_DISK_ERROR;
	case PD_DISK_PRESSURE:
		return PEV_OUTPUT_PRESSURE;
	case PD_COPY_PROGRESS:
	case PD_DISK:
	case PD_DISKS_ALONE_DONE:
	case PD_DISKS_DEPOSED_DONE:
	case PD_DRILL_SAYS:
	case PD_STOPPED:
		break;
	}
	return PEV_TICK;
}

void primary_shell_message(struct primary_shell *s, const struct pd_msg *m)
{
	const struct primary_event ev = {
		.type = event_of(m->type),
		.epoch = m->epoch,
		.term = m->term,
		.pages = m->pages,
		.leave = m->leave,
		.at_ns = m->at_ns,
	};

	if (m->type == PD_GUEST && m->leave == LEAVE_GUEST_CHANGED)
		s->rebuild = true;
	if (!note(s, m))
		primary_shell_event(s, &ev);
}

void primary_shell_guest_event(struct primary_shell *s, enum leave_reason leave, const char *text)
{
	const struct primary_event ev = {.type = PEV_GUEST_EVENT, .leave = leave};

	if (leave == LEAVE_GUEST_CHANGED)
		s->rebuild = true;
	problem(s, "", "%s", text);
	primary_shell_event(s, &ev);
}

void primary_shell_tampered(struct primary_shell *s, const char *text)
{
	s->rebuild = true;
	s->tampered = true;
	primary_shell_guest_event(s, LEAVE_RESYNC, text);
}

/* ---- begin and end ---- */

static void init_figures(struct primary_figures *f)
{
	memset(f, 0, sizeof(*f));
	hist_init(&f->pause_us);
	hist_init(&f->request_us);
	hist_init(&f->switch_us);
	hist_init(&f->bitmap_us);
	hist_init(&f->copy_us);
	hist_init(&f->state_us);
	hist_init(&f->resume_us);
	hist_init(&f->dirty_pages);
	hist_init(&f->lag_us);
}

static void on_vote(void *arg, const struct vote_answer *a)
{
	const struct primary_event ev = {
		.type = PEV_VOTE, .vote = a->vote, .asked = a->asked, .term = a->term};
	struct primary_shell *s = arg;

	s->said = a;
	primary_shell_event(s, &ev);
	s->said = NULL;
}

static int start_votes(struct primary_shell *s, struct err *e)
{
	const struct vote_shell_conf c = {
		.conf = s->conf, .vm = s->state.vm, .peer = s->state.peer, .uuid = s->guest->uuid};

	if (s->state.policy != POLICY_ARBITER)
		return 0;
	s->vote.voted = on_vote;
	s->vote.arg = s;
	s->vote.events = s->events;
	return vote_shell_start(&s->vote, s->loop, &c, e);
}

int primary_shell_start(struct primary_shell *s, const struct timing *t, uint32_t arena_pages,
			bool adopt, struct err *e)
{
	const struct primary_conf pc = {
		.timing = *t,
		.policy = s->state.policy,
		.term = s->state.term,
		.asked = s->state.asked,
		.arena_pages = arena_pages,
		.max_outstanding = LANES - 1,
		.adopt = adopt,
		.handed = s->state.handed,
		.disks = s->disks != NULL,
	};
	const struct primary_event tick = {.type = PEV_TICK};
	int r;

	s->device[s->n_devices++] = netbuf_device(s->net);
	/* Last: what it does in the pause cannot be taken back without the servers leaving the stream. */
	if (s->disks)
		s->device[s->n_devices++] = disk_shell_device(s->disks);
	s->pending_checkpoint = EPOCH_NONE;
	s->exit_code = 1;
	s->hb.heard = on_heartbeat;
	s->hb.arg = s;
	init_figures(&s->fig);
	r = sd_event_add_time(s->loop, &s->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer, s);
	if (r < 0)
		return err_set(e, r, "timer");
	r = start_votes(s, e);
	if (r < 0)
		return r;
	primary_init(&s->core, &pc, clock_now());
	primary_shell_event(s, &tick);
	return 0;
}

void primary_shell_asked_to_end(struct primary_shell *s)
{
	/* The next worker adopts what we leave: held output stays held. */
	log_info("asked to end; the output stays %s", s->core.held ? "held" : "open");
	s->rebuild = false;
	give_up(s);
}

void primary_shell_stop(struct primary_shell *s)
{
	end_session(s);
	vote_shell_stop(&s->vote);
	s->timer = sd_event_source_disable_unref(s->timer);
}
