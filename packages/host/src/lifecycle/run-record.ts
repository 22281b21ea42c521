/**
 * What is kept of a VM's last run, run.json in its folder: its process, since when, and how it ended. A run without an end
 * whose process is gone was ended by nobody's order.
 */
import { closeSync, constants, ftruncateSync, openSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** off: the guest turned off, or was ended. failed: it never ran. */
export type RunEndKind = "off" | "crashed" | "migrated" | "failed";

export interface RunEnd {
  readonly kind: RunEndKind;
  readonly reason: string;
  readonly at: string;
  /** Of the error, where there is one. */
  readonly code?: string;
}

/** Without an order, by the process itself. */
export interface RunRestarts {
  readonly count: number;
  /** What the last one came after. */
  readonly reason: string;
  readonly at: string;
}

export interface RunRecord {
  readonly pid: number;
  readonly startedAt: string;
  readonly restarts?: RunRestarts;
  readonly end?: RunEnd;
}

const END_KINDS: readonly string[] = ["off", "crashed", "migrated", "failed"] satisfies RunEndKind[];
const MAX_REASON = 4000;

/** The process's side: the file is opened once, for it may be unable to later. */
export class RunWriter {
  readonly #descriptor: number;
  #record: RunRecord;

  /** Throws what opening a file does. */
  constructor(path: string, now: Date) {
    this.#descriptor = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    this.#record = { pid: process.pid, startedAt: now.toISOString() };
    this.#write(this.#record);
  }

  restarts(restarts: RunRestarts): void {
    this.#record = { ...this.#record, restarts: { ...restarts, reason: restarts.reason.slice(0, MAX_REASON) } };
    this.#write(this.#record);
  }

  end(kind: RunEndKind, reason: string, now: Date, code?: string): void {
    const end = {
      kind,
      reason: reason.slice(0, MAX_REASON),
      at: now.toISOString(),
      ...(code !== undefined && { code }),
    };
    this.#write({ ...this.#record, end });
    closeSync(this.#descriptor);
  }

  #write(record: RunRecord): void {
    const text = `${JSON.stringify(record)}\n`;
    // In place: longer than before, or the rest is cut off afterwards.
    ftruncateSync(this.#descriptor, writeSync(this.#descriptor, text, 0));
  }
}

/** Undefined: it has never run, or what is there is not readable as a record. */
export async function readRun(path: string): Promise<RunRecord | undefined> {
  try {
    const { pid, startedAt, restarts, end } = JSON.parse(await readFile(path, "utf8")) as Partial<RunRecord>;
    if (typeof pid !== "number" || typeof startedAt !== "string") return undefined;
    const isEnd = typeof end?.reason === "string" && typeof end.at === "string" && END_KINDS.includes(end.kind);
    const hasRestarts =
      typeof restarts?.count === "number" && typeof restarts.reason === "string" && typeof restarts.at === "string";
    return { pid, startedAt, ...(hasRestarts && { restarts }), ...(isEnd && { end }) };
  } catch {
    return undefined;
  }
}
