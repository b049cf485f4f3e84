// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qcow2 disks: against a plain image in memory, and against qemu-img. Each run of random operations is a pure function of its seed.
 */
#include "block/disk_tool.h"
#include "disk_rig.h"
#include "qemu_img.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static uint64_t seed;

static uint64_t next(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

static void create(const char *path, const struct disk_create *c)
{
	struct error err = {0};
	int ret = disk_tool_create(path, c, &err);

	if (ret)
		print_error("%s: %s\n", err.what, err.why);
	assert_int_equal(ret, 0);
}

static void assert_clean(const char *path)
{
	struct disk_check check;
	struct error err = {0};
	int ret = disk_tool_check(path, false, &check, &err);

	if (ret)
		print_error("%s: %s\n", err.what, err.why);
	assert_int_equal(ret, 0);
	if (check.corruptions)
		print_error("%s\n", check.first);
	assert_int_equal(check.corruptions, 0);
	assert_int_equal(check.leaks, 0);
	assert_int_equal(check.flags, 0);
}

/* --- the model --- */

struct model {
	struct disk *d;
	uint8_t *memory, *other;
	uint64_t bytes;
};

static void compare_all(struct model *m)
{
	for (uint64_t at = 0; at < m->bytes; at += 256 * 1024) {
		uint64_t n = m->bytes - at < 256 * 1024 ? m->bytes - at : 256 * 1024;

		assert_int_equal(rig_read(m->d, at, m->other, n), 0);
		if (memcmp(m->other, m->memory + at, n)) {
			for (uint64_t i = 0; i < n; i++)
				if (m->other[i] != m->memory[at + i])
					fail_msg("byte %llu is %02x, not %02x", (unsigned long long)(at + i), m->other[i], m->memory[at + i]);
		}
	}
}

static void random_range(struct model *m, uint64_t *offset, uint64_t *bytes)
{
	*bytes = 512 * (1 + (next(4) ? next(20) : next(400)));
	*bytes = *bytes > m->bytes ? m->bytes : *bytes;
	*offset = next((m->bytes - *bytes) / 512 + 1) * 512;
}

static void step(struct model *m)
{
	uint64_t offset, bytes;

	random_range(m, &offset, &bytes);
	switch (next(12)) {
	case 0 ... 4:
		memset(m->other, (int)(1 + next(255)), bytes);
		assert_int_equal(rig_request(m->d, BLOCK_WRITE, next(8) ? 0 : BLOCK_FUA, offset, m->other, bytes), 0);
		memcpy(m->memory + offset, m->other, bytes);
		break;
	case 5:
		assert_int_equal(rig_request(m->d, BLOCK_WRITE_ZEROES, next(2) ? BLOCK_UNMAP : 0, offset, NULL, bytes), 0);
		memset(m->memory + offset, 0, bytes);
		break;
	case 6:
		/* What is discarded is undefined until it is written. */
		assert_int_equal(rig_request(m->d, BLOCK_DISCARD, 0, offset, NULL, bytes), 0);
		assert_int_equal(rig_read(m->d, offset, m->memory + offset, bytes), 0);
		break;
	case 7: assert_int_equal(rig_flush(m->d), 0); break;
	default:
		assert_int_equal(rig_read(m->d, offset, m->other, bytes), 0);
		assert_memory_equal(m->other, m->memory + offset, bytes);
	}
}

static void run_model(const char *path, uint64_t bytes, const void *start, enum aio_kind kind, unsigned steps, uint64_t with_seed)
{
	struct model m = {.bytes = bytes, .memory = calloc(1, bytes), .other = malloc(256 * 1024)};

	seed = with_seed;
	if (start)
		memcpy(m.memory, start, bytes);
	for (unsigned round = 0; round < 3; round++) {
		m.d = rig_open(&(struct disk_config){.path = path, .aio = kind});
		assert_int_equal(disk_info(m.d)->bytes, bytes);
		for (unsigned i = 0; i < steps; i++)
			step(&m);
		compare_all(&m);
		disk_close(m.d);
		assert_clean(path);
	}
	m.d = rig_open(&(struct disk_config){.path = path, .aio = kind, .readonly = true});
	compare_all(&m);
	disk_close(m.d);
	free(m.memory);
	free(m.other);
}

static void qcow2_is_a_disk_for_all_sizes_of_clusters(void **state)
{
	static const uint64_t clusters[] = {512, 1024, 4096, 65536, 2 * MIB};

	for (unsigned i = 0; i < 5; i++) {
		for (unsigned k = 0; k < 2; k++) {
			const char *path = rig_path("disk.qcow2");

			unlink(path);
			create(path, &(struct disk_create){.bytes = 3 * MIB + 512, .cluster = clusters[i]});
			run_model(path, 3 * MIB + 512, NULL, k ? AIO_THREADS : AIO_AUTO, 300, i * 2 + k);
		}
	}
}

static void qcow2_on_a_backing_file_shows_it_where_nothing_was_written(void **state)
{
	uint8_t *base = malloc(2 * MIB);

	for (unsigned i = 0; i < 2 * MIB; i++)
		base[i] = (uint8_t)(i / 4096 + 1);
	for (unsigned k = 0; k < 2; k++) {
		const char *path = rig_path("top"), *back = rig_file("base", 2 * MIB, 1);
		int fd = open(back, O_WRONLY | O_CLOEXEC);

		assert_int_equal(pwrite(fd, base, 2 * MIB, 0), 2 * MIB);
		close(fd);
		unlink(path);
		create(path, &(struct disk_create){.backing = "base", .backing_format = "raw", .cluster = k ? 4096 : 0});
		run_model(path, 2 * MIB, base, k ? AIO_THREADS : AIO_AUTO, 300, 77 + k);
	}
	free(base);
}

static void a_longer_disk_than_its_backing_file_reads_zeroes_behind_it(void **state)
{
	struct disk *d;

	rig_file("base", 100 * 512, 'b');
	create(rig_path("top"), &(struct disk_create){.backing = "base", .backing_format = "raw", .bytes = MIB});
	d = rig_open(&(struct disk_config){.path = rig_path("top")});
	rig_assert_filled(d, 0, 100 * 512, 'b');
	rig_assert_filled(d, 100 * 512, MIB - 100 * 512, 0);
	assert_int_equal(rig_write(d, 99 * 512, (char[512]){"x"}, 512), 0);
	rig_assert_filled(d, 98 * 512, 512, 'b');
	rig_assert_filled(d, 100 * 512, 512, 0);
	disk_close(d);
}

static void an_overlay_takes_writes_and_vanishes(void **state)
{
	const char *path = rig_file("disk", MIB, 'a');
	struct disk *d = rig_open(&(struct disk_config){.path = path, .format = "raw", .overlay = true});

	assert_false(disk_info(d)->readonly);
	assert_int_equal(rig_write(d, 4096, (char[512]){0}, 512), 0);
	rig_assert_filled(d, 4096, 512, 0);
	rig_assert_filled(d, 4608, 512, 'a');
	assert_int_equal(rig_flush(d), 0);
	disk_close(d);
	d = rig_open(&(struct disk_config){.path = path, .format = "raw"});
	rig_assert_filled(d, 0, MIB, 'a');
	disk_close(d);
}

/* --- draining from done --- */

static struct disk *drained;
static unsigned left;

static void drain_in_done(struct block_request *r, int error)
{
	assert_int_equal(error, 0);
	if (left-- == 8)
		disk_drain(drained);
}

static void drain_may_be_called_from_done(void **state)
{
	struct block_request r[8];
	char data[512] = {1};
	struct iovec iov = {data, sizeof(data)};

	create(rig_path("disk"), &(struct disk_create){.bytes = 8 * MIB});
	drained = rig_open(&(struct disk_config){.path = rig_path("disk")});
	left = 8;
	for (unsigned i = 0; i < 8; i++) {
		r[i] = (struct block_request){.op = BLOCK_WRITE, .offset = i * MIB, .bytes = 512, .iov = &iov, .iovs = 1, .done = drain_in_done};
		disk_submit(drained, &r[i]);
	}
	disk_drain(drained);
	assert_int_equal(left, 0);
	disk_close(drained);
}

/* --- qemu-img --- */

static void qemu_img_reads_what_was_written_here(void **state)
{
	static const uint64_t clusters[] = {512, 65536};

	need_qemu_img();
	for (unsigned i = 0; i < 2; i++) {
		struct model m = {.bytes = 8 * MIB, .memory = calloc(1, 8 * MIB), .other = malloc(256 * 1024)};
		char *back = malloc(8 * MIB);
		int fd;

		seed = 5 + i;
		unlink(rig_path("disk"));
		unlink(rig_path("raw"));
		create(rig_path("disk"), &(struct disk_create){.bytes = 8 * MIB, .cluster = clusters[i], .compression = i ? "zstd" : "zlib"});
		m.d = rig_open(&(struct disk_config){.path = rig_path("disk")});
		for (int n = 0; n < 500; n++)
			step(&m);
		disk_close(m.d);
		assert_qemu_img_finds_nothing("disk");
		assert_int_equal(qemu_img("convert -f qcow2 -O raw disk raw"), 0);
		fd = open(rig_path("raw"), O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, back, 8 * MIB), 8 * MIB);
		close(fd);
		assert_memory_equal(back, m.memory, 8 * MIB);
		free(back);
		free(m.memory);
		free(m.other);
	}
}

