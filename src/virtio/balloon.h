// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory balloon: virtio 1.2, 5.5, with statistics and free-page reporting. What the guest puts into the balloon or reports as free is given
 * back to the host (ram_discard), and comes again, zeroed, when the guest touches it.
 */
#ifndef SUBRING_VIRTIO_BALLOON_H
#define SUBRING_VIRTIO_BALLOON_H

#include "virtio/device.h"

struct virtio_balloon;

/* Tags of statistics (5.5.6.4). */
#define VIRTIO_BALLOON_STATS(X)                                                                    \
	X(SWAP_IN, "swap-in") X(SWAP_OUT, "swap-out") X(MAJOR_FAULTS, "major-faults")              \
	X(MINOR_FAULTS, "minor-faults") X(FREE, "free") X(TOTAL, "total") X(AVAILABLE, "available") \
	X(CACHES, "caches") X(HUGE_ALLOCATED, "huge-allocated") X(HUGE_FAILED, "huge-failed")

enum virtio_balloon_stat {
#define X(id, name) VIRTIO_BALLOON_##id,
	VIRTIO_BALLOON_STATS(X)
#undef X
	VIRTIO_BALLOON_STAT_COUNT
};

struct virtio_balloon_info {
	uint64_t target, actual; /* bytes in the balloon: wanted, and as the driver says */
	uint64_t reported;	 /* bytes that were reported as free so far */
	uint64_t stat[VIRTIO_BALLOON_STAT_COUNT]; /* UINT64_MAX: not told */
};

int virtio_balloon_create(struct ram *ram, struct loop *loop, struct virtio_balloon **out);
void virtio_balloon_destroy(struct virtio_balloon *b); /* NULL is fine */
struct virtio_device *virtio_balloon_device(struct virtio_balloon *b);

/* Any thread: how much the balloon shall hold. */
void virtio_balloon_set_target(struct virtio_balloon *b, uint64_t bytes);
/* Any thread. */
void virtio_balloon_get(struct virtio_balloon *b, struct virtio_balloon_info *info);
/* Asks the driver for new statistics; they come when it has made them. Any thread. */
void virtio_balloon_ask(struct virtio_balloon *b);
const char *virtio_balloon_stat_name(enum virtio_balloon_stat stat);

#endif
