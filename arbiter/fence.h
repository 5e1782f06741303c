/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fence as the arbiter: whoever gets the other host switched off may go alone. Nothing is recorded. The
 * agent is any program with the calling convention of Debian's fence-agents: lines of key=value on its
 * standard input, action=off or action=status among them; status ends with 0 and says "Status: ON", or with
 * 2 and says "Status: OFF".
 */
#ifndef ARBITER_FENCE_H
#define ARBITER_FENCE_H

#include "arbiter/arbiter.h"

/*
 * VOTE: off must end with 0, and a status after it must say so both ways: nobody is believed who says only
 * one of them. JOIN: status must say that the peer is on, or the agent means another machine. LOOK: status
 * must be readable. Within fence-timeout, and fence-delay before it for a vote of the backup.
 */
void fence_ask(const struct conf *conf, const struct arbiter_ask *ask, struct verdict *v);

#endif
