# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: real Xen hosts under emulation.

SHELL_SCRIPTS += \
	tests/lab/fetch \
	tests/lab/mkimage \
	tests/lab/lab \
	tests/lab/self-test \
	tests/lab/common.sh \
	tests/lab/lib.sh \
	tests/lab/image/dom0/etc/rc \
	tests/lab/image/dom0/etc/xen/scripts/vif-lab \
	tests/lab/image/guest/etc/rc
