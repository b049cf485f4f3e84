// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What must be equal after a case, and the two tables of what need not be: flags and memory that a
 * manual leaves open where the host and the model were seen to differ, and instructions for which
 * AMD's manual and Intel's differ (the model is an Intel CPU, the host may be either). Each row has its reason.
 */
#include "difftest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Flags that are not compared for an instruction. */
static const struct {
	uint16_t id;
	uint32_t flags;
	const char *why;
} flag_masks[] = {
	{ INSN_ID_NONE, 0, "" },
};

/* Bytes of the memory operand that are not compared. */
static const struct {
	uint16_t id;
	uint8_t opsize; /* 0: any */
	uint16_t first, len;
	const char *why;
} memory_masks[] = {
	{ INSN_ID_FNSTENV, 2, 6, 8, "FIP, FCS, FDP, FDS: AMD keeps them only with a pending exception (APM vol. 5, FNSTENV)" },
	{ INSN_ID_FNSTENV, 4, 12, 16, "the same, and FOP" },
	{ INSN_ID_FNSTENV, 8, 12, 16, "the same" },
	{ INSN_ID_FNSAVE, 2, 6, 8, "the same" },
	{ INSN_ID_FNSAVE, 4, 12, 16, "the same" },
	{ INSN_ID_FNSAVE, 8, 12, 16, "the same" },
	{ INSN_ID_FXSAVE, 0, 6, 18, "FOP, FIP, FDP: the same (APM vol. 5, FXSAVE)" },
	{ INSN_ID_FXSAVE, 0, 28, 4, "MXCSR_MASK: AMD has bit 17" },
	{ INSN_ID_XSAVE, 0, 6, 18, "the same" },
	{ INSN_ID_XSAVE, 0, 28, 4, "the same" },
	{ INSN_ID_XSAVEC, 0, 6, 18, "the same" },
	{ INSN_ID_XSAVEC, 0, 28, 4, "the same" },
	{ INSN_ID_XSAVEOPT, 0, 6, 18, "the same" },
	{ INSN_ID_XSAVEOPT, 0, 28, 4, "the same" },
};

