/**
 * What a machine and its board know of each other. The board is everything behind the processor's pins: buses, devices,
 * interrupt controllers, and what firmware would do. The machine runs the processor and knows no device by name.
 */
import type { VcpuState } from "../cpu/state.ts";
import type { Device, DeviceContext } from "../devices/device.ts";
import type { VcpuBus } from "../engine/engine.ts";
import type { GuestClock } from "./guest-clock.ts";
import type { MachineSpec } from "./spec.ts";

/** What the board drives of one processor. */
export interface ProcessorPins {
  /** INTR: some interrupt can be acknowledged. */
  setInterrupt(pending: boolean): void;
  /** CR8 has changed in the local APIC's task-priority register. */
  setTaskPriority(cr8: number): void;
  /** NMI: one pulse. */
  nmi(): void;
  /** The messages INIT and start-up, for which all but the first one wait. */
  init(): void;
  startup(vector: number): void;
}

/** What a processor finds outside itself. */
export interface ProcessorSide {
  readonly bus: VcpuBus;
  /** The acknowledge cycle. Undefined if the request has gone in the meantime. */
  acknowledgeInterrupt(): number | undefined;
}

/** The machine's side. */
export interface BoardWiring {
  readonly spec: MachineSpec;
  readonly context: DeviceContext;
  readonly clock: GuestClock;
  /** The processor's INTR pin: some interrupt can be acknowledged. */
  setInterrupt(pending: boolean): void;
  /** CR8 has changed in the local APIC's task-priority register. */
  setTaskPriority(cr8: number): void;
  /** The processor's NMI pin: one pulse. */
  nmi(): void;
  /** The pins of the other processors, from number 1 on. */
  readonly others?: readonly ProcessorPins[];
}

export interface Board {
  /** In the order of restoring: sources of interrupts first, controllers after them, the local APIC last. */
  readonly devices: readonly Device[];
  readonly bus: VcpuBus;
  /** The sides of the other processors, from number 1 on: as many as the wiring has. */
  readonly others?: readonly ProcessorSide[];
  /** The processor's acknowledge cycle. Undefined if the request has gone in the meantime. */
  acknowledgeInterrupt(): number | undefined;
  pressPowerButton(): void;
  pressSleepButton(): void;
  /**
   * After power-on and after each reset: puts the guest's first program into memory. Returns the state that the vCPU
   * starts in; undefined for the processor's own reset state.
   */
  boot(): VcpuState | undefined;
}
