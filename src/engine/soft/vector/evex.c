// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AVX-512: EVEX encodings and opmask instructions (SDM vol. 2, 2.7 and 2.8).
 *
 * As elsewhere in vector/ the instruction itself runs natively, by a thunk (emit.c). What is here is its memory operand, of
 * which a mask may leave elements out. An element that is left out is not accessed and cannot fault (2.7.8, 2.8), but for the rows with
 * EV_NF. So:
 *
 *  - a load that hits the TLB as a whole is read where it lies; else the elements that are chosen are put together in a buffer;
 *  - a store goes to a buffer, and from there the elements that are chosen to memory, after all of them were probed;
 *  - compressed stores and expanding loads access as many elements as the mask has bits, in one piece;
 *  - gathers and scatters go from the least significant element up; one that is done has its mask bit clear before
 *    the next may fault, so that the instruction goes on from there.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

enum { ZMM_SIZE = 64 };

_Noreturn static void raise_no_avx512(struct cpu *c)
{
	bool on = (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & XSTATE_ZMM_ALL) == XSTATE_ZMM_ALL;

	cpu_raise(c, on ? EXC_NM : EXC_UD);
}

static inline void check_avx512(struct cpu *c)
{
	if (unlikely((c->cr0 & CR0_TS) || !(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & XSTATE_ZMM_ALL) != XSTATE_ZMM_ALL))
		raise_no_avx512(c);
}

static void run(struct cpu *c, const struct insn *in, void *mem)
{
	if (unlikely(((thunk_fn *)in->thunk)(c, mem)))
		raise_simd(c);
}

/* --- registers as one piece --- */

void zmm_get(const struct cpu *c, unsigned n, uint8_t v[ZMM_SIZE])
{
	if (n >= 16) {
		memcpy(v, c->z.hi16[n - 16], ZMM_SIZE);
		return;
	}
	memcpy(v, c->x.xmm[n], 16);
	memcpy(v + 16, c->x.ymm_hi[n], 16);
	memcpy(v + 32, c->z.zmm_hi[n], 32);
}

void zmm_put(struct cpu *c, unsigned n, const uint8_t v[ZMM_SIZE])
{
	if (n >= 16) {
		memcpy(c->z.hi16[n - 16], v, ZMM_SIZE);
		return;
	}
	memcpy(c->x.xmm[n], v, 16);
	memcpy(c->x.ymm_hi[n], v + 16, 16);
	memcpy(c->z.zmm_hi[n], v + 32, 32);
}

/* --- what a mask chooses --- */

static uint64_t low_bits(unsigned n)
{
	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* By element of the memory operand, of @e.count. */
static uint64_t chosen(const struct cpu *c, const struct insn *in, struct insn_elements e)
{
	uint64_t mask = c->z.k[in->aaa] & low_bits(e.bits), any = 0;

	for (unsigned at = 0; at < e.bits; at += e.count)
		any |= mask >> at;
	return any & low_bits(e.count);
}

static unsigned operand_size(const struct insn *in)
{
	return insn_operand_size(in, (unsigned)insn_memory_operand(&opcode_table[in->row]));
}

static void check_aligned(struct cpu *c, const struct insn *in, uint64_t addr, unsigned size)
{
	if ((opcode_table[in->row].attr & OP_ALIGN) && (addr & (size - 1)))
		cpu_raise_error(c, EXC_GP, 0);
}

/* Element @i of an operand at @ea, which is cut to the address size; the operand goes on behind its end. */
static uint64_t element_at(struct cpu *c, const struct insn *in, uint64_t ea, unsigned i, unsigned size, enum mmu_access access)
{
	return linear(c, in->seg, ea + i * size, size, access);
}

/* The elements in @set, of @size bytes, to their places in @buf. One by one: faults are the first element's that has one. */
static void load_elements(struct cpu *c, const struct insn *in, uint64_t set, unsigned size, uint8_t *buf)
{
	uint64_t ea = insn_ea(c, in);

	for (; set; set &= set - 1) {
		unsigned i = (unsigned)__builtin_ctzll(set);

		mmu_load_bytes(c, in->seg, element_at(c, in, ea, i, size, MMU_READ), buf + i * size, size);
	}
}

static void probe_elements(struct cpu *c, const struct insn *in, uint64_t set, unsigned size)
{
	uint64_t ea = insn_ea(c, in);

	for (; set; set &= set - 1)
		mmu_probe(c, in->seg, element_at(c, in, ea, (unsigned)__builtin_ctzll(set), size, MMU_WRITE), size, MMU_WRITE);
}

static void store_elements(struct cpu *c, const struct insn *in, uint64_t set, unsigned size, const uint8_t *buf)
{
	uint64_t ea = insn_ea(c, in);

	for (; set; set &= set - 1) {
		unsigned i = (unsigned)__builtin_ctzll(set);

		mmu_store_bytes(c, in->seg, element_at(c, in, ea, i, size, MMU_WRITE), buf + i * size, size);
	}
}

/* --- handlers --- */

static void evex_register(struct cpu *c, const struct insn *in)
{
	check_avx512(c);
	run(c, in, NULL);
}

static void load_whole(struct cpu *c, const struct insn *in, unsigned size)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64)));
	uint64_t addr = insn_linear(c, in, size, MMU_READ);
	void *host;

	check_aligned(c, in, addr, size);
	host = TLB_HIT(c, addr, size, read);
	if (unlikely(!host)) {
		vector_load_slow(c, in->seg, addr, buf, size);
		host = buf;
	}
	run(c, in, host);
}

