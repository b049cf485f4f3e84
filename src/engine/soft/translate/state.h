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
#include "engine/vcpu_state.h"

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
	uint8_t log;   /* SLOT_LOG*: the logs that it is in (slots.c) */
	uint8_t store; /* it allows stores */
	uint8_t kind;  /* TLB_*: of the page */
	uint8_t pages; /* of 4 KiB; means nothing in a slot of a larger page that is only for loads */
	uint32_t last; /* hot.c */
};
enum { SLOTS_MAX = 1 << 18 };
enum { SLOT_LOG = 1, SLOT_LOG_GLOBAL = 2 };

/* The place in the code that a slot belongs to; shared by all vCPUs. */
struct slot_site {
	uint64_t room;	  /* 4096 - size */
	uint32_t size;	  /* of the access */
	int32_t left;	  /* misses to another place than the next page, less those to it, until C is asked what to do about them */
	uint64_t since;	  /* host TSC when it was asked last */
	uint32_t retry;	  /* offset in the area: where the address is computed */
	uint32_t resume;  /* where a hit goes on: T1 is the addend, T0 the linear address */
	uint32_t jump;	  /* rel32 of the branch that is taken on a miss; 0: what is behind it does not want T0 and T1 so */
	uint16_t at;	  /* offset in the page of the guest's instruction */
	uint8_t flags;	  /* SITE_* */
} __attribute__((aligned(64)));
enum {
	SITE_STORE = 1,
	SITE_GROUP = 2, /* a range for several instructions */
	SITE_SAVED = 4, /* t.flags and save_rax have what the host's flags do not */
	SITE_PLAIN = 8, /* on a miss T0 is the linear address less slot.base; else the linear address */
	SITE_SLOT = 32, /* what is behind the check takes slot.addend, and not T0 and T1 */
	SITE_HOT = 16,  /* it looks in the TLB itself (hot.c) */
};

/* Which pages may be shown by slots, by some bits of their numbers: a byte each, 0 or 1 (slots.c). */
enum { SLOT_PAGES = 2048 };
struct slot_page_set {
	uint8_t page[SLOT_PAGES], large[SLOT_PAGES];
};
struct slot_pages {
	struct slot_page_set set[2]; /* of pages that are not global, of global ones */
};

/*
 * Where blocks are by linear address: for jumps to other pages, returns, indirect jumps. Entry jump_index(rip) hits when
 * neg_rip + rip == 0; code is where the far entry runs. Memory full of zeroes is an empty table but for entry 0, which would answer for
 * address 0: an empty entry 0 has JUMP_NONE. There is an entry for each four bytes of code: fewer would be one for two returns behind calls in a
 * row, more would share no lines of the host's cache.
 *
 * Code is as often as not a power of two from other code that is as hot: so there are two ways. Blocks look in the first; who misses there finds what was
 * put out of it in the second, and exchanges them (entry.c).
 *
 * A table is aligned to its size, and named by a sixteenth of its address: so a MOV of 16 bits of RIP makes of that the
 * sixteenth of the address of way[0].entry[jump_index(rip)].
 */
enum { JUMPS = 1 << 16, JUMP_SHIFT = 2, JUMPS_COVER = JUMPS << JUMP_SHIFT }; /* bytes of code until entries come again */
#define JUMP_NONE 1ull /* of address ~0, which looks elsewhere */
struct jump_entry {
	uint64_t neg_rip, code;
};
struct jump_way {
	struct jump_entry entry[JUMPS];
};
struct jump_cache {
	struct jump_way way[2];
};
static inline uint64_t jump_cache_name(const struct jump_cache *j) { return (uint64_t)(uintptr_t)j >> 4; }
static inline unsigned jump_index(uint64_t rip) { return (unsigned)(rip >> JUMP_SHIFT) & (JUMPS - 1); }

/*
 * Why translated code came back: the one list, with the counters' names.
 *
 *   CHAIN   to the instruction at exit_at; the branch at exit_site may be linked to it
 *   POLL    a request waits, before the instruction at exit_at
 *   ONE     the interpreter has to run the one instruction at exit_at
 *   FILL    the TLB has no entry for linear address exit_value, site exit_slot: go on there with one; or as ONE, or (a range) one block
 *   HOT     it has one, but this site misses often
 *   STACK   the stack window does not show [exit_value + stack_base, + exit_size), host addresses: move it, go on at exit_site; or one block
 *   VECTOR  the code at exit_site wants exit_slot, VECTOR_*; or as ONE
 *   JUMP    the jump cache has nothing for exit_value: enter it and go on at exit_site; or as ONE
 *   NEXT    the same for the next instruction, at exit_at, which may lie in the next page; or as POLL
 *   CALL    the handler of translator.calls[exit_slot] has to run the instruction at exit_at (call.c)
 *   STALE   the block at exit_at was invalidated
 *   CHANGED the bytes that the block around exit_site was made from, at exit_at, are not there any more (mixed.c)
 *   PROVEN  they have been there often enough when it was entered
 */
