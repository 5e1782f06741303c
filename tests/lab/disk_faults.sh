# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034,SC2086
#
# Scenarios in which something fails under a guest whose disk is protected: the lines of "What fails, and what then" in docs/disk.md
# that a simulator cannot judge alone. Sourced after disk_scene.sh.

# A worker or server that is killed has that long to come back.
SLOW_F=15s

# ---- processes ----

# The guest's I/O waits for the next server; it sees no error.
server_killed() { # primary|backup
	local h=$S old
	loaded backup-wins --failure-timeout $SLOW_F || return
	[ "$1" = backup ] || h=$P
	old=$(disk_pid "$h")
	expect "a server is there" test -n "$old" || return
	client_mark client
	fault "its server is killed" lab run "$h" "kill -9 $old" || return
	expect "another one serves" wait_for 60 server_other_than "$h" "$old"
	expect "the client is served again" wait_for 90 client_flows client
	protected_again
	expect "nobody took over" only_at_primary
	# A server that was killed knows by its intent log what the other side may lack.
	expect "only what may differ was copied" copied_by_marks "$P"
	sound
}

worker_killed() { # primary|backup
	local h=$S old
	loaded backup-wins --failure-timeout $SLOW_F || return
	[ "$1" = backup ] || h=$P
	old=$(worker_of "$h" "$1")
	expect "a worker is there" test -n "$old" || return
	client_mark client
	fault "its worker is killed" lab run "$h" "kill -9 $old" || return
	expect "the client is served again" wait_for 90 client_flows client
	protected_again
	expect "by another worker" worker_other_than "$h" "$1" "$old"
	expect "nobody took over" only_at_primary
	expect "only what may differ was copied" copied_by_marks "$P"
	sound
}

# ---- a host ----

# It comes back as "primary" in its own books, with a disk that was active.
primary_host_killed() {
	loaded backup-wins || return
	expect "it is protected" rom_settled "$P" $G || return
	client_mark client
	expect "the primary's host is killed" lab kill "$P" || return
	expect "the client is served by the other one" wait_for 90 client_flows client
	expect "its host boots, and Romulus starts" disk_revive "$P" || return
	expect "it runs nothing by itself" wait_for 30 nothing_at "$P"
	swap
	expect "it becomes the backup" rom_protect "$P" $G backup-wins || return
	expect "and says nothing else" rom_is "$S" $G '.role == "backup" and .protected'
	expect "only what may differ was copied" copied_by_marks "$P"
	expect "nobody runs it twice" only_at_primary
	client_lives
	sound
}

