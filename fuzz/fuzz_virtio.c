// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every virtio device under a hostile driver: random accesses to the registers of both transports, queues that are set up and
 * then filled with anything, and a host that does what hosts do in between. The sanitizers judge, and what must hold after each
 * input: a device that is reset is as new, and has nothing in flight.
 *
 * Input: device, transport, features, then steps of a command byte and its operands; see step().
 */
#include "input.h"

#include "fake_disk.h"
#include "fake_port.h"

#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "virtio/vsock_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RAM_SIZE = 256 << 10, STEPS_MAX = 512, AREA = 0x2000, DATA = 0x20000, SIZE = 16, DEVICES = 6, CID = 3, PROGRAMS = 4, LISTENS = 7 };

static struct {
	struct ram *ram;
	struct loop *loop;
	struct bus pio, mmio;
	struct pci pci;
	struct virtio_pci card;
	struct virtio_mmio window;
	struct virtio_device *dev;
	bool is_mmio;
	struct virtio_rng *rng;
	struct virtio_blk *blk;
	struct virtio_net *net;
	struct virtio_console *console;
	struct virtio_balloon *balloon;
	struct virtio_vsock *vsock;
	int program[PROGRAMS], listener; /* the host's ends of sockets; -1: none */
	struct disk disk;
	struct net_port port;
	size_t room; /* of the console's back-end */
	uint16_t avail[VIRTIO_QUEUES_MAX];
} f;

static void on_msi(void *opaque, uint64_t address, uint32_t data)
{
}

static void on_line(void *opaque)
{
	if (f.is_mmio)
		virtio_mmio_update_line(&f.window);
	else
		virtio_pci_update_line(&f.card);
}

static void on_intx(void *opaque, uint8_t lines)
{
}

static size_t on_put(void *opaque, const uint8_t *bytes, size_t len)
{
	size_t n = len < f.room ? len : f.room;

	f.room -= n;
	return n;
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

static void run(void)
{
	loop_set_wake_fn(f.loop, stop, f.loop);
	for (unsigned i = 0; i < 3; i++) {
		loop_wake(f.loop);
		if (loop_run(f.loop))
			abort();
	}
}

/* Sockets are in the folder where the fuzzer runs. */
static struct sockaddr_un address(bool listens)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "fuzz-%d%s", (int)getpid(), listens ? "_7" : "");
	return a;
}

static int make_vsock(void)
{
	struct sockaddr_un a = address(false), b = address(true);
	int ret = virtio_vsock_create(f.ram, f.loop, CID, a.sun_path, &f.vsock, NULL);

	if (ret)
		return ret;
	f.dev = virtio_vsock_device(f.vsock);
	f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlink(b.sun_path);
	if (bind(f.listener, (struct sockaddr *)&b, sizeof(b)) || listen(f.listener, 8))
		abort();
	for (unsigned i = 0; i < PROGRAMS; i++)
		f.program[i] = -1;
	return 0;
}

static void end_vsock(void)
{
	for (unsigned i = 0; f.vsock && i < PROGRAMS; i++)
		if (f.program[i] >= 0)
			close(f.program[i]);
	if (f.vsock) {
		close(f.listener);
		unlink(address(true).sun_path);
	}
	virtio_vsock_destroy(f.vsock);
	f.vsock = NULL;
}

/* A program connects, from it or to it, says something, reads, or ends. */
static void program(struct input *in)
{
	static const char hello[] = "CONNECT 5\n";
	static uint8_t bytes[16384];
	unsigned what = (unsigned)take(in, 1);
	int *p = &f.program[what % PROGRAMS];
	struct sockaddr_un a = address(false);

	switch (what >> 4 & 7) {
	case 0:
	case 1:
		if (*p >= 0)
			break;
		*p = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(*p, (struct sockaddr *)&a, sizeof(a)) == 0 && !(what & 8))
			(void)!send(*p, hello, sizeof(hello) - 1, MSG_NOSIGNAL);
		break;
	case 2:
		if (*p < 0)
			*p = accept4(f.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 3:
	case 4: (void)!send(*p, bytes, take(in, 1) * 64, MSG_NOSIGNAL); break;
	case 5: (void)!read(*p, bytes, sizeof(bytes)); break;
	case 6: shutdown(*p, what & 8 ? SHUT_WR : SHUT_RD); break;
	default:
		if (*p >= 0)
			close(*p);
		*p = -1;
		break;
	}
}

