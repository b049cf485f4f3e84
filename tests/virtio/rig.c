// SPDX-License-Identifier: GPL-2.0-or-later
/* See rig.h. Written from the driver's side of virtio 1.2, chapters 2.7, 2.8, 3.1 and 4. */
#include "rig.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { MSIX_ENABLE = 0x8000, D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

static void take_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct rig *r = opaque;

	assert_int_equal(address, 0xfee00000);
	assert_true(data <= VIRTIO_QUEUES_MAX);
	r->interrupts[data]++;
}

static void take_lines(void *opaque, uint8_t lines)
{
	((struct rig *)opaque)->lines = lines;
}

static void take_irq(void *opaque, unsigned n, bool level)
{
	((struct rig *)opaque)->level = level;
}

static void line(void *opaque)
{
	struct rig *r = opaque;

	if (r->mode & RIG_MMIO ? r->window.isr : r->card.isr)
		r->interrupts[0]++;
	if (r->mode & RIG_MMIO)
		virtio_mmio_update_line(&r->window);
	else
		virtio_pci_update_line(&r->card);
}

static int take_doorbell(void *opaque, const struct virtio_doorbell *d, bool add)
{
	struct rig *r = opaque;

	for (unsigned i = 0; i < r->doorbell_count; i++) {
		if (r->doorbell[i].address != d->address || r->doorbell[i].value != d->value)
			continue;
		assert_false(add);
		r->doorbell[i] = r->doorbell[--r->doorbell_count];
		return 0;
	}
	assert_true(add);
	r->doorbell[r->doorbell_count++] = *d;
	return 0;
}

void rig_init(struct rig *r, unsigned mode)
{
	struct ram_slot low = { .gpa = 0, .size = RIG_RAM_HALF, .offset = 0 };
	struct ram_slot high = { .gpa = RIG_HIGH, .size = RIG_RAM_HALF, .offset = RIG_RAM_HALF };

	memset(r, 0, sizeof(*r));
	r->mode = mode;
	assert_int_equal(ram_create(2 * RIG_RAM_HALF, NULL, &r->ram, NULL), 0);
	assert_int_equal(ram_set_slot(r->ram, 0, &low), 0);
	assert_int_equal(ram_set_slot(r->ram, 1, &high), 0);
	assert_int_equal(loop_create(&r->loop), 0);
	r->wires = (struct virtio_wires){ .msi = take_msi, .line = line, .doorbell = take_doorbell, .opaque = r };
}

static void cfg_set(struct rig *r, unsigned offset, unsigned size, uint32_t value)
{
	pci_ops.write(&r->pci, PCI_REGION_ECAM, RIG_SLOT << 15 | offset, size, value);
}

