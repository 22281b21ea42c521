/**
 * The guest's side of a virtio-pci device for tests: finds the BARs as a driver does, negotiates, lays out rings in the
 * RAM of a FakeContext, split or packed, adds buffers and collects what comes back. Polls; interrupts are only recorded.
 */
import { COMMAND, CONFIG } from "../../bus/pci/config-space.ts";
import type { FakeContext } from "../fake-context.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, COMMON_CFG, DEVICE_STATUS, NOTIFY_OFF_MULTIPLIER, type VirtioPciDevice } from "./pci-transport.ts";

const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_AVAIL = 1 << 7;
const DESC_F_USED = 1 << 15;

export interface FakeBuffer {
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly writable: boolean;
}

interface Ring {
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  nextDescriptor: number;
  added: number;
  seenUsed: number;
  /** Of a packed ring: how many of its descriptors each buffer has. */
  readonly lengths: Map<number, number>;
}

export class FakeDriver {
  readonly context: FakeContext;
  readonly device: VirtioPciDevice;
  readonly #rings = new Map<number, Ring>();
  #features = 0n;
  /** The next free byte of guest RAM. */
  #free: number;

  constructor(context: FakeContext, device: VirtioPciDevice, firstFreeGpa = 0x1000) {
    this.context = context;
    this.device = device;
    this.#free = firstFreeGpa;
    device.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY_SPACE | COMMAND.BUS_MASTER);
  }

  get status(): number {
    return this.device.read(COMMON_CFG.device_status, 1);
  }

  set status(value: number) {
    this.device.write(COMMON_CFG.device_status, 1, value);
  }

  get isPacked(): boolean {
    return ((this.#features >> BigInt(VIRTIO_F.RING_PACKED)) & 1n) !== 0n;
  }

  offeredFeatures(): bigint {
    const word = (select: number): bigint => {
      this.device.write(COMMON_CFG.device_feature_select, 4, select);
      return BigInt(this.device.read(COMMON_CFG.device_feature, 4));
    };
    return word(0) | (word(1) << 32n);
  }

  /** Up to FEATURES_OK. VERSION_1 is added to `features`. */
  negotiate(features: bigint): void {
    this.status = 0;
    this.#rings.clear();
    this.status = DEVICE_STATUS.ACKNOWLEDGE | DEVICE_STATUS.DRIVER;
    this.#features = features | (1n << BigInt(VIRTIO_F.VERSION_1));
    for (const select of [0, 1]) {
      this.device.write(COMMON_CFG.driver_feature_select, 4, select);
      this.device.write(COMMON_CFG.driver_feature, 4, Number((this.#features >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    this.status = this.status | DEVICE_STATUS.FEATURES_OK;
  }

  setUpQueue(index: number, size = 8): void {
    const { device } = this;
    const ring: Ring = {
      size,
      desc: this.allocate(16 * size, 16),
      driver: this.allocate(6 + 2 * size, 4),
      device: this.allocate(6 + 8 * size, 4),
      nextDescriptor: 0,
      added: 0,
      seenUsed: 0,
      lengths: new Map(),
    };
    device.write(COMMON_CFG.queue_select, 2, index);
    device.write(COMMON_CFG.queue_size, 2, size);
    device.write(COMMON_CFG.queue_msix_vector, 2, index);
    const areas = [COMMON_CFG.queue_desc, ring.desc, COMMON_CFG.queue_driver, ring.driver];
    areas.push(COMMON_CFG.queue_device, ring.device);
    for (let i = 0; i < areas.length; i += 2) {
      device.write(areas[i]!, 4, areas[i + 1]!);
      device.write(areas[i]! + 4, 4, 0);
    }
    device.write(COMMON_CFG.queue_enable, 2, 1);
    this.#rings.set(index, ring);
  }

  /** All queues, then DRIVER_OK. */
  start(queues: number, size = 8): void {
    for (let index = 0; index < queues; index++) this.setUpQueue(index, size);
    this.status = this.status | DEVICE_STATUS.DRIVER_OK;
  }

  allocate(sizeBytes: number, alignment = 8): number {
    const gpa = Math.ceil(this.#free / alignment) * alignment;
    this.#free = gpa + sizeBytes;
    return gpa;
  }

  ring(index: number): Ring {
    return this.#rings.get(index)!;
  }

  writeDescriptor(index: number, slot: number, gpa: number, sizeBytes: number, flags: number, next = 0): void {
    this.writeDescriptorAt(this.ring(index).desc + 16 * slot, gpa, sizeBytes, flags, next);
  }

  writeDescriptorAt(at: number, gpa: number, sizeBytes: number, flags: number, next = 0): void {
    const { memory } = this.context;
    memory.write64(at, BigInt(gpa));
    memory.write32(at + 8, sizeBytes);
    memory.write16(at + 12, flags);
    memory.write16(at + 14, next);
  }

  /** Makes a chain available, without telling the device. Returns its head. */
  add(index: number, buffers: readonly FakeBuffer[]): number {
    const ring = this.ring(index);
    if (this.isPacked) return this.#addPacked(ring, buffers);
    const head = ring.nextDescriptor % ring.size;
    for (const [i, buffer] of buffers.entries()) {
      const slot = (ring.nextDescriptor + i) % ring.size;
      const isLast = i === buffers.length - 1;
      const flags = (buffer.writable ? DESC_F_WRITE : 0) | (isLast ? 0 : DESC_F_NEXT);
      this.writeDescriptor(index, slot, buffer.gpa, buffer.sizeBytes, flags, (slot + 1) % ring.size);
    }
    ring.nextDescriptor += buffers.length;
    this.makeAvailable(index, head);
    return head;
  }

  /** The first descriptor becomes available last. */
  #addPacked(ring: Ring, buffers: readonly FakeBuffer[]): number {
    const id = ring.added++ & 0x7f;
    const { memory } = this.context;
    for (const [i, buffer] of [...buffers.entries()].toReversed()) {
      const place = ring.nextDescriptor + i;
      const isFirstLap = Math.floor(place / ring.size) % 2 === 0;
      const flags = (buffer.writable ? DESC_F_WRITE : 0) | (i === buffers.length - 1 ? 0 : DESC_F_NEXT);
      const at = ring.desc + 16 * (place % ring.size);
      memory.write64(at, BigInt(buffer.gpa));
      memory.write32(at + 8, buffer.sizeBytes);
      memory.write16(at + 12, id);
      memory.write16(at + 14, flags | (isFirstLap ? DESC_F_AVAIL : DESC_F_USED));
    }
    ring.nextDescriptor += buffers.length;
    ring.lengths.set(id, buffers.length);
    return id;
  }

  makeAvailable(index: number, head: number): void {
    const ring = this.ring(index);
    this.context.memory.write16(ring.driver + 4 + 2 * (ring.added % ring.size), head);
    ring.added++;
    this.context.memory.write16(ring.driver + 2, ring.added & 0xffff);
  }

  kick(index: number): void {
    this.device.write(BAR_LAYOUT.notify + index * NOTIFY_OFF_MULTIPLIER, 2, index);
  }

  /** Sends bytes in one readable buffer. */
  send(index: number, bytes: Uint8Array): void {
    const gpa = this.allocate(bytes.length);
    this.context.memory.write(gpa, bytes);
    this.add(index, [{ gpa, sizeBytes: bytes.length, writable: false }]);
    this.kick(index);
  }

  /** Gives a writable buffer and returns its address. */
  offer(index: number, sizeBytes: number): number {
    const gpa = this.allocate(sizeBytes);
    this.add(index, [{ gpa, sizeBytes, writable: true }]);
    this.kick(index);
    return gpa;
  }

  /** Used ring entries since the last call. */
  used(index: number): { head: number; writtenBytes: number }[] {
    const ring = this.ring(index);
    const { memory } = this.context;
    if (this.isPacked) return this.#usedPacked(ring);
    const entries: { head: number; writtenBytes: number }[] = [];
    const end = memory.read16(ring.device + 2)!;
    for (; ring.seenUsed !== end; ring.seenUsed = (ring.seenUsed + 1) & 0xffff) {
      const at = ring.device + 4 + 8 * (ring.seenUsed % ring.size);
      entries.push({ head: memory.read32(at)!, writtenBytes: memory.read32(at + 4)! });
    }
    return entries;
  }

  #usedPacked(ring: Ring): { head: number; writtenBytes: number }[] {
    const { memory } = this.context;
    const entries: { head: number; writtenBytes: number }[] = [];
    for (;;) {
      const at = ring.desc + 16 * (ring.seenUsed % ring.size);
      const lap = Math.floor(ring.seenUsed / ring.size) % 2 === 0 ? DESC_F_AVAIL | DESC_F_USED : 0;
      const head = memory.read16(at + 12)!;
      const length = ring.lengths.get(head);
      const isUsed = (memory.read16(at + 14)! & (DESC_F_AVAIL | DESC_F_USED)) === lap;
      if (!isUsed || length === undefined) return entries;
      entries.push({ head, writtenBytes: memory.read32(at + 8)! });
      ring.lengths.delete(head);
      ring.seenUsed += length;
    }
  }

  bytesAt(gpa: number, sizeBytes: number): Uint8Array {
    return this.context.memory.bytes.slice(gpa, gpa + sizeBytes);
  }
}
