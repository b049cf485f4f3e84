// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/device.c, pci.c and mmio.c: registers, negotiation, interrupts, doorbells, reset, pause, saved state. */
#include "echo.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static struct rig rig, other;
static struct echo echo, echo2;

static const struct rig_part parts[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };

static void begin(unsigned mode)
{
	rig_init(&rig, mode);
	echo_init(&echo, &rig);
}

static void end(void)
{
	echo_done(&echo, &rig);
}

static uint64_t bar(unsigned offset, unsigned size)
{
	return bus_read(&rig.mmio, RIG_BAR + offset, size);
}

static uint64_t window(unsigned offset, unsigned size)
{
	return bus_read(&rig.mmio, RIG_MMIO_BASE + offset, size);
}

static uint32_t cfg(unsigned offset, unsigned size)
{
	return (uint32_t)pci_ops.read(&rig.pci, PCI_REGION_ECAM, RIG_SLOT << 15 | offset, size);
}

static void cfg_set(unsigned offset, unsigned size, uint32_t value)
{
	pci_ops.write(&rig.pci, PCI_REGION_ECAM, RIG_SLOT << 15 | offset, size, value);
}

static void features_are_negotiated(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		begin(mode);
		assert_int_equal(rig_features(&rig), 7 | VIRTIO_F_ALL);
		/* none that were not offered, none without VERSION_1, none that the model refuses */
		rig_set_features(&rig, VIRTIO_F_VERSION_1 | 8);
		rig_set_status(&rig, 11);
		assert_int_equal(rig_status(&rig), 3);
		rig_set_features(&rig, 1);
		rig_set_status(&rig, 11);
		assert_int_equal(rig_status(&rig), 3);
		rig_set_features(&rig, VIRTIO_F_VERSION_1 | 2);
		rig_set_status(&rig, 11);
		assert_int_equal(rig_status(&rig), 3);
		/* nor does a driver run without them */
		rig_set_status(&rig, 7);
		assert_int_equal(rig_status(&rig), 3);
		rig_set_features(&rig, VIRTIO_F_VERSION_1 | 3);
		rig_set_status(&rig, 11);
		assert_int_equal(rig_status(&rig), 11);
		/* and they stay */
		rig_set_features(&rig, VIRTIO_F_VERSION_1);
		assert_int_equal(echo.dev.driver_features, VIRTIO_F_VERSION_1 | 3);
		rig_set_status(&rig, 0);
		assert_int_equal(rig_status(&rig), 0);
		assert_int_equal(echo.dev.driver_features, 0);
		end();
	}
}

static void configuration_is_read_at_any_width_and_written_where_that_is_allowed(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		begin(mode);
		assert_int_equal(rig_config(&rig, 0, 8), 0x1122334455667788);
		assert_int_equal(rig_config(&rig, 3, 1), 0x55);
		assert_int_equal(rig_config(&rig, 2, 4), 0x33445566);
		assert_int_equal(rig_config(&rig, ECHO_CONFIG, 4), 0);
		rig_set_config(&rig, 0, 4, 0);
		assert_int_equal(rig_config(&rig, 0, 4), 0x55667788);
		assert_int_equal(echo.config_writes, 0);
		rig_set_config(&rig, 8, 4, 0xcafe);
		assert_int_equal(rig_config(&rig, 8, 4), 0xcafe);
		rig_set_config(&rig, 4, 8, 0x5500000000);
		assert_int_equal(rig_config(&rig, 4, 8), 0x5511223344);
		assert_int_equal(echo.config_writes, 2);
		end();
	}
}

static void a_changed_configuration_has_a_new_generation_and_interrupts(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		unsigned before, generation;

		begin(mode);
		rig_start(&rig, 0, 8);
		before = rig_interrupts(&rig, -1);
		generation = rig_generation(&rig);
		virtio_lock(&echo.dev);
		virtio_config_change(&echo.dev, 0, 2, 0x9999);
		virtio_unlock(&echo.dev);
		assert_int_not_equal(rig_generation(&rig), generation);
		assert_int_equal(rig_config(&rig, 0, 4), 0x55669999);
		if (mode & RIG_MMIO)
			assert_int_equal(window(0x60, 4), 2);
		assert_int_equal(rig_interrupts(&rig, -1), before + 1);
		end();
	}
}

