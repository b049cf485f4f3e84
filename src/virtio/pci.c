// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio over PCI: virtio 1.2, 4.1.
 *
 * Registers are accessed in their own width (4.1.3.1), 64-bit ones in two halves; a wider access to the common configuration is made
 * dword by dword, any other is ignored.
 */
#include "virtio/pci.h"

#include "host/le.h"

#include <errno.h>
#include <string.h>

enum { VENDOR = 0x1af4, DEVICE_BASE = 0x1040, REVISION = 1, SUBSYSTEM = 0x1100 };

/* cfg_type of the capabilities, and their fields (4.1.4) */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };
enum {
	CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_SIZE = 16,
	CAP_MULTIPLIER = 16, CAP_DATA = 16,
};
enum { BAR_MSIX = 1, BAR_REGISTERS = 4, NOTIFY_MULTIPLIER = 4 };

/* struct virtio_pci_common_cfg (4.1.4.3) */
enum {
	DEVICE_FEATURE_SELECT = 0x00, DEVICE_FEATURE = 0x04, DRIVER_FEATURE_SELECT = 0x08, DRIVER_FEATURE = 0x0c,
	CONFIG_MSIX_VECTOR = 0x10, NUM_QUEUES = 0x12, DEVICE_STATUS = 0x14, CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16, QUEUE_SIZE = 0x18, QUEUE_MSIX_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e, QUEUE_DESC = 0x20, QUEUE_DRIVER = 0x28, QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38, QUEUE_RESET = 0x3a, COMMON_SIZE = 0x3c,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* Class, subclass and programming interface by device ID: what kernels and lspci show. */
static uint32_t pci_class(uint16_t id)
{
	switch (id) {
	case VIRTIO_ID_NET: return 0x020000;
	case VIRTIO_ID_BLK: return 0x018000;
	case VIRTIO_ID_CONSOLE: return 0x078000;
	case VIRTIO_ID_VSOCK: return 0x028000;
	default: return 0xff0000;
	}
}

/* --- interrupts and doorbells --- */

void virtio_pci_update_line(struct virtio_pci *t)
{
	pci_set_intx(&t->pci, atomic_load(&t->isr) != 0);
}

static void interrupt(void *transport, int n)
{
	struct virtio_pci *t = transport;

	if (msix_enabled(&t->msix)) {
		msix_notify(&t->msix, n < 0 ? t->dev->config_vector : t->dev->queue[n].vector);
		return;
	}
	atomic_fetch_or(&t->isr, n < 0 ? ISR_CONFIG : ISR_QUEUE);
	if (t->wires.line)
		t->wires.line(t->wires.opaque);
}

static void reset_interrupts(void *transport)
{
	struct virtio_pci *t = transport;

	if (atomic_exchange(&t->isr, 0) && t->wires.line)
		t->wires.line(t->wires.opaque);
}

static int set_doorbell(struct virtio_pci *t, unsigned n, uint64_t address, bool add)
{
	struct virtio_doorbell d = { .address = address, .fd = t->dev->kick[n] };

	return t->wires.doorbell ? t->wires.doorbell(t->wires.opaque, &d, add) : -ENOTSUP;
}

static void doorbells(void *transport)
{
	struct virtio_pci *t = transport;
	const struct pci_bar *bar = &t->pci.bar[BAR_REGISTERS];

	for (unsigned n = 0; n < t->dev->queues; n++) {
		uint64_t want = bar->mapped && virtio_wants_doorbell(t->dev, n) ?
					bar->base + VIRTIO_PCI_NOTIFY + n * NOTIFY_MULTIPLIER : 0;

		if (want == t->doorbell[n])
			continue;
		if (t->doorbell[n])
			set_doorbell(t, n, t->doorbell[n], false);
		t->doorbell[n] = want && set_doorbell(t, n, want, true) == 0 ? want : 0;
	}
}

static const struct virtio_transport_ops transport_ops = {
	.interrupt = interrupt,
	.reset = reset_interrupts,
	.doorbells = doorbells,
};

static void bar_moved(void *chip, unsigned n)
{
	struct virtio_pci *t = chip;

	if (n != BAR_REGISTERS)
		return;
	virtio_lock(t->dev);
	doorbells(t);
	virtio_unlock(t->dev);
}

/* --- the common configuration --- */

static struct virtq *selected(struct virtio_pci *t)
{
	return t->queue_select < t->dev->queues ? &t->dev->queue[t->queue_select] : NULL;
}

/* The dword at @at, which holds one register or several. */
static uint32_t common_dword(struct virtio_pci *t, unsigned at)
{
	struct virtio_device *dev = t->dev;
	const struct virtq *q = selected(t);

	switch (at) {
	case DEVICE_FEATURE_SELECT: return t->device_feature_select;
	case DEVICE_FEATURE: return virtio_get_features(dev->features, t->device_feature_select);
	case DRIVER_FEATURE_SELECT: return t->driver_feature_select;
	case DRIVER_FEATURE: return virtio_get_features(dev->driver_features, t->driver_feature_select);
	case CONFIG_MSIX_VECTOR: return dev->config_vector | dev->queues << 16;
	case DEVICE_STATUS: return dev->status | dev->generation << 8 | (uint32_t)t->queue_select << 16;
	case QUEUE_SIZE: return q ? q->size | (uint32_t)q->vector << 16 : (uint32_t)VIRTIO_NO_VECTOR << 16;
	case QUEUE_ENABLE: return q ? q->ready | (uint32_t)t->queue_select << 16 : 0;
	case QUEUE_DESC:
	case QUEUE_DRIVER:
	case QUEUE_DEVICE: return (uint32_t)virtio_queue_area(dev, t->queue_select, (at - QUEUE_DESC) / 8);
	case QUEUE_DESC + 4:
	case QUEUE_DRIVER + 4:
	case QUEUE_DEVICE + 4: return virtio_queue_area(dev, t->queue_select, (at - QUEUE_DESC) / 8) >> 32;
	default: return 0; /* QUEUE_NOTIFY_DATA and QUEUE_RESET: their features are not offered */
	}
}

static uint64_t common_read(struct virtio_pci *t, unsigned offset, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && i < 8; i++)
		if (offset + i < COMMON_SIZE)
			v |= (uint64_t)(common_dword(t, (offset + i) & ~3u) >> (offset + i) % 4 * 8 & 0xff) << i * 8;
	return v;
}

