// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The code cache of a VM, shared by its vCPUs; and what each vCPU remembers about addresses: translation slots, the stack
 * window, jump caches.
 *
 *   cache.c   the area (mapped twice: writable, executable), blocks, invalidation
 *   slots.c   translation slots and the stack window of a vCPU
 *   mixed.c   frames whose code is checked each time, not watched
 *   jumps.c   jump caches of a vCPU: by address space (PCID) and view (user, supervisor, supervisor with AC), as the TLBs are
 *
 * A block is found by the RAM frame and offset of its first byte and its mode; its code holds no address, neither the guest's
 * linear nor the host's, so that it serves every mapping of its frame. It begins with a 5-byte NOP, 8-byte
 * aligned. Invalidating a block takes it out of the hash and exchanges the NOP for a jump to its stale exit, so that whatever
 * still points at it (jump caches of all vCPUs) leads out; branches that were linked to it go to their own exits again. Its memory is
 * reused only when everything is thrown away, with all vCPUs outside the cache.
 *
 * An instruction that lies across two pages is a block of its own, which depends on two frames. What the second page shows is a matter of linear
 * addresses: so nothing is ever linked to such a block, it is reached by jump caches alone, and these look at both pages (jumps.c).
 *
 * Stores. A slot or stack window that allows stores never shows a frame with FRAME_CODE; so a store to code takes the
 * interpreter's way, which calls cache_code_stored. Before a frame gets code, decoded or translated, the slots that could store to it are
 * emptied on every vCPU (slots_withdraw). Two bits that meet: a vCPU that fills a storing slot sets its frame's `stored` mark, then looks
 * at FRAME_CODE; who makes code sets FRAME_CODE, then looks at the mark (both sequentially consistent).
 *
 * Lines. A store into a frame with FRAME_CODE matters only where code_lines has a bit: others leave blocks, the frame's code
 * generation and FRAME_CODE alone. Who reads code (here or in interp/block.c) notes the generation, makes sure that the frame is
 * watched, sets the lines, and reads the bytes after that (or compares them with what it has read before). Who stores looks at the lines after a
 * full barrier; when it finds one it drops lines, then advances the generation. While the VM has a translator FRAME_CODE is cleared under
 * its lock alone, together with `watched`, and so that the generation advances: for the other users of guest memory, too
 * (ram.code_written).
 *
 * Where stores and code alternate nothing is watched, and blocks compare their own bytes: mixed.c.
 *
 * Locks: translator.lock guards blocks, hash, area and code lines. Whoever holds it may take no other and wait for no
 * vCPU; soft_world_stop is called before it. Lookups take none.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_CACHE_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_CACHE_H

#include "engine/soft/soft.h"
#include "engine/soft/translate/state.h"

#include <stdio.h>

/* Guest instruction and host code of a block, pairwise: at_guest from the block's start, at_host from its near entry. Ends with the block's lengths. */
struct block_point {
	uint16_t guest, host;
};

struct tblock {
	uint64_t key;	   /* frame << 12 | offset */
	uint64_t linear;   /* where it was seen when it was made: for people to read, other mappings are as good */
	uint64_t lines;	   /* of the frame, that it was made from or depends on (cache_lines) */
	uint64_t second, second_lines; /* of an instruction across two pages: the second frame; else FRAME_NONE */
	uint32_t mode;
	uint32_t code;	   /* near entry: offset in the area */
	uint32_t far_code; /* far entry, for comers from other pages with the linear RIP in host R14 */
	uint32_t stale;	   /* where the NOP's replacement goes */
	uint32_t code_len; /* from far_code */
	uint16_t bytes, insns;
	bool live;	   /* under the lock */
	bool checked;	   /* it compares its own bytes; `lines` is 0 */
	uint32_t links;	   /* branches that lead here: 1 + index in translator.link, 0: none */
	_Atomic(struct tblock *) next; /* in its hash bucket */
	struct tblock *next_in_frame, *next_in_second; /* where either frame's other blocks are */
	struct block_point *point; /* insns + 1 of them */
};

/* A branch that leads to another block. */
struct cache_link {
	uint32_t site; /* of its rel32 */
	int32_t was;   /* what it was: the way to the exit */
	uint32_t next; /* 1 + index, or 0 */
};

