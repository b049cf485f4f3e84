// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/ns16550a.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR };

struct uart {
	struct rig rig;
	struct ns16550a u;
	unsigned rooms;
};

static void on_room(void *opaque)
{
	((struct uart *)opaque)->rooms++;
}

static struct uart *make(void **state)
{
	static struct uart s;

	memset(&s, 0, sizeof(s));
	rig_init(&s.rig);
	ns16550a_init(&s.u, &s.rig.time, &s.rig.line[4], &s.rig.stream);
	s.u.room_again = on_room;
	s.u.room_opaque = &s;
	return &s;
}

static uint8_t in(struct uart *s, unsigned n)
{
	return (uint8_t)ns16550a_ops.read(&s->u, 0, n, 1);
}

static void out(struct uart *s, unsigned n, uint8_t v)
{
	ns16550a_ops.write(&s->u, 0, n, 1, v);
}

static void feed(struct uart *s, const char *text)
{
	assert_int_equal(ns16550a_input(&s->u, (const uint8_t *)text, strlen(text)), strlen(text));
}

/* What Linux's 8250 driver does to find out what it has (drivers/tty/serial/8250/8250_port.c). */
static void uart_is_found_as_16550a_without_bugs(void **state)
{
	struct uart *s = make(state);
	uint8_t status, iir;

	out(s, IER, 0);
	assert_int_equal(in(s, IER) & 0x0f, 0);
	out(s, IER, 0x0f);
	assert_int_equal(in(s, IER) & 0x0f, 0x0f);
	out(s, IER, 0);
	/* loopback test */
	out(s, MCR, 0x10 | 0x08 | 0x02);
	assert_int_equal(in(s, MSR) & 0xf0, 0x90);
	out(s, MCR, 0);
	/* FIFO test: the enhanced feature register of better chips is absent */
	out(s, LCR, 0xbf);
	out(s, IIR, 0);
	out(s, LCR, 0);
	out(s, FCR, 1);
	assert_int_equal(in(s, IIR) >> 6, 3);
	out(s, LCR, 0x80);
	assert_int_not_equal(in(s, IIR), 0);
	out(s, LCR, 0xbf);
	assert_int_not_equal(in(s, IIR), 0);
	/* NS16550A in a Super I/O */
	out(s, LCR, 0);
	status = in(s, MCR);
	out(s, LCR, 0xe0);
	assert_int_equal((in(s, 2) ^ status) & 0x10, 0);
	out(s, LCR, 0);
	out(s, MCR, status ^ 0x10);
	out(s, LCR, 0xe0);
	assert_int_equal((in(s, 2) ^ status) & 0x10, 0);
	out(s, LCR, 0);
	out(s, MCR, status);
	/* 64 byte FIFOs */
	out(s, FCR, 0x21);
	assert_int_equal(in(s, IIR) & 0xe0, 0xc0);
	out(s, LCR, 0x80);
	out(s, FCR, 0x21);
	assert_int_equal(in(s, IIR) & 0xe0, 0xc0);
	out(s, LCR, 0);
	/* XScale's unit enable bit */
	out(s, IER, 0x40);
	assert_int_equal(in(s, IER) & 0x40, 0);
	/* start-up: is the port there, THRE test, TXEN test */
	assert_int_not_equal(in(s, LSR), 0xff);
	out(s, LCR, 3);
	out(s, IER, 2);
	iir = in(s, IIR);
	assert_int_equal(iir & 1, 0);
	out(s, IER, 0);
	out(s, IER, 2);
	iir = in(s, IIR);
	assert_int_equal(iir & 1, 0); /* or else UART_BUG_THRE */
	out(s, IER, 0);
	out(s, IER, 2);
	assert_int_equal(in(s, LSR) & 0x40, 0x40);
	assert_int_equal(in(s, IIR) & 1, 0); /* or else UART_BUG_TXEN */
	out(s, IER, 0);
}

