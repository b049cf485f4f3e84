// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the board: what answers where, and where lines go. Chips have tests of their own. */
#include "util.h"

#include <errno.h>
#include <string.h>

enum { IOREGSEL = 0, IOWIN = 0x10 };
enum { REDTBL_LEVEL = 1 << 15, REDTBL_MASKED = 1 << 16 };

static void ioapic_write(struct machine *m, unsigned reg, uint32_t value)
{
	store(m, BOARD_IOAPIC_BASE + IOREGSEL, 4, reg);
	store(m, BOARD_IOAPIC_BASE + IOWIN, 4, value);
}

static void ioapic_pin(struct machine *m, unsigned pin, uint32_t low)
{
	ioapic_write(m, 0x11 + pin * 2, 0);
	ioapic_write(m, 0x10 + pin * 2, low);
}

/* Vectors 0x20 and 0x28, everything masked but @imr's zero bits. */
static void pic_init(struct machine *m, uint8_t master_mask, uint8_t slave_mask)
{
	static const uint8_t icw[2][4] = { { 0x11, 0x20, 4, 1 }, { 0x11, 0x28, 2, 1 } };

	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i ? 0xa0 : 0x20;

		out(m, port, 1, icw[i][0]);
		for (unsigned j = 1; j < 4; j++)
			out(m, port + 1, 1, icw[i][j]);
	}
	out(m, 0x21, 1, master_mask);
	out(m, 0xa1, 1, slave_mask);
}

/* COM1 wants an interrupt: transmitter empty. */
static void uart_interrupt(struct machine *m, bool on)
{
	out(m, 0x3fc, 1, 8); /* OUT2 */
	out(m, 0x3f9, 1, on ? 2 : 0);
}

static void what_nobody_answers_reads_as_ones(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	assert_int_equal(in(m, 0x1234, 4), 0xffffffff);
	assert_int_equal(in(m, 0xffff, 4), 0xffffffff);
	assert_int_equal(in(m, 0xf4, 1), 0xff);
	assert_int_equal(load(m, 0xd0000000, 8), UINT64_MAX);
	out(m, 0x1234, 4, 0);
	store(m, 0xd0000000, 8, 0);
	machine_free(m);
}

static void smi_command_port_pulls_smi_when_it_is_enabled(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	out(m, 0xb2, 1, 0x55);
	assert_int_equal(m->log.smis, 0);
	out(m, 0x630, 4, 0x21);
	out(m, 0xb2, 1, 0x55);
	assert_int_equal(m->log.smis, 1);
	assert_int_equal(in(m, 0x634, 4), 0x20);
	machine_free(m);
}

/* A closed gate lets the second megabyte show the first, RAM and devices alike. */
static void closed_a20_gate_aliases_the_first_megabyte(void **state)
{
	struct machine *m = machine_new(16, 1, false);
	uint8_t a[2] = { 1, 2 }, got[2];
	uint64_t at[] = { 0x500, 0x9ffff, 0xb8000, 0xfffff };

	out(m, 0x92, 1, 0);
	assert_int_equal(m->log.a20_changes, 1);
	assert_false(m->log.a20 || board_a20(m->board));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(ram_write(m->ram, at[i] + 0x100000, &a[1], 1), 0);
		assert_int_equal(ram_write(m->ram, at[i], &a[0], 1), 0);
	}
	assert_int_equal(board_map_a20(m->ram, false), 0);
	for (unsigned i = 0; i < 4; i++) {
		ram_get(m->ram, at[i] + 0x100000, got, 1);
		assert_int_equal(got[0], 1);
	}
	assert_int_equal(load(m, 0x1a0000, 1), load(m, 0xa0000, 1));
	assert_int_equal(ram_read(m->ram, 0x1a0000, got, 1), -EFAULT);
	ram_get(m->ram, 0x200000, got, 2); /* goes on as RAM */
	out(m, 0x92, 1, 2);
	assert_true(m->log.a20);
	assert_int_equal(board_map_a20(m->ram, true), 0);
	for (unsigned i = 0; i < 4; i++) {
		ram_get(m->ram, at[i] + 0x100000, got, 1);
		assert_int_equal(got[0], 2);
	}
	out(m, 0x92, 1, 0);
	board_reset(m->board);
	assert_true(m->log.a20);
	machine_free(m);
}

