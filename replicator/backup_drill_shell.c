// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The backup's part in a drill: who asks, at the control socket here or at the primary over the link; what the data thread is
 * told; and that a drill makes way as soon as the standby is anything but a standby. Control thread.
 */
#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/mem.h"
#include "lib/wire_v1_drill.h"
#include "replicator/backup_shell.h"
#include "replicator/drill_share.h"

static void begin_take(void *arg, struct drill_share *share)
{
	const struct bd_cmd cmd = {.type = BD_DRILL, .share = share};
	struct backup_shell *s = arg;

	/* Its queue is for what keeps the VM alive; when it is full the worker ends. */
	if (!backup_data_busy(s->data)) {
		backup_data_command(s->data, &cmd);
		return;
	}
	drill_share_end(share);
	drill_share_close(share);
}

/* Left unsaid it costs a little, until the next one begins. */
static void end(void *arg)
{
	const struct bd_cmd cmd = {.type = BD_DRILL_END};
	struct backup_shell *s = arg;

	if (!backup_data_busy(s->data))
		backup_data_command(s->data, &cmd);
}

static const struct drill_shell_ops ops = {.begin_take = begin_take, .end = end};

void backup_drill_start_take(struct backup_shell *s, char *json, size_t json_size)
{
	drill_shell_init(&s->drill);
	s->drill.loop = s->loop;
	s->drill.conf = s->conf;
	s->drill.ops = &ops;
	s->drill.arg = s;
	s->drill.program = s->drill_program;
	s->drill.vm = s->state.vm;
	s->drill.mem_pages = s->mem_pages;
	s->drill.json = json;
	s->drill.json_size = json_size;
}

static int request(struct backup_shell *s, const char *text, size_t size, bool by_peer,
		   struct json *reply, struct err *e)
{
	const struct drill_asked a = {
		.text = text,
		.size = size,
		.by_peer = by_peer,
		.may = drill_rule_may(&s->core) && s->standby,
	};

	if (!s->drill.json)
		return err_setx(e, -ENOTCONN, "%s has no standby here yet", s->state.vm);
	s->drill.n_disks = s->n_disks;
	for (unsigned int i = 0; i < s->n_disks; i++) {
		s->drill.disk[i] = s->disk[i].name;
		if (!s->disk[i].name[0])
			return err_setx(e, -EAGAIN, "the disks of %s are not known yet; ask again",
					s->state.vm);
	}
	return drill_shell_request(&s->drill, &a, reply, e);
}

/* A peer gets what the tool gets at a control socket. */
void backup_drill_asked(struct backup_shell *s, const struct bd_msg *m)
{
	struct bd_cmd cmd = {.type = BD_DRILL_SAYS, .drill = m->drill};
	struct json *reply = json_out_new();
	struct err e = ERR_INIT;
	const char *line;
	size_t len = 0;
	int rc;

	if (!reply)
		return; /* the tool hears nothing, and says so */
	rc = request(s, m->json, m->json_size, true, reply, &e);
	json_out_bool(reply, "ok", rc == 0);
	if (rc < 0)
		json_out_text(reply, "error", e.text);
	line = json_out_line(reply, &len);
	if (line && len <= WIRE_DRILL_SAYS_MAX)
		cmd.json = mem_dup(line, len);
	cmd.json_size = len;
	json_out_free(reply);
	if (cmd.json)
		backup_data_command(s->data, &cmd);
}

int backup_drill_cmd(void *ctx, struct ctl_request *rq, struct err *e)
{
	return request(ctx, rq->argv[0], strlen(rq->argv[0]), false, rq->reply, e);
}

/* P4 before all: what the core has just decided is carried out after this, and needs nothing that a drill has. */
void backup_drill_make_way(struct backup_shell *s)
{
	const char *why = drill_rule_must_end(&s->core);

	if (s->drill.json && why)
		drill_shell_end(&s->drill, why);
}
