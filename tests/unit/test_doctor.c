/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every line of romulus doctor: two hosts of which all is well, and one fact changed at a time.
 */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json_in.h"
#include "tools/doctor_judge.h"

#define NOW 1795694400 /* 2026-11-26 */

#define MODULES                                                                            \
	"\"modules\":{\"sch_plug\":\"loaded\",\"sch_prio\":\"available\",\"sch_ingress\":" \
	"\"builtin\",\"cls_bpf\":\"loaded\",\"cls_matchall\":\"loaded\",\"act_mirred\":"   \
	"\"loaded\",\"act_gact\":\"loaded\",\"ifb\":\"loaded\",\"nbd\":\"loaded\","        \
	"\"xen_blkback\":\"loaded\"}"
#define FEATURES \
	"\"features\":{\"1.ecx\":4294967295,\"7.ebx\":32,\"7:1.eax\":0,\"80000001.edx\":159642623}"
#define COMMON(us, them)                                                                      \
	"\"facts\":1,\"host\":\"" us "\",\"version\":\"0.1\",\"protocol\":{\"min\":1,"        \
	"\"max\":1},\"wall_us\":1000000000,\"clock_synced\":true,\"kernel\":\"6.1\"," MODULES \
	",\"dom0_available_mib\":2000,\"bridges\":[\"xenbr0\",\"xenbr1\"],"                   \
	"\"cert\":{\"name\":\"" us "\",\"not_before\":1000,\"not_after\":1900000000},"        \
	"\"ca\":{\"fingerprint\":\"abcd\",\"not_after\":1900000000},"                         \
	"\"conf\":{\"peers\":[{\"name\":\"" them "\"}],\"epoch_period_us\":50000,"            \
	"\"heartbeat_period_us\":100000},\"state_room_kib\":1000000,"                         \
	"\"xen_major\":4,\"xen_minor\":17,"                                                   \
	"\"xen\":{\"total_mib\":9000,\"free_mib\":4000,\"hap\":true,"                         \
	"\"cpu\":{\"vendor\":\"GenuineIntel\"," FEATURES "}},"                                \
	"\"disks\":[{\"name\":\"web-root\",\"path\":\"/dev/v/r\",\"mode\":\"epoch\","         \
	"\"size\":1073741824,\"server\":{\"size\":1073741824}}],"

static const char here_text[] = "{" COMMON(
	"a",
	"b") "\"vm\":{\"name\":\"web\",\"found\":true,\"uuid\":\"11112222333344445555666677778888\","
	     "\"domid\":3,\"type\":\"pvh\",\"hap\":true,\"shut_down\":false,\"vcpus\":2,"
	     "\"max_mib\":1024,\"missing_pages\":0,\"can_suspend\":true,\"suspend_channel\":true,"
	     "\"cpu\":{\"vendor\":\"GenuineIntel\"," FEATURES "},"
	     "\"vifs\":[{\"name\":\"vif3.0\",\"bridge\":\"xenbr0\"}],"
	     "\"disks\":[{\"vdev\":\"xvda\",\"name\":\"web-root\"}],\"standby_found\":false,"
	     "\"remembered\":{\"role\":\"none\",\"term\":2,\"primary_worker\":false,\"backup_worker\":false}}}";
static const char there_text[] = "{" COMMON(
	"b", "a") "\"vm\":{\"name\":\"web\",\"found\":false,\"standby_found\":false,"
		  "\"remembered\":{\"role\":\"none\",\"peer\":\"c\",\"primary_worker\":false,"
		  "\"backup_worker\":false}}}";

static struct doctor_report report;

/* Owned by the caller. */
static struct json_in *parse(const char *text)
{
	struct json_in *v = NULL;

	assert_int_equal(json_in_parse(text, strlen(text), &v, NULL), 0);
	return v;
}

static struct doctor_case good_case(const struct json_in *here, const struct json_in *there)
{
	return (struct doctor_case){
		.peer = "b",
		.vm = "web",
		.policy = "hold",
		.here = here,
		.there = there,
		.here_problem = "here problem",
		.there_problem = "there problem",
		.rtt_us = 300,
		.asked_us = 1000000000,
		.now = NOW,
		.arbiter_text = "",
	};
}

