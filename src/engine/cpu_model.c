// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of CPU models. */
#include "engine/cpu_model.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define BIT(f) (1ull << FEAT_##f)

#define ALL_FEATURES ((1ull << FEAT_COUNT) - 1)

/* What each model of the list has, by its id. */

/* psABI x86-64-v3 and what docs/cpu-model.md adds to it */
#define WHAT_v3 .features = ALL_FEATURES & ~(BIT(PKU) | BIT(MONITOR))
/* everything that the engine knows */
#define WHAT_max .features = ALL_FEATURES, .la57 = true, .pks = true

#define DEFINE(id, text) static const struct cpu_model model_##id = { .name = #id, .help = text, WHAT_##id };
CPU_MODELS(DEFINE, DEFINE)

#define ADDRESS(id, text) &model_##id,
const struct cpu_model *const cpu_models[] = { CPU_MODELS(ADDRESS, ADDRESS) NULL };

const struct cpu_model *cpu_model_find(const char *name)
{
	if (!name)
		return cpu_models[0];
	for (const struct cpu_model *const *m = cpu_models; *m; m++) {
		if (!strcmp((*m)->name, name))
			return *m;
	}
	return NULL;
}

int cpu_model_choose(const char *name, const struct cpu_model **out, struct error *err)
{
	char names[128] = "";

	*out = cpu_model_find(name);
	if (*out)
		return 0;
	for (const struct cpu_model *const *m = cpu_models; *m; m++) {
		strncat(names, *names ? ", " : "", sizeof(names) - strlen(names) - 1);
		strncat(names, (*m)->name, sizeof(names) - strlen(names) - 1);
	}
	return error_set(err, -EINVAL, STATUS_USAGE, "there is no CPU model \"%s\"", "this version has: %s",
			 "leave --cpu out, or use one of them", name, names);
}
