// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Breakpoints in the debug registers: SDM vol. 3, 17.2 and 17.3.1 (what hits, fault or trap, RF), 6.8.3 (loading SS
 * holds debug exceptions off), 6.9 (priorities).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { LEN1, LEN2, LEN8, LEN4 }; /* DR7.LENn (17.2.4) */
enum { AT = SYS_DATA };

static struct cpu *start(void)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->gpr[RBX] = AT;
	c->cr0 |= CR0_NE | CR0_MP;
	c->cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
	c->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	c->x.fcw = 0x37f;
	c->x.ftw = 0;
	return c;
}

static void arm(unsigned n, uint64_t linear, enum dr7_rw rw, unsigned len)
{
	struct cpu *c = sys.c;

	c->dr[n] = linear;
	c->dr[7] &= ~(15ull << (16 + n * 4));
	c->dr[7] |= 2ull << (n * 2) | (uint64_t)(rw | len << 2) << (16 + n * 4);
	debug_rearm(c);
}

static void put(uint64_t at, const void *code, size_t len)
{
	if (ram_write(sys.ram, at, code, len))
		fail();
	sys_poke(at + len, 1, 0xf4);
	sys.c->gpr[GPR_RIP] = at;
}

#define PUT(...) put(SYS_CODE, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* What IRETQ at the end of the handler does, with the flags' image as @flags changes it. */
static void back(uint64_t set, uint64_t clear)
{
	struct cpu *c = sys.c;
	uint64_t rip = sys_frame(0, 8), flags = (sys_frame(2, 8) | set) & ~clear, rsp = sys_frame(3, 8);

	c->gpr[GPR_RIP] = rip;
	cpu_set_rflags(c, flags);
	c->gpr[RSP] = rsp;
	c->dr[6] = DR6_FIXED;
}

static void is_db(int vector, uint64_t rip, uint32_t dr6, bool rf)
{
	assert_int_equal(vector, EXC_DB);
	assert_int_equal(sys_frame(0, 8), rip);
	assert_int_equal(sys.c->dr[6], DR6_FIXED | dr6);
	assert_int_equal(!!(sys_frame(2, 8) & RF_RF), rf);
}

/* --- data: which accesses hit (17.2.4, 17.2.5) --- */

static void data_breakpoints_hit_what_overlaps_and_nothing_else(void **state)
{
	static const struct {
		uint8_t code[3];
		unsigned len, size;
		bool store;
	} access[] = {
		{ { 0x88, 0x03 }, 2, 1, true },	       { { 0x66, 0x89, 0x03 }, 3, 2, true },
		{ { 0x89, 0x03 }, 2, 4, true },	       { { 0x48, 0x89, 0x03 }, 3, 8, true },
		{ { 0x8a, 0x03 }, 2, 1, false },       { { 0x66, 0x8b, 0x03 }, 3, 2, false },
		{ { 0x8b, 0x03 }, 2, 4, false },       { { 0x48, 0x8b, 0x03 }, 3, 8, false },
	};
	static const uint8_t bytes[4] = { 1, 2, 8, 4 };
	/* in a page, at the end of one, and where the access crosses into the next */
	static const uint64_t places[] = { AT + 0x40, AT + 0xff8, AT + 0x1000 };

	start();
	for (unsigned a = 0; a < sizeof(access) / sizeof(access[0]); a++)
		for (unsigned len = 0; len < 4; len++)
			for (unsigned p = 0; p < 3; p++)
				for (int d = -9; d <= 9; d++)
					for (unsigned rw = DR7_WRITE; rw <= DR7_READ_WRITE; rw += 2) {
						uint64_t from = places[p] & ~(uint64_t)(bytes[len] - 1), at = places[p] + (uint64_t)d;
						bool over = at < from + bytes[len] && from < at + access[a].size;
						bool hit = over && (access[a].store || rw == DR7_READ_WRITE);
						int vector;

						sys.c->gpr[RSP] = SYS_STACK;
						sys.c->gpr[RBX] = at;
						sys.c->dr[6] = DR6_FIXED;
						sys.c->gpr[GPR_RIP] = SYS_CODE;
						arm(1, places[p], rw, len);
						put(SYS_CODE, access[a].code, access[a].len);
						vector = sys_go();
						assert_int_equal(vector, hit ? EXC_DB : SYS_HALTED);
						if (hit)
							is_db(vector, SYS_CODE + access[a].len, 2, false);
					}
}

