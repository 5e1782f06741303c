/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internet addresses: text to socket address and back. Resolving a name may take as long as the
 * resolver likes; here it has a deadline all the same.
 */
#ifndef LIB_ADDR_H
#define LIB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/compiler.h"

struct err;

#define ADDR_MAX 4	  /* that one name is resolved to; more are ignored */
#define ADDR_TEXT_SIZE 64 /* "[v6]:port" */

struct addr {
	socklen_t size; /* of what is used in sa; 0: none */
	struct sockaddr_storage sa;
};

struct addr_list {
	size_t n;
	struct addr a[ADDR_MAX];
};

/*
 * An IPv4 or IPv6 address or a host name. Absolute deadline; a readable wake_fd (-1: none) ends it
 * with -ECANCELED. 0 with n in 1..ADDR_MAX, -ETIMEDOUT, or -EHOSTUNREACH with the resolver's text.
 */
MUST_CHECK int addr_resolve(const char *host, uint16_t port, struct addr_list *out, int wake_fd,
			    uint64_t deadline_ns, struct err *e);

/* "192.0.2.1:7403", "[2001:db8::1]:7403". Returns buf. */
const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_SIZE]);
/*
 * Whoever is at one of them can well be at the other: the same IPv4 address, or the same /64 of IPv6. Ports do
 * not count; an address of another family is nobody's.
 */
bool addr_same_source(const struct addr *a, const struct addr *b);
void addr_set_port(struct addr *a, uint16_t port);
uint16_t addr_port(const struct addr *a);

#endif
