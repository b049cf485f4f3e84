// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's assembler (translate/asm.c): what each function writes decodes to the instruction asked for,
 * with all registers and all shapes of memory operands, for the decoder and for Zydis; moves and branches leave the flags
 * alone; branches go where they are linked to; nothing is written behind the end.
 */
#include "engine/soft/translate/code.h"
#include "engine/vcpu_state.h"
#include "zydis_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { AREA = 256 };
static _Alignas(64) uint8_t area[AREA];

static struct code fresh(void)
{
	memset(area, 0xcc, sizeof(area));
	return (struct code){ .p = area, .end = area + AREA };
}

/* The one instruction in [@from, c->p), which Zydis sees alike. */
static struct insn only_insn(const struct code *c, const uint8_t *from)
{
	struct insn in;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	size_t n = (size_t)(c->p - from);

	assert_false(c->full);
	assert_in_range(n, 1, INSN_BYTES_MAX);
	assert_int_equal(*c->p, 0xcc);
	assert_int_equal(insn_decode(from, n, INSN_MODE64, &in), n);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis[INSN_MODE64], from, n, &z, o)));
	assert_int_equal(z.length, n);
	assert_true(operands_may_differ(&in) || operands_agree(&in, &z, o));
	return in;
}

static bool is_flag_free(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	return !op->fl_write && !op->fl_undef;
}

/* Operand @n is general register @reg, of its full size and not AH to BH. */
static void expect_reg(const struct insn *in, unsigned n, unsigned reg, unsigned size)
{
	const struct operand *o = &opcode_table[in->row].opnd[n];

	assert_int_equal(insn_operand_size(in, n), size);
	switch (o->kind) {
	case OPND_G:
		assert_int_equal(in->reg, reg);
		assert_int_equal(in->reg_off, 8 * reg);
		break;
	case OPND_E:
		assert_false(in->flags & INSN_MEM);
		assert_int_equal(in->rm, reg);
		assert_int_equal(in->rm_off, 8 * reg);
		break;
	default:
		assert_int_equal(o->kind, OPND_IMPLICIT);
		assert_int_equal(reg, RAX);
	}
}

static void expect_mem(const struct insn *in, unsigned n, struct host_mem m, unsigned size)
{
	assert_true(in->flags & INSN_MEM);
	assert_true(opcode_table[in->row].opnd[n].kind == OPND_E || opcode_table[in->row].opnd[n].kind == OPND_M);
	assert_int_equal(insn_operand_size(in, n), size);
	assert_int_equal(in->addrsize, 8);
	assert_int_equal(in->base, m.base == HOST_NONE ? GPR_ZERO : m.base);
	assert_int_equal(in->index, m.index == HOST_NONE ? GPR_ZERO : m.index);
	if (m.index != HOST_NONE)
		assert_int_equal(in->scale, m.scale);
	assert_int_equal(in->disp, m.disp);
	assert_int_equal(in->flags & INSN_SEG, m.gs ? INSN_SEG : 0);
	if (m.gs)
		assert_int_equal(in->seg, SEG_GS);
}

/* Calls @fn with memory operands of all shapes: every base and index, or none, each kind of displacement, GS. */
static void for_all_mems(void (*fn)(struct host_mem m))
{
	static const int32_t disps[] = { 0, 1, 127, 128, -128, -129, INT32_MAX, INT32_MIN };
	unsigned scale = 0;

	for (unsigned base = 0; base <= 16; base++) {
		for (unsigned index = 0; index <= 16; index++) {
			if (index == RSP)
				continue;
			for (size_t d = 0; d < sizeof(disps) / sizeof(disps[0]); d++) {
				struct host_mem m = { .base = base == 16 ? HOST_NONE : (uint8_t)base,
						      .index = index == 16 ? HOST_NONE : (uint8_t)index, .disp = disps[d] };

				if (index != 16)
					m.scale = scale++ & 3;
				fn(m);
				m.gs = true;
				fn(m);
			}
		}
	}
}

