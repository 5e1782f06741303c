/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration files: an odd first byte makes the rest a vm.d file, an even one romulus.conf. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/conf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses a string when the syntax is wrong right behind it. Loading ends then, so be it. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}

static void check_range(const struct conf *c)
{
	const struct conf_key *k;
	size_t n;

	k = conf_keys(&n);
	for (size_t i = 0; i < n; i++) {
		const char *field = (const char *)c + k[i].offset;
		uint64_t v;

		if (k[i].type == CONF_DURATION || k[i].type == CONF_SIZE || k[i].type == CONF_INT) {
			memcpy(&v, field, sizeof(v));
			assert((v >= k[i].min && v <= k[i].max) || (k[i].or_zero && !v));
		} else if (k[i].type != CONF_BOOL && k[i].type != CONF_ENUM) {
			assert(memchr(field, 0, k[i].size));
		}
	}
	assert(c->n_peers <= CONF_MAX_PEERS);
	for (size_t i = 0; i < c->n_peers; i++)
		assert(name_ok(c->peer[i].name) && c->peer[i].port && *c->peer[i].address);
	assert(c->n_disks <= CONF_MAX_DISKS);
	for (size_t i = 0; i < c->n_disks; i++)
		assert(name_ok(c->disk[i].name) && c->disk[i].path[0] == '/' &&
		       c->disk[i].mode <= CONF_DISK_EPOCH);
}

static void load(const char *path)
{
	const struct conf *c = NULL;
	struct err e = ERR_INIT;
	FILE *out;

	if (conf_load(path, &c, &e) < 0) {
		assert(!c && *e.text);
		return;
	}
	check_range(c);
	out = fopen("/dev/null", "w");
	assert(out);
	conf_print(c, out);
	fclose(out);
	conf_free(c);
}

/* conf_load_vm() wants a folder, so the descriptor gets a name in one of our own. */
static void load_vm(const char *path)
{
	struct conf c = {.n_peers = 0};
	struct err e = ERR_INIT;
	struct conf_vm vm;
	char link[CONF_PATH_SIZE + 16];

	snprintf(c.vm_dir, sizeof(c.vm_dir), "/tmp/fuzz_conf.XXXXXX");
	if (!mkdtemp(c.vm_dir))
		return;
	snprintf(link, sizeof(link), "%s/fuzz.conf", c.vm_dir);
	if (symlink(path, link) == 0) {
		if (conf_load_vm(&c, "fuzz", &vm, &e) == 0)
			assert(!*vm.policy || strchr("hpb", *vm.policy));
		else
			assert(*e.text);
		unlink(link);
	}
	rmdir(c.vm_dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd;

	if (!size)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	assert(fd >= 0);
	assert(write(fd, data + 1, size - 1) == (ssize_t)size - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (data[0] & 1)
		load_vm(path);
	else
		load(path);
	close(fd);
	return 0;
}
