/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands' argp parsers share; see tool.h. */
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/names.h"
#include "tools/tool.h"

error_t tool_parse_vm(int key, char *arg, struct argp_state *state, const char **vm)
{
	switch (key) {
	case ARGP_KEY_ARG:
		if (*vm || !name_ok(arg))
			argp_error(state, "\"%s\" is not one VM's name", arg);
		*vm = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*vm)
			argp_error(state, "which VM?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void tool_parse_time(const char *arg, const struct argp_state *state, const char *name,
		     uint64_t *ns)
{
	struct err e = ERR_INIT;

	if (conf_parse_duration(arg, ns, &e) < 0)
		argp_error(state, "--%s: %s", name, e.text);
}
