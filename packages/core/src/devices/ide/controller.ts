/**
 * IDE controller of Intel's PIIX3 (82371SB, PCI 8086:7010; data sheet 290550, 2.4 and 2.7): two channels at their old ports and
 * interrupts, 14 and 15, with two drives each, and their bus masters in one I/O BAR. Channels: channel.ts.
 *
 * IDETIM only decides whether a channel's ports are decoded; after a reset they are, as firmware that knows no PIIX expects.
 * Left out: timing, the slave's timing register.
 */
import type { AccessSize, IoBus, IoHandler } from "../../bus/io.ts";
import { PciFunction } from "../../bus/pci/function.ts";
import { StateReader } from "../../state/reader.ts";
import type { TrayState } from "../ahci/cd-tray.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import { BusMaster } from "./bus-master.ts";
import { IdeChannel, type IdeDrive } from "./channel.ts";
import { BUS_MASTER, TASK } from "./registers.ts";

export const IDE_CHANNELS = 2;
const IDETIM = 0x40;
const DECODE_ENABLE = 0x80;
const BUS_MASTER_BAR = 4;

export interface IdeOptions {
  readonly name: string;
  /** Primary master and slave, secondary master and slave. */
  readonly drives: readonly (IdeDrive | undefined)[];
  readonly irqs: readonly [IrqLine, IrqLine];
}

export class IdeController implements Device {
  readonly name: string;
  readonly schema = { id: "ide-piix3", version: 1 } as const;
  readonly pci: PciFunction;
  /** By channel: the command block of eight ports, and the control register. */
  readonly taskPorts: readonly IoHandler[];
  readonly controlPorts: readonly IoHandler[];
  /** Both channels' registers, at the BAR. */
  readonly busMasterPorts: IoHandler;
  readonly #channels: readonly IdeChannel[];
  readonly #busMasters: readonly BusMaster[];

  constructor(context: DeviceContext, { name, drives, irqs }: IdeOptions) {
    if (drives.length > 2 * IDE_CHANNELS) throw new RangeError(`${drives.length} drives at two channels`);
    this.name = name;
    this.pci = new PciFunction({ name, vendorId: 0x8086, deviceId: 0x7010, classCode: 0x01_0180 });
    for (let i = 0; i < IDE_CHANNELS; i++) this.pci.config.define(IDETIM + 2 * i, 2, 0x8000, 0xf3ff);
    const busMasters = irqs.map((_irq, i) => new BusMaster(context.memory, () => this.#channels[i]!.startDma()));
    this.#busMasters = busMasters;
    this.#channels = irqs.map(
      (irq, i) => new IdeChannel(context, drives.slice(2 * i, 2 * i + 2), { irq, busMaster: busMasters[i]! }),
    );
    this.taskPorts = this.#channels.map((channel, i) => ({
      read: (offset, size) => {
        if (!this.#isDecoded(i)) return ones(size);
        if (offset === TASK.DATA || size === 1) return channel.readTask(offset, size);
        let value = 0;
        for (let at = 0; at < size && offset + at <= TASK.COMMAND; at++)
          value |= channel.readTask(offset + at, 1) << (8 * at);
        return value >>> 0;
      },
      write: (offset, size, value) => {
        if (!this.#isDecoded(i)) return;
        if (offset === TASK.DATA) channel.writeTask(offset, size, value);
        else
          for (let at = 0; at < size && offset + at <= TASK.COMMAND; at++)
            channel.writeTask(offset + at, 1, value >>> (8 * at));
      },
    }));
    this.controlPorts = this.#channels.map((channel, i) => ({
      read: (_offset, size) => (this.#isDecoded(i) ? channel.readAlternateStatus() : ones(size)),
      write: (_offset, _size, value) => {
        if (this.#isDecoded(i)) channel.writeControl(value & 0xff);
      },
    }));
    this.busMasterPorts = {
      read: (offset) => busMasters[offset >> 3]?.readByte(offset % BUS_MASTER.bytes) ?? 0xff,
      write: (offset, _size, value) => busMasters[offset >> 3]?.writeByte(offset % BUS_MASTER.bytes, value & 0xff),
    };
    this.pci.addIoBar(BUS_MASTER_BAR, IDE_CHANNELS * BUS_MASTER.bytes, this.busMasterPorts, { maxSize: 1 });
    this.reset();
  }

  /** The tray of the drive with this disk. */
  trayOf(disk: string): TrayState | undefined {
    return this.#channels[0]?.trayOf(disk) ?? this.#channels[1]?.trayOf(disk);
  }

  reset(): void {
    this.pci.reset();
    for (const busMaster of this.#busMasters) busMaster.reset();
    for (const channel of this.#channels) channel.reset();
  }

  resume(): void {
    for (const channel of this.#channels) channel.resume();
  }

  save(): StateValue {
    return {
      pci: this.pci.save(),
      busMasters: this.#busMasters.map((busMaster) => busMaster.save()),
      channels: this.#channels.map((channel) => channel.save()),
    };
  }

  restore(state: StateValue): void {
    const putDiscsBack = this.#channels.map((channel) => channel.keepDiscs());
    this.reset();
    try {
      const reader = new StateReader(state, this.name);
      this.pci.restore(reader.part("pci"), `${reader.path}.pci`);
      for (const [i, one] of reader.arrayExact("busMasters", IDE_CHANNELS).entries()) this.#busMasters[i]!.restore(one);
      for (const [i, one] of reader.arrayExact("channels", IDE_CHANNELS).entries()) this.#channels[i]!.restore(one);
      reader.end();
    } catch (error) {
      for (const putBack of putDiscsBack) putBack();
      this.reset();
      throw error;
    }
  }

  #isDecoded(channel: number): boolean {
    return (this.pci.config.bytes[IDETIM + 2 * channel + 1]! & DECODE_ENABLE) !== 0;
  }
}

export function createIde(context: DeviceContext, options: IdeOptions): IdeController {
  return new IdeController(context, options);
}

export function attachIde(
  { taskPorts, controlPorts }: IdeController,
  bus: IoBus,
  map: readonly { readonly task: number; readonly control: number }[],
): void {
  for (const [i, { task, control }] of map.entries()) {
    const name = `IDE channel ${i}`;
    bus.claim(task, TASK.COMMAND + 1, taskPorts[i]!, { name });
    bus.claim(control, 1, controlPorts[i]!, { maxSize: 1, name: `${name}'s control` });
  }
}

function ones(size: AccessSize): number {
  return 2 ** (8 * size) - 1;
}
