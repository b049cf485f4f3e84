// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest code in tests, as the compiler's assembler makes it: from guest_NAME up to guest_NAME_end. */
#ifndef SUBRING_TESTS_GUEST_CODE_H
#define SUBRING_TESTS_GUEST_CODE_H

#define GUEST(name, text)                                                                          \
	extern const char guest_##name[], guest_##name##_end[];                                    \
	__asm__(".pushsection .rodata\n.code64\nguest_" #name ":\n" text "\nguest_" #name          \
		"_end:\n.popsection\n")
#define GUEST16(name, text) GUEST(name, ".code16\n" text "\n.code64")
#define GUEST32(name, text) GUEST(name, ".code32\n" text "\n.code64")

#endif
