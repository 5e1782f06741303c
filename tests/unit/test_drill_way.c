/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's part in a drill (backup_drill_shell.c): when it may begin, that it makes way, and what the data thread is told. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/backup_shell.h"
#include "replicator/drill_share.h"

struct bed {
	struct backup_shell s;
	struct conf conf;
	char dir[32];
	bool busy;
	unsigned int begun, ended;
	char says[512]; /* to the peer */
};

static struct bed *bed;

void backup_data_command(struct backup_data *d, const struct bd_cmd *cmd)
{
	assert_false(bed->busy);
	bed->begun += cmd->type == BD_DRILL;
	bed->ended += cmd->type == BD_DRILL_END;
	drill_share_close(cmd->share);
	if (cmd->type == BD_DRILL_SAYS)
		snprintf(bed->says, sizeof(bed->says), "%u %.*s", cmd->drill, (int)cmd->json_size,
			 cmd->json);
	mem_free(cmd->json);
}

bool backup_data_busy(const struct backup_data *d)
{
	return bed->busy;
}

static int set_up(void **state)
{
	log_set_fd(-1);
	bed = calloc(1, sizeof(*bed));
	assert_non_null(bed);
	strcpy(bed->dir, "/tmp/test_way.XXXXXX");
	assert_non_null(mkdtemp(bed->dir));
	strcpy(bed->conf.host_name, "hostb");
	snprintf(bed->conf.run_dir, sizeof(bed->conf.run_dir), "%s", bed->dir);
	bed->s.conf = &bed->conf;
	assert_true(sd_event_new(&bed->s.loop) >= 0);
	strcpy(bed->s.state.vm, "web");
	bed->s.mem_pages = 500;
	/* Waits for its socket's first word, and ends. */
	bed->s.drill_program = "/proc/self/exe";
	bed->s.core.state = BACKUP_STANDING;
	bed->s.core.link_up = true;
	bed->s.standby = (struct standby *)bed; /* only that there is one */
	backup_drill_start_take(&bed->s, mem_strdup("{}"), 2);
	return 0;
}

static int tear_down(void **state)
{
	uint64_t deadline = clock_now() + 20 * NS_PER_SEC;

	bed->busy = false;
	drill_shell_end(&bed->s.drill, "the test is over");
	while (bed->s.drill.pid && clock_now() < deadline)
		assert_true(sd_event_run(bed->s.loop, 100000) >= 0);
	drill_shell_fini(&bed->s.drill);
	sd_event_unref(bed->s.loop);
	assert_int_equal(rmdir(bed->dir), 0);
	free(bed);
	return 0;
}

static int ask(const char *text, struct err *e)
{
	char *argv[] = {(char *)(uintptr_t)text, NULL};
	struct ctl_request rq = {.argc = 1, .argv = argv, .reply = json_out_new()};
	int rc = backup_drill_cmd(&bed->s, &rq, e);

	json_out_free(rq.reply);
	return rc;
}

static void needs_who_stands_by(void **state)
{
	struct err e = ERR_INIT;

	bed->s.core.link_up = false;
	assert_int_equal(ask("start", &e), -ENOTCONN);
	bed->s.core.link_up = true;
	bed->s.core.state = BACKUP_BUILDING;
	assert_int_equal(ask("start", &e), -ENOTCONN);
	bed->s.core.state = BACKUP_STANDING;
	/* A disk that has no name yet. */
	bed->s.n_disks = 1;
	assert_int_equal(ask("start", &e), -EAGAIN);
	assert_int_equal(bed->begun, 0);
	bed->s.n_disks = 0;
	assert_int_equal(ask("start", &e), 0);
	assert_int_equal(bed->begun, 1);
}

static void makes_way(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(ask("start", &e), 0);
	backup_drill_make_way(&bed->s);
	assert_int_equal(bed->ended, 0);
	bed->s.core.state = BACKUP_ACTIVATING;
	backup_drill_make_way(&bed->s);
	assert_int_equal(bed->ended, 1);
	assert_int_equal(bed->s.drill.rule.stage, DRILL_STAGE_TOLD);
}

/* A full queue ends the worker, and the standby with it: whoever asks for drills can ask again and again. */
static void a_busy_worker_is_told_nothing(void **state)
{
	struct err e = ERR_INIT;

	bed->busy = true;
	assert_int_equal(ask("start", &e), 0);
	assert_int_equal(ask("end", &e), 0);
	assert_int_equal(bed->begun + bed->ended, 0);
}

static void answers_the_peer(void **state)
{
	char text[] = "start {\"probe\":\"rm -rf /\"}";
	struct bd_msg m = {.drill = 7, .json = text, .json_size = sizeof(text) - 1};

	backup_drill_asked(&bed->s, &m);
	assert_int_equal(strncmp(bed->says, "7 {\"ok\":false,\"error\":\"", 23), 0);
	assert_non_null(strstr(bed->says, "which may only name a program"));
	assert_int_equal(bed->begun, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(needs_who_stands_by, set_up, tear_down),
		cmocka_unit_test_setup_teardown(makes_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_busy_worker_is_told_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(answers_the_peer, set_up, tear_down),
	};
	char c;

	/* In the role of romulus-drill. */
	if (argc > 1)
		return strcmp(argv[1], "--vm") == 0 && read(3, &c, 1) < 0;
	return RUN_TESTS("drill_way", tests);
}
