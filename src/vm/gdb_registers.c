// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers as a debugger sees them: one table gives order, target.xml (GDB manual, G.5.7
 * "i386 Features") and the way to and from struct vcpu_state.
 *
 * x87, SSE and AVX live in the state's XSAVE image (SDM vol. 1, 13.4). A component whose bit in
 * XSTATE_BV is clear has its initial value, whatever the bytes are.
 */
#include "vm/gdb_private.h"

#include <stdio.h>
#include <string.h>

enum reg_kind {
	REG_STATE,    /* a field of vcpu_state at arg, size bytes */
	REG_SELECTOR, /* selector of the segment at arg; read only, for its descriptor cannot follow */
	REG_FPU,      /* arg: FPU_*, as 4 bytes */
	REG_ST,       /* arg: number */
	REG_XMM,
	REG_YMMH,
	REG_MXCSR,
};

enum { FPU_CTRL, FPU_STAT, FPU_TAG, FPU_ISEG, FPU_IOFF, FPU_OSEG, FPU_OOFF, FPU_OP };

enum { XSTATE_X87 = 1 << 0, XSTATE_SSE = 1 << 1, XSTATE_AVX = 1 << 2 };
/* Offsets in the XSAVE image. */
enum {
	X_FCW = 0, X_FSW = 2, X_FTW = 4, X_FOP = 6, X_FIP = 8, X_FDP = 16, X_MXCSR = 24, X_ST = 32, X_XMM = 160,
	X_BV = 512, X_YMMH = 576,
	X_END = X_YMMH + 256,
};
_Static_assert((int)X_END <= (int)VCPU_XSAVE_SIZE, "the image holds what the table names");

enum { FCW_INIT = 0x37f, MXCSR_VALID = 0xffff };

struct reg {
	const char *feature, *name, *type;
	uint8_t size; /* bytes */
	uint8_t kind; /* enum reg_kind */
	uint16_t arg;
};

#define CORE   "org.gnu.gdb.i386.core"
#define SSE    "org.gnu.gdb.i386.sse"
#define AVX    "org.gnu.gdb.i386.avx"
#define SEGS   "org.gnu.gdb.i386.segments"
#define SYSTEM "org.subring.system"

#define FIELD(feature, name, type, size, member) { feature, name, type, size, REG_STATE, offsetof(struct vcpu_state, member) }
#define GPR(name, n)	  FIELD(CORE, name, "int64", 8, gpr[n])
#define SELECTOR(name, n) { CORE, name, "int32", 4, REG_SELECTOR, offsetof(struct vcpu_state, seg[n].selector) }
#define ST(n)		  { CORE, "st" #n, "i387_ext", 10, REG_ST, n }
#define FPU(name, n)	  { CORE, name, "int", 4, REG_FPU, n }
#define XMM(n)		  { SSE, "xmm" #n, "uint128", 16, REG_XMM, n }
#define YMMH(n)		  { AVX, "ymm" #n "h", "uint128", 16, REG_YMMH, n }
#define SYS(name, member) FIELD(SYSTEM, name, "int64", 8, member)

static const struct reg reg_table[] = {
	GPR("rax", RAX), GPR("rbx", RBX), GPR("rcx", RCX), GPR("rdx", RDX),
	GPR("rsi", RSI), GPR("rdi", RDI), GPR("rbp", RBP), GPR("rsp", RSP),
	GPR("r8", R8), GPR("r9", R9), GPR("r10", R10), GPR("r11", R11),
	GPR("r12", R12), GPR("r13", R13), GPR("r14", R14), GPR("r15", R15),
	FIELD(CORE, "rip", "code_ptr", 8, rip),
	FIELD(CORE, "eflags", "int32", 4, rflags),
	SELECTOR("cs", SEG_CS), SELECTOR("ss", SEG_SS), SELECTOR("ds", SEG_DS),
	SELECTOR("es", SEG_ES), SELECTOR("fs", SEG_FS), SELECTOR("gs", SEG_GS),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	FPU("fctrl", FPU_CTRL), FPU("fstat", FPU_STAT), FPU("ftag", FPU_TAG), FPU("fiseg", FPU_ISEG),
	FPU("fioff", FPU_IOFF), FPU("foseg", FPU_OSEG), FPU("fooff", FPU_OOFF), FPU("fop", FPU_OP),
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	{ SSE, "mxcsr", "int32", 4, REG_MXCSR, 0 },
	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
	FIELD(SEGS, "fs_base", "int64", 8, seg[SEG_FS].base),
	FIELD(SEGS, "gs_base", "int64", 8, seg[SEG_GS].base),
	SYS("k_gs_base", kernel_gs_base), SYS("cr0", cr0), SYS("cr2", cr2), SYS("cr3", cr3), SYS("cr4", cr4),
	SYS("cr8", cr8), SYS("efer", efer),
};

