/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files xen_*.c share and nobody else sees: the real guest's innards and the hypercalls. One
 * thread, but for the fields that are marked.
 */
#ifndef REPLICATOR_XEN_GUEST_H
#define REPLICATOR_XEN_GUEST_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xenctrl.h> /* the others need it before them */

#include <xen/domctl.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenstore.h>

#include "lib/compiler.h"
#include "lib/hypervisor.h"
#include "replicator/suspend_claim.h"
#include "replicator/suspend_offer.h"
#include "replicator/xen_look.h"

struct err;

#define XEN_BATCH 1024 /* gfns in one question to the hypervisor */
#define XEN_MULTI 24   /* calls that go to it together */

/*
 * What hypercalls read and write. It lies in memory that cannot fault (xencall's buffers), so that nothing
 * is copied or allocated for a call.
 */
struct xen_scratch {
	struct xen_domctl op; /* of xen_domctl() */
	struct xen_domctl multi_op[5];
	struct multicall_entry multi[XEN_MULTI];
	struct evtchn_send send;
	struct xen_hvm_param param[GUEST_MAX_PARAMS];
	struct xen_dm_op dm;
	struct xen_dm_op_buf dm_buf[2];
	struct xen_dm_op_modified_memory_extent extent;
	vcpu_guest_context_t vcpu;
	xen_pfn_t gfn[XEN_BATCH];
};

struct xen_buffer {
	void *data;
	size_t pages;
};

struct xen_guest;

/*
 * A way to make the guest suspend. request() puts the question; wait() returns when the guest is
 * suspended, gone or the deadline has passed, whichever is first, and says nothing about which;
 * withdraw() returns 1 when the guest has not taken the request and never will, 0 when it has or, on the
 * channel's way, may have.
 */
struct suspend_path {
	const char *name;
	enum claim_way way;
	int (*request)(struct xen_guest *x, struct err *e);
	int (*wait)(struct xen_guest *x, uint64_t deadline_ns, struct suspend_result *out);
	int (*withdraw)(struct xen_guest *x, struct err *e);
};

/* The guest's suspend event channel (xen_channel.c), while it offers one. */
struct xen_channel {
	xenevtchn_handle *ev;
	int port;	     /* our end, -1: not bound */
	uint32_t guest_port; /* its end, 0: none */
	int lock_fd; /* libxenguest's: of all toolstacks one has the channel. Kept to the end, bound or not */
	struct suspend_offer offer;
	bool event;	 /* one was seen, and is not read yet */
	bool subscribed; /* the hypervisor tells us, and not xenstored, that the guest is suspended */
};

struct xen_guest {
	struct guest g; /* first */
	xencall_handle *call;
	xc_interface *xch;
	xentoollog_logger *logger;
	xenforeignmemory_handle *fmem;
	struct xs_handle *xs;
	struct xs_handle *toolstack_xs; /* of xen_toolstack.c, NULL: that path is not used */
	const struct suspend_path *path;
	struct xen_channel channel;
	bool path_fixed; /* by the caller: xen_suspend() does not choose (xen_bench.c) */
	char shutdown_path[XEN_PATH_SIZE];

	struct xen_buffer scratch_buf;
	struct xen_buffer bitmap_buf;
	struct xen_buffer context_buf;
	struct xen_buffer ext_buf;
	struct xen_scratch *s;
	uint64_t ext_mask; /* of getvcpuextstate, asked once */
	uint32_t ext_max;  /* bytes */
	struct guest_state state;
	struct guest_static fixed;
	void *cpuid;
	void *msr;

	unsigned char *map; /* reservation of map_pages pages */
	uint64_t map_pages;
	int *map_err;	     /* XEN_BATCH */
	uint64_t base_pages; /* tot_pages when all was mapped; without a map of no meaning */
	uint64_t canary;     /* page that is marked dirty at each fetch, UINT64_MAX: none */
	bool canary_set;
	bool log_on;
	bool log_failed; /* cannot be trusted until it is enabled anew */

