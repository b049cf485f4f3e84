// SPDX-License-Identifier: GPL-2.0-or-later
/* Compression and decompression of text by zlib. */
#include "programs.h"

#include <string.h>
#include <zlib.h>

uint64_t run_zlib(uint64_t n)
{
	static unsigned char packed[PIECE * 2], back[PIECE];
	uint64_t sum = 0;

	while (n--) {
		uLongf packed_len = sizeof(packed), len = sizeof(back);

		must(compress2(packed, &packed_len, (const Bytef *)piece_of_text(n), PIECE, 6) == Z_OK, "compress2");
		must(uncompress(back, &len, packed, packed_len) == Z_OK && !memcmp(back, piece_of_text(n), PIECE), "uncompress");
		sum = sum * 31 + crc32(packed_len, packed, (uInt)packed_len);
	}
	return sum;
}
