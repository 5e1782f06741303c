// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary's part of `romulus drill`: it passes on what is asked, and what the backup answers. What is asked is not looked at
 * here: the backup judges it. Control thread.
 */
#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/mem.h"
#include "replicator/primary_shell.h"

/* The backup answers at once; its process is started, and that is all. */
#define ANSWER_NS (10 * NS_PER_SEC)

static struct primary_drill_asked *free_place(struct primary_shell *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->drill); i++)
		if (!s->drill[i].id || !ctl_server_reply(s->ctl, s->drill[i].by))
			return &s->drill[i];
	return NULL;
}

int primary_drill_cmd(void *ctx, struct ctl_request *rq, struct err *e)
{
	struct primary_shell *s = ctx;
	struct pd_cmd cmd = {.type = PD_DRILL};
	struct primary_drill_asked *a = free_place(s);

	if (s->core.state != PRIMARY_PROTECTED)
		return err_setx(e, -ENOTCONN,
				"%s is not protected now (%s): there is nothing to try",
				s->state.vm, primary_state_name(s->core.state));
	cmd.text_size = strlen(rq->argv[0]);
	if (!cmd.text_size || cmd.text_size > WIRE_DRILL_MAX)
		return err_setx(e, -EINVAL, "a question of %u bytes", cmd.text_size);
	if (primary_data_busy(s->data))
		return err_setx(e, -EBUSY, "%s is busy with other things: ask again later",
				s->state.vm);
	if (!a)
		return err_setx(e, -EBUSY, "%zu questions about drills wait for %s already",
				ARRAY_SIZE(s->drill), s->state.peer);
	cmd.text = mem_dup(rq->argv[0], cmd.text_size);
	if (!cmd.text)
		return err_set(e, -ENOMEM, "question about a drill");
	if (!++s->drill_id)
		s->drill_id = 1;
	*a = (struct primary_drill_asked){.id = s->drill_id, .by = rq->token};
	cmd.drill = a->id;
	ctl_server_later(rq, ANSWER_NS);
	primary_data_command(s->data, &cmd);
	return 0;
}

/* What a peer says is JSON, or it is not passed on. */
static int take_answer(struct json *reply, const struct pd_msg *m, struct err *e)
{
	struct json_in *j = NULL;
	int rc;

	if (!m->json)
		return err_setx(e, -ENOTCONN, "%s", m->text);
	rc = json_in_parse(m->json, m->json_size, &j, e);
	if (rc < 0)
		return err_wrap(e, rc, "the backup's answer");
	if (json_in_bool(j, "ok", false))
		json_out_value(reply, "drill", json_in_at(j, "drill"));
	else
		rc = err_setx(e, -EREMOTEIO, "%.400s", json_in_text(j, "error", "it refused"));
	json_in_free(j);
	return rc;
}

void primary_drill_says(struct primary_shell *s, const struct pd_msg *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->drill); i++) {
		struct primary_drill_asked *a = &s->drill[i];
		struct json *reply = a->id == m->drill ? ctl_server_reply(s->ctl, a->by) : NULL;
		struct err e = ERR_INIT;

		if (a->id != m->drill)
			continue;
		a->id = 0;
		if (reply)
			ctl_server_finish(s->ctl, a->by, take_answer(reply, m, &e), &e);
	}
	mem_free(m->json);
}
