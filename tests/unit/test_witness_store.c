/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The witness's grants against everything that can go wrong below them: each system call of a grant fails,
 * the process is killed (really: a child, SIGKILL) before and after each, the power goes at each. Whatever
 * happened: a host that was told "granted" keeps it, and the other one is not told so.
 */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arbiter/witness_store.h"
#include "lib/cleanup.h"
#include "lib/err.h"

#define UUID_TEXT "8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b90"
#define MAX_VMS 3

static char dir[] = "/tmp/witness-XXXXXX";
static char grants[64];

/* ---- what stands before the system ---- */

enum op_kind {
	OP_CREATE, /* of an empty file */
	OP_WRITE,
	OP_SYNC,
	OP_RENAME,
	OP_UNLINK,
	OP_SYNC_DIR,
	OP_OTHER,
};

struct op {
	enum op_kind kind;
	char name[2][80]; /* without the folder */
	size_t size;
	char data[512];
};

static struct {
	bool on;
	int n;		 /* calls since it was switched on */
	int fail_at;	 /* -1: none */
	int kill_before; /* -1: none */
	int kill_after;
	struct op ops[64];
	size_t n_ops;
	char open_as[16][80]; /* by descriptor, of those in the folder */
} sys;

static void sys_on(int fail_at, int kill_before, int kill_after)
{
	memset(&sys, 0, sizeof(sys));
	sys.on = true;
	sys.fail_at = fail_at;
	sys.kill_before = kill_before;
	sys.kill_after = kill_after;
}

/* True: this call fails. */
static bool before(void)
{
	if (!sys.on)
		return false;
	if (sys.n == sys.kill_before)
		(void)raise(SIGKILL);
	if (sys.n++ != sys.fail_at)
		return false;
	errno = EIO;
	return true;
}

static void after(void)
{
	if (sys.on && sys.n - 1 == sys.kill_after)
		(void)raise(SIGKILL);
}

static struct op *add(enum op_kind kind, const char *a, const char *b)
{
	static struct op ignored;
	struct op *op = &ignored;

	if (sys.on) {
		assert_true(sys.n_ops < ARRAY_SIZE(sys.ops));
		op = &sys.ops[sys.n_ops++];
	}
	*op = (struct op){.kind = kind};
	snprintf(op->name[0], sizeof(op->name[0]), "%s", a ? a : "");
	snprintf(op->name[1], sizeof(op->name[1]), "%s", b ? b : "");
	return op;
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	int fd;

	if (before())
		return -1;
	fd = __real_open(path, flags, 0600);
	if (sys.on && fd >= 0 && fd < (int)ARRAY_SIZE(sys.open_as)) {
		snprintf(sys.open_as[fd], sizeof(sys.open_as[fd]), "%s",
			 flags & O_DIRECTORY ? "." : base(path));
		(void)add(flags & O_CREAT ? OP_CREATE : OP_OTHER, base(path), NULL);
	}
	after();
	return fd;
}

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	ssize_t r;

	if (before())
		return -1;
	r = __real_write(fd, p, n);
	if (sys.on && r > 0) {
		struct op *op = add(OP_WRITE, sys.open_as[fd], NULL);

		assert_true((size_t)r <= sizeof(op->data));
		memcpy(op->data, p, (size_t)r);
		op->size = (size_t)r;
	}
	after();
	return r;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	int r;

	if (before())
		return -1;
	r = __real_fsync(fd);
	if (sys.on)
		(void)add(*sys.open_as[fd] == '.' ? OP_SYNC_DIR : OP_SYNC, sys.open_as[fd], NULL);
	after();
	return r;
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
	int r = before() ? -1 : __real_fchmod(fd, mode);

	after();
	return r;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	/* A close that fails has closed all the same. */
	bool fails = before();
	int r = __real_close(fd);

	after();
	if (fails)
		errno = EIO;
	return fails ? -1 : r;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
	int r;

	if (before())
		return -1;
	r = __real_rename(from, to);
	(void)add(OP_RENAME, base(from), base(to));
	after();
	return r;
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
	int r;

	if (before())
		return -1;
	r = __real_unlink(path);
	if (!r)
		(void)add(OP_UNLINK, base(path), NULL);
	after();
	return r;
}

/* ---- the store under test ---- */

static void empty(void)
{
	char path[PATH_MAX];
	struct dirent *d;
	DIR *folder = opendir(grants);

	while (folder && (d = readdir(folder))) {
		snprintf(path, sizeof(path), "%s/%s", grants, d->d_name);
		(void)unlink(path);
	}
	if (folder)
		(void)closedir(folder);
	(void)rmdir(grants);
}

