// SPDX-License-Identifier: GPL-2.0-or-later
/* Saving and loading a whole VM; over a scripted engine. */
#include "fake.h"

#include "vm/vm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct vm *vm;
static struct vm_result result;
static pthread_t runner;
static _Atomic bool runs;

static const struct act script[] = {
	OUT(0x80, 1),
	{ .kind = ACT_LOAD, .addr = 0xfec00000, .size = 4, .more = true },
	{ .kind = ACT_STORE, .addr = 0xfec00010, .size = 4 },
	DO_WITH(WAIT, 0),
	OUT(0x81, 1),
	POWER_OFF,
	DO(SPIN),
};

static const char *model; /* of the next VM; NULL: the default */

static int make(unsigned cpus, uint64_t mem)
{
	struct vm_config config = { .name = "test", .cpu = model, .cpus = cpus, .mem = mem, .kernel = "kernel" };
	struct error err;
	int ret;

	fake_init(cpus);
	fake.script[0] = script;
	ret = vm_create(&config, &vm, &err);
	return ret ? ret : vm_boot(vm, &err);
}

static void *run_thread(void *arg)
{
	vm_run(vm, &result);
	return NULL;
}

static int teardown(void **state)
{
	if (vm && atomic_load(&runs)) { /* a failed assertion left it running */
		vm_stop(vm);
		pthread_join(runner, NULL);
	}
	vm_destroy(vm);
	vm = NULL;
	assert_false(fake.devices_wrong);
	return 0;
}

/* Runs a VM to its wait, pauses and saves it there, ends it. The stream is the caller's. */
static void save_in_the_middle(void **bytes, size_t *len)
{
	static const uint8_t pattern[] = "not zero";
	struct state_writer *w;
	const void *stream;

	assert_int_equal(make(2, 16 << 20), 0);
	assert_int_equal(ram_write(fake.config->ram, 0x1ff8, pattern, sizeof(pattern)), 0);
	assert_int_equal(ram_write(fake.config->ram, BOARD_HIGH_RAM_BASE + (8 << 20) - 16, pattern, sizeof(pattern)), 0);
	runs = true;
	pthread_create(&runner, NULL, run_thread, NULL);
	assert_true(fake_reaches(0, 3));
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), -EBUSY);
	assert_int_equal(vm_pause(vm), 0);
	state_writer_destroy(w);
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), 0);
	assert_int_equal(state_writer_finish(w, &stream, len), 0);
	*bytes = malloc(*len);
	memcpy(*bytes, stream, *len);
	state_writer_destroy(w);
	vm_stop(vm);
	pthread_join(runner, NULL);
	runs = false;
	vm_destroy(vm);
	vm = NULL;
}

