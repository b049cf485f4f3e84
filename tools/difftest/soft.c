// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A case under engine soft: a VM of 1 MiB whose page tables map the tester's pages at the linear
 * addresses that they have on the host, one vCPU at CPL 3, and an IDT of length 0, so that each
 * event comes out as an exception that cpu.exc_hook sees. INT3 behind the instruction ends a case, as on the
 * host: with that IDT it raises #GP(3 * 8 + 2), which is turned back here.
 *
 * Each tier has a VM of its own, so that neither finds what the other has left in TLB and caches. The translator's
 * translates what it has not run yet.
 */
#include "gen.h"

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

struct side {
	struct ram *ram;
	struct soft_vm *vm;
	struct cpu *cpu;
	struct run_page *run;
	struct vcpu_state base_state;
	struct dt_code code;
	unsigned tables;
	bool dead_flags;
};
enum { EXACT = DT_TIERS, SIDES }; /* the translator with flags=exact, for soft_excuse */
static struct side side[SIDES];
static struct side *volatile running;
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
	struct side *v = running;

	(void)sig;
	if (++ticks > 3 && v) {
		atomic_store(&v->run->immediate_exit, 1);
		cpu_request(v->cpu, REQ_KICK);
	}
}

static void put64(struct side *v, uint64_t gpa, uint64_t value)
{
	ram_write(v->ram, gpa, &value, 8);
}

static void map_pages(struct side *v, uint64_t la, uint64_t gpa, unsigned pages, uint64_t bits)
{
	uint64_t pt, pde;

	ram_read(v->ram, PD + (la >> 21) * 8, &pde, 8);
	pt = pde & ~0xfffull;
	if (!pt) {
		pt = PT + v->tables++ * DT_PAGE;
		put64(v, PD + (la >> 21) * 8, pt | PTE_P | PTE_W | PTE_U | PTE_A);
	}
	for (unsigned i = 0; i < pages; i++)
		put64(v, pt + ((la >> 12 & 511) + i) * 8, (gpa + i * DT_PAGE) | PTE_P | PTE_U | PTE_A | PTE_D | bits);
}

/* The descriptors of Linux's GDT (asm/segment.h) that user code can name or see; of 16 entries. */
static void make_gdt(struct side *v)
{
	static const uint64_t gdt[16] = {
		[1] = 0x00cf9b000000ffff, [2] = 0x00af9b000000ffff, [3] = 0x00cf93000000ffff,
		[4] = 0x00cffb000000ffff, [5] = 0x00cff3000000ffff, [6] = 0x00affb000000ffff,
		[8] = 0x00008b0000000067,
	};

	put64(v, PML4 + (GDT_LINEAR >> 39 & 511) * 8, PDPT_HIGH | PTE_P | PTE_W | PTE_A);
	put64(v, PDPT_HIGH + (GDT_LINEAR >> 30 & 511) * 8, PD_HIGH | PTE_P | PTE_W | PTE_A);
	put64(v, PD_HIGH + (GDT_LINEAR >> 21 & 511) * 8, PT_HIGH | PTE_P | PTE_W | PTE_A);
	put64(v, PT_HIGH + (GDT_LINEAR >> 12 & 511) * 8, GDT_GPA | PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX);
	put64(v, PT_HIGH + (LDT_LINEAR >> 12 & 511) * 8, LDT_GPA | PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX);
	ram_write(v->ram, GDT_GPA, gdt, sizeof(gdt));
	ram_write(v->ram, LDT_GPA, dt_ldt, sizeof(dt_ldt));
}

