// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tests of machine/cards.c: a card on the board, driven as a guest does, with its I/O thread running. What a device does with its queues in
 * all cases is for tests/virtio.
 */
#include "util.h"

#include "bus/pci.h"
#include "machine/cards.h"
#include "virtio/pci.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	BAR = 0xc0000000u,
	DESC = 0x10000, /* the queue's three areas, and a buffer */
	AVAIL = 0x11000,
	USED = 0x12000,
	BUFFER = 0x20000,
	BUFFER_SIZE = 256,
	SIZE = 8,
};

static uint64_t config_at(unsigned offset)
{
	return BOARD_ECAM_BASE + (CARD_SLOT_RNG << 15) + offset;
}

static void common(struct machine *m, unsigned offset, unsigned size, uint64_t value)
{
	store(m, BAR + VIRTIO_PCI_COMMON + offset, size, value);
}

static void ram_put(struct machine *m, uint64_t gpa, const void *bytes, size_t len)
{
	assert_int_equal(ram_write(m->ram, gpa, bytes, len), 0);
}

static void ram_put16(struct machine *m, uint64_t gpa, uint16_t v)
{
	ram_put(m, gpa, &v, sizeof(v));
}

static unsigned used(struct machine *m)
{
	uint16_t v;

	ram_get(m->ram, USED + 2, &v, sizeof(v));
	return v;
}

/* A driver that asks for bytes without MSI-X, up to DRIVER_OK (virtio 1.2, 3.1). */
static void start_driver(struct machine *m)
{
	const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc = { BUFFER, BUFFER_SIZE, 2 /* WRITE */, 0 };

	store(m, config_at(PCI_BAR0 + 16), 4, BAR);
	store(m, config_at(PCI_BAR0 + 20), 4, 0);
	store(m, config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	common(m, 0x14, 1, 0);
	common(m, 0x14, 1, 1 | 2); /* ACKNOWLEDGE, DRIVER */
	common(m, 0x08, 4, 1);
	common(m, 0x0c, 4, 1); /* VERSION_1 */
	common(m, 0x14, 1, 1 | 2 | 8); /* FEATURES_OK */
	assert_int_equal(load(m, BAR + VIRTIO_PCI_COMMON + 0x14, 1), 1 | 2 | 8);
	ram_put(m, DESC, &desc, sizeof(desc));
	common(m, 0x16, 2, 0);
	common(m, 0x18, 2, SIZE);
	common(m, 0x20, 8, DESC);
	common(m, 0x28, 8, AVAIL);
	common(m, 0x30, 8, USED);
	common(m, 0x1c, 2, 1);
	common(m, 0x14, 1, 1 | 2 | 8 | 4); /* DRIVER_OK */
}

/* The @n-th request, from 1 on. */
static void ask(struct machine *m, uint16_t n)
{
	ram_put16(m, AVAIL + 4 + 2 * (uint64_t)((n - 1) % SIZE), 0);
	ram_put16(m, AVAIL + 2, n);
	store(m, BAR + VIRTIO_PCI_NOTIFY, 2, 0);
}

static void wait_for(struct machine *m, unsigned n)
{
	while (used(m) != n)
		usleep(100); /* the test's time limit ends it */
}

static void assert_filled(struct machine *m)
{
	uint8_t bytes[BUFFER_SIZE], zero[BUFFER_SIZE] = { 0 };

	ram_get(m->ram, BUFFER, bytes, sizeof(bytes));
	assert_memory_not_equal(bytes, zero, sizeof(bytes));
	ram_put(m, BUFFER, zero, sizeof(zero));
}

static struct machine *with_rng(void)
{
	struct machine *m = machine_with(32, &(struct board_config){ .cpus = 1, .rng = true });

	return m;
}

static void a_board_without_cards_has_none(void **state)
{
	struct machine *m = machine_new(32, 1, false);

	assert_int_equal(load(m, config_at(PCI_VENDOR_ID), 4), 0xffffffff);
	board_pause(m->board);
	board_resume(m->board);
	board_lines(m->board);
	machine_free(m);
}

static void a_request_is_answered_and_raises_the_pin(void **state)
{
	struct machine *m = with_rng();

	assert_int_equal(load(m, config_at(PCI_VENDOR_ID), 4), 0x10441af4);
	start_driver(m);
	for (unsigned n = 1; n <= 3 * SIZE; n++) {
		ask(m, (uint16_t)n);
		wait_for(m, n);
		assert_filled(m);
		while (!(load(m, config_at(PCI_STATUS), 2) & PCI_STATUS_INTX)) {
			if (atomic_load(&m->log.lines))
				board_lines(m->board);
			usleep(100);
		}
		assert_int_equal(load(m, BAR + VIRTIO_PCI_ISR, 1), 1); /* and that takes the pin down */
		assert_false(load(m, config_at(PCI_STATUS), 2) & PCI_STATUS_INTX);
	}
	machine_free(m);
}

static void a_paused_board_touches_no_memory(void **state)
{
	struct machine *m = with_rng();

	start_driver(m);
	for (unsigned n = 1; n <= 20; n++) {
		board_pause(m->board);
		ask(m, (uint16_t)n);
		usleep(1000);
		assert_int_equal(used(m), n - 1);
		board_resume(m->board);
		wait_for(m, n);
	}
	machine_free(m);
}

static void what_was_saved_goes_on_in_another_board(void **state)
{
	struct machine *a = with_rng(), *b = with_rng();
	struct state_writer *w;
	struct state_reader *r;
	const void *bytes;
	size_t len;

	start_driver(a);
	ask(a, 1);
	wait_for(a, 1);
	board_pause(a->board);
	ask(a, 2); /* waits in the ring */
	assert_int_equal(state_writer_create(&w), 0);
	board_save(a->board, w);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);

	board_pause(b->board);
	for (uint64_t gpa = DESC; gpa < BUFFER; gpa += 4) {
		uint32_t v;

		ram_get(a->ram, gpa, &v, sizeof(v));
		ram_put(b, gpa, &v, sizeof(v));
	}
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(board_load(b->board, r), 0);
	state_reader_destroy(r);
	state_writer_destroy(w);
	board_resume(b->board);
	wait_for(b, 2);
	assert_filled(b);
	ask(b, 3);
	wait_for(b, 3);
	assert_int_equal(used(a), 1);
	machine_free(a);
	machine_free(b);
}

static void a_reset_board_forgets_the_driver(void **state)
{
	struct machine *m = with_rng();

	start_driver(m);
	ask(m, 1);
	wait_for(m, 1);
	board_reset(m->board);
	store(m, config_at(PCI_BAR0 + 16), 4, BAR);
	store(m, config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
	assert_int_equal(load(m, BAR + VIRTIO_PCI_COMMON + 0x14, 1), 0);
	ask(m, 2);
	usleep(1000);
	assert_int_equal(used(m), 1);
	machine_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_board_without_cards_has_none),
		cmocka_unit_test(a_request_is_answered_and_raises_the_pin),
		cmocka_unit_test(a_paused_board_touches_no_memory),
		cmocka_unit_test(what_was_saved_goes_on_in_another_board),
		cmocka_unit_test(a_reset_board_forgets_the_driver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
