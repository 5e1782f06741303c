/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See port_link.h. */
#include "disk/port_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/dirty_map.h"
#include "disk/disk_state.h"
#include "disk/epoch_log.h"
#include "lib/err.h"
#include "lib/cleanup.h"

void port_link_init(struct port_link *l, const struct port_role *role, const struct disk *d)
{
	struct wire_disk *w = &l->disks.disk[role->index];

	l->role = *role; /* conn and mute are the connection's */
	l->disks =
		(struct wire_disks){.n = (uint16_t)(role->index + 1), .ack_mode = role->ack_mode};
	w->size = d->geo.disk_size;
	w->block_size = d->geo.block_size;
	snprintf(w->name, sizeof(w->name), "%s", d->conf.name);
}

/* ---- unasked DISK_WANT ---- */

/* Bytes of a chunk so that all marks of the disk fit into what may come unasked. */
static uint32_t want_chunk(const struct disk *d)
{
	uint32_t chunk = WIRE_MIN_CHUNK;

	while (chunk < WIRE_MAX_CHUNK &&
	       d->geo.disk_size / ((uint64_t)chunk * WIRE_MAX_WANTS) >= WIRE_MAX_UNASKED)
		chunk *= 2;
	return chunk;
}

/* The nth stretch of the disk that has marks and fits into one message. */
static bool find_stretch(const struct disk *d, uint32_t n, uint64_t *from, uint64_t *end)
{
	uint64_t step = (uint64_t)want_chunk(d) * WIRE_MAX_WANTS;
	uint64_t off = 0;
	uint64_t len;

	while (dirty_map_next_run(d->map, off, d->geo.disk_size, step, &off, &len)) {
		*from = off / step * step;
		*end = MIN(*from + step, d->geo.disk_size);
		if (n-- == 0)
			return true;
		off = *end;
		if (off >= d->geo.disk_size)
			return false;
	}
	return false;
}

uint32_t port_link_wants(const struct disk *d)
{
	uint64_t unused;
	uint32_t n = 0;

	while (find_stretch(d, n, &unused, &unused))
		n++;
	return n;
}

int port_link_want(struct port_link *l, const struct disk *d, uint32_t n, struct err *e)
{
	struct wire_disk_range m = {.disk = l->role.index, .chunk = want_chunk(d)};
	autofree uint8_t *bits = NULL;
	uint64_t end = 0;
	struct wr w;
	int rc;

	if (!find_stretch(d, n, &m.off, &end))
		return err_setx(e, -EINVAL, "marks that are not there");
	m.count = (uint32_t)((end - m.off + m.chunk - 1) / m.chunk);
	bits = mem_zalloc((m.count + 7) / 8);
	if (!bits)
		return err_set(e, -ENOMEM, "what this side has marked");
	for (uint32_t i = 0; i < m.count; i++)
		if (dirty_map_any(d->map, m.off + (uint64_t)i * m.chunk, m.chunk))
			bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
	rc = port_conn_begin(l->conn, 24 + (m.count + 7) / 8, &w, e);
	if (rc < 0)
		return rc;
	wire_disk_want_encode(&w, &m, bits);
	return port_conn_end(l->conn, FRAME_DISK_WANT, FRAME_NO_EPOCH, &w, e);
}

/* ---- the rest ---- */

int port_link_state(struct port_link *l, const struct disk *d, struct err *e)
{
	struct journal_stats st;
	struct port_state m = {
		.state = (uint8_t)d->state,
		.block_size = d->geo.block_size,
		.size = d->geo.disk_size,
		.gen = {.current = d->gens.current,
			.bitmap = d->gens.bitmap,
			.history = {d->gens.history[0], d->gens.history[1]}},
		.dirty_bytes = epoch_log_behind(d->log),
		.wants = port_link_wants(d),
	};
	struct wr w;
	int rc;

	journal_stats(d->journal, &st);
	m.applied = st.applied_epoch;
	m.flags = (m.dirty_bytes ? PORT_DIRT : 0) | (d->dirt_known ? PORT_DIRT_KNOWN : 0) |
		  (disk_in_use(d) ? PORT_IN_USE : 0);
	memcpy(m.uuid, d->geo.uuid, sizeof(m.uuid));
	snprintf(m.name, sizeof(m.name), "%s", d->conf.name);
	snprintf(m.why, sizeof(m.why), "%s", d->why);
	rc = port_conn_begin(l->conn, 160 + WIRE_TEXT_MAX, &w, e);
	if (rc < 0)
		return rc;
	port_state_encode(&w, &m);
	return port_conn_end(l->conn, PORT_STATE, FRAME_NO_EPOCH, &w, e);
}

int port_link_text(struct port_link *l, enum port_type type, const char *text, struct err *e)
{
	struct wr w;
	int rc = port_conn_begin(l->conn, WIRE_TEXT_MAX, &w, e);

	if (rc < 0)
		return rc;
	port_text_encode(&w, text);
	return port_conn_end(l->conn, type, FRAME_NO_EPOCH, &w, e);
}

int port_link_say(struct port_link *l, enum port_type type, uint64_t epoch, struct err *e)
{
	return port_conn_send(l->conn, type, epoch, NULL, 0, e);
}
