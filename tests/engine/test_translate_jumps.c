// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's jump caches: what they know, and what makes them forget it (src/engine/soft/translate/cache.h).
 */
#include "system_rig.h"

#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/translate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { FRAME = SYS_DATA >> FRAME_SHIFT, MODE = 7, BLOCK_CODE = 48 };
enum { P = 1, W = 2, U = 4, PS = 0x80, G = 0x100 };

static struct translator *tr;

static struct cpu *start(unsigned cpl)
{
	sys_start_cold(cpl, 256);
	tr = sys.vm->tr;
	return sys.c;
}

/* Fetches from @rip, as the run loop does before it sets an entry. */
static void fetch(uint64_t rip)
{
	sys.c->gpr[GPR_RIP] = rip;
	block_at_rip(sys.c, NULL);
}

static void set(uint64_t rip, uint32_t code)
{
	fetch(rip);
	jumps_set(sys.c, rip, code);
}

/* As emitted code does it: where @rip's code is, as an offset in the area, or 0. */
static uint32_t lookup(uint64_t rip)
{
	uint64_t entry = (sys.c->t.jumps & ~0xffffull) | (rip >> JUMP_SHIFT & 0xffff);
	const struct jump_entry *j = (const struct jump_entry *)(uintptr_t)(entry << 4);

	return j->neg_rip + rip == 0 ? (uint32_t)(j->code - (uint64_t)(uintptr_t)tr->rx) : 0;
}

static void empty_jump_cache_has_no_address(void **state)
{
	start(0);
	jumps_open(sys.c);
	assert_int_not_equal(sys.c->t.jumps, jump_cache_name(tr->closed));
	for (unsigned k = 0; k < 2; k++) {
		const struct jump_way *j = (const struct jump_way *)(uintptr_t)(sys.c->t.jumps << 4);

		for (unsigned i = 0; i < JUMPS; i++)
			assert_int_not_equal(jump_index(-j->entry[i].neg_rip), i);
		jumps_close(sys.c);
	}
}

static void jump_cache_has_what_was_set(void **state)
{
	start(0);
	jumps_open(sys.c);
	assert_int_equal(lookup(SYS_CODE + 5), 0);
	set(SYS_CODE + 5, 0x1234);
	assert_int_equal(lookup(SYS_CODE + 5), 0x1234);
	assert_int_equal(lookup(SYS_CODE + 6), 0);
	assert_int_equal(lookup(SYS_CODE + 5 + JUMPS_COVER), 0);
	set(SYS_CODE + 5 + JUMPS_COVER, 0x99); /* the same entry */
	assert_int_equal(lookup(SYS_CODE + 5), 0);
	assert_int_equal(lookup(SYS_CODE + 5 + JUMPS_COVER), 0x99);
	jumps_forget(sys.c, SYS_CODE + 5);
	assert_int_equal(lookup(SYS_CODE + 5 + JUMPS_COVER), 0x99);
	jumps_forget(sys.c, SYS_CODE + 5 + JUMPS_COVER);
	assert_int_equal(lookup(SYS_CODE + 5 + JUMPS_COVER), 0);
}

static void addresses_of_one_entry_are_told_apart(void **state)
{
	start(0);
	jumps_open(sys.c);
	for (unsigned i = 0; i < 1 << JUMP_SHIFT; i++)
		assert_int_equal(jump_index(SYS_CODE + 0x40 + i), jump_index(SYS_CODE + 0x40));
	set(SYS_CODE + 0x41, 0x1234);
	assert_int_equal(lookup(SYS_CODE + 0x40), 0);
	assert_int_equal(lookup(SYS_CODE + 0x41), 0x1234);
	assert_int_equal(lookup(SYS_CODE + 0x42), 0);
	set(SYS_CODE + 0x42, 0x99);
	assert_int_equal(lookup(SYS_CODE + 0x41), 0);
	/* The other is in the second way, and goes with its page, too. */
	assert_non_null(jumps_find(sys.c, SYS_CODE + 0x41));
	mmu_flush_page(sys.c, SYS_CODE);
	assert_null(jumps_find(sys.c, SYS_CODE + 0x41));
	assert_null(jumps_find(sys.c, SYS_CODE + 0x42));
}

static void entry_of_another_page_than_is_fetched_from_is_not_set(void **state)
{
	start(0);
	jumps_open(sys.c);
	fetch(SYS_CODE);
	jumps_set(sys.c, SYS_HANDLER, 0x1234);
	assert_int_equal(lookup(SYS_HANDLER), 0);
}

