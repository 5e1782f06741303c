// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_guest.h. */
#include "tests/lib/fake_guest.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/dirty.h"

#define SCRIPT_MAX 32
#define CONTEXT_MIN (2 * sizeof(uint64_t))
#define FAKE_DOMID 7

struct script {
	enum suspend_outcome outcome;
	enum guest_shutdown reason;
	bool late;
};

struct fault {
	int rc;
	unsigned int after;
	unsigned int n;
};

struct fake_guest {
	struct guest g; /* first */
	struct fake_guest_conf conf;
	struct fake_guest_report report;
	unsigned char *mem;
	uint64_t *dirty;
	uint64_t *behind;
	uint64_t *plugged; /* memory that is not mapped */
	bool log_on;
	bool stale;
	bool suspended;
	bool owed;
	bool changed;
	unsigned int cap;
	uint64_t writes;
	enum guest_health health;
	enum guest_shutdown reason;
	struct script script[SCRIPT_MAX];
	unsigned int n_script;
	struct fault fault[FAKE_OPS];
	unsigned char *context;
	struct guest_state state;
	struct guest_static fixed;
	unsigned char cpuid[2 * 24];
	unsigned char msr[16];
	pthread_mutex_t lock; /* of the events */
	enum guest_event_type event[SCRIPT_MAX];
	unsigned int n_events;
	int event_fd;
};

static struct fake_guest *fake(struct guest *g)
{
	return container_of(g, struct fake_guest, g);
}

static const struct fake_guest *fake_const(const struct guest *g)
{
	return (const struct fake_guest *)g;
}

static void report(struct fake_guest *f)
{
	if (f->conf.report)
		*f->conf.report = f->report;
}

static int fault(struct fake_guest *f, enum fake_op op)
{
	struct fault *x = &f->fault[op];

	if (x->n == 0)
		return 0;
	if (x->after > 0) {
		x->after--;
		return 0;
	}
	x->n--;
	return x->rc;
}

static void let_run(struct fake_guest *f, enum fake_moment moment)
{
	if (f->conf.run && f->health == GUEST_HEALTH_RUNNING)
		f->conf.run(f->conf.arg, &f->g, moment);
}

/* ---- the operations ---- */

static void fake_close(struct guest *g)
{
	struct fake_guest *f = fake(g);

	f->report.closed = true;
	f->report.was_suspended = f->suspended;
	f->report.log_was_on = f->log_on;
	f->report.cap_was = f->cap;
	report(f);
	close(f->event_fd);
	pthread_mutex_destroy(&f->lock);
	mem_free(f->mem);
	mem_free(f->g.present);
	mem_free(f->dirty);
	mem_free(f->behind);
	mem_free(f->plugged);
	mem_free(f->context);
	mem_free(f);
}

static int fake_logdirty_enable(struct guest *g, struct err *e)
{
	struct fake_guest *f = fake(g);
	int rc = fault(f, FAKE_LOGDIRTY_ENABLE);

	if (rc < 0)
		return err_set(e, rc, "fake dirty log");
	assert(!f->log_on);
	f->log_on = true;
	f->stale = false;
	dirty_clear(f->dirty, guest_bitmap_words(g));
	return 0;
}

static void fake_logdirty_disable(struct guest *g)
{
	fake(g)->log_on = false;
}

static int fake_dirty_fetch(struct guest *g, bool final, uint64_t *bitmap)
{
	struct fake_guest *f = fake(g);
	const size_t words = guest_bitmap_words(g);
	int rc = fault(f, final ? FAKE_FETCH_FINAL : FAKE_FETCH_LIVE);

	assert(final == f->suspended);
	if (rc == -ESTALE)
		f->stale = true;
	if (!f->log_on || f->stale)
		return -ESTALE;
	if (rc < 0)
		return rc;
	dirty_take(bitmap, f->dirty, words);
	if (final)
		dirty_take(bitmap, f->behind, words);
	f->report.fetches++;
	report(f);
	if (!final)
		let_run(f, FAKE_LIVE);
	return 0;
}

static int fake_map_late(struct guest *g, const uint64_t *bitmap)
{
	struct fake_guest *f = fake(g);
	int rc = fault(f, FAKE_MAP_LATE);
	int mapped = 0;

	assert(!f->suspended);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < guest_bitmap_words(g); i++) {
		uint64_t holes = bitmap[i] & ~g->present[i];
		uint64_t found = holes & f->plugged[i];

		g->counters.hole_dirty += (uint64_t)__builtin_popcountll(holes);
		mapped += __builtin_popcountll(found);
		g->present[i] |= found;
		f->plugged[i] &= ~found;
	}
	g->counters.hole_mapped += (uint64_t)mapped;
	g->present_pages += (uint64_t)mapped;
	return mapped;
}

