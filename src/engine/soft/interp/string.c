// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MOVS STOS LODS CMPS SCAS INS OUTS and their repeat prefixes (SDM vol. 2; vol. 1, 7.3.9).
 *
 * One execution of a repeated instruction does a bounded amount of work: either one run of elements
 * that lie in one page of the source and one of the destination, done by the host's own string
 * instruction on host addresses (so that overlapping operands come out as they must, whatever
 * linear addresses they have), or a number of single elements. Registers are brought up to date
 * after each; a fault or an exit finds completed elements in rCX, rSI and rDI. While a count is
 * left, RIP goes back to the instruction and the block ends, which lets the run loop see to
 * interrupts.
 */
#include "engine/soft/interp/alu.h"
#include "engine/soft/soft.h"

/* Elements of one execution of the element-by-element path. */
enum { SLOW_ELEMENTS_MAX = 1024 };

/* --- rCX, rSI, rDI by address size --- */

static inline uint64_t addr_mask(const struct insn *in)
{
	return in->addrsize == 8 ? ~0ull : in->addrsize == 4 ? 0xffffffffull : 0xffffull;
}

static inline uint64_t index_get(const struct cpu *c, const struct insn *in, unsigned reg)
{
	return c->gpr[reg] & addr_mask(in);
}

static inline void index_add(struct cpu *c, const struct insn *in, unsigned reg, uint64_t delta)
{
	gpr_put(c, reg * 8, in->addrsize, c->gpr[reg] + delta);
}

static inline uint64_t step_of(const struct cpu *c, unsigned size)
{
	return c->sysflags & RF_DF ? -(uint64_t)size : size;
}

static inline uint64_t source(struct cpu *c, const struct insn *in, unsigned size)
{
	return linear(c, in->seg, index_get(c, in, RSI), size, MMU_READ);
}

static inline uint64_t destination(struct cpu *c, const struct insn *in, unsigned size, enum mmu_access access)
{
	return linear(c, SEG_ES, index_get(c, in, RDI), size, access);
}

/* --- one element of each: everything that can fault, then the index registers --- */

static inline __attribute__((always_inline)) void movs_one(struct cpu *c, const struct insn *in, unsigned size)
{
	uint64_t v = mmu_load(c, in->seg, source(c, in, size), size);

	mmu_store(c, SEG_ES, destination(c, in, size, MMU_WRITE), size, v);
	index_add(c, in, RSI, step_of(c, size));
	index_add(c, in, RDI, step_of(c, size));
}

static inline __attribute__((always_inline)) void stos_one(struct cpu *c, const struct insn *in, unsigned size)
{
	mmu_store(c, SEG_ES, destination(c, in, size, MMU_WRITE), size, c->gpr[RAX]);
	index_add(c, in, RDI, step_of(c, size));
}

static inline __attribute__((always_inline)) void lods_one(struct cpu *c, const struct insn *in, unsigned size)
{
	gpr_put(c, RAX * 8, size, mmu_load(c, in->seg, source(c, in, size), size));
	index_add(c, in, RSI, step_of(c, size));
}

static inline __attribute__((always_inline)) void compare(struct cpu *c, unsigned size, uint64_t a, uint64_t b)
{
	switch (size) {
	case 1: (void)alu_cmp_1((uint8_t)a, (uint8_t)b, &c->flags); break;
	case 2: (void)alu_cmp_2((uint16_t)a, (uint16_t)b, &c->flags); break;
	case 4: (void)alu_cmp_4((uint32_t)a, (uint32_t)b, &c->flags); break;
	default: (void)alu_cmp_8(a, b, &c->flags); break;
	}
}

static inline __attribute__((always_inline)) void cmps_one(struct cpu *c, const struct insn *in, unsigned size)
{
	uint64_t a = mmu_load(c, in->seg, source(c, in, size), size);
	uint64_t b = mmu_load(c, SEG_ES, destination(c, in, size, MMU_READ), size);

	compare(c, size, a, b);
	index_add(c, in, RSI, step_of(c, size));
	index_add(c, in, RDI, step_of(c, size));
}

static inline __attribute__((always_inline)) void scas_one(struct cpu *c, const struct insn *in, unsigned size)
{
	compare(c, size, c->gpr[RAX], mmu_load(c, SEG_ES, destination(c, in, size, MMU_READ), size));
	index_add(c, in, RDI, step_of(c, size));
}

/* The port's permission, then whether the destination can be written, then the port. */
static inline __attribute__((always_inline)) void ins_one(struct cpu *c, const struct insn *in, unsigned size)
{
	uint16_t port = (uint16_t)c->gpr[RDX];
	uint64_t lin;

	io_check(c, port, size);
	lin = destination(c, in, size, MMU_WRITE);
	mmu_probe(c, SEG_ES, lin, size, MMU_WRITE);
	mmu_store(c, SEG_ES, lin, size, cpu_io_in(c, port, size));
	index_add(c, in, RDI, step_of(c, size));
}

