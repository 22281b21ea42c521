/**
 * ATA disk (ATA8-ACS, chapter 7): reads and writes by DMA, PIO and queued (NCQ), flushes, TRIM, the write cache's mode, and
 * the log that tells which queued command failed. Logical sectors of 512 bytes in physical ones of 4096.
 *
 * Left out: SMART, security, power management beyond saying that it is active, host protected area, streaming, CHS addresses.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { SataDiskOptions } from "./disk-requests.ts";
import { type CommandFrame, type Drive, type DriveReply, putText, sealIdentity } from "./drive.ts";
import { ATA_ERROR, ATA_STATUS, READY, SLOTS } from "./registers.ts";
import { type ByteRange, type DiskRequest, MAX_TRIM_RANGES, type Transfer } from "./sata-work.ts";

export const ATA = {
  DATA_SET_MANAGEMENT: 0x06,
  RECALIBRATE: 0x10,
  READ_SECTORS: 0x20,
  READ_SECTORS_EXT: 0x24,
  READ_DMA_EXT: 0x25,
  READ_MULTIPLE_EXT: 0x29,
  READ_LOG_EXT: 0x2f,
  WRITE_SECTORS: 0x30,
  WRITE_SECTORS_EXT: 0x34,
  WRITE_DMA_EXT: 0x35,
  WRITE_MULTIPLE_EXT: 0x39,
  WRITE_DMA_FUA_EXT: 0x3d,
  READ_VERIFY: 0x40,
  READ_VERIFY_EXT: 0x42,
  READ_FPDMA_QUEUED: 0x60,
  WRITE_FPDMA_QUEUED: 0x61,
  EXECUTE_DEVICE_DIAGNOSTIC: 0x90,
  INITIALIZE_DEVICE_PARAMETERS: 0x91,
  PACKET: 0xa0,
  IDENTIFY_PACKET_DEVICE: 0xa1,
  READ_MULTIPLE: 0xc4,
  WRITE_MULTIPLE: 0xc5,
  SET_MULTIPLE_MODE: 0xc6,
  READ_DMA: 0xc8,
  WRITE_DMA: 0xca,
  STANDBY_IMMEDIATE: 0xe0,
  IDLE_IMMEDIATE: 0xe1,
  STANDBY: 0xe2,
  IDLE: 0xe3,
  CHECK_POWER_MODE: 0xe5,
  FLUSH_CACHE: 0xe7,
  FLUSH_CACHE_EXT: 0xea,
  IDENTIFY_DEVICE: 0xec,
  SET_FEATURES: 0xef,
} as const;

const SET_FEATURE = {
  WRITE_CACHE: 0x02,
  TRANSFER_MODE: 0x03,
  NO_LOOK_AHEAD: 0x55,
  NO_WRITE_CACHE: 0x82,
  LOOK_AHEAD: 0xaa,
};
const LOG = { DIRECTORY: 0x00, QUEUED_ERROR: 0x10 } as const;
const SECTOR_BYTES = 512;
const TRIM = 1;
const MAX_MULTIPLE = 16;
const ACTIVE = 0xff;

type Kind = readonly [operation: "read" | "write", transfer: Transfer, is48: boolean, isDurable?: boolean];
const TRANSFER_COMMANDS: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [ATA.READ_SECTORS, ["read", "pio", false]],
  [ATA.READ_SECTORS_EXT, ["read", "pio", true]],
  [ATA.READ_MULTIPLE, ["read", "pio", false]],
  [ATA.READ_MULTIPLE_EXT, ["read", "pio", true]],
  [ATA.READ_DMA, ["read", "dma", false]],
  [ATA.READ_DMA_EXT, ["read", "dma", true]],
  [ATA.WRITE_SECTORS, ["write", "pio", false]],
  [ATA.WRITE_SECTORS_EXT, ["write", "pio", true]],
  [ATA.WRITE_MULTIPLE, ["write", "pio", false]],
  [ATA.WRITE_MULTIPLE_EXT, ["write", "pio", true]],
  [ATA.WRITE_DMA, ["write", "dma", false]],
  [ATA.WRITE_DMA_EXT, ["write", "dma", true]],
  [ATA.WRITE_DMA_FUA_EXT, ["write", "dma", true, true]],
]);

const DONE: DriveReply = { kind: "done" };
const ABORTED: DriveReply = { kind: "error", error: ATA_ERROR.ABRT };
const NO_SUCH_SECTOR: DriveReply = { kind: "error", error: ATA_ERROR.IDNF };

export class AtaDisk implements Drive {
  readonly signature = 0x0000_0101;
  readonly #disk: SataDiskOptions;
  #hasWriteCache = true;
  #multiple: number = MAX_MULTIPLE;
  /** The queued command that failed; the drive refuses others until it was asked which. */
  #failedTag: number | undefined;
  #failedError = 0;

  constructor(disk: SataDiskOptions) {
    this.#disk = disk;
  }

  reset(kind: "power" | "link" | "software"): void {
    this.#failedTag = undefined;
    this.#failedError = 0;
    if (kind !== "power") return;
    this.#hasWriteCache = true;
    this.#multiple = MAX_MULTIPLE;
  }

  command(frame: CommandFrame): DriveReply {
    const { fis } = frame;
    const command = fis[2]!;
    const isQueued = command === ATA.READ_FPDMA_QUEUED || command === ATA.WRITE_FPDMA_QUEUED;
    if (isQueued && this.#disk.isParallel) return ABORTED;
    if (isQueued) return this.#queued(frame, command === ATA.WRITE_FPDMA_QUEUED);
    const transfer = TRANSFER_COMMANDS.get(command);
    if (transfer) return this.#transfer(fis, transfer);
    switch (command) {
      case ATA.IDENTIFY_DEVICE:
        return { kind: "data", bytes: this.#identity(), isPacket: false };
      case ATA.FLUSH_CACHE:
      case ATA.FLUSH_CACHE_EXT:
        return { kind: "work", transfer: "dma", request: { operation: "flush", ranges: [NO_RANGE], isDurable: false } };
      case ATA.DATA_SET_MANAGEMENT:
        return this.#dataSetManagement(frame);
      case ATA.SET_FEATURES:
        return this.#setFeatures(fis[3]!);
      case ATA.READ_LOG_EXT:
        return this.#readLog(fis);
      case ATA.READ_VERIFY:
      case ATA.READ_VERIFY_EXT:
        return rangeOf(fis, command === ATA.READ_VERIFY_EXT, this.#disk) ? DONE : NO_SUCH_SECTOR;
      case ATA.SET_MULTIPLE_MODE:
        return this.#setMultiple(fis[12]!);
      case ATA.CHECK_POWER_MODE:
        return { kind: "done", count: ACTIVE };
      case ATA.EXECUTE_DEVICE_DIAGNOSTIC:
        return { kind: "signature" };
      case ATA.RECALIBRATE:
      case ATA.INITIALIZE_DEVICE_PARAMETERS:
      case ATA.STANDBY_IMMEDIATE:
      case ATA.IDLE_IMMEDIATE:
      case ATA.STANDBY:
      case ATA.IDLE:
        return DONE;
      default:
        return ABORTED;
    }
  }

  failed({ slot, transfer, isWrite }: { slot: number; transfer: Transfer; isWrite: boolean }): number {
    const error = isWrite ? ATA_ERROR.ABRT : ATA_ERROR.UNC;
    if (transfer === "queued") this.#queuedError(slot, error);
    return error;
  }

  save(): StateValue {
    return {
      hasWriteCache: this.#hasWriteCache,
      multiple: this.#multiple,
      failedTag: this.#failedTag ?? null,
      failedError: this.#failedError,
    };
  }

  restore(reader: StateReader): void {
    this.#hasWriteCache = reader.bool("hasWriteCache");
    this.#multiple = reader.int("multiple", 0, MAX_MULTIPLE);
    this.#failedTag = reader.part("failedTag") === null ? undefined : reader.int("failedTag", 0, SLOTS - 1);
    this.#failedError = reader.u8("failedError");
    reader.end();
  }

  #transfer(fis: Uint8Array, [operation, transfer, is48, isFua]: Kind): DriveReply {
    if (operation === "write" && this.#disk.isReadOnly) return ABORTED;
    const range = rangeOf(fis, is48, this.#disk);
    if (!range) return NO_SUCH_SECTOR;
    return { kind: "work", transfer, request: this.#request(operation, range, isFua ?? false) };
  }

  #request(operation: "read" | "write", range: ByteRange, isFua: boolean): DiskRequest {
    const isDurable = operation === "write" && (isFua || !this.#hasWriteCache);
    return { operation, ranges: [range], isDurable };
  }

  /** The count is in the features, the tag in the count (ATA8-ACS, 7.30 and 7.69). */
  #queued({ fis, slot }: CommandFrame, isWrite: boolean): DriveReply {
    const count = fis[3]! | (fis[11]! << 8) || 0x1_0000;
    const range = onDisk(lba48(fis), count, this.#disk);
    const isRefused = fis[12]! >> 3 !== slot || this.#failedTag !== undefined || (isWrite && this.#disk.isReadOnly);
    if (isRefused || !range) {
      const error = isRefused ? ATA_ERROR.ABRT : ATA_ERROR.IDNF;
      if (this.#failedTag === undefined) this.#queuedError(slot, error);
      return { kind: "error", error };
    }
    const isFua = (fis[7]! & 0x80) !== 0;
    return { kind: "work", transfer: "queued", request: this.#request(isWrite ? "write" : "read", range, isFua) };
  }

  #queuedError(tag: number, error: number): void {
    this.#failedTag = tag;
    this.#failedError = error;
  }

  #dataSetManagement(frame: CommandFrame): DriveReply {
    const blocks = frame.fis[12]! | (frame.fis[13]! << 8);
    if ((frame.fis[3]! & TRIM) === 0 || blocks !== 1 || this.#disk.isReadOnly) return ABORTED;
    const bytes = frame.data(SECTOR_BYTES);
    if (!bytes) return ABORTED;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const ranges: ByteRange[] = [];
    for (let i = 0; i < MAX_TRIM_RANGES; i++) {
      const sector = view.getUint32(8 * i, true) + view.getUint16(8 * i + 4, true) * 2 ** 32;
      const count = view.getUint16(8 * i + 6, true);
      if (count === 0) continue;
      const range = onDisk(sector, count, this.#disk);
      if (!range) return NO_SUCH_SECTOR;
      ranges.push(range);
    }
    if (ranges.length === 0) return DONE;
    return {
      kind: "work",
      transfer: "dma",
      request: { operation: "discard", ranges, isDurable: !this.#hasWriteCache },
    };
  }

  #setFeatures(feature: number): DriveReply {
    switch (feature) {
      case SET_FEATURE.WRITE_CACHE:
        this.#hasWriteCache = true;
        return DONE;
      case SET_FEATURE.NO_WRITE_CACHE:
        this.#hasWriteCache = false;
        // What was written before has to be durable too.
        return { kind: "work", transfer: "dma", request: { operation: "flush", ranges: [NO_RANGE], isDurable: false } };
      case SET_FEATURE.TRANSFER_MODE:
      case SET_FEATURE.LOOK_AHEAD:
      case SET_FEATURE.NO_LOOK_AHEAD:
        return DONE;
      default:
        return ABORTED;
    }
  }

  #setMultiple(sectors: number): DriveReply {
    if (sectors > MAX_MULTIPLE || (sectors & (sectors - 1)) !== 0) return ABORTED;
    this.#multiple = sectors;
    return DONE;
  }

  #readLog(fis: Uint8Array): DriveReply {
    const bytes = new Uint8Array(SECTOR_BYTES);
    const pages = fis[12]! | (fis[13]! << 8);
    if (pages !== 1 || fis[5] !== 0 || fis[9] !== 0) return ABORTED;
    if (fis[4] === LOG.DIRECTORY) {
      bytes[0] = 1;
      bytes[2 * LOG.QUEUED_ERROR] = 1;
    } else if (fis[4] === LOG.QUEUED_ERROR) {
      // Without a queued command that failed the log says so (NQ).
      bytes[0] = this.#failedTag ?? 0x80;
      bytes[2] = READY | ATA_STATUS.ERR;
      bytes[3] = this.#failedError;
      bytes[511] = -bytes.reduce((sum, byte) => sum + byte, 0);
      this.#failedTag = undefined;
      this.#failedError = 0;
    } else return ABORTED;
    return { kind: "data", bytes, isPacket: false };
  }

  /** IDENTIFY DEVICE (7.16), by words. */
  #identity(): Uint8Array {
    const view = new DataView(new ArrayBuffer(SECTOR_BYTES));
    const sectors = this.#disk.sizeBytes / SECTOR_BYTES;
    const put = (word: number, ...values: number[]): void => {
      for (const [i, value] of values.entries()) view.setUint16(2 * (word + i), value, true);
    };
    put(0, 0x0040, Math.min(16_383, Math.max(1, Math.floor(sectors / 1008))), 0, 16, 0, 0, 63);
    putText(view, 10, 10, this.#disk.name);
    putText(view, 23, 4, "1.0");
    putText(view, 27, 20, "TWINMETAL HARDDISK");
    put(47, 0x8000 | MAX_MULTIPLE);
    put(49, 0x0f00, 0x4000);
    put(53, 0x0006);
    put(59, this.#multiple === 0 ? 0 : 0x0100 | this.#multiple);
    view.setUint32(2 * 60, Math.min(sectors, 0x0fff_ffff), true);
    put(63, 0x0007, 0x0003, 120, 120, 120, 120);
    if (!this.#disk.isParallel) put(75, SLOTS - 1, 0x0106);
    put(80, 0x01f0);
    const cache = this.#hasWriteCache ? 0x20 : 0;
    put(82, 0x0068, 0x7400, 0x4060, 0x0048 | cache, 0x3400, 0x4060, 0x407f);
    view.setBigUint64(2 * 100, BigInt(sectors), true);
    if (this.#disk.isParallel) put(93, 0x6003);
    const hasTrim = !this.#disk.isReadOnly && !this.#disk.isParallel;
    put(105, hasTrim ? 1 : 0, 0x6003);
    put(169, hasTrim ? TRIM : 0);
    put(217, 0x0001);
    if (!this.#disk.isParallel) put(222, 0x1020);
    return sealIdentity(view);
  }
}

const NO_RANGE: ByteRange = { offset: 0, length: 0 };

function lba48(fis: Uint8Array): number {
  const low = fis[4]! + fis[5]! * 2 ** 8 + fis[6]! * 2 ** 16;
  return low + fis[8]! * 2 ** 24 + fis[9]! * 2 ** 32 + fis[10]! * 2 ** 40;
}

function rangeOf(fis: Uint8Array, is48: boolean, disk: SataDiskOptions): ByteRange | undefined {
  if (is48) return onDisk(lba48(fis), fis[12]! | (fis[13]! << 8) || 0x1_0000, disk);
  const lba = fis[4]! + fis[5]! * 2 ** 8 + fis[6]! * 2 ** 16 + (fis[7]! & 0xf) * 2 ** 24;
  return onDisk(lba, fis[12]! || 0x100, disk);
}

function onDisk(lba: number, sectors: number, { sizeBytes }: SataDiskOptions): ByteRange | undefined {
  if (lba + sectors > sizeBytes / SECTOR_BYTES) return undefined;
  return { offset: lba * SECTOR_BYTES, length: sectors * SECTOR_BYTES };
}