static void uart_divisor_and_scratch_keep_what_was_written(void **state)
{
	struct uart *s = make(state);

	out(s, LCR, 0x83);
	out(s, 0, 0x34);
	out(s, 1, 0x12);
	assert_int_equal(in(s, 0), 0x34);
	assert_int_equal(in(s, 1), 0x12);
	out(s, LCR, 3);
	assert_int_equal(in(s, IER), 0);
	out(s, SCR, 0xa5);
	assert_int_equal(in(s, SCR), 0xa5);
	assert_int_equal(s->rig.out_len, 0);
}

static void uart_sends_and_raises_thr_empty_once(void **state)
{
	struct uart *s = make(state);

	out(s, IER, 2);
	assert_true(s->rig.level[4]);
	assert_int_equal(in(s, IIR), 2);
	assert_false(s->rig.level[4]); /* reading IIR took it back */
	assert_int_equal(in(s, IIR), 1);
	out(s, THR, 'x');
	assert_int_equal(s->rig.out[0], 'x');
	assert_true(s->rig.level[4]);
	assert_int_equal(in(s, IIR), 2);
	assert_int_equal(in(s, IIR), 1);
}

static void uart_keeps_bytes_that_the_back_end_does_not_take(void **state)
{
	struct uart *s = make(state);

	out(s, FCR, 1);
	s->rig.out_room = 1;
	out(s, IER, 2);
	in(s, IIR);
	for (int i = 0; i < 18; i++)
		out(s, THR, (uint8_t)('a' + i));
	assert_int_equal(s->rig.out_len, 1);
	assert_int_equal(in(s, LSR) & 0x60, 0);
	assert_false(s->rig.level[4]);
	s->rig.out_room = 3;
	ns16550a_output_ready(&s->u);
	assert_int_equal(s->rig.out_len, 4);
	assert_int_equal(in(s, LSR) & 0x60, 0);
	assert_false(s->rig.level[4]);
	s->rig.out_room = 100;
	ns16550a_output_ready(&s->u);
	assert_int_equal(s->rig.out_len, 17); /* one from before, 16 of the FIFO; the last was lost */
	assert_memory_equal(s->rig.out, "abcdefghijklmnopq", 17);
	assert_int_equal(in(s, LSR) & 0x60, 0x60);
	assert_true(s->rig.level[4]);
}

static void uart_receives_one_byte_without_fifos(void **state)
{
	struct uart *s = make(state);

	out(s, IER, 1);
	assert_int_equal(ns16550a_room(&s->u), 1);
	assert_int_equal(ns16550a_input(&s->u, (const uint8_t *)"hi", 2), 1);
	assert_true(s->rig.level[4]);
	assert_int_equal(in(s, IIR), 4);
	assert_int_equal(in(s, LSR) & 1, 1);
	assert_int_equal(s->rooms, 0);
	assert_int_equal(in(s, RBR), 'h');
	assert_int_equal(s->rooms, 1);
	assert_false(s->rig.level[4]);
	assert_int_equal(in(s, LSR) & 1, 0);
}

static void uart_trigger_levels_raise_data_interrupt(void **state)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };
	struct uart *s = make(state);

	for (unsigned t = 0; t < 4; t++) {
		out(s, IER, 1);
		out(s, FCR, (uint8_t)(t << 6 | 7));
		assert_int_equal(ns16550a_room(&s->u), 16);
		for (unsigned i = 1; i <= 16; i++) {
			feed(s, "z");
			assert_int_equal(in(s, IIR), i >= level[t] ? 0xc4 : 0xc1);
		}
		for (unsigned i = 15; i + 1 > 0; i--) {
			in(s, RBR);
			assert_int_equal(in(s, IIR), i >= level[t] ? 0xc4 : 0xc1);
		}
	}
}

