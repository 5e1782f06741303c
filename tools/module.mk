# SPDX-License-Identifier: GPL-2.0-or-later
# romulus: one binary, one file per subcommand.  tools/main.c has the table;
# everything else goes into the archive, so that unit tests can link it.

ARCHIVES += tools
tools_PKGS :=
tools_SRCS := \
	tools/bench_report.c \
	tools/bench_stats.c \
	tools/cert.c \
	tools/collect.c \
	tools/doctor.c \
	tools/doctor_ask.c \
	tools/doctor_cpu.c \
	tools/doctor_judge.c \
	tools/doctor_vm.c \
	tools/events.c \
	tools/drill.c \
	tools/failover.c \
	tools/flight.c \
	tools/latency_plot.c \
	tools/protect.c \
	tools/status.c \
	tools/surrender.c \
	tools/suspend_bench.c \
	tools/switchover.c \
	tools/tool.c \
	tools/tool_args.c \
	tools/unprotect.c \
	tools/verify.c \
	tools/writer.c

SBIN_PROGRAMS += romulus
romulus_SRCS := tools/main.c
romulus_ARCHIVES := tools lib
