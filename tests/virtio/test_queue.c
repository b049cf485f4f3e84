// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/queue*.c: both formats of rings, indirect tables, suppression, and drivers that break every rule. */
#include "echo.h"

#include <errno.h>
#include <string.h>

static struct rig rig;
static struct echo echo;

static void begin(unsigned mode, unsigned size)
{
	rig_init(&rig, mode);
	echo_init(&echo, &rig);
	rig_start(&rig, 0, size);
}

static void end(void)
{
	echo_done(&echo, &rig);
}

static void fill(uint64_t gpa, unsigned len, uint8_t seed)
{
	for (unsigned i = 0; i < len; i++)
		rig_put_le(&rig, gpa + i, 1, (uint8_t)(seed + i * 7));
}

static bool same(uint64_t a, uint64_t b, unsigned len)
{
	uint8_t x[8192], y[8192];

	rig_get(&rig, a, x, len);
	rig_get(&rig, b, y, len);
	return !memcmp(x, y, len);
}

static void chains_of_many_parts_are_read_and_written_in_order(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 5 },	      { RIG_DATA + 5, 4000 },  { RIG_DATA + 4005, 1 },
					{ RIG_DATA + 0x10000, 1 },    { RIG_DATA + 0x10001, 0 }, { RIG_DATA + 0x10001, 4000 },
					{ RIG_DATA + 0x10fa1, 100 } };

		begin(mode, 16);
		fill(RIG_DATA, 4006, (uint8_t)mode);
		assert_int_equal(rig_do(&rig, 0, p, 3, 4), 4006);
		assert_true(same(RIG_DATA, RIG_DATA + 0x10000, 4006));
		end();
	}
}

static void rings_go_round_and_round(void **state)
{
	RIG_EACH(mode) {
		begin(mode, 8);
		for (unsigned i = 0; i < 100; i++) {
			struct rig_part p[] = { { RIG_DATA, 64 }, { RIG_DATA + 64, 3 }, { RIG_DATA + 0x1000, 70 } };

			fill(RIG_DATA, 67, (uint8_t)i);
			assert_int_equal(rig_do(&rig, i & 1, p, 2, 1), 67);
			assert_true(same(RIG_DATA, RIG_DATA + 0x1000, 67));
		}
		end();
	}
}

static void packed_rings_need_no_power_of_two(void **state)
{
	begin(RIG_PACKED, 7);
	for (unsigned i = 0; i < 50; i++) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };

		assert_int_equal(rig_do(&rig, 0, p, 1, 1), 8);
	}
	end();
}

static void chains_come_back_in_any_order(void **state)
{
	RIG_EACH(mode) {
		unsigned id[3], got;
		uint32_t len;

		begin(mode, 8);
		echo.hold = true;
		for (unsigned i = 0; i < 3; i++) {
			struct rig_part p[] = { { RIG_DATA, i + 1 }, { RIG_DATA + 64 * (i + 1), 64 } };

			id[i] = rig_add(&rig, 0, p, 1, 1);
		}
		rig_kick(&rig, 0);
		rig_run(&rig);
		assert_int_equal(echo.held, 3);
		assert_false(rig_used(&rig, 0, NULL, NULL));
		echo_release(&echo, 0);
		for (unsigned i = 3; i-- > 0;) {
			assert_true(rig_used(&rig, 0, &got, &len));
			assert_int_equal(got, id[i]);
			assert_int_equal(len, i + 1);
		}
		end();
	}
}

