# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# Shared by `lab` and lib.sh: where things are, the lock, polling, and processes known by their pid files.

LAB_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_ROOT=$(cd "$LAB_SRC/../.." && pwd)
case ${BUILD:-} in /*) ;; *) BUILD=$LAB_ROOT/build ;; esac  # make's BUILD is a variant's name, not a folder
LAB_DIR=$BUILD/lab
LAB_RUN=$LAB_DIR/run
LAB_NS_ETC=/etc/netns/lab  # `ip netns exec` shows its files in place of those in /etc
LAB_LOCK=/run/lock/romulus-lab.lock  # not in the build folder: the namespace `lab` is one for the whole machine

lab_say() { printf 'lab: %s\n' "$*" >&2; }
lab_die() { lab_say "$@"; exit 1; }

now_ms() {
	local t=${EPOCHREALTIME/[.,]/}
	echo "${t%???}"
}

# wait_for SECONDS COMMAND...: poll until the command succeeds; 1 when the time is over.
wait_for() {
	local end
	end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# A process of ours: FILE holds "PID START-TIME", so that a reused number is never taken for it.
proc_start() { # pid: its start time in ticks
	local s
	s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	s=${s##*) }
	# shellcheck disable=SC2086  # split on purpose: field 22 counted from the start, 20 after the name
	set -- $s
	[ "$1" != Z ] || return 1
	echo "${20}"
}
pid_record() { # file, pid
	printf '%s %s\n' "$2" "$(proc_start "$2")" >"$1"
}
pid_of() { # file: the pid if that process still lives
	local pid start
	read -r pid start 2>/dev/null <"$1" || return 1
	[ -n "$start" ] && [ "$(proc_start "$pid")" = "$start" ] || return 1
	echo "$pid"
}
pid_gone() { ! pid_of "$1" >/dev/null; }
pid_kill() { # file, signal: kill, wait until gone, forget
	local pid
	if pid=$(pid_of "$1"); then
		kill "-$2" "$pid" 2>/dev/null || true
		if ! wait_for 5 pid_gone "$1"; then
			kill -KILL "$pid" 2>/dev/null || true
			wait_for 10 pid_gone "$1" || lab_say "process $pid does not die"
		fi
	fi
	rm -f "$1"
}

# The lock: descriptor 9, inherited by the hosts' QEMU, so it is free when and only when nothing of the lab runs any more.
# A scenario holds it in its shell and passes LAB_LOCK_FD=9 down; its calls of `lab` then do not take it again.
lock_holder() { cat "$LAB_LOCK" 2>/dev/null || echo "unknown"; }
lock_take() { # what for; waits LAB_WAIT seconds (0)
	[ -z "${LAB_LOCK_FD:-}" ] || return 0
	mkdir -p "${LAB_LOCK%/*}"
	exec 9<>"$LAB_LOCK"
	if ! flock -w "${LAB_WAIT:-0}" 9; then
		exec 9>&-
		return 1
	fi
	printf 'root=%s for=%s pid=%s start=%s since=%s\n' "$LAB_ROOT" "$1" "$$" "$(proc_start $$)" "$(date +%FT%T)" >"$LAB_LOCK"
}
lock_is_scenario() { case $(lock_holder) in *' for=scenario:'*) ;; *) return 1 ;; esac; }
lock_scenario_alive() { # is the holder a scenario whose shell still runs?
	local line pid start
	line=$(lock_holder)
	lock_is_scenario || return 1
	pid=${line##* pid=} pid=${pid%% *}
	start=${line##* start=} start=${start%% *}
	[ "$(proc_start "$pid")" = "$start" ]
}
lock_is_ours() { case $(lock_holder) in "root=$LAB_ROOT "*) ;; *) return 1 ;; esac; }
