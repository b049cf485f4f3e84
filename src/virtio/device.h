// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A virtio device (virtio 1.2, chapter 2), between a transport (pci.h, mmio.h) and a model (rng.h, blk.h, ...).
 *
 * Threads. A device belongs to the loop of one I/O thread. Registers are accessed on vCPU threads, with the board lock
 * held; queues run on the I/O thread, which never takes the board lock. `lock` guards the device, its queues and its model;
 * it is below the board lock, and above msix.lock and what an engine takes to send an MSI. The I/O thread holds it
 * for at most VIRTIO_BUDGET chains at a time. A notification does not take it: it signals the queue's eventfd, which the loop watches, and which
 * the engine signals itself where it could be given a doorbell.
 *
 * Interrupts from the I/O thread: MSI-X goes straight to the engine (msix.h). For a line the I/O thread sets the ISR status and calls
 * wires.line, which does not wait for the board lock: see struct virtio_wires.
 *
 * Requests in flight. A chain that was popped and is not pushed yet is in flight. A reset and a pause wait for these:
 *  - reset with nothing in flight happens at once; else device status keeps its value until the last one is back (2.4.2:
 *    the driver reads it until it is 0). MMIO drivers do not all do that: there the write waits.
 *  - virtio_pause returns when nothing is in flight; then nothing of the device touches guest memory until virtio_resume. Saving and
 *    changes of the RAM's slots need that.
 *
 * A driver that breaks the rules gets DEVICE_NEEDS_RESET (2.1.2), and no queue runs until it resets.
 */
#ifndef SUBRING_VIRTIO_DEVICE_H
#define SUBRING_VIRTIO_DEVICE_H

#include "bus/chip.h"
#include "host/error.h"
#include "host/loop.h"
#include "virtio/ids.h"
#include "virtio/queue.h"

#include <pthread.h>

enum {
	VIRTIO_QUEUES_MAX = 32,
	VIRTIO_CONFIG_MAX = 128,
	VIRTIO_NO_VECTOR = 0xffff,
	VIRTIO_CONFIG_VECTOR = -1, /* instead of a queue: the configuration changed */
	VIRTIO_BUDGET = 256,
};

struct virtio_device;

/* A doorbell: the guest's store of any length at @address, or of the 4 bytes @value if @match, signals @fd. */
struct virtio_doorbell {
	uint64_t address;
	bool match;
	uint32_t value;
	int fd;
};

/* What a device needs of the board and the engine. */
struct virtio_wires {
	/* Any thread, with the device's lock and perhaps the board lock held: hands an MSI to the engine. */
	void (*msi)(void *opaque, uint64_t address, uint32_t data);
	/*
	 * Any thread, with the device's lock and perhaps (on a vCPU's thread) the board lock held. Sees to it that the
	 * transport's update function (virtio_pci_update_line, virtio_mmio_update_line) is called with the board lock held, soon,
	 * and does not wait for the board lock: pthread_mutex_trylock, or a word to another thread.
	 */
	void (*line)(void *opaque);
	/* Board lock held. Puts it in place or removes it; an error means that stores exit as they did. May be NULL. */
	int (*doorbell)(void *opaque, const struct virtio_doorbell *doorbell, bool add);
	void *opaque;
};

enum virtio_queue_result {
	VIRTIO_QUEUE_DONE, /* everything that was there was taken: notifications are wanted */
	VIRTIO_QUEUE_LEFT, /* something is left on purpose: the model calls virtio_kick when it can go on */
};

/* What a model implements. All with the device's lock held. Those that may be NULL are last. */
struct virtio_model_ops {
	uint16_t id; /* chapter 5 */
	/* Takes chains off queue @n. On the I/O thread, when the driver is running (DRIVER_OK). */
	enum virtio_queue_result (*queue)(void *model, unsigned n);
	/* Forget everything about the driver. Any thread; nothing is in flight. */
	void (*reset)(void *model);
	/* The driver is ready; dev->driver_features say what it took. Any thread. */
	void (*started)(void *model);
	/* On the I/O thread, soon after a reset, a start, a pause or resumption, after loading and after virtio_work. */
	void (*work)(void *model);
	/* The driver wrote [offset, offset + size) of the configuration, within what config_writable allows. Any thread. */
	void (*config_written)(void *model, unsigned offset, unsigned size);
	/* Whether the driver may have these, a subset of what is offered that includes VERSION_1. */
	bool (*features_ok)(void *model, uint64_t features);
};

struct virtio_transport_ops {
	/* Interrupts for queue @n or VIRTIO_CONFIG_VECTOR. Any thread, device's lock held. */
	void (*interrupt)(void *transport, int n);
	/* The device was reset: no interrupt is asserted any more. Any thread, device's lock held. */
	void (*reset)(void *transport);
	/* The set of queues that are to have doorbells may be another. Board lock and the device's lock held. */
	void (*doorbells)(void *transport);
};