static void memory_may_cross_from_one_slot_to_the_next_only_if_they_touch(void **state)
{
	struct rig_part inside[] = { { RIG_HIGH + 5, 100 }, { RIG_RAM_HALF - 100, 100 } };
	struct rig_part out[] = { { RIG_DATA, 100 }, { RIG_RAM_HALF - 99, 100 } };

	begin(0, 8);
	assert_int_equal(rig_do(&rig, 0, inside, 1, 1), 100);
	assert_true(same(RIG_HIGH + 5, RIG_RAM_HALF - 100, 100));
	rig_add(&rig, 0, out, 1, 1);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

static void a_put_back_chain_is_the_next_one(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
		struct virtq_element e = { 0 }, f = { 0 };

		begin(mode, 2);
		echo.leave = true;
		for (unsigned i = 0; i < 9; i++) {
			unsigned id = rig_add(&rig, 0, p, 1, 1);

			virtio_lock(&echo.dev);
			assert_int_equal(virtio_pop(&echo.dev, 0, &e), 1);
			assert_int_equal(virtio_pop(&echo.dev, 0, &f), 0);
			virtio_unpop(&echo.dev, 0, &e);
			assert_int_equal(echo.dev.in_flight, 0);
			assert_int_equal(virtio_pop(&echo.dev, 0, &f), 1);
			assert_int_equal(e.id, id);
			assert_int_equal(f.id, id);
			assert_int_equal(f.in_len, 8);
			virtio_push(&echo.dev, 0, &f, 0);
			virtio_unlock(&echo.dev);
			assert_true(rig_used(&rig, 0, NULL, NULL));
		}
		virtq_element_free(&e);
		virtq_element_free(&f);
		end();
	}
}

static void several_elements_are_given_back_together(void **state)
{
	RIG_EACH(mode) {
		begin(mode, 8);
		echo.leave = true;
		for (unsigned round = 0; round < 10; round++) {
			struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
			struct virtq_element e[3] = { 0 };
			uint32_t written[3] = { 7, 8, 9 }, len;
			unsigned id[3], got;

			virtio_lock(&echo.dev);
			for (unsigned i = 0; i < 3; i++) {
				id[i] = rig_add(&rig, 0, p, i == 1, 1);
				assert_int_equal(virtio_pop(&echo.dev, 0, &e[i]), 1);
			}
			virtio_push_many(&echo.dev, 0, e, written, 3);
			virtio_unlock(&echo.dev);
			for (unsigned i = 0; i < 3; i++) {
				assert_true(rig_used(&rig, 0, &got, &len));
				assert_int_equal(got, id[i]);
				assert_int_equal(len, written[i]);
				virtq_element_free(&e[i]);
			}
			assert_false(rig_used(&rig, 0, NULL, NULL));
		}
		end();
	}
}

static void chains_are_mapped_for_the_kernel(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 0x2000, 100 }, { RIG_HIGH, 50 }, { RIG_DATA + 0x9000, 9000 } };
		struct virtq_element e = { 0 };
		struct virtq_iov v = { 0 };
		struct virtq *q = &echo.dev.queue[0];

		begin(mode, 8);
		echo.leave = true;
		rig_add(&rig, 0, p, 2, 2);
		virtio_lock(&echo.dev);
		assert_int_equal(virtio_pop(&echo.dev, 0, &e), 1);
		assert_int_equal(virtq_map(q, &e, true, 10, 8000, &v), 0);
		assert_int_equal(v.count, 2);
		assert_int_equal(v.iov[0].iov_len, 40);
		assert_int_equal(v.iov[1].iov_len, 7960);
		memset(v.iov[0].iov_base, 0xaa, 40);
		virtq_unmap_in(q, &e, 10, 8000);
		assert_int_equal(rig_get_le(&rig, RIG_HIGH + 9, 2), 0xaa00);
		v.count = 0;
		assert_int_equal(virtq_map(q, &e, false, 0, 108, &v), 0);
		assert_int_equal(v.count, 2);
		assert_int_equal(virtq_map(q, &e, false, 0, 109, &v), -ENODATA);
		assert_int_equal(virtq_map(q, &e, true, UINT64_MAX, 2, &v), -ENODATA);
		virtio_push(&echo.dev, 0, &e, 0);
		virtio_unlock(&echo.dev);
		virtq_element_free(&e);
		virtq_iov_free(&v);
		end();
	}
}

