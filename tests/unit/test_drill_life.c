/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drill's life without a hypervisor: the builder of the copy is this very program in another role (LIFE_ROLE), what Xen and the
 * network would say is said here. What each step leaves when it fails is what counts.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "replicator/drill_life.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/xen_drill.h"

#define PAGES 200

/* ---- the builder ------------------------------------------------------------------ */

static int child_say(const char *text)
{
	return send(4, text, strlen(text), MSG_NOSIGNAL) < 0;
}

static bool child_hear(const char *word)
{
	char text[32] = "";

	return recv(4, text, sizeof(text) - 1, 0) == (ssize_t)strlen(word) &&
	       strcmp(text, word) == 0;
}

static int child_main(int argc, char **argv)
{
	const char *role = getenv("LIFE_ROLE");
	char c[4096];

	if (!role || argc < 2)
		return 90;
	if (strcmp(argv[1], "destroy") == 0)
		return strcmp(role, "left") == 0 ? 1 : 0;
	/* A disk's view that says nothing. */
	if (strcmp(argv[argc - 1], "root") == 0)
		return read(3, c, sizeof(c)) == 0 ? 0 : 94;
	if (strcmp(argv[argc - 1], "rmd-1234") != 0)
		return 91;
	if (strcmp(role, "refuse") == 0) {
		(void)child_say(
			"error the drill's copy needs 96 MiB, 40 MiB are free on this host");
		return 1;
	}
	while (read(3, c, sizeof(c)) > 0)
		;
	if (strcmp(role, "stuck") == 0)
		return child_hear("abandon") ? 3 : 92;
	if (child_say("built domid=9") || !child_hear("run"))
		return 3; /* abandoned */
	if (child_say("vif name=vif9.0 mac=00:16:3e:00:00:50 bridge=rmd-1234") ||
	    child_say("running domid=9"))
		return 93;
	if (strcmp(role, "left") == 0)
		return child_hear("abandon") ? 1 : 92;
	return child_hear("abandon") ? 3 : 92;
}

/* ---- what Xen and the network say --------------------------------------------------- */

static struct {
	struct drill_share *worker;
	unsigned int reads;
	uint64_t free_kib;
	const char *ended; /* of the copy, by itself */
	const char *answer;
	bool no_epochs;
	int listen_rc;
	unsigned int made, removed, entered, left;
	int make_rc, remove_rc;
	int ctl; /* the worker's end */
} x;

int __wrap_xen_drill_find(struct xen_drill *xd, const char *name, uint32_t *domid, struct err *e);
int __wrap_xen_drill_find(struct xen_drill *xd, const char *name, uint32_t *domid, struct err *e)
{
	*domid = 7;
	return strcmp(name, "web--standby") == 0 ? 0 : err_setx(e, -ENOENT, "no domain %s", name);
}

static void feed(uint64_t epoch)
{
	static const uint64_t pfn[] = {3};
	struct drill_state *st;

	drill_share_feeding(x.worker, epoch, pfn, 1);
	st = drill_share_state_of(x.worker, epoch);
	st->n_params = 1;
	st->hvm_size = 8;
	drill_share_settled(x.worker, epoch);
}

int __wrap_xen_drill_read(struct xen_drill *xd, const uint64_t *pfn, uint32_t n, uint8_t *pages,
			  bool *have, struct err *e);
int __wrap_xen_drill_read(struct xen_drill *xd, const uint64_t *pfn, uint32_t n, uint8_t *pages,
			  bool *have, struct err *e)
{
	if (x.reads++ == 0 && !x.no_epochs)
		feed(1);
	for (uint32_t i = 0; i < n; i++)
		have[i] = pfn[i] != 5;
	return 0;
}

void __wrap_xen_drill_look(struct xen_drill *xd, uint32_t domid, struct xen_drill_look *out);
void __wrap_xen_drill_look(struct xen_drill *xd, uint32_t domid, struct xen_drill_look *out)
{
	*out = (struct xen_drill_look){
		.there = true, .kib = 64 << 10, .cpu_ns = 5, .ended = domid == 9 ? x.ended : NULL};
}

uint64_t __wrap_xen_drill_free_kib(struct xen_drill *xd);
uint64_t __wrap_xen_drill_free_kib(struct xen_drill *xd)
{
	return x.free_kib;
}

int __wrap_xen_drill_console(struct xen_drill *xd, uint32_t domid, char *path, struct err *e);
int __wrap_xen_drill_console(struct xen_drill *xd, uint32_t domid, char *path, struct err *e)
{
	return err_setx(e, -ENOENT, "no console");
}

int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e);
int __wrap_xen_version(uint32_t *major, uint32_t *minor, struct err *e)
{
	*major = 4;
	*minor = 17;
	return 0;
}

int __wrap_drill_probe_listen(struct drill_probe *p, const char *ifname, struct err *e);
int __wrap_drill_probe_listen(struct drill_probe *p, const char *ifname, struct err *e)
{
	return x.listen_rc ? err_setx(e, x.listen_rc, "no packet socket") : 0;
}

