// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state of a vCPU across engines: what engine soft gives engine kvm takes, and the other way round, in the middle of
 * anything; and what a hostile file could hold is refused.
 */
#include "kvm_tests.h"
#include "vcpu_states.h"

/* The first is KVM's too where engine soft cannot run: then states cross from one engine kvm to another. */
static const char *specs[] = { SOFT_SPEC, KVM_SPEC };

static bool have_soft(void)
{
	return specs[0] != specs[1];
}

/* Engine soft runs vector instructions on the host's processor, which may lack some (QEMU 7.2's has no SHA). */
static void look_for_soft(void)
{
	struct vm_clock clock;
	struct engine_config config = { .vcpus = 1, .clock = &clock };
	struct engine *e = NULL;
	struct error err = { 0 };
	int r;

	vm_clock_init(&clock);
	if (ram_create(ERIG_RAM_SIZE, NULL, &config.ram, &err)) {
		error_print(&err);
		exit(1);
	}
	r = engine_create("soft," SOFT_SPEC, &config, &e, NULL, 0, &err);
	if (!r)
		e->ops->destroy(e);
	ram_destroy(config.ram);
	if (r == -ENOTSUP) {
		printf("skipped: states that cross to engine soft: this host's processor cannot run it\n");
		specs[0] = specs[1];
	} else if (r) {
		error_print(&err);
		exit(1);
	}
}

static void start(const char *spec)
{
	erig_host = spec;
	erig_start(1);
}

static void both_engines_reset_alike(void **state)
{
	struct vcpu_state *s[2];

	if (!have_soft())
		skip();
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		for (unsigned i = 0; i < 2; i++) {
			erig_host = specs[i];
			erig_start(2);
			s[i] = calloc(1, sizeof(*s[i]));
			erig_get(cpu, s[i]);
			s[i]->xsave_len = 0; /* engine soft's image has room for more than the model */
		}
		vcpu_assert_same(s[0], s[1]);
		free(s[0]);
		free(s[1]);
	}
}

/* Something of its own in every field that all hosts have. */
static void colour(struct vcpu_state *s)
{
	vcpu_colour(s);
	s->cr8 = 3;
	s->lapic[8] = 0x30;
	s->lapic[0x22] = 0x20000; /* IRR: 0x51 */
	s->lapic[0x12] = 0x4;	  /* ISR: 0x42 */
	s->lapic[0x1a] = 0x20000; /* TMR: 0x51 */
	s->lapic[0x32] = 0x000ec;
	s->lapic[0x3e] = 0xb;
}

static void what_is_set_is_what_is_got(void **state)
{
	struct vcpu_state *a, *b;

	for (unsigned i = 0; i < 2; i++) {
		start(specs[i]);
		erig_long_mode(0, ERIG_CODE);
		a = erig_state();
		colour(a);
		erig_set(0, a);
		b = erig_state();
		b->lapic[0xa] = a->lapic[0xa]; /* PPR follows from the others */
		vcpu_assert_same(a, b);
		free(a);
		free(b);
	}
}

static void pending_events_cross_both_ways(void **state)
{
	struct vcpu_state *a, *b;

	for (unsigned i = 0; i < 2; i++) {
		start(specs[i]);
		erig_long_mode(0, ERIG_CODE);
		a = erig_state();
		a->rflags |= 0x200;
		a->nmi_pending = 1;
		a->exception_pending = 1;
		a->exception_vector = 14;
		a->exception_has_error = 1;
		a->exception_error = 6;
		a->cr2 = 0x1234;
		a->extint_pending = 1;
		a->extint_vector = 0x33;
		erig_set(0, a);
		erig_move(specs[!i]);
		b = erig_state();
		vcpu_assert_same(a, b);
		/* the exception's HLT has interrupts off: then the NMI comes, and nothing after it */
		assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
		free(b);
		b = erig_state();
		assert_true(b->rip == ERIG_HANDLER + 14 + 1 || b->rip == ERIG_HANDLER + 2 + 1);
		assert_int_equal(b->exception_pending, 0);
		assert_int_equal(b->extint_pending, 1);
		free(a);
		free(b);
	}
}

/* --- a vCPU that moves at each access --- */

GUEST(devices,
      "mov $0xd0000000, %ebx\nmov (%rbx), %rax\nmovzbl 3(%rbx), %ecx\nmov %ax, 6(%rbx)\nmovl $0x12345678, 0x10(%rbx)\n"
      "addl $0x11111111, 0x20(%rbx)\nxchg %rax, 0x38(%rbx)\nlea 0x40(%rbx), %rsi; lea 0x80(%rbx), %rdi\nmovsq\n"
      "mov $3, %ecx; lea 0x100(%rbx), %rdi; mov $0x20000, %esi\nrep movsl\npushq 0x400(%rbx)\npopq 0x408(%rbx)\n"
      "in $0x60, %al\nin $0x71, %eax\nout %al, $0x70\nmov $3, %ecx; mov $0x20000, %esi; mov $0x60, %edx\nrep outsb\nhlt");

