/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The facts of this host that decide whether a VM can be protected and fail over, for `romulus doctor` here and at the
 * peer: gathered, not judged. docs/doctor.md has the members. Only romulus-facts uses it. One thread; may block.
 */
#ifndef REPLICATOR_FACTS_H
#define REPLICATOR_FACTS_H

#include "replicator/xen_facts.h"

struct conf;
struct json;

/* What the kernel and the files of this host say. */
void facts_host(struct json *j, const struct conf *c);
/* What Romulus remembers of a VM here, and which workers it has. */
void facts_remembered(struct json *j, const struct conf *c, const char *vm);

/* Of the hypervisor; problem NULL: f is valid. */
void facts_xen(struct json *j, const struct xen_host_facts *f, const char *problem);
void facts_domain(struct json *j, const struct xen_vm_facts *f);
/* "vif name= mac= bridge=" and "disk vdev= name=" lines of romulus-domain, into arrays. */
void facts_vifs(struct json *vm, const char *lines);
void facts_disks(struct json *vm, const char *lines);

#endif