	bool suspended;		    /* by us */
	bool captured;		    /* ... and `state` is of that moment */
	struct suspend_claim claim; /* on suspensions to come, and those found */
	uint64_t usual_ns;	    /* from request to suspension; follows the lowest seen */
	unsigned int cap;	    /* of ours, 0: none */
	unsigned int own_cap;	    /* the operator's */
	int sched;

	/* Shared with the thread that reads watches. */
	atomic_bool changed; /* devices or memory target are not those of the open */
	atomic_bool offered; /* the guest's offer of an event channel is to be read (again) */

	/* That thread's own. */
	struct xs_handle *watch;
	uint64_t watch_target; /* memory/target, KiB, UINT64_MAX: none */
	uint64_t watch_vifs;   /* fingerprint of the list */
	uint64_t watch_disks;
};

static inline struct xen_guest *xen_guest_of(struct guest *g)
{
	return container_of(g, struct xen_guest, g);
}

/* xen_call.c. All return 0 or a negative errno; [pause] all but the buffers. */
MUST_CHECK int xen_buffer_alloc(struct xen_guest *x, struct xen_buffer *b, size_t bytes);
void xen_buffer_free(struct xen_guest *x, struct xen_buffer *b);
/* A domctl of this guest with x->s->op, whose cmd and union the caller has filled. */
MUST_CHECK int xen_domctl(struct xen_guest *x);
/* Puts multi_op[slot] as call number i of a multicall. */
void xen_multi_domctl(struct xen_guest *x, unsigned int i, unsigned int slot);
/* A notification on an event channel of this host's, as call number i; one at most. */
void xen_multi_send(struct xen_guest *x, unsigned int i, evtchn_port_t port);
/* Does calls 0 to n-1, all of them whatever the others say; results: xen_multi_result(). */
MUST_CHECK int xen_multi(struct xen_guest *x, unsigned int n);
int xen_multi_result(const struct xen_guest *x, unsigned int i);
/* Into x->s->op.u.getdomaininfo; -ESRCH when it is gone, dying, or its number is another's now. */
MUST_CHECK int xen_info(struct xen_guest *x);
MUST_CHECK int xen_shadow_op(struct xen_guest *x, uint32_t op);
MUST_CHECK int xen_hvm_param(struct xen_guest *x, uint32_t index, uint64_t *value);

/* Of the last xen_info(). */
bool xen_is_shutdown(const struct xen_guest *x, enum guest_shutdown *reason);
/* ... Somebody keeps its vCPUs from running (xl pause). */
bool xen_is_paused(const struct xen_guest *x);
/* ... What was mapped, if anything was, is not what the guest has. */
bool xen_is_changed(const struct xen_guest *x);

/* xen_memory.c */
MUST_CHECK int xen_memory_map(struct xen_guest *x, struct err *e);
void xen_memory_unmap(struct xen_guest *x);
/* From here on the functions are those of lib/hypervisor.h, unless they say more. */
int xen_logdirty_enable(struct guest *g, struct err *e);
void xen_logdirty_disable(struct guest *g);
int xen_dirty_fetch(struct guest *g, bool final, uint64_t *bitmap);
int xen_map_late(struct guest *g, const uint64_t *bitmap);

/* xen_state.c */
MUST_CHECK int xen_state_init(struct xen_guest *x, struct err *e);
void xen_state_fini(struct xen_guest *x);
int xen_state_capture(struct guest *g, const struct guest_state **out);
int xen_static_state(struct guest *g, const struct guest_static **out, struct err *e);

