// SPDX-License-Identifier: GPL-2.0-or-later
/* The A20 gate and the VM: guest memory follows it before the next instruction. Over a scripted engine and board. */
#include "fake.h"

#include "vm/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SHUT = 0, OPEN = 2 };

static struct vm *vm;
static struct vm_result result;

static void make(unsigned cpus, const struct act *script)
{
	struct vm_config config = { .name = "test", .cpus = cpus, .mem = 16 << 20, .kernel = "kernel" };
	struct error err;

	fake_init(cpus);
	fake.script[0] = script;
	assert_int_equal(vm_create(&config, &vm, &err), 0);
	assert_int_equal(vm_boot(vm, &err), 0);
}

static int teardown(void **state)
{
	vm_destroy(vm);
	vm = NULL;
	assert_false(fake.devices_wrong);
	return 0;
}

/* How memory was laid out when the access to @addr reached the board. */
static bool closed_at(uint64_t addr)
{
	for (unsigned i = 0; i < fake.log_count; i++)
		if (fake.log[i].addr == addr)
			return fake.log[i].a20_mapped_closed;
	fail();
	return false;
}

static void memory_follows_the_gate_before_the_next_instruction(void **state)
{
	static const struct act script[] = {
		OUT(PORT_A20, OPEN), OUT(0x81, 0), OUT(PORT_A20, SHUT), OUT(0x82, 0), OUT(0x83, 0), OUT(PORT_A20, OPEN),
		OUT(0x84, 0), POWER_OFF, { 0 },
	};

	make(2, script);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_false(closed_at(0x81));
	assert_true(closed_at(0x82));
	assert_true(closed_at(0x83));
	assert_false(closed_at(0x84));
	assert_int_equal(fake.slots_changes, 2); /* the first write changed nothing */
}

static void a_reset_opens_the_gate_before_the_kernel_is_loaded(void **state)
{
	static const struct act first[] = { OUT(PORT_A20, SHUT), OUT(0x81, 0), OUT(PORT_RESET, 1), { 0 } };
	static const struct act second[] = { OUT(0x82, 0), POWER_OFF, { 0 } };

	make(1, first);
	fake.second_script = second;
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_true(closed_at(0x81));
	assert_false(closed_at(0x82));
	assert_true(fake.booted_open);
}

/* Memory is saved whole, and what loads it has the gate as it was. */
static void a_closed_gate_is_saved_and_hides_nothing(void **state)
{
	static const struct act script[] = { OUT(PORT_A20, SHUT), OUT(PORT_POWER_OFF, 1), { 0 } };
	static const struct act spin[] = { DO(SPIN) };
	struct state_writer *w;
	struct state_reader *r;
	struct error err;
	const void *stream;
	unsigned changes;
	void *bytes;
	size_t len;

	make(1, script);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_true(fake.a20_mapped_closed);
	assert_int_equal(vm_pause(vm), 0);
	changes = fake.slots_changes;
	assert_int_equal(state_writer_create(&w), 0);
	assert_int_equal(vm_save(vm, w), 0);
	assert_true(fake.a20_mapped_closed);
	assert_true(fake.saved_open);
	assert_int_equal(fake.slots_changes, changes); /* nobody ran: the engine was not told */
	assert_int_equal(state_writer_finish(w, &stream, &len), 0);
	bytes = malloc(len);
	memcpy(bytes, stream, len);
	state_writer_destroy(w);
	vm_destroy(vm);

	make(1, spin);
	assert_false(fake.a20_mapped_closed);
	assert_int_equal(vm_pause(vm), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(vm_load(vm, r, &err), 0);
	assert_true(fake.a20_mapped_closed);
	assert_int_equal(fake.slots_changes, 1);
	state_reader_destroy(r);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
		T(memory_follows_the_gate_before_the_next_instruction),
		T(a_reset_opens_the_gate_before_the_kernel_is_loaded),
		T(a_closed_gate_is_saved_and_hides_nothing),
	};

	return cmocka_run_group_tests_name("vm_a20", tests, NULL, NULL);
}
