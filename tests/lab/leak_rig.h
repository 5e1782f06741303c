/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the leak test stands on: devices, senders, a receiver that judges, and the real netbuf
 * driven as a worker does.
 *
 *	lk0 ══ vif900.0 ─ IFB ─ bridge lkbr ─ lk1 ══ lk2
 *	senders                                      receiver
 *
 * Senders are never stopped and tag each frame with the epoch that they see before they build it;
 * the epoch advances only after the switch returned. So a frame with tag e is of epoch e or
 * later, and P1 says that it must not be seen outside before commit(e) was called. The kernel's
 * own receive time stamps say when it was.
 */
#ifndef TESTS_LAB_LEAK_RIG_H
#define TESTS_LAB_LEAK_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "lib/compiler.h"
#include "lib/err.h"
#include "netbuffer/lanes_nl.h"
#include "netbuffer/netbuf.h"

#define VIF "vif900.0"
#define IFB "rm900.0"
#define PIN "/sys/fs/bpf/romulus/vif900:0"
#define FRAME_SIZE 128
#define LANE_BYTES (16U << 20)
#define SENDERS 2

#define TYPES 4
extern const uint16_t leak_ethertypes[TYPES]; /* IPv4, IPv6, ARP and an unknown one */

struct test {
	uint64_t epochs;
	bool breaks;
	bool life;

	_Atomic uint64_t epoch; /* that senders see */
	_Atomic bool stop_senders;
	_Atomic bool stop_receiver;
	_Atomic uint64_t sent;
	_Atomic uint64_t received;
	_Atomic uint64_t leaked;
	_Atomic uint64_t seen[TYPES];
	_Atomic uint64_t overrun;   /* frames that the receiver's socket had no room for */
	_Atomic uint64_t *released; /* [epochs + 1], when commit() was called, 0: it was not */

	struct lanes_nl *lanes;
	struct netbuf *nb;
	struct ckpt_device *d;
	unsigned int tampered[4];
	pthread_t senders[SENDERS];
	pthread_t receiver;
};

/* All of these end the program with a word when something cannot be done. */
void rig_check(int rc, const struct err *e, const char *what);

/* A command without quoting: words between single blanks. Returns its exit status. */
int rig_command(const char *line, char *out, size_t out_size);
/* That has to succeed. */
void rig_must(const char *line);

void rig_make(void);
void rig_remove(void);

void rig_start_senders(struct test *t);
void rig_stop_senders(struct test *t);
/* Sends n frames of each type and returns when they are in the kernel. */
void rig_send(struct test *t, unsigned int n);
void rig_start_receiver(struct test *t);
void rig_stop_receiver(struct test *t);

/* A worker starts. */
void rig_up(struct test *t);
/* It dies: the kernel's side stays. */
void rig_crash(struct test *t);
/* Serves the netbuf as the control loop does. */
void rig_serve(struct test *t);
void rig_checkpoint(struct test *t, uint64_t n);
void rig_commit(struct test *t, uint64_t n);
/* Until all is open. */
void rig_open(struct test *t);

#define NEVER_NS (NS_PER_SEC / 2) /* after so long we believe that it does not happen */
typedef bool cond_fn(struct test *t, uint64_t arg);
/* Does it come true? rig_soon() waits longer than it could take. */
bool rig_within(uint64_t ns, cond_fn *cond, struct test *t, uint64_t arg);
bool rig_soon(cond_fn *cond, struct test *t, uint64_t arg);

#endif
