/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a guest's offer of a suspend event channel is looked at, and when it is taken. A guest can write what it likes
 * as often as it likes; each look costs a question to xenstored and each try a lock file and system calls, on the way of
 * a checkpoint. Pure. Data thread.
 */
#ifndef REPLICATOR_SUSPEND_OFFER_H
#define REPLICATOR_SUSPEND_OFFER_H

#include <stdbool.h>
#include <stdint.h>

#define SUSPEND_OFFER_LOOKS 8	 /* in a row; then one a second */
#define SUSPEND_OFFER_FAILURES 3 /* in a row, whatever the ports; then one a minute */

/* What may be done so often in a row, and then once in a while. */
struct suspend_ration {
	unsigned int used;
	uint64_t since_ns; /* when one of them was given back last */
};

/* Begins with all zeroes. */
struct suspend_offer {
	uint32_t failed;   /* the port that could not be bound, or did not answer, 0: none */
	uint64_t retry_ns; /* from when it may be tried again */
	uint64_t wait_ns;  /* what the next failure costs; doubles */
	struct suspend_ration looks;
	struct suspend_ration failures;
};

/* The port in the node's text (NULL: no node); 0: none, or nothing that is a port. */
uint32_t suspend_offer_parse(const char *text);
/* May the node be read now? Counts as a look if so. */
bool suspend_offer_look(struct suspend_offer *o, uint64_t now);
/* Forgives the looks so far. */
void suspend_offer_forgive(struct suspend_offer *o);
/* The port that failed is to be tried again, though the guest has not written. */
bool suspend_offer_due(const struct suspend_offer *o, uint64_t now);
/*
 * May this port, which is in the node now, be bound? 0, no offer, begins anew: the next one is another. But no port is
 * taken after too many failures: a guest can write many numbers that all fail.
 */
bool suspend_offer_take(struct suspend_offer *o, uint32_t port, uint64_t now);
/* It could not be bound, or a request on it was not answered. */
void suspend_offer_failed(struct suspend_offer *o, uint32_t port, uint64_t now);
/* A request on it was answered. */
void suspend_offer_served(struct suspend_offer *o);

#endif
