// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A decoded instruction, and the table of all instructions that the CPU model has.
 *
 * opcodes.def is the one place where an instruction is named: each row gives its encoding, its
 * operands and how they are used, the CPUID feature it belongs to and what is odd about it. The
 * decoder, the interpreter's binding, the native execution of vector instructions and the
 * differential tester are all driven by these rows (struct opcode).
 *
 * Normal forms, so that executors meet few shapes:
 *  - An accumulator or an opcode-embedded register (ADD AL,imm; PUSH r; MOV r,imm; XCHG rAX,r;
 *    BSWAP; INC r) is given as the `rm` operand in register form.
 *  - General registers are byte offsets into cpu.gpr[], so that AH..BH need no case of their own.
 *  - RIP-relative addressing has base GPR_RIP; absent base or index is GPR_ZERO: the effective
 *    address is always gpr[base] + (gpr[index] << scale) + disp, cut to addrsize.
 *  - Immediates are sign- or zero-extended to 64 bits as the instruction wants them. Relative
 *    branch displacements are in imm, sign-extended. A far pointer: imm = offset, disp = selector.
 *    ENTER: imm = size | level << 16. EXTRQ-like two immediates do not occur in the model.
 *    A moffs address is in imm, and base, index are GPR_ZERO, disp 0; INSN_MOFFS is set.
 */
#ifndef SUBRING_ENGINE_SOFT_INSN_H
#define SUBRING_ENGINE_SOFT_INSN_H

#include "engine/cpu_model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct insn;
typedef void insn_fn(struct cpu *c, const struct insn *in);

enum { GPR_RIP = 16, GPR_ZERO = 17, GPR_FILE = 18 };

enum insn_mode { INSN_MODE16, INSN_MODE32, INSN_MODE64 };

/* insn.flags */
enum {
	INSN_MEM = 1 << 0,   /* the rm operand is memory */
	INSN_LOCK = 1 << 1,
	INSN_REP = 1 << 2,   /* F3, where it is a repeat prefix */
	INSN_REPNE = 1 << 3, /* F2, where it is a repeat prefix */
	INSN_REX = 1 << 4,
	INSN_W = 1 << 5,     /* REX.W or VEX.W */
	INSN_VEX = 1 << 6,
	INSN_L = 1 << 7,     /* VEX.L: 256 bits */
	INSN_MOFFS = 1 << 8,
	INSN_SEG = 1 << 9,   /* a segment prefix was effective */
	INSN_ENDS = 1 << 10, /* ends a block: branch, or changes what the next fetch may see */
	INSN_EVEX = 1 << 11, /* then INSN_VEX is set, too */
	INSN_L2 = 1 << 12,   /* EVEX.L' */
	INSN_B = 1 << 13,    /* EVEX.b: broadcast, or (registers) rounding as L'L says, or no exceptions */
	INSN_Z = 1 << 14,    /* EVEX.z */
	INSN_LEGACY = 1 << 15, /* decoded as 16- or 32-bit code */
};

struct insn {
	insn_fn *fn;	   /* bound by the interpreter; NULL after decoding */
	union {
		uint64_t imm;
		void *ptr;
	};
	void *thunk;	   /* native code for vector instructions; bound later */
	int32_t disp;
	uint16_t id;	   /* enum insn_id */
	uint16_t row;	   /* index into opcode_table */
	uint16_t flags;
	uint8_t len;	   /* bytes, 1 to 15 */
	uint8_t opsize;	   /* effective operand size in bytes of the general operands: 1, 2, 4, 8 */
	uint8_t addrsize;  /* 2, 4, 8 */
	uint8_t seg;	   /* enum segment of the memory operand, defaults applied (SS for rBP/rSP bases) */
	uint8_t base, index, scale; /* gpr numbers; scale 0 to 3 */
	uint8_t reg, rm, vvvv;	    /* numbers 0-15 (EVEX: vector registers 0-31) of modrm.reg, modrm.rm, VEX.vvvv (x87: rm is ST(i)) */
	uint8_t reg_off, rm_off;    /* byte offsets into cpu.gpr[] of general-register operands */
	uint8_t modrm;	   /* as encoded */
	uint8_t is4;	   /* register in imm8[7:4], where the form has one */
	uint8_t cc;	   /* low four bits of the opcode: the condition of JCC, SETCC, CMOVCC */
	uint8_t aaa;	   /* EVEX.aaa: the opmask register, or 0 */
};

