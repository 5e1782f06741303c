/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake by the bytes of the document; real clients are in tests/nbd-clients. */
#include "tests/lib/test.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "disk/nbd_hello.h"

static const struct nbdwire_export disk = {.name = "web", .size = 0x123456000, .block = 4096};

/* One client; what it was told since the last look is in `said`. */
struct client {
	struct nbdhello h;
	uint8_t said[4096];
	size_t n_said;
	enum nbdhello_next next;
};

static void collect(struct client *c)
{
	assert_true(c->n_said + c->h.out_used <= sizeof(c->said));
	memcpy(c->said + c->n_said, c->h.out, c->h.out_used);
	c->n_said += c->h.out_used;
	c->h.out_used = 0;
}

/* Says the bytes in the pieces that the server asks for. */
static void say(struct client *c, const void *data, size_t size)
{
	const uint8_t *p = data;

	c->n_said = 0;
	for (;;) {
		size_t need = nbdhello_need(&c->h);

		if (need > size || c->next != NBDHELLO_MORE)
			break;
		c->next = nbdhello_step(&c->h, p);
		p += need;
		size -= need;
		collect(c);
		if (!size && nbdhello_need(&c->h))
			break;
	}
	assert_int_equal(size, 0);
}

static void meet(struct client *c, uint32_t flags)
{
	static const uint8_t greeting[] = "NBDMAGICIHAVEOPT\0\3";

	memset(c, 0, sizeof(*c));
	nbdhello_start(&c->h, &disk);
	collect(c);
	assert_int_equal(c->n_said, 18);
	assert_memory_equal(c->said, greeting, 18);
	flags = htobe32(flags);
	say(c, &flags, sizeof(flags));
	assert_int_equal(c->n_said, 0);
}

static void option(struct client *c, uint32_t number, const void *data, uint32_t len)
{
	static const uint8_t magic[8] = "IHAVEOPT";
	uint8_t *buf = malloc(16 + len);
	uint32_t be = htobe32(number);

	memcpy(buf, magic, sizeof(magic));
	memcpy(buf + 8, &be, 4);
	be = htobe32(len);
	memcpy(buf + 12, &be, 4);
	if (len)
		memcpy(buf + 16, data, len);
	say(c, buf, 16 + len);
	free(buf);
}

/* The reply at offset: its type, with its length in *len. */
static uint32_t reply_at(const struct client *c, size_t at, uint32_t for_option, uint32_t *len)
{
	uint64_t magic;
	uint32_t v;

	assert_true(at + 20 <= c->n_said);
	memcpy(&magic, c->said + at, 8);
	assert_true(be64toh(magic) == UINT64_C(0x3e889045565a9));
	memcpy(&v, c->said + at + 8, 4);
	assert_int_equal(be32toh(v), for_option);
	memcpy(len, c->said + at + 16, 4);
	*len = be32toh(*len);
	assert_true(at + 20 + *len <= c->n_said);
	memcpy(&v, c->said + at + 12, 4);
	return be32toh(v);
}

static void export_name(void **state)
{
	struct client c;
	static const uint8_t answer[] = {0, 0, 0, 1, 0x23, 0x45, 0x60, 0, 1, 0x6d};

	meet(&c, 3);
	option(&c, 1, "web", 3);
	assert_int_equal(c.next, NBDHELLO_TRANSMIT);
	assert_int_equal(c.n_said, 10);
	assert_memory_equal(c.said, answer, 10);

	meet(&c, 1); /* wants the padding; takes the default export */
	option(&c, 1, "", 0);
	assert_int_equal(c.next, NBDHELLO_TRANSMIT);
	assert_int_equal(c.n_said, 134);
	for (int i = 10; i < 134; i++)
		assert_int_equal(c.said[i], 0);

	meet(&c, 3);
	option(&c, 1, "wed", 3);
	assert_int_equal(c.next, NBDHELLO_CLOSE);
	assert_int_equal(c.n_said, 0);
}

static void go_and_info(void **state)
{
	static const uint8_t data[] = {0, 0, 0, 3, 'w', 'e', 'b', 0, 2, 0, 3, 0x77, 0x77};
	static const uint8_t export[] = {0, 0, 0, 0, 0, 1, 0x23, 0x45, 0x60, 0, 1, 0x6d};
	static const uint8_t block[] = {0, 3, 0, 0, 16, 0, 0, 0, 16, 0, 0, 16, 0, 0};
	struct client c;
	uint32_t len;

	for (uint32_t opt = 6; opt <= 7; opt++) {
		meet(&c, 3);
		option(&c, opt, data, sizeof(data));
		assert_int_equal(c.next, opt == 7 ? NBDHELLO_TRANSMIT : NBDHELLO_MORE);
		assert_int_equal(reply_at(&c, 0, opt, &len), 3);
		assert_int_equal(len, sizeof(export));
		assert_memory_equal(c.said + 20, export, sizeof(export));
		assert_int_equal(reply_at(&c, 32, opt, &len), 3);
		assert_int_equal(len, 5);
		assert_memory_equal(c.said + 52, "\0\1web", 5);
		assert_int_equal(reply_at(&c, 57, opt, &len), 3);
		assert_int_equal(len, sizeof(block));
		assert_memory_equal(c.said + 77, block, sizeof(block));
		assert_int_equal(reply_at(&c, 91, opt, &len), 1);
		assert_int_equal(c.n_said, 111);
	}
}

