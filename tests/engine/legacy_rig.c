// SPDX-License-Identifier: GPL-2.0-or-later
/* See legacy_rig.h. */
#include "legacy_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

struct legacy_outcome legacy_out;

enum { TABLES = 0x1f0000 };
static unsigned tables; /* how many were made */

void legacy_put(uint64_t gpa, const void *code, size_t len)
{
	if (ram_write(sys.ram, gpa, code, len))
		abort();
}

static uint64_t table_below(uint64_t entry)
{
	uint64_t v = sys_peek(entry, 8);

	if (v & 1)
		return v & ~0xfffull;
	v = TABLES + 0x1000ull * tables++;
	sys_poke(entry, 8, v | 7);
	return v;
}

void legacy_map(uint64_t linear, uint64_t frame)
{
	uint64_t pd = table_below(SYS_PML4 + 0x1000 + (linear >> 30) * 8), pt = table_below(pd + (linear >> 21 & 511) * 8);

	sys_poke(pt + (linear >> 12 & 511) * 8, 8, frame | 7);
}

void legacy_desc(unsigned n, uint32_t base, uint32_t limit, unsigned attr)
{
	sys_poke(SYS_GDT + LEGACY_SEL(n), 8, sys_desc(base, limit, attr));
}

static uint64_t stack_at(void)
{
	const struct cpu *c = sys.c;
	uint64_t sp = c->gpr[RSP];

	if (c->mode == INSN_MODE64)
		return sp;
	return (uint32_t)(c->seg[SEG_SS].base + (c->stack_size == 2 ? (uint16_t)sp : sp));
}

enum tier { INTERPRETED, TRANSLATED, TRANSLATED_EXACT };

static void run(struct legacy_outcome *o, enum tier tier, enum sys_mode mode, void (*prepare)(void), const void *code, size_t len)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;
	struct cpu *c;

	tuning.hot = 0;
	tuning.exact_flags = tier == TRANSLATED_EXACT;
	sys_start(mode, 0);
	c = sys.c;
	tables = 0;
	if (tier != INTERPRETED)
		assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	if (prepare)
		prepare();
	cpu_mode_changed(c);
	memset(o, 0, sizeof(*o));
	o->how = sys_run(code, len);
	for (unsigned i = 0; i < 17; i++)
		o->gpr[i] = c->mode == INSN_MODE64 ? c->gpr[i] : (uint32_t)c->gpr[i]; /* upper halves are undefined then */
	o->rflags = cpu_rflags(c);
	for (unsigned i = 0; i < 6; i++) {
		o->selector[i] = c->seg[i].selector;
		o->base[i] = c->seg[i].base;
		if (stack_at() < 0x100000)
			o->frame[i] = (uint32_t)sys_peek(stack_at() + (c->mode == INSN_MODE64 ? 8 : c->mode == INSN_MODE32 ? 4 : 2) * i, 4);
	}
	assert_int_equal(ram_read(sys.ram, SYS_DATA, o->data, sizeof(o->data)), 0);
}

static void compare(const struct legacy_outcome *want)
{
	assert_true(sys.vm->tr->block_count > 0);
	assert_int_equal(want->how, legacy_out.how);
	for (unsigned i = 0; i < 17; i++)
		assert_int_equal(want->gpr[i], legacy_out.gpr[i]);
	assert_memory_equal(want, &legacy_out, sizeof(*want));
}

/* What a handler may find in flags that were dead (docs/translator.md). */
static void forget_flags(struct legacy_outcome *o)
{
	enum { ARITHMETIC = 0x8d5 };

	o->rflags &= ~(uint64_t)ARITHMETIC;
	for (unsigned i = 0; i < 6; i++)
		o->frame[i] &= ~(uint32_t)ARITHMETIC;
}

void legacy_same(enum sys_mode mode, void (*prepare)(void), const void *code, size_t len)
{
	static struct legacy_outcome want, all;

	run(&want, INTERPRETED, mode, prepare, code, len);
	run(&legacy_out, TRANSLATED_EXACT, mode, prepare, code, len);
	compare(&want);
	run(&legacy_out, TRANSLATED, mode, prepare, code, len);
	all = legacy_out;
	if (want.how >= 0) {
		forget_flags(&want);
		forget_flags(&legacy_out);
	}
	compare(&want);
	legacy_out = all;
}
