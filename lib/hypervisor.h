/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam between the engine at the primary and the hypervisor. The engine (replicator/checkpoint.c)
 * sees a struct guest and nothing else; behind it is a real one (replicator/xen_domain.h) or a fake one
 * (tests/lib/fake_guest.h). No hypervisor header is needed here.
 *
 * Threads: a guest belongs to one thread at a time (the data thread), with two exceptions: `info` may be
 * read by anybody, and guest_watch_fd() / guest_watch_read() may be used by one other thread (control).
 *
 * The pause: between a guest_suspend() that said SUSPEND_DONE and guest_resume() only the functions marked
 * [pause] are called. They allocate nothing, map nothing, log nothing and do no system call but hypercalls.
 */
#ifndef LIB_HYPERVISOR_H
#define LIB_HYPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define GUEST_PAGE_SIZE 4096
#define GUEST_MAX_VIFS 8
#define GUEST_NAME_SIZE 128
#define GUEST_IFNAME_SIZE 16
#define GUEST_MAX_PARAMS 24

struct guest_vif {
	uint32_t devid;
	char ifname[GUEST_IFNAME_SIZE]; /* host side, such as vif3.0 */
	uint8_t mac[6];
};

struct guest_info {
	uint32_t domid;
	uint8_t uuid[16];
	char name[GUEST_NAME_SIZE];
	uint32_t vcpus;	    /* at most; also those that are offline now */
	uint64_t tot_pages; /* that the guest owns, when it was mapped */
	uint64_t p2m_pages; /* highest guest frame number + 1: bits of every bitmap here */
	uint64_t max_kib;   /* what the guest may own at most */
	uint64_t state_max; /* bytes that guest_state.context can need */
	unsigned int n_vifs;
	struct guest_vif vif[GUEST_MAX_VIFS];
	unsigned int n_disks;
	bool adopted; /* was found suspended by a worker that died, and was resumed */
};

/* What does not change while a guest lives: for the head of a stream. Valid until guest_close(). */
struct guest_static {
	const void *cpuid; /* cpuid_leaves times 24 bytes: leaf, subleaf, a, b, c, d */
	uint32_t cpuid_leaves;
	const void *msr; /* msr_entries times 16 bytes: u32 index, u32 flags, u64 value */
	uint32_t msr_entries;
	uint32_t max_vcpu_id;
};

struct guest_param {
	uint64_t index;
	uint64_t value;
};

/* What belongs to an epoch beside the pages. Of guest_state_capture(); valid until the next one. */
struct guest_state {
	const void *context; /* the hypervisor's HVM context blob */
	size_t context_size; /* bytes, at most info.state_max */
	uint32_t n_params;
	struct guest_param param[GUEST_MAX_PARAMS]; /* HVM params that are not 0 */
	uint32_t tsc_mode;
	uint32_t tsc_khz;
	uint64_t tsc_nsec;
	uint32_t tsc_incarnation;
	/* The guest finds out by itself where it wakes up: resumed bare, told nothing, but for the first time. */
	bool self_aware;
};

enum suspend_outcome {
	SUSPEND_DONE,	  /* paused; guest_resume() must follow */
	SUSPEND_TIMEOUT,  /* it did not; see guest_suspend() */
	SUSPEND_GONE,	  /* destroyed or dying */
	SUSPEND_SHUTDOWN, /* ended by itself: reason */
	SUSPEND_FOREIGN,  /* somebody else suspended it (xl save); left as it was found */
	SUSPEND_CHANGED,  /* memory or devices are not those that were mapped: close, open anew */
	SUSPEND_FAILED,	  /* our own trouble: rc of guest_suspend() and e say which */
};

enum guest_shutdown {
	GUEST_POWEROFF,
	GUEST_REBOOT,
	GUEST_SUSPEND,
	GUEST_CRASH,
	GUEST_WATCHDOG,
	GUEST_SOFT_RESET,
	GUEST_SHUTDOWN_OTHER,
};

struct suspend_result {
	enum suspend_outcome outcome;
	enum guest_shutdown reason; /* with SUSPEND_SHUTDOWN */
	bool taken; /* with SUSPEND_TIMEOUT: the guest took the request and may still obey */
	uint64_t request_ns;   /* instant of the request (clock_now()) */
	uint64_t suspended_ns; /* instant at which it was seen to be suspended, 0 if never */
	uint32_t polls;	       /* questions to the hypervisor until then */
	const char *path;      /* "xenstore", "event channel", "fake": static text */
};