struct translator {
	struct soft_vm *vm;
	uint8_t *rw, *rx;
	uint32_t size, used;  /* bytes of the area */
	uint32_t prepared;    /* up to here it is in large pages of the host, if there are any */
	uint32_t common_end;  /* the trampolines end here: what is below stays for ever */
	pthread_mutex_t lock;
	_Atomic(struct tblock *) *bucket;
	struct tblock **frame_blocks; /* by RAM frame */
	_Atomic uint64_t *code_lines; /* by RAM frame: bit n: bytes 64n to 64n + 63 are in some block, or were looked at by one */
	_Atomic uint8_t *stored;      /* by RAM frame: store_epoch if some vCPU may have a storing slot for it */
	_Atomic uint8_t *watched;     /* by RAM frame: it has FRAME_CODE, and every store is noticed; changed under the lock */
	_Atomic uint32_t *mixed;      /* by RAM frame: what mixed.c knows of it, MIXED_* */
	uint8_t store_epoch;	      /* never 0; changed while the world is stopped */
	struct tblock *blocks;	      /* arena, in order of code */
	uint32_t block_count, block_max;
	struct block_point *points;
	uint32_t point_count, point_max;
	struct insn *calls; /* bound, for EXIT_CALL; forgotten with the blocks */
	uint32_t call_count, call_max;
	struct exit_point *exits;
	uint32_t exit_count, exit_max;
	struct cache_link *link;
	uint32_t link_count, link_max;
	uint64_t frames;
	struct soft_tuning tuning;
	struct slot_site *sites; /* by slot */
	uint32_t slots_used;
	_Atomic uint32_t flush_wanted; /* the cache is full: the next vCPU outside throws all away */
	uint32_t thrift;	 /* hot doubles with each: grows while the cache is too small for what is translated (cache.c) */
	uint64_t flush_tsc, flush_insns; /* at the last flush: time, translated_insns */
	struct jump_cache *closed;
	/* Trampolines (entry.c), offsets in the area */
	uint32_t enter, leave, fault;
	uint32_t jump_miss;	 /* as exit_rcx, for a lookup: goes back to exit_point.site if the second way has it */
	uint32_t exit, exit_rcx; /* T1 is the index of an exit point, T0 goes to exit_value; t.save_rcx has the guest's RCX */
	uint32_t fill[2][2]; /* a slot was missed: by SITE_STORE, by SITE_PLAIN; T1 is its number */
	uint32_t hot_miss;   /* a hot site: T0 is the linear address, T1 its number */
	/*
	 * Grows with each cache_flush: offsets in the area, sites, blocks and slot numbers from before mean nothing after. Looked at under the
	 * lock, or on a vCPU's thread since it last could be made to wait (cache_watch_frame, cache_flush, soft_world_stop, an event).
	 */
	_Atomic uint64_t flushes;
	FILE *perf_map;		 /* or NULL */
	struct symbols *symbols; /* of the guest, or NULL */
	/* Counters, under the lock */
	uint64_t translated_blocks, translated_insns, translated_bytes, invalidated, links, withdrawals;
};

#define FRAME_NONE (~0ull)

/* Bytes of code that cache_begin makes sure there are. */
enum { CACHE_BLOCK_ROOM = 16 << 10 };

/* --- cache.c --- */
/*
 * @area_size bytes of code, a multiple of 4096, at least 64 KiB. -ENOMEM, -EINVAL ... The area is empty: the trampolines come next, from
 * offset `used` on; who writes them sets `used` and common_end.
 */
int translator_create(struct soft_vm *vm, uint32_t area_size, struct translator **out);
void translator_destroy(struct translator *tr); /* NULL is fine */

/* Any vCPU, no lock: the live block, or NULL. */
struct tblock *cache_find(struct translator *tr, uint64_t key, uint32_t mode);
/* The same for one that goes on in frame @second. */
struct tblock *cache_find_crossing(struct translator *tr, uint64_t key, uint32_t mode, uint64_t second);
/*
 * Room for a new block, under the lock: code (CACHE_BLOCK_ROOM bytes at `used`), points (@insns + 1), @exits exit points (from exit_count on)
 * and @slots new slots; NULL: full (then flush_wanted is set). The caller fills key, lines (second, second_lines), mode, code, far_code, stale, bytes, insns and point[].
 * cache_commit enters it with what was used; without it nothing has happened, and the lock may be released.
 */