static unsigned next_reg(void)
{
	static unsigned n;

	return n++ & 15;
}

/* --- moves --- */

static void loads_stores_and_lea(struct host_mem m)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };

	for (unsigned i = 0; i < 4; i++) {
		unsigned size = sizes[i], r = next_reg();
		struct code c = fresh();
		struct insn in;

		asm_load(&c, size, r, m);
		in = only_insn(&c, area);
		assert_int_equal(in.id, size < 4 ? INSN_ID_MOVZX : INSN_ID_MOV);
		expect_reg(&in, 0, r, size < 4 ? 4 : size); /* 4 clears the upper half */
		expect_mem(&in, 1, m, size);
		assert_true(is_flag_free(&in));

		c = fresh();
		asm_store(&c, size, m, r);
		in = only_insn(&c, area);
		assert_int_equal(in.id, INSN_ID_MOV);
		expect_mem(&in, 0, m, size);
		expect_reg(&in, 1, r, size);
		assert_true(is_flag_free(&in));

		c = fresh();
		asm_store_imm(&c, size, m, -(int)(r * 0x01010101));
		in = only_insn(&c, area);
		assert_int_equal(in.id, INSN_ID_MOV);
		expect_mem(&in, 0, m, size);
		assert_false((in.imm ^ (uint64_t) - (int64_t)(r * 0x01010101)) & (size == 8 ? ~0ull : (1ull << 8 * size) - 1));
		assert_true(is_flag_free(&in));

		if (size < 4)
			continue;
		c = fresh();
		asm_lea(&c, size, r, m);
		in = only_insn(&c, area);
		assert_int_equal(in.id, INSN_ID_LEA);
		expect_reg(&in, 0, r, size);
		m.gs = false; /* which LEA does not look at */
		expect_mem(&in, 1, m, 0);
		assert_true(is_flag_free(&in));
	}
}

static void loads_stores_and_lea_are_what_was_asked_for_any_memory_operand(void **state)
{
	for_all_mems(loads_stores_and_lea);
}

static void register_moves_and_exchanges_are_what_was_asked(void **state)
{
	for (unsigned a = 0; a < 16; a++) {
		for (unsigned b = 0; b < 16; b++) {
			struct insn in;
			struct code c;

			for (unsigned size = 4; size <= 8; size += 4) {
				c = fresh();
				asm_mov(&c, size, a, b);
				in = only_insn(&c, area);
				assert_int_equal(in.id, INSN_ID_MOV);
				expect_reg(&in, 0, a, size);
				expect_reg(&in, 1, b, size);
				assert_true(is_flag_free(&in));
			}
			c = fresh();
			asm_xchg(&c, a, b);
			if (a == b) {
				assert_ptr_equal(c.p, area);
				continue;
			}
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_XCHG);
			assert_int_equal(c.p - area, a == RAX || b == RAX ? 2 : 3);
			if (in.modrm) { /* either order is the same exchange */
				assert_int_equal(1 << in.reg | 1 << in.rm, 1 << a | 1 << b);
				assert_int_equal(in.opsize, 8);
			} else {
				expect_reg(&in, 0, a == RAX ? b : a, 8);
			}
			assert_true(is_flag_free(&in));
		}
	}
}

