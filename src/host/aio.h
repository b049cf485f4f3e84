// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * File I/O that does not block the loop: over io_uring(7) where the host has it, else by a few threads
 * with preadv, pwritev2 and fdatasync. Which it is makes no difference to the caller.
 *
 * All functions and callbacks on the loop's thread (aio_create and aio_destroy also while it does not run).
 */
#ifndef SUBRING_HOST_AIO_H
#define SUBRING_HOST_AIO_H

#include "host/loop.h"

#include <stddef.h>
#include <sys/uio.h>

enum aio_kind { AIO_AUTO, AIO_URING, AIO_THREADS };

enum aio_op {
	AIO_READ,  /* beyond the file's end: zeroes */
	AIO_WRITE, /* with dsync: as if followed by AIO_SYNC */
	AIO_SYNC,  /* fdatasync */
	AIO_CALL,  /* call() on a helper thread: for what may block */
	AIO_RESULT, /* nothing: done gets @error, later */
};

struct aio_request {
	enum aio_op op;
	int fd;
	bool dsync;
	uint64_t offset;
	const struct iovec *iov; /* with what it names, valid until done */
	unsigned iovs;
	int (*call)(struct aio_request *r); /* returns what done gets */
	int error;
	/* 0 or a negative errno. Short transfers have been gone on with. Never called from aio_submit. */
	void (*done)(struct aio_request *r, int error);
	/* private */
	size_t at, bytes;
	struct iovec rest[8];
	struct aio_request *next;
};

struct aio;

/* AIO_URING fails where the host has no io_uring; AIO_AUTO takes threads then. */
int aio_create(struct loop *loop, enum aio_kind kind, struct aio **out);
void aio_destroy(struct aio *aio); /* nothing may be in flight; NULL is fine */
enum aio_kind aio_kind(const struct aio *aio);

void aio_submit(struct aio *aio, struct aio_request *r);
/* Between the two, requests are gathered; aio_unplug hands them over, and with @now calls done for those that are done. They nest. */
void aio_plug(struct aio *aio);
void aio_unplug(struct aio *aio, bool now);
/* Waits until something is done, and calls its done. False: nothing was in flight. */
bool aio_wait(struct aio *aio);

#endif
