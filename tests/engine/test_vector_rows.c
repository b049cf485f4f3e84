// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every row that is executed natively: random operands, the vCPU against the host. Memory operands
 * lie anywhere, across the page boundary and at the end of memory, so that a byte too much is a
 * fault. A longer run: --count N (rounds, default 40), --seed N.
 */
#include "random.h"
#include "test_vector_rig.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

static unsigned long rounds = 40;

/* --- values --- */

static uint64_t value64(void)
{
	static const uint64_t special[] = {
		0, 1, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000,
		0x7ff8000000000000, 0x7ff0000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
		0x3f8000003f800000, 0x7f800000ff800000, 0x7fc000007f800001, 0x0080000000000001, 0x7f7fffff007fffff,
		0x41dfffffffc00000, 0x43e0000000000000, 0x4f0000004effffff, 0xffffffffffffffff, 0x7fff7fff80008000,
		0x3ff8000000000000, 0x4024000000000000, 0x8000000080000000,
	};

	switch (below(4)) {
	case 0: return special[below(sizeof(special) / sizeof(special[0]))];
	case 1: return rnd() & 0xff;
	case 2: return (rnd() & 0x800fffff800fffff) | 0x3f8000003f800000;
	default: return rnd();
	}
}

static void fill(void *p, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t v = value64();

		memcpy((char *)p + i, &v, 8);
	}
}

static void random_state(struct cpu *c)
{
	struct cpu_xsave *x = &c->x;

	for (unsigned i = 0; i < 16; i++)
		c->gpr[i] = value64();
	c->flags = cpu_flags_from(rnd());
	fill(x->xmm, sizeof(x->xmm));
	fill(x->ymm_hi, sizeof(x->ymm_hi));
	if (!below(8))
		memset(x->ymm_hi, 0, sizeof(x->ymm_hi));
	x->mxcsr = (uint32_t)rnd() & 0xe07f;
	x->mxcsr |= below(4) ? 0x1f80 : (uint32_t)rnd() & 0x1f80;
	for (unsigned i = 0; i < 8; i++) {
		static const uint16_t exponents[] = { 0, 0x7fff, 0xffff, 0x3fff, 0xbfff, 0x4000, 0x403e, 0x8000, 1 };
		uint64_t m = value64() | (below(4) ? 1ull << 63 : 0);
		uint16_t e = below(2) ? exponents[below(9)] : (uint16_t)(0x3fc0 + below(128));

		memset(x->st[i], 0, 16);
		memcpy(x->st[i], &m, 8);
		memcpy(x->st[i] + 8, &e, 2);
	}
	x->fcw = (uint16_t)((rnd() & 0xf00) | 0x40 | (below(4) ? 0x3f : below(64)));
	x->fsw = (uint16_t)(rnd() & 0x7f7f);
	if (below(8))
		x->fsw &= (uint16_t)~(~x->fcw & 0x3f);
	if (x->fsw & ~x->fcw & 0x3f)
		x->fsw |= 0x8080;
	x->ftw = (uint8_t)(below(3) ? 0xff : rnd());
	fill(vrig.ram, VRIG_RAM);
}

/* --- encoding a row --- */

struct code {
	uint8_t b[16];
	unsigned len;
	bool mem;
};

static bool has_operand(const struct opcode *op, unsigned kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == kind)
			return true;
	return false;
}

static void put(struct code *k, unsigned b)
{
	k->b[k->len++] = (uint8_t)b;
}

/* Memory operands are [RBX + disp32], gathers [RBX + index * scale + disp32]. */
static void encode(const struct opcode *op, struct code *k)
{
	static const uint8_t pps[] = { 0, 0x66, 0xf3, 0xf2, 0 };
	bool vsib = has_operand(op, OPND_VM), gpr = has_operand(op, OPND_E) || has_operand(op, OPND_R);
	unsigned reg = below(16), rm = below(16), vvvv = below(16), w, l, index = below(16);

	memset(k, 0, sizeof(*k));
	k->mem = op->mod == 1 || (op->mod == 0 && below(2));
	w = op->attr & OP_W1 ? 1 : op->attr & OP_W0 ? 0 : below(2);
	l = op->attr & OP_L1 ? 1 : op->attr & OP_L0 ? 0 : below(2);
	if (op->attr & OP_NOVVVV)
		vvvv = 0;
	while (vsib && (vvvv == reg || vvvv == index || index == reg))
		vvvv = below(16), index = below(16);
	if (op->ext >= 0)
		reg = (unsigned)op->ext;
	if (has_operand(op, OPND_G) && (reg == RSP || reg == RBX))
		reg = RAX;
	if (gpr && rm == RSP)
		rm = RCX;
	if (op->mod == 3)
		rm = (unsigned)op->rm;
	if (k->mem)
		rm = vsib ? 4 : RBX;
	if (op->attr & OP_VEX) {
		put(k, 0xc4);
		put(k, (reg < 8 ? 0x80u : 0) | (vsib && index >= 8 ? 0 : 0x40u) | (rm < 8 ? 0x20u : 0) | op->map);
		put(k, w << 7 | (~vvvv & 15) << 3 | l << 2 | (op->pp == PP_66 ? 1u : op->pp == PP_F3 ? 2u : op->pp == PP_F2 ? 3u : 0));
	} else if (op->map != MAP_ONE) {
		if (pps[op->pp])
			put(k, pps[op->pp]);
		put(k, 0x40 | w << 3 | (reg >= 8 ? 4u : 0) | (rm >= 8 ? 1u : 0));
		put(k, 0x0f);
		if (op->map == MAP_0F38)
			put(k, 0x38);
		if (op->map == MAP_0F3A)
			put(k, 0x3a);
	}
	put(k, op->opcode);
	if (op->attr & OP_MODRM)
		put(k, (k->mem ? 0x80u : 0xc0u) | (reg & 7) << 3 | (rm & 7));
	if (vsib)
		put(k, below(4) << 6 | (index & 7) << 3 | RBX);
	if (k->mem) {
		uint32_t disp = below(64);

		for (unsigned i = 0; i < 4; i++)
			put(k, disp >> (8 * i) & 0xff);
	}
	if (has_operand(op, OPND_I) || has_operand(op, OPND_L))
		put(k, below(256));
}

