// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions whose memory elements are chosen by a mask: VMASKMOVPS/PD, VPMASKMOVD/Q, the gathers, and
 * MASKMOVQ and MASKMOVDQU. An element that is not chosen is not accessed, and (but for the last two)
 * cannot fault.
 *
 * Masked loads and stores are all or nothing: a fault leaves registers and memory as they were. A
 * gather goes from the least significant element up; each one that is done is in its register, and
 * its mask element cleared, before the next may fault, so that the instruction goes on from there (SDM
 * vol. 2, VPGATHERDD and its kin).
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

/* A YMM register as one piece */
struct ymm {
	uint8_t b[32];
};

static void ymm_get(const struct cpu *c, unsigned n, struct ymm *v)
{
	memcpy(v->b, c->x.xmm[n], 16);
	memcpy(v->b + 16, c->x.ymm_hi[n], 16);
}

/* @len 16 clears the upper half. */
static void ymm_put(struct cpu *c, unsigned n, const struct ymm *v, unsigned len)
{
	memcpy(c->x.xmm[n], v->b, 16);
	if (len == 32)
		memcpy(c->x.ymm_hi[n], v->b + 16, 16);
	else
		memset(c->x.ymm_hi[n], 0, 16);
	memset(c->z.zmm_hi[n], 0, sizeof(c->z.zmm_hi[n]));
}

/* --- VMASKMOV, VPMASKMOV --- */

static unsigned element_size(const struct insn *in)
{
	return in->id == INSN_ID_VMASKMOVPD || in->id == INSN_ID_VPMASKMOVQ ? 8 : 4;
}

/* The sign bit of the element that ends below @end */
static bool chosen(const struct ymm *mask, unsigned end)
{
	return mask->b[end - 1] & 0x80;
}

static void masked_load(struct cpu *c, const struct insn *in)
{
	unsigned len = in->flags & INSN_L ? 32 : 16, size = element_size(in);
	uint64_t ea = insn_ea(c, in);
	struct ymm mask, v = { 0 };

	check_avx(c);
	ymm_get(c, in->vvvv, &mask);
	for (unsigned i = 0; i < len; i += size)
		if (chosen(&mask, i + size))
			mmu_load_bytes(c, in->seg, linear(c, in->seg, ea + i, size, MMU_READ), v.b + i, size);
	ymm_put(c, in->reg, &v, len);
}

/* Faults of a store, but #AC, which no masked move raises (SDM vol. 2, VMASKMOV: "No AC# reported"). */
static void probe_element(struct cpu *c, const struct insn *in, uint64_t addr, unsigned size)
{
	unsigned first = FRAME_SIZE - (addr & (FRAME_SIZE - 1));

	if (TLB_HIT(c, addr, size, write))
		return;
	if (!c->align_check) {
		mmu_probe(c, in->seg, addr, size, MMU_WRITE);
		return;
	}
	vector_check_canonical(c, in->seg, addr, size);
	mmu_probe(c, in->seg, addr, 1, MMU_WRITE);
	if (size > first)
		mmu_probe(c, in->seg, addr + first, 1, MMU_WRITE);
}

static void masked_store(struct cpu *c, const struct insn *in)
{
	unsigned len = in->flags & INSN_L ? 32 : 16, size = element_size(in);
	uint64_t ea = insn_ea(c, in);
	struct ymm mask, v;

	check_avx(c);
	ymm_get(c, in->vvvv, &mask);
	ymm_get(c, in->reg, &v);
	for (unsigned i = 0; i < len; i += size) {
		if (!chosen(&mask, i + size))
			continue;
		probe_element(c, in, linear(c, in->seg, ea + i, size, MMU_WRITE), size);
	}
	for (unsigned i = 0; i < len; i += size)
		if (chosen(&mask, i + size))
			mmu_store_bytes(c, in->seg, linear(c, in->seg, ea + i, size, MMU_WRITE), v.b + i, size);
}

/* Linear address of an operand at @ea, which is cut to the address size first. */
static uint64_t element_address(struct cpu *c, const struct insn *in, uint64_t ea, unsigned size, enum mmu_access access)
{
	if (unlikely(in->addrsize != 8))
		ea = in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
	return linear(c, in->seg, ea, size, access);
}

/*
 * --- MASKMOVQ, MASKMOVDQU: bytes, to DS:rDI ---
 *
 * Whether a byte that is not chosen may fault is left to the implementation (SDM vol. 2, MASKMOVDQU); this
 * one looks at the whole operand first, as the usual hosts do.
 */
static void masked_bytes(struct cpu *c, const struct insn *in, const uint8_t *data, const uint8_t *mask, unsigned len)
{
	uint64_t addr = element_address(c, in, c->gpr[RDI], len, MMU_WRITE);

	vector_check_alignment(c, in->seg, addr, len);
	mmu_probe(c, in->seg, addr, len, MMU_WRITE);
	for (unsigned i = 0; i < len; i++)
		if (mask[i] & 0x80)
			mmu_store(c, in->seg, addr + i, 1, data[i]);
}

static void maskmovdqu(struct cpu *c, const struct insn *in)
{
	check_sse(c);
	masked_bytes(c, in, c->x.xmm[in->reg], c->x.xmm[in->rm], 16);
}

