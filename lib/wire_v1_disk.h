/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads of protocol version 1 for VMs with disks. The rules of wire_v1.h hold here too; the bytes
 * are drawn in docs/protocol.md, what the disks do with them in docs/disk.md.
 *
 * What names a range of a disk is decoded against the session's DISKS, so that nothing outside of a
 * disk ever leaves these functions.
 */
#ifndef LIB_WIRE_V1_DISK_H
#define LIB_WIRE_V1_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "lib/names.h"
#include "lib/rd.h"
#include "lib/wire_v1.h"
#include "lib/wr.h"

struct err;

#define WIRE_MAX_DISKS 16
#define WIRE_DISK_SECTOR 512
#define WIRE_MAX_DISK_BYTES (UINT64_C(1) << 56)
#define WIRE_DISK_HASH_SIZE 16
#define WIRE_DISK_HISTORY 2
#define WIRE_MIN_CHUNK 4096
#define WIRE_MAX_CHUNK (UINT32_C(4) << 20)
#define WIRE_MAX_HASHES 4096   /* chunks in one DISK_HASH */
#define WIRE_MAX_WANTS 524288  /* chunks in one DISK_WANT */
#define WIRE_MAX_UNASKED 4096  /* DISK_WANT of a disk that B sends by itself */
#define WIRE_MAX_UNANSWERED 64 /* DISK_HASH, and DISK_VERIFY, without their answer */
#define WIRE_MAX_RECORDS 1024  /* in one DISK_DATA */
#define WIRE_MAX_RECORD_DATA (UINT32_C(1) << 20)
#define WIRE_MAX_RECORD_RANGE (UINT32_C(1) << 30) /* ZERO, DISCARD */
#define WIRE_MAX_VERIFY (UINT32_C(4) << 20)

/* When the backup acknowledges an epoch that all of its disks hold (docs/disk.md). */
enum wire_ack_mode {
	WIRE_ACK_MEMORY = 1,
	WIRE_ACK_FLUSH = 2,
	WIRE_ACK_EPOCH = 3,
};

/* Random, but for 0: none. */
struct wire_generations {
	uint64_t current;
	uint64_t bitmap; /* the one that the dirty bitmap counts from */
	uint64_t history[WIRE_DISK_HISTORY];
};

/* Compare all of it, whatever the generations say. */
#define WIRE_DISK_BY_HASH UINT32_C(1)

struct wire_disk {
	char name[NAME_SIZE];
	uint8_t uuid[WIRE_UUID_SIZE];
	uint64_t size; /* bytes */
	uint32_t block_size;
	uint32_t flags; /* WIRE_DISK_* */
	struct wire_generations gen;
};

/* A disk is named by its place in here. 2 KiB. */
struct wire_disks {
	uint16_t n;	  /* 1..WIRE_MAX_DISKS */
	uint8_t ack_mode; /* enum wire_ack_mode */
	struct wire_disk disk[WIRE_MAX_DISKS];
};

void wire_disks_encode(struct wr *w, const struct wire_disks *m);
MUST_CHECK int wire_disks_decode(const struct frame *f, struct wire_disks *m, struct err *e);

/* How B's disk is made equal to P's. */
enum wire_disk_plan {
	WIRE_PLAN_NOTHING = 0,
	WIRE_PLAN_DIRTY = 1, /* what either side knows to differ */
	WIRE_PLAN_HASH = 2,  /* all of it, compared first */
	WIRE_PLAN_FULL = 3,
};

/* The states of docs/disk.md; on the wire ACTIVE and FAILED do not occur. */
enum wire_disk_state {
	WIRE_DISK_EMPTY = 0,
	WIRE_DISK_SYNCING = 1,
	WIRE_DISK_CONSISTENT = 2,
	WIRE_DISK_OUTDATED = 4,
};

struct wire_disk_ok {
	uint8_t plan;	/* enum wire_disk_plan */
	uint8_t state;	/* enum wire_disk_state */
	uint32_t wants; /* DISK_WANT that follow unasked, to WIRE_MAX_UNASKED */
	struct wire_generations gen;
	uint64_t dirty_bytes;
};

struct wire_disks_ok {
	uint16_t n; /* that of DISKS: the caller compares */
	struct wire_disk_ok disk[WIRE_MAX_DISKS];
};

void wire_disks_ok_encode(struct wr *w, const struct wire_disks_ok *m);
MUST_CHECK int wire_disks_ok_decode(const struct frame *f, struct wire_disks_ok *m, struct err *e);

/* Chunks one after the other; each begins within the disk, the last may reach over its end. */
struct wire_disk_range {
	uint16_t disk;
	uint32_t chunk; /* bytes, a power of two */
	uint64_t off;	/* bytes, a multiple of chunk */
	uint32_t count; /* chunks */
};

