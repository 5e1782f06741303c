/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames byte for byte, and the rounds with the packet socket and the bridge's ports stood in for. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdbool.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "replicator/announce.h"

static const uint8_t mac[6] = {0, 0x16, 0x3e, 1, 2, 3};
static const uint8_t ip[4] = {10, 77, 0, 50};

/* ---- the system ------------------------------------------------------------ */

static struct {
	unsigned int frames;
	int ifindex;
	uint16_t ethertype[8]; /* of the first frames */
	int error;	       /* of sending */
	bool no_socket;
} sys;

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	assert_int_equal(domain, AF_PACKET);
	assert_int_equal(type, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sys.no_socket) {
		errno = EPERM;
		return -1;
	}
	return dup(0);
}

unsigned int __wrap_if_nametoindex(const char *name);
unsigned int __wrap_if_nametoindex(const char *name)
{
	return strcmp(name, "nobridge0") == 0 ? 7 : 0;
}

ssize_t __wrap_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
		      socklen_t size);
ssize_t __wrap_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
		      socklen_t size)
{
	const uint8_t *frame = buf;
	struct sockaddr_ll ll;

	assert_int_equal(n, ANNOUNCE_FRAME_SIZE);
	assert_int_equal(size, sizeof(ll));
	if (sys.error) {
		errno = sys.error;
		return -1;
	}
	memcpy(&ll, to, sizeof(ll));
	sys.ifindex = ll.sll_ifindex;
	if (sys.frames < ARRAY_SIZE(sys.ethertype))
		sys.ethertype[sys.frames] = (uint16_t)(frame[12] << 8 | frame[13]);
	sys.frames++;
	return (ssize_t)n;
}

static int reset(void **state)
{
	memset(&sys, 0, sizeof(sys));
	return 0;
}

/* ---- tests ----------------------------------------------------------------- */

static void rarp(void **state)
{
	static const uint8_t golden[ANNOUNCE_FRAME_SIZE] = {
		255, 255,  255,	 255, 255, 255, 0, 0x16, 0x3e, 1, 2, 3, 0x80, 0x35, /* Ethernet */
		0,   1,	   8,	 0,   6,   4,	0, 3,				    /* request */
		0,   0x16, 0x3e, 1,   2,   3,	0, 0,	 0,    0,		    /* sender */
		0,   0x16, 0x3e, 1,   2,   3,	0, 0,	 0,    0,		    /* target */
	};
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	memset(frame, 0xaa, sizeof(frame));
	announce_rarp(frame, mac);
	assert_memory_equal(frame, golden, sizeof(golden));
}

static void garp(void **state)
{
	static const uint8_t golden[ANNOUNCE_FRAME_SIZE] = {
		255, 255,  255,	 255, 255, 255, 0,  0x16, 0x3e, 1,  2, 3, 0x08, 0x06, /* Ethernet */
		0,   1,	   8,	 0,   6,   4,	0,  1,				      /* request */
		0,   0x16, 0x3e, 1,   2,   3,	10, 77,	  0,	50,		      /* sender */
		0,   0,	   0,	 0,   0,   0,	10, 77,	  0,	50,		      /* target */
	};
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	memset(frame, 0xaa, sizeof(frame));
	announce_garp(frame, mac, ip);
	assert_memory_equal(frame, golden, sizeof(golden));
}

