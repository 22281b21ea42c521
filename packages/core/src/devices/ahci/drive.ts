/**
 * What a SATA port asks of its drive: a command's frame in, the answer out. A drive that needs its disk's bytes answers
 * with work (sata-work.ts), which the port carries out.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { DiskRequest, Transfer } from "./sata-work.ts";

export interface CommandFrame {
  /** The register frame from the host, 20 bytes (Serial ATA 3.2, 10.5.5). */
  readonly fis: Uint8Array;
  readonly slot: number;
  /** The command block of a PACKET command, 16 bytes; undefined: not in memory. */
  packet(): Uint8Array | undefined;
  /** The first bytes of the data from the host; undefined: not so many, or not in memory. */
  data(length: number): Uint8Array | undefined;
}

export type DriveReply =
  | { readonly kind: "done"; readonly count?: number }
  | { readonly kind: "error"; readonly error: number }
  /** To the host; of a PACKET command, which ends with a frame of its own, or of one that transfers by PIO. */
  | { readonly kind: "data"; readonly bytes: Uint8Array; readonly isPacket: boolean }
  | { readonly kind: "work"; readonly transfer: Transfer; readonly request: DiskRequest }
  /** The drive was reset, or tested itself. */
  | { readonly kind: "signature" };

export interface Drive {
  /** Sector count and LBA after a reset, as PxSIG shows them. */
  readonly signature: number;
  command(frame: CommandFrame): DriveReply;
  /** The disk could not do what `command` asked it for; the error register. */
  failed(work: { readonly slot: number; readonly transfer: Transfer; readonly isWrite: boolean }): number;
  /** Power-on and COMRESET, or a software reset. */
  reset(kind: "power" | "link" | "software"): void;
  save(): StateValue;
  /** Throws StateError. */
  restore(reader: StateReader): void;
}

/** ATA text: two characters a word, the first in the high byte, filled with spaces. */
export function putText(view: DataView, word: number, words: number, text: string): void {
  for (let i = 0; i < 2 * words; i++) view.setUint8(2 * word + (i ^ 1), text.charCodeAt(i) || 0x20);
}

/** The checksum in word 255: the 512 bytes add up to 0. */
export function sealIdentity(view: DataView): Uint8Array {
  const bytes = new Uint8Array(view.buffer);
  bytes[510] = 0xa5;
  bytes[511] = -bytes.subarray(0, 511).reduce((sum, byte) => sum + byte, 0);
  return bytes;
}
