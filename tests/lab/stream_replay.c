/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream_replay: brings a guest that `xl save` wrote to a file back to life the way a backup does. Runs in a
 * dom0. The file is taken apart, and through apply, standby and announce it becomes
 *
 *	epoch 0		all pages, but each SPOIL_EVERYth one filled with rubbish
 *	epoch 1		these pages as they are: a guest that runs proves that it was applied
 *	epoch 2		nothing but state
 *	epoch 3		rubbish again, collected and never committed
 *
 * and then the stream is closed and the standby told to run. With --go it waits for a line on its input
 * before that. --abandon copy|standing|built gives the standby up at that point instead. --edit OLD=NEW
 * changes the configuration wherever it says OLD.
 *
 * One line at the end: replay: pages= feed_ms= drain_ms= built_ms= running_ms= frames= domid=
 * Times count from the closing of the stream, except feed and drain. With --abandon: replay: gone_ms=
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/rd.h"
#include "lib/wire_v1.h"
#include "replicator/announce.h"
#include "replicator/apply.h"
#include "replicator/standby.h"

#define SPOIL_EVERY 16
#define MAX_PAGES (UINT32_C(1) << 20)
#define PATIENCE_NS (UINT64_C(120) * NS_PER_SEC)
#define MAGIC "Xen saved domain, xl format\n \0 \r"

/* What was found in the file; pointers into its mapping. */
struct saved {
	const char *json;
	size_t json_size;
	uint32_t xen_major, xen_minor;
	uint32_t n_pages;
	uint64_t mem_pages;
	uint64_t *pfn;
	const uint8_t **page;
	struct wire_static cpu;
	struct wire_state tsc, params, hvm;
};

struct options {
	const char *file;
	const char *program;
	const char *name;
	const char *abandon;
	const char *edit;
	bool go;
};

struct replay {
	struct standby *s;
	struct apply *ap;
	struct announce *a;
	uint32_t domid;
	uint64_t closed, built, running, gone;
	int frames;
};

static void fail(const char *what, const struct err *e)
{
	fprintf(stderr, "stream_replay: %s%s%s\n", what, e ? ": " : "", e ? e->text : "");
	exit(1);
}

/* ---- the file -------------------------------------------------------------- */

static void take_pages(struct saved *v, struct rd body)
{
	uint32_t n = rd_u32(&body);
	struct rd pfns;

	rd_zero(&body, 4);
	pfns = rd_sub(&body, (size_t)n * 8);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t word = rd_u64(&pfns);
		uint64_t pfn = word & (((uint64_t)1 << 52) - 1);

		if (word >> 60) {
			if (word >> 60 < 0xd)
				fail("a page of another type than ordinary", NULL);
			continue;
		}
		if (v->n_pages == MAX_PAGES)
			fail("too many pages", NULL);
		v->pfn[v->n_pages] = pfn;
		v->page[v->n_pages++] = rd_ptr(&body, 4096);
		v->mem_pages = MAX(v->mem_pages, pfn + 1);
	}
	if (!rd_done(&body) || !rd_ok(&pfns))
		fail("broken PAGE_DATA", NULL);
}

static void take_cpu(struct saved *v, uint32_t type, struct rd body)
{
	while (rd_left(&body) >= 16) {
		if (type == 0x11 && v->cpu.n_leaves < WIRE_MAX_LEAVES) {
			struct wire_leaf *l = &v->cpu.leaf[v->cpu.n_leaves++];

			l->leaf = rd_u32(&body);
			l->subleaf = rd_u32(&body);
			l->a = rd_u32(&body);
			l->b = rd_u32(&body);
			l->c = rd_u32(&body);
			l->d = rd_u32(&body);
		} else if (type == 0x12 && v->cpu.n_msrs < WIRE_MAX_MSRS) {
			struct wire_msr *m = &v->cpu.msr[v->cpu.n_msrs++];

			m->index = rd_u32(&body);
			m->flags = rd_u32(&body);
			m->value = rd_u64(&body);
		} else {
			fail("too much about the CPU", NULL);
		}
	}
}

