// SPDX-License-Identifier: GPL-2.0-or-later
/* The page walk: SDM vol. 3, chapter 4, each format with its rights, error codes, and A and D flags. */
#include "system_rig.h"

#include "engine/soft/mmu/walk.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { T0 = 0x100000, T1 = 0x101000, T2 = 0x102000, T3 = 0x103000, PAGE = 0x180000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)
/* Index 5 at each of the four levels, then 4 KiB offset 0x123. */
#define LIN (5ull << 39 | 5ull << 30 | 5ull << 21 | 5ull << 12 | 0x123)
enum { SLOT5 = 5 * 8 };

static const uint64_t table[4] = { T0, T1, T2, T3 };

/* Four levels to PAGE, everything allowed. */
static struct cpu *long_mode(void)
{
	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < 4; i++)
		sys_poke(table[i] + SLOT5, 8, (i < 3 ? table[i + 1] : PAGE) | P | W | U);
	sys.c->cr3 = T0;
	mmu_flush_all(sys.c);
	return sys.c;
}

static void or_entry(unsigned level, uint64_t bits)
{
	sys_poke(table[level] + SLOT5, 8, sys_peek(table[level] + SLOT5, 8) | bits);
}

static void and_entry(unsigned level, uint64_t bits)
{
	sys_poke(table[level] + SLOT5, 8, sys_peek(table[level] + SLOT5, 8) & bits);
}

/* -1, or the error code. */
static int walk(uint64_t linear, enum mmu_access access, enum walk_as as, struct walk *w)
{
	struct walk own;
	uint32_t error = 0;

	return mmu_walk(sys.c, linear, access, as, false, w ? w : &own, &error) ? (int)error : -1;
}

/* --- 4.6: rights --- */

/* Whether table 4-5 and 4.6.1 let the access through; written from the manual's sentences. */
static bool manual_allows(bool user_page, bool writable, bool nx, enum mmu_access access, enum walk_as as, bool smep,
			  bool smap, bool wp)
{
	if (as == WALK_USER) {
		if (!user_page)
			return false;
		return access == MMU_READ || (access == MMU_WRITE ? writable : !nx);
	}
	if (access == MMU_EXEC)
		return !nx && !(user_page && smep);
	if (user_page && smap && as == WALK_KERNEL)
		return false;
	return access == MMU_READ || writable || !wp;
}

static void rights_are_those_of_the_manual_in_every_combination(void **state)
{
	struct cpu *c = long_mode();

	/* Each level withdraws each right in turn (level 4: none does). */
	for (unsigned n = 0; n < 1u << 6; n++)
		for (unsigned level = 0; level < 5; level++)
			for (unsigned access = 0; access < 3; access++)
				for (unsigned as = 0; as < 3; as++) {
					bool smep = n & 1, smap = n & 2, wp = n & 4, u = true, w = true, nx = false;
					bool ok;
					int want;

					c->cr4 = CR4_PAE | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
					c->cr0 = (c->cr0 & ~(uint64_t)CR0_WP) | (wp ? CR0_WP : 0);
					for (unsigned i = 0; i < 4; i++)
						sys_poke(table[i] + SLOT5, 8, (i < 3 ? table[i + 1] : PAGE) | P | W | U);
					if (level < 4) {
						u = !(n & 8);
						w = !(n & 16);
						nx = n & 32;
						and_entry(level, ~(uint64_t)((u ? 0 : U) | (w ? 0 : W)));
						or_entry(level, nx ? NX : 0);
					}
					ok = manual_allows(u, w, nx, access, as, smep, smap, wp);
					/* 4.7: EFER.NXE is 1, so I/D tells fetches */
					want = ok ? -1
						  : (int)(PF_P | (access == MMU_WRITE ? PF_W : 0) | (as == WALK_USER ? PF_U : 0) |
							  (access == MMU_EXEC ? PF_I : 0));
					assert_int_equal(walk(LIN, access, as, NULL), want);
				}
}

