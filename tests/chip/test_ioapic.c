// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/ioapic.h"

enum { MASKED = 1 << 16, LEVEL = 1 << 15, REMOTE_IRR = 1 << 14, LOW = 1 << 13, LOGICAL = 1 << 11 };

struct board {
	struct ioapic a;
	struct ioapic_msi msi[64], route[IOAPIC_PINS];
	unsigned msis, routes, route_calls;
};

static void on_msi(void *opaque, const struct ioapic_msi *msi)
{
	struct board *s = opaque;

	s->msi[s->msis++ % 64] = *msi;
}

static void on_routes(void *opaque, const struct ioapic_msi *route, unsigned count)
{
	struct board *s = opaque;

	memcpy(s->route, route, count * sizeof(*route));
	s->routes = count;
	s->route_calls++;
}

static struct board *fresh(struct board *s)
{
	struct ioapic_wires wires = { on_msi, on_routes, s };

	memset(s, 0, sizeof(*s));
	ioapic_init(&s->a, 3, &wires);
	return s;
}

static struct board *make(void **state)
{
	static struct board s;

	return fresh(&s);
}

static uint32_t get(struct board *s, uint8_t n)
{
	ioapic_ops.write(&s->a, 0, 0, 4, n);
	return (uint32_t)ioapic_ops.read(&s->a, 0, 0x10, 4);
}

static void put(struct board *s, uint8_t n, uint32_t v)
{
	ioapic_ops.write(&s->a, 0, 0, 4, n);
	ioapic_ops.write(&s->a, 0, 0x10, 4, v);
}

static void entry(struct board *s, unsigned pin, uint32_t low, uint8_t dest)
{
	put(s, (uint8_t)(0x11 + pin * 2), (uint32_t)dest << 24);
	put(s, (uint8_t)(0x10 + pin * 2), low);
}

static void ioapic_identifies_itself(void **state)
{
	struct board *s = make(state);

	assert_int_equal(get(s, 0), 3 << 24);
	assert_int_equal(get(s, 1), 0x00170020);
	put(s, 0, 0xff000000);
	assert_int_equal(get(s, 0), 15 << 24);
	assert_int_equal(get(s, 2), 15 << 24);
	put(s, 1, 0);
	assert_int_equal(get(s, 1), 0x00170020);
	assert_int_equal(get(s, 0x40), 0);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		assert_int_equal(get(s, (uint8_t)(0x10 + i * 2)), MASKED);
}

static void ioapic_entry_keeps_only_what_can_be_written(void **state)
{
	struct board *s = make(state);

	entry(s, 5, 0xffffffff, 0xab);
	assert_int_equal(get(s, 0x1a), 0x1afff);
	put(s, 0x1b, 0xffffffff);
	assert_int_equal(get(s, 0x1b), 0xff000000);
}

static void ioapic_edge_sends_one_message(void **state)
{
	struct board *s = make(state);

	entry(s, 4, 0x31, 2);
	ioapic_set_irq(&s->a, 4, true);
	ioapic_set_irq(&s->a, 4, true);
	assert_int_equal(s->msis, 1);
	assert_int_equal(s->msi[0].address, 0xfee02000);
	assert_int_equal(s->msi[0].data, 0x31);
	ioapic_eoi(&s->a, 0x31);
	assert_int_equal(s->msis, 1);
	ioapic_set_irq(&s->a, 4, false);
	ioapic_set_irq(&s->a, 4, true);
	assert_int_equal(s->msis, 2);
}

static void ioapic_edge_at_a_masked_pin_is_lost(void **state)
{
	struct board *s = make(state);

	ioapic_set_irq(&s->a, 4, true);
	entry(s, 4, 0x31, 0);
	assert_int_equal(s->msis, 0);
}

static void ioapic_level_waits_for_eoi_and_comes_again(void **state)
{
	struct board *s = make(state);

	entry(s, 10, 0x42 | LEVEL | LOW, 0);
	ioapic_set_irq(&s->a, 10, true);
	assert_int_equal(s->msis, 1);
	assert_int_equal(s->msi[0].data, 0x42 | 1 << 15 | 1 << 14);
	assert_int_equal(get(s, 0x24), 0x42 | LEVEL | LOW | REMOTE_IRR);
	ioapic_set_irq(&s->a, 10, false);
	ioapic_set_irq(&s->a, 10, true);
	assert_int_equal(s->msis, 1);
	ioapic_eoi(&s->a, 0x41);
	assert_int_equal(s->msis, 1);
	ioapic_eoi(&s->a, 0x42);
	assert_int_equal(s->msis, 2); /* still asserted */
	ioapic_set_irq(&s->a, 10, false);
	ioapic_ops.write(&s->a, 0, 0x40, 4, 0x42); /* the EOI register */
	assert_int_equal(s->msis, 2);
	assert_int_equal(get(s, 0x24) & REMOTE_IRR, 0);
}

static void ioapic_unmasking_sends_a_waiting_level(void **state)
{
	struct board *s = make(state);

	entry(s, 10, 0x42 | LEVEL | MASKED, 0);
	ioapic_set_irq(&s->a, 10, true);
	assert_int_equal(s->msis, 0);
	put(s, 0x24, 0x42 | LEVEL);
	assert_int_equal(s->msis, 1);
	/* mask, EOI, unmask: what Linux does around a threaded handler */
	put(s, 0x24, 0x42 | LEVEL | MASKED);
	assert_int_equal(get(s, 0x24) & REMOTE_IRR, REMOTE_IRR);
	assert_int_equal(s->routes, 1); /* its EOI is still wanted */
	ioapic_eoi(&s->a, 0x42);
	assert_int_equal(s->msis, 1);
	assert_int_equal(s->routes, 0);
	put(s, 0x24, 0x42 | LEVEL);
	assert_int_equal(s->msis, 2);
}