static void vmaskmovdqu(struct cpu *c, const struct insn *in)
{
	check_avx(c);
	masked_bytes(c, in, c->x.xmm[in->reg], c->x.xmm[in->rm], 16);
}

static void maskmovq(struct cpu *c, const struct insn *in)
{
	check_mmx(c);
	/* The transition to MMX state comes first: hosts have made it even if the store faults. */
	x87_set_top(c, 0);
	c->x.ftw = 0xff;
	masked_bytes(c, in, c->x.st[in->reg & 7], c->x.st[in->rm & 7], 8);
}

/* --- gathers --- */

/* Sizes of index and element in bytes */
static void gather_shape(const struct insn *in, unsigned *index, unsigned *element)
{
	switch (in->id) {
	case INSN_ID_VPGATHERDD:
	case INSN_ID_VGATHERDPS: *index = 4, *element = 4; break;
	case INSN_ID_VPGATHERDQ:
	case INSN_ID_VGATHERDPD: *index = 4, *element = 8; break;
	case INSN_ID_VPGATHERQD:
	case INSN_ID_VGATHERQPS: *index = 8, *element = 4; break;
	default: *index = 8, *element = 8;
	}
}

static int64_t index_at(const struct ymm *v, unsigned i, unsigned size)
{
	int64_t wide;
	int32_t narrow;

	if (size == 8) {
		memcpy(&wide, v->b + 8 * i, 8);
		return wide;
	}
	memcpy(&narrow, v->b + 4 * i, 4);
	return narrow;
}

/* What is done is in the registers: before it may come no further. The upper halves of ZMM are cleared at the end. */
static void gather_keep(struct cpu *c, const struct insn *in, const struct ymm *dest, const struct ymm *mask)
{
	memcpy(c->x.xmm[in->reg], dest->b, 16);
	memcpy(c->x.ymm_hi[in->reg], dest->b + 16, 16);
	memcpy(c->x.xmm[in->vvvv], mask->b, 16);
	memcpy(c->x.ymm_hi[in->vvvv], mask->b + 16, 16);
}

static void gather(struct cpu *c, const struct insn *in)
{
	unsigned vl = in->flags & INSN_L ? 32 : 16, isize, esize, count, len;
	struct ymm dest, mask, index;
	uint64_t base;

	check_avx(c);
	if (in->reg == in->index || in->reg == in->vvvv || in->index == in->vvvv)
		cpu_raise(c, EXC_UD);
	gather_shape(in, &isize, &esize);
	count = vl / (isize > esize ? isize : esize);
	len = count * esize; /* bytes of the destination that count; the rest becomes 0 */
	ymm_get(c, in->reg, &dest);
	ymm_get(c, in->vvvv, &mask);
	ymm_get(c, in->index, &index);
	base = c->gpr[in->base] + (uint64_t)(int64_t)in->disp;
	for (unsigned i = 0; i < count; i++) {
		uint64_t ea, addr;
		void *host;

		if (chosen(&mask, (i + 1) * esize)) {
			ea = base + ((uint64_t)index_at(&index, i, isize) << in->scale);
			if (unlikely(!c->flat)) /* its segment may refuse it */
				gather_keep(c, in, &dest, &mask);
			addr = element_address(c, in, ea, esize, MMU_READ);
			host = TLB_HIT(c, addr, esize, read);
			if (likely(host)) {
				memcpy(dest.b + i * esize, host, esize == 4 ? 4 : 8);
			} else {
				gather_keep(c, in, &dest, &mask);
				mmu_load_bytes(c, in->seg, addr, dest.b + i * esize, esize);
				if (unlikely(c->replay_count)) {
					memset(mask.b + i * esize, 0, esize);
					gather_keep(c, in, &dest, &mask);
					cpu_replay_done(c);
				}
			}
		}
		memset(mask.b + i * esize, 0, esize);
	}
	memset(dest.b + len, 0, sizeof(dest.b) - len);
	memset(&mask, 0, sizeof(mask));
	ymm_put(c, in->reg, &dest, 32);
	ymm_put(c, in->vvvv, &mask, 32);
}

insn_fn *bind_masked(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_VMASKMOVPS:
	case INSN_ID_VMASKMOVPD:
	case INSN_ID_VPMASKMOVD:
	case INSN_ID_VPMASKMOVQ:
		return opcode_table[in->row].opnd[0].kind == OPND_W ? masked_store : masked_load;
	case INSN_ID_MASKMOVQ: return maskmovq;
	case INSN_ID_MASKMOVDQU: return maskmovdqu;
	case INSN_ID_VMASKMOVDQU: return vmaskmovdqu;
	case INSN_ID_VPGATHERDD:
	case INSN_ID_VPGATHERDQ:
	case INSN_ID_VPGATHERQD:
	case INSN_ID_VPGATHERQQ:
	case INSN_ID_VGATHERDPS:
	case INSN_ID_VGATHERDPD:
	case INSN_ID_VGATHERQPS:
	case INSN_ID_VGATHERQPD: return gather;
	default: return NULL;
	}
}
