// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * System management mode (SDM vol. 3, chapter 31 "System Management Mode"): taking an SMI, the state save
 * area, RSM.
 *
 * The save area has the AMD64 layout (AMD64 Architecture Programmer's Manual vol. 2, 10.2.3), revision
 * identifier 0x20064, on this GenuineIntel model too: firmware for virtual machines looks for it, and so
 * does every other engine, so that a machine that is saved inside SMM goes on elsewhere. Two fields come
 * from its later versions: the interrupt shadow, and the I/O restart fields although bit 16 of the
 * identifier is clear; a handler that goes by the identifier leaves those alone.
 *
 *  - An SMI is taken between two instructions, before pending traps, NMIs and interrupts, and not in an
 *    interrupt shadow. One that comes in SMM waits for RSM (31.3.1, 31.3.2); one for a CPU that waits for a startup
 *    IPI waits for that.
 *  - SMM begins with NMIs blocked; an IRET unblocks them (31.8). RSM restores what was before. INIT waits for RSM.
 *  - A debug trap that was pending when the SMI came is delivered after RSM.
 *  - RSM on a state that no processor can be in ends in shutdown (31.3.2); "can be" is what cpu_set_state
 *    checks. What is in the area is the guest's: every bit of it is checked or cut.
 *  - GDTR, LDTR, TR stay as they are. The limit of IDTR becomes 0: what an exception does before the
 *    handler has loaded it is unpredictable (31.6), and so it cannot go through the interrupted system's table.
 *
 * SMRAM is ordinary memory of the board: nothing hides it outside of SMM.
 */
#include "engine/soft/system/system.h"
#include "engine/soft/vcpu/vcpu.h"

#include "host/log.h"

#include <stddef.h>
#include <string.h>

enum { SMM_ENTRY = 0x8000, SMM_REVISION = 0x00020064, REVISION_SMBASE = 1 << 17 };

/* Offsets from SMBASE. A segment: selector (2 bytes), attributes (2), limit (4), base (8). */
enum {
	AREA = 0xfe00, AREA_SIZE = 0x200,
	AREA_ES = 0xfe00, AREA_CS = 0xfe10, AREA_SS = 0xfe20, AREA_DS = 0xfe30, AREA_FS = 0xfe40, AREA_GS = 0xfe50,
	AREA_GDTR = 0xfe60, AREA_LDTR = 0xfe70, AREA_IDTR = 0xfe80, AREA_TR = 0xfe90,
	AREA_IO_RIP = 0xfea0, AREA_IO_RCX = 0xfea8, AREA_IO_RSI = 0xfeb0, AREA_IO_RDI = 0xfeb8, AREA_IO = 0xfec0,
	AREA_IO_RESTART = 0xfec8, AREA_HALT_RESTART = 0xfec9, AREA_NMI_MASK = 0xfeca, AREA_SHADOW = 0xfecb,
	AREA_EFER = 0xfed0, AREA_REVISION = 0xfefc, AREA_SMBASE = 0xff00, AREA_CR4 = 0xff48, AREA_CR3 = 0xff50,
	AREA_CR0 = 0xff58, AREA_DR7 = 0xff60, AREA_DR6 = 0xff68, AREA_RFLAGS = 0xff70, AREA_RIP = 0xff78,
	AREA_R15 = 0xff80, /* down to RAX at FFF8 */
};
/* AREA_IO (AMD64 APM vol. 2, figure 10-3); the port is in bits 16-31 */
enum { IO_IN = 1 << 0, IO_VALID = 1 << 1, IO_STRING = 1 << 2, IO_REP = 1 << 3, IO_SIZE_SHIFT = 4, IO_TF = 1 << 11 };
enum { IO_RESTART = 0xff, HALT_RESTART = 1 };
/* AREA_SHADOW, as KVM fills it; here it is always 0 when it is written */
enum { AREA_SHADOW_SS = 1, AREA_SHADOW_STI = 2 };
enum { SHADOW_STI = 1, SHADOW_SS = 2 };
enum { ATTR_SAVED = 0xf0ff };

static const uint16_t segment_area[SEG_COUNT] = {
	[SEG_ES] = AREA_ES, [SEG_CS] = AREA_CS, [SEG_SS] = AREA_SS,
	[SEG_DS] = AREA_DS, [SEG_FS] = AREA_FS, [SEG_GS] = AREA_GS,
};

struct area {
	uint8_t byte[AREA_SIZE];
};

static void put(struct area *a, unsigned at, unsigned size, uint64_t v)
{
	memcpy(a->byte + (at - AREA), &v, size);
}

static uint64_t get(const struct area *a, unsigned at, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, a->byte + (at - AREA), size);
	return v;
}

