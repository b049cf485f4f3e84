// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/acpi_pm.h"

struct pm {
	struct rig rig;
	struct acpi_pm a;
	unsigned offs;
};

static void on_power_off(void *opaque)
{
	((struct pm *)opaque)->offs++;
}

static void on_reset(void *opaque)
{
	((struct pm *)opaque)->rig.calls++;
}

static struct pm *fresh(struct pm *s)
{
	struct acpi_pm_wires wires = { .power_off = on_power_off, .reset = on_reset, .opaque = s };

	memset(s, 0, sizeof(*s));
	rig_init(&s->rig);
	wires.sci = s->rig.line[9];
	acpi_pm_init(&s->a, &s->rig.time, &wires);
	return s;
}

static struct pm *make(void **state)
{
	static struct pm s;

	return fresh(&s);
}

static uint64_t get(struct pm *s, unsigned region, unsigned n, unsigned size)
{
	return acpi_pm_ops.read(&s->a, region, n, size);
}

static void put(struct pm *s, unsigned region, unsigned n, unsigned size, uint64_t v)
{
	acpi_pm_ops.write(&s->a, region, n, size, v);
}

static void pm_timer_counts_at_its_rate(void **state)
{
	struct pm *s = make(state);

	assert_int_equal(get(s, ACPI_PM_REGION_TIMER, 0, 4), 0);
	rig_advance(&s->rig, 1000000000);
	assert_int_equal(get(s, ACPI_PM_REGION_TIMER, 0, 4), 3579545);
	assert_int_equal(get(s, ACPI_PM_REGION_TIMER, 0, 2) & 0xffff, 3579545 & 0xffff);
	rig_advance(&s->rig, 1199ull * 1000000000);
	assert_int_equal(get(s, ACPI_PM_REGION_TIMER, 0, 4), (uint32_t)(3579545ull * 1200));
}

