// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to translate/: instructions that the interpreter's handlers run on the way (call.c). */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_CALL_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_CALL_H

#include "engine/soft/translate/cache.h"

/*
 * Translated code has left with EXIT_CALL. Runs the instruction, and says where to go on: a far entry; NULL: in the run loop. RIP is right in both cases.
 * May unwind.
 */
const uint8_t *call_run(struct cpu *c);
/* Makes the jump cache have an entry for @rip. False: there is no code, or something waits. May bring the vector state home, or wait (translator.flushes). */
bool call_jump(struct cpu *c, uint64_t rip);
/* The far entry of the code at RIP as the jump cache, or the TLB and the code cache, know it; or NULL. The same holds. */
const uint8_t *call_find(struct cpu *c);

#endif
