// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to vector/: x87, MMX, SSE and AVX by native execution.
 *
 *   emit.c     the thunk of an instruction: load its registers, run it, store its results
 *   area.c     where thunks live (W^X by double mapping), SIGFPE inside them
 *   native.c   binds and runs OP_NATIVE instructions of SSE and AVX
 *   mmx.c      the same for MMX, which shares its registers with the x87
 *   x87.c      the same for the x87; its control instructions
 *   fpenv.c    FNSTENV, FLDENV, FNSAVE, FRSTOR
 *   masked.c   masked moves, gathers
 *   evex.c     AVX-512: memory operands under masks, gathers and scatters
 *   image.c    FXSAVE, FXRSTOR; MXCSR; VZEROUPPER, VZEROALL; state after RESET
 *   xsave.c    the XSAVE family
 *
 * A thunk is `int thunk(struct cpu *c, void *mem)`: it runs one instruction on the registers of c,
 * with `mem` in place of its memory operand. It returns 0; or -1 when the instruction raised an
 * unmasked SIMD exception: then only c->x.mxcsr has changed. It names nothing but its arguments.
 *
 * Invariants of c->x, which is the register file:
 *  - st[i] is ST(i), so it turns with TOP; ftw is the abridged tag word, a bit for each PHYSICAL
 *    register; fsw.ES and fsw.B say whether an exception is pending by fsw and fcw; fcw has its
 *    reserved bits fixed.
 *  - mxcsr has no reserved bit set: LDMXCSR of it cannot fault on the host.
 *  - fip, fdp and fop are the guest's; FCS and FDS do not exist (they are saved as 0, CPUID leaf 7
 *    EBX bit 13). No host address ever stays in the image.
 *  - xstate_bv and the rest of the header are not kept up to date here: see vector_xinuse.
 */
#ifndef SUBRING_ENGINE_SOFT_VECTOR_H
#define SUBRING_ENGINE_SOFT_VECTOR_H

#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

typedef int thunk_fn(struct cpu *c, void *mem);

enum {
	MXCSR_INIT = 0x1f80,
	MXCSR_MASK = 0xffff, /* the bits that exist: DAZ does */
	FCW_INIT = 0x37f,
	FSW_TOP_SHIFT = 11,
	FSW_TOP = 7 << FSW_TOP_SHIFT,
	FSW_ES = 1 << 7,
	FSW_B = 1 << 15,
	FPU_EXCEPTIONS = 0x3f,
	FPU_PE = 1 << 5,
	XSTATE_X87 = 1 << 0,
	XSTATE_SSE = 1 << 1,
	XSTATE_AVX = 1 << 2,
	XSTATE_OPMASK = 1 << 5,
	XSTATE_ZMM_HI = 1 << 6,
	XSTATE_HI16_ZMM = 1 << 7,
	XSTATE_AVX512 = XSTATE_OPMASK | XSTATE_ZMM_HI | XSTATE_HI16_ZMM,
	XSTATE_ZMM_ALL = XSTATE_SSE | XSTATE_AVX | XSTATE_AVX512,
	XSTATE_PKRU = 1 << 9,
	THUNK_MAX = 256, /* bytes; the longest there is has some 200 */
};

/* --- emit.c --- */
/*
 * Writes the thunk of @in to @buf (THUNK_MAX bytes). Its length, or -1: its row cannot be run natively. @wide: the guest has ZMM
 * registers, whose upper halves VEX encodings clear.
 */
int emit_thunk(const struct insn *in, bool wide, uint8_t *buf);

/* --- area.c --- */
/* The thunk of @in, made or found; never NULL but when there is none (emit_thunk). Any thread. */
thunk_fn *thunk_get(const struct insn *in, bool wide);

/* --- checks before an instruction (SDM vol. 2, table 2-14 and the exceptions of each) --- */
_Noreturn void raise_no_sse(struct cpu *c);
_Noreturn void raise_no_avx(struct cpu *c);
_Noreturn void raise_no_x87(struct cpu *c);
_Noreturn void raise_no_mmx(struct cpu *c);
/* The unmasked SIMD exception that a thunk came back with. */
_Noreturn void raise_simd(struct cpu *c);

static inline void check_sse(struct cpu *c)
{
	if (unlikely((c->cr0 & (CR0_EM | CR0_TS)) || !(c->cr4 & CR4_OSFXSR)))
		raise_no_sse(c);
}

