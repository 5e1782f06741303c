# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016
#
# For scenarios about the guest's module: is it active, what did the guest's kernel say, how do its clocks stand. Sourced after
# romulus.sh.

MODULE=xen_suspend_channel
module_param() { lab guest-run "$1" "cat /sys/module/$MODULE/parameters/$2"; } # guest, name
# The offer as the toolstack sees it.
module_port() { lab run "$1" "xenstore-read /local/domain/\$(xl domid $2)/device/suspend/event-channel"; } # host, guest
module_offers() { [ "$(module_port "$1" "$2")" -gt 0 ]; }
module_load() { lab guest-run "$2" "lsmod | grep -q ^$MODULE || modprobe $MODULE" && wait_for 10 module_offers "$1" "$2"; } # host, guest
# Everything that the guest's kernel has said at level warning or worse, but what every boot says, and that tasks did not freeze in time
# for an arrival, which goes on without them (docs/suspend.md), and that an interrupt took long: no CPU is in one while stop_machine() has
# them all, so that is the host's schedule.
module_warnings() { # guest, lines of its log to pass over
	lab guest-run "$1" 'dmesg -r' | tail -n +"$(($2 + 1))" | grep -E '^<[0-4]>' | grep -v 'loading out-of-tree module taints\|module verification failed\|Freezing of tasks failed after\|hrtimer: interrupt took'
}
# With a debug kernel: since boot none of its checks has found anything, and they are still at work (lockdep ends with its first find).
module_debug_clean() { # guest
	lab guest-run "$1" 'grep -q "debug_locks: *1$" /proc/lockdep_stats' || { echo "lockdep is off"; return 1; }
	! lab guest-run "$1" dmesg | grep -E 'WARNING: |BUG: |BUG [a-z]|INFO: (possible|task|rcu)|rcu: INFO|ODEBUG|DEBUG_LOCKS_WARN|corruption|Call Trace:'
}
module_log_lines() { lab guest-run "$1" 'dmesg -r' | wc -l; }
# How many jiffies the guest is behind its CLOCK_MONOTONIC since boot. The median of 41 looks: the tick comes late while its vCPU waits for
# its turn on the host, and catches up; and the guest may wait between the two that are read. What is lost stays lost.
module_ticks() {
	local looks
	looks=$(lab guest-run "$1" 'for i in $(seq 41); do
		sed -n "s/^now at \([0-9]*\).*/\1/p; s/^ *jiffies: \([0-9]*\)/\1/p" /proc/timer_list | head -n 2 | tr "\n" " "; echo; sleep 0.05
	done' | awk -v hz=$HZ 'NF == 2 { printf "%.2f\n", $1 * hz / 1e9 - $2 }')
	[ "$(wc -l <<<"$looks")" = 41 ] && percentile 0.5 <<<"$looks"
}
HZ=250 # Debian's kernel
lost_ticks() { # before, after: what is less than one tick at either end is no loss; not known is not none
	awk -v b="$1" -v a="$2" 'BEGIN { if (b == "" || a == "") { print 999999; exit } lost = a - b; printf "%d", ((lost > 1.5 || lost < -1.5) ? lost + (lost > 0 ? 0.5 : -0.5) : 0) }'
}
clock_of() { # host, guest's address, key: what clockask says
	lab run "$1" clockask -n 600 "$2" | sed -n "s/.* $3=\([-0-9]*\).*/\1/p"
}
clocks_start() { lab guest-run "$1" 'pidof clockserve >/dev/null || setsid clockserve >/dev/null 2>&1 </dev/null &'; }
bench_push() { # host: the program that suspends and resumes, and what it needs
	rom_stage && lab push "$1" "$ROM_STAGE/usr/local/libexec/romulus/romulus-suspend-bench" /usr/bin
}
