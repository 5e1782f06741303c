/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hypervisor says of this host and of one of its VMs, for romulus-facts. Only looks: nothing is claimed,
 * suspended or changed. Includes no header of Xen. One thread.
 */
#ifndef REPLICATOR_XEN_FACTS_H
#define REPLICATOR_XEN_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;

/* Words of CPU features, as CPUID has them; xen_facts_word_name(). */
#define XEN_FACTS_WORDS 12
#define XEN_FACTS_VENDOR 16

struct xen_cpu_facts {
	bool known;
	char vendor[XEN_FACTS_VENDOR]; /* "GenuineIntel" */
	uint32_t word[XEN_FACTS_WORDS];
};

struct xen_host_facts {
	uint64_t total_mib;
	uint64_t free_mib;
	bool hap;
	struct xen_cpu_facts cpu; /* the most that a PVH or HVM guest can be given here */
};

enum xen_vm_type {
	XEN_VM_PV,
	XEN_VM_HVM, /* with a device model */
	XEN_VM_PVH,
};

struct xen_vm_facts {
	uint32_t domid;
	uint8_t uuid[16];
	enum xen_vm_type type;
	bool hap;
	bool shut_down;
	uint32_t vcpus;
	uint64_t max_mib;
	uint64_t missing_pages; /* promised at start and not given back yet (populate-on-demand) */
	bool can_suspend;	/* it says so */
	bool channel;		/* it offers a suspend event channel */
	char odd_device[32];	/* a kind of device that cannot be protected; empty: none */
	struct xen_cpu_facts cpu; /* what it was built with */
};

/* "1.ecx", "7.ebx": leaf, colon and subleaf where that is not 0, register. i < XEN_FACTS_WORDS. */
const char *xen_facts_word_name(unsigned int i);

/* 0; -ENODEV when this is no Xen host; other negative errno. */
MUST_CHECK int xen_facts_host(struct xen_host_facts *f, struct err *e);
/* The same; -ENOENT: there is no domain of this name. */
MUST_CHECK int xen_facts_vm(const char *name, struct xen_vm_facts *f, struct err *e);

#endif
