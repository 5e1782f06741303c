/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The word that picks the lane of a network device: a one-element BPF array, mapped into this
 * process and read by a small program in the kernel for each frame. The only part of netbuffer on
 * the pause path: a switch is a store. The map is pinned under /sys/fs/bpf/romulus/ and so
 * outlives the worker.
 */
#ifndef NETBUFFER_LANE_SWITCH_H
#define NETBUFFER_LANE_SWITCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define LANE_SWITCH_DIR "/sys/fs/bpf/romulus" /* vif3.0 is pinned there as vif3:0 */
#define LANE_SWITCH_MAJOR 0x7e000000U	      /* the classid of lane n is this | n + 1 */
#define LANE_SWITCH_PATH_SIZE 64

/* What is mapped: shared with the program (class) and with the next worker (the rest). */
struct lane_word {
	_Atomic uint32_t class;	    /* never 0 */
	_Atomic uint32_t held;	    /* 0: everything passes; 1: output is being held */
	_Atomic uint32_t vif_index; /* of the device that this is for, 0 while it is being made */
	_Atomic uint32_t ifb_index;
};
ASSERT_SIZE(struct lane_word, 16);

struct lane_switch {
	int map_fd; /* -1: not open */
	struct lane_word *word;
	char pin[LANE_SWITCH_PATH_SIZE];
};

#define LANE_SWITCH_INIT ((struct lane_switch){.map_fd = -1})

/*
 * Opens the pinned word of the device, or makes and pins one for lane 0 and not held; *found says
 * which. A word whose content makes no sense is -EBADMSG. Control thread.
 */
MUST_CHECK int lane_switch_open(struct lane_switch *s, const char *vif, bool *found, struct err *e);
/* Unmaps and closes; the pin stays. May be repeated. */
void lane_switch_close(struct lane_switch *s);
/* Removes the pin; a missing one is fine. */
MUST_CHECK int lane_switch_unpin(const char *vif, struct err *e);

/* Loads the classifier that reads the word; *prog_fd is the caller's. */
MUST_CHECK int lane_switch_load(const struct lane_switch *s, int *prog_fd, struct err *e);

/*
 * Any thread: from now on frames go into this lane. All that was stored before is seen by who
 * sees this.
 */
static inline void lane_switch_set(struct lane_switch *s, unsigned int lane)
{
	atomic_store_explicit(&s->word->class, LANE_SWITCH_MAJOR | (lane + 1),
			      memory_order_release);
}

static inline unsigned int lane_switch_get(const struct lane_switch *s)
{
	return (atomic_load_explicit(&s->word->class, memory_order_acquire) & 0xffffU) - 1;
}

#endif