static void rounds(void **state)
{
	static const unsigned int at_ms[ANNOUNCE_ROUNDS] = {0, 50, 150, 250, 350, 450};
	const uint64_t start = 1000 * NS_PER_SEC;
	struct announce *a = NULL;

	assert_int_equal(announce_new(&a, NULL), 0);
	assert_true(announce_deadline(a) == CLOCK_NEVER);
	assert_int_equal(announce_step(a, start, NULL), 0);
	assert_int_equal(announce_add(a, "vif5.0", "nobridge0", mac, ip, NULL), 0);
	announce_start(a, start);
	for (unsigned int i = 0; i < ANNOUNCE_ROUNDS; i++) {
		uint64_t due = start + at_ms[i] * NS_PER_MS;

		assert_true(announce_deadline(a) == due);
		if (i)
			assert_int_equal(announce_step(a, due - 1, NULL), 0);
		assert_int_equal(announce_step(a, due, NULL), 2);
		assert_int_equal(sys.frames, 2 * (i + 1));
	}
	assert_true(announce_deadline(a) == CLOCK_NEVER);
	assert_int_equal(announce_step(a, start + NS_PER_SEC, NULL), 0);
	assert_int_equal(sys.ifindex, 7);
	assert_int_equal(sys.ethertype[0], 0x8035);
	assert_int_equal(sys.ethertype[1], 0x0806);
	announce_free(a);
}

static void late_rounds_are_not_made_up_for(void **state)
{
	struct announce *a = NULL;

	assert_int_equal(announce_new(&a, NULL), 0);
	assert_int_equal(announce_add(a, "vif5.0", "nobridge0", mac, NULL, NULL), 0);
	announce_start(a, 0);
	assert_int_equal(announce_step(a, 260 * NS_PER_MS, NULL), 1);
	assert_true(announce_deadline(a) == 350 * NS_PER_MS);
	announce_free(a);
}

static void names(void **state)
{
	static const struct {
		const char *vif;
		const char *bridge;
		int rc;
	} cases[] = {
		{"vif1.0", "xenbr0", 0},
		{"vif1.0", "", 0},
		{"vif1.0", NULL, 0},
		{"", "xenbr0", -EINVAL},
		{"vif1.0", "../../etc", -EINVAL},
		{"vif1.0", "..", -EINVAL},
		{"vif1.0", "a b", -EINVAL},
		{"0123456789abcdef", "xenbr0", -EINVAL},
		{"vif1.0", "0123456789abcdef", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct announce *a = NULL;

		assert_int_equal(announce_new(&a, NULL), 0);
		assert_int_equal(announce_add(a, cases[i].vif, cases[i].bridge, mac, NULL, NULL),
				 cases[i].rc);
		announce_free(a);
	}
}

static void bounded(void **state)
{
	struct announce *a = NULL;

	assert_int_equal(announce_new(&a, NULL), 0);
	for (int i = 0; i < ANNOUNCE_MAX_MACS; i++)
		assert_int_equal(announce_add(a, "vif5.0", "nobridge0", mac, NULL, NULL), 0);
	assert_int_equal(announce_add(a, "vif5.0", "nobridge0", mac, NULL, NULL), -ENOSPC);
	announce_free(a);
}

static void errors_are_told(void **state)
{
	struct err e = ERR_INIT;
	struct announce *a = NULL;

	sys.no_socket = true;
	assert_int_equal(announce_new(&a, &e), -EPERM);
	sys.no_socket = false;
	assert_int_equal(announce_new(&a, NULL), 0);
	assert_int_equal(announce_add(a, "vif5.0", "nobridge0", mac, NULL, NULL), 0);
	announce_start(a, 0);
	sys.error = ENETDOWN;
	assert_int_equal(announce_step(a, 0, &e), -ENETDOWN);
	/* and the next round is tried all the same */
	sys.error = 0;
	assert_int_equal(announce_step(a, 50 * NS_PER_MS, &e), 1);
	announce_free(a);
	announce_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(rarp, reset),
		cmocka_unit_test_setup(garp, reset),
		cmocka_unit_test_setup(rounds, reset),
		cmocka_unit_test_setup(late_rounds_are_not_made_up_for, reset),
		cmocka_unit_test_setup(names, reset),
		cmocka_unit_test_setup(bounded, reset),
		cmocka_unit_test_setup(errors_are_told, reset),
	};

	return RUN_TESTS("announce", tests);
}
