# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# Scenarios in which two hosts with an arbiter lose each other, or it, or themselves: at no moment may two copies of the VM speak.
# Sourced after split_scene.sh.

# ---- a host ----

host_killed() { # [brief: without what comes after]
	local delay=$((RANDOM % 3000))
	arbiter_ready arbiter || return
	expect "who owns the VM is watched" watch_owners || return
	MARK=$(now_ms)
	expect "host $P dies after $delay ms of load, the client is served by the other one" rom_failover client "$P" $delay || return
	fact split_failover_gap_ms "$FO_GAP"
	went_by_vote "$S"
	owners_end A B
	swap
	[ "${1:-}" != brief ] || return 0
	expect "the lost host boots again" rom_revive "$S" || return
	expect "it becomes the backup" rom_protect "$P" g1 arbiter
	expect "under a newer term, granted to host $P" granted_since "$P" "$((TERM_BEFORE + 1))"
}

freeze_at_rest() { lab client owners -m "$G1_MAC" -f "$(pid_of "$LAB_RUN/$1.pid")" "$1=tap$1"; } # host
goes_on() { # host
	local pid
	pid=$(pid_of "$LAB_RUN/$1.pid") && kill -CONT "$pid" && wait_for 5 runs_not_stopped "$pid"
}
runs_not_stopped() { ! grep -q '^State:.*[Tt] (' "/proc/$1/status"; }
stopped() { grep -q '^State:.*T (' "/proc/$(pid_of "$LAB_RUN/$1.pid")/status"; } # host

host_frozen() {
	local t first left
	owned_and_served || return
	expect "host $P is stopped as a whole" freeze_at_rest "$P" || return
	t=$(now_ms)
	expect "all of it" stopped "$P"
	# Else it would be no zombie that comes back.
	expect "host $S speaks for the VM meanwhile" wait_for 9 spoke "$S"
	left=$((t + 10000 - $(now_ms)))
	wait_ms $((left > 0 ? left : 0))
	first=$(spoke_first_ms "$S")
	expect "before it goes on after 10 s" test "${first:-0}" -gt 0 -a "${first:-0}" -lt "$(now_ms)"
	expect "it goes on" goes_on "$P" || return
	expect "its copy was there, and is told" wait_for 60 told_now "$P" 'deposed: '
	expect "and given up" wait_for 90 nothing_at "$P"
	went_by_vote "$S"
	expect "the client is served" wait_for 90 client_flows client
	sleep "$LISTEN_S"
	client_done client
	owners_end A B
	swap
}

backup_host_killed() {
	owned_and_served || return
	expect "host $S dies" lab kill "$S" || return
	expect "the client is served again" wait_for 60 client_flows client
	went_by_vote "$P"
	expect "host $S boots again" rom_revive "$S" || return
	protected_again
	expect "it never ran the VM" on_our_side_only
	expect "the client is served still" client_still_flows client 60
	client_done client
	expect "nothing was let out before the failure timeout" test "$(fact_of client gap_ms)" -ge $((ROM_FAILURE_MS - 2 * ROM_HEARTBEAT_MS))
	owners_end "$P"
}

# ---- the link ----

both_asked() { told_now "$P" 'vote-asked: ' && told_now "$S" 'vote-asked: '; }
somebody_holds_newer() { granted_to A || granted_to B; }

cut_seen_by_both() {
	local winner loser
	owned_and_served || return
	expect "the link is cut" lab cut rep "$S" || return
	expect "both ask" wait_for 60 both_asked
	expect "one is granted the VM" wait_for 30 somebody_holds_newer || return
	winner=$(recorded_host) loser=$(other "$winner")
	fact "${SC//[^a-z0-9]/_}_winner" "$([ "$winner" = "$P" ] && echo primary || echo backup)"
	went_by_vote "$winner"
	expect "the other one is outvoted" wait_for 30 outvoted "$loser" "$winner"
	expect "and says so" told_now "$loser" 'outvoted: '
	if [ "$winner" = "$P" ]; then
		expect "it runs nothing" stands_and_runs_nothing
	else
		expect "its copy is silent" held_and_silent
	fi
	expect "the client is served" wait_for 90 client_flows client
	sleep "$LISTEN_S"
	expect "and goes on being so" client_still_flows client 60
	heals "$winner"
}

