// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translated code and instructions that lie across two pages: they run as blocks, and whatever happens to either page is noticed.
 *
 * The instruction is `mov eax, imm32` with two bytes of the immediate in page FIRST and two in SECOND; a function of NOPs before it, and RET behind.
 */
#include "system_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { FIRST = 0x40000, SECOND = FIRST + 0x1000, OTHER = 0x42000, AT = FIRST + 0xffd, FUNCTION = FIRST + 0xff8 };
enum { ALIAS = 0x50000, TIMES = 200 };

static uint8_t program[512];
static unsigned length;

static void put(const void *bytes, unsigned len)
{
	assert_true(length + len <= sizeof(program));
	memcpy(program + length, bytes, len);
	length += len;
}
#define PUT(...) put((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void put32(uint32_t value)
{
	put(&value, 4);
}

/* Calls @function TIMES times, and adds up what it returns in the quadword at RBX + @result. */
static void put_calls(uint32_t function, uint8_t result)
{
	PUT(0x4d, 0x31, 0xc0, 0xb9); /* xor r8, r8; mov ecx, */
	put32(TIMES);
	PUT(0xba); /* mov edx, */
	put32(function);
	PUT(0xff, 0xd2, 0x49, 0x01, 0xc0, 0xff, 0xc9, 0x75, 0xf2, /* call rdx; add r8, rax; dec ecx; jnz */
	    0x4c, 0x89, 0x43, result);				   /* mov [rbx + result], r8 */
}

/* mov word [@linear], @value */
static void put_store(uint32_t linear, uint16_t value)
{
	PUT(0x66, 0xc7, 0x04, 0x25);
	put32(linear);
	put(&value, 2);
}

static uint32_t pte_at(uint32_t linear)
{
	return SYS_PT + (linear >> 12) * 8;
}

/* mov dword [PTE of @linear], @frame | P | W | U */
static void put_map(uint32_t linear, uint32_t frame)
{
	PUT(0xc7, 0x04, 0x25);
	put32(pte_at(linear));
	put32(frame | 7);
}

static void put_invlpg(uint32_t linear)
{
	PUT(0x0f, 0x01, 0x3c, 0x25);
	put32(linear);
}

/* The function, with @high in page @second. */
static void place_function(uint32_t first, uint16_t low, uint32_t second, uint16_t high)
{
	static const uint8_t nops[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8 };

	assert_int_equal(ram_write(sys.ram, first + 0xff8, nops, sizeof(nops)), 0);
	sys_poke(first + 0xffe, 2, low);
	sys_poke(second, 2, high);
	sys_poke(second + 2, 1, 0xc3);
}

static void start(void)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	tuning.hot = 0;
	sys_start(SYS_LONG, 0);
	assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	sys.c->gpr[RBX] = SYS_DATA;
	place_function(FIRST, 0x2211, SECOND, 0x0033);
	place_function(FIRST, 0x2211, OTHER, 0x0044);
	length = 0;
}

static int run(void)
{
	return sys_run(program, length);
}

static unsigned crossing_blocks(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < sys.vm->tr->block_count; i++)
		n += sys.vm->tr->blocks[i].second != FRAME_NONE;
	return n;
}

#define SUM(value) ((uint64_t)(value) * TIMES)
static uint64_t result(unsigned n)
{
	return sys_peek(SYS_DATA + 8 * n, 8);
}

static void an_instruction_across_two_pages_runs_as_a_block(void **state)
{
	(void)state;
	start();
	put_calls(FUNCTION, 0);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(crossing_blocks(), 1);
	assert_true(sys.c->t.exits[EXIT_ONE] + sys.c->t.exits[EXIT_NEXT] + sys.c->t.exits[EXIT_JUMP] < 20);
	assert_true(sys.c->t.entries < 50);
}

