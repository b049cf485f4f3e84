// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Exits and what follows from them: device accesses and their replay, state taken in the middle of each of
 * them, EOI, doorbells, ROM, HLT, kicks. The same for each host.
 */
#include "engine_scenes.h"

#include "host/loop.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

/* Every way to a device; RBX is one in memory, RSI and RDI pass over both. */
GUEST(devices,
      "mov $0xd0000000, %ebx\n"
      "mov (%rbx), %rax\n"
      "movzbl 3(%rbx), %ecx\n"
      "mov %ax, 6(%rbx)\n"
      "movl $0x12345678, 0x10(%rbx)\n"
      "addl $0x11111111, 0x20(%rbx)\n"	 /* one read, one write */
      "lock incw 0x30(%rbx)\n"
      "xchg %rax, 0x38(%rbx)\n"
      "lea 0x40(%rbx), %rsi; lea 0x80(%rbx), %rdi\n"
      "movsq\n"				 /* device to device */
      "cmpsl\n"
      "mov $3, %ecx; lea 0x100(%rbx), %rdi; mov $0x20000, %esi\n"
      "rep movsl\n"			 /* memory to device */
      "mov $3, %ecx; lea 0x100(%rbx), %rsi; mov $0x20100, %edi\n"
      "rep movsw\n"			 /* device to memory */
      "mov $2, %ecx; lea 0x200(%rbx), %rdi\n"
      "rep stosq\n"
      "movups %xmm0, 0x300(%rbx)\n"	 /* two parts */
      "movups 0x310(%rbx), %xmm1\n"
      "movups %xmm1, 0x20200\n"
      "pushq 0x400(%rbx)\n"
      "popq 0x408(%rbx)\n"
      "mov %rbx, %rbp; mov $0xd0001010, %esp; push %rax; mov $0x80000, %esp\n" /* a stack in a device */
      "mov $0x60, %edx\n"
      "in %dx, %al\n"
      "in %dx, %ax\n"
      "in $0x71, %eax\n"
      "out %al, $0x70\n"
      "out %eax, %dx\n"
      "mov $3, %ecx; mov $0x20000, %esi\n"
      "rep outsb\n"
      "mov $3, %ecx; mov $0x20300, %edi\n"
      "rep insw\n"
      "mov $2, %ecx; lea 0x500(%rbx), %rdi\n"
      "rep insl\n"			 /* port to device */
      "mov %r8, 0xffc(%rbx)\n"		 /* across two pages, both the device's */
      "mov %r8, 0xefffff\n"		 /* memory's last byte, then the device */
      "mov 0xefffff, %r9\n"
      "hlt");

static void load_devices(void)
{
	ERIG_LOAD(ERIG_CODE, devices);
	fill_data();
	erig_long_mode(0, ERIG_CODE);
}

static const struct erig_access *expect(unsigned *n, char kind, bool write, uint64_t addr, uint32_t size)
{
	const struct erig_access *a = &erig.log[(*n)++];

	assert_int_equal(a->kind, kind);
	assert_int_equal(a->write, write);
	assert_int_equal(a->addr, addr);
	assert_int_equal(a->size, size);
	return a;
}

