// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where thunks live, and what happens when one raises a SIMD exception.
 *
 * One area for the process, mapped twice from a memfd: writable here, executable there, never
 * both. Host memory is taken page by page as thunks are made. Equal thunks are kept once, found by
 * a hash of their bytes; since a thunk names only its arguments, all VMs of a process share them.
 * Decoded instructions point at thunks, so none is ever thrown away: when the area is full, further
 * instructions are emitted anew each time they run, into one place, under the lock. A guest has to
 * work hard to get there (half a million different vector instructions), and slows down only itself.
 *
 * SIGFPE with RIP in the area is an unmasked SIMD exception of the guest. RDI is the struct cpu for
 * the whole of a thunk, and RSP is as at its entry: the handler takes MXCSR from the signal's frame
 * and lets the thunk return -1. Any other SIGFPE goes to whoever handled it before; SIGILL and
 * SIGSEGV in a thunk are defects of the engine and crash.
 */
#include "engine/soft/vector/vector.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

enum {
	AREA_SIZE = 32 << 20,
	SCRATCH_SIZE = 4096, /* at the area's start */
	HASH_BITS = 20,
	HASH_SIZE = 1 << HASH_BITS,
};

/* Guards everything below but the two mappings, which never change once they are there. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *area_rw, *area_rx;
static uint32_t area_used;
static unsigned area_users; /* vector_init without vector_finish */
/* Open addressing: offset of a thunk in the area, 0: free. Its length stands before it. */
static uint32_t *thunks;
static uint32_t thunk_count;
static struct sigaction before;
bool (*vector_fault_hook)(void *context);

/* Where a thunk that raised is sent: C code wants an empty x87 stack and clean upper halves. */
__attribute__((naked)) static void landing(void)
{
	__asm__("emms\n\tvzeroupper\n\tmovl $-1, %eax\n\tret");
}

static bool in_area(uint64_t rip)
{
	return area_rx && rip - (uint64_t)(uintptr_t)area_rx < AREA_SIZE;
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;

	if (vector_fault_hook && vector_fault_hook(uc))
		return;
	if (in_area((uint64_t)r[REG_RIP])) {
		struct cpu *c = (struct cpu *)(uintptr_t)r[REG_RDI];

		c->x.mxcsr = uc->uc_mcontext.fpregs->mxcsr & MXCSR_MASK;
		uc->uc_mcontext.fpregs->mxcsr = MXCSR_INIT;
		r[REG_RIP] = (greg_t)(uintptr_t)landing;
		return;
	}
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
		signal(SIGFPE, SIG_DFL); /* it comes again, and ends the process */
	} else {
		before.sa_handler(sig);
	}
}

