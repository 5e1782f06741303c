/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a host must know about a VM after a crash: <state_dir>/vm/<vm>.state, through lib/persist (whole old
 * or whole new content, checksummed). romulusd writes it at `protect` and `forget`, the VM's worker later.
 *
 * Contract of the workers: before a worker ends with WORKER_DONE or WORKER_DEPOSED it has saved a role
 * that needs no worker here (VM_NONE or VM_ACTIVE); romulusd reads it when it cannot see an exit code.
 */
#ifndef REPLICATOR_VM_STATE_H
#define REPLICATOR_VM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"
#include "replicator/epoch.h"

struct conf;
struct err;
struct timing;
struct timing_conf;

#define VM_UUID_SIZE 16

/* Values are on disk. */
enum vm_role {
	VM_NONE = 0,	/* nothing to do here; the term is remembered */
	VM_PRIMARY = 1, /* protected from here */
	VM_BACKUP = 2,	/* a standby is, or was, here */
	VM_ACTIVE = 3,	/* activated here: the VM runs on this host, alone */
};

/* Who had the VM before it was activated here, and whether it knows. Values are on disk. */
enum vm_taken {
	TAKEN_NOT = 0,	      /* it was not, or the other host has stood by for us since */
	TAKEN_FROM_PEER = 1,  /* `peer` had it, and may have a copy of the older term */
	TAKEN_FROM_OTHER = 2, /* so had another host, from before the VM was protected to `peer` */
};

struct vm_state {
	char vm[NAME_SIZE];
	enum vm_role role;
	uint64_t term;		      /* newest term that this host knows, 0 if none */
	char peer[NAME_SIZE];	      /* the other host; empty for VM_NONE without one */
	enum peer_loss_policy policy; /* 0 only for VM_NONE */
	uint8_t uuid[VM_UUID_SIZE];   /* of the VM whose standby is, or was, here; 0: not known */
	bool handed;		      /* VM_PRIMARY: a HANDOVER may be with the peer (primary.h) */
	bool joined;		      /* the arbiter knows the pair, and the VM by `uuid` */
	bool alone;		      /* after an activation it is not protected again by itself */
	enum vm_taken taken;	      /* VM_ACTIVE, and a VM_PRIMARY that followed it */
	uint64_t asked;		      /* newest term that the arbiter was asked for, 0 if none */
	/* 0: as in romulus.conf. */
	uint64_t epoch_period_ns;
	uint64_t heartbeat_period_ns;
	uint64_t failure_timeout_ns;
};

#define VM_STATE_BYTES 256 /* the encoded form, fixed */

/*
 * Is what is here, a standby or the VM itself, another VM than the one that `peer` calls by this name? Names are
 * unique on a host, not among hosts.
 */
bool vm_state_is_other(const struct vm_state *s, const char *peer,
		       const uint8_t uuid[VM_UUID_SIZE]);

/*
 * The role of a VM whose protection from here has ended. P4: as long as another host may have an older copy of what was
 * activated here, that it was must not be forgotten: nobody but the operator may let that copy run.
 */
enum vm_role vm_state_role_after(const struct vm_state *s);

/* A VM of which nothing is known: role none, term 0. vm must be name_ok(). */
void vm_state_init(struct vm_state *s, const char *vm);

/*
 * 0; -ENOENT (and *s as from vm_state_init()) when there is none; -EBADMSG when the file is torn or
 * foreign, with a text that says which file and what to do; other negative errno.
 */
MUST_CHECK int vm_state_load(const char *state_dir, const char *vm, struct vm_state *s,
			     struct err *e);
/* Durable when it returns 0. Creates the folder when needed. */
MUST_CHECK int vm_state_save(const char *state_dir, const struct vm_state *s, struct err *e);
/*
 * Load (a missing one is fine), raise the term to at least `term`, set the role, forget `handed`, save. VM_ACTIVE: it was
 * taken from the peer.
 */
MUST_CHECK int vm_state_set_role(const char *state_dir, const char *vm, enum vm_role role,
				 uint64_t term, struct err *e);
/* The same for `handed`; the role is left as it is. */
MUST_CHECK int vm_state_set_handed(const char *state_dir, const char *vm, bool handed,
				   struct err *e);
/* The same for the terms, neither of which is lowered. */
MUST_CHECK int vm_state_set_terms(const char *state_dir, const char *vm, uint64_t term,
				  uint64_t asked, struct err *e);
/* The arbiter has confirmed this term of the VM that has the uuid there. */
MUST_CHECK int vm_state_set_joined(const char *state_dir, const char *vm, uint64_t term,
				   struct err *e);
/* The same for `alone` and `taken`. */
MUST_CHECK int vm_state_set_alone(const char *state_dir, const char *vm, bool alone, struct err *e);
MUST_CHECK int vm_state_set_taken(const char *state_dir, const char *vm, enum vm_taken taken,
				  struct err *e);
/* A missing file is fine. */
MUST_CHECK int vm_state_remove(const char *state_dir, const char *vm, struct err *e);

/*
 * Calls fn for each state file in no order; broken ones are passed with rc < 0 and only s->vm valid.
 * Stops when fn returns non-zero and returns that.
 */
typedef int (*vm_state_fn)(void *ctx, const struct vm_state *s, int rc, const struct err *e);
MUST_CHECK int vm_state_each(const char *state_dir, vm_state_fn fn, void *ctx, struct err *e);

/* buf of VM_STATE_BYTES. */
void vm_state_encode(const struct vm_state *s, void *buf);
/* Any bytes; 0 or -EBADMSG. */
MUST_CHECK int vm_state_decode(struct vm_state *s, const void *buf, size_t len, struct err *e);

/* The VM's times where it has its own, else those of romulus.conf; checked. 0 or -EINVAL. */
MUST_CHECK int vm_state_timing(const struct vm_state *s, const struct conf *c, struct timing *t,
			       struct err *e);

const char *vm_role_name(enum vm_role r);

#endif
