# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# The stage of the scenarios in split_faults.sh: two hosts with an arbiter, g1 on one of them, and who owns it seen all the time. Who
# speaks is seen on the LAN, by the port that a frame comes out of; who runs it is asked of Xen. A scenario begins with arbiter_ready,
# which sets P, the host that g1 runs on, and S, the other. Sourced after witness.sh, scene.sh, faults.sh and ends.sh.

ZOMBIE_FRAMES=0 DOUBLE_OWNERS=0
G1_MAC=00:16:3e:00:00:50
# How long a thawed, outvoted or abandoned copy is listened to.
LISTEN_S=5

# ---- who owns it, all the time ----

# "MS run|none|? lanes|bare", every two seconds, of this side's clock: is there a g1 that may run there, and does anything hold
# its output? The lanes are looked at first: a domain that is destroyed loses them after.
sample_owner() { # host
	bg "runs-$1" setsid bash -c '
		. "$1/common.sh"
		while :; do
			"$1/lab" run "$2" "while :; do l=bare; ls -d /sys/class/net/rm[0-9-]* >/dev/null 2>&1 && l=lanes
				f=\$(xl list g1 2>/dev/null | awk \"NR == 2 { print \\\$5 }\"); case \$f in \"\") r=none ;; *[pcd]*) r=none ;; *) r=run ;; esac
				echo \$r \$l; sleep 2; done" 2>/dev/null | while read -r line; do echo "$(now_ms) $line"; done
			sleep 1
		done' runs "$LAB_SRC" "$1"
}
end_sampler() { # host
	local pid
	[ -e "$LAB_OUT/runs-$1.pid" ] || return 0
	pid=$(pid_of "$LAB_OUT/runs-$1.pid") && kill -TERM -- "-$pid"
	client_end "runs-$1" "" 10 2>/dev/null
	return 0
}
OWNERS=
watch_ports() {
	local h
	client_bg owners owners -m "$G1_MAC" A=tapA B=tapB
	OWNERS=1
	for h in A B; do
		sample_owner $h
	done
}
# The same of a guest that sends numbered frames, and seen to work: else nothing that is counted here would mean anything.
watch_owners() {
	watch_ports
	frames_start g1 || return 1
	wait_for 20 spoke "$P" && wait_for 20 grep -q ' run ' "$LAB_OUT/runs-$P.log" && wait_for 20 test -s "$LAB_OUT/runs-$S.log"
}
spoke() { grep -qE "^[0-9]+ .*\b$1=[1-9]" "$LAB_OUT/owners.log"; } # host
spoke_first_ms() { sed -n "s/^owner: \([0-9]*\) $1\$/\1/p" "$LAB_OUT/owners.log"; } # host
lines_spoken() { grep -cE '^[0-9]+ ' "$LAB_OUT/owners.log"; }
silence_for() { # seconds: nobody says anything
	local n
	n=$(lines_spoken)
	sleep "$1"
	[ "$(lines_spoken)" = "$n" ] || { tail -n 1 "$LAB_OUT/owners.log"; return 1; }
}
# Moments at which two hosts had a g1 that was open to the world: it runs on both, and each of them has nothing that holds its output, or
# lets some out in the two seconds after.
count_double() {
	awk '
		FILENAME ~ /owners/ {
			if ($1 !~ /^[0-9]+$/) next
			for (i = 2; i <= 3; i++) { split($i, kv, "="); if (kv[2]) said[kv[1]] = said[kv[1]] " " $1 }
			next
		}
		{ h = FILENAME ~ /runs-A/ ? "A" : "B"; n++; at[n] = $1; host[n] = h; what[n] = $2; lanes[n] = $3 }
		function speaks(h, t,    m, k, v) {
			m = split(said[h], v, " ")
			for (k = 1; k <= m; k++) if (v[k] > t && v[k] <= t + 2000) return 1
			return 0
		}
		END {
			for (i = 1; i <= n; i++) {
				if (host[i] != "A" || what[i] != "run") continue
				for (j = 1; j <= n; j++) {
					d = at[j] - at[i]
					if (host[j] != "B" || what[j] != "run" || d > 3000 || d < -3000) continue
					both++
					t = d > 0 ? at[j] : at[i]
					if ((lanes[i] == "bare" || speaks("A", t)) && (lanes[j] == "bare" || speaks("B", t))) { double++; break }
				}
			}
			print double + 0, both + 0
		}' "$LAB_OUT/owners.log" "$LAB_OUT/runs-A.log" "$LAB_OUT/runs-B.log"
}
# Ends the watch and adds up what it has seen. No frame of who had lost the VM, not one moment with two.
tally_owners() {
	local z d both total h
	[ -n "$OWNERS" ] || return 0
	OWNERS=
	client_end owners INT 20
	for h in A B; do end_sampler $h; done
	total=$(grep '^total ' "$LAB_OUT/owners.log")
	z=$(sed -n 's/.* zombies=\([0-9]*\).*/\1/p' <<<"$total")
	read -r d both < <(count_double)
	fact "${SC//[^a-z0-9]/_}_owners" "$total; samples $(cat "$LAB_OUT"/runs-[AB].log | wc -l), of them on both hosts ${both:-?}"
	ZOMBIE_FRAMES=$((ZOMBIE_FRAMES + ${z:-1})) DOUBLE_OWNERS=$((DOUBLE_OWNERS + ${d:-1}))
	expect "not one frame of a copy that had lost the VM" test "${z:-none}" = 0 || grep '^zombie' "$LAB_OUT/owners.log"
	expect "not one moment with two owners" test "${d:-none}" = 0
	expect "no frame was missed" grep -q ' dropped=0$' <<<"$total"
	cp "$LAB_OUT/owners.log" "$LAB_OUT/owners-${SC//[^a-z0-9]/-}-$(now_ms).log"
}
owners_end() { # hosts...: they have spoken, and nobody else; no output of a lost epoch was among it
	local h
	for h in A B; do
		case " $* " in
		*" $h "*) expect "host $h has spoken" spoke $h ;;
		*) expect_not "host $h has not" spoke $h ;;
		esac
	done
	tally_owners
	expect "no frame of a lost epoch ever got out" frames_done
}
# Around each scenario: one that was broken off counts as well, and leaves no host stopped.
counted() { # function, arguments
	local h
	"$@"
	watches_over
	for h in A B; do
		! host_up $h || goes_on $h
	done
	return 0
}
watches_over() {
	tally_owners
	[ ! -e "$LAB_OUT/frames.pid" ] || client_end frames INT 30
}

