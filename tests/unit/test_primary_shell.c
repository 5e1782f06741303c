/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's shell around the real core. Everything that it commands is a fake here: data thread, lanes,
 * heartbeats, tools, control socket. Time is real and nothing waits for it.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/spawn.h"
#include "replicator/primary_shell.h"

#define TERM 7

struct bed {
	struct primary_shell s;
	struct conf conf;
	struct guest_info guest;
	struct ckpt_device device;
	char dir[32];
	char said[256]; /* commands to the data thread, actions on the lanes */
	int hb_starts;
	int heartbeats; /* what hb_shell_start_take() returns */
	int tool;	/* what romulus-domain returns */
	uint64_t asked_for;
	int answers; /* to `unprotect`, and the last one */
	int answer;
	char answer_text[ERR_TEXT_SIZE];
	struct json *reply; /* of who waits, NULL: nobody */
	uint32_t asked;	    /* the newest question about drills */
	bool busy;	    /* commands pile up */
};

static struct bed *bed;

static void say(const char *what)
{
	size_t n = strlen(bed->said);

	snprintf(bed->said + n, sizeof(bed->said) - n, "%s%s", n ? " " : "", what);
}

/* What was said since the last call. */
static const char *said(void)
{
	static char text[sizeof(bed->said)];

	memcpy(text, bed->said, sizeof(text));
	bed->said[0] = '\0';
	return text;
}

/* ---- fakes ---- */

bool primary_data_busy(const struct primary_data *d)
{
	return bed->busy;
}

void primary_data_command(struct primary_data *d, const struct pd_cmd *cmd)
{
	static const char *const names[PD_STOP + 1] = {
		[PD_CONNECT] = "connect", [PD_DISCONNECT] = "disconnect",
		[PD_START_COPY] = "copy", [PD_CHECKPOINT] = "checkpoint",
		[PD_BYE] = "bye",	  [PD_THROTTLE] = "throttle",
		[PD_RESUME] = "resume",
	};

	if (cmd->type == PD_DRILL) {
		bed->asked = cmd->drill;
		say("drill");
		mem_free(cmd->text);
		return;
	}
	if (cmd->type == PD_HANDOVER)
		say(cmd->planned ? "handover-planned" : "handover");
	else
		say(cmd->last ? "checkpoint-last" : names[cmd->type]);
}

void primary_data_cancel(struct primary_data *d)
{
}

struct ckpt_device *netbuf_device(struct netbuf *nb)
{
	return &bed->device;
}

bool netbuf_half_full(const struct netbuf *nb)
{
	return false;
}

bool netbuf_is_open(const struct netbuf *nb)
{
	return false;
}

uint64_t netbuf_next_deadline(const struct netbuf *nb)
{
	return CLOCK_NEVER;
}

void netbuf_poll(struct netbuf *nb, uint64_t now)
{
}

static int fake_prepare(struct ckpt_device *d, uint64_t epoch)
{
	return 0;
}

static int fake_commit(struct ckpt_device *d, uint64_t epoch)
{
	say("release");
	return 0;
}

static int fake_open(struct ckpt_device *d, struct err *e)
{
	say("open");
	return 0;
}

static const struct ckpt_device_ops fake_ops = {
	.prepare = fake_prepare,
	.commit = fake_commit,
	.open = fake_open,
};

int heartbeat_socket(struct addr *local, uint16_t first, uint16_t n, int *fd_out, struct err *e)
{
	*fd_out = -1;
	return 0;
}

int hb_shell_start_take(struct hb_shell *h, sd_event *loop, struct heartbeat_conf *conf, int fd,
			struct err *e)
{
	bed->hb_starts++;
	if (bed->heartbeats < 0)
		return err_set(e, bed->heartbeats, "fake");
	h->hb = (struct heartbeat *)bed; /* not NULL */
	return 0;
}

void hb_shell_stop(struct hb_shell *h)
{
	h->hb = NULL;
}

void hb_shell_tell(struct hb_shell *h, const struct heartbeat_values *v)
{
}

int spawn_check(struct spawn *sp, struct err *e)
{
	say(sp->argv[1]);
	return bed->tool < 0 ? err_setx(e, bed->tool, "the tool failed") : 0;
}

