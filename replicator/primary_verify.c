// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's part of `romulus verify`; see primary_shell.h. Control thread. */
#include <errno.h>

#include "lib/err.h"
#include "replicator/primary_shell.h"

int primary_verify(struct primary_shell *s, struct err *e)
{
	struct pd_cmd cmd = {.type = PD_DISKS_VERIFY, .pass = s->verify_pass + 1};

	if (!s->disks)
		return err_setx(e, -ENODEV,
				"%s has no disks of Romulus, there is nothing to compare",
				s->state.vm);
	for (unsigned int i = 0; i < s->fig.n_disks; i++) {
		if (s->fig.disk[i].compared.state == PORT_COMPARING)
			return err_setx(e, -EBUSY, "the disks of %s are being compared already",
					s->state.vm);
	}
	if (s->core.state != PRIMARY_PROTECTED)
		return err_setx(e, -ENOTCONN,
				"%s is not protected now (%s), its disks cannot be compared",
				s->state.vm, primary_state_name(s->core.state));
	s->verify_pass = cmd.pass;
	for (unsigned int i = 0; i < s->fig.n_disks; i++)
		s->fig.disk[i].compared =
			(struct port_compared){.pass = cmd.pass, .state = PORT_COMPARING};
	primary_data_command(s->data, &cmd);
	return 0;
}
