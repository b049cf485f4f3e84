// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The page walk: SDM vol. 3, 4.3 (32-bit paging), 4.4 (PAE), 4.5 (4-level and 5-level), 4.6 (access
 * rights, protection keys), 4.7 (error codes), 4.8 (accessed and dirty flags).
 *
 * All formats are one loop over levels; they differ in the width of an entry, the number of
 * index bits and the reserved bits. PAE paging begins at one of the four PDPTEs in c->pdpte, which
 * are read and checked when CR3 is loaded and not again (4.4.1). Accessed and dirty flags are set with a compare-and-swap on
 * the entry that was read; when somebody else changed it meanwhile the walk starts again. After two tries the
 * other vCPUs are made to stand still for it, so that none can keep this one from ever finishing.
 * Page tables in MMIO are not supported: such an entry reads as not present.
 */
#include "engine/soft/mmu/walk.h"

enum {
	PTE_P = 1 << 0,
	PTE_W = 1 << 1,
	PTE_U = 1 << 2,
	PTE_A = 1 << 5,
	PTE_D = 1 << 6,
	PTE_PS = 1 << 7,
	PTE_G = 1 << 8,
};
#define PTE_NX (1ull << 63)
#define ADDR_MASK (((1ull << CPU_PHYS_BITS) - 1) & ~0xfffull)
#define HIGH_RESERVED (((1ull << 52) - 1) & ~((1ull << CPU_PHYS_BITS) - 1))

/* What a walk comes to, besides 0 and -1 */
enum { WALK_AGAIN = 1, WALK_NO_MEMORY = 2 };
enum { WALK_TRIES = 2 };
enum walk_try { TRY_NOT, TRY_SURE, TRY_UNSURE }; /* mmu_walk_try */

struct level {
	uint64_t gpa, entry; /* where the entry is, and its value */
};

/* An entry in RAM; absent memory reads as 0, so as a not-present entry. */
static uint64_t entry_read(struct cpu *c, uint64_t gpa, unsigned size)
{
	uint64_t frame;
	const uint8_t *p;

	if (!mmu_slot(c, gpa, &frame))
		return 0;
	p = ram_frame_bytes(c->vm->ram, frame) + (gpa & (FRAME_SIZE - 1));
	return size == 8 ? *(const volatile uint64_t *)p : *(const volatile uint32_t *)p;
}

/* Sets @bits in an entry that still is @old: 0, or WALK_AGAIN when it is not, or WALK_NO_MEMORY. */
static int entry_set(struct cpu *c, uint64_t gpa, unsigned size, uint64_t old, uint64_t bits, bool try)
{
	uint64_t frame;
	const struct ram_slot *slot = mmu_slot(c, gpa, &frame);
	uint8_t *p;
	bool done;

	if (!slot || slot->readonly)
		return 0; /* ROM: the flags cannot be set, and nobody can tell */
	if (try && (!ram_frame_private(c->vm->ram, frame) || (atomic_load(&c->frame[frame]) & FRAME_CODE)))
		return WALK_AGAIN;
	if (!try && ram_make_writable(c->vm->ram, frame))
		return WALK_NO_MEMORY;
	p = c->ram_host + (frame << FRAME_SHIFT) + (gpa & (FRAME_SIZE - 1));
	if (size == 8) {
		done = __sync_bool_compare_and_swap((uint64_t *)p, old, old | bits);
	} else {
		done = __sync_bool_compare_and_swap((uint32_t *)p, (uint32_t)old, (uint32_t)(old | bits));
	}
	if (done) {
		if (!(atomic_load_explicit(&c->frame[frame], memory_order_relaxed) & FRAME_DIRTY))
			atomic_fetch_or(&c->frame[frame], FRAME_DIRTY);
		mmu_after_store(c, p, size);
	}
	return done ? 0 : WALK_AGAIN;
}

