/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See doctor_judge.h. Here: what is true of the two hosts, whatever the VM. */
#include "tools/doctor_judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/json_in.h"
#include "lib/names.h"
#include "tools/tool.h"

#define DAY 86400
#define CERT_SOON (30 * DAY)
/* Certificates and logs are read by people and by dates; no decision of Romulus is. */
#define SKEW_US 2000000
#define ROOM_KIB 16384
/* The end of the year 9999. */
#define LAST_DATE UINT64_C(253402300799)

const char *doctor_verdict_name(enum doctor_verdict v)
{
	return v == DOCTOR_OK ? "ok" : v == DOCTOR_WARN ? "warning" : "error";
}

struct doctor_line *doctor_add(struct doctor_report *r, enum doctor_verdict v, const char *check)
{
	struct doctor_line *l = &r->line[MIN(r->n, (unsigned int)DOCTOR_LINES - 1)];

	r->worst = MAX(r->worst, v);
	if (r->n == DOCTOR_LINES)
		r->left_out++;
	else
		r->n++;
	*l = (struct doctor_line){.verdict = v, .check = check};
	return l;
}

/* Peers, certificates and files have a say in these texts. */
PRINTF(2, 0) static void put(char out[DOCTOR_TEXT], const char *fmt, va_list ap)
{
	char text[DOCTOR_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	tool_clean(text, out, DOCTOR_TEXT);
}

void doctor_found(struct doctor_line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(l->found, fmt, ap);
	va_end(ap);
}

void doctor_todo(struct doctor_line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(l->todo, fmt, ap);
	va_end(ap);
}

static const char *host_of(const struct json_in *v)
{
	return json_in_text(v, "host", "?");
}

/* ---- both can be asked ---- */

static void judge_reach(const struct doctor_case *c, struct doctor_report *r)
{
	struct doctor_line *l;

	if (!c->here) {
		l = doctor_add(r, DOCTOR_ERROR, "config");
		doctor_found(l, "%s", c->here_problem);
		doctor_todo(l, "see romulus.conf(5); romulusd --check-config says the same");
	}
	if (c->romulusd_problem) {
		l = doctor_add(r, DOCTOR_ERROR, "romulusd");
		doctor_found(l, "%s", c->romulusd_problem);
		doctor_todo(l, "systemctl start romulusd");
	} else {
		doctor_found(doctor_add(r, DOCTOR_OK, "romulusd"), "runs here");
	}
	l = doctor_add(r, c->there ? DOCTOR_OK : DOCTOR_ERROR, "peer");
	if (c->there) {
		doctor_found(l, "%s answers, by its certificate", c->peer);
		return;
	}
	doctor_found(l, "%s: %s", c->peer, c->there_problem);
	doctor_todo(l, "see to romulusd, address, port, firewall and certificates of %s", c->peer);
}

/* Does each host have the other in its list? */
static void judge_peers(const struct doctor_case *c, struct doctor_report *r)
{
	const char *us = host_of(c->here);
	struct doctor_line *l;
	size_t n = json_in_count(c->there, "conf.peers");

	if (strcmp(host_of(c->there), c->peer) != 0) {
		l = doctor_add(r, DOCTOR_ERROR, "peers");
		doctor_found(l, "the host that answers as %s calls itself %s", c->peer,
			     host_of(c->there));
		doctor_todo(l, "make host.name in its romulus.conf the name of its certificate");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(json_in_text(json_in_item(c->there, "conf.peers", i), "name", ""),
			    us)) {
			doctor_found(doctor_add(r, DOCTOR_OK, "peers"),
				     "each host is in the other's list");
			return;
		}
	}
	l = doctor_add(r, DOCTOR_ERROR, "peers");
	doctor_found(l, "%s is not in the list of peers of %s", us, c->peer);
	doctor_todo(l, "add it to peers in romulus.conf at %s", c->peer);
}

