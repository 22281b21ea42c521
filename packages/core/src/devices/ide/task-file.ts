/**
 * The registers of one drive at an IDE channel (ATA/ATAPI-6, 7.1 to 7.15): each with the value written before it, which commands
 * of 48-bit addresses use. Both drives see what is written; the selected one answers.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { DEVICE, READY, TASK } from "./registers.ts";

const FIRST = TASK.FEATURES;
const LAST = TASK.LBA_HIGH;
const HEADS = 16;
const SECTORS = 63;

export class TaskFile {
  /** Features to LBA high, and the values before. */
  readonly #now = new Uint8Array(LAST - FIRST + 1);
  readonly #before = new Uint8Array(LAST - FIRST + 1);
  status = 0;
  error = 0;
  /** It asks for an interrupt that was not acknowledged. */
  hasInterrupt = false;
  /** Sectors of a block of READ MULTIPLE; 0: there are no such commands. */
  multiple = 16;
  /** What addresses by cylinder, head and sector count by. */
  heads = HEADS;
  sectors = SECTORS;

  get(register: number, isBefore = false): number {
    return (isBefore ? this.#before : this.#now)[register - FIRST]!;
  }

  /** By the host. */
  write(register: number, value: number): void {
    this.#before[register - FIRST] = this.#now[register - FIRST]!;
    this.#now[register - FIRST] = value;
  }

  /** By the drive. */
  set(register: number, value: number): void {
    this.#now[register - FIRST] = value;
  }

  /** After a reset: `signature` as an AHCI port shows it. */
  showSignature(signature: number): void {
    this.#now.fill(0);
    this.#before.fill(0);
    this.set(TASK.COUNT, signature & 0xff);
    this.set(TASK.LBA_LOW, (signature >>> 8) & 0xff);
    this.set(TASK.LBA_MID, (signature >>> 16) & 0xff);
    this.set(TASK.LBA_HIGH, signature >>> 24);
    this.error = 1;
    this.status = signature === 0x0101 ? READY : 0;
    this.hasInterrupt = false;
  }

  /** The registers as a frame of Serial ATA, in which the drives' models read them. */
  frame(command: number, device: number): Uint8Array {
    const fis = new Uint8Array(20);
    const at = (register: number): number => this.get(register);
    const before = (register: number): number => this.get(register, true);
    fis.set([0x27, 0x80, command, at(TASK.FEATURES), at(TASK.LBA_LOW), at(TASK.LBA_MID), at(TASK.LBA_HIGH), device]);
    fis.set([before(TASK.LBA_LOW), before(TASK.LBA_MID), before(TASK.LBA_HIGH), before(TASK.FEATURES)], 8);
    fis.set([at(TASK.COUNT), before(TASK.COUNT)], 12);
    if ((device & DEVICE.LBA) === 0) this.#replaceCylinders(fis, device);
    return fis;
  }

  /** Cylinder, head and sector as the block's number; an address that there is none of lies behind every disk's end. */
  #replaceCylinders(fis: Uint8Array, device: number): void {
    const cylinder = fis[5]! | (fis[6]! << 8);
    const head = device & 0xf;
    const sector = fis[4]!;
    const isSound = sector >= 1 && sector <= this.sectors && head < this.heads;
    const block = isSound ? (cylinder * this.heads + head) * this.sectors + sector - 1 : 0x0fff_ffff;
    fis.set([block & 0xff, (block >>> 8) & 0xff, (block >>> 16) & 0xff, (device & 0xf0) | (block >>> 24)], 4);
  }

  save(): StateValue {
    const { status, error, hasInterrupt, multiple, heads, sectors } = this;
    return {
      now: this.#now.slice(),
      before: this.#before.slice(),
      status,
      error,
      hasInterrupt,
      multiple,
      heads,
      sectors,
    };
  }

  /** Throws StateError. */
  restore(reader: StateReader): void {
    this.#now.set(reader.bytesExact("now", this.#now.length));
    this.#before.set(reader.bytesExact("before", this.#before.length));
    this.status = reader.u8("status");
    this.error = reader.u8("error");
    this.hasInterrupt = reader.bool("hasInterrupt");
    this.multiple = reader.int("multiple", 0, 16);
    this.heads = reader.int("heads", 1, 16);
    this.sectors = reader.int("sectors", 1, 255);
    reader.end();
  }

  reset(): void {
    this.showSignature(0);
    this.multiple = 16;
    this.heads = HEADS;
    this.sectors = SECTORS;
    this.status = 0;
    this.error = 0;
  }
}