static void ioapic_writing_edge_clears_remote_irr(void **state)
{
	struct board *s = make(state);

	entry(s, 10, 0x42 | LEVEL, 0);
	ioapic_set_irq(&s->a, 10, true);
	ioapic_set_irq(&s->a, 10, false);
	put(s, 0x24, 0x42 | MASKED);
	put(s, 0x24, 0x42 | MASKED | LEVEL);
	assert_int_equal(get(s, 0x24), 0x42 | MASKED | LEVEL);
}

static void ioapic_messages_carry_the_entry(void **state)
{
	struct board *s = make(state);

	entry(s, 1, 0x55 | 1 << 8 | LOGICAL, 0xff); /* lowest priority */
	ioapic_set_irq(&s->a, 1, true);
	assert_int_equal(s->msi[0].address, 0xfeeff00c);
	assert_int_equal(s->msi[0].data, 0x155);
	entry(s, 2, 0x00 | 4 << 8 | LEVEL, 1); /* NMI is an edge whatever it says */
	ioapic_set_irq(&s->a, 2, true);
	assert_int_equal(s->msi[1].address, 0xfee01000);
	assert_int_equal(s->msi[1].data, 0x400);
	assert_int_equal(get(s, 0x14) & REMOTE_IRR, 0);
}

static void ioapic_tells_its_routes(void **state)
{
	struct board *s = make(state);
	unsigned calls = s->route_calls;

	assert_int_equal(s->routes, 0);
	put(s, 0x25, 1u << 24); /* masked: nothing changes */
	assert_int_equal(s->route_calls, calls);
	put(s, 0x24, 0x42 | LEVEL);
	assert_int_equal(s->route_calls, calls + 1);
	assert_int_equal(s->routes, 1);
	assert_int_equal(s->route[0].address, 0xfee01000);
	assert_int_equal(s->route[0].data, 0xc042);
	entry(s, 3, 0x33, 0);
	assert_int_equal(s->routes, 2);
	put(s, 0x24, 0x42 | LEVEL | MASKED);
	assert_int_equal(s->routes, 1);
	assert_int_equal(s->route[0].data, 0x33);
	ioapic_ops.reset(&s->a);
	assert_int_equal(s->routes, 0);
}

static void ioapic_ignores_what_is_not_there(void **state)
{
	struct board *s = make(state);

	ioapic_set_irq(&s->a, 24, true);
	ioapic_set_irq(&s->a, ~0u, true);
	assert_int_equal(ioapic_ops.read(&s->a, 0, 0x20, 4), 0);
	ioapic_ops.write(&s->a, 0, 0xff8, 8, ~0ull);
	ioapic_ops.write(&s->a, 0, 0, 1, 0x10);
	ioapic_ops.write(&s->a, 0, 0x10, 8, 0x1234567890123456);
	assert_int_equal(ioapic_ops.read(&s->a, 0, 0x11, 1) & 0xff, 0x24);
	assert_int_equal(s->msis, 0);
}

static void ioapic_goes_on_from_a_saved_service(void **state)
{
	struct board *s = make(state);
	static struct board t;

	entry(s, 10, 0x42 | LEVEL, 0);
	ioapic_set_irq(&s->a, 10, true);
	fresh(&t);
	assert_int_equal(rig_copy(&ioapic_ops, &s->a, &t.a), 0);
	assert_int_equal(t.routes, 1);
	assert_int_equal(t.msis, 0); /* it had been sent before */
	ioapic_set_irq(&t.a, 10, true);
	assert_int_equal(t.msis, 0);
	ioapic_eoi(&t.a, 0x42);
	assert_int_equal(t.msis, 1);
}

static void ioapic_refuses_impossible_states(void **state)
{
	struct board *s = make(state);

	s->a.redtbl[0] = REMOTE_IRR;
	assert_int_equal(ioapic_ops.loaded(&s->a), -EPROTO);
	s->a.redtbl[0] = 1ull << 40;
	assert_int_equal(ioapic_ops.loaded(&s->a), -EPROTO);
	s->a.redtbl[0] = MASKED;
	assert_int_equal(ioapic_ops.loaded(&s->a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ioapic_identifies_itself),
		cmocka_unit_test(ioapic_entry_keeps_only_what_can_be_written),
		cmocka_unit_test(ioapic_edge_sends_one_message),
		cmocka_unit_test(ioapic_edge_at_a_masked_pin_is_lost),
		cmocka_unit_test(ioapic_level_waits_for_eoi_and_comes_again),
		cmocka_unit_test(ioapic_unmasking_sends_a_waiting_level),
		cmocka_unit_test(ioapic_writing_edge_clears_remote_irr),
		cmocka_unit_test(ioapic_messages_carry_the_entry),
		cmocka_unit_test(ioapic_tells_its_routes),
		cmocka_unit_test(ioapic_ignores_what_is_not_there),
		cmocka_unit_test(ioapic_goes_on_from_a_saved_service),
		cmocka_unit_test(ioapic_refuses_impossible_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