/* Facts with one piece of text replaced. */
static const char *changed(const char *text, const char *old, const char *new)
{
	static char buf[2][8192];
	static unsigned int n;
	const char *at = strstr(text, old);
	char *out = buf[n++ % 2];

	if (!at)
		fail_msg("no %s in %s", old, text);
	snprintf(out, sizeof(buf[0]), "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
	return out;
}

static struct json_in *with(const char *text, const char *old, const char *new)
{
	return parse(changed(text, old, new));
}

static void print_all(void)
{
	for (unsigned int i = 0; i < report.n; i++)
		print_message("%s %s: %s -> %s\n", doctor_verdict_name(report.line[i].verdict),
			      report.line[i].check, report.line[i].found, report.line[i].todo);
}

static bool has_line(enum doctor_verdict v, const char *check, const char *found, const char *todo)
{
	for (unsigned int i = 0; i < report.n; i++) {
		const struct doctor_line *l = &report.line[i];

		if (l->verdict == v && !strcmp(l->check, check) && strstr(l->found, found) &&
		    strstr(l->todo, todo))
			return true;
	}
	return false;
}

static void expect(enum doctor_verdict v, const char *check, const char *found, const char *todo)
{
	if (has_line(v, check, found, todo))
		return;
	print_all();
	fail_msg("no line %s %s: %s -> %s", doctor_verdict_name(v), check, found, todo);
}

/* A bad line says what to do; a good one has nothing to say. */
static void check_lines(void)
{
	enum doctor_verdict worst = DOCTOR_OK;

	for (unsigned int i = 0; i < report.n; i++) {
		const struct doctor_line *l = &report.line[i];

		assert_true(*l->found);
		assert_int_equal(!*l->todo, l->verdict == DOCTOR_OK);
		worst = MAX(worst, l->verdict);
	}
	assert_int_equal(report.worst, worst);
}

static unsigned int bad_lines(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < report.n; i++)
		n += report.line[i].verdict != DOCTOR_OK;
	return n;
}

static void all_is_well(void **state)
{
	static const char *const checks[] = {"romulusd", "peer",   "peers",	  "version",
					     "xen",	 "cpu",	   "certificate", "authority",
					     "clock",	 "link",   "modules",	  "guest",
					     "suspend",	 "memory", "bridges",	  "disks",
					     "name"};
	struct json_in *here = parse(here_text), *there = parse(there_text);
	struct doctor_case c = good_case(here, there);

	doctor_judge(&c, &report);
	check_lines();
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		expect(DOCTOR_OK, checks[i], "", "");
	if (report.worst != DOCTOR_OK)
		print_all();
	assert_int_equal(report.worst, DOCTOR_OK);
	assert_int_equal(report.left_out, 0);
	json_in_free(here);
	json_in_free(there);
}

#define HERE here_text
#define THERE there_text

