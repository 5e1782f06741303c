# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2034
#
# For scenarios about the disk of g4: an image and its journal on each host's own disk, which outlives the host. A scenario that wants
# to make the disk fail, or slow, says DISK_ON_DM=1 first: then a device of the device mapper lies between. Sourced after romulus.sh.

G4=10.77.0.53
DISK=g4-data
DISK_MB=${DISK_MB:-96}
DISK_JOURNAL_MB=${DISK_JOURNAL_MB:-64}
# ext4, or none: noise, for what writes to the device itself. The guest's redis keeps its file in memory then.
DISK_FS=${DISK_FS:-ext4}
DISK_IMAGE=/srv/$DISK.img
DISK_DM=/dev/mapper/$DISK
DISK_LOOP=/dev/loop7
DISK_PATH=${DISK_ON_DM:+$DISK_DM}
DISK_PATH=${DISK_PATH:-$DISK_IMAGE}
DISK_JOURNAL=/srv/$DISK.journal
ROM_CONF_MORE="disks: ( { name = \"$DISK\"; path = \"$DISK_PATH\"; journal = \"$DISK_JOURNAL\"; journal-size = \"${DISK_JOURNAL_MB}MiB\"; mode = \"${DISK_MODE:-memory}\"; ${DISK_CONF_MORE:-} } );"

disk_kernel() { lab run "$1" 'modprobe nbd nbds_max=0 max_part=0'; } # host
disk_image() { # host, source|target, [MiB]: an image, with what DISK_FS says in the source
	local mb=${3:-$DISK_MB} fill='true'
	case $DISK_FS:$2 in
	ext4:source) fill="mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -O ^metadata_csum_seed $DISK_IMAGE" ;;
	# Written once on both sides, or the host's file system would have to find room in the middle of a measurement.
	none:source) fill="dd if=/dev/urandom of=$DISK_IMAGE bs=1M count=$mb conv=notrunc,fsync" ;;
	none:target) fill="dd if=/dev/zero of=$DISK_IMAGE bs=1M count=$mb conv=notrunc,fsync" ;;
	esac
	lab run "$1" "rm -f $DISK_IMAGE $DISK_JOURNAL; fallocate -l ${mb}M $DISK_IMAGE && $fill"
}
# What is behind the disk, where that is not the image itself: after each boot. dmsetup reads its table from stdin.
disk_attach() { # host
	[ -n "${DISK_ON_DM:-}" ] || return 0
	lab run "$1" "modprobe -a loop dm-mod dm-delay && losetup $DISK_LOOP $DISK_IMAGE &&
		echo 0 \$(blockdev --getsz $DISK_LOOP) linear $DISK_LOOP 0 | DM_DISABLE_UDEV=1 dmsetup create $DISK && test -b $DISK_DM"
}
disk_detach() { # host; its server must be gone
	[ -n "${DISK_ON_DM:-}" ] || return 0
	lab run "$1" "DM_DISABLE_UDEV=1 dmsetup remove --retry $DISK && losetup -d $DISK_LOOP"
}
disk_format() { # host, source|target, [--force]: its journal
	lab run "$1" "/usr/local/libexec/romulus/romulus-disk --format=$2 ${3:-} $DISK"
}
disk_make() { # host, source|target: all of it
	disk_image "$1" "$2" && disk_attach "$1" && disk_format "$1" "$2"
}
# Like rom_install, with a disk whose good copy is A's.
disk_install() {
	local h
	if ! rom_stage || ! rom_certs >>"$LAB_OUT/install.log" 2>&1; then
		tail -n 20 "$LAB_OUT/install.log"
		return 1
	fi
	for h in A B; do
		rom_put $h && disk_kernel $h && disk_make $h "$([ $h = A ] && echo source || echo target)" && rom_start $h || return 1
	done
	wait_for 20 disk_serves A
}
disk_boot() { lab restart "$1" && rom_put "$1" && disk_kernel "$1" && disk_attach "$1"; } # host: all but the daemon
disk_revive() { disk_boot "$1" && rom_start "$1"; }                                       # host
disk_state() { lab run "$1" "head -n 1 /run/romulus/disk/$DISK.state"; }            # host
disk_serves() { [ "$(disk_state "$1")" = active ]; }
# What the disk's server itself says (romulus-disk(8)): all of it, or one member.
disk_ask() { lab run "$1" ctlask "/run/romulus/disk/$DISK.ctl" status; }            # host
disk_get() { disk_ask "$1" | jq -r ".$2"; }                                          # host, member
disk_is() { [ "$(disk_get "$1" "$2")" = "$3" ]; }                                    # host, member, value
disk_pid() { lab run "$1" 'pidof romulus-disk'; } # host

