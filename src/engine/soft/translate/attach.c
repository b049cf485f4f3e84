// SPDX-License-Identifier: GPL-2.0-or-later
/* Tier 2 for a VM: made, given to its vCPUs, taken away. */
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/translate.h"

#include <errno.h>
#include <stdlib.h>

static int cpu_attach(struct cpu *c, struct translator *tr)
{
	int r = slots_init(c);

	if (!r)
		r = jumps_init(c);
	if (r)
		return r;
	c->t.work = calloc(1, sizeof(*c->t.work));
	if (!c->t.work)
		return -ENOMEM;
	c->t.tr = tr;
	return 0;
}

int soft_vm_translate(struct soft_vm *vm, const struct soft_tuning *tuning)
{
	int r;

	if (tuning->interp_only)
		return 0;
	r = translate_signals_init();
	if (!r)
		r = translator_create(vm, tuning->cache_kib << 10, &vm->tr);
	if (r)
		return r;
	vm->tr->tuning = *tuning;
	emit_trampolines(vm->tr);
	for (unsigned i = 0; i < vm->count && !r; i++) {
		r = cpu_attach(vm->cpu[i], vm->tr);
		cpu_mode_changed(vm->cpu[i]);
	}
	return r; /* soft_vm_destroy takes what there is */
}

#ifdef TRANSLATE_STATS
#include <stdio.h>
uint64_t stats_one[3][2048];
static void stats_show(struct soft_vm *vm)
{
	struct cpu_translate *t = &vm->cpu[0]->t;
	if (!getenv("TRSTATS")) return;
	for (int k = 0; k < 3; k++) for (int n = 0; n < 25; n++) {
		int best = 0;
		for (int i = 0; i < INSN_ID_COUNT; i++) if (stats_one[k][i] > stats_one[k][best]) best = i;
		if (!stats_one[k][best]) break;
		fprintf(stderr, "%s %-12s %lu\n", k == 2 ? "call" : k ? "block" : "one", insn_name((unsigned)best), (unsigned long)stats_one[k][best]);
		stats_one[k][best] = 0;
	}
	for (int i = 0; i < EXIT_COUNT; i++) fprintf(stderr, "exit %d %lu\n", i, (unsigned long)t->exits[i]);
	fprintf(stderr, "entries %lu fills %lu misses %lu stack %lu misses %lu blocks %lu\n", (unsigned long)t->entries, (unsigned long)t->fills, (unsigned long)t->fill_misses, (unsigned long)t->stack_fills, (unsigned long)t->stack_misses, (unsigned long)(vm->tr ? vm->tr->translated_blocks : 0));
}
#endif
void soft_vm_untranslate(struct soft_vm *vm)
{
#ifdef TRANSLATE_STATS
	stats_show(vm);
#endif
	for (unsigned i = 0; i < vm->count; i++) {
		struct cpu *c = vm->cpu[i];

		translate_thread_forget(c);
		free(c->t.work);
		c->t.work = NULL;
		jumps_finish(c);
		slots_finish(c);
	}
	translator_destroy(vm->tr);
	vm->tr = NULL;
}
