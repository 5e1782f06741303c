/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus: the table of subcommands. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

const char *argp_program_version = "romulus " VERSION_TEXT;

struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct subcommand subcommands[] = {
	{"doctor", cmd_doctor, "tell why protecting a VM, or a failover, would fail"},
	{"protect", cmd_protect, "protect a running VM of this host"},
	{"status", cmd_status, "show what is protected, how well, and what is wrong"},
	{"unprotect", cmd_unprotect, "let a VM run on alone"},
	{"switchover", cmd_switchover, "move a VM to its backup, as planned"},
	{"failover", cmd_failover, "run the standby of a VM, at the backup"},
	{"drill", cmd_drill, "run a copy of the standby, isolated, and see whether it lives"},
	{"verify", cmd_verify, "compare the backup's disks of a VM with those here"},
	{"surrender", cmd_surrender, "give up this host's copy of a VM's disks, of two histories"},
	{"events", cmd_events, "tell what happened on this host, and why"},
	{"forget", cmd_forget, "forget what this host remembers of a VM"},
	{"cert", cmd_cert, "make the certificates of the hosts"},
	{"suspend-bench", cmd_suspend_bench, "measure how long a VM takes to be suspended"},
};

static void print_help(FILE *out)
{
	fputs("Usage: romulus COMMAND [OPTION...]\n"
	      "Keep a running Xen VM alive through the loss of its host.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		fprintf(out, "  %-13s %s\n", subcommands[i].name, subcommands[i].help);
	fputs("  help          this text; help COMMAND: that command's\n"
	      "  version       print the version\n\n"
	      "Exit status: 0 done or protected, 1 error, 2 usage, 3 not protected at the moment,\n"
	      "4 not protected.\n",
	      out);
}

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
		if (!strcmp(subcommands[i].name, name))
			return &subcommands[i];
	}
	return NULL;
}

static int run(const struct subcommand *s, int argc, char **argv)
{
	char name[64];

	snprintf(name, sizeof(name), "romulus %s", s->name);
	argv[0] = name;
	return s->run(argc, argv);
}

static int run_help(int argc, char **argv)
{
	char help[] = "--help";
	char *helped[] = {NULL, help, NULL};

	if (argc < 2 || !find(argv[1])) {
		print_help(stdout);
		return TOOL_OK;
	}
	return run(find(argv[1]), 2, helped);
}

int main(int argc, char **argv)
{
	argp_err_exit_status = TOOL_USAGE;
	if (argc < 2) {
		print_help(stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-?"))
		return run_help(argc - 1, argv + 1);
	if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version") ||
	    !strcmp(argv[1], "-V")) {
		puts(argp_program_version);
		return TOOL_OK;
	}
	if (find(argv[1]))
		return run(find(argv[1]), argc - 1, argv + 1);
	return tool_fail(TOOL_USAGE, "there is no command \"%s\"; romulus help has the list",
			 argv[1]);
}
