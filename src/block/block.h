// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Disks: what a device model reads from and writes to, and what the command line does with images.
 *
 *   disk.c         an open disk: requests, what may run side by side, draining
 *   limit.c        rate limits (token buckets)
 *   image.c        opening by format, locks, backing chains; image.h: what a format offers
 *   raw.c          files, block devices, ISO images
 *   qcow2*.c       qcow2 version 3 (version 2 is read); qcow2.h says which file does what
 *   tool.c         create, info, resize, check, snapshots; convert.c: convert, commit. disk_tool.h is their interface
 *
 * Everything about a disk happens on its loop's thread, and may block helper threads, but never that one
 * (nor a vCPU). Nothing here takes a lock of the board.
 */
#ifndef SUBRING_BLOCK_BLOCK_H
#define SUBRING_BLOCK_BLOCK_H

#include "host/aio.h"
#include "host/error.h"
#include "host/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk; /* an open image with its backing chain */

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

enum {
	BLOCK_FUA = 1,	 /* of writes and zeroes: done means that it is on stable storage */
	BLOCK_UNMAP = 2, /* of BLOCK_WRITE_ZEROES: space may be given back */
};

enum { BLOCK_SECTOR = 512 };

/* One piece of a request that is under way. */
struct block_part {
	struct aio_request aio;
	struct block_request *request;
	struct iovec *iov; /* a slice of the request's; NULL: they are used as they are */
};

struct block_request {
	enum block_op op;
	unsigned flags;
	uint64_t offset, bytes; /* multiples of BLOCK_SECTOR; reads and writes: bytes is what iov holds */
	const struct iovec *iov; /* host memory, the caller's, with the iovecs valid until done */
	unsigned iovs;
	/* On the disk's thread; 0 or a negative errno. The request is the caller's again, and may be submitted anew. */
	void (*done)(struct block_request *r, int error);

	/* Private to block/ until done. */
	struct disk *disk;
	struct block_request *next;
	struct block_part part; /* the first piece, or the only one */
	unsigned parts;
	int error;
};

enum disk_cache {
	DISK_WRITEBACK,	   /* what is done is in the host's page cache; flush makes it safe */
	DISK_WRITETHROUGH, /* every write is followed by a flush */
};

/* Rates a second; 0: no limit. A burst of a tenth of a second, at least one request, is let through. */
struct disk_limits {
	uint64_t ops, bytes;
};

struct disk_config {
	const char *path;
	const char *format; /* "raw", "qcow2"; NULL: qcow2 by its magic number, else raw, and then sector 0 cannot be made to look like qcow2 */
	bool readonly;
	bool overlay;	 /* writes go to a temporary file that vanishes; the image is opened read-only */
	bool no_lock;	 /* somebody else guards the image */
	uint64_t bytes;	 /* raw files only: grow the file to this size if it is smaller */
	enum disk_cache cache;
	struct disk_limits limits;
	enum aio_kind aio; /* AIO_AUTO unless a test wants one */
};

struct disk_info {
	const char *path, *format;
	uint64_t bytes; /* rounded up to a multiple of BLOCK_SECTOR: what is behind a raw file's end reads as zeroes, and writing there makes it longer */
	unsigned logical_block, physical_block;
	bool readonly;
	bool can_discard; /* BLOCK_DISCARD does something; it always succeeds where it can be asked for */
	uint64_t discard_granularity;
};

/*
 * Opens an image for use on @loop, whose thread this need not be yet. 0, or a negative errno with @err filled
 * (-EBUSY: somebody else has it open; -EINVAL, -EIO: damaged or hostile; what open(2) says).
 */
int disk_open(const struct disk_config *config, struct loop *loop, struct disk **out, struct error *err);

/* Drains, writes the metadata that is left, and syncs. On the loop's thread, or when that has ended, but
 * before the loop is destroyed. NULL is fine. */
void disk_close(struct disk *d);

const struct disk_info *disk_info(const struct disk *d);

/*
 * On the loop's thread. done is never called before this returns, unless in disk_unplug. Requests may be carried out in any order;
 * BLOCK_FLUSH covers those that were done before it was submitted. -EINVAL goes to done for what lies outside of the
 * disk or is no multiple of BLOCK_SECTOR, -EROFS for writes to a read-only disk.
 */
void disk_submit(struct disk *d, struct block_request *r);

/* Around several disk_submit: the host is asked once for all of them. disk_unplug may call done for those that were quick. */
void disk_plug(struct disk *d);
void disk_unplug(struct disk *d);

/* On the loop's thread: returns when nothing is in flight; rate limits do not hold here. done may submit more, which is waited for too. */
void disk_drain(struct disk *d);

/* Any time on the loop's thread. */
void disk_set_limits(struct disk *d, const struct disk_limits *limits);

#endif
