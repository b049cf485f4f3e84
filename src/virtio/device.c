// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What all virtio devices do. See device.h.
 *
 * Invariants: driver_features is a subset of features once FEATURES_OK is set, and does not change then; queues are ready
 * only after that; in_flight is the number of elements that models hold; while `resetting`, queues do not run.
 */
#include "virtio/device.h"

#include "host/le.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct state_field fields[] = {
	STATE_UINT(struct virtio_device, status),
	STATE_UINT(struct virtio_device, generation),
	STATE_UINT(struct virtio_device, driver_features),
	STATE_UINT(struct virtio_device, config_vector),
	STATE_BYTES(struct virtio_device, config),
	STATE_STRUCTS(struct virtio_device, queue, virtq_fields),
	STATE_END,
};
static const struct state_class class = { "virtio", 1, fields };

void virtio_lock(struct virtio_device *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->budget = VIRTIO_BUDGET;
}

void virtio_unlock(struct virtio_device *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

bool virtio_running(const struct virtio_device *dev)
{
	return (dev->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK && !dev->resetting && !dev->paused;
}

/* --- eventfds --- */

/* EAGAIN means that the counter is full: then it is signalled anyway. */
static void signal_fd(int fd)
{
	int saved = errno;
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	errno = saved;
}

static void clear_fd(int fd)
{
	uint64_t v;
	ssize_t n;

	do
		n = read(fd, &v, sizeof(v));
	while (n < 0 && errno == EINTR);
}

void virtio_kick(struct virtio_device *dev, unsigned n)
{
	if (n < dev->queues)
		signal_fd(dev->kick[n]);
}

void virtio_work(struct virtio_device *dev)
{
	dev->work_wanted = true;
	signal_fd(dev->work);
}

/* With the lock held, on the I/O thread. What was asked for before comes before queues. */
static void do_work(struct virtio_device *dev)
{
	if (!dev->work_wanted)
		return;
	dev->work_wanted = false;
	if (dev->ops->work)
		dev->ops->work(dev->model);
}

static void on_work(void *opaque, int fd, uint32_t events)
{
	struct virtio_device *dev = opaque;

	clear_fd(fd);
	virtio_lock(dev);
	do_work(dev);
	virtio_unlock(dev);
}

/* --- the I/O thread --- */

static void run_queue(struct virtio_device *dev, unsigned n)
{
	enum virtio_queue_result result;
	unsigned idle = 0;

	if (!virtio_running(dev) || !dev->queue[n].ready)
		return;
	virtio_want_kicks(dev, n, false);
	do {
		unsigned before = dev->budget;

		result = dev->ops->queue(dev->model, n);
		if (!virtio_running(dev))
			return;
		/* Chains that are not taken although they were seen are on a queue that means nothing to the model. */
		idle = dev->budget == before ? idle + 1 : 0;
	} while (result == VIRTIO_QUEUE_DONE && dev->budget && virtio_want_kicks(dev, n, true) && idle < 2);
	virtio_notify(dev, n);
	/* Others get their turn, and those who wait for the lock. */
	if (result == VIRTIO_QUEUE_DONE && !dev->budget)
		virtio_kick(dev, n);
}

static void on_kick(void *opaque, int fd, uint32_t events)
{
	struct virtio_kick *k = opaque;

	clear_fd(fd);
	virtio_lock(k->dev);
	do_work(k->dev);
	run_queue(k->dev, k->n);
	virtio_unlock(k->dev);
}

void virtio_needs_reset(struct virtio_device *dev)
{
	if (dev->resetting || (dev->status & VIRTIO_NEEDS_RESET))
		return;
	dev->status |= VIRTIO_NEEDS_RESET;
	/* 2.1.2: "If DRIVER_OK is set, the device MUST send a device configuration change notification". */
	if ((dev->status & VIRTIO_DRIVER_OK) && dev->transport_ops)
		dev->transport_ops->interrupt(dev->transport, VIRTIO_CONFIG_VECTOR);
}

int virtio_pop(struct virtio_device *dev, unsigned n, struct virtq_element *e)
{
	int ret;

	if (!dev->budget || !virtio_running(dev))
		return 0;
	ret = virtq_pop(&dev->queue[n], e);
	if (ret < 0)
		virtio_needs_reset(dev);
	if (ret <= 0)
		return 0;
	dev->budget--;
	dev->in_flight++;
	return 1;
}

static void came_back(struct virtio_device *dev, unsigned count);

void virtio_unpop(struct virtio_device *dev, unsigned n, const struct virtq_element *e)
{
	virtq_unpop(&dev->queue[n], e);
	came_back(dev, 1);
}

void virtio_push_many(struct virtio_device *dev, unsigned n, const struct virtq_element *e, const uint32_t *written,
		      unsigned count)
{
	if (virtq_push(&dev->queue[n], e, written, count))
		virtio_needs_reset(dev);
	came_back(dev, count);
}

void virtio_push(struct virtio_device *dev, unsigned n, const struct virtq_element *e, uint32_t written)
{
	virtio_push_many(dev, n, e, &written, 1);
}

void virtio_notify(struct virtio_device *dev, unsigned n)
{
	int ret;

	if (!(dev->status & VIRTIO_DRIVER_OK) || dev->resetting)
		return;
	ret = virtq_interrupt(&dev->queue[n]);
	if (ret < 0)
		virtio_needs_reset(dev);
	if (ret > 0 && dev->transport_ops)
		dev->transport_ops->interrupt(dev->transport, (int)n);
}

bool virtio_want_kicks(struct virtio_device *dev, unsigned n, bool on)
{
	int ret = virtq_want_kicks(&dev->queue[n], on);

	if (ret < 0)
		virtio_needs_reset(dev);
	return ret > 0;
}

/* --- reset and pause --- */

static void tell_doorbells(struct virtio_device *dev)
{
	if (dev->transport_ops && dev->transport_ops->doorbells)
		dev->transport_ops->doorbells(dev->transport);
}

static void finish_reset(struct virtio_device *dev)
{
	dev->resetting = false;
	dev->status = 0;
	dev->driver_features = 0;
	dev->generation = 0;
	dev->config_vector = VIRTIO_NO_VECTOR;
	memcpy(dev->config, dev->config_reset, sizeof(dev->config));
	for (unsigned n = 0; n < VIRTIO_QUEUES_MAX; n++)
		virtq_reset(&dev->queue[n]);
	dev->ops->reset(dev->model);
	if (dev->transport_ops)
		dev->transport_ops->reset(dev->transport);
	virtio_work(dev);
}

/* @count elements are no longer in flight: whoever waits for the last one goes on. */
static void came_back(struct virtio_device *dev, unsigned count)
{
	dev->in_flight -= count;
	if (dev->in_flight)
		return;
	if (dev->resetting)
		finish_reset(dev);
	pthread_cond_broadcast(&dev->idle);
}

static void begin_reset(struct virtio_device *dev, bool wait)
{
	dev->resetting = true;
	tell_doorbells(dev);
	if (!dev->in_flight)
		finish_reset(dev);
	while (wait && dev->resetting)
		pthread_cond_wait(&dev->idle, &dev->lock);
}

void virtio_pause(struct virtio_device *dev)
{
	virtio_lock(dev);
	dev->paused = true;
	while (dev->in_flight)
		pthread_cond_wait(&dev->idle, &dev->lock);
	virtio_work(dev);
	virtio_unlock(dev);
}

static void kick_all(struct virtio_device *dev)
{
	virtio_work(dev);
	for (unsigned n = 0; n < dev->queues; n++)
		if (dev->queue[n].ready)
			virtio_kick(dev, n);
}

void virtio_resume(struct virtio_device *dev)
{
	virtio_lock(dev);
	dev->paused = false;
	kick_all(dev);
	virtio_unlock(dev);
}

/* --- configuration space --- */

void virtio_config_set(struct virtio_device *dev, unsigned offset, unsigned size, uint64_t value, bool writable)
{
	le_put(&dev->config[offset], size, value);
	le_put(&dev->config_reset[offset], size, value);
	memset(&dev->config_writable[offset], writable ? 0xff : 0, size);
}

uint64_t virtio_config_get(const struct virtio_device *dev, unsigned offset, unsigned size)
{
	return le_get(&dev->config[offset], size);
}

void virtio_config_change(struct virtio_device *dev, unsigned offset, unsigned size, uint64_t value)
{
	le_put(&dev->config[offset], size, value);
	le_put(&dev->config_reset[offset], size, value);
	dev->generation++;
	if ((dev->status & VIRTIO_DRIVER_OK) && dev->transport_ops)
		dev->transport_ops->interrupt(dev->transport, VIRTIO_CONFIG_VECTOR);
}

uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && i < 8; i++)
		if (offset < dev->config_size && i < dev->config_size - offset)
			v |= (uint64_t)dev->config[offset + i] << i * 8;
	return v;
}

