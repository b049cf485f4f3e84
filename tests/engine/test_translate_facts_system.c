// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_translate_facts.c for what user code may not execute: system instructions in 64-bit mode at CPL 0, run by
 * the interpreter. Registers and dead flags that the analysis says are not read get other values, and may not
 * change anything; registers that are not written stay.
 */
#include "random.h"
#include "system_rig.h"

#include "engine/soft/translate/analyse.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { ROUNDS = 12 };

/* Memory operands are [rbx]. */
static const struct code {
	uint8_t len, b[7];
} codes[] = {
	{ 3, { 0x0f, 0x01, 0xf8 } },	   /* swapgs */
	{ 3, { 0x0f, 0x00, 0x03 } },	   /* sldt [rbx] */
	{ 3, { 0x0f, 0x00, 0xc6 } },	   /* sldt esi */
	{ 4, { 0x66, 0x0f, 0x00, 0xc6 } }, /* sldt si */
	{ 3, { 0x0f, 0x00, 0x0b } },	   /* str [rbx] */
	{ 4, { 0x48, 0x0f, 0x00, 0xce } }, /* str rsi */
	{ 3, { 0x0f, 0x00, 0xd0 } },	   /* lldt ax */
	{ 3, { 0x0f, 0x00, 0xd8 } },	   /* ltr ax */
	{ 3, { 0x0f, 0x01, 0x03 } },	   /* sgdt [rbx] */
	{ 3, { 0x0f, 0x01, 0x0b } },	   /* sidt [rbx] */
	{ 3, { 0x0f, 0x01, 0x13 } },	   /* lgdt [rbx] */
	{ 3, { 0x0f, 0x01, 0x1b } },	   /* lidt [rbx] */
	{ 3, { 0x0f, 0x20, 0xc6 } },	   /* mov rsi, cr0 */
	{ 3, { 0x0f, 0x20, 0xde } },	   /* mov rsi, cr3 */
	{ 4, { 0x44, 0x0f, 0x20, 0xc6 } }, /* mov rsi, cr8 */
	{ 3, { 0x0f, 0x22, 0xd6 } },	   /* mov cr2, rsi */
	{ 3, { 0x0f, 0x22, 0xde } },	   /* mov cr3, rsi */
	{ 4, { 0x41, 0x0f, 0x22, 0xe1 } }, /* mov cr4, r9 */
	{ 3, { 0x0f, 0x21, 0xfe } },	   /* mov rsi, dr7 */
	{ 3, { 0x0f, 0x23, 0xc6 } },	   /* mov dr0, rsi */
	{ 3, { 0x0f, 0x01, 0x23 } },	   /* smsw [rbx] */
	{ 3, { 0x0f, 0x01, 0xe6 } },	   /* smsw esi */
	{ 4, { 0x66, 0x0f, 0x01, 0xe6 } }, /* smsw si */
	{ 3, { 0x0f, 0x01, 0xf6 } },	   /* lmsw si */
	{ 2, { 0x0f, 0x06 } },		   /* clts */
	{ 3, { 0x0f, 0x01, 0xd0 } },	   /* xgetbv */
	{ 3, { 0x0f, 0x01, 0xd1 } },	   /* xsetbv */
	{ 3, { 0x0f, 0x01, 0xee } },	   /* rdpkru */
	{ 3, { 0x0f, 0x01, 0xef } },	   /* wrpkru */
	{ 3, { 0x0f, 0x01, 0xca } },	   /* clac */
	{ 3, { 0x0f, 0x01, 0xcb } },	   /* stac */
	{ 3, { 0x0f, 0x01, 0x3b } },	   /* invlpg [rbx] */
	{ 5, { 0x66, 0x0f, 0x38, 0x82, 0x33 } }, /* invpcid rsi, [rbx] */
	{ 2, { 0x0f, 0x08 } },		   /* invd */
	{ 2, { 0x0f, 0x09 } },		   /* wbinvd */
	{ 2, { 0x0f, 0x32 } },		   /* rdmsr */
	{ 2, { 0x0f, 0x30 } },		   /* wrmsr */
	{ 2, { 0x0f, 0x31 } },		   /* rdtsc */
	{ 3, { 0x0f, 0x01, 0xf9 } },	   /* rdtscp */
	{ 4, { 0xf3, 0x0f, 0xc7, 0xfe } }, /* rdpid rsi */
	{ 2, { 0x0f, 0x33 } },		   /* rdpmc */
	{ 2, { 0x0f, 0xa2 } },		   /* cpuid */
	{ 3, { 0x0f, 0xc7, 0xf6 } },	   /* rdrand esi */
	{ 4, { 0x66, 0x0f, 0xc7, 0xfe } }, /* rdseed si */
	{ 1, { 0xcc } },		   /* int3 */
	{ 2, { 0xcd, 0x40 } },		   /* int 0x40 */
	{ 1, { 0xf1 } },		   /* int1 */
	{ 2, { 0x0f, 0x05 } },		   /* syscall */
	{ 3, { 0x48, 0x0f, 0x07 } },	   /* sysret */
	{ 2, { 0x0f, 0x07 } },		   /* sysret to compatibility mode */
	{ 2, { 0x0f, 0x34 } },		   /* sysenter */
	{ 3, { 0x48, 0x0f, 0x35 } },	   /* sysexit */
	{ 2, { 0x0f, 0xaa } },		   /* rsm */
	{ 3, { 0x0f, 0x01, 0xc1 } },	   /* vmcall */
	{ 3, { 0x0f, 0x01, 0xd9 } },	   /* vmmcall */
	{ 3, { 0x0f, 0xff, 0xc0 } },	   /* ud0 */
	{ 3, { 0x0f, 0xb9, 0xc0 } },	   /* ud1 */
	{ 2, { 0x0f, 0x0b } },		   /* ud2 */
	{ 1, { 0xf4 } },		   /* hlt */
	{ 3, { 0x0f, 0x01, 0xc8 } },	   /* monitor */
	{ 3, { 0x0f, 0x01, 0xc9 } },	   /* mwait */
	{ 1, { 0xfa } },		   /* cli */
	{ 1, { 0xfb } },		   /* sti */
	{ 2, { 0xe4, 0x80 } },		   /* in al, 0x80 */
	{ 2, { 0xe5, 0x80 } },		   /* in eax, 0x80 */
	{ 1, { 0xec } },		   /* in al, dx */
	{ 2, { 0x66, 0xed } },		   /* in ax, dx */
	{ 1, { 0xed } },		   /* in eax, dx */
	{ 2, { 0xe6, 0x80 } },		   /* out 0x80, al */
	{ 2, { 0xe7, 0x80 } },		   /* out 0x80, eax */
	{ 1, { 0xee } },		   /* out dx, al */
	{ 1, { 0xef } },		   /* out dx, eax */
	{ 1, { 0x6c } },		   /* insb */
	{ 2, { 0xf3, 0x6d } },		   /* rep insd */
	{ 1, { 0x6e } },		   /* outsb */
	{ 2, { 0xf3, 0x6f } },		   /* rep outsd */
	{ 3, { 0x0f, 0xc7, 0x1b } },	   /* xrstors [rbx] */
	{ 3, { 0x0f, 0xc7, 0x2b } },	   /* xsaves [rbx] */
};