# Epochs are in its journal and not on the disk, since writing that is slow.
epochs_wait() { rom_is "$P" $G ".disks[0].journal_free_bytes | . > 0 and . < $((DISK_JOURNAL_MB * 1048576 - 262144))"; }
# What the newer superblock of its journal says (docs/journal.md: sequence at 8, applied epoch at 120, lsn that is being applied at 128).
superblock() { # host; prints sequence, applied epoch, lsn
	local sb=$LAB_OUT/superblocks
	lab run "$1" "head -c 8192 $DISK_JOURNAL" >"$sb" || return 1
	od -An -v -tu8 -w4096 "$sb" | awk '{ if ($2 > seq) { seq = $2; epoch = $16; lsn = $17 } } END { print seq, epoch, lsn; exit !seq }'
}
# Before anybody reads it: is a round of applying under way?
apply_was_cut() { # host
	local seq epoch lsn
	read -r seq epoch lsn <<<"$(superblock "$1")"
	echo "sequence $seq, applied $epoch, being applied $lsn"
	[ "${lsn:-0}" != 0 ]
}
# 2^64-1, none of this session, is less than any.
applied_at_least() { # host, epoch
	local epoch
	read -r _ epoch _ <<<"$(superblock "$1")"
	[ "${#epoch}" -lt 20 ] && [ "$epoch" -ge "$2" ]
}
# What a backup that lost power gives back is an epoch of some seconds ago. None of those may be older than this run of lockstep's.
lap_is_there() {
	expect "lockstep has written each slot" wait_for 180 lockstep_lapped || return
	expect "and the backup's disk has that" wait_for 120 applied_at_least "$S" "$(rom_get "$P" $G .epoch)"
}
journal_gave_back() { # host
	local line
	line=$(lab run "$1" "grep 'epochs of the journal were brought to the disk' $ROM_LOG") || return 1
	echo "$line"
	[[ $line =~ ([0-9]+)\ epochs ]] && [ "${BASH_REMATCH[1]}" -ge 1 ]
}
# What is on a disk that nobody uses is the guest's at one instant: its file system needs no more than its journal, and of
# lockstep's numbers, which it wrote one after the other, the newest ones are there without a gap.
whole_epoch() { # host
	local rc
	lab run "$1" "cp $DISK_IMAGE /srv/copy.img && e2fsck -fp /srv/copy.img >/srv/copy.log 2>&1; rc=\$?; tail -n 3 /srv/copy.log
		rm -f /srv/lockstep; debugfs -R 'dump /lockstep /srv/lockstep' /srv/copy.img >/dev/null 2>&1; rm -f /srv/copy.img; exit \$rc"
	rc=$?
	# 1: it did what a mount does.
	[ $rc -le 1 ] || { echo "e2fsck says $rc"; return 1; }
	lab run "$1" 'cat /srv/lockstep' >"$LAB_OUT/lockstep.image" || return 1
	lockstep_whole "$LAB_OUT/lockstep.image"
}
# The one write that was under way may be there in part.
lockstep_whole() { # file
	od -An -v -tu8 -w4096 "$1" | awk -v slots="$LOCKSTEP_SLOTS" '
		{
			low = $1 < $NF ? $1 : $NF
			if ($1 != $NF) { torn++; high = $1 > $NF ? $1 : $NF }
			if (low && low % slots != NR - 1) { print "slot " (NR - 1) " holds " low; bad = 1 }
			if (low > max) max = low
			v[NR - 1] = low
		}
		END {
			for (n = max >= slots ? max - slots + 1 : 1; n <= max; n++)
				if (v[n % slots] != n) { print "newest " max ", but " n " is not there"; bad = 1 }
			if (torn > 1 || (torn && high != max + 1)) { print torn " slots are torn, one holds " high; bad = 1 }
			print NR " slots, newest " max
			exit bad || NR != slots || !max
		}'
}

backup_killed_applying() {
	loaded primary-wins || return
	lap_is_there || return
	expect "its disk becomes slow" dm_table "$S" slow || return
	expect "epochs wait for it" wait_for 120 epochs_wait || return
	client_mark client
	expect "its host is killed" lab kill "$S" || return
	expect "the client is served again" wait_for 60 client_flows client
	expect "the link is cut" lab cut rep "$S"
	expect "the host boots" disk_boot "$S" || return
	expect "it was applying" apply_was_cut "$S"
	expect "Romulus starts there" rom_start "$S" || return
	expect "its journal gives back what was committed" wait_for 30 journal_gave_back "$S" && fact given_back "$(journal_gave_back "$S" | sed 's/.* \([0-9]* epochs\).*/\1/')"
	idle_and_outdated "$S" 3
	expect "which is a whole epoch" whole_epoch "$S"
	expect "the link is restored" lab restore rep "$S"
	protected_again
	expect "only what may differ was copied" copied_by_marks "$P"
	expect "nobody took over" only_at_primary
	client_lives
	sound
}

backup_rebooted() {
	loaded backup-wins || return
	lap_is_there || return
	expect "its host is killed" lab kill "$S" || return
	expect "the link is cut" lab cut rep "$S"
	expect "it boots, and Romulus starts" disk_revive "$S" || return
	# A primary that is silent for longer than the failure timeout is no reason for a disk that may be old.
	idle_and_outdated "$S" $((3 * ROM_FAILURE_MS / 1000 + 2))
	expect "what it has is a whole epoch" whole_epoch "$S"
	expect "the primary's output is held" client_silent client $((2 * ROM_FAILURE_MS + 3000))
	expect "and it says so" rom_is "$P" $G '.state == "lost" and .output.held and (.protected | not)'
	expect "the link is restored" lab restore rep "$S"
	protected_again
	expect "only what may differ was copied" copied_by_marks "$P"
	expect "nobody took over" only_at_primary
	client_lives
	sound
}

