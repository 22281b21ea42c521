/**
 * What a VM's networks leave in files: frames (`pcap`), and connections one line of JSON each (`log`). Written at once by the
 * network's thread, which then waits for the host's disk; a file that has all that it may have, or cannot be written any more,
 * is closed with whole records in it, and somebody is told: the VM goes on.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { type ConnectionRecord, formatIpAddress, pcapHeader, pcapRecord } from "@twinmetal/network";
import { VmError } from "../vm/vm-error.ts";
import type { NetworkProblem } from "./network-protocol.ts";

const MIB = 1 << 20;
/** Of captured frames, and of lines, at most. */
export const CAPTURE_BYTES = 1024 * MIB;
export const LOG_BYTES = 64 * MIB;

export class AppendedFile {
  readonly #path: string;
  readonly #limitBytes: number;
  readonly #onProblem: (problem: NetworkProblem) => void;
  #fd: number | undefined;
  /** In whole records. */
  #bytes = 0;

  /** Throws VmError. What was in the file is gone. `onProblem` is called once at most. */
  constructor(path: string, limitBytes: number, onProblem: (problem: NetworkProblem) => void) {
    this.#path = path;
    this.#limitBytes = limitBytes;
    this.#onProblem = onProblem;
    try {
      this.#fd = openSync(path, "w", 0o600);
    } catch (error) {
      const why = (error as Error).message;
      throw new VmError("not-writable", `The file ${path} cannot be written: ${why}. Name another.`, { cause: error });
    }
  }

  /** One record. */
  write(record: Uint8Array): void {
    if (this.#fd === undefined) return;
    if (this.#bytes + record.length > this.#limitBytes) {
      this.#giveUp("limit", `it has the ${Math.round(this.#limitBytes / MIB)} MiB that it may have`);
      return;
    }
    try {
      for (let at = 0; at < record.length; ) at += writeSync(this.#fd, record, at);
      this.#bytes += record.length;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
      this.#cut(this.#fd);
      this.#giveUp(isFull ? "disk-full" : "not-writable", isFull ? "the disk is full" : message);
    }
  }

  /** Part of a record would spoil what is in front of it. */
  #cut(fd: number): void {
    try {
      ftruncateSync(fd, this.#bytes);
    } catch {
      // A pipe, or a disk that is gone: it stays as it is.
    }
  }

  #giveUp(code: NetworkProblem["code"], why: string): void {
    const message = `${this.#path} is not written any more: ${why}. What it has is whole, and the VM goes on.`;
    this.close();
    this.#onProblem({ path: this.#path, code, message });
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Both directions of a card. */
export class Capture {
  readonly #file: AppendedFile;

  /** Throws VmError. */
  constructor(path: string, onProblem: (problem: NetworkProblem) => void) {
    this.#file = new AppendedFile(path, CAPTURE_BYTES, onProblem);
    this.#file.write(pcapHeader());
  }

  add(frame: Uint8Array): void {
    this.#file.write(pcapRecord(performance.timeOrigin + performance.now(), frame));
  }

  close(): void {
    this.#file.close();
  }
}

/** Addresses are texts here. */
export function connectionLine(record: ConnectionRecord): Uint8Array {
  const { protocol, name, address, port, isAllowed, why, leftOut } = record;
  const time = new Date().toISOString();
  const target = { name, address: address === undefined ? undefined : formatIpAddress(address), port };
  return Buffer.from(`${JSON.stringify({ time, protocol, ...target, allowed: isAllowed, why, leftOut })}\n`);
}