/* xen_suspend.c */
extern const struct suspend_path xen_path_xenstore;
MUST_CHECK int xen_ext_init(struct xen_guest *x, struct err *e);
int xen_suspend(struct guest *g, uint64_t deadline_ns, struct suspend_result *out, struct err *e);
int xen_resume(struct guest *g);
/* The same where it does not matter who resumed it: -ESTALE is 0. */
MUST_CHECK int xen_resume_anyhow(struct xen_guest *x);
/* Is the guest, which the last xen_info() says is suspended, so by a request of ours? */
bool xen_is_ours(struct xen_guest *x);
/* Notes that it was resumed. */
void xen_runs(struct xen_guest *x);
/* The guest was found suspended and it is ours: resume it, count it. */
MUST_CHECK int xen_resume_late(struct xen_guest *x);
/*
 * If the guest holds a request that we gave up: waits, at most until it cannot come any more or the deadline,
 * and resumes the guest when it obeys. Before the last of us leaves it.
 */
void xen_settle(struct xen_guest *x, uint64_t deadline_ns);
/* What control/shutdown holds. */
enum shutdown_request {
	REQUEST_NONE,
	REQUEST_OURS,
	REQUEST_SUSPEND, /* of somebody else */
	REQUEST_END,	 /* power off, reboot, ... */
};
enum shutdown_request xen_shutdown_request(struct xs_handle *xs, xs_transaction_t t,
					   const char *path);
/* What somebody else has asked and the guest not yet taken must not be overwritten: -EBUSY, -EAGAIN. */
MUST_CHECK int xen_request_free(struct xen_guest *x, struct err *e);
/* Takes back our request on x->path. 1: the guest never obeys it; 0: it may, and that is noted. */
MUST_CHECK int xen_withdraw(struct xen_guest *x, struct err *e);
/* What x->claim.left says is to be taken back, is. leaving: if it is too late, xen_settle() is to wait for it. */
void xen_take_back(struct xen_guest *x, bool leaving);

/* xen_channel.c */
extern const struct suspend_path xen_path_channel;
MUST_CHECK int xen_channel_init(struct xen_guest *x, struct err *e);
void xen_channel_fini(struct xen_guest *x);
/* Not in the pause: binds what the guest offers now, or nothing, and chooses x->path by it. */
void xen_channel_choose(struct xen_guest *x);
/* A worker that died may have subscribed. */
void xen_channel_forget(struct xen_guest *x);
/* Reads what the last wait has only seen: not in a pause. */
void xen_channel_drain(struct xen_guest *x);

/* xen_toolstack.c */
extern const struct suspend_path xen_path_toolstack;
MUST_CHECK int xen_toolstack_init(struct xen_guest *x, struct err *e);
void xen_toolstack_fini(struct xen_guest *x);
/* Before a request on that path. */
MUST_CHECK int xen_toolstack_prepare(struct xen_guest *x, struct err *e);
/* Instead of guest_resume(). vCPU 0 loses its extended state, see there. */
MUST_CHECK int xen_toolstack_resume(struct xen_guest *x);
/* After it. */
void xen_toolstack_tidy(struct xen_guest *x);

/* xen_store.c */
MUST_CHECK int xen_store_find(struct xen_guest *x, const char *name, struct err *e);
MUST_CHECK int xen_store_devices(struct xen_guest *x, struct err *e);
MUST_CHECK int xen_store_can_suspend(struct xen_guest *x, struct err *e);
/* Paths are made like printf's; reading is in xen_look.h. */
PRINTF(3, 4) int xen_store_write(struct xs_handle *xs, const char *value, const char *fmt, ...);
PRINTF(2, 3) void xen_store_remove(struct xs_handle *xs, const char *fmt, ...);

/* xen_watch.c */
MUST_CHECK int xen_watch_init(struct xen_guest *x, struct err *e);
void xen_watch_fini(struct xen_guest *x);
int xen_watch_fd(struct guest *g);
enum guest_event_type xen_watch_read(struct guest *g);

/* xen_cap.c */
MUST_CHECK int xen_cap_init(struct xen_guest *x, struct err *e);
void xen_cap_undo(struct xen_guest *x);
int xen_cpu_cap(struct guest *g, unsigned int percent, struct err *e);

#endif
