/**
 * The 8254 interval timer of a PC: three counters at 1.193182 MHz (pit-channel.ts), counter 0 on ISA interrupt 0,
 * counter 2 gated and read through system control port B, 0x61 (ICH9 data sheet, 10.7.1). Nothing ticks: one timer
 * waits for counter 0's next rising edge. When guest time jumps over several periods, one edge is delivered and the
 * phase kept. Left out: the speaker's sound; counter 1 only shows as the refresh toggle of port 0x61.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { PIT_HZ } from "../machine/board-map.ts";
import type { Clock, Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "./device.ts";
import { PitChannel } from "./pit-channel.ts";
import { nsOfTick, ticksAt } from "./tick-rate.ts";

const READ_BACK = { SELECT: 3, NO_COUNT: 0x20, NO_STATUS: 0x10 } as const;
const PORT_B = { GATE2: 0x01, WRITABLE: 0x0f, REFRESH: 0x10, OUT2: 0x20 } as const;
/** Half the period of the refresh request, 18 ticks of counter 1. */
const REFRESH_NS = 15_085;

export class Pit8254 implements Device {
  readonly name = "pit";
  readonly schema = { id: "pit-8254", version: 1 } as const;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #timer: Timer;
  readonly #channels: readonly [PitChannel, PitChannel, PitChannel] = [
    new PitChannel(true),
    new PitChannel(true),
    new PitChannel(false),
  ];
  #portB = 0;
  #level = false;

  constructor(context: DeviceContext, options: { irq: IrqLine }) {
    this.#clock = context.clock;
    this.#irq = options.irq;
    this.#timer = context.clock.timer(() => {
      // The output was low for a moment, and may be again, between two instructions.
      this.#drive(false);
      this.#drive(true);
      this.#update();
    });
    this.reset();
  }

  /** Ports 0x40 to 0x43. */
  readonly counters: IoHandler = {
    read: (offset) => (offset < 3 ? this.#channels[offset as 0 | 1 | 2].read(this.#tick()) : 0xff),
    write: (offset, _size, value) => {
      if (offset < 3) this.#channels[offset as 0 | 1 | 2].write(value, this.#tick());
      else this.#writeControl(value);
      this.#update();
    },
  };

  /** Port 0x61. */
  readonly systemControlB: IoHandler = {
    read: () => {
      const refresh = Math.floor(this.#clock.nowNs() / REFRESH_NS) % 2 === 1;
      const out2 = this.#channels[2].output(this.#tick());
      return this.#portB | (refresh ? PORT_B.REFRESH : 0) | (out2 ? PORT_B.OUT2 : 0);
    },
    write: (_offset: number, _size: AccessSize, value: number) => {
      this.#portB = value & PORT_B.WRITABLE;
      this.#channels[2].setGate((value & PORT_B.GATE2) !== 0, this.#tick());
    },
  };

  reset(): void {
    this.#portB = 0;
    for (const [i, channel] of this.#channels.entries()) channel.reset(i !== 2);
    this.#timer.disarm();
    this.#drive(false);
  }

  save(): StateValue {
    return {
      portB: this.#portB,
      level: this.#level,
      timerNs: this.#timer.deadlineNs ?? null,
      channels: this.#channels.map((channel) => channel.save()),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    let level: boolean;
    let timerNs: number | undefined;
    try {
      const reader = new StateReader(state, this.name);
      this.#portB = reader.int("portB", 0, PORT_B.WRITABLE);
      level = reader.bool("level");
      timerNs = reader.optionalNs("timerNs");
      const channels = reader.arrayExact("channels", 3);
      for (const [i, channel] of this.#channels.entries()) channel.restore(channels[i]!);
      if (this.#channels[2].gate !== ((this.#portB & PORT_B.GATE2) !== 0)) {
        throw reader.invalid("portB", "contradicts the gate of counter 2");
      }
      reader.end();
    } catch (error) {
      this.reset();
      throw error;
    }
    this.#drive(level);
    if (timerNs !== undefined) this.#timer.arm(timerNs);
  }

  #tick(): number {
    return ticksAt(this.#clock.nowNs(), PIT_HZ);
  }

  #writeControl(value: number): void {
    const select = value >>> 6;
    const tick = this.#tick();
    if (select !== READ_BACK.SELECT) {
      const channel = this.#channels[select as 0 | 1 | 2];
      if ((value & 0x30) === 0) channel.latchCount(tick);
      else channel.writeControl(value);
      return;
    }
    for (const [i, channel] of this.#channels.entries()) {
      if ((value & (2 << i)) === 0) continue;
      if ((value & READ_BACK.NO_COUNT) === 0) channel.latchCount(tick);
      if ((value & READ_BACK.NO_STATUS) === 0) channel.latchStatus(tick);
    }
  }

  #update(): void {
    this.#drive(this.#channels[0].output(this.#tick()));
    this.#armTimer();
  }

  #armTimer(): void {
    const rise = this.#channels[0].nextRise(this.#tick());
    if (rise === undefined) this.#timer.disarm();
    else this.#timer.arm(nsOfTick(rise, PIT_HZ));
  }

  #drive(level: boolean): void {
    if (level === this.#level) return;
    this.#level = level;
    this.#irq.set(level);
  }
}

export function createPit(context: DeviceContext, options: { irq: IrqLine }): Pit8254 {
  return new Pit8254(context, options);
}

export function attachPit(pit: Pit8254, ports: IoBus, base: { pit: number; systemControlB: number }): void {
  ports.claim(base.pit, 4, pit.counters, { maxSize: 1, name: "pit" });
  ports.claim(base.systemControlB, 1, pit.systemControlB, { name: "system control port B" });
}
