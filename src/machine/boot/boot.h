// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to boot/: what the loaders share.
 *
 *   boot.c     boot_load: looks at the kernel file and picks the loader; errors about kernels
 *   file.c     files, read with bounds
 *   unpack.c   decompression with bounds
 *   payload.c  the compressed kernel inside a bzImage
 *   memmap.c   the memory map that guests are told
 *   elf.c      ELF: headers, notes, segments into memory
 *   linux.c    the Linux boot protocol
 *   pvh.c      the PVH boot protocol
 *   multiboot.c  the Multiboot protocol, version 1
 *   multiboot2.c  version 2
 *   modules.c  their modules
 *   sector.c   boot sectors
 *   vectors.c  the real-mode interrupt table
 *   initrd.c   the initial RAM disk: looked over and placed
 *   cpio.c     its archives
 *   entry.c    the CPU's state at entry; what firmware leaves in the CPUs
 *
 * Everything in a file is hostile: sizes and offsets are checked before they are used, and memory
 * is taken for what there is, not for what a header claims. Nothing is written to guest memory
 * outside RAM (ram_write sees to that), and @bsp changes only when everything else is done.
 */
#ifndef SUBRING_MACHINE_BOOT_H
#define SUBRING_MACHINE_BOOT_H

#include "engine/vcpu_state.h"
#include "host/error.h"
#include "machine/machine.h"
#include "mem/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Low memory. A kernel may be loaded into BOOT_LOW_START to BOOT_DATA, and from 1 MiB on. What the
 * entry needs is between: nobody relies on it once the kernel has its own.
 */
enum {
	BOOT_BDA = 0x400,	  /* BIOS data area */
	BOOT_LOW_START = 0x500,
	BOOT_DATA = 0x90000,
	BOOT_PAGE_TABLES = 0x90000, /* PML4, PDPT, 4 page directories */
	BOOT_GDT = 0x96000,
	BOOT_PARAMS = 0x97000,	  /* boot_params, or hvm_start_info with its lists */
	BOOT_CMDLINE = 0x98000,
	BOOT_CMDLINE_MAX = 0x7000, /* with its NUL */
	BOOT_DATA_END = 0x9f000,
	BOOT_EBDA = 0x9fc00,
	BOOT_LOW_END = 0xa0000,
	BOOT_ROM = 0xf0000,	  /* to 1 MiB: the ACPI tables */
	BOOT_HIGH_START = 0x100000,
};

/* --- file.c --- */

struct boot_file {
	const char *path;
	int fd;
	uint64_t size;
};

/* Opens a regular file. On failure fills @err: "cannot load the WHAT PATH". */
int boot_file_open(struct boot_file *file, const char *what, const char *path, struct error *err);
void boot_file_close(struct boot_file *file);
/* Reads exactly @len bytes: 0, -ENODATA when the file ends before, or another negative errno. */
int boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, size_t len);

/* Bytes that are in a file, or already in memory. */
struct boot_image {
	const struct boot_file *file; /* or NULL */
	const uint8_t *bytes;
	uint64_t size;
};

int boot_image_read(const struct boot_image *image, uint64_t offset, void *buf, size_t len);
/* Copies [offset, offset + len) of the image to guest memory. */
int boot_image_to_ram(const struct boot_image *image, uint64_t offset, uint64_t len, struct ram *ram,
		      uint64_t gpa);

/* --- one boot --- */

struct boot {
	struct ram *ram;
	const struct boot_config *config;
	const char *cmdline; /* never NULL */
	struct vcpu_state *bsp;
	struct error *err;
	struct boot_file kernel;
	uint64_t low_end;   /* end of RAM below 4 GiB */
	uint64_t rsdp;
};

/* Errors about the kernel file, with STATUS_INPUT. @why is a printf format, @fix is not. */
int boot_kernel_error(struct boot *b, int errnum, const char *fix, const char *why, ...)
	__attribute__((format(printf, 4, 5)));
