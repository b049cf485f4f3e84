// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads, stores and fetches of instructions through the software TLB: what is cached and what drops it
 * (SDM vol. 3, 4.10), accesses across pages, the ends of the address space, alignment checks.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { T1 = 0x101000, T2 = 0x102000, T3 = 0x103000, PAGE = 0x180000, PAGE2 = 0x181000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
/* Mapped by T1, T2, T3 from slot 5 of SYS_PML4 on. */
#define LIN (5ull << 39)
#define TOP 0xfffffffffffff000ull

static struct cpu *start(enum sys_mode mode, unsigned cpl)
{
	sys_start(mode, cpl);
	if (mode == SYS_LONG || mode == SYS_COMPAT) {
		sys_poke(SYS_PML4 + 5 * 8, 8, T1 | P | W | U);
		sys_poke(T1, 8, T2 | P | W | U);
		sys_poke(T2, 8, T3 | P | W | U);
	}
	return sys.c;
}

/* Runs code at SYS_CODE again. */
#define AGAIN(...) (sys.c->gpr[GPR_RIP] = SYS_CODE, RUN(__VA_ARGS__))

static uint64_t load(uint64_t linear)
{
	sys.c->gpr[RBX] = linear;
	assert_int_equal(AGAIN(0x48, 0x8b, 0x03), SYS_HALTED); /* MOV RAX, [RBX] */
	return sys.c->gpr[RAX];
}

static int try_load(uint64_t linear)
{
	sys.c->gpr[RBX] = linear;
	return AGAIN(0x48, 0x8b, 0x03);
}

static void map(unsigned page, uint64_t entry)
{
	sys_poke(T3 + page * 8, 8, entry);
}

/* --- the ends of the address space --- */

static void the_last_page_is_no_hit_of_an_empty_entry(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	for (uint64_t at = TOP; at; at += 0x7ff) {
		c->gpr[RBX] = at;
		assert_int_equal(AGAIN(0x8a, 0x03), EXC_PF); /* MOV AL, [RBX] */
		assert_true(c->cr2 == at);
		c->gpr[RBX] = at;
		assert_int_equal(AGAIN(0x88, 0x03), EXC_PF); /* MOV [RBX], AL */
		if (at > ~0ull - 0x7ff)
			break;
	}
}

/* 0x1ff000 and the last page share an entry: what is known of the one says nothing about the other. */
static void the_last_page_is_no_hit_of_half_an_entry(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	load(0x1ff000);
	c->gpr[RBX] = ~0ull;
	assert_int_equal(AGAIN(0x88, 0x03), EXC_PF);
	load(0x1ff000);
	c->gpr[RAX] = ~0ull;
	assert_int_equal(AGAIN(0xff, 0xe0), EXC_PF); /* JMP RAX */
	assert_true(c->cr2 == ~0ull);
}

static void the_last_page_is_no_hit_with_alignment_checks(void **state)
{
	struct cpu *c = start(SYS_LONG, 3);

	c->cr0 |= CR0_AM;
	c->sysflags |= RF_AC;
	cpu_mode_changed(c);
	c->gpr[RBX] = ~0ull;
	assert_int_equal(RUN(0x8a, 0x03), EXC_PF);
}

static void the_last_page_can_be_mapped(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	sys_poke(SYS_PML4 + 511 * 8, 8, T1 | P | W | U);
	sys_poke(T1 + 511 * 8, 8, T2 | P | W | U);
	sys_poke(T2 + 511 * 8, 8, T3 | P | W | U);
	map(511, PAGE | P | W);
	c->gpr[RBX] = ~0ull;
	c->gpr[RAX] = 0x5a;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(AGAIN(0x88, 0x03), SYS_HALTED);
	assert_int_equal(sys_peek(PAGE + 0xfff, 1), 0x5a);
	/* INVLPG finds it there */
	map(511, 0);
	c->gpr[RBX] = TOP;
	assert_int_equal(AGAIN(0x0f, 0x01, 0x3b), SYS_HALTED);
	c->gpr[RBX] = ~0ull;
	assert_int_equal(AGAIN(0x8a, 0x03), EXC_PF);
}

/* Vol. 1, 3.3.7.1: #GP(0), or #SS(0) for what implies SS. */
static void non_canonical_addresses_are_gp_or_ss(void **state)
{
	static const uint64_t bad[] = { 0x800000000000ull, 0xffff7fffffffffffull, 1ull << 63, 0x7fffffffffffffffull };

	for (unsigned i = 0; i < 4; i++) {
		struct cpu *c = start(SYS_LONG, 0);

		assert_int_equal(try_load(bad[i]), EXC_GP);
		assert_int_equal(sys_frame(0, 8), 0);
		c->gpr[RBP] = bad[i];
		assert_int_equal(AGAIN(0x8a, 0x45, 0x00), EXC_SS); /* MOV AL, [RBP] */
		c->gpr[RAX] = bad[i];
		assert_int_equal(AGAIN(0xff, 0xe0), EXC_GP);
	}
}

/* The check covers all bytes of the operand, and comes before the walk. */
static void an_operand_that_ends_beyond_the_canonical_half_is_gp(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	assert_int_equal(try_load(0x7ffffffffffcull), EXC_GP);
	c->gpr[RBP] = 0x7ffffffffffcull;
	assert_int_equal(AGAIN(0x48, 0x89, 0x45, 0x00), EXC_SS); /* MOV [RBP], RAX */
	assert_int_equal(try_load(0x7ffffffffff8ull), EXC_PF);
}

/* --- across pages --- */

static void a_store_whose_second_page_faults_leaves_the_first(void **state)
{
	static const struct {
		uint8_t code[4];
		unsigned len, back;
	} store[] = {
		{ { 0x66, 0x89, 0x03 }, 3, 1 },	      /* MOV [RBX], AX */
		{ { 0x89, 0x03 }, 2, 3 },	      /* EAX */
		{ { 0x48, 0x89, 0x03 }, 3, 1 },	      /* RAX */
		{ { 0x48, 0x01, 0x03 }, 3, 7 },	      /* ADD [RBX], RAX */
		{ { 0xf0, 0x48, 0x01, 0x03 }, 4, 4 }, /* LOCK ADD */
		{ { 0x48, 0x87, 0x03 }, 3, 4 },	      /* XCHG */
		{ { 0x0f, 0x11, 0x03 }, 3, 9 },	      /* MOVUPS [RBX], XMM0 */
	};

	for (unsigned i = 0; i < sizeof(store) / sizeof(store[0]); i++)
		for (unsigned kind = 0; kind < 2; kind++) {
			struct cpu *c = start(SYS_LONG, 0);

			c->cr4 |= CR4_OSFXSR;
			map(0, PAGE | P | W);
			map(1, kind ? PAGE2 | P : 0); /* read-only, or absent */
			sys_poke(PAGE + 0xff8, 8, 0x1122334455667788);
			c->gpr[RAX] = ~0ull;
			c->gpr[RBX] = LIN + 0x1000 - store[i].back;
			assert_int_equal(sys_run(store[i].code, store[i].len), EXC_PF);
			assert_true(c->cr2 == LIN + 0x1000);
			assert_int_equal(sys_frame(0, 8), kind ? 3 : 2);
			assert_true(sys_peek(PAGE + 0xff8, 8) == 0x1122334455667788);
			/* and with the page there it is done */
			map(1, PAGE2 | P | W);
			mmu_flush_all(c);
			assert_int_equal((c->gpr[GPR_RIP] = SYS_CODE, sys_run(store[i].code, store[i].len)), SYS_HALTED);
		}
}

static void bytes_on_both_sides_of_a_boundary_are_the_right_ones(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	map(0, PAGE2 | P | W); /* the other way round in memory */
	map(1, PAGE | P | W);
	for (unsigned back = 1; back < 8; back++) {
		c->gpr[RAX] = 0x8877665544332211;
		c->gpr[RBX] = LIN + 0x1000 - back;
		assert_int_equal(AGAIN(0x48, 0x89, 0x03), SYS_HALTED);
		assert_true(load(LIN + 0x1000 - back) == 0x8877665544332211);
		assert_int_equal(sys_peek(PAGE2 + 0xfff, 1), 0x11 * back);
		assert_int_equal(sys_peek(PAGE, 1), 0x11 * (back + 1));
	}
}

/* In compatibility mode linear addresses have 32 bits. */
static void accesses_and_code_wrap_at_4_gib_in_32_bit_code(void **state)
{
	struct cpu *c = start(SYS_COMPAT, 0);

	sys_poke(SYS_PML4 + 0x1000 + 3 * 8, 8, T2 | P | W | U);
	sys_poke(T2 + 511 * 8, 8, T3 | P | W | U);
	map(511, PAGE | P | W | U);
	mmu_flush_all(c);
	c->gpr[RAX] = 0x44332211;
	c->gpr[RBX] = 0xfffffffe;
	assert_int_equal(RUN(0x89, 0x03), SYS_HALTED);
	assert_int_equal(sys_peek(PAGE + 0xffe, 2), 0x2211);
	assert_int_equal(sys_peek(0, 2), 0x4433);

	/* MOV EAX, 0x55667788 from 0xfffffffe on, HLT at 3 */
	sys_poke(PAGE + 0xffd, 3, 0x88b890);
	sys_poke(0, 8, 0xf4556677);
	c->gpr[GPR_RIP] = 0xfffffffd;
	sys_go_to_exit();
	assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT);
	assert_int_equal(c->gpr[RAX], 0x55667788);
	assert_int_equal(c->gpr[GPR_RIP], 4);
}

