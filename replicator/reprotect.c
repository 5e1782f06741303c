/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See reprotect.h. Pure. */
#include "replicator/reprotect.h"

#include <stddef.h>
#include <string.h>

#include "lib/clock.h"

static struct reprotect_vm *find(struct reprotect *r, const char *vm)
{
	for (int i = 0; i < REPROTECT_MAX; i++) {
		if (*vm && !strcmp(r->slot[i].vm, vm))
			return &r->slot[i];
	}
	return NULL;
}

static struct reprotect_vm *unused(struct reprotect *r)
{
	for (int i = 0; i < REPROTECT_MAX; i++) {
		if (!*r->slot[i].vm)
			return &r->slot[i];
	}
	return NULL;
}

bool reprotect_want(struct reprotect *r, const char *vm, uint64_t now)
{
	struct reprotect_vm *v = find(r, vm);

	v = v ? v : unused(r);
	if (!v)
		return false;
	*v = (struct reprotect_vm){.at_ns = clock_add(now, REPROTECT_FIRST_NS)};
	memccpy(v->vm, vm, 0, sizeof(v->vm) - 1);
	return true;
}

bool reprotect_failed(struct reprotect *r, const char *vm, uint64_t now)
{
	struct reprotect_vm *v = find(r, vm);
	uint64_t wait = REPROTECT_FIRST_NS;

	if (!v)
		return false;
	v->at_ns = CLOCK_NEVER;
	if (++v->tries >= REPROTECT_TRIES)
		return false;
	for (unsigned int i = 0; i < v->tries && wait < REPROTECT_MAX_NS; i++)
		wait *= 2;
	v->at_ns = clock_add(now, MIN(wait, REPROTECT_MAX_NS));
	return true;
}

void reprotect_drop(struct reprotect *r, const char *vm)
{
	struct reprotect_vm *v = find(r, vm);

	if (v)
		*v = (struct reprotect_vm){.tries = 0};
}

uint64_t reprotect_deadline(const struct reprotect *r)
{
	uint64_t first = CLOCK_NEVER;

	for (int i = 0; i < REPROTECT_MAX; i++) {
		if (*r->slot[i].vm)
			first = MIN(first, r->slot[i].at_ns);
	}
	return first;
}

bool reprotect_due(struct reprotect *r, uint64_t now, char vm[NAME_SIZE])
{
	for (int i = 0; i < REPROTECT_MAX; i++) {
		struct reprotect_vm *v = &r->slot[i];

		if (!*v->vm || v->at_ns > now)
			continue;
		v->at_ns = CLOCK_NEVER;
		memcpy(vm, v->vm, NAME_SIZE);
		return true;
	}
	return false;
}
