/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd_nl, nbd_sysfs and nbd_device on a kernel that takes the messages apart. */
#include "tests/lib/fake_nbd.h"

#include <errno.h>
#include <linux/nbd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <netlink/msg.h>

#include "disk/nbd_device.h"
#include "disk/nbd_nl.h"
#include "disk/nbd_wire.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

static const struct nbdwire_export disk = {.name = "web", .size = 1 << 30, .block = 4096};
static char index_path[96];

static struct nbddev begin(void)
{
	const struct nbddev_conf c = {
		.export = &disk, .index_path = index_path, .sys_block = fake_nbd.dir};
	struct nbddev d;
	struct err e = ERR_INIT;

	snprintf(index_path, sizeof(index_path), "%s/web.nbd", fake_nbd.dir);
	if (nbddev_init(&d, &c, &e) < 0)
		fail_msg("%s", e.text);
	return d;
}

static int attach(struct nbddev *d, int *fd)
{
	struct err e = ERR_INIT;
	int rc = nbddev_attach(d, fd, &e);

	assert_true(rc == 0 || *e.text);
	return rc;
}

static void read_file(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	buf[fread(buf, 1, size - 1, f)] = 0;
	fclose(f);
}

static bool is_talking(int ours, int theirs)
{
	char c = 0;

	return write(theirs, "x", 1) == 1 && read(ours, &c, 1) == 1 && c == 'x';
}

/* The helper is a thread of its own. */
static void wait_for_file(const char *name, const char *want)
{
	char path[128];
	char got[32] = "";

	snprintf(path, sizeof(path), "%s/nbd%d/queue/%s", fake_nbd.dir, FAKE_NBD_FIRST, name);
	for (int i = 0; i < 1000; i++) {
		read_file(path, got, sizeof(got));
		if (!strncmp(got, want, strlen(want)))
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("%s is %s", name, got);
}

static void a_device_is_made(void **state)
{
	struct nbddev d = begin();
	const struct fake_nbd_device *k = &fake_nbd.device[0];
	char text[16];
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FAKE_NBD_FIRST);
	assert_true(k->size == 1 << 30);
	assert_int_equal(k->block, 4096);
	assert_int_equal(k->timeout, 10);
	assert_int_equal(k->dead_conn, 86400);
	assert_int_equal(k->server_flags, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
						  NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM);
	assert_int_equal(k->client_flags, 0);
	assert_string_equal(k->id, "romulus-disk:web");
	assert_true(is_talking(fd, k->fd));
	read_file(index_path, text, sizeof(text));
	assert_string_equal(text, "4001\n");
	wait_for_file("max_sectors_kb", "1024");
	wait_for_file("scheduler", "none");
	close(fd);
	nbddev_fini(&d);
}

/* A new process finds it, whatever became of the runtime file. */
static void a_device_is_taken_over(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	close(fd);
	nbddev_fini(&d);
	unlink(index_path);
	fake_nbd.device[0].socket_dead = true;
	fake_nbd.device[0].client_flags = NBD_CFLAG_DISCONNECT_ON_CLOSE;
	d = begin();
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FAKE_NBD_FIRST);
	assert_false(fake_nbd.device[1].connected);
	assert_int_equal(fake_nbd.device[0].client_flags, 0);
	assert_true(is_talking(fd, fake_nbd.device[0].fd));
	assert_int_equal(access(index_path, R_OK), 0);
	close(fd);
	nbddev_fini(&d);
}

/* The kernel did not see the death yet: it does not take the socket, and we see the end of it. */
static void too_early(void **state)
{
	struct nbddev d = begin();
	int first = -1;
	int fd = -1;
	char c;

	assert_int_equal(attach(&d, &first), 0);
	wait_for_file("scheduler", "none");
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	fake_nbd.device[0].socket_dead = true;
	assert_int_equal(attach(&d, &fd), 0);
	assert_true(is_talking(fd, fake_nbd.device[0].fd));
	close(fd);
	close(first);
	nbddev_fini(&d);
}

static void others_devices_are_left_alone(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	fake_nbd.device[0].connected = true;
	strcpy(fake_nbd.device[0].id, "romulus-disk:web2");
	fake_nbd_make_sysfs(FAKE_NBD_FIRST, "romulus-disk:web2\n");
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FAKE_NBD_FIRST + 1);
	close(fd);
	nbddev_fini(&d);
}

static void disconnected_by_others(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	close(fd);
	fake_nbd_disconnect(&fake_nbd.device[0]);
	assert_int_equal(attach(&d, &fd), -ENOTCONN);
	nbddev_gone(&d);
	assert_int_equal(d.index, -1);
	assert_int_equal(access(index_path, F_OK), -1);
	nbddev_fini(&d);
}

