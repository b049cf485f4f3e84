// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation slots and the stack window: what they may show, and what takes it from them
 * (src/engine/soft/translate/cache.h). What other vCPUs take is in test_translate_withdraw.c.
 */
#include "slots_rig.h"
#include "system_rig.h"

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/mmu/tlb.h"
#include "engine/soft/translate/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { FRAME = SYS_DATA >> FRAME_SHIFT, SLOT = 7 };
enum { P = 1, W = 2, U = 4, PS = 0x80, G = 0x100 };

static struct translator *tr;

static struct cpu *start(unsigned cpl)
{
	sys_start_cold(cpl, 64 << 10);
	tr = sys.vm->tr;
	return sys.c;
}

static bool load(uint64_t linear, unsigned size)
{
	mmu_probe(sys.c, SEG_DS, linear, size, MMU_READ);
	return slot_fill(sys.c, SLOT, linear, size, false);
}

static bool store(uint64_t linear, unsigned size)
{
	mmu_probe(sys.c, SEG_DS, linear, size, MMU_WRITE);
	return slot_fill(sys.c, SLOT, linear, size, true);
}

static uint8_t *ram_at(uint64_t offset)
{
	return sys.ram->host + offset;
}

/* --- filling --- */

static void slot_shows_its_page_up_to_the_last_access_that_fits(void **state)
{
	struct cpu *c = start(0);

	assert_true(load(SYS_DATA + 0x10, 8));
	assert_ptr_equal(through(c, SLOT, SYS_DATA), ram_at(SYS_DATA));
	assert_ptr_equal(through(c, SLOT, SYS_DATA + 0x123), ram_at(SYS_DATA + 0x123));
	assert_ptr_equal(through(c, SLOT, SYS_DATA + 0xff8), ram_at(SYS_DATA + 0xff8));
	assert_null(through(c, SLOT, SYS_DATA + 0xff9));
	assert_null(through(c, SLOT, SYS_DATA - 1));
	assert_null(through(c, SLOT, SYS_DATA + 0x1000));
	assert_null(through(c, SLOT, SYS_DATA | 1ull << 63));
	assert_true(load(SYS_DATA, 4096));
	assert_non_null(through(c, SLOT, SYS_DATA));
	assert_null(through(c, SLOT, SYS_DATA + 1));
}

static void access_across_pages_needs_both(void **state)
{
	struct cpu *c = start(0);

	mmu_probe(c, SEG_DS, SYS_DATA, 8, MMU_WRITE);
	assert_false(slot_fill(c, SLOT, SYS_DATA + 0xffc, 8, false));
	assert_int_equal(c->slot[SLOT].limit, 0);
	mmu_probe(c, SEG_DS, SYS_DATA + 0x1000, 8, MMU_READ);
	assert_false(slot_fill(c, SLOT, SYS_DATA + 0xffc, 8, true));
	assert_true(slot_fill(c, SLOT, SYS_DATA + 0xffc, 8, false));
	assert_ptr_equal(through(c, SLOT, SYS_DATA), ram_at(SYS_DATA));
	assert_ptr_equal(through(c, SLOT, SYS_DATA + 0x1ff8), ram_at(SYS_DATA + 0x1ff8));
	assert_null(through(c, SLOT, SYS_DATA + 0x1ff9));
	assert_null(through(c, SLOT, SYS_DATA - 1));
	for (unsigned i = 0; i < 2; i++) {
		assert_true(slot_fill(c, SLOT, SYS_DATA + 0xffc, 8, false));
		mmu_flush_page(c, SYS_DATA + i * 0x1000);
		assert_int_equal(c->slot[SLOT].limit, 0);
		mmu_probe(c, SEG_DS, SYS_DATA, 0x1008, MMU_READ);
	}
}

/* Asks until the pair is mapped. */
static bool pair_fill(uint64_t linear, bool write)
{
	mmu_probe(sys.c, SEG_DS, linear, 8, write ? MMU_WRITE : MMU_READ);
	for (unsigned i = 0; i < 8; i++)
		if (slot_fill(sys.c, SLOT, linear, 8, write))
			return true;
	return false;
}

