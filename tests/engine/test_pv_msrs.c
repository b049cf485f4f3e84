// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's paravirtual interfaces on one vCPU: CPUID leaves, MSRs and the memory behind them, hypercalls, saved state
 * (Linux, Documentation/virt/kvm/x86/cpuid.rst, msr.rst, hypercalls.rst).
 */
#include "system_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { EAX, EBX, ECX, EDX };
enum { WALL_CLOCK = 0x4b564d00, SYSTEM_TIME, STEAL_TIME = 0x4b564d03, PV_EOI, WALL_CLOCK_OLD = 0x11, SYSTEM_TIME_OLD = 0x12 };
enum { AREA = 0x100000, RAM_END = 2 << 20, ROM = 0x1f0000 };
enum { HC_POLL = 1, HC_KICK = 5, HC_IPI = 10, HC_YIELD = 11 };

struct time_info {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

struct steal {
	uint64_t steal;
	uint32_t version, flags;
	uint8_t preempted, pad[47];
};

static bool reads_as(uint32_t msr, uint64_t v)
{
	uint64_t have;

	return sys_rdmsr(msr, &have) && have == v;
}

static void start(const char *model)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(cpu_model_parse(model, &sys.vm->own_model, NULL), 0);
}

/* The end of RAM becomes read-only. */
static void make_rom(void)
{
	assert_int_equal(ram_set_slot(sys.ram, 0, &(struct ram_slot){ .gpa = 0, .size = ROM }), 0);
	assert_int_equal(ram_set_slot(sys.ram, 1, &(struct ram_slot){ .gpa = ROM, .size = RAM_END - ROM, .offset = ROM, .readonly = true }), 0);
	soft_vm_slots_changed(sys.vm);
}

static void area(uint64_t gpa, void *buf, size_t len)
{
	assert_int_equal(ram_read(sys.ram, gpa, buf, len), 0);
}

static bool untouched(uint64_t gpa, size_t len)
{
	uint8_t b;

	for (size_t i = 0; i < len; i++) {
		area(gpa + i, &b, 1);
		if (b)
			return false;
	}
	return true;
}

/* --- CPUID --- */

static void cpuid_announces_kvm_and_what_is_there_of_it(void **state)
{
	uint32_t out[4];

	start("v3");
	cpuid_query(sys.c, 0x40000000, 0, out);
	assert_int_equal(out[EAX], 0x40000010);
	assert_int_equal(out[EBX], 0x4b4d564b);
	assert_int_equal(out[ECX], 0x564b4d56);
	assert_int_equal(out[EDX], 0x4d);
	cpuid_query(sys.c, 0x40000001, 0, out);
	assert_int_equal(out[EAX], 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 11 | 1 << 13 | 1 << 24);
	assert_int_equal(out[EBX] | out[ECX] | out[EDX], 0);
	for (uint32_t leaf = 0x40000002; leaf < 0x40000010; leaf++) {
		cpuid_query(sys.c, leaf, 0, out);
		assert_int_equal(out[EAX] | out[EBX] | out[ECX] | out[EDX], 0);
	}
	cpuid_query(sys.c, 0x40000010, 0, out);
	assert_int_equal(out[EAX], sys.vm->clock.tsc_hz / 1000);
	assert_int_equal(out[EBX], 25000);
}

static void a_model_without_kvm_hides_all_of_it(void **state)
{
	static const uint32_t msrs[] = { WALL_CLOCK_OLD, SYSTEM_TIME_OLD, WALL_CLOCK, SYSTEM_TIME, STEAL_TIME, PV_EOI };
	uint32_t out[4];
	uint64_t v;

	start("v3,-kvm");
	cpuid_query(sys.c, 0x40000000, 0, out);
	assert_int_equal(out[EAX], 0x40000000);
	assert_memory_equal(&out[EBX], "SubringSubri", 12);
	for (uint32_t leaf = 0x40000001; leaf <= 0x40000010; leaf++) {
		cpuid_query(sys.c, leaf, 0, out);
		assert_int_equal(out[EAX] | out[EBX] | out[ECX] | out[EDX], 0);
	}
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		assert_false(sys_rdmsr(msrs[i], &v));
		assert_false(sys_wrmsr(msrs[i], 0));
	}
	assert_int_equal(RUN(0x0f, 0x01, 0xc1), EXC_UD);
	assert_int_equal(RUN(0x0f, 0x01, 0xd9), EXC_UD);
}

