/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See kernel_shell.h. */
#include "disk/kernel_shell.h"

#include <errno.h>
#include <stdio.h>

#include "disk/block_server.h"
#include "disk/nbd_nl.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"

/* Between two attempts to give the kernel a socket. */
#define ATTACH_PAUSE_NS (200 * NS_PER_MS)
/* After that, a device that was let go has a user. */
#define LET_GO_NS NS_PER_SEC

static int arm(sd_event_source *timer, uint64_t after_ns)
{
	int r = sd_event_source_set_time_relative(timer, after_ns / NS_PER_US);

	return r < 0 ? r : sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int attach(struct kernel_shell *k, struct err *e)
{
	int fd = -1;
	int rc = nbddev_attach(&k->dev, &fd, e);

	if (rc < 0)
		return rc;
	k->attached_ns = clock_now();
	*k->conf.nbd_index = k->dev.index;
	rc = block_server_add_kernel_take(k->conf.server, fd);
	return rc < 0 ? err_set(e, rc, "serve /dev/nbd%d", k->dev.index) : 0;
}

static void gone(struct kernel_shell *k)
{
	nbddev_gone(&k->dev);
	*k->conf.nbd_index = -1;
	if (k->letting_go)
		log_info("the device is disconnected; ending");
	else
		log_err("somebody disconnected the device; ending");
	k->conf.gone(k->conf.arg, k->letting_go ? 0 : -ENOTCONN);
}

/* A request took the kernel's patience, or it had not seen yet that its last socket died. */
void kernel_shell_lost(struct kernel_shell *k, bool asked)
{
	bool recent = clock_now() - k->attached_ns < ATTACH_PAUSE_NS;

	if (asked) {
		gone(k);
		return;
	}
	log_limited(LOG_AT_WARN, "/dev/nbd%d: the kernel closed its connection; making a new one",
		    k->dev.index);
	if (arm(k->attach_timer, recent ? ATTACH_PAUSE_NS : 0) < 0)
		die("cannot arm a timer: the guest's disk would hang");
}

static int on_attach_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct kernel_shell *k = arg;
	struct err e = ERR_INIT;
	int rc = attach(k, &e);

	if (rc == -ENOTCONN) {
		gone(k);
	} else if (rc < 0) {
		log_limited(LOG_AT_WARN, "%s; trying again", e.text);
		return arm(src, ATTACH_PAUSE_NS);
	}
	return 0;
}

static int on_let_go_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	const struct kernel_shell *k = arg;

	if (k->dev.index >= 0)
		log_warn("/dev/nbd%d is in use: serving it until it is closed", k->dev.index);
	return 0;
}

static void on_link_dead(void *arg, int index)
{
	const struct kernel_shell *k = arg;

	/* We see it by the end of our socket; here it is said who is at fault. */
	if (index == k->dev.index)
		log_limited(LOG_AT_INFO, "/dev/nbd%d: the kernel gave up its connection", index);
}

static int on_netlink(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct kernel_shell *k = arg;

	nbdnl_hear(k->dev.nl, on_link_dead, k);
	return 0;
}

int kernel_shell_let_go(struct kernel_shell *k)
{
	struct err e = ERR_INIT;

	k->letting_go = true;
	if (nbddev_let_go(&k->dev, &e) < 0)
		log_err("%s; serving on", e.text);
	return arm(k->let_go_timer, LET_GO_NS);
}

static int add_timer(struct kernel_shell *k, sd_event_source **timer, sd_event_time_handler_t fn)
{
	int r = sd_event_add_time(k->conf.loop, timer, CLOCK_BOOTTIME, 0, 1, fn, k);

	return r < 0 ? r : sd_event_source_set_enabled(*timer, SD_EVENT_OFF);
}

int kernel_shell_start(struct kernel_shell *k, const struct kernel_shell_conf *c, struct err *e)
{
	const struct nbddev_conf dc = {
		.export = block_server_export(c->server),
		.index_path = k->index_path,
		.sys_block = c->sys_block,
	};
	int rc;
	int r;

	*k = (struct kernel_shell){.conf = *c};
	snprintf(k->index_path, sizeof(k->index_path), "%s", c->index_path);
	rc = nbddev_init(&k->dev, &dc, e);
	if (rc < 0)
		return rc;
	r = sd_event_add_io(c->loop, &k->netlink, nbdnl_fd(k->dev.nl), EPOLLIN, on_netlink, k);
	if (r >= 0)
		r = add_timer(k, &k->attach_timer, on_attach_timer);
	if (r >= 0)
		r = add_timer(k, &k->let_go_timer, on_let_go_timer);
	return r < 0 ? err_set(e, r, "event loop") : attach(k, e);
}

void kernel_shell_fini(struct kernel_shell *k)
{
	sd_event_source_disable_unref(k->attach_timer);
	sd_event_source_disable_unref(k->let_go_timer);
	sd_event_source_disable_unref(k->netlink);
	nbddev_fini(&k->dev);
	*k = (struct kernel_shell){0};
}