static void pages_apart_in_memory_are_shown_side_by_side(void **state)
{
	const uint64_t at = PAGE0 + 0xffc;
	struct cpu *c = start(0);
	uint64_t seen;

	sys_pte(PAGE0, (PAGE0 + 0x5000) | P | W | U);
	sys_pte(PAGE0 + 0x1000, (PAGE0 + 0x2000) | P | W | U);
	mmu_flush_all(c);
	memcpy(ram_at(PAGE0 + 0x5ffc), "abcd", 4);
	memcpy(ram_at(PAGE0 + 0x2000), "efgh", 4);
	assert_true(pair_fill(at, true));
	memcpy(&seen, through(c, SLOT, at), 8);
	assert_memory_equal(&seen, "abcdefgh", 8);
	memcpy(through(c, SLOT, at), "12345678", 8);
	assert_memory_equal(ram_at(PAGE0 + 0x5ffc), "1234", 4);
	assert_memory_equal(ram_at(PAGE0 + 0x2000), "5678", 4);
	/* Either frame's code takes it. */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t frame = (PAGE0 + (i ? 0x2000 : 0x5000)) >> FRAME_SHIFT;

		assert_true(pair_fill(at, true));
		cache_watch_frame(c, frame);
		assert_int_equal(c->slot[SLOT].limit, 0);
		assert_false(pair_fill(at, true));
		assert_true(pair_fill(at, false));
		cache_frame_written(tr, frame);
	}
}

static void pair_whose_place_is_taken_is_shown_no_more(void **state)
{
	struct cpu *c = start(0);
	uint64_t before, first;
	unsigned lost = 0;

	/* More pairs than there are places for. */
	for (unsigned a = 0; a < 96; a++)
		for (unsigned b = 0; b < 96; b++) {
			uint64_t fa = 0x40000 + a * 0x1000, fb = 0x40000 + b * 0x1000;

			if (a == b)
				continue;
			sys_pte(PAGE0, fa | P | W | U);
			sys_pte(PAGE0 + 0x1000, fb | P | W | U);
			mmu_flush_page(c, PAGE0);
			mmu_flush_page(c, PAGE0 + 0x1000);
			memcpy(ram_at(fa + 0xffc), &a, 4);
			memcpy(ram_at(fb), &b, 4);
			before = slots_dropped(c);
			assert_true(pair_fill(PAGE0 + 0xffc, true));
			memcpy(&first, through(c, SLOT, PAGE0 + 0xffc), 8);
			assert_int_equal((uint32_t)first, a);
			assert_int_equal(first >> 32, b);
			lost += slots_dropped(c) != before;
		}
	assert_true(lost > 4096);
}

static void slot_needs_the_tlb_to_have_the_page(void **state)
{
	struct cpu *c = start(0);

	assert_false(slot_fill(c, SLOT, SYS_DATA, 8, false));
	mmu_load(c, SEG_DS, SYS_DATA, 8);
	assert_true(slot_fill(c, SLOT, SYS_DATA, 8, false));
	assert_false(slot_fill(c, SLOT, SYS_DATA, 8, true)); /* no store has been here */
	assert_non_null(through(c, SLOT, SYS_DATA));	    /* and nothing has changed */
	mmu_store(c, SEG_DS, SYS_DATA, 8, 0);
	assert_true(slot_fill(c, SLOT, SYS_DATA, 8, true));
	assert_true(sys.ram->frame[FRAME] & FRAME_DIRTY);
}

static void read_only_page_is_for_loads(void **state)
{
	struct cpu *c = start(0);

	sys_page(SYS_DATA, P | U);
	assert_true(load(SYS_DATA, 8));
	assert_false(slot_fill(c, SLOT, SYS_DATA, 8, true));
}

