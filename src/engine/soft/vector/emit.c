// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thunk of an instruction.
 *
 * The raw bytes of the guest's instruction are gone; the instruction is encoded anew from its row
 * and its operands (SDM vol. 2, chapter 2). Vector registers keep their numbers. A general
 * register becomes RAX, the memory operand [RSI]; RDI is the struct cpu for the whole thunk.
 *
 *   SSE, AVX   load the XMM/YMM registers that are read; LDMXCSR if the row is floating point; the
 *              instruction; flags; general register; STMXCSR; store the registers that are written;
 *              VZEROUPPER after 256 bits. A legacy encoding keeps a YMM register's upper half, a VEX
 *              one clears it (SDM vol. 1, 14.1.4).
 *   EVEX       the same with all of the ZMM registers and opmasks that are read or written; VZEROUPPER
 *   MMX        the same with MM registers, EMMS at the end
 *   x87        FXRSTOR64 of the whole file, the instruction, FXSAVE64, EMMS, FLDCW
 *
 * At the end MXCSR is the host's, the x87 stack empty: what C code expects. The instruction comes
 * before every store to the struct cpu (but MXCSR's), so that an exception leaves all as it was.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

#define X_OFF(member) ((uint32_t)(offsetof(struct cpu, x) + offsetof(struct cpu_xsave, member)))
#define XMM_OFF(n) (X_OFF(xmm) + 16 * (uint32_t)(n))
#define YMM_OFF(n) (X_OFF(ymm_hi) + 16 * (uint32_t)(n))
#define ST_OFF(n) (X_OFF(st) + 16 * (uint32_t)(n))
#define Z_OFF(member) ((uint32_t)(offsetof(struct cpu, z) + offsetof(struct cpu_avx512, member)))
#define K_OFF(n) (Z_OFF(k) + 8 * (uint32_t)(n))
#define ZMM_OFF(n) (Z_OFF(zmm_hi) + 32 * (uint32_t)(n))
#define HI16_OFF(n) (Z_OFF(hi16) + 64 * ((uint32_t)(n) - 16))
#define GPR_OFF(n) ((uint32_t)offsetof(struct cpu, gpr) + 8 * (uint32_t)(n))
#define FLAGS_OFF ((uint32_t)offsetof(struct cpu, flags))

struct emit {
	uint8_t *p;
	const struct insn *in;
	const struct opcode *op;
	uint32_t xmm_in, xmm_out; /* registers to load and to store */
	uint8_t mm_in, mm_out, k_in, k_out;
	int gpr_in, gpr_out; /* that RAX stands for, or -1 */
	uint8_t reg, rm;     /* numbers as encoded, 0 to 31 */
	uint8_t vvvv;
	bool mem, l, evex, wide;
};

static void byte(struct emit *e, unsigned b) { *e->p++ = (uint8_t)b; }

static void word(struct emit *e, uint32_t w)
{
	memcpy(e->p, &w, 4);
	e->p += 4;
}

#define BYTES(e, ...)                                                                              \
	do {                                                                                       \
		static const uint8_t b_[] = { __VA_ARGS__ };                                       \
		memcpy((e)->p, b_, sizeof(b_));                                                    \
		(e)->p += sizeof(b_);                                                              \
	} while (0)

/* ModRM and displacement of [RDI + off] */
static void at_rdi(struct emit *e, unsigned reg, uint32_t off)
{
	byte(e, 0x87 | (reg & 7) << 3);
	word(e, off);
}

/* --- registers --- */

static void xmm_move(struct emit *e, unsigned n, bool store, bool vex)
{
	if (vex) {
		byte(e, 0xc5);
		byte(e, 0x78 | (n < 8 ? 0x80 : 0));
	} else {
		if (n >= 8)
			byte(e, 0x44);
		byte(e, 0x0f);
	}
	byte(e, store ? 0x29 : 0x28); /* (V)MOVAPS */
	at_rdi(e, n, XMM_OFF(n));
}

/* VINSERTF128 ymm, ymm, [upper half], 1 */
static void ymm_load_upper(struct emit *e, unsigned n)
{
	byte(e, 0xc4);
	byte(e, n < 8 ? 0xe3 : 0x63);
	byte(e, (~n & 0xf) << 3 | 5);
	byte(e, 0x18);
	at_rdi(e, n, YMM_OFF(n));
	byte(e, 1);
}

/* VEXTRACTF128 [upper half], ymm, 1 */
static void ymm_store_upper(struct emit *e, unsigned n)
{
	byte(e, 0xc4);
	byte(e, n < 8 ? 0xe3 : 0x63);
	byte(e, 0x7d);
	byte(e, 0x19);
	at_rdi(e, n, YMM_OFF(n));
	byte(e, 1);
}

/* VXORPS of XMM @n with itself */
static void clear_register(struct emit *e, unsigned n)
{
	byte(e, 0xc4);
	byte(e, n < 8 ? 0xe1 : 0x41);
	byte(e, (~n & 0xf) << 3);
	byte(e, 0x57);
	byte(e, 0xc0 | (n & 7) << 3 | (n & 7));
}

/* VXORPS of the register (its low half is already stored), VMOVAPS to its upper half. */
static void ymm_clear_upper(struct emit *e, unsigned n)
{
	clear_register(e, n);
	byte(e, 0xc5);
	byte(e, 0x78 | (n < 8 ? 0x80 : 0));
	byte(e, 0x29);
	at_rdi(e, n, YMM_OFF(n));
}

/* VMOVUPS [upper half of ZMM], ymm: it has been stored, and is zero but for that */
static void zmm_clear_upper(struct emit *e, unsigned n)
{
	if (e->l)
		clear_register(e, n);
	byte(e, 0xc5);
	byte(e, 0x7c | (n < 8 ? 0x80 : 0));
	byte(e, 0x11);
	at_rdi(e, n, ZMM_OFF(n));
}

/* --- AVX-512 --- */

/* The prefix of an instruction on ZMM @n and memory at [RDI + ...]: @p1 has W, vvvv and pp. */
static void evex_at_rdi(struct emit *e, unsigned n, unsigned map, unsigned p1)
{
	byte(e, 0x62);
	byte(e, (n & 8 ? 0 : 0x80u) | 0x60 | (n & 16 ? 0 : 0x10u) | map);
	byte(e, p1 | 4);
	byte(e, 0x48);
}

static void zmm_load(struct emit *e, unsigned n)
{
	if (n >= 16) { /* VMOVUPS */
		evex_at_rdi(e, n, MAP_0F, 0x78);
		byte(e, 0x10);
		at_rdi(e, n, HI16_OFF(n));
		return;
	}
	xmm_move(e, n, false, true);
	ymm_load_upper(e, n);
	evex_at_rdi(e, n, MAP_0F3A, 0x80 | (~n & 0xf) << 3 | 1); /* VINSERTF64X4 */
	byte(e, 0x1a);
	at_rdi(e, n, ZMM_OFF(n));
	byte(e, 1);
}

static void zmm_store(struct emit *e, unsigned n)
{
	if (n >= 16) {
		evex_at_rdi(e, n, MAP_0F, 0x78);
		byte(e, 0x11);
		at_rdi(e, n, HI16_OFF(n));
		return;
	}
	xmm_move(e, n, true, true);
	ymm_store_upper(e, n);
	evex_at_rdi(e, n, MAP_0F3A, 0x80 | 0x78 | 1); /* VEXTRACTF64X4 */
	byte(e, 0x1b);
	at_rdi(e, n, ZMM_OFF(n));
	byte(e, 1);
}

/* KMOVQ */
static void k_moves(struct emit *e, unsigned set, bool store)
{
	for (unsigned n = 0; n < 8; n++) {
		if (!(set >> n & 1))
			continue;
		BYTES(e, 0xc4, 0xe1, 0xf8);
		byte(e, store ? 0x91 : 0x90);
		at_rdi(e, n, K_OFF(n));
	}
}

static void load_registers(struct emit *e, bool vex)
{
	for (unsigned n = 0; n < 32; n++) {
		if (!(e->xmm_in >> n & 1))
			continue;
		if (e->evex) {
			zmm_load(e, n);
			continue;
		}
		xmm_move(e, n, false, vex);
		if (e->l)
			ymm_load_upper(e, n);
	}
	k_moves(e, e->k_in, false);
	for (unsigned n = 0; n < 8; n++) {
		if (!(e->mm_in >> n & 1))
			continue;
		BYTES(e, 0x0f, 0x6f); /* MOVQ mm, m64 */
		at_rdi(e, n, ST_OFF(n));
	}
}

static void store_registers(struct emit *e, bool vex)
{
	for (unsigned n = 0; n < 32; n++) {
		if (!(e->xmm_out >> n & 1))
			continue;
		if (e->evex) {
			zmm_store(e, n);
			continue;
		}
		xmm_move(e, n, true, vex);
		if (!vex)
			continue;
		if (e->l)
			ymm_store_upper(e, n);
		else
			ymm_clear_upper(e, n);
		if (e->wide)
			zmm_clear_upper(e, n);
	}
	k_moves(e, e->k_out, true);
	for (unsigned n = 0; n < 8; n++) {
		if (!(e->mm_out >> n & 1))
			continue;
		BYTES(e, 0x0f, 0x7f); /* MOVQ m64, mm; bits 64-79 become ones (SDM vol. 3, 12.2) */
		at_rdi(e, n, ST_OFF(n));
		BYTES(e, 0x66, 0xc7); /* MOV m16, imm16 */
		at_rdi(e, 0, ST_OFF(n) + 8);
		BYTES(e, 0xff, 0xff);
	}
}

/* MOV between general register @reg and the guest's register @n */
static void gpr_move(struct emit *e, unsigned reg, unsigned n, bool store)
{
	byte(e, 0x48);
	byte(e, store ? 0x89 : 0x8b);
	at_rdi(e, reg, GPR_OFF(n));
}

/* --- flags, as c->flags keeps them (cpu.h) --- */

static void load_flags(struct emit *e)
{
	byte(e, 0x8b); /* MOV EAX, m32; ADD AL, 127: OF; SAHF */
	at_rdi(e, RAX, FLAGS_OFF);
	BYTES(e, 0x04, 0x7f, 0x9e);
}

static void store_flags(struct emit *e)
{
	/* LAHF; SETO AL; MOVZX EAX, AX */
	BYTES(e, 0x9f, 0x0f, 0x90, 0xc0, 0x0f, 0xb7, 0xc0);
	byte(e, 0x89);
	at_rdi(e, RAX, FLAGS_OFF);
}

/* --- MXCSR --- */

static void ldmxcsr_guest(struct emit *e)
{
	BYTES(e, 0x0f, 0xae);
	at_rdi(e, 2, X_OFF(mxcsr));
}

static void stmxcsr_guest(struct emit *e)
{
	BYTES(e, 0x0f, 0xae);
	at_rdi(e, 3, X_OFF(mxcsr));
}

/* The host's MXCSR stands right after RET: LDMXCSR [RIP + 3]; XOR EAX, EAX; RET. */
static void leave_with_host_mxcsr(struct emit *e)
{
	BYTES(e, 0x0f, 0xae, 0x15, 3, 0, 0, 0, 0x31, 0xc0, 0xc3);
	word(e, MXCSR_INIT);
}

/* --- the instruction itself --- */

/* Sorts the operands of the row. False: something that no thunk is made for. */
static bool take_operands(struct emit *e)
{
	const struct insn *in = e->in;

	e->gpr_in = e->gpr_out = -1;
	e->reg = e->op->ext >= 0 ? (uint8_t)e->op->ext : in->modrm >> 3 & 7;
	e->mem = in->flags & INSN_MEM;
	e->rm = e->mem ? RSI : in->modrm & 7;
	e->l = in->flags & INSN_L;
	for (unsigned i = 0; i < 4; i++) {
		const struct operand *o = &e->op->opnd[i];
		unsigned n;
		int gpr = -1;

		switch (o->kind) {
		case OPND_V: n = e->reg = in->reg; goto xmm;
		case OPND_W:
			if (e->mem)
				break;
			/* fall through */
		case OPND_U: n = e->rm = in->rm; goto xmm;
		case OPND_H: n = e->vvvv = in->vvvv; goto xmm;
		case OPND_L: n = in->is4; goto xmm;
		xmm:
			e->xmm_in |= (o->access & ACCESS_R || (i == 0 && in->aaa && !(in->flags & INSN_Z)) ? 1u : 0) << n;
			e->xmm_out |= (o->access & ACCESS_W ? 1u : 0) << n;
			break;
		case OPND_KG: n = e->reg = in->reg; goto k;
		case OPND_KH: n = e->vvvv = in->vvvv; goto k;
		case OPND_KM:
			if (e->mem)
				break;
			/* fall through */
		case OPND_KR: n = e->rm = in->rm; goto k;
		k:
			e->k_in |= (uint8_t)((o->access & ACCESS_R ? 1u : 0) << n);
			e->k_out |= (uint8_t)((o->access & ACCESS_W ? 1u : 0) << n);
			break;
		case OPND_P: n = e->reg = in->reg & 7; goto mm;
		case OPND_Q:
			if (e->mem)
				break;
			/* fall through */
		case OPND_N: n = e->rm = in->rm & 7; goto mm;
		mm:
			e->mm_in |= (uint8_t)((o->access & ACCESS_R ? 1u : 0) << n);
			e->mm_out |= (uint8_t)((o->access & ACCESS_W ? 1u : 0) << n);
			break;
		case OPND_G:
			gpr = in->reg;
			e->reg = RAX;
			break;
		case OPND_E:
			if (e->mem)
				break;
			/* fall through */
		case OPND_R:
			gpr = in->rm;
			e->rm = RAX;
			break;
		case OPND_NONE:
		case OPND_M:
		case OPND_I:
		case OPND_ST0:
		case OPND_STI: break;
		default: return false;
		}
		if (gpr < 0)
			continue;
		if (e->gpr_in >= 0 || e->gpr_out >= 0)
			return false;
		if (o->access & ACCESS_R)
			e->gpr_in = gpr;
		if (o->access & ACCESS_W)
			e->gpr_out = gpr;
	}
	if (in->aaa)
		e->k_in |= (uint8_t)(1u << in->aaa);
	if (in->id == INSN_ID_VP2INTERSECTD || in->id == INSN_ID_VP2INTERSECTQ) /* a pair */
		e->k_out = (uint8_t)(3u << (in->reg & 6));
	if (e->op->implicit & IMPL_XMM0_R)
		e->xmm_in |= 1;
	if (e->op->implicit & IMPL_XMM0_W)
		e->xmm_out |= 1;
	return true;
}

static bool has_immediate(const struct opcode *op)
{
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_I)
			return true;
	return false;
}

