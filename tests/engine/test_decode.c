// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The decoder against Zydis: length and legality of all opcodes of the opcode maps with all ModRM bytes, and of
 * random encodings, with their operands, in three modes; and the decoder's own promises (DECODE_MORE, no byte
 * read behind the end, normal forms).
 *
 * Where the two differ by intention the reason stands in a table here. A longer run: --count N
 * (encodings, default 1,000,000), --seed N (default: the time).
 */
#include "engine/soft/decode/insn.h"
#include "engine/vcpu_state.h"
#include "random.h"
#include "zydis_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static unsigned long count = 1000000;
static uint64_t seed;

/* --- the two decoders' agreed differences --- */

/* Extensions that Zydis knows and the CPU model (docs/cpu-model.md) has not: #UD here. */
static const ZydisISAExt outside_model[] = {
	ZYDIS_ISA_EXT_AMD3DNOW, ZYDIS_ISA_EXT_AMD_INVLPGB, ZYDIS_ISA_EXT_AMX_BF16,
	ZYDIS_ISA_EXT_AMX_INT8, ZYDIS_ISA_EXT_AMX_TILE, ZYDIS_ISA_EXT_CET,
	ZYDIS_ISA_EXT_CLZERO, ZYDIS_ISA_EXT_ENQCMD, ZYDIS_ISA_EXT_FMA4,
	ZYDIS_ISA_EXT_HRESET, ZYDIS_ISA_EXT_KEYLOCKER, ZYDIS_ISA_EXT_KEYLOCKER_WIDE,
	ZYDIS_ISA_EXT_KNC, ZYDIS_ISA_EXT_KNCE, ZYDIS_ISA_EXT_KNCV,
	ZYDIS_ISA_EXT_MCOMMIT, ZYDIS_ISA_EXT_MONITORX, ZYDIS_ISA_EXT_MOVDIR,
	ZYDIS_ISA_EXT_PADLOCK, ZYDIS_ISA_EXT_PCONFIG, ZYDIS_ISA_EXT_PKU,
	ZYDIS_ISA_EXT_PT, ZYDIS_ISA_EXT_RDPRU, ZYDIS_ISA_EXT_RTM,
	ZYDIS_ISA_EXT_SERIALIZE, ZYDIS_ISA_EXT_SGX, ZYDIS_ISA_EXT_SGX_ENCLV,
	ZYDIS_ISA_EXT_SMX, ZYDIS_ISA_EXT_SNP, ZYDIS_ISA_EXT_SSE4A,
	ZYDIS_ISA_EXT_SVM, ZYDIS_ISA_EXT_TBM, ZYDIS_ISA_EXT_TDX,
	ZYDIS_ISA_EXT_TSX_LDTRK, ZYDIS_ISA_EXT_UINTR, ZYDIS_ISA_EXT_VMFUNC,
	ZYDIS_ISA_EXT_VTX, ZYDIS_ISA_EXT_WAITPKG, ZYDIS_ISA_EXT_XOP,
};

/* The parts of AVX-512 that no host of today has along with the rest, or that are not built. */
static const ZydisISASet sets_outside[] = {
	ZYDIS_ISA_SET_AVX512ER_512, ZYDIS_ISA_SET_AVX512ER_SCALAR, ZYDIS_ISA_SET_AVX512PF_512, ZYDIS_ISA_SET_AVX512_4FMAPS_512,
	ZYDIS_ISA_SET_AVX512_4FMAPS_SCALAR, ZYDIS_ISA_SET_AVX512_4VNNIW_512, ZYDIS_ISA_SET_AVX512_FP16_128,
	ZYDIS_ISA_SET_AVX512_FP16_128N, ZYDIS_ISA_SET_AVX512_FP16_256, ZYDIS_ISA_SET_AVX512_FP16_512,
	ZYDIS_ISA_SET_AVX512_FP16_SCALAR,
};

/* Single instructions that are #UD here and legal for Zydis, and why. */
static const struct {
	ZydisMnemonic mnemonic;
	bool only_outside_64;
	const char *why;
} ud_here[] = {
	{ ZYDIS_MNEMONIC_SYSCALL, true, "Intel: #UD outside 64-bit mode (SDM vol. 2, SYSCALL)" },
	{ ZYDIS_MNEMONIC_SYSRET, true, "Intel: #UD outside 64-bit mode (SDM vol. 2, SYSRET)" },
	{ ZYDIS_MNEMONIC_FEMMS, false, "3DNow! (Zydis counts it differently in some versions)" },
};