static void rom_is_for_loads(void **state)
{
	struct cpu *c = start(0);

	assert_int_equal(ram_set_slot(sys.ram, 0, &(struct ram_slot){ .gpa = 0, .size = 0x100000 }), 0);
	assert_int_equal(ram_set_slot(sys.ram, 1, &(struct ram_slot){ .gpa = 0x100000, .size = 0x100000, .offset = 0x100000,
								      .readonly = true }), 0);
	soft_vm_slots_changed(sys.vm);
	assert_true(load(0x100000, 8));
	mmu_probe(c, SEG_DS, 0x100000, 8, MMU_WRITE);
	assert_false(slot_fill(c, SLOT, 0x100000, 8, true));
}

static void frame_with_code_is_for_loads(void **state)
{
	struct cpu *c = start(0);

	mmu_probe(c, SEG_DS, SYS_DATA, 8, MMU_WRITE);
	cache_watch_frame(c, FRAME);
	assert_true(slot_fill(c, SLOT, SYS_DATA, 8, false));
	assert_false(slot_fill(c, SLOT, SYS_DATA, 8, true));
	assert_false(stack_fill(c, SYS_DATA + 0x800, -8, 0));
	cache_frame_written(tr, FRAME);
	assert_true(slot_fill(c, SLOT, SYS_DATA, 8, true));
}

static void alignment_checks_leave_slots_empty(void **state)
{
	struct cpu *c = start(3);

	mmu_probe(c, SEG_DS, SYS_DATA, 8, MMU_WRITE);
	c->cr0 |= CR0_AM;
	c->sysflags |= RF_AC;
	cpu_mode_changed(c);
	assert_false(slot_fill(c, SLOT, SYS_DATA, 8, false));
}

/* --- regions --- */

enum { LARGE = 2 << 20 }; /* linear: a page of 2 MiB, of all the memory that there is */

static struct cpu *start_large(void)
{
	struct cpu *c = start(0);

	sys_poke(SYS_PML4 + 0x2000 + 8, 8, P | W | U | PS);
	return c;
}

static void large_page_in_one_piece_is_shown_whole(void **state)
{
	struct cpu *c = start_large();

	assert_true(load(LARGE + PAGE0, 8));
	assert_ptr_equal(through(c, SLOT, LARGE), ram_at(0));
	assert_ptr_equal(through(c, SLOT, LARGE + 0x1ffff8), ram_at(0x1ffff8));
	assert_null(through(c, SLOT, LARGE + 0x1ffff9));
	assert_null(through(c, SLOT, LARGE - 1));
	/* An access across the edges of two of its 4 KiB, too. */
	assert_true(load(LARGE + PAGE0 + 0xffc, 8));
	mmu_probe(c, SEG_DS, LARGE + 0x1ff000, 8, MMU_READ);
	assert_false(slot_fill(c, SLOT, LARGE + 0x1ffffc, 8, false));
}

static void large_page_in_pieces_is_shown_in_pieces(void **state)
{
	struct cpu *c = start_large();

	assert_int_equal(ram_set_slot(sys.ram, 0, &(struct ram_slot){ .gpa = 0, .size = 0x100000 }), 0);
	assert_int_equal(ram_set_slot(sys.ram, 1, &(struct ram_slot){ .gpa = 0x100000, .size = 0x100000, .offset = 0x100000 }), 0);
	soft_vm_slots_changed(sys.vm);
	assert_true(load(LARGE + PAGE0, 8));
	assert_non_null(through(c, SLOT, LARGE + PAGE1));
	assert_null(through(c, SLOT, LARGE + 0x100000));
	assert_true(load(LARGE + 0x100000, 8));
	assert_null(through(c, SLOT, LARGE + PAGE0));
}

static void region_with_the_local_apic_is_shown_in_small_pieces(void **state)
{
	struct cpu *c = start_large();

	c->apic_base = (c->apic_base & 0xfff) | 0x1fe000;
	mmu_flush_all(c);
	assert_true(load(LARGE + PAGE0, 8));
	assert_null(through(c, SLOT, LARGE + PAGE1));
}

