// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A case under engine soft: a VM of 1 MiB whose page tables map the tester's pages at the linear
 * addresses that they have on the host, one vCPU at CPL 3, and an IDT of length 0, so that each
 * event comes out as an exception that cpu.exc_hook sees. INT3 behind the instruction ends a case, as on the
 * host: with that IDT it raises #GP(3 * 8 + 2), which is turned back here.
 */
#include "difftest.h"

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/soft.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* Guest-physical addresses */
enum {
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT = 0x4000, /* PT: up to three */
	PDPT_HIGH = 0x8000, PD_HIGH = 0x9000, PT_HIGH = 0xa000, GDT_GPA = 0xb000, LDT_GPA = 0xc000,
	CODE_GPA = 0x10000, DATA_GPA = 0x20000, TOP_GPA = 0x23000, LOW_GPA = 0x24000, RAM_SIZE = 1 << 20,
};
#define PTE_NX (1ull << 63)
#define GDT_LINEAR 0xffffc90000000000ull /* supervisor pages, as on the host */
#define LDT_LINEAR (GDT_LINEAR + DT_PAGE)
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40 };

static struct ram *ram;
static struct soft_vm *vm;
static struct cpu *cpu;
static struct run_page *run;
static struct vcpu_state base_state;
static unsigned tables;
static volatile sig_atomic_t ticks;

static struct {
	bool seen;
	unsigned vector;
	uint32_t error;
} event;

static bool on_exception(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
	(void)c;
	event.seen = true;
	event.vector = vector;
	event.error = has_error ? error : 0;
	return true;
}

static volatile uint64_t under_way; /* index of the case */

/* The engine itself crashed: the most useful thing is which case it was. */
static void on_crash(int sig)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "difftest: engine soft crashed (signal %d) in case --index %llu\n", sig,
			 (unsigned long long)under_way);

	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(5);
	_exit(1);
}

/* Once a second; a case that lasts over three of them is stuck. */
static void on_alarm(int sig)
{
	(void)sig;
	if (++ticks > 3 && run) {
		atomic_store(&run->immediate_exit, 1);
		cpu_request(cpu, REQ_KICK);
	}
}

static void put64(uint64_t gpa, uint64_t v)
{
	ram_write(ram, gpa, &v, 8);
}

static void map_pages(uint64_t la, uint64_t gpa, unsigned pages, uint64_t bits)
{
	uint64_t pt, pde;

	ram_read(ram, PD + (la >> 21) * 8, &pde, 8);
	pt = pde & ~0xfffull;
	if (!pt) {
		pt = PT + tables++ * DT_PAGE;
		put64(PD + (la >> 21) * 8, pt | PTE_P | PTE_W | PTE_U | PTE_A);
	}
	for (unsigned i = 0; i < pages; i++)
		put64(pt + ((la >> 12 & 511) + i) * 8, (gpa + i * DT_PAGE) | PTE_P | PTE_U | PTE_A | PTE_D | bits);
}

/* The descriptors of Linux's GDT (asm/segment.h) that user code can name or see; of 16 entries. */
static void make_gdt(void)
{
	static const uint64_t gdt[16] = {
		[1] = 0x00cf9b000000ffff, [2] = 0x00af9b000000ffff, [3] = 0x00cf93000000ffff,
		[4] = 0x00cffb000000ffff, [5] = 0x00cff3000000ffff, [6] = 0x00affb000000ffff,
		[8] = 0x00008b0000000067,
	};

	put64(PML4 + (GDT_LINEAR >> 39 & 511) * 8, PDPT_HIGH | PTE_P | PTE_W | PTE_A);
	put64(PDPT_HIGH + (GDT_LINEAR >> 30 & 511) * 8, PD_HIGH | PTE_P | PTE_W | PTE_A);
	put64(PD_HIGH + (GDT_LINEAR >> 21 & 511) * 8, PT_HIGH | PTE_P | PTE_W | PTE_A);
	put64(PT_HIGH + (GDT_LINEAR >> 12 & 511) * 8, GDT_GPA | PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX);
	put64(PT_HIGH + (LDT_LINEAR >> 12 & 511) * 8, LDT_GPA | PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX);
	ram_write(ram, GDT_GPA, gdt, sizeof(gdt));
	ram_write(ram, LDT_GPA, dt_ldt, sizeof(dt_ldt));
}

static void fill_memory(bool low)
{
	ram_fill(ram, 0, 0, RAM_SIZE);
	put64(PML4, PDPT | PTE_P | PTE_W | PTE_U | PTE_A);
	put64(PDPT, PD | PTE_P | PTE_W | PTE_U | PTE_A);
	make_gdt();
	map_pages(DT_CODE, CODE_GPA, DT_CODE_PAGES, 0);
	map_pages(DT_CODE_TOP, CODE_GPA + DT_CODE_PAGES * DT_PAGE, 1, 0);
	map_pages(DT_DATA, DATA_GPA, 2, PTE_W | PTE_NX);
	map_pages(DT_TOP, TOP_GPA, 1, PTE_W | PTE_NX);
	map_pages(DT_RO, DATA_GPA + 2 * DT_PAGE, 1, PTE_NX);
	if (low)
		map_pages(DT_LOW, LOW_GPA, DT_LOW_PAGES, PTE_W | PTE_NX);
	ram_fill(ram, CODE_GPA, 0xcc, (DT_CODE_PAGES + 1) * DT_PAGE);
	ram_write(ram, DATA_GPA, dt_pristine, 2 * DT_PAGE);
	ram_write(ram, TOP_GPA, dt_pristine + DT_AT_TOP, DT_PAGE);
	ram_write(ram, LOW_GPA, dt_pristine + DT_AT_LOW, DT_LOW_PAGES * DT_PAGE);
	ram_write(ram, DATA_GPA + 2 * DT_PAGE, dt_pristine + DT_MEM, DT_PAGE);
}

