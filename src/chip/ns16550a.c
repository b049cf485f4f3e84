// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 16550A UART (National Semiconductor PC16550D data sheet; section numbers below are its).
 *
 * Where it leaves the data sheet, on purpose:
 *  - The transmitter takes no time: THR is empty again as soon as the back-end took the byte.
 *  - All eight bits of a character pass, whatever the word length: nothing is gained by cutting.
 *  - OUT2 does not gate the interrupt output, as it does on a PC's board. Guests written for
 *    emulators leave it 0 and yet wait for interrupts.
 *
 * Invariants: rx_count and tx_count are at most the FIFO size, or 1 while the FIFOs are off; the
 * timeout timer is armed exactly when timeout_ns is not UINT64_MAX.
 */
#include "chip/ns16550a.h"

#include "chip/bytes.h"

#include <errno.h>
#include <string.h>

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR };
enum { IER_ERBFI = 1, IER_ETBEI = 2, IER_ELSI = 4, IER_EDSSI = 8, IER_BITS = 0x0f };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THRE = 2, IIR_DATA = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_WORD = 3, LCR_STOP = 4, LCR_PARITY = 8, LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_BITS = 0x1f };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40, LSR_FIFO = 0x80 };
enum { MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { MSR_DELTA = 0x0f, MSR_LINES = 0xf0 };

enum { UART_HZ = 1843200 };

static bool fifos_on(const struct ns16550a *u)
{
	return u->fcr & FCR_ENABLE;
}

static unsigned fifo_size(const struct ns16550a *u)
{
	return fifos_on(u) ? NS16550A_FIFO : 1;
}

static unsigned trigger_level(const struct ns16550a *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return fifos_on(u) ? level[u->fcr >> 6] : 1;
}

static uint8_t line_status(const struct ns16550a *u)
{
	uint8_t lsr = u->lsr_errors;

	if (u->rx_count)
		lsr |= LSR_DR | u->rx_error[0];
	if (!u->tx_count)
		lsr |= LSR_THRE | LSR_TEMT;
	for (unsigned i = 0; fifos_on(u) && i < u->rx_count; i++)
		if (u->rx_error[i])
			lsr |= LSR_FIFO;
	return lsr;
}

/* 8.6.1: the interrupt of highest priority. */
static uint8_t interrupt_id(const struct ns16550a *u)
{
	if ((u->ier & IER_ELSI) && (line_status(u) & (LSR_OE | LSR_PE | LSR_FE | LSR_BI)))
		return IIR_LINE;
	if ((u->ier & IER_ERBFI) && u->rx_count >= trigger_level(u))
		return IIR_DATA;
	if ((u->ier & IER_ERBFI) && u->timeout_pending)
		return IIR_TIMEOUT;
	if ((u->ier & IER_ETBEI) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_EDSSI) && (u->msr & MSR_DELTA))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct ns16550a *u)
{
	irq_set(&u->irq, interrupt_id(u) != IIR_NONE);
}

/* --- receiver --- */

/* Four characters on the wire. */
static uint64_t timeout_length_ns(const struct ns16550a *u)
{
	unsigned bits = 1 + 5 + (u->lcr & LCR_WORD) + !!(u->lcr & LCR_PARITY) + 1 + !!(u->lcr & LCR_STOP);
	unsigned divisor = u->dlm << 8 | u->dll;

	return (uint64_t)4 * bits * 16 * (divisor ? divisor : 1) * 1000000000u / UART_HZ;
}

/* 8.6.4: four character times after the last byte came or went, if there is still one. */
static void restart_timeout(struct ns16550a *u)
{
	u->timeout_pending = false;
	if (fifos_on(u) && u->rx_count) {
		u->timeout_ns = vm_clock_ns(u->time.clock) + timeout_length_ns(u);
		vm_timer_set(u->time.timers, &u->timeout, u->timeout_ns);
	} else if (u->timeout_ns != UINT64_MAX) {
		u->timeout_ns = UINT64_MAX;
		vm_timer_cancel(u->time.timers, &u->timeout);
	}
}

static void on_timeout(void *opaque)
{
	struct ns16550a *u = opaque;

	u->timeout_ns = UINT64_MAX;
	u->timeout_pending = u->rx_count != 0;
	update_irq(u);
}

static void receive(struct ns16550a *u, uint8_t byte, uint8_t error)
{
	if (u->rx_count == fifo_size(u)) {
		u->lsr_errors |= LSR_OE;
		if (fifos_on(u)) /* the shift register is overwritten, the FIFO is not */
			return;
		u->rx_count = 0;
	}
	u->rx[u->rx_count] = byte;
	u->rx_error[u->rx_count++] = error;
	restart_timeout(u);
}

