// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of bus/pci.c: configuration spaces by both mechanisms, BARs, INTx, saved state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/pci.h"

#include <errno.h>
#include <string.h>

enum { ENABLE = 1u << 31 };

struct rig {
	struct pci pci;
	struct bus pio, mmio;
	struct pci_device bridge, dev, other;
	uint8_t lines;
	unsigned config_writes, region;
	uint64_t written;
};

static void take_lines(void *opaque, uint8_t lines)
{
	((struct rig *)opaque)->lines = lines;
}

static uint64_t dev_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return 0xa0 + region * 0x10 + offset;
}

static void dev_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct rig *r = chip;

	r->region = region;
	r->written = value;
}

static const struct chip_ops dev_ops = { .read = dev_read, .write = dev_write };

static void config_written(void *chip, unsigned offset, unsigned size)
{
	((struct rig *)chip)->config_writes++;
}

/* A host bridge in slot 0; in slot 3 a device with INTB, ports, and a 64-bit memory BAR; in slot 5 a small
 * one. */
static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	pci_init(&r->pci, &r->pio, &r->mmio, take_lines, r);
	pci_host_bridge_init(&r->bridge);
	assert_int_equal(pci_add(&r->pci, &r->bridge, 0), 0);

	pci_device_init(&r->dev, 0x1af4, 0x1042, 0x010000, 1, 2);
	assert_int_equal(pci_set_bar(&r->dev, 0, 32, PCI_BAR_IO, 1, "ports"), 0);
	assert_int_equal(pci_set_bar(&r->dev, 2, 0x4000, PCI_BAR_64 | PCI_BAR_PREFETCH, 2, "memory"), 0);
	r->dev.ops = &dev_ops;
	r->dev.chip = r;
	r->dev.config_written = config_written;
	assert_int_equal(pci_add(&r->pci, &r->dev, 3), 0);

	pci_device_init(&r->other, 0x1234, 0x5678, 0xff0000, 0, 1);
	assert_int_equal(pci_set_bar(&r->other, 0, 0x1000, 0, 3, "other"), 0);
	r->other.ops = &dev_ops;
	r->other.chip = r;
	assert_int_equal(pci_add(&r->pci, &r->other, 5), 0);
}

static uint64_t ecam(unsigned slot, unsigned offset)
{
	return slot << 15 | offset;
}

static uint32_t cfg(struct rig *r, unsigned slot, unsigned offset, unsigned size)
{
	return (uint32_t)pci_ops.read(&r->pci, PCI_REGION_ECAM, ecam(slot, offset), size);
}

static void set(struct rig *r, unsigned slot, unsigned offset, unsigned size, uint32_t value)
{
	pci_ops.write(&r->pci, PCI_REGION_ECAM, ecam(slot, offset), size, value);
}

static void select1(struct rig *r, uint32_t address)
{
	pci_ops.write(&r->pci, PCI_REGION_ADDRESS, 0, 4, address);
}

static void mechanism_1_selects_by_bus_device_function_and_dword(void **state)
{
	struct rig r;

	rig_init(&r);
	select1(&r, 0x7fffffff | ENABLE);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_ADDRESS, 0, 4), 0x80fffffc);
	select1(&r, ENABLE | 3 << 11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0x10421af4);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 2, 2) & 0xffff, 0x1042);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 1, 1) & 0xff, 0x1a);
	select1(&r, ENABLE | 3 << 11 | 8);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0x01000001);
	/* no such device, function, bus */
	select1(&r, ENABLE | 4 << 11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0xffffffff);
	select1(&r, ENABLE | 3 << 11 | 1 << 8);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0xffffffff);
	select1(&r, ENABLE | 1 << 16 | 3 << 11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0xffffffff);
	/* not enabled */
	select1(&r, 3 << 11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff, 0xffffffff);
}