/* hashes: count times WIRE_DISK_HASH_SIZE bytes. */
void wire_disk_hash_encode(struct wr *w, const struct wire_disk_range *m, const uint8_t *hashes);
MUST_CHECK int wire_disk_hash_decode(const struct frame *f, const struct wire_disks *disks,
				     struct wire_disk_range *m, const uint8_t **hashes,
				     struct err *e);

/* bits: (count + 7) / 8 bytes, chunk i is bit i % 8 of byte i / 8, spare ones 0. */
void wire_disk_want_encode(struct wr *w, const struct wire_disk_range *m, const uint8_t *bits);
MUST_CHECK int wire_disk_want_decode(const struct frame *f, const struct wire_disks *disks,
				     struct wire_disk_range *m, const uint8_t **bits,
				     struct err *e);

enum wire_disk_op {
	WIRE_DISK_WRITE = 1,
	WIRE_DISK_ZERO = 2,
	WIRE_DISK_DISCARD = 3,
	WIRE_DISK_FLUSH = 4, /* the guest was answered a flush */
	WIRE_DISK_SYNC = 5,  /* from the copier, not from the guest */
};

#define WIRE_RECORD_LZ4 1

struct wire_disk_record {
	uint8_t op;    /* enum wire_disk_op */
	uint8_t flags; /* WIRE_RECORD_LZ4, only where there is data */
	uint32_t len;
	uint64_t off;
	const uint8_t *data; /* WRITE, SYNC: stored bytes */
	uint32_t stored;     /* len, or with LZ4 what unpacks to exactly len */
};

/*
 * DISK_DATA: begin, records as long as there is room (wr_left()) and they are WIRE_MAX_RECORDS at most,
 * end. Room: wire_disk_record_size().
 */
void wire_disk_data_begin(struct wr *w, uint16_t disk);
size_t wire_disk_record_size(const struct wire_disk_record *r);
void wire_disk_record_encode(struct wr *w, const struct wire_disk_record *r);
void wire_disk_data_end(struct wr *w, uint32_t count);
/* records is a reader for count times wire_disk_record_decode(), after which rd_done() must hold. */
MUST_CHECK int wire_disk_data_decode(const struct frame *f, const struct wire_disks *disks,
				     uint16_t *disk, uint32_t *count, struct rd *records,
				     struct err *e);
/* size: of the disk. 0 or -EBADMSG; data points into the payload. */
MUST_CHECK int wire_disk_record_decode(struct rd *records, uint64_t size,
				       struct wire_disk_record *r, struct err *e);

struct wire_disk_end {
	uint16_t disk;
	uint64_t records; /* since the disk's last DISK_END */
	uint64_t bytes;	  /* sum of their len */
	uint64_t digest;  /* over what they unpack to: docs/protocol.md */
};

void wire_disk_end_encode(struct wr *w, const struct wire_disk_end *m);
MUST_CHECK int wire_disk_end_decode(const struct frame *f, const struct wire_disks *disks,
				    struct wire_disk_end *m, struct err *e);

struct wire_disk_progress {
	uint16_t disk;
	uint64_t durable; /* epoch, FRAME_NO_EPOCH if none */
	uint64_t applied; /* epoch; never newer than durable */
	uint64_t free_bytes;
};

void wire_disk_progress_encode(struct wr *w, const struct wire_disk_progress *m);
MUST_CHECK int wire_disk_progress_decode(const struct frame *f, const struct wire_disks *disks,
					 struct wire_disk_progress *m, struct err *e);

struct wire_disk_verify {
	uint16_t disk;
	uint32_t len;
	uint64_t off;
	uint8_t hash[WIRE_DISK_HASH_SIZE];
};

void wire_disk_verify_encode(struct wr *w, const struct wire_disk_verify *m);
MUST_CHECK int wire_disk_verify_decode(const struct frame *f, const struct wire_disks *disks,
				       struct wire_disk_verify *m, struct err *e);

enum wire_verify_result {
	WIRE_VERIFY_EQUAL = 0,
	WIRE_VERIFY_DIFFERENT = 1,
	WIRE_VERIFY_UNREADABLE = 2,
};

struct wire_disk_verified {
	uint16_t disk;
	uint16_t result; /* enum wire_verify_result */
	uint32_t len;
	uint64_t off;
};

void wire_disk_verified_encode(struct wr *w, const struct wire_disk_verified *m);
MUST_CHECK int wire_disk_verified_decode(const struct frame *f, const struct wire_disks *disks,
					 struct wire_disk_verified *m, struct err *e);

enum wire_handover_reason {
	WIRE_HANDOVER_DISK = 0,	   /* P's disk fails: the guest's next answer would be an error */
	WIRE_HANDOVER_PLANNED = 1, /* the operator moves the VM; P could go on with it */
};

struct wire_handover {
	uint16_t reason; /* enum wire_handover_reason */
	char text[WIRE_TEXT_MAX + 1];
};

void wire_handover_encode(struct wr *w, const struct wire_handover *m);
MUST_CHECK int wire_handover_decode(const struct frame *f, struct wire_handover *m, struct err *e);

#endif
