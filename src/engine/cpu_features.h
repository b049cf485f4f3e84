// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one list of CPU features: FEATURE(id, name, kind, needs, leaf, reg, bit).
 *
 *   id     FEAT_id is the number (enum cpu_feature)
 *   name   as typed after --cpu and as messages have it: QEMU's names where it has one
 *   kind   ALWAYS: every 64-bit processor has it, or the engines cannot do without; COMPUTED: the same, but the
 *          CPU's state decides whether CPUID shows it; MODEL: all models have it, "-name" removes it; OPTION: only the
 *          richest model has it, "+name" adds it; HOST: it runs natively or not at all: "host" has it where the host has,
 *          and "+name" adds it there
 *   needs  the feature without which this one cannot be
 *   leaf, reg, bit  where CPUID has it (SDM vol. 2, CPUID); 0xd stands for its sub-leaf 1, 7 for its
 *          sub-leaf 0, 0x10007 for sub-leaf 1 of 7
 *
 * The rows of the instruction table and the tables of MSRs, CR4, EFER and XCR0 refer to these numbers.
 */
#ifndef SUBRING_ENGINE_CPU_FEATURES_H
#define SUBRING_ENGINE_CPU_FEATURES_H

#define CPU_FEATURES(FEATURE)                                                                              \
	/* instructions */                                                                                 \
	FEATURE(X87, "fpu", ALWAYS, BASE, 1, EDX, 0)                                                       \
	FEATURE(MMX, "mmx", ALWAYS, BASE, 1, EDX, 23)                                                      \
	FEATURE(SSE, "sse", ALWAYS, BASE, 1, EDX, 25)                                                      \
	FEATURE(SSE2, "sse2", ALWAYS, BASE, 1, EDX, 26)                                                    \
	FEATURE(SSE3, "sse3", MODEL, BASE, 1, ECX, 0)                                                      \
	FEATURE(SSSE3, "ssse3", MODEL, SSE3, 1, ECX, 9)                                                    \
	FEATURE(SSE41, "sse4.1", MODEL, SSSE3, 1, ECX, 19)                                                 \
	FEATURE(SSE42, "sse4.2", MODEL, SSE41, 1, ECX, 20)                                                 \
	FEATURE(POPCNT, "popcnt", MODEL, BASE, 1, ECX, 23)                                                 \
	FEATURE(LZCNT, "lzcnt", MODEL, BASE, 0x80000001, ECX, 5)                                           \
	FEATURE(BMI1, "bmi1", MODEL, BASE, 7, EBX, 3)                                                      \
	FEATURE(BMI2, "bmi2", MODEL, BASE, 7, EBX, 8)                                                      \
	FEATURE(MOVBE, "movbe", MODEL, BASE, 1, ECX, 22)                                                   \
	FEATURE(ADX, "adx", MODEL, BASE, 7, EBX, 19)                                                       \
	FEATURE(AES, "aes", MODEL, BASE, 1, ECX, 25)                                                       \
	FEATURE(PCLMUL, "pclmulqdq", MODEL, BASE, 1, ECX, 1)                                               \
	FEATURE(SHA, "sha", MODEL, BASE, 7, EBX, 29)                                                       \
	FEATURE(XSAVE, "xsave", MODEL, BASE, 1, ECX, 26)                                                   \
	FEATURE(XSAVEOPT, "xsaveopt", MODEL, XSAVE, 0xd, EAX, 0)                                           \
	FEATURE(XSAVEC, "xsavec", MODEL, XSAVE, 0xd, EAX, 1)                                               \
	FEATURE(XGETBV1, "xgetbv1", MODEL, XSAVE, 0xd, EAX, 2)                                             \
	FEATURE(XSAVES, "xsaves", MODEL, XSAVEC, 0xd, EAX, 3)                                              \
	FEATURE(AVX, "avx", MODEL, XSAVE, 1, ECX, 28)                                                      \
	FEATURE(AVX2, "avx2", MODEL, AVX, 7, EBX, 5)                                                       \
	FEATURE(FMA, "fma", MODEL, AVX, 1, ECX, 12)                                                        \
	FEATURE(F16C, "f16c", MODEL, AVX, 1, ECX, 29)                                                      \
	FEATURE(FSGSBASE, "fsgsbase", MODEL, BASE, 7, EBX, 0)                                              \
	FEATURE(RDRAND, "rdrand", MODEL, BASE, 1, ECX, 30)                                                 \
	FEATURE(RDSEED, "rdseed", MODEL, BASE, 7, EBX, 18)                                                 \
	FEATURE(RDTSCP, "rdtscp", MODEL, BASE, 0x80000001, EDX, 27)                                        \
	FEATURE(RDPID, "rdpid", MODEL, BASE, 7, ECX, 22)                                                   \
	FEATURE(CX16, "cx16", MODEL, BASE, 1, ECX, 13)                                                     \
	FEATURE(LAHF64, "lahf-lm", MODEL, BASE, 0x80000001, ECX, 0)                                        \
	FEATURE(CMOV, "cmov", ALWAYS, BASE, 1, EDX, 15)                                                    \
	FEATURE(CX8, "cx8", ALWAYS, BASE, 1, EDX, 8)                                                       \
	FEATURE(FXSR, "fxsr", ALWAYS, BASE, 1, EDX, 24)                                                    \
	FEATURE(CLFLUSH, "clflush", ALWAYS, BASE, 1, EDX, 19)                                              \
	FEATURE(SYSCALL, "syscall", COMPUTED, BASE, 0x80000001, EDX, 11)                                   \
	FEATURE(SEP, "sep", MODEL, BASE, 1, EDX, 11)                                                       \
	FEATURE(PKU, "pku", OPTION, XSAVE, 7, ECX, 3)                                                      \
	FEATURE(MONITOR, "monitor", OPTION, BASE, 1, ECX, 3)                                               \
	/* instructions that only some hosts have */                                                       \
	FEATURE(GFNI, "gfni", HOST, BASE, 7, ECX, 8)                                                       \
	FEATURE(VAES, "vaes", HOST, AVX2, 7, ECX, 9)                                                       \
	FEATURE(VPCLMULQDQ, "vpclmulqdq", HOST, AVX2, 7, ECX, 10)                                          \
	FEATURE(CLFLUSHOPT, "clflushopt", HOST, BASE, 7, EBX, 23)                                          \
	FEATURE(CLWB, "clwb", HOST, BASE, 7, EBX, 24)                                                      \
	FEATURE(AVX_VNNI, "avx-vnni", HOST, AVX2, 0x10007, EAX, 4)                                         \
	FEATURE(AVX512F, "avx512f", HOST, AVX2, 7, EBX, 16)                                                \
	FEATURE(AVX512DQ, "avx512dq", HOST, AVX512F, 7, EBX, 17)                                           \
	FEATURE(AVX512IFMA, "avx512ifma", HOST, AVX512F, 7, EBX, 21)                                       \
	FEATURE(AVX512CD, "avx512cd", HOST, AVX512F, 7, EBX, 28)                                           \
	FEATURE(AVX512BW, "avx512bw", HOST, AVX512F, 7, EBX, 30)                                           \
	FEATURE(AVX512VL, "avx512vl", HOST, AVX512F, 7, EBX, 31)                                           \
	FEATURE(AVX512VBMI, "avx512vbmi", HOST, AVX512BW, 7, ECX, 1)                                       \
	FEATURE(AVX512VBMI2, "avx512-vbmi2", HOST, AVX512BW, 7, ECX, 6)                                    \
	FEATURE(AVX512VNNI, "avx512-vnni", HOST, AVX512F, 7, ECX, 11)                                      \
	FEATURE(AVX512BITALG, "avx512-bitalg", HOST, AVX512BW, 7, ECX, 12)                                 \
	FEATURE(AVX512VPOPCNTDQ, "avx512-vpopcntdq", HOST, AVX512F, 7, ECX, 14)                            \
	FEATURE(AVX512BF16, "avx512-bf16", HOST, AVX512BW, 0x10007, EAX, 5)                                \
	FEATURE(AVX512VP2INTERSECT, "avx512-vp2intersect", HOST, AVX512F, 7, EDX, 8)                       \
	/* paging */                                                                                       \
	FEATURE(PSE, "pse", ALWAYS, BASE, 1, EDX, 3)                                                       \
	FEATURE(PSE36, "pse36", MODEL, BASE, 1, EDX, 17)                                                   \
	FEATURE(PAE, "pae", ALWAYS, BASE, 1, EDX, 6)                                                       \
	FEATURE(LM, "lm", ALWAYS, BASE, 0x80000001, EDX, 29)                                               \
	FEATURE(PAGE1G, "pdpe1gb", MODEL, BASE, 0x80000001, EDX, 26)                                       \
	FEATURE(PGE, "pge", ALWAYS, BASE, 1, EDX, 13)                                                      \
	FEATURE(NX, "nx", MODEL, BASE, 0x80000001, EDX, 20)                                                \
	FEATURE(PCID, "pcid", MODEL, BASE, 1, ECX, 17)                                                     \
	FEATURE(INVPCID, "invpcid", MODEL, BASE, 7, EBX, 10)                                               \
	FEATURE(SMEP, "smep", MODEL, BASE, 7, EBX, 7)                                                      \
	FEATURE(SMAP, "smap", MODEL, BASE, 7, EBX, 20)                                                     \
	/* the rest of the system */                                                                       \
	FEATURE(VME, "vme", MODEL, BASE, 1, EDX, 1)                                                        \
	FEATURE(DE, "de", MODEL, BASE, 1, EDX, 2)                                                          \
	FEATURE(UMIP, "umip", MODEL, BASE, 7, ECX, 2)                                                      \
	FEATURE(MSR, "msr", ALWAYS, BASE, 1, EDX, 5)                                                       \
	FEATURE(MCE, "mce", MODEL, BASE, 1, EDX, 7)                                                        \
	FEATURE(MCA, "mca", MODEL, MCE, 1, EDX, 14)                                                        \
	FEATURE(MTRR, "mtrr", MODEL, BASE, 1, EDX, 12)                                                     \
	FEATURE(PAT, "pat", ALWAYS, BASE, 1, EDX, 16)                                                      \
	FEATURE(APIC, "apic", COMPUTED, BASE, 1, EDX, 9)                                                   \
	FEATURE(X2APIC, "x2apic", MODEL, BASE, 1, ECX, 21)                                                 \
	FEATURE(TSC, "tsc", ALWAYS, BASE, 1, EDX, 4)                                                       \
	FEATURE(TSC_DEADLINE, "tsc-deadline", MODEL, BASE, 1, ECX, 24)                                     \
	FEATURE(TSC_ADJUST, "tsc-adjust", MODEL, BASE, 7, EBX, 1)                                          \
	FEATURE(ARCH_CAPABILITIES, "arch-capabilities", MODEL, BASE, 7, EDX, 29)                           \
	FEATURE(LA57, "la57", OPTION, BASE, 7, ECX, 16)                                                    \
	FEATURE(PKS, "pks", OPTION, BASE, 7, ECX, 31)                                                      \
	/* only told */                                                                                    \
	FEATURE(HT, "ht", COMPUTED, BASE, 1, EDX, 28)                                                      \
	FEATURE(HYPERVISOR, "hypervisor", MODEL, BASE, 1, ECX, 31)                                         \
	FEATURE(ARAT, "arat", MODEL, BASE, 6, EAX, 2)                                                      \
	FEATURE(ERMS, "erms", MODEL, BASE, 7, EBX, 9)                                                      \
	FEATURE(FSRM, "fsrm", MODEL, ERMS, 7, EDX, 4)                                                      \
	FEATURE(NO_FCS_FDS, "zero-fcs-fds", ALWAYS, BASE, 7, EBX, 13)                                      \
	FEATURE(INVARIANT_TSC, "invtsc", MODEL, BASE, 0x80000007, EDX, 8)                                  \
	/* KVM's paravirtual interfaces; the first is the signature, of which CPUID shows the highest leaf */ \
	FEATURE(KVM, "kvm", MODEL, HYPERVISOR, 0x40000000, EAX, 0)                                         \
	FEATURE(KVM_CLOCK, "kvmclock", MODEL, KVM, 0x40000001, EAX, 3)                                     \
	FEATURE(KVM_CLOCK_OLD, "kvmclock-old", MODEL, KVM_CLOCK, 0x40000001, EAX, 0)                       \
	FEATURE(KVM_CLOCK_STABLE, "kvmclock-stable-bit", MODEL, KVM_CLOCK, 0x40000001, EAX, 24)            \
	FEATURE(KVM_NO_IO_DELAY, "kvm-nopiodelay", MODEL, KVM, 0x40000001, EAX, 1)                         \
	FEATURE(KVM_STEAL_TIME, "kvm-steal-time", MODEL, KVM, 0x40000001, EAX, 5)                          \
	FEATURE(KVM_PV_EOI, "kvm-pv-eoi", MODEL, KVM, 0x40000001, EAX, 6)                                  \
	FEATURE(KVM_PV_UNHALT, "kvm-pv-unhalt", MODEL, KVM, 0x40000001, EAX, 7)                            \
	FEATURE(KVM_PV_TLB_FLUSH, "kvm-pv-tlb-flush", MODEL, KVM_STEAL_TIME, 0x40000001, EAX, 9)           \
	FEATURE(KVM_PV_IPI, "kvm-pv-ipi", MODEL, KVM, 0x40000001, EAX, 11)                                 \
	FEATURE(KVM_PV_SCHED_YIELD, "kvm-pv-sched-yield", MODEL, KVM, 0x40000001, EAX, 13)

/* FEAT_BASE, which everything has, is 0. */
enum cpu_feature {
	FEAT_BASE,
#define FEATURE(id, name, kind, needs, leaf, reg, bit) FEAT_##id,
	CPU_FEATURES(FEATURE)
#undef FEATURE
	FEAT_COUNT
};

#endif