static void judge_version(const struct doctor_case *c, struct doctor_report *r)
{
	const char *a = json_in_text(c->here, "version", "?");
	const char *b = json_in_text(c->there, "version", "?");
	uint64_t a_min = json_in_u64(c->here, "protocol.min", 0);
	uint64_t a_max = json_in_u64(c->here, "protocol.max", 0);
	uint64_t b_min = json_in_u64(c->there, "protocol.min", 0);
	uint64_t b_max = json_in_u64(c->there, "protocol.max", 0);
	struct doctor_line *l;

	if (a_min > b_max || b_min > a_max) {
		l = doctor_add(r, DOCTOR_ERROR, "version");
		doctor_found(l,
			     "protocol %" PRIu64 "..%" PRIu64 " here, %" PRIu64 "..%" PRIu64
			     " at %s: they have none in common",
			     a_min, a_max, b_min, b_max, c->peer);
		doctor_todo(l, "install the same version on both");
	} else if (strcmp(a, b) != 0) {
		l = doctor_add(r, DOCTOR_WARN, "version");
		doctor_found(l, "Romulus %s here, %s at %s", a, b, c->peer);
		doctor_todo(l, "install the same version on both; this pair is not tested");
	} else {
		doctor_found(doctor_add(r, DOCTOR_OK, "version"), "Romulus %s on both", a);
	}
}

static bool judge_xen_one(const struct json_in *v, const char *host, struct doctor_report *r)
{
	const char *problem = json_in_text(v, "xen.problem", NULL);
	struct doctor_line *l;

	if (!problem && json_in_bool(v, "xen.hap", false))
		return true;
	l = doctor_add(r, DOCTOR_ERROR, "xen");
	doctor_found(l, "%s: %s", host,
		     problem			 ? problem
		     : json_in_has(v, "xen.hap") ? "no hardware-assisted paging"
						 : "nothing is known of its hypervisor");
	doctor_todo(l, "boot it with Xen on a machine with VT-x and EPT, or AMD-V and NPT");
	return false;
}

static void judge_xen(const struct doctor_case *c, struct doctor_report *r)
{
	bool good = judge_xen_one(c->here, "here", r);
	uint64_t a =
		json_in_u64(c->here, "xen_major", 0) * 1000 + json_in_u64(c->here, "xen_minor", 0);
	uint64_t b = json_in_u64(c->there, "xen_major", 0) * 1000 +
		     json_in_u64(c->there, "xen_minor", 0);
	struct doctor_line *l;

	if (!judge_xen_one(c->there, c->peer, r) || !good)
		return;
	l = doctor_add(r, a == b ? DOCTOR_OK : a < b ? DOCTOR_WARN : DOCTOR_ERROR, "xen");
	if (a == b) {
		doctor_found(l, "Xen %" PRIu64 ".%" PRIu64 " on both", a / 1000, a % 1000);
		return;
	}
	doctor_found(l, "Xen %" PRIu64 ".%" PRIu64 " here, %" PRIu64 ".%" PRIu64 " at %s", a / 1000,
		     a % 1000, b / 1000, b % 1000, c->peer);
	doctor_todo(
		l,
		a < b ? "upgrade this host: a VM that failed over cannot be protected back to it"
		      : "upgrade %s: an older Xen does not take a newer one's guests",
		c->peer);
}

/* ---- certificates ---- */

/* Whatever it says, a time that has a date. */
static int64_t date_at(const struct json_in *v, const char *path)
{
	return (int64_t)MIN(json_in_u64(v, path, 0), LAST_DATE);
}

static void day(int64_t t, char buf[16])
{
	time_t when = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(buf, 16, "%Y-%m-%d", &tm))
		snprintf(buf, 16, "?");
}

static void judge_cert(const struct doctor_case *c, const struct json_in *v, const char *host,
		       struct doctor_report *r)
{
	const char *problem = json_in_text(v, "cert.problem", NULL);
	const char *name = json_in_text(v, "cert.name", "");
	int64_t from = date_at(v, "cert.not_before");
	int64_t to = date_at(v, "cert.not_after");
	struct doctor_line *l;
	char when[16];

