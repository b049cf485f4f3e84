// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The x87 (SDM vol. 1, chapter 8).
 *
 * Arithmetic runs natively on the whole file: FXRSTOR64, the instruction, FXSAVE64 (emit.c). An
 * unmasked exception never reaches the host: it only becomes pending in fsw, and the next waiting
 * instruction finds it there before anything runs. What a processor saves of an instruction's
 * address is host state by then, so the guest's is put back: FIP, FDP and FOP of the last
 * instruction that is not a control instruction (8.1.8, 8.3.11).
 *
 * Control instructions that only move fcw and fsw are done by hand.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* --- state --- */

void x87_set_top(struct cpu *c, unsigned top)
{
	unsigned turn = (top - x87_top(c)) & 7;
	uint8_t old[8][16];

	if (!turn)
		return;
	memcpy(old, c->x.st, sizeof(old));
	for (unsigned i = 0; i < 8; i++)
		memcpy(c->x.st[i], old[(i + turn) & 7], 16);
	c->x.fsw = (uint16_t)((c->x.fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT);
}

void x87_update_es(struct cpu *c)
{
	c->x.fsw &= (uint16_t)~(FSW_ES | FSW_B);
	if (x87_pending(c))
		c->x.fsw |= FSW_ES | FSW_B;
}

/* Bit 6 is always 1, bits 7 and 13 to 15 always 0. */
void x87_set_fcw(struct cpu *c, uint16_t value)
{
	c->x.fcw = (value & 0x1f3f) | 0x40;
}

void x87_init(struct cpu *c)
{
	x87_set_top(c, 0);
	c->x.fcw = FCW_INIT;
	c->x.fsw = 0;
	c->x.ftw = 0;
	c->x.fop = 0;
	c->x.fip = c->x.fdp = 0;
}

/* --- native execution --- */

/* Offset of the instruction under way in its code segment. */
static uint64_t this_ip(const struct cpu *c, const struct insn *in)
{
	uint64_t ip = c->gpr[GPR_RIP] - in->len;

	return c->mode == INSN_MODE64 ? ip : c->mode == INSN_MODE32 ? (uint32_t)ip : (uint16_t)ip;
}

INLINE void run(struct cpu *c, const struct insn *in, void *mem)
{
	struct cpu_xsave *x = &c->x;
	uint64_t fdp = x->fdp;

	((thunk_fn *)in->thunk)(c, mem);
	x->mxcsr_mask = MXCSR_MASK;
	x->fip = this_ip(c, in);
	x->fdp = mem ? insn_ea(c, in) : fdp;
	x->fop = (uint16_t)((opcode_table[in->row].opcode & 7u) << 8 | in->modrm);
}

INLINE void begin(struct cpu *c)
{
	check_x87(c);
	check_pending(c);
}

static void run_register(struct cpu *c, const struct insn *in)
{
	begin(c);
	run(c, in, NULL);
}

/* FNOP, FINCSTP, FDECSTP, FFREE: control instructions, they leave no address. */
static void run_control(struct cpu *c, const struct insn *in)
{
	uint64_t fip = c->x.fip, fdp = c->x.fdp;
	uint16_t fop = c->x.fop;

	begin(c);
	run(c, in, NULL);
	c->x.fip = fip;
	c->x.fdp = fdp;
	c->x.fop = fop;
}

/* FNENI, FNDISI, FNSETPM: nothing, and they do not wait. */
static void run_nothing(struct cpu *c, const struct insn *in)
{
	check_x87(c);
}

INLINE void do_load(struct cpu *c, const struct insn *in, unsigned size)
{
	uint8_t buf[16] __attribute__((aligned(16)));
	uint64_t addr;
	void *host;

	begin(c);
	addr = insn_linear(c, in, size, MMU_READ);
	host = TLB_HIT(c, addr, size, read);
	if (unlikely(!host)) {
		vector_load_slow(c, in->seg, addr, buf, size);
		host = buf;
	}
	run(c, in, host);
}

/*
 * An unmasked invalid operation, overflow or underflow keeps the store (and the pop) from happening,
 * an unmasked inexact result does not (8.5). None was pending before.
 */
INLINE bool stored(const struct cpu *c)
{
	return !(c->x.fsw & ~c->x.fcw & FPU_EXCEPTIONS & ~FPU_PE);
}

INLINE void do_store(struct cpu *c, const struct insn *in, unsigned size)
{
	uint8_t buf[16] __attribute__((aligned(16)));
	struct legacy_state before, after;
	uint64_t addr;
	void *host;

	begin(c);
	addr = insn_linear(c, in, size, MMU_WRITE);
	host = TLB_HIT(c, addr, size, write);
	if (likely(host)) {
		run(c, in, buf);
		if (unlikely(!stored(c)))
			return;
		memcpy(host, buf, size);
		mmu_after_store(c, host, size);
		return;
	}
	vector_check_alignment(c, in->seg, addr, size);
	mmu_probe(c, in->seg, addr, size, MMU_WRITE);
	legacy_get(c, &before);
	run(c, in, buf);
	legacy_get(c, &after);
	if (stored(c)) {
		legacy_put(c, &before);
		vector_store_slow(c, in->seg, addr, buf, size);
		legacy_put(c, &after);
	}
}

#define MEMORY(what, size) \
	static void what##_##size(struct cpu *c, const struct insn *in) { do_##what(c, in, size); }
MEMORY(load, 2)
MEMORY(load, 4)
MEMORY(load, 8)
MEMORY(load, 10)
MEMORY(store, 2)
MEMORY(store, 4)
MEMORY(store, 8)
MEMORY(store, 10)

/* --- control words --- */

static void fldcw(struct cpu *c, const struct insn *in)
{
	uint16_t v;

	begin(c);
	v = (uint16_t)mmu_load(c, in->seg, insn_linear(c, in, 2, MMU_READ), 2);
	x87_set_fcw(c, v);
	x87_update_es(c);
}

static void fnstcw(struct cpu *c, const struct insn *in)
{
	check_x87(c);
	mmu_store(c, in->seg, insn_linear(c, in, 2, MMU_WRITE), 2, c->x.fcw);
}

static void fnstsw_memory(struct cpu *c, const struct insn *in)
{
	check_x87(c);
	mmu_store(c, in->seg, insn_linear(c, in, 2, MMU_WRITE), 2, c->x.fsw);
}

static void fnstsw_ax(struct cpu *c, const struct insn *in)
{
	check_x87(c);
	*gpr16(c, RAX * 8) = c->x.fsw;
}

static void fnclex(struct cpu *c, const struct insn *in)
{
	check_x87(c);
	c->x.fsw &= 0x7f00;
}

static void fninit(struct cpu *c, const struct insn *in)
{
	check_x87(c);
	x87_init(c);
}

insn_fn *bind_x87(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	bool store;
	int m;

	switch (op->id) {
	case INSN_ID_FLDCW: return fldcw;
	case INSN_ID_FNSTCW: return fnstcw;
	case INSN_ID_FNSTSW: return in->flags & INSN_MEM ? fnstsw_memory : fnstsw_ax;
	case INSN_ID_FNCLEX: return fnclex;
	case INSN_ID_FNINIT: return fninit;
	case INSN_ID_FNOP: return op->opcode == 0xdb ? run_nothing : run_control;
	case INSN_ID_FINCSTP:
	case INSN_ID_FDECSTP:
	case INSN_ID_FFREE: return run_control;
	default: break;
	}
	if (!(in->flags & INSN_MEM))
		return run_register;
	m = insn_memory_operand(op);
	if (m < 0)
		return NULL;
	store = op->opnd[m].access & ACCESS_W;
	switch (insn_operand_size(in, (unsigned)m)) {
	case 2: return store ? store_2 : load_2;
	case 4: return store ? store_4 : load_4;
	case 8: return store ? store_8 : load_8;
	case 10: return store ? store_10 : load_10;
	default: return NULL;
	}
}