void ctl_server_finish(struct ctl_server *s, struct ctl_token t, int rc, const struct err *e)
{
	bed->answers++;
	bed->answer = rc;
	snprintf(bed->answer_text, sizeof(bed->answer_text), "%s", rc < 0 ? e->text : "");
}

int vote_shell_start(struct vote_shell *v, sd_event *loop, const struct vote_shell_conf *c,
		     struct err *e)
{
	say("votes");
	return 0;
}

void vote_shell_stop(struct vote_shell *v)
{
}

void vote_shell_ask(struct vote_shell *v, uint64_t term)
{
	bed->asked_for = term;
	say("ask");
}

void vote_shell_fail(struct vote_shell *v, uint64_t term, const char *why)
{
	bed->asked_for = term;
	say(*why ? "fail" : "?");
}

void ctl_server_later(struct ctl_request *rq, uint64_t timeout_ns)
{
	rq->later = true;
}

struct json *ctl_server_reply(struct ctl_server *s, struct ctl_token t)
{
	return bed->reply;
}

/* ---- the stage ---- */

static int set_up(void **state)
{
	struct err e = ERR_INIT;
	struct timing t;
	const struct timing_conf tc = {
		.heartbeat_period_ns = NS_PER_SEC,
		.failure_timeout_ns = 60 * NS_PER_SEC,
		.epoch_period_ns = 25 * NS_PER_MS,
	};

	log_set_fd(-1);
	timing_derive(&t, &tc);
	bed = calloc(1, sizeof(*bed));
	strcpy(bed->dir, "/tmp/test_ps.XXXXXX");
	assert_non_null(mkdtemp(bed->dir));
	snprintf(bed->conf.state_dir, sizeof(bed->conf.state_dir), "%s", bed->dir);
	bed->device.ops = &fake_ops;
	bed->s.conf = &bed->conf;
	bed->s.guest = &bed->guest;
	vm_state_init(&bed->s.state, "web");
	bed->s.state.role = VM_PRIMARY;
	bed->s.state.policy = POLICY_BACKUP_WINS;
	bed->s.state.term = TERM;
	strcpy(bed->s.state.peer, "hostb");
	assert_int_equal(vm_state_save(bed->dir, &bed->s.state, &e), 0);
	assert_true(sd_event_new(&bed->s.loop) >= 0);
	assert_int_equal(primary_shell_start(&bed->s, &t, 1000, false, &e), 0);
	assert_string_equal(said(), "connect");
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	primary_shell_stop(&bed->s);
	sd_event_unref(bed->s.loop);
	snprintf(command, sizeof(command), "rm -rf %s", bed->dir);
	assert_int_equal(system(command), 0);
	free(bed);
	return 0;
}

static void message(enum pd_msg_type type, uint64_t epoch)
{
	const struct pd_msg m = {.type = type, .epoch = epoch, .term = TERM, .at_ns = clock_now()};

	primary_shell_message(&bed->s, &m);
}

static void event(enum primary_event_type type)
{
	const struct primary_event ev = {.type = type};

	primary_shell_event(&bed->s, &ev);
}

static void is(enum primary_state state, const char *what)
{
	assert_string_equal(primary_state_name(bed->s.core.state), primary_state_name(state));
	assert_string_equal(said(), what);
}

static void protect(void)
{
	message(PD_LINK_UP, 0);
	is(PRIMARY_COPYING, "copy");
	message(PD_COPY_DONE, 0);
	is(PRIMARY_SYNCING, "checkpoint");
	message(PD_TAKEN, 0);
	message(PD_SENT, 0);
	message(PD_ACK, 0);
	is(PRIMARY_PROTECTED, "release");
}

static void lose(void)
{
	protect();
	message(PD_LINK_DOWN, 0);
	is(PRIMARY_LOST, "");
	bed->s.core.retry_ns = 0; /* waiting is for others */
	event(PEV_TICK);
	is(PRIMARY_LOST, "connect");
}

static void change(void)
{
	primary_shell_guest_event(&bed->s, LEAVE_GUEST_CHANGED, "changed");
}

