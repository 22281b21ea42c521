/**
 * ACPI fixed hardware as the ICH9 has it (ACPI 6.4, 4.8; ICH9 data sheet 316972, 13.8): PM1 event and control blocks,
 * the power-management timer (3.579545 MHz, 24 bits, computed from guest time), GPE0, and the APM port pair that
 * switches between ACPI and legacy mode. The board places the block by PMBASE (bus/pci/lpc-bridge.ts).
 *
 * Without firmware the machine starts in ACPI mode (SCI_EN set, the FADT's SMI_CMD is 0). SLP_TYP 7 with SLP_EN is
 * soft-off; other sleep states are not offered and wake at once. Left out: SMI, bus master status, RTC wake-up.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { PM_BLOCK, PM_TIMER_HZ, SLEEP_TYPE } from "../machine/board-map.ts";
import type { Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "./device.ts";
import { nsOfTick, ticksAt } from "./tick-rate.ts";

const PM1_STS = { TMR: 0x0001, PWRBTN: 0x0100, SLPBTN: 0x0200, WAK: 0x8000, ALL: 0x8f31 } as const;
const PM1_EN = { TMR: 0x0001, WRITABLE: 0x4721 } as const;
/** Status bits that raise the SCI together with their enable bits. */
const PM1_SCI = 0x0721;
const PM1_CNT = { SCI_EN: 0x0001, SLP_TYP: 0x1c00, SLP_EN: 0x2000, WRITABLE: 0x1c03 } as const;
const PM_TIMER_BITS = 24;
const GPE_BYTES = PM_BLOCK.gpe0SizeBytes / 2;
/** Values for the APM control port, as in the tables that firmware writes. */
export const APM_COMMAND = { ACPI_ENABLE: 0x02, ACPI_DISABLE: 0x03 } as const;

export interface AcpiPmOptions {
  /** The system control interrupt. */
  readonly sci: IrqLine;
  /** Whether a reset leaves ACPI mode on, as for boots without firmware. Default: true. */
  readonly startsInAcpiMode?: boolean;
  /** SMI_EN after a reset. Default: 0. */
  readonly smiEnable?: number;
}

/** SMI_EN's APMC_EN: firmware that finds it set has nothing to do for system-management mode, which is not there. */
export const SMI_APMC_EN = 0x20;

