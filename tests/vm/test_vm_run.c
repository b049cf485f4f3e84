// SPDX-License-Identifier: GPL-2.0-or-later
/* The run loop: exits, events, the end, pause, ExtINT, timers; over a scripted engine. */
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
static _Atomic unsigned serial_room;
static _Atomic unsigned serial_bytes;

static int put(void *opaque, uint8_t byte)
{
	if (serial_room == 0)
		return 0;
	serial_room--;
	serial_bytes++;
	return 1;
}

static struct vm_config config_of(unsigned cpus)
{
	return (struct vm_config){
		.name = "test",
		.engine = "auto",
		.cpus = cpus,
		.mem = 16 << 20,
		.kernel = "kernel",
		.serial = { put, NULL },
	};
}

static void make_with(const struct vm_config *config)
{
	struct error err;

	assert_int_equal(vm_create(config, &vm, &err), 0);
	assert_int_equal(vm_boot(vm, &err), 0);
}

static void make(unsigned cpus)
{
	struct vm_config config = config_of(cpus);

	make_with(&config);
}

static void *run_thread(void *arg)
{
	assert_int_equal(vm_run(vm, &result), 0);
	return NULL;
}

static void start(void)
{
	assert_int_equal(pthread_create(&runner, NULL, run_thread, NULL), 0);
}

static void finish(void)
{
	pthread_join(runner, NULL);
}

static enum vm_end run_one(const struct act *script)
{
	fake_init(1);
	fake.script[0] = script;
	make(1);
	assert_int_equal(vm_run(vm, &result), 0);
	return result.end;
}

static int setup(void **state)
{
	vm = NULL;
	serial_room = 1000;
	serial_bytes = 0;
	memset(&result, 0, sizeof(result));
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(vm);
	vm = NULL;
	assert_false(fake.devices_wrong);
	return 0;
}

/* --- exits --- */

static void power_off_ends_the_run_before_the_next_instruction(void **state)
{
	static const struct act script[] = { OUT(0x80, 7), POWER_OFF, OUT(0x81, 8), { 0 } };

	assert_int_equal(run_one(script), VM_POWERED_OFF);
	assert_int_equal(fake.log_count, 2);
	assert_int_equal(fake.log[0].value, 7);
	assert_int_equal(fake.vcpu[0].state.rip, 2); /* settled: the OUT has completed */
	assert_null(result.report);
}

static void port_reads_get_their_answer_element_by_element(void **state)
{
	static const struct act script[] = { { ACT_IN, 0x60, 4, 2, 0, false }, POWER_OFF, { 0 } };

	assert_int_equal(run_one(script), VM_POWERED_OFF);
	assert_int_equal(fake.log[0].count, 2);
	assert_int_equal(fake.vcpu[0].page.data[0], 1); /* overwritten by the OUT that followed */
	assert_false(fake.log[0].write);
}

static void a_read_completes_with_what_the_board_gave(void **state)
{
	static const struct act script[] = { { ACT_IN, 0x60, 2, 1, 0, false }, { 0 } };

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	assert_true(fake_reaches(0, 1));
	vm_stop(vm);
	finish();
	assert_int_equal(result.end, VM_LEFT);
	assert_int_equal(fake.vcpu[0].answer, 0x5a5a);
}

static void memory_accesses_of_odd_sizes_are_split(void **state)
{
	static const struct act script[] = {
		{ ACT_STORE, 0xfec00000, 3, 1, 0x332211, false },
		{ ACT_STORE, 0xfec00010, 8, 1, 0x8877665544332211, false },
		POWER_OFF, { 0 },
	};

	assert_int_equal(run_one(script), VM_POWERED_OFF);
	assert_int_equal(fake.log_count, 5);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fake.log[i].mmio);
		assert_int_equal(fake.log[i].addr, 0xfec00000 + i);
		assert_int_equal(fake.log[i].size, 1);
		assert_int_equal(fake.log[i].value, 0x11 * (i + 1));
	}
	assert_true(fake.log[3].value == 0x8877665544332211);
}

