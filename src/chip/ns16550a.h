// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 16550A UART: a serial port with 16-byte FIFOs (PC16550D data sheet). Eight ports; COM1 is 0x3f8.
 *
 * The sender has no wire speed: a byte written goes to the back-end at once; what the back-end
 * does not take stays in the transmit FIFO until ns16550a_output_ready.
 */
#ifndef SUBRING_CHIP_NS16550A_H
#define SUBRING_CHIP_NS16550A_H

#include "bus/chip.h"

#include <stddef.h>

enum { NS16550A_PORTS = 8, NS16550A_FIFO = 16 };

struct ns16550a {
	/* registers */
	uint8_t ier, fcr, lcr, mcr, msr, lsr_errors /* OE */, scr, dll, dlm;
	bool thre_pending;    /* the transmitter-empty interrupt, until IIR is read or THR written */
	bool timeout_pending; /* the receive timeout interrupt, until RBR is read */
	uint64_t timeout_ns;  /* VM time of the receive timeout; UINT64_MAX: not running */
	/* FIFOs: oldest byte first; rx_error holds the LSR bits PE, FE, BI of each byte */
	uint8_t rx[NS16550A_FIFO], rx_error[NS16550A_FIFO], rx_count;
	uint8_t tx[NS16550A_FIFO], tx_count;
	uint8_t modem;	      /* inputs from the wire: MSR bits 4-7 (CTS, DSR, RI, DCD) */
	/* wiring */
	struct irq_line irq;
	struct chip_stream out;
	struct chip_time time;
	struct vm_timer timeout;
	/* After a call of ns16550a_input that could not take everything: there is room again. It may call
	 * ns16550a_input. NULL: nobody wants to know. Set it after init. */
	void (*room_again)(void *opaque);
	void *room_opaque;
	bool starved; /* such a call was made */
};

extern const struct chip_ops ns16550a_ops;

/* Modem inputs CTS, DSR and DCD are active: a terminal is there. */
void ns16550a_init(struct ns16550a *u, const struct chip_time *time, const struct irq_line *irq,
		   const struct chip_stream *out);
/* Bytes from the wire: returns how many were taken (never more than ns16550a_room). */
size_t ns16550a_input(struct ns16550a *u, const uint8_t *bytes, size_t len);
/* How many bytes ns16550a_input would take now. */
unsigned ns16550a_room(const struct ns16550a *u);
/* A break condition from the wire: a NUL with the break bit. */
void ns16550a_break(struct ns16550a *u);
/* Modem inputs changed: MSR bits 4-7. */
void ns16550a_modem(struct ns16550a *u, uint8_t lines);
/* The back-end has room again. */
void ns16550a_output_ready(struct ns16550a *u);

#endif