static void large_page_is_stored_to_in_blocks_that_are_dirty_and_no_code(void **state)
{
	enum { BLOCK = 0x10000 };
	const uint64_t at = LARGE + PAGE0, across = at + 0xffc;
	struct cpu *c = start_large();

	assert_true(store(at, 8));
	assert_null(through(c, SLOT, at + 0x1000));
	for (unsigned i = 0; i < 512; i++)
		sys.ram->frame[i] &= (uint8_t)~FRAME_DIRTY;
	assert_false(slot_fill(c, SLOT, across, 8, true)); /* the others are not dirty, and not in the TLB */
	for (unsigned i = 0; i < 512; i++)
		sys.ram->frame[i] |= FRAME_DIRTY;
	assert_true(slot_fill(c, SLOT, across, 8, true));
	assert_ptr_equal(through(c, SLOT, at), ram_at(PAGE0));
	assert_ptr_equal(through(c, SLOT, at + BLOCK - 8), ram_at(PAGE0 + BLOCK - 8));
	assert_null(through(c, SLOT, at + BLOCK - 7));
	assert_null(through(c, SLOT, at - 1));
	/* Code in one of its frames takes it. */
	cache_watch_frame(c, (PAGE0 + 0xf000) >> FRAME_SHIFT);
	assert_int_equal(c->slot[SLOT].limit, 0);
	assert_false(slot_fill(c, SLOT, across, 8, true));
	assert_true(slot_fill(c, SLOT, across, 8, false));
	cache_frame_written(tr, (PAGE0 + 0xf000) >> FRAME_SHIFT);
	assert_true(slot_fill(c, SLOT, across, 8, true));
	/* And again, when another slot was withdrawn meanwhile. */
	assert_true(slot_fill(c, SLOT + 1, at, 8, true));
	mmu_probe(c, SEG_DS, LARGE + 0x100000, 8, MMU_WRITE);
	assert_true(slot_fill(c, SLOT + 1, LARGE + 0x100000, 8, true));
	cache_watch_frame(c, 0x100000 >> FRAME_SHIFT);
	assert_non_null(through(c, SLOT, at));
	cache_watch_frame(c, (PAGE0 + 0x3000) >> FRAME_SHIFT);
	assert_int_equal(c->slot[SLOT].limit, 0);
}

/* --- the stack window --- */

static void stack_window_shows_one_page_to_store_to(void **state)
{
	struct cpu *c = start(0);
	uint64_t rsp = SYS_STACK - 0x100;

	assert_false(c->t.stack_valid);
	assert_false(stack_fill(c, rsp, -8, 0));
	mmu_load(c, SEG_SS, rsp, 8);
	assert_false(stack_fill(c, rsp, -8, 0));
	mmu_store(c, SEG_SS, rsp, 8, 0);
	assert_true(stack_fill(c, rsp, -16, 32));
	assert_true(c->t.stack_valid);
	assert_ptr_equal((uint8_t *)(uintptr_t)(rsp + c->t.bias), ram_at(rsp));
	assert_int_equal(c->t.bias + c->t.neg_bias, 0);
	assert_ptr_equal((uint8_t *)(uintptr_t)c->t.stack_base, ram_at(SYS_STACK - 0x1000));
	/* It stays where it is when the next cannot be had. */
	assert_false(stack_fill(c, SYS_STACK, -8, 8));
	assert_false(stack_fill(c, SYS_DATA, 0, 8));
	assert_ptr_equal((uint8_t *)(uintptr_t)(rsp + c->t.bias), ram_at(rsp));
}

static void without_stack_window_no_canonical_address_passes_its_check(void **state)
{
	struct cpu *c = start(0);
	uint64_t first = c->t.stack_base - c->t.bias;

	for (unsigned i = 0; i < 2; i++) {
		for (uint64_t a = first; a < first + FRAME_SIZE; a++)
			assert_false(canonical_bits(a, 57));
		assert_int_equal(c->t.bias, 0);
		mmu_store(c, SEG_SS, SYS_STACK - 8, 8, 0);
		assert_true(stack_fill(c, SYS_STACK, -8, 0));
		slots_drop(c, true);
		first = c->t.stack_base - c->t.bias;
	}
}

