/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks can be protected, and the lines in which they are told. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "replicator/disk_list.h"

static const struct disk_seen good = {
	.vdev = "xvda", .target = "web-root", .script = "block-romulus", .writable = true};

static void refused(const struct disk_seen *d, const char *text)
{
	struct disk_list l = {.n = 0};
	struct err e = ERR_INIT;

	assert_int_equal(disk_list_add(&l, d, "web", &e), -EOPNOTSUPP);
	if (!strstr(e.text, text))
		fail_msg("'%s' lacks '%s'", e.text, text);
	assert_int_equal(l.n, 0);
}

static void taken(void **state)
{
	struct disk_seen d = good;
	struct disk_list l = {.n = 0};
	struct err e = ERR_INIT;

	assert_int_equal(disk_list_add(&l, &d, "web", &e), 0);
	d.vdev = "xvdb";
	d.target = "web-data";
	d.script = "/etc/xen/scripts/block-romulus";
	d.writable = false;
	assert_int_equal(disk_list_add(&l, &d, "web", &e), 0);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.disk[1].vdev, "xvdb");
	assert_string_equal(l.disk[1].name, "web-data");
}

static void not_taken(void **state)
{
	struct disk_seen d = good;

	d.script = NULL;
	refused(&d, "disk xvda of web is not a Romulus disk: give it to one");
	d.writable = false;
	refused(&d, "disk xvda of web is not a Romulus disk, though read-only");
	d.script = "block-romulus-not";
	refused(&d, "not a Romulus disk");
	d.script = "/tmp/block-romulus";
	refused(&d, "not a Romulus disk");
	d = good;
	d.target = "/etc/shadow";
	refused(&d, "target '/etc/shadow' is no name");
	d.target = NULL;
	refused(&d, "target '' is no name");
	d = good;
	d.elsewhere = true;
	refused(&d, "driver domain");
	d = good;
	d.vdev = NULL;
	refused(&d, "no usable name");
}

static void same_disk_twice(void **state)
{
	struct disk_seen d = good;
	struct disk_list l = {.n = 0};
	struct err e = ERR_INIT;

	assert_int_equal(disk_list_add(&l, &d, "web", &e), 0);
	d.vdev = "xvdb";
	assert_int_equal(disk_list_add(&l, &d, "web", &e), -EOPNOTSUPP);
	assert_string_equal(e.text, "disks xvda and xvdb of web are the same one, web-root");
}

static void too_many(void **state)
{
	struct disk_list l = {.n = 0};
	struct err e = ERR_INIT;

	for (int i = 0; i <= WIRE_MAX_DISKS; i++) {
		char vdev[8], name[8];
		const struct disk_seen d = {.vdev = vdev, .target = name, .script = good.script};

		snprintf(vdev, sizeof(vdev), "xvd%c", 'a' + i);
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(disk_list_add(&l, &d, "web", &e),
				 i < WIRE_MAX_DISKS ? 0 : -EOPNOTSUPP);
	}
	assert_int_equal(l.n, WIRE_MAX_DISKS);
}

static void there_and_back(void **state)
{
	struct disk_list l = {.n = 0}, back;
	char text[2 * DISK_LINE_SIZE] = "", line[DISK_LINE_SIZE];
	struct disk_seen d = good;
	struct err e = ERR_INIT;
	size_t used = 0;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(disk_list_add(&l, &d, "web", &e), 0);
		disk_list_line(line, &l, i);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\n", line);
		d = (struct disk_seen){.vdev = "xvdb", .target = "web-data", .script = good.script};
	}
	assert_int_equal(disk_list_parse(&back, text, &e), 0);
	assert_int_equal(back.n, l.n);
	for (unsigned int i = 0; i < l.n; i++) {
		assert_string_equal(back.disk[i].vdev, l.disk[i].vdev);
		assert_string_equal(back.disk[i].name, l.disk[i].name);
	}
	assert_int_equal(disk_list_parse(&back, "", &e), 0);
	assert_int_equal(back.n, 0);
}

static void nonsense(void **state)
{
	static const char *const wrong[] = {
		"disk vdev=xvda name=web-root", /* no end */
		"disk vdev=xvda\n",
		"disk vdev= name=x\n",
		"disk vdev=xvda name=../x\n",
		"disk vdev=xvda name=x y\n",
		"disk vdev=averyveryverylongname name=x\n",
		"\n",
	};
	struct disk_list l;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(disk_list_parse(&l, wrong[i], &e), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),	   cmocka_unit_test(not_taken),
		cmocka_unit_test(same_disk_twice), cmocka_unit_test(too_many),
		cmocka_unit_test(there_and_back),  cmocka_unit_test(nonsense),
	};

	return RUN_TESTS("disk_list", tests);
}
