/**
 * Between a kind of virtio device and the transport that carries it: what the transport asks of the device
 * (VirtioModel), and what it offers (VirtioHost). The device knows queues and features, never PCI.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { Virtqueue } from "./queue.ts";

/** Feature bits that belong to no device type (virtio 1.2, chapter 6). */
export const VIRTIO_F = {
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
} as const;

/** Device types (virtio 1.2, chapter 5). */
export const VIRTIO_ID = {
  NETWORK: 1,
  BLOCK: 2,
  CONSOLE: 3,
  ENTROPY: 4,
  BALLOON: 5,
  P9: 9,
  SOCKET: 19,
  MEM: 24,
  FS: 26,
} as const;

export interface VirtioHost {
  readonly memory: GuestMemory;
  /** The driver is ready, the function may access memory, and nothing is broken: queues may be used. */
  readonly isRunning: boolean;
  queue(index: number): Virtqueue;
  /** Whether the driver accepted a feature bit. */
  hasFeature(bit: number): boolean;
  /** Chains have been pushed to a queue: interrupts the driver if it wants that. */
  complete(queueIndex: number): void;
  /** The device-specific configuration has changed. */
  configChanged(): void;
  /** The driver broke the rules: sets DEVICE_NEEDS_RESET. Nothing works until it resets the device. */
  fail(reason: string): void;
}

/** Who asks for a reset: the driver resets the device, the system its power-on state too. */
export type ResetKind = "driver" | "system";

export interface VirtioModel {
  readonly id: number;
  readonly schema: { readonly id: string; readonly version: number };
  /** PCI class code. */
  readonly classCode: number;
  /** The offered bits of the device type; those of VIRTIO_F are the transport's. */
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configBytes: number;
  /** Fills the device-specific configuration, `configBytes` long. */
  readConfig(config: DataView): void;
  /** The driver writes to the device-specific configuration. Absent: it has no field that can be written. */
  writeConfig?(offset: number, size: number, value: number): void;
  /** DRIVER_OK. The queues may still be out of reach: ask `isRunning`. */
  start(): void;
  /** The driver has made chains available in a queue. Only while `isRunning`. */
  notified(queueIndex: number): void;
  reset(kind: ResetKind): void;
  /** The machine goes on, perhaps with a restored state. */
  resume?(): void;
  save(): StateValue;
  /** Throws StateError; the transport then resets everything. Must not touch guest memory. */
  restore(reader: StateReader): void;
}
