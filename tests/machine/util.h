// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tests of machine/ share: a board with wires that remember, files, and kernels made of bytes. */
#ifndef SUBRING_TESTS_MACHINE_UTIL_H
#define SUBRING_TESTS_MACHINE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "host/error.h"
#include "machine/machine.h"
#include "state/state.h"

#define MIB (1ull << 20)

/* --- a machine --- */

struct wires_log {
	unsigned msis, extint_changes, nmis, timers, events;
	struct engine_msi msi; /* the last one */
	struct engine_msi route[32];
	unsigned routes;
	bool extint;
	unsigned smis, a20_changes;
	bool a20; /* the gate is open */
	enum board_event event;
	unsigned code;
	uint64_t timer_ns;
	_Atomic unsigned lines; /* lines_later */
	char serial[256], debugcon[64];
	unsigned serial_len, debugcon_len;
};

struct machine {
	struct ram *ram;
	struct vm_clock clock;
	struct board *board;
	struct wires_log log;
};

/* A board with @mib MiB; its clock is paused at 0 and moves by machine_advance alone. */
struct machine *machine_new(unsigned mib, unsigned cpus, bool debug_exit);
/* The same with the choices of @of: cpus, debug_exit, rng. */
struct machine *machine_with(unsigned mib, const struct board_config *of);
void machine_free(struct machine *m);
void machine_advance(struct machine *m, uint64_t ns); /* and runs timers that are due */

uint32_t in(struct machine *m, uint16_t port, unsigned size);
void out(struct machine *m, uint16_t port, unsigned size, uint32_t value);
uint64_t load(struct machine *m, uint64_t gpa, unsigned size);
void store(struct machine *m, uint64_t gpa, unsigned size, uint64_t value);

/* RAM alone, laid out as on the board. */
struct ram *test_ram(unsigned mib);
void ram_get(struct ram *ram, uint64_t gpa, void *buf, size_t len);

/* --- files --- */

/* A file in memory with these bytes: its path, good until the same slot (0 to 3) is used again. */
const char *test_file(unsigned slot, const void *bytes, size_t len);

/* --- kernels --- */

struct bytes {
	uint8_t *at;
	size_t len;
};

void bytes_free(struct bytes *b);
struct bytes bytes_copy(const void *bytes, size_t len);
/* Little endian, at an offset that is there. */
void poke(struct bytes *b, size_t at, unsigned size, uint64_t value);
uint64_t peek(const void *bytes, size_t at, unsigned size);

enum pack_kind { KIND_GZIP, KIND_XZ, KIND_ZSTD, KIND_LZ4, KIND_COUNT };
extern const char *const pack_kind_name[];
struct bytes pack(enum pack_kind kind, const void *bytes, size_t len);

/* An ELF file with one segment of @code at @paddr (and @bss bytes behind it), and a PVH note for it if @pvh. */
struct elf_recipe {
	bool narrow; /* ELFCLASS32 */
	uint16_t machine, type; /* 0: x86-64 or 386, ET_EXEC */
	uint64_t paddr, entry;
	const void *code;
	size_t code_len;
	uint64_t bss;
	bool pvh;
	unsigned note_align; /* 0: 4 */
};
struct bytes make_elf(const struct elf_recipe *r);

/* A bzImage: @payload as it is (with its size behind it where the build appends it). */
struct bzimage_recipe {
	const void *payload;
	size_t payload_len;
	uint64_t pref_address;	/* 0: 16 MiB */
	uint32_t init_size;	/* 0: 1 MiB */
	uint32_t initrd_addr_max; /* 0: 0x7fffffff */
	uint16_t version;	/* 0: 0x20f */
	uint16_t xloadflags;	/* 0: XLF_KERNEL_64 */
	bool fixed;		/* not relocatable */
};
struct bytes make_bzimage(const struct bzimage_recipe *r);
/* The payload of a kernel's build: packed, with the length of @plain behind it unless gzip. */
struct bytes make_payload(enum pack_kind kind, const void *plain, size_t len);

/* A cpio archive with one file. */
struct bytes make_cpio(const char *name, const void *content, size_t len);

/* boot_load with a state that looks like one after RESET. */
int boot(struct ram *ram, const char *kernel, const char *initrd, const char *cmdline, struct vcpu_state *bsp,
	 struct error *err);
/* boot with the bytes of a kernel; fails the test unless that starts. */
void kernel_starts(struct ram *ram, const struct bytes *kernel, const char *initrd, const char *cmdline,
		   struct vcpu_state *bsp);
/* boot fails with STATUS_INPUT, and its three lines are there; @why must occur in the second. */
void boot_fails(struct ram *ram, const char *kernel, const char *initrd, const char *cmdline, const char *why);
/* The same for the bytes of a kernel. */
void kernel_fails(struct ram *ram, const struct bytes *kernel, const char *why);
/* The same in a machine of its own with @mib MiB; frees the bytes. */
void kernel_is_refused(unsigned mib, struct bytes kernel, const char *why);

#endif