static void tamper(void)
{
	primary_shell_tampered(&bed->s, "tampered");
}

static void starts_afresh(void)
{
	assert_true(bed->s.finished);
	assert_true(bed->s.rebuild);
	assert_int_equal(bed->s.exit_code, 1);
	assert_string_equal(said(), "");
}

/* ---- a guest or lanes that changed ---- */

static void changed_before_a_session(void **state)
{
	change();
	starts_afresh();
}

static void changed_in_the_first_copy(void **state)
{
	message(PD_LINK_UP, 0);
	is(PRIMARY_COPYING, "copy");
	change();
	starts_afresh();
}

/* The peer is told first, so that the output may be let out. */
static void changed_under_protection(void **state)
{
	protect();
	change();
	assert_false(bed->s.finished);
	is(PRIMARY_LEAVING, "bye");
	message(PD_BYE_OK, 0);
	is(PRIMARY_LEAVING, "disconnect open");
	event(PEV_OUTPUT_OPENED);
	starts_afresh();
}

/* P1: its output may pass by the lanes: at once, the next worker adopts what is held. */
static void tampered_while_lost(void **state)
{
	lose();
	tamper();
	starts_afresh();
	assert_true(bed->s.core.held);
}

/* A guest whose devices go may be about to end: that is waited for, as the peer is to be told. */
static void changed_while_lost(void **state)
{
	lose();
	change();
	assert_false(bed->s.finished);
	primary_shell_guest_event(&bed->s, LEAVE_GUEST_DESTROYED, "destroyed");
	message(PD_LINK_UP, 0);
	is(PRIMARY_LOST, "open");
	event(PEV_OUTPUT_OPENED);
	assert_int_equal(bed->s.exit_code, WORKER_DONE);
}

static void changed_and_found_again(void **state)
{
	lose();
	change();
	message(PD_LINK_UP, 0);
	is(PRIMARY_LOST, "open");
	event(PEV_OUTPUT_OPENED);
	starts_afresh();
}

static void lost_while_leaving(void **state)
{
	protect();
	tamper();
	is(PRIMARY_LEAVING, "bye");
	message(PD_LINK_DOWN, 0);
	starts_afresh();
	assert_true(bed->s.core.held);
}

/* P1: the first copy over lanes that are not there must not even begin. */
static void tampered_while_opening(void **state)
{
	lose();
	message(PD_LINK_UP, 0);
	is(PRIMARY_LOST, "open");
	tamper();
	assert_false(bed->s.finished);
	event(PEV_OUTPUT_OPENED);
	starts_afresh();
}

/* What the operator decided is carried out, not forgotten. */
static void tampered_while_unprotecting(void **state)
{
	const struct primary_event unprotect = {.type = PEV_UNPROTECT, .force = true};

	lose();
	primary_shell_event(&bed->s, &unprotect);
	is(PRIMARY_LOST, "open");
	tamper();
	assert_false(bed->s.finished);
	event(PEV_OUTPUT_OPENED);
	assert_true(bed->s.finished);
	assert_int_equal(bed->s.exit_code, WORKER_DONE);
}

/* Whoever is asked to end does not start again by itself. */
static void asked_to_end(void **state)
{
	protect();
	change();
	is(PRIMARY_LEAVING, "bye");
	primary_shell_asked_to_end(&bed->s);
	assert_true(bed->s.finished);
	assert_false(bed->s.rebuild);
	assert_int_equal(bed->s.exit_code, 1);
	message(PD_BYE_OK, 0);
	is(PRIMARY_LEAVING, "");
}

/* ---- heartbeats ---- */

static void a_heartbeat_is_as_old_as_it_came(void **state)
{
	struct heartbeat_msg m = {.at_ns = clock_now()};

	protect();
	bed->s.core.peer.heard_ns = m.at_ns - NS_PER_SEC;
	bed->s.hb.heard(bed->s.hb.arg, &m);
	assert_int_equal(bed->s.core.peer.heard_ns, m.at_ns);
}

