// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pair of 8259A interrupt controllers (Intel 8259A data sheet), and ELCR (Intel 82371 data
 * sheet, 4.3.3).
 *
 * An edge-triggered request lasts until it is acknowledged or its line falls, as on the chip: a
 * line that falls too early gives the spurious vector, or no interrupt at all.
 *
 * The slave's output is the master's input 2. It is followed as a level, so that a request that
 * vanishes from the slave vanishes from the master too.
 *
 * Invariant: outside of calls, irr of level-triggered inputs equals their lines, bit 2 of the
 * master's irr equals the slave's output, and intr was told the master's output.
 */
#include "chip/i8259.h"

#include "chip/bytes.h"

#include <errno.h>

enum { CASCADE = 2, SPURIOUS = 7 };
enum { ICW1_IC4 = 1, ICW1_SNGL = 2, ICW1_LTIM = 8, ICW1 = 0x10 };
enum { ICW4_AEOI = 2, ICW4_SFNM = 0x10, ICW4_BITS = 0x1f };
enum { OCW3 = 8, OCW3_RIS = 1, OCW3_RR = 2, OCW3_POLL = 4, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
/* OCW2, bits 5-7 */
enum { EOI_ROTATE_AEOI_OFF, EOI_PLAIN, EOI_NOTHING, EOI_SPECIFIC, EOI_ROTATE_AEOI_ON, EOI_ROTATE, EOI_SET_PRIORITY,
       EOI_ROTATE_SPECIFIC };

/* Inputs whose trigger the ELCR may change: not the timer, keyboard, cascade, clock and FPU. */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

static uint8_t level_inputs(const struct i8259 *c)
{
	return c->ltim ? 0xff : c->elcr;
}

/* The input of highest priority in @set, which is not empty. */
static unsigned highest(const struct i8259 *c, uint8_t set)
{
	unsigned n = (c->lowest + 1) & 7;

	while (!(set >> n & 1))
		n = (n + 1) & 7;
	return n;
}

static unsigned rank(const struct i8259 *c, unsigned n)
{
	return (n - c->lowest - 1) & 7; /* 0 is the highest priority */
}

/* The input that asks for service now, or -1. */
static int request(const struct i8259 *c, bool master)
{
	uint8_t wanted = c->irr & ~c->imr, serving = c->isr;
	unsigned n;

	if (!wanted || !c->ready || c->init)
		return -1;
	if (c->special_mask)
		serving &= ~c->imr;
	if (master && (c->icw4 & ICW4_SFNM))
		serving &= ~(1 << CASCADE);
	n = highest(c, wanted);
	if (serving && rank(c, highest(c, serving)) <= rank(c, n))
		return -1;
	return (int)n;
}

/* First INTA cycle (or poll) for input @n. */
static void acknowledge(struct i8259 *c, unsigned n)
{
	uint8_t bit = 1 << n;

	if (!(level_inputs(c) & bit))
		c->irr &= ~bit;
	if (!(c->icw4 & ICW4_AEOI))
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = n;
}

static void update(struct i8259_pair *p)
{
	struct i8259 *m = &p->pic[0], *s = &p->pic[1];
	uint8_t level = level_inputs(m) & ~(1 << CASCADE);
	bool out;

	s->irr = (s->irr & ~level_inputs(s)) | (s->lines & level_inputs(s));
	m->irr = (m->irr & ~level) | (m->lines & level);
	if (request(s, false) >= 0)
		m->irr |= 1 << CASCADE;
	else
		m->irr &= ~(1 << CASCADE);
	out = request(m, true) >= 0;
	if (out != p->output) {
		p->output = out;
		irq_set(&p->intr, out);
	}
}

void i8259_set_irq(void *opaque, unsigned n, bool level)
{
	struct i8259_pair *p = opaque;
	struct i8259 *c = &p->pic[n >> 3 & 1];
	uint8_t bit = 1 << (n & 7);

	if (n == CASCADE || n > 15)
		return;
	if (level && !(c->lines & bit)) {
		c->irr |= bit;
		c->lines |= bit;
	} else if (!level) {
		c->irr &= ~bit;
		c->lines &= ~bit;
	}
	update(p);
}

bool i8259_output(const struct i8259_pair *p)
{
	return p->output;
}

uint8_t i8259_ack(struct i8259_pair *p)
{
	struct i8259 *m = &p->pic[0], *s = &p->pic[1];
	int n = request(m, true);
	uint8_t vector;

	if (n < 0) {
		vector = m->base + SPURIOUS; /* ISR is not set: the handler must not send an EOI */
	} else {
		acknowledge(m, (unsigned)n);
		vector = m->base + n;
		if (n == CASCADE && !m->single) {
			n = request(s, false);
			if (n >= 0)
				acknowledge(s, (unsigned)n);
			vector = s->base + (n < 0 ? SPURIOUS : n);
		}
	}
	update(p);
	return vector;
}

/* --- command words --- */

static void write_icw1(struct i8259 *c, uint8_t v)
{
	c->irr = c->isr = c->imr = 0; /* edges are forgotten: a line must fall and rise again */
	c->lowest = 7;
	c->special_mask = c->read_isr = c->poll = c->rotate_aeoi = c->ready = false;
	c->need_icw4 = v & ICW1_IC4;
	c->single = v & ICW1_SNGL;
	c->ltim = v & ICW1_LTIM;
	c->icw4 = 0;
	c->init = 2;
}

static void write_icw(struct i8259 *c, uint8_t v)
{
	unsigned was = c->init;

	if (was == 2)
		c->base = v & 0xf8;
	else if (was == 3)
		c->icw3 = v;
	else
		c->icw4 = v & ICW4_BITS;
	if (was == 2 && !c->single)
		c->init = 3;
	else if (was < 4 && c->need_icw4)
		c->init = 4;
	else
		c->init = 0;
	c->ready = !c->init;
}

static void end_of_interrupt(struct i8259 *c, int n, bool rotate)
{
	if (n < 0) {
		/* Not specific: special mask mode keeps those that are masked. */
		uint8_t set = c->special_mask ? c->isr & ~c->imr : c->isr;

		if (!set)
			return;
		n = (int)highest(c, set);
	}
	c->isr &= ~(1 << n);
	if (rotate)
		c->lowest = n;
}

static void write_ocw2(struct i8259 *c, uint8_t v)
{
	unsigned n = v & 7;

	switch (v >> 5) {
	case EOI_PLAIN: end_of_interrupt(c, -1, false); break;
	case EOI_SPECIFIC: end_of_interrupt(c, (int)n, false); break;
	case EOI_ROTATE: end_of_interrupt(c, -1, true); break;
	case EOI_ROTATE_SPECIFIC: end_of_interrupt(c, (int)n, true); break;
	case EOI_SET_PRIORITY: c->lowest = n; break;
	case EOI_ROTATE_AEOI_ON: c->rotate_aeoi = true; break;
	case EOI_ROTATE_AEOI_OFF: c->rotate_aeoi = false; break;
	case EOI_NOTHING: break;
	}
}

static void write_ocw3(struct i8259 *c, uint8_t v)
{
	if (v & OCW3_ESMM)
		c->special_mask = v & OCW3_SMM;
	if (v & OCW3_POLL)
		c->poll = true;
	else if (v & OCW3_RR)
		c->read_isr = v & OCW3_RIS;
}

static uint8_t poll(struct i8259 *c, bool master)
{
	int n = request(c, master);

	c->poll = false;
	if (n < 0)
		return 0;
	acknowledge(c, (unsigned)n);
	return (uint8_t)(0x80 | n);
}

static uint8_t read_port(void *chip, unsigned region, unsigned n)
{
	struct i8259_pair *p = chip;
	struct i8259 *c;

	if (region == I8259_REGION_ELCR)
		return p->pic[n].elcr;
	c = &p->pic[region == I8259_REGION_SLAVE];
	if (c->poll) {
		uint8_t v = poll(c, region == I8259_REGION_MASTER);

		update(p);
		return v;
	}
	if (n == 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static void write_port(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct i8259_pair *p = chip;

	if (region == I8259_REGION_ELCR) {
		struct i8259 *c = &p->pic[n];
		uint8_t now = v & elcr_writable[n];

		c->irr &= ~(c->elcr & ~now); /* no longer a level: only an edge makes a request */
		c->elcr = now;
	} else {
		struct i8259 *c = &p->pic[region == I8259_REGION_SLAVE];

		if (n == 0 && (v & ICW1))
			write_icw1(c, v);
		else if (n == 0 && (v & OCW3))
			write_ocw3(c, v);
		else if (n == 0)
			write_ocw2(c, v);
		else if (c->init)
			write_icw(c, v);
		else
			c->imr = v;
	}
	update(p);
}

static uint64_t pic_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_port, chip, region, offset, size, I8259_PORTS);
}

static void pic_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_port, chip, region, offset, size, I8259_PORTS, value);
}

