# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016
#
# Scenarios in which protection ends, begins where it cannot, or must leave something alone. Sourced after scene.sh.

no_worker() { lab run "$1" "! pidof romulus-primary romulus-backup"; }
# The guest of $P ended in some way: protection ends with it, everywhere.
ended_everywhere() {
	expect "protection ends" wait_for 90 no_worker "$P"
	expect "the state says that it is not protected" test "$(rom_exit "$P" g1)" = 4
	expect "the backup keeps no standby" wait_for 60 nothing_at "$S"
	expect "nothing is left at the primary" left_nothing "$P"
}
rom_exit() { rom "$1" status "$2" >/dev/null 2>&1; echo $?; }
left_nothing() { # host: of what only protection makes
	local t
	# There is always something, or nobody answered.
	t=$(traces "$1") && [ -n "$t" ] || return 1
	t=$(grep -E '^rm|qdisc plug|/sys/fs/bpf/romulus/|/run/romulus/.*(primary|backup)|qdisc ingress' <<<"$t")
	[ -z "$t" ] || { echo "$t"; return 1; }
}
no_domain() { lab run "$1" "! xl domid $2"; }

guest_powers_off() {
	ready backup-wins || return
	lab guest-run g1 'poweroff -f </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	expect "the guest is gone" wait_for 60 no_domain "$P" g1
}
domid_is_not() { local d; d=$(lab run "$1" "xl domid $2") && [ "$d" != "$3" ]; }
guest_reboots() {
	local domid
	ready backup-wins || return
	domid=$(lab run "$P" 'xl domid g1')
	lab guest-run g1 'reboot -f </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	expect "the guest boots again" wait_for 60 domid_is_not "$P" g1 "$domid"
	expect "and answers" wait_for 90 redis_ping "$G1"
}
guest_crashes() {
	ready backup-wins || return
	lab guest-run g1 '(sleep 0.2; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &'
	ended_everywhere
	# on_crash is "preserve" in g1.cfg.
	expect "the crashed guest is kept to be looked at" lab run "$P" 'xl list g1 | grep -q -- "--sc-"'
	lab guest-down "$P" g1
}
guest_is_destroyed() {
	ready backup-wins || return
	expect "somebody destroys it" lab run "$P" xl destroy g1
	ended_everywhere
}
asked_over() { rom_is "$P" g1 ".suspend.path == \"$1\" and .protected"; } # path
guest_is_saved() {
	ready backup-wins || return
	# One toolstack at a time has the channel of a guest with the module: the other is told, and nothing is harmed.
	expect "with the module it is asked over its channel" asked_over "event channel"
	expect_not "and nobody else can save it" lab run "$P" timeout 60 xl save g1 /tmp/g1.save
	protected_again
	expect "the guest gives its offer up" lab guest-run g1 rmmod xen_suspend_channel
	expect "it is asked through xenstore, protected all the same" wait_for 60 asked_over xenstore
	expect "it offers a channel again" lab guest-run g1 modprobe xen_suspend_channel
	expect "which is used again" wait_for 60 asked_over "event channel"
	expect "and is stock again" lab guest-run g1 rmmod xen_suspend_channel
	expect "asked through xenstore again" wait_for 60 asked_over xenstore
	# Two toolstacks that write to one node: either the other wins, or it fails; in both protection may end, and nothing is harmed.
	if lab run "$P" timeout 120 xl save g1 /tmp/g1.save >"$LAB_OUT/save.log" 2>&1; then
		fact guest_saved won
		ended_everywhere
	else
		fact guest_saved lost
		expect "the save fails, the guest lives on" wait_for 30 redis_ping "$G1"
		# Seen in time, the request has ended protection all the same, and the state says so.
		if wait_for 30 no_worker "$P"; then
			ended_everywhere
		else
			expect "and is protected" wait_for 120 rom_protected "$P"
			expect "it is unprotected" rom "$P" unprotect g1
		fi
		expect "unprotected it can be saved" lab run "$P" timeout 120 xl save g1 /tmp/g1.save
	fi
	expect "what was saved can be restored" lab run "$P" 'xl restore /tmp/g1.save && rm /tmp/g1.save'
	expect "and answers" wait_for 60 redis_ping "$G1"
	expect "and takes the module again" lab guest-run g1 modprobe xen_suspend_channel
}