struct virtio_device {
	pthread_mutex_t lock;
	pthread_cond_t idle; /* in_flight became 0 */
	/* saved */
	uint8_t status, generation;
	uint64_t driver_features;
	uint16_t config_vector;
	uint8_t config[VIRTIO_CONFIG_MAX];
	struct virtq queue[VIRTIO_QUEUES_MAX];
	/* not saved */
	bool resetting;	  /* when nothing is in flight any more */
	bool paused;
	unsigned in_flight; /* elements */
	unsigned budget;    /* how many more may be popped in this run of a queue */
	bool work_wanted;
	/* fixed after init */
	const struct virtio_model_ops *ops;
	void *model;
	struct loop *loop;
	uint64_t features; /* offered */
	unsigned config_size, queues;
	uint8_t config_writable[VIRTIO_CONFIG_MAX];
	uint8_t config_reset[VIRTIO_CONFIG_MAX];
	int kick[VIRTIO_QUEUES_MAX], work; /* eventfds */
	struct virtio_kick {
		struct virtio_device *dev;
		unsigned n;
	} kicks[VIRTIO_QUEUES_MAX];
	/* wiring */
	const struct virtio_transport_ops *transport_ops;
	void *transport;
};

struct virtio_device_config {
	const struct virtio_model_ops *ops;
	void *model;
	struct ram *ram;
	struct loop *loop;	/* before it runs, or on its thread */
	uint64_t features;	/* the model's; VIRTIO_F_ALL is added */
	unsigned queues, queue_size; /* at most VIRTIO_QUEUES_MAX, VIRTQ_SIZE_MAX */
	unsigned config_size;
};

/* --- for the wiring --- */

/* Waits until nothing is in flight; then the device is still. Not on the I/O thread unless nothing can be in flight. Pauses do not nest. */
void virtio_pause(struct virtio_device *dev);
void virtio_resume(struct virtio_device *dev);
/* State: the record "virtio" (registers and queues); reset as at power-on. Loaded while paused, before the model and after the transport. */
extern const struct chip_ops virtio_device_ops;

/* --- for models; with the lock held unless it says otherwise --- */

/* -ENOMEM, -EMFILE and the like. */
int virtio_device_init(struct virtio_device *dev, const struct virtio_device_config *config);
/* On the loop's thread, or after it has ended. Nothing may be in flight. */
void virtio_device_destroy(struct virtio_device *dev);
/* The configuration space after reset; @writable bytes may be changed by the driver. Little endian. During init. */
void virtio_config_set(struct virtio_device *dev, unsigned offset, unsigned size, uint64_t value, bool writable);
/* Changes the configuration while running: generation, interrupt (2.5). */
void virtio_config_change(struct virtio_device *dev, unsigned offset, unsigned size, uint64_t value);
uint64_t virtio_config_get(const struct virtio_device *dev, unsigned offset, unsigned size);
static inline bool virtio_has(const struct virtio_device *dev, uint64_t features)
{
	return (dev->driver_features & features) == features;
}
/* Whether queues may run: DRIVER_OK, no reset needed or under way, not paused. */
bool virtio_running(const struct virtio_device *dev);
/*
 * 1 with a chain, 0 without. One at which the driver broke the rules makes the device need a reset. On the I/O thread.
 */
int virtio_pop(struct virtio_device *dev, unsigned n, struct virtq_element *e);
void virtio_unpop(struct virtio_device *dev, unsigned n, const struct virtq_element *e);
void virtio_push(struct virtio_device *dev, unsigned n, const struct virtq_element *e, uint32_t written);
void virtio_push_many(struct virtio_device *dev, unsigned n, const struct virtq_element *e, const uint32_t *written,
		      unsigned count);
/* After pushing: interrupts the driver if it wants that. Not needed at the end of ops->queue, which is followed by it. */
void virtio_notify(struct virtio_device *dev, unsigned n);
/* Runs queue @n soon, on the I/O thread. Any thread, with or without the lock. */
void virtio_kick(struct virtio_device *dev, unsigned n);
/* Whether the driver shall notify of new chains on @n; true when there are some already. */
bool virtio_want_kicks(struct virtio_device *dev, unsigned n, bool on);
/* Calls ops->work soon on the I/O thread. */
void virtio_work(struct virtio_device *dev);
/* The driver broke the rules. */
void virtio_needs_reset(struct virtio_device *dev);
/* For callbacks of back-ends, on the I/O thread, and for what the wiring calls. They may pop VIRTIO_BUDGET chains. */
void virtio_lock(struct virtio_device *dev);
void virtio_unlock(struct virtio_device *dev);

/* --- for transports; with the board lock and the device's lock held --- */

uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio_device *dev, uint64_t offset, unsigned size, uint64_t value);
/* Device status; @wait: a reset is over when this returns. The lock may be dropped and taken again. */
void virtio_set_status(struct virtio_device *dev, uint8_t status, bool wait);
void virtio_set_features(struct virtio_device *dev, uint32_t select, uint32_t value);
uint32_t virtio_get_features(uint64_t features, uint32_t select);
/* A queue's registers: ignored once it is ready. @which: 0 descriptor, 1 driver, 2 device area. */
void virtio_set_queue_size(struct virtio_device *dev, unsigned n, uint16_t size);
void virtio_set_queue_area(struct virtio_device *dev, unsigned n, unsigned which, bool high, uint32_t value);
uint64_t virtio_queue_area(const struct virtio_device *dev, unsigned n, unsigned which);
void virtio_set_queue_ready(struct virtio_device *dev, unsigned n);
/* MMIO drivers may take a queue back: 4.2.2. With nothing in flight only; else it stays. */
void virtio_clear_queue_ready(struct virtio_device *dev, unsigned n);
/* Whether queue @n is to have a doorbell. */
bool virtio_wants_doorbell(const struct virtio_device *dev, unsigned n);

#endif