/* A raw file with something of each kind. */
static uint8_t *make_source(const char *name, uint64_t bytes)
{
	uint8_t *memory = calloc(1, bytes);
	int fd = open(rig_file(name, bytes, 0), O_WRONLY | O_CLOEXEC);

	seed = 99;
	for (uint64_t at = 0; at < bytes; at += 65536) {
		unsigned kind = (unsigned)next(4);

		if (!kind)
			continue;
		for (unsigned i = 0; i < 65536; i++)
			memory[at + i] = (uint8_t)(kind == 1 ? next(256) : kind == 2 ? at >> 16 : i / 100);
	}
	assert_int_equal(pwrite(fd, memory, bytes, 0), (ssize_t)bytes);
	close(fd);
	return memory;
}

static void images_of_qemu_img_are_read_here(void **state)
{
	static const char *const options[] = {"-o compat=1.1", "-o compat=0.10", "-c", "-c -o compression_type=zstd", "-o cluster_size=512",
					      "-c -o cluster_size=4k", "-o refcount_bits=64", "-o refcount_bits=1", "-c -o cluster_size=2M",
					      "-o lazy_refcounts=on"};
	uint8_t *source;

	need_qemu_img();
	source = make_source("source", 4 * MIB);
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct model m = {.bytes = 4 * MIB, .memory = source, .other = malloc(256 * 1024)};
		bool v2 = strstr(options[i], "0.10");

		unlink(rig_path("disk"));
		assert_int_equal(qemu_img("convert -f raw -O qcow2 %s source disk", options[i]), 0);
		for (unsigned k = 0; k < 2; k++) {
			m.d = rig_open(&(struct disk_config){.path = rig_path("disk"), .readonly = v2, .aio = k ? AIO_THREADS : AIO_AUTO});
			assert_string_equal(disk_info(m.d)->format, "qcow2");
			compare_all(&m);
			for (int n = 0; n < 200 && !v2; n++)
				step(&m);
			disk_close(m.d);
			assert_qemu_img_finds_nothing("disk");
			assert_clean(rig_path("disk"));
		}
		free(m.other);
		free(source);
		source = make_source("source", 4 * MIB);
	}
	free(source);
}

