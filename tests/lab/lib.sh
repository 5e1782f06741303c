# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For scenarios. A scenario looks like this:
#
#   . "$(dirname "$0")/lib.sh"
#   lab_begin failover AB          # takes the lock, boots; whatever happens from here on, the lab is taken down at the end
#   lab guest-up A g1
#   client_bg checker redis_checker --host 10.77.0.50
#   lab kill A
#   check "redis answers after the loss of A" wait_for 30 redis_ping 10.77.0.50
#   client_end checker INT         # its output is in $LAB_OUT/checker.log, its status is returned
#   fact gap_ms "$(fact_of checker gap_ms)"
#   lab_end                        # prints "N passed, M failed", collects logs if M is not 0, exits
#
# Exit status: 0 all passed, 1 some failed, 77 the machine lacks something (with a word why).

# shellcheck source=tests/lab/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

lab() { "$LAB_SRC/lab" "$@"; }

lab_begin() { # name, [A|B|AB]
	LAB_NAME=$1
	LAB_OUT=$LAB_DIR/out/$1
	LAB_OK=0 LAB_FAILED=0 LAB_DONE=
	LAB_LIVING=()
	[ "$(id -u)" = 0 ] || { echo "SKIP $1: not root"; exit 77; }
	[ -c /dev/net/tun ] || { echo "SKIP $1: no /dev/net/tun"; exit 77; }
	# A scenario that was shot has left its hosts behind, and they hold the lock.
	if ! flock -n "$LAB_LOCK" true && lock_is_ours && lock_is_scenario && ! lock_scenario_alive; then
		lab down
	fi
	if ! LAB_WAIT=${LAB_WAIT:-30} lock_take "scenario:$1"; then
		echo "FAIL $1: the lab is taken: $(lock_holder)"
		exit 1
	fi
	export LAB_LOCK_FD=9
	rm -rf "$LAB_OUT"
	mkdir -p "$LAB_OUT"
	trap 'lab_abort 130' INT
	trap 'lab_abort 143' TERM HUP
	trap 'lab_abort $?' EXIT
	lab down  # what an interrupted run left
	lab up "${2:-AB}" || { fail "hosts ${2:-AB} come up"; lab_end; }
}

ok() {
	LAB_OK=$((LAB_OK + 1))
	printf 'ok %s\n' "$1"
}
fail() { # name, [why]
	LAB_FAILED=$((LAB_FAILED + 1))
	printf 'FAIL %s%s\n' "$1" "${2:+: $2}"
}
check() { # name, command...
	local name=$1
	shift
	if "$@" >"$LAB_OUT/check.tmp" 2>&1; then
		ok "$name"
	else
		fail "$name" "$(tail -n 3 "$LAB_OUT/check.tmp" | tr '\n' ' ')"
		return 1
	fi
}
check_not() { # name, command...: the command has to fail
	local name=$1
	shift
	if "$@" >"$LAB_OUT/check.tmp" 2>&1; then
		fail "$name" "it succeeded"
		return 1
	fi
	ok "$name"
}
fact() { # key, value: a number worth keeping, on the output and in $LAB_OUT/facts
	printf 'fact %s=%s\n' "$1" "$2" | tee -a "$LAB_OUT/facts"
}

redis_ping() { [ "$(lab client timeout 3 redis-cli -h "$1" ping 2>/dev/null)" = PONG ]; }

# Background processes in the client's place or in a host, known by name and ended by their recorded pid.
bg() { # name, command...
	local name=$1 pid
	shift
	"$@" >"$LAB_OUT/$name.log" 2>&1 </dev/null 9>&- &
	pid=$!
	pid_record "$LAB_OUT/$name.pid" "$pid"
	LAB_LIVING+=("$name")
	printf -v "LAB_PID_${name//[!a-zA-Z0-9]/_}" %s "$pid"
}
client_bg() { # name, command...
	local name=$1
	shift
	bg "$name" env PATH="$LAB_DIR/bin:$PATH" ip netns exec lab "$@"
}
client_end() { # name, [signal, [seconds]]: ask it to end, wait for it, return its status; without a signal only wait
	local var=LAB_PID_${1//[!a-zA-Z0-9]/_}
	local pid=${!var}
	[ -z "${2:-}" ] || kill "-$2" "$pid" 2>/dev/null
	if ! wait_for "${3:-150}" pid_gone "$LAB_OUT/$1.pid"; then
		pid_kill "$LAB_OUT/$1.pid" KILL
	fi
	rm -f "$LAB_OUT/$1.pid"
	wait "$pid"
}
fact_of() { # name of a background process, key: the last key=value in its log
	sed -n "s/^\(.* \)\{0,1\}$2=\([^ ]*\).*/\2/p" "$LAB_OUT/$1.log" | tail -n 1
}

# What the last line says; a scenario with facts to close with has its own.
lab_last_line() { echo "$LAB_OK passed, $LAB_FAILED failed"; }

lab_sweep() {
	local name
	for name in ${LAB_LIVING[@]+"${LAB_LIVING[@]}"}; do
		[ -e "$LAB_OUT/$name.pid" ] && pid_kill "$LAB_OUT/$name.pid" TERM
	done
	if [ "$LAB_FAILED" != 0 ] && [ -z "${LAB_NO_LOGS:-}" ]; then
		timeout 120 "$LAB_SRC/lab" logs "$LAB_OUT/logs"
		echo "logs are in $LAB_OUT"
	fi
	if [ -n "${LAB_KEEP:-}" ]; then
		echo "the lab is left up (LAB_KEEP); end it with: tests/lab/lab down"
	else
		lab down
	fi
}
lab_abort() { # status: by a signal, or an exit before lab_end
	trap - EXIT
	trap '' INT TERM HUP
	[ -n "$LAB_DONE" ] && exit "$1"
	LAB_DONE=1
	fail "$LAB_NAME runs to its end" "ended with status $1"
	lab_sweep
	lab_last_line
	exit "$(($1 ? $1 : 1))"
}
lab_end() {
	trap - EXIT
	trap '' INT TERM HUP
	LAB_DONE=1
	lab_sweep
	lab_last_line
	[ "$LAB_FAILED" = 0 ]
	exit
}
