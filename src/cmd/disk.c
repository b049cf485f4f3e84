// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * subring disk: disk images that no VM uses.
 *
 * One table of options serves all actions; each action names those that it takes.
 */
#include "block/disk_tool.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct disk_options {
	uint64_t size, cluster;
	const char *format, *backing, *backing_format, *compression, *output, *output_format;
	const char *create, *apply, *delete;
	bool compress, shrink, repair, json;
};

#define AT(field) offsetof(struct disk_options, field)

static const struct option_spec disk_table[] = {
	{ "size", "SIZE", "create, resize: the disk's size, such as 20G", OPTION_SIZE, AT(size), 4096, (uint64_t)1 << 50 },
	{ "format", "FORMAT", "raw or qcow2. create: qcow2 if it is not given; else it is found out from the image", OPTION_STRING, AT(format), 0, 0 },
	{ "backing", "IMAGE", "create: what the disk has where nothing was written yet; relative to the new image's folder", OPTION_STRING, AT(backing), 0, 0 },
	{ "backing-format", "FORMAT", "create: the format of that image", OPTION_STRING, AT(backing_format), 0, 0 },
	{ "cluster-size", "SIZE", "create, convert: from 4K to 2M, a power of two; 64K if it is not given", OPTION_SIZE, AT(cluster), 4096, 2 << 20 },
	{ "compression", "KIND", "create, convert: zlib or zstd, for compressed clusters", OPTION_STRING, AT(compression), 0, 0 },
	{ "output", "FILE", "convert: the new image", OPTION_STRING, AT(output), 0, 0 },
	{ "output-format", "FORMAT", "convert: its format; qcow2 if it is not given", OPTION_STRING, AT(output_format), 0, 0 },
	{ "compress", NULL, "convert: compress what is written", OPTION_FLAG, AT(compress), 0, 0 },
	{ "shrink", NULL, "resize: allow the disk to become smaller", OPTION_FLAG, AT(shrink), 0, 0 },
	{ "repair", NULL, "check: give leaked space back, and mend the refcounts of an image that was not closed", OPTION_FLAG, AT(repair), 0, 0 },
	{ "create", "NAME", "snapshot: take one", OPTION_STRING, AT(create), 0, 0 },
	{ "apply", "NAME", "snapshot: go back to one; what was written since is lost", OPTION_STRING, AT(apply), 0, 0 },
	{ "delete", "NAME", "snapshot: delete one", OPTION_STRING, AT(delete), 0, 0 },
	{ "json", NULL, "info, check, snapshot: print one JSON object instead of a table", OPTION_FLAG, AT(json), 0, 0 },
	{ 0 },
};

/* --- output --- */

/* Progress on a terminal, at most ten times a second; nothing elsewhere. */
struct bar {
	const char *verb;
	uint64_t last_ns;
	bool shown;
};

static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct bar *bar = opaque;
	struct timespec t;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (!isatty(STDERR_FILENO) || now - bar->last_ns < 100000000)
		return;
	bar->last_ns = now;
	bar->shown = true;
	fprintf(stderr, "\r%s %3u%%", bar->verb, total ? (unsigned)(done / 1.0 / (double)total * 100) : 100);
}

static void end_progress(const struct bar *bar)
{
	if (bar->shown)
		fprintf(stderr, "\r\033[K");
}

static void print_size(const char *label, uint64_t bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	int i = 0;

	for (; value >= 1024 && i < 6; i++)
		value /= 1024;
	printf("%-16s %.*f %s", label, i && value < 100 ? 1 : 0, value, unit[i]);
	printf(i ? " (%" PRIu64 " bytes)\n" : "\n", bytes);
}

static void add_string(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

static void add_number(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_int64((int64_t)value));
}

static void print_json(struct json_object *root)
{
	printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
}

static struct json_object *json_snapshots(const struct disk_details *d)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < d->snapshot_count; i++) {
		struct json_object *s = json_object_new_object();

		add_string(s, "id", d->snapshots[i].id);
		add_string(s, "name", d->snapshots[i].name);
		add_number(s, "seconds", d->snapshots[i].seconds);
		add_number(s, "size", d->snapshots[i].bytes);
		add_number(s, "vm_state", d->snapshots[i].vm_state);
		json_object_array_add(list, s);
	}
	return list;
}

