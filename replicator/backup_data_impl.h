/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the backup's data thread share among themselves; nobody else includes it. backup_data.c has the thread, its
 * queues and the commands, and calls the others, which stand here in their order: each calls only what stands below it. Data
 * thread.
 */
#ifndef REPLICATOR_BACKUP_DATA_IMPL_H
#define REPLICATOR_BACKUP_DATA_IMPL_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/log.h"
#include "lib/queue.h"
#include "replicator/backup_data.h"
#include "replicator/drill_feed.h"

/* How often figures and the progress of a first copy are told. */
#define PROGRESS_NS (200 * NS_PER_MS)
/* For what the peer must hear before the link ends. */
#define LAST_WORD_NS (2 * NS_PER_SEC)

/* Why nothing is read from the peer at the moment. */
enum pause {
	READING,
	AWAIT_WELCOME, /* HELLO was given to control */
	AWAIT_STREAM,  /* CONFIG was given to control: no standby yet */
	AWAIT_APPLY,   /* an epoch is whole */
	AWAIT_DISK,    /* a server has no room for `held` */
	FINISHED,      /* the standby completes itself: what comes now comes too late */
};

struct backup_data {
	struct bd_conf conf;
	struct queue *commands;
	struct queue *messages;
	int stop_fd;
	pthread_t thread;
	bool started;

	/* The thread's own. */
	struct conn *conn;
	struct page_dec *dec;
	struct apply *apply;
	struct wire_static *statics; /* scratch: too large for the stack */
	struct page_counters told;   /* the decoder's at the last EPOCH_END */
	enum pause pause;
	uint64_t sealed; /* the epoch that waits, EPOCH_NONE */
	uint64_t mem_pages;
	uint32_t arena_pages;
	uint64_t progress_at_ns;
	uint64_t round_done, round_total;
	uint32_t round;
	bool bye;
	bool stop;
	struct backup_ports *disks; /* NULL: none, or DISKS has not come */
	struct frame held;
	struct drill_feed drill;
	uint64_t figures_at_ns;
	char vm[NAME_SIZE];
};

/* ---- messages ---- */

static inline void post(struct backup_data *d, struct bd_msg *m)
{
	m->at_ns = clock_now();
	if (!queue_put(d->messages, m))
		die("the control thread does not read its messages");
}

static inline void post_text(struct backup_data *d, enum bd_msg_type type, const char *text)
{
	struct bd_msg m = {.type = type};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

/* The session is over, and it is told: there is no connection from here on. */
static inline void drop_link(struct backup_data *d, const char *text)
{
	conn_free(d->conn);
	d->conn = NULL;
	if (d->pause == AWAIT_DISK)
		d->pause = READING; /* `held` was the connection's */
	post_text(d, BD_LINK_DOWN, text);
}

/* Does this error mean that the standby is lost, and not the link? */
static inline bool is_stream_error(int rc)
{
	return rc == -EPIPE || rc == -ETIMEDOUT;
}

/* ---- backup_data_frames.c ---- */

/*
 * One frame of the peer. 0, also when it was refused and the link is gone; or a negative errno: the session is to end, or, as
 * is_stream_error() says, the standby is lost.
 */
MUST_CHECK int backup_data_on_frame__(struct backup_data *d, const struct frame *f, struct err *e);
/* All that has come, until something is to be waited for (d->pause), or the link is gone; it is told. */
void backup_data_read_peer__(struct backup_data *d);

/* ---- backup_data_epochs.c ---- */

/* STATIC, COPY_ROUND, PAGES, STATE, EPOCH_END: as backup_data_on_frame__(). */
MUST_CHECK int backup_data_on_static__(struct backup_data *d, const struct frame *f, struct err *e);
MUST_CHECK int backup_data_on_round__(struct backup_data *d, const struct frame *f, struct err *e);
MUST_CHECK int backup_data_on_pages__(struct backup_data *d, const struct frame *f, struct err *e);
MUST_CHECK int backup_data_on_state__(struct backup_data *d, const struct frame *f, struct err *e);
MUST_CHECK int backup_data_on_epoch_end__(struct backup_data *d, const struct frame *f,
					  struct err *e);
/* BD_STREAM (fd is taken), BD_APPLY, BD_FINISH. What comes of them is told. */
void backup_data_take_stream__(struct backup_data *d, int fd);
void backup_data_apply_epoch__(struct backup_data *d, uint64_t epoch);
void backup_data_finish_stream__(struct backup_data *d);

/* ---- backup_data_disks.c ---- */

/* DISKS, and what comes for one of them: as backup_data_on_frame__(). */
MUST_CHECK int backup_data_on_disks__(struct backup_data *d, const struct frame *f, struct err *e);
MUST_CHECK int backup_data_on_disk__(struct backup_data *d, const struct frame *f, struct err *e);
/* Passes on what there is of the disks, if there are any. May end the session; it is told. */
void backup_data_pump_disks__(struct backup_data *d);

/* ---- backup_data_say.c: what is said to the peer. A link that fails is dropped, and it is told. ---- */

void backup_data_speak__(struct backup_data *d, enum frame_type type, uint64_t epoch,
			 const struct bd_cmd *cmd);
/* Then the link ends; the peer is given LAST_WORD_NS to take it. */
void backup_data_last_word__(struct backup_data *d, enum frame_type type, const struct bd_cmd *cmd);
/* BD_DRILL_SAYS; cmd->json is borrowed. */
void backup_data_answer_drill__(struct backup_data *d, const struct bd_cmd *cmd);

#endif