static void each_access_leaves_once_in_program_order(void **state)
{
	const uint64_t d = ERIG_DEVICE;
	unsigned n = 0;

	erig_start(1);
	load_devices();
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	expect(&n, 'm', false, d, 8);
	expect(&n, 'm', false, d + 3, 1);
	assert_int_equal(expect(&n, 'm', true, d + 6, 2)->value, 0x0101);
	assert_int_equal(expect(&n, 'm', true, d + 0x10, 4)->value, 0x12345678);
	expect(&n, 'm', false, d + 0x20, 4);
	assert_int_equal(expect(&n, 'm', true, d + 0x20, 4)->value, 0x05050505 + 0x11111111);
	expect(&n, 'm', false, d + 0x30, 2);
	assert_int_equal(expect(&n, 'm', true, d + 0x30, 2)->value, 0x0708);
	expect(&n, 'm', false, d + 0x38, 8);
	assert_true(expect(&n, 'm', true, d + 0x38, 8)->value == 0x0101010101010101);
	expect(&n, 'm', false, d + 0x40, 8);
	assert_true(expect(&n, 'm', true, d + 0x80, 8)->value == 11 * 0x0101010101010101ull);
	expect(&n, 'm', false, d + 0x48, 4);
	expect(&n, 'm', false, d + 0x88, 4);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(expect(&n, 'm', true, d + 0x100 + i * 4, 4)->value, erig_peek(ERIG_DATA + i * 4, 4));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(expect(&n, 'm', false, d + 0x100 + i * 2, 2)->value, erig_peek(0x20100 + i * 2, 2));
	for (unsigned i = 0; i < 2; i++)
		expect(&n, 'm', true, d + 0x200 + i * 8, 8);
	expect(&n, 'm', true, d + 0x300, 8);
	expect(&n, 'm', true, d + 0x308, 8);
	for (unsigned i = 0; i < 2; i++)
		assert_true(expect(&n, 'm', false, d + 0x310 + i * 8, 8)->value == erig_peek(0x20200 + i * 8, 8));
	expect(&n, 'm', false, d + 0x400, 8);
	expect(&n, 'm', true, d + 0x408, 8);
	expect(&n, 'm', true, d + 0x1008, 8);
	expect(&n, 'p', false, 0x60, 1);
	expect(&n, 'p', false, 0x60, 2);
	expect(&n, 'p', false, 0x71, 4);
	expect(&n, 'p', true, 0x70, 1);
	expect(&n, 'p', true, 0x60, 4);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(expect(&n, 'p', true, 0x60, 1)->value, 0xa0 + i);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(expect(&n, 'p', false, 0x60, 2)->value, erig_peek(0x20300 + i * 2, 2));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t v = expect(&n, 'p', false, 0x60, 4)->value;

		assert_int_equal(expect(&n, 'm', true, d + 0x500 + i * 4, 4)->value, v);
	}
	expect(&n, 'm', true, d + 0xffc, 4);
	expect(&n, 'm', true, d + 0x1000, 4);
	for (unsigned i = 0; i < 2; i++) { /* 7 bytes beyond memory: 4, 2, 1 */
		expect(&n, 'm', !i, 0xf00000, 4);
		expect(&n, 'm', !i, 0xf00004, 2);
		expect(&n, 'm', !i, 0xf00006, 1);
	}
	assert_int_equal(n, erig.log_count);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
	assert_outcomes_alike(a, b);
	assert_memory_equal(a->s.xsave, b->s.xsave, sizeof(a->s.xsave));
	assert_memory_equal(a->s.lapic, b->s.lapic, sizeof(a->s.lapic));
}

static void a_vcpu_moved_at_any_access_goes_on_identically(void **state)
{
	struct outcome *want, *got;

	erig_start(1);
	load_devices();
	want = run_moving(0, NULL);
	assert_in_range(want->exits, 40, 200);
	for (unsigned at = 1; at <= want->exits; at++) {
		erig_start(1);
		load_devices();
		got = run_moving(at, erig_host);
		assert_same(got, want);
		free(got);
	}
	free(want);
}

/* --- EOI --- */

static void the_eoi_of_a_level_interrupt_leaves_and_that_of_an_edge_does_not(void **state)
{
	struct outcome *want, *got;

	start_eoi();
	want = run_moving(0, NULL);
	assert_int_equal(want->exits, 1);
	assert_int_equal(want->log[0].kind, 'e');
	assert_int_equal(want->log[0].addr, 0x51);
	assert_int_equal(want->s.gpr[RCX], 2);
	start_eoi();
	got = run_moving(1, erig_host);
	want->s.gpr[RAX] = got->s.gpr[RAX]; /* time */
	assert_same(got, want);
	free(got);
	free(want);
}

/* --- doorbells --- */

GUEST(ring,
      "mov $0xd0000000, %ebx\n"
      "movl $7, (%rbx)\n"	   /* taken: any value */
      "movw $7, (%rbx)\n"	   /* not: length */
      "movl $5, 4(%rbx)\n"	   /* taken: value 5 */
      "movl $6, 4(%rbx)\n"	   /* not */
      "mov $0x99, %eax; mov $0x300, %edx\n"
      "out %al, %dx\n"		   /* taken */
      "out %al, $0x99\n"	   /* not */
      "mov $4, %ecx; mov %rbx, %rdi; xor %eax, %eax\n"
      "rep stosl\n"		   /* the first of four rings, the second is not 5 */
      "movups %xmm0, -8(%rbx)\n"   /* a device, then eight bytes at the bell: not its length */
      "hlt");

static void doorbells_ring_once_and_do_not_exit(void **state)
{
	struct engine_doorbell bell[DOORBELLS];
	unsigned n = 0;

	erig_start(1);
	ERIG_LOAD(ERIG_CODE, ring);
	erig_long_mode(0, ERIG_CODE);
	add_doorbells(bell);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rung(bell[0].fd), 2);
	assert_int_equal(rung(bell[1].fd), 1);
	assert_int_equal(rung(bell[2].fd), 1);
	expect(&n, 'm', true, ERIG_DEVICE, 2);
	expect(&n, 'm', true, ERIG_DEVICE + 4, 4);
	expect(&n, 'p', true, 0x99, 1);
	for (unsigned i = 1; i < 4; i++)
		expect(&n, 'm', true, ERIG_DEVICE + i * 4, 4);
	expect(&n, 'm', true, ERIG_DEVICE - 8, 8);
	expect(&n, 'm', true, ERIG_DEVICE, 8);
	assert_int_equal(n, erig.log_count);
	remove_doorbells(bell);
}

