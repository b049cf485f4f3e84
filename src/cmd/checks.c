// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What subring doctor looks at: one function a row of the table at the end. Nothing here changes
 * the host; what cannot be found out is reported as such, never guessed.
 */
#include "cmd/checks.h"
#include "cmd/cmd.h"
#include "engine/cpu_model.h"
#include "engine/engine.h"
#include "engine/kvm/kvm.h"
#include "machine/machine.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What `subring run` asks for when nothing is said, and what the monitor needs beside it. */
enum { DEFAULT_MEM_MIB = 256, MONITOR_MIB = 64 };

static __attribute__((format(printf, 3, 4))) void found(struct finding *f, enum finding_state state, const char *fmt, ...)
{
	va_list ap;

	f->state = state;
	va_start(ap, fmt);
	vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
	va_end(ap);
}

static void get_it(struct finding *f, const char *fix)
{
	snprintf(f->fix, sizeof(f->fix), "%s", fix);
}

/* --- the CPU (Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E) --- */

enum cpuid_reg { EAX, EBX, ECX, EDX };

struct cpu_flag {
	const char *name;
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	unsigned bit;
};

/* What the guest CPU has and its vector and arithmetic instructions need of the host (docs/cpu-model.md). */
static const struct cpu_flag needed_flags[] = {
	{ "cx16", 1, 0, ECX, 13 },	 { "sse3", 1, 0, ECX, 0 },	  { "ssse3", 1, 0, ECX, 9 },
	{ "sse4.1", 1, 0, ECX, 19 },	 { "sse4.2", 1, 0, ECX, 20 },	  { "popcnt", 1, 0, ECX, 23 },
	{ "movbe", 1, 0, ECX, 22 },	 { "xsave", 1, 0, ECX, 26 },	  { "osxsave", 1, 0, ECX, 27 },
	{ "avx", 1, 0, ECX, 28 },	 { "f16c", 1, 0, ECX, 29 },	  { "fma", 1, 0, ECX, 12 },
	{ "aes", 1, 0, ECX, 25 },	 { "pclmulqdq", 1, 0, ECX, 1 },	  { "rdrand", 1, 0, ECX, 30 },
	{ "bmi1", 7, 0, EBX, 3 },	 { "avx2", 7, 0, EBX, 5 },	  { "bmi2", 7, 0, EBX, 8 },
	{ "rdseed", 7, 0, EBX, 18 },	 { "adx", 7, 0, EBX, 19 },	  { "sha", 7, 0, EBX, 29 },
	{ "lzcnt", 0x80000001, 0, ECX, 5 }, { "lahf", 0x80000001, 0, ECX, 0 },
};