static void each_feature_can_be_hidden_alone(void **state)
{
	uint64_t v;
	uint32_t out[4];

	start("v3,-kvm-steal-time");
	cpuid_query(sys.c, 0x40000001, 0, out);
	assert_false(out[EAX] & (1 << 5 | 1 << 9)); /* a flush is asked for in the area of stolen time */
	assert_false(sys_rdmsr(STEAL_TIME, &v));
	assert_true(sys_rdmsr(SYSTEM_TIME, &v));
	start("v3,-kvmclock-old");
	assert_false(sys_rdmsr(SYSTEM_TIME_OLD, &v));
	assert_true(sys_rdmsr(SYSTEM_TIME, &v));
	start("v3,-kvmclock");
	assert_false(sys_rdmsr(SYSTEM_TIME_OLD, &v));
	assert_false(sys_rdmsr(WALL_CLOCK, &v));
	start("v3,-kvm-pv-eoi");
	assert_false(sys_wrmsr(PV_EOI, 0));
	start("v3,-hypervisor");
	assert_false(sys_wrmsr(PV_EOI, 0));
	cpuid_query(sys.c, 0x40000000, 0, out);
	assert_int_equal(out[EAX] | out[EBX], 0);
}

/* Asynchronous page faults, polling and migration control are not announced. */
static void msrs_that_are_not_announced_fault(void **state)
{
	uint64_t v;

	start("v3");
	for (uint32_t msr = 0x4b564cff; msr <= 0x4b564dff; msr++) {
		bool there = msr == WALL_CLOCK || msr == SYSTEM_TIME || msr == STEAL_TIME || msr == PV_EOI;

		assert_int_equal(sys_rdmsr(msr, &v), there);
		assert_int_equal(sys_wrmsr(msr, 0), there);
	}
}

/* --- the clock --- */

static uint64_t guest_time(const struct time_info *t, uint64_t tsc)
{
	uint64_t d = tsc - t->tsc;

	d = t->shift >= 0 ? d << t->shift : d >> -t->shift;
	return t->ns + (uint64_t)((unsigned __int128)d * t->mul >> 32);
}

static void is_vm_time(uint64_t gpa)
{
	struct time_info t;

	area(gpa, &t, sizeof(t));
	assert_int_equal(t.version & 1, 0);
	assert_int_not_equal(t.version, 0);
	assert_int_equal(t.flags, 1);
	assert_true(t.mul >> 31);
	for (uint64_t tsc = 0; tsc < 1ull << 56; tsc = tsc * 5 + 12345) {
		uint64_t want = vm_clock_tsc_to_ns(&sys.vm->clock, tsc), have = guest_time(&t, tsc + sys.c->tsc_delta);
		uint64_t off = want > have ? want - have : have - want;

		assert_true(off <= 2 + (want >> 31)); /* 32 bits of slope */
	}
}

static void the_clock_is_vm_time_and_the_same_whenever_it_was_asked_for(void **state)
{
	struct time_info a, b;

	start("v3");
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	is_vm_time(AREA);
	assert_true(reads_as(SYSTEM_TIME, AREA | 1));
	assert_true(reads_as(SYSTEM_TIME_OLD, AREA | 1));
	usleep(2000);
	assert_true(sys_wrmsr(SYSTEM_TIME_OLD, (AREA + 0x100) | 1));
	assert_true(reads_as(SYSTEM_TIME, (AREA + 0x100) | 1));
	area(AREA, &a, sizeof(a));
	area(AREA + 0x100, &b, sizeof(b));
	assert_memory_equal(&a.tsc, &b.tsc, sizeof(a) - 8);
	start("v3,-kvmclock-stable-bit");
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	area(AREA, &a, sizeof(a));
	assert_int_equal(a.flags, 0);
}