static void take_state(struct saved *v, uint32_t type, struct rd body)
{
	struct wire_state *s;

	switch (type) {
	case 0x08:
		s = &v->tsc;
		s->kind = WIRE_TSC_INFO;
		s->tsc.mode = rd_u32(&body);
		s->tsc.khz = rd_u32(&body);
		s->tsc.nsec = rd_u64(&body);
		s->tsc.incarnation = rd_u32(&body);
		break;
	case 0x09:
		s = &v->hvm;
		s->kind = WIRE_HVM_CONTEXT;
		s->hvm.size = rd_left(&body);
		s->hvm.data = rd_ptr(&body, s->hvm.size);
		break;
	case 0x0a:
		s = &v->params;
		s->kind = WIRE_HVM_PARAMS;
		s->n_params = rd_u32(&body);
		rd_zero(&body, 4);
		for (uint32_t i = 0; i < s->n_params && i < WIRE_MAX_PARAMS; i++) {
			s->param[i].index = rd_u64(&body);
			s->param[i].value = rd_u64(&body);
		}
		break;
	default:
		fprintf(stderr, "stream_replay: record of type %#x is skipped\n", type);
	}
}

static void take_records(struct saved *v, struct rd *r)
{
	for (;;) {
		uint32_t type = rd_u32(r);
		uint32_t size = rd_u32(r);
		struct rd body = rd_sub(r, size);

		rd_skip(r, -size & 7);
		if (!rd_ok(r))
			fail("the file ends in a record", NULL);
		if (type == 0) {
			break;
		} else if (type == 0x01) {
			take_pages(v, body);
		} else if (type == 0x11 || type == 0x12) {
			take_cpu(v, type, body);
		} else if (type != 0x10) {
			take_state(v, type, body);
		}
	}
	if (!v->n_pages || !v->tsc.kind || !v->hvm.kind || !v->params.kind)
		fail("something is missing in the file", NULL);
}

static void load(struct saved *v, const char *path)
{
	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const void *map;
	struct rd r;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(path, NULL);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	v->pfn = mem_array(MAX_PAGES, sizeof(v->pfn[0]));
	v->page = mem_array(MAX_PAGES, sizeof(v->page[0]));
	if (map == MAP_FAILED || !v->pfn || !v->page)
		fail("no memory", NULL);
	r = rd_init(map, (size_t)st.st_size);
	/* xl's own header, its optional data, and the configuration in it. */
	if (memcmp(rd_ptr(&r, 32), MAGIC, 32) != 0 || rd_u32(&r) != 0x01020304 || rd_u32(&r) != 3)
		fail("not a file of xl save", NULL);
	rd_skip(&r, 4);
	r = (struct rd){.p = r.p + 4, .left = r.left - 4};
	v->json_size = rd_u32(&r);
	v->json = (const char *)rd_ptr(&r, v->json_size);
	if (!v->json)
		fail("no configuration in the file", NULL);
	v->json_size = strnlen(v->json, v->json_size);
	/* libxl's header, LIBXC_CONTEXT, libxc's image header. */
	rd_skip(&r, 16 + 8 + 24);
	if (rd_u32(&r) != 2 || rd_u16(&r) != 12)
		fail("not a PVH guest", NULL);
	rd_zero(&r, 2);
	v->xen_major = rd_u32(&r);
	v->xen_minor = rd_u32(&r);
	take_records(v, &r);
}

static void edit(struct saved *v, const char *rule)
{
	const char *to = strchr(rule, '=') + 1;
	size_t len = (size_t)(to - 1 - rule);
	char *json = mem_zalloc(2 * WIRE_CONFIG_MAX);
	size_t n = 0;

	if (!json)
		fail("no memory", NULL);
	for (size_t i = 0; i < v->json_size && n < WIRE_CONFIG_MAX;) {
		if (v->json_size - i >= len && memcmp(v->json + i, rule, len) == 0) {
			n += (size_t)snprintf(json + n, WIRE_CONFIG_MAX, "%s", to);
			i += len;
		} else {
			json[n++] = v->json[i++];
		}
	}
	v->json = json;
	v->json_size = n;
}

/* ---- the standby ----------------------------------------------------------- */

static void announce(struct replay *p, const struct standby_event *ev)
{
	struct err e = ERR_INIT;

	if (announce_new(&p->a, &e) < 0)
		fail("announce", &e);
	for (uint32_t i = 0; i < ev->n_vifs; i++) {
		if (announce_add(p->a, ev->vif[i].name, ev->vif[i].bridge, ev->vif[i].mac, NULL,
				 &e) < 0)
			fail("announce", &e);
	}
	announce_start(p->a, clock_now());
}