static void fill_memory(struct side *v, bool low)
{
	ram_fill(v->ram, 0, 0, RAM_SIZE);
	put64(v, PML4, PDPT | PTE_P | PTE_W | PTE_U | PTE_A);
	put64(v, PDPT, PD | PTE_P | PTE_W | PTE_U | PTE_A);
	make_gdt(v);
	map_pages(v, DT_CODE, CODE_GPA, DT_CODE_PAGES, 0);
	map_pages(v, DT_CODE_TOP, CODE_GPA + DT_CODE_PAGES * DT_PAGE, 1, 0);
	map_pages(v, DT_DATA, DATA_GPA, 2, PTE_W | PTE_NX);
	map_pages(v, DT_TOP, TOP_GPA, 1, PTE_W | PTE_NX);
	map_pages(v, DT_RO, DATA_GPA + 2 * DT_PAGE, 1, PTE_NX);
	map_pages(v, DT_CODE + DT_ALIAS, CODE_GPA, DT_CODE_PAGES, PTE_W);
	map_pages(v, DT_DATA + DT_ALIAS, DATA_GPA, 2, PTE_W | PTE_NX);
	map_pages(v, DT_RO + DT_ALIAS, DATA_GPA + 2 * DT_PAGE, 1, PTE_NX);
	if (low)
		map_pages(v, DT_LOW, LOW_GPA, DT_LOW_PAGES, PTE_W | PTE_NX);
	ram_fill(v->ram, CODE_GPA, 0xcc, (DT_CODE_PAGES + 1) * DT_PAGE);
	ram_write(v->ram, DATA_GPA, dt_pristine, 2 * DT_PAGE);
	ram_write(v->ram, TOP_GPA, dt_pristine + DT_AT_TOP, DT_PAGE);
	ram_write(v->ram, LOW_GPA, dt_pristine + DT_AT_LOW, DT_LOW_PAGES * DT_PAGE);
	ram_write(v->ram, DATA_GPA + 2 * DT_PAGE, dt_pristine + DT_MEM, DT_PAGE);
}

static struct vcpu_segment segment(uint16_t selector, uint32_t attr)
{
	return (struct vcpu_segment){ .limit = 0xffffffff, .selector = selector,
				      .attr = attr | ATTR_S | ATTR_DPL | ATTR_P | ATTR_G };
}

static void first_state(struct vcpu_state *s)
{
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
	s->efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	s->xcr0 = cpu_model_xcr0(&dt_model) & ~(uint64_t)XCR0_PKRU;
	s->rip = DT_CODE;
	s->rflags = RF_FIXED | RF_IF;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment(DT_DATA_SEL, 3 | ATTR_DB);
	s->idt = (struct vcpu_table){ 0 };
	s->ldt = (struct vcpu_segment){ .base = LDT_LINEAR, .limit = sizeof(dt_ldt) - 1, .selector = 0x50, .attr = ATTR_P | 2 };
	/* Without an I/O permission bitmap: ports are not the program's, as on the host, if one goes astray into an IN. */
	s->tr = (struct vcpu_segment){ .limit = 0x65, .selector = 0x60, .attr = ATTR_P | 0xb };
	s->gdt = (struct vcpu_table){ .base = GDT_LINEAR, .limit = 16 * 8 - 1 };
	s->seg[SEG_CS] = segment(DT_CODE64_SEL, 0xb | ATTR_L);
	s->activity = VCPU_RUNNING;
}

static int side_init(struct side *v, bool low, const struct soft_tuning *tuning)
{
	struct ram_slot slot = { .gpa = 0, .size = RAM_SIZE };
	struct vm_clock clock;
	struct run_page *runs[1];
	struct error err = { 0 };
	int r;

	v->run = calloc(1, sizeof(*v->run));
	if (!v->run)
		return -ENOMEM;
	r = ram_create(RAM_SIZE, NULL, &v->ram, &err);
	if (!r)
		r = ram_set_slot(v->ram, 0, &slot);
	if (r)
		return r;
	dt_code_init(&v->code);
	fill_memory(v, low);
	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	runs[0] = v->run;
	r = soft_vm_create(v->ram, &dt_model, 1, &clock, runs, &v->vm);
	if (!r && !tuning->interp_only)
		r = soft_vm_translate(v->vm, tuning);
	if (r)
		return r;
	v->dead_flags = !tuning->interp_only && !tuning->exact_flags;
	v->cpu = v->vm->cpu[0];
	v->cpu->exc_hook = on_exception;
	cpu_get_state(v->cpu, &v->base_state);
	first_state(&v->base_state);
	return cpu_set_state(v->cpu, &v->base_state);
}

int soft_init(bool low, const struct soft_tuning *tuning)
{
	struct itimerval it = { .it_interval = { 1, 0 }, .it_value = { 1, 0 } };
	struct soft_tuning interp = { .interp_only = true };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct soft_tuning exact = *tuning;
	int r;

	exact.exact_flags = true;
	dt_model_default();
	/* Before the translator's handlers, which pass on what is not theirs. */
	sigaction(SIGALRM, &sa, NULL);
	sa.sa_handler = on_crash;
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	r = side_init(&side[DT_INTERP], low, &interp);
	if (!r)
		r = side_init(&side[DT_TRANSLATE], low, tuning);
	if (!r)
		r = side_init(&side[EXACT], low, &exact);
	setitimer(ITIMER_REAL, &it, NULL);
	return r;
}

