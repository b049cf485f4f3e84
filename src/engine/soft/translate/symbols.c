// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of guest addresses, from a file in the format of nm(1): address, type, name. Lines that are something else
 * are passed over. A symbol goes as far as the next one, the last one SYMBOL_MAX bytes.
 */
#include "engine/soft/translate/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 512, SYMBOL_MAX = 64 << 10 };

struct symbol {
	uint64_t at;
	char *name;
};

struct symbols {
	struct symbol *symbol; /* by address */
	size_t count, room;
};

static int add(struct symbols *s, uint64_t at, const char *name)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		struct symbol *more = realloc(s->symbol, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->symbol = more;
		s->room = room;
	}
	s->symbol[s->count].at = at;
	s->symbol[s->count].name = strdup(name);
	if (!s->symbol[s->count].name)
		return -ENOMEM;
	s->count++;
	return 0;
}

/* Of equal addresses the first name in alphabetical order is taken, whatever the file's order. */
static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int read_line(struct symbols *s, const char *line, uint64_t slide)
{
	char name[NAME_MAX_LEN + 1], type;
	uint64_t at;

	if (sscanf(line, "%" SCNx64 " %c %512s", &at, &type, name) != 3)
		return 0;
	if (!strchr("tTwWi", type)) /* code */
		return 0;
	return add(s, at + slide, name);
}

int symbols_load(const char *path, uint64_t slide, struct symbols **out)
{
	struct symbols *s;
	FILE *f = fopen(path, "re");
	char line[NAME_MAX_LEN + 64];
	int r = 0;

	if (!f)
		return -errno;
	s = calloc(1, sizeof(*s));
	if (!s)
		r = -ENOMEM;
	errno = EIO;
	while (!r && fgets(line, sizeof(line), f))
		r = read_line(s, line, slide);
	if (!r && ferror(f))
		r = -errno;
	fclose(f);
	if (!r && !s->count)
		r = -EINVAL;
	if (r) {
		symbols_free(s);
		return r;
	}
	qsort(s->symbol, s->count, sizeof(s->symbol[0]), by_address);
	*out = s;
	return 0;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->symbol[i].name);
	free(s->symbol);
	free(s);
}

const char *symbols_find(const struct symbols *s, uint64_t linear, uint64_t *offset)
{
	size_t low = 0, high = s ? s->count : 0;

	while (low < high) { /* the first one behind @linear */
		size_t mid = low + (high - low) / 2;

		if (s->symbol[mid].at <= linear)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || (low == s->count && linear - s->symbol[low - 1].at >= SYMBOL_MAX))
		return NULL;
	while (low > 1 && s->symbol[low - 2].at == s->symbol[low - 1].at)
		low--;
	*offset = linear - s->symbol[low - 1].at;
	return s->symbol[low - 1].name;
}
