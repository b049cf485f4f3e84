// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's workloads on files and sockets. */
#ifndef SUBRING_BENCH_KERNEL_IO_H
#define SUBRING_BENCH_KERNEL_IO_H

#include <stdint.h>

uint64_t files(uint64_t n);
uint64_t tcp(uint64_t n);

#endif
