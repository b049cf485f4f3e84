// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The board, top to bottom: the chips, where their registers are, where their lines go, and the
 * way in for exits.
 *
 * Wiring. An ISA interrupt goes to the 8259 pair and to the I/O APIC's pin of the same number, the
 * 8254's to pin 2. PCI line n goes to pin 16 + n, and to IRQ 10 or 11 of the 8259 pair for a guest
 * without an I/O APIC. INTR of the pair leaves through wires.extint (LINT0 of the first CPU), the
 * I/O APIC's messages through wires.msi.
 *
 * Invariants: everything in struct board below the lock is touched with the lock held. Lines are
 * functions of the chips' state, so the board itself saves nothing but its shape.
 */
#include "machine/machine.h"

#include "bus/pci.h"
#include "chip/acpi_pm.h"
#include "chip/debug_exit.h"
#include "chip/debugcon.h"
#include "chip/i8042.h"
#include "chip/i8254.h"
#include "chip/i8259.h"
#include "chip/ioapic.h"
#include "chip/mc146818.h"
#include "chip/ns16550a.h"
#include "chip/port80.h"
#include "chip/test_device.h"
#include "chip/vga.h"
#include "machine/cards.h"
#include "machine/layout.h"
#include "machine/ram_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(ECAM_BASE == BOARD_ECAM_BASE && ECAM_SIZE == BOARD_ECAM_SIZE &&
		       PCI_MMIO_BASE == BOARD_PCI_MMIO_BASE && PCI_MMIO_LAST + 1ull == BOARD_PCI_MMIO_END &&
		       PCI_MMIO_SIZE == BOARD_PCI_MMIO_END - BOARD_PCI_MMIO_BASE,
	       "layout.h and machine.h describe one board");

enum { BOARD_PARTS_MAX = 160, ISA_IRQS = 16 };

/* Something that is reset, saved and loaded with the board. */
struct board_part {
	const struct chip_ops *ops;
	void *chip;
	uint32_t instance;
};

struct board {
	struct board_config config;

	pthread_mutex_t lock;
	struct vm_timers timers;
	struct bus pio, mmio;
	struct i8259_pair pic;
	struct ioapic ioapic;
	struct i8254 pit;
	struct mc146818 rtc;
	struct i8042 kbc;
	struct ns16550a com1;
	struct acpi_pm pm;
	struct port80 port80;
	struct debugcon debugcon;
	struct debug_exit debug_exit;
	struct test_device test_device;
	struct vga vga;
	struct pci pci;
	struct pci_device host_bridge;
	struct cards *cards;

	struct board_part part[BOARD_PARTS_MAX];
	unsigned parts;
};

/* What a board must be like for saved state to fit it. */
struct board_shape {
	uint32_t cpus;
	uint64_t ram_size;
};

static const struct state_field shape_fields[] = {
	STATE_UINT(struct board_shape, cpus),
	STATE_UINT(struct board_shape, ram_size),
	STATE_END,
};
static const struct state_class shape_class = { "board", 1, shape_fields };

/* --- where registers are --- */

static const struct chip_ops cf8_ops;