static int make_device(unsigned which)
{
	static const uint8_t mac[6] = { 2 };
	struct virtio_console_port ports[2] = { { .put = on_put }, { .name = "port", .put = on_put } };
	int ret;

	switch (which % DEVICES) {
	case 0:
		ret = virtio_rng_create(f.ram, f.loop, &f.rng);
		f.dev = ret ? NULL : &f.rng->dev;
		return ret;
	case 1:
		fake_disk_init(&f.disk);
		ret = virtio_blk_create(f.ram, f.loop, &f.disk, "fuzz", 2, &f.blk);
		f.dev = ret ? NULL : virtio_blk_device(f.blk);
		return ret;
	case 2:
		ret = virtio_net_create(f.ram, f.loop, mac, 2, &f.net);
		if (ret)
			return ret;
		memset(&f.port, 0, sizeof(f.port));
		f.port.ops = &virtio_net_port_ops;
		f.port.opaque = f.net;
		virtio_net_plug(f.net, &f.port);
		f.dev = virtio_net_device(f.net);
		return 0;
	case 3:
		ret = virtio_console_create(f.ram, f.loop, ports, 2, &f.console);
		f.dev = ret ? NULL : virtio_console_device(f.console);
		return ret;
	case 4: return make_vsock();
	default:
		ret = virtio_balloon_create(f.ram, f.loop, &f.balloon);
		f.dev = ret ? NULL : virtio_balloon_device(f.balloon);
		return ret;
	}
}

static void destroy_device(void)
{
	end_vsock();
	virtio_rng_destroy(f.rng);
	virtio_blk_destroy(f.blk);
	virtio_net_destroy(f.net);
	virtio_console_destroy(f.console);
	virtio_balloon_destroy(f.balloon);
	f.rng = NULL;
	f.blk = NULL;
	f.net = NULL;
	f.console = NULL;
	f.balloon = NULL;
}

/* What the disk holds comes back. */
static void finish_disk(void)
{
	f.disk.fail = 0;
	while (f.blk && f.disk.first)
		fake_disk_run(&f.disk, false);
}

static void access_registers(struct input *in, bool write)
{
	unsigned size = 1u << take(in, 1) % 4, region = (unsigned)take(in, 1) % 8;
	uint64_t offset = take(in, 2);

	/* A reset by MMIO waits for another thread, and there is none. */
	if (f.is_mmio)
		finish_disk();
	if (f.is_mmio && write)
		virtio_mmio_ops.write(&f.window, 0, offset % VIRTIO_MMIO_SIZE, size, take(in, size));
	else if (f.is_mmio)
		virtio_mmio_ops.read(&f.window, 0, offset % VIRTIO_MMIO_SIZE, size);
	else if (region == 7 && write)
		pci_ops.write(&f.pci, PCI_REGION_ECAM, 1 << 15 | (offset & 0xff), size, take(in, size));
	else if (region == 7)
		pci_ops.read(&f.pci, PCI_REGION_ECAM, 1 << 15 | (offset & 0xff), size);
	else if (write)
		virtio_pci_ops.write(&f.card, region & 1 ? VIRTIO_PCI_REGION_MSIX : VIRTIO_PCI_REGION_REGISTERS,
				     offset % VIRTIO_PCI_BAR_SIZE, size, take(in, size));
	else
		virtio_pci_ops.read(&f.card, region & 1 ? VIRTIO_PCI_REGION_MSIX : VIRTIO_PCI_REGION_REGISTERS,
				    offset % VIRTIO_PCI_BAR_SIZE, size);
}

/* 3.1.1 in short, past the transport: registers are fuzzed by themselves. */
static void start(uint64_t features)
{
	virtio_lock(f.dev);
	virtio_set_status(f.dev, 0, false);
	virtio_set_features(f.dev, 0, (uint32_t)features & (uint32_t)f.dev->features);
	virtio_set_features(f.dev, 1, (uint32_t)(features >> 32 & f.dev->features >> 32) | 1);
	virtio_set_status(f.dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK, false);
	for (unsigned n = 0; n < f.dev->queues; n++) {
		virtio_set_queue_size(f.dev, n, SIZE);
		virtio_set_queue_area(f.dev, n, 0, false, AREA * n);
		virtio_set_queue_area(f.dev, n, 1, false, AREA * n + 0x1000);
		virtio_set_queue_area(f.dev, n, 2, false, AREA * n + 0x1800);
		virtio_set_queue_ready(f.dev, n);
		f.avail[n] = 0;
	}
	virtio_set_status(f.dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK, false);
	virtio_unlock(f.dev);
}

