// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cards in the board's PCI slots: virtio devices, each with the I/O thread that its queues and its back-end run on.
 *
 * Where a card is depends on its kind and its number among its kind alone, so that a guest's names for it stay when cards of another
 * kind come or go.
 *
 * Threads: made, started and destroyed on one thread, without the board lock. cards_pause and cards_resume: any thread but an I/O thread, without the
 * board lock, which a card that completes a request may need on its way. cards_lines: with it.
 */
#ifndef SUBRING_MACHINE_CARDS_H
#define SUBRING_MACHINE_CARDS_H

#include "block/block.h"
#include "bus/pci.h"
#include "engine/engine.h"
#include "host/error.h"
#include "mem/mem.h"
#include "net/net.h"

#include <pthread.h>

enum { CARD_SLOT_RNG = 1, CARD_SLOT_NET = 2, CARD_SLOT_DISK = 10, CARD_NETS_MAX = 8, CARD_DISKS_MAX = 20 };

/* What is in a drive, and the serial number that its label bears (at most VIRTIO_BLK_SERIAL bytes; "": none). */
struct card_disk {
	struct disk_config disk;
	const char *serial;
};

/* What cards need of the board. All may be called by any thread. */
struct card_wires {
	void (*msi)(void *opaque, const struct engine_msi *msi);
	int (*doorbell)(void *opaque, const struct engine_doorbell *doorbell, bool add); /* NULL: stores exit */
	/* cards_lines shall be called soon, by a thread that takes the board lock first; does not wait for it. */
	void (*lines_later)(void *opaque);
	void *opaque;
	pthread_mutex_t *lock; /* the board's */
};

struct cards_config {
	struct ram *ram;
	bool rng; /* an entropy device */
	unsigned cpus;
	const struct card_disk *disk;
	unsigned disks; /* at most CARD_DISKS_MAX */
	const struct net_config *net;
	unsigned nets; /* at most CARD_NETS_MAX */
	struct card_wires wires;
};

struct cards;

/* Makes the cards and puts them into @pci, whose owner outlives them. Their threads do not run yet. */
int cards_create(const struct cards_config *config, struct pci *pci, struct cards **out, struct error *err);
int cards_start(struct cards *cards, struct error *err);
/* Ends the I/O threads. NULL is fine. */
void cards_destroy(struct cards *cards);

/* What is reset, saved and loaded, in this order: calls @part for each. @chip and @ops live as long as the cards. */
void cards_parts(struct cards *cards, void (*part)(void *opaque, const struct chip_ops *ops, void *chip, uint32_t instance), void *opaque);

/* Waits until no request is under way; then nothing touches guest memory until cards_resume. These do not nest. */
void cards_pause(struct cards *cards);
void cards_resume(struct cards *cards);
/* Interrupt pins follow what the devices say. */
void cards_lines(struct cards *cards);

#endif
