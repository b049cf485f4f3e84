// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ACPI fixed hardware (ACPI 6.5: 4.8.3.1 PM1 event, 4.8.3.2 PM1 control, 4.8.3.3 PM timer, 4.8.4.1
 * GPE; reset register 4.8.3.6).
 *
 * The PM timer is not stepped: its value follows from the VM clock. Each half period (2^31
 * ticks, when bit 31 changes) sets TMR_STS; that is accounted when somebody looks, and a timer is
 * armed only while its interrupt is enabled.
 *
 * A write to the command port (APM_CNT) is an SMI while SMI_EN has GBL_SMI_EN and APMC_EN, both 0 after reset. No
 * other event is one. EOS is kept and not needed between two SMIs, since handlers for virtual machines forget it.
 *
 * Invariant: SCI equals (pm1_sts & pm1_en) | (gpe0_sts & gpe0_en) being not 0.
 */
#include "chip/acpi_pm.h"

#include "chip/bytes.h"

enum {
	PM1_TMR = 1 << 0, PM1_BM = 1 << 4, PM1_GBL = 1 << 5, PM1_PWRBTN = 1 << 8, PM1_SLPBTN = 1 << 9, PM1_RTC = 1 << 10,
	PM1_WAK = 1 << 15,
	PM1_STS_BITS = PM1_TMR | PM1_BM | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC | PM1_WAK,
	PM1_EN_BITS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC,
};
enum { CNT_SCI_EN = 1 << 0, CNT_BM_RLD = 1 << 1, CNT_SLP_TYP_SHIFT = 10, CNT_SLP_TYP = 7, CNT_SLP_EN = 1 << 13 };
enum { CNT_KEPT = CNT_BM_RLD | CNT_SLP_TYP << CNT_SLP_TYP_SHIFT };
enum { RESET_CPU = 1 << 2 };

static uint64_t timer_ticks(const struct acpi_pm *a)
{
	return (uint64_t)((unsigned __int128)vm_clock_ns(a->time.clock) * ACPI_PM_TIMER_HZ / 1000000000u);
}

static void account(struct acpi_pm *a)
{
	uint64_t half = timer_ticks(a) >> 31;

	if (half != a->timer_half)
		a->pm1_sts |= PM1_TMR;
	a->timer_half = half;
}

static void update_irq(struct acpi_pm *a)
{
	unsigned __int128 next;

	irq_set(&a->wires.sci, (a->pm1_sts & a->pm1_en) || (a->gpe0_sts & a->gpe0_en));
	if (!(a->pm1_en & PM1_TMR) || (a->pm1_sts & PM1_TMR)) {
		vm_timer_cancel(a->time.timers, &a->timer);
		return;
	}
	next = (unsigned __int128)(a->timer_half + 1) << 31;
	next = (next * 1000000000u + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;
	vm_timer_set(a->time.timers, &a->timer, next < UINT64_MAX ? (uint64_t)next : UINT64_MAX - 1);
}

static void on_timer(void *opaque)
{
	struct acpi_pm *a = opaque;

	account(a);
	update_irq(a);
}

void acpi_pm_power_button(struct acpi_pm *a)
{
	a->pm1_sts |= PM1_PWRBTN;
	update_irq(a);
}

void acpi_pm_gpe(struct acpi_pm *a, unsigned n)
{
	if (n < 16)
		a->gpe0_sts |= 1 << n;
	update_irq(a);
}

/* --- registers, a byte at a time --- */

static void put_byte(uint16_t *reg, unsigned n, uint8_t v, uint16_t writable)
{
	unsigned shift = (n & 1) * 8;

	*reg = (uint16_t)((*reg & ~(0xff << shift)) | (v << shift & writable));
}

static void clear_bits(uint16_t *reg, unsigned n, uint8_t v)
{
	*reg &= ~(v << (n & 1) * 8);
}

static void write_control(struct acpi_pm *a, unsigned n, uint8_t v)
{
	put_byte(&a->pm1_cnt, n, v, CNT_KEPT);
	a->pm1_cnt |= CNT_SCI_EN;
	if (n == 1 && (v & CNT_SLP_EN >> 8) &&
	    (a->pm1_cnt >> CNT_SLP_TYP_SHIFT & CNT_SLP_TYP) == ACPI_PM_SLP_TYP_S5 && a->wires.power_off)
		a->wires.power_off(a->wires.opaque);
}

/* --- SMIs --- */

static bool smi_asserted(const struct acpi_pm *a)
{
	return (a->smi_en & ACPI_PM_SMI_EN_GLOBAL) && (a->smi_en & a->smi_sts & ACPI_PM_SMI_APM);
}

static void write_apm(struct acpi_pm *a, unsigned n, uint8_t v)
{
	a->smi[n] = v; /* ACPI mode cannot be left */
	if (n != 0 || !(a->smi_en & ACPI_PM_SMI_APM))
		return;
	a->smi_sts |= ACPI_PM_SMI_APM;
	if (smi_asserted(a) && a->wires.smi)
		a->wires.smi(a->wires.opaque);
}

static void write_smi_control(struct acpi_pm *a, unsigned n, uint8_t v)
{
	const uint32_t known = ACPI_PM_SMI_EN_GLOBAL | ACPI_PM_SMI_EN_EOS | ACPI_PM_SMI_APM;
	unsigned shift = (n & 3) * 8;
	bool was = smi_asserted(a);

	if (n < 4)
		a->smi_en = ((a->smi_en & ~(0xffu << shift)) | (uint32_t)v << shift) & known;
	else
		a->smi_sts &= ~((uint32_t)v << shift);
	if (!was && smi_asserted(a) && a->wires.smi)
		a->wires.smi(a->wires.opaque);
}

static void write_reset(struct acpi_pm *a, uint8_t v)
{
	a->reset = v & ~RESET_CPU;
	if ((v & RESET_CPU) && a->wires.reset) /* 6: hard reset; 0xe: with a power cycle; 4: CPU only */
		a->wires.reset(a->wires.opaque);
}

static uint8_t read_byte(void *chip, unsigned region, unsigned n)
{
	struct acpi_pm *a = chip;
	uint16_t v;

	switch (region) {
	case ACPI_PM_REGION_EVENT:
		account(a);
		update_irq(a);
		v = n < 2 ? a->pm1_sts : a->pm1_en;
		break;
	case ACPI_PM_REGION_CONTROL: v = a->pm1_cnt; break;
	case ACPI_PM_REGION_GPE0: v = n < 2 ? a->gpe0_sts : a->gpe0_en; break;
	case ACPI_PM_REGION_SMI: return a->smi[n];
	case ACPI_PM_REGION_RESET: return a->reset;
	case ACPI_PM_REGION_SMI_CONTROL: return (uint8_t)((n < 4 ? a->smi_en : a->smi_sts) >> (n & 3) * 8);
	default: return 0xff;
	}
	return (uint8_t)(v >> (n & 1) * 8);
}

static void write_byte(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct acpi_pm *a = chip;

	switch (region) {
	case ACPI_PM_REGION_EVENT:
		account(a);
		if (n < 2)
			clear_bits(&a->pm1_sts, n, v);
		else
			put_byte(&a->pm1_en, n, v, PM1_EN_BITS);
		update_irq(a);
		break;
	case ACPI_PM_REGION_CONTROL: write_control(a, n, v); break;
	case ACPI_PM_REGION_GPE0:
		if (n < 2)
			clear_bits(&a->gpe0_sts, n, v);
		else
			put_byte(&a->gpe0_en, n, v, 0xffff);
		update_irq(a);
		break;
	case ACPI_PM_REGION_SMI: write_apm(a, n, v); break;
	case ACPI_PM_REGION_SMI_CONTROL: write_smi_control(a, n, v); break;
	case ACPI_PM_REGION_RESET: write_reset(a, v); break;
	default: break;
	}
}

static unsigned region_len(unsigned region)
{
	switch (region) {
	case ACPI_PM_REGION_EVENT: return ACPI_PM_EVENT_LEN;
	case ACPI_PM_REGION_CONTROL: return ACPI_PM_CONTROL_LEN;
	case ACPI_PM_REGION_GPE0: return ACPI_PM_GPE0_LEN;
	case ACPI_PM_REGION_SMI: return ACPI_PM_SMI_LEN;
	case ACPI_PM_REGION_RESET: return ACPI_PM_RESET_LEN;
	case ACPI_PM_REGION_SMI_CONTROL: return ACPI_PM_SMI_CONTROL_LEN;
	default: return 0;
	}
}

static uint64_t pm_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	/* The timer must not be torn. */
	if (region == ACPI_PM_REGION_TIMER)
		return offset < ACPI_PM_TIMER_LEN ? (uint32_t)timer_ticks(chip) >> offset * 8 : UINT64_MAX;
	return bytes_read(read_byte, chip, region, offset, size, region_len(region));
}

