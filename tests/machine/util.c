// SPDX-License-Identifier: GPL-2.0-or-later
/* See util.h. */
#include "util.h"

#include <elf.h>
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

/* --- a machine --- */

static void log_msi(void *opaque, const struct engine_msi *msi)
{
	struct wires_log *l = opaque;

	l->msis++;
	l->msi = *msi;
}

static void log_routes(void *opaque, const struct engine_msi *route, unsigned count)
{
	struct wires_log *l = opaque;

	assert_in_range(count, 0, 32);
	memcpy(l->route, route, count * sizeof(*route));
	l->routes = count;
}

static void log_extint(void *opaque, bool level)
{
	struct wires_log *l = opaque;

	l->extint_changes += level != l->extint;
	l->extint = level;
}

static void log_nmi(void *opaque)
{
	((struct wires_log *)opaque)->nmis++;
}

static void log_smi(void *opaque)
{
	((struct wires_log *)opaque)->smis++;
}

static void log_a20(void *opaque, bool open)
{
	struct wires_log *log = opaque;

	log->a20_changes++;
	log->a20 = open;
}

static void log_event(void *opaque, enum board_event event, unsigned code)
{
	struct wires_log *l = opaque;

	l->events++;
	l->event = event;
	l->code = code;
}

static void log_timer(void *opaque, uint64_t vm_ns)
{
	struct wires_log *l = opaque;

	l->timers++;
	l->timer_ns = vm_ns;
}

static int put_serial(void *opaque, uint8_t byte)
{
	struct wires_log *l = opaque;

	if (l->serial_len == sizeof(l->serial) - 1)
		return 0;
	l->serial[l->serial_len++] = (char)byte;
	return 1;
}

static int put_debugcon(void *opaque, uint8_t byte)
{
	struct wires_log *l = opaque;

	if (l->debugcon_len == sizeof(l->debugcon) - 1)
		return 0;
	l->debugcon[l->debugcon_len++] = (char)byte;
	return 1;
}

struct ram *test_ram(unsigned mib)
{
	struct ram *ram = NULL;
	struct error err = { 0 };

	assert_int_equal(ram_create(mib * MIB, NULL, &ram, &err), 0);
	assert_int_equal(board_map_ram(ram, &err), 0);
	return ram;
}

static void log_lines(void *opaque)
{
	struct wires_log *log = opaque;

	atomic_fetch_add(&log->lines, 1);
}

struct machine *machine_with(unsigned mib, const struct board_config *of)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct error err = { 0 };
	struct board_config config;

	assert_non_null(m);
	m->ram = test_ram(mib);
	vm_clock_init(&m->clock);
	m->log.timer_ns = UINT64_MAX;
	config = (struct board_config){
		.ram = m->ram,
		.clock = &m->clock,
		.cpus = of->cpus,
		.debug_exit = of->debug_exit,
		.rng = of->rng,
		.serial = { put_serial, &m->log },
		.debugcon = { put_debugcon, &m->log },
		.wires = { .msi = log_msi, .routes = log_routes, .extint = log_extint, .nmi = log_nmi, .smi = log_smi, .a20 = log_a20,
			   .event = log_event, .timer = log_timer, .lines_later = log_lines, .opaque = &m->log },
	};
	assert_int_equal(board_create(&config, &m->board, &err), 0);
	return m;
}

struct machine *machine_new(unsigned mib, unsigned cpus, bool debug_exit)
{
	return machine_with(mib, &(struct board_config){ .cpus = cpus, .debug_exit = debug_exit });
}

void machine_free(struct machine *m)
{
	board_destroy(m->board);
	ram_destroy(m->ram);
	free(m);
}

void machine_advance(struct machine *m, uint64_t ns)
{
	m->clock.tsc_paused += (uint64_t)((unsigned __int128)ns * m->clock.tsc_hz / 1000000000) + 1;
	board_timers(m->board);
}

uint32_t in(struct machine *m, uint16_t port, unsigned size)
{
	uint32_t v = 0;

	board_pio(m->board, port, size, false, &v, 1);
	return v;
}

void out(struct machine *m, uint16_t port, unsigned size, uint32_t value)
{
	board_pio(m->board, port, size, true, &value, 1);
}

