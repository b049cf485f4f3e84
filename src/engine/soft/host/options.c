// SPDX-License-Identifier: GPL-2.0-or-later
/* The options of engine soft: "host=process,tier=interp". One table makes the parser and what it says of itself. */
#include "engine/soft/host/host.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct option {
	const char *name;
	const char *word;  /* NULL: a number */
	bool flag;	   /* what the word sets */
	size_t offset;	   /* in struct soft_options: a bool or a uint32_t */
	uint32_t min, max;
	size_t text;	   /* or a string of fewer than so many bytes */
};

#define WORD(name, word, member, value) { name, word, value, offsetof(struct soft_options, member), 0, 0, 0 }
#define NUMBER(name, member, min, max) { name, NULL, false, offsetof(struct soft_options, member), min, max, 0 }
#define TEXT(name, member) { name, NULL, false, offsetof(struct soft_options, member), 0, 0, sizeof(((struct soft_options *)0)->member) }

static const struct option options[] = {
	WORD("host", "threads", process, false),
	WORD("host", "process", process, true),
	WORD("tier", "all", tuning.interp_only, false),
	WORD("tier", "interp", tuning.interp_only, true),
	WORD("flags", "lazy", tuning.exact_flags, false),
	WORD("flags", "exact", tuning.exact_flags, true),
	NUMBER("hot", tuning.hot, 0, 1000000),
	NUMBER("insns", tuning.insns_max, 1, 64),
	NUMBER("cache", tuning.cache_kib, 256, 1 << 20),
	NUMBER("flush", tuning.flush_every, 0, 1000000000),
	NUMBER("interp", tuning.interp_every, 0, 1000000000),
	NUMBER("mixed", tuning.mixed, 0, 4000),
	WORD("perf-map", "off", tuning.perf_map, false),
	WORD("perf-map", "on", tuning.perf_map, true),
	TEXT("symbols", tuning.symbols),
	NUMBER("stir", tuning.interrupt_every, 0, 1000000000),
};
#define OPTIONS_TEXT                                                                               \
	"there are host=threads|process, tier=all|interp, flags=lazy|exact, hot=N, insns=1..64, cache=KIB (256 or more), flush=N, " \
	"interp=N, mixed=0..4000, stir=N, perf-map=off|on, symbols=FILE"

/* Whether @text ([@n]) is this option, and sets it. */
static bool take(const struct option *o, const char *text, size_t n, struct soft_options *out)
{
	size_t len = strlen(o->name);
	unsigned long v;
	char *end;

	if (n <= len + 1 || strncmp(text, o->name, len) || text[len] != '=')
		return false;
	text += len + 1;
	n -= len + 1;
	if (o->word) {
		if (strlen(o->word) != n || strncmp(text, o->word, n))
			return false;
		*(bool *)((char *)out + o->offset) = o->flag;
		return true;
	}
	if (o->text) {
		if (n >= o->text)
			return false;
		memcpy((char *)out + o->offset, text, n);
		return true;
	}
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end != text + n || v < o->min || v > o->max)
		return false;
	*(uint32_t *)((char *)out + o->offset) = (uint32_t)v;
	return true;
}

int soft_options_parse(const char *text, struct soft_options *out, struct error *err)
{
	*out = (struct soft_options){ .tuning = SOFT_TUNING_DEFAULT };
	while (*text) {
		size_t n = strcspn(text, ","), i;

		for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (take(&options[i], text, n, out))
				break;
		if (i == sizeof(options) / sizeof(options[0]))
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand the options of engine soft",
					 "\"%.*s\" is none of them", OPTIONS_TEXT, (int)n, text);
		text += n;
		text += *text == ',';
	}
	return 0;
}
