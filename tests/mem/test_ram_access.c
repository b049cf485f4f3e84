// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading and writing guest memory by guest-physical address, and the code protocol of writers. */
#include "mem/mem.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB (1ull << 10)

static struct ram *ram;
static uint64_t told[16];
static unsigned told_count;

static void code_written(void *opaque, uint64_t frame)
{
	assert_ptr_equal(opaque, &ram);
	if (told_count < 16)
		told[told_count] = frame;
	told_count++;
	ram_code_written(ram, frame);
}

/*
 * 256 KiB of RAM in slots that follow each other in guest-physical addresses but not in RAM, with
 * a hole and an island, and one that ends at the very top of the address space:
 *
 *   0x00000-0x0ffff RAM 0x10000    0x10000-0x17fff RAM 0x00000    0x18000-0x1ffff RAM 0x20000 (read only)
 *   0x30000-0x30fff RAM 0x28000    2^64-0x2000 to 2^64-0x1000 RAM 0x30000
 */
static const struct ram_slot slots[] = {
	{.gpa = 0x10000, .size = 0x8000, .offset = 0x00000},
	{.gpa = 0x00000, .size = 0x10000, .offset = 0x10000},
	{.gpa = 0x18000, .size = 0x8000, .offset = 0x20000, .readonly = true},
	{.gpa = 0x30000, .size = 0x1000, .offset = 0x28000},
	{.gpa = -0x2000ull, .size = 0x1000, .offset = 0x30000},
};

static uint64_t offset_of(uint64_t gpa)
{
	const struct ram_slot *s = ram_find_slot(ram, gpa);

	assert_non_null(s);
	return s->offset + (gpa - s->gpa);
}

