// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SSE, AVX, MMX and x87: their instructions are copied, with their memory operands moved. What is here is the rest: that the guest's
 * registers are loaded and the instructions enabled, and what would show that they run somewhere else.
 *
 *  - A block asks once for what it needs (emit_vector_check); all that can change the answer is interpreted.
 *  - An x87 instruction that is no control instruction leaves its address, opcode and operand in FIP, FOP and FDP (SDM vol. 1, 8.1.8). Each notes
 *    its own, right after it has run, so that the note is true at every way out. FIP and FOP are made of it when they are brought
 *    home (vector_state.c). FDP is the offset in the segment.
 *  - An exception that is not masked is the host's SIGFPE, at the instruction that raises it (SIMD), or at the next one that waits (x87, MMX):
 *    signal.c lets the interpreter run that one again.
 */
#include "engine/soft/translate/legacy_emit.h"

/* --- what there has to be --- */

/* In emit.vector, beside VECTOR_*: t.x87_page is that of the block. */
enum { NOTED_PAGE = 16 };

unsigned insn_vector_needs(const struct insn *in)
{
	uint32_t attr = opcode_table[in->row].attr;

	if (opcode_is_avx512(&opcode_table[in->row]))
		return VECTOR_AVX512;
	return (attr & OP_AVX ? VECTOR_AVX : attr & OP_SSE ? VECTOR_SSE : 0) | (attr & (OP_X87 | OP_MMX) ? VECTOR_X87 : 0);
}

static void check_bit(struct emit *e, unsigned needs, unsigned bit, uint8_t *retry)
{
	struct stub *s;

	asm_rm(&e->c, 1, 0xf6, 0, HOST_CPU(t.vector)); /* TEST m8, imm8 */
	asm_byte(&e->c, bit);
	s = emit_stub(e, asm_jcc(&e->c, 4), EXIT_VECTOR);
	s->retry = retry;
	s->slot = needs;
}

/* The same, flag-free: RCX is in T0. */
static void check_bit_flag_free(struct emit *e, unsigned needs, unsigned bit, uint8_t *retry)
{
	struct code *c = &e->c;
	struct stub *s;
	uint8_t *ok;

	asm_load(c, 1, RCX, host_cpu(offsetof(struct cpu, t.vector_lacks) + bit));
	ok = asm_jrcxz(c);
	s = emit_stub(e, asm_jmp(c), EXIT_VECTOR);
	s->retry = retry;
	s->slot = needs;
	s->rcx_saved = true;
	if (!c->full)
		asm_link8(ok, c->p);
}

/*
 * What the instructions after the one under way need, as far as the flags are live before each of them: asked for
 * now, when they are not, it costs less. That some way out lies between does no harm.
 */
static unsigned needs_ahead(const struct emit *e)
{
	unsigned needs = 0;

	for (unsigned i = e->at + 1; i < e->t->count && e->t->insn[i].live_in; i++)
		needs |= insn_vector_needs(&e->t->insn[i].in);
	return needs;
}

void emit_vector_check(struct emit *e)
{
	unsigned needs = insn_vector_needs(&e->ti->in), missing;
	bool live = e->ti->live_in != 0;
	uint8_t *retry;

	if (!live)
		needs |= needs_ahead(e);
	if (needs & VECTOR_AVX512) /* each has those before it */
		needs &= ~(unsigned)(VECTOR_AVX | VECTOR_SSE);
	if (needs & VECTOR_AVX)
		needs &= ~(unsigned)VECTOR_SSE;
	missing = needs & ~(unsigned)e->vector;
	if (!missing)
		return;
	retry = e->c.p;
	if (live) {
		asm_store(&e->c, 8, HOST_CPU(t.save_rcx), RCX);
		asm_mov(&e->c, 8, T0, RCX);
	}
	for (unsigned bit = VECTOR_SSE; bit <= VECTOR_AVX512; bit <<= 1)
		if (missing & bit)
			(live ? check_bit_flag_free : check_bit)(e, missing, bit, retry);
	if (live)
		asm_mov(&e->c, 8, RCX, T0);
	e->vector |= (uint8_t)(missing | (missing & VECTOR_AVX512 ? VECTOR_AVX | VECTOR_SSE : missing & VECTOR_AVX ? VECTOR_SSE : 0));
}

