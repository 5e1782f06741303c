/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/timing.h"

struct fixture {
	char dir[64];
	char path[96];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_conf.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/romulus.conf", f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char path[128];

	unlink(f->path);
	snprintf(path, sizeof(path), "%s/web.conf", f->dir);
	unlink(path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void put(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static int load(struct fixture *f, const char *text, const struct conf **c, struct err *e)
{
	put(f->path, text, strlen(text));
	return conf_load(f->path, c, e);
}

static void defaults(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	struct timing t;

	assert_int_equal(load(*state, "host = { name = \"hosta\"; };", &c, &e), 0);
	assert_string_equal(c->host_name, "hosta");
	assert_string_equal(c->listen_address, "0.0.0.0");
	assert_int_equal(c->listen_port, 7403);
	assert_int_equal(c->epoch_period_ns, 50000000);
	assert_int_equal(c->heartbeat_period_ns, 100000000);
	assert_int_equal(c->failure_timeout_ns, 1000000000);
	assert_int_equal(c->netbuf_limit_bytes, 64 << 20);
	assert_int_equal(c->arena_bytes, 0);
	assert_int_equal(c->max_unauthenticated, 16);
	assert_false(c->tls_ktls);
	assert_string_equal(c->tls_ca, CONF_DIR "/ca.pem");
	assert_int_equal(c->log_level, LOG_AT_INFO);
	assert_int_equal(c->n_peers, 0);
	assert_int_equal(c->n_disks, 0);
	conf_timing(c, &t);
	assert_int_equal(t.epoch_period_ns, c->epoch_period_ns);
	assert_true(t.suspend_timeout_ns > 0);
	conf_free(c);
}

static void every_key(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	struct timing t;
	int rc = load(
		*state,
		"host: { name: \"hosta\"; listen-address: \"10.0.0.1\"; listen-port: 1234;\n"
		"  heartbeat-port: 7500; heartbeat-ports: 10; };\n"
		"tls = { ca = \"/c\"; cert = \"/d\"; key = \"/e\"; ktls = true; };\n"
		"peers = ( { name = \"hostb\"; address = \"10.0.0.2\"; },\n"
		"          { name = \"hostc\"; address = \"fe80::1%eth0\"; port = 99; } );\n"
		"defaults = { epoch-period = \"25ms\"; heartbeat-period = \"50ms\";\n"
		"  failure-timeout = \"1.5s\"; suspend-timeout = \"200ms\"; arena = \"1GiB\";\n"
		"  delta-cache = \"256MiB\"; netbuf-limit = \"1MiB\"; };\n"
		"limits = { max-unauthenticated = 3; handshake-timeout = \"2s\"; };\n"
		"paths = { state-dir = \"/s\"; run-dir = \"/r\"; vm-dir = \"/v\"; };\n"
		"log = { level = \"debug\"; };\n",
		&c, &e);

	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	assert_string_equal(c->listen_address, "10.0.0.1");
	assert_int_equal(c->listen_port, 1234);
	assert_int_equal(c->heartbeat_port, 7500);
	assert_int_equal(c->heartbeat_ports, 10);
	assert_string_equal(c->tls_key, "/e");
	assert_true(c->tls_ktls);
	assert_int_equal(c->n_peers, 2);
	assert_int_equal(conf_peer(c, "hostb")->port, 7403);
	assert_int_equal(conf_peer(c, "hostc")->port, 99);
	assert_string_equal(conf_peer(c, "hostc")->address, "fe80::1%eth0");
	assert_null(conf_peer(c, "hostd"));
	assert_int_equal(c->epoch_period_ns, 25000000);
	assert_int_equal(c->failure_timeout_ns, 1500000000);
	assert_int_equal(c->arena_bytes, 1ull << 30);
	assert_int_equal(c->delta_cache_bytes, 256ull << 20);
	assert_int_equal(c->max_unauthenticated, 3);
	assert_int_equal(c->handshake_timeout_ns, 2000000000);
	assert_string_equal(c->state_dir, "/s");
	assert_string_equal(c->run_dir, "/r");
	assert_string_equal(c->vm_dir, "/v");
	assert_int_equal(c->log_level, LOG_AT_DEBUG);
	conf_timing(c, &t);
	assert_int_equal(t.suspend_timeout_ns, 200000000);
	conf_free(c);
}

static void disks(void **state)
{
	const struct conf *c = NULL;
	const struct conf_disk *d;
	struct err e = ERR_INIT;
	int rc = load(
		*state,
		"disks = ( { name = \"a\"; path = \"/dev/vg0/a\"; },\n"
		"  { name = \"b\"; path = \"/b\"; journal = \"/b.j\"; queue-limit = \"1GiB\";\n"
		"    stall-timeout = \"10ms\"; mode = \"epoch\"; } );\n",
		&c, &e);

	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	assert_int_equal(c->n_disks, 2);
	d = conf_disk(c, "a");
	assert_string_equal(d->path, "/dev/vg0/a");
	assert_string_equal(d->journal, "");
	assert_int_equal(d->queue_bytes, 256ull << 20);
	assert_int_equal(d->stall_ns, 2000000000);
	assert_int_equal(d->mode, CONF_DISK_MEMORY);
	assert_int_equal(d->line, 1);
	d = conf_disk(c, "b");
	assert_string_equal(d->journal, "/b.j");
	assert_int_equal(d->queue_bytes, 1ull << 30);
	assert_int_equal(d->stall_ns, 10000000);
	assert_int_equal(d->mode, CONF_DISK_EPOCH);
	assert_null(conf_disk(c, "c"));
	conf_free(c);
}

struct refusal {
	const char *text;
	const char *says;
};

/* Each text is refused, and the message has these words. */
static void all_refused(struct fixture *f, const struct refusal *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct conf *c = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(load(f, table[i].text, &c, &e), -EINVAL);
		assert_null(c);
		if (!strstr(e.text, table[i].says))
			fail_msg("\"%s\" gave \"%s\", without \"%s\"", table[i].text, e.text,
				 table[i].says);
	}
}

static void refusals(void **state)
{
	static const struct refusal table[] = {
		{"host = {\n nam = \"x\";\n};", ":2: unknown key \"host.nam\""},
		{"hosts = { name = \"x\"; };", ":1: unknown key \"hosts\""},
		{"\n\nname = \"x\";", ":3: unknown key \"name\""},
		{"host = { name = { x = 1; }; };", "host.name: must be a quoted text"},
		{"host = 7;", "host must be a group"},
		{"host = { name = \"a b\"; };", "\"a b\" is not a name"},
		{"host = { name = 5; };", "must be a quoted text"},
		{"host = { listen-port = 0; };", "host.listen-port: must be 1 to 65535"},
		{"host = { listen-port = 65536; };", "must be 1 to 65535"},
		{"host = { listen-port = -1; };", "must be 1 to 65535"},
		{"host = { listen-port = \"7403\"; };", "number without quotes"},
		{"host = { listen-port = 1.5; };", "must be a whole number"},
		{"host = { listen-address = \"\"; };", "neither an IP address"},
		{"host = { listen-address = \"a;b\"; };", "neither an IP address"},
		{"host = { heartbeat-port = 65530; };", "go beyond port 65535"},
		{"tls = { ca = \"ca.pem\"; };", "not an absolute path"},
		{"tls = { ktls = \"yes\"; };", "true or false"},
		{"tls = { ktls = 1; };", "true or false"},
		{"defaults = { epoch-period = 50; };", "quoted time with its unit"},
		{"defaults = { epoch-period = \"50\"; };", "\"50\" is not a time"},
		{"defaults = { epoch-period = \"1ms\"; };", "must be 5ms to 10s"},
		{"defaults = { epoch-period = \"0\"; };", "must be 5ms to 10s"},
		{"defaults = { suspend-timeout = \"1ms\"; };", "must be 0, or 10ms to 1m"},
		{"defaults = { arena = \"1MiB\"; };", "must be 0, or 16MiB to 1TiB"},
		{"defaults = { arena = \"16MB\"; };", "is not a size"},
		{"defaults = { netbuf-limit = \"2GiB\"; };", "must be 1MiB to 2047MiB"},
		{"defaults = { failure-timeout = \"200ms\"; };", "failure timeout"},
		{"defaults = { on-peer-loss = \"hold\"; };",
		 "unknown key \"defaults.on-peer-loss\""},
		{"log = { level = \"loud\"; };", "none of: err, warn, info, debug"},
		{"paths = { run-dir = \"/a/folder/that/has/too/long/a/name\"; };",
		 "longer than 31"},
		{"peers = { name = \"b\"; };", "must be a list"},
		{"peers = ( 5 );", "a peer must be {"},
		{"peers = ( { name = \"b\"; } );", "a peer without address"},
		{"peers = ( { address = \"b\"; } );", "a peer without name"},
		{"peers = ( { name = \"\"; address = \"b\"; } );", "a peer without name"},
		{"peers = ( { name = \"b\"; address = \"b\"; prt = 1; } );", "unknown key \"prt\""},
		{"peers = ( { name = \"b\"; address = \"b\"; },\n{ name = \"b\"; address = \"c\"; } );",
		 ":2: peer \"b\" is there twice"},
		{"host = { name = \"h\"; };\npeers = ( { name = \"h\"; address = \"b\"; } );",
		 "has the name of this host"},
		{"host = {", "syntax error"},
		{"log = { level = \"info\"; };\nlog = { level = \"info\"; };", "duplicate"},
		{"@include \"/etc/passwd\"\n", ":1: @ directives"},
		{"host = { };\n  @include \"/etc/passwd\"\n", ":2: @ directives"},
	};

	all_refused(*state, table, ARRAY_SIZE(table));
}

static void disk_refusals(void **state)
{
	static const struct refusal table[] = {
		{"disks = { name = \"a\"; };", "disks must be a list"},
		{"disks = ( \"/dev/a\" );", "a disk must be {"},
		{"disks = ( { name = \"a\"; } );", "a disk without path"},
		{"disks = ( { path = \"/a\"; } );", "a disk without name"},
		{"disks = ( { name = \"a\"; path = \"a\"; } );", "not an absolute path"},
		{"disks = ( { name = \"a\"; path = \"/a\"; mode = \"none\"; } );",
		 "none of: memory, flush, epoch"},
		{"disks = ( { name = \"a\"; path = \"/a\"; stall-timeout = \"6s\"; } );",
		 "must be 10ms to 5s"},
		{"disks = ( { name = \"a\"; path = \"/a\"; queue-limit = \"1MiB\"; } );",
		 "must be 16MiB to 64GiB"},
		{"disks = ( { name = \"a\"; path = \"/a\"; size = 1; } );", "unknown key \"size\""},
		{"disks = ( { name = \"a\"; path = \"/a\"; },\n{ name = \"a\"; path = \"/b\"; } );",
		 ":2: disk \"a\" is there twice"},
		{"disks = ( { name = \"a\"; path = \"/a\"; },\n{ name = \"b\"; path = \"/a\"; } );",
		 ":2: disks \"a\" and \"b\" share a file"},
		{"disks = ( { name = \"a\"; path = \"/a\"; },\n"
		 "{ name = \"b\"; path = \"/b\"; journal = \"/a\"; } );",
		 "share a file"},
		{"disks = ( { name = \"a\"; path = \"/a\"; journal = \"/j\"; },\n"
		 "{ name = \"b\"; path = \"/b\"; journal = \"/j\"; } );",
		 "share a file"},
		{"disks = ( { name = \"a\"; path = \"/a\"; journal = \"/a\"; } );",
		 "is its own journal"},
	};

	all_refused(*state, table, ARRAY_SIZE(table));
}

static void files(void **state)
{
	struct fixture *f = *state;
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	char *big;

	assert_int_equal(conf_load("/nonexistent/romulus.conf", &c, &e), -ENOENT);
	assert_int_equal(conf_load(f->dir, &c, &e), -EINVAL);
	assert_int_equal(conf_load("/dev/zero", &c, &e), -EINVAL);
	put(f->path, "log = {};\0x", 11);
	assert_int_equal(conf_load(f->path, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "zero byte"));
	big = malloc(CONF_MAX_BYTES + 1);
	memset(big, ' ', CONF_MAX_BYTES + 1);
	put(f->path, big, CONF_MAX_BYTES + 1);
	assert_int_equal(conf_load(f->path, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "larger"));
	put(f->path, big, CONF_MAX_BYTES);
	assert_int_equal(conf_load(f->path, &c, &e), 0);
	conf_free(c);
	free(big);
	conf_free(NULL);
}

static void too_many_peers(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	char text[8192];
	size_t n = (size_t)sprintf(text, "peers = (");

	for (int i = 0; i <= CONF_MAX_PEERS; i++)
		n += (size_t)sprintf(text + n, "%s{name=\"p%d\";address=\"a\";}", i ? "," : "", i);
	snprintf(text + n, sizeof(text) - n, ");");
	assert_int_equal(load(*state, text, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "more than 32 peers"));
}

static void too_many_disks(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	char text[8192];
	size_t n = (size_t)sprintf(text, "disks = (");

	for (int i = 0; i <= CONF_MAX_DISKS; i++)
		n += (size_t)sprintf(text + n, "%s{name=\"d%d\";path=\"/d%d\";}", i ? "," : "", i,
				     i);
	snprintf(text + n, sizeof(text) - n, ");");
	assert_int_equal(load(*state, text, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "more than 64 disks"));
}

static void no_memory(void **state)
{
	struct fixture *f = *state;
	const struct conf *c = NULL;
	struct err e = ERR_INIT;

	put(f->path, "", 0);
	for (long n = 0; n < 2; n++) {
		int rc;

		mem_fail_after(n);
		rc = conf_load(f->path, &c, &e);
		mem_fail_after(MEM_NEVER);
		assert_int_equal(rc, -ENOMEM);
	}
}

static void vm_files(void **state)
{
	struct fixture *f = *state;
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	struct conf_vm vm;
	char path[128];
	char text[256];

	snprintf(text, sizeof(text), "paths = { vm-dir = \"%s\"; };", f->dir);
	assert_int_equal(load(f, text, &c, &e), 0);
	assert_int_equal(conf_load_vm(c, "web", &vm, &e), 0);
	assert_string_equal(vm.peer, "");
	assert_string_equal(vm.policy, "");
	assert_int_equal(vm.epoch_period_ns, 0);
	assert_int_equal(conf_load_vm(c, "../web", &vm, &e), -EINVAL);

	snprintf(path, sizeof(path), "%s/web.conf", f->dir);
	snprintf(text, sizeof(text),
		 "to = \"hostb\"; on-peer-loss = \"backup-wins\"; epoch-period = "
		 "\"25ms\"; heartbeat-period = \"20ms\"; failure-timeout = \"2s\";");
	put(path, text, strlen(text));
	assert_int_equal(conf_load_vm(c, "web", &vm, &e), 0);
	assert_string_equal(vm.peer, "hostb");
	assert_string_equal(vm.policy, "backup-wins");
	assert_int_equal(vm.epoch_period_ns, 25000000);
	assert_int_equal(vm.heartbeat_period_ns, 20000000);
	assert_int_equal(vm.failure_timeout_ns, 2000000000);

	put(path, "on-peer-loss = \"both-win\";", 26);
	assert_int_equal(conf_load_vm(c, "web", &vm, &e), -EINVAL);
	assert_non_null(strstr(e.text, "none of: hold, primary-wins, backup-wins"));
	put(path, "peers = ();", 11);
	assert_int_equal(conf_load_vm(c, "web", &vm, &e), -EINVAL);
	conf_free(c);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t ns;
	} table[] = {
		{"50ms", 0, 50000000},
		{"1.5s", 0, 1500000000},
		{"0.25ms", 0, 250000},
		{"100us", 0, 100000},
		{"7ns", 0, 7},
		{"2m", 0, 120000000000},
		{"1h", 0, 3600000000000},
		{"3 s", 0, 3000000000},
		{"0", 0, 0},
		{"0s", 0, 0},
		{"50", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"ms", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"1.s", -EINVAL, 0},
		{".5s", -EINVAL, 0},
		{"1.1234567s", -EINVAL, 0},
		{"1s ", -EINVAL, 0},
		{"1S", -EINVAL, 0},
		{"99999999999999999999s", -EINVAL, 0},
		{"18446744073709551615s", -EINVAL, 0},
		{"18446744073709551615ns", 0, UINT64_MAX},
		{"18446744073709551616ns", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct err e = ERR_INIT;
		uint64_t ns = 0;

		assert_int_equal(conf_parse_duration(table[i].text, &ns, &e), table[i].rc);
		if (!table[i].rc)
			assert_int_equal(ns, table[i].ns);
		else
			assert_true(*e.text);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} table[] = {
		{"512", 0, 512},	{"4KiB", 0, 4096},	 {"1.5MiB", 0, 3 << 19},
		{"64MiB", 0, 64 << 20}, {"2GiB", 0, 2ull << 30}, {"1TiB", 0, 1ull << 40},
		{"64MB", -EINVAL, 0},	{"64mib", -EINVAL, 0},	 {"16777216TiB", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct err e = ERR_INIT;
		uint64_t bytes = 0;

		assert_int_equal(conf_parse_size(table[i].text, &bytes, &e), table[i].rc);
		if (!table[i].rc)
			assert_int_equal(bytes, table[i].bytes);
	}
}

/* What is printed is read back as the same. */
static void formats(void **state)
{
	static const uint64_t values[] = {0,	      1,	   999,
					  1000,	      1500,	   50000000,
					  1500000000, 60000000000, 3600000000000,
					  UINT64_MAX};
	char buf[32];
	uint64_t back;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		conf_format_duration(values[i], buf, sizeof(buf));
		assert_int_equal(conf_parse_duration(buf, &back, NULL), 0);
		assert_int_equal(back, values[i]);
		conf_format_size(values[i], buf, sizeof(buf));
		assert_int_equal(conf_parse_size(buf, &back, NULL), 0);
		assert_int_equal(back, values[i]);
	}
	assert_string_equal(conf_format_duration(50000000, buf, sizeof(buf)), "50ms");
	assert_string_equal(conf_format_size(64 << 20, buf, sizeof(buf)), "64MiB");
}

/* The schema's own sanity: names are there once, defaults pass their own check, offsets are in. */
static void schema(void **state)
{
	const struct conf_key *k;
	size_t n;

	k = conf_keys(&n);
	for (size_t i = 0; i < n; i++) {
		assert_true(k[i].offset + k[i].size <= sizeof(struct conf));
		assert_non_null(k[i].dflt);
		assert_true(strlen(k[i].help) > 10);
		assert_int_equal(k[i].help[strlen(k[i].help) - 1], '.');
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(k[i].name, k[j].name);
			assert_int_not_equal(k[i].offset, k[j].offset);
		}
	}
	k = conf_vm_keys(&n);
	for (size_t i = 0; i < n; i++)
		assert_true(k[i].offset + k[i].size <= sizeof(struct conf_vm));
	k = conf_peer_keys(&n);
	for (size_t i = 0; i < n; i++)
		assert_true(k[i].offset + k[i].size <= sizeof(struct conf_peer));
	k = conf_disk_keys(&n);
	for (size_t i = 0; i < n; i++)
		assert_true(k[i].offset + k[i].size <= sizeof(struct conf_disk));
}

static void prints_sources(void **state)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	autofree char *text = mem_zalloc(16384);
	FILE *out = fmemopen(text, 16383, "w");