static void let_go(void **state)
{
	struct nbddev d = begin();
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	assert_int_equal(nbddev_let_go(&d, &e), 0);
	assert_int_equal(fake_nbd.device[0].client_flags, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	assert_true(fake_nbd.device[0].connected);
	assert_true(is_talking(fd, fake_nbd.device[0].fd)); /* its socket stays */
	/* A further connection does not take that back. */
	close(fd);
	fake_nbd.device[0].socket_dead = true;
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(fake_nbd.device[0].client_flags, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	close(fd);
	nbddev_fini(&d);
}

/* Nobody could find it: it must not stay. */
static void no_room_for_the_runtime_file(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	d.conf.index_path = "/nonexistent/web.nbd";
	assert_int_equal(attach(&d, &fd), -ENOENT);
	assert_int_equal(d.index, -1);
	assert_false(fake_nbd.device[0].connected);
	nbddev_fini(&d);
}

static void errors(void **state)
{
	struct nbddev d = begin();
	struct err e = ERR_INIT;
	bool connected;
	int fd = -1;

	fake_nbd.error = EPERM;
	assert_int_equal(attach(&d, &fd), -EPERM);
	assert_int_equal(nbdnl_disconnect(d.nl, FAKE_NBD_FIRST, &e), -EPERM);
	assert_int_equal(nbdnl_is_connected(d.nl, FAKE_NBD_FIRST, &connected, &e), -EPERM);
	fake_nbd.error = 0;
	fake_nbd.no_index = true;
	assert_int_equal(attach(&d, &fd), -EBADMSG);
	fake_nbd.no_index = false;
	fake_nbd_disconnect(&fake_nbd.device[0]);
	fake_nbd.silent = true;
	assert_int_equal(nbdnl_is_connected(d.nl, FAKE_NBD_FIRST, &connected, &e), -ETIMEDOUT);
	nlmsg_free(fake_nbd.reply);
	fake_nbd.reply = NULL;
	fake_nbd.silent = false;
	assert_int_equal(nbdnl_is_connected(d.nl, FAKE_NBD_FIRST, &connected, &e), 0);
	assert_false(connected);
	/* It is there, but the kernel cannot now: no reason to make another one. */
	unlink(index_path);
	fake_nbd_make_sysfs(FAKE_NBD_FIRST, d.id);
	fake_nbd.device[0].connected = true;
	fake_nbd.error = ENOMEM;
	assert_int_equal(attach(&d, &fd), -ENOMEM);
	assert_false(fake_nbd.device[1].connected);
	nbddev_fini(&d);
}

static void on_dead(void *arg, int index)
{
	*(int *)arg = index;
}

static void hearing(void **state)
{
	struct nbddev d = begin();
	int heard = -1;

	nbdnl_hear(d.nl, on_dead, &heard);
	assert_int_equal(heard, -1);
	fake_nbd.dead_index = FAKE_NBD_FIRST + 2;
	nbdnl_hear(d.nl, on_dead, &heard);
	assert_int_equal(heard, FAKE_NBD_FIRST + 2);
	nbddev_fini(&d);
}

static void no_module(void **state)
{
	struct nbdnl *n = NULL;
	struct err e = ERR_INIT;

	fake_nbd.no_module = true;
	assert_int_equal(nbdnl_open(&n, &e), -ENOENT);
	assert_non_null(strstr(e.text, "modprobe nbd"));
	fake_nbd.no_module = false;
	mem_fail_after(0);
	assert_int_equal(nbdnl_open(&n, &e), -ENOMEM);
	mem_fail_after(MEM_NEVER);
	assert_null(n);
}

static void sysfs(void **state)
{
	struct err e = ERR_INIT;

	fake_nbd_make_sysfs(17, "a\n");
	fake_nbd_make_sysfs(4, "b\n");
	assert_int_equal(nbdsys_find(fake_nbd.dir, "a"), 17);
	assert_int_equal(nbdsys_find(fake_nbd.dir, "b"), 4);
	assert_int_equal(nbdsys_find(fake_nbd.dir, "c"), -ENOENT);
	assert_int_equal(nbdsys_find("/nonexistent", "a"), -ENOENT);
	assert_int_equal(nbdsys_tune(fake_nbd.dir, 99, &e), -ENOENT);
	assert_int_equal(nbdsys_touch(FAKE_NBD_FIRST, &e), -ENOENT);
}

#define WITH_KERNEL(test) cmocka_unit_test_setup_teardown(test, fake_nbd_set_up, fake_nbd_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KERNEL(a_device_is_made),
		WITH_KERNEL(a_device_is_taken_over),
		WITH_KERNEL(too_early),
		WITH_KERNEL(others_devices_are_left_alone),
		WITH_KERNEL(disconnected_by_others),
		WITH_KERNEL(let_go),
		WITH_KERNEL(no_room_for_the_runtime_file),
		WITH_KERNEL(errors),
		WITH_KERNEL(hearing),
		WITH_KERNEL(no_module),
		WITH_KERNEL(sysfs),
	};

	log_set_fd(-1);
	return RUN_TESTS("nbd_device", tests);
}
