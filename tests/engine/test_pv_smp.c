// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's paravirtual interfaces between vCPUs (Linux, Documentation/virt/kvm/x86/hypercalls.rst; msr.rst, "preempted"), in
 * each place where the engine can live.
 */
#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { FLAG = ERIG_DATA, AREA = ERIG_DATA + 0x1000, SECOND = ERIG_CODE + 0x1000, THIRD = ERIG_CODE + 0x2000, VECTOR = 0x51 };
#define FLAG_AT "0x20000"
#define KICK(apic_id) "mov $5, %eax; xor %ebx, %ebx; mov $" #apic_id ", %ecx; vmcall\n"

/* --- KVM_HC_KICK_CPU --- */

GUEST(halts, "movl $1, " FLAG_AT "; hlt; movl $2, " FLAG_AT "; hlt");
GUEST(kicks, "1: pause; cmpl $1, " FLAG_AT "; jne 1b\n" KICK(1) "1: pause; cmpl $2, " FLAG_AT "; jne 1b; hlt");
/* The other way round: the kick first, then the flag for which the other waits before its HLT. */
GUEST(kicks_first, KICK(1) "movl $1, " FLAG_AT "; hlt");
GUEST(halts_later, "1: pause; cmpl $1, " FLAG_AT "; jne 1b; hlt; movl $2, " FLAG_AT "; hlt");

static void *run_until_flag_is_2(void *vcpu)
{
	do
		assert_int_equal(erig_run((unsigned)(uintptr_t)vcpu), ENGINE_EXIT_HALT);
	while (erig_peek(FLAG, 4) != 2);
	return NULL;
}

static void a_kick_ends_a_halt_with_interrupts_off(void **state)
{
	for (unsigned first = 0; first < 2; first++) {
		pthread_t halting, kicking;

		erig_start(2);
		if (first) {
			ERIG_LOAD(ERIG_CODE, kicks_first);
			ERIG_LOAD(SECOND, halts_later);
		} else {
			ERIG_LOAD(ERIG_CODE, kicks);
			ERIG_LOAD(SECOND, halts);
		}
		erig_long_mode(0, ERIG_CODE);
		erig_long_mode(1, SECOND);
		assert_int_equal(pthread_create(&halting, NULL, run_until_flag_is_2, (void *)1), 0);
		kicking = erig_run_beside(0);
		assert_int_equal(erig_join(kicking), ENGINE_EXIT_HALT);
		pthread_join(halting, NULL);
		erig_finish();
	}
}

/* Two vCPUs hand a token to and fro, and halt with interrupts off until it is theirs. RSI: who it is; RDI: how often. */
GUEST(token,
      "1: mov " FLAG_AT ", %edx; and $1, %edx; cmp %esi, %edx; je 2f\n"
      "hlt; jmp 1b\n"
      "2: lock incl " FLAG_AT "; mov $5, %eax; xor %ebx, %ebx; mov %esi, %ecx; xor $1, %ecx; vmcall\n"
      "dec %rdi; jnz 1b; movl $1, 0x21000(,%rsi,4); hlt");

static void *run_to_the_end(void *vcpu)
{
	do
		assert_int_equal(erig_run((unsigned)(uintptr_t)vcpu), ENGINE_EXIT_HALT);
	while (!erig_peek(AREA + 4 * (uintptr_t)vcpu, 4));
	return NULL;
}

static void no_kick_is_lost(void **state)
{
	enum { TURNS = 5000 };
	pthread_t t[2];

	erig_start(2);
	ERIG_LOAD(ERIG_CODE, token);
	for (uintptr_t i = 0; i < 2; i++) {
		erig_long_mode((unsigned)i, ERIG_CODE);
		erig_set_reg((unsigned)i, RSI, i);
		erig_set_reg((unsigned)i, RDI, TURNS);
	}
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, run_to_the_end, (void *)i), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(erig_peek(FLAG, 4), 2 * TURNS);
}

static void a_halt_that_nobody_ends_is_told(void **state)
{
	erig_start(2);
	ERIG_LOAD(ERIG_CODE, halts);
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_peek(FLAG, 4), 1);
}

/* --- KVM_HC_SEND_IPI --- */

