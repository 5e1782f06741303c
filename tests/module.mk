# SPDX-License-Identifier: GPL-2.0-or-later
# What all kinds of tests share.  testlib: fakes and fault injectors of tests/lib.

ARCHIVES += testlib
testlib_PKGS := libnl-3.0 libnl-genl-3.0
testlib_SRCS := \
	tests/lib/block_crash.c \
	tests/lib/block_rec.c \
	tests/lib/block_world.c \
	tests/lib/core_bed.c \
	tests/lib/disk_bed.c \
	tests/lib/fake_disk.c \
	tests/lib/fake_guest.c \
	tests/lib/fake_nbd.c \
	tests/lib/golden.c \
	tests/lib/journal_rig.c \
	tests/lib/loopback.c \
	tests/lib/mem_disk.c \
	tests/lib/pki.c \
	tests/lib/samples.c \
	tests/lib/tool_run.c

# Every shell script of the tree, for shellcheck.
SHELL_SCRIPTS += \
	.ci/run \
	tests/check-arbiters \
	tests/check-block-script \
	tests/check-figures \
	tests/check-vif-script \
	tests/check-complete \
	tests/check-docs \
	tests/check-host \
	tests/check-layering \
	tests/check-layering-test \
	tests/disk-pair \
	tests/dist-check \
	tests/install-deps \
	tests/nbd-clients \
	tests/module-kernels \
	tests/run \
	tests/run-test

# --help, man pages and completion say the same.
CHECKS += docs=tests/check-docs~$(B)/bin

# The real romulusd and romulus with scripts for workers.
CHECKS += host=tests/check-host~$(B)/bin

# The real arbiters, killed while two hosts race for terms.
CHECKS += arbiters=tests/check-arbiters~$(B)/bin
TEST_PROGRAMS += arbiter_race
arbiter_race_SRCS := tests/arbiter_race.c
arbiter_race_ARCHIVES := arbiter lib

# What libxl runs to give a guest its disk.
CHECKS += block-script=tests/check-block-script
CHECKS += vif-script=tests/check-vif-script

# What the lab's scripts compute.
CHECKS += figures=tests/check-figures

# A disk server under NBD clients that nobody here wrote.
CHECKS += nbd-clients=tests/nbd-clients~$(B)/bin
TEST_PROGRAMS += nbd_client
nbd_client_SRCS := tests/nbd_client.c
nbd_client_PKGS := libnbd

# Two of them, the workers between, and a guest: what the backup has is what was committed.
CHECKS += disk-pair=tests/disk-pair~$(B)/bin
TEST_PROGRAMS += disk_pair
disk_pair_SRCS := tests/disk_pair.c
disk_pair_ARCHIVES := disk lib
disk_pair_PKGS := libnbd liblz4

# The short set of lab scenarios; it closes with "N passed, N failed".
CHECKS += $(if $(wildcard tests/lab/check),lab=tests/lab/check)
# There and back with a database on a protected disk.
CHECKS += $(if $(wildcard tests/lab/disk-failovers),lab-disk=tests/lab/disk-failovers~2)

# tests/lab/mkimage compiles these into its images.
OTHER_C_FILES += $(wildcard tests/lab/*/*.c)

# tests/module-kernels has a kernel's make compile it, with parts of guest/.
KERNEL_C_FILES += tests/module_probe.c
