// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decompression of one stream out of memory or a file, with the libraries that everybody uses: gzip
 * (RFC 1952, zlib), XZ and LZMA (liblzma), Zstandard (RFC 8878, libzstd), and LZ4's legacy frames
 * (lz4_Frame_format.md, "Legacy frame"), as the Linux build makes them.
 *
 * Memory is bounded whatever a header asks for: by the window limits given below, and by the 8 MiB
 * blocks of LZ4. How much comes out is the business of the caller's function.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { INPUT_SIZE = 256 << 10, OUTPUT_SIZE = 256 << 10 };
enum { LZMA_MEMORY_MAX = 256 << 20, ZSTD_WINDOW_LOG_MAX = 27 };
enum { LZ4_BLOCK = 8 << 20, LZ4_MAGIC = 0x184c2102 };

static const struct {
	enum pack pack;
	const char *name;
	bool can;
	uint8_t len, magic[6];
} packs[] = {
	{ PACK_GZIP, "gzip", true, 3, { 0x1f, 0x8b, 8 } },
	{ PACK_XZ, "XZ", true, 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
	{ PACK_ZSTD, "Zstandard", true, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
	{ PACK_LZ4, "LZ4", true, 4, { 0x02, 0x21, 0x4c, 0x18 } },
	{ PACK_LZMA, "LZMA", true, 3, { 0x5d, 0, 0 } },
	{ PACK_BZIP2, "bzip2", false, 3, { 'B', 'Z', 'h' } },
	{ PACK_LZO, "LZO", false, 4, { 0x89, 'L', 'Z', 'O' } },
};
enum { PACKS = sizeof(packs) / sizeof(packs[0]) };

enum pack pack_detect(const uint8_t *bytes, size_t len)
{
	for (unsigned i = 0; i < PACKS; i++)
		if (len >= packs[i].len && memcmp(bytes, packs[i].magic, packs[i].len) == 0)
			return packs[i].pack;
	return PACK_NONE;
}

const char *pack_name(enum pack pack)
{
	for (unsigned i = 0; i < PACKS; i++)
		if (packs[i].pack == pack)
			return packs[i].name;
	return "unpacked";
}

bool pack_can_unpack(enum pack pack)
{
	for (unsigned i = 0; i < PACKS; i++)
		if (packs[i].pack == pack)
			return packs[i].can;
	return false;
}

/* --- input --- */

int pack_input_open(struct pack_input *in, const struct boot_file *file)
{
	*in = (struct pack_input){ .file = file, .buf = malloc(INPUT_SIZE) };
	in->at = in->buf;
	return in->buf ? 0 : -ENOMEM;
}

void pack_input_close(struct pack_input *in)
{
	free(in->buf);
	in->buf = NULL;
}

int pack_input_fill(struct pack_input *in, size_t want)
{
	size_t part;
	int ret;

	if (in->left >= want || !in->file || in->next == in->file->size)
		return 0;
	memmove(in->buf, in->at, in->left);
	in->at = in->buf;
	part = INPUT_SIZE - in->left;
	if (part > in->file->size - in->next)
		part = in->file->size - in->next;
	ret = boot_file_read(in->file, in->next, in->buf + in->left, part);
	if (ret)
		return ret;
	in->left += part;
	in->next += part;
	return 0;
}

static void consume(struct pack_input *in, size_t len)
{
	in->at += len;
	in->left -= len;
}

/*
 * Fills until there is something: -ENODATA at the end of the input. @full: the output buffer was
 * filled by the last round, so that more may come out of what went in already.
 */
static int more(struct pack_input *in, bool full)
{
	int ret = pack_input_fill(in, 1);

	return ret ? ret : in->left || full ? 0 : -ENODATA;
}

/* --- gzip --- */

static int gzip_error(int z)
{
	return z == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int unpack_gzip(struct pack_input *in, uint8_t *buf, unpack_fn *out, void *opaque)
{
	z_stream s = { 0 };
	int z = inflateInit2(&s, MAX_WBITS + 16), ret = 0;
	bool full = false;

	if (z != Z_OK)
		return gzip_error(z);
	while (z != Z_STREAM_END && !ret) {
		ret = more(in, full);
		if (ret)
			break;
		s.next_in = (Bytef *)in->at;
		s.avail_in = in->left < INPUT_SIZE ? (uInt)in->left : INPUT_SIZE;
		s.next_out = buf;
		s.avail_out = OUTPUT_SIZE;
		z = inflate(&s, Z_NO_FLUSH);
		consume(in, (size_t)(s.next_in - in->at));
		full = s.avail_out == 0;
		if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
			ret = gzip_error(z);
		else if (s.next_out != buf)
			ret = out(opaque, buf, (size_t)(s.next_out - buf));
	}
	inflateEnd(&s);
	return ret;
}

/* --- XZ and LZMA --- */

static int lzma_error(lzma_ret z)
{
	switch (z) {
	case LZMA_MEM_ERROR: return -ENOMEM;
	case LZMA_MEMLIMIT_ERROR:
	case LZMA_OPTIONS_ERROR: return -EOPNOTSUPP;
	default: return -EBADMSG;
	}
}

static int unpack_lzma(enum pack pack, struct pack_input *in, uint8_t *buf, unpack_fn *out, void *opaque)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret z = pack == PACK_XZ ? lzma_stream_decoder(&s, LZMA_MEMORY_MAX, 0)
				     : lzma_alone_decoder(&s, LZMA_MEMORY_MAX);
	int ret = z == LZMA_OK ? 0 : lzma_error(z);
	bool full = false;

	while (z == LZMA_OK && !ret) {
		ret = more(in, full);
		if (ret)
			break;
		s.next_in = in->at;
		s.avail_in = in->left;
		s.next_out = buf;
		s.avail_out = OUTPUT_SIZE;
		z = lzma_code(&s, LZMA_RUN);
		consume(in, (size_t)(s.next_in - in->at));
		full = s.avail_out == 0;
		if (z == LZMA_BUF_ERROR)
			z = LZMA_OK;
		if (z != LZMA_OK && z != LZMA_STREAM_END)
			ret = lzma_error(z);
		else if (s.next_out != buf)
			ret = out(opaque, buf, (size_t)(s.next_out - buf));
	}
	lzma_end(&s);
	return ret;
}

/* --- Zstandard --- */

static int unpack_zstd(struct pack_input *in, uint8_t *buf, unpack_fn *out, void *opaque)
{
	ZSTD_DCtx *s = ZSTD_createDCtx();
	size_t z = 1;
	bool full = false;
	int ret = 0;

	if (!s)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(s, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	while (z && !ret) {
		ZSTD_inBuffer from;
		ZSTD_outBuffer to = { buf, OUTPUT_SIZE, 0 };

		ret = more(in, full);
		if (ret)
			break;
		from = (ZSTD_inBuffer){ in->at, in->left, 0 };
		z = ZSTD_decompressStream(s, &to, &from);
		consume(in, from.pos);
		full = to.pos == to.size;
		if (ZSTD_isError(z))
			ret = ZSTD_getErrorCode(z) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
		else if (to.pos)
			ret = out(opaque, buf, to.pos);
	}
	ZSTD_freeDCtx(s);
	return ret;
}

/* --- LZ4, legacy frame: the magic, then blocks of a length and its bytes, each 8 MiB unpacked but the last
 * --- */

static uint32_t peek32(const struct pack_input *in)
{
	return in->at[0] | in->at[1] << 8 | in->at[2] << 16 | (uint32_t)in->at[3] << 24;
}

/* One block of @size bytes into @plain. Its length, or a negative errno. */
static int lz4_block(struct pack_input *in, uint32_t size, char *packed, char *plain)
{
	const char *from = (const char *)in->at;
	int n;

	if (in->left < size) { /* it lies across the buffer's end */
		uint32_t got = 0;

		while (got < size) {
			size_t part;
			int ret = more(in, false);

			if (ret)
				return ret;
			part = in->left < size - got ? in->left : size - got;
			memcpy(packed + got, in->at, part);
			consume(in, part);
			got += (uint32_t)part;
		}
		from = packed;
	} else {
		consume(in, size);
	}
	n = LZ4_decompress_safe(from, plain, (int)size, LZ4_BLOCK);
	return n < 0 ? -EBADMSG : n;
}

/* A frame has no end mark: it ends with the input, or where something else begins. */
static int unpack_lz4(struct pack_input *in, unpack_fn *out, void *opaque)
{
	char *packed = malloc(LZ4_COMPRESSBOUND(LZ4_BLOCK)), *plain = malloc(LZ4_BLOCK);
	int ret = packed && plain ? 0 : -ENOMEM;

	while (!ret) {
		uint32_t size;

		ret = pack_input_fill(in, 4);
		if (ret || !in->left)
			break;
		if (in->left < 4) {
			ret = -ENODATA;
			break;
		}
		size = peek32(in);
		if (size == LZ4_MAGIC) {
			consume(in, 4);
			continue;
		}
		if (size == 0 || size > LZ4_COMPRESSBOUND(LZ4_BLOCK))
			break;
		consume(in, 4);
		ret = lz4_block(in, size, packed, plain);
		if (ret > 0)
			ret = out(opaque, (const uint8_t *)plain, (size_t)ret);
	}
	free(packed);
	free(plain);
	return ret;
}

int unpack(enum pack pack, struct pack_input *in, unpack_fn *out, void *opaque)
{
	uint8_t *buf;
	int ret;

	if (pack == PACK_LZ4)
		return unpack_lz4(in, out, opaque);
	if (!pack_can_unpack(pack))
		return -EOPNOTSUPP;
	buf = malloc(OUTPUT_SIZE);
	if (!buf)
		return -ENOMEM;
	switch (pack) {
	case PACK_GZIP: ret = unpack_gzip(in, buf, out, opaque); break;
	case PACK_ZSTD: ret = unpack_zstd(in, buf, out, opaque); break;
	default: ret = unpack_lzma(pack, in, buf, out, opaque); break;
	}
	free(buf);
	return ret;
}
