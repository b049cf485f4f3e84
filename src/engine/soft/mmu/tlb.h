// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to mmu/: the TLBs of one vCPU. */
#ifndef SUBRING_ENGINE_SOFT_TLB_H
#define SUBRING_ENGINE_SOFT_TLB_H

#include "engine/soft/mmu/mmu.h"

enum { LARGE_BITS = 4096 };

struct tlb_view {
	struct tlb tlb;
	uint64_t valid[TLB_ENTRIES / 64];  /* entry i may be something */
	uint64_t global[TLB_ENTRIES / 64]; /* entry i is a global page */
	uint64_t large[TLB_ENTRIES / 64];  /* entry i is part of a page larger than 4 KiB */
	uint64_t stores[TLB_ENTRIES / 64]; /* entry i may have a `store` tag */
	uint8_t key[TLB_ENTRIES];	   /* 0, or 1 + walk.key: its rights depend on that protection key */
	uint32_t keys;			   /* bit n: key n may be among them */
	uint64_t large_at;		   /* where those were since the view was emptied: large_bit */
	bool used, any_global;
};

struct tlb_space {
	struct tlb_view view[VIEW_COUNT];
	unsigned pcid;
	bool valid;
	uint64_t last_used;
};

struct tlb_set {
	struct tlb_space space[TLB_SPACES];
	struct tlb_space *now; /* of the present PCID */
	enum mmu_view view;    /* of the present mode */
	uint64_t clock;
	bool global_low;       /* there may be global pages in the lower half of the linear addresses */
	/* For INVLPG, which would else look at each view: bit n: view n % VIEW_COUNT of space n / VIEW_COUNT may have something in this entry. */
	uint32_t in_views[TLB_ENTRIES];
	uint64_t large_at[LARGE_BITS / 64]; /* large_hash of what had parts of large pages in some view since all was flushed */
	struct tlb none;
};

_Static_assert(TLB_SPACES * VIEW_COUNT <= 32, "a bit for each view in tlb_set.in_views");

/* memset that leaves the vector registers alone: the guest's may be in them (translate/call.c). */
static inline void tlb_set_bytes(void *p, unsigned value, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(value) : "memory");
}

static inline bool tlb_bit(const uint64_t *bits, unsigned i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static inline void tlb_bit_set(uint64_t *bits, unsigned i)
{
	bits[i / 64] |= 1ull << (i % 64);
}

/* All of an entry is gone. */
static inline void tlb_entry_clear(struct tlb_view *v, unsigned i)
{
	uint64_t none = tlb_none(i), keep = ~(1ull << (i % 64));

	v->tlb.entry[i] = (struct tlb_entry){ .read = none, .write = none, .exec = none, .store = none };
	v->valid[i / 64] &= keep;
	v->global[i / 64] &= keep;
	v->large[i / 64] &= keep;
	v->stores[i / 64] &= keep;
}

enum { TLB_LARGE_SHIFT = 30 /* the largest page there is */ };

static inline unsigned large_hash(uint64_t linear)
{
	return (unsigned)((linear >> TLB_LARGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 32) & (LARGE_BITS - 1);
}

/* A bit for the GiB of @linear: whether there may be parts of large pages. */
static inline uint64_t large_bit(uint64_t linear)
{
	return 1ull << ((linear >> TLB_LARGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 58);
}

/* The bit of @v, which is not `none`, in tlb_set.in_views. */
static inline uint32_t tlb_view_bit(const struct tlb_set *s, const struct tlb_view *v)
{
	uintptr_t at = (uintptr_t)v - (uintptr_t)s->space;

	return 1u << (at / sizeof(struct tlb_space) * VIEW_COUNT + at % sizeof(struct tlb_space) / sizeof(struct tlb_view));
}

static inline unsigned tlb_index(uint64_t linear)
{
	return linear >> FRAME_SHIFT & (TLB_ENTRIES - 1);
}

#endif
