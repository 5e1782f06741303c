/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening socket for tests that talk over loopback. */
#ifndef TESTS_LIB_LOOPBACK_H
#define TESTS_LIB_LOOPBACK_H

#include <stdint.h>

/* On a port that the kernel chooses. The descriptor is the caller's; a failure ends the test. Main thread. */
int loopback_listener(uint16_t *port);

#endif