static void stack_window_goes_with_view_and_space(void **state)
{
	struct cpu *c = start(0);

	c->cr4 |= CR4_SMAP | CR4_PCIDE;
	sys_pte(SYS_STACK - 0x1000, (SYS_STACK - 0x1000) | P | W);
	mmu_flush_all(c);
	cpu_mode_changed(c);
	for (unsigned i = 0; i < 3; i++) {
		mmu_store(c, SEG_SS, SYS_STACK - 8, 8, 0);
		assert_true(stack_fill(c, SYS_STACK, -8, 0));
		mmu_select(c);
		assert_true(c->t.stack_valid);
		if (i == 0) {
			c->cpl = 3;
			mmu_select(c);
		} else if (i == 1) {
			mmu_load_cr3(c, SYS_PML4 | 5 | 1ull << 63);
		} else {
			mmu_flush_page(c, SYS_STACK - 0x1000);
		}
		assert_false(c->t.stack_valid);
		c->cpl = 0;
		mmu_select(c);
		assert_int_equal(c->t.stack_valid, i == 0);
	}
}

static void each_view_finds_its_stack_window_again(void **state)
{
	struct cpu *c = start(0);
	uint64_t bias;

	c->cr4 |= CR4_SMAP;
	sys_pte(SYS_STACK - 0x1000, (SYS_STACK - 0x1000) | P | W);
	mmu_flush_all(c);
	cpu_mode_changed(c);
	mmu_store(c, SEG_SS, SYS_STACK - 8, 8, 0);
	assert_true(stack_fill(c, SYS_STACK, -8, 0));
	bias = c->t.bias;
	c->sysflags |= RF_AC; /* nothing is forbidden now that was not before */
	mmu_select(c);
	assert_true(c->t.stack_valid);
	assert_int_equal(c->t.bias, bias);
	c->sysflags &= ~RF_AC;
	c->cpl = 3;
	mmu_select(c);
	assert_false(c->t.stack_valid);
	mmu_store(c, SEG_SS, PAGE0, 8, 0);
	assert_true(stack_fill(c, PAGE0 + 8, -8, 0));
	c->cpl = 0;
	mmu_select(c);
	assert_int_equal(c->t.bias, bias);
	c->cpl = 3;
	mmu_flush_page(c, SYS_STACK - 0x1000);
	mmu_select(c);
	assert_true(c->t.stack_valid);
	c->cpl = 0;
	mmu_select(c);
	assert_false(c->t.stack_valid);
}

static void stack_window_shows_two_pages_for_a_frame_in_both(void **state)
{
	struct cpu *c = start(0);

	for (unsigned apart = 0; apart < 2; apart++) {
		const uint64_t rsp = PAGE1 + 0x10;
		uint64_t first = apart ? PAGE0 + 0x5000 : PAGE1 - 0x1000;

		sys_pte(PAGE1 - 0x1000, first | P | W | U);
		mmu_flush_all(c);
		mmu_probe(c, SEG_SS, PAGE1 - 8, 16, MMU_WRITE);
		for (unsigned i = 0; i < 8 && !stack_fill(c, rsp, -0x20, 0x20); i++)
			;
		assert_true(c->t.stack_valid);
		assert_in_range(rsp - 0x20 + c->t.bias, c->t.stack_base, c->t.stack_base + FRAME_SIZE - 0x40);
		memset((uint8_t *)(uintptr_t)(rsp - 0x20 + c->t.bias), 0x5a, 0x40);
		for (unsigned i = 0; i < 0x10; i++) {
			assert_int_equal(*ram_at(first + 0xff0 + i), 0x5a);
			assert_int_equal(*ram_at(PAGE1 + i), 0x5a);
		}
		/* All of the window is memory. */
		memset((uint8_t *)(uintptr_t)c->t.stack_base, 0, FRAME_SIZE);
		mmu_flush_page(c, apart ? PAGE1 - 0x1000 : PAGE1);
		assert_false(c->t.stack_valid);
	}
}

/* --- dropping --- */

static bool is_filled(unsigned n)
{
	return sys.c->slot[n].limit != 0;
}

/* Slots 0 to 3: a page, a global page, another of each. */

static struct cpu *four_slots(void)
{
	struct cpu *c = start(0);