static struct witness_store *opened(void)
{
	struct witness_store *s = NULL;
	struct err e = ERR_INIT;

	if (witness_store_open(grants, MAX_VMS, &s, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

static const char *ask_of(struct witness_store *s, const char *uuid, enum ballot_op op,
			  const char *asker, uint64_t term)
{
	static char line[VERDICT_LINE_SIZE];
	struct ballot b = {.op = op, .term = term};
	struct verdict v;

	assert_int_equal(uuid_parse(uuid, b.uuid), 0);
	b.asker[0] = *asker;
	b.peer[0] = *asker == 'a' ? 'b' : 'a';
	(void)witness_store_ask(s, &b, &v);
	return verdict_format(&v, line);
}

static const char *ask(struct witness_store *s, enum ballot_op op, const char *asker, uint64_t term)
{
	return ask_of(s, UUID_TEXT, op, asker, term);
}

/* A new store in which a holds term 1. */
static int set_up(void **state)
{
	struct witness_store *s;

	sys.on = false;
	empty();
	assert_int_equal(witness_store_init(grants, NULL), 0);
	s = opened();
	assert_string_equal(ask(s, BALLOT_JOIN, "a", 1), "granted 1");
	witness_store_close(s);
	return 0;
}

static bool is_granted(const char *line)
{
	return strcmp(line, "granted 2") == 0;
}

/*
 * Both ask for term 2 after what happened to a's question; a was told it had the term or not. A damaged
 * record would be "unknown" for ever: no failure may cause one.
 */
static void judge(bool a_was_granted, int at, const char *what)
{
	struct witness_store *s = opened();
	bool b = is_granted(ask(s, BALLOT_VOTE, "b", 2));
	bool a = is_granted(ask(s, BALLOT_VOTE, "a", 2));
	bool b_again = is_granted(ask(s, BALLOT_VOTE, "b", 2));

	if (a == b || b != b_again || (a_was_granted && b))
		fail_msg("%s at call %d: a was %sgranted term 2, now a: %d, b: %d, b again: %d",
			 what, at, a_was_granted ? "" : "not ", a, b, b_again);
	witness_store_close(s);
}

static void answers_and_remembers(void **state)
{
	struct witness_store *s = opened();

	assert_string_equal(ask(s, BALLOT_LOOK, "b", 0), "held 1 a");
	assert_string_equal(ask(s, BALLOT_VOTE, "b", 2), "granted 2");
	witness_store_close(s);
	s = opened();
	assert_string_equal(ask(s, BALLOT_VOTE, "a", 2), "refused 2 b");
	assert_string_equal(ask(s, BALLOT_VOTE, "b", 2), "granted 2");
	assert_string_equal(ask(s, BALLOT_LOOK, "a", 0), "held 2 b");
	witness_store_close(s);
}

static void one_at_a_time(void **state)
{
	struct witness_store *s = opened();
	struct witness_store *other = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(witness_store_open(grants, MAX_VMS, &other, &e), -EBUSY);
	witness_store_close(s);
	witness_store_close(opened());
}

static void not_mounted_is_no_witness(void **state)
{
	struct witness_store *s = NULL;
	struct err e = ERR_INIT;
	char mark[80];

	assert_int_equal(witness_store_init(grants, &e), -EEXIST);
	snprintf(mark, sizeof(mark), "%s/witness", grants);
	assert_int_equal(unlink(mark), 0);
	assert_int_equal(witness_store_open(grants, MAX_VMS, &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, "is the file system mounted?"));
	/* Nor is it made one while there are grants. */
	assert_int_equal(witness_store_init(grants, &e), -ENOTEMPTY);
}

static void no_more_than_agreed(void **state)
{
	struct witness_store *s = opened();
	char uuid[] = UUID_TEXT;

	for (int i = 1; i <= MAX_VMS; i++) {
		uuid[0] = (char)('0' + i);
		if (i < MAX_VMS)
			assert_string_equal(ask_of(s, uuid, BALLOT_JOIN, "a", 1), "granted 1");
	}
	assert_non_null(strstr(ask_of(s, uuid, BALLOT_JOIN, "a", 1), "max-vms is 3"));
	/* Those that are known are served on. */
	assert_string_equal(ask(s, BALLOT_VOTE, "b", 2), "granted 2");
	witness_store_close(s);
}

static int count(void *arg, const struct record *r, int rc, const struct err *e)
{
	int *n = arg;

	n[rc < 0]++;
	return 0;
}

/* Each bit, each length: never granted anew, and said so; the operator may remove it. */
static void damage_is_never_granted(void **state)
{
	struct witness_store *s = opened();
	struct err e = ERR_INIT;
	uint8_t uuid[UUID_SIZE];
	char path[128];
	uint8_t file[512];
	int n[2] = {0, 0};
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "%s/" UUID_TEXT ".grant", grants);
	fd = open(path, O_RDWR | O_CLOEXEC);
	size = read(fd, file, sizeof(file));
	assert_true(size > 60);
	for (ssize_t bit = 0; bit < size * 8; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(pwrite(fd, file, (size_t)size, 0), size);
		if (strncmp(ask(s, BALLOT_VOTE, "b", 2), "unknown the record is damaged", 29) != 0)
			fail_msg("bit %zd was not seen", bit);
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (ssize_t len = 0; len < size; len++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, file, (size_t)len, 0), len);
		assert_non_null(strstr(ask(s, BALLOT_VOTE, "b", 2), "romulus-witness --forget"));
		assert_non_null(strstr(ask(s, BALLOT_JOIN, "a", 9), "romulus-witness --forget"));
	}
	close(fd);
	assert_int_equal(witness_store_each(grants, count, n, &e), 0);
	assert_int_equal(n[1], 1);
	assert_int_equal(uuid_parse(UUID_TEXT, uuid), 0);
	assert_int_equal(witness_store_forget(grants, uuid, &e), 0);
	assert_int_equal(witness_store_forget(grants, uuid, &e), -ENOENT);
	assert_string_equal(ask(s, BALLOT_LOOK, "a", 0), "none");
	witness_store_close(s);
}

/* A whole record of another VM, or of another term than its name or header say, is damage too. */
static void a_record_in_the_wrong_place(void **state)
{
	struct witness_store *s = opened();
	char uuid[] = UUID_TEXT;
	char from[128];
	char to[128];

	uuid[0] = '1';
	snprintf(from, sizeof(from), "%s/" UUID_TEXT ".grant", grants);
	snprintf(to, sizeof(to), "%s/%s.grant", grants, uuid);
	assert_int_equal(rename(from, to), 0);
	assert_non_null(strstr(ask_of(s, uuid, BALLOT_VOTE, "b", 2), "damaged"));
	witness_store_close(s);
}

/* Each call fails once; the answer is UNKNOWN, or the call did not matter. */
static void every_call_may_fail(void **state)
{
	bool reached = true;
	int i;

	for (i = 0; reached; i++) {
		struct witness_store *s;
		char said[VERDICT_LINE_SIZE];
		bool granted;

		set_up(NULL);
		s = opened();
		sys_on(i, -1, -1);
		snprintf(said, sizeof(said), "%s", ask(s, BALLOT_VOTE, "a", 2));
		reached = sys.n > i;
		sys.on = false;
		granted = is_granted(said);
		if (!granted && strncmp(said, "unknown ", 8) != 0)
			fail_msg("call %d failed: \"%s\"", i, said);
		if (!reached && !granted)
			fail_msg("nothing failed: \"%s\"", said);
		witness_store_close(s);
		judge(granted, i, "failure");
	}
	/* open, close; open, write, chmod, sync, close; rename; open, sync, close */
	assert_in_range(i, 10, 40);
}

/* The child says what it was answered, if it lives so long. */
static bool killed_child(int kill_before, int kill_after, bool *granted)
{
	char said[VERDICT_LINE_SIZE] = "";
	int status;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct witness_store *s = opened();
		const char *line;

		sys_on(-1, kill_before, kill_after);
		line = ask(s, BALLOT_VOTE, "a", 2);
		sys.on = false;
		if (write(fds[1], line, strlen(line)) < 0)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	assert_true(read(fds[0], said, sizeof(said) - 1) >= 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	*granted = is_granted(said);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGKILL);
	else
		assert_true(*granted);
	return WIFSIGNALED(status) != 0;
}

static void killed_at_every_call(void **state)
{
	for (int side = 0; side < 2; side++) {
		bool killed = true;
		int i;

		for (i = 0; killed; i++) {
			bool granted;

			set_up(NULL);
			killed = killed_child(side ? -1 : i, side ? i : -1, &granted);
			judge(granted, i, "kill -9");
		}
		assert_in_range(i, 10, 40);
	}
}

/* ---- loss of power ---- */

struct inode {
	size_t size, synced; /* bytes; synced: -1 as never */
	char data[512];
};

#define NEVER ((size_t)-1)

/* A folder as a disk could have it; names point at inodes. */
struct disk {
	struct inode inode[16];
	size_t n_inodes;
	struct {
		char name[80];
		size_t inode;
	} entry[16];
	size_t n_entries;
};

static size_t *find(struct disk *d, const char *name)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		if (!strcmp(d->entry[i].name, name))
			return &d->entry[i].inode;
	}
	return NULL;
}

