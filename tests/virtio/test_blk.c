// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/blk.c. */
#include "fake_disk.h"
#include "rig.h"

#include "virtio/blk.h"

#include <errno.h>
#include <string.h>

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NONE = 0xee };
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define F_WCE (1ull << 11)
#define F_MQ (1ull << 12)
#define F_DISCARD (1ull << 13)
#define F_ZEROES (1ull << 14)

/* Where the driver has its header, data and status. */
#define HEADER RIG_DATA
#define DATA (RIG_DATA + 0x1000)
#define STATUS (RIG_DATA + 0x100)

static struct rig rig, other;
static struct disk disk, disk2;
static struct virtio_blk *blk, *blk2;

static void begin(unsigned mode, uint64_t features)
{
	rig_init(&rig, mode);
	assert_int_equal(virtio_blk_create(rig.ram, rig.loop, &disk, "serial number of disk", 2, &blk), 0);
	rig_attach(&rig, virtio_blk_device(blk));
	rig_start(&rig, features, 16);
}

static void begin_new(unsigned mode, uint64_t features)
{
	fake_disk_init(&disk);
	begin(mode, features);
}

static void end(void)
{
	rig_set_status(&rig, 0);
	rig_detach(&rig);
	virtio_blk_destroy(blk);
	rig_done(&rig);
	assert_int_equal(disk.plugged, 0);
}

static void header(uint32_t type, uint64_t sector)
{
	rig_put_le(&rig, HEADER, 8, type);
	rig_put_le(&rig, HEADER + 8, 8, sector);
	rig_put_le(&rig, STATUS, 1, NONE);
}

/* One request; its status. */
static unsigned request(unsigned n, uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct rig_part p[] = { { HEADER, 16 }, { DATA, bytes }, { STATUS, 1 } };
	bool in = type == IN || type == GET_ID;

	header(type, sector);
	if (type == FLUSH) {
		p[1] = p[2];
		rig_do(&rig, n, p, 1, 1);
	} else {
		rig_do(&rig, n, p, in ? 1 : 2, in ? 2 : 1);
	}
	return (unsigned)rig_get_le(&rig, STATUS, 1);
}

static void pattern(uint64_t gpa, unsigned len, uint8_t seed)
{
	uint8_t b[8192];

	for (unsigned i = 0; i < len; i++)
		b[i] = (uint8_t)(seed + i / 512 + i);
	rig_put(&rig, gpa, b, len);
}

static void sectors_are_written_and_read_back(void **state)
{
	RIG_EACH(mode) {
		uint8_t a[4096], b[4096];

		begin_new(mode, F_FLUSH | F_MQ);
		pattern(DATA, 4096, (uint8_t)mode);
		rig_get(&rig, DATA, a, 4096);
		assert_int_equal(request(0, OUT, 3, 4096), OK);
		assert_memory_equal(disk.bytes + 3 * 512, a, 4096);
		pattern(DATA, 4096, 77);
		assert_int_equal(request(1, IN, 3, 4096), OK);
		rig_get(&rig, DATA, b, 4096);
		assert_memory_equal(a, b, 4096);
		end();
	}
}

static void requests_may_be_cut_anywhere(void **state)
{
	RIG_EACH(mode) {
		struct rig_part in[] = { { HEADER, 7 }, { HEADER + 7, 9 }, { DATA, 500 }, { DATA + 500, 12 }, { DATA + 512, 513 } };
		struct rig_part out[] = { { HEADER, 5 }, { HEADER + 5, 11 + 100 }, { DATA, 412 }, { STATUS, 1 } };
		uint8_t got[1025];

		begin_new(mode, 0);
		memset(disk.bytes + 512, 0x5a, 1024);
		header(IN, 1);
		assert_int_equal(rig_do(&rig, 0, in, 2, 3), 1025);
		rig_get(&rig, DATA, got, 1025);
		assert_memory_equal(got, disk.bytes + 512, 1024);
		assert_int_equal(got[1024], OK);
		/* header and data in one descriptor */
		header(OUT, 9);
		rig_put_le(&rig, HEADER + 16, 4, 0x44332211);
		rig_do(&rig, 0, out, 3, 1);
		assert_int_equal(rig_get_le(&rig, STATUS, 1), OK);
		assert_int_equal(disk.bytes[9 * 512 + 1], 0x22);
		end();
	}
}