enum guest_health {
	GUEST_HEALTH_RUNNING,
	GUEST_HEALTH_PAUSED,   /* suspended by us, guest_resume() not yet called */
	GUEST_HEALTH_GONE,     /* destroyed or dying */
	GUEST_HEALTH_SHUTDOWN, /* ended by itself: reason */
	GUEST_HEALTH_FOREIGN,  /* suspended by somebody else */
	GUEST_HEALTH_CHANGED,  /* see SUSPEND_CHANGED */
};

/* Events of the toolstack's store. More than one may be reported for one cause. */
enum guest_event_type {
	GUEST_EV_NONE,		/* nothing more to read now */
	GUEST_EV_MEMORY,	/* its memory target was changed */
	GUEST_EV_VIFS,		/* a network device came or went */
	GUEST_EV_DISKS,		/* a disk came or went */
	GUEST_EV_SUSPEND_ASKED, /* somebody else asked it to suspend (xl save, xl migrate) */
	GUEST_EV_END_ASKED,	/* somebody asked it to power off or reboot */
	GUEST_EV_CHECK,		/* some domain ended or was suspended: guest_health() tells */
};

struct guest_counters {
	uint64_t hole_dirty;   /* pages reported dirty where none was mapped */
	uint64_t hole_mapped;  /* of these, pages that were mapped then */
	uint64_t late_resumed; /* suspended after we had given up waiting, and resumed by us */
	uint64_t timeouts;     /* requests not obeyed in time */
	uint64_t log_stolen;   /* the dirty log was cleaned or switched off by somebody else */
	uint64_t ext_lost;     /* resumes that could not put a vCPU's extended state back */
};

struct guest;

/* Contracts are at the functions below. */
struct guest_ops {
	void (*close)(struct guest *g);
	int (*logdirty_enable)(struct guest *g, struct err *e);
	void (*logdirty_disable)(struct guest *g);
	int (*dirty_fetch)(struct guest *g, bool final, uint64_t *bitmap);
	int (*map_late)(struct guest *g, const uint64_t *bitmap);
	int (*suspend)(struct guest *g, uint64_t deadline_ns, struct suspend_result *out,
		       struct err *e);
	int (*state_capture)(struct guest *g, const struct guest_state **out);
	int (*resume)(struct guest *g);
	int (*static_state)(struct guest *g, const struct guest_static **out, struct err *e);
	int (*cpu_cap)(struct guest *g, unsigned int percent, struct err *e);
	enum guest_health (*health)(struct guest *g, enum guest_shutdown *reason);
	void (*settle)(struct guest *g);
	int (*watch_fd)(struct guest *g);
	enum guest_event_type (*watch_read)(struct guest *g);
};

/* Embedded first in every implementation. Callers read, the implementation writes. */
struct guest {
	const struct guest_ops *ops;
	struct guest_info info;
	struct guest_counters counters;
	const unsigned char
		*mem;	   /* the guest's memory, read-only, p2m_pages long with holes in it */
	uint64_t *present; /* bit n: page n is there; others must not be read */
	uint64_t present_pages;
};

/* Words of a bitmap of this guest. */
static inline size_t guest_bitmap_words(const struct guest *g)
{
	return (size_t)((g->info.p2m_pages + 63) / 64);
}

/* [pause] The page, GUEST_PAGE_SIZE bytes, or NULL for a hole. pfn < info.p2m_pages. */
static inline const void *guest_page(const struct guest *g, uint64_t pfn)
{
	if (!(g->present[pfn / 64] >> (pfn % 64) & 1))
		return NULL;
	return g->mem + pfn * GUEST_PAGE_SIZE;
}

/*
 * Ends it all: the guest is resumed if we suspended it, a request that it has not taken is withdrawn, one
 * that it has taken is waited for (seldom; at most 30 s), the dirty log is switched off, the cap undone, the
 * memory unmapped. Frees. NULL is a no-op.
 */
static inline void guest_close(struct guest *g)
{
	if (g)
		g->ops->close(g);
}

/* From now on writes are logged; everything written before counts as clean. -EOPNOTSUPP, -EBUSY, ... */
MUST_CHECK static inline int guest_logdirty_enable(struct guest *g, struct err *e)
{
	return g->ops->logdirty_enable(g, e);
}

/* No-op when it is off. */
static inline void guest_logdirty_disable(struct guest *g)
{
	g->ops->logdirty_disable(g);
}

