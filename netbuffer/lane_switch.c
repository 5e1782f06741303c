/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The word that picks the lane: see lane_switch.h. bpf(2) by hand, for seven instructions and one
 * map. Control thread.
 */
#include "netbuffer/lane_switch.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "netbuffer/lane_book.h"

#define BPF_FS "/sys/fs/bpf"

/* 0 or more, or negative errno. The kernel closes on exec what it returns here. */
static int bpf_call(enum bpf_cmd cmd, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

static uint64_t bpf_ptr(const void *p)
{
	return (uintptr_t)p;
}

static int pin_path(const char *vif, char path[LANE_SWITCH_PATH_SIZE], struct err *e)
{
	int n;

	if (vif[0] == '\0' || vif[0] == '.' || strchr(vif, '/'))
		return err_setx(e, -EINVAL, "\"%s\" is no name of a network device", vif);
	n = snprintf(path, LANE_SWITCH_PATH_SIZE, "%s/%s", LANE_SWITCH_DIR, vif);
	if (n < 0 || n >= LANE_SWITCH_PATH_SIZE)
		return err_set(e, -ENAMETOOLONG, "device %s", vif);
	/* The BPF file system takes no dots, a device's name has no colon. */
	for (char *dot = path; (dot = strchr(dot, '.')); dot++)
		*dot = ':';
	return 0;
}

static int pin_folder(struct err *e)
{
	struct statfs fs;

	if (statfs(BPF_FS, &fs) < 0)
		return err_set(e, -errno, "%s", BPF_FS);
	if (fs.f_type != BPF_FS_MAGIC)
		return err_setx(e, -ENODEV, "%s is no BPF file system: mount -t bpf bpf %s", BPF_FS,
				BPF_FS);
	if (mkdir(LANE_SWITCH_DIR, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make %s", LANE_SWITCH_DIR);
	return 0;
}

static int map_create(int *fd, struct err *e)
{
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = sizeof(uint32_t);
	a.value_size = sizeof(struct lane_word);
	a.max_entries = 1;
	a.map_flags = BPF_F_MMAPABLE;
	memcpy(a.map_name, "romulus_lane", sizeof("romulus_lane"));
	r = bpf_call(BPF_MAP_CREATE, &a);
	if (r < 0)
		return err_set(e, r, "make the BPF map of a lane switch");
	*fd = r;
	return 0;
}

/* Is it a map like ours? */
static int map_check(int fd, const char *pin, struct err *e)
{
	struct bpf_map_info info;
	union bpf_attr a;
	int r;

	memset(&info, 0, sizeof(info));
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (uint32_t)fd;
	a.info.info_len = sizeof(info);
	a.info.info = bpf_ptr(&info);
	r = bpf_call(BPF_OBJ_GET_INFO_BY_FD, &a);
	if (r < 0)
		return err_set(e, r, "look at %s", pin);
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(struct lane_word) ||
	    info.max_entries != 1 || !(info.map_flags & BPF_F_MMAPABLE))
		return err_setx(e, -EBADMSG, "%s is not a lane switch of this version", pin);
	return 0;
}

static int word_map(int fd, struct lane_word **word, struct err *e)
{
	void *p = mmap(NULL, sizeof(**word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		       0);

	if (p == MAP_FAILED)
		return err_set(e, -errno, "map the word of a lane switch");
	*word = p;
	return 0;
}

static void word_unmap(struct lane_word *word)
{
	int r = munmap(word, sizeof(*word));

	assert(r == 0);
}

static int word_check(const struct lane_word *word, const char *pin, struct err *e)
{
	uint32_t class = atomic_load(&word->class);

	if ((class & 0xffff0000U) != LANE_SWITCH_MAJOR || (class & 0xffffU) - 1 >= LANES ||
	    atomic_load(&word->held) > 1)
		return err_setx(e, -EBADMSG, "%s holds no lane (%#x)", pin, class);
	return 0;
}

/* Opens the pinned map; *fd stays -1 when there is none. */
static int pin_get(const char *pin, int *fd, struct err *e)
{
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.pathname = bpf_ptr(pin);
	r = bpf_call(BPF_OBJ_GET, &a);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(e, r, "open %s", pin);
	*fd = r;
	return map_check(r, pin, e);
}

static int pin_put(const char *pin, int fd, struct err *e)
{
	union bpf_attr a;
	int r = -ENOENT;

	memset(&a, 0, sizeof(a));
	a.pathname = bpf_ptr(pin);
	a.bpf_fd = (uint32_t)fd;
	/* Another worker may remove the folder as the last one in it, just then. */
	for (int i = 0; i < 3 && r == -ENOENT; i++) {
		int rc = pin_folder(e);

		if (rc < 0)
			return rc;
		r = bpf_call(BPF_OBJ_PIN, &a);
	}
	return r < 0 ? err_set(e, r, "pin %s", pin) : 0;
}

int lane_switch_open(struct lane_switch *s, const char *vif, bool *found, struct err *e)
{
	struct lane_word *word = NULL;
	autofd fd = -1;
	int rc;

	*s = LANE_SWITCH_INIT;
	rc = pin_path(vif, s->pin, e);
	if (rc == 0)
		rc = pin_folder(e);
	if (rc == 0)
		rc = pin_get(s->pin, &fd, e);
	if (rc < 0)
		return rc;
	*found = fd >= 0;
	if (!*found)
		rc = map_create(&fd, e);
	if (rc == 0)
		rc = word_map(fd, &word, e);
	if (rc < 0)
		return rc;
	if (*found) {
		rc = word_check(word, s->pin, e);
	} else {
		atomic_store(&word->class, LANE_SWITCH_MAJOR | 1);
		rc = pin_put(s->pin, fd, e);
	}
	if (rc < 0) {
		word_unmap(word);
		return rc;
	}
	s->word = word;
	s->map_fd = take_fd(&fd);
	return 0;
}

void lane_switch_close(struct lane_switch *s)
{
	if (s->word)
		word_unmap(s->word);
	if (s->map_fd >= 0)
		close(s->map_fd);
	s->word = NULL;
	s->map_fd = -1;
}

int lane_switch_unpin(const char *vif, struct err *e)
{
	char path[LANE_SWITCH_PATH_SIZE];
	int rc = pin_path(vif, path, e);

	if (rc < 0)
		return rc;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "remove %s", path);
	/* The folder goes with the last of them; a failure means that it was not. */
	if (rmdir(LANE_SWITCH_DIR) < 0 && errno != ENOTEMPTY && errno != ENOENT)
		return err_set(e, -errno, "remove %s", LANE_SWITCH_DIR);
	return 0;
}

#define INSN(c, d, s, o, i)                                                         \
	{                                                                           \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) \
	}

int lane_switch_load(const struct lane_switch *s, int *prog_fd, struct err *e)
{
	/* return map[0].class, or 0 (no match) if that were not there */
	const struct bpf_insn prog[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
		INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, s->map_fd),
		INSN(0, 0, 0, 0, 0), /* second half of the one above */
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 1, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_0, BPF_REG_0,
		     offsetof(struct lane_word, class), 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	a.insns = bpf_ptr(prog);
	a.insn_cnt = ARRAY_SIZE(prog);
	a.license = bpf_ptr("GPL");
	memcpy(a.prog_name, "romulus_lane", sizeof("romulus_lane"));
	r = bpf_call(BPF_PROG_LOAD, &a);
	if (r < 0)
		return err_set(e, r, "load the classifier of a lane switch");
	*prog_fd = r;
	return 0;
}
