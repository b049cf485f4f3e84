// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 16- and 32-bit code by both tiers, on the machine of system_rig.h: what comes out of them is the same. The translator takes each block the
 * first time that it runs.
 */
#ifndef SUBRING_TESTS_LEGACY_RIG_H
#define SUBRING_TESTS_LEGACY_RIG_H

#include "guest_code.h"
#include "system_rig.h"

enum { LEGACY_DATA = 0x6000 }; /* from SYS_DATA on: compared */

struct legacy_outcome {
	int how; /* as sys_run */
	uint64_t gpr[17], rflags;
	uint32_t frame[6]; /* from SS:ESP on; in long mode the low halves */
	uint16_t selector[6];
	uint64_t base[6];
	uint8_t data[LEGACY_DATA];
};
/* Of the translator, whose machine is left for the test to look at. */
extern struct legacy_outcome legacy_out;

void legacy_same(enum sys_mode mode, void (*prepare)(void), const void *code, size_t len);
/* @prepare, which may be NULL, sets registers, tables and memory; supervisor code is run. */
#define LEGACY(name, mode, prepare) legacy_same(mode, prepare, guest_##name, (size_t)(guest_##name##_end - guest_##name))

/* Puts code somewhere else than where a run begins. */
#define LEGACY_PUT(gpa, name) legacy_put(gpa, guest_##name, (size_t)(guest_##name##_end - guest_##name))
void legacy_put(uint64_t gpa, const void *code, size_t len);
/* With paging: @linear, anywhere in the first 512 GiB, shows @frame; others around it nothing. */
void legacy_map(uint64_t linear, uint64_t frame);
/* Descriptor SEL_SPARE + 8 * @n of the GDT, and those behind it. */
void legacy_desc(unsigned n, uint32_t base, uint32_t limit, unsigned attr);
/* Of that the selector. */
#define LEGACY_SEL(n) (SEL_SPARE + 8 * (n))

enum { LEGACY_CODE = 0x9a, LEGACY_WRITE = 0x92, LEGACY_READ = 0x90 }; /* access bytes of DPL 0 */

#endif
