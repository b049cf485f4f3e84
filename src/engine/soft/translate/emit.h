// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to translate/: emitting the host code of one block.
 *
 *   block.c     a trace of instructions becomes a block; the cold code behind it
 *   families.c  which emitter an instruction gets, or none: then the interpreter runs it
 *   operand.c   memory operands: effective addresses, checks; instructions that are copied with other operands
 *   stack.c     PUSH POP LEAVE, arithmetic on RSP
 *   control.c   branches, calls, returns
 *   simple.c    what needs no memory and no copy, or is special
 *   system.c    RFLAGS, bases of FS and GS, time; calls of the interpreter's handlers
 *   string.c    REP MOVS, REP STOS, bit tests with the bit's number in a register
 *   string_once.c  string instructions without a repeat prefix
 *   vector.c    SSE, AVX, MMX, x87
 *   mixed.c     blocks that compare their own bytes
 *
 * While an instruction is emitted, host R14 and R15 (T0, T1) are free. An emitter checks everything that can fail before it changes
 * a register of the guest, so that whatever leaves in its middle leaves at its start.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_EMIT_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_EMIT_H

#include "engine/soft/translate/analyse.h"
#include "engine/soft/translate/cache.h"
#include "engine/soft/translate/code.h"

enum { T0 = R14, T1 = R15 };
enum { STUBS_MAX = 4 * TRACE_INSNS_MAX, NO_SITE = ~0u };

/* Code that is rarely run, behind the block: it tells where and why, and leaves. T0 goes to exit_value. */
struct stub {
	uint8_t *rel;	   /* the branch to it */
	uint8_t *retry;	   /* where to go on, or NULL */
	uint8_t kind;	   /* enum exit_kind */
	bool flags_saved;
	bool flags_in_rax; /* emit_flags_to_rax: they go to t.flags */
	bool rcx_saved, rcx_in_t1;
	bool looks_up;	   /* in the jump cache, with rcx_saved */
	bool popped;	   /* 8 bytes, which go back to the stack */
	bool links;	   /* EXIT_CHAIN: rel itself may be linked */
	uint16_t at;	   /* offset in the page */
	uint32_t slot, size;
	uint32_t to;	   /* EXIT_FILL: the routine that looks after it */
	uint8_t *back;	   /* with flags_in_rax: where to go on then, with RAX and the flags the guest's */
};

/* A branch to another page that is emitted behind the block. */
struct away {
	uint8_t *rel;
	unsigned at; /* index of its instruction */
};

struct emit {
	struct code c;
	struct translator *tr;
	const struct trace *t;
	const struct trace_insn *ti; /* the instruction under way */
	uint32_t offset;    /* of the block in its page */
	uint32_t first_slot, slots;
	uint16_t group_slot[TRACE_INSNS_MAX]; /* by leader: slot number - first_slot */
	unsigned stubs, exits;
	/* While nothing has been emitted behind here, T1 is still the addend of group slot held_slot. */
	const uint8_t *held;
	uint16_t held_slot;
	uint8_t vector;	    /* VECTOR_*: what is checked already (and more: vector.c) */
	unsigned at;	    /* its index */
	bool failed;	    /* it cannot be emitted */
	struct cpu *cpu;    /* in the mode that the block is for */
	uint32_t mode;	    /* translate_mode */
	unsigned shadow_until; /* index of the instruction that STI's shadow covers, or 0 */
	bool untranslated;  /* behind the last instruction comes one that the interpreter has to run */
	bool cut;	    /* behind it comes one that lies across two pages */
	bool checked;	    /* the block compares its own bytes */
	unsigned aways;
	struct away away[TRACE_INSNS_MAX];
	struct stub stub[STUBS_MAX];
};

typedef void emit_fn(struct emit *e, const struct insn *in);

/* The emitter for @in in 64-bit code, or NULL. */
emit_fn *emitter_for(const struct insn *in);
/* Without an emitter: the interpreter's handler can be called for it. */
bool can_be_called(const struct insn *in);
/* For analyse_memory. */
bool is_translated(const struct insn *in);
/* VECTOR_*: what @in needs of the vector state. */
unsigned insn_vector_needs(const struct insn *in);

/* Offset in the page of the instruction under way; of the one after it. */
static inline uint32_t insn_at(const struct emit *e) { return e->offset + e->ti->at; }
static inline uint32_t insn_next(const struct emit *e) { return insn_at(e) + e->ti->in.len; }

/* --- block.c --- */
/* A stub for the branch at @rel (from asm_jcc and the like). Valid until the next one is asked for. */
struct stub *emit_stub(struct emit *e, uint8_t *rel, enum exit_kind kind);
/* Flags and RAX to t.flags and t.save_rax, and back; T0 and T1 stay. */
void emit_flags_save(struct emit *e);
void emit_flags_restore(struct emit *e);
/* The same with the flags in AX and the guest's RAX in T1 meanwhile: nothing else may happen to them, and nothing in between needs RAX. */
void emit_flags_to_rax(struct emit *e);
void emit_flags_from_rax(struct emit *e);
/* In between: the flags go to t.flags and RAX is the guest's again. */
void emit_flags_home(struct code *c);

/* Whether the instruction at offset @at lies across the page's end, so that no branch can be linked to it. */
bool emit_is_cut(const struct emit *e, int64_t at);

