// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the VGA's registers (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"). */
#include "rig.h"

#include "chip/vga.h"

struct stand {
	struct rig rig;
	struct vga vga;
};

static void begin(struct stand *s)
{
	rig_init(&s->rig);
	vga_init(&s->vga, &s->rig.time);
}

/* The port, as a PC has it. */
static unsigned place(uint16_t port, unsigned *region)
{
	*region = port < 0x3c0 ? VGA_REGION_MONO : port < 0x3d0 ? VGA_REGION_COMMON : VGA_REGION_COLOUR;
	return port - (*region == VGA_REGION_MONO ? 0x3b4 : *region == VGA_REGION_COMMON ? 0x3c0 : 0x3d4);
}

static uint8_t in(struct stand *s, uint16_t port)
{
	unsigned region, offset = place(port, &region);

	return (uint8_t)vga_ops.read(&s->vga, region, offset, 1);
}

static void out(struct stand *s, uint16_t port, uint8_t value)
{
	unsigned region, offset = place(port, &region);

	vga_ops.write(&s->vga, region, offset, 1, value);
}

static uint8_t indexed(struct stand *s, uint16_t port, uint8_t index)
{
	out(s, port, index);
	return in(s, port + 1);
}

static void after_reset_it_is_in_mode_3(void **state)
{
	struct stand s;

	begin(&s);
	assert_int_equal(in(&s, 0x3cc) & 1, 1);
	assert_int_equal(indexed(&s, 0x3d4, 0x01), 79); /* columns - 1 */
	assert_int_equal(indexed(&s, 0x3d4, 0x09) & 0x1f, 15); /* a character's lines - 1 */
	assert_int_equal(indexed(&s, 0x3d4, 0x13), 40); /* words of a row / 2 */
	assert_int_equal(indexed(&s, 0x3ce, 0x06) & 0x0d, 0x0c); /* text, memory at 0xb8000 */
	out(&s, 0x3d4, 0x0f);
	out(&s, 0x3d5, 0x34);
	vga_ops.reset(&s.vga);
	assert_int_equal(indexed(&s, 0x3d4, 0x0f), 0);
}

static void the_cursor_is_kept_in_registers_0e_and_0f(void **state)
{
	struct stand s;

	begin(&s);
	vga_ops.write(&s.vga, VGA_REGION_COLOUR, 0, 2, 0x120e); /* index and data in one write */
	vga_ops.write(&s.vga, VGA_REGION_COLOUR, 0, 2, 0x340f);
	assert_int_equal(indexed(&s, 0x3d4, 0x0e), 0x12);
	assert_int_equal(indexed(&s, 0x3d4, 0x0f), 0x34);
}

/* Miscellaneous output, bit 0: the CRT controller is at 3Dx or at 3Bx. */
static void the_crt_controller_answers_at_one_address(void **state)
{
	struct stand s;

	begin(&s);
	assert_int_equal(in(&s, 0x3b5), 0xff);
	out(&s, 0x3b4, 0x0f);
	assert_int_equal(in(&s, 0x3d4), 0);
	out(&s, 0x3c2, in(&s, 0x3cc) & ~1);
	assert_int_equal(in(&s, 0x3d5), 0xff);
	assert_int_equal(indexed(&s, 0x3b4, 0x01), 79);
}

/* CRT controller 11h, bit 7. */
static void protected_registers_keep_their_values(void **state)
{
	struct stand s;

	begin(&s);
	assert_int_equal(indexed(&s, 0x3d4, 0x11) & 0x80, 0x80);
	out(&s, 0x3d4, 0x00);
	out(&s, 0x3d5, 0x11);
	assert_int_equal(in(&s, 0x3d5), 0x5f);
	out(&s, 0x3d4, 0x07);
	out(&s, 0x3d5, 0x00);
	assert_int_equal(in(&s, 0x3d5), 0x0f); /* but for bit 4 */
	out(&s, 0x3d4, 0x11);
	out(&s, 0x3d5, 0x0e);
	out(&s, 0x3d4, 0x00);
	out(&s, 0x3d5, 0x11);
	assert_int_equal(in(&s, 0x3d5), 0x11);
}