#define CHIP(member) offsetof(struct board, member)
static const struct board_window {
	uint64_t base, len;
	const struct chip_ops *ops;
	size_t chip;
	unsigned region;
	const char *name;
} board_ports[] = {
	{ PORT_PIC_MASTER, I8259_PORTS, &i8259_ops, CHIP(pic), I8259_REGION_MASTER, "pic master" },
	{ PORT_PIT, I8254_PORTS, &i8254_ops, CHIP(pit), I8254_REGION_COUNTERS, "pit" },
	{ PORT_KBD_DATA, 1, &i8042_ops, CHIP(kbc), I8042_REGION_DATA, "keyboard data" },
	{ PORT_PIT_61, I8254_PORT61_PORTS, &i8254_ops, CHIP(pit), I8254_REGION_PORT61, "port 61" },
	{ PORT_KBD_COMMAND, 1, &i8042_ops, CHIP(kbc), I8042_REGION_COMMAND, "keyboard command" },
	{ PORT_RTC, MC146818_PORTS, &mc146818_ops, CHIP(rtc), MC146818_REGION_BANK0, "rtc" },
	{ PORT_RTC_BANK1, MC146818_PORTS, &mc146818_ops, CHIP(rtc), MC146818_REGION_BANK1, "rtc bank 1" },
	/* Port 0x92 lies among the DMA page registers. */
	{ PORT_POST, PORT80_PORTS, &port80_ops, CHIP(port80), 0, "post" },
	{ PORT_92, 1, &i8042_ops, CHIP(kbc), I8042_REGION_PORT92, "port 92" },
	{ PORT_PIC_SLAVE, I8259_PORTS, &i8259_ops, CHIP(pic), I8259_REGION_SLAVE, "pic slave" },
	{ PORT_SMI, ACPI_PM_SMI_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_SMI, "smi command" },
	{ PORT_VGA_MONO, VGA_CRTC_PORTS, &vga_ops, CHIP(vga), VGA_REGION_MONO, "vga mono" },
	{ PORT_VGA, VGA_COMMON_PORTS, &vga_ops, CHIP(vga), VGA_REGION_COMMON, "vga" },
	{ PORT_VGA_COLOUR, VGA_CRTC_PORTS, &vga_ops, CHIP(vga), VGA_REGION_COLOUR, "vga colour" },
	{ PORT_COM1, NS16550A_PORTS, &ns16550a_ops, CHIP(com1), 0, "com1" },
	{ PORT_DEBUGCON, 1, &debugcon_ops, CHIP(debugcon), 0, "debug console" },
	{ PORT_ELCR, I8259_ELCR_PORTS, &i8259_ops, CHIP(pic), I8259_REGION_ELCR, "elcr" },
	{ PORT_PM_EVENT, ACPI_PM_EVENT_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_EVENT, "acpi event" },
	{ PORT_PM_CONTROL, ACPI_PM_CONTROL_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_CONTROL, "acpi control" },
	{ PORT_PM_TIMER, ACPI_PM_TIMER_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_TIMER, "acpi timer" },
	{ PORT_PM_GPE0, ACPI_PM_GPE0_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_GPE0, "acpi gpe0" },
	{ PORT_PM_SMI, ACPI_PM_SMI_CONTROL_LEN, &acpi_pm_ops, CHIP(pm), ACPI_PM_REGION_SMI_CONTROL, "smi control" },
	{ PORT_PCI_ADDRESS, PCI_ADDRESS_PORTS, &cf8_ops, 0, 0, "pci address, reset" },
	{ PORT_PCI_DATA, PCI_DATA_PORTS, &pci_ops, CHIP(pci), PCI_REGION_DATA, "pci data" },
};
static const struct board_window debug_exit_window = {
	PORT_DEBUG_EXIT, DEBUG_EXIT_PORTS, &debug_exit_ops, CHIP(debug_exit), 0, "debug exit"
};
static const struct board_window test_device_windows[] = {
	{ PORT_TEST_LATCH, TEST_DEVICE_LATCH_PORTS, &test_device_ops, CHIP(test_device), TEST_DEVICE_REGION_LATCH,
	  "test latch" },
	{ PORT_TEST_FLUSH, TEST_DEVICE_FLUSH_PORTS, &test_device_ops, CHIP(test_device), TEST_DEVICE_REGION_FLUSH,
	  "test flush" },
	{ PORT_TEST_LINES, TEST_DEVICE_LINES, &test_device_ops, CHIP(test_device), TEST_DEVICE_REGION_LINES,
	  "test lines" },
};
static const struct board_window test_device_memory = {
	TEST_MEMORY_BASE, TEST_DEVICE_MEMORY, &test_device_ops, CHIP(test_device), TEST_DEVICE_REGION_MEMORY,
	"test memory"
};
static const struct board_window board_windows[] = {
	{ BOARD_ECAM_BASE, BOARD_ECAM_SIZE, &pci_ops, CHIP(pci), PCI_REGION_ECAM, "pci ecam" },
	{ BOARD_IOAPIC_BASE, IOAPIC_WINDOW, &ioapic_ops, CHIP(ioapic), 0, "ioapic" },
};