static struct vcpu_segment segment(uint16_t selector, uint32_t attr)
{
	return (struct vcpu_segment){ .limit = 0xffffffff, .selector = selector,
				      .attr = attr | ATTR_S | ATTR_DPL | ATTR_P | ATTR_G };
}

int soft_init(bool low)
{
	struct ram_slot slot = { .gpa = 0, .size = RAM_SIZE };
	struct itimerval it = { .it_interval = { 1, 0 }, .it_value = { 1, 0 } };
	struct vm_clock clock;
	struct run_page *runs[1];
	struct error err = { 0 };
	int r;

	run = calloc(1, sizeof(*run));
	if (!run)
		return -ENOMEM;
	r = ram_create(RAM_SIZE, NULL, &ram, &err);
	if (r)
		return r;
	r = ram_set_slot(ram, 0, &slot);
	if (r)
		return r;
	fill_memory(low);
	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	runs[0] = run;
	r = soft_vm_create(ram, cpu_model_find(NULL), 1, &clock, runs, &vm);
	if (r)
		return r;
	cpu = vm->cpu[0];
	cpu->exc_hook = on_exception;
	cpu_get_state(cpu, &base_state);
	base_state.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	base_state.cr3 = PML4;
	base_state.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
	base_state.efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	base_state.xcr0 = 7;
	base_state.rip = DT_CODE;
	base_state.rflags = RF_FIXED | RF_IF;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		base_state.seg[i] = segment(DT_DATA_SEL, 3 | ATTR_DB);
	base_state.idt = (struct vcpu_table){ 0 };
	base_state.ldt = (struct vcpu_segment){ .base = LDT_LINEAR, .limit = sizeof(dt_ldt) - 1, .selector = 0x50, .attr = ATTR_P | 2 };
	base_state.gdt = (struct vcpu_table){ .base = GDT_LINEAR, .limit = 16 * 8 - 1 };
	base_state.seg[SEG_CS] = segment(DT_CODE64_SEL, 0xb | ATTR_L);
	base_state.activity = VCPU_RUNNING;
	signal(SIGALRM, on_alarm);
	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGILL, on_crash);
	setitimer(ITIMER_REAL, &it, NULL);
	return cpu_set_state(cpu, &base_state);
}

static void load_state(const struct dt_case *c)
{
	const struct dt_state *s = &c->in;
	struct cpu_xsave *x = &cpu->x;

	memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
	cpu->gpr[GPR_RIP] = s->rip;
	cpu_set_rflags(cpu, s->rflags);
	memcpy(cpu->seg, c->seg, sizeof(cpu->seg));
	cpu->cpl = 3;
	x->fcw = s->fcw;
	x->fsw = s->fsw;
	x->ftw = s->ftw;
	x->fip = x->fdp = x->fop = 0;
	x->mxcsr = s->mxcsr;
	memcpy(x->st, s->st, sizeof(x->st));
	memcpy(x->xmm, s->xmm, sizeof(x->xmm));
	memcpy(x->ymm_hi, s->ymm_hi, sizeof(x->ymm_hi));
	cpu_mode_changed(cpu);
}

static void save_state(struct dt_state *s)
{
	const struct cpu_xsave *x = &cpu->x;

	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->rip = cpu->gpr[GPR_RIP];
	s->rflags = cpu_rflags(cpu);
	s->fs_base = cpu->seg[SEG_FS].base;
	s->gs_base = cpu->seg[SEG_GS].base;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->sel[i] = cpu->seg[i].selector;
	s->fcw = x->fcw;
	s->fsw = x->fsw;
	s->ftw = x->ftw;
	s->mxcsr = x->mxcsr;
	memcpy(s->st, x->st, sizeof(s->st));
	memcpy(s->xmm, x->xmm, sizeof(s->xmm));
	memcpy(s->ymm_hi, x->ymm_hi, sizeof(s->ymm_hi));
}

/* With an IDT of length 0, the delivery of a software event raises #GP(vector * 8 + 2). */
static void finish(const struct dt_case *c, struct dt_result *r)
{
	r->vector = event.vector;
	r->error = event.error;
	if (event.vector == EXC_GP && (event.error & 7) == 2) {
		r->vector = event.error >> 3;
		r->error = 0;
		if (r->vector == EXC_BP)
			r->out.rip++; /* a trap: the host tells the address behind it */
		else if (r->vector == EXC_OF)
			r->out.rip += c->len; /* the same */
	}
	r->cr2 = r->vector == EXC_PF ? cpu->cr2 : 0;
}

void soft_run(const struct dt_case *c, struct dt_result *r)
{
	unsigned n = c->avail < c->len ? c->avail : c->len;
	struct dt_memory memory = { ram->host + DATA_GPA, ram->host + TOP_GPA, ram->host + LOW_GPA };
	uint64_t gpa = CODE_GPA + dt_code_at(c->code);
	uint8_t fill[DT_BYTES];

	ticks = 0;
	under_way = c->index;
	atomic_store(&run->immediate_exit, 0);
	ram_write(ram, gpa, c->bytes, n);
	dt_memory_poke(&memory, c);
	load_state(c);
	event.seen = false;
	cpu_run(cpu);
	save_state(&r->out);
	if (event.seen) {
		finish(c, r);
	} else {
		r->vector = run->exit == ENGINE_EXIT_KICK ? DT_STUCK : DT_OTHER;
		r->error = run->exit;
		cpu_set_state(cpu, &base_state);
	}
	dt_memory_diff(&memory, r);
	memset(fill, 0xcc, sizeof(fill));
	ram_write(ram, gpa, fill, n);
}