static const struct {
	const char *facts; /* in which this is changed */
	const char *old, *new;
	enum doctor_verdict verdict;
	const char *check, *found, *todo;
} cases[] = {
	/* hosts */
	{THERE, "\"host\":\"b\"", "\"host\":\"x\"", DOCTOR_ERROR, "peers", "calls itself x",
	 "host.name"},
	{THERE, "{\"name\":\"a\"}", "{\"name\":\"c\"}", DOCTOR_ERROR, "peers",
	 "a is not in the list of peers of b", "romulus.conf at b"},
	{THERE, "\"version\":\"0.1\"", "\"version\":\"0.2\"", DOCTOR_WARN, "version",
	 "0.1 here, 0.2 at b", "same version"},
	{THERE, "\"min\":1,\"max\":1", "\"min\":2,\"max\":3", DOCTOR_ERROR, "version",
	 "1..1 here, 2..3 at b", "same version"},
	{HERE, "\"min\":1,\"max\":1", "\"min\":2,\"max\":3", DOCTOR_ERROR, "version",
	 "2..3 here, 1..1 at b", "same version"},
	{THERE, "\"xen_minor\":17", "\"xen_minor\":18", DOCTOR_WARN, "xen", "4.17 here, 4.18 at b",
	 "cannot be protected back"},
	{THERE, "\"xen_minor\":17", "\"xen_minor\":16", DOCTOR_ERROR, "xen", "4.17 here, 4.16 at b",
	 "upgrade b"},
	{THERE, "\"xen\":{", "\"xen\":{\"problem\":\"no Xen\",", DOCTOR_ERROR, "xen", "b: no Xen",
	 "boot it with Xen"},
	{HERE, "\"hap\":true", "\"hap\":false", DOCTOR_ERROR, "xen", "no hardware-assisted paging",
	 "VT-x"},
	{THERE, "\"xen\":{", "\"nex\":{", DOCTOR_ERROR, "xen", "nothing is known", "boot"},
	/* cpu */
	{THERE, "GenuineIntel", "AuthenticAMD", DOCTOR_ERROR, "cpu",
	 "GenuineIntel here, of AuthenticAMD at b", "like CPUs"},
	{THERE, "\"7.ebx\":32", "\"7.ebx\":0", DOCTOR_ERROR, "cpu",
	 "b lacks 1 features that the guest has: avx2", "cpuid="},
	{THERE, "\"1.ecx\":4294967295", "\"1.ecx\":4160749567", DOCTOR_OK, "cpu",
	 "b has all that the guest has", ""}, /* OSXSAVE alone */
	{THERE, "\"1.ecx\":4294967295", "\"1.ecx\":4294963199", DOCTOR_ERROR, "cpu", "fma",
	 "cpuid="},
	{THERE, "\"1.ecx\":4294967295", "\"1.ecx\":4294967231", DOCTOR_ERROR, "cpu", "1.ecx:6",
	 "cpuid="},
	/* Those of leaf 1 that AMD repeats, and one that is there only. */
	{THERE, "\"80000001.edx\":159642623", "\"80000001.edx\":134217728", DOCTOR_OK, "cpu",
	 "b has all", ""},
	{THERE, "\"80000001.edx\":159642623", "\"80000001.edx\":25424895", DOCTOR_ERROR, "cpu",
	 "lacks 1 features that the guest has: rdtscp", "cpuid="},
	{THERE, "\"cpu\":", "\"upc\":", DOCTOR_WARN, "cpu", "the peer's CPU are not known",
	 "same CPU"},
	/* certificates */
	{HERE, "\"name\":\"a\",\"not_before\"", "\"name\":\"z\",\"not_before\"", DOCTOR_ERROR,
	 "certificate", "here: it is for z, and the host is called a", "romulus cert host a"},
	{THERE, "\"cert\":{", "\"cert\":{\"problem\":\"no such file\",", DOCTOR_ERROR,
	 "certificate", "b: no such file", "romulus cert host"},
	{THERE, "\"cert\":{", "\"trec\":{", DOCTOR_ERROR, "certificate", "b: nothing is known",
	 "romulus cert host"},
	{THERE, "\"not_after\":1900000000},\"ca\"", "\"not_after\":1795694400},\"ca\"",
	 DOCTOR_ERROR, "certificate", "b: it expired on 2026-11-26", "new one"},
	{THERE, "\"not_before\":1000", "\"not_before\":1795800000", DOCTOR_ERROR, "certificate",
	 "b: it is not valid before 2026-11-27", "clocks"},
	{HERE, "\"not_after\":1900000000},\"ca\"", "\"not_after\":1796000000},\"ca\"", DOCTOR_WARN,
	 "certificate", "here: valid until 2026-11-30", "before that day"},
	{THERE, "\"not_after\":1900000000},\"ca\"", "\"not_after\":19e30},\"ca\"", DOCTOR_OK,
	 "certificate", "b: valid until 9999-12-31", ""},
	{THERE, "\"abcd\"", "\"efgh\"", DOCTOR_ERROR, "authority", "abcd here, efgh at b",
	 "same ca.pem"},
	{THERE, "\"abcd\"", "\"\"", DOCTOR_ERROR, "authority", "none at b", "same ca.pem"},
	{HERE, "\"abcd\",\"not_after\":1900000000", "\"abcd\",\"not_after\":1796000000",
	 DOCTOR_WARN, "authority", "ends on 2026-11-30", "new authority"},
	{HERE, "\"abcd\",\"not_after\":1900000000", "\"abcd\",\"not_after\":1795000000",
	 DOCTOR_ERROR, "authority", "ends on", "new authority"},
	/* clocks */
	{THERE, "\"wall_us\":1000000000", "\"wall_us\":1005000000", DOCTOR_WARN, "clock",
	 "5.0 s apart", "NTP"},
	{THERE, "\"wall_us\":1000000000", "\"wall_us\":995000000", DOCTOR_WARN, "clock",
	 "5.0 s apart", "NTP"},
	{THERE, "\"wall_us\":1000000000", "\"wall_us\":1001000000", DOCTOR_OK, "clock",
	 "synchronised on both", ""},
	{THERE, "\"wall_us\":1000000000,", "", DOCTOR_WARN, "clock", "not known", "NTP"},
	{THERE, "\"clock_synced\":true", "\"clock_synced\":false", DOCTOR_WARN, "clock", "b says",
	 "NTP"},
	{HERE, "\"clock_synced\":true", "\"clock_synced\":false", DOCTOR_WARN, "clock",
	 "this host says", "NTP"},
	/* modules, room */
	{HERE, "\"sch_plug\":\"loaded\"", "\"sch_plug\":\"missing\"", DOCTOR_ERROR, "modules",
	 "this host's kernel 6.1 lacks sch_plug", "install"},
	{THERE, "\"ifb\":\"loaded\",", "", DOCTOR_WARN, "modules", "of b lacks ifb",
	 "after a failover"},
	{HERE, "\"nbd\":\"loaded\"", "\"nbd\":\"missing\"", DOCTOR_ERROR, "modules",
	 "the kernel here lacks nbd", "install"},
	{THERE, "\"xen_blkback\":\"loaded\"", "\"xen_blkback\":\"missing\"", DOCTOR_ERROR,
	 "modules", "the kernel of b lacks nbd or xen_blkback", "install"},
	{THERE, "\"state_room_kib\":1000000", "\"state_room_kib\":0", DOCTOR_ERROR, "room",
	 "b: 0 KiB", "make room"},
	{HERE, "\"state_room_kib\":1000000", "\"state_room_kib\":1000", DOCTOR_WARN, "room",
	 "here: 1000 KiB", "make room"},
	/* arbiter */
	{THERE, "\"conf\":{", "\"conf\":{\"arbiter\":\"etcd\",", DOCTOR_WARN, "arbiter",
	 "none here, etcd at b", "the same one"},
	{HERE, "\"conf\":{", "\"conf\":{\"arbiter\":\"none\",", DOCTOR_OK, "peers", "", ""},
	{THERE, "\"conf\":{", "\"conf\":{\"arbiter_name\":\"witness2\",", DOCTOR_WARN, "arbiter",
	 "none witness2 at b", "the same one"},
	/* guest */
	{HERE, "\"found\":true", "\"found\":false", DOCTOR_ERROR, "guest",
	 "there is no domain web on this host", "where the VM runs"},
	{HERE, "\"found\":true", "\"found\":false,\"problem\":\"no xenstored\"", DOCTOR_ERROR,
	 "guest", "no xenstored", "xl list"},
	{HERE, "\"type\":\"pvh\"", "\"type\":\"pv\"", DOCTOR_ERROR, "guest", "a PV guest",
	 "type=\"pvh\""},
	{HERE, "\"type\":\"pvh\"", "\"type\":\"hvm\"", DOCTOR_ERROR, "guest", "device model",
	 "type=\"pvh\""},
	{HERE, "\"pvh\",\"hap\":true", "\"pvh\",\"hap\":false", DOCTOR_ERROR, "guest",
	 "without hardware-assisted paging", "hap=0"},
	{HERE, "\"shut_down\":false", "\"shut_down\":true", DOCTOR_ERROR, "guest", "has shut down",
	 "when it runs"},
	{HERE, "\"missing_pages\":0", "\"missing_pages\":9", DOCTOR_ERROR, "guest",
	 "memory < maxmem", "balloon"},
	{HERE, "\"domid\":3", "\"domid\":3,\"odd_device\":\"pci\"", DOCTOR_ERROR, "guest",
	 "a device of kind pci", "take it away"},
	{HERE, "\"can_suspend\":true", "\"can_suspend\":false", DOCTOR_ERROR, "guest",
	 "can be suspended", "booted"},
	{HERE, "\"suspend_channel\":true", "\"suspend_channel\":false", DOCTOR_WARN, "suspend",
	 "no suspend event channel", "xen_suspend_channel"},
	{HERE, "{\"name\":\"vif3.0\",\"bridge\":\"xenbr0\"}", "{},{},{},{},{},{},{},{},{}",
	 DOCTOR_ERROR, "guest", "more than 8 network interfaces", "fewer"},
	{HERE, "{\"vdev\":\"xvda\",\"name\":\"web-root\"}",
	 "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", DOCTOR_ERROR, "guest",
	 "more than 16 disks", "fewer"},
	/* memory */
	{THERE, "\"free_mib\":4000", "\"free_mib\":1000", DOCTOR_ERROR, "memory",
	 "b has 1000 MiB free, a standby needs about 1056 MiB", "free memory there"},
	{THERE, "\"free_mib\":4000", "\"free_mib\":1040", DOCTOR_WARN, "memory",
	 "b has 1040 MiB free", "free memory there"},
	{THERE, "\"dom0_available_mib\":2000", "\"dom0_available_mib\":500", DOCTOR_ERROR, "memory",
	 "domain 0 of b has 500 MiB available; arena and cache take 384", "dom0_mem"},
	{HERE, "\"dom0_available_mib\":2000", "\"dom0_available_mib\":500", DOCTOR_WARN, "memory",
	 "domain 0 of this host has 500 MiB", "dom0_mem"},
	{HERE, "\"conf\":{", "\"conf\":{\"arena_bytes\":2147483648,", DOCTOR_ERROR, "memory",
	 "domain 0 of b has 2000 MiB available; arena and cache take 2176", "arena"},
	/* bridges */
	{THERE, "[\"xenbr0\",\"xenbr1\"]", "[\"xenbr1\"]", DOCTOR_ERROR, "bridges",
	 "vif3.0 is on bridge xenbr0, which b does not have", "make the bridge there"},
	{HERE, "\"vifs\":[{\"name\":\"vif3.0\",\"bridge\":\"xenbr0\"}]", "\"vifs\":[]", DOCTOR_WARN,
	 "bridges", "no network interface", "nothing to do"},
	{HERE, "\"domid\":3", "\"domid\":3,\"vifs_problem\":\"libxl hangs\"", DOCTOR_ERROR,
	 "bridges", "libxl hangs", "xl network-list web"},
	/* disks */
	{HERE, "\"domid\":3",
	 "\"domid\":3,\"disks_problem\":\"disk xvdb of web is no Romulus disk\"", DOCTOR_ERROR,
	 "disks", "disk xvdb of web is no Romulus disk", "romulus-disk(8)"},
	{THERE, "\"name\":\"web-root\"", "\"name\":\"other\"", DOCTOR_ERROR, "disks",
	 "b: disk web-root is not in romulus.conf", "--format"},
	{HERE, "[{\"name\":\"web-root\",\"path\"", "[{\"name\":\"other\",\"path\"", DOCTOR_ERROR,
	 "disks", "here: disk web-root is not in romulus.conf", "--format"},
	{THERE, "\"mode\":\"epoch\"", "\"mode\":\"epoch\",\"problem\":\"No such file\"",
	 DOCTOR_ERROR, "disks", "b: disk web-root, /dev/v/r: No such file", "make the volume"},
	{THERE, "\"server\":", "\"revres\":", DOCTOR_ERROR, "disks",
	 "b: nobody serves disk web-root", "journalctl"},
	{THERE, "{\"size\":1073741824}", "{\"size\":1073741312}", DOCTOR_ERROR, "disks",
	 "1073741824 bytes here and 1073741312 at b", "make them equal"},
	{THERE, "\"mode\":\"epoch\"", "\"mode\":\"memory\"", DOCTOR_WARN, "disks",
	 "mode epoch here, memory at b", "same mode"},
	{HERE, "{\"vdev\":\"xvda\",\"name\":\"web-root\"}", "", DOCTOR_OK, "disks",
	 "the guest has none", ""},
	/* state and names */
	{HERE, "\"primary_worker\":false", "\"primary_worker\":true", DOCTOR_OK, "state",
	 "is protected from here", ""},
	{HERE, "\"backup_worker\":false", "\"backup_worker\":true", DOCTOR_ERROR, "state",
	 "this host is the backup of a VM called web", "unprotect it there"},
	{HERE, "\"role\":\"none\"", "\"problem\":\"web.state is torn\"", DOCTOR_ERROR, "state",
	 "web.state is torn", "romulus forget web"},
	{THERE, "\"role\":\"none\"", "\"problem\":\"web.state is torn\"", DOCTOR_ERROR, "name",
	 "web.state is torn", "forget"},
	{THERE, "\"role\":\"none\"", "\"role\":\"primary\"", DOCTOR_ERROR, "name",
	 "protects a VM of this name", "unprotect it there"},
	/* It died, and does not know yet that this host took over; but not when anything says otherwise. */
	{THERE, "\"role\":\"none\",\"peer\":\"c\"",
	 "\"role\":\"primary\",\"term\":1,\"peer\":\"a\"", DOCTOR_OK, "name",
	 "b was its primary before", ""},
	{THERE, "\"role\":\"none\",\"peer\":\"c\"",
	 "\"role\":\"primary\",\"term\":2,\"peer\":\"a\"", DOCTOR_ERROR, "name",
	 "protects a VM of this name", "unprotect"},
	{THERE, "\"role\":\"none\",\"peer\":\"c\"",
	 "\"role\":\"primary\",\"term\":1,\"peer\":\"c\"", DOCTOR_ERROR, "name",
	 "protects a VM of this name", "unprotect"},
	{THERE, "\"role\":\"none\",\"peer\":\"c\",\"primary_worker\":false",
	 "\"role\":\"primary\",\"term\":1,\"peer\":\"a\",\"primary_worker\":true", DOCTOR_ERROR,
	 "name", "protects a VM of this name", "unprotect"},
	{THERE,
	 "\"found\":false,\"standby_found\":false,\"remembered\":{\"role\":\"none\",\"peer\":\"c\"",
	 "\"found\":true,\"remembered\":{\"role\":\"primary\",\"term\":1,\"peer\":\"a\"",
	 DOCTOR_ERROR, "name", "protects a VM of this name", "unprotect"},
	{THERE, "\"found\":false,\"standby_found\":false,\"remembered\":{\"role\":\"none\"",
	 "\"found\":true,\"remembered\":{\"role\":\"active\"", DOCTOR_ERROR, "name",
	 "b took a VM called web over from c, and it runs there", "newer life"},
	{THERE, "\"role\":\"none\"", "\"role\":\"active\"", DOCTOR_ERROR, "name",
	 "and it has ended there", "romulus forget web there"},
	{THERE, "\"found\":false", "\"found\":true", DOCTOR_ERROR, "name",
	 "a domain of this name runs at the other host", "rename"},
	{THERE, "\"peer\":\"c\",\"primary_worker\":false,\"backup_worker\":false",
	 "\"uuid\":\"00\",\"backup_worker\":true", DOCTOR_ERROR, "name",
	 "the standby of another VM", "rename"},
	{THERE, "\"peer\":\"c\",\"primary_worker\":false,\"backup_worker\":false",
	 "\"uuid\":\"11112222333344445555666677778888\",\"backup_worker\":true", DOCTOR_OK, "name",
	 "b has its standby", ""},
};