/* The reset register is one byte inside the dword of CONFIG_ADDRESS, as on PC chipsets. */
static uint64_t cf8_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct board *b = chip;
	uint64_t reset_at = PORT_RESET - PORT_PCI_ADDRESS, v = UINT64_MAX;

	if (offset == 0 && size == 4)
		return pci_ops.read(&b->pci, PCI_REGION_ADDRESS, 0, 4);
	if (offset <= reset_at && reset_at - offset < size) {
		unsigned shift = (unsigned)(reset_at - offset) * 8;

		v &= ~(0xffull << shift);
		v |= (acpi_pm_ops.read(&b->pm, ACPI_PM_REGION_RESET, 0, 1) & 0xff) << shift;
	}
	return v;
}

static void cf8_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct board *b = chip;
	uint64_t reset_at = PORT_RESET - PORT_PCI_ADDRESS;

	if (offset == 0 && size == 4)
		pci_ops.write(&b->pci, PCI_REGION_ADDRESS, 0, 4, value);
	else if (offset <= reset_at && reset_at - offset < size)
		acpi_pm_ops.write(&b->pm, ACPI_PM_REGION_RESET, 0, 1, value >> (reset_at - offset) * 8 & 0xff);
}

static const struct chip_ops cf8_ops = { .read = cf8_read, .write = cf8_write };

static int board_map(struct board *b, struct bus *bus, const struct board_window *window, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bus_range range = {
			.base = window[i].base,
			.len = window[i].len,
			.ops = window[i].ops,
			.chip = (char *)b + window[i].chip,
			.region = window[i].region,
			.name = window[i].name,
		};
		int ret = bus_add(bus, &range);

		if (ret)
			return ret;
	}
	return 0;
}

/* --- where lines go --- */

static void isa_irq(void *opaque, unsigned irq, bool level)
{
	struct board *b = opaque;

	i8259_set_irq(&b->pic, irq, level);
	ioapic_set_irq(&b->ioapic, irq == IRQ_PIT ? GSI_PIT : irq, level);
}

/* The test device stands in for whatever drives line @n. Input 2 of the 8259 pair is its slave's. */
static void test_line(void *opaque, unsigned n, bool level)
{
	struct board *b = opaque;

	if (n < ISA_IRQS && n != 2)
		isa_irq(b, n, level);
	else
		ioapic_set_irq(&b->ioapic, n, level);
}

static void pci_lines(void *opaque, uint8_t lines)
{
	struct board *b = opaque;

	for (unsigned n = 0; n < PCI_LINES; n++)
		ioapic_set_irq(&b->ioapic, GSI_PCI + n, lines >> n & 1);
	i8259_set_irq(&b->pic, IRQ_PCI_EVEN, lines & 0x55);
	i8259_set_irq(&b->pic, IRQ_PCI_ODD, lines & 0xaa);
}

static void pic_intr(void *opaque, unsigned n, bool level)
{
	struct board *b = opaque;

	b->config.wires.extint(b->config.wires.opaque, level);
}

static void ioapic_message(void *opaque, const struct ioapic_msi *msi)
{
	struct board *b = opaque;
	struct engine_msi m = { .address = msi->address, .data = msi->data };

	b->config.wires.msi(b->config.wires.opaque, &m);
}