static uint64_t address(unsigned size)
{
	uint64_t ram = (uint64_t)(uintptr_t)vrig.ram;

	switch (below(6)) {
	case 0: return ram + below(VRIG_RAM - 64);
	case 1: return ram + 4096 - below(size + 1);
	case 2: return ram + VRIG_RAM - size;
	case 3: return ram + VRIG_RAM - below(size + 1);
	default: return ram + 64 * below(VRIG_RAM / 64);
	}
}

/* Small indexes, so that most gathers stay in memory. */
static void tame_indexes(struct cpu *c, const struct insn *in)
{
	bool wide = in->id == INSN_ID_VPGATHERQD || in->id == INSN_ID_VPGATHERQQ || in->id == INSN_ID_VGATHERQPS ||
		    in->id == INSN_ID_VGATHERQPD;

	for (unsigned i = 0; i < 32; i += wide ? 8 : 4) {
		int64_t v = (int)below(128) - 32;

		memcpy(i < 16 ? &c->x.xmm[in->index][i] : &c->x.ymm_hi[in->index][i - 16], &v, wide ? 8 : 4);
	}
}

static void setup(struct cpu *c, const struct code *k, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned size = 16;

	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind >= OPND_E && k->mem) {
			unsigned s = insn_operand_size(in, i);

			if (op->opnd[i].kind == OPND_E || op->opnd[i].kind == OPND_M || op->opnd[i].kind == OPND_W ||
			    op->opnd[i].kind == OPND_Q)
				size = s;
		}
	if (has_operand(op, OPND_VM))
		tame_indexes(c, in);
	c->gpr[RDI] = address(16);
	if (k->mem)
		c->gpr[RBX] = address(size) - (uint64_t)(int64_t)in->disp;
	/* SHA needs aligned memory (SDM vol. 2, type 4), on other vendors' hosts it does not. */
	if (k->mem && op->feature == FEAT_SHA)
		c->gpr[RBX] = (c->gpr[RBX] + (uint64_t)(int64_t)in->disp) / 16 * 16 - (uint64_t)(int64_t)in->disp;
	if (op->implicit & IMPL_RAX_R && below(2)) {
		c->gpr[RAX] = below(20);
		c->gpr[RDX] = below(20);
	}
}

static uint8_t before[VRIG_RAM], host_ram[VRIG_RAM];

static int try_row(const struct opcode *op)
{
	struct cpu *c = vrig.c;
	struct native n;
	struct insn in;
	struct code k;
	char text[128], what[200];
	int d = 0;

	encode(op, &k);
	if (insn_decode(k.b, k.len, INSN_MODE64, &in) != (int)k.len)
		return 0; /* a combination of W and L that another row forbids */
	random_state(c);
	setup(c, &k, &in);
	insn_print(&in, 0x1000, text, sizeof(text));
	memcpy(before, vrig.ram, VRIG_RAM);
	native_from_cpu(&n, c);
	native_run(&n, k.b, k.len);
	memcpy(host_ram, vrig.ram, VRIG_RAM);
	memcpy(vrig.ram, before, VRIG_RAM);
	if (!below(4))
		vrig_without_tlb();
	vrig_run(k.b, k.len);
	snprintf(what, sizeof(what), "%s (signal %d, vector %d)", text, n.signal, vrig.vector);
	if (!native_same_fault(n.signal, vrig.vector)) {
		fprintf(stderr, "%s: not the same fault\n", what);
		d = 1;
	}
	d |= native_differs(&n, c, what);
	for (unsigned i = 0; i < VRIG_RAM; i++)
		if (host_ram[i] != vrig.ram[i]) {
			fprintf(stderr, "%s: memory at +%x host %02x ours %02x\n", what, i, host_ram[i], vrig.ram[i]);
			d = 1;
			break;
		}
	return d;
}

static bool wanted(const struct opcode *op)
{
	/* The SDM has CVTPI2PS m64 make a transition to MMX state; some hosts do not. */
	/* EVEX and opmasks are the differential tester's; what not all hosts have is left out where it is not. */
	if (opcode_is_avx512(op) || (cpu_feature_list[op->feature].kind == FEATURE_HOST && !(cpu_model_host_features() >> op->feature & 1)))
		return false;
	return (op->attr & OP_NATIVE) && op->id != INSN_ID_CVTPI2PS;
}

static void every_native_row_does_what_the_host_does(void **state)
{
	unsigned failed = 0, done = 0;

	for (unsigned r = 0; r < opcode_count; r++) {
		unsigned bad = 0;

		if (!wanted(&opcode_table[r]))
			continue;
		for (unsigned i = 0; i < rounds && bad < 3; i++) {
			vrig_reset(INSN_MODE64);
			bad += (unsigned)try_row(&opcode_table[r]);
			done++;
		}
		failed += bad != 0;
	}
	print_message("%u instructions\n", done);
	assert_int_equal(failed, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_native_row_does_what_the_host_does),
	};

	random_options(argc, argv, &rounds);
	if (vector_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
