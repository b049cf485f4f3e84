// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to translate/: emitting code that is not 64-bit code (legacy.h). */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_LEGACY_EMIT_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_LEGACY_EMIT_H

#include "engine/soft/translate/emit.h"
#include "engine/soft/translate/legacy.h"

/* --- legacy.c --- */
/* Whether @in has an emitter of its own outside 64-bit mode, or (NULL) none at all; false: what 64-bit code has is right. */
bool legacy_emitter(const struct insn *in, emit_fn **emitter);
/* The element of @size bytes that @in, of its operand size, pushes or pops. As emit_operand. RSP stays. */
struct host_mem emit_stack_element(struct emit *e, const struct insn *in, unsigned size, bool push);
/* rSP += @by. */
void emit_stack_add(struct emit *e, int32_t by);

/* --- legacy_control.c --- */
bool legacy_control_emitter(const struct insn *in, emit_fn **emitter);
/* Ends the block with the direct branch @in to @to, an offset from the page's start. */
void emit_branch(struct emit *e, const struct insn *in, int64_t to);
/* @t less CS's base. T1 is clobbered unless CS is flat. Flag-free. */
void emit_less_cs_base(struct emit *e, unsigned t);
/* Leaves unless all of the block, and where it branches to in its page, is inside CS. */
void emit_code_range(struct emit *e);

/* --- legacy_operand.c --- */
typedef void address_fn(struct emit *e, const struct insn *in, int32_t by); /* T0 = an offset in the segment, cut; T1 is clobbered; flag-free */
/* As emit_operand: @size bytes at @address (@in, @by) in segment @seg, which is not flat. It is [T0 + T1]. */
struct host_mem emit_checked(struct emit *e, const struct insn *in, unsigned seg, unsigned size, bool store, address_fn *address, int32_t by);
/* The memory operand of @in is in a segment that is not flat. */
bool in_checked_segment(const struct emit *e, const struct insn *in);
struct host_mem emit_checked_operand(struct emit *e, const struct insn *in, unsigned size, bool store);

#endif
