// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random values that are likely to matter: integers around limits, floating-point numbers of all
 * classes, selectors; and the memory that each case starts with, lines of 64 bytes of different kinds.
 */
#include "gen.h"

#include <string.h>

uint8_t dt_pristine[DT_MEM + DT_PAGE];
uint64_t gen_rng;
const uint8_t *(*gen_live_memory)(uint64_t la);
static bool low_pages;

/* --- values --- */

uint64_t interesting(void)
{
	static const uint64_t v[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
				      0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
				      0xfffffffffffffffe, 0xffffffffffffffff, 0xffffffff80000000, 0xaaaaaaaaaaaaaaaa };

	switch (below(8)) {
	case 0:
	case 1: return v[below(sizeof(v) / sizeof(v[0]))];
	case 2: return (uint64_t)(int64_t)(int8_t)rnd();
	case 3: return 1ull << below(64);
	case 4: return rnd() & 0xffff;
	case 5: return rnd() & 0xffffffff;
	case 6: return DT_DATA + below(2 * DT_PAGE);
	default: return rnd();
	}
}

static float random_float(void)
{
	static const uint32_t v[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
				      0xffc12345, 1, 0x807fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000000, 0x5f000000,
				      0x3f000000, 0x3fc00000, 0x40490fdb };
	uint32_t b = one_in(3) ? v[below(sizeof(v) / sizeof(v[0]))] : one_in(2) ? (uint32_t)rnd() : 0;
	float f;

	if (!b)
		b = (uint32_t)(0x3f000000 + (rnd() & 0x81ffffff)); /* around 1 */
	memcpy(&f, &b, 4);
	return f;
}

static uint64_t random_double(void)
{
	static const uint64_t v[] = { 0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
				      0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8123456789abc, 1,
				      0x800fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x41e0000000000000,
				      0xc1e0000000000000, 0x43e0000000000000, 0x3fe0000000000000, 0x400921fb54442d18,
				      0x41dfffffffc00000, 0x380fffffe0000000, 0x47efffffe0000000 };

	if (one_in(3))
		return v[below(sizeof(v) / sizeof(v[0]))];
	if (one_in(2))
		return rnd();
	return 0x3fe0000000000000 + (rnd() & 0x803fffffffffffff);
}

/* 80 bits: all the classes of SDM vol. 1, table 8-3, unsupported ones too */
void random_extended(uint8_t *p)
{
	uint64_t m = rnd();
	uint16_t e = (uint16_t)(0x3fff - 8 + below(16));

	switch (below(12)) {
	case 0: m = 0, e = 0; break;
	case 1: e = 0, m &= ~(1ull << 63); break;			/* denormal */
	case 2: e = 0, m |= 1ull << 63; break;				/* pseudo-denormal */
	case 3: e = 0x7fff, m = 1ull << 63; break;			/* infinity */
	case 4: e = 0x7fff, m |= 3ull << 62; break;			/* QNaN */
	case 5: e = 0x7fff, m = (m | 1ull << 63 | 1) & ~(1ull << 62); break; /* SNaN */
	case 6: m &= ~(1ull << 63); break;				/* unnormal */
	case 7: e = (uint16_t)(rnd() & 0x7fff), m |= 1ull << 63; break;
	case 8: m = 1ull << 63; break; /* a power of 2 */
	case 9: e = 0x403e, m |= 1ull << 63; break; /* near the integers' limit */
	default: m |= 1ull << 63; break;
	}
	e |= (uint16_t)((rnd() & 1) << 15);
	memcpy(p, &m, 8);
	memcpy(p + 8, &e, 2);
}

void random_vector(uint8_t *p)
{
	uint64_t q[2] = { rnd(), rnd() };
	float f;

	switch (below(8)) {
	case 0:
	case 1:
		for (unsigned i = 0; i < 4; i++) {
			f = random_float();
			memcpy(p + 4 * i, &f, 4);
		}
		return;
	case 2:
	case 3:
		q[0] = random_double();
		q[1] = random_double();
		break;
	case 4:
		q[0] = interesting();
		q[1] = interesting();
		break;
	case 5:
		q[0] = q[1] = 0x0101010101010101ull * (rnd() & 0xff);
		break;
	case 6:
		for (unsigned i = 0; i < 16; i++)
			p[i] = (uint8_t)((rnd() & 1) ? 0xff : rnd() & 0x80);
		return;
	default: break;
	}
	memcpy(p, q, 16);
}