unprotect_leaves_nothing() {
	local domid
	ready '' || return
	expect "the client is served" client_start client || return
	domid=$(lab run "$P" 'xl domid g1')
	expect "nothing is left of the scenario before" wait_for 60 nothing_at "$S" || return
	traces "$P" >"$LAB_OUT/traces-$P-before"
	traces "$S" >"$LAB_OUT/traces-$S-before"
	expect "it is protected" rom_protect "$P" g1 backup-wins || return
	traces "$P" >"$LAB_OUT/traces-$P-during"
	expect_not "which can be seen" cmp -s "$LAB_OUT/traces-$P-before" "$LAB_OUT/traces-$P-during"
	expect "by Xen too" logdirty_at "$P" "$domid"
	expect "unprotect" rom "$P" unprotect g1
	expect "the client is served still" client_still_flows client
	expect "the backup keeps no standby" wait_for 60 nothing_at "$S"
	traces "$P" >"$LAB_OUT/traces-$P-after"
	traces "$S" >"$LAB_OUT/traces-$S-after"
	expect "the primary is as before" diff "$LAB_OUT/traces-$P-before" "$LAB_OUT/traces-$P-after"
	expect "and the backup" diff "$LAB_OUT/traces-$S-before" "$LAB_OUT/traces-$S-after"
	expect_not "Xen keeps no log of writes" logdirty_at "$P" "$domid"
	client_done client
}

# Somebody changes the guest, or what holds its output, under protection: that ends, says so, and begins again by itself.
protected_anew() { # what, command...
	local t
	watch_start "$P" g1
	t=$(now_ms)
	expect "$1" "${@:2}"
	expect "which ends protection" wait_for 60 watch_after "$t" '.protected | not'
	watch_stop
	protected_again
	expect "the client is served" client_still_flows client 60
}
mem_at() { lab run "$1" 'xl list' | awk -v g="$2" '$1 == g { print $3 }'; } # host, vm: MiB
mem_is() { # MiB, about
	local m
	m=$(mem_at "$P" g1) || return 1
	[ "$m" -ge $(($1 - 2)) ] && [ "$m" -le $(($1 + 2)) ] && return
	echo "$m MiB"
	return 1
}
guest_is_ballooned() {
	local m
	ready backup-wins || return
	expect "the client is served" client_start client || return
	m=$(mem_at "$P" g1)
	protected_anew "its memory is made smaller" lab run "$P" xl mem-set g1 176
	expect "the guest has obeyed" wait_for 60 mem_is $((m - 16))
	protected_again
	protected_anew "it gets its memory back" lab run "$P" xl mem-set g1 192
	expect "the guest has obeyed again" wait_for 60 mem_is "$m"
	protected_again
	expect "nobody took over" on_our_side_only
	client_done client
}
ifbs_are() { # host, how many
	local n
	n=$(lab run "$1" 'ip -o link' | grep -c '^[0-9]*: rm')
	[ "$n" = "$2" ] || { echo "$n IFBs"; return 1; }
}
guest_hotplugs() {
	ready backup-wins || return
	expect "the client is served" client_start client || return
	protected_anew "a network device is attached" lab run "$P" xl network-attach g1 bridge=xenbr0 mac=00:16:3e:00:00:5f script=vif-lab
	expect "what it sends is held as well" wait_for 30 ifbs_are "$P" 2
	protected_anew "it is detached" lab run "$P" xl network-detach g1 00:16:3e:00:00:5f
	expect "nothing is left of its lanes" wait_for 30 ifbs_are "$P" 1
	protected_again
	expect "nobody took over" on_our_side_only
	client_done client
}
redirected() { lab run "$P" "tc filter show dev $1 ingress" | grep -q mirred; } # vif
filter_is_removed() {
	local vif
	ready hold || return
	expect "the client is served" client_start client || return
	vif=vif$(lab run "$P" 'xl domid g1').0
	expect "its output is led through lanes" redirected "$vif" || return
	protected_anew "somebody removes the filter" lab run "$P" tc filter del dev "$vif" ingress
	expect "it is there again" redirected "$vif"
	protected_anew "somebody removes the queue with it" lab run "$P" tc qdisc del dev "$vif" ingress
	expect "both are there again" redirected "$vif"
	# Without the backup nobody may be asked, and what was held has to stay so.
	lab cut rep "$S"
	expect "the output is held" wait_for 60 client_silent client $((ROM_FAILURE_MS + 3000))
	expect "somebody removes the filter now" lab run "$P" tc filter del dev "$vif" ingress
	expect "it is made again without the backup" wait_for 60 redirected "$vif"
	expect "the output is held again" wait_for 60 client_silent client 5000
	expect "which the state says" rom_is "$P" g1 '.state == "lost" and .output.held and (.protected | not)'
	lab restore rep "$S"
	protected_again
	expect "nobody took over" on_our_side_only
	expect "the client is served at last" client_still_flows client 60
	client_done client
}

