# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# The stage of the scenarios in disk_faults.sh: two hosts with Romulus, g4 and its disk, self-checking programs in g4. A scenario says
# what it wants with `loaded POLICY` and closes with `sound`, which looks at all that they found; it may leave both hosts in any state. What
# a host remembers on its disk (the disk, its journal, the state files) outlives a boot here, as it does in life. Sourced after scene.sh
# and disk.sh, of which it replaces what is g1's.

G=g4
LOST=0 FSCK_ERRORS=0 MISMATCHES=0
LOCKSTEP=0 CLIENT=0 # do they run?
WORKS=0
# Beside the disk, on the host's own.
ROM_CONF_MORE="$ROM_CONF_MORE paths: { state-dir = \"/srv/romulus\"; };"
ROM_LOG=/var/log/romulus/romulusd.log

# ---- the disk of a host ----

dm_table() { # host, linear|error|slow: from now on
	local t
	case $2 in
	linear) t="linear $DISK_LOOP 0" ;;
	error) t=error ;;
	slow) t="delay $DISK_LOOP 0 0 $DISK_LOOP 0 800" ;;  # writes and flushes, milliseconds
	esac
	lab run "$1" "export DM_DISABLE_UDEV=1
		echo 0 \$(blockdev --getsz $DISK_LOOP) $t | dmsetup reload $DISK && dmsetup resume $DISK && dmsetup table $DISK | grep -q ' ${t%% *}'"
}
dm_is() { lab run "$1" "DM_DISABLE_UDEV=1 dmsetup table $DISK" | grep -q " $2"; } # host, target
state_is() { # host, state
	local s
	s=$(disk_state "$1")
	[ "$s" = "$2" ] || { echo "the disk of host $1 is '$s'"; return 1; }
}
server_other_than() { local p; p=$(disk_pid "$1") && [ -n "$p" ] && [ "$p" != "$2" ]; } # host, pid
# One that no guest has ends in order, and stays away until romulusd starts again.
server_stop() { lab run "$1" 'p=$(pidof romulus-disk) || exit 0; kill $p; i=0; while [ -e /proc/$p ] && [ $i -lt 100 ]; do i=$((i + 1)); usleep 100000; done; ! [ -e /proc/$p ]'; } # host
daemon_again() { # host
	lab run "$1" 'p=$(pidof romulusd) && kill $p; i=0; while pidof romulusd >/dev/null && [ $i -lt 100 ]; do i=$((i + 1)); usleep 100000; done; ! pidof romulusd' &&
		rom_start "$1"
}
# As romulus-disk(8) says: this copy is given up, and the other host's is copied.
disk_anew() { server_stop "$1" && disk_format "$1" target --force && daemon_again "$1"; } # host
disk_of_size() { # host, MiB: another image and an empty journal
	server_stop "$1" && disk_detach "$1" && disk_image "$1" target "$2" && disk_attach "$1" && disk_format "$1" target && daemon_again "$1"
}
# What the primary's server said last of the bytes that a session has to copy, by marks or not.
last_copy() { lab run "$1" "grep 'in the stream from epoch' $ROM_LOG" | tail -n 1; } # host
copied_by_marks() { # host: no more than a part of the disk, and without comparing it
	local line bytes
	line=$(last_copy "$1")
	bytes=$(sed -n 's/.*; \([0-9]*\) bytes to copy.*/\1/p' <<<"$line")
	echo "$line"
	[ -n "$bytes" ] && [ "$bytes" -lt $((DISK_MB * 1048576 * 3 / 4)) ] && [[ $line != *compared* ]]
}

# ---- g4 ----

at() { domain_at "$1" $G; }
not_at() { lab run "$1" "! xl domid $G >/dev/null 2>&1"; } # host: it answers, and has no such domain
only_at_primary() { at "$P" && not_at "$S"; }
worker_of() { lab run "$1" "cut -d' ' -f1 /run/romulus/$G.$2.pid"; } # host, primary|backup
worker_other_than() { local p; p=$(worker_of "$1" "$2") && [ -n "$p" ] && [ "$p" != "$3" ]; }
protected() { rom_protected "$P" $G; }
unprotected_at_primary() { rom_is "$P" $G '.protected | not'; }
# A command that holds now and at each look for so many seconds.
stays() { # seconds, command...
	local end=$((SECONDS + $1))
	shift
	while "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 0
		sleep 1
	done
	return 1
}
# A start of the guest there ends with these words, and leaves nothing.
start_refused() { # host, words
	local out
	if out=$(lab run "$1" "timeout 120 xl create -q /etc/xen/$G.cfg 2>&1"); then
		echo "it starts"
		return 1
	fi
	printf '%s\n' "$out" | tail -n 3
	grep -q "$2" <<<"$out" && wait_for 30 not_at "$1"
}
surrender_asks() { # host: `romulus surrender` without its --yes
	local out
	if out=$(rom "$1" surrender $G 2>&1); then
		echo "it was given up"
		return 1
	fi
	printf '%s\n' "$out" | tail -n 3
	grep -q 'is lost when' <<<"$out" && grep -q 'with --yes' <<<"$out"
}
# A session to the other host is refused with these words, and goes on being refused.
protect_refused() { # policy, words
	local out
	# The doctor would say so before; what the session says is wanted here.
	if out=$(rom_protect "$P" $G "$1" --timeout 30s --skip-doctor 2>&1); then
		echo "it is protected"
		return 1
	fi
	printf '%s\n' "$out" | tail -n 3
	grep -q "$2" <<<"$out" && unprotected_at_primary && at "$P"
}

# ---- the stage ----

