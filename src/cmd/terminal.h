// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user's terminal and the signals that end a run.
 *
 * There is one terminal and one set of signal handlers in a process, so that this module keeps
 * its state in static variables.
 */
#ifndef SUBRING_CMD_TERMINAL_H
#define SUBRING_CMD_TERMINAL_H

#include <stdbool.h>

/*
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT make the returned descriptor (an eventfd) readable; a second
 * one ends the process at once, its terminal restored. SIGPIPE is ignored. Negative errno.
 */
int signals_install(void);
bool signals_came(void);
/*
 * Threads and processes started in between never get these signals: handlers run on the main
 * thread, and Ctrl-c at a terminal does not end the engine's process before us.
 */
void signals_block(void);
void signals_unblock(void);

/*
 * Puts the terminal at @fd into raw mode: what is typed goes to the guest byte by byte. It is
 * restored by terminal_restore, at exit, before the process stops (SIGTSTP) and when it crashes.
 * @keep_output: leave output processing on, for messages with bare newlines. 0 or negative errno.
 */
int terminal_raw(int fd, bool keep_output);
void terminal_restore(void);

#endif
