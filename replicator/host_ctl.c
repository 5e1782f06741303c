/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See host_ctl.h. */
#include "replicator/host_ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/event_log.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/timing.h"
#include "replicator/epoch.h"
#include "replicator/supervisor.h"
#include "replicator/vm_state.h"

/* What `protect` was told: by its words, then by vm.d. */
struct wish {
	struct conf_vm vm;
	bool dry_run;
};

/* ---- protect ---- */

static int take_reprotect(struct wish *w, const char *value, struct err *e)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "never") != 0)
		return err_setx(e, -EINVAL, "reprotect is \"%.32s\", which is none of: auto, never",
				value);
	memcpy(w->vm.reprotect, value, strlen(value) + 1);
	return 0;
}

static int take_word(struct wish *w, const char *word, struct err *e)
{
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const char *value = eq ? eq + 1 : "";
	struct {
		const char *name;
		uint64_t *ns;
	} times[] = {
		{"epoch-period", &w->vm.epoch_period_ns},
		{"heartbeat-period", &w->vm.heartbeat_period_ns},
		{"failure-timeout", &w->vm.failure_timeout_ns},
	};

	if (!eq && !strcmp(word, "dry-run")) {
		w->dry_run = true;
		return 0;
	}
	for (size_t i = 0; eq && i < ARRAY_SIZE(times); i++) {
		if (strlen(times[i].name) == len && !strncmp(word, times[i].name, len))
			return conf_parse_duration(value, times[i].ns, e);
	}
	if (eq && len == 2 && !strncmp(word, "to", 2) && name_ok(value)) {
		memcpy(w->vm.peer, value, strlen(value) + 1);
		return 0;
	}
	if (eq && len == 9 && !strncmp(word, "reprotect", 9))
		return take_reprotect(w, value, e);
	if (eq && len == 6 && !strncmp(word, "policy", 6) && strlen(value) < sizeof(w->vm.policy)) {
		memcpy(w->vm.policy, value, strlen(value) + 1);
		return 0;
	}
	return err_setx(e, -EINVAL, "protect: \"%.64s\" is not understood", word);
}

static int check_peer(const struct host *h, const char *name, struct err *e)
{
	char list[256] = "";
	size_t used = 0;

	if (!*name)
		return err_setx(e, -EINVAL, "to which host? Say --to HOST, or put \"to\" into %s/",
				h->conf->vm_dir);
	if (conf_peer(h->conf, name))
		return 0;
	for (size_t i = 0; i < h->conf->n_peers && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 h->conf->peer[i].name);
	return err_setx(e, -ENOENT, "\"%s\" is not in the list of peers of %s, which has: %s", name,
			h->conf->path, *list ? list : "none");
}

/* The tool tells at length what the choices are when nobody made one. */
static int check_policy(const struct host *h, struct wish *w, struct json *reply, struct err *e)
{
	enum peer_loss_policy p;

	/* With an arbiter there is a choice that gives nothing up. */
	if (!*w->vm.policy && h->conf->arbiter_kind)
		snprintf(w->vm.policy, sizeof(w->vm.policy), "%s", policy_name(POLICY_ARBITER));
	if (!policy_parse(w->vm.policy, &p)) {
		if (p != POLICY_ARBITER || h->conf->arbiter_kind)
			return 0;
		return err_setx(
			e, -EINVAL,
			"on-peer-loss is arbiter, and %s names none: set arbiter.kind on both hosts "
			"(romulus.conf(5), ARBITERS), restart romulusd, or choose hold, primary-wins "
			"or backup-wins",
			h->conf->path);
	}
	json_out_text(reply, "missing", "policy");
	if (!*w->vm.policy)
		return err_setx(
			e, -EINVAL,
			"on-peer-loss is not given, and there is no default; romulus(7) tells "
			"what each choice costs");
	return err_setx(e, -EINVAL,
			"on-peer-loss is \"%s\", which is none of: hold, primary-wins, "
			"backup-wins, arbiter",
			w->vm.policy);
}