/* What cannot be started is not tried again at each event: the log would be full of it. */
static void heartbeats_begin_once(void **state)
{
	bed->heartbeats = -ENOMEM;
	protect();
	event(PEV_TICK);
	assert_int_equal(bed->hb_starts, 1);
	message(PD_LINK_DOWN, 0);
	bed->s.core.retry_ns = 0;
	event(PEV_TICK);
	message(PD_LINK_UP, 0);
	event(PEV_OUTPUT_OPENED);
	assert_int_equal(bed->s.core.state, PRIMARY_COPYING);
	assert_int_equal(bed->hb_starts, 2);
}

/* They end when the output is let out, and begin again with the copy. */
static void heartbeats_follow_the_core(void **state)
{
	protect();
	assert_int_equal(bed->hb_starts, 1);
	assert_non_null(bed->s.hb.hb);
	message(PD_LINK_DOWN, 0);
	assert_null(bed->s.hb.hb);
	bed->s.core.retry_ns = 0;
	event(PEV_TICK);
	message(PD_LINK_UP, 0);
	assert_null(bed->s.hb.hb);
	event(PEV_OUTPUT_OPENED);
	assert_non_null(bed->s.hb.hb);
	assert_int_equal(bed->hb_starts, 2);
}

/* ---- the end ---- */

static enum vm_role role(void)
{
	struct err e = ERR_INIT;
	struct vm_state v;

	assert_int_equal(vm_state_load(bed->dir, "web", &v, &e), 0);
	return v.role;
}

static void somebody_waits(void)
{
	const struct primary_event ev = {.type = PEV_UNPROTECT};

	bed->s.ctl = (struct ctl_server *)bed; /* not NULL; only the fake sees it */
	bed->s.unprotect.id = 1;
	primary_shell_event(&bed->s, &ev);
}

static void unprotected(void **state)
{
	protect();
	somebody_waits();
	is(PRIMARY_LEAVING, "bye");
	message(PD_BYE_OK, 0);
	is(PRIMARY_LEAVING, "disconnect open");
	assert_int_equal(bed->answers, 0);
	event(PEV_OUTPUT_OPENED);
	assert_int_equal(bed->s.exit_code, WORKER_DONE);
	assert_false(bed->s.deposed);
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, 0);
	assert_int_equal(role(), VM_NONE);
}

/* P3: whoever asked for an end of protection must not hear that the VM runs on here. */
static void deposed(void **state)
{
	const struct pd_msg m = {.type = PD_PEER_ACTIVATED, .term = TERM + 1};

	lose();
	somebody_waits();
	primary_shell_message(&bed->s, &m);
	assert_string_equal(said(), "destroy");
	assert_true(bed->s.finished);
	assert_true(bed->s.deposed);
	assert_int_equal(bed->s.exit_code, WORKER_DEPOSED);
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, -EOWNERDEAD);
	assert_string_equal(bed->answer_text, "web runs at hostb now; the copy here is gone");
	assert_int_equal(role(), VM_NONE);
}

/* Its lanes stay, and hold what it says; another worker tries. */
static void cannot_destroy(void **state)
{
	const struct pd_msg m = {.type = PD_PEER_ACTIVATED, .term = TERM + 1};

	lose();
	bed->tool = -EIO;
	primary_shell_message(&bed->s, &m);
	assert_true(bed->s.finished);
	assert_false(bed->s.deposed);
	assert_int_equal(bed->s.exit_code, 1);
	assert_int_equal(role(), VM_PRIMARY);
}

/* ---- votes ---- */

static struct vm_state durable(void)
{
	struct err e = ERR_INIT;
	struct vm_state s;

	assert_int_equal(vm_state_load(bed->dir, "web", &s, &e), 0);
	return s;
}

static void by_arbiter(void)
{
	struct err e = ERR_INIT;

	bed->s.state.policy = POLICY_ARBITER;
	bed->s.state.joined = true;
	bed->s.core.conf.policy = POLICY_ARBITER;
	assert_int_equal(vm_state_save(bed->dir, &bed->s.state, &e), 0);
}

static void vote(enum vote v, uint64_t term)
{
	const struct primary_event ev = {
		.type = PEV_VOTE, .vote = v, .asked = bed->asked_for, .term = term};

	primary_shell_event(&bed->s, &ev);
}

