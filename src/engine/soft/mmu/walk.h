// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to mmu/: the page walk. */
#ifndef SUBRING_ENGINE_SOFT_WALK_H
#define SUBRING_ENGINE_SOFT_WALK_H

#include "engine/soft/mmu/mmu.h"

/* Error code bits of #PF (SDM vol. 3, 4.7) */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

/* What a walk found: the 4 KiB part of the page that holds the address, and what may be done with it. */
struct walk {
	uint64_t gpa;	  /* of the 4 KiB part */
	unsigned shift;	  /* log2 of the guest's page size */
	bool user;	  /* U/S is 1 at every level */
	bool writable;	  /* R/W is 1 at every level */
	bool noexec;
	bool global;
	bool dirty;	  /* the leaf's D is set */
	uint8_t key;	  /* protection key; bit 4: of a supervisor page, so PKRS's, else PKRU's */
	bool keyed;	  /* the key counts: CR4.PKE or CR4.PKS is set for such a page */
};

/* Who asks. */
enum walk_as { WALK_USER, WALK_KERNEL /* SMAP applies if on */, WALK_KERNEL_AC };

/*
 * Translates @linear for @access as @as, setting A and D. 0, or -1 with the error code of the #PF
 * in @error. With @peek nothing is changed and permissions are not looked at.
 */
int mmu_walk(struct cpu *c, uint64_t linear, enum mmu_access access, enum walk_as as, bool peek, struct walk *w,
	     uint32_t *error);

/*
 * The same without @peek; it gives up (nonzero) where the other would wait for vCPUs, end the run, or copy a frame; and unless @sure,
 * where a dirty flag would have to be set.
 */
int mmu_walk_try(struct cpu *c, uint64_t linear, enum mmu_access access, enum walk_as as, bool sure, struct walk *w);

/* RAM behind @gpa: its slot, or NULL; frame number in @frame. */
static inline const struct ram_slot *mmu_slot(struct cpu *c, uint64_t gpa, uint64_t *frame);

#include "engine/soft/soft.h"

static inline const struct ram_slot *mmu_slot(struct cpu *c, uint64_t gpa, uint64_t *frame)
{
	const struct ram_slot *s = ram_find_slot(c->vm->ram, gpa);

	if (s)
		*frame = (s->offset + (gpa - s->gpa)) >> FRAME_SHIFT;
	return s;
}

#define ADDR_PAGE (((1ull << CPU_PHYS_BITS) - 1) & ~0xfffull)

/* xAPIC mode, enabled (SDM vol. 3, 11.4.3). */
static inline bool is_lapic(const struct cpu *c, uint64_t gpa)
{
	return (c->apic_base & 0xc00) == 0x800 && (gpa & ~0xfffull) == (c->apic_base & ADDR_PAGE);
}

/* --- fill.c --- */
struct tlb_view;

struct page {
	uint8_t *host; /* of the very byte; NULL: not memory */
	uint64_t gpa;  /* of the very byte; only if host is NULL */
};

/*
 * What a walk found becomes @p, and an entry of @v where it may. False: there is no memory for the frame, or (@try) the frame is not
 * private yet.
 */
bool mmu_page_enter(struct cpu *c, struct tlb_view *v, uint64_t linear, const struct walk *w, enum mmu_access access, bool try,
		    struct page *p);

#endif