static void the_card_tells_what_it_is_and_where_its_structures_are(void **state)
{
	unsigned seen = 0, at;

	begin(0);
	assert_int_equal(cfg(0, 4), (0x1040u + ECHO_ID) << 16 | 0x1af4);
	assert_int_equal(cfg(PCI_REVISION, 1), 1);
	for (at = cfg(PCI_CAPABILITIES, 1); at; at = cfg(at + 1, 1)) {
		unsigned type = cfg(at + 3, 1), offset = cfg(at + 8, 4), len = cfg(at + 12, 4);

		if (cfg(at, 1) == PCI_CAPABILITY_MSIX) {
			assert_int_equal(cfg(at + 2, 2) & 0x7ff, ECHO_QUEUES);
			continue;
		}
		assert_int_equal(cfg(at, 1), PCI_CAPABILITY_VENDOR);
		seen |= 1u << type;
		if (type == 5)
			continue;
		assert_int_equal(cfg(at + 4, 1), 4);
		assert_true(offset + len <= VIRTIO_PCI_BAR_SIZE);
		if (type == 2) {
			assert_int_equal(cfg(at + 2, 1), 20);
			assert_int_equal(cfg(at + 16, 4), 4);
			assert_int_equal(len, 4 * ECHO_QUEUES);
		}
	}
	assert_int_equal(seen, 0x3e);
	assert_int_equal(bar(0x12, 2), ECHO_QUEUES);
	end();
}

static void the_window_tells_what_it_is(void **state)
{
	begin(RIG_MMIO);
	assert_int_equal(window(0, 4), 0x74726976);
	assert_int_equal(window(4, 4), 2);
	assert_int_equal(window(8, 4), ECHO_ID);
	assert_int_equal(window(0xb0, 4), 0xffffffff);
	assert_int_equal(window(0, 2), 0);
	assert_int_equal(window(0x1, 4), 0);
	assert_int_equal(rig_queue_max(&rig, 1), ECHO_SIZE);
	assert_int_equal(rig_queue_max(&rig, 2), 0);
	assert_int_equal(rig_queue_max(&rig, 0xffffffff), 0);
	end();
}

static void queues_that_are_not_there_read_as_0_and_take_nothing(void **state)
{
	begin(0);
	rig_start(&rig, 0, 8);
	bus_write(&rig.mmio, RIG_BAR + 0x16, 2, 2);
	for (unsigned offset = 0x18; offset < 0x40; offset++)
		bus_write(&rig.mmio, RIG_BAR + offset, 2, 0xffff);
	assert_int_equal(bar(0x18, 2), 0);
	assert_int_equal(bar(0x1c, 2), 0);
	assert_int_equal(bar(0x20, 4), 0);
	/* the 63 vectors that are not there either */
	bus_write(&rig.mmio, RIG_BAR + 0x16, 2, 1);
	bus_write(&rig.mmio, RIG_BAR + 0x1a, 2, ECHO_QUEUES + 1);
	assert_int_equal(bar(0x1a, 2), 0xffff);
	bus_write(&rig.mmio, RIG_BAR + 0x10, 2, 99);
	assert_int_equal(bar(0x10, 2), 0xffff);
	/* a queue that is ready keeps its place */
	bus_write(&rig.mmio, RIG_BAR + 0x20, 4, 0);
	bus_write(&rig.mmio, RIG_BAR + 0x18, 2, 4);
	assert_int_equal(bar(0x20, 4), rig.q[1].desc);
	assert_int_equal(bar(0x18, 2), 8);
	end();
}

static void queues_are_made_ready_only_after_features(void **state)
{
	begin(RIG_MMIO);
	bus_write(&rig.mmio, RIG_MMIO_BASE + 0x44, 4, 1);
	assert_int_equal(window(0x44, 4), 0);
	end();
}

