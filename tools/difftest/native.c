// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host CPU as oracle. A forked child runs a batch of cases, each with one signal: the handler of
 * the signal that ends a case saves its outcome, loads the next case into the signal frame, and
 * the return from the signal loads all registers at once, in 64-bit mode or, by the code
 * selector, in compatibility mode (Linux, arch/x86/kernel/signal_64.c; struct sigcontext).
 *
 * FS and GS bases are not in the frame: the handler's entry saves the case's and restores the
 * child's before any C code runs, with RDFSBASE and WRFSBASE.
 *
 * Blocks may go astray, and bytes that nobody chose be executed: a system call from the code pages raises SIGSYS.
 *
 * The child touches only shared memory after its first case. When it dies or hangs, the parent
 * books that on the case it was at and forks another for the rest.
 */
#include "difftest.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* uc_flags: SS of the frame is to be restored as it is (asm/ucontext.h) */
enum { UC_SIGCONTEXT_SS_ = 2, UC_STRICT_RESTORE_SS_ = 4 };
enum { HWCAP2_FSGSBASE_ = 1 << 1 };
enum { XSTATE_BV_OFFSET = 512, YMM_OFFSET = 576 };
enum { FIRST_RUN = -1 };
static uint32_t part_offset[3]; /* of AVX-512's components in the frame; 0: not wanted */

/* Shared between parent and child */
struct shared {
	_Atomic uint32_t go, done; /* batch counters: the child works while go != done */
	_Atomic uint32_t at;	   /* case under way */
	uint32_t n;
	struct dt_case cases[DT_BATCH];
	struct dt_result results[DT_BATCH];
};

static struct shared *sh;
static uint8_t *code_alias; /* writable view of the code pages */
static uint8_t *code_view = (uint8_t *)(uintptr_t)DT_CODE;
static struct dt_code code; /* of the child */
static struct dt_memory memory; /* low: NULL when it could not be mapped */
static pid_t child;

/* --- the child --- */

static uint64_t own_fs, own_gs;	  /* the child's */
uint64_t dt_case_fs, dt_case_gs;  /* of the case that ended, then of the next */
uint64_t dt_own_fs, dt_own_gs;
uint64_t dt_return_flags; /* which of NT and ID are set */
uint32_t dt_case_sel[4] __attribute__((aligned(16))); /* DS, ES, FS, GS of the case that ended, then of the next */
static int current = FIRST_RUN;
static uint32_t batch_end;
static greg_t start_gregs[NGREG];
static uint8_t start_fp[8192] __attribute__((aligned(64)));
static uint32_t start_fp_len;

void dt_on_signal(int sig, siginfo_t *info, void *context);
void dt_signal_entry(void);

/*
 * Entered with the case's data segments, FS and GS base, and whatever flags the kernel left: they are
 * cleaned before C code runs (AC would make it fault, NT and ID would leak into the next case). sigreturn takes
 * neither NT nor ID from the frame, but leaves them as they are: a case that goes on after a tick gets its own again.
 */