/* Instructions in which AMD and Intel differ; the model follows Intel. */
enum { WHEN_ALWAYS, WHEN_MEMORY, WHEN_REGISTER, WHEN_UNALIGNED, WHEN_MEMORY16, WHEN_REP, WHEN_MXCSR_MM, WHEN_W_IN_32, WHEN_SIZE4, WHEN_SIZE8, WHEN_RPL, WHEN_HIGH_RSP };
static const struct {
	uint16_t id;
	uint8_t map, opcode, when;
	const char *why;
} vendors_differ[] = {
	{ INSN_ID_NOP, MAP_0F, 0x0d, WHEN_REGISTER, "0F 0D with a register: #UD on AMD, a reserved NOP on Intel" },
	{ INSN_ID_MOVSXD, MAP_ONE, 0x63, WHEN_MEMORY16, "AMD reads 32 bits of memory where Intel reads 16 (SDM vol. 2, MOVSXD)" },
	{ INSN_ID_LDMXCSR, MAP_0F, 0xae, WHEN_MXCSR_MM, "MXCSR bit 17 (misaligned exception mask) is AMD's" },
	{ INSN_ID_FXRSTOR, MAP_0F, 0xae, WHEN_MXCSR_MM, "the same" },
	{ INSN_ID_XRSTOR, MAP_0F, 0xae, WHEN_MXCSR_MM, "the same" },
	{ INSN_ID_VLDMXCSR, MAP_0F, 0xae, WHEN_MXCSR_MM, "the same" },
	{ INSN_ID_VPEXTRD, MAP_0F3A, 0x16, WHEN_W_IN_32, "VEX.W1 outside 64-bit mode: #UD on AMD, ignored on Intel" },
	{ INSN_ID_VPINSRD, MAP_0F3A, 0x22, WHEN_W_IN_32, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x06, WHEN_SIZE4, "a 32-bit push of a selector: zero-extended on AMD, a 16-bit store on Intel (SDM vol. 2, PUSH)" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x0e, WHEN_SIZE4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x16, WHEN_SIZE4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x1e, WHEN_SIZE4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_0F, 0xa0, WHEN_SIZE4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_0F, 0xa8, WHEN_SIZE4, "the same" },
	{ INSN_ID_LSS, MAP_0F, 0xb2, WHEN_SIZE8, "far pointers with a 64-bit offset: Intel only (APM vol. 3, LSS)" },
	{ INSN_ID_LFS, MAP_0F, 0xb4, WHEN_SIZE8, "the same" },
	{ INSN_ID_LGS, MAP_0F, 0xb5, WHEN_SIZE8, "the same" },
	{ INSN_ID_JMP_FAR_IND, MAP_ONE, 0xff, WHEN_SIZE8, "the same" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, WHEN_SIZE8, "the same" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xca, WHEN_RPL, "return to a lower RPL: AMD reads the outer stack before it refuses" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xcb, WHEN_RPL, "the same" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, WHEN_HIGH_RSP, "from 64-bit to compatibility mode AMD pushes with a 32-bit rSP" },
	{ INSN_ID_LOOPE, MAP_ONE, 0xe1, WHEN_REP, "F2 and F3 change the sense of ZF on AMD; Intel ignores them" },
	{ INSN_ID_LOOPNE, MAP_ONE, 0xe0, WHEN_REP, "the same" },
	{ INSN_ID_CVTPI2PS, MAP_0F, 0x2a, WHEN_MEMORY,
	  "MMX transition with a memory operand: on Intel (SDM vol. 2, CVTPI2PS), not on AMD" },
	{ INSN_ID_SHA1NEXTE, MAP_0F38, 0xc8, WHEN_UNALIGNED, "SHA: exceptions of type 4 on Intel; AMD allows it" },
	{ INSN_ID_SHA1MSG1, MAP_0F38, 0xc9, WHEN_UNALIGNED, "the same" },
	{ INSN_ID_SHA1MSG2, MAP_0F38, 0xca, WHEN_UNALIGNED, "the same" },
	{ INSN_ID_SHA256RNDS2, MAP_0F38, 0xcb, WHEN_UNALIGNED, "the same" },
	{ INSN_ID_SHA256MSG1, MAP_0F38, 0xcc, WHEN_UNALIGNED, "the same" },
	{ INSN_ID_SHA256MSG2, MAP_0F38, 0xcd, WHEN_UNALIGNED, "the same" },
	{ INSN_ID_SHA1RNDS4, MAP_0F3A, 0xcc, WHEN_UNALIGNED, "the same" },
};

static bool host_is_amd(void)
{
	static int amd = -1;
	uint32_t a = 0, b, c, d;

	if (amd < 0) {
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
		amd = b == 0x68747541; /* "Auth" */
	}
	return amd;
}

static bool is_image(const struct insn *in)
{
	unsigned size = opcode_table[in->row].opnd[0].size;

	return size == SIZE_512 || size == SIZE_XSAVE;
}

static uint64_t segment_base(const struct dt_case *c, const struct insn *in)
{
	return in->seg == SEG_FS ? c->in.fs_base : in->seg == SEG_GS ? c->in.gs_base : 0;
}

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)a << 16 >> 16) == a;
}

/* Operands that processors access in several parts */
static bool in_parts(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FLD:
	case INSN_ID_FSTP: return (in->flags & INSN_MEM) && in->row && opcode_table[in->row].opcode == 0xdb;
	case INSN_ID_FBLD:
	case INSN_ID_FBSTP:
	case INSN_ID_FLDENV:
	case INSN_ID_FNSTENV:
	case INSN_ID_FRSTOR:
	case INSN_ID_FNSAVE: return true;
	default: return false;
	}
}

static bool spans_canonical_end(const struct dt_case *c, const struct insn *in)
{
	if ((in->id == INSN_ID_MASKMOVDQU || in->id == INSN_ID_VMASKMOVDQU || in->id == INSN_ID_MASKMOVQ) &&
	    canonical(c->in.gpr[RDI]) != canonical(c->in.gpr[RDI] + 15))
		return true;
	return in_parts(in) && c->has_ea && canonical(c->ea) != canonical(c->ea + 107);
}

