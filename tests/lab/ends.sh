# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016
#
# Scenarios in which protection ends, begins where it cannot, or must leave something alone. Sourced after scene.sh.

no_worker() { lab run "$1" "! pidof romulus-primary romulus-backup"; }
# The guest of $P ended in some way: protection ends with it, everywhere.
ended_everywhere() {
	expect "protection ends" wait_for 90 no_worker "$P"
	expect "the state says that it is not protected" test "$(rom_exit "$P" g1)" = 4
	expect "the backup keeps no standby" wait_for 60 nothing_at "$S"
	expect "nothing is left at the primary" left_nothing "$P"
}
rom_exit() { rom "$1" status "$2" >/dev/null 2>&1; echo $?; }
left_nothing() { # host: of what only protection makes
	local t
	# There is always something, or nobody answered.
	t=$(traces "$1") && [ -n "$t" ] || return 1
	t=$(grep -E '^rm|qdisc plug|/sys/fs/bpf/romulus/|/run/romulus/.*(primary|backup)|qdisc ingress' <<<"$t")
	[ -z "$t" ] || { echo "$t"; return 1; }
}
no_domain() { lab run "$1" "! xl domid $2"; }

guest_powers_off() {
	ready backup-wins || return
	lab guest-run g1 'poweroff -f </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	expect "the guest is gone" wait_for 60 no_domain "$P" g1
}
domid_is_not() { local d; d=$(lab run "$1" "xl domid $2") && [ "$d" != "$3" ]; }
guest_reboots() {
	local domid
	ready backup-wins || return
	domid=$(lab run "$P" 'xl domid g1')
	lab guest-run g1 'reboot -f </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	expect "the guest boots again" wait_for 60 domid_is_not "$P" g1 "$domid"
	expect "and answers" wait_for 90 redis_ping "$G1"
}
guest_crashes() {
	ready backup-wins || return
	lab guest-run g1 '(sleep 0.2; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	# on_crash is "preserve" in g1.cfg.
	expect "the crashed guest is kept to be looked at" lab run "$P" 'xl list g1 | grep -q -- "--sc-"'
	lab guest-down "$P" g1
}
guest_is_destroyed() {
	ready backup-wins || return
	expect "somebody destroys it" lab run "$P" xl destroy g1
	ended_everywhere
}
guest_is_saved() {
	ready backup-wins || return
	expect "somebody saves it" lab run "$P" timeout 120 xl save g1 /tmp/g1.save
	ended_everywhere
	expect "what was saved can be restored" lab run "$P" 'xl restore /tmp/g1.save && rm /tmp/g1.save'
	expect "and answers" wait_for 60 redis_ping "$G1"
}

unprotect_leaves_nothing() {
	local domid
	ready '' || return
	expect "the client is served" client_start client || return
	domid=$(lab run "$P" 'xl domid g1')
	expect "nothing is left of the scenario before" wait_for 60 nothing_at "$S" || return
	traces "$P" >"$LAB_OUT/traces-$P-before"
	traces "$S" >"$LAB_OUT/traces-$S-before"
	expect "it is protected" rom_protect "$P" g1 backup-wins || return
	traces "$P" >"$LAB_OUT/traces-$P-during"
	expect_not "which can be seen" cmp -s "$LAB_OUT/traces-$P-before" "$LAB_OUT/traces-$P-during"
	expect "by Xen too" logdirty_at "$P" "$domid"
	expect "unprotect" rom "$P" unprotect g1
	expect "the client is served still" client_still_flows client
	expect "the backup keeps no standby" wait_for 60 nothing_at "$S"
	traces "$P" >"$LAB_OUT/traces-$P-after"
	traces "$S" >"$LAB_OUT/traces-$S-after"
	expect "the primary is as before" diff "$LAB_OUT/traces-$P-before" "$LAB_OUT/traces-$P-after"
	expect "and the backup" diff "$LAB_OUT/traces-$S-before" "$LAB_OUT/traces-$S-after"
	expect_not "Xen keeps no log of writes" logdirty_at "$P" "$domid"
	client_done client
}

# A second VM beside g1, with AVX. Stock resume would lose the upper halves of its registers now and then.
avx_kept() {
	local first last
	# Two guests and their standbys on this machine's cores: a host may be late without being dead.
	ready backup-wins --failure-timeout 15s || return
	expect "a guest with AVX starts" lab guest-up "$P" g3 || return
	expect "it is protected beside g1" rom_protect "$P" g3 backup-wins --failure-timeout 15s || return
	first=$(rom_get "$P" g3 .epoch) last=$first
	while [ $((last - first)) -lt 200 ]; do
		expect "its registers are whole after $((last - first)) checkpoints" lab guest-run g3 ymmhold 10 || break
		last=$(rom_get "$P" g3 '.epoch // 0')
		[ "$last" -gt "$first" ] || { fail "$SC: checkpoints go on"; break; }
	done
	expect "g1 is protected all the while" rom_protected "$P" g1
	expect "the AVX guest is unprotected" rom "$P" unprotect g3
	lab guest-down "$P" g3
}

refuses() { # sentence to be found, words of protect...
	local text rc
	text=$(rom "$P" protect "${@:2}" 2>&1)
	rc=$?
	echo "status $rc: $text"
	[ $rc != 0 ] && grep -qi -- "$1" <<<"$text"
}
refused_clearly() {
	local peer
	ready '' || return
	peer=$(host_name "$S")
	expect "a VM that is not there" refuses 'nosuch.*no\(t\| \)' nosuch --to "$peer" --on-peer-loss hold
	expect "a host that is no peer" refuses 'hostX.*not in the list' g1 --to hostX --on-peer-loss hold
	expect "no policy" refuses 'on-peer-loss' g1 --to "$peer"
	lab run "$P" 'printf "%s\n" "name=\"pv1\"" "type=\"pv\"" "kernel=\"/boot/vmlinux\"" "ramdisk=\"/boot/guest.cpio\"" "memory=128" >/tmp/pv1.cfg
		xl create -q -p /tmp/pv1.cfg' >"$LAB_OUT/pv.log" 2>&1 || fail "$SC: a PV guest starts" "$(tail -n 1 "$LAB_OUT/pv.log")"
	expect "a PV guest" refuses 'PV' pv1 --to "$peer" --on-peer-loss hold
	lab run "$P" 'xl destroy pv1; romulus forget pv1; romulus forget nosuch' >/dev/null 2>&1
	expect "g1 can be protected all the same" rom_protect "$P" g1 hold
	expect "but not twice" refuses 'already protected' g1 --to "$peer" --on-peer-loss hold
	expect "the backup has only g1's standby" one_standby "$S"
}
