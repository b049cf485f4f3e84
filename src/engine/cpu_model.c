// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of CPU models. */
#include "engine/cpu_model.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define BIT(f) (1ull << FEAT_##f)

/* psABI x86-64-v3 and what docs/cpu-model.md adds to it */
static const struct cpu_model v3 = {
	.name = "v3",
	.help = "the x86-64-v3 level with AES, SHA and the like: the same on every host",
	.features = ((1ull << FEAT_COUNT) - 1) & ~(BIT(PKU) | BIT(MONITOR)),
};

const struct cpu_model *const cpu_models[] = { &v3, NULL };

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

const char *cpu_model_names(void)
{
	static _Thread_local char text[128];
	size_t n = 0;

	for (const struct cpu_model *const *m = cpu_models; *m && n < sizeof(text); m++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? ", " : "", (*m)->name);
	return text;
}
