// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * --disk PATH[,format=raw|qcow2][,readonly][,snapshot][,serial=TEXT][,size=SIZE][,cache=writeback|writethrough][,iops=N][,bps=SIZE]
 * and the lists of --net and --publish (net/config.c reads each word). A comma in a path is written twice.
 */
#include "cmd/devices.h"

#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Cuts the next item off @at: it ends at a single comma, a double one stands for one. NULL: there is none. */
static char *next_item(char **at)
{
	char *item = *at, *to = item, *from = item;

	if (!item)
		return NULL;
	for (; *from; from++) {
		if (*from == ',' && from[1] != ',')
			break;
		if (*from == ',')
			from++;
		*to++ = *from;
	}
	*at = *from ? from + 1 : NULL;
	*to = '\0';
	return item;
}

static int bad_disk(struct error *err, const char *path, const char *item, const char *why, const char *fix)
{
	return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for the disk %s", "%s", "%s", item, path, why, fix);
}

static bool read_count(const char *text, uint64_t *to)
{
	char *end;

	errno = 0;
	*to = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *to;
}

/* @name=VALUE? */
static const char *value_of(const char *item, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(item, name, len) && item[len] == '=' ? item + len + 1 : NULL;
}

static int disk_item(struct card_disk *d, const char *item, struct error *err)
{
	const char *v, *path = d->disk.path;

	if (!strcmp(item, "readonly")) {
		d->disk.readonly = true;
	} else if (!strcmp(item, "snapshot")) {
		d->disk.overlay = true;
	} else if ((v = value_of(item, "format"))) {
		if (strcmp(v, "raw") && strcmp(v, "qcow2"))
			return bad_disk(err, path, item, "there is no such format here", "write format=raw or format=qcow2");
		d->disk.format = v;
	} else if ((v = value_of(item, "serial"))) {
		if (strlen(v) > VIRTIO_BLK_SERIAL)
			return bad_disk(err, path, item, "a serial number has at most 20 bytes", "choose a shorter one");
		d->serial = v;
	} else if ((v = value_of(item, "size"))) {
		if (!parse_size(v, &d->disk.bytes) || d->disk.bytes % BLOCK_SECTOR)
			return bad_disk(err, path, item, "that is no size", "write one such as size=10G");
	} else if ((v = value_of(item, "cache"))) {
		if (strcmp(v, "writeback") && strcmp(v, "writethrough"))
			return bad_disk(err, path, item, "there is no such mode", "write cache=writeback or cache=writethrough");
		d->disk.cache = !strcmp(v, "writethrough") ? DISK_WRITETHROUGH : DISK_WRITEBACK;
	} else if ((v = value_of(item, "iops"))) {
		if (!read_count(v, &d->disk.limits.ops))
			return bad_disk(err, path, item, "that is no number of requests a second", "write one such as iops=1000");
	} else if ((v = value_of(item, "bps"))) {
		if (!parse_size(v, &d->disk.limits.bytes))
			return bad_disk(err, path, item, "that is no number of bytes a second", "write one such as bps=100M");
	} else {
		return bad_disk(err, path, item, "it is not known", "write format=, readonly, snapshot, serial=, size=, cache=, iops= or bps=");
	}
	return 0;
}

static int read_disk(char *text, struct card_disk *d, struct error *err)
{
	char *item = next_item(&text);
	int ret = 0;

	*d = (struct card_disk){ .disk = { .path = item }, .serial = "" };
	if (!*item)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '' for --disk", "%s", "write --disk PATH",
				 "it names no file");
	while (!ret && (item = next_item(&text)))
		ret = disk_item(d, item, err);
	return ret;
}

static int read_disks(const struct option_list *list, struct devices *d, struct error *err)
{
	size_t room = 1;
	char *at;

	if (list->count > CARD_DISKS_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make a VM with %u disks", "it can have %u", "leave some out", list->count,
				 (unsigned)CARD_DISKS_MAX);
	for (unsigned i = 0; i < list->count; i++)
		room += strlen(list->item[i]) + 1;
	at = d->text = malloc(room);
	if (!at)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot make a VM", "%s", "end other programs", "the host has no memory left");
	for (unsigned i = 0; i < list->count; i++) {
		char *text = at;
		int ret;

		at = stpcpy(at, list->item[i]) + 1;
		ret = read_disk(text, &d->disk[d->disks++], err);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_nets(const struct option_list *list, const struct option_list *publish, const char *vm, struct devices *d, struct error *err)
{
	static const uint8_t none[NET_MAC_BYTES];
	struct net_config *user = NULL;

	if (list->count > CARD_NETS_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make a VM with %u networks", "it can have %u", "leave some out", list->count,
				 (unsigned)CARD_NETS_MAX);
	for (unsigned i = 0; i < list->count; i++) {
		struct net_config *n = &d->net[d->nets];
		int ret;

		strncpy(n->vm, vm, sizeof(n->vm) - 1);
		ret = net_config_parse(list->item[i], n, err);
		if (ret)
			return ret;
		if (n->kind == NET_NONE)
			continue;
		if (!memcmp(n->mac, none, sizeof(none)))
			net_mac_of(vm, d->nets, n->mac);
		if (n->kind == NET_USER && !user)
			user = n;
		d->nets++;
	}
	for (unsigned i = 0; i < publish->count; i++) {
		int ret = user ? net_publish_parse(publish->item[i], user, err) :
				 error_set(err, -EINVAL, STATUS_USAGE, "cannot publish '%s'", "%s", "add --net user", publish->item[i],
					   "the VM has no network of the user's own");
		if (ret)
			return ret;
	}
	return 0;
}

int devices_parse(const struct option_list *disk, const struct option_list *net, const struct option_list *publish, const char *vm,
		  struct devices *d, struct error *err)
{
	int ret;

	memset(d, 0, sizeof(*d));
	ret = read_disks(disk, d, err);
	if (!ret)
		ret = read_nets(net, publish, vm, d, err);
	return ret;
}

void devices_free(struct devices *d)
{
	free(d->text);
	d->text = NULL;
}
