// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the translator wants to know of a run of instructions before it emits any: which flags are live, how
 * RSP moves, which memory operands one check can serve. Pure functions over decoded instructions; nothing here
 * reads a vCPU.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_ANALYSE_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_ANALYSE_H

#include "engine/soft/cpu.h"

enum { TRACE_INSNS_MAX = 64 };

/* How the memory operand of an instruction gets its host address. */
enum mem_how {
	MEM_NONE,   /* no memory operand that the translator looks after */
	MEM_STACK,  /* at a known distance from RSP, inside the range that the check at `leader` covers */
	MEM_GROUP,  /* on what the leader's operand is on (base, index, segment base), inside the range that its check covers */
	MEM_SINGLE, /* a check of its own */
};

struct trace_insn {
	struct insn in;
	uint16_t at;	    /* its offset from the first instruction's first byte */
	uint16_t live_in;   /* FL_*: flags whose value before it is read by it or later, before they are defined anew */
	uint16_t live_out;  /* the same, after it */
	uint16_t live_taken; /* given by the caller, for a JCC that is not the last: flags live where it goes when it is taken */
	uint8_t how;	    /* enum mem_how, of the explicit memory operand or of the stack access of PUSH, POP, CALL, RET, LEAVE */
	bool store;	    /* that operand is written (also read, maybe) */
	uint8_t leader;	    /* index of the instruction before which the check stands */
	/* In a leader of a stack range (stack_hi > stack_lo): bytes [lo, hi) relative to RSP before it. */
	int32_t stack_lo, stack_hi;
	bool stack_store;   /* one of them is a store */
	/*
	 * In a leader of a group: bytes [lo, hi) relative to its operand's address without displacement, before it. RIP counts as the address of the
	 * first instruction.
	 */
	int32_t group_lo, group_hi;
	bool group_store;
	/* PUSH m, POP m and CALL m have two operands: the other one, the explicit, is MEM_SINGLE whatever `how` says. */
	bool also_explicit;
};

struct trace {
	unsigned count;
	uint16_t bytes;
	uint8_t checked; /* given by the caller: bit n: accesses in segment n are looked at one by one; outside 64-bit mode (INSN_LEGACY) */
	struct trace_insn insn[TRACE_INSNS_MAX];
};

/*
 * Fills live_in and live_out, from @live_out_end (live behind the last instruction). An instruction that may leave the translated
 * code in the middle (fault) does NOT make flags live: docs/translator.md says what that means for the
 * flags of an exception; with @exact it does: flags are live in wherever an instruction may fault.
 * Conditional definitions (shifts by CL, REP CMPS) read what they may leave.
 */
void analyse_flags(struct trace *t, unsigned live_out_end, bool exact);

/*
 * Fills how, leader, the ranges. Only for 64-bit code. A stack range ends (the next access needs a new leader) where
 * RSP changes by something else than a constant, and where the range would exceed @range bytes; the same for groups and their base and
 * index registers. Groups have a base register (not RSP) and may have an index; or RIP; or FS or GS, then also with no register at all. Offsets of
 * one group lie within @range. A group of one is MEM_SINGLE.
 * The leader of a stack range may stand before its first access, where no flags are live (live_in, by analyse_flags).
 * An instruction @translated does not answer for (NULL: all are) is run by the interpreter: it ends all ranges, and has MEM_NONE.
 */
void analyse_memory(struct trace *t, int32_t range, bool (*translated)(const struct insn *in));

/* General registers (bit n: gpr n) that @in reads and writes, implicit ones too. */
uint32_t insn_gprs_read(const struct insn *in);
uint32_t insn_gprs_written(const struct insn *in);
/*
 * Flags live at offset @at of @page, of which @size bytes are there, as far as up to @most instructions tell, along all
 * paths that stay inside it; all that is not known counts as live. The lines of 64 bytes that were looked at (bit n: from byte 64n on)
 * are added to *@lines: the answer is right as long as these do not change. @size is at most 4096, @lines may be NULL.
 */
unsigned flags_live_in(const uint8_t *page, size_t size, size_t at, enum insn_mode mode, unsigned most, uint64_t *lines);
/* The same at the start of @bytes. */
unsigned flags_live_at(const uint8_t *bytes, size_t avail, enum insn_mode mode, unsigned most);

#endif
