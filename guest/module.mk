# SPDX-License-Identifier: GPL-2.0-or-later
# The in-guest part: nothing yet, it comes with an issue of its own.