static void ioapic_routes(void *opaque, const struct ioapic_msi *route, unsigned count)
{
	struct board *b = opaque;
	struct engine_msi m[IOAPIC_PINS];

	if (count > IOAPIC_PINS)
		count = IOAPIC_PINS;
	for (unsigned i = 0; i < count; i++)
		m[i] = (struct engine_msi){ .address = route[i].address, .data = route[i].data };
	b->config.wires.routes(b->config.wires.opaque, m, count);
}

static void timers_changed(void *opaque, uint64_t deadline_ns)
{
	struct board *b = opaque;

	b->config.wires.timer(b->config.wires.opaque, deadline_ns);
}

static void board_tell(struct board *b, enum board_event event, unsigned code)
{
	b->config.wires.event(b->config.wires.opaque, event, code);
}

static void on_power_off(void *opaque)
{
	board_tell(opaque, BOARD_EVENT_POWER_OFF, 0);
}

static void on_reset(void *opaque)
{
	board_tell(opaque, BOARD_EVENT_RESET, 0);
}

static void on_smi(void *opaque)
{
	struct board *b = opaque;

	if (b->config.wires.smi)
		b->config.wires.smi(b->config.wires.opaque);
}

static void on_a20(void *opaque, unsigned n, bool open)
{
	struct board *b = opaque;

	if (b->config.wires.a20)
		b->config.wires.a20(b->config.wires.opaque, open);
}

static void on_debug_exit(void *opaque, uint32_t value)
{
	board_tell(opaque, BOARD_EVENT_DEBUG_EXIT, value & 0xff);
}

/* --- building --- */

static void board_part(struct board *b, const struct chip_ops *ops, void *chip, uint32_t instance)
{
	b->part[b->parts++] = (struct board_part){ .ops = ops, .chip = chip, .instance = instance };
}

/* Interrupt controllers first: they are loaded before anything drives their lines. */
static void board_controllers(struct board *b)
{
	struct irq_line intr = { .set = pic_intr, .opaque = b };
	struct ioapic_wires wires = { .msi = ioapic_message, .routes = ioapic_routes, .opaque = b };

	i8259_init(&b->pic, &intr);
	ioapic_init(&b->ioapic, 0, &wires);
	board_part(b, &i8259_ops, &b->pic, 0);
	board_part(b, &ioapic_ops, &b->ioapic, 0);
}

static void board_chips(struct board *b)
{
	struct chip_time time = { .clock = b->config.clock, .timers = &b->timers };
	struct acpi_pm_wires pm = { { isa_irq, b, IRQ_SCI }, on_power_off, on_reset, b, on_smi };

	i8254_init(&b->pit, &time, &(struct irq_line){ isa_irq, b, IRQ_PIT });
	mc146818_init(&b->rtc, &time, &(struct irq_line){ isa_irq, b, IRQ_RTC });
	i8042_init(&b->kbc, &(struct irq_line){ isa_irq, b, IRQ_KBD }, on_reset, b);
	i8042_wire_a20(&b->kbc, &(struct irq_line){ on_a20, b, 0 });
	ns16550a_init(&b->com1, &time, &(struct irq_line){ isa_irq, b, IRQ_COM1 }, &b->config.serial);
	acpi_pm_init(&b->pm, &time, &pm);
	port80_init(&b->port80);
	vga_init(&b->vga, &time);
	debugcon_init(&b->debugcon, &b->config.debugcon);
	debug_exit_init(&b->debug_exit, on_debug_exit, b);
	test_device_init(&b->test_device, &(struct irq_line){ test_line, b, 0 });
	mc146818_set_memory(&b->rtc, ram_low_size(b->config.ram->size), ram_high_size(b->config.ram->size));
	board_part(b, &i8254_ops, &b->pit, 0);
	board_part(b, &mc146818_ops, &b->rtc, 0);
	board_part(b, &i8042_ops, &b->kbc, 0);
	board_part(b, &ns16550a_ops, &b->com1, 0);
	board_part(b, &acpi_pm_ops, &b->pm, 0);
	board_part(b, &port80_ops, &b->port80, 0);
	board_part(b, &vga_ops, &b->vga, 0);
	board_part(b, &debugcon_ops, &b->debugcon, 0);
	board_part(b, &debug_exit_ops, &b->debug_exit, 0);
	if (b->config.test_device)
		board_part(b, &test_device_ops, &b->test_device, 0);
}

