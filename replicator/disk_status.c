/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_figures.h. Control thread. The answers' shape is in romulus-status(8). */
#include "lib/json_out.h"
#include "replicator/disk_figures.h"
#include "replicator/disk_link.h"
#include "replicator/epoch.h"

static void put_verify(struct json *j, const struct port_compared *m)
{
	static const char *const states[] = {
		[PORT_COMPARING] = "running",
		[PORT_COMPARED_ALL] = "done",
		[PORT_COMPARED_NOT] = "broken off",
	};
	struct json *o;

	if (!m->pass) {
		json_out_text(j, "verify", NULL);
		return;
	}
	o = json_out_object(j, "verify");
	json_out_u64(o, "pass", m->pass);
	json_out_text(o, "state", states[m->state]);
	json_out_u64(o, "verified_bytes", m->verified);
	json_out_u64(o, "differed_bytes", m->differed);
	json_out_u64(o, "busy_bytes", m->busy);
}

void disk_figures_put(struct json *array, const struct disk_figures *f, uint64_t left_s)
{
	struct json *o = json_out_object(array, NULL);

	json_out_text(o, "name", f->name);
	json_out_bool(o, "served", f->up);
	json_out_text(o, "state", disk_state_name(f->state));
	json_out_textf(o, "generation", "%016llx", (unsigned long long)f->generation);
	json_out_u64(o, "size", f->size);
	json_out_bool(o, "in_sync", f->synced);
	json_out_u64(o, "behind_bytes", f->behind_bytes);
	if (left_s)
		json_out_u64(o, "left_s", left_s);
	else
		json_out_text(o, "left_s", NULL);
	json_out_u64(o, "fill_percent", f->fill_percent);
	if (f->durable == EPOCH_NONE)
		json_out_text(o, "durable", NULL);
	else
		json_out_u64(o, "durable", f->durable);
	if (f->journal_free_bytes == DISK_FREE_UNKNOWN)
		json_out_text(o, "journal_free_bytes", NULL);
	else
		json_out_u64(o, "journal_free_bytes", f->journal_free_bytes);
	put_verify(o, &f->compared);
	json_out_text(o, "problem", f->why);
}