static struct outcome *run_devices(unsigned at, const char *from, const char *to)
{
	start(from);
	ERIG_LOAD(ERIG_CODE, devices);
	fill_data();
	erig_long_mode(0, ERIG_CODE);
	return run_moving(at, to);
}

static void a_vcpu_goes_on_in_the_other_engine_after_any_access(void **state)
{
	struct outcome *want = run_devices(0, specs[0], specs[0]);

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned at = 1; at <= want->exits; at++) {
			struct outcome *got = run_devices(at, specs[i], specs[!i]);

			assert_outcomes_alike(got, want);
			free(got);
		}
	}
	free(want);
}

/* --- time --- */

GUEST(wait, "sti\n1: hlt; jmp 1b");
GUEST(tick, GUEST_EOI "inc %rcx\ncli\nhlt");
enum { LVT_TIMER = 0x32, LVT_LINT0 = 0x35, TIMER_INIT = 0x38, TIMER_CURRENT = 0x39, TIMER_DIVIDE = 0x3e, MODE_PERIODIC = 1 << 17,
       MODE_DEADLINE = 2 << 17 };
enum { WAIT_MS = 60 };

static struct vcpu_state *waiting(const char *spec, uint32_t mode)
{
	struct vcpu_state *s;

	start(spec);
	ERIG_LOAD(ERIG_CODE, wait);
	ERIG_LOAD(ERIG_CODE + 0x100, tick);
	erig_vector(0x51, ERIG_CODE + 0x100);
	erig_long_mode(0, ERIG_CODE);
	s = erig_state();
	s->lapic[LVT_TIMER] = 0x51 | mode;
	s->lapic[TIMER_DIVIDE] = 0xb;
	return s;
}

static void a_deadline_is_kept_by_the_engine_that_it_moves_to(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vcpu_state *s = waiting(specs[i], MODE_DEADLINE), *after;
		uint64_t deadline = vm_clock_tsc(&erig.clock) + erig.clock.tsc_hz / 1000 * WAIT_MS;

		s->tsc_deadline = deadline;
		erig_set(0, s);
		free(s);
		s = erig_state();
		assert_true(s->tsc_deadline == deadline);
		erig_move(specs[!i]);
		after = erig_state();
		assert_true(after->tsc_deadline == deadline);
		assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
		if (vm_clock_tsc(&erig.clock) < deadline && real_kvm("the TSC's offset"))
			fail_msg("the timer came too early");
		free(after);
		after = erig_state();
		assert_int_equal(after->gpr[RCX], 1);
		assert_int_equal(after->tsc_deadline, 0);
		free(s);
		free(after);
	}
}

static void a_count_goes_on_where_it_was(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vcpu_state *s = waiting(specs[i], 0), *after;
		const uint32_t initial = 25000 * 1000; /* a second of the crystal's */

		s->lapic[TIMER_INIT] = s->lapic[TIMER_CURRENT] = initial;
		s->lapic_timer_start_ns = vm_clock_ns(&erig.clock) - 400000000; /* 0.4 s ago */
		erig_set(0, s);
		erig_move(specs[!i]);
		after = erig_state();
		assert_int_equal(after->lapic[TIMER_INIT], initial);
		/* KVM counts faster than the crystal on hosts that cannot be told otherwise */
		assert_in_range(after->lapic[TIMER_CURRENT], 1, initial / 10 * 6 + 1);
		free(s);
		free(after);
	}
}

static void a_one_shot_count_that_ran_out_does_not_fire_again(void **state)
{
	struct vcpu_state *s = waiting(KVM_SPEC, 0), *after;

	s->lapic[TIMER_INIT] = 1000;
	s->lapic[TIMER_CURRENT] = 0;
	erig_set(0, s);
	atomic_store(&erig.e->vcpu[0]->run->immediate_exit, 0);
	usleep(20000);
	after = erig_state();
	assert_int_equal(after->lapic[TIMER_INIT], 1000);
	assert_int_equal(after->lapic[TIMER_CURRENT], 0);
	assert_int_equal(after->lapic[0x22], 0);
	free(s);
	free(after);
}

static void a_clock_that_stands_keeps_the_deadline_away(void **state)
{
	struct vcpu_state *s = waiting(KVM_SPEC, MODE_DEADLINE), *after;
	uint64_t deadline = vm_clock_tsc(&erig.clock) + erig.clock.tsc_hz / 1000 * WAIT_MS, at;

	s->tsc_deadline = deadline;
	erig_set(0, s);
	vm_clock_pause(&erig.clock);
	assert_int_equal(erig.ops->clock_changed(erig.e), 0);
	usleep(2 * WAIT_MS * 1000);
	after = erig_state();
	assert_true(after->tsc_deadline == deadline);
	assert_int_equal(after->lapic[0x22], 0);
	vm_clock_resume(&erig.clock);
	assert_int_equal(erig.ops->clock_changed(erig.e), 0);
	at = vm_clock_tsc(&erig.clock);
	assert_true(at < deadline);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	free(s);
	free(after);
	if (vm_clock_tsc(&erig.clock) < deadline) {
		if (!real_kvm("the TSC's offset"))
			skip();
		fail_msg("the timer came too early");
	}
}