GUEST(sends, "1: pause; cmpl $2, " FLAG_AT "; jne 1b\n"
	     "mov $10, %eax; mov $3, %ebx; xor %ecx, %ecx; mov $1, %edx; mov $0x51, %esi; vmcall; hlt");
GUEST(receives, "lock incl " FLAG_AT "; sti; 1: hlt; jmp 1b");

static void ipis_reach_several_vcpus(void **state)
{
	struct vcpu_state s;

	erig_start(3);
	ERIG_LOAD(ERIG_CODE, sends);
	ERIG_LOAD(SECOND, receives);
	erig_long_mode(0, ERIG_CODE);
	erig_long_mode(1, SECOND);
	erig_long_mode(2, SECOND);
	assert_true(erig_all_halt(3));
	assert_int_equal(erig_reg(0, RAX), 2);
	for (unsigned i = 1; i < 3; i++) {
		erig_get(i, &s);
		assert_int_equal(s.rip, ERIG_HANDLER + VECTOR + 1);
	}
}

/* --- flushes --- */

/* Names its area, fills the TLB with linear 0x40000000, sleeps; then its handler looks there again. */
GUEST(sleeps,
      "mov $0x4b564d03, %ecx; mov $0x21001, %eax; xor %edx, %edx; wrmsr\n"
      "mov $0x40000000, %edi; mov (%rdi), %r8; movl $1, " FLAG_AT "\n"
      "sti; 1: hlt; jmp 1b");
GUEST(looks, "mov (%rdi), %r9; movzbl 0x21010, %r10d; hlt");
/* Waits until the other is not running, maps something else there, asks it to flush, and wakes it. */
GUEST(maps,
      "1: pause; cmpl $1, " FLAG_AT "; jne 1b\n"
      "1: pause; testb $1, 0x21010; jz 1b\n"
      "movq $0x400083, 0xe01000\n"
      "mov $1, %al; mov $3, %dl; lock cmpxchg %dl, 0x21010; jne 1b\n"
      "mov $10, %eax; mov $2, %ebx; xor %ecx, %ecx; xor %edx, %edx; mov $0x51, %esi; vmcall; hlt");

static void a_vcpu_that_sleeps_flushes_when_it_wakes(void **state)
{
	struct vcpu_state s;

	erig_start(2);
	ERIG_LOAD(ERIG_CODE, maps);
	ERIG_LOAD(SECOND, sleeps);
	ERIG_LOAD(THIRD, looks);
	erig_vector(VECTOR, THIRD);
	erig_poke(0xe01000, 8, 0x200083);
	erig_poke(0x200000, 8, 111);
	erig_poke(0x400000, 8, 222);
	erig_long_mode(0, ERIG_CODE);
	erig_long_mode(1, SECOND);
	assert_true(erig_all_halt(2));
	erig_get(1, &s);
	assert_int_equal(s.gpr[R8], 111);
	assert_int_equal(s.gpr[R9], 222);
	assert_int_equal(s.gpr[R10], 0); /* it runs again */
	assert_int_equal(erig_peek(AREA + 0x10, 1), 1);
}

/* --- clocks --- */

GUEST(clocks, "mov $0x4b564d01, %ecx; lea 1(%rdi), %eax; xor %edx, %edx; wrmsr; hlt");

static void all_vcpus_have_the_same_clock(void **state)
{
	uint8_t a[24], b[24];

	erig_start(2);
	ERIG_LOAD(ERIG_CODE, clocks);
	for (unsigned i = 0; i < 2; i++) {
		erig_long_mode(i, ERIG_CODE);
		erig_set_reg(i, RDI, AREA + i * 64);
		assert_int_equal(erig_run(i), ENGINE_EXIT_HALT);
	}
	assert_int_equal(ram_read(erig.ram, AREA + 8, a, sizeof(a)), 0);
	assert_int_equal(ram_read(erig.ram, AREA + 64 + 8, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_not_equal(erig_peek(AREA + 24, 4), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_kick_ends_a_halt_with_interrupts_off),
		TEST(no_kick_is_lost),
		TEST(a_halt_that_nobody_ends_is_told),
		TEST(ipis_reach_several_vcpus),
		TEST(a_vcpu_that_sleeps_flushes_when_it_wakes),
		TEST(all_vcpus_have_the_same_clock),
	};
	int status;

	if (erig_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