static void a_loaded_vm_goes_on_where_it_was_saved(void **state)
{
	struct state_reader *r;
	struct error err;
	uint8_t buf[9];
	uint64_t tsc;
	void *bytes;
	size_t len;

	save_in_the_middle(&bytes, &len);
	/* Sixteen chunks of memory, of which two were touched: the zeros are not in the stream. */
	assert_in_range(len, 2 << 20, 3 << 20);

	assert_int_equal(make(2, 16 << 20), 0);
	fake.go[0] = 1;
	assert_int_equal(ram_fill(fake.config->ram, 0x300000, 0xff, 0x3000), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(vm_load(vm, r, &err), 0);
	state_reader_destroy(r);
	tsc = vm_clock_tsc(fake.config->clock);
	assert_true(tsc > 0);
	usleep(1000);
	assert_true(vm_clock_tsc(fake.config->clock) == tsc); /* it stands until the run begins */
	assert_int_equal(ram_read(fake.config->ram, 0x1ff8, buf, 9), 0);
	assert_string_equal((char *)buf, "not zero");
	assert_int_equal(ram_read(fake.config->ram, BOARD_HIGH_RAM_BASE + (8 << 20) - 16, buf, 9), 0);
	assert_string_equal((char *)buf, "not zero");
	assert_int_equal(ram_read(fake.config->ram, 0x301ff8, buf, 9), 0);
	assert_int_equal(buf[0], 0);

	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_false(fake_logged(0x80)); /* that was before the save */
	assert_true(fake_logged(0x81));
	assert_int_equal(fake.vcpu[1].state.activity, VCPU_WAIT_SIPI);
	free(bytes);
}

static void a_vm_of_another_shape_is_refused(void **state)
{
	struct state_reader *r;
	struct error err;
	void *bytes;
	size_t len;

	save_in_the_middle(&bytes, &len);
	assert_int_equal(make(1, 16 << 20), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(vm_load(vm, r, &err), -EXDEV);
	assert_int_equal(err.status, STATUS_INPUT);
	state_reader_destroy(r);
	vm_destroy(vm);
	assert_int_equal(make(2, 32 << 20), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(vm_load(vm, r, &err), -EXDEV);
	state_reader_destroy(r);
	vm_destroy(vm);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const other[] = { "max", "v3,-x2apic", "v3,+pku" };

		model = other[i];
		assert_int_equal(make(2, 16 << 20), 0);
		model = NULL;
		assert_int_equal(state_reader_create(bytes, len, &r), 0);
		assert_int_equal(vm_load(vm, r, &err), -EXDEV);
		state_reader_destroy(r);
		if (i < 2)
			vm_destroy(vm);
	}
	free(bytes);
}

static void damaged_streams_are_refused_without_harm(void **state)
{
	struct state_reader *r;
	struct error err;
	uint8_t *bytes;
	void *stream;
	size_t len;
	unsigned seed = 7, refused = 0;

	save_in_the_middle(&stream, &len);
	bytes = stream;
	for (int i = 0; i < 40; i++) {
		/* The framing is at the beginning, and at the ends of the big records. */
		size_t at = i % 2 ? (size_t)rand_r(&seed) % 2000 : len - 1 - (size_t)rand_r(&seed) % 2000;
		uint8_t was = bytes[at];

		bytes[at] ^= (uint8_t)(1 + rand_r(&seed) % 255);
		if (state_reader_create(bytes, len, &r)) {
			refused++;
		} else {
			assert_int_equal(make(2, 16 << 20), 0);
			if (vm_load(vm, r, &err))
				refused++;
			state_reader_destroy(r);
			vm_destroy(vm);
			vm = NULL;
		}
		bytes[at] = was;
	}
	assert_true(refused > 0);
	free(stream);
}

static void a_vm_can_be_saved_before_and_after_its_run(void **state)
{
	struct state_writer *w;

	assert_int_equal(make(1, 16 << 20), 0);
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), 0);
	state_writer_destroy(w);
	fake.go[0] = 1;
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), 0);
	state_writer_destroy(w);
}

/* It writes to the power-off register, and is saved before the main thread has seen that. */
static void a_vm_saved_when_it_asks_for_its_end_gets_it(void **state)
{
	struct state_writer *w;
	struct state_reader *r;
	struct error err;
	const void *bytes;
	size_t len;

	assert_int_equal(make(1, 16 << 20), 0);
	fake.go[0] = 1;
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), 0);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	vm_destroy(vm);

	assert_int_equal(make(1, 16 << 20), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(vm_load(vm, r, &err), 0);
	state_reader_destroy(r);
	state_writer_destroy(w);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_false(fake_logged(0x80)); /* without another instruction */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_loaded_vm_goes_on_where_it_was_saved, teardown),
		cmocka_unit_test_teardown(a_vm_of_another_shape_is_refused, teardown),
		cmocka_unit_test_teardown(damaged_streams_are_refused_without_harm, teardown),
		cmocka_unit_test_teardown(a_vm_can_be_saved_before_and_after_its_run, teardown),
		cmocka_unit_test_teardown(a_vm_saved_when_it_asks_for_its_end_gets_it, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
