// SPDX-License-Identifier: GPL-2.0-or-later
/* Registers, priorities, errors, saved state of the local APIC: SDM vol. 3, chapter 11. */
#include "lapic_rig.h"

#include <stdlib.h>
#include <string.h>

/* --- registers --- */

static void lapic_registers_after_reset(void **state)
{
	struct cpu *c = vm.cpu[3];

	assert_int_equal(get(c, LAPIC_ID), 3u << 24);
	assert_int_equal(get(c, LAPIC_VERSION), 0x01050014);
	assert_int_equal(get(c, LAPIC_SVR), 0xff);
	assert_int_equal(get(c, LAPIC_DFR), 0xffffffff);
	assert_int_equal(get(c, LAPIC_LDR), 0);
	assert_int_equal(get(c, LAPIC_TPR), 0);
	for (unsigned n = LAPIC_LVT_TIMER; n <= LAPIC_LVT_ERROR; n++)
		assert_int_equal(get(c, n), 0x10000);
	assert_int_equal(get(c, LAPIC_ESR), 0);
	/* virtual wire mode on the bootstrap processor */
	assert_int_equal(get(vm.cpu[0], LAPIC_LVT_LINT0), 0x700);
	assert_true(lapic_accepts_extint(vm.cpu[0]));
	assert_false(lapic_accepts_extint(c));
}

static void lapic_registers_keep_only_their_bits(void **state)
{
	static const struct {
		unsigned n;
		uint32_t bits;
	} row[] = {
		{ LAPIC_TPR, 0xff },	       { LAPIC_LDR, 0xff000000 },      { LAPIC_SVR, 0x11ff },
		{ LAPIC_ICR_HIGH, 0xff000000 }, { LAPIC_LVT_TIMER, 0x700ff },   { LAPIC_LVT_THERMAL, 0x107ff },
		{ LAPIC_LVT_PMC, 0x107ff },    { LAPIC_LVT_LINT0, 0x1a7ff },   { LAPIC_LVT_LINT1, 0x1a7ff },
		{ LAPIC_LVT_ERROR, 0x100ff },  { LAPIC_TIMER_DIVIDE, 0xb },
	};
	struct cpu *c = vm.cpu[1];

	enable(c);
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		put(c, row[i].n, 0xffffffff);
		assert_int_equal(get(c, row[i].n), row[i].bits);
		put(c, row[i].n, row[i].n == LAPIC_SVR ? 0x100 : 0);
	}
	put(c, LAPIC_ID, 0x55ffffff);
	put(c, LAPIC_VERSION, 0);
	assert_int_equal(get(c, LAPIC_ID), 0x55000000);
	assert_int_equal(get(c, LAPIC_VERSION), 0x01050014);
	put(c, LAPIC_DFR, 0);
	assert_int_equal(get(c, LAPIC_DFR), 0x0fffffff);
}

static void lapic_disabled_by_svr_masks_lvts_and_takes_nothing(void **state)
{
	struct cpu *c = vm.cpu[1];

	put(c, LAPIC_LVT_LINT1, 0x400);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x10400);
	enable(c);
	put(c, LAPIC_LVT_LINT1, 0x400);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x400);
	put(c, LAPIC_SVR, 0xff);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x10400);
	lapic_post(c, 0x55, false);
	assert_int_equal(take(c), -1);
	enable(c);
	assert_int_equal(take(c), -1);
}

static void lapic_page_is_deaf_when_off_or_in_x2apic_mode(void **state)
{
	struct cpu *c = vm.cpu[1];
	uint64_t v;

	assert_int_equal(lapic_msr_read(c, 0x802, &v), -1);
	assert_int_equal(lapic_msr_write(c, 0x80b, 0), -1);
	x2apic(c);
	assert_int_equal(get(c, LAPIC_VERSION), 0xffffffff);
	put(c, LAPIC_TPR, 0x20);
	assert_int_equal(rdmsr(c, 0x808), 0);
}