# Both disks new, A's the right one.
start_afresh() {
	local h
	for h in A B; do
		! host_up $h || lab kill $h
		lab restore rep $h
		lab restore lan $h
	done
	for h in A B; do
		lab restart $h && lab run $h "rm -rf /srv/*" && rom_put $h && disk_kernel $h &&
			disk_make $h "$([ $h = A ] && echo source || echo target)" && rom_start $h || return 1
	done
	P=A S=B
	wait_for 20 disk_serves A && lab guest-up A $G
}
hosts_ready() {
	local h
	for h in A B; do
		lab restore rep $h && lab restore lan $h || return 1
		if ! host_up $h; then
			disk_revive $h || return 1
			continue
		fi
		daemon_up $h || rom_start $h || return 1
		dm_is $h linear || dm_table $h linear || return 1
		wait_for 20 disk_pid $h || return 1
	done
}
guest_ready() { # sets P and S; where nobody runs it the copy that counts decides
	local a=1 b=1
	at A || a=0
	at B || b=0
	case $a$b in
	11) echo "$G is on both hosts"; return 1 ;;
	10) P=A S=B ;;
	01) P=B S=A ;;
	00)
		case $(disk_state A)-$(disk_state B) in
		active-active) echo "both hosts' disks are active"; return 1 ;;
		active-*) P=A S=B ;;
		*-active) P=B S=A ;;
		*) echo "no host's disk is active"; return 1 ;;
		esac
		lab guest-up $P $G || return 1
		;;
	esac
	wait_for 30 redis_ping "$G4"
}
unprotected() { # whatever it was
	rom_is "$P" $G '.role == "primary"' || return 0
	rom "$P" unprotect $G || rom "$P" unprotect $G --force
}
stage() { # policy, [options of protect]
	local policy=$1
	shift
	LOCKSTEP=0 CLIENT=0
	drop_client
	hosts_ready && guest_ready || return 1
	unprotected && wait_for 60 nothing_at "$S" || return 1
	[ -z "$policy" ] || rom_protect "$P" $G "$policy" "$@"
}
# ready POLICY|'' [options of protect], as in scene.sh; loaded: and the programs run.
loaded() { ready "$@" && work_start; }
work_start() {
	LOCKSTEP=1 CLIENT=1
	# What redis has kept of earlier ones is not this one's.
	WORKS=$((WORKS + 1))
	expect "lockstep counts" lockstep_start || return
	# shellcheck disable=SC2086  # words
	expect "the client is served" client_start client --host $G --prefix "w$WORKS:" --rate 20 --ring 5000 --stall 600 ${CLIENT_MORE:-}
}

# ---- what comes of a fault ----

# fault WHAT COMMAND...: does it, and sees that protection ends with it.
fault() {
	local t rc=0
	expect "the state can be watched" watch_start "$P" $G || return
	t=$(now_ms)
	expect "$1" "${@:2}" || rc=1
	[ $rc != 0 ] || expect "which ends protection" wait_for 60 watch_after "$t" '.protected | not' || rc=1
	watch_stop
	return $rc
}
protected_again() { expect "protected again by itself" wait_for 240 protected; }
client_lives() { expect "the client is served" client_still_flows client "${1:-60}"; }
lost_is() { # the client's word on what is missing, which counts for the last line
	local n
	n=$(fact_of client lost)
	LOST=$((LOST + ${n:-1}))
	[ "${n:-none}" = 0 ] || { echo "lost: ${n:-it does not say}"; return 1; }
}
work_done() { # the programs end, and have found nothing
	local line bad errors
	if [ "$CLIENT" = 1 ]; then
		client_done client
		expect "all that was acknowledged is there" lost_is
	fi
	CLIENT=0
	[ "$LOCKSTEP" = 1 ] || return 0
	LOCKSTEP=0
	bad=$(lockstep_bad)
	MISMATCHES=$((MISMATCHES + ${bad:-1}))
	expect "lockstep has gone on" lockstep_runs
	line=$(lockstep_end)
	expect "memory and disk were of one epoch all the time" grep -q ' mismatches=0$' <<<"$line"
	expect "and it has written" test "$(sed -n 's/^lockstep writes=\([0-9]*\) .*/\1/p' <<<"$line")" -ge 50
	errors=$(disk_errors)
	expect "the guest saw no error of its disk" test -z "$errors" || printf '%s\n' "$errors" | head -n 5
	# Nothing was seen by a guest that could not be asked.
	expect "its kernel can be asked" lab guest-run $G 'dmesg | grep -q "EXT4-fs.*mounted"'
}
# The end of each scenario: protected, quiet, equal, unprotected, clean, off.
sound() {
	work_done
	expect "it is protected" protected && expect "both disks are equal, says romulus verify" rom "$P" verify $G --wait
	expect "the primary's disk is active" state_is "$P" active
	expect "the backup's is consistent" state_is "$S" consistent
	expect "it is unprotected" unprotected
	expect "the file system is clean" disk_fsck "$P" || FSCK_ERRORS=$((FSCK_ERRORS + 1))
	expect "the guest is ended" lab guest-down "$P" $G
}
# A backup's host is back from a loss, cut off from its peer.
idle_and_outdated() { # host, seconds
	expect "its disk is outdated" wait_for 20 state_is "$1" outdated
	expect "it runs nothing by itself" wait_for 30 nothing_at "$1"
	expect "for $2 s" stays "$2" nothing_at "$1"
	expect "nobody can start the guest there by mistake" start_refused "$1" "copy is older than the other host's"
	expect_not "nor take it over" rom "$1" failover $G --force --timeout 10s
	expect "and nothing has come of that" nothing_at "$1"
}
