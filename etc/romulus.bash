# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for romulus(8)

_romulus_vms()
{
	local f
	# The VMs of this host for protect, doctor and suspend-bench; those with a worker for the rest.
	if [ "$1" = protect ] || [ "$1" = doctor ] || [ "$1" = suspend-bench ]; then
		xl list 2>/dev/null | awk 'NR > 2 { print $1 }'
		return
	fi
	for f in /run/romulus/*.primary.ctl /run/romulus/*.backup.ctl; do
		[ -S "$f" ] || continue
		f=${f##*/}
		f=${f%.ctl}
		echo "${f%.*}"
	done
}

_romulus_disks()
{
	local f
	for f in /run/romulus/disk/*.ctl; do
		[ -S "$f" ] || continue
		f=${f##*/}
		echo "${f%.ctl}"
	done
}

_romulus()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} words=''

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words='doctor protect status unprotect switchover failover drill verify surrender events forget cert suspend-bench help version'
	elif [ "$command" = help ]; then
		words='doctor protect status unprotect switchover failover drill verify surrender events forget cert suspend-bench'
	elif [ "$prev" = --on-peer-loss ]; then
		words='arbiter hold primary-wins backup-wins'
	elif [ "$prev" = --reprotect ]; then
		words='auto never'
	elif [ "$prev" = --paths ]; then
		words='toolstack xenstore channel channel-bare pause'
	elif [ "$prev" = --disk ]; then
		words=$(_romulus_disks)
	elif [ "$prev" = --plot ] || [ "$prev" = --file ] || [ "$prev" = --config ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	elif [ "$prev" = --run-dir ] || [ "$prev" = --out ] || [ "$prev" = --ca-dir ] ||
		[ "$prev" = --libexec-dir ] || [ "$prev" = --state-dir ]; then
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
	else
		case $command in
		protect) words='--to --on-peer-loss --epoch --heartbeat --failure-timeout --reprotect --wait
			--no-wait --timeout --dry-run --skip-doctor --config --libexec-dir --run-dir' ;;
		doctor) words='--to --json --config --run-dir --libexec-dir' ;;
		status) words='--json --prometheus --watch --count --run-dir' ;;
		unprotect) words='--force --no-wait --timeout --run-dir' ;;
		switchover) words='--dry-run --no-wait --timeout --run-dir' ;;
		failover) words='--force --dry-run --timeout --run-dir' ;;
		drill) words='--probe --time --json --run-dir' ;;
		verify) words='--json --wait --run-dir' ;;
		surrender) words='--disk --yes --run-dir' ;;
		events) words='--follow --evidence --json --since --flight --file --run-dir --state-dir' ;;
		forget) words='--run-dir' ;;
		suspend-bench) words='--cycles --rate --paths --compare --json --plot --rescue --run-dir
			--libexec-dir' ;;
		cert)
			words='--san --out --ca-dir --days'
			[ "$COMP_CWORD" = 2 ] && words="ca host show $words"
			;;
		esac
		case $cur in
		-*) ;;
		*) [ "$command" = cert ] || words="$words $(_romulus_vms "$command")" ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _romulus romulus
