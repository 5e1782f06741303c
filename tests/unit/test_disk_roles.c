/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk's server and a worker that says wrong things: each is one clear error, with which the port is closed, and the disk is
 * what it was. (What is said rightly: tests/disk-pair.)
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/backup_disk.h"
#include "disk/epoch_word.h"
#include "disk/port_link.h"
#include "disk/primary_disk.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/lib/disk_bed.h"

static struct disk_bed bed;
static struct port_link server; /* the server's end */
static struct port_conn *worker;
static struct epoch_word word;
static int word_fd;
static struct primary_disk *prim;
static struct backup_disk *back;
static uint8_t payload[8192];
static struct wr w;

static int set_up_side(unsigned int side)
{
	const struct port_role role = {
		.side = (uint8_t)side, .ack_mode = WIRE_ACK_MEMORY, .session = 7, .vm = "vm"};
	struct err e = ERR_INIT;
	int fd[2];

	log_set_fd(-1);
	disk_bed_make(&bed, side == FRAME_PRIMARY);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(port_conn_new_take(&server.conn, fd[0], PORT_SERVER, &e), 0);
	assert_int_equal(port_conn_new_take(&worker, fd[1], PORT_WORKER, &e), 0);
	port_link_init(&server, &role, bed.d);
	assert_int_equal(epoch_word_create(&word, &word_fd, &e), 0);
	assert_int_equal(primary_disk_new(&prim, bed.d), 0);
	assert_int_equal(backup_disk_new(&back, bed.d), 0);
	w = wr_init(payload, sizeof(payload));
	if (side == FRAME_PRIMARY)
		assert_int_equal(primary_disk_start(prim, &server, word_fd, &e), 0);
	else
		backup_disk_start(back, &server);
	return 0;
}

static int at_primary(void **state)
{
	return set_up_side(FRAME_PRIMARY);
}

static int at_backup(void **state)
{
	return set_up_side(FRAME_BACKUP);
}

static int tear_down(void **state)
{
	primary_disk_end(prim);
	backup_disk_end(back);
	primary_disk_close(prim);
	port_conn_free(server.conn);
	port_conn_free(worker);
	backup_disk_free(back);
	disk_bed_free(&bed);
	primary_disk_free(prim);
	epoch_word_fini(&word);
	close(word_fd);
	return 0;
}

static void go_on(void)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < 8; i++) {
		disk_go_on(bed.d, clock_now());
		assert_int_equal(primary_disk_go_on(prim, clock_now(), &e), 0);
		assert_int_equal(backup_disk_go_on(back, &e), 0);
		assert_int_equal(port_conn_flush(server.conn, &e), 0);
		blk_reap(&bed.file.dev);
		blk_reap(&bed.data.dev);
	}
}

/* What w has, as a message; w is empty afterwards. */
static int say(unsigned int type, uint64_t epoch, struct err *e)
{
	const struct port_header h = {
		.type = (uint16_t)type, .length = (uint32_t)wr_used(&w), .epoch = epoch};
	const struct frame f = port_frame(&h, payload);
	int rc = server.role.side == FRAME_PRIMARY ? primary_disk_take(prim, &f, e)
						   : backup_disk_take(back, &f, e);

	assert_true(wr_ok(&w));
	w = wr_init(payload, sizeof(payload));
	return rc;
}

static void right(unsigned int type, uint64_t epoch)
{
	struct err e = ERR_INIT;

	if (say(type, epoch, &e) != 0)
		fail_msg("%s: %s", port_name(type), e.text);
	go_on();
}

static void wrong(unsigned int type, uint64_t epoch, const char *text)
{
	const struct journal_gens gens = bed.d->gens;
	enum journal_state state = bed.d->state;
	bool serving = bed.d->serving;
	struct err e = ERR_INIT;
	int rc = say(type, epoch, &e);

	if (rc >= 0 || rc == -EAGAIN || !strstr(e.text, text))
		fail_msg("%s: %d '%s' lacks '%s'", port_name(type), rc, e.text, text);
	go_on();
	assert_int_equal(bed.d->state, state);
	assert_memory_equal(&bed.d->gens, &gens, sizeof(gens));
	assert_int_equal(bed.d->serving, serving);
}

static void put_begin(uint8_t plan)
{
	const struct port_begin m = {.plan = plan, .peer = {.current = 5}};

	port_begin_encode(&w, &m);
}

