// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What stands in the way of a new session at the backup, and clearing it: the peer's right to it, sums that do
 * not hold, memory, a VM that runs here, an older worker with an older standby. Runs on the control thread
 * before the session begins, and may wait; nobody depends on this process yet.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/ctl_client.h"
#include "lib/json_in.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "replicator/backup_shell.h"
#include "replicator/drill_keep.h"
#include "replicator/drill_rest_shell.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
#define TOOL_TIMEOUT_NS (20 * NS_PER_SEC)
#define SUPERSEDE_TIMEOUT_NS (25 * NS_PER_SEC)
/* How long the older worker may take to be gone after it said that its standby is. */
#define GONE_NS (5 * NS_PER_SEC)
#define GONE_POLL_MS 20
/* Romulus takes at most this share of what is available: the rest keeps the host alive. */
#define SHARE_OF_MEMORY(available) ((available) / 4 * 3)

PRINTF(4, 5)
static int refuse(struct bd_cmd *cmd, uint16_t code, uint64_t term, const char *fmt, ...)
{
	va_list ap;

	cmd->code = code;
	cmd->term = term;
	va_start(ap, fmt);
	vsnprintf(cmd->text, sizeof(cmd->text), fmt, ap);
	va_end(ap);
	return -EPERM;
}

/* ---- may this peer, and do its numbers hold ---- */

static int check_peer(const struct backup_shell *s, const struct bd_msg *m, struct bd_cmd *r)
{
	if (!conf_peer(s->conf, m->peer_name))
		return refuse(r, WIRE_NOT_ALLOWED, 0, "%s is not among the peers of %s",
			      m->peer_name, s->conf->host_name);
	if (strcmp(m->hello.host, m->peer_name) != 0)
		return refuse(r, WIRE_NOT_ALLOWED, 0,
			      "calls itself %s but shows the certificate of %s", m->hello.host,
			      m->peer_name);
	return 0;
}

static uint64_t available_bytes(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return (uint64_t)kib * 1024;
}

static int check_memory(const struct wire_hello *h, struct bd_cmd *r)
{
	uint64_t need = ((uint64_t)h->arena_pages + h->cache_slots) * PAGE_BYTES;
	uint64_t have = available_bytes();

	if (h->arena_pages > h->mem_pages || h->cache_slots > h->mem_pages)
		return refuse(r, WIRE_BAD_CONFIG, 0,
			      "arena of %u and cache of %u pages for a guest of %" PRIu64,
			      h->arena_pages, h->cache_slots, h->mem_pages);
	if (need > SHARE_OF_MEMORY(have))
		return refuse(r, WIRE_NO_MEMORY, 0,
			      "arena and cache need %" PRIu64 " MiB, %" PRIu64
			      " MiB are available; lower arena or delta-cache, or give dom0 more",
			      need >> 20, have >> 20);
	return 0;
}

/* P3: two hosts that ask different arbiters may both be let go alone. */
static int check_arbiter(const struct backup_shell *s, const struct wire_hello *h, struct bd_cmd *r)
{
	if (h->policy != WIRE_POLICY_ARBITER)
		return 0;
	if (!s->conf->arbiter_kind)
		return refuse(r, WIRE_BAD_CONFIG, 0,
			      "on-peer-loss is arbiter, and %s at %s names none (arbiter.kind)",
			      s->conf->path, s->conf->host_name);
	if (h->arbiter != s->conf->arbiter_kind || h->arbiter_id != conf_arbiter_id(s->conf))
		return refuse(
			r, WIRE_BAD_CONFIG, 0,
			"%s and %s ask different arbiters: arbiter.kind, witness-name or etcd-prefix "
			"differ; both must name the same one",
			h->host, s->conf->host_name);
	return 0;
}

static int check_times(const struct wire_hello *h, struct timing *t, struct bd_cmd *r)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = h->heartbeat_period_ms * NS_PER_MS,
		.failure_timeout_ns = h->failure_timeout_ms * NS_PER_MS,
		.epoch_period_ns = h->epoch_period_us * NS_PER_US,
	};
	struct err e = ERR_INIT;

	if (timing_check(&tc, &e) < 0)
		return refuse(r, WIRE_BAD_CONFIG, 0, "%s", e.text);
	timing_derive(t, &tc);
	return 0;
}