static void string_io_passes_every_element(void **state)
{
	struct machine *m = machine_new(16, 1, false);
	char text[] = "hello";
	uint8_t bytes[4] = { 0 };

	board_pio(m->board, 0x402, 1, true, text, 5);
	assert_string_equal(m->log.debugcon, "hello");
	board_pio(m->board, 0x402, 1, false, bytes, 4);
	assert_memory_equal(bytes, "\xe9\xe9\xe9\xe9", 4);
	machine_free(m);
}

static void the_serial_port_reaches_its_stream(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	for (const char *p = "console"; *p; p++)
		out(m, 0x3f8, 1, (uint8_t)*p);
	assert_string_equal(m->log.serial, "console");
	assert_int_equal(board_serial_input(m->board, (const uint8_t *)"x", 1), 1);
	assert_int_equal(in(m, 0x3fd, 1) & 1, 1);
	assert_int_equal(in(m, 0x3f8, 1), 'x');
	machine_free(m);
}

static void an_isa_interrupt_comes_out_of_the_8259_pair(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	pic_init(m, 0xff & ~(1 << 4), 0xff);
	assert_int_equal(board_extint_ack(m->board), -EAGAIN);
	uart_interrupt(m, true);
	assert_true(m->log.extint);
	assert_int_equal(board_extint_ack(m->board), 0x24);
	assert_false(m->log.extint);
	machine_free(m);
}

static void an_isa_interrupt_comes_out_of_the_ioapic(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	ioapic_pin(m, 4, 0x41);
	assert_int_equal(m->log.routes, 1);
	assert_int_equal(m->log.route[0].data & 0xff, 0x41);
	uart_interrupt(m, true);
	assert_int_equal(m->log.msis, 1);
	assert_int_equal(m->log.msi.data & 0xff, 0x41);
	assert_int_equal(m->log.msi.address & ~0xfffffull, 0xfee00000);
	machine_free(m);
}

static void the_timer_is_irq_0_and_pin_2(void **state)
{
	struct machine *m = machine_new(16, 1, false);
	unsigned before;

	pic_init(m, 0xfe, 0xff);
	ioapic_pin(m, 2, 0x30);
	before = m->log.msis; /* the counter's output may stand high already */
	out(m, 0x43, 1, 0x34); /* counter 0, mode 2 */
	out(m, 0x40, 1, 0xa9);
	out(m, 0x40, 1, 0x04); /* 1193: 1 ms */
	assert_true(m->log.timer_ns <= 1100000);
	machine_advance(m, 1100000);
	assert_int_equal(board_extint_ack(m->board), 0x20);
	assert_true(m->log.msis > before);
	assert_int_equal(m->log.msi.data & 0xff, 0x30);
	machine_free(m);
}

static void the_sci_is_level_triggered_on_irq_9(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	assert_int_equal(in(m, 0x4d0, 2), 0x0e00);
	ioapic_pin(m, 9, 0x39 | REDTBL_LEVEL);
	out(m, 0x602, 2, 1); /* TMR_EN */
	machine_advance(m, 601000000000ull); /* half a period of the PM timer */
	assert_int_equal(in(m, 0x600, 2) & 1, 1);
	assert_int_equal(m->log.msis, 1);
	/* An EOI while the line is up brings the next one. */
	board_eoi(m->board, 0x39);
	assert_int_equal(m->log.msis, 2);
	out(m, 0x600, 2, 1);
	board_eoi(m->board, 0x39);
	assert_int_equal(m->log.msis, 2);
	machine_free(m);
}

static void the_keyboard_is_irq_1(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	ioapic_pin(m, 1, 0x31);
	out(m, 0x64, 1, 0x60); /* write the command byte: interrupt on */
	out(m, 0x60, 1, 0x01);
	out(m, 0x60, 1, 0xee); /* echo */
	assert_int_equal(m->log.msis, 1);
	assert_int_equal(in(m, 0x60, 1), 0xee);
	machine_free(m);
}

