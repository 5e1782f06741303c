# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# For scenarios that need Romulus itself in the hosts: install what was built, make certificates and configuration, start the
# daemons, protect a guest, ask for its state, watch a client. Sourced after lib.sh.

ROM_VARIANT=${ROM_VARIANT:-release}
ROM_STAGE=$LAB_DIR/stage-$ROM_VARIANT
ROM_HEARTBEAT_MS=${ROM_HEARTBEAT_MS:-250}
ROM_FAILURE_MS=${ROM_FAILURE_MS:-2000}
ROM_EPOCH_MS=${ROM_EPOCH_MS:-50}
# What most scenarios do after a failover they want to say themselves.
ROM_REPROTECT=${ROM_REPROTECT:-never}
G1=10.77.0.50

rep_ip() { [ "$1" = A ] && echo 10.88.0.1 || echo 10.88.0.2; }
lan_ip() { [ "$1" = A ] && echo 10.77.0.11 || echo 10.77.0.12; }
host_name() { echo "host$1"; }
other() { [ "$1" = A ] && echo B || echo A; }

# ---- installing and starting ----

rom_stage() { # what `make install` installs, as one folder that is copied over a dom0's root
	rm -rf "$ROM_STAGE"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$LAB_ROOT" install BUILD="$ROM_VARIANT" DESTDIR="$ROM_STAGE" \
		PREFIX=/usr/local >"$LAB_OUT/install.log" 2>&1
}
rom_cert() { # authority's folder, host's name, where to: the host's certificate, signed by that authority
	"$ROM_STAGE/usr/local/sbin/romulus" cert host "$2" --ca-dir "$1" --out "$3"
}
rom_certs() { # one authority, a certificate for each host, made by our own tool on this side
	local d=$LAB_OUT/certs h
	mkdir -p "$d/A" "$d/B"
	"$ROM_STAGE/usr/local/sbin/romulus" cert ca --out "$d" || return 1
	for h in A B; do
		rom_cert "$d" "$(host_name "$h")" "$d/$h" || return 1
		cp "$d/ca.pem" "$d/$h/" || return 1
	done
}
rom_conf() { # host: prints its romulus.conf
	local o
	o=$(other "$1")
	cat <<-C
	host: { name = "$(host_name "$1")"; };
	peers: ( { name = "$(host_name "$o")"; address = "$(rep_ip "$o")"; } );
	defaults: {
		epoch-period = "${ROM_EPOCH_MS}ms";
		heartbeat-period = "${ROM_HEARTBEAT_MS}ms";
		failure-timeout = "${ROM_FAILURE_MS}ms";
		reprotect = "$ROM_REPROTECT";
	};
	${ROM_CONF_MORE:-}
	C
}
rom_put() { # host: copy all of it into its dom0
	local d=$LAB_OUT/etc-$1
	mkdir -p "$d"
	rom_conf "$1" >"$d/romulus.conf"
	tar -C "$ROM_STAGE" --owner=0 --group=0 -cf - . | lab run "$1" -i 'tar -C / -xf - && mkdir -p /var/log/romulus /var/lib/romulus' &&
		lab push "$1" "$LAB_OUT/certs/$1/ca.pem" "$LAB_OUT/certs/$1/host.pem" "$LAB_OUT/certs/$1/host.key" "$d/romulus.conf" /etc/romulus
}
rom_start() { # host...: the daemon, in the background of its dom0
	local h
	for h; do
		lab run "$h" 'setsid /usr/local/sbin/romulusd >>/var/log/romulus/romulusd.log 2>&1 </dev/null & echo $! >/run/romulusd.pid'
		if ! wait_for 30 rom_answers "$h"; then
			lab run "$h" 'tail -n 5 /var/log/romulus/romulusd.log'
			return 1
		fi
	done
}
rom_answers() { lab run "$1" 'romulus status >/dev/null 2>&1; test $? != 1'; }
rom_install() { # host...: build, stage, copy, start
	local h
	if ! rom_stage || ! rom_certs >>"$LAB_OUT/install.log" 2>&1; then
		tail -n 20 "$LAB_OUT/install.log"
		return 1
	fi
	for h; do
		rom_put "$h" && rom_start "$h" || return 1
	done
}
rom_revive() { # host: boot a killed host, install and start Romulus again (a dom0 keeps nothing over a boot)
	lab restart "$1" && rom_put "$1" && rom_start "$1"
}