static void take_event(struct replay *p, const struct standby_event *ev)
{
	uint64_t now = clock_now();

	switch (ev->type) {
	case STANDBY_BUILT:
		p->built = now;
		break;
	case STANDBY_RUNNING:
		p->running = now;
		p->domid = ev->domid;
		announce(p, ev);
		break;
	case STANDBY_GONE:
		p->gone = now;
		break;
	case STANDBY_NAME_TAKEN:
	case STANDBY_FAILED:
	case STANDBY_LOST:
	case STANDBY_LEFT:
		fprintf(stderr, "stream_replay: %s\n", ev->text);
		exit(1);
	case STANDBY_ENDED:
	case STANDBY_UNWATCHED:
	case STANDBY_NOTHING:
		break;
	}
}

/* Serves timers and events until *until is set, or for the announcement until it is through. */
static void serve(struct replay *p, const uint64_t *until)
{
	uint64_t give_up = clock_now() + PATIENCE_NS;
	struct pollfd fd = {.fd = standby_fd(p->s), .events = POLLIN};

	while (until ? !*until : announce_deadline(p->a) != CLOCK_NEVER) {
		uint64_t next = MIN(standby_deadline(p->s), give_up);
		struct standby_event ev;
		struct err e = ERR_INIT;
		int n;

		standby_step(p->s, clock_now(), &ev);
		take_event(p, &ev);
		if (ev.type != STANDBY_NOTHING)
			continue;
		n = p->a ? announce_step(p->a, clock_now(), &e) : 0;
		if (n < 0)
			fail("announce", &e);
		p->frames += n;
		if (clock_now() > give_up)
			fail("no patience left", NULL);
		next = p->a ? MIN(next, announce_deadline(p->a)) : next;
		poll(&fd, 1, clock_poll_ms(clock_until(next, clock_now())));
	}
}

/* ---- epochs ---------------------------------------------------------------- */

/* The standby knows better why. */
static void feeding_failed(struct replay *p, const struct err *e)
{
	static const uint64_t never;

	fprintf(stderr, "stream_replay: %s\n", e->text);
	serve(p, &never);
}

static void put_page(struct replay *p, uint64_t pfn, const uint8_t *page)
{
	static const uint8_t rubbish[4096] = {[0 ... 4095] = 0xcc};
	struct err e = ERR_INIT;

	if (apply_page(p->ap, pfn, page ? page : rubbish, &e) < 0)
		feeding_failed(p, &e);
}

static void put_state(struct replay *p, const struct saved *v)
{
	struct err e = ERR_INIT;

	if (apply_state(p->ap, &v->hvm, &e) < 0 || apply_state(p->ap, &v->tsc, &e) < 0 ||
	    apply_state(p->ap, &v->params, &e) < 0)
		feeding_failed(p, &e);
}

static void commit(struct replay *p, const struct saved *v, uint64_t epoch)
{
	struct err e = ERR_INIT;

	put_state(p, v);
	if (apply_seal(p->ap, epoch, &e) < 0 || apply_commit(p->ap, epoch, &e) < 0)
		feeding_failed(p, &e);
}

static void feed_first(struct replay *p, const struct saved *v)
{
	struct err e = ERR_INIT;

	if (apply_static(p->ap, &v->cpu, &e) < 0)
		feeding_failed(p, &e);
	for (uint32_t i = 0; i < v->n_pages; i++)
		put_page(p, v->pfn[i], i % SPOIL_EVERY ? v->page[i] : NULL);
}

static void feed_epochs(struct replay *p, const struct saved *v)
{
	for (uint32_t i = 0; i < v->n_pages; i += SPOIL_EVERY)
		put_page(p, v->pfn[i], v->page[i]);
	commit(p, v, 1);
	commit(p, v, 2);
	for (uint32_t i = 0; i < v->n_pages; i += SPOIL_EVERY)
		put_page(p, v->pfn[i], NULL);
	put_state(p, v);
}

static uint64_t drain(const struct replay *p)
{
	uint64_t start = clock_now();
	struct pollfd none = {.fd = -1};
	struct err e = ERR_INIT;
	int rc;

	while ((rc = apply_drained(p->ap, &e)) != 0) {
		if (rc != -EAGAIN)
			fail("the stream", &e);
		if (clock_now() > start + PATIENCE_NS)
			fail("the standby does not read", NULL);
		poll(&none, 1, 1);
	}
	return clock_now() - start;
}

