/**
 * What every device model is.
 *
 * A device has a synchronous front-end (this interface: register logic, no await, no I/O, no host clock) and, where it
 * talks to the outside, an asynchronous back-end that lives elsewhere. The two meet in `DeviceContext`: output leaves
 * through `output`, input comes back through `onInput` in the order of the machine's event log, so a replay sees the
 * same bytes at the same instruction; disks are reached through `openDisk`, networks through `openNetwork`, in the
 * same order.
 *
 * Construction: `createX(context, options)` returns the device; the board (machine/board.ts) attaches it to ports,
 * MMIO, PCI and interrupt lines. Register logic and attachment stay in separate parts of the file.
 */
import type { Clock } from "../machine/clock.ts";
import type { DeviceMemory, DeviceMemoryKind } from "../memory/device-memory.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import type { BlockChannel, BlockCompletion } from "./block-channel.ts";
import type { FileChannel, FileCompletion } from "./files/file-channel.ts";
import type { NetworkChannel, NetworkPort } from "./network-channel.ts";

/** Plain data that the state codec can write: see state/codec.ts. Object keys are written in sorted order. */
export type StateValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly StateValue[]
  | { readonly [key: string]: StateValue };

export interface Device {
  /** Unique name on the board and in saved states, e.g. "uart0". */
  readonly name: string;
  /** Schema of `save`: a registered identifier and its version, e.g. "uart-16550", 1. Never reused for another layout. */
  readonly schema: { readonly id: string; readonly version: number };
  /** States from before this device was made have no section of it: it is then as a fresh one. Default: false. */
  readonly isNewerThanStates?: boolean;
  /** Power-on or system reset: every register to the data sheet's reset value, timers disarmed, lines low. */
  reset(): void;
  /** Everything a guest could observe later, and nothing else. Allowed at any instruction boundary, also mid-operation. */
  save(): StateValue;
  /**
   * Puts back what `save` returned, timers armed again. `state` comes from a file and is hostile: validated with
   * state/reader.ts before use. Throws StateError; the device is then reset.
   */
  restore(state: StateValue): void;
  /** The machine stops at an instruction boundary; the front-end must not touch guest memory until `resume`. */
  pause?(): void;
  resume?(): void;
}

/** A level on a wire. Edge-triggered inputs see the transitions. */
export interface IrqLine {
  set(level: boolean): void;
}

/** What the machine offers to a device model. Nothing else of the host is reachable from one. */
export interface DeviceContext {
  readonly clock: Clock;
  readonly memory: GuestMemory;
  /** Fills `into` with the machine's own random stream: a function of the VM's seed, part of its state. */
  random(into: Uint8Array): void;
  /** Registers where bytes from the outside arrive. At most one handler for a channel. Called at instruction boundaries only. */
  onInput(channel: string, handler: (bytes: Uint8Array) => void): void;
  /** Sends bytes to the back-end of a channel. Never blocks the model; the host applies back-pressure to the vCPU. */
  output(channel: string, bytes: Uint8Array): void;
  /** The disk of that name. At most one device for each; `onDone` is called at instruction boundaries only. */
  openDisk(channel: string, onDone: (completion: BlockCompletion) => void): BlockChannel;
  /** What carries the frames of a network card. At most one card for each. */
  openNetwork(channel: string, port: NetworkPort): NetworkChannel;
  /** Whole pages that the guest can reach without asking the device; undefined where the engine has none to give. */
  deviceMemory?(sizeBytes: number, kind: DeviceMemoryKind): DeviceMemory | undefined;
  /**
   * RAM below 1 MiB where the guest's stores go to the bus from here on, and do not reach memory: bit n for the 16 KiB at
   * 0xC0000 + n * 16 KiB.
   */
  protectShadow(parts: number): void;
  /** As `openDisk`, of a folder that is shared. */
  openShare(channel: string, onDone: (completion: FileCompletion) => void): FileChannel;
  /** The guest asks for power-off, reset, or reports a crash through a device; carried out after the current instruction. */
  power(action: "off" | "reset" | "crashed", reason: string): void;
}