static void set_entry(struct disk *d, const char *name, size_t inode)
{
	size_t *at = find(d, name);

	if (!at) {
		assert_true(d->n_entries < ARRAY_SIZE(d->entry));
		snprintf(d->entry[d->n_entries].name, sizeof(d->entry[0].name), "%s", name);
		at = &d->entry[d->n_entries++].inode;
	}
	*at = inode;
}

static void drop_entry(struct disk *d, const char *name)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		if (!strcmp(d->entry[i].name, name))
			d->entry[i] = d->entry[--d->n_entries];
	}
}

/* What the names become: only by these. */
static void apply_name(struct disk *d, const struct op *op, size_t inode)
{
	if (op->kind == OP_CREATE) {
		set_entry(d, op->name[0], inode);
	} else if (op->kind == OP_UNLINK) {
		drop_entry(d, op->name[0]);
	} else if (op->kind == OP_RENAME) {
		set_entry(d, op->name[1], inode);
		drop_entry(d, op->name[0]);
	}
}

/* A file of the folder as it is now, whole and durable. */
static void take_file(struct disk *d, const char *name)
{
	struct inode *n = &d->inode[d->n_inodes];
	char path[256];
	ssize_t r;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", grants, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	r = read(fd, n->data, sizeof(n->data));
	close(fd);
	assert_true(r > 0);
	n->size = n->synced = (size_t)r;
	set_entry(d, name, d->n_inodes++);
}