/* --- 4.7: error codes --- */

static void not_present_at_any_level_has_p_clear(void **state)
{
	for (unsigned level = 0; level < 4; level++) {
		long_mode();
		and_entry(level, ~1ull);
		or_entry(level, NX | PS); /* an entry that is not present has no reserved bits */
		assert_int_equal(walk(LIN, MMU_READ, WALK_KERNEL_AC, NULL), 0);
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), PF_W | PF_U);
		assert_int_equal(walk(LIN, MMU_EXEC, WALK_USER, NULL), PF_I | PF_U);
	}
}

static void reserved_bits_give_rsvd_and_p(void **state)
{
	/* level, bits: 4.5, tables 4-15 to 4-20, M = 46 */
	static const struct {
		unsigned level;
		uint64_t bits;
	} bad[] = {
		{ 0, 1ull << 46 }, { 1, 1ull << 51 }, { 2, 1ull << 50 }, { 3, 1ull << 46 },
		{ 0, PS }, /* PML4E: bit 7 */
		{ 1, PS | 1 << 13 }, { 1, PS | 1 << 29 }, /* 1 GiB page: bits 13 to 29 */
		{ 2, PS | 1 << 13 }, { 2, PS | 1 << 20 }, /* 2 MiB page: bits 13 to 20 */
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		long_mode();
		or_entry(bad[i].level, bad[i].bits);
		assert_int_equal(walk(LIN, MMU_READ, WALK_KERNEL_AC, NULL), PF_P | PF_RSVD);
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), PF_P | PF_RSVD | PF_W | PF_U);
	}
}

static void nx_is_reserved_without_efer_nxe(void **state)
{
	for (unsigned level = 0; level < 4; level++) {
		struct cpu *c = long_mode();

		c->efer &= ~(uint64_t)EFER_NX;
		or_entry(level, NX);
		assert_int_equal(walk(LIN, MMU_READ, WALK_KERNEL_AC, NULL), PF_P | PF_RSVD);
		/* I/D is 0 for a fetch while neither NXE nor SMEP is on */
		assert_int_equal(walk(LIN, MMU_EXEC, WALK_USER, NULL), PF_P | PF_RSVD | PF_U);
		c->cr4 |= CR4_SMEP;
		assert_int_equal(walk(LIN, MMU_EXEC, WALK_USER, NULL), PF_P | PF_RSVD | PF_U | PF_I);
	}
}

static void bits_52_to_62_and_9_to_11_are_ignored(void **state)
{
	for (unsigned level = 0; level < 4; level++) {
		long_mode();
		or_entry(level, 0x7ff0000000000e00ull);
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), -1);
	}
}

/* --- 4.8: accessed and dirty --- */

static void reads_set_a_everywhere_and_d_nowhere(void **state)
{
	long_mode();
	assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), -1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(sys_peek(table[i] + SLOT5, 8) & (A | D), A);
}

static void writes_set_d_in_the_leaf_alone(void **state)
{
	long_mode();
	assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), -1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(sys_peek(table[i] + SLOT5, 8) & (A | D), i == 3 ? A | D : A);
}

static void large_leaves_get_their_d(void **state)
{
	for (unsigned level = 1; level < 3; level++) {
		long_mode();
		sys_poke(table[level] + SLOT5, 8, P | W | U | PS);
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), -1);
		assert_int_equal(sys_peek(table[level] + SLOT5, 8) & (A | D), A | D);
		assert_int_equal(sys_peek(table[level - 1] + SLOT5, 8) & (A | D), A);
	}
}

static void a_fault_and_a_debuggers_look_change_nothing(void **state)
{
	struct walk w;
	uint32_t error;

	long_mode();
	and_entry(3, ~(uint64_t)W);
	assert_int_not_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), -1);
	assert_int_equal(mmu_walk(sys.c, LIN, MMU_READ, WALK_KERNEL, true, &w, &error), 0);
	assert_int_equal(w.gpa, PAGE);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(sys_peek(table[i] + SLOT5, 8) & (A | D), 0);
}

