// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames where stores and code alternate (src/engine/soft/translate/mixed.c): when they become mixed and when not, and that what is made of
 * their code is right without being watched.
 */
#include "system_rig.h"

#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/translate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { FRAME = SYS_DATA >> FRAME_SHIFT, CODE_FRAME = SYS_CODE >> FRAME_SHIFT, STORES_MAX = 1000, INTERPRETED = 1000000 };

static struct translator *tr;

static struct cpu *start(uint32_t mixed, uint32_t hot)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	sys_start(SYS_LONG, 0);
	tuning.hot = hot;
	tuning.cache_kib = 256;
	tuning.mixed = mixed;
	assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	tr = sys.vm->tr;
	return sys.c;
}

/* The interpreter has looked at code in the line of @offset. */
static void look(unsigned offset)
{
	cache_watch_frame(sys.c, FRAME);
	cache_add_lines(tr, FRAME, cache_lines(offset, 1));
}

static void store(unsigned offset, unsigned n)
{
	mmu_after_store(sys.c, sys.ram->host + SYS_DATA + offset, n);
}

static bool has_code(void)
{
	return sys.ram->frame[FRAME] & FRAME_CODE;
}

/* --- when --- */

static void stores_beside_code_make_a_frame_mixed(void **state)
{
	unsigned n = 0;

	start(32, INTERPRETED);
	look(0x80);
	while (!cache_mixed(tr, FRAME) && ++n < STORES_MAX) {
		assert_true(has_code());
		store(0x400, 8);
	}
	assert_int_equal(n, 32);
	assert_false(has_code());
	assert_false(tr->watched[FRAME]);
	assert_int_equal(tr->code_lines[FRAME], 0);
}

static void code_that_comes_back_after_each_store_makes_a_frame_mixed(void **state)
{
	unsigned n = 0;

	start(32, INTERPRETED);
	for (; !cache_mixed(tr, FRAME) && n < STORES_MAX; n++) {
		look(0x80);
		store(0x84, 4);
	}
	assert_int_equal(n, 32);
	assert_false(has_code());
}

/* A trampoline on a stack: no code is there when one store too many comes. */
static void code_that_comes_back_among_other_stores_makes_a_frame_mixed(void **state)
{
	unsigned n = 0;

	start(32, INTERPRETED);
	for (; !cache_mixed(tr, FRAME) && n < STORES_MAX; n++) {
		look(0x80);
		store(0x84, 4);
		for (unsigned i = 0; i < 12; i++)
			store(0x400 + 8 * i, 8);
	}
	assert_in_range(n, 2, 4);
	assert_int_equal(tr->code_lines[FRAME], 0);
	assert_false(has_code());
}

static void code_that_does_not_come_back_does_not(void **state)
{
	start(32, INTERPRETED);
	look(0x80);
	for (unsigned n = 0; has_code() && n < STORES_MAX; n++)
		store(0x80, 8);
	assert_false(has_code());
	assert_false(cache_mixed(tr, FRAME));
	/* Not yet: but it does. */
	look(0x80);
	for (unsigned n = 0; has_code() && n < STORES_MAX; n++)
		store(0x80, 8);
	assert_true(cache_mixed(tr, FRAME));
}

static void stores_long_apart_do_not(void **state)
{
	start(32, INTERPRETED);
	look(0x80);
	for (unsigned n = 0; n < STORES_MAX; n++) {
		store(0x400, 8);
		tr->mixed[FRAME] ^= 1 << MIXED_WHILE; /* another while than this */
	}
	assert_true(has_code());
	assert_false(cache_mixed(tr, FRAME));
}

static void large_stores_and_devices_do_not(void **state)
{
	start(32, INTERPRETED);
	for (unsigned n = 0; n < STORES_MAX; n++) {
		look(0x80);
		if (n & 1)
			store(0, 0x1000);
		else
			assert_int_equal(ram_write(sys.ram, SYS_DATA, "x", 1), 0);
		assert_false(has_code());
	}
	assert_false(cache_mixed(tr, FRAME));
}

static void each_try_to_watch_a_mixed_frame_again_comes_after_twice_as_many_entries(void **state)
{
	int32_t before, first;

	start(1, 0);
	first = mixed_checks(tr, CODE_FRAME);
	before = first;
	for (unsigned round = 0; round < 40; round++) {
		struct tblock *b;
		int32_t now;

		atomic_fetch_or(&tr->mixed[CODE_FRAME], MIXED_YES);
		sys.c->gpr[GPR_RIP] = SYS_CODE;
		assert_int_equal(RUN(0xff, 0xc0, 0xeb, 0x00), SYS_HALTED); /* inc eax; jmp +0 */
		b = cache_find(tr, SYS_CODE, translate_mode(sys.c));
		assert_non_null(b);
		assert_true(b->checked);
		mixed_proven(tr, b->code);
		assert_false(cache_mixed(tr, CODE_FRAME));
		assert_false(b->live);
		now = mixed_checks(tr, CODE_FRAME);
		assert_true(now == 2 * before || (now == before && round >= 10));
		before = now;
	}
	assert_int_equal(before / first, 1 << MIXED_SHIFT_MAX);
}

