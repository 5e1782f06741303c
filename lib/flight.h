/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flight recorder: where the time of the newest FLIGHT_SLOTS epochs went, in a mapped file below the run
 * directory. Noting something is a store into memory: no system call, no lock, no wait. The file survives the death
 * of its worker, whatever killed it; an epoch that was being noted then is the most that is torn.
 *
 * Written by a worker's control thread, read by anybody, also while it is written. When protection is lost it is kept in
 * the state directory (flight_keep(), on the event log's thread). docs/events.md has the file's layout.
 */
#ifndef LIB_FLIGHT_H
#define LIB_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;
struct flight;

#define FLIGHT_SLOTS 512
#define FLIGHT_HEADER_SIZE 256
#define FLIGHT_RECORD_SIZE 104
#define FLIGHT_FILE_SIZE (FLIGHT_HEADER_SIZE + FLIGHT_SLOTS * FLIGHT_RECORD_SIZE)
#define FLIGHT_PATH_SIZE 384
/* Kept ones of a VM and side; the oldest goes. */
#define FLIGHT_KEPT 8

/* Of one epoch, microseconds. Values are in the file. */
enum flight_phase {
	/* primary */
	FLIGHT_REQUEST, /* asked to suspend → seen suspended */
	FLIGHT_SWITCH,	/* devices told: the network lane */
	FLIGHT_BITMAP,	/* dirty bitmap fetched and scanned */
	FLIGHT_COPY,	/* dirty pages copied */
	FLIGHT_STATE,	/* vCPU and platform state */
	FLIGHT_RESUME,
	FLIGHT_PAUSE,	/* seen suspended → resumed */
	FLIGHT_SEND,	/* resumed → encoded and sent */
	FLIGHT_ACK,	/* sent → acknowledged */
	FLIGHT_RELEASE, /* acknowledged → its output let out */
	/* backup */
	FLIGHT_COMMIT, /* all of it here → acknowledged */
	FLIGHT_APPLY,  /* acknowledged → in the standby */
	FLIGHT_PHASES
};

#define FLIGHT_UNKNOWN UINT32_MAX /* it did not come so far */

struct flight_epoch {
	uint64_t epoch;
	uint64_t at_ns;	  /* CLOCK_BOOTTIME: checkpoint taken (primary), all of it here (backup) */
	uint64_t step_ns; /* the last of what was noted */
	uint64_t bytes;	  /* sent or received since the session began */
	uint32_t pages;
	uint32_t session; /* rises with each of this worker */
	uint32_t us[FLIGHT_PHASES];
};

/* Whose it is. */
struct flight_head {
	char vm[NAME_SIZE];
	char side[16];
	uint32_t pid;
	uint64_t began_ns; /* CLOCK_BOOTTIME */
	uint64_t wall_us;  /* ... and the wall clock of that instant */
};

/* <run_dir>/<vm>.<side>.flight. */
MUST_CHECK int flight_path(char path[FLIGHT_PATH_SIZE], const char *run_dir, const char *vm,
			   const char *side, struct err *e);

/*
 * A new, empty one; its memory is set aside, so that a store never fails. *left: a worker before us did not end in good
 * order, and what it noted is in PATH.old now. 0 or negative errno: then there is none, and NULL may be passed below.
 */
MUST_CHECK int flight_new(struct flight **out, const char *path, const struct flight_head *head,
			  bool *left, struct err *e);
/* remove: it ended in good order, and nobody needs to know. NULL is a no-op. */
void flight_free(struct flight *f, bool remove);

/* Epoch numbers begin anew. */
void flight_session(struct flight *f);
/* A new epoch; phases that are not known yet are FLIGHT_UNKNOWN. session and step_ns are filled in here. */
void flight_begin(struct flight *f, const struct flight_epoch *epoch);
/* An epoch of this session has come through a phase, at now; counted from its step before. Unknown ones: no-op. */
void flight_step(struct flight *f, uint64_t epoch, enum flight_phase phase, uint64_t now);
void flight_bytes(struct flight *f, uint64_t epoch, uint64_t bytes);

/* ---- for whoever reads it ---- */

struct flight_view {
	struct flight_head head;
	unsigned int n;	   /* the oldest first */
	unsigned int torn; /* records that made no sense */
	struct flight_epoch epoch[FLIGHT_SLOTS];
};

/* size bytes from anywhere. 0 or -EBADMSG. */
MUST_CHECK int flight_decode(struct flight_view *v, const void *data, size_t size, struct err *e);
MUST_CHECK int flight_read(struct flight_view *v, const char *path, struct err *e);
const char *flight_phase_name(enum flight_phase p);

/* Whose recorders are kept, and where. All borrowed. */
struct flight_place {
	const char *state_dir;
	const char *vm;
	const char *side;
};

/*
 * Copies a recorder to <state_dir>/flight/<vm>.<side>.<time>.flight, and removes those that are too many. path: where to.
 * Blocks on the disk.
 */
MUST_CHECK int flight_keep(const struct flight_place *to, const char *from, uint64_t wall_us,
			   char path[FLIGHT_PATH_SIZE], struct err *e);
/* The newest kept one of a VM and side. 0 or -ENOENT. */
MUST_CHECK int flight_newest(const struct flight_place *of, char path[FLIGHT_PATH_SIZE],
			     struct err *e);

#endif