	c->cr4 |= CR4_PGE;
	sys_pte(GLOBAL0, GLOBAL0 | P | W | U | G);
	sys_pte(GLOBAL1, GLOBAL1 | P | W | U | G);
	mmu_flush_all(c);
	for (unsigned i = 0; i < 4; i++) {
		mmu_probe(c, SEG_DS, PAGE0 + i * 0x1000, 8, MMU_WRITE);
		assert_true(slot_fill(c, i, PAGE0 + i * 0x1000, 8, i < 2));
	}
	return c;
}

static void assert_filled(bool a, bool ag, bool b, bool bg)
{
	assert_int_equal(is_filled(0), a);
	assert_int_equal(is_filled(1), ag);
	assert_int_equal(is_filled(2), b);
	assert_int_equal(is_filled(3), bg);
}

static void cr3_load_keeps_slots_of_global_pages(void **state)
{
	mmu_load_cr3(four_slots(), SYS_PML4);
	assert_filled(false, true, false, true);
	mmu_flush_all(sys.c);
	assert_filled(false, false, false, false);
}

static void nonglobal_flush_keeps_slots_of_global_pages(void **state)
{
	mmu_flush_nonglobal(four_slots());
	assert_filled(false, true, false, true);
}

static void space_switch_without_flush_drops_slots_too(void **state)
{
	struct cpu *c = start(0);

	c->cr4 |= CR4_PCIDE;
	mmu_flush_all(c);
	cpu_mode_changed(c);
	assert_true(store(PAGE0, 8));
	mmu_load_cr3(c, SYS_PML4 | 3 | 1ull << 63);
	assert_false(is_filled(SLOT));
	/* A flush of another space than the present one need not touch them. */
	assert_true(store(PAGE0, 8));
	mmu_flush_pcid(c, 0);
	assert_true(is_filled(SLOT));
	mmu_flush_pcid(c, 3);
	assert_false(is_filled(SLOT));
}

static void invlpg_drops_slots_of_its_page(void **state)
{
	struct cpu *c = four_slots();

	mmu_flush_page(c, PAGE0 + 0x234);
	assert_filled(false, true, true, true);
	mmu_flush_page(c, GLOBAL1);
	assert_filled(false, true, true, false);
	mmu_flush_page(c, PAGE0 + 0x10000);
	assert_filled(false, true, true, false);
	/* What is left is still known: it can be dropped, and filled again. */
	assert_true(slot_fill(c, 1, PAGE1, 8, false));
	mmu_flush_nonglobal(c);
	assert_filled(false, false, false, false);
}

static void invlpg_anywhere_in_a_large_page_drops_its_slots(void **state)
{
	struct cpu *c = start_large();

	assert_true(load(LARGE + PAGE0, 8));
	assert_ptr_equal(through(c, SLOT, LARGE + PAGE0), ram_at(PAGE0));
	mmu_flush_page(c, LARGE + 0x100000);
	assert_false(is_filled(SLOT));
}

static void slot_is_filled_anew_again_and_again(void **state)
{
	struct cpu *c = four_slots();

	for (unsigned i = 0; i < 3 * SLOTS_MAX; i++) {
		unsigned page = i * 7 % 4;

		assert_true(slot_fill(c, i % 3, PAGE0 + page * 0x1000, 8, false));
	}
	mmu_flush_all(c);
	assert_filled(false, false, false, false);
}

static void all_slots_can_be_filled_at_once(void **state)
{
	struct cpu *c = four_slots();

	for (unsigned i = 0; i < SLOTS_MAX; i++)
		assert_true(slot_fill(c, i, PAGE0 + i % 4 * 0x1000, 8, false));
	mmu_flush_page(c, PAGE0);
	mmu_flush_page(c, GLOBAL0);
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		if (i % 4 != 2) /* of pages that are not global more may be dropped */
			assert_int_equal(is_filled(i), i % 4 == 3);
	mmu_flush_nonglobal(c);
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		assert_int_equal(is_filled(i), i % 4 == 3);
}

