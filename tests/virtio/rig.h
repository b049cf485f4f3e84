// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver for tests: it stands where a guest's kernel would, sets up queues in guest RAM and drives a device through the
 * registers of a transport alone. The device's I/O thread is the test's own thread, in rig_run.
 *
 * A mode is a set of bits; tests that hold in every mode run in all of them (RIG_EACH).
 */
#ifndef SUBRING_TESTS_VIRTIO_RIG_H
#define SUBRING_TESTS_VIRTIO_RIG_H

#include "virtio/mmio.h"
#include "virtio/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
	RIG_PACKED = 1, /* ring format */
	RIG_INDIRECT = 2,
	RIG_EVENT = 4,
	RIG_MMIO = 8, /* else PCI */
	RIG_MODES = 16,
};
#define RIG_EACH(mode) for (unsigned mode = 0; mode < RIG_MODES; mode++)

enum { RIG_SLOT = 3, RIG_SLOT_MMIO = 0, RIG_RAM_HALF = 8 << 20 };
#define RIG_BAR 0xc0004000ull
#define RIG_MSIX_BAR 0xc0001000ull
#define RIG_MMIO_BASE 0xd0000000ull
#define RIG_HIGH 0x100000000ull /* the second half of RAM is here */
#define RIG_DATA 0x400000ull    /* the driver's buffers begin here */

/* One queue of the driver. */
struct rig_queue {
	unsigned size;
	uint64_t desc, driver, device, tables;
	uint16_t next, last_used, free_entries;
	bool wrap, used_wrap; /* packed */
	uint16_t next_id;
	uint16_t entries[VIRTQ_SIZE_MAX]; /* of the ring, by ID */
};

struct rig {
	unsigned mode;
	bool threaded; /* another thread runs the loop: rig_run only gives it time */
	struct ram *ram;
	struct loop *loop;
	struct bus pio, mmio;
	struct pci pci;
	struct virtio_pci card;
	struct virtio_mmio window;
	struct virtio_device *dev;
	struct virtio_wires wires;
	struct rig_queue q[VIRTIO_QUEUES_MAX];
	uint8_t lines;			   /* of PCI */
	bool level;			   /* of MMIO */
	unsigned interrupts[VIRTIO_QUEUES_MAX + 1]; /* [0]: configuration, [1 + n]: queue n; a line: all at [0] */
	unsigned doorbells;		   /* in place */
	struct virtio_doorbell doorbell[VIRTIO_QUEUES_MAX + 1];
	unsigned doorbell_count;
};

struct rig_part {
	uint64_t gpa;
	uint32_t len;
};

/* RAM and a loop; then the test makes its device on them; then rig_attach. */
void rig_init(struct rig *r, unsigned mode);
void rig_attach(struct rig *r, struct virtio_device *dev);
/* The transport, the loop and RAM go. @dev is the test's to destroy, after rig_detach and before rig_done. */
void rig_detach(struct rig *r);
void rig_done(struct rig *r);

/* Registers of the transport, by the names of PCI's common configuration. */
void rig_set_status(struct rig *r, uint8_t status);
uint8_t rig_status(struct rig *r);
uint64_t rig_features(struct rig *r);
void rig_set_features(struct rig *r, uint64_t features);
unsigned rig_queue_max(struct rig *r, unsigned n);
void rig_setup_queue(struct rig *r, unsigned n, unsigned size);
uint64_t rig_config(struct rig *r, unsigned offset, unsigned size);
void rig_set_config(struct rig *r, unsigned offset, unsigned size, uint64_t value);
void rig_kick(struct rig *r, unsigned n);
unsigned rig_generation(struct rig *r);

/* 3.1.1, with what of @features and the mode's features is offered; all queues get @size entries. */
void rig_start(struct rig *r, uint64_t features, unsigned size);

/* Makes a chain available: outs, then ins. Its ID. */
unsigned rig_add(struct rig *r, unsigned n, const struct rig_part *parts, unsigned outs, unsigned ins);
/* Takes a used chain. */
bool rig_used(struct rig *r, unsigned n, unsigned *id, uint32_t *len);
/* Lets the I/O thread do what there is to do. */
void rig_run(struct rig *r);
/* Adds, kicks, runs; the chain must come back: how many bytes were written. */
uint32_t rig_do(struct rig *r, unsigned n, const struct rig_part *parts, unsigned outs, unsigned ins);

void rig_put(struct rig *r, uint64_t gpa, const void *bytes, size_t len);
void rig_get(struct rig *r, uint64_t gpa, void *bytes, size_t len);
void rig_put16(struct rig *r, uint64_t gpa, uint16_t v);
uint16_t rig_get16(struct rig *r, uint64_t gpa);
void rig_put_le(struct rig *r, uint64_t gpa, unsigned size, uint64_t v);
uint64_t rig_get_le(struct rig *r, uint64_t gpa, unsigned size);

/* Interrupts of queue @n so far, whatever it is; on a line they are acknowledged, and are those of any queue. */
unsigned rig_interrupts(struct rig *r, int n);

/* Saves transport and device of @from, loads them into @to; RAM and the driver's own state too. With @model, that also. */
int rig_copy(struct rig *from, struct rig *to, const struct chip_ops *model, void *from_model, void *to_model);

#endif
