// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ELF kernels (System V ABI, chapters 4 and 5): headers and notes read and checked, segments put at
 * their physical addresses. Both classes, little endian, x86 only.
 *
 * Invariants: segments of a parsed struct elf lie in the file; those of a placed one lie in memory that
 * a kernel may have, and beside each other.
 */
#include "machine/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS_MAX = 256, NOTES_MAX = 64 << 10, XEN_ELFNOTE_PHYS32_ENTRY = 18 };

/* A program header of either class. */
struct program_header {
	uint32_t type;
	uint64_t offset, paddr, filesz, memsz, align, vaddr;
};

bool elf_detect(const uint8_t *bytes, size_t len)
{
	return len >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386: return "32-bit x86";
	case EM_X86_64: return "x86-64";
	case EM_ARM: return "32-bit ARM";
	case EM_AARCH64: return "64-bit ARM";
	case EM_RISCV: return "RISC-V";
	case EM_PPC: return "32-bit PowerPC";
	case EM_PPC64: return "64-bit PowerPC";
	case EM_S390: return "IBM Z";
	case EM_MIPS: return "MIPS";
	case EM_SPARCV9: return "SPARC";
	case EM_LOONGARCH: return "LoongArch";
	default: return "another kind of machine";
	}
}

/* --- notes --- */

static void elf_note(struct elf *elf, const uint8_t *name, uint32_t name_len, uint32_t type,
		     const uint8_t *desc, uint32_t desc_len)
{
	uint32_t entry32;

	if (type != XEN_ELFNOTE_PHYS32_ENTRY || name_len != 4 || memcmp(name, "Xen", 4) != 0)
		return;
	if (desc_len == 8) {
		memcpy(&elf->pvh_entry, desc, 8);
		elf->has_pvh = true;
	} else if (desc_len == 4) {
		memcpy(&entry32, desc, 4);
		elf->pvh_entry = entry32;
		elf->has_pvh = true;
	}
}

/* Notes that are damaged end the search: nothing but the PVH entry is wanted of them. */
static void elf_notes(struct elf *elf, const uint8_t *bytes, size_t len, size_t align)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf32_Nhdr)) {
		Elf32_Nhdr h; /* the same in both classes */
		size_t name = at + sizeof(h), desc, next;

		memcpy(&h, bytes + at, sizeof(h));
		if (h.n_namesz > len - name)
			return;
		desc = (name + h.n_namesz + align - 1) & ~(align - 1);
		if (desc > len || h.n_descsz > len - desc)
			return;
		elf_note(elf, bytes + name, h.n_namesz, h.n_type, bytes + desc, h.n_descsz);
		next = (desc + h.n_descsz + align - 1) & ~(align - 1);
		if (next > len)
			return;
		at = next;
	}
}

static int elf_read_notes(struct boot *b, const struct boot_image *image, const struct program_header *p,
			  struct elf *elf)
{
	size_t len = p->filesz < NOTES_MAX ? p->filesz : NOTES_MAX;
	uint8_t *bytes = malloc(len ? len : 1);
	int ret = bytes ? boot_image_read(image, p->offset, bytes, len) : -ENOMEM;

	if (!ret)
		elf_notes(elf, bytes, len, p->align == 8 ? 8 : 4);
	free(bytes);
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

/* --- headers --- */

static int elf_add_segment(struct boot *b, const struct boot_image *image, const struct program_header *p,
			   struct elf *elf)
{
	struct elf_segment s = {
		.offset = p->offset, .filesz = p->filesz, .paddr = p->paddr, .memsz = p->memsz, .vaddr = p->vaddr};

	if (!s.memsz)
		return 0;
	if (s.filesz > s.memsz)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "a segment has more bytes in the file than in memory");
	if (s.offset > image->size || s.filesz > image->size - s.offset)
		return boot_kernel_error(b, -ENODATA, boot_fix_damaged,
					 "it ends after %llu bytes, inside a segment",
					 (unsigned long long)image->size);
	if (elf->segments == ELF_SEGMENTS_MAX)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "it has more than %u segments",
					 ELF_SEGMENTS_MAX);
	elf->segment[elf->segments++] = s;
	return 0;
}

static int elf_read_program_header(const struct boot_image *image, const struct elf *elf, uint64_t offset,
				   struct program_header *p)
{
	Elf64_Phdr h64;
	Elf32_Phdr h32;
	int ret;

	if (elf->wide) {
		ret = boot_image_read(image, offset, &h64, sizeof(h64));
		*p = (struct program_header){ h64.p_type,   h64.p_offset, h64.p_paddr,
					      h64.p_filesz, h64.p_memsz,  h64.p_align, h64.p_vaddr };
	} else {
		ret = boot_image_read(image, offset, &h32, sizeof(h32));
		*p = (struct program_header){ h32.p_type,   h32.p_offset, h32.p_paddr,
					      h32.p_filesz, h32.p_memsz,  h32.p_align, h32.p_vaddr };
	}
	return ret;
}

/* Where the program headers are. */
struct program_headers {
	uint64_t offset;
	unsigned count, size;
};

static int elf_read_header(struct boot *b, const struct boot_image *image, struct elf *elf,
			   struct program_headers *ph)
{
	uint8_t ident[EI_NIDENT];
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;
	int ret = boot_image_read(image, 0, ident, sizeof(ident));

