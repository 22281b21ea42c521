/*
 * A 16550A without its FIFOs (National Semiconductor PC16550D data sheet): a byte written leaves at once, nothing is
 * ever received, and the one interrupt is that of the empty transmitter.
 */
#include <stddef.h>
#include <stdio.h>
#include "devices.h"

enum { IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7 };
enum { IER_THR_EMPTY = 2, IIR_THR_EMPTY = 2, IIR_NONE = 1, LCR_DLAB = 0x80, LSR_EMPTY = 0x60, MSR_READY = 0xb0 };

static uint8_t registers[8], divisor[2];
static int is_thr_empty;
static const char *marker;
static size_t matched;

void uart_expect(const char *text)
{
    marker = text;
}

int uart_is_done(void)
{
    return marker && !marker[matched];
}

static void interrupt(void)
{
    set_irq(IRQ_UART, is_thr_empty && (registers[IER] & IER_THR_EMPTY));
}

void uart_write(int at, uint8_t value)
{
    int is_divisor = at < 2 && (registers[LCR] & LCR_DLAB);
    if (is_divisor)
        divisor[at] = value;
    else if (at != 0 && at != IIR && at != LSR && at != MSR)
        registers[at] = value;
    if (is_divisor || at > 1)
        return;
    if (at == 0 && marker && marker[matched]) {
        matched = (char)value == marker[matched] ? matched + 1 : (char)value == marker[0];
        fputc(value, stderr);
    }
    is_thr_empty = 0;
    interrupt();
    is_thr_empty = 1;
    interrupt();
}

uint8_t uart_read(int at)
{
    if (at < 2 && (registers[LCR] & LCR_DLAB))
        return divisor[at];
    switch (at) {
    case 0:
        return 0;
    case IIR:
        if (!is_thr_empty || !(registers[IER] & IER_THR_EMPTY))
            return IIR_NONE;
        is_thr_empty = 0;
        interrupt();
        return IIR_THR_EMPTY;
    case LSR:
        return LSR_EMPTY;
    case MSR:
        return MSR_READY;
    default:
        return registers[at];
    }
}
