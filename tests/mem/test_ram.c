// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest memory: making it, mapping it a second time, slots, frame bytes and the dirty log. */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static struct ram *ram;

static int make_ram(void **state)
{
	struct error e;

	if (ram_create(16 * MIB, NULL, &ram, &e)) {
		error_print(&e);
		return -1;
	}
	return ram_set_slot(ram, 0, &(struct ram_slot){.gpa = 0, .size = 16 * MIB, .offset = 0});
}

static int drop_ram(void **state)
{
	ram_destroy(ram);
	return 0;
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void ram_starts_as_zeros_that_cost_nothing(void **state)
{
	struct stat st;

	assert_int_equal(fstat(ram->fds.ram, &st), 0);
	assert_int_equal(st.st_size, 16 * MIB);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(fstat(ram->fds.frames, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	for (uint64_t i = 0; i < 16 * MIB; i += MIB)
		assert_int_equal(ram->host[i], 0);
	for (uint64_t f = 0; f < 4096; f += 100) {
		assert_int_equal(ram_make_writable(ram, f), 0);
		assert_ptr_equal(ram_frame_bytes(ram, f), ram->host + f * FRAME_SIZE);
		assert_int_equal(ram->frame[f], 0);
	}
}

static void ram_frames_file_holds_a_byte_and_a_generation_for_each(void **state)
{
	struct stat st;

	/* 4096 frames: one page of bytes, four of generations. */
	assert_int_equal(ram_code_gen_offset(16 * MIB), 4096);
	assert_int_equal(ram_frames_size(16 * MIB), 5 * 4096);
	/* One frame: a page of each. */
	assert_int_equal(ram_code_gen_offset(4096), 4096);
	assert_int_equal(ram_frames_size(4096), 8192);
	/* 4097 frames: two pages, five pages. */
	assert_int_equal(ram_code_gen_offset(16 * MIB + 4096), 8192);
	assert_int_equal(ram_frames_size(16 * MIB + 4096), 7 * 4096);
	assert_int_equal(fstat(ram->fds.frames, &st), 0);
	assert_int_equal(st.st_size, 5 * 4096);
	assert_ptr_equal((uint8_t *)ram->code_gen, (uint8_t *)ram->frame + 4096);
}

static void ram_files_cannot_be_shrunk_or_grown(void **state)
{
	assert_int_equal(ftruncate(ram->fds.ram, 4096), -1);
	assert_int_equal(ftruncate(ram->fds.ram, (off_t)(32 * MIB)), -1);
	assert_int_equal(ftruncate(ram->fds.frames, 0), -1);
	assert_true(fcntl(ram->fds.ram, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(ram->fds.frames, F_GETFD) & FD_CLOEXEC);
}

static void ram_destroy_gives_back_everything(void **state)
{
	int before = open_descriptors();
	struct ram *other, *attached;
	struct error e;

	for (int i = 0; i < 50; i++) {
		assert_int_equal(ram_create(MIB, NULL, &other, &e), 0);
		assert_int_equal(ram_attach(&other->fds, MIB, &attached), 0);
		ram_destroy(i & 1 ? other : attached);
		ram_destroy(i & 1 ? attached : other);
	}
	assert_int_equal(open_descriptors(), before);
	ram_destroy(NULL);
}

static void ram_attached_is_the_same_memory(void **state)
{
	struct ram *other;
	int before = open_descriptors();

	assert_int_equal(ram_attach(&ram->fds, ram->size, &other), 0);
	assert_true(ram->owner);
	assert_false(other->owner);
	assert_int_equal(ram_set_slot(other, 0, &ram->slot[0]), 0);
	assert_int_equal(ram_write(ram, 12345, "hello", 6), 0);
	assert_memory_equal(other->host + 12345, "hello", 6);
	assert_true(other->frame[3] & FRAME_DIRTY);
	atomic_fetch_or(&other->frame[3], FRAME_CODE);
	assert_int_equal(ram_write(ram, 12345, "x", 1), 0);
	assert_int_equal(other->code_gen[3], 1);
	ram_destroy(other);
	assert_int_equal(open_descriptors(), before);
	assert_memory_equal(ram->host + 12345, "xello", 6);
}

static void ram_attached_in_another_process_is_the_same_memory(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct ram *other;

		if (ram_attach(&ram->fds, ram->size, &other))
			_exit(1);
		memcpy(other->host + MIB, "child", 6);
		ram_destroy(other);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_memory_equal(ram->host + MIB, "child", 6);
}

static void ram_attach_refuses_what_does_not_fit(void **state)
{
	int before = open_descriptors();
	struct ram_fds fds = ram->fds;
	struct ram *other;

	assert_int_equal(ram_attach(&ram->fds, 32 * MIB, &other), -EINVAL);
	assert_int_equal(ram_attach(&ram->fds, 0, &other), -EINVAL);
	assert_int_equal(ram_attach(&ram->fds, 4095, &other), -EINVAL);
	fds.frames = -1;
	assert_int_equal(ram_attach(&fds, ram->size, &other), -EBADF);
	fds = ram->fds;
	fds.ram = fds.frames;
	assert_int_equal(ram_attach(&fds, ram->size, &other), -EINVAL);
	fds = ram->fds;
	fds.base = ram->fds.frames;
	assert_int_equal(ram_attach(&fds, 4096, &other), -EINVAL);
	assert_int_equal(open_descriptors(), before);
}

static int set(unsigned index, uint64_t gpa, uint64_t size, uint64_t offset)
{
	return ram_set_slot(ram, index, &(struct ram_slot){.gpa = gpa, .size = size, .offset = offset});
}

static void slot_refuses_misalignment_overlap_and_ranges_outside(void **state)
{
	assert_int_equal(set(RAM_SLOTS_MAX, 32 * MIB, 4096, 0), -EINVAL);
	assert_int_equal(set(1, 32 * MIB + 1, 4096, 0), -EINVAL);
	assert_int_equal(set(1, 32 * MIB, 4095, 0), -EINVAL);
	assert_int_equal(set(1, 32 * MIB, 4096, 5), -EINVAL);
	assert_int_equal(set(1, 32 * MIB, 4096, 16 * MIB), -EINVAL);
	assert_int_equal(set(1, 32 * MIB, 4096, (uint64_t)-4096), -EINVAL);
	assert_int_equal(set(1, 32 * MIB, 32 * MIB, 0), -EINVAL);
	assert_int_equal(set(1, (uint64_t)-4096, 8192, 0), -EINVAL);
	assert_int_equal(set(1, 0, 4096, 0), -EINVAL);
	assert_int_equal(set(1, 16 * MIB - 4096, 8192, 0), -EINVAL);
	assert_int_equal(set(1, 16 * MIB, 4096, 0), 0);
	assert_int_equal(set(2, 16 * MIB, 4096, 0), -EINVAL);
	/* A slot may be changed to a range that overlaps its former self. */
	assert_int_equal(set(1, 16 * MIB, 8192, 0), 0);
	assert_int_equal(set(0, 4096, 4096, 0), 0);
}

static void slot_is_found_by_every_address_in_it_and_no_other(void **state)
{
	assert_int_equal(set(5, 0x100000000ull, 8192, MIB), 0);
	assert_ptr_equal(ram_find_slot(ram, 0), &ram->slot[0]);
	assert_ptr_equal(ram_find_slot(ram, 16 * MIB - 1), &ram->slot[0]);
	assert_null(ram_find_slot(ram, 16 * MIB));
	assert_null(ram_find_slot(ram, 0xffffffffull));
	assert_ptr_equal(ram_find_slot(ram, 0x100000000ull), &ram->slot[5]);
	assert_ptr_equal(ram_find_slot(ram, 0x100001fffull), &ram->slot[5]);
	assert_null(ram_find_slot(ram, 0x100002000ull));
	assert_null(ram_find_slot(ram, UINT64_MAX));
	assert_int_equal(set(5, 0, 0, 0), 0);
	assert_null(ram_find_slot(ram, 0x100000000ull));
}

static void dirty_log_shows_each_written_frame_once(void **state)
{
	uint64_t bitmap[65];

	memset(bitmap, 0xaa, sizeof(bitmap));
	assert_int_equal(ram_dirty_log(ram, 0, bitmap, 65), 0);
	for (int i = 0; i < 65; i++)
		assert_int_equal(bitmap[i], 0);
	assert_int_equal(ram_write(ram, 0x2fff, "ab", 2), 0); /* frames 2 and 3 */
	assert_int_equal(ram_fill(ram, 16 * MIB - 1, 1, 1), 0);
	assert_int_equal(ram_dirty_log(ram, 0, bitmap, 65), 0);
	assert_int_equal(bitmap[0], 0xc);
	assert_int_equal(bitmap[63], 1ull << 63);
	assert_int_equal(bitmap[64], 0);
	assert_int_equal(ram_dirty_log(ram, 0, bitmap, 64), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(bitmap[63], 0);
}

static void dirty_log_is_of_its_slot_alone(void **state)
{
	uint64_t bitmap[64];

	assert_int_equal(set(0, 0, MIB, 0), 0);
	assert_int_equal(set(1, 0x100000000ull, MIB, MIB), 0);
	assert_int_equal(ram_write(ram, 0x100003000ull, "x", 1), 0);
	assert_int_equal(ram_dirty_log(ram, 0, bitmap, 4), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(ram_dirty_log(ram, 1, bitmap, 4), 0);
	assert_int_equal(bitmap[0], 8);
	assert_int_equal(ram_dirty_log(ram, 1, bitmap, 3), -EINVAL);
	assert_int_equal(ram_dirty_log(ram, RAM_SLOTS_MAX, bitmap, 64), -EINVAL);
	assert_int_equal(ram_dirty_log(ram, 7, bitmap, 0), 0);
}

static void dirty_log_leaves_the_other_bits_alone(void **state)
{
	uint64_t bitmap[64];

	ram->frame[9] = FRAME_DIRTY | FRAME_CODE | FRAME_SNAPSHOT;
	assert_int_equal(ram_dirty_log(ram, 0, bitmap, 64), 0);
	assert_int_equal(bitmap[0], 1 << 9);
	assert_int_equal(ram->frame[9], FRAME_CODE | FRAME_SNAPSHOT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_ram, drop_ram)
	const struct CMUnitTest tests[] = {
		T(ram_starts_as_zeros_that_cost_nothing),
		T(ram_frames_file_holds_a_byte_and_a_generation_for_each),
		T(ram_files_cannot_be_shrunk_or_grown),
		T(ram_destroy_gives_back_everything),
		T(ram_attached_is_the_same_memory),
		T(ram_attached_in_another_process_is_the_same_memory),
		T(ram_attach_refuses_what_does_not_fit),
		T(slot_refuses_misalignment_overlap_and_ranges_outside),
		T(slot_is_found_by_every_address_in_it_and_no_other),
		T(dirty_log_shows_each_written_frame_once),
		T(dirty_log_is_of_its_slot_alone),
		T(dirty_log_leaves_the_other_bits_alone),
	};

	return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