__asm__(".text\n"
	".globl dt_signal_entry\n"
	"dt_signal_entry:\n"
	"	pushq $0x202\n"
	"	popfq\n"
	"	rdfsbase %rax\n"
	"	movq %rax, dt_case_fs(%rip)\n"
	"	rdgsbase %rax\n"
	"	movq %rax, dt_case_gs(%rip)\n"
	"	movl %ds, %eax\n"
	"	movl %eax, dt_case_sel(%rip)\n"
	"	movl %es, %ecx\n"
	"	movl %ecx, dt_case_sel+4(%rip)\n"
	"	movl %fs, %r8d\n"
	"	movl %r8d, dt_case_sel+8(%rip)\n"
	"	movl %gs, %r9d\n"
	"	movl %r9d, dt_case_sel+12(%rip)\n"
	"	xorl $0x2b, %eax\n"
	"	xorl $0x2b, %ecx\n"
	"	xorl $0x2b, %r8d\n"
	"	xorl $0x2b, %r9d\n"
	"	orl %ecx, %eax\n"
	"	orl %r8d, %eax\n"
	"	orl %r9d, %eax\n"
	"	jz 1f\n"
	"	movl $0x2b, %eax\n"
	"	movl %eax, %ds\n"
	"	movl %eax, %es\n"
	"	movl %eax, %fs\n"
	"	movl %eax, %gs\n"
	"1:\n"
	"	movq dt_own_fs(%rip), %rax\n"
	"	wrfsbase %rax\n"
	"	movq dt_own_gs(%rip), %rax\n"
	"	wrgsbase %rax\n"
	"	subq $8, %rsp\n"
	"	call dt_on_signal\n"
	"	addq $8, %rsp\n"
	"	movq $0x2b0000002b, %rax\n"
	"	movq dt_case_sel(%rip), %rcx\n"
	"	xorq %rax, %rcx\n"
	"	xorq dt_case_sel+8(%rip), %rax\n"
	"	orq %rax, %rcx\n"
	"	jz 2f\n"
	"	movl dt_case_sel(%rip), %eax\n"
	"	movl %eax, %ds\n"
	"	movl dt_case_sel+4(%rip), %eax\n"
	"	movl %eax, %es\n"
	"	movl dt_case_sel+8(%rip), %eax\n"
	"	movl %eax, %fs\n"
	"	movl dt_case_sel+12(%rip), %eax\n"
	"	movl %eax, %gs\n"
	"2:\n"
	"	movq dt_case_fs(%rip), %rax\n"
	"	wrfsbase %rax\n"
	"	movq dt_case_gs(%rip), %rax\n"
	"	wrgsbase %rax\n"
	"	pushq dt_return_flags(%rip)\n"
	"	popfq\n"
	"	ret\n");

static uint64_t frame_word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* Components 5, 6, 7 */
static uint8_t *part(struct dt_state *s, unsigned i, unsigned *size)
{
	*size = i == 0 ? sizeof(s->k) : i == 1 ? sizeof(s->zmm_hi) : sizeof(s->hi16);
	return i == 0 ? (uint8_t *)s->k : i == 1 ? s->zmm_hi[0] : s->hi16[0];
}

static void save_fp(struct dt_state *s, const uint8_t *fp)
{
	uint64_t bv = frame_word(fp + XSTATE_BV_OFFSET);

	if (bv & 1) {
		memcpy(&s->fcw, fp, 2);
		memcpy(&s->fsw, fp + 2, 2);
		s->ftw = fp[4];
		for (unsigned i = 0; i < 8; i++) {
			memcpy(s->st[i], fp + 32 + 16 * i, 10);
			memset(s->st[i] + 10, 0, 6);
		}
	} else { /* not written: in its initial state */
		s->fcw = 0x37f;
		s->fsw = 0;
		s->ftw = 0;
		memset(s->st, 0, sizeof(s->st));
	}
	memcpy(&s->mxcsr, fp + 24, 4);
	if (bv & 2)
		memcpy(s->xmm, fp + 160, sizeof(s->xmm));
	else
		memset(s->xmm, 0, sizeof(s->xmm));
	if (bv & 4)
		memcpy(s->ymm_hi, fp + YMM_OFFSET, sizeof(s->ymm_hi));
	else
		memset(s->ymm_hi, 0, sizeof(s->ymm_hi));
	for (unsigned i = 0; i < 3; i++) {
		unsigned size;
		uint8_t *p = part(s, i, &size);

		if ((bv & 0x20u << i) && part_offset[i])
			memcpy(p, fp + part_offset[i], size);
		else
			memset(p, 0, size);
	}
}

static void load_fp(const struct dt_state *s, uint8_t *fp)
{
	uint64_t bv = frame_word(fp + XSTATE_BV_OFFSET) | 7;

	memset(fp, 0, 24);
	memcpy(fp, &s->fcw, 2);
	memcpy(fp + 2, &s->fsw, 2);
	fp[4] = s->ftw;
	memcpy(fp + 24, &s->mxcsr, 4);
	memcpy(fp + 32, s->st, sizeof(s->st));
	memcpy(fp + 160, s->xmm, sizeof(s->xmm));
	memcpy(fp + YMM_OFFSET, s->ymm_hi, sizeof(s->ymm_hi));
	for (unsigned i = 0; i < 3; i++) {
		unsigned size;
		const uint8_t *p = part((struct dt_state *)(uintptr_t)s, i, &size);

		if (!part_offset[i])
			continue;
		memcpy(fp + part_offset[i], p, size);
		bv |= 0x20u << i;
	}
	memcpy(fp + XSTATE_BV_OFFSET, &bv, 8);
}