uint64_t load(struct machine *m, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	board_mmio(m->board, gpa, size, false, &v);
	return v;
}

void store(struct machine *m, uint64_t gpa, unsigned size, uint64_t value)
{
	board_mmio(m->board, gpa, size, true, &value);
}

void ram_get(struct ram *ram, uint64_t gpa, void *buf, size_t len)
{
	assert_int_equal(ram_read(ram, gpa, buf, len), 0);
}

/* --- files --- */

const char *test_file(unsigned slot, const void *bytes, size_t len)
{
	static int fd[4] = { -1, -1, -1, -1 };
	static char path[4][64];

	if (fd[slot] >= 0)
		close(fd[slot]);
	fd[slot] = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd[slot] >= 0);
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd[slot], (const char *)bytes + done, len - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	snprintf(path[slot], sizeof(path[slot]), "/proc/self/fd/%d", fd[slot]);
	return path[slot];
}

/* --- bytes --- */

void bytes_free(struct bytes *b)
{
	free(b->at);
	*b = (struct bytes){ 0 };
}

static struct bytes bytes_new(size_t len)
{
	struct bytes b = { calloc(1, len ? len : 1), len };

	assert_non_null(b.at);
	return b;
}

struct bytes bytes_copy(const void *bytes, size_t len)
{
	struct bytes b = bytes_new(len);

	if (len)
		memcpy(b.at, bytes, len);
	return b;
}

void poke(struct bytes *b, size_t at, unsigned size, uint64_t value)
{
	assert_true(at + size <= b->len);
	memcpy(b->at + at, &value, size);
}

uint64_t peek(const void *bytes, size_t at, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, (const uint8_t *)bytes + at, size);
	return v;
}

/* --- packing --- */

const char *const pack_kind_name[] = { "gzip", "XZ", "Zstandard", "LZ4" };

static struct bytes pack_gzip(const void *bytes, size_t len)
{
	z_stream s = { 0 };
	struct bytes b;

	assert_int_equal(deflateInit2(&s, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	b = bytes_new(deflateBound(&s, len));
	s.next_in = (Bytef *)bytes;
	s.avail_in = (uInt)len;
	s.next_out = b.at;
	s.avail_out = (uInt)b.len;
	assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
	b.len = s.total_out;
	deflateEnd(&s);
	return b;
}

static struct bytes pack_xz(const void *bytes, size_t len)
{
	struct bytes b = bytes_new(lzma_stream_buffer_bound(len));
	size_t out_len = 0;

	assert_int_equal(
		lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, bytes, len, b.at, &out_len, b.len),
		LZMA_OK);
	b.len = out_len;
	return b;
}

static struct bytes pack_zstd(const void *bytes, size_t len)
{
	struct bytes b = bytes_new(ZSTD_compressBound(len));
	size_t n = ZSTD_compress(b.at, b.len, bytes, len, 3);

	assert_false(ZSTD_isError(n));
	b.len = n;
	return b;
}

static struct bytes pack_lz4(const void *bytes, size_t len)
{
	enum { BLOCK = 8 << 20 };
	size_t blocks = (len + BLOCK - 1) / BLOCK, done = 4;
	struct bytes b = bytes_new(4 + blocks * (4 + LZ4_COMPRESSBOUND(BLOCK)));

	poke(&b, 0, 4, 0x184c2102);
	for (size_t at = 0; at < len; at += BLOCK) {
		int part = len - at < BLOCK ? (int)(len - at) : BLOCK;
		int n = LZ4_compress_default((const char *)bytes + at, (char *)b.at + done + 4, part,
					     LZ4_COMPRESSBOUND(BLOCK));

		assert_true(n > 0);
		poke(&b, done, 4, (uint32_t)n);
		done += 4 + (size_t)n;
	}
	b.len = done;
	return b;
}

struct bytes pack(enum pack_kind kind, const void *bytes, size_t len)
{
	switch (kind) {
	case KIND_GZIP: return pack_gzip(bytes, len);
	case KIND_XZ: return pack_xz(bytes, len);
	case KIND_ZSTD: return pack_zstd(bytes, len);
	default: return pack_lz4(bytes, len);
	}
}

struct bytes make_payload(enum pack_kind kind, const void *plain, size_t len)
{
	struct bytes packed = pack(kind, plain, len), b;