export class AcpiPm implements Device {
  readonly name = "acpi-pm";
  readonly schema = { id: "acpi-pm", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #options: AcpiPmOptions;
  readonly #timer: Timer;
  #pm1Status = 0;
  #pm1Enable = 0;
  #pm1Control = 0;
  /** Which half period of the timer TMR_STS has been worked out for. */
  #timerHalf = 0;
  readonly #gpeStatus = new Uint8Array(GPE_BYTES);
  readonly #gpeEnable = new Uint8Array(GPE_BYTES);
  #smiEnable = 0;
  #apm = [0, 0];
  #level = false;

  constructor(context: DeviceContext, options: AcpiPmOptions) {
    this.#context = context;
    this.#options = options;
    this.#timer = context.clock.timer(() => this.#update());
    this.reset();
  }

  /** The user presses the power button: the operating system is asked to shut down. */
  pressPowerButton(): void {
    this.#pm1Status |= PM1_STS.PWRBTN;
    this.#update();
  }

  /** The user presses the sleep button. */
  pressSleepButton(): void {
    this.#pm1Status |= PM1_STS.SLPBTN;
    this.#update();
  }

  /** Raises general-purpose event `index` (0 to 63), for devices with an ACPI event method. */
  raiseGpe(index: number): void {
    this.#gpeStatus[index >>> 3]! |= 1 << (index & 7);
    this.#update();
  }

  /** The block at PMBASE. */
  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      this.#settleTimer();
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i);
      return value;
    },
    write: (offset: number, size: AccessSize, value: number) => {
      this.#settleTimer();
      for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
      this.#update();
    },
  };

  /** APM_CNT and APM_STS, ports 0xB2 and 0xB3. */
  readonly apm: IoHandler = {
    read: (offset) => this.#apm[offset & 1]!,
    write: (offset, _size, value) => {
      this.#apm[offset & 1] = value & 0xff;
      if (offset & 1) return;
      if (value === APM_COMMAND.ACPI_ENABLE) this.#pm1Control |= PM1_CNT.SCI_EN;
      if (value === APM_COMMAND.ACPI_DISABLE) this.#pm1Control &= ~PM1_CNT.SCI_EN;
      this.#update();
    },
  };

  reset(): void {
    this.#pm1Status = 0;
    this.#pm1Enable = 0;
    this.#pm1Control = this.#options.startsInAcpiMode === false ? 0 : PM1_CNT.SCI_EN;
    this.#timerHalf = this.#halfAt(this.#context.clock.nowNs());
    this.#gpeStatus.fill(0);
    this.#gpeEnable.fill(0);
    this.#smiEnable = this.#options.smiEnable ?? 0;
    this.#apm = [0, 0];
    this.#update();
  }

  save(): StateValue {
    return {
      pm1Status: this.#pm1Status,
      pm1Enable: this.#pm1Enable,
      pm1Control: this.#pm1Control,
      timerHalf: this.#timerHalf,
      gpeStatus: this.#gpeStatus.slice(),
      gpeEnable: this.#gpeEnable.slice(),
      smiEnable: this.#smiEnable,
      apm: [...this.#apm],
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const pm1Status = reader.int("pm1Status", 0, PM1_STS.ALL);
    const pm1Enable = reader.int("pm1Enable", 0, PM1_EN.WRITABLE);
    const pm1Control = reader.int("pm1Control", 0, PM1_CNT.WRITABLE);
    const timerHalf = reader.ns("timerHalf");
    const gpeStatus = reader.bytesExact("gpeStatus", GPE_BYTES);
    const gpeEnable = reader.bytesExact("gpeEnable", GPE_BYTES);
    const smiEnable = reader.u32("smiEnable");
    const apm = reader.ints("apm", 2, 0, 0xff);
    if (timerHalf > this.#halfAt(this.#context.clock.nowNs())) throw reader.invalid("timerHalf", "lies in the future");
    reader.end();
    this.#pm1Status = pm1Status & PM1_STS.ALL;
    this.#pm1Enable = pm1Enable & PM1_EN.WRITABLE;
    this.#pm1Control = pm1Control & PM1_CNT.WRITABLE;
    this.#timerHalf = timerHalf;
    this.#gpeStatus.set(gpeStatus);
    this.#gpeEnable.set(gpeEnable);
    this.#smiEnable = smiEnable;
    this.#apm = apm;
    this.#drive();
    this.#armTimer();
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 1);
    switch (offset & ~1) {
      case PM_BLOCK.pm1Event:
        return (this.#pm1Status >>> shift) & 0xff;
      case PM_BLOCK.pm1Event + 2:
        return (this.#pm1Enable >>> shift) & 0xff;
      case PM_BLOCK.pm1Control:
        return (this.#pm1Control >>> shift) & 0xff;
      case PM_BLOCK.pmTimer:
      case PM_BLOCK.pmTimer + 2: {
        const count = ticksAt(this.#context.clock.nowNs(), PM_TIMER_HZ) % 2 ** PM_TIMER_BITS;
        return (count >>> (8 * (offset & 3))) & 0xff;
      }
      case PM_BLOCK.smiEnable:
      case PM_BLOCK.smiEnable + 2:
        return (this.#smiEnable >>> (8 * (offset & 3))) & 0xff;
      default: {
        const gpe = offset - PM_BLOCK.gpe0;
        return (gpe < GPE_BYTES ? this.#gpeStatus[gpe] : this.#gpeEnable[gpe - GPE_BYTES]) ?? 0;
      }
    }
  }

  #writeByte(offset: number, value: number): void {
    const shift = 8 * (offset & 1);
    const mask = 0xff << shift;
    switch (offset & ~1) {
      case PM_BLOCK.pm1Event:
        this.#pm1Status &= ~(value << shift);
        break;
      case PM_BLOCK.pm1Event + 2:
        this.#pm1Enable = (this.#pm1Enable & ~mask) | ((value << shift) & PM1_EN.WRITABLE);
        break;
      case PM_BLOCK.pm1Control:
        this.#pm1Control = (this.#pm1Control & ~mask) | ((value << shift) & PM1_CNT.WRITABLE);
        if ((value << shift) & PM1_CNT.SLP_EN) this.#sleep();
        break;
      case PM_BLOCK.smiEnable:
      case PM_BLOCK.smiEnable + 2: {
        const at = 8 * (offset & 3);
        this.#smiEnable = ((this.#smiEnable & ~(0xff << at)) | (value << at)) >>> 0;
        break;
      }
      default: {
        const gpe = offset - PM_BLOCK.gpe0;
        if (gpe >= 0 && gpe < GPE_BYTES) this.#gpeStatus[gpe]! &= ~value;
        else if (gpe >= GPE_BYTES && gpe < 2 * GPE_BYTES) this.#gpeEnable[gpe - GPE_BYTES] = value;
      }
    }
  }

  #sleep(): void {
    const type = (this.#pm1Control & PM1_CNT.SLP_TYP) >>> 10;
    if (type === SLEEP_TYPE.s5) this.#context.power("off", "the guest powered off through ACPI");
    else this.#pm1Status |= PM1_STS.WAK;
  }

  #halfAt(ns: number): number {
    return Math.floor(ticksAt(ns, PM_TIMER_HZ) / 2 ** (PM_TIMER_BITS - 1));
  }

  /** TMR_STS is set whenever the counter's highest bit changes. */
  #settleTimer(): void {
    const half = this.#halfAt(this.#context.clock.nowNs());
    if (half === this.#timerHalf) return;
    this.#timerHalf = half;
    this.#pm1Status |= PM1_STS.TMR;
  }

  #update(): void {
    this.#settleTimer();
    this.#drive();
    this.#armTimer();
  }

  #drive(): void {
    const events = this.#pm1Status & this.#pm1Enable & PM1_SCI;
    const gpes = this.#gpeStatus.some((status, i) => (status & this.#gpeEnable[i]!) !== 0);
    const level = (this.#pm1Control & PM1_CNT.SCI_EN) !== 0 && (events !== 0 || gpes);
    if (level === this.#level) return;
    this.#level = level;
    this.#options.sci.set(level);
  }

  /** Only a guest that wants the timer's interrupt makes us wait for it. */
  #armTimer(): void {
    const wanted = (this.#pm1Enable & PM1_EN.TMR) !== 0 && (this.#pm1Status & PM1_STS.TMR) === 0;
    if (!wanted) this.#timer.disarm();
    else this.#timer.arm(nsOfTick((this.#timerHalf + 1) * 2 ** (PM_TIMER_BITS - 1), PM_TIMER_HZ));
  }
}

export function createAcpiPm(context: DeviceContext, options: AcpiPmOptions): AcpiPm {
  return new AcpiPm(context, options);
}

/** Claims the APM ports; the block itself is a window of the LPC bridge. */
export function attachAcpiPm(pm: AcpiPm, ports: IoBus, base: { smiCommand: number }): void {
  ports.claim(base.smiCommand, 2, pm.apm, { maxSize: 1, name: "apm" });
}