static void pm_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_byte, chip, region, offset, size, region_len(region), value);
}

/* --- reset and state --- */

static void pm_reset(void *chip)
{
	struct acpi_pm *a = chip;

	a->pm1_sts = a->pm1_en = a->gpe0_sts = a->gpe0_en = 0;
	a->pm1_cnt = CNT_SCI_EN;
	a->smi[0] = a->smi[1] = a->reset = 0;
	a->smi_en = a->smi_sts = 0;
	a->timer_half = timer_ticks(a) >> 31;
	update_irq(a);
}

static int pm_loaded(void *chip)
{
	struct acpi_pm *a = chip;

	a->pm1_sts &= PM1_STS_BITS;
	a->pm1_en &= PM1_EN_BITS;
	a->smi_en &= ACPI_PM_SMI_EN_GLOBAL | ACPI_PM_SMI_EN_EOS | ACPI_PM_SMI_APM;
	a->smi_sts &= ACPI_PM_SMI_APM;
	a->pm1_cnt = (a->pm1_cnt & CNT_KEPT) | CNT_SCI_EN;
	account(a);
	update_irq(a);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct acpi_pm, pm1_sts),
	STATE_UINT(struct acpi_pm, pm1_en),
	STATE_UINT(struct acpi_pm, pm1_cnt),
	STATE_UINT(struct acpi_pm, gpe0_sts),
	STATE_UINT(struct acpi_pm, gpe0_en),
	STATE_UINTS(struct acpi_pm, smi),
	STATE_UINT(struct acpi_pm, reset),
	STATE_UINT(struct acpi_pm, smi_en),
	STATE_UINT(struct acpi_pm, smi_sts),
	STATE_UINT(struct acpi_pm, timer_half),
	STATE_END,
};

static const struct state_class class = { .name = "acpi_pm", .version = 1, .fields = fields };

const struct chip_ops acpi_pm_ops = {
	.state = &class,
	.reset = pm_reset,
	.read = pm_read,
	.write = pm_write,
	.loaded = pm_loaded,
};

void acpi_pm_init(struct acpi_pm *a, const struct chip_time *time, const struct acpi_pm_wires *wires)
{
	*a = (struct acpi_pm){ .time = *time, .wires = *wires };
	vm_timer_init(&a->timer, on_timer, a);
	pm_reset(a);
}
