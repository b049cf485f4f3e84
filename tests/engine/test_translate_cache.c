// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's code cache, with blocks that are made by hand: what finds them, and what makes them invalid (src/engine/soft/translate/cache.h).
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

static uint64_t key_of(uint64_t frame, unsigned offset)
{
	return frame << FRAME_SHIFT | offset;
}

static struct tblock *make_looking(uint64_t frame, unsigned offset, unsigned bytes, uint64_t looked)
{
	struct tblock *b;
	uint32_t slot;

	cache_watch_frame(sys.c, frame);
	pthread_mutex_lock(&tr->lock);
	b = cache_begin(tr, 1, 3, &slot, 2);
	if (b) {
		assert_int_equal(slot, tr->slots_used);
		b->key = key_of(frame, offset);
		b->mode = MODE;
		b->far_code = tr->used;
		b->code = b->far_code + 8;
		b->stale = b->code + 32;
		b->bytes = (uint16_t)bytes;
		b->insns = 1;
		b->lines = cache_lines(offset, bytes) | looked;
		memset(tr->rw + b->far_code, 0xcc, BLOCK_CODE);
		memcpy(tr->rw + b->code, "\x0f\x1f\x44\x00\x00\x11\x22\x33", 8);
		b->point[0] = (struct block_point){ 0, 5 };
		b->point[1] = (struct block_point){ (uint16_t)bytes, 32 };
		assert_true(cache_add_lines(tr, frame, b->lines));
		cache_commit(tr, b, b->far_code + BLOCK_CODE, 3, 2);
	}
	pthread_mutex_unlock(&tr->lock);
	return b;
}

static struct tblock *make(uint64_t frame, unsigned offset, unsigned bytes)
{
	return make_looking(frame, offset, bytes, 0);
}

static bool has_code(uint64_t frame)
{
	return sys.ram->frame[frame] & FRAME_CODE;
}

static uint32_t gen(uint64_t frame)
{
	return sys.ram->code_gen[frame];
}

static void store(unsigned offset, unsigned n)
{
	uint8_t *host = sys.ram->host + SYS_DATA + offset;

	mmu_after_store(sys.c, host, n);
}

/* --- blocks --- */

static void block_is_found_by_frame_offset_and_mode(void **state)
{
	struct tblock *a, *b;

	start(0);
	assert_null(cache_find(tr, key_of(FRAME, 0x40), MODE));
	a = make(FRAME, 0x40, 10);
	b = make(FRAME, 0x80, 10);
	assert_ptr_equal(cache_find(tr, key_of(FRAME, 0x40), MODE), a);
	assert_ptr_equal(cache_find(tr, key_of(FRAME, 0x80), MODE), b);
	assert_null(cache_find(tr, key_of(FRAME, 0x40), MODE + 1));
	assert_null(cache_find(tr, key_of(FRAME + 1, 0x40), MODE));
	assert_null(cache_find(tr, key_of(FRAME, 0x41), MODE));
	assert_int_equal(tr->slots_used, 4);
	assert_int_equal(b->point - a->point, 2);
}

static void block_that_is_not_committed_leaves_nothing(void **state)
{
	uint32_t slot, used;
	struct tblock *b;

	start(0);
	used = tr->used;
	b = cache_begin(tr, 5, 3, &slot, 9);
	assert_non_null(b);
	b->key = key_of(FRAME, 0);
	b->mode = MODE;
	assert_null(cache_find(tr, key_of(FRAME, 0), MODE));
	assert_int_equal(tr->used, used);
	assert_ptr_equal(make(FRAME, 0, 1), b);
}

static void store_that_hits_a_line_ends_its_blocks_and_no_others(void **state)
{
	uint32_t before;

	start(0);
	make(FRAME, 0x03c, 8);	 /* lines 0 and 1 */
	make(FRAME, 0x07f, 1);	 /* line 1 */
	make(FRAME, 0x080, 0x40); /* line 2 */
	make(FRAME, 0xfff, 1);	 /* line 63 */
	make(FRAME + 1, 0x40, 4);
	before = gen(FRAME);
	store(0x78, 8);
	assert_int_not_equal(gen(FRAME), before); /* the interpreter's blocks end, too */
	assert_null(cache_find(tr, key_of(FRAME, 0x3c), MODE));
	assert_null(cache_find(tr, key_of(FRAME, 0x7f), MODE));
	assert_non_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
	assert_non_null(cache_find(tr, key_of(FRAME, 0xfff), MODE));
	assert_non_null(cache_find(tr, key_of(FRAME + 1, 0x40), MODE));
	assert_int_equal(tr->code_lines[FRAME], 1ull << 63 | 4);
	assert_true(has_code(FRAME));
	store(0xbe, 4); /* lines 2 and 3 */
	assert_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
	assert_non_null(cache_find(tr, key_of(FRAME, 0xfff), MODE));
	assert_int_equal(tr->invalidated, 3);
}