asked_in_vain() { told_now "$1" 'vote-unknown: '; } # host
cut_seen_by() { # primary|backup
	local see blind
	owned_and_served || return
	see=$P blind=$S
	[ "$1" = primary ] || { see=$S blind=$P; }
	expect "host $blind loses the witness" witness_cut "$blind" || return
	expect "it cannot be asked from there" blind_to_witness "$blind" || return
	expect "from host $see it can" sees_witness "$see" || return
	expect "which alone changes nothing" rom_protected "$P"
	MARK=$(now_ms)
	client_mark client
	expect "the link is cut" lab cut rep "$S" || return
	went_by_vote "$see"
	expect "the client is served" wait_for 90 client_flows client
	expect "host $blind asks in vain" wait_for 60 asked_in_vain "$blind"
	if [ "$blind" = "$S" ]; then
		expect "and runs nothing" stands_and_runs_nothing
	else
		expect "and is silent" held_and_silent
	fi
	expect "its state says why" arbiter_status "$blind" '(.reachable | not) and (.problem | length > 0)'
	expect "it reaches the witness again" witness_restore "$blind"
	expect "and is outvoted" wait_for 30 outvoted "$blind" "$see"
	heals "$see"
}
cut_seen_by_one() {
	cut_seen_by primary
	cut_seen_by backup
}

cut_seen_by_none() {
	local h
	owned_and_served || return
	for h in A B; do
		expect "host $h loses the witness" witness_cut $h || return
		expect "it cannot be asked from there" blind_to_witness $h || return
	done
	expect "which alone changes nothing" rom_protected "$P"
	MARK=$(now_ms)
	expect "the link is cut" lab cut rep "$S" || return
	expect "host $P asks in vain" wait_for 60 asked_in_vain "$P"
	expect "host $S, too" wait_for 60 asked_in_vain "$S"
	expect "nobody is served" wait_for 60 client_silent client $((2 * ROM_FAILURE_MS + 3000))
	expect "nobody speaks" silence_for "$LISTEN_S"
	expect "host $P is silent" held_and_silent
	expect "host $S runs nothing" stands_and_runs_nothing
	expect "nothing was granted" record_is "$RECORD"
	# The peer's own word is as good as a vote.
	expect "the link comes back, the witness does not" lab restore rep "$S"
	protected_again
	expect "host $S never ran the VM" on_our_side_only
	expect "the client is served" wait_for 60 client_flows client
	expect "nothing was granted for that" record_is "$RECORD"
	for h in A B; do
		expect "host $h reaches the witness again" witness_restore $h
	done
	expect "which the state says" wait_for 60 arbiter_status "$P" '.reachable'
	expect "on both hosts" wait_for 60 arbiter_status "$S" '.reachable'
	client_done client
	owners_end "$P"
}

# ---- the witness ----

