/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two filters of the lanes of a vif: the redirection of all that comes in by the vif to its
 * IFB, and the classifier on the IFB that reads the word. Only for the *_nl.c files of this
 * folder. Control thread.
 */
#ifndef NETBUFFER_FILTER_NL_H
#define NETBUFFER_FILTER_NL_H

#include <stdbool.h>

#include "lib/compiler.h"

struct err;
struct sock_nl;
struct vif_nl;

/* fresh: the word is new, so a classifier that is there reads another one and is replaced. */
MUST_CHECK int filter_nl_classifier_ensure(struct sock_nl *s, const struct vif_nl *v, bool fresh,
					   struct err *e);
MUST_CHECK int filter_nl_has_classifier(struct sock_nl *s, const struct vif_nl *v, bool *has);

/* What is among the filters of the vif. */
struct filter_nl_redirect {
	unsigned int ours;    /* prio of the one that leads to our IFB, or 0 */
	unsigned int stale;   /* of one like ours that leads elsewhere, or 0 */
	unsigned int foreign; /* of the first that is not like ours, or 0 */
	bool any;
};

MUST_CHECK int filter_nl_redirect_look(struct sock_nl *s, const struct vif_nl *v,
				       struct filter_nl_redirect *r);
/* From here on all that comes in by the vif goes to the IFB. */
MUST_CHECK int filter_nl_redirect_ensure(struct sock_nl *s, const struct vif_nl *v, struct err *e);
/* From here on it takes the straight way again. */
MUST_CHECK int filter_nl_redirect_remove(struct sock_nl *s, const struct vif_nl *v, struct err *e);
/* The queue that the redirection hung on, unless others use it. */
MUST_CHECK int filter_nl_ingress_remove(struct sock_nl *s, const struct vif_nl *v, struct err *e);

#endif
