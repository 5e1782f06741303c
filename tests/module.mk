# SPDX-License-Identifier: GPL-2.0-or-later
# What all kinds of tests share.  testlib: fakes and fault injectors of tests/lib.

ARCHIVES += testlib
testlib_PKGS :=
testlib_SRCS := \
	tests/lib/fake_guest.c \
	tests/lib/golden.c \
	tests/lib/loopback.c \
	tests/lib/pki.c \
	tests/lib/samples.c \
	tests/lib/tool_run.c

# Every shell script of the tree, for shellcheck.
SHELL_SCRIPTS += \
	.ci/run \
	tests/check-complete \
	tests/check-docs \
	tests/check-host \
	tests/check-layering \
	tests/check-layering-test \
	tests/dist-check \
	tests/install-deps \
	tests/module-kernels \
	tests/run \
	tests/run-test

# --help, man pages and completion say the same.
CHECKS += docs=tests/check-docs~$(B)/bin

# The real romulusd and romulus with scripts for workers.
CHECKS += host=tests/check-host~$(B)/bin

# The short set of lab scenarios; it closes with "N passed, N failed".
CHECKS += $(if $(wildcard tests/lab/check),lab=tests/lab/check)

# tests/lab/mkimage compiles these into its images.
OTHER_C_FILES += $(wildcard tests/lab/*/*.c)

# tests/module-kernels has a kernel's make compile it, with parts of guest/.
KERNEL_C_FILES += tests/module_probe.c
