// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whole programs, each with a file of its own that is compiled only if its library is there: so the functions are
 * weak, and NULL says that a program is left out.
 */
#ifndef SUBRING_BENCH_PROGRAMS_H
#define SUBRING_BENCH_PROGRAMS_H

#include "workloads.h"

#pragma weak run_zlib
uint64_t run_zlib(uint64_t n);
#pragma weak run_zstd
uint64_t run_zstd(uint64_t n);
#pragma weak run_sqlite
uint64_t run_sqlite(uint64_t n);
#pragma weak run_lua
uint64_t run_lua(uint64_t n);
#pragma weak run_tcc
uint64_t run_tcc(uint64_t n);
#pragma weak make_source
void make_source(void);
uint64_t run_shell(uint64_t n);

/* Text of one megabyte, and a piece of it for round @n. */
enum { PIECE = 32 << 10 };
void make_text(void);
const char *piece_of_text(uint64_t n);

#endif