static void block_that_stays_is_watched_in_the_end(void **state)
{
	/* 1: dec ecx; jnz 1b */
	static const uint8_t loop[] = { 0xff, 0xc9, 0x75, 0xfc };
	const struct tblock *b;

	start(1, 0);
	atomic_fetch_or(&tr->mixed[CODE_FRAME], MIXED_YES);
	sys.c->gpr[RCX] = 100000;
	assert_int_equal(sys_run(loop, sizeof(loop)), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RCX], 0);
	assert_false(cache_mixed(tr, CODE_FRAME));
	b = cache_find(tr, SYS_CODE, translate_mode(sys.c));
	assert_non_null(b);
	assert_false(b->checked);
	assert_true(tr->watched[CODE_FRAME]);
}

/* --- what is made of the code --- */

static void checked_blocks_note_no_lines_and_are_right(uint32_t hot)
{
	/* inc byte [rip + 1]; mov al, 1: each run changes the immediate that follows */
	static const uint8_t code[] = { 0xfe, 0x05, 0x01, 0, 0, 0, 0xb0, 0x01 };

	start(0, hot);
	assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
	for (unsigned i = 2; i < 200; i++) {
		assert_int_equal(sys.c->gpr[RAX] & 0xff, i);
		sys.c->gpr[GPR_RIP] = SYS_CODE;
		assert_int_equal(sys_go(), SYS_HALTED);
	}
	assert_int_equal(tr->code_lines[CODE_FRAME], 0);
	assert_false(sys.ram->frame[CODE_FRAME] & FRAME_CODE);
}

static void interpreted_code_of_a_mixed_frame_is_run_as_patched(void **state)
{
	checked_blocks_note_no_lines_and_are_right(INTERPRETED);
}

static void translated_code_of_a_mixed_frame_is_run_as_patched(void **state)
{
	checked_blocks_note_no_lines_and_are_right(0);
}

/* Nobody tells the engine of these stores: it has to look. Lengths are such that each way of comparing sees its last byte. */
static void each_byte_of_a_checked_block_is_compared(void **state)
{
	for (unsigned hot = 0; hot <= INTERPRETED; hot += INTERPRETED)
		for (unsigned n = 1; n < 40; n++) {
			uint8_t code[2 * 40];

			start(0, hot);
			for (unsigned i = 0; i < n; i++)
				memcpy(code + 2 * i, "\x04\x01", 2); /* add al, 1 */
			for (unsigned changed = 0; changed < n; changed++) {
				sys.c->gpr[GPR_RIP] = SYS_CODE;
				sys.c->gpr[RAX] = 0;
				assert_int_equal(sys_run(code, 2 * n), SYS_HALTED);
				assert_int_equal(sys.c->gpr[RAX], n);
				sys.ram->host[SYS_CODE + 2 * changed + 1] = 7;
				sys.c->gpr[GPR_RIP] = SYS_CODE;
				sys.c->gpr[RAX] = 0;
				assert_int_equal(sys_go(), SYS_HALTED);
				assert_int_equal(sys.c->gpr[RAX], n + 6);
			}
			sys_finish();
		}
	start(0, 0);
}

/* Flags that the old code overwrites, and the new one reads. */
static void flags_are_kept_for_what_has_taken_the_place_of_a_block(void **state)
{
	static const uint8_t add[] = { 0x04, 0x01, 0x90, 0x90 }; /* add al, 1 */
	static const uint8_t setc[] = { 0x0f, 0x92, 0xc0, 0x90 }; /* setc al */

	start(0, 0);
	for (unsigned carry = 0; carry < 2; carry++) {
		sys.c->gpr[GPR_RIP] = SYS_CODE;
		sys.c->gpr[RAX] = 0x10;
		assert_int_equal(sys_run(add, sizeof(add)), SYS_HALTED);
		assert_int_equal(sys.c->gpr[RAX], 0x11);
		memcpy(sys.ram->host + SYS_CODE, setc, sizeof(setc));
		sys.c->gpr[GPR_RIP] = SYS_CODE;
		sys.c->flags = carry ? AF_CF : 0;
		assert_int_equal(sys_go(), SYS_HALTED);
		assert_int_equal(sys.c->gpr[RAX] & 0xff, carry);
	}
}

