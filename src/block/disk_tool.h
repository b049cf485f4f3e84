// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What can be done with disk images that no VM uses. All of these block, lock the images, and fill @err when they fail.
 * A @format of NULL is found out from the image.
 */
#ifndef SUBRING_BLOCK_DISK_TOOL_H
#define SUBRING_BLOCK_DISK_TOOL_H

#include "host/error.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_progress {
	void (*report)(void *opaque, uint64_t done, uint64_t total); /* bytes; called now and then, on the caller's thread */
	void *opaque;
};

struct disk_create {
	const char *format;	    /* NULL: qcow2 */
	uint64_t bytes;		    /* 0: the backing file's */
	uint64_t cluster;	    /* bytes; 0: 64 KiB. qcow2 only, as what follows */
	const char *backing;	    /* relative to the folder of the new image */
	const char *backing_format; /* NULL: found out now, and written down */
	const char *compression;    /* "zlib", "zstd"; NULL: zlib */
};

/* -EEXIST: there is such a file, which is left alone. */
int disk_tool_create(const char *path, const struct disk_create *create, struct error *err);

struct disk_snapshot {
	char *id, *name;
	uint64_t seconds; /* since the Epoch */
	uint64_t bytes, vm_state;
};

struct disk_details {
	const char *format;
	uint64_t bytes, allocated; /* of the virtual disk; what the file takes on the host */
	uint64_t cluster;	   /* 0: the format has none */
	unsigned version;
	bool dirty, corrupt;
	const char *compression;
	char *backing, *backing_format; /* NULL: none */
	struct disk_snapshot *snapshots;
	unsigned snapshot_count;
};

int disk_tool_info(const char *path, const char *format, struct disk_details *details, struct error *err);
void disk_details_free(struct disk_details *details);

struct disk_convert {
	const char *from_format, *to_format; /* to_format NULL: qcow2 */
	bool compress;			     /* qcow2 only */
	uint64_t cluster;
	const char *compression;
};

/* Makes @to, which must not exist; what reads as zeroes becomes a hole. Of a chain the new image has all. */
int disk_tool_convert(const char *from, const char *to, const struct disk_convert *convert, const struct disk_progress *progress,
		      struct error *err);

/* -EPERM: it would become smaller, and @shrink is false. */
int disk_tool_resize(const char *path, const char *format, uint64_t bytes, bool shrink, struct error *err);

struct disk_check {
	uint64_t clusters, used, leaks, corruptions, flags, fixed;
	char first[128]; /* the first corruption */
};

/* Of a raw image there is nothing to check: -ENOTSUP. Corruptions are a result, no error. */
int disk_tool_check(const char *path, bool repair, struct disk_check *check, struct error *err);

int disk_tool_snapshot_create(const char *path, const char *name, struct error *err);
int disk_tool_snapshot_apply(const char *path, const char *name, struct error *err);
int disk_tool_snapshot_delete(const char *path, const char *name, struct error *err);

/* Writes what the image has into its backing file, and empties it. */
int disk_tool_commit(const char *path, const struct disk_progress *progress, struct error *err);

#endif