/* What a kernel does: assigns BARs, enables memory and MSI-X with a vector for each queue. */
static void attach_pci(struct rig *r)
{
	pci_init(&r->pci, &r->pio, &r->mmio, take_lines, r);
	assert_int_equal(virtio_pci_init(&r->card, r->dev, &r->wires), 0);
	assert_int_equal(pci_add(&r->pci, &r->card.pci, RIG_SLOT), 0);
	virtio_pci_ops.reset(&r->card);
	cfg_set(r, PCI_BAR0 + 4, 4, RIG_MSIX_BAR);
	cfg_set(r, PCI_BAR0 + 16, 4, (uint32_t)RIG_BAR);
	cfg_set(r, PCI_BAR0 + 20, 4, 0);
	cfg_set(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cfg_set(r, r->card.msix.capability + 2u, 2, MSIX_ENABLE);
	for (unsigned n = 0; n <= r->dev->queues; n++) {
		bus_write(&r->mmio, RIG_MSIX_BAR + n * 16, 8, 0xfee00000);
		bus_write(&r->mmio, RIG_MSIX_BAR + n * 16 + 8, 8, n);
	}
}

void rig_attach(struct rig *r, struct virtio_device *dev)
{
	struct irq_line irq = { take_irq, r, 0 };
	struct bus_range range = { RIG_MMIO_BASE, VIRTIO_MMIO_SIZE, &virtio_mmio_ops, &r->window, 0, "virtio" };

	r->dev = dev;
	if (!(r->mode & RIG_MMIO)) {
		attach_pci(r);
		return;
	}
	virtio_mmio_init(&r->window, dev, &r->wires, &irq, RIG_MMIO_BASE);
	assert_int_equal(bus_add(&r->mmio, &range), 0);
}

void rig_detach(struct rig *r)
{
	if (r->mode & RIG_MMIO)
		virtio_mmio_destroy(&r->window);
	else
		virtio_pci_destroy(&r->card);
	assert_int_equal(r->doorbell_count, 0);
}

void rig_done(struct rig *r)
{
	loop_destroy(r->loop);
	ram_destroy(r->ram);
}

/* --- registers --- */

/* Offsets in PCI's common configuration and, beside them, in the MMIO window. */
enum reg { DEV_SEL, DEV_FEATURES, DRV_SEL, DRV_FEATURES, STATUS, GENERATION, Q_SEL, Q_SIZE, Q_READY, Q_DESC, Q_DRIVER, Q_DEVICE };
static const struct {
	uint16_t pci, mmio;
	uint8_t size; /* on PCI */
} regs[] = {
	[DEV_SEL] = { 0x00, 0x14, 4 },	  [DEV_FEATURES] = { 0x04, 0x10, 4 }, [DRV_SEL] = { 0x08, 0x24, 4 },
	[DRV_FEATURES] = { 0x0c, 0x20, 4 }, [STATUS] = { 0x14, 0x70, 1 },     [GENERATION] = { 0x15, 0xfc, 1 },
	[Q_SEL] = { 0x16, 0x30, 2 },	  [Q_SIZE] = { 0x18, 0x38, 2 },	      [Q_READY] = { 0x1c, 0x44, 2 },
	[Q_DESC] = { 0x20, 0x80, 4 },	  [Q_DRIVER] = { 0x28, 0x90, 4 },     [Q_DEVICE] = { 0x30, 0xa0, 4 },
};

static void reg_write_at(struct rig *r, enum reg reg, unsigned at, uint32_t value)
{
	if (r->mode & RIG_MMIO)
		bus_write(&r->mmio, RIG_MMIO_BASE + regs[reg].mmio + at, 4, value);
	else
		bus_write(&r->mmio, RIG_BAR + VIRTIO_PCI_COMMON + regs[reg].pci + at, regs[reg].size, value);
}

static void reg_write(struct rig *r, enum reg reg, uint32_t value)
{
	reg_write_at(r, reg, 0, value);
}

static uint32_t reg_read(struct rig *r, enum reg reg)
{
	if (r->mode & RIG_MMIO)
		return (uint32_t)bus_read(&r->mmio, RIG_MMIO_BASE + regs[reg].mmio, 4);
	return (uint32_t)bus_read(&r->mmio, RIG_BAR + VIRTIO_PCI_COMMON + regs[reg].pci, regs[reg].size);
}

void rig_set_status(struct rig *r, uint8_t status)
{
	reg_write(r, STATUS, status);
}

uint8_t rig_status(struct rig *r)
{
	return (uint8_t)reg_read(r, STATUS);
}

unsigned rig_generation(struct rig *r)
{
	return reg_read(r, GENERATION);
}

uint64_t rig_features(struct rig *r)
{
	uint64_t low;

	reg_write(r, DEV_SEL, 0);
	low = reg_read(r, DEV_FEATURES);
	reg_write(r, DEV_SEL, 1);
	return low | (uint64_t)reg_read(r, DEV_FEATURES) << 32;
}

void rig_set_features(struct rig *r, uint64_t features)
{
	reg_write(r, DRV_SEL, 0);
	reg_write(r, DRV_FEATURES, (uint32_t)features);
	reg_write(r, DRV_SEL, 1);
	reg_write(r, DRV_FEATURES, (uint32_t)(features >> 32));
}

unsigned rig_queue_max(struct rig *r, unsigned n)
{
	reg_write(r, Q_SEL, n);
	if (r->mode & RIG_MMIO)
		return (unsigned)bus_read(&r->mmio, RIG_MMIO_BASE + 0x34, 4);
	return reg_read(r, Q_SIZE);
}

void rig_setup_queue(struct rig *r, unsigned n, unsigned size)
{
	struct rig_queue *q = &r->q[n];
	uint64_t base = 0x100000 + n * 0x18000;
	static const uint8_t zero[0x18000];

	*q = (struct rig_queue){ .size = size, .wrap = true, .used_wrap = true, .free_entries = (uint16_t)size };
	q->desc = base;
	q->driver = base + 0x4000;
	q->device = base + 0x6000;
	q->tables = base + 0xa000;
	rig_put(r, base, zero, sizeof(zero));
	reg_write(r, Q_SEL, n);
	reg_write(r, Q_SIZE, size);
	reg_write(r, Q_DESC, (uint32_t)q->desc);
	reg_write_at(r, Q_DESC, 4, 0);
	reg_write(r, Q_DRIVER, (uint32_t)q->driver);
	reg_write_at(r, Q_DRIVER, 4, 0);
	reg_write(r, Q_DEVICE, (uint32_t)q->device);
	reg_write_at(r, Q_DEVICE, 4, 0);
	if (!(r->mode & RIG_MMIO))
		bus_write(&r->mmio, RIG_BAR + VIRTIO_PCI_COMMON + 0x1a, 2, n + 1);
	reg_write(r, Q_READY, 1);
	assert_int_equal(reg_read(r, Q_READY), 1);
}

uint64_t rig_config(struct rig *r, unsigned offset, unsigned size)
{
	if (r->mode & RIG_MMIO)
		return bus_read(&r->mmio, RIG_MMIO_BASE + 0x100 + offset, size);
	return bus_read(&r->mmio, RIG_BAR + VIRTIO_PCI_CONFIG + offset, size);
}

void rig_set_config(struct rig *r, unsigned offset, unsigned size, uint64_t value)
{
	if (r->mode & RIG_MMIO)
		bus_write(&r->mmio, RIG_MMIO_BASE + 0x100 + offset, size, value);
	else
		bus_write(&r->mmio, RIG_BAR + VIRTIO_PCI_CONFIG + offset, size, value);
}

void rig_kick(struct rig *r, unsigned n)
{
	if (r->mode & RIG_MMIO)
		bus_write(&r->mmio, RIG_MMIO_BASE + 0x50, 4, n);
	else
		bus_write(&r->mmio, RIG_BAR + VIRTIO_PCI_NOTIFY + n * 4, 2, n);
}

void rig_start(struct rig *r, uint64_t features, unsigned size)
{
	uint64_t f = features | VIRTIO_F_VERSION_1;

	if (r->mode & RIG_PACKED)
		f |= VIRTIO_F_RING_PACKED;
	if (r->mode & RIG_INDIRECT)
		f |= VIRTIO_F_INDIRECT_DESC;
	if (r->mode & RIG_EVENT)
		f |= VIRTIO_F_EVENT_IDX;
	rig_set_status(r, 0);
	assert_int_equal(rig_status(r), 0);
	rig_set_status(r, VIRTIO_ACKNOWLEDGE);
	rig_set_status(r, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	rig_set_features(r, f & rig_features(r));
	rig_set_status(r, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	assert_true(rig_status(r) & VIRTIO_FEATURES_OK);
	if (!(r->mode & RIG_MMIO))
		bus_write(&r->mmio, RIG_BAR + VIRTIO_PCI_COMMON + 0x10, 2, 0);
	for (unsigned n = 0; n < r->dev->queues; n++)
		rig_setup_queue(r, n, size);
	rig_set_status(r, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	rig_run(r);
}

/* --- guest memory --- */

void rig_put(struct rig *r, uint64_t gpa, const void *bytes, size_t len)
{
	assert_int_equal(ram_write(r->ram, gpa, bytes, len), 0);
}

void rig_get(struct rig *r, uint64_t gpa, void *bytes, size_t len)
{
	assert_int_equal(ram_read(r->ram, gpa, bytes, len), 0);
}

void rig_put_le(struct rig *r, uint64_t gpa, unsigned size, uint64_t v)
{
	rig_put(r, gpa, &v, size);
}

uint64_t rig_get_le(struct rig *r, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	rig_get(r, gpa, &v, size);
	return v;
}

void rig_put16(struct rig *r, uint64_t gpa, uint16_t v)
{
	rig_put_le(r, gpa, 2, v);
}

uint16_t rig_get16(struct rig *r, uint64_t gpa)
{
	return (uint16_t)rig_get_le(r, gpa, 2);
}

/* --- rings --- */

static void put_desc(struct rig *r, uint64_t at, const struct rig_part *p, uint16_t third, uint16_t fourth)
{
	rig_put_le(r, at, 8, p->gpa);
	rig_put_le(r, at + 8, 4, p->len);
	rig_put16(r, at + 12, third);
	rig_put16(r, at + 14, fourth);
}

/* The tables of each ID are 16 descriptors. */
static struct rig_part put_table(struct rig *r, struct rig_queue *q, unsigned id, const struct rig_part *parts, unsigned outs,
				 unsigned ins)
{
	uint64_t table = q->tables + id * 256;

	assert_true(outs + ins <= 16 && id < 0xe0);
	for (unsigned i = 0; i < outs + ins; i++) {
		uint16_t flags = (uint16_t)((i >= outs ? D_WRITE : 0) | (i + 1 < outs + ins ? D_NEXT : 0));

		if (r->mode & RIG_PACKED)
			put_desc(r, table + i * 16, &parts[i], 0, flags & D_WRITE);
		else
			put_desc(r, table + i * 16, &parts[i], flags, (uint16_t)(i + 1));
	}
	return (struct rig_part){ table, (outs + ins) * 16 };
}

static unsigned add_split(struct rig *r, struct rig_queue *q, const struct rig_part *parts, unsigned outs, unsigned ins)
{
	unsigned count = r->mode & RIG_INDIRECT ? 1 : outs + ins, head = q->next_id;
	uint16_t idx = rig_get16(r, q->driver + 2);

	assert_true(q->free_entries >= count);
	if (r->mode & RIG_INDIRECT) {
		struct rig_part t = put_table(r, q, head, parts, outs, ins);

		put_desc(r, q->desc + head * 16, &t, D_INDIRECT, 0);
	}
	for (unsigned i = 0; i < count && !(r->mode & RIG_INDIRECT); i++) {
		unsigned at = (head + i) % q->size, next = (head + i + 1) % q->size;
		uint16_t flags = (uint16_t)((i >= outs ? D_WRITE : 0) | (i + 1 < count ? D_NEXT : 0));

		put_desc(r, q->desc + at * 16, &parts[i], flags, (uint16_t)next);
	}
	q->next_id = (uint16_t)((head + count) % q->size);
	q->free_entries = (uint16_t)(q->free_entries - count);
	q->entries[head] = (uint16_t)count;
	rig_put16(r, q->driver + 4 + idx % q->size * 2u, (uint16_t)head);
	rig_put16(r, q->driver + 2, (uint16_t)(idx + 1));
	return head;
}

static unsigned add_packed(struct rig *r, struct rig_queue *q, const struct rig_part *parts, unsigned outs, unsigned ins)
{
	unsigned count = r->mode & RIG_INDIRECT ? 1 : outs + ins, id = q->next_id;
	struct rig_part table;
	uint16_t first_flags = 0;
	uint64_t first = q->desc + q->next * 16u;

	assert_true(q->free_entries >= count);
	if (r->mode & RIG_INDIRECT) {
		table = put_table(r, q, id, parts, outs, ins);
		parts = &table;
	}
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)((q->wrap ? 1 << 7 : 1 << 15) | (i + 1 < count ? D_NEXT : 0));

		flags |= r->mode & RIG_INDIRECT ? D_INDIRECT : i >= outs ? D_WRITE : 0;
		put_desc(r, q->desc + q->next * 16u, &parts[i], (uint16_t)id, i ? flags : q->wrap ? 1 << 15 : 1 << 7);
		if (!i)
			first_flags = flags;
		if (++q->next == q->size) {
			q->next = 0;
			q->wrap = !q->wrap;
		}
	}
	rig_put16(r, first + 14, first_flags);
	q->next_id = (uint16_t)((id + 1) % q->size);
	q->free_entries = (uint16_t)(q->free_entries - count);
	q->entries[id] = (uint16_t)count;
	return id;
}

unsigned rig_add(struct rig *r, unsigned n, const struct rig_part *parts, unsigned outs, unsigned ins)
{
	struct rig_queue *q = &r->q[n];

	return r->mode & RIG_PACKED ? add_packed(r, q, parts, outs, ins) : add_split(r, q, parts, outs, ins);
}

static bool used_packed(struct rig *r, struct rig_queue *q, unsigned *id, uint32_t *len)
{
	uint64_t at = q->desc + q->last_used * 16u;
	uint16_t flags = rig_get16(r, at + 14);
	unsigned next;

	if (!!(flags >> 15) != q->used_wrap || !!(flags >> 7 & 1) != q->used_wrap)
		return false;
	*id = rig_get16(r, at + 12);
	*len = (uint32_t)rig_get_le(r, at + 8, 4);
	assert_true(*id < q->size && q->entries[*id]);
	next = q->last_used + q->entries[*id];
	if (next >= q->size) {
		next -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->last_used = (uint16_t)next;
	if (r->mode & RIG_EVENT) {
		rig_put16(r, q->driver, (uint16_t)(next | q->used_wrap << 15));
		rig_put16(r, q->driver + 2, 2);
	}
	return true;
}

static bool used_split(struct rig *r, struct rig_queue *q, unsigned *id, uint32_t *len)
{
	uint64_t at = q->device + 4 + q->last_used % q->size * 8u;

	if (rig_get16(r, q->device + 2) == q->last_used)
		return false;
	*id = (unsigned)rig_get_le(r, at, 4);
	*len = (uint32_t)rig_get_le(r, at + 4, 4);
	assert_true(*id < q->size && q->entries[*id]);
	q->last_used++;
	if (r->mode & RIG_EVENT)
		rig_put16(r, q->driver + 4 + q->size * 2u, q->last_used);
	return true;
}

bool rig_used(struct rig *r, unsigned n, unsigned *id, uint32_t *len)
{
	struct rig_queue *q = &r->q[n];
	unsigned i;
	uint32_t l;

	if (!(r->mode & RIG_PACKED ? used_packed(r, q, &i, &l) : used_split(r, q, &i, &l)))
		return false;
	q->free_entries = (uint16_t)(q->free_entries + q->entries[i]);
	q->entries[i] = 0;
	if (id)
		*id = i;
	if (len)
		*len = l;
	return true;
}

/* --- running --- */

static void stop(void *opaque)
{
	loop_stop(opaque);
}

void rig_run(struct rig *r)
{
	if (r->threaded) {
		poll(NULL, 0, 1);
		return;
	}
	loop_set_wake_fn(r->loop, stop, r->loop);
	/* What one round makes ready, the next one does. */
	for (unsigned i = 0; i < 6; i++) {
		loop_wake(r->loop);
		assert_int_equal(loop_run(r->loop), 0);
	}
}

uint32_t rig_do(struct rig *r, unsigned n, const struct rig_part *parts, unsigned outs, unsigned ins)
{
	unsigned id = rig_add(r, n, parts, outs, ins), got;
	uint32_t len;

	rig_kick(r, n);
	rig_run(r);
	assert_true(rig_used(r, n, &got, &len));
	assert_int_equal(got, id);
	return len;
}

unsigned rig_interrupts(struct rig *r, int n)
{
	if (!(r->mode & RIG_MMIO))
		return r->interrupts[n + 1];
	bus_write(&r->mmio, RIG_MMIO_BASE + 0x64, 4, bus_read(&r->mmio, RIG_MMIO_BASE + 0x60, 4));
	return r->interrupts[0];
}

/* --- state --- */

static void save(struct rig *r, struct state_writer *w, const struct chip_ops *model, void *object)
{
	if (r->mode & RIG_MMIO) {
		state_save(w, virtio_mmio_ops.state, RIG_SLOT, &r->window);
	} else {
		state_save(w, pci_device_ops.state, RIG_SLOT, &r->card.pci);
		state_save(w, virtio_pci_ops.state, RIG_SLOT, &r->card);
	}
	state_save(w, virtio_device_ops.state, RIG_SLOT, r->dev);
	if (model)
		state_save(w, model->state, RIG_SLOT, object);
}

static int load(struct rig *r, struct state_reader *rd, const struct chip_ops *ops, void *object)
{
	int ret = state_load(rd, ops->state, RIG_SLOT, object);

	return ret ? ret : ops->loaded ? ops->loaded(object) : 0;
}

int rig_copy(struct rig *from, struct rig *to, const struct chip_ops *model, void *from_model, void *to_model)
{
	static uint8_t half[RIG_RAM_HALF];
	struct state_writer *w;
	struct state_reader *rd;
	const void *bytes;
	size_t len;
	int ret;

	virtio_pause(from->dev);
	rig_run(from);
	assert_int_equal(state_writer_create(&w), 0);
	save(from, w, model, from_model);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	for (unsigned i = 0; i < 2; i++) {
		rig_get(from, i ? RIG_HIGH : 0, half, sizeof(half));
		rig_put(to, i ? RIG_HIGH : 0, half, sizeof(half));
	}
	memcpy(to->q, from->q, sizeof(to->q));

	assert_int_equal(state_reader_create(bytes, len, &rd), 0);
	virtio_pause(to->dev);
	if (to->mode & RIG_MMIO) {
		ret = load(to, rd, &virtio_mmio_ops, &to->window);
	} else {
		ret = load(to, rd, &pci_device_ops, &to->card.pci);
		if (!ret)
			ret = load(to, rd, &virtio_pci_ops, &to->card);
	}
	if (!ret)
		ret = load(to, rd, &virtio_device_ops, to->dev);
	if (!ret && model)
		ret = load(to, rd, model, to_model);
	virtio_resume(to->dev);
	virtio_resume(from->dev);
	rig_run(to);
	state_reader_destroy(rd);
	state_writer_destroy(w);
	return ret;
}
