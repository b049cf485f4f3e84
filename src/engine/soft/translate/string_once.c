// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LODS, STOS, MOVS, SCAS and CMPS without a repeat prefix (SDM vol. 2): a load, a store or both at rSI and rDI, which then move on by the
 * element's size. With DF set the interpreter's handler runs them.
 */
#include "engine/soft/translate/legacy_emit.h"

/* The element at @r in segment @seg; as emit_operand. */
static struct host_mem element(struct emit *e, const struct insn *in, unsigned seg, unsigned r, bool store)
{
	return emit_operand_at(e, in, seg, r, in->opsize, store);
}

static struct host_mem source(struct emit *e, const struct insn *in)
{
	return element(e, in, in->seg, RSI, false);
}

static struct host_mem destination(struct emit *e, const struct insn *in, bool store)
{
	return element(e, in, SEG_ES, RDI, store);
}

/* What was taken from the source waits in memory while the destination is looked for. */
static void put_aside(struct emit *e, const struct insn *in)
{
	struct host_mem m = source(e, in);

	asm_load(&e->c, in->opsize, T0, m);
	asm_store(&e->c, 8, HOST_CPU(t.scratch[2]), T0);
}

/* T1 = what was put aside; @m is in T0 then. */
static struct host_mem take_up(struct emit *e, const struct insn *in, struct host_mem m)
{
	asm_lea(&e->c, 8, T0, m);
	asm_load(&e->c, in->opsize, T1, HOST_CPU(t.scratch[2]));
	return host_at(T0, 0);
}

static void move_on(struct emit *e, const struct insn *in, unsigned r)
{
	asm_rm(&e->c, in->addrsize, 0x8d, r, host_at(r, in->opsize)); /* LEA */
}

static void emit_accesses(struct emit *e, const struct insn *in)
{
	unsigned size = in->opsize, wide = size > 1;
	struct code *c = &e->c;
	struct host_mem m;

	switch (in->id) {
	case INSN_ID_LODS:
		m = source(e, in);
		asm_rm(c, size, 0x8a | wide, RAX, m);
		break;
	case INSN_ID_STOS:
		m = destination(e, in, true);
		asm_store(c, size, m, RAX);
		break;
	case INSN_ID_SCAS:
		m = destination(e, in, false);
		asm_rm(c, size, 0x3a | wide, RAX, m);
		break;
	case INSN_ID_MOVS:
		put_aside(e, in);
		m = take_up(e, in, destination(e, in, true));
		asm_store(c, size, m, T1);
		break;
	default: /* CMPS */
		put_aside(e, in);
		m = take_up(e, in, destination(e, in, false));
		asm_rm(c, size, 0x3a | wide, T1, m);
		break;
	}
}

static void emit_string_once(struct emit *e, const struct insn *in)
{
	bool kept = e->ti->live_in != 0;
	struct code *c = &e->c;

	if (kept)
		emit_flags_save(e);
	asm_rm(c, 4, 0xf7, 0, HOST_CPU(sysflags)); /* TEST */
	asm_u32(c, RF_DF);
	emit_call_stub(e, in, asm_jcc(c, 5))->flags_saved = kept;
	if (kept)
		emit_flags_restore(e);
	emit_accesses(e, in);
	if (in->id != INSN_ID_STOS && in->id != INSN_ID_SCAS)
		move_on(e, in, RSI);
	if (in->id != INSN_ID_LODS)
		move_on(e, in, RDI);
}

emit_fn *string_once_emitter(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_LODS:
	case INSN_ID_STOS:
	case INSN_ID_MOVS:
	case INSN_ID_SCAS:
	case INSN_ID_CMPS: return in->flags & (INSN_REP | INSN_REPNE) ? NULL : emit_string_once;
	default: return NULL;
	}
}