/* May this host protect the VM, as things are? */
static int check_free(const struct host *h, const struct vm_state *s, struct err *e)
{
	const struct supervised *w = supervisor_find(h->workers, s->vm, WORKER_PRIMARY);

	if (w && w->state != SUPERVISED_REFUSED)
		return err_setx(e, -EEXIST,
				"vm %s is already protected to %s; see romulus status %s", s->vm,
				s->peer, s->vm);
	w = supervisor_find(h->workers, s->vm, WORKER_BACKUP);
	if (w && s->role != VM_ACTIVE)
		return err_setx(e, -EBUSY,
				"this host is the backup of vm %s; unprotect it at %s first", s->vm,
				*s->peer ? s->peer : "its primary");
	return 0;
}

/*
 * What the arbiter is told. A term of its own, newer than any that a session here has used up: one that the peer was
 * granted then, and did not use, would be in the way. A worker's successor joins again only when the pair is another.
 */
static void join_anew(const struct vm_state *old, const struct wish *w, struct vm_state *new)
{
	bool same = old->role == VM_PRIMARY && old->policy == new->policy &&
		    !strcmp(old->peer, w->vm.peer);

	if (new->policy != POLICY_ARBITER) {
		new->joined = false;
		return;
	}
	if (same && old->joined)
		return;
	new->joined = false;
	if (old->role != VM_PRIMARY)
		new->term = MAX(old->term, old->asked) + 1;
}

/* The state that protection would have; *old what there is. */
static int plan(const struct host *h, const char *vm, const struct wish *w, struct vm_state *old,
		struct vm_state *new, struct err *e)
{
	struct timing t;
	int rc = vm_state_load(h->conf->state_dir, vm, old, e);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	*new = *old;
	rc = check_peer(h, w->vm.peer, e);
	if (!rc)
		rc = check_free(h, old, e);
	if (!rc)
		rc = policy_parse(w->vm.policy, &new->policy);
	if (rc < 0)
		return rc;
	new->role = VM_PRIMARY;
	new->term = MAX(old->term, UINT64_C(1));
	join_anew(old, w, new);
	new->alone = *w->vm.reprotect ? !strcmp(w->vm.reprotect, "never")
				      : h->conf->reprotect == CONF_REPROTECT_NEVER;
	/* Who had it before may have a copy yet, and will not be asked now. */
	if (old->taken && strcmp(old->peer, w->vm.peer) != 0)
		new->taken = TAKEN_FROM_OTHER;
	memcpy(new->peer, w->vm.peer, sizeof(new->peer));
	new->epoch_period_ns = w->vm.epoch_period_ns;
	new->heartbeat_period_ns = w->vm.heartbeat_period_ns;
	new->failure_timeout_ns = w->vm.failure_timeout_ns;
	return vm_state_timing(new, h->conf, &t, e);
}

static void report_plan(const struct host *h, const struct vm_state *s, struct json *reply)
{
	char ctl[WORKER_PATH_SIZE];
	struct err ignored = ERR_INIT;
	struct timing t;

	worker_ctl_path(ctl, h->conf->run_dir, s->vm, WORKER_PRIMARY);
	json_out_text(reply, "vm", s->vm);
	json_out_text(reply, "peer", s->peer);
	json_out_text(reply, "policy", policy_name(s->policy));
	json_out_text(reply, "reprotect", s->alone ? "never" : "auto");
	json_out_u64(reply, "term", s->term);
	json_out_text(reply, "ctl", ctl);
	if (vm_state_timing(s, h->conf, &t, &ignored) < 0)
		return;
	json_out_u64(reply, "epoch_period_ms", t.epoch_period_ns / NS_PER_MS);
	json_out_u64(reply, "heartbeat_period_ms", t.heartbeat_period_ns / NS_PER_MS);
	json_out_u64(reply, "failure_timeout_ms", t.failure_timeout_ns / NS_PER_MS);
}

static void restore(const struct host *h, const struct vm_state *old)
{
	struct err e = ERR_INIT;

	if (vm_state_save(h->conf->state_dir, old, &e) < 0)
		log_err("vm %s: %s; it may be taken for protected after a restart, use romulus "
			"forget %s",
			old->vm, e.text, old->vm);
}

int host_protect__(struct host *h, const struct vm_state *old, const struct vm_state *new,
		   struct err *e)
{
	/* Durable before it runs: what crashes from here on is found again and adopted. */
	int rc = vm_state_save(h->conf->state_dir, new, e);

