// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Segments: the LDT that native code and engine soft share, and the segment registers of a case.
 *
 * modify_ldt(2) makes code and data segments of DPL 3 whose accessed bit is set, with any base, limit,
 * granularity and size; conforming code only when not present. It refuses gates, TSSs, other DPLs
 * and 64-bit code: those are held to the manual by tests in tests/engine/, not to the host here.
 *
 * Entry i is of class i % CLASSES, so that a selector of a class is chosen without a search. The
 * table follows from the seed and stays for the whole run.
 */
#include "gen.h"

#include <string.h>

enum {
	CLASS_CODE16, CLASS_CODE16_EDGE, CLASS_CODE32, CLASS_CODE32_EDGE, CLASS_DATA, CLASS_DATA_EDGE, CLASS_DATA_TOP,
	CLASS_DATA_LOW, CLASS_DATA_FAR, CLASS_DOWN16, CLASS_DOWN32, CLASS_READONLY, CLASS_EXECONLY, CLASS_ABSENT,
	CLASS_WHOLE, CLASS_EMPTY, CLASSES
};

uint64_t dt_ldt[DT_LDT_ENTRIES];

/* What fill_ldt of the kernel makes of a struct user_desc: contents 0 data, 1 expand-down, 2 code, 3 conforming. */
struct description {
	uint32_t base, limit; /* limit: 20 bits */
	uint8_t contents;
	bool readonly, absent, big, pages;
};

static uint64_t descriptor(const struct description *d)
{
	uint64_t type = 1 | (d->readonly ? 0 : 2) | (uint64_t)d->contents << 2;

	return (d->limit & 0xffff) | (uint64_t)(d->base & 0xffffff) << 16 | type << 40 | 1ull << 44 | 3ull << 45 |
	       (uint64_t)!d->absent << 47 | (uint64_t)(d->limit >> 16 & 15) << 48 | (uint64_t)one_in(3) << 52 |
	       (uint64_t)d->big << 54 | (uint64_t)d->pages << 55 | (uint64_t)(d->base >> 24) << 56;
}

/* A limit that lies at @la, or as near as granularity allows; the page behind the edge has what is mapped, too. */
static void end_at(struct description *d, uint64_t la)
{
	uint32_t limit = (uint32_t)la - d->base;

	d->pages = limit > 0xfffff || one_in(6);
	d->limit = d->pages ? limit >> 12 : limit;
}

/* All offsets of 16 bits, of 1 MiB, or all. */
static void end_nowhere(struct description *d)
{
	d->pages = one_in(4);
	d->limit = d->pages || one_in(4) ? 0xfffff : 0xffff;
}

/* A base from which 16-bit offsets reach @la. */
static uint32_t base_below(uint64_t la)
{
	uint32_t reach = la < 0xe000 ? (uint32_t)la : 0xe000;

	switch (below(3)) {
	case 0: return (uint32_t)la;
	case 1: return (uint32_t)la - (below(reach + 1) & ~15u);
	default: return (uint32_t)la - below(reach + 1);
	}
}

static void describe_code(struct description *d, unsigned class)
{
	d->contents = 2;
	d->big = class == CLASS_CODE32 || class == CLASS_CODE32_EDGE;
	d->base = base_below(DT_CODE);
	if (d->big && one_in(2))
		d->base = (uint32_t)rnd();
	end_nowhere(d);
	if (class == CLASS_CODE16_EDGE || class == CLASS_CODE32_EDGE)
		end_at(d, d->base == DT_CODE && one_in(3) ? DT_CODE_TOP + below(DT_PAGE)
							  : DT_CODE + 256 + below(DT_CODE_PAGES * DT_PAGE - 256));
	else if (d->big)
		d->pages = true, d->limit = 0xfffff;
}