/* ---- what is here already ---- */

static const char *tool(const struct backup_shell *s)
{
	return s->domain_tool ? s->domain_tool : DOMAIN_TOOL;
}

static bool domain_exists(const struct backup_shell *s, const char *name)
{
	const char *const argv[] = {tool(s), "vifs", name, NULL};
	char out[256];
	struct spawn sp = {
		.argv = argv, .timeout_ns = TOOL_TIMEOUT_NS, .out = out, .out_size = sizeof(out)};
	struct err e = ERR_INIT;

	/* If it cannot be asked, something may run: the careful answer. */
	return spawn_run(&sp, &e) < 0 || sp.status == 0;
}

/* The older worker abandons its standby, or says that it runs the VM. 0: it is gone. */
static int supersede(const struct backup_shell *s, const char *vm, struct bd_cmd *r)
{
	const char *const argv[] = {"supersede", NULL};
	uint64_t deadline = clock_now() + GONE_NS;
	char path[WORKER_PATH_SIZE];
	struct json_in *reply;
	struct err e = ERR_INIT;
	pid_t pid;
	int pidfd, rc;

	worker_ctl_path(path, s->conf->run_dir, vm, WORKER_BACKUP);
	rc = ctl_client_call(path, argv, SUPERSEDE_TIMEOUT_NS, &reply, &e);
	json_in_free(reply);
	if (rc == -EREMOTEIO)
		return refuse(r, WIRE_BUSY, s->state.term, "%s", e.text);
	if (rc < 0)
		log_warn("older worker: %s", e.text);
	while (worker_find(s->conf->run_dir, vm, WORKER_BACKUP, &pid, &pidfd, &e) == 0) {
		close(pidfd);
		if (clock_now() >= deadline)
			return refuse(r, WIRE_BUSY, s->state.term,
				      "an older worker (pid %d) does not end", (int)pid);
		poll(NULL, 0, GONE_POLL_MS);
	}
	return 0;
}

/* Both hosts believe to protect the VM: what backup_welcome() has to know to tell whose it is. */
static void look_at_primary(const struct backup_shell *s, const struct bd_msg *m,
			    struct backup_found *f)
{
	struct err e = ERR_INIT;
	pid_t pid;
	int pidfd, rc;

	f->taken = s->state.taken != TAKEN_NOT;
	f->newer = s->state.term > m->hello.term;
	f->older = s->state.term < m->hello.term;
	rc = worker_find(s->conf->run_dir, s->state.vm, WORKER_PRIMARY, &pid, &pidfd, &e);
	if (rc == 0)
		close(pidfd);
	/* If it cannot be told, there may be one: the careful answer. */
	f->primary_worker = rc != -ESRCH;
}

/*
 * The worker first, then what it made durable: when it is gone that does not change any more. With the lock in
 * hand we are the only one, and a domain of this VM is of interest only if it was let run.
 */
static int look(struct backup_shell *s, const struct bd_msg *m, struct backup_found *f,
		struct bd_cmd *r)
{
	char vm[NAME_SIZE];
	struct err e = ERR_INIT;
	bool alone = s->lock_fd >= 0;
	pid_t pid;
	int pidfd, rc;

	memcpy(vm, s->state.vm, sizeof(vm));
	*f = (struct backup_found){.role_active = false};
	if (!alone && worker_find(s->conf->run_dir, vm, WORKER_BACKUP, &pid, &pidfd, &e) == 0) {
		close(pidfd);
		f->old_worker = true;
	}
	rc = vm_state_load(s->conf->state_dir, vm, &s->state, &e);
	if (rc < 0 && rc != -ENOENT)
		return refuse(r, WIRE_INTERNAL, 0, "%s", e.text);
	f->role_active = s->state.role == VM_ACTIVE;
	f->role_primary = s->state.role == VM_PRIMARY;
	f->other_vm = vm_state_is_other(&s->state, m->peer_name, m->hello.uuid);
	if (f->role_primary)
		look_at_primary(s, m, f);
	if (!alone || f->role_active || f->role_primary)
		f->vm_runs = domain_exists(s, vm);
	if (f->vm_runs && !f->role_active && !f->role_primary && !f->old_worker)
		return refuse(r, WIRE_BUSY, s->state.term,
			      "a domain called %s runs here already, and Romulus did not start it",
			      vm);
	return 0;
}

