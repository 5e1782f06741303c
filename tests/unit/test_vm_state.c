/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf.h"
#include "lib/err.h"
#include "lib/timing.h"
#include "replicator/vm_state.h"

struct fixture {
	char dir[64];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_vm_state.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/vm", f->dir);
	assert_true(rmdir(path) == 0 || errno == ENOENT);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static struct vm_state example(void)
{
	struct vm_state s;

	vm_state_init(&s, "web");
	s.role = VM_PRIMARY;
	s.term = 0x1122334455667788;
	strcpy(s.peer, "hostb");
	s.policy = POLICY_BACKUP_WINS;
	s.epoch_period_ns = 25000000;
	s.heartbeat_period_ns = 50000000;
	s.failure_timeout_ns = 2000000000;
	for (int i = 0; i < VM_UUID_SIZE; i++)
		s.uuid[i] = (uint8_t)(0xa0 + i);
	return s;
}

static void round_trip(void **state)
{
	struct vm_state s = example();
	struct vm_state back;
	uint8_t buf[VM_STATE_BYTES];

	vm_state_encode(&s, buf);
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
	vm_state_init(&s, "db");
	vm_state_encode(&s, buf);
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
}

/* The format may change only with its version. */
static void golden(void **state)
{
	static const uint8_t head[] = {
		'v',  'm',  's',  '1',	2,    0,    1, 3, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22,
		0x11, 0x40, 0x78, 0x7d, 0x01, 0,    0, 0, 0,	0x80, 0xf0, 0xfa, 0x02, 0,    0,
		0,    0,    0x00, 0x94, 0x35, 0x77, 0, 0, 0,	0,    'w',  'e',  'b',	0,
	};
	struct vm_state s = example();
	uint8_t buf[VM_STATE_BYTES];

	vm_state_encode(&s, buf);
	assert_memory_equal(buf, head, sizeof(head));
	assert_memory_equal(buf + 104, "hostb\0", 6);
	for (int i = 168; i < 184; i++)
		assert_int_equal(buf[i], 0xa0 + i - 168);
	for (int i = 184; i < VM_STATE_BYTES; i++)
		assert_int_equal(buf[i], 0);
}

/* Version 1 had no uuid; its bytes were 0. */
static void older_version(void **state)
{
	struct vm_state s = example();
	struct vm_state back;
	uint8_t buf[VM_STATE_BYTES];

	memset(s.uuid, 0, sizeof(s.uuid));
	vm_state_encode(&s, buf);
	buf[4] = 1;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
	for (int i = 168; i < VM_STATE_BYTES; i++) {
		buf[i] = 1;
		assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
		buf[i] = 0;
	}
	buf[4] = 0;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
}

/* Version 3 is written only where an older program must not go on with it. */
static void handed_over(void **state)
{
	struct vm_state s = example();
	struct vm_state back;
	uint8_t buf[VM_STATE_BYTES];

	vm_state_encode(&s, buf);
	assert_int_equal(buf[4], 2);
	s.handed = true;
	vm_state_encode(&s, buf);
	assert_int_equal(buf[4], 3);
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
	buf[4] = 2;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	buf[4] = 3;
	buf[184] = 2;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	buf[184] = 0;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
}

/* Version 4 is written only where an older program must not go alone with it. */
static void with_an_arbiter(void **state)
{
	struct vm_state s = example();
	struct vm_state back;
	uint8_t buf[VM_STATE_BYTES];

	s.policy = POLICY_ARBITER;
	s.joined = true;
	s.handed = true;
	s.asked = UINT64_C(0x0102030405060708);
	vm_state_encode(&s, buf);
	assert_int_equal(buf[4], 4);
	assert_int_equal(buf[185], 1);
	assert_int_equal(buf[192], 8);
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
	for (int i = 186; i < VM_STATE_BYTES; i = i == 191 ? 200 : i + 1) {
		buf[i] = 1;
		assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
		buf[i] = 0;
	}
	buf[185] = 2;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	buf[185] = 0;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	for (int version = 1; version < 4; version++) {
		buf[4] = (uint8_t)version;
		assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	}
	/* A policy that nobody knows. */
	buf[4] = 4;
	buf[7] = 5;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	/* The term that was asked for outlives the policy. */
	s = example();
	s.asked = 9;
	vm_state_encode(&s, buf);
	assert_int_equal(buf[4], 4);
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(&s, &back, sizeof(s));
}

/* Version 5 is written only where an older program must not forget what it says. */
static void taken_over(void **state)
{
	struct vm_state back, s = example();
	uint8_t buf[VM_STATE_BYTES];

	for (int taken = TAKEN_NOT; taken <= TAKEN_FROM_OTHER; taken++) {
		for (int alone = 0; alone < 2; alone++) {
			s.taken = (enum vm_taken)taken;
			s.alone = alone;
			vm_state_encode(&s, buf);
			assert_int_equal(buf[4], taken || alone ? 5 : 2);
			assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), 0);
			assert_memory_equal(&s, &back, sizeof(s));
		}
	}
	buf[187] = 3;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	buf[187] = 1;
	buf[186] = 2;
	assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	buf[186] = 1;
	for (int version = 1; version < 5; version++) {
		buf[4] = (uint8_t)version;
		assert_int_equal(vm_state_decode(&back, buf, sizeof(buf), NULL), -EBADMSG);
	}
}

