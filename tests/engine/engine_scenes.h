// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Scenes that every engine plays alike behind the seam, for the tests of engine soft at each host and of engine kvm.
 * Those named scene_* are whole tests; the others are what tests begin or end with. The guests are simple, so that they
 * also run where KVM is an emulator.
 */
#ifndef SUBRING_TESTS_ENGINE_SCENES_H
#define SUBRING_TESTS_ENGINE_SCENES_H

#include "engine_rig.h"

/* --- a vCPU that moves --- */

/* What is left of a run. */
struct outcome {
	struct vcpu_state s;
	unsigned count, exits;
	struct erig_access log[ERIG_LOG_MAX];
	uint8_t data[0x1000]; /* from ERIG_DATA on */
};

/* ERIG_DATA: bytes from 0xa0 on, for guests that copy from there. */
void fill_data(void);
/* Runs vCPU 0 until it halts; after exit number @at (from 1; 0: never) it moves to a fresh engine at @host. To be freed. */
struct outcome *run_moving(unsigned at, const char *host);
/* Fails the test unless accesses, data and integer registers are the same: what does not depend on the kind of engine. */
void assert_outcomes_alike(const struct outcome *a, const struct outcome *b);

/* --- interrupts --- */

/* A vCPU that ends after a level-triggered interrupt at 0x51 and an edge-triggered one at 0x61, which both wait for it. */
void start_eoi(void);

/* --- doorbells --- */

enum { DOORBELLS = 3 };

/* Adds a bell of 4 bytes at ERIG_DEVICE, one for the value 5 behind it, and one at port 0x300; twice is refused. */
void add_doorbells(struct engine_doorbell bell[DOORBELLS]);
/* How often it rang since it was last asked. */
uint64_t rung(int fd);
/* Removes them; twice is refused; then the guest at ERIG_CODE rings none of them. Closes them. */
void remove_doorbells(struct engine_doorbell bell[DOORBELLS]);

/* --- whole tests --- */

void scene_kicks_end_a_loop_and_a_halt_and_the_next_run(void);
void scene_an_nmi_ends_a_halt_with_interrupts_off(void);
void scene_an_extint_is_taken_in_its_window(void);
/* Ends with a vCPU that is shut down. */
void scene_a_triple_fault_leaves_with_shutdown(void);

#endif