/* --- 4.10.4: what drops translations --- */

static void set_cr3(uint64_t v)
{
	sys.c->gpr[RAX] = v;
	assert_int_equal(AGAIN(0x0f, 0x22, 0xd8), SYS_HALTED);
}

static void set_cr4(uint64_t v)
{
	sys.c->gpr[RAX] = v;
	assert_int_equal(AGAIN(0x0f, 0x22, 0xe0), SYS_HALTED);
}

static void two_values(void)
{
	sys_poke(PAGE, 8, 1);
	sys_poke(PAGE2, 8, 2);
}

static void loading_cr3_drops_what_is_not_global(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	two_values();
	set_cr4(c->cr4 | CR4_PGE);
	map(0, PAGE | P);
	map(1, PAGE | P | G);
	assert_int_equal(load(LIN), 1);
	assert_int_equal(load(LIN + 0x1000), 1);
	map(0, PAGE2 | P);
	map(1, PAGE2 | P | G);
	set_cr3(SYS_PML4);
	assert_int_equal(load(LIN), 2);
	assert_int_equal(load(LIN + 0x1000), 1); /* what G is for */
	set_cr4(c->cr4 & ~(uint64_t)CR4_PGE);
	assert_int_equal(load(LIN + 0x1000), 2);
}

static void invlpg_drops_a_page_global_or_not(void **state)
{
	start(SYS_LONG, 0);
	two_values();
	set_cr4(sys.c->cr4 | CR4_PGE);
	for (unsigned g = 0; g < 2; g++) {
		map(0, PAGE | P | (g ? G : 0));
		sys.c->gpr[RBX] = LIN + 0x123;
		assert_int_equal(AGAIN(0x0f, 0x01, 0x3b), SYS_HALTED);
		assert_int_equal(load(LIN), 1);
		map(0, PAGE2 | P | (g ? G : 0));
		sys.c->gpr[RBX] = LIN + 0xfff;
		assert_int_equal(AGAIN(0x0f, 0x01, 0x3b), SYS_HALTED);
		assert_int_equal(load(LIN), 2);
	}
}