static void store_elsewhere_leaves_blocks_and_generation(void **state)
{
	uint32_t before;

	start(0);
	make(FRAME, 0x80, 0x40);
	before = gen(FRAME);
	store(0x7c, 4);
	store(0xc0, 64);
	assert_non_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
	assert_int_equal(gen(FRAME), before);
	assert_true(has_code(FRAME));
}

static void store_to_bytes_that_a_block_only_looked_at_ends_it(void **state)
{
	start(0);
	make_looking(FRAME, 0x80, 4, cache_lines(0x200, 8));
	store(0x204, 1);
	assert_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
}

static void frame_whose_last_line_is_gone_is_watched_for_few_more_stores(void **state)
{
	uint32_t before;
	unsigned n = 0;

	start(0);
	make(FRAME, 0x80, 4);
	before = gen(FRAME);
	store(0x83, 1);
	assert_int_not_equal(gen(FRAME), before);
	assert_int_equal(tr->code_lines[FRAME], 0);
	assert_true(has_code(FRAME)); /* its code comes back */
	assert_true(tr->watched[FRAME]);
	while (has_code(FRAME) && ++n < 1000)
		store(0x83, 1);
	assert_in_range(n, 1, 200);
	assert_false(tr->watched[FRAME]);
	assert_false(cache_mixed(tr, FRAME));
}

static void frame_that_is_overwritten_is_forgotten(void **state)
{
	start(0);
	make(FRAME, 0x80, 4);
	store(0, 0x1000);
	assert_false(has_code(FRAME));
	assert_false(tr->watched[FRAME]);
	make(FRAME, 0x80, 4);
	assert_true(cache_code_stored(tr, FRAME, 0, 0));
	assert_false(has_code(FRAME));
}

static void store_of_unknown_extent_ends_all_blocks_of_the_frame(void **state)
{
	start(0);
	make(FRAME, 0x80, 4);
	make(FRAME, 0xf00, 4);
	assert_true(cache_code_stored(tr, FRAME, 0, 0));
	assert_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
	assert_null(cache_find(tr, key_of(FRAME, 0xf00), MODE));
}

static void write_by_a_device_ends_all_blocks_of_the_frame(void **state)
{
	uint32_t before;

	start(0);
	make(FRAME, 0x80, 4);
	make(FRAME + 1, 0x80, 4);
	before = gen(FRAME);
	assert_int_equal(ram_write(sys.ram, SYS_DATA + 0x800, "x", 1), 0);
	assert_null(cache_find(tr, key_of(FRAME, 0x80), MODE));
	assert_non_null(cache_find(tr, key_of(FRAME + 1, 0x80), MODE));
	assert_false(has_code(FRAME));
	assert_int_not_equal(gen(FRAME), before);
}

static void frame_that_was_written_must_be_watched_again(void **state)
{
	start(0);
	cache_watch_frame(sys.c, FRAME);
	assert_true(cache_add_lines(tr, FRAME, 1));
	cache_frame_written(tr, FRAME);
	assert_false(cache_add_lines(tr, FRAME, 1));
	cache_watch_frame(sys.c, FRAME);
	assert_true(cache_add_lines(tr, FRAME, 1));
}

/* --- host code of blocks --- */

static void entry_of_an_invalid_block_jumps_to_its_stale_exit(void **state)
{
	struct tblock *b;
	int32_t rel;

	start(0);
	b = make(FRAME, 0x80, 4);
	assert_memory_equal(tr->rx + b->code, "\x0f\x1f\x44\x00\x00", 5);
	store(0x80, 1);
	assert_int_equal(tr->rx[b->code], 0xe9);
	memcpy(&rel, tr->rx + b->code + 1, 4);
	assert_int_equal(b->code + 5 + (uint32_t)rel, b->stale);
	assert_memory_equal(tr->rx + b->code + 5, "\x11\x22\x33", 3);
	assert_false(b->live);
}

static int32_t rel_at(uint32_t site)
{
	int32_t rel;

	memcpy(&rel, tr->rx + site, 4);
	return rel;
}

static void links_last_as_long_as_their_target(void **state)
{
	struct tblock *a, *b, *other;
	uint32_t site, site2;

	start(0);
	a = make(FRAME, 0x00, 4);
	b = make(FRAME, 0x80, 4);
	site = a->code + 12;
	site2 = a->code + 16;
	cache_link(tr, site, b);
	cache_link(tr, site, b);
	cache_link(tr, site2, b);
	assert_int_equal(site + 4 + (uint32_t)rel_at(site), b->code);
	assert_int_equal(site2 + 4 + (uint32_t)rel_at(site2), b->code);
	store(0x80, 1);
	assert_int_equal(rel_at(site), (int32_t)0xcccccccc);
	assert_int_equal(rel_at(site2), (int32_t)0xcccccccc);
	cache_link(tr, site, b);
	assert_int_equal(rel_at(site), (int32_t)0xcccccccc);
	other = make(FRAME, 0x80, 4);
	cache_link(tr, site, other);
	assert_int_equal(site + 4 + (uint32_t)rel_at(site), other->code);
	assert_int_equal(tr->links, 3);
}