static bool segment_offset_not_canonical(const struct dt_case *c, const struct insn *in)
{
	uint64_t base = segment_base(c, in);

	if (c->mode != INSN_MODE64 || !base)
		return false;
	if (opcode_table[in->row].attr & OP_REPSTR) /* wherever it gets */
		return !canonical(c->in.gpr[RSI] + 0x10000) || !canonical(c->in.gpr[RSI] - 0x10000);
	if (opcode_table[in->row].implicit & IMPL_RDI) /* MASKMOV */
		return !canonical(c->in.gpr[RDI]);
	if (in->id == INSN_ID_XLAT)
		return !canonical(c->in.gpr[RBX] + (uint8_t)c->in.gpr[RAX]);
	return c->has_ea && !canonical(c->ea - base);
}

static uint8_t memory_byte(uint64_t la)
{
	const uint8_t *p = gen_memory(la);

	return p ? *p : 0;
}

/* The encoded W of a three-byte VEX prefix: insn.flags has it as the model sees it. */
static bool vex_w(const struct dt_case *c)
{
	unsigned i = 0;

	while (c->bytes[i] != 0xc4 && i < 12)
		i++;
	return c->bytes[i + 2] & 0x80;
}

/*
 * Outside 64-bit mode, an access that runs over the end of a segment of 4 GiB may or may not fault
 * (SDM vol. 3, 5.3).
 */
static bool near_4g(uint64_t offset, uint32_t reach)
{
	return (uint32_t)offset > 0xffffffffu - reach || (uint32_t)offset < reach;
}

/* Whether an element of a gather touches the last bytes of the 4 GiB. */
static bool gather_wraps_4g(const struct dt_case *c, const struct insn *in)
{
	bool quad = in->id == INSN_ID_VPGATHERQD || in->id == INSN_ID_VPGATHERQQ || in->id == INSN_ID_VGATHERQPS ||
		    in->id == INSN_ID_VGATHERQPD;
	uint32_t base = in->base < 16 ? (uint32_t)c->in.gpr[in->base] : 0;

	for (unsigned at = 0; at < 32; at += quad ? 8 : 4) {
		const uint8_t *x = at < 16 ? c->in.xmm[in->index] + at : c->in.ymm_hi[in->index] + at - 16;
		uint32_t index;

		memcpy(&index, x, 4);
		if (base + (index << in->scale) + (uint32_t)in->disp > 0xffffffffu - 8)
			return true;
	}
	return false;
}

static bool wraps_4g(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	uint64_t base = segment_base(c, in);
	const uint64_t *gpr = c->in.gpr;

	if (c->mode == INSN_MODE64)
		return false;
	if (op->opnd[1].kind == OPND_VM)
		return gather_wraps_4g(c, in);
	if (c->has_ea && (uint32_t)(c->ea - base) > 0xffffffffu - 512)
		return true;
	if ((op->attr & OP_REPSTR) && (near_4g(gpr[RSI], 0x4000) || near_4g(gpr[RDI], 0x4000)))
		return true;
	if ((op->attr & OP_MASKED) && near_4g(gpr[RDI], 64))
		return true;
	return (op->implicit & IMPL_RSP) &&
	       (near_4g(gpr[RSP], 256) || ((op->implicit & IMPL_RBP) && near_4g(gpr[RBP], 256)));
}

static bool has_rep_prefix(const struct dt_case *c, const struct insn *in)
{
	for (unsigned i = 0; i < in->len; i++) {
		if (c->bytes[i] == 0xf2 || c->bytes[i] == 0xf3)
			return true;
		if ((c->bytes[i] & 0xfc) == 0xe0)
			break;
	}
	return false;
}