/* P4: that it was taken over outlives its protection, until the operator says so or the other host has a standby. */
static void not_forgotten(void **state)
{
	struct fixture *f = *state;
	struct vm_state s = example();
	struct err e = ERR_INIT;

	s.role = VM_BACKUP;
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_ACTIVE, 0, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &s, &e), 0);
	assert_int_equal(s.taken, TAKEN_FROM_PEER);
	s.role = VM_PRIMARY;
	assert_int_equal(vm_state_role_after(&s), VM_ACTIVE);
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_set_alone(f->dir, "web", true, &e), 0);
	assert_int_equal(vm_state_set_taken(f->dir, "web", TAKEN_NOT, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &s, &e), 0);
	assert_true(s.alone);
	assert_int_equal(s.role, VM_PRIMARY);
	assert_int_equal(vm_state_role_after(&s), VM_NONE);
	assert_int_equal(vm_state_remove(f->dir, "web", &e), 0);
}

static void knows_others(void **state)
{
	static const uint8_t unknown[VM_UUID_SIZE];
	struct vm_state s = example();
	uint8_t uuid[VM_UUID_SIZE];

	memcpy(uuid, s.uuid, sizeof(uuid));
	uuid[15] ^= 1;
	for (int role = VM_NONE; role <= VM_ACTIVE; role++) {
		bool is_here = role != VM_NONE;

		s.role = (enum vm_role)role;
		assert_false(vm_state_is_other(&s, "hostb", s.uuid));
		assert_false(vm_state_is_other(&s, "hostb", unknown));
		assert_int_equal(vm_state_is_other(&s, "hostc", s.uuid), is_here);
		assert_int_equal(vm_state_is_other(&s, "hostc", unknown), is_here);
		assert_int_equal(vm_state_is_other(&s, "hostb", uuid), is_here);
	}
	/* Whoever had it before, of a VM that was taken over the uuid tells. */
	s.role = VM_PRIMARY;
	s.taken = TAKEN_FROM_OTHER;
	assert_false(vm_state_is_other(&s, "hostc", s.uuid));
	assert_true(vm_state_is_other(&s, "hostc", uuid));
	assert_true(vm_state_is_other(&s, "hostc", unknown));
	s.role = VM_ACTIVE;
	s.taken = TAKEN_FROM_PEER;
	/* Written by version 1. */
	memset(s.uuid, 0, sizeof(s.uuid));
	assert_false(vm_state_is_other(&s, "hostb", uuid));
	assert_true(vm_state_is_other(&s, "hostc", uuid));
}