#define EXIT_KINDS(X)                                                                              \
	X(CHAIN, "exits to link a branch")                                                         \
	X(POLL, "exits for a request")                                                             \
	X(ONE, "exits to interpret an instruction")                                                \
	X(FILL, "exits to fill the TLB for a slot")                                                \
	X(HOT, "exits of sites that miss often")                                                   \
	X(STACK, "exits to move the stack window")                                                 \
	X(VECTOR, "exits for vector state")                                                        \
	X(JUMP, "exits to fill a jump cache")                                                      \
	X(NEXT, "exits to fill a jump cache for what follows")                                     \
	X(CALL, "calls of handlers")                                                               \
	X(STALE, "exits of invalid blocks")                                                        \
	X(CHANGED, "exits of blocks whose code changed")                                           \
	X(PROVEN, "exits of blocks whose code stays")

enum exit_kind {
#define X(id, name) EXIT_##id,
	EXIT_KINDS(X)
#undef X
	EXIT_COUNT,
};
enum { EXIT_STORES = 1u << 31 }; /* in exit_size: not only loads */
/* In exit_kind: what there is to tell is in translator.exits[exit_point]. */
#define EXIT_AT_POINT EXIT_COUNT

/* A way out of a block: what its stub would tell, in memory that is not code. Shared by all vCPUs, forgotten with the blocks. */
struct exit_point {
	uint32_t site, slot, size; /* for exit_site, exit_slot, exit_size */
	uint16_t at;		   /* for exit_at */
	uint8_t kind;		   /* enum exit_kind */
	bool flags_saved;	   /* t.flags and save_rax have what the host's flags and RAX do not */
};

/*
 * Where the stack window is while there is none. No range of addresses is one that RSP + bias cannot be in; but what lies in this one
 * is not canonical, for the guest with bias 0 nor for the host: an access that passes the check ends in the host's #GP or
 * #SS (SIGSEGV, SIGBUS), where the guest has its own coming.
 */
#define STACK_NOWHERE (1ull << 62)

/* VECTOR_AVX512: ZMM and opmasks, too */
enum { VECTOR_SSE = 1, VECTOR_AVX = 2, VECTOR_X87 = 4, VECTOR_AVX512 = 8 };
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
	uint64_t linear;    /* of RIP, for who enters */
	uint64_t bias, neg_bias;
	/* The stack window: host addresses; RSP-relative accesses inside [stack_base, + 4096) need no more check. */
	uint64_t stack_base;
	/* Of the present space and mode; the closed one, which never hits, while cpu.req is not 0. Other threads close it. */
	_Atomic uint64_t jumps; /* its name */
	uint64_t host_rsp, save_rax, save_rcx;
	uint64_t scratch[4];
	uint32_t flags;	    /* AF_*, kept over a check where they are live */
	uint8_t vector;	    /* VECTOR_*: what the guest has enabled, and is in the registers; 0: nothing is in the registers */
	uint8_t vector_lacks[VECTOR_AVX512 + 1]; /* by VECTOR_*: 1 when `vector` does not have it */
	/* The last x87 instruction since they were loaded: its offset in the page, and above that bit 12 on its opcode as in FOP; its page. */
	uint32_t x87_at;
	uint64_t x87_page;

	/* Of the segments (legacy.h); in 64-bit mode only the first three say something. */
	uint64_t cs_base, rip_mask; /* RIP = (linear - cs_base) & rip_mask */
	uint32_t seg_mode;	    /* its part of translate_mode */
	uint64_t cs_last;	    /* the highest EIP that code may have */
	uint64_t cs_limit;
	uint64_t seg_room[SEG_COUNT]; /* an access at offset a is inside if a + size - 1 < room; 0: it is for the interpreter to know */

	/* For filling slots in translated code (entry.c, hot.c) */
	struct slot_site *sites; /* = tr->sites */
	uint64_t code_base;	 /* = tr->rx */
	struct exit_point *exit_points; /* = tr->exits */
	struct slot_pages *slot_pages;
	uint32_t *slot_log[2];	 /* of slots with pages that are not global, and with such that are */
	uint32_t slot_logged[2]; /* how many are in each */
	uint64_t fill_save[3], fill_resume;

	/* Told by the code that leaves. */
	uint32_t exit_kind;
	uint32_t exit_at;   /* offset in the page t.page */
	uint32_t exit_site; /* offset in the code cache: of a rel32; of the code to retry */
	uint32_t exit_slot;
	uint32_t exit_size;
	uint64_t exit_value;
	uint32_t exit_point; /* with EXIT_AT_POINT: the index; exit_at, _site, _slot, _size are C's to fill in then */

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