# ---- both hosts ----

both_die() {
	lab kill "$P" &
	lab kill "$S"
	wait $!
	! host_up "$P" && ! host_up "$S"
}
primary_returns() {
	expect "the primary's host boots, and Romulus starts" disk_revive "$P" || return
	expect "its disk is the one that counts" wait_for 20 state_is "$P" active
	expect "nobody starts the VM but the operator" wait_for 30 nothing_at "$P"
	expect "for 5 s" stays 5 nothing_at "$P"
	expect "the operator starts it" lab guest-up "$P" $G || return
	client_end client '' 400
	expect "the client lost its connection" test $? = 3
	expect "and nothing that was acknowledged" lost_is
	CLIENT=0
	expect "the guest saw no error of its disk" test -z "$(disk_errors)"
}
both_killed() { # primary|backup: who boots first
	# A connection cannot live through it; what was acknowledged does, and is asked for over another one.
	local CLIENT_MORE='--stall 15 --connect 500'
	loaded backup-wins --failure-timeout $SLOW_F || return
	CLIENT_MORE=
	lap_is_there || return
	wait_ms $((2000 + RANDOM % 3000))
	expect "it is protected" rom_settled "$P" $G || return
	expect "both hosts lose power" both_die || return
	LOCKSTEP=0
	if [ "$1" = primary ]; then
		primary_returns || return
		expect "the backup's host boots, and Romulus starts" disk_revive "$S" || return
		idle_and_outdated "$S" 3
	else
		expect "the backup's host boots, and Romulus starts" disk_revive "$S" || return
		idle_and_outdated "$S" $((${SLOW_F%s} + 5))
		expect "what it has is a whole epoch" whole_epoch "$S"
		primary_returns || return
	fi
	work_start || return
	expect "the operator protects it again" rom_protect "$P" $G backup-wins
	expect "only what may differ was copied" copied_by_marks "$P"
	expect "nobody runs it twice" only_at_primary
	client_lives
	sound
}

# ---- errors of a disk ----

# Under `hold` nobody goes alone by the clock: it runs at the other host because the primary has asked it to.
primary_disk_fails() {
	loaded hold || return
	expect "it is protected" rom_settled "$P" $G || return
	client_mark client
	expect "the primary's disk fails" dm_table "$P" error || return
	expect "the VM is handed over" wait_for 90 at "$S" || return
	expect "the client is served there" wait_for 90 client_flows client
	expect "the primary's copy is gone" wait_for 60 not_at "$P"
	expect "its disk is outdated" wait_for 30 state_is "$P" outdated
	expect "for an error, not for anything else" lab run "$P" "grep -q 'the guest is not told yet' $ROM_LOG"
	expect "the disk is mended" dm_table "$P" linear || return
	swap
	expect "the guest goes on from an active disk" state_is "$P" active
	expect "the mended host becomes its backup" rom_protect "$P" $G backup-wins || return
	expect "only what may differ was copied" copied_by_marks "$P"
	client_lives
	sound
}

backup_disk_fails() {
	loaded backup-wins || return
	client_mark client
	fault "the backup's disk fails" dm_table "$S" error || return
	expect "the client is served all the same" wait_for 60 client_flows client
	expect "the disk has failed there" wait_for 60 state_is "$S" failed
	expect "the state says so, and what to do" wait_for 60 rom_is "$P" $G ".problem | test(\"$DISK.*failed at the backup.*--format=target\")"
	expect "it is not called protected" stays 5 unprotected_at_primary
	expect "nobody can start the guest from it" start_refused "$S" "it has failed on this host"
	expect "the disk is mended" dm_table "$S" linear || return
	expect "and begun anew" disk_anew "$S" || return
	protected_again
	expect "nobody took over" only_at_primary
	client_lives
	sound
}

