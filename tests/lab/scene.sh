# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# The stage of the scenarios in faults.sh, ends.sh and peers.sh: two hosts with Romulus, guest g1 on one of them. A scenario says
# what it wants with `ready POLICY` and gets P, the host that g1 runs on, and S, the other; it may leave both in any state. Sourced
# after romulus.sh.

P=A S=B
SCENES_FAILED=()

host_up() { pid_of "$LAB_RUN/$1.pid" >/dev/null; }
daemon_up() { lab run "$1" 'pidof romulusd >/dev/null && test -S /run/romulus/romulusd.ctl'; }
drop_client() { [ ! -e "$LAB_OUT/client.pid" ] || pid_kill "$LAB_OUT/client.pid" KILL; }

# scenario NAME FUNCTION [ARG...]: what it checks is printed with the name before it.
scenario() {
	local name=$1 failed=$LAB_FAILED t
	shift
	SC=$name
	t=$(now_ms)
	echo "== $name"
	"$@"
	drop_client
	if [ "$LAB_FAILED" != "$failed" ]; then
		SCENES_FAILED+=("$name")
		LAB_TIMEOUT=60 lab logs "$LAB_OUT/logs-$name"
		start_afresh
	fi
	echo "   $((($(now_ms) - t + 500) / 1000)) s"
}
expect() { check "$SC: $1" "${@:2}"; }
expect_not() { check_not "$SC: $1" "${@:2}"; }

# Nothing is known of the state of things: both hosts boot again.
start_afresh() {
	local h
	for h in A B; do
		! host_up $h || lab kill $h
		lab restore rep $h
		lab restore lan $h
	done
	for h in A B; do
		rom_revive $h || return 1
	done
	P=A S=B
	lab guest-up A g1
}
hosts_ready() {
	local h
	for h in A B; do
		lab restore rep $h && lab restore lan $h || return 1
		if ! host_up $h; then
			rom_revive $h || return 1
			continue
		fi
		lab thaw $h && lab slow rep $h off || return 1
		daemon_up $h || rom_start $h || return 1
	done
}
guest_ready() { # sets P and S
	local a=1 b=1
	domain_at A g1 || a=0
	domain_at B g1 || b=0
	case $a$b in
	11) echo "g1 is on both hosts"; return 1 ;;
	10) P=A S=B ;;
	01) P=B S=A ;;
	00) P=A S=B; lab guest-up A g1 || return 1 ;;
	esac
	wait_for 30 redis_ping "$G1"
}
unprotected() { # whatever it was
	rom_is "$P" g1 '.role == "primary"' || return 0
	rom "$P" unprotect g1 || rom "$P" unprotect g1 --force
}
stage() { # policy, [options of protect]
	local policy=$1
	shift
	drop_client
	hosts_ready && guest_ready || return 1
	unprotected && wait_for 60 nothing_at "$S" || return 1
	[ -z "$policy" ] || rom_protect "$P" g1 "$policy" "$@" || return 1
	lab guest-run g1 'pidof dirty' || load_start g1 500 1000 mixed
}
# ready POLICY|'' [options of protect]: g1 runs, protected by that policy or not at all, and is loaded.
ready() {
	if ! stage "$@" >"$LAB_OUT/stage.log" 2>&1; then
		start_afresh >>"$LAB_OUT/stage.log" 2>&1
		stage "$@" >>"$LAB_OUT/stage.log" 2>&1 || { fail "$SC: the stage is set" "$(tail -n 2 "$LAB_OUT/stage.log" | tr '\n' ' ')"; return 1; }
	fi
}
client_done() { # name: ends it; its connection never broke and nothing is lost
	local rc
	client_end "$1" INT 300
	rc=$?
	check "$SC: the client's connection goes on, nothing acknowledged is lost" test $rc = 0
	fact "${SC//[^a-z0-9]/_}_gap_ms" "$(fact_of "$1" gap_ms)"
}
swap() { local h=$P; P=$S S=$h; }

# What protection puts into a host, as text; the same before and after.
# Nobody's trace: ifb0 and ifb1, which the kernel makes when the module is first wanted, and the folders that libxl makes with the
# first domain of a host.
traces() { # host
	lab run "$1" 'ip -o link | sed "s/^[0-9]*: //; s/ .*//; /^ifb[0-9]*:/d" | sort
		tc qdisc show | grep -v "dev lo\|dev eth\|dev xenbr"
		for i in /sys/class/net/vif*; do tc filter show dev ${i##*/} ingress 2>/dev/null; done
		find /sys/fs/bpf /run/romulus -mindepth 1 ! -name romulusd.ctl 2>/dev/null | sort
		xenstore-ls -f | sed "s/ = .*//" | grep -vxE "/libxl|/vm" | sort'
}
logdirty_at() { # host, domid: does Xen keep a log of this domain's writes?
	lab run "$1" "xl dmesg -c >/dev/null; xl debug-keys q; xl dmesg" | tr -d '\r' |
		awk -v d="$2:" '/General information for domain/ { on = $NF == d } on && /[Pp]aging assistance/ { print }' | grep log_dirty
}
