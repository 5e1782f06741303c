/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See flight.h. A record that a crash tore, or that is being written while it is read, has a wrong digest. */
#include "lib/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wr.h"

#define MAGIC UINT64_C(0x544847494c464d52) /* "RMFLIGHT" */
#define VERSION 1
#define SIDE_SIZE 16
#define HEADER_USED (8 + 3 * 4 + 4 + 2 * 8 + NAME_SIZE + SIDE_SIZE)

struct flight {
	char path[FLIGHT_PATH_SIZE];
	uint8_t *map;
	uint64_t
		next; /* sequence number of the next record, from 1 on; slot (n - 1) % FLIGHT_SLOTS */
	uint32_t session;
	struct flight_epoch epoch[FLIGHT_SLOTS];
};

static const char *const phase_names[FLIGHT_PHASES] = {
	[FLIGHT_REQUEST] = "request", [FLIGHT_SWITCH] = "switch", [FLIGHT_BITMAP] = "bitmap",
	[FLIGHT_COPY] = "copy",	      [FLIGHT_STATE] = "state",	  [FLIGHT_RESUME] = "resume",
	[FLIGHT_PAUSE] = "pause",     [FLIGHT_SEND] = "send",	  [FLIGHT_ACK] = "ack",
	[FLIGHT_RELEASE] = "release", [FLIGHT_COMMIT] = "commit", [FLIGHT_APPLY] = "apply",
};

const char *flight_phase_name(enum flight_phase p)
{
	return phase_names[p];
}

int flight_path(char path[FLIGHT_PATH_SIZE], const char *run_dir, const char *vm, const char *side,
		struct err *e)
{
	int n = snprintf(path, FLIGHT_PATH_SIZE, "%s/%s.%s.flight", run_dir, vm, side);

	/* ".old" comes behind it. */
	if (n < 0 || n + 5 > FLIGHT_PATH_SIZE)
		return err_set(e, -ENAMETOOLONG, "%.64s", run_dir);
	return 0;
}

/* ---- to bytes and back ---- */

static void encode_head(uint8_t *out, const struct flight_head *h)
{
	struct wr w = wr_init(out, FLIGHT_HEADER_SIZE);

	wr_u64(&w, MAGIC);
	wr_u32(&w, VERSION);
	wr_u32(&w, FLIGHT_SLOTS);
	wr_u32(&w, FLIGHT_PHASES);
	wr_u32(&w, h->pid);
	wr_u64(&w, h->began_ns);
	wr_u64(&w, h->wall_us);
	wr_bytes(&w, h->vm, NAME_SIZE);
	wr_bytes(&w, h->side, SIDE_SIZE);
	wr_zero(&w, FLIGHT_HEADER_SIZE - HEADER_USED - 8);
	wr_u64(&w, digest_of(out, FLIGHT_HEADER_SIZE - 8));
	assert(wr_ok(&w) && !wr_left(&w));
}

static int decode_head(struct flight_head *h, const uint8_t *data, struct err *e)
{
	struct rd r = rd_init(data, FLIGHT_HEADER_SIZE);
	uint64_t magic = rd_u64(&r);
	uint32_t version = rd_u32(&r);
	uint32_t slots = rd_u32(&r);
	uint32_t phases = rd_u32(&r);

	h->pid = rd_u32(&r);
	h->began_ns = rd_u64(&r);
	h->wall_us = rd_u64(&r);
	rd_bytes(&r, h->vm, NAME_SIZE);
	rd_bytes(&r, h->side, SIDE_SIZE);
	rd_zero(&r, FLIGHT_HEADER_SIZE - HEADER_USED - 8);
	if (magic != MAGIC)
		return err_setx(e, -EBADMSG, "this is no flight recorder");
	if (version != VERSION || slots != FLIGHT_SLOTS || phases != FLIGHT_PHASES)
		return err_setx(
			e, -EBADMSG,
			"a flight recorder of version %u with %u slots; version %u is known here",
			version, slots, VERSION);
	if (rd_u64(&r) != digest_of(data, FLIGHT_HEADER_SIZE - 8) || !rd_ok(&r) ||
	    !memchr(h->vm, 0, NAME_SIZE) || !name_ok(h->vm) || !memchr(h->side, 0, SIDE_SIZE) ||
	    !name_ok(h->side))
		return err_setx(e, -EBADMSG, "the flight recorder's head does not add up");
	return 0;
}