	if (rc < 0)
		return rc;
	/* A primary without a worker: whatever the last one left is taken over. */
	rc = supervisor_protect(h->workers, new->vm, old->role == VM_PRIMARY, clock_now(), e);
	if (rc < 0)
		restore(h, old);
	else
		log_info("vm %s: to be protected to %s, %s, term %llu", new->vm, new->peer,
			 policy_name(new->policy), (unsigned long long)new->term);
	return rc;
}

static int on_protect(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct host *h = ctx;
	const char *vm = rq->argv[0];
	struct wish w = {.dry_run = false};
	struct vm_state old = {.role = VM_NONE};
	struct vm_state new = {.role = VM_NONE};
	int rc = conf_load_vm(h->conf, vm, &w.vm, e);

	for (int i = 1; !rc && i < rq->argc; i++)
		rc = take_word(&w, rq->argv[i], e);
	if (!rc)
		rc = check_policy(h, &w, rq->reply, e);
	if (!rc)
		rc = plan(h, vm, &w, &old, &new, e);
	if (rc < 0)
		return rc;
	report_plan(h, &new, rq->reply);
	if (w.dry_run)
		return 0;
	reprotect_drop(&h->again, vm);
	rc = host_protect__(h, &old, &new, e);
	if (rc == 0)
		event_log_say(h->events, "protect", vm,
			      "the operator has the VM protected to %s, policy %s, term %llu",
			      new.peer, policy_name(new.policy), (unsigned long long)new.term);
	return rc;
}

/* ---- forget ---- */

static int on_forget(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct host *h = ctx;
	const char *vm = rq->argv[0];
	enum vm_role was;
	struct vm_state s;
	int rc;

	if (!name_ok(vm))
		return err_setx(e, -EINVAL, "\"%.64s\" is not a VM's name", vm);
	rc = supervisor_forget(h->workers, vm, e);
	if (rc < 0)
		return rc;
	rc = vm_state_load(h->conf->state_dir, vm, &s, e);
	if (rc == -EBADMSG)
		return vm_state_remove(h->conf->state_dir, vm, e);
	if (rc == -ENOENT)
		return err_setx(e, rc, "nothing is known of vm %s here", vm);
	if (rc < 0)
		return rc;
	if (s.role == VM_PRIMARY)
		json_out_text(
			rq->reply, "hint",
			"if output of this VM was held, it still is; protect it again to have "
			"that taken over");
	reprotect_drop(&h->again, vm);
	was = s.role;
	/* The term stays: an old one must never be used again. */
	s.role = VM_NONE;
	s.handed = false;
	s.alone = false;
	s.taken = TAKEN_NOT;
	rc = vm_state_save(h->conf->state_dir, &s, e);
	if (!rc) {
		log_info("vm %s: forgotten, it was %s", vm, vm_role_name(was));
		event_log_say(h->events, "forget", vm,
			      "the operator has this host forget the VM; it was %s, term %llu",
			      vm_role_name(was), (unsigned long long)s.term);
	}
	return rc;
}

/* ---- list, status ---- */

static int add_state(void *ctx, const struct vm_state *s, int rc, const struct err *e)
{
	struct json *one = json_out_object(ctx, NULL);

	json_out_text(one, "vm", s->vm);
	if (rc < 0) {
		json_out_text(one, "problem", e->text);
		return 0;
	}
	json_out_text(one, "role", vm_role_name(s->role));
	json_out_u64(one, "term", s->term);
	json_out_text(one, "peer", s->peer);
	json_out_text(one, "policy", s->policy ? policy_name(s->policy) : "");
	json_out_text(one, "reprotect", s->alone ? "never" : "auto");
	return 0;
}

static int on_list(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct host *h = ctx;
	struct json *workers = json_out_array(rq->reply, "workers");
	const struct supervised *w;
	uint64_t now = clock_now();

	for (unsigned int i = 0; (w = supervisor_at(h->workers, i)); i++) {
		struct json *one = json_out_object(workers, NULL);

		json_out_text(one, "vm", w->vm);
		json_out_text(one, "side", worker_side_name(w->side));
		json_out_text(one, "state", supervised_state_name(w->state));
		json_out_i64(one, "pid", w->state == SUPERVISED_RUNNING ? w->pid : 0);
		json_out_u64(one, "since_ms", clock_until(now, w->since_ns) / NS_PER_MS);
		json_out_u64(one, "crashes", w->crashes);
		json_out_text(one, "problem", w->problem);
	}
	return vm_state_each(h->conf->state_dir, add_state, json_out_array(rq->reply, "vms"), e);
}

