// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Several vCPUs at once: startup IPIs, locked operations that no host instruction can do, code that one
 * rewrites while another runs it. The same for each host.
 */
#include "engine_rig.h"

#include "host/loop.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

/* Waits until the word at @gpa is @value. */
static void wait_for(uint64_t gpa, uint64_t value)
{
	uint64_t give_up = host_monotonic_ns() + 60000000000ull;

	while (erig_peek(gpa, 8) != value) {
		assert_true(host_monotonic_ns() < give_up);
		sched_yield();
	}
}

/* --- INIT and startup IPIs: vol. 3, 9.4.4 --- */

GUEST(bsp,
      "mov $0xfee00300, %ebx\n"
      "movl $0x01000000, 0x10(%rbx)\n" /* destination 1 */
      "movl $0x4500, (%rbx)\n"	       /* INIT, assert */
      "movl $0x4630, (%rbx)\n"	       /* startup at 0x30000 */
      "1: cmpl $0x11, 0x20000; jne 1b\n"
      "movl $0x4632, (%rbx)\n"	       /* a second one: it runs already */
      "movl $0x4500, (%rbx)\n"	       /* INIT again, in its HLT */
      "movl $0x4631, (%rbx)\n"
      "1: cmpl $0x22, 0x20000; jne 1b\n"
      "hlt");

static void init_and_sipi_start_a_vcpu_in_real_mode(void **state)
{
	/* MOV AX, 2000h; MOV DS, AX; MOV BYTE [0], n; CLI; HLT */
	static const uint8_t first[] = { 0xb8, 0, 0x20, 0x8e, 0xd8, 0xc6, 0x06, 0, 0, 0x11, 0xfb, 0xf4 },
			     second[] = { 0xb8, 0, 0x20, 0x8e, 0xd8, 0xc6, 0x06, 0, 0, 0x22, 0xfa, 0xf4 };
	struct vcpu_state s;
	pthread_t t[2];

	erig_start(2);
	ERIG_LOAD(ERIG_CODE, bsp);
	erig_load(0x30000, first, sizeof(first));
	erig_load(0x31000, second, sizeof(second));
	erig_long_mode(0, ERIG_CODE);
	erig_get(1, &s);
	assert_int_equal(s.activity, VCPU_WAIT_SIPI);
	t[1] = erig_run_beside(1);
	t[0] = erig_run_beside(0);
	erig_join(t[0]);
	erig_join(t[1]);
	erig_get(1, &s);
	assert_int_equal(s.seg[SEG_CS].selector, 0x3100);
	assert_int_equal(s.rip, sizeof(second));
	assert_int_equal(s.seg[SEG_DS].base, 0x20000);
}

/* --- locked operations across pages and lines: 8.1.2.2 --- */

/* Across a page, across a line, within one, and CMPXCHG across a page; RCX times each. */
GUEST(locks,
      "1: lock incl 0x20ffe\n"
      "lock addq $1, 0x2003c\n"
      "lock xadd %rdx, 0x20080\n"
      "mov 0x21ffd, %eax\n"
      "2: lea 1(%rax), %r8d\n"
      "lock cmpxchg %r8d, 0x21ffd; jne 2b\n"
      "mov $1, %edx\n"
      "dec %rcx; jnz 1b\n"
      "hlt");
GUEST(asleep, "sti\n1: hlt; jmp 1b");

enum { LOCKERS = 3, LOCKS = 1000 };

static void locked_operations_across_pages_are_atomic(void **state)
{
	pthread_t t[LOCKERS + 1];

	erig_start(LOCKERS + 1);
	ERIG_LOAD(ERIG_CODE, locks);
	ERIG_LOAD(ERIG_CODE + 0x100, asleep);
	for (unsigned i = 0; i < LOCKERS; i++) {
		erig_long_mode(i, ERIG_CODE);
		erig_set_reg(i, RCX, LOCKS);
		erig_set_reg(i, RDX, 1);
	}
	erig_long_mode(LOCKERS, ERIG_CODE + 0x100); /* one that sleeps all the time */
	for (unsigned i = 0; i <= LOCKERS; i++)
		t[i] = erig_run_beside(i);
	for (unsigned i = 0; i < LOCKERS; i++)
		erig_join(t[i]);
	assert_int_equal(erig_peek(0x20ffe, 4), LOCKERS * LOCKS);
	assert_int_equal(erig_peek(0x2003c, 8), LOCKERS * LOCKS);
	assert_int_equal(erig_peek(0x20080, 8), LOCKERS * LOCKS);
	assert_int_equal(erig_peek(0x21ffd, 4), LOCKERS * LOCKS);
	erig.ops->vcpu_nmi(erig.e->vcpu[LOCKERS]); /* its handler ends it */
	erig_join(t[LOCKERS]);
}

/* --- cross-modifying code: 8.1.3 --- */

/* Calls the function at 0x11000 and stores what it says, until that is 0xffff. */
GUEST(caller, "1: mov $0x11000, %ebx; call *%rbx; mov %rax, 0x20000; cmp $0xffff, %eax; jne 1b\nhlt");
GUEST(function, "mov $1, %eax\nret");
/* Its next value when the caller has told the last; R9 of them. */
GUEST(writer, "mov $1, %eax\n1: cmp %rax, 0x20000; jne 1b\ninc %eax; mov %eax, 0x11001\n"
	      "cmp %r9, %rax; jne 1b\n2: cmp %rax, 0x20000; jne 2b\nmovl $0xffff, 0x11001\nhlt");

static void start_caller(unsigned vcpus)
{
	erig_start(vcpus);
	ERIG_LOAD(ERIG_CODE, caller);
	ERIG_LOAD(0x11000, function);
	erig_long_mode(0, ERIG_CODE);
}

static void code_that_another_vcpu_rewrites_is_seen(void **state)
{
	start_caller(2);
	ERIG_LOAD(ERIG_CODE + 0x100, writer);
	erig_long_mode(1, ERIG_CODE + 0x100);
	erig_set_reg(1, R9, 200);
	assert_true(erig_all_halt(2));
	assert_int_equal(erig_peek(0x20000, 8), 0xffff);
}

static void code_that_the_monitor_rewrites_is_seen(void **state)
{
	pthread_t t;

	start_caller(1);
	t = erig_run_beside(0);
	for (unsigned i = 1; i < 200; i++) {
		wait_for(0x20000, i);
		erig_poke(0x11001, 4, i + 1);
	}
	erig_poke(0x11001, 4, 0xffff);
	erig_join(t);
}

/* The kernel's stores, announced before and after. */
static void code_that_is_read_from_a_file_is_seen(void **state)
{
	static const uint32_t end = 0xffff;
	struct iovec iov[2];
	pthread_t t;
	int fd[2];

	start_caller(1);
	t = erig_run_beside(0);
	wait_for(0x20000, 1);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], &end, 4), 4);
	assert_int_equal(ram_write_begin(erig.ram, 0x11001, 4, iov, 2), 1);
	assert_int_equal(readv(fd[0], iov, 1), 4);
	ram_write_end(erig.ram, 0x11001, 4);
	erig_join(t);
	close(fd[0]);
	close(fd[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(init_and_sipi_start_a_vcpu_in_real_mode),
		TEST(locked_operations_across_pages_are_atomic),
		TEST(code_that_another_vcpu_rewrites_is_seen),
		TEST(code_that_the_monitor_rewrites_is_seen),
		TEST(code_that_is_read_from_a_file_is_seen),
	};
	int status;

	if (erig_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
