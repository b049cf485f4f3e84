// SPDX-License-Identifier: GPL-2.0-or-later
/* Tier 2 for a VM: made, given to its vCPUs, taken away. */
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/dump.h"
#include "engine/soft/translate/translate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	if (tuning->symbols[0])
		r = symbols_load(tuning->symbols, 0, &vm->tr->symbols);
	if (!r && tuning->perf_map) {
		vm->tr->perf_map = perf_map_open();
		if (vm->tr->perf_map)
			perf_map_trampolines(vm->tr->perf_map, vm->tr);
		else
			r = -errno;
	}
	for (unsigned i = 0; i < vm->count && !r; i++) {
		r = cpu_attach(vm->cpu[i], vm->tr);
		cpu_mode_changed(vm->cpu[i]);
	}
	return r; /* soft_vm_destroy takes what there is */
}

#ifdef TRANSLATE_STATS
#include <stdio.h>
uint64_t stats_one[3][2048];
uint64_t stats_jump[65536][4], stats_drop[8];
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
	for (int i = 0; i < 65536; i++) if (stats_jump[i][0] > 20000) fprintf(stderr, "jump %lu %lx was %lx closed %lu\n", stats_jump[i][0], stats_jump[i][1], stats_jump[i][2], stats_jump[i][3]);
	fprintf(stderr, "drops large %lu space %lu mode %lu nonglobal %lu global %lu last %lx bits %lx\n", stats_drop[0], stats_drop[1], stats_drop[2], stats_drop[3], stats_drop[4], stats_drop[5], stats_drop[6]);
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
	symbols_free(vm->tr->symbols);
	if (vm->tr->perf_map)
		fclose(vm->tr->perf_map);
	translator_destroy(vm->tr);
	vm->tr = NULL;
}

void translate_counters(const struct cpu *c, uint64_t *out)
{
	const struct translator *tr = c->t.tr;
	const struct cpu_translate *t = &c->t;
	const uint64_t first[] = {
		tr->translated_blocks, tr->translated_insns, tr->translated_bytes, tr->links, tr->invalidated,
		atomic_load(&tr->flushes), tr->withdrawals, t->entries, t->fills, t->fill_misses, t->stack_fills, t->stack_misses,
	};

	memcpy(out, first, sizeof(first));
	memcpy(out + sizeof(first) / sizeof(first[0]), t->exits, sizeof(t->exits));
}