static void breakpoint_addresses_are_aligned_to_their_length(void **state)
{
	start();
	arm(0, AT + 7, DR7_WRITE, LEN8);
	PUT(0x88, 0x03);
	is_db(sys_go(), SYS_CODE + 2, 1, false);
}

static void a_page_that_was_already_in_the_tlb_is_watched_too(void **state)
{
	struct cpu *c = start();

	c->gpr[RCX] = AT;
	c->gpr[RDX] = 0x10402; /* G0, write, 1 byte */
	/* mov [rbx], al; mov dr0, rcx; mov dr7, rdx; mov [rbx], al; nop */
	PUT(0x88, 0x03, 0x0f, 0x23, 0xc1, 0x0f, 0x23, 0xfa, 0x88, 0x03, 0x90);
	is_db(sys_go(), SYS_CODE + 10, 1, false);
	/* and no longer when it is switched off */
	c->gpr[RDX] = 0x10400;
	PUT(0x0f, 0x23, 0xfa, 0x88, 0x03);
	assert_int_equal(sys_go(), SYS_HALTED);
}

/* --- data: every way to memory --- */

#define CODE(...) { __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

/* [rbx] is AT. The watch: 1 byte at @at, relative to AT. */
static const struct path {
	const char *what;
	uint8_t code[12];
	unsigned len;
	int at;
	bool store; /* watched for stores; else for loads and stores */
	bool miss;
} paths[] = {
	{ "add [m], reg stores", CODE(0x01, 0x03), 3, true, false },
	{ "lock add stores", CODE(0xf0, 0x01, 0x03), 3, true, false },
	{ "xchg stores", CODE(0x87, 0x03), 0, true, false },
	{ "cmpxchg that fails stores", CODE(0xf0, 0x0f, 0xb1, 0x0b), 0, true, false },
	{ "cmpxchg16b stores", CODE(0xf0, 0x48, 0x0f, 0xc7, 0x0b), 15, true, false },
	{ "bts [m] stores", CODE(0x0f, 0xba, 0x2b, 0x03), 0, true, false },
	{ "cmp loads only", CODE(0x39, 0x03), 0, true, true },
	{ "cmp loads", CODE(0x39, 0x03), 0, false, false },
	{ "push imm stores", CODE(0x6a, 0x01), SYS_STACK - AT - 1, true, false },
	{ "push [m] loads", CODE(0xff, 0x33), 7, false, false },
	{ "pop loads", CODE(0x58), SYS_STACK - AT, false, false },
	{ "pop does not store", CODE(0x58), SYS_STACK - AT, true, true },
	{ "pop [m] stores", CODE(0x8f, 0x03), 7, true, false },
	{ "call stores its return address", CODE(0xe8, 0, 0, 0, 0), SYS_STACK - AT - 8, true, false },
	{ "pushf stores", CODE(0x9c), SYS_STACK - AT - 2, true, false },
	{ "enter stores", CODE(0xc8, 0x10, 0, 0), SYS_STACK - AT - 8, true, false },
	{ "enter's probe of the new top is no store", CODE(0xc8, 0x10, 0, 0), SYS_STACK - AT - 24, true, true },
	{ "movs stores", CODE(0xa4), 0x100, true, false },
	{ "movs loads", CODE(0xa4), 0x200, false, false },
	{ "stos stores", CODE(0x48, 0xab), 0x107, true, false },
	{ "lods loads", CODE(0xac), 0x200, false, false },
	{ "scas loads", CODE(0xae), 0x100, false, false },
	{ "cmps loads its second operand", CODE(0xa6), 0x100, false, false },
	{ "xlat loads", CODE(0xd7), 0, false, false },
	{ "movups stores", CODE(0x0f, 0x11, 0x03), 15, true, false },
	{ "movups loads", CODE(0x0f, 0x10, 0x03), 15, false, false },
	{ "vmovups stores 32 bytes", CODE(0xc5, 0xfc, 0x11, 0x03), 31, true, false },
	{ "vmovups stores no more", CODE(0xc5, 0xfc, 0x11, 0x03), 32, true, true },
	{ "paddb loads", CODE(0x66, 0x0f, 0xfc, 0x03), 15, false, false },
	{ "vmaskmovps with a clear mask stores nothing", CODE(0xc4, 0xe2, 0x71, 0x2e, 0x03), 0, true, true },
	{ "movq mmx stores", CODE(0x0f, 0x7f, 0x03), 7, true, false },
	{ "fld loads", CODE(0xdd, 0x03), 7, false, false },
	{ "fstp tbyte stores", CODE(0xd9, 0xe8, 0xdb, 0x3b), 9, true, false },
	{ "fnstenv stores", CODE(0xd9, 0x33), 27, true, false },
	{ "fnsave stores", CODE(0xdd, 0x33), 107, true, false },
	{ "fxsave stores", CODE(0x0f, 0xae, 0x03), 0x80, true, false },
	{ "fxrstor loads", CODE(0x0f, 0xae, 0x0b), 0x80, false, false },
	{ "xsave stores its header", CODE(0x0f, 0xae, 0x23), 0x200, true, false },
	{ "xrstor loads", CODE(0x0f, 0xae, 0x2b), 0x200, false, false },
	{ "stmxcsr stores", CODE(0x0f, 0xae, 0x1b), 3, true, false },
	{ "sgdt stores", CODE(0x0f, 0x01, 0x03), 9, true, false },
	{ "lea touches nothing", CODE(0x48, 0x8d, 0x03), 0, false, true },
	{ "prefetch touches nothing", CODE(0x0f, 0x18, 0x0b), 0, false, true },
	{ "mov ds reads its descriptor", CODE(0x8e, 0xda), SYS_GDT + SEL_DATA - AT, false, false },
	{ "a first load of a segment sets its accessed bit", CODE(0x8e, 0xda), SYS_GDT + SEL_DATA + 5 - AT, true, false },
};