static void code_address_tells_its_block_also_after_it_was_invalidated(void **state)
{
	uint64_t rx;
	struct tblock *b[3];

	start(0);
	rx = (uint64_t)(uintptr_t)tr->rx;
	for (unsigned i = 0; i < 3; i++)
		b[i] = make(FRAME, 0x80 * i, 4);
	store(0x80, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(cache_at(tr, rx + b[i]->far_code), b[i]);
		assert_ptr_equal(cache_at(tr, rx + b[i]->code), b[i]);
		assert_ptr_equal(cache_at(tr, rx + b[i]->far_code + BLOCK_CODE - 1), b[i]);
	}
	assert_null(cache_at(tr, rx + b[0]->far_code - 1));
	assert_null(cache_at(tr, rx + b[2]->far_code + BLOCK_CODE));
	assert_null(cache_at(tr, rx + tr->enter));
	assert_null(cache_at(tr, rx - 1));
	assert_null(cache_at(tr, rx + tr->size));
	assert_null(cache_at(tr, 0));
}

/* --- being full --- */

static void full_cache_wants_a_flush_after_which_it_is_as_new(void **state)
{
	unsigned n = 0;
	struct tblock *first = NULL, *b;
	struct cpu *c = start(0);

	while ((b = make(FRAME + n % 4, 64 * (n / 4 % 64), 4))) {
		first = first ? first : b;
		n++;
		assert_in_range(n, 1, 1 << 20);
	}
	assert_in_range(n, 1000, 1 << 20);
	assert_true(tr->flush_wanted);
	assert_int_equal(tr->flushes, 0);
	cache_flush(tr, c);
	assert_int_equal(tr->flushes, 1);
	assert_false(tr->flush_wanted);
	assert_int_equal(tr->used, tr->common_end);
	assert_int_equal(tr->slots_used, 0);
	assert_null(cache_find(tr, first->key, MODE));
	assert_null(cache_at(tr, (uint64_t)(uintptr_t)tr->rx + tr->common_end));
	assert_null(tr->frame_blocks[FRAME]);
	/* A store that hits a line from before finds nothing, and drops it. */
	store(0, 8);
	assert_int_equal(tr->code_lines[FRAME], 0);
	assert_ptr_equal(make(FRAME, 0, 4), first);
	assert_ptr_equal(cache_find(tr, key_of(FRAME, 0), MODE), first);
}

/* As if @insns had been translated, and so many ticks gone by, since the last flush, for being full or not. */
static void flush_after(uint64_t insns, uint64_t ticks, bool full)
{
	tr->translated_insns = tr->flush_insns + insns;
	tr->flush_tsc = host_tsc() - ticks;
	tr->flush_wanted = full;
	cache_flush(tr, sys.c);
}

static void cache_that_is_full_too_soon_makes_blocks_wait_until_they_run_more(void **state)
{
	const uint64_t many = 1ull << 50, long_time = 1ull << 40;
	uint32_t hot, last;

	start(0);
	tr->tuning.hot = 2;
	hot = last = mixed_hot(tr, FRAME);
	assert_int_equal(hot, 2);
	flush_after(many, 0, false);
	assert_int_equal(mixed_hot(tr, FRAME), hot);
	for (unsigned i = 0; i < 4; i++) {
		flush_after(many, 0, true);
		assert_true(mixed_hot(tr, FRAME) > last);
		last = mixed_hot(tr, FRAME);
	}
	for (unsigned i = 0; i < 100; i++)
		flush_after(many, 0, true);
	assert_in_range(mixed_hot(tr, FRAME), 64, 256);
	for (unsigned i = 0; i < 100; i++)
		flush_after(1, long_time, true);
	assert_int_equal(mixed_hot(tr, FRAME), hot);
	/* Also where all is translated at once. */
	tr->tuning.hot = 0;
	assert_int_equal(mixed_hot(tr, FRAME), 0);
	flush_after(many, 0, true);
	assert_int_equal(mixed_hot(tr, FRAME), 1);
}

static void no_block_is_begun_without_slots_for_it(void **state)
{
	uint32_t slot;

	start(0);
	tr->slots_used = SLOTS_MAX - 5;
	assert_non_null(cache_begin(tr, 1, 3, &slot, 5));
	assert_int_equal(slot, SLOTS_MAX - 5);
	assert_null(cache_begin(tr, 1, 3, &slot, 6));
	assert_true(tr->flush_wanted);
}

