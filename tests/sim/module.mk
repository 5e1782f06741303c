# SPDX-License-Identifier: GPL-2.0-or-later
# The simulator: both sides, network and hypervisor in one process.  The first
# file has main(), which takes --seeds=N and --seed=N.

TEST_PROGRAMS += sim
sim_SRCS :=
sim_ARCHIVES := testlib core lib
