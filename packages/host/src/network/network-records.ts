/**
 * What a VM's networks leave in files: frames (`pcap`), and connections one line of JSON each (`log`). Written at once by the
 * network's thread, which then waits for the host's disk; a file that cannot be written any more is given up, not the VM.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { type ConnectionRecord, formatIpAddress, pcapHeader, pcapRecord } from "@twinmetal/network";
import { VmError } from "../vm/vm-error.ts";

export class AppendedFile {
  #fd: number | undefined;

  /** Throws VmError. What was in the file is gone. */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, "w", 0o600);
    } catch (error) {
      const why = (error as Error).message;
      throw new VmError("not-writable", `The file ${path} cannot be written: ${why}. Name another.`, { cause: error });
    }
  }

  write(bytes: Uint8Array): void {
    if (this.#fd === undefined) return;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch {
      this.close();
    }
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
  constructor(path: string) {
    this.#file = new AppendedFile(path);
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