static void be_silent(void)
{
	bed->s.core.peer.not_lost_ns = 1;
	bed->s.core.peer.listened_ns = clock_now();
	event(PEV_TICK);
}

/* Nothing can be saved any more. */
static void break_state_dir(void)
{
	snprintf(bed->conf.state_dir, sizeof(bed->conf.state_dir), "%s/none", bed->dir);
}

static void the_term_is_durable_first(void **state)
{
	const struct pd_msg up = {.type = PD_LINK_UP, .term = TERM + 2};

	by_arbiter();
	primary_shell_message(&bed->s, &up);
	is(PRIMARY_COPYING, "copy");
	assert_true(durable().term == TERM + 2);
	assert_true(durable().joined);
}

static void a_term_that_cannot_be_kept(void **state)
{
	const struct pd_msg up = {.type = PD_LINK_UP, .term = TERM + 2};

	by_arbiter();
	break_state_dir();
	primary_shell_message(&bed->s, &up);
	is(PRIMARY_COPYING, "disconnect");
	assert_non_null(strstr(bed->s.problem, "term 9 cannot be remembered"));
}

static void asks_and_is_granted(void **state)
{
	by_arbiter();
	lose();
	be_silent();
	is(PRIMARY_LOST, "ask");
	assert_true(bed->asked_for == TERM + 1);
	assert_true(durable().asked == TERM + 1 && durable().term == TERM);
	vote(VOTE_GRANTED, TERM + 1);
	is(PRIMARY_CONNECTING, "open");
	assert_true(durable().term == TERM + 1);
}

static void a_question_that_cannot_be_kept(void **state)
{
	by_arbiter();
	lose();
	break_state_dir();
	be_silent();
	is(PRIMARY_LOST, "fail");
	assert_true(bed->asked_for == TERM + 1);
}

static void the_operator_is_outvoted(void **state)
{
	const struct primary_event force = {.type = PEV_UNPROTECT, .force = true};

	by_arbiter();
	lose();
	strcpy(bed->s.vote.holder, "hostb");
	bed->s.ctl = (struct ctl_server *)bed; /* not NULL */
	bed->s.unprotect.id = 1;
	primary_shell_event(&bed->s, &force);
	is(PRIMARY_LOST, "ask");
	vote(VOTE_REFUSED, TERM + 1);
	is(PRIMARY_LOST, "");
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, -EBUSY);
	assert_non_null(strstr(bed->answer_text, "hostb under term 8"));
	assert_true(bed->s.core.held);
}

/* P3: a worker that was stopped for too long lets nothing out any more. */
static void a_release_comes_too_late(void **state)
{
	protect();
	bed->s.core.next_checkpoint_ns = 0;
	event(PEV_TICK);
	is(PRIMARY_PROTECTED, "checkpoint");
	message(PD_TAKEN, 1);
	message(PD_SENT, 1);
	bed->s.lapsed = true; /* as after the first that was too late */
	message(PD_ACK, 1);
	is(PRIMARY_PROTECTED, "");
	message(PD_LINK_DOWN, 0);
	is(PRIMARY_LOST, "");
	message(PD_LINK_UP, 0);
	assert_false(bed->s.lapsed);
}

/* ---- a VM that was taken over ---- */

static void was_taken(enum vm_taken taken)
{
	struct err e = ERR_INIT;

	bed->s.state.taken = taken;
	assert_int_equal(vm_state_set_taken(bed->dir, "web", taken, &e), 0);
}

/* HELLO_OK of the host that had it before: there is no older copy any more. */
static void a_standby_at_the_former_host(void **state)
{
	was_taken(TAKEN_FROM_PEER);
	message(PD_LINK_UP, 0);
	is(PRIMARY_COPYING, "copy");
	assert_int_equal(durable().taken, TAKEN_NOT);
	event(PEV_UNPROTECT);
	assert_int_equal(durable().role, VM_NONE);
}