static void one_fact_at_a_time(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_in *here = cases[i].facts == HERE
					       ? with(here_text, cases[i].old, cases[i].new)
					       : parse(here_text);
		struct json_in *there = cases[i].facts == THERE
						? with(there_text, cases[i].old, cases[i].new)
						: parse(there_text);
		struct doctor_case c = good_case(here, there);

		doctor_judge(&c, &report);
		check_lines();
		expect(cases[i].verdict, cases[i].check, cases[i].found, cases[i].todo);
		if (cases[i].verdict == DOCTOR_OK && bad_lines()) {
			print_all();
			fail_msg("case %zu: something is wrong", i);
		}
		json_in_free(here);
		json_in_free(there);
	}
}

/* What a standby of this very VM holds now is free for the next. */
static void an_older_standby_makes_room(void **state)
{
	struct json_in *here = parse(here_text);
	struct json_in *there = with(changed(there_text, "\"free_mib\":4000", "\"free_mib\":1"),
				     "\"standby_found\":false", "\"standby_found\":true");
	struct doctor_case c = good_case(here, there);

	doctor_judge(&c, &report);
	expect(DOCTOR_OK, "memory", "b has 1057 MiB free", "");
	json_in_free(here);
	json_in_free(there);
}

static void nobody_answers(void **state)
{
	struct json_in *here = parse(here_text);
	struct doctor_case c = good_case(here, NULL);

	doctor_judge(&c, &report);
	check_lines();
	expect(DOCTOR_ERROR, "peer", "b: there problem", "firewall");
	expect(DOCTOR_OK, "guest", "PVH", "");
	expect(DOCTOR_OK, "certificate", "here", "");
	c.here = NULL;
	c.romulusd_problem = "it does not run";
	doctor_judge(&c, &report);
	check_lines();
	expect(DOCTOR_ERROR, "config", "here problem", "romulus.conf(5)");
	expect(DOCTOR_ERROR, "romulusd", "it does not run", "systemctl start");
	json_in_free(here);
}