static int on_status(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct host *h = ctx;
	const struct conf *c = h->conf;
	struct json *peers;

	json_out_text(rq->reply, "role", "host");
	json_out_text(rq->reply, "host", c->host_name);
	json_out_text(rq->reply, "version", VERSION_TEXT);
	json_out_u64(rq->reply, "up_ms", clock_until(clock_now(), h->started_ns) / NS_PER_MS);
	json_out_textf(rq->reply, "listen", "%s port %u", c->listen_address,
		       (unsigned int)c->listen_port);
	peers = json_out_array(rq->reply, "peers");
	for (size_t i = 0; i < c->n_peers; i++) {
		struct json *one = json_out_object(peers, NULL);

		json_out_text(one, "name", c->peer[i].name);
		json_out_text(one, "address", c->peer[i].address);
		json_out_u64(one, "port", c->peer[i].port);
	}
	return on_list(ctx, rq, e);
}

int host_ctl_add(struct ctl_server *s, struct host *h)
{
	const struct ctl_command commands[] = {
		{"protect",
		 "VM [to=HOST] [policy=POLICY] [epoch-period=TIME] [heartbeat-period=TIME] "
		 "[failure-timeout=TIME] [reprotect=auto|never] [dry-run]  start to protect a VM that "
		 "runs here",
		 1, 8, on_protect, h},
		{"forget", "VM  what is remembered of a VM that has no worker, its term excepted",
		 1, 1, on_forget, h},
		{"list", " workers and remembered VMs", 0, 0, on_list, h},
		{"status", " this host, its peers, workers and remembered VMs", 0, 0, on_status, h},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(commands); i++)
		rc = ctl_server_add(s, &commands[i]);
	return rc;
}

/* ---- the supervisor's questions ---- */

bool host_wanted(void *ctx, const char *vm)
{
	const struct host *h = ctx;
	struct err e = ERR_INIT;
	struct vm_state s;
	int rc = vm_state_load(h->conf->state_dir, vm, &s, &e);

	if (rc == -ENOENT)
		return false;
	/* P4: asked of a VM that had a worker, which may have left it suspended. The next one sees to that. */
	if (rc < 0)
		log_err("%s", e.text);
	return rc < 0 || s.role == VM_PRIMARY;
}

/*
 * A worker says in the durable state itself how it ended; this covers one that could not. One that refused
 * at once is not remembered as a primary; one that refuses later, such as after a reboot that the VM did
 * not survive, is remembered until somebody forgets or protects the VM.
 */
void host_ended(void *ctx, const char *vm, int code, bool fresh)
{
	struct host *h = ctx;
	struct err e = ERR_INIT;
	struct vm_state s;

	if ((code == WORKER_REFUSED && !fresh) || !host_wanted(ctx, vm))
		return;
	/* P4: of a VM that was activated here, an older copy elsewhere is not forgotten. */
	if (vm_state_load(h->conf->state_dir, vm, &s, &e) < 0 ||
	    vm_state_set_role(h->conf->state_dir, vm, vm_state_role_after(&s), 0, &e) < 0)
		log_err("vm %s: %s; use romulus forget %s", vm, e.text, vm);
	if (code == WORKER_REFUSED)
		host_refused_again__(h, vm, clock_now());
}

void host_told(void *ctx, const char *vm, const char *kind, const char *text)
{
	const struct host *h = ctx;

	event_log_say(h->events, kind, vm, "%s", text);
}

static int adopt_one(void *ctx, const struct vm_state *s, int rc, const struct err *e)
{
	struct host *h = ctx;
	struct err mine = ERR_INIT;

	if (rc < 0)
		log_err("%s", e->text);
	else if (s->role == VM_PRIMARY &&
		 supervisor_adopt(h->workers, s->vm, WORKER_PRIMARY, clock_now(), &mine) < 0)
		log_err("vm %s: its worker cannot be started: %s", s->vm, mine.text);
	else
		host_want_again__(h, s, clock_now());
	return 0;
}

void host_adopt_all(struct host *h, uint64_t now)
{
	struct err e = ERR_INIT;

	if (vm_state_each(h->conf->state_dir, adopt_one, h, &e) < 0)
		log_err("%s", e.text);
	supervisor_adopt_backups(h->workers, now);
}
