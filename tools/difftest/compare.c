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
};

/* Instructions in which AMD and Intel differ; the model follows Intel. */
enum { WHEN_ALWAYS, WHEN_MEMORY, WHEN_REGISTER, WHEN_UNALIGNED };
static const struct {
	uint16_t id;
	uint8_t map, opcode, when;
	const char *why;
} vendors_differ[] = {
	{ INSN_ID_NOP, MAP_0F, 0x0d, WHEN_REGISTER, "0F 0D with a register: #UD on AMD, a reserved NOP on Intel" },
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

const char *compare_excluded(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (!host_is_amd())
		return NULL;
	for (size_t i = 0; i < sizeof(vendors_differ) / sizeof(vendors_differ[0]); i++) {
		if (vendors_differ[i].id != in->id || vendors_differ[i].map != op->map ||
		    vendors_differ[i].opcode != op->opcode)
			continue;
		if (vendors_differ[i].when == WHEN_ALWAYS ||
		    (vendors_differ[i].when == WHEN_MEMORY && (in->flags & INSN_MEM)) ||
		    (vendors_differ[i].when == WHEN_REGISTER && !(in->flags & INSN_MEM)) ||
		    (vendors_differ[i].when == WHEN_UNALIGNED && c->has_ea && (c->ea & 15)))
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
 * pushes frame pointers below rSP before it probes the new top of the stack (SDM vol. 2, ENTER).
 */
static bool faulted_stores_allowed(const struct insn *in, const struct dt_result *n)
{
	return in->id == INSN_ID_ENTER && n->vector != EXC_BP;
}

/* Operands of many bytes: which of them CR2 names is up to the processor, its page is not (SDM vol. 3, 4.7). */
static uint64_t fault_address(const struct insn *in, const struct dt_result *r)
{
	switch (in->id) {
	case INSN_ID_FLDENV:
	case INSN_ID_FNSTENV:
	case INSN_ID_FRSTOR:
	case INSN_ID_FNSAVE: return r->cr2 & ~0xfffull;
	default: return r->cr2;
	}
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
static uint32_t fault_error(const struct dt_result *r)
{
	if (r->vector == EXC_PF && r->cr2 >= 0x7ffffffff000) /* its TASK_SIZE_MAX */
		return r->error | 1;
	return r->error;
}

bool compare_results(const struct dt_case *c, const struct dt_result *native, const struct dt_result *soft, char *why, size_t len)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	struct report r = { .p = why, .left = len, .equal = true };
	const struct dt_state *n = &native->out, *s = &soft->out;
	uint32_t flags = FL_ALL | RF_DF | RF_AC | RF_NT | RF_ID | RF_IOPL | RF_IF;
	struct insn in = { 0 };

	why[0] = 0;
	if (c->decoded > 0)
		insn_decode(c->bytes, sizeof(c->bytes), c->mode, &in);
	for (size_t i = 0; i < sizeof(flag_masks) / sizeof(flag_masks[0]); i++)
		if (flag_masks[i].id == in.id)
			flags &= ~flag_masks[i].flags;
	if (native->vector != soft->vector || fault_error(native) != fault_error(soft) || fault_address(&in, native) != fault_address(&in, soft))
		differ(&r, "  ended by: host vector %u error %x cr2 %llx, soft vector %u error %x cr2 %llx\n", native->vector,
		       native->error, (unsigned long long)native->cr2, soft->vector, soft->error,
		       (unsigned long long)soft->cr2);
	if (native->vector >= DT_DIED)
		return r.equal;
	if (n->rip != s->rip)
		differ(&r, "  rip: host %llx soft %llx\n", (unsigned long long)n->rip, (unsigned long long)s->rip);
	for (unsigned i = 0; i < (c->mode == INSN_MODE64 ? 16u : 8u); i++) {
		uint64_t mask = c->mode == INSN_MODE64 ? ~0ull : 0xffffffff;

		if ((n->gpr[i] ^ s->gpr[i]) & mask)
			differ(&r, "  %s: host %llx soft %llx\n", names[i], (unsigned long long)n->gpr[i],
			       (unsigned long long)s->gpr[i]);
	}
	if ((n->rflags ^ s->rflags) & flags)
		differ(&r, "  rflags: host %llx soft %llx, differ in %llx\n", (unsigned long long)n->rflags,
		       (unsigned long long)s->rflags, (unsigned long long)((n->rflags ^ s->rflags) & flags));
	if (n->fs_base != s->fs_base || n->gs_base != s->gs_base)
		differ(&r, "  bases: host %llx %llx soft %llx %llx\n", (unsigned long long)n->fs_base,
		       (unsigned long long)n->gs_base, (unsigned long long)s->fs_base, (unsigned long long)s->gs_base);
	compare_fp(&r, n, s);
	if (!faulted_stores_allowed(&in, native))
		compare_memory(&r, c, &in, native, soft);
	return r.equal;
}