/* 4.1.5.1.2.1: a vector that is not there reads back as none. */
static uint16_t vector(const struct virtio_pci *t, uint64_t value)
{
	return value < t->msix.vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void common_write_dword(struct virtio_pci *t, unsigned at, uint32_t value)
{
	switch (at) {
	case DEVICE_FEATURE_SELECT: t->device_feature_select = value; break;
	case DRIVER_FEATURE_SELECT: t->driver_feature_select = value; break;
	case DRIVER_FEATURE: virtio_set_features(t->dev, t->driver_feature_select, value); break;
	case QUEUE_DESC:
	case QUEUE_DRIVER:
	case QUEUE_DEVICE:
	case QUEUE_DESC + 4:
	case QUEUE_DRIVER + 4:
	case QUEUE_DEVICE + 4:
		virtio_set_queue_area(t->dev, t->queue_select, (at - QUEUE_DESC) / 8, at & 4, value);
		break;
	default: break;
	}
}

static void common_write(struct virtio_pci *t, unsigned offset, unsigned size, uint64_t value)
{
	struct virtq *q = selected(t);

	if (size >= 4 && offset % 4 == 0) {
		common_write_dword(t, offset, (uint32_t)value);
		if (size == 8)
			common_write_dword(t, offset + 4, (uint32_t)(value >> 32));
		return;
	}
	if (size == 1 && offset == DEVICE_STATUS)
		virtio_set_status(t->dev, (uint8_t)value, false);
	if (size != 2)
		return;
	switch (offset) {
	case CONFIG_MSIX_VECTOR: t->dev->config_vector = vector(t, value); break;
	case QUEUE_SELECT: t->queue_select = (uint16_t)value; break;
	case QUEUE_SIZE: virtio_set_queue_size(t->dev, t->queue_select, (uint16_t)value); break;
	case QUEUE_MSIX_VECTOR:
		if (q)
			q->vector = vector(t, value);
		break;
	case QUEUE_ENABLE:
		if (value == 1)
			virtio_set_queue_ready(t->dev, t->queue_select);
		break;
	default: break;
	}
}

/* --- BAR 4 --- */

static uint64_t registers_read(struct virtio_pci *t, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	switch (offset & ~0xfffull) {
	case VIRTIO_PCI_COMMON:
		virtio_lock(t->dev);
		v = common_read(t, (unsigned)offset, size);
		virtio_unlock(t->dev);
		break;
	case VIRTIO_PCI_ISR:
		if (offset != VIRTIO_PCI_ISR)
			break;
		v = atomic_exchange(&t->isr, 0);
		virtio_pci_update_line(t);
		break;
	case VIRTIO_PCI_CONFIG:
		virtio_lock(t->dev);
		v = virtio_config_read(t->dev, offset - VIRTIO_PCI_CONFIG, size);
		virtio_unlock(t->dev);
		break;
	default: break;
	}
	return v;
}

static void registers_write(struct virtio_pci *t, uint64_t offset, unsigned size, uint64_t value)
{
	switch (offset & ~0xfffull) {
	case VIRTIO_PCI_COMMON:
		virtio_lock(t->dev);
		common_write(t, (unsigned)offset, size, value);
		virtio_unlock(t->dev);
		virtio_pci_update_line(t); /* it may have been a reset */
		break;
	case VIRTIO_PCI_CONFIG:
		virtio_lock(t->dev);
		virtio_config_write(t->dev, offset - VIRTIO_PCI_CONFIG, size, value);
		virtio_unlock(t->dev);
		break;
	case VIRTIO_PCI_NOTIFY:
		/* The queue is told by the address. */
		if (offset < VIRTIO_PCI_BAR_SIZE)
			virtio_kick(t->dev, (unsigned)(offset - VIRTIO_PCI_NOTIFY) / NOTIFY_MULTIPLIER);
		break;
	default: break;
	}
}

static uint64_t bar_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct virtio_pci *t = chip;

	return region == VIRTIO_PCI_REGION_MSIX ? msix_read(&t->msix, offset, size) : registers_read(t, offset, size);
}