static int make_ram(void **state)
{
	struct error e;

	if (ram_create(256 * KIB, NULL, &ram, &e))
		return -1;
	for (unsigned i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		if (ram_set_slot(ram, i + 3, &slots[i]))
			return -1;
	ram->code_written = code_written;
	ram->code_written_opaque = &ram;
	told_count = 0;
	return 0;
}

static int drop_ram(void **state)
{
	ram_destroy(ram);
	return 0;
}

static void access_runs_through_slots_that_follow_each_other(void **state)
{
	static uint8_t in[0x20000], out[0x20000];

	srand(1);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)rand();
	assert_int_equal(ram_write(ram, 0, in, sizeof(in)), 0);
	for (uint64_t gpa = 0; gpa < sizeof(in); gpa += 13)
		assert_int_equal(ram->host[offset_of(gpa)], in[gpa]);
	assert_int_equal(ram_read(ram, 0, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	for (int n = 0; n < 2000; n++) {
		uint64_t gpa = (uint64_t)rand() % sizeof(in);
		size_t len = (size_t)rand() % (rand() & 1 ? 16 : 9000);

		if (len > sizeof(in) - gpa)
			len = sizeof(in) - gpa;
		if (rand() & 1) {
			for (size_t i = 0; i < len; i++)
				in[gpa + i] = (uint8_t)rand();
			assert_int_equal(ram_write(ram, gpa, in + gpa, len), 0);
		} else {
			memset(in + gpa, n, len);
			assert_int_equal(ram_fill(ram, gpa, (uint8_t)n, len), 0);
		}
		gpa = (uint64_t)rand() % sizeof(in);
		len = (size_t)rand() % (sizeof(in) - gpa);
		assert_int_equal(ram_read(ram, gpa, out, len), 0);
		assert_memory_equal(in + gpa, out, len);
	}
}

static void access_outside_slots_copies_nothing(void **state)
{
	static const struct {
		uint64_t gpa;
		size_t len;
	} bad[] = {
		{0x20000, 1},
		{0x1ffff, 2},
		{0x2ffff, 2},
		{0x30fff, 2},
		{0x40000000, 8},
		{0, 0x20001},
		{UINT64_MAX, 1},
		{UINT64_MAX, 2},
		{-0x1000ull, 1},
		{-0x1001ull, 2},
		{-0x2000ull, SIZE_MAX},
		{1, SIZE_MAX},
		{0x1000, (size_t)-0x1000},
		{0, SIZE_MAX},
	};
	uint8_t buf[16];
	struct iovec iov[8];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(buf, 0x55, sizeof(buf));
		assert_int_equal(ram_read(ram, bad[i].gpa, buf, bad[i].len), -EFAULT);
		assert_int_equal(ram_write(ram, bad[i].gpa, buf, bad[i].len), -EFAULT);
		assert_int_equal(ram_fill(ram, bad[i].gpa, 1, bad[i].len), -EFAULT);
		assert_int_equal(ram_write_begin(ram, bad[i].gpa, bad[i].len, iov, 8), -EFAULT);
		assert_int_equal(ram_read_iov(ram, bad[i].gpa, bad[i].len, iov, 8), -EFAULT);
		assert_int_equal(buf[0], 0x55);
	}
	for (uint64_t i = 0; i < ram->size; i++)
		assert_int_equal(ram->host[i], 0);
	for (uint64_t f = 0; f < ram->size / FRAME_SIZE; f++)
		assert_int_equal(ram->frame[f], 0);
}

static void access_of_no_bytes_is_fine_anywhere(void **state)
{
	struct iovec iov[1];

	assert_int_equal(ram_read(ram, UINT64_MAX, NULL, 0), 0);
	assert_int_equal(ram_write(ram, 0x20000, NULL, 0), 0);
	assert_int_equal(ram_fill(ram, 0x20000, 1, 0), 0);
	assert_int_equal(ram_write_begin(ram, 0x20000, 0, iov, 1), 0);
	ram_write_end(ram, 0x20000, 0);
	assert_int_equal(ram_read_iov(ram, 0x20000, 0, iov, 0), 0);
}

static void access_reaches_the_last_byte_of_the_highest_slot(void **state)
{
	uint8_t byte = 0;

	assert_int_equal(ram_write(ram, -0x1001ull, "z", 1), 0);
	assert_int_equal(ram_read(ram, -0x1001ull, &byte, 1), 0);
	assert_int_equal(byte, 'z');
	assert_int_equal(ram->host[0x30fff], 'z');
}

static void write_goes_into_read_only_slots(void **state)
{
	assert_int_equal(ram_write(ram, 0x18000, "rom", 3), 0);
	assert_memory_equal(ram->host + 0x20000, "rom", 3);
}

static void write_marks_the_frames_it_touched_dirty_and_no_other(void **state)
{
	/* The last byte of one slot, a whole frame of the next, and a byte. */
	static const uint8_t bytes[FRAME_SIZE + 2];
	unsigned dirty = 0;

	assert_int_equal(ram_write(ram, 0xffff, bytes, sizeof(bytes)), 0);
	for (uint64_t f = 0; f < ram->size / FRAME_SIZE; f++)
		dirty += ram->frame[f] == FRAME_DIRTY;
	assert_int_equal(dirty, 3);
	assert_int_equal(ram->frame[0x1f], FRAME_DIRTY);
	assert_int_equal(ram->frame[0], FRAME_DIRTY);
	assert_int_equal(ram->frame[1], FRAME_DIRTY);
	assert_int_equal(told_count, 0);
}

static void write_to_code_clears_its_mark_and_advances_its_generation(void **state)
{
	ram->frame[0x10] = FRAME_CODE; /* GPA 0 */
	ram->frame[0x11] = FRAME_CODE | FRAME_DIRTY;
	ram->frame[0x12] = FRAME_CODE;
	assert_int_equal(ram_write(ram, 0xfff, "ab", 2), 0);
	assert_int_equal(ram->frame[0x10], FRAME_DIRTY);
	assert_int_equal(ram->frame[0x11], FRAME_DIRTY);
	assert_int_equal(ram->frame[0x12], FRAME_CODE);
	assert_int_equal(ram->code_gen[0x10], 1);
	assert_int_equal(ram->code_gen[0x11], 1);
	assert_int_equal(ram->code_gen[0x12], 0);
	assert_int_equal(told_count, 2);
	assert_int_equal(told[0], 0x10);
	assert_int_equal(told[1], 0x11);
	/* Again: there is no code any more. */
	assert_int_equal(ram_write(ram, 0xfff, "ab", 2), 0);
	assert_int_equal(ram->code_gen[0x10], 1);
	assert_int_equal(told_count, 2);
	assert_int_equal(ram_fill(ram, 0x2000, 0, 1), 0);
	assert_int_equal(ram->code_gen[0x12], 1);
}

static void write_by_the_engine_is_not_told_to_it(void **state)
{
	ram->frame[0x10] = FRAME_CODE;
	ram_code_written(ram, 0x10);
	assert_int_equal(ram->code_gen[0x10], 1);
	assert_int_equal(ram->frame[0x10], 0);
	assert_int_equal(told_count, 0);
}

static void write_parts_are_filled_by_the_kernel_and_ended(void **state)
{
	struct iovec iov[4];
	int fds[2];

	ram->frame[0x1f] = FRAME_CODE;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "0123456789", 10), 10);
	assert_int_equal(ram_write_begin(ram, 0xfffb, 10, iov, 4), 2);
	assert_ptr_equal(iov[0].iov_base, ram->host + 0x1fffb);
	assert_int_equal(iov[0].iov_len, 5);
	assert_ptr_equal(iov[1].iov_base, ram->host);
	assert_int_equal(iov[1].iov_len, 5);
	assert_int_equal(ram->frame[0x1f], FRAME_CODE);
	assert_int_equal(readv(fds[0], iov, 2), 10);
	ram_write_end(ram, 0xfffb, 10);
	assert_int_equal(ram->frame[0x1f], FRAME_DIRTY);
	assert_int_equal(ram->code_gen[0x1f], 1);
	assert_int_equal(ram->frame[0], FRAME_DIRTY);
	assert_memory_equal(ram->host + 0x1fffb, "01234", 5);
	assert_memory_equal(ram->host, "56789", 5);
	close(fds[0]);
	close(fds[1]);
}

