// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What belongs to an epoch or to the head of a stream beside the pages: HVM context, HVM params, TSC, and
 * the CPU policy. Data thread; the capture runs in the pause and is one hypercall.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <string.h>

#include <xen/hvm/save.h>
#include <xenguest.h>

#include "guest/suspend_abi.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

/* What a restore needs to be told; the set that the toolstack's own stream carries. */
static const uint32_t params[] = {
	HVM_PARAM_STORE_PFN,
	HVM_PARAM_IOREQ_PFN,
	HVM_PARAM_BUFIOREQ_PFN,
	HVM_PARAM_PAGING_RING_PFN,
	HVM_PARAM_MONITOR_RING_PFN,
	HVM_PARAM_SHARING_RING_PFN,
	HVM_PARAM_VM86_TSS_SIZED,
	HVM_PARAM_CONSOLE_PFN,
	HVM_PARAM_ACPI_IOPORTS_LOCATION,
	HVM_PARAM_VIRIDIAN,
	HVM_PARAM_IDENT_PT,
	HVM_PARAM_VM_GENERATION_ID_ADDR,
	HVM_PARAM_IOREQ_SERVER_PFN,
	HVM_PARAM_NR_IOREQ_SERVER_PAGES,
	HVM_PARAM_X87_FIP_WIDTH,
	HVM_PARAM_MCA_CAP,
};

static_assert(ARRAY_SIZE(params) <= GUEST_MAX_PARAMS, "guest_state has too few params");
static_assert(ARRAY_SIZE(params) + 2 <= XEN_MULTI, "a capture does not fit a multicall");
ASSERT_SIZE(xen_cpuid_leaf_t, 24);
ASSERT_SIZE(xen_msr_entry_t, 16);

enum {
	CAPTURE_TSC,
	CAPTURE_CONTEXT,
	CAPTURE_PARAMS,
};

int xen_state_init(struct xen_guest *x, struct err *e)
{
	struct xen_domctl_hvmcontext *ctx = &x->s->op.u.hvmcontext;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_gethvmcontext;
	memset(ctx, 0, sizeof(*ctx));
	rc = xen_domctl(x);
	if (rc < 0)
		return err_set(e, rc, "ask for the size of the guest's HVM context");
	x->g.info.state_max = ctx->size;
	rc = xen_buffer_alloc(x, &x->context_buf, ctx->size);
	if (rc < 0)
		return err_set(e, rc, "%u bytes for the HVM context", ctx->size);
	return 0;
}

void xen_state_fini(struct xen_guest *x)
{
	xen_buffer_free(x, &x->context_buf);
	mem_free(take_ptr(&x->cpuid));
	mem_free(take_ptr(&x->msr));
}

/* vCPU 0's third argument to the suspend hypercall is SUSPEND_SELF_AWARE. */
static bool self_aware(const unsigned char *context, size_t left)
{
	struct hvm_save_descriptor d;
	struct hvm_hw_cpu cpu;

	/* The hypervisor made it: records, each behind its descriptor. */
	for (; left >= sizeof(d); context += d.length, left -= d.length) {
		memcpy(&d, context, sizeof(d));
		context += sizeof(d);
		left -= sizeof(d);
		if (d.length > left)
			return false;
		if (d.typecode != HVM_SAVE_CODE(CPU) || d.instance != 0)
			continue;
		if (d.length < sizeof(cpu))
			return false;
		memcpy(&cpu, context, sizeof(cpu));
		return cpu.rdx == SUSPEND_SELF_AWARE;
	}
	return false;
}