/* Across a bell and a device: the bell does not ring again when the instruction is replayed. */
GUEST(ring_and_leave, "mov $0xd0000000, %ebx\nmovups %xmm0, (%rbx)\nhlt");

static void a_bell_in_a_replayed_instruction_rings_once(void **state)
{
	struct engine_doorbell bell = { .address = ERIG_DEVICE, .len = 8, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };

	erig_start(1);
	ERIG_LOAD(ERIG_CODE, ring_and_leave);
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig.ops->add_doorbell(erig.e, &bell), 0);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(rung(bell.fd), 1);
	assert_int_equal(erig.log_count, 1);
	assert_int_equal(erig.log[0].addr, ERIG_DEVICE + 8);
	close(bell.fd);
}

/* --- read-only memory, and long accesses --- */

GUEST(rom, "mov $0xe0000000, %ebx\nmov (%rbx), %eax\nmov %ebx, (%rbx)\naddl $1, 4(%rbx)\nlock addl $1, 8(%rbx)\n"
	   "mov (%rbx), %ecx\nmov $0xe0000100, %edx\ncall *%rdx\nhlt");
GUEST(rom_code, "mov $0x1234, %r8d\nmovb $0x90, (%rdx)\nret");

static void stores_to_rom_leave_and_change_nothing(void **state)
{
	struct vcpu_state s;
	unsigned n = 0;

	erig_start(1);
	ERIG_LOAD(ERIG_CODE, rom);
	erig_poke(ERIG_ROM, 8, 0x5566778811223344);
	ERIG_LOAD(ERIG_ROM + 0x100, rom_code);
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(expect(&n, 'm', true, ERIG_ROM, 4)->value, ERIG_ROM);
	assert_int_equal(expect(&n, 'm', true, ERIG_ROM + 4, 4)->value, 0x55667789);
	expect(&n, 'm', true, ERIG_ROM + 8, 4);
	expect(&n, 'm', true, ERIG_ROM + 0x100, 1); /* by itself, of itself */
	assert_int_equal(n, erig.log_count);
	assert_true(erig_peek(ERIG_ROM, 8) == 0x5566778811223344);
	erig_get(0, &s);
	assert_int_equal(s.gpr[RAX], 0x11223344);
	assert_int_equal(s.gpr[RCX], 0x11223344);
	assert_int_equal(s.gpr[R8], 0x1234);
}

GUEST(fxsave, "mov $0xd0000000, %ebx\nfxsave (%rbx)\nfxrstor 0x1000(%rbx)\nhlt");

/* More accesses than any other instruction; what the device gives for MXCSR is 0 in the end. */
static void an_fxsave_into_a_device_comes_to_its_end(void **state)
{
	erig_start(1);
	ERIG_LOAD(ERIG_CODE, fxsave);
	erig_long_mode(0, ERIG_CODE);
	erig_run(0);
	/* at the HLT, or at that of #GP for a reserved bit of MXCSR: what the device answers is nonsense */
	assert_int_equal(erig.e->vcpu[0]->run->exit, ENGINE_EXIT_HALT);
	assert_in_range(erig.log_count, 100, 128);
}

/* --- HLT and kicks --- */

static void a_kick_ends_a_loop_and_a_halt_and_the_next_run(void **state)
{
	scene_kicks_end_a_loop_and_a_halt_and_the_next_run();
}

/* Many, against lost wake-ups: the MSI always ends the HLT. */
GUEST(halts, "1: cmp %rcx, 0x20000; je 2f; sti; hlt; cli; jmp 1b\n2: hlt");
GUEST(halts_handler, "inc %rcx\nmov %rcx, 0x20008\n" GUEST_EOI "iretq");
enum { HALTS = 3000 };

static void an_msi_always_ends_a_halt(void **state)
{
	const struct engine_msi msi = { .address = 0xfee00000, .data = 0x51 };
	uint64_t give_up = host_monotonic_ns() + 60000000000ull;
	pthread_t t;

	erig_start(1);
	ERIG_LOAD(ERIG_CODE, halts);
	ERIG_LOAD(ERIG_CODE + 0x100, halts_handler);
	erig_vector(0x51, ERIG_CODE + 0x100);
	erig_poke(0x20000, 8, HALTS);
	erig_long_mode(0, ERIG_CODE);
	t = erig_run_beside(0);
	for (uint64_t i = 1; i <= HALTS; i++) {
		assert_int_equal(erig.ops->msi(erig.e, &msi), 0);
		while (erig_peek(0x20008, 8) < i) {
			assert_true(host_monotonic_ns() < give_up);
			sched_yield();
		}
		if (i % 7 == 0)
			erig.ops->vcpu_kick(erig.e->vcpu[0]);
	}
	assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
}

