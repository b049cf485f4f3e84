// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: the instruction decoder and printer. The first byte chooses the mode. Beyond not
 * crashing: a decoded length lies within the input, a cut instruction asks for more bytes, and
 * more bytes never change the result.
 */
#include "engine/soft/decode/insn.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct insn in, again;
	uint8_t longer[32];
	char text[64];
	enum insn_mode mode;
	int r;

	if (size < 1)
		return 0;
	mode = data[0] % 3;
	data++;
	size--;
	r = insn_decode(data, size, mode, &in);
	if (r == DECODE_MORE) {
		if (size >= INSN_BYTES_MAX)
			abort();
		return 0;
	}
	if (r < 0)
		return 0;
	if (r == 0 || (size_t)r > size || r > INSN_BYTES_MAX || in.len != r || in.row >= opcode_count)
		abort();
	memset(longer, 0xcc, sizeof(longer));
	memcpy(longer, data, (size_t)r);
	if (insn_decode(longer, sizeof(longer), mode, &again) != r || memcmp(&in, &again, sizeof(in)))
		abort();
	for (int n = 0; n < r; n++)
		if (insn_decode(data, (size_t)n, mode, &again) != DECODE_MORE)
			abort();
	insn_print(&in, 0, text, sizeof(text));
	for (unsigned i = 0; i < 4; i++)
		insn_operand_size(&in, i);
	return 0;
}