/* The selector that @in takes from a register or memory, or 0. */
static unsigned selector_operand(const struct dt_case *c, const struct insn *in)
{
	uint64_t at = c->ea;

	switch (in->id) {
	case INSN_ID_MOV_SEG:
	case INSN_ID_LAR:
	case INSN_ID_LSL:
	case INSN_ID_VERR:
	case INSN_ID_VERW:
		if (!(in->flags & INSN_MEM))
			return (uint16_t)c->in.gpr[in->rm];
		break;
	case INSN_ID_LES:
	case INSN_ID_LDS:
	case INSN_ID_LSS:
	case INSN_ID_LFS:
	case INSN_ID_LGS:
	case INSN_ID_JMP_FAR_IND:
	case INSN_ID_CALL_FAR_IND: at += in->opsize; break;
	case INSN_ID_POP_SEG: at = c->in.gpr[RSP]; break;
	case INSN_ID_RET_FAR:
	case INSN_ID_IRET: at = c->in.gpr[RSP] + in->opsize; break;
	default: return 0;
	}
	return memory_byte(at) | memory_byte(at + 1) << 8;
}

const char *compare_excluded(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if ((in->id == INSN_ID_MASKMOVDQU || in->id == INSN_ID_VMASKMOVDQU) && (c->in.rflags & RF_AC))
		return "bytes have no alignment: processors raise #AC by how they split the access";
	if (opcode_table[in->row].opnd[0].size == SIZE_XSAVE && (c->in.gpr[RDX] || c->in.gpr[RAX] & 0xfffffff8))
		return "components that the model has not may be enabled in the host's XCR0";
	if ((in->id == INSN_ID_FXSAVE || in->id == INSN_ID_FXRSTOR) && (c->in.rflags & RF_AC))
		return "#AC in place of #GP is up to the processor (SDM vol. 2, FXSAVE)";
	if ((selector_operand(c, in) & ~3u) == 0x78)
		return "the host kernel's segment with the number of the CPU in its limit";
	if (is_image(in) && in->addrsize == 2 && c->has_ea && (uint16_t)(c->ea - segment_base(c, in)) > 0xffff - 832)
		return "an operand over the end of 16-bit addresses: split or not, as the processor likes";
	if (wraps_4g(c, in))
		return "an access over the end of a 4-GiB segment may fault or not (SDM vol. 3, 5.3)";
	if (spans_canonical_end(c, in))
		return "parts of one operand on both sides of canonical space: which fault comes first is up to the processor";
	if (!host_is_amd())
		return NULL;
	if (segment_offset_not_canonical(c, in))
		return "AMD wants the offset in FS and GS canonical too, not only the linear address";
	for (size_t i = 0; i < sizeof(vendors_differ) / sizeof(vendors_differ[0]); i++) {
		if (vendors_differ[i].id != in->id || vendors_differ[i].map != op->map ||
		    vendors_differ[i].opcode != op->opcode)
			continue;
		if (vendors_differ[i].when == WHEN_ALWAYS ||
		    (vendors_differ[i].when == WHEN_MEMORY && (in->flags & INSN_MEM)) ||
		    (vendors_differ[i].when == WHEN_REGISTER && !(in->flags & INSN_MEM)) ||
		    (vendors_differ[i].when == WHEN_UNALIGNED && c->has_ea && (c->ea & 15)) ||
		    (vendors_differ[i].when == WHEN_MEMORY16 && (in->flags & INSN_MEM) && in->opsize == 2) ||
		    (vendors_differ[i].when == WHEN_SIZE4 && in->opsize == 4) ||
		    (vendors_differ[i].when == WHEN_SIZE8 && in->opsize == 8) ||
		    (vendors_differ[i].when == WHEN_RPL && (memory_byte(c->in.gpr[RSP] + in->opsize) & 3) != 3) ||
		    (vendors_differ[i].when == WHEN_HIGH_RSP && c->mode == INSN_MODE64 &&
		     (c->in.gpr[RSP] >> 32 || c->in.gpr[RSP] < 64)) ||
		    (vendors_differ[i].when == WHEN_W_IN_32 && c->mode != INSN_MODE64 && vex_w(c)) ||
		    (vendors_differ[i].when == WHEN_MXCSR_MM && c->has_ea &&
		     (memory_byte(c->ea + (is_image(in) ? 24 : 0) + 2) & 2)) ||
		    (vendors_differ[i].when == WHEN_REP && has_rep_prefix(c, in)))
			return vendors_differ[i].why;
	}
	return NULL;
}

