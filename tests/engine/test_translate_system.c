// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions of the system in translated code (translate/system.c, string.c, call.c): each piece of code runs in both tiers, and everything that
 * a guest can see has to be the same.
 */
#include "system_rig.h"

#include "engine/soft/translate/cache.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { DATA = 0x6000, VECTOR = 0x40 };

struct outcome {
	int how;
	uint64_t gpr[17], kernel_gs, gs, fs;
	uint64_t rflags, frame[5];
	uint8_t shadow, data[DATA];
};

static void start(bool translated, unsigned cpl)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	tuning.hot = 0;
	sys_start(SYS_LONG, cpl);
	if (translated)
		assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	sys.c->gpr[RBX] = SYS_DATA;
	for (unsigned i = 0; i < DATA; i += 8)
		sys_poke(SYS_DATA + i, 8, i * 0x0101010101010101);
}

static void look(struct outcome *o, int how)
{
	struct cpu *c = sys.c;

	memset(o, 0, sizeof(*o));
	o->how = how;
	memcpy(o->gpr, c->gpr, sizeof(o->gpr));
	o->rflags = cpu_rflags(c);
	o->kernel_gs = c->kernel_gs_base;
	o->gs = c->segbase[SEG_GS];
	o->fs = c->segbase[SEG_FS];
	o->shadow = c->shadow;
	for (unsigned i = 0; i < 5; i++)
		o->frame[i] = sys_frame(i, 8);
	assert_int_equal(ram_read(sys.ram, SYS_DATA, o->data, DATA), 0);
}

static struct outcome interpreted, translated;