static void impossible_requests_of_an_engine_end_the_run(void **state)
{
	static const struct act bad[][2] = {
		{ { ACT_OUT, 0x80, 3, 1, 0, false } },
		{ { ACT_OUT, 0x80, 0, 1, 0, false } },
		{ { ACT_OUT, 0x80, 4, RUN_DATA_MAX / 4 + 1, 0, false } },
		{ { ACT_IN, 0x80, 4, 0x40000001, 0, false } },
		{ { ACT_LOAD, 0x80, 0, 1, 0, false } },
		{ { ACT_STORE, 0x80, 9, 1, 0, false } },
		{ { ACT_STORE, 0x80, 0xffffffff, 1, 0, false } },
		{ { ACT_RAW_EXIT, 0, 0, 0, ENGINE_EXIT_COUNT, false } },
		{ { ACT_RAW_EXIT, 0, 0, 0, 0xffffffff, false } },
		{ DO(GONE) },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(run_one(bad[i]), VM_INTERNAL);
		assert_int_equal(result.error.status, STATUS_INTERNAL);
		assert_non_null(result.report);
		assert_int_equal(fake.log_count, 0);
		teardown(NULL);
	}
}

static void unknown_msrs_fault_and_unknown_hypercalls_fail(void **state)
{
	static const struct act script[] = { { .kind = ACT_MSR, .addr = 0x123 }, DO_WITH(HYPERCALL, 99), { 0 } };

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	assert_true(fake_reaches(0, 2));
	vm_stop(vm);
	finish();
	assert_int_equal(fake.vcpu[0].msr_fault, 1);
	assert_true(fake.vcpu[0].page.hypercall.ret == (uint64_t)-1000);
}

static void an_eoi_reaches_the_board(void **state)
{
	static const struct act script[] = { DO_WITH(EOI, 0x31), POWER_OFF, { 0 } };

	assert_int_equal(run_one(script), VM_POWERED_OFF);
	assert_int_equal(fake.eois, 0x31);
}

/* --- the end --- */

static void a_triple_fault_is_reported_with_registers_and_exits(void **state)
{
	static const struct act script[] = { OUT(0x80, 0x42), DO(TRIPLE), { 0 } };

	assert_int_equal(run_one(script), VM_TRIPLE_FAULT);
	assert_int_equal(result.error.status, STATUS_TRIPLE_FAULT);
	assert_non_null(strstr(result.error.why, "#GP"));
	assert_non_null(strstr(result.report, "rip 0000000000000001"));
	assert_non_null(strstr(result.report, "out port 0x0080 size 1 <- 0x42"));
	assert_non_null(strstr(result.report, "triple fault"));
	assert_non_null(strstr(result.report, "code at"));
}

static void the_reason_of_an_internal_error_is_cut_and_made_printable(void **state)
{
	static const struct act script[] = { DO(INTERNAL), { 0 } };

	assert_int_equal(run_one(script), VM_INTERNAL);
	assert_memory_equal(result.error.why, "A?AAAA", 6);
	assert_in_range(strlen(result.error.why), 100, 127);
}

static void the_debug_exit_port_ends_the_run_with_its_byte(void **state)
{
	static const struct act script[] = { OUT(PORT_DEBUG_EXIT, 21), OUT(PORT_POWER_OFF, 0), { 0 } };

	assert_int_equal(run_one(script), VM_DEBUG_EXIT);
	assert_int_equal(result.code, 21);
}

static void a_reset_boots_the_vm_again_in_place(void **state)
{
	static const struct act first[] = { OUT(PORT_RESET, 1), OUT(0x81, 0), { 0 } };
	static const struct act second[] = { OUT(0x82, 0), POWER_OFF, { 0 } };

	fake_init(2);
	fake.script[0] = first;
	fake.second_script = second;
	make(2);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_POWERED_OFF);
	assert_int_equal(fake.boots, 2);
	assert_int_equal(fake.resets, 1);
	assert_false(fake_logged(0x81));
	assert_true(fake_logged(0x82));
	assert_int_equal(fake.vcpu[1].state.activity, VCPU_WAIT_SIPI);
}