static void evex_load(struct cpu *c, const struct insn *in)
{
	unsigned size = operand_size(in);

	check_avx512(c);
	load_whole(c, in, size);
}

/* With a mask. The operand that is in the TLB is read as a whole: what the mask leaves out changes nothing. */
static void evex_load_masked(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64))) = { 0 };
	struct insn_elements e = insn_elements(in);
	unsigned size = operand_size(in);
	uint64_t set, addr;
	void *host;

	check_avx512(c);
	set = chosen(c, in, e);
	if (set == low_bits(e.count)) {
		load_whole(c, in, size);
		return;
	}
	addr = c->segbase[in->seg] + insn_ea(c, in);
	if (set)
		check_aligned(c, in, addr, size);
	host = c->flat ? TLB_HIT(c, addr, size, read) : NULL;
	if (unlikely(!host)) {
		load_elements(c, in, set, e.size, buf);
		host = buf;
	}
	run(c, in, host);
}

/* The thunk has written its operand to @buf; MXCSR's flags must wait for the store. */
static void store_set(struct cpu *c, const struct insn *in, uint64_t set, unsigned size)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64)));
	uint32_t old = c->x.mxcsr, new;

	probe_elements(c, in, set, size);
	run(c, in, buf);
	new = c->x.mxcsr;
	c->x.mxcsr = old;
	store_elements(c, in, set, size, buf);
	c->x.mxcsr = new;
}

static void evex_store(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64)));
	unsigned size = operand_size(in);
	uint32_t old = c->x.mxcsr, new;
	uint64_t addr;

	check_avx512(c);
	addr = insn_linear(c, in, size, MMU_WRITE);
	check_aligned(c, in, addr, size);
	if (opcode_table[in->row].attr & OP_FP) { /* VCVTPS2PH: the store's faults come before its exceptions */
		vector_check_alignment(c, in->seg, addr, size);
		mmu_probe(c, in->seg, addr, size, MMU_WRITE);
	}
	run(c, in, buf);
	new = c->x.mxcsr;
	c->x.mxcsr = old;
	vector_store(c, in->seg, addr, buf, size);
	c->x.mxcsr = new;
}

static void evex_store_masked(struct cpu *c, const struct insn *in)
{
	struct insn_elements e = insn_elements(in);
	uint64_t set;

	check_avx512(c);
	set = chosen(c, in, e);
	if (opcode_table[in->row].evex & EV_NF) {
		unsigned size = operand_size(in);

		mmu_probe(c, in->seg, insn_linear(c, in, size, MMU_WRITE), size, MMU_WRITE);
	}
	if (!set)
		return;
	check_aligned(c, in, c->segbase[in->seg] + insn_ea(c, in), operand_size(in));
	store_set(c, in, set, e.size);
}

/* How many bytes a compressed store or an expanding load accesses. */
static unsigned packed_size(const struct cpu *c, const struct insn *in)
{
	unsigned size = 1u << (opcode_table[in->row].evex >> 10 & 7) >> 1, count = insn_vector_size(in) / size;
	uint64_t mask = in->aaa ? c->z.k[in->aaa] : ~0ull;

	return (unsigned)__builtin_popcountll(mask & low_bits(count)) * size;
}