static int is4_operand(const struct opcode *op)
{
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_L)
			return 1;
	return 0;
}

static void prefixes_legacy(struct emit *e)
{
	static const uint8_t mandatory[] = { [PP_66] = 0x66, [PP_F3] = 0xf3, [PP_F2] = 0xf2, [PP_ANY] = 0 };
	unsigned rex = (e->in->flags & INSN_W ? 8u : 0) | (e->reg >= 8 ? 4u : 0) | (!e->mem && e->rm >= 8 ? 1u : 0);

	if (e->op->pp != PP_NONE && e->op->pp < sizeof(mandatory) && mandatory[e->op->pp])
		byte(e, mandatory[e->op->pp]);
	if (rex && e->op->map != MAP_ONE)
		byte(e, 0x40 | rex);
	if (e->op->map != MAP_ONE)
		byte(e, 0x0f);
	if (e->op->map == MAP_0F38)
		byte(e, 0x38);
	if (e->op->map == MAP_0F3A)
		byte(e, 0x3a);
}

static void prefix_vex(struct emit *e)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };

	byte(e, 0xc4);
	byte(e, (e->reg < 8 ? 0x80u : 0) | 0x40 | (e->mem || e->rm < 8 ? 0x20u : 0) | e->op->map);
	byte(e, (e->in->flags & INSN_W ? 0x80u : 0) | (~(unsigned)e->vvvv & 0xf) << 3 | (e->l ? 4u : 0) |
			(e->op->pp < sizeof(pp) ? pp[e->op->pp] : 0));
}

