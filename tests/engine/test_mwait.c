// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MONITOR, MWAIT and PAUSE between vCPUs, devices and events: SDM vol. 2 under MONITOR and MWAIT, vol. 3, 8.10.
 * In each place where the engine can live.
 */
#include "engine_rig.h"

#include "host/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { FLAG = ERIG_DATA, READY = ERIG_DATA + 0x2000, SECOND = ERIG_CODE + 0x1000, VECTOR = 0x50, MS = 1000000 };
#define FLAG_AT "0x20000"
#define READY_AT "0x22000"

/* Says that it is about to wait, waits for a store to FLAG, and halts with FLAG's value in RBX. */
GUEST(wait,
      "movl $" FLAG_AT ", %eax; xor %ecx, %ecx; xor %edx, %edx; monitor\n"
      "movl $1, " READY_AT "\n"
      "xor %eax, %eax; mov %esi, %ecx; mwait\n"
      "mov " FLAG_AT ", %rbx; hlt\n");
/* Stores RDI to FLAG once the other is ready and some time has passed. */
GUEST(wake,
      "1: pause; cmpl $0, " READY_AT "; je 1b\n"
      "mov $3000000, %ecx; 2: dec %ecx; jnz 2b\n"
      "mov %rdi, " FLAG_AT "; hlt\n");
GUEST(store_between,
      "movl $" FLAG_AT ", %eax; xor %ecx, %ecx; xor %edx, %edx; monitor\n"
      "movl $5, " FLAG_AT "\n"
      "xor %eax, %eax; mwait; mov " FLAG_AT ", %rbx; hlt\n");
GUEST(alone, "xor %eax, %eax; xor %ecx, %ecx; mwait; mov $7, %ebx; hlt\n");
GUEST(extension, "movl $" FLAG_AT ", %eax; mov $1, %ecx; monitor; hlt\n");
GUEST(hint, "xor %eax, %eax; mov $2, %ecx; mwait; hlt\n");
/* Hands a counter to and fro: waits until FLAG's low bit is RSI, adds 1, RDI times. */
GUEST(pingpong,
      "1: mov $" FLAG_AT ", %eax; xor %ecx, %ecx; xor %edx, %edx; monitor\n"
      "mov " FLAG_AT ", %ebx; mov %ebx, %edx; and $1, %edx; cmp %esi, %edx; je 2f\n"
      "xor %eax, %eax; xor %ecx, %ecx; mwait; jmp 1b\n"
      "2: incl " FLAG_AT "; dec %rdi; jnz 1b; hlt\n");

/* A token that goes round: waits with PAUSE until FLAG's low two bits are RSI, adds 1, RDI times. */
GUEST(ring,
      "1: mov " FLAG_AT ", %ebx; and $3, %ebx; cmp %esi, %ebx; je 2f; pause; jmp 1b\n"
      "2: lock incl " FLAG_AT "; dec %rdi; jnz 1b; hlt\n");

static void start(const char *model, unsigned vcpus)
{
	erig_model = cpu_model_find(model);
	assert_non_null(erig_model);
	erig_start(vcpus);
	erig_long_mode(0, ERIG_CODE);
	if (vcpus > 1)
		erig_long_mode(1, SECOND);
}

static uint64_t rip(unsigned vcpu)
{
	struct vcpu_state s;

	erig_get(vcpu, &s);
	return s.rip;
}

static void wait_until_ready(void)
{
	while (!erig_peek(READY, 4))
		usleep(100);
	usleep(3000); /* it is in MWAIT now, or will not be */
}

/* --- what they refuse --- */

static void a_model_without_monitor_has_neither(void **state)
{
	start("v3", 1);
	ERIG_LOAD(ERIG_CODE, wait);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rip(0), ERIG_HANDLER + 6 + 1); /* #UD */
	start("v3", 1);
	ERIG_LOAD(ERIG_CODE, alone);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rip(0), ERIG_HANDLER + 6 + 1);
}

static void unknown_extensions_are_gp(void **state)
{
	start("max", 1);
	ERIG_LOAD(ERIG_CODE, extension);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rip(0), ERIG_HANDLER + 13 + 1);
	start("max", 1);
	ERIG_LOAD(ERIG_CODE, hint);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rip(0), ERIG_HANDLER + 13 + 1);
}

/* --- when they do not wait --- */

static void mwait_without_monitor_does_not_wait(void **state)
{
	start("max", 1);
	ERIG_LOAD(ERIG_CODE, alone);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RBX), 7);
}

static void a_store_between_monitor_and_mwait_is_not_missed(void **state)
{
	start("max", 1);
	ERIG_LOAD(ERIG_CODE, store_between);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RBX), 5);
}

/* --- what ends the wait --- */

static void a_store_of_another_vcpu_ends_the_wait(void **state)
{
	pthread_t t;

	start("max", 2);
	ERIG_LOAD(ERIG_CODE, wait);
	ERIG_LOAD(SECOND, wake);
	erig_set_reg(1, RDI, 9);
	t = erig_run_beside(1);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RBX), 9); /* so it waited */
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
}

static void a_store_of_the_same_value_ends_the_wait(void **state)
{
	pthread_t t;

	start("max", 2);
	ERIG_LOAD(ERIG_CODE, wait);
	ERIG_LOAD(SECOND, wake);
	t = erig_run_beside(1);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
}

static void a_store_of_a_device_ends_the_wait(void **state)
{
	pthread_t t;

	start("max", 1);
	ERIG_LOAD(ERIG_CODE, wait);
	t = erig_run_beside(0);
	wait_until_ready();
	erig_poke(FLAG, 4, 3);
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RBX), 3);
}