static void pm_timer_overflow_raises_sci(void **state)
{
	struct pm *s = make(state);
	uint64_t half = ((1ull << 31) * 1000000000 + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;

	put(s, ACPI_PM_REGION_EVENT, 2, 2, 1);
	rig_advance(&s->rig, half - 1);
	assert_false(s->rig.level[9]);
	rig_advance(&s->rig, 1);
	assert_true(s->rig.level[9]);
	assert_int_equal(get(s, ACPI_PM_REGION_EVENT, 0, 2), 1);
	put(s, ACPI_PM_REGION_EVENT, 0, 2, 1);
	assert_false(s->rig.level[9]);
	rig_advance(&s->rig, half);
	assert_true(s->rig.level[9]);
	put(s, ACPI_PM_REGION_EVENT, 2, 2, 0);
	assert_false(s->rig.level[9]);
	put(s, ACPI_PM_REGION_EVENT, 0, 2, 1);
	rig_advance(&s->rig, half);
	assert_int_equal(get(s, ACPI_PM_REGION_EVENT, 0, 4), 1); /* the status bit is set all the same */
}

static void power_button_raises_sci_until_cleared(void **state)
{
	struct pm *s = make(state);

	acpi_pm_power_button(&s->a);
	assert_false(s->rig.level[9]);
	put(s, ACPI_PM_REGION_EVENT, 2, 2, 1 << 8);
	assert_true(s->rig.level[9]);
	put(s, ACPI_PM_REGION_EVENT, 0, 1, 0xff); /* the other byte */
	assert_true(s->rig.level[9]);
	put(s, ACPI_PM_REGION_EVENT, 1, 1, 1);
	assert_false(s->rig.level[9]);
	assert_int_equal(get(s, ACPI_PM_REGION_EVENT, 0, 4), 1u << 24);
}

static void enable_register_keeps_only_its_bits(void **state)
{
	struct pm *s = make(state);

	put(s, ACPI_PM_REGION_EVENT, 0, 4, 0xffff0000);
	assert_int_equal(get(s, ACPI_PM_REGION_EVENT, 2, 2), 0x721);
}

static void sleeping_in_s5_powers_off(void **state)
{
	struct pm *s = make(state);

	assert_int_equal(get(s, ACPI_PM_REGION_CONTROL, 0, 2), 1); /* SCI_EN */
	put(s, ACPI_PM_REGION_CONTROL, 0, 2, 5 << 10);
	assert_int_equal(s->offs, 0);
	put(s, ACPI_PM_REGION_CONTROL, 0, 2, 1 << 13 | 3 << 10);
	assert_int_equal(s->offs, 0); /* a state there is not */
	put(s, ACPI_PM_REGION_CONTROL, 0, 2, 1 << 13 | 5 << 10 | 1);
	assert_int_equal(s->offs, 1);
	assert_int_equal(get(s, ACPI_PM_REGION_CONTROL, 0, 2), 5 << 10 | 1); /* SLP_EN reads 0 */
	put(s, ACPI_PM_REGION_CONTROL, 1, 1, 0x34);
	assert_int_equal(s->offs, 2);
}

static void general_purpose_events(void **state)
{
	struct pm *s = make(state);

	put(s, ACPI_PM_REGION_GPE0, 2, 2, 0x0008);
	acpi_pm_gpe(&s->a, 2);
	assert_false(s->rig.level[9]);
	acpi_pm_gpe(&s->a, 3);
	assert_true(s->rig.level[9]);
	assert_int_equal(get(s, ACPI_PM_REGION_GPE0, 0, 4), 0x0008000c);
	put(s, ACPI_PM_REGION_GPE0, 0, 1, 8);
	assert_false(s->rig.level[9]);
}

static void reset_register_resets(void **state)
{
	struct pm *s = make(state);

	put(s, ACPI_PM_REGION_RESET, 0, 1, 2);
	assert_int_equal(s->rig.calls, 0);
	put(s, ACPI_PM_REGION_RESET, 0, 1, 6);
	assert_int_equal(s->rig.calls, 1);
	put(s, ACPI_PM_REGION_RESET, 0, 1, 0xe);
	assert_int_equal(s->rig.calls, 2);
}

static void smi_port_is_two_bytes(void **state)
{
	struct pm *s = make(state);

	put(s, ACPI_PM_REGION_SMI, 0, 1, ACPI_PM_SMI_DISABLE);
	put(s, ACPI_PM_REGION_SMI, 1, 1, 0x77);
	assert_int_equal(get(s, ACPI_PM_REGION_SMI, 0, 2), 0x7700 | ACPI_PM_SMI_DISABLE);
	assert_int_equal(get(s, ACPI_PM_REGION_CONTROL, 0, 2), 1);
}

/* ICH9 data sheet, 13.8.3.9 and 13.8.3.10 */
static void apm_command_is_an_smi_only_with_both_enable_bits(void **state)
{
	struct pm *s = make(state);
	static struct pm t;

	s->a.wires.smi = rig_call;
	s->a.wires.opaque = &s->rig;
	put(s, ACPI_PM_REGION_SMI, 0, 1, 1);
	put(s, ACPI_PM_REGION_SMI_CONTROL, 0, 4, ACPI_PM_SMI_EN_GLOBAL);
	put(s, ACPI_PM_REGION_SMI, 0, 1, 1);
	assert_int_equal(s->rig.calls, 0);
	assert_int_equal(get(s, ACPI_PM_REGION_SMI_CONTROL, 4, 4), 0);
	put(s, ACPI_PM_REGION_SMI_CONTROL, 0, 4, ACPI_PM_SMI_APM);
	put(s, ACPI_PM_REGION_SMI, 0, 1, 1); /* it waits for the global enable */
	assert_int_equal(s->rig.calls, 0);
	assert_int_equal(get(s, ACPI_PM_REGION_SMI_CONTROL, 4, 4), ACPI_PM_SMI_APM);
	put(s, ACPI_PM_REGION_SMI_CONTROL, 0, 1, ACPI_PM_SMI_APM | ACPI_PM_SMI_EN_GLOBAL);
	assert_int_equal(s->rig.calls, 1);
	put(s, ACPI_PM_REGION_SMI, 0, 1, 1);
	assert_int_equal(s->rig.calls, 2);
	put(s, ACPI_PM_REGION_SMI, 1, 1, 1); /* the status port is only kept */
	assert_int_equal(s->rig.calls, 2);
	put(s, ACPI_PM_REGION_SMI_CONTROL, 0, 4, 0xffffffff);
	assert_int_equal(get(s, ACPI_PM_REGION_SMI_CONTROL, 0, 4), 0x23);
	fresh(&t);
	assert_int_equal(rig_copy(&acpi_pm_ops, &s->a, &t.a), 0);
	assert_int_equal(get(&t, ACPI_PM_REGION_SMI_CONTROL, 0, 4), 0x23);
	assert_int_equal(get(&t, ACPI_PM_REGION_SMI_CONTROL, 4, 4), ACPI_PM_SMI_APM);
	put(&t, ACPI_PM_REGION_SMI_CONTROL, 4, 4, ACPI_PM_SMI_APM);
	assert_int_equal(get(&t, ACPI_PM_REGION_SMI_CONTROL, 4, 4), 0);
}

static void acpi_pm_goes_on_from_a_saved_half_period(void **state)
{
	struct pm *s = make(state);
	static struct pm t;
	uint64_t half = ((1ull << 31) * 1000000000 + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;

	put(s, ACPI_PM_REGION_EVENT, 2, 2, 0x101);
	rig_advance(&s->rig, half / 2);
	fresh(&t);
	t.rig.clock = s->rig.clock;
	assert_int_equal(rig_copy(&acpi_pm_ops, &s->a, &t.a), 0);
	rig_advance(&t.rig, half / 2);
	assert_false(t.rig.level[9]);
	rig_advance(&t.rig, 1);
	assert_true(t.rig.level[9]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pm_timer_counts_at_its_rate),
		cmocka_unit_test(pm_timer_overflow_raises_sci),
		cmocka_unit_test(power_button_raises_sci_until_cleared),
		cmocka_unit_test(enable_register_keeps_only_its_bits),
		cmocka_unit_test(sleeping_in_s5_powers_off),
		cmocka_unit_test(general_purpose_events),
		cmocka_unit_test(reset_register_resets),
		cmocka_unit_test(smi_port_is_two_bytes),
		cmocka_unit_test(apm_command_is_an_smi_only_with_both_enable_bits),
		cmocka_unit_test(acpi_pm_goes_on_from_a_saved_half_period),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
