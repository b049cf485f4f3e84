// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to translate/: making a block, and the memory that takes. */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_BLOCK_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_BLOCK_H

#include "engine/soft/translate/emit.h"

enum { PEEKS_MAX = 16 };

/* What a block is made from. */
struct source {
	uint8_t copy[FRAME_SIZE]; /* of the page */
	unsigned offset, read; /* [offset, read) of the copy is what was decoded */
	unsigned peeks;	       /* and these parts were looked at for live flags */
	struct {
		unsigned from, to;
	} peek[PEEKS_MAX];
};

/* A vCPU's memory for translating. */
struct translate_work {
	struct source source;
	struct trace trace;
	struct emit emit;
	bool never; /* nothing can be made of the first instruction, as long as its bytes stay */
};

/*
 * Translates what is at @key; @page is its frame in host memory. On the vCPU's thread, between two instructions, without the
 * lock. NULL: the first instruction has to be interpreted (then work.never is set), or there is no room (translator.flush_wanted), or the bytes are just being changed.
 */
struct tblock *translate_block(struct cpu *c, uint64_t key, uint32_t mode, const uint8_t *page);

#endif