static void bar_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_pci *t = chip;

	if (region == VIRTIO_PCI_REGION_MSIX)
		msix_write(&t->msix, offset, size, value);
	else
		registers_write(t, offset, size, value);
}

/* --- access through configuration space (4.1.4.9) --- */

/* Where the window is: its length, or 0 when that cannot be. */
static unsigned window(const struct virtio_pci *t, unsigned *region, uint32_t *offset)
{
	const uint8_t *cap = &t->pci.config[t->window];
	uint32_t len = le_get(cap + CAP_LENGTH, 4), size;

	*offset = le_get(cap + CAP_OFFSET, 4);
	if (cap[CAP_BAR] == BAR_REGISTERS)
		*region = VIRTIO_PCI_REGION_REGISTERS, size = VIRTIO_PCI_BAR_SIZE;
	else if (cap[CAP_BAR] == BAR_MSIX)
		*region = VIRTIO_PCI_REGION_MSIX, size = MSIX_BAR_SIZE;
	else
		return 0;
	if ((len != 1 && len != 2 && len != 4) || *offset % len || *offset > size - len)
		return 0;
	return len;
}

static bool touches_window(const struct virtio_pci *t, unsigned offset, unsigned size)
{
	unsigned data = t->window + CAP_DATA;

	return offset < data + 4 && offset + size > data;
}

static void config_read(void *chip, unsigned offset, unsigned size)
{
	struct virtio_pci *t = chip;
	unsigned region, len;
	uint32_t at;
	uint64_t v;

	if (!touches_window(t, offset, size))
		return;
	len = window(t, &region, &at);
	v = len ? bar_read(t, region, at, len) : 0;
	for (unsigned i = 0; i < len; i++)
		t->pci.config[t->window + CAP_DATA + i] = (uint8_t)(v >> i * 8);
}

static void config_written(void *chip, unsigned offset, unsigned size)
{
	struct virtio_pci *t = chip;
	unsigned region, len;
	uint32_t at;

	if (!touches_window(t, offset, size))
		return;
	len = window(t, &region, &at);
	if (len)
		bar_write(t, region, at, len, le_get(&t->pci.config[t->window + CAP_DATA], len));
}

/* --- reset and state --- */

static void pci_reset(void *chip)
{
	struct virtio_pci *t = chip;

	t->device_feature_select = t->driver_feature_select = 0;
	t->queue_select = 0;
	atomic_store(&t->isr, 0);
	virtio_pci_update_line(t);
}

static int pci_loaded(void *chip)
{
	struct virtio_pci *t = chip;
	uint8_t isr = atomic_load(&t->isr);

	if (isr > (ISR_QUEUE | ISR_CONFIG) || msix_loaded(&t->msix))
		return -EPROTO;
	virtio_pci_update_line(t);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct virtio_pci, device_feature_select),
	STATE_UINT(struct virtio_pci, driver_feature_select),
	STATE_UINT(struct virtio_pci, queue_select),
	STATE_UINT(struct virtio_pci, isr),
	STATE_STRUCT(struct virtio_pci, msix, msix_fields),
	STATE_END,
};
static const struct state_class class = { "virtio-pci", 1, fields };

