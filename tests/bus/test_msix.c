// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of bus/msix.c, and of what pci.c does for capabilities, moving BARs and reads of configuration space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/msix.h"

#include <errno.h>
#include <string.h>

enum { VECTORS = 5, SLOT = 3, ENABLE = 0x8000, MASK = 0x4000 };

struct rig {
	struct pci pci;
	struct bus pio, mmio;
	struct pci_device dev;
	struct msix msix;
	uint8_t lines;
	unsigned messages, moves, reads;
	uint64_t address;
	uint32_t data;
};

static void take_lines(void *opaque, uint8_t lines)
{
	((struct rig *)opaque)->lines = lines;
}

static void take_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct rig *r = opaque;

	r->messages++;
	r->address = address;
	r->data = data;
}

static uint64_t dev_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return msix_read(&((struct rig *)chip)->msix, offset, size);
}

static void dev_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	msix_write(&((struct rig *)chip)->msix, offset, size, value);
}

static const struct chip_ops dev_ops = { .read = dev_read, .write = dev_write };

static void bar_moved(void *chip, unsigned n)
{
	((struct rig *)chip)->moves++;
	assert_int_equal(n, 1);
}

static void config_read(void *chip, unsigned offset, unsigned size)
{
	struct rig *r = chip;

	if (offset == 0x5c)
		r->dev.config[0x5c] = (uint8_t)++r->reads;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	pci_init(&r->pci, &r->pio, &r->mmio, take_lines, r);
	pci_device_init(&r->dev, 0x1af4, 0x1044, 0xff0000, 1, 1);
	assert_int_equal(msix_init(&r->msix, &r->dev, VECTORS, 1, 7, take_msi, r), 0);
	r->dev.ops = &dev_ops;
	r->dev.chip = r;
	r->dev.bar_moved = bar_moved;
	r->dev.config_read = config_read;
	assert_int_equal(pci_add(&r->pci, &r->dev, SLOT), 0);
}

static uint32_t cfg(struct rig *r, unsigned offset, unsigned size)
{
	return (uint32_t)pci_ops.read(&r->pci, PCI_REGION_ECAM, SLOT << 15 | offset, size);
}

static void set(struct rig *r, unsigned offset, unsigned size, uint32_t value)
{
	pci_ops.write(&r->pci, PCI_REGION_ECAM, SLOT << 15 | offset, size, value);
}

static void control(struct rig *r, uint32_t value)
{
	set(r, r->msix.capability + 2u, 2, value);
}

static void program(struct rig *r, unsigned n, uint64_t address, uint32_t data, uint32_t masked)
{
	msix_write(&r->msix, n * 16, 8, address);
	msix_write(&r->msix, n * 16 + 8, 4, data);
	msix_write(&r->msix, n * 16 + 12, 4, masked);
}

static uint64_t pending(struct rig *r)
{
	return msix_read(&r->msix, MSIX_PBA, 8);
}

