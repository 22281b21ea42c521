/**
 * ATAPI CD drive (SFF-8020i; MMC-3 for the commands; SPC-2 for sense data): one disc of one data track in blocks of 2048
 * bytes, a tray that opens and closes unless it is locked, by the driver and from outside: cd-tray.ts.
 *
 * Left out: audio, raw sectors, subchannels, writing, speeds, the unit attention of power-on.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { ATA } from "./ata-disk.ts";
import { MAX_DISC_BYTES, parseTrayAction, type TrayState } from "./cd-tray.ts";
import type { SataDiskOptions } from "./disk-requests.ts";
import { type CommandFrame, type Drive, type DriveReply, putText, sealIdentity } from "./drive.ts";
import {
  ADDITIONAL_SENSE,
  capabilitiesPage,
  configuration,
  discInformation,
  inquiry,
  mediaEvent,
  modeData,
  type Sense,
  senseData,
  tableOfContents,
} from "./mmc-data.ts";
import { ATA_ERROR } from "./registers.ts";

const PACKET_COMMAND = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  INQUIRY: 0x12,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  PREVENT_ALLOW: 0x1e,
  READ_CAPACITY: 0x25,
  READ_10: 0x28,
  SEEK_10: 0x2b,
  READ_TOC: 0x43,
  GET_CONFIGURATION: 0x46,
  GET_EVENT_STATUS: 0x4a,
  READ_DISC_INFORMATION: 0x51,
  MODE_SENSE_10: 0x5a,
  READ_12: 0xa8,
} as const;

const DEVICE_RESET = 0x08;
const BLOCK_BYTES = 2048;
const SECTOR_BYTES = 512;
/** Of START STOP UNIT. */
const LOAD_EJECT = 2;
const START = 1;
/** Answered whatever the disc does. */
const ALWAYS: ReadonlySet<number> = new Set([
  PACKET_COMMAND.REQUEST_SENSE,
  PACKET_COMMAND.INQUIRY,
  PACKET_COMMAND.GET_CONFIGURATION,
  PACKET_COMMAND.GET_EVENT_STATUS,
]);
const NEEDS_DISC: ReadonlySet<number> = new Set([
  PACKET_COMMAND.TEST_UNIT_READY,
  PACKET_COMMAND.READ_CAPACITY,
  PACKET_COMMAND.READ_10,
  PACKET_COMMAND.SEEK_10,
  PACKET_COMMAND.READ_TOC,
  PACKET_COMMAND.READ_DISC_INFORMATION,
  PACKET_COMMAND.READ_12,
]);

const DONE: DriveReply = { kind: "done" };
const ABORTED: DriveReply = { kind: "error", error: ATA_ERROR.ABRT };

/** The drive's disc, which changes; 0 bytes: there is none. */
export interface CdMedium extends SataDiskOptions {
  sizeBytes: number;
}

export class AtapiCd implements Drive {
  readonly signature = 0xeb14_0101;
  readonly #disk: CdMedium;
  #isOpen = false;
  #isLocked = false;
  /** The disc came back, and the driver was not told. */
  #hasChanged = false;
  /** What GET EVENT STATUS NOTIFICATION tells next. */
  #event = 0;
  #sense: Sense = ADDITIONAL_SENSE.NONE;

  constructor(disk: CdMedium) {
    this.#disk = disk;
  }

