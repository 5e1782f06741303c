/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "disk/nbd_wire.h"

#define MIB (UINT64_C(1) << 20)

static const struct nbdwire_export disk = {.name = "web", .size = 64 * MIB, .block = 512};

/* The bytes as the document has them. */
static void request_bytes(void **state)
{
	static const uint8_t bytes[NBDWIRE_REQUEST_SIZE] = {
		0x25, 0x60, 0x95, 0x13, 0,    1,    0,	  1,	1,    2, 3, 4, 5, 6,
		7,    8,    0,	  0,	0x12, 0x34, 0x56, 0x78, 0x9a, 0, 0, 0, 2, 0};
	uint8_t again[NBDWIRE_REQUEST_SIZE];
	struct nbdwire_request rq;

	assert_int_equal(nbdwire_request_decode(bytes, &rq), 0);
	assert_int_equal(rq.flags, NBDWIRE_FUA);
	assert_int_equal(rq.type, NBDWIRE_WRITE);
	assert_true(rq.cookie == UINT64_C(0x0102030405060708));
	assert_true(rq.off == UINT64_C(0x0000123456789a00));
	assert_int_equal(rq.len, 512);
	nbdwire_request_encode(again, &rq);
	assert_memory_equal(again, bytes, sizeof(bytes));
	again[0] ^= 1;
	assert_int_equal(nbdwire_request_decode(again, &rq), -EBADMSG);
}

static void reply_bytes(void **state)
{
	static const uint8_t bytes[NBDWIRE_REPLY_SIZE] = {0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28,
							  1,	2,    3,    4,	  5, 6, 7, 8};
	uint8_t buf[NBDWIRE_REPLY_SIZE];

	nbdwire_reply_encode(buf, UINT64_C(0x0102030405060708), NBDWIRE_ENOSPC);
	assert_memory_equal(buf, bytes, sizeof(bytes));
}

static void checks(void **state)
{
	static const struct {
		struct nbdwire_request rq;
		enum nbdwire_error error;
	} table[] = {
		{{.type = NBDWIRE_READ, .off = 0, .len = 512}, NBDWIRE_OK},
		{{.type = NBDWIRE_READ, .off = 64 * MIB - 512, .len = 512}, NBDWIRE_OK},
		{{.type = NBDWIRE_READ, .off = 0, .len = NBDWIRE_MAX_PAYLOAD}, NBDWIRE_OK},
		{{.type = NBDWIRE_READ, .off = 0, .len = NBDWIRE_MAX_PAYLOAD + 512},
		 NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .off = 0, .len = 0}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .off = 0, .len = 511}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .off = 1, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .off = 64 * MIB, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .off = UINT64_MAX - 511, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .flags = NBDWIRE_FUA, .len = 512}, NBDWIRE_OK},
		{{.type = NBDWIRE_READ, .flags = NBDWIRE_NO_HOLE, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_READ, .flags = 4, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_WRITE, .off = 64 * MIB - 512, .len = 1024}, NBDWIRE_ENOSPC},
		{{.type = NBDWIRE_WRITE, .off = 64 * MIB, .len = 512}, NBDWIRE_ENOSPC},
		{{.type = NBDWIRE_WRITE, .off = UINT64_MAX - 511, .len = 512}, NBDWIRE_ENOSPC},
		{{.type = NBDWIRE_WRITE, .len = 32 * MIB}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_WRITE, .flags = NBDWIRE_FUA, .len = 4096}, NBDWIRE_OK},
		{{.type = NBDWIRE_WRITE, .len = 0}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_TRIM, .len = 64 * MIB}, NBDWIRE_OK},
		{{.type = NBDWIRE_TRIM, .off = 512, .len = 64 * MIB}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_TRIM, .flags = NBDWIRE_FUA, .len = 512}, NBDWIRE_OK},
		{{.type = NBDWIRE_TRIM, .flags = NBDWIRE_NO_HOLE, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_ZEROES, .flags = 3, .len = 64 * MIB}, NBDWIRE_OK},
		{{.type = NBDWIRE_ZEROES, .flags = 16, .len = 512}, NBDWIRE_EINVAL}, /* FAST_ZERO */
		{{.type = NBDWIRE_ZEROES, .off = 512, .len = 64 * MIB}, NBDWIRE_ENOSPC},
		{{.type = NBDWIRE_FLUSH}, NBDWIRE_OK},
		{{.type = NBDWIRE_FLUSH, .flags = NBDWIRE_FUA}, NBDWIRE_OK},
		{{.type = NBDWIRE_FLUSH, .off = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_FLUSH, .len = 512}, NBDWIRE_EINVAL},
		{{.type = NBDWIRE_DISC}, NBDWIRE_OK},
		{{.type = 5, .len = 512}, NBDWIRE_EINVAL}, /* CACHE */
		{{.type = 7, .len = 512}, NBDWIRE_EINVAL}, /* BLOCK_STATUS */
		{{.type = 0xffff}, NBDWIRE_EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (nbdwire_check(&table[i].rq, &disk) != table[i].error)
			fail_msg("row %zu gave %d", i, nbdwire_check(&table[i].rq, &disk));
	}
}

static void larger_blocks(void **state)
{
	const struct nbdwire_export big = {.size = 64 * MIB, .block = 4096};
	struct nbdwire_request rq = {.type = NBDWIRE_WRITE, .off = 512, .len = 4096};

	assert_int_equal(nbdwire_check(&rq, &big), NBDWIRE_EINVAL);
	rq.off = 4096;
	assert_int_equal(nbdwire_check(&rq, &big), NBDWIRE_OK);
	rq.len = 512;
	assert_int_equal(nbdwire_check(&rq, &big), NBDWIRE_EINVAL);
}

static void hostile(void **state)
{
	struct nbdwire_request rq = {.type = NBDWIRE_WRITE, .len = NBDWIRE_MAX_REFUSED};

	assert_false(nbdwire_is_hostile(&rq));
	rq.len++;
	assert_true(nbdwire_is_hostile(&rq));
	rq.type = NBDWIRE_READ; /* nothing follows */
	assert_false(nbdwire_is_hostile(&rq));
}

static void errors(void **state)
{
	assert_int_equal(nbdwire_error_of(0), NBDWIRE_OK);
	assert_int_equal(nbdwire_error_of(-EIO), NBDWIRE_EIO);
	assert_int_equal(nbdwire_error_of(-EROFS), NBDWIRE_EPERM);
	assert_int_equal(nbdwire_error_of(-EDQUOT), NBDWIRE_ENOSPC);
	assert_int_equal(nbdwire_error_of(-EFBIG), NBDWIRE_ENOSPC);
	assert_int_equal(nbdwire_error_of(-ENOMEM), NBDWIRE_ENOMEM);
	assert_int_equal(nbdwire_error_of(-EINVAL), NBDWIRE_EINVAL);
	assert_int_equal(nbdwire_error_of(-ESHUTDOWN), NBDWIRE_ESHUTDOWN);
	assert_int_equal(nbdwire_error_of(-EREMOTEIO), NBDWIRE_EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_bytes), cmocka_unit_test(reply_bytes),
		cmocka_unit_test(checks),	 cmocka_unit_test(larger_blocks),
		cmocka_unit_test(hostile),	 cmocka_unit_test(errors),
	};

	return RUN_TESTS("nbd_wire", tests);
}