static void every_way_to_memory_is_watched(void **state)
{
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const struct path *p = &paths[i];
		struct cpu *c = start();
		unsigned last = p->len;
		int vector;

		c->gpr[RAX] = 0;
		c->gpr[RCX] = 1;
		c->gpr[RDX] = SEL_DATA;
		c->gpr[RDI] = AT + 0x100;
		c->gpr[RSI] = AT + 0x200;
		sys_poke(AT + 24, 4, 0x1f80); /* MXCSR of an image */
		arm(3, AT + (uint64_t)(int64_t)p->at, p->store ? DR7_WRITE : DR7_READ_WRITE, LEN1);
		if (!strncmp(p->what, "xsave", 5) || !strncmp(p->what, "xrstor", 6))
			c->gpr[RAX] = 7, c->gpr[RDX] = 0;
		put(SYS_CODE, p->code, p->len);
		vector = sys_go();
		if (p->miss ? vector != SYS_HALTED : vector != EXC_DB)
			fail_msg("%s: vector %d", p->what, vector);
		if (!p->miss)
			is_db(vector, SYS_CODE + last, 8, false);
	}
}

static void rep_movs_traps_after_the_iteration_that_hit(void **state)
{
	struct cpu *c = start();

	c->gpr[RSI] = AT;
	c->gpr[RDI] = AT + 0x1100;
	c->gpr[RCX] = 5;
	arm(0, AT + 0x1101, DR7_WRITE, LEN1);
	arm(1, AT + 0x1104, DR7_WRITE, LEN1);
	PUT(0xf3, 0xa4);
	is_db(sys_go(), SYS_CODE, 1, true); /* not the last iteration: RF is pushed as 1 (17.3.1.1) */
	assert_int_equal(c->gpr[RCX], 3);
	assert_int_equal(c->gpr[RDI], AT + 0x1102);
	back(0, 0);
	is_db(sys_go(), SYS_CODE + 2, 2, false);
	assert_int_equal(c->gpr[RCX], 0);
}

