// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tier 2: translation of x86 to x86. docs/translator.md explains it. Table of contents:
 *
 *   state.h      what translated code keeps in struct cpu
 *   code.h       an assembler (asm.c), the guest's instructions encoded anew (encode.c)
 *   analyse.h    flags, RSP, memory operands of a run of instructions (analyse*.c)
 *   cache.h      the code cache (cache.c), slots (slots.c), jump caches (jumps.c)
 *   emit.h       emitting a block: block.c, and one file for each family of instructions
 *   entry.c      the trampolines in and out
 *   run.c        running translated code from the run loop
 *   call.h       on the way, the interpreter's handlers for what has no emitter (call.c)
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_H

#include "engine/soft/translate/cache.h"

/* How translated code ended, for the run loop. */
enum translate_next {
	NEXT_LOOP,   /* nothing special: look at events, go on at RIP */
	NEXT_ONE,    /* interpret one instruction first */
	NEXT_BLOCK,  /* interpret one block first */
	NEXT_GIVEN,  /* nothing ran: interpret the block that was given */
};

enum { BLOCK_NEVER = ~0u }; /* in block.runs: its first instruction is the interpreter's */

/* Whether the vCPU's present state is one for translated code at all. */
bool translate_possible(const struct cpu *c);
/* What of the CPU's state a translation depends on; tblock.mode. */
uint32_t translate_mode(const struct cpu *c);
/*
 * Runs the code at RIP that the jump cache knows, and whatever it leads to. False: it knows none, nothing was done. RIP and all registers are in the
 * struct cpu again afterwards. This and translate_run may unwind to the run loop, as an instruction of the interpreter's (call.c).
 */
bool translate_again(struct cpu *c, enum translate_next *next);
/* The same for @b, a block of the interpreter's at RIP, which is translated now if it is hot enough. NEXT_GIVEN when it is not. */
enum translate_next translate_run(struct cpu *c, struct block *b);
/* Whether the interpreter is to run this block, for a test's sake. */
bool translate_skip(struct cpu *c);
/* Brings the guest's vector state home to cpu.x, and the host's own back. Before any C code that may use vector registers. */
void translate_vector_save(struct cpu *c);
/* The other way, for @wanted, VECTOR_*. False: the guest has not enabled it. */
bool translate_vector_load(struct cpu *c, unsigned wanted);

/* Writes the counters in the order of TRANSLATE_COUNTERS. */
void translate_counters(const struct cpu *c, uint64_t *out);

/* signal.c: GS, the signal stack and the handlers of host faults, for this thread and @c. */
void translate_thread_enter(struct cpu *c);
void translate_thread_forget(const struct cpu *c); /* before its memory goes */
int translate_signals_init(void);

#endif
