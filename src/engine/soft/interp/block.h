// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cache of decoded instructions of a vCPU.
 *
 * A block is a straight run of instructions within one page, decoded for one mode. It is found by
 * the RAM frame and offset of its first byte and by the mode. It stays true as long as its
 * frame's code generation is what it was before decoding (mem.h): whoever stores into a frame that
 * has FRAME_CODE advances the generation, and the block is not found any more. Blocks live in an
 * arena that is thrown away whole when it is full.
 *
 * In a frame where stores and code alternate (translate/mixed.c) a block has the bytes that it was made from behind its instructions, and
 * is true as long as they are there. It ends with the first instruction that may store.
 */
#ifndef SUBRING_ENGINE_SOFT_BLOCK_H
#define SUBRING_ENGINE_SOFT_BLOCK_H

#include "engine/soft/cpu.h"

enum {
	BLOCK_INSNS_MAX = 48,
	BLOCK_HASH_BITS = 15,
	BLOCK_LINKS = 2,
	BLOCK_ARENA_SIZE = 2 << 20, /* what runs much is translated; more than the host's caches hold makes cold code slower, not faster */
	BLOCK_WATCHED = 1024,
};

struct block {
	uint64_t key; /* frame << 12 | offset */
	uint32_t mode; /* block_mode() at decoding */
	uint32_t gen; /* code generation of the frame */
	uint32_t count, bytes;
	bool checked; /* good as long as its bytes are, not the generation */
	uint32_t runs; /* times it was interpreted, as far as the translator counts; or BLOCK_NEVER */
	uint32_t runs_since; /* which flush of the code cache they are counted from */
	struct block *next; /* in its hash bucket */
	struct block *link[BLOCK_LINKS]; /* blocks that followed this one; a hint, checked before use */
	struct insn insn[];
};

struct block_cache {
	struct block *bucket[1 << BLOCK_HASH_BITS];
	uint8_t *arena;
	size_t used;
	struct block *scratch; /* for an instruction that lies across two pages: decoded anew each time */
	/* Frames that this vCPU has made sure of (block_watch_frame), by frame number: frame + 1 and generation. */
	struct {
		uint64_t frame;
		uint32_t gen;
	} watched[BLOCK_WATCHED];
	uint64_t decoded, flushes;
};

int block_cache_init(struct cpu *c); /* -ENOMEM */
void block_cache_finish(struct cpu *c);

/* What of the CPU's state decoding and binding depend on. */
static inline uint32_t block_mode(const struct cpu *c)
{
	return (uint32_t)c->mode | (uint32_t)c->cpl << 2 | (uint32_t)c->real << 4 | (uint32_t)c->stack_size << 5 |
	       (uint32_t)c->flat << 9;
}

/* Notices every store into @frame from now on: its code generation, which the first one ends. */
uint32_t block_watch_frame(struct cpu *c, uint64_t frame);

/*
 * The block at RIP. @prev (or NULL) is the block that ran before, whose links are tried first and
 * kept up to date. Raises #PF, #UD and #GP of fetching.
 */
struct block *block_at_rip(struct cpu *c, struct block *prev);

#endif