static void an_nmi_ends_a_halt_that_was_told(void **state)
{
	scene_an_nmi_ends_a_halt_with_interrupts_off();
}

static void an_extint_is_taken_in_its_window(void **state)
{
	scene_an_extint_is_taken_in_its_window();
}

/* Runs until an exit that is no load; loads find @len bytes of @code at @base, and ones around them. */
static enum engine_exit run_from_device(uint64_t base, const void *code, size_t len)
{
	struct run_page *run = erig.e->vcpu[0]->run;

	for (;;) {
		assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), 0);
		if (run->exit != ENGINE_EXIT_MMIO || run->mmio.write)
			return run->exit;
		for (unsigned i = 0; i < run->mmio.size; i++) {
			uint64_t at = run->mmio.gpa + i - base;

			run->data[i] = at < len ? ((const uint8_t *)code)[at] : 0xff;
		}
	}
}

static void code_in_holes_of_the_memory_map_is_all_ones(void **state)
{
	static const uint64_t at[] = { ERIG_DEVICE, ERIG_DEVICE + 0xffd, ERIG_RAM_SIZE - 1 };
	struct vcpu_state s;

	erig_start(1);
	erig_poke(ERIG_RAM_SIZE - 1, 1, 0x48); /* REX.W, and no more */
	for (unsigned i = 0; i < 3; i++) { /* FF /7 is no instruction */
		erig_long_mode(0, at[i]);
		assert_int_equal(run_from_device(0, NULL, 0), ENGINE_EXIT_HALT);
		erig_get(0, &s);
		assert_int_equal(s.rip, ERIG_HANDLER + 6 + 1);
		assert_int_equal(erig_peek(s.gpr[RSP], 8), at[i]);
	}
}

static void code_in_a_device_runs_and_may_load_from_it(void **state)
{
	static const uint8_t code[] = {
		0x48, 0xc7, 0xc0, 0x78, 0x56, 0x34, 0x12, /* mov rax, 0x12345678 */
		0x48, 0x8b, 0x0b,			  /* mov rcx, [rbx] */
		0xf4,
	};
	/* in the middle of a page, across two pages of the device, and from RAM into the device */
	static const uint64_t at[] = { ERIG_DEVICE + 0x10, ERIG_DEVICE + 0xffd, ERIG_RAM_SIZE - 2 };
	struct vcpu_state s;

	erig_start(1);
	erig_poke(ERIG_RAM_SIZE - 2, 2, 0xc748);
	for (unsigned i = 0; i < 3; i++) {
		erig_long_mode(0, at[i]);
		erig_get(0, &s);
		s.gpr[RBX] = at[i] + 2;
		erig_set(0, &s);
		assert_int_equal(run_from_device(at[i], code, sizeof(code)), ENGINE_EXIT_HALT);
		erig_get(0, &s);
		assert_int_equal(s.rip, at[i] + sizeof(code));
		assert_int_equal(s.gpr[RAX], 0x12345678);
		assert_int_equal(s.gpr[RCX], 0x0b8b4812345678c0);
	}
}

static void a_triple_fault_leaves_with_shutdown(void **state)
{
	scene_a_triple_fault_leaves_with_shutdown();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(each_access_leaves_once_in_program_order),
		TEST(a_vcpu_moved_at_any_access_goes_on_identically),
		TEST(the_eoi_of_a_level_interrupt_leaves_and_that_of_an_edge_does_not),
		TEST(doorbells_ring_once_and_do_not_exit),
		TEST(a_bell_in_a_replayed_instruction_rings_once),
		TEST(stores_to_rom_leave_and_change_nothing),
		TEST(an_fxsave_into_a_device_comes_to_its_end),
		TEST(a_kick_ends_a_loop_and_a_halt_and_the_next_run),
		TEST(an_msi_always_ends_a_halt),
		TEST(an_nmi_ends_a_halt_that_was_told),
		TEST(an_extint_is_taken_in_its_window),
		TEST(code_in_holes_of_the_memory_map_is_all_ones),
		TEST(code_in_a_device_runs_and_may_load_from_it),
		TEST(a_triple_fault_leaves_with_shutdown),
	};
	int status;

	if (erig_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
