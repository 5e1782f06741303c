/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The group arbiter of romulus.conf: what it says, and what of it does not add up. And lists of texts. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"

static char path[] = "/tmp/conf-arbiter-XXXXXX";

#define HOST "host = { name = \"a\"; };\n"
#define PEER(name, options) "{ name = \"" name "\"; address = \"h\"; fence-options = " options "; }"
#define PEERS(list) "peers = ( " list " );\n"
#define ARBITER(keys) "arbiter = { " keys " };\n"
#define WITNESS "kind = \"witness\"; witness-name = \"w\"; witness-address = \"192.0.2.9\";"
#define ETCD(urls) "kind = \"etcd\"; etcd-endpoints = " urls ";"
#define FENCE "kind = \"fence\"; fence-agent = \"/f\";"
#define TWO_PEERS PEERS(PEER("b", "[ \"plug=1\" ]") "," PEER("c", "[ \"plug=2\" ]"))

static int load(const char *text, const struct conf **c, struct err *e)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, HOST "%s", text);
	assert_int_equal(fclose(file), 0);
	return conf_load(path, c, e);
}

static const struct conf *loaded(const char *text)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;

	if (load(text, &c, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return c;
}

static void none(void **state)
{
	const struct conf *c = loaded("");

	assert_int_equal(c->arbiter_kind, CONF_ARBITER_NONE);
	assert_int_equal(conf_arbiter_bound(c), 0);
	conf_free(c);
}

static void witness(void **state)
{
	const struct conf *c = loaded(ARBITER(WITNESS "timeout = \"3s\";"));

	assert_int_equal(c->arbiter_kind, CONF_ARBITER_WITNESS);
	assert_string_equal(c->witness_name, "w");
	assert_string_equal(c->witness_address, "192.0.2.9");
	assert_int_equal(c->witness_port, 7405);
	assert_int_equal(conf_arbiter_bound(c), 5 * NS_PER_SEC);
	conf_free(c);
}

static void etcd(void **state)
{
	const struct conf *c = loaded(ARBITER(ETCD(
		"[ \"https://e1:2379\", \"https://192.0.2.1:2379\", \"https://[2001:db8::1]:1\" ]")));
	char line[64];

	assert_int_equal(c->arbiter_kind, CONF_ARBITER_ETCD);
	assert_true(conf_line(c->etcd_endpoints, 0, line, sizeof(line)));
	assert_string_equal(line, "https://e1:2379");
	assert_true(conf_line(c->etcd_endpoints, 2, line, sizeof(line)));
	assert_string_equal(line, "https://[2001:db8::1]:1");
	assert_false(conf_line(c->etcd_endpoints, 3, line, sizeof(line)));
	assert_true(conf_line(c->etcd_endpoints, 1, line, 9));
	assert_string_equal(line, "https://");
	conf_free(c);
	c = loaded(ARBITER(ETCD("\"https://e1:2379\"")));
	assert_string_equal(c->etcd_endpoints, "https://e1:2379");
	conf_free(c);
}

static void fence(void **state)
{
	const struct conf *c = loaded(
		TWO_PEERS ARBITER(FENCE "fence-options = [ \"username=x y\", \"password=a=b\" ];"));

	assert_string_equal(c->fence_options, "username=x y\npassword=a=b");
	assert_string_equal(conf_peer(c, "c")->fence_options, "plug=2");
	assert_int_equal(conf_arbiter_bound(c), 37 * NS_PER_SEC);
	conf_free(c);
}

/* What --check-config prints is what can be read again. */
static void printed(void **state)
{
	const struct conf *c = loaded(ARBITER(ETCD("[ \"https://e1:1\", \"https://e2:1\" ]")));
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	conf_print(c, out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(
		text, "arbiter.etcd-endpoints = [ \"https://e1:1\", \"https://e2:1\" ];  # "));
	assert_non_null(strstr(text, "arbiter.fence-options = [];  # default\n"));
	free(text);
	conf_free(c);
}

static const struct {
	const char *text;
	const char *says;
} refused[] = {
	{ARBITER("kind = \"quorum\";"), "none of: none, witness, etcd, fence"},
	{ARBITER("witness-name = \"w\";"),
	 ":2: arbiter.witness-name is set, but arbiter.kind is \"none\""},
	{ARBITER(WITNESS "fence-agent = \"/f\";"),
	 "arbiter.fence-agent is set, but arbiter.kind is \"witness\""},
	{ARBITER("kind = \"witness\"; witness-address = \"h\";"),
	 "arbiter.witness-name is not set"},
	{ARBITER("kind = \"witness\"; witness-name = \"w\";"),
	 "arbiter.witness-address is not set"},
	{ARBITER("kind = \"witness\"; witness-name = \"a\"; witness-address = \"h\";"),
	 "\"a\" is this host: a witness must be a third machine"},
	{ARBITER(WITNESS "timeout = \"100ms\";"), "must be 200ms to 1m"},
	{ARBITER("kind = \"etcd\";"), "arbiter.etcd-endpoints is empty"},
	{ARBITER(ETCD("[ \"http://e1:1\" ]")), "\"http://e1:1\" is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e1\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e1:\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e1:0\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e1:65536\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e1:1/x\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://u@e1:1\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://[::1:1\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://:1\" ]")), "is not https://HOST:PORT"},
	{ARBITER(ETCD("[ \"https://e:1\", \"https://e:1\" ]")), "is there twice"},
	{ARBITER(ETCD(
		 "[ \"https://e:1\", \"https://e:2\", \"https://e:3\" ]") "timeout = \"500ms\";"),
	 "arbiter.timeout 500ms < 3 endpoints x 200 ms = 600 ms"},
	{ARBITER(ETCD("[ \"https://e:1\", \"https://e:2\", \"https://e:3\", \"https://e:4\", "
		      "\"https://e:5\", \"https://e:6\", \"https://e:7\", \"https://e:8\", "
		      "\"https://e:9\" ]")),
	 "more than 8 arbiter.etcd-endpoints"},
	{ARBITER(ETCD("[ \"https://e:1\" ]") "etcd-cert = \"/c\";"),
	 "belong together, only etcd-cert"},
	{ARBITER(ETCD("[ 5 ]")), "must be a list of quoted texts"},
	{ARBITER(ETCD("5")), "must be a list of quoted texts"},
	{ARBITER(ETCD("[ \"\" ]")), "must be a list of quoted texts"},
	{ARBITER("kind = \"fence\";"), "arbiter.fence-agent is not set"},
	{PEERS("{ name = \"b\"; address = \"h\"; }") ARBITER(FENCE),
	 ":2: arbiter.kind is \"fence\", and peer \"b\" has no fence-options"},
	{PEERS(PEER("b", "[ \"plug=1\" ]") "," PEER("c", "[ \"plug=1\" ]")) ARBITER(FENCE),
	 "peers \"b\" and \"c\" have the same fence-options: one of them is the wrong machine"},
	{PEERS(PEER("b", "[ \"plug=1\", \"secret\" ]")) ARBITER(FENCE),
	 "fence-options of b: text 2 is not KEY=VALUE"},
	{TWO_PEERS ARBITER(FENCE "fence-options = [ \"action=on\" ];"),
	 "fence-options of arbiter: \"action\" is said by Romulus"},
	{TWO_PEERS ARBITER(FENCE "fence-options = [ \"a=b\\tc\" ];"), "has a tab"},
	{TWO_PEERS ARBITER(FENCE "fence-options = [ \"a=b\\nc=d\" ];"), "each one line"},
	{TWO_PEERS ARBITER(FENCE "fence-timeout = \"4s\";"),
	 "arbiter.fence-delay 5s > arbiter.fence-timeout 4s"},
	{TWO_PEERS ARBITER(FENCE "fence-agent = \"f\";"), "duplicate"},
};

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct conf *c = NULL;
		struct err e = ERR_INIT;

		if (load(refused[i].text, &c, &e) != -EINVAL || !strstr(e.text, refused[i].says))
			fail_msg("%s gave \"%s\", without \"%s\"", refused[i].text, e.text,
				 refused[i].says);
	}
}

/* A password in a text that is no KEY=VALUE is not told to the log. */
static void no_password_is_quoted(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(load(PEERS(PEER("b", "[ \"hunter2\" ]")) ARBITER(FENCE), &c, &e), -EINVAL);
	assert_null(strstr(e.text, "hunter2"));
}

static void too_long(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	char text[2000];
	char part[600];

	memset(part, 'x', sizeof(part) - 1);
	part[sizeof(part) - 1] = 0;
	snprintf(text, sizeof(text), "arbiter = { fence-options = [ \"a=%s\", \"b=%s\" ]; };", part,
		 part);
	assert_int_equal(load(text, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "longer than 1023 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(witness),
		cmocka_unit_test(etcd),
		cmocka_unit_test(fence),
		cmocka_unit_test(printed),
		cmocka_unit_test(refusals),
		cmocka_unit_test(no_password_is_quoted),
		cmocka_unit_test(too_long),
	};
	int fd = mkstemp(path);
	int rc;

	if (fd < 0)
		return 1;
	close(fd);
	rc = RUN_TESTS("conf_arbiter", tests);
	(void)unlink(path);
	return rc;
}