/* The access that hit is lost with the instruction that faults, and hits again when it is restarted. */
static void an_instruction_that_faults_has_no_data_trap(void **state)
{
	struct cpu *c = start();

	c->gpr[RSI] = AT;
	c->gpr[RDI] = 0x40000;
	sys_page(0x40000, 0);
	arm(0, AT, DR7_READ_WRITE, LEN1);
	PUT(0xa4);
	assert_int_equal(sys_go(), EXC_PF);
	assert_int_equal(c->dr[6], DR6_FIXED);
	sys_page(0x40000, 7);
	c->gpr[RSP] = SYS_STACK;
	c->gpr[GPR_RIP] = SYS_CODE;
	is_db(sys_go(), SYS_CODE + 1, 1, false);
}

/* 17.3.1.2: a trap that comes up while an event is delivered is taken before the handler's first instruction. */
static void pushes_of_an_event_hit_before_the_handler_runs(void **state)
{
	const uint64_t top = SYS_STACK & ~15ull;

	start();
	arm(2, top - 8, DR7_WRITE, LEN8);
	PUT(0xcc);
	is_db(sys_go(), SYS_HANDLER + EXC_BP, 4, false);
	assert_int_equal(sys_peek(sys_frame(3, 8), 8), SYS_CODE + 1); /* below it the frame of the #BP */

	start();
	arm(2, SYS_IDT + EXC_UD * 16, DR7_READ_WRITE, LEN8);
	PUT(0x0f, 0x0b);
	is_db(sys_go(), SYS_HANDLER + EXC_UD, 4, false);

	sys_start(SYS_LONG, 3);
	arm(2, SYS_TSS_AT + 4, DR7_READ_WRITE, LEN4); /* RSP0 */
	PUT(0x0f, 0x0b);
	is_db(sys_go(), SYS_HANDLER + EXC_UD, 4, false);
	sys_start(SYS_LONG, 3);
	arm(2, SYS_RSP0 - 40, DR7_WRITE, LEN8); /* the inner stack: RIP of the frame */
	PUT(0x0f, 0x0b);
	is_db(sys_go(), SYS_HANDLER + EXC_UD, 4, false);
}

/* --- code: 17.3.1.1 --- */

static void a_code_breakpoint_is_a_fault_before_its_instruction(void **state)
{
	struct cpu *c = start();

	arm(0, SYS_CODE + 2, DR7_EXEC, LEN1);
	PUT(0xff, 0xc0, 0xff, 0xc0, 0xff, 0xc0); /* inc eax, three times */
	is_db(sys_go(), SYS_CODE + 2, 1, false);
	assert_int_equal(c->gpr[RAX], 1);
	/* without RF it hits again, with RF it does not */
	back(0, 0);
	is_db(sys_go(), SYS_CODE + 2, 1, false);
	back(RF_RF, 0);
	assert_int_equal(sys_go(), SYS_HALTED);
	assert_int_equal(c->gpr[RAX], 3);
	assert_false(c->sysflags & RF_RF);
}

static void a_code_breakpoint_matches_first_bytes_only(void **state)
{
	start();
	arm(0, SYS_CODE + 1, DR7_EXEC, LEN1); /* after the prefix */
	PUT(0x66, 0x90, 0x90);
	assert_int_equal(sys_go(), SYS_HALTED);
}

static void code_breakpoints_do_not_watch_data(void **state)
{
	start();
	arm(0, AT, DR7_EXEC, LEN1);
	PUT(0x88, 0x03, 0x8a, 0x03);
	assert_int_equal(sys_go(), SYS_HALTED);
}

static void rf_holds_for_one_instruction(void **state)
{
	struct cpu *c = start();

	/* a loop back to the breakpoint: jmp $ */
	arm(0, SYS_CODE, DR7_EXEC, LEN1);
	PUT(0xff, 0xc0, 0xeb, 0xfc);
	c->sysflags |= RF_RF;
	is_db(sys_go(), SYS_CODE, 1, false);
	assert_int_equal(c->gpr[RAX], 1);
}