static void the_clock_goes_on_evenly_when_the_tsc_is_moved(void **state)
{
	struct time_info t;
	uint32_t version;

	start("v3");
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	area(AREA, &t, sizeof(t));
	version = t.version;
	sys_poke(AREA + 29, 1, 3); /* the guest's flag "was stopped" */
	assert_true(sys_wrmsr(0x3b, 1000000));
	area(AREA, &t, sizeof(t));
	assert_int_equal(t.tsc, 1000000);
	assert_int_equal(t.version, version + 2);
	assert_int_equal(t.flags, 3);
	sys_poke(AREA + 29, 1, 1);
	assert_true(sys_wrmsr(0x10, 77));
	is_vm_time(AREA);
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA)); /* off */
	area(AREA, &t, sizeof(t));
	assert_true(sys_wrmsr(0x3b, 0));
	sys_poke(AREA, 4, t.version + 1);
	assert_true(sys_wrmsr(0x3b, 5));
	area(AREA, &version, 4);
	assert_int_equal(version, t.version + 1);
}

static void the_clock_is_written_anew_when_the_vm_clock_is_set(void **state)
{
	struct time_info t;

	start("v3");
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	memset(&t, 0, sizeof(t));
	t.version = 7; /* another host was at it when the VM was saved */
	assert_int_equal(ram_write(sys.ram, AREA, &t, sizeof(t)), 0);
	soft_vm_set_clock(sys.vm, &sys.vm->clock);
	RUN(0x90);
	is_vm_time(AREA);
}

static void a_clock_that_is_no_memory_is_not_written(void **state)
{
	static const uint64_t bad[] = { RAM_END, RAM_END - 8, ROM, ROM - 8, ROM + 0x100, 0xfee00000, ~0ull, ~0ull - 31, 1ull << 52 };

	start("v3");
	make_rom();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(sys_wrmsr(SYSTEM_TIME, bad[i] | 1));
		assert_true(reads_as(SYSTEM_TIME, bad[i] | 1));
		assert_true(sys_wrmsr(WALL_CLOCK, bad[i]));
		assert_true(sys_wrmsr(0x3b, i));
	}
	assert_true(untouched(ROM - 64, 0x200));
	assert_true(untouched(RAM_END - 64, 64));
	assert_true(sys_wrmsr(SYSTEM_TIME, (AREA + 0xff0) | 1)); /* across two frames */
	is_vm_time(AREA + 0xff0);
}

static void areas_are_dirty_and_code_in_them_is_seen_to_change(void **state)
{
	uint64_t frame = AREA >> FRAME_SHIFT;
	uint32_t gen;

	start("v3");
	atomic_store(&sys.ram->frame[frame], FRAME_CODE);
	gen = atomic_load(&sys.ram->code_gen[frame]);
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	assert_true(atomic_load(&sys.ram->frame[frame]) & FRAME_DIRTY);
	assert_true(atomic_load(&sys.ram->code_gen[frame]) != gen);
	atomic_store(&sys.ram->frame[frame], FRAME_CODE);
	gen = atomic_load(&sys.ram->code_gen[frame]);
	assert_true(sys_wrmsr(STEAL_TIME, AREA | 1));
	assert_true(atomic_load(&sys.ram->frame[frame]) & FRAME_DIRTY);
	assert_true(atomic_load(&sys.ram->code_gen[frame]) != gen);
}

static void the_wall_clock_is_the_boards(void **state)
{
	uint32_t w[3];

	start("v3");
	sys.vm->clock.epoch_s = 1234567890;
	sys_poke(AREA, 4, 4);
	assert_true(sys_wrmsr(WALL_CLOCK, AREA));
	area(AREA, w, sizeof(w));
	assert_int_equal(w[0], 6);
	assert_int_equal(w[1], 1234567890);
	assert_int_equal(w[2], 0);
	assert_true(sys_wrmsr(WALL_CLOCK_OLD, AREA + 0x40));
	area(AREA + 0x40, w, sizeof(w));
	assert_int_equal(w[1], 1234567890);
	assert_true(reads_as(WALL_CLOCK, AREA + 0x40));
}

