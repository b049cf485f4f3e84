// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trace and notes for the user: whole lines, each with one write(2), so that lines of several
 * threads (and, in a file opened with O_APPEND, of several processes) never mix, and the last line
 * before a crash is on record.
 *
 * Invariant: trace_mask, trace_fd and trace_start change only in trace_enable, before any other
 * thread starts.
 */
#include "host/log.h"

#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

uint32_t trace_mask;

static int trace_fd = STDERR_FILENO;
static uint64_t trace_start;

static const char *const topic_name[TRACE_TOPIC_COUNT] = {
#define X(id, name, help) name,
	TRACE_TOPICS(X)
#undef X
};

#define X(id, name, help) name ", "
static const char topic_names[] = TRACE_TOPICS(X) "all";
#undef X

/*
 * Writes a whole line. A terminal may have been made non-blocking through another descriptor: wait
 * for it a little, then give the line up rather than hold a vCPU.
 */
static void write_line(int fd, const char *line, size_t len)
{
	int saved = errno;

	while (len > 0) {
		ssize_t n = write(fd, line, len);

		if (n > 0) {
			line += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			if (poll(&p, 1, 100) <= 0)
				break;
		} else if (n == 0 || errno != EINTR) {
			break;
		}
	}
	errno = saved;
}

/* Appends the formatted text and a newline to the @used bytes in @line, cutting the text if need be. */
static __attribute__((format(printf, 3, 0))) size_t finish_line(char line[LINE_MAX_BYTES], size_t used,
								const char *fmt, va_list args)
{
	int n = vsnprintf(line + used, LINE_MAX_BYTES - used, fmt, args);

	if (n > 0)
		used += (size_t)n;
	if (used > LINE_MAX_BYTES - 1)
		used = LINE_MAX_BYTES - 1;
	line[used] = '\n';
	return used + 1;
}

/* The mask bits of the topic called by the @len bytes at @name; 0: there is none. */
static uint32_t topic_bits(const char *name, size_t len)
{
	if (len == 3 && !memcmp(name, "all", 3))
		return (1u << TRACE_TOPIC_COUNT) - 1;
	for (unsigned i = 0; i < TRACE_TOPIC_COUNT; i++)
		if (strlen(topic_name[i]) == len && !memcmp(name, topic_name[i], len))
			return 1u << i;
	return 0;
}

int trace_enable(const char *list, struct error *err)
{
	uint32_t mask = 0;
	const char *p = list;
	int fd = -1;

	for (;;) {
		size_t len = strcspn(p, ",:");
		uint32_t bits = topic_bits(p, len);

		if (!bits)
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot trace '%s'",
					 "there is no topic '%.*s'",
					 "name topics out of: %s; a file to append to follows after ':'",
					 list, (int)(len < 64 ? len : 64), p, topic_names);
		mask |= bits;
		p += len;
		if (*p != ',')
			break;
		p++;
	}
	if (*p == ':') {
		p++;
		fd = open(p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
		if (fd < 0) {
			int e = errno;

			return error_set(err, -e, STATUS_INPUT, "cannot open the trace file '%s'", "%s",
					 "name a file that can be written, or leave ':FILE' out", p,
					 strerror(e));
		}
		if (trace_fd != STDERR_FILENO)
			close(trace_fd);
		trace_fd = fd;
	}
	if (!trace_start)
		trace_start = host_monotonic_ns();
	trace_mask |= mask;
	return 0;
}

void trace(enum trace_topic topic, const char *fmt, ...)
{
	uint64_t us = (host_monotonic_ns() - trace_start) / 1000;
	char line[LINE_MAX_BYTES];
	va_list args;
	int used;

	if ((unsigned)topic >= TRACE_TOPIC_COUNT)
		return;
	used = snprintf(line, sizeof(line), "[%5llu.%06llu] %s: ", (unsigned long long)(us / 1000000),
			(unsigned long long)(us % 1000000), topic_name[topic]);
	va_start(args, fmt);
	write_line(trace_fd, line, finish_line(line, (size_t)used, fmt, args));
	va_end(args);
}

void log_note(const char *fmt, ...)
{
	static const char prefix[] = "subring: ";
	char line[LINE_MAX_BYTES];
	va_list args;

	memcpy(line, prefix, sizeof(prefix) - 1);
	va_start(args, fmt);
	write_line(STDERR_FILENO, line, finish_line(line, sizeof(prefix) - 1, fmt, args));
	va_end(args);
}
