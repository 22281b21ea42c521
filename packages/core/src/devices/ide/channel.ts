/**
 * One channel of an IDE controller with up to two drives (ATA/ATAPI-6, chapters 7 and 9; ATA8-APT): task files, PIO, DMA and
 * PACKET protocols, software reset, the interrupt. What a command means is the drives' own business (ata-disk.ts, atapi-cd.ts),
 * which have it in common with AHCI.
 *
 *   command --> drive --> answer at once, or data (transfer.ts) <--> data register or bus master ... --> status, INTRQ
 *
 * One command at a time, for both drives. Left out: queued commands, TRIM, timing, and one drive that answers for the other.
 */
import type { AccessSize } from "../../bus/io.ts";
import type { StateReader } from "../../state/reader.ts";
import { ATA, AtaDisk } from "../ahci/ata-disk.ts";
import { AtapiCd } from "../ahci/atapi-cd.ts";
import { type TrayState, trayChannel } from "../ahci/cd-tray.ts";
import { boundsOf, type SataDiskOptions } from "../ahci/disk-requests.ts";
import type { Drive, DriveReply } from "../ahci/drive.ts";
import type { DiskRequest } from "../ahci/sata-work.ts";
import type { BlockChannel, BlockCompletion, BlockOperation } from "../block-channel.ts";
import type { DeviceContext, IrqLine, StateValue } from "../device.ts";
import { RequestsUnderWay } from "../requests-under-way.ts";
import type { BusMaster } from "./bus-master.ts";
import { CONTROL, DEVICE, PACKET_BYTES, READY, REASON, SECTOR_BYTES, STATUS, TASK } from "./registers.ts";
import { TaskFile } from "./task-file.ts";
import { Transfer, type Way } from "./transfer.ts";

export interface IdeDrive extends Omit<SataDiskOptions, "isParallel"> {
  readonly medium: "disk" | "cd";
}

interface Piece {
  readonly work: Transfer;
  readonly operation: BlockOperation;
  readonly offset: number;
  readonly length: number;
}

interface Unit {
  readonly drive: Drive;
  readonly cd: AtapiCd | undefined;
  readonly disk: IdeDrive & SataDiskOptions;
  readonly isPacket: boolean;
  readonly channel: BlockChannel;
  readonly requests: RequestsUnderWay<Piece>;
}

const DEVICE_RESET = 0x08;
const ABORTED = 0x04;
const PACKET_DMA = 1;
const MULTIPLE: ReadonlySet<number> = new Set([
  ATA.READ_MULTIPLE,
  ATA.READ_MULTIPLE_EXT,
  ATA.WRITE_MULTIPLE,
  ATA.WRITE_MULTIPLE_EXT,
]);

export class IdeChannel {
  readonly #units: readonly (Unit | undefined)[];
  readonly #files: readonly [TaskFile, TaskFile] = [new TaskFile(), new TaskFile()];
  readonly #irq: IrqLine;
  readonly #busMaster: BusMaster;
  #device = 0;
  #control = 0;
  /** Whose command is under way. */
  #owner: 0 | 1 = 0;
  #transfer: Transfer | undefined;
  #intrq = false;

  constructor(
    context: DeviceContext,
    drives: readonly (IdeDrive | undefined)[],
    parts: { readonly irq: IrqLine; readonly busMaster: BusMaster },
  ) {
    this.#irq = parts.irq;
    this.#busMaster = parts.busMaster;
    this.#units = [0, 1].map((index): Unit | undefined => {
      const disk = drives[index];
      if (!disk) return undefined;
      const medium = { ...disk, isParallel: true, isRemovable: disk.medium === "cd" };
      const isPacket = medium.isRemovable;
      const cd = isPacket ? new AtapiCd(medium) : undefined;
      const drive = cd ?? new AtaDisk(medium);
      if (cd) context.onInput(trayChannel(disk.name), (bytes) => cd.handle(bytes));
      const channel = context.openDisk(disk.name, (completion) => this.#completed(index, completion));
      const requests = new RequestsUnderWay<Piece>(channel, (id, piece) => this.#submit(channel, id, piece));
      return { drive, cd, disk: medium, isPacket, channel, requests };
    });
  }

  /** The tray of the drive with this disk. */
  trayOf(disk: string): TrayState | undefined {
    return this.#units.find((unit) => unit?.disk.name === disk)?.cd?.tray;
  }

