/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's data thread: owns the connection, the decoder and the way to the standby. It receives, verifies
 * and reports; it commits, acknowledges and applies only when the control thread says so.
 *
 * After each whole epoch it reads nothing more until that epoch was applied or dropped: there is one arena. Nor does it while
 * the server of a disk has no room for what came.
 */
#ifndef REPLICATOR_BACKUP_DATA_H
#define REPLICATOR_BACKUP_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/compiler.h"
#include "lib/err.h"
#include "lib/names.h"
#include "lib/wire_v1.h"
#include "replicator/disk_figures.h"
#include "replicator/heartbeat.h"
#include "replicator/page_codec.h"

struct conf;
struct drill_share;
struct tls_ctx;

enum bd_cmd_type {
	BD_HELLO_OK, /* hello_ok, arena_pages, cache_slots, mem_pages; the session begins */
	BD_REFUSE,   /* code, term, text; then LINK_DOWN */
	BD_STREAM,   /* fd: the standby's stream, taken */
	BD_ACK,	     /* epoch, term */
	BD_APPLY,    /* epoch; answer: APPLIED or APPLY_FAILED */
	BD_DROP,     /* forget the incomplete epoch */
	BD_FINISH, /* close the stream: the standby completes itself; answer: FINISHED or APPLY_FAILED */
	BD_TAKEOVER,   /* term; last word */
	BD_BYE_OK,     /* term; last word */
	BD_DISCONNECT, /* answer: LINK_DOWN */
	BD_STOP,
	BD_FACTS, /* json, json_size, taken: mem_free(); last word, then LINK_DOWN */
	/* Of a VM with disks. */
	BD_DISKS_COMMIT,   /* epoch */
	BD_DISKS_ACTIVATE, /* epoch; answer: DISKS_ACTIVE or DISK_FAILED */
	BD_DISKS_LEAVE,	   /* answer: DISKS_LEFT */
	/* Of a drill (drill_feed.h). */
	BD_DRILL,      /* share, taken */
	BD_DRILL_END,  /* what is said in it ends */
	BD_DRILL_SAYS, /* drill, json: taken; the answer to the peer's question */
};

#define BD_TEXT_MAX ERR_TEXT_SIZE

struct bd_cmd {
	enum bd_cmd_type type;
	uint64_t epoch;
	uint64_t term;
	uint64_t mem_pages;
	uint32_t arena_pages;
	uint32_t cache_slots;
	uint16_t code;
	int fd;
	struct drill_share *share;
	uint32_t drill;
	struct wire_hello_ok hello_ok;
	char *json;
	size_t json_size;
	char text[BD_TEXT_MAX];
};

enum bd_msg_type {
	BD_HELLO, /* hello, peer_name, addresses, secret; nothing else is read until an answer */
	BD_ASK_FACTS,	   /* hello.vm, peer_name; nothing else is read until an answer */
	BD_CONFIG,	   /* json, json_size: now the receiver's, mem_free() */
	BD_DRILL_ASKED,	   /* drill, json, json_size: the same; the peer asks about drills */
	BD_PROGRESS,	   /* first copy: done, total, round */
	BD_EPOCH_COMPLETE, /* epoch */
	BD_APPLIED,	   /* epoch */
	BD_APPLY_FAILED,   /* text: the standby is lost */
	BD_FINISHED,
	BD_BYE,	      /* reason */
	BD_LINK_DOWN, /* text */
	BD_STOPPED,
	BD_HANDOVER,	 /* epoch, reason, text */
	BD_DISKS,	 /* n_disks, ack_mode: DISKS_OK was said */
	BD_DISK_HELD,	 /* disk, epoch, waits */
	BD_DISK_DURABLE, /* disk, epoch */
	BD_DISK_FAILED,	 /* disk, text */
	BD_DISKS_ACTIVE, /* epoch */
	BD_DISKS_LEFT,
	BD_DISK, /* disk: figures of one */
};

struct bd_msg {
	enum bd_msg_type type;
	uint64_t at_ns;
	uint64_t epoch;
	uint64_t done;
	uint64_t total;
	uint32_t round;
	uint16_t reason;
	char *json;
	size_t json_size;
	uint32_t drill; /* DRILL_ASKED: number of the question */
	uint32_t pages; /* EPOCH_COMPLETE */
	uint64_t received_bytes;
	struct page_counters wire;
	struct wire_hello hello;
	char peer_name[NAME_SIZE];
	struct addr local; /* of the TCP connection */
	uint8_t disk;
	uint8_t n_disks;
	uint8_t ack_mode; /* enum wire_ack_mode */
	bool waits;
	struct disk_figures figures; /* DISK */
	uint8_t hb_secret[HEARTBEAT_SECRET_SIZE];
	char text[BD_TEXT_MAX];
};

struct bd_conf {
	struct tls_ctx *tls;	 /* borrowed */
	const struct conf *conf; /* which disks are here, borrowed; NULL: none */
	int fd;			 /* the accepted connection, taken */
	uint64_t handshake_timeout_ns;
	uint64_t send_timeout_ns;
};

struct backup_data;

/* Starts the thread, which shakes hands and waits for HELLO. 0 or negative errno; fd is taken in any case. */
MUST_CHECK int backup_data_new(struct backup_data **out, const struct bd_conf *conf, struct err *e);
void backup_data_command(struct backup_data *d, const struct bd_cmd *cmd);
/* Commands pile up: nothing more that can be done without. */
bool backup_data_busy(const struct backup_data *d);
int backup_data_fd(const struct backup_data *d);
bool backup_data_next(struct backup_data *d, struct bd_msg *msg);
/*
 * Stops the thread and frees. Closes the standby's stream: it must have been finished or abandoned. NULL is a
 * no-op.
 */
void backup_data_free(struct backup_data *d);

#endif
