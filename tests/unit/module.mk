# SPDX-License-Identifier: GPL-2.0-or-later
# One program per module.  test_foo_LDFLAGS := -Wl,--wrap=read where a test
# stands in for the system.

UNIT_TESTS += \
	tests/unit/test_addr.c \
	tests/unit/test_announce.c \
	tests/unit/test_apply.c \
	tests/unit/test_arena.c \
	tests/unit/test_backup.c \
	tests/unit/test_backup_vote.c \
	tests/unit/test_backup_welcome.c \
	tests/unit/test_backup_worker.c \
	tests/unit/test_ballot.c \
	tests/unit/test_blk_io.c \
	tests/unit/test_block_server.c \
	tests/unit/test_block_session.c \
	tests/unit/test_bench_signals.c \
	tests/unit/test_cert.c \
	tests/unit/test_child.c \
	tests/unit/test_checkpoint.c \
	tests/unit/test_cleanup.c \
	tests/unit/test_coalesce.c \
	tests/unit/test_compiler.c \
	tests/unit/test_conf.c \
	tests/unit/test_conf_arbiter.c \
	tests/unit/test_conf_docs.c \
	tests/unit/test_conn.c \
	tests/unit/test_copier.c \
	tests/unit/test_copier_sim.c \
	tests/unit/test_ctl.c \
	tests/unit/test_digest.c \
	tests/unit/test_disk_format.c \
	tests/unit/test_disk_list.c \
	tests/unit/test_disk_launch.c \
	tests/unit/test_disk_port.c \
	tests/unit/test_disk_ports.c \
	tests/unit/test_disk_roles.c \
	tests/unit/test_disk_state.c \
	tests/unit/test_disk_workers.c \
	tests/unit/test_dirty.c \
	tests/unit/test_doctor.c \
	tests/unit/test_doctor_cmd.c \
	tests/unit/test_drill_copy.c \
	tests/unit/test_drill_disks.c \
	tests/unit/test_drill_feed.c \
	tests/unit/test_drill_guard.c \
	tests/unit/test_drill_life.c \
	tests/unit/test_drill_overlay.c \
	tests/unit/test_drill_ping.c \
	tests/unit/test_drill_probe.c \
	tests/unit/test_drill_request.c \
	tests/unit/test_drill_round.c \
	tests/unit/test_drill_rule.c \
	tests/unit/test_drill_shell.c \
	tests/unit/test_drill_way.c \
	tests/unit/test_dirty_map.c \
	tests/unit/test_disk_barrier.c \
	tests/unit/test_epoch.c \
	tests/unit/test_epoch_log.c \
	tests/unit/test_epoch_word.c \
	tests/unit/test_etcd_json.c \
	tests/unit/test_err.c \
	tests/unit/test_event.c \
	tests/unit/test_events_cmd.c \
	tests/unit/test_fake_guest.c \
	tests/unit/test_fence.c \
	tests/unit/test_file_store.c \
	tests/unit/test_flight.c \
	tests/unit/test_frame.c \
	tests/unit/test_generation.c \
	tests/unit/test_generation_sim.c \
	tests/unit/test_heartbeat.c \
	tests/unit/test_host_ctl.c \
	tests/unit/test_journal.c \
	tests/unit/test_journal_faults.c \
	tests/unit/test_journal_fmt.c \
	tests/unit/test_intent_log.c \
	tests/unit/test_json.c \
	tests/unit/test_kernel_shell.c \
	tests/unit/test_liveness.c \
	tests/unit/test_log.c \
	tests/unit/test_mem.c \
	tests/unit/test_names.c \
	tests/unit/test_nbd_device.c \
	tests/unit/test_nbd_hello.c \
	tests/unit/test_nbd_wire.c \
	tests/unit/test_netbuf.c \
	tests/unit/test_page_codec.c \
	tests/unit/test_persist.c \
	tests/unit/test_port_conn.c \
	tests/unit/test_primary.c \
	tests/unit/test_primary_shell.c \
	tests/unit/test_primary_switchover.c \
	tests/unit/test_primary_vote.c \
	tests/unit/test_queue.c \
	tests/unit/test_range_lock.c \
	tests/unit/test_rd.c \
	tests/unit/test_reprotect.c \
	tests/unit/test_sm.c \
	tests/unit/test_spawn.c \
	tests/unit/test_standby.c \
	tests/unit/test_stats.c \
	tests/unit/test_story.c \
	tests/unit/test_supervisor.c \
	tests/unit/test_suspend_bench.c \
	tests/unit/test_suspend_bench_cmd.c \
	tests/unit/test_suspend_claim.c \
	tests/unit/test_suspend_offer.c \
	tests/unit/test_throttle.c \
	tests/unit/test_timing.c \
	tests/unit/test_tls.c \
	tests/unit/test_tools.c \
	tests/unit/test_tracker.c \
	tests/unit/test_two_owners.c \
	tests/unit/test_vm_state.c \
	tests/unit/test_vote_ask_shell.c \
	tests/unit/test_vote_line.c \
	tests/unit/test_witness_server.c \
	tests/unit/test_witness_store.c \
	tests/unit/test_witness_wire.c \
	tests/unit/test_wire_order.c \
	tests/unit/test_wire_v1.c \
	tests/unit/test_wr.c \
	tests/unit/test_xc_stream.c \
	tests/unit/test_xen_suspend.c

