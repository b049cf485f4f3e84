// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MMX instructions, among them those of SSE and SSE2 that have one MMX operand (SDM vol. 3, chapter 12).
 *
 * MM0-MM7 are the significands of the PHYSICAL x87 registers, whatever TOP is. Every MMX instruction
 * sets TOP to 0 and all tags to valid, EMMS all tags to empty; a register that is written gets an
 * exponent of all ones. So the file is turned to TOP 0 before the thunk runs, where st[n] is
 * physical register n. The transition stays if the instruction raises a SIMD exception (hosts do it so; the
 * SDM is silent), but not if its memory operand faults.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE void check(struct cpu *c, bool sse)
{
	if (sse && unlikely((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR)))
		cpu_raise(c, EXC_UD);
	check_mmx(c);
}

INLINE void run(struct cpu *c, const struct insn *in, void *mem)
{
	if (unlikely(x87_top(c)))
		x87_set_top(c, 0);
	c->x.ftw = 0xff;
	if (unlikely(((thunk_fn *)in->thunk)(c, mem)))
		raise_simd(c);
}

INLINE void do_register(struct cpu *c, const struct insn *in, bool sse)
{
	check(c, sse);
	run(c, in, NULL);
}

INLINE void do_load(struct cpu *c, const struct insn *in, bool sse, unsigned size, bool aligned)
{
	uint8_t buf[16] __attribute__((aligned(16)));
	uint64_t addr;
	void *host;

	check(c, sse);
	addr = insn_linear(c, in, size, MMU_READ);
	if (aligned && unlikely(addr & (size - 1)))
		cpu_raise_error(c, EXC_GP, 0);
	host = TLB_HIT(c, addr, size, read);
	if (unlikely(!host)) {
		vector_load_slow(c, in->seg, addr, buf, size);
		host = buf;
	}
	run(c, in, host);
}

/* The change of TOP and tags must not be seen if the store faults or leaves. */
INLINE void do_store(struct cpu *c, const struct insn *in, unsigned size)
{
	uint8_t buf[16] __attribute__((aligned(16)));
	struct legacy_state before, after;
	uint64_t addr;
	void *host;

	check(c, false);
	addr = insn_linear(c, in, size, MMU_WRITE);
	host = TLB_HIT(c, addr, size, write);
	if (likely(host)) {
		run(c, in, buf);
		memcpy(host, buf, size);
		mmu_after_store(c, host, size);
		return;
	}
	legacy_get(c, &before);
	run(c, in, buf);
	legacy_get(c, &after);
	legacy_put(c, &before);
	vector_store_slow(c, in->seg, addr, buf, size);
	legacy_put(c, &after);
}

static void register_mmx(struct cpu *c, const struct insn *in) { do_register(c, in, false); }
static void register_mixed(struct cpu *c, const struct insn *in) { do_register(c, in, true); }
static void load_2(struct cpu *c, const struct insn *in) { do_load(c, in, false, 2, false); }
static void load_4(struct cpu *c, const struct insn *in) { do_load(c, in, false, 4, false); }
static void load_8(struct cpu *c, const struct insn *in) { do_load(c, in, false, 8, false); }
static void load_mixed_8(struct cpu *c, const struct insn *in) { do_load(c, in, true, 8, false); }
static void load_mixed_16(struct cpu *c, const struct insn *in) { do_load(c, in, true, 16, true); }
static void store_4(struct cpu *c, const struct insn *in) { do_store(c, in, 4); }
static void store_8(struct cpu *c, const struct insn *in) { do_store(c, in, 8); }

static void emms(struct cpu *c, const struct insn *in)
{
	check(c, false);
	x87_set_top(c, 0);
	c->x.ftw = 0;
}

insn_fn *bind_mmx(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	bool mixed = op->attr & OP_SSE;
	unsigned size;
	int m;

	if (op->id == INSN_ID_EMMS)
		return emms;
	if (!(in->flags & INSN_MEM))
		return mixed ? register_mixed : register_mmx;
	m = insn_memory_operand(op);
	if (m < 0)
		return NULL;
	size = insn_operand_size(in, (unsigned)m);
	if (op->opnd[m].access & ACCESS_W)
		return mixed ? NULL : size == 4 ? store_4 : size == 8 ? store_8 : NULL;
	switch (size) {
	case 2: return mixed ? NULL : load_2;
	case 4: return mixed ? NULL : load_4;
	case 8: return mixed ? load_mixed_8 : load_8;
	case 16: return mixed ? load_mixed_16 : NULL;
	default: return NULL;
	}
}
