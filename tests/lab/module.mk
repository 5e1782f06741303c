# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: real Xen hosts under emulation.

SHELL_SCRIPTS += \
	tests/lab/fetch \
	tests/lab/mkimage \
	tests/lab/debug-kernel \
	tests/lab/engine \
	tests/lab/pause-trace \
	tests/lab/lab \
	tests/lab/self-test \
	tests/lab/standby \
	tests/lab/leak \
	tests/lab/demo \
	tests/lab/failovers \
	tests/lab/check \
	tests/lab/check-long \
	tests/lab/soak \
	tests/lab/bench-peer \
	tests/lab/bench-ktls \
	tests/lab/bench-suspend \
	tests/lab/guest-module \
	tests/lab/module-failovers \
	tests/lab/module-host \
	tests/lab/disk-failovers \
	tests/lab/switchover \
	tests/lab/story \
	tests/lab/disk-faults \
	tests/lab/disk-resync \
	tests/lab/bench-disk \
	tests/lab/disk.sh \
	tests/lab/disk_scene.sh \
	tests/lab/disk_faults.sh \
	tests/lab/split \
	tests/lab/split_scene.sh \
	tests/lab/split_faults.sh \
	tests/lab/witness.sh \
	tests/lab/drill \
	tests/lab/xstate \
	tests/lab/module.sh \
	tests/lab/romulus.sh \
	tests/lab/scene.sh \
	tests/lab/faults.sh \
	tests/lab/ends.sh \
	tests/lab/peers.sh \
	tests/lab/common.sh \
	tests/lab/lib.sh \
	tests/lab/dom0/kill-workers \
	tests/lab/dom0/bench-signal \
	tests/lab/image/dom0/etc/rc \
	tests/lab/image/dom0/etc/xen/scripts/vif-lab \
	tests/lab/image/dom0/etc/xen/scripts/block-lab \
	tests/lab/image/guest/etc/fio-verify \
	tests/lab/image/guest/etc/start-redis \
	tests/lab/image/guest/etc/rc

# Runs in a dom0: output commit on a veth pair.
TEST_PROGRAMS += leak_test
leak_test_SRCS := tests/lab/leak_test.c tests/lab/leak_rig.c
leak_test_ARCHIVES := netbuffer lib

# Says what a bad peer says.
TEST_PROGRAMS += bad_frames
bad_frames_SRCS := tests/lab/bad_frames.c
bad_frames_ARCHIVES := lib

# The page engine on a real guest, without a link.
TEST_PROGRAMS += engine_probe
engine_probe_SRCS := tests/lab/engine_probe.c
engine_probe_ARCHIVES := xen replicator lib
engine_probe_PKGS := xencontrol

# The backup's way to a running guest, from a file of xl save.
TEST_PROGRAMS += stream_replay
stream_replay_SRCS := tests/lab/stream_replay.c
stream_replay_ARCHIVES := replicator lib
