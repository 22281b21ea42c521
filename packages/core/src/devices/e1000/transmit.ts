/**
 * What an 82540EM sends: descriptors of the three kinds (Software Developer's Manual, 3.3) become frames, with checksums
 * filled in, large segments cut and VLAN tags put in. Everything is the guest's: a frame that cannot be is dropped, and a
 * descriptor's work is bounded by what a frame may have.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { insertChecksum } from "../network/checksum.ts";
import { segmentTcp } from "../network/segmentation.ts";

export const DESCRIPTOR_BYTES = 16;
/** Of the descriptor's third word, in its last byte. */
export const CMD = { EOP: 1, IC_TSE: 4, RS: 8, DEXT: 0x20, VLE: 0x40 } as const;
const DTYP_DATA = 1;
const TUCMD_TSE = 4;
const POPTS = { IXSM: 1, TXSM: 2 } as const;
/** The largest that is cut up: a segment of 64 KiB behind its headers. */
const MAX_GATHERED = 65_536 + 256;
const TAG_BYTES = 4;

/** Which checksum goes where, from where to where; of 0 the end is the frame's. */
interface ChecksumPlace {
  readonly start: number;
  readonly field: number;
  readonly end: number;
}

interface Context {
  readonly ip: ChecksumPlace;
  readonly segment: ChecksumPlace;
  readonly segmentBytes: number;
}

const NOWHERE: ChecksumPlace = { start: 0, field: 0, end: 0 };

export class TransmitAssembler {
  readonly #memory: GuestMemory;
  readonly #send: (frame: Uint8Array, wasCut: boolean) => void;
  #context: Context = { ip: NOWHERE, segment: NOWHERE, segmentBytes: 0 };
  /** Gathered, of the frame that is not whole yet; `length` counts on where it is too large, and it is dropped. */
  readonly #gathered = new Uint8Array(MAX_GATHERED);
  #length = 0;
  #isFailed = false;
  /** The first data descriptor's, for the whole frame. */
  #options = 0;

  constructor(memory: GuestMemory, send: (frame: Uint8Array, wasCut: boolean) => void) {
    this.#memory = memory;
    this.#send = send;
  }

  /** `etherType`: of VLAN tags. Returns the command bits. */
  take(descriptor: DataView, etherType: number): number {
    const command = descriptor.getUint8(11);
    if ((command & CMD.DEXT) === 0) {
      this.#gather(descriptor, descriptor.getUint16(8, true));
      if (command & CMD.EOP) this.#finishLegacy(descriptor, command, etherType);
    } else if (((descriptor.getUint32(8, true) >> 20) & 15) !== DTYP_DATA) this.#setContext(descriptor);
    else {
      if (this.#length === 0) this.#options = descriptor.getUint8(13);
      this.#gather(descriptor, descriptor.getUint32(8, true) & 0xf_ffff);
      if (command & CMD.EOP) this.#finishData(descriptor, command, etherType);
    }
    return command;
  }

  reset(): void {
    this.#context = { ip: NOWHERE, segment: NOWHERE, segmentBytes: 0 };
    this.#forget();
  }

  save(): StateValue {
    const { ip, segment, segmentBytes } = this.#context;
    return {
      ip: [ip.start, ip.field, ip.end],
      segment: [segment.start, segment.field, segment.end],
      segmentBytes,
      gathered: this.#gathered.subarray(0, this.#length),
      isFailed: this.#isFailed,
      options: this.#options,
    };
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader): void {
    const place = (key: string): ChecksumPlace => {
      const [start = 0, field = 0, end = 0] = reader.ints(key, 3, 0, 0xffff);
      if (start > 0xff || field > 0xff) throw reader.invalid(key, "is no place in a header");
      return { start, field, end };
    };
    this.#context = { ip: place("ip"), segment: place("segment"), segmentBytes: reader.u16("segmentBytes") };
    const gathered = reader.bytes("gathered", MAX_GATHERED);
    this.#gathered.set(gathered);
    this.#length = gathered.length;
    this.#isFailed = reader.bool("isFailed");
    this.#options = reader.u8("options");
    reader.end();
  }

  #setContext(descriptor: DataView): void {
    const place = (at: number): ChecksumPlace => ({
      start: descriptor.getUint8(at),
      field: descriptor.getUint8(at + 1),
      end: descriptor.getUint16(at + 2, true),
    });
    const isCut = (descriptor.getUint8(11) & TUCMD_TSE) !== 0;
    this.#context = { ip: place(0), segment: place(4), segmentBytes: isCut ? descriptor.getUint16(14, true) : 0 };
  }

  #gather(descriptor: DataView, sizeBytes: number): void {
    if (this.#isFailed || sizeBytes === 0) return;
    const gpa = descriptor.getUint32(4, true) * 2 ** 32 + descriptor.getUint32(0, true);
    const isFit = this.#length + sizeBytes <= MAX_GATHERED;
    if (!isFit || !this.#memory.read(gpa, this.#gathered.subarray(this.#length, this.#length + sizeBytes))) {
      this.#isFailed = true;
      return;
    }
    this.#length += sizeBytes;
  }

  #finishLegacy(descriptor: DataView, command: number, etherType: number): void {
    const frame = this.#whole();
    if (!frame) return;
    // IC: from CSS to the end, at CSO.
    if (command & CMD.IC_TSE) insertChecksum(frame, descriptor.getUint8(13), descriptor.getUint8(10));
    this.#emit(frame, descriptor, command, etherType, false);
  }

  #finishData(descriptor: DataView, command: number, etherType: number): void {
    const options = this.#options;
    const frame = this.#whole();
    if (!frame) return;
    const { ip, segment, segmentBytes } = this.#context;
    if (command & CMD.IC_TSE && segmentBytes > 0) {
      segmentTcp(frame, segmentBytes, (piece) => this.#emit(piece, descriptor, command, etherType, true));
      return;
    }
    if (options & POPTS.IXSM) fill(frame, ip);
    if (options & POPTS.TXSM) fill(frame, segment);
    this.#emit(frame, descriptor, command, etherType, false);
  }

  #emit(frame: Uint8Array, descriptor: DataView, command: number, etherType: number, wasCut: boolean): void {
    if ((command & CMD.VLE) === 0 || frame.length < 14) {
      this.#send(frame, wasCut);
      return;
    }
    const tagged = new Uint8Array(frame.length + TAG_BYTES);
    tagged.set(frame.subarray(0, 12));
    const tag = new DataView(tagged.buffer, 12, TAG_BYTES);
    tag.setUint16(0, etherType);
    tag.setUint16(2, descriptor.getUint16(14, true));
    tagged.set(frame.subarray(12), 16);
    this.#send(tagged, wasCut);
  }

  /** What was gathered, valid until more is. */
  #whole(): Uint8Array | undefined {
    const frame = this.#isFailed || this.#length === 0 ? undefined : this.#gathered.slice(0, this.#length);
    this.#forget();
    return frame;
  }

  #forget(): void {
    this.#length = 0;
    this.#isFailed = false;
    this.#options = 0;
  }
}

function fill(frame: Uint8Array, { start, field, end }: ChecksumPlace): void {
  insertChecksum(frame, start, field, end === 0 ? frame.length : Math.min(end + 1, frame.length));
}
