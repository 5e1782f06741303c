# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016
#
# Scenarios in which a host, a link or a process of Romulus fails under a protected guest. Sourced after scene.sh.

# What a status needs to come over from a busy host; the state itself is judged by watch_honest.
WATCH_SLACK_MS=2000

cpu_above() { [ "$(guest_cpu "$1" g1 | tr -d .)" -gt "$2" ]; }
guest_goes_on() {
	local c
	c=$(guest_cpu "$P" g1 | tr -d .)
	wait_for 30 cpu_above "$P" "${c:?}"
}
on_our_side_only() { ! domain_at "$S" g1 && domain_at "$P" g1; }
protected_again() { expect "protected again by itself" wait_for 240 rom_protected "$P"; }

failover_there_and_back() { # how many
	local i delay
	for ((i = 0; i < $1; i++)); do
		ready backup-wins || return
		delay=$((RANDOM % 4000))
		expect "$((i + 1)): from $P to $S after $delay ms of load" rom_failover client "$P" "$delay" || return
		fact failover_gap_ms "$FO_GAP"
		swap
	done
}

# The state after the loss of the backup, seen from the primary. $1: when it was lost.
honest_about_loss() {
	local ms
	expect "the state stops to say protected" wait_for 15 watch_after "$1" '.protected | not'
	ms=$(watch_after "$1" '.protected | not')
	expect "within two heartbeats (seen after $ms ms)" test "${ms:-99999}" -le $((2 * ROM_HEARTBEAT_MS + WATCH_SLACK_MS))
	expect "and does not say it again" watch_honest "$1" $((2 * ROM_HEARTBEAT_MS + WATCH_SLACK_MS))
}
output_released_by_policy() { # policy
	if [ "$1" = primary-wins ]; then
		expect "the output is let out after the failure timeout" wait_for 60 client_flows client
		return
	fi
	expect "the output stays held" wait_for 40 client_silent client $((2 * ROM_FAILURE_MS + 3000))
	expect "the state says so, and what to do" rom_is "$P" g1 '.state == "lost" and .output.held and (.protected | not)
		and (.hint | test("--force"))'
	expect "the guest itself goes on" guest_goes_on
}

backup_lost() { # kill|freeze, policy
	local how=$1 policy=$2 t
	ready "$policy" || return
	expect "the client is served" client_start client || return
	watch_start "$P" g1
	wait_ms $((RANDOM % 500))
	client_mark client
	t=$(now_ms)
	lab "$how" "$S"
	honest_about_loss "$t"
	watch_stop
	output_released_by_policy "$policy"
	if [ "$how" = freeze ]; then
		expect "the backup goes on" lab thaw "$S"
		protected_again
		expect "the backup never ran the VM" on_our_side_only
	elif [ "$policy" = primary-wins ]; then
		expect "the backup boots again" rom_revive "$S"
		protected_again
	else
		expect_not "unprotect alone cannot know that the backup is dead" rom "$P" unprotect g1
		expect "unprotect --force lets the output out" rom "$P" unprotect g1 --force
	fi
	expect "the client is served again" client_still_flows client 60
	client_done client
	[ "$policy" != primary-wins ] ||
		expect "nothing was let out before the failure timeout" test "$(fact_of client gap_ms)" -ge $((ROM_FAILURE_MS - 2 * ROM_HEARTBEAT_MS))
}

link_cut() { # policy
	local policy=$1 t
	ready "$policy" || return
	expect "the client is served" client_start client || return
	frames_start g1
	watch_start "$P" g1
	client_mark client
	t=$(now_ms)
	lab cut rep "$S"
	honest_about_loss "$t"
	watch_stop
	# Under backup-wins it is the other host that answers.
	expect "the client is served again" wait_for 90 client_flows client
	if [ "$policy" = primary-wins ]; then
		expect "the backup keeps standing by" rom_is "$S" g1 '.role == "backup" and .state == "standing" and (.protected | not)'
		expect "and runs nothing" on_our_side_only
		expect "the link comes back" lab restore rep "$S"
		protected_again
	else
		expect "the VM runs at the backup" domain_at "$S" g1
		expect "the primary's copy is silent" rom_is "$P" g1 '.output.held and (.protected | not)'
		expect "the link comes back" lab restore rep "$S"
		swap
		expect "and the old primary gives its copy up" wait_for 90 nothing_at "$S"
		expect "one copy is left" domain_at "$P" g1
		expect "nothing is left of its lanes" wait_for 30 left_nothing "$S"
	fi
	expect "the client is served still" client_still_flows client
	client_done client
	expect "no frame of a lost epoch ever got out" frames_done
	fact "${SC}_frames" "$(tail -n 1 "$LAB_OUT/frames.log")"
}