# ---- asking ----

rom() { # host, words of `romulus`
	local h=$1
	shift
	lab run "$h" romulus "$@"
}
rom_protect() { # host, vm, policy, [more options]: returns when it is protected, or does not become so
	local h=$1 vm=$2 policy=$3
	shift 3
	rom "$h" protect "$vm" --to "$(host_name "$(other "$h")")" --on-peer-loss "$policy" --timeout 180s "$@"
}
rom_json() { (LAB_TIMEOUT=20 lab run "$1" romulus status "$2" --json 2>/dev/null) | jq -c '.vms[0] // {}' 2>/dev/null; } # host, vm
rom_get() { rom_json "$1" "$2" | jq -r "$3"; }                       # host, vm, jq's path: prints the value
rom_is() { # host, vm, jq's condition; says what it is instead
	local json
	json=$(rom_json "$1" "$2")
	jq -e "$3" <<<"$json" >/dev/null 2>&1 && return 0
	jq -c '{state, protected, epoch, held: .output.held, problem}' <<<"$json"
	return 1
}
rom_protected() { rom_is "$1" "${2:-g1}" '.role == "primary" and .protected'; }
# Before a host is killed: a session that a busy machine has ended is a fact of its own, and its VM, in the middle of another first copy,
# would die with the host as it would without us. Its log is kept, which dies with the host.
rom_settled() { # host, vm
	rom_protected "$1" "$2" >/dev/null && return 0
	lab run "$1" "cat /var/log/romulus/romulusd.log" >"$LAB_OUT/unsettled-$1-$(date +%s).log" 2>&1
	fact unsettled "$2 on $1: its session was lost before the host was; see unsettled-*.log"
	wait_for 120 rom_protected "$1" "$2"
}
rom_pids() { lab run "$1" "pidof romulusd romulus-primary romulus-backup romulus-domain"; } # host
domain_at() { lab run "$1" "xl domid $2 >/dev/null 2>&1"; }          # host, vm: is there one of this name?
domains_at() { lab run "$1" 'xl list' | awk 'NR > 1 && $2 { print $1 }'; } # host: all but dom0
nothing_at() { # host: no guest, no standby, no worker
	local d
	d=$(domains_at "$1") || return 1
	[ -z "$d" ] || { echo "domains at $1: $d"; return 1; }
	lab run "$1" '! pidof romulus-primary romulus-backup romulus-domain && ! ls /run/romulus | grep -E "[.](primary|backup)[.]"'
}
guest_cpu() { lab run "$1" 'xl list' | awk -v g="$2" '$1 == g { print $6 }'; } # host, vm: seconds of CPU time that it has used

# A record of the state, ten times a second, each with the time of its arrival: "MS JSON" in $LAB_OUT/watch.log.
watch_start() { # host, vm
	bg watch setsid bash -c '
		. "$1/common.sh"
		"$1/lab" run "$2" romulus status "$3" --json --watch=100ms | while read -r line; do echo "$(now_ms) $line"; done' \
		watch "$LAB_SRC" "$1" "$2"
	wait_for 20 test -s "$LAB_OUT/watch.log"
}
watch_stop() { # all of its pipe: `romulus` over there ends with it
	local pid
	pid=$(pid_of "$LAB_OUT/watch.pid") && kill -TERM -- "-$pid"
	client_end watch "" 10
	return 0
}
# The first record at or after the time for which the condition holds; prints how many ms later it came.
watch_after() { # time, jq's condition
	awk -v t="$1" '$1 >= t' "$LAB_OUT/watch.log" | while read -r ms json; do
		if jq -e ".vms[0] | $2" >/dev/null 2>&1 <<<"$json"; then
			echo $((ms - $1))
			break
		fi
	done | grep .
}
# P5: from so many ms after the peer was lost on, nothing said "protected"; judged by the clock of this side.
watch_honest() { # when it was lost, ms
	awk -v t="$(($1 + $2))" '$1 >= t' "$LAB_OUT/watch.log" | cut -d' ' -f2- | jq -e -s '[.[].vms[0] | select(.protected)] | length == 0'
}