# A second VM beside g1, with AVX. Stock resume would lose the upper halves of its registers now and then.
avx_kept() {
	local first last
	# Two guests and their standbys on this machine's cores: a host may be late without being dead.
	ready backup-wins --failure-timeout 15s || return
	expect "a guest with AVX starts" lab guest-up "$P" g3 || return
	expect "it is protected beside g1" rom_protect "$P" g3 backup-wins --failure-timeout 15s || return
	first=$(rom_get "$P" g3 .epoch) last=$first
	while [ $((last - first)) -lt 200 ]; do
		expect "its registers are whole after $((last - first)) checkpoints" lab guest-run g3 ymmhold 10 || break
		last=$(rom_get "$P" g3 '.epoch // 0')
		[ "$last" -gt "$first" ] || { fail "$SC: checkpoints go on"; break; }
	done
	expect "g1 is protected all the while" rom_protected "$P" g1
	expect "the AVX guest is unprotected" rom "$P" unprotect g3
	lab guest-down "$P" g3
}

refuses() { # sentence to be found, words of protect...
	local text rc
	text=$(rom "$P" protect "${@:2}" 2>&1)
	rc=$?
	echo "status $rc: $text"
	[ $rc != 0 ] && grep -qi -- "$1" <<<"$text"
}
refused_clearly() {
	local peer
	ready '' || return
	peer=$(host_name "$S")
	expect "a VM that is not there" refuses 'nosuch.*no\(t\| \)' nosuch --to "$peer" --on-peer-loss hold
	expect "a host that is no peer" refuses 'hostX.*not in the list' g1 --to hostX --on-peer-loss hold
	expect "no policy" refuses 'on-peer-loss' g1 --to "$peer"
	lab run "$P" 'printf "%s\n" "name=\"pv1\"" "type=\"pv\"" "kernel=\"/boot/vmlinux\"" "ramdisk=\"/boot/guest.cpio\"" "memory=128" >/tmp/pv1.cfg
		xl create -q -p /tmp/pv1.cfg' >"$LAB_OUT/pv.log" 2>&1 || fail "$SC: a PV guest starts" "$(tail -n 1 "$LAB_OUT/pv.log")"
	expect "a PV guest" refuses 'PV' pv1 --to "$peer" --on-peer-loss hold
	# What the doctor says first, the worker says as well.
	expect "a PV guest, without the doctor" refuses 'PV' pv1 --to "$peer" --on-peer-loss hold --skip-doctor
	expect "a VM that is not there, without the doctor" refuses 'nosuch.*no\(t\| \)' nosuch --to "$peer" --on-peer-loss hold --skip-doctor
	lab run "$P" 'xl destroy pv1; romulus forget pv1; romulus forget nosuch' >/dev/null 2>&1
	expect "g1 can be protected all the same" rom_protect "$P" g1 hold
	expect "but not twice" refuses 'already protected' g1 --to "$peer" --on-peer-loss hold
	expect "the backup has only g1's standby" one_standby "$S"
}