static bool is_outside_model(const ZydisDecodedInstruction *z, enum insn_mode mode)
{
	for (size_t i = 0; i < sizeof(outside_model) / sizeof(outside_model[0]); i++)
		if (z->meta.isa_ext == outside_model[i])
			return true;
	for (size_t i = 0; i < sizeof(sets_outside) / sizeof(sets_outside[0]); i++)
		if (z->meta.isa_set == sets_outside[i])
			return true;
	for (size_t i = 0; i < sizeof(ud_here) / sizeof(ud_here[0]); i++)
		if (z->mnemonic == ud_here[i].mnemonic && !(ud_here[i].only_outside_64 && mode == INSN_MODE64))
			return true;
	return false;
}

/* --- encodings --- */

/* 15 random bytes whose beginning looks like an instruction in @mode. */
static void make_encoding(uint8_t *b, enum insn_mode mode)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65, 0x66, 0xf2, 0xf3 };
	unsigned p = 0;
	uint64_t x = rnd();

	for (unsigned i = 0; i < 32; i += 8) {
		uint64_t v = rnd();

		memcpy(b + i, &v, 8);
	}
	while ((x & 3) == 0 && p < 16) {
		b[p++] = prefixes[(x >> 3) % sizeof(prefixes)];
		x = rnd();
	}
	x = rnd();
	if (mode == INSN_MODE64 && (x & 3) == 0)
		b[p++] = 0x40 | ((x >> 4) & 15);
	x = rnd();
	switch (x % 8) {
	case 5:
	case 6:
		b[p++] = 0x62;
		b[p] = (b[p] & 0xf0) | (1 + (b[p] & 0xf) % 3);
		b[p + 1] |= 4 | (x & 0x100000 ? 0x78 : 0);
		if (x & 0x200000)
			b[p + 2] &= 0x78;
		if (mode != INSN_MODE64)
			b[p] |= 0xc0;
		break;
	case 0:
	case 1: b[p++] = 0x0f; break;
	case 2:
		b[p++] = 0x0f;
		b[p++] = x & 0x100000 ? 0x38 : 0x3a;
		break;
	case 3:
		b[p++] = 0xc4;
		b[p] = (b[p] & 0xe0) | (1 + (b[p] & 0x1f) % 3);
		if (x & 0x100000)
			b[p + 1] |= 0x78;
		if (mode != INSN_MODE64)
			b[p] |= 0xc0;
		break;
	case 4:
		b[p++] = 0xc5;
		if (x & 0x100000)
			b[p] |= 0x78;
		if (mode != INSN_MODE64)
			b[p] |= 0xc0;
		break;
	default: break;
	}
}

static void report(const char *what, const uint8_t *b, enum insn_mode mode, const struct insn *in, int r)
{
	char text[128];

	fprintf(stderr, "%s: mode %d, bytes", what, mode);
	for (int i = 0; i < INSN_BYTES_MAX; i++)
		fprintf(stderr, " %02x", b[i]);
	fprintf(stderr, ": %d %s\n", r, r > 0 ? insn_print(in, 0, text, sizeof(text)) : "");
}

/*
 * VCVTSI2SD and VCVTUSI2SD of 32 bits are exact, and EVEX.b is allowed and means nothing. Zydis rejects it outside 64-bit mode if W is set, which
 * means nothing there either; processors take it.
 */
static bool rounds_w_outside_64(const struct insn *in, const uint8_t *b, enum insn_mode mode)
{
	while (*b != 0x62)
		b++;
	return mode != INSN_MODE64 && (in->id == INSN_ID_VCVTSI2SD || in->id == INSN_ID_VCVTUSI2SD) && (in->flags & INSN_B) &&
	       (b[2] & 0x80);
}

/* Length and legality of what @b (32 bytes) begins with; reports a difference. */
static bool agrees_with_zydis(const uint8_t *b, enum insn_mode mode)
{
	struct insn in;
	ZydisDecodedInstruction z;
	ZyanStatus st = ZydisDecoderDecodeInstruction(&zydis[mode], NULL, b, INSN_BYTES_MAX, &z);
	int r = insn_decode(b, 32, mode, &in);

	if (ZYAN_SUCCESS(st)) {
		if (r == z.length || (r < 0 && is_outside_model(&z, mode)))
			return true;
		report(ZydisMnemonicGetString(z.mnemonic), b, mode, &in, r);
	} else if (r > 0 && rounds_w_outside_64(&in, b, mode)) {
		return true;
	} else if (r > 0) {
		report("Zydis rejects", b, mode, &in, r);
	} else if (r == DECODE_MORE) {
		report("15 bytes are not enough", b, mode, &in, r);
	} else {
		return true;
	}
	return false;
}

