/* What the parts of the reference VMM know of each other: a board of a PC's oldest devices, and its time. */
#ifndef DEVICES_H
#define DEVICES_H

#include <stdint.h>

enum { IRQ_PIT = 0, IRQ_UART = 4, IRQ_CASCADE = 2 };

/* vmm.c: nanoseconds of the host's monotonic clock, and the end of what cannot go on. */
uint64_t now(void);
void fail(const char *what);

/* vmm.c: a level of an ISA interrupt, to pic.c or to KVM's own controllers. */
void set_irq(int irq, int level);
/* vmm.c: the PIT's output changes at that time of the clock; 0: never. */
void arm_timer(uint64_t at);

/* board.c. `out` answers whether the guest goes on. */
uint8_t in(uint16_t port);
int out(uint16_t port, uint8_t value);

/* uart.c: `uart_expect` says what comes out at the end; `uart_is_done` whether it has. */
void uart_expect(const char *marker);
int uart_is_done(void);
void uart_write(int at, uint8_t value);
uint8_t uart_read(int at);

/* pic.c */
void pic_set(int irq, int level);
int pic_is_pending(void);
uint8_t pic_acknowledge(void);
void pic_write(int chip, int at, uint8_t value);
uint8_t pic_read(int chip, int at);

/* pit.c: `pit_update` carries out what is due. */
void pit_start(void);
void pit_update(void);
void pit_write(int at, uint8_t value);
uint8_t pit_read(int at);
void port_b_write(uint8_t value);
uint8_t port_b_read(void);

#endif