/* --- operand.c --- */
/* Host register that has guest register @r: itself, or @t after a load. RSP is unbiased into @t. Flag-free. */
unsigned emit_gpr(struct emit *e, unsigned r, unsigned t);
/* Puts @t, which is not what emit_gpr gave for a host-resident register, into guest register @r (64 bits). @free is clobbered for RSP. */
void emit_gpr_put(struct emit *e, unsigned r, unsigned t, unsigned free);
static inline bool gpr_is_home(unsigned r) { return r < R14 && r != RSP; }
/* The effective address plus segment base of @in's memory operand into T0. T1 is clobbered. Flag-free. */
void emit_linear(struct emit *e, const struct insn *in);
/* Effective address only, cut to the address size, into @dst (may be any host register). T0, T1 are clobbered. */
void emit_ea(struct emit *e, const struct insn *in, unsigned dst);
/*
 * Makes sure that the memory operand of @in can be reached, and says how. Uses T1, and T0 when .base comes out as T0. The flags are the
 * guest's if they are live. Not for implicit stack operands.
 */
struct host_mem emit_operand(struct emit *e, const struct insn *in, unsigned size, bool store);
/* The same for @size bytes at register @r, of @in's address size, in @seg. */
struct host_mem emit_operand_at(struct emit *e, const struct insn *in, unsigned seg, unsigned r, unsigned size, bool store);
/*
 * The branch at @rel is taken when slot @n of the block does not show @size bytes; @flags are SITE_*, and say what T0 is then. The code at
 * @retry makes the address and the comparison anew.
 */
struct slot_site *emit_slot_miss(struct emit *e, unsigned n, uint8_t *rel, uint8_t *retry, unsigned size, unsigned flags);
/*
 * T0, the linear address of @size bytes, is compared with slot @n; @retry is where it is made anew. With SITE_PLAIN it is destroyed, else T1. With
 * SITE_SAVED the flags are in RAX, and `back` of the stub is for the caller to set. Then emit_slot_addend gives T1; @resume: this is where
 * a hit goes on.
 */
struct stub *emit_slot_check(struct emit *e, unsigned n, uint8_t *retry, unsigned size, unsigned flags);
void emit_slot_addend(struct emit *e, unsigned n, bool resume);
/* The checks of ranges that the instruction under way leads. */
void emit_leader_checks(struct emit *e);
/* The instruction as it is, with its operands moved. */
emit_fn emit_copy;

/* --- control.c, stack.c, simple.c --- */
/* T1 = an eighth of the address of the entry of the first way of the jump cache that linear address T0 may have. Clobbers RCX. Flag-free. */
void emit_jump_entry(struct code *c);
emit_fn emit_jmp, emit_jcc, emit_jmp_ind, emit_call, emit_call_ind, emit_ret;
emit_fn emit_push, emit_pop, emit_leave, emit_nothing, emit_lea, emit_rsp_arith;
/* Ends the block with what the instruction under way, a branch, does: a direct jump to @to, an offset from the page's start. */
void emit_goto(struct emit *e, int64_t to);
/* Ends the block: the instruction under way is complete, @to is next. */
void emit_next(struct emit *e, int64_t to);
/* The ways to other pages of conditional branches. */
void emit_aways(struct emit *e);
/*
 * Looks in the jump cache for T0, a linear address; where it has nothing @kind and @at tell what to do. @retry: where T0 is made anew, and
 * before which nothing has changed. Then T1 tells emit_jump_hit which entry it is, and RCX is free until that.
 */
struct stub *emit_lookup(struct emit *e, uint8_t *retry, enum exit_kind kind, uint32_t at);
void emit_jump_hit(struct emit *e);
/* Offset @to is in the page, and that of an instruction that does not go on in the next one. */
bool emit_can_link(const struct emit *e, int64_t to);
/* Then: the branch at @rel goes there, and is linked. */
void emit_chain(struct emit *e, uint8_t *rel, int64_t to);

/* --- vector.c --- */
/* Makes sure that there is what the instruction under way needs of the vector state. */
void emit_vector_check(struct emit *e);
/* The emitter of an instruction of SSE, AVX, MMX or x87, or NULL. */
emit_fn *vector_emitter(const struct insn *in);

/* --- system.c --- */
/* The emitter for an instruction of system.c's, or NULL. */
emit_fn *system_emitter(const struct insn *in);
/* It ends blocks of the interpreter's, but in code for @c's mode the instruction behind it can follow in the same block. */
bool system_goes_on(const struct cpu *c, const struct insn *in);
/* The branch at @rel leads to where the interpreter's handler for @in, the instruction under way, is called. */
struct stub *emit_call_stub(struct emit *e, const struct insn *in, uint8_t *rel);
/* Leaves for the interpreter's handler of the instruction under way. */
emit_fn emit_call_handler;
/* T0 = RFLAGS as PUSHF stores it; the flags are lost unless they are live behind the instruction. T1 stays. */
void emit_flags_image(struct emit *e);
/* Behind the instruction that STI's shadow covers. */
void emit_shadow_end(struct emit *e);

/* --- string.c, string_once.c --- */
/* The same for theirs. */
emit_fn *string_emitter(const struct insn *in);
emit_fn *string_once_emitter(const struct insn *in);

/* --- mixed.c --- */
/* Leaves when the first @n bytes at @bytes, which the block was made from, are not what is in memory. */
void emit_own_bytes(struct emit *e, uint64_t key, const uint8_t *bytes, unsigned n);

/* --- entry.c --- */
void emit_trampolines(struct translator *tr);
/*
 * T1 = the TLB's entry for linear address @t, another register; emits the comparison with its tag (@store: for stores), for which @t is
 * changed to the offset in the page if it hits: when it does not (above) it is another number. Changes flags.
 */
void emit_tlb_lookup(struct code *c, unsigned t, unsigned entry, bool store);
#endif