struct state {
	uint64_t gpr[16], rflags, rip;
	int vector; /* of an exception, or -1 */
	bool faulted; /* the instruction itself */
	uint32_t exit;
};

static int hooked;

static bool hook(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
	(void)c;
	(void)has_error;
	(void)error;
	hooked = (int)vector;
	return true;
}

static void random_start(struct state *s, unsigned id)
{
	static const uint32_t msrs[] = { 0x174, 0x175, 0x176, 0xc0000080, 0xc0000081, 0xc0000100, 0xc0000102, 0, 1, 7, 13 };

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = rnd();
	s->gpr[RBX] = SYS_DATA + (rnd() & 15) * 64;
	s->gpr[RSP] = SYS_STACK;
	if (rnd() & 3)
		s->gpr[RCX] = msrs[(rnd() >> 8) % (sizeof(msrs) / sizeof(msrs[0]))] | (rnd() & 1 ? rnd() << 32 : 0);
	switch ((rnd() >> 8) % 4) { /* what selectors, PKRU, XCR0 and addresses may be */
	case 0: s->gpr[RAX] = rnd() & 0xff; break;
	case 1: s->gpr[RAX] = SYS_DATA; break;
	default: break;
	}
	if (rnd() & 1)
		s->gpr[RDX] = rnd() & 1 ? 0 : rnd() & 0xff;
	if (rnd() & 1)
		s->gpr[RSI] = s->gpr[RDI] = SYS_DATA;
	if (rnd() & 1)
		s->gpr[R9] = CR4_PAE;
	/* Where these go there is a HLT, or nothing. */
	if (id == INSN_ID_SYSEXIT || id == INSN_ID_SYSRET)
		s->gpr[id == INSN_ID_SYSEXIT ? RDX : RCX] = rnd() & 3 ? SYS_HANDLER : rnd() | 1ull << 31;
	s->rflags = rnd() & FL_ALL;
}

