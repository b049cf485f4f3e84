// SPDX-License-Identifier: GPL-2.0-or-later
/* Disk images that no VM uses: create, info, resize, check, snapshots. */
#include "block/disk_tool.h"
#include "block/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_qcow2(const struct image *img)
{
	return img->ops == &qcow2_ops;
}

/* The virtual size and format of the backing file of a new image. */
static int look_at_backing(const char *path, const struct disk_create *create, struct qcow2_create *q, struct error *err)
{
	const char *slash = strrchr(path, '/');
	struct image_options o = {.format = create->backing_format, .readonly = true};
	struct image *img;
	char *full;
	int ret;

	if (create->backing[0] == '/' || !slash)
		full = strdup(create->backing);
	else if (asprintf(&full, "%.*s%s", (int)(slash - path + 1), path, create->backing) < 0)
		full = NULL;
	o.path = full;
	ret = full ? image_open(&o, &img, err) : image_error(err, -ENOMEM, "make the disk image", path);
	free(full);
	if (ret)
		return ret;
	q->backing = create->backing;
	q->backing_format = img->ops->name;
	if (!q->bytes)
		q->bytes = img->bytes;
	image_close(img);
	return 0;
}

static int fill_in(const char *path, const struct disk_create *create, struct qcow2_create *q, bool *raw, struct error *err)
{
	const char *why = NULL;

	*raw = create->format && !strcmp(create->format, "raw");
	*q = (struct qcow2_create){.bytes = create->bytes};
	if (create->format && !*raw && strcmp(create->format, "qcow2"))
		why = "there is no such format";
	else if (*raw && (create->backing || create->cluster || create->compression))
		why = "raw images have no backing file, clusters or compression";
	else if (!create->backing && create->backing_format)
		why = "there is a format of a backing file, but no backing file";
	else if (!create->backing && !create->bytes)
		why = "it has no size";
	else if (create->compression && strcmp(create->compression, "zlib") && strcmp(create->compression, "zstd"))
		why = "there is no such compression";
	else if (create->cluster & (create->cluster - 1) || create->cluster > 2 << 20 || (create->cluster && create->cluster < 512))
		why = "clusters are from 512 bytes to 2 MiB, a power of two";
	if (why)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make the disk image %s", "%s",
				 "'subring help disk' shows how it is done", path, why);
	q->zstd = create->compression && !strcmp(create->compression, "zstd");
	q->cluster_bits = create->cluster ? (unsigned)__builtin_ctzll(create->cluster) : 0;
	return create->backing ? look_at_backing(path, create, q, err) : 0;
}

int disk_tool_create(const char *path, const struct disk_create *create, struct error *err)
{
	struct qcow2_create q;
	bool raw;
	int ret = fill_in(path, create, &q, &raw, err), fd;

	if (ret)
		return ret;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return error_set(err, -EEXIST, STATUS_INPUT, "cannot make the disk image %s", "there is a file of that name",
				 "remove it first, or use another name", path);
	if (fd < 0)
		return image_error(err, -errno, "make the disk image", path);
	if (raw) {
		ret = file_resize(fd, q.bytes);
		if (!ret)
			ret = file_sync(fd);
		if (ret)
			image_error(err, ret, "make the disk image", path);
	} else {
		ret = qcow2_create(fd, path, &q, err);
	}
	close(fd);
	if (ret)
		unlink(path);
	return ret;
}

/* --- info --- */

static int copy_details(const struct qcow2 *q, struct disk_details *d)
{
	d->cluster = q->cluster;
	d->version = q->version;
	d->dirty = q->incompatible & QCOW2_DIRTY;
	d->corrupt = q->incompatible & QCOW2_CORRUPT;
	d->compression = q->compression ? "zstd" : "zlib";
	d->backing = q->backing_name ? strdup(q->backing_name) : NULL;
	d->backing_format = q->backing_format ? strdup(q->backing_format) : NULL;
	d->snapshots = calloc(q->snapshot_count + 1, sizeof(*d->snapshots));
	if (!d->snapshots)
		return -ENOMEM;
	for (d->snapshot_count = 0; d->snapshot_count < q->snapshot_count; d->snapshot_count++) {
		const struct qcow2_snapshot *s = &q->snapshots[d->snapshot_count];

		d->snapshots[d->snapshot_count] = (struct disk_snapshot){.id = strdup(s->id), .name = strdup(s->name),
									 .seconds = s->seconds, .bytes = s->bytes, .vm_state = s->vm_state};
	}
	return 0;
}

