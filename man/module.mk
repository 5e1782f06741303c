# SPDX-License-Identifier: GPL-2.0-or-later

MAN_PAGES += \
	man/romulus-arbiter.8 \
	man/romulus-backup.8 \
	man/romulus-cert.8 \
	man/romulus-disk.8 \
	man/romulus-doctor.8 \
	man/romulus-events.8 \
	man/romulus-drill.8 \
	man/romulus-failover.8 \
	man/romulus-forget.8 \
	man/romulus-primary.8 \
	man/romulus-protect.8 \
	man/romulus-status.8 \
	man/romulus-surrender.8 \
	man/romulus-switchover.8 \
	man/romulus-suspend-bench.8 \
	man/romulus-unprotect.8 \
	man/romulus-verify.8 \
	man/romulus-witness.8 \
	man/romulus.7 \
	man/romulus.8 \
	man/romulus.conf.5 \
	man/romulusd.8