int boot_kernel_read_error(struct boot *b, int errnum);
extern const char boot_fix_kernel[]; /* "name a ... with --kernel" */
extern const char boot_fix_damaged[];
extern const char boot_fix_memory[];

/* Whether a kernel may have [gpa, gpa + len): RAM below 4 GiB that nothing else needs. */
bool boot_range_free(const struct boot *b, uint64_t gpa, uint64_t len);
/* Writes the command line to BOOT_CMDLINE. @max: bytes that the kernel takes, without the NUL. */
int boot_write_cmdline(struct boot *b, uint64_t max);

/* --- unpack.c --- */

enum pack { PACK_NONE, PACK_GZIP, PACK_XZ, PACK_ZSTD, PACK_LZ4, PACK_LZMA, PACK_BZIP2, PACK_LZO };

/* What the first bytes say; and how it is called. */
enum pack pack_detect(const uint8_t *bytes, size_t len);
const char *pack_name(enum pack pack);
/* False for those that are recognised only. */
bool pack_can_unpack(enum pack pack);

/* Where packed bytes come from: memory (file NULL: all of them stand at @at), or a file. */
struct pack_input {
	const uint8_t *at; /* what was not consumed yet */
	size_t left;
	const struct boot_file *file;
	uint64_t next; /* offset of the file's byte that follows @at + @left */
	uint8_t *buf;
};

int pack_input_open(struct pack_input *in, const struct boot_file *file);
void pack_input_close(struct pack_input *in);
/* Makes @want (at most 4096) bytes stand at in->at if there are so many. 0 or a negative errno. */
int pack_input_fill(struct pack_input *in, size_t want);

/*
 * Unpacks one stream. @out takes the output piece by piece and returns 0 or a negative errno, which
 * ends the unpacking. Then @in stands behind the stream. -EBADMSG: damaged; -ENODATA: ends too
 * early; -ENOMEM; -EOPNOTSUPP for what cannot be unpacked.
 */
typedef int unpack_fn(void *opaque, const uint8_t *bytes, size_t len);
int unpack(enum pack pack, struct pack_input *in, unpack_fn *out, void *opaque);

/* --- payload.c --- */

enum { BOOT_PAYLOAD_MAX = 256 << 20 };

/*
 * The payload of a bzImage: @bytes, unpacked into *@out (the caller's to free). 1 when it was
 * unpacked, 0 when nobody here knows it (the kernel has to unpack itself), or a negative errno with
 * the error filled.
 */
int payload_unpack(struct boot *b, const uint8_t *bytes, size_t len, uint8_t **out, size_t *out_len);

/* --- memmap.c --- */

enum { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2 }; /* types of E820 (ACPI 15.1) and of hvm_memmap */
enum { MEMMAP_MAX = 8 };

struct memmap_entry {
	uint64_t base, size;
	uint32_t type;
};

unsigned memmap_fill(const struct ram *ram, struct memmap_entry map[MEMMAP_MAX]);

/* --- elf.c --- */

enum { ELF_SEGMENTS_MAX = 64 };

struct elf_segment {
	uint64_t offset, filesz, paddr, memsz, vaddr;
};

struct elf {
	bool wide; /* ELFCLASS64 */
	uint16_t machine, type;
	uint64_t entry;
	struct elf_segment segment[ELF_SEGMENTS_MAX]; /* PT_LOAD */
	unsigned segments;
	uint64_t end; /* of the last byte in memory; after elf_place */
	bool has_pvh;
	uint64_t pvh_entry; /* XEN_ELFNOTE_PHYS32_ENTRY */
};

bool elf_detect(const uint8_t *bytes, size_t len);
/* Reads and checks headers and notes. Fills the error on failure. */
int elf_parse(struct boot *b, const struct boot_image *image, struct elf *elf);
/* Checks that there is memory where the segments belong. */
int elf_place(struct boot *b, struct elf *elf);
/* Puts the segments into memory; after elf_place. */
int elf_load(struct boot *b, const struct boot_image *image, const struct elf *elf);
/* Whether @gpa is in a segment. */
bool elf_covers(const struct elf *elf, uint64_t gpa);
/* The physical address of virtual address @gva; @gva itself when no segment has it. */
uint64_t elf_physical(const struct elf *elf, uint64_t gva);
/* Whether the kernel is an ELF file with a PVH entry. Fills no error. */
bool elf_is_pvh(const struct boot *b);