static void drivers_are_interrupted_as_they_wish(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
		struct rig_queue *q = &rig.q[0];
		unsigned before;

		begin(mode, 16);
		rig_do(&rig, 0, p, 1, 1);
		assert_int_equal(rig_interrupts(&rig, 0), 1);
		before = rig_interrupts(&rig, 0);
		if (mode & RIG_PACKED)
			rig_put16(&rig, q->driver + 2, 1);
		else if (mode & RIG_EVENT)
			rig_put16(&rig, q->driver + 4 + q->size * 2, 3);
		else
			rig_put16(&rig, q->driver, 1);
		/* used() would ask for the next interrupt */
		for (unsigned i = 0; i < 3; i++) {
			rig_add(&rig, 0, p, 1, 1);
			rig_kick(&rig, 0);
			rig_run(&rig);
			assert_int_equal(rig_interrupts(&rig, 0), before + (i == 2 && mode & RIG_EVENT && !(mode & RIG_PACKED)));
		}
		end();
	}
}

static void an_event_index_of_a_packed_ring_is_a_place(void **state)
{
	struct rig_part p[] = { { RIG_DATA, 8 } };
	struct rig_queue *q = &rig.q[0];

	begin(RIG_PACKED | RIG_EVENT, 4);
	for (unsigned round = 0; round < 6; round++) {
		unsigned before = rig_interrupts(&rig, 0), target = (q->last_used + 2) % 4;
		bool wrap = q->last_used + 2 >= 4 ? !q->used_wrap : q->used_wrap;

		/* when the one two places on is used */
		for (unsigned i = 0; i < 3; i++) {
			rig_put16(&rig, q->driver, (uint16_t)(target | wrap << 15));
			rig_put16(&rig, q->driver + 2, 2);
			rig_add(&rig, 0, p, 0, 1);
			rig_kick(&rig, 0);
			rig_run(&rig);
			assert_int_equal(rig_interrupts(&rig, 0), before + (i == 2));
			assert_true(rig_used(&rig, 0, NULL, NULL));
		}
	}
	end();
}

static void notifications_are_wanted_when_the_ring_is_empty(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
		struct rig_queue *q = &rig.q[0];

		begin(mode, 8);
		for (unsigned i = 1; i < 20; i++) {
			rig_do(&rig, 0, p, 1, 1);
			if (mode & RIG_PACKED)
				assert_int_equal(rig_get16(&rig, q->device + 2), mode & RIG_EVENT ? 2 : 0);
			if ((mode & RIG_PACKED) && (mode & RIG_EVENT))
				assert_int_equal(rig_get16(&rig, q->device), q->next | q->wrap << 15);
			if (!(mode & RIG_PACKED))
				assert_int_equal(rig_get16(&rig, q->device), 0);
			if (!(mode & RIG_PACKED) && (mode & RIG_EVENT))
				assert_int_equal(rig_get16(&rig, q->device + 4 + 8 * q->size), i);
		}
		/* and not while chains are left in it */
		echo.leave = true;
		rig_add(&rig, 0, p, 1, 1);
		rig_kick(&rig, 0);
		rig_run(&rig);
		if (mode & RIG_PACKED)
			assert_int_equal(rig_get16(&rig, q->device + 2), 1);
		else if (!(mode & RIG_EVENT))
			assert_int_equal(rig_get16(&rig, q->device), 1);
		end();
	}
}

/* --- hostile drivers --- */

