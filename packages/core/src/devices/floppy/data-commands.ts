/**
 * The commands of a floppy controller that look at a disk (82077AA data sheet, 5.1): READ DATA, READ TRACK, WRITE DATA, FORMAT TRACK
 * and READ ID, and the transfer that one of them has under way.
 */
import type { BlockCompletion } from "../block-channel.ts";
import type { DmaChannel, DmaWay } from "../dma-8237.ts";
import type { FloppyDrive } from "./drive.ts";
import { CYLINDERS, type FloppyFormat, SECTOR_BYTES, SECTOR_SIZE_CODE } from "./medium.ts";
import { COMMAND, DOR, FLAG, ST0, ST1, ST2 } from "./registers.ts";
import { FloppyTransfer, type SectorId, type TransferKind } from "./transfer.ts";

const ROTATION_NS = 200_000_000;
const ID_BYTES = 4;

interface Errors {
  readonly st1: number;
  readonly st2?: number;
}

/** The controller's. */
export interface DataCommandParts {
  readonly drives: readonly FloppyDrive[];
  readonly dma: DmaChannel;
  readonly nowNs: () => number;
  /** Data goes by DMA. */
  readonly isByDma: () => boolean;
  /** Of the data rate register. */
  readonly rate: () => number;
  readonly seeksByItself: () => boolean;
  /** A command has ended: ST0 to ST2, C, H, R and N. */
  readonly ended: (result: readonly number[]) => void;
}

export class DataCommands {
  /** Under way. */
  transfer: FloppyTransfer | undefined;
  readonly #parts: DataCommandParts;

  constructor(parts: DataCommandParts) {
    this.#parts = parts;
  }

  /** Precondition: nothing is under way. */
  execute(command: readonly number[]): void {
    const [first = 0, second = 0] = command;
    const drive = this.#parts.drives[second & DOR.SELECT];
    const code = first & 0x1f;
    if (code === COMMAND.READ_ID) this.#readId(first, second, drive);
    else if (code === COMMAND.FORMAT_TRACK) this.#format(command, drive);
    else this.#move(command, drive);
  }

