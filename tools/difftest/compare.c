// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What must be equal after a case, and the tables of what need not be: flags and memory that a manual leaves open
 * where the host and the model were seen to differ. Each row has its reason.
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

/* The part of writable memory that begins at @at, and how long it is. */
static uint8_t *part_of(const struct dt_memory *m, uint32_t at, unsigned *size)
{
	*size = at == DT_AT_LOW ? DT_LOW_PAGES * DT_PAGE : at == DT_AT_TOP ? DT_PAGE : 2 * DT_PAGE;
	return at == DT_AT_LOW ? m->low : at == DT_AT_TOP ? m->top : m->data;
}

static uint8_t *byte_at(const struct dt_memory *m, uint32_t at)
{
	unsigned size;
	uint32_t first = at >= DT_AT_LOW ? DT_AT_LOW : at >= DT_AT_TOP ? DT_AT_TOP : 0;
	uint8_t *part = part_of(m, first, &size);

	return part ? part + (at - first) : NULL;
}

void dt_memory_poke(const struct dt_memory *m, const struct dt_case *c)
{
	for (unsigned i = 0; i < c->poke_len; i++) {
		uint32_t at;
		uint8_t *p = dt_writable(c->poke_la + i, &at) ? byte_at(m, at) : NULL;

		if (p)
			*p = c->poke[i];
	}
}

static bool line_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t differ = 0, x, y;

	for (unsigned i = 0; i < DT_LINE; i += 8) {
		memcpy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		differ |= x ^ y;
	}
	return !differ;
}