# lockstep counts in memory and on the disk; what it says stays in the guest's memory.
LOCKSTEP_SLOTS=${LOCKSTEP_SLOTS:-512}
lockstep_start() { # [ms of pause between its rounds]
	lab guest-run g4 "set -- $LOCKSTEP_SLOTS ${1:-0}"'; setsid lockstep /data/lockstep $1 $2 >/run/lockstep.log 2>&1 </dev/null & echo $! >/run/lockstep.pid; sleep 1; kill -0 $(cat /run/lockstep.pid)'
}
lockstep_runs() { lab guest-run g4 'kill -0 $(cat /run/lockstep.pid)'; }
lockstep_lapped() { lab guest-run g4 'grep -q "^lockstep lap" /run/lockstep.log'; }
lockstep_bad() { lab guest-run g4 'grep -c "lockstep: slot\|lockstep error" /run/lockstep.log'; } # prints how many
lockstep_end() { # prints its last line
	lab guest-run g4 'kill -INT $(cat /run/lockstep.pid); i=0; until grep -q "^lockstep writes=" /run/lockstep.log || [ $i = 200 ]; do i=$((i + 1)); usleep 100000; done; tail -n 1 /run/lockstep.log'
}
# fio writes and verifies on the disk, round after round, and its memory knows what has to be there.
fio_start() {
	lab guest-run g4 'setsid /etc/fio-verify /data/fio >/dev/null 2>&1 </dev/null & echo $! >/run/fio.pid' && wait_for 90 fio_passed 0
}
fio_rounds() { lab guest-run g4 'cat /run/fio.rounds 2>/dev/null' | grep -c .; }
# More than so many rounds are over, and in none anything was found that had not been written.
fio_passed() { lab guest-run g4 'cat /run/fio.rounds' | awk -v n="$1" '$2 { bad = 1 } END { exit !(NR > n && !bad) }'; }
fio_why() { lab guest-run g4 'tail -n 5 /run/fio.rounds; head -n 5 /run/fio.bad'; }
fio_ended() { lab guest-run g4 '! kill -0 $(cat /run/fio.pid) 2>/dev/null'; }
fio_end() { # after the round that it is in
	lab guest-run g4 'touch /run/fio.stop' && wait_for 120 fio_ended
}
# What the guest's kernel says of its disk.
disk_errors() { lab guest-run g4 'dmesg' | grep -E 'EXT4-fs (error|warning)|I/O error|Buffer I/O|JBD2:'; }
# Ends redis by that signal, unmounts, and looks at the file system from outside; prints what is wrong.
disk_fsck() { # host, [signal (TERM)]
	local out
	lab guest-run g4 "kill -${2:-TERM} \$(cat /run/redis.pid); sleep 1; sync; umount /data" || { echo "/data cannot be unmounted"; return 1; }
	out=$(lab run "$1" "e2fsck -fn $DISK_IMAGE 2>&1") && return 0
	printf '%s\n' "$out" | tail -n 8
	return 1
}
# After disk_fsck: redis again, of what its file on the disk says.
disk_redis_again() { lab guest-run g4 'mount -t ext4 /dev/xvda /data && /etc/start-redis /data' && wait_for 60 redis_ping "$G4"; }
# All that redis has, a line for each key, sorted.
redis_dump() {
	lab client timeout 60 redis-cli -h "$G4" --raw eval \
		"local r = {} for i, k in ipairs(redis.call('keys', '*')) do r[i] = k .. ' ' .. redis.call('get', k) end return r" 0 | LC_ALL=C sort
}