static void encode_record(uint8_t *out, uint64_t seq, const struct flight_epoch *f)
{
	struct wr w = wr_init(out, FLIGHT_RECORD_SIZE);

	wr_u64(&w, seq);
	wr_u64(&w, f->epoch);
	wr_u64(&w, f->at_ns);
	wr_u64(&w, f->step_ns);
	wr_u64(&w, f->bytes);
	wr_u32(&w, f->pages);
	wr_u32(&w, f->session);
	for (int i = 0; i < FLIGHT_PHASES; i++)
		wr_u32(&w, f->us[i]);
	wr_u64(&w, digest_of(out, FLIGHT_RECORD_SIZE - 8));
	assert(wr_ok(&w) && !wr_left(&w));
}

/* Its sequence number; 0: there is none, or it is torn. */
static uint64_t decode_record(struct flight_epoch *f, const uint8_t *data)
{
	struct rd r = rd_init(data, FLIGHT_RECORD_SIZE);
	uint64_t seq = rd_u64(&r);

	f->epoch = rd_u64(&r);
	f->at_ns = rd_u64(&r);
	f->step_ns = rd_u64(&r);
	f->bytes = rd_u64(&r);
	f->pages = rd_u32(&r);
	f->session = rd_u32(&r);
	for (int i = 0; i < FLIGHT_PHASES; i++)
		f->us[i] = rd_u32(&r);
	return rd_u64(&r) == digest_of(data, FLIGHT_RECORD_SIZE - 8) && rd_ok(&r) ? seq : 0;
}

/* ---- writing ---- */

static uint8_t *slot_of(const struct flight *f, uint64_t seq)
{
	return f->map + FLIGHT_HEADER_SIZE + (seq - 1) % FLIGHT_SLOTS * FLIGHT_RECORD_SIZE;
}

static void store(struct flight *f, uint64_t seq)
{
	uint8_t record[FLIGHT_RECORD_SIZE];

	encode_record(record, seq, &f->epoch[(seq - 1) % FLIGHT_SLOTS]);
	memcpy(slot_of(f, seq), record, sizeof(record));
}

/* What a worker before us left. Without an epoch in it nobody asks for it. */
static bool set_aside(const char *path)
{
	char old[FLIGHT_PATH_SIZE + 8];
	struct flight_view *v = mem_zalloc(sizeof(*v));
	struct err ignored = ERR_INIT;
	bool left = v && flight_read(v, path, &ignored) == 0 && v->n;

	mem_free(v);
	snprintf(old, sizeof(old), "%s.old", path);
	return left && rename(path, old) == 0;
}

/* On tmpfs a store into a hole ends the process when there is no memory left: so no holes. */
static int make_file(const char *path, uint8_t **map, struct err *e)
{
	autofd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	r = posix_fallocate(fd, 0, FLIGHT_FILE_SIZE);
	if (r)
		return err_set(e, -r, "set %d bytes aside for %s", FLIGHT_FILE_SIZE, path);
	*map = mmap(NULL, FLIGHT_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		    0);
	return *map == MAP_FAILED ? err_set(e, -errno, "map %s", path) : 0;
}

int flight_new(struct flight **out, const char *path, const struct flight_head *head, bool *left,
	       struct err *e)
{
	struct flight *f = mem_zalloc(sizeof(*f));
	int rc;

	*left = false;
	if (!f)
		return err_set(e, -ENOMEM, "flight recorder");
	f->next = 1;
	snprintf(f->path, sizeof(f->path), "%s", path);
	*left = set_aside(path);
	rc = make_file(path, &f->map, e);
	if (rc < 0) {
		(void)unlink(path);
		mem_free(f);
		return rc;
	}
	encode_head(f->map, head);
	*out = f;
	return 0;
}

void flight_free(struct flight *f, bool remove)
{
	if (!f)
		return;
	/* Without an epoch there is nothing to know either. */
	if (remove || f->next == 1)
		(void)unlink(f->path);
	munmap(f->map, FLIGHT_FILE_SIZE);
	mem_free(f);
}

void flight_session(struct flight *f)
{
	if (f)
		f->session++;
}

