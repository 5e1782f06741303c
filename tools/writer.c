/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See writer.h. */
#include "tools/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/json_in.h"
#include "lib/json_out.h"

/* ---- for people ---- */

static const char *us_at(const struct json_in *v, const char *path, char *buf, size_t size)
{
	if (!json_in_has(v, path))
		return "-";
	return tool_us(json_in_double(v, path, 0), buf, size);
}

static const char *ms_at(const struct json_in *v, const char *path, char *buf, size_t size)
{
	if (!json_in_has(v, path))
		return "-";
	return tool_us(json_in_double(v, path, 0) * 1e3, buf, size);
}

static const char *bytes_at(const struct json_in *v, const char *path, char *buf, size_t size)
{
	return tool_bytes(json_in_double(v, path, 0), buf, size);
}

static const char *dash(const char *text)
{
	return *text ? text : "-";
}

static void write_trouble(FILE *out, const struct seen *s, const char *indent)
{
	if (*s->problem)
		fprintf(out, "%sproblem: %s\n", indent, s->problem);
	if (*s->hint)
		fprintf(out, "%sdo: %s\n", indent, s->hint);
}

/* "protected", or "copying 42%". */
static void state_text(const struct seen *s, char *buf, size_t size)
{
	if (!strcmp(s->state, "copying") && json_in_has(s->status, "copy.percent"))
		snprintf(buf, size, "copying %.0f%%", json_in_double(s->status, "copy.percent", 0));
	else
		snprintf(buf, size, "%s", s->state);
}

static void write_row(FILE *out, const struct seen *s)
{
	const struct json_in *v = s->status;
	char state[48];
	char epoch[24] = "-";
	char rate[24] = "-";
	char p50[32];
	char p99[32];
	char lag[32];

	state_text(s, state, sizeof(state));
	if (json_in_has(v, "epoch"))
		snprintf(epoch, sizeof(epoch), "%" PRIu64, json_in_u64(v, "epoch", 0));
	if (json_in_has(v, "rate_hz"))
		snprintf(rate, sizeof(rate), "%.1f", json_in_double(v, "rate_hz", 0));
	fprintf(out, "%-16s %-8s %-14s %-12s %10s %6s %9s %9s %9s\n", s->vm, s->role, state,
		dash(s->peer), epoch, rate, us_at(v, "pause_us.p50", p50, sizeof(p50)),
		us_at(v, "pause_us.p99", p99, sizeof(p99)),
		ms_at(v, "lag_ms.p50", lag, sizeof(lag)));
	write_trouble(out, s, "    ");
}

void write_table(FILE *out, const struct report *r)
{
	if (r->n)
		fprintf(out, "%-16s %-8s %-14s %-12s %10s %6s %9s %9s %9s\n", "VM", "ROLE", "STATE",
			"PEER", "EPOCH", "HZ", "PAUSE p50", "PAUSE p99", "LAG p50");
	for (size_t i = 0; i < r->n; i++)
		write_row(out, &r->vm[i]);
	if (!r->n)
		fputs("no VM is protected from or to this host\n", out);
	if (!r->host)
		fprintf(out, "problem: %s\n", r->host_problem);
}

/* How the guest is asked to suspend; on the slow way, what there is to be had. */
static void write_suspend(FILE *out, const struct json_in *v)
{
	char path[32];
	char p50[32];

	tool_clean(json_in_text(v, "suspend.path", ""), path, sizeof(path));
	if (!*path)
		return;
	fprintf(out, "  suspend  over %s, p50 %s\n",
		!strcmp(path, "event channel") ? "the guest's event channel" : path,
		us_at(v, "phases_us.request.p50", p50, sizeof(p50)));
	if (!strcmp(path, "xenstore"))
		fputs("           far faster with the module xen_suspend_channel in the guest, see romulus(7)\n",
		      out);
}