static void without_reboots_a_reset_ends_the_run(void **state)
{
	static const struct act script[] = { OUT(PORT_RESET, 1), { 0 } };
	struct vm_config config = config_of(1);

	config.no_reboot = true;
	fake_init(1);
	fake.script[0] = script;
	make_with(&config);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_RESET);
	assert_int_equal(fake.boots, 1);
}

static void a_kernel_that_cannot_be_loaded_is_the_callers_error(void **state)
{
	struct vm_config config = config_of(1);
	struct error err;

	config.kernel = "bad";
	fake_init(1);
	assert_int_equal(vm_create(&config, &vm, &err), 0);
	assert_int_equal(vm_boot(vm, &err), -ENOENT);
	assert_int_equal(err.status, STATUS_INPUT);
}

static void absurd_descriptions_are_refused(void **state)
{
	struct vm_config config = config_of(0);
	struct error err;

	assert_int_equal(vm_create(&config, &vm, &err), -EINVAL);
	config = config_of(VCPUS_MAX + 1);
	assert_int_equal(vm_create(&config, &vm, &err), -EINVAL);
	config = config_of(1);
	config.mem = (16 << 20) + 1;
	assert_int_equal(vm_create(&config, &vm, &err), -EINVAL);
	config.mem = 0;
	assert_int_equal(vm_create(&config, &vm, &err), -EINVAL);
	config.mem = UINT64_MAX & ~0xfffull;
	assert_int_equal(vm_create(&config, &vm, &err), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
}

static void a_guest_that_spins_can_be_left(void **state)
{
	static const struct act script[] = { OUT(0x80, 1), DO(SPIN) };

	fake_init(2);
	fake.script[0] = script;
	make(2);
	start();
	assert_true(fake_reaches(0, 1));
	vm_stop(vm);
	finish();
	assert_int_equal(result.end, VM_LEFT);
}

static void stopping_before_the_run_ends_it_at_once(void **state)
{
	fake_init(1);
	make(1);
	vm_stop(vm);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_LEFT);
	assert_int_equal(vm_run(vm, &result), -EBUSY);
}

static void the_first_end_counts(void **state)
{
	struct error err;

	fake_init(1);
	make(1);
	error_set(&err, -EPIPE, STATUS_HOST, "cannot write", "broken", "mend it");
	vm_stop(vm);
	vm_fail(vm, &err);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_LEFT);
}

static void a_failure_of_a_back_end_ends_the_run_with_its_words(void **state)
{
	struct error err;

	fake_init(1);
	make(1);
	start();
	error_set(&err, -EPIPE, STATUS_HOST, "cannot write", "broken", "mend it");
	vm_fail(vm, &err);
	error_set(&err, -EPIPE, STATUS_INPUT, "second", "second", "second");
	vm_fail(vm, &err);
	finish();
	assert_int_equal(result.end, VM_FAILED);
	assert_string_equal(result.error.what, "cannot write");
	assert_int_equal(result.error.status, STATUS_HOST);
}

/* --- halting for good --- */

static void a_single_cpu_that_halts_with_interrupts_off_ends_the_run(void **state)
{
	static const struct act script[] = { OUT(0x80, 1), DO(HALT) };

	assert_int_equal(run_one(script), VM_HALTED);
}

static void cpus_that_were_never_started_do_not_keep_a_halted_guest_alive(void **state)
{
	static const struct act script[] = { DO(HALT) };

	fake_init(4);
	fake.script[0] = script;
	make(4);
	assert_int_equal(vm_run(vm, &result), 0);
	assert_int_equal(result.end, VM_HALTED);
}

static void a_guest_has_halted_only_when_all_its_cpus_have(void **state)
{
	static const struct act bsp[] = { DO(HALT) };
	static const struct act ap[] = { DO_WITH(WAIT, 0), DO(HALT) };

	fake_init(2);
	fake.script[0] = bsp;
	fake.script[1] = ap;
	fake.go[3] = 1; /* the AP is started */
	make(2);
	start();
	for (int i = 0; i < 5000 && !fake.vcpu[0].halt_told; i++)
		usleep(1000);
	usleep(50000);
	assert_int_equal(fake.vcpu[1].state.rip, 0); /* and the VM is still there */
	fake.go[0] = 1;
	finish();
	assert_int_equal(result.end, VM_HALTED);
}

