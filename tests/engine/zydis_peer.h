// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Zydis as a second opinion: its decoders set up for the CPU model, and its operands compared with the decoder's.
 */
#ifndef SUBRING_TESTS_ZYDIS_PEER_H
#define SUBRING_TESTS_ZYDIS_PEER_H

#include "engine/soft/decode/insn.h"

#include <Zydis/Zydis.h>

extern ZydisDecoder zydis[3]; /* by enum insn_mode, after zydis_setup */
void zydis_setup(void);

/* Instructions whose operands the two see differently, by intention. */
bool operands_may_differ(const struct insn *in);

/* Compares the visible operands; false at the first difference. */
bool operands_agree(const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zo);

#endif