link_blinks() {
	ready backup-wins || return
	expect "the client is served" client_start client || return
	lab cut rep "$S"
	wait_ms $((ROM_FAILURE_MS / 3))
	lab restore rep "$S"
	protected_again
	expect "nobody took over" on_our_side_only
	expect "the client is served still" client_still_flows client 60
	client_done client
}

# The file holds the pid and when that process began.
worker_pid() { lab run "$1" "cut -d' ' -f1 /run/romulus/g1.$2.pid"; } # host, primary|backup
kill_worker() {
	local pid
	pid=$(worker_pid "$1" "$2") && lab run "$1" kill -9 "${pid:?}"
}

# A worker that is killed has the failure timeout to come back.
primary_worker_killed() {
	ready backup-wins --failure-timeout 15s || return
	expect "the client is served" client_start client || return
	client_mark client
	expect "the worker is killed" kill_worker "$P" primary
	expect "the guest is not silenced" wait_for 90 client_flows client
	protected_again
	expect "and nobody took over" on_our_side_only
	expect "the client is served still" client_still_flows client 60
	client_done client
}

backup_worker_killed() {
	ready primary-wins || return
	expect "the client is served" client_start client || return
	client_mark client
	expect "the worker is killed" kill_worker "$S" backup
	expect "the guest is not silenced" wait_for 90 client_flows client
	protected_again
	expect "nothing is left of the first standby" one_standby "$S"
	client_done client
}
one_standby() { [ "$(domains_at "$1" | wc -l)" = 1 ]; }

epoch_above() { rom_is "$P" g1 ".epoch > $1"; }
daemon_killed() {
	local pid e h
	ready backup-wins --failure-timeout 15s || return
	expect "the client is served" client_start client || return
	pid=$(worker_pid "$P" primary)
	expect "there is a worker" test -n "$pid" || return
	for h in $P $S; do
		expect "romulusd is killed at host $h" lab run "$h" 'kill -9 $(pidof romulusd)'
	done
	e=$(rom_get "$P" g1 .epoch)
	expect "epochs go on" wait_for 60 epoch_above $((${e:-0} + 20))
	expect "the client is served" client_still_flows client
	expect "romulusd starts again" rom_start "$P" "$S"
	expect "and finds its worker" test "$(worker_pid "$P" primary)" = "$pid"
	expect "which is the one it shows" daemon_knows "$pid"
	expect "the adopted worker is killed" lab run "$P" "kill -9 $pid"
	protected_again
	expect "nobody took over" on_our_side_only
	expect "the client is served still" client_still_flows client 60
	client_done client
}
daemon_knows() { lab run "$P" romulus status --json | jq -e --argjson pid "$1" '.host.workers[] | select(.vm == "g1" and .pid == $pid)'; }

# 16 MB/s dirtied, 2.5 MB/s of link: an epoch takes seconds. The guest must not stand still for as long.
slow_link() {
	local spin
	ready backup-wins --failure-timeout 15s || return
	load_stop g1
	expect "the client is served" client_start client || return
	expect "the link becomes slow" lab slow rep "$P" 20mbit
	lab guest-run g1 'timeout 60 dirty 4000 2000 random >/dev/null 2>&1 </dev/null &'
	expect "epochs become longer" wait_for 60 rom_is "$P" g1 '.rate_hz < 2 or .throttle_percent < 100 or (.protected | not)'
	fact slow_link "$(rom_json "$P" g1 | jq -c '{state, rate_hz, throttle_percent, pages: .dirty_pages.last}')"
	spin=$(lab guest-run g1 'timeout -s INT 15 spin -n 0' | tail -n 1)
	fact slow_link_spin "${spin#spin }"
	expect "the guest never waits for the network" test "$(sed -n 's/.* max_us=\([0-9]*\).*/\1/p' <<<"$spin")" -lt 1500000
	expect "the link is fast again" lab slow rep "$P" off
	lab guest-run g1 'killall dirty'
	protected_again
	expect "nobody took over" on_our_side_only
	client_done client
}