/* After @break_it the queue is kicked: the device needs a reset, says so, and works after one. */
static void hostile(unsigned mode, void (*break_it)(struct rig_queue *q))
{
	struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
	unsigned config_interrupts;

	begin(mode, 8);
	rig_do(&rig, 0, p, 1, 1);
	config_interrupts = rig_interrupts(&rig, -1);
	break_it(&rig.q[0]);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	assert_int_equal(rig_interrupts(&rig, -1), config_interrupts + 1);
	/* nothing runs until it is reset, and no driver clears the bit */
	rig_set_status(&rig, 15);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	rig_kick(&rig, 1);
	rig_run(&rig);
	rig_start(&rig, 0, 8);
	assert_int_equal(rig_do(&rig, 0, p, 1, 1), 8);
	assert_false(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

static void raw_desc(uint64_t at, uint64_t gpa, uint32_t len, uint16_t third, uint16_t fourth)
{
	rig_put_le(&rig, at, 8, gpa);
	rig_put_le(&rig, at + 8, 4, len);
	rig_put16(&rig, at + 12, third);
	rig_put16(&rig, at + 14, fourth);
}

/* Makes split descriptor 0 available. */
static void offer_split(struct rig_queue *q, uint16_t head)
{
	uint16_t idx = rig_get16(&rig, q->driver + 2);

	rig_put16(&rig, q->driver + 4 + idx % q->size * 2, head);
	rig_put16(&rig, q->driver + 2, (uint16_t)(idx + 1));
}

static void split_loop(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 1, DESC_NEXT, 1);
	raw_desc(q->desc + 16, RIG_DATA, 1, DESC_NEXT, 0);
	offer_split(q, 0);
}

static void split_wild_head(struct rig_queue *q)
{
	offer_split(q, 8);
}

static void split_wild_next(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 1, DESC_NEXT, 0xffff);
	offer_split(q, 0);
}

static void split_wild_index(struct rig_queue *q)
{
	rig_put16(&rig, q->driver + 2, (uint16_t)(rig_get16(&rig, q->driver + 2) + 9));
}

static void split_readable_after_writable(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 1, DESC_NEXT | DESC_WRITE, 1);
	raw_desc(q->desc + 16, RIG_DATA, 1, 0, 0);
	offer_split(q, 0);
}

static void split_no_ram(struct rig_queue *q)
{
	raw_desc(q->desc, 0xc0000000, 8, DESC_NEXT, 1);
	raw_desc(q->desc + 16, RIG_DATA, 8, DESC_WRITE, 0);
	offer_split(q, 0);
}

static void split_wrapping_address(struct rig_queue *q)
{
	raw_desc(q->desc, UINT64_MAX - 3, 8, DESC_NEXT, 1);
	raw_desc(q->desc + 16, RIG_DATA, 8, DESC_WRITE, 0);
	offer_split(q, 0);
}

static void split_more_than_4_gib(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 0xffffffff, DESC_NEXT, 1);
	raw_desc(q->desc + 16, RIG_DATA, 2, 0, 0);
	offer_split(q, 0);
}

static void indirect_that_was_not_negotiated(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 16, DESC_INDIRECT, 0);
	offer_split(q, 0);
}

static void one_chain_more_often_than_there_are_entries(struct rig_queue *q)
{
	raw_desc(q->desc, RIG_DATA, 1, 0, 0);
	echo.hold = true;
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 7; k++)
			offer_split(q, 0);
		rig_kick(&rig, 0);
		rig_run(&rig);
	}
	assert_true(echo.held <= 8);
	echo_release(&echo, 0);
	echo.hold = false;
}

static void split_rules_that_are_broken_cost_the_guest_its_device(void **state)
{
	hostile(0, split_loop);
	hostile(RIG_MMIO, split_loop);
	hostile(0, split_wild_head);
	hostile(0, split_wild_next);
	hostile(0, split_wild_index);
	hostile(0, split_readable_after_writable);
	hostile(0, split_no_ram);
	hostile(0, split_wrapping_address);
	hostile(0, split_more_than_4_gib);
	hostile(0, indirect_that_was_not_negotiated);
	hostile(RIG_EVENT, one_chain_more_often_than_there_are_entries);
}

/* Indirect tables: the length and flags of the descriptor that names one, and the first of the table. */
static uint32_t table_len;
static uint16_t table_flags;
static uint64_t table_at;
static uint16_t inner_flags;

static void indirect(struct rig_queue *q)
{
	bool packed = rig.mode & RIG_PACKED;
	uint16_t avail = q->wrap ? 1 << 7 : 1 << 15;

	if (table_at == RIG_DATA)
		raw_desc(RIG_DATA, RIG_DATA, 1, packed ? 0 : inner_flags, packed ? inner_flags : 0);
	if (packed) {
		raw_desc(q->desc + q->next * 16, table_at, table_len, 0, table_flags | avail);
	} else {
		raw_desc(q->desc, table_at, table_len, table_flags, 0);
		offer_split(q, 0);
	}
}