static void uart_receive_timeout_comes_after_four_characters(void **state)
{
	struct uart *s = make(state);
	uint64_t four = 4 * 10 * 1000000000ull / 9600;

	out(s, LCR, 3); /* 8n1 at 9600 */
	out(s, FCR, 0xc1);
	out(s, IER, 1);
	feed(s, "ab");
	rig_advance(&s->rig, four - 1000);
	assert_false(s->rig.level[4]);
	feed(s, "c"); /* starts it again */
	rig_advance(&s->rig, four - 1000);
	assert_false(s->rig.level[4]);
	rig_advance(&s->rig, 2000);
	assert_true(s->rig.level[4]);
	assert_int_equal(in(s, IIR), 0xcc);
	assert_int_equal(in(s, RBR), 'a');
	assert_int_equal(in(s, IIR), 0xc1); /* reading restarts it */
	assert_false(s->rig.level[4]);
	rig_advance(&s->rig, four);
	assert_int_equal(in(s, IIR), 0xcc);
	in(s, RBR);
	in(s, RBR);
	rig_advance(&s->rig, 10 * four);
	assert_int_equal(in(s, IIR), 0xc1);
}

static void uart_overrun_and_break_are_line_status(void **state)
{
	struct uart *s = make(state);

	out(s, FCR, 1);
	out(s, IER, 4);
	feed(s, "0123456789abcdef");
	ns16550a_break(&s->u); /* nowhere to put it */
	assert_int_equal(in(s, IIR), 0xc6);
	assert_int_equal(in(s, LSR), 0x60 | 1 | 2);
	assert_int_equal(in(s, IIR), 0xc1);
	for (int i = 0; i < 16; i++)
		in(s, RBR);
	feed(s, "x");
	ns16550a_break(&s->u);
	assert_int_equal(in(s, LSR), 0x60 | 1 | 0x80); /* an error somewhere in the FIFO */
	assert_int_equal(in(s, IIR), 0xc1);
	assert_int_equal(in(s, RBR), 'x');
	assert_int_equal(in(s, IIR), 0xc6); /* now it stands at the top */
	assert_int_equal(in(s, LSR), 0x60 | 1 | 0x10 | 0x80);
	assert_int_equal(in(s, LSR), 0x60 | 1);
	assert_int_equal(in(s, RBR), 0);
}

static void uart_interrupts_have_priorities(void **state)
{
	struct uart *s = make(state);

	out(s, FCR, 1);
	out(s, IER, 0x0f);
	ns16550a_modem(&s->u, 0);
	ns16550a_break(&s->u);
	assert_int_equal(in(s, IIR), 0xc6);
	in(s, LSR);
	assert_int_equal(in(s, IIR), 0xc4);
	in(s, RBR);
	assert_int_equal(in(s, IIR), 0xc2);
	assert_int_equal(in(s, IIR), 0xc0);
	assert_int_equal(in(s, MSR), 0x0b);
	assert_int_equal(in(s, IIR), 0xc1);
}

static void uart_loopback_connects_everything_to_itself(void **state)
{
	struct uart *s = make(state);

	in(s, MSR);
	out(s, FCR, 1);
	out(s, MCR, 0x10);
	assert_int_equal(in(s, MSR), 0x0b); /* CTS, DSR, DCD went away */
	out(s, MCR, 0x1f);
	assert_int_equal(in(s, MSR), 0xfb); /* a rising RI does not count */
	out(s, MCR, 0x1b);
	assert_int_equal(in(s, MSR), 0xb4);
	out(s, THR, 'L');
	assert_int_equal(s->rig.out_len, 0);
	assert_int_equal(in(s, LSR), 0x61);
	assert_int_equal(in(s, RBR), 'L');
	assert_int_equal(ns16550a_room(&s->u), 0);
	assert_int_equal(ns16550a_input(&s->u, (const uint8_t *)"x", 1), 0);
	out(s, LCR, 0x40); /* break */
	assert_int_equal(in(s, LSR), 0x60 | 1 | 0x10 | 0x80);
	assert_int_equal(in(s, RBR), 0);
	assert_int_equal(s->rooms, 0);
	out(s, MCR, 0);
	assert_int_equal(s->rooms, 1);
}

