// A file of migrations, one a line, so that many of them may be several runs: the next one goes on where the file ends.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { SoakRecord } from "./soak.ts";

/** What all lines of a file have in common. */
export interface SoakSettings {
  readonly seed: number;
  readonly mib: number;
}

export class SoakResults {
  readonly records: SoakRecord[] = [];
  readonly #path: string | undefined;
  readonly #settings: SoakSettings;

  /** Without a path nothing is kept. Throws if the file is of other settings, lacks a number, or says that one went wrong. */
  constructor(path: string | undefined, settings: SoakSettings) {
    this.#path = path;
    this.#settings = settings;
    if (path === undefined || !existsSync(path)) return;
    for (const line of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
      const { seed, mib, failure, ...record } = JSON.parse(line) as SoakSettings & SoakRecord & { failure?: string };
      if (failure !== undefined) throw new Error(`${path}: ${failure}`);
      if (seed !== settings.seed || mib !== settings.mib) throw new Error(`${path} is of seed ${seed} and ${mib} MiB`);
      if (record.number !== this.records.length)
        throw new Error(`${path}: ${record.number} follows in the wrong place`);
      this.records.push(record);
    }
  }

  add(record: SoakRecord): void {
    this.records.push(record);
    this.#append(record);
  }

  /** One that went wrong stays in the file: no later run makes a proof of it. */
  fail(failure: string): void {
    this.#append({ failure });
  }

  #append(line: object): void {
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify({ ...this.#settings, ...line })}\n`);
  }
}
