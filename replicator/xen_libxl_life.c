/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See xen_libxl.h: what happens when a guest reboots, powers off or crashes. xl has a monitor of its own for
 * that, which ends at the first suspend that it sees: a protected guest has none left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/xen_libxl.h"
#include "replicator/xen_libxl_impl.h"

#define DUMP_DIR "/var/lib/xen/dump"
/* A guest that is being checkpointed is suspended all the time: look again after a second. */
#define SUSPENDED_AGAIN_MS 1000
#define MEMORY_WAIT_SECONDS 20 /* until Xen has scrubbed what the destroyed domain had */

/* ---- one at a time --------------------------------------------------------- */

/* The monitor here and a worker's `lifecycle` may see the same death: one of them acts. */
static int life_lock(uint32_t domid, char path[64], int *lock_fd, struct err *e)
{
	autofd fd = -1;

	snprintf(path, 64, RUN_DIR "/life-%u.lock", domid);
	if (mkdir(RUN_DIR, 0755) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make " RUN_DIR);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -errno, "lock %s", path);
	*lock_fd = take_fd(&fd);
	return 0;
}

/* ---- what is to be done ---------------------------------------------------- */

static libxl_action_on_shutdown action_for(const libxl_domain_config *dc,
					   libxl_shutdown_reason reason)
{
	switch (reason) {
	case LIBXL_SHUTDOWN_REASON_POWEROFF:
		return dc->on_poweroff;
	case LIBXL_SHUTDOWN_REASON_REBOOT:
		return dc->on_reboot;
	case LIBXL_SHUTDOWN_REASON_CRASH:
		return dc->on_crash;
	case LIBXL_SHUTDOWN_REASON_WATCHDOG:
		return dc->on_watchdog;
	case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
		return dc->on_soft_reset;
	case LIBXL_SHUTDOWN_REASON_SUSPEND:
	case LIBXL_SHUTDOWN_REASON_UNKNOWN:
		break;
	}
	return LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
}

static int start_anew(struct xen_libxl *x, libxl_domain_config *dc, uint32_t *domid, struct err *e)
{
	uint64_t need;
	int r;

	dc->c_info.domid = INVALID_DOMID;
	/* If it does not become free in time, the creation says so. */
	if (libxl_domain_need_memory(x->ctx, dc, INVALID_DOMID, &need) == 0)
		(void)libxl_wait_for_free_memory(x->ctx, INVALID_DOMID, need, MEMORY_WAIT_SECONDS);
	xen_libxl_begin(x);
	r = libxl_domain_create_new(x->ctx, dc, domid, NULL, NULL);
	if (r)
		return xen_libxl_failed(x, r, e, "start %s anew", dc->c_info.name);
	r = libxl_domain_unpause(x->ctx, *domid, NULL);
	if (r)
		return xen_libxl_failed(x, r, e, "unpause %s", dc->c_info.name);
	log_info("%s was started anew as domain %u", dc->c_info.name, *domid);
	return 1;
}

static void dump_core(struct xen_libxl *x, uint32_t domid, const char *name)
{
	char path[256];
	int r;

	snprintf(path, sizeof(path), DUMP_DIR "/%s", name);
	r = libxl_domain_core_dump(x->ctx, domid, path, NULL);
	if (r)
		log_warn("no core of %s in %s: %s", name, path,
			 libxl_error_to_string((libxl_error)r));
	else
		log_info("core of %s is in %s", name, path);
}

/* Keeps the dead domain under another name, as xl does. */
static int keep_renamed(struct xen_libxl *x, libxl_domain_config *dc, uint32_t domid, struct err *e)
{
	char suffix[32];
	time_t now = time(NULL);
	libxl_uuid uuid;
	struct tm tm;
	int r;

	libxl_uuid_generate(&uuid);
	if (!gmtime_r(&now, &tm) || !strftime(suffix, sizeof(suffix), "-%Y%m%dT%H%MZ", &tm))
		return err_setx(e, -EINVAL, "what time is it?");
	r = libxl_domain_preserve(x->ctx, domid, &dc->c_info, suffix, uuid);
	if (r)
		return xen_libxl_failed(x, r, e, "rename %s", dc->c_info.name);
	return 0;
}

static int act(struct xen_libxl *x, libxl_domain_config *dc, libxl_action_on_shutdown action,
	       uint32_t *domid, struct err *e)
{
	int rc = 0;
	int r;

	switch (action) {
	case LIBXL_ACTION_ON_SHUTDOWN_PRESERVE:
		return 0;
	case LIBXL_ACTION_ON_SHUTDOWN_SOFT_RESET:
		r = libxl_domain_soft_reset(x->ctx, dc, *domid, NULL, NULL);
		if (r)
			return xen_libxl_failed(x, r, e, "reset %s", dc->c_info.name);
		r = libxl_domain_unpause(x->ctx, *domid, NULL);
		if (r)
			return xen_libxl_failed(x, r, e, "unpause %s", dc->c_info.name);
		return 1;
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME:
		rc = keep_renamed(x, dc, *domid, e);
		return rc < 0 ? rc : start_anew(x, dc, domid, e);
	case LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY:
	case LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART:
		dump_core(x, *domid, dc->c_info.name);
		break;
	case LIBXL_ACTION_ON_SHUTDOWN_DESTROY:
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART:
		break;
	}
	rc = xen_libxl_destroy(x, *domid, e);
	if (rc < 0 || action == LIBXL_ACTION_ON_SHUTDOWN_DESTROY ||
	    action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY)
		return rc;
	return start_anew(x, dc, domid, e);
}

/* The lock is held. */
static int obey_locked(struct xen_libxl *x, uint32_t *domid, struct err *e)
{
	libxl_action_on_shutdown action;
	libxl_domain_config dc;
	libxl_dominfo info;
	int rc;
	int r;

	xen_libxl_begin(x);
	libxl_dominfo_init(&info);
	libxl_domain_config_init(&dc);
	r = libxl_domain_info(x->ctx, &info, *domid);
	if (r == ERROR_DOMAIN_NOTFOUND || (!r && info.dying)) {
		rc = 0; /* somebody was quicker */
		goto out;
	}
	if (r) {
		rc = xen_libxl_failed(x, r, e, "domain %u", *domid);
		goto out;
	}
	if (!info.shutdown || info.shutdown_reason == LIBXL_SHUTDOWN_REASON_SUSPEND) {
		rc = err_setx(e, -EBUSY, "domain %u has not shut down", *domid);
		goto out;
	}
	r = libxl_retrieve_domain_configuration(x->ctx, *domid, &dc, NULL);
	if (r) {
		rc = xen_libxl_failed(x, r, e, "configuration of domain %u", *domid);
		goto out;
	}
	action = action_for(&dc, info.shutdown_reason);
	log_info("%s (domain %u) ended: %s; its configuration says: %s", dc.c_info.name, *domid,
		 libxl_shutdown_reason_to_string(info.shutdown_reason),
		 libxl_action_on_shutdown_to_string(action));
	rc = act(x, &dc, action, domid, e);
out:
	libxl_domain_config_dispose(&dc);
	libxl_dominfo_dispose(&info);
	return rc;
}

int xen_libxl_obey(struct xen_libxl *x, uint32_t *domid, struct err *e)
{
	autofd lock = -1;
	char path[64];
	int rc;

	rc = life_lock(*domid, path, &lock, e);
	if (rc == -EWOULDBLOCK)
		return 0;
	if (rc < 0)
		return rc;
	rc = obey_locked(x, domid, e);
	unlink(path);
	return rc;
}

/* ---- the monitor ----------------------------------------------------------- */

enum death {
	DEATH_NONE,
	DEATH_SUSPENDED,
	DEATH_SHUTDOWN,
	DEATH_GONE,
};

static enum death next_death(struct xen_libxl *x, uint32_t domid)
{
	enum death death = DEATH_NONE;
	libxl_event *ev;

	while (death == DEATH_NONE &&
	       libxl_event_check(x->ctx, &ev, LIBXL_EVENTMASK_ALL, NULL, NULL) == 0) {
		if (ev->domid == domid && ev->type == LIBXL_EVENT_TYPE_DOMAIN_DEATH)
			death = DEATH_GONE;
		else if (ev->domid == domid && ev->type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN)
			death = ev->u.domain_shutdown.shutdown_reason ==
						LIBXL_SHUTDOWN_REASON_SUSPEND
					? DEATH_SUSPENDED
					: DEATH_SHUTDOWN;
		libxl_event_free(x->ctx, ev);
	}
	return death;
}

/* Waits for as long as the domain lives. */
static int await_death(struct xen_libxl *x, uint32_t domid, enum death *death, struct err *e)
{
	libxl_evgen_domain_death *gen = NULL;
	int rc = 0;
	int r;

	*death = DEATH_NONE;
	xen_libxl_begin(x);
	r = libxl_evenable_domain_death(x->ctx, domid, 0, &gen);
	if (r)
		return xen_libxl_failed(x, r, e, "watch domain %u", domid);
	while (rc >= 0 && *death == DEATH_NONE) {
		rc = xen_libxl_pass(x, -1, -1, e);
		*death = next_death(x, domid);
	}
	libxl_evdisable_domain_death(x->ctx, gen);
	return MIN(rc, 0);
}

static int idle(struct xen_libxl *x, int ms, struct err *e)
{
	uint64_t end = clock_now() + (uint64_t)ms * NS_PER_MS;
	uint64_t now;
	int rc = 0;

	while (rc >= 0 && (now = clock_now()) < end)
		rc = xen_libxl_pass(x, -1, clock_poll_ms(end - now), e);
	return MIN(rc, 0);
}

int xen_libxl_monitor(struct xen_libxl *x, uint32_t domid, struct err *e)
{
	enum death death;
	int rc;

	for (;;) {
		rc = await_death(x, domid, &death, e);
		if (rc < 0)
			return rc;
		if (death == DEATH_GONE)
			return 0;
		if (death == DEATH_SUSPENDED) {
			rc = idle(x, SUSPENDED_AGAIN_MS, e);
			if (rc < 0)
				return rc;
			continue;
		}
		rc = xen_libxl_obey(x, &domid, e);
		if (rc == -EBUSY)
			continue;
		if (rc <= 0)
			return rc;
	}
}