static inline __attribute__((always_inline)) void outs_one(struct cpu *c, const struct insn *in, unsigned size)
{
	uint16_t port = (uint16_t)c->gpr[RDX];

	io_check(c, port, size);
	cpu_io_out(c, port, size, mmu_load(c, in->seg, source(c, in, size), size));
	index_add(c, in, RSI, step_of(c, size));
}

/* --- runs: elements that can be touched directly --- */

/*
 * How many elements from @ea, at most @count, neither wrap the address nor leave the segment nor
 * the page at @lin; 0: go element by element. The first element has been checked by linear().
 */
static uint64_t run_length(const struct cpu *c, const struct insn *in, unsigned seg, uint64_t ea, uint64_t lin,
			   unsigned size, uint64_t count)
{
	unsigned page = lin & (FRAME_SIZE - 1);
	bool down = c->sysflags & RF_DF;
	uint64_t n;

	if (page + size > FRAME_SIZE)
		return 0;
	n = down ? page / size + 1 : (FRAME_SIZE - page) / size;
	if (n > count)
		n = count;
	if (in->addrsize != 8 || !c->flat) {
		uint64_t top = addr_mask(in), room;

		if (!c->flat) {
			const struct vcpu_segment *s = &c->seg[seg];

			/* Expand-down data (type 01xxb): limits are the other way round */
			if ((s->attr & 0xc) == 4)
				return 0;
			if (s->limit < top)
				top = s->limit;
		}
		if (ea > top || size > top - ea + 1)
			return 0;
		room = down ? ea / size + 1 : (top - ea + 1) / size;
		if (n > room)
			n = room;
	}
	return n;
}

/* A trap or a debugger wants to see each element. */
static bool stepping(const struct cpu *c)
{
	return (c->sysflags & RF_TF) || (c->debug && c->debug->step);
}

/* Under alignment checks and single-stepping, elements go one by one. */
static bool runs_allowed(const struct cpu *c)
{
	return !c->align_check && !stepping(c);
}

/* Host address of the element at @lin, or NULL. */
static void *run_host(struct cpu *c, unsigned seg, uint64_t lin, unsigned size, enum mmu_access access)
{
	unsigned bytes;
	uint8_t *p = access == MMU_WRITE ? TLB_HIT(c, lin, size, write) : TLB_HIT(c, lin, size, read);

	if (likely(p))
		return p;
	if (size > FRAME_SIZE - (lin & (FRAME_SIZE - 1)))
		return NULL; /* across pages: the ordinary way, which knows the order of its faults */
	p = mmu_run(c, seg, lin, access, &bytes);
	return p && bytes >= size ? p : NULL;
}

/* @tail follows the string instruction; CLD leaves its flags alone. */
#define HOST_STRING(op, tail, ...)                                                                 \
	do {                                                                                       \
		if (unlikely(c->sysflags & RF_DF))                                                 \
			__asm__ volatile("std\n\t" op "\n\tcld" tail __VA_ARGS__);                 \
		else                                                                               \
			__asm__ volatile(op tail __VA_ARGS__);                                     \
	} while (0)

#define HOST_REP(op, tail, ...)                                                                    \
	do {                                                                                       \
		switch (size) {                                                                    \
		case 1: HOST_STRING(op "b", tail, __VA_ARGS__); break;                             \
		case 2: HOST_STRING(op "w", tail, __VA_ARGS__); break;                             \
		case 4: HOST_STRING(op "l", tail, __VA_ARGS__); break;                             \
		default: HOST_STRING(op "q", tail, __VA_ARGS__); break;                            \
		}                                                                                  \
	} while (0)

static inline void count_sub(struct cpu *c, const struct insn *in, uint64_t n)
{
	index_add(c, in, RCX, -n);
}

/* A run of @n elements was stored, the first of them at @first. */
static void run_stored(struct cpu *c, uint8_t *first, unsigned size, uint64_t n)
{
	if (c->sysflags & RF_DF)
		first -= (n - 1) * size;
	mmu_after_store(c, first, (unsigned)n * size);
}

/* Each returns the number of elements done, 0 when there is no run. */