static struct script next_script(struct fake_guest *f)
{
	struct script s = {.outcome = SUSPEND_DONE};

	if (f->n_script > 0) {
		s = f->script[0];
		f->n_script--;
		memmove(&f->script[0], &f->script[1], f->n_script * sizeof(s));
	}
	return s;
}

static struct script ended(const struct fake_guest *f)
{
	struct script s = {.outcome = SUSPEND_DONE, .reason = f->reason};

	switch (f->health) {
	case GUEST_HEALTH_GONE:
		s.outcome = SUSPEND_GONE;
		break;
	case GUEST_HEALTH_SHUTDOWN:
		s.outcome = SUSPEND_SHUTDOWN;
		break;
	case GUEST_HEALTH_FOREIGN:
		s.outcome = SUSPEND_FOREIGN;
		break;
	case GUEST_HEALTH_CHANGED:
	case GUEST_HEALTH_PAUSED:
	case GUEST_HEALTH_RUNNING:
		break;
	}
	return s;
}

static int fake_suspend(struct guest *g, uint64_t deadline_ns, struct suspend_result *out,
			struct err *e)
{
	struct fake_guest *f = fake(g);
	struct script s = ended(f);
	int rc = fault(f, FAKE_SUSPEND);

	assert(!f->suspended);
	*out = (struct suspend_result){
		.outcome = SUSPEND_FAILED,
		.request_ns = clock_now(),
		.path = "fake",
	};
	if (rc < 0)
		return err_set(e, rc, "fake suspend");
	if (s.outcome == SUSPEND_DONE) {
		let_run(f, FAKE_ASKED);
		s = next_script(f);
	}
	if (f->changed && s.outcome == SUSPEND_DONE)
		s.outcome = SUSPEND_CHANGED;
	out->outcome = s.outcome;
	out->reason = s.reason;
	out->taken = s.late;
	out->polls = 1;
	f->owed = s.late;
	if (s.outcome == SUSPEND_TIMEOUT)
		g->counters.timeouts++;
	if (s.outcome != SUSPEND_DONE)
		return 0;
	f->suspended = true;
	out->suspended_ns = clock_now();
	f->report.suspends++;
	report(f);
	return 0;
}

static int fake_state_capture(struct guest *g, const struct guest_state **out)
{
	struct fake_guest *f = fake(g);
	const uint64_t head[] = {f->writes, fake_guest_digest(g)};
	int rc = fault(f, FAKE_CAPTURE);

	assert(f->suspended);
	if (rc < 0)
		return rc;
	memset(f->context, 0x5a, g->info.state_max);
	memcpy(f->context, head, sizeof(head));
	f->state = (struct guest_state){
		.context = f->context,
		.context_size = g->info.state_max,
		.n_params = 2,
		.param = {{1, 0xfeff8}, {17, 0xfeff9}},
		.tsc_khz = 1000000,
		.tsc_nsec = f->writes,
	};
	*out = &f->state;
	f->report.captures++;
	report(f);
	return 0;
}

static int fake_resume(struct guest *g)
{
	struct fake_guest *f = fake(g);
	int rc = fault(f, FAKE_RESUME);

	assert(f->suspended);
	if (rc < 0 && rc != -ESTALE)
		return rc;
	f->suspended = false;
	f->report.resumes++;
	report(f);
	let_run(f, FAKE_RESUMED);
	return rc;
}

static int fake_static_state(struct guest *g, const struct guest_static **out, struct err *e)
{
	struct fake_guest *f = fake(g);
	int rc = fault(f, FAKE_STATIC);

	if (rc < 0)
		return err_set(e, rc, "fake static state");
	f->fixed = (struct guest_static){
		.cpuid = f->cpuid,
		.cpuid_leaves = sizeof(f->cpuid) / 24,
		.msr = f->msr,
		.msr_entries = sizeof(f->msr) / 16,
		.max_vcpu_id = g->info.vcpus - 1,
	};
	*out = &f->fixed;
	return 0;
}

static int fake_cpu_cap(struct guest *g, unsigned int percent, struct err *e)
{
	struct fake_guest *f = fake(g);
	int rc = fault(f, FAKE_CAP);

	if (rc < 0)
		return err_set(e, rc, "fake cap");
	f->cap = percent >= 100 ? 0 : percent;
	return 0;
}

static void fake_settle(struct guest *g)
{
	struct fake_guest *f = fake(g);

	if (f->owed) {
		f->owed = false;
		g->counters.late_resumed++;
	}
}