static void a_queue_that_cannot_be_costs_the_guest_its_device(void **state)
{
	begin(RIG_MMIO);
	rig_set_features(&rig, VIRTIO_F_VERSION_1);
	rig_set_status(&rig, 11);
	bus_write(&rig.mmio, RIG_MMIO_BASE + 0x38, 4, 24);
	bus_write(&rig.mmio, RIG_MMIO_BASE + 0x44, 4, 1);
	assert_int_equal(window(0x44, 4), 0);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

static void without_msix_the_pin_is_asserted_until_the_isr_is_read(void **state)
{
	begin(0);
	cfg_set(rig.card.msix.capability + 2u, 2, 0);
	rig_start(&rig, 0, 8);
	rig_do(&rig, 0, parts, 1, 1);
	assert_int_equal(rig.lines, 1 << RIG_SLOT);
	assert_int_equal(bar(VIRTIO_PCI_ISR, 1), 1);
	assert_int_equal(rig.lines, 0);
	assert_int_equal(bar(VIRTIO_PCI_ISR, 1), 0);
	virtio_lock(&echo.dev);
	virtio_config_change(&echo.dev, 0, 1, 0);
	virtio_unlock(&echo.dev);
	rig_do(&rig, 1, parts, 1, 1);
	assert_int_equal(bar(VIRTIO_PCI_ISR, 1), 3);
	end();
}

static void the_line_is_asserted_until_it_is_acknowledged(void **state)
{
	begin(RIG_MMIO);
	rig_start(&rig, 0, 8);
	rig_do(&rig, 0, parts, 1, 1);
	assert_true(rig.level);
	assert_int_equal(window(0x60, 4), 1);
	bus_write(&rig.mmio, RIG_MMIO_BASE + 0x64, 4, 2);
	assert_true(rig.level);
	bus_write(&rig.mmio, RIG_MMIO_BASE + 0x64, 4, 1);
	assert_false(rig.level);
	end();
}

static void a_reset_takes_interrupts_back(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		begin(mode);
		if (!mode)
			cfg_set(rig.card.msix.capability + 2u, 2, 0);
		rig_start(&rig, 0, 8);
		rig_do(&rig, 0, parts, 1, 1);
		assert_true(mode ? rig.level : rig.lines == 1 << RIG_SLOT);
		rig_set_status(&rig, 0);
		assert_false(mode ? rig.level : rig.lines);
		end();
	}
}

static void a_masked_vector_waits(void **state)
{
	begin(0);
	rig_start(&rig, 0, 8);
	bus_write(&rig.mmio, RIG_MSIX_BAR + 16 + 12, 4, 1);
	rig_do(&rig, 0, parts, 1, 1);
	assert_int_equal(rig.interrupts[1], 0);
	bus_write(&rig.mmio, RIG_MSIX_BAR + 16 + 12, 4, 0);
	assert_int_equal(rig.interrupts[1], 1);
	assert_int_equal(rig.lines, 0);
	end();
}

static void doorbells_are_in_place_while_the_driver_runs(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		uint64_t one = 1;

		begin(mode);
		assert_int_equal(rig.doorbell_count, 0);
		rig_start(&rig, 0, 8);
		assert_int_equal(rig.doorbell_count, ECHO_QUEUES);
		assert_int_equal(rig.doorbell[1].address,
				 mode ? RIG_MMIO_BASE + 0x50 : RIG_BAR + VIRTIO_PCI_NOTIFY + 4);
		assert_int_equal(rig.doorbell[1].match, !!mode);
		assert_int_equal(rig.doorbell[1].value, mode ? 1 : 0);
		/* the engine's signal does what the exit does */
		rig_add(&rig, 1, parts, 1, 1);
		assert_int_equal(write(rig.doorbell[1].fd, &one, 8), 8);
		rig_run(&rig);
		assert_true(rig_used(&rig, 1, NULL, NULL));
		if (!mode) {
			cfg_set(PCI_BAR0 + 16, 4, 0xc0010000);
			assert_int_equal(rig.doorbell_count, ECHO_QUEUES);
			assert_int_equal(rig.doorbell[0].address & ~7ull, 0xc0010000 + VIRTIO_PCI_NOTIFY);
			cfg_set(PCI_COMMAND, 2, 0);
			assert_int_equal(rig.doorbell_count, 0);
			cfg_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
			assert_int_equal(rig.doorbell_count, ECHO_QUEUES);
			cfg_set(PCI_BAR0 + 16, 4, (uint32_t)RIG_BAR);
		}
		rig_set_status(&rig, 0);
		assert_int_equal(rig.doorbell_count, 0);
		end();
	}
}

static void a_device_runs_queues_only_for_a_driver_that_is_ready(void **state)
{
	begin(0);
	rig_kick(&rig, 0);
	rig_kick(&rig, 1000);
	rig_run(&rig);
	assert_int_equal(echo.queue_calls, 0);
	rig_start(&rig, 0, 8);
	assert_int_equal(echo.starts, 1);
	/* what was made available before DRIVER_OK is found */
	assert_int_equal(echo.queue_calls, ECHO_QUEUES);
	end();
}

