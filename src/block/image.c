// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening images, locks against double use, and reading through chains.
 *
 * Locks are open file description locks on the whole file (fcntl(2)): shared for who reads, exclusive for who writes. They
 * also meet those that QEMU takes on single bytes. A block device that is written to is opened with O_EXCL, which fails
 * while it is mounted.
 */
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int image_error(struct error *err, int errnum, const char *verb, const char *path)
{
	const char *fix = "check the file and the host's storage";

	if (errnum == -ENOENT)
		fix = "check the name, or make an image with 'subring disk create'";
	else if (errnum == -EACCES || errnum == -EPERM || errnum == -EROFS)
		fix = "get the right to it, or use it read-only";
	else if (errnum == -ENOSPC || errnum == -EDQUOT || errnum == -EFBIG)
		fix = "make room, or use another file system";
	return error_set(err, errnum, errnum == -ENOMEM || errnum == -EMFILE ? STATUS_HOST : STATUS_INPUT, "cannot %s %s", "%s",
			 "%s", verb, path, strerror(-errnum), fix);
}

enum { LOCK_TRIES = 10, LOCK_PAUSE_US = 20000 };

static int lock(struct image *img, struct error *err)
{
	struct flock fl = {.l_type = img->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	/* A process that was killed keeps its files for a moment, until the kernel has ended its I/O. */
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (fcntl(img->fd, F_OFD_SETLK, &fl) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES)
			break;
		usleep(LOCK_PAUSE_US);
	}
	if (errno == EAGAIN || errno == EACCES)
		return error_set(err, -EBUSY, STATUS_INPUT, "cannot open the disk image %s",
				 img->readonly ? "somebody else has it open for writing" : "somebody else has it open",
				 img->readonly ? "end the VM or program that uses it" :
						 "end the VM or program that uses it, or open it read-only where all others do",
				 img->path);
	/* A file system without locks: nothing can be said. */
	return 0;
}


static int open_file(struct image *img, const struct image_options *o, struct error *err)
{
	int flags = (img->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	struct stat st;

	if (stat(o->path, &st) == 0 && S_ISBLK(st.st_mode) && !img->readonly && !o->no_lock)
		flags |= O_EXCL;
	img->fd = open(o->path, flags);
	if (img->fd < 0)
		return errno == EBUSY ? error_set(err, -EBUSY, STATUS_INPUT, "cannot open the disk %s",
						  "the host uses it: it is mounted, or part of something else",
						  "unmount it, or name another", o->path) :
					image_error(err, -errno, "open the disk image", o->path);
	if (fstat(img->fd, &st) < 0)
		return image_error(err, -errno, "look at the disk image", o->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot use %s as a disk", "it is neither a file nor a block device",
				 "name a disk image", o->path);
	return 0;
}

/* Which format: what is named, or what the first bytes say. NULL with @err: neither. */
static int choose(struct image *img, const struct image_options *o, bool *qcow2, struct error *err)
{
	char head[BLOCK_SECTOR];
	int ret;

	if (o->format && strcmp(o->format, "raw") && strcmp(o->format, "qcow2"))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot open the disk image %s", "there is no format '%s'",
				 "the formats are raw and qcow2", o->path, o->format);
	if (o->format) {
		*qcow2 = !strcmp(o->format, "qcow2");
		return 0;
	}
	ret = file_read(img->fd, 0, head, sizeof(head));
	if (ret)
		return image_error(err, ret, "read the disk image", o->path);
	*qcow2 = qcow2_is(head, sizeof(head));
	img->guessed = !*qcow2;
	return 0;
}

int image_open(const struct image_options *o, struct image **out, struct error *err)
{
	struct image *img = calloc(1, sizeof(*img));
	bool qcow2;
	int ret;

	if (!img)
		return image_error(err, -ENOMEM, "open the disk image", o->path);
	img->fd = -1;
	img->readonly = o->readonly;
	img->path = strdup(o->path);
	ret = img->path ? open_file(img, o, err) : image_error(err, -ENOMEM, "open the disk image", o->path);
	if (!ret && !o->no_lock)
		ret = lock(img, err);
	if (!ret)
		ret = choose(img, o, &qcow2, err);
	if (!ret)
		ret = qcow2 ? qcow2_open(img, o, err) : raw_open(img, o, err);
	if (ret) {
		image_close(img);
		return ret;
	}
	*out = img;
	return 0;
}