static void lapic_base_changes_modes_only_as_the_manual_says(void **state)
{
	struct cpu *c = vm.cpu[5];
	uint64_t base = 0xfee00000;

	assert_int_equal(lapic_base_write(c, base | 0x400), -1); /* EXTD without EN */
	assert_int_equal(lapic_base_write(c, base | 0x801), -1); /* reserved */
	assert_int_equal(lapic_base_write(c, base | 0xa00), -1);
	assert_int_equal(lapic_base_write(c, 1ull << CPU_PHYS_BITS | 0x800), -1);
	put(c, LAPIC_TPR, 0x40);
	assert_int_equal(lapic_base_write(c, base | 0xc00), 0);
	assert_int_equal(rdmsr(c, 0x802), 5);
	assert_int_equal(rdmsr(c, 0x80d), 1 << 5);
	assert_int_equal(rdmsr(c, 0x808), 0x40);
	assert_int_equal(lapic_base_write(c, base | 0x800), -1); /* not back */
	assert_int_equal(lapic_base_write(c, base), 0);
	assert_int_equal(lapic_base_write(c, base | 0xc00), -1); /* not in one step */
	assert_int_equal(lapic_base_write(c, base | 0x800), 0);
	assert_int_equal(get(c, LAPIC_ID), 5u << 24);
	assert_int_equal(get(c, LAPIC_TPR), 0); /* off and on is a reset */
	assert_int_equal(get(c, LAPIC_SVR), 0xff);
}

static void lapic_init_keeps_the_mode(void **state)
{
	struct cpu *c = vm.cpu[5];

	x2apic(c);
	msr(c, 0x80f, 0x1ff);
	lapic_reset(c, true);
	assert_int_equal(rdmsr(c, 0x802), 5);
	assert_int_equal(rdmsr(c, 0x80d), 1 << 5);
	assert_int_equal(rdmsr(c, 0x80f), 0xff);
}

static void lapic_x2apic_msrs_fault_where_they_must(void **state)
{
	/* readable, writable with 0 */
	static const uint8_t readable[] = { 0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e };
	static const uint8_t writable[] = { 0x08, 0x0b, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f };
	struct cpu *c = vm.cpu[0];
	uint64_t v;

	x2apic(c);
	for (unsigned n = 0; n < 0x100; n++) {
		bool r = (n >= 0x10 && n < 0x28) || memchr(readable, (int)n, sizeof(readable)), w = memchr(writable, (int)n, sizeof(writable));

		assert_int_equal(lapic_msr_read(c, 0x800 + n, &v), r ? 0 : -1);
		assert_int_equal(lapic_msr_write(c, 0x800 + n, 0), w ? 0 : -1);
		assert_int_equal(lapic_msr_write(c, 0x800 + n, 1ull << 32), n == 0x30 ? 0 : -1);
	}
	assert_int_equal(lapic_msr_write(c, 0x80b, 1), -1);
	assert_int_equal(lapic_msr_write(c, 0x828, 1), -1);
	assert_int_equal(lapic_msr_write(c, 0x808, 0x100), -1);
	assert_int_equal(lapic_msr_write(c, 0x830, 1 << 13), -1);
	assert_int_equal(lapic_msr_write(c, 0x835, 1 << 17), -1);
	assert_int_equal(lapic_msr_write(c, 0x83f, 0x100), -1);
	msr(c, 0x830, 0x1234567800000000ull | 0x000c4000 | 0x400);
	assert_true(rdmsr(c, 0x830) == (0x1234567800000000ull | 0x000c4400));
}

/* --- priorities --- */

