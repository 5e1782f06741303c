/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may send what when: the table in docs/protocol.md. See wire_v1.h. */
#include <errno.h>
#include <stdio.h>

#include "lib/err.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_disk.h"
#include "lib/wire_v1_drill.h"

/* How far P's side of the conversation is; what B may say follows from it. */
enum phase {
	START,
	ASKED,	/* HELLO */
	SET_UP, /* HELLO_OK; CONFIG, then STATIC are due, then perhaps DISKS */
	DISKS,	/* DISKS; DISKS_OK is due */
	COPY,	/* epoch 0 */
	RUN,	/* epoch 0 was sent */
	FACTS,	/* ASK_FACTS, in place of all that */
};

#define STATE_BIT(kind) (1u << (kind))
#define STATE_ALL \
	(STATE_BIT(WIRE_HVM_CONTEXT) | STATE_BIT(WIRE_TSC_INFO) | STATE_BIT(WIRE_HVM_PARAMS))

static const char *due_from_primary(const struct wire_order *o)
{
	if (o->leaving)
		return o->bye ? "nothing after BYE" : "nothing after HANDOVER";
	switch ((enum phase)o->phase) {
	case START:
		return "HELLO";
	case ASKED:
		return "nothing before HELLO_OK";
	case SET_UP:
		if (!o->config_seen)
			return "CONFIG, then STATIC";
		if (!o->static_seen)
			return "STATIC";
		break;
	case DISKS:
		return "nothing before DISKS_OK";
	case FACTS:
		return "nothing after ASK_FACTS";
	case COPY:
	case RUN:
		break;
	}
	if (o->n_disks)
		return o->state_seen ? "DISK_DATA, DISK_END, STATE or EPOCH_END"
				     : "PAGES, DISK_DATA, DISK_END, STATE or EPOCH_END";
	return o->state_seen ? "STATE or EPOCH_END" : "PAGES, STATE or EPOCH_END";
}

static int unexpected(const struct wire_order *o, enum frame_side from, const struct frame *f,
		      struct err *e)
{
	const char *due = due_from_primary(o);
	char buf[16];

	if (from == FRAME_BACKUP) {
		due = "nothing after its last word";
		if (!o->backup_done)
			due = o->phase == ASKED	  ? "HELLO_OK or REFUSE"
			      : o->phase == FACTS ? "FACTS or REFUSE"
			      : o->phase == DISKS ? "DISKS_OK or REFUSE"
						  : "another";
	}
	return err_setx(e, -EPROTO, "the %s sent %s out of order (due: %s)",
			from == FRAME_PRIMARY ? "primary" : "backup",
			frame_name(f->h.type, buf, sizeof(buf)), due);
}

static int wrong_epoch(enum frame_side from, const struct frame *f, uint64_t due, struct err *e)
{
	char buf[16];

	return err_setx(e, -EPROTO, "the %s sent %s of epoch %llu (due: %llu)",
			from == FRAME_PRIMARY ? "primary" : "backup",
			frame_name(f->h.type, buf, sizeof(buf)), (unsigned long long)f->h.epoch,
			(unsigned long long)due);
}

/* This kind may come now, and is noted. */
static bool state_may_come(struct wire_order *o, const struct frame *f)
{
	struct rd r = rd_init(f->payload, f->h.length);
	uint16_t kind = rd_u16(&r);

	if (kind < WIRE_HVM_CONTEXT || kind > WIRE_HVM_PARAMS || o->state_seen & STATE_BIT(kind))
		return false;
	o->state_seen |= (uint8_t)STATE_BIT(kind);
	return true;
}

/* The disk that a frame of disks names, in its first bytes. */
static bool names_a_disk(const struct wire_order *o, const struct frame *f, uint16_t *disk)
{
	struct rd r = rd_init(f->payload, f->h.length);

	*disk = rd_u16(&r);
	return rd_ok(&r) && *disk < o->n_disks;
}

static bool all_ended(const struct wire_order *o)
{
	return o->ended == (UINT32_C(1) << o->n_disks) - 1;
}

/* Frames of disks that are part of an epoch. */
static int check_disk_part(struct wire_order *o, const struct frame *f, struct err *e)
{
	uint16_t disk;

	if (!names_a_disk(o, f, &disk) || o->ended & (1u << disk))
		return unexpected(o, FRAME_PRIMARY, f, e);
	if (f->h.type == FRAME_DISK_VERIFY) {
		if (!o->next_epoch || o->verifies_due == WIRE_MAX_UNANSWERED)
			return unexpected(o, FRAME_PRIMARY, f, e);
		o->verifies_due++;
	} else if (f->h.type == FRAME_DISK_END) {
		/* What B lacks must be known, and so have been sent, before an epoch is whole. */
		if (o->unasked_due || o->hashes_due)
			return err_setx(e, -EPROTO,
					"DISK_END although %u DISK_WANT are still to come",
					o->unasked_due + o->hashes_due);
		o->ended |= (uint16_t)(1u << disk);
		o->sync_over = true;
	}
	return 0;
}