	if (problem || !json_in_has(v, "cert.not_after")) {
		l = doctor_add(r, DOCTOR_ERROR, "certificate");
		doctor_found(l, "%s: %s", host, problem ? problem : "nothing is known of it");
		doctor_todo(l, "make one with romulus cert host");
	} else if (strcmp(name, host_of(v)) != 0) {
		l = doctor_add(r, DOCTOR_ERROR, "certificate");
		doctor_found(l, "%s: it is for %s, and the host is called %s", host, name,
			     host_of(v));
		doctor_todo(l, "romulus cert host %.64s, or set host.name", host_of(v));
	} else if (c->now < from || c->now >= to) {
		day(c->now < from ? from : to, when);
		l = doctor_add(r, DOCTOR_ERROR, "certificate");
		doctor_found(l, "%s: it %s %s", host,
			     c->now < from ? "is not valid before" : "expired on", when);
		doctor_todo(l, c->now < from ? "look at the clocks"
					     : "make a new one with romulus cert host");
	} else {
		day(to, when);
		l = doctor_add(r, to - c->now < CERT_SOON ? DOCTOR_WARN : DOCTOR_OK, "certificate");
		doctor_found(l, "%s: valid until %s", host, when);
		if (l->verdict != DOCTOR_OK)
			doctor_todo(l, "make a new one with romulus cert host before that day: "
				       "afterwards no session begins");
	}
}

static void judge_ca(const struct doctor_case *c, struct doctor_report *r)
{
	const char *a = json_in_text(c->here, "ca.fingerprint", "");
	const char *b = json_in_text(c->there, "ca.fingerprint", "");
	struct doctor_line *l;
	int64_t to = date_at(c->here, "ca.not_after");
	char when[16];

	day(to, when);
	if (!*a || !*b || strcmp(a, b) != 0) {
		l = doctor_add(r, DOCTOR_ERROR, "authority");
		doctor_found(l,
			     "the hosts do not trust the same authority: %.16s here, %.16s at %s",
			     *a ? a : "none", *b ? b : "none", c->peer);
		doctor_todo(l, "give both the same ca.pem");
	} else if (to - c->now < CERT_SOON) {
		l = doctor_add(r, to <= c->now ? DOCTOR_ERROR : DOCTOR_WARN, "authority");
		doctor_found(l, "the authority's certificate ends on %s", when);
		doctor_todo(l, "make a new authority and new certificates for all hosts");
	} else {
		doctor_found(doctor_add(r, DOCTOR_OK, "authority"), "the same on both, until %s",
			     when);
	}
}

/* ---- clocks, link ---- */

static void judge_clock(const struct doctor_case *c, struct doctor_report *r)
{
	uint64_t theirs = json_in_u64(c->there, "wall_us", 0);
	uint64_t away = theirs > c->asked_us ? theirs - c->asked_us : c->asked_us - theirs;
	struct doctor_line *l;

	/* When in the answer's time it looked at its clock is not known. */
	away -= MIN(away, c->asking_us);
	if (!theirs || away > SKEW_US) {
		l = doctor_add(r, DOCTOR_WARN, "clock");
		if (theirs)
			doctor_found(l, "the clocks are %.1f s apart", (double)away / 1e6);
		else
			doctor_found(l, "the peer's clock is not known");
		doctor_todo(l, "run an NTP client on both; nothing is decided by these clocks, but "
			       "certificates have dates, and events cannot be compared");
	} else if (!json_in_bool(c->here, "clock_synced", false) ||
		   !json_in_bool(c->there, "clock_synced", false)) {
		l = doctor_add(r, DOCTOR_WARN, "clock");
		doctor_found(l, "%s says that its clock is not synchronised",
			     json_in_bool(c->here, "clock_synced", false) ? c->peer : "this host");
		doctor_todo(l, "run an NTP client there");
	} else {
		doctor_found(doctor_add(r, DOCTOR_OK, "clock"), "synchronised on both");
	}
}