  get #selected(): 0 | 1 {
    return this.#device & DEVICE.DEV ? 1 : 0;
  }

  readTask(register: number, size: AccessSize): number {
    if (register === TASK.DATA) return this.#readData(size);
    const file = this.#files[this.#selected];
    if (!this.#units[this.#selected]) return this.#units.some(Boolean) ? 0 : 0xff;
    switch (register) {
      case TASK.FEATURES:
        return file.error;
      case TASK.DEVICE:
        return this.#device;
      case TASK.COMMAND:
        file.hasInterrupt = false;
        this.#driveIrq();
        return file.status;
      default:
        return file.get(register, (this.#control & CONTROL.HOB) !== 0);
    }
  }

  writeTask(register: number, size: AccessSize, value: number): void {
    if (register === TASK.DATA) {
      this.#writeData(size, value);
      return;
    }
    this.#control &= ~CONTROL.HOB;
    if (register === TASK.COMMAND) this.#command(value & 0xff);
    else if (register === TASK.DEVICE) {
      this.#device = (value & 0xff) | 0xa0;
      this.#driveIrq();
    } else if (this.#transfer === undefined) for (const file of this.#files) file.write(register, value & 0xff);
  }

  /** The status, which acknowledges nothing. */
  readAlternateStatus(): number {
    if (!this.#units[this.#selected]) return this.#units.some(Boolean) ? 0 : 0xff;
    return this.#files[this.#selected].status;
  }

  writeControl(value: number): void {
    const wasReset = (this.#control & CONTROL.SRST) !== 0;
    this.#control = value & (CONTROL.NIEN | CONTROL.SRST | CONTROL.HOB);
    const isReset = (this.#control & CONTROL.SRST) !== 0;
    if (!wasReset && isReset) {
      this.#cancel();
      for (const [i, file] of this.#files.entries()) if (this.#units[i]) file.status = STATUS.BSY;
    }
    if (wasReset && !isReset) {
      this.#device = 0;
      for (const [i, unit] of this.#units.entries()) {
        unit?.drive.reset("software");
        if (unit) this.#files[i]!.showSignature(unit.drive.signature);
      }
    }
    this.#driveIrq();
  }

  /** The bus master was started. */
  startDma(): void {
    if (this.#transfer?.isDma && this.#transfer.phase === "host") this.#runDma(this.#transfer);
  }

  reset(): void {
    this.#transfer = undefined;
    for (const [i, file] of this.#files.entries()) {
      const unit = this.#units[i];
      unit?.requests.abandon();
      unit?.drive.reset("power");
      file.reset();
      if (unit) file.showSignature(unit.drive.signature);
    }
    this.#device = 0;
    this.#control = 0;
    this.#owner = 0;
    this.#intrq = false;
    this.#irq.set(false);
  }

  resume(): void {
    for (const unit of this.#units) unit?.requests.resume();
    this.#pump();
  }

  save(): StateValue {
    return {
      device: this.#device,
      control: this.#control,
      owner: this.#owner,
      intrq: this.#intrq,
      files: this.#files.map((file) => file.save()),
      drives: { 0: this.#units[0]?.drive.save() ?? null, 1: this.#units[1]?.drive.save() ?? null },
      transfer: this.#transfer?.save() ?? null,
      requests: {
        0: this.#units[0]?.requests.save(() => ({})) ?? null,
        1: this.#units[1]?.requests.save(() => ({})) ?? null,
      },
    };
  }

  /** Throws StateError; `reset` and the discs of before then make it whole. */
  restore(reader: StateReader): void {
    this.#device = reader.u8("device");
    this.#control = reader.u8("control") & (CONTROL.NIEN | CONTROL.SRST | CONTROL.HOB);
    this.#owner = reader.int("owner", 0, 1) === 1 ? 1 : 0;
    this.#intrq = reader.bool("intrq");
    for (const [i, file] of reader.arrayExact("files", 2).entries()) this.#files[i]!.restore(file);
    const owner = this.#units[this.#owner];
    const [drives, requests] = [reader.object("drives"), reader.object("requests")];
    for (const [i, unit] of this.#units.entries()) {
      if (!unit) {
        if (drives.part(`${i}`) !== null || requests.part(`${i}`) !== null)
          throw reader.invalid("drives", "has one that there is none of");
        continue;
      }
      unit.drive.restore(drives.object(`${i}`));
      if (unit === owner && reader.part("transfer") !== null)
        this.#transfer = Transfer.restore(reader.object("transfer"), boundsOf(unit.disk));
      const saved = requests.object(`${i}`);
      unit.requests.restore(saved, (piece, operation) => this.#restorePiece(piece, operation, unit === owner));
      saved.end();
    }
    if (!owner && reader.part("transfer") !== null)
      throw reader.invalid("transfer", "is of a drive that there is none of");
    drives.end();
    requests.end();
    reader.end();
    if ((this.#transfer?.underWay ?? 0) > 1) throw reader.invalid("requests", "are more than one at a time");
    this.#irq.set(this.#intrq);
  }

  /** What puts back the discs that the drives have now. */
  keepDiscs(): () => void {
    const putDiscsBack = this.#units.map((unit) => unit?.cd?.keepDisc());
    return () => {
      for (const putBack of putDiscsBack) putBack?.();
    };
  }

  #restorePiece(reader: StateReader, operation: BlockOperation, isOwners: boolean): Piece {
    const piece = isOwners && this.#transfer ? this.#nextPiece(this.#transfer) : undefined;
    if (!piece || piece.operation !== operation) throw reader.invalid("operation", "is not the command's");
    return piece;
  }

  #command(code: number): void {
    const index = this.#selected;
    const unit = this.#units[index];
    const file = this.#files[index];
    if (!unit || (this.#control & CONTROL.SRST) !== 0) return;
    if (code === DEVICE_RESET && unit.isPacket) {
      this.#cancel();
      unit.drive.reset("software");
      file.showSignature(unit.drive.signature);
      this.#driveIrq();
      return;
    }
    if (this.#transfer) return;
    this.#owner = index;
    file.hasInterrupt = false;
    file.error = 0;
    this.#driveIrq();
    if (code === ATA.PACKET && unit.isPacket) {
      this.#takePacket(file);
      return;
    }
    if (MULTIPLE.has(code) && file.multiple === 0) {
      this.#fail(ABORTED);
      return;
    }
    const fis = file.frame(code, this.#device);
    const reply = unit.drive.command({ fis, slot: 0, packet: () => undefined, data: () => undefined });
    if (reply.kind === "done" && code === ATA.SET_MULTIPLE_MODE) file.multiple = fis[12]!;
    if (reply.kind === "done" && code === ATA.INITIALIZE_DEVICE_PARAMETERS) {
      file.heads = (this.#device & 0xf) + 1;
      file.sectors = Math.max(1, fis[12]!);
    }
    const isIdentify = code === ATA.IDENTIFY_DEVICE || code === ATA.READ_SECTORS;
    if (unit.isPacket && isIdentify) {
      // It tells by its signature that it is another kind of drive (9.12).
      file.showSignature(unit.drive.signature);
    }
    const blockBytes = SECTOR_BYTES * (MULTIPLE.has(code) ? file.multiple : 1);
    this.#answer(unit, reply, { isPacket: false, isDma: false, blockBytes });
  }

  #takePacket(file: TaskFile): void {
    const limit = (file.get(TASK.LBA_MID) | (file.get(TASK.LBA_HIGH) << 8)) & ~1;
    const transfer = new Transfer("command", { bytes: new Uint8Array(PACKET_BYTES), blockBytes: limit || 0xfffe });
    transfer.blockEnd = PACKET_BYTES;
    this.#transfer = transfer;
    file.set(TASK.COUNT, REASON.COMMAND);
    file.status = READY | STATUS.DRQ;
  }

  #runPacket({ buffer, blockBytes }: Transfer): void {
    const unit = this.#units[this.#owner]!;
    const file = this.#files[this.#owner];
    const packet = new Uint8Array(16);
    packet.set(buffer);
    const isDma = (file.get(TASK.FEATURES) & PACKET_DMA) !== 0;
    const fis = file.frame(ATA.PACKET, this.#device | DEVICE.LBA);
    this.#transfer = undefined;
    const reply = unit.drive.command({ fis, slot: 0, packet: () => packet, data: () => undefined });
    this.#answer(unit, reply, { isPacket: true, isDma, blockBytes });
  }

  #answer(
    unit: Unit,
    reply: DriveReply,
    how: { readonly isPacket: boolean; readonly isDma: boolean; readonly blockBytes: number },
  ): void {
    const file = this.#files[this.#owner];
    const { isPacket, isDma, blockBytes } = how;
    const packetWay: Way = isDma ? "packet-dma" : "packet-pio";
    switch (reply.kind) {
      case "work": {
        const { request } = reply;
        const way =
          request.operation === "flush" ? "none" : reply.transfer === "packet" ? packetWay : wayOf(reply.transfer);
        this.#begin(way, request, blockBytes);
        return;
      }
      case "data": {
        const bytes = reply.bytes.slice();
        const transfer = new Transfer(isPacket ? packetWay : "pio", { bytes, blockBytes });
        this.#transfer = transfer;
        this.#offer(transfer);
        return;
      }
      case "done":
        if (reply.count !== undefined) file.set(TASK.COUNT, reply.count);
        this.#end(isPacket);
        return;
      case "signature":
        for (const [i, other] of this.#units.entries()) if (other) this.#files[i]!.showSignature(other.drive.signature);
        this.#device &= ~DEVICE.DEV;
        this.#raise();
        return;
      case "error":
        this.#fail(reply.error, isPacket || unit.isPacket);
        return;
    }
  }

  #begin(way: Way, request: DiskRequest, blockBytes: number): void {
    const transfer = new Transfer(way, { request, blockBytes });
    this.#transfer = transfer;
    if (way === "none") transfer.phase = "flushing";
    this.#next(transfer, true);
  }

  /** The next part of the disk, a flush, or the end. The first block that the host gives needs no interrupt. */
  #next(transfer: Transfer, isFirst = false): void {
    const file = this.#files[this.#owner];
    file.status = STATUS.BSY;
    if (transfer.left > 0) {
      transfer.buffer = new Uint8Array(transfer.nextBytes);
      transfer.offset += transfer.buffer.length;
      transfer.left -= transfer.buffer.length;
      transfer.at = 0;
      transfer.blockEnd = 0;
      transfer.phase = transfer.isWrite ? "host" : "reading";
      if (transfer.isWrite) {
        this.#offer(transfer, isFirst);
        return;
      }
    } else if (transfer.owesFlush) {
      transfer.phase = "flushing";
      transfer.buffer = new Uint8Array(0);
      transfer.at = 0;
      transfer.blockEnd = 0;
    } else {
      this.#transfer = undefined;
      // The last block that a driver takes by PIO ends the command without another word.
      if (transfer.way === "pio" && !transfer.isWrite) file.status = READY;
      else this.#end(transfer.isPacket);
      return;
    }
    this.#pump();
  }

  /** The buffer is the host's: a block of it, or all by the bus master. */
  #offer(transfer: Transfer, isSilent = false): void {
    const file = this.#files[this.#owner];
    transfer.phase = "host";
    if (transfer.isDma) {
      file.status = STATUS.BSY;
      this.#runDma(transfer);
      return;
    }
    transfer.blockEnd = Math.min(transfer.at + transfer.blockBytes, transfer.buffer.length);
    file.status = READY | STATUS.DRQ;
    if (transfer.isPacket) {
      const length = transfer.blockEnd - transfer.at;
      file.set(TASK.COUNT, REASON.TO_HOST);
      file.set(TASK.LBA_MID, length & 0xff);
      file.set(TASK.LBA_HIGH, length >>> 8);
    }
    if (!isSilent) this.#raise();
  }

  #runDma(transfer: Transfer): void {
    if (!this.#busMaster.isActive) return;
    if (!this.#busMaster.transfer(transfer.buffer, !transfer.isWrite)) {
      this.#busMaster.failed();
      this.#fail(ABORTED, transfer.isPacket);
      return;
    }
    transfer.at = transfer.buffer.length;
    transfer.blockEnd = transfer.at;
    this.#bufferDone(transfer);
  }

  #bufferDone(transfer: Transfer): void {
    if (!transfer.isWrite) {
      this.#next(transfer);
      return;
    }
    transfer.phase = "writing";
    this.#files[this.#owner].status = STATUS.BSY;
    this.#pump();
  }

  #isAtData(transfer: Transfer | undefined): transfer is Transfer {
    return transfer !== undefined && transfer.phase === "host" && !transfer.isDma && this.#owner === this.#selected;
  }

  #readData(size: AccessSize): number {
    const transfer = this.#transfer;
    if (!this.#isAtData(transfer) || transfer.isWrite || transfer.way === "command") return 2 ** (8 * size) - 1;
    let value = 0;
    for (let i = 0; i < size && transfer.at < transfer.blockEnd; i++)
      value |= transfer.buffer[transfer.at++]! << (8 * i);
    if (transfer.at === transfer.blockEnd) this.#blockDone(transfer);
    return value >>> 0;
  }

  #writeData(size: AccessSize, value: number): void {
    const transfer = this.#transfer;
    if (!this.#isAtData(transfer) || !(transfer.isWrite || transfer.way === "command")) return;
    for (let i = 0; i < size && transfer.at < transfer.blockEnd; i++)
      transfer.buffer[transfer.at++] = value >>> (8 * i);
    if (transfer.at < transfer.blockEnd) return;
    if (transfer.way === "command") this.#runPacket(transfer);
    else this.#blockDone(transfer);
  }

  #blockDone(transfer: Transfer): void {
    if (transfer.at < transfer.buffer.length) this.#offer(transfer);
    else this.#bufferDone(transfer);
  }

  #nextPiece(transfer: Transfer): Piece | undefined {
    const { phase, buffer, offset } = transfer;
    if (phase === "host") return undefined;
    if (phase === "flushing") return { work: transfer, operation: "flush", offset: 0, length: 0 };
    const operation = phase === "reading" ? "read" : "write";
    return { work: transfer, operation, offset: offset - buffer.length, length: buffer.length };
  }

  /** Sends the disk what the command waits for. */
  #pump(): void {
    const transfer = this.#transfer;
    const requests = this.#units[this.#owner]?.requests;
    if (!transfer || !requests || transfer.underWay > 0) return;
    requests.resume();
    const piece = this.#nextPiece(transfer);
    if (piece && !requests.hasOrphans && transfer.underWay === 0) requests.add(piece);
  }

  #submit(channel: BlockChannel, id: number, { work, operation, offset, length }: Piece): boolean {
    if (operation === "write") channel.writeBuffer(length).set(work.buffer);
    channel.submit({ id, operation, offset, length });
    return true;
  }

  #completed(index: number, { id, isOk, bytes }: BlockCompletion): void {
    const { requests, drive } = this.#units[index]!;
    requests.resume();
    const piece = requests.complete(id);
    if (!piece) {
      this.#pump();
      return;
    }
    const { work: transfer, operation } = piece;
    if (!isOk || (operation === "read" && bytes.length !== transfer.buffer.length)) {
      const { isWrite, isPacket } = transfer;
      this.#fail(drive.failed({ slot: 0, transfer: isPacket ? "packet" : "dma", isWrite }), isPacket);
      return;
    }
    if (operation === "read") {
      transfer.buffer.set(bytes);
      this.#offer(transfer);
      return;
    }
    if (operation === "flush") transfer.owesFlush = false;
    this.#next(transfer);
  }

  #end(isPacket: boolean): void {
    const file = this.#files[this.#owner];
    file.status = READY;
    if (isPacket) file.set(TASK.COUNT, REASON.DONE);
    this.#raise();
  }

  #fail(error: number, isPacket = false): void {
    this.#transfer = undefined;
    const file = this.#files[this.#owner];
    file.error = error;
    file.status = READY | STATUS.ERR;
    if (isPacket) file.set(TASK.COUNT, REASON.DONE);
    this.#raise();
  }

  #raise(): void {
    this.#files[this.#owner].hasInterrupt = true;
    this.#driveIrq();
  }

  #driveIrq(): void {
    const level = this.#files[this.#selected].hasInterrupt && (this.#control & CONTROL.NIEN) === 0;
    if (level && !this.#intrq) this.#busMaster.interrupted();
    this.#intrq = level;
    this.#irq.set(level);
  }

  /** The command is forgotten, though what is under way may still reach the disk. */
  #cancel(): void {
    for (const unit of this.#units) {
      unit?.requests.resume();
      unit?.requests.abandon();
    }
    this.#transfer = undefined;
  }
}

function wayOf(transfer: string): Way {
  return transfer === "pio" ? "pio" : "dma";
}