/* SDM vol. 2, 2.7.1 */
static void prefix_evex(struct emit *e)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	unsigned rm = e->mem ? 0 : e->rm, flags = e->in->flags;

	byte(e, 0x62);
	byte(e, (e->reg & 8 ? 0 : 0x80u) | (rm & 16 ? 0 : 0x40u) | (rm & 8 ? 0 : 0x20u) | (e->reg & 16 ? 0 : 0x10u) | e->op->map);
	byte(e, (flags & INSN_W ? 0x80u : 0) | (~(unsigned)e->vvvv & 0xf) << 3 | 4 | pp[e->op->pp & 3]);
	byte(e, (flags & INSN_Z ? 0x80u : 0) | (flags & INSN_L2 ? 0x40u : 0) | (flags & INSN_L ? 0x20u : 0) |
			(flags & INSN_B ? 0x10u : 0) | (e->vvvv & 16 ? 0 : 8u) | e->in->aaa);
}

static void instruction(struct emit *e)
{
	if (e->evex)
		prefix_evex(e);
	else if (e->op->attr & OP_VEX)
		prefix_vex(e);
	else
		prefixes_legacy(e);
	byte(e, e->op->opcode);
	if (e->op->attr & OP_MODRM)
		byte(e, (e->mem ? 0 : 0xc0u) | (e->reg & 7u) << 3 | (e->rm & 7u));
	if (is4_operand(e->op))
		byte(e, (unsigned)e->in->is4 << 4);
	else if (has_immediate(e->op))
		byte(e, (unsigned)e->in->imm & 0xff);
}

