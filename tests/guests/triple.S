/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A breakpoint with an empty IDT: a triple fault. */
#include "pvh.inc"
guest:
	lidt empty
	int3
	ret
empty:	.word 0
	.long 0