enum { REG_COUNT = sizeof(reg_table) / sizeof(reg_table[0]) };

unsigned gdb_reg_count(void)
{
	return REG_COUNT;
}

size_t gdb_reg_size(unsigned n)
{
	return n < REG_COUNT ? reg_table[n].size : 0;
}

static uint64_t xstate_bv(const struct vcpu_state *s)
{
	uint64_t bv;

	memcpy(&bv, s->xsave + X_BV, sizeof(bv));
	return bv;
}

/* Gives component @bit of the image a value that counts, its initial one if it had none. */
static void xstate_touch(struct vcpu_state *s, uint64_t bit)
{
	uint64_t bv = xstate_bv(s);
	uint16_t fcw = FCW_INIT;

	if (bv & bit)
		return;
	if (bit == XSTATE_X87) {
		memset(s->xsave, 0, X_MXCSR);
		memset(s->xsave + X_ST, 0, X_XMM - X_ST);
		memcpy(s->xsave + X_FCW, &fcw, sizeof(fcw));
	} else if (bit == XSTATE_SSE) {
		memset(s->xsave + X_XMM, 0, 256);
	} else {
		memset(s->xsave + X_YMMH, 0, 256);
	}
	bv |= bit;
	memcpy(s->xsave + X_BV, &bv, sizeof(bv));
}

/* The full tag word from the abridged one: empty (3) or not (0; the debugger looks closer itself). */
static uint32_t full_tags(uint8_t abridged)
{
	uint32_t tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		if (!(abridged & 1u << i))
			tags |= 3u << 2 * i;
	}
	return tags;
}

static uint8_t abridged_tags(uint32_t tags)
{
	uint8_t abridged = 0;

	for (unsigned i = 0; i < 8; i++) {
		if ((tags >> 2 * i & 3) != 3)
			abridged |= (uint8_t)(1u << i);
	}
	return abridged;
}

static uint32_t fpu_get(const struct vcpu_state *s, unsigned what)
{
	uint16_t fcw, fsw, fop;
	uint64_t fip, fdp;

	if (!(xstate_bv(s) & XSTATE_X87))
		return what == FPU_CTRL ? FCW_INIT : what == FPU_TAG ? 0xffff : 0;
	memcpy(&fcw, s->xsave + X_FCW, 2);
	memcpy(&fsw, s->xsave + X_FSW, 2);
	memcpy(&fop, s->xsave + X_FOP, 2);
	memcpy(&fip, s->xsave + X_FIP, 8);
	memcpy(&fdp, s->xsave + X_FDP, 8);
	switch (what) {
	case FPU_CTRL: return fcw;
	case FPU_STAT: return fsw;
	case FPU_TAG: return full_tags(s->xsave[X_FTW]);
	case FPU_ISEG: return (uint32_t)(fip >> 32);
	case FPU_IOFF: return (uint32_t)fip;
	case FPU_OSEG: return (uint32_t)(fdp >> 32);
	case FPU_OOFF: return (uint32_t)fdp;
	default: return fop;
	}
}

static void fpu_put(struct vcpu_state *s, unsigned what, uint32_t value)
{
	uint16_t v = (uint16_t)value;

	xstate_touch(s, XSTATE_X87);
	switch (what) {
	case FPU_CTRL: memcpy(s->xsave + X_FCW, &v, 2); break;
	case FPU_STAT: memcpy(s->xsave + X_FSW, &v, 2); break;
	case FPU_TAG: s->xsave[X_FTW] = abridged_tags(value); break;
	case FPU_ISEG: memcpy(s->xsave + X_FIP + 4, &value, 4); break;
	case FPU_IOFF: memcpy(s->xsave + X_FIP, &value, 4); break;
	case FPU_OSEG: memcpy(s->xsave + X_FDP + 4, &value, 4); break;
	case FPU_OOFF: memcpy(s->xsave + X_FDP, &value, 4); break;
	default: memcpy(s->xsave + X_FOP, &v, 2); break;
	}
}