/* pushf of the next instruction shows that IRET loaded RF: the breakpoint at its target does not hit. */
static void iret_loads_rf(void **state)
{
	struct cpu *c = start();
	uint64_t frame[5] = { SYS_CODE + 2, SEL_CODE64, RF_FIXED | RF_RF, SYS_STACK, SEL_DATA };

	for (unsigned rf = 0; rf < 2; rf++) {
		frame[2] = RF_FIXED | (rf ? RF_RF : 0);
		c->dr[6] = DR6_FIXED;
		PUT(0x48, 0xcf, 0xff, 0xc0);
		c->gpr[RSP] = SYS_STACK - 0x100;
		for (unsigned i = 0; i < 5; i++)
			sys_poke(c->gpr[RSP] + i * 8, 8, frame[i]);
		arm(0, SYS_CODE + 2, DR7_EXEC, LEN1);
		assert_int_equal(sys_go(), rf ? SYS_HALTED : EXC_DB);
	}
}

static void faults_push_rf_and_traps_do_not(void **state)
{
	static const struct {
		uint8_t code[4];
		unsigned len;
		int vector;
		bool rf;
	} t[] = {
		{ { 0x0f, 0x0b }, 2, EXC_UD, true },  { { 0xf7, 0xf1 }, 2, EXC_DE, true },
		{ { 0xcc }, 1, EXC_BP, false },	      { { 0xcd, 0x30 }, 2, 0x30, false },
		{ { 0xf1 }, 1, EXC_DB, false },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start();
		sys.c->sysflags |= RF_RF; /* the instruction's start clears it */
		put(SYS_CODE, t[i].code, t[i].len);
		assert_int_equal(sys_go(), t[i].vector);
		assert_int_equal(!!(sys_frame(2, 8) & RF_RF), t[i].rf);
	}
}

static void a_repeated_instruction_hits_its_code_breakpoint_once(void **state)
{
	struct cpu *c = start();

	c->gpr[RSI] = AT;
	c->gpr[RDI] = AT + 0x100;
	c->gpr[RCX] = 3;
	arm(0, SYS_CODE, DR7_EXEC, LEN1);
	arm(1, AT + 0x100, DR7_WRITE, LEN4); /* makes it go element by element */
	PUT(0xf3, 0xa4);
	is_db(sys_go(), SYS_CODE, 1, false);
	back(RF_RF, 0);
	is_db(sys_go(), SYS_CODE, 2, true);
	back(0, 0);
	is_db(sys_go(), SYS_CODE, 2, true);
	back(0, 0);
	is_db(sys_go(), SYS_CODE + 2, 2, false);
}

/* --- ports: 17.2.4, R/W = 10b --- */

static void io_breakpoints_need_cr4_de_and_watch_ranges_of_ports(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t code;
		bool hit;
	} t[] = {
		{ 0x70, 0xec, true },  { 0x71, 0xee, true },  { 0x72, 0xec, false }, { 0x6f, 0xee, false },
		{ 0x6f, 0xed, true },  { 0x6d, 0xed, true },  { 0x6c, 0xed, false }, { 0x71, 0xef, true },
	};

	for (unsigned de = 0; de < 2; de++)
		for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
			struct cpu *c = start();

			if (de)
				c->cr4 |= CR4_DE;
			c->gpr[RDX] = t[i].port;
			arm(1, 0x70, DR7_IO, LEN2);
			PUT(t[i].code, 0x90);
			assert_int_equal(sys_go(), de && t[i].hit ? EXC_DB : SYS_HALTED);
			if (de && t[i].hit)
				is_db(EXC_DB, SYS_CODE + 1, 2, false);
		}
}

