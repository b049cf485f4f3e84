// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Binds and runs the instructions that are executed natively: SSE and AVX here, MMX and x87 in
 * files of their own.
 *
 * A handler is made for each kind of instruction (SSE, AVX), use of memory (none, load, store), size
 * of the memory operand, and whether it has to be aligned. In the order of the SDM it checks that
 * the OS has switched the instructions on (#UD, #NM), forms the address (#SS, #GP), checks its
 * alignment (#GP), touches memory (#PF), runs the thunk (#XM), and stores.
 *
 * A load that hits the TLB is read by the thunk where it lies: a hit proves that all of it may be
 * read. A store goes through a buffer, so that a wrong row can never write beyond its operand.
 */
#include "engine/soft/vector/vector.h"

#define INLINE static inline __attribute__((always_inline))

/* --- what the OS has to have done: #UD before #NM --- */

_Noreturn void raise_no_sse(struct cpu *c)
{
	cpu_raise(c, (c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR) ? EXC_UD : EXC_NM);
}

_Noreturn void raise_no_avx(struct cpu *c)
{
	bool on = (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & (XSTATE_SSE | XSTATE_AVX)) == (XSTATE_SSE | XSTATE_AVX);

	cpu_raise(c, on ? EXC_NM : EXC_UD);
}

_Noreturn void raise_no_x87(struct cpu *c)
{
	cpu_raise(c, EXC_NM);
}

_Noreturn void raise_no_mmx(struct cpu *c)
{
	cpu_raise(c, c->cr0 & CR0_EM ? EXC_UD : EXC_NM);
}

_Noreturn void raise_simd(struct cpu *c)
{
	cpu_raise(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

/* --- memory --- */

void vector_check_canonical(struct cpu *c, unsigned seg, uint64_t addr, unsigned size)
{
	if (cpu_long_mode(c) && (!cpu_canonical(c, addr) || !cpu_canonical(c, addr + size - 1)))
		cpu_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* #AC comes before page faults and after a non-canonical address, as for general operands in mmu/access.c. */
_Noreturn void vector_raise_ac(struct cpu *c, unsigned seg, uint64_t addr, unsigned size)
{
	vector_check_canonical(c, seg, addr, size);
	cpu_raise_ac(c);
}

void vector_check_alignment(struct cpu *c, unsigned seg, uint64_t addr, unsigned size)
{
	if (c->align_check && ((size == 10 && (addr & 7)) || (size >= 16 && (addr & 15))))
		vector_raise_ac(c, seg, addr, size);
}

__attribute__((noinline)) void vector_load_slow(struct cpu *c, unsigned seg, uint64_t addr, void *buf, unsigned size)
{
	uint64_t v;

	vector_check_alignment(c, seg, addr, size);
	if (size > 8) {
		mmu_load_bytes(c, seg, addr, buf, size);
		return;
	}
	v = mmu_load_slow(c, seg, addr, size);
	__builtin_memcpy(buf, &v, 8);
}

__attribute__((noinline)) void vector_store_slow(struct cpu *c, unsigned seg, uint64_t addr, const void *buf,
						 unsigned size)
{
	uint64_t v = 0;

	vector_check_alignment(c, seg, addr, size);
	if (size > 8) {
		mmu_store_bytes(c, seg, addr, buf, size);
		return;
	}
	__builtin_memcpy(&v, buf, size);
	mmu_store_slow(c, seg, addr, size, v);
}

/* --- handlers --- */

enum kind { KIND_SSE, KIND_AVX, KIND_COUNT };

INLINE void check(struct cpu *c, enum kind k)
{
	if (k == KIND_SSE)
		check_sse(c);
	else
		check_avx(c);
}

INLINE void run(struct cpu *c, const struct insn *in, void *mem)
{
	if (unlikely(((thunk_fn *)in->thunk)(c, mem)))
		raise_simd(c);
}

INLINE void check_aligned(struct cpu *c, uint64_t addr, unsigned size)
{
	if (unlikely(addr & (size - 1)))
		cpu_raise_error(c, EXC_GP, 0);
}

INLINE void do_register(struct cpu *c, const struct insn *in, enum kind k)
{
	check(c, k);
	run(c, in, NULL);
}

INLINE void do_load(struct cpu *c, const struct insn *in, enum kind k, unsigned size, bool aligned)
{
	uint8_t buf[32] __attribute__((aligned(32)));
	uint64_t addr;
	void *host;

	check(c, k);
	addr = insn_linear(c, in, size, MMU_READ);
	if (aligned)
		check_aligned(c, addr, size);
	host = TLB_HIT(c, addr, size, read);
	if (unlikely(!host)) {
		vector_load_slow(c, in->seg, addr, buf, size);
		host = buf;
	}
	run(c, in, host);
}

INLINE void do_store(struct cpu *c, const struct insn *in, enum kind k, unsigned size, bool aligned)
{
	uint8_t buf[32] __attribute__((aligned(32)));
	uint64_t addr;

	check(c, k);
	addr = insn_linear(c, in, size, MMU_WRITE);
	if (aligned)
		check_aligned(c, addr, size);
	run(c, in, buf);
	vector_store(c, in->seg, addr, buf, size);
}

/* VCVTPS2PH: MXCSR's flags must wait for the store. */
static void store_converted(struct cpu *c, const struct insn *in)
{
	unsigned size = in->flags & INSN_L ? 16 : 8;
	uint8_t buf[32] __attribute__((aligned(32)));
	uint32_t old = c->x.mxcsr, new;
	uint64_t addr;

	check_avx(c);
	addr = insn_linear(c, in, size, MMU_WRITE);
	vector_check_alignment(c, in->seg, addr, size);
	mmu_probe(c, in->seg, addr, size, MMU_WRITE);
	run(c, in, buf);
	new = c->x.mxcsr;
	c->x.mxcsr = old;
	vector_store_slow(c, in->seg, addr, buf, size);
	c->x.mxcsr = new;
}

#define REGISTER(k) \
	static void register_##k(struct cpu *c, const struct insn *in) { do_register(c, in, KIND_##k); }
#define MEMORY(what, k, size, a) \
	static void what##_##k##_##size##_##a(struct cpu *c, const struct insn *in) { do_##what(c, in, KIND_##k, size, a); }
#define MEMORY_SIZES(what, k)                                                                      \
	MEMORY(what, k, 1, 0)                                                                      \
	MEMORY(what, k, 2, 0)                                                                      \
	MEMORY(what, k, 4, 0)                                                                      \
	MEMORY(what, k, 8, 0)                                                                      \
	MEMORY(what, k, 16, 0)                                                                     \
	MEMORY(what, k, 16, 1)
REGISTER(SSE)
REGISTER(AVX)
MEMORY_SIZES(load, SSE)
MEMORY_SIZES(store, SSE)
MEMORY_SIZES(load, AVX)
MEMORY_SIZES(store, AVX)
MEMORY(load, AVX, 32, 0)
MEMORY(load, AVX, 32, 1)
MEMORY(store, AVX, 32, 0)
MEMORY(store, AVX, 32, 1)

/* By log2 of the size; then aligned ones of 16 and 32 */
enum { SHAPES = 8, ALIGNED16 = 6, ALIGNED32 = 7 };

#define SHAPES_OF(what, k)                                                                         \
	what##_##k##_1_0, what##_##k##_2_0, what##_##k##_4_0, what##_##k##_8_0, what##_##k##_16_0
static insn_fn *const loads[KIND_COUNT][SHAPES] = {
	{ SHAPES_OF(load, SSE), NULL, load_SSE_16_1, NULL },
	{ SHAPES_OF(load, AVX), load_AVX_32_0, load_AVX_16_1, load_AVX_32_1 },
};
static insn_fn *const stores[KIND_COUNT][SHAPES] = {
	{ SHAPES_OF(store, SSE), NULL, store_SSE_16_1, NULL },
	{ SHAPES_OF(store, AVX), store_AVX_32_0, store_AVX_16_1, store_AVX_32_1 },
};

static insn_fn *bind_sse_avx(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	enum kind k = op->attr & OP_VEX ? KIND_AVX : KIND_SSE;
	unsigned size, shape;
	int m;

	if (!(in->flags & INSN_MEM))
		return k == KIND_AVX ? register_AVX : register_SSE;
	m = insn_memory_operand(op);
	if (m < 0)
		return NULL;
	size = insn_operand_size(in, (unsigned)m);
	if (!size || size > 32 || (size & (size - 1)))
		return NULL;
	shape = (unsigned)__builtin_ctz(size);
	if ((op->attr & OP_ALIGN) && size >= 16)
		shape = size == 16 ? ALIGNED16 : ALIGNED32;
	if (!(op->opnd[m].access & ACCESS_W))
		return loads[k][shape];
	return op->attr & OP_FP ? store_converted : stores[k][shape];
}

static bool needs_no_thunk(const struct opcode *op)
{
	switch (op->id) {
	case INSN_ID_EMMS:
	case INSN_ID_FLDCW:
	case INSN_ID_FNSTCW:
	case INSN_ID_FNSTSW:
	case INSN_ID_FNCLEX:
	case INSN_ID_FNINIT: return true;
	default: return op->attr & OP_MASKED;
	}
}

int vector_bind(struct cpu *c, struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	insn_fn *fn;

	/* VEX.W widens lengths in RAX and RDX, outside 64-bit mode it does not: the thunk runs in 64-bit mode. */
	if ((op->implicit & IMPL_RAX_R) && c->mode != INSN_MODE64)
		in->flags &= (uint16_t)~INSN_W;
	if (opcode_is_avx512(op))
		fn = bind_evex(in);
	else if (op->attr & OP_MASKED)
		fn = bind_masked(in);
	else if (op->attr & OP_MMX)
		fn = bind_mmx(in);
	else if (op->attr & OP_X87)
		fn = bind_x87(in);
	else
		fn = bind_sse_avx(in);
	if (!fn)
		return -1;
	if (!needs_no_thunk(op)) {
		thunk_fn *thunk = thunk_get(in, c->wide);

		if (!thunk)
			return -1;
		__builtin_memcpy(&in->thunk, &thunk, sizeof(thunk));
	}
	in->fn = fn;
	return 0;
}

insn_fn *bind_vector_special(struct cpu *c, const struct insn *in)
{
	insn_fn *fn = bind_fpenv(in);

	if (!fn)
		fn = bind_image(in);
	if (!fn)
		fn = bind_xsave(in);
	return fn;
}