static void of_hosts_alone(void **state)
{
	struct json_in *here = with(here_text, "\"vm\":", "\"mv\":"), *there = parse(there_text);
	struct json_in *weak = with(there_text, "\"7.ebx\":32", "\"7.ebx\":0");
	struct doctor_case c = good_case(here, there);

	c.vm = NULL;
	doctor_judge(&c, &report);
	check_lines();
	assert_int_equal(report.worst, DOCTOR_OK);
	assert_false(has_line(DOCTOR_OK, "guest", "", ""));
	/* What no guest may have is a warning only. */
	c.there = weak;
	doctor_judge(&c, &report);
	expect(DOCTOR_WARN, "cpu", "a guest here by default has: avx2", "cpuid=");
	json_in_free(here);
	json_in_free(there);
	json_in_free(weak);
}

static void links(void **state)
{
	static const struct {
		uint64_t rtt_us;
		enum doctor_verdict verdict;
		const char *found;
	} rtts[] = {
		{300, DOCTOR_OK, "0.30 ms"},
		{24999, DOCTOR_OK, "25.00 ms"},
		{25000, DOCTOR_WARN, "25.0 ms, an epoch is 50.0 ms"},
		{99999, DOCTOR_WARN, "an epoch"},
		{100000, DOCTOR_ERROR, "a heartbeat period is 100.0 ms"},
	};
	struct json_in *here = parse(here_text), *there = parse(there_text);
	struct doctor_case c = good_case(here, there);

	for (size_t i = 0; i < ARRAY_SIZE(rtts); i++) {
		c.rtt_us = rtts[i].rtt_us;
		doctor_judge(&c, &report);
		check_lines();
		expect(rtts[i].verdict, "link", rtts[i].found, "");
	}
	c.rtt_us = 0;
	doctor_judge(&c, &report);
	assert_int_equal(report.worst, DOCTOR_OK);
	json_in_free(here);
	json_in_free(there);
}