static void invlpg_anywhere_in_a_large_page_drops_all_of_it(void **state)
{
	static const uint64_t at[] = { 0, 0x12345, 0x1fffff };

	for (unsigned gib = 0; gib < 2; gib++)
		for (unsigned i = 0; i < 3; i++) {
			struct cpu *c = start(SYS_LONG, 0);

			two_values();
			sys_poke(gib ? T1 : T2, 8, 0 | PS | P);
			assert_int_equal(load(LIN + PAGE), 1);
			assert_int_equal(load(LIN + PAGE2), 2);
			sys_poke(gib ? T1 : T2, 8, 0);
			c->gpr[RBX] = LIN + at[i];
			assert_int_equal(AGAIN(0x0f, 0x01, 0x3b), SYS_HALTED);
			assert_int_equal(try_load(LIN + PAGE), EXC_PF);
			assert_int_equal(try_load(LIN + PAGE2), EXC_PF);
		}
}

/* 4.10.4.1: MOV to CR3 with PCIDs; bit 63 keeps. */
static void pcids_keep_their_translations_apart(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	two_values();
	set_cr4(c->cr4 | CR4_PCIDE);
	map(0, PAGE | P);
	set_cr3(SYS_PML4 | 1);
	assert_int_equal(load(LIN), 1);
	map(0, PAGE2 | P);
	set_cr3(SYS_PML4 | 2);
	assert_int_equal(load(LIN), 2); /* PCID 2 has nothing of PCID 1 */
	set_cr3(1ull << 63 | SYS_PML4 | 1);
	assert_int_equal(load(LIN), 1); /* kept, as asked */
	assert_true(c->cr3 == (SYS_PML4 | 1)); /* bit 63 is not stored */
	set_cr3(SYS_PML4 | 1);
	assert_int_equal(load(LIN), 2);
	/* More address spaces than there are sets of views: each still sees the tables of its moment. */
	for (unsigned pcid = 0; pcid < 40; pcid++) {
		map(0, (pcid & 1 ? PAGE : PAGE2) | P);
		set_cr3(SYS_PML4 | pcid);
		assert_int_equal(load(LIN), pcid & 1 ? 1 : 2);
	}
}