void virtio_config_write(struct virtio_device *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bool any = false;

	for (unsigned i = 0; i < size && i < 8; i++) {
		if (offset >= dev->config_size || i >= dev->config_size - offset || !dev->config_writable[offset + i])
			continue;
		dev->config[offset + i] = (uint8_t)(value >> i * 8);
		any = true;
	}
	if (any && dev->ops->config_written)
		dev->ops->config_written(dev->model, (unsigned)offset, size);
}

/* --- status and features --- */

/* 2.2, 6.1: nothing that was not offered, and no device here speaks the legacy interface. */
static bool features_ok(struct virtio_device *dev)
{
	uint64_t f = dev->driver_features;

	if ((f & ~dev->features) || !(f & VIRTIO_F_VERSION_1))
		return false;
	return !dev->ops->features_ok || dev->ops->features_ok(dev->model, f);
}

void virtio_set_status(struct virtio_device *dev, uint8_t status, bool wait)
{
	uint8_t now = dev->status, add = status & ~now;

	if (!status) {
		begin_reset(dev, wait);
		return;
	}
	if (dev->resetting)
		return;
	/* Bits are only ever added (2.1.1); NEEDS_RESET is the device's. */
	add &= VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED;
	if ((add & VIRTIO_FEATURES_OK) && !features_ok(dev))
		add &= ~VIRTIO_FEATURES_OK;
	if (!((now | add) & VIRTIO_FEATURES_OK))
		add &= ~VIRTIO_DRIVER_OK;
	dev->status |= add;
	if (add & VIRTIO_DRIVER_OK) {
		if (dev->ops->started)
			dev->ops->started(dev->model);
		tell_doorbells(dev);
		kick_all(dev);
	}
}