static void evex_expand(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64))) = { 0 };
	unsigned size;

	check_avx512(c);
	size = packed_size(c, in);
	if (size)
		mmu_load_bytes(c, in->seg, insn_linear(c, in, size, MMU_READ), buf, size);
	run(c, in, buf);
}

static void evex_compress(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ZMM_SIZE] __attribute__((aligned(64)));
	unsigned size;

	check_avx512(c);
	size = packed_size(c, in);
	if (!size)
		return;
	run(c, in, buf);
	mmu_store_bytes(c, in->seg, insn_linear(c, in, size, MMU_WRITE), buf, size);
}

/* --- gathers and scatters --- */

struct vsib {
	uint8_t index[ZMM_SIZE];
	unsigned index_size, size, count; /* bytes of an index and of an element; elements */
};

static void vsib_get(const struct cpu *c, const struct insn *in, struct vsib *v)
{
	v->index_size = opcode_table[in->row].opcode & 1 ? 8 : 4;
	v->size = in->flags & INSN_W ? 8 : 4;
	v->count = insn_vector_size(in) / (v->size > v->index_size ? v->size : v->index_size);
	zmm_get(c, in->index, v->index);
}

static uint64_t vsib_address(struct cpu *c, const struct insn *in, const struct vsib *v, unsigned i, enum mmu_access access)
{
	int64_t index = 0;
	int32_t narrow;
	uint64_t ea;

	if (v->index_size == 8) {
		memcpy(&index, v->index + 8 * i, 8);
	} else {
		memcpy(&narrow, v->index + 4 * i, 4);
		index = narrow;
	}
	ea = c->gpr[in->base] + ((uint64_t)index << in->scale) + (uint64_t)(int64_t)in->disp;
	return linear(c, in->seg, in->addrsize == 8 ? ea : in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea, v->size, access);
}

/* Element @i is done. */
static void vsib_done(struct cpu *c, const struct insn *in, unsigned i)
{
	c->z.k[in->aaa] &= ~(1ull << i);
	if (unlikely(c->replay_count))
		cpu_replay_done(c);
}

static void evex_gather(struct cpu *c, const struct insn *in)
{
	uint8_t dest[ZMM_SIZE];
	struct vsib v;

	check_avx512(c);
	vsib_get(c, in, &v);
	zmm_get(c, in->reg, dest);
	/* Of a destination that is half as long as the indices, the other half is cleared at the end: so the usual hosts. */
	memset(dest + insn_vector_size(in), 0, ZMM_SIZE - insn_vector_size(in));
	for (unsigned i = 0; i < v.count; i++) {
		if (!(c->z.k[in->aaa] >> i & 1))
			continue;
		mmu_load_bytes(c, in->seg, vsib_address(c, in, &v, i, MMU_READ), dest + i * v.size, v.size);
		zmm_put(c, in->reg, dest);
		vsib_done(c, in, i);
	}
	memset(dest + v.count * v.size, 0, ZMM_SIZE - v.count * v.size);
	zmm_put(c, in->reg, dest);
	c->z.k[in->aaa] = 0;
}

static void evex_scatter(struct cpu *c, const struct insn *in)
{
	uint8_t data[ZMM_SIZE];
	struct vsib v;

	check_avx512(c);
	vsib_get(c, in, &v);
	zmm_get(c, in->reg, data);
	for (unsigned i = 0; i < v.count; i++) {
		if (!(c->z.k[in->aaa] >> i & 1))
			continue;
		mmu_store_bytes(c, in->seg, vsib_address(c, in, &v, i, MMU_WRITE), data + i * v.size, v.size);
		vsib_done(c, in, i);
	}
	c->z.k[in->aaa] = 0;
}

insn_fn *bind_evex(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	int m = insn_memory_operand(op);
	bool writes, masked;

	if (!(in->flags & INSN_MEM))
		return evex_register;
	if (m < 0)
		return NULL;
	writes = op->opnd[m].access & ACCESS_W;
	if (op->attr & OP_MASKED)
		return writes ? evex_scatter : evex_gather;
	if (insn_packs(in->id))
		return writes ? evex_compress : evex_expand;
	masked = insn_elements(in).count;
	if (writes)
		return masked ? evex_store_masked : evex_store;
	return masked && !(op->evex & EV_NF) ? evex_load_masked : evex_load;
}
