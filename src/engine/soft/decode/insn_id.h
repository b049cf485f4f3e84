// SPDX-License-Identifier: GPL-2.0-or-later
/* enum insn_id: one for each INSN line of opcodes.def; 0 is no instruction. */
#ifndef SUBRING_ENGINE_SOFT_INSN_ID_H
#define SUBRING_ENGINE_SOFT_INSN_ID_H

enum insn_id {
	INSN_ID_NONE,
#define INSN(id, name) INSN_ID_##id,
#define ROW(...)
#define EROW(...)
#include "engine/soft/decode/opcodes.def"
	INSN_ID_COUNT
};

#endif