/* Bits that must be 0 in an entry at level @depth below which @left levels follow. */
static uint64_t reserved_bits(const struct cpu *c, unsigned left, bool leaf, unsigned size, unsigned shift)
{
	uint64_t r;

	if (size == 4) {
		/* 32-bit paging: a 4 MiB page with PSE-36 keeps bit 21 reserved */
		return leaf && left ? cpu_model_has(c->vm->model, FEAT_PSE36) ? 1u << 21 : 0x3fe000u : 0;
	}
	r = HIGH_RESERVED;
	if (!(c->efer & EFER_NX))
		r |= PTE_NX;
	if (!cpu_long_mode(c))
		r |= 0x7ff0000000000000ull;
	if (leaf && left)
		r |= ((1ull << shift) - 1) & ~0x1fffull; /* bits between PAT (12) and the page address */
	if (!leaf && left >= 2) /* PML4E, PML5E; a PDPTE on a CPU without 1 GiB pages */
		r |= PTE_PS;
	return r;
}

/* 4.6.2: data accesses only; WD stops a supervisor only where CR0.WP does. */
static bool key_denies(const struct cpu *c, const struct walk *w, enum mmu_access access, enum walk_as as)
{
	unsigned rights;

	if (!w->keyed || access == MMU_EXEC)
		return false;
	rights = (w->key & 16 ? c->pkrs : c->pkru) >> (w->key & 15) * 2;
	if (rights & 1)
		return true;
	return (rights & 2) && access == MMU_WRITE && (as == WALK_USER || (c->cr0 & CR0_WP));
}

static bool allowed(const struct cpu *c, const struct walk *w, enum mmu_access access, enum walk_as as)
{
	bool user = as == WALK_USER;

	if (user && !w->user)
		return false;
	if (access == MMU_EXEC) {
		if (w->noexec)
			return false;
		return user || !w->user || !(c->cr4 & CR4_SMEP);
	}
	if (!user && w->user && as == WALK_KERNEL && (c->cr4 & CR4_SMAP))
		return false;
	if (access == MMU_WRITE && !w->writable)
		return !user && !(c->cr0 & CR0_WP);
	return true;
}

bool mmu_pdptes_read(struct cpu *c, uint64_t cr3, uint64_t pdpte[4])
{
	for (unsigned i = 0; i < 4; i++)
		pdpte[i] = entry_read(c, (cr3 & 0xffffffe0u) + i * 8, 8);
	return mmu_pdptes_valid(pdpte);
}

bool mmu_pdptes_valid(const uint64_t pdpte[4])
{
	const uint64_t reserved = ~((1ull << CPU_PHYS_BITS) - 1) | 0x1e6; /* table 4-8: bits 1, 2, 5-8 and from M up */

	for (unsigned i = 0; i < 4; i++)
		if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved))
			return false;
	return true;
}