void virtio_set_features(struct virtio_device *dev, uint32_t select, uint32_t value)
{
	unsigned shift = select * 32;

	if (select > 1 || (dev->status & VIRTIO_FEATURES_OK) || dev->resetting)
		return;
	dev->driver_features = (dev->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

uint32_t virtio_get_features(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> select * 32) : 0;
}

/* --- a queue's registers --- */

static struct virtq *settable(struct virtio_device *dev, unsigned n)
{
	return n < dev->queues && !dev->queue[n].ready && !dev->resetting ? &dev->queue[n] : NULL;
}

void virtio_set_queue_size(struct virtio_device *dev, unsigned n, uint16_t size)
{
	struct virtq *q = settable(dev, n);

	if (q)
		q->size = size;
}

static uint64_t *queue_area(struct virtq *q, unsigned which)
{
	return which == 0 ? &q->desc : which == 1 ? &q->driver : &q->device;
}

void virtio_set_queue_area(struct virtio_device *dev, unsigned n, unsigned which, bool high, uint32_t value)
{
	struct virtq *q = settable(dev, n);
	uint64_t *area;

	if (!q)
		return;
	area = queue_area(q, which);
	*area = high ? (uint32_t)*area | (uint64_t)value << 32 : (*area & ~0xffffffffull) | value;
}

uint64_t virtio_queue_area(const struct virtio_device *dev, unsigned n, unsigned which)
{
	return n < dev->queues ? *queue_area((struct virtq *)&dev->queue[n], which) : 0;
}

void virtio_set_queue_ready(struct virtio_device *dev, unsigned n)
{
	struct virtq *q = settable(dev, n);

	/* The rings' format is known after FEATURES_OK (3.1.1). */
	if (!q || !(dev->status & VIRTIO_FEATURES_OK))
		return;
	if (virtq_start(q, dev->driver_features)) {
		virtio_needs_reset(dev);
		return;
	}
	if (dev->status & VIRTIO_DRIVER_OK) {
		tell_doorbells(dev);
		virtio_kick(dev, n);
	}
}

void virtio_clear_queue_ready(struct virtio_device *dev, unsigned n)
{
	if (n >= dev->queues || !dev->queue[n].ready || dev->queue[n].in_flight || dev->resetting)
		return;
	virtq_reset(&dev->queue[n]);
	tell_doorbells(dev);
}

bool virtio_wants_doorbell(const struct virtio_device *dev, unsigned n)
{
	return n < dev->queues && dev->queue[n].ready && (dev->status & VIRTIO_DRIVER_OK) && !dev->resetting;
}

/* --- the device as a part of the board --- */

static void device_reset(void *chip)
{
	struct virtio_device *dev = chip;

	virtio_lock(dev);
	begin_reset(dev, true);
	virtio_unlock(dev);
}

static int device_loaded(void *chip)
{
	struct virtio_device *dev = chip;
	int ret = 0;

	virtio_lock(dev);
	if ((dev->status & VIRTIO_FEATURES_OK) ? !features_ok(dev) : dev->status & VIRTIO_DRIVER_OK)
		ret = -EPROTO;
	for (unsigned i = 0; i < VIRTIO_CONFIG_MAX; i++)
		if (i >= dev->config_size && dev->config[i])
			ret = -EPROTO;
	for (unsigned n = 0; n < VIRTIO_QUEUES_MAX && !ret; n++) {
		if (dev->queue[n].ready && (n >= dev->queues || !(dev->status & VIRTIO_FEATURES_OK)))
			ret = -EPROTO;
		else
			ret = virtq_loaded(&dev->queue[n], dev->driver_features);
	}
	if (!ret) {
		tell_doorbells(dev);
		virtio_work(dev);
	}
	virtio_unlock(dev);
	return ret;
}

const struct chip_ops virtio_device_ops = { .state = &class, .reset = device_reset, .loaded = device_loaded };

/* --- building --- */

int virtio_device_init(struct virtio_device *dev, const struct virtio_device_config *config)
{
	int ret = 0;

	memset(dev, 0, sizeof(*dev));
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->idle, NULL);
	dev->ops = config->ops;
	dev->model = config->model;
	dev->loop = config->loop;
	dev->features = config->features | VIRTIO_F_ALL;
	dev->config_size = config->config_size;
	dev->queues = config->queues;
	dev->config_vector = VIRTIO_NO_VECTOR;
	dev->work = -1;
	for (unsigned n = 0; n < VIRTIO_QUEUES_MAX; n++) {
		dev->queue[n].ram = config->ram;
		dev->queue[n].size_max = n < config->queues ? (uint16_t)config->queue_size : 0;
		virtq_reset(&dev->queue[n]);
		dev->kicks[n] = (struct virtio_kick){ dev, n };
		dev->kick[n] = -1;
	}
	for (unsigned n = 0; n < dev->queues && !ret; n++) {
		dev->kick[n] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ret = dev->kick[n] < 0 ? -errno : loop_watch(dev->loop, dev->kick[n], EPOLLIN, on_kick, &dev->kicks[n]);
	}
	if (!ret) {
		dev->work = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ret = dev->work < 0 ? -errno : loop_watch(dev->loop, dev->work, EPOLLIN, on_work, dev);
	}
	if (ret)
		virtio_device_destroy(dev);
	return ret;
}

void virtio_device_destroy(struct virtio_device *dev)
{
	for (unsigned n = 0; n < dev->queues; n++) {
		if (dev->kick[n] < 0)
			continue;
		loop_unwatch(dev->loop, dev->kick[n]);
		close(dev->kick[n]);
		dev->kick[n] = -1;
	}
	if (dev->work >= 0) {
		loop_unwatch(dev->loop, dev->work);
		close(dev->work);
		dev->work = -1;
	}
	pthread_cond_destroy(&dev->idle);
	pthread_mutex_destroy(&dev->lock);
}
