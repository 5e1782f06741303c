/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of a guest, by hand: what is learnt of them, what is answered, what counts as an answer. */
#include "tests/lib/test.h"

#include <string.h>

#include "replicator/drill_ping.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t guest_mac[6] = {0, 0x16, 0x3e, 0, 0, 0x50};

static struct drill_ping ping(void)
{
	struct drill_ping p;

	drill_ping_init(&p, our_mac, 0x1234);
	drill_ping_guest(&p, guest_mac);
	return p;
}

/* An ARP frame of the guest's. */
static void arp(uint8_t f[60], uint8_t what, const char *sender_ip, const char *target_ip)
{
	static const uint8_t arp_ipv4[] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0};

	memset(f, 0, 60);
	memset(f, 0xff, 6);
	memcpy(f + 6, guest_mac, 6);
	memcpy(f + 12, arp_ipv4, sizeof(arp_ipv4));
	f[21] = what;
	memcpy(f + 22, guest_mac, 6);
	memcpy(f + 28, sender_ip, 4);
	memcpy(f + 38, target_ip, 4);
}

static void learns_the_address_of_an_announcement(void **state)
{
	struct drill_ping p = ping();
	uint8_t f[60], reply[DRILL_PING_FRAME];
	char text[16];

	drill_ping_address(&p, text);
	assert_string_equal(text, "");
	assert_int_equal(drill_ping_ask(&p, reply), 0);
	arp(f, 1, "\x0a\x4d\0\x32", "\x0a\x4d\0\x32");
	/* Its own address is no question. */
	assert_int_equal(drill_ping_hear(&p, f, sizeof(f), reply), 0);
	drill_ping_address(&p, text);
	assert_string_equal(text, "10.77.0.50");
	/* Asked as one asks who takes no address, then pinged. */
	assert_int_equal(drill_ping_ask(&p, reply), 60);
	assert_memory_equal(reply, guest_mac, 6);
	assert_memory_equal(reply + 12, "\x08\x06", 2);
	assert_memory_equal(reply + 28, "\0\0\0\0", 4);
	assert_memory_equal(reply + 38, "\x0a\x4d\0\x32", 4);
	assert_int_equal(drill_ping_ask(&p, reply), 60);
	assert_memory_equal(reply + 12, "\x08\0\x45", 3);
	assert_memory_equal(reply + 26, "\x0a\x4d\0\x33", 4);
	assert_memory_equal(reply + 30, "\x0a\x4d\0\x32", 4);
	assert_memory_equal(reply + 34, "\x08\0", 2);
}

static uint16_t sum(const uint8_t *data, size_t size)
{
	uint32_t s = 0;

	for (size_t i = 0; i < size; i += 2)
		s += (uint32_t)(data[i] << 8 | data[i + 1]);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static void plays_the_neighbour(void **state)
{
	struct drill_ping p = ping();
	uint8_t f[60], reply[DRILL_PING_FRAME];

	arp(f, 1, "\x0a\x4d\0\x32", "\x0a\x4d\0\1");
	assert_int_equal(drill_ping_hear(&p, f, sizeof(f), reply), 60);
	assert_memory_equal(reply, guest_mac, 6);
	assert_memory_equal(reply + 6, our_mac, 6);
	assert_memory_equal(reply + 20, "\0\2\2\0\0\0\0\1\x0a\x4d\0\1", 12);
	assert_memory_equal(reply + 38, "\x0a\x4d\0\x32", 4);
	(void)drill_ping_ask(&p, reply);
	(void)drill_ping_ask(&p, reply);
	assert_memory_equal(reply + 26, "\x0a\x4d\0\1", 4);
	/* Both checksums hold. */
	assert_int_equal(sum(reply + 14, 20), 0xffff);
	assert_int_equal(sum(reply + 34, 8), 0xffff);
}

static void an_answer_is_one(void **state)
{
	struct drill_ping p = ping();
	uint8_t f[60], ours[DRILL_PING_FRAME], reply[DRILL_PING_FRAME];

	arp(f, 1, "\x0a\x4d\0\x32", "\x0a\x4d\0\x32");
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	/* Somebody's answer to somebody else. */
	arp(f, 2, "\x0a\x4d\0\x32", "\0\0\0\0");
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_null(p.answered);
	memcpy(f + 32, our_mac, 6);
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_string_equal(p.answered, "arp");
	(void)drill_ping_ask(&p, ours);
	assert_int_equal(drill_ping_ask(&p, ours), 60);
	/* The echo turned round. */
	memcpy(f, ours, 60);
	memcpy(f, our_mac, 6);
	memcpy(f + 6, guest_mac, 6);
	memcpy(f + 26, ours + 30, 4);
	memcpy(f + 30, ours + 26, 4);
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_string_equal(p.answered, "arp"); /* a question of the guest's is none */
	f[34] = 0;
	f[39] ^= 1;
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_string_equal(p.answered, "arp"); /* another's number */
	f[39] ^= 1;
	f[41] = 9;
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_string_equal(p.answered, "arp"); /* not asked yet */
	f[41] = 0;
	(void)drill_ping_hear(&p, f, sizeof(f), reply);
	assert_string_equal(p.answered, "ping");
}

static void nonsense_is_nothing(void **state)
{
	static const struct {
		uint8_t at, value;
	} breaks[] = {{6, 9}, {12, 9}, {15, 2}, {16, 9}, {18, 7}, {19, 5}, {22, 9}};
	uint8_t f[60], reply[DRILL_PING_FRAME];

	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		struct drill_ping p = ping();

		arp(f, 1, "\x0a\x4d\0\x32", "\x0a\x4d\0\1");
		f[breaks[i].at] = breaks[i].value;
		assert_int_equal(drill_ping_hear(&p, f, sizeof(f), reply), 0);
		assert_false(p.has_address);
	}
	for (size_t size = 0; size < 42; size++) {
		struct drill_ping p = ping();

		arp(f, 1, "\x0a\x4d\0\x32", "\x0a\x4d\0\1");
		assert_int_equal(drill_ping_hear(&p, f, size, reply), 0);
		assert_false(p.has_address);
	}
	/* Addresses that nobody has. */
	for (int i = 0; i < 3; i++) {
		static const char *const bad[] = {"\0\0\0\1", "\x7f\0\0\1", "\xe0\0\0\1"};
		struct drill_ping p = ping();

		arp(f, 1, bad[i], "\x0a\x4d\0\1");
		assert_int_equal(drill_ping_hear(&p, f, sizeof(f), reply), 0);
		assert_false(p.has_address);
	}
}

static void more_interfaces_than_places(void **state)
{
	struct drill_ping p = ping();
	uint8_t mac[6] = {1};

	for (int i = 0; i < 20; i++)
		drill_ping_guest(&p, mac);
	assert_int_equal(p.n_guests, DRILL_PING_MAX_MACS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_the_address_of_an_announcement),
		cmocka_unit_test(plays_the_neighbour),
		cmocka_unit_test(an_answer_is_one),
		cmocka_unit_test(nonsense_is_nothing),
		cmocka_unit_test(more_interfaces_than_places),
	};

	return RUN_TESTS("drill_ping", tests);
}