static void write_epochs(FILE *out, const struct json_in *v)
{
	char a[32];
	char b[32];
	char c[32];

	if (json_in_has(v, "epoch"))
		fprintf(out,
			"  epoch    %" PRIu64 ", acknowledged %" PRIu64
			", %.1f a second, term %" PRIu64 "\n",
			json_in_u64(v, "epoch", 0), json_in_u64(v, "acked", 0),
			json_in_double(v, "rate_hz", 0), json_in_u64(v, "term", 0));
	if (json_in_u64(v, "pause_us.count", 0))
		fprintf(out,
			"  pause    p50 %s, p99 %s, max %s; dirty pages p50 %" PRIu64
			", p99 %" PRIu64 "\n",
			us_at(v, "pause_us.p50", a, sizeof(a)),
			us_at(v, "pause_us.p99", b, sizeof(b)),
			us_at(v, "pause_us.max", c, sizeof(c)),
			json_in_u64(v, "dirty_pages.p50", 0), json_in_u64(v, "dirty_pages.p99", 0));
	write_suspend(out, v);
	if (json_in_has(v, "lag_ms.p50"))
		fprintf(out, "  lag      p50 %s, p99 %s\n", ms_at(v, "lag_ms.p50", a, sizeof(a)),
			ms_at(v, "lag_ms.p99", b, sizeof(b)));
	if (json_in_u64(v, "throttle_percent", 100) < 100)
		fprintf(out, "  slowed   the guest may use %" PRIu64 " percent of its CPU time\n",
			json_in_u64(v, "throttle_percent", 100));
}

static void write_traffic(FILE *out, const struct json_in *v)
{
	char a[32];
	char b[32];

	if (json_in_has(v, "output"))
		fprintf(out, "  output   %" PRIu64 " frames held (%s), %" PRIu64 " dropped\n",
			json_in_u64(v, "output.held_frames", 0),
			bytes_at(v, "output.held_bytes", a, sizeof(a)),
			json_in_u64(v, "output.dropped", 0));
	if (json_in_u64(v, "wire.raw_bytes", 0))
		fprintf(out, "  sent     %s for %s of pages (%.0f%%)\n",
			bytes_at(v, "wire.sent_bytes", a, sizeof(a)),
			bytes_at(v, "wire.raw_bytes", b, sizeof(b)),
			100 * json_in_double(v, "wire.sent_bytes", 0) /
				json_in_double(v, "wire.raw_bytes", 1));
	if (json_in_has(v, "peer_heard_ms"))
		fprintf(out, "  peer     heard %s ago\n", ms_at(v, "peer_heard_ms", a, sizeof(a)));
}

/* Who is asked when a host has to go on alone, and whether it could be. */
static void write_arbiter(FILE *out, const struct json_in *v)
{
	char kind[32], holder[NAME_SIZE], why[320], ago[32];

	if (!json_in_has(v, "arbiter"))
		return;
	fprintf(out, "  arbiter  %s",
		tool_clean(json_in_text(v, "arbiter.kind", "?"), kind, sizeof(kind)));
	if (!json_in_bool(v, "arbiter.asked", false))
		fputs(", not asked yet", out);
	else if (json_in_bool(v, "arbiter.reachable", false))
		fprintf(out, ", answered %s ago", ms_at(v, "arbiter.heard_ms", ago, sizeof(ago)));
	else
		fprintf(out, ", CANNOT BE ASKED for %s",
			ms_at(v, "arbiter.since_ms", ago, sizeof(ago)));
	if (json_in_has(v, "arbiter.term"))
		fprintf(out, ", term %" PRIu64 " held by %s", json_in_u64(v, "arbiter.term", 0),
			tool_clean(json_in_text(v, "arbiter.holder", "?"), holder, sizeof(holder)));
	fputc('\n', out);
	tool_clean(json_in_text(v, "arbiter.problem", ""), why, sizeof(why));
	if (*why)
		fprintf(out, "           %s\n", why);
}

static void write_verify(FILE *out, const struct json_in *d)
{
	char state[32], bytes[32], bad[32], busy[32];

	if (!json_in_has(d, "verify.pass"))
		return;
	fprintf(out, "           verify %s: %s compared, %s different, %s not compared\n",
		tool_clean(json_in_text(d, "verify.state", "?"), state, sizeof(state)),
		bytes_at(d, "verify.verified_bytes", bytes, sizeof(bytes)),
		bytes_at(d, "verify.differed_bytes", bad, sizeof(bad)),
		bytes_at(d, "verify.busy_bytes", busy, sizeof(busy)));
}