/* Frames that are part of an epoch. */
static int check_epoch_part(struct wire_order *o, const struct frame *f, struct err *e)
{
	unsigned int needed = !o->next_epoch ? STATE_ALL : STATE_BIT(WIRE_HVM_CONTEXT);
	enum frame_type type = f->h.type;

	if (o->phase == SET_UP && o->config_seen && o->static_seen)
		o->phase = COPY;
	if (o->phase < COPY || o->phase == FACTS || o->leaving)
		return unexpected(o, FRAME_PRIMARY, f, e);
	if (f->h.epoch != o->next_epoch)
		return wrong_epoch(FRAME_PRIMARY, f, o->next_epoch, e);
	if (type == FRAME_DISK_DATA || type == FRAME_DISK_END || type == FRAME_DISK_VERIFY)
		return check_disk_part(o, f, e);
	if (type == FRAME_STATE)
		return state_may_come(o, f) ? 0 : unexpected(o, FRAME_PRIMARY, f, e);
	if (type != FRAME_EPOCH_END) {
		if (o->state_seen || (type == FRAME_COPY_ROUND && o->phase != COPY))
			return unexpected(o, FRAME_PRIMARY, f, e);
		return 0;
	}
	if ((o->state_seen & needed) != needed)
		return err_setx(e, -EPROTO, "epoch %llu ended without the state of its vCPUs",
				(unsigned long long)f->h.epoch);
	if (!all_ended(o))
		return err_setx(e, -EPROTO, "epoch %llu ended before all of its disks did",
				(unsigned long long)f->h.epoch);
	o->state_seen = 0;
	o->ended = 0;
	o->next_epoch++;
	o->phase = RUN;
	return 0;
}

static bool disks_may_come(struct wire_order *o, const struct frame *f)
{
	struct rd r = rd_init(f->payload, f->h.length);
	uint16_t n = rd_u16(&r);

	if (o->phase != SET_UP || o->leaving || !o->static_seen || !n || n > WIRE_MAX_DISKS)
		return false;
	o->n_disks = (uint8_t)n;
	o->phase = DISKS;
	return true;
}

static bool hash_may_come(struct wire_order *o, const struct frame *f)
{
	uint16_t disk;

	if (o->phase != COPY || o->leaving || o->sync_over ||
	    o->hashes_due == WIRE_MAX_UNANSWERED || !names_a_disk(o, f, &disk))
		return false;
	o->hashes_due++;
	return true;
}

static bool last_word_may_come(struct wire_order *o, const struct frame *f)
{
	bool bye = f->h.type == FRAME_BYE;

	if (o->phase < SET_UP || o->phase == FACTS || o->leaving)
		return false;
	/* HANDOVER names an epoch that B has acknowledged. */
	if (!bye && f->h.epoch >= o->next_ack)
		return false;
	o->leaving = true;
	o->bye = bye;
	return true;
}

/* It concerns a standby, so not before there can be one. */
static bool drill_may_come(struct wire_order *o)
{
	if (o->phase != RUN || o->leaving || o->drills_due == WIRE_DRILLS_UNANSWERED)
		return false;
	o->drills_due++;
	return true;
}

static bool primary_may(struct wire_order *o, const struct frame *f)
{
	switch ((enum frame_type)f->h.type) {
	case FRAME_HELLO:
		if (o->phase != START)
			return false;
		o->phase = ASKED;
		return true;
	case FRAME_ASK_FACTS:
		if (o->phase != START)
			return false;
		o->phase = FACTS;
		return true;
	case FRAME_CONFIG:
		if (o->phase != SET_UP || o->leaving || o->config_seen)
			return false;
		o->config_seen = true;
		return true;
	case FRAME_STATIC:
		/* What it goes into is built from CONFIG. */
		if (o->phase != SET_UP || o->leaving || !o->config_seen || o->static_seen)
			return false;
		o->static_seen = true;
		return true;
	case FRAME_DISKS:
		return disks_may_come(o, f);
	case FRAME_DISK_HASH:
		return hash_may_come(o, f);
	case FRAME_BYE:
	case FRAME_HANDOVER:
		return last_word_may_come(o, f);
	case FRAME_DRILL:
		return drill_may_come(o);
	case FRAME_DRILL_SAYS:
	case FRAME_HELLO_OK:
	case FRAME_REFUSE:
	case FRAME_COPY_ROUND:
	case FRAME_PAGES:
	case FRAME_STATE:
	case FRAME_EPOCH_END:
	case FRAME_ACK:
	case FRAME_TAKEOVER:
	case FRAME_BYE_OK:
	case FRAME_KEEPALIVE:
	case FRAME_DISKS_OK:
	case FRAME_DISK_WANT:
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_PROGRESS:
	case FRAME_DISK_VERIFY:
	case FRAME_DISK_VERIFIED:
	case FRAME_FACTS:
		return false;
	}
	return false;
}

