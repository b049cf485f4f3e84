// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * REP MOVS and REP STOS (SDM vol. 2), and bit tests whose bit is named by a register (vol. 2, 3.1.1.9).
 *
 * A repeated instruction runs as the host's own, with host addresses in RSI and RDI, upwards: as many elements at a time as lie in what one
 * slot shows of the source and one of the destination, at most 64 KiB. Between two such parts requests are looked for; the
 * registers are what they are between two elements then. Whatever else there is the interpreter's handler does (interp/string.c),
 * with RIP left at the instruction.
 */
#include "engine/soft/translate/legacy_emit.h"

static struct host_mem slot_field(const struct emit *e, unsigned n, size_t field)
{
	return host_cpu(offsetof(struct cpu, slot) + (size_t)(e->first_slot + n) * sizeof(struct slot) + field);
}

static void shift_imm(struct code *c, unsigned op, unsigned r, unsigned by)
{
	asm_rr(c, 8, 0xc1, op, r);
	asm_byte(c, by);
}

/* --- REP MOVS, REP STOS --- */

/* What cannot be done at once: the handler has it. */
static void other_way(struct emit *e, const struct insn *in, uint8_t *rel, bool kept)
{
	emit_call_stub(e, in, rel)->flags_saved = kept;
}

/* T1 = as many elements as slot @n shows at @r; the code at @again makes all addresses anew. */
static void elements_there(struct emit *e, const struct insn *in, unsigned n, unsigned r, bool store, bool kept, uint8_t *again)
{
	struct code *c = &e->c;

	asm_mov(c, 8, T0, r);
	asm_alu_rm(c, ALU_SUB, 8, T0, slot_field(e, n, offsetof(struct slot, base)));
	asm_load(c, 8, T1, slot_field(e, n, offsetof(struct slot, limit)));
	asm_alu_rr(c, ALU_CMP, 8, T0, T1);
	emit_slot_miss(e, n, asm_jcc(c, 3), again, 1, SITE_PLAIN | (store ? SITE_STORE : 0) | (kept ? SITE_SAVED : 0));
	asm_alu_rr(c, ALU_SUB, 8, T1, T0); /* the bytes from there on: of an access of one byte the limit is the length */
	if (in->opsize > 1)
		shift_imm(c, 5, T1, (unsigned)__builtin_ctz(in->opsize));
}

/* Outside 64-bit mode: RCX, RSI, RDI as 32-bit addresses are. */
static void cut_registers(struct emit *e, const struct insn *in)
{
	if (!(in->flags & INSN_LEGACY))
		return;
	asm_mov(&e->c, 4, RCX, RCX);
	asm_mov(&e->c, 4, RSI, RSI);
	asm_mov(&e->c, 4, RDI, RDI);
}

static bool in_flat_segments(const struct emit *e, const struct insn *in)
{
	return !(in->flags & INSN_LEGACY) ||
	       !(e->t->checked & (1 << SEG_ES | (in->id == INSN_ID_STOS ? 0 : 1 << in->seg)));
}

static void emit_rep_string(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	bool kept = e->ti->live_in != 0, moves = in->id == INSN_ID_MOVS;
	unsigned src = 0, dst;
	uint8_t *again, *none;

	if (!in_flat_segments(e, in)) {
		emit_call_handler(e, in);
		return;
	}
	if (kept)
		emit_flags_save(e);
	asm_rm(c, 4, 0xf7, 0, HOST_CPU(sysflags)); /* TEST */
	asm_u32(c, RF_DF);
	other_way(e, in, asm_jcc(c, 5), kept);
	again = c->p;
	cut_registers(e, in);
	asm_rr(c, 8, 0x85, RCX, RCX); /* TEST */
	none = asm_jcc(c, 4);
	asm_alu_mi(c, ALU_CMP, 4, HOST_CPU(req), 0);
	emit_stub(e, asm_jcc(c, 5), EXIT_POLL)->flags_saved = kept;
	if (moves) {
		src = e->slots++;
		elements_there(e, in, src, RSI, false, kept, again);
		asm_alu_rr(c, ALU_CMP, 8, T1, RCX);
		asm_rr(c, 8, 0x0f47, T1, RCX); /* CMOVA */
		asm_store(c, 8, HOST_CPU(t.scratch[0]), T1);
	}
	dst = e->slots++;
	elements_there(e, in, dst, RDI, true, kept, again);
	if (moves) {
		asm_alu_rm(c, ALU_CMP, 8, T1, HOST_CPU(t.scratch[0]));
		asm_rm(c, 8, 0x0f47, T1, HOST_CPU(t.scratch[0]));
	} else {
		asm_alu_rr(c, ALU_CMP, 8, T1, RCX);
		asm_rr(c, 8, 0x0f47, T1, RCX);
	}
	if (in->opsize > 1) { /* one that crosses into the next page */
		asm_rr(c, 8, 0x85, T1, T1);
		other_way(e, in, asm_jcc(c, 4), kept);
	}
	asm_mov(c, 8, T0, RCX);
	asm_alu_rr(c, ALU_SUB, 8, T0, T1);
	asm_store(c, 8, HOST_CPU(t.scratch[0]), T0);
	asm_mov(c, 8, RCX, T1);
	asm_load(c, 8, T1, slot_field(e, dst, offsetof(struct slot, addend)));
	asm_alu_rr(c, ALU_ADD, 8, RDI, T1);
	if (moves) {
		asm_load(c, 8, T0, slot_field(e, src, offsetof(struct slot, addend)));
		asm_alu_rr(c, ALU_ADD, 8, RSI, T0);
	}
	asm_byte(c, 0xf3);
	if (in->opsize == 2)
		asm_byte(c, 0x66);
	if (in->opsize == 8)
		asm_byte(c, 0x48);
	asm_byte(c, (moves ? 0xa4 : 0xaa) | (in->opsize > 1));
	if (moves)
		asm_alu_rr(c, ALU_SUB, 8, RSI, T0);
	asm_alu_rr(c, ALU_SUB, 8, RDI, T1);
	asm_load(c, 8, RCX, HOST_CPU(t.scratch[0]));
	asm_rr(c, 8, 0x85, RCX, RCX);
	asm_link(asm_jcc(c, 5), again);
	asm_link(none, c->p);
	if (kept)
		emit_flags_restore(e);
}

