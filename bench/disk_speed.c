// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: disk-speed [FOLDER]
 *
 * How fast block/ is, without a guest: reads and writes of a disk of 256 MiB in FOLDER (or /tmp), which fits into the page cache, so that what
 * is seen is the cost of each request, next to pread and pwrite of the same. The best of three runs.
 */
#include "block/disk_tool.h"
#include "block/block.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, RUNS = 3 };
static const uint64_t size = 256 * MIB;

struct shape {
	const char *name;
	bool write, random;
	size_t bytes;
	unsigned depth, count;
};

static const struct shape shapes[] = {
	{"write 1M, one after the other", true, false, MIB, 4, 256},
	{"read 1M, one after the other", false, false, MIB, 4, 256},
	{"read 4K at random, 32 at a time", false, true, 4096, 32, 100000},
	{"read 4K at random, one at a time", false, true, 4096, 1, 20000},
	{"write 4K at random, 32 at a time", true, true, 4096, 32, 30000},
	{"write 4K at random, one at a time", true, true, 4096, 1, 10000},
};

struct request {
	struct block_request r;
	struct iovec iov;
	struct run *run;
};

struct run {
	const struct shape *shape;
	struct disk *disk;
	struct loop *loop;
	unsigned issued, done;
	uint64_t seed;
};

static uint64_t place(struct run *run, unsigned n)
{
	uint64_t places = size / run->shape->bytes;

	run->seed = run->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (run->shape->random ? (run->seed >> 33) % places : n % places) * run->shape->bytes;
}

static void request_done(struct block_request *r, int error);

static void issue(struct request *q)
{
	struct run *run = q->run;

	q->r = (struct block_request){
		.op = run->shape->write ? BLOCK_WRITE : BLOCK_READ,
		.offset = place(run, run->issued++),
		.bytes = run->shape->bytes,
		.iov = &q->iov,
		.iovs = 1,
		.done = request_done,
	};
	disk_submit(run->disk, &q->r);
}

static void request_done(struct block_request *r, int error)
{
	struct request *q = (struct request *)r;
	struct run *run = q->run;

	if (error) {
		fprintf(stderr, "disk-speed: %s\n", strerror(-error));
		exit(1);
	}
	run->done++;
	if (run->issued < run->shape->count)
		issue(q);
	else if (run->done == run->shape->count)
		loop_stop(run->loop);
}

/* Seconds. */
static double once(struct run *run, struct request *q)
{
	uint64_t start = host_monotonic_ns();

	run->issued = run->done = 0;
	disk_plug(run->disk);
	for (unsigned i = 0; i < run->shape->depth; i++)
		issue(&q[i]);
	disk_unplug(run->disk);
	loop_run(run->loop);
	return (double)(host_monotonic_ns() - start) / 1e9;
}

static double plainly(struct run *run, int fd, char *memory)
{
	uint64_t start = host_monotonic_ns();

	for (unsigned i = 0; i < run->shape->count; i++) {
		off_t at = (off_t)place(run, i);
		ssize_t n = run->shape->write ? pwrite(fd, memory, run->shape->bytes, at) : pread(fd, memory, run->shape->bytes, at);

		if (n != (ssize_t)run->shape->bytes)
			exit(1);
	}
	return (double)(host_monotonic_ns() - start) / 1e9;
}

static void print(const struct shape *s, double seconds)
{
	printf("  %-36s %9.0f a second %7.0f MB/s\n", s->name, s->count / seconds, s->count * (double)s->bytes / seconds / 1e6);
	fflush(stdout);
}

static void measure(struct disk *disk, struct loop *loop, int fd)
{
	for (unsigned s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		struct run run = {.shape = &shapes[s], .disk = disk, .loop = loop};
		struct request *q = calloc(shapes[s].depth, sizeof(*q));
		char *memory = malloc(shapes[s].bytes * shapes[s].depth);
		double best = 1e9;

		memset(memory, 7, shapes[s].bytes * shapes[s].depth);
		for (unsigned i = 0; i < shapes[s].depth; i++) {
			q[i].run = &run;
			q[i].iov = (struct iovec){memory + i * shapes[s].bytes, shapes[s].bytes};
		}
		for (int i = 0; i < RUNS; i++) {
			double t = disk ? once(&run, q) : plainly(&run, fd, memory);

			best = t < best ? t : best;
		}
		print(&shapes[s], best);
		free(memory);
		free(q);
	}
}

static void measure_disk(const char *folder, const char *format, enum aio_kind kind)
{
	struct disk_config config = {.format = format, .aio = kind};
	struct disk_create create = {.format = format, .bytes = size};
	struct loop *loop;
	struct disk *disk;
	struct error err = {0};
	char path[4096];

	snprintf(path, sizeof(path), "%s/disk-speed.%d", folder, getpid());
	config.path = path;
	printf("%s, %s\n", format, kind == AIO_URING ? "io_uring" : "threads");
	if (loop_create(&loop) || disk_tool_create(path, &create, &err) || disk_open(&config, loop, &disk, &err)) {
		error_print(&err);
		exit(1);
	}
	measure(disk, loop, -1);
	disk_close(disk);
	loop_destroy(loop);
	unlink(path);
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : "/tmp";
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		perror(folder);
		return 1;
	}
	printf("pread and pwrite\n");
	measure(NULL, NULL, fd);
	close(fd);
	for (unsigned i = 0; i < 4; i++)
		measure_disk(folder, i & 1 ? "qcow2" : "raw", i & 2 ? AIO_THREADS : AIO_URING);
	return 0;
}
