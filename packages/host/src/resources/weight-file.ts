/**
 * Where the VMs of one user note their use of the processor for cpu-weights.ts: a file of slots, one for each VM, that lies in
 * ../runtime-directory.ts. Nothing is locked: who finds its slot taken takes another, and a record that is half written counts
 * once, for a few milliseconds.
 *
 *   slot   0 identifier (random)   8 weight   16 virtual time in ms   24 when, monotonic ms   32 whether it contends   64 bytes
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { runtimeDirectory } from "../runtime-directory.ts";
import { VmError } from "../vm/vm-error.ts";
import type { WeightEntry, WeightTable } from "./cpu-weights.ts";

const SLOT_BYTES = 64;
const SLOTS = 256;
/** A slot that nobody has written to for so long is free. */
const LEFT_MS = 5000;
const MAX_WEIGHT = 10_000;

export class WeightFile implements WeightTable {
  readonly #file: number;
  readonly #id = randomBytes(8).readBigUInt64LE();
  readonly #own = Buffer.alloc(SLOT_BYTES);
  readonly #all = Buffer.alloc(SLOTS * SLOT_BYTES);
  #slot: number | undefined;

  private constructor(file: number) {
    this.#file = file;
  }

  /** Throws VmError "not-writable". */
  static open(env: NodeJS.ProcessEnv = process.env): WeightFile {
    try {
      const path = join(runtimeDirectory(env), "cpu-weights");
      const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = constants;
      const file = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
      if (fstatSync(file).isFile()) return new WeightFile(file);
      closeSync(file);
      throw new Error("it is no file");
    } catch (error) {
      throw new VmError(
        "not-writable",
        `VMs with a weight share a file, which cannot be used (${(error as Error).message}). Take the weight away, or set XDG_RUNTIME_DIR to a directory of your own.`,
        { cause: error },
      );
    }
  }

  others(): readonly WeightEntry[] {
    const { length } = this.#all;
    const there = readSync(this.#file, this.#all, 0, length, 0);
    this.#all.fill(0, there);
    const found: WeightEntry[] = [];
    const nowMs = monotonicMs();
    if (this.#slot !== undefined && this.#idAt(this.#slot) !== this.#id) this.#slot = undefined;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (slot === this.#slot) continue;
      const entry = this.#entryAt(slot);
      if (entry && Math.abs(nowMs - entry.atMs) < LEFT_MS) found.push(entry);
      else this.#slot ??= slot;
    }
    return found;
  }

  publish({ weight, virtualMs, isContending, atMs }: WeightEntry): void {
    // All slots are taken: this VM is not waited for.
    if (this.#slot === undefined) return;
    this.#own.writeBigUInt64LE(this.#id, 0);
    this.#own.writeDoubleLE(weight, 8);
    this.#own.writeDoubleLE(virtualMs, 16);
    this.#own.writeDoubleLE(atMs, 24);
    this.#own.writeUInt8(isContending ? 1 : 0, 32);
    writeSync(this.#file, this.#own, 0, SLOT_BYTES, this.#slot * SLOT_BYTES);
  }

  close(): void {
    closeSync(this.#file);
  }

  #idAt(slot: number): bigint {
    return this.#all.readBigUInt64LE(slot * SLOT_BYTES);
  }

  /** Undefined: what is there is none. */
  #entryAt(slot: number): WeightEntry | undefined {
    const at = slot * SLOT_BYTES;
    const weight = this.#all.readDoubleLE(at + 8);
    const virtualMs = this.#all.readDoubleLE(at + 16);
    const atMs = this.#all.readDoubleLE(at + 24);
    if (!(weight >= 1 && weight <= MAX_WEIGHT && virtualMs >= 0 && Number.isFinite(virtualMs))) return undefined;
    return { weight, virtualMs, atMs, isContending: this.#all[at + 32] === 1 };
  }
}

/** The host's monotonic clock, the same in all processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
