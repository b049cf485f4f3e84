// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the initrd: what is taken, what is refused, and where it goes. */
#include "util.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t code[16] = { 0xf4 };

static const char *kernel(void)
{
	struct elf_recipe r = {
		.paddr = 1 * MIB, .entry = 1 * MIB, .code = code, .code_len = sizeof(code), .pvh = true};
	struct bytes k = make_elf(&r);
	const char *path = test_file(0, k.at, k.len);

	bytes_free(&k);
	return path;
}

static struct bytes join(struct bytes a, size_t zeros, struct bytes b)
{
	struct bytes all = { calloc(1, a.len + zeros + b.len + 1), a.len + zeros + b.len };

	assert_non_null(all.at);
	memcpy(all.at, a.at, a.len);
	if (b.len)
		memcpy(all.at + a.len + zeros, b.at, b.len);
	return all;
}

static void taken(const struct bytes *b)
{
	struct ram *ram = test_ram(16);
	struct vcpu_state cpu;
	struct error err;

	if (boot(ram, kernel(), test_file(1, b->at, b->len), "", &cpu, &err))
		fail_msg("%s: %s", err.what, err.why);
	ram_destroy(ram);
}

static void refused(const struct bytes *b, const char *why)
{
	struct ram *ram = test_ram(16);

	boot_fails(ram, kernel(), test_file(1, b->at, b->len), "", why);
	ram_destroy(ram);
}

/* One with a few files' worth of bytes that do not pack. */
static struct bytes archive(size_t len)
{
	struct bytes content = { malloc(len + 1), len }, cpio;
	uint32_t seed = 3;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		content.at[i] = (uint8_t)(seed >> 24);
	}
	cpio = make_cpio("file", content.at, len);
	bytes_free(&content);
	return cpio;
}

static void plain_and_packed_archives_are_taken(void **state)
{
	static const size_t sizes[] = { 0, 1, 1000, 700000 };

	for (unsigned i = 0; i < 4; i++) {
		struct bytes cpio = archive(sizes[i]);

		taken(&cpio);
		for (unsigned k = 0; k < KIND_COUNT; k++) {
			struct bytes p = pack(k, cpio.at, cpio.len);

			taken(&p);
			bytes_free(&p);
		}
		bytes_free(&cpio);
	}
}

/* As distributions make them: early microcode, plain, then the packed rest. */
static void archives_may_follow_each_other(void **state)
{
	struct bytes cpio = archive(5000), none = { 0 }, last;

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes p = pack(k, cpio.at, cpio.len), two = join(cpio, 512, p), three;

		taken(&two);
		three = join(two, (8 - two.len % 4) % 8, cpio);
		taken(&three);
		bytes_free(&p);
		bytes_free(&two);
		bytes_free(&three);
	}
	last = join(cpio, 100, none);
	taken(&last);
	bytes_free(&last);
	/* Only at multiples of 4. */
	last = join(cpio, 4 - cpio.len % 4 + 1, cpio);
	refused(&last, "what follows its first archive is none");
	bytes_free(&last);
	bytes_free(&cpio);
}

static void formats_that_cannot_be_looked_into_are_taken(void **state)
{
	struct bytes bzip2 = bytes_copy("BZh91AY&SY....", 14), fs = { calloc(1, 4096), 4096 };

	taken(&bzip2);
	memcpy(fs.at + 1080, "\x53\xef", 2);
	taken(&fs);
	bytes_free(&bzip2);
	bytes_free(&fs);
}

static void a_packed_file_system_is_taken(void **state)
{
	struct bytes fs = { calloc(1, 4096), 4096 }, p;

	memset(fs.at, 'x', 1024);
	memcpy(fs.at + 1080, "\x53\xef", 2);
	p = pack(KIND_GZIP, fs.at, fs.len);
	taken(&p);
	bytes_free(&p);
	bytes_free(&fs);
}

static void truncated_archives_are_refused(void **state)
{
	struct bytes cpio = archive(3000);

	for (size_t len = 1; len < cpio.len - 4; len += 37) {
		struct bytes cut = { cpio.at, len };

		refused(&cut, "truncated");
	}
	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes p = pack(k, cpio.at, cpio.len);
		struct bytes cut = { p.at, p.len - 5 };

		refused(&cut, "truncated");
		cut.len = p.len / 2;
		refused(&cut, "truncated");
		bytes_free(&p);
	}
	bytes_free(&cpio);
}

static void packed_archives_without_an_end_are_refused(void **state)
{
	struct bytes cpio = archive(3000);

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes p = pack(k, cpio.at, cpio.len - 200);

		refused(&p, "ends too early");
		bytes_free(&p);
	}
	bytes_free(&cpio);
}

static void damaged_archives_are_refused(void **state)
{
	struct bytes cpio = archive(3000), p;

	for (unsigned at = 0; at < 110; at += 7) {
		struct bytes bad = bytes_copy(cpio.at, cpio.len);

		bad.at[at] = 'x';
		refused(&bad, at ? "damaged" : "neither a cpio archive");
		p = pack(KIND_LZ4, bad.at, bad.len);
		refused(&p, at ? "damaged" : "holds is no cpio archive");
		bytes_free(&p);
		bytes_free(&bad);
	}
	p = pack(KIND_XZ, cpio.at, cpio.len);
	p.at[p.len / 2] ^= 1;
	refused(&p, "its XZ stream is damaged");
	bytes_free(&p);
	bytes_free(&cpio);
}

static void junk_is_refused(void **state)
{
	struct bytes junk = bytes_copy("this is not an initrd", 21), cpio = archive(10),
		     two = join(cpio, 4, junk), p;

	refused(&junk, "neither a cpio archive nor a packed one");
	refused(&two, "what follows its first archive is none");
	p = pack(KIND_ZSTD, junk.at, junk.len);
	refused(&p, "what its Zstandard stream holds is no cpio archive");
	bytes_free(&p);
	bytes_free(&two);
	bytes_free(&cpio);
	bytes_free(&junk);
}

static void what_unpacks_beyond_memory_is_refused(void **state)
{
	struct bytes zeros = { calloc(1, 17 << 20), 17 << 20 }, p;

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		p = pack(k, zeros.at, zeros.len);
		refused(&p, "unpacks to more than the guest's memory");
		bytes_free(&p);
	}
	bytes_free(&zeros);
}

static void what_does_not_fit_beside_the_kernel_is_refused(void **state)
{
	struct bytes cpio = archive(15 << 20);

	refused(&cpio, "and the guest has memory for");
	bytes_free(&cpio);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_packed_archives_are_taken),
		cmocka_unit_test(archives_may_follow_each_other),
		cmocka_unit_test(formats_that_cannot_be_looked_into_are_taken),
		cmocka_unit_test(a_packed_file_system_is_taken),
		cmocka_unit_test(truncated_archives_are_refused),
		cmocka_unit_test(packed_archives_without_an_end_are_refused),
		cmocka_unit_test(damaged_archives_are_refused),
		cmocka_unit_test(junk_is_refused),
		cmocka_unit_test(what_unpacks_beyond_memory_is_refused),
		cmocka_unit_test(what_does_not_fit_beside_the_kernel_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