/* --- the table --- */

enum opcode_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A }; /* legacy and VEX maps have the same numbers */

enum operand_kind {
	OPND_NONE,
	/* general */
	OPND_E,	    /* modrm.rm: register or memory */
	OPND_G,	    /* modrm.reg */
	OPND_B,	    /* VEX.vvvv, general register */
	OPND_M,	    /* modrm.rm, memory only */
	OPND_R,	    /* modrm.rm, general register only */
	OPND_I,	    /* immediate */
	OPND_J,	    /* relative branch target */
	OPND_X,	    /* string source, DS:rSI (overridable) */
	OPND_Y,	    /* string destination, ES:rDI */
	OPND_FAR,   /* far pointer in the instruction */
	OPND_S,	    /* segment register in modrm.reg */
	OPND_C, OPND_D, /* control, debug register in modrm.reg */
	OPND_IMPLICIT,  /* named by the id: accumulators, CL, DX, flags, XMM0; see opcode.implicit */
	/* vector */
	OPND_V,	    /* modrm.reg, XMM/YMM/ZMM */
	OPND_W,	    /* modrm.rm, XMM/YMM or memory */
	OPND_U,	    /* modrm.rm, XMM/YMM only */
	OPND_H,	    /* VEX.vvvv, XMM/YMM */
	OPND_L,	    /* imm8[7:4], XMM/YMM */
	OPND_P,	    /* modrm.reg, MMX */
	OPND_Q,	    /* modrm.rm, MMX or memory */
	OPND_N,	    /* modrm.rm, MMX only */
	OPND_VM,    /* VSIB memory: index is an XMM/YMM register (in insn.index) */
	/* opmask */
	OPND_KG,    /* modrm.reg */
	OPND_KR,    /* modrm.rm, register only */
	OPND_KM,    /* modrm.rm or memory */
	OPND_KH,    /* VEX.vvvv */
	/* x87 */
	OPND_ST0, OPND_STI,
};

enum { ACCESS_R = 1, ACCESS_W = 2, ACCESS_RW = 3, ACCESS_SX = 4 /* imm8 is sign-extended */ };

/* operand.size */
enum {
	SIZE_V = 0,    /* insn.opsize: 2, 4 or 8 */
	SIZE_X = 0xff, /* the vector length: 16, 32 or 64 */
	SIZE_Y = 0xfe, /* 4, or 8 with W (cvtsi2sd, movd/movq, BMI) */
	SIZE_Z = 0xfd, /* insn.opsize, but at most 4 (immediates) */
	SIZE_H = 0xfc, /* half of the vector length: 8 or 16 */
	SIZE_Q = 0xfb, /* a quarter of it */
	SIZE_O = 0xfa, /* an eighth of it */
	SIZE_NONE = 0xf9, /* address only (LEA, INVLPG, prefetch) */
	SIZE_FPENV = 0xf8, /* 14 or 28 bytes; FSAVE 94 or 108: see id */
	SIZE_FP = 0xf7,	   /* far pointer: insn.opsize + 2 */
	SIZE_DT = 0xf6,	   /* LGDT and the like: 10 in 64-bit mode (opsize is 8 then), else 6 */
	SIZE_2V = 0xf5,	   /* twice insn.opsize */
	SIZE_512 = 0xf4,   /* FXSAVE image */
	SIZE_XSAVE = 0xf3, /* XSAVE area: as long as XCR0, XSS and EDX:EAX say */
	/* else bytes: 1, 2, 4, 6, 8, 10, 16, 32, 512 ... */
};

struct operand {
	uint8_t kind, size, access;
};

