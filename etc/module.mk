# SPDX-License-Identifier: GPL-2.0-or-later
# What is installed besides programs and man pages.  A unit may end in .in:
# @sbindir@ @libexecdir@ @sysconfdir@ @rundir@ @statedir@ are filled in.

CONF_FILES += etc/romulus.conf etc/witness.conf
UNITS += etc/romulusd.service.in etc/romulus-witness.service.in
XEN_SCRIPTS += etc/xen-scripts/block-romulus etc/xen-scripts/vif-romulus-drill
COMPLETIONS += etc/romulus.bash
