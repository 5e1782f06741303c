// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * engine_probe: the page engine on a running guest, without a link: checkpoints into an arena, at a steady pace.
 *
 *   engine_probe [-a] [-n CYCLES (100)] [-r HZ (20)] [-v EVERY] [-c PERCENT] [-p] [-t] DOMAIN
 *   engine_probe -R DOMAIN
 *   engine_probe -x [-n CYCLES] DOMAIN
 *
 *   -a  adopt: a probe before us died                -R  only rescue: resume it if it is suspended, undo what is left
 *   -v  keep a copy of the guest's memory up to date from the dirty pages alone, and compare every page of it with
 *       the guest at each EVERYth checkpoint
 *   -c  cap the guest's CPU meanwhile                -p  print watch events
 *   -x  die right after the last resume, before the guest has run: it is paused meanwhile, and left so for xl unpause
 *   -t  trace: getppid() after the suspend and after the resume and nothing printed between, for strace
 *
 * Ends after CYCLES, at SIGTERM or SIGINT, or when the guest does. The last line is key=value facts, times in us;
 * exit status 0: all went well.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <xenctrl.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/stats.h"
#include "replicator/arena.h"
#include "replicator/dirty.h"
#include "replicator/xen_domain.h"

#define SUSPEND_TIMEOUT_NS (5 * NS_PER_SEC)

enum phase {
	P_REQUEST,
	P_BITMAP,
	P_COPY,
	P_STATE,
	P_RESUME,
	P_PAUSE,
	PHASES,
};

static const char *const phase_names[PHASES] = {"request", "bitmap", "copy",
						"state",   "resume", "pause"};

struct options {
	const char *name;
	unsigned long cycles;
	unsigned long hz;
	unsigned long verify;
	unsigned int cap;
	bool adopt;
	bool rescue;
	bool events;
	bool trace;
	bool die;
};

