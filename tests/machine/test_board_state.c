// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tests of saving and loading a whole board: in the middle of an operation, into a fresh board, and
 * both go on alike.
 */
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct stream {
	struct state_writer *w;
	const void *bytes;
	size_t len;
};

static struct stream save(struct machine *m)
{
	struct stream s;

	assert_int_equal(state_writer_create(&s.w), 0);
	board_save(m->board, s.w);
	assert_int_equal(state_writer_finish(s.w, &s.bytes, &s.len), 0);
	return s;
}

static int load_stream(struct machine *m, const void *bytes, size_t len)
{
	struct state_reader *r;
	int ret = state_reader_create(bytes, len, &r);

	if (ret)
		return ret;
	ret = board_load(m->board, r);
	if (!ret)
		ret = state_reader_finish(r);
	else
		assert_true(state_reader_why(r)[0]);
	state_reader_destroy(r);
	return ret;
}

/* Loads @from's state into a new machine with the same time. */
static struct machine *twin(struct machine *from, unsigned mib, unsigned cpus)
{
	struct machine *to = machine_new(mib, cpus, false);
	struct stream s = save(from);

	to->clock = from->clock;
	assert_int_equal(load_stream(to, s.bytes, s.len), 0);
	state_writer_destroy(s.w);
	return to;
}

/* Saved states of both are the same bytes. */
static void assert_alike(struct machine *a, struct machine *b)
{
	struct stream x = save(a), y = save(b);

	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.bytes, y.bytes, x.len);
	state_writer_destroy(x.w);
	state_writer_destroy(y.w);
}

static void pic_unmask(struct machine *m)
{
	static const uint8_t icw[4] = { 0x11, 0x20, 4, 1 };

	out(m, 0x20, 1, icw[0]);
	for (unsigned j = 1; j < 4; j++)
		out(m, 0x21, 1, icw[j]);
	out(m, 0x21, 1, 0xee);
}

static void operations_in_their_middle_go_on(void **state)
{
	struct machine *a = machine_new(32, 2, false), *b;

	pic_unmask(a);
	out(a, 0xa0, 1, 0x11);	/* the slave's ICW1: it waits for ICW2 */
	out(a, 0x43, 1, 0x34);	/* counter 0, mode 2: only the low byte is there */
	out(a, 0x40, 1, 0x10);
	out(a, 0x70, 1, 0x34);	/* an index without its data */
	out(a, 0x64, 1, 0x60);	/* a command that waits for its byte */
	out(a, 0xcf8, 4, 0x80000004);
	store(a, BOARD_IOAPIC_BASE, 4, 0x18); /* selected: pin 4, low */
	out(a, 0x3fb, 1, 0x80);	/* DLAB */
	b = twin(a, 32, 2);
	assert_alike(a, b);
	for (unsigned i = 0; i < 2; i++) {
		struct machine *m = i ? b : a;

		out(m, 0xa1, 1, 0x70);
		out(m, 0xa1, 1, 2);
		out(m, 0xa1, 1, 1);
		out(m, 0x40, 1, 0x20);
		out(m, 0x71, 1, 0x77);
		out(m, 0x60, 1, 0x41);
		out(m, 0xcfd, 1, 0x01);
		store(m, BOARD_IOAPIC_BASE + 0x10, 4, 0x55);
		out(m, 0x3f8, 1, 3);
		machine_advance(m, 50000000);
	}
	assert_alike(a, b);
	assert_int_equal(load(b, BOARD_IOAPIC_BASE + 0x10, 4) & 0xff, 0x55);
	assert_int_equal(in(b, 0xcfd, 1), 0x01);
	machine_free(a);
	machine_free(b);
}

static void a_pending_interrupt_is_pending_after_loading(void **state)
{
	struct machine *a = machine_new(32, 1, false), *b;

	pic_unmask(a);
	out(a, 0x3fc, 1, 8);
	out(a, 0x3f9, 1, 2);
	assert_true(a->log.extint);
	b = twin(a, 32, 1);
	assert_true(b->log.extint);
	assert_int_equal(board_extint_ack(b->board), 0x24);
	machine_free(a);
	machine_free(b);
}

static void loading_makes_up_no_edges(void **state)
{
	struct machine *a = machine_new(32, 1, false), *b;

	/* The line is up, its edge was seen and acknowledged. */
	pic_unmask(a);
	store(a, BOARD_IOAPIC_BASE, 4, 0x18);
	store(a, BOARD_IOAPIC_BASE + 0x10, 4, 0x44);
	out(a, 0x3fc, 1, 8);
	out(a, 0x3f9, 1, 2);
	assert_int_equal(board_extint_ack(a->board), 0x24);
	out(a, 0x20, 1, 0x20);
	b = twin(a, 32, 1);
	assert_false(b->log.extint);
	assert_int_equal(b->log.msis, 0);
	assert_int_equal(board_extint_ack(b->board), -EAGAIN);
	machine_free(a);
	machine_free(b);
}

static void routes_and_timers_are_told_again(void **state)
{
	struct machine *a = machine_new(32, 1, false), *b;

	store(a, BOARD_IOAPIC_BASE, 4, 0x14);
	store(a, BOARD_IOAPIC_BASE + 0x10, 4, 0x8055);
	out(a, 0x43, 1, 0x34);
	out(a, 0x40, 1, 0);
	out(a, 0x40, 1, 0x80);
	b = twin(a, 32, 1);
	assert_int_equal(b->log.routes, 1);
	assert_int_equal(b->log.route[0].data & 0x80ff, 0x8055);
	assert_int_equal(b->log.timer_ns, a->log.timer_ns);
	machine_free(a);
	machine_free(b);
}

static void another_board_does_not_fit(void **state)
{
	struct machine *a = machine_new(32, 1, false), *more = machine_new(64, 1, false),
		       *cpus = machine_new(32, 2, false);
	struct stream s = save(a);

	assert_int_equal(load_stream(more, s.bytes, s.len), -EPROTO);
	assert_int_equal(load_stream(cpus, s.bytes, s.len), -EPROTO);
	state_writer_destroy(s.w);
	machine_free(a);
	machine_free(more);
	machine_free(cpus);
}

/* The stream is hostile: it is refused or taken, and the board answers after it. */
static void damaged_streams_do_no_harm(void **state)
{
	struct machine *a = machine_new(16, 1, false);
	struct stream s;
	uint8_t *bytes;
	uint32_t seed = 12345;

	pic_unmask(a);
	s = save(a);
	bytes = malloc(s.len);
	assert_non_null(bytes);
	for (unsigned round = 0; round < 3000; round++) {
		size_t len = s.len;

		memcpy(bytes, s.bytes, s.len);
		for (unsigned i = 0; i < 1 + round % 3; i++) {
			seed = seed * 1103515245 + 12345;
			bytes[(seed >> 8) % s.len] ^= 1u << (seed & 7);
		}
		if (round % 7 == 0)
			len = (seed >> 4) % s.len;
		load_stream(a, bytes, len);
		machine_advance(a, 1000000);
		in(a, 0x40, 1);
		in(a, 0x71, 1);
		in(a, 0x3f8, 1);
	}
	free(bytes);
	state_writer_destroy(s.w);
	machine_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_in_their_middle_go_on),
		cmocka_unit_test(a_pending_interrupt_is_pending_after_loading),
		cmocka_unit_test(loading_makes_up_no_edges),
		cmocka_unit_test(routes_and_timers_are_told_again),
		cmocka_unit_test(another_board_does_not_fit),
		cmocka_unit_test(damaged_streams_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
