// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Power cuts. All that is written to an image's file is recorded, with the syncs; then the file is made anew as a power cut could have
 * left it: all that came before some sync, and of what came after it any subset of the sectors. Each time the image must open, have
 * what had been flushed, or newer, and no corruption: only leaks.
 */
#include "block/disk_tool.h"
#include "disk_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 256 * 1024, SECTOR = 512, BLOCKS = BYTES / 4096 };

enum event_kind { WRITTEN, HOLE, RESIZED, SYNCED, FLUSHED };

struct event {
	enum event_kind kind;
	uint64_t offset, bytes;
	uint8_t *data;
	bool dsync; /* safe by itself */
	unsigned flush; /* FLUSHED: which */
};

static struct event *events;
static size_t event_count, event_room;
static uint64_t seed;

/* Each block of 4 KiB: which version it has, which one at least has to be safe now and at each flush, and what byte fills each version. */
enum { VERSIONS = 256 };
static unsigned version[BLOCKS], durable[BLOCKS], flushed[4096][BLOCKS], flushes;
static uint8_t content[BLOCKS][VERSIONS];

static uint64_t next(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

static struct event *add_event(enum event_kind kind, uint64_t offset, uint64_t bytes)
{
	if (event_count == event_room) {
		event_room = event_room ? event_room * 2 : 1024;
		events = realloc(events, event_room * sizeof(*events));
	}
	events[event_count] = (struct event){.kind = kind, .offset = offset, .bytes = bytes};
	return &events[event_count++];
}

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t record_pwritev2(int fd, const struct iovec *iov, int iovs, off_t offset, int flags)
{
	ssize_t n = pwritev2(fd, iov, iovs, offset, flags);

	if (n > 0) {
		struct event *e;

		pthread_mutex_lock(&record_lock);
		e = add_event(WRITTEN, (uint64_t)offset, (uint64_t)n);
		e->dsync = flags & RWF_DSYNC;
		e->data = malloc((size_t)n);
		iov_get(iov, (unsigned)iovs, 0, e->data, (size_t)n);
		pthread_mutex_unlock(&record_lock);
	}
	return n;
}

static int record_fdatasync(int fd)
{
	pthread_mutex_lock(&record_lock);
	add_event(SYNCED, 0, 0);
	pthread_mutex_unlock(&record_lock);
	return 0;
}

static int record_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	int ret = fallocate(fd, mode, offset, bytes);

	if (!ret && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		pthread_mutex_lock(&record_lock);
		add_event(HOLE, (uint64_t)offset, (uint64_t)bytes);
		pthread_mutex_unlock(&record_lock);
	}
	return ret;
}

static int record_ftruncate(int fd, off_t bytes)
{
	pthread_mutex_lock(&record_lock);
	add_event(RESIZED, (uint64_t)bytes, 0);
	pthread_mutex_unlock(&record_lock);
	return ftruncate(fd, bytes);
}

static const struct file_calls recording = {
	.preadv = preadv,
	.pwritev2 = record_pwritev2,
	.fdatasync = record_fdatasync,
	.fallocate = record_fallocate,
	.ftruncate = record_ftruncate,
};

static int no_fdatasync(int fd)
{
	return 0;
}

/* For what is only looked at: nothing of it has to last. */
static const struct file_calls unsynced = {
	.preadv = preadv,
	.pwritev2 = pwritev2,
	.fdatasync = no_fdatasync,
	.fallocate = fallocate,
	.ftruncate = ftruncate,
};

/* --- what is replayed --- */