static void convert_gives_the_same_disk_in_both_directions(void **state)
{
	struct error err;
	uint8_t *source;

	need_qemu_img();
	source = make_source("source", 4 * MIB);
	for (unsigned i = 0; i < 4; i++) {
		struct disk_convert there = {.from_format = "raw", .compress = i & 1, .compression = i & 2 ? "zstd" : "zlib"};

		unlink(rig_path("there"));
		unlink(rig_path("back"));
		assert_int_equal(disk_tool_convert(rig_path("source"), rig_path("there"), &there, NULL, &err), 0);
		assert_qemu_img_finds_nothing("there");
		assert_clean(rig_path("there"));
		assert_int_equal(qemu_img("compare -f raw -F qcow2 source there"), 0);
		assert_int_equal(disk_tool_convert(rig_path("there"), rig_path("back"), &(struct disk_convert){.to_format = "raw"}, NULL, &err), 0);
		assert_int_equal(qemu_img("compare -f raw -F raw source back"), 0);
		assert_int_equal(disk_tool_convert(rig_path("there"), rig_path("back"), &there, NULL, &err), -EEXIST);
	}
	free(source);
}

static void snapshots_keep_what_was_and_others_agree(void **state)
{
	uint8_t *source, *kept = malloc(4 * MIB);
	struct model m = {.bytes = 4 * MIB, .other = malloc(256 * 1024)};
	struct disk_details details;
	struct error err = {0};
	const char *path;

	need_qemu_img();
	source = make_source("source", 4 * MIB);
	m.memory = source;
	assert_int_equal(qemu_img("convert -f raw -O qcow2 -o cluster_size=4k -c source disk"), 0);
	path = rig_path("disk");
	assert_int_equal(disk_tool_snapshot_create(path, "one", &err), 0);
	assert_qemu_img_finds_nothing("disk");
	assert_int_equal(disk_tool_snapshot_create(path, "one", &err), -EEXIST);
	memcpy(kept, source, 4 * MIB);
	m.d = rig_open(&(struct disk_config){.path = path});
	for (int i = 0; i < 300; i++)
		step(&m);
	compare_all(&m);
	disk_close(m.d);
	assert_qemu_img_finds_nothing("disk");
	path = rig_path("disk");
	assert_int_equal(disk_tool_snapshot_create(path, "two", &err), 0);
	assert_int_equal(disk_tool_info(path, NULL, &details, &err), 0);
	assert_int_equal(details.snapshot_count, 2);
	assert_string_equal(details.snapshots[1].name, "two");
	disk_details_free(&details);
	assert_int_equal(disk_tool_snapshot_apply(path, "one", &err), 0);
	assert_qemu_img_finds_nothing("disk");
	m.memory = kept;
	m.d = rig_open(&(struct disk_config){.path = path});
	compare_all(&m);
	disk_close(m.d);
	path = rig_path("disk");
	assert_int_equal(disk_tool_snapshot_delete(path, "one", &err), 0);
	assert_qemu_img_finds_nothing("disk");
	assert_int_equal(disk_tool_snapshot_apply(path, "two", &err), 0);
	m.memory = source;
	m.d = rig_open(&(struct disk_config){.path = path});
	compare_all(&m);
	for (int i = 0; i < 100; i++)
		step(&m);
	disk_close(m.d);
	path = rig_path("disk");
	assert_int_equal(disk_tool_snapshot_delete(path, "two", &err), 0);
	assert_int_equal(disk_tool_snapshot_delete(path, "two", &err), -ENOENT);
	assert_qemu_img_finds_nothing("disk");
	assert_clean(path);
	m.d = rig_open(&(struct disk_config){.path = path});
	compare_all(&m);
	disk_close(m.d);
	free(source);
	free(kept);
	free(m.other);
}

