# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016
#
# Bad peers: whatever connects to the backup's port without a right to, or talks nonsense with one. Each is turned away with one
# line in the log that says why, and the protection of g1 never notices. The other side of TLS is openssl's, not ours. Sourced
# after scene.sh.

LOG=/var/log/romulus/romulusd.log
BAD_FRAMES=$LAB_ROOT/build/$ROM_VARIANT/bin/bad_frames

log_lines() { lab run "$S" "grep -c . $LOG"; }
# Warnings and errors since the mark.
complaints() { lab run "$S" "tail -n +$((LOG_MARK + 1)) $LOG | grep -E '^[0-9:.]+ (warn|err) '"; }
complained() { complaints | grep -qiE -- "$1"; } # what about
one_complaint() {
	[ "$(complaints | wc -l)" = 1 ] || { complaints; return 1; }
}
address() { lan_ip "$S"; }

tcp_says() { # file of bytes: over bare TCP, until the other side closes
	lab client timeout 20 socat -t 15 "OPEN:$1,rdonly!!STDOUT" "TCP:$(address):7403"
}
tls_says() { # file of bytes, options of s_client: until the other side closes
	local file=$1
	shift
	lab client timeout 20 openssl s_client -connect "$(address):7403" -CAfile "$LAB_OUT/certs/ca.pem" -nocommands -quiet "$@" <"$file"
}
with_certificate() { # folder of a certificate, file of bytes, [options]
	tls_says "$2" -cert "$1/host.pem" -key "$1/host.key" "${@:3}"
}

turned_away() { # name, what the line says, command...
	local name=$1 line=$2
	shift 2
	LOG_MARK=$(log_lines)
	"$@" >"$LAB_OUT/peer.tmp" 2>&1
	expect "$name: turned away with a word why" wait_for 20 complained "$line"
	expect "$name: a single one" one_complaint
	complaints | sed 's/^/     /'
}

make_strangers() {
	local d=$LAB_OUT/strangers
	mkdir -p "$d/other" "$d/hostC" "$d/fake"
	rom_cert "$LAB_OUT/certs" hostC "$d/hostC" || return 1
	"$ROM_STAGE/usr/local/sbin/romulus" cert ca --out "$d/other" && rom_cert "$d/other" "$(host_name "$P")" "$d/fake"
}
unharmed() { # since_ms, epoch, pid of before
	rom_is "$P" g1 ".protected and .since_ms >= $1 and .epoch > $2" &&
		[ "$(lab run "$S" 'cat /run/romulus/g1.backup.pid')" = "$3" ]
}
silent_ones() { # N connections that say nothing, until the other side has closed them
	local i pids=()
	for ((i = 0; i < $1; i++)); do
		lab client timeout 20 socat -u "TCP:$(address):7403" STDOUT &
		pids+=($!)
	done
	wait "${pids[@]}"
}

bad_peers() {
	local d=$LAB_OUT/strangers me=$LAB_OUT/certs since epoch pid c
	ready backup-wins || return
	expect "certificates are made" make_strangers || return
	expect "the client is served" client_start client || return
	me=$me/$P
	since=$(rom_get "$P" g1 .since_ms) epoch=$(rom_get "$P" g1 .epoch) pid=$(lab run "$S" 'cat /run/romulus/g1.backup.pid')
	for c in $("$BAD_FRAMES"); do
		"$BAD_FRAMES" "$c" "$(host_name "$P")" >"$LAB_OUT/$c.frames"
	done
	printf 'GET / HTTP/1.0\r\n\r\n' >"$LAB_OUT/http"
	: >"$LAB_OUT/nothing"

	turned_away "plain text" 'tls|handshake|http' tcp_says "$LAB_OUT/http"
	turned_away "garbage instead of TLS" 'tls|handshake|record' tcp_says "$LAB_OUT/garbage.frames"
	turned_away "no certificate" 'certificate' tls_says "$LAB_OUT/replayed.frames"
	turned_away "certificate of another authority" 'certificate' with_certificate "$d/fake" "$LAB_OUT/replayed.frames"
	turned_away "a stranger's name" 'hostC.*not among' with_certificate "$d/hostC" "$LAB_OUT/replayed.frames"
	turned_away "TLS 1.2" 'protocol|version|tls' with_certificate "$me" "$LAB_OUT/nothing" -tls1_2
	turned_away "says nothing" 'in time' silent_ones 1
	turned_away "garbage" 'not a frame' with_certificate "$me" "$LAB_OUT/garbage.frames"
	turned_away "truncated frame" 'in the middle of a frame' with_certificate "$me" "$LAB_OUT/truncated.frames" -no_ign_eof
	turned_away "oversized frame" '4294967295 bytes' with_certificate "$me" "$LAB_OUT/oversized.frames"
	turned_away "damaged header" 'header is damaged' with_certificate "$me" "$LAB_OUT/damaged-header.frames"
	turned_away "damaged payload" 'payload.*damaged' with_certificate "$me" "$LAB_OUT/damaged-payload.frames"
	turned_away "replayed frame" 'repeated' with_certificate "$me" "$LAB_OUT/replayed.frames"
	turned_away "frame out of order" 'EPOCH_END' with_certificate "$me" "$LAB_OUT/out-of-order.frames"
	turned_away "unknown type of frame" 'type 77' with_certificate "$me" "$LAB_OUT/unknown-type.frames"
	turned_away "version of the future" 'version' with_certificate "$me" "$LAB_OUT/future-version.frames"
	turned_away "somebody else's name" 'calls itself hostC' with_certificate "$me" "$LAB_OUT/impostor.frames"
	turned_away "wants all memory" 'need .*MiB' with_certificate "$me" "$LAB_OUT/greedy.frames"
	LOG_MARK=$(log_lines)
	silent_ones 20 2>/dev/null
	expect "twenty at a time: the ninth is not served" complained 'have not authenticated'

	expect "the protection of g1 went on all the while" unharmed "$since" "$epoch" "$pid"
	expect "no stranger left a worker or a domain" one_standby "$S"
	expect "a true peer is still welcome" rom "$P" unprotect g1
	expect "and protects again" rom_protect "$P" g1 backup-wins
	expect "the client is served still" client_still_flows client
	client_done client
}
