// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What translated code keeps in struct cpu (cpu.t), beside the registers of cpu.gpr[]. Emitted code addresses all of it
 * relative to GS, which is the struct cpu while a vCPU runs.
 *
 * While translated code runs:
 *  - guest RAX..R13 but RSP are in the host registers of the same number; host R14 and R15 are the
 *    translator's scratch, guest R14 and R15 are in cpu.gpr[];
 *  - host RSP is guest RSP + t.bias;
 *  - the host's arithmetic flags are the guest's; DF is clear; cpu.sysflags has the rest;
 *  - the guest's RIP is t.page plus the offset in the page that the code knows;
 *  - XMM, YMM and MXCSR are the guest's when t.vector is not 0, the x87 registers when it has VECTOR_X87; else they are in cpu.x.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_STATE_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_STATE_H

#include "engine/soft/decode/insn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct translator;
struct translate_work;

/*
 * A translation slot: one page (or a larger region that lies in one piece in RAM) for the memory operands of one
 * place in the code. An access at linear address a hits when a - base < limit, unsigned; its bytes are at host
 * address a + addend then. The limit allows for the size of the accesses of this place. An empty slot has limit 0.
 */
struct slot {
	uint64_t base, limit, addend;
};
enum { SLOTS_MAX = 1 << 16 };

/*
 * Where blocks are by linear address: for jumps to other pages, returns, indirect jumps. Entry (rip & 0xffff) hits when
 * neg_rip + rip == 0. Memory full of zeroes is an empty table but for entry 0, which would answer for address 0:
 * an empty entry 0 has JUMP_NONE.
 */
struct jump {
	uint64_t neg_rip;
	uint64_t code; /* where its far entry runs */
};
enum { JUMPS = 1 << 16 };
#define JUMP_NONE 1ull /* of address ~0, which looks elsewhere */
struct jump_cache {
	struct jump entry[JUMPS];
};

/*
 * Why translated code came back: the one list, with the counters' names.
 *
 *   CHAIN   to the instruction at exit_at; the branch at exit_site may be linked to it
 *   POLL    a request waits, before the instruction at exit_at
 *   ONE     the interpreter has to run the one instruction at exit_at
 *   FILL    slot exit_slot does not show [exit_value + slot.base, + exit_size): fill it, go on at exit_site; or as ONE
 *   GROUP   the same for a range; or the interpreter runs one block from exit_at
 *   STACK   the stack window does not show [exit_value, + exit_size), host addresses: move it, go on at exit_site; or one block
 *   VECTOR  the code at exit_site wants exit_slot, VECTOR_*; or as ONE
 *   JUMP    the jump cache has nothing for exit_value: enter it and go on at exit_site; or as ONE
 *   CALL    the handler of translator.calls[exit_slot] has to run the instruction at exit_at (call.c)
 *   STALE   the block at exit_at was invalidated
 */
#define EXIT_KINDS(X)                                                                              \
	X(CHAIN, "exits to link a branch")                                                         \
	X(POLL, "exits for a request")                                                             \
	X(ONE, "exits to interpret an instruction")                                                \
	X(FILL, "exits to fill a slot")                                                            \
	X(GROUP, "exits to fill a group's slot")                                                   \
	X(STACK, "exits to move the stack window")                                                 \
	X(VECTOR, "exits for vector state")                                                        \
	X(JUMP, "exits to fill a jump cache")                                                      \
	X(CALL, "calls of handlers")                                                               \
	X(STALE, "exits of invalid blocks")

enum exit_kind {
#define X(id, name) EXIT_##id,
	EXIT_KINDS(X)
#undef X
	EXIT_COUNT,
};
enum { EXIT_STORES = 1u << 31 }; /* in exit_size: not only loads */

/*
 * Where the stack window is while there is none. No range of addresses is one that RSP + bias cannot be in; but what lies in this one
 * is not canonical, for the guest with bias 0 nor for the host: an access that passes the check ends in the host's #GP or
 * #SS (SIGSEGV, SIGBUS), where the guest has its own coming.
 */
#define STACK_NOWHERE (1ull << 62)

enum { VECTOR_SSE = 1, VECTOR_AVX = 2, VECTOR_X87 = 4 };
#define X87_AT_NONE (~0u)

/* The one list of tier 2's counters, as a run page shows them: the VM's first, then this vCPU's. */
#define TRANSLATE_COUNTERS(X)                                                                      \
	X(BLOCKS, "blocks translated")                                                             \
	X(INSNS, "instructions translated")                                                        \
	X(BYTES, "bytes of code")                                                                  \
	X(LINKS, "branches linked")                                                                \
	X(INVALIDATED, "blocks invalidated")                                                       \
	X(FLUSHES, "code cache flushes")                                                           \
	X(WITHDRAWALS, "withdrawals of stores")                                                    \
	X(ENTRIES, "entries into translated code")                                                 \
	X(FILLS, "slots asked for")                                                                \
	X(FILL_MISSES, "slots not filled")                                                         \
	X(STACK_FILLS, "stack windows asked for")                                                  \
	X(STACK_MISSES, "stack windows not filled")                                                \
	EXIT_KINDS(X)

struct cpu_translate {
	uint64_t page;	    /* linear address of the page of the code under way */
	uint64_t bias, neg_bias;
	/* The stack window: host addresses; RSP-relative accesses inside [stack_base, + 4096) need no more check. */
	uint64_t stack_base;
	/* Of the present space and mode; the closed one, which never hits, while cpu.req is not 0. Other threads close it. */
	struct jump_cache *_Atomic jumps;
	uint64_t host_rsp, save_rax, save_rcx;
	uint64_t scratch[4];
	uint32_t flags;	    /* AF_*, kept over a check where they are live */
	uint8_t vector;	    /* VECTOR_*: what the guest has enabled, and is in the registers; 0: nothing is in the registers */
	/* The last x87 instruction since they were loaded: its offset in the page, and above that bit 12 on its opcode as in FOP; its page. */
	uint32_t x87_at;
	uint64_t x87_page;

	/* Told by the code that leaves. */
	uint32_t exit_kind;
	uint32_t exit_at;   /* offset in the page t.page */
	uint32_t exit_site; /* offset in the code cache: of a rel32; of the code to retry */
	uint32_t exit_slot;
	uint32_t exit_size;
	uint64_t exit_value;
	bool exit_flags_saved; /* t.flags and save_rax have what the host's flags and RAX do not */

	/* --- C's own --- */
	struct insn called;	  /* by call.c: what runs now */
	struct translator *tr;	  /* NULL: the interpreter runs everything */
	struct translate_work *work;
	struct jump_cache *jumps_open; /* what `jumps` is while nothing waits */
	bool stack_valid;	  /* there is a stack window; else bias is 0 and stack_base is STACK_NOWHERE */
	uint8_t fetch_kind;	  /* PAGE_*: of the page at cpu.fetch_linear */
	struct slot *slots;	  /* = slot[] of this vCPU */
	struct slot_book *book;	  /* slots.c: which slots are filled, and with what */
	struct jump_set *jump_set; /* jumps.c */
	uint32_t stir_count, skip_count, flush_count, random; /* stress */
	/* Counters */
	uint64_t entries, exits[EXIT_COUNT], fills, fill_misses, stack_fills, stack_misses;
};

#endif