static void put(uint64_t gpa, const void *bytes, size_t len)
{
	ram_write(f.ram, gpa, bytes, len);
}

/* A chain of up to 8 descriptors, most of them sensible. */
static void add_chain(struct input *in)
{
	unsigned n = (unsigned)take(in, 1) % f.dev->queues, count = 1 + take(in, 1) % 8;
	struct virtq *q = &f.dev->queue[n];
	uint16_t head = f.avail[n] % SIZE, idx;

	for (unsigned i = 0; i < count; i++) {
		unsigned how = (unsigned)take(in, 1), at = (head + i) % SIZE;
		struct {
			uint64_t addr;
			uint32_t len;
			uint16_t third, fourth;
		} d = { .addr = DATA + take(in, 1) * 512, .len = (uint32_t)take(in, 1) * (how & 8 ? 256 : 1) };
		uint16_t flags = (uint16_t)((i + 1 < count ? DESC_NEXT : 0) | (how & 1 ? DESC_WRITE : 0) |
					    ((how & 0xf0) == 0xf0 ? DESC_INDIRECT : 0));

		if (how & 2) {
			uint64_t text[2] = { take(in, 4), take(in, 4) };

			put(d.addr, text, sizeof(text));
		}
		if ((how & 0x0f) == 0x0f)
			d.addr = take(in, 8);
		d.third = q->packed ? (uint16_t)at : flags;
		d.fourth = q->packed ? flags | (q->avail_wrap ? DESC_AVAIL : DESC_USED) : (uint16_t)((at + 1) % SIZE);
		if (q->packed)
			at = (q->next_avail + i) % SIZE;
		put(AREA * n + at * 16, &d, sizeof(d));
	}
	if (!q->packed) {
		put(AREA * n + 0x1000 + 4 + f.avail[n] % SIZE * 2, &head, 2);
		idx = ++f.avail[n];
		put(AREA * n + 0x1000 + 2, &idx, 2);
	}
	virtio_kick(f.dev, n);
}

/* A packet of the guest's sockets that looks like one. */
static void add_packet(struct input *in)
{
	struct vsock_header h = { .src_cid = CID, .dst_cid = 2, .type = 1 };
	uint64_t gpa = DATA + take(in, 1) * 512;
	unsigned ports = (unsigned)take(in, 1);
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d = { .addr = gpa };
	uint16_t head = f.avail[VSOCK_TX] % SIZE, idx = (uint16_t)(f.avail[VSOCK_TX] + 1);

	if (f.dev->queue[VSOCK_TX].packed)
		return;
	h.op = (uint16_t)(take(in, 1) % 9);
	h.src_port = ports & 1 ? 5 : ports >> 4;
	/* Ports of programs that connected are counted from here. */
	h.dst_port = ports & 2 ? LISTENS : (1u << 30) + (ports >> 2 & 3);
	h.flags = (uint32_t)take(in, 1) & 3;
	h.len = (uint32_t)take(in, 2);
	h.buf_alloc = (uint32_t)take(in, 2) * 16;
	h.fwd_cnt = (uint32_t)take(in, 2);
	d.len = (uint32_t)sizeof(h) + h.len;
	put(gpa, &h, sizeof(h));
	put(AREA * VSOCK_TX + head * 16, &d, sizeof(d));
	put(AREA * VSOCK_TX + 0x1000 + 4 + head * 2, &head, 2);
	put(AREA * VSOCK_TX + 0x1000 + 2, &idx, 2);
	f.avail[VSOCK_TX] = idx;
	virtio_kick(f.dev, VSOCK_TX);
}

static void scribble(struct input *in)
{
	uint64_t gpa = take(in, 3) % (RAM_SIZE + 64), v = take(in, 8);

	put(gpa, &v, 1 + take(in, 1) % 8);
}