static void config_address_takes_dwords_only(void **state)
{
	struct rig r;

	rig_init(&r);
	select1(&r, ENABLE | 3 << 11);
	pci_ops.write(&r.pci, PCI_REGION_ADDRESS, 0, 2, 0);
	pci_ops.write(&r.pci, PCI_REGION_ADDRESS, 3, 1, 1);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_ADDRESS, 0, 4), ENABLE | 3 << 11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_ADDRESS, 0, 1), UINT64_MAX);
}

static void ecam_and_mechanism_1_show_one_space(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned offset = 0; offset < 256; offset += 4) {
		select1(&r, ENABLE | 3 << 11 | offset);
		assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 4) & 0xffffffff,
				 cfg(&r, 3, offset, 4));
	}
	select1(&r, ENABLE | 3 << 11 | PCI_INTERRUPT_LINE);
	pci_ops.write(&r.pci, PCI_REGION_DATA, 0, 1, 0x5a);
	assert_int_equal(cfg(&r, 3, PCI_INTERRUPT_LINE, 2), 0x025a);
	set(&r, 3, PCI_INTERRUPT_LINE, 1, 0x11);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_DATA, 0, 1) & 0xff, 0x11);
	/* A conventional function has no extended space. */
	assert_int_equal(cfg(&r, 3, 0x100, 4), 0xffffffff);
	assert_int_equal(cfg(&r, 3, 0xfe, 4), 0xffff0000);
	set(&r, 3, 0xfff, 8, 0);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_ECAM, ecam(0, 0) | 1 << 20, 4) & 0xffffffff,
			 0xffffffff);
}

static void the_host_bridge_is_one_that_linux_knows(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(cfg(&r, 0, PCI_VENDOR_ID, 4), 0x29c08086);
	assert_int_equal(cfg(&r, 0, PCI_CLASS, 2), 0x0000);
	assert_int_equal(cfg(&r, 0, PCI_CLASS + 2, 1), 0x06);
	assert_int_equal(cfg(&r, 0, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(cfg(&r, 0, PCI_INTERRUPT_PIN, 1), 0);
}

static void read_only_bits_stay(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned offset = 0; offset < 256; offset++)
		set(&r, 3, offset, 1, 0xff);
	assert_int_equal(cfg(&r, 3, PCI_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(cfg(&r, 3, PCI_CLASS + 2, 1), 0x01);
	assert_int_equal(cfg(&r, 3, PCI_INTERRUPT_PIN, 1), 2);
	assert_int_equal(cfg(&r, 3, PCI_COMMAND, 2), PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
							     PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
							     PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), 0);
}

static void bits_that_writing_1_clears_stay_on_0(void **state)
{
	struct rig r;

	rig_init(&r);
	pci_set_clear(&r.dev, PCI_STATUS, 2, 0xf900);
	r.dev.config[PCI_STATUS + 1] = 0x28;
	set(&r, 3, PCI_STATUS, 2, 0);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), 0x2800);
	set(&r, 3, PCI_STATUS, 2, 0x0800);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), 0x2000);
	set(&r, 3, PCI_STATUS, 2, 0xffff);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), 0);
}

static void bars_tell_their_sizes(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned n = 0; n < PCI_BARS; n++)
		set(&r, 3, PCI_BAR0 + n * 4, 4, 0xffffffff);
	assert_int_equal(cfg(&r, 3, PCI_BAR0, 4), 0xffffffe1);
	assert_int_equal(cfg(&r, 3, PCI_BAR0 + 4, 4), 0);
	assert_int_equal(cfg(&r, 3, PCI_BAR0 + 8, 4), 0xffffc00c);
	assert_int_equal(cfg(&r, 3, PCI_BAR0 + 12, 4), 0xffffffff);
	assert_int_equal(cfg(&r, 3, PCI_BAR0 + 16, 4), 0);
}

