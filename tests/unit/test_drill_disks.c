/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drill's hold on the processes that show its copy the disks; each is this very program, and the disk's name is its role. */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "replicator/drill_disks.h"
#include "replicator/epoch.h"

static int child_say(const char *text)
{
	return send(3, text, strlen(text), MSG_NOSIGNAL) < 0;
}

static int child_main(int argc, char **argv)
{
	const char *role = argv[argc - 1];
	char text[64];
	ssize_t n;

	if (strcmp(role, "--clean") == 0)
		return strcmp(argv[4], "dirty") == 0;
	if (strcmp(role, "absent") == 0)
		return child_say("error disk absent is not in /etc/romulus/romulus.conf") + 1;
	if (child_say("here"))
		return 90;
	while ((n = recv(3, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = '\0';
		if (strcmp(role, "silent") == 0)
			continue;
		if (strcmp(role, "dies") == 0)
			raise(SIGKILL);
		if (strcmp(text, "hold") == 0)
			(void)child_say(strcmp(role, "new") == 0     ? "held none"
					: strcmp(role, "ahead") == 0 ? "held 12"
								     : "held 9");
		else if (strcmp(role, "full") == 0)
			(void)child_say("error disk full: its overlay is full");
		else
			(void)(child_say("used 1048576") || child_say("serving"));
	}
	if (strcmp(role, "stubborn") == 0)
		return 1;
	return 0;
}

static void make(struct drill_disks *d, const char *a, const char *b)
{
	drill_disks_init(d);
	d->program = "/proc/self/exe";
	d->conf_path = "/nowhere";
	d->vm = "web";
	assert_int_equal(drill_disks_add(d, a), 0);
	if (b)
		assert_int_equal(drill_disks_add(d, b), 0);
}

static void from_start_to_end(void **state)
{
	struct drill_disks d;
	struct err e = ERR_INIT;
	uint64_t least;

	make(&d, "root", "ahead");
	assert_int_equal(drill_disks_start(&d, &e), 0);
	assert_int_equal(drill_disks_hold(&d, &least, &e), 0);
	assert_int_equal(least, 12);
	assert_int_equal(drill_disks_at(&d, 14, &e), 0);
	assert_int_equal(drill_disks_used(&d), 2 << 20);
	assert_int_equal(drill_disks_look(&d, &e), 0);
	assert_true(drill_disks_end(&d));
	assert_true(drill_disks_end(&d));
	/* One that has applied nothing yet can show any. */
	make(&d, "new", NULL);
	assert_int_equal(drill_disks_start(&d, &e), 0);
	assert_int_equal(drill_disks_hold(&d, &least, &e), 0);
	assert_true(least == EPOCH_NONE);
	assert_true(drill_disks_end(&d));
}

static void none_is_fine(void **state)
{
	struct drill_disks d;
	struct err e = ERR_INIT;

	drill_disks_init(&d);
	assert_int_equal(drill_disks_start(&d, &e), 0);
	assert_int_equal(drill_disks_look(&d, &e), 0);
	assert_true(drill_disks_end(&d));
	assert_int_equal(drill_disks_add(&d, "../x"), -EINVAL);
	for (int i = 0; i < WIRE_MAX_DISKS; i++)
		assert_int_equal(drill_disks_add(&d, "x"), 0);
	assert_int_equal(drill_disks_add(&d, "x"), -EINVAL);
}

static void what_one_says_is_the_reason(void **state)
{
	struct drill_disks d;
	struct err e = ERR_INIT;
	uint64_t least;

	make(&d, "root", "absent");
	assert_int_equal(drill_disks_start(&d, &e), -EIO);
	assert_non_null(strstr(e.text, "absent is not in"));
	assert_false(drill_disks_end(&d));
	make(&d, "full", "root");
	assert_int_equal(drill_disks_start(&d, &e), 0);
	assert_int_equal(drill_disks_hold(&d, &least, &e), 0);
	assert_int_equal(drill_disks_at(&d, 9, &e), -EIO);
	assert_non_null(strstr(e.text, "overlay is full"));
	assert_true(drill_disks_end(&d));
	make(&d, "dies", NULL);
	assert_int_equal(drill_disks_start(&d, &e), 0);
	assert_int_equal(drill_disks_hold(&d, &least, &e), -EPIPE);
	assert_non_null(strstr(e.text, "dies"));
	assert_int_equal(drill_disks_look(&d, &e), -EPIPE);
	/* Nobody took its device away. */
	assert_false(drill_disks_end(&d));
}

static void ends_when_it_is_told(void **state)
{
	struct drill_disks d;
	struct err e = ERR_INIT;
	uint64_t began = clock_now(), least;
	int fd = eventfd(1, EFD_CLOEXEC);

	make(&d, "silent", NULL);
	assert_int_equal(drill_disks_start(&d, &e), 0);
	d.wake_fd = fd;
	assert_int_equal(drill_disks_hold(&d, &least, &e), -ECANCELED);
	assert_true(clock_now() - began < 5 * NS_PER_SEC);
	assert_true(drill_disks_end(&d));
	close(fd);
}

static void cleans(void **state)
{
	struct drill_disks d;
	struct err e = ERR_INIT;

	drill_disks_init(&d);
	d.program = "/proc/self/exe";
	d.conf_path = "/nowhere";
	d.vm = "web";
	assert_int_equal(drill_disks_clean(&d, &e), 0);
	d.vm = "dirty";
	assert_int_equal(drill_disks_clean(&d, &e), -EIO);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_start_to_end),
		cmocka_unit_test(none_is_fine),
		cmocka_unit_test(what_one_says_is_the_reason),
		cmocka_unit_test(ends_when_it_is_told),
		cmocka_unit_test(cleans),
	};

	return argc > 1 ? child_main(argc, argv) : RUN_TESTS("drill_disks", tests);
}