static void reset_and_init_switch_the_interfaces_off(void **state)
{
	for (unsigned init = 0; init < 2; init++) {
		start("v3");
		assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
		assert_true(sys_wrmsr(STEAL_TIME, (AREA + 0x40) | 1));
		assert_true(sys_wrmsr(PV_EOI, (AREA + 0x80) | 1));
		assert_true(sys_wrmsr(WALL_CLOCK, AREA + 0xc0));
		cpu_reset(sys.c, init);
		assert_int_equal(sys.c->pv.system_time | sys.c->pv.steal_time | sys.c->pv.eoi, 0);
		assert_int_equal(atomic_load(&sys.vm->wall_clock_msr), init ? AREA + 0xc0 : 0);
	}
}

/* --- stolen time --- */

static uint64_t run_delay(void)
{
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	char text[100] = "", *at = text;

	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	strtoull(at, &at, 10);
	return strtoull(at, &at, 10);
}

static void reserved_bits_of_stolen_time_fault(void **state)
{
	start("v3");
	for (unsigned bit = 1; bit <= 5; bit++)
		assert_false(sys_wrmsr(STEAL_TIME, AREA | 1 << bit | 1));
	assert_true(reads_as(STEAL_TIME, 0));
	assert_true(sys_wrmsr(STEAL_TIME, AREA | 1));
	assert_true(reads_as(STEAL_TIME, AREA | 1));
}

static void a_vcpu_that_is_not_running_says_so(void **state)
{
	start("v3");
	assert_true(sys_wrmsr(STEAL_TIME, AREA | 1));
	assert_int_equal(sys_peek(AREA + 16, 1), 1);
	assert_int_equal(RUN(0x8a, 0x1c, 0x25, 0x10, 0x00, 0x10, 0x00), SYS_HALTED); /* mov bl, [AREA + 16] */
	assert_int_equal(sys.c->gpr[RBX] & 0xff, 0);
	assert_int_equal(sys_peek(AREA + 16, 1), 1);
	assert_true(sys_wrmsr(STEAL_TIME, 0));
	sys_poke(AREA + 16, 1, 0x55);
	RUN(0x90);
	assert_int_equal(sys_peek(AREA + 16, 1), 0x55);
}

/* MOV EBX, [150000h] */
#define LOAD_150000 0x8b, 0x1c, 0x25, 0x00, 0x00, 0x15, 0x00

static void a_flush_that_was_asked_for_meanwhile_is_done_before_it_runs(void **state)
{
	enum { AT = 0x150000, OTHER = 0x160000 };

	start("v3");
	sys_poke(AT, 4, 111);
	sys_poke(OTHER, 4, 222);
	assert_true(sys_wrmsr(STEAL_TIME, AREA | 1));
	assert_int_equal(RUN(LOAD_150000), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RBX], 111);
	sys_poke(SYS_PT + (AT >> 12) * 8, 8, OTHER | 7);
	assert_int_equal(RUN(LOAD_150000), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RBX], 111); /* nobody has flushed */
	sys_poke(AREA + 16, 1, 3);
	assert_int_equal(RUN(LOAD_150000), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RBX], 222);
	assert_int_equal(sys_peek(AREA + 16, 1), 1);
}

static void *burn(void *stop)
{
	while (!atomic_load((_Atomic bool *)stop))
		;
	return NULL;
}

/* What the host tells of the thread before and after, as near to the guest's figure as one can ask. */
static void stolen_time_is_what_the_thread_has_waited(void **state)
{
	uint64_t before, begin, end, after;
	_Atomic bool stop = false;
	cpu_set_t old, one;
	struct steal s;
	pthread_t t;

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &old))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(pthread_create(&t, NULL, burn, &stop), 0); /* on the same processor */
	start("v3");
	sys_poke(AREA, 8, 1000000000000);
	before = run_delay();
	assert_true(sys_wrmsr(STEAL_TIME, AREA | 1));
	begin = run_delay();
	for (unsigned i = 0; i < 40; i++) {
		sys.c->gpr[RCX] = 1000000;
		assert_int_equal(RUN(0x48, 0xff, 0xc9, 0x75, 0xfb), SYS_HALTED); /* dec rcx; jnz */
	}
	end = run_delay();
	usleep(1500); /* the engine looks once a millisecond */
	RUN(0x90);
	after = run_delay();
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
	area(AREA, &s, sizeof(s));
	assert_int_equal(s.version & 1, 0);
	assert_int_equal(s.flags, 0);
	assert_true(end > begin);
	assert_in_range(s.steal - 1000000000000, end - begin, after - before);
}