static void emit_x87(struct emit *e)
{
	bool flags = e->op->fl_read || e->op->fl_write;

	BYTES(e, 0x48, 0x0f, 0xae); /* FXRSTOR64 */
	at_rdi(e, 1, X_OFF(fcw));
	if (flags)
		load_flags(e);
	instruction(e);
	if (flags)
		store_flags(e);
	BYTES(e, 0x48, 0x0f, 0xae); /* FXSAVE64 */
	at_rdi(e, 0, X_OFF(fcw));
	/*
	 * An empty stack under the host's control words, cheaper than by FNINIT: flags of masked exceptions
	 * may stay, and so may TOP. TEST fsw, ES; JZ; FNCLEX; EMMS.
	 */
	BYTES(e, 0xf6);
	at_rdi(e, 0, X_OFF(fsw));
	BYTES(e, FSW_ES, 0x74, 0x02, 0xdb, 0xe2, 0x0f, 0x77);
	/* The words stand after RET: FLDCW [RIP + 14]; LDMXCSR [RIP + 3]; XOR EAX, EAX; RET. */
	BYTES(e, 0xd9, 0x2d, 14, 0, 0, 0, 0x0f, 0xae, 0x15, 3, 0, 0, 0, 0x31, 0xc0, 0xc3);
	word(e, MXCSR_INIT);
	word(e, FCW_INIT);
}

