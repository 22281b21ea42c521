/**
 * A driver of virtio devices for device-fuzz.ts: negotiation, rings, requests, interrupts through registers and through the
 * configuration window. The oracle of writes: only used rings, and what a descriptor that the device has read gives it.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import type { FakeContext } from "../../packages/core/src/devices/fake-context.ts";
import {
  BAR_LAYOUT,
  COMMON_CFG,
  DEVICE_STATUS,
  type VirtioPciDevice,
} from "../../packages/core/src/devices/virtio/pci-transport.ts";
import type { FuzzTarget, Operation, Random } from "./device-fuzz.ts";

const RING_SIZE = 16;
const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80, USED: 0x8000 } as const;
const RING = { first: 0x1000, spacing: 0x400, driver: 0x100, device: 0x180 } as const;
const BUFFERS = { start: 0x4000, sizeBytes: 0xa000 } as const;
const PAGE = 4096;
/** Of the guest's memory. */
const MOST_PAGES = 16;
const REGISTERS = 0;
const CONFIG = 1;
const MSIX = 2;

export interface Part {
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly isWritable: boolean;
  readonly bytes?: Uint8Array;
}

const out = (offset: number, value: number, size: AccessSize = 4, range = REGISTERS): Operation => ({
  kind: "write",
  range,
  offset,
  size,
  value,
});
const memory = (gpa: number, bytes: Uint8Array): Operation => ({ kind: "memory", gpa, bytes });
const word16 = (value: number): Uint8Array => Uint8Array.of(value, value >> 8);
const ringAt = (queue: number): number => RING.first + RING.spacing * queue;

/** What the guest has given the device: seen by its reads of descriptors. */
class GivenMemory {
  readonly #device: VirtioPciDevice;
  readonly #parts = new Map<number, number>();
  /** What a packed ring's descriptors give, whose flags lie elsewhere. */
  readonly #packedParts = new Map<number, number>();
  #rings: (readonly [number, number])[] = [];

  constructor(device: VirtioPciDevice) {
    this.#device = device;
  }

  /** Numbers of pages in what the device has read, whatever it is. */
  readonly #pages = new Set<number>();

  /** Each page is named by a number, or lies whole in a part. */
  gaveBack(gpa: number, length: number): boolean {
    for (let page = gpa; page < gpa + length; page += PAGE) {
      const isIn = ([start, size]: readonly [number, number]): boolean => page >= start && page + PAGE <= start + size;
      if (!this.#pages.has(page / PAGE) && ![...this.#parts, ...this.#packedParts].some(isIn)) return false;
    }
    return true;
  }

  sees(bytes: Uint8Array): void {
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at + 4 <= bytes.length; at += 4) {
      const page = words.getUint32(at, true);
      if (page < MOST_PAGES) this.#pages.add(page);
    }
    // A descriptor, or a table of them.
    if (bytes.length % 16 !== 0) return;
    for (let at = 0; at < bytes.length; at += 16)
      this.#seesDescriptor(new DataView(bytes.buffer, bytes.byteOffset + at, 16));
  }