enum { FLIPS = 200001 };
static _Atomic int flipping;

static void *flip(void *entry)
{
	for (unsigned i = 0; i < FLIPS; i++)
		atomic_fetch_xor((_Atomic uint64_t *)entry, 1 << 9);
	flipping = 0;
	return NULL;
}

/* The other processor's change of an entry is never lost to our setting of A (4.8: "locked"). */
static void a_and_d_are_set_by_compare_and_swap(void **state)
{
	_Atomic uint64_t *e;
	pthread_t t;

	long_mode();
	e = (_Atomic uint64_t *)(sys.ram->host + T3 + SLOT5);
	flipping = 1;
	assert_int_equal(pthread_create(&t, NULL, flip, (void *)(uintptr_t)e), 0);
	do {
		atomic_fetch_and(e, ~(uint64_t)(A | D));
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), -1);
		assert_int_equal(atomic_load(e) & (A | D), A | D);
	} while (flipping);
	pthread_join(t, NULL);
	assert_int_equal(atomic_load(e) >> 9 & 1, FLIPS & 1);
}

/* Keeps a vCPU that wants to be alone waiting, until it has been seen doing so or has walked without. */
enum { HELD = 1, SEEN, WALKED };
static _Atomic int turn;

static void *hold_the_world(void *unused)
{
	int held = HELD;

	pthread_mutex_lock(&sys.vm->world_lock);
	atomic_store(&turn, HELD);
	while (atomic_load(&turn) == HELD)
		if (atomic_load(&sys.c->parked))
			atomic_compare_exchange_strong(&turn, &held, SEEN);
	pthread_mutex_unlock(&sys.vm->world_lock);
	return unused;
}

/*
 * A table that is its own lower tables, by two entries: the compare-and-swap fails in two walks, since each
 * entry was read a second time before A was set in it. After that no other vCPU gets between.
 */
static void a_walk_that_failed_twice_makes_the_other_processors_stand_still(void **state)
{
	const uint64_t own = 5ull << 39 | 5ull << 30 | 6ull << 21 | 6ull << 12;
	pthread_t t;
	int held = HELD;

	long_mode();
	sys_poke(T0 + SLOT5, 8, T0 | P | W | U);
	sys_poke(T0 + 6 * 8, 8, T0 | P | W | U);
	atomic_store(&sys.c->parked, 0);
	atomic_store(&turn, 0);
	assert_int_equal(pthread_create(&t, NULL, hold_the_world, NULL), 0);
	while (!atomic_load(&turn))
		sched_yield();
	assert_int_equal(walk(own, MMU_WRITE, WALK_USER, NULL), -1);
	atomic_compare_exchange_strong(&turn, &held, WALKED);
	pthread_join(t, NULL);
	assert_int_equal(atomic_load(&turn), SEEN);
	assert_false(atomic_load(&sys.vm->world_wanted));
	assert_int_equal(sys_peek(T0 + SLOT5, 8) & (A | D), A);
	assert_int_equal(sys_peek(T0 + 6 * 8, 8) & (A | D), A | D);
}

/* --- page sizes: 4.5 --- */