static void describe_data(struct description *d, unsigned class)
{
	uint64_t edge = DT_DATA + below(2 * DT_PAGE);

	d->big = one_in(2);
	d->base = base_below(DT_DATA);
	end_nowhere(d);
	switch (class) {
	case CLASS_DATA_EDGE: end_at(d, edge); break;
	case CLASS_DATA_TOP:
		d->base = DT_DATA;
		if (one_in(2))
			end_at(d, DT_TOP + below(DT_PAGE));
		break;
	case CLASS_DATA_LOW:
		d->base = one_in(4) ? 0 : base_below(DT_LOW);
		if (one_in(2))
			end_at(d, DT_LOW + below(DT_LOW_PAGES * DT_PAGE));
		break;
	case CLASS_DATA_FAR:
		d->base = (uint32_t)rnd();
		end_at(d, edge);
		break;
	case CLASS_DOWN16:
	case CLASS_DOWN32:
		d->contents = 1;
		d->big = class == CLASS_DOWN32;
		if (d->big && one_in(2))
			d->base = (uint32_t)rnd();
		end_at(d, edge);
		if (d->limit)
			d->limit--;
		break;
	case CLASS_WHOLE:
		d->base = (uint32_t)rnd();
		d->big = d->pages = true;
		d->limit = 0xfffff;
		break;
	default: break;
	}
}

static uint64_t entry_of(unsigned class)
{
	struct description d = { 0 };

	switch (class) {
	case CLASS_EMPTY: return 0;
	case CLASS_CODE16:
	case CLASS_CODE16_EDGE:
	case CLASS_CODE32:
	case CLASS_CODE32_EDGE: describe_code(&d, class); break;
	case CLASS_EXECONLY:
		describe_code(&d, below(CLASS_CODE32_EDGE + 1));
		d.readonly = true;
		break;
	case CLASS_READONLY:
		describe_data(&d, CLASS_DATA + below(CLASS_DOWN32 + 1 - CLASS_DATA));
		d.readonly = true;
		break;
	case CLASS_ABSENT:
		describe_data(&d, CLASS_DATA);
		d.contents = (uint8_t)below(4);
		d.readonly = one_in(3);
		d.absent = true;
		break;
	default: describe_data(&d, class); break;
	}
	return descriptor(&d);
}

void segments_init(uint64_t seed)
{
	gen_rng = mix(seed ^ 0x6c6474);
	for (unsigned i = 0; i < DT_LDT_ENTRIES; i++)
		dt_ldt[i] = entry_of(i % CLASSES);
}

struct vcpu_segment segment_of(uint16_t sel)
{
	struct vcpu_segment s = { .selector = sel, .attr = ATTR_NULL };
	uint64_t d;

	if (sel & 4)
		d = sel >> 3 < DT_LDT_ENTRIES ? dt_ldt[sel >> 3] : 0;
	else
		d = (sel | 3) == DT_CODE32_SEL ? 0x00cffb000000ffff :
		    (sel | 3) == DT_DATA_SEL   ? 0x00cff3000000ffff :
		    (sel | 3) == DT_CODE64_SEL ? 0x00affb000000ffff : 0;
	if (!(d >> 47 & 1))
		return s;
	s.base = (d >> 16 & 0xffffff) | (d >> 56) << 24;
	s.limit = (uint32_t)((d & 0xffff) | (d >> 48 & 15) << 16);
	if (d >> 55 & 1)
		s.limit = s.limit << 12 | 0xfff;
	s.attr = (uint32_t)((d >> 40 & 0xff) | (d >> 52 & 15) << 12);
	return s;
}

bool segment_flat(const struct vcpu_segment *s)
{
	return !s->base && s->limit == 0xffffffff && !(s->attr & ATTR_NULL) && (s->attr & 0xc) != 4;
}