const char *__wrap_drill_probe_answer(const struct drill_probe *p);
const char *__wrap_drill_probe_answer(const struct drill_probe *p)
{
	return x.answer;
}

static int net_make(void *arg, struct err *e)
{
	x.made++;
	return x.make_rc ? err_setx(e, x.make_rc, "no bridge") : 0;
}

static int net_remove(void *arg, struct err *e)
{
	x.removed++;
	return x.remove_rc ? err_setx(e, x.remove_rc, "bridge rmd-1234 stays") : 0;
}

static int net_enter(void *arg, struct err *e)
{
	x.entered++;
	return 0;
}

static int net_leave(void *arg, struct err *e)
{
	x.left++;
	return 0;
}

static const struct drill_net net = {.make = net_make,
				     .remove = net_remove,
				     .enter = net_enter,
				     .leave = net_leave,
				     .bridge = "rmd-1234",
				     .inside = "drill0"};

/* ---- the world ------------------------------------------------------------------------ */

struct world {
	struct drill_life l;
	struct json_in *report; /* the last one */
	unsigned int reports;
};

static void prepare(struct world *w, const char *role)
{
	static const struct wire_static statics = {.n_leaves = 1};
	int pair[2], fd;

	memset(&x, 0, sizeof(x));
	*w = (struct world){.reports = 0};
	x.free_kib = 1 << 20;
	assert_int_equal(setenv("LIFE_ROLE", role, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	x.ctl = pair[0];
	assert_int_equal(drill_share_make(&x.worker, PAGES, &fd, NULL), 0);
	assert_int_equal(drill_share_open(&w->l.share, fd, NULL), 0);
	close(fd);
	drill_share_begin(x.worker, &statics, 0);
	drill_share_settled(x.worker, 0);
	w->l.net = &net;
	w->l.ctl_fd = pair[1];
	w->l.json = "{}";
	w->l.json_size = 2;
	w->l.domain_tool = "/proc/self/exe";
	w->l.request.time_ms = 1000;
	snprintf(w->l.report.vm, sizeof(w->l.report.vm), "%s", "web");
	snprintf(w->l.report.host, sizeof(w->l.report.host), "%s", "hostb");
}

/* Reads what it reported; the last one stays. */
static void collect(struct world *w)
{
	char text[DRILL_REPORT_MAX];
	ssize_t n;

	while ((n = recv(x.ctl, text, sizeof(text), MSG_DONTWAIT)) > 0) {
		json_in_free(w->report);
		assert_int_equal(json_in_parse(text, (size_t)n, &w->report, NULL), 0);
		w->reports++;
	}
	assert_non_null(w->report);
	assert_true(json_in_bool(w->report, "over", false));
}

static void finish(struct world *w)
{
	json_in_free(w->report);
	drill_share_close(x.worker);
	drill_share_close(w->l.share);
	close(x.ctl);
	if (w->l.ctl_fd >= 0)
		close(w->l.ctl_fd);
}

static void ends(struct world *w, bool tidy, const char *verdict, const char *why)
{
	assert_int_equal(drill_life_run(&w->l), tidy);
	collect(w);
	assert_string_equal(json_in_text(w->report, "verdict", ""), verdict);
	if (!strstr(json_in_text(w->report, "why", ""), why))
		fail_msg("why: %s", json_in_text(w->report, "why", ""));
	/* Whatever came of it, what was made is gone. */
	assert_int_equal(x.removed, x.made);
	assert_int_equal(x.entered, x.left);
}

static void passes(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.answer = "ping";
	ends(&w, true, "passed", "answered a ping");
	assert_int_equal(json_in_u64(w.report, "epoch", 99), 1);
	assert_int_equal(json_in_u64(w.report, "memory.copied_pages", 0), PAGES - 1 + 1);
	assert_int_equal(json_in_u64(w.report, "memory.last_pages", 0), 1);
	assert_int_equal(json_in_u64(w.report, "memory.needed_mib", 0), 64);
	assert_string_equal(json_in_text(w.report, "probe.what", ""), "ping");
	assert_true(json_in_has(w.report, "ms.living"));
	assert_true(w.reports >= 6);
	finish(&w);
}

static void silence_fails(void **state)
{
	struct world w;

	prepare(&w, "good");
	ends(&w, true, "failed", "within 1000 ms");
	finish(&w);
}

static void a_copy_that_crashes_fails(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.ended = "crash";
	ends(&w, true, "failed", "ended by itself: crash");
	finish(&w);
}

static void commands_decide(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.answer = "console";
	snprintf(w.l.report.address, sizeof(w.l.report.address), "%s", "");
	w.l.request.time_ms = 20000;
	snprintf(w.l.request.probe, sizeof(w.l.request.probe), "%s",
		 "echo \"$DRILL_DOMAIN $DRILL_DOMID $DRILL_EPOCH $DRILL_MAC\"; exit 4");
	ends(&w, true, "failed", "status 4");
	assert_string_equal(json_in_text(w.report, "probe.output", ""),
			    "web--drill 9 1 00:16:3e:00:00:50\n");
	assert_int_equal(json_in_u64(w.report, "probe.status", 0), 4);
	finish(&w);
	prepare(&w, "good");
	w.l.request.time_ms = 20000;
	w.l.probe_is_path = true;
	snprintf(w.l.request.probe, sizeof(w.l.request.probe), "%s", "/bin/true");
	ends(&w, true, "passed", "succeeded");
	finish(&w);
	prepare(&w, "good");
	w.l.request.time_ms = 20000;
	w.l.probe_is_path = true;
	snprintf(w.l.request.probe, sizeof(w.l.request.probe), "%s", "/nowhere/true");
	ends(&w, true, "broken", "/nowhere/true");
	finish(&w);
	prepare(&w, "good");
	w.l.request.time_ms = 6000;
	snprintf(w.l.request.probe, sizeof(w.l.request.probe), "%s", "sleep 1000");
	ends(&w, true, "failed", "had not ended");
	finish(&w);
}

static void too_little_memory(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.free_kib = 40 << 10;
	ends(&w, true, "broken", "needs 64 MiB, 40 MiB are free on this host: free 24 MiB");
	assert_int_equal(x.made, 0);
	finish(&w);
	/* What libxl counts is said by the builder. */
	prepare(&w, "refuse");
	ends(&w, true, "broken", "96 MiB, 40 MiB are free");
	finish(&w);
}

static void no_network(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.make_rc = -ENODEV;
	ends(&w, true, "broken", "no bridge");
	finish(&w);
	prepare(&w, "good");
	x.listen_rc = -EPERM;
	ends(&w, true, "broken", "no packet socket");
	finish(&w);
}

/* The worker says that the VM is to run here, or is gone, at any time. */
static void makes_way(void **state)
{
	struct world w;

	prepare(&w, "good");
	assert_int_equal(send(x.ctl, "end a failover", 14, 0), 14);
	w.l.request.time_ms = 60000;
	ends(&w, true, "called-off", "a failover");
	finish(&w);
	prepare(&w, "good");
	x.no_epochs = true;
	drill_share_end(x.worker);
	ends(&w, true, "broken", "not what it was");
	finish(&w);
	prepare(&w, "stuck");
	close(x.ctl);
	assert_true(drill_life_run(&w.l));
	assert_int_equal(w.l.report.verdict, DRILL_CALLED_OFF);
	assert_int_equal(x.removed, 1);
	x.ctl = -1;
	finish(&w);
}

/* Where something else is waited for: the reason is the worker's, not that the wait was cut short. */
static void makes_way_while_it_waits(void **state)
{
	struct world w;

	prepare(&w, "good");
	drill_disks_init(&w.l.disks);
	assert_int_equal(drill_disks_add(&w.l.disks, "root"), 0);
	w.l.disks.program = "/proc/self/exe";
	w.l.disks.conf_path = "/etc/x.conf";
	w.l.disks.vm = "web";
	assert_int_equal(send(x.ctl, "end a failover", 14, 0), 14);
	ends(&w, true, "called-off", "a failover");
	finish(&w);
}

static void what_stays_is_said(void **state)
{
	struct world w;

	prepare(&w, "good");
	x.answer = "arp";
	x.remove_rc = -EBUSY;
	ends(&w, false, "broken", "bridge rmd-1234 stays");
	finish(&w);
	prepare(&w, "left");
	x.answer = "arp";
	ends(&w, false, "broken", "web--drill could not be destroyed");
	finish(&w);
	/* And beside what was wrong before. */
	prepare(&w, "left");
	x.ended = "crash";
	x.remove_rc = -EBUSY;
	ends(&w, false, "failed",
	     "ended by itself: crash; and web--drill could not be destroyed (status 1); and bridge rmd-1234 stays");
	finish(&w);
}

static void refuses_to_begin(void **state)
{
	struct world w;

	prepare(&w, "good");
	drill_life_refuse(&w.l, "a drill of web is under way");
	collect(&w);
	assert_string_equal(json_in_text(w.report, "verdict", ""), "broken");
	assert_string_equal(json_in_text(w.report, "why", ""), "a drill of web is under way");
	finish(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes),
		cmocka_unit_test(silence_fails),
		cmocka_unit_test(a_copy_that_crashes_fails),
		cmocka_unit_test(commands_decide),
		cmocka_unit_test(too_little_memory),
		cmocka_unit_test(no_network),
		cmocka_unit_test(makes_way),
		cmocka_unit_test(makes_way_while_it_waits),
		cmocka_unit_test(what_stays_is_said),
		cmocka_unit_test(refuses_to_begin),
	};

	return argc > 1 ? child_main(argc, argv) : RUN_TESTS("drill_life", tests);
}
