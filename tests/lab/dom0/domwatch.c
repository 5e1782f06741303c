// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * domwatch: looks at a domain all the time, as the hypervisor sees it.
 *
 *   domwatch [-t SECONDS] DOMID              until then, or SIGTERM: how long was it suspended? -t 0: one look
 *   domwatch [-t SECONDS] -k PID [-k PID] [-s SIGNAL (9)] DOMID
 *                                            sends the signal to those when the domain is next suspended
 *   domwatch [-t SECONDS] -e DOMID           until it has ended: crashed, shut down, or is being destroyed
 *
 * -i MICROSECONDS: between two looks.
 *
 * One line at the end, of these:
 *   domwatch looks=N suspensions=N longest_ms=N blind_ms=N state=STATE
 *   domwatch signalled=1 state=STATE       the state a few milliseconds later: still suspended, if a dead one had it so
 *   domwatch ended=how well=HH:MM:SS.uuuuuu seen=HH:MM:SS.uuuuuu
 * STATE is running, paused, suspended, shutdown, crashed, dying or gone. longest_ms is of one suspension, whose end lies between two
 * looks; blind_ms, the longest time between two. The end came after `well` and before `seen`, by this dom0's clock, like log lines.
 * Exit status 1: not before the time was over, 2: usage or no hypervisor.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xencall.h>
#include <xenctrl.h>
#include <xen/domctl.h>
#include <xen/sched.h>

enum {
	WATCH_US = 3000,
	HUNT_US = 200, /* a pause may last a millisecond */
	END_US = 500,
	AFTER_US = 5000, /* a process that was killed is gone by then */
	MAX_PIDS = 2,
	PRIORITY = 50,
};

enum state {
	RUNNING,
	PAUSED,
	SUSPENDED,
	SHUTDOWN,
	CRASHED,
	DYING,
	GONE
};
static const char *const names[] = {"running", "paused", "suspended", "shutdown",
				    "crashed", "dying",	 "gone"};

struct options {
	unsigned domid;
	long seconds;  /* -1: no end */
	long every_us; /* between two looks, 0: as it fits */
	int sig;
	pid_t pid[MAX_PIDS];
	int pids;
	bool end;
};

static xencall_handle *call;
static struct xen_domctl *op;
static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int64_t now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static void nap(long us)
{
	struct timespec ts = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&ts, NULL);
}

static enum state look(unsigned domid)
{
	uint32_t flags;

	memset(op, 0, sizeof(*op));
	op->cmd = XEN_DOMCTL_getdomaininfo;
	op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	op->domain = (domid_t)domid;
	if (xencall1(call, __HYPERVISOR_domctl, (uint64_t)(uintptr_t)op) < 0) {
		if (errno == ESRCH)
			return GONE;
		perror("domwatch: ask the hypervisor");
		exit(2);
	}
	/* It answers for the next one when there is none of this number. */
	if (op->u.getdomaininfo.domain != domid)
		return GONE;
	flags = op->u.getdomaininfo.flags;
	if (flags & XEN_DOMINF_dying)
		return DYING;
	if (flags & XEN_DOMINF_shutdown) {
		switch (flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) {
		case SHUTDOWN_suspend:
			return SUSPENDED;
		case SHUTDOWN_crash:
			return CRASHED;
		default:
			return SHUTDOWN;
		}
	}
	return flags & XEN_DOMINF_paused ? PAUSED : RUNNING;
}

static bool over(const struct options *o, int64_t start)
{
	return stopped ||
	       (o->seconds >= 0 && now_us(CLOCK_MONOTONIC) - start >= o->seconds * 1000000);
}

