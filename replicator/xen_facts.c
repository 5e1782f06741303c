/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen_facts.h. */
#include "replicator/xen_facts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>

#include <xenguest.h>
#include <xenstore.h>

#include "guest/suspend_abi.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "replicator/xen_look.h"

#define DOMAINS_AT_A_TIME 64
#define PAGES_PER_MIB 256

_Static_assert(sizeof(((struct xen_vm_facts *)0)->odd_device) == XEN_KIND_SIZE, "a kind's room");

struct handles {
	xentoollog_logger *logger;
	xc_interface *xch;
	struct xs_handle *xs;
};

static void close_all(struct handles *h)
{
	if (h->xs)
		xs_close(h->xs);
	if (h->xch)
		xc_interface_close(h->xch);
	if (h->logger)
		xtl_logger_destroy(h->logger);
}

static int open_all(struct handles *h, struct err *e)
{
	*h = (struct handles){.xs = NULL};
	h->logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
	if (!h->logger)
		return err_set(e, -ENOMEM, "logger");
	h->xch = xc_interface_open(h->logger, h->logger, 0);
	if (!h->xch)
		return err_set(
			e, -ENODEV,
			"the hypervisor cannot be opened; is this a Xen host, are you root?");
	h->xs = xs_open(0);
	if (!h->xs)
		return err_set(e, -ENODEV, "xenstored cannot be reached");
	return 0;
}

/* ---- CPU features ---- */

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

/* Those words of CPUID that are bits of features. */
static const struct {
	const char *name;
	uint32_t leaf;
	uint32_t subleaf;
	enum reg reg;
} words[XEN_FACTS_WORDS] = {
	{"1.ecx", 1, 0, ECX},
	{"1.edx", 1, 0, EDX},
	{"7.ebx", 7, 0, EBX},
	{"7.ecx", 7, 0, ECX},
	{"7.edx", 7, 0, EDX},
	{"7:1.eax", 7, 1, EAX},
	{"d:1.eax", 0xd, 1, EAX},
	{"80000001.ecx", 0x80000001, 0, ECX},
	{"80000001.edx", 0x80000001, 0, EDX},
	{"80000007.edx", 0x80000007, 0, EDX},
	{"80000008.ebx", 0x80000008, 0, EBX},
	{"80000021.eax", 0x80000021, 0, EAX},
};

const char *xen_facts_word_name(unsigned int i)
{
	return words[i].name;
}

static uint32_t reg_of(const xen_cpuid_leaf_t *l, enum reg r)
{
	return r == EAX ? l->a : r == EBX ? l->b : r == ECX ? l->c : l->d;
}

static void take_leaf(struct xen_cpu_facts *f, const xen_cpuid_leaf_t *l)
{
	/* Leaves without subleaves have this in its place. */
	uint32_t subleaf = l->subleaf == XEN_CPUID_NO_SUBLEAF ? 0 : l->subleaf;

	if (l->leaf == 0 && subleaf == 0) {
		memcpy(f->vendor, &l->b, 4);
		memcpy(f->vendor + 4, &l->d, 4);
		memcpy(f->vendor + 8, &l->c, 4);
	}
	for (unsigned int i = 0; i < XEN_FACTS_WORDS; i++) {
		if (words[i].leaf == l->leaf && words[i].subleaf == subleaf)
			f->word[i] = reg_of(l, words[i].reg);
	}
}

/* domid -1: the most that a guest can get. What cannot be read is not known. */
static void read_cpu(struct handles *h, int64_t domid, struct xen_cpu_facts *f)
{
	autofree xen_cpuid_leaf_t *leaf = NULL;
	autofree xen_msr_entry_t *msr = NULL;
	uint32_t leaves = 0, msrs = 0;
	xc_cpu_policy_t *policy = xc_cpu_policy_init();
	int r = -1;

	memset(f, 0, sizeof(*f));
	if (!policy)
		return;
	if (xc_cpu_policy_get_size(h->xch, &leaves, &msrs) == 0) {
		leaf = mem_array(leaves, sizeof(*leaf));
		msr = mem_array(msrs, sizeof(*msr));
	}
	if (leaf && msr)
		r = domid < 0 ? xc_cpu_policy_get_system(h->xch, XEN_SYSCTL_cpu_policy_hvm_max,
							 policy)
			      : xc_cpu_policy_get_domain(h->xch, (uint32_t)domid, policy);
	if (r == 0)
		r = xc_cpu_policy_serialise(h->xch, policy, leaf, &leaves, msr, &msrs);
	for (uint32_t i = 0; r == 0 && i < leaves; i++)
		take_leaf(f, &leaf[i]);
	f->known = r == 0;
	xc_cpu_policy_destroy(policy);
}