  get tray(): TrayState {
    return { isOpen: this.#isOpen, isLocked: this.#isLocked, hasDisc: this.#disk.sizeBytes > 0 };
  }

  /** Somebody at the drive: bytes of cd-tray.ts. What they do not say well does nothing. */
  handle(bytes: Uint8Array): void {
    const action = parseTrayAction(bytes);
    if (action?.kind === "insert") {
      this.#disk.sizeBytes = action.sizeBytes;
      this.#isOpen = false;
      this.#hasChanged = true;
      this.#event = mediaEvent.NEW_MEDIA;
    } else if (action && this.#isLocked && !action.force) this.#event = mediaEvent.EJECT_REQUEST;
    else if (action) {
      if (!this.#isOpen) this.#event = mediaEvent.REMOVED;
      this.#isOpen = true;
      this.#isLocked = false;
      this.#disk.sizeBytes = 0;
    }
  }

  get #blocks(): number {
    return Math.floor(this.#disk.sizeBytes / BLOCK_BYTES);
  }

  reset(kind: "power" | "link" | "software"): void {
    this.#sense = ADDITIONAL_SENSE.NONE;
    this.#isLocked = false;
    if (kind !== "power") return;
    this.#isOpen = false;
    this.#hasChanged = false;
    this.#event = 0;
  }

  command(frame: CommandFrame): DriveReply {
    switch (frame.fis[2]) {
      case ATA.PACKET: {
        const packet = frame.packet();
        return packet ? this.#packet(packet) : ABORTED;
      }
      case ATA.IDENTIFY_PACKET_DEVICE:
        return { kind: "data", bytes: this.#identity(), isPacket: false };
      case ATA.SET_FEATURES:
        return frame.fis[3] === 0x03 ? DONE : ABORTED;
      case ATA.CHECK_POWER_MODE:
        return { kind: "done", count: 0xff };
      case ATA.EXECUTE_DEVICE_DIAGNOSTIC:
      case DEVICE_RESET:
        return { kind: "signature" };
      case ATA.STANDBY_IMMEDIATE:
      case ATA.IDLE_IMMEDIATE:
        return DONE;
      default:
        return ABORTED;
    }
  }

  failed(): number {
    this.#sense = ADDITIONAL_SENSE.READ_ERROR;
    return this.#sense.key << 4;
  }

  save(): StateValue {
    return {
      sizeBytes: this.#disk.sizeBytes,
      isOpen: this.#isOpen,
      isLocked: this.#isLocked,
      hasChanged: this.#hasChanged,
      event: this.#event,
      sense: { key: this.#sense.key, asc: this.#sense.asc, ascq: this.#sense.ascq },
    };
  }

  /** Changes nothing where it throws. */
  restore(reader: StateReader): void {
    let { sizeBytes } = this.#disk;
    // States of before discs could be changed say none.
    if (reader.has("sizeBytes")) {
      sizeBytes = reader.int("sizeBytes", 0, MAX_DISC_BYTES);
      if (sizeBytes % SECTOR_BYTES !== 0) throw reader.invalid("sizeBytes", "is no multiple of a sector");
    }
    const isOpen = reader.bool("isOpen");
    const isLocked = reader.bool("isLocked");
    const hasChanged = reader.bool("hasChanged");
    const event = reader.int("event", 0, 4);
    const saved = reader.object("sense");
    const sense = { key: saved.int("key", 0, 0xf), asc: saved.u8("asc"), ascq: saved.u8("ascq") };
    saved.end();
    reader.end();
    this.#disk.sizeBytes = sizeBytes;
    this.#isOpen = isOpen;
    this.#isLocked = isLocked;
    this.#hasChanged = hasChanged;
    this.#event = event;
    this.#sense = sense;
  }

  /** What puts back the disc that the drive has now, where a state is refused after the drive took its part: no reset does. */
  keepDisc(): () => void {
    const { sizeBytes } = this.#disk;
    return () => {
      this.#disk.sizeBytes = sizeBytes;
    };
  }

  #packet(packet: Uint8Array): DriveReply {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    const command = packet[0]!;
    if (this.#hasChanged && !ALWAYS.has(command)) {
      this.#hasChanged = false;
      return this.#check(ADDITIONAL_SENSE.MEDIUM_CHANGED);
    }
    const isEmpty = this.#isOpen || this.#disk.sizeBytes === 0;
    if (isEmpty && NEEDS_DISC.has(command))
      return this.#check(this.#isOpen ? ADDITIONAL_SENSE.NO_MEDIUM : ADDITIONAL_SENSE.EMPTY);
    if (command !== PACKET_COMMAND.REQUEST_SENSE) this.#sense = ADDITIONAL_SENSE.NONE;
    switch (command) {
      case PACKET_COMMAND.TEST_UNIT_READY:
        return DONE;
      case PACKET_COMMAND.REQUEST_SENSE: {
        const bytes = senseData(this.#sense);
        this.#sense = ADDITIONAL_SENSE.NONE;
        return data(bytes, packet[4]!);
      }
      case PACKET_COMMAND.INQUIRY:
        if (packet[1]! & 1) return this.#check(ADDITIONAL_SENSE.INVALID_FIELD);
        return data(inquiry(), packet[4]!);
      case PACKET_COMMAND.MODE_SENSE_6:
        return this.#modeSense(packet[2]!, 4, packet[4]!);
      case PACKET_COMMAND.MODE_SENSE_10:
        return this.#modeSense(packet[2]!, 8, view.getUint16(7));
      case PACKET_COMMAND.START_STOP_UNIT:
        return this.#startStop(packet[4]!);
      case PACKET_COMMAND.PREVENT_ALLOW:
        this.#isLocked = (packet[4]! & 1) !== 0;
        return DONE;
      case PACKET_COMMAND.READ_CAPACITY:
        return data(this.#capacity(), 8);
      case PACKET_COMMAND.SEEK_10:
        return view.getUint32(2) < this.#blocks ? DONE : this.#check(ADDITIONAL_SENSE.OUT_OF_RANGE);
      case PACKET_COMMAND.READ_10:
        return this.#read(view.getUint32(2), view.getUint16(7));
      case PACKET_COMMAND.READ_12:
        return this.#read(view.getUint32(2), view.getUint32(6));
      case PACKET_COMMAND.READ_TOC: {
        const toc = tableOfContents(packet, this.#blocks);
        return toc ? data(toc, view.getUint16(7)) : this.#check(ADDITIONAL_SENSE.INVALID_FIELD);
      }
      case PACKET_COMMAND.READ_DISC_INFORMATION:
        return data(discInformation(), view.getUint16(7));
      case PACKET_COMMAND.GET_CONFIGURATION:
        return data(
          configuration(packet[1]! & 3, view.getUint16(2), this.#isOpen ? 0 : this.#blocks),
          view.getUint16(7),
        );
      case PACKET_COMMAND.GET_EVENT_STATUS:
        return this.#eventStatus(packet, view.getUint16(7));
      default:
        return this.#check(ADDITIONAL_SENSE.INVALID_COMMAND);
    }
  }

  #check(sense: Sense): DriveReply {
    this.#sense = sense;
    return { kind: "error", error: (sense.key << 4) | ATA_ERROR.ABRT };
  }

  #read(block: number, blocks: number): DriveReply {
    if (block + blocks > this.#blocks) return this.#check(ADDITIONAL_SENSE.OUT_OF_RANGE);
    if (blocks === 0) return DONE;
    const range = { offset: block * BLOCK_BYTES, length: blocks * BLOCK_BYTES };
    return { kind: "work", transfer: "packet", request: { operation: "read", ranges: [range], isDurable: false } };
  }

  #capacity(): Uint8Array {
    const view = new DataView(new ArrayBuffer(8));
    view.setUint32(0, Math.min(0xffff_ffff, Math.max(0, this.#blocks - 1)));
    view.setUint32(4, BLOCK_BYTES);
    return new Uint8Array(view.buffer);
  }

  #modeSense(page: number, headerBytes: 4 | 8, allocated: number): DriveReply {
    const code = page & 0x3f;
    // Saved values there are none of.
    if (page >> 6 === 3) return this.#check(ADDITIONAL_SENSE.NOT_SAVED);
    if (code !== 0x2a && code !== 0x3f) return this.#check(ADDITIONAL_SENSE.INVALID_FIELD);
    return data(modeData(headerBytes, capabilitiesPage(this.#isLocked)), allocated);
  }

  #startStop(flags: number): DriveReply {
    if ((flags & LOAD_EJECT) === 0) return DONE;
    if (flags & START) {
      if (this.#isOpen) {
        this.#isOpen = false;
        if (this.#disk.sizeBytes === 0) return DONE;
        this.#hasChanged = true;
        this.#event = mediaEvent.NEW_MEDIA;
      }
      return DONE;
    }
    if (this.#isLocked) return this.#check(ADDITIONAL_SENSE.REMOVAL_PREVENTED);
    if (!this.#isOpen) this.#event = mediaEvent.REMOVED;
    this.#isOpen = true;
    return DONE;
  }

  /** Of the classes of events only media (MMC-3, 6.7). */
  #eventStatus(packet: Uint8Array, allocated: number): DriveReply {
    if ((packet[1]! & 1) === 0) return this.#check(ADDITIONAL_SENSE.INVALID_FIELD);
    if ((packet[4]! & mediaEvent.CLASS_BIT) === 0)
      return data(Uint8Array.of(0, 2, 0x80, mediaEvent.CLASS_BIT), allocated);
    const closed = this.#disk.sizeBytes > 0 ? mediaEvent.PRESENT : 0;
    const status = this.#isOpen ? mediaEvent.OPEN : closed;
    const bytes = Uint8Array.of(0, 6, mediaEvent.CLASS, mediaEvent.CLASS_BIT, this.#event, status, 0, 0);
    this.#event = 0;
    return data(bytes, allocated);
  }

  /** IDENTIFY PACKET DEVICE (ATA8-ACS, 7.17): a CD drive with packets of 12 bytes. */
  #identity(): Uint8Array {
    const view = new DataView(new ArrayBuffer(512));
    const put = (word: number, ...values: number[]): void => {
      for (const [i, value] of values.entries()) view.setUint16(2 * (word + i), value, true);
    };
    put(0, 0x85c0);
    putText(view, 10, 10, this.#disk.name);
    putText(view, 23, 4, "1.0");
    putText(view, 27, 20, "TWINMETAL CD-ROM");
    put(49, 0x0f00);
    put(53, 0x0006);
    put(63, 0x0007, 0x0003, 120, 120, 120, 120);
    put(this.#disk.isParallel ? 93 : 76, this.#disk.isParallel ? 0x6003 : 0x0006);
    put(80, 0x01f0);
    put(82, 0x0218, 0x4000, 0x4000, 0x0218, 0, 0x4000, 0x407f);
    if (!this.#disk.isParallel) put(222, 0x1020);
    return sealIdentity(view);
  }
}

function data(bytes: Uint8Array, allocated: number): DriveReply {
  if (allocated === 0) return DONE;
  return { kind: "data", bytes: bytes.subarray(0, allocated), isPacket: true };
}