static void bad_indirect(unsigned mode, uint64_t at, uint32_t len, uint16_t flags, uint16_t inner)
{
	table_at = at;
	table_len = len;
	table_flags = flags;
	inner_flags = inner;
	hostile(mode | RIG_INDIRECT, indirect);
}

static void indirect_tables_that_cannot_be_cost_the_guest_its_device(void **state)
{
	for (unsigned mode = 0; mode <= RIG_PACKED; mode++) {
		bad_indirect(mode, RIG_DATA, 0, DESC_INDIRECT, 0);
		bad_indirect(mode, RIG_DATA, 17, DESC_INDIRECT, 0);
		bad_indirect(mode, RIG_DATA, 0xfffffff0, DESC_INDIRECT, 0);
		bad_indirect(mode, 0xc0000000, 16, DESC_INDIRECT, 0);
		bad_indirect(mode, RIG_DATA, 16, DESC_INDIRECT | DESC_NEXT, 0);
		bad_indirect(mode, RIG_DATA, 16, DESC_INDIRECT, DESC_INDIRECT);
	}
	bad_indirect(0, RIG_DATA, 16, DESC_INDIRECT, DESC_NEXT); /* past the table's end */
}

static void packed_endless(struct rig_queue *q)
{
	uint16_t avail = q->wrap ? 1 << 7 : 1 << 15;

	for (unsigned i = 0; i < q->size; i++)
		raw_desc(q->desc + i * 16, RIG_DATA, 1, 0, avail | DESC_NEXT);
}

static void packed_readable_after_writable(struct rig_queue *q)
{
	uint16_t avail = q->wrap ? 1 << 7 : 1 << 15;

	raw_desc(q->desc + q->next * 16, RIG_DATA, 1, 0, avail | DESC_NEXT | DESC_WRITE);
	raw_desc(q->desc + q->next * 16 + 16, RIG_DATA, 1, 0, avail);
}

static void packed_no_ram(struct rig_queue *q)
{
	uint16_t avail = q->wrap ? 1 << 7 : 1 << 15;

	raw_desc(q->desc + q->next * 16, RIG_RAM_HALF - 4, 8, 0, avail | DESC_NEXT);
	raw_desc(q->desc + q->next * 16 + 16, RIG_DATA, 8, 0, avail | DESC_WRITE);
}

static void packed_all_twice(struct rig_queue *q)
{
	echo.hold = true;
	for (unsigned i = 0; i < q->size; i++)
		raw_desc(q->desc + i * 16, RIG_DATA, 1, 0, i >= q->next ? 1 << 7 : 1 << 15);
	rig_kick(&rig, 0);
	rig_run(&rig);
	for (unsigned i = 0; i < q->size; i++)
		raw_desc(q->desc + i * 16, RIG_DATA, 1, 0, i >= q->next ? 1 << 15 : 1 << 7);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_true(echo.held <= 8);
	echo_release(&echo, 0);
	echo.hold = false;
}

static void packed_rules_that_are_broken_cost_the_guest_its_device(void **state)
{
	hostile(RIG_PACKED, packed_endless);
	hostile(RIG_PACKED | RIG_MMIO, packed_readable_after_writable);
	hostile(RIG_PACKED, packed_no_ram);
	hostile(RIG_PACKED, packed_all_twice);
}

static void rings_outside_of_ram_cost_the_guest_its_device(void **state)
{
	static const uint64_t places[] = { 0xc0000000, 0xb0000000, RIG_RAM_HALF, 0xfffffffffffffff0 };

	RIG_EACH(mode) {
		for (unsigned area = 0; area < 3; area++)
			for (unsigned i = 0; i < 4; i++) {
				struct rig_part p[] = { { RIG_DATA, 8 } };
				struct virtq *q = &echo.dev.queue[0];

				begin(mode, 8);
				rig_add(&rig, 0, p, 1, 0);
				/* as if it had been set up so */
				*(area == 0 ? &q->desc : area == 1 ? &q->driver : &q->device) = places[i];
				rig_kick(&rig, 0);
				rig_run(&rig);
				assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
				end();
			}
	}
}