# ---- what is refused ----

SPARE_MB=48 # that a full file system still has, a part of which ext4 keeps for itself
no_room() { # host: for a journal
	lab run "$1" "free=\$(stat -f -c %f /srv) size=\$(stat -f -c %S /srv)
		fallocate -l \$((free * size - $SPARE_MB * 1048576)) /srv/filler && echo free was \$free blocks of \$size"
}
format_fails() { # host, words
	local out
	if out=$(disk_format "$1" target 2>&1); then
		echo "a journal is made"
		return 1
	fi
	printf '%s\n' "$out"
	grep -q "$2" <<<"$out" && lab run "$1" "! test -s $DISK_JOURNAL"
}
backup_is_full() {
	ready '' && work_start || return
	expect "the backup's copy is given up" server_stop "$S"
	expect "its journal is removed" lab run "$S" "rm $DISK_JOURNAL"
	expect "its file system is full" no_room "$S" || return
	expect "a journal is refused there, at once" format_fails "$S" "$DISK_JOURNAL.*No space left on device"
	expect "Romulus starts again" daemon_again "$S"
	expect "a session is refused" protect_refused backup-wins "$DISK.*no romulus-disk serves it at the backup"
	expect "the client is served" client_still_flows client
	expect "there is room again" lab run "$S" 'rm /srv/filler'
	expect "the journal is made" disk_format "$S" target || return
	protected_again
	client_lives
	sound
}

sizes_differ() {
	ready '' && work_start || return
	expect "the backup gets a larger disk" disk_of_size "$S" $((DISK_MB + 16)) || return
	expect "a session is refused" protect_refused backup-wins \
		"$DISK: it has $(((DISK_MB + 16) * 1048576)) bytes at the backup, $((DISK_MB * 1048576)) at the primary"
	expect "the client is served" client_still_flows client
	expect "the backup gets one of the same size" disk_of_size "$S" "$DISK_MB" || return
	protected_again
	client_lives
	sound
}

# The primary's host dies, the VM goes on at the backup, that dies too; the primary's host boots first, and somebody starts the VM on its copy.
histories_diverge() {
	loaded hold || return
	expect "it is protected" rom_settled "$P" $G || return
	expect "the primary's host dies" lab kill "$P" || return
	expect "the operator has the backup take over" wait_for 60 rom "$S" failover $G || return
	expect "the client is served there" client_still_flows client 90
	work_done
	expect "that host dies too" lab kill "$S" || return
	expect "the primary's host boots" disk_revive "$P" || return
	expect "its disk still counts there" wait_for 20 state_is "$P" active
	# The worker that looks for the VM of before has found none.
	expect "Romulus starts nothing there" wait_for 30 nothing_at "$P"
	expect "somebody starts the VM on it" lab guest-up "$P" $G || return
	work_start || return
	expect "the other host boots" disk_revive "$S" || return
	expect "its disk counts there, too" wait_for 20 state_is "$S" active
	expect "it runs nothing by itself" wait_for 30 nothing_at "$S"
	expect "a session is refused, since the VM has run there" protect_refused hold "taken over from $(host_name "$P") by $(host_name "$S").*romulus forget $G"
	expect "the operator lets that go" rom "$S" forget $G
	expect "the disks are refused all the same" wait_for 60 rom_is "$P" $G ".problem | test(\"$DISK.*history that the other does not know.*given up\")"
	expect "and go on being so" stays 5 unprotected_at_primary
	expect "what gives one up says what is lost, and does nothing by itself" surrender_asks "$S"
	expect "neither copy was touched" state_is "$S" active
	expect "the client is served" client_still_flows client
	expect "the operator gives up one copy" rom "$S" surrender $G --yes || return
	protected_again
	expect "only what may differ was copied" copied_by_marks "$P"
	client_lives
	sound
}