int xen_state_capture(struct guest *g, const struct guest_state **out)
{
	struct xen_guest *x = xen_guest_of(g);
	struct xen_domctl *tsc = &x->s->multi_op[CAPTURE_TSC];
	struct xen_domctl *ctx = &x->s->multi_op[CAPTURE_CONTEXT];
	struct guest_state *st = &x->state;
	const size_t n = CAPTURE_PARAMS + ARRAY_SIZE(params);
	int rc;

	tsc->cmd = XEN_DOMCTL_gettscinfo;
	xen_multi_domctl(x, CAPTURE_TSC, CAPTURE_TSC);
	ctx->cmd = XEN_DOMCTL_gethvmcontext;
	ctx->u.hvmcontext.size = (uint32_t)g->info.state_max;
	set_xen_guest_handle_raw(ctx->u.hvmcontext.buffer, x->context_buf.data);
	xen_multi_domctl(x, CAPTURE_CONTEXT, CAPTURE_CONTEXT);
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		x->s->param[i] = (struct xen_hvm_param){
			.domid = (domid_t)g->info.domid,
			.index = params[i],
		};
		x->s->multi[CAPTURE_PARAMS + i] = (struct multicall_entry){
			.op = __HYPERVISOR_hvm_op,
			.args = {HVMOP_get_param, (uintptr_t)&x->s->param[i]},
		};
	}
	rc = xen_multi(x, (unsigned int)n);
	for (unsigned int i = 0; i < n && rc == 0; i++)
		rc = xen_multi_result(x, i);
	if (rc < 0)
		return rc;
	st->context = x->context_buf.data;
	st->context_size = ctx->u.hvmcontext.size;
	st->tsc_mode = tsc->u.tsc_info.tsc_mode;
	st->tsc_khz = tsc->u.tsc_info.gtsc_khz;
	st->tsc_nsec = tsc->u.tsc_info.elapsed_nsec;
	st->tsc_incarnation = tsc->u.tsc_info.incarnation;
	st->n_params = 0;
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		if (x->s->param[i].value == 0)
			continue;
		st->param[st->n_params++] = (struct guest_param){
			.index = params[i],
			.value = x->s->param[i].value,
		};
	}
	st->self_aware = self_aware(st->context, st->context_size);
	x->captured = true;
	*out = st;
	return 0;
}

static int read_policy(struct xen_guest *x, xc_cpu_policy_t *policy, struct err *e)
{
	uint32_t leaves = 0;
	uint32_t msrs = 0;

	if (xc_cpu_policy_get_size(x->xch, &leaves, &msrs) < 0)
		return err_set(e, -errno, "ask for the size of a CPU policy");
	x->cpuid = mem_array(leaves, sizeof(xen_cpuid_leaf_t));
	x->msr = mem_array(msrs, sizeof(xen_msr_entry_t));
	if (!x->cpuid || !x->msr)
		return err_set(e, -ENOMEM, "CPU policy of %u leaves and %u MSRs", leaves, msrs);
	if (xc_cpu_policy_get_domain(x->xch, x->g.info.domid, policy) < 0)
		return err_set(e, -errno, "read the guest's CPU policy");
	if (xc_cpu_policy_serialise(x->xch, policy, x->cpuid, &leaves, x->msr, &msrs) < 0)
		return err_set(e, -errno, "list the guest's CPU policy");
	x->fixed = (struct guest_static){
		.cpuid = x->cpuid,
		.cpuid_leaves = leaves,
		.msr = x->msr,
		.msr_entries = msrs,
		.max_vcpu_id = x->g.info.vcpus - 1,
	};
	return 0;
}

int xen_static_state(struct guest *g, const struct guest_static **out, struct err *e)
{
	struct xen_guest *x = xen_guest_of(g);
	xc_cpu_policy_t *policy;
	int rc;

	if (!x->fixed.cpuid) {
		policy = xc_cpu_policy_init();
		if (!policy)
			return err_set(e, -ENOMEM, "CPU policy");
		mem_free(take_ptr(&x->cpuid));
		mem_free(take_ptr(&x->msr));
		rc = read_policy(x, policy, e);
		xc_cpu_policy_destroy(policy);
		if (rc < 0)
			return rc;
	}
	*out = &x->fixed;
	return 0;
}
