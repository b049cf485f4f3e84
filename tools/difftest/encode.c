// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Encodings of a row of the opcode table: random prefixes, REX or VEX bits, ModRM, displacement and
 * immediate, now and then an illegal one. The decoder says later how many of the bytes count.
 */
#include "gen.h"

void enc_byte(struct enc *e, unsigned b)
{
	e->b[e->n++] = (uint8_t)b;
}

unsigned enc_modrm(const struct opcode *op)
{
	unsigned mod = below(4), reg = below(8), rm = below(8);

	if (op->ext >= 0)
		reg = (unsigned)op->ext;
	if (op->mod == 1 && mod == 3)
		mod = below(3);
	if (op->mod >= 2)
		mod = 3;
	if (op->mod == 3)
		rm = (unsigned)op->rm;
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_VM && mod != 3)
			rm = 4;
	return mod << 6 | reg << 3 | rm;
}

void enc_prefixes(struct enc *e, const struct opcode *op, enum dt_kind kind)
{
	static const uint8_t segs[] = { 0x64, 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26 };
	bool free_pp = op->pp == PP_ANY && !(op->attr & OP_REPSTR);
	bool near64 = kind == DT_KIND_64 && (op->attr & OP_FORCE64);
	bool segmented = kind == DT_KIND_16 || kind == DT_KIND_LDT;

	if (one_in(segmented ? 3 : 8))
		enc_byte(e, segs[below(8)]);
	if (one_in(kind == DT_KIND_16 ? 4 : 10))
		enc_byte(e, 0x67);
	if ((op->attr & OP_VEX))
		return;
	/* 66 on near branches in 64-bit mode is where AMD and Intel differ */
	if (op->pp == PP_66 || ((op->pp == PP_ANY || op->pp == PP_NF) && !near64 && one_in(kind == DT_KIND_16 ? 2 : 4)) ||
	    ((op->pp == PP_F3 || op->pp == PP_F2) && one_in(8)))
		enc_byte(e, 0x66);
	if (op->pp == PP_F3 || op->pp == PP_F2)
		enc_byte(e, op->pp == PP_F3 ? 0xf3 : 0xf2);
	if ((op->attr & OP_REPSTR) && !one_in(3))
		enc_byte(e, one_in(2) ? 0xf3 : 0xf2);
	if (free_pp && one_in(24))
		enc_byte(e, one_in(2) ? 0xf3 : 0xf2);
	/* LOCK MOV CR0 is another way to CR8 on AMD, and #UD on Intel */
	if ((op->attr & OP_LOCK) ? one_in(3) : op->id != INSN_ID_MOV_CR && one_in(64))
		enc_byte(e, 0xf0);
	if (one_in(32))
		enc_byte(e, segs[below(8)]);
}

static void vex_prefix(struct enc *e, const struct opcode *op, enum insn_mode mode, int xb, unsigned *vvvv)
{
	unsigned w = op->attr & OP_W0 ? 0 : op->attr & OP_W1 ? 1 : below(2);
	unsigned l = op->attr & OP_L0 ? 0 : op->attr & OP_L1 ? 1 : below(2);
	unsigned rxb = mode != INSN_MODE64 ? 0 : xb < 0 ? below(8) : (below(2) << 2 | (unsigned)xb);
	unsigned pp = op->pp == PP_66 ? 1 : op->pp == PP_F3 ? 2 : op->pp == PP_F2 ? 3 : 0;

	*vvvv = op->attr & OP_NOVVVV ? 0 : below(mode == INSN_MODE64 ? 16 : 8);
	if (one_in(100)) /* an illegal field now and then */
		l ^= 1;
	if (one_in(100))
		*vvvv = below(8);
	if (op->map == MAP_0F && !w && !(rxb & 3) && one_in(2)) {
		enc_byte(e, 0xc5);
		enc_byte(e, (rxb & 4 ? 0 : 0x80) | (~*vvvv & 15) << 3 | l << 2 | pp);
		return;
	}
	enc_byte(e, 0xc4);
	enc_byte(e, (~rxb & 7) << 5 | op->map);
	enc_byte(e, w << 7 | (~*vvvv & 15) << 3 | l << 2 | pp);
}