#define OTHER_ACTIVE                                                                          \
	"another VM called %s was taken over from %s by %s: rename one of them, or, if that " \
	"one has ended, `romulus forget %s` there"
#define OTHER_PRIMARY "%s protects another VM called %s, to %s: rename one of them"
#define OTHER_STANDBY                                                                         \
	"the standby of another VM called %s, of %s, is here: rename one of them, unprotect " \
	"%s there, or end its worker here"

/* 0: it may be built, once an older worker has gone. */
static int judge(const struct backup_shell *s, const struct backup_found *f, struct bd_cmd *r)
{
	const char *vm = s->state.vm;

	switch (backup_welcome(f)) {
	case WELCOME_BUILD:
	case WELCOME_SUPERSEDE:
		break;
	case WELCOME_ACTIVATED:
		return refuse(r, WIRE_ACTIVATED, s->state.term, "%s runs here under term %" PRIu64,
			      vm, s->state.term);
	case WELCOME_OPERATOR:
		return refuse(
			r, WIRE_BUSY, s->state.term,
			"the VM has run at %s under term %" PRIu64
			" and is gone: `romulus forget %s` there if the primary's copy is the one to keep",
			s->conf->host_name, s->state.term, vm);
	case WELCOME_DEPOSED:
		return refuse(
			r, WIRE_BUSY, s->state.term,
			"%s has a copy of %s of the older term %" PRIu64
			", which its worker destroys when it hears of the newer one; if it has no worker, "
			"destroy that domain and `romulus forget %s` there",
			s->conf->host_name, vm, s->state.term, vm);
	case WELCOME_PRIMARY:
		return refuse(
			r, WIRE_NOT_ALLOWED, s->state.term,
			"%s protects %s itself, under the same term or a newer one: `romulus forget %s` at the "
			"host whose copy is not the one to keep",
			s->conf->host_name, vm, vm);
	case WELCOME_NAME_TAKEN:
		if (f->role_primary)
			return refuse(r, WIRE_NOT_ALLOWED, 0, OTHER_PRIMARY, s->conf->host_name, vm,
				      s->state.peer);
		if (f->role_active)
			return refuse(r, WIRE_NOT_ALLOWED, 0, OTHER_ACTIVE, vm, s->state.peer,
				      s->conf->host_name, vm);
		return refuse(r, WIRE_NOT_ALLOWED, 0, OTHER_STANDBY, vm, s->state.peer, vm);
	}
	return 0;
}

/* From here on we are the backup's worker of this VM. */
static int lock(struct backup_shell *s, struct bd_cmd *r)
{
	struct err e = ERR_INIT;

	if (worker_claim(s->conf->run_dir, s->state.vm, WORKER_BACKUP, &s->lock_fd, &e) < 0)
		return refuse(r, WIRE_BUSY, 0, "%s", e.text);
	return 0;
}

static int clear_way(struct backup_shell *s, const struct bd_msg *m, struct bd_cmd *r)
{
	struct backup_found found;
	int rc = look(s, m, &found, r);

	if (rc == 0)
		rc = judge(s, &found, r);
	if (rc == 0 && found.old_worker)
		rc = supersede(s, s->state.vm, r);
	if (rc == 0)
		rc = lock(s, r);
	/* P4: whoever went may have activated before; what is left of it is no leftover then. */
	if (rc == 0)
		rc = look(s, m, &found, r);
	if (rc == 0)
		rc = judge(s, &found, r);
	return rc;
}

/*
 * A drill whose worker died with it. It is in nobody's way, so the session is not kept waiting: a host that cannot get rid of
 * it would never be protected to again. If the standby wants the memory that it still has, the peer tries once more.
 */
