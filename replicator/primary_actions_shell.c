// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary's shell carries out what the core says; see primary_shell_impl.h. It decides nothing, but what cannot be done
 * when an action before it has failed. Control thread.
 */
#include "replicator/primary_shell_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/flight.h"
#include "lib/log.h"
#include "lib/spawn.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
/* Destroying a domain with its devices: seconds at worst; longer means libxl hangs. */
#define DOMAIN_TIMEOUT_NS (60 * NS_PER_SEC)

void primary_shell_arm__(struct primary_shell *s)
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

void primary_shell_order_checkpoint__(struct primary_shell *s, uint64_t epoch, bool last)
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
			primary_shell_problem__(s, "it is tried again",
						"cannot open the guest's output: %s", e.text);
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

void primary_shell_disks_alone__(struct primary_shell *s, const struct pd_msg *m)
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
		primary_shell_problem__(
			s,
			"see romulus-disk(8); if the other host's copy is ever written, compare both",
			"the output is opened, though %s", m->text);
	open_lanes(s);
	primary_shell_arm__(s);
}

/* False: it is not durable. The disk that fails may be the one that it was written to. */
static bool persist_handover(struct primary_shell *s, bool handed)
{
	struct err e = ERR_INIT;
	int rc = vm_state_set_handed(s->conf->state_dir, s->state.vm, handed, &e);

	if (rc < 0)
		primary_shell_problem__(s, "make room there",
					"the handover cannot be remembered: %s", e.text);
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
		primary_shell_problem__(s, "make room there",
					"term %" PRIu64 " cannot be remembered: %s",
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
		primary_shell_problem__(s, "look at `xl list` and the log", "%s", e.text);
	return rc;
}

void primary_shell_give_up__(struct primary_shell *s)
{
	s->finished = true;
	s->exit_code = 1;
	sd_event_exit(s->loop, 0);
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
		/* The next one finds the output held, and asks the peer anew. */
		primary_shell_give_up__(s);
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

void primary_shell_disks_deposed__(struct primary_shell *s, const struct pd_msg *m)
{
	if (m->again) {
		destroy_guest(s);
		return;
	}
	if (m->text[0])
		primary_shell_problem__(
			s, "see romulus-disk(8)",
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
		primary_shell_order_checkpoint__(s, a->epoch, a->last);
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
		break; /* primary_shell_execute_all__() */
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

void primary_shell_execute_all__(struct primary_shell *s, const struct primary_actions *out)
{
	for (unsigned int i = 0; i < out->n && !s->finished; i++) {
		if (persist(s, &out->a[i]))
			execute(s, &out->a[i]);
		else if (i + 1 < out->n && do_instead(s, out->a[i].type, &out->a[i + 1]))
			i++;
	}
}