static void the_clock_is_irq_8(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	ioapic_pin(m, 8, 0x38);
	out(m, 0x70, 1, 0x0b);
	out(m, 0x71, 1, 0x12); /* update ended interrupt, 24 h */
	machine_advance(m, 1100000000ull);
	assert_int_equal(m->log.msis, 1);
	machine_free(m);
}

static void cmos_tells_the_memory(void **state)
{
	struct machine *m = machine_new(64, 1, false);

	out(m, 0x70, 1, 0x34);
	assert_int_equal(in(m, 0x71, 1), (48 * 16) & 0xff); /* 64 KiB blocks above 16 MiB */
	out(m, 0x70, 1, 0x35);
	assert_int_equal(in(m, 0x71, 1), (48 * 16) >> 8);
	machine_free(m);
}

static void power_off_and_resets_are_told(void **state)
{
	static const struct {
		uint16_t port;
		unsigned size, value;
		enum board_event event;
	} ways[] = {
		{ 0x604, 2, 5 << 10 | 1 << 13, BOARD_EVENT_POWER_OFF },
		{ 0xcf9, 1, 6, BOARD_EVENT_RESET },
		{ 0x64, 1, 0xfe, BOARD_EVENT_RESET },
		{ 0x92, 1, 1, BOARD_EVENT_RESET },
	};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct machine *m = machine_new(16, 1, false);

		out(m, ways[i].port, ways[i].size, ways[i].value);
		assert_int_equal(m->log.events, 1);
		assert_int_equal(m->log.event, ways[i].event);
		machine_free(m);
	}
}

static void debug_exit_is_there_only_when_asked_for(void **state)
{
	struct machine *m = machine_new(16, 1, true);

	out(m, 0xf4, 1, 33);
	assert_int_equal(m->log.event, BOARD_EVENT_DEBUG_EXIT);
	assert_int_equal(m->log.code, 33);
	machine_free(m);
	m = machine_new(16, 1, false);
	out(m, 0xf4, 1, 33);
	assert_int_equal(m->log.events, 0);
	machine_free(m);
}

static void the_reset_register_lies_inside_config_address(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	out(m, 0xcf8, 4, 0x80000000 | 0x0600); /* no reset */
	assert_int_equal(m->log.events, 0);
	assert_int_equal(in(m, 0xcf8, 4), 0x80000600);
	out(m, 0xcf9, 1, 2);
	assert_int_equal(in(m, 0xcf9, 1), 2);
	assert_int_equal(in(m, 0xcf8, 4), 0x80000600);
	assert_int_equal(in(m, 0xcf8, 2), 0x02ff);
	out(m, 0xcf8, 2, 0x0600);
	assert_int_equal(m->log.event, BOARD_EVENT_RESET);
	machine_free(m);
}