static inline uint64_t movs_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t si = index_get(c, in, RSI), di = index_get(c, in, RDI), n, left;
	uint64_t src = linear(c, in->seg, si, size, MMU_READ), dst;
	void *s = run_host(c, in->seg, src, size, MMU_READ), *d;

	if (!s) /* its own faults come before the destination's */
		return 0;
	dst = linear(c, SEG_ES, di, size, MMU_WRITE);
	d = run_host(c, SEG_ES, dst, size, MMU_WRITE);
	if (!d)
		return 0;
	/* Again: making the destination writable may have moved the frame that both are in. */
	s = run_host(c, in->seg, src, size, MMU_READ);
	n = run_length(c, in, in->seg, si, src, size, count);
	n = run_length(c, in, SEG_ES, di, dst, size, n);
	if (!n || !s)
		return 0;
	left = n;
	void *page = d;
	HOST_REP("rep movs", "", : "+S"(s), "+D"(d), "+c"(left) : : "memory");
	run_stored(c, page, size, n);
	index_add(c, in, RSI, n * step_of(c, size));
	index_add(c, in, RDI, n * step_of(c, size));
	count_sub(c, in, n);
	return n;
}

static inline uint64_t stos_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t di = index_get(c, in, RDI), dst = linear(c, SEG_ES, di, size, MMU_WRITE), n, left;
	void *d = run_host(c, SEG_ES, dst, size, MMU_WRITE), *page = d;

	n = d ? run_length(c, in, SEG_ES, di, dst, size, count) : 0;
	if (!n)
		return 0;
	left = n;
	HOST_REP("rep stos", "", : "+D"(d), "+c"(left) : "a"(c->gpr[RAX]) : "memory");
	run_stored(c, page, size, n);
	index_add(c, in, RDI, n * step_of(c, size));
	count_sub(c, in, n);
	return n;
}

#define HOST_COMPARE(op, ...)                                                                      \
	do {                                                                                       \
		if (in->flags & INSN_REPNE)                                                        \
			HOST_REP("repne " op, FLAGS_SAVE, __VA_ARGS__);                            \
		else                                                                               \
			HOST_REP("repe " op, FLAGS_SAVE, __VA_ARGS__);                             \
	} while (0)

static inline uint64_t cmps_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t si = index_get(c, in, RSI), di = index_get(c, in, RDI), n, left, f = 0;
	uint64_t src = linear(c, in->seg, si, size, MMU_READ), dst;
	void *s = run_host(c, in->seg, src, size, MMU_READ), *d;

	if (!s) /* its own faults come before the destination's */
		return 0;
	dst = linear(c, SEG_ES, di, size, MMU_READ);
	d = run_host(c, SEG_ES, dst, size, MMU_READ);
	if (!d)
		return 0;
	n = run_length(c, in, in->seg, si, src, size, count);
	n = run_length(c, in, SEG_ES, di, dst, size, n);
	if (!n)
		return 0;
	left = n;
	HOST_COMPARE("cmps", : "+S"(s), "+D"(d), "+c"(left), "+a"(f) : : "memory", "cc");
	n -= left;
	c->flags = (uint16_t)f;
	index_add(c, in, RSI, n * step_of(c, size));
	index_add(c, in, RDI, n * step_of(c, size));
	count_sub(c, in, n);
	return n;
}

static inline uint64_t scas_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t di = index_get(c, in, RDI), dst = linear(c, SEG_ES, di, size, MMU_READ), n, left;
	uint64_t f = c->gpr[RAX]; /* the accumulator goes in, the flags come out */
	void *d = run_host(c, SEG_ES, dst, size, MMU_READ);

	n = d ? run_length(c, in, SEG_ES, di, dst, size, count) : 0;
	if (!n)
		return 0;
	left = n;
	HOST_COMPARE("scas", : "+D"(d), "+c"(left), "+a"(f) : : "memory", "cc");
	n -= left;
	c->flags = (uint16_t)f;
	index_add(c, in, RDI, n * step_of(c, size));
	count_sub(c, in, n);
	return n;
}

/*
 * INS and OUTS, upwards: a run leaves the engine once. What can fault is looked at first, as for one element;
 * the instruction then runs again with the answer (cpu.h).
 */
static inline uint64_t port_run(struct cpu *c, uint64_t n, unsigned size)
{
	return c->sysflags & RF_DF || n < 2 ? 0 : n > RUN_DATA_MAX / size ? RUN_DATA_MAX / size : n;
}

static inline uint64_t ins_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t di = index_get(c, in, RDI), dst, n;
	uint16_t port = (uint16_t)c->gpr[RDX];
	void *d;

	io_check(c, port, size);
	dst = linear(c, SEG_ES, di, size, MMU_WRITE);
	d = run_host(c, SEG_ES, dst, size, MMU_WRITE);
	n = d ? port_run(c, run_length(c, in, SEG_ES, di, dst, size, count), size) : 0;
	if (!n || !cpu_io_in_run(c, port, size, (unsigned)n, d))
		return 0;
	mmu_after_store(c, d, (unsigned)n * size);
	index_add(c, in, RDI, n * size);
	count_sub(c, in, n);
	return n;
}

