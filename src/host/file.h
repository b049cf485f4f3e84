// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files of the host: whole transfers at offsets, holes, and lists of pieces of memory (iovecs).
 *
 * Every call to the host that can fail goes through one table, which tests replace to inject faults and to
 * record what is written. All of this may be called on any thread.
 */
#ifndef SUBRING_HOST_FILE_H
#define SUBRING_HOST_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* As in section 2 of the manual: -1 and errno. */
struct file_calls {
	ssize_t (*preadv)(int fd, const struct iovec *iov, int iovs, off_t offset);
	ssize_t (*pwritev2)(int fd, const struct iovec *iov, int iovs, off_t offset, int flags);
	int (*fdatasync)(int fd);
	int (*fallocate)(int fd, int mode, off_t offset, off_t bytes);
	int (*ftruncate)(int fd, off_t bytes);
	/*
	 * Asked before io_uring gets a read or write of @bytes: how many of them to try, or a negative errno that it
	 * fails with. NULL: all.
	 */
	ssize_t (*uring)(int fd, bool write, off_t offset, size_t bytes);
};

extern const struct file_calls file_calls_host;
extern const struct file_calls *file_calls; /* the host's; tests set another while no I/O is under way */

/*
 * All of the iovecs at @offset, whatever number of calls that takes. Reading beyond the file's end gives zeroes.
 * @dsync: as if followed by file_sync. 0 or a negative errno, with an unknown part transferred.
 */
int file_readv(int fd, uint64_t offset, const struct iovec *iov, unsigned iovs);
int file_writev(int fd, uint64_t offset, const struct iovec *iov, unsigned iovs, bool dsync);
int file_read(int fd, uint64_t offset, void *to, size_t bytes);
int file_write(int fd, uint64_t offset, const void *from, size_t bytes);

int file_sync(int fd); /* fdatasync(2): data, and what is needed to find it again */
int file_resize(int fd, uint64_t bytes);
int file_punch(int fd, uint64_t offset, uint64_t bytes);		   /* the size stays */
int file_zero(int fd, uint64_t offset, uint64_t bytes, bool keep_space); /* zeroes, without holes if @keep_space; the size stays */

/* --- iovecs --- */

size_t iov_bytes(const struct iovec *iov, unsigned iovs);
/* Writes the @bytes from @skip on to @out, of which there are @max; returns how many it took, and what they hold to *@got. */
unsigned iov_slice(const struct iovec *iov, unsigned iovs, size_t skip, size_t bytes, struct iovec *out, unsigned max,
		   size_t *got);
void iov_zero(const struct iovec *iov, unsigned iovs, size_t skip, size_t bytes);
void iov_put(const struct iovec *iov, unsigned iovs, size_t skip, const void *from, size_t bytes);
void iov_get(const struct iovec *iov, unsigned iovs, size_t skip, void *to, size_t bytes);

#endif