static void stolen_time_that_is_no_memory_is_not_written(void **state)
{
	static const uint64_t bad[] = { RAM_END, ROM, 0xfee00000, ~0ull << 6, 1ull << 52 };

	start("v3");
	make_rom();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(sys_wrmsr(STEAL_TIME, bad[i] | 1));
		RUN(0x90);
	}
	assert_true(untouched(ROM, 64));
}

/* --- hypercalls --- */

static uint64_t call(bool amd, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	struct cpu *c = sys.c;

	c->gpr[RAX] = nr;
	c->gpr[RBX] = a0;
	c->gpr[RCX] = a1;
	c->gpr[RDX] = a2;
	c->gpr[RSI] = a3;
	assert_int_equal(RUN(0x0f, 0x01, amd ? 0xd9 : 0xc1), SYS_HALTED);
	assert_int_equal(c->gpr[RBX], a0);
	assert_int_equal(c->gpr[RCX], a1);
	assert_int_equal(c->gpr[RDX], a2);
	assert_int_equal(c->gpr[RSI], a3);
	return c->gpr[RAX];
}

static void unknown_hypercalls_are_answered_with_enosys(void **state)
{
	start("v3");
	for (unsigned amd = 0; amd < 2; amd++) {
		assert_int_equal(call(amd, ~0ull, 0, 0, 0, 0), (uint64_t)-1000);
		assert_int_equal(call(amd, 0, 0, 0, 0, 0), (uint64_t)-1000);
		assert_int_equal(call(amd, 9, AREA, 0, 0, 0), (uint64_t)-1000);
		assert_int_equal(call(amd, 1ull << 32 | HC_POLL, 0, 0, 0, 0), (uint64_t)-1000);
		assert_int_equal(call(amd, HC_POLL, 0, 0, 0, 0), 0);
	}
	sys_start(SYS_PROT32, 0);
	assert_int_equal(call(false, 12345, 0, 0, 0, 0), (uint32_t)-1000);
	assert_int_equal(call(false, 1ull << 32 | HC_POLL, 0, 0, 0, 0), 0);
}

/* HLT is not for CPL 3, so another instruction ends the run. */
static void hypercalls_are_refused_outside_cpl_0(void **state)
{
	sys_start(SYS_LONG, 3);
	sys.c->gpr[RAX] = HC_POLL;
	assert_int_equal(RUN(0x0f, 0x01, 0xc1), EXC_GP);
	assert_int_equal(sys.c->gpr[RAX], (uint64_t)-1);
}

static void a_hypercall_that_is_hidden_is_unknown(void **state)
{
	start("v3,-kvm-pv-unhalt");
	assert_int_equal(call(false, HC_KICK, 0, 0, 0, 0), (uint64_t)-1000);
	assert_int_equal(call(false, HC_IPI, 0, 0, 0, 0x50), 0);
	start("v3,-kvm-pv-ipi");
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x50), (uint64_t)-1000);
	assert_int_equal(call(false, HC_KICK, 0, 1, 0, 0), 0);
	start("v3,-kvm-pv-sched-yield");
	assert_int_equal(call(false, HC_YIELD, 0, 0, 0, 0), (uint64_t)-1000);
}