static void load_state(struct cpu *cpu, const struct dt_case *c)
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
	memcpy(cpu->z.k, s->k, sizeof(s->k));
	memcpy(cpu->z.zmm_hi, s->zmm_hi, sizeof(s->zmm_hi));
	memcpy(cpu->z.hi16, s->hi16, sizeof(s->hi16));
	cpu_mode_changed(cpu);
}

static void save_state(const struct cpu *cpu, struct dt_state *s)
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
	s->fop = x->fop;
	s->fip = x->fip;
	s->fdp = x->fdp;
	s->mxcsr = x->mxcsr;
	memcpy(s->st, x->st, sizeof(s->st));
	memcpy(s->xmm, x->xmm, sizeof(s->xmm));
	memcpy(s->ymm_hi, x->ymm_hi, sizeof(s->ymm_hi));
	memcpy(s->k, cpu->z.k, sizeof(s->k));
	memcpy(s->zmm_hi, cpu->z.zmm_hi, sizeof(s->zmm_hi));
	memcpy(s->hi16, cpu->z.hi16, sizeof(s->hi16));
}

/* The length of the instruction at RIP, which in a program may be another than those that were made; 0: there is none. */
static unsigned length_at_rip(struct cpu *cpu)
{
	uint8_t bytes[INSN_BYTES_MAX];
	unsigned n = 0;
	struct insn in;
	int len;

	for (; n < sizeof(bytes); n++) {
		uint64_t linear = cpu->segbase[SEG_CS] + cpu->gpr[GPR_RIP] + n, gpa;

		if (mmu_translate(cpu, cpu->mode == INSN_MODE64 ? linear : (uint32_t)linear, &gpa))
			break;
		bytes[n] = cpu->ram_host[gpa];
	}
	len = insn_decode(bytes, n, cpu->mode, &in);
	return len > 0 ? (unsigned)len : 0;
}

/* With an IDT of length 0, the delivery of a software event raises #GP(vector * 8 + 2). */
static void finish(struct cpu *cpu, const struct dt_case *c, struct dt_result *r)
{
	r->vector = event.vector;
	r->error = event.error;
	if (event.vector == EXC_GP && (event.error & 7) == 2) {
		r->vector = event.error >> 3;
		r->error = 0;
		/* Traps: the host tells the address behind them. In a program they may have prefixes. */
		if (r->vector == EXC_BP || r->vector == EXC_OF)
			r->out.rip += !c->program && c->count == 1 ? (r->vector == EXC_BP ? 1 : c->len) : length_at_rip(cpu);
	}
	r->cr2 = r->vector == EXC_PF ? cpu->cr2 : 0;
}

static struct dt_memory memory_of(const struct side *v)
{
	return (struct dt_memory){ v->ram->host + DATA_GPA, v->ram->host + TOP_GPA, v->ram->host + LOW_GPA };
}

static void put_code(struct side *v, struct dt_range r)
{
	ram_write(v->ram, CODE_GPA + r.from, v->code.image + r.from, r.to - r.from);
}

/* Everything as it is before @c. */
static void prepare(struct side *v, const struct dt_case *c)
{
	struct dt_memory memory = memory_of(v);
	struct dt_range r[2];
	unsigned n = dt_code_place(&v->code, c, r);

	for (unsigned i = 0; i < n; i++)
		put_code(v, r[i]);
	dt_memory_poke(&memory, c);
	load_state(v->cpu, c);
	ticks = 0;
	under_way = c->index;
	running = v;
	atomic_store(&v->run->immediate_exit, 0);
	event.seen = false;
}

/* What a case has changed is put back. */
static void restore(struct side *v, const struct dt_case *c, struct dt_result *r)
{
	struct dt_memory memory = memory_of(v);
	struct dt_range where;

	running = NULL;
	dt_memory_diff(&memory, r);
	r->code_hash = c->program ? dt_code_changed(&v->code, v->ram->host + CODE_GPA, &where) : 0;
	if (r->code_hash)
		put_code(v, where);
	if (!event.seen)
		cpu_set_state(v->cpu, &v->base_state);
}

static void run_side(struct side *v, const struct dt_case *c, struct dt_result *r)
{
	prepare(v, c);
	cpu_run(v->cpu);
	save_state(v->cpu, &r->out);
	r->dead_flags = v->dead_flags;
	if (event.seen) {
		finish(v->cpu, c, r);
	} else {
		r->vector = v->run->exit == ENGINE_EXIT_KICK ? DT_STUCK : DT_OTHER;
		r->error = v->run->exit;
		r->cr2 = 0;
	}
	restore(v, c, r);
}