static int board_pci_device(struct board *b, struct pci_device *d, unsigned slot)
{
	int ret = pci_add(&b->pci, d, slot);

	if (!ret)
		board_part(b, &pci_device_ops, d, slot);
	return ret;
}

static int board_pci(struct board *b)
{
	pci_init(&b->pci, &b->pio, &b->mmio, pci_lines, b);
	board_part(b, &pci_ops, &b->pci, 0);
	pci_host_bridge_init(&b->host_bridge);
	return board_pci_device(b, &b->host_bridge, 0);
}

static void card_part(void *opaque, const struct chip_ops *ops, void *chip, uint32_t instance)
{
	board_part(opaque, ops, chip, instance);
}

static int board_cards(struct board *b, struct error *err)
{
	const struct board_wires *w = &b->config.wires;
	const struct cards_config config = {
		.ram = b->config.ram,
		.rng = b->config.rng,
		.cpus = b->config.cpus,
		.disk = b->config.disk,
		.disks = b->config.disks,
		.net = b->config.net,
		.nets = b->config.nets,
		.wires = { .msi = w->msi, .doorbell = w->doorbell, .lines_later = w->lines_later, .opaque = w->opaque, .lock = &b->lock },
	};
	int ret = cards_create(&config, &b->pci, &b->cards, err);

	if (!ret)
		cards_parts(b->cards, card_part, b);
	return ret;
}

static int board_ports_and_windows(struct board *b)
{
	int ret = board_map(b, &b->pio, board_ports, sizeof(board_ports) / sizeof(board_ports[0]));

	if (!ret && b->config.debug_exit)
		ret = board_map(b, &b->pio, &debug_exit_window, 1);
	if (!ret && b->config.test_device)
		ret = board_map(b, &b->pio, test_device_windows,
				sizeof(test_device_windows) / sizeof(test_device_windows[0]));
	if (!ret && b->config.test_device)
		ret = board_map(b, &b->mmio, &test_device_memory, 1);
	if (!ret)
		ret = board_map(b, &b->mmio, board_windows, sizeof(board_windows) / sizeof(board_windows[0]));
	return ret;
}

/*
 * What a BIOS leaves in the chips: the SCI and the PCI lines are level-triggered; interrupts of the 8259 pair come at
 * vectors 8 and 70H, the timer's and the cascade are open; counter 0 makes the 18.2 Hz tick. Kernels of boot
 * protocols that begin in real mode may wait for it, and Multiboot asks for the BIOS's values in the 8259s (0.6.96, 3.2).
 */
static void board_firmware(struct board *b)
{
	unsigned level = 1u << IRQ_SCI | 1u << IRQ_PCI_EVEN | 1u << IRQ_PCI_ODD;
	static const uint8_t master[] = { 0x11, 0x08, 0x04, 0x01, 0xfa }, slave[] = { 0x11, 0x70, 0x02, 0x01, 0xff };

	i8254_ops.write(&b->pit, I8254_REGION_COUNTERS, 3, 1, 0x36); /* counter 0, both bytes, mode 3 */
	i8254_ops.write(&b->pit, I8254_REGION_COUNTERS, 0, 1, 0);
	i8254_ops.write(&b->pit, I8254_REGION_COUNTERS, 0, 1, 0); /* 65536 */
	i8259_ops.write(&b->pic, I8259_REGION_ELCR, 0, 2, level);
	for (unsigned i = 0; i < sizeof(master); i++) {
		i8259_ops.write(&b->pic, I8259_REGION_MASTER, i > 0, 1, master[i]);
		i8259_ops.write(&b->pic, I8259_REGION_SLAVE, i > 0, 1, slave[i]);
	}
}