void image_close(struct image *img)
{
	if (!img)
		return;
	if (img->ops)
		img->ops->close(img);
	image_close(img->backing);
	if (img->fd >= 0) {
		struct flock fl = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

		/* A worker of io_uring may hold the open file for a moment after its request was done, and the lock with it. */
		fcntl(img->fd, F_OFD_SETLK, &fl);
		close(img->fd);
	}
	free(img->path);
	free(img);
}

int image_map(struct image *img, uint64_t offset, uint64_t bytes, bool may_block, struct extent *e, struct image **in)
{
	for (;; img = img->backing) {
		int ret;

		if (offset >= img->bytes) {
			*e = (struct extent){.kind = EXTENT_ZERO, .bytes = bytes};
			*in = img;
			return 0;
		}
		if (bytes > img->bytes - offset)
			bytes = img->bytes - offset;
		ret = img->ops->map(img, offset, bytes, may_block, e);
		if (ret)
			return ret;
		*in = img;
		if (e->kind != EXTENT_BACKING)
			return 0;
		bytes = e->bytes;
		if (!img->backing) {
			e->kind = EXTENT_ZERO;
			return 0;
		}
	}
}

/* Calls @read with slices of the iovecs, extent by extent. */
static int read_extent(struct image *in, const struct extent *e, uint64_t offset, const struct iovec *iov, unsigned iovs,
		       size_t skip)
{
	size_t done = 0;

	while (done < e->bytes) {
		struct iovec slice[64];
		size_t got;
		unsigned n = iov_slice(iov, iovs, skip + done, (size_t)e->bytes - done, slice, 64, &got);
		int ret;

		if (!n)
			return -EINVAL;
		if (e->kind == EXTENT_DATA)
			ret = file_readv(in->fd, e->host + done, slice, n);
		else
			ret = in->ops->read_compressed(in, offset + done, slice, n);
		if (ret)
			return ret;
		done += got;
	}
	return 0;
}

int image_read(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	size_t bytes = iov_bytes(iov, iovs), at = 0;

	while (at < bytes) {
		struct extent e;
		struct image *in;
		int ret = image_map(img, offset + at, bytes - at, true, &e, &in);

		if (ret)
			return ret;
		if (e.kind == EXTENT_ZERO)
			iov_zero(iov, iovs, at, (size_t)e.bytes);
		else
			ret = read_extent(in, &e, offset + at, iov, iovs, at);
		if (ret)
			return ret;
		at += (size_t)e.bytes;
	}
	return 0;
}

int image_read_buffer(struct image *img, uint64_t offset, void *to, size_t bytes)
{
	struct iovec iov = {to, bytes};

	return image_read(img, offset, &iov, 1);
}

bool image_is_guarded(const struct image *img, uint64_t offset)
{
	return img->guessed && offset < BLOCK_SECTOR;
}

/*
 * A write that begins in the first sector of a disk that was only guessed to be raw. The sector is looked at in a copy, for the guest may
 * change its memory meanwhile.
 */
static int write_guarded(struct image *img, const struct iovec *iov, unsigned iovs)
{
	size_t bytes = iov_bytes(iov, iovs), at = BLOCK_SECTOR;
	char head[BLOCK_SECTOR];
	struct iovec copy = {head, BLOCK_SECTOR};
	int ret;

	if (bytes < BLOCK_SECTOR)
		return -EINVAL;
	iov_get(iov, iovs, 0, head, BLOCK_SECTOR);
	ret = qcow2_is(head, BLOCK_SECTOR) ? -EPERM : img->ops->write(img, 0, &copy, 1);
	while (!ret && at < bytes) {
		struct iovec slice[64];
		size_t got;
		unsigned n = iov_slice(iov, iovs, at, bytes - at, slice, 64, &got);

		ret = img->ops->write(img, at, slice, n);
		at += got;
	}
	return ret;
}

int image_write(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	if (image_is_guarded(img, offset))
		return offset ? -EINVAL : write_guarded(img, iov, iovs);
	return img->ops->write(img, offset, iov, iovs);
}

int image_zero(struct image *img, uint64_t offset, uint64_t bytes, bool unmap)
{
	return img->ops->zero(img, offset, bytes, unmap);
}

int image_discard(struct image *img, uint64_t offset, uint64_t bytes)
{
	return img->ops->discard(img, offset, bytes);
}

int image_flush(struct image *img)
{
	return img->ops->flush(img);
}
