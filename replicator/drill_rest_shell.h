/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drills whose process died with their worker are cleaned up after, beside all else. */
#ifndef REPLICATOR_DRILL_REST_SHELL_H
#define REPLICATOR_DRILL_REST_SHELL_H

#include <systemd/sd-event.h>

struct conf;

/* Starts a romulus-drill (program) --clean for this VM; what fails is logged. Does not wait: the loop hears how it ends. */
void drill_rest_clean_vm(sd_event *event, const char *program, const struct conf *conf,
			 const char *vm);
/* romulusd at its start: for each VM of which something is left; what fails is tried again at the next start. */
void drill_rest_clean(sd_event *event, const char *libexec_dir, const struct conf *conf);

#endif
