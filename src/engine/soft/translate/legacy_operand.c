// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory operands in segments that are not flat (legacy.h; SDM vol. 3, 5.3):
 *
 *	lea  T0, [ea]			; cut to the address size
 *	lea  T1, [T0 + size - 1]
 *	cmp  T1, t.seg_room
 *	jae  one			; the interpreter knows what is wrong, or that it is not
 *	add  T0 (32 bits), segbase
 *	...				; T0 and its slot, as in operand.c
 *
 * While flags are live they are in RAX, and RAX in T1: then T0 does both, and the linear address waits in t.scratch[1].
 */
#include "engine/soft/translate/legacy_emit.h"

static struct host_mem room_field(unsigned seg)
{
	return host_cpu(offsetof(struct cpu, t.seg_room) + 8 * (size_t)seg);
}

static struct host_mem base_field(unsigned seg)
{
	return host_cpu(offsetof(struct cpu, segbase) + 8 * (size_t)seg);
}

/* What is left to the interpreter. */
static void one(struct emit *e, uint8_t *rel, bool saved)
{
	struct stub *s = emit_stub(e, rel, EXIT_ONE);

	s->flags_in_rax = s->flags_saved = saved;
}

/* T0, an offset, becomes a linear address. Without @saved T1 is free. */
static void offset_to_linear(struct emit *e, unsigned seg, unsigned size, bool saved)
{
	struct code *c = &e->c;
	unsigned t = saved || size == 1 ? T0 : T1;

	if (size > 1)
		asm_lea(c, 8, t, host_at(T0, (int32_t)size - 1));
	asm_alu_rm(c, ALU_CMP, 8, t, room_field(seg));
	one(e, asm_jcc(c, 3), saved);
	asm_alu_rm(c, ALU_ADD, 4, T0, base_field(seg));
	if (saved && size > 1)
		asm_lea(c, 4, T0, host_at(T0, 1 - (int32_t)size));
}

struct host_mem emit_checked(struct emit *e, const struct insn *in, unsigned seg, unsigned size, bool store, address_fn *address, int32_t by)
{
	bool saved = e->ti->live_in != 0;
	struct code *c = &e->c;
	uint8_t *retry = c->p;
	unsigned n = e->slots++;
	struct stub *s;

	if (seg == SEG_CS && store && !e->cpu->real)
		one(e, asm_jmp(c), false);
	address(e, in, by);
	if (!saved) {
		offset_to_linear(e, seg, size, false);
		emit_slot_check(e, n, retry, size, store ? SITE_STORE : 0);
		emit_slot_addend(e, n, true);
		return host_indexed(T0, T1, 0, 0);
	}
	emit_flags_to_rax(e);
	offset_to_linear(e, seg, size, true);
	asm_store(c, 8, HOST_CPU(t.scratch[1]), T0);
	s = emit_slot_check(e, n, retry, size, (store ? SITE_STORE : 0) | SITE_PLAIN | SITE_SAVED | SITE_SLOT);
	emit_flags_from_rax(e);
	s->back = c->p;
	asm_load(c, 8, T0, HOST_CPU(t.scratch[1]));
	emit_slot_addend(e, n, false);
	return host_indexed(T0, T1, 0, 0);
}

bool in_checked_segment(const struct emit *e, const struct insn *in)
{
	return in->flags & INSN_LEGACY && e->t->checked >> in->seg & 1;
}

static void operand_address(struct emit *e, const struct insn *in, int32_t by)
{
	(void)by;
	emit_ea(e, in, T0);
}

struct host_mem emit_checked_operand(struct emit *e, const struct insn *in, unsigned size, bool store)
{
	return emit_checked(e, in, in->seg, size, store, operand_address, 0);
}
