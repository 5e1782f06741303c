/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_list.h. */
#include "replicator/disk_list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"

#define SCRIPT "block-romulus"
#define SCRIPT_DIR "/etc/xen/scripts/"
#define SEE "; see romulus-disk(8)"

static bool is_ours(const char *script)
{
	if (!script)
		return false;
	if (strncmp(script, SCRIPT_DIR, sizeof(SCRIPT_DIR) - 1) == 0)
		script += sizeof(SCRIPT_DIR) - 1;
	return strcmp(script, SCRIPT) == 0;
}

static int check(const struct disk_seen *d, const char *vdev, const char *vm, struct err *e)
{
	if (!is_ours(d->script))
		return err_setx(
			e, -EOPNOTSUPP,
			"disk %s of %s is not a Romulus disk%s: give it to one (script=" SCRIPT
			", target=NAME)%s" SEE,
			vdev, vm, d->writable ? "" : ", though read-only",
			d->writable ? "" : ", or detach it");
	if (d->elsewhere)
		return err_setx(e, -EOPNOTSUPP, "disk %s of %s is served by a driver domain", vdev,
				vm);
	if (!d->target || !name_ok(d->target))
		return err_setx(e, -EOPNOTSUPP,
				"disk %s of %s: target '%.63s' is no name of a Romulus disk" SEE,
				vdev, vm, d->target ? d->target : "");
	return 0;
}

int disk_list_add(struct disk_list *l, const struct disk_seen *d, const char *vm, struct err *e)
{
	char vdev[DISK_VDEV_SIZE] = "";
	int rc;

	snprintf(vdev, sizeof(vdev), "%s", d->vdev ? d->vdev : "?");
	if (!name_ok(vdev))
		return err_setx(e, -EOPNOTSUPP, "a disk of %s has no usable name", vm);
	rc = check(d, vdev, vm, e);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < l->n; i++) {
		if (strcmp(l->disk[i].name, d->target) == 0)
			return err_setx(e, -EOPNOTSUPP,
					"disks %s and %s of %s are the same one, %s",
					l->disk[i].vdev, vdev, vm, d->target);
	}
	if (l->n == WIRE_MAX_DISKS)
		return err_setx(e, -EOPNOTSUPP, "%s has more than %d disks", vm, WIRE_MAX_DISKS);
	memset(&l->disk[l->n], 0, sizeof(l->disk[l->n]));
	memcpy(l->disk[l->n].vdev, vdev, strlen(vdev));
	memcpy(l->disk[l->n].name, d->target, strlen(d->target));
	l->n++;
	return 0;
}

void disk_list_line(char buf[DISK_LINE_SIZE], const struct disk_list *l, unsigned int i)
{
	snprintf(buf, DISK_LINE_SIZE, "disk vdev=%s name=%s", l->disk[i].vdev, l->disk[i].name);
}

/* The word after `key`, up to a blank or the end of its line; it is moved past. */
static bool word(const char **text, const char *key, char *out, size_t size)
{
	size_t len = strlen(key), n;

	if (strncmp(*text, key, len) != 0)
		return false;
	n = strcspn(*text + len, " \n");
	if (n >= size)
		return false;
	memcpy(out, *text + len, n);
	out[n] = '\0';
	*text += len + n;
	return name_ok(out);
}

int disk_list_parse(struct disk_list *l, const char *text, struct err *e)
{
	memset(l, 0, sizeof(*l));
	for (unsigned int line = 1; *text; line++) {
		if (l->n == WIRE_MAX_DISKS ||
		    !word(&text, "disk vdev=", l->disk[l->n].vdev, DISK_VDEV_SIZE) ||
		    !word(&text, " name=", l->disk[l->n].name, NAME_SIZE) || *text != '\n')
			return err_setx(e, -EBADMSG, "list of disks: line %u makes no sense", line);
		text++;
		l->n++;
	}
	return 0;
}
