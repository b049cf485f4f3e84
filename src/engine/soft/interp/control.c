// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Near branches, conditions, the interrupt flag, fences and NOPs (SDM vol. 2).
 *
 * A target is checked before anything changes: canonical in 64-bit mode, else within CS's limit.
 * In 64-bit mode branches are always 64 bits wide; elsewhere the target is cut to the operand size.
 */
#include "engine/soft/interp/alu.h"

void branch_check(struct cpu *c, uint64_t rip, unsigned opsize)
{
	if (opsize == 8 ? !cpu_canonical(c, rip) : rip > c->seg[SEG_CS].limit)
		cpu_raise_error(c, EXC_GP, 0);
}

/* The target of a relative branch. */
static inline uint64_t relative(const struct cpu *c, const struct insn *in)
{
	uint64_t t = c->gpr[GPR_RIP] + in->imm;

	return in->opsize == 8 ? t : in->opsize == 4 ? (uint32_t)t : (uint16_t)t;
}

/* --- Jcc --- */

/* Without a host branch on the guest's condition. */
static inline __attribute__((always_inline)) void jump_if64(struct cpu *c, const struct insn *in, unsigned taken)
{
	uint64_t t = c->gpr[GPR_RIP] + (in->imm & -(uint64_t)taken);

	if (unlikely(!cpu_canonical(c, t)) && taken)
		cpu_raise_error(c, EXC_GP, 0);
	c->gpr[GPR_RIP] = t;
}

static inline __attribute__((always_inline)) void jump_if(struct cpu *c, const struct insn *in, unsigned taken)
{
	uint64_t t;

	if (!taken)
		return;
	t = relative(c, in);
	branch_check(c, t, in->opsize);
	c->gpr[GPR_RIP] = t;
}

#define CMOV(cc, n)                                                                                \
	static void cmov##cc##_ge_##n(struct cpu *c, const struct insn *in)                        \
	{                                                                                          \
		uint64_t s = gpr_get(c, in->rm_off, n), d = gpr_get(c, in->reg_off, n);            \
		uint64_t mask = -(uint64_t)cond_test(c->flags, cc);                                \
                                                                                                   \
		gpr_put(c, in->reg_off, n, d ^ ((d ^ s) & mask));                                  \
	}                                                                                          \
	static void cmov##cc##_gm_##n(struct cpu *c, const struct insn *in)                        \
	{                                                                                          \
		uint64_t s = mem_load(c, in, n), d = gpr_get(c, in->reg_off, n);                   \
		uint64_t mask = -(uint64_t)cond_test(c->flags, cc);                                \
                                                                                                   \
		gpr_put(c, in->reg_off, n, d ^ ((d ^ s) & mask));                                  \
	}

#define CONDITION(cc)                                                                              \
	static void jcc64_##cc(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		jump_if64(c, in, cond_test(c->flags, cc));                                         \
	}                                                                                          \
	static void jcc_##cc(struct cpu *c, const struct insn *in)                                 \
	{                                                                                          \
		jump_if(c, in, cond_test(c->flags, cc));                                           \
	}                                                                                          \
	static void set_e_##cc(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		gpr_put(c, in->rm_off, 1, cond_test(c->flags, cc));                                \
	}                                                                                          \
	static void set_m_##cc(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		mmu_store(c, in->seg, mem_linear(c, in, 1, MMU_WRITE), 1, cond_test(c->flags, cc)); \
	}                                                                                          \
	CMOV(cc, 2)                                                                                \
	CMOV(cc, 4)                                                                                \
	CMOV(cc, 8)

EACH_CONDITION(CONDITION)

