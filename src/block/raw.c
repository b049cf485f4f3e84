// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Raw images: a regular file or a block device of the host, byte for byte.
 *
 * Nothing here has state that changes with requests, so they may run side by side on any threads.
 */
#include "block/image.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void raw_close(struct image *img)
{
}

static int raw_map(struct image *img, uint64_t offset, uint64_t bytes, bool may_block, struct extent *e)
{
	*e = (struct extent){.kind = EXTENT_DATA, .writable = true, .host = offset, .bytes = bytes};
	return 0;
}


int raw_map_holes(struct image *img, uint64_t offset, uint64_t bytes, struct extent *e)
{
	off_t data, hole;

	raw_map(img, offset, bytes, true, e);
	if (img->device)
		return 0;
	data = lseek(img->fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return errno == EINVAL ? 0 : -errno;
	if (data < 0 || (uint64_t)data > offset) {
		e->kind = EXTENT_ZERO;
		if (data >= 0 && (uint64_t)data - offset < bytes)
			e->bytes = (uint64_t)data - offset;
		return 0;
	}
	hole = lseek(img->fd, (off_t)offset, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	if ((uint64_t)hole > offset && (uint64_t)hole - offset < bytes)
		e->bytes = (uint64_t)hole - offset;
	return 0;
}

static int raw_write(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	return file_writev(img->fd, offset, iov, iovs, false);
}

static int raw_zero(struct image *img, uint64_t offset, uint64_t bytes, bool unmap)
{
	return file_zero(img->fd, offset, bytes, !unmap);
}

static int raw_discard(struct image *img, uint64_t offset, uint64_t bytes)
{
	int ret;

	if (img->device) {
		uint64_t range[2] = {offset, bytes};

		ret = ioctl(img->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	} else {
		ret = file_punch(img->fd, offset, bytes);
	}
	/* A discard is advice. */
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL ? 0 : ret;
}

static int raw_flush(struct image *img)
{
	return file_sync(img->fd);
}

static bool raw_dirty(struct image *img)
{
	return false;
}

static int raw_resize(struct image *img, uint64_t bytes, struct error *err)
{
	int ret;

	if (img->device)
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot resize %s", "it is a device of the host", "resize a file",
				 img->path);
	ret = file_resize(img->fd, bytes);
	if (ret)
		return image_error(err, ret, "resize", img->path);
	img->bytes = bytes;
	return 0;
}

static const struct image_ops raw_ops = {
	.name = "raw",
	.close = raw_close,
	.map = raw_map,
	.write = raw_write,
	.zero = raw_zero,
	.discard = raw_discard,
	.flush = raw_flush,
	.dirty = raw_dirty,
	.resize = raw_resize,
};

static int open_device(struct image *img, struct error *err)
{
	uint64_t bytes;
	int logical = 512;
	unsigned physical = 512;

	if (ioctl(img->fd, BLKGETSIZE64, &bytes) < 0)
		return image_error(err, -errno, "find the size of", img->path);
	if (ioctl(img->fd, BLKSSZGET, &logical) == 0)
		img->logical_block = (unsigned)logical;
	if (ioctl(img->fd, BLKPBSZGET, &physical) == 0)
		img->physical_block = physical;
	img->bytes = bytes;
	img->device = true;
	img->granularity = img->logical_block;
	return 0;
}

int raw_open(struct image *img, const struct image_options *o, struct error *err)
{
	struct stat st;
	int ret;

	img->ops = &raw_ops;
	img->independent = true;
	img->logical_block = 512;
	img->physical_block = 4096;
	img->granularity = 4096;
	if (fstat(img->fd, &st) < 0)
		return image_error(err, -errno, "look at", img->path);
	if (S_ISBLK(st.st_mode)) {
		ret = open_device(img, err);
		if (ret)
			return ret;
	} else {
		img->bytes = (uint64_t)st.st_size;
		if (!img->readonly && o->grow > img->bytes) {
			ret = file_resize(img->fd, o->grow);
			if (ret)
				return image_error(err, ret, "grow", img->path);
			img->bytes = o->grow;
		}
	}
	img->bytes = (img->bytes + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
	img->can_discard = !img->readonly;
	return 0;
}