static void ipis_go_to_the_cpus_of_the_bitmap_and_are_counted(void **state)
{
	start("v3");
	lapic_page_write(sys.c, 0xf0, 0x1ff);
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x51), 1);
	assert_int_equal(lapic_page_read(sys.c, 0x220), 1u << 0x11);
	assert_int_equal(call(false, HC_IPI, ~0ull, ~0ull, 0, 0x52), 1); /* there is one */
	assert_int_equal(call(false, HC_IPI, 2, 0, 0, 0x53), 0);
	assert_int_equal(call(false, HC_IPI, 1, 0, 1, 0x53), 0);
	assert_int_equal(call(false, HC_IPI, 0, 1, 0, 0x53), 0);	 /* APIC ID 64 */
	assert_int_equal(call(false, HC_IPI, 1, 1, -64ull, 0x54), 0);	 /* beyond the end of numbers */
	assert_int_equal(call(false, HC_IPI, 1, 1, ~0ull, 0x54), 0);
	assert_int_equal(lapic_page_read(sys.c, 0x220), 3u << 0x11);
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x55 | 1 << 11), (uint64_t)-22); /* logical */
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x55 | 1 << 18), (uint64_t)-22); /* a shorthand */
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x55 | 7 << 8), 0);	       /* no such delivery mode */
	assert_int_equal(lapic_page_read(sys.c, 0x220), 3u << 0x11);
	sys_start(SYS_PROT32, 0);
	lapic_page_write(sys.c, 0xf0, 0x1ff);
	assert_int_equal(call(false, HC_IPI, 2, 0, 0, 0x51), 0);
	assert_int_equal(call(false, HC_IPI, 0, 1, 0xffffffe0, 0x51), 0); /* 32 after that: the next number does not wrap */
	assert_int_equal(call(false, HC_IPI, 1, 0, 0, 0x51), 1);
}

static void kicks_and_yields_of_cpus_that_are_not_there_do_nothing(void **state)
{
	start("v3");
	assert_int_equal(call(false, HC_KICK, 0, 1, 0, 0), 0);
	assert_int_equal(call(false, HC_KICK, 0, ~0ull, 0, 0), 0);
	assert_int_equal(call(false, HC_YIELD, 1ull << 40, 0, 0, 0), 0);
	assert_int_equal(call(false, HC_YIELD, 0, 0, 0, 0), 0);
	assert_false(sys.c->pv.kicked);
}

/* VMCALL; HLT, which is over at once; MOV EBX, 7; HLT */
static void a_kick_before_the_halt_ends_it_once(void **state)
{
	start("v3");
	sys.c->gpr[RAX] = HC_KICK;
	sys.c->gpr[RCX] = 0;
	assert_int_equal(RUN(0x0f, 0x01, 0xc1, 0xf4, 0xbb, 7, 0, 0, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RBX], 7);
	assert_false(sys.c->pv.kicked);
}

/* --- state --- */

static struct vcpu_state *get(void)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	cpu_get_state(sys.c, s);
	return s;
}

static void the_state_has_what_the_guest_has_set_up(void **state)
{
	struct vcpu_state *s;

	start("v3");
	assert_true(sys_wrmsr(SYSTEM_TIME, AREA | 1));
	assert_true(sys_wrmsr(WALL_CLOCK, AREA + 0x40));
	assert_true(sys_wrmsr(STEAL_TIME, (AREA + 0x80) | 1));
	assert_true(sys_wrmsr(PV_EOI, (AREA + 0xc0) | 1));
	s = get();
	assert_int_equal(s->pv_called, 0);
	free(s);
	call(false, HC_POLL, 0, 0, 0, 0);
	sys.c->pv.kicked = true;
	s = get();
	assert_int_equal(s->pv_called, 1);
	start("v3");
	sys_poke(AREA, 8, 7);
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	assert_true(sys.c->pv.kicked && sys.c->pv.called);
	sys.c->pv.kicked = false;
	assert_true(reads_as(SYSTEM_TIME, AREA | 1));
	is_vm_time(AREA);
	assert_true(reads_as(WALL_CLOCK, AREA + 0x40));
	assert_true(reads_as(STEAL_TIME, (AREA + 0x80) | 1));
	assert_true(reads_as(PV_EOI, (AREA + 0xc0) | 1));
	free(s);
}

static void a_halted_vcpu_with_a_kick_on_its_way_is_saved_as_running(void **state)
{
	struct vcpu_state *s;

	start("v3");
	sys.c->activity = VCPU_HALTED;
	cpu_request(sys.c, REQ_KICKED);
	s = get();
	assert_int_equal(s->activity, VCPU_RUNNING);
	assert_int_equal(s->pv_kicked, 0);
	free(s);
}

