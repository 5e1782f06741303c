// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xcr0: tell Xen which extended registers a guest's vCPUs use.
 *
 *   xcr0 DOMID [MASK]     MASK in hex, default 207 (x87, SSE, AVX, PKRU); 0 prints the values only
 *
 * QEMU's emulated SVM does not intercept XSETBV, so Xen never learns of the guest's own setting and takes AVX away at the next
 * context switch. Setting the mask before the guest starts makes up for it. Of use in the lab only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xencall.h>
#include <xenctrl.h>
#include <xen/domctl.h>

static int domctl(xencall_handle *x, struct xen_domctl *op)
{
	struct xen_domctl *shared = xencall_alloc_buffer(x, sizeof(*shared));
	int rc;

	if (!shared)
		return -1;
	*shared = *op;
	rc = xencall1(x, __HYPERVISOR_domctl, (uint64_t)(uintptr_t)shared);
	*op = *shared;
	xencall_free_buffer(x, shared);
	return rc;
}

int main(int argc, char **argv)
{
	xencall_handle *x = xencall_open(NULL, 0);
	uint64_t mask = argc > 2 ? strtoull(argv[2], NULL, 16) : 0x207;
	unsigned vcpu;

	if (argc < 2 || !x) {
		fprintf(stderr, "usage: xcr0 DOMID [MASK]\n");
		return 2;
	}
	for (vcpu = 0;; vcpu++) {
		struct xen_domctl op = {
			.cmd = XEN_DOMCTL_getvcpuextstate,
			.interface_version = XEN_DOMCTL_INTERFACE_VERSION,
			.domain = (domid_t)atoi(argv[1]),
		};
		unsigned eax = 0xd, ebx = 0, ecx = 0, edx = 0;
		size_t size;
		uint64_t *buf;

		op.u.vcpuextstate.vcpu = vcpu;
		if (domctl(x, &op)) {
			if (vcpu)
				return 0;
			perror("xcr0: get size");
			return 1;
		}
		/* A vCPU that has never run has no registers yet and a short record; the one to be set is as long as CPUID says. */
		__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		size = 2 * sizeof(uint64_t) + ebx;
		if (size < op.u.vcpuextstate.size)
			size = op.u.vcpuextstate.size;
		buf = xencall_alloc_buffer(x, size);
		if (!buf)
			return 1;
		memset(buf, 0, size);
		set_xen_guest_handle_raw(op.u.vcpuextstate.buffer, (void *)buf);
		if (domctl(x, &op)) {
			perror("xcr0: get");
			return 1;
		}
		if (op.u.vcpuextstate.size <= 2 * sizeof(uint64_t))
			op.u.vcpuextstate.size = size;
		/* The buffer starts with xcr0 and xcr0_accum. */
		printf("vcpu %u: xcr0 %#" PRIx64 " accum %#" PRIx64 " size %" PRIu64, vcpu, buf[0],
		       buf[1], (uint64_t)op.u.vcpuextstate.size);
		if (mask) {
			buf[0] = buf[1] = mask;
			op.cmd = XEN_DOMCTL_setvcpuextstate;
			if (domctl(x, &op)) {
				perror("\nxcr0: set");
				return 1;
			}
			printf(", set to %#" PRIx64, mask);
		}
		printf("\n");
		xencall_free_buffer(x, buf);
	}
}