/* 3C0h takes index and data in turn; reading input status 1 makes the next one an index. */
static void the_attribute_controller_takes_index_and_data_in_turn(void **state)
{
	struct stand s;

	begin(&s);
	in(&s, 0x3da);
	out(&s, 0x3c0, 0x05);
	out(&s, 0x3c0, 0x2a);
	out(&s, 0x3c0, 0x06);
	in(&s, 0x3da);
	out(&s, 0x3c0, 0x25);
	assert_int_equal(in(&s, 0x3c1), 0x2a);
	assert_int_equal(in(&s, 0x3c0), 0x25);
	out(&s, 0x3c0, 0x01);
	assert_int_equal(in(&s, 0x3c1), 0x01);
}

static void the_dac_takes_and_gives_three_bytes_a_colour(void **state)
{
	struct stand s;

	begin(&s);
	out(&s, 0x3c8, 254);
	for (unsigned i = 0; i < 9; i++)
		out(&s, 0x3c9, (uint8_t)(0x40 + i)); /* six bits count; 255 is followed by 0 */
	assert_int_equal(in(&s, 0x3c8), 1);
	assert_int_equal(in(&s, 0x3c7), 0);
	out(&s, 0x3c7, 254);
	assert_int_equal(in(&s, 0x3c7), 3);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(in(&s, 0x3c9), i);
	out(&s, 0x3c9, 1);
	out(&s, 0x3c7, 1);
	assert_int_equal(in(&s, 0x3c9), 1); /* an index begins with red again */
}

static void registers_that_are_not_there_read_as_zero_and_take_nothing(void **state)
{
	static const uint16_t ports[] = { 0x3c4, 0x3ce, 0x3d4 };
	struct stand s;

	begin(&s);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned index = 25; index < 256; index++) {
			out(&s, ports[i], (uint8_t)index);
			out(&s, ports[i] + 1, 0xff);
			assert_int_equal(in(&s, ports[i] + 1), 0);
		}
	in(&s, 0x3da);
	out(&s, 0x3c0, 0x3f);
	out(&s, 0x3c0, 0xff);
	assert_int_equal(in(&s, 0x3c1), 0);
}

/* Input status 1, bit 3: 70 retraces a second, each of two lines; bit 0: all that is not shown. */
static void retraces_come_70_times_a_second(void **state)
{
	struct stand s;
	unsigned begins = 0, retrace = 0, blank = 0;
	uint8_t last = 0;

	begin(&s);
	for (unsigned i = 0; i < 1000000; i++) {
		uint8_t now = in(&s, 0x3da);

		begins += now & 8 && !(last & 8);
		retrace += now >> 3 & 1;
		blank += now & 1;
		assert_true(!(now & 8) || now & 1);
		last = now;
		rig_advance(&s.rig, 1000);
	}
	assert_in_range(begins, 69, 71);
	assert_in_range(retrace, 4300, 4600);
	assert_in_range(blank, 270000, 300000);
}

static void an_impossible_state_is_refused(void **state)
{
	struct stand s, t;

	begin(&s);
	begin(&t);
	out(&s, 0x3c9, 1);
	assert_int_equal(rig_copy(&vga_ops, &s.vga, &t.vga), 0);
	assert_int_equal(t.vga.dac_step, 1);
	s.vga.dac_step = 3;
	assert_int_equal(rig_copy(&vga_ops, &s.vga, &t.vga), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_reset_it_is_in_mode_3),
		cmocka_unit_test(the_cursor_is_kept_in_registers_0e_and_0f),
		cmocka_unit_test(the_crt_controller_answers_at_one_address),
		cmocka_unit_test(protected_registers_keep_their_values),
		cmocka_unit_test(the_attribute_controller_takes_index_and_data_in_turn),
		cmocka_unit_test(the_dac_takes_and_gives_three_bytes_a_colour),
		cmocka_unit_test(registers_that_are_not_there_read_as_zero_and_take_nothing),
		cmocka_unit_test(retraces_come_70_times_a_second),
		cmocka_unit_test(an_impossible_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