static void snapshots_of_qemu_img_are_known_here(void **state)
{
	struct disk_details details;
	struct error err;
	struct disk *d;

	need_qemu_img();
	assert_int_equal(qemu_img("create -q -f qcow2 disk 1M"), 0);
	d = rig_open(&(struct disk_config){.path = rig_path("disk")});
	assert_int_equal(rig_write(d, 0, (char[512]){"first"}, 512), 0);
	disk_close(d);
	assert_int_equal(qemu_img("snapshot -c theirs disk"), 0);
	d = rig_open(&(struct disk_config){.path = rig_path("disk")});
	assert_int_equal(rig_write(d, 0, (char[512]){"second"}, 512), 0);
	disk_close(d);
	assert_int_equal(disk_tool_info(rig_path("disk"), NULL, &details, &err), 0);
	assert_int_equal(details.snapshot_count, 1);
	assert_string_equal(details.snapshots[0].name, "theirs");
	disk_details_free(&details);
	assert_int_equal(disk_tool_snapshot_apply(rig_path("disk"), "theirs", &err), 0);
	d = rig_open(&(struct disk_config){.path = rig_path("disk")});
	char data[512];

	assert_int_equal(rig_read(d, 0, data, 512), 0);
	assert_string_equal(data, "first");
	disk_close(d);
	assert_int_equal(qemu_img("snapshot -d theirs disk"), 0);
	assert_qemu_img_finds_nothing("disk");
}

