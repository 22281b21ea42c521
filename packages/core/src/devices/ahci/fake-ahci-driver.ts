/** A driver of one AHCI port for tests: lists in the fake context's memory, frames as a driver makes them. */
import type { FakeContext } from "../fake-context.ts";
import { ATA } from "./ata-disk.ts";
import type { AhciController } from "./controller.ts";
import { FIS_TYPE, GHC, HBA, PORT_BASE, PORT_BYTES, PX, PXCMD } from "./registers.ts";

const LIST = 0x1000;
export const RECEIVED = 0x1400;
const TABLES = 0x2000;
const TABLE_BYTES = 0x200;

export interface AtaCommand {
  readonly command: number;
  readonly lba?: number;
  readonly count?: number;
  readonly features?: number;
  /** Regions of its data: address and length. */
  readonly regions?: readonly (readonly [gpa: number, bytes: number])[];
  readonly isWrite?: boolean;
  /** Of a PACKET command. */
  readonly packet?: readonly number[];
  readonly device?: number;
}

export class FakeAhciDriver {
  readonly #context: FakeContext;
  readonly #device: AhciController;
  readonly #port: number;

  constructor(context: FakeContext, device: AhciController, port = 0) {
    this.#context = context;
    this.#device = device;
    this.#port = port;
  }

  read(register: number): number {
    return this.#device.read(PORT_BASE + this.#port * PORT_BYTES + register, 4);
  }

  write(register: number, value: number): void {
    this.#device.write(PORT_BASE + this.#port * PORT_BYTES + register, 4, value >>> 0);
  }

  start(): void {
    this.write(PX.CLB, LIST);
    this.write(PX.FB, RECEIVED);
    this.write(PX.SERR, 0xffff_ffff);
    this.write(PX.IS, 0xffff_ffff);
    this.write(PX.IE, 0x7d80_00ff);
    this.write(PX.CMD, PXCMD.FRE);
    this.write(PX.CMD, PXCMD.FRE | PXCMD.ST);
    this.#device.write(HBA.GHC, 4, GHC.IE);
  }

  /** As after an error: stops and starts, which forgets all commands. */
  restart(): void {
    this.write(PX.CMD, PXCMD.FRE);
    this.write(PX.IS, 0xffff_ffff);
    this.write(PX.CMD, PXCMD.FRE | PXCMD.ST);
  }

  /** Puts a command into a slot without telling the port. */
  prepare(slot: number, command: AtaCommand): void {
    const { memory } = this.#context;
    const { lba = 0, count = 0, features = 0, regions = [], isWrite = false, packet = [], device = 0x40 } = command;
    const table = TABLES + slot * TABLE_BYTES;
    const header = LIST + slot * 32;
    memory.write(header, new Uint8Array(32));
    memory.write32(header, 5 | (isWrite ? 0x40 : 0) | (packet.length > 0 ? 0x20 : 0) | (regions.length << 16));
    memory.write32(header + 8, table);
    const byte = (value: number, index: number): number => Math.floor(value / 256 ** index) & 0xff;
    const fis = new Uint8Array(64);
    fis.set([FIS_TYPE.H2D, 0x80, command.command, byte(features, 0)]);
    fis.set([byte(lba, 0), byte(lba, 1), byte(lba, 2), device, byte(lba, 3), byte(lba, 4), byte(lba, 5)], 4);
    fis.set([byte(features, 1), byte(count, 0), byte(count, 1)], 11);
    memory.write(table, fis);
    memory.write(
      table + 0x40,
      Uint8Array.from({ length: 16 }, (_, i) => packet[i] ?? 0),
    );
    for (const [i, [gpa, bytes]] of regions.entries()) {
      memory.write32(table + 0x80 + 16 * i, gpa);
      memory.write32(table + 0x84 + 16 * i, 0);
      memory.write32(table + 0x8c + 16 * i, bytes - 1);
    }
  }

  issue(slot: number, command: AtaCommand): void {
    this.prepare(slot, command);
    this.write(PX.CI, 1 << slot);
  }

  /** A PACKET command; what the drive says of its end: the error register. */
  packet(packet: readonly number[], regions: AtaCommand["regions"] = []): number {
    this.issue(0, { command: ATA.PACKET, features: 1, packet, regions });
    const error = this.read(PX.TFD) >>> 8;
    if (error !== 0) this.restart();
    return error;
  }

  /** A queued read or write. */
  issueQueued(slot: number, command: AtaCommand): void {
    this.prepare(slot, { ...command, features: command.count ?? 0, count: slot << 3 });
    this.write(PX.SACT, 1 << slot);
    this.write(PX.CI, 1 << slot);
  }

  /** Bytes that the port has transferred, by the command's header. */
  transferred(slot: number): number {
    return this.#context.memory.read32(LIST + slot * 32 + 4)!;
  }

  bytes(gpa: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#context.memory.read(gpa, bytes);
    return bytes;
  }
}
