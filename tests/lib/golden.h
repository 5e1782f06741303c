/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes that must never change within a version: tests/lib/golden/<name>.hex. Run a test with
 * GOLDEN=write in the environment to write what it makes; only a new format's first time.
 */
#ifndef TESTS_LIB_GOLDEN_H
#define TESTS_LIB_GOLDEN_H

#include <stddef.h>

/* Fails the running cmocka test unless data is what the file says. */
void golden_check(const char *name, const void *data, size_t size);
/* The file's bytes into buf; fails the test when it is not there or does not fit. */
size_t golden_load(const char *name, void *buf, size_t size);

#endif