static void invlpg_drops_the_entries_of_its_page(void **state)
{
	start(0);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	sys_poke(SYS_CODE + 0xff7, 1, 0xf4); /* HLT: nothing is fetched behind it */
	set(SYS_CODE + 0xff7, 2);
	set(SYS_HANDLER, 3);
	mmu_flush_page(sys.c, SYS_DATA);
	assert_int_equal(lookup(SYS_CODE), 1);
	assert_int_equal(lookup(SYS_CODE + 0xff7), 2);
	mmu_flush_page(sys.c, SYS_CODE + 0x123);
	assert_int_equal(lookup(SYS_CODE), 0);
	assert_int_equal(lookup(SYS_CODE + 0xff7), 0);
	assert_int_equal(lookup(SYS_HANDLER), 3);
}

static void invlpg_anywhere_in_a_large_page_drops_its_entries(void **state)
{
	enum { LARGE = 2 << 20 };

	start(0);
	sys_poke(SYS_PML4 + 0x2000 + 8, 8, P | W | U | PS); /* 2 MiB at LARGE: physical 0 */
	jumps_open(sys.c);
	set(LARGE + SYS_CODE, 1);
	mmu_flush_page(sys.c, LARGE + 0x100000);
	assert_int_equal(lookup(LARGE + SYS_CODE), 0);
}

/* Entries 1 in SYS_CODE, and 2 in SYS_HANDLER, whose page is global. */
static void start_with_a_global_page(unsigned cpl)
{
	start(cpl);
	sys.c->cr4 |= CR4_PGE;
	sys_pte(SYS_HANDLER, SYS_HANDLER | P | W | U | G);
	mmu_flush_all(sys.c);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	set(SYS_HANDLER, 2);
}

static void cr3_load_keeps_global_supervisor_code_only(void **state)
{
	start_with_a_global_page(0);
	mmu_load_cr3(sys.c, SYS_PML4);
	assert_int_equal(lookup(SYS_CODE), 0);
	assert_int_equal(lookup(SYS_HANDLER), 2);
	mmu_flush_all(sys.c);
	assert_int_equal(lookup(SYS_HANDLER), 0);
}

static void cr3_load_drops_user_code(void **state)
{
	start_with_a_global_page(3);
	mmu_load_cr3(sys.c, SYS_PML4);
	assert_int_equal(lookup(SYS_CODE), 0);
	assert_int_equal(lookup(SYS_HANDLER), 0);
}

static void pcid(unsigned n, bool keep)
{
	mmu_load_cr3(sys.c, SYS_PML4 | n | (keep ? 1ull << 63 : 0));
}

static void user_code_of_each_pcid_has_its_own_entries(void **state)
{
	start(3);
	sys.c->cr4 |= CR4_PCIDE;
	mmu_flush_all(sys.c);
	pcid(1, false);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	pcid(2, false);
	assert_int_equal(lookup(SYS_CODE), 0);
	set(SYS_CODE, 2);
	pcid(1, true);
	assert_int_equal(lookup(SYS_CODE), 1);
	pcid(2, true);
	assert_int_equal(lookup(SYS_CODE), 2);
	mmu_flush_pcid(sys.c, 1);
	assert_int_equal(lookup(SYS_CODE), 2);
	pcid(1, true);
	assert_int_equal(lookup(SYS_CODE), 0);
	pcid(2, false);
	assert_int_equal(lookup(SYS_CODE), 0);
	/* More of them than there are spaces: the space of the first has been given to another. */
	set(SYS_CODE, 3);
	for (unsigned i = 10; i < 10 + TLB_SPACES; i++) {
		pcid(i, true);
		assert_int_equal(lookup(SYS_CODE), 0);
	}
	pcid(2, true);
	assert_int_equal(lookup(SYS_CODE), 0);
}

static void supervisor_code_that_is_not_global_goes_with_its_space(void **state)
{
	start(0);
	sys.c->cr4 |= CR4_PCIDE;
	mmu_flush_all(sys.c);
	pcid(1, false);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	pcid(2, true);
	assert_int_equal(lookup(SYS_CODE), 0);
	pcid(1, true);
	assert_int_equal(lookup(SYS_CODE), 0);
}

static void levels_and_ac_do_not_see_each_others_entries(void **state)
{
	start(0);
	sys.c->cr4 |= CR4_SMAP;
	sys_pte(SYS_CODE, SYS_CODE | P | W);
	mmu_flush_all(sys.c);
	cpu_mode_changed(sys.c);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	sys.c->sysflags |= RF_AC;
	mmu_select(sys.c);
	assert_int_equal(lookup(SYS_CODE), 0);
	set(SYS_CODE, 2);
	sys.c->sysflags &= ~(uint32_t)RF_AC;
	mmu_select(sys.c);
	assert_int_equal(lookup(SYS_CODE), 1);
	sys.c->cpl = 3;
	cpu_mode_changed(sys.c);
	assert_int_equal(lookup(SYS_CODE), 0);
	sys.c->cpl = 0;
	cpu_mode_changed(sys.c);
	assert_int_equal(lookup(SYS_CODE), 1);
}