static void parts_that_touch_are_one_and_too_many_are_e2big(void **state)
{
	struct iovec iov[4];

	/* RAM 0x10000-0x1ffff, 0-0x7fff, 0x20000-0x27fff. */
	assert_int_equal(ram_read_iov(ram, 0, 0x20000, iov, 4), 3);
	assert_int_equal(iov[0].iov_len, 0x10000);
	assert_int_equal(ram_read_iov(ram, 0, 0x20000, iov, 2), -E2BIG);
	assert_int_equal(ram_write_begin(ram, 0, 0x20000, iov, 2), -E2BIG);
	assert_int_equal(ram_write_begin(ram, 0, 1, iov, 0), -E2BIG);
	/* Two slots whose RAM follows too. */
	assert_int_equal(
		ram_set_slot(ram, 0, &(struct ram_slot){.gpa = 0x31000, .size = 0x1000, .offset = 0x29000}),
		0);
	assert_int_equal(ram_write_begin(ram, 0x30000, 0x2000, iov, 1), 1);
	assert_int_equal(iov[0].iov_len, 0x2000);
}

/* A device writes a counter that a "vCPU" reads: it must never see half of it. */
static _Atomic bool stop;

static void *write_counter(void *arg)
{
	for (uint64_t i = 0; !atomic_load(&stop); i++) {
		uint64_t v = (i & 0xff) * 0x0101010101010101ull;

		ram_write(ram, 0x100, &v, 8);
	}
	return NULL;
}

static void write_of_an_aligned_word_is_seen_whole(void **state)
{
	pthread_t thread;

	atomic_store(&stop, false);
	pthread_create(&thread, NULL, write_counter, NULL);
	for (int i = 0; i < 200000; i++) {
		uint64_t v;

		assert_int_equal(ram_read(ram, 0x100, &v, 8), 0);
		assert_int_equal(v, (v & 0xff) * 0x0101010101010101ull);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

/*
 * The protocol between a writer and a decoder of the same frame: a decoder that finds its
 * generation unchanged after the writer is done has the newest bytes.
 */
enum { ROUNDS = 100000 };

static void *write_code(void *arg)
{
	for (uint32_t i = 1; i <= ROUNDS; i++)
		ram_write(ram, 0x5000, &i, 4);
	atomic_store(&stop, true);
	return NULL;
}

static void code_of_an_unchanged_generation_is_not_stale(void **state)
{
	const uint64_t frame = 0x15;
	uint32_t value = 0, gen = 0, last;
	pthread_t thread;

	ram->code_written = NULL;
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, write_code, NULL);
	do {
		last = atomic_load(&stop);
		gen = atomic_load(&ram->code_gen[frame]);
		atomic_fetch_or(&ram->frame[frame], FRAME_CODE);
		value = __atomic_load_n((uint32_t *)(ram->host + (frame << FRAME_SHIFT)), __ATOMIC_SEQ_CST);
	} while (!last);
	pthread_join(thread, NULL);
	assert_int_equal(gen, ram->code_gen[frame]);
	assert_int_equal(value, ROUNDS);

	/* And the other way about: decode once more and more, writing in between. */
	for (uint32_t i = 0; i < 1000; i++) {
		gen = atomic_load(&ram->code_gen[frame]);
		atomic_fetch_or(&ram->frame[frame], FRAME_CODE);
		assert_int_equal(ram_write(ram, 0x5000, &i, 4), 0);
		assert_int_not_equal(gen, ram->code_gen[frame]);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_ram, drop_ram)
	const struct CMUnitTest tests[] = {
		T(access_runs_through_slots_that_follow_each_other),
		T(access_outside_slots_copies_nothing),
		T(access_of_no_bytes_is_fine_anywhere),
		T(access_reaches_the_last_byte_of_the_highest_slot),
		T(write_goes_into_read_only_slots),
		T(write_marks_the_frames_it_touched_dirty_and_no_other),
		T(write_to_code_clears_its_mark_and_advances_its_generation),
		T(write_by_the_engine_is_not_told_to_it),
		T(write_parts_are_filled_by_the_kernel_and_ended),
		T(parts_that_touch_are_one_and_too_many_are_e2big),
		T(write_of_an_aligned_word_is_seen_whole),
		T(code_of_an_unchanged_generation_is_not_stale),
	};

	return cmocka_run_group_tests_name("ram_access", tests, NULL, NULL);
}
