// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What translated code has of the segments (legacy.h), made anew when they are loaded or the mode changes.
 *
 * Compiled without vector registers (meson.build).
 */
#include "engine/soft/translate/legacy.h"

#include "engine/soft/system/system.h"
#include "engine/soft/translate/cache.h"

/*
 * Where accesses of both kinds may lie, as long as they lie in one piece from 0 on: in expand-down segments, and in those that are only
 * read, the interpreter looks. CS in protected mode is only loaded from.
 */
static uint64_t room_of(const struct cpu *c, unsigned seg)
{
	const struct vcpu_segment *s = &c->seg[seg];
	bool code = s->attr & TYPE_CODE;

	if (s->attr & ATTR_NULL || (!code && s->attr & TYPE_E))
		return 0;
	if (!c->real && (code != (seg == SEG_CS) || !(s->attr & (code ? TYPE_R : TYPE_W))))
		return 0;
	return s->limit == 0xffffffffu ? SEG_ROOM_ALL : (uint64_t)s->limit + 1;
}

static void look_at(struct cpu *c, unsigned seg)
{
	const struct vcpu_segment *s = &c->seg[seg];
	struct cpu_translate *t = &c->t;
	uint32_t flat = MODE_FLAT_ES << seg;
	bool whole = !s->base && s->limit == 0xffffffffu && c->mode == INSN_MODE32 && !c->real;

	t->seg_room[seg] = room_of(c, seg);
	if (seg > SEG_DS)
		return;
	t->seg_mode &= ~flat;
	if (whole && (seg == SEG_CS || t->seg_room[seg]) && (seg != SEG_SS || c->stack_size == 4))
		t->seg_mode |= flat;
}

static void look_at_code(struct cpu *c)
{
	const struct vcpu_segment *cs = &c->seg[SEG_CS];
	struct cpu_translate *t = &c->t;
	uint64_t last = cs->limit;

	t->cs_base = (uint32_t)cs->base;
	t->cs_limit = last;
	t->seg_mode &= ~(uint32_t)MODE_CS_64K;
	if (last >= 0xffff)
		t->seg_mode |= MODE_CS_64K;
	if (c->mode == INSN_MODE16 && last > 0xffff)
		last = 0xffff;
	t->cs_last = last < 0xffffffffu - t->cs_base ? last : 0xffffffffu - t->cs_base;
}

void segments_changed(struct cpu *c)
{
	struct cpu_translate *t = &c->t;

	t->seg_mode = 0;
	if (c->mode == INSN_MODE64) {
		t->cs_base = 0;
		t->rip_mask = ~0ull;
		return;
	}
	t->rip_mask = 0xffffffffu;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		look_at(c, i);
	look_at_code(c);
}

void segment_loaded(struct cpu *c, unsigned seg)
{
	uint32_t before = c->t.seg_mode;

	look_at(c, seg);
	if (!c->t.tr || (before == c->t.seg_mode && seg != SEG_SS))
		return;
	/* Its translations are others. */
	window_select(c);
	jumps_mode_changed(c);
}
