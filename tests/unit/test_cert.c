/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cert.h"
#include "lib/err.h"
#include "tests/lib/pki.h"

static struct pki *pki;

static int set_up(void **state)
{
	pki = pki_new();
	return 0;
}

static int tear_down(void **state)
{
	pki_free(pki);
	return 0;
}

static struct cert_host request(void)
{
	return (struct cert_host){
		.ca_cert = pki_path(pki, "ca.pem"),
		.ca_key = pki_path(pki, "ca.key"),
		.cert = pki_path(pki, "new.pem"),
		.key = pki_path(pki, "new.key"),
		.name = "new",
		.days = 3,
	};
}

static void what_is_made(void **state)
{
	struct cert_info info;

	assert_int_equal(cert_read(pki_path(pki, "ca.pem"), &info, NULL), 0);
	assert_true(info.is_ca);
	assert_string_equal(info.name, "ca");
	assert_int_equal(cert_read(pki_path(pki, "a.pem"), &info, NULL), 0);
	assert_false(info.is_ca);
	assert_string_equal(info.name, "a");
	assert_string_equal(info.issuer, "ca");
	assert_int_equal(strlen(info.fingerprint), 64);
	assert_true(info.not_before < time(NULL));
	assert_true(info.not_after > time(NULL) + 4 * 86400 &&
		    info.not_after < time(NULL) + 6 * 86400);
}

static void only_the_owner_reads(void **state)
{
	static const char *const files[] = {"ca.pem", "ca.key", "a.pem", "a.key"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct stat st;

		assert_int_equal(stat(pki_path(pki, files[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
}

static bool there(const char *file)
{
	return access(pki_path(pki, file), F_OK) == 0;
}

static void nothing_is_overwritten(void **state)
{
	struct cert_host h = request();
	struct cert_info before;
	struct cert_info after;
	struct err e = ERR_INIT;

	assert_int_equal(cert_read(pki_path(pki, "a.pem"), &before, NULL), 0);
	h.cert = pki_path(pki, "a.pem");
	assert_int_equal(cert_make_host(&h, &e), -EEXIST);
	assert_non_null(strstr(e.text, "a.pem"));
	h = request();
	h.key = pki_path(pki, "a.key");
	assert_int_equal(cert_make_host(&h, &e), -EEXIST);
	assert_int_equal(cert_make_ca(pki_path(pki, "ca.pem"), pki_path(pki, "x.key"), "x", 1, &e),
			 -EEXIST);
	assert_int_equal(cert_make_ca(pki_path(pki, "x.pem"), pki_path(pki, "ca.key"), "x", 1, &e),
			 -EEXIST);
	assert_int_equal(cert_read(pki_path(pki, "a.pem"), &after, NULL), 0);
	assert_string_equal(before.fingerprint, after.fingerprint);
	assert_false(there("new.key") || there("new.pem") || there("x.key") || there("x.pem"));
}

static void bad_requests(void **state)
{
	static const struct {
		const char *name, *alt;
		unsigned int days;
	} t[] = {
		{"", NULL, 1},	      {"a/b", NULL, 1},	       {"-a", NULL, 1},
		{"new", NULL, 0},     {"new", NULL, 36501},    {"new", "", 1},
		{"new", "a,IP:1", 1}, {"new", "1.2.3.4\n", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct cert_host h = request();
		struct err e = ERR_INIT;

		h.name = t[i].name;
		h.days = t[i].days;
		h.alt[0] = t[i].alt;
		h.n_alt = t[i].alt != NULL;
		if (cert_make_host(&h, &e) != -EINVAL || !e.text[0])
			fail_msg("row %zu passed", i);
		assert_false(there("new.key") || there("new.pem"));
	}
}

static void wrong_authority(void **state)
{
	struct cert_host h = request();
	struct err e = ERR_INIT;

	h.ca_key = pki_path(pki, "other.key");
	assert_int_equal(cert_make_host(&h, &e), -EINVAL);
	assert_non_null(strstr(e.text, "is not the key of"));
	h = request();
	h.ca_cert = pki_path(pki, "a.pem");
	h.ca_key = pki_path(pki, "a.key");
	assert_int_equal(cert_make_host(&h, &e), -EINVAL);
	assert_non_null(strstr(e.text, "authority"));
	h = request();
	h.ca_cert = pki_path(pki, "missing.pem");
	assert_int_equal(cert_make_host(&h, &e), -ENOENT);
	h = request();
	h.ca_cert = pki_path(pki, "ca.key");
	assert_int_equal(cert_make_host(&h, &e), -EINVAL);
	assert_false(there("new.key") || there("new.pem"));
}

/* The second of two files cannot be written: the first does not stay. */
static void both_or_none(void **state)
{
	struct cert_host h = request();
	struct err e = ERR_INIT;

	h.cert = pki_path(pki, "no/such/folder.pem");
	assert_int_equal(cert_make_host(&h, &e), -ENOENT);
	assert_false(there("new.key"));
}

static void never_outlives_the_authority(void **state)
{
	struct cert_host h = request();
	struct cert_info ca;
	struct cert_info host;

	h.days = 400;
	assert_int_equal(cert_make_host(&h, NULL), 0);
	assert_int_equal(cert_read(pki_path(pki, "ca.pem"), &ca, NULL), 0);
	assert_int_equal(cert_read(pki_path(pki, "new.pem"), &host, NULL), 0);
	assert_int_equal(ca.not_after, host.not_after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made),
		cmocka_unit_test(only_the_owner_reads),
		cmocka_unit_test(nothing_is_overwritten),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(wrong_authority),
		cmocka_unit_test(both_or_none),
		cmocka_unit_test(never_outlives_the_authority),
	};

	return cmocka_run_group_tests_name("cert", tests, set_up, tear_down);
}