static void string_io_goes_in_runs_unless_a_breakpoint_looks(void **state)
{
	for (unsigned watched = 0; watched < 2; watched++) {
		struct cpu *c = start();
		int vector;

		c->cr4 |= CR4_DE;
		c->gpr[RDX] = 0x1f0;
		c->gpr[RDI] = AT;
		c->gpr[RCX] = 6;
		if (watched)
			arm(0, 0x1f0, DR7_IO, LEN1);
		PUT(0xf3, 0x66, 0x6d); /* rep insw */
		c->activity = VCPU_RUNNING;
		do
			cpu_run(c);
		while (sys.run->exit == ENGINE_EXIT_KICK);
		assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
		assert_int_equal(sys.run->pio.count, watched ? 1 : 6);
		assert_int_equal(sys.run->pio.size, 2);
		for (unsigned i = 0; i < 12; i++)
			sys.run->data[i] = (uint8_t)(i + 1);
		vector = sys_go();
		if (watched) {
			is_db(vector, SYS_CODE, 1, true);
			assert_int_equal(c->gpr[RCX], 5);
			continue;
		}
		assert_int_equal(vector, SYS_HALTED);
		assert_int_equal(c->gpr[RCX], 0);
		assert_int_equal(c->gpr[RDI], AT + 12);
		assert_true(sys_peek(AT, 8) == 0x0807060504030201ull);
		assert_int_equal(sys_peek(AT + 8, 8), 0x0c0b0a09);
	}
}

static void string_output_tells_all_elements_up_to_the_page_end(void **state)
{
	struct cpu *c = start();

	c->gpr[RDX] = 0x1f0;
	c->gpr[RSI] = AT + 0xffc;
	c->gpr[RCX] = 7;
	for (unsigned i = 0; i < 7; i++)
		sys_poke(AT + 0xffc + i, 1, i + 1);
	PUT(0xf3, 0x6e);
	c->activity = VCPU_RUNNING;
	do
		cpu_run(c);
	while (sys.run->exit == ENGINE_EXIT_KICK);
	assert_int_equal(sys.run->pio.count, 4);
	assert_int_equal(c->gpr[RCX], 7); /* not before it is done */
	assert_memory_equal(sys.run->data, ((uint8_t[]){ 1, 2, 3, 4 }), 4);
	cpu_run(c);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
	assert_int_equal(sys.run->pio.count, 3);
	assert_int_equal(c->gpr[RCX], 3);
	assert_memory_equal(sys.run->data, ((uint8_t[]){ 5, 6, 7 }), 3);
	assert_int_equal(sys_go(), SYS_HALTED);
	assert_int_equal(c->gpr[RSI], AT + 0x1003);
}

/* --- general detect, INT1, DR6: 17.2.3, 17.3.1.3 --- */

static void general_detect_is_a_fault_that_pushes_rf(void **state)
{
	struct cpu *c = start();

	c->dr[7] |= DR7_GD;
	PUT(0x0f, 0x23, 0xc0);
	is_db(sys_go(), SYS_CODE, DR6_BD, true);
	assert_false(c->dr[7] & DR7_GD);
}

static void a_db_replaces_b_and_keeps_the_other_bits(void **state)
{
	struct cpu *c = start();

	arm(2, AT, DR7_WRITE, LEN1);
	c->dr[6] = DR6_FIXED | DR6_BS | DR6_BT | 3;
	PUT(0x88, 0x03);
	is_db(sys_go(), SYS_CODE + 2, DR6_BS | DR6_BT | 4, false);
}

static void two_breakpoints_are_told_together(void **state)
{
	start();
	arm(0, AT, DR7_WRITE, LEN1);
	arm(3, AT, DR7_READ_WRITE, LEN8);
	PUT(0x88, 0x03);
	is_db(sys_go(), SYS_CODE + 2, 9, false);
}

static void int1_needs_no_privilege_and_sets_no_bit(void **state)
{
	sys_start(SYS_LONG, 3);
	PUT(0xf1);
	is_db(sys_go(), SYS_CODE + 1, 0, false);
}

/* --- loading SS: 6.8.3 --- */

static struct cpu *start_ss(void)
{
	struct cpu *c = start();

	sys_poke(AT, 2, SEL_DATA);
	arm(1, AT, DR7_READ_WRITE, LEN2);
	return c;
}

static void a_load_of_ss_holds_its_data_trap_until_after_the_next_instruction(void **state)
{
	start_ss();
	PUT(0x8e, 0x13, 0xff, 0xc0, 0xff, 0xc0); /* mov ss, [rbx]; inc eax; inc eax */
	is_db(sys_go(), SYS_CODE + 4, 2, false);
	assert_int_equal(sys.c->gpr[RAX], 1);
}