static void a_branch_to_it_is_not_linked_but_finds_it(void **state)
{
	(void)state;
	start();
	/* xor eax, eax; jz to it; jmp to it: either way */
	assert_int_equal(ram_write(sys.ram, FIRST + 0xf00, "\x31\xc0\x0f\x84\xf5\x00\x00\x00", 8), 0);
	assert_int_equal(ram_write(sys.ram, FIRST + 0xe00, "\xe9\xf8\x01\x00\x00", 5), 0);
	put_calls(FIRST + 0xf00, 0);
	put_calls(FIRST + 0xe00, 8);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00332211));
	assert_int_equal(crossing_blocks(), 1);
	assert_true(sys.c->t.exits[EXIT_CHAIN] < 20);
}

static void a_store_to_its_bytes_in_either_page_is_noticed(void **state)
{
	(void)state;
	start();
	put_calls(FUNCTION, 0);
	put_store(SECOND, 0x0055);
	put_calls(FUNCTION, 8);
	put_store(FIRST + 0xffe, 0x7766);
	put_calls(FUNCTION, 16);
	put_store(SECOND, 0x0001);
	put_store(FIRST + 0xffe, 0x0002);
	put_calls(FUNCTION, 24);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00552211));
	assert_int_equal(result(2), SUM(0x00557766));
	assert_int_equal(result(3), SUM(0x00010002));
	assert_true(crossing_blocks() >= 4);
}

static void invlpg_of_the_second_page_shows_what_is_mapped_there_now(void **state)
{
	(void)state;
	start();
	put_calls(FUNCTION, 0);
	put_map(SECOND, OTHER);
	put_invlpg(SECOND + 0x123);
	put_calls(FUNCTION, 8);
	put_map(SECOND, SECOND);
	put_invlpg(SECOND);
	put_calls(FUNCTION, 16);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00442211));
	assert_int_equal(result(2), SUM(0x00332211));
}

/* Nothing but the end of this instruction is run of the second page, which has no entries of its own in jump caches then. */
static void invlpg_finds_an_instruction_that_only_ends_in_the_page(void **state)
{
	(void)state;
	start();
	assert_int_equal(ram_write(sys.ram, FIRST + 0xff8, "\x90\x90\x90\x90\x90\xe9\xfe\xfe", 8), 0); /* jmp, back by 102H or 10102H */
	sys_poke(SECOND, 2, 0xffff);
	sys_poke(OTHER, 2, 0xfffe);
	assert_int_equal(ram_write(sys.ram, SECOND + 2 - 0x102, "\xb8\x01\x00\x00\x00\xc3", 6), 0); /* mov eax, 1; ret */
	assert_int_equal(ram_write(sys.ram, SECOND + 2 - 0x10102, "\xb8\x02\x00\x00\x00\xc3", 6), 0);
	put_calls(FUNCTION, 0);
	put_map(SECOND, OTHER);
	put_invlpg(SECOND);
	put_calls(FUNCTION, 8);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(1));
	assert_int_equal(result(1), SUM(2));
}

static void invlpg_of_the_first_page_shows_what_is_mapped_there_now(void **state)
{
	(void)state;
	start();
	place_function(ALIAS, 0x9988, SECOND, 0x0033);
	put_calls(FUNCTION, 0);
	put_map(FIRST, ALIAS);
	put_invlpg(FIRST);
	put_calls(FUNCTION, 8);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00339988));
}

static void a_load_of_cr3_shows_what_is_mapped_there_now(void **state)
{
	(void)state;
	start();
	put_calls(FUNCTION, 0);
	put_map(SECOND, OTHER);
	PUT(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); /* mov rax, cr3; mov cr3, rax */
	put_calls(FUNCTION, 8);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00442211));
}

static void one_frame_may_go_on_in_two(void **state)
{
	(void)state;
	start();
	put_map(ALIAS, FIRST);
	put_invlpg(ALIAS);
	put_map(ALIAS + 0x1000, OTHER);
	put_invlpg(ALIAS + 0x1000);
	put_calls(FUNCTION, 0);
	put_calls(ALIAS + 0xff8, 8);
	put_calls(FUNCTION, 16);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00332211));
	assert_int_equal(result(1), SUM(0x00442211));
	assert_int_equal(result(2), SUM(0x00332211));
	assert_int_equal(crossing_blocks(), 2);
}