/* As many as DISKS named; how many DISK_WANT follow is noted. */
static bool disks_ok_may_come(struct wire_order *o, const struct frame *f)
{
	struct rd r = rd_init(f->payload, f->h.length);
	uint32_t wants = 0;

	if (o->phase != DISKS || rd_u16(&r) != o->n_disks)
		return false;
	rd_skip(&r, 6);
	for (unsigned int i = 0; i < o->n_disks; i++) {
		uint32_t n;

		rd_skip(&r, 4);
		n = rd_u32(&r);
		rd_skip(&r, 40);
		if (n > WIRE_MAX_UNASKED)
			return false;
		wants += n;
	}
	o->unasked_due = wants;
	o->phase = COPY;
	return rd_ok(&r);
}

static bool want_may_come(struct wire_order *o, const struct frame *f)
{
	uint16_t disk;

	if (!names_a_disk(o, f, &disk))
		return false;
	if (o->unasked_due)
		o->unasked_due--;
	else if (o->hashes_due)
		o->hashes_due--;
	else
		return false;
	return true;
}

static bool progress_may_come(const struct wire_order *o, const struct frame *f)
{
	struct rd r = rd_init(f->payload, f->h.length);
	uint64_t durable;
	uint16_t disk;

	if (o->phase < COPY || !names_a_disk(o, f, &disk))
		return false;
	rd_skip(&r, 8);
	durable = rd_u64(&r);
	return rd_ok(&r) && (durable == FRAME_NO_EPOCH || durable < o->next_epoch);
}

static bool verified_may_come(struct wire_order *o, const struct frame *f)
{
	uint16_t disk;

	if (!o->verifies_due || f->h.epoch >= o->next_epoch || !names_a_disk(o, f, &disk))
		return false;
	o->verifies_due--;
	return true;
}

/* Frames of disks that the backup sends. */
static bool backup_disk_may(struct wire_order *o, const struct frame *f)
{
	if (f->h.type == FRAME_DISKS_OK)
		return disks_ok_may_come(o, f);
	if (f->h.type == FRAME_DISK_WANT)
		return want_may_come(o, f);
	if (f->h.type == FRAME_DISK_PROGRESS)
		return progress_may_come(o, f);
	return f->h.type == FRAME_DISK_VERIFIED && verified_may_come(o, f);
}

static int check_backup(struct wire_order *o, const struct frame *f, struct err *e)
{
	bool may = false;

	if (f->h.type == FRAME_REFUSE) {
		may = true;
		o->backup_done = true;
	} else if (f->h.type == FRAME_HELLO_OK) {
		may = o->phase == ASKED;
		o->phase = may ? SET_UP : o->phase;
	} else if (f->h.type == FRAME_FACTS) {
		may = o->phase == FACTS;
		o->backup_done = may;
	} else if (f->h.type == FRAME_ACK) {
		if (o->next_ack >= o->next_epoch)
			return unexpected(o, FRAME_BACKUP, f, e);
		if (f->h.epoch != o->next_ack)
			return wrong_epoch(FRAME_BACKUP, f, o->next_ack, e);
		o->next_ack++;
		may = true;
	} else if (f->h.type == FRAME_TAKEOVER) {
		may = o->next_ack > 0;
		o->backup_done = may;
	} else if (f->h.type == FRAME_BYE_OK) {
		may = o->bye;
		o->backup_done = may;
	} else if (f->h.type == FRAME_DRILL_SAYS) {
		may = o->drills_due > 0;
		o->drills_due -= may;
	} else {
		may = backup_disk_may(o, f);
	}
	return may ? 0 : unexpected(o, FRAME_BACKUP, f, e);
}

int wire_order_check(struct wire_order *o, enum frame_side from, const struct frame *f,
		     struct err *e)
{
	bool over = from == FRAME_BACKUP && o->backup_done;

	if (f->h.type == FRAME_KEEPALIVE)
		return over || o->phase == START ? unexpected(o, from, f, e) : 0;
	if (from == FRAME_BACKUP)
		return over ? unexpected(o, from, f, e) : check_backup(o, f, e);
	switch (f->h.type) {
	case FRAME_COPY_ROUND:
	case FRAME_PAGES:
	case FRAME_STATE:
	case FRAME_EPOCH_END:
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_VERIFY:
		return check_epoch_part(o, f, e);
	default:
		return primary_may(o, f) ? 0 : unexpected(o, from, f, e);
	}
}
