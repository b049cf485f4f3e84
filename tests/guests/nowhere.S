/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jumps to where there is no memory. */
#include "pvh.inc"
guest:
	mov $0xc0000000, %eax
	jmp *%eax
