/**
 * The watchdog timer of Intel's 6300ESB (PCI 8086:25ab; data sheet 300641, "Watchdog Timer"): two stages that count down one
 * after the other at 33 MHz divided by 2^15 or 2^5. A guest that lives reloads them; when the second one ends, the output
 * pin says so, and what happens then is the machine's choice: reset, power-off, a pause, or nothing but an event on the
 * device's channel, which there always is. That it has happened is known after a reset.
 *
 * Left out: the interrupt or SMI at the end of the first stage, whose status bit is set.
 */
import type { AccessSize, IoHandler } from "../bus/io.ts";
import { PciFunction } from "../bus/pci/function.ts";
import type { Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

export const WATCHDOG_ACTIONS = ["reset", "poweroff", "pause", "none"] as const;
export type WatchdogAction = (typeof WATCHDOG_ACTIONS)[number];
/** Where it tells the host what it did, in ASCII. */
export const WATCHDOG_CHANNEL = "watchdog0";

const BAR_BYTES = 0x1000;
const REG = { PRELOAD_1: 0x00, PRELOAD_2: 0x04, INTERRUPT_STATUS: 0x08, RELOAD: 0x0c } as const;
const RELOAD = { RELOAD: 0x100, TIMEOUT: 0x200 } as const;
/** Written to the reload register in this order, they let one write through. */
const KEYS = [0x80, 0x86] as const;
const UNLOCKED = 2;
const PRELOAD_MASK = 0xf_ffff;

const CONFIG = 0x60;
const CONFIG_BITS = { OUTPUT_DISABLED: 0x20, FAST: 0x04, WRITABLE: 0x27 } as const;
const LOCK = 0x68;
const LOCK_BITS = { LOCKED: 1, ENABLE: 2, FREE_RUNNING: 4, WRITABLE: 7 } as const;

const NS_PER_CLOCK = 1000 / 33;
/** A guest that counts from 0 would have us come back without end. */
const MIN_STAGE_NS = 100_000;
const CLOCKS = { fast: 2 ** 5, slow: 2 ** 15 } as const;

export interface WatchdogOptions {
  readonly name: string;
  readonly action: WatchdogAction;
}

export class Watchdog implements Device {
  readonly name: string;
  readonly schema = { id: "watchdog-6300esb", version: 1 } as const;
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #action: WatchdogAction;
  readonly #timer: Timer;
  readonly #preloads = [PRELOAD_MASK, PRELOAD_MASK];
  #interruptStatus = 0;
  /** The second stage has ended: kept over a reset. */
  #hasTimedOut = false;
  /** How many of the keys have been written. */
  #unlocked = 0;
  #lock = 0;
  /** Which stage counts; 0: none. */
  #stage = 0;

  constructor(context: DeviceContext, { name, action }: WatchdogOptions) {
    this.name = name;
    this.#context = context;
    this.#action = action;
    this.#timer = context.clock.timer(() => this.#stageEnds());
    this.pci = new PciFunction({ name, vendorId: 0x8086, deviceId: 0x25ab, classCode: 0x08_8000, revisionId: 2 });
    this.pci.config.define(CONFIG, 2, 0, CONFIG_BITS.WRITABLE);
    this.pci.config.define(LOCK, 1, 0, LOCK_BITS.WRITABLE);
    this.pci.addMemoryBar(0, BAR_BYTES, this.registers);
    this.pci.onConfigChange(() => this.#lockWritten());
  }

  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i);
      return value;
    },
    write: (offset, _size, value) => this.#write(offset, value),
  };

  reset(): void {
    this.pci.reset();
    this.#preloads.fill(PRELOAD_MASK);
    this.#interruptStatus = 0;
    this.#unlocked = 0;
    this.#lock = 0;
    this.#stop();
  }

  save(): StateValue {
    return {
      pci: this.pci.save(),
      preloads: [...this.#preloads],
      interruptStatus: this.#interruptStatus,
      hasTimedOut: this.#hasTimedOut,
      unlocked: this.#unlocked,
      stage: this.#stage,
      endNs: this.#timer.deadlineNs ?? null,
    };
  }

  restore(state: StateValue): void {
    this.reset();
    this.#hasTimedOut = false;
    const reader = new StateReader(state, this.name);
    const preloads = reader.ints("preloads", 2, 0, PRELOAD_MASK);
    const interruptStatus = reader.int("interruptStatus", 0, 1);
    const hasTimedOut = reader.bool("hasTimedOut");
    const unlocked = reader.int("unlocked", 0, UNLOCKED);
    const stage = reader.int("stage", 0, 2);
    const endNs = reader.optionalNs("endNs");
    if ((endNs === undefined) !== (stage === 0)) throw reader.invalid("endNs", "is there for a stage that counts");
    const pci = reader.part("pci");
    reader.end();
    this.pci.restore(pci, `${this.name}.pci`);
    this.#preloads.splice(0, 2, ...preloads);
    this.#interruptStatus = interruptStatus;
    this.#hasTimedOut = hasTimedOut;
    this.#unlocked = unlocked;
    this.#lock = this.pci.config.read(LOCK, 1);
    this.#stage = stage;
    if (endNs === undefined) this.#timer.disarm();
    else this.#timer.arm(endNs);
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 3);
    switch (offset & ~3) {
      case REG.PRELOAD_1:
        return (this.#preloads[0]! >>> shift) & 0xff;
      case REG.PRELOAD_2:
        return (this.#preloads[1]! >>> shift) & 0xff;
      case REG.INTERRUPT_STATUS:
        return offset === REG.INTERRUPT_STATUS ? this.#interruptStatus : 0;
      case REG.RELOAD:
        return ((this.#hasTimedOut ? RELOAD.TIMEOUT : 0) >>> shift) & 0xff;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    if (offset === REG.INTERRUPT_STATUS) {
      this.#interruptStatus &= ~value;
      return;
    }
    if (this.#unlocked < UNLOCKED) {
      const isKey = offset === REG.RELOAD && value === KEYS[this.#unlocked];
      this.#unlocked = isKey ? this.#unlocked + 1 : 0;
      return;
    }
    this.#unlocked = 0;
    if (offset === REG.PRELOAD_1 || offset === REG.PRELOAD_2) this.#preloads[offset / 4] = value & PRELOAD_MASK;
    else if (offset === REG.RELOAD) {
      if (value & RELOAD.TIMEOUT) this.#hasTimedOut = false;
      if (value & RELOAD.RELOAD && this.#lock & LOCK_BITS.ENABLE) this.#start(1);
    }
  }

  /** What is locked stays what it is until a reset. */
  #lockWritten(): void {
    const { config } = this.pci;
    const before = this.#lock;
    if (before & LOCK_BITS.LOCKED) {
      config.set(LOCK, 1, before);
      return;
    }
    this.#lock = config.read(LOCK, 1);
    if (this.#lock & LOCK_BITS.ENABLE && !(before & LOCK_BITS.ENABLE)) this.#start(1);
    else if (!(this.#lock & LOCK_BITS.ENABLE)) this.#stop();
  }

  #start(stage: 1 | 2): void {
    const isFast = (this.pci.config.read(CONFIG, 2) & CONFIG_BITS.FAST) !== 0;
    const clocks = this.#preloads[stage - 1]! * (isFast ? CLOCKS.fast : CLOCKS.slow);
    this.#stage = stage;
    this.#timer.arm(this.#context.clock.nowNs() + Math.max(MIN_STAGE_NS, Math.ceil(clocks * NS_PER_CLOCK)));
  }

  #stop(): void {
    this.#stage = 0;
    this.#timer.disarm();
  }

  #stageEnds(): void {
    const isFreeRunning = (this.#lock & LOCK_BITS.FREE_RUNNING) !== 0;
    if (this.#stage === 1) {
      this.#interruptStatus = 1;
      this.#start(isFreeRunning ? 1 : 2);
      return;
    }
    this.#stop();
    if (this.pci.config.read(CONFIG, 2) & CONFIG_BITS.OUTPUT_DISABLED) return;
    this.#hasTimedOut = true;
    this.#context.output(
      WATCHDOG_CHANNEL,
      Uint8Array.from(this.#action, (letter) => letter.charCodeAt(0)),
    );
    if (this.#action === "reset") this.#context.power("reset", "the watchdog's time ran out");
    if (this.#action === "poweroff") this.#context.power("off", "the watchdog's time ran out");
  }
}

export function createWatchdog(context: DeviceContext, options: WatchdogOptions): Watchdog {
  return new Watchdog(context, options);
}
