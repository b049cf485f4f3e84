// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host signals on a thread that runs translated code.
 *
 * RSP is the guest's there, so handlers run on a stack of their own (sigaltstack), which every handler in this program asks
 * for (SA_ONSTACK). It may be anything, also an address in that very stack: SS_AUTODISARM has the kernel not conclude from RSP that a handler is
 * running there already. A fault in translated code is the guest's: a division by zero, an unmasked SIMD exception, an operand that has to be aligned,
 * an address that is not canonical. No guest register has been changed by the instruction then (emit.h), so the interpreter
 * runs it again, and raises what is to be raised. A fault anywhere else goes to whoever handled it before.
 */
#include "engine/soft/translate/emit.h"
#include "engine/soft/translate/translate.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2
#endif

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

enum { SIGNAL_STACK = 64 << 10 };

static _Thread_local struct cpu *gs_cpu; /* that GS points to */
static _Thread_local bool has_stack;
static pthread_key_t stack_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction segv_before, bus_before;

/* The offset in the page of the guest's instruction that the code at @pc belongs to. False: none. */
static bool guest_offset(const struct translator *tr, uint64_t pc, unsigned *at)
{
	const struct tblock *b = cache_at(tr, pc);
	uint64_t near_entry;
	unsigned i = 0;

	if (!b)
		return false;
	near_entry = (uint64_t)(uintptr_t)(tr->rx + b->code);
	if (pc < near_entry + b->point[0].host || pc >= near_entry + b->point[b->insns].host)
		return false;
	while (i + 1 < b->insns && pc >= near_entry + b->point[i + 1].host)
		i++;
	*at = (unsigned)(b->key & (FRAME_SIZE - 1)) + b->point[i].guest;
	return true;
}

static bool translated_fault(void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	struct translator *tr = gs_cpu ? gs_cpu->t.tr : NULL;
	unsigned at;

	if (!tr || !guest_offset(tr, (uint64_t)r[REG_RIP], &at))
		return false;
	r[REG_R14] = at;
	r[REG_RIP] = (greg_t)(uintptr_t)(tr->rx + tr->fault);
	return true;
}

static void pass_on(const struct sigaction *before, int sig, siginfo_t *info, void *context)
{
	if (before->sa_flags & SA_SIGINFO)
		before->sa_sigaction(sig, info, context);
	else if (before->sa_handler == SIG_DFL || before->sa_handler == SIG_IGN)
		signal(sig, SIG_DFL); /* it comes again, and ends the process */
	else
		before->sa_handler(sig);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (!translated_fault(context))
		pass_on(sig == SIGSEGV ? &segv_before : &bus_before, sig, info, context);
}

static void stack_free(void *stack)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	sigaltstack(&none, NULL);
	munmap(stack, SIGNAL_STACK);
}

static void init_once(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	pthread_key_create(&stack_key, stack_free);
	vector_fault_hook = translated_fault;
	sigaction(SIGSEGV, &sa, &segv_before);
	sigaction(SIGBUS, &sa, &bus_before);
}

int translate_signals_init(void)
{
	pthread_once(&once, init_once);
	return 0;
}

static void take_stack(void)
{
	stack_t now, own = { .ss_size = SIGNAL_STACK, .ss_flags = (int)SS_AUTODISARM };

	has_stack = true;
	if (!sigaltstack(NULL, &now) && !(now.ss_flags & SS_DISABLE))
		return; /* a sanitizer's, for instance */
	own.ss_sp = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own.ss_sp == MAP_FAILED || sigaltstack(&own, NULL))
		abort(); /* no memory for one stack: nothing can go on */
	pthread_setspecific(stack_key, own.ss_sp);
}

void translate_thread_enter(struct cpu *c)
{
	if (gs_cpu == c)
		return;
	if (!has_stack)
		take_stack();
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
		__asm__ volatile("wrgsbase %0" : : "r"((uint64_t)(uintptr_t)c));
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)(uintptr_t)c);
	gs_cpu = c;
}

void translate_thread_forget(const struct cpu *c)
{
	if (gs_cpu == c)
		gs_cpu = NULL;
}
