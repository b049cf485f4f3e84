// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): a capability, and a table with pending bits behind a BAR.
 *
 * The owner of a struct pci_device embeds a struct msix, names a BAR for it, and sends what is accessed there to msix_read
 * and msix_write. pci.c tells it when the guest writes Message Control, and keeps the device's pin silent
 * while MSI-X is enabled. It is saved as a part of its owner's record (msix_fields), after the record of the struct pci_device.
 *
 * Threads: msix_notify may be called by any thread without the board lock; the others are called with it. Inside, a lock
 * of its own guards the table, so that no message leaves after the guest's write that masks it. It is a
 * leaf but for the locks that sending an MSI takes in an engine.
 */
#ifndef SUBRING_BUS_MSIX_H
#define SUBRING_BUS_MSIX_H

#include "bus/pci.h"

#include <pthread.h>

/* The BAR: the table at 0, the pending bits at MSIX_PBA. */
enum { MSIX_VECTORS_MAX = 64, MSIX_PBA = 0x800, MSIX_BAR_SIZE = 0x1000 };

struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix {
	pthread_mutex_t lock;
	struct msix_entry entry[MSIX_VECTORS_MAX];
	uint64_t pending; /* bit n: vector n waits for being unmasked */
	bool enabled, masked; /* as Message Control says */
	/* fixed after msix_init */
	struct pci_device *dev;
	unsigned vectors;
	uint8_t capability; /* its offset */
	void (*msi)(void *opaque, uint64_t address, uint32_t data); /* any thread, with the lock held */
	void *opaque;
};

/* Gives @d MSI-X with @vectors (1 to MSIX_VECTORS_MAX) in memory BAR @bar. -EINVAL, -ENOSPC. Before pci_add. */
int msix_init(struct msix *m, struct pci_device *d, unsigned vectors, unsigned bar, unsigned region,
	      void (*msi)(void *opaque, uint64_t address, uint32_t data), void *opaque);
void msix_destroy(struct msix *m);

/* An access to the BAR. */
uint64_t msix_read(struct msix *m, uint64_t offset, unsigned size);
void msix_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value);

/* Sends vector @n, or makes it pending. Nothing happens for one that is not there or while MSI-X is disabled. */
void msix_notify(struct msix *m, unsigned n);

/* Whether MSI-X is enabled now. Any thread. */
bool msix_enabled(struct msix *m);

/* For pci.c: Message Control may have changed; the device was reset. */
void msix_update(struct msix *m);
void msix_reset(struct msix *m);

extern const struct state_field msix_fields[];
int msix_loaded(struct msix *m); /* 0 or -EPROTO */

#endif