/* --- instructions --- */

static void blocks_end_behind_whatever_may_store(void **state)
{
	static const struct {
		const char *bytes;
		unsigned n;
		bool ends;
	} insns[] = {
		{ "\x89\x08", 2, true },		  /* mov [rax], ecx */
		{ "\x8b\x08", 2, false },		  /* mov ecx, [rax] */
		{ "\x89\xc8", 2, false },		  /* mov eax, ecx */
		{ "\x39\x08", 2, false },		  /* cmp [rax], ecx */
		{ "\x01\x08", 2, true },		  /* add [rax], ecx */
		{ "\x87\x08", 2, true },		  /* xchg [rax], ecx */
		{ "\x0f\xb1\x08", 3, true },		  /* cmpxchg [rax], ecx */
		{ "\x0f\xc7\x08", 3, true },		  /* cmpxchg8b [rax] */
		{ "\x0f\xab\x08", 3, true },		  /* bts [rax], ecx */
		{ "\x0f\xa3\x08", 3, false },	  /* bt [rax], ecx */
		{ "\xa2\0\0\0\0\0\0\0\0", 9, true }, /* mov [moffs], al */
		{ "\xa0\0\0\0\0\0\0\0\0", 9, false },
		{ "\x50", 1, true },			  /* push rax */
		{ "\x58", 1, false },			  /* pop rax */
		{ "\x8f\x00", 2, true },		  /* pop [rax] */
		{ "\xff\x30", 2, true },		  /* push [rax] */
		{ "\x9c", 1, true },			  /* pushf */
		{ "\xc9", 1, false },			  /* leave */
		{ "\xc8\0\0\0", 4, true },		  /* enter */
		{ "\xe8\0\0\0\0", 5, true },	  /* call */
		{ "\xaa", 1, true },			  /* stosb */
		{ "\xf3\xa4", 2, true },		  /* rep movsb */
		{ "\x0f\x29\x00", 3, true },		  /* movaps [rax], xmm0 */
		{ "\x0f\x28\x00", 3, false },	  /* movaps xmm0, [rax] */
		{ "\x66\x0f\xf7\xc1", 4, true },	  /* maskmovdqu xmm0, xmm1 */
		{ "\xc4\xe2\x7d\x2e\x00", 5, true }, /* vmaskmovps [rax], ymm0, ymm0 */
		{ "\xc5\xfc\x11\x00", 4, true },	  /* vmovups [rax], ymm0 */
		{ "\x0f\x7f\x00", 3, true },		  /* movq [rax], mm0 */
		{ "\xdd\x18", 2, true },		  /* fstp qword [rax] */
		{ "\xdd\x00", 2, false },		  /* fld qword [rax] */
		{ "\xd9\x38", 2, true },		  /* fnstcw [rax] */
		{ "\x0f\xae\x18", 3, true },		  /* stmxcsr [rax] */
		{ "\x0f\xae\x00", 3, true },		  /* fxsave [rax] */
		{ "\x0f\x94\x00", 3, true },		  /* sete [rax] */
		{ "\x0f\x94\xc0", 3, false },	  /* sete al */
		{ "\x8c\x18", 2, true },		  /* mov [rax], ds */
		{ "\x0f\x01\x00", 3, true },		  /* sgdt [rax] */
		{ "\x90", 1, false },
	};

	for (unsigned i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		struct insn in;
		int len = insn_decode((const uint8_t *)insns[i].bytes, insns[i].n, INSN_MODE64, &in);

		if (len != (int)insns[i].n || mixed_insn_ends(&in) != insns[i].ends)
			fail_msg("instruction %u of the list: length %d, ends %d", i, len, mixed_insn_ends(&in));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stores_beside_code_make_a_frame_mixed),
		TEST(code_that_comes_back_after_each_store_makes_a_frame_mixed),
		TEST(code_that_comes_back_among_other_stores_makes_a_frame_mixed),
		TEST(code_that_does_not_come_back_does_not),
		TEST(stores_long_apart_do_not),
		TEST(large_stores_and_devices_do_not),
		TEST(each_try_to_watch_a_mixed_frame_again_comes_after_twice_as_many_entries),
		TEST(block_that_stays_is_watched_in_the_end),
		TEST(interpreted_code_of_a_mixed_frame_is_run_as_patched),
		TEST(translated_code_of_a_mixed_frame_is_run_as_patched),
		TEST(each_byte_of_a_checked_block_is_compared),
		TEST(flags_are_kept_for_what_has_taken_the_place_of_a_block),
		cmocka_unit_test(blocks_end_behind_whatever_may_store),
	};

	return cmocka_run_group_tests_name("mixed frames", tests, NULL, NULL);
}
