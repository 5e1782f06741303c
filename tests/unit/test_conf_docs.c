/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schema, man/romulus.conf.5 and etc/romulus.conf say the same, all ways. Runs in the project's root. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arbiter/witness_conf.h"
#include "lib/conf.h"
#include "lib/err.h"

#define MANUAL "man/romulus.conf.5"
#define WITNESS_MANUAL "man/romulus-witness.8"
#define WITNESS_SHIPPED "etc/witness.conf"
#define SHIPPED "etc/romulus.conf"

struct entry {
	char section[64];
	char name[64];
	char dflt[128]; /* "-": none is given */
};

struct manual {
	size_t n;
	struct entry e[128];
};

static void read_manual(const char *path, struct manual *m)
{
	FILE *file = fopen(path, "r");
	char section[64] = "";
	char line[512];

	assert_non_null(file);
	m->n = 0;
	while (fgets(line, sizeof(line), file)) {
		struct entry *last = m->n ? &m->e[m->n - 1] : NULL;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, ".Sh %63[^\n]", section) == 1)
			continue;
		if (!strncmp(line, ".It Ic ", 7)) {
			assert_true(m->n < ARRAY_SIZE(m->e));
			last = &m->e[m->n++];
			memcpy(last->section, section, sizeof(section));
			snprintf(last->name, sizeof(last->name), "%.63s", line + 7);
			strcpy(last->dflt, "-");
		} else if (last && !strncmp(line, "Default: ", 9)) {
			snprintf(last->dflt, sizeof(last->dflt), "%.127s", line + 9);
			/* Without the full stop. */
			last->dflt[strlen(last->dflt) - 1] = 0;
		}
	}
	fclose(file);
}

static const struct entry *find(const struct manual *m, const char *section, const char *name)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!strcmp(m->e[i].section, section) && !strcmp(m->e[i].name, name))
			return &m->e[i];
	}
	return NULL;
}

static void compare(const struct manual *m, const char *section, const struct conf_key *keys,
		    size_t n)
{
	size_t in_section = 0;

	for (size_t i = 0; i < n; i++) {
		const struct entry *e = find(m, section, keys[i].name);
		const char *dflt = keys[i].dflt ? keys[i].dflt : "-";

		if (!e)
			fail_msg("%s is not in %s, %s", keys[i].name, MANUAL, section);
		else if (strcmp(e->dflt, *dflt ? dflt : "empty") != 0)
			fail_msg("%s: the default is \"%s\", the manual says \"%s\"", keys[i].name,
				 dflt, e->dflt);
	}
	for (size_t i = 0; i < m->n; i++)
		in_section += !strcmp(m->e[i].section, section);
	if (in_section != n)
		fail_msg("%s has %zu keys in %s, the schema %zu", MANUAL, in_section, section, n);
}

static void manual_has_the_schema(void **state)
{
	static struct manual m;
	const struct conf_key *k;
	size_t n;

	read_manual(MANUAL, &m);
	k = conf_keys(&n);
	compare(&m, "KEYS", k, n);
	k = conf_peer_keys(&n);
	compare(&m, "PEERS", k, n);
	k = conf_disk_keys(&n);
	compare(&m, "DISKS", k, n);
	k = conf_vm_keys(&n);
	compare(&m, "VM FILES", k, n);
}

/* Takes the comment sign from "# key = value;", and from the lists when lists is set. */
static void uncomment(FILE *in, FILE *out, bool lists)
{
	char line[512];
	bool in_list = false;

	while (fgets(line, sizeof(line), in)) {
		char *hash = strchr(line, '#');
		char key[64];
		int end = 0;

		in_list |= lists &&
			   (!strncmp(line, "# peers = (", 11) || !strncmp(line, "# disks = (", 11));
		if (hash && strspn(line, " \t") == (size_t)(hash - line) &&
		    (in_list || (sscanf(hash, "# %63[a-z-] = %n", key, &end) == 1 && end &&
				 strchr(hash, ';') == hash + strlen(hash) - 2)))
			*hash = ' ';
		if (in_list && strstr(line, ");"))
			in_list = false;
		fputs(line, out);
	}
}

