// SPDX-License-Identifier: GPL-2.0-or-later
/* See rng.h. A request gets at most a page; drivers ask again (5.4.6.1: fewer bytes than there is room for may come). */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

enum { QUEUE_SIZE = 64, REQUEST_MAX = 4096 };

/* After its seed, getrandom gives up to 256 bytes whole; of more, a signal may leave a part. */
static uint32_t fill(struct virtio_rng *r)
{
	uint64_t want = r->e.in_len < REQUEST_MAX ? r->e.in_len : REQUEST_MAX, done = 0;

	while (done < want) {
		uint8_t bytes[256];
		size_t n = want - done < sizeof(bytes) ? want - done : sizeof(bytes);

		if (getrandom(bytes, n, 0) != (ssize_t)n)
			break;
		if (virtq_write(&r->dev.queue[0], &r->e, done, bytes, n)) {
			virtio_needs_reset(&r->dev);
			break;
		}
		done += n;
	}
	return (uint32_t)done;
}

static enum virtio_queue_result rng_queue(void *model, unsigned n)
{
	struct virtio_rng *r = model;

	while (virtio_pop(&r->dev, n, &r->e))
		virtio_push(&r->dev, n, &r->e, fill(r));
	return VIRTIO_QUEUE_DONE;
}

static void rng_reset(void *model)
{
}

static const struct virtio_model_ops rng_ops = { .id = VIRTIO_ID_RNG, .queue = rng_queue, .reset = rng_reset };

int virtio_rng_create(struct ram *ram, struct loop *loop, struct virtio_rng **out)
{
	struct virtio_rng *r = calloc(1, sizeof(*r));
	struct virtio_device_config config = {
		.ops = &rng_ops,
		.model = r,
		.ram = ram,
		.loop = loop,
		.queues = 1,
		.queue_size = QUEUE_SIZE,
	};
	int ret;

	if (!r)
		return -ENOMEM;
	ret = virtio_device_init(&r->dev, &config);
	if (ret) {
		free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void virtio_rng_destroy(struct virtio_rng *r)
{
	if (!r)
		return;
	virtio_device_destroy(&r->dev);
	virtq_element_free(&r->e);
	free(r);
}