void dt_memory_diff(uint8_t *data, uint8_t *low, struct dt_result *r)
{
	uint32_t first = DT_MEM, last = 0;

	for (unsigned part = 0; part < 2; part++) {
		uint8_t *mem = part ? low : data;
		unsigned base = part ? 2 * DT_PAGE : 0, size = part ? DT_LOW_PAGES * DT_PAGE : 2 * DT_PAGE;
		const uint8_t *old = dt_pristine + base;

		if (!mem || !memcmp(mem, old, size))
			continue;
		for (unsigned i = 0; i < size; i++) {
			if (mem[i] == old[i])
				continue;
			if (first == DT_MEM)
				first = base + i;
			last = base + i;
		}
	}
	r->diff_first = r->diff_len = 0;
	r->diff_hash = 0;
	if (first == DT_MEM)
		return;
	r->diff_first = first;
	r->diff_len = last - first + 1;
	for (uint32_t i = 0; i < r->diff_len; i++) {
		uint32_t at = first + i;
		uint8_t b;

		if (at < 2 * DT_PAGE)
			b = data[at];
		else
			b = low ? low[at - 2 * DT_PAGE] : dt_pristine[at];
		if (i < DT_DIFF_MAX)
			r->diff[i] = b;
		r->diff_hash = (r->diff_hash ^ b) * 0x100000001b3ull;
	}
	memcpy(data, dt_pristine, 2 * DT_PAGE);
	if (low)
		memcpy(low, dt_pristine + 2 * DT_PAGE, DT_LOW_PAGES * DT_PAGE);
}

struct report {
	char *p;
	size_t left;
	bool equal;
};

static void __attribute__((format(printf, 2, 3))) differ(struct report *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	r->equal = false;
	va_start(ap, fmt);
	n = vsnprintf(r->p, r->left, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < r->left) {
		r->p += n;
		r->left -= (size_t)n;
	}
}

static void differ_bytes(struct report *r, const char *what, unsigned i, const uint8_t *native, const uint8_t *soft, unsigned n)
{
	differ(r, "  %s%u: host ", what, i);
	for (unsigned k = n; k-- > 0;)
		differ(r, "%02x", native[k]);
	differ(r, " soft ");
	for (unsigned k = n; k-- > 0;)
		differ(r, "%02x", soft[k]);
	differ(r, "\n");
}

/* Content of writable memory byte @at after the case. */
static uint8_t after(const struct dt_result *r, uint32_t at)
{
	if (at - r->diff_first < r->diff_len && at - r->diff_first < DT_DIFF_MAX)
		return r->diff[at - r->diff_first];
	return dt_pristine[at];
}

static bool memory_masked(const struct dt_case *c, uint16_t id, unsigned opsize, uint32_t at)
{
	uint64_t la = at < 2 * DT_PAGE ? DT_DATA + at : DT_LOW + (at - 2 * DT_PAGE);

	for (size_t i = 0; i < sizeof(memory_masks) / sizeof(memory_masks[0]); i++) {
		if (memory_masks[i].id != id || (memory_masks[i].opsize && memory_masks[i].opsize != opsize))
			continue;
		if (c->has_ea && la - c->ea >= memory_masks[i].first &&
		    la - c->ea < (uint64_t)memory_masks[i].first + memory_masks[i].len)
			return true;
	}
	return false;
}

/*
 * An instruction that faults in its middle may have stored where a restart stores again: ENTER
 * pushes frame pointers below rSP before it probes the new top of the stack (SDM vol. 2, ENTER), PUSHA
 * pushes register after register.
 */
static bool faulted_stores_allowed(const struct insn *in, const struct dt_result *n)
{
	return (in->id == INSN_ID_ENTER || in->id == INSN_ID_PUSHA) && n->vector != EXC_BP;
}

