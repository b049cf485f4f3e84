// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * System management mode: SDM vol. 3, chapter 31 (sections are named below); the save area's layout is
 * that of AMD64 APM vol. 2, 10.2.3.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SMBASE = 0x30000, HANDLER = SMBASE + 0x8000, AREA = SMBASE + 0xfe00, COUNTER = SYS_DATA + 0x100 };

static void handler(const void *code, size_t len)
{
	assert_int_equal(ram_write(sys.ram, HANDLER, code, len), 0);
}

#define HANDLER_IS(...) handler((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
/* In SMM: inc word [COUNTER]; SMM code is 16-bit code with DS at 0 */
#define COUNT 0xff, 0x06, COUNTER & 0xff, COUNTER >> 8
#define RSM 0x0f, 0xaa
/* mov byte [AREA + n], v and mov dword [AREA + n], v, with a 32-bit address */
#define AREA8(n, v) 0x67, 0xc6, 0x05, (n) & 0xff, 0xfe + ((n) >> 8), 0x03, 0x00, v
#define AREA32(n, a, b, c, d) 0x67, 0x66, 0xc7, 0x05, (n) & 0xff, 0xfe + ((n) >> 8), 0x03, 0x00, a, b, c, d

static void smi(void)
{
	cpu_request(sys.c, REQ_SMI);
}

static uint64_t area(unsigned offset, unsigned size)
{
	return sys_peek(SMBASE + offset, size);
}

static unsigned count(void)
{
	return (unsigned)sys_peek(COUNTER, 2);
}

static void go(void)
{
	sys.c->halt_told = 0;
	cpu_run(sys.c);
}

/* Table 31-4 */
static void smm_entry_sets_the_registers_of_table_31_4(void **state)
{
	struct vcpu_segment *s;
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->cr0 |= CR0_TS | CR0_EM | CR0_MP;
	c->cr4 |= CR4_OSFXSR | CR4_PGE;
	c->dr[7] = 0x401;
	c->sysflags |= RF_AC | RF_NT;
	HANDLER_IS(0xf4);
	smi();
	assert_int_equal(RUN(0x90), SYS_HALTED);
	assert_true(c->in_smm);
	assert_true(c->cr0 == (CR0_ET | CR0_NE | CR0_WP | CR0_MP));
	assert_true(c->cr4 == 0 && c->efer == 0);
	assert_true(c->dr[7] == 0x400);
	assert_true(cpu_rflags(c) == 2);
	assert_true(c->gpr[GPR_RIP] == 0x8001);
	s = &c->seg[SEG_CS];
	assert_true(s->selector == 0x3000 && s->base == SMBASE && s->limit == 0xffffffff && c->mode == INSN_MODE16);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		s = &c->seg[i];
		if (i != SEG_CS)
			assert_true(s->selector == 0 && s->base == 0 && s->limit == 0xffffffff);
	}
	assert_int_equal(c->idt.limit, 0);
	assert_true(c->gdt.base == SYS_GDT);
	assert_int_equal(c->cpl, 0);
}

static void smm_saves_the_state_in_the_amd64_layout(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 3);
	c = sys.c;
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (i != RSP)
			c->gpr[i] = 0x1122334455660000 + i;
	c->seg[SEG_FS].base = 0x7f0012345678;
	c->dr[6] = 0xffff0ff1;
	HANDLER_IS(0xf4);
	smi();
	RUN(0x90);
	assert_int_equal(area(0xfefc, 4), 0x20064);
	assert_int_equal(area(0xff00, 4), SMBASE);
	assert_true(area(0xfff8, 8) == 0x1122334455660000 + RAX);
	assert_true(area(0xff80, 8) == 0x1122334455660000 + R15);
	assert_true(area(0xffd8, 8) == SYS_STACK); /* RSP */
	assert_true(area(0xff78, 8) == SYS_CODE);
	assert_true(area(0xff70, 8) == 2);
	assert_true(area(0xff68, 8) == 0xffff0ff1);
	assert_true(area(0xff60, 8) == 0x400);
	assert_true(area(0xff58, 8) == (CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG));
	assert_true(area(0xff50, 8) == SYS_PML4);
	assert_true(area(0xff48, 8) == CR4_PAE);
	assert_true(area(0xfed0, 8) == (EFER_LME | EFER_LMA | EFER_SCE | EFER_NX));
	assert_int_equal(area(0xfe10, 2), SEL_USER64 | 3);
	assert_int_equal(area(0xfe12, 2), 0xa0fb); /* G, L; P, DPL 3, S, code, readable, accessed */
	assert_int_equal(area(0xfe14, 4), 0xffffffff);
	assert_true(area(0xfe48, 8) == 0x7f0012345678);
	assert_int_equal(area(0xfe64, 2), 0xfff);
	assert_true(area(0xfe68, 8) == SYS_GDT && area(0xfe88, 8) == SYS_IDT);
	assert_int_equal(area(0xfe72, 2) & 0x80, 0); /* LDTR is null */
	assert_int_equal(area(0xfe90, 2), SEL_TSS);
	assert_int_equal(area(0xfec9, 1), 0);
	assert_int_equal(area(0xfec0, 4), 0);
}

