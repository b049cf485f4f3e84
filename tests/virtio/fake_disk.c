// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_disk.h. */
#include "fake_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fake_disk_init(struct disk *d)
{
	memset(d, 0, sizeof(*d));
	d->info = (struct disk_info){
		.path = "fake",
		.format = "raw",
		.bytes = sizeof(d->bytes),
		.logical_block = 512,
		.physical_block = 4096,
		.can_discard = true,
		.discard_granularity = 4096,
	};
	d->last = &d->first;
}

const struct disk_info *disk_info(const struct disk *d)
{
	return &d->info;
}

void disk_submit(struct disk *d, struct block_request *r)
{
	d->log[d->logged % FAKE_LOG].op = r->op;
	d->log[d->logged % FAKE_LOG].flags = r->flags;
	d->log[d->logged % FAKE_LOG].offset = r->offset;
	d->log[d->logged++ % FAKE_LOG].bytes = r->bytes;
	r->next = NULL;
	*d->last = r;
	d->last = &r->next;
	d->waiting++;
}

static int perform(struct disk *d, struct block_request *r)
{
	uint8_t *at = d->bytes + r->offset;

	if (d->fail)
		return d->fail;
	if (r->offset > sizeof(d->bytes) || r->bytes > sizeof(d->bytes) - r->offset)
		abort(); /* the device has to check: so that its arithmetic is right */
	if (r->op == BLOCK_DISCARD || r->op == BLOCK_WRITE_ZEROES)
		memset(at, 0, r->bytes);
	for (unsigned i = 0; (r->op == BLOCK_READ || r->op == BLOCK_WRITE) && i < r->iovs; i++) {
		if (r->op == BLOCK_READ)
			memcpy(r->iov[i].iov_base, at, r->iov[i].iov_len);
		else
			memcpy(at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	return 0;
}

void fake_disk_run(struct disk *d, bool reverse)
{
	struct block_request *list = d->first, *back = NULL;

	d->first = NULL;
	d->last = &d->first;
	d->waiting = 0;
	for (struct block_request *r = list, *next; reverse && r; r = next) {
		next = r->next;
		r->next = back;
		back = r;
	}
	for (struct block_request *r = reverse ? back : list, *next; r; r = next) {
		next = r->next;
		r->done(r, perform(d, r));
	}
}

void disk_plug(struct disk *d)
{
	d->plugged++;
}

void disk_unplug(struct disk *d)
{
	d->plugged--;
	while (!d->hold && d->first)
		fake_disk_run(d, false);
}