/* The folder gets what this disk has; `tear` says how much of what was not synced. */
static void lay_out(const struct disk *d, int tear)
{
	empty();
	assert_int_equal(mkdir(grants, 0700), 0);
	for (size_t i = 0; i < d->n_entries; i++) {
		const struct inode *n = &d->inode[d->entry[i].inode];
		size_t floor = n->synced == NEVER ? 0 : n->synced;
		size_t size = floor + (n->size - floor) * (size_t)tear / 2;
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", grants, d->entry[i].name);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, n->data, size), (ssize_t)size);
		close(fd);
	}
}

/* Does what a disk could have after it keep what a was told? A damaged record keeps nothing. */
static bool power_loss_is_safe(bool a_was_granted)
{
	struct witness_store *s = opened();
	const char *b_said = ask(s, BALLOT_VOTE, "b", 2);
	bool b = is_granted(b_said);
	bool damaged = strncmp(b_said, "unknown", 7) == 0;
	bool a = is_granted(ask(s, BALLOT_VOTE, "a", 2));

	witness_store_close(s);
	return !damaged && a != b && !(a_was_granted && b);
}

/* Which syncs the disk heeds. */
struct heeds {
	bool files;
	bool folders;
};

/*
 * The power goes after the first n_ops operations. The disk has what was synced; of the names that were
 * changed since the folder's last sync the first few, in order; of bytes that were not synced none, half
 * or all. Returns the number of disks that would break the promise.
 */
static int lose_power(const struct disk *begin, size_t n_ops, const struct heeds *heeds,
		      bool a_was_granted)
{
	static struct disk now;	    /* as the system saw it */
	static struct disk durable; /* names as of the last sync of the folder */
	static struct disk could;
	const struct op *pending[64];
	size_t pending_inode[64];
	size_t n_pending = 0;
	int bad = 0;

	now = durable = *begin;
	for (size_t i = 0; i < n_ops; i++) {
		const struct op *op = &sys.ops[i];
		const size_t *at = find(&now, op->name[0]);
		size_t inode = at ? *at : 0;

		if (op->kind == OP_CREATE && !at) {
			inode = now.n_inodes++;
			now.inode[inode] = (struct inode){.synced = NEVER};
		}
		if (op->kind == OP_WRITE) {
			memcpy(now.inode[inode].data + now.inode[inode].size, op->data, op->size);
			now.inode[inode].size += op->size;
		}
		if (op->kind == OP_SYNC && heeds->files)
			now.inode[inode].synced = now.inode[inode].size;
		if (op->kind == OP_CREATE || op->kind == OP_RENAME || op->kind == OP_UNLINK) {
			apply_name(&now, op, inode);
			pending[n_pending] = op;
			pending_inode[n_pending++] = inode;
		}
		if (op->kind == OP_SYNC_DIR && heeds->folders) {
			durable = now;
			n_pending = 0;
		}
	}
	for (size_t kept = 0; kept <= n_pending; kept++) {
		for (int tear = 0; tear <= 2; tear++) {
			could = durable;
			memcpy(could.inode, now.inode, sizeof(could.inode));
			for (size_t i = 0; i < kept; i++)
				apply_name(&could, pending[i], pending_inode[i]);
			lay_out(&could, tear);
			bad += !power_loss_is_safe(a_was_granted);
		}
	}
	return bad;
}