test_conn_LDFLAGS := -Wl,--wrap=tls_write,--wrap=tls_free
test_announce_LDFLAGS := -Wl,--wrap=socket,--wrap=if_nametoindex,--wrap=sendto
test_backup_worker_LDFLAGS := -Wl,--wrap=backup_shell_welcome,--wrap=standby_start \
	-Wl,--wrap=xen_version,--wrap=clock_gettime,--wrap=apply_free,--wrap=page_dec_free
test_drill_life_LDFLAGS := -Wl,--wrap=xen_drill_find,--wrap=xen_drill_read,--wrap=xen_drill_look \
	-Wl,--wrap=xen_drill_free_kib,--wrap=xen_drill_console,--wrap=xen_version \
	-Wl,--wrap=drill_probe_listen,--wrap=drill_probe_answer
test_drill_copy_LDFLAGS := -Wl,--wrap=drill_share_take
test_drill_shell_LDFLAGS := -Wl,--wrap=syscall
test_drill_overlay_LDFLAGS := -Wl,--wrap=fstatvfs
test_blk_io_LDFLAGS := -Wl,--wrap=preadv2,--wrap=pwritev2,--wrap=fallocate,--wrap=fdatasync
test_flight_LDFLAGS := -Wl,--wrap=posix_fallocate
test_event_LDFLAGS := -Wl,--wrap=write
test_file_store_LDFLAGS := -Wl,--wrap=fallocate,--wrap=pwritev
test_disk_format_LDFLAGS := -Wl,--wrap=blk_open_wait
test_disk_roles_LDFLAGS := -Wl,--wrap=blk_open_wait
test_disk_state_LDFLAGS := -Wl,--wrap=blk_open_wait
test_disk_ports_LDFLAGS := -Wl,--wrap=conn_send,--wrap=conn_begin,--wrap=conn_end,--wrap=conn_flush
test_disk_workers_LDFLAGS := -Wl,--wrap=backup_shell_welcome,--wrap=standby_start \
	-Wl,--wrap=xen_version,--wrap=spawn_check
test_disk_workers_PKGS := libnbd
test_log_LDFLAGS := -Wl,--wrap=clock_gettime
# tests/lib/fake_nbd.c stands in for libnl.
FAKE_NBD_LDFLAGS := -Wl,--wrap=genl_connect,--wrap=genl_ctrl_resolve,--wrap=genl_ctrl_resolve_grp \
	-Wl,--wrap=nl_socket_get_fd,--wrap=nl_socket_set_nonblocking,--wrap=nl_socket_add_membership \
	-Wl,--wrap=nl_send_auto,--wrap=nl_recvmsgs,--wrap=nl_cb_set,--wrap=nl_cb_err
test_nbd_device_PKGS := libnl-3.0 libnl-genl-3.0
test_nbd_device_LDFLAGS := $(FAKE_NBD_LDFLAGS)
test_kernel_shell_PKGS := libnl-3.0 libnl-genl-3.0 libsystemd
test_kernel_shell_LDFLAGS := $(FAKE_NBD_LDFLAGS)
test_persist_LDFLAGS := -Wl,--wrap=fsync,--wrap=rename,--wrap=fchmod,--wrap=write

test_witness_store_LDFLAGS := -Wl,--wrap=open,--wrap=write,--wrap=fsync,--wrap=fchmod \
	-Wl,--wrap=close,--wrap=rename,--wrap=unlink

test_xen_suspend_LDFLAGS := -Wl,--wrap=clock_gettime,--wrap=clock_nanosleep,--wrap=ppoll \
	-Wl,--wrap=xencall1,--wrap=xencall2,--wrap=xenevtchn_open,--wrap=xenevtchn_close \
	-Wl,--wrap=xenevtchn_fd,--wrap=xenevtchn_pending \
	-Wl,--wrap=xenevtchn_unmask,--wrap=xenevtchn_unbind \
	-Wl,--wrap=xenevtchn_bind_interdomain,--wrap=xc_suspend_evtchn_init_sane \
	-Wl,--wrap=xc_suspend_evtchn_release,--wrap=xc_evtchn_status,--wrap=xs_read \
	-Wl,--wrap=xs_write,--wrap=xs_transaction_start,--wrap=xs_transaction_end

# valgrind 3.19 does not know pidfd_open.
VALGRIND_CANNOT := test_spawn test_suspend_bench_cmd