/*
 * Operands of many bytes: which of them CR2 names is up to the processor (SDM vol. 3, 4.7): for those in parts,
 * the page counts, for whole images, that it is one of their bytes.
 */
static uint64_t fault_address(const struct dt_case *c, const struct insn *in, const struct dt_result *r)
{
	if (is_image(in) && c->has_ea && r->vector == EXC_PF && r->cr2 - c->ea < 832)
		return c->ea;
	return in_parts(in) ? r->cr2 & ~0xfffull : r->cr2;
}

static void compare_memory(struct report *r, const struct dt_case *c, const struct insn *in, const struct dt_result *n,
			   const struct dt_result *s)
{
	unsigned shown = 0;
	uint32_t first, end;

	if (n->diff_first == s->diff_first && n->diff_len == s->diff_len && n->diff_hash == s->diff_hash)
		return;
	if (n->diff_len > DT_DIFF_MAX || s->diff_len > DT_DIFF_MAX) {
		differ(r, "  memory: host changed %u bytes at +%#x, soft %u bytes at +%#x\n", n->diff_len, n->diff_first,
		       s->diff_len, s->diff_first);
		return;
	}
	first = !n->diff_len ? s->diff_first : !s->diff_len || n->diff_first < s->diff_first ? n->diff_first : s->diff_first;
	end = n->diff_first + n->diff_len > s->diff_first + s->diff_len ? n->diff_first + n->diff_len
									: s->diff_first + s->diff_len;
	for (uint32_t at = first; at < end; at++) {
		if (after(n, at) == after(s, at) || memory_masked(c, in->id, in->opsize, at))
			continue;
		if (shown++ < 24)
			differ(r, "  memory +%#x: was %02x, host %02x soft %02x\n", at, dt_pristine[at], after(n, at),
			       after(s, at));
	}
}

/*
 * Instructions of SSE that touch an MMX register: when they fault, AMD has already made the
 * transition to MMX state (TOP = 0, all tags valid), which their restart makes again anyway.
 */
static bool transition_allowed(const struct insn *in, const struct dt_result *n)
{
	const uint32_t both = OP_SSE | OP_MMX;

	return n->vector != EXC_BP &&
	       ((opcode_table[in->row].attr & both) == both || in->id == INSN_ID_MASKMOVQ);
}

static void compare_fp(struct report *r, const struct dt_state *n, const struct dt_state *s)
{
	if (n->fcw != s->fcw)
		differ(r, "  fcw: host %04x soft %04x\n", n->fcw, s->fcw);
	if (n->fsw != s->fsw)
		differ(r, "  fsw: host %04x soft %04x\n", n->fsw, s->fsw);
	if (n->ftw != s->ftw)
		differ(r, "  ftw: host %02x soft %02x\n", n->ftw, s->ftw);
	if (n->mxcsr != s->mxcsr)
		differ(r, "  mxcsr: host %08x soft %08x\n", n->mxcsr, s->mxcsr);
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(n->st[i], s->st[i], 10))
			differ_bytes(r, "st", i, n->st[i], s->st[i], 10);
	for (unsigned i = 0; i < 16; i++) {
		if (memcmp(n->xmm[i], s->xmm[i], 16))
			differ_bytes(r, "xmm", i, n->xmm[i], s->xmm[i], 16);
		if (memcmp(n->ymm_hi[i], s->ymm_hi[i], 16))
			differ_bytes(r, "ymm_hi", i, n->ymm_hi[i], s->ymm_hi[i], 16);
	}
}

/* Host Linux hides whether kernel addresses are mapped: it reports P = 1 for all of them (arch/x86/mm/fault.c). */
static uint32_t fault_error(const struct dt_case *c, const struct insn *in, const struct dt_result *r)
{
	if (r->vector != EXC_PF)
		return r->error;
	if (r->cr2 >= 0x7ffffffff000) /* its TASK_SIZE_MAX */
		return r->error | 1;
	return is_image(in) && c->has_ea && r->cr2 - c->ea < 832 ? r->error | 1 : r->error;
}