static int watch(const struct options *o)
{
	int64_t start = now_us(CLOCK_MONOTONIC), last = start, well = start, longest = 0, blind = 0;
	unsigned long looks = 0, suspensions = 0;
	enum state before = RUNNING, s;

	for (;;) {
		int64_t t = now_us(CLOCK_MONOTONIC);

		s = look(o->domid);
		looks++;
		if (t - last > blind)
			blind = t - last;
		last = t;
		if (s == SUSPENDED) {
			suspensions += before != SUSPENDED;
			t = now_us(CLOCK_MONOTONIC);
			if (t - well > longest)
				longest = t - well;
		} else {
			/* From the last look at which it was not. */
			well = t;
		}
		before = s;
		if (over(o, start))
			break;
		nap(o->every_us ? o->every_us : WATCH_US);
	}
	printf("domwatch looks=%lu suspensions=%lu longest_ms=%lld blind_ms=%lld state=%s\n", looks,
	       suspensions, (long long)longest / 1000, (long long)blind / 1000, names[s]);
	return 0;
}

static int hunt(const struct options *o)
{
	int64_t start = now_us(CLOCK_MONOTONIC);
	int i, rc = 0;

	while (look(o->domid) != SUSPENDED) {
		if (over(o, start)) {
			fprintf(stderr, "domwatch: domain %u was not suspended\n", o->domid);
			return 1;
		}
		nap(o->every_us ? o->every_us : HUNT_US);
	}
	for (i = 0; i < o->pids; i++) {
		if (kill(o->pid[i], o->sig) < 0) {
			fprintf(stderr, "domwatch: process %d: %s\n", (int)o->pid[i],
				strerror(errno));
			rc = 1;
		}
	}
	if (rc)
		return rc;
	nap(AFTER_US);
	printf("domwatch signalled=1 state=%s\n", names[look(o->domid)]);
	return 0;
}

static void format(int64_t us, char text[32])
{
	time_t t = us / 1000000;
	struct tm tm;

	localtime_r(&t, &tm);
	snprintf(text, 32, "%02d:%02d:%02d.%06d", tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (int)(us % 1000000));
}

static int await_end(const struct options *o)
{
	int64_t start = now_us(CLOCK_MONOTONIC), well = now_us(CLOCK_REALTIME), t = well;
	char a[32], b[32];
	enum state s;

	while ((s = look(o->domid)) <= SUSPENDED) {
		well = t;
		if (over(o, start)) {
			fprintf(stderr, "domwatch: domain %u is %s\n", o->domid, names[s]);
			return 1;
		}
		nap(o->every_us ? o->every_us : END_US);
		t = now_us(CLOCK_REALTIME);
	}
	format(well, a);
	format(now_us(CLOCK_REALTIME), b);
	printf("domwatch ended=%s well=%s seen=%s\n", names[s], a, b);
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: domwatch [-t SECONDS] [-i MICROSECONDS] [-k PID [-k PID] [-s SIGNAL] | -e] DOMID\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){.seconds = -1, .sig = SIGKILL};
	while ((c = getopt(argc, argv, "t:i:k:s:e")) != -1) {
		if (c == 't')
			o->seconds = atol(optarg);
		else if (c == 'i')
			o->every_us = atol(optarg);
		else if (c == 's')
			o->sig = atoi(optarg);
		else if (c == 'e')
			o->end = true;
		else if (c == 'k' && o->pids < MAX_PIDS)
			o->pid[o->pids++] = atoi(optarg);
		else
			return -1;
	}
	for (c = 0; c < o->pids; c++) {
		if (o->pid[c] <= 1)
			return -1;
	}
	if (optind + 1 != argc || o->sig <= 0 || o->every_us < 0 || (o->end && o->pids))
		return -1;
	o->domid = (unsigned)atoi(argv[optind]);
	return o->domid > 0 && o->domid < DOMID_FIRST_RESERVED ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct sched_param param = {.sched_priority = PRIORITY};
	struct options o;

	if (parse(argc, argv, &o) < 0)
		return usage();
	call = xencall_open(NULL, 0);
	op = call ? xencall_alloc_buffer(call, sizeof(*op)) : NULL;
	if (!op) {
		perror("domwatch: open the hypervisor");
		return 2;
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	/* To be there in a pause, before the one who has made it goes on. */
	if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
		perror("domwatch: real-time priority");
	if (o.pids)
		return hunt(&o);
	return o.end ? await_end(&o) : watch(&o);
}
