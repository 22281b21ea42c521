// Where everything of a program's guest lies: 64 pages of RAM, mapped by pages, so that a copy of it all is cheap.

const PAGE = 4096;
const page = (number: number): number => number * PAGE;

export const RAM_PAGES = 64;
export const RAM_BYTES: number = page(RAM_PAGES);
/** Root table, then those below it, one page each. */
export const TABLES: number = page(1);
export const GDT: number = page(5);
export const TSS: number = page(5) + 0x800;
export const IDT: number = page(6);
export const HANDLERS: number = page(7);
/** What handlers count and mix, and the mask that the NMI's handler lays over the entries of data pages. */
export const LOG: number = page(8);
export const ENTRY_MASK: number = LOG + 0x800;
export const KERNEL_STACK_TOP: number = page(10);
export const PAGE_FAULT_STACK_TOP: number = page(11);
export const NMI_STACK_TOP: number = page(12);
export const CODE: number = page(16);
export const CODE_BYTES: number = page(8);
export const STACK: number = page(24);
export const STACK_TOP: number = page(26);
export const DATA: number = page(32);
export const DATA_BYTES: number = page(8);
/** RBP, so far into the data. */
export const DATA_POINTER_OFFSET = 64;
/** Device registers: mapped to an address outside RAM. */
export const DEVICE: number = page(40);
export const DEVICE_PHYSICAL = 0xd000_0000;
/** The code's pages once more, writable. */
export const CODE_ALIAS: number = page(48);
/** In 64-bit mode everything is there a second time. */
export const HIGH_HALF = 0xffff_8000_0000_0000n;

export const VECTOR = { interrupt: 0x40, end: 0x41, call: 0x42 } as const;