static void invpcid(unsigned type, uint64_t pcid, uint64_t linear)
{
	struct cpu *c = sys.c;

	sys_poke(SYS_DATA, 8, pcid);
	sys_poke(SYS_DATA + 8, 8, linear);
	c->gpr[RAX] = type;
	c->gpr[RBX] = SYS_DATA;
	assert_int_equal(AGAIN(0x66, 0x0f, 0x38, 0x82, 0x03), SYS_HALTED);
}

/* Vol. 2, INVPCID: in PCID 1, pages 0 (not global) and 1 (global); tables changed behind its back. */
static void invpcid_types_drop_what_they_say(void **state)
{
	/* by type: address of PCID 1, context 1, all with global, all but global; then whether page 0, 1 must be new */
	static const bool must[4][2] = { { true, false }, { true, false }, { true, true }, { true, false } };

	for (unsigned type = 0; type < 4; type++) {
		struct cpu *c = start(SYS_LONG, 0);

		two_values();
		set_cr4(c->cr4 | CR4_PCIDE | CR4_PGE);
		set_cr3(SYS_PML4 | 1);
		map(0, PAGE | P);
		map(1, PAGE | P | G);
		assert_int_equal(load(LIN), 1);
		assert_int_equal(load(LIN + 0x1000), 1);
		map(0, PAGE2 | P);
		map(1, PAGE2 | P | G);
		set_cr3(SYS_PML4 | 2);
		invpcid(type, 1, LIN);
		set_cr3(1ull << 63 | SYS_PML4 | 1);
		assert_int_equal(load(LIN), 2);
		if (must[type][1])
			assert_int_equal(load(LIN + 0x1000), 2);
	}
}

static void invpcid_of_another_context_leaves_this_one(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	two_values();
	set_cr4(c->cr4 | CR4_PCIDE);
	set_cr3(SYS_PML4 | 1);
	map(0, PAGE | P);
	assert_int_equal(load(LIN), 1);
	map(0, PAGE2 | P);
	invpcid(1, 7, 0);
	invpcid(0, 7, LIN);
	assert_int_equal(load(LIN), 1);
}