static inline void check_avx(struct cpu *c)
{
	if (unlikely((c->cr0 & CR0_TS) || !(c->cr4 & CR4_OSXSAVE) ||
		     (c->xcr0 & (XSTATE_SSE | XSTATE_AVX)) != (XSTATE_SSE | XSTATE_AVX)))
		raise_no_avx(c);
}

/* Every x87 instruction; the waiting ones also need check_pending. */
static inline void check_x87(struct cpu *c)
{
	if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
		raise_no_x87(c);
}

static inline bool x87_pending(const struct cpu *c)
{
	return c->x.fsw & ~c->x.fcw & FPU_EXCEPTIONS;
}

/* CR0.NE clear would mean IRQ 13; the model has no such wire and raises #MF. */
static inline void check_pending(struct cpu *c)
{
	if (unlikely(x87_pending(c)))
		cpu_raise(c, EXC_MF);
}

static inline void check_mmx(struct cpu *c)
{
	if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
		raise_no_mmx(c);
	check_pending(c);
}

/* --- memory operands --- */

/*
 * With alignment checks on, every access comes through here (mmu.h). Scalars are checked by the
 * MMU; what is left are the operands of 10 bytes and the vectors.
 */
/* Raises #AC when alignment is checked and an operand of 10, 16 or 32 bytes is not aligned. */
/* Raises #GP or #SS when any byte of the operand is not canonical. */
void vector_check_canonical(struct cpu *c, unsigned seg, uint64_t addr, unsigned size);
_Noreturn void vector_raise_ac(struct cpu *c, unsigned seg, uint64_t addr, unsigned size);
void vector_check_alignment(struct cpu *c, unsigned seg, uint64_t addr, unsigned size);
void vector_load_slow(struct cpu *c, unsigned seg, uint64_t addr, void *buf, unsigned size);
void vector_store_slow(struct cpu *c, unsigned seg, uint64_t addr, const void *buf, unsigned size);

static inline __attribute__((always_inline)) void vector_store(struct cpu *c, unsigned seg, uint64_t addr,
							       const void *buf, unsigned size)
{
	void *host = TLB_HIT(c, addr, size, write);

	if (unlikely(!host)) {
		vector_store_slow(c, seg, addr, buf, size);
		return;
	}
	__builtin_memcpy(host, buf, size);
	mmu_after_store(c, host, size);
}

/* --- state --- */

static inline unsigned x87_top(const struct cpu *c)
{
	return c->x.fsw >> FSW_TOP_SHIFT & 7;
}

/* Makes @top the TOP; the physical registers stay where they are. */
void x87_set_top(struct cpu *c, unsigned top);
/* Sets ES and B as fsw and fcw want them. */
void x87_update_es(struct cpu *c);
/* Loads a control word. */
void x87_set_fcw(struct cpu *c, uint16_t value);
void x87_init(struct cpu *c); /* FNINIT */
/* Loads the x87 state of an FXSAVE or XSAVE image; @wide: FIP and FDP have 64 bits. */
void x87_take(struct cpu *c, const struct cpu_xsave *img, bool wide);

/* The part of the file that x87, MMX and MXCSR are in: for undoing what must not be seen yet. */
struct legacy_state {
	uint8_t bytes[offsetof(struct cpu_xsave, xmm)];
};

static inline void legacy_get(const struct cpu *c, struct legacy_state *s)
{
	__builtin_memcpy(s, &c->x, sizeof(*s));
}

static inline void legacy_put(struct cpu *c, const struct legacy_state *s)
{
	__builtin_memcpy(&c->x, s, sizeof(*s));
}

/* --- binding: each gives the handler for its rows, or NULL --- */
insn_fn *bind_mmx(const struct insn *in);
insn_fn *bind_x87(const struct insn *in);
insn_fn *bind_fpenv(const struct insn *in);
insn_fn *bind_masked(const struct insn *in);
insn_fn *bind_evex(const struct insn *in);
insn_fn *bind_image(const struct insn *in);
insn_fn *bind_xsave(const struct insn *in);

/* --- evex.c --- */
void zmm_get(const struct cpu *c, unsigned n, uint8_t v[64]);
void zmm_put(struct cpu *c, unsigned n, const uint8_t v[64]);

#endif