static void int_n_after_a_load_of_ss_traps_at_its_handler(void **state)
{
	start_ss();
	PUT(0x8e, 0x13, 0xcc);
	is_db(sys_go(), SYS_HANDLER + EXC_BP, 2, false);
}

static void int1_after_a_load_of_ss_tells_its_trap_too(void **state)
{
	start_ss();
	PUT(0x8e, 0x13, 0xf1);
	is_db(sys_go(), SYS_CODE + 3, 2, false);
	back(0, 0);
	assert_int_equal(sys_go(), SYS_HALTED); /* and once only */
}

static void a_fault_after_a_load_of_ss_comes_alone(void **state)
{
	start_ss();
	PUT(0x8e, 0x13, 0x0f, 0x0b);
	assert_int_equal(sys_go(), EXC_UD);
	assert_int_equal(sys.c->dr[6], DR6_FIXED);
}

static void a_code_breakpoint_behind_a_load_of_ss_does_not_hit(void **state)
{
	struct cpu *c = start();

	c->gpr[RAX] = SEL_DATA;
	arm(0, SYS_CODE + 2, DR7_EXEC, LEN1);
	PUT(0x8e, 0xd0, 0x90, 0x90);
	assert_int_equal(sys_go(), SYS_HALTED);
}

static void general_detect_behind_a_load_of_ss_is_not_held_off(void **state)
{
	struct cpu *c = start_ss();

	c->dr[7] |= DR7_GD;
	PUT(0x8e, 0x13, 0x0f, 0x23, 0xc0);
	is_db(sys_go(), SYS_CODE + 2, DR6_BD | 2, true);
}

/* --- order: 6.9, table 6-2 --- */

static void the_trap_of_an_instruction_comes_before_an_interrupt(void **state)
{
	struct cpu *c = start();

	c->lapic.reg[LAPIC_SVR] |= 1 << 8;
	c->sysflags |= RF_IF;
	c->shadow = 1; /* lets one instruction run with the interrupt pending */
	lapic_post(c, 0x40, false);
	arm(0, AT, DR7_WRITE, LEN1);
	PUT(0x88, 0x03, 0x90);
	is_db(sys_go(), SYS_CODE + 2, 1, false);
}

static void an_interrupt_comes_before_a_code_breakpoint(void **state)
{
	struct cpu *c = start();

	c->lapic.reg[LAPIC_SVR] |= 1 << 8;
	c->sysflags |= RF_IF;
	lapic_post(c, 0x40, false);
	arm(0, SYS_CODE, DR7_EXEC, LEN1);
	PUT(0x90);
	assert_int_equal(sys_go(), 0x40);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	back(0, 0);
	is_db(sys_go(), SYS_CODE, 1, false);
}

static void a_trap_comes_before_the_code_breakpoint_behind_it(void **state)
{
	start();
	arm(0, AT, DR7_WRITE, LEN1);
	arm(1, SYS_CODE + 2, DR7_EXEC, LEN1);
	PUT(0x88, 0x03, 0x90);
	is_db(sys_go(), SYS_CODE + 2, 1, false);
	back(0, 0);
	is_db(sys_go(), SYS_CODE + 2, 2, false);
}

static void a_code_breakpoint_comes_before_the_faults_of_its_instruction(void **state)
{
	start();
	arm(0, 0x40000, DR7_EXEC, LEN1);
	sys_page(0x40000, 0);
	PUT(0xe9, 0xfb, 0x7f, 0x03, 0x00); /* jmp 0x40000 */
	is_db(sys_go(), 0x40000, 1, false);
	back(RF_RF, 0);
	assert_int_equal(sys_go(), EXC_PF);
}

/* --- state --- */

static void a_pending_trap_is_part_of_the_state(void **state)
{
	struct cpu *c = start();
	struct vcpu_state *s = calloc(1, sizeof(*s));

	PUT(0x90, 0x90);
	cpu_get_state(c, s);
	s->debug_pending = 5;
	s->shadow = 2;
	assert_int_equal(cpu_set_state(c, s), 0);
	cpu_get_state(c, s);
	assert_int_equal(s->debug_pending, 5);
	is_db(sys_go(), SYS_CODE + 1, 5, false); /* the load of SS still holds it off */
	s->shadow = 0;
	s->debug_pending = 5;
	assert_int_equal(cpu_set_state(c, s), 0);
	is_db(sys_go(), SYS_CODE, 5, false);
	s->debug_pending = 1 << 4;
	assert_int_equal(cpu_set_state(c, s), -22);
	free(s);
}