static void a_device_that_can_send_an_nmi_keeps_a_halted_guest_alive(void **state)
{
	static const struct act script[] = { OUT(PORT_NMI_ROUTE, 1), DO(HALT) };

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	assert_true(fake_reaches(0, 1));
	usleep(50000);
	vm_stop(vm);
	finish();
	assert_int_equal(result.end, VM_LEFT);
}

/* --- pause --- */

static void a_paused_vm_and_its_clock_stand_still(void **state)
{
	static const struct act script[] = { OUT(0x80, 1), DO_WITH(JUMP, 0) };
	uint64_t before;
	unsigned logged, changes;

	fake_init(2);
	fake.script[0] = script;
	make(2);
	start();
	for (int i = 0; i < 5000 && !fake_logged(0x80); i++)
		usleep(1000);
	assert_false(fake.devices_stand);
	assert_int_equal(vm_pause(vm), 0);
	assert_true(vm_paused(vm));
	assert_true(fake.devices_stand);
	before = vm_clock_tsc(fake.config->clock);
	logged = fake.log_count;
	changes = fake.clock_changes;
	usleep(20000);
	assert_true(vm_clock_tsc(fake.config->clock) == before);
	assert_int_equal(fake.log_count, logged);
	assert_int_equal(vm_resume(vm), 0);
	assert_false(vm_paused(vm));
	assert_false(fake.devices_stand);
	usleep(20000);
	assert_true(vm_clock_tsc(fake.config->clock) > before);
	assert_int_equal(fake.clock_changes, changes + 1);
	vm_stop(vm);
	finish();
}

static void pausing_completes_an_instruction_with_several_accesses(void **state)
{
	/* The first access of the instruction waits in the board's serial stream: none does, but the
	 * pause may come at any of the three. Whenever it comes, the instruction is whole or not begun. */
	static const struct act script[] = {
		{ ACT_LOAD, 0xfec00000, 4, 1, 0, true },
		{ ACT_STORE, 0xfec00010, 4, 1, 5, true },
		{ ACT_STORE, 0xfec00020, 4, 1, 6, false },
		DO_WITH(JUMP, 0),
	};

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	for (int i = 0; i < 200; i++) {
		usleep(200);
		assert_int_equal(vm_pause(vm), 0);
		assert_false(fake.vcpu[0].pending);
		assert_true(fake.vcpu[0].state.rip == 0 || fake.vcpu[0].state.rip == 3);
		vm_resume(vm);
	}
	vm_stop(vm);
	finish();
}

static void a_paused_vm_can_be_left(void **state)
{
	fake_init(2);
	make(2);
	start();
	assert_int_equal(vm_pause(vm), 0);
	vm_stop(vm);
	finish();
	assert_int_equal(result.end, VM_LEFT);
}

/* --- interrupts and timers --- */

static void an_extint_is_handed_over_when_the_cpu_is_ready(void **state)
{
	static const struct act script[] = {
		OUT(PORT_RAISE_INTR, 1), DO_WITH(HYPERCALL, 1), DO_WITH(WAIT, 0), DO(READY), OUT(0x81, 0), { 0 },
	};

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	assert_true(fake_reaches(0, 2));
	assert_int_equal(fake.vcpu[0].extint, -1);
	assert_int_equal(fake.vcpu[0].page.request_extint, 1);
	fake.go[0] = 1;
	assert_true(fake_reaches(0, 5));
	vm_stop(vm);
	finish();
	assert_int_equal(fake.vcpu[0].extint, 0x30);
	assert_int_equal(fake.vcpu[0].page.request_extint, 0);
}

