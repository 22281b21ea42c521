/**
 * What the guest's tests did, line by line as it arrives, in TAP's words ("ok 3 - NAME"), and the sum of it. A program that
 * ends badly, is stopped or never starts is one more failure.
 */

import { DEVIATIONS, type Deviation } from "./deviations.ts";
import { readLine } from "./guest/report.ts";
import type { TestProgram } from "./programs.ts";

const INDENT = "    ";

export class TestReport {
  readonly #programs: readonly TestProgram[];
  readonly #print: (line: string) => void;
  readonly #deviations: readonly Deviation[];
  readonly #missing: Set<string>;
  #program = "";
  #count = 0;
  #passed = 0;
  #failed = 0;
  #skipped = 0;
  /** Tests of this program that failed, expected or not: they explain its status 1. */
  #failedInProgram = 0;
  hasEnded = false;

  constructor(
    programs: readonly TestProgram[],
    print: (line: string) => void,
    deviations: readonly Deviation[] = DEVIATIONS,
  ) {
    this.#programs = programs;
    this.#print = print;
    this.#deviations = deviations;
    this.#missing = new Set(programs.map(({ name }) => name));
  }

  get isGood(): boolean {
    return this.#failed === 0;
  }

  /** Returns the program that has just started, if the line says so. */
  take(text: string): TestProgram | undefined {
    const line = readLine(text);
    switch (line?.kind) {
      case "program":
        this.#program = line.name;
        this.#failedInProgram = 0;
        this.#missing.delete(line.name);
        this.#print(`# ${line.name}`);
        return this.#programs.find(({ name }) => name === line.name);
      case "test":
        this.#test(line.name, line.result, line.ms, line.note);
        break;
      case "exit":
        if (line.note !== undefined && (this.#failedInProgram === 0 || !/status 1$/.test(line.note)))
          this.fail(`${line.name} ${line.note}`);
        this.#print(`# ${line.name}: ${(line.ms / 1000).toFixed(1)} s`);
        break;
      case "end":
        this.hasEnded = true;
        break;
      case "text":
        this.#print(`# ${line.text}`);
        break;
      case undefined:
        if (text.trim() !== "") this.#print(`# ${text}`);
    }
    return undefined;
  }

  fail(why: string): void {
    this.#failed++;
    this.#result("not ok", this.#program || "the guest", why);
  }

  skipAll(why: string): void {
    for (const { name } of this.#programs) this.#result("ok", name, undefined, `SKIP ${why}`);
    this.#skipped += this.#programs.length;
    this.#missing.clear();
  }

  finish(ms: number): void {
    for (const name of this.#missing) {
      this.#program = name;
      this.fail("has not been run");
    }
    if (this.#count === 0) this.fail("no test has run");
    this.#print(`1..${this.#count}`);
    const skipped = this.#skipped > 0 ? `, ${this.#skipped} skipped` : "";
    this.#print(`${this.#passed} passed, ${this.#failed} failed${skipped} in ${(ms / 1000).toFixed(0)} s`);
  }

  summary(): Readonly<Record<string, number>> {
    return { numPassedTests: this.#passed, numFailedTests: this.#failed, numPendingTests: this.#skipped };
  }

  #test(name: string, result: "passed" | "failed" | "skipped", ms: number, note: string | undefined): void {
    const title = `${this.#program}: ${name}`;
    if (result === "failed") this.#failedInProgram++;
    const deviation = this.#deviations.find(({ test }) => test === title);
    if (result === "skipped") {
      this.#skipped++;
      this.#result("ok", title, undefined, `SKIP ${note ?? ""}`);
    } else if (deviation && result === "failed") {
      this.#skipped++;
      this.#result("ok", title, undefined, `SKIP deviates: ${deviation.what}`);
    } else if (result === "passed" && (!deviation || deviation.isByChance)) {
      this.#passed++;
      this.#result("ok", title, undefined, `${ms} ms`);
    } else {
      this.#failed++;
      this.#result("not ok", title, deviation ? `it passes: take it out of deviations.ts (${deviation.what})` : note);
    }
  }

  #result(verdict: string, title: string, why?: string, remark?: string): void {
    this.#print(`${verdict} ${++this.#count} - ${title.replaceAll("#", "\\#")}${remark ? ` # ${remark.trim()}` : ""}`);
    for (const line of (why ?? "").split("\n")) if (line.trim() !== "") this.#print(`${INDENT}${line}`);
  }
}
