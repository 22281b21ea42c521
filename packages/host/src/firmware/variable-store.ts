/**
 * What the flash chip of a named VM's firmware holds, in a file from one run to the next: boot entries, settings. A new VM
 * gets a copy of what the firmware's package has. The machine reports each change (core, devices/cfi-flash.ts), which is
 * written at its place at once, without waiting for the disk.
 *
 *   DATA/firmware/NAME.variables      DATA: ../data-directory.ts. A VM that is kept has it in its own folder.
 *
 * One VM at a time has the file: a second one of that name would write its own picture of it over the first one's.
 */
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FLASH_REPORT_HEADER_BYTES } from "@twinmetal/core";
import { StorageError } from "@twinmetal/storage";
import { dataDirectory } from "../data-directory.ts";
import { type ImageLock, lockImage } from "../disk/image-lock.ts";
import { VmError } from "../vm/vm-error.ts";

const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;

export function variablesPath(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return join(dataDirectory(env), "firmware", `${name}.variables`);
}

/** The file is there afterwards; one that is there stays. Throws VmError. */
export function prepareVariables(path: string, template: Uint8Array): void {
  if (existsSync(path)) return;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: PRIVATE_DIRECTORY });
    writeFileSync(path, template, { mode: PRIVATE_FILE });
  } catch (error) {
    throw notWritable(path, error);
  }
}

/** Made from a template's, if it is not there yet. Throws VmError. */
export async function keepVariables(path: string, templatePath: string): Promise<void> {
  prepareVariables(path, await readFile(templatePath));
}

export class VariableStore {
  readonly #path: string;
  readonly #descriptor: number;
  readonly #sizeBytes: number;
  readonly #lock: ImageLock;

  private constructor(path: string, descriptor: number, lock: ImageLock) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#lock = lock;
    this.#sizeBytes = fstatSync(descriptor).size;
  }

  /** Nobody else has it until it is closed. Rejects with VmError. */
  static async open(path: string): Promise<VariableStore> {
    let descriptor: number;
    try {
      descriptor = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    } catch (error) {
      throw notWritable(path, error);
    }
    try {
      return new VariableStore(path, descriptor, await lockImage(path, descriptor, false));
    } catch (error) {
      closeSync(descriptor);
      if (!(error instanceof StorageError)) throw notWritable(path, error);
      throw new VmError(
        "locked",
        `Another VM of this name is running: the firmware's variables in ${path} are its own until it ends. End it first, or give this VM another name.`,
        { cause: error },
      );
    }
  }

  /** Reports of the chip, one or several. Throws VmError. */
  apply(reports: Uint8Array): void {
    const view = new DataView(reports.buffer, reports.byteOffset, reports.length);
    for (let at = 0; at + FLASH_REPORT_HEADER_BYTES <= reports.length; ) {
      const offset = view.getUint32(at, true);
      const length = view.getUint32(at + 4, true);
      const from = at + FLASH_REPORT_HEADER_BYTES;
      const bytes = reports.subarray(from, from + length);
      if (bytes.length < length || offset + length > this.#sizeBytes) return;
      try {
        writeSync(this.#descriptor, bytes, 0, length, offset);
      } catch (error) {
        throw notWritable(this.#path, error);
      }
      at = from + length;
    }
  }

  async close(): Promise<void> {
    closeSync(this.#descriptor);
    await this.#lock.release();
  }
}

function notWritable(path: string, error: unknown): VmError {
  const { code } = error as NodeJS.ErrnoException;
  return new VmError(
    code === "ENOSPC" || code === "EDQUOT" ? "disk-full" : "not-writable",
    `The firmware's variables of this VM cannot be written to ${path} (${code}). Make room or rights there, or leave the name out: then they are forgotten at the end.`,
    { cause: error },
  );
}
