// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking at translated code: the dumper, symbols, the map for perf. */
#include "system_rig.h"

#include "engine/soft/translate/code.h"
#include "engine/soft/translate/dump.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static char text[1 << 20];

/* Everything that @write writes, in text[]. */
#define CAPTURE(call)                                                                              \
	do {                                                                                       \
		FILE *f_ = fmemopen(text, sizeof(text), "w");                                      \
                                                                                                   \
		assert_non_null(f_);                                                               \
		call;                                                                              \
		fclose(f_);                                                                        \
	} while (0)
#define F f_

/* --- blocks --- */

static void translate_something(void)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;
	static const uint8_t code[] = {
		0xb9, 0x64, 0, 0, 0,		/* mov ecx, 100 */
		0x55,				/* push rbp */
		0x48, 0x8b, 0x43, 0x08,		/* mov rax, [rbx+8] */
		0x4d, 0x89, 0xf7,		/* mov r15, r14 */
		0x5d,				/* pop rbp */
		0xff, 0xc9,			/* dec ecx */
		0x75, 0xf3,			/* jne push */
	};

	sys_start(SYS_LONG, 0);
	assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	sys.c->gpr[RBX] = SYS_DATA;
	assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
	assert_true(sys.vm->tr->block_count > 0);
}

static void block_shows_guest_and_host_code_with_names(void **state)
{
	(void)state;
	translate_something();
	CAPTURE(translate_dump_all(F, sys.vm->tr, NULL));
	if (getenv("DUMP_SHOW"))
		fputs(text, stdout);
	assert_non_null(strstr(text, "64-bit, CPL 0"));
	/* the guest's code */
	assert_non_null(strstr(text, "005  push rbp"));
	assert_non_null(strstr(text, "mov rax, [rbx+0x8]"));
	assert_non_null(strstr(text, "jne 0x8005"));
	/* the host's: fields, slots, guest registers in memory, exits, ways out */
	assert_non_null(strstr(text, "[t.page]"));
	assert_non_null(strstr(text, "[t.stack_base]"));
	assert_non_null(strstr(text, ".addend]"));
	assert_non_null(strstr(text, "[gpr.r14]"));
	assert_non_null(strstr(text, "[gpr.r15]"));
	assert_non_null(strstr(text, "jmp fill"));
	assert_non_null(strstr(text, "; STALE"));
	assert_non_null(strstr(text, "jmp leave"));
	assert_null(strstr(text, "gs:"));
	assert_null(strstr(text, ".byte"));
	assert_null(strstr(text, "stale;"));
}

static void linked_branch_shows_the_block_it_leads_to(void **state)
{
	char want[64];
	const struct tblock *loop = NULL;

	(void)state;
	translate_something();
	for (uint32_t i = 0; i < sys.vm->tr->block_count; i++)
		if ((sys.vm->tr->blocks[i].key & 0xfff) == 5)
			loop = &sys.vm->tr->blocks[i];
	assert_non_null(loop);
	assert_true(loop->links);
	assert_int_equal(loop->linear, SYS_CODE + 5);
	/* It branches to itself: to its near entry. */
	snprintf(want, sizeof(want), "jne +%x\n", loop->code - loop->far_code);
	CAPTURE(translate_dump(F, sys.vm->tr, loop, NULL));
	assert_non_null(strstr(text, want));
}

static void every_host_byte_is_shown_once(void **state)
{
	(void)state;
	translate_something();
	for (uint32_t i = 0; i < sys.vm->tr->block_count; i++) {
		const struct tblock *b = &sys.vm->tr->blocks[i];
		uint32_t at = 0;

		CAPTURE(translate_dump(F, sys.vm->tr, b, NULL));
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			char *plus = strstr(line, " +"), buf[160];

			if (!plus || line[0] != ' ' || plus - line < 40)
				continue;
			assert_int_equal(strtoul(plus + 2, NULL, 16), at);
			at += translate_print_host(sys.vm->tr, sys.vm->tr->rw + b->far_code + at, b->code_len - at,
						   b->far_code + at, buf, sizeof(buf));
		}
		assert_int_equal(at, b->code_len);
	}
}

static void stale_block_says_so(void **state)
{
	(void)state;
	translate_something();
	sys_poke(SYS_CODE, 1, 0x90);
	cache_frame_written(sys.vm->tr, SYS_CODE >> 12);
	CAPTURE(translate_dump_all(F, sys.vm->tr, NULL));
	assert_non_null(strstr(text, ", stale;"));
}

/* Bytes that are no instruction, and operands at any offset of struct cpu, named or not. */
static void any_host_code_can_be_printed(void **state)
{
	struct translator tr = { .rx = (uint8_t *)text, .rw = (uint8_t *)text, .size = 4096 };
	uint64_t rng = 1;
	char buf[160];

	(void)state;
	for (unsigned n = 0; n < 300000; n++) {
		uint8_t bytes[16];
		unsigned len;

		for (unsigned i = 0; i < sizeof(bytes); i++) {
			rng = rng * 6364136223846793005 + 1442695040888963407;
			bytes[i] = (uint8_t)(rng >> 56);
		}
		if (n & 1)
			bytes[0] = 0x65;
		len = translate_print_host(&tr, bytes, n % 17, n, buf, n & 2 ? sizeof(buf) : n % 40 + 1);
		assert_true(len >= 1 && len <= 15);
	}
}

/* --- symbols --- */

static char path[64];

