// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions that look after the processor itself, as far as they need no C: CLI, STI, CLD, STD, PUSHF, SWAPGS, the bases of FS and
 * GS, RDTSC, RDTSCP, RDPID (SDM vol. 2 under each). Everything else is run by the interpreter's handler (emit_call, call.c).
 *
 * The flags that are not arithmetic are in cpu.sysflags. IF and the interrupt shadow: nothing that waits is missed, because requests of others stop the
 * code at its next gate (cpu.req), and because STI looks at cpu.attn, which says that something waits for IF already. Its shadow is
 * set while the next instruction runs, so that whoever leaves before it is complete, leaves with the shadow.
 */
#include "engine/soft/translate/emit.h"

#include "engine/soft/interp/interp.h"
#include "engine/soft/translate/translate.h"

static struct host_mem seg_base(unsigned seg)
{
	return host_cpu(offsetof(struct cpu, seg) + seg * sizeof(struct vcpu_segment) + offsetof(struct vcpu_segment, base));
}

static struct host_mem seg_linear_base(unsigned seg)
{
	return host_cpu(offsetof(struct cpu, segbase) + 8 * (size_t)seg);
}

static unsigned cpl_of(const struct emit *e)
{
	return e->cpu->cpl; /* the block's: it is made in the mode that it is for */
}

/* --- the interpreter's handler --- */

/* The binding of others has more to it than the handler: but for those with a mask, which need no thunk. */
bool can_be_called(const struct insn *in)
{
	uint32_t attr = opcode_table[in->row].attr;

	return !(attr & OP_NATIVE) || (attr & OP_MASKED);
}

/* False: there is no room; the run loop does it. */
static bool call_slot(struct emit *e, const struct insn *in, uint32_t *slot)
{
	struct translator *tr = e->tr;
	struct insn *copy;

	if (!can_be_called(in) || tr->call_count == tr->call_max)
		return false;
	*slot = tr->call_count++;
	copy = &tr->calls[*slot];
	*copy = *in;
	interp_bind(e->cpu, copy);
	return true;
}

struct stub *emit_call_stub(struct emit *e, const struct insn *in, uint8_t *rel)
{
	uint32_t slot = 0;
	bool one = !call_slot(e, in, &slot);
	struct stub *s = emit_stub(e, rel, one ? EXIT_ONE : EXIT_CALL);

	s->slot = slot;
	return s;
}

void emit_call_handler(struct emit *e, const struct insn *in)
{
	emit_call_stub(e, in, asm_jmp(&e->c));
}

/* --- flags around what changes them --- */

/* For instructions that change none themselves: live behind them, or in their exception. */
static bool keep_flags(struct emit *e)
{
	if (!e->ti->live_in)
		return false;
	emit_flags_save(e);
	return true;
}

/* --- RFLAGS --- */

static void sysflags_bit(struct emit *e, uint32_t bit, bool set)
{
	bool kept = keep_flags(e);

	if (set)
		asm_alu_mi(&e->c, ALU_OR, 4, HOST_CPU(sysflags), (int32_t)bit);
	else
		asm_alu_mi(&e->c, ALU_AND, 4, HOST_CPU(sysflags), ~(int32_t)bit);
	if (kept)
		emit_flags_restore(e);
}

static void emit_cli(struct emit *e, const struct insn *in)
{
	if (cpl_of(e)) /* by IOPL, or CR4.PVI */
		emit_call_handler(e, in);
	else
		sysflags_bit(e, RF_IF, false);
}

static void emit_cld(struct emit *e, const struct insn *in)
{
	sysflags_bit(e, RF_DF, in->id == INSN_ID_STD);
}

/* The instruction behind can be the last of the shadow: it completes in one place. */
static bool ends_shadow(const struct trace_insn *next)
{
	return !(next->in.flags & INSN_ENDS) && next->in.id != INSN_ID_STI && is_translated(&next->in);
}

static void emit_sti(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	struct stub *s;
	uint8_t *was_set;
	bool kept;

	if (cpl_of(e) || e->at + 1 >= e->t->count || !ends_shadow(&e->t->insn[e->at + 1])) {
		emit_call_handler(e, in);
		return;
	}
	kept = keep_flags(e);
	asm_alu_mi(c, ALU_CMP, 1, HOST_CPU(attn), 0);
	s = emit_call_stub(e, in, asm_jcc(c, 5));
	s->flags_saved = kept;
	asm_rm(c, 4, 0x0fba, 5, HOST_CPU(sysflags)); /* BTS */
	asm_byte(c, 9);
	was_set = asm_jcc(c, 2);
	asm_store_imm(c, 1, HOST_CPU(shadow), 1);
	if (!c->full)
		asm_link(was_set, c->p);
	if (kept)
		emit_flags_restore(e);
	e->shadow_until = e->at + 1;
}

