// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of engines, and the choice of one. */
#include "engine/engine.h"

#include "engine/kvm/kvm.h"
#include "engine/soft/host/host.h"
#include "engine/soft/translate/dump.h"
#include "engine/soft/translate/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int soft_create(const struct engine_config *config, struct engine **out, struct error *err);

static const struct engine_ops soft_entry = { .name = "soft", .create = soft_create };
static const struct engine_ops kvm_entry = { .name = "kvm", .create = kvm_create };

const struct engine_ops *const engine_list[] = { &kvm_entry, &soft_entry, NULL };

const char *const engine_counter_names[] = {
	"instructions interpreted",
	"instructions decoded",
	"decoder cache flushes",
#define X(id, name) name,
	TRANSLATE_COUNTERS(X)
#undef X
	NULL,
};

const char *engine_exit_name(enum engine_exit exit)
{
	static const char *const name[] = {
#define X(id, help) #id,
		ENGINE_EXITS(X)
#undef X
	};

	return (unsigned)exit < ENGINE_EXIT_COUNT ? name[exit] : "?";
}

static int check_symbols(const char *path, struct error *err)
{
	struct symbols *s = NULL;
	int r = *path ? symbols_load(path, 0, &s) : 0;

	symbols_free(s);
	if (!r)
		return 0;
	return error_set(err, r, STATUS_INPUT, "cannot read symbols from %s", "%s",
			 "give a file with lines as nm(1) writes them, such as the guest's /proc/kallsyms", path,
			 r == -EINVAL ? "no symbol of code is in it" : strerror(-r));
}

static int soft_create(const struct engine_config *config, struct engine **out, struct error *err)
{
	struct soft_options options;
	int r = soft_options_parse(config->options ? config->options : "", &options, err);

	if (!r)
		r = check_symbols(options.tuning.symbols, err);
	if (r)
		return r;
	return options.process ? soft_process_create(config, &options.tuning, out, err) :
				 soft_threads_create(config, &options.tuning, out, err);
}

/*
 * Hardware assistance where it really is one, the software engine elsewhere. On a host whose CPU lacks features of the
 * model engine kvm does without them: engine soft, which executes vector instructions natively, could not have them either.
 */
static int create_best(const struct engine_config *config, struct engine **out, char *why, size_t why_len, struct error *err)
{
	struct engine_config lenient = *config;
	struct kvm_probe probe;
	struct error strict;

	kvm_probe(&probe, false);
	if (!probe.usable) {
		snprintf(why, why_len, "engine soft: %s", probe.why);
		return soft_create(config, out, err);
	}
	if (kvm_create(config, out, &strict) == 0) {
		snprintf(why, why_len, "engine kvm: %s", probe.why);
		return 0;
	}
	lenient.options = "features=host";
	if (kvm_create(&lenient, out, err) == 0) {
		snprintf(why, why_len, "engine kvm: %s; %s", probe.why, strict.why);
		return 0;
	}
	snprintf(why, why_len, "engine soft: %s", err->why);
	return soft_create(config, out, err);
}

int engine_create(const char *spec, const struct engine_config *config, struct engine **out, char *why, size_t why_len,
		  struct error *err)
{
	size_t n = strcspn(spec, ",");
	struct engine_config own = *config;
	struct error own_err;
	char own_why[ENGINE_WHY_MAX];

	if (!config->vcpus || config->vcpus > VCPUS_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make %u virtual CPUs", "an engine has 1 to %d",
				 "change --cpus", config->vcpus, VCPUS_MAX);
	err = err ? err : &own_err;
	if (!why) {
		why = own_why;
		why_len = sizeof(own_why);
	}
	if (!own.model)
		own.model = cpu_model_find(NULL);
	own.options = spec[n] ? spec + n + 1 : "";
	if (!strncmp(spec, "auto,", 5))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand the engine \"%s\"",
				 "auto has no options", "name the engine that they are for", spec);
	if (!strcmp(spec, "auto"))
		return create_best(&own, out, why, why_len, err);
	for (const struct engine_ops *const *e = engine_list; *e; e++) {
		if (strlen((*e)->name) != n || strncmp((*e)->name, spec, n))
			continue;
		snprintf(why, why_len, "engine %s: as asked", (*e)->name);
		return (*e)->create(&own, out, err);
	}
	return error_set(err, -EINVAL, STATUS_USAGE, "there is no engine \"%.*s\"", "this version has: auto, kvm, soft",
			 "leave --engine out, or use one of them", (int)n, spec);
}