enum { LINE = 64 };

static void state_image(uint8_t *p, uint64_t bv, uint64_t comp)
{
	uint16_t fcw = (uint16_t)(0x40 | (rnd() & 0xf3f)), fsw = (uint16_t)(rnd() & 0x7f7f);
	uint32_t mxcsr = (uint32_t)(rnd() & 0xffff);

	memset(p, 0, IMAGE_SIZE);
	memcpy(p, &fcw, 2);
	memcpy(p + 2, &fsw, 2);
	p[4] = (uint8_t)rnd();
	memcpy(p + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		random_extended(p + 32 + 16 * i);
	for (unsigned i = 0; i < 16; i++) {
		random_vector(p + 160 + 16 * i);
		random_vector(p + 576 + 16 * i);
	}
	memcpy(p + 512, &bv, 8);
	memcpy(p + 520, &comp, 8);
}

/* Memory before each case. */
static void fill_pristine(uint64_t seed)
{
	gen_rng = mix(seed ^ 0x6d656d6f7279);
	for (unsigned at = 0; at < sizeof(dt_pristine); at += LINE) {
		uint8_t *p = dt_pristine + at;
		unsigned kind = below(LINE_KINDS);
		uint8_t same = (uint8_t)rnd();

		for (unsigned i = 0; i < LINE; i += 16) {
			uint64_t q[2] = { interesting(), interesting() };

			switch (kind) {
			case LINE_VECTOR:
			case LINE_VECTOR2:
			case LINE_VECTOR3: random_vector(p + i); break;
			case LINE_SAME: memset(p + i, same, 16); break;
			case LINE_CODE:
				q[0] = DT_LANDING + below(256);
				q[1] = one_in(2) ? q[0] : (uint64_t)DT_DATA + below(2 * DT_PAGE);
				memcpy(p + i, q, 16);
				break;
			case LINE_EXTENDED:
				random_extended(p + i);
				memcpy(p + i + 10, q, 6);
				break;
			case LINE_BCD:
				for (unsigned k = 0; k < 16; k++)
					p[i + k] = (uint8_t)(below(10) | below(10) << 4);
				break;
			default: memcpy(p + i, q, 16);
			}
		}
	}
}

static void fill_images(void)
{
	uint64_t comp = 1ull << 63 | 3 | (one_in(2) ? 4 : 0);

	state_image(dt_pristine + IMAGE, below(8), 0);
	state_image(dt_pristine + IMAGE_COMPACT, below(8) & comp, comp);
}

bool dt_writable(uint64_t la, uint32_t *at)
{
	la = dt_first_mapping(la);
	if (la >= DT_DATA && la < DT_DATA + 2 * DT_PAGE)
		*at = (uint32_t)(la - DT_DATA);
	else if (la >= DT_TOP && la < DT_TOP + DT_PAGE)
		*at = (uint32_t)(la - DT_TOP) + DT_AT_TOP;
	else if (low_pages && la >= DT_LOW && la < DT_LOW + DT_LOW_PAGES * DT_PAGE)
		*at = (uint32_t)(la - DT_LOW) + DT_AT_LOW;
	else
		return false;
	return true;
}

const uint8_t *gen_memory(const struct dt_case *c, uint64_t la)
{
	static const uint8_t filler = 0xcc; /* of code pages */
	uint32_t at;

	if (gen_live_memory)
		return gen_live_memory(la);
	if (c->poke_len && la - c->poke_la < c->poke_len)
		return c->poke + (la - c->poke_la);
	la = dt_first_mapping(la);
	if (la >= DT_RO && la < DT_RO + DT_PAGE)
		return dt_pristine + DT_MEM + (la - DT_RO);
	if ((la >= DT_CODE && la < DT_CODE + DT_CODE_PAGES * DT_PAGE) || (la >= DT_CODE_TOP && la < DT_CODE_TOP + DT_PAGE))
		return &filler;
	return dt_writable(la, &at) ? dt_pristine + at : NULL;
}

void fill_memory_before(uint64_t seed)
{
	fill_pristine(seed);
	fill_images();
}

void gen_low_pages(bool there)
{
	low_pages = there;
}