static void write_symbols(const char *content)
{
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/subring-symbols-%d", (int)getpid());
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static int remove_symbols(void **state)
{
	if (path[0])
		unlink(path);
	path[0] = 0;
	return sys_teardown(state);
}

static const struct symbols *load(const char *content, uint64_t slide)
{
	struct symbols *s = NULL;

	write_symbols(content);
	assert_int_equal(symbols_load(path, slide, &s), 0);
	return s;
}

static void assert_symbol(const struct symbols *s, uint64_t linear, const char *name, uint64_t offset)
{
	uint64_t at = 0;
	const char *found = symbols_find(s, linear, &at);

	if (!name) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, name);
	assert_int_equal(at, offset);
}

static void symbols_are_found_by_address(void **state)
{
	const struct symbols *s = load("ffffffff81000200 t second\n"
				       "0000000000000000 A fixed_percpu_data\n"
				       "ffffffff81000000 T _text\n"
				       "                 U undefined\n"
				       "ffffffff81000000 T _stext\n"
				       "ffffffff81000100 D data\n"
				       "nonsense\n\n"
				       "ffffffff81000300 t last\t[module]\n",
				       0);

	(void)state;
	assert_symbol(s, 0xffffffff81000000, "_stext", 0);
	assert_symbol(s, 0xffffffff810001ff, "_stext", 0x1ff);
	assert_symbol(s, 0xffffffff81000200, "second", 0);
	assert_symbol(s, 0xffffffff81000301, "last", 1);
	assert_symbol(s, 0xffffffff80ffffff, NULL, 0);
	assert_symbol(s, 0, NULL, 0);
	assert_symbol(s, ~0ull, NULL, 0);
	assert_symbol(NULL, 0xffffffff81000000, NULL, 0);
	symbols_free((struct symbols *)s);
	s = load("1000 T f\n", 0x200000);
	assert_symbol(s, 0x201004, "f", 4);
	symbols_free((struct symbols *)s);
	symbols_free(NULL);
}

static void bad_symbol_files_are_errors(void **state)
{
	struct symbols *s;

	(void)state;
	write_symbols("");
	assert_int_equal(symbols_load(path, 0, &s), -EINVAL);
	write_symbols("\177ELF\1\2\3 no text at all\n");
	assert_int_equal(symbols_load(path, 0, &s), -EINVAL);
	assert_int_equal(symbols_load("/nonexistent/file", 0, &s), -ENOENT);
	assert_int_equal(symbols_load("/tmp", 0, &s), -EISDIR);
}

static void dump_names_the_symbol(void **state)
{
	struct symbols *s = (struct symbols *)load("8000 T start\n8005 t the_loop\n", 0);

	(void)state;
	translate_something();
	CAPTURE(translate_dump_all(F, sys.vm->tr, s));
	assert_non_null(strstr(text, "the_loop+0:"));
	symbols_free(s);
}

/* --- the map for perf --- */

static void perf_map_has_a_line_for_everything(void **state)
{
	struct symbols *s = (struct symbols *)load("8005 t the_loop\n", 0);
	const struct translator *tr;
	char want[128];
	unsigned lines = 0;

	(void)state;
	translate_something();
	tr = sys.vm->tr;
	CAPTURE({
		perf_map_trampolines(F, tr);
		for (uint32_t i = 0; i < tr->block_count; i++)
			perf_map_block(F, tr, &tr->blocks[i], s);
	});
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 11 + tr->block_count);
	snprintf(want, sizeof(want), "%llx %x subring:enter\n", (unsigned long long)(uintptr_t)(tr->rx + tr->enter), tr->leave - tr->enter);
	assert_non_null(strstr(text, want));
	snprintf(want, sizeof(want), " subring:fill-store-plain\n%llx ", (unsigned long long)(uintptr_t)(tr->rx + tr->hot_miss));
	assert_non_null(strstr(text, want));
	assert_non_null(strstr(text, " guest:the_loop\n"));
	symbols_free(s);
	CAPTURE(perf_map_block(F, tr, &tr->blocks[0], NULL));
	assert_non_null(strstr(text, "guest:64-cpl0@8"));
}

static void perf_map_is_not_written_through_what_somebody_put_there(void **state)
{
	char map[64], victim[64];
	struct stat st;
	FILE *f;

	(void)state;
	snprintf(map, sizeof(map), "/tmp/perf-%d.map", (int)getpid());
	unlink(map);
	f = perf_map_open();
	assert_non_null(f);
	fputs("1 1 x\n", f);
	fclose(f);
	assert_int_equal(stat(map, &st), 0);
	assert_int_equal(st.st_size, 6);
	f = perf_map_open(); /* again: empty */
	assert_non_null(f);
	fclose(f);
	assert_int_equal(stat(map, &st), 0);
	assert_int_equal(st.st_size, 0);
	unlink(map);
	write_symbols("precious");
	snprintf(victim, sizeof(victim), "%s", path);
	assert_int_equal(symlink(victim, map), 0);
	assert_null(perf_map_open());
	unlink(map);
	assert_int_equal(link(victim, map), 0);
	assert_null(perf_map_open());
	unlink(map);
	assert_int_equal(mkfifo(map, 0600), 0);
	assert_null(perf_map_open());
	unlink(map);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 8);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, remove_symbols)
	static const struct CMUnitTest tests[] = {
		T(block_shows_guest_and_host_code_with_names),
		T(linked_branch_shows_the_block_it_leads_to),
		T(every_host_byte_is_shown_once),
		T(stale_block_says_so),
		T(any_host_code_can_be_printed),
		T(symbols_are_found_by_address),
		T(bad_symbol_files_are_errors),
		T(dump_names_the_symbol),
		T(perf_map_has_a_line_for_everything),
		T(perf_map_is_not_written_through_what_somebody_put_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
