// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device for tests of queues and transports: it copies what is device-readable to what is device-writable. It may be told to
 * keep chains in flight, or to leave them in the ring.
 */
#ifndef SUBRING_TESTS_VIRTIO_ECHO_H
#define SUBRING_TESTS_VIRTIO_ECHO_H

#include "rig.h"

enum { ECHO_ID = 63, ECHO_QUEUES = 2, ECHO_SIZE = 256, ECHO_CONFIG = 12, ECHO_HELD = 512 };

struct echo {
	struct virtio_device dev;
	struct virtq_element e[ECHO_HELD];
	bool hold, leave;
	unsigned held, queue_calls, resets, starts, works, config_writes;
};

static inline void echo_answer(struct echo *x, unsigned n, struct virtq_element *e)
{
	uint64_t len = e->out_len < e->in_len ? e->out_len : e->in_len;
	uint8_t bytes[4096];

	for (uint64_t at = 0; at < len; at += sizeof(bytes)) {
		uint64_t part = len - at < sizeof(bytes) ? len - at : sizeof(bytes);

		if (virtq_read(&x->dev.queue[n], e, at, bytes, part) || virtq_write(&x->dev.queue[n], e, at, bytes, part)) {
			virtio_needs_reset(&x->dev);
			break;
		}
	}
	virtio_push(&x->dev, n, e, (uint32_t)len);
}

static inline enum virtio_queue_result echo_queue(void *model, unsigned n)
{
	struct echo *x = model;

	x->queue_calls++;
	if (x->leave)
		return VIRTIO_QUEUE_LEFT;
	while (x->held < ECHO_HELD && virtio_pop(&x->dev, n, &x->e[x->held])) {
		if (x->hold)
			x->held++;
		else
			echo_answer(x, n, &x->e[x->held]);
	}
	return VIRTIO_QUEUE_DONE;
}

/* Answers what is held, the newest first. */
static inline void echo_release(struct echo *x, unsigned n)
{
	virtio_lock(&x->dev);
	while (x->held)
		echo_answer(x, n, &x->e[--x->held]);
	virtio_notify(&x->dev, n);
	virtio_unlock(&x->dev);
}

static inline void echo_reset(void *model)
{
	((struct echo *)model)->resets++;
}

static inline void echo_started(void *model)
{
	((struct echo *)model)->starts++;
}

static inline void echo_work(void *model)
{
	((struct echo *)model)->works++;
}

static inline void echo_config_written(void *model, unsigned offset, unsigned size)
{
	((struct echo *)model)->config_writes++;
}

static inline bool echo_features_ok(void *model, uint64_t features)
{
	return (features & 3) != 2; /* bit 1 needs bit 0 */
}

static const struct virtio_model_ops echo_ops = {
	.id = ECHO_ID,
	.queue = echo_queue,
	.reset = echo_reset,
	.started = echo_started,
	.work = echo_work,
	.config_written = echo_config_written,
	.features_ok = echo_features_ok,
};

static inline void echo_init(struct echo *x, struct rig *r)
{
	struct virtio_device_config config = {
		.ops = &echo_ops,
		.model = x,
		.ram = r->ram,
		.loop = r->loop,
		.features = 7,
		.queues = ECHO_QUEUES,
		.queue_size = ECHO_SIZE,
		.config_size = ECHO_CONFIG,
	};

	*x = (struct echo){ .held = 0 };
	assert_int_equal(virtio_device_init(&x->dev, &config), 0);
	virtio_config_set(&x->dev, 0, 8, 0x1122334455667788, false);
	virtio_config_set(&x->dev, 8, 4, 0, true);
	rig_attach(r, &x->dev);
}

static inline void echo_done(struct echo *x, struct rig *r)
{
	rig_set_status(r, 0);
	rig_detach(r);
	virtio_device_destroy(&x->dev);
	for (unsigned i = 0; i < ECHO_HELD; i++)
		virtq_element_free(&x->e[i]);
	rig_done(r);
}

#endif
