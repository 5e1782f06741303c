/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's data thread: owns the guest handle, the connection and the encoder. It obeys commands of
 * the control thread, one at a time and in order, and reports with messages. It decides nothing.
 *
 * The only thing that interrupts a command is the urgent eventfd: the control thread raises it to make
 * the thread drop its session at once (PACT_DISCONNECT, end of the worker).
 */
#ifndef REPLICATOR_PRIMARY_DATA_H
#define REPLICATOR_PRIMARY_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/ckpt_device.h"
#include "lib/compiler.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/hypervisor.h"
#include "lib/timing.h"
#include "replicator/checkpoint.h"
#include "replicator/disk_figures.h"
#include "replicator/disk_link.h"
#include "replicator/heartbeat.h"
#include "replicator/page_codec.h"
#include "replicator/primary.h"

struct tls_ctx;

enum pd_cmd_type {
	PD_CONNECT,    /* term, adopt; answer: LINK_UP, LINK_DOWN, PEER_ACTIVATED or REFUSED */
	PD_DISCONNECT, /* answer: LINK_DOWN if there was a connection */
	PD_START_COPY, /* answer: COPY_PROGRESS…, then COPY_DONE or COPY_FAILED */
	PD_CHECKPOINT, /* epoch; answer: TAKEN then SENT, or ABORTED, or GUEST */
	PD_BYE,	       /* leave; answer: BYE_OK or LINK_DOWN */
	PD_THROTTLE,   /* percent */
	/* Of a VM with disks. */
	PD_DISKS_SYNC, /* the head of a first copy, and the disks; answer: DISKS_SYNCED or DISK_DROPPED */
	PD_DISKS_ACKED, /* epoch */
	PD_DISKS_LEAVE,
	PD_DISKS_ALONE,	  /* answer: DISKS_ALONE_DONE */
	PD_DISKS_DEPOSED, /* answer: DISKS_DEPOSED_DONE */
	PD_DISKS_VERIFY,  /* pass; what comes of it: DISK */
	PD_HANDOVER,	  /* epoch, planned */
	PD_RESUME, /* after a CHECKPOINT that was `last`; for any other guest of no meaning */
	PD_DRILL,  /* drill, text: taken; a question for the backup; answer: DRILL_SAYS */
	PD_STOP,   /* the thread ends */
};

struct pd_cmd {
	enum pd_cmd_type type;
	uint64_t epoch;
	uint64_t term;
	uint64_t pass;
	uint32_t percent;
	enum leave_reason leave;
	bool adopt;
	bool last; /* CHECKPOINT: TAKEN leaves the guest suspended until RESUME, or the thread's end */
	bool planned;
	uint32_t drill;
	uint32_t text_size;
	char *text;
};

enum pd_msg_type {
	PD_LINK_UP,
	PD_LINK_DOWN,	   /* text: why */
	PD_PEER_ACTIVATED, /* term */
	PD_REFUSED,	   /* text; like LINK_DOWN, the peer said no for now */
	PD_COPY_PROGRESS,  /* pages of `epoch` field total; see struct pd_msg */
	PD_COPY_DONE,
	PD_COPY_FAILED, /* leave, text */
	PD_TAKEN,	/* epoch, pages, phases */
	PD_ABORTED,	/* epoch, text */
	PD_SENT,	/* epoch, counters */
	PD_ACK,		/* epoch, term */
	PD_BYE_OK,
	PD_GUEST, /* leave, text: the guest ended, changed or was suspended by somebody else */
	PD_STOPPED,
	PD_DISKS_SYNCED,
	PD_DISK_DROPPED,       /* text */
	PD_DISK_ERROR,	       /* text */
	PD_DISK_PRESSURE,      /* a log is half full */
	PD_DISKS_ALONE_DONE,   /* again; text: what is not durable, or empty */
	PD_DISKS_DEPOSED_DONE, /* the same */
	PD_DISK,	       /* disk: figures of one */
	PD_DRILL_SAYS,	       /* drill; json, json_size: now the receiver's, or NULL and text */
};

#define PD_TEXT_MAX ERR_TEXT_SIZE

/* One message; fixed size, copied through the queue. Unused fields are 0. */
struct pd_msg {
	enum pd_msg_type type;
	enum leave_reason leave;
	uint64_t at_ns; /* when it happened; CLOCK_BOOTTIME */
	uint64_t epoch;
	uint64_t term;
	uint64_t done;	/* COPY_PROGRESS: pages sent in this round */
	uint64_t total; /* COPY_PROGRESS: pages of this round */
	uint32_t round;
	uint32_t pages;
	struct checkpoint_phases phases;
	const char *suspend_path;    /* TAKEN: static text, see suspend_result */
	bool self_aware;	     /* TAKEN: see guest_state */
	struct guest_counters guest; /* TAKEN */
	uint64_t sent_bytes;	     /* SENT, COPY_PROGRESS: all that went over the link */
	struct page_counters wire;   /* SENT, COPY_PROGRESS: since the session began */
	/* LINK_UP: what the heartbeats of this session need. Wipe after use. */
	struct addr hb_peer;
	struct addr hb_local;
	uint8_t hb_secret[HEARTBEAT_SECRET_SIZE];
	bool ktls;
	bool again;	    /* DISKS_…_DONE: it was cut short, ask once more */
	unsigned int index; /* DISK */
	struct disk_figures disk;
	uint32_t drill;
	char *json;
	size_t json_size;
	char text[PD_TEXT_MAX];
};

struct pd_conf {
	const struct conf *conf;
	const struct conf_peer *peer;
	const char *vm;
	struct timing timing;
	enum peer_loss_policy policy;
	bool alone; /* who takes the VM over does not protect it again by itself */
	uint32_t arena_pages;
	uint32_t cache_slots;
	struct tls_ctx *tls; /* borrowed */
	/* Called: postsuspend, preresume, abort; borrowed. */
	struct ckpt_device *device[CHECKPOINT_MAX_DEVICES];
	unsigned int n_devices;
	/* NULL: the VM has none. side, word_fd, n, name, ack_mode are set; the rest is filled in. Copied. */
	const struct disk_link_conf *disks;
};

struct primary_data;

/*
 * Starts the thread. guest is borrowed: nobody else may use it until primary_data_free().
 * 0 or negative errno.
 */
MUST_CHECK int primary_data_new(struct primary_data **out, const struct pd_conf *conf,
				struct guest *guest, struct err *e);

/* Queue a command. The queue holds more than the core can have outstanding: full = our mistake. */
void primary_data_command(struct primary_data *d, const struct pd_cmd *cmd);
/* Commands pile up: nothing more that can be done without. */
bool primary_data_busy(const struct primary_data *d);

/* Raises the urgent descriptor: what the thread does now ends with -ECANCELED; PD_DISCONNECT clears it. */
void primary_data_cancel(struct primary_data *d);

/* Poll for input; then primary_data_next() until it returns false. Control thread. */
int primary_data_fd(const struct primary_data *d);
bool primary_data_next(struct primary_data *d, struct pd_msg *msg);

/* Stops the thread (bounded by one guest suspend timeout), frees. NULL is a no-op. */
void primary_data_free(struct primary_data *d);

#endif