static void states_that_cannot_be_are_refused(void **state)
{
	struct vcpu_state *s, *good;

	start("v3");
	good = get();
	s = get();
#define REFUSED(change)                                                                                    \
	do {                                                                                               \
		*s = *good;                                                                                \
		change;                                                                                    \
		assert_int_equal(cpu_set_state(sys.c, s), -EINVAL);                                        \
	} while (0)
	REFUSED(s->pv_steal_time = AREA | 3);
	REFUSED(s->pv_eoi = AREA | 2);
	REFUSED(s->pv_kicked = 2);
	REFUSED(s->pv_called = 2);
	start("v3,-kvm");
	REFUSED(s->pv_steal_time = AREA | 1);
	REFUSED(s->pv_eoi = AREA | 1);
	REFUSED(s->pv_system_time = AREA | 1);
	REFUSED(s->pv_wall_clock = AREA);
	/* Addresses are the guest's to choose: they only do nothing. */
	start("v3");
	*s = *good;
	s->pv_eoi = s->pv_system_time = 1ull << 52 | 1;
	s->pv_steal_time = ~0ull << 6 | 1;
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	RUN(0x90);
	free(s);
	free(good);
}

/* A record from before there were these fields. */
static void a_record_without_them_loads(void **state)
{
	enum { FIELDS_MAX = 128 };
	struct vcpu_state *a, *b = calloc(1, sizeof(*b));
	struct state_field fields[FIELDS_MAX];
	struct state_class old = vcpu_state_class;
	struct state_writer *w;
	struct state_reader *r;
	const void *bytes;
	unsigned n = 0;
	size_t len;

	start("v3");
	a = get();
	a->pv_steal_time = AREA | 1;
	for (const struct state_field *f = vcpu_state_class.fields; f->name; f++)
		if (strncmp(f->name, "pv_", 3) && n < FIELDS_MAX - 1)
			fields[n++] = *f;
	fields[n] = (struct state_field)STATE_END;
	old.fields = fields;
	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, &old, 0, a);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(state_load(r, &vcpu_state_class, 0, b), 0);
	assert_int_equal(state_reader_finish(r), 0);
	assert_int_equal(b->pv_steal_time, 0);
	assert_int_equal(cpu_set_state(sys.c, b), 0);
	state_reader_destroy(r);
	state_writer_destroy(w);
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cpuid_announces_kvm_and_what_is_there_of_it),
		TEST(a_model_without_kvm_hides_all_of_it),
		TEST(each_feature_can_be_hidden_alone),
		TEST(msrs_that_are_not_announced_fault),
		TEST(the_clock_is_vm_time_and_the_same_whenever_it_was_asked_for),
		TEST(the_clock_goes_on_evenly_when_the_tsc_is_moved),
		TEST(the_clock_is_written_anew_when_the_vm_clock_is_set),
		TEST(a_clock_that_is_no_memory_is_not_written),
		TEST(areas_are_dirty_and_code_in_them_is_seen_to_change),
		TEST(the_wall_clock_is_the_boards),
		TEST(reset_and_init_switch_the_interfaces_off),
		TEST(reserved_bits_of_stolen_time_fault),
		TEST(a_vcpu_that_is_not_running_says_so),
		TEST(a_flush_that_was_asked_for_meanwhile_is_done_before_it_runs),
		TEST(stolen_time_is_what_the_thread_has_waited),
		TEST(stolen_time_that_is_no_memory_is_not_written),
		TEST(unknown_hypercalls_are_answered_with_enosys),
		TEST(hypercalls_are_refused_outside_cpl_0),
		TEST(a_hypercall_that_is_hidden_is_unknown),
		TEST(ipis_go_to_the_cpus_of_the_bitmap_and_are_counted),
		TEST(kicks_and_yields_of_cpus_that_are_not_there_do_nothing),
		TEST(a_kick_before_the_halt_ends_it_once),
		TEST(the_state_has_what_the_guest_has_set_up),
		TEST(a_halted_vcpu_with_a_kick_on_its_way_is_saved_as_running),
		TEST(states_that_cannot_be_are_refused),
		TEST(a_record_without_them_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
