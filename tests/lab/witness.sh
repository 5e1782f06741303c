# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# For scenarios with an arbiter: the third machine. It is this one: romulus-witness in the clients' namespace, at an address of its own
# on the LAN, with a certificate of the hosts' authority. What stands between it and one host alone is a false entry in that host's
# table of neighbours: what the host sends there goes to nobody, and nobody answers, as with a pulled cable. Sourced after romulus.sh.

WITNESS=witness1
# Of one question; an emulated host takes its time for a handshake of TLS.
ARBITER_TIMEOUT_MS=${ARBITER_TIMEOUT_MS:-3000}
ARBITER_BIN=/usr/local/libexec/romulus/romulus-arbiter
declare -A WITNESS_RUN=() # by name: what bg() knows it by
WITNESS_RUNS=0

witness_ip() { case $1 in witness1) echo 10.77.0.2 ;; *) echo 10.77.0.3 ;; esac; }
# What romulus.conf of both hosts has to say.
arbiter_conf() { # [witness]
	local w=${1:-$WITNESS}
	echo "arbiter: { kind = \"witness\"; witness-name = \"$w\"; witness-address = \"$(witness_ip "$w")\"; timeout = \"${ARBITER_TIMEOUT_MS}ms\"; };"
}
witness_bin() { # witness, options...: the program, with that witness's configuration
	"$ROM_STAGE/usr/local/sbin/romulus-witness" --config "$LAB_OUT/$1/witness.conf" "${@:2}"
}
witness_make() { # witness: all that it needs, once; rom_certs has made the authority
	local d=$LAB_OUT/$1
	[ ! -e "$d/witness.conf" ] || return 0
	mkdir -p "$d" && rom_cert "$LAB_OUT/certs" "$1" "$d" && ip -n lab addr replace "$(witness_ip "$1")/24" dev br0 || return 1
	cat >"$d/witness.conf" <<-C
	listen-address = "$(witness_ip "$1")";
	ca = "$LAB_OUT/certs/ca.pem";
	cert = "$d/host.pem";
	key = "$d/host.key";
	state-dir = "$d/grants";
	C
	witness_bin "$1" --init
}
witness_lives() { [ -n "${WITNESS_RUN[$1]:-}" ] && pid_of "$LAB_OUT/${WITNESS_RUN[$1]}.pid" >/dev/null; }
witness_start() { # witness
	local run=$1-$((++WITNESS_RUNS))
	client_bg "$run" "$ROM_STAGE/usr/local/sbin/romulus-witness" --config "$LAB_OUT/$1/witness.conf"
	WITNESS_RUN[$1]=$run
	wait_for 10 grep -q 'listening at' "$LAB_OUT/$run.log" && witness_lives "$1"
}
witness_kill() { # witness
	witness_lives "$1" && pid_kill "$LAB_OUT/${WITNESS_RUN[$1]}.pid" KILL && ! witness_lives "$1"
}
witness_up() { # [witness]: it runs, whatever was before
	local w=${1:-$WITNESS}
	witness_make "$w" || return 1
	witness_lives "$w" || witness_start "$w"
}

# ---- the way to it ----

witness_cut() { lab run "$1" "ip neigh replace $(witness_ip "$WITNESS") lladdr 02:00:00:00:00:fe dev xenbr0 nud permanent"; } # host
witness_restore() { # host
	lab run "$1" "ip neigh del $(witness_ip "$WITNESS") dev xenbr0 2>/dev/null; ! ip neigh show nud permanent | grep -q '^$(witness_ip "$WITNESS") '"
}
look_from() { # host: what romulus-arbiter says there of $UUID
	lab run "$1" "$ARBITER_BIN look g1 --uuid $UUID --peer $(host_name "$(other "$1")")"
}
sees_witness() { # host
	local a
	a=$(look_from "$1")
	echo "$a"
	[[ $a == held\ * || $a == none ]]
}
blind_to_witness() { # host
	local a
	a=$(look_from "$1")
	echo "$a"
	[[ $a == unknown\ * ]]
}

# ---- what it has granted ----

guest_uuid() { lab run "$1" 'xl list -v g1' | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | head -n 1; } # host
# "TERM HOLDER" of $UUID, from its folder: it need not run for that.
recorded() { witness_bin "$WITNESS" --list | awk -v u="$UUID" '$1 == u { print $3, $5 }'; }
recorded_term() { local r; r=$(recorded); echo "${r%% *}"; }
recorded_host() { # A or B
	local r
	r=$(recorded)
	case $r in *" $(host_name A)") echo A ;; *" $(host_name B)") echo B ;; *) return 1 ;; esac
}
record_is() { # "TERM HOLDER"
	local r
	r=$(recorded)
	echo "recorded: $r"
	[ "$r" = "$1" ]
}
granted_since() { # host, term: it holds a newer one
	local r
	r=$(recorded)
	echo "recorded: $r, before: $2"
	[ "${r#* }" = "$(host_name "$1")" ] && [ "${r%% *}" -gt "$2" ]
}

# ---- hosts that had no arbiter until now, or shall have none any more ----

conf_put() { rom_conf "$1" >"$LAB_OUT/etc-$1/romulus.conf" && lab push "$1" "$LAB_OUT/etc-$1/romulus.conf" /etc/romulus; } # host
daemon_anew() { # host: workers go on meanwhile
	lab run "$1" 'p=$(pidof romulusd) && kill $p; i=0; while pidof romulusd >/dev/null && [ $i -lt 100 ]; do i=$((i + 1)); usleep 100000; done; ! pidof romulusd' &&
		rom_start "$1"
}
