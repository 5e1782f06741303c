/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a failover: two hosts, each of which may believe to have the VM. All that can happen to them until one protects it
 * to the other again, in every order: reboots, a romulusd that comes late, workers that die, an unprotect, a domain that
 * the operator starts again. What a host answers to the other one's HELLO is backup_welcome() itself; the rest is what
 * vm_state.h, primary_main.c and host_reprotect.c say, in small.
 */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "replicator/backup.h"
#include "replicator/vm_state.h"

struct side {
	unsigned int role : 2; /* enum vm_role, durable */
	unsigned int term : 2; /* durable */
	unsigned int taken : 1;
	unsigned int alone : 1;
	unsigned int listens : 1; /* romulusd runs */
	unsigned int worker : 1;  /* of the primary */
	unsigned int
		held : 1;    /* ... and its output is, because the other host may have gone alone */
	unsigned int vm : 1; /* a domain of this VM runs */
	unsigned int anew : 1; /* ... which the operator has started */
	unsigned int standby : 1;
	unsigned int ran : 1; /* the VM has run here under the newer term */
};

struct world {
	struct side s[2];
};

enum happens {
	CONNECT,   /* a worker of the primary says HELLO */
	AGAIN,	   /* romulusd protects it again */
	REBOOT,	   /* all is gone but what is durable; romulusd is not up yet */
	ROMULUSD,  /* comes up, and adopts */
	KILLED,	   /* the worker; romulusd starts another one */
	XL_CREATE, /* the operator */
	UNPROTECT,
	HAPPENS
};

static const char *const names[] = {"connect", "again",	    "reboot",	"romulusd",
				    "killed",  "xl create", "unprotect"};

/* What was done to get here, for the one who looks for the reason. */
static char trace[4096];
static size_t n_states;

#define STATES 65536
static uint32_t seen[STATES];

static enum backup_welcome welcome(const struct side *x, const struct side *y)
{
	const struct backup_found f = {
		.role_active = y->role == VM_ACTIVE,
		.role_primary = y->role == VM_PRIMARY,
		.vm_runs = y->vm,
		.old_worker = y->standby,
		.taken = y->taken,
		.primary_worker = y->worker,
		.newer = y->term > x->term,
		.older = y->term < x->term,
	};

	return backup_welcome(&f);
}

static void connect(struct side *x, struct side *y)
{
	if (!x->worker || !y->listens)
		return;
	/* "a domain called … runs here already, and Romulus did not start it" */
	if (y->vm && (y->role == VM_NONE || y->role == VM_BACKUP))
		return;
	switch (welcome(x, y)) {
	case WELCOME_ACTIVATED:
		/* primary.c: a word from the past. */
		if (y->term <= x->term)
			return;
		/* P4 */
		if (!y->vm || !(y->ran || y->anew))
			fail_msg("the only copy is destroyed:%s", trace);
		x->vm = x->anew = x->worker = x->held = 0;
		x->role = VM_NONE;
		x->taken = 0;
		x->term = y->term;
		break;
	case WELCOME_BUILD:
	case WELCOME_SUPERSEDE:
		/* P3, P4: the older copy goes on, and the world sees it. */
		if (y->ran && x->term < y->term)
			fail_msg("an older copy is let out:%s", trace);
		if (y->vm)
			fail_msg("a standby is built where the VM runs:%s", trace);
		y->role = VM_BACKUP;
		y->taken = y->alone = 0;
		y->standby = 1;
		y->term = x->term > y->term ? x->term : y->term;
		x->held = x->taken = 0;
		break;
	case WELCOME_OPERATOR:
	case WELCOME_DEPOSED:
	case WELCOME_PRIMARY:
	case WELCOME_NAME_TAKEN:
		break;
	}
}

/* A worker of the primary begins, and finds its guest or does not. */
static void start(struct side *x, bool fresh)
{
	x->worker = x->vm;
	if (!x->vm && fresh)
		x->role = x->taken ? VM_ACTIVE : VM_NONE;
}

