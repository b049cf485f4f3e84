// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An event loop: file descriptors and one alarm, over epoll(7) and timerfd(2). The main thread
 * runs one, each I/O thread another; a loop does not know which thread it will run on.
 *
 * All callbacks run on the thread that called loop_run. loop_stop, loop_wake, loop_post and
 * loop_alarm may be called from any thread and from callbacks; everything else only from the
 * loop's thread, before it runs or after it has ended.
 */
#ifndef SUBRING_HOST_LOOP_H
#define SUBRING_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A watched descriptor; @events is the epoll mask that came. */
typedef void loop_fd_fn(void *opaque, int fd, uint32_t events);
typedef void loop_fn(void *opaque);

int loop_create(struct loop **out);
void loop_destroy(struct loop *loop); /* NULL is fine; watched descriptors are not closed */

/*
 * Callbacks may watch, change and unwatch any descriptor, their own included: an event that was
 * already on its way to an unwatched one is dropped. @events 0 tells nothing, not even hang-ups.
 * Regular files and the like, which epoll cannot watch, count as always ready. Unwatch a
 * descriptor before closing it. -EEXIST: already watched; -ENOENT: not watched.
 */
int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *opaque);
int loop_change(struct loop *loop, int fd, uint32_t events);
void loop_unwatch(struct loop *loop, int fd);

/* @fn is called once when CLOCK_MONOTONIC reaches @deadline_ns; UINT64_MAX disarms. The newest call wins. */
void loop_set_alarm_fn(struct loop *loop, loop_fn *fn, void *opaque);
void loop_alarm(struct loop *loop, uint64_t deadline_ns);

/* @fn is called on the loop's thread soon after each loop_wake (several wakes may be merged). */
void loop_set_wake_fn(struct loop *loop, loop_fn *fn, void *opaque);
void loop_wake(struct loop *loop);

/*
 * @fn is called once on the loop's thread, after those that were posted before it. What is posted to
 * a loop that has been stopped waits for the next loop_run; loop_destroy drops it. 0 or -ENOMEM.
 */
int loop_post(struct loop *loop, loop_fn *fn, void *opaque);

/* Runs until loop_stop (one that came before counts). 0, or a negative errno when waiting itself fails. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

uint64_t host_monotonic_ns(void); /* CLOCK_MONOTONIC */

#endif