never_left_protection() { # since when, ms, by this side's clock
	rom_is "$P" g1 ".protected and .since_ms >= $(($(now_ms) - $1))"
}
witness_dies_and_returns() {
	local t e
	owned_and_served || return
	t=$(now_ms) e=$(rom_get "$P" g1 .epoch)
	expect "the witness is killed" witness_kill "$WITNESS" || return
	expect "the state says that it cannot be asked" wait_for 60 arbiter_status "$P" '(.reachable | not) and (.problem | length > 0)'
	expect "on both hosts" wait_for 60 arbiter_status "$S" '.reachable | not'
	expect "epochs go on" wait_for 60 epoch_above $((${e:-0} + 50))
	expect "the client is served all the same" client_still_flows client
	expect "the witness starts again" witness_start "$WITNESS" || return
	expect "it has forgotten nothing" record_is "$RECORD"
	expect "the state says that it answers" wait_for 60 arbiter_status "$P" '.reachable'
	expect "on both hosts" wait_for 60 arbiter_status "$S" '.reachable'
	expect "the VM was protected all the while" never_left_protection "$t"
	client_done client
	fact witness_gap_ms "$(fact_of client gap_ms)"
	expect "and no client noticed" test "$(fact_of client gap_ms)" -lt $((2 * ROM_FAILURE_MS))
	MARK=$(now_ms)
	expect "host $P dies, the client is served by the other one" rom_failover client2 "$P" $((RANDOM % 2000)) || return
	went_by_vote "$S"
	owners_end A B
	swap
}

host_killed_without_witness() {
	owned_and_served || return
	expect "the witness is killed" witness_kill "$WITNESS" || return
	expect "the VM is protected" rom_settled "$P" g1 || return
	client_mark client
	expect "host $P dies" lab kill "$P" || return
	expect "host $S asks in vain" wait_for 60 asked_in_vain "$S"
	expect "nobody speaks" silence_for "$LISTEN_S"
	expect "host $S stands by" rom_is "$S" g1 '.state == "standing" and (.arbiter.reachable | not)'
	expect_not "nothing runs there" domain_at "$S" g1
	expect "the witness starts again" witness_start "$WITNESS" || return
	expect "the client is served by host $S" wait_for 90 client_flows client
	went_by_vote "$S"
	client_done client
	owners_end A B
	swap
}

# ---- both hosts ----

both_lose_power() {
	lab kill "$P" && lab kill "$S" && ! host_up "$P" && ! host_up "$S"
}
remembers() { # host, jq's condition on what its daemon knows of g1
	lab run "$1" 'romulus status --json' | jq -e ".host.vms[]? | select(.vm == \"g1\") | $2"
}
quiet_host() { # host: for a while, with Romulus up
	expect "nobody starts the VM there but the operator" wait_for 30 nothing_at "$1"
	expect "nor in the next seconds" silence_for "$LISTEN_S"
	expect "nothing runs there" nothing_at "$1"
}
# xl gives each new domain another uuid unless it is told one.
guest_created() { # host, uuid
	lab run "$1" "xl create -q -p /etc/xen/g1.cfg 'uuid=\"$2\"' 2>&1 | grep -v 'got a tsc mode'; xl unpause g1" &&
		wait_for 120 redis_ping "$G1" && LAB_TIMEOUT=10 wait_for 60 lab guest-run g1 true
}
no_backup_yet() { rom_is "$1" g1 '.role == "primary" and (.protected | not) and (.output.held | not)'; } # host

power_cycled() { # primary|backup: who boots first
	local first second uuid term
	arbiter_ready arbiter || return
	uuid=$UUID term=$TERM_BEFORE
	first=$P second=$S
	[ "$1" = primary ] || { first=$S second=$P; }
	expect "both hosts lose power" both_lose_power || return
	expect "who speaks is watched" watch_ports
	expect "host $first boots" rom_revive "$first" || return
	quiet_host "$first"
	expect "the witness remembers" record_is "$RECORD"
	expect "so does the host" remembers "$first" ".term >= $term and .policy == \"arbiter\""
	if [ "$1" = primary ]; then
		# A domain of that name, and to the witness another VM.
		expect "the operator starts the VM there" lab guest-up "$first" g1 || return
		UUID=$(guest_uuid "$first")
		expect "as a new one" test -n "$UUID" -a "$UUID" != "$uuid"
		TERM_BEFORE=0
	else
		expect "the operator starts the VM there" guest_created "$first" "$uuid" || return
		expect "as the same one" test "$(guest_uuid "$first")" = "$uuid"
	fi
	expect "and protects it, although the other host is away" rom "$first" protect g1 --to "$(host_name "$second")" \
		--on-peer-loss arbiter --skip-doctor --no-wait || return
	expect "which the witness is told" wait_for 30 granted_to "$first"
	expect "it runs unprotected meanwhile" wait_for 60 no_backup_yet "$first"
	expect "host $second boots" rom_revive "$second" || return
	P=$first S=$second
	expect "and becomes the backup" wait_for 240 rom_protected "$P" || return
	expect "without a VM of its own" on_our_side_only
	expect "it knows the term" rom_is "$S" g1 ".role == \"backup\" and .term >= $(recorded_term)"
	expect "numbered frames are sent" frames_start g1
	MARK=$(now_ms) TERM_BEFORE=$(recorded_term)
	expect "host $P dies, the client is served by the other one" rom_failover client "$P" $((RANDOM % 2000)) || return
	went_by_vote "$S"
	owners_end A B
	swap
}