static void a_reset_waits_for_what_is_in_flight(void **state)
{
	begin(0);
	echo.hold = true;
	rig_start(&rig, 0, 8);
	rig_add(&rig, 0, parts, 1, 1);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_int_equal(echo.held, 1);
	echo.resets = 0;
	rig_set_status(&rig, 0);
	assert_int_not_equal(rig_status(&rig), 0);
	assert_int_equal(rig.doorbell_count, 0);
	/* nothing else happens until then */
	rig_set_status(&rig, 1);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_int_equal(echo.resets, 0);
	echo_release(&echo, 0);
	assert_int_equal(rig_status(&rig), 0);
	assert_int_equal(echo.resets, 1);
	assert_int_equal(rig_interrupts(&rig, 0), 0);
	echo.hold = false;
	rig_start(&rig, 0, 8);
	assert_int_equal(rig_do(&rig, 0, parts, 1, 1), 8);
	end();
}

static void *release_later(void *opaque)
{
	struct pollfd nothing = { .fd = -1 };

	poll(&nothing, 1, 20);
	echo_release(opaque, 0);
	return NULL;
}

static void reset_by_mmio_and_pause_return_when_nothing_is_in_flight(void **state)
{
	for (unsigned pause = 0; pause < 2; pause++) {
		pthread_t t;

		begin(RIG_MMIO);
		echo.hold = true;
		rig_start(&rig, 0, 8);
		rig_add(&rig, 0, parts, 1, 1);
		rig_kick(&rig, 0);
		rig_run(&rig);
		assert_int_equal(pthread_create(&t, NULL, release_later, &echo), 0);
		if (pause)
			virtio_pause(&echo.dev);
		else
			rig_set_status(&rig, 0);
		assert_int_equal(echo.held, 0);
		assert_int_equal(echo.dev.in_flight, 0);
		assert_int_equal(rig_status(&rig), pause ? 15 : 0);
		pthread_join(t, NULL);
		end();
	}
}

static void a_paused_device_is_still_and_goes_on_where_it_was(void **state)
{
	RIG_EACH(mode) {
		begin(mode);
		rig_start(&rig, 0, 8);
		virtio_pause(&echo.dev);
		rig_add(&rig, 0, parts, 1, 1);
		rig_kick(&rig, 0);
		rig_run(&rig);
		assert_false(rig_used(&rig, 0, NULL, NULL));
		virtio_resume(&echo.dev);
		rig_run(&rig);
		assert_true(rig_used(&rig, 0, NULL, NULL));
		end();
	}
}

static void registers_can_be_reached_through_configuration_space(void **state)
{
	unsigned w;

	begin(0);
	w = rig.card.window;
	cfg_set(w + 4, 1, 4);
	cfg_set(w + 8, 4, 0);
	cfg_set(w + 12, 4, 4);
	cfg_set(w + 16, 4, 1); /* device_feature_select */
	cfg_set(w + 8, 4, 4);
	assert_int_equal(cfg(w + 16, 4), VIRTIO_F_ALL >> 32);
	cfg_set(w + 8, 4, 0x14);
	cfg_set(w + 12, 4, 1);
	cfg_set(w + 16, 1, 3);
	assert_int_equal(rig_status(&rig), 3);
	assert_int_equal(cfg(w + 16, 1), 3);
	/* the MSI-X table too */
	cfg_set(w + 4, 1, 1);
	cfg_set(w + 8, 4, 8);
	cfg_set(w + 12, 4, 4);
	cfg_set(w + 16, 4, 0x1234);
	assert_int_equal(bus_read(&rig.mmio, RIG_MSIX_BAR + 8, 4), 0x1234);
	assert_int_equal(cfg(w + 16, 4), 0x1234);
	/* windows that cannot be are shut */
	cfg_set(w + 8, 4, 10);
	cfg_set(w + 16, 4, 0x55);
	cfg_set(w + 8, 4, 0xfffffffc);
	cfg_set(w + 16, 4, 0x55);
	assert_int_equal(cfg(w + 16, 4), 0x55);
	cfg_set(w + 4, 1, 0);
	cfg_set(w + 8, 4, 8);
	cfg_set(w + 16, 4, 0x55);
	cfg_set(w + 4, 1, 1);
	cfg_set(w + 12, 4, 3);
	cfg_set(w + 16, 4, 0x55);
	assert_int_equal(bus_read(&rig.mmio, RIG_MSIX_BAR + 8, 4), 0x1234);
	end();
}

