// SPDX-License-Identifier: GPL-2.0-or-later
/* Whole states of a vCPU, for tests that pass them through an engine, a record, or from one engine to another. */
#ifndef SUBRING_TESTS_VCPU_STATES_H
#define SUBRING_TESTS_VCPU_STATES_H

struct vcpu_state;

/* Something of its own in every field that any CPU of a model has, in long mode. Left alone: events, the local APIC, XCR0. */
void vcpu_colour(struct vcpu_state *s);
/* Fails the test unless both make the same record. */
void vcpu_assert_same(const struct vcpu_state *a, const struct vcpu_state *b);

#endif