/* opcode.attr */
enum {
	OP_LOCK = 1 << 0,      /* LOCK is allowed with a memory destination */
	OP_NO64 = 1 << 1,      /* #UD in 64-bit mode */
	OP_ONLY64 = 1 << 2,    /* #UD outside it */
	OP_DEF64 = 1 << 3,     /* operand size defaults to 64 in 64-bit mode (push, pop, near branches) */
	OP_FORCE64 = 1 << 4,   /* operand size is 64 in 64-bit mode whatever the prefixes (near branches on Intel) */
	OP_BYTE = 1 << 5,      /* operand size is 1 */
	OP_CPL0 = 1 << 6,      /* #GP(0) unless CPL is 0 */
	OP_ENDS = 1 << 7,      /* ends a block */
	OP_VEX = 1 << 8,       /* VEX encoded */
	OP_W0 = 1 << 9,	       /* W must be 0 / must be 1 (else another row or #UD) */
	OP_W1 = 1 << 10,
	OP_L0 = 1 << 11,       /* VEX.L must be 0 / must be 1 */
	OP_L1 = 1 << 12,
	OP_NOVVVV = 1 << 13,   /* VEX.vvvv must be 1111b */
	OP_ALIGN = 1 << 14,    /* memory operand must be aligned to its size, else #GP(0) */
	OP_REPSTR = 1 << 15,   /* F2/F3 are repeat prefixes */
	OP_X87 = 1 << 16,      /* touches x87/MMX state: CR0.EM/TS checks, #MF */
	OP_MMX = 1 << 17,
	OP_SSE = 1 << 18,      /* #UD by CR0.EM/CR4.OSFXSR; #NM by CR0.TS */
	OP_AVX = 1 << 19,      /* #UD by CR4.OSXSAVE/XCR0; #NM by CR0.TS */
	OP_FP = 1 << 20,       /* uses MXCSR: may raise #XM */
	OP_MODRM = 1 << 21,    /* has a ModRM byte */
	OP_PROT = 1 << 22,     /* #UD in real and vm86 mode (and VEX) */
	OP_NATIVE = 1 << 23,   /* executed by native code on the guest's register file (vector/) */
	OP_USER = 1 << 24,     /* may be run natively by the differential tester as it is */
	OP_MASKED = 1 << 25,   /* memory operand's elements are chosen by a mask (vmaskmov, gather) */
	OP_PFXNONE = 1 << 26,  /* only without 66/F2/F3 (mandatory "no prefix") */
	OP_ACC0 = 1 << 27,     /* rm operand is the accumulator, no ModRM */
	OP_PLUSR = 1 << 28,    /* rm operand is in the low three opcode bits */
	OP_MOFFS = 1 << 29,    /* memory operand is an absolute offset; reg is the accumulator */
	OP_MAX4 = 1 << 30,     /* operand size is at most 4: REX.W is ignored */
	OP_NATSIZE = 1u << 31, /* operand size is 8 in 64-bit mode, else 4, whatever the prefixes */
};

/* opcode.evex: 0, or an EVEX encoding; opcodes_evex.def says what the bits are */
enum {
	EV_ROW = 1 << 15, EV_B = 1 << 0, EV_ER = 1 << 1, EV_SAE = 1 << 2, EV_K = 1 << 3, EV_Z = 1 << 4, EV_KREQ = 1 << 5,
	EV_LIG = 1 << 6, EV_L2 = 1 << 7, EV_NF = 1 << 8, EV_FOLD = 1 << 9,
};
#define EV_ELEM(log_plus_1) ((log_plus_1) << 10) /* of three bits */

/* opcode.implicit: registers used without being operands */
enum {
	IMPL_RAX_R = 1 << 0, IMPL_RAX_W = 1 << 1, IMPL_RDX_R = 1 << 2, IMPL_RDX_W = 1 << 3,
	IMPL_RCX_R = 1 << 4, IMPL_RCX_W = 1 << 5, IMPL_RBX_R = 1 << 6, IMPL_RBX_W = 1 << 7,
	IMPL_RSI = 1 << 8, IMPL_RDI = 1 << 9, IMPL_RSP = 1 << 10, IMPL_XMM0_R = 1 << 11, IMPL_XMM0_W = 1 << 12,
	IMPL_RBP = 1 << 13,
};