bool segment_inside(const struct vcpu_segment *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;

	if (s->attr & ATTR_NULL)
		return false;
	if ((s->attr & 0xc) == 4) /* data, expand-down */
		return offset > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

/* --- selectors --- */

static uint16_t of_class(unsigned class)
{
	return (uint16_t)((below(DT_LDT_ENTRIES / CLASSES) * CLASSES + class) << 3 | 7);
}

uint16_t selector(void)
{
	/* null ones, Linux's for users, with other RPLs, for the kernel, beyond the GDT and the LDT */
	static const uint16_t v[] = { 0, 3, 0x23, 0x23, 0x2b, 0x2b, 0x33, 0x33, 0x2b, 0x28, 0x2a, 0x20, 0x30, 0x31, 0x08,
				      0x10, 0x13, 0x18, 0x1b, 0x40, 0x43, 0x50, 0x63, 0x2f, 0x04, 0x80, 0x83, 0xfffb,
				      0xffff, DT_LDT_ENTRIES * 8 | 7 };
	uint16_t s = one_in(2) ? of_class(below(CLASSES)) : v[below(sizeof(v) / sizeof(v[0]))];

	return one_in(16) ? s & ~3u : s; /* RPL 0: below the CPL */
}

uint16_t code_selector(void)
{
	switch (below(8)) {
	case 0: return selector();
	case 1: return DT_CODE32_SEL;
	case 2:
	case 3: return DT_CODE64_SEL;
	case 4: return of_class(CLASS_EXECONLY);
	default: return of_class(below(CLASS_CODE32_EDGE + 1));
	}
}

/* Mostly one that can be loaded. */
uint16_t data_selector(void)
{
	static const uint8_t data[] = { CLASS_DATA, CLASS_DATA_EDGE, CLASS_DATA_TOP, CLASS_DATA_LOW, CLASS_DATA_FAR,
					CLASS_DOWN16, CLASS_DOWN32, CLASS_READONLY, CLASS_WHOLE, CLASS_CODE16 };

	return one_in(4) ? DT_DATA_SEL : of_class(data[below(sizeof(data))]);
}

uint16_t stack_selector(void)
{
	static const uint8_t data[] = { CLASS_DATA, CLASS_DATA_EDGE, CLASS_DATA_TOP, CLASS_DATA_LOW, CLASS_DATA_FAR,
					CLASS_DOWN16, CLASS_DOWN32, CLASS_WHOLE };

	return one_in(5) ? DT_DATA_SEL : of_class(data[below(sizeof(data))]);
}

uint64_t landing(uint16_t sel)
{
	struct vcpu_segment s = segment_of(sel);

	return (uint32_t)(DT_LANDING + below(256) - (s.attr & ATTR_NULL ? 0 : s.base));
}

/* --- the registers of a case --- */

static bool is_stack(const struct vcpu_segment *s)
{
	return !(s->attr & ATTR_NULL) && (s->attr & 0xa) == 2;
}

static bool is_readable(const struct vcpu_segment *s)
{
	return !(s->attr & ATTR_NULL) && (s->attr & 0xa) != 8;
}

static void choose_code(struct dt_case *c)
{
	unsigned class = c->mode == INSN_MODE16 ? CLASS_CODE16 : CLASS_CODE32;

	c->in.sel[SEG_CS] = of_class(class + one_in(3));
	if (one_in(8)) /* execute-only, if it is of the right size */
		for (unsigned i = 0; i < 8; i++) {
			uint16_t sel = of_class(CLASS_EXECONLY);

			if (!(segment_of(sel).attr & ATTR_DB) == (c->mode == INSN_MODE16)) {
				c->in.sel[SEG_CS] = sel;
				return;
			}
		}
}

void choose_segments(struct dt_case *c)
{
	uint16_t *sel = c->in.sel;

	for (unsigned i = 0; i < SEG_COUNT; i++)
		sel[i] = DT_DATA_SEL;
	sel[SEG_CS] = c->mode == INSN_MODE64 ? DT_CODE64_SEL : DT_CODE32_SEL;
	if (c->kind == DT_KIND_16 || c->kind == DT_KIND_LDT) {
		choose_code(c);
		for (unsigned i = 0; i < SEG_COUNT; i++) {
			if (i == SEG_CS)
				continue;
			sel[i] = i == SEG_SS ? stack_selector() : one_in(32) ? 0 : data_selector();
			c->seg[i] = segment_of(sel[i]);
			if (i == SEG_SS && !is_stack(&c->seg[i]))
				sel[i] = DT_DATA_SEL;
			else if (sel[i] > 3 && !is_readable(&c->seg[i]))
				sel[i] = 0;
		}
		c->in.fs_base = segment_of(sel[SEG_FS]).base;
		c->in.gs_base = segment_of(sel[SEG_GS]).base;
	}
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = segment_of(sel[i]);
	c->seg[SEG_FS].base = c->in.fs_base;
	c->seg[SEG_GS].base = c->in.gs_base;
}