static void the_capability_is_in_the_list_and_names_bar_table_and_pending_bits(void **state)
{
	struct rig r;
	unsigned at;

	rig_init(&r);
	assert_true(cfg(&r, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES);
	at = cfg(&r, PCI_CAPABILITIES, 1);
	assert_int_equal(at, 0x40);
	assert_int_equal(cfg(&r, at, 2), PCI_CAPABILITY_MSIX);
	assert_int_equal(cfg(&r, at + 2, 2), VECTORS - 1);
	assert_int_equal(cfg(&r, at + 4, 4), 1);
	assert_int_equal(cfg(&r, at + 8, 4), MSIX_PBA | 1);
	/* only Enable and Function Mask can be written */
	control(&r, 0xffff);
	assert_int_equal(cfg(&r, at + 2, 2), ENABLE | MASK | (VECTORS - 1));
}

static void capabilities_are_linked_in_the_order_in_which_they_were_added(void **state)
{
	struct pci_device d;

	pci_device_init(&d, 1, 2, 0, 0, 0);
	assert_int_equal(pci_add_capability(&d, 9, 17), 0x40);
	assert_int_equal(pci_add_capability(&d, 9, 16), 0x54);
	assert_int_equal(pci_add_capability(&d, 0x11, 12), 0x64);
	assert_int_equal(d.reset[PCI_CAPABILITIES], 0x40);
	assert_int_equal(d.reset[0x41], 0x54);
	assert_int_equal(d.reset[0x55], 0x64);
	assert_int_equal(d.reset[0x65], 0);
	assert_int_equal(pci_add_capability(&d, 9, 0x91), -ENOSPC);
	assert_int_equal(pci_add_capability(&d, 9, 0x90), 0x70);
	assert_int_equal(pci_add_capability(&d, 9, 4), -ENOSPC);
}

static void a_vector_is_sent_with_its_address_and_data(void **state)
{
	struct rig r;

	rig_init(&r);
	program(&r, 2, 0xfee01000, 0x4022, 0);
	msix_notify(&r.msix, 2);
	assert_int_equal(r.messages, 0); /* not enabled */
	control(&r, ENABLE);
	assert_int_equal(r.messages, 0); /* and not kept */
	msix_notify(&r.msix, 2);
	assert_int_equal(r.messages, 1);
	assert_int_equal(r.address, 0xfee01000);
	assert_int_equal(r.data, 0x4022);
	msix_notify(&r.msix, VECTORS);
	msix_notify(&r.msix, 0xffff);
	assert_int_equal(r.messages, 1);
}

static void a_masked_vector_is_pending_until_its_entry_is_unmasked(void **state)
{
	struct rig r;

	rig_init(&r);
	control(&r, ENABLE);
	program(&r, 4, 0xfee00000, 0x31, 1);
	msix_notify(&r.msix, 4);
	msix_notify(&r.msix, 4);
	assert_int_equal(r.messages, 0);
	assert_int_equal(pending(&r), 1 << 4);
	msix_write(&r.msix, MSIX_PBA, 8, 0);
	assert_int_equal(pending(&r), 1 << 4);
	msix_write(&r.msix, 4 * 16 + 12, 4, 0);
	assert_int_equal(r.messages, 1);
	assert_int_equal(r.data, 0x31);
	assert_int_equal(pending(&r), 0);
}

static void the_function_mask_holds_all_vectors_back(void **state)
{
	struct rig r;

	rig_init(&r);
	control(&r, ENABLE | MASK);
	program(&r, 0, 0xfee00000, 0x30, 0);
	program(&r, 1, 0xfee00000, 0x31, 1);
	msix_notify(&r.msix, 0);
	msix_notify(&r.msix, 1);
	assert_int_equal(pending(&r), 3);
	control(&r, ENABLE);
	assert_int_equal(r.messages, 1);
	assert_int_equal(r.data, 0x30);
	assert_int_equal(pending(&r), 2);
}

static void intx_is_silent_while_msix_is_enabled(void **state)
{
	struct rig r;

	rig_init(&r);
	pci_set_intx(&r.dev, true);
	assert_int_equal(r.lines, 1 << SLOT);
	control(&r, ENABLE);
	assert_int_equal(r.lines, 0);
	control(&r, 0);
	assert_int_equal(r.lines, 1 << SLOT);
}

static void the_table_takes_dwords_and_qwords_and_keeps_reserved_bits_0(void **state)
{
	struct rig r;

	rig_init(&r);
	msix_write(&r.msix, 16, 8, 0x12345678fee0100full);
	assert_int_equal(msix_read(&r.msix, 16, 8), 0x12345678fee0100cull);
	msix_write(&r.msix, 24, 8, 0xffffffff00000041ull);
	assert_int_equal(msix_read(&r.msix, 24, 8), 0x100000041ull);
	assert_int_equal(msix_read(&r.msix, 17, 1), 0x10);
	msix_write(&r.msix, 24, 2, 0x55);
	msix_write(&r.msix, 26, 4, 0x55);
	assert_int_equal(msix_read(&r.msix, 24, 4), 0x41);
	/* past the last vector, past the pending bits, past the end */
	msix_write(&r.msix, VECTORS * 16, 4, 0xffffffff);
	assert_int_equal(msix_read(&r.msix, VECTORS * 16, 4), 0);
	assert_int_equal(msix_read(&r.msix, MSIX_PBA + 8, 8), 0);
	msix_write(&r.msix, MSIX_BAR_SIZE, 4, 1);
	assert_int_equal(msix_read(&r.msix, MSIX_BAR_SIZE - 1, 8), 0);
}

static void the_owner_hears_of_a_bar_that_moves_and_of_nothing_else(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, PCI_BAR0 + 4, 4, 0xc0001000);
	assert_int_equal(r.moves, 0);
	set(&r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(r.moves, 1);
	assert_int_equal(r.dev.bar[1].base, 0xc0001000);
	assert_int_equal(bus_find(&r.mmio, 0xc0001000)->region, 7);
	set(&r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(r.moves, 1);
	set(&r, PCI_BAR0 + 4, 4, 0xc0002000);
	assert_int_equal(r.moves, 2);
	set(&r, PCI_COMMAND, 2, 0);
	assert_int_equal(r.moves, 3);
	assert_false(r.dev.bar[1].mapped);
}

static void the_owner_may_change_what_a_read_finds(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(cfg(&r, 0x5c, 4), 1);
	assert_int_equal(cfg(&r, 0x5c, 1), 2);
	assert_int_equal(cfg(&r, 0x60, 4), 0);
	assert_int_equal(r.reads, 2);
}

static void reset_masks_all_and_disables(void **state)
{
	struct rig r;

	rig_init(&r);
	control(&r, ENABLE);
	program(&r, 0, 0xfee00000, 0x30, 1);
	msix_notify(&r.msix, 0);
	pci_device_ops.reset(&r.dev);
	assert_false(r.msix.enabled);
	assert_int_equal(pending(&r), 0);
	assert_int_equal(msix_read(&r.msix, 0, 4), 0);
	assert_int_equal(msix_read(&r.msix, 12, 4), 1);
}

static const struct state_class class = { "owner", 1, msix_fields };

static int save_load(struct rig *from, struct rig *to)
{
	struct state_writer *w;
	struct state_reader *rd;
	const void *bytes;
	size_t len;
	int ret;

	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, pci_device_ops.state, SLOT, &from->dev);
	state_save(w, &class, SLOT, &from->msix);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &rd), 0);
	assert_int_equal(state_load(rd, pci_device_ops.state, SLOT, &to->dev), 0);
	assert_int_equal(pci_device_ops.loaded(&to->dev), 0);
	assert_int_equal(state_load(rd, &class, SLOT, &to->msix), 0);
	ret = msix_loaded(&to->msix);
	state_reader_destroy(rd);
	state_writer_destroy(w);
	return ret;
}

