/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a session at the backup: from DISKS on, what passes between the link and the servers here. Data thread;
 * decides nothing.
 *
 * A server that is slow is waited for: backup_ports_frame() says -EAGAIN, and whoever reads the link reads nothing more until the
 * frame was taken. Heartbeats have a thread of their own, so the peer hears that we live, and its own times end a
 * session that does not go on.
 */
#ifndef REPLICATOR_BACKUP_PORTS_H
#define REPLICATOR_BACKUP_PORTS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "replicator/disk_figures.h"
#include "replicator/disk_link.h"

struct backup_ports;
struct conf;
struct conn;
struct err;

enum backup_ports_news {
	BACKUP_PORTS_HELD,    /* disk, epoch, waits */
	BACKUP_PORTS_DURABLE, /* disk, epoch */
	BACKUP_PORTS_FAILED,  /* disk, text */
	BACKUP_PORTS_ACTIVE,  /* every one; epoch */
	BACKUP_PORTS_LEFT,    /* every one, or it cannot be asked any more */
};

struct backup_ports_news_item {
	enum backup_ports_news type;
	unsigned int disk;
	uint64_t epoch;
	bool waits; /* the acknowledgement does, for the epoch to be durable */
	const char *text;
};

struct backup_ports_conf {
	const struct conf *conf; /* borrowed */
	const char *vm;
	int wake_fd; /* borrowed */
	uint64_t open_timeout_ns;
	uint64_t send_timeout_ns;
	void (*tell)(void *arg, const struct backup_ports_news_item *news);
	void *arg;
};

/*
 * DISKS came: connects to the servers, which may take the open timeout, makes a plan for each, begins, and sends DISKS_OK. The
 * caller owns *out. 0; -EOPNOTSUPP: refuse, with the text; -ECANCELED; else the link is broken.
 */
MUST_CHECK int backup_ports_new(struct backup_ports **out, const struct backup_ports_conf *conf,
				const struct frame *f, struct conn *c, struct err *e);
/* NULL is a no-op. */
void backup_ports_free(struct backup_ports *d);

unsigned int backup_ports_count(const struct backup_ports *d);
uint8_t backup_ports_ack_mode(const struct backup_ports *d);

/*
 * A frame for a disk. 0; -EAGAIN: its server has no room, keep the frame and come again; -EBADMSG: the peer
 * broke the protocol. Also 0 for a disk that wants nothing any more.
 */
MUST_CHECK int backup_ports_frame(struct backup_ports *d, const struct frame *f, struct err *e);

/* Passes on what the servers say; c NULL: to nobody. 0, or the link's error. */
MUST_CHECK int backup_ports_pump(struct backup_ports *d, struct conn *c, struct err *e);
bool backup_ports_more(const struct backup_ports *d);
/* A server that was asked to leave, or that takes nothing: when that is too late. CLOCK_NEVER: nothing is due. */
uint64_t backup_ports_deadline(const struct backup_ports *d);
/* Room for WIRE_MAX_DISKS. */
unsigned int backup_ports_poll(const struct backup_ports *d, struct pollfd *p);

void backup_ports_commit(struct backup_ports *d, uint64_t epoch);
/* Told by ACTIVE, or FAILED. */
void backup_ports_activate(struct backup_ports *d, uint64_t epoch);
/* Told by LEFT. */
void backup_ports_leave(struct backup_ports *d);

/* False: nothing has changed since the last call. */
bool backup_ports_figures(struct backup_ports *d, unsigned int disk, struct disk_figures *f);

#endif
