// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ACPI fixed hardware (ACPI 6.5, chapter 4.8): PM1a event and control blocks, PM timer, a GPE0
 * block, the SMI command port and the reset register; SMIs by the command port as Intel's ICH9 has them.
 *
 * ACPI mode is always on (SCI_EN reads 1).
 */
#ifndef SUBRING_CHIP_ACPI_PM_H
#define SUBRING_CHIP_ACPI_PM_H

#include "bus/chip.h"

/* Regions; the board chooses their ports, and 0xb2 and 0xcf9. */
enum {
	ACPI_PM_REGION_EVENT,	/* PM1a_EVT_BLK */
	ACPI_PM_REGION_CONTROL, /* PM1a_CNT_BLK */
	ACPI_PM_REGION_TIMER,	/* PM_TMR_BLK */
	ACPI_PM_REGION_GPE0,	/* GPE0_BLK */
	ACPI_PM_REGION_SMI,	/* SMI_CMD and the scratch byte behind it */
	ACPI_PM_REGION_RESET,	/* RESET_REG */
	ACPI_PM_REGION_SMI_CONTROL, /* SMI_EN and SMI_STS, 4 bytes each (ICH9 data sheet, 13.8.3.9 and .10) */
};
enum {
	ACPI_PM_EVENT_LEN = 4,
	ACPI_PM_CONTROL_LEN = 2,
	ACPI_PM_TIMER_LEN = 4, /* 32 bits: FADT flag TMR_VAL_EXT */
	ACPI_PM_GPE0_LEN = 4,  /* 16 status bits, 16 enable bits */
	ACPI_PM_SMI_LEN = 2,
	ACPI_PM_RESET_LEN = 1,
	ACPI_PM_SMI_CONTROL_LEN = 8,
};
/* SMI_EN, SMI_STS */
enum { ACPI_PM_SMI_EN_GLOBAL = 1 << 0, ACPI_PM_SMI_EN_EOS = 1 << 1, ACPI_PM_SMI_APM = 1 << 5 };
enum {
	ACPI_PM_TIMER_HZ = 3579545,
	ACPI_PM_SLP_TYP_S5 = 5,	  /* for the DSDT's \_S5 */
	ACPI_PM_SMI_ENABLE = 0xf1, /* FADT ACPI_ENABLE */
	ACPI_PM_SMI_DISABLE = 0xf0,
	ACPI_PM_RESET_VALUE = 6,  /* FADT RESET_VALUE */
};

struct acpi_pm_wires {
	struct irq_line sci;
	void (*power_off)(void *opaque); /* S5 */
	void (*reset)(void *opaque);
	void *opaque;
	void (*smi)(void *opaque); /* SMI#, or NULL: nobody takes it */
};

struct acpi_pm {
	uint16_t pm1_sts, pm1_en, pm1_cnt;
	uint16_t gpe0_sts, gpe0_en;
	uint8_t smi[2];	       /* command and scratch */
	uint8_t reset;
	uint32_t smi_en, smi_sts;
	uint64_t timer_half;   /* half periods of the PM timer for which TMR_STS is accounted */
	struct acpi_pm_wires wires;
	struct chip_time time;
	struct vm_timer timer;
};

extern const struct chip_ops acpi_pm_ops;

void acpi_pm_init(struct acpi_pm *a, const struct chip_time *time, const struct acpi_pm_wires *wires);
/* Somebody pressed the power button. */
void acpi_pm_power_button(struct acpi_pm *a);
/* General purpose event @n (0-15) happened. */
void acpi_pm_gpe(struct acpi_pm *a, unsigned n);

#endif
