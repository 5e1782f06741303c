/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads of protocol version 1: structs to bytes and back. The next version is a new file. Pure;
 * any thread. The bytes are drawn in docs/protocol.md.
 *
 * Every decode reads bytes of a peer: each field is range-checked, reserved ones must be 0, the
 * payload must end where the message ends. 0 or -EBADMSG with a text that names the field. Structs
 * are the caller's; pointers in them point into the payload and live as long as it does.
 *
 * An encode writes into w, which conn_begin() made large enough; values out of range are our
 * mistake and asserted.
 */
#ifndef LIB_WIRE_V1_H
#define LIB_WIRE_V1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "lib/names.h"
#include "lib/rd.h"
#include "lib/wr.h"

struct err;

#define WIRE_UUID_SIZE 16
#define WIRE_TEXT_MAX 1024 /* bytes of a text, without a final 0 */
#define WIRE_CONFIG_MAX ((size_t)1 << 20)
#define WIRE_MAX_LEAVES 512
#define WIRE_MAX_MSRS 256
#define WIRE_MAX_PARAMS 64
#define WIRE_MAX_PAGES 1024 /* records in one PAGES frame */
#define WIRE_HVM_CONTEXT_MAX ((size_t)256 << 10)
/* Ranges of HELLO. */
#define WIRE_MAX_MEM_PAGES (UINT64_C(1) << 36)
#define WIRE_MAX_ARENA_PAGES (UINT32_C(1) << 28)
#define WIRE_MAX_CACHE_SLOTS (UINT32_C(1) << 28)
#define WIRE_MAX_VCPUS 512
#define WIRE_MAX_HEARTBEAT_MS 60000
#define WIRE_MAX_FAILURE_MS 600000
#define WIRE_MIN_EPOCH_US 1000
#define WIRE_MAX_EPOCH_US 10000000

/* Same values as enum peer_loss_policy. */
enum wire_policy {
	WIRE_POLICY_HOLD = 1,
	WIRE_POLICY_PRIMARY_WINS = 2,
	WIRE_POLICY_BACKUP_WINS = 3,
	WIRE_POLICY_ARBITER = 4,
};

/* Same values as enum conf_arbiter_kind. */
#define WIRE_MAX_ARBITER 3

/* The primary found held output of an earlier life of its worker. */
#define WIRE_HELLO_ADOPT UINT32_C(1)
/* Whoever takes the VM over does not protect it again by itself. */
#define WIRE_HELLO_ALONE UINT32_C(2)

struct wire_hello {
	uint16_t version_min;
	uint16_t version_max;
	uint32_t flags; /* WIRE_HELLO_* */
	uint8_t uuid[WIRE_UUID_SIZE];
	uint64_t term;	    /* not 0 */
	uint64_t mem_pages; /* one more than the largest guest frame number */
	uint64_t ram_pages; /* that are populated, at most mem_pages */
	uint32_t arena_pages;
	uint32_t cache_slots;
	uint32_t heartbeat_period_ms;
	uint32_t failure_timeout_ms;
	uint32_t epoch_period_us;
	uint32_t vcpus;
	uint8_t policy;	     /* enum wire_policy */
	uint8_t arbiter;     /* its kind; 0 under any other policy */
	uint32_t arbiter_id; /* of conf_arbiter_id(); 0 without an arbiter */
	char vm[NAME_SIZE];
	char host[NAME_SIZE]; /* the sender's */
};

void wire_hello_encode(struct wr *w, const struct wire_hello *m);
MUST_CHECK int wire_hello_decode(const struct frame *f, struct wire_hello *m, struct err *e);
/*
 * The version to speak after a HELLO of any version, from its first four bytes: the highest that
 * both know. -EPROTO when there is none: answer REFUSE(BAD_VERSION) with the text of e.
 */
MUST_CHECK int wire_hello_version(const struct frame *f, uint16_t *version, struct err *e);

struct wire_hello_ok {
	uint16_t version;	 /* that was chosen */
	uint16_t heartbeat_port; /* UDP, not 0; at the address of the TCP connection */
	uint64_t term;		 /* the newest that the backup knows for this VM */
	char host[NAME_SIZE];
};