struct tblock *cache_begin(struct translator *tr, unsigned insns, unsigned exits, uint32_t *first_slot, unsigned slots);
void cache_commit(struct translator *tr, struct tblock *b, uint32_t code_end, unsigned exits_used, unsigned slots_used);
/* The block whose code (a host address in rx) holds @pc, live or not; NULL. Async-signal-safe for code that the calling thread runs. */
const struct tblock *cache_at(const struct translator *tr, uint64_t pc);
/*
 * Makes sure that stores into @frame are noticed from here on, before its bytes are read: FRAME_CODE, membarrier,
 * withdrawal of storing slots. On the vCPU's thread, without the lock, before or in an instruction (nothing is raised). May stop
 * the world. The frame's code generation: nothing is noticed any more once it is another.
 */
uint32_t cache_watch_frame(struct cpu *c, uint64_t frame);
/* The lines of [offset, offset + n), n > 0, which ends in the frame. */
static inline uint64_t cache_lines(unsigned offset, unsigned n)
{
	unsigned first = offset / 64, last = (offset + n - 1) / 64;

	return (~0ull >> (63 - (last - first))) << first;
}
/*
 * From here on stores into @lines of @frame end what is made of them. The bytes are read, or compared with what was read, after this.
 * Under the lock: false: the frame is not watched any more; nothing must be committed, cache_watch_frame comes first. Without it
 * (the interpreter's blocks, MONITOR) the result means nothing: what is made is good as long as the generation is that
 * of cache_watch_frame.
 */
bool cache_add_lines(struct translator *tr, uint64_t frame, uint64_t lines);
/*
 * @n bytes at @offset of a frame with FRAME_CODE were stored by a vCPU (n 0: unknown, the whole frame). True: they held code; blocks
 * of theirs are invalid now, and the frame's generation is another. False: no code was touched. Called by mmu_code_stored.
 */
bool cache_code_stored(struct translator *tr, uint64_t frame, unsigned offset, unsigned n);
/* Any thread, for stores by others than vCPUs to a frame with FRAME_CODE: instead of ram_code_written. */
void cache_frame_written(struct translator *tr, uint64_t frame);
/* Under the lock: @b is invalid, by itself. */
void cache_drop(struct translator *tr, struct tblock *b);
/* All blocks go. Stops the world itself; on a vCPU's thread (@c) between instructions. */
void cache_flush(struct translator *tr, struct cpu *c);
/* Under the lock: lets the branch whose rel32 is at area offset @site, a multiple of 4, go to @b's near entry, until @b is invalidated. */
void cache_link(struct translator *tr, uint32_t site, struct tblock *b);

/* --- mixed.c --- */
enum {
	MIXED_COUNT = (1 << 12) - 1, /* stores of this while */
	MIXED_WHILE = 12,	     /* which that was, of MIXED_WHILES */
	MIXED_WHILES = 1 << 11,
	MIXED_SHIFT = 24,	     /* how often its code has seemed to stay, and did not */
	MIXED_SHIFT_MAX = 14,
	MIXED_GONE = 1 << 29,	     /* a store has ended its last code */
	MIXED_BACK = 1 << 30,	     /* and then it had code again, and a store ended that; or it was let go once */
};
#define MIXED_YES (1u << 31)
/* What is made of @frame's code now compares it with memory whenever it is entered, and needs no cache_watch_frame. */
static inline bool cache_mixed(const struct translator *tr, uint64_t frame)
{
	return !tr->tuning.mixed || atomic_load_explicit(&tr->mixed[frame], memory_order_relaxed) & MIXED_YES;
}
/*
 * A store into @frame, which is watched, was noticed: it hit a line, or not. True: that was one too many; the frame's code is to be forgotten
 * (cache_frame_written). No lock.
 */
