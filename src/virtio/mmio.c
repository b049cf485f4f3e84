// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio over MMIO: virtio 1.2, 4.2.2.
 *
 * Registers are 32 bits wide and aligned (4.2.2.2); any other access to them reads 0 and is ignored. The device's
 * configuration at 0x100 takes any width. There are no shared memory regions: all ones as their length.
 */
#include "virtio/mmio.h"

#include <errno.h>
#include <string.h>

enum {
	MAGIC_VALUE = 0x000, VERSION = 0x004, DEVICE_ID = 0x008, VENDOR_ID = 0x00c, DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014, DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024, QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038, QUEUE_READY = 0x044, QUEUE_NOTIFY = 0x050, INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064, STATUS = 0x070, QUEUE_DESC_LOW = 0x080, QUEUE_DESC_HIGH = 0x084, QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094, QUEUE_DEVICE_LOW = 0x0a0, QUEUE_DEVICE_HIGH = 0x0a4, SHM_LEN_LOW = 0x0b0,
	SHM_BASE_HIGH = 0x0bc, CONFIG_GENERATION = 0x0fc, CONFIG = 0x100,
};
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

void virtio_mmio_update_line(struct virtio_mmio *t)
{
	irq_set(&t->irq, atomic_load(&t->isr) != 0);
}

static void interrupt(void *transport, int n)
{
	struct virtio_mmio *t = transport;

	atomic_fetch_or(&t->isr, n < 0 ? ISR_CONFIG : ISR_QUEUE);
	if (t->wires.line)
		t->wires.line(t->wires.opaque);
}

static void reset_interrupts(void *transport)
{
	struct virtio_mmio *t = transport;

	if (atomic_exchange(&t->isr, 0) && t->wires.line)
		t->wires.line(t->wires.opaque);
}

static int set_doorbell(struct virtio_mmio *t, unsigned n, bool add)
{
	struct virtio_doorbell d = {
		.address = t->base + QUEUE_NOTIFY,
		.match = true,
		.value = n,
		.fd = t->dev->kick[n],
	};

	return t->wires.doorbell ? t->wires.doorbell(t->wires.opaque, &d, add) : -ENOTSUP;
}

static void doorbells(void *transport)
{
	struct virtio_mmio *t = transport;

	for (unsigned n = 0; n < t->dev->queues; n++) {
		bool want = virtio_wants_doorbell(t->dev, n);

		if (want == t->doorbell[n])
			continue;
		t->doorbell[n] = set_doorbell(t, n, want) == 0 && want;
	}
}

static const struct virtio_transport_ops transport_ops = {
	.interrupt = interrupt,
	.reset = reset_interrupts,
	.doorbells = doorbells,
};

static uint32_t read_register(struct virtio_mmio *t, unsigned offset)
{
	struct virtio_device *dev = t->dev;
	const struct virtq *q = t->queue_select < dev->queues ? &dev->queue[t->queue_select] : NULL;

	switch (offset) {
	case MAGIC_VALUE: return 0x74726976;
	case VERSION: return 2;
	case DEVICE_ID: return dev->ops->id;
	case VENDOR_ID: return 0x1af4;
	case DEVICE_FEATURES: return virtio_get_features(dev->features, t->device_feature_select);
	case QUEUE_NUM_MAX: return q ? q->size_max : 0;
	case QUEUE_READY: return q ? q->ready : 0;
	case INTERRUPT_STATUS: return atomic_load(&t->isr);
	case STATUS: return dev->status;
	case CONFIG_GENERATION: return dev->generation;
	default: return offset >= SHM_LEN_LOW && offset <= SHM_BASE_HIGH ? 0xffffffff : 0;
	}
}

static void write_register(struct virtio_mmio *t, unsigned offset, uint32_t value)
{
	struct virtio_device *dev = t->dev;
	unsigned n = t->queue_select;

	switch (offset) {
	case DEVICE_FEATURES_SEL: t->device_feature_select = value; break;
	case DRIVER_FEATURES: virtio_set_features(dev, t->driver_feature_select, value); break;
	case DRIVER_FEATURES_SEL: t->driver_feature_select = value; break;
	case QUEUE_SEL: t->queue_select = value; break;
	case QUEUE_NUM: virtio_set_queue_size(dev, n, value > 0xffff ? 0 : (uint16_t)value); break;
	case QUEUE_READY:
		if (value & 1)
			virtio_set_queue_ready(dev, n);
		else
			virtio_clear_queue_ready(dev, n);
		break;
	case INTERRUPT_ACK: atomic_fetch_and(&t->isr, (uint8_t)~value); break;
	case STATUS: virtio_set_status(dev, (uint8_t)value, true); break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH: virtio_set_queue_area(dev, n, 0, offset & 4, value); break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH: virtio_set_queue_area(dev, n, 1, offset & 4, value); break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH: virtio_set_queue_area(dev, n, 2, offset & 4, value); break;
	default: break;
	}
}

static uint64_t mmio_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct virtio_mmio *t = chip;
	uint64_t v = 0;

	virtio_lock(t->dev);
	if (offset >= CONFIG)
		v = virtio_config_read(t->dev, offset - CONFIG, size);
	else if (size == 4 && offset % 4 == 0)
		v = read_register(t, (unsigned)offset);
	virtio_unlock(t->dev);
	return v;
}

static void mmio_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *t = chip;

	if (offset == QUEUE_NOTIFY && size == 4) {
		virtio_kick(t->dev, (uint32_t)value);
		return;
	}
	virtio_lock(t->dev);
	if (offset >= CONFIG)
		virtio_config_write(t->dev, offset - CONFIG, size, value);
	else if (size == 4 && offset % 4 == 0)
		write_register(t, (unsigned)offset, (uint32_t)value);
	virtio_unlock(t->dev);
	if (offset == INTERRUPT_ACK || offset == STATUS)
		virtio_mmio_update_line(t);
}

static void mmio_reset(void *chip)
{
	struct virtio_mmio *t = chip;

	t->device_feature_select = t->driver_feature_select = t->queue_select = 0;
	atomic_store(&t->isr, 0);
	virtio_mmio_update_line(t);
}

static int mmio_loaded(void *chip)
{
	struct virtio_mmio *t = chip;

	if (atomic_load(&t->isr) > (ISR_QUEUE | ISR_CONFIG))
		return -EPROTO;
	virtio_mmio_update_line(t);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct virtio_mmio, device_feature_select),
	STATE_UINT(struct virtio_mmio, driver_feature_select),
	STATE_UINT(struct virtio_mmio, queue_select),
	STATE_UINT(struct virtio_mmio, isr),
	STATE_END,
};
static const struct state_class class = { "virtio-mmio", 1, fields };

const struct chip_ops virtio_mmio_ops = {
	.state = &class,
	.reset = mmio_reset,
	.read = mmio_read,
	.write = mmio_write,
	.loaded = mmio_loaded,
};

void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *dev, const struct virtio_wires *wires,
		      const struct irq_line *irq, uint64_t base)
{
	memset(t, 0, sizeof(*t));
	t->dev = dev;
	t->wires = *wires;
	t->irq = *irq;
	t->base = base;
	dev->transport_ops = &transport_ops;
	dev->transport = t;
}

void virtio_mmio_destroy(struct virtio_mmio *t)
{
	for (unsigned n = 0; t->dev && n < t->dev->queues; n++)
		if (t->doorbell[n])
			set_doorbell(t, n, false);
}