/* What the host does. */
static void host(struct input *in)
{
	static uint8_t bytes[14 + 255 * 8];
	unsigned what = (unsigned)take(in, 1);
	struct iovec iov = { bytes, 14 + take(in, 1) * 8 };
	struct net_offload o = { 0 };

	if (f.blk) {
		f.disk.hold = what & 1;
		f.disk.fail = what & 2 ? -5 : 0;
		fake_disk_run(&f.disk, what & 4);
	}
	if (f.net) {
		f.port.full = what & 1;
		f.port.echo = what & 2;
		if (what & 4)
			virtio_net_port_ops.writable(f.net);
		else if (!f.port.paused)
			virtio_net_port_ops.receive(f.net, &iov, 1, &o);
	}
	if (f.console) {
		f.room = what;
		virtio_console_output_ready(f.console, what & 1);
		virtio_console_input(f.console, what >> 1 & 1, bytes, iov.iov_len);
		virtio_console_connect(f.console, what & 1, what & 4);
	}
	if (f.balloon) {
		virtio_balloon_ask(f.balloon);
		virtio_balloon_set_target(f.balloon, what << 20);
	}
}

/* A saved state in which anything may stand. */
static void fill(const struct state_field *s, char *object, struct input *in)
{
	for (; s->name; s++)
		for (uint32_t i = 0; i < s->count; i++) {
			char *element = object + s->offset + (size_t)i * s->size;

			if (s->kind == STATE_KIND_STRUCT) {
				fill(s->sub, element, in);
			} else if (in->left && (take(in, 1) & 1)) {
				for (uint32_t k = 0; k < s->size; k++)
					element[k] = (char)(take(in, 1) & (s->flags & STATE_BOOL ? 1 : 0xff));
			}
		}
}

static void load_one(const struct chip_ops *ops, void *object, struct input *in, bool *ok)
{
	fill(ops->state->fields, object, in);
	if (*ok && ops->loaded)
		*ok = ops->loaded(object) == 0;
}

static void load(struct input *in)
{
	bool ok = true;

	finish_disk();
	virtio_pause(f.dev);
	if (f.is_mmio)
		load_one(&virtio_mmio_ops, &f.window, in, &ok);
	else
		load_one(&virtio_pci_ops, &f.card, in, &ok);
	load_one(&virtio_device_ops, f.dev, in, &ok);
	if (f.net)
		load_one(&virtio_net_ops, f.net, in, &ok);
	if (f.vsock)
		load_one(&virtio_vsock_ops, f.vsock, in, &ok);
	if (f.console)
		load_one(&virtio_console_ops, f.console, in, &ok);
	/* A VM does not go on with what was refused. */
	if (!ok)
		virtio_device_ops.reset(f.dev);
	virtio_resume(f.dev);
}

static void step(struct input *in)
{
	switch (take(in, 1) % 16) {
	case 0:
	case 1: access_registers(in, true); break;
	case 2: access_registers(in, false); break;
	case 3: start(take(in, 8)); break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8: add_chain(in); break;
	case 9: scribble(in); break;
	case 10: host(in); break;
	case 11: load(in); break;
	case 12:
		if (f.vsock)
			program(in);
		break;
	case 13:
		if (f.vsock)
			add_packet(in);
		break;
	default: run(); break;
	}
}

static void build(unsigned which, bool is_mmio)
{
	struct virtio_wires wires = { .msi = on_msi, .line = on_line };
	struct irq_line irq = { 0 };

	memset(&f.pio, 0, sizeof(f.pio));
	memset(&f.mmio, 0, sizeof(f.mmio));
	f.is_mmio = is_mmio;
	f.room = 100;
	if (ram_fill(f.ram, 0, 0, RAM_SIZE) || loop_create(&f.loop) || make_device(which))
		abort();
	if (is_mmio) {
		virtio_mmio_init(&f.window, f.dev, &wires, &irq, 0);
		return;
	}
	pci_init(&f.pci, &f.pio, &f.mmio, on_intx, NULL);
	if (virtio_pci_init(&f.card, f.dev, &wires) || pci_add(&f.pci, &f.card.pci, 1))
		abort();
}

static void end(void)
{
	finish_disk();
	virtio_device_ops.reset(f.dev);
	if (f.dev->in_flight || f.dev->status || f.dev->driver_features)
		abort();
	run();
	if (f.is_mmio)
		virtio_mmio_destroy(&f.window);
	else
		virtio_pci_destroy(&f.card);
	destroy_device();
	loop_destroy(f.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct ram_slot slot = { .gpa = 0, .size = RAM_SIZE, .offset = 0 };
	unsigned which = (unsigned)take(&in, 1);

	if (!f.ram && (ram_create(RAM_SIZE, NULL, &f.ram, NULL) || ram_set_slot(f.ram, 0, &slot)))
		abort();
	build(which, which >> 7);
	start(take(&in, 8));
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
		step(&in);
	end();
	return 0;
}