/* Register numbers of struct sigcontext in encoding order */
static const uint8_t greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void save_result(struct dt_result *r, const ucontext_t *uc)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	for (unsigned i = 0; i < 16; i++)
		r->out.gpr[i] = (uint64_t)g[greg_of[i]];
	r->out.rip = (uint64_t)g[REG_RIP];
	r->out.rflags = (uint64_t)g[REG_EFL];
	r->out.fs_base = dt_case_fs;
	r->out.gs_base = dt_case_gs;
	r->out.sel[SEG_DS] = (uint16_t)dt_case_sel[0];
	r->out.sel[SEG_ES] = (uint16_t)dt_case_sel[1];
	r->out.sel[SEG_FS] = (uint16_t)dt_case_sel[2];
	r->out.sel[SEG_GS] = (uint16_t)dt_case_sel[3];
	r->out.sel[SEG_CS] = (uint16_t)g[REG_CSGSFS];
	r->out.sel[SEG_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
	r->vector = (uint32_t)g[REG_TRAPNO];
	r->error = (uint32_t)g[REG_ERR];
	/* An INT n that the block made itself: the kernel's IDT refuses it, the engine's has no entries; so it is the vector on both sides (soft.c). */
	if (r->vector == EXC_GP && (r->error & 7) == 2) {
		r->vector = r->error >> 3;
		r->error = 0;
	}
	r->cr2 = r->vector == EXC_PF ? (uint64_t)g[REG_CR2] : 0;
	save_fp(&r->out, (const uint8_t *)uc->uc_mcontext.fpregs);
	dt_memory_diff(&memory, r);
}

static void place_code(const struct dt_case *c)
{
	struct dt_range r[2];
	unsigned n = dt_code_place(&code, c, r);

	for (unsigned i = 0; i < n; i++)
		memcpy(code_alias + r[i].from, code.image + r[i].from, r[i].to - r[i].from);
}

static void check_code(const struct dt_case *c, struct dt_result *r)
{
	struct dt_range where;

	r->code_hash = c->program ? dt_code_changed(&code, code_alias, &where) : 0;
	if (r->code_hash)
		memcpy(code_alias + where.from, code.image + where.from, where.to - where.from);
}

static void load_case(const struct dt_case *c, ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;

	place_code(c);
	dt_memory_poke(&memory, c);
	for (unsigned i = 0; i < 16; i++)
		g[greg_of[i]] = (greg_t)c->in.gpr[i];
	g[REG_RIP] = (greg_t)c->in.rip;
	g[REG_EFL] = (greg_t)c->in.rflags;
	g[REG_CSGSFS] = (greg_t)(c->in.sel[SEG_CS] | (uint64_t)c->in.sel[SEG_SS] << 48);
	uc->uc_flags |= UC_SIGCONTEXT_SS_ | UC_STRICT_RESTORE_SS_;
	load_fp(&c->in, (uint8_t *)uc->uc_mcontext.fpregs);
	dt_case_fs = c->in.fs_base;
	dt_case_gs = c->in.gs_base;
	dt_case_sel[0] = c->in.sel[SEG_DS];
	dt_case_sel[1] = c->in.sel[SEG_ES];
	dt_case_sel[2] = c->in.sel[SEG_FS];
	dt_case_sel[3] = c->in.sel[SEG_GS];
}

/* Back to where the child raised its first signal. */
static void load_start(ucontext_t *uc)
{
	memcpy(uc->uc_mcontext.gregs, start_gregs, sizeof(start_gregs));
	uc->uc_flags |= UC_SIGCONTEXT_SS_ | UC_STRICT_RESTORE_SS_;
	memcpy(uc->uc_mcontext.fpregs, start_fp, start_fp_len);
	dt_case_fs = dt_own_fs;
	dt_case_gs = dt_own_gs;
	for (unsigned i = 0; i < 4; i++)
		dt_case_sel[i] = DT_DATA_SEL;
}