static void refuses_bytes(void **state)
{
	static const struct {
		int offset;
		uint8_t value;
	} table[] = {
		{0, 'x'}, {4, 3},     {6, 4},	  {6, 255},  {7, 4},	{7, 0},	    {23, 0xff},
		{31, 1},  {39, 1},    {40, 0},	  {40, '/'}, {40, '.'}, {103, 'x'}, {60, 'x'},
		{104, 0}, {104, ' '}, {167, 'x'}, {184, 1},  {255, 1},
	};
	struct vm_state s = example();
	struct vm_state back;
	uint8_t buf[VM_STATE_BYTES + 1] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct err e = ERR_INIT;

		vm_state_encode(&s, buf);
		buf[table[i].offset] = table[i].value;
		if (vm_state_decode(&back, buf, VM_STATE_BYTES, &e) != -EBADMSG)
			fail_msg("byte %d = %d was taken", table[i].offset, table[i].value);
		assert_true(*e.text);
	}
	vm_state_encode(&s, buf);
	memset(buf + 8, 0, 8);
	assert_int_equal(vm_state_decode(&back, buf, VM_STATE_BYTES, NULL), -EBADMSG);
	vm_state_encode(&s, buf);
	for (size_t len = 0; len < VM_STATE_BYTES; len++)
		assert_int_equal(vm_state_decode(&back, buf, len, NULL), -EBADMSG);
	assert_int_equal(vm_state_decode(&back, buf, VM_STATE_BYTES + 1, NULL), -EBADMSG);
}

static void saves_and_loads(void **state)
{
	struct fixture *f = *state;
	struct vm_state s = example();
	struct vm_state back;
	struct err e = ERR_INIT;

	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), -ENOENT);
	assert_string_equal(back.vm, "web");
	assert_int_equal(back.role, VM_NONE);
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), 0);
	assert_memory_equal(&s, &back, sizeof(s));
	/* The term only rises. */
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_NONE, 5, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), 0);
	assert_int_equal(back.role, VM_NONE);
	assert_true(back.term == s.term);
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_ACTIVE, s.term + 1, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), 0);
	assert_true(back.term == s.term + 1);
	assert_int_equal(vm_state_remove(f->dir, "web", &e), 0);
	assert_int_equal(vm_state_remove(f->dir, "web", &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), -ENOENT);
	/* An unknown VM may become nothing, but not a primary without a peer. */
	assert_int_equal(vm_state_set_role(f->dir, "new", VM_PRIMARY, 1, &e), -EINVAL);
	assert_int_equal(vm_state_set_role(f->dir, "new", VM_NONE, 7, &e), 0);
	assert_int_equal(vm_state_remove(f->dir, "new", &e), 0);
	assert_int_equal(vm_state_load(f->dir, "../x", &back, &e), -EINVAL);
	assert_int_equal(vm_state_save("/nonexistent", &s, &e), -ENOENT);
}

static void joined(void **state)
{
	struct fixture *f = *state;
	struct vm_state s = example();
	struct vm_state back;
	struct err e = ERR_INIT;

	s.policy = POLICY_ARBITER;
	s.joined = false;
	assert_int_equal(vm_state_set_joined(f->dir, "web", 1, &e), -ENOENT);
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	assert_int_equal(vm_state_set_joined(f->dir, "web", s.term + 2, &e), 0);
	assert_int_equal(vm_state_set_terms(f->dir, "web", s.term + 1, s.term + 3, &e), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), 0);
	assert_true(back.joined && back.term == s.term + 2 && back.asked == s.term + 3);
	assert_memory_equal(back.uuid, s.uuid, sizeof(s.uuid));
	assert_int_equal(back.role, s.role);
	assert_int_equal(vm_state_remove(f->dir, "web", &e), 0);
}

static void torn_files(void **state)
{
	struct fixture *f = *state;
	struct vm_state s = example();
	struct vm_state back;
	struct err e = ERR_INIT;
	char path[128];
	char other[128];
	int fd;

	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	snprintf(path, sizeof(path), "%s/vm/web.state", f->dir);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), -EBADMSG);
	assert_non_null(strstr(e.text, path));
	assert_non_null(strstr(e.text, "romulus forget web"));
	assert_int_equal(vm_state_set_role(f->dir, "web", VM_NONE, 0, &e), -EBADMSG);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	close(fd);
	assert_int_equal(vm_state_load(f->dir, "web", &back, &e), -EBADMSG);
	/* Somebody copied one VM's file to another name. */
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	snprintf(other, sizeof(other), "%s/vm/db.state", f->dir);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(vm_state_load(f->dir, "db", &back, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "VM \"web\""));
	assert_int_equal(vm_state_remove(f->dir, "db", &e), 0);
}

