/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_life.h. The functions stand in the order of a drill's life. */
#include "replicator/drill_life.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "replicator/apply.h"
#include "replicator/drill_copy.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/standby.h"
#include "replicator/xen_drill.h"
#include "replicator/xen_version.h"

/* Of copying, and then of libxl's attaching of devices. */
#define COPY_NS (300 * NS_PER_SEC)
#define BUILD_NS (60 * NS_PER_SEC)
/* The standby's ladder takes seven steps of 5 s at most. */
#define END_NS (60 * NS_PER_SEC)
#define STALL_NS (30 * NS_PER_SEC)
#define TELL_NS (500 * NS_PER_MS)
#define TELL_LAST_NS (5 * NS_PER_SEC)
#define LOOK_NS (500 * NS_PER_MS)
/* A command is begun when the copy has given a sign of life, or has had so long for it. */
#define SIGN_NS (5 * NS_PER_SEC)
/* What dom0 must have for the copy's buffers, libxl and what it starts. */
#define DOM0_KIB ((uint64_t)160 << 10)
#define NICE_HASTE 0

/* ---- what the worker hears, and says ---- */

/* A last report is waited for; another one follows soon. */
static void send_report(const struct drill_life *l, const char *line, size_t len)
{
	struct pollfd p = {.fd = l->ctl_fd, .events = POLLOUT};

	if (l->report.phase == DRILL_OVER)
		(void)poll(&p, 1, clock_poll_ms(TELL_LAST_NS));
	/* If nobody hears it, the socket's end says so. */
	(void)!send(l->ctl_fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void tell(struct drill_life *l)
{
	uint64_t now = clock_now();

	l->told_ns = now;
	for (int tries = 0; tries < 2; tries++) {
		struct json *j = json_out_new();
		const char *line;
		size_t len = 0;

		if (j)
			drill_report_put(j, &l->report, now);
		line = j ? json_out_line(j, &len) : NULL;
		if (line && len < DRILL_REPORT_MAX)
			send_report(l, line, len);
		json_out_free(j);
		if (len < DRILL_REPORT_MAX)
			return;
		/* Escaped it is too long: what the probe said is the only text without a small limit. */
		l->report.output[0] = '\0';
	}
}

static void phase(struct drill_life *l, enum drill_phase p)
{
	drill_report_phase(&l->report, p, clock_now());
	log_info("drill: %s", drill_phase_name(p));
	tell(l);
}

static void hear(struct drill_life *l)
{
	char text[ERR_TEXT_SIZE] = "";
	ssize_t n = recv(l->ctl_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	l->stop = -ECANCELED;
	if (n > 4 && strncmp(text, "end ", 4) == 0)
		drill_report_verdict(&l->report, DRILL_CALLED_OFF, "%s", text + 4);
	else
		drill_report_verdict(&l->report, DRILL_CALLED_OFF,
				     "the backup's worker has ended, and the standby with it");
}

static void hear_copy(struct drill_life *l)
{
	struct standby_event ev;

	if (!l->copy)
		return;
	for (standby_step(l->copy, clock_now(), &ev); ev.type != STANDBY_NOTHING;
	     standby_step(l->copy, clock_now(), &ev)) {
		switch (ev.type) {
		case STANDBY_BUILT:
			l->built = true;
			l->report.domid = ev.domid;
			break;
		case STANDBY_RUNNING:
			l->running = true;
			for (uint32_t i = 0; i < ev.n_vifs; i++)
				drill_ping_guest(&l->probe.ping, ev.vif[i].mac);
			break;
		case STANDBY_GONE:
			l->gone = true;
			break;
		case STANDBY_LEFT:
			l->left = true;
			drill_report_left(&l->report, ev.text);
			break;
		case STANDBY_FAILED:
		case STANDBY_LOST:
		case STANDBY_NAME_TAKEN:
		case STANDBY_UNWATCHED:
			l->stop = l->stop ? l->stop : -EIO;
			drill_report_verdict(&l->report, DRILL_BROKEN, "%s", ev.text);
			break;
		case STANDBY_ENDED:
		case STANDBY_NOTHING:
			break;
		}
	}
}

/* Lets happen what happens, for at most so long. */
static void wait_a_while(struct drill_life *l, uint64_t ns)
{
	struct pollfd p[2 + DRILL_PROBE_FDS] = {
		{.fd = l->stop ? -1 : l->ctl_fd, .events = POLLIN},
		{.fd = l->copy ? standby_fd(l->copy) : -1, .events = POLLIN},
	};
	unsigned int n = 2;

	if (l->report.phase == DRILL_LIVING)
		n += drill_probe_poll(&l->probe, p + n);
	if (l->copy)
		ns = MIN(ns, clock_until(standby_deadline(l->copy), clock_now()));
	if (poll(p, n, clock_poll_ms(ns)) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
	if (p[0].revents)
		hear(l);
	hear_copy(l);
}

/* ---- before anything is made ---- */

static uint64_t dom0_free_kib(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

/*
 * dom0's is counted here; the hypervisor's by who builds the copy (romulus-domain), before it makes anything, with what libxl
 * says that such a domain needs.
 */
static int count_memory(struct drill_life *l, struct err *e)
{
	uint64_t have = dom0_free_kib();
	struct xen_drill_look look;

	l->report.free_kib = xen_drill_free_kib(l->xen);
	xen_drill_look(l->xen, l->standby_domid, &look);
	l->report.memory_kib = look.kib;
	if (have < DOM0_KIB)
		return err_setx(e, -ENOMEM,
				"a drill needs %" PRIu64 " MiB of this host's dom0, %" PRIu64
				" MiB are available: give dom0 more, or end something there",
				DOM0_KIB >> 10, have >> 10);
	if (l->report.free_kib < look.kib)
		return err_setx(e, -ENOMEM,
				"the copy needs %" PRIu64 " MiB, %" PRIu64
				" MiB are free on this host: free %" PRIu64
				" MiB (xl mem-set 0, or dom0_mem= at boot)",
				look.kib >> 10, l->report.free_kib >> 10,
				(look.kib - l->report.free_kib + 1023) >> 10);
	return 0;
}

static int prepare(struct drill_life *l, struct err *e)
{
	char name[NAME_SIZE + sizeof(STANDBY_SUFFIX)];
	int rc;

	phase(l, DRILL_PREPARING);
	snprintf(name, sizeof(name), "%s%s", l->report.vm, STANDBY_SUFFIX);
	rc = xen_drill_find(l->xen, name, &l->standby_domid, e);
	if (rc == 0)
		rc = count_memory(l, e);
	if (rc < 0)
		return rc;
	l->net_made = true;
	rc = l->net->make(l->net->arg, e);
	if (rc == 0)
		rc = l->net->enter(l->net->arg, e);
	if (rc < 0)
		return rc;
	rc = drill_probe_listen(&l->probe, l->net->inside, e);
	if (l->net->leave(l->net->arg, e) < 0)
		die("cannot leave the drill's network namespace: %s", e->text);
	l->disks.wake_fd = l->ctl_fd;
	l->report.n_disks = l->disks.n;
	return rc < 0 ? rc : drill_disks_start(&l->disks, e);
}

/* ---- the copy ---- */

static int read_standby(void *arg, const uint64_t *pfn, uint32_t n, uint8_t *pages, bool *have,
			struct err *e)
{
	struct drill_life *l = arg;

	return xen_drill_read(l->xen, pfn, n, pages, have, e);
}

static int between(void *arg, struct err *e)
{
	struct drill_life *l = arg;

	wait_a_while(l, 0);
	if (clock_now() >= clock_add(l->told_ns, TELL_NS))
		tell(l);
	return l->stop ? err_setx(e, l->stop, "called off") : 0;
}

static int hold_disks(void *arg, uint64_t *least, struct err *e)
{
	struct drill_life *l = arg;

	return drill_disks_hold(&l->disks, least, e);
}

static int disks_at(void *arg, uint64_t epoch, struct err *e)
{
	struct drill_life *l = arg;

	return drill_disks_at(&l->disks, epoch, e);
}

static void haste(void *arg, bool on)
{
	/* Without the right to be quick again it is slow, not wrong. */
	(void)setpriority(PRIO_PROCESS, 0, on ? NICE_HASTE : DRILL_NICE);
}

/* Its builder is to know that nobody wants it before its stream ends; what comes of that is heard later. */
static void abandon(struct drill_life *l)
{
	struct err e = ERR_INIT;

	if (standby_abandon(l->copy, clock_now(), &e) < 0)
		log_warn("drill: %s", e.text);
}

static int copy_into(struct drill_life *l, int stream_fd, struct err *e)
{
	struct apply_conf ac = {
		.arena_pages = DRILL_COPY_BATCH,
		.mem_pages = drill_share_mem_pages(l->share),
		.stall_ns = STALL_NS,
		.wake_fd = l->ctl_fd,
	};
	struct drill_copy c = {
		.share = l->share,
		.read = read_standby,
		.between = between,
		.hold = l->disks.n ? hold_disks : NULL,
		.at = l->disks.n ? disks_at : NULL,
		.haste = haste,
		.arg = l,
		.timeout_ns = COPY_NS,
	};
	struct apply *ap = NULL;
	int rc = xen_version(&ac.xen_major, &ac.xen_minor, e);

	if (rc == 0)
		rc = apply_new_take(&ap, &ac, stream_fd, e);
	if (rc < 0) {
		abandon(l);
		close(stream_fd);
		return rc;
	}
	c.apply = ap;
	rc = drill_copy_run(&c, e);
	l->report.epoch = c.epoch;
	l->report.copied_pages = c.pages;
	l->report.rounds = c.rounds;
	l->report.last_pages = c.last_pages;
	/* Why it takes no more is said before it closes the stream, and lost when it is told that nobody wants it. */
	hear_copy(l);
	if (rc < 0)
		abandon(l);
	apply_free(ap);
	return rc;
}

static int copy(struct drill_life *l, struct err *e)
{
	const struct standby_conf sc = {
		.program = l->domain_tool,
		.vm = l->report.vm,
		.json = l->json,
		.json_size = l->json_size,
		.drill_bridge = l->net->bridge,
	};
	int stream_fd;
	int rc;

	phase(l, DRILL_COPYING);
	rc = standby_start(&l->copy, &sc, &stream_fd, e);
	return rc < 0 ? rc : copy_into(l, stream_fd, e);
}

static int build(struct drill_life *l, struct err *e)
{
	uint64_t deadline = clock_add(clock_now(), BUILD_NS);
	int rc = 0;

	phase(l, DRILL_BUILDING);
	while (!l->built && !l->stop && clock_now() < deadline)
		wait_a_while(l, clock_until(deadline, clock_now()));
	if (l->built && !l->stop)
		rc = standby_run(l->copy, e);
	while (rc == 0 && !l->running && !l->stop && clock_now() < deadline)
		wait_a_while(l, clock_until(deadline, clock_now()));
	if (rc == 0 && l->stop)
		rc = err_setx(e, l->stop, "called off");
	if (rc == 0 && !l->running)
		rc = err_setx(e, -ETIMEDOUT, "the copy was not complete after %d s",
			      (int)(BUILD_NS / NS_PER_SEC));
	return rc;
}

/* ---- its life ---- */

#define ENV_MAX 12
#define ENV_SIZE 640

/* What a command is told; see romulus-drill(8). */
static int start_command(struct drill_life *l, const char *console, struct err *e)
{
	const struct drill_report *r = &l->report;
	const uint8_t *mac = l->probe.ping.guest[0];
	struct err left = ERR_INIT;
	char text[ENV_MAX][ENV_SIZE];
	const char *env[ENV_MAX + 1];
	unsigned int n = 0;
	int rc;

	snprintf(text[n++], ENV_SIZE,
		 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	snprintf(text[n++], ENV_SIZE, "DRILL_VM=%s", r->vm);
	snprintf(text[n++], ENV_SIZE, "DRILL_DOMAIN=%s" DRILL_SUFFIX, r->vm);
	snprintf(text[n++], ENV_SIZE, "DRILL_DOMID=%u", r->domid);
	snprintf(text[n++], ENV_SIZE, "DRILL_EPOCH=%" PRIu64, r->epoch);
	snprintf(text[n++], ENV_SIZE, "DRILL_HOST=%s", r->host);
	snprintf(text[n++], ENV_SIZE, "DRILL_INTERFACE=%s", l->net->inside);
	snprintf(text[n++], ENV_SIZE, "DRILL_ADDRESS=%s", r->address);
	snprintf(text[n++], ENV_SIZE, "DRILL_CONSOLE=%s", console);
	snprintf(text[n++], ENV_SIZE, "DRILL_SECONDS=%" PRIu64, l->request.time_ms / 1000);
	if (l->probe.ping.n_guests)
		snprintf(text[n++], ENV_SIZE, "DRILL_MAC=%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
			 mac[1], mac[2], mac[3], mac[4], mac[5]);
	for (unsigned int i = 0; i < n; i++)
		env[i] = text[i];
	env[n] = NULL;
	l->command_begun = true;
	rc = l->net->enter(l->net->arg, e);
	if (rc < 0)
		return rc;
	rc = drill_probe_command(&l->probe, l->request.probe, l->probe_is_path, env, e);
	if (l->net->leave(l->net->arg, &left) < 0)
		die("cannot leave the drill's network namespace: %s", left.text);
	return rc;
}

static void listen_to_console(struct drill_life *l, char path[XEN_DRILL_PATH_SIZE])
{
	struct err e = ERR_INIT;
	int rc;

	path[0] = '\0';
	rc = xen_drill_console(l->xen, l->report.domid, path, &e);
	/* A command may want it for itself. */
	if (rc == 0 && !l->request.probe[0])
		rc = drill_probe_console(&l->probe, path, &e);
	if (rc < 0)
		log_info("drill: no console: %s", e.text);
}

static void look(struct drill_life *l, uint64_t now)
{
	struct xen_drill_look got;
	struct err e = ERR_INIT;

	if (now < l->look_ns)
		return;
	l->look_ns = clock_add(now, LOOK_NS);
	xen_drill_look(l->xen, l->report.domid, &got);
	l->report.overlay_bytes = drill_disks_used(&l->disks);
	if (drill_disks_look(&l->disks, &e) < 0) {
		l->stop = l->stop ? l->stop : -EIO;
		drill_report_verdict(&l->report, DRILL_BROKEN, "%s", e.text);
		return;
	}
	if (got.there)
		l->report.cpu_ns = got.cpu_ns;
	if (got.there && !got.ended)
		return;
	l->stop = l->stop ? l->stop : -EIO;
	drill_report_verdict(&l->report, DRILL_FAILED, "the copy ended by itself: %s",
			     got.ended ? got.ended : "it is gone");
}

/* The operator's command decides. */
static void judge_command(struct drill_life *l, const char *console, uint64_t now)
{
	uint64_t sign_by = clock_add(l->report.at_ns[DRILL_LIVING], SIGN_NS);
	struct err e = ERR_INIT;

	if (!l->command_begun && (l->report.address[0] || now >= sign_by) &&
	    start_command(l, console, &e) < 0) {
		drill_report_verdict(&l->report, DRILL_BROKEN, "%s", e.text);
		return;
	}
	if (!l->probe.over)
		return;
	l->report.probe_status = l->probe.status;
	if (l->probe.status == 0)
		drill_report_verdict(&l->report, DRILL_PASSED, "the probe succeeded");
	else
		drill_report_verdict(&l->report, DRILL_FAILED, "the probe ended with status %d",
				     l->probe.status);
}

static void judge_answer(struct drill_life *l)
{
	const char *by = drill_probe_answer(&l->probe);

	if (!by)
		return;
	snprintf(l->report.probe, sizeof(l->report.probe), "%s", by);
	if (strcmp(by, "console") == 0)
		drill_report_verdict(&l->report, DRILL_PASSED, "its console answered a key");
	else
		drill_report_verdict(&l->report, DRILL_PASSED, "%s answered %s", l->report.address,
				     strcmp(by, "arp") == 0 ? "an ARP request" : "a ping");
}

/* Nothing was heard to the end. */
static void judge_silence(struct drill_life *l)
{
	uint64_t ms = l->request.time_ms;

	if (l->command_begun)
		drill_report_verdict(&l->report, DRILL_FAILED,
				     "the probe had not ended after %" PRIu64 " ms", ms);
	else
		drill_report_verdict(&l->report, DRILL_FAILED,
				     "the copy answered neither by network%s%s nor at its console "
				     "within %" PRIu64 " ms",
				     l->report.address[0] ? ", as " : "", l->report.address, ms);
}

static int live(struct drill_life *l, struct err *e)
{
	char console[XEN_DRILL_PATH_SIZE];
	uint64_t now = clock_now();
	uint64_t deadline = clock_add(now, l->request.time_ms * NS_PER_MS);

	phase(l, DRILL_LIVING);
	listen_to_console(l, console);
	if (l->request.probe[0])
		snprintf(l->report.probe, sizeof(l->report.probe), "%.60s", l->request.probe);
	for (; !l->stop && l->report.verdict == DRILL_UNDECIDED; now = clock_now()) {
		if (now >= deadline) {
			judge_silence(l);
			break;
		}
		wait_a_while(l, MIN(clock_until(deadline, now), DRILL_PROBE_STEP_MS * NS_PER_MS));
		drill_probe_step(&l->probe, clock_now());
		drill_ping_address(&l->probe.ping, l->report.address);
		if (drill_probe_answer(&l->probe) && !l->report.answered_ns)
			l->report.answered_ns = clock_now();
		look(l, clock_now());
		if (l->request.probe[0])
			judge_command(l, console, clock_now());
		else
			judge_answer(l);
		if (clock_now() >= clock_add(l->told_ns, TELL_NS))
			tell(l);
	}
	memcpy(l->report.output, l->probe.output, sizeof(l->report.output));
	return 0;
}

/* ---- its end ---- */

static void end(struct drill_life *l)
{
	uint64_t deadline = clock_add(clock_now(), END_NS);
	struct err e = ERR_INIT;

	phase(l, DRILL_ENDING);
	/* The copy first, at once: somebody may want its memory. */
	if (l->copy && standby_abandon(l->copy, clock_now(), &e) < 0)
		drill_report_verdict(&l->report, DRILL_BROKEN, "%s", e.text);
	drill_probe_fini(&l->probe);
	while (l->copy && !l->gone && !l->left && clock_now() < deadline)
		wait_a_while(l, clock_until(deadline, clock_now()));
	if (l->copy && !l->gone && !l->left)
		drill_report_left(&l->report,
				  "its copy was not destroyed in time: xl destroy it, if xl "
				  "list still shows it in a minute");
	standby_free(l->copy);
	l->copy = NULL;
	if (!drill_disks_end(&l->disks)) {
		l->left = true;
		drill_report_left(&l->report, "what the copy had of the disks is not all gone");
	}
	if (l->net_made && l->net->remove(l->net->arg, &e) < 0) {
		l->left = true;
		drill_report_left(&l->report, e.text);
	}
	l->report.free_after_kib = xen_drill_free_kib(l->xen);
	phase(l, DRILL_OVER);
}

void drill_life_refuse(struct drill_life *l, const char *why)
{
	l->report.epoch = EPOCH_NONE;
	drill_report_phase(&l->report, DRILL_PREPARING, clock_now());
	drill_report_verdict(&l->report, DRILL_BROKEN, "%s", why);
	phase(l, DRILL_OVER);
}

bool drill_life_run(struct drill_life *l)
{
	struct err e = ERR_INIT;
	bool had_copy;
	int rc;

	l->report.epoch = EPOCH_NONE;
	drill_probe_init(&l->probe);
	rc = prepare(l, &e);
	if (rc == 0)
		rc = copy(l, &e);
	if (rc == 0)
		rc = build(l, &e);
	if (rc == 0)
		rc = live(l, &e);
	/* A wait that the worker's word has cut short does not know the word. */
	if (rc < 0)
		hear(l);
	/* What was said before is nearer to the cause, and stands. */
	if (rc < 0)
		drill_report_verdict(&l->report, DRILL_BROKEN, "%s", e.text);
	had_copy = l->copy != NULL;
	end(l);
	return !l->left && (!had_copy || l->gone);
}