  /** Of whatever sector comes by. */
  #readId(first: number, second: number, drive: FloppyDrive | undefined): void {
    const format = this.#formatUnder(first, drive);
    const head = (second >> 2) & 1;
    if (!format || !drive) {
      this.#fail(second, { st1: ST1.MISSING_ADDRESS | ST1.NO_DATA }, [0, head, 0, 0]);
      return;
    }
    const turned = (this.#parts.nowNs() % ROTATION_NS) / ROTATION_NS;
    this.#end(second & 7, { st1: 0 }, [
      drive.cylinder,
      head,
      1 + Math.floor(turned * format.sectors),
      SECTOR_SIZE_CODE,
    ]);
  }

  /** READ DATA, WRITE DATA and READ TRACK. */
  #move(command: readonly number[], drive: FloppyDrive | undefined): void {
    const [first = 0, second = 0, cylinder = 0, head = 0, record = 0, size = 0, endOfTrack = 0] = command;
    const code = first & 0x1f;
    if (this.#parts.seeksByItself()) drive?.seek(cylinder);
    const kind: TransferKind = code === COMMAND.WRITE_DATA ? "write" : "read";
    const sector = code === COMMAND.READ_TRACK ? 1 : record;
    const found = this.#find(first, second, drive, { cylinder, head, sector }, size);
    if ("st1" in found) {
      this.#fail(second, found, [cylinder, head, record, size]);
      return;
    }
    if (kind === "write" && drive?.options.isReadOnly) {
      this.#fail(second, { st1: ST1.NOT_WRITABLE }, [cylinder, head, record, size]);
      return;
    }
    const last = endOfTrack >= sector && endOfTrack <= found.sectors ? endOfTrack : found.sectors;
    const isMultiTrack = (first & FLAG.MT) !== 0;
    const most = (last - sector + 1 + (isMultiTrack && head === 0 ? last : 0)) * SECTOR_BYTES;
    this.#start(
      {
        kind,
        drive: second & DOR.SELECT,
        first: { cylinder, head, sector },
        last,
        trackSectors: found.sectors,
        isMultiTrack,
      },
      most,
    );
  }

  #start(plan: Omit<FloppyTransfer["plan"], "count" | "isTerminal">, most: number): void {
    const isWrite = plan.kind === "write";
    const room = this.#room(isWrite ? "from-memory" : "to-memory");
    const { cylinder, head, sector } = plan.first;
    if (room === 0) {
      this.#fail(plan.drive | (head << 2), { st1: ST1.OVERRUN }, [cylinder, head, sector, SECTOR_SIZE_CODE]);
      return;
    }
    const bytes = Math.min(room, most);
    const count = Math.ceil(bytes / SECTOR_BYTES);
    const transfer = new FloppyTransfer({ ...plan, count, isTerminal: room <= most });
    // The rest of a sector becomes zeros.
    if (isWrite) this.#parts.dma.fromMemory(transfer.buffer.subarray(0, bytes));
    this.transfer = transfer;
    this.pump();
  }

  #format(
    [first = 0, second = 0, size = 0, count = 0, , filler = 0]: readonly number[],
    drive: FloppyDrive | undefined,
  ): void {
    const head = (second >> 2) & 1;
    const cylinder = drive?.cylinder ?? 0;
    const id = [cylinder, head, count, size];
    const found = this.#find(first, second, drive, { cylinder, head, sector: 1 }, size);
    if ("st1" in found) {
      this.#fail(second, found, id);
      return;
    }
    if (drive?.options.isReadOnly) {
      this.#fail(second, { st1: ST1.NOT_WRITABLE }, id);
      return;
    }
    const ids = new Uint8Array(ID_BYTES * count);
    const isGiven = ids.length > 0 && this.#room("from-memory") >= ids.length;
    if (!isGiven) {
      this.#fail(second, { st1: ST1.OVERRUN }, id);
      return;
    }
    const isTerminal = this.#parts.dma.fromMemory(ids);
    const track = { cylinder, head };
    if (count !== found.sectors || !isWholeTrack(ids, track)) {
      this.#fail(second, { st1: ST1.NO_DATA }, id);
      return;
    }
    const plan = { first: { ...track, sector: 1 }, last: count, trackSectors: count, isMultiTrack: false, count };
    const transfer = new FloppyTransfer({ kind: "format", drive: second & DOR.SELECT, ...plan, isTerminal });
    transfer.buffer.fill(filler);
    this.transfer = transfer;
    this.pump();
  }

  #room(way: DmaWay): number {
    return this.#parts.isByDma() ? this.#parts.dma.room(way) : 0;
  }

  /** What a track holds that can be read as it is asked for. */
  #formatUnder(first: number, drive: FloppyDrive | undefined): FloppyFormat | undefined {
    const format = drive?.format;
    const isReadable = format?.rate === this.#parts.rate() && (first & FLAG.MFM) !== 0;
    return isReadable && drive!.cylinder < CYLINDERS ? format : undefined;
  }

  #find(
    first: number,
    second: number,
    drive: FloppyDrive | undefined,
    { cylinder, head, sector }: SectorId,
    size: number,
  ): FloppyFormat | Errors {
    const format = this.#formatUnder(first, drive);
    if (!format) return { st1: ST1.MISSING_ADDRESS | ST1.NO_DATA };
    if (cylinder !== drive!.cylinder) return { st1: ST1.NO_DATA, st2: ST2.WRONG_CYLINDER };
    const isThere =
      head === ((second >> 2) & 1) && size === SECTOR_SIZE_CODE && sector >= 1 && sector <= format.sectors;
    return isThere ? format : { st1: ST1.NO_DATA };
  }

  /** Sends the disk what the command waits for. */
  pump(): void {
    const transfer = this.transfer;
    if (!transfer) return;
    const { requests } = this.#parts.drives[transfer.plan.drive]!;
    requests.resume();
    const piece = transfer.next;
    if (piece && !requests.hasOrphans && transfer.underWay === 0) requests.add(piece);
  }

  completed(drive: number, { id, isOk, bytes }: BlockCompletion): void {
    const { requests } = this.#parts.drives[drive]!;
    requests.resume();
    const piece = requests.complete(id);
    if (piece) {
      const { work, operation, length } = piece;
      if (!isOk || (operation === "read" && bytes.length !== length)) work.isFailed = true;
      else if (operation === "read") work.part(piece).set(bytes);
      work.sidesDone++;
      if (work.isFailed || !work.next) this.#endTransfer(work);
    }
    this.pump();
  }

  #endTransfer(transfer: FloppyTransfer): void {
    const { kind, drive, first } = transfer.plan;
    const { isFailed, buffer } = transfer;
    this.transfer = undefined;
    const { cylinder, head, sector } = first;
    const where = [cylinder, head, sector, SECTOR_SIZE_CODE];
    const unit = drive | (head << 2);
    if (isFailed) {
      this.#fail(unit, { st1: ST1.DATA_ERROR, st2: ST2.DATA_ERROR }, where);
      return;
    }
    let { isTerminal } = transfer.plan;
    if (kind === "read") {
      const room = this.#room("to-memory");
      if (room === 0) {
        this.#fail(unit, { st1: ST1.OVERRUN }, where);
        return;
      }
      isTerminal = this.#parts.dma.toMemory(buffer.subarray(0, Math.min(room, buffer.length)));
    }
    const following = transfer.following;
    const next = drive | (following[1]! << 2);
    if (isTerminal || kind === "format") this.#end(next & 7, { st1: 0 }, following);
    else this.#fail(next, { st1: ST1.END_OF_CYLINDER }, following);
  }

  #fail(unit: number, errors: Errors, id: readonly number[]): void {
    this.#end(ST0.ABNORMAL | (unit & 7), errors, id);
  }

  #end(st0: number, { st1, st2 = 0 }: Errors, id: readonly number[]): void {
    this.#parts.ended([st0, st1, st2, ...id.map((byte) => byte & 0xff)]);
  }
}

/** Whether these are the identifications of a track's sectors, each of them once. */
function isWholeTrack(ids: Uint8Array, { cylinder, head }: Omit<SectorId, "sector">): boolean {
  const seen = new Set<number>();
  for (let at = 0; at < ids.length; at += ID_BYTES) {
    const sector = ids[at + 2]!;
    if (ids[at] !== cylinder || ids[at + 1] !== head || ids[at + 3] !== SECTOR_SIZE_CODE) return false;
    if (sector < 1 || sector > ids.length / ID_BYTES) return false;
    seen.add(sector);
  }
  return seen.size === ids.length / ID_BYTES;
}