/* The next message of the server but STATE. */
static unsigned int heard(char text[WIRE_TEXT_MAX + 1])
{
	struct err e = ERR_INIT;
	struct frame f;

	do {
		if (port_conn_recv(worker, &f, &e) < 0)
			return 0;
	} while (f.h.type == PORT_STATE);
	if (text)
		assert_int_equal(port_text_decode(&f, text, &e), 0);
	return f.h.type;
}

/* ---- the primary ------------------------------------------------------------------ */

static void before_a_session(void **state)
{
	put_begin(WIRE_PLAN_FULL + 1);
	wrong(PORT_BEGIN, 0, "BEGIN: bad plan");
	put_begin(WIRE_PLAN_FULL);
	wrong(PORT_BEGIN, 3, "BEGIN(3), but the word says 0");
	wrong(PORT_COMMIT, 0, "COMMIT to a primary's disk");
	port_activate_encode(&w, 7);
	wrong(PORT_ACTIVATE, 0, "ACTIVATE to a primary's disk");
	wr_u64(&w, 0);
	wrong(PORT_VERIFY, FRAME_NO_EPOCH, "VERIFY: bad number");
	/* What crossed a DROPPED is no error. */
	right(PORT_ASK_END, 9);
	right(PORT_LEAVE, FRAME_NO_EPOCH);
	/* A pass that cannot begin has its end at once. */
	port_verify_encode(&w, 4);
	right(PORT_VERIFY, FRAME_NO_EPOCH);
	assert_int_equal(heard(NULL), PORT_COMPARED);
}

static void no_word(void **state)
{
	struct err e = ERR_INIT;

	primary_disk_end(prim);
	assert_int_equal(primary_disk_start(prim, &server, -1, &e), 0);
	put_begin(WIRE_PLAN_FULL);
	wrong(PORT_BEGIN, 0, "BEGIN without an epoch word");
	/* A descriptor that is no such page. */
	assert_int_equal(primary_disk_start(prim, &server, port_conn_fd(worker), &e), -EBADMSG);
}

static void within_a_session(void **state)
{
	static const uint8_t bits[1] = {1};
	const struct wire_disk_range range = {.chunk = DISK_CHUNK, .off = 0, .count = 1};
	const struct wire_disk_verified verified = {.len = DISK_CHUNK, .result = WIRE_VERIFY_EQUAL};
	struct wire_disk_progress progress = {.durable = 0, .applied = 0};

	put_begin(WIRE_PLAN_NOTHING);
	right(PORT_BEGIN, 0);
	put_begin(WIRE_PLAN_NOTHING);
	wrong(PORT_BEGIN, 0, "BEGIN within a session");
	wrong(PORT_ALONE, FRAME_NO_EPOCH, "ALONE within a session");
	wrong(PORT_ASK_END, 1, "ASK_END(1), it is the turn of 0");
	wire_disk_want_encode(&w, &range, bits);
	wrong(FRAME_DISK_WANT, FRAME_NO_EPOCH, "DISK_WANT that answers nothing");
	wire_disk_verified_encode(&w, &verified);
	wrong(FRAME_DISK_VERIFIED, 0, "DISK_VERIFIED that answers nothing");
	wire_disk_progress_encode(&w, &progress);
	wrong(FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, "DISK_PROGRESS of an epoch without end");
	progress.disk = 1;
	wire_disk_progress_encode(&w, &progress);
	wrong(FRAME_DISK_PROGRESS, FRAME_NO_EPOCH, "DISK_PROGRESS");
}

/* The epoch runs still: the word was not moved on. */
static void end_of_what_runs(void **state)
{
	struct err e = ERR_INIT;
	int rc = 0;

	put_begin(WIRE_PLAN_NOTHING);
	right(PORT_BEGIN, 0);
	assert_int_equal(say(PORT_ASK_END, 0, &e), 0);
	/* Its generations are settled first. */
	for (int i = 0; i < 20 && rc == 0; i++) {
		disk_go_on(bed.d, clock_now());
		rc = primary_disk_go_on(prim, clock_now(), &e);
		blk_reap(&bed.file.dev);
	}
	assert_int_equal(rc, -EPROTO);
	assert_non_null(strstr(e.text, "ASK_END(0) of an epoch that runs"));
	assert_true(bed.d->serving);
}