/*
 * The child's processor time, in ticks of 10 ms. True: the case under way has had two of them, and a block that
 * does not end is nothing to compare.
 */
static bool tick(void)
{
	static int last = FIRST_RUN;
	static unsigned ticks;

	if (current == FIRST_RUN || current != last) {
		last = current;
		ticks = 0;
		return false;
	}
	return ++ticks >= 2;
}

void dt_on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	dt_return_flags = RF_FIXED;
	if (sig == SIGVTALRM && !tick()) {
		dt_return_flags |= (uint64_t)uc->uc_mcontext.gregs[REG_EFL] & (RF_NT | RF_ID);
		return; /* with everything as it was */
	}
	if (current == FIRST_RUN) {
		memcpy(start_gregs, uc->uc_mcontext.gregs, sizeof(start_gregs));
		memcpy(start_fp, uc->uc_mcontext.fpregs, start_fp_len);
		current = (int)atomic_load(&sh->at);
	} else {
		save_result(&sh->results[current], uc);
		if (sig == SIGVTALRM)
			sh->results[current].vector = DT_STUCK;
		check_code(&sh->cases[current], &sh->results[current]);
		current++;
	}
	atomic_store_explicit(&sh->at, (uint32_t)current, memory_order_release);
	if ((uint32_t)current == batch_end) {
		current = FIRST_RUN;
		load_start(uc);
		return;
	}
	load_case(&sh->cases[current], uc);
}

static uint64_t read_fs(void)
{
	uint64_t v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

static uint64_t read_gs(void)
{
	uint64_t v;

	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}

/* DS and ES as compatibility mode needs them; FS and GS too, then their bases again. */
static void load_selectors(void)
{
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %0, %%fs\n\twrfsbase %1\n\tmov %0, %%gs\n\twrgsbase %2"
			 :
			 : "r"((uint32_t)DT_DATA_SEL), "r"(own_fs), "r"(own_gs)
			 : "memory");
}

/* fork() does not copy the page tables of shared memory: a read-only page would fault as not present. */
static void touch_pages(void)
{
	for (unsigned i = 0; i < DT_DATA_PAGES; i++) {
		*(volatile uint8_t *)(memory.data + i * DT_PAGE);
		*(volatile uint8_t *)(memory.data + DT_ALIAS + i * DT_PAGE);
	}
	*(volatile uint8_t *)memory.top;
	for (unsigned i = 0; i < DT_CODE_PAGES; i++) {
		*(volatile uint8_t *)(code_view + i * DT_PAGE);
		*(volatile uint8_t *)(code_view + DT_ALIAS + i * DT_PAGE);
	}
	*(volatile uint8_t *)(code_view + (DT_CODE_TOP - DT_CODE));
	for (unsigned i = 0; memory.low && i < DT_LOW_PAGES; i++)
		*(volatile uint8_t *)(memory.low + i * DT_PAGE);
}

