// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MSI-X: PCI Local Bus 3.0, 6.8.2 (structures) and 6.8.3 (operation).
 *
 * Invariant: a pending vector is masked, by its entry or by the function mask, or MSI-X is disabled.
 */
#include "bus/msix.h"

#include <errno.h>
#include <string.h>

enum { CONTROL = 2, TABLE = 4, PBA = 8, CAPABILITY_LEN = 12 };
enum { CONTROL_MASKED = 1 << 14, CONTROL_ENABLED = 1 << 15 };
enum { ENTRY_SIZE = 16, ENTRY_MASKED = 1 };

static const struct state_field entry_fields[] = {
	STATE_UINT(struct msix_entry, address),
	STATE_UINT(struct msix_entry, data),
	STATE_UINT(struct msix_entry, control),
	STATE_END,
};

const struct state_field msix_fields[] = {
	STATE_STRUCTS(struct msix, entry, entry_fields),
	STATE_UINT(struct msix, pending),
	STATE_END,
};

/* Sends vector @n if it may leave. With the lock held. */
static bool msix_send(struct msix *m, unsigned n)
{
	const struct msix_entry *e = &m->entry[n];

	if (!m->enabled || m->masked || (e->control & ENTRY_MASKED))
		return false;
	if (m->msi)
		m->msi(m->opaque, e->address, e->data);
	return true;
}

static void msix_send_pending(struct msix *m)
{
	for (uint64_t left = m->pending; left; left &= left - 1) {
		unsigned n = (unsigned)__builtin_ctzll(left);

		if (msix_send(m, n))
			m->pending &= ~(1ull << n);
	}
}

void msix_notify(struct msix *m, unsigned n)
{
	if (n >= m->vectors)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->enabled && !msix_send(m, n))
		m->pending |= 1ull << n;
	pthread_mutex_unlock(&m->lock);
}

bool msix_enabled(struct msix *m)
{
	bool enabled;

	pthread_mutex_lock(&m->lock);
	enabled = m->enabled;
	pthread_mutex_unlock(&m->lock);
	return enabled;
}

/* --- the BAR --- */

static uint32_t msix_dword(const struct msix *m, uint64_t offset)
{
	const struct msix_entry *e = &m->entry[offset / ENTRY_SIZE % MSIX_VECTORS_MAX];

	if (offset >= MSIX_PBA) {
		offset -= MSIX_PBA;
		return offset < 8 ? (uint32_t)(m->pending >> offset * 8) : 0;
	}
	if (offset / ENTRY_SIZE >= m->vectors)
		return 0;
	switch (offset % ENTRY_SIZE) {
	case 0: return (uint32_t)e->address;
	case 4: return (uint32_t)(e->address >> 32);
	case 8: return e->data;
	default: return e->control;
	}
}

uint64_t msix_read(struct msix *m, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	pthread_mutex_lock(&m->lock);
	/* Narrow reads are not defined (6.8.2); these give the bytes. */
	for (unsigned i = 0; i < size && i < 8; i++) {
		uint64_t at = offset + i;

		if (at < MSIX_BAR_SIZE)
			v |= (uint64_t)(msix_dword(m, at & ~3ull) >> (at & 3) * 8 & 0xff) << i * 8;
	}
	pthread_mutex_unlock(&m->lock);
	return v;
}

static void msix_write_dword(struct msix *m, uint64_t offset, uint32_t value)
{
	struct msix_entry *e = &m->entry[offset / ENTRY_SIZE % MSIX_VECTORS_MAX];

	if (offset / ENTRY_SIZE >= m->vectors)
		return; /* the pending bits among it: they are read-only */
	switch (offset % ENTRY_SIZE) {
	case 0: e->address = (e->address & ~0xffffffffull) | (value & ~3u); break;
	case 4: e->address = (uint32_t)e->address | (uint64_t)value << 32; break;
	case 8: e->data = value; break;
	default: e->control = value & ENTRY_MASKED; break;
	}
}

void msix_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value)
{
	/* "DWORD or QWORD aligned" (6.8.2); what others do is not defined, and is nothing here. */
	if ((size != 4 && size != 8) || offset % size || offset >= MSIX_BAR_SIZE)
		return;
	pthread_mutex_lock(&m->lock);
	msix_write_dword(m, offset, (uint32_t)value);
	if (size == 8)
		msix_write_dword(m, offset + 4, (uint32_t)(value >> 32));
	msix_send_pending(m);
	pthread_mutex_unlock(&m->lock);
}

/* --- the capability --- */

void msix_update(struct msix *m)
{
	unsigned control = m->dev->config[m->capability + CONTROL + 1] << 8;

	pthread_mutex_lock(&m->lock);
	m->enabled = control & CONTROL_ENABLED;
	m->masked = control & CONTROL_MASKED;
	if (!m->enabled)
		m->pending = 0;
	msix_send_pending(m);
	pthread_mutex_unlock(&m->lock);
}

void msix_reset(struct msix *m)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned n = 0; n < MSIX_VECTORS_MAX; n++)
		m->entry[n] = (struct msix_entry){ .control = ENTRY_MASKED };
	m->pending = 0;
	m->enabled = m->masked = false;
	pthread_mutex_unlock(&m->lock);
}

int msix_loaded(struct msix *m)
{
	for (unsigned n = 0; n < MSIX_VECTORS_MAX; n++)
		if (m->entry[n].control > ENTRY_MASKED || (m->entry[n].address & 3))
			return -EPROTO;
	if (m->vectors < 64 && m->pending >> m->vectors)
		return -EPROTO;
	msix_update(m);
	return 0;
}

int msix_init(struct msix *m, struct pci_device *d, unsigned vectors, unsigned bar, unsigned region,
	      void (*msi)(void *opaque, uint64_t address, uint32_t data), void *opaque)
{
	int at, ret;

	if (!vectors || vectors > MSIX_VECTORS_MAX)
		return -EINVAL;
	ret = pci_set_bar(d, bar, MSIX_BAR_SIZE, 0, region, "msi-x");
	if (ret)
		return ret;
	at = pci_add_capability(d, PCI_CAPABILITY_MSIX, CAPABILITY_LEN);
	if (at < 0)
		return at;
	pci_set(d, (unsigned)at + CONTROL, 2, vectors - 1);
	pci_set(d, (unsigned)at + TABLE, 4, bar);
	pci_set(d, (unsigned)at + PBA, 4, MSIX_PBA | bar);
	pci_set_writable(d, (unsigned)at + CONTROL, 2, CONTROL_ENABLED | CONTROL_MASKED);

	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	m->dev = d;
	m->vectors = vectors;
	m->capability = (uint8_t)at;
	m->msi = msi;
	m->opaque = opaque;
	msix_reset(m);
	d->msix = m;
	return 0;
}

void msix_destroy(struct msix *m)
{
	if (m->dev)
		pthread_mutex_destroy(&m->lock);
}
