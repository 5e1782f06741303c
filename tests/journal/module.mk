# SPDX-License-Identifier: GPL-2.0-or-later
# The journal under loss of power at every instant.  journal-mutants: the same around journals with one
# rule broken, to prove that it would be seen.

ARCHIVES += journallib
journallib_PKGS :=
journallib_SRCS := \
	tests/journal/life.c \
	tests/journal/oracle.c \
	tests/journal/trial.c

TEST_PROGRAMS += journal-prefixes
journal-prefixes_SRCS := tests/journal/prefixes_main.c
journal-prefixes_ARCHIVES := journallib testlib disk lib

CHECKS += journal-prefixes=$(B)/bin/journal-prefixes~--prefixes~10000

TEST_PROGRAMS += journal-mutants
journal-mutants_SRCS := tests/journal/mutants_main.c \
	tests/journal/mutant_coalesce.c \
	tests/journal/mutant_journal.c \
	tests/journal/mutant_apply.c \
	tests/journal/mutant_change.c \
	tests/journal/mutant_fmt.c \
	tests/journal/mutant_recover.c \
	tests/journal/mutant_ring.c \
	tests/journal/mutant_sb.c
journal-mutants_ARCHIVES := journallib testlib disk lib

CHECKS += journal-mutants=$(B)/bin/journal-mutants