static void tell_room(struct ns16550a *u)
{
	if (!u->starved || !ns16550a_room(u))
		return;
	u->starved = false;
	if (u->room_again)
		u->room_again(u->room_opaque);
}

static uint8_t read_rbr(struct ns16550a *u)
{
	uint8_t byte;

	if (!u->rx_count)
		return 0;
	byte = u->rx[0];
	u->rx_count--;
	memmove(u->rx, u->rx + 1, u->rx_count);
	memmove(u->rx_error, u->rx_error + 1, u->rx_count);
	restart_timeout(u);
	update_irq(u);
	tell_room(u);
	return byte;
}

static void clear_rx(struct ns16550a *u)
{
	u->rx_count = 0;
	restart_timeout(u);
}

unsigned ns16550a_room(const struct ns16550a *u)
{
	if (u->mcr & MCR_LOOP) /* the wire is disconnected */
		return 0;
	return fifo_size(u) - u->rx_count;
}

size_t ns16550a_input(struct ns16550a *u, const uint8_t *bytes, size_t len)
{
	size_t room = ns16550a_room(u), n = len < room ? len : room;

	for (size_t i = 0; i < n; i++)
		receive(u, bytes[i], 0);
	if (n < len)
		u->starved = true;
	if (n)
		update_irq(u);
	return n;
}

void ns16550a_break(struct ns16550a *u)
{
	if (u->mcr & MCR_LOOP)
		return;
	receive(u, 0, LSR_BI);
	update_irq(u);
}

/* --- transmitter --- */

static bool send(struct ns16550a *u, uint8_t byte)
{
	return !u->out.put || u->out.put(u->out.opaque, byte);
}

static void drain(struct ns16550a *u)
{
	unsigned n = 0;

	while (n < u->tx_count && send(u, u->tx[n]))
		n++;
	u->tx_count -= n;
	memmove(u->tx, u->tx + n, u->tx_count);
	if (n && !u->tx_count)
		u->thre_pending = true;
}

void ns16550a_output_ready(struct ns16550a *u)
{
	drain(u);
	update_irq(u);
}

static void write_thr(struct ns16550a *u, uint8_t byte)
{
	u->thre_pending = false;
	if (u->mcr & MCR_LOOP) {
		receive(u, byte, 0);
		u->thre_pending = !u->tx_count;
	} else {
		if (u->tx_count == fifo_size(u)) { /* a driver that did not look at LSR loses bytes */
			if (fifos_on(u))
				return;
			u->tx_count = 0;
		}
		u->tx[u->tx_count++] = byte;
		drain(u);
	}
}

/* --- modem lines --- */

/* The inputs as the chip sees them: 8.6.7 for loopback. */
static uint8_t modem_lines(const struct ns16550a *u)
{
	uint8_t m = 0;

	if (!(u->mcr & MCR_LOOP))
		return u->modem;
	if (u->mcr & MCR_RTS)
		m |= MSR_CTS;
	if (u->mcr & MCR_DTR)
		m |= MSR_DSR;
	if (u->mcr & MCR_OUT1)
		m |= MSR_RI;
	if (u->mcr & MCR_OUT2)
		m |= MSR_DCD;
	return m;
}

static void update_modem(struct ns16550a *u)
{
	uint8_t now = modem_lines(u), was = u->msr & MSR_LINES, changed = now ^ was;

	u->msr = (uint8_t)((u->msr & MSR_DELTA) | now);
	if (changed & MSR_CTS)
		u->msr |= MSR_DCTS;
	if (changed & MSR_DSR)
		u->msr |= MSR_DDSR;
	if (changed & was & MSR_RI) /* trailing edge only */
		u->msr |= MSR_TERI;
	if (changed & MSR_DCD)
		u->msr |= MSR_DDCD;
}

void ns16550a_modem(struct ns16550a *u, uint8_t lines)
{
	u->modem = lines & MSR_LINES;
	update_modem(u);
	update_irq(u);
}

/* --- registers --- */

static uint8_t read_register(void *chip, unsigned region, unsigned n)
{
	struct ns16550a *u = chip;
	uint8_t v;

	if ((u->lcr & LCR_DLAB) && n <= IER)
		return n == RBR ? u->dll : u->dlm;
	switch (n) {
	case RBR: return read_rbr(u);
	case IER: return u->ier;
	case IIR:
		v = interrupt_id(u);
		if (v == IIR_THRE) {
			u->thre_pending = false;
			update_irq(u);
		}
		return v | (fifos_on(u) ? IIR_FIFOS : 0);
	case LCR: return u->lcr;
	case MCR: return u->mcr;
	case LSR:
		v = line_status(u);
		u->lsr_errors = 0;
		if (u->rx_count)
			u->rx_error[0] = 0;
		update_irq(u);
		return v;
	case MSR:
		v = u->msr;
		u->msr &= MSR_LINES;
		update_irq(u);
		return v;
	default: return u->scr;
	}
}