/* P4: nobody may take it for a VM like any other while the former host may have an older copy. */
static void unprotected_too_early(void **state)
{
	was_taken(TAKEN_FROM_PEER);
	event(PEV_UNPROTECT);
	assert_true(bed->s.finished);
	assert_int_equal(durable().role, VM_ACTIVE);
	assert_int_equal(durable().taken, TAKEN_FROM_PEER);
	assert_true(durable().alone);
}

static void another_host_stands_by(void **state)
{
	was_taken(TAKEN_FROM_OTHER);
	message(PD_LINK_UP, 0);
	assert_int_equal(durable().taken, TAKEN_FROM_OTHER);
	event(PEV_UNPROTECT);
	assert_int_equal(durable().role, VM_ACTIVE);
}

/* The former host has it again. */
static void taken_back(void **state)
{
	const struct pd_msg m = {.type = PD_PEER_ACTIVATED, .term = TERM + 1};

	was_taken(TAKEN_FROM_PEER);
	primary_shell_message(&bed->s, &m);
	assert_true(bed->s.deposed);
	assert_int_equal(durable().role, VM_NONE);
	assert_int_equal(durable().taken, TAKEN_NOT);
}

/* ---- a switchover ---- */

static int asked_to_switch_over(void)
{
	struct ctl_request rq = {.token = {.id = 1}};
	struct err e = ERR_INIT;
	int rc = primary_switchover(&bed->s, &rq, &e);

	assert_int_equal(rq.later, rc == 0);
	snprintf(bed->answer_text, sizeof(bed->answer_text), "%s", e.text);
	return rc;
}

static void refused_to_switch_over(void **state)
{
	assert_int_equal(asked_to_switch_over(), -EBUSY);
	assert_non_null(
		strstr(bed->answer_text, "cannot be moved to hostb now: it is not protected"));
	protect();
	/* The arbiter is needed for it, and out of reach. */
	bed->s.core.conf.policy = POLICY_ARBITER;
	bed->s.vote.answered = true;
	strcpy(bed->s.vote.text, "no route");
	assert_int_equal(asked_to_switch_over(), -EBUSY);
	assert_non_null(strstr(bed->answer_text, "cannot be asked: no route"));
	bed->s.vote.reachable = true;
	bed->s.rebuild = true;
	assert_int_equal(asked_to_switch_over(), -EBUSY);
	assert_non_null(strstr(bed->answer_text, "just changed"));
	bed->s.rebuild = false;
	assert_int_equal(asked_to_switch_over(), 0);
	assert_int_equal(asked_to_switch_over(), -EBUSY);
	assert_non_null(strstr(bed->answer_text, "under way already"));
}

/* Up to the instant at which the guest is suspended, all that it did is at the peer, and what it sent is out. */
static void switch_over(void)
{
	protect();
	bed->s.ctl = (struct ctl_server *)bed; /* not NULL */
	bed->s.core.next_checkpoint_ns = 0;
	assert_int_equal(asked_to_switch_over(), 0);
	is(PRIMARY_PROTECTED, "checkpoint-last");
	message(PD_TAKEN, 1);
	message(PD_SENT, 1);
	is(PRIMARY_PROTECTED, "");
	message(PD_ACK, 1);
	is(PRIMARY_HANDING, "release handover-planned");
	assert_int_equal(bed->answers, 0);
}

static void moved(void **state)
{
	const struct pd_msg m = {.type = PD_PEER_ACTIVATED, .term = TERM + 1};

	switch_over();
	primary_shell_message(&bed->s, &m);
	assert_string_equal(said(), "disconnect destroy");
	assert_int_equal(bed->s.exit_code, WORKER_DEPOSED);
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, 0);
	assert_int_equal(role(), VM_NONE);
}

static void not_moved(void **state)
{
	switch_over();
	message(PD_LINK_DOWN, 0);
	is(PRIMARY_LOST, "resume");
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, -EHOSTUNREACH);
	assert_non_null(strstr(bed->answer_text, "held until hostb is heard"));
}