/* As vex_prefix. Numbers of registers are any; b, z, aaa and L'L mostly such that the row takes them. */
static void evex_prefix(struct enc *e, const struct opcode *op, enum insn_mode mode, int xb)
{
	unsigned w = op->attr & OP_W0 ? 0 : op->attr & OP_W1 ? 1 : below(2), b = 0, z = 0, aaa = 0, ll, vvvv;
	unsigned rxb = mode != INSN_MODE64 ? 0 : xb < 0 ? below(8) : (below(2) << 2 | (unsigned)xb);
	unsigned r2 = mode == INSN_MODE64 && op->opnd[0].kind != OPND_KG && op->opnd[0].kind != OPND_G ? below(2) : 0;
	unsigned pp = op->pp == PP_66 ? 1 : op->pp == PP_F3 ? 2 : op->pp == PP_F2 ? 3 : 0;

	if (op->opnd[0].kind == OPND_KG && !one_in(32))
		rxb &= 3;
	if (op->evex & (EV_B | EV_ER | EV_SAE))
		b = one_in(4);
	ll = op->attr & OP_L0 ? 0 : op->evex & EV_L2 ? 2 : op->attr & OP_L1 ? 1 + below(2) : below(3);
	if (b && (op->evex & (EV_ER | EV_SAE)) && one_in(2))
		ll = below(4);
	if (op->evex & EV_K)
		aaa = op->evex & EV_KREQ ? 1 + below(7) : below(8);
	if ((op->evex & EV_Z) && aaa)
		z = one_in(2);
	vvvv = op->attr & OP_NOVVVV ? 0 : below(mode == INSN_MODE64 ? 32 : 8);
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_VM)
			vvvv = mode == INSN_MODE64 ? below(2) << 4 : 0;
	if (one_in(100)) /* an illegal field now and then */
		b ^= 1;
	if (one_in(100))
		z ^= 1;
	if (one_in(100))
		ll = below(4);
	if (one_in(100))
		vvvv = below(8);
	if (one_in(100))
		aaa = below(8);
	enc_byte(e, 0x62);
	enc_byte(e, (~rxb & 7) << 5 | (r2 ? 0 : 0x10) | op->map);
	enc_byte(e, w << 7 | (~vvvv & 15) << 3 | 4 | pp);
	enc_byte(e, z << 7 | ll << 5 | b << 4 | (vvvv & 16 ? 0 : 8) | aaa);
}

void enc_opcode(struct enc *e, const struct opcode *op, enum insn_mode mode, int xb)
{
	unsigned b = op->opcode, low = xb < 0 ? below(8) : (below(2) << 2 | (unsigned)xb);

	if (op->attr & OP_PLUSR)
		b |= below(8);
	if (op->evex) {
		evex_prefix(e, op, mode, xb);
	} else if (op->attr & OP_VEX) {
		unsigned vvvv;

		vex_prefix(e, op, mode, xb, &vvvv);
	} else {
		if (mode == INSN_MODE64 && (op->attr & OP_W1))
			enc_byte(e, 0x48 | low);
		else if (mode == INSN_MODE64 && (xb > 0 || one_in(2)))
			enc_byte(e, 0x40 | low | (op->attr & OP_W0 ? 0 : below(2) << 3));
		if (op->map != MAP_ONE)
			enc_byte(e, 0x0f);
		if (op->map > MAP_0F)
			enc_byte(e, op->map == MAP_0F38 ? 0x38 : 0x3a);
	}
	enc_byte(e, b);
}

/* Displacements and immediates: the decoder says later how many of these bytes count. */
void enc_tail(struct enc *e, const struct opcode *op)
{
	if (op->attr & OP_MODRM) {
		unsigned modrm = enc_modrm(op);

		enc_byte(e, modrm);
		if ((modrm >> 6) != 3 && (modrm & 7) == 4 && one_in(8))
			enc_byte(e, 0x20 | (unsigned)(rnd() & 0xdf)); /* no index */
	}
	while (e->n < sizeof(e->b)) {
		uint64_t v = interesting();

		for (unsigned i = 0; i < 4 && e->n < sizeof(e->b); i++)
			enc_byte(e, (unsigned)(v >> 8 * i) & 0xff);
	}
}