static void emit_vector(struct emit *e)
{
	const struct opcode *op = e->op;
	bool vex = op->attr & OP_VEX, fp = op->attr & OP_FP;

	load_registers(e, vex);
	if (e->gpr_in >= 0)
		gpr_move(e, RAX, (unsigned)e->gpr_in, false);
	if (op->implicit & IMPL_RAX_R)
		gpr_move(e, RAX, RAX, false);
	if (op->implicit & IMPL_RDX_R)
		gpr_move(e, RDX, RDX, false);
	if (fp)
		ldmxcsr_guest(e);
	instruction(e);
	if (e->gpr_out >= 0)
		gpr_move(e, RAX, (unsigned)e->gpr_out, true);
	if (op->implicit & IMPL_RCX_W)
		gpr_move(e, RCX, RCX, true);
	if (op->fl_write)
		store_flags(e);
	if (fp)
		stmxcsr_guest(e);
	store_registers(e, vex);
	if (e->l || e->evex)
		BYTES(e, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
	if (e->mm_in | e->mm_out)
		BYTES(e, 0x0f, 0x77); /* EMMS */
	if (fp)
		leave_with_host_mxcsr(e);
	else
		BYTES(e, 0x31, 0xc0, 0xc3); /* XOR EAX, EAX; RET */
}

int emit_thunk(const struct insn *in, bool wide, uint8_t *buf)
{
	struct emit e = { .p = buf, .in = in, .op = &opcode_table[in->row], .wide = wide, .evex = in->flags & INSN_EVEX };

	if (!take_operands(&e))
		return -1;
	if ((e.op->attr & (OP_X87 | OP_MMX)) == OP_X87)
		emit_x87(&e);
	else
		emit_vector(&e);
	return (int)(e.p - buf);
}
