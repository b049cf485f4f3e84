// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Timers of the chips: a list sorted by deadline. A VM has a dozen, most of them idle.
 *
 * Invariants: a timer is in the list exactly when its deadline is not UINT64_MAX; equal deadlines
 * stand in the order in which they were set. The owner of the queue hears of the earliest deadline
 * whenever it moves, and at the end of every run.
 */
#include "clock/clock.h"

static uint64_t earliest(const struct vm_timers *q)
{
	return q->head ? q->head->deadline_ns : UINT64_MAX;
}

static void tell(struct vm_timers *q)
{
	if (q->changed && !q->in_run)
		q->changed(q->opaque, earliest(q));
}

static void remove_timer(struct vm_timers *q, struct vm_timer *t)
{
	for (struct vm_timer **p = &q->head; *p; p = &(*p)->next) {
		if (*p != t)
			continue;
		*p = t->next;
		break;
	}
	t->next = NULL;
	t->deadline_ns = UINT64_MAX;
}

void vm_timer_init(struct vm_timer *t, void (*fn)(void *), void *opaque)
{
	*t = (struct vm_timer){.deadline_ns = UINT64_MAX, .fn = fn, .opaque = opaque};
}

void vm_timer_set(struct vm_timers *q, struct vm_timer *t, uint64_t deadline_ns)
{
	uint64_t before = earliest(q);

	if (t->deadline_ns != UINT64_MAX)
		remove_timer(q, t);
	if (deadline_ns != UINT64_MAX) {
		struct vm_timer **p = &q->head;

		while (*p && (*p)->deadline_ns <= deadline_ns)
			p = &(*p)->next;
		t->deadline_ns = deadline_ns;
		t->next = *p;
		*p = t;
	}
	if (earliest(q) != before)
		tell(q);
}

void vm_timer_cancel(struct vm_timers *q, struct vm_timer *t)
{
	vm_timer_set(q, t, UINT64_MAX);
}

void vm_timers_run(struct vm_timers *q, uint64_t now_ns)
{
	if (q->in_run)
		return;
	q->in_run = true;
	for (int n = 0; n < VM_TIMERS_RUN_MAX && q->head && q->head->deadline_ns <= now_ns; n++) {
		struct vm_timer *t = q->head;

		remove_timer(q, t);
		t->fn(t->opaque);
	}
	q->in_run = false;
	tell(q);
}