/* Arithmetic flags, in RFLAGS positions, for opcode.fl_* */
enum { FL_CF = 1, FL_PF = 4, FL_AF = 16, FL_ZF = 64, FL_SF = 128, FL_OF = 2048,
       FL_ALL = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF };

/* Mandatory prefix of a row */
enum opcode_pp { PP_NONE, PP_66, PP_F3, PP_F2, PP_ANY, PP_NF /* none, or 66 as operand size */ };

struct opcode {
	uint16_t id;	      /* enum insn_id */
	uint8_t map, pp;
	uint8_t opcode;
	int8_t ext;	      /* modrm.reg must be this (0-7), or -1 */
	uint8_t mod;	      /* 0: any; 1: memory only; 2: register only; 3: register and rm as ext2 says */
	int8_t rm;	      /* with mod 3: modrm.rm must be this; else -1 */
	uint8_t feature;
	uint32_t attr;
	uint16_t implicit;
	uint16_t fl_read, fl_write, fl_undef; /* flags read; given a defined value; left undefined by the SDM */
	uint16_t evex;	      /* EV_* */
	struct operand opnd[4];
	const char *name;     /* mnemonic, lower case */
};

/* enum insn_id: INSN_ID_ADD ... one for each mnemonic, made from the first column of opcodes.def. */
#include "engine/soft/decode/insn_id.h"

extern const struct opcode opcode_table[];
extern const unsigned opcode_count;

enum { INSN_BYTES_MAX = 15 };

/* What decoding found instead of an instruction. */
enum {
	DECODE_MORE = -1, /* the bytes end inside the instruction: fetch more, or fault on the next page */
	DECODE_UD = -2,	  /* #UD */
	DECODE_LONG = -3, /* more than 15 bytes: #GP(0) */
};

/*
 * Decodes the instruction at @bytes (@avail of them can be read) for @mode into @in: its length,
 * or DECODE_*. Knows nothing of the CPU's state beyond @mode; CPL, CR0/CR4 and real-mode
 * conditions are checked at execution by opcode.attr. Any thread; no memory beyond @avail is read.
 */
int insn_decode(const uint8_t *bytes, size_t avail, enum insn_mode mode, struct insn *in);

const char *insn_name(unsigned id);

/* Vector length in bytes: 16, 32, 64. With rounding or without exceptions EVEX instructions have 64. */
static inline unsigned insn_vector_size(const struct insn *in)
{
	if ((in->flags & (INSN_B | INSN_MEM)) == INSN_B)
		return 64;
	return in->flags & INSN_L2 ? 64 : in->flags & INSN_L ? 32 : 16;
}

/*
 * What a mask says of the memory operand of an EVEX instruction: it has @count elements of @size bytes; element i is
 * accessed if any of the mask's bits i, i + count, i + 2 * count ... below @bits is set. @count 0: the mask does not choose.
 */
struct insn_elements {
	uint8_t size, count, bits;
};
struct insn_elements insn_elements(const struct insn *in);
/* EVEX encodings and opmask instructions: they need all of AVX-512's state. */
static inline bool opcode_is_avx512(const struct opcode *op)
{
	return op->evex || (op->feature >= FEAT_AVX512F && op->feature <= FEAT_AVX512VP2INTERSECT);
}
/* Index of the operand in the row that may be memory, or -1. */
int insn_memory_operand(const struct opcode *op);
/* Compressed stores and expanding loads: as many elements of memory as the mask has bits set. */
bool insn_packs(unsigned id);

/* Size in bytes of operand @n of @in's row, after SIZE_* was resolved. */
unsigned insn_operand_size(const struct insn *in, unsigned n);

/* Writes the instruction as text ("mov eax, [rbx+8]") for traces. Returns @buf. */
const char *insn_print(const struct insn *in, uint64_t rip, char *buf, size_t len);

#endif
