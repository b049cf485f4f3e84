// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Code outside 64-bit mode: what a translation depends on beside the size of code (SDM vol. 1, 3.3; vol. 3, 5.3).
 *
 *   segments.c         what translated code has of the segments
 *   legacy.c           which emitter an instruction gets; the stack
 *   legacy_control.c   branches, calls, returns
 *   legacy_operand.c   operands in segments that are not flat
 *
 * A flat segment starts at 0, ends at 4 GiB and may be read and written (CS: executed): nothing is to be checked or added. In 32-bit code this is
 * part of a block's mode for ES, CS, SS and DS. All others are checked when they are used: FS and GS always, since an operating system
 * loads them for each thread; and the four in 16-bit code, whose data is hardly ever in flat ones.
 *
 * Invariants:
 *  - an effective address is cut to its size, and a linear address to 32 bits, before it is compared with a slot; no slot and no window lies across
 *    a multiple of 4 GiB (slots.c). So what wraps is compared as the number that it is;
 *  - guest RSP as the host has it may differ from ESP by multiples of 4 GiB, where constants were added to it. It is no address of a
 *    window then, and whoever leaves translated code cuts it (run.c);
 *  - with a 16-bit stack there is no window and t.bias is 0: the low half of the host's RSP is SP.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_LEGACY_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_LEGACY_H

#include "engine/soft/cpu.h"

/* t.seg_mode; bits of translate_mode. */
enum {
	MODE_FLAT_ES = 1 << 17, /* by enum segment */
	MODE_FLAT_CS = MODE_FLAT_ES << SEG_CS,
	MODE_FLAT_SS = MODE_FLAT_ES << SEG_SS,
	MODE_FLAT_DS = MODE_FLAT_ES << SEG_DS,
	MODE_CS_64K = 1 << 21, /* CS's limit is no limit for IP */
};

/* A 4-GiB segment, in which an access may wrap. */
#define SEG_ROOM_ALL (1ull << 33)

/* Mode, or segments outside 64-bit mode, changed. mmu_select comes after it (cpu_mode_changed), or segment_loaded. */
void segments_changed(struct cpu *c);
/* @seg alone, outside 64-bit mode: everything that follows from it. */
void segment_loaded(struct cpu *c, unsigned seg);

static inline bool mode_is_flat(uint32_t mode, unsigned seg)
{
	return seg <= SEG_DS && mode >> seg & MODE_FLAT_ES;
}

/* trace.checked for @mode. Data in CS may not be stored to, nor perhaps loaded. */
static inline uint8_t checked_segments(uint32_t mode)
{
	return (mode & 3) == INSN_MODE64 ? 0 : (~(mode / MODE_FLAT_ES & 0xf) & 0x3f) | 1 << SEG_CS;
}

/* RIP of the linear address; the linear address of RIP. */
static inline uint64_t rip_of(const struct cpu *c, uint64_t linear)
{
	return (linear - c->t.cs_base) & c->t.rip_mask;
}

static inline uint64_t linear_of_rip(const struct cpu *c)
{
	return (c->gpr[GPR_RIP] + c->t.cs_base) & c->t.rip_mask;
}

#endif