int board_create(const struct board_config *config, struct board **out, struct error *err)
{
	struct board *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot make the board",
				 "the host has no memory left", "end other programs");
	pthread_mutex_init(&b->lock, NULL);
	b->config = *config;
	b->timers = (struct vm_timers){ .changed = timers_changed, .opaque = b };

	pthread_mutex_lock(&b->lock);
	board_controllers(b);
	board_chips(b);
	ret = board_ports_and_windows(b);
	if (!ret)
		ret = board_pci(b);
	board_firmware(b);
	if (ret)
		error_set(err, ret, STATUS_INTERNAL, "cannot make the board", "its parts do not fit: %s",
			  "this is a defect of subring: please report it", strerror(-ret));
	pthread_mutex_unlock(&b->lock);
	if (!ret)
		ret = board_cards(b, err);
	if (!ret)
		ret = cards_start(b->cards, err);
	if (ret) {
		board_destroy(b);
		return ret;
	}
	*out = b;
	return 0;
}

void board_destroy(struct board *b)
{
	if (!b)
		return;
	cards_destroy(b->cards);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void board_reset(struct board *b)
{
	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < b->parts; i++)
		if (b->part[i].ops->reset)
			b->part[i].ops->reset(b->part[i].chip);
	board_firmware(b);
	pthread_mutex_unlock(&b->lock);
}

int board_map_a20(struct ram *ram, bool open)
{
	struct ram_slot slot[RAM_MAP_SLOTS];
	unsigned count = ram_map(ram->size, open, slot);
	int ret = 0;

	/* All go first: an old slot may lie where another is new. */
	for (unsigned i = 0; i < RAM_SLOTS_MAX && !ret; i++)
		ret = ram_set_slot(ram, i, &(struct ram_slot){ 0 });
	for (unsigned i = 0; i < count && !ret; i++)
		ret = ram_set_slot(ram, i, &slot[i]);
	return ret;
}

bool board_a20(struct board *b)
{
	bool open;

	pthread_mutex_lock(&b->lock);
	open = i8042_a20(&b->kbc);
	pthread_mutex_unlock(&b->lock);
	return open;
}

int board_map_ram(struct ram *ram, struct error *err)
{
	int ret;

	if (ram->size < BOARD_MEM_MIN || ram->size > BOARD_MEM_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot lay out %llu bytes of memory",
				 "a board has %lluM to %lluT", "give a size in this range",
				 (unsigned long long)ram->size, BOARD_MEM_MIN >> 20, BOARD_MEM_MAX >> 40);
	ret = board_map_a20(ram, true);
	if (ret)
		return error_set(err, ret, STATUS_INTERNAL, "cannot lay out %llu bytes of memory", "%s",
				 "this is a defect of subring: please report it", (unsigned long long)ram->size,
				 strerror(-ret));
	return 0;
}

/* --- exits --- */

static void bus_element(struct bus *bus, uint64_t addr, unsigned size, bool write, uint8_t *data)
{
	uint64_t v = 0;

	if (write) {
		memcpy(&v, data, size);
		bus_write(bus, addr, size, v);
	} else {
		v = bus_read(bus, addr, size);
		memcpy(data, &v, size);
	}
}

void board_pio(struct board *b, uint16_t port, unsigned size, bool write, void *data, unsigned count)
{
	uint8_t *bytes = data;

	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < count; i++)
		bus_element(&b->pio, port, size, write, bytes + (size_t)i * size);
	pthread_mutex_unlock(&b->lock);
}