/* --- BT BTS BTR BTC m, r --- */

static void bit_index(struct emit *e, const struct insn *in, unsigned t)
{
	unsigned r = emit_gpr(e, in->reg, t);

	if (in->opsize == 8) {
		if (r != t)
			asm_mov(&e->c, 8, t, r);
	} else {
		asm_rr(&e->c, 8, in->opsize == 4 ? 0x63 : 0x0fbf, t, r); /* MOVSXD, MOVSX */
	}
}

static void emit_bit_string(struct emit *e, const struct insn *in)
{
	static const uint8_t opcode[] = { 0xa3, 0xab, 0xb3, 0xbb };
	unsigned which = in->id == INSN_ID_BT ? 0 : in->id == INSN_ID_BTS ? 1 : in->id == INSN_ID_BTR ? 2 : 3;
	unsigned n = e->slots++, log = (unsigned)__builtin_ctz(in->opsize);
	bool kept = e->ti->live_in != 0;
	struct code *c = &e->c;
	uint8_t *retry;

	if (in_checked_segment(e, in)) {
		emit_call_handler(e, in);
		return;
	}
	if (kept)
		emit_flags_save(e);
	retry = c->p;
	emit_linear(e, in);
	bit_index(e, in, T1);
	shift_imm(c, 7, T1, 3 + log); /* SAR */
	asm_lea(c, in->flags & INSN_LEGACY ? 4 : 8, T0, host_indexed(T0, T1, log, 0));
	asm_mov(c, 8, T1, T0);
	asm_alu_rm(c, ALU_SUB, 8, T1, slot_field(e, n, offsetof(struct slot, base)));
	asm_alu_rm(c, ALU_CMP, 8, T1, slot_field(e, n, offsetof(struct slot, limit)));
	emit_slot_miss(e, n, asm_jcc(c, 3), retry, in->opsize, (which ? SITE_STORE : 0) | (kept ? SITE_SAVED : 0));
	asm_alu_rm(c, ALU_ADD, 8, T0, slot_field(e, n, offsetof(struct slot, addend)));
	bit_index(e, in, T1);
	asm_alu_ri(c, ALU_AND, 4, T1, in->opsize * 8 - 1);
	if (kept)
		emit_flags_restore(e);
	if (in->flags & INSN_LOCK)
		asm_byte(c, 0xf0);
	asm_rm(c, in->opsize, 0x0f00 | opcode[which], T1, host_at(T0, 0));
}

static bool widest_address(const struct insn *in)
{
	return in->addrsize == (in->flags & INSN_LEGACY ? 4 : 8);
}

emit_fn *string_emitter(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_MOVS:
	case INSN_ID_STOS:
		/* F2 repeats, too */
		return in->flags & (INSN_REP | INSN_REPNE) && widest_address(in) && in->seg != SEG_FS && in->seg != SEG_GS ?
			       emit_rep_string : string_once_emitter(in);
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC:
		return in->flags & INSN_MEM && widest_address(in) && opcode_table[in->row].opnd[1].kind == OPND_G ?
			       emit_bit_string : NULL;
	default: return string_once_emitter(in);
	}
}
