// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of bus/bus.c with a chip that remembers its accesses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/bus.h"

#include <errno.h>

struct probe {
	unsigned reads, writes, region, size;
	uint64_t offset, value, answer;
	struct bus *bus; /* from which a write removes everything */
};

static uint64_t probe_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct probe *p = chip;

	p->reads++;
	p->region = region;
	p->offset = offset;
	p->size = size;
	return p->answer ? p->answer : 0x10 + offset;
}

static void probe_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *p = chip;

	p->writes++;
	p->region = region;
	p->offset = offset;
	p->size = size;
	p->value = value;
	while (p->bus && p->bus->count)
		bus_remove(p->bus, p->bus->range[0].base);
}

static const struct chip_ops probe_ops = { .read = probe_read, .write = probe_write };

static int add(struct bus *bus, struct probe *p, uint64_t base, uint64_t len)
{
	struct bus_range r = {
		.base = base, .len = len, .ops = &probe_ops, .chip = p, .region = 7, .name = "probe"};

	return bus_add(bus, &r);
}

static void bus_finds_the_range_that_holds_an_address(void **state)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };

	assert_int_equal(add(&bus, &p, 0x60, 1), 0);
	assert_int_equal(add(&bus, &p, 0x20, 2), 0);
	assert_int_equal(add(&bus, &p, 0x3f8, 8), 0);
	assert_int_equal(add(&bus, &p, UINT64_MAX - 15, 16), 0);
	assert_null(bus_find(&bus, 0x1f));
	assert_int_equal(bus_find(&bus, 0x21)->base, 0x20);
	assert_null(bus_find(&bus, 0x22));
	assert_int_equal(bus_find(&bus, 0x60)->base, 0x60);
	assert_int_equal(bus_find(&bus, 0x3ff)->base, 0x3f8);
	assert_null(bus_find(&bus, 0x400));
	assert_int_equal(bus_find(&bus, UINT64_MAX)->len, 16);
	bus_remove(&bus, 0x21);
	assert_non_null(bus_find(&bus, 0x20));
	bus_remove(&bus, 0x20);
	assert_null(bus_find(&bus, 0x20));
	assert_int_equal(bus.count, 3);
}

static void bus_refuses_overlap_and_impossible_ranges(void **state)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };

	assert_int_equal(add(&bus, &p, 0x100, 0x10), 0);
	assert_int_equal(add(&bus, &p, 0x100, 1), -EEXIST);
	assert_int_equal(add(&bus, &p, 0x10f, 4), -EEXIST);
	assert_int_equal(add(&bus, &p, 0xf0, 0x11), -EEXIST);
	assert_int_equal(add(&bus, &p, 0, 0x1000), -EEXIST);
	assert_int_equal(add(&bus, &p, 0xf0, 0x10), 0);
	assert_int_equal(add(&bus, &p, 0x110, 0x10), 0);
	assert_int_equal(add(&bus, &p, 0x200, 0), -EINVAL);
	assert_int_equal(add(&bus, &p, UINT64_MAX, 2), -EINVAL);
	for (unsigned i = bus.count; i < BUS_RANGES_MAX; i++)
		assert_int_equal(add(&bus, &p, 0x10000 + i * 0x10, 0x10), 0);
	assert_int_equal(add(&bus, &p, 0x5000, 1), -ENOSPC);
}

static void bus_passes_an_access_inside_a_range_whole(void **state)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };

	add(&bus, &p, 0x100, 0x10);
	p.answer = 0xffffffff12345678;
	assert_int_equal(bus_read(&bus, 0x104, 4), 0x12345678);
	assert_int_equal(p.reads, 1);
	assert_int_equal(p.offset, 4);
	assert_int_equal(p.size, 4);
	assert_int_equal(p.region, 7);
	bus_write(&bus, 0x108, 2, 0xaabbccdd);
	assert_int_equal(p.writes, 1);
	assert_int_equal(p.offset, 8);
	assert_int_equal(p.value, 0xccdd);
	assert_int_equal(bus_read(&bus, 0x108, 8), 0xffffffff12345678);
}

static void bus_splits_an_access_across_ranges_into_bytes(void **state)
{
	struct bus bus = { 0 };
	struct probe p = { 0 }, q = { 0 };

	add(&bus, &p, 0x100, 2);
	add(&bus, &q, 0x103, 1);
	assert_int_equal(bus_read(&bus, 0x100, 4), 0x10ff1110);
	assert_int_equal(p.reads, 2);
	assert_int_equal(p.size, 1);
	assert_int_equal(bus_read(&bus, 0xff, 2), 0x10ff);
	bus_write(&bus, 0x101, 4, 0x44332211);
	assert_int_equal(p.writes, 1);
	assert_int_equal(p.offset, 1);
	assert_int_equal(p.value, 0x11);
	assert_int_equal(q.writes, 1);
	assert_int_equal(q.value, 0x33);
}

static void bus_reads_ones_where_nobody_answers(void **state)
{
	struct bus bus = { 0 };

	assert_int_equal(bus_read(&bus, 0x1234, 1), 0xff);
	assert_int_equal(bus_read(&bus, 0x1234, 2), 0xffff);
	assert_int_equal(bus_read(&bus, 0x1234, 8), UINT64_MAX);
	bus_write(&bus, 0x1234, 8, 1);
	assert_int_equal(bus_read(&bus, UINT64_MAX, 8), UINT64_MAX);
}

static void bus_survives_a_chip_that_changes_the_table(void **state)
{
	struct bus bus = { 0 };
	struct probe p = { .bus = &bus };

	add(&bus, &p, 0x100, 2);
	add(&bus, &p, 0x102, 2);
	bus_write(&bus, 0x100, 4, 0);
	assert_int_equal(p.writes, 1);
	assert_int_equal(bus.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bus_finds_the_range_that_holds_an_address),
		cmocka_unit_test(bus_refuses_overlap_and_impossible_ranges),
		cmocka_unit_test(bus_passes_an_access_inside_a_range_whole),
		cmocka_unit_test(bus_splits_an_access_across_ranges_into_bytes),
		cmocka_unit_test(bus_reads_ones_where_nobody_answers),
		cmocka_unit_test(bus_survives_a_chip_that_changes_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