	assert_int_equal(load(*state,
			      "host = {\n name = \"hosta\"; };\n"
			      "peers = ( { name = \"hostb\"; address = \"b\"; } );\n"
			      "disks = ( { name = \"root\"; path = \"/dev/r\"; } );",
			      &c, &e),
			 0);
	conf_print(c, out);
	fclose(out);
	assert_non_null(strstr(text, "host.name = \"hosta\";  # /tmp/test_conf."));
	assert_non_null(strstr(text, "/romulus.conf:2\n"));
	assert_non_null(strstr(text, "defaults.epoch-period = \"50ms\";  # default\n"));
	assert_non_null(strstr(text, "log.level = \"info\";  # default\n"));
	assert_non_null(strstr(text, "peers[0] = \"hostb\" at b port 7403"));
	assert_non_null(strstr(text, "disks[0] = \"root\" at /dev/r;"));
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),	  cmocka_unit_test(every_key),
		cmocka_unit_test(refusals),	  cmocka_unit_test(disk_refusals),
		cmocka_unit_test(files),	  cmocka_unit_test(too_many_peers),
		cmocka_unit_test(disks),	  cmocka_unit_test(too_many_disks),
		cmocka_unit_test(no_memory),	  cmocka_unit_test(vm_files),
		cmocka_unit_test(durations),	  cmocka_unit_test(sizes),
		cmocka_unit_test(formats),	  cmocka_unit_test(schema),
		cmocka_unit_test(prints_sources),
	};

	return cmocka_run_group_tests_name("conf", tests, set_up, tear_down);
}