static int area_map(void)
{
	int fd = memfd_create("subring-thunks", MFD_CLOEXEC | MFD_EXEC);
	int err;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("subring-thunks", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	thunks = mmap(NULL, HASH_SIZE * sizeof(*thunks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (thunks == MAP_FAILED || ftruncate(fd, AREA_SIZE))
		goto fail;
	area_rw = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (area_rw == MAP_FAILED)
		goto fail;
	area_rx = mmap(NULL, AREA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (area_rx == MAP_FAILED)
		goto fail_rw;
	/* A child of fork would share the area and disagree about what is in it. */
	madvise(area_rw, AREA_SIZE, MADV_DONTFORK);
	madvise(area_rx, AREA_SIZE, MADV_DONTFORK);
	close(fd);
	area_used = SCRATCH_SIZE;
	thunk_count = 0;
	return 0;

fail_rw:
	err = errno;
	munmap(area_rw, AREA_SIZE);
	errno = err;
fail:
	err = errno;
	if (thunks != MAP_FAILED)
		munmap(thunks, HASH_SIZE * sizeof(*thunks));
	close(fd);
	thunks = NULL;
	area_rw = area_rx = NULL;
	return -err;
}

/*
 * Someone may have taken the signal since the last call: then he comes after us again. Threads made by this one
 * inherit that it is not blocked; a processor's exception under a blocked signal would end the process.
 */
static int take_sigfpe(void)
{
	struct sigaction action = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	struct sigaction now;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGFPE);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (sigaction(SIGFPE, NULL, &now))
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigfpe)
		return 0;
	before = now;
	return sigaction(SIGFPE, &action, NULL) ? -errno : 0;
}

/* What the CPU model has, the host has to have: its instructions run here. */
static bool host_has_all(void)
{
	unsigned a, b, c, d, f16c;

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("aes") ||
	    !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("bmi2")) /* the translator's own code has RORX */
		return false;
	__cpuid(1, a, b, c, d);
	f16c = c >> 29 & 1;
	__cpuid_count(7, 0, a, b, c, d);
	(void)a, (void)c, (void)d;
	return f16c && (b >> 29 & 1); /* SHA */
}

int vector_init(void)
{
	int r = 0;

	if (!host_has_all())
		return -ENOTSUP;
	pthread_mutex_lock(&lock);
	if (!area_rx)
		r = area_map();
	if (!r)
		r = take_sigfpe();
	if (!r)
		area_users++;
	pthread_mutex_unlock(&lock);
	return r;
}

void vector_finish(void)
{
	pthread_mutex_lock(&lock);
	if (area_users && --area_users == 0) {
		sigaction(SIGFPE, &before, NULL);
		munmap(area_rw, AREA_SIZE);
		munmap(area_rx, AREA_SIZE);
		munmap(thunks, HASH_SIZE * sizeof(*thunks));
		area_rw = area_rx = NULL;
		thunks = NULL;
	}
	pthread_mutex_unlock(&lock);
}

/* FNV-1a by words of 8 */
static uint64_t hash(const uint8_t *p, unsigned len)
{
	uint64_t h = 0xcbf29ce484222325, w;

	for (unsigned i = 0; i < len; i += 8) {
		w = 0;
		memcpy(&w, p + i, len - i < 8 ? len - i : 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	return h;
}

/* Two bytes of length, then the thunk, at a multiple of 16. The area's offset of the thunk, or 0: full. */
static uint32_t install(const uint8_t *code, unsigned len)
{
	uint64_t i = hash(code, len);
	uint32_t at;
	uint16_t n;

	for (;; i++) {
		at = thunks[i & (HASH_SIZE - 1)];
		if (!at)
			break;
		memcpy(&n, area_rw + at - 2, 2);
		if (n == len && !memcmp(area_rw + at, code, len))
			return at;
	}
	at = ((area_used + 2) + 15) & ~15u;
	if (at + len > AREA_SIZE || thunk_count >= HASH_SIZE - HASH_SIZE / 4)
		return 0;
	n = (uint16_t)len;
	memcpy(area_rw + at - 2, &n, 2);
	memcpy(area_rw + at, code, len);
	area_used = at + len;
	thunks[i & (HASH_SIZE - 1)] = at;
	thunk_count++;
	return at;
}

static thunk_fn *executable(uint32_t at)
{
	thunk_fn *fn;
	uint8_t *p = area_rx + at;

	memcpy(&fn, &p, sizeof(fn));
	return fn;
}

/*
 * Stands in for the thunk of the instruction under way when the area is full. The code is written
 * through another address than it runs at, so the processor must serialise (SDM vol. 3, 8.1.3).
 */
static int thunk_scratch(struct cpu *c, void *mem)
{
	uint8_t code[THUNK_MAX];
	int len = emit_thunk(c->cur, c->wide, code), r;
	unsigned a, b, cc, d;

	if (len < 0)
		abort(); /* it was emitted when it was bound */
	pthread_mutex_lock(&lock);
	memcpy(area_rw, code, (size_t)len);
	__cpuid(0, a, b, cc, d);
	(void)a, (void)b, (void)cc, (void)d;
	r = executable(0)(c, mem);
	pthread_mutex_unlock(&lock);
	return r;
}

thunk_fn *thunk_get(const struct insn *in, bool wide)
{
	uint8_t code[THUNK_MAX];
	int len = emit_thunk(in, wide, code);
	uint32_t at;

	if (len < 0)
		return NULL;
	pthread_mutex_lock(&lock);
	at = install(code, (unsigned)len);
	pthread_mutex_unlock(&lock);
	return at ? executable(at) : thunk_scratch;
}