#define JCC_(cc) jcc_##cc,
#define JCC64_(cc) jcc64_##cc,
#define SET_(cc) { set_e_##cc, set_m_##cc },
#define CMOV_(cc)                                                                                  \
	{ { NULL, cmov##cc##_ge_2, cmov##cc##_ge_4, cmov##cc##_ge_8 },                             \
	  { NULL, cmov##cc##_gm_2, cmov##cc##_gm_4, cmov##cc##_gm_8 } },
static insn_fn *const jcc_forms[16] = { EACH_CONDITION(JCC_) };
static insn_fn *const jcc64_forms[16] = { EACH_CONDITION(JCC64_) };
static insn_fn *const set_forms[16][2] = { EACH_CONDITION(SET_) };
static insn_fn *const cmov_forms[16][2][4] = { EACH_CONDITION(CMOV_) };

/* --- LOOP LOOPE LOOPNE JCXZ: the count's width is the address size --- */

static inline uint64_t count_cut(const struct insn *in, uint64_t v)
{
	return in->addrsize == 8 ? v : in->addrsize == 4 ? (uint32_t)v : (uint16_t)v;
}

static inline void loop_if(struct cpu *c, const struct insn *in, bool condition)
{
	uint64_t count = count_cut(in, c->gpr[RCX] - 1);

	jump_if(c, in, count && condition);
	gpr_put(c, RCX * 8, in->addrsize, count);
}

static void loop(struct cpu *c, const struct insn *in)
{
	loop_if(c, in, true);
}

static void loope(struct cpu *c, const struct insn *in)
{
	loop_if(c, in, c->flags & AF_ZF);
}

static void loopne(struct cpu *c, const struct insn *in)
{
	loop_if(c, in, !(c->flags & AF_ZF));
}

static void jcxz(struct cpu *c, const struct insn *in)
{
	jump_if(c, in, !count_cut(in, c->gpr[RCX]));
}

/* --- JMP CALL RET --- */

static void jmp64(struct cpu *c, const struct insn *in)
{
	jump_if64(c, in, 1);
}

static void jmp(struct cpu *c, const struct insn *in)
{
	jump_if(c, in, 1);
}

static void jmp_ind(struct cpu *c, const struct insn *in)
{
	uint64_t t = rm_load(c, in, in->opsize);

	branch_check(c, t, in->opsize);
	c->gpr[GPR_RIP] = t;
}

static void call64(struct cpu *c, const struct insn *in)
{
	uint64_t t = c->gpr[GPR_RIP] + in->imm;

	if (unlikely(!cpu_canonical(c, t)))
		cpu_raise_error(c, EXC_GP, 0);
	push64(c, c->gpr[GPR_RIP]);
	c->gpr[GPR_RIP] = t;
}

static void call(struct cpu *c, const struct insn *in)
{
	uint64_t t = relative(c, in);

	branch_check(c, t, in->opsize);
	stack_push(c, in->opsize, c->gpr[GPR_RIP]);
	c->gpr[GPR_RIP] = t;
}

static void call_ind(struct cpu *c, const struct insn *in)
{
	uint64_t t = rm_load(c, in, in->opsize);

	if (unlikely(in->opsize == 8 && !cpu_canonical(c, t))) { /* the push faults first (SDM vol. 2, CALL) */
		mmu_probe(c, SEG_SS, c->gpr[RSP] - 8, 8, MMU_WRITE);
		cpu_raise_error(c, EXC_GP, 0);
	}
	branch_check(c, t, in->opsize);
	stack_push(c, in->opsize, c->gpr[GPR_RIP]);
	c->gpr[GPR_RIP] = t;
}

static void ret64(struct cpu *c, const struct insn *in)
{
	uint64_t sp = c->gpr[RSP], t = mmu_load(c, SEG_SS, sp, 8);

	if (unlikely(!cpu_canonical(c, t)))
		cpu_raise_error(c, EXC_GP, 0);
	c->gpr[RSP] = sp + 8;
	c->gpr[GPR_RIP] = t;
}

static void ret(struct cpu *c, const struct insn *in)
{
	uint64_t t = stack_peek(c, in->opsize, 0);
	unsigned drop = opcode_table[in->row].opnd[0].kind == OPND_I ? (uint16_t)in->imm : 0;

	branch_check(c, t, in->opsize);
	stack_drop(c, in->opsize + drop);
	c->gpr[GPR_RIP] = t;
}

/*
 * --- CLI STI (SDM vol. 2; virtual interrupts: vol. 3, 20.3 and 20.4) ---
 *
 * With too little privilege, IF's place is taken by VIF: in virtual-8086 mode with CR4.VME, at
 * CPL 3 of protected mode with CR4.PVI.
 */

static bool may_change_if(const struct cpu *c)
{
	return c->cpl <= (c->sysflags & RF_IOPL) >> 12;
}

static bool virtual_if(const struct cpu *c)
{
	return c->cpl == 3 && (c->cr4 & (c->sysflags & RF_VM ? CR4_VME : CR4_PVI));
}

static void cli(struct cpu *c, const struct insn *in)
{
	if (likely(may_change_if(c)))
		c->sysflags &= ~(uint32_t)RF_IF;
	else if (virtual_if(c))
		c->sysflags &= ~(uint32_t)RF_VIF;
	else
		cpu_raise_error(c, EXC_GP, 0);
}

static void sti(struct cpu *c, const struct insn *in)
{
	if (likely(may_change_if(c))) {
		if (!(c->sysflags & RF_IF))
			c->shadow = 1;
		c->sysflags |= RF_IF;
	} else if (virtual_if(c) && !(c->sysflags & RF_VIP)) {
		c->sysflags |= RF_VIF;
	} else {
		cpu_raise_error(c, EXC_GP, 0);
	}
	c->brk = 1;
}

/* --- fences, cache control, NOPs --- */

static void mfence(struct cpu *c, const struct insn *in)
{
	__asm__ volatile("mfence" : : : "memory");
}

static void lfence(struct cpu *c, const struct insn *in)
{
	__asm__ volatile("lfence" : : : "memory");
}

static void sfence(struct cpu *c, const struct insn *in)
{
	__asm__ volatile("sfence" : : : "memory");
}

/* Guest memory is coherent: only the address is checked, as for a load of a byte. */
/* As a load of a byte, which an execute-only segment allows too (SDM vol. 2, CLFLUSH): its limit counts, not its type. */
static void clflush(struct cpu *c, const struct insn *in)
{
	mmu_probe(c, in->seg, mem_linear(c, in, 1, MMU_EXEC), 1, MMU_READ);
}

/* Also NOP with a memory operand and prefetches, which access nothing. */
static void nop(struct cpu *c, const struct insn *in)
{
}

insn_fn *bind_control(struct cpu *c, const struct insn *in)
{
	bool wide = c->mode == INSN_MODE64 && in->opsize == 8;
	bool mem = in->flags & INSN_MEM;

	switch (in->id) {
	case INSN_ID_JCC: return wide ? jcc64_forms[in->cc] : jcc_forms[in->cc];
	case INSN_ID_SETCC: return set_forms[in->cc][mem];
	case INSN_ID_CMOVCC: return cmov_forms[in->cc][mem][size_index(in->opsize)];
	case INSN_ID_LOOP: return loop;
	case INSN_ID_LOOPE: return loope;
	case INSN_ID_LOOPNE: return loopne;
	case INSN_ID_JCXZ: return jcxz;
	case INSN_ID_JMP: return wide ? jmp64 : jmp;
	case INSN_ID_JMP_IND: return jmp_ind;
	case INSN_ID_CALL: return wide ? call64 : call;
	case INSN_ID_CALL_IND: return call_ind;
	case INSN_ID_RET: return wide && opcode_table[in->row].opnd[0].kind != OPND_I ? ret64 : ret;
	case INSN_ID_CLI: return cli;
	case INSN_ID_STI: return sti;
	case INSN_ID_MFENCE: return mfence;
	case INSN_ID_LFENCE: return lfence;
	case INSN_ID_SFENCE: return sfence;
	case INSN_ID_CLFLUSH:
	case INSN_ID_CLFLUSHOPT:
	case INSN_ID_CLWB: return clflush;
	case INSN_ID_NOP:
	case INSN_ID_PREFETCH: return nop;
	}
	return bind_stack(c, in);
}
