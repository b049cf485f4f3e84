// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linear memory as a vCPU sees it: the software TLB and the page walk behind it.
 *
 * A TLB view is a direct-mapped table of pages; each vCPU has a set of address spaces, tagged by
 * PCID, each with three views: user, supervisor with EFLAGS.AC clear, supervisor with it set (SMAP
 * differs). c->tlb points at the view of the moment. Filling an entry walks the guest's tables
 * (SDM vol. 3, 4.5), sets accessed and dirty bits with atomic operations, and raises #PF with the
 * right error code.
 *
 * An entry's tag is a page's linear address for each kind of access, or tlb_none(index). A hit proves
 * that the access stays in the page: (linear ^ tag) <= 4096 - size. An entry allows stores
 * only to a present, private frame that was marked dirty; whether the frame holds code is looked
 * up after each store (mem.h gives the order), so that entries never have to be withdrawn
 * from other vCPUs. What the translator remembers of entries (translate/cache.h) goes with what they stand for.
 *
 * Translated code reads entries, too (translate/entry.c). It cannot look at the frame after a store, so `store` is a tag of its own
 * that translate/slots.c gives and takes away. Its loads may use all of the guest's larger page, as far as that lies in one slot of
 * RAM: [base, base + 4095 + extra).
 */
#ifndef SUBRING_ENGINE_SOFT_MMU_H
#define SUBRING_ENGINE_SOFT_MMU_H

#include "engine/soft/cpu.h"

enum { TLB_BITS = 11, TLB_ENTRIES = 1 << TLB_BITS, TLB_SPACES = 8 };

/*
 * The tag that says "nothing" in entry @index: one in a page that looks at another entry, so that no
 * linear address of all 2^64 hits it. Memory full of zeroes is an empty table but for entry 0.
 */
static inline uint64_t tlb_none(unsigned index)
{
	return index ? 0 : ~0ull;
}

enum { TLB_GLOBAL = 1 /* a global page */, TLB_LARGE = 2 /* a part of a page larger than 4 KiB */ };

struct tlb_entry {
	uint64_t read, write, exec; /* linear address of the page, or tlb_none */
	uint64_t addend;	    /* host address = linear + addend (for exec: of the bytes to decode) */
	uint64_t store;		    /* as write; only translate/slots.c sets it */
	uint64_t base;		    /* linear address of the region */
	uint32_t extra;		    /* the region's bytes - 4095 */
	uint32_t kind;		    /* TLB_GLOBAL, TLB_LARGE */
	uint64_t host;		    /* host address of the page */
} __attribute__((aligned(64)));

struct tlb {
	struct tlb_entry entry[TLB_ENTRIES];
};

enum mmu_access { MMU_READ = 0, MMU_WRITE = 1, MMU_EXEC = 2 };
enum mmu_view { VIEW_USER, VIEW_KERNEL, VIEW_KERNEL_AC, VIEW_COUNT };

/* --- the set of TLBs of a vCPU --- */
int mmu_init(struct cpu *c);	/* -ENOMEM */
void mmu_finish(struct cpu *c);
void mmu_select(struct cpu *c); /* CPL, AC, CR0, CR3, CR4, EFER changed: set c->tlb */
void mmu_flush_all(struct cpu *c);			     /* everything, global pages too */
void mmu_flush_nonglobal(struct cpu *c);		     /* all address spaces, global pages stay */
void mmu_flush_pcid(struct cpu *c, unsigned pcid);	     /* one address space's non-global pages */
void mmu_flush_page(struct cpu *c, uint64_t linear);	     /* INVLPG: present PCID, and global pages */
void mmu_flush_page_pcid(struct cpu *c, uint64_t linear, unsigned pcid); /* INVPCID type 0 */
void mmu_load_cr3(struct cpu *c, uint64_t value);	     /* MOV to CR3: with PCID and bit 63 */
/*
 * PKRU and IA32_PKRS: translations whose key loses a right are dropped. Where CR4.PKE or CR4.PKS is
 * clear no translation depends on them.
 */
void mmu_set_pkru(struct cpu *c, uint32_t value);
void mmu_set_pkrs(struct cpu *c, uint32_t value);