static void arbiters(void **state)
{
	struct json_in *here = parse(here_text), *there = parse(there_text);
	struct doctor_case c = good_case(here, there);

	c.policy = "arbiter";
	doctor_judge(&c, &report);
	check_lines();
	expect(DOCTOR_ERROR, "arbiter", "this host has none", "configure one");
	c.arbiter = DOCTOR_ARBITER_SILENT;
	c.arbiter_text = "unknown no route to it";
	doctor_judge(&c, &report);
	check_lines();
	expect(DOCTOR_ERROR, "arbiter", "no route", "vote");
	c.policy = "hold";
	doctor_judge(&c, &report);
	expect(DOCTOR_WARN, "arbiter", "no route", "vote");
	c.arbiter = DOCTOR_ARBITER_ANSWERS;
	c.arbiter_text = "held 3 a";
	doctor_judge(&c, &report);
	expect(DOCTOR_OK, "arbiter", "held 3 a", "");
	/* Term 2 is known here: protect would join under 3. */
	c.arbiter_text = "held 3 b";
	doctor_judge(&c, &report);
	check_lines();
	expect(DOCTOR_WARN, "arbiter", "b holds term 3 of web", "protect it from there");
	c.policy = "arbiter";
	doctor_judge(&c, &report);
	expect(DOCTOR_ERROR, "arbiter", "none newer than 2", "romulus-witness --forget");
	c.arbiter_text = "held 2 b";
	doctor_judge(&c, &report);
	expect(DOCTOR_OK, "arbiter", "held 2 b", "");
	json_in_free(here);
	here = with(here_text, "\"term\":2", "\"term\":2,\"asked\":3");
	c.here = here;
	c.arbiter_text = "held 3 b";
	doctor_judge(&c, &report);
	expect(DOCTOR_OK, "arbiter", "held 3 b", "");
	json_in_free(here);
	here = with(here_text, "\"primary_worker\":false", "\"primary_worker\":true");
	c.here = here;
	c.arbiter_text = "held 9 b";
	doctor_judge(&c, &report);
	expect(DOCTOR_OK, "arbiter", "held 9 b", "");
	json_in_free(here);
	json_in_free(there);
}

