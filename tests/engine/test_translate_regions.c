// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation slots that show more than a page where the guest's pages are not neighbours in RAM: frames mapped side by side in
 * strips (src/engine/soft/translate/slots.c).
 */
#include "system_rig.h"

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { NEVER_HOT = 1000000, SLOT = 7, OTHER_SLOT = 8, PAGES = 20, PAGE = 0x1000, LINEAR = 0x30000 };
enum { P = 1, W = 2, U = 4 };

static void pte(unsigned page, uint64_t gpa)
{
	sys_poke(SYS_PT + (LINEAR / PAGE + page) * 8, 8, gpa | P | W | U);
}

/* No page lies behind the one before. */
static uint64_t gpa_of(unsigned page)
{
	return 0x80000 + (uint64_t)(PAGES - page) * PAGE;
}

static struct cpu *start(void)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	sys_start(SYS_LONG, 0);
	tuning.hot = NEVER_HOT;
	assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	for (unsigned i = 0; i < PAGES; i++)
		pte(i, gpa_of(i));
	mmu_flush_all(sys.c);
	return sys.c;
}

static uint8_t *through(uint64_t linear)
{
	const struct slot *s = &sys.c->slot[SLOT];

	return linear - s->base < s->limit ? (uint8_t *)(uintptr_t)(linear + s->addend) : NULL;
}

/* Asks for 8 bytes across the end of @page until they are shown. */
static bool across(unsigned page, bool store)
{
	uint64_t linear = LINEAR + page * PAGE + 0xffc;

	mmu_probe(sys.c, SEG_DS, linear, 8, store ? MMU_WRITE : MMU_READ);
	for (unsigned i = 0; i < 8; i++)
		if (slot_fill(sys.c, SLOT, linear, 8, store))
			return true;
	return false;
}

/* Walks over @pages of them. */
static void walk(unsigned pages, bool store)
{
	for (unsigned i = 0; i + 1 < pages; i++)
		assert_true(across(i, store));
}

/* The slot shows [first, end), each page with the bytes of its frame. */
static void assert_holds(unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		uint8_t *host = through(LINEAR + i * PAGE);

		assert_non_null(host);
		sys.ram->host[gpa_of(i) + 0x123] = (uint8_t)~i;
		assert_int_equal(host[0x123], (uint8_t)~i);
	}
}

/* And no other. */
static void assert_shown(unsigned first, unsigned end)
{
	assert_holds(first, end);
	assert_null(through(LINEAR + (uint64_t)end * PAGE - 7)); /* 8 bytes do not fit */
	assert_null(through(LINEAR + (uint64_t)first * PAGE - 1));
}

static void walk_over_scattered_frames_makes_strips_of_them(void **state)
{
	start();
	walk(5, true);
	assert_shown(0, 5);
	/* An access in the middle is shown all of it, too. */
	assert_true(across(1, false));
	assert_shown(0, 5);
	/* A strip has an end: the next begins with the last page of it. */
	walk(PAGES, true);
	assert_null(through(LINEAR));
	assert_true(across(0, true));
	assert_shown(0, 8);
	assert_true(across(7, true));
	assert_shown(7, 15);
}

static void page_that_is_mapped_elsewhere_is_shown_there(void **state)
{
	struct cpu *c = start();

	walk(5, true);
	pte(2, 0xa0000);
	mmu_flush_page(c, LINEAR + 2 * PAGE);
	assert_null(through(LINEAR));
	mmu_probe(c, SEG_DS, LINEAR + 2 * PAGE, 8, MMU_WRITE);
	assert_true(across(0, true));
	assert_shown(0, 2);
	assert_true(across(3, true));
	assert_shown(3, 5);
	assert_true(across(1, true));
	assert_ptr_not_equal(through(LINEAR + 2 * PAGE), NULL);
	sys.ram->host[0xa0777] = 0x5a;
	assert_int_equal(through(LINEAR + 2 * PAGE)[0x777], 0x5a);
}

static void page_without_an_entry_is_not_shown(void **state)
{
	struct cpu *c = start();

	walk(5, true);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t linear = LINEAR + i * PAGE;

		assert_true(across(i == 4 ? 3 : i, true));
		assert_non_null(through(linear));
		mmu_flush_page(c, linear);
		assert_null(through(linear));
		mmu_probe(c, SEG_DS, linear, 8, MMU_READ);
		/* For loads it has one now, for stores not. */
		assert_true(across(i < 2 ? 3 : 0, true));
		assert_null(through(linear));
		assert_true(across(i < 2 ? 3 : 0, false));
		assert_non_null(through(linear));
		mmu_probe(c, SEG_DS, linear, 8, MMU_WRITE);
	}
}

static void strip_whose_place_is_taken_is_shown_no_more(void **state)
{
	const uint64_t at = LINEAR + 31 * PAGE - 4;
	struct cpu *c = start();
	unsigned lost = 0;

	/* More pairs than there are places for, in another slot. */
	walk(4, true);
	for (unsigned a = 0; a < 96; a++)
		for (unsigned b = 0; b < 96; b++) {
			pte(30, 0x40000 + a * PAGE);
			pte(31, 0x40000 + b * PAGE);
			mmu_flush_page(c, at);
			mmu_flush_page(c, at + 4);
			mmu_probe(c, SEG_DS, at, 8, MMU_READ);
			for (unsigned i = 0; i < 8 && !slot_fill(c, OTHER_SLOT, at, 8, false); i++)
				;
			if (!through(LINEAR)) {
				lost++;
				assert_true(across(0, true));
			}
			assert_holds(0, 2);
		}
	assert_true(lost);
}

static void code_in_any_of_its_frames_takes_a_storing_strip(void **state)
{
	struct cpu *c = start();

	walk(5, true);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t frame = gpa_of(i) >> FRAME_SHIFT;

		assert_true(across(0, true));
		assert_shown(0, 5);
		cache_watch_frame(c, frame);
		assert_null(through(LINEAR));
		/* The others are marked still: code in them takes what shows them. */
		if (across(i < 2 ? 3 : 0, true))
			assert_null(through(LINEAR + i * PAGE));
		assert_true(across(0, false));
		assert_shown(0, 5);
		cache_frame_written(sys.vm->tr, frame);
	}
}

static void frames_behind_a_window_of_two_keep_their_place(void **state)
{
	struct cpu *c = start();
	uint64_t rsp = LINEAR + PAGE;

	walk(3, true);
	assert_true(stack_fill(c, rsp, -8, 8));
	assert_true(c->t.stack_valid);
	memset((uint8_t *)(uintptr_t)(rsp + c->t.bias) - 8, 0x77, 16);
	assert_int_equal(sys.ram->host[gpa_of(0) + 0xff8], 0x77);
	assert_int_equal(sys.ram->host[gpa_of(1) + 7], 0x77);
	cache_watch_frame(c, gpa_of(1) >> FRAME_SHIFT);
	assert_false(c->t.stack_valid);
}

static int finish(void **state)
{
	sys_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(walk_over_scattered_frames_makes_strips_of_them, finish),
		cmocka_unit_test_teardown(page_that_is_mapped_elsewhere_is_shown_there, finish),
		cmocka_unit_test_teardown(page_without_an_entry_is_not_shown, finish),
		cmocka_unit_test_teardown(strip_whose_place_is_taken_is_shown_no_more, finish),
		cmocka_unit_test_teardown(code_in_any_of_its_frames_takes_a_storing_strip, finish),
		cmocka_unit_test_teardown(frames_behind_a_window_of_two_keep_their_place, finish),
	};

	return cmocka_run_group_tests_name("translation slots that show several pages", tests, NULL, NULL);
}
