// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program for Linux guests with AVX-512: several processes keep patterns in ZMM0 to ZMM31 and K0 to K7 over context switches and signals
 * (the kernel's XSAVES, XRSTORS and signal frames), and compute sums under masks. Says "ok", or what is wrong.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 4, TURNS = 2000, COUNT = 1000 };

static struct registers {
	uint64_t zmm[32][8], k[8];
} in __attribute__((aligned(64))), out __attribute__((aligned(64)));

#define EACH8(X, a, b, c, d, e, f, g, h) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h)
#define EACH32(X)                                                                          \
	EACH8(X, 0, 1, 2, 3, 4, 5, 6, 7) EACH8(X, 8, 9, 10, 11, 12, 13, 14, 15)             \
	EACH8(X, 16, 17, 18, 19, 20, 21, 22, 23) EACH8(X, 24, 25, 26, 27, 28, 29, 30, 31)
#define LOAD(n) "vmovdqa64 64*" #n "(%%r8), %%zmm" #n "\n\t"
#define STORE(n) "vmovdqa64 %%zmm" #n ", 64*" #n "(%%r9)\n\t"
#define LOAD_K(n) "kmovq 2048+8*" #n "(%%r8), %%k" #n "\n\t"
#define STORE_K(n) "kmovq %%k" #n ", 2048+8*" #n "(%%r9)\n\t"

static void on_signal(int sig)
{
	(void)sig;
	__asm__ volatile("vpternlogd $0xff, %%zmm17, %%zmm17, %%zmm17\n\tvpxorq %%zmm3, %%zmm3, %%zmm3\n\tkxorq %%k5, %%k5, %%k5"
			 : : : "memory");
}

/* A system call between loading and storing all registers: no code of libc, which may use them. */
static int keep(long call, long arg1, long arg2)
{
	register const void *from __asm__("r8") = &in;
	register void *to __asm__("r9") = &out;

	memset(&out, 0, sizeof(out));
	__asm__ volatile(EACH32(LOAD) EACH8(LOAD_K, 0, 1, 2, 3, 4, 5, 6, 7) "syscall\n\t" EACH32(STORE)
				 EACH8(STORE_K, 0, 1, 2, 3, 4, 5, 6, 7) "vzeroupper"
			 : "+a"(call)
			 : "D"(arg1), "S"(arg2), "r"(from), "r"(to)
			 : "rcx", "r11", "memory");
	return memcmp(&in, &out, sizeof(in)) != 0;
}

/* The sum of what a mask chooses of @n numbers, 16 at a time. */
static uint32_t masked_sum(const uint32_t *p, unsigned n, uint16_t mask)
{
	uint32_t lanes[16] __attribute__((aligned(64))), sum = 0;

	__asm__ volatile("vpxord %%zmm20, %%zmm20, %%zmm20\n\tkmovw %k2, %%k3\n"
			 "1:\tvmovdqu32 (%0), %%zmm21%{%%k3%}%{z%}\n\tvpaddd %%zmm21, %%zmm20, %%zmm20\n\t"
			 "add $64, %0\n\tsub $16, %1\n\tja 1b\n\tvmovdqa32 %%zmm20, (%3)"
			 : "+r"(p), "+r"(n)
			 : "r"((uint32_t)mask), "r"(lanes)
			 : "memory", "cc");
	for (unsigned i = 0; i < 16; i++)
		sum += lanes[i];
	return sum;
}

static int work(unsigned id)
{
	static uint32_t numbers[COUNT / 16 * 16];
	uint32_t want = 0;

	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < sizeof(in) / 8; i++)
		((uint64_t *)(void *)&in)[i] = (i + 1) * 0x9e3779b97f4a7c15ull * (id + 1);
	for (unsigned i = 0; i < TURNS; i++) {
		if (keep(SYS_sched_yield, 0, 0))
			return 1;
		if (i % 16 == 0 && keep(SYS_kill, getpid(), SIGUSR1))
			return 2;
	}
	for (unsigned i = 0; i < COUNT / 16 * 16; i++) {
		numbers[i] = i * 2654435761u + id;
		want += (0xa5c3u >> i % 16 & 1) ? numbers[i] : 0;
	}
	for (unsigned i = 0; i < TURNS; i++)
		if (masked_sum(numbers, COUNT / 16 * 16, 0xa5c3) != want)
			return 3;
	return 0;
}

int main(void)
{
	static const char *const wrong[] = { "", "registers after a context switch", "registers after a signal", "a sum under a mask" };
	int bad = 0;

	if (!__builtin_cpu_supports("avx512bw")) {
		puts("no AVX-512");
		return 1;
	}
	for (unsigned i = 0; i < PROCESSES; i++)
		if (fork() == 0)
			_exit(work(i));
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status = 0;

		wait(&status);
		if (status) {
			bad = 1;
			printf("process ended with status %x: %s\n", (unsigned)status, WIFEXITED(status) ? wrong[WEXITSTATUS(status) & 3] : "killed");
		}
	}
	puts(bad ? "bad" : "ok");
	return bad;
}