static void stays(void **state)
{
	protect();
	bed->s.switchover.id = 1;
	bed->s.ctl = (struct ctl_server *)bed;
	bed->s.core.next_checkpoint_ns = 0;
	event(PEV_SWITCHOVER);
	message(PD_TAKEN, 1);
	is(PRIMARY_PROTECTED, "checkpoint-last");
	message(PD_LINK_DOWN, 0);
	is(PRIMARY_LOST, "resume");
	assert_int_equal(bed->answer, -ECANCELED);
	assert_non_null(strstr(bed->answer_text, "web stays here: "));
}

/* ---- drills ---- */

static int ask_drill(const char *text, struct err *e)
{
	char *argv[] = {(char *)(uintptr_t)text, NULL};
	struct ctl_request rq = {.token = {7}, .argc = 1, .argv = argv};

	return primary_drill_cmd(&bed->s, &rq, e);
}

static void drill_says(uint32_t id, const char *json)
{
	struct pd_msg m = {.type = PD_DRILL_SAYS, .drill = id, .text = "no session"};

	m.json = json ? mem_strdup(json) : NULL;
	m.json_size = json ? strlen(json) : 0;
	primary_shell_message(&bed->s, &m);
}

/* What is asked about drills goes to the backup, what it answers to who asked. */
static void drills_are_passed_on(void **state)
{
	struct err e = ERR_INIT;
	const char *line;
	size_t len;

	assert_int_equal(ask_drill("start", &e), -ENOTCONN);
	bed->s.core.state = PRIMARY_PROTECTED;
	assert_int_equal(ask_drill("", &e), -EINVAL);
	assert_int_equal(ask_drill("start", &e), 0);
	bed->reply = json_out_new();
	assert_non_null(strstr(said(), "drill"));
	drill_says(bed->asked, "{\"ok\":true,\"drill\":{\"phase\":\"copying\"}}");
	assert_int_equal(bed->answers, 1);
	assert_int_equal(bed->answer, 0);
	line = json_out_line(bed->reply, &len);
	assert_string_equal(line, "{\"drill\":{\"phase\":\"copying\"}}");
	/* An answer that nobody waits for, and a second one. */
	drill_says(bed->asked, "{}");
	drill_says(99, "{}");
	assert_int_equal(bed->answers, 1);
	assert_int_equal(ask_drill("ask", &e), 0);
	drill_says(bed->asked, "{\"ok\":false,\"error\":\"a drill is under way\"}");
	assert_int_equal(bed->answer, -EREMOTEIO);
	assert_string_equal(bed->answer_text, "a drill is under way");
	assert_int_equal(ask_drill("ask", &e), 0);
	drill_says(bed->asked, "nonsense");
	assert_int_equal(bed->answer, -EBADMSG);
	assert_int_equal(ask_drill("ask", &e), 0);
	drill_says(bed->asked, NULL);
	assert_string_equal(bed->answer_text, "no session");
	for (int i = 0; i < WIRE_DRILLS_UNANSWERED; i++)
		assert_int_equal(ask_drill("ask", &e), 0);
	assert_int_equal(ask_drill("ask", &e), -EBUSY);
	json_out_free(bed->reply);
	bed->reply = NULL;
	/* A full queue would end the worker, and the output is held then: whoever asks and goes, again and again. */
	bed->busy = true;
	assert_int_equal(ask_drill("ask", &e), -EBUSY);
	bed->busy = false;
	/* Those who asked have gone. */
	assert_int_equal(ask_drill("ask", &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changed_before_a_session, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changed_in_the_first_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changed_under_protection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tampered_while_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changed_while_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changed_and_found_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lost_while_leaving, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tampered_while_opening, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tampered_while_unprotecting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(asked_to_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_heartbeat_is_as_old_as_it_came, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(heartbeats_begin_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(heartbeats_follow_the_core, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(deposed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cannot_destroy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_term_is_durable_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_term_that_cannot_be_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(asks_and_is_granted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_question_that_cannot_be_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_operator_is_outvoted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_release_comes_too_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_standby_at_the_former_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotected_too_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_host_stands_by, set_up, tear_down),
		cmocka_unit_test_setup_teardown(taken_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused_to_switch_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(moved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(not_moved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drills_are_passed_on, set_up, tear_down),
	};

	return RUN_TESTS("primary_shell", tests);
}