/* Carries out @e; of its sectors only those that @chance says, 0 to 8 in 8. */
static void replay(int fd, const struct event *e, unsigned chance)
{
	static const uint8_t zeroes[SECTOR];

	if (e->kind == RESIZED && next(8) < chance)
		assert_int_equal(ftruncate(fd, (off_t)e->offset), 0);
	if (e->kind != WRITTEN && e->kind != HOLE)
		return;
	for (uint64_t at = 0; at < e->bytes;) {
		uint64_t n = SECTOR - (e->offset + at) % SECTOR;

		n = n < e->bytes - at ? n : e->bytes - at;
		if (chance == 8 || next(8) < chance)
			assert_int_equal(pwrite(fd, e->data ? e->data + at : zeroes, n, (off_t)(e->offset + at)), (ssize_t)n);
		at += n;
	}
}

/* A file as a cut at @end could leave it; returns which flush had been acknowledged, 0: none. */
static unsigned make_crashed(const char *path, const uint8_t *start, size_t start_bytes, size_t end)
{
	size_t last_sync = 0;
	unsigned flush = 0, chance = (unsigned)next(9);
	int fd;

	/* A new file: some file systems write one that was cut to nothing out at once. */
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, start, start_bytes, 0), (ssize_t)start_bytes);
	for (size_t i = 0; i < end; i++) {
		if (events[i].kind == SYNCED)
			last_sync = i;
		if (events[i].kind == FLUSHED)
			flush = events[i].flush;
	}
	for (size_t i = 0; i < end; i++)
		replay(fd, &events[i], i < last_sync || events[i].dsync ? 8 : chance);
	close(fd);
	return flush;
}

/* Each block has what it had at @flush, or what was written to it later, sector by sector. */
static void check_content(struct disk *d, unsigned flush)
{
	static uint8_t memory[BYTES];

	assert_int_equal(rig_read(d, 0, memory, BYTES), 0);
	for (unsigned b = 0; b < BLOCKS; b++) {
		for (unsigned s = 0; s < 4096; s += SECTOR) {
			uint8_t have = memory[b * 4096 + s];
			bool found = false;

			for (unsigned i = 1; i < SECTOR; i++)
				if (memory[b * 4096 + s + i] != have)
					fail_msg("block %u: a sector of two parts", b);
			for (unsigned v = flush ? flushed[flush][b] : 0; v <= version[b] && !found; v++)
				found = have == content[b][v];
			if (!found)
				fail_msg("block %u has %02x; flush %u had %02x", b, have, flush, content[b][flushed[flush][b]]);
		}
	}
}

static void check_crashed(const char *path, unsigned flush)
{
	struct disk_check check;
	struct error err = {0};
	struct disk *d;
	int ret = disk_tool_check(path, false, &check, &err);

	if (ret)
		print_error("%s: %s\n", err.what, err.why);
	assert_int_equal(ret, 0);
	if (check.corruptions)
		fail_msg("%llu corruptions: %s", (unsigned long long)check.corruptions, check.first);
	assert_int_equal(disk_tool_check(path, true, &check, &err), 0);
	assert_int_equal(disk_tool_check(path, false, &check, &err), 0);
	assert_int_equal(check.leaks + check.flags + check.corruptions, 0);
	d = rig_open(&(struct disk_config){.path = path, .aio = AIO_THREADS});
	check_content(d, flush);
	disk_close(d);
}

/* --- what is recorded --- */

static void note_durable(void)
{
	flushes++;
	memcpy(flushed[flushes], durable, sizeof(durable));
	add_event(FLUSHED, 0, 0)->flush = flushes;
}

static void note_flush(void)
{
	memcpy(durable, version, sizeof(version));
	note_durable();
}

/* Writes, zeroes or discards a block. A discard reads as zeroes here, for it is of whole clusters. */
static void change_block(struct disk *d, unsigned block, bool whole_clusters)
{
	unsigned v = ++version[block], how = (unsigned)next(10);
	enum block_op op = how == 0 ? BLOCK_WRITE_ZEROES : how == 1 && whole_clusters ? BLOCK_DISCARD : BLOCK_WRITE;
	uint8_t data[4096];

	assert_true(v < VERSIONS);
	content[block][v] = op == BLOCK_WRITE ? (uint8_t)(1 + (block * 7 + v * 13) % 255) : 0;
	memset(data, content[block][v], sizeof(data));
	if (op != BLOCK_DISCARD && !next(8)) {
		assert_int_equal(rig_request(d, op, BLOCK_FUA, block * 4096, data, 4096), 0);
		durable[block] = v;
		note_durable();
		return;
	}
	assert_int_equal(rig_request(d, op, next(4) ? 0 : BLOCK_UNMAP, block * 4096, data, 4096), 0);
}

