// SPDX-License-Identifier: GPL-2.0-or-later
/* Compression and decompression of text by zstd. */
#include "programs.h"

#include <string.h>
#include <zstd.h>

uint64_t run_zstd(uint64_t n)
{
	static unsigned char packed[PIECE * 2], back[PIECE];
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();
	uint64_t sum = 0;

	must(c && d, "ZSTD_createCCtx");
	while (n--) {
		size_t len = ZSTD_compressCCtx(c, packed, sizeof(packed), piece_of_text(n), PIECE, 3);

		must(!ZSTD_isError(len), "ZSTD_compressCCtx");
		must(ZSTD_decompressDCtx(d, back, sizeof(back), packed, len) == PIECE && !memcmp(back, piece_of_text(n), PIECE), "ZSTD_decompressDCtx");
		for (size_t i = 0; i < len; i += 64)
			sum = sum * 31 + packed[i];
	}
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	return sum;
}