static void what_lies_outside_of_the_disk_is_an_error(void **state)
{
	begin_new(0, F_FLUSH | F_DISCARD | F_ZEROES);
	assert_int_equal(request(0, IN, FAKE_SECTORS, 512), IOERR);
	assert_int_equal(request(0, IN, FAKE_SECTORS - 1, 1024), IOERR);
	assert_int_equal(request(0, OUT, UINT64_MAX, 512), IOERR);
	assert_int_equal(request(0, OUT, 1ull << 55, 512), IOERR);
	assert_int_equal(request(0, IN, 0, 511), IOERR);
	assert_int_equal(request(0, IN, 0, 513), IOERR);
	assert_int_equal(disk.logged, 0);
	assert_int_equal(request(0, IN, FAKE_SECTORS - 1, 512), OK);
	end();
}

static void errors_of_the_disk_reach_the_driver(void **state)
{
	begin_new(0, F_FLUSH | F_DISCARD);
	for (unsigned i = 0; i < 3; i++) {
		disk.fail = i == 0 ? -EIO : i == 1 ? -ENOSPC : -EROFS;
		assert_int_equal(request(0, IN, 0, 512), IOERR);
		assert_int_equal(request(0, OUT, 0, 512), IOERR);
		assert_int_equal(request(0, FLUSH, 0, 0), IOERR);
	}
	/* and it goes on */
	disk.fail = 0;
	assert_int_equal(request(0, OUT, 0, 512), OK);
	end();
}

static void unknown_requests_are_unsupported(void **state)
{
	begin_new(0, 0);
	assert_int_equal(request(0, 2, 0, 512), UNSUPP);
	assert_int_equal(request(0, 0xffffffff, 0, 512), UNSUPP);
	assert_int_equal(request(0, DISCARD, 0, 16), UNSUPP);
	assert_int_equal(request(0, WRITE_ZEROES, 0, 16), UNSUPP);
	end();
}

static void a_serial_number_has_20_bytes(void **state)
{
	char id[20];

	begin_new(0, 0);
	assert_int_equal(request(0, GET_ID, 0, 20), OK);
	rig_get(&rig, DATA, id, 20);
	assert_memory_equal(id, "serial number of dis", 20);
	assert_int_equal(request(0, GET_ID, 0, 3), OK);
	assert_int_equal(request(0, GET_ID, 0, 300), OK);
	end();
}

static void writes_are_durable_before_they_are_acknowledged_as_the_driver_chose(void **state)
{
	begin_new(0, F_FLUSH);
	request(0, OUT, 0, 512);
	assert_int_equal(disk.log[0].flags, 0);
	assert_int_equal(request(0, FLUSH, 0, 0), OK);
	assert_int_equal(disk.log[1].op, BLOCK_FLUSH);
	end();
	begin_new(0, 0);
	request(0, OUT, 0, 512);
	assert_int_equal(disk.log[0].flags, BLOCK_FUA);
	end();
	begin_new(0, F_FLUSH | F_WCE);
	assert_int_equal(rig_config(&rig, 32, 1), 1);
	request(0, OUT, 0, 512);
	rig_set_config(&rig, 32, 1, 0);
	request(0, OUT, 0, 512);
	assert_int_equal(disk.log[0].flags, 0);
	assert_int_equal(disk.log[1].flags, BLOCK_FUA);
	end();
}

static void ranges_at(unsigned n, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	rig_put_le(&rig, DATA + n * 16, 8, sector);
	rig_put_le(&rig, DATA + n * 16 + 8, 4, sectors);
	rig_put_le(&rig, DATA + n * 16 + 12, 4, flags);
}

