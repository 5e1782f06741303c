/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every unit test includes first: cmocka with the headers that it wants
 * before it.
 */
#ifndef TESTS_LIB_TEST_H
#define TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/compiler.h"

/* Runs the group of tests of main(); the name is the module's. */
#define RUN_TESTS(name, tests) cmocka_run_group_tests_name(name, tests, NULL, NULL)

#endif
