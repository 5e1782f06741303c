// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's memory: the persistent read-only mapping and the dirty log. Data thread.
 *
 * The mapping holds a reference on every frame that the guest owns. A frame that the guest gives away while
 * we map it stays counted as the guest's, so a guest frame number can only get another frame by the count
 * of frames rising. That is why comparing the count (tot_pages) at each suspension is enough to know that
 * the mapping shows what the guest sees; for that, every frame that was counted must have been mapped.
 *
 * The dirty log has one owner only in our minds: the hypervisor lets any toolstack clean it. So at each
 * fetch a page that nobody uses (the canary) is marked dirty after the cleaning; if it is not in the next
 * bitmap, somebody else has cleaned in between and what he took is lost.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

#define NO_CANARY UINT64_MAX
#define MAP_TRIES 4
/* Frames that one fetch of late pages looks at. */
#define LATE_MAX XEN_BATCH

/* Which of x->s->gfn[0..n-1] are memory: replaces each by 1 or 0. */
static int classify(struct xen_guest *x, size_t n)
{
	struct xen_domctl_getpageframeinfo3 *info = &x->s->op.u.getpageframeinfo3;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_getpageframeinfo3;
	info->num = n;
	set_xen_guest_handle_raw(info->array, x->s->gfn);
	rc = xen_domctl(x);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		uint64_t type = x->s->gfn[i] & XEN_DOMCTL_PFINFO_LTAB_MASK;

		x->s->gfn[i] = type != XEN_DOMCTL_PFINFO_XTAB && type != XEN_DOMCTL_PFINFO_BROKEN;
	}
	return 0;
}

