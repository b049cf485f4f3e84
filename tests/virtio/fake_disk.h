// SPDX-License-Identifier: GPL-2.0-or-later
/* A disk for tests, in place of block/: sectors in memory, requests that are done when the test says so, and in the order it wants. */
#ifndef SUBRING_TESTS_VIRTIO_FAKE_DISK_H
#define SUBRING_TESTS_VIRTIO_FAKE_DISK_H

#include "block/block.h"

enum { FAKE_SECTORS = 256, FAKE_LOG = 512 };

struct disk {
	struct disk_info info;
	uint8_t bytes[FAKE_SECTORS * BLOCK_SECTOR];
	struct block_request *first, **last;
	unsigned waiting;
	bool hold;	   /* done by fake_disk_run, not by disk_unplug */
	int fail;	   /* what requests are done with */
	unsigned plugged;
	/* what was asked for */
	struct {
		enum block_op op;
		unsigned flags;
		uint64_t offset, bytes;
	} log[FAKE_LOG];
	unsigned logged;
};

void fake_disk_init(struct disk *d);
/* Does what waits, the newest first if @reverse. */
void fake_disk_run(struct disk *d, bool reverse);

#endif