static void uart_fifo_control_clears(void **state)
{
	struct uart *s = make(state);

	out(s, FCR, 1);
	s->rig.out_room = 0;
	out(s, THR, 'q');
	feed(s, "abc");
	out(s, FCR, 3);
	assert_int_equal(in(s, LSR), 0);
	feed(s, "abc");
	out(s, FCR, 5);
	assert_int_equal(in(s, LSR), 0x61);
	out(s, FCR, 0); /* turning FIFOs off clears both */
	assert_int_equal(in(s, LSR), 0x60);
	assert_int_equal(in(s, IIR), 1);
}

static void uart_goes_on_from_a_saved_timeout(void **state)
{
	struct uart *s = make(state);
	static struct uart t;

	out(s, LCR, 3);
	out(s, FCR, 0xc1);
	out(s, IER, 1);
	feed(s, "ab");
	rig_advance(&s->rig, 1000000);
	memset(&t, 0, sizeof(t));
	rig_init(&t.rig);
	t.rig.clock = s->rig.clock;
	ns16550a_init(&t.u, &t.rig.time, &t.rig.line[4], &t.rig.stream);
	assert_int_equal(rig_copy(&ns16550a_ops, &s->u, &t.u), 0);
	rig_advance(&t.rig, 3166666 - 1);
	assert_false(t.rig.level[4]);
	rig_advance(&t.rig, 1);
	assert_true(t.rig.level[4]);
	assert_int_equal(in(&t, IIR), 0xcc);
	assert_int_equal(in(&t, RBR), 'a');
	assert_int_equal(in(&t, RBR), 'b');
}

static void uart_refuses_a_state_with_too_many_bytes(void **state)
{
	struct uart *s = make(state);

	s->u.rx_count = 2; /* without FIFOs */
	assert_int_equal(ns16550a_ops.loaded(&s->u), -EPROTO);
	s->u.fcr = 1;
	s->u.rx_count = 17;
	assert_int_equal(ns16550a_ops.loaded(&s->u), -EPROTO);
	s->u.rx_count = 16;
	assert_int_equal(ns16550a_ops.loaded(&s->u), 0);
}

static void uart_wide_accesses_are_split(void **state)
{
	struct uart *s = make(state);

	ns16550a_ops.write(&s->u, 0, SCR, 4, 0x12345678);
	assert_int_equal(in(s, SCR), 0x78);
	assert_int_equal(ns16550a_ops.read(&s->u, 0, SCR, 2), 0xff78);
	assert_int_equal(ns16550a_ops.read(&s->u, 0, 8, 1), 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uart_is_found_as_16550a_without_bugs),
		cmocka_unit_test(uart_divisor_and_scratch_keep_what_was_written),
		cmocka_unit_test(uart_sends_and_raises_thr_empty_once),
		cmocka_unit_test(uart_keeps_bytes_that_the_back_end_does_not_take),
		cmocka_unit_test(uart_receives_one_byte_without_fifos),
		cmocka_unit_test(uart_trigger_levels_raise_data_interrupt),
		cmocka_unit_test(uart_receive_timeout_comes_after_four_characters),
		cmocka_unit_test(uart_overrun_and_break_are_line_status),
		cmocka_unit_test(uart_interrupts_have_priorities),
		cmocka_unit_test(uart_loopback_connects_everything_to_itself),
		cmocka_unit_test(uart_fifo_control_clears),
		cmocka_unit_test(uart_goes_on_from_a_saved_timeout),
		cmocka_unit_test(uart_refuses_a_state_with_too_many_bytes),
		cmocka_unit_test(uart_wide_accesses_are_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