static void bars_that_cannot_be_are_refused(void **state)
{
	struct pci_device d;

	pci_device_init(&d, 1, 2, 0, 0, 0);
	assert_int_equal(pci_set_bar(&d, 6, 16, 0, 0, ""), -EINVAL);
	assert_int_equal(pci_set_bar(&d, 5, 16, PCI_BAR_64, 0, ""), -EINVAL);
	assert_int_equal(pci_set_bar(&d, 0, 24, 0, 0, ""), -EINVAL);
	assert_int_equal(pci_set_bar(&d, 0, 8, 0, 0, ""), -EINVAL);
	assert_int_equal(pci_set_bar(&d, 0, 512, PCI_BAR_IO, 0, ""), -EINVAL);
	assert_int_equal(pci_set_bar(&d, 0, 16, PCI_BAR_IO | PCI_BAR_64, 0, ""), -EINVAL);
}

static void bars_are_mapped_while_decoding_is_enabled(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 3, PCI_BAR0, 4, 0xc000);
	set(&r, 3, PCI_BAR0 + 8, 4, 0xc0008000);
	set(&r, 3, PCI_BAR0 + 12, 4, 0x10);
	assert_null(bus_find(&r.pio, 0xc000));
	assert_null(bus_find(&r.mmio, 0x10c0008000));
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_non_null(bus_find(&r.pio, 0xc01f));
	assert_null(bus_find(&r.mmio, 0x10c0008000));
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_null(bus_find(&r.pio, 0xc000));
	assert_int_equal(bus_find(&r.mmio, 0x10c000bfff)->base, 0x10c0008000);
	assert_int_equal(bus_read(&r.mmio, 0x10c0008004, 1), 0xc4);
	bus_write(&r.mmio, 0x10c0008008, 4, 77);
	assert_int_equal(r.written, 77);
	assert_int_equal(r.region, 2);
	/* moving it */
	set(&r, 3, PCI_BAR0 + 12, 4, 0);
	assert_null(bus_find(&r.mmio, 0x10c0008000));
	assert_non_null(bus_find(&r.mmio, 0xc0008000));
	set(&r, 3, PCI_COMMAND, 2, 0);
	assert_int_equal(r.mmio.count, 0);
	assert_int_equal(r.config_writes, 7);
}

static void bars_at_0_or_past_the_ports_stay_unmapped(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(r.pio.count + r.mmio.count, 0);
	set(&r, 3, PCI_BAR0, 4, 0x10000);
	assert_int_equal(r.pio.count, 0);
	set(&r, 3, PCI_BAR0, 4, 0xffe0);
	assert_int_equal(r.pio.count, 1);
	set(&r, 3, PCI_BAR0, 4, 0xffffffe0);
	assert_int_equal(r.pio.count, 0);
}

static void of_two_bars_in_one_place_the_lower_device_has_it(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 5, PCI_BAR0, 4, 0xc0009000);
	set(&r, 5, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(bus_find(&r.mmio, 0xc0009000)->region, 3);
	set(&r, 3, PCI_BAR0 + 8, 4, 0xc0008000);
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(bus_find(&r.mmio, 0xc0009000)->region, 2);
	assert_false(r.other.bar[0].mapped);
	set(&r, 3, PCI_BAR0 + 8, 4, 0xd0000000);
	assert_int_equal(bus_find(&r.mmio, 0xc0009000)->region, 3);
}

static void intx_goes_to_the_line_of_slot_and_pin(void **state)
{
	struct rig r;

	rig_init(&r);
	pci_set_intx(&r.dev, true); /* slot 3, INTB */
	assert_int_equal(r.lines, 1 << 4);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), PCI_STATUS_INTX);
	pci_set_intx(&r.other, true); /* slot 5, INTA */
	assert_int_equal(r.lines, 1 << 4 | 1 << 5);
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(r.lines, 1 << 5);
	assert_int_equal(cfg(&r, 3, PCI_STATUS, 2), PCI_STATUS_INTX);
	set(&r, 3, PCI_COMMAND, 2, 0);
	assert_int_equal(r.lines, 1 << 4 | 1 << 5);
	pci_set_intx(&r.dev, false);
	assert_int_equal(r.lines, 1 << 5);
}