/* ---- the backup ------------------------------------------------------------------- */

static void backup_begins(void)
{
	put_begin(WIRE_PLAN_FULL);
	right(PORT_BEGIN, 0);
	assert_int_equal(bed.d->state, JOURNAL_SYNCING);
	assert_false(bed.d->serving);
}

static void put_record(uint64_t off, uint32_t len, uint8_t flags, uint32_t count)
{
	static const uint8_t data[4096] = {0xff, 0xff, 0xff, 0xff};
	const struct wire_disk_record r = {.op = WIRE_DISK_WRITE,
					   .flags = flags,
					   .len = len,
					   .off = off,
					   .data = data,
					   .stored = flags ? 100 : len};

	wire_disk_data_begin(&w, 0);
	wire_disk_record_encode(&w, &r);
	wire_disk_data_end(&w, count);
}

static void wrong_data(void **state)
{
	static const uint8_t none[DISK_BED_SIZE];

	backup_begins();
	put_record(DISK_BED_SIZE, 4096, 0, 1);
	wrong(FRAME_DISK_DATA, 0, "DISK_DATA");
	assert_memory_equal(bed.data.now, none, sizeof(none));
}

static void data_that_does_not_unpack(void **state)
{
	backup_begins();
	put_record(0, 4096, WIRE_RECORD_LZ4, 1);
	wrong(FRAME_DISK_DATA, 0, "a record does not unpack");
}

static void data_of_another_epoch(void **state)
{
	backup_begins();
	put_record(0, 4096, 0, 1);
	wrong(FRAME_DISK_DATA, 5, "epoch 5");
}

static void fewer_records_than_said(void **state)
{
	backup_begins();
	put_record(0, 4096, 0, 2);
	wrong(FRAME_DISK_DATA, 0, "DISK_DATA");
}

static void numbers_differ(void **state)
{
	const struct wire_disk_end end = {.records = 3, .bytes = 12288, .digest = 1};

	backup_begins();
	put_record(0, 4096, 0, 1);
	right(FRAME_DISK_DATA, 0);
	wire_disk_end_encode(&w, &end);
	wrong(FRAME_DISK_END, 0, "DISK_END(0): 3 records of 12288 bytes, but 1 of 4096 came");
	/* And so it is never held, nor committed. */
	wrong(PORT_COMMIT, 0, "COMMIT(0)");
	assert_int_equal(heard(NULL), 0);
}

static void wrong_turns(void **state)
{
	backup_begins();
	put_begin(WIRE_PLAN_FULL);
	wrong(PORT_BEGIN, 0, "BEGIN within a session");
	wrong(PORT_ASK_END, 0, "ASK_END to a backup's disk");
	wrong(PORT_ALONE, FRAME_NO_EPOCH, "ALONE to a backup's disk");
	port_verify_encode(&w, 1);
	wrong(PORT_VERIFY, FRAME_NO_EPOCH, "VERIFY to a backup's disk");
	wrong(PORT_COMMIT, 7, "COMMIT(7)");
	wr_u64(&w, 0);
	wrong(PORT_ACTIVATE, 0, "ACTIVATE: bad generation");
	put_begin(9);
	wrong(PORT_BEGIN, 0, "BEGIN: bad plan");
}

/* A copy that is not whole is never run: said as ERROR, for the worker must tell its core. */
static void activated_too_early(void **state)
{
	char text[WIRE_TEXT_MAX + 1] = "";

	port_activate_encode(&w, 7);
	right(PORT_ACTIVATE, 0);
	assert_int_equal(heard(text), PORT_ERROR);
	assert_string_equal(text, "there is no session to be activated from");
	backup_begins();
	port_activate_encode(&w, 7);
	right(PORT_ACTIVATE, 0);
	assert_int_equal(heard(text), PORT_ERROR);
	assert_non_null(strstr(text, "disk \"web\" cannot be activated at epoch 0"));
	assert_int_equal(bed.d->state, JOURNAL_SYNCING);
	assert_false(bed.d->serving);
}

