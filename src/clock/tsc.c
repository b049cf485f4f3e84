// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The frequency of the host's TSC.
 *
 * Sources, best first; one that cannot be asked, or that a short measurement contradicts by more
 * than 1 percent, is passed over:
 *   - CPUID leaf 15H (Intel SDM vol. 2A, CPUID; vol. 3, 19.7.3): crystal * ratio, on Intel only;
 *   - the hypervisor's timing leaf 0x40000010, EAX in kHz (VMware's, taken over by KVM and others);
 *   - the kernel's own figure, from the time_mult and time_shift that it publishes in the page of
 *     a perf event (perf_event_open(2), cap_user_time): ns = cycles * mult >> shift;
 *   - a measurement against CLOCK_MONOTONIC_RAW over 20 ms.
 *
 * Invariant: the answer is found once and never changes, whatever thread asks first.
 */
#include "clock/clock.h"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000, ROUGH_NS = 1500000, FINE_NS = 20000000, BRACKETS = 32 };

/* One moment on both clocks. */
struct moment {
	uint64_t tsc, ns;
};

static uint64_t raw_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The clock's reading lies between two of the TSC; of several tries the closest pair is kept. */
static struct moment now_on_both(void)
{
	struct moment best = {0};
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < BRACKETS; i++) {
		uint64_t before, after, ns;

		before = host_tsc();
		ns = raw_ns();
		after = host_tsc();
		if (after - before < best_width) {
			best_width = after - before;
			best = (struct moment){before + best_width / 2, ns};
		}
	}
	return best;
}

static uint64_t hz_between(const struct moment *a, const struct moment *b)
{
	uint64_t ns = b->ns - a->ns;

	if (ns == 0)
		return 0;
	return (uint64_t)((unsigned __int128)(b->tsc - a->tsc) * NS_PER_S / ns);
}

static void sleep_until_raw(uint64_t ns)
{
	uint64_t now;

	while ((now = raw_ns()) < ns) {
		struct timespec t = {.tv_nsec = (long)(ns - now < NS_PER_S ? ns - now : NS_PER_S - 1)};

		nanosleep(&t, NULL);
	}
}

static uint64_t hz_from_cpuid(void)
{
	uint32_t a, b, c, d, max;
	char vendor[12];

	__cpuid(0, max, b, c, d);
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &d, 4);
	memcpy(vendor + 8, &c, 4);
	if (memcmp(vendor, "GenuineIntel", 12) || max < 0x15)
		return 0;
	__cpuid_count(0x15, 0, a, b, c, d);
	if (!a || !b || !c)
		return 0;
	return (uint64_t)c * b / a;
}

static uint64_t hz_from_hypervisor(void)
{
	uint32_t a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & 1u << 31))
		return 0;
	__cpuid(0x40000000, a, b, c, d);
	if (a < 0x40000010 || a > 0x400000ff)
		return 0;
	__cpuid(0x40000010, a, b, c, d);
	return (uint64_t)a * 1000;
}

static uint64_t hz_from_perf(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	long page_size = sysconf(_SC_PAGESIZE);
	const volatile struct perf_event_mmap_page *page;
	uint64_t mult = 0, hz = 0;
	unsigned shift = 0;
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return 0;
	page = mmap(NULL, (size_t)page_size, PROT_READ, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED) {
		/* lock is a sequence count: even and the same before and after means whole. */
		for (int i = 0; i < 100; i++) {
			uint32_t seq = page->lock;

			atomic_thread_fence(memory_order_acquire);
			mult = page->cap_user_time ? page->time_mult : 0;
			shift = page->time_shift;
			atomic_thread_fence(memory_order_acquire);
			if (!(seq & 1) && page->lock == seq)
				break;
			mult = 0;
		}
		munmap((void *)page, (size_t)page_size);
	}
	close(fd);
	if (mult && shift < 64)
		hz = (uint64_t)((((unsigned __int128)NS_PER_S << shift) + mult / 2) / mult);
	/* The kernel keeps whole kHz: what is finer comes from rounding in mult. */
	return (hz + 500) / 1000 * 1000;
}

static bool plausible(uint64_t hz, uint64_t rough)
{
	uint64_t diff = hz > rough ? hz - rough : rough - hz;

	return hz && diff <= rough / 100;
}

static uint64_t found_hz;

static void find_hz(void)
{
	static uint64_t (*const source[])(void) = {hz_from_cpuid, hz_from_hypervisor, hz_from_perf};
	struct moment start = now_on_both(), end;
	uint64_t rough;

	sleep_until_raw(start.ns + ROUGH_NS);
	end = now_on_both();
	rough = hz_between(&start, &end);
	for (size_t i = 0; i < sizeof(source) / sizeof(source[0]); i++) {
		uint64_t hz = source[i]();

		if (plausible(hz, rough)) {
			found_hz = hz;
			return;
		}
	}
	sleep_until_raw(start.ns + FINE_NS);
	end = now_on_both();
	found_hz = hz_between(&start, &end);
	/* A TSC that stands still cannot be told from time; whoever divides must be safe anyway. */
	if (!found_hz)
		found_hz = 1;
}

uint64_t host_tsc_hz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_hz);
	return found_hz;
}
