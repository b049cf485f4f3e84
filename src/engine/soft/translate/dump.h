// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looking at translated code: for people, and for profilers.
 *
 *   dump.c      a block as text: guest code and host code side by side
 *   symbols.c   names of guest addresses
 *   perf_map.c  a map file for perf(1)
 *
 * All but symbols is called under translator.lock, by anybody. Nothing here is needed to run a guest.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_DUMP_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_DUMP_H

#include "engine/soft/translate/cache.h"

#include <stdio.h>

struct symbols;

/* --- dump.c --- */

/*
 * Writes @b to @f: a line that says what it is, then each guest instruction with the host instructions that were made of it, then
 * the stubs. Guest bytes are those that are in RAM now. Host operands relative to GS are named by the field of struct cpu, and
 * branches by where they lead: an offset in the block, another block, a trampoline. Names come from @symbols (NULL: none).
 */
void translate_dump(FILE *f, const struct translator *tr, const struct tblock *b, const struct symbols *symbols);
/* All blocks that there are, oldest first. */
void translate_dump_all(FILE *f, const struct translator *tr, const struct symbols *symbols);
/* The host instruction at @code, at offset @at of the area, as translate_dump shows it; its length, 1 for what is none. */
unsigned translate_print_host(const struct translator *tr, const uint8_t *code, size_t avail, uint32_t at, char *buf, size_t len);

/* --- symbols.c --- */

/*
 * Text symbols of a guest, from a file as nm(1) writes it (System.map, /proc/kallsyms); @slide is added to its addresses.
 * -errno of reading it; -EINVAL: there is no symbol in it; -ENOMEM.
 */
int symbols_load(const char *path, uint64_t slide, struct symbols **out);
void symbols_free(struct symbols *s); /* NULL is fine */
/* The symbol that linear address @linear belongs to, and how far into it that is; NULL: none, or @s is NULL. */
const char *symbols_find(const struct symbols *s, uint64_t linear, uint64_t *offset);

/* --- perf_map.c --- */

/*
 * /tmp/perf-PID.map, where perf looks for names of code that no file has: lines of start, size, name. Blocks are called
 * "guest:SYMBOL", or by mode and guest-physical address; trampolines "subring:NAME". NULL, with errno: it could not be made,
 * or what is there is not ours.
 */
FILE *perf_map_open(void);
/* The trampolines; then each block when it has been made: code that is thrown away later stays in the map. The caller closes @f. */
void perf_map_trampolines(FILE *f, const struct translator *tr);
void perf_map_block(FILE *f, const struct translator *tr, const struct tblock *b, const struct symbols *symbols);

#endif