static void note_line(struct dt_result *r, unsigned number, const uint8_t *p)
{
	uint64_t hash = r->diff_hash ^ number, word;

	for (unsigned i = 0; i < DT_LINE; i += 8) {
		memcpy(&word, p + i, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	r->diff_hash = hash;
	if (r->lines < DT_LINES_MAX) {
		r->line[r->lines] = (uint16_t)number;
		memcpy(r->content[r->lines], p, DT_LINE);
	}
	r->lines++;
}

void dt_memory_diff(const struct dt_memory *m, struct dt_result *r)
{
	unsigned size;

	r->lines = 0;
	r->diff_hash = 0;
	for (uint32_t base = 0; base < DT_MEM; base += size) {
		uint8_t *mem = part_of(m, base, &size);

		for (uint32_t i = 0; mem && i < size; i += DT_LINE) {
			if (line_equal(mem + i, dt_pristine + base + i))
				continue;
			note_line(r, (base + i) / DT_LINE, mem + i);
			memcpy(mem + i, dt_pristine + base + i, DT_LINE);
		}
	}
}

void dt_code_init(struct dt_code *k)
{
	memset(k->image, 0xcc, sizeof(k->image));
	k->from = k->to = 0;
}

unsigned dt_code_place(struct dt_code *k, const struct dt_case *c, struct dt_range r[2])
{
	unsigned from = dt_code_at(c->code), n = c->avail < c->len ? c->avail : c->len, count = 0;

	if (k->from == from && k->to == from + n && !memcmp(k->image + from, c->bytes, n))
		return 0;
	memset(k->image + k->from, 0xcc, k->to - k->from);
	if (k->to > k->from && (k->from < from || k->to > from + n))
		r[count++] = (struct dt_range){ k->from, k->to };
	memcpy(k->image + from, c->bytes, n);
	r[count++] = (struct dt_range){ from, from + n };
	k->from = from;
	k->to = from + n;
	return count;
}

uint64_t dt_code_changed(const struct dt_code *k, const uint8_t *code, struct dt_range *r)
{
	uint64_t hash = 1;

	if (!memcmp(code, k->image, DT_CODE_SIZE))
		return 0;
	*r = (struct dt_range){ DT_CODE_SIZE, 0 };
	for (unsigned i = 0; i < DT_CODE_SIZE; i++) {
		if (code[i] == k->image[i])
			continue;
		hash = (hash ^ code[i] ^ (uint64_t)i << 8) * 0x100000001b3ull;
		if (r->to == 0)
			r->from = i;
		r->to = i + 1;
	}
	return hash | 1;
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
	for (unsigned i = 0; i < r->lines && i < DT_LINES_MAX; i++)
		if (r->line[i] == at / DT_LINE)
			return r->content[i][at % DT_LINE];
	return dt_pristine[at];
}

static bool memory_masked(const struct dt_case *c, uint16_t id, unsigned opsize, uint32_t at)
{
	uint64_t la = at < DT_AT_TOP ? DT_DATA + at : at < DT_AT_LOW ? DT_TOP + (at - DT_AT_TOP) : DT_LOW + (at - DT_AT_LOW);

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
 * pushes register after register, and a CALL on AMD before it looks at the target's limit.
 */
bool stores_before_fault(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_ENTER:
	case INSN_ID_PUSHA:
	case INSN_ID_CALL:
	case INSN_ID_CALL_IND:
	case INSN_ID_CALL_FAR:
	case INSN_ID_CALL_FAR_IND: return true;
	default: return false;
	}
}

/*
 * Operands of many bytes: which of them CR2 names is up to the processor (SDM vol. 3, 4.7): for those in parts,
 * the page counts, for whole images, that it is one of their bytes. Frames of returns are compared: IRET reads
 * the flags first, RET the offset.
 */
static uint64_t fault_address(const struct dt_case *c, const struct insn *in, const struct dt_result *r)
{
	if (operand_is_image(in) && c->has_ea && r->vector == EXC_PF && r->cr2 - c->ea < 832)
		return c->ea;
	return operand_in_parts(in) ? r->cr2 & ~0xfffull : r->cr2;
}

static void compare_memory(struct report *r, const struct dt_case *c, const struct insn *in, const struct dt_result *n,
			   const struct dt_result *s)
{
	unsigned shown = 0;

	if (n->lines == s->lines && n->diff_hash == s->diff_hash)
		return;
	if (n->lines > DT_LINES_MAX || s->lines > DT_LINES_MAX) {
		differ(r, "  memory: host changed %u lines, soft %u\n", n->lines, s->lines);
		return;
	}
	for (uint32_t at = 0; at < DT_MEM; at++) {
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
		if (n->k[i] != s->k[i])
			differ(r, "  k%u: host %016llx soft %016llx\n", i, (unsigned long long)n->k[i], (unsigned long long)s->k[i]);
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(n->st[i], s->st[i], 10))
			differ_bytes(r, "st", i, n->st[i], s->st[i], 10);
	for (unsigned i = 0; i < 16; i++) {
		if (memcmp(n->xmm[i], s->xmm[i], 16))
			differ_bytes(r, "xmm", i, n->xmm[i], s->xmm[i], 16);
		if (memcmp(n->ymm_hi[i], s->ymm_hi[i], 16))
			differ_bytes(r, "ymm_hi", i, n->ymm_hi[i], s->ymm_hi[i], 16);
		if (memcmp(n->zmm_hi[i], s->zmm_hi[i], 32))
			differ_bytes(r, "zmm_hi", i, n->zmm_hi[i], s->zmm_hi[i], 32);
		if (memcmp(n->hi16[i], s->hi16[i], 64))
			differ_bytes(r, "zmm", i + 16, n->hi16[i], s->hi16[i], 64);
	}
}

/*
 * An IRET of 64-bit mode to an offset over the limit of CS, or not canonical: whether SS, which may be bad too,
 * is looked at before is not the same in the SDM's description of IRET as on AMD.
 */
static bool returns_to_nowhere(const struct dt_case *c, const struct insn *in)
{
	struct vcpu_segment cs;
	uint64_t rip = 0;

	if (in->id != INSN_ID_IRET || c->mode != INSN_MODE64)
		return false;
	cs = segment_of(selector_operand(c, in));
	for (unsigned i = 0; i < in->opsize; i++)
		rip |= (uint64_t)gen_byte(c, stack_linear(c) + i) << 8 * i;
	if (cs.attr & ATTR_L)
		return (uint64_t)((int64_t)rip << 16 >> 16) != rip;
	return !(cs.attr & ATTR_NULL) && !segment_inside(&cs, rip, 1);
}

static unsigned fault_vector(const struct dt_case *c, const struct insn *in, const struct dt_result *r)
{
	return r->vector == EXC_SS && returns_to_nowhere(c, in) ? EXC_GP : r->vector;
}

/* Host Linux hides whether kernel addresses are mapped: it reports P = 1 for all of them (arch/x86/mm/fault.c). */
static uint32_t fault_error(const struct dt_case *c, const struct insn *in, const struct dt_result *r)
{
	if (fault_vector(c, in, r) == EXC_GP && returns_to_nowhere(c, in))
		return 0;
	if (r->vector != EXC_PF)
		return r->error;
	if (r->cr2 >= 0x7ffffffff000) /* its TASK_SIZE_MAX */
		return r->error | 1;
	return operand_is_image(in) && c->has_ea && r->cr2 - c->ea < 832 ? r->error | 1 : r->error;
}

/* POPA that faults in its middle has loaded some registers on some processors; a restart loads them again. */
static bool register_allowed(const struct insn *in, const struct dt_result *n, unsigned i)
{
	return in->id == INSN_ID_POPA && n->vector != EXC_BP && i != RSP;
}

void ending_instruction(const struct dt_case *c, const struct dt_result *n, struct insn *in)
{
	uint64_t offset = dt_first_mapping(n->out.rip) - dt_first_mapping(c->code);
	unsigned at = 0;
	int r;

	memset(in, 0, sizeof(*in));
	if (c->program) {
		if (offset < c->len && insn_decode(c->bytes + offset, sizeof(c->bytes) - offset, c->mode, in) <= 0)
			memset(in, 0, sizeof(*in));
		return;
	}
	for (unsigned i = 0; i < c->count && c->decoded > 0; i++) {
		r = insn_decode(c->bytes + at, sizeof(c->bytes) - at, c->mode, in);
		if (r <= 0 || n->out.rip == c->in.rip + at)
			return;
		at += (unsigned)r;
	}
}

bool compare_tiers(const struct dt_result soft[DT_TIERS], char *why, size_t len)
{
	const struct dt_state *i = &soft[DT_INTERP].out, *t = &soft[DT_TRANSLATE].out;

	if (i->fip == t->fip && i->fdp == t->fdp && i->fop == t->fop)
		return true;
	snprintf(why, len, "  fip, fdp, fop: interp %llx %llx %x, translate %llx %llx %x\n", (unsigned long long)i->fip,
		 (unsigned long long)i->fdp, i->fop, (unsigned long long)t->fip, (unsigned long long)t->fdp, t->fop);
	return false;
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
	if (soft->dead_flags && native->vector != EXC_BP)
		flags &= ~(native->code_hash ? FL_ALL : dead_flags(c, n->rip));
	if (fault_vector(c, &in, native) != fault_vector(c, &in, soft) ||
	    fault_error(c, &in, native) != fault_error(c, &in, soft) ||
	    fault_address(c, &in, native) != fault_address(c, &in, soft))
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
	if (native->vector == EXC_BP || !stores_before_fault(&in))
		compare_memory(&r, c, &in, native, soft);
	if (native->code_hash != soft->code_hash)
		differ(&r, "  the code pages differ\n");
	return r.equal;
}