/* Where a vector or x87 register lies in the image, and its component. */
static unsigned image_offset(const struct reg *reg, uint64_t *bit)
{
	switch (reg->kind) {
	case REG_ST: *bit = XSTATE_X87; return X_ST + 16u * reg->arg;
	case REG_XMM: *bit = XSTATE_SSE; return X_XMM + 16u * reg->arg;
	default: *bit = XSTATE_AVX; return X_YMMH + 16u * reg->arg;
	}
}

size_t gdb_reg_get(const struct vcpu_state *s, unsigned n, uint8_t bytes[GDB_REG_SIZE_MAX])
{
	const struct reg *reg;
	uint32_t v;
	uint64_t bit;
	unsigned at;

	if (n >= REG_COUNT)
		return 0;
	reg = &reg_table[n];
	memset(bytes, 0, reg->size);
	switch (reg->kind) {
	case REG_STATE:
		memcpy(bytes, (const char *)s + reg->arg, reg->size);
		break;
	case REG_SELECTOR:
		memcpy(bytes, (const char *)s + reg->arg, 2);
		break;
	case REG_FPU:
		v = fpu_get(s, reg->arg);
		memcpy(bytes, &v, sizeof(v));
		break;
	case REG_MXCSR:
		/* Saved and restored whatever XSTATE_BV says (SDM vol. 1, 13.7 and 13.8.1). */
		memcpy(bytes, s->xsave + X_MXCSR, reg->size);
		break;
	default:
		at = image_offset(reg, &bit);
		if (xstate_bv(s) & bit)
			memcpy(bytes, s->xsave + at, reg->size);
		break;
	}
	return reg->size;
}

void gdb_reg_put(struct vcpu_state *s, unsigned n, const uint8_t *bytes)
{
	const struct reg *reg;
	uint32_t v;
	uint64_t bit;
	unsigned at;

	if (n >= REG_COUNT)
		return;
	reg = &reg_table[n];
	switch (reg->kind) {
	case REG_STATE:
		memcpy((char *)s + reg->arg, bytes, reg->size);
		break;
	case REG_SELECTOR:
		break;
	case REG_FPU:
		memcpy(&v, bytes, sizeof(v));
		fpu_put(s, reg->arg, v);
		break;
	case REG_MXCSR:
		memcpy(&v, bytes, sizeof(v));
		v &= MXCSR_VALID;
		memcpy(s->xsave + X_MXCSR, &v, sizeof(v));
		break;
	default:
		at = image_offset(reg, &bit);
		xstate_touch(s, bit);
		memcpy(s->xsave + at, bytes, reg->size);
		break;
	}
}

const char *gdb_target_xml(size_t *len)
{
	static char xml[16384];
	static size_t xml_len;
	const char *feature = NULL;
	size_t n;

	if (xml_len) {
		*len = xml_len;
		return xml;
	}
	n = (size_t)snprintf(xml, sizeof(xml),
			     "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
			     "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n");
	for (unsigned i = 0; i < REG_COUNT && n < sizeof(xml); i++) {
		const struct reg *reg = &reg_table[i];

		if (feature != reg->feature && (!feature || strcmp(feature, reg->feature) != 0))
			n += (size_t)snprintf(xml + n, sizeof(xml) - n, "%s<feature name=\"%s\">\n",
					      feature ? "</feature>\n" : "", reg->feature);
		feature = reg->feature;
		if (n < sizeof(xml))
			n += (size_t)snprintf(xml + n, sizeof(xml) - n,
					      "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>\n",
					      reg->name, reg->size * 8u, reg->type, i);
	}
	if (n < sizeof(xml))
		n += (size_t)snprintf(xml + n, sizeof(xml) - n, "</feature>\n</target>\n");
	xml_len = n < sizeof(xml) ? n : sizeof(xml) - 1;
	*len = xml_len;
	return xml;
}