/* --- loaders: the whole way, up to the CPU's state --- */

int linux_load(struct boot *b);
int pvh_load(struct boot *b);

/* --- multiboot.c --- */

#define MULTIBOOT_LOADER_NAME "Subring"
enum { MULTIBOOT_SEARCH = 8192 };

struct multiboot_header {
	uint64_t offset; /* in the file */
	uint32_t flags;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; /* when the flags say so */
};

/* Looks for the header in the file's first bytes. */
bool multiboot_find(const uint8_t *head, size_t len, struct multiboot_header *h);
int multiboot_load(struct boot *b, const struct multiboot_header *h);

/* The display that a kernel is told of: text. */
enum { TEXT_BASE = 0xb8000, TEXT_PITCH = 160, TEXT_COLUMNS = 80, TEXT_ROWS = 25, FRAMEBUFFER_TEXT = 2 };

/* Puts the kernel where the header's addresses say, or its ELF headers. *@end: the end of its memory. */
int multiboot_load_addresses(struct boot *b, const struct multiboot_header *h, uint64_t *end);
int multiboot_load_elf(struct boot *b, uint32_t *entry, uint64_t *end);

/* What the kernel is told, from BOOT_PARAMS on. */
struct mb_block {
	uint8_t bytes[BOOT_DATA_END - BOOT_PARAMS];
	uint64_t len;
	bool full;
};

/* The next @len bytes of the block, zeroed, at a multiple of @align; NULL when it is full. */
void *mb_block_take(struct mb_block *block, uint64_t len, unsigned align, uint32_t *gpa);
int mb_block_write(struct boot *b, const struct mb_block *block);

/* --- multiboot2.c --- */

enum { MULTIBOOT2_SEARCH = 32768 };

/* As above; the header's @offset in @head, the file's first @len bytes. */
bool multiboot2_find(const uint8_t *head, size_t len, size_t *offset);
int multiboot2_load(struct boot *b, const uint8_t *head, size_t len, size_t offset);

/* --- vectors.c --- */

int boot_write_vectors(struct ram *ram);

/* --- sector.c --- */

bool sector_detect(const uint8_t *bytes, uint64_t file_size);
int sector_load(struct boot *b);

/* --- modules.c --- */

enum { BOOT_MODULES_MAX = 64 };

struct boot_module {
	uint32_t start, end;
	char *string;
};

struct boot_modules {
	struct boot_module module[BOOT_MODULES_MAX];
	unsigned count;
};

/* Loads the modules that --initrd names, from @floor on. What is in @out is to be freed even on failure. */
int modules_load(struct boot *b, uint64_t floor, struct boot_modules *out);
void modules_free(struct boot_modules *modules);

/* --- initrd.c --- */

/*
 * Checks the initrd, if there is one, and puts it as high as it goes into [floor, ceiling). Its
 * place in @gpa and @size, which are 0 when there is none.
 */
int initrd_load(struct boot *b, uint64_t floor, uint64_t ceiling, uint64_t *gpa, uint64_t *size);

/* --- entry.c --- */

/* 64-bit mode, the first 4 GiB mapped to themselves (Linux boot protocol, "64-bit boot protocol"). */
int entry_long_mode(struct boot *b, uint64_t rip, uint64_t rsi);
/* 32-bit protected mode without paging (PVH, Multiboot). */
int entry_protected_mode(struct boot *b, uint32_t eip, uint32_t ebx);
/* The same as Linux wants it ("32-bit boot protocol"). */
int entry_linux32(struct boot *b, uint32_t eip, uint32_t esi);
/* Real mode, all segments at 0 but CS. */
void entry_real_mode(struct boot *b, uint16_t cs, uint16_t ip);

#endif