static void lengths_and_legality_agree_with_zydis(void **state)
{
	unsigned long bad = 0;

	rnd_start(seed);
	for (unsigned long i = 0; i < count && bad < 20; i++) {
		enum insn_mode mode = rnd() % 3;
		uint8_t b[32];

		make_encoding(b, mode);
		bad += !agrees_with_zydis(b, mode);
	}
	assert_int_equal(bad, 0);
}

/* Fills @b from @n with an opcode, all the ModRM bytes and a tail, and compares; counts differences. */
static unsigned walk_modrm(uint8_t *b, unsigned n, unsigned opcode, enum insn_mode mode)
{
	unsigned bad = 0;

	b[n++] = (uint8_t)opcode;
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		b[n] = (uint8_t)modrm;
		bad += !agrees_with_zydis(b, mode);
	}
	return bad;
}

/*
 * The opcode maps of SDM vol. 2, appendix A, from end to end: one-, two- and three-byte opcodes, each with every
 * ModRM byte, with no prefix, 66, F3, F2, 67 and LOCK, and in 64-bit mode with REX.W, in 16-, 32- and 64-bit code.
 * Prefixes and escapes are opcodes here as any other: what follows them is then the tail.
 */
static void all_opcodes_of_all_maps_agree_with_zydis(void **state)
{
	static const uint8_t prefix[] = { 0, 0x66, 0xf3, 0xf2, 0x67, 0xf0 };
	unsigned bad = 0;

	for (unsigned op = 0; op < 4 * 256 && bad < 20; op++) {
		for (unsigned p = 0; p < 2 * sizeof(prefix); p++) {
			for (int mode = INSN_MODE16; mode <= INSN_MODE64; mode++) {
				unsigned map = op >> 8, n = 0;
				uint8_t b[32];

				if (p >= sizeof(prefix) && mode != INSN_MODE64)
					continue;
				memset(b, (int)(op * 37 + p), sizeof(b));
				if (prefix[p % sizeof(prefix)])
					b[n++] = prefix[p % sizeof(prefix)];
				if (p >= sizeof(prefix))
					b[n++] = 0x48;
				if (map)
					b[n++] = 0x0f;
				if (map > 1)
					b[n++] = map == 2 ? 0x38 : 0x3a;
				bad += walk_modrm(b, n, op & 0xff, mode);
			}
		}
	}
	assert_int_equal(bad, 0);
}

/* The same of the VEX maps, with each pp, L and W, and vvvv all ones or not. */
static void all_opcodes_of_the_vex_maps_agree_with_zydis(void **state)
{
	unsigned bad = 0;

	for (unsigned op = 0; op < 3 * 256 && bad < 20; op++) {
		for (unsigned bits = 0; bits < 32; bits++) { /* pp, L, W, vvvv */
			for (int mode = INSN_MODE16; mode <= INSN_MODE64; mode++) {
				uint8_t b[32];

				memset(b, (int)(op * 37 + bits), sizeof(b));
				b[0] = 0xc4;
				b[1] = (uint8_t)(0xe0 | (1 + (op >> 8)));
				b[2] = (uint8_t)((bits & 7) | (bits & 8 ? 0x80 : 0) | (bits & 16 ? 0x78 : 0x58));
				bad += walk_modrm(b, 3, op & 0xff, mode);
			}
		}
	}
	assert_int_equal(bad, 0);
}

/*
 * The same of the EVEX maps, with each pp, W, L'L, b, z, no mask and one, vvvv all ones or not, and ModRM of all mod and reg, of rm with and
 * without SIB.
 */