/* Maps guest frames first to end-1 at their place; present bits of those that cannot be are cleared. */
static int map_range(struct xen_guest *x, uint64_t first, uint64_t end)
{
	unsigned char *at = x->map + first * GUEST_PAGE_SIZE;
	size_t n = end - first;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		x->s->gfn[i] = first + i;
	if (!xenforeignmemory_map2(x->fmem, x->g.info.domid, at, PROT_READ, MAP_FIXED, n, x->s->gfn,
				   x->map_err)) {
		rc = -errno;
		/* The library has torn a hole into the reservation. */
		if (mmap(at, n * GUEST_PAGE_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			die("cannot reserve the guest's address range again: %s", strerror(errno));
		memset(x->map_err, 0xff, n * sizeof(*x->map_err));
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = first + i;

		if (x->map_err[i] != 0)
			x->g.present[pfn / 64] &= ~(UINT64_C(1) << (pfn % 64));
	}
	return rc;
}

/* Finds and maps what is memory in one batch that begins at pfn. Adds to present_pages. */
static int map_batch(struct xen_guest *x, uint64_t pfn, uint64_t n)
{
	uint64_t first = UINT64_MAX;
	uint64_t end = 0;
	int rc;

	for (uint64_t i = 0; i < n; i++)
		x->s->gfn[i] = pfn + i;
	rc = classify(x, n);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		if (!x->s->gfn[i])
			continue;
		if (first == UINT64_MAX)
			first = pfn + i;
		end = pfn + i + 1;
		x->g.present[(pfn + i) / 64] |= UINT64_C(1) << ((pfn + i) % 64);
	}
	if (first == UINT64_MAX)
		return 0;
	rc = map_range(x, first, end);
	for (uint64_t i = first; i < end; i++)
		x->g.present_pages += x->g.present[i / 64] >> (i % 64) & 1;
	return rc;
}

static int map_all(struct xen_guest *x, struct err *e)
{
	uint64_t before;
	int rc;

	rc = xen_info(x);
	if (rc < 0)
		return err_set(e, rc, "ask how much memory the guest has");
	before = x->s->op.u.getdomaininfo.tot_pages;
	memset(x->g.present, 0, guest_bitmap_words(&x->g) * sizeof(uint64_t));
	x->g.present_pages = 0;
	for (uint64_t pfn = 0; pfn < x->map_pages; pfn += XEN_BATCH) {
		rc = map_batch(x, pfn, MIN((uint64_t)XEN_BATCH, x->map_pages - pfn));
		if (rc < 0)
			return err_set(e, rc, "map guest frames from 0x%llx on",
				       (unsigned long long)pfn);
	}
	rc = xen_info(x);
	if (rc < 0)
		return err_set(e, rc, "ask how much memory the guest has");
	x->base_pages = x->s->op.u.getdomaininfo.tot_pages;
	x->g.info.tot_pages = x->base_pages;
	return before == x->base_pages ? 0 : -EAGAIN;
}

static int reserve(struct xen_guest *x, struct err *e)
{
	xen_pfn_t frames;
	void *map;
	int rc;

	if (xc_domain_nr_gpfns(x->xch, x->g.info.domid, &frames) < 0)
		return err_set(e, -errno, "ask for the guest's highest frame");
	x->g.info.p2m_pages = frames;
	x->map_pages = frames;
	map = mmap(NULL, x->map_pages * GUEST_PAGE_SIZE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		x->map_pages = 0;
		return err_set(e, -errno, "reserve address space for %llu guest frames",
			       (unsigned long long)frames);
	}
	x->map = map;
	x->g.mem = map;
	x->g.present = mem_array(guest_bitmap_words(&x->g), sizeof(uint64_t));
	x->map_err = mem_array(XEN_BATCH, sizeof(*x->map_err));
	if (!x->g.present || !x->map_err)
		return err_set(e, -ENOMEM, "bitmaps of %llu pages", (unsigned long long)frames);
	rc = xen_buffer_alloc(x, &x->bitmap_buf, guest_bitmap_words(&x->g) * sizeof(uint64_t));
	return rc < 0 ? err_set(e, rc, "bitmap of %llu pages", (unsigned long long)frames) : 0;
}

/* A ring page of an interface that is not in use; the toolstack makes it for every guest. */
static void choose_canary(struct xen_guest *x)
{
	static const uint32_t unused[] = {
		HVM_PARAM_SHARING_RING_PFN,
		HVM_PARAM_MONITOR_RING_PFN,
		HVM_PARAM_PAGING_RING_PFN,
	};
	uint64_t pfn;

	x->canary = NO_CANARY;
	for (size_t i = 0; i < ARRAY_SIZE(unused); i++) {
		if (xen_hvm_param(x, unused[i], &pfn) < 0 || pfn == 0 ||
		    pfn + 1 >= x->g.info.p2m_pages || !guest_page(&x->g, pfn))
			continue;
		x->canary = pfn;
		return;
	}
}

int xen_memory_map(struct xen_guest *x, struct err *e)
{
	int rc;

	rc = reserve(x, e);
	for (int i = 0; rc == 0 && i < MAP_TRIES; i++) {
		rc = map_all(x, e);
		if (rc != -EAGAIN)
			break;
		rc = i + 1 == MAP_TRIES
			     ? err_setx(e, -EAGAIN, "the guest's memory changes size all the time")
			     : 0;
	}
	if (rc < 0) {
		xen_memory_unmap(x);
		return rc;
	}
	choose_canary(x);
	x->canary_set = false;
	return 0;
}

void xen_memory_unmap(struct xen_guest *x)
{
	if (x->map && munmap(x->map, x->map_pages * GUEST_PAGE_SIZE) < 0)
		die("cannot unmap the guest: %s", strerror(errno));
	x->map = NULL;
	x->map_pages = 0;
	x->g.mem = NULL;
	x->g.present_pages = 0;
	mem_free(take_ptr(&x->g.present));
	mem_free(take_ptr(&x->map_err));
	xen_buffer_free(x, &x->bitmap_buf);
}

/* ---- the dirty log ---- */

int xen_logdirty_enable(struct guest *g, struct err *e)
{
	struct xen_guest *x = xen_guest_of(g);
	int rc;

	rc = xen_shadow_op(x, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
	if (rc == -EINVAL)
		return err_setx(
			e, -EBUSY,
			"the guest's dirty log is in use: it is being migrated, or a worker "
			"died and left it on");
	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		return err_setx(e, -EOPNOTSUPP,
				"this hypervisor keeps no dirty log for a guest of this kind");
	if (rc < 0)
		return err_set(e, rc, "switch the guest's dirty log on");
	x->log_on = true;
	x->log_failed = false;
	x->canary_set = false;
	return 0;
}

void xen_logdirty_disable(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);

	/* It fails when the guest is gone or somebody else has done it: as good. */
	if (x->log_on)
		(void)!xen_shadow_op(x, XEN_DOMCTL_SHADOW_OP_OFF);
	x->log_on = false;
	x->canary_set = false;
}

/* [pause] True when it is marked: it must then be in the next bitmap. */
static bool mark_canary(struct xen_guest *x)
{
	struct xen_scratch *s = x->s;

	if (x->canary == NO_CANARY)
		return false;
	s->dm = (struct xen_dm_op){
		.op = XEN_DMOP_modified_memory,
		.u.modified_memory = {.nr_extents = 1},
	};
	s->extent = (struct xen_dm_op_modified_memory_extent){
		.nr = 1,
		.first_pfn = x->canary,
	};
	set_xen_guest_handle_raw(s->dm_buf[0].h, &s->dm);
	s->dm_buf[0].size = sizeof(s->dm);
	set_xen_guest_handle_raw(s->dm_buf[1].h, &s->extent);
	s->dm_buf[1].size = sizeof(s->extent);
	return xencall3(x->call, __HYPERVISOR_dm_op, x->g.info.domid, 2, (uintptr_t)s->dm_buf) == 0;
}

/* [pause] */
static int clean(struct xen_guest *x, bool final)
{
	struct xen_domctl_shadow_op *op = &x->s->op.u.shadow_op;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_shadow_op;
	memset(op, 0, sizeof(*op));
	op->op = XEN_DOMCTL_SHADOW_OP_CLEAN;
	op->mode = final ? XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL : 0;
	op->pages = x->g.info.p2m_pages;
	set_xen_guest_handle_raw(op->dirty_bitmap, x->bitmap_buf.data);
	rc = xen_domctl(x);
	if (rc < 0)
		return rc;
	return op->pages == x->g.info.p2m_pages ? 0 : -ENODATA;
}

int xen_dirty_fetch(struct guest *g, bool final, uint64_t *bitmap)
{
	struct xen_guest *x = xen_guest_of(g);
	const uint64_t *got = x->bitmap_buf.data;
	const size_t words = guest_bitmap_words(g);
	bool stolen;
	int rc;

	if (!x->log_on || x->log_failed)
		return -ESTALE;
	rc = clean(x, final);
	/* EINVAL: switched off; ENOMEM: the hypervisor could not note all; ENODATA: nothing noted at all. */
	if (rc == -EINVAL || rc == -ENOMEM || rc == -ENODATA) {
		x->log_failed = true;
		g->counters.log_stolen++;
		return -ESTALE;
	}
	if (rc < 0)
		return rc;
	stolen = x->canary_set && !(got[x->canary / 64] >> (x->canary % 64) & 1);
	x->canary_set = mark_canary(x);
	/* Most words are empty, and the caller's bitmap is best left alone there. */
	for (size_t i = 0; i < words; i++)
		if (got[i])
			bitmap[i] |= got[i];
	if (!stolen)
		return 0;
	x->log_failed = true;
	g->counters.log_stolen++;
	return -ESTALE;
}

/* ---- pages that were not there at first ---- */

static int map_one(struct xen_guest *x, uint64_t pfn)
{
	uint64_t bit = UINT64_C(1) << (pfn % 64);
	int rc;

	x->g.present[pfn / 64] |= bit;
	rc = map_range(x, pfn, pfn + 1);
	if (rc < 0 || !(x->g.present[pfn / 64] & bit))
		return 0;
	x->g.present_pages++;
	x->g.counters.hole_mapped++;
	return 1;
}

int xen_map_late(struct guest *g, const uint64_t *bitmap)
{
	struct xen_guest *x = xen_guest_of(g);
	const size_t words = guest_bitmap_words(g);
	uint64_t late[LATE_MAX];
	size_t n = 0;
	int mapped = 0;
	int rc;

	for (size_t i = 0; i < words; i++) {
		uint64_t w = bitmap[i] & ~g->present[i];

		for (; w && n < LATE_MAX; w &= w - 1)
			late[n++] = i * 64 + (uint64_t)__builtin_ctzll(w);
	}
	g->counters.hole_dirty += n;
	if (n == 0)
		return 0;
	memcpy(x->s->gfn, late, n * sizeof(late[0]));
	rc = classify(x, n);
	if (rc < 0)
		return rc;
	/* map_one() uses the same scratch: keep the answer. */
	for (size_t i = 0; i < n; i++)
		late[i] = x->s->gfn[i] ? late[i] : UINT64_MAX;
	for (size_t i = 0; i < n; i++)
		if (late[i] != UINT64_MAX)
			mapped += map_one(x, late[i]);
	return mapped;
}