/* One line for each: what it is, and what keeps it from being safe. */
static void write_disk(FILE *out, const struct json_in *d)
{
	char name[NAME_SIZE], state[32], why[160], bytes[32];

	fprintf(out, "  disk     %s: %s",
		tool_clean(json_in_text(d, "name", "?"), name, sizeof(name)),
		tool_clean(json_in_text(d, "state", "?"), state, sizeof(state)));
	if (!json_in_bool(d, "served", false))
		fputs(", its romulus-disk does not answer", out);
	else if (json_in_bool(d, "in_sync", false))
		fputs(", in sync", out);
	else
		fputs(", NOT in sync", out);
	fprintf(out, ", %s behind", bytes_at(d, "behind_bytes", bytes, sizeof(bytes)));
	if (json_in_has(d, "left_s"))
		fprintf(out, ", %" PRIu64 " s to go", json_in_u64(d, "left_s", 0));
	if (json_in_u64(d, "fill_percent", 0))
		fprintf(out, ", log %" PRIu64 "%% full", json_in_u64(d, "fill_percent", 0));
	/* A journal that is full is what one wants to see. */
	if (json_in_has(d, "journal_free_bytes"))
		fprintf(out, ", journal %s free",
			bytes_at(d, "journal_free_bytes", bytes, sizeof(bytes)));
	fputc('\n', out);
	write_verify(out, d);
	tool_clean(json_in_text(d, "problem", ""), why, sizeof(why));
	if (*why)
		fprintf(out, "           %s\n", why);
}

void write_detail(FILE *out, const struct seen *s)
{
	const struct json_in *v = s->status;
	char policy[32];
	char state[48];
	char since[32];

	state_text(s, state, sizeof(state));
	fprintf(out, "%s: %s, %s (here: %s", s->vm, s->is_protected ? "protected" : "NOT PROTECTED",
		state, s->role);
	if (*s->peer)
		fprintf(out, ", peer: %s", s->peer);
	if (json_in_has(v, "policy"))
		fprintf(out, ", on peer loss: %s",
			tool_clean(json_in_text(v, "policy", "?"), policy, sizeof(policy)));
	fputs(")\n", out);
	if (json_in_has(v, "since_ms"))
		fprintf(out, "  since    %s\n", ms_at(v, "since_ms", since, sizeof(since)));
	write_epochs(out, v);
	write_traffic(out, v);
	write_arbiter(out, v);
	for (size_t i = 0; i < json_in_count(v, "disks"); i++)
		write_disk(out, json_in_item(v, "disks", i));
	write_trouble(out, s, "  ");
}

/* ---- for programs ---- */

int write_json(FILE *out, const struct report *r)
{
	struct json *j = json_out_new();
	struct json *vms = j ? json_out_array(j, "vms") : NULL;
	const char *line;
	size_t len;

	for (size_t i = 0; i < r->n; i++) {
		const struct seen *s = &r->vm[i];
		struct json *one;

		if (s->status) {
			json_out_value(vms, NULL, s->status);
			continue;
		}
		one = json_out_object(vms, NULL);
		json_out_text(one, "vm", s->vm);
		json_out_text(one, "role", s->role);
		json_out_text(one, "state", s->state);
		json_out_bool(one, "protected", false);
		json_out_text(one, "peer", s->peer);
		json_out_text(one, "problem", s->problem);
		json_out_text(one, "hint", s->hint);
	}
	json_out_value(j, "host", r->host);
	if (!r->host)
		json_out_text(j, "host_problem", r->host_problem);
	line = j ? json_out_line(j, &len) : NULL;
	if (line)
		fprintf(out, "%s\n", line);
	json_out_free(j);
	return line ? 0 : -ENOMEM;
}

/* ---- for Prometheus ---- */

struct metric {
	const char *name; /* after "romulus_" */
	const char *type;
	const char *help;
	const char *path;  /* in a worker's status */
	double scale;	   /* to Prometheus' base units */
	const char *label; /* NULL, or one more */
};

