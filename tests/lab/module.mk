# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: real Xen hosts under emulation.

SHELL_SCRIPTS += \
	tests/lab/fetch \
	tests/lab/mkimage \
	tests/lab/lab \
	tests/lab/self-test \
	tests/lab/leak \
	tests/lab/common.sh \
	tests/lab/lib.sh \
	tests/lab/image/dom0/etc/rc \
	tests/lab/image/dom0/etc/xen/scripts/vif-lab \
	tests/lab/image/guest/etc/rc

# Runs in a dom0: output commit on a veth pair.
TEST_PROGRAMS += leak_test
leak_test_SRCS := tests/lab/leak_test.c tests/lab/leak_rig.c
leak_test_ARCHIVES := netbuffer lib