# ---- operators ----

succeeded() { # how many of the statuses are 0
	local n=0 rc
	for rc; do [ "$rc" != 0 ] || n=$((n + 1)); done
	echo $n
}
at_once() { # [cut]: with the link cut a moment before
	local rf ru
	owned_and_served || return
	[ -z "${1:-}" ] || expect "the link is cut" lab cut rep "$S" || return
	bg failover lab run "$S" timeout 100 romulus failover g1 --force
	bg unprotect lab run "$P" timeout 100 romulus unprotect g1 --force
	client_end failover "" 130
	rf=$?
	client_end unprotect "" 130
	ru=$?
	fact "${SC//[^a-z0-9]/_}${1:+_$1}" "failover ended with $rf, unprotect with $ru"
	expect "exactly one of both succeeds" test "$(succeeded $rf $ru)" = 1 ||
		tail -n 4 "$LAB_OUT/failover.log" "$LAB_OUT/unprotect.log"
	expect "the other one says why" test -s "$LAB_OUT/$([ $rf = 0 ] && echo unprotect || echo failover).log"
	expect "the client is served" wait_for 90 client_flows client
	[ -z "${1:-}" ] || sleep "$LISTEN_S"
	expect "the link is whole" lab restore rep "$S"
	if [ $rf = 0 ]; then
		expect "host $P gives its copy up" wait_for 90 nothing_at "$P"
		expect "the VM runs at host $S" domain_at "$S" g1
	else
		expect "the VM runs at host $P alone" on_our_side_only
		expect "and is not protected" test "$(rom_exit "$P" g1)" = 4
	fi
	expect "the client is served still" client_still_flows client 60
	sleep "$LISTEN_S"
	client_done client
	if [ $rf = 0 ]; then
		owners_end A B
		swap
	else
		owners_end "$P"
	fi
	# A standby that was left over is no reason against it.
	expect "it can be protected again" rom_protect "$P" g1 arbiter
	expect "and the witness knows" test "$(recorded_host)" = "$P"
}
two_operators() {
	at_once
	at_once cut
}

# ---- configuration ----