static void resize_shows_zeroes_and_forgets_what_is_cut_off(void **state)
{
	struct error err;
	struct disk *d;
	const char *path = rig_path("disk");

	rig_file("base", 3 * MIB, 'b');
	create(path, &(struct disk_create){.backing = "base", .backing_format = "raw", .bytes = MIB + 512, .cluster = 512});
	d = rig_open(&(struct disk_config){.path = path});
	assert_int_equal(rig_write(d, MIB - 512, (char[1024]){[0 ... 1023] = 'w'}, 1024), 0);
	disk_close(d);
	assert_int_equal(disk_tool_resize(path, NULL, MIB, false, &err), -EPERM);
	assert_int_equal(disk_tool_resize(path, NULL, MIB, true, &err), 0);
	assert_clean(path);
	assert_int_equal(disk_tool_resize(path, NULL, 64 * MIB, false, &err), 0);
	assert_clean(path);
	d = rig_open(&(struct disk_config){.path = path});
	assert_int_equal(disk_info(d)->bytes, 64 * MIB);
	rig_assert_filled(d, 0, MIB - 512, 'b');
	rig_assert_filled(d, MIB - 512, 512, 'w');
	rig_assert_filled(d, MIB, 8 * MIB, 0);
	disk_close(d);
}

static void commit_moves_all_into_the_backing_file(void **state)
{
	struct model m = {.bytes = 2 * MIB, .memory = calloc(1, 2 * MIB), .other = malloc(256 * 1024)};
	struct error err;

	create(rig_path("base"), &(struct disk_create){.bytes = MIB});
	create(rig_path("top"), &(struct disk_create){.backing = "base", .bytes = 2 * MIB, .cluster = 4096});
	m.d = rig_open(&(struct disk_config){.path = rig_path("top")});
	seed = 3;
	for (int i = 0; i < 200; i++)
		step(&m);
	disk_close(m.d);
	assert_int_equal(disk_tool_commit(rig_path("top"), NULL, &err), 0);
	for (int i = 0; i < 2; i++) {
		m.d = rig_open(&(struct disk_config){.path = rig_path(i ? "base" : "top")});
		compare_all(&m);
		disk_close(m.d);
		assert_clean(rig_path(i ? "base" : "top"));
	}
	free(m.memory);
	free(m.other);
}

static void errors_of_the_host_leave_the_image_whole(void **state)
{
	for (unsigned k = 0; k < 2; k++) {
		struct disk *d;
		char data[8192];
		int failed = 0;

		unlink(rig_path("disk"));
		create(rig_path("disk"), &(struct disk_create){.bytes = 8 * MIB, .cluster = 4096});
		d = rig_open(&(struct disk_config){.path = rig_path("disk"), .aio = k ? AIO_THREADS : AIO_AUTO});
		rig_set_faults(&(struct rig_faults){.full_at = MIB});
		seed = k;
		for (int i = 0; i < 600; i++) {
			memset(data, i, sizeof(data));
			failed += rig_write(d, next(1000) * 8192, data, sizeof(data)) == -ENOSPC;
			if (!(i % 50))
				rig_flush(d);
		}
		assert_true(failed > 0);
		/* Space returns. */
		rig_set_faults(&(struct rig_faults){0});
		for (int i = 0; i < 100; i++)
			assert_int_equal(rig_write(d, (uint64_t)i * 8192, memset(data, 'q', sizeof(data)), sizeof(data)), 0);
		assert_int_equal(rig_flush(d), 0);
		rig_assert_filled(d, 0, 100 * 8192, 'q');
		disk_close(d);
		assert_clean(rig_path("disk"));
	}
}

static void after_a_failed_sync_nothing_more_is_promised(void **state)
{
	struct disk *d;

	create(rig_path("disk"), &(struct disk_create){.bytes = MIB});
	d = rig_open(&(struct disk_config){.path = rig_path("disk")});
	assert_int_equal(rig_write(d, 0, (char[512]){"x"}, 512), 0);
	rig_set_faults(&(struct rig_faults){.sync_error = EIO});
	assert_int_equal(rig_flush(d), -EIO);
	rig_set_faults(&(struct rig_faults){0});
	assert_int_equal(rig_flush(d), -EIO);
	disk_close(d);
}

