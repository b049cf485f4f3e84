// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Captures: the classic pcap format (pcap(5), draft-ietf-opsawg-pcap) with nanosecond stamps, host byte order.
 *
 * The port copies a record into a ring of bytes; a thread writes the ring to the file. The port never waits: without
 * room the record is not made, and the port counts it. The thread is woken when it sleeps and there is something.
 *
 * Invariant: `head` - `tail` (both only grow) bytes of the ring are filled; the port alone moves head, the thread
 * alone tail. `lock` guards `sleeping` and `closing`.
 */
#include "net/net_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RING = 4 << 20, LINKTYPE_ETHERNET = 1, SNAPLEN = 262144 };

struct pcap {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	bool sleeping, closing;
	_Atomic bool failed; /* the file takes no more */
	_Atomic uint64_t head, tail;
	uint8_t ring[RING];
};

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, sigfigs, snaplen, linktype;
};

struct record_header {
	uint32_t seconds, nanoseconds, len, original_len;
};

static bool write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Sleeps until there is something to write. False: there will be no more. */
static bool wait_filled(struct pcap *c, uint64_t tail)
{
	bool more;

	pthread_mutex_lock(&c->lock);
	c->sleeping = true;
	while (!c->closing && atomic_load(&c->head) == tail)
		pthread_cond_wait(&c->filled, &c->lock);
	c->sleeping = false;
	more = atomic_load(&c->head) != tail;
	pthread_mutex_unlock(&c->lock);
	return more;
}

static void *write_out(void *opaque)
{
	struct pcap *c = opaque;
	uint64_t tail = 0;

	while (wait_filled(c, tail)) {
		uint64_t head = atomic_load(&c->head);
		size_t at = tail % RING, len = head - tail < RING - at ? (size_t)(head - tail) : RING - at;

		if (!atomic_load(&c->failed) && !write_all(c->fd, c->ring + at, len))
			atomic_store(&c->failed, true);
		tail += len;
		atomic_store(&c->tail, tail);
	}
	return NULL;
}

static int start_thread(struct pcap *c)
{
	sigset_t all, old;
	int ret;

	/* Signals are other threads' business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&c->thread, NULL, write_out, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

int pcap_open(const char *path, struct pcap **out, struct error *err)
{
	const struct file_header header = {
		.magic = 0xa1b23c4d, .major = 2, .minor = 4, .snaplen = SNAPLEN, .linktype = LINKTYPE_ETHERNET,
	};
	struct pcap *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	if (!c)
		goto fail;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->filled, NULL);
	c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (c->fd < 0) {
		ret = -errno;
		goto fail;
	}
	if (!write_all(c->fd, (const uint8_t *)&header, sizeof(header))) {
		ret = -errno;
		goto fail_file;
	}
	ret = start_thread(c);
	if (ret)
		goto fail_file;
	*out = c;
	return 0;

fail_file:
	close(c->fd);
fail:
	free(c);
	return error_set(err, ret, STATUS_INPUT, "cannot write the capture %.180s", "%s",
			 "name a file in a folder that you may write to with pcap=", path, strerror(-ret));
}

static uint64_t put(struct pcap *c, uint64_t head, const void *from, size_t len)
{
	size_t at = head % RING, first = len < RING - at ? len : RING - at;

	memcpy(c->ring + at, from, first);
	memcpy(c->ring, (const uint8_t *)from + first, len - first);
	return head + len;
}

bool pcap_frame(struct pcap *c, const struct iovec *iov, unsigned iovs)
{
	size_t len = net_iov_len(iov, iovs);
	uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
	struct record_header r = { .len = (uint32_t)len, .original_len = (uint32_t)len };
	struct timespec now;

	if (sizeof(r) + len > RING - (head - atomic_load(&c->tail)) || atomic_load(&c->failed))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	r.seconds = (uint32_t)now.tv_sec;
	r.nanoseconds = (uint32_t)now.tv_nsec;
	head = put(c, head, &r, sizeof(r));
	for (unsigned i = 0; i < iovs; i++)
		head = put(c, head, iov[i].iov_base, iov[i].iov_len);
	atomic_store(&c->head, head);
	pthread_mutex_lock(&c->lock);
	if (c->sleeping)
		pthread_cond_signal(&c->filled);
	pthread_mutex_unlock(&c->lock);
	return true;
}

void pcap_close(struct pcap *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	pthread_cond_signal(&c->filled);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	close(c->fd);
	pthread_cond_destroy(&c->filled);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