static void a_frame_that_goes_on_in_itself_is_right(void **state)
{
	(void)state;
	start();
	put_map(SECOND, FIRST);
	put_invlpg(SECOND);
	sys_poke(FIRST, 4, 0x00c30077);
	put_calls(FUNCTION, 0);
	assert_int_equal(run(), SYS_HALTED);
	assert_int_equal(result(0), SUM(0x00772211));
}

/* The page fault of a fetch from the second page is the instruction's, with the address in the second page. */
static void expect_fault(uint64_t pte)
{
	start();
	put_calls(FUNCTION, 0);
	PUT(0x48, 0xc7, 0x04, 0x25); /* mov qword [PTE], pte */
	put32(pte_at(SECOND));
	put32((uint32_t)pte);
	if (pte >> 63)
		PUT(0x80, 0x0c, 0x25, (pte_at(SECOND) + 7) & 0xff, (pte_at(SECOND) + 7) >> 8 & 0xff, 0, 0, 0x80); /* or byte, 80H */
	put_invlpg(SECOND);
	put_calls(FUNCTION, 8);
	assert_int_equal(run(), EXC_PF);
	assert_int_equal(sys.c->cr2, SECOND);
	assert_int_equal(sys_frame(1, 8), AT);
	assert_int_equal(result(0), SUM(0x00332211));
}

static void a_second_page_that_is_gone_faults(void **state)
{
	(void)state;
	expect_fault(SECOND | 6);
}

static void a_second_page_that_may_not_be_executed_faults(void **state)
{
	(void)state;
	expect_fault(1ull << 63 | SECOND | 7);
}

/* The stack is in the frame that becomes code when the call looks for its target, at an address that is one of this program's, too. */
static void a_call_that_makes_its_stack_code_pushes_to_the_guests_memory(void **state)
{
	enum { TABLES = 0x60000 };
	uint8_t *ours = aligned_alloc(FRAME_SIZE, FRAME_SIZE);
	uint64_t at = (uint64_t)(uintptr_t)ours, table = SYS_PML4, rsp = at + 0x800;

	(void)state;
	assert_non_null(ours);
	memset(ours, 0, FRAME_SIZE);
	start();
	for (unsigned level = 0; level < 4; level++) {
		uint64_t next = level == 3 ? SECOND : TABLES + level * FRAME_SIZE;

		sys_poke(table + (at >> (39 - 9 * level) & 511) * 8, 8, next | 0x67); /* dirty: a window sets no flags */
		table = next;
	}
	PUT(0x48, 0xbc); /* mov rsp, */
	put(&rsp, 8);
	PUT(0xeb, 0x00, 0xe8); /* jmp; call */
	put32(AT - (SYS_CODE + 17));
	assert_int_equal(run(), SYS_HALTED);
	assert_true(sys.c->t.stack_fills > sys.c->t.stack_misses);
	assert_int_equal(crossing_blocks(), 1);
	assert_int_equal(sys.c->gpr[RAX], 0x00332211);
	assert_int_equal(sys.c->gpr[RSP], rsp);
	assert_int_equal(sys_peek(SECOND + 0x7f8, 8), SYS_CODE + 17);
	for (unsigned i = 0; i < FRAME_SIZE; i++)
		assert_int_equal(ours[i], 0);
	free(ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_instruction_across_two_pages_runs_as_a_block),
		TEST(a_branch_to_it_is_not_linked_but_finds_it),
		TEST(a_store_to_its_bytes_in_either_page_is_noticed),
		TEST(invlpg_of_the_second_page_shows_what_is_mapped_there_now),
		TEST(invlpg_finds_an_instruction_that_only_ends_in_the_page),
		TEST(invlpg_of_the_first_page_shows_what_is_mapped_there_now),
		TEST(a_load_of_cr3_shows_what_is_mapped_there_now),
		TEST(one_frame_may_go_on_in_two),
		TEST(a_frame_that_goes_on_in_itself_is_right),
		TEST(a_second_page_that_is_gone_faults),
		TEST(a_second_page_that_may_not_be_executed_faults),
		TEST(a_call_that_makes_its_stack_code_pushes_to_the_guests_memory),
	};

	return cmocka_run_group_tests_name("instructions across two pages, translated", tests, NULL, NULL);
}
