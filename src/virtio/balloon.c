// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory balloon: virtio 1.2, 5.5. See balloon.h.
 *
 * Queues (5.5.2): 0 inflate, 1 deflate, 2 statistics, 3 free-page hints, 4 reporting. Hints are not offered; drivers disagree about whether
 * reporting is queue 4 then, as the specification has it, or 3, the next one after those that are used (Linux): here it is both.
 *
 * The driver's buffer of statistics stays in the ring while it is not asked for new ones: nothing is in flight then.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BALLOON_F_STATS_VQ (1ull << 1)
#define BALLOON_F_DEFLATE_ON_OOM (1ull << 2)
#define BALLOON_F_PAGE_REPORTING (1ull << 5)

enum { NUM_PAGES = 0, ACTUAL = 4, CONFIG_SIZE = 8 };
enum { INFLATE, DEFLATE, STATS, HINTS, REPORTING, QUEUES };
enum { QUEUE_SIZE = 128, PFNS = 1024, PFNS_MAX = 4096, STATS_MAX = 64, PAGE_SHIFT = 12, HOLES_A_CHAIN = 16 };

/* struct virtio_balloon_stat */
struct stat_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

struct virtio_balloon {
	struct virtio_device dev;
	struct ram *ram;
	struct virtq_element e;
	uint64_t reported;
	uint64_t stat[VIRTIO_BALLOON_STAT_COUNT];
	bool ask;
};

const char *virtio_balloon_stat_name(enum virtio_balloon_stat stat)
{
	static const char *const names[] = {
#define X(id, name) name,
		VIRTIO_BALLOON_STATS(X)
#undef X
	};

	return names[stat];
}

struct virtio_device *virtio_balloon_device(struct virtio_balloon *b)
{
	return &b->dev;
}

/* Holes cost more than chains: what was made of them counts against the run's budget. */
static void charge(struct virtio_balloon *b, unsigned holes)
{
	unsigned cost = holes / HOLES_A_CHAIN;

	b->dev.budget = b->dev.budget > cost ? b->dev.budget - cost : 0;
}

/* Page numbers, mostly in runs that rise or fall. What is no RAM is the guest's mistake, and stays as it is. */
static unsigned discard_pages(struct virtio_balloon *b, const uint32_t *pfn, unsigned count)
{
	unsigned holes = 0;

	for (unsigned i = 0; i < count;) {
		unsigned n = 1;
		int step = i + 1 < count && pfn[i + 1] == pfn[i] - 1 ? -1 : 1;
		uint64_t low;

		while (i + n < count && pfn[i + n] == pfn[i + n - 1] + (uint32_t)step)
			n++;
		low = step > 0 ? pfn[i] : pfn[i + n - 1];
		ram_discard(b->ram, low << PAGE_SHIFT, (uint64_t)n << PAGE_SHIFT);
		i += n;
		holes++;
	}
	return holes;
}

static void inflate(struct virtio_balloon *b)
{
	uint64_t pages = b->e.out_len / 4;
	uint32_t pfn[PFNS];

	/* Drivers send 256 at a time. Of more than this, the rest is not given back, which is no error. */
	if (pages > PFNS_MAX)
		pages = PFNS_MAX;
	for (uint64_t at = 0; at < pages;) {
		unsigned n = pages - at < PFNS ? (unsigned)(pages - at) : PFNS;

		if (virtq_read(&b->dev.queue[INFLATE], &b->e, at * 4, pfn, n * 4)) {
			virtio_needs_reset(&b->dev);
			return;
		}
		charge(b, discard_pages(b, pfn, n));
		at += n;
	}
}

/* 5.5.6.7: the pages are the buffers themselves. */
static void report(struct virtio_balloon *b)
{
	for (unsigned i = 0; i < b->e.ins; i++) {
		const struct virtq_segment *s = &b->e.seg[b->e.outs + i];

		if (ram_discard(b->ram, s->gpa, s->len) == 0)
			b->reported += s->len;
	}
	charge(b, b->e.ins);
}

