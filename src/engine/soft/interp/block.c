// SPDX-License-Identifier: GPL-2.0-or-later
/* The cache of decoded instructions; block.h says what keeps it true. */
#include "engine/soft/interp/block.h"

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/cache.h"
#include "engine/soft/soft.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { INSN_WINDOW = 16, DECODE_TRIES = 3, SEEN_MAX = BLOCK_INSNS_MAX * INSN_BYTES_MAX + INSN_WINDOW };

int block_cache_init(struct cpu *c)
{
	struct block_cache *bc = calloc(1, sizeof(*bc));

	if (!bc)
		return -ENOMEM;
	bc->arena = mmap(NULL, BLOCK_ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bc->scratch = calloc(1, sizeof(struct block) + sizeof(struct insn));
	if (bc->arena == MAP_FAILED || !bc->scratch) {
		if (bc->arena != MAP_FAILED)
			munmap(bc->arena, BLOCK_ARENA_SIZE);
		free(bc->scratch);
		free(bc);
		return -ENOMEM;
	}
	c->blocks = bc;
	return 0;
}

void block_cache_finish(struct cpu *c)
{
	if (!c->blocks)
		return;
	munmap(c->blocks->arena, BLOCK_ARENA_SIZE);
	free(c->blocks->scratch);
	free(c->blocks);
	c->blocks = NULL;
}

static unsigned bucket_of(uint64_t key, uint32_t mode)
{
	uint64_t h = (key ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull;

	return (unsigned)(h >> (64 - BLOCK_HASH_BITS));
}

static void cache_drop_all(struct block_cache *bc)
{
	memset(bc->bucket, 0, sizeof(bc->bucket));
	bc->used = 0;
	bc->flushes++;
}

/*
 * Marks the frame as holding code, so that stores into it are noticed from here on. The order is
 * the reader's half of the protocol in mem.h: the generation is read first, then the byte is set, and
 * a barrier on every CPU that runs this process precedes the reading of the bytes. A byte that
 * another vCPU has just set proves nothing about that vCPU's barrier, so each makes its own, once
 * for each generation.
 */
uint32_t block_watch_frame(struct cpu *c, uint64_t frame)
{
	uint32_t gen = atomic_load(&c->code_gen[frame]);
	unsigned i = frame % BLOCK_WATCHED;
	bool set = atomic_load(&c->frame[frame]) & FRAME_CODE;

	if (c->t.tr) /* which has to know, and remembers for all vCPUs */
		return cache_watch_frame(c, frame);
	if (set && c->blocks->watched[i].frame == frame + 1 && c->blocks->watched[i].gen == gen)
		return gen;
	if (!set)
		atomic_fetch_or(&c->frame[frame], FRAME_CODE);
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	c->blocks->watched[i].frame = frame + 1;
	c->blocks->watched[i].gen = gen;
	return gen;
}

/*
 * Decodes the one instruction at @linear: it runs into the next page, or up to the limit of CS, to which @room
 * bytes are left. Raises the next page's #PF, and #GP(0) for an instruction that does not end within the limit.
 */
static struct block *decode_alone(struct cpu *c, uint64_t linear, const uint8_t *host, unsigned avail, unsigned room)
{
	uint8_t bytes[INSN_BYTES_MAX];
	struct block *b = c->blocks->scratch;
	unsigned more = 0, n = avail < room ? avail : room;
	uint64_t frame;
	int len;

	memcpy(bytes, host, n);
	len = insn_decode(bytes, n, c->mode, &b->insn[0]);
	if (len == DECODE_MORE && n < room) {
		uint64_t next = linear + avail;
		const uint8_t *second = mmu_fetch(c, c->mode == INSN_MODE64 ? next : (uint32_t)next, &more, &frame);

		if (more > room - n)
			more = room - n;
		memcpy(bytes + n, second, more);
		n += more;
		len = insn_decode(bytes, n, c->mode, &b->insn[0]);
	}
	if (len == DECODE_MORE)
		cpu_raise_error(c, EXC_GP, 0);
	if (len < 0)
		cpu_raise_fetch(c, len);
	b->count = 1;
	b->bytes = (uint32_t)len;
	interp_bind(c, &b->insn[0]);
	cpu_fetch_forget(c); /* mmu_fetch may have moved the window */
	return b;
}

/*
 * Decodes instructions from @host, of which @avail bytes are in the page, into @b. The bytes that it has found in @seen; their number
 * in @bytes. What ended it: a length, or an error. With @checked, that also does an instruction that may store.
 */
static int decode_run(struct cpu *c, struct block *b, const uint8_t *host, unsigned avail, uint8_t *seen, unsigned *bytes,
		      bool checked)
{
	unsigned n = 0;
	int len = 0;

	b->count = 0;
	while (b->count < BLOCK_INSNS_MAX) {
		struct insn *in = &b->insn[b->count];
		unsigned left = avail - n < INSN_WINDOW ? avail - n : INSN_WINDOW;

		/* A copy: the decoder must find the same bytes each time it looks, whatever another vCPU stores. */
		memcpy(seen + n, host + n, left);
		__asm__ volatile("" : : : "memory");
		len = insn_decode(seen + n, left, c->mode, in);
		if (len < 0)
			break;
		interp_bind(c, in);
		b->count++;
		n += (unsigned)len;
		if (in->flags & INSN_ENDS || n == avail || (checked && mixed_insn_ends(in)))
			break;
	}
	*bytes = n;
	return len;
}

/*
 * With a translator only stores into the lines that were read are noticed. Which these are is known after decoding: so they are set then, and
 * the bytes looked at once more. Where another vCPU is storing there all the time, the lines of the longest block come first.
 */
static int decode_watched(struct cpu *c, struct block *b, uint64_t key, const uint8_t *host, unsigned avail, unsigned *bytes)
{
	uint8_t seen[SEEN_MAX];
	unsigned offset = key & (FRAME_SIZE - 1), most = avail < sizeof(seen) ? avail : sizeof(seen);
	uint64_t frame = key >> FRAME_SHIFT;
	int len;

	for (unsigned tries = 0; c->t.tr && tries < DECODE_TRIES; tries++) {
		len = decode_run(c, b, host, avail, seen, bytes, false);
		if (!b->count)
			return len;
		cache_add_lines(c->t.tr, frame, cache_lines(offset, *bytes));
		if (!memcmp(seen, host, *bytes))
			return len;
	}
	if (c->t.tr)
		cache_add_lines(c->t.tr, frame, cache_lines(offset, most));
	return decode_run(c, b, host, avail, seen, bytes, false);
}

/* The bytes that a checked block was made from. */
static uint8_t *bytes_of(const struct block *b)
{
	return (uint8_t *)&b->insn[b->count];
}

static int decode_checked(struct cpu *c, struct block *b, const uint8_t *host, unsigned avail, unsigned *bytes)
{
	uint8_t seen[SEEN_MAX];
	int len = decode_run(c, b, host, avail, seen, bytes, true);

	memcpy(bytes_of(b), seen, *bytes);
	return len;
}

static struct block *decode(struct cpu *c, uint64_t linear, uint64_t key, uint32_t mode, const uint8_t *host)
{
	struct block_cache *bc = c->blocks;
	unsigned offset = key & (FRAME_SIZE - 1), avail = FRAME_SIZE - offset;
	const size_t worst = sizeof(struct block) + BLOCK_INSNS_MAX * sizeof(struct insn) + SEEN_MAX;
	struct block *b;
	int len;

	if (bc->used + worst > BLOCK_ARENA_SIZE)
		cache_drop_all(bc);
	b = (struct block *)(bc->arena + bc->used);
	b->key = key;
	b->mode = mode;
	b->checked = c->t.tr && cache_mixed(c->t.tr, key >> FRAME_SHIFT);
	b->gen = b->checked ? 0 : block_watch_frame(c, key >> FRAME_SHIFT);
	b->runs = b->runs_since = 0;
	b->link[0] = b->link[1] = NULL;
	len = b->checked ? decode_checked(c, b, host, avail, &b->bytes) : decode_watched(c, b, key, host, avail, &b->bytes);
	if (!b->count) {
		if (len == DECODE_MORE)
			return decode_alone(c, linear, host, avail, INSN_BYTES_MAX);
		cpu_raise_fetch(c, len);
	}
	bc->used += (sizeof(struct block) + b->count * sizeof(struct insn) + (b->checked ? b->bytes : 0) + 63) & ~(size_t)63;
	bc->decoded += b->count;
	unsigned i = bucket_of(key, mode);
	b->next = bc->bucket[i];
	bc->bucket[i] = b;
	return b;
}

static bool fresh(const struct cpu *c, const struct block *b, uint64_t key, uint32_t mode)
{
	if (b->key != key || b->mode != mode)
		return false;
	if (b->checked)
		return !memcmp(bytes_of(b), c->fetch_host + (key & (FRAME_SIZE - 1)), b->bytes);
	return b->gen == atomic_load_explicit(&c->code_gen[key >> FRAME_SHIFT], memory_order_relaxed);
}

static struct block *lookup(struct cpu *c, uint64_t linear, uint64_t key, uint32_t mode)
{
	struct block **at = &c->blocks->bucket[bucket_of(key, mode)];

	for (struct block *b; (b = *at);) {
		if (b->key == key && b->mode == mode) {
			if (fresh(c, b, key, mode))
				return b;
			*at = b->next; /* stale; its memory goes with the arena */
		} else {
			at = &b->next;
		}
	}
	return decode(c, linear, key, mode, c->fetch_host + (key & (FRAME_SIZE - 1)));
}

/*
 * Close to the limit of CS, which blocks know nothing of: one that goes beyond it (@room bytes away) is
 * replaced by its first instruction alone.
 */
static struct block *block_near_limit(struct cpu *c, uint64_t linear, uint64_t key, uint32_t mode, unsigned room)
{
	unsigned offset = key & (FRAME_SIZE - 1);

	if (room >= INSN_BYTES_MAX) {
		struct block *b = lookup(c, linear, key, mode);

		if (b->bytes <= room)
			return b;
		room = INSN_BYTES_MAX;
	}
	return decode_alone(c, linear, c->fetch_host + offset, FRAME_SIZE - offset, room);
}

struct block *block_at_rip(struct cpu *c, struct block *prev)
{
	uint64_t rip = c->gpr[GPR_RIP], linear = rip, key, room = ~0ull;
	uint32_t mode = block_mode(c);
	struct block *b;

	if (c->mode != INSN_MODE64) {
		uint64_t limit = c->seg[SEG_CS].limit;

		if (rip > limit)
			cpu_raise_error(c, EXC_GP, 0);
		if (limit != 0xffffffff) /* where code, like data, may wrap */
			room = limit - rip + 1;
		linear = (uint32_t)(c->seg[SEG_CS].base + rip);
	}
	if (__builtin_expect((linear & ~0xfffull) != c->fetch_linear, 0)) {
		unsigned avail;
		uint64_t frame;
		const uint8_t *host = mmu_fetch(c, linear, &avail, &frame);

		if (frame == MMU_NO_FRAME) /* not RAM: never kept */
			return decode_alone(c, linear, host, avail, room < INSN_BYTES_MAX ? (unsigned)room : INSN_BYTES_MAX);
		c->fetch_linear = linear & ~0xfffull;
		c->fetch_frame = frame;
		c->fetch_host = host - (linear & 0xfff);
		c->t.fetch_kind = (uint8_t)mmu_page_kind(c, linear);
	}
	key = c->fetch_frame << FRAME_SHIFT | (linear & 0xfff);
	if (__builtin_expect(room < FRAME_SIZE, 0))
		return block_near_limit(c, linear, key, mode, (unsigned)room);
	if (prev && prev != c->blocks->scratch) {
		uint64_t flushes = c->blocks->flushes;

		for (unsigned i = 0; i < BLOCK_LINKS; i++)
			if (prev->link[i] && fresh(c, prev->link[i], key, mode))
				return prev->link[i];
		b = lookup(c, linear, key, mode);
		if (b != c->blocks->scratch && flushes == c->blocks->flushes) {
			prev->link[1] = prev->link[0];
			prev->link[0] = b;
		}
		return b;
	}
	return lookup(c, linear, key, mode);
}