/* By field: padding is not copied everywhere. */
static void assert_same_segment(const struct vcpu_segment *a, const struct vcpu_segment *b)
{
	assert_true(a->selector == b->selector && a->base == b->base && a->limit == b->limit && a->attr == b->attr);
}

/* 31.3.2: RSM restores the state, and the interrupted program goes on as if nothing had been. */
static void rsm_goes_back_to_every_mode(void **state)
{
	static const struct {
		enum sys_mode mode;
		unsigned cpl;
	} row[] = {
		{ SYS_LONG, 0 }, { SYS_LONG, 3 }, { SYS_COMPAT, 0 }, { SYS_COMPAT, 3 }, { SYS_PROT32, 0 },
		{ SYS_PROT32, 3 }, { SYS_REAL, 0 },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct vcpu_state *was = calloc(1, sizeof(*was)), *now = calloc(1, sizeof(*now));

		sys_start(row[i].mode, row[i].cpl);
		sys.c->gpr[RBX] = 0x12345678;
		sys.c->sysflags |= RF_NT;
		sys.c->flags = AF_CF | AF_OF;
		sys.c->dr[0] = 0x5000;
		sys.c->dr[7] = 0x402;
		cpu_get_state(sys.c, was);
		HANDLER_IS(COUNT, 0xbb, 0xff, 0xff, RSM); /* BX is changed, and comes back */
		smi();
		cpu_request(sys.c, REQ_KICK);
		go(); /* entered nothing yet: KICK comes first */
		assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
		/* One instruction after RSM: HLT, or at CPL 3 its #GP */
		assert_int_equal(RUN(0xf4), row[i].cpl ? EXC_GP : SYS_HALTED);
		assert_int_equal(count(), 1);
		cpu_get_state(sys.c, now);
		if (!row[i].cpl) {
			was->rip++;
			assert_memory_equal(was->gpr, now->gpr, sizeof(was->gpr));
			for (unsigned n = 0; n < SEG_COUNT; n++)
				assert_same_segment(&was->seg[n], &now->seg[n]);
			assert_true(was->rip == now->rip && was->rflags == now->rflags);
			assert_true(was->cr0 == now->cr0 && was->cr3 == now->cr3 && was->cr4 == now->cr4 && was->efer == now->efer);
			assert_true(was->idt.limit == now->idt.limit && was->idt.base == now->idt.base);
			assert_same_segment(&was->ldt, &now->ldt);
			assert_same_segment(&was->tr, &now->tr);
			assert_memory_equal(was->dr, now->dr, sizeof(was->dr));
		} else {
			assert_true(now->gpr[RBX] == 0x12345678);
			assert_int_equal(sys_frame(2, row[i].mode == SYS_PROT32 ? 4 : 8) & 3, 3); /* CS of the frame of #GP */
		}
		assert_false(now->in_smm);
		free(was);
		free(now);
	}
}

static void rsm_outside_of_smm_is_undefined(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(RUN(RSM), EXC_UD);
	sys_start(SYS_PROT32, 3);
	assert_int_equal(RUN(RSM), EXC_UD);
}

/* 31.11 */
static void smbase_moves_with_rsm(void **state)
{
	sys_start(SYS_PROT32, 0);
	HANDLER_IS(AREA32(0x100, 0x00, 0x00, 0x05, 0x00), RSM);
	sys_poke(0x58000, 8, 0xaa0f00000000f4);
	smi();
	assert_int_equal(RUN(0x90), SYS_HALTED);
	assert_false(sys.c->in_smm);
	assert_true(sys.c->smbase == 0x50000);
	smi();
	assert_int_equal(RUN(0x90), SYS_HALTED);
	assert_true(sys.c->in_smm);
	assert_true(sys.c->seg[SEG_CS].base == 0x50000 && sys.c->seg[SEG_CS].selector == 0x5000);
	assert_int_equal(sys_peek(0x5ff00, 4), 0x50000);
}