static void sizes_and_places_that_cannot_be_are_refused(void **state)
{
	struct virtq q = { .size_max = 256 };

	for (unsigned packed = 0; packed < 2; packed++) {
		uint64_t f = VIRTIO_F_VERSION_1 | (packed ? VIRTIO_F_RING_PACKED : 0);

		virtq_reset(&q);
		assert_int_equal(virtq_start(&q, f), 0);
		q.size = 0;
		assert_int_equal(virtq_start(&q, f), -EINVAL);
		q.size = 257;
		assert_int_equal(virtq_start(&q, f), -EINVAL);
		q.size = 24;
		assert_int_equal(virtq_start(&q, f), packed ? 0 : -EINVAL);
		q.size = 32;
		q.desc = 8;
		assert_int_equal(virtq_start(&q, f), -EINVAL);
		q.desc = 16;
		q.device = 2;
		assert_int_equal(virtq_start(&q, f), -EINVAL);
		q.device = 4;
		q.driver = 1;
		assert_int_equal(virtq_start(&q, f), -EINVAL);
	}
}

static void loading_refuses_places_outside_the_ring(void **state)
{
	struct virtq q = { .size_max = 256 };
	uint64_t f = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED;

	virtq_reset(&q);
	q.ready = true;
	q.size = 8;
	q.next_avail = 7;
	assert_int_equal(virtq_loaded(&q, f), 0);
	q.next_avail = 8;
	assert_int_equal(virtq_loaded(&q, f), -EPROTO);
	q.next_avail = 0;
	q.next_used = 9;
	assert_int_equal(virtq_loaded(&q, f), -EPROTO);
	q.next_used = 0;
	q.size = 512;
	assert_int_equal(virtq_loaded(&q, f), -EPROTO);
}

static void a_driver_that_never_stops_leaves_time_for_others(void **state)
{
	struct rig_queue *q = &rig.q[0];

	begin(0, 128);
	raw_desc(q->desc, RIG_DATA, 1, 0, 0);
	/* 100 more each time, up to what the ring takes: more than a run may take in all */
	for (unsigned i = 0; i < 100; i++)
		offer_split(q, 0);
	virtio_lock(&echo.dev);
	echo.dev.budget = 30;
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(virtio_pop(&echo.dev, 0, &echo.e[0]), 1);
		virtio_push(&echo.dev, 0, &echo.e[0], 0);
	}
	assert_int_equal(virtio_pop(&echo.dev, 0, &echo.e[0]), 0);
	virtio_unlock(&echo.dev);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_int_equal(rig_get16(&rig, q->device + 2), 100);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_many_parts_are_read_and_written_in_order),
		cmocka_unit_test(rings_go_round_and_round),
		cmocka_unit_test(packed_rings_need_no_power_of_two),
		cmocka_unit_test(chains_come_back_in_any_order),
		cmocka_unit_test(memory_may_cross_from_one_slot_to_the_next_only_if_they_touch),
		cmocka_unit_test(a_put_back_chain_is_the_next_one),
		cmocka_unit_test(several_elements_are_given_back_together),
		cmocka_unit_test(chains_are_mapped_for_the_kernel),
		cmocka_unit_test(drivers_are_interrupted_as_they_wish),
		cmocka_unit_test(an_event_index_of_a_packed_ring_is_a_place),
		cmocka_unit_test(notifications_are_wanted_when_the_ring_is_empty),
		cmocka_unit_test(split_rules_that_are_broken_cost_the_guest_its_device),
		cmocka_unit_test(indirect_tables_that_cannot_be_cost_the_guest_its_device),
		cmocka_unit_test(packed_rules_that_are_broken_cost_the_guest_its_device),
		cmocka_unit_test(rings_outside_of_ram_cost_the_guest_its_device),
		cmocka_unit_test(sizes_and_places_that_cannot_be_are_refused),
		cmocka_unit_test(loading_refuses_places_outside_the_ring),
		cmocka_unit_test(a_driver_that_never_stops_leaves_time_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