const struct chip_ops virtio_pci_ops = {
	.state = &class,
	.reset = pci_reset,
	.read = bar_read,
	.write = bar_write,
	.loaded = pci_loaded,
};

/* --- building --- */

static int capability(struct pci_device *d, unsigned type, unsigned len, uint32_t offset, uint32_t length)
{
	int at = pci_add_capability(d, PCI_CAPABILITY_VENDOR, len);

	if (at < 0)
		return at;
	pci_set(d, (unsigned)at + CAP_LEN, 1, len);
	pci_set(d, (unsigned)at + CAP_TYPE, 1, type);
	pci_set(d, (unsigned)at + CAP_BAR, 1, type == CAP_WINDOW ? 0 : BAR_REGISTERS);
	pci_set(d, (unsigned)at + CAP_OFFSET, 4, offset);
	pci_set(d, (unsigned)at + CAP_LENGTH, 4, length);
	return at;
}

static int capabilities(struct virtio_pci *t)
{
	struct pci_device *d = &t->pci;
	struct virtio_device *dev = t->dev;
	int at, ret;

	ret = capability(d, CAP_COMMON, CAP_SIZE, VIRTIO_PCI_COMMON, COMMON_SIZE);
	if (ret > 0)
		ret = capability(d, CAP_ISR, CAP_SIZE, VIRTIO_PCI_ISR, 1);
	/* A device without configuration has no such structure (4.1.4.6). */
	if (ret > 0 && dev->config_size)
		ret = capability(d, CAP_DEVICE, CAP_SIZE, VIRTIO_PCI_CONFIG, dev->config_size);
	if (ret > 0)
		ret = capability(d, CAP_NOTIFY, CAP_SIZE + 4, VIRTIO_PCI_NOTIFY, dev->queues * NOTIFY_MULTIPLIER);
	if (ret < 0)
		return ret;
	pci_set(d, (unsigned)ret + CAP_MULTIPLIER, 4, NOTIFY_MULTIPLIER);
	at = capability(d, CAP_WINDOW, CAP_SIZE + 4, 0, 0);
	if (at < 0)
		return at;
	pci_set_writable(d, (unsigned)at + CAP_BAR, 1, 0xff);
	pci_set_writable(d, (unsigned)at + CAP_OFFSET, 4, 0xffffffff);
	pci_set_writable(d, (unsigned)at + CAP_LENGTH, 4, 0xffffffff);
	pci_set_writable(d, (unsigned)at + CAP_DATA, 4, 0xffffffff);
	t->window = (uint8_t)at;
	return 0;
}

int virtio_pci_init(struct virtio_pci *t, struct virtio_device *dev, const struct virtio_wires *wires)
{
	struct pci_device *d = &t->pci;
	int ret;

	memset(t, 0, sizeof(*t));
	t->dev = dev;
	t->wires = *wires;
	pci_device_init(d, VENDOR, DEVICE_BASE + dev->ops->id, pci_class(dev->ops->id), REVISION, 1);
	pci_set(d, PCI_SUBSYSTEM_VENDOR_ID, 2, VENDOR);
	pci_set(d, PCI_SUBSYSTEM_ID, 2, SUBSYSTEM);
	ret = pci_set_bar(d, BAR_REGISTERS, VIRTIO_PCI_BAR_SIZE, PCI_BAR_64 | PCI_BAR_PREFETCH, VIRTIO_PCI_REGION_REGISTERS,
			  "virtio");
	if (!ret)
		ret = capabilities(t);
	if (!ret)
		ret = msix_init(&t->msix, d, dev->queues + 1, BAR_MSIX, VIRTIO_PCI_REGION_MSIX, wires->msi, wires->opaque);
	if (ret)
		return ret;
	d->ops = &virtio_pci_ops;
	d->chip = t;
	d->config_read = config_read;
	d->config_written = config_written;
	d->bar_moved = bar_moved;
	dev->transport_ops = &transport_ops;
	dev->transport = t;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *t)
{
	for (unsigned n = 0; t->dev && n < t->dev->queues; n++)
		if (t->doorbell[n])
			set_doorbell(t, n, t->doorbell[n], false);
	msix_destroy(&t->msix);
}