/* ---- the host ---- */

int xen_facts_host(struct xen_host_facts *f, struct err *e)
{
	xc_physinfo_t info = {0};
	struct handles h;
	int rc = open_all(&h, e);

	memset(f, 0, sizeof(*f));
	if (rc == 0 && xc_physinfo(h.xch, &info) < 0)
		rc = err_set(e, -errno, "ask the hypervisor about this host");
	if (rc == 0) {
		f->total_mib = info.total_pages / PAGES_PER_MIB;
		f->free_mib = info.free_pages / PAGES_PER_MIB;
		f->hap = info.capabilities & XEN_SYSCTL_PHYSCAP_hap;
		read_cpu(&h, -1, &f->cpu);
	}
	close_all(&h);
	return rc;
}

/* ---- a VM ---- */

static bool has_name(struct handles *h, uint32_t domid, const char *name)
{
	char *got = xen_store_read(h->xs, NULL, "/local/domain/%u/name", domid);
	bool is = got && strcmp(got, name) == 0;

	free(got);
	return is;
}

static int find(struct handles *h, const char *name, xc_domaininfo_t *out, struct err *e)
{
	xc_domaininfo_t info[DOMAINS_AT_A_TIME] = {0};
	uint32_t next = 1; /* not domain 0 */
	int n;

	while ((n = xc_domain_getinfolist(h->xch, next, DOMAINS_AT_A_TIME, info)) > 0) {
		for (int i = 0; i < n; i++) {
			if (info[i].flags & XEN_DOMINF_dying || !has_name(h, info[i].domain, name))
				continue;
			*out = info[i];
			return 0;
		}
		next = info[n - 1].domain + 1u;
	}
	if (n < 0)
		return err_set(e, -errno, "list the domains of this host");
	return err_setx(e, -ENOENT, "there is no domain %s on this host", name);
}

static bool has_channel(struct handles *h, uint32_t domid)
{
	char *text = xen_store_read(h->xs, NULL, "/local/domain/%u/" SUSPEND_DIR "/" SUSPEND_NODE,
				    domid);
	bool has = text && strtoul(text, NULL, 10);

	free(text);
	return has;
}

static enum xen_vm_type type_of(const xc_domaininfo_t *info)
{
	if (!(info->flags & XEN_DOMINF_hvm_guest))
		return XEN_VM_PV;
	return info->arch_config.emulation_flags & ~XEN_X86_EMU_LAPIC ? XEN_VM_HVM : XEN_VM_PVH;
}

static void look(struct handles *h, const xc_domaininfo_t *info, struct xen_vm_facts *f)
{
	uint64_t total = 0, cache = 0;

	f->domid = info->domain;
	memcpy(f->uuid, info->handle, sizeof(f->uuid));
	f->type = type_of(info);
	f->hap = info->flags & XEN_DOMINF_hap;
	f->shut_down = info->flags & XEN_DOMINF_shutdown;
	f->vcpus = info->max_vcpu_id + 1;
	f->max_mib = info->max_pages / PAGES_PER_MIB;
	if (f->type == XEN_VM_PV ||
	    xc_domain_get_pod_target(h->xch, f->domid, &total, &cache, &f->missing_pages) < 0)
		f->missing_pages = 0;
	f->can_suspend = xen_look_can_suspend(h->xch, h->xs, f->domid);
	f->channel = has_channel(h, f->domid);
	/* Nothing odd, if they cannot be listed: protect says so then. */
	(void)!xen_look_odd_device(h->xs, f->domid, f->odd_device, NULL);
	read_cpu(h, f->domid, &f->cpu);
}

int xen_facts_vm(const char *name, struct xen_vm_facts *f, struct err *e)
{
	xc_domaininfo_t info = {0};
	struct handles h;
	int rc = open_all(&h, e);

	memset(f, 0, sizeof(*f));
	if (rc == 0)
		rc = find(&h, name, &info, e);
	if (rc == 0)
		look(&h, &info, f);
	close_all(&h);
	return rc;
}