bool mixed_stored(struct translator *tr, uint64_t frame, bool hit);
void mixed_gone(struct translator *tr, uint64_t frame); /* such a store has ended the frame's last code */
/* Whether @in may store to memory: the interpreter's and the translator's blocks end behind it, in a mixed frame. */
bool mixed_insn_ends(const struct insn *in);
/* Bytes of a checked block have changed, or stayed so often that they had better be watched: the block that has area offset @at in it. */
void mixed_changed(struct translator *tr, uint32_t at);
void mixed_proven(struct translator *tr, uint32_t at);
/* Entries that find a checked block unchanged before it is thought that it stays so. */
int32_t mixed_checks(const struct translator *tr, uint64_t frame);
/* The interpreter's runs of a block, since the last flush, before it is translated. */
static inline uint32_t mixed_hot(const struct translator *tr, uint64_t frame)
{
	uint32_t hot = cache_mixed(tr, frame) ? tr->tuning.hot * 8 : tr->tuning.hot;

	return ((hot + 1) << __atomic_load_n(&tr->thrift, __ATOMIC_RELAXED)) - 1;
}

/* --- slots.c: the vCPU's thread, or its world is stopped --- */
int slots_init(struct cpu *c); /* -ENOMEM */
void slots_finish(struct cpu *c);
/*
 * Fills slot @n for an access [linear, linear + size) (@store) from the TLB's present view. False: the TLB has no such entry, it
 * crosses a page, or (@store) the frame holds code: then nothing has changed.
 */
bool slot_fill(struct cpu *c, uint32_t n, uint64_t linear, uint32_t size, bool store);
/* Grows whenever slots, windows or tags are dropped that code in the middle of a block may rely on. */
uint64_t slots_dropped(const struct cpu *c);
/* The stack window for [rsp + lo, rsp + hi): sets bias, stack_base. False as above. Only pages that may be stored to. */
bool stack_fill(struct cpu *c, uint64_t rsp, int32_t lo, int32_t hi);
void slots_drop(struct cpu *c, bool global); /* without @global those of global pages stay; the stack window likewise */
void slots_drop_page(struct cpu *c, uint64_t linear); /* INVLPG: those that show any part of the page there */
void slots_drop_keyed(struct cpu *c); /* a protection key has lost rights: all */
void window_select(struct cpu *c);	      /* the view may have changed: its window */
/* No vCPU keeps a storing slot for @frame. May stop the world. */
void slots_withdraw(struct cpu *c, uint64_t frame);

/* --- hot.c --- */
/* Site @n misses often: if that costs more than looking in the TLB each time, that is what it does from now on. */
void site_is_hot(struct cpu *c, uint32_t n);
enum { SITE_MISSES = 64 }; /* slot_site.left at first */

/* --- jumps.c --- */
/* @size bytes of zeroes, aligned as a struct jump_cache is; or NULL. For munmap. */
void *jump_caches_map(size_t size);
int jumps_init(struct cpu *c);
void jumps_finish(struct cpu *c);
/* The space (its number in the TLB set) or mode of the vCPU changed: sets t.jumps_open, and t.jumps. Called by mmu_select. */
void jumps_select(struct cpu *c, unsigned space);
/* What translate_mode is made of changed, and nothing else. */
void jumps_mode_changed(struct cpu *c);
/* The far entry of code for linear address @rip, in the page that is being fetched from, is at @code in the area. */
void jumps_set(struct cpu *c, uint64_t rip, uint32_t far_code);
/* The same for an instruction that goes on in the next page, which has @second_kind, PAGE_*. */
void jumps_set_crossing(struct cpu *c, uint64_t rip, uint32_t far_code, unsigned second_kind);
/* Where its far entry runs, or NULL. */
static inline const uint8_t *jumps_find(const struct cpu *c, uint64_t rip)
{
	unsigned i = jump_index(rip);

	for (const struct jump_way *w = c->t.jumps_open->way; w < c->t.jumps_open->way + 2; w++)
		if (!(w->entry[i].neg_rip + rip))
			return (const uint8_t *)(uintptr_t)w->entry[i].code;
	return NULL;
}
void jumps_forget(struct cpu *c, uint64_t rip); /* there is no such code any more */
/* A mapping may have gone: entries of @space (or all, -1) are dropped; @global too or not. */
void jumps_drop(struct cpu *c, int space, bool global);
void jumps_drop_page(struct cpu *c, uint64_t linear); /* INVLPG, in all spaces */
/*
 * The gate. Any thread that has set cpu.req closes it after that. The vCPU opens it before it enters translated code; it stays closed while
 * cpu.req is not 0. This also makes sure that the table is that of the present mode.
 */
void jumps_close(struct cpu *c);
void jumps_open(struct cpu *c);

#endif