static int walk_once(struct cpu *c, uint64_t linear, enum mmu_access access, enum walk_as as, bool peek, enum walk_try try, struct walk *w,
		     uint32_t *error)
{
	bool lm = cpu_long_mode(c), pae = (c->cr4 & CR4_PAE) != 0;
	unsigned size = pae ? 8 : 4, bits = pae ? 9 : 10, mask = (1u << bits) - 1;
	unsigned levels = lm ? c->cr4 & CR4_LA57 ? 5 : 4 : 2;
	struct level level[5];
	uint32_t code = 0;
	uint64_t root;

	if (!cpu_paging(c)) {
		*w = (struct walk){ .gpa = linear & ~0xfffull, .shift = 32, .user = true, .writable = true, .dirty = true };
		return 0;
	}
	if (access == MMU_WRITE)
		code |= PF_W;
	if (as == WALK_USER)
		code |= PF_U;
	if (access == MMU_EXEC && ((pae && (c->efer & EFER_NX)) || (c->cr4 & CR4_SMEP)))
		code |= PF_I;

	root = lm ? c->cr3 & ADDR_MASK : c->cr3 & 0xfffff000u;
	if (pae && !lm) {
		root = c->pdpte[linear >> 30 & 3];
		if (!(root & PTE_P)) {
			*error = code;
			return -1;
		}
		root &= ADDR_MASK;
	}

	uint64_t table = root;
	unsigned n = 0, shift = FRAME_SHIFT;

	*w = (struct walk){ .user = true, .writable = true };
	for (unsigned left = levels - 1;; left--) {
		uint64_t e;
		bool leaf;

		shift = FRAME_SHIFT + left * bits;
		level[n].gpa = table + ((linear >> shift) & mask) * size;
		e = level[n].entry = entry_read(c, level[n].gpa, size);
		n++;
		if (!(e & PTE_P)) {
			*error = code;
			return -1;
		}
		leaf = left == 0 || ((e & PTE_PS) && left <= (lm && cpu_model_has(c->vm->model, FEAT_PAGE1G) ? 2u : 1u) && (size == 8 || (c->cr4 & CR4_PSE)));
		if (e & reserved_bits(c, left, leaf, size, shift)) {
			*error = code | PF_P | PF_RSVD;
			return -1;
		}
		w->user &= (e & PTE_U) != 0;
		w->writable &= (e & PTE_W) != 0;
		w->noexec |= size == 8 && (e & PTE_NX);
		if (leaf) {
			uint64_t base = size == 8 ? e & ADDR_MASK : e & 0xfffff000u;

			if (left) {
				base &= ~((1ull << shift) - 1);
				if (size == 4)
					base |= (e >> 13 & 0xff) << 32; /* PSE-36 */
			}
			w->gpa = base | (linear & ((1ull << shift) - 1) & ~0xfffull);
			w->global = (e & PTE_G) && (c->cr4 & CR4_PGE);
			w->dirty = (e & PTE_D) != 0;
			w->key = (uint8_t)((e >> 59 & 15) | (w->user ? 0 : 16));
			w->keyed = lm && (c->cr4 & (w->user ? CR4_PKE : CR4_PKS));
			break;
		}
		table = size == 8 ? e & ADDR_MASK : e & 0xfffff000u;
	}
	w->shift = shift;
	if (peek)
		return 0;
	if (key_denies(c, w, access, as)) {
		*error = code | PF_P | PF_PK;
		return -1;
	}
	if (!allowed(c, w, access, as)) {
		*error = code | PF_P;
		return -1;
	}
	for (unsigned i = 0; i < n; i++) {
		uint64_t want = PTE_A;
		int r;

		if (i == n - 1 && access == MMU_WRITE)
			want |= PTE_D;
		if ((level[i].entry & want) == want)
			continue;
		if (try == TRY_UNSURE && (want & ~level[i].entry & PTE_D))
			return WALK_AGAIN;
		r = entry_set(c, level[i].gpa, size, level[i].entry, want, try);
		if (r)
			return r;
	}
	if (access == MMU_WRITE)
		w->dirty = true;
	return 0;
}

int mmu_walk_try(struct cpu *c, uint64_t linear, enum mmu_access access, enum walk_as as, bool sure, struct walk *w)
{
	uint32_t error;

	return walk_once(c, linear, access, as, false, sure ? TRY_SURE : TRY_UNSURE, w, &error);
}

int mmu_walk(struct cpu *c, uint64_t linear, enum mmu_access access, enum walk_as as, bool peek, struct walk *w,
	     uint32_t *error)
{
	int r = WALK_AGAIN;

	for (unsigned i = 0; i < WALK_TRIES && r == WALK_AGAIN; i++)
		r = walk_once(c, linear, access, as, peek, TRY_NOT, w, error);
	if (r == WALK_AGAIN) {
		soft_world_stop(c);
		do /* now only a device can be in the way, once for each order that a vCPU had given it */
			r = walk_once(c, linear, access, as, peek, TRY_NOT, w, error);
		while (r == WALK_AGAIN);
		soft_world_start(c);
	}
	if (r == WALK_NO_MEMORY)
		cpu_internal(c, "no memory for a copy of a page table");
	return r;
}
