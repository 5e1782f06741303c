/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_figures.h. Control thread. The answers' shape is in romulus-status(8). */
#include "lib/json_out.h"
#include "replicator/disk_figures.h"
#include "replicator/disk_link.h"
#include "replicator/epoch.h"

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
	json_out_u64(o, "journal_free_bytes", f->journal_free_bytes);
	json_out_text(o, "problem", f->why);
}
