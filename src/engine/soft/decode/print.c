// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decoded instructions as text, in Intel's syntax (SDM vol. 2, 3.1.1), for traces and reports.
 */
#include "engine/soft/decode/insn.h"
#include "engine/vcpu_state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const conditions[16] = { "o", "no", "b", "ae", "e", "ne", "be", "a",
					    "s", "ns", "p", "np", "l", "ge", "le", "g" };
static const char *const segments[8] = { "es", "cs", "ss", "ds", "fs", "gs", "s6", "s7" };

struct text {
	char *buf;
	size_t len, pos;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->pos + 1 >= t->len)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->pos, t->len - t->pos, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->pos = t->pos + (size_t)n < t->len ? t->pos + (size_t)n : t->len - 1;
}

/* General register @n of @size bytes; AH..BH by their byte offset. */
static void put_gpr(struct text *t, unsigned n, unsigned size, bool high)
{
	static const char *const legacy[8] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
	static const char *const low[8] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };
	static const char *const highs[4] = { "ah", "ch", "dh", "bh" };

	if (n == GPR_RIP) {
		put(t, size == 8 ? "rip" : "eip");
	} else if (size == 1 && high) {
		put(t, "%s", highs[n & 3]);
	} else if (n >= 8) {
		put(t, "r%u%s", n, size == 8 ? "" : size == 4 ? "d" : size == 2 ? "w" : "b");
	} else if (size == 1) {
		put(t, "%s", low[n]);
	} else {
		put(t, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", legacy[n]);
	}
}

static void put_vector(struct text *t, unsigned n, unsigned size)
{
	put(t, "%smm%u", size == 64 ? "z" : size == 32 ? "y" : "x", n);
}

static const char *size_name(unsigned size)
{
	switch (size) {
	case 1: return "byte ";
	case 2: return "word ";
	case 4: return "dword ";
	case 6: return "fword ";
	case 8: return "qword ";
	case 10: return "tbyte ";
	case 16: return "oword ";
	case 32: return "yword ";
	case 64: return "zword ";
	default: return "";
	}
}

static void put_memory(struct text *t, const struct insn *in, unsigned n, bool sized)
{
	const struct operand *o = &opcode_table[in->row].opnd[n];
	unsigned asize = in->addrsize;
	bool any = false;

	put(t, "%s", sized ? size_name(insn_operand_size(in, n)) : "");
	if (in->flags & INSN_SEG)
		put(t, "%s:", segments[in->seg & 7]);
	put(t, "[");
	if (in->flags & INSN_MOFFS) {
		put(t, "%#" PRIx64 "]", in->imm);
		return;
	}
	if (in->base != GPR_ZERO) {
		put_gpr(t, in->base, asize, false);
		any = true;
	}
	if (in->index != GPR_ZERO) {
		put(t, any ? "+" : "");
		if (o->kind == OPND_VM)
			put_vector(t, in->index, insn_vector_size(in));
		else
			put_gpr(t, in->index, asize, false);
		if (in->scale)
			put(t, "*%u", 1u << in->scale);
		any = true;
	}
	if (!any)
		put(t, "%#" PRIx64,
		    asize == 8	 ? (uint64_t)(int64_t)in->disp
		    : asize == 4 ? (uint64_t)(uint32_t)in->disp
				 : (uint64_t)(uint16_t)in->disp);
	else if (in->disp)
		put(t, "%c%#" PRIx64, in->disp < 0 ? '-' : '+',
		    (uint64_t)(in->disp < 0 ? -(int64_t)in->disp : (int64_t)in->disp));
	put(t, "]");
}

/* The rm operand of a vector, MMX or general kind. */
static void put_rm(struct text *t, const struct insn *in, unsigned n, bool sized)
{
	const struct operand *o = &opcode_table[in->row].opnd[n];
	unsigned size = insn_operand_size(in, n);

	if (in->flags & INSN_MEM) {
		put_memory(t, in, n, sized);
		return;
	}
	switch (o->kind) {
	case OPND_W:
	case OPND_U: put_vector(t, in->rm, size); break;
	case OPND_Q:
	case OPND_N: put(t, "mm%u", in->rm); break;
	case OPND_KR:
	case OPND_KM: put(t, "k%u", in->rm); break;
	default: put_gpr(t, in->rm, size ? size : in->opsize, in->rm_off & 1);
	}
}

static void put_implicit(struct text *t, const struct insn *in, unsigned n)
{
	const struct opcode *op = &opcode_table[in->row];
	bool port = in->id == INSN_ID_IN || in->id == INSN_ID_OUT;

	if ((op->implicit & IMPL_RCX_R) && !port)
		put(t, "cl");
	else
		put_gpr(t, RAX, insn_operand_size(in, n), false);
}