  #seesDescriptor(view: DataView): void {
    if (view.getUint32(4, true) !== 0) return;
    const gpa = view.getUint32(0, true);
    for (const [parts, flagsAt] of [
      [this.#parts, 12],
      [this.#packedParts, 14],
    ] as const) {
      if ((view.getUint16(flagsAt, true) & DESC.WRITE) === 0) continue;
      parts.set(gpa, Math.max(view.getUint32(8, true), parts.get(gpa) ?? 0));
    }
  }

  holds(gpa: number, length: number): boolean {
    const isIn = ([start, size]: readonly [number, number]): boolean => gpa >= start && gpa + length <= start + size;
    if (this.#rings.some(isIn)) return true;
    for (const part of this.#parts) if (isIn(part)) return true;
    const { queues } = this.#device.save() as unknown as { queues: QueueState[] };
    this.#rings = queues.flatMap(({ addresses, size, packed }): (readonly [number, number])[] => {
      const [descriptors, device] = [0, 4].map((at) => addresses[at]! + addresses[at + 1]! * 2 ** 32);
      if (!packed) return [[device!, 6 + 8 * size]];
      return [
        [descriptors!, 16 * size],
        [device!, 4],
      ];
    });
    const packed = queues.flatMap((queue) => queue.packed ?? []);
    // A restored device knows what is in flight from its state.
    const known = packed.flatMap(({ inFlight }) => inFlight.flatMap(({ descriptors }) => descriptors));
    const isKnown = known.some(({ gpa: at, sizeBytes, flags }) => flags & DESC.WRITE && isIn([at, sizeBytes]));
    return this.#rings.some(isIn) || isKnown || (packed.length > 0 && [...this.#packedParts].some(isIn));
  }
}

interface QueueState {
  readonly addresses: readonly number[];
  readonly size: number;
  readonly packed?: {
    readonly nextAvailable: number;
    readonly availableWrap: boolean;
    readonly inFlight: readonly {
      readonly descriptors: readonly { readonly gpa: number; readonly sizeBytes: number; readonly flags: number }[];
    }[];
  };
}

export interface Driver {
  /** Negotiates packed rings. */
  readonly isPacked?: boolean;
  readonly features: number;
  readonly queues: number;
  /** Buffers that a request of this driver consists of, and its queue. */
  request(random: Random, buffer: (sizeBytes: number) => number): { readonly queue: number; readonly parts: Part[] };
  readonly events?: FuzzTarget["events"];
  check?(): void;
}

export function target(context: FakeContext, device: VirtioPciDevice, driver: Driver): FuzzTarget {
  const { pci } = device;
  pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
  const given = new GivenMemory(device);
  const config = {
    read: (offset: number, size: AccessSize) => pci.readConfig(offset, size),
    write: (offset: number, size: AccessSize, value: number) => pci.writeConfig(offset, size, value),
  };
  const start = (deviceArea: number = RING.device): Operation[] => {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = DEVICE_STATUS;
    const queue = (index: number): Operation[] => [
      out(COMMON_CFG.queue_select, index, 2),
      out(COMMON_CFG.queue_size, RING_SIZE, 2),
      out(COMMON_CFG.queue_msix_vector, index, 2),
      out(COMMON_CFG.queue_desc, ringAt(index)),
      out(COMMON_CFG.queue_driver, ringAt(index) + RING.driver),
      out(COMMON_CFG.queue_device, ringAt(index) + deviceArea),
      out(COMMON_CFG.queue_enable, 1, 2),
    ];
    return [
      out(4, 6, 2, CONFIG),
      out(COMMON_CFG.device_status, 0, 1),
      memory(RING.first, new Uint8Array(RING.spacing * driver.queues)),
      out(COMMON_CFG.device_status, ACKNOWLEDGE | DRIVER, 1),
      out(COMMON_CFG.driver_feature_select, 0),
      out(COMMON_CFG.driver_feature, driver.features),
      out(COMMON_CFG.driver_feature_select, 1),
      out(COMMON_CFG.driver_feature, driver.isPacked ? 5 : 1),
      out(COMMON_CFG.device_status, ACKNOWLEDGE | DRIVER | FEATURES_OK, 1),
      ...Array.from({ length: driver.queues }, (_, index) => queue(index)).flat(),
      out(COMMON_CFG.device_status, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK, 1),
    ];
  };
  /** All but the first descriptor become available before it. */
  const packedRequest = (random: Random, queue: number, parts: readonly Part[], table: number): Operation[] => {
    const { queues } = device.save() as unknown as { queues: QueueState[] };
    const { packed = { nextAvailable: 0, availableWrap: true, inFlight: [] } } = queues[queue]!;
    const ring = ringAt(queue);
    const id = 4 * random(random(16) === 0 ? 4 : 0x4000);
    const describe = (at: number, part: Omit<Part, "bytes">, flags: number): Operation => {
      const bytes = new DataView(new ArrayBuffer(16));
      bytes.setUint32(0, part.gpa, true);
      bytes.setUint32(8, part.sizeBytes, true);
      bytes.setUint16(12, id, true);
      bytes.setUint16(14, flags | (part.isWritable ? DESC.WRITE : 0), true);
      return memory(at, new Uint8Array(bytes.buffer));
    };
    const inRing = (i: number, part: Omit<Part, "bytes">, flags: number): Operation => {
      const place = packed.nextAvailable + i;
      const isLap = place < RING_SIZE === packed.availableWrap;
      return describe(ring + 16 * (place % RING_SIZE), part, flags | (isLap ? DESC.AVAIL : DESC.USED));
    };
    const operations = parts.flatMap(({ gpa, bytes }) => (bytes ? [memory(gpa, bytes)] : []));
    if (random(3) === 0) {
      operations.push(...parts.map((part, i) => describe(table + 16 * i, part, 0)));
      const whole = { gpa: table, sizeBytes: 16 * parts.length, isWritable: false };
      operations.push(inRing(0, whole, DESC.INDIRECT));
    } else {
      // Now and then a chain that does not end.
      const isEndless = random(40) === 0;
      const chained = parts.map((part, i) => inRing(i, part, i < parts.length - 1 || isEndless ? DESC.NEXT : 0));
      operations.push(...chained.toReversed());
    }
    const suppression = Uint8Array.of(random(RING_SIZE), random(2) << 7, random(3), 0);
    if (random(4) === 0) operations.push(memory(ring + RING.driver, suppression));
    operations.push(out(BAR_LAYOUT.notify + 4 * queue, queue, 2));
    return operations;
  };
  const request = (random: Random): Operation[] => {
    let free = BUFFERS.start + 64 * random(BUFFERS.sizeBytes / 128);
    const buffer = (sizeBytes: number): number => {
      const gpa = free;
      free += sizeBytes + random(16);
      return gpa;
    };
    const { queue, parts } = driver.request(random, buffer);
    if (driver.isPacked) return packedRequest(random, queue, parts, buffer(16 * parts.length));
    const ring = ringAt(queue);
    const available = context.memory.read16(ring + RING.driver + 2)!;
    const isIndirect = random(3) === 0;
    const first = isIndirect ? 0 : random(RING_SIZE - parts.length + 1);
    const table = new DataView(new ArrayBuffer(16 * parts.length));
    for (const [i, { gpa, sizeBytes, isWritable }] of parts.entries()) {
      const isLast = i === parts.length - 1;
      table.setUint32(16 * i, gpa, true);
      table.setUint32(16 * i + 8, sizeBytes, true);
      table.setUint16(16 * i + 12, (isWritable ? DESC.WRITE : 0) | (isLast ? 0 : DESC.NEXT), true);
      table.setUint16(16 * i + 14, isLast ? 0 : first + i + 1, true);
    }
    // Now and then a loop, which no single changed bit makes of it.
    if (random(40) === 0) {
      table.setUint16(table.byteLength - 4, table.getUint16(table.byteLength - 4, true) | DESC.NEXT, true);
      table.setUint16(table.byteLength - 2, first, true);
    }
    const operations: Operation[] = parts.flatMap(({ gpa, bytes }) => (bytes ? [memory(gpa, bytes)] : []));
    let head = first;
    if (isIndirect) {
      head = random(RING_SIZE);
      const indirect = new DataView(new ArrayBuffer(16));
      const tableAt = buffer(16 * parts.length);
      indirect.setUint32(0, tableAt, true);
      indirect.setUint32(8, 16 * parts.length, true);
      indirect.setUint16(12, DESC.INDIRECT, true);
      operations.push(memory(tableAt, new Uint8Array(table.buffer)));
      operations.push(memory(ring + 16 * head, new Uint8Array(indirect.buffer)));
    } else operations.push(memory(ring + 16 * first, new Uint8Array(table.buffer)));
    operations.push(memory(ring + RING.driver + 4 + 2 * (available % RING_SIZE), word16(head)));
    operations.push(memory(ring + RING.driver + 2, word16(available + 1)));
    operations.push(out(BAR_LAYOUT.notify + 4 * queue, queue, 2));
    return operations;
  };
  const others = (random: Random): Operation[] => {
    const window = pci.readConfig(0x34, 1) + 0; // Where the list of capabilities begins.
    switch (random(4)) {
      case 0:
        return [
          out(16 * random(8) + 12, random(2), 4, MSIX),
          out(16 * random(8), 0xfee0_0000, 4, MSIX),
          out(window + 2, 0x8000, 2, CONFIG),
        ];
      case 1: {
        const at = random(0x40);
        return [out(at, random(2 ** 32), 4), { kind: "read", range: REGISTERS, offset: at, size: 4 }];
      }
      case 2:
        return [
          { kind: "read", range: REGISTERS, offset: BAR_LAYOUT.isr, size: 1 },
          { kind: "read", range: REGISTERS, offset: BAR_LAYOUT.device + 4 * random(15), size: 4 },
          out(BAR_LAYOUT.device + 4 * random(15), random(2), 1),
        ];
      default: {
        // The window: BAR, offset, length, data, wherever it lies.
        const at = 0x40 + 4 * random(44);
        return [out(at, random(2 ** 32), 4, CONFIG), { kind: "read", range: CONFIG, offset: at, size: 4 }];
      }
    }
  };
  return {
    device,
    ranges: [
      { handler: device, length: BAR_LAYOUT.sizeBytes },
      { handler: config, length: 256 },
      { handler: pci.msix!, length: 0x1000 },
    ],
    ...(driver.events ? { events: driver.events } : {}),
    start: () => start(),
    sees: (_gpa, bytes) => given.sees(bytes),
    mayWrite: (gpa, length) => given.holds(gpa, length),
    mayDiscard: (gpa, length) => given.gaveBack(gpa, length),
    check: () => driver.check?.(),
    sequence: (random) => {
      const status = device.read(COMMON_CFG.device_status, 1);
      if (status & DEVICE_STATUS.DEVICE_NEEDS_RESET || (status & DEVICE_STATUS.DRIVER_OK) === 0) {
        // Also with both rings in one place, so that what the device writes is what it reads next.
        if (random(3) !== 0) return start(random(4) === 0 ? RING.driver : RING.device);
      }
      const kind = random(16);
      if (kind === 0) return others(random);
      if (kind === 1) return random(8) === 0 ? start() : [{ kind: "time", ns: random(1000) }];
      if (kind < 6) return [{ kind: "event", event: random(8), value: random(2 ** 32) }];
      return request(random);
    },
  };
}