static enum guest_health fake_health(struct guest *g, enum guest_shutdown *reason)
{
	struct fake_guest *f = fake(g);

	if (f->health != GUEST_HEALTH_RUNNING) {
		*reason = f->reason;
		return f->health;
	}
	if (f->suspended)
		return GUEST_HEALTH_PAUSED;
	fake_settle(g);
	return f->changed ? GUEST_HEALTH_CHANGED : GUEST_HEALTH_RUNNING;
}

static int fake_watch_fd(struct guest *g)
{
	return fake(g)->event_fd;
}

static enum guest_event_type fake_watch_read(struct guest *g)
{
	struct fake_guest *f = fake(g);
	enum guest_event_type ev = GUEST_EV_NONE;
	uint64_t n;
	autolock(&f->lock);

	if (f->n_events > 0) {
		ev = f->event[0];
		f->n_events--;
		memmove(&f->event[0], &f->event[1], f->n_events * sizeof(ev));
	}
	if (f->n_events == 0 && read(f->event_fd, &n, sizeof(n)) < 0)
		assert(errno == EAGAIN);
	return ev;
}

static const struct guest_ops fake_ops = {
	.close = fake_close,
	.logdirty_enable = fake_logdirty_enable,
	.logdirty_disable = fake_logdirty_disable,
	.dirty_fetch = fake_dirty_fetch,
	.map_late = fake_map_late,
	.suspend = fake_suspend,
	.state_capture = fake_state_capture,
	.resume = fake_resume,
	.static_state = fake_static_state,
	.cpu_cap = fake_cpu_cap,
	.health = fake_health,
	.settle = fake_settle,
	.watch_fd = fake_watch_fd,
	.watch_read = fake_watch_read,
};

/* ---- making one ---- */

static void describe(struct fake_guest *f)
{
	struct guest_info *info = &f->g.info;
	const struct fake_guest_conf *conf = &f->conf;

	info->domid = FAKE_DOMID;
	memset(info->uuid, 0x17, sizeof(info->uuid));
	snprintf(info->name, sizeof(info->name), "%s", conf->name ? conf->name : "fake");
	info->vcpus = conf->vcpus ? conf->vcpus : 1;
	info->p2m_pages = conf->p2m_pages ? conf->p2m_pages : conf->ram_pages;
	info->state_max = conf->context_size ? conf->context_size : 256;
	assert(info->state_max >= CONTEXT_MIN);
	assert(conf->n_vifs <= GUEST_MAX_VIFS && conf->ram_pages <= info->p2m_pages);
	info->n_vifs = conf->n_vifs;
	for (unsigned int i = 0; i < conf->n_vifs; i++) {
		info->vif[i] =
			(struct guest_vif){.devid = i, .mac = {0, 0x16, 0x3e, 0, 0, (uint8_t)i}};
		snprintf(info->vif[i].ifname, sizeof(info->vif[i].ifname), "vif%d.%u", FAKE_DOMID,
			 i);
	}
}

struct guest *fake_guest_new(const struct fake_guest_conf *conf)
{
	struct fake_guest *f = mem_zalloc(sizeof(*f));
	size_t words;

	assert(f);
	f->g.ops = &fake_ops;
	f->conf = *conf;
	describe(f);
	words = guest_bitmap_words(&f->g);
	f->mem = mem_array(f->g.info.p2m_pages, GUEST_PAGE_SIZE);
	f->g.present = mem_array(words, sizeof(uint64_t));
	f->dirty = mem_array(words, sizeof(uint64_t));
	f->behind = mem_array(words, sizeof(uint64_t));
	f->plugged = mem_array(words, sizeof(uint64_t));
	f->context = mem_zalloc(f->g.info.state_max);
	assert(f->mem && f->g.present && f->dirty && f->behind && f->plugged && f->context);
	f->g.mem = f->mem;
	dirty_fill(f->g.present, words, conf->ram_pages);
	for (size_t i = 0; i < ARRAY_SIZE(conf->special) && conf->special[i]; i++) {
		assert(conf->special[i] < f->g.info.p2m_pages);
		dirty_set(f->g.present, conf->special[i]);
	}
	f->g.present_pages = dirty_count(f->g.present, words);
	f->g.info.tot_pages = f->g.present_pages;
	f->g.info.max_kib = f->g.present_pages * (GUEST_PAGE_SIZE / 1024);
	f->health = GUEST_HEALTH_RUNNING;
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(f->event_fd >= 0);
	pthread_mutex_init(&f->lock, NULL);
	report(f);
	return &f->g;
}

/* ---- the guest's own doings ---- */

