// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O APIC: 82093AA (Intel order number 290566) with version 0x20's EOI register.
 *
 * Invariants: Remote IRR is set only in level-triggered entries of mode fixed or lowest priority;
 * an unmasked such entry whose line is asserted has Remote IRR set; `route` is what
 * wires.routes was last told.
 */
#include "chip/ioapic.h"

#include <errno.h>
#include <string.h>

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_REDTBL = 0x10 };
enum { VERSION = 0x20 | (IOAPIC_PINS - 1) << 16 };
/* A redirection entry */
enum {
	RED_VECTOR = 0xff, RED_MODE_SHIFT = 8, RED_MODE = 7, RED_LOGICAL = 1 << 11, RED_STATUS = 1 << 12,
	RED_LOW = 1 << 13, RED_REMOTE_IRR = 1 << 14, RED_LEVEL = 1 << 15, RED_MASKED = 1 << 16,
	RED_WRITABLE = 0x1afff,
};
enum { RED_DEST_SHIFT = 56 };
enum { MODE_FIXED = 0, MODE_LOWEST = 1 };

/* SMI, NMI, INIT and ExtINT are edges, whatever the trigger bit says. */
static bool is_level(uint64_t e)
{
	return (e & RED_LEVEL) && (e >> RED_MODE_SHIFT & RED_MODE) <= MODE_LOWEST;
}

/* The message of an entry: SDM vol. 3, 11.11.1 and 11.11.2. */
static struct ioapic_msi message(uint64_t e)
{
	unsigned mode = e >> RED_MODE_SHIFT & RED_MODE;
	struct ioapic_msi m = {
		.address = 0xfee00000u | (e >> RED_DEST_SHIFT) << 12,
		.data = (uint32_t)(e & RED_VECTOR) | mode << 8,
	};

	if (mode == MODE_LOWEST)
		m.address |= 1 << 3; /* redirection hint */
	if (e & RED_LOGICAL)
		m.address |= 1 << 2;
	if (is_level(e))
		m.data |= 1 << 15 | 1 << 14;
	return m;
}

static void update_routes(struct ioapic *a, bool tell)
{
	struct ioapic_msi now[IOAPIC_PINS];
	unsigned n = 0;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = a->redtbl[pin];

		if (!(e & RED_MASKED) || (e & RED_REMOTE_IRR))
			now[n++] = message(e);
	}
	for (unsigned i = 0; n == a->route_count && i < n && !tell; i++)
		tell = now[i].address != a->route[i].address || now[i].data != a->route[i].data;
	if (!tell && n == a->route_count)
		return;
	memcpy(a->route, now, n * sizeof(now[0]));
	a->route_count = n;
	if (a->wires.routes)
		a->wires.routes(a->wires.opaque, a->route, n);
}

static void send(struct ioapic *a, unsigned pin)
{
	struct ioapic_msi m = message(a->redtbl[pin]);

	if (is_level(a->redtbl[pin]))
		a->redtbl[pin] |= RED_REMOTE_IRR;
	if (a->wires.msi)
		a->wires.msi(a->wires.opaque, &m);
}

/* Sends what a level-triggered pin asks for. */
static void service_level(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->redtbl[pin];

	if ((a->lines >> pin & 1) && is_level(e) && !(e & (RED_MASKED | RED_REMOTE_IRR)))
		send(a, pin);
}

void ioapic_set_irq(void *opaque, unsigned n, bool level)
{
	struct ioapic *a = opaque;
	uint32_t bit;
	bool rising;

	if (n >= IOAPIC_PINS)
		return;
	bit = 1u << n;
	rising = level && !(a->lines & bit);
	a->lines = level ? a->lines | bit : a->lines & ~bit;
	/* An edge at a masked pin is lost (82093AA, 3.2.4, interrupt mask). */
	if (is_level(a->redtbl[n]))
		service_level(a, n);
	else if (rising && !(a->redtbl[n] & RED_MASKED))
		send(a, n);
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = a->redtbl[pin];

		if (!(e & RED_REMOTE_IRR) || (e & RED_VECTOR) != vector)
			continue;
		a->redtbl[pin] &= ~(uint64_t)RED_REMOTE_IRR;
		service_level(a, pin);
	}
	update_routes(a, false);
}

/* --- registers --- */

static uint32_t read_register(const struct ioapic *a)
{
	unsigned n = a->select, pin = (n - REG_REDTBL) / 2;

	switch (n) {
	case REG_ID:
	case REG_ARBITRATION: return (uint32_t)a->id << 24;
	case REG_VERSION: return VERSION;
	default:
		if (n < REG_REDTBL || pin >= IOAPIC_PINS)
			return 0;
		return (uint32_t)(a->redtbl[pin] >> (n & 1) * 32);
	}
}

static void write_register(struct ioapic *a, uint32_t v)
{
	unsigned n = a->select, pin = (n - REG_REDTBL) / 2;
	uint64_t e;

	if (n == REG_ID)
		a->id = v >> 24 & 15;
	if (n < REG_REDTBL || pin >= IOAPIC_PINS)
		return;
	e = a->redtbl[pin];
	if (n & 1) {
		e = (uint32_t)e | (uint64_t)(v & 0xff000000) << 32;
	} else {
		e = (e & ~(uint64_t)RED_WRITABLE) | (v & RED_WRITABLE);
		if (!is_level(e)) /* the way to clear Remote IRR without an EOI */
			e &= ~(uint64_t)RED_REMOTE_IRR;
	}
	a->redtbl[pin] = e;
	update_routes(a, false); /* before the interrupt, so that its EOI is seen */
	service_level(a, pin);
}

/* Registers are 32 bits wide, at multiples of 16; only their own bytes answer. */
static uint64_t apic_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct ioapic *a = chip;
	unsigned shift = (unsigned)(offset & 3) * 8;

	switch (offset & ~3ull) {
	case IOREGSEL: return a->select >> shift;
	case IOWIN: return read_register(a) >> shift;
	default: return 0;
	}
}

static void apic_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct ioapic *a = chip;

	switch (offset) {
	case IOREGSEL: a->select = (uint8_t)value; break;
	case IOWIN: write_register(a, (uint32_t)value); break;
	case IOEOI: ioapic_eoi(a, (uint8_t)value); break;
	default: break;
	}
}

/* --- reset and state --- */

static void apic_reset(void *chip)
{
	struct ioapic *a = chip;

	a->select = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		a->redtbl[pin] = RED_MASKED;
	update_routes(a, true);
}

static int apic_loaded(void *chip)
{
	struct ioapic *a = chip;

	if (a->id > 15)
		return -EPROTO;
	a->lines &= (1u << IOAPIC_PINS) - 1;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = a->redtbl[pin];

		if (e & ~(0xffull << RED_DEST_SHIFT | RED_WRITABLE | RED_REMOTE_IRR))
			return -EPROTO;
		if ((e & RED_REMOTE_IRR) && !is_level(e))
			return -EPROTO;
	}
	update_routes(a, true);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct ioapic, select),
	STATE_UINT(struct ioapic, id),
	STATE_UINT(struct ioapic, lines),
	STATE_UINTS(struct ioapic, redtbl),
	STATE_END,
};

static const struct state_class class = { .name = "ioapic", .version = 1, .fields = fields };

const struct chip_ops ioapic_ops = {
	.state = &class,
	.reset = apic_reset,
	.read = apic_read,
	.write = apic_write,
	.loaded = apic_loaded,
};

void ioapic_init(struct ioapic *a, uint8_t id, const struct ioapic_wires *wires)
{
	*a = (struct ioapic){ .id = id & 15, .wires = *wires };
	apic_reset(a);
}