/* @prepare may be NULL. What came out of the translator is `translated`, too. */
static void same(unsigned cpl, void (*prepare)(void), const uint8_t *code, size_t len)
{
	start(false, cpl);
	if (prepare)
		prepare();
	look(&interpreted, sys_run(code, len));
	sys_finish();
	start(true, cpl);
	if (prepare)
		prepare();
	look(&translated, sys_run(code, len));
	assert_true(sys.vm->tr->block_count > 0);
	assert_memory_equal(&interpreted, &translated, sizeof(translated));
	sys_finish();
}
#define SAME(cpl, prepare, ...) \
	same(cpl, prepare, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* --- IF --- */

static void interrupt_waits(void)
{
	sys.c->extint_pending = 1;
	sys.c->extint_vector = VECTOR;
}

static void an_interrupt_that_waits_comes_behind_the_instruction_after_sti(void **state)
{
	(void)state;
	SAME(0, interrupt_waits,
	     0xff, 0xc0, /* inc eax */
	     0xfb,	 /* sti */
	     0xff, 0xc1, /* inc ecx */
	     0xff, 0xc2, /* inc edx */
	     0xfa);	 /* cli */
	assert_int_equal(translated.how, VECTOR);
	assert_int_equal(translated.frame[0], SYS_CODE + 5);
}

static void an_interrupt_that_waits_comes_behind_a_branch_after_sti(void **state)
{
	(void)state;
	SAME(0, interrupt_waits, 0xfb, 0xeb, 0x01, 0x90, 0x90, 0xfa); /* sti; jmp over the nop */
	assert_int_equal(translated.how, VECTOR);
	assert_int_equal(translated.frame[0], SYS_CODE + 4);
}

static void cli_behind_sti_lets_no_interrupt_in(void **state)
{
	(void)state;
	SAME(0, interrupt_waits, 0xfb, 0xfa, 0x90, 0x90);
	assert_int_equal(translated.how, SYS_HALTED);
}

static void no_shadow_stays_behind_the_instruction_after_sti(void **state)
{
	(void)state;
	SAME(0, NULL, 0xfb, 0x90, 0xfa);
	assert_int_equal(translated.how, SYS_HALTED);
	assert_int_equal(translated.shadow, 0);
}

static void a_fault_behind_sti_pushes_if_and_ends_the_shadow(void **state)
{
	(void)state;
	SAME(0, NULL, 0xfb, 0x48, 0xff, 0x04, 0x25, 0, 0, 0, 0x60); /* sti; inc qword [0x60000000] */
	assert_int_equal(translated.how, EXC_PF);
}

static void cli_and_sti_at_level_3_raise_gp(void **state)
{
	(void)state;
	SAME(3, NULL, 0x90, 0xfa);
	assert_int_equal(translated.how, EXC_GP);
	SAME(3, NULL, 0x90, 0xfb, 0x90);
	assert_int_equal(translated.how, EXC_GP);
}

/* --- RFLAGS --- */

static void pushf_shows_all_flags_and_changes_none(void **state)
{
	static const uint8_t sums[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };

	(void)state;
	for (unsigned i = 0; i < sizeof(sums); i++)
		for (unsigned k = 0; k < sizeof(sums); k++)
			SAME(0, NULL, 0xb0, sums[i],  /* mov al, ... */
			     0xfd,		      /* std */
			     0x04, sums[k],	      /* add al, ... */
			     0x9c,		      /* pushfq */
			     0x0f, 0x94, 0xc1,	      /* setz cl */
			     0x0f, 0x90, 0xc2,	      /* seto dl */
			     0x5e,		      /* pop rsi */
			     0xfc,		      /* cld */
			     0x9c, 0x5f);	      /* pushfq; pop rdi */
}

/* --- bases --- */

static void swapgs_and_the_base_instructions_exchange_bases(void **state)
{
	(void)state;
	SAME(0, NULL, 0x0f, 0x20, 0xe0,		    /* mov rax, cr4 */
	     0x48, 0x0d, 0, 0, 1, 0, 0x0f, 0x22, 0xe0, /* or rax, FSGSBASE; mov cr4, rax */
	     0xf3, 0x48, 0x0f, 0xae, 0xdb,	    /* wrgsbase rbx */
	     0x0f, 0x01, 0xf8,			    /* swapgs */
	     0xf3, 0x48, 0x0f, 0xae, 0xd4,	    /* wrfsbase rsp */
	     0xf3, 0x49, 0x0f, 0xae, 0xc7,	    /* rdfsbase r15 */
	     0xf3, 0x49, 0x0f, 0xae, 0xce,	    /* rdgsbase r14 */
	     0x0f, 0x01, 0xf8, 0x65, 0x48, 0x8b, 0x0c, 0x25, 8, 0, 0, 0); /* swapgs; mov rcx, gs:[8] */
	assert_int_equal(translated.gs, SYS_DATA);
	assert_int_equal(translated.gpr[RCX], 8 * 0x0101010101010101);
}

static void a_base_that_is_not_canonical_raises_gp(void **state)
{
	(void)state;
	SAME(0, NULL, 0x0f, 0x20, 0xe0, 0x48, 0x0d, 0, 0, 1, 0, 0x0f, 0x22, 0xe0, /* CR4.FSGSBASE */
	     0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x40,  /* mov rax, 1 << 62 */
	     0x90, 0xf3, 0x48, 0x0f, 0xae, 0xd0);    /* wrfsbase rax */
	assert_int_equal(translated.how, EXC_GP);
}

static void base_instructions_raise_ud_without_their_bit_in_cr4(void **state)
{
	(void)state;
	SAME(0, NULL, 0x90, 0xf3, 0x48, 0x0f, 0xae, 0xc0);
	assert_int_equal(translated.how, EXC_UD);
}

/* --- strings --- */

static void repeated_moves_and_fills_give_the_same_memory(void **state)
{
	(void)state;
	for (unsigned forward = 0; forward < 2; forward++)
		for (unsigned count = 0; count < 0x1400; count = count * 3 + 1)
			SAME(0, NULL, (uint8_t)(forward ? 0xfc : 0xfd),
			     0x48, 0x8d, 0xb3, 0xf0, 0x2f, 0, 0,       /* lea rsi, [rbx+0x2ff0] */
			     0x48, 0x8d, 0xbb, 0xfd, 0x3f, 0, 0,       /* lea rdi, [rbx+0x3ffd] */
			     0xb9, (uint8_t)count, (uint8_t)(count >> 8), 0, 0, /* mov ecx, count */
			     0xf3, 0xa4,			       /* rep movsb */
			     0x48, 0x8d, 0xbb, 0x03, 0x28, 0, 0,       /* lea rdi, [rbx+0x2803] */
			     0xb9, (uint8_t)(count / 8), (uint8_t)(count >> 11), 0, 0,
			     0x39, 0xc0, 0xf3, 0xab,		       /* cmp eax, eax; rep stosd */
			     0x0f, 0x94, 0xc0, 0xfc);		       /* setz al; cld */
}

static void a_repeated_move_of_nothing_touches_nothing(void **state)
{
	(void)state;
	/* xor ecx, ecx; mov esi, edi, 0x60000000; rep movsb */
	SAME(0, NULL, 0x31, 0xc9, 0xbe, 0, 0, 0, 0x60, 0xbf, 0, 0, 0, 0x60, 0xf3, 0xa4);
	assert_int_equal(translated.how, SYS_HALTED);
}

static void overlapping_moves_repeat_their_pattern(void **state)
{
	(void)state;
	/* lea rdi, [rsi+3] */
	SAME(0, NULL, 0x48, 0x89, 0xde, 0x48, 0x8d, 0x7e, 0x03, 0xb9, 0, 2, 0, 0, 0xf3, 0xa4);
}

static void absent_page(void)
{
	sys_page(SYS_DATA + 0x2000, 0);
}

static void a_fill_that_faults_has_done_what_is_before(void **state)
{
	(void)state;
	/* lea rdi, [rbx+0x1f00]; mov ecx, 0x300; rep stosb */
	SAME(0, absent_page, 0x48, 0x8d, 0xbb, 0, 0x1f, 0, 0, 0xb9, 0, 3, 0, 0, 0xf3, 0xaa);
	assert_int_equal(translated.how, EXC_PF);
	assert_int_equal(translated.gpr[RCX], 0x200);
}

static void bits_are_found_far_from_the_operand(void **state)
{
	static const uint8_t op[] = { 0xa3, 0xab, 0xb3, 0xbb };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		/* lea r15, [rbx+0x2000]; mov eax, -3000 ...; bt* [r15+4], eax; setc dl; and with 64 bits and R14, beside flags that stay */
		SAME(0, NULL, 0x4c, 0x8d, 0xbb, 0, 0x20, 0, 0, 0xb8, 0x48, 0xf4, 0xff, 0xff,
		     0x41, 0x0f, op[i], 0x47, 0x04, 0x0f, 0x92, 0xc2);
		SAME(0, NULL, 0x4c, 0x8d, 0xbb, 0, 0x20, 0, 0, 0x41, 0xbe, 0x45, 0x13, 0, 0, 0x39, 0xc0,
		     0x4d, 0x0f, op[i], 0x37, 0x0f, 0x92, 0xc2, 0x0f, 0x94, 0xc1);
	}
	/* lock bts word [rbx+0x2000], ax */
	SAME(0, NULL, 0x66, 0xb8, 0x00, 0x90, 0xf0, 0x66, 0x0f, 0xab, 0x83, 0, 0x20, 0, 0, 0x0f, 0x92, 0xc2);
}