# ---- load and clients ----

load_start() { # vm, pages a second, working set, content
	lab guest-run "$1" "setsid dirty $2 $3 $4 >/dev/null 2>&1 </dev/null & echo \$! >/run/dirty.pid"
}
load_stop() { lab guest-run "$1" 'kill $(cat /run/dirty.pid) && rm /run/dirty.pid'; }

# Numbered frames of all kinds: seqrecv sees one that left the guest in an epoch that the guest was set back before.
frames_start() { # vm
	lab guest-run "$1" 'pidof seqsend >/dev/null || setsid seqsend -r 50 >/dev/null 2>&1 </dev/null &'
	client_bg frames seqrecv
}
frames_done() { # none leaked, and there were some
	client_end frames INT 30 && [ "$(fact_of frames frames)" -gt 0 ]
}

client_start() { # name, [options of redis_checker]
	local name=$1
	shift
	client_bg "$name" redis_checker --rate 150 --window 64 --ring 20000 --stall 240 --live "$@"
	client_mark "$name"
	wait_for 30 client_flows "$name"
}
client_mark() { CLIENT_MARK=$(grep -c '^client:' "$LAB_OUT/$1.log"); } # from here on client_flows counts
# Were there answers within a second that began after the mark?
client_flows() {
	awk -v mark="$CLIENT_MARK" '/^client:/ && ++n > mark + 1 && $2 > 0 && $6 < 1000 { yes = 1 } END { exit !yes }' "$LAB_OUT/$1.log"
}
client_silent() { # name, ms: no answer for so long
	awk -v ms="$2" '/^client:/ { last = $6 } END { exit !(last >= ms) }' "$LAB_OUT/$1.log"
}
client_still_flows() { # name: also from now on
	client_mark "$1"
	wait_for "${2:-30}" client_flows "$1"
}

# The longest time without an answer, ms, in a client's --log; "from to" by mono_ms().
gap_in() {
	awk -v w="$2" 'BEGIN { split(w, t, " ") }
		{ ms = $4 / 1000000 }
		last && ms >= t[1] && last <= t[2] && ms - last > gap { gap = ms - last }
		{ last = ms }
		END { printf "%.0f\n", gap }' "$1"
}
mono_ms() { awk '{ printf "%.0f\n", $1 * 1000 }' /proc/uptime; } # the clock of a client's --log

percentile() { sort -n | awk -v p="$1" '{ v[NR] = $1 } END { if (NR) { i = int(p * (NR - 1) + 0.5) + 1; print v[i] } else print 0 }'; }

# Kill the primary under a client of its own, which has to go on at the backup over the same connection. Sets FO_GAP, FO_LOST,
# FO_BROKEN; 1: the client never got another answer.
rom_failover() { # name, primary, [ms to wait before]
	local name=$1 from=$2 rc
	FO_GAP=0 FO_LOST=0 FO_BROKEN=1
	client_start "$name" --prefix fo: || { echo "the client gets no answers before the failover"; return 1; }
	wait_ms "${3:-0}"
	rom_settled "$from" g1 || { echo "g1 is not protected any more"; return 1; }
	client_mark "$name"
	lab kill "$from" || return 1
	wait_for 90 client_flows "$name" || echo "no answer for 90 s after the loss of host $from"
	client_end "$name" INT 300
	rc=$?
	FO_GAP=$(fact_of "$name" gap_ms) FO_LOST=$(fact_of "$name" lost)
	FO_GAP=${FO_GAP:-0} FO_LOST=${FO_LOST:-$(fact_of "$name" acked)}
	FO_LOST=${FO_LOST:-1}
	# The checker's 3: the connection broke, or nothing came for --stall seconds.
	[ "$rc" = 0 ] || [ "$rc" = 1 ] && FO_BROKEN=0
	[ "$rc" = 0 ]
}
wait_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