static void jump_cache_is_emptied_also_when_its_log_has_run_over(void **state)
{
	enum { STEP = 1 << JUMP_SHIFT, PAGES = 3 * STEP };

	start(3);
	jumps_open(sys.c);
	for (unsigned page = 0; page < PAGES; page++)
		for (unsigned i = 0; i < FRAME_SIZE; i += STEP) {
			if (!i)
				fetch(SYS_CODE + page * FRAME_SIZE);
			jumps_set(sys.c, SYS_CODE + page * FRAME_SIZE + i, 64);
		}
	assert_int_equal(lookup(SYS_CODE + 0x2348), 64);
	mmu_load_cr3(sys.c, SYS_PML4);
	for (unsigned i = 0; i < PAGES * FRAME_SIZE; i++)
		assert_int_equal(lookup(SYS_CODE + i), 0);
	empty_jump_cache_has_no_address(state);
}

static void request_closes_the_jump_cache_until_it_is_taken(void **state)
{
	start(0);
	jumps_open(sys.c);
	set(SYS_CODE, 1);
	assert_int_equal(lookup(SYS_CODE), 1);
	cpu_request(sys.c, REQ_EVENT);
	assert_int_equal(lookup(SYS_CODE), 0);
	jumps_open(sys.c);
	assert_int_equal(lookup(SYS_CODE), 0);
	mmu_select(sys.c);
	assert_int_equal(lookup(SYS_CODE), 0);
	atomic_store(&sys.c->req, 0);
	jumps_open(sys.c);
	assert_int_equal(lookup(SYS_CODE), 1);
}

static void both(uint64_t one, uint64_t other)
{
	set(one, 0x100);
	set(other, 0x200);
	assert_ptr_equal(jumps_find(sys.c, one), tr->rx + 0x100);
	assert_ptr_equal(jumps_find(sys.c, other), tr->rx + 0x200);
}

static void address_put_out_of_its_entry_is_in_the_second_way_until_it_is_dropped(void **state)
{
	const uint64_t one = SYS_CODE, other = SYS_CODE + JUMPS;
	struct cpu *c = start(0);

	jumps_open(c);
	both(one, other);
	jumps_forget(c, one);
	assert_null(jumps_find(c, one));
	assert_non_null(jumps_find(c, other));
	both(one, other);
	jumps_drop_page(c, one);
	assert_null(jumps_find(c, one));
	assert_non_null(jumps_find(c, other));
	both(one, other);
	jumps_drop_page(c, other);
	assert_non_null(jumps_find(c, one));
	assert_null(jumps_find(c, other));
	both(one, other);
	jumps_drop(c, 0, false);
	assert_null(jumps_find(c, one));
	assert_null(jumps_find(c, other));
	both(one, other);
	jumps_drop(c, -1, true);
	assert_null(jumps_find(c, one));
	assert_null(jumps_find(c, other));
	/* Of address 0 nothing is known in either. */
	both(JUMPS, 2 * JUMPS);
	jumps_forget(c, JUMPS);
	jumps_forget(c, 2 * JUMPS);
	assert_null(jumps_find(c, 0));
}

static void flush_of_the_cache_empties_jump_caches_and_slots(void **state)
{
	struct cpu *c = start(0);

	jumps_open(c);
	set(SYS_CODE, 64);
	mmu_probe(c, SEG_DS, SYS_DATA, 8, MMU_WRITE);
	assert_true(slot_fill(c, 3, SYS_DATA, 8, true));
	cache_flush(tr, c);
	assert_int_equal(lookup(SYS_CODE), 0);
	assert_int_equal(c->slot[3].limit, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_jump_cache_has_no_address),
		TEST(jump_cache_has_what_was_set),
		TEST(addresses_of_one_entry_are_told_apart),
		TEST(entry_of_another_page_than_is_fetched_from_is_not_set),
		TEST(invlpg_drops_the_entries_of_its_page),
		TEST(invlpg_anywhere_in_a_large_page_drops_its_entries),
		TEST(cr3_load_keeps_global_supervisor_code_only),
		TEST(cr3_load_drops_user_code),
		TEST(user_code_of_each_pcid_has_its_own_entries),
		TEST(supervisor_code_that_is_not_global_goes_with_its_space),
		TEST(levels_and_ac_do_not_see_each_others_entries),
		TEST(jump_cache_is_emptied_also_when_its_log_has_run_over),
		TEST(request_closes_the_jump_cache_until_it_is_taken),
		TEST(address_put_out_of_its_entry_is_in_the_second_way_until_it_is_dropped),
		TEST(flush_of_the_cache_empties_jump_caches_and_slots),
	};

	return cmocka_run_group_tests_name("jump caches", tests, NULL, NULL);
}