static void read_stats(struct virtio_balloon *b)
{
	uint64_t count = b->e.out_len / sizeof(struct stat_entry);

	for (uint64_t i = 0; i < count && i < STATS_MAX; i++) {
		struct stat_entry s;

		if (virtq_read(&b->dev.queue[STATS], &b->e, i * sizeof(s), &s, sizeof(s))) {
			virtio_needs_reset(&b->dev);
			return;
		}
		if (s.tag < VIRTIO_BALLOON_STAT_COUNT)
			b->stat[s.tag] = s.value;
	}
}

/* Looks at the driver's buffer, and gives it back if it is to be filled anew. */
static enum virtio_queue_result stats(struct virtio_balloon *b)
{
	if (!virtio_pop(&b->dev, STATS, &b->e)) {
		virtio_want_kicks(&b->dev, STATS, true);
		return VIRTIO_QUEUE_LEFT;
	}
	read_stats(b);
	/* Behind this buffer, before it is put back. */
	virtio_want_kicks(&b->dev, STATS, true);
	if (b->ask) {
		b->ask = false;
		virtio_push(&b->dev, STATS, &b->e, 0);
	} else {
		virtio_unpop(&b->dev, STATS, &b->e);
	}
	return VIRTIO_QUEUE_LEFT;
}

static enum virtio_queue_result balloon_queue(void *model, unsigned n)
{
	struct virtio_balloon *b = model;

	if (n == STATS && virtio_has(&b->dev, BALLOON_F_STATS_VQ))
		return stats(b);
	while (virtio_pop(&b->dev, n, &b->e)) {
		if (n == INFLATE)
			inflate(b);
		else if (n != DEFLATE && virtio_has(&b->dev, BALLOON_F_PAGE_REPORTING))
			report(b);
		virtio_push(&b->dev, n, &b->e, 0);
	}
	return VIRTIO_QUEUE_DONE;
}

static void balloon_reset(void *model)
{
	struct virtio_balloon *b = model;

	b->ask = false;
	memset(b->stat, 0xff, sizeof(b->stat));
}

static const struct virtio_model_ops model_ops = {
	.id = VIRTIO_ID_BALLOON,
	.queue = balloon_queue,
	.reset = balloon_reset,
};

void virtio_balloon_set_target(struct virtio_balloon *b, uint64_t bytes)
{
	uint64_t pages = bytes >> PAGE_SHIFT;

	virtio_lock(&b->dev);
	virtio_config_change(&b->dev, NUM_PAGES, 4, pages < UINT32_MAX ? pages : UINT32_MAX);
	virtio_unlock(&b->dev);
}

void virtio_balloon_get(struct virtio_balloon *b, struct virtio_balloon_info *info)
{
	virtio_lock(&b->dev);
	info->target = virtio_config_get(&b->dev, NUM_PAGES, 4) << PAGE_SHIFT;
	info->actual = virtio_config_get(&b->dev, ACTUAL, 4) << PAGE_SHIFT;
	info->reported = b->reported;
	memcpy(info->stat, b->stat, sizeof(b->stat));
	virtio_unlock(&b->dev);
}

void virtio_balloon_ask(struct virtio_balloon *b)
{
	virtio_lock(&b->dev);
	b->ask = true;
	virtio_kick(&b->dev, STATS);
	virtio_unlock(&b->dev);
}

int virtio_balloon_create(struct ram *ram, struct loop *loop, struct virtio_balloon **out)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));
	struct virtio_device_config config = {
		.ops = &model_ops,
		.model = b,
		.ram = ram,
		.loop = loop,
		.features = BALLOON_F_STATS_VQ | BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_PAGE_REPORTING,
		.queues = QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_size = CONFIG_SIZE,
	};
	int ret;

	if (!b)
		return -ENOMEM;
	ret = virtio_device_init(&b->dev, &config);
	if (ret) {
		free(b);
		return ret;
	}
	b->ram = ram;
	balloon_reset(b);
	virtio_config_set(&b->dev, NUM_PAGES, 4, 0, false);
	virtio_config_set(&b->dev, ACTUAL, 4, 0, true);
	*out = b;
	return 0;
}

void virtio_balloon_destroy(struct virtio_balloon *b)
{
	if (!b)
		return;
	virtio_device_destroy(&b->dev);
	virtq_element_free(&b->e);
	free(b);
}
