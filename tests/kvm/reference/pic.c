/*
 * A pair of 8259A (Intel data sheet 231468), cascaded through input 2 of the first: edges, fixed priorities, specific and
 * non-specific EOI, automatic EOI, and the reading of IRR and ISR. Left out: levels, rotation, special mask and poll mode.
 */
#include "devices.h"

enum { ICW1_IC4 = 1, ICW1_SINGLE = 2, ICW1_INIT = 0x10, ICW4_AUTO_EOI = 2 };
enum { OCW3_SELECT = 8, OCW3_READ = 2, OCW3_READ_ISR = 1, OCW2_EOI = 0x20, OCW2_SPECIFIC = 0x40 };
enum { NONE = 8, SPURIOUS = 7 };

static struct chip {
    uint8_t levels, irr, isr, imr, vector, icw4;
    int step, needs_icw3, needs_icw4, is_ready, reads_isr;
} chips[2];
static int cascade;

static int first(uint8_t bits)
{
    return bits ? __builtin_ctz(bits) : NONE;
}

static int pending(const struct chip *chip)
{
    int request = first(chip->irr & ~chip->imr);
    return chip->is_ready && request < first(chip->isr) ? request : NONE;
}

static void set_input(struct chip *chip, int input, int level)
{
    uint8_t bit = 1 << input;
    if (level && !(chip->levels & bit))
        chip->irr |= bit;
    chip->levels = level ? chip->levels | bit : chip->levels & ~bit;
}

/* The cascade is no edge: as long as the second chip wants something, the first one's input is up. */
static void update(void)
{
    cascade = pending(&chips[1]) != NONE;
    chips[0].irr = cascade ? chips[0].irr | 1 << IRQ_CASCADE : chips[0].irr & ~(1 << IRQ_CASCADE);
}

void pic_set(int irq, int level)
{
    set_input(&chips[irq >> 3], irq & 7, level);
    update();
}

int pic_is_pending(void)
{
    return pending(&chips[0]) != NONE;
}

static int acknowledge(struct chip *chip)
{
    int input = pending(chip);
    if (input == NONE)
        return SPURIOUS;
    chip->irr &= ~(1 << input);
    if (!(chip->icw4 & ICW4_AUTO_EOI))
        chip->isr |= 1 << input;
    return input;
}

uint8_t pic_acknowledge(void)
{
    int input = acknowledge(&chips[0]);
    uint8_t vector = input == IRQ_CASCADE && cascade ? chips[1].vector | acknowledge(&chips[1]) : chips[0].vector | input;
    update();
    return vector;
}

static void command(struct chip *chip, uint8_t value)
{
    if (value & ICW1_INIT) {
        *chip = (struct chip){ .levels = chip->levels, .step = 2, .needs_icw3 = !(value & ICW1_SINGLE), .needs_icw4 = value & ICW1_IC4 };
    } else if (value & OCW3_SELECT) {
        if (value & OCW3_READ)
            chip->reads_isr = value & OCW3_READ_ISR;
    } else if (value & OCW2_EOI) {
        int input = value & OCW2_SPECIFIC ? value & 7 : first(chip->isr);
        if (input != NONE)
            chip->isr &= ~(1 << input);
    }
}

static void data(struct chip *chip, uint8_t value)
{
    if (chip->step == 0) {
        chip->imr = value;
        return;
    }
    if (chip->step == 2) {
        chip->vector = value & 0xf8;
        chip->step = chip->needs_icw3 ? 3 : chip->needs_icw4 ? 4 : 0;
    } else if (chip->step == 3) {
        chip->step = chip->needs_icw4 ? 4 : 0;
    } else {
        chip->icw4 = value;
        chip->step = 0;
    }
    chip->is_ready = chip->step == 0;
}

void pic_write(int chip, int at, uint8_t value)
{
    if (at)
        data(&chips[chip], value);
    else
        command(&chips[chip], value);
    update();
}

uint8_t pic_read(int chip, int at)
{
    const struct chip *it = &chips[chip];
    return at ? it->imr : it->reads_isr ? it->isr : it->irr;
}