void board_mmio(struct board *b, uint64_t gpa, unsigned size, bool write, void *data)
{
	pthread_mutex_lock(&b->lock);
	if (!i8042_a20(&b->kbc) && gpa >= RAM_A20_BASE && gpa < RAM_A20_END)
		gpa -= RAM_A20_BASE;
	bus_element(&b->mmio, gpa, size, write, data);
	pthread_mutex_unlock(&b->lock);
}

void board_eoi(struct board *b, uint8_t vector)
{
	pthread_mutex_lock(&b->lock);
	ioapic_eoi(&b->ioapic, vector);
	pthread_mutex_unlock(&b->lock);
}

int board_extint_ack(struct board *b)
{
	int vector = -EAGAIN;

	pthread_mutex_lock(&b->lock);
	if (i8259_output(&b->pic))
		vector = i8259_ack(&b->pic);
	pthread_mutex_unlock(&b->lock);
	return vector;
}

void board_lines(struct board *b)
{
	pthread_mutex_lock(&b->lock);
	cards_lines(b->cards);
	pthread_mutex_unlock(&b->lock);
}

void board_pause(struct board *b)
{
	cards_pause(b->cards);
}

void board_resume(struct board *b)
{
	cards_resume(b->cards);
}

void board_timers(struct board *b)
{
	pthread_mutex_lock(&b->lock);
	vm_timers_run(&b->timers, vm_clock_ns(b->config.clock));
	pthread_mutex_unlock(&b->lock);
}

size_t board_serial_input(struct board *b, const uint8_t *bytes, size_t len)
{
	size_t taken;

	pthread_mutex_lock(&b->lock);
	taken = ns16550a_input(&b->com1, bytes, len);
	pthread_mutex_unlock(&b->lock);
	return taken;
}

void board_serial_output_ready(struct board *b)
{
	pthread_mutex_lock(&b->lock);
	ns16550a_output_ready(&b->com1);
	pthread_mutex_unlock(&b->lock);
}

/* --- state --- */

static struct board_shape board_shape(const struct board *b)
{
	return (struct board_shape){ .cpus = b->config.cpus, .ram_size = b->config.ram->size };
}

void board_save(struct board *b, struct state_writer *w)
{
	struct board_shape shape = board_shape(b);

	pthread_mutex_lock(&b->lock);
	state_save(w, &shape_class, 0, &shape);
	for (unsigned i = 0; i < b->parts; i++)
		if (b->part[i].ops->state)
			state_save(w, b->part[i].ops->state, b->part[i].instance, b->part[i].chip);
	pthread_mutex_unlock(&b->lock);
}

/*
 * First every part gets its state, then every part acts on it, controllers first: lines that are
 * driven again find the level that the controllers have saved, so that no edge is made up.
 */
static int board_load_parts(struct board *b, struct state_reader *r)
{
	int ret;

	for (unsigned i = 0; i < b->parts; i++) {
		if (!b->part[i].ops->state)
			continue;
		ret = state_load(r, b->part[i].ops->state, b->part[i].instance, b->part[i].chip);
		if (ret)
			return ret;
	}
	for (unsigned i = 0; i < b->parts; i++) {
		if (!b->part[i].ops->loaded)
			continue;
		ret = b->part[i].ops->loaded(b->part[i].chip);
		if (ret)
			return state_reader_fail(r, "the values of %s are impossible",
						 b->part[i].ops->state ? b->part[i].ops->state->name
								       : "a chip");
	}
	return 0;
}

int board_load(struct board *b, struct state_reader *r)
{
	struct board_shape want = board_shape(b), shape = { 0 };
	int ret = state_load(r, &shape_class, 0, &shape);

	if (ret)
		return ret;
	if (shape.cpus != want.cpus || shape.ram_size != want.ram_size)
		return state_reader_fail(r, "it is of a board with %u CPUs and %llu bytes of memory",
					 shape.cpus, (unsigned long long)shape.ram_size);
	pthread_mutex_lock(&b->lock);
	ret = board_load_parts(b, r);
	pthread_mutex_unlock(&b->lock);
	return ret;
}
