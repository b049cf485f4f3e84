// SPDX-License-Identifier: GPL-2.0-or-later
/* What tests of disks share: a folder, a loop, requests that are waited for, and faults of the host. */
#ifndef SUBRING_TESTS_BLOCK_DISK_RIG_H
#define SUBRING_TESTS_BLOCK_DISK_RIG_H

#include "block/block.h"
#include "host/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

extern struct loop *rig_loop;
extern char rig_folder[64];

int rig_set_up(void **state);    /* a loop and an empty folder; for cmocka_unit_test_setup_teardown */
int rig_tear_down(void **state); /* also ends faults */
const char *rig_path(const char *name); /* in the folder; valid until the fourth call after */
/* A file of @bytes with @fill in each, or a hole if 0. */
const char *rig_file(const char *name, uint64_t bytes, int fill);

struct disk *rig_open(const struct disk_config *config); /* must succeed */
/* Submits and waits, by running the loop. */
int rig_request(struct disk *d, enum block_op op, unsigned flags, uint64_t offset, void *memory, uint64_t bytes);
int rig_read(struct disk *d, uint64_t offset, void *to, uint64_t bytes);
int rig_write(struct disk *d, uint64_t offset, const void *from, uint64_t bytes);
int rig_flush(struct disk *d);
/* All of @bytes at @offset are @fill. */
void rig_assert_filled(struct disk *d, uint64_t offset, uint64_t bytes, int fill);

/* Host calls go wrong. Calls are counted from when it is set. */
struct rig_faults {
	size_t shorten;	 /* transfers do at most this many bytes at a time; 0: all */
	int write_error, read_error, sync_error, allocate_error; /* errno */
	uint64_t full_at; /* writes that end beyond this offset of a file fail with ENOSPC; 0: none */
};
extern struct rig_faults rig_faults;
extern _Atomic unsigned rig_syncs, rig_writes;
void rig_set_faults(const struct rig_faults *faults);

#endif