static void write_ier(struct ns16550a *u, uint8_t v)
{
	/* 8.6.6: enabling it while THR is empty raises the interrupt at once. */
	if ((v & ~u->ier & IER_ETBEI) && !u->tx_count)
		u->thre_pending = true;
	u->ier = v & IER_BITS;
}

static void write_fcr(struct ns16550a *u, uint8_t v)
{
	bool changes = (v ^ u->fcr) & FCR_ENABLE;

	if (changes || (v & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX)) {
		u->fcr = v & FCR_ENABLE; /* for the timeout */
		clear_rx(u);
	}
	if (changes || (v & (FCR_ENABLE | FCR_CLEAR_TX)) == (FCR_ENABLE | FCR_CLEAR_TX)) {
		if (u->tx_count)
			u->thre_pending = true;
		u->tx_count = 0;
	}
	u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
}

static void write_register(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct ns16550a *u = chip;
	uint8_t old;

	if ((u->lcr & LCR_DLAB) && n <= IER) {
		*(n == THR ? &u->dll : &u->dlm) = v;
		return;
	}
	switch (n) {
	case THR: write_thr(u, v); break;
	case IER: write_ier(u, v); break;
	case FCR: write_fcr(u, v); break;
	case LCR:
		old = u->lcr;
		u->lcr = v;
		if ((v & ~old & LCR_BREAK) && (u->mcr & MCR_LOOP))
			receive(u, 0, LSR_BI);
		break;
	case MCR:
		u->mcr = v & MCR_BITS;
		update_modem(u);
		break;
	case SCR: u->scr = v; break;
	default: break; /* LSR and MSR: writing is for factory tests */
	}
	update_irq(u);
	tell_room(u);
}

static uint64_t uart_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_register, chip, region, offset, size, NS16550A_PORTS);
}

static void uart_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_register, chip, region, offset, size, NS16550A_PORTS, value);
}

/* --- reset and state --- */

/* Table V: the scratch and divisor registers keep their values on the chip; here they start as 0 and 9600 baud. */
static void uart_reset(void *chip)
{
	struct ns16550a *u = chip;

	u->ier = u->fcr = u->lcr = u->mcr = u->lsr_errors = u->scr = u->dlm = 0;
	u->dll = 12;
	u->msr = u->modem;
	u->thre_pending = false;
	u->tx_count = 0;
	clear_rx(u);
	update_irq(u);
	tell_room(u);
}

static int uart_loaded(void *chip)
{
	struct ns16550a *u = chip;

	if (u->rx_count > fifo_size(u) || u->tx_count > fifo_size(u))
		return -EPROTO;
	if (u->timeout_ns == UINT64_MAX)
		vm_timer_cancel(u->time.timers, &u->timeout);
	else
		vm_timer_set(u->time.timers, &u->timeout, u->timeout_ns);
	drain(u);
	update_irq(u);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct ns16550a, ier),
	STATE_UINT(struct ns16550a, fcr),
	STATE_UINT(struct ns16550a, lcr),
	STATE_UINT(struct ns16550a, mcr),
	STATE_UINT(struct ns16550a, msr),
	STATE_UINT(struct ns16550a, lsr_errors),
	STATE_UINT(struct ns16550a, scr),
	STATE_UINT(struct ns16550a, dll),
	STATE_UINT(struct ns16550a, dlm),
	STATE_UINT(struct ns16550a, thre_pending),
	STATE_UINT(struct ns16550a, timeout_pending),
	STATE_UINT(struct ns16550a, timeout_ns),
	STATE_BYTES(struct ns16550a, rx),
	STATE_BYTES(struct ns16550a, rx_error),
	STATE_UINT(struct ns16550a, rx_count),
	STATE_BYTES(struct ns16550a, tx),
	STATE_UINT(struct ns16550a, tx_count),
	STATE_UINT(struct ns16550a, modem),
	STATE_END,
};

static const struct state_class class = { .name = "ns16550a", .version = 1, .fields = fields };

const struct chip_ops ns16550a_ops = {
	.state = &class,
	.reset = uart_reset,
	.read = uart_read,
	.write = uart_write,
	.loaded = uart_loaded,
};

void ns16550a_init(struct ns16550a *u, const struct chip_time *time, const struct irq_line *irq,
		   const struct chip_stream *out)
{
	*u = (struct ns16550a){ .time = *time, .irq = *irq, .out = *out, .timeout_ns = UINT64_MAX };
	u->modem = MSR_CTS | MSR_DSR | MSR_DCD;
	vm_timer_init(&u->timeout, on_timeout, u);
	uart_reset(u);
}