/* A null segment is one that is not present. */
static void put_segment(struct area *a, unsigned at, const struct vcpu_segment *s)
{
	uint32_t attr = s->attr & ATTR_SAVED;

	if (s->attr & ATTR_NULL)
		attr &= ~(uint32_t)ATTR_P;
	put(a, at, 2, s->selector);
	put(a, at + 2, 2, attr);
	put(a, at + 4, 4, s->limit);
	put(a, at + 8, 8, s->base);
}

static struct vcpu_segment get_segment(const struct area *a, unsigned at)
{
	struct vcpu_segment s = {
		.selector = (uint16_t)get(a, at, 2),
		.attr = (uint32_t)get(a, at + 2, 2) & ATTR_SAVED,
		.limit = (uint32_t)get(a, at + 4, 4),
		.base = get(a, at + 8, 8),
	};

	if (!(s.attr & ATTR_P))
		s.attr |= ATTR_NULL;
	return s;
}

static void put_table(struct area *a, unsigned at, const struct vcpu_table *t)
{
	put(a, at + 4, 2, t->limit);
	put(a, at + 8, 8, t->base);
}

static struct vcpu_table get_table(const struct area *a, unsigned at)
{
	return (struct vcpu_table){ .limit = (uint16_t)get(a, at + 4, 2), .base = get(a, at + 8, 8) };
}

/* SMBASE has 32 bits, and so have the addresses that are made of it. */
static uint64_t area_gpa(const struct cpu *c)
{
	return (uint32_t)(c->smbase + AREA);
}

/* --- the last I/O instruction --- */

void smm_note_io(struct cpu *c, uint16_t port, unsigned size, bool in)
{
	struct cpu_smm *m = &c->smm;
	uint64_t rip = c->gpr[GPR_RIP] - c->cur->len;

	if (c->mode != INSN_MODE64)
		rip = (uint32_t)rip;
	m->io_rip = rip;
	m->io_rcx = c->gpr[RCX];
	m->io_rsi = c->gpr[RSI];
	m->io_rdi = c->gpr[RDI];
	m->io = IO_VALID | (in ? IO_IN : 0) | size << IO_SIZE_SHIFT | (uint32_t)port << 16;
	if (c->cur->id == INSN_ID_INS || c->cur->id == INSN_ID_OUTS)
		m->io |= IO_STRING;
	if (c->cur->flags & (INSN_REP | INSN_REPNE))
		m->io |= IO_REP;
	if (c->sysflags & RF_TF)
		m->io |= IO_TF;
	m->io_at = c->insn_count + 1; /* what insn_count is when it has completed */
}

static void save_io(const struct cpu *c, struct area *a)
{
	const struct cpu_smm *m = &c->smm;

	if (!m->io_at || m->io_at != c->insn_count)
		return;
	put(a, AREA_IO_RIP, 8, m->io_rip);
	put(a, AREA_IO_RCX, 8, m->io_rcx);
	put(a, AREA_IO_RSI, 8, m->io_rsi);
	put(a, AREA_IO_RDI, 8, m->io_rdi);
	put(a, AREA_IO, 4, m->io);
}

/* --- SMI --- */

