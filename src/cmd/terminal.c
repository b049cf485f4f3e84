// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user's terminal and the signals that end a run.
 *
 * Everything a handler does is async-signal-safe (signal-safety(7): tcsetattr, write, raise and
 * sigaction are). Handlers touch only what is set before they are installed.
 */
#include "cmd/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

static int leave_fd = -1;
static volatile sig_atomic_t leave_count;

static int tty_fd = -1;
static volatile sig_atomic_t tty_is_raw;
static struct termios tty_cooked, tty_raw;

static void set_tty(const struct termios *mode)
{
	sigset_t block, old;

	/* In the background the kernel would stop us with SIGTTOU; blocked, it lets us. */
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	tcsetattr(tty_fd, TCSADRAIN, mode);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void terminal_restore(void)
{
	int saved = errno;

	if (tty_is_raw) {
		tty_is_raw = 0;
		set_tty(&tty_cooked);
	}
	errno = saved;
}

static void die_of(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	terminal_restore();
	sigaction(sig, &dfl, NULL);
	raise(sig);
}

static void on_leave(int sig)
{
	int saved = errno;
	uint64_t one = 1;

	if (leave_count++)
		die_of(sig);
	else if (write(leave_fd, &one, sizeof(one)) < 0)
		die_of(sig);
	errno = saved;
}

static const int leave_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

int signals_install(void)
{
	struct sigaction sa = { .sa_handler = on_leave, .sa_flags = SA_RESTART | SA_ONSTACK }, old;

	leave_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (leave_fd < 0)
		return -errno;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(leave_signals) / sizeof(leave_signals[0]); i++) {
		/* nohup(1) and shells without job control ignore some on purpose. */
		if (sigaction(leave_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(leave_signals[i], &sa, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	return leave_fd;
}

static void mask_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(leave_signals) / sizeof(leave_signals[0]); i++)
		sigaddset(&set, leave_signals[i]);
	pthread_sigmask(how, &set, NULL);
}

void signals_block(void)
{
	mask_signals(SIG_BLOCK);
}

void signals_unblock(void)
{
	mask_signals(SIG_UNBLOCK);
}

bool signals_came(void)
{
	return leave_count != 0;
}

/* Stopped from outside while raw: the shell gets its terminal back, and we ours when we go on. */
static void on_stop(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, old;
	sigset_t only, mask;
	int saved = errno, was_raw = tty_is_raw;

	terminal_restore();
	sigaction(sig, &dfl, &old);
	raise(sig);
	sigemptyset(&only);
	sigaddset(&only, sig);
	pthread_sigmask(SIG_UNBLOCK, &only, &mask); /* stops here */
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(sig, &old, NULL);
	if (was_raw) {
		set_tty(&tty_raw);
		tty_is_raw = 1;
	}
	errno = saved;
}

static void install_if_default(int sig, void (*fn)(int))
{
	struct sigaction sa = { .sa_handler = fn }, old;

	sigemptyset(&sa.sa_mask);
	/* A sanitizer's or a debugger's own handler is worth more than a tidy terminal. */
	if (sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		sigaction(sig, &sa, NULL);
}

int terminal_raw(int fd, bool keep_output)
{
	static const int crash[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };

	if (tcgetattr(fd, &tty_cooked) < 0)
		return -errno;
	tty_fd = fd;
	tty_raw = tty_cooked;
	tty_raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	tty_raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	tty_raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	tty_raw.c_cflag |= CS8;
	if (!keep_output)
		tty_raw.c_oflag &= ~(tcflag_t)OPOST;
	tty_raw.c_cc[VMIN] = 1;
	tty_raw.c_cc[VTIME] = 0;

	atexit(terminal_restore);
	for (size_t i = 0; i < sizeof(crash) / sizeof(crash[0]); i++)
		install_if_default(crash[i], die_of);
	install_if_default(SIGTSTP, on_stop);
	/* Not from the background: here SIGTTOU may stop us until we are brought to the front. */
	if (tcsetattr(fd, TCSADRAIN, &tty_raw) < 0)
		return -errno;
	tty_is_raw = 1;
	return 0;
}