static void all_opcodes_of_the_evex_maps_agree_with_zydis(void **state)
{
	unsigned bad = 0;

	for (unsigned op = 0; op < 3 * 256 && bad < 20; op++) {
		for (unsigned bits = 0; bits < 1024; bits++) { /* pp, W, L'L, b, z, aaa, vvvv, V' */
			for (unsigned modrm = 0; modrm < 64; modrm++) {
				uint8_t b[32];

				memset(b, (int)(op * 37 + bits), sizeof(b));
				b[0] = 0x62;
				b[1] = (uint8_t)(0xf1 + (op >> 8));
				b[2] = (uint8_t)((bits & 3) | (bits & 4 ? 0x80 : 0) | (bits & 256 ? 0x58 : 0x78) | 4);
				b[3] = (uint8_t)((bits >> 3 & 3) << 5 | (bits & 32 ? 0x10 : 0) | (bits & 64 ? 0x80 : 0) | (bits & 128 ? 5 : 0) | (bits & 512 ? 0 : 8));
				b[4] = (uint8_t)op;
				b[5] = (uint8_t)((modrm & 0x30) << 2 | (modrm & 7) << 3 | (modrm & 8 ? 4 : 5));
				bad += !agrees_with_zydis(b, INSN_MODE64);
			}
		}
	}
	assert_int_equal(bad, 0);
}

/* --- operands --- */

static void operands_agree_with_zydis(void **state)
{
	unsigned long bad = 0;

	rnd_start(seed + 1);
	for (unsigned long i = 0; i < count / 2 && bad < 20; i++) {
		enum insn_mode mode = rnd() % 3;
		uint8_t b[32];
		struct insn in;
		ZydisDecodedInstruction z;
		ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
		int r;

		make_encoding(b, mode);
		r = insn_decode(b, sizeof(b), mode, &in);
		if (r < 0 || operands_may_differ(&in) ||
		    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis[mode], b, INSN_BYTES_MAX, &z, o)))
			continue;
		if (!operands_agree(&in, &z, o)) {
			report(ZydisMnemonicGetString(z.mnemonic), b, mode, &in, r);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

/* --- the decoder alone --- */

static void every_row_can_be_reached(void **state)
{
	uint8_t *seen = calloc(opcode_count, 1);
	unsigned missing = 0;

	rnd_start(seed + 2);
	/* all ModRM bytes after all opcodes, with 24 kinds of prefixes each */
	for (unsigned round = 0; round < 256 * 24; round++) {
		for (unsigned op = 0; op < 256 * 4; op++) {
			for (int mode = INSN_MODE32; mode <= INSN_MODE64; mode++) {
				static const uint8_t pp[4] = { 0, 0x66, 0xf3, 0xf2 };
				uint8_t b[40];
				struct insn in;
				unsigned p = 0, map = op >> 8;

				memset(b, (int)(rnd() & 0xff), sizeof(b));
				if (round >= 256 * 16) {
					b[p++] = 0x62;
					b[p++] = 0xf0 | (map ? map : 1);
					b[p] = (uint8_t)(rnd() & 0x83) | 4;
					b[p++] |= round & 2 ? 0x78 : 0;
					b[p++] = (uint8_t)(rnd() & 0x60) | 8 | (round & 4 ? 1 : 0);
				} else if (round & 1) {
					b[p++] = 0xc4;
					b[p++] = 0xe0 | (map ? map : 1);
					b[p] = (uint8_t)(rnd() & 0x87);
					b[p++] |= round & 2 ? 0x78 : 0;
				} else {
					if (pp[(round >> 1) & 3])
						b[p++] = pp[(round >> 1) & 3];
					if (mode == INSN_MODE64 && (round & 8))
						b[p++] = 0x48 | (rnd() & 7);
					if (map)
						b[p++] = 0x0f;
					if (map > 1)
						b[p++] = map == 2 ? 0x38 : 0x3a;
				}
				b[p++] = (uint8_t)op;
				b[p] = (uint8_t)(round >= 256 * 16 ? round >> 3 : round >> 4);
				if (insn_decode(b, 15, mode, &in) > 0)
					seen[in.row] = 1;
			}
		}
	}
	for (unsigned r = 0; r < opcode_count; r++) {
		if (!seen[r]) {
			fprintf(stderr, "row %u (%s, opcode %02x) was never decoded\n", r, opcode_table[r].name,
				opcode_table[r].opcode);
			missing++;
		}
	}
	free(seen);
	assert_int_equal(missing, 0);
}

static void a_cut_instruction_asks_for_more_and_reads_nothing_behind_it(void **state)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(page != MAP_FAILED);
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	rnd_start(seed + 3);
	for (unsigned i = 0; i < 200000; i++) {
		enum insn_mode mode = rnd() % 3;
		uint8_t b[32];
		struct insn in, again;
		int r;

		make_encoding(b, mode);
		r = insn_decode(b, sizeof(b), mode, &in);
		if (r < 0) {
			int full = r;

			memcpy(page + 4096 - INSN_BYTES_MAX, b, INSN_BYTES_MAX);
			assert_int_equal(insn_decode(page + 4096 - INSN_BYTES_MAX, INSN_BYTES_MAX, mode, &in), full);
			continue;
		}
		for (int n = 0; n < r; n++) {
			memcpy(page + 4096 - n, b, n);
			assert_int_equal(insn_decode(page + 4096 - n, n, mode, &again), DECODE_MORE);
		}
		memcpy(page + 4096 - r, b, r);
		assert_int_equal(insn_decode(page + 4096 - r, r, mode, &again), r);
		assert_memory_equal(&in, &again, sizeof(in));
	}
	munmap(page, 8192);
}