/* 31.3.1 */
static void an_smi_in_smm_waits_for_rsm(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, 0xf4, COUNT, RSM);
	smi();
	RUN(0x90);
	assert_int_equal(count(), 1);
	smi();
	smi();
	sys.c->activity = VCPU_RUNNING; /* on from the HLT in the handler */
	go();
	/* RSM, and the one that waited: at its HLT now */
	assert_int_equal(count(), 3);
	assert_true(sys.c->in_smm);
	sys.c->activity = VCPU_RUNNING;
	go();
	assert_int_equal(count(), 4);
	assert_false(sys.c->in_smm);
}

/* 31.8 */
static void an_nmi_in_smm_waits_for_rsm(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, 0xf4, COUNT, RSM);
	smi();
	cpu_request(sys.c, REQ_NMI); /* both at once: the SMI is first */
	RUN(0x90);
	assert_int_equal(count(), 1);
	assert_true(area(0xff78, 8) == SYS_CODE);
	cpu_request(sys.c, REQ_NMI);
	cpu_request(sys.c, REQ_NMI); /* only one is held */
	sys.c->activity = VCPU_RUNNING;
	go();
	assert_int_equal(count(), 2);
	assert_false(sys.c->in_smm);
	assert_true(sys.c->gpr[GPR_RIP] == SYS_HANDLER + EXC_NMI + 1);
	assert_true(sys_frame(0, 8) == SYS_CODE); /* before the next instruction of the program */
	assert_true(sys.c->nmi_masked);
	assert_int_equal(sys.c->nmi_pending, 0);
}

/* 31.8: IRET in SMM enables NMIs; RSM brings back what was before. */
static void iret_in_smm_enables_nmis_until_rsm(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 0);
	c = sys.c;
	/* IVT at 0xd000: vector 2 at 3000:9000; SS:SP 0:0xe000; then IRET to the HLT behind it */
	HANDLER_IS(0x66, 0x0f, 0x01, 0x1e, 0x00, 0xd1, /* lidt [0xd100] */
		   0xbc, 0x00, 0xe0,		       /* mov sp, 0xe000 */
		   0x9c, 0x0e, 0x68, 0x10, 0x80,       /* pushf; push cs; push 0x8010 */
		   0xcf, 0x90, 0xf4, COUNT, RSM);
	sys_poke(0xd100, 8, 0xd00003ff);
	sys_poke(0xd008, 4, 0x30009000);
	sys_poke(0x39000, 1, 0xf4);
	c->nmi_masked = 1; /* the SMI comes in an NMI's handler */
	smi();
	RUN(0x90);
	assert_int_equal(c->gpr[GPR_RIP], 0x8011);
	assert_false(c->nmi_masked);
	cpu_request(c, REQ_NMI);
	go();
	assert_int_equal(c->gpr[GPR_RIP], 0x9001); /* taken in SMM */
	assert_true(c->in_smm);
	c->gpr[GPR_RIP] = 0x8011;
	c->nmi_masked = 0;
	c->activity = VCPU_RUNNING;
	go();
	assert_int_equal(count(), 1);
	assert_false(c->in_smm);
	assert_true(c->nmi_masked);
}

/* 31.10 */
static void auto_halt_restart_says_that_it_halted_and_may_go_on(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, RSM);
	assert_int_equal(RUN(0xf4, 0xff, 0xc0), SYS_HALTED); /* hlt; inc eax */
	sys.c->activity = VCPU_HALTED;
	smi();
	go();
	assert_int_equal(count(), 1);
	assert_int_equal(area(0xfec9, 1), 1);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT); /* halted again, behind the HLT */
	assert_int_equal(sys.c->activity, VCPU_HALTED);
	assert_true(sys.c->gpr[GPR_RIP] == SYS_CODE + 1 && sys.c->gpr[RAX] == 0);

	HANDLER_IS(AREA8(0xc9, 0), COUNT, RSM);
	smi();
	go();
	assert_int_equal(count(), 2);
	assert_true(sys.c->gpr[GPR_RIP] == SYS_CODE + 4 && sys.c->gpr[RAX] == 1);
}