static void chip_timers_run_at_their_deadline_and_not_while_paused(void **state)
{
	static const struct act script[] = { { ACT_OUT, PORT_TIMER, 4, 1, 100000, false }, { 0 } };

	fake_init(1);
	fake.script[0] = script;
	make(1);
	start();
	assert_true(fake_reaches(0, 1));
	assert_int_equal(vm_pause(vm), 0);
	usleep(150000);
	assert_int_equal(fake.timers, 0);
	vm_resume(vm);
	for (int i = 0; i < 5000 && !fake.timers; i++)
		usleep(1000);
	assert_int_equal(fake.timers, 1);
	vm_stop(vm);
	finish();
}

/* --- the serial port --- */

static void refused_output_is_offered_again(void **state)
{
	static const struct act script[] = { OUT(PORT_SERIAL, 'a'), OUT(PORT_SERIAL, 'b'), { 0 } };

	fake_init(1);
	fake.script[0] = script;
	make(1);
	serial_room = 1;
	start();
	assert_true(fake_reaches(0, 2));
	assert_int_equal(serial_bytes, 1);
	serial_room = 10;
	vm_serial_ready(vm);
	for (int i = 0; i < 5000 && serial_bytes < 2; i++)
		usleep(1000);
	assert_int_equal(serial_bytes, 2);
	vm_stop(vm);
	finish();
}

static void output_that_the_chip_still_holds_at_the_end_can_be_fetched(void **state)
{
	static const struct act script[] = { OUT(PORT_SERIAL, 'a'), POWER_OFF, { 0 } };

	serial_room = 0;
	assert_int_equal(run_one(script), VM_POWERED_OFF);
	assert_int_equal(serial_bytes, 0);
	serial_room = 1;
	vm_serial_flush(vm);
	assert_int_equal(serial_bytes, 1);
}

static void the_summary_counts_exits(void **state)
{
	static const struct act script[] = { OUT(0x80, 1), OUT(0x80, 1), POWER_OFF, { 0 } };
	char *text = NULL;
	size_t len;
	FILE *out;

	assert_int_equal(run_one(script), VM_POWERED_OFF);
	out = open_memstream(&text, &len);
	vm_summary(vm, out);
	fclose(out);
	assert_non_null(strstr(text, "vCPU 0 exits:"));
	assert_non_null(strstr(text, " exit 3"));
	free(text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(power_off_ends_the_run_before_the_next_instruction),
		T(port_reads_get_their_answer_element_by_element),
		T(a_read_completes_with_what_the_board_gave),
		T(memory_accesses_of_odd_sizes_are_split),
		T(impossible_requests_of_an_engine_end_the_run),
		T(unknown_msrs_fault_and_unknown_hypercalls_fail),
		T(an_eoi_reaches_the_board),
		T(a_triple_fault_is_reported_with_registers_and_exits),
		T(the_reason_of_an_internal_error_is_cut_and_made_printable),
		T(the_debug_exit_port_ends_the_run_with_its_byte),
		T(a_reset_boots_the_vm_again_in_place),
		T(without_reboots_a_reset_ends_the_run),
		T(a_kernel_that_cannot_be_loaded_is_the_callers_error),
		T(absurd_descriptions_are_refused),
		T(a_guest_that_spins_can_be_left),
		T(stopping_before_the_run_ends_it_at_once),
		T(the_first_end_counts),
		T(a_failure_of_a_back_end_ends_the_run_with_its_words),
		T(a_single_cpu_that_halts_with_interrupts_off_ends_the_run),
		T(cpus_that_were_never_started_do_not_keep_a_halted_guest_alive),
		T(a_guest_has_halted_only_when_all_its_cpus_have),
		T(a_device_that_can_send_an_nmi_keeps_a_halted_guest_alive),
		T(a_paused_vm_and_its_clock_stand_still),
		T(pausing_completes_an_instruction_with_several_accesses),
		T(a_paused_vm_can_be_left),
		T(an_extint_is_handed_over_when_the_cpu_is_ready),
		T(chip_timers_run_at_their_deadline_and_not_while_paused),
		T(refused_output_is_offered_again),
		T(output_that_the_chip_still_holds_at_the_end_can_be_fetched),
		T(the_summary_counts_exits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