# ---- the stage ----

# What a host remembers is on its own disk and outlives a boot, as in life; only after a scenario that failed nobody knows anything.
start_afresh() {
	local h
	for h in A B; do
		! host_up $h || lab kill $h
		lab restore rep $h
		lab restore lan $h
	done
	for h in A B; do
		lab restart $h && lab run $h 'rm -rf /srv/romulus' && rom_put $h && rom_start $h || return 1
	done
	P=A S=B
	lab guest-up A g1
}
all_reach_witness() {
	local h
	witness_up || return 1
	for h in A B; do
		! host_up $h || witness_restore $h || return 1
	done
}
arbiter_status() { # host, condition on .arbiter
	rom_is "$1" g1 ".arbiter | $2" && return 0
	rom_get "$1" g1 '.arbiter | tostring'
	return 1
}
# policy, or '' for an unprotected g1: as ready, and with the witness there.
arbiter_ready() {
	local policy=$1
	watches_over
	expect "the witness runs, both hosts reach it" all_reach_witness || return 1
	ready "$policy" || return 1
	UUID=$(guest_uuid "$P")
	expect "the guest has a uuid" test -n "$UUID" || return 1
	[ -n "$policy" ] || return 0
	expect "host $P says that it could ask" wait_for 20 arbiter_status "$P" ".reachable and .holder == \"$(host_name "$P")\"" || return 1
	expect "host $S, too" wait_for 20 arbiter_status "$S" '.reachable' || return 1
	RECORD=$(recorded) TERM_BEFORE=$(recorded_term)
	expect "the witness has granted it to host $P" test "$(recorded_host)" = "$P" || return 1
	MARK=$(now_ms)
}
owned_and_served() { # protected by the arbiter's policy, with all watches
	arbiter_ready arbiter || return 1
	expect "the client is served" client_start client || return 1
	expect "who owns the VM is watched" watch_owners || return 1
	client_mark client
	MARK=$(now_ms)
}
told_now() { # host, pattern: an event since MARK
	rom "$1" events g1 --since "$((($(now_ms) - MARK) / 1000 + 2))s" 2>&1 | grep -E -- "$2"
}
granted_to() { granted_since "$1" "$TERM_BEFORE"; } # host
went_by_vote() { # host: it holds a newer term, and says that it went alone by it
	expect "host $1 was granted the VM" wait_for 30 granted_to "$1"
	if [ "$1" = "$P" ]; then
		expect "and went alone because of that" wait_for 20 told_now "$1" 'alone: .*the arbiter granted term'
		expect "its output is open" wait_for 20 rom_is "$1" g1 '.output.held | not'
	else
		expect "and activated because of that" wait_for 20 told_now "$1" 'activating: .*the arbiter granted term'
		expect "the VM runs there" domain_at "$1" g1
	fi
}
outvoted() { # host, by whom
	rom_is "$1" g1 "(.problem | test(\"outvoted.*$(host_name "$2")\")) and (.protected | not) and .arbiter.holder == \"$(host_name "$2")\""
}
stands_and_runs_nothing() { # of $S
	rom_is "$S" g1 '.role == "backup" and .state == "standing" and (.protected | not)' && on_our_side_only
}
held_and_silent() { rom_is "$P" g1 '.state == "lost" and .output.held and (.protected | not)'; } # of $P

# The link is whole again: who did not go alone gives in.
heals() { # host that went alone
	expect "the link comes back" lab restore rep "$S"
	if [ "$1" = "$P" ]; then
		protected_again
		expect "host $S never ran the VM" on_our_side_only
	else
		expect "host $P gives its copy up" wait_for 90 nothing_at "$P"
		expect "because it was told" told_now "$P" 'deposed: '
		expect "one copy is left" domain_at "$S" g1
	fi
	expect "the client is served still" client_still_flows client 60
	sleep "$LISTEN_S"
	client_done client
	if [ "$1" = "$P" ]; then
		owners_end "$P"
	else
		owners_end A B
		swap
	fi
}
