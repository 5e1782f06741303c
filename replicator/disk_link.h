/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's end of the ports of all disks of one VM (lib/disk_port.h): connections, ROLE and STATE, messages both ways.
 * What they mean is for primary_ports.c and backup_ports.c. Belongs to the data thread: the link to the peer is its,
 * and what is relayed must keep its order with the epochs. It is polled between checkpoints; of the pause it
 * takes no part.
 *
 * Nothing waits but disk_link_open() and disk_link_send_wait(), which say so. A port that fails is closed, and disk_link_recv() tells
 * it once.
 */
#ifndef REPLICATOR_DISK_LINK_H
#define REPLICATOR_DISK_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/disk_port.h"
#include "lib/names.h"

struct disk_link;
struct err;

/* What a disk is: port_state.state, docs/disk.md. */
enum disk_state {
	DISK_STATE_EMPTY = 1,
	DISK_STATE_SYNCING,
	DISK_STATE_CONSISTENT,
	DISK_STATE_ACTIVE,
	DISK_STATE_OUTDATED,
	DISK_STATE_FAILED,
};

/* "consistent"; "unknown" for 0. */
const char *disk_state_name(uint8_t state);

struct disk_link_conf {
	enum frame_side side; /* what the worker is */
	const char *run_dir;  /* ports are disk/NAME.port in it */
	const char *vm;
	uint8_t ack_mode; /* enum wire_ack_mode */
	int word_fd;	  /* the primary's epoch word, borrowed; else -1 */
	int wake_fd;	  /* readable: stop waiting; borrowed */
	unsigned int n;
	char name[WIRE_MAX_DISKS][NAME_SIZE]; /* in the order of DISKS */
};

/* conf is copied, but for what its pointers point to. The caller owns *out. */
MUST_CHECK int disk_link_new(struct disk_link **out, const struct disk_link_conf *conf,
			     struct err *e);
/* Closes all ports. NULL is a no-op. */
void disk_link_free(struct disk_link *l);

/*
 * Connects to every disk anew, says ROLE and waits for every STATE; a server that is not there is waited for, too. 0; else the text
 * names the disk: -ETIMEDOUT, -ECANCELED (the wake descriptor), or what its port said.
 */
MUST_CHECK int disk_link_open(struct disk_link *l, uint64_t deadline_ns, struct err *e);
/*
 * A new connection to the server of one whose port has ended, for what must be said to whoever serves the disk now. Does not
 * wait: 0, and disk_link_is_up() says when STATE has come, if ever; else there is nobody yet, and the text says why. Of one
 * that stands: 0.
 */
MUST_CHECK int disk_link_call(struct disk_link *l, unsigned int disk, struct err *e);
/* All of them; to the servers the end of the worker. */
void disk_link_close(struct disk_link *l);
/* One, for what it did: disk_link_recv() tells with this text. */
PRINTF(3, 4) void disk_link_reject(struct disk_link *l, unsigned int disk, const char *fmt, ...);

unsigned int disk_link_disks(const struct disk_link *l);
const char *disk_link_name(const struct disk_link *l, unsigned int disk);
/* STATE has come on this connection, which stands. */
bool disk_link_is_up(const struct disk_link *l, unsigned int disk);
/* The newest STATE, all 0 before the first. */
const struct port_state *disk_link_state(const struct disk_link *l, unsigned int disk);
/* How many came so far, on all connections: what is asked for is answered by one that comes after. */
uint64_t disk_link_states(const struct disk_link *l, unsigned int disk);
/* Percent, of the newest FILL. */
uint32_t disk_link_fill(const struct disk_link *l, unsigned int disk);
/* Of the pass that disk_link_verify() asked for last; a port that ends ends it. pass 0: none. */
const struct port_compared *disk_link_compared(const struct disk_link *l, unsigned int disk);
/* A STATE, a FILL, a COMPARED or an end came since the last call. */
bool disk_link_changed(struct disk_link *l, unsigned int disk);

/*
 * The next message of a disk's server but STATE, FILL and COMPARED, which are kept here. *f lives until the next call for the
 * disk. -EAGAIN: none; else the port has just ended, e says why.
 */
MUST_CHECK int disk_link_recv(struct disk_link *l, unsigned int disk, struct frame *f,
			      struct err *e);
/* What disk_link_recv() gave last is given by it again: its turn has not come. Nothing behind it is read. */
void disk_link_keep(struct disk_link *l, unsigned int disk);
/* Something may be there to be received that poll() does not know of. */
bool disk_link_pending(const struct disk_link *l);

/* -EAGAIN: no room now. A port that has ended takes everything: its end is told by disk_link_recv(). */
MUST_CHECK int disk_link_send(struct disk_link *l, unsigned int disk, const struct frame *f);
/* The same, but waits for room; a server that takes nothing until the deadline is rejected. */
void disk_link_send_wait(struct disk_link *l, unsigned int disk, const struct frame *f,
			 uint64_t deadline_ns);
/* A message without a payload, or ACTIVATE with its number: leaves as soon as there is room. */
void disk_link_say(struct disk_link *l, unsigned int disk, unsigned int type, uint64_t epoch);
void disk_link_say_number(struct disk_link *l, unsigned int disk, unsigned int type, uint64_t epoch,
			  uint64_t number);
void disk_link_say_begin(struct disk_link *l, unsigned int disk, const struct port_begin *b);
/* The peer's copy is to be compared; begun false: it cannot be, and is not asked for. */
void disk_link_verify(struct disk_link *l, unsigned int disk, uint64_t pass, bool begun);
/* Sends what waits. */
void disk_link_flush(struct disk_link *l);

/* Fills p, which has room for all disks, and returns how many places that were. Kept messages are not waited for. */
unsigned int disk_link_poll(const struct disk_link *l, struct pollfd *p);

#endif