static void mov_imm_takes_the_shortest_form_that_sets_64_bits(void **state)
{
	static const struct {
		uint64_t v;
		unsigned len; /* of RAX to RDI; R8 to R15 take one more where there is no REX otherwise */
		bool rex;
	} t[] = {
		{ 0, 5, false }, { 1, 5, false }, { 0x7fffffff, 5, false }, { 0x80000000, 5, false }, { 0xffffffff, 5, false },
		{ 0x100000000, 10, true }, { 0xffffffff80000000, 7, true }, { 0xffffffff7fffffff, 10, true }, { ~0ull, 7, true },
		{ 0x123456789abcdef0, 10, true }, { 1ull << 63, 10, true },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (unsigned r = 0; r < 16; r++) {
			struct code c = fresh();
			struct insn in;

			asm_mov_imm(&c, r, t[i].v);
			in = only_insn(&c, area);
			assert_int_equal(c.p - area, t[i].len + (r >= 8 && !t[i].rex));
			assert_int_equal(in.id, INSN_ID_MOV);
			expect_reg(&in, 0, r, in.opsize);
			assert_true(in.opsize == 8 ? in.imm == t[i].v : in.opsize == 4 && (uint32_t)in.imm == t[i].v);
			assert_true(is_flag_free(&in));
		}
	}
}

static void rorx_turns_any_register_into_any(void **state)
{
	for (unsigned i = 0; i < 16 * 16 * 2; i++) {
		unsigned size = i & 1 ? 8 : 4, dst = i >> 1 & 15, src = i >> 5;
		struct code c = fresh();
		struct insn in;

		asm_rorx(&c, size, dst, src, 3);
		in = only_insn(&c, area);
		assert_int_equal(in.id, INSN_ID_RORX);
		assert_int_equal(in.opsize, size);
		assert_int_equal(in.reg, dst);
		assert_int_equal(in.rm, src);
		assert_int_equal(in.imm, 3);
		assert_true(is_flag_free(&in));
	}
}

/* --- arithmetic --- */

static const uint16_t alu_id[8] = { INSN_ID_ADD, INSN_ID_OR, INSN_ID_ADC, INSN_ID_SBB, INSN_ID_AND, INSN_ID_SUB, INSN_ID_XOR,
				    INSN_ID_CMP };
static const int32_t imms[] = { 0, 1, 127, 128, -128, -129, INT32_MAX, INT32_MIN };

static void alu_with_registers_and_immediates_is_what_was_asked(void **state)
{
	for (unsigned n = 0; n < 8 * 16 * 16; n++) {
		enum alu_op op = n & 7;
		unsigned dst = n >> 3 & 15, other = n >> 7;

		for (unsigned size = 4; size <= 8; size += 4) {
			struct code c = fresh();
			struct insn in;

			asm_alu_rr(&c, op, size, dst, other);
			in = only_insn(&c, area);
			assert_int_equal(in.id, alu_id[op]);
			expect_reg(&in, 0, dst, size);
			expect_reg(&in, 1, other, size);

			c = fresh();
			asm_alu_ri(&c, op, size, dst, imms[other & 7]);
			in = only_insn(&c, area);
			assert_int_equal(in.id, alu_id[op]);
			expect_reg(&in, 0, dst, size);
			assert_true(in.imm == (uint64_t)imms[other & 7]);
			if (imms[other & 7] == (int8_t)imms[other & 7])
				assert_true(c.p - area <= 4);
		}
	}
}

static void alu_with_memory(struct host_mem m)
{
	static unsigned n;
	static const unsigned sizes[] = { 1, 4, 8 };
	enum alu_op op = n++ & 7;
	unsigned r = next_reg(), size = 4 + (n >> 1 & 4);
	struct code c = fresh();
	struct insn in;

	asm_alu_rm(&c, op, size, r, m);
	in = only_insn(&c, area);
	assert_int_equal(in.id, alu_id[op]);
	expect_reg(&in, 0, r, size);
	expect_mem(&in, 1, m, size);

	for (unsigned i = 0; i < 3; i++) {
		int32_t imm = imms[(n >> 3) & 7];

		c = fresh();
		asm_alu_mi(&c, op, sizes[i], m, imm);
		in = only_insn(&c, area);
		assert_int_equal(in.id, alu_id[op]);
		expect_mem(&in, 0, m, sizes[i]);
		if (sizes[i] == 1)
			assert_int_equal(in.imm & 0xff, imm & 0xff);
		else
			assert_true(in.imm == (uint64_t)imm);
	}
}