static void save(const struct cpu *c, struct area *a)
{
	memset(a, 0, sizeof(*a));
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put_segment(a, segment_area[i], &c->seg[i]);
	put_segment(a, AREA_LDTR, &c->ldt);
	put_segment(a, AREA_TR, &c->tr);
	put_table(a, AREA_GDTR, &c->gdt);
	put_table(a, AREA_IDTR, &c->idt);
	save_io(c, a);
	put(a, AREA_HALT_RESTART, 1, c->activity == VCPU_HALTED ? HALT_RESTART : 0);
	put(a, AREA_NMI_MASK, 1, c->nmi_masked);
	put(a, AREA_EFER, 8, c->efer);
	put(a, AREA_REVISION, 4, SMM_REVISION);
	put(a, AREA_SMBASE, 4, c->smbase);
	put(a, AREA_CR4, 8, c->cr4);
	put(a, AREA_CR3, 8, c->cr3);
	put(a, AREA_CR0, 8, c->cr0);
	put(a, AREA_DR7, 8, c->dr[7]);
	put(a, AREA_DR6, 8, c->dr[6]);
	put(a, AREA_RFLAGS, 8, cpu_rflags(c));
	put(a, AREA_RIP, 8, c->gpr[GPR_RIP]);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		put(a, AREA_R15 + (GPR_COUNT - 1 - i) * 8, 8, c->gpr[i]);
}

/* Table 31-4. Registers that it leaves undefined keep their values. */
static void enter(struct cpu *c)
{
	struct vcpu_segment flat = { .limit = 0xffffffff, .attr = ATTR_P | ATTR_S | ATTR_G | TYPE_W | TYPE_A };

	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = flat;
	c->seg[SEG_CS].attr |= TYPE_CODE;
	c->seg[SEG_CS].base = c->smbase;
	c->seg[SEG_CS].selector = (uint16_t)(c->smbase >> 4);
	c->idt = (struct vcpu_table){ 0 };
	c->gpr[GPR_RIP] = SMM_ENTRY;
	c->flags = 0;
	c->sysflags = RF_FIXED;
	c->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
	c->cr4 = c->efer = 0;
	c->dr[7] = DR7_FIXED;
	c->cpl = 0;
}

bool smm_wanted(const struct cpu *c)
{
	return c->smi_pending && !c->in_smm && !c->shadow && c->activity <= VCPU_HALTED;
}

static void state_changed(struct cpu *c)
{
	mmu_flush_all(c);
	cpu_mode_changed(c);
	debug_rearm(c);
	c->attn = c->brk = 1;
}

void smm_enter(struct cpu *c)
{
	struct area a;

	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "cpu%u SMI at rip %016llx, SMBASE %08llx", c->index,
		      (unsigned long long)c->gpr[GPR_RIP], (unsigned long long)c->smbase);
	save(c, &a);
	/* Where there is no memory the state is lost, as on a bus that nothing answers. */
	ram_write(c->vm->ram, area_gpa(c), &a, sizeof(a));
	c->smi_pending = 0;
	c->in_smm = 1;
	c->smm.nmi_was_masked = c->nmi_masked;
	c->nmi_masked = 1;
	c->smm.debug_held = c->dbg.pending;
	c->dbg.pending = 0;
	c->activity = VCPU_RUNNING;
	c->halt_told = 0;
	enter(c);
	state_changed(c);
}

/* --- RSM --- */