/* 31.12, with the fields of the AMD64 layout */
static void an_smi_from_an_out_can_restart_it(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RAX] = 0x77;
	HANDLER_IS(COUNT, RSM);
	assert_int_equal(RUN(0xe6, 0xb2), SYS_OTHER); /* out 0xb2, al */
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
	smi();
	go();
	assert_int_equal(count(), 1);
	assert_int_equal(area(0xfec0, 4), 0xb2 << 16 | 1 << 4 | 2); /* port, 8 bits, valid, OUT */
	assert_true(area(0xfea0, 8) == SYS_CODE && area(0xff78, 8) == SYS_CODE + 2);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT);

	sys.c->activity = VCPU_RUNNING;
	sys.c->gpr[GPR_RIP] = SYS_CODE;
	HANDLER_IS(AREA8(0xc8, 0xff), COUNT, RSM);
	assert_int_equal(RUN(0xe6, 0xb2), SYS_OTHER);
	smi();
	go();
	assert_int_equal(count(), 2);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO); /* again */
	assert_int_equal(sys.run->pio.port, 0xb2);
	go();
	assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT);
	assert_int_equal(count(), 2);
	/* an SMI that comes later has nothing to do with it */
	smi();
	sys.c->activity = VCPU_RUNNING;
	sys.c->gpr[GPR_RIP] = SYS_CODE + 2;
	RUN(0x90);
	assert_int_equal(count(), 3);
	assert_int_equal(area(0xfec0, 4), 0);
}

/* EIP is 32 bits wide in 16-bit code, too. */
static void the_restart_address_of_16_bit_code_has_32_bits(void **state)
{
	enum { FAR_UP = 0x50000 };

	sys_start(SYS_PROT32, 0);
	sys.c->seg[SEG_CS].attr &= ~(uint32_t)ATTR_DB;
	cpu_mode_changed(sys.c);
	sys.c->gpr[GPR_RIP] = FAR_UP;
	HANDLER_IS(COUNT, RSM);
	assert_int_equal(RUN(0xe6, 0xb2), SYS_OTHER); /* out 0xb2, al */
	smi();
	go();
	assert_int_equal(count(), 1);
	assert_int_equal(area(0xfea0, 8), FAR_UP);
}

static void an_smi_waits_for_the_end_of_an_interrupt_shadow(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, RSM);
	sys.c->shadow = 2;
	smi();
	assert_int_equal(RUN(0xff, 0xc0), SYS_HALTED);
	assert_int_equal(count(), 1);
	assert_true(area(0xff78, 8) == SYS_CODE + 2);
}

/* Table 6-2 and 31.3.1: the SMI goes before a debug trap; the trap is not lost. */
static void a_pending_debug_trap_is_delivered_after_rsm(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, RSM);
	sys.c->dbg.pending = DR6_BS;
	smi();
	assert_int_equal(RUN(0x90), EXC_DB);
	assert_int_equal(count(), 1);
	assert_true(area(0xff78, 8) == SYS_CODE && sys_frame(0, 8) == SYS_CODE);
	assert_true(sys.c->dr[6] & DR6_BS);
}

static void init_in_smm_waits_for_rsm(void **state)
{
	sys_start(SYS_PROT32, 0);
	HANDLER_IS(COUNT, 0xf4, COUNT, RSM);
	smi();
	RUN(0x90);
	cpu_request(sys.c, REQ_INIT);
	sys.c->activity = VCPU_RUNNING;
	sys_poke(0xfffffff0 & 0x1fffff, 1, 0xf4);
	go(); /* after RSM INIT takes it to the reset vector, where there is no memory */
	assert_int_equal(count(), 2);
	assert_false(sys.c->in_smm);
	assert_true(sys.c->seg[SEG_CS].base == 0xffff0000 && sys.c->gpr[GPR_RIP] == 0xfff0);
}

static void an_smi_waits_for_a_startup_ipi(void **state)
{
	sys_start(SYS_REAL, 0);
	HANDLER_IS(COUNT, RSM);
	sys.c->activity = VCPU_WAIT_SIPI;
	smi();
	cpu_request(sys.c, REQ_KICK);
	go();
	assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
	assert_int_equal(count(), 0);
	atomic_store(&sys.c->lapic.sipi_vector, 0x0d);
	sys_poke(0xd000, 1, 0xf4);
	cpu_request(sys.c, REQ_SIPI);
	go();
	assert_int_equal(count(), 1);
	assert_true(sys.c->seg[SEG_CS].base == 0xd000 && sys.c->gpr[GPR_RIP] == 1);
}