static void print_snapshots(const struct disk_details *d)
{
	printf("%-6s %-30s %-20s %s\n", "ID", "NAME", "DATE (UTC)", "DISK SIZE");
	for (unsigned i = 0; i < d->snapshot_count; i++) {
		time_t t = (time_t)d->snapshots[i].seconds;
		struct tm tm;
		char date[32] = "";

		if (gmtime_r(&t, &tm))
			strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%-6s %-30s %-20s %" PRIu64 "\n", d->snapshots[i].id, d->snapshots[i].name, date, d->snapshots[i].bytes);
	}
}

/* --- actions --- */

static int disk_create(const char *file, const struct disk_options *o, struct error *err)
{
	struct disk_create create = {
		.format = o->format, .bytes = o->size, .cluster = o->cluster, .backing = o->backing,
		.backing_format = o->backing_format, .compression = o->compression,
	};

	return disk_tool_create(file, &create, err);
}

static int disk_info_action(const char *file, const struct disk_options *o, struct error *err)
{
	struct json_object *root;
	struct disk_details d;
	int ret = disk_tool_info(file, o->format, &d, err);

	if (ret)
		return ret;
	if (o->json) {
		root = json_object_new_object();
		add_string(root, "file", file);
		add_string(root, "format", d.format);
		add_number(root, "size", d.bytes);
		add_number(root, "allocated", d.allocated);
		if (d.cluster) {
			add_number(root, "cluster_size", d.cluster);
			add_number(root, "version", d.version);
			add_string(root, "compression", d.compression);
			json_object_object_add(root, "dirty", json_object_new_boolean(d.dirty));
			json_object_object_add(root, "corrupt", json_object_new_boolean(d.corrupt));
			json_object_object_add(root, "snapshots", json_snapshots(&d));
		}
		if (d.backing)
			add_string(root, "backing", d.backing);
		if (d.backing_format)
			add_string(root, "backing_format", d.backing_format);
		print_json(root);
	} else {
		printf("%-16s %s\n%-16s %s\n", "file", file, "format", d.format);
		print_size("disk size", d.bytes);
		print_size("space taken", d.allocated);
		if (d.cluster) {
			print_size("cluster size", d.cluster);
			printf("%-16s %u\n%-16s %s\n", "version", d.version, "compression", d.compression);
			printf("%-16s %s\n", "state", d.corrupt ? "corrupt" : d.dirty ? "not closed: needs 'check --repair'" : "ok");
			printf("%-16s %u\n", "snapshots", d.snapshot_count);
		}
		if (d.backing)
			printf("%-16s %s (%s)\n", "backing file", d.backing, d.backing_format ? d.backing_format : "of an unknown format");
	}
	disk_details_free(&d);
	return 0;
}

static int disk_convert(const char *file, const struct disk_options *o, struct error *err)
{
	struct disk_convert convert = {
		.from_format = o->format, .to_format = o->output_format, .compress = o->compress, .cluster = o->cluster,
		.compression = o->compression,
	};
	struct bar bar = { .verb = "converting" };
	struct disk_progress progress = { show_progress, &bar };
	int ret;

	if (!o->output)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot convert %s", "it is not said where to",
				 "name the new image with --output", file);
	ret = disk_tool_convert(file, o->output, &convert, &progress, err);
	end_progress(&bar);
	return ret;
}

static int disk_resize(const char *file, const struct disk_options *o, struct error *err)
{
	if (!o->size)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot resize %s", "it is not said to what size", "give it with --size",
				 file);
	return disk_tool_resize(file, o->format, o->size, o->shrink, err);
}

static int disk_check(const char *file, const struct disk_options *o, struct error *err)
{
	struct json_object *root;
	struct disk_check c;
	int ret = disk_tool_check(file, o->repair, &c, err);

	if (ret)
		return ret;
	if (o->json) {
		root = json_object_new_object();
		add_string(root, "file", file);
		add_number(root, "clusters", c.clusters);
		add_number(root, "used", c.used);
		add_number(root, "leaks", c.leaks);
		add_number(root, "corruptions", c.corruptions);
		add_number(root, "flags", c.flags);
		add_number(root, "fixed", c.fixed);
		print_json(root);
	} else {
		printf("%-16s %" PRIu64 " of %" PRIu64 " clusters\n", "used", c.used, c.clusters);
		printf("%-16s %" PRIu64 " clusters\n", "leaked", c.leaks);
		printf("%-16s %" PRIu64 "\n", "corruptions", c.corruptions);
		printf("%-16s %" PRIu64 "\n", "missing marks", c.flags);
		if (o->repair)
			printf("%-16s %" PRIu64 "\n", "mended", c.fixed);
	}
	if (c.corruptions && !c.fixed)
		return error_set(err, -EIO, STATUS_INPUT, "the disk image %s is damaged", "%s", "restore it from a copy", file, c.first);
	return 0;
}

