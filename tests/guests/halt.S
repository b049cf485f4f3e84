/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Halts for good. */
#include "pvh.inc"
guest:
	ret