static void key_that_loses_a_right_takes_slots_with_it(void **state)
{
	struct cpu *c;

	sys_model = "max";
	c = start(3);
	c->cr4 |= CR4_PKE;
	sys_pte(PAGE0, PAGE0 | P | W | U | 5ull << 59);
	mmu_flush_all(c);
	cpu_mode_changed(c);
	assert_true(store(PAGE0, 8));
	mmu_set_pkru(c, 2u << 2 * 5);
	assert_false(is_filled(SLOT));
	mmu_probe(c, SEG_DS, PAGE0, 8, MMU_READ);
	assert_false(slot_fill(c, SLOT, PAGE0, 8, true));
	assert_true(slot_fill(c, SLOT, PAGE0, 8, false));
	mmu_set_pkru(c, 0); /* gained */
	assert_true(is_filled(SLOT));
}

static void watchpoint_takes_slots_and_lets_none_be_filled(void **state)
{
	static const struct engine_debug watch = { .watch_count = 1, .watch = { { .linear = PAGE0 + 8, .len = 4, .store = true } } };
	struct cpu *c = start(0);

	assert_true(store(PAGE0, 8));
	mmu_store(c, SEG_SS, PAGE0, 8, 0);
	assert_true(stack_fill(c, PAGE0 + 0x800, -8, 0));
	c->debug = &watch;
	debug_rearm(c);
	assert_false(is_filled(SLOT));
	assert_false(c->t.stack_valid);
	assert_false(store(PAGE0 + 0x800, 8));
	assert_false(load(PAGE0 + 0x800, 8));
	assert_false(stack_fill(c, PAGE0 + 0x800, -8, 0));
	assert_true(store(PAGE1, 8));
}

static void dirty_log_sees_stores_again_once_it_is_started(void **state)
{
	uint64_t bitmap[8];

	start(0);
	assert_true(store(PAGE0, 8));
	assert_int_equal(ram_dirty_log(sys.ram, 0, bitmap, 8), 0);
	soft_vm_slots_changed(sys.vm); /* dirty_log_start */
	assert_false(is_filled(SLOT));
	assert_true(store(PAGE0, 8));
	assert_true(sys.ram->frame[PAGE0 >> FRAME_SHIFT] & FRAME_DIRTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slot_shows_its_page_up_to_the_last_access_that_fits),
		TEST(access_across_pages_needs_both),
		TEST(pages_apart_in_memory_are_shown_side_by_side),
		TEST(pair_whose_place_is_taken_is_shown_no_more),
		TEST(slot_needs_the_tlb_to_have_the_page),
		TEST(read_only_page_is_for_loads),
		TEST(rom_is_for_loads),
		TEST(frame_with_code_is_for_loads),
		TEST(alignment_checks_leave_slots_empty),
		TEST(large_page_in_one_piece_is_shown_whole),
		TEST(large_page_in_pieces_is_shown_in_pieces),
		TEST(region_with_the_local_apic_is_shown_in_small_pieces),
		TEST(large_page_is_stored_to_in_blocks_that_are_dirty_and_no_code),
		TEST(stack_window_shows_one_page_to_store_to),
		TEST(stack_window_shows_two_pages_for_a_frame_in_both),
		TEST(each_view_finds_its_stack_window_again),
		TEST(without_stack_window_no_canonical_address_passes_its_check),
		TEST(stack_window_goes_with_view_and_space),
		TEST(cr3_load_keeps_slots_of_global_pages),
		TEST(nonglobal_flush_keeps_slots_of_global_pages),
		TEST(space_switch_without_flush_drops_slots_too),
		TEST(invlpg_drops_slots_of_its_page),
		TEST(invlpg_anywhere_in_a_large_page_drops_its_slots),
		TEST(slot_is_filled_anew_again_and_again),
		TEST(all_slots_can_be_filled_at_once),
		TEST(key_that_loses_a_right_takes_slots_with_it),
		TEST(watchpoint_takes_slots_and_lets_none_be_filled),
		TEST(dirty_log_sees_stores_again_once_it_is_started),
	};

	return cmocka_run_group_tests_name("translation slots", tests, NULL, NULL);
}
