# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For scenarios that need Romulus itself in the hosts: install what was built, make certificates and configuration, start the
# daemons, protect a guest, ask for its state. Sourced after lib.sh.

ROM_VARIANT=${ROM_VARIANT:-release}
ROM_STAGE=$LAB_DIR/stage-$ROM_VARIANT
rep_ip() { [ "$1" = A ] && echo 10.88.0.1 || echo 10.88.0.2; }
host_name() { echo "host$1"; }
other() { [ "$1" = A ] && echo B || echo A; }

rom_stage() { # what `make install` installs, as one folder that is copied over a dom0's root
	rm -rf "$ROM_STAGE"
	make -s -C "$LAB_ROOT" install BUILD="$ROM_VARIANT" DESTDIR="$ROM_STAGE" PREFIX=/usr/local >"$LAB_OUT/install.log" 2>&1
}

rom_certs() { # one authority, a certificate for each host, made by our own tool on this side
	local d=$LAB_OUT/certs h tool=$ROM_STAGE/usr/local/sbin/romulus
	mkdir -p "$d/A" "$d/B"
	"$tool" cert ca --out "$d" >/dev/null || return 1
	for h in A B; do
		"$tool" cert host "$(host_name "$h")" --ca "$d" --san "$(rep_ip "$h")" --out "$d/$h" >/dev/null || return 1
		cp "$d/ca.pem" "$d/$h/" || return 1
	done
}

rom_conf() { # host: prints its romulus.conf
	local h=$1 o
	o=$(other "$h")
	cat <<-C
	host: { name = "$(host_name "$h")"; };
	peers: ( { name = "$(host_name "$o")"; address = "$(rep_ip "$o")"; } );
	defaults: {
		epoch-period = "${ROM_EPOCH:-50ms}";
		heartbeat-period = "${ROM_HEARTBEAT:-250ms}";
		failure-timeout = "${ROM_FAILURE:-2s}";
	};
	C
}

rom_install() { # host...
	local h
	rom_stage || { cat "$LAB_OUT/install.log"; return 1; }
	rom_certs || return 1
	for h; do
		mkdir -p "$LAB_OUT/etc-$h"
		rom_conf "$h" >"$LAB_OUT/etc-$h/romulus.conf"
		rom_put "$h" || return 1
	done
}

rom_put() { # host: copy all of it into its dom0
	local h=$1
	tar -C "$ROM_STAGE" -cf - . | lab run -i "$h" 'tar -C / -xf - --no-same-owner' || return 1
	lab run "$h" 'mkdir -p /etc/romulus /var/log/romulus /run/romulus /var/lib/romulus' || return 1
	lab push "$h" "$LAB_OUT/certs/$h/ca.pem" "$LAB_OUT/certs/$h/host.pem" "$LAB_OUT/certs/$h/host.key" \
		"$LAB_OUT/etc-$h/romulus.conf" /etc/romulus
}

rom_start() { # host...: the daemon, in the background of its dom0
	local h
	for h; do
		lab run "$h" 'setsid /usr/local/sbin/romulusd >>/var/log/romulus/romulusd.log 2>&1 </dev/null & echo $! >/run/romulusd.pid' || return 1
		wait_for 20 lab run "$h" 'test -S /run/romulus/romulusd.ctl' || return 1
	done
}

rom() { # host, words of `romulus`
	local h=$1
	shift
	lab run "$h" romulus "$@"
}
rom_json() { # host, vm, key of the status of its worker there (a dotted path)
	lab run "$1" romulus status "$2" --json 2>/dev/null | python3 -c '
import json, sys
try:
    v = json.load(sys.stdin)
    v = v["vms"][0] if isinstance(v, dict) and v.get("vms") else v
    for k in sys.argv[1].split("."):
        v = v[k]
    print(str(v).lower() if isinstance(v, bool) else v)
except Exception:
    sys.exit(1)' "$3"
}
rom_is() { # host, vm, key, value
	[ "$(rom_json "$1" "$2" "$3")" = "$4" ]
}