void wire_hello_ok_encode(struct wr *w, const struct wire_hello_ok *m);
MUST_CHECK int wire_hello_ok_decode(const struct frame *f, struct wire_hello_ok *m, struct err *e);

enum wire_refusal {
	WIRE_BAD_VERSION = 1,
	WIRE_BAD_CONFIG = 2,
	WIRE_NO_MEMORY = 3,
	WIRE_ACTIVATED = 4, /* the backup runs the VM: the primary is deposed by this term */
	WIRE_BUSY = 5,	    /* try again later */
	WIRE_NOT_ALLOWED = 6,
	WIRE_INTERNAL = 7,
};

const char *wire_refusal_name(unsigned int code);

struct wire_refuse {
	uint16_t code;		      /* enum wire_refusal */
	uint64_t term;		      /* the newest that the backup knows, 0 if none */
	char text[WIRE_TEXT_MAX + 1]; /* one sentence for the operator; no control characters */
};

void wire_refuse_encode(struct wr *w, const struct wire_refuse *m);
MUST_CHECK int wire_refuse_decode(const struct frame *f, struct wire_refuse *m, struct err *e);

/* CONFIG is libxl's JSON itself: 2 bytes to WIRE_CONFIG_MAX, without any byte 0. */
void wire_config_encode(struct wr *w, const char *json, size_t size);
MUST_CHECK int wire_config_decode(const struct frame *f, const char **json, size_t *size,
				  struct err *e);

struct wire_leaf {
	uint32_t leaf;
	uint32_t subleaf;
	uint32_t a;
	uint32_t b;
	uint32_t c;
	uint32_t d;
};

struct wire_msr {
	uint32_t index;
	uint32_t flags;
	uint64_t value;
};

/* What of the CPU the guest was built with. 16 KiB: not for a small stack. */
struct wire_static {
	uint32_t n_leaves; /* 1..WIRE_MAX_LEAVES */
	uint32_t n_msrs;   /* 0..WIRE_MAX_MSRS */
	struct wire_leaf leaf[WIRE_MAX_LEAVES];
	struct wire_msr msr[WIRE_MAX_MSRS];
};

void wire_static_encode(struct wr *w, const struct wire_static *m);
MUST_CHECK int wire_static_decode(const struct frame *f, struct wire_static *m, struct err *e);

/* Sent when a round of the first copy begins; rounds count from 1. For progress only. */
struct wire_copy_round {
	uint32_t round;
	uint64_t pages; /* of this round */
	uint64_t sent;	/* in the rounds before */
};

void wire_copy_round_encode(struct wr *w, const struct wire_copy_round *m);
MUST_CHECK int wire_copy_round_decode(const struct frame *f, struct wire_copy_round *m,
				      struct err *e);

/*
 * PAGES: begin, page_encode() into w as long as there is room and the count stays within
 * WIRE_MAX_PAGES, end.
 */
void wire_pages_begin(struct wr *w);
void wire_pages_end(struct wr *w, uint32_t count);
/* records is a reader for count times page_decode(), after which rd_done() must hold. */
MUST_CHECK int wire_pages_decode(const struct frame *f, uint32_t *count, struct rd *records,
				 struct err *e);

enum wire_state_kind {
	WIRE_HVM_CONTEXT = 1,
	WIRE_TSC_INFO = 2,
	WIRE_HVM_PARAMS = 3,
};

struct wire_tsc_info {
	uint32_t mode;
	uint32_t khz;
	uint64_t nsec;
	uint32_t incarnation;
};

struct wire_param {
	uint64_t index;
	uint64_t value;
};

struct wire_state {
	uint16_t kind; /* enum wire_state_kind: which of the following */
	struct {
		const uint8_t *data; /* borrowed */
		size_t size;	     /* 1..WIRE_HVM_CONTEXT_MAX */
	} hvm;
	struct wire_tsc_info tsc;
	uint32_t n_params; /* 1..WIRE_MAX_PARAMS */
	struct wire_param param[WIRE_MAX_PARAMS];
};