static void rights_that_cr0_and_cr4_change_are_seen_at_once(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	for (unsigned i = 0; i < 512; i++)
		sys_poke(SYS_PT + i * 8, 8, i * 4096ull | P | W);
	map(0, PAGE | P | U);
	c->cr0 &= ~(uint64_t)CR0_WP;
	mmu_flush_all(c);
	c->gpr[RBX] = LIN;
	assert_int_equal(AGAIN(0x88, 0x03), SYS_HALTED);
	c->gpr[RAX] = c->cr0 | CR0_WP;
	assert_int_equal(AGAIN(0x0f, 0x22, 0xc0), SYS_HALTED);
	assert_int_equal(AGAIN(0x88, 0x03), EXC_PF);
	assert_int_equal(load(LIN), 0);
	set_cr4(c->cr4 | CR4_SMAP);
	assert_int_equal(try_load(LIN), EXC_PF);
	assert_int_equal(sys_frame(0, 8), 1);
	c->gpr[RBX] = LIN;
	assert_int_equal(AGAIN(0x0f, 0x01, 0xcb, 0x8a, 0x03), SYS_HALTED);	  /* STAC; MOV AL, [RBX] */
	assert_int_equal(AGAIN(0x0f, 0x01, 0xca, 0x8a, 0x03), EXC_PF);		  /* CLAC; MOV AL, [RBX] */
}

/* 4.8: a page that was read is dirtied by a store that hits the TLB. */
static void a_store_after_a_load_sets_d(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	map(0, PAGE | P | W);
	load(LIN);
	assert_int_equal(sys_peek(T3, 8) & (A | D), A);
	c->gpr[RBX] = LIN;
	assert_int_equal(AGAIN(0x88, 0x03), SYS_HALTED);
	assert_int_equal(sys_peek(T3, 8) & (A | D), A | D);
}

/* --- alignment: 6.15, interrupt 17 --- */

static void alignment_is_checked_in_user_mode_with_am_and_ac(void **state)
{
	static const struct {
		uint8_t code[4];
		unsigned len, offset;
		bool faults;
	} at[] = {
		{ { 0x66, 0x8b, 0x03 }, 3, 1, true }, { { 0x66, 0x8b, 0x03 }, 3, 2, false }, { { 0x8b, 0x03 }, 2, 2, true },
		{ { 0x8b, 0x03 }, 2, 4, false }, { { 0x48, 0x8b, 0x03 }, 3, 4, true }, { { 0x48, 0x8b, 0x03 }, 3, 8, false },
		{ { 0x48, 0x89, 0x03 }, 3, 4, true }, { { 0x8a, 0x03 }, 2, 1, false }, { { 0xf0, 0x01, 0x03 }, 3, 2, true },
	};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		for (unsigned off = 0; off < 4; off++) {
			/* 0: all on; then without AM, without AC, in the kernel */
			struct cpu *c = start(SYS_LONG, off == 3 ? 0 : 3);

			c->cr0 |= off == 1 ? 0 : CR0_AM;
			c->sysflags |= off == 2 ? 0 : RF_AC;
			cpu_mode_changed(c);
			c->gpr[RBX] = SYS_DATA + at[i].offset;
			/* HLT in user mode is #GP: the instruction before it went well */
			assert_int_equal(sys_run(at[i].code, at[i].len),
					 at[i].faults && !off ? EXC_AC : off == 3 ? SYS_HALTED : EXC_GP);
			if (at[i].faults && !off)
				assert_int_equal(sys_frame(0, 8), 0);
		}
}

/* --- code --- */

static void an_instruction_across_pages_follows_its_second_page(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);
	static const uint8_t mov[] = { 0xb8, 0x11, 0x11 };

	map(0, PAGE | P);
	map(1, PAGE2 | P);
	assert_int_equal(ram_write(sys.ram, PAGE + 0xffd, mov, 3), 0);
	sys_poke(PAGE2, 4, 0xf42222);	       /* HLT behind it */
	sys_poke(PAGE2 + 0x1000, 4, 0xf43333); /* the other second page */
	for (unsigned i = 0; i < 4; i++) {
		c->gpr[GPR_RIP] = LIN + 0xffd;
		sys_go_to_exit();
		assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT);
		assert_int_equal(c->gpr[RAX], i < 2 ? 0x22221111 : 0x33331111);
		if (i == 1) {
			map(1, (PAGE2 + 0x1000) | P);
			mmu_flush_page(c, LIN + 0x1000);
		}
	}
	/* and faults on it: CR2 is the second page, RIP the instruction */
	map(1, 0);
	mmu_flush_page(c, LIN + 0x1000);
	c->gpr[GPR_RIP] = LIN + 0xffd;
	sys_go_to_exit();
	assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + EXC_PF + 1);
	assert_true(c->cr2 == LIN + 0x1000);
	assert_true(sys_frame(1, 8) == LIN + 0xffd);
	assert_int_equal(sys_frame(0, 8), 0x10);
}