	if (kind == KIND_GZIP)
		return packed;
	b = bytes_new(packed.len + 4);
	memcpy(b.at, packed.at, packed.len);
	poke(&b, packed.len, 4, len);
	bytes_free(&packed);
	return b;
}

/* --- kernels --- */

/* Name, type and description of XEN_ELFNOTE_PHYS32_ENTRY. */
static size_t put_note(uint8_t *at, uint32_t entry, unsigned align)
{
	uint32_t head[3] = { 4, align == 8 ? 8 : 4, 18 };

	memcpy(at, head, 12);
	memcpy(at + 12, "Xen", 4);
	memset(at + 16, 0, 8);
	memcpy(at + 16, &entry, 4);
	return 16 + head[1];
}

struct bytes make_elf(const struct elf_recipe *r)
{
	unsigned align = r->note_align ? r->note_align : 4;
	uint16_t machine = r->machine  ? r->machine
			   : r->narrow ? EM_386
				       : EM_X86_64,
		 type = r->type ? r->type : ET_EXEC;
	size_t code_at = 0x200, note_at = 0x100, note_len;
	struct bytes b = bytes_new(code_at + r->code_len);
	uint8_t ident[EI_NIDENT] = {0x7f,        'E',       'L', 'F', r->narrow ? ELFCLASS32 : ELFCLASS64,
				    ELFDATA2LSB, EV_CURRENT};

	memcpy(b.at + code_at, r->code, r->code_len);
	note_len = put_note(b.at + note_at, (uint32_t)r->entry, align);
	if (r->narrow) {
		Elf32_Ehdr h = {.e_type = type,
				.e_machine = machine,
				.e_version = 1,
				.e_entry = (uint32_t)r->entry,
				.e_phoff = sizeof(h),
				.e_ehsize = sizeof(h),
				.e_phentsize = sizeof(Elf32_Phdr),
				.e_phnum = r->pvh ? 2 : 1};
		Elf32_Phdr p[2] = {
			{.p_type = PT_LOAD,
			 .p_offset = (uint32_t)code_at,
			 .p_paddr = (uint32_t)r->paddr,
			 .p_filesz = (uint32_t)r->code_len,
			 .p_memsz = (uint32_t)(r->code_len + r->bss)},
			{.p_type = PT_NOTE,
			 .p_offset = (uint32_t)note_at,
			 .p_filesz = (uint32_t)note_len,
			 .p_align = align},
		};

		memcpy(h.e_ident, ident, sizeof(ident));
		memcpy(b.at, &h, sizeof(h));
		memcpy(b.at + sizeof(h), p, sizeof(p));
	} else {
		Elf64_Ehdr h = { .e_type = type, .e_machine = machine, .e_version = 1, .e_entry = r->entry,
				 .e_phoff = sizeof(h), .e_ehsize = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr),
				 .e_phnum = r->pvh ? 2 : 1 };
		Elf64_Phdr p[2] = {
			{ .p_type = PT_LOAD, .p_offset = code_at, .p_paddr = r->paddr, .p_filesz = r->code_len,
			  .p_memsz = r->code_len + r->bss },
			{ .p_type = PT_NOTE, .p_offset = note_at, .p_filesz = note_len, .p_align = align },
		};

		memcpy(h.e_ident, ident, sizeof(ident));
		memcpy(b.at, &h, sizeof(h));
		memcpy(b.at + sizeof(h), p, sizeof(p));
	}
	return b;
}

struct bytes make_bzimage(const struct bzimage_recipe *r)
{
	enum { SETUP_SECTS = 3, SETUP = (SETUP_SECTS + 1) * 512, PAYLOAD_AT = 0x400 };
	size_t system = (PAYLOAD_AT + r->payload_len + 15) & ~15ul;
	struct bytes b = bytes_new(SETUP + system);