static void chains_that_are_loops_and_formats_that_are_not_said_are_refused(void **state)
{
	struct disk *d;
	struct error err;
	int fd;

	need_qemu_img();
	assert_int_equal(qemu_img("create -q -f qcow2 a 1M"), 0);
	assert_int_equal(qemu_img("create -q -f qcow2 -b a -F qcow2 b"), 0);
	assert_int_equal(qemu_img("rebase -u -f qcow2 -b b -F qcow2 a"), 0);
	assert_int_equal(disk_open(&(struct disk_config){.path = rig_path("a"), .readonly = true}, rig_loop, &d, &err), -EINVAL);
	assert_non_null(strstr(err.why, "loop"));
	assert_int_equal(qemu_img("create -q -f qcow2 c 1M"), 0);
	create(rig_path("d"), &(struct disk_create){.backing = "c", .backing_format = "qcow2"});
	/* The header extension becomes one that nobody knows. */
	fd = open(rig_path("d"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "none", 4, 112), 4);
	close(fd);
	assert_int_equal(disk_open(&(struct disk_config){.path = rig_path("d"), .readonly = true}, rig_loop, &d, &err), -EINVAL);
	assert_non_null(strstr(err.why, "format"));
}

static void what_is_not_supported_is_refused(void **state)
{
	static const struct {
		unsigned at, value;
	} header[] = {{35, 1}, {35, 2}, {79, 4}, {79, 16}, {79, 32}, {72, 1}, {7, 4}, {104, 2}};
	struct disk *d;
	struct error err;

	/* Encrypted (AES, LUKS), an external data file, subclusters, unknown features, another version, another compression. */
	for (unsigned i = 0; i < sizeof(header) / sizeof(header[0]); i++) {
		uint8_t byte = (uint8_t)header[i].value;
		int fd;

		unlink(rig_path("disk"));
		create(rig_path("disk"), &(struct disk_create){.bytes = MIB});
		fd = open(rig_path("disk"), O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, &byte, 1, header[i].at), 1);
		close(fd);
		assert_int_equal(disk_open(&(struct disk_config){.path = rig_path("disk"), .readonly = true}, rig_loop, &d, &err), -ENOTSUP);
		assert_true(*err.why && *err.fix);
	}
}

static void check_repairs_leaks_and_dirty_images(void **state)
{
	struct disk_check check;
	struct error err;
	uint8_t two[2] = {0, 1}, dirty = 1;
	struct disk *d;
	int fd;

	create(rig_path("disk"), &(struct disk_create){.bytes = MIB});
	fd = open(rig_path("disk"), O_WRONLY | O_CLOEXEC);
	/* The refcount block is the third cluster: cluster 100 is referred to by nothing, and the image was not closed. */
	assert_int_equal(pwrite(fd, two, 2, 2 * 65536 + 200), 2);
	assert_int_equal(pwrite(fd, &dirty, 1, 79), 1);
	close(fd);
	assert_int_equal(disk_open(&(struct disk_config){.path = rig_path("disk")}, rig_loop, &d, &err), -EINVAL);
	assert_non_null(strstr(err.fix, "check --repair"));
	assert_int_equal(disk_tool_check(rig_path("disk"), false, &check, &err), 0);
	assert_int_equal(check.leaks, 1);
	assert_int_equal(disk_tool_check(rig_path("disk"), true, &check, &err), 0);
	assert_int_equal(check.fixed, 1);
	assert_clean(rig_path("disk"));
	disk_close(rig_open(&(struct disk_config){.path = rig_path("disk")}));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(qcow2_is_a_disk_for_all_sizes_of_clusters),
		CASE(qcow2_on_a_backing_file_shows_it_where_nothing_was_written),
		CASE(a_longer_disk_than_its_backing_file_reads_zeroes_behind_it),
		CASE(an_overlay_takes_writes_and_vanishes),
		CASE(drain_may_be_called_from_done),
		CASE(qemu_img_reads_what_was_written_here),
		CASE(images_of_qemu_img_are_read_here),
		CASE(convert_gives_the_same_disk_in_both_directions),
		CASE(snapshots_keep_what_was_and_others_agree),
		CASE(snapshots_of_qemu_img_are_known_here),
		CASE(resize_shows_zeroes_and_forgets_what_is_cut_off),
		CASE(commit_moves_all_into_the_backing_file),
		CASE(errors_of_the_host_leave_the_image_whole),
		CASE(after_a_failed_sync_nothing_more_is_promised),
		CASE(chains_that_are_loops_and_formats_that_are_not_said_are_refused),
		CASE(what_is_not_supported_is_refused),
		CASE(check_repairs_leaks_and_dirty_images),
	};

	return cmocka_run_group_tests_name("qcow2 disks", tests, NULL, NULL);
}