# romulus doctor on true hosts, with one thing wrong at a time.
finds() { # status wanted, sentence to be found
	local text rc
	text=$(rom "$P" doctor g1 --to "$(host_name "$S")" 2>&1)
	rc=$?
	echo "status $rc: $(grep -v '^ok ' <<<"$text")"
	[ $rc = "$1" ] && grep -qi -- "$2" <<<"$text"
}
doctor_finds() {
	local peer us
	ready '' || return
	peer=$(host_name "$S") us=$(host_name "$P")
	expect "all is well" finds 0 "^ok  *name .*free at $peer"
	expect "the facts of both are told" rom "$P" doctor g1 --to "$peer" --json
	expect "a bridge that only this host has" lab run "$P" ip link add xenbr9 type bridge
	expect "gets an interface of the guest" lab run "$P" xl network-attach g1 bridge=xenbr9 mac=00:16:3e:00:00:5e script=vif-lab
	expect "the doctor finds it" wait_for 20 finds 1 "^error  *bridges .*xenbr9, which $peer does not have"
	expect "and protect does not begin" refuses 'xenbr9' g1 --to "$peer" --on-peer-loss hold
	expect_not "no worker was started" lab run "$P" pidof romulus-primary
	expect "the interface goes" lab run "$P" xl network-detach g1 00:16:3e:00:00:5e
	lab run "$P" ip link del xenbr9 >/dev/null 2>&1
	expect "the doctor is content again" wait_for 20 finds 0 '^ok  *bridges'
	expect "a domain of that name at the other host" lab run "$S" 'printf "%s\n" "name=\"g1\"" "type=\"pvh\"" "kernel=\"/boot/vmlinux\"" "ramdisk=\"/boot/guest.cpio\"" "memory=192" >/tmp/taken.cfg
		xl create -q -p /tmp/taken.cfg'
	expect "is found" finds 1 '^error  *name .*runs at the other host'
	lab run "$S" xl destroy g1 >/dev/null 2>&1
	expect "this host is not in the other's list any more" lab run "$S" "cp /etc/romulus/romulus.conf /etc/romulus/kept.conf && sed -i 's/$us/hostX/' /etc/romulus/romulus.conf"
	expect "which is found" finds 1 "^error  *peer .*$us is not among the peers of $peer"
	lab run "$S" mv /etc/romulus/kept.conf /etc/romulus/romulus.conf >/dev/null 2>&1
	expect "the other host's clock is an hour ahead" lab run "$S" 'date -s "@$(($(date +%s) + 3600))"'
	expect "which is a warning" finds 0 '^warning  *clock .*apart'
	lab run "$S" 'date -s "@$(($(date +%s) - 3600))"' >/dev/null 2>&1
	expect "romulusd ends at the other host" lab run "$S" 'kill $(pidof romulusd)'
	expect "which is found" wait_for 20 finds 1 '^error  *peer .*refused'
	expect "and protect does not begin" refuses 'refused' g1 --to "$peer" --on-peer-loss hold
	expect "unless it is told to" rom "$P" protect g1 --to "$peer" --on-peer-loss hold --skip-doctor --no-wait
	expect "romulusd starts again" rom_start "$S"
	expect "it is protected as soon as it can be" wait_for 180 rom_protected "$P"
	expect "the doctor finds nothing wrong with that" finds 0 "^ok  *name .*has its standby"
	expect "unprotected" rom "$P" unprotect g1
}

# What the survivor can tell of a failover, and a host of a worker that was killed.
told() { rom "$1" events g1 --since 20m 2>&1 | grep -E -- "$2"; } # host, pattern
flight_rows() { # host, how many epochs at least, with what phases
	local rows
	rows=$(rom "$1" events --flight g1 2>&1) || { echo "$rows"; return 1; }
	echo "$(wc -l <<<"$rows") lines: $(head -n 2 <<<"$rows" | tr '\n' ' ')"
	[ "$(grep -cE '^[0-9:.]{15} +[0-9]+ +[0-9]+ ' <<<"$rows")" -ge "$2" ] && grep -q " $3" <<<"$rows"
}
kept_flight() { # host, side: the newest that was kept has epochs that went all the way
	lab run "$1" "f=\$(ls /var/lib/romulus/flight/g1.$2.*.flight | tail -n 1) && romulus events --flight --file \"\$f\" --json" |
		jq -s -e 'map(select(.us.apply != null or .us.release != null)) | length > 10'
}
events_tell() {
	ready backup-wins --failure-timeout 5s || return
	expect "how protection came about" told "$P" 'primary protected: '
	expect "at the backup, too" told "$S" 'backup standing: '
	expect "the primary's newest epochs" wait_for 30 flight_rows "$P" 20 release
	expect "the backup's" flight_rows "$S" 20 apply
	# A worker that is killed leaves what it did last.
	expect "the primary's worker is killed" kill_worker "$P" primary
	protected_again
	expect "who started another one" told "$P" 'romulusd worker-crashed: .*SIG'
	expect "what the dead one did last was kept" told "$P" 'flight-found'
	expect "and named" told "$P" 'flight recorder: /var/lib/romulus/flight/g1.primary'
	expect "the primary's host is lost" rom_failover client "$P" 1000 || return
	swap
	expect "why the backup went alone" told "$P" 'activating: primary silent for [0-9.]+ s .*last heartbeat at .*policy backup-wins, epoch [0-9]+ committed, term [0-9]+ -> activating'
	expect "that it runs" told "$P" 'active: .*the VM runs here under term'
	expect "on which evidence" lab run "$P" 'romulus events g1 --evidence | grep -E "silent_ms=[0-9]+.*failure_timeout_ms=[0-9]+"'
	expect "what it did before was kept" told "$P" 'flight recorder: /var/lib/romulus/flight/g1.backup'
	expect "and can be looked at" kept_flight "$P" backup
	expect "no line is torn" lab run "$P" 'romulus events g1 2>&1 >/dev/null | wc -l | grep -qx 0'
}
