// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to translate/: making a block, and the memory that takes. */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_BLOCK_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_BLOCK_H

#include "engine/soft/translate/emit.h"

enum { PEEKS_MAX = 16 };

/* What a block is made from. */
struct source {
	uint8_t copy[FRAME_SIZE + INSN_BYTES_MAX]; /* of the page; for an instruction across two, also of the next one's first bytes */
	unsigned end;	       /* so much of it is there */
	enum insn_mode mode;
	unsigned offset, read; /* [offset, read) of the copy is what was decoded */
	bool cut;	       /* the trace ends before an instruction that goes on in the next page */
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
/*
 * The same for the one instruction at @key, linear address @linear, which goes on in frame @second, another one, at @page[1]. NULL: it does not,
 * or as above.
 */
struct tblock *translate_crossing(struct cpu *c, uint64_t linear, uint64_t key, uint32_t mode, uint64_t second,
				  const uint8_t *const page[2]);

#endif