static void what_is_pending_is_sent_after_loading_once_it_is_unmasked(void **state)
{
	struct rig a, b;

	rig_init(&a);
	rig_init(&b);
	control(&a, ENABLE);
	program(&a, 0, 0xfee00000, 0x30, 0);
	program(&a, 3, 0xfee02000, 0x33, 1);
	msix_notify(&a.msix, 3);
	assert_int_equal(save_load(&a, &b), 0);
	assert_int_equal(b.messages, 0);
	assert_int_equal(pending(&b), 1 << 3);
	msix_notify(&b.msix, 0);
	assert_int_equal(b.data, 0x30);
	msix_write(&b.msix, 3 * 16 + 12, 4, 0);
	assert_int_equal(b.data, 0x33);
	assert_int_equal(b.address, 0xfee02000);
}

static void loading_refuses_what_a_table_cannot_hold(void **state)
{
	struct rig a, b;

	rig_init(&a);
	rig_init(&b);
	a.msix.entry[1].control = 2;
	assert_int_equal(save_load(&a, &b), -EPROTO);
	a.msix.entry[1].control = 0;
	a.msix.pending = 1 << VECTORS;
	assert_int_equal(save_load(&a, &b), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_capability_is_in_the_list_and_names_bar_table_and_pending_bits),
		cmocka_unit_test(capabilities_are_linked_in_the_order_in_which_they_were_added),
		cmocka_unit_test(a_vector_is_sent_with_its_address_and_data),
		cmocka_unit_test(a_masked_vector_is_pending_until_its_entry_is_unmasked),
		cmocka_unit_test(the_function_mask_holds_all_vectors_back),
		cmocka_unit_test(intx_is_silent_while_msix_is_enabled),
		cmocka_unit_test(the_table_takes_dwords_and_qwords_and_keeps_reserved_bits_0),
		cmocka_unit_test(the_owner_hears_of_a_bar_that_moves_and_of_nothing_else),
		cmocka_unit_test(the_owner_may_change_what_a_read_finds),
		cmocka_unit_test(reset_masks_all_and_disables),
		cmocka_unit_test(what_is_pending_is_sent_after_loading_once_it_is_unmasked),
		cmocka_unit_test(loading_refuses_what_a_table_cannot_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