/*
 * The four PDPTEs that PAE paging latches (SDM vol. 3, 4.4.1), read from the table at @cr3; false when a present
 * one has a reserved bit set. Who loads CR3 checks first, then stores them in c->pdpte.
 */
bool mmu_pdptes_read(struct cpu *c, uint64_t cr3, uint64_t pdpte[4]);
bool mmu_pdptes_valid(const uint64_t pdpte[4]);

/*
 * Makes an entry of the present view for loads from (@store: stores to) the page of @linear, unless there is one, with all that a
 * walk does. False: there is none to be had without raising, leaving, or waiting for other vCPUs; or (unless it is @sure that the page
 * will be stored to) without setting its dirty flag. Needs no vector registers.
 */
bool mmu_try_fill(struct cpu *c, uint64_t linear, bool store, bool sure);
/* The same for code, which is about to be fetched. */
bool mmu_try_fetch(struct cpu *c, uint64_t linear);

/* --- access: linear addresses --- */

/* Slow paths: fill the TLB, cross pages, go to MMIO; or raise. @seg only chooses #SS or #GP. */
uint64_t mmu_load_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size);
void mmu_store_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, uint64_t value);
/* A store hit a frame with FRAME_CODE: @n bytes at @offset of guest memory, inside the frame. */
void mmu_code_stored(struct cpu *c, uint64_t offset, unsigned n);

/* After the @n bytes at @host, all in one frame, were stored. */
static inline void mmu_after_store(struct cpu *c, const void *host, unsigned n)
{
	uint64_t offset = (uint64_t)((const uint8_t *)host - c->ram_host);

	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&c->frame[offset >> FRAME_SHIFT], memory_order_relaxed) & FRAME_CODE, 0))
		mmu_code_stored(c, offset, n);
}

#define TLB_HIT(c, linear, size, kind)                                                             \
	({                                                                                         \
		struct tlb_entry *e_ = &(c)->tlb->entry[(linear) >> FRAME_SHIFT & (TLB_ENTRIES - 1)]; \
		__builtin_expect(((linear) ^ e_->kind) <= (uint64_t)(FRAME_SIZE - (size)), 1)      \
			? (void *)(uintptr_t)((linear) + e_->addend)                               \
			: NULL;                                                                    \
	})

/* Loads @size (1, 2, 4, 8) bytes, zero-extended. */
static inline __attribute__((always_inline)) uint64_t mmu_load(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	const void *host = TLB_HIT(c, linear, size, read);

	if (__builtin_expect(!host, 0))
		return mmu_load_slow(c, seg, linear, size);
	switch (size) {
	case 1: return *(const volatile uint8_t *)host;
	case 2: return *(const volatile uint16_t *)host;
	case 4: return *(const volatile uint32_t *)host;
	default: return *(const volatile uint64_t *)host;
	}
}

static inline __attribute__((always_inline)) void mmu_store(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, uint64_t v)
{
	void *host = TLB_HIT(c, linear, size, write);

	if (__builtin_expect(!host, 0)) {
		mmu_store_slow(c, seg, linear, size, v);
		return;
	}
	switch (size) {
	case 1: *(volatile uint8_t *)host = (uint8_t)v; break;
	case 2: *(volatile uint16_t *)host = (uint16_t)v; break;
	case 4: *(volatile uint32_t *)host = (uint32_t)v; break;
	default: *(volatile uint64_t *)host = v; break;
	}
	mmu_after_store(c, host, size);
}

/*
 * Any size up to 4096 bytes, crossing at most one page boundary; both pages are checked (and a
 * store's made writable) before anything is read or written. MMIO is split into parts of 8.
 */
void mmu_load_bytes(struct cpu *c, unsigned seg, uint64_t linear, void *buf, unsigned size);
void mmu_store_bytes(struct cpu *c, unsigned seg, uint64_t linear, const void *buf, unsigned size);
/* Raises what a store (or load) of @size bytes would raise; changes nothing but A/D bits. */
void mmu_probe(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, enum mmu_access access);