void fake_guest_write(struct guest *g, uint64_t pfn, size_t offset, const void *data, size_t len)
{
	struct fake_guest *f = fake(g);

	assert(!f->suspended);
	assert(pfn < g->info.p2m_pages &&
	       (dirty_test(g->present, pfn) || dirty_test(f->plugged, pfn)));
	assert(offset <= GUEST_PAGE_SIZE && len <= GUEST_PAGE_SIZE - offset);
	if (len > 0)
		memcpy(f->mem + pfn * GUEST_PAGE_SIZE + offset, data, len);
	f->writes++;
	if (f->log_on)
		dirty_set(f->dirty, pfn);
}

void fake_guest_scribble(struct guest *g, unsigned int n, uint64_t *seed)
{
	const size_t words = guest_bitmap_words(g);

	for (unsigned int i = 0; i < n; i++) {
		uint64_t pfn;

		*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		pfn = dirty_next(g->present, words, (*seed >> 33) % g->info.p2m_pages);
		if (pfn == UINT64_MAX)
			pfn = dirty_next(g->present, words, 0);
		fake_guest_write(g, pfn, (*seed >> 20) % 512 * 8, seed, sizeof(*seed));
	}
}

void fake_guest_write_behind(struct guest *g, uint64_t pfn)
{
	struct fake_guest *f = fake(g);

	assert(dirty_test(g->present, pfn));
	f->mem[pfn * GUEST_PAGE_SIZE] ^= 0xff;
	f->writes++;
	if (f->log_on)
		dirty_set(f->behind, pfn);
}

/* ---- what goes wrong ---- */

static void script(struct guest *g, struct script s)
{
	struct fake_guest *f = fake(g);

	assert(f->n_script < SCRIPT_MAX);
	f->script[f->n_script++] = s;
}

void fake_guest_script(struct guest *g, enum suspend_outcome outcome, enum guest_shutdown reason)
{
	script(g, (struct script){.outcome = outcome, .reason = reason});
}

void fake_guest_script_late(struct guest *g)
{
	script(g, (struct script){.outcome = SUSPEND_TIMEOUT, .late = true});
}

void fake_guest_fail(struct guest *g, enum fake_op op, int rc, unsigned int after, unsigned int n)
{
	fake(g)->fault[op] = (struct fault){.rc = rc, .after = after, .n = n};
}

void fake_guest_plug(struct guest *g, uint64_t pfn)
{
	struct fake_guest *f = fake(g);

	assert(pfn < g->info.p2m_pages && !dirty_test(g->present, pfn));
	dirty_set(f->plugged, pfn);
	fake_guest_write(g, pfn, 0, &pfn, sizeof(pfn));
}

void fake_guest_balloon(struct guest *g)
{
	fake(g)->changed = true;
}

void fake_guest_end(struct guest *g, enum guest_health health, enum guest_shutdown reason)
{
	fake(g)->health = health;
	fake(g)->reason = reason;
}

void fake_guest_event(struct guest *g, enum guest_event_type ev)
{
	struct fake_guest *f = fake(g);
	const uint64_t one = 1;
	autolock(&f->lock);

	assert(f->n_events < SCRIPT_MAX);
	f->event[f->n_events++] = ev;
	if (write(f->event_fd, &one, sizeof(one)) != sizeof(one))
		assert(!"eventfd is full");
}

/* ---- what the test may ask ---- */

bool fake_guest_suspended(const struct guest *g)
{
	return fake_const(g)->suspended;
}

unsigned int fake_guest_cap(const struct guest *g)
{
	return fake_const(g)->cap;
}

uint64_t fake_guest_writes(const struct guest *g)
{
	return fake_const(g)->writes;
}

uint64_t fake_guest_digest(const struct guest *g)
{
	return fake_guest_digest_of(g, fake_const(g)->mem);
}

uint64_t fake_guest_digest_of(const struct guest *g, const unsigned char *copy)
{
	const size_t words = guest_bitmap_words(g);
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	uint64_t pfn;

	for (pfn = dirty_next(g->present, words, 0); pfn != UINT64_MAX;
	     pfn = dirty_next(g->present, words, pfn + 1)) {
		const unsigned char *page = copy + pfn * GUEST_PAGE_SIZE;

		h = (h ^ pfn) * UINT64_C(0x100000001b3);
		for (size_t i = 0; i < GUEST_PAGE_SIZE; i += sizeof(uint64_t)) {
			uint64_t w;

			memcpy(&w, page + i, sizeof(w));
			h = (h ^ w) * UINT64_C(0x100000001b3);
			h ^= h >> 29;
		}
	}
	return h;
}