void emit_shadow_end(struct emit *e)
{
	asm_store_imm(&e->c, 1, HOST_CPU(shadow), 0);
}

/* TF, RF and VM are clear while translated code runs. */
void emit_flags_image(struct emit *e)
{
	struct code *c = &e->c;

	emit_flags_save(e);
	asm_store(c, 8, HOST_CPU(t.save_rax), RAX);
	asm_load(c, 4, RAX, HOST_CPU(t.flags));
	asm_mov(c, 4, T0, RAX);
	asm_rr(c, 4, 0xc1, 5, T0); /* SHR T0, 8: SF ZF AF PF CF */
	asm_byte(c, 8);
	asm_alu_ri(c, ALU_AND, 4, T0, 0xd5);
	asm_alu_ri(c, ALU_AND, 4, RAX, AF_OF);
	asm_rr(c, 4, 0xc1, 4, RAX); /* SHL EAX, 11 */
	asm_byte(c, 11);
	asm_alu_rr(c, ALU_OR, 4, T0, RAX);
	asm_alu_rm(c, ALU_OR, 4, T0, HOST_CPU(sysflags));
	asm_load(c, 8, RAX, HOST_CPU(t.save_rax));
	if (e->ti->live_out)
		emit_flags_restore(e);
}

/* The analysis has seen to the stack. */
static void emit_pushf(struct emit *e, const struct insn *in)
{
	(void)in;
	emit_flags_image(e);
	asm_byte(&e->c, 0x41);
	asm_byte(&e->c, 0x50 | (T0 & 7)); /* PUSH T0 */
}

/* --- FS and GS --- */

static void emit_swapgs(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;

	if (cpl_of(e)) {
		emit_call_handler(e, in);
		return;
	}
	asm_load(c, 8, T0, HOST_CPU(kernel_gs_base));
	asm_load(c, 8, T1, seg_base(SEG_GS));
	asm_store(c, 8, seg_base(SEG_GS), T0);
	asm_store(c, 8, seg_linear_base(SEG_GS), T0);
	asm_store(c, 8, HOST_CPU(kernel_gs_base), T1);
}

static void need_fsgsbase(struct emit *e, const struct insn *in, bool kept)
{
	struct stub *s;

	asm_rm(&e->c, 4, 0x0fba, 4, HOST_CPU(cr4)); /* BT */
	asm_byte(&e->c, __builtin_ctz(CR4_FSGSBASE));
	s = emit_call_stub(e, in, asm_jcc(&e->c, 3));
	s->flags_saved = kept;
}

static void emit_rdbase(struct emit *e, const struct insn *in)
{
	unsigned seg = in->id == INSN_ID_RDFSBASE ? SEG_FS : SEG_GS;
	bool kept = keep_flags(e), home = gpr_is_home(in->rm);

	need_fsgsbase(e, in, kept);
	if (kept)
		emit_flags_restore(e);
	asm_load(&e->c, in->opsize == 8 ? 8 : 4, home ? in->rm : T0, seg_base(seg));
	if (!home)
		emit_gpr_put(e, in->rm, T0, T1);
}

static void emit_wrbase(struct emit *e, const struct insn *in)
{
	unsigned seg = in->id == INSN_ID_WRFSBASE ? SEG_FS : SEG_GS, r;
	unsigned unused = 64 - cpu_model_linear_bits(e->cpu->vm->model);
	bool kept = keep_flags(e);
	struct code *c = &e->c;
	struct stub *s;

	need_fsgsbase(e, in, kept);
	r = emit_gpr(e, in->rm, T0);
	asm_mov(c, in->opsize == 8 ? 8 : 4, T0, r);
	asm_mov(c, 8, T1, T0);
	asm_rr(c, 8, 0xc1, 4, T1); /* SHL */
	asm_byte(c, unused);
	asm_rr(c, 8, 0xc1, 7, T1); /* SAR */
	asm_byte(c, unused);
	asm_alu_rr(c, ALU_CMP, 8, T1, T0);
	s = emit_call_stub(e, in, asm_jcc(c, 5)); /* not canonical */
	s->flags_saved = kept;
	asm_store(c, 8, seg_base(seg), T0);
	asm_store(c, 8, seg_linear_base(seg), T0);
	if (kept)
		emit_flags_restore(e);
}

/* --- STAC, CLAC, control registers --- */

/* In a block for EFLAGS.AC clear CLAC changes nothing. */
static bool clac_is_nop(const struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_CLAC && !c->cpl && !(translate_mode(c) >> 16 & 1);
}

static void emit_ac(struct emit *e, const struct insn *in)
{
	if (!clac_is_nop(e->cpu, in))
		emit_call_handler(e, in);
}

static bool is_mov_to_cr(const struct insn *in)
{
	return in->id == INSN_ID_MOV_CR && opcode_table[in->row].opnd[0].kind != OPND_R;
}