static const struct conf *load_shipped(bool uncommented, bool lists)
{
	char path[] = "/tmp/test_conf_docs.XXXXXX";
	FILE *in = fopen(SHIPPED, "r");
	FILE *out = fdopen(mkstemp(path), "w");
	const struct conf *c = NULL;
	struct err e = ERR_INIT;

	assert_non_null(in);
	assert_non_null(out);
	if (uncommented)
		uncomment(in, out, lists);
	fclose(in);
	fclose(out);
	if (conf_load(uncommented ? path : SHIPPED, &c, &e) < 0)
		fail_msg("%s", e.text);
	unlink(path);
	return c;
}

static void shipped_file_has_every_default(void **state)
{
	const struct conf *as_is = load_shipped(false, false);
	const struct conf *full = load_shipped(true, false);
	const struct conf_key *k;
	size_t n;

	k = conf_keys(&n);
	for (size_t i = 0; i < n; i++) {
		if (as_is->source_line[i])
			fail_msg("%s is set in %s", k[i].name, SHIPPED);
		if (!full->source_line[i])
			fail_msg("%s is not in %s", k[i].name, SHIPPED);
		if (memcmp((const char *)as_is + k[i].offset, (const char *)full + k[i].offset,
			   k[i].size) != 0)
			fail_msg("%s has another value in %s than by default", k[i].name, SHIPPED);
	}
	conf_free(as_is);
	conf_free(full);
}

static void shipped_lists_are_right(void **state)
{
	const struct conf *c = load_shipped(true, true);

	assert_int_equal(c->n_peers, 2);
	assert_int_equal(conf_peer(c, "hostb")->port, 7403);
	assert_int_equal(conf_peer(c, "hostc")->port, 7404);
	assert_int_equal(c->n_disks, 2);
	assert_string_equal(conf_peer(c, "hostc")->fence_options, "ip=192.0.2.103");
	assert_string_equal(conf_disk(c, "web-root")->path, "/dev/vg0/web-root");
	assert_int_equal(conf_disk(c, "web-data")->mode, CONF_DISK_FLUSH);
	conf_free(c);
}

/* The same of the witness's. */
static void witness_manual_has_the_schema(void **state)
{
	static struct manual m;
	const struct conf_key *k;
	size_t n;

	read_manual(WITNESS_MANUAL, &m);
	k = witness_conf_keys(&n);
	compare(&m, "CONFIGURATION", k, n);
}

static void witness_shipped_file_has_every_default(void **state)
{
	char path[] = "/tmp/test_conf_docs.XXXXXX";
	FILE *in = fopen(WITNESS_SHIPPED, "r");
	FILE *out = fdopen(mkstemp(path), "w");
	static struct witness_conf as_is;
	static struct witness_conf full;
	struct err e = ERR_INIT;
	const struct conf_key *k;
	size_t n;

	assert_non_null(in);
	assert_non_null(out);
	uncomment(in, out, false);
	fclose(in);
	fclose(out);
	if (witness_conf_load(WITNESS_SHIPPED, &as_is, &e) < 0 ||
	    witness_conf_load(path, &full, &e) < 0)
		fail_msg("%s", e.text);
	unlink(path);
	k = witness_conf_keys(&n);
	for (size_t i = 0; i < n; i++) {
		if (as_is.source_line[i] || !full.source_line[i])
			fail_msg("%s is set in %s, or not there", k[i].name, WITNESS_SHIPPED);
		if (memcmp((const char *)&as_is + k[i].offset, (const char *)&full + k[i].offset,
			   k[i].size) != 0)
			fail_msg("%s has another value in %s than by default", k[i].name,
				 WITNESS_SHIPPED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manual_has_the_schema),
		cmocka_unit_test(shipped_file_has_every_default),
		cmocka_unit_test(shipped_lists_are_right),
		cmocka_unit_test(witness_manual_has_the_schema),
		cmocka_unit_test(witness_shipped_file_has_every_default),
	};

	return RUN_TESTS("conf_docs", tests);
}
