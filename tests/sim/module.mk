# SPDX-License-Identifier: GPL-2.0-or-later
# The simulator: both sides, network and hypervisor in one process.
# simlib: the world; sim: the program; sim-mutants: the same world around cores
# with one rule broken, to prove that the oracle sees it.

ARCHIVES += simlib
simlib_PKGS :=
simlib_SRCS := \
	tests/sim/arbiter.c \
	tests/sim/backup_side.c \
	tests/sim/disks_a.c \
	tests/sim/disks_b.c \
	tests/sim/drill_disk.c \
	tests/sim/drill_process.c \
	tests/sim/drill_worker.c \
	tests/sim/event.c \
	tests/sim/faults.c \
	tests/sim/guest.c \
	tests/sim/net.c \
	tests/sim/oracle.c \
	tests/sim/oracle_disks.c \
	tests/sim/oracle_drill.c \
	tests/sim/oracle_vote.c \
	tests/sim/primary_side.c \
	tests/sim/run.c \
	tests/sim/scenario.c \
	tests/sim/scenario_drill.c \
	tests/sim/twin.c

TEST_PROGRAMS += sim
sim_SRCS := tests/sim/main.c tests/sim/drill_fakes.c
sim_ARCHIVES := simlib core replicator disk lib

TEST_PROGRAMS += sim-mutants
sim-mutants_SRCS := tests/sim/mutants_main.c tests/sim/mutant_backup.c \
	tests/sim/mutant_drill.c tests/sim/mutant_drill_guard.c tests/sim/mutant_primary.c
sim-mutants_ARCHIVES := simlib core replicator disk lib

CHECKS += sim-scenarios=$(B)/bin/sim~--scenario~all \
	sim-aimed=$(B)/bin/sim~--aimed~--seeds~50000 \
	sim-regressions=$(B)/bin/sim~--file~tests/sim/regressions \
	sim-mutants=$(B)/bin/sim-mutants