static int lose_power_everywhere(const struct heeds *heeds)
{
	struct disk begin = {.n_inodes = 0};
	struct witness_store *s;
	size_t n_ops;
	int bad = 0;

	set_up(NULL);
	take_file(&begin, "witness");
	take_file(&begin, UUID_TEXT ".grant");
	s = opened();
	sys_on(-1, -1, -1);
	assert_string_equal(ask(s, BALLOT_VOTE, "a", 2), "granted 2");
	sys.on = false;
	witness_store_close(s);
	n_ops = sys.n_ops;
	assert_in_range(n_ops, 6, 20);
	for (size_t n = 0; n < n_ops; n++)
		bad += lose_power(&begin, n, heeds, false);
	/* All was done, and a has its answer. */
	return bad + lose_power(&begin, n_ops, heeds, true);
}

static const struct heeds honest = {true, true};

static void power_lost_at_every_call(void **state)
{
	assert_int_equal(lose_power_everywhere(&honest), 0);
}

/* The test can fail: on a disk that does not heed one kind of sync, it does. */
static void a_disk_that_lies_is_seen(void **state)
{
	const struct heeds no_files = {.folders = true};
	const struct heeds no_folders = {.files = true};

	assert_true(lose_power_everywhere(&no_files) > 0);
	assert_true(lose_power_everywhere(&no_folders) > 0);
}

/*
 * The folder's sync failed, so a was told "unknown", but the new record can be seen. Asked again, it must be
 * made durable before "granted" is said.
 */
static void asked_again_is_durable(void **state)
{
	struct disk begin = {.n_inodes = 0};
	struct witness_store *s;
	int last;

	s = opened();
	sys_on(-1, -1, -1);
	assert_string_equal(ask(s, BALLOT_VOTE, "a", 2), "granted 2");
	sys.on = false;
	witness_store_close(s);
	last = sys.n - 2; /* its close comes after it */
	set_up(NULL);
	take_file(&begin, "witness");
	take_file(&begin, UUID_TEXT ".grant");
	s = opened();
	sys_on(last, -1, -1);
	assert_non_null(strstr(ask(s, BALLOT_VOTE, "a", 2), "sync folder"));
	assert_string_equal(ask(s, BALLOT_LOOK, "a", 0), "held 2 a");
	assert_string_equal(ask(s, BALLOT_VOTE, "a", 2), "granted 2");
	sys.on = false;
	witness_store_close(s);
	assert_int_equal(lose_power(&begin, sys.n_ops, &honest, true), 0);
}

static int tear_down(void **state)
{
	sys.on = false;
	empty();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(answers_and_remembers, set_up),
		cmocka_unit_test_setup(one_at_a_time, set_up),
		cmocka_unit_test_setup(not_mounted_is_no_witness, set_up),
		cmocka_unit_test_setup(no_more_than_agreed, set_up),
		cmocka_unit_test_setup(damage_is_never_granted, set_up),
		cmocka_unit_test_setup(a_record_in_the_wrong_place, set_up),
		cmocka_unit_test_setup(every_call_may_fail, set_up),
		cmocka_unit_test_setup(killed_at_every_call, set_up),
		cmocka_unit_test_setup(power_lost_at_every_call, set_up),
		cmocka_unit_test_setup(a_disk_that_lies_is_seen, set_up),
		cmocka_unit_test_setup(asked_again_is_durable, set_up),
	};
	int rc;

	if (!mkdtemp(dir))
		return 1;
	snprintf(grants, sizeof(grants), "%s/grants", dir);
	rc = RUN_TESTS("witness_store", tests);
	tear_down(NULL);
	rmdir(dir);
	return rc;
}
