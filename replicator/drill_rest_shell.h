/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulusd at its start: drills whose process died with their worker are cleaned up after, beside all else. */
#ifndef REPLICATOR_DRILL_REST_SHELL_H
#define REPLICATOR_DRILL_REST_SHELL_H

#include <systemd/sd-event.h>

struct conf;

/* Starts a romulus-drill --clean for each; what fails is logged, and tried again at the next start. Does not wait. */
void drill_rest_clean(sd_event *event, const char *libexec_dir, const struct conf *conf);

#endif
