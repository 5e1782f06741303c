/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flight recorders that are kept: <state_dir>/flight/<vm>.<side>.<time>.flight. See flight.h. Blocks on the disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/event.h"
#include "lib/flight.h"
#include "lib/persist.h"

#define FOLDER "flight"
#define SUFFIX ".flight"
/* 20261126T120000123456 */
#define STAMP_SIZE 22

/* Sorts as text, and has no character that a name may end with. */
static void stamp(char out[STAMP_SIZE], uint64_t wall_us)
{
	char time[EVENT_TIME_SIZE];
	size_t n = 0;

	for (const char *p = event_time(wall_us, time); *p && n < STAMP_SIZE - 1; p++) {
		if (*p != '-' && *p != ':' && *p != '.' && *p != 'Z')
			out[n++] = *p;
	}
	out[n] = '\0';
}

/* The stamp in the name of a file of this VM and side, or NULL: names may contain dots. */
static const char *stamp_of(const char *file, const struct flight_place *of)
{
	size_t head = strlen(of->vm) + 1 + strlen(of->side) + 1;
	char start[2 * NAME_SIZE];

	snprintf(start, sizeof(start), "%s.%s.", of->vm, of->side);
	if (strlen(file) != head + STAMP_SIZE - 1 + strlen(SUFFIX) ||
	    strncmp(file, start, head) != 0 ||
	    strspn(file + head, "0123456789T") != STAMP_SIZE - 1 ||
	    strcmp(file + head + STAMP_SIZE - 1, SUFFIX) != 0)
		return NULL;
	return file + head;
}

/* Counts them; first and last are their stamps, by age. */
static unsigned int look(DIR *dir, const struct flight_place *of, char first[STAMP_SIZE],
			 char last[STAMP_SIZE])
{
	const struct dirent *d;
	unsigned int n = 0;

	while ((d = readdir(dir))) {
		const char *s = stamp_of(d->d_name, of);

		if (!s)
			continue;
		if (!n || strncmp(s, first, STAMP_SIZE - 1) < 0)
			snprintf(first, STAMP_SIZE, "%.*s", STAMP_SIZE - 1, s);
		if (!n || strncmp(s, last, STAMP_SIZE - 1) > 0)
			snprintf(last, STAMP_SIZE, "%.*s", STAMP_SIZE - 1, s);
		n++;
	}
	return n;
}

static int make_path(char path[FLIGHT_PATH_SIZE], const struct flight_place *of, const char *when,
		     struct err *e)
{
	int n = snprintf(path, FLIGHT_PATH_SIZE, "%s/" FOLDER "/%s.%s.%s" SUFFIX, of->state_dir,
			 of->vm, of->side, when);

	if (n < 0 || n >= FLIGHT_PATH_SIZE)
		return err_set(e, -ENAMETOOLONG, "%.64s", of->state_dir);
	return 0;
}

static DIR *open_folder(const char *state_dir)
{
	char path[FLIGHT_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/" FOLDER, state_dir);
	return opendir(path);
}

/* What cannot be removed stays; the next one tries again. */
static void thin_out(const struct flight_place *of)
{
	char first[STAMP_SIZE] = "", last[STAMP_SIZE] = "", path[FLIGHT_PATH_SIZE];
	struct err ignored = ERR_INIT;

	for (int i = 0; i < FLIGHT_KEPT; i++) {
		DIR *dir = open_folder(of->state_dir);
		unsigned int n = dir ? look(dir, of, first, last) : 0;

		if (dir)
			closedir(dir);
		if (n <= FLIGHT_KEPT || make_path(path, of, first, &ignored) < 0 ||
		    unlink(path) < 0)
			return;
	}
}

static int make_folder(const char *state_dir, struct err *e)
{
	char path[FLIGHT_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/" FOLDER, state_dir);
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_set(e, -errno, "make folder %s", path);
}

int flight_keep(const struct flight_place *to, const char *from, uint64_t wall_us,
		char path[FLIGHT_PATH_SIZE], struct err *e)
{
	autofree uint8_t *buf = mem_alloc(FLIGHT_FILE_SIZE);
	autofd fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char when[STAMP_SIZE];
	ssize_t n;
	int rc;

	if (!buf)
		return err_set(e, -ENOMEM, "keep %s", from);
	if (fd < 0)
		return err_set(e, -errno, "open %s", from);
	/* As it is at this instant: it goes on being written. */
	n = pread(fd, buf, FLIGHT_FILE_SIZE, 0);
	if (n != FLIGHT_FILE_SIZE)
		return err_set(e, n < 0 ? -errno : -EBADMSG, "read %s", from);
	stamp(when, wall_us);
	rc = make_path(path, to, when, e);
	if (!rc)
		rc = make_folder(to->state_dir, e);
	if (!rc)
		rc = persist_replace(path, buf, FLIGHT_FILE_SIZE, 0600, e);
	if (!rc)
		thin_out(to);
	return rc;
}

int flight_newest(const struct flight_place *of, char path[FLIGHT_PATH_SIZE], struct err *e)
{
	char first[STAMP_SIZE] = "", last[STAMP_SIZE] = "";
	DIR *dir = open_folder(of->state_dir);
	unsigned int n = dir ? look(dir, of, first, last) : 0;

	if (dir)
		closedir(dir);
	if (!n)
		return err_setx(e, -ENOENT, "no flight recorder of %s, %s, was kept", of->vm,
				of->side);
	return make_path(path, of, last, e);
}