static void put_operand(struct text *t, const struct insn *in, uint64_t rip, unsigned n, bool sized)
{
	const struct operand *o = &opcode_table[in->row].opnd[n];
	unsigned size = insn_operand_size(in, n);

	switch (o->kind) {
	case OPND_E:
	case OPND_M:
	case OPND_R:
	case OPND_W:
	case OPND_U:
	case OPND_Q:
	case OPND_N:
	case OPND_KR:
	case OPND_KM:
	case OPND_VM: put_rm(t, in, n, sized); break;
	case OPND_G: put_gpr(t, in->reg, size, in->reg_off & 1); break;
	case OPND_B: put_gpr(t, in->vvvv, size, false); break;
	case OPND_I:
		if (in->id == INSN_ID_ENTER)
			put(t, "%" PRIu64, n == 0 ? in->imm & 0xffff : in->imm >> 16);
		else if ((int64_t)in->imm < 0 && (int64_t)in->imm > -4096)
			put(t, "-%#" PRIx64, -in->imm);
		else
			put(t, in->imm < 10 ? "%" PRIu64 : "%#" PRIx64, in->imm);
		break;
	case OPND_J: {
		uint64_t target = rip + in->len + in->imm;

		put(t, "%#" PRIx64,
		    in->opsize == 8	? target
		    : in->opsize == 4 ? (uint64_t)(uint32_t)target
				      : (uint64_t)(uint16_t)target);
		break;
	}
	case OPND_FAR: put(t, "%#x:%#" PRIx64, (unsigned)in->disp, in->imm); break;
	case OPND_S: put(t, "%s", segments[in->reg & 7]); break;
	case OPND_C: put(t, "cr%u", in->reg); break;
	case OPND_D: put(t, "dr%u", in->reg); break;
	case OPND_V: put_vector(t, in->reg, size); break;
	case OPND_H: put_vector(t, in->vvvv, size); break;
	case OPND_L: put_vector(t, in->is4, size == 32 ? 32 : 16); break;
	case OPND_P: put(t, "mm%u", in->reg); break;
	case OPND_KG: put(t, "k%u", in->reg); break;
	case OPND_KH: put(t, "k%u", in->vvvv); break;
	case OPND_ST0: put(t, "st"); break;
	case OPND_STI: put(t, "st(%u)", in->rm & 7); break;
	case OPND_IMPLICIT: put_implicit(t, in, n); break;
	default: break;
	}
}

static void put_mnemonic(struct text *t, const struct insn *in)
{
	static const char *const widths[9] = { "", "b", "w", "", "d", "", "", "", "q" };
	static const char *const cbw[9] = { [2] = "cbw", [4] = "cwde", [8] = "cdqe" };
	static const char *const cwd[9] = { [2] = "cwd", [4] = "cdq", [8] = "cqo" };
	const struct opcode *op = &opcode_table[in->row];
	unsigned s = in->opsize <= 8 ? in->opsize : 0;

	if (in->flags & INSN_LOCK)
		put(t, "lock ");
	if (in->flags & INSN_REPNE)
		put(t, "repne ");
	if (in->flags & INSN_REP)
		put(t, in->id == INSN_ID_CMPS || in->id == INSN_ID_SCAS ? "repe " : "rep ");
	switch (in->id) {
	case INSN_ID_JCC:
	case INSN_ID_SETCC:
	case INSN_ID_CMOVCC: put(t, "%s%s", op->name, conditions[in->cc]); break;
	case INSN_ID_CBW: put(t, "%s", cbw[s] ? cbw[s] : "cbw"); break;
	case INSN_ID_CWD: put(t, "%s", cwd[s] ? cwd[s] : "cwd"); break;
	case INSN_ID_JCXZ: put(t, "%s", in->addrsize == 8 ? "jrcxz" : in->addrsize == 4 ? "jecxz" : "jcxz"); break;
	default:
		put(t, "%s%s", op->name, op->attr & OP_REPSTR ? widths[s] : "");
		if (op->attr & OP_REPSTR && in->flags & INSN_SEG)
			put(t, " %s:", segments[in->seg & 7]);
	}
}

/* An operand that hides the operands' size: no register tells it. */
static bool needs_size(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	for (unsigned i = 0; i < 4; i++) {
		switch (op->opnd[i].kind) {
		case OPND_G:
		case OPND_P:
			if (in->id != INSN_ID_MOVZX && in->id != INSN_ID_MOVSX && in->id != INSN_ID_MOVSXD)
				return false;
			break;
		case OPND_V:
			if (op->opnd[i].size == op->opnd[!i].size)
				return false;
			break;
		default: break;
		}
	}
	return true;
}

const char *insn_print(const struct insn *in, uint64_t rip, char *buf, size_t len)
{
	struct text t = { .buf = buf, .len = len };
	const struct opcode *op;
	bool sized, first = true;

	if (!len)
		return buf;
	buf[0] = 0;
	if (in->row >= opcode_count || in->id == INSN_ID_NONE) {
		put(&t, "(bad)");
		return buf;
	}
	op = &opcode_table[in->row];
	put_mnemonic(&t, in);
	sized = needs_size(in);
	for (unsigned i = 0; i < 4 && op->opnd[i].kind != OPND_NONE; i++) {
		if (op->opnd[i].kind == OPND_X || op->opnd[i].kind == OPND_Y)
			continue;
		put(&t, first ? " " : ", ");
		first = false;
		put_operand(&t, in, rip, i, sized);
		if (i == 0 && in->aaa)
			put(&t, " {k%u}%s", in->aaa, in->flags & INSN_Z ? "{z}" : "");
		if ((in->flags & INSN_B) && (in->flags & INSN_MEM) && op->opnd[i].kind == OPND_W)
			put(&t, "{1toN}");
	}
	if ((in->flags & (INSN_B | INSN_MEM)) == INSN_B)
		put(&t, op->evex & EV_ER ? ", {%s-sae}" : ", {sae}", &"rn\0rd\0ru\0rz"[3 * (in->flags >> 7 & 1) + (in->flags & INSN_L2 ? 6 : 0)]);
	if ((in->id == INSN_ID_IN || in->id == INSN_ID_OUT) && (op->implicit & IMPL_RDX_R))
		put(&t, in->id == INSN_ID_IN ? ", dx" : "; dx");
	return buf;
}