/* Bytes that were never meant to be executed may be a system call: SIGSYS for those from the code pages. */
static void forbid_system_calls(void)
{
	enum { IP_LOW = offsetof(struct seccomp_data, instruction_pointer), IP_HIGH = IP_LOW + 4 };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP_HIGH),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP_LOW),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, DT_DATA + 0x100000, 1, 0), /* the program itself may be here, if it is not PIE */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	if ((uintptr_t)&forbid_system_calls < DT_DATA + 0x100000)
		return;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static _Noreturn void child_main(pid_t parent)
{
	static uint8_t stack[65536] __attribute__((aligned(64)));
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGVTALRM };
	static const struct itimerval ticks = { .it_interval = { 0, 10000 }, .it_value = { 0, 10000 } };
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_flags = SA_ONSTACK | SA_SIGINFO | SA_NODEFER };
	uint32_t eax, ebx, ecx, edx;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before: nobody would end this loop */
		_exit(0);
	/* length of the standard-format XSAVE area for what is enabled in XCR0 */
	__asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(13), "c"(0));
	start_fp_len = ebx < sizeof(start_fp) ? ebx : sizeof(start_fp);
	dt_own_fs = own_fs = read_fs();
	dt_own_gs = own_gs = read_gs();
	load_selectors();
	touch_pages();
	sa.sa_sigaction = (void (*)(int, siginfo_t *, void *))(void *)dt_signal_entry;
	sigaltstack(&ss, NULL);
	sigemptyset(&sa.sa_mask);
	sigprocmask(SIG_SETMASK, &sa.sa_mask, NULL);
	sigaddset(&sa.sa_mask, SIGVTALRM); /* a handler must not be interrupted before it has saved FS and GS, and after it loaded them */
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	forbid_system_calls();
	setitimer(ITIMER_VIRTUAL, &ticks, NULL);
	for (;;) {
		uint32_t go;

		while ((go = atomic_load(&sh->go)) == atomic_load(&sh->done))
			usleep(20);
		batch_end = sh->n;
		if (atomic_load(&sh->at) < batch_end)
			__asm__ volatile("int3" ::: "memory");
		atomic_store(&sh->done, go);
	}
}

/* --- the parent --- */

/* @fd: -1 for memory that is mapped once. */
static int map_at(uint64_t la, size_t len, int prot, int fd, unsigned offset)
{
	void *p = mmap((void *)(uintptr_t)la, len, prot,
		       MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0) | MAP_POPULATE | MAP_FIXED_NOREPLACE, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	return p == (void *)(uintptr_t)la ? 0 : -EEXIST;
}

static int memory_file(size_t len)
{
	int fd = memfd_create("difftest", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)len)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int map_code(void)
{
	enum { LOW = DT_CODE_PAGES * DT_PAGE };
	int fd = memory_file(DT_CODE_SIZE), r;

	if (fd < 0)
		return -errno;
	code_alias = mmap(NULL, DT_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	r = code_alias == MAP_FAILED ? -errno : map_at(DT_CODE, LOW, PROT_READ | PROT_EXEC, fd, 0);
	if (!r)
		r = map_at(DT_CODE + DT_ALIAS, LOW, PROT_READ | PROT_WRITE | PROT_EXEC, fd, 0);
	if (!r)
		r = map_at(DT_CODE_TOP, DT_PAGE, PROT_READ | PROT_EXEC, fd, LOW);
	close(fd);
	if (!r)
		memset(code_alias, 0xcc, DT_CODE_SIZE);
	dt_code_init(&code);
	return r;
}

static int map_data(void)
{
	enum { LEN = DT_DATA_PAGES * DT_PAGE };
	int fd = memory_file(LEN), r;

	if (fd < 0)
		return -errno;
	r = map_at(DT_DATA, LEN, PROT_READ | PROT_WRITE, fd, 0);
	if (!r)
		r = map_at(DT_DATA + DT_ALIAS, LEN, PROT_READ | PROT_WRITE, fd, 0);
	close(fd);
	return r ? r : map_at(DT_TOP, DT_PAGE, PROT_READ | PROT_WRITE, -1, 0);
}

/*
 * Loads the LDT of segments.c. False where the kernel has no modify_ldt, or does not take 16-bit segments
 * (CONFIG_X86_16BIT), or what it made differs.
 */
static bool load_ldt(void)
{
	static uint64_t made[DT_LDT_ENTRIES];

	for (unsigned i = 0; i < DT_LDT_ENTRIES; i++) {
		uint64_t d = dt_ldt[i];
		struct user_desc u = {
			.entry_number = i,
			.base_addr = (uint32_t)((d >> 16 & 0xffffff) | (d >> 56) << 24),
			.limit = (uint32_t)((d & 0xffff) | (d >> 48 & 15) << 16),
			.seg_32bit = d >> 54 & 1, .contents = d >> 42 & 3, .read_exec_only = !(d >> 41 & 1),
			.limit_in_pages = d >> 55 & 1, .seg_not_present = !(d >> 47 & 1), .useable = d >> 52 & 1,
		};

		if (d && syscall(SYS_modify_ldt, 0x11, &u, sizeof(u)))
			return false;
	}
	return syscall(SYS_modify_ldt, 0, made, sizeof(made)) > 0 && !memcmp(made, dt_ldt, sizeof(made));
}

static void restore_memory(void)
{
	memcpy(memory.data, dt_pristine, 2 * DT_PAGE);
	memcpy(memory.top, dt_pristine + DT_AT_TOP, DT_PAGE);
	if (memory.low)
		memcpy(memory.low, dt_pristine + DT_AT_LOW, DT_LOW_PAGES * DT_PAGE);
}

/* The model's instructions are all on the host, and user code may use FS and GS bases. */
static bool host_has_all(void)
{
	__builtin_cpu_init();
	return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_) && __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("aes");
}

