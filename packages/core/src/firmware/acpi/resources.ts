/**
 * Resource descriptors: what a device's _CRS returns (ACPI 6.5, section 6.4). Small descriptors for ISA devices, address
 * space descriptors for the windows of a bridge. Left out: resources that the guest may set, GPIO.
 */
import { type Aml, buffer, concat, littleEndian } from "./aml.ts";

/** Positive decode; minimum and maximum are fixed; the device produces the range for what is behind it. */
const PRODUCER_FIXED = 0x0c;
const END_TAG = Uint8Array.of(0x79, 0);

export function resourceTemplate(...descriptors: readonly Uint8Array[]): Aml {
  return buffer(concat(...descriptors, END_TAG));
}

/** Ports that the device decodes with all 16 address bits. */
export function ioPorts(start: number, length: number): Uint8Array {
  return concat(Uint8Array.of(0x47, 1), littleEndian(start, 2), littleEndian(start, 2), Uint8Array.of(1, length));
}

/** An ISA interrupt: edge-triggered, active high, not shared. */
export function isaIrq(irq: number): Uint8Array {
  return concat(Uint8Array.of(0x22), littleEndian(1 << irq, 2));
}

/** An ISA DMA channel of bytes, no bus master, in compatibility mode. */
export function isaDma(channel: number): Uint8Array {
  return Uint8Array.of(0x2a, 1 << channel, 0);
}

export function memory32Fixed(start: number, length: number): Uint8Array {
  return concat(
    Uint8Array.of(0x86),
    littleEndian(9, 2),
    Uint8Array.of(1),
    littleEndian(start, 4),
    littleEndian(length, 4),
  );
}

const SPACE = { memory: 0, io: 1, bus: 2 } as const;

export function busNumbers(first: number, last: number): Uint8Array {
  return addressSpace(0x88, 2, SPACE.bus, 0, first, last);
}

export function ioWindow(first: number, last: number): Uint8Array {
  const ENTIRE_RANGE = 3;
  return addressSpace(0x88, 2, SPACE.io, ENTIRE_RANGE, first, last);
}

/** Read-write, not cacheable. */
const READ_WRITE = 1;

export function memoryWindow32(first: number, last: number): Uint8Array {
  return addressSpace(0x87, 4, SPACE.memory, READ_WRITE, first, last);
}

export function memoryWindow64(first: number, last: number): Uint8Array {
  return addressSpace(0x8a, 8, SPACE.memory, READ_WRITE, first, last);
}

/** Granularity, minimum, maximum, translation and length, all of the same width. */
function addressSpace(
  tag: number,
  fieldBytes: number,
  space: number,
  typeFlags: number,
  first: number,
  last: number,
): Uint8Array {
  const fields = [0, first, last, 0, last - first + 1].map((value) => littleEndian(value, fieldBytes));
  return concat(
    Uint8Array.of(tag),
    littleEndian(3 + 5 * fieldBytes, 2),
    Uint8Array.of(space, PRODUCER_FIXED, typeFlags),
    ...fields,
  );
}
