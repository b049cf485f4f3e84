// SPDX-License-Identifier: GPL-2.0-or-later
/* The stand of test_vector_rig.h. */
#include "test_vector_rig.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>

#include <cmocka.h>

struct vrig vrig;
static struct tlb tlb;
static bool tlb_off;
static jmp_buf out;
static _Atomic uint8_t frames[2];

/* --- surroundings of the instruction --- */

_Noreturn void cpu_raise(struct cpu *c, unsigned vector)
{
	vrig.vector = (int)vector;
	vrig.error = 0;
	c->gpr[GPR_RIP] -= c->cur->len;
	longjmp(out, 1);
}

_Noreturn void cpu_raise_error(struct cpu *c, unsigned vector, uint32_t error)
{
	vrig.error = error;
	cpu_raise(c, vector);
}

_Noreturn void cpu_raise_ac(struct cpu *c)
{
	cpu_raise(c, EXC_AC);
}

static void page_at(struct cpu *c, uint64_t linear, bool write)
{
	uint64_t ram = (uint64_t)(uintptr_t)vrig.ram;
	struct tlb_entry *e = &tlb.entry[linear >> 12 & (TLB_ENTRIES - 1)];

	vrig.slow++;
	if (linear - ram >= VRIG_RAM) {
		c->cr2 = linear;
		cpu_raise_error(c, EXC_PF, write ? 6 : 4);
	}
	if (tlb_off)
		return;
	e->read = e->write = linear & ~0xfffull;
	e->addend = 0;
}

void mmu_load_bytes(struct cpu *c, unsigned seg, uint64_t linear, void *buf, unsigned size)
{
	page_at(c, linear, false);
	page_at(c, linear + size - 1, false);
	memcpy(buf, (void *)(uintptr_t)linear, size);
}

void mmu_store_bytes(struct cpu *c, unsigned seg, uint64_t linear, const void *buf, unsigned size)
{
	mmu_probe(c, seg, linear, size, MMU_WRITE);
	memcpy((void *)(uintptr_t)linear, buf, size);
}

uint64_t mmu_load_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	mmu_load_bytes(c, seg, linear, &v, size);
	return v;
}

void mmu_store_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, uint64_t value)
{
	mmu_store_bytes(c, seg, linear, &value, size);
}

void mmu_probe(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, enum mmu_access access)
{
	page_at(c, linear, access == MMU_WRITE);
	page_at(c, linear + size - 1, access == MMU_WRITE);
}

void mmu_code_stored(struct cpu *c, uint64_t offset, unsigned n)
{
}

void mmu_set_pkru(struct cpu *c, uint32_t value)
{
	c->pkru = value;
}

uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t ea, unsigned size, enum mmu_access access)
{
	return (uint32_t)(ea + c->segbase[seg]);
}

static void native_prepare(void);

/* --- the vCPU --- */

void vrig_reset(enum insn_mode mode)
{
	struct cpu *c = vrig.c;

	if (!c) {
		uint8_t *p = mmap(NULL, VRIG_RAM + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

		assert_true(p != MAP_FAILED);
		vrig.ram = p + 4096;
		assert_int_equal(mprotect(vrig.ram, VRIG_RAM, PROT_READ | PROT_WRITE), 0);
		c = vrig.c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);
		assert_non_null(c);
	}
	native_prepare();
	memset(c, 0, sizeof(*c));
	memset(vrig.ram, 0, VRIG_RAM);
	memset(&tlb, 0xff, sizeof(tlb));
	tlb_off = false;
	vrig.slow = 0;
	c->tlb = &tlb;
	c->ram_host = vrig.ram;
	c->frame = frames;
	c->mode = (uint8_t)mode;
	c->flat = mode == INSN_MODE64;
	c->real = mode == INSN_MODE16;
	c->cpl = c->real ? 0 : 3;
	c->cr0 = CR0_PE | CR0_NE | CR0_MP;
	c->cr4 = CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
	c->xcr0 = 7;
	c->sysflags = RF_FIXED;
	c->gpr[GPR_RIP] = 0x1000;
	vector_reset(c, false);
	c->x.fcw = 0x37f;
	c->x.ftw = 0;
}