static void judge_link(const struct doctor_case *c, struct doctor_report *r)
{
	uint64_t epoch = json_in_u64(c->here, "conf.epoch_period_us", 50000);
	uint64_t heartbeat = json_in_u64(c->here, "conf.heartbeat_period_us", 100000);
	struct doctor_line *l;

	if (!c->rtt_us)
		return;
	if (c->rtt_us >= heartbeat) {
		l = doctor_add(r, DOCTOR_ERROR, "link");
		doctor_found(
			l, "a question and its answer take %.1f ms, a heartbeat period is %.1f ms",
			(double)c->rtt_us / 1e3, (double)heartbeat / 1e3);
		doctor_todo(l,
			    "use a shorter link, or longer heartbeat-period and failure-timeout");
	} else if (c->rtt_us >= epoch / 2) {
		l = doctor_add(r, DOCTOR_WARN, "link");
		doctor_found(l, "a question and its answer take %.1f ms, an epoch is %.1f ms",
			     (double)c->rtt_us / 1e3, (double)epoch / 1e3);
		doctor_todo(l, "every answer of the VM waits for that; use a shorter link");
	} else {
		doctor_found(doctor_add(r, DOCTOR_OK, "link"),
			     "a question and its answer take %.2f ms", (double)c->rtt_us / 1e3);
	}
}

/* ---- modules, room ---- */

/* What is missing, separated by blanks. */
static void missing_modules(const struct json_in *v, const char *const names[], char *out,
			    size_t size)
{
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; names[i] && used < size; i++) {
		char path[64];

		snprintf(path, sizeof(path), "modules.%s", names[i]);
		if (strcmp(json_in_text(v, path, "missing"), "missing") == 0)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "",
						 names[i]);
	}
}

static void judge_modules(const struct doctor_case *c, struct doctor_report *r)
{
	static const char *const net[] = {"sch_plug", "sch_prio",     "sch_ingress",
					  "cls_bpf",  "cls_matchall", "act_mirred",
					  "act_gact", "ifb",	      NULL};
	char here[160], there[160];
	struct doctor_line *l;

	missing_modules(c->here, net, here, sizeof(here));
	missing_modules(c->there, net, there, sizeof(there));
	if (*here) {
		l = doctor_add(r, DOCTOR_ERROR, "modules");
		doctor_found(l, "this host's kernel %s lacks %s",
			     json_in_text(c->here, "kernel", "?"), here);
		doctor_todo(l, "install the kernel's modules: output cannot be held without them");
	}
	if (*there) {
		l = doctor_add(r, DOCTOR_WARN, "modules");
		doctor_found(l, "the kernel %s of %s lacks %s",
			     json_in_text(c->there, "kernel", "?"), c->peer, there);
		doctor_todo(l,
			    "install them: after a failover the VM cannot be protected from there");
	}
	if (!*here && !*there)
		doctor_found(doctor_add(r, DOCTOR_OK, "modules"),
			     "both kernels can hold and direct output");
}

static void judge_room_one(const struct json_in *v, const char *host, struct doctor_report *r)
{
	uint64_t kib = json_in_u64(v, "state_room_kib", 0);
	struct doctor_line *l;

	if (kib >= ROOM_KIB)
		return;
	l = doctor_add(r, json_in_has(v, "state_room_kib") && !kib ? DOCTOR_ERROR : DOCTOR_WARN,
		       "room");
	doctor_found(l, "%s: %" PRIu64 " KiB are free where Romulus keeps what must be durable",
		     host, kib);
	doctor_todo(l, "make room in paths.state-dir: a term that is not durable is forgotten");
}

/* ---- arbiter ---- */

/*
 * protect would join under a term newer than any that was used up here; the arbiter refuses that if another host holds
 * that one, or a newer one.
 */
