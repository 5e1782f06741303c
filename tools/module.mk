# SPDX-License-Identifier: GPL-2.0-or-later
# romulus: one binary, one file per subcommand.  tools/main.c has the table;
# everything else goes into the archive, so that unit tests can link it.

ARCHIVES += tools
tools_PKGS :=
tools_SRCS :=

SBIN_PROGRAMS += romulus
romulus_SRCS :=
romulus_ARCHIVES := tools lib