/* Those that are only read, and CR2. */
static void emit_mov_cr(struct emit *e, const struct insn *in)
{
	static const uint16_t field[] = { [0] = offsetof(struct cpu, cr0), [2] = offsetof(struct cpu, cr2),
					  [3] = offsetof(struct cpu, cr3), [4] = offsetof(struct cpu, cr4) };
	struct code *c = &e->c;

	if (cpl_of(e) || in->reg > 4 || in->reg == 1 || (is_mov_to_cr(in) && (in->reg != 2 || in->opsize != 8))) {
		emit_call_handler(e, in);
	} else if (is_mov_to_cr(in)) {
		asm_store(c, 8, HOST_CPU(cr2), emit_gpr(e, in->rm, T0));
	} else {
		bool home = gpr_is_home(in->rm);

		asm_load(c, in->opsize, home ? in->rm : T0, host_cpu(field[in->reg]));
		if (!home)
			emit_gpr_put(e, in->rm, T0, T1);
	}
}

bool system_goes_on(const struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_STI || clac_is_nop(c, in) || (is_mov_to_cr(in) && in->reg == 2 && in->opsize == 8 && !c->cpl);
}

/* --- time, and who one is --- */

static void emit_rdtsc(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	bool kept = keep_flags(e);

	if (cpl_of(e)) {
		struct stub *s;

		asm_rm(c, 4, 0x0fba, 4, HOST_CPU(cr4)); /* BT */
		asm_byte(c, __builtin_ctz(CR4_TSD));
		s = emit_call_stub(e, in, asm_jcc(c, 2));
		s->flags_saved = kept;
	}
	if (in->id == INSN_ID_RDTSCP) {
		asm_bytes(c, "\x0f\x01\xf9", 3);
		asm_load(c, 4, RCX, HOST_CPU(tsc_aux));
	} else {
		asm_bytes(c, "\x0f\x31", 2);
	}
	asm_rr(c, 8, 0xc1, 4, RDX); /* SHL RDX, 32 */
	asm_byte(c, 32);
	asm_alu_rr(c, ALU_OR, 8, RDX, RAX);
	asm_alu_rm(c, ALU_ADD, 8, RDX, HOST_CPU(tsc_offset));
	asm_mov(c, 4, RAX, RDX);
	asm_rr(c, 8, 0xc1, 5, RDX); /* SHR RDX, 32 */
	asm_byte(c, 32);
	if (kept)
		emit_flags_restore(e);
}

static void emit_rdpid(struct emit *e, const struct insn *in)
{
	bool home = gpr_is_home(in->rm);

	asm_load(&e->c, 4, home ? in->rm : T0, HOST_CPU(tsc_aux));
	if (!home)
		emit_gpr_put(e, in->rm, T0, T1);
}

/* --- selectors --- */

static bool is_mov_from_seg(const struct insn *in)
{
	return in->id == INSN_ID_MOV_SEG && opcode_table[in->row].opnd[0].kind != OPND_S && in->reg < SEG_COUNT;
}

static void emit_mov_from_seg(struct emit *e, const struct insn *in)
{
	struct host_mem sel = host_cpu(offsetof(struct cpu, seg) + in->reg * sizeof(struct vcpu_segment) +
				       offsetof(struct vcpu_segment, selector));
	struct code *c = &e->c;

	if (in->flags & INSN_MEM) {
		asm_lea(c, 8, T0, emit_operand(e, in, 2, true));
		asm_load(c, 2, T1, sel);
		asm_store(c, 2, host_at(T0, 0), T1);
	} else if (!gpr_is_home(in->rm)) {
		emit_call_handler(e, in);
	} else if (in->opsize == 2) {
		asm_rm(c, 2, 0x8b, in->rm, sel);
	} else {
		asm_load(c, 2, in->rm, sel);
	}
}

emit_fn *system_emitter(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_CLI: return emit_cli;
	case INSN_ID_STI: return emit_sti;
	case INSN_ID_CLD:
	case INSN_ID_STD: return emit_cld;
	case INSN_ID_PUSHF: return in->opsize == 8 ? emit_pushf : NULL;
	case INSN_ID_SWAPGS: return emit_swapgs;
	case INSN_ID_RDFSBASE:
	case INSN_ID_RDGSBASE: return emit_rdbase;
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE: return emit_wrbase;
	case INSN_ID_RDTSC:
	case INSN_ID_RDTSCP: return emit_rdtsc;
	case INSN_ID_RDPID: return emit_rdpid;
	case INSN_ID_STAC:
	case INSN_ID_CLAC: return emit_ac;
	case INSN_ID_MOV_CR: return emit_mov_cr;
	case INSN_ID_MOV_SEG: return is_mov_from_seg(in) ? emit_mov_from_seg : NULL;
	default: return string_emitter(in);
	}
}