/* A first copy without a write, to ACTIVE. */
static void backup_activates(void)
{
	struct wire_disk_end end = {.records = 0};
	struct digest nothing;

	digest_init(&nothing);
	end.digest = digest_final(&nothing);
	backup_begins();
	wire_disk_end_encode(&w, &end);
	right(FRAME_DISK_END, 0);
	right(PORT_COMMIT, 0);
	assert_int_equal(bed.d->state, JOURNAL_CONSISTENT);
	port_activate_encode(&w, 7);
	right(PORT_ACTIVATE, 0);
	assert_int_equal(bed.d->state, JOURNAL_ACTIVE);
	assert_true(bed.d->serving);
	assert_int_equal(bed.d->gens.current, 5);
	assert_int_equal(bed.d->gens.bitmap, 0);
}

/* Killed, and the next one; the worker's connection ended with it. */
static void server_dies(void)
{
	const struct port_role role = server.role;

	primary_disk_end(prim);
	backup_disk_end(back);
	primary_disk_close(prim);
	backup_disk_free(back);
	disk_bed_reopen(&bed);
	primary_disk_free(prim);
	port_link_init(&server, &role, bed.d);
	assert_int_equal(primary_disk_new(&prim, bed.d), 0);
	assert_int_equal(backup_disk_new(&back, bed.d), 0);
}

static int guest_writes(void)
{
	static const uint8_t data[4096];
	const struct write_req wr = {.op = WRITE_DATA, .len = sizeof(data), .data = data};
	int rc = bed.d->gate.ops->admit(&bed.d->gate, &wr);

	if (!rc)
		assert_true(bed.d->gate.ops->done(&bed.d->gate, &wr, 0));
	return rc;
}

/* P3: of an activation that came to nothing no history is left, whoever serves the disk by then. */
static void leaves_after_its_server_died(void **state)
{
	backup_activates();
	server_dies();
	assert_int_equal(bed.d->state, JOURNAL_ACTIVE);
	assert_true(bed.d->serving);
	backup_disk_start(back, &server);
	right(PORT_LEAVE, FRAME_NO_EPOCH);
	assert_int_equal(bed.d->state, JOURNAL_OUTDATED);
	assert_false(bed.d->serving);
	assert_int_equal(bed.d->gens.current, 5);
	assert_int_equal(bed.d->gens.bitmap, 0);
	/* Again: it is OUTDATED, and for good. */
	right(PORT_LEAVE, FRAME_NO_EPOCH);
	server_dies();
	assert_int_equal(bed.d->state, JOURNAL_OUTDATED);
}

/* The VM runs: its first write makes the history, though the server that was asked to is gone. */
static void writes_after_its_server_died(void **state)
{
	backup_activates();
	server_dies();
	/* The guest has the disk: nobody tells this server anything. */
	bed.d->starts_alone = false;
	for (int i = 0; i < 20 && guest_writes() == -EAGAIN; i++)
		go_on();
	assert_int_equal(guest_writes(), 0);
	assert_true(bed.d->gens.current != 5);
	assert_int_equal(bed.d->gens.bitmap, 5);
	/* That is made once. */
	uint64_t made = bed.d->gens.current;

	server_dies();
	bed.d->starts_alone = false;
	assert_int_equal(bed.d->pending_generation, 0);
	for (int i = 0; i < 20 && guest_writes() == -EAGAIN; i++)
		go_on();
	assert_true(bed.d->gens.current == made);
	/* And what has a history is not given up by a word. */
	backup_disk_start(back, &server);
	right(PORT_LEAVE, FRAME_NO_EPOCH);
	assert_int_equal(bed.d->state, JOURNAL_ACTIVE);
	assert_true(bed.d->serving);
}

#define PRIMARY(name) cmocka_unit_test_setup_teardown(name, at_primary, tear_down)
#define BACKUP(name) cmocka_unit_test_setup_teardown(name, at_backup, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRIMARY(before_a_session),
		PRIMARY(no_word),
		PRIMARY(within_a_session),
		PRIMARY(end_of_what_runs),
		BACKUP(wrong_data),
		BACKUP(data_that_does_not_unpack),
		BACKUP(data_of_another_epoch),
		BACKUP(fewer_records_than_said),
		BACKUP(numbers_differ),
		BACKUP(wrong_turns),
		BACKUP(activated_too_early),
		BACKUP(leaves_after_its_server_died),
		BACKUP(writes_after_its_server_died),
	};

	return RUN_TESTS("disk_roles", tests);
}