static const struct metric metrics[] = {
	{"since_seconds", "gauge", "Time in the present state.", "since_ms", 1e-3, NULL},
	{"term", "gauge", "Term of the ownership.", "term", 1, NULL},
	{"epoch", "gauge", "Newest epoch of the session.", "epoch", 1, NULL},
	{"epoch_acknowledged", "gauge", "Newest acknowledged epoch of the session.", "acked", 1,
	 NULL},
	{"epochs_per_second", "gauge", "Epochs a second, lately.", "rate_hz", 1, NULL},
	{"peer_heard_seconds", "gauge", "Time since the peer was heard.", "peer_heard_ms", 1e-3,
	 NULL},
	{"arbiter_heard_seconds", "gauge", "Time since the arbiter answered.", "arbiter.heard_ms",
	 1e-3, NULL},
	{"copy_percent", "gauge", "Progress of the first copy.", "copy.percent", 1, NULL},
	{"pause_seconds", "gauge", "Pause of the guest at a checkpoint.", "pause_us.p50", 1e-6,
	 "quantile=\"0.5\""},
	{"pause_seconds", NULL, NULL, "pause_us.p99", 1e-6, "quantile=\"0.99\""},
	{"pause_seconds", NULL, NULL, "pause_us.max", 1e-6, "quantile=\"1\""},
	{"pauses_total", "counter", "Checkpoints taken.", "pause_us.count", 1, NULL},
	{"dirty_pages", "gauge", "Dirty pages of an epoch.", "dirty_pages.p50", 1,
	 "quantile=\"0.5\""},
	{"dirty_pages", NULL, NULL, "dirty_pages.p99", 1, "quantile=\"0.99\""},
	{"lag_seconds", "gauge", "Time from the end of an epoch to its release.", "lag_ms.p50",
	 1e-3, "quantile=\"0.5\""},
	{"lag_seconds", NULL, NULL, "lag_ms.p99", 1e-3, "quantile=\"0.99\""},
	{"output_held_frames", "gauge", "Frames of the guest held now.", "output.held_frames", 1,
	 NULL},
	{"output_held_bytes", "gauge", "Bytes of the guest held now.", "output.held_bytes", 1,
	 NULL},
	{"output_dropped_total", "counter", "Frames dropped because the limit was reached.",
	 "output.dropped", 1, NULL},
	{"wire_raw_bytes_total", "counter", "Bytes of pages before encoding.", "wire.raw_bytes", 1,
	 NULL},
	{"wire_sent_bytes_total", "counter", "Bytes of pages sent.", "wire.sent_bytes", 1, NULL},
	{"guest_cpu_percent", "gauge", "CPU time that the guest may use.", "throttle_percent", 1,
	 NULL},
};

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP romulus_%s %s\n# TYPE romulus_%s %s\n", name, help, name, type);
}

static void write_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', out);
		fputc(*value, out);
	}
	fputc('"', out);
}

static void write_name(FILE *out, const char *name, const struct seen *s, const char *more)
{
	fprintf(out, "romulus_%s{", name);
	write_label(out, "vm", s->vm);
	fputc(',', out);
	write_label(out, "role", s->role);
	fprintf(out, "%s%s}", more ? "," : "", more ? more : "");
}

static void write_metric(FILE *out, const struct metric *m, const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!json_in_has(r->vm[i].status, m->path))
			continue;
		write_name(out, m->name, &r->vm[i], m->label);
		fprintf(out, " %.17g\n", json_in_double(r->vm[i].status, m->path, 0) * m->scale);
	}
}

void write_prometheus(FILE *out, const struct report *r)
{
	write_head(out, "up", "gauge", "1 if romulusd answers.");
	fprintf(out, "romulus_up %d\n", r->host != NULL);
	write_head(out, "protected", "gauge", "1 while the VM is protected.");
	for (size_t i = 0; i < r->n; i++) {
		write_name(out, "protected", &r->vm[i], NULL);
		fprintf(out, " %d\n", r->vm[i].is_protected);
	}
	write_head(out, "state", "gauge", "1 for the state that the VM is in.");
	for (size_t i = 0; i < r->n; i++) {
		fputs("romulus_state{", out);
		write_label(out, "vm", r->vm[i].vm);
		fputc(',', out);
		write_label(out, "role", r->vm[i].role);
		fputc(',', out);
		write_label(out, "state", r->vm[i].state);
		fputs("} 1\n", out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		if (metrics[i].help)
			write_head(out, metrics[i].name, metrics[i].type, metrics[i].help);
		write_metric(out, &metrics[i], r);
	}
}