static inline uint64_t outs_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	uint64_t si = index_get(c, in, RSI), src, n;
	uint16_t port = (uint16_t)c->gpr[RDX];
	void *s;

	io_check(c, port, size);
	src = linear(c, in->seg, si, size, MMU_READ);
	s = run_host(c, in->seg, src, size, MMU_READ);
	n = s ? port_run(c, run_length(c, in, in->seg, si, src, size, count), size) : 0;
	if (!n || !cpu_io_out_run(c, port, size, (unsigned)n, s))
		return 0;
	index_add(c, in, RSI, n * size);
	count_sub(c, in, n);
	return n;
}

static inline uint64_t no_run(struct cpu *c, const struct insn *in, unsigned size, uint64_t count)
{
	return 0;
}

/* --- repetition --- */

/*
 * More is left: the run loop looks around and comes back to this instruction. Until then RF is set
 * (SDM vol. 3, 17.3.1.1): an interrupt or a trap pushes it, and a code breakpoint does not hit again.
 */
static void again(struct cpu *c, const struct insn *in)
{
	uint64_t rip = c->gpr[GPR_RIP] - in->len;

	c->gpr[GPR_RIP] = c->mode == INSN_MODE64 ? rip : (uint32_t)rip;
	c->sysflags |= RF_RF;
	c->brk = 1;
}

/* CMPS and SCAS end when ZF is not what the prefix wants. */
static inline bool ended(const struct cpu *c, const struct insn *in)
{
	return !(c->flags & AF_ZF) == !(in->flags & INSN_REPNE);
}

#define STRING(name, n, run, condition)                                                            \
	static void name##_##n(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		name##_one(c, in, n);                                                              \
	}                                                                                          \
	static void rep_##name##_##n(struct cpu *c, const struct insn *in)                         \
	{                                                                                          \
		uint64_t count = index_get(c, in, RCX), done;                                      \
                                                                                                   \
		if (!count)                                                                        \
			return;                                                                    \
		done = runs_allowed(c) ? run(c, in, n, count) : 0;                                 \
		if (done) {                                                                        \
			if (done != count && !(condition))                                         \
				again(c, in);                                                      \
			return;                                                                    \
		}                                                                                  \
		for (unsigned i = 0;; i++) {                                                       \
			name##_one(c, in, n);                                                      \
			count_sub(c, in, 1);                                                       \
			if (!--count || (condition))                                               \
				return;                                                            \
			if (pause_wanted(c, i)) {                                                  \
				again(c, in);                                                      \
				return;                                                            \
			}                                                                          \
		}                                                                                  \
	}

/*
 * After an element that left the engine, the instruction must come to its end: what is recorded
 * for replaying belongs to that element alone.
 */
static inline bool pause_wanted(const struct cpu *c, unsigned done)
{
	return done + 1 >= SLOW_ELEMENTS_MAX || c->replay_count || stepping(c) || c->dbg.hits ||
	       atomic_load_explicit(&c->req, memory_order_relaxed);
}

#define STRING_SIZES(name, run, condition)                                                         \
	STRING(name, 1, run, condition)                                                            \
	STRING(name, 2, run, condition)                                                            \
	STRING(name, 4, run, condition)                                                            \
	STRING(name, 8, run, condition)                                                            \
	static insn_fn *const name##_forms[2][4] = {                                               \
		{ name##_1, name##_2, name##_4, name##_8 },                                        \
		{ rep_##name##_1, rep_##name##_2, rep_##name##_4, rep_##name##_8 },                \
	};

STRING_SIZES(movs, movs_run, false)
STRING_SIZES(stos, stos_run, false)
STRING_SIZES(lods, no_run, false)
STRING_SIZES(cmps, cmps_run, ended(c, in))
STRING_SIZES(scas, scas_run, ended(c, in))
STRING_SIZES(ins, ins_run, false)
STRING_SIZES(outs, outs_run, false)

insn_fn *bind_string(struct cpu *c, const struct insn *in)
{
	unsigned size = size_index(in->opsize);
	bool rep = in->flags & (INSN_REP | INSN_REPNE);

	switch (in->id) {
	case INSN_ID_MOVS: return movs_forms[rep][size];
	case INSN_ID_STOS: return stos_forms[rep][size];
	case INSN_ID_LODS: return lods_forms[rep][size];
	case INSN_ID_CMPS: return cmps_forms[rep][size];
	case INSN_ID_SCAS: return scas_forms[rep][size];
	case INSN_ID_INS: return ins_forms[rep][size];
	case INSN_ID_OUTS: return outs_forms[rep][size];
	}
	return NULL;
}
