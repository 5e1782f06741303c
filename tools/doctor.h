/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gathers the facts of two hosts and shows what they mean. For romulus doctor, and for protect before it begins. */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include "lib/compiler.h"
#include "lib/names.h"
#include "tools/doctor_judge.h"

struct err;

struct doctor_ask {
	const char *conf_path;
	const char *libexec_dir;
	const char *run_dir;
	const char *vm;	    /* NULL: the hosts alone */
	const char *peer;   /* NULL: as vm.d has it */
	const char *policy; /* the same */
};

/*
 * Takes up to half a minute, when somebody does not answer. 0; -EINVAL when it is not said which peer, -ENOMEM. What
 * cannot be asked is part of the report. peer_out: whom it was about.
 */
MUST_CHECK int doctor_examine(const struct doctor_ask *ask, struct doctor_report *r,
			      char peer_out[NAME_SIZE], struct err *e);

#endif