void vrig_without_tlb(void)
{
	memset(&tlb, 0xff, sizeof(tlb));
	tlb_off = true;
}

int vrig_run(const uint8_t *code, size_t len)
{
	static struct insn in;
	struct cpu *c = vrig.c;

	assert_int_equal(vector_init(), 0); /* cmocka has taken SIGFPE for itself */
	assert_int_equal(insn_decode(code, len, c->mode, &in), len);
	if (opcode_table[in.row].attr & OP_NATIVE) {
		assert_int_equal(vector_bind(c, &in), 0);
	} else {
		in.fn = bind_vector_special(c, &in);
		assert_non_null(in.fn);
	}
	vrig.vector = VRIG_NO_FAULT;
	c->cur = &in;
	c->gpr[GPR_RIP] += len;
	if (!setjmp(out))
		in.fn(c, &in);
	assert_int_equal(c->gpr[GPR_ZERO], 0);
	return vrig.vector;
}

/* --- the host --- */

static struct native run_state __attribute__((used));
static uint64_t host_rsp __attribute__((used));
static uint8_t *code_page;
static volatile sig_atomic_t running;
extern char native_saved[];
void native_enter(void *code);

/* GPR n at run_state + 8 * n; RSP stays the host's. */
__asm__(".text\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rdi\n"
	"	mov %rsp, host_rsp(%rip)\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xrstor64 run_state+192(%rip)\n"
	"	pushq run_state+128(%rip)\n"
	"	popfq\n"
	"	mov run_state+0(%rip), %rax; mov run_state+8(%rip), %rcx; mov run_state+16(%rip), %rdx\n"
	"	mov run_state+24(%rip), %rbx; mov run_state+40(%rip), %rbp; mov run_state+48(%rip), %rsi\n"
	"	mov run_state+56(%rip), %rdi; mov run_state+64(%rip), %r8; mov run_state+72(%rip), %r9\n"
	"	mov run_state+80(%rip), %r10; mov run_state+88(%rip), %r11; mov run_state+96(%rip), %r12\n"
	"	mov run_state+104(%rip), %r13; mov run_state+112(%rip), %r14; mov run_state+120(%rip), %r15\n"
	"	jmp *(%rsp)\n"
	"native_saved:\n"
	"	pushfq\n"
	"	popq run_state+128(%rip)\n"
	"	mov %rax, run_state+0(%rip); mov %rcx, run_state+8(%rip); mov %rdx, run_state+16(%rip)\n"
	"	mov %rbx, run_state+24(%rip); mov %rbp, run_state+40(%rip); mov %rsi, run_state+48(%rip)\n"
	"	mov %rdi, run_state+56(%rip); mov %r8, run_state+64(%rip); mov %r9, run_state+72(%rip)\n"
	"	mov %r10, run_state+80(%rip); mov %r11, run_state+88(%rip); mov %r12, run_state+96(%rip)\n"
	"	mov %r13, run_state+104(%rip); mov %r14, run_state+112(%rip); mov %r15, run_state+120(%rip)\n"
	"	pushq $0x40202; popfq; pushq $0x202; popfq\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xsave64 run_state+192(%rip)\n"
	"	fninit\n"
	"	vzeroupper\n"
	"	pushq $0x1f80; ldmxcsr (%rsp); pop %rax\n"
	"	pop %rdi\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

_Static_assert(offsetof(struct native, rflags) == 128 && offsetof(struct native, x) == 192, "as the code above has it");

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (!running) {
		signal(sig, SIG_DFL);
		return;
	}
	run_state.signal = sig;
	run_state.fault = sig == SIGSEGV && info->si_code != SI_KERNEL ? (uint64_t)(uintptr_t)info->si_addr : 0;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)native_saved;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)RF_AC;
}

/*
 * Takes the signals from cmocka, which sets them up anew for each test. The engine's handler of SIGFPE hands
 * on what is not its own: ours has to be there first.
 */