static void record_run(const char *path, unsigned steps, bool whole_clusters, bool snapshots)
{
	struct disk_config config = {.path = path, .aio = AIO_THREADS};
	struct disk *d = rig_open(&config);
	struct error err;

	for (unsigned i = 0; i < steps; i++) {
		unsigned block = (unsigned)next(BLOCKS);

		change_block(d, block, whole_clusters);
		if (!next(6)) {
			assert_int_equal(rig_flush(d), 0);
			note_flush();
		}
		if (snapshots && !next(12)) {
			disk_close(d);
			note_flush();
			if (next(2))
				disk_tool_snapshot_create(path, "s", &err);
			else
				disk_tool_snapshot_delete(path, "s", &err);
			d = rig_open(&config);
		}
	}
	disk_close(d);
	note_flush();
}

static void forget(void)
{
	for (size_t i = 0; i < event_count; i++)
		free(events[i].data);
	free(events);
	events = NULL;
	event_count = event_room = 0;
	flushes = 0;
	memset(version, 0, sizeof(version));
	memset(durable, 0, sizeof(durable));
	memset(content, 0, sizeof(content));
}

/* @before: bytes that are written behind the part that is looked at, before the recording begins. */
static void run(uint64_t cluster, unsigned steps, bool snapshots, uint64_t before, unsigned cuts, uint64_t with_seed)
{
	static uint8_t start[16 << 20];
	char *path = strdup(rig_path("recorded")), *crashed = strdup(rig_path("crashed"));
	struct error err;
	size_t start_bytes;
	int fd;

	forget();
	seed = with_seed;
	unlink(path);
	assert_int_equal(disk_tool_create(path, &(struct disk_create){.bytes = BYTES + before, .cluster = cluster}, &err), 0);
	if (before) {
		struct disk *d = rig_open(&(struct disk_config){.path = path});

		memset(start, 1, before);
		assert_int_equal(rig_write(d, BYTES, start, before), 0);
		disk_close(d);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	start_bytes = (size_t)read(fd, start, sizeof(start));
	close(fd);
	file_calls = &recording;
	record_run(path, steps, cluster <= 4096, snapshots);
	file_calls = &unsynced;
	for (unsigned i = 0; i < cuts; i++)
		check_crashed(crashed, make_crashed(crashed, start, start_bytes, next(event_count + 1)));
	free(path);
	free(crashed);
}

static void a_power_cut_leaves_what_was_flushed_and_only_leaks(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		run((uint64_t[]){512, 1024, 4096, 65536}[i], 150, false, 0, 150, i);
}

static void a_power_cut_during_snapshots_does_so_too(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		run((uint64_t[]){512, 4096, 65536}[i], 120, true, 0, 150, 50 + i);
}

/* A refcount table of one cluster of 512 bytes is full when the file has 8 MiB. */
static void a_power_cut_while_the_refcount_table_moves_does_so_too(void **state)
{
	uint8_t offset[8];
	int fd;

	run(512, 150, false, 8000 * 1024, 100, 90);
	fd = open(rig_path("recorded"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, offset, 8, 48), 8);
	close(fd);
	/* It was in the second cluster. */
	assert_true(offset[5] || offset[4]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_power_cut_leaves_what_was_flushed_and_only_leaks),
		CASE(a_power_cut_during_snapshots_does_so_too),
		CASE(a_power_cut_while_the_refcount_table_moves_does_so_too),
	};

	return cmocka_run_group_tests_name("power cuts", tests, NULL, NULL);
}
