// SPDX-License-Identifier: GPL-2.0-or-later
/* What the backup's data thread says to the peer; see backup_data_impl.h. */
#include "replicator/backup_data_impl.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_drill.h"

static int say(struct backup_data *d, enum frame_type type, uint64_t epoch, struct err *e,
	       const struct bd_cmd *cmd)
{
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct wire_refuse refuse = {.code = cmd->code, .term = cmd->term};
	struct wr w;
	int rc;

	if (!d->conn)
		return err_setx(e, -ENOTCONN, "no session");
	rc = conn_begin(d->conn, type, epoch, &w, deadline, e);
	if (rc < 0)
		return rc;
	if (type == FRAME_HELLO_OK) {
		wire_hello_ok_encode(&w, &cmd->hello_ok);
	} else if (type == FRAME_REFUSE) {
		snprintf(refuse.text, sizeof(refuse.text), "%s", cmd->text);
		wire_refuse_encode(&w, &refuse);
	} else if (type == FRAME_FACTS) {
		wire_facts_encode(&w, cmd->json, cmd->json_size);
	} else {
		wire_term_encode(&w, cmd->term);
	}
	rc = conn_end(d->conn, &w, e);
	return rc < 0 ? rc : conn_flush(d->conn, deadline, e);
}

void backup_data_speak__(struct backup_data *d, enum frame_type type, uint64_t epoch,
			 const struct bd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (say(d, type, epoch, &e, cmd) < 0 && d->conn)
		drop_link(d, e.text);
}

void backup_data_last_word__(struct backup_data *d, enum frame_type type, const struct bd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (!d->conn)
		return;
	if (say(d, type, FRAME_NO_EPOCH, &e, cmd) == 0 &&
	    conn_finish(d->conn, clock_now() + LAST_WORD_NS, &e) == 0)
		e.text[0] = '\0';
	drop_link(d, e.text);
}

void backup_data_answer_drill__(struct backup_data *d, const struct bd_cmd *cmd)
{
	const struct wire_drill m = {.id = cmd->drill, .text = cmd->json, .size = cmd->json_size};
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct err e = ERR_INIT;
	struct wr w;
	int rc;

	if (!d->conn)
		return;
	rc = conn_begin(d->conn, FRAME_DRILL_SAYS, FRAME_NO_EPOCH, &w, deadline, &e);
	if (rc == 0) {
		wire_drill_encode(&w, &m);
		rc = conn_end(d->conn, &w, &e);
	}
	if (rc == 0)
		rc = conn_flush(d->conn, deadline, &e);
	if (rc < 0)
		drop_link(d, e.text);
}