static void large_pages_translate_and_carry_g(void **state)
{
	struct cpu *c = long_mode();
	struct walk w;

	sys_poke(T1 + SLOT5, 8, 0x40000000 | 1 << 12 | PS | G | P | W | U); /* bit 12 is PAT */
	assert_int_equal(walk(LIN, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, 0x40000000 | (LIN & 0x3ffff000));
	assert_int_equal(w.shift, 30);
	assert_false(w.global); /* CR4.PGE is off */
	c->cr4 |= CR4_PGE;
	sys_poke(T1 + SLOT5, 8, T2 | G | P | W | U); /* G counts in leaves alone */
	sys_poke(T2 + SLOT5, 8, 0x3fffc0000000ull | 1 << 12 | PS | G | P | W | U);
	assert_int_equal(walk(LIN, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, 0x3fffc0000000ull | (LIN & 0x1ff000));
	assert_int_equal(w.shift, 21);
	assert_true(w.global);
	sys_poke(T2 + SLOT5, 8, T3 | G | P | W | U);
	assert_int_equal(walk(LIN, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.shift, 12);
	assert_false(w.global);
}

static void tables_outside_memory_are_not_present(void **state)
{
	struct cpu *c = long_mode();

	for (unsigned level = 0; level < 3; level++) {
		long_mode();
		sys_poke(table[level] + SLOT5, 8, 0x2000000000 | P | W | U);
		assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_U);
	}
	c = long_mode();
	c->cr3 = 0x3ffffffff000;
	assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_U);
}

static void a_table_that_is_its_own_page_walks(void **state)
{
	struct walk w;

	long_mode();
	sys_poke(T0 + SLOT5, 8, T0 | P | W | U); /* the recursive slot: LIN is then the table itself */
	assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, T0);
	assert_int_equal(sys_peek(T0 + SLOT5, 8), T0 | P | W | U | A | D);
}

/* --- 4.4: PAE --- */

static struct cpu *pae(void)
{
	sys_start(SYS_PROT32, 0);
	sys.c->cr0 |= CR0_PG;
	sys.c->cr4 = CR4_PAE;
	sys.c->efer = EFER_NX;
	sys_poke(T0 + 0x20 + 3 * 8, 8, T1 | P);
	sys_poke(T1 + 511 * 8, 8, T2 | P | W | U);
	sys_poke(T2 + 510 * 8, 8, PAGE | P | W | U);
	assert_true(cr3_switch(sys.c, T0 + 0x20)); /* PDPTs are aligned to 32 bytes */
	cpu_mode_changed(sys.c);
	return sys.c;
}