/* The registers of the area on top of those that SMM leaves alone, as a state that can be checked. */
static void load(const struct cpu *c, const struct area *a, struct vcpu_state *s)
{
	const uint64_t flags = FL_ALL | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_VM | RF_AC | RF_VIF | RF_VIP | RF_ID;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = get_segment(a, segment_area[i]);
	s->ldt = get_segment(a, AREA_LDTR);
	s->tr = get_segment(a, AREA_TR);
	s->gdt = get_table(a, AREA_GDTR);
	s->idt = get_table(a, AREA_IDTR);
	s->efer = get(a, AREA_EFER, 8);
	s->cr0 = get(a, AREA_CR0, 8) | CR0_ET;
	s->cr3 = get(a, AREA_CR3, 8);
	s->cr4 = get(a, AREA_CR4, 8);
	s->dr[6] = (get(a, AREA_DR6, 8) & DR6_WRITABLE) | DR6_FIXED;
	s->dr[7] = (get(a, AREA_DR7, 8) & DR7_WRITABLE) | DR7_FIXED;
	s->rflags = (get(a, AREA_RFLAGS, 8) & flags) | RF_FIXED;
	s->rip = get(a, AREA_RIP, 8);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		s->gpr[i] = get(a, AREA_R15 + (GPR_COUNT - 1 - i) * 8, 8);
	s->xcr0 = c->xcr0;
	s->smbase = get(a, AREA_REVISION, 4) & REVISION_SMBASE ? get(a, AREA_SMBASE, 4) : c->smbase;
	s->activity = get(a, AREA_HALT_RESTART, 1) & HALT_RESTART ? VCPU_HALTED : VCPU_RUNNING;
	if (get(a, AREA_SHADOW, 1) & AREA_SHADOW_SS)
		s->shadow = SHADOW_SS;
	else if (get(a, AREA_SHADOW, 1) & AREA_SHADOW_STI)
		s->shadow = SHADOW_STI;
	if ((get(a, AREA_IO, 4) & IO_VALID) && get(a, AREA_IO_RESTART, 1) == IO_RESTART) {
		s->rip = get(a, AREA_IO_RIP, 8);
		s->gpr[RCX] = get(a, AREA_IO_RCX, 8);
		s->gpr[RSI] = get(a, AREA_IO_RSI, 8);
		s->gpr[RDI] = get(a, AREA_IO_RDI, 8);
	}
}

static bool pae_paging(const struct vcpu_state *s)
{
	return (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA);
}

static void resume(struct cpu *c, const struct vcpu_state *s)
{
	memcpy(c->gpr, s->gpr, sizeof(s->gpr));
	memcpy(c->seg, s->seg, sizeof(c->seg));
	c->gpr[GPR_RIP] = s->rip;
	c->ldt = s->ldt;
	c->tr = s->tr;
	c->gdt = s->gdt;
	c->idt = s->idt;
	c->efer = s->efer;
	c->cr0 = s->cr0;
	c->cr3 = s->cr3;
	c->cr4 = s->cr4;
	memcpy(c->pdpte, s->pdpte, sizeof(c->pdpte));
	c->dr[6] = s->dr[6];
	c->dr[7] = s->dr[7];
	cpu_set_rflags(c, s->rflags);
	c->smbase = s->smbase;
	c->activity = s->activity;
	c->shadow = s->shadow;
	c->cpl = (uint8_t)cpu_state_cpl(s);
	c->in_smm = 0;
	c->nmi_masked = c->smm.nmi_was_masked;
	c->smm.nmi_was_masked = 0;
	c->dbg.pending |= c->smm.debug_held;
	c->smm.debug_held = 0;
	if (c->smm.init_held)
		cpu_request(c, REQ_INIT);
	c->smm.init_held = 0;
}

static _Noreturn void shut_down(struct cpu *c)
{
	c->activity = VCPU_SHUTDOWN;
	c->run->shutdown.triple_fault = 0;
	c->run->shutdown.vector = 0;
	cpu_leave(c, ENGINE_EXIT_SHUTDOWN);
}

static void rsm(struct cpu *c, const struct insn *in)
{
	struct vcpu_state s;
	struct area a;

	if (!c->in_smm)
		cpu_raise(c, EXC_UD);
	if (ram_read(c->vm->ram, area_gpa(c), &a, sizeof(a)))
		memset(&a, 0xff, sizeof(a));
	load(c, &a, &s);
	if (pae_paging(&s))
		mmu_pdptes_read(c, s.cr3, s.pdpte);
	if (!cpu_state_possible(c, &s))
		shut_down(c);
	resume(c, &s);
	state_changed(c);
	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "cpu%u RSM to rip %016llx", c->index, (unsigned long long)c->gpr[GPR_RIP]);
}

insn_fn *bind_smm(struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_RSM ? rsm : NULL;
}
