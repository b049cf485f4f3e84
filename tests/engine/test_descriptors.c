// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may be done with a descriptor: all 256 access bytes (type, S, DPL, P), at CPL 0 and 3, with selectors of
 * all RPLs, in protected and compatibility mode, against rules written down from the SDM under each
 * instruction. The differential tester does the same on the host's CPU for the descriptors that an operating system
 * lets user code have; here are the others: DPL 0 to 2, conforming code, system segments, gates.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

struct outcome {
	int vector; /* EXC_UD: the UD2 behind the instruction */
	unsigned error;
	bool zf;
	uint64_t rax;
	uint16_t ds, ss, cs;
};

struct question {
	unsigned access; /* descriptor bits 40-47 */
	unsigned cpl, rpl;
	bool lm;
	uint32_t limit; /* in pages */
};

static unsigned type_of(const struct question *q) { return q->access & 15; }
static bool is_segment(const struct question *q) { return q->access & 0x10; }
static unsigned dpl_of(const struct question *q) { return q->access >> 5 & 3; }
static bool is_present(const struct question *q) { return q->access & 0x80; }
static bool is_code(const struct question *q) { return is_segment(q) && (type_of(q) & 8); }
static bool is_conforming(const struct question *q) { return is_code(q) && (type_of(q) & 4); }
static bool is_readable(const struct question *q) { return is_segment(q) && (!(type_of(q) & 8) || (type_of(q) & 2)); }
static bool is_writable(const struct question *q) { return is_segment(q) && (type_of(q) & 10) == 2; }

/* DPL is not less than CPL and RPL. */
static bool privileged_enough(const struct question *q)
{
	return dpl_of(q) >= q->cpl && dpl_of(q) >= q->rpl;
}

/* --- running --- */

static struct {
	uint64_t gpr[GPR_FILE];
	struct vcpu_segment seg[SEG_COUNT];
	uint32_t sysflags, flags;
} start;

enum { LANDING = SYS_CODE + 0x100 };

static void begin(bool lm, unsigned cpl)
{
	sys_start(lm ? SYS_COMPAT : SYS_PROT32, cpl);
	memcpy(start.gpr, sys.c->gpr, sizeof(start.gpr));
	memcpy(start.seg, sys.c->seg, sizeof(start.seg));
	start.sysflags = sys.c->sysflags;
	start.flags = sys.c->flags;
	sys_poke(LANDING, 2, 0x0b0f);
}

static struct outcome ask(const struct question *q, const void *code, size_t len)
{
	struct cpu *c = sys.c;
	struct outcome o = { 0 };
	unsigned size = q->lm ? 8 : 4;
	bool has_error;

	memcpy(c->gpr, start.gpr, sizeof(start.gpr));
	memcpy(c->seg, start.seg, sizeof(start.seg));
	c->sysflags = start.sysflags;
	c->flags = start.flags;
	c->cpl = (uint8_t)q->cpl;
	cpu_mode_changed(c);
	sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, q->limit, q->access | ATTR_G | ATTR_DB));
	sys_poke(SYS_GDT + SEL_SPARE + 8, 8, 0);
	c->gpr[RCX] = SEL_SPARE | q->rpl;
	c->gpr[RAX] = 0x12345678;
	o.vector = sys_run(code, len);
	has_error = o.vector >= EXC_TS && o.vector <= EXC_PF;
	if (has_error)
		o.error = (unsigned)sys_frame(0, size);
	o.cs = (uint16_t)sys_frame(has_error + 1, size);
	o.zf = sys_frame(has_error + 2, size) & FL_ZF;
	o.rax = c->gpr[RAX];
	o.ds = c->seg[SEG_DS].selector;
	o.ss = c->seg[SEG_SS].selector;
	return o;
}

/* Calls @check for all descriptors, levels and modes. */
static void for_all(void (*check)(const struct question *q))
{
	for (unsigned mode = 0; mode < 2; mode++) {
		for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
			begin(mode, cpl);
			for (unsigned access = 0; access < 256; access++) {
				for (unsigned rpl = 0; rpl < 4; rpl++) {
					struct question q = { access, cpl, rpl, mode, 0xfffff };

					check(&q);
				}
			}
		}
	}
}

static void expect(const struct question *q, const struct outcome *o, int vector)
{
	unsigned error = vector == EXC_UD ? 0 : SEL_SPARE;

	if (o->vector != vector || o->error != error)
		fail_msg("access byte %02x, CPL %u, RPL %u, %s: vector %d error %x, expected %d error %x", q->access, q->cpl,
			 q->rpl, q->lm ? "IA-32e" : "protected mode", o->vector, o->error, vector, error);
}

/* --- loads (SDM vol. 2, MOV; vol. 3, 5.6 and 5.7) --- */

static void check_ds(const struct question *q)
{
	struct outcome o = ask(q, (const uint8_t[]){ 0x8e, 0xd9, 0x0f, 0x0b }, 4);
	int vector = !is_readable(q) ? EXC_GP : !is_conforming(q) && !privileged_enough(q) ? EXC_GP : !is_present(q) ? EXC_NP : EXC_UD;

	expect(q, &o, vector);
	assert_int_equal(sys_peek(SYS_GDT + SEL_SPARE + 5, 1), vector == EXC_UD ? q->access | 1 : q->access);
}

static void ds_takes_readable_segments_of_sufficient_privilege(void **state)
{
	for_all(check_ds);
}