struct count {
	int good;
	int bad;
};

static int count_one(void *ctx, const struct vm_state *s, int rc, const struct err *e)
{
	struct count *c = ctx;

	c->good += rc == 0;
	c->bad += rc < 0 && *e->text && *s->vm;
	return 0;
}

static int stop_at_once(void *ctx, const struct vm_state *s, int rc, const struct err *e)
{
	++*(int *)ctx;
	return -ECANCELED;
}

static void each(void **state)
{
	struct fixture *f = *state;
	struct vm_state s = example();
	struct count c = {0};
	struct err e = ERR_INIT;
	static const char *const junk[] = {"x.state.new", ".state", "a b.state", "readme"};
	char path[128];
	int n = 0;

	assert_int_equal(vm_state_each(f->dir, count_one, &c, &e), 0);
	assert_int_equal(c.good + c.bad, 0);
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	vm_state_init(&s, "db");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	vm_state_init(&s, "torn");
	assert_int_equal(vm_state_save(f->dir, &s, &e), 0);
	snprintf(path, sizeof(path), "%s/vm/torn.state", f->dir);
	assert_int_equal(truncate(path, 50), 0);
	for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
		snprintf(path, sizeof(path), "%s/vm/%s", f->dir, junk[i]);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	assert_int_equal(vm_state_each(f->dir, count_one, &c, &e), 0);
	assert_int_equal(c.good, 2);
	assert_int_equal(c.bad, 1);
	assert_int_equal(vm_state_each(f->dir, stop_at_once, &n, &e), -ECANCELED);
	assert_int_equal(n, 1);
	for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
		snprintf(path, sizeof(path), "%s/vm/%s", f->dir, junk[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(vm_state_remove(f->dir, "web", &e), 0);
	assert_int_equal(vm_state_remove(f->dir, "db", &e), 0);
	assert_int_equal(vm_state_remove(f->dir, "torn", &e), 0);
}

static void times(void **state)
{
	struct conf c = {.epoch_period_ns = 50000000,
			 .heartbeat_period_ns = 100000000,
			 .failure_timeout_ns = 1000000000};
	struct vm_state s = example();
	struct err e = ERR_INIT;
	struct timing t;

	assert_int_equal(vm_state_timing(&s, &c, &t, &e), 0);
	assert_int_equal(t.epoch_period_ns, 25000000);
	assert_int_equal(t.failure_timeout_ns, 2000000000);
	s.epoch_period_ns = s.heartbeat_period_ns = s.failure_timeout_ns = 0;
	c.suspend_timeout_ns = 123000000;
	assert_int_equal(vm_state_timing(&s, &c, &t, &e), 0);
	assert_int_equal(t.epoch_period_ns, 50000000);
	assert_int_equal(t.suspend_timeout_ns, 123000000);
	s.failure_timeout_ns = 150000000;
	assert_int_equal(vm_state_timing(&s, &c, &t, &e), -EINVAL);
	assert_non_null(strstr(e.text, "vm web"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(golden),
		cmocka_unit_test(older_version),
		cmocka_unit_test(handed_over),
		cmocka_unit_test(with_an_arbiter),
		cmocka_unit_test(refuses_bytes),
		cmocka_unit_test(taken_over),
		cmocka_unit_test_setup_teardown(not_forgotten, set_up, tear_down),
		cmocka_unit_test(knows_others),
		cmocka_unit_test_setup_teardown(saves_and_loads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(joined, set_up, tear_down),
		cmocka_unit_test_setup_teardown(torn_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each, set_up, tear_down),
		cmocka_unit_test(times),
	};

	return RUN_TESTS("vm_state", tests);
}
