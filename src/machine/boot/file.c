// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files for the loaders. Only regular files: a FIFO would wait, a terminal or /dev/zero never ends,
 * and the size of none of them is known. Nothing is mapped, because a file that is cut short while
 * it is mapped costs the process its life.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_SIZE = 1 << 20 };

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "it is a directory";
	case S_IFIFO: return "it is a pipe";
	case S_IFCHR:
	case S_IFBLK: return "it is a device";
	case S_IFSOCK: return "it is a socket";
	default: return "it is no regular file";
	}
}

int boot_file_open(struct boot_file *file, const char *what, const char *path, struct error *err)
{
	struct stat st;
	int ret;

	*file = (struct boot_file){ .path = path };
	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file->fd < 0 || fstat(file->fd, &st)) {
		ret = -errno;
		boot_file_close(file);
		return error_set(err, ret, STATUS_INPUT, "cannot load the %s %s", "%s", "%s", what, path,
				 strerror(-ret),
				 ret == -EACCES ? "name a file that you may read"
						: "name a file that is there");
	}
	if (!S_ISREG(st.st_mode)) {
		boot_file_close(file);
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot load the %s %s", "%s",
				 "name a regular file", what, path, kind_of(st.st_mode));
	}
	if (st.st_size == 0) {
		boot_file_close(file);
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot load the %s %s", "it is empty",
				 "fetch or build it again, or name another file", what, path);
	}
	file->size = (uint64_t)st.st_size;
	return 0;
}

void boot_file_close(struct boot_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, size_t len)
{
	uint8_t *p = buf;

	if (offset > file->size || len > file->size - offset)
		return -ENODATA;
	while (len) {
		ssize_t n = pread(file->fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int boot_image_read(const struct boot_image *image, uint64_t offset, void *buf, size_t len)
{
	if (image->file)
		return boot_file_read(image->file, offset, buf, len);
	if (offset > image->size || len > image->size - offset)
		return -ENODATA;
	memcpy(buf, image->bytes + offset, len);
	return 0;
}

int boot_image_to_ram(const struct boot_image *image, uint64_t offset, uint64_t len, struct ram *ram,
		      uint64_t gpa)
{
	uint8_t *buf;
	int ret = 0;

	if (!image->file) {
		if (offset > image->size || len > image->size - offset)
			return -ENODATA;
		return ram_write(ram, gpa, image->bytes + offset, len);
	}
	buf = malloc(COPY_SIZE);
	if (!buf)
		return -ENOMEM;
	while (len && !ret) {
		size_t part = len < COPY_SIZE ? len : COPY_SIZE;

		ret = boot_file_read(image->file, offset, buf, part);
		if (!ret)
			ret = ram_write(ram, gpa, buf, part);
		offset += part;
		gpa += part;
		len -= part;
	}
	free(buf);
	return ret;
}