static void lapic_delivers_highest_first_and_nests_by_class(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_post(c, 0x31, false);
	assert_int_equal(requests(c) & REQ_INTR, REQ_INTR);
	lapic_post(c, 0x45, false);
	lapic_post(c, 0x42, false);
	assert_int_equal(take(c), 0x45);
	assert_int_equal(get(c, LAPIC_PPR), 0x40);
	assert_int_equal(take(c), -1); /* 0x42 is of the same class */
	lapic_post(c, 0x50, false);
	assert_int_equal(take(c), 0x50);
	assert_int_equal(get(c, LAPIC_ISR + 2), 1u << 5 | 1u << 16);
	requests(c);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_PPR), 0x40);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(requests(c) & REQ_EVENT, REQ_EVENT); /* the run loop has to look again */
	assert_int_equal(take(c), 0x42);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), 0x31);
	put(c, LAPIC_EOI, 0);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_PPR), 0);
	assert_int_equal(take(c), -1);
}

static void lapic_tpr_holds_back_its_class_and_below(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_set_cr8(c, 5);
	assert_int_equal(get(c, LAPIC_TPR), 0x50);
	lapic_post(c, 0x5f, false);
	assert_int_equal(take(c), -1);
	requests(c);
	put(c, LAPIC_TPR, 0x4f);
	assert_int_equal(requests(c) & REQ_EVENT, REQ_EVENT);
	assert_int_equal(lapic_cr8(c), 4);
	assert_int_equal(get(c, LAPIC_PPR), 0x4f);
	assert_int_equal(take(c), 0x5f);
	put(c, LAPIC_TPR, 0x53);
	assert_int_equal(get(c, LAPIC_PPR), 0x53);
	put(c, LAPIC_TPR, 0x41);
	assert_int_equal(get(c, LAPIC_PPR), 0x50);
}

static void lapic_irr_keeps_one_more_of_a_vector_in_service(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_post(c, 0xff, false);
	assert_int_equal(take(c), 0xff);
	lapic_post(c, 0xff, false);
	lapic_post(c, 0xff, false);
	assert_int_equal(get(c, LAPIC_IRR + 7), 1u << 31);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), 0xff);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), -1);
}

static void lapic_level_eoi_is_told_where_a_route_wants_it(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	vm.eoi_exit[1] = 1ull << (0x61 - 64);
	lapic_post(c, 0x61, true);
	assert_int_equal(take(c), 0x61);
	assert_int_equal(get(c, LAPIC_TMR + 3), 1u << 1);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), 0x61);
	assert_int_equal(lapic_eoi_exit(c), -1);
	lapic_post(c, 0x61, false); /* an edge of the same vector */
	assert_int_equal(take(c), 0x61);
	assert_int_equal(get(c, LAPIC_TMR + 3), 0);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), -1);
	lapic_post(c, 0x62, true); /* a level that no I/O APIC waits for */
	take(c);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), -1);
}

/* --- errors --- */

static void lapic_errors_show_after_a_write_of_esr(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_LVT_ERROR, 0xfe);
	put(c, LAPIC_ICR, 0x4000 | 1 << 18 | 7); /* vector 7 to itself */
	assert_int_equal(get(c, LAPIC_ESR), 0);
	assert_int_equal(take(c), 0xfe);
	put(c, LAPIC_EOI, 0);
	put(c, LAPIC_ICR, 0x4000 | 1 << 18 | 7);
	assert_int_equal(take(c), -1); /* not until ESR was written */
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x20);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0);
	lapic_post(c, 15, false);
	assert_int_equal(take(c), 0xfe);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x40);
	get(c, 0x3a);
	put(c, 0x00, 1);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x80);
}

/* --- saved state --- */

static void move(struct cpu *from, struct cpu *to)
{
	struct vcpu_state s = { .apic_base = from->apic_base };

	lapic_get_state(from, &s);
	lapic_reset(to, false);
	to->apic_base = from->apic_base;
	to->tsc_delta = from->tsc_delta;
	lapic_set_state(to, &s);
}