void wire_state_encode(struct wr *w, const struct wire_state *m);
MUST_CHECK int wire_state_decode(const struct frame *f, struct wire_state *m, struct err *e);

struct wire_epoch_end {
	uint64_t pages; /* records since the last EPOCH_END */
	uint64_t raw_bytes;
	uint64_t wire_bytes; /* of the records */
	uint64_t digest;     /* page_enc_digest() */
};

void wire_epoch_end_encode(struct wr *w, const struct wire_epoch_end *m);
MUST_CHECK int wire_epoch_end_decode(const struct frame *f, struct wire_epoch_end *m,
				     struct err *e);

/* ACK, TAKEOVER and BYE_OK carry a term and nothing else. */
void wire_term_encode(struct wr *w, uint64_t term);
MUST_CHECK int wire_term_decode(const struct frame *f, uint64_t *term, struct err *e);

/* Same values as enum leave_reason. */
enum wire_bye_reason {
	WIRE_BYE_UNPROTECT = 0,
	WIRE_BYE_RESYNC = 1,
	WIRE_BYE_GUEST_SHUTDOWN = 2,
	WIRE_BYE_GUEST_CRASH = 3,
	WIRE_BYE_GUEST_DESTROYED = 4,
	WIRE_BYE_GUEST_SUSPENDED = 5,
	WIRE_BYE_GUEST_CHANGED = 6,
};

struct wire_bye {
	uint16_t reason; /* enum wire_bye_reason */
	char text[WIRE_TEXT_MAX + 1];
};

void wire_bye_encode(struct wr *w, const struct wire_bye *m);
MUST_CHECK int wire_bye_decode(const struct frame *f, struct wire_bye *m, struct err *e);

/* What `romulus doctor` asks, in place of a session; the answer is B's last word. wire_v1_facts.c. */
#define WIRE_FACTS_MAX ((size_t)256 << 10)

struct wire_ask_facts {
	char vm[NAME_SIZE]; /* empty: of the host alone */
};

void wire_ask_facts_encode(struct wr *w, const struct wire_ask_facts *m);
MUST_CHECK int wire_ask_facts_decode(const struct frame *f, struct wire_ask_facts *m,
				     struct err *e);
/* A JSON object: 2 bytes to WIRE_FACTS_MAX, without any byte 0. */
void wire_facts_encode(struct wr *w, const char *json, size_t size);
MUST_CHECK int wire_facts_decode(const struct frame *f, const char **json, size_t *size,
				 struct err *e);

/*
 * Who may send what when. conn.c keeps one for each connection and shows it every frame, in both
 * directions. Zeroed it stands at the start. wire_order.c.
 */
struct wire_order {
	uint8_t phase;
	uint8_t state_seen; /* kinds of STATE since the last EPOCH_END, as bits */
	bool config_seen;
	bool static_seen;
	bool leaving;	     /* P said BYE or HANDOVER */
	bool bye;	     /* ... BYE */
	bool backup_done;    /* B said its last word */
	uint64_t next_epoch; /* of the next EPOCH_END */
	uint64_t next_ack;
	/* of a VM with disks */
	uint8_t n_disks;       /* 0: none */
	uint16_t ended;	       /* disks whose DISK_END of next_epoch came, as bits */
	uint32_t unasked_due;  /* DISK_WANT that B announced and has not sent */
	uint32_t hashes_due;   /* DISK_HASH without an answer */
	uint32_t verifies_due; /* DISK_VERIFY without an answer */
	uint32_t drills_due;   /* DRILL without an answer */
	bool sync_over;	       /* a DISK_END of epoch 0 came: no DISK_HASH any more */
};

/*
 * 0, or -EPROTO: this frame of this side must not come now; the text says what was due, and *o is
 * of no more use. STATE is looked into for its kind, frames of disks for their disk.
 */
MUST_CHECK int wire_order_check(struct wire_order *o, enum frame_side from, const struct frame *f,
				struct err *e);

#endif