static void an_nmi_ends_the_wait(void **state)
{
	pthread_t t;

	start("max", 1);
	ERIG_LOAD(ERIG_CODE, wait);
	t = erig_run_beside(0);
	wait_until_ready();
	erig.ops->vcpu_nmi(erig.e->vcpu[0]);
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
	assert_int_equal(rip(0), ERIG_HANDLER + 2 + 1);
}

/* Vol. 2, MWAIT, ECX bit 0. */
static void a_masked_interrupt_ends_the_wait_only_when_asked_for(void **state)
{
	const struct engine_msi msi = { .address = 0xfee00000, .data = VECTOR };

	for (unsigned asked = 0; asked < 2; asked++) {
		pthread_t t;

		start("max", 1);
		ERIG_LOAD(ERIG_CODE, wait);
		erig_set_reg(0, RSI, asked);
		t = erig_run_beside(0);
		wait_until_ready();
		assert_int_equal(erig.ops->msi(erig.e, &msi), 0);
		if (!asked) {
			usleep(20000);
			erig_poke(FLAG, 4, 8);
		}
		assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
		assert_int_equal(erig_reg(0, RBX), asked ? 0 : 8);
		assert_true(rip(0) < ERIG_HANDLER || rip(0) > ERIG_HANDLER + 256); /* IF is clear: no handler */
	}
}

static void the_wait_takes_no_host_time(void **state)
{
	struct timespec before, after;
	clockid_t clock;
	pthread_t t;

	if (strcmp(erig_host, "host=threads"))
		return; /* the thread whose time is looked at is not ours */
	start("max", 1);
	ERIG_LOAD(ERIG_CODE, wait);
	t = erig_run_beside(0);
	wait_until_ready();
	assert_int_equal(pthread_getcpuclockid(t, &clock), 0);
	clock_gettime(clock, &before);
	usleep(200000);
	clock_gettime(clock, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec < 40 * MS);
	erig_poke(FLAG, 4, 1);
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
}

/* A vCPU that waits is saved behind its MWAIT, which may end for any reason. */
static void a_waiting_vcpu_is_saved_as_running(void **state)
{
	struct engine_vcpu *v;
	struct vcpu_state s;
	pthread_t t;
	void *exit;

	start("max", 1);
	ERIG_LOAD(ERIG_CODE, wait);
	v = erig.e->vcpu[0];
	atomic_store(&v->run->immediate_exit, 0);
	assert_int_equal(pthread_create(&t, NULL, (void *(*)(void *))(void *)erig.ops->vcpu_run, v), 0);
	wait_until_ready();
	erig.ops->vcpu_kick(v);
	pthread_join(t, &exit);
	assert_int_equal(v->run->exit, ENGINE_EXIT_KICK);
	erig_get(0, &s);
	assert_int_equal(s.activity, VCPU_RUNNING);
	erig_set(0, &s);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RBX), 0);
}

/* Each lost wake-up would cost a poll's millisecond at best. */
static void no_wake_up_is_lost(void **state)
{
	enum { TURNS = 4000 };
	uint64_t begin;
	pthread_t t;

	start("max", 2);
	ERIG_LOAD(ERIG_CODE, pingpong);
	ERIG_LOAD(SECOND, pingpong);
	erig_set_reg(0, RDI, TURNS);
	erig_set_reg(1, RDI, TURNS);
	erig_set_reg(1, RSI, 1);
	begin = host_monotonic_ns();
	t = erig_run_beside(1);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
	assert_int_equal(erig_peek(FLAG, 4), 2 * TURNS);
	print_message("%u hand-overs: %.1f us each\n", 2 * TURNS, (double)(host_monotonic_ns() - begin) / 1000 / (2 * TURNS));
}

/* PAUSE: on fewer host CPUs than vCPUs, a turn must not have to wait for the host to take a spinning one off. */
static void spinning_vcpus_let_each_other_run(void **state)
{
	enum { TURNS = 500, VCPUS = 4 };
	uint64_t begin;

	erig_model = NULL;
	erig_start(VCPUS);
	ERIG_LOAD(ERIG_CODE, ring);
	for (unsigned i = 0; i < VCPUS; i++) {
		erig_long_mode(i, ERIG_CODE);
		erig_set_reg(i, RDI, TURNS);
		erig_set_reg(i, RSI, i);
	}
	begin = host_monotonic_ns();
	assert_true(erig_all_halt(VCPUS));
	assert_int_equal(erig_peek(FLAG, 4), TURNS * VCPUS);
	print_message("%u turns: %.1f us each\n", TURNS * VCPUS, (double)(host_monotonic_ns() - begin) / 1000 / (TURNS * VCPUS));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_model_without_monitor_has_neither),
		TEST(unknown_extensions_are_gp),
		TEST(mwait_without_monitor_does_not_wait),
		TEST(a_store_between_monitor_and_mwait_is_not_missed),
		TEST(a_store_of_another_vcpu_ends_the_wait),
		TEST(a_store_of_the_same_value_ends_the_wait),
		TEST(a_store_of_a_device_ends_the_wait),
		TEST(an_nmi_ends_the_wait),
		TEST(a_masked_interrupt_ends_the_wait_only_when_asked_for),
		TEST(the_wait_takes_no_host_time),
		TEST(a_waiting_vcpu_is_saved_as_running),
		TEST(no_wake_up_is_lost),
		TEST(spinning_vcpus_let_each_other_run),
	};
	int status;

	if (erig_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