/* 11.8.5: with SVR bit 12 the EOI of a level-triggered interrupt stays inside. */
static void lapic_eoi_broadcast_can_be_suppressed(void **state)
{
	struct cpu *c = vm.cpu[0];

	assert_int_equal(get(c, LAPIC_VERSION) >> 24 & 1, 1); /* so it says that it can */
	put(c, LAPIC_SVR, 0x11ff);
	vm.eoi_exit[1] = 1ull << (0x61 - 64);
	lapic_post(c, 0x61, true);
	assert_int_equal(take(c), 0x61);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), -1);
	assert_int_equal(get(c, LAPIC_PPR), 0);
	put(c, LAPIC_SVR, 0x1ff);
	lapic_post(c, 0x61, true);
	assert_int_equal(take(c), 0x61);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), 0x61);
	x2apic(c);
	msr(c, 0x80f, 0x11ff);
	assert_true(rdmsr(c, 0x80f) == 0x11ff);
}

/* Table 11-1 and 11.5.3: only what the table leaves out is reserved. */
static void lapic_only_reserved_registers_are_illegal(void **state)
{
	static const uint8_t reserved[] = { 0x00, 0x01, 0x04, 0x05, 0x06, 0x07, 0x29, 0x2e, 0x2f, 0x3a, 0x3b, 0x3c, 0x3d, 0x3f };
	struct cpu *c = vm.cpu[0];

	enable(c);
	for (unsigned n = 0; n < 64; n++) {
		bool illegal = memchr(reserved, (int)n, sizeof(reserved)) || (n > 0x29 && n < 0x2f);

		put(c, LAPIC_ESR, 0);
		get(c, n);
		put(c, LAPIC_ESR, 0);
		assert_int_equal(get(c, LAPIC_ESR), illegal ? 0x80 : 0);
		if (n == LAPIC_ICR || n == LAPIC_ESR || n == LAPIC_SVR)
			continue;
		put(c, n, 0x10000); /* an LVT entry: masked */
		put(c, LAPIC_ESR, 0);
		assert_int_equal(get(c, LAPIC_ESR), illegal ? 0x80 : 0);
	}
}

/* 11.4.7.2: a disabled APIC takes no fixed interrupt, but NMI, INIT, SMI and startup messages. */
static void lapic_disabled_by_svr_takes_what_is_not_fixed(void **state)
{
	struct cpu *c = vm.cpu[2];

	for (uint32_t mode = 0; mode < 7; mode++) {
		uint32_t want[] = { REQ_INTR, 0, REQ_SMI, 0, REQ_NMI, REQ_INIT, REQ_SIPI };

		if (mode == 3)
			continue;
		forget_requests();
		assert_int_equal(lapic_deliver(&vm, &(struct engine_msi){ 0xfee02000, mode << 8 | 0x40 }), 0);
		assert_int_equal(requests(c), want[mode]);
		assert_int_equal(take(c), -1);
	}
}

static void lapic_goes_on_from_a_saved_service(void **state)
{
	struct cpu *c = vm.cpu[2], t;

	enable(c);
	vm.eoi_exit[1] = 1ull << (0x61 - 64);
	put(c, LAPIC_TPR, 0x23);
	put(c, LAPIC_LVT_ERROR, 0xfe);
	lapic_post(c, 0x61, true);
	take(c);
	lapic_post(c, 0x41, false);
	lapic_post(c, 0x72, false); /* posted, not taken over yet */
	memset(&t, 0, sizeof(t));
	t.vm = &vm;
	t.index = 2;
	t.apic_base = c->apic_base;
	move(c, &t);
	assert_int_equal(get(&t, LAPIC_TPR), 0x23);
	assert_int_equal(get(&t, LAPIC_LVT_ERROR), 0xfe);
	assert_int_equal(take(&t), 0x72);
	put(&t, LAPIC_EOI, 0);
	put(&t, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(&t), 0x61);
	assert_int_equal(take(&t), 0x41);
}