static void area_is_never_writable_where_it_is_executed(void **state)
{
	char line[256], want[32];
	bool found = false;
	FILE *f;

	start(0);
	snprintf(want, sizeof(want), "%lx-", (unsigned long)(uintptr_t)tr->rx);
	f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		assert_null(strstr(line, "rwx"));
		if (!strncmp(line, want, strlen(want))) {
			assert_non_null(strstr(line, "r-x"));
			found = true;
		}
	}
	fclose(f);
	assert_true(found);
}

/* --- with the interpreter --- */

/* Stores of the guest into its own frame: MOV [rip + @to - here], AL, then HLT. */
static void store_into_own_frame(unsigned to)
{
	uint8_t code[6] = { 0x88, 0x05 };
	int32_t disp = (int32_t)to - (int32_t)sizeof(code);

	sys.c->gpr[GPR_RIP] = SYS_CODE;
	memcpy(code + 2, &disp, 4);
	assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
}

static void interpreters_blocks_stay_when_stores_hit_other_lines(void **state)
{
	const uint64_t frame = SYS_CODE >> FRAME_SHIFT;
	uint32_t before;

	start(0);
	store_into_own_frame(0x800);
	before = gen(frame);
	assert_true(has_code(frame));
	assert_int_equal(tr->code_lines[frame], 1);
	sys.c->gpr[GPR_RIP] = SYS_CODE;
	assert_int_equal(sys_go(), SYS_HALTED);
	assert_int_equal(gen(frame), before);
	store_into_own_frame(0x3f);
	assert_int_not_equal(gen(frame), before);
}

/* inc byte [rip + 1]; mov al, 1; hlt: each run changes its own immediate. */
static void code_that_patches_itself_is_run_as_patched(void **state)
{
	static const uint8_t code[] = { 0xfe, 0x05, 0x01, 0, 0, 0, 0xb0, 0x01 };

	start(0);
	assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
	for (unsigned i = 2; i < 20; i++) {
		assert_int_equal(sys.c->gpr[RAX] & 0xff, i);
		sys.c->gpr[GPR_RIP] = SYS_CODE;
		assert_int_equal(sys_go(), SYS_HALTED);
	}
}

static void string_stores_count_with_all_their_bytes(void **state)
{
	start(0);
	for (unsigned down = 0; down < 2; down++) {
		struct cpu *c = sys.c;

		make(FRAME, 0x400, 4);
		make(FRAME, 0x440, 4);
		c->gpr[GPR_RIP] = SYS_CODE;
		c->gpr[RCX] = 0x41;
		c->gpr[RAX] = 0;
		c->gpr[RDI] = SYS_DATA + (down ? 0x400 : 0x3c0);
		c->sysflags = RF_FIXED | (down ? RF_DF : 0);
		assert_int_equal(RUN(0xf3, 0xaa), SYS_HALTED); /* rep stosb */
		assert_null(cache_find(tr, key_of(FRAME, 0x400), MODE));
		assert_non_null(cache_find(tr, key_of(FRAME, 0x440), MODE));
		cache_frame_written(tr, FRAME);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(block_is_found_by_frame_offset_and_mode),
		TEST(block_that_is_not_committed_leaves_nothing),
		TEST(store_that_hits_a_line_ends_its_blocks_and_no_others),
		TEST(store_elsewhere_leaves_blocks_and_generation),
		TEST(store_to_bytes_that_a_block_only_looked_at_ends_it),
		TEST(frame_whose_last_line_is_gone_is_watched_for_few_more_stores),
		TEST(frame_that_is_overwritten_is_forgotten),
		TEST(store_of_unknown_extent_ends_all_blocks_of_the_frame),
		TEST(write_by_a_device_ends_all_blocks_of_the_frame),
		TEST(frame_that_was_written_must_be_watched_again),
		TEST(entry_of_an_invalid_block_jumps_to_its_stale_exit),
		TEST(links_last_as_long_as_their_target),
		TEST(code_address_tells_its_block_also_after_it_was_invalidated),
		TEST(full_cache_wants_a_flush_after_which_it_is_as_new),
		TEST(cache_that_is_full_too_soon_makes_blocks_wait_until_they_run_more),
		TEST(no_block_is_begun_without_slots_for_it),
		TEST(area_is_never_writable_where_it_is_executed),
		TEST(interpreters_blocks_stay_when_stores_hit_other_lines),
		TEST(code_that_patches_itself_is_run_as_patched),
		TEST(string_stores_count_with_all_their_bytes),
	};

	return cmocka_run_group_tests_name("code cache", tests, NULL, NULL);
}