static void a_saved_device_goes_on_where_it_was(void **state)
{
	RIG_EACH(mode) {
		begin(mode);
		rig_start(&rig, 0, 8);
		for (unsigned i = 0; i < 11; i++)
			rig_do(&rig, 0, parts, 1, 1);
		/* made available, not yet seen */
		virtio_pause(&echo.dev);
		rig_add(&rig, 0, parts, 1, 1);
		rig_kick(&rig, 0);
		rig_set_config(&rig, 8, 4, 0xabcd);

		rig_init(&other, mode);
		echo_init(&echo2, &other);
		assert_int_equal(rig_copy(&rig, &other, NULL, NULL, NULL), 0);
		assert_int_equal(other.doorbell_count, ECHO_QUEUES);
		assert_int_equal(rig_status(&other), 15);
		assert_int_equal(rig_config(&other, 8, 4), 0xabcd);
		assert_true(rig_used(&other, 0, NULL, NULL));
		assert_int_equal(rig_interrupts(&other, 0), 1);
		for (unsigned i = 0; i < 11; i++)
			assert_int_equal(rig_do(&other, i & 1, parts, 1, 1), 8);
		echo_done(&echo2, &other);
		end();
	}
}

static void an_interrupt_that_was_not_taken_is_there_after_loading(void **state)
{
	begin(RIG_MMIO);
	rig_start(&rig, 0, 8);
	rig_do(&rig, 0, parts, 1, 1);
	rig_init(&other, RIG_MMIO);
	echo_init(&echo2, &other);
	assert_int_equal(rig_copy(&rig, &other, NULL, NULL, NULL), 0);
	assert_true(other.level);
	echo_done(&echo2, &other);
	end();
}

static void loading_refuses_states_that_cannot_be(void **state)
{
	for (unsigned what = 0; what < 6; what++) {
		begin(0);
		rig_start(&rig, 0, 8);
		switch (what) {
		case 0: echo.dev.driver_features |= 1ull << 50; break;
		case 1: echo.dev.status = VIRTIO_DRIVER_OK; break;
		case 2: echo.dev.queue[ECHO_QUEUES] = echo.dev.queue[0]; break;
		case 3: echo.dev.queue[0].size = 9; break;
		case 4: rig.card.isr = 4; break;
		default: echo.dev.config[ECHO_CONFIG] = 1; break;
		}
		rig_init(&other, 0);
		echo_init(&echo2, &other);
		assert_int_equal(rig_copy(&rig, &other, NULL, NULL, NULL), -EPROTO);
		rig.card.isr = 0;
		echo_done(&echo2, &other);
		end();
	}
}

static void power_on_resets_everything(void **state)
{
	for (unsigned mode = 0; mode <= RIG_MMIO; mode += RIG_MMIO) {
		begin(mode);
		rig_start(&rig, 0, 8);
		rig_do(&rig, 0, parts, 1, 1);
		if (mode) {
			virtio_mmio_ops.reset(&rig.window);
		} else {
			pci_device_ops.reset(&rig.card.pci);
			virtio_pci_ops.reset(&rig.card);
		}
		virtio_device_ops.reset(&echo.dev);
		assert_int_equal(rig.doorbell_count, 0);
		assert_false(rig.level);
		assert_int_equal(echo.dev.status, 0);
		assert_false(echo.dev.queue[0].ready);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_negotiated),
		cmocka_unit_test(configuration_is_read_at_any_width_and_written_where_that_is_allowed),
		cmocka_unit_test(a_changed_configuration_has_a_new_generation_and_interrupts),
		cmocka_unit_test(the_card_tells_what_it_is_and_where_its_structures_are),
		cmocka_unit_test(the_window_tells_what_it_is),
		cmocka_unit_test(queues_that_are_not_there_read_as_0_and_take_nothing),
		cmocka_unit_test(queues_are_made_ready_only_after_features),
		cmocka_unit_test(a_queue_that_cannot_be_costs_the_guest_its_device),
		cmocka_unit_test(without_msix_the_pin_is_asserted_until_the_isr_is_read),
		cmocka_unit_test(the_line_is_asserted_until_it_is_acknowledged),
		cmocka_unit_test(a_reset_takes_interrupts_back),
		cmocka_unit_test(a_masked_vector_waits),
		cmocka_unit_test(doorbells_are_in_place_while_the_driver_runs),
		cmocka_unit_test(a_device_runs_queues_only_for_a_driver_that_is_ready),
		cmocka_unit_test(a_reset_waits_for_what_is_in_flight),
		cmocka_unit_test(reset_by_mmio_and_pause_return_when_nothing_is_in_flight),
		cmocka_unit_test(a_paused_device_is_still_and_goes_on_where_it_was),
		cmocka_unit_test(registers_can_be_reached_through_configuration_space),
		cmocka_unit_test(a_saved_device_goes_on_where_it_was),
		cmocka_unit_test(an_interrupt_that_was_not_taken_is_there_after_loading),
		cmocka_unit_test(loading_refuses_states_that_cannot_be),
		cmocka_unit_test(power_on_resets_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