GUEST(read_tsc, "rdtsc\nshl $32, %rdx\nor %rdx, %rax\nhlt");

static void the_guests_tsc_is_the_vm_clocks(void **state)
{
	uint64_t before, after;
	struct vcpu_state *s;

	start(KVM_SPEC);
	ERIG_LOAD(ERIG_CODE, read_tsc);
	erig_long_mode(0, ERIG_CODE);
	before = vm_clock_tsc(&erig.clock);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	after = vm_clock_tsc(&erig.clock);
	s = erig_state();
	if (s->gpr[RAX] < before || s->gpr[RAX] > after) {
		free(s);
		if (!real_kvm("the TSC's offset"))
			skip();
		fail();
	}
	assert_int_equal(s->tsc_delta, 0);
	free(s);
}

/* --- hostile state --- */

#define HOSTILE(X)                                                                                                   \
	X(cr0 = 0x80000010) X(cr0 = 0x33 | 1ull << 40) X(cr4 = 1ull << 63) X(efer = 1ull << 60) X(cr3 = ~0ull)       \
	X(cr8 = 16) X(xcr0 = ~0ull) X(xcr0 = 0) X(rflags = ~0ull) X(rflags = 0) X(rip = 1ull << 50)                  \
	X(seg[SEG_CS].attr = 0xffffffff) X(seg[SEG_CS].attr = 0xe09b) X(seg[SEG_FS].base = 1ull << 60)               \
	X(gdt.base = 1ull << 60) X(tr.attr = 0x93) X(lstar = 1ull << 60) X(apic_base = ~0ull) X(apic_base = 0xfee00400) \
	X(activity = 9) X(exception_vector = 99) X(exception_pending = 7) X(shadow = 9) X(xsave_len = 5000)          \
	X(xsave_len = 3) X(xsave[519] = 0x80) X(xsave[27] = 0xff) X(xsave[520] = 1) X(dr[7] = 1ull << 40) X(pat = ~0ull) \
	X(mtrr_def_type = ~0ull) X(nmi_pending = 3) X(extint_pending = 3) X(debug_pending = ~0u) X(tsc_aux = 1ull << 40)

static void impossible_states_are_refused_and_change_nothing(void **state)
{
	struct vcpu_state *good, *bad, *after;

	start(KVM_SPEC);
	erig_poke(ERIG_CODE, 1, 0xf4);
	erig_long_mode(0, ERIG_CODE);
	good = erig_state();
	bad = calloc(1, sizeof(*bad));
#define X(change)                                                                                        \
	*bad = *good;                                                                                    \
	bad->gpr[RAX] = 0x1234;                                                                          \
	bad->change;                                                                                     \
	if (erig.ops->vcpu_set_state(erig.e->vcpu[0], bad) >= 0 && real_kvm("refusal of " #change))      \
		fail_msg("taken: " #change);                                                             \
	after = erig_state();                                                                                   \
	if (after->gpr[RAX] != 0x1234)                                                                   \
		vcpu_assert_same(after, good);                                                                \
	else                                                                                             \
		erig_set(0, good);                                                                       \
	free(after);
	HOSTILE(X)
#undef X
	/* What a file could hold in the local APIC is cut to what there is. */
	*bad = *good;
	memset(bad->lapic, 0xff, sizeof(bad->lapic));
	bad->cr8 = 15;
	if (!erig.ops->vcpu_set_state(erig.e->vcpu[0], bad)) {
		after = erig_state();
		assert_int_equal(after->lapic[2], 0xff000000);
		assert_int_equal(after->lapic[0x20] & 0xffff, 0);
		assert_int_equal(after->lapic[0x3e], 0xb);
		free(after);
	}
	erig_set(0, good);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	free(good);
	free(bad);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(both_engines_reset_alike),
		TEST(what_is_set_is_what_is_got),
		TEST(pending_events_cross_both_ways),
		TEST(a_vcpu_goes_on_in_the_other_engine_after_any_access),
		TEST(a_deadline_is_kept_by_the_engine_that_it_moves_to),
		TEST(a_count_goes_on_where_it_was),
		TEST(a_one_shot_count_that_ran_out_does_not_fire_again),
		TEST(a_clock_that_stands_keeps_the_deadline_away),
		TEST(the_guests_tsc_is_the_vm_clocks),
		TEST(impossible_states_are_refused_and_change_nothing),
	};

	need_kvm();
	look_for_soft();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
