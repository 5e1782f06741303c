# SPDX-License-Identifier: GPL-2.0-or-later
# One program per module.  test_foo_LDFLAGS := -Wl,--wrap=read where a test
# stands in for the system.

UNIT_TESTS += \
	tests/unit/test_addr.c \
	tests/unit/test_announce.c \
	tests/unit/test_apply.c \
	tests/unit/test_arena.c \
	tests/unit/test_backup.c \
	tests/unit/test_backup_welcome.c \
	tests/unit/test_backup_worker.c \
	tests/unit/test_bench_signals.c \
	tests/unit/test_cert.c \
	tests/unit/test_checkpoint.c \
	tests/unit/test_cleanup.c \
	tests/unit/test_compiler.c \
	tests/unit/test_conf.c \
	tests/unit/test_conf_docs.c \
	tests/unit/test_conn.c \
	tests/unit/test_ctl.c \
	tests/unit/test_digest.c \
	tests/unit/test_dirty.c \
	tests/unit/test_epoch.c \
	tests/unit/test_err.c \
	tests/unit/test_fake_guest.c \
	tests/unit/test_frame.c \
	tests/unit/test_heartbeat.c \
	tests/unit/test_host_ctl.c \
	tests/unit/test_json.c \
	tests/unit/test_liveness.c \
	tests/unit/test_log.c \
	tests/unit/test_mem.c \
	tests/unit/test_names.c \
	tests/unit/test_netbuf.c \
	tests/unit/test_page_codec.c \
	tests/unit/test_persist.c \
	tests/unit/test_primary.c \
	tests/unit/test_primary_shell.c \
	tests/unit/test_queue.c \
	tests/unit/test_rd.c \
	tests/unit/test_sm.c \
	tests/unit/test_spawn.c \
	tests/unit/test_standby.c \
	tests/unit/test_stats.c \
	tests/unit/test_supervisor.c \
	tests/unit/test_suspend_bench.c \
	tests/unit/test_suspend_bench_cmd.c \
	tests/unit/test_suspend_claim.c \
	tests/unit/test_suspend_offer.c \
	tests/unit/test_throttle.c \
	tests/unit/test_timing.c \
	tests/unit/test_tls.c \
	tests/unit/test_tools.c \
	tests/unit/test_vm_state.c \
	tests/unit/test_wire_order.c \
	tests/unit/test_wire_v1.c \
	tests/unit/test_wr.c \
	tests/unit/test_xc_stream.c \
	tests/unit/test_xen_suspend.c

test_conn_LDFLAGS := -Wl,--wrap=tls_write
test_announce_LDFLAGS := -Wl,--wrap=socket,--wrap=if_nametoindex,--wrap=sendto
test_backup_worker_LDFLAGS := -Wl,--wrap=backup_shell_welcome,--wrap=standby_start \
	-Wl,--wrap=xen_version,--wrap=clock_gettime,--wrap=apply_free,--wrap=page_dec_free
test_log_LDFLAGS := -Wl,--wrap=clock_gettime
test_persist_LDFLAGS := -Wl,--wrap=fsync,--wrap=rename,--wrap=fchmod,--wrap=write

test_xen_suspend_LDFLAGS := -Wl,--wrap=clock_gettime,--wrap=clock_nanosleep,--wrap=ppoll \
	-Wl,--wrap=xencall1,--wrap=xencall2,--wrap=xenevtchn_open,--wrap=xenevtchn_close \
	-Wl,--wrap=xenevtchn_fd,--wrap=xenevtchn_notify,--wrap=xenevtchn_pending \
	-Wl,--wrap=xenevtchn_unmask,--wrap=xenevtchn_unbind \
	-Wl,--wrap=xenevtchn_bind_interdomain,--wrap=xc_suspend_evtchn_init_sane \
	-Wl,--wrap=xc_suspend_evtchn_release,--wrap=xc_evtchn_status,--wrap=xs_read \
	-Wl,--wrap=xs_write,--wrap=xs_transaction_start,--wrap=xs_transaction_end

# valgrind 3.19 does not know pidfd_open.
VALGRIND_CANNOT := test_spawn test_suspend_bench_cmd