static void native_prepare(void)
{
	static const int signals[] = { SIGFPE, SIGSEGV, SIGBUS, SIGILL };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (!code_page) {
		code_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(code_page != MAP_FAILED);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(sigaction(signals[i], &action, NULL), 0);
	assert_int_equal(vector_init(), 0);
}

void native_from_cpu(struct native *n, const struct cpu *c)
{
	memcpy(n->gpr, c->gpr, sizeof(n->gpr));
	n->rflags = cpu_rflags(c) | 0x202;
	n->x = c->x;
	n->x.xstate_bv = 7;
	n->x.xcomp_bv = 0;
	memset(n->x.hdr_rsvd, 0, sizeof(n->x.hdr_rsvd));
	n->signal = 0;
	n->fault = 0;
}

void native_run(struct native *n, const uint8_t *code, size_t len)
{
	uint64_t target = (uint64_t)(uintptr_t)native_saved;

	memcpy(code_page, code, len);
	memcpy(code_page + len, "\xff\x25\0\0\0\0", 6); /* JMP [RIP] */
	memcpy(code_page + len + 6, &target, 8);
	run_state = *n;
	running = 1;
	native_enter(code_page);
	running = 0;
	*n = run_state;
}

static int differ(const char *what, const char *field, unsigned i, const void *host, const void *ours, size_t len)
{
	const uint8_t *h = host, *o = ours;

	if (!memcmp(host, ours, len))
		return 0;
	fprintf(stderr, "%s: %s%u host ", what, field, i);
	for (size_t k = len; k--;)
		fprintf(stderr, "%02x", h[k]);
	fprintf(stderr, " ours ");
	for (size_t k = len; k--;)
		fprintf(stderr, "%02x", o[k]);
	fprintf(stderr, "\n");
	return 1;
}

int native_differs(const struct native *n, const struct cpu *c, const char *what)
{
	uint64_t fl_host = n->rflags & FL_ALL, fl_ours = cpu_rflags(c) & FL_ALL;
	static const struct cpu_xsave init = { .fcw = 0x37f };
	struct cpu_xsave h = n->x;
	int d = 0;

	if (!(h.xstate_bv & 1)) {
		memcpy(&h, &init, offsetof(struct cpu_xsave, mxcsr));
		memcpy(h.st, init.st, sizeof(h.st));
	}
	if (!(h.xstate_bv & 2))
		memset(h.xmm, 0, sizeof(h.xmm));
	if (!(h.xstate_bv & 4))
		memset(h.ymm_hi, 0, sizeof(h.ymm_hi));
	for (unsigned i = 0; i < 16; i++) {
		if (i != RSP)
			d |= differ(what, "gpr", i, &n->gpr[i], &c->gpr[i], 8);
		d |= differ(what, "xmm", i, h.xmm[i], c->x.xmm[i], 16);
		d |= differ(what, "ymm_hi", i, h.ymm_hi[i], c->x.ymm_hi[i], 16);
	}
	for (unsigned i = 0; i < 8; i++)
		d |= differ(what, "st", i, h.st[i], c->x.st[i], 10);
	d |= differ(what, "fcw", 0, &h.fcw, &c->x.fcw, 2);
	d |= differ(what, "fsw", 0, &h.fsw, &c->x.fsw, 2);
	d |= differ(what, "ftw", 0, &h.ftw, &c->x.ftw, 1);
	d |= differ(what, "mxcsr", 0, &h.mxcsr, &c->x.mxcsr, 4);
	d |= differ(what, "flags", 0, &fl_host, &fl_ours, 8);
	return d;
}

void native_compare(const struct native *n, const struct cpu *c, const char *what)
{
	assert_int_equal(native_differs(n, c, what), 0);
}

int native_same_fault(int signal, int vector)
{
	switch (signal) {
	case 0: return vector == VRIG_NO_FAULT;
	case SIGFPE: return vector == EXC_XM || vector == EXC_MF;
	case SIGSEGV: return vector == EXC_PF || vector == EXC_GP;
	case SIGBUS: return vector == EXC_AC;
	case SIGILL: return vector == EXC_UD;
	default: return 0;
	}
}
