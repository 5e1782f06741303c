/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the primary's shell share among themselves; nobody else includes it. primary_shell.c calls the others, which
 * stand here in their order: each calls only what stands below it, and what primary_shell.h has. Control thread.
 */
#ifndef REPLICATOR_PRIMARY_SHELL_IMPL_H
#define REPLICATOR_PRIMARY_SHELL_IMPL_H

#include "replicator/primary_shell.h"

/* ---- primary_actions_shell.c ---- */

/*
 * Carries out what a step of the core said, in order; what depends on something that could not be made durable is left out.
 * May feed further events to the core. Nothing more is done once the worker is finished.
 */
void primary_shell_execute_all__(struct primary_shell *s, const struct primary_actions *out);
/* The one timer: on the next deadline of the core or the lanes; at once when the lanes have opened. */
void primary_shell_arm__(struct primary_shell *s);
/* Asks the devices first: a lane must be free. If none is, on_timer() asks again. */
void primary_shell_order_checkpoint__(struct primary_shell *s, uint64_t epoch, bool last);
/* Answers of the data thread to what was ordered: PD_DISKS_ALONE_DONE, PD_DISKS_DEPOSED_DONE. */
void primary_shell_disks_alone__(struct primary_shell *s, const struct pd_msg *m);
void primary_shell_disks_deposed__(struct primary_shell *s, const struct pd_msg *m);
/* Ends the worker; whoever comes next starts from what it finds. */
void primary_shell_give_up__(struct primary_shell *s);

/* ---- primary_notes_shell.c ---- */

/* What is wrong, for status, the log and the events, and what to do about it (may be empty). */
PRINTF(3, 4)
void primary_shell_problem__(struct primary_shell *s, const char *hint, const char *fmt, ...);
void primary_shell_no_problem__(struct primary_shell *s);
/* A step of the core, if there is anything to tell of it: s->core was `was` until `cause`. */
void primary_shell_tell_story__(struct primary_shell *s, const struct primary *was, uint64_t now,
				const struct primary_event *cause);

void primary_shell_init_figures__(struct primary_figures *f);
/* PD_TAKEN: for the figures and the flight recorder. */
void primary_shell_note_taken__(struct primary_shell *s, const struct pd_msg *m);
/* PD_ACK: before the core hears of it. */
void primary_shell_count_ack__(struct primary_shell *s, const struct pd_msg *m);
/* PD_DISK. */
void primary_shell_note_disk__(struct primary_shell *s, const struct pd_msg *m);

#endif