static bool cpu_has(const struct cpu_flag *f)
{
	uint32_t r[4];

	if ((uint32_t)__get_cpuid_max(f->leaf & 0x80000000, NULL) < f->leaf)
		return false;
	__cpuid_count(f->leaf, f->subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
	return r[f->reg] >> f->bit & 1;
}

static void look_cpu(struct finding *f)
{
	static const struct cpu_flag hypervisor = { "hypervisor", 1, 0, ECX, 31 };
	char brand[49] = "", *name = brand;
	uint32_t *r = (uint32_t *)(void *)brand;
	uint32_t leaf = 0x80000002;

	if ((uint32_t)__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
		for (unsigned i = 0; i < 3; i++, r += 4)
			__cpuid(leaf + i, r[0], r[1], r[2], r[3]);
	}
	brand[48] = 0;
	while (*name == ' ')
		name++;
	found(f, FINDING_OK, "%s, %ld online%s", *name ? name : "unknown", sysconf(_SC_NPROCESSORS_ONLN),
	      cpu_has(&hypervisor) ? ", itself in a virtual machine" : "");
}

/* XCR0: does the operating system keep SSE and AVX state? */
static bool os_keeps_avx(void)
{
	static const struct cpu_flag osxsave = { "osxsave", 1, 0, ECX, 27 };
	uint32_t lo, hi;

	if (!cpu_has(&osxsave))
		return false;
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (lo & 6) == 6;
}

static bool auto_is_kvm; /* check_auto_engine, which comes first, has found out */

/* In short: whether AVX-512 is there, and how many other features. Saved VMs that have them go on only on such hosts. */
static const char *what_host_adds(void)
{
	static char text[64];
	struct cpu_model host, v3;
	struct error err = { 0 };
	unsigned n = 0;

	if (cpu_model_parse("host", &host, &err) || cpu_model_parse(NULL, &v3, &err))
		return "nothing";
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		n += cpu_model_has(&host, i) && !cpu_model_has(&v3, i);
	if (!n)
		return "nothing";
	snprintf(text, sizeof(text), "%u more%s (not portable)", n, cpu_model_has(&host, FEAT_AVX512F) ? ", AVX-512 among them" : "");
	return text;
}

static void look_features(struct finding *f)
{
	char list[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(needed_flags) / sizeof(needed_flags[0]); i++) {
		if (!cpu_has(&needed_flags[i]) && n < sizeof(list))
			n += (size_t)snprintf(list + n, sizeof(list) - n, " %s", needed_flags[i].name);
	}
	if (!os_keeps_avx() && n < sizeof(list))
		snprintf(list + n, sizeof(list) - n, " xcr0.avx");
	if (!*list) {
		found(f, FINDING_OK, "x86-64-v3, aes, pclmulqdq, rdrand, rdseed, adx, sha; --cpu host adds %s", what_host_adds());
		return;
	}
	/* Engine kvm gives its guests what there is. */
	found(f, auto_is_kvm ? FINDING_ABSENT : FINDING_MISSING, "not there:%s", list);
	get_it(f, "take a host of the x86-64-v3 level or newer (Intel since 2013, AMD since 2017); in a virtual machine, "
		  "choose its CPU type 'host'");
}

static void look_hardware(struct finding *f)
{
	static const struct cpu_flag vmx = { "vmx", 1, 0, ECX, 5 };
	static const struct cpu_flag svm = { "svm", 0x80000001, 0, ECX, 2 };

	if (cpu_has(&vmx) || cpu_has(&svm)) {
		found(f, FINDING_OK, "%s", cpu_has(&vmx) ? "vmx (Intel VT-x)" : "svm (AMD-V)");
		return;
	}
	found(f, FINDING_ABSENT, "no vmx or svm flag");
	get_it(f, "switch it on in the firmware, or nested virtualization in the hypervisor below; engine soft does without");
}

static struct kvm_probe probe;

const struct kvm_probe *check_kvm_probe(void)
{
	return &probe;
}

static void look_kvm(struct finding *f)
{
	static const char path[] = "/dev/kvm";

	kvm_probe(&probe, true);
	found(f, probe.usable ? FINDING_OK : FINDING_ABSENT, "%s", probe.why);
	if (probe.usable)
		return;
	if (access(path, F_OK))
		get_it(f, "load the kernel's module kvm_intel or kvm_amd; engine soft does without");
	else if (access(path, R_OK | W_OK))
		get_it(f, "join that group (usermod -aG GROUP USER) and log in again; engine soft does without");
	else if (probe.count <= 3)
		get_it(f, "take a kernel from 4.14 on; engine soft does without");
	else
		get_it(f, "take a host whose KVM has hardware below it; engine soft does without");
}

static void look_tsc(struct finding *f)
{
	static const struct cpu_flag invariant = { "invariant TSC", 0x80000007, 0, EDX, 8 };

	if (cpu_has(&invariant)) {
		found(f, FINDING_OK, "invariant, %.1f MHz", (double)host_tsc_hz() / 1e6);
		return;
	}
	found(f, FINDING_ABSENT, "not marked invariant, %.1f MHz", (double)host_tsc_hz() / 1e6);
	get_it(f, "in a virtual machine, ask for the invtsc flag; without it the guest's clock may drift");
}

/* --- memory and limits --- */

static bool read_meminfo(const char *key, unsigned long long *kib)
{
	FILE *in = fopen("/proc/meminfo", "re");
	char line[128];
	bool ok = false;

	if (!in)
		return false;
	while (!ok && fgets(line, sizeof(line), in)) {
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			ok = sscanf(line + strlen(key) + 1, "%llu", kib) == 1;
	}
	fclose(in);
	return ok;
}

static void look_memory(struct finding *f)
{
	unsigned long long avail, total;

	if (!read_meminfo("MemAvailable", &avail) || !read_meminfo("MemTotal", &total)) {
		found(f, FINDING_OK, "unknown: /proc/meminfo cannot be read");
		return;
	}
	found(f, avail / 1024 >= DEFAULT_MEM_MIB + MONITOR_MIB ? FINDING_OK : FINDING_ABSENT,
	      "%llu MiB available of %llu MiB", avail / 1024, total / 1024);
	if (f->state != FINDING_OK)
		get_it(f, "end other programs, or give the VM less with --mem");
}

/* Reads a limit of memory in bytes; false: none. */
static bool read_limit(const char *path, unsigned long long *bytes)
{
	FILE *in = fopen(path, "re");
	bool ok = in && fscanf(in, "%llu", bytes) == 1; /* "max" is no number */

	if (in)
		fclose(in);
	return ok;
}

/* The tightest limit of @mount/@path and the folders above it (cgroups(7): each ancestor's counts). */
static void tightest_limit(const char *mount, char *path, const char *file, unsigned long long *least)
{
	char name[4400];

	for (;;) {
		unsigned long long bytes;
		char *slash;

		snprintf(name, sizeof(name), "%s%s/%s", mount, path, file);
		if (read_limit(name, &bytes) && bytes < *least)
			*least = bytes;
		slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = 0;
	}
}

static void look_cgroup(struct finding *f)
{
	/* What cgroup v1 writes for "no limit" is near 2^63. */
	const unsigned long long none = 1ull << 62;
	unsigned long long least = none;
	FILE *in = fopen("/proc/self/cgroup", "re");
	char line[4200];

	while (in && fgets(line, sizeof(line), in)) {
		char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = 0;
		controllers++;
		path[strcspn(path, "\n")] = 0;
		if (!*controllers)
			tightest_limit("/sys/fs/cgroup", path, "memory.max", &least);
		else if (strstr(controllers, "memory"))
			tightest_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", &least);
	}
	if (in)
		fclose(in);
	if (least == none) {
		found(f, FINDING_OK, "none");
		return;
	}
	found(f, least >> 20 >= DEFAULT_MEM_MIB + MONITOR_MIB ? FINDING_OK : FINDING_ABSENT, "%llu MiB", least >> 20);
	if (f->state != FINDING_OK)
		get_it(f, "raise the memory limit of this container or session, or give the VM less with --mem");
}

static void look_rlimit(struct finding *f, int resource, unsigned long long want, unsigned unit_shift,
			const char *unit, enum finding_state short_of, const char *fix)
{
	struct rlimit r;

	if (getrlimit(resource, &r)) {
		found(f, FINDING_OK, "unknown: %s", strerror(errno));
		return;
	}
	if (r.rlim_cur == RLIM_INFINITY) {
		found(f, FINDING_OK, "unlimited");
		return;
	}
	found(f, r.rlim_cur >= want ? FINDING_OK : short_of, "%llu%s", (unsigned long long)r.rlim_cur >> unit_shift, unit);
	if (f->state != FINDING_OK)
		get_it(f, fix);
}

static void look_limit_as(struct finding *f)
{
	look_rlimit(f, RLIMIT_AS, 1ull << 30, 20, " MiB", FINDING_ABSENT, "ulimit -v unlimited");
}

static void look_limit_nofile(struct finding *f)
{
	/* A VM takes fewer than 16 descriptors; starting the engine's process needs numbers above 64. */
	look_rlimit(f, RLIMIT_NOFILE, 16, 0, "", FINDING_MISSING, "ulimit -n 1024");
	if (f->state == FINDING_OK)
		look_rlimit(f, RLIMIT_NOFILE, 128, 0, "", FINDING_ABSENT,
			    "ulimit -n 1024, for --engine soft,host=process");
}

static void look_limit_memlock(struct finding *f)
{
	look_rlimit(f, RLIMIT_MEMLOCK, 0, 10, " KiB", FINDING_ABSENT, "ulimit -l unlimited");
}

/* --- the kernel --- */

static void look_memfd(struct finding *f)
{
	int fd = memfd_create("subring-doctor", MFD_CLOEXEC);

	if (fd < 0) {
		found(f, FINDING_MISSING, "%s", strerror(errno));
		get_it(f, "allow memfd_create(2) in this sandbox, or take a kernel from 3.17 on");
		return;
	}
	close(fd);
	found(f, FINDING_OK, "works");
}

static void look_membarrier(struct finding *f)
{
	long mask = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (mask < 0 || !(mask & MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
		found(f, FINDING_MISSING, "%s", mask < 0 ? strerror(errno) : "no private expedited barrier");
		get_it(f, "allow membarrier(2) in this sandbox, or take a kernel from 4.14 on");
		return;
	}
	found(f, FINDING_OK, "private expedited barrier");
}

static void look_seccomp(struct finding *f)
{
	int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);

	if (mode < 0) {
		found(f, FINDING_ABSENT, "%s", strerror(errno));
		get_it(f, "take a kernel with CONFIG_SECCOMP_FILTER; this version does not use it yet");
		return;
	}
	found(f, FINDING_OK, mode ? "there; a filter is active on us" : "there");
}

/* --- subring itself --- */

static void look_guest(struct finding *f)
{
	struct default_guest guest;
	struct error err;

	if (default_guest_find(&guest, &err)) {
		found(f, FINDING_ABSENT, "%s", err.why);
		get_it(f, err.fix);
		return;
	}
	found(f, FINDING_OK, "%.200s", guest.kernel);
}

bool check_auto_engine(char *name, size_t name_len, char *why, size_t why_len)
{
	struct vm_clock clock;
	struct ram *ram = NULL;
	struct engine *engine = NULL;
	struct error err = { .why = "" };
	struct engine_config config = { .vcpus = 1, .clock = &clock, .options = "" };
	int ret;

	vm_clock_init(&clock);
	ret = ram_create(BOARD_MEM_MIN, NULL, &ram, &err);
	if (!ret)
		ret = board_map_ram(ram, &err);
	config.ram = ram;
	if (!ret)
		ret = engine_create("auto", &config, &engine, why, why_len, &err);
	if (ret) {
		snprintf(name, name_len, "none");
		snprintf(why, why_len, "%s", err.why);
	} else {
		snprintf(name, name_len, "%s", engine->ops->name);
		auto_is_kvm = !strcmp(engine->ops->name, "kvm");
		engine->ops->destroy(engine);
	}
	ram_destroy(ram);
	return ret == 0;
}

const struct check check_table[] = {
	{ "cpu", "CPU", look_cpu },
	{ "cpu-features", "CPU features for the guest's CPU", look_features },
	{ "hardware-virtualization", "hardware virtualization", look_hardware },
	{ "kvm", "/dev/kvm", look_kvm },
	{ "tsc", "time stamp counter", look_tsc },
	{ "memory", "memory", look_memory },
	{ "cgroup-memory", "memory limit of the cgroup", look_cgroup },
	{ "limit-as", "limit of address space (ulimit -v)", look_limit_as },
	{ "limit-nofile", "limit of open files (ulimit -n)", look_limit_nofile },
	{ "limit-memlock", "limit of locked memory (ulimit -l)", look_limit_memlock },
	{ "memfd", "memfd_create(2)", look_memfd },
	{ "membarrier", "membarrier(2)", look_membarrier },
	{ "seccomp", "seccomp(2)", look_seccomp },
	{ "default-guest", "default guest", look_guest },
	{ 0 },
};