static void find_parts(void)
{
	unsigned size, none;

	dt_model_default();
	for (unsigned i = 0; i < 3 && cpu_model_has(&dt_model, FEAT_AVX512F); i++)
		__cpuid_count(0xd, 5 + i, size, part_offset[i], none, none);
	(void)size, (void)none;
}

int native_init(bool *low, bool *ldt)
{
	int r = host_has_all() ? map_code() : -ENOTSUP;

	find_parts();
	if (r)
		return r;
	r = map_data();
	if (r)
		return r;
	*ldt = load_ldt();
	memory.data = (uint8_t *)(uintptr_t)DT_DATA;
	memory.top = (uint8_t *)(uintptr_t)DT_TOP;
	*low = *low && !map_at(DT_LOW, DT_LOW_PAGES * DT_PAGE, PROT_READ | PROT_WRITE, -1, 0);
	if (*low)
		memory.low = (uint8_t *)(uintptr_t)DT_LOW;
	restore_memory();
	memcpy(memory.data + 2 * DT_PAGE, dt_pristine + DT_MEM, DT_PAGE);
	if (mprotect(memory.data + 2 * DT_PAGE, DT_PAGE, PROT_READ) ||
	    mprotect(memory.data + DT_ALIAS + 2 * DT_PAGE, DT_PAGE, PROT_READ))
		return -errno;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return sh == MAP_FAILED ? -errno : 0;
}

static void start_child(void)
{
	pid_t self = getpid();

	fflush(NULL);
	child = fork();
	if (child == 0)
		child_main(self);
	if (child < 0) {
		perror("difftest: fork");
		exit(4);
	}
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Waits for the batch: 0; or the DT_* that the case at sh->at ended with. */
static unsigned wait_batch(void)
{
	uint32_t last = atomic_load(&sh->at);
	uint64_t since = now_ms();

	while (atomic_load(&sh->done) != atomic_load(&sh->go)) {
		uint32_t at = atomic_load(&sh->at);
		int status;

		if (at != last) {
			last = at;
			since = now_ms();
		}
		if (waitpid(child, &status, WNOHANG) == child)
			return DT_DIED;
		if (now_ms() - since > 3000) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return DT_STUCK;
		}
		usleep(50);
	}
	return 0;
}

/* A case that ended its child may have left anything behind. */
static void restore_pages(void)
{
	restore_memory();
	memset(code_alias, 0xcc, DT_CODE_SIZE);
}

void native_run(const struct dt_case *cases, unsigned n, struct dt_result *results)
{
	memcpy(sh->cases, cases, n * sizeof(*cases));
	sh->n = n;
	atomic_store(&sh->at, 0);
	while (atomic_load(&sh->at) < n) {
		unsigned bad;
		uint32_t at;

		if (!child)
			start_child();
		atomic_fetch_add(&sh->go, 1);
		bad = wait_batch();
		if (!bad)
			continue;
		child = 0;
		at = atomic_load(&sh->at);
		memset(&sh->results[at], 0, sizeof(sh->results[at]));
		sh->results[at].vector = bad;
		restore_pages();
		atomic_store(&sh->at, at + 1);
		atomic_store(&sh->done, atomic_load(&sh->go));
	}
	memcpy(results, sh->results, n * sizeof(*results));
}

void native_finish(void)
{
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		child = 0;
	}
}