static void bad_info(void **state)
{
	static const struct {
		const char *data;
		uint32_t len;
		uint32_t type;
	} table[] = {
		{"\0\0\0\3wed\0\0", 9, 0x80000006},	 /* unknown */
		{"\0\0\0\3web\0\1", 9, 0x80000003},	 /* one request is missing */
		{"\0\0\0\3web\0\0\0\3", 11, 0x80000003}, /* one too many */
		{"\0\0\0\7web\0\0", 9, 0x80000003},	 /* the name is longer than all */
		{"\377\377\377\377web\0\0", 9, 0x80000003},
		{"", 0, 0x80000003},
		{"\0\0\0", 3, 0x80000003},
	};
	struct client c;
	uint32_t len;

	meet(&c, 3);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		option(&c, 7, table[i].data, table[i].len);
		assert_int_equal(reply_at(&c, 0, 7, &len), table[i].type);
		assert_int_equal(c.next, NBDHELLO_MORE);
	}
}

static void list_and_abort(void **state)
{
	struct client c;
	uint32_t len;

	meet(&c, 3);
	option(&c, 3, "", 0);
	assert_int_equal(reply_at(&c, 0, 3, &len), 2);
	assert_int_equal(len, 7);
	assert_memory_equal(c.said + 20, "\0\0\0\3web", 7);
	assert_int_equal(reply_at(&c, 27, 3, &len), 1);
	option(&c, 3, "x", 1);
	assert_int_equal(reply_at(&c, 0, 3, &len), 0x80000003);
	option(&c, 2, "ignored", 7);
	assert_int_equal(reply_at(&c, 0, 2, &len), 1);
	assert_int_equal(c.next, NBDHELLO_CLOSE);
}

/* TLS, structured replies, contexts, and what nobody knows: unsupported, and the session goes on. */
static void unknown_options(void **state)
{
	static const uint32_t unknown[] = {0, 4, 5, 8, 9, 10, 11, 0x12345678, UINT32_MAX};
	struct client c;
	uint32_t len;

	meet(&c, 3);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		option(&c, unknown[i], "some data", 9);
		assert_int_equal(reply_at(&c, 0, unknown[i], &len), 0x80000001);
		assert_int_equal(c.next, NBDHELLO_MORE);
	}
}

static void long_options(void **state)
{
	uint8_t *big = calloc(1, NBDHELLO_OPTION_MAX);
	struct client c;
	uint32_t len;

	assert_non_null(big);
	meet(&c, 3);
	option(&c, 7, big, NBDHELLO_OPTION_MAX);
	assert_int_equal(reply_at(&c, 0, 7, &len), 0x80000009);
	assert_int_equal(c.next, NBDHELLO_MORE);
	option(&c, 7, "\0\0\0\0\0\0", 6);
	assert_int_equal(c.next, NBDHELLO_TRANSMIT);
	meet(&c, 3);
	option(&c, 2, big, NBDHELLO_NEED_MAX + 1);
	assert_int_equal(reply_at(&c, 0, 2, &len), 1);
	assert_int_equal(c.next, NBDHELLO_CLOSE);
	free(big);
}

/* Headers after which nothing can be understood. */
static void dropped(void **state)
{
	static const char *const header[] = {
		"IHAVEOPU\0\0\0\7\0\0\0\0",  /* magic */
		"IHAVEOPT\0\0\0\7\0\20\0\1", /* a byte more than is read past */
		"IHAVEOPT\0\0\0\1\0\0\40\1", /* no name is so long */
		"IHAVEOPT\0\0\0\7\377\377\377\377",
	};
	struct client c;
	uint32_t flags = htobe32(4);

	for (size_t i = 0; i < ARRAY_SIZE(header); i++) {
		meet(&c, 3);
		say(&c, header[i], 16);
		assert_int_equal(c.next, NBDHELLO_CLOSE);
		assert_int_equal(c.n_said, 0);
	}
	nbdhello_start(&c.h, &disk);
	c.h.out_used = 0;
	assert_int_equal(nbdhello_step(&c.h, (const uint8_t *)&flags), NBDHELLO_CLOSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(export_name),	   cmocka_unit_test(go_and_info),
		cmocka_unit_test(bad_info),	   cmocka_unit_test(list_and_abort),
		cmocka_unit_test(unknown_options), cmocka_unit_test(long_options),
		cmocka_unit_test(dropped),
	};

	return RUN_TESTS("nbd_hello", tests);
}