static void give_up_at(struct replay *p, const struct options *o, const char *point)
{
	uint64_t start = clock_now();
	struct err e = ERR_INIT;

	if (!o->abandon || strcmp(o->abandon, point) != 0)
		return;
	if (standby_abandon(p->s, start, &e) < 0)
		fail("abandon", &e);
	serve(p, &p->gone);
	printf("replay: gone_ms=%llu\n", (unsigned long long)((p->gone - start) / NS_PER_MS));
	exit(0);
}

static void start(struct replay *p, const struct options *o, const struct saved *v)
{
	const struct standby_conf sc = {
		.program = o->program,
		.vm = o->name,
		.json = v->json,
		.json_size = v->json_size,
	};
	struct apply_conf ac = {
		.arena_pages = v->n_pages / SPOIL_EVERY + 1,
		.mem_pages = v->mem_pages,
		.xen_major = v->xen_major,
		.xen_minor = v->xen_minor,
		.stall_ns = 30 * NS_PER_SEC,
		.wake_fd = -1,
	};
	struct err e = ERR_INIT;
	int stream;

	if (standby_start(&p->s, &sc, &stream, &e) < 0)
		fail("standby", &e);
	ac.wake_fd = standby_fd(p->s); /* its death, above all */
	if (apply_new_take(&p->ap, &ac, stream, &e) < 0)
		fail("apply", &e);
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"file", required_argument, NULL, 'f'},
		{"program", required_argument, NULL, 'p'},
		{"name", required_argument, NULL, 'n'},
		{"abandon", required_argument, NULL, 'a'},
		{"edit", required_argument, NULL, 'e'},
		{"go", no_argument, NULL, 'g'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.name = "g1"};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'f')
			o->file = optarg;
		else if (c == 'p')
			o->program = optarg;
		else if (c == 'n')
			o->name = optarg;
		else if (c == 'a')
			o->abandon = optarg;
		else if (c == 'e' && strchr(optarg, '=') > optarg)
			o->edit = optarg;
		else if (c == 'g')
			o->go = true;
		else
			exit(2);
	}
	if (!o->file || optind != argc) {
		fprintf(stderr, "usage: stream_replay --file FILE [--name VM] [--program PATH] "
				"[--abandon copy|standing|built] [--go] [--edit OLD=NEW]\n");
		exit(2);
	}
}

static unsigned long long since(uint64_t then, uint64_t now)
{
	return (unsigned long long)((now - then) / NS_PER_MS);
}

int main(int argc, char **argv)
{
	static struct saved v;
	struct replay p = {.s = NULL};
	struct options o;
	struct err e = ERR_INIT;
	uint64_t begun;
	uint64_t fed;
	uint64_t drained;

	parse(argc, argv, &o);
	load(&v, o.file);
	if (o.edit)
		edit(&v, o.edit);
	start(&p, &o, &v);
	begun = clock_now();
	feed_first(&p, &v);
	give_up_at(&p, &o, "copy");
	commit(&p, &v, 0);
	feed_epochs(&p, &v);
	fed = clock_now();
	drained = drain(&p);
	give_up_at(&p, &o, "standing");
	printf("standing\n");
	fflush(stdout);
	if (o.go && getchar() != '\n')
		fail("nobody said go", NULL);
	p.closed = clock_now();
	if (apply_finish(p.ap, &e) < 0)
		fail("finish", &e);
	if (!o.abandon && standby_run(p.s, &e) < 0)
		fail("run", &e);
	serve(&p, &p.built);
	give_up_at(&p, &o, "built");
	serve(&p, &p.running);
	serve(&p, NULL);
	printf("replay: pages=%u feed_ms=%llu drain_ms=%llu built_ms=%llu running_ms=%llu frames=%d "
	       "domid=%u\n",
	       v.n_pages, since(begun, fed), (unsigned long long)(drained / NS_PER_MS),
	       since(p.closed, p.built), since(p.closed, p.running), p.frames, p.domid);
	announce_free(p.a);
	apply_free(p.ap);
	standby_free(p.s);
	return 0;
}