void flight_begin(struct flight *f, const struct flight_epoch *epoch)
{
	struct flight_epoch *mine;

	if (!f)
		return;
	mine = &f->epoch[(f->next - 1) % FLIGHT_SLOTS];
	*mine = *epoch;
	mine->session = f->session;
	mine->step_ns = epoch->at_ns;
	store(f, f->next++);
}

/* Its sequence number, 0: not there. Few are in flight, so the newest are looked at. */
static uint64_t find(const struct flight *f, uint64_t epoch)
{
	for (uint64_t seq = f->next; seq > 1 && f->next - seq < 16;) {
		const struct flight_epoch *mine = &f->epoch[(--seq - 1) % FLIGHT_SLOTS];

		if (mine->session == f->session && mine->epoch == epoch)
			return seq;
	}
	return 0;
}

void flight_step(struct flight *f, uint64_t epoch, enum flight_phase phase, uint64_t now)
{
	uint64_t seq = f ? find(f, epoch) : 0;
	struct flight_epoch *mine;

	if (!seq)
		return;
	mine = &f->epoch[(seq - 1) % FLIGHT_SLOTS];
	mine->us[phase] = (uint32_t)MIN(clock_until(now, mine->step_ns) / NS_PER_US,
					(uint64_t)FLIGHT_UNKNOWN - 1);
	mine->step_ns = now;
	store(f, seq);
}

void flight_bytes(struct flight *f, uint64_t epoch, uint64_t bytes)
{
	uint64_t seq = f ? find(f, epoch) : 0;

	if (!seq)
		return;
	f->epoch[(seq - 1) % FLIGHT_SLOTS].bytes = bytes;
	store(f, seq);
}

/* ---- reading ---- */

int flight_decode(struct flight_view *v, const void *data, size_t size, struct err *e)
{
	const uint8_t *p = data;
	uint64_t newest = 0;
	uint64_t seq[FLIGHT_SLOTS];
	struct flight_epoch one;
	int rc;

	v->n = v->torn = 0;
	if (size != FLIGHT_FILE_SIZE)
		return err_setx(e, -EBADMSG, "%zu bytes are no flight recorder", size);
	rc = decode_head(&v->head, p, e);
	if (rc < 0)
		return rc;
	p += FLIGHT_HEADER_SIZE;
	for (unsigned int i = 0; i < FLIGHT_SLOTS; i++) {
		const uint8_t *slot = p + (size_t)i * FLIGHT_RECORD_SIZE;

		seq[i] = decode_record(&one, slot);
		/* One that belongs elsewhere is as bad as a torn one. */
		if (seq[i] && (seq[i] - 1) % FLIGHT_SLOTS != i)
			seq[i] = 0;
		newest = MAX(newest, seq[i]);
		v->torn += !seq[i] && slot[0];
	}
	/* The oldest first: the slot behind the newest one's, and around. */
	for (unsigned int i = 0; i < FLIGHT_SLOTS; i++) {
		unsigned int at = (unsigned int)((newest + i) % FLIGHT_SLOTS);

		if (seq[at] && newest - seq[at] < FLIGHT_SLOTS)
			(void)decode_record(&v->epoch[v->n++], p + (size_t)at * FLIGHT_RECORD_SIZE);
	}
	return 0;
}

static int slurp(const char *path, uint8_t *buf, size_t size, size_t *used, struct err *e)
{
	autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t r = 1;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	for (*used = 0; *used < size && r; *used += (size_t)r) {
		r = read(fd, buf + *used, size - *used);
		if (r < 0)
			return err_set(e, -errno, "read %s", path);
	}
	return 0;
}

int flight_read(struct flight_view *v, const char *path, struct err *e)
{
	/* One byte more: a file that is too long is seen to be. */
	autofree uint8_t *buf = mem_alloc(FLIGHT_FILE_SIZE + 1);
	size_t used = 0;
	int rc;

	if (!buf)
		return err_set(e, -ENOMEM, "read %s", path);
	rc = slurp(path, buf, FLIGHT_FILE_SIZE + 1, &used, e);
	if (!rc)
		rc = flight_decode(v, buf, used, e);
	return rc == -EBADMSG ? err_wrap(e, rc, "%s", path) : rc;
}