static void check_ss(const struct question *q)
{
	struct question down = *q;
	struct outcome o;
	int vector = q->rpl != q->cpl || !is_writable(q) || dpl_of(q) != q->cpl ? EXC_GP : !is_present(q) ? EXC_SS : EXC_UD;

	if (type_of(q) & 4) /* expand-down: the stack is above the first page */
		down.limit = 0;
	o = ask(&down, (const uint8_t[]){ 0x8e, 0xd1, 0x0f, 0x0b }, 4);
	expect(q, &o, vector);
}

static void ss_takes_writable_data_of_exactly_the_cpl(void **state)
{
	for_all(check_ss);
}

/* --- looking (SDM vol. 2, LAR, LSL, VERR/VERW) --- */

/* The types that LAR shows (its table "Segment and Gate Types"). */
static bool lar_knows(unsigned type, bool lm)
{
	/* 286 and 386 TSS available and busy, LDT, call gates, task gates */
	static const uint16_t legacy = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
	static const uint16_t ia32e = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;

	return (lm ? ia32e : legacy) >> type & 1;
}

static void check_lar(const struct question *q)
{
	struct outcome o = ask(q, (const uint8_t[]){ 0x0f, 0x02, 0xc1, 0x0f, 0x0b }, 5);
	bool valid = (is_segment(q) || lar_knows(type_of(q), q->lm)) && (is_conforming(q) || privileged_enough(q));

	expect(q, &o, EXC_UD);
	if (o.zf != valid || (valid ? (o.rax & 0xf0ff00) != (0xc00000 | q->access << 8) : o.rax != 0x12345678))
		fail_msg("LAR, access byte %02x, CPL %u, RPL %u, %s: ZF %d, eax %llx", q->access, q->cpl, q->rpl,
			 q->lm ? "IA-32e" : "protected mode", o.zf, (unsigned long long)o.rax);
}

static void lar_shows_what_the_level_may_know(void **state)
{
	for_all(check_lar);
}

/* LSL: segments, TSSs and LDTs, no gates. */
static void check_lsl(const struct question *q)
{
	struct outcome o = ask(q, (const uint8_t[]){ 0x0f, 0x03, 0xc1, 0x0f, 0x0b }, 5);
	bool gate = type_of(q) == SYS_CALL16 || type_of(q) == SYS_TASK_GATE || type_of(q) == SYS_CALL;
	bool valid = (is_segment(q) || (!gate && lar_knows(type_of(q), q->lm))) &&
		     (is_conforming(q) || privileged_enough(q));

	expect(q, &o, EXC_UD);
	if (o.zf != valid || o.rax != (valid ? 0xffffffff : 0x12345678))
		fail_msg("LSL, access byte %02x, CPL %u, RPL %u, %s: ZF %d, eax %llx", q->access, q->cpl, q->rpl,
			 q->lm ? "IA-32e" : "protected mode", o.zf, (unsigned long long)o.rax);
}

static void lsl_gives_limits_of_segments(void **state)
{
	for_all(check_lsl);
}

static void check_verr_verw(const struct question *q)
{
	struct outcome r = ask(q, (const uint8_t[]){ 0x0f, 0x00, 0xe1, 0x0f, 0x0b }, 5);
	struct outcome w = ask(q, (const uint8_t[]){ 0x0f, 0x00, 0xe9, 0x0f, 0x0b }, 5);

	expect(q, &r, EXC_UD);
	expect(q, &w, EXC_UD);
	assert_int_equal(r.zf, is_readable(q) && (is_conforming(q) || privileged_enough(q)));
	assert_int_equal(w.zf, is_writable(q) && privileged_enough(q));
}

static void verr_and_verw_tell_what_could_be_loaded(void **state)
{
	for_all(check_verr_verw);
}

/* --- direct far transfers (SDM vol. 2, JMP and CALL; vol. 3, 5.8.1) --- */

static int transfer(const struct question *q)
{
	if (!is_code(q))
		return EXC_GP;
	if (is_conforming(q) ? dpl_of(q) > q->cpl : q->rpl > q->cpl || dpl_of(q) != q->cpl)
		return EXC_GP;
	return is_present(q) ? EXC_UD : EXC_NP;
}

static void check_far(const struct question *q)
{
	uint8_t jmp[] = { 0xea, 0, 0, 0, 0, 0, 0 };
	uint32_t to = LANDING;
	uint16_t sel = (uint16_t)(SEL_SPARE | q->rpl);
	struct outcome o;

	if (!is_segment(q) && lar_knows(type_of(q), q->lm) && type_of(q) != SYS_LDT)
		return; /* gates and TSSs have tests of their own */
	memcpy(jmp + 1, &to, 4);
	memcpy(jmp + 5, &sel, 2);
	for (unsigned call = 0; call < 2; call++) {
		jmp[0] = call ? 0x9a : 0xea;
		o = ask(q, jmp, sizeof(jmp));
		expect(q, &o, transfer(q));
		if (o.vector == EXC_UD) /* RPL of CS is the CPL, which stays */
			assert_int_equal(o.cs, SEL_SPARE | q->cpl);
	}
}

static void far_transfers_take_code_of_the_same_level_or_conforming(void **state)
{
	for_all(check_far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ds_takes_readable_segments_of_sufficient_privilege),
		TEST(ss_takes_writable_data_of_exactly_the_cpl),
		TEST(lar_shows_what_the_level_may_know),
		TEST(lsl_gives_limits_of_segments),
		TEST(verr_and_verw_tell_what_could_be_loaded),
		TEST(far_transfers_take_code_of_the_same_level_or_conforming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
