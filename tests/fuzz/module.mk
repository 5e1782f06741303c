# SPDX-License-Identifier: GPL-2.0-or-later
# One target per decoder; seeds for fuzz_foo lie in tests/fuzz/corpus/fuzz_foo/.

FUZZ_TARGETS += \
	tests/fuzz/fuzz_conf.c \
	tests/fuzz/fuzz_ctl.c \
	tests/fuzz/fuzz_doctor.c \
	tests/fuzz/fuzz_etcd.c \
	tests/fuzz/fuzz_flight.c \
	tests/fuzz/fuzz_drill.c \
	tests/fuzz/fuzz_frame.c \
	tests/fuzz/fuzz_heartbeat.c \
	tests/fuzz/fuzz_journal.c \
	tests/fuzz/fuzz_json.c \
	tests/fuzz/fuzz_nbd.c \
	tests/fuzz/fuzz_page_codec.c \
	tests/fuzz/fuzz_vm_state.c \
	tests/fuzz/fuzz_vote_line.c \
	tests/fuzz/fuzz_wire.c \
	tests/fuzz/fuzz_witness.c