/*
 * ORs the pages that were written since the last fetch into bitmap (guest_bitmap_words() long) and starts
 * anew. For the live rounds: the guest runs. -ESTALE: somebody else cleaned the log or switched it off,
 * what is in the bitmap is not all: leave, guest_logdirty_disable(), first copy. Else a negative errno, and
 * then nothing is lost unless it is -ESTALE.
 */
MUST_CHECK static inline int guest_dirty_fetch_live(struct guest *g, uint64_t *bitmap)
{
	return g->ops->dirty_fetch(g, false, bitmap);
}

/* [pause] The same for a suspended guest, with the pages that the hypervisor itself may have written. */
MUST_CHECK static inline int guest_dirty_fetch_final(struct guest *g, uint64_t *bitmap)
{
	return g->ops->dirty_fetch(g, true, bitmap);
}

/*
 * After the resume, when dirty_scan() met pages in holes: tries to map those of bitmap that are not present.
 * Returns how many are present now; more than 0 means that the epoch just taken lacks them: it must be
 * aborted and its dirty pages kept. Negative errno: our own trouble.
 */
MUST_CHECK static inline int guest_map_late(struct guest *g, const uint64_t *bitmap)
{
	return g->ops->map_late(g, bitmap);
}

/*
 * Asks the guest to suspend and waits until it is. Always fills *out. Returns 0 when out->outcome says it
 * all, a negative errno (and SUSPEND_FAILED) when the question could not be put.
 *
 * After every outcome but SUSPEND_DONE the guest is not suspended by us. SUSPEND_TIMEOUT: the request is
 * withdrawn; when the guest had taken it already (out->taken) it may still suspend: the next
 * guest_suspend() goes on waiting for that one; until then guest_health(), to be called at least every
 * 100 ms, resumes it at once. So it does with one that comes, against all likelihood, without having been taken.
 */
MUST_CHECK static inline int guest_suspend(struct guest *g, uint64_t deadline_ns,
					   struct suspend_result *out, struct err *e)
{
	return g->ops->suspend(g, deadline_ns, out, e);
}

/* [pause] vCPUs and platform into buffers of the guest. Before guest_resume(), which changes a register. */
MUST_CHECK static inline int guest_state_capture(struct guest *g, const struct guest_state **out)
{
	return g->ops->state_capture(g, out);
}

/*
 * [pause] The guest goes on and knows that it is still where it was. -ESTALE: it went on before, by somebody
 * else's doing, so what was read in the pause is not of one instant. Any other failure leaves it suspended: try
 * again, at last guest_close() does.
 */
MUST_CHECK static inline int guest_resume(struct guest *g)
{
	return g->ops->resume(g);
}

MUST_CHECK static inline int guest_static_state(struct guest *g, const struct guest_static **out,
						struct err *e)
{
	return g->ops->static_state(g, out, e);
}

/* The share of its vCPUs' time that the guest may use: 1 to 99 percent; 0, or 100 and more: no cap of ours. */
MUST_CHECK static inline int guest_cpu_cap(struct guest *g, unsigned int percent, struct err *e)
{
	return g->ops->cpu_cap(g, percent, e);
}

/* Cheap: one hypercall. reason is set with GUEST_HEALTH_SHUTDOWN. Not in the pause. */
static inline enum guest_health guest_health(struct guest *g, enum guest_shutdown *reason)
{
	return g->ops->health(g, reason);
}

/*
 * A guest that has taken a request which was given up (SUSPEND_TIMEOUT, taken) is waited for and resumed when it obeys:
 * before anything that keeps guest_health() from being called for long. Returns at once when there is none such, after
 * 30 s at the latest (200 ms where it probably never obeys: it was asked over a channel that is closed now, or by a worker before
 * us, if at all); the guest is freezing its tasks meanwhile and of no use to anybody.
 */
static inline void guest_settle(struct guest *g)
{
	g->ops->settle(g);
}

/* For poll(), readable when guest_watch_read() may have something; -1: there is none. */
static inline int guest_watch_fd(struct guest *g)
{
	return g->ops->watch_fd(g);
}

/*
 * The next event; GUEST_EV_NONE: wait for the fd again. Does a bounded number of questions to the store
 * per call, so call it until GUEST_EV_NONE but not in a loop that nothing else can enter.
 */
static inline enum guest_event_type guest_watch_read(struct guest *g)
{
	return g->ops->watch_read(g);
}

#endif