void soft_run(const struct dt_case *c, enum dt_tier tier, struct dt_result *r)
{
	run_side(&side[tier], c, r);
}

uint64_t soft_instructions(void)
{
	return side[DT_INTERP].cpu->insn_count;
}

/* Writes the code anew, as for a new case: what was decoded or translated of it is out of date. */
void soft_forget(enum dt_tier tier)
{
	struct side *v = &side[tier];

	put_code(v, (struct dt_range){ 0, DT_CODE_SIZE });
	mmu_flush_all(v->cpu);
}

/* --- a program, one instruction after another --- */

static uint64_t physical_of(uint64_t la)
{
	uint32_t at;

	if (la - DT_CODE < DT_CODE_PAGES * DT_PAGE || la - (DT_CODE + DT_ALIAS) < DT_CODE_PAGES * DT_PAGE ||
	    la - DT_CODE_TOP < DT_PAGE)
		return CODE_GPA + dt_code_at(la);
	if (dt_first_mapping(la) - DT_RO < DT_PAGE)
		return DATA_GPA + (dt_first_mapping(la) - DT_DATA);
	if (!dt_writable(la, &at))
		return RAM_SIZE;
	return at >= DT_AT_LOW ? LOW_GPA + at - DT_AT_LOW : at >= DT_AT_TOP ? TOP_GPA + at - DT_AT_TOP : DATA_GPA + at;
}

static const uint8_t *live_memory(uint64_t la)
{
	uint64_t gpa = physical_of(la);

	return gpa < RAM_SIZE ? side[DT_INTERP].ram->host + gpa : NULL;
}

/* Why the instruction that @one stands at, @in, may not be compared. */
static const char *unfair_now(struct dt_case *one, struct insn *in)
{
	unsigned n = 0;

	in->id = INSN_ID_NONE;
	for (; n < INSN_BYTES_MAX; n++) {
		const uint8_t *p = live_memory(one->in.rip + n);

		if (!p)
			break;
		one->bytes[n] = *p;
	}
	if (one->mode == INSN_MODE64 && (one->in.rip & ~0xfffull) == 0xffffffffff600000)
		return "a call of the host kernel's vsyscall page";
	if (insn_decode(one->bytes, n, one->mode, in) <= 0)
		return NULL;
	if (in->id != INSN_ID_INT3 && !runs_natively(&opcode_table[in->row]))
		return "an instruction that is not run natively";
	one->row = in->row;
	one->has_ea = false;
	if ((in->flags & INSN_MEM) && memory_size(in))
		find_ea(one, in);
	return compare_excluded(one, in);
}

enum { STEPS_MAX = 1000000 }; /* some 200 ms */

static const char *unfair_step(const struct dt_case *c, const struct dt_result *native)
{
	static const struct engine_debug stepping = { .step = true };
	struct side *v = &side[DT_INTERP];
	struct dt_result ignored;
	struct dt_case one = *c;
	const char *why = NULL;
	struct insn in = { 0 };

	prepare(v, c);
	v->cpu->debug = &stepping;
	debug_rearm(v->cpu);
	gen_live_memory = live_memory;
	for (unsigned n = 0; n < STEPS_MAX && !why && !event.seen; n++) {
		save_state(v->cpu, &one.in);
		memcpy(one.seg, v->cpu->seg, sizeof(one.seg));
		one.mode = (enum insn_mode)v->cpu->mode;
		one.code = one.in.rip;
		why = unfair_now(&one, &in);
		if (!why)
			cpu_run(v->cpu);
	}
	if (!why && native->code_hash && native->vector != EXC_BP && stores_before_fault(&in))
		why = "an instruction that the block made itself may have stored before its fault";
	gen_live_memory = NULL;
	v->cpu->debug = NULL;
	debug_rearm(v->cpu);
	restore(v, c, &ignored);
	return why;
}

const char *soft_excuse(const struct dt_case *c, enum dt_tier tier, const struct dt_result *native)
{
	static struct dt_result exact;
	static char ignored[16384];
	const char *why = unfair_step(c, native);

	if (why || tier != DT_TRANSLATE || !(c->stores_code || native->code_hash) || !side[tier].dead_flags)
		return why;
	run_side(&side[EXACT], c, &exact);
	if (!compare_results(c, native, &exact, ignored, sizeof(ignored)))
		return NULL;
	return "a store into code makes flags live that the code before it overwrites";
}