/* --- across two pages --- */

static int run_across(uint8_t immediate)
{
	static const uint8_t code[] = { 0x90, 0xb8, 1, 2, 3, 4, 0xf4 }; /* nop; mov eax, ...; hlt */
	static const uint8_t jump[] = { 0xe9, 0xf8, 0x4f, 0, 0 };  /* to SYS_DATA + 0xffd, from SYS_CODE */
	uint8_t bytes[sizeof(code)];

	memcpy(bytes, code, sizeof(code));
	bytes[5] = immediate;
	assert_int_equal(ram_write(sys.ram, SYS_DATA + 0xffd, bytes, sizeof(bytes)), 0);
	sys.c->gpr[GPR_RIP] = SYS_CODE;
	return sys_run(jump, sizeof(jump));
}

static void an_instruction_across_two_pages_is_the_one_that_is_there(void **state)
{
	(void)state;
	start(true, 0);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(run_across((uint8_t)(i / 2)), SYS_HALTED);
		assert_int_equal(sys.c->gpr[RAX], 0x030201 | i / 2 << 24);
	}
	sys_finish();
}

/* --- faults of the host --- */

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

static void guests_stack_pointer_in_the_signal_stack_is_nothing_to_signals(void **state)
{
	enum { LOW = 16 << 10 };
	static uint8_t before[LOW];
	stack_t host;

	if (SANITIZED) {
		print_message("skipped: the sanitizer has a signal stack of its own\n");
		skip();
	}
	for (unsigned i = 0; i < 2; i++) { /* the first time the thread takes its signal stack */
		start(true, 3);
		assert_int_equal(sigaltstack(NULL, &host), 0);
		if (i) {
			assert_false(host.ss_flags & SS_DISABLE);
			memset(host.ss_sp, 0x5a, LOW);
			memcpy(before, host.ss_sp, LOW);
			sys.c->gpr[RSP] = (uint64_t)(uintptr_t)host.ss_sp + LOW;
		}
		sys.c->gpr[RCX] = 0;
		assert_int_equal(RUN(0xf7, 0xf1), EXC_DE); /* div ecx */
		assert_true(sys.vm->tr->block_count > 0);
		sys_finish();
	}
	assert_memory_equal(before, host.ss_sp, LOW);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_interrupt_that_waits_comes_behind_the_instruction_after_sti),
		TEST(an_interrupt_that_waits_comes_behind_a_branch_after_sti),
		TEST(cli_behind_sti_lets_no_interrupt_in),
		TEST(no_shadow_stays_behind_the_instruction_after_sti),
		TEST(a_fault_behind_sti_pushes_if_and_ends_the_shadow),
		TEST(cli_and_sti_at_level_3_raise_gp),
		TEST(pushf_shows_all_flags_and_changes_none),
		TEST(swapgs_and_the_base_instructions_exchange_bases),
		TEST(a_base_that_is_not_canonical_raises_gp),
		TEST(base_instructions_raise_ud_without_their_bit_in_cr4),
		TEST(repeated_moves_and_fills_give_the_same_memory),
		TEST(a_repeated_move_of_nothing_touches_nothing),
		TEST(overlapping_moves_repeat_their_pattern),
		TEST(a_fill_that_faults_has_done_what_is_before),
		TEST(bits_are_found_far_from_the_operand),
		TEST(an_instruction_across_two_pages_is_the_one_that_is_there),
		TEST(guests_stack_pointer_in_the_signal_stack_is_nothing_to_signals),
	};

	return cmocka_run_group_tests_name("translate_system", tests, NULL, NULL);
}
