// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Entropy device: virtio 1.2, 5.4. One queue of buffers, which are filled from getrandom(2).
 */
#ifndef SUBRING_VIRTIO_RNG_H
#define SUBRING_VIRTIO_RNG_H

#include "virtio/device.h"

struct virtio_rng {
	struct virtio_device dev;
	struct virtq_element e;
};

int virtio_rng_create(struct ram *ram, struct loop *loop, struct virtio_rng **out);
void virtio_rng_destroy(struct virtio_rng *r); /* NULL is fine */

#endif