/* Two linear addresses of one frame: the store through the one is seen by code at the other. */
static void code_is_stale_however_it_was_written(void **state)
{
	struct cpu *c = start(SYS_LONG, 0);

	map(0, SYS_CODE | P | W);
	for (unsigned i = 1; i < 5; i++) {
		c->gpr[RBX] = LIN + 7;
		c->gpr[RCX] = i;
		/* MOV [RBX], CL; MOV EAX, imm32 at 2; the imm's last byte is at 6 */
		assert_int_equal(AGAIN(0x88, 0x0b, 0x90, 0xb8, 0, 0, 0, 0), SYS_HALTED);
		assert_int_equal(c->gpr[RAX], i << 24);
	}
}

/* The store's own block: the very next instruction is already the new one (vol. 3, 11.6). */
static void a_block_that_rewrites_its_next_instruction_runs_the_new_one(void **state)
{
	/* by kind: MOV, LOCK OR, REP MOVSB, MOVUPS, XCHG */
	static const uint8_t store[][9] = {
		{ 0x66, 0x89, 0x0b },
		{ 0xf0, 0x66, 0x09, 0x0b },
		{ 0xf3, 0xa4 },
		{ 0x0f, 0x11, 0x03 },
		{ 0x66, 0x87, 0x0b },
	};
	static const uint8_t len[] = { 3, 4, 2, 3, 3 };

	for (unsigned i = 0; i < 5; i++) {
		struct cpu *c = start(SYS_LONG, 0);
		uint8_t code[32];
		unsigned n = 0;

		c->cr4 |= CR4_OSFXSR;
		memcpy(code + n, store[i], len[i]);
		n += len[i];
		memset(code + n, 0, 16); /* ADD [RAX], AL, until it is two NOPs... */
		n += 2;
		memset(code + n, 0x90, 16);
		n += 16;
		/* ... by 16 NOPs, two, or the OR of 0x9090 */
		memset(c->x.xmm[0], 0x90, 16);
		sys_poke(SYS_DATA, 8, 0x9090);
		c->gpr[RSI] = SYS_DATA;
		c->gpr[RDI] = c->gpr[RBX] = SYS_CODE + len[i];
		c->gpr[RCX] = i == 2 ? 2 : 0x9090;
		c->gpr[RAX] = 0x800000000000; /* not canonical: the old instruction would be #GP */
		assert_int_equal(sys_run(code, n), SYS_HALTED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_last_page_is_no_hit_of_an_empty_entry),
		TEST(the_last_page_is_no_hit_of_half_an_entry),
		TEST(the_last_page_is_no_hit_with_alignment_checks),
		TEST(the_last_page_can_be_mapped),
		TEST(non_canonical_addresses_are_gp_or_ss),
		TEST(an_operand_that_ends_beyond_the_canonical_half_is_gp),
		TEST(a_store_whose_second_page_faults_leaves_the_first),
		TEST(bytes_on_both_sides_of_a_boundary_are_the_right_ones),
		TEST(accesses_and_code_wrap_at_4_gib_in_32_bit_code),
		TEST(loading_cr3_drops_what_is_not_global),
		TEST(invlpg_drops_a_page_global_or_not),
		TEST(invlpg_anywhere_in_a_large_page_drops_all_of_it),
		TEST(pcids_keep_their_translations_apart),
		TEST(invpcid_types_drop_what_they_say),
		TEST(invpcid_of_another_context_leaves_this_one),
		TEST(rights_that_cr0_and_cr4_change_are_seen_at_once),
		TEST(a_store_after_a_load_sets_d),
		TEST(alignment_is_checked_in_user_mode_with_am_and_ac),
		TEST(an_instruction_across_pages_follows_its_second_page),
		TEST(code_is_stale_however_it_was_written),
		TEST(a_block_that_rewrites_its_next_instruction_runs_the_new_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