static int disk_snapshot_action(const char *file, const struct disk_options *o, struct error *err)
{
	struct json_object *root;
	struct disk_details d;
	int ret;

	if (!!o->create + !!o->apply + !!o->delete > 1)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot change the snapshots of %s",
				 "--create, --apply and --delete do not go together", "use one of them", file);
	if (o->create)
		return disk_tool_snapshot_create(file, o->create, err);
	if (o->apply)
		return disk_tool_snapshot_apply(file, o->apply, err);
	if (o->delete)
		return disk_tool_snapshot_delete(file, o->delete, err);
	ret = disk_tool_info(file, o->format, &d, err);
	if (ret)
		return ret;
	if (o->json) {
		root = json_object_new_object();
		add_string(root, "file", file);
		json_object_object_add(root, "snapshots", json_snapshots(&d));
		print_json(root);
	} else {
		print_snapshots(&d);
	}
	disk_details_free(&d);
	return 0;
}

static int disk_commit(const char *file, const struct disk_options *o, struct error *err)
{
	struct bar bar = { .verb = "committing" };
	struct disk_progress progress = { show_progress, &bar };
	int ret = disk_tool_commit(file, &progress, err);

	end_progress(&bar);
	return ret;
}

static const struct action {
	const char *name, *takes; /* its options, each between spaces */
	int (*run)(const char *file, const struct disk_options *o, struct error *err);
} actions[] = {
	{ "create", " size format backing backing-format cluster-size compression ", disk_create },
	{ "info", " format json ", disk_info_action },
	{ "convert", " format output output-format cluster-size compression compress ", disk_convert },
	{ "resize", " size format shrink ", disk_resize },
	{ "check", " repair json ", disk_check },
	{ "snapshot", " create apply delete json ", disk_snapshot_action },
	{ "commit", " ", disk_commit },
	{ 0 },
};

static bool is_given(const struct option_spec *spec, const struct disk_options *o)
{
	const void *at = (const char *)o + spec->offset;

	switch (spec->kind) {
	case OPTION_FLAG: return *(const bool *)at;
	case OPTION_SIZE: return *(const uint64_t *)at;
	default: return *(const char *const *)at;
	}
}

static int check_options(const struct action *a, const struct disk_options *o, struct error *err)
{
	for (const struct option_spec *spec = disk_table; spec->name; spec++) {
		char word[40];

		snprintf(word, sizeof(word), " %s ", spec->name);
		if (is_given(spec, o) && !strstr(a->takes, word))
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot use --%s", "disk %s does not take it",
					 "'subring help disk' shows what each action takes", spec->name, a->name);
	}
	return 0;
}

static int choose(int argc, char **argv, const struct action **action, struct error *err)
{
	const char *names[16], *near = NULL;
	size_t n = 0;

	for (*action = actions; (*action)->name; ++*action) {
		if (argc > 1 && !strcmp((*action)->name, argv[1]))
			return 0;
		names[n++] = (*action)->name;
	}
	names[n] = NULL;
	if (argc > 1)
		near = nearest_name(argv[1], names);
	return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand 'disk%s%s'",
			 "its first word is one of create, info, convert, resize, check, snapshot and commit",
			 near ? "did you mean 'disk %s'?" : "%s'subring help disk' shows how it is used", argc > 1 ? " " : "",
			 argc > 1 ? argv[1] : "", near ? near : "");
}

static int disk_run(int argc, char **argv)
{
	struct disk_options o = { 0 };
	const struct action *action;
	const char *file = NULL;
	struct error err;
	int ret = choose(argc, argv, &action, &err);

	if (!ret)
		ret = options_parse(&command_disk, argc - 1, argv + 1, &o, &file, &err);
	if (!ret)
		ret = check_options(action, &o, &err);
	if (!ret && !file)
		ret = error_set(&err, -EINVAL, STATUS_USAGE, "cannot do 'disk %s'", "no image is named",
				"write 'subring disk %s FILE'", action->name, action->name);
	if (!ret)
		ret = action->run(file, &o, &err);
	if (!ret)
		return STATUS_OK;
	fflush(stdout);
	error_print(&err);
	return (int)err.status;
}

const struct command command_disk = {
	.name = "disk",
	.summary = "Makes and changes disk images: create, info, convert, resize, check, snapshot, commit",
	.operand = "ACTION FILE",
	.options = disk_table,
	.run = disk_run,
};
