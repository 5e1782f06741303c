/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block server: requests come by NBD, from the kernel over a socketpair and from clients of a unix socket; they
 * are shown to the sink when they write, carried out on the disk, and answered. One thread; the owner's loop calls
 * block_server_run() whenever block_server_fd() is readable, and all callbacks come from there.
 *
 * A request's way: arrives (a place and a buffer of its connection are taken, or nothing more is read from it) -
 * parked? - waits for writes that it overlaps - admitted by the sink - on the disk - held back by the sink? - answered.
 *
 * A connection that ends, whatever the reason: what was not admitted is forgotten, what was admitted is carried out,
 * nothing is answered. A client that wants to know sends it again, and gets it behind what is still under way.
 */
#ifndef DISK_BLOCK_SERVER_H
#define DISK_BLOCK_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/nbd_wire.h"
#include "disk/range_lock.h"
#include "lib/compiler.h"
#include "lib/stats.h"

struct blk_dev;
struct block_server;
struct err;
struct write_sink;

/* Requests of one connection at a time; kernel nbd never has more than 128 under way. */
#define BLOCK_KERNEL_PLACES 128
#define BLOCK_CLIENT_PLACES 64
#define BLOCK_MAX_CLIENTS 16

struct block_server_conf {
	struct blk_dev *blk; /* borrowed; room for BLOCK_DEPTH requests */
	const char *name;    /* of the export; name_ok() */
	bool for_kernel;     /* a place for kernel nbd, its buffers allocated now */
	/*
	 * The kernel's connection has ended and nothing of it is under way any more: block_server_add_kernel() may be
	 * called, also from here. asked: it said so (NBD_CMD_DISC), the device is disconnected.
	 */
	void (*kernel_gone)(void *arg, bool asked);
	void *arg;
};
/* What blk_open() should be given. */
#define BLOCK_DEPTH 256

/* The caller owns *out. */
MUST_CHECK int block_server_new(const struct block_server_conf *c, struct block_server **out,
				struct err *e);
/* Ends all connections and waits for what is on the disk, of which the sink still hears. NULL is a no-op. */
void block_server_free(struct block_server *s);

int block_server_fd(const struct block_server *s);
void block_server_run(struct block_server *s);

const struct nbdwire_export *block_server_export(const struct block_server *s);

/*
 * Serves NBD with its handshake at a unix socket, mode 0600, to root and our own user. A file that is there is
 * replaced: who has the disk has its socket.
 */
MUST_CHECK int block_server_listen(struct block_server *s, const char *path, struct err *e);

/* Our end of the kernel's socketpair; it becomes the server's in any case. -EBUSY: the last one is not gone yet. */
MUST_CHECK int block_server_add_kernel_take(struct block_server *s, int fd);

/* Clients of the unix socket that are connected. */
unsigned int block_server_clients(const struct block_server *s);

/* NULL: none, all is admitted and answered. Only while no write is between admit() and done(). */
void block_server_set_sink(struct block_server *s, struct write_sink *sink);
/* The sink would admit again. Any time in the server's thread, also within the sink's calls. */
void block_server_wake(struct block_server *s);
/* Answers what was held back with what the disk said. The same. */
void block_server_answer_held(struct block_server *s);

/* While parked, requests are read but wait; a new server is not parked. */
void block_server_park(struct block_server *s, bool parked);
/* What is parked, now and later, is answered with an error instead: nobody shall wait for us. Until not parked. */
void block_server_refuse_parked(struct block_server *s);

/*
 * Takes no more requests and no more clients: what is on the disk is answered, the rest is not, and the connections
 * are closed. block_server_idle() tells when that is over.
 */
void block_server_stop(struct block_server *s);
bool block_server_idle(const struct block_server *s);

/*
 * A range that no write of a guest is in, until it is let go: those that come wait. Reads go on. The server must be
 * able to go on for it to be granted.
 */
struct block_hold {
	struct range range;		       /* off and len are the caller's */
	void (*granted)(struct block_hold *h); /* from within the server; NULL is no way to wait */
};
/* True: granted now; false: granted() will be called. */
MUST_CHECK bool block_server_hold(struct block_server *s, struct block_hold *h);
void block_server_let_go(struct block_server *s, struct block_hold *h);

struct block_stats {
	uint64_t reads, writes, zeroes, discards, flushes; /* answered or about to be */
	uint64_t read_bytes, write_bytes;
	uint64_t errors;  /* of the disk */
	uint64_t refused; /* requests that made no sense */
	uint64_t dropped; /* connections ended for what they sent */
	unsigned int connections;
	unsigned int in_flight; /* from arrival to answer; in it: */
	unsigned int parked, blocked, waiting, on_disk, held;
	struct hist read_ns, write_ns, flush_ns; /* from arrival to answer */
};

/* Valid until the next call into the server. */
const struct block_stats *block_server_stats(struct block_server *s);

#endif