static void alu_with_memory_is_what_was_asked(void **state)
{
	for_all_mems(alu_with_memory);
}

/* --- any opcode --- */

static void any_opcode_has_its_operands_with_byte_registers_under_rex_alone(void **state)
{
	for (unsigned a = 0; a < 16; a++) {
		for (unsigned b = 0; b < 16; b++) {
			struct code c = fresh();
			struct insn in;

			asm_rr(&c, 1, 0x88, a, b); /* MOV r/m8, r8 */
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_MOV);
			expect_reg(&in, 0, b, 1);
			expect_reg(&in, 1, a, 1);

			c = fresh();
			asm_rr(&c, 2, 0x39, a, b);
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_CMP);
			expect_reg(&in, 0, b, 2);
			expect_reg(&in, 1, a, 2);

			c = fresh();
			asm_rr(&c, 8, 0x0faf, a, b);
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_IMUL);
			expect_reg(&in, 0, a, 8);
			expect_reg(&in, 1, b, 8);

			c = fresh();
			asm_rr(&c, 1, 0x0f90, 0, b);
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_SETCC);
			expect_reg(&in, 0, b, 1);

			c = fresh();
			asm_rr(&c, 1, 0xf6, 4 + (a & 3), b); /* MUL to IDIV: an opcode extension needs no REX */
			in = only_insn(&c, area);
			assert_int_equal(in.modrm >> 3 & 7, 4 + (a & 3));
			expect_reg(&in, 0, b, 1);
			assert_int_equal(c.p - area, b < 4 ? 2 : 3);

			c = fresh();
			asm_rm(&c, 1, 0x84, a, host_at(b, 0)); /* TEST m8, r8 */
			in = only_insn(&c, area);
			assert_int_equal(in.id, INSN_ID_TEST);
			expect_mem(&in, 0, host_at(b, 0), 1);
			expect_reg(&in, 1, a, 1);
		}
	}
}

/* --- branches --- */

/* Where the branch that @rel (of @size bytes) belongs to goes; it begins at @from. */
static const uint8_t *target_of(const uint8_t *from, const uint8_t *rel, unsigned size, struct insn *in)
{
	int n = insn_decode(from, 16, INSN_MODE64, in);

	assert_true(n > 0);
	assert_ptr_equal(from + n, rel + size);
	assert_true(is_flag_free(in));
	return from + n + (int64_t)in->imm;
}

static void branches_go_where_they_are_linked_to(void **state)
{
	struct code c = fresh();
	struct insn in;
	uint8_t *rel;

	rel = asm_jmp(&c);
	assert_ptr_equal(target_of(area, rel, 4, &in), c.p); /* not linked yet: the next instruction */
	assert_int_equal(in.id, INSN_ID_JMP);
	asm_link(rel, area + 200);
	assert_ptr_equal(target_of(area, rel, 4, &in), area + 200);
	asm_link(rel, area);
	assert_ptr_equal(target_of(area, rel, 4, &in), area);

	for (unsigned cc = 0; cc < 16; cc++) {
		uint8_t *from;

		c = fresh();
		asm_nop(&c, cc);
		from = c.p;
		rel = asm_jcc(&c, cc);
		asm_link(rel, area + 100);
		assert_ptr_equal(target_of(from, rel, 4, &in), area + 100);
		assert_int_equal(in.id, INSN_ID_JCC);
		assert_int_equal(in.cc, cc);
	}

	c = fresh();
	asm_nop(&c, 100);
	rel = asm_jrcxz(&c);
	asm_link8(rel, area + 120);
	assert_ptr_equal(target_of(area + 100, rel, 1, &in), area + 120);
	assert_int_equal(in.id, INSN_ID_JCXZ);
	assert_int_equal(in.addrsize, 8);
	asm_link8(rel, area);
	assert_ptr_equal(target_of(area + 100, rel, 1, &in), area);
}

