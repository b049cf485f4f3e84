// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The board: memory map, buses, chips, interrupt wiring, firmware tables and boot.
 *
 * One struct board is one machine, read top to bottom in board.c. It is driven from above by
 * vm/: vm hands it exits (board_pio, board_mmio, board_eoi), tells it when its timers are due,
 * and gives it ways to reach the CPUs (struct board_wires), so that the board knows no engine
 * beyond the shape of an MSI.
 *
 * The board lock (board->lock) guards the buses, all chips and the timer queue. The functions
 * below take it themselves. Lock order: docs/architecture.md, "Threads and locks".
 */
#ifndef SUBRING_MACHINE_MACHINE_H
#define SUBRING_MACHINE_MACHINE_H

#include "bus/chip.h"
#include "clock/clock.h"
#include "engine/engine.h"
#include "host/error.h"
#include "bus/bus.h"
#include "machine/cards.h"
#include "mem/mem.h"

#include <pthread.h>

/* The memory map (docs/architecture.md has the picture). */
#define BOARD_LOW_RAM_MAX 0xb0000000ull /* RAM below 4 GiB ends here at the latest */
#define BOARD_ECAM_BASE 0xb0000000ull	/* PCI configuration space, 256 buses */
#define BOARD_ECAM_SIZE 0x10000000ull
#define BOARD_PCI_MMIO_BASE 0xc0000000ull
#define BOARD_PCI_MMIO_END 0xfec00000ull
#define BOARD_IOAPIC_BASE 0xfec00000ull
#define BOARD_LAPIC_BASE 0xfee00000ull
#define BOARD_HIGH_RAM_BASE 0x100000000ull
#define BOARD_MEM_MIN (16ull << 20)
#define BOARD_MEM_MAX (1ull << 40)

enum board_event {
	BOARD_EVENT_NONE,
	BOARD_EVENT_POWER_OFF,	/* ACPI S5 */
	BOARD_EVENT_RESET,	/* i8042, port 0xcf9, ACPI reset register */
	BOARD_EVENT_DEBUG_EXIT, /* port 0xf4, with --debug-exit */
};

/* How the board reaches what is above and beside it. Called with the board lock held, unless it says otherwise; none may call back. */
struct board_wires {
	void (*msi)(void *opaque, const struct engine_msi *msi);
	void (*routes)(void *opaque, const struct engine_msi *route, unsigned count);
	void (*extint)(void *opaque, bool level);    /* INTR of the 8259 pair */
	void (*nmi)(void *opaque);
	void (*smi)(void *opaque); /* SMI#, by a port access of the calling vCPU; may be NULL */
	/*
	 * The A20 gate may have changed: board_map_a20 is to be called with what board_a20 says, before the vCPU
	 * whose port access it was goes on. May be NULL: then the gate does nothing.
	 */
	void (*a20)(void *opaque, bool open);
	void (*event)(void *opaque, enum board_event event, unsigned code);
	void (*timer)(void *opaque, uint64_t vm_ns); /* the earliest chip timer; UINT64_MAX: none */
	/* These two any thread may call, without the lock, and msi likewise. May be NULL without cards (board_config). */
	int (*doorbell)(void *opaque, const struct engine_doorbell *doorbell, bool add);
	void (*lines_later)(void *opaque); /* board_lines is to be called soon, on another thread */
	void *opaque;
};

struct board_config {
	struct ram *ram;
	struct vm_clock *clock;
	unsigned cpus;
	bool debug_exit, test_device;
	bool rng;		     /* a virtio entropy device */
	const struct card_disk *disk; /* disks and net: read by board_create alone */
	unsigned disks;
	const struct net_config *net;
	unsigned nets;
	struct chip_stream serial;   /* output of COM1 */
	struct chip_stream debugcon; /* port 0x402 */
	struct board_wires wires;
};

struct board;

int board_create(const struct board_config *config, struct board **out, struct error *err);
void board_destroy(struct board *board); /* NULL is fine */
void board_reset(struct board *board);

/* Finishes an exit: for reads fills @data. @count elements of @size bytes. */
void board_pio(struct board *board, uint16_t port, unsigned size, bool write, void *data, unsigned count);
void board_mmio(struct board *board, uint64_t gpa, unsigned size, bool write, void *data);
void board_eoi(struct board *board, uint8_t vector);
/* Acknowledges the 8259 pair: the vector to deliver, or -EAGAIN when INTR went away. */
int board_extint_ack(struct board *board);
/* Interrupt pins of cards, after wires.lines_later. */
void board_lines(struct board *board);
/*
 * Waits until no device has a request under way; then none touches guest memory until board_resume: for saving, and while RAM's
 * slots change. Without the board lock. These do not nest.
 */
void board_pause(struct board *board);
void board_resume(struct board *board);
/* Runs the chip timers that are due. */
void board_timers(struct board *board);
/* Feeds COM1; returns how many bytes it took. board_serial_room: output may go on. */
size_t board_serial_input(struct board *board, const uint8_t *bytes, size_t len);
void board_serial_output_ready(struct board *board);

void board_save(struct board *board, struct state_writer *w);
int board_load(struct board *board, struct state_reader *r);

/* Lays out RAM of @size bytes in the slots of @ram: below and above the hole. */
int board_map_ram(struct ram *ram, struct error *err);
/*
 * The A20 gate: while it is closed, the second megabyte of guest-physical addresses shows the first one (real mode
 * reaches no further; the other odd megabytes are as they always are). board_map_a20 changes the slots of @ram
 * (all vCPUs stopped; the caller tells the engine) and returns 0 or a negative errno.
 */
bool board_a20(struct board *board);
int board_map_a20(struct ram *ram, bool open);

/* --- boot: what the CPUs start with (boot/) --- */

struct boot_config {
	const char *kernel; /* path: bzImage, ELF with a PVH note, Multiboot kernel or boot sector */
	const char *initrd; /* path, for Multiboot "PATH ARGUMENTS,PATH ...", or NULL */
	const char *cmdline;
	unsigned cpus;
};

/*
 * Loads the kernel, the initrd and the firmware tables (boot_params, hvm_start_info
 * or Multiboot information; ACPI, MP) into @ram, and changes @bsp (the state after RESET) to the entry state of the
 * boot protocol. @err names the file and what is wrong with it.
 */
int boot_load(struct ram *ram, const struct boot_config *config, struct vcpu_state *bsp, struct error *err);

/*
 * What firmware leaves in every CPU: the MTRRs. Changes @ap, the state after RESET of a CPU other
 * than the first; boot_load does the same to @bsp. Systems complain when CPUs differ.
 */
void boot_prepare_ap(struct vcpu_state *ap);

#endif