static void reset_unmaps_and_deasserts(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 3, PCI_BAR0, 4, 0xc000);
	set(&r, 3, PCI_COMMAND, 2, PCI_COMMAND_IO);
	pci_set_intx(&r.dev, true);
	select1(&r, ENABLE | 8);
	pci_device_ops.reset(&r.dev);
	pci_ops.reset(&r.pci);
	assert_int_equal(r.pio.count, 0);
	assert_int_equal(r.lines, 0);
	assert_int_equal(cfg(&r, 3, PCI_BAR0, 4), 1);
	assert_int_equal(pci_ops.read(&r.pci, PCI_REGION_ADDRESS, 0, 4), 0);
}

static void a_slot_holds_one_device(void **state)
{
	struct rig r;
	struct pci_device d;

	rig_init(&r);
	pci_device_init(&d, 1, 2, 0, 0, 0);
	assert_int_equal(pci_add(&r.pci, &d, 3), -EEXIST);
	assert_int_equal(pci_add(&r.pci, &d, 32), -EINVAL);
}

static void save_load(struct rig *from, struct rig *to, int device_result)
{
	struct state_writer *w;
	struct state_reader *rd;
	const void *bytes;
	size_t len;

	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, pci_ops.state, 0, &from->pci);
	state_save(w, pci_device_ops.state, 3, &from->dev);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &rd), 0);
	assert_int_equal(state_load(rd, pci_ops.state, 0, &to->pci), 0);
	assert_int_equal(state_load(rd, pci_device_ops.state, 3, &to->dev), 0);
	assert_int_equal(pci_ops.loaded(&to->pci), 0);
	assert_int_equal(pci_device_ops.loaded(&to->dev), device_result);
	state_reader_destroy(rd);
	state_writer_destroy(w);
}

static void loading_maps_bars_and_drives_lines(void **state)
{
	struct rig a, b;

	rig_init(&a);
	rig_init(&b);
	set(&a, 3, PCI_BAR0 + 8, 4, 0xc0008000);
	set(&a, 3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	pci_set_intx(&a.dev, true);
	select1(&a, ENABLE | 3 << 11 | 0x10);
	save_load(&a, &b, 0);
	assert_int_equal(b.lines, 1 << 4);
	assert_int_equal(bus_find(&b.mmio, 0xc0008000)->region, 2);
	assert_int_equal(pci_ops.read(&b.pci, PCI_REGION_ADDRESS, 0, 4), ENABLE | 3 << 11 | 0x10);
}

static void loading_refuses_bits_that_the_guest_cannot_write(void **state)
{
	struct rig a, b;

	rig_init(&a);
	rig_init(&b);
	a.dev.config[PCI_VENDOR_ID] ^= 1;
	save_load(&a, &b, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mechanism_1_selects_by_bus_device_function_and_dword),
		cmocka_unit_test(config_address_takes_dwords_only),
		cmocka_unit_test(ecam_and_mechanism_1_show_one_space),
		cmocka_unit_test(the_host_bridge_is_one_that_linux_knows),
		cmocka_unit_test(read_only_bits_stay),
		cmocka_unit_test(bits_that_writing_1_clears_stay_on_0),
		cmocka_unit_test(bars_tell_their_sizes),
		cmocka_unit_test(bars_that_cannot_be_are_refused),
		cmocka_unit_test(bars_are_mapped_while_decoding_is_enabled),
		cmocka_unit_test(bars_at_0_or_past_the_ports_stay_unmapped),
		cmocka_unit_test(of_two_bars_in_one_place_the_lower_device_has_it),
		cmocka_unit_test(intx_goes_to_the_line_of_slot_and_pin),
		cmocka_unit_test(reset_unmaps_and_deasserts),
		cmocka_unit_test(a_slot_holds_one_device),
		cmocka_unit_test(loading_maps_bars_and_drives_lines),
		cmocka_unit_test(loading_refuses_bits_that_the_guest_cannot_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