static void jumps_through_registers_and_memory(struct host_mem m)
{
	struct code c = fresh();
	struct insn in;

	asm_jmp_mem(&c, m);
	in = only_insn(&c, area);
	assert_int_equal(in.id, INSN_ID_JMP_IND);
	expect_mem(&in, 0, m, 8);
}

static void indirect_jumps_go_through_what_was_asked(void **state)
{
	for_all_mems(jumps_through_registers_and_memory);
	for (unsigned r = 0; r < 16; r++) {
		struct code c = fresh();
		struct insn in;

		asm_jmp_reg(&c, r);
		in = only_insn(&c, area);
		assert_int_equal(in.id, INSN_ID_JMP_IND);
		expect_reg(&in, 0, r, 8);
	}
}

/* [@from, @to) is NOPs; returns how many. */
static unsigned count_nops(const uint8_t *from, const uint8_t *to)
{
	unsigned n = 0;

	while (from < to) {
		struct insn in;
		int len = insn_decode(from, (size_t)(to - from), INSN_MODE64, &in);

		assert_true(len > 0);
		assert_int_equal(in.id, INSN_ID_NOP);
		from += len;
		n++;
	}
	return n;
}

static void aligned_branches_have_their_rel32_at_a_multiple_of_4_where_they_run(void **state)
{
	for (unsigned i = 0; i < 8 * 8 * 17; i++) {
		struct code c = fresh();
		struct insn in;
		uint8_t *rel, *from;
		unsigned cc = i / 64;

		c.p += i & 7;
		c.to_rx = 0x1000 + (i >> 3 & 7);
		from = c.p;
		rel = cc == 16 ? asm_jmp_aligned(&c) : asm_jcc_aligned(&c, cc);
		assert_int_equal(((uintptr_t)rel + (uintptr_t)c.to_rx) & 3, 0);
		assert_ptr_equal(c.p, rel + 4);
		rel -= cc == 16 ? 1 : 2;
		assert_true(rel - from < 4);
		assert_true(count_nops(from, rel) <= 1);
		assert_int_equal(insn_decode(rel, 16, INSN_MODE64, &in), c.p - rel);
		assert_int_equal(in.id, cc == 16 ? INSN_ID_JMP : INSN_ID_JCC);
		assert_true(cc == 16 || in.cc == cc);
	}
}

/* --- filling --- */

static void nops_of_each_length_are_as_few_as_can_be(void **state)
{
	for (unsigned n = 0; n <= 64; n++) {
		struct code c = fresh();

		asm_nop(&c, n);
		assert_int_equal(c.p - area, n);
		assert_int_equal(*c.p, 0xcc);
		assert_int_equal(count_nops(area, c.p), (n + INSN_BYTES_MAX - 1) / INSN_BYTES_MAX);
	}
}

static void align_fills_up_to_the_next_multiple_where_it_runs(void **state)
{
	for (unsigned to = 1; to <= 64; to *= 2) {
		for (unsigned at = 0; at < 64; at++) {
			struct code c = fresh();

			c.p += at;
			c.to_rx = 0x1000;
			asm_align(&c, to);
			assert_int_equal(c.p - area, (at + to - 1) / to * to);
			count_nops(area + at, c.p);
		}
	}
}

static void bytes_are_written_as_given(void **state)
{
	struct code c = fresh();

	asm_byte(&c, 0x1ab);
	asm_u32(&c, 0x12345678);
	asm_bytes(&c, "xyz", 3);
	assert_int_equal(c.p - area, 8);
	assert_memory_equal(area, "\xab\x78\x56\x34\x12xyz\xcc", 9);
}

/* --- the end of the area --- */