	if (ret)
		return boot_kernel_read_error(b, ret);
	elf->wide = ident[EI_CLASS] == ELFCLASS64;
	if (ident[EI_DATA] != ELFDATA2LSB || (!elf->wide && ident[EI_CLASS] != ELFCLASS32))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "it is an ELF file for another kind of machine");
	if (elf->wide) {
		ret = boot_image_read(image, 0, &h64, sizeof(h64));
		elf->machine = h64.e_machine;
		elf->type = h64.e_type;
		elf->entry = h64.e_entry;
		*ph = (struct program_headers){ h64.e_phoff, h64.e_phnum, h64.e_phentsize };
	} else {
		ret = boot_image_read(image, 0, &h32, sizeof(h32));
		elf->machine = h32.e_machine;
		elf->type = h32.e_type;
		elf->entry = h32.e_entry;
		*ph = (struct program_headers){ h32.e_phoff, h32.e_phnum, h32.e_phentsize };
	}
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

static int elf_check_header(struct boot *b, const struct elf *elf, const struct program_headers *ph)
{
	if (elf->machine != EM_X86_64 && elf->machine != EM_386)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "it is an ELF file for %s (machine %u)",
					 machine_name(elf->machine), elf->machine);
	if (elf->type != ET_EXEC && elf->type != ET_DYN)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "it is an ELF file of type %u, which cannot be executed", elf->type);
	if (!ph->count || ph->count > HEADERS_MAX ||
	    ph->size != (elf->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "it is an ELF file with %u program headers of %u bytes", ph->count,
					 ph->size);
	return 0;
}

int elf_parse(struct boot *b, const struct boot_image *image, struct elf *elf)
{
	struct program_headers ph = { 0 };
	int ret;

	memset(elf, 0, sizeof(*elf));
	ret = elf_read_header(b, image, elf, &ph);
	if (!ret)
		ret = elf_check_header(b, elf, &ph);
	for (unsigned i = 0; i < ph.count && !ret; i++) {
		struct program_header p = { 0 };

		/* The sum may wrap: then it names no place in the file, or some other one in it. */
		ret = elf_read_program_header(image, elf, ph.offset + (uint64_t)i * ph.size, &p);
		if (ret)
			ret = boot_kernel_read_error(b, ret);
		else if (p.type == PT_LOAD)
			ret = elf_add_segment(b, image, &p, elf);
		else if (p.type == PT_NOTE && p.filesz <= NOTES_MAX)
			ret = elf_read_notes(b, image, &p, elf);
	}
	if (!ret && !elf->segments)
		ret = boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					"it is an ELF file without anything to load");
	return ret;
}

static int elf_check_segment(struct boot *b, const struct elf *elf, unsigned n)
{
	const struct elf_segment *s = &elf->segment[n];
	bool beyond = s->paddr >= BOOT_HIGH_START && s->paddr <= UINT32_MAX && s->memsz <= UINT32_MAX;

	if (!boot_range_free(b, s->paddr, s->memsz))
		return boot_kernel_error(
			b, -ENOMEM, beyond ? boot_fix_memory : boot_fix_kernel,
			"a segment of %llu KiB belongs at 0x%llx, where the guest has no memory for it",
			(unsigned long long)(s->memsz >> 10), (unsigned long long)s->paddr);
	for (unsigned i = 0; i < n; i++) {
		const struct elf_segment *o = &elf->segment[i];

		if (s->paddr < o->paddr + o->memsz && o->paddr < s->paddr + s->memsz)
			return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
						 "two of its segments overlap in memory");
	}
	return 0;
}

int elf_place(struct boot *b, struct elf *elf)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];
		int ret = elf_check_segment(b, elf, i);

		if (ret)
			return ret;
		if (s->paddr + s->memsz > elf->end)
			elf->end = s->paddr + s->memsz;
	}
	return 0;
}

int elf_load(struct boot *b, const struct boot_image *image, const struct elf *elf)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];
		int ret = boot_image_to_ram(image, s->offset, s->filesz, b->ram, s->paddr);

		if (!ret && s->memsz > s->filesz)
			ret = ram_fill(b->ram, s->paddr + s->filesz, 0, s->memsz - s->filesz);
		if (ret)
			return boot_kernel_read_error(b, ret);
	}
	return 0;
}

bool elf_covers(const struct elf *elf, uint64_t gpa)
{
	for (unsigned i = 0; i < elf->segments; i++)
		if (gpa >= elf->segment[i].paddr && gpa - elf->segment[i].paddr < elf->segment[i].memsz)
			return true;
	return false;
}

uint64_t elf_physical(const struct elf *elf, uint64_t gva)
{
	for (unsigned i = 0; i < elf->segments; i++)
		if (gva >= elf->segment[i].vaddr && gva - elf->segment[i].vaddr < elf->segment[i].memsz)
			return gva - elf->segment[i].vaddr + elf->segment[i].paddr;
	return gva;
}

bool elf_is_pvh(const struct boot *b)
{
	struct boot_image image = { .file = &b->kernel, .size = b->kernel.size };
	struct error unused;
	struct boot quiet = *b;
	struct elf elf;

	quiet.err = &unused;
	return !elf_parse(&quiet, &image, &elf) && elf.has_pvh;
}
