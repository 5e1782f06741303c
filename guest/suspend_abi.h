/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest with the suspend event channel and the toolstack agree on. Constants only: the module includes it,
 * and so does the replicator.
 */
#ifndef GUEST_SUSPEND_ABI_H
#define GUEST_SUSPEND_ABI_H

/*
 * The offer, below the guest's folder in xenstore: the guest's port, in decimal, unbound and open for dom0; empty when
 * there is none. A notification on it asks the guest to suspend. xl save and xl remus use it too.
 */
#define SUSPEND_DIR "device/suspend"
#define SUSPEND_NODE "event-channel"

/*
 * In the third argument (rdx) of the suspend hypercall, which PVH guests otherwise leave 0: "I find out by myself
 * whether I have woken up in the same domain", whatever has become of the offer's channel meanwhile. Such a guest needs no return value of the hypercall: a bare
 * XEN_DOMCTL_resumedomain is enough. The kernel's own suspend, which takes 0 for a new domain, never says it.
 */
#define SUSPEND_SELF_AWARE 0x73656c66686f6d65UL

#endif
