// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to block/: an open image file, of some format, with the images behind it.
 *
 * An image belongs to one thread at a time; disk.c says whose. Functions block, except those that are said not to. Offsets and
 * lengths are bytes of the virtual disk, of any alignment unless said otherwise; those of struct extent.host are bytes of the file.
 */
#ifndef SUBRING_BLOCK_IMAGE_H
#define SUBRING_BLOCK_IMAGE_H

#include "block/block.h"
#include "host/file.h"

struct image;

enum extent_kind {
	EXTENT_DATA,	   /* at host in the image's file */
	EXTENT_ZERO,	   /* reads as zeroes */
	EXTENT_BACKING,	   /* not in this image: what the one behind it has, or zeroes */
	EXTENT_COMPRESSED, /* only the format can read it */
};

struct extent {
	enum extent_kind kind;
	bool writable;	/* EXTENT_DATA: may be written at host as it is */
	uint64_t host;
	uint64_t bytes; /* what follows is of the same kind, and contiguous in the file */
};

struct image_ops {
	const char *name;
	void (*close)(struct image *img);
	/*
	 * What is at @offset, @bytes at most. Without @may_block -EAGAIN when it would take I/O to know.
	 */
	int (*map)(struct image *img, uint64_t offset, uint64_t bytes, bool may_block, struct extent *e);
	/* Reads an extent of kind EXTENT_COMPRESSED, within it. */
	int (*read_compressed)(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
	int (*write)(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
	int (*zero)(struct image *img, uint64_t offset, uint64_t bytes, bool unmap);
	int (*discard)(struct image *img, uint64_t offset, uint64_t bytes);
	int (*flush)(struct image *img);
	/* Is there more to a flush than fdatasync of fd? Does not block. */
	bool (*dirty)(struct image *img);
	int (*resize)(struct image *img, uint64_t bytes, struct error *err);
};

struct image {
	const struct image_ops *ops;
	char *path;
	int fd;
	bool readonly;
	bool guessed;	   /* raw because nothing else fits: see image_is_guarded */
	bool independent;  /* writes, zeroes and discards need not wait for each other: the format has no metadata */
	bool device;
	bool can_discard;
	uint64_t bytes;
	uint64_t granularity;	/* of discards */
	unsigned logical_block, physical_block;
	struct image *backing; /* owned */
	void *format;	       /* the format's own */
	const struct image *front; /* what it is the backing of, while it is opened */
};

struct image_options {
	const char *path;
	const char *format; /* NULL: guess */
	bool readonly, no_lock;
	bool repair;	/* a qcow2 image that says that it is dirty or corrupt may be opened for writing, by who repairs it */
	bool no_backing; /* the chain is not opened: EXTENT_BACKING cannot be read */
	uint64_t grow;	/* see disk_config.bytes */
	unsigned depth; /* how many images are in front of it */
	const struct image *front; /* for finding loops */
};

enum { IMAGE_DEPTH = 64 };

int image_open(const struct image_options *o, struct image **out, struct error *err);
void image_close(struct image *img); /* NULL is fine; flushes first if it can be written */

/* Puts an empty qcow2 image in a temporary file, which has no name, before @base, which it owns then. */
int image_overlay(struct image *base, struct image **out, struct error *err);

int image_read(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
int image_read_buffer(struct image *img, uint64_t offset, void *to, size_t bytes);
int image_write(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
int image_zero(struct image *img, uint64_t offset, uint64_t bytes, bool unmap);
int image_discard(struct image *img, uint64_t offset, uint64_t bytes);
int image_flush(struct image *img);

/*
 * What is at @offset through the whole chain: EXTENT_DATA, _ZERO or _COMPRESSED, and in which image. As map otherwise.
 */
int image_map(struct image *img, uint64_t offset, uint64_t bytes, bool may_block, struct extent *e, struct image **in);

/*
 * A guest must not turn a disk that was only guessed to be raw into what is guessed to be qcow2 the next time, with a
 * file of the host behind it: image_write fails with -EPERM where it would. What is guarded so has to go through image_write, and begins
 * at the disk's first byte.
 */
bool image_is_guarded(const struct image *img, uint64_t offset);

/* --- formats --- */

/* Take over img->fd, set ops and what else is theirs. On failure image_open closes. */
int raw_open(struct image *img, const struct image_options *o, struct error *err);
/* What is at @offset of a raw image, with its holes as EXTENT_ZERO: map does not tell, for it takes system calls. */
int raw_map_holes(struct image *img, uint64_t offset, uint64_t bytes, struct extent *e);
int qcow2_open(struct image *img, const struct image_options *o, struct error *err);
bool qcow2_is(const void *head, size_t bytes);

int image_error(struct error *err, int errnum, const char *verb, const char *path); /* for what the host said of @path */

#endif
