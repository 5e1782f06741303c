# SPDX-License-Identifier: GPL-2.0-or-later
# One program per module.  test_foo_LDFLAGS := -Wl,--wrap=read where a test
# stands in for the system.

UNIT_TESTS += \
	tests/unit/test_mem.c