static void discards_and_zeroes_have_several_ranges(void **state)
{
	RIG_EACH(mode) {
		begin_new(mode, F_FLUSH | F_DISCARD | F_ZEROES);
		memset(disk.bytes, 0xff, sizeof(disk.bytes));
		ranges_at(0, 8, 8, 0);
		ranges_at(1, 0, 0, 0);
		ranges_at(2, 32, 1, 0);
		assert_int_equal(request(0, DISCARD, 0, 48), OK);
		assert_int_equal(disk.logged, 2);
		assert_int_equal(disk.log[1].offset, 32 * 512);
		assert_int_equal(disk.bytes[8 * 512], 0);
		assert_int_equal(disk.bytes[16 * 512], 0xff);
		assert_int_equal(disk.bytes[33 * 512 - 1], 0);
		ranges_at(0, 0, 1, 1);
		ranges_at(1, 2, 1, 0);
		assert_int_equal(request(1, WRITE_ZEROES, 0, 32), OK);
		assert_int_equal(disk.log[2].flags, BLOCK_UNMAP);
		assert_int_equal(disk.log[3].flags, 0);
		assert_int_equal(disk.log[3].op, BLOCK_WRITE_ZEROES);
		end();
	}
}

static void ranges_that_cannot_be_are_refused_whole(void **state)
{
	begin_new(0, F_DISCARD | F_ZEROES);
	ranges_at(0, 0, 1, 0);
	ranges_at(1, FAKE_SECTORS - 1, 2, 0);
	assert_int_equal(request(0, DISCARD, 0, 32), IOERR);
	ranges_at(1, UINT64_MAX, 2, 0);
	assert_int_equal(request(0, DISCARD, 0, 32), IOERR);
	ranges_at(1, 0, 0xffffffff, 0);
	assert_int_equal(request(0, WRITE_ZEROES, 0, 32), IOERR);
	ranges_at(1, 0, 1, 1);
	assert_int_equal(request(0, DISCARD, 0, 32), UNSUPP);
	ranges_at(1, 0, 1, 2);
	assert_int_equal(request(0, WRITE_ZEROES, 0, 32), UNSUPP);
	assert_int_equal(request(0, DISCARD, 0, 0), IOERR);
	assert_int_equal(request(0, DISCARD, 0, 15), IOERR);
	assert_int_equal(request(0, DISCARD, 0, 17 * 16), IOERR);
	assert_int_equal(disk.logged, 0);
	end();
}

static void a_read_only_disk_says_so_and_takes_no_writes(void **state)
{
	fake_disk_init(&disk);
	disk.info.readonly = true;
	begin(0, F_RO | F_FLUSH | F_DISCARD | F_ZEROES);
	assert_true(rig_features(&rig) & F_RO);
	assert_false(rig_features(&rig) & (F_DISCARD | F_ZEROES));
	assert_int_equal(request(0, OUT, 0, 512), IOERR);
	assert_int_equal(request(0, DISCARD, 0, 16), IOERR);
	assert_int_equal(request(0, IN, 0, 512), OK);
	assert_int_equal(disk.logged, 1);
	end();
}

static void the_configuration_tells_size_and_topology(void **state)
{
	begin_new(0, F_FLUSH | F_MQ);
	assert_int_equal(rig_config(&rig, 0, 8), FAKE_SECTORS);
	assert_int_equal(rig_config(&rig, 12, 4), 254);
	assert_int_equal(rig_config(&rig, 20, 4), 512);
	assert_int_equal(rig_config(&rig, 24, 1), 3);
	assert_int_equal(rig_config(&rig, 26, 2), 8);
	assert_int_equal(rig_config(&rig, 34, 2), 2);
	assert_int_equal(rig_config(&rig, 44, 4), 8);
	assert_int_equal(rig_config(&rig, 56, 1), 1);
	rig_set_status(&rig, 0);
	assert_int_equal(rig_queue_max(&rig, 1), 256);
	end();
}

static void requests_come_back_as_the_disk_finishes_them(void **state)
{
	RIG_EACH(mode) {
		unsigned id[3], got;

		begin_new(mode, F_FLUSH);
		disk.hold = true;
		for (unsigned i = 0; i < 3; i++) {
			struct rig_part p[] = { { HEADER + 0x200 * (i + 1), 16 }, { DATA + 512 * i, 512 }, { STATUS + i, 1 } };

			rig_put_le(&rig, p[0].gpa, 8, IN);
			rig_put_le(&rig, p[0].gpa + 8, 8, i);
			id[i] = rig_add(&rig, 0, p, 1, 2);
			disk.bytes[512 * i] = (uint8_t)(i + 1);
		}
		rig_kick(&rig, 0);
		rig_run(&rig);
		assert_int_equal(disk.waiting, 3);
		fake_disk_run(&disk, true);
		for (unsigned i = 3; i-- > 0;) {
			assert_true(rig_used(&rig, 0, &got, NULL));
			assert_int_equal(got, id[i]);
			assert_int_equal(rig_get_le(&rig, DATA + 512 * i, 1), i + 1);
		}
		assert_true(rig_interrupts(&rig, 0) >= 1);
		end();
	}
}