static void happen(struct world *w, enum happens what, int i)
{
	struct side *x = &w->s[i];

	switch (what) {
	case CONNECT:
		connect(x, &w->s[!i]);
		break;
	case AGAIN:
		if (!x->listens || x->role != VM_ACTIVE || x->alone)
			break;
		x->role = VM_PRIMARY;
		start(x, true);
		break;
	case REBOOT:
		x->listens = x->worker = x->held = x->vm = x->anew = x->standby = 0;
		break;
	case ROMULUSD:
	case KILLED:
		/* The lanes of a guest outlive its worker, and so does what is held. */
		x->listens = 1;
		if (x->role == VM_PRIMARY)
			start(x, false);
		break;
	case XL_CREATE:
		if (!x->vm && x->listens && !x->standby)
			x->vm = x->anew = 1;
		break;
	case UNPROTECT:
		if (!x->worker || x->held)
			break;
		x->worker = 0;
		x->role = x->taken ? VM_ACTIVE : VM_NONE;
		x->alone = x->taken;
		break;
	case HAPPENS:
		break;
	}
}

/* Nobody interferes any more: the newer copy, if it runs, is protected to the other host by itself. */
static void check_end(const struct world *from)
{
	struct world w = *from;
	const struct side *a = &w.s[0], *b = &w.s[1];

	for (int k = 0; k < 4; k++) {
		for (int i = 0; i < 2; i++)
			happen(&w, ROMULUSD, i);
		for (int i = 0; i < 2; i++)
			happen(&w, AGAIN, i);
		for (int i = 0; i < 2; i++)
			happen(&w, CONNECT, i);
	}
	/* One life: of two that run, the older one is gone, unless the operator made it where nobody looks. */
	if (a->vm && b->vm && !a->anew && !b->anew)
		fail_msg("both run:%s", trace);
	if (!b->vm || b->anew || b->alone || b->role == VM_NONE)
		return;
	/* Without a worker and a role a domain is nobody's, and only in the way. */
	if (a->vm && a->anew && a->role != VM_PRIMARY)
		return;
	if (b->role != VM_PRIMARY || !b->worker || a->role != VM_BACKUP || !a->standby || a->vm)
		fail_msg("not protected again:%s", trace);
}

static uint32_t packed(const struct side *s)
{
	return s->role | s->term << 2 | s->taken << 4 | s->alone << 5 | s->listens << 6 |
	       s->worker << 7 | s->held << 8 | s->vm << 9 | s->anew << 10 | s->standby << 11 |
	       s->ran << 12;
}

static bool is_new(const struct world *w)
{
	uint32_t key = packed(&w->s[0]) | packed(&w->s[1]) << 16;

	for (size_t i = 0; i < n_states; i++) {
		if (seen[i] == key)
			return false;
	}
	assert_true(n_states < STATES);
	seen[n_states++] = key;
	return true;
}

static void explore(const struct world *w, int depth)
{
	size_t len = strlen(trace);

	if (!is_new(w))
		return;
	check_end(w);
	for (int what = 0; what < HAPPENS && depth; what++) {
		for (int i = 0; i < 2; i++) {
			struct world next = *w;

			snprintf(trace + len, sizeof(trace) - len, " %s@%c", names[what], "AB"[i]);
			happen(&next, (enum happens)what, i);
			explore(&next, depth - 1);
			trace[len] = '\0';
		}
	}
}

static void from(struct side a, struct side b)
{
	const struct world w = {{a, b}};

	n_states = 0;
	trace[0] = '\0';
	explore(&w, 200);
	print_message("%zu states\n", n_states);
	assert_true(n_states > 50);
}

static const struct side survivor = {
	.role = VM_ACTIVE, .term = 2, .taken = 1, .listens = 1, .vm = 1, .ran = 1};

/* A was cut off: it lives, and holds its output. */
static void former_host_lives(void **state)
{
	from((struct side){.role = VM_PRIMARY,
			   .term = 1,
			   .listens = 1,
			   .worker = 1,
			   .held = 1,
			   .vm = 1},
	     survivor);
}

static void former_host_died(void **state)
{
	from((struct side){.role = VM_PRIMARY, .term = 1}, survivor);
}

/* Deposed at once, as after a switchover. */
static void former_host_was_told(void **state)
{
	from((struct side){.role = VM_NONE, .term = 2, .listens = 1}, survivor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(former_host_lives),
		cmocka_unit_test(former_host_died),
		cmocka_unit_test(former_host_was_told),
	};

	return RUN_TESTS("two_owners", tests);
}
