// SPDX-License-Identifier: GPL-2.0-or-later
/* Tier 2 for a VM: made, given to its vCPUs, taken away. */
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/dump.h"
#include "engine/soft/translate/translate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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
	memset(c->t.vector_lacks, 1, sizeof(c->t.vector_lacks));
	c->t.tr = tr;
	c->t.sites = tr->sites;
	c->t.exit_points = tr->exits;
	c->t.code_base = (uint64_t)(uintptr_t)tr->rx;
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

void soft_vm_untranslate(struct soft_vm *vm)
{
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