/* From the same machine each time. */
static void execute(const struct code *code, const struct state *in, struct state *out)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->exc_hook = hook;
	hooked = -1;
	c->lstar = c->sysenter_eip = SYS_HANDLER;
	c->sysenter_cs = SEL_CODE64;
	c->sysenter_esp = SYS_STACK;
	c->star = (uint64_t)SEL_CODE64 << 32 | (uint64_t)SEL_CODE32 << 48;
	c->cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_PKE | CR4_SMAP | CR4_FSGSBASE;
	c->xcr0 = 7;
	cpu_mode_changed(c);
	memcpy(c->gpr, in->gpr, sizeof(in->gpr));
	cpu_set_rflags(c, in->rflags);
	for (unsigned i = 0; i < code->len; i++)
		sys_poke(SYS_CODE + i, 1, code->b[i]);
	sys_poke(SYS_CODE + code->len, 2, 0x0b0f); /* UD2: not HLT, after STI */
	for (unsigned i = 0; i < 64 && hooked < 0; i++) { /* ports and MSRs answer with nothing */
		sys_go_to_exit();
		if (sys.run->exit != ENGINE_EXIT_KICK && sys.run->exit != ENGINE_EXIT_PIO && sys.run->exit != ENGINE_EXIT_MSR)
			break;
	}
	memcpy(out->gpr, c->gpr, sizeof(out->gpr));
	out->rflags = cpu_rflags(c);
	out->rip = c->gpr[GPR_RIP];
	out->vector = hooked;
	out->exit = sys.run->exit;
	out->faulted = hooked >= 0 && out->rip == SYS_CODE;
}

/* Not the same each time. */
static bool is_random(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_RDTSC:
	case INSN_ID_RDTSCP:
	case INSN_ID_RDRAND:
	case INSN_ID_RDSEED: return true;
	default: return false;
	}
}

static void check(const struct code *code, const struct insn *in)
{
	uint32_t read = insn_gprs_read(in), written = insn_gprs_written(in);
	struct trace t = { .count = 1, .insn = { { .in = *in } } };
	unsigned wanted = rnd() & 1 ? FL_ALL : rnd() & FL_ALL;
	struct state a, b, from, other;
	char text[64];
	bool good;

	analyse_flags(&t, wanted, false);
	random_start(&from, in->id);
	other = from;
	for (unsigned i = 0; i < 16; i++)
		if (!(read & 1u << i))
			other.gpr[i] = rnd();
	other.rflags ^= rnd() & FL_ALL & ~(unsigned)t.insn[0].live_in;
	execute(code, &from, &a);
	execute(code, &other, &b);
	good = a.vector == b.vector && a.exit == b.exit && a.rip == b.rip;
	if (!a.faulted && !is_random(in))
		good = good && !((a.rflags ^ b.rflags) & wanted);
	for (unsigned i = 0; i < 16; i++) {
		bool kept = a.gpr[i] == from.gpr[i] && b.gpr[i] == other.gpr[i];

		if (!(written & 1u << i))
			good = good && kept;
		else if (!is_random(in))
			good = good && (a.gpr[i] == b.gpr[i] || (kept && a.faulted));
	}
	if (!good)
		print_error("%s: read %#x written %#x, exits %u %u, vectors %d %d\n", insn_print(in, 0, text, sizeof(text)), read,
			    written, a.exit, b.exit, a.vector, b.vector);
	assert_true(good);
}

static void registers_and_flags_not_read_do_not_matter_and_those_not_written_stay(void **state)
{
	static bool seen[INSN_ID_COUNT];

	(void)state;
	for (unsigned n = 0; n < sizeof(codes) / sizeof(codes[0]); n++) {
		struct insn in;

		assert_int_equal(insn_decode(codes[n].b, codes[n].len, INSN_MODE64, &in), codes[n].len);
		seen[in.id] = true;
		for (unsigned i = 0; i < ROUNDS; i++)
			check(&codes[n], &in);
	}
	/* All that test_translate_facts.c leaves out is here. */
	for (unsigned row = 0; row < opcode_count; row++) {
		const struct opcode *op = &opcode_table[row];

		if (!(op->attr & (OP_USER | OP_NO64)) && !seen[op->id])
			print_error("no case for %s\n", op->name);
		assert_true((op->attr & (OP_USER | OP_NO64)) || seen[op->id]);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(registers_and_flags_not_read_do_not_matter_and_those_not_written_stay),
	};

	random_options(argc, argv, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