static void an_instruction_of_16_bytes_is_too_long(void **state)
{
	uint8_t b[20];
	struct insn in;

	memset(b, 0x66, sizeof(b));
	b[14] = 0x90;
	assert_int_equal(insn_decode(b, sizeof(b), INSN_MODE64, &in), 15);
	b[14] = 0x66;
	b[15] = 0x90;
	assert_int_equal(insn_decode(b, sizeof(b), INSN_MODE64, &in), DECODE_LONG);
	assert_int_equal(insn_decode(b, 14, INSN_MODE64, &in), DECODE_MORE);
}

/* Of EVEX.V'vvvv a gather uses V' (in 64-bit code): the rest has to be 1111b, also the bit that names no register outside it. */
static void gathers_use_no_vvvv(void **state)
{
	static const enum insn_mode mode[] = { INSN_MODE64, INSN_MODE32 };
	uint8_t b[] = { 0x62, 0xf2, 0x7d, 0x2a, 0x92, 0x44, 0x14, 0x00, 0x90 };
	struct insn in;

	for (unsigned m = 0; m < 2; m++)
		for (unsigned vvvv = 0; vvvv < 16; vvvv++)
			for (unsigned v = 0; v < 2; v++) {
				b[2] = (uint8_t)(0x05 | vvvv << 3);
				b[3] = (uint8_t)(0x22 | v << 3);
				assert_int_equal(insn_decode(b, sizeof(b), mode[m], &in) > 0, vvvv == 15 && (v || mode[m] == INSN_MODE64));
			}
}

static void decode_ok(enum insn_mode mode, const char *hex, struct insn *in)
{
	uint8_t b[16];
	unsigned n = 0, v;
	int used;

	while (sscanf(hex, "%2x%n", &v, &used) == 1) {
		b[n++] = (uint8_t)v;
		hex += used;
	}
	assert_int_equal(insn_decode(b, n, mode, in), n);
}

