# SPDX-License-Identifier: GPL-2.0-or-later
# The two sides.  core: the files that decide, pure.  xen: the only files that
# see Xen's headers.  replicator: the rest, without the mains.

ARCHIVES += core xen replicator

core_SRCS := \
	replicator/backup.c \
	replicator/backup_commit.c \
	replicator/backup_vote.c \
	replicator/core_names.c \
	replicator/drill_round.c \
	replicator/drill_rule.c \
	replicator/epoch.c \
	replicator/liveness.c \
	replicator/primary.c \
	replicator/primary_disks.c \
	replicator/primary_switchover.c \
	replicator/primary_vote.c \
	replicator/throttle.c

xen_PKGS := xencall xencontrol xenguest xenevtchn xenforeignmemory xenstore xenlight \
	xentoollog
xen_SRCS := \
	replicator/suspend_claim.c \
	replicator/suspend_offer.c \
	replicator/xen_bench.c \
	replicator/xen_call.c \
	replicator/xen_cap.c \
	replicator/xen_channel.c \
	replicator/xen_domain.c \
	replicator/xen_facts.c \
	replicator/xen_drill.c \
	replicator/xen_look.c \
	replicator/xen_memory.c \
	replicator/xen_state.c \
	replicator/xen_store.c \
	replicator/xen_suspend.c \
	replicator/xen_toolstack.c \
	replicator/xen_watch.c \
	replicator/xen_libxl.c \
	replicator/xen_libxl_disks.c \
	replicator/xen_libxl_life.c \
	replicator/xen_libxl_restore.c

replicator_PKGS := liblz4 libsystemd
replicator_SRCS := \
	replicator/announce.c \
	replicator/apply.c \
	replicator/arena.c \
	replicator/bench_order.c \
	replicator/bench_signals.c \
	replicator/checkpoint.c \
	replicator/backup_ctl.c \
	replicator/backup_data.c \
	replicator/backup_data_disks.c \
	replicator/backup_data_epochs.c \
	replicator/backup_data_frames.c \
	replicator/backup_data_say.c \
	replicator/backup_facts_shell.c \
	replicator/backup_drill_shell.c \
	replicator/backup_shell.c \
	replicator/backup_welcome_shell.c \
	replicator/config_fd.c \
	replicator/dirty.c \
	replicator/drill_copy.c \
	replicator/drill_disks.c \
	replicator/drill_feed.c \
	replicator/drill_keep.c \
	replicator/drill_life.c \
	replicator/drill_ping.c \
	replicator/drill_probe.c \
	replicator/drill_report.c \
	replicator/drill_rest_shell.c \
	replicator/drill_request.c \
	replicator/drill_share.c \
	replicator/drill_shell.c \
	replicator/primary_drill.c \
	replicator/disk_launch.c \
	replicator/disk_link.c \
	replicator/disk_list.c \
	replicator/disk_shell.c \
	replicator/facts.c \
	replicator/first_copy.c \
	replicator/hb_shell.c \
	replicator/primary_ctl.c \
	replicator/primary_data.c \
	replicator/primary_data_copy.c \
	replicator/primary_data_disks.c \
	replicator/primary_data_epochs.c \
	replicator/primary_data_health.c \
	replicator/primary_data_session.c \
	replicator/primary_ports.c \
	replicator/backup_ports.c \
	replicator/disk_status.c \
	replicator/primary_link.c \
	replicator/primary_actions_shell.c \
	replicator/primary_notes_shell.c \
	replicator/primary_shell.c \
	replicator/primary_switchover_shell.c \
	replicator/primary_verify.c \
	replicator/host_ctl.c \
	replicator/host_reprotect.c \
	replicator/launch.c \
	replicator/reprotect.c \
	replicator/standby.c \
	replicator/story.c \
	replicator/supervisor.c \
	replicator/vm_state.c \
	replicator/vote_ask_shell.c \
	replicator/vote_line.c \
	replicator/vote_shell.c \
	replicator/worker.c \
	replicator/xc_stream.c \
	replicator/xen_version.c \
	replicator/heartbeat.c \
	replicator/page_codec.c

SBIN_PROGRAMS += romulusd
romulusd_SRCS := replicator/romulusd_main.c
romulusd_ARCHIVES := replicator core lib
romulusd_PKGS := libsystemd

LIBEXEC_PROGRAMS += romulus-primary romulus-backup
romulus-primary_SRCS := replicator/primary_main.c
romulus-primary_ARCHIVES := replicator core xen netbuffer disk lib
romulus-primary_PKGS := libsystemd

romulus-backup_SRCS := replicator/backup_main.c
romulus-backup_ARCHIVES := replicator core xen netbuffer disk lib
romulus-backup_PKGS := libsystemd

# The only program that links libxenlight: libxl wants a process of its own.
LIBEXEC_PROGRAMS += romulus-domain
romulus-domain_SRCS := replicator/domain_main.c
romulus-domain_ARCHIVES := xen replicator lib

# Measures how long a guest takes to be suspended; no part of protection.
LIBEXEC_PROGRAMS += romulus-suspend-bench
romulus-suspend-bench_SRCS := replicator/suspend_bench_main.c
romulus-suspend-bench_ARCHIVES := replicator xen lib

# What romulus doctor has to know of this host; also run for a peer that asks.
LIBEXEC_PROGRAMS += romulus-facts
romulus-facts_SRCS := replicator/facts_main.c
romulus-facts_ARCHIVES := xen replicator core lib
# A copy of a standby, tried and thrown away.
LIBEXEC_PROGRAMS += romulus-drill
romulus-drill_SRCS := replicator/drill_main.c
romulus-drill_ARCHIVES := replicator core xen netbuffer lib