/*
 * Host pointer for an atomic read-modify-write of @size bytes that does not cross a page, writable
 * and faulted in; NULL for MMIO or a page-crossing operand (then the caller takes soft_world_stop and does
 * load + store). After the operation the caller calls mmu_after_store.
 */
void *mmu_atomic(struct cpu *c, unsigned seg, uint64_t linear, unsigned size);

/* Host pointers for bulk string operations: how many bytes from @linear to the end of its page (or, with
 * @backward, down to its start, inclusive of @size bytes at @linear) may be touched directly; 0 when
 * they may not (MMIO, crossing). Raises faults of the first element. */
uint8_t *mmu_run(struct cpu *c, unsigned seg, uint64_t linear, enum mmu_access access, unsigned *bytes);

/* Supervisor accesses that the CPU makes by itself, whatever the CPL: descriptor tables, TSS, IDT,
 * stacks of more privileged levels (SDM vol. 3, 4.6.1 "implicit supervisor-mode accesses"). */
uint64_t mmu_load_sys(struct cpu *c, uint64_t linear, unsigned size);
void mmu_store_sys(struct cpu *c, uint64_t linear, unsigned size, uint64_t value);
/* Host pointer for an atomic change of a descriptor (accessed, busy bits); NULL as for mmu_atomic. */
void *mmu_atomic_sys(struct cpu *c, uint64_t linear, unsigned size);

/*
 * The bytes of code at @linear in the present mode: host pointer, number of bytes to the page's end in
 * @avail, RAM frame number in @frame. Raises #PF. Outside RAM the bytes are read as from any device, so
 * where there is none they are what the bus gives (all ones): @frame is MMU_NO_FRAME then, and @avail at most 16.
 * May leave the engine for them, and is then called again.
 */
#define MMU_NO_FRAME (~0ull)
const uint8_t *mmu_fetch(struct cpu *c, uint64_t linear, unsigned *avail, uint64_t *frame);
/* What kind of page @linear lies in, which has just been fetched from: PAGE_*. */
enum { PAGE_GLOBAL = 1, PAGE_LARGE = 2 /* or not known */ };
unsigned mmu_page_kind(const struct cpu *c, uint64_t linear);

/* For debuggers: walk without side effects. -EFAULT when not mapped. */
int mmu_translate(struct cpu *c, uint64_t linear, uint64_t *gpa);

/* --- effective addresses --- */

/* Offset part: base + index * scale + disp, cut to the address size. */
static inline __attribute__((always_inline)) uint64_t insn_ea(const struct cpu *c, const struct insn *in)
{
	uint64_t ea = c->gpr[in->base] + (c->gpr[in->index] << in->scale) + (uint64_t)(int64_t)in->disp;

	if (__builtin_expect(in->addrsize != 8, 0))
		ea = in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
	return ea;
}

/* Outside 64-bit mode: limit, type and null checks of SDM vol. 3, 5.3-5.5; raises; adds the base. */
uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t ea, unsigned size, enum mmu_access access);

static inline __attribute__((always_inline)) uint64_t linear(struct cpu *c, unsigned seg, uint64_t ea, unsigned size, enum mmu_access access)
{
	if (__builtin_expect(c->flat, 1))
		return ea + c->segbase[seg];
	return seg_linear(c, seg, ea, size, access);
}

/* Linear address of the memory operand of @in. */
static inline __attribute__((always_inline)) uint64_t insn_linear(struct cpu *c, const struct insn *in, unsigned size, enum mmu_access access)
{
	uint64_t ea = in->flags & INSN_MOFFS ? in->imm : insn_ea(c, in);

	return linear(c, in->seg, ea, size, access);
}

/*
 * Linear address of a part of the memory operand of @in, @at bytes from its start, for instructions that read theirs
 * in parts: the offset of each wraps at the address size, and each is checked alone.
 */
static inline uint64_t insn_linear_part(struct cpu *c, const struct insn *in, unsigned at, unsigned size, enum mmu_access access)
{
	uint64_t ea = insn_ea(c, in) + at;

	return linear(c, in->seg, in->addrsize == 8 ? ea : in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea, size, access);
}

#endif