/* --- reset and state --- */

/* The input lines are not the chip's: they stay. */
static void pic_reset(void *chip)
{
	struct i8259_pair *p = chip;

	for (unsigned i = 0; i < 2; i++)
		p->pic[i] = (struct i8259){ .lines = p->pic[i].lines, .lowest = 7 };
	update(p);
}

static int pic_loaded(void *chip)
{
	struct i8259_pair *p = chip;

	for (unsigned i = 0; i < 2; i++) {
		const struct i8259 *c = &p->pic[i];

		if (c->lowest > 7 || c->init > 4 || c->init == 1 || (c->base & 7) || (c->elcr & ~elcr_writable[i]))
			return -EPROTO;
	}
	irq_set(&p->intr, p->output);
	update(p);
	return 0;
}

static const struct state_field pic_fields[] = {
	STATE_UINT(struct i8259, irr),
	STATE_UINT(struct i8259, isr),
	STATE_UINT(struct i8259, imr),
	STATE_UINT(struct i8259, lines),
	STATE_UINT(struct i8259, elcr),
	STATE_UINT(struct i8259, base),
	STATE_UINT(struct i8259, icw3),
	STATE_UINT(struct i8259, icw4),
	STATE_UINT(struct i8259, lowest),
	STATE_UINT(struct i8259, init),
	STATE_UINT(struct i8259, need_icw4),
	STATE_UINT(struct i8259, single),
	STATE_UINT(struct i8259, ltim),
	STATE_UINT(struct i8259, read_isr),
	STATE_UINT(struct i8259, poll),
	STATE_UINT(struct i8259, special_mask),
	STATE_UINT(struct i8259, rotate_aeoi),
	STATE_UINT(struct i8259, ready),
	STATE_END,
};

static const struct state_field fields[] = {
	STATE_STRUCTS(struct i8259_pair, pic, pic_fields),
	STATE_UINT(struct i8259_pair, output),
	STATE_END,
};

static const struct state_class class = { .name = "i8259", .version = 1, .fields = fields };

const struct chip_ops i8259_ops = {
	.state = &class,
	.reset = pic_reset,
	.read = pic_read,
	.write = pic_write,
	.loaded = pic_loaded,
};

void i8259_init(struct i8259_pair *p, const struct irq_line *intr)
{
	*p = (struct i8259_pair){ .intr = *intr };
	pic_reset(p);
}
