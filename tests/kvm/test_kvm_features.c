// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Features that were taken from the CPU model, under KVM: gone from CPUID as a guest reads it, from the control registers
 * and from the MSRs.
 */
#include "kvm_tests.h"

static struct cpu_model model;

static void start(const char *text)
{
	assert_int_equal(cpu_model_parse(text, &model, NULL), 0);
	erig_model = &model;
	erig_start(1);
	erig_model = NULL;
}

/* #GP's handler tells by EDI, and goes on behind the instruction whose length is in ESI. */
GUEST(gp, "mov $0x6b, %edi\nadd %rsi, 8(%rsp)\nadd $8, %rsp\niretq");

static void load(const char *code, size_t len)
{
	ERIG_LOAD(ERIG_HANDLER, gp);
	erig_vector(13, ERIG_HANDLER);
	erig_load(ERIG_CODE, code, len);
	erig_long_mode(0, ERIG_CODE);
}
#define LOAD(name) load(guest_##name, (size_t)(guest_##name##_end - guest_##name))

GUEST(cpuid, "mov $1, %eax\ncpuid\nmov %ecx, %r8d\nmov $7, %eax\nxor %ecx, %ecx\ncpuid\nmov %ebx, %r9d\n"
	     "mov $0xd, %eax\nxor %ecx, %ecx\ncpuid\nmov %eax, %r10d\nmov $0x80000001, %eax\ncpuid\nmov %edx, %r11d\nhlt");

static void cpuid_shows_nothing_of_what_is_gone(void **state)
{
	enum { R8 = 8, R9, R10, R11 };

	if (!real_kvm("CPUID"))
		skip();
	start("v3");
	LOAD(cpuid);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_true(erig_reg(0, R8) >> 21 & 1); /* x2APIC is KVM's own on any host */
	start("v3,-x2apic,-tsc-deadline,-avx,-smap,-smep,-pdpe1gb");
	LOAD(cpuid);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, R8) & (1 << 21 | 1 << 24 | 1 << 28 | 1 << 12 | 1 << 29), 0);
	assert_int_equal(erig_reg(0, R9) & (1 << 20 | 1 << 7 | 1 << 5), 0);
	assert_int_equal(erig_reg(0, R10) & 4, 0);
	assert_int_equal(erig_reg(0, R11) >> 26 & 1, 0);
}

/* wrmsr of ECX with EDX:EAX */
GUEST(base, "mov $0x1b, %ecx\nrdmsr\nor $0x400, %eax\nmov $2, %esi\nxor %edi, %edi\nwrmsr\nhlt");
GUEST(cr4, "mov %cr4, %rax\nor $0x200000, %rax\nmov $3, %esi\nxor %edi, %edi\nmov %rax, %cr4\nhlt"); /* SMAP */

static void the_local_apic_and_cr4_follow(void **state)
{
	struct vcpu_state s;

	if (!real_kvm("checks by CPUID"))
		skip();
	for (int has = 0; has < 2; has++) {
		start(has ? "v3" : "v3,-x2apic");
		LOAD(base);
		/* What KVM refuses is the monitor's to answer, with #GP. */
		assert_int_equal(erig_run(0), has ? ENGINE_EXIT_HALT : ENGINE_EXIT_MSR);
		if (!has)
			assert_int_equal(erig.e->vcpu[0]->run->msr.index, 0x1b);
		erig_settle(0);
		erig_get(0, &s);
		assert_int_equal(s.apic_base >> 10 & 1, has);
	}
	start("v3,-smap");
	LOAD(cr4);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	assert_int_equal(erig_reg(0, RDI), 0x6b);
}

GUEST(deadline, "mov $0x6e0, %ecx\nxor %eax, %eax\nxor %edx, %edx\nwrmsr\nhlt");

/* The filter makes it an exit; the monitor answers that there is no such MSR. */
static void msrs_of_what_is_gone_are_denied(void **state)
{
	if (!real_kvm("the MSR filter"))
		skip();
	start("v3");
	LOAD(deadline);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	start("v3,-tsc-deadline");
	LOAD(deadline);
	assert_int_equal(erig_run(0), ENGINE_EXIT_MSR);
	assert_int_equal(erig.e->vcpu[0]->run->msr.index, 0x6e0);
}

static void a_state_with_avx_in_use_is_refused_without_avx(void **state)
{
	struct vcpu_state s;

	start("v3,-avx");
	erig_get(0, &s);
	erig_set(0, &s);
	s.xcr0 = 7;
	assert_true(erig.ops->vcpu_set_state(erig.e->vcpu[0], &s) < 0);
}

static void an_xapics_id_is_kept_as_it_was_written(void **state)
{
	struct vcpu_state s;

	start("v3,-x2apic");
	erig_get(0, &s);
	s.lapic[2] = 0x55000000;
	erig_set(0, &s);
	erig_get(0, &s);
	assert_int_equal(s.lapic[2], 0x55000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cpuid_shows_nothing_of_what_is_gone),
		TEST(the_local_apic_and_cr4_follow),
		TEST(msrs_of_what_is_gone_are_denied),
		TEST(a_state_with_avx_in_use_is_refused_without_avx),
		TEST(an_xapics_id_is_kept_as_it_was_written),
	};

	need_kvm();
	erig_host = KVM_SPEC;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