static void clean_drill(const struct backup_shell *s, const char *vm)
{
	if (drill_keep_is_left(s->conf->run_dir, vm))
		drill_rest_clean_vm(
			s->loop, s->drill_program ? s->drill_program : LIBEXEC_DIR "/romulus-drill",
			s->conf, vm);
}

static int destroy_rest(const struct backup_shell *s, const char *vm, struct bd_cmd *r)
{
	char name[NAME_SIZE + sizeof(STANDBY_SUFFIX)];
	const char *const argv[] = {tool(s), "destroy", name, NULL};
	char out[512];
	struct spawn sp = {
		.argv = argv, .timeout_ns = TOOL_TIMEOUT_NS, .out = out, .out_size = sizeof(out)};
	struct err e = ERR_INIT;

	snprintf(name, sizeof(name), "%s%s", vm, STANDBY_SUFFIX);
	if (spawn_check(&sp, &e) < 0)
		return refuse(r, WIRE_BUSY, 0, "an older standby is in the way: %s", e.text);
	clean_drill(s, vm);
	return 0;
}

/* Whoever protects it again after a failover does so with the same times. */
static void keep_times(struct backup_shell *s, const struct wire_hello *h)
{
	const struct conf *c = s->conf;
	uint64_t heart = h->heartbeat_period_ms * NS_PER_MS;
	uint64_t failure = h->failure_timeout_ms * NS_PER_MS;
	uint64_t epoch = h->epoch_period_us * NS_PER_US;

	s->state.heartbeat_period_ns = heart == c->heartbeat_period_ns ? 0 : heart;
	s->state.failure_timeout_ns = failure == c->failure_timeout_ns ? 0 : failure;
	s->state.epoch_period_ns = epoch == c->epoch_period_ns ? 0 : epoch;
}

static int settle(struct backup_shell *s, const struct bd_msg *m, struct bd_cmd *r)
{
	struct err e = ERR_INIT;
	char path[WORKER_PATH_SIZE];
	int rc;

	s->state.role = VM_BACKUP;
	s->state.taken = TAKEN_NOT;
	s->state.handed = false;
	s->state.alone = m->hello.flags & WIRE_HELLO_ALONE;
	s->state.term = MAX(s->state.term, m->hello.term);
	keep_times(s, &m->hello);
	s->state.policy = (enum peer_loss_policy)m->hello.policy;
	snprintf(s->state.peer, sizeof(s->state.peer), "%s", m->peer_name);
	memcpy(s->state.uuid, m->hello.uuid, sizeof(s->state.uuid));
	rc = vm_state_save(s->conf->state_dir, &s->state, &e);
	worker_ctl_path(path, s->conf->run_dir, s->state.vm, WORKER_BACKUP);
	if (rc == 0)
		rc = ctl_server_new(s->loop, path, &s->ctl, &e);
	if (rc == 0)
		rc = backup_ctl_register(s, &e);
	return rc < 0 ? refuse(r, WIRE_INTERNAL, 0, "%s", e.text) : 0;
}

int backup_shell_welcome(struct backup_shell *s, const struct bd_msg *m, struct backup_conf *bc,
			 struct bd_cmd *r)
{
	int rc = check_peer(s, m, r);

	if (rc < 0)
		return rc;
	worker_say(s->status_fd, WORKER_SAYS_AUTHENTICATED, m->hello.vm);
	log_set_tag(m->hello.vm);
	rc = check_memory(&m->hello, r);
	if (rc == 0)
		rc = check_times(&m->hello, &bc->timing, r);
	if (rc == 0)
		rc = check_arbiter(s, &m->hello, r);
	if (rc < 0)
		return rc;
	vm_state_init(&s->state, m->hello.vm);
	rc = clear_way(s, m, r);
	if (rc < 0)
		return rc;
	if (m->hello.term < s->state.term)
		log_info("the primary's term %" PRIu64 " is older than %" PRIu64 " known here",
			 m->hello.term, s->state.term);
	rc = destroy_rest(s, m->hello.vm, r);
	if (rc == 0)
		rc = settle(s, m, r);
	if (rc == 0)
		worker_say(s->status_fd, WORKER_SAYS_READY, "");
	bc->policy = (enum peer_loss_policy)m->hello.policy;
	bc->term = s->state.term;
	return rc;
}