static void write_some(struct code *c, unsigned what)
{
	struct host_mem m = host_indexed(R12, R13, 3, 0x12345678);

	m.gs = true;
	switch (what) {
	case 0: asm_byte(c, 0x90); break;
	case 1: asm_u32(c, 0); break;
	case 2: asm_mov(c, 8, RAX, R15); break;
	case 3: asm_mov_imm(c, R9, 1ull << 40); break;
	case 4: asm_load(c, 1, R8, m); break;
	case 5: asm_store(c, 2, m, R8); break;
	case 6: asm_store_imm(c, 8, m, 0x12345678); break;
	case 7: asm_lea(c, 8, R8, m); break;
	case 8: asm_xchg(c, R8, R9); break;
	case 9: asm_alu_ri(c, ALU_CMP, 8, R9, 0x12345678); break;
	case 10: asm_alu_mi(c, ALU_CMP, 8, m, 0x12345678); break;
	case 11: asm_link(asm_jmp(c), area); break;
	case 12: asm_link(asm_jcc(c, 5), area); break;
	case 13: asm_jmp_mem(c, m); break;
	case 14: asm_jmp_reg(c, R8); break;
	default: asm_link8(asm_jrcxz(c), area); break;
	}
}

static void what_does_not_fit_is_not_written_and_makes_the_code_full(void **state)
{
	for (unsigned what = 0; what < 16; what++) {
		uint8_t whole[32];
		struct code c = fresh();
		unsigned n;

		write_some(&c, what);
		n = (unsigned)(c.p - area);
		memcpy(whole, area, n);
		for (unsigned room = 0; room < n; room++) {
			c = fresh();
			c.end = area + room;
			write_some(&c, what);
			assert_true(c.full);
			assert_ptr_equal(c.p, area);
			for (unsigned i = 0; i < AREA; i++)
				assert_int_equal(area[i], 0xcc);
			c.end = area + AREA; /* full stays full */
			write_some(&c, 0);
			assert_ptr_equal(c.p, area);
		}
		c = fresh();
		c.end = area + n;
		write_some(&c, what);
		assert_false(c.full);
		assert_memory_equal(area, whole, n);
		assert_int_equal(area[n], 0xcc);
	}
}

static void branches_that_do_not_fit_return_null(void **state)
{
	struct code c = fresh();

	c.end = area + 1;
	assert_null(asm_jmp(&c));
	assert_null(asm_jcc(&c, 0));
	assert_null(asm_jmp_aligned(&c));
	assert_null(asm_jcc_aligned(&c, 0));
	assert_null(asm_jrcxz(&c));
	asm_link(NULL, area);
	asm_link8(NULL, area);
	asm_nop(&c, 1000000000);
	assert_ptr_equal(c.p, area);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_stores_and_lea_are_what_was_asked_for_any_memory_operand),
		cmocka_unit_test(register_moves_and_exchanges_are_what_was_asked),
		cmocka_unit_test(mov_imm_takes_the_shortest_form_that_sets_64_bits),
		cmocka_unit_test(rorx_turns_any_register_into_any),
		cmocka_unit_test(alu_with_registers_and_immediates_is_what_was_asked),
		cmocka_unit_test(alu_with_memory_is_what_was_asked),
		cmocka_unit_test(any_opcode_has_its_operands_with_byte_registers_under_rex_alone),
		cmocka_unit_test(branches_go_where_they_are_linked_to),
		cmocka_unit_test(indirect_jumps_go_through_what_was_asked),
		cmocka_unit_test(aligned_branches_have_their_rel32_at_a_multiple_of_4_where_they_run),
		cmocka_unit_test(nops_of_each_length_are_as_few_as_can_be),
		cmocka_unit_test(align_fills_up_to_the_next_multiple_where_it_runs),
		cmocka_unit_test(bytes_are_written_as_given),
		cmocka_unit_test(what_does_not_fit_is_not_written_and_makes_the_code_full),
		cmocka_unit_test(branches_that_do_not_fit_return_null),
	};

	zydis_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
