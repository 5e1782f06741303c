/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may send what when: the table in docs/protocol.md. See wire_v1.h. */
#include <errno.h>
#include <stdio.h>

#include "lib/err.h"
#include "lib/wire_v1.h"

/* How far P's side of the conversation is; what B may say follows from it. */
enum phase {
	START,
	ASKED,	/* HELLO */
	SET_UP, /* HELLO_OK; CONFIG, then STATIC are due */
	COPY,	/* epoch 0 */
	RUN,	/* epoch 0 was sent */
};

#define STATE_BIT(kind) (1u << (kind))
#define STATE_ALL \
	(STATE_BIT(WIRE_HVM_CONTEXT) | STATE_BIT(WIRE_TSC_INFO) | STATE_BIT(WIRE_HVM_PARAMS))

static const char *due_from_primary(const struct wire_order *o)
{
	if (o->bye)
		return "nothing after BYE";
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
	case COPY:
	case RUN:
		break;
	}
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
			due = o->phase == ASKED ? "HELLO_OK or REFUSE" : "another";
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

/* Frames that are part of an epoch. */
static int check_epoch_part(struct wire_order *o, const struct frame *f, struct err *e)
{
	unsigned int needed = !o->next_epoch ? STATE_ALL : STATE_BIT(WIRE_HVM_CONTEXT);
	enum frame_type type = f->h.type;

	if (o->phase == SET_UP && o->config_seen && o->static_seen)
		o->phase = COPY;
	if (o->phase < COPY || o->bye)
		return unexpected(o, FRAME_PRIMARY, f, e);
	if (f->h.epoch != o->next_epoch)
		return wrong_epoch(FRAME_PRIMARY, f, o->next_epoch, e);
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
	o->state_seen = 0;
	o->next_epoch++;
	o->phase = RUN;
	return 0;
}

static bool primary_may(struct wire_order *o, enum frame_type type)
{
	switch (type) {
	case FRAME_HELLO:
		if (o->phase != START)
			return false;
		o->phase = ASKED;
		return true;
	case FRAME_CONFIG:
		if (o->phase != SET_UP || o->bye || o->config_seen)
			return false;
		o->config_seen = true;
		return true;
	case FRAME_STATIC:
		/* What it goes into is built from CONFIG. */
		if (o->phase != SET_UP || o->bye || !o->config_seen || o->static_seen)
			return false;
		o->static_seen = true;
		return true;
	case FRAME_BYE:
		if (o->phase < SET_UP || o->bye)
			return false;
		o->bye = true;
		return true;
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
		return false;
	}
	return false;
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
		return check_epoch_part(o, f, e);
	default:
		return primary_may(o, f->h.type) ? 0 : unexpected(o, from, f, e);
	}
}