int disk_tool_info(const char *path, const char *format, struct disk_details *details, struct error *err)
{
	struct image_options o = {.path = path, .format = format, .readonly = true, .no_backing = true};
	struct image *img;
	struct stat st;
	int ret = image_open(&o, &img, err);

	if (ret)
		return ret;
	*details = (struct disk_details){.format = img->ops->name, .bytes = img->bytes};
	if (fstat(img->fd, &st) == 0)
		details->allocated = (uint64_t)st.st_blocks * 512;
	if (is_qcow2(img))
		ret = copy_details(qcow2_of(img), details);
	image_close(img);
	if (ret)
		disk_details_free(details);
	return ret ? image_error(err, ret, "look at the disk image", path) : 0;
}

void disk_details_free(struct disk_details *d)
{
	for (unsigned i = 0; i < d->snapshot_count; i++) {
		free(d->snapshots[i].id);
		free(d->snapshots[i].name);
	}
	free(d->snapshots);
	free(d->backing);
	free(d->backing_format);
	*d = (struct disk_details){0};
}

/* --- resize, check --- */

int disk_tool_resize(const char *path, const char *format, uint64_t bytes, bool shrink, struct error *err)
{
	struct image_options o = {.path = path, .format = format};
	struct image *img;
	int ret = image_open(&o, &img, err);

	if (ret)
		return ret;
	if (bytes < img->bytes && !shrink)
		ret = error_set(err, -EPERM, STATUS_USAGE, "cannot resize %s", "it would become smaller, and lose what is behind its new end",
				"say --shrink if that is what you want", path);
	else
		ret = img->ops->resize(img, bytes, err);
	if (!ret) {
		ret = image_flush(img);
		if (ret)
			image_error(err, ret, "resize", path);
	}
	image_close(img);
	return ret;
}

static int open_qcow2(const char *path, bool readonly, bool repair, const char *what, struct image **out, struct error *err)
{
	struct image_options o = {.path = path, .readonly = readonly, .repair = repair, .no_backing = true};
	int ret = image_open(&o, out, err);

	if (ret)
		return ret;
	if (is_qcow2(*out))
		return 0;
	image_close(*out);
	return error_set(err, -ENOTSUP, STATUS_INPUT, "cannot %s %s", "it is a raw image, which has nothing of the kind",
			 "name a qcow2 image", what, path);
}

int disk_tool_check(const char *path, bool repair, struct disk_check *check, struct error *err)
{
	struct qcow2_check c = {.may_repair = repair};
	struct image *img;
	int ret = open_qcow2(path, !repair, repair, "check", &img, err);

	if (ret)
		return ret;
	ret = qcow2_check(img, &c);
	*check = (struct disk_check){c.clusters, c.used, c.leaks, c.corruptions, c.flags, c.fixed, ""};
	strcpy(check->first, c.first);
	image_close(img);
	if (ret == -ENOTSUP)
		return error_set(err, ret, STATUS_INPUT, "cannot check %s", "it has bitmaps, whose clusters are not known here",
				 "check it with 'qemu-img check'", path);
	return ret ? image_error(err, ret, "check", path) : 0;
}

/* --- snapshots --- */

typedef int snapshot_fn(struct image *img, const char *name, struct error *err);

static int change_snapshot(const char *path, const char *name, snapshot_fn *fn, struct error *err)
{
	struct image *img;
	int ret = open_qcow2(path, false, false, "change the snapshots of", &img, err);

	if (ret)
		return ret;
	ret = fn(img, name, err);
	image_close(img);
	return ret;
}

int disk_tool_snapshot_create(const char *path, const char *name, struct error *err)
{
	return change_snapshot(path, name, qcow2_snapshot_create, err);
}

int disk_tool_snapshot_apply(const char *path, const char *name, struct error *err)
{
	return change_snapshot(path, name, qcow2_snapshot_apply, err);
}

int disk_tool_snapshot_delete(const char *path, const char *name, struct error *err)
{
	return change_snapshot(path, name, qcow2_snapshot_delete, err);
}