/* A peer's facts are its own words: empty, of other types, with control bytes, too many. */
static void strange_facts(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",

		("{\"host\":[],\"version\":{},\"xen\":7,\"cert\":\"x\",\"vm\":[1],\"disks\":{},"
		 "\"bridges\":\"xenbr0\",\"conf\":{\"peers\":[7,null,[]]},\"modules\":[]}"),
		"{\"host\":\"\\u001b[2J\",\"cert\":{\"problem\":\"\\u001b[31m\\n\"}}",
	};
	struct json_in *here = parse(here_text);

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct json_in *there = parse(texts[i]);
		struct doctor_case c = good_case(here, there);

		doctor_judge(&c, &report);
		check_lines();
		assert_int_equal(report.worst, DOCTOR_ERROR);
		for (unsigned int k = 0; k < report.n; k++) {
			assert_null(strchr(report.line[k].found, '\033'));
			assert_null(strchr(report.line[k].found, '\n'));
		}
		c = good_case(there, here);
		doctor_judge(&c, &report);
		check_lines();
		json_in_free(there);
	}
	json_in_free(here);
}

static void more_lines_than_fit(void **state)
{
	char text[16384], vifs[9000] = "";
	struct json_in *here, *there = parse(there_text);
	const char *at = strstr(here_text, "{\"name\":\"vif3.0\",\"bridge\":\"xenbr0\"}");
	struct doctor_case c;

	for (int i = 0; i < 2 * DOCTOR_LINES; i++)
		snprintf(vifs + strlen(vifs), sizeof(vifs) - strlen(vifs), "%s{\"bridge\":\"x%d\"}",
			 i ? "," : "", i);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - here_text), here_text, vifs,
		 at + strlen("{\"name\":\"vif3.0\",\"bridge\":\"xenbr0\"}"));
	here = parse(text);
	c = good_case(here, there);
	doctor_judge(&c, &report);
	assert_int_equal(report.n, DOCTOR_LINES);
	assert_true(report.left_out > DOCTOR_LINES);
	assert_int_equal(report.worst, DOCTOR_ERROR);
	json_in_free(here);
	json_in_free(there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_well),
		cmocka_unit_test(one_fact_at_a_time),
		cmocka_unit_test(an_older_standby_makes_room),
		cmocka_unit_test(nobody_answers),
		cmocka_unit_test(of_hosts_alone),
		cmocka_unit_test(links),
		cmocka_unit_test(arbiters),
		cmocka_unit_test(strange_facts),
		cmocka_unit_test(more_lines_than_fit),
	};

	return RUN_TESTS("doctor", tests);
}