static void a_reset_waits_for_the_disk(void **state)
{
	struct rig_part p[] = { { HEADER, 16 }, { DATA, 512 }, { STATUS, 1 } };

	begin_new(0, F_FLUSH);
	disk.hold = true;
	header(IN, 0);
	rig_add(&rig, 0, p, 1, 2);
	rig_kick(&rig, 0);
	rig_run(&rig);
	rig_set_status(&rig, 0);
	assert_int_not_equal(rig_status(&rig), 0);
	fake_disk_run(&disk, false);
	assert_int_equal(rig_status(&rig), 0);
	end();
}

static void requests_without_header_or_status_cost_the_guest_its_device(void **state)
{
	static const struct {
		struct rig_part p[3];
		unsigned outs, ins;
	} bad[] = {
		{ { { HEADER, 15 }, { STATUS, 1 } }, 1, 1 },
		{ { { HEADER, 16 } }, 1, 0 },
		{ { { STATUS, 1 } }, 0, 1 },
		{ { { 0xc0000000, 16 }, { STATUS, 1 } }, 1, 1 },
		{ { { HEADER, 16 }, { RIG_RAM_HALF - 256, 512 }, { STATUS, 1 } }, 1, 2 },
		{ { { HEADER, 16 }, { 0xc0000000, 1 } }, 1, 1 },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin_new(0, 0);
		header(IN, 0);
		rig_add(&rig, 0, bad[i].p, bad[i].outs, bad[i].ins);
		rig_kick(&rig, 0);
		rig_run(&rig);
		assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
		assert_int_equal(disk.logged, 0);
		/* a reset cures it */
		rig_start(&rig, 0, 16);
		assert_int_equal(request(0, IN, 0, 512), OK);
		end();
	}
}

static void a_saved_device_goes_on_with_a_disk_of_the_same_size_only(void **state)
{
	for (unsigned bigger = 0; bigger < 2; bigger++) {
		begin_new(0, F_FLUSH | F_WCE);
		rig_set_config(&rig, 32, 1, 0);
		request(0, OUT, 0, 512);
		fake_disk_init(&disk2);
		disk2.info.bytes += bigger * 512;
		rig_init(&other, 0);
		assert_int_equal(virtio_blk_create(other.ram, other.loop, &disk2, "", 2, &blk2), 0);
		rig_attach(&other, virtio_blk_device(blk2));
		assert_int_equal(rig_copy(&rig, &other, &virtio_blk_ops, blk, blk2), bigger ? -EPROTO : 0);
		assert_int_equal(rig_config(&other, 32, 1), 0);
		rig_set_status(&other, 0);
		rig_detach(&other);
		virtio_blk_destroy(blk2);
		rig_done(&other);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sectors_are_written_and_read_back),
		cmocka_unit_test(requests_may_be_cut_anywhere),
		cmocka_unit_test(what_lies_outside_of_the_disk_is_an_error),
		cmocka_unit_test(errors_of_the_disk_reach_the_driver),
		cmocka_unit_test(unknown_requests_are_unsupported),
		cmocka_unit_test(a_serial_number_has_20_bytes),
		cmocka_unit_test(writes_are_durable_before_they_are_acknowledged_as_the_driver_chose),
		cmocka_unit_test(discards_and_zeroes_have_several_ranges),
		cmocka_unit_test(ranges_that_cannot_be_are_refused_whole),
		cmocka_unit_test(a_read_only_disk_says_so_and_takes_no_writes),
		cmocka_unit_test(the_configuration_tells_size_and_topology),
		cmocka_unit_test(requests_come_back_as_the_disk_finishes_them),
		cmocka_unit_test(a_reset_waits_for_the_disk),
		cmocka_unit_test(requests_without_header_or_status_cost_the_guest_its_device),
		cmocka_unit_test(a_saved_device_goes_on_with_a_disk_of_the_same_size_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