/* POPA that faults in its middle has loaded some registers on some processors; a restart loads them again. */
static bool register_allowed(const struct insn *in, const struct dt_result *n, unsigned i)
{
	return in->id == INSN_ID_POPA && n->vector != EXC_BP && i != RSP;
}

/* The instruction that ended the case, or its last one; zero when it is illegal. */
static void ending_instruction(const struct dt_case *c, const struct dt_result *n, struct insn *in)
{
	unsigned at = 0;
	int r;

	memset(in, 0, sizeof(*in));
	for (unsigned i = 0; i < c->count && c->decoded > 0; i++) {
		r = insn_decode(c->bytes + at, sizeof(c->bytes) - at, c->mode, in);
		if (r <= 0 || n->out.rip == c->in.rip + at)
			return;
		at += (unsigned)r;
	}
}

bool compare_results(const struct dt_case *c, const struct dt_result *native, const struct dt_result *soft, char *why, size_t len)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	struct report r = { .p = why, .left = len, .equal = true };
	const struct dt_state *n = &native->out, *s = &soft->out;
	uint32_t flags = FL_ALL | RF_DF | RF_AC | RF_NT | RF_ID | RF_IOPL | RF_IF;
	struct insn in;
	bool wide;

	why[0] = 0;
	ending_instruction(c, native, &in);
	for (size_t i = 0; i < sizeof(flag_masks) / sizeof(flag_masks[0]); i++)
		if (flag_masks[i].id == in.id)
			flags &= ~flag_masks[i].flags;
	if (native->vector != soft->vector || fault_error(c, &in, native) != fault_error(c, &in, soft) || fault_address(c, &in, native) != fault_address(c, &in, soft))
		differ(&r, "  ended by: host vector %u error %x cr2 %llx, soft vector %u error %x cr2 %llx\n", native->vector,
		       native->error, (unsigned long long)native->cr2, soft->vector, soft->error,
		       (unsigned long long)soft->cr2);
	if (native->vector >= DT_DIED)
		return r.equal;
	if (n->rip != s->rip)
		differ(&r, "  rip: host %llx soft %llx\n", (unsigned long long)n->rip, (unsigned long long)s->rip);
	wide = c->mode == INSN_MODE64 && n->sel[SEG_CS] == DT_CODE64_SEL;
	for (unsigned i = 0; i < (wide ? 16u : 8u); i++) {
		uint64_t mask = wide ? ~0ull : 0xffffffff;

		if (((n->gpr[i] ^ s->gpr[i]) & mask) && !register_allowed(&in, native, i))
			differ(&r, "  %s: host %llx soft %llx\n", names[i], (unsigned long long)n->gpr[i],
			       (unsigned long long)s->gpr[i]);
	}
	if ((n->rflags ^ s->rflags) & flags)
		differ(&r, "  rflags: host %llx soft %llx, differ in %llx\n", (unsigned long long)n->rflags,
		       (unsigned long long)s->rflags, (unsigned long long)((n->rflags ^ s->rflags) & flags));
	/* The kernel's return to the handler makes 0 of null selectors with an RPL (SDM vol. 2, IRET). */
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (n->sel[i] != s->sel[i] && ((n->sel[i] | s->sel[i]) & ~3))
			differ(&r, "  segment register %u: host %04x soft %04x\n", i, n->sel[i], s->sel[i]);
	if (n->fs_base != s->fs_base || n->gs_base != s->gs_base)
		differ(&r, "  bases: host %llx %llx soft %llx %llx\n", (unsigned long long)n->fs_base,
		       (unsigned long long)n->gs_base, (unsigned long long)s->fs_base, (unsigned long long)s->gs_base);
	if (transition_allowed(&in, native)) {
		struct dt_state same = *s;

		same.fsw = (uint16_t)((s->fsw & ~0x3800) | (n->fsw & 0x3800));
		same.ftw = n->ftw;
		memcpy(same.st, n->st, sizeof(same.st));
		compare_fp(&r, n, &same);
	} else {
		compare_fp(&r, n, s);
	}
	if (!faulted_stores_allowed(&in, native))
		compare_memory(&r, c, &in, native, soft);
	return r.equal;
}