static void loaded_breakpoints_are_armed(void **state)
{
	struct cpu *c = start();
	struct vcpu_state *s = calloc(1, sizeof(*s));

	PUT(0x88, 0x03, 0x88, 0x03);
	cpu_get_state(c, s);
	s->dr[0] = AT;
	s->dr[7] = 0x10402;
	assert_int_equal(cpu_set_state(c, s), 0);
	is_db(sys_go(), SYS_CODE + 2, 1, false);
	free(s);
}

/* --- a debugger outside the guest --- */

static void watches_of_a_debugger_leave_after_the_access(void **state)
{
	struct engine_debug d = { .watch_count = 1, .watch = { { .linear = AT + 0xffe, .len = 5, .store = true } } };
	struct cpu *c = start();

	c->debug = &d;
	debug_rearm(c);
	c->gpr[RBX] = AT + 0x1002;
	PUT(0x8a, 0x03, 0x88, 0x03, 0x90); /* a load, a store */
	assert_int_equal(sys_go(), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_DEBUG);
	assert_int_equal(sys.run->debug.step, 2);
	assert_int_equal(sys.run->debug.linear, AT + 0xffe);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE + 4);
	assert_int_equal(c->dr[6], DR6_FIXED); /* the guest does not see it */
	assert_int_equal(sys_go(), SYS_HALTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_breakpoints_hit_what_overlaps_and_nothing_else),
		TEST(breakpoint_addresses_are_aligned_to_their_length),
		TEST(a_page_that_was_already_in_the_tlb_is_watched_too),
		TEST(every_way_to_memory_is_watched),
		TEST(rep_movs_traps_after_the_iteration_that_hit),
		TEST(an_instruction_that_faults_has_no_data_trap),
		TEST(pushes_of_an_event_hit_before_the_handler_runs),
		TEST(a_code_breakpoint_is_a_fault_before_its_instruction),
		TEST(a_code_breakpoint_matches_first_bytes_only),
		TEST(code_breakpoints_do_not_watch_data),
		TEST(rf_holds_for_one_instruction),
		TEST(iret_loads_rf),
		TEST(faults_push_rf_and_traps_do_not),
		TEST(a_repeated_instruction_hits_its_code_breakpoint_once),
		TEST(io_breakpoints_need_cr4_de_and_watch_ranges_of_ports),
		TEST(string_io_goes_in_runs_unless_a_breakpoint_looks),
		TEST(string_output_tells_all_elements_up_to_the_page_end),
		TEST(general_detect_is_a_fault_that_pushes_rf),
		TEST(a_db_replaces_b_and_keeps_the_other_bits),
		TEST(two_breakpoints_are_told_together),
		TEST(int1_needs_no_privilege_and_sets_no_bit),
		TEST(a_load_of_ss_holds_its_data_trap_until_after_the_next_instruction),
		TEST(int_n_after_a_load_of_ss_traps_at_its_handler),
		TEST(int1_after_a_load_of_ss_tells_its_trap_too),
		TEST(a_fault_after_a_load_of_ss_comes_alone),
		TEST(a_code_breakpoint_behind_a_load_of_ss_does_not_hit),
		TEST(general_detect_behind_a_load_of_ss_is_not_held_off),
		TEST(the_trap_of_an_instruction_comes_before_an_interrupt),
		TEST(an_interrupt_comes_before_a_code_breakpoint),
		TEST(a_trap_comes_before_the_code_breakpoint_behind_it),
		TEST(a_code_breakpoint_comes_before_the_faults_of_its_instruction),
		TEST(a_pending_trap_is_part_of_the_state),
		TEST(loaded_breakpoints_are_armed),
		TEST(watches_of_a_debugger_leave_after_the_access),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
