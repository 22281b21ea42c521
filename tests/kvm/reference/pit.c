/*
 * An 8254 (Intel data sheet 231164) at 1.193182 MHz, and port 0x61 (ICH9 data sheet, 10.7.1): counter 0 on interrupt 0,
 * counter 2 gated and read by port 0x61. Modes 0, 2, 3 and 4; a count is a function of the tick at which it was loaded,
 * and takes effect at once. Left out: modes 1 and 5, BCD, the read-back command, counter 1.
 */
#include "devices.h"

enum { HZ = 1193182, NS_PER_SECOND = 1000000000 };
enum { RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3, GATE2 = 1, PORT_B_WRITABLE = 0xf, REFRESH = 0x10, OUT2 = 0x20, REFRESH_NS = 15085 };

static struct counter {
    uint8_t mode, rw, low;
    int is_loaded, has_low, reads_high, is_latched;
    uint16_t latch;
    uint32_t count;
    uint64_t start;
} counters[3];
static uint8_t port_b;
static uint64_t start_ns;
static int level;

static uint64_t tick(void)
{
    return (unsigned __int128)(now() - start_ns) * HZ / NS_PER_SECOND;
}

static uint64_t time_of(uint64_t at)
{
    return start_ns + ((unsigned __int128)at * NS_PER_SECOND + HZ - 1) / HZ;
}

static int output(const struct counter *it, uint64_t at)
{
    uint64_t elapsed = at - it->start;
    if (!it->is_loaded)
        return it->mode != 0;
    switch (it->mode) {
    case 0:
        return elapsed >= it->count;
    case 2:
        return elapsed % it->count != it->count - 1;
    case 3:
        return elapsed % it->count < (it->count + 1) / 2;
    default:
        return elapsed != it->count;
    }
}

/* The tick after `at` at which the output rises, or 0. */
static uint64_t next_rise(const struct counter *it, uint64_t at)
{
    if (!it->is_loaded)
        return 0;
    if (it->mode == 2 || it->mode == 3)
        return it->start + ((at - it->start) / it->count + 1) * it->count;
    uint64_t rise = it->start + it->count + (it->mode == 0 ? 0 : 1);
    return rise > at ? rise : 0;
}

static uint64_t rises_at;

static void arm(uint64_t at)
{
    int is_high = output(&counters[0], at);
    if (is_high != level)
        set_irq(IRQ_PIT, level = is_high);
    rises_at = next_rise(&counters[0], at);
    arm_timer(rises_at ? time_of(rises_at) : 0);
}

void pit_start(void)
{
    start_ns = now();
}

void pit_update(void)
{
    uint64_t at = tick();
    if (!rises_at || at < rises_at)
        return;
    set_irq(IRQ_PIT, 0);
    set_irq(IRQ_PIT, level = 1);
    arm(at);
}

static void load(struct counter *it, uint32_t count)
{
    it->count = count ? count : 0x10000;
    if (it->count < 2 && (it->mode == 2 || it->mode == 3))
        it->count = 2;
    it->start = tick();
    it->is_loaded = 1;
}

static uint16_t count_at(const struct counter *it)
{
    if (!it->is_loaded)
        return 0;
    uint64_t elapsed = tick() - it->start;
    switch (it->mode) {
    case 2:
        return it->count - elapsed % it->count;
    case 3:
        return (it->count & ~1u) - 2 * (elapsed % it->count % ((it->count + 1) / 2));
    default:
        return it->count - elapsed;
    }
}

static void control(uint8_t value)
{
    if (value >> 6 == 3)
        return;
    struct counter *it = &counters[value >> 6];
    if (!(value & 0x30)) {
        it->latch = it->is_latched ? it->latch : count_at(it);
        it->is_latched = 1;
        return;
    }
    uint8_t mode = value >> 1 & 7;
    *it = (struct counter){ .mode = mode > 5 ? mode - 4 : mode, .rw = value >> 4 & 3 };
}

void pit_write(int at, uint8_t value)
{
    if (at == 3) {
        control(value);
    } else {
        struct counter *it = &counters[at];
        if (it->rw == RW_BOTH && !it->has_low) {
            it->low = value;
            it->has_low = 1;
            return;
        }
        load(it, it->rw == RW_LSB ? value : it->rw == RW_MSB ? value << 8 : value << 8 | it->low);
        it->has_low = 0;
    }
    if (at == 0 || (at == 3 && value >> 6 == 0))
        arm(tick());
}

uint8_t pit_read(int at)
{
    if (at == 3)
        return 0xff;
    struct counter *it = &counters[at];
    uint16_t count = it->is_latched ? it->latch : count_at(it);
    int is_high = it->rw == RW_MSB || (it->rw == RW_BOTH && it->reads_high);
    if (it->rw == RW_BOTH)
        it->reads_high = !it->reads_high;
    if (it->rw != RW_BOTH || is_high)
        it->is_latched = 0;
    return is_high ? count >> 8 : count;
}

void port_b_write(uint8_t value)
{
    int rises = (value & GATE2) && !(port_b & GATE2);
    port_b = value & PORT_B_WRITABLE;
    if (rises)
        counters[2].start = tick();
}

uint8_t port_b_read(void)
{
    int is_refresh = (now() - start_ns) / REFRESH_NS & 1;
    return port_b | (is_refresh ? REFRESH : 0) | (output(&counters[2], tick()) ? OUT2 : 0);
}