static void both_mechanisms_show_the_host_bridge(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	out(m, 0xcf8, 4, 0x80000000);
	assert_int_equal(in(m, 0xcfc, 4), 0x29c08086);
	assert_int_equal(in(m, 0xcfe, 2), 0x29c0);
	assert_int_equal(in(m, 0xcff, 1), 0x29);
	assert_int_equal(load(m, BOARD_ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(load(m, BOARD_ECAM_BASE + 0xa, 2), 0x0600);
	assert_int_equal(load(m, BOARD_ECAM_BASE + BOARD_ECAM_SIZE - 4, 4), 0xffffffff);
	out(m, 0xcf8, 4, 0x80000000 | 1 << 11);
	assert_int_equal(in(m, 0xcfc, 4), 0xffffffff);
	machine_free(m);
}

static void reset_restores_chips_and_firmware_settings(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	pic_init(m, 0xff & ~(1 << 4), 0xff);
	ioapic_pin(m, 4, 0x41);
	uart_interrupt(m, true);
	out(m, 0x4d0, 2, 0);
	out(m, 0xcf8, 4, 0x80000000);
	assert_true(m->log.extint);
	board_reset(m->board);
	assert_false(m->log.extint);
	assert_int_equal(m->log.routes, 0);
	assert_int_equal(in(m, 0x4d0, 2), 0x0e00);
	assert_int_equal(in(m, 0x3f9, 1), 0);
	assert_int_equal(in(m, 0xcf8, 4), 0);
	assert_int_equal(in(m, 0x21, 1), 0xfa); /* the timer and the cascade */
	assert_int_equal(in(m, 0xa1, 1), 0xff);
	machine_free(m);
}

static void the_tick_of_a_bios_comes_at_vector_8(void **state)
{
	struct machine *m = machine_new(16, 1, false);

	assert_false(m->log.extint);
	machine_advance(m, 60000000); /* 65536 ticks of 1.193182 MHz are 54.9 ms */
	assert_true(m->log.extint);
	assert_int_equal(board_extint_ack(m->board), 8);
	machine_free(m);
}

static void ram_has_a_hole_for_vga_and_one_below_4_gib(void **state)
{
	struct ram *ram = test_ram(3072);
	uint8_t byte = 1;

	assert_int_equal(ram_write(ram, 0x9ffff, &byte, 1), 0);
	assert_int_equal(ram_write(ram, 0xa0000, &byte, 1), -EFAULT);
	assert_int_equal(ram_write(ram, 0xc0000, &byte, 1), 0);
	assert_int_equal(ram_write(ram, BOARD_LOW_RAM_MAX - 1, &byte, 1), 0);
	assert_int_equal(ram_write(ram, BOARD_LOW_RAM_MAX, &byte, 1), -EFAULT);
	assert_int_equal(ram_write(ram, BOARD_HIGH_RAM_BASE, &byte, 1), 0);
	assert_int_equal(ram_write(ram, BOARD_HIGH_RAM_BASE + 3072 * MIB - BOARD_LOW_RAM_MAX - 1, &byte, 1), 0);
	assert_int_equal(ram_write(ram, BOARD_HIGH_RAM_BASE + 3072 * MIB - BOARD_LOW_RAM_MAX, &byte, 1),
			 -EFAULT);
	ram_destroy(ram);
}

static void ram_of_an_impossible_size_is_refused(void **state)
{
	struct ram *ram = NULL;
	struct error err = { 0 };

	assert_int_equal(ram_create(1 * MIB, NULL, &ram, &err), 0);
	assert_int_equal(board_map_ram(ram, &err), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
	ram_destroy(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_answers_reads_as_ones),
		cmocka_unit_test(smi_command_port_pulls_smi_when_it_is_enabled),
		cmocka_unit_test(closed_a20_gate_aliases_the_first_megabyte),
		cmocka_unit_test(string_io_passes_every_element),
		cmocka_unit_test(the_serial_port_reaches_its_stream),
		cmocka_unit_test(an_isa_interrupt_comes_out_of_the_8259_pair),
		cmocka_unit_test(an_isa_interrupt_comes_out_of_the_ioapic),
		cmocka_unit_test(the_timer_is_irq_0_and_pin_2),
		cmocka_unit_test(the_sci_is_level_triggered_on_irq_9),
		cmocka_unit_test(the_keyboard_is_irq_1),
		cmocka_unit_test(the_clock_is_irq_8),
		cmocka_unit_test(cmos_tells_the_memory),
		cmocka_unit_test(power_off_and_resets_are_told),
		cmocka_unit_test(debug_exit_is_there_only_when_asked_for),
		cmocka_unit_test(the_reset_register_lies_inside_config_address),
		cmocka_unit_test(both_mechanisms_show_the_host_bridge),
		cmocka_unit_test(reset_restores_chips_and_firmware_settings),
		cmocka_unit_test(the_tick_of_a_bios_comes_at_vector_8),
		cmocka_unit_test(ram_has_a_hole_for_vga_and_one_below_4_gib),
		cmocka_unit_test(ram_of_an_impossible_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