static void smis_come_as_messages(void **state)
{
	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, RSM);
	assert_int_equal(lapic_deliver(sys.vm, &(struct engine_msi){ 0xfee00000, 0x200 }), 0);
	RUN(0x90);
	assert_int_equal(count(), 1);
	lapic_page_write(sys.c, 0x300, 0x200 | 1 << 14 | 1 << 18); /* ICR: SMI to itself */
	RUN(0x90);
	assert_int_equal(count(), 2);
}

/* 31.3.2: what RSM finds wrong ends in shutdown. */
static void rsm_of_an_impossible_state_is_a_shutdown(void **state)
{
	static const struct {
		unsigned offset;
		uint64_t value;
	} row[] = {
		{ 0xff58, CR0_PG },			     /* paging without protection */
		{ 0xff58, CR0_PE | CR0_NW },		     /* NW without CD */
		{ 0xff58, 1ull << 32 | CR0_PE },
		{ 0xff48, CR4_PAE | 1ull << 31 },	     /* reserved bits of CR4 */
		{ 0xff48, 1ull << 32 },
		{ 0xff48, 0 },				     /* long mode without PAE */
		{ 0xff50, 1ull << CPU_PHYS_BITS },	     /* CR3 */
		{ 0xfed0, EFER_LMA | EFER_LME | 1 << 1 },    /* EFER */
		{ 0xfed0, EFER_LME },			     /* LMA is not LME and PG */
		{ 0xff78, 1ull << 63 },			     /* RIP */
		{ 0xfe18, 1ull << 60 },			     /* base of CS */
		{ 0xfe10, 0 },				     /* CS that is not present */
		{ 0xfe68, 1ull << 60 },			     /* base of GDTR */
		{ 0xff70, RF_FIXED | RF_VM },		     /* virtual-8086 mode in long mode */
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		sys_start(SYS_LONG, 0);
		HANDLER_IS(0xf4, RSM);
		smi();
		RUN(0x90);
		sys_poke(SMBASE + row[i].offset, 8, row[i].value);
		sys.c->activity = VCPU_RUNNING;
		go();
		assert_int_equal(sys.run->exit, ENGINE_EXIT_SHUTDOWN);
		assert_int_equal(sys.c->activity, VCPU_SHUTDOWN);
	}
	/* 4.4.1: PDPTEs with reserved bits */
	sys_start(SYS_PROT32, 0);
	HANDLER_IS(AREA32(0x158, 0x31, 0x00, 0x00, 0x80), AREA32(0x148, CR4_PAE, 0, 0, 0), AREA32(0x150, 0, 0xd0, 0, 0), RSM);
	sys_poke(0xd000, 8, 0x1ff);
	smi();
	assert_int_equal(RUN(0x90), SYS_SHUTDOWN);
}

/* Something like a state in every field of the save area: some of it is possible. */
static void scribble(void)
{
	static const uint16_t control[] = { 0xfed0, 0xff48, 0xff50, 0xff58, 0xff78 };
	bool wild = rand() % 4 == 0;

	for (unsigned at = 0xfe00; at < 0x10000; at += 8) {
		bool keep = at == 0xff00;

		for (unsigned i = 0; i < sizeof(control) / sizeof(control[0]); i++)
			keep |= at == control[i] && rand() % 8;
		if (!keep && rand() % 3)
			sys_poke(SMBASE + at, 8, (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand());
	}
	for (unsigned at = 0xfe08; at < 0xfea0 && !wild; at += 16)
		sys_poke(SMBASE + at, 8, rand());
	if (!wild)
		sys_poke(SMBASE + 0xfe12, 2, 0x809b | (rand() & 0x4000));
	sys_poke(SMBASE + 0xfe92, 2, rand() & 0xef);
	if (rand() % 2)
		sys_poke(SMBASE + 0xfec0, 8, 0);
}

/* Whatever lies in the save area, RSM ends in a state that can be saved and loaded, or in shutdown. */
static void rsm_of_random_bytes_ends_well(void **state)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));
	struct engine_debug step = { .step = true };
	unsigned resumed = 0;

	for (unsigned i = 0; i < 300; i++) {
		sys_start((enum sys_mode)(i % 4), 0);
		HANDLER_IS(0xf4, RSM);
		smi();
		RUN(0x90);
		scribble();
		sys.c->activity = VCPU_RUNNING;
		sys.c->debug = &step; /* out after one instruction */
		debug_rearm(sys.c);
		go();
		if (sys.run->exit != ENGINE_EXIT_DEBUG) {
			assert_int_equal(sys.run->exit, ENGINE_EXIT_SHUTDOWN);
			continue;
		}
		resumed++;
		assert_false(sys.c->in_smm);
		cpu_get_state(sys.c, s);
		assert_int_equal(cpu_set_state(sys.c, s), 0);
		for (unsigned n = 0; n < 20 && sys.c->activity == VCPU_RUNNING && sys.run->exit == ENGINE_EXIT_DEBUG; n++)
			go();
	}
	assert_in_range(resumed, 20, 290);
	free(s);
}