	poke(&b, 0x1f1, 1, SETUP_SECTS);
	poke(&b, 0x1f4, 4, system / 16);
	poke(&b, 0x1fe, 2, 0xaa55);
	poke(&b, 0x200, 2, 0x66eb); /* jmp over the header: it ends at 0x268 */
	memcpy(b.at + 0x202, "HdrS", 4);
	poke(&b, 0x206, 2, r->version ? r->version : 0x20f);
	poke(&b, 0x211, 1, 1);
	poke(&b, 0x214, 4, 0x100000);
	poke(&b, 0x22c, 4, r->initrd_addr_max ? r->initrd_addr_max : 0x7fffffff);
	poke(&b, 0x230, 4, 0x200000);
	poke(&b, 0x234, 1, !r->fixed);
	poke(&b, 0x236, 2, r->xloadflags ? r->xloadflags : 1);
	poke(&b, 0x238, 4, 2047);
	poke(&b, 0x248, 4, PAYLOAD_AT);
	poke(&b, 0x24c, 4, r->payload_len);
	poke(&b, 0x258, 8, r->pref_address ? r->pref_address : 16 * MIB);
	poke(&b, 0x260, 4, r->init_size ? r->init_size : 1 * MIB);
	memset(b.at + SETUP, 0x90, PAYLOAD_AT);
	if (r->payload_len)
		memcpy(b.at + SETUP + PAYLOAD_AT, r->payload, r->payload_len);
	return b;
}

static size_t put_cpio_entry(uint8_t *at, const char *name, const void *content, size_t len)
{
	size_t name_len = strlen(name) + 1, head = (110 + name_len + 3) & ~3ul;
	char text[160];

	snprintf(text, sizeof(text), "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 1,
		 0x81ed, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0);
	memcpy(at, text, 110);
	memcpy(at + 110, name, name_len);
	if (len)
		memcpy(at + head, content, len);
	return head + ((len + 3) & ~3ul);
}

struct bytes make_cpio(const char *name, const void *content, size_t len)
{
	struct bytes b = bytes_new(512 + strlen(name) + len);
	size_t at = put_cpio_entry(b.at, name, content, len);

	b.len = at + put_cpio_entry(b.at + at, "TRAILER!!!", NULL, 0);
	return b;
}

int boot(struct ram *ram, const char *kernel, const char *initrd, const char *cmdline, struct vcpu_state *bsp,
	 struct error *err)
{
	struct boot_config config = { .kernel = kernel, .initrd = initrd, .cmdline = cmdline, .cpus = 2 };

	memset(bsp, 0, sizeof(*bsp));
	memset(err, 0, sizeof(*err));
	bsp->rip = 0xfff0;
	bsp->cr0 = 0x60000010;
	bsp->pat = 0x0007040600070406;
	bsp->apic_base = 0xfee00900;
	return boot_load(ram, &config, bsp, err);
}

void kernel_starts(struct ram *ram, const struct bytes *kernel, const char *initrd, const char *cmdline,
		   struct vcpu_state *bsp)
{
	struct error err;

	if (boot(ram, test_file(0, kernel->at, kernel->len), initrd, cmdline, bsp, &err))
		fail_msg("%s: %s", err.what, err.why);
}

void boot_fails(struct ram *ram, const char *kernel, const char *initrd, const char *cmdline, const char *why)
{
	struct vcpu_state bsp;
	struct error err;
	int ret = boot(ram, kernel, initrd, cmdline, &bsp, &err);

	if (ret >= 0)
		fail_msg("it booted; wanted: %s", why);
	assert_int_equal(err.status, STATUS_INPUT);
	assert_true(err.what[0] && err.why[0] && err.fix[0]);
	if (!strstr(err.why, why))
		fail_msg("why: \"%s\"; wanted: \"%s\"", err.why, why);
	/* A CPU that cannot boot is as it was. */
	assert_int_equal(bsp.rip, 0xfff0);
	assert_int_equal(bsp.cr0, 0x60000010);
}

void kernel_fails(struct ram *ram, const struct bytes *kernel, const char *why)
{
	boot_fails(ram, test_file(0, kernel->at, kernel->len), NULL, "", why);
}

void kernel_is_refused(unsigned mib, struct bytes kernel, const char *why)
{
	struct ram *ram = test_ram(mib);

	kernel_fails(ram, &kernel, why);
	bytes_free(&kernel);
	ram_destroy(ram);
}