static bool judge_holder(const struct doctor_case *c, bool needed, struct doctor_report *r)
{
	uint64_t known = MAX(json_in_u64(c->here, "vm.remembered.term", 0),
			     json_in_u64(c->here, "vm.remembered.asked", 0));
	char holder[NAME_SIZE] = "";
	struct doctor_line *l;
	uint64_t term = 0;

	if (sscanf(c->arbiter_text, "held %" SCNu64 " %63s", &term, holder) != 2 ||
	    !strcmp(holder, host_of(c->here)) || term <= known ||
	    json_in_bool(c->here, "vm.remembered.primary_worker", false) ||
	    json_in_bool(c->here, "vm.remembered.backup_worker", false))
		return false;
	l = doctor_add(r, needed ? DOCTOR_ERROR : DOCTOR_WARN, "arbiter");
	doctor_found(l, "%s holds term %" PRIu64 " of %s, this host knows none newer than %" PRIu64,
		     holder, term, c->vm ? c->vm : "it", known);
	doctor_todo(
		l,
		"if it runs at %s, protect it from there; if it runs nowhere else, have the arbiter "
		"forget it, such as by romulus-witness --forget",
		holder);
	return true;
}

static void judge_arbiter(const struct doctor_case *c, struct doctor_report *r)
{
	bool needed = c->policy && !strcmp(c->policy, "arbiter");
	struct doctor_line *l;

	if (c->arbiter == DOCTOR_ARBITER_NONE && !needed)
		return;
	if (c->arbiter == DOCTOR_ARBITER_ANSWERS) {
		if (c->here && judge_holder(c, needed, r))
			return;
		doctor_found(doctor_add(r, DOCTOR_OK, "arbiter"), "%s", c->arbiter_text);
		return;
	}
	/* Losing it alone changes nothing for the guest: but with it alone nobody could go on. */
	l = doctor_add(r, needed ? DOCTOR_ERROR : DOCTOR_WARN, "arbiter");
	if (c->arbiter == DOCTOR_ARBITER_NONE) {
		doctor_found(l, "on-peer-loss is arbiter, and this host has none");
		doctor_todo(l, "configure one in romulus.conf on both hosts");
		return;
	}
	doctor_found(l, "%s", c->arbiter_text);
	doctor_todo(l, "see to it: without its vote neither host goes on alone");
}

/* Each goes alone by its own: by two that know nothing of each other both could. */
static void judge_arbiters(const struct doctor_case *c, struct doctor_report *r)
{
	const char *a = json_in_text(c->here, "conf.arbiter", "none");
	const char *b = json_in_text(c->there, "conf.arbiter", "none");
	const char *a_name = json_in_text(c->here, "conf.arbiter_name", "");
	const char *b_name = json_in_text(c->there, "conf.arbiter_name", "");
	bool needed = c->policy && !strcmp(c->policy, "arbiter");
	struct doctor_line *l;

	if (!strcmp(a, b) && !strcmp(a_name, b_name))
		return;
	l = doctor_add(r, needed ? DOCTOR_ERROR : DOCTOR_WARN, "arbiter");
	doctor_found(l, "the arbiter is %s%s%.64s here, %s%s%.64s at %s", a, *a_name ? " " : "",
		     a_name, b, *b_name ? " " : "", b_name, c->peer);
	doctor_todo(l, "configure the same one in romulus.conf on both hosts");
}

void doctor_judge(const struct doctor_case *c, struct doctor_report *r)
{
	r->n = r->left_out = 0;
	r->worst = DOCTOR_OK;
	judge_reach(c, r);
	if (c->here && c->there) {
		judge_peers(c, r);
		judge_version(c, r);
		judge_xen(c, r);
		doctor_cpu(c, r);
		judge_cert(c, c->here, "here", r);
		judge_cert(c, c->there, c->peer, r);
		judge_ca(c, r);
		judge_clock(c, r);
		judge_link(c, r);
		judge_modules(c, r);
		judge_room_one(c->here, "here", r);
		judge_room_one(c->there, c->peer, r);
		judge_arbiters(c, r);
	} else if (c->here) {
		judge_xen_one(c->here, "here", r);
		judge_cert(c, c->here, "here", r);
	}
	judge_arbiter(c, r);
	if (c->vm && c->here)
		doctor_vm(c, r);
}