/* --- x87 --- */

/* These leave FIP, FDP and FOP as they are. */
static bool is_control(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FNOP:
	case INSN_ID_FINCSTP:
	case INSN_ID_FDECSTP:
	case INSN_ID_FFREE:
	case INSN_ID_FLDCW:
	case INSN_ID_FNSTCW:
	case INSN_ID_FNSTSW:
	case INSN_ID_FNCLEX:
	case INSN_ID_FWAIT: return true;
	default: return false;
	}
}

static void emit_x87(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	unsigned fop = (opcode_table[in->row].opcode & 7u) << 8 | in->modrm;

	emit_copy(e, in);
	asm_store_imm(c, 4, HOST_CPU(t.x87_at), (int32_t)(fop << FRAME_SHIFT | insn_at(e)));
	if (!(e->vector & NOTED_PAGE)) {
		asm_load(c, 8, T0, HOST_CPU(t.page));
		if (in->flags & INSN_LEGACY)
			emit_less_cs_base(e, T0);
		asm_store(c, 8, HOST_CPU(t.x87_page), T0);
		e->vector |= NOTED_PAGE;
	}
	if (in->flags & INSN_MEM) {
		emit_ea(e, in, T0);
		asm_store(c, 8, HOST_CPU(x.fdp), T0);
	}
}

/* It also clears FIP, FDP and FOP. */
static void emit_fninit(struct emit *e, const struct insn *in)
{
	emit_copy(e, in);
	asm_store_imm(&e->c, 4, HOST_CPU(t.x87_at), 0);
	asm_store_imm(&e->c, 8, HOST_CPU(t.x87_page), 0);
	asm_store_imm(&e->c, 8, HOST_CPU(x.fdp), 0);
	e->vector &= (uint8_t)~NOTED_PAGE;
}

static emit_fn *x87_emitter(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FNINIT: return emit_fninit;
	case INSN_ID_FNOP: return opcode_table[in->row].opcode == 0xdb ? emit_nothing : emit_copy; /* FNENI and its kin do not even wait */
	}
	return is_control(in) ? emit_copy : emit_x87;
}

/* --- MXCSR --- */

/* Reserved bits are the interpreter's to refuse: the host may know more of them. */
static void emit_ldmxcsr(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	bool saved = e->ti->live_in != 0;

	asm_load(c, 4, T0, emit_operand(e, in, 4, false));
	if (saved)
		emit_flags_save(e);
	asm_store(c, 4, HOST_CPU(t.scratch[0]), T0);
	asm_alu_ri(c, ALU_CMP, 4, T0, 0xffff);
	emit_stub(e, asm_jcc(c, 7), EXIT_ONE)->flags_saved = saved;
	if (saved)
		emit_flags_restore(e);
	asm_rm(c, 4, 0x0fae, 2, HOST_CPU(t.scratch[0]));
}

/* --- which --- */

/* A mask chooses elements of one operand: the whole of it is checked, and the interpreter does what that check does not let pass. */
static bool masked_move(unsigned id)
{
	return id == INSN_ID_VMASKMOVPS || id == INSN_ID_VMASKMOVPD || id == INSN_ID_VPMASKMOVD || id == INSN_ID_VPMASKMOVQ;
}

emit_fn *vector_emitter(const struct insn *in)
{
	uint32_t attr = opcode_table[in->row].attr;

	switch (in->id) {
	case INSN_ID_LDMXCSR:
	case INSN_ID_VLDMXCSR: return emit_ldmxcsr;
	case INSN_ID_STMXCSR:
	case INSN_ID_VSTMXCSR:
	case INSN_ID_VZEROUPPER:
	case INSN_ID_VZEROALL:
	case INSN_ID_FWAIT: return emit_copy;
	}
	if (!(attr & OP_NATIVE) || ((attr & OP_MASKED) && !masked_move(in->id)))
		return NULL;
	if (in->flags & INSN_MEM && insn_packs(in->id)) /* how much of its operand there has to be depends on the mask */
		return NULL;
	if ((attr & OP_X87) && !(attr & OP_MMX))
		return x87_emitter(in);
	return emit_copy;
}