other_witness_at() { # host
	lab run "$1" "cp /etc/romulus/romulus.conf /etc/romulus/kept.conf &&
		sed -i 's/witness1/witness2/; s/$(witness_ip witness1)/$(witness_ip witness2)/' /etc/romulus/romulus.conf && grep -q witness2 /etc/romulus/romulus.conf"
}
stays_unprotected() { # seconds
	local end=$((SECONDS + $1))
	while [ $SECONDS -lt $end ]; do
		rom_is "$P" g1 '.protected | not' || return 1
		sleep 1
	done
}
different_witnesses() {
	local peer
	arbiter_ready '' || return
	peer=$(host_name "$S")
	expect "the client is served" client_start client || return
	expect "a second witness runs" witness_up witness2 || return
	expect "host $S asks that one" other_witness_at "$S" || return
	expect "and reaches it" sees_witness "$S"
	expect "host $P reaches its own" sees_witness "$P"
	expect "the doctor finds it" finds 1 '^error  *arbiter .*witness2'
	expect "and protect does not begin" refuses 'witness2' g1 --to "$peer" --on-peer-loss arbiter
	expect_not "no worker was started" lab run "$P" pidof romulus-primary
	expect "unless it is told to" rom "$P" protect g1 --to "$peer" --on-peer-loss arbiter --skip-doctor --no-wait
	expect "but the session is refused" wait_for 60 rom_is "$P" g1 '.problem | test("different arbiters")'
	expect "and goes on being so" stays_unprotected 10
	expect "host $S has no standby" wait_for 30 nothing_at "$S"
	expect "the client is served all the while" client_still_flows client
	expect "host $S asks the same witness again" lab run "$S" mv /etc/romulus/kept.conf /etc/romulus/romulus.conf
	protected_again
	expect "the second witness was never told of it" test -z "$(witness_bin witness2 --list)"
	client_done client
	expect "the second witness ends" witness_kill witness2
}

term_rose() { # the witness's, since the last look
	local t
	t=$(recorded_term)
	echo "term $t, before ${LAST_TERM:-0}"
	[ "${t:-0}" -gt "${LAST_TERM:-0}" ] && LAST_TERM=$t
}
unprotect_and_again() {
	local i
	arbiter_ready '' || return
	LAST_TERM=0
	expect "the client is served" client_start client || return
	for i in 1 2; do
		expect "$i: it is protected, no policy being named" rom "$P" protect g1 --to "$(host_name "$S")" --timeout 180s || return
		expect "$i: by the arbiter's" rom_is "$P" g1 '.policy == "arbiter" and .protected'
		expect "$i: under a newer term" term_rose
		expect "$i: of this host" test "$(recorded_host)" = "$P"
		expect "$i: it is unprotected" rom "$P" unprotect g1 || return
		expect "$i: the other host keeps nothing" wait_for 60 nothing_at "$S"
		expect "$i: the client is served" client_still_flows client
	done
	client_done client
	expect "it is protected once more" rom_protect "$P" g1 arbiter || return
	expect "under a newer term" term_rose
	expect "who owns the VM is watched" watch_owners || return
	MARK=$(now_ms) TERM_BEFORE=$LAST_TERM
	expect "host $P dies, the client is served by the other one" rom_failover client2 "$P" $((RANDOM % 2000)) || return
	went_by_vote "$S"
	expect "under a newer term" term_rose
	owners_end A B
	swap
	expect "the lost host boots again" rom_revive "$S" || return
	expect "and becomes the backup" rom_protect "$P" g1 arbiter || return
	expect "under a newer term" term_rose
	expect "it is unprotected" rom "$P" unprotect g1
	expect "nothing is left at host $P" wait_for 30 left_nothing "$P"
}

# ---- for scripts whose hosts have no arbiter ----

# with_arbiter FUNCTION...: both hosts get the witness, and lose it after.
with_arbiter() {
	local h before=${ROM_CONF_MORE:-} up=()
	expect "a witness starts" witness_up || return
	ready '' || return
	ROM_CONF_MORE="$before $(arbiter_conf)"
	for h in A B; do
		if ! expect "host $h gets an arbiter" conf_put $h || ! expect "and its daemon knows" daemon_anew $h; then
			ROM_CONF_MORE=$before
			return
		fi
	done
	counted "$@"
	ROM_CONF_MORE=$before
	for h in A B; do
		! host_up $h || up+=("$h")
	done
	# A worker that asks it goes first.
	! rom_is "$P" g1 '.role == "primary"' >/dev/null || expect "the VM is unprotected" rom "$P" unprotect g1
	for h in ${up[@]+"${up[@]}"}; do
		expect "host $h is as before" conf_put "$h" && daemon_anew "$h"
	done
	witness_kill "$WITNESS"
}
