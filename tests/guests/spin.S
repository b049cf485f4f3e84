/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spins for ever with interrupts off. */
#include "pvh.inc"
guest:
	cli
1:	jmp 1b
