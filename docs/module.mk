# SPDX-License-Identifier: GPL-2.0-or-later
# Nothing is built from docs.