static void lapic_timers_go_on_from_a_saved_count(void **state)
{
	static const uint32_t mode[] = { 0, 0x20000 };
	struct cpu *c = vm.cpu[2], t;

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	for (unsigned i = 0; i < 2; i++) {
		put(c, LAPIC_LVT_TIMER, mode[i] | 0xec);
		put(c, LAPIC_TIMER_INIT, 10000);
		pass(150000);
		memset(&t, 0, sizeof(t));
		t.vm = &vm;
		t.index = 2;
		t.apic_base = c->apic_base;
		move(c, &t);
		assert_int_equal(get(&t, LAPIC_TIMER_CURRENT), 10000 - 150000 / 40);
		pass(249999);
		tick(&t);
		assert_int_equal(take(&t), -1);
		pass(1);
		tick(&t);
		assert_int_equal(take(&t), 0xec);
		put(&t, LAPIC_EOI, 0);
		move(&t, c); /* expired, or in its next period */
		pass(400000);
		tick(c);
		assert_int_equal(take(c), mode[i] ? 0xec : -1);
		put(c, LAPIC_EOI, 0);
	}
	put(c, LAPIC_LVT_TIMER, 0x400ec);
	msr(c, 0x6e0, vm.clock.tsc_paused + 1000);
	memset(&t, 0, sizeof(t));
	t.vm = &vm;
	t.index = 2;
	t.apic_base = c->apic_base;
	move(c, &t);
	assert_int_equal(rdmsr(&t, 0x6e0), vm.clock.tsc_paused + 1000);
	pass(1001);
	tick(&t);
	assert_int_equal(take(&t), 0xec);
}

static void lapic_takes_any_saved_state(void **state)
{
	struct cpu *c = vm.cpu[1];
	uint32_t x = 1;

	for (unsigned i = 0; i < 2000; i++) {
		struct vcpu_state s = { 0 };

		for (unsigned k = 0; k < sizeof(s.lapic) / 4; k++) {
			x = x * 1664525 + 1013904223;
			s.lapic[k] = x ^ x >> 16;
		}
		s.tsc_deadline = (uint64_t)s.lapic[0] << 32 | s.lapic[1];
		s.lapic_timer_start_ns = i & 1 ? s.tsc_deadline * 7 : s.lapic[2];
		c->apic_base = 0xfee00000 | (i & 2 ? 0x800 : 0) | (i & 4 ? 0x400 : 0);
		c->tsc_delta = s.tsc_deadline * 13;
		lapic_set_state(c, &s);
		pass(1000000);
		lapic_timer_check(c);
		for (unsigned n = 0; n < 64; n++)
			get(c, n);
		take(c);
		put(c, LAPIC_EOI, 0);
		put(c, LAPIC_ICR, s.lapic[5]);
		put(c, LAPIC_TIMER_DIVIDE, s.lapic[6]);
		put(c, LAPIC_LVT_TIMER, s.lapic[7]);
		lapic_get_state(c, &s);
		assert_int_equal(c->lapic.reg[LAPIC_IRR] & 0xffff, 0);
		assert_int_equal(c->lapic.reg[LAPIC_ISR] & 0xffff, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, lapic_make, lapic_unmake)
		T(lapic_registers_after_reset),
		T(lapic_registers_keep_only_their_bits),
		T(lapic_disabled_by_svr_masks_lvts_and_takes_nothing),
		T(lapic_page_is_deaf_when_off_or_in_x2apic_mode),
		T(lapic_base_changes_modes_only_as_the_manual_says),
		T(lapic_init_keeps_the_mode),
		T(lapic_x2apic_msrs_fault_where_they_must),
		T(lapic_delivers_highest_first_and_nests_by_class),
		T(lapic_tpr_holds_back_its_class_and_below),
		T(lapic_irr_keeps_one_more_of_a_vector_in_service),
		T(lapic_level_eoi_is_told_where_a_route_wants_it),
		T(lapic_errors_show_after_a_write_of_esr),
		T(lapic_eoi_broadcast_can_be_suppressed),
		T(lapic_only_reserved_registers_are_illegal),
		T(lapic_disabled_by_svr_takes_what_is_not_fixed),
		T(lapic_goes_on_from_a_saved_service),
		T(lapic_timers_go_on_from_a_saved_count),
		T(lapic_takes_any_saved_state),
	};

	return cmocka_run_group_tests_name("lapic", tests, NULL, NULL);
}