struct probe {
	struct options opt;
	struct guest *g;
	struct arena arena;
	uint64_t *dirty;
	uint64_t *next; /* dirty already, for the epoch after this one */
	uint64_t *differ;
	uint64_t *pfns;
	unsigned char *image; /* all of the guest's memory, as the dirty log lets us know it */
	struct hist phase[PHASES];
	struct hist pages;
	struct hist polls;
	unsigned long taken;
	unsigned long aborted;
	unsigned long overflows;
	unsigned long holes;
	unsigned long verified;
	unsigned long raced;  /* pages that a backend wrote while we compared */
	unsigned long mapped; /* ... that a backend has mapped writable */
	unsigned long events; /* ... that hold event words */
	unsigned long wrong;  /* pages that the log has lost */
	const char *ended;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static void mark(const struct probe *p)
{
	if (p->opt.trace)
		(void)syscall(SYS_getppid);
}

static void to_image(struct probe *p, const uint64_t *pfns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		memcpy(p->image + pfns[i] * GUEST_PAGE_SIZE, guest_page(p->g, pfns[i]),
		       GUEST_PAGE_SIZE);
}

/*
 * Takes the pages out of bits that a backend has mapped writable now, and returns how many they were. What is
 * written through such a mapping is logged when it is unmapped. The rings of a device are mapped for as long as it
 * is connected; a frontend makes new ones after a failover, so their content does not matter.
 */
static size_t drop_mapped(struct probe *p, uint64_t *bits)
{
	const size_t words = guest_bitmap_words(p->g);
	size_t before = dirty_count(bits, words);
	xc_interface *xch = xc_interface_open(NULL, NULL, 0);
	grant_entry_v1_t *grant;
	int n = 0;

	grant = xch ? xc_gnttab_map_table_v1(xch, p->g->info.domid, &n) : NULL;
	for (int i = 0; grant && i < n; i++)
		if (grant[i].flags & GTF_writing && grant[i].frame < p->g->info.p2m_pages)
			dirty_unset(bits, grant[i].frame);
	if (grant)
		munmap(grant, (size_t)n * sizeof(*grant));
	if (xch)
		xc_interface_close(xch);
	return before - dirty_count(bits, words);
}

/*
 * The hypervisor sets the pending bit of an event word without telling the log. The page that holds the words is made
 * anew by the guest after a failover, too.
 */
#define EVENT_WORD_BITS 0xe001ffffu
#define EVENT_WORDS 16

/* Shows how a page differs; true if only event words do. */
static bool only_events(const struct probe *p, uint64_t pfn)
{
	const uint32_t *mine = (const void *)(p->image + pfn * GUEST_PAGE_SIZE);
	const uint32_t *now = guest_page(p->g, pfn);
	unsigned int other = 0;
	unsigned int n = 0;

	for (size_t i = 0; i < GUEST_PAGE_SIZE / sizeof(*now); i++) {
		if (mine[i] == now[i])
			continue;
		if (n++ == 0)
			fprintf(stderr, "page 0x%lx differs at word %zu: %08x is %08x\n",
				(unsigned long)pfn, i, mine[i], now[i]);
		other += ((mine[i] ^ now[i]) & ~EVENT_WORD_BITS) != 0;
	}
	return other == 0 && n <= EVENT_WORDS;
}

/*
 * In the pause, which is then long: backends go on writing into the guest meanwhile. Those pages are in the log
 * again, and belong to the next epoch; a page that differs and is not in the log is one that the log has lost.
 */
static int verify(struct probe *p)
{
	const size_t words = guest_bitmap_words(p->g);
	uint64_t pfn;
	int rc;

	dirty_clear(p->differ, words);
	for (pfn = dirty_next(p->g->present, words, 0); pfn != UINT64_MAX;
	     pfn = dirty_next(p->g->present, words, pfn + 1))
		if (memcmp(p->image + pfn * GUEST_PAGE_SIZE, guest_page(p->g, pfn),
			   GUEST_PAGE_SIZE) != 0)
			dirty_set(p->differ, pfn);
	rc = guest_dirty_fetch_final(p->g, p->next);
	if (rc < 0)
		return rc;
	p->raced += dirty_count(p->differ, words);
	dirty_drop(p->differ, p->next, words);
	p->raced -= dirty_count(p->differ, words);
	p->mapped += drop_mapped(p, p->differ);
	for (pfn = dirty_next(p->differ, words, 0); pfn != UINT64_MAX;
	     pfn = dirty_next(p->differ, words, pfn + 1)) {
		if (only_events(p, pfn))
			p->events++;
		else
			p->wrong++;
	}
	p->verified++;
	return 0;
}

/* What it holds of the guest ends with it. */
static void resume_and_die(struct probe *p)
{
	xc_interface *xch = xc_interface_open(NULL, NULL, 0);
	int rc = xch ? xc_domain_pause(xch, p->g->info.domid) : -1;

	if (rc == 0)
		rc = guest_resume(p->g);
	_exit(rc < 0);
}

/* One checkpoint's pause. 0, -ENOSPC for an overflow, or what went wrong; it runs again in any case. */
static int collect(struct probe *p, uint64_t suspended_ns, bool check)
{
	const size_t words = guest_bitmap_words(p->g);
	const struct guest_state *st;
	struct dirty_found found = {0};
	uint64_t t[4];
	int rc;
	int r;

	mark(p);
	rc = guest_dirty_fetch_final(p->g, p->dirty);
	if (rc == 0)
		rc = dirty_scan(p->dirty, p->g->present, words, p->pfns, p->arena.pages, &found);
	t[0] = clock_now();
	arena_reset(&p->arena);
	for (size_t i = 0; i < found.pages && rc == 0; i++)
		memcpy(arena_add(&p->arena, p->pfns[i]), guest_page(p->g, p->pfns[i]),
		       GUEST_PAGE_SIZE);
	t[1] = clock_now();
	if (rc == 0)
		rc = guest_state_capture(p->g, &st);
	t[2] = clock_now();
	if (check && rc == 0) {
		to_image(p, p->pfns, found.pages);
		rc = verify(p);
	}
	if (p->opt.die && p->taken + 1 >= p->opt.cycles)
		resume_and_die(p);
	r = guest_resume(p->g);
	t[3] = clock_now();
	mark(p);
	if (r < 0)
		return r;
	p->holes += found.holes;
	if (rc < 0 || check)
		return rc;
	hist_add(&p->phase[P_BITMAP], t[0] - suspended_ns);
	hist_add(&p->phase[P_COPY], t[1] - t[0]);
	hist_add(&p->phase[P_STATE], t[2] - t[1]);
	hist_add(&p->phase[P_RESUME], t[3] - t[2]);
	hist_add(&p->phase[P_PAUSE], t[3] - suspended_ns);
	hist_add(&p->pages, found.pages);
	if (p->image)
		for (size_t i = 0; i < found.pages; i++)
			memcpy(p->image + p->pfns[i] * GUEST_PAGE_SIZE,
			       arena_slot(&p->arena, (uint32_t)i), GUEST_PAGE_SIZE);
	return 0;
}

/* True while there is something to go on with. */
static bool outcome(struct probe *p, const struct suspend_result *r)
{
	switch (r->outcome) {
	case SUSPEND_DONE:
		return true;
	case SUSPEND_TIMEOUT:
		fprintf(stderr, "timeout%s\n", r->taken ? ", taken" : "");
		p->aborted++;
		return true;
	case SUSPEND_GONE:
		p->ended = "gone";
		return false;
	case SUSPEND_SHUTDOWN:
		p->ended = "shutdown";
		return false;
	case SUSPEND_FOREIGN:
		p->ended = "foreign";
		return false;
	case SUSPEND_CHANGED:
		p->ended = "changed";
		return false;
	case SUSPEND_FAILED:
		p->ended = "failed";
		return false;
	}
	return false;
}

static bool cycle(struct probe *p)
{
	const size_t words = guest_bitmap_words(p->g);
	bool check = p->opt.verify && (p->taken + 1) % p->opt.verify == 0;
	struct suspend_result r;
	struct err e = ERR_INIT;
	int rc;

	rc = guest_suspend(p->g, clock_add(clock_now(), SUSPEND_TIMEOUT_NS), &r, &e);
	if (rc < 0)
		fprintf(stderr, "%s\n", e.text);
	if (!outcome(p, &r))
		return false;
	if (r.outcome != SUSPEND_DONE)
		return true;
	rc = collect(p, r.suspended_ns, check);
	hist_add(&p->phase[P_REQUEST], r.suspended_ns - r.request_ns);
	hist_add(&p->polls, r.polls);
	if (rc == -ENOSPC) {
		p->overflows++;
		return true;
	}
	if (rc < 0) {
		fprintf(stderr, "checkpoint: %s\n", strerror(-rc));
		p->ended = rc == -ESTALE ? "stale" : "error";
		return false;
	}
	rc = guest_map_late(p->g, p->dirty);
	if (rc > 0) {
		p->aborted++; /* the dirty pages are kept */
		return true;
	}
	p->taken++;
	dirty_clear(p->dirty, words);
	dirty_take(p->dirty, p->next, words);
	return true;
}

static void print_events(struct probe *p)
{
	static const char *const names[] = {"none",	     "memory",	  "vifs", "disks",
					    "suspend_asked", "end_asked", "check"};
	enum guest_event_type ev;

	for (int i = 0; i < 16; i++) {
		ev = guest_watch_read(p->g);
		if (ev == GUEST_EV_NONE)
			return;
		if (p->opt.events)
			fprintf(stderr, "event %s\n", names[ev]);
	}
}

/* Until the next cycle, with an eye on the watches. */
static void pace(struct probe *p, uint64_t next)
{
	struct pollfd fd = {.fd = guest_watch_fd(p->g), .events = POLLIN};
	uint64_t now = clock_now();

	while (now < next && !stop) {
		if (poll(&fd, 1, clock_poll_ms(next - now)) > 0)
			print_events(p);
		now = clock_now();
	}
}

static void run(struct probe *p)
{
	const uint64_t period = NS_PER_SEC / p->opt.hz;
	enum guest_shutdown reason;
	uint64_t next = clock_now();

	for (unsigned long i = 0; i < p->opt.cycles && !stop; i++) {
		if (!cycle(p))
			return;
		next += period;
		if (next < clock_now())
			next = clock_now();
		pace(p, next);
		if (guest_health(p->g, &reason) == GUEST_HEALTH_GONE) {
			p->ended = "gone";
			return;
		}
	}
	p->ended = stop ? "signal" : "done";
}

/* A first copy into the image: all pages, then what was written meanwhile. */
static int first_copy(struct probe *p)
{
	const size_t words = guest_bitmap_words(p->g);
	uint64_t pfn;
	int rc;

	for (int round = 0; round < 3; round++) {
		for (pfn = dirty_next(p->dirty, words, 0); pfn != UINT64_MAX;
		     pfn = dirty_next(p->dirty, words, pfn + 1))
			if (guest_page(p->g, pfn))
				to_image(p, &pfn, 1);
		dirty_clear(p->dirty, words);
		rc = guest_dirty_fetch_live(p->g, p->dirty);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int prepare(struct probe *p, struct err *e)
{
	const struct xen_guest_conf conf = {.name = p->opt.name, .adopt = p->opt.adopt};
	const struct guest_static *fixed;
	uint64_t t = clock_now();
	size_t words;
	int rc;

	rc = xen_guest_open(&p->g, &conf, e);
	if (rc < 0)
		return rc;
	fprintf(stderr,
		"domain %u: %lu pages, %lu mapped, p2m %lu, vcpus %u, vifs %u (%s), state %lu bytes, opened in "
		"%lu us%s\n",
		p->g->info.domid, (unsigned long)p->g->info.tot_pages,
		(unsigned long)p->g->present_pages, (unsigned long)p->g->info.p2m_pages,
		p->g->info.vcpus, p->g->info.n_vifs,
		p->g->info.n_vifs ? p->g->info.vif[0].ifname : "-",
		(unsigned long)p->g->info.state_max, (unsigned long)((clock_now() - t) / NS_PER_US),
		p->g->info.adopted ? ", adopted suspended" : "");
	rc = guest_static_state(p->g, &fixed, e);
	if (rc < 0)
		return rc;
	fprintf(stderr, "cpuid leaves %u, msrs %u\n", fixed->cpuid_leaves, fixed->msr_entries);
	words = guest_bitmap_words(p->g);
	p->dirty = mem_array(words, sizeof(uint64_t));
	p->next = mem_array(words, sizeof(uint64_t));
	p->differ = mem_array(words, sizeof(uint64_t));
	rc = arena_init(&p->arena, (uint32_t)p->g->present_pages, true, e);
	if (rc < 0)
		return rc;
	p->pfns = mem_array(p->arena.pages, sizeof(uint64_t));
	if (!p->dirty || !p->next || !p->differ || !p->pfns)
		return err_set(e, -ENOMEM, "bitmaps");
	dirty_fill(p->dirty, words, p->g->info.p2m_pages);
	rc = guest_logdirty_enable(p->g, e);
	if (rc < 0)
		return rc;
	if (p->opt.verify) {
		p->image = mmap(NULL, p->g->info.p2m_pages * GUEST_PAGE_SIZE,
				PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				-1, 0);
		if (p->image == MAP_FAILED)
			return err_set(e, -errno, "room for an image");
		rc = first_copy(p);
		if (rc < 0)
			return err_set(e, rc, "first copy");
	} else {
		dirty_clear(p->dirty, words);
	}
	return p->opt.cap ? guest_cpu_cap(p->g, p->opt.cap, e) : 0;
}

static void facts(const struct probe *p)
{
	const struct guest_counters *c = &p->g->counters;

	printf("probe: ended=%s cycles=%lu aborted=%lu overflows=%lu timeouts=%lu late=%lu ext_lost=%lu stolen=%lu "
	       "holes=%lu hole_mapped=%lu verified=%lu raced=%lu mapped=%lu events=%lu wrong=%lu pages_p50=%lu pages_max=%lu polls_p50=%lu",
	       p->ended, p->taken, p->aborted, p->overflows, (unsigned long)c->timeouts,
	       (unsigned long)c->late_resumed, (unsigned long)c->ext_lost,
	       (unsigned long)c->log_stolen, p->holes, (unsigned long)c->hole_mapped, p->verified,
	       p->raced, p->mapped, p->events, p->wrong,
	       (unsigned long)hist_percentile(&p->pages, 0.5), (unsigned long)p->pages.max,
	       (unsigned long)hist_percentile(&p->polls, 0.5));
	for (int i = 0; i < PHASES; i++)
		printf(" %s_p50=%lu %s_p99=%lu", phase_names[i],
		       (unsigned long)(hist_percentile(&p->phase[i], 0.5) / NS_PER_US),
		       phase_names[i],
		       (unsigned long)(hist_percentile(&p->phase[i], 0.99) / NS_PER_US));
	printf("\n");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: engine_probe [-a] [-n CYCLES] [-r HZ] [-v EVERY] [-c PERCENT] [-p] [-t] DOMAIN\n"
		"       engine_probe -R DOMAIN\n"
		"       engine_probe -x [-n CYCLES] DOMAIN\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){.cycles = 100, .hz = 20};
	while ((c = getopt(argc, argv, "aRn:r:v:c:ptx")) != -1) {
		switch (c) {
		case 'a':
			o->adopt = true;
			break;
		case 'R':
			o->rescue = true;
			break;
		case 'n':
			o->cycles = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			o->hz = strtoul(optarg, NULL, 10);
			break;
		case 'v':
			o->verify = strtoul(optarg, NULL, 10);
			break;
		case 'c':
			o->cap = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			o->events = true;
			break;
		case 't':
			o->trace = true;
			break;
		case 'x':
			o->die = true;
			break;
		default:
			return -EINVAL;
		}
	}
	if (optind + 1 != argc || o->hz == 0)
		return -EINVAL;
	o->name = argv[optind];
	return 0;
}

static int rescue(const char *name)
{
	struct err e = ERR_INIT;
	bool resumed;
	int rc = xen_guest_rescue(name, &resumed, &e);

	if (rc < 0)
		fprintf(stderr, "%s\n", e.text);
	printf("rescue: rc=%d resumed=%d\n", rc, resumed);
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct probe p = {.arena = ARENA_INIT, .ended = "setup"};
	struct err e = ERR_INIT;
	int rc;

	if (parse(argc, argv, &p.opt) < 0)
		return usage();
	if (p.opt.rescue)
		return rescue(p.opt.name);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	for (int i = 0; i < PHASES; i++)
		hist_init(&p.phase[i]);
	hist_init(&p.pages);
	hist_init(&p.polls);
	rc = prepare(&p, &e);
	if (rc < 0) {
		fprintf(stderr, "%s\n", e.text);
	} else {
		run(&p);
		facts(&p);
	}
	if (p.image && p.image != MAP_FAILED)
		munmap(p.image, p.g->info.p2m_pages * GUEST_PAGE_SIZE);
	guest_close(p.g);
	arena_fini(&p.arena);
	mem_free(p.dirty);
	mem_free(p.next);
	mem_free(p.differ);
	mem_free(p.pfns);
	return rc < 0 || p.wrong ||
	       (strcmp(p.ended, "done") != 0 && strcmp(p.ended, "signal") != 0);
}
