/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a peer's `romulus doctor` is answered: the output of romulus-facts, to nobody but a configured peer. Runs on
 * the control thread of a worker that has no session, and may wait.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/spawn.h"
#include "replicator/backup_shell.h"

#define FACTS_TOOL LIBEXEC_DIR "/romulus-facts"
/* Less than who asks waits. */
#define FACTS_TIMEOUT_NS (20 * NS_PER_SEC)

static void refuse(struct backup_shell *s, uint16_t code, const char *text)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = code};

	snprintf(cmd.text, sizeof(cmd.text), "%s", text);
	backup_data_command(s->data, &cmd);
}

static int gather(const struct backup_shell *s, const char *vm, char *out, struct spawn *sp,
		  struct err *e)
{
	const char *const argv[] = {s->facts_tool ? s->facts_tool : FACTS_TOOL, "--config",
				    s->conf_path ? s->conf_path : CONF_DEFAULT_PATH,
				    *vm ? vm : NULL, NULL};
	char said[512];
	int rc;

	*sp = (struct spawn){.argv = argv,
			     .timeout_ns = FACTS_TIMEOUT_NS,
			     .out = out,
			     .out_size = WIRE_FACTS_MAX,
			     .err = said,
			     .err_size = sizeof(said)};
	rc = spawn_check(sp, e);
	if (rc == 0 && (sp->out_cut || sp->out_used < 2 || memchr(out, 0, sp->out_used)))
		rc = err_setx(e, -EBADMSG, "romulus-facts says %zu bytes that are no facts",
			      sp->out_used);
	return rc;
}

void backup_shell_facts(struct backup_shell *s, const struct bd_msg *ask)
{
	struct bd_cmd cmd = {.type = BD_FACTS};
	struct err e = ERR_INIT;
	char text[128 + 2 * NAME_SIZE];
	struct spawn sp;

	if (!conf_peer(s->conf, ask->peer_name)) {
		snprintf(text, sizeof(text), "%s is not among the peers of %s", ask->peer_name,
			 s->conf->host_name);
		log_warn("refusing facts: %s", text);
		refuse(s, WIRE_NOT_ALLOWED, text);
		return;
	}
	/* Without a VM: it is no worker of one. */
	worker_say(s->status_fd, WORKER_SAYS_AUTHENTICATED, "");
	cmd.json = mem_alloc(WIRE_FACTS_MAX);
	if (!cmd.json) {
		refuse(s, WIRE_NO_MEMORY, "no memory for the facts of this host");
		return;
	}
	if (gather(s, ask->hello.vm, cmd.json, &sp, &e) < 0) {
		mem_free(cmd.json);
		log_warn("facts for %s: %s", ask->peer_name, e.text);
		refuse(s, WIRE_INTERNAL, e.text);
		return;
	}
	cmd.json_size = sp.out_used;
	backup_data_command(s->data, &cmd);
}
