// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sites that miss their slots often: loads through pointers to everywhere. Filling a slot costs more than a look into the TLB, so the
 * branch that is taken on a miss is made to lead to code that looks there, and leaves the slot alone:
 *
 *	add  T0, slot.base		; (SITE_PLAIN) the linear address again
 *	entry T1 = tlb + hash(T0)
 *	xor  T0, entry.tag
 *	cmp  T0, 4096 - size
 *	ja   miss			; fills the TLB, or leaves to the interpreter
 *	cmp  slot.last, T1		; twice in a row: the slot is filled (entry.c)
 *	je   fill
 *	mov  slot.last, T1
 *	mov  T1, entry.host		; T0 is the offset in the page: [T0 + T1]
 *	jmp  resume
 *
 * or T1 = entry.addend where the operand is [base + T1 + disp]. Where the operand looks for it in the slot (SITE_SLOT) the addend is put there,
 * and the slot is empty until it is filled. What a hit proves is said in entry.c. slot.last is a guess at what comes next, no more.
 *
 * How often: C is asked after SITE_MISSES misses more to elsewhere than to a neighbour. A site that takes longer than HOT_CYCLES from one to the next is not
 * worth the room.
 */
#include "engine/soft/translate/emit.h"

#include "engine/soft/mmu/mmu.h"

enum { HOT_CYCLES = 4000, HOT_BYTES = 256 };

static struct host_mem slot_field(uint32_t n, size_t field)
{
	return host_cpu(offsetof(struct cpu, slot) + (size_t)n * sizeof(struct slot) + field);
}

static struct host_mem tag(unsigned entry, bool store)
{
	return host_at(entry, store ? offsetof(struct tlb_entry, store) : offsetof(struct tlb_entry, read));
}

static void emit_hot(struct translator *tr, struct code *c, uint32_t n)
{
	const struct slot_site *s = &tr->sites[n];
	bool store = s->flags & SITE_STORE, plain = s->flags & SITE_PLAIN;
	uint8_t *miss, *again;

	if (s->flags & SITE_SAVED)
		emit_flags_home(c);
	if (plain)
		asm_alu_rm(c, ALU_ADD, 8, T0, slot_field(n, offsetof(struct slot, base)));
	emit_tlb_lookup(c, T0, T1, store);
	asm_alu_ri(c, ALU_CMP, 8, T0, (int32_t)s->room);
	miss = asm_jcc(c, 7);
	asm_alu_rm(c, ALU_CMP, 4, T1, slot_field(n, offsetof(struct slot, last)));
	again = asm_jcc(c, 4);
	asm_store(c, 4, slot_field(n, offsetof(struct slot, last)), T1);
	asm_load(c, 8, T1, host_at(T1, plain ? offsetof(struct tlb_entry, addend) : offsetof(struct tlb_entry, host)));
	if (s->flags & SITE_SLOT) {
		asm_store_imm(c, 8, slot_field(n, offsetof(struct slot, limit)), 0);
		asm_store(c, 8, slot_field(n, offsetof(struct slot, addend)), T1);
	}
	asm_link(asm_jmp(c), tr->rw + s->resume);
	asm_link(again, c->p);
	asm_alu_rm(c, ALU_XOR, 8, T0, tag(T1, store));
	asm_mov_imm(c, T1, n);
	asm_link(asm_jmp(c), tr->rw + tr->fill[store][0]);
	asm_link(miss, c->p);
	asm_alu_rm(c, ALU_XOR, 8, T0, tag(T1, store));
	asm_mov_imm(c, T1, n);
	asm_link(asm_jmp(c), tr->rw + tr->hot_miss);
}

/* The 4 bytes at @site lie within 8 aligned ones; others may be running the branch (cache.c). */
static void exchange(struct translator *tr, uint32_t site, uint32_t to)
{
	uint64_t *at = (uint64_t *)(void *)(tr->rw + (site & ~7u)), mask = 0xffffffffull << (site & 7) * 8;

	__atomic_store_n(at, (*at & ~mask) | (uint64_t)(to - (site + 4)) << (site & 7) * 8 % 64, __ATOMIC_SEQ_CST);
}

static void convert(struct translator *tr, uint32_t n)
{
	struct slot_site *s = &tr->sites[n];
	uint32_t at = (tr->used + 15) & ~15u;
	struct code c;

	if (!s->jump || (s->flags & SITE_HOT) || tr->size - tr->used < HOT_BYTES + 16 || (s->jump & 7) > 4)
		return;
	c = (struct code){ .p = tr->rw + at, .end = tr->rw + at + HOT_BYTES, .to_rx = tr->rx - tr->rw };
	emit_hot(tr, &c, n);
	if (c.full)
		return;
	tr->used = ((uint32_t)(c.p - tr->rw) + 15) & ~15u;
	s->flags |= SITE_HOT;
	exchange(tr, s->jump, at);
}

void site_is_hot(struct cpu *c, uint32_t n)
{
	struct translator *tr = c->t.tr;
	struct slot_site *s = &tr->sites[n];
	uint64_t now = host_tsc();

	if (now - s->since < (uint64_t)SITE_MISSES * HOT_CYCLES) {
		pthread_mutex_lock(&tr->lock);
		convert(tr, n);
		pthread_mutex_unlock(&tr->lock);
	}
	s->since = now;
	s->left = s->flags & SITE_HOT ? INT32_MAX : SITE_MISSES; /* a hot one's slot is filled for good reason */
}
