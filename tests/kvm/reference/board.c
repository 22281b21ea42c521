/*
 * The ports of the reference VMM's board: UART, CMOS clock with a fixed time, 8259A pair and 8254. All else reads as ones;
 * there is no PCI, no ACPI and no keyboard. The command 0xFE of the keyboard controller is the reset, which ends the run.
 */
#include "devices.h"

enum { PIC0 = 0x20, PIC1 = 0xa0, PIT = 0x40, PORT_B = 0x61, RESET_COMMAND = 0x64, CMOS_INDEX = 0x70, CMOS_DATA = 0x71, UART = 0x3f8 };

static uint8_t cmos_index;

/* A fixed time, in BCD and 24 hours; no update in progress. */
static uint8_t cmos(uint8_t index)
{
    static const uint8_t clock[] = { [0] = 0, [2] = 0, [4] = 0x12, [6] = 1, [7] = 1, [8] = 1, [9] = 0x26, [10] = 0x26, [11] = 2, [13] = 0x80 };
    return index < sizeof clock ? clock[index] : index == 0x32 ? 0x20 : 0;
}

uint8_t in(uint16_t port)
{
    if (port >= UART && port < UART + 8)
        return uart_read(port - UART);
    if (port >= PIT && port < PIT + 4)
        return pit_read(port - PIT);
    switch (port) {
    case PIC0:
    case PIC0 + 1:
        return pic_read(0, port & 1);
    case PIC1:
    case PIC1 + 1:
        return pic_read(1, port & 1);
    case PORT_B:
        return port_b_read();
    case CMOS_DATA:
        return cmos(cmos_index);
    default:
        return 0xff;
    }
}

int out(uint16_t port, uint8_t value)
{
    if (port >= UART && port < UART + 8)
        uart_write(port - UART, value);
    else if (port >= PIT && port < PIT + 4)
        pit_write(port - PIT, value);
    else if (port == PIC0 || port == PIC0 + 1)
        pic_write(0, port & 1, value);
    else if (port == PIC1 || port == PIC1 + 1)
        pic_write(1, port & 1, value);
    else if (port == PORT_B)
        port_b_write(value);
    else if (port == CMOS_INDEX)
        cmos_index = value & 0x7f;
    return !(port == RESET_COMMAND && value == 0xfe);
}