/* SMBASE where there is no memory: nothing is saved, there is no handler, and the vCPU ends in a known way. */
static void smbase_outside_of_memory_ends_the_run(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->smbase = 0xfffff123;
	smi();
	RUN(0x90);
	assert_true(sys.run->exit == ENGINE_EXIT_INTERNAL || sys.run->exit == ENGINE_EXIT_SHUTDOWN ||
		    sys.run->exit == ENGINE_EXIT_MMIO);
}

static void a_state_taken_in_smm_goes_on(void **state)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	sys_start(SYS_LONG, 0);
	HANDLER_IS(COUNT, 0xf4, COUNT, RSM);
	sys.c->nmi_masked = 1;
	sys.c->dbg.pending = DR6_BS;
	smi();
	RUN(0x90);
	smi();
	cpu_request(sys.c, REQ_INIT);
	cpu_get_state(sys.c, s);
	assert_true(s->in_smm && s->smi_pending && s->smm_nmi_masked && s->init_pending && s->nmi_masked);
	assert_int_equal(s->smm_debug_pending, DR6_BS);
	cpu_reset(sys.c, false);
	s->init_pending = 0;
	s->smi_pending = 0;
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	atomic_fetch_and(&sys.c->req, ~(uint32_t)REQ_INIT);
	sys.c->activity = VCPU_RUNNING;
	go();
	assert_int_equal(count(), 2);
	assert_true(sys.c->gpr[GPR_RIP] == SYS_HANDLER + EXC_DB + 1);
	assert_true(sys.c->nmi_masked);
	/* impossible ones are refused */
	s->in_smm = 2;
	assert_int_not_equal(cpu_set_state(sys.c, s), 0);
	s->in_smm = 1;
	s->smbase = 1ull << 32;
	assert_int_not_equal(cpu_set_state(sys.c, s), 0);
	free(s);
}

/* 6.7.1: one NMI is served, one more waits. */
static void two_nmis_at_once_are_two_and_a_third_is_lost(void **state)
{
	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < 3; i++)
		cpu_request(sys.c, REQ_NMI);
	assert_int_equal(RUN(0x90), EXC_NMI);
	assert_int_equal(sys.c->nmi_pending, 1);
	cpu_request(sys.c, REQ_NMI);
	cpu_request(sys.c, REQ_NMI);
	assert_int_equal(cpu_nmis(sys.c), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) TEST(name)
		TEST(smm_entry_sets_the_registers_of_table_31_4),
		TEST(smm_saves_the_state_in_the_amd64_layout),
		TEST(rsm_goes_back_to_every_mode),
		TEST(rsm_outside_of_smm_is_undefined),
		TEST(smbase_moves_with_rsm),
		TEST(an_smi_in_smm_waits_for_rsm),
		TEST(an_nmi_in_smm_waits_for_rsm),
		TEST(iret_in_smm_enables_nmis_until_rsm),
		TEST(auto_halt_restart_says_that_it_halted_and_may_go_on),
		TEST(the_restart_address_of_16_bit_code_has_32_bits),
		TEST(an_smi_from_an_out_can_restart_it),
		TEST(an_smi_waits_for_the_end_of_an_interrupt_shadow),
		TEST(a_pending_debug_trap_is_delivered_after_rsm),
		TEST(init_in_smm_waits_for_rsm),
		TEST(an_smi_waits_for_a_startup_ipi),
		TEST(smis_come_as_messages),
		TEST(rsm_of_an_impossible_state_is_a_shutdown),
		TEST(rsm_of_random_bytes_ends_well),
		TEST(smbase_outside_of_memory_ends_the_run),
		TEST(a_state_taken_in_smm_goes_on),
		TEST(two_nmis_at_once_are_two_and_a_third_is_lost),
	};

	return cmocka_run_group_tests_name("smm", tests, NULL, NULL);
}