static void pae_has_three_levels_and_a_pdpte_has_no_rights(void **state)
{
	struct walk w;

	pae();
	assert_int_equal(walk(0xffffe123, MMU_WRITE, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
	assert_int_equal(sys_peek(T0 + 0x20 + 3 * 8, 8), T1 | P); /* no A there */
	assert_int_equal(sys_peek(T1 + 511 * 8, 8), T2 | P | W | U | A);
	assert_int_equal(sys_peek(T2 + 510 * 8, 8), PAGE | P | W | U | A | D);
	sys_poke(T2 + 510 * 8, 8, PAGE | P | W | U | NX);
	assert_int_equal(walk(0xffffe123, MMU_EXEC, WALK_USER, NULL), PF_P | PF_U | PF_I);
	assert_int_equal(walk(0xbfffe123, MMU_READ, WALK_USER, NULL), PF_U); /* PDPTE 2 */
}

static void pae_large_pages_are_2_mib(void **state)
{
	struct walk w;

	pae();
	sys_poke(T1 + 511 * 8, 8, 0x3fffffe00000ull | PS | P | W | U);
	assert_int_equal(walk(0xffffe123, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, 0x3fffffffe000ull);
	assert_int_equal(w.shift, 21);
}

static void pae_reserves_all_bits_from_46_to_62(void **state)
{
	for (unsigned bit = 46; bit < 63; bit++) {
		pae();
		sys_poke(T2 + 510 * 8, 8, PAGE | P | W | U | 1ull << bit);
		assert_int_equal(walk(0xffffe123, MMU_READ, WALK_KERNEL_AC, NULL), PF_P | PF_RSVD);
		pae();
		sys_poke(T1 + 511 * 8, 8, T2 | P | W | U | 1ull << bit);
		assert_int_equal(walk(0xffffe123, MMU_READ, WALK_KERNEL_AC, NULL), PF_P | PF_RSVD);
	}
}

/* --- 4.3: 32-bit paging --- */

static struct cpu *paging32(void)
{
	sys_start(SYS_PROT32, 0);
	sys.c->cr0 |= CR0_PG;
	sys.c->cr4 = CR4_PSE;
	sys.c->cr3 = T0;
	sys_poke(T0 + 1023 * 4, 4, T1 | P | W | U);
	sys_poke(T1 + 1022 * 4, 4, PAGE | P | W | U);
	cpu_mode_changed(sys.c);
	return sys.c;
}

static void paging32_has_two_levels_of_1024(void **state)
{
	struct walk w;

	paging32();
	sys_poke(T1 + 1023 * 4, 4, 0x12345000);
	assert_int_equal(walk(0xffffe123, MMU_WRITE, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
	assert_int_equal(sys_peek(T0 + 1023 * 4, 4), T1 | P | W | U | A);
	assert_int_equal(sys_peek(T1 + 1022 * 4, 4), PAGE | P | W | U | A | D);
	assert_int_equal(sys_peek(T1 + 1023 * 4, 4), 0x12345000); /* its neighbour is left alone */
	assert_int_equal(walk(0xfffff123, MMU_WRITE, WALK_USER, NULL), PF_W | PF_U);
}

static void pse_pages_are_4_mib_with_40_bits(void **state)
{
	struct cpu *c = paging32();
	struct walk w;

	sys_poke(T0 + 1023 * 4, 4, 0x00400000 | 0xff << 13 | PS | P | W | U);
	assert_int_equal(walk(0xffffe123, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, 0xff007fe000ull);
	assert_int_equal(w.shift, 22);
	sys_poke(T0 + 1023 * 4, 4, 0x00400000 | 1 << 21 | PS | P | W | U);
	assert_int_equal(walk(0xffffe123, MMU_READ, WALK_KERNEL_AC, NULL), PF_P | PF_RSVD);
	c->cr4 = 0; /* PS is ignored */
	sys_poke(T0 + 1023 * 4, 4, T1 | PS | P | W | U);
	assert_int_equal(walk(0xffffe123, MMU_READ, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
}

/* 4.7: I/D needs CR4.SMEP, or CR4.PAE with EFER.NXE. */
static void fetches_of_32_bit_paging_do_not_set_id(void **state)
{
	struct cpu *c = paging32();

	c->efer = EFER_NX;
	assert_int_equal(walk(0xfffff000, MMU_EXEC, WALK_USER, NULL), PF_U);
	c->cr4 |= CR4_SMEP;
	assert_int_equal(walk(0xfffff000, MMU_EXEC, WALK_USER, NULL), PF_U | PF_I);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rights_are_those_of_the_manual_in_every_combination),
		TEST(not_present_at_any_level_has_p_clear),
		TEST(reserved_bits_give_rsvd_and_p),
		TEST(nx_is_reserved_without_efer_nxe),
		TEST(bits_52_to_62_and_9_to_11_are_ignored),
		TEST(reads_set_a_everywhere_and_d_nowhere),
		TEST(writes_set_d_in_the_leaf_alone),
		TEST(large_leaves_get_their_d),
		TEST(a_fault_and_a_debuggers_look_change_nothing),
		TEST(a_and_d_are_set_by_compare_and_swap),
		TEST(a_walk_that_failed_twice_makes_the_other_processors_stand_still),
		TEST(large_pages_translate_and_carry_g),
		TEST(tables_outside_memory_are_not_present),
		TEST(a_table_that_is_its_own_page_walks),
		TEST(pae_has_three_levels_and_a_pdpte_has_no_rights),
		TEST(pae_large_pages_are_2_mib),
		TEST(pae_reserves_all_bits_from_46_to_62),
		TEST(paging32_has_two_levels_of_1024),
		TEST(pse_pages_are_4_mib_with_40_bits),
		TEST(fetches_of_32_bit_paging_do_not_set_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