static void normal_forms_are_as_insn_h_says(void **state)
{
	struct insn in;

	decode_ok(INSN_MODE64, "04 7f", &in); /* add al, 0x7f */
	assert_int_equal(in.id, INSN_ID_ADD);
	assert_int_equal(in.rm, RAX);
	assert_int_equal(in.opsize, 1);
	assert_int_equal(in.imm, 0x7f);
	decode_ok(INSN_MODE64, "49 bb 88 77 66 55 44 33 22 11", &in); /* mov r11, imm64 */
	assert_int_equal(in.rm_off, 11 * 8);
	assert_true(in.imm == 0x1122334455667788);
	decode_ok(INSN_MODE64, "88 e5", &in); /* mov ch, ah */
	assert_int_equal(in.reg_off, 1);
	assert_int_equal(in.rm_off, 8 + 1);
	decode_ok(INSN_MODE64, "40 88 e5", &in); /* mov bpl, spl */
	assert_int_equal(in.reg_off, 4 * 8);
	assert_int_equal(in.rm_off, 5 * 8);
	decode_ok(INSN_MODE64, "8b 05 fc ff ff ff", &in); /* mov eax, [rip-4] */
	assert_int_equal(in.base, GPR_RIP);
	assert_int_equal(in.index, GPR_ZERO);
	assert_int_equal(in.disp, -4);
	decode_ok(INSN_MODE64, "48 a1 88 77 66 55 44 33 22 11", &in); /* mov rax, moffs64 */
	assert_int_equal(in.flags & (INSN_MEM | INSN_MOFFS), INSN_MEM | INSN_MOFFS);
	assert_true(in.imm == 0x1122334455667788);
	assert_int_equal(in.base, GPR_ZERO);
	decode_ok(INSN_MODE32, "ea 44 33 22 11 66 55", &in); /* jmp far */
	assert_int_equal(in.imm, 0x11223344);
	assert_int_equal(in.disp, 0x5566);
	decode_ok(INSN_MODE64, "c8 34 12 05", &in); /* enter 0x1234, 5 */
	assert_int_equal(in.imm, 0x051234);
	decode_ok(INSN_MODE64, "66 0f 85 00 00 00 00", &in); /* 66 has no effect on near branches */
	assert_int_equal(in.id, INSN_ID_JCC);
	assert_int_equal(in.opsize, 8);
	assert_int_equal(in.cc, 5);
	decode_ok(INSN_MODE64, "d1 e0", &in); /* shl eax, 1 */
	assert_int_equal(in.imm, 1);
	decode_ok(INSN_MODE64, "2e 64 3e 8b 00", &in); /* FS stays though DS follows */
	assert_int_equal(in.seg, SEG_FS);
	decode_ok(INSN_MODE32, "8b 45 00", &in);
	assert_int_equal(in.seg, SEG_SS);
	decode_ok(INSN_MODE16, "8b 42 7f", &in); /* [bp+si+0x7f] */
	assert_int_equal(in.base, RBP);
	assert_int_equal(in.index, RSI);
	assert_int_equal(in.seg, SEG_SS);
	assert_int_equal(in.addrsize, 2);
	decode_ok(INSN_MODE64, "f3 a4", &in);
	assert_int_equal(in.flags & INSN_REP, INSN_REP);
	decode_ok(INSN_MODE64, "48 0f a1", &in); /* pop fs */
	assert_int_equal(in.reg, SEG_FS);
	assert_int_equal(in.opsize, 8);
	decode_ok(INSN_MODE64, "41 90", &in);
	assert_int_equal(in.id, INSN_ID_XCHG);
	decode_ok(INSN_MODE64, "48 66 90", &in); /* a REX that does not stand right before the opcode */
	assert_int_equal(in.id, INSN_ID_NOP);
	assert_int_equal(in.flags & INSN_REX, 0);
}

static void text_is_intel_syntax(void **state)
{
	static const struct {
		enum insn_mode mode;
		const char *hex, *text;
	} t[] = {
		{ INSN_MODE64, "8b 43 08", "mov eax, [rbx+0x8]" },
		{ INSN_MODE64, "f0 48 83 44 8b f0 fe", "lock add qword [rbx+rcx*4-0x10], -0x2" },
		{ INSN_MODE64, "0f 84 00 01 00 00", "je 0x1106" },
		{ INSN_MODE64, "f3 48 ab", "rep stosq" },
		{ INSN_MODE32, "64 a1 14 00 00 00", "mov eax, fs:[0x14]" },
		{ INSN_MODE64, "c4 e2 f5 b8 c2", "vfmadd231pd ymm0, ymm1, ymm2" },
		{ INSN_MODE64, "0f 22 d8", "mov cr3, rax" },
		{ INSN_MODE64, "d3 e0", "shl eax, cl" },
		{ INSN_MODE64, "d8 c1", "fadd st, st(1)" },
		{ INSN_MODE64, "c4 e2 71 92 04 95 00 00 00 00", "vgatherdps xmm0, dword [xmm2*4], xmm1" },
	};
	char buf[100], small[8];
	struct insn in;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		decode_ok(t[i].mode, t[i].hex, &in);
		assert_string_equal(insn_print(&in, 0x1000, buf, sizeof(buf)), t[i].text);
	}
	insn_print(&in, 0, small, sizeof(small));
	assert_true(strlen(small) < sizeof(small));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_and_legality_agree_with_zydis),
		cmocka_unit_test(all_opcodes_of_all_maps_agree_with_zydis),
		cmocka_unit_test(all_opcodes_of_the_vex_maps_agree_with_zydis),
		cmocka_unit_test(all_opcodes_of_the_evex_maps_agree_with_zydis),
		cmocka_unit_test(operands_agree_with_zydis),
		cmocka_unit_test(every_row_can_be_reached),
		cmocka_unit_test(a_cut_instruction_asks_for_more_and_reads_nothing_behind_it),
		cmocka_unit_test(an_instruction_of_16_bytes_is_too_long),
		cmocka_unit_test(gathers_use_no_vvvv),
		cmocka_unit_test(normal_forms_are_as_insn_h_says),
		cmocka_unit_test(text_is_intel_syntax),
	};

	seed = random_options(argc, argv, &count);
	zydis_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
