// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Block device: virtio 1.2, 5.2, over a disk of block/block.h.
 *
 * Several queues, all on the disk's loop. Requests run side by side and come back as the disk finishes them. A write is acknowledged
 * when the disk has it; when the driver chose write-through (5.2.5, writeback 0, or it took no FLUSH) once it is on stable storage.
 */
#ifndef SUBRING_VIRTIO_BLK_H
#define SUBRING_VIRTIO_BLK_H

#include "block/block.h"
#include "virtio/device.h"

enum { VIRTIO_BLK_SERIAL = 20 };

struct virtio_blk;

/* @disk, which outlives the device, is on @loop. @serial: its first 20 bytes are used. @queues: 1 to 16. */
int virtio_blk_create(struct ram *ram, struct loop *loop, struct disk *disk, const char *serial, unsigned queues,
		      struct virtio_blk **out);
void virtio_blk_destroy(struct virtio_blk *b); /* NULL is fine; nothing may be in flight */
struct virtio_device *virtio_blk_device(struct virtio_blk *b);

/* State: what the disk must be like for a saved device to go on with it. */
extern const struct chip_ops virtio_blk_ops;

#endif
