import { describe, expect, it } from "vitest";
import { DEVIATIONS, deviationsOf } from "./deviations.ts";
import { type ReportLine, readLine, writeLine } from "./guest/report.ts";
import type { TestProgram } from "./programs.ts";
import { TestReport } from "./test-report.ts";

const program = (name: string): TestProgram => ({ name, file: "", what: "", limitSeconds: 1, form: "short" });

function reportOf(lines: readonly (ReportLine | string)[], names: readonly string[] = ["first"]) {
  const printed: string[] = [];
  const report = new TestReport(names.map(program), (line) => printed.push(line));
  for (const line of lines) report.take(typeof line === "string" ? line : writeLine(line).trim());
  report.finish(1234);
  return { report, printed, last: printed.at(-1) };
}

const started: ReportLine = { kind: "program", name: "first" };
const passed: ReportLine = { kind: "test", name: "a > b", result: "passed", ms: 3 };
const failed: ReportLine = { kind: "test", name: "c", result: "failed", ms: 3, note: "because\nof this" };
const exited = (note?: string): ReportLine => ({ kind: "exit", name: "first", ms: 2000, note });

describe("a report of the nested guest", () => {
  it("numbers tests and sums them up", () => {
    const { printed, report } = reportOf([started, passed, failed, exited("ended with status 1"), { kind: "end" }]);
    expect(printed).toEqual([
      "# first",
      "ok 1 - first: a > b # 3 ms",
      "not ok 2 - first: c",
      "    because",
      "    of this",
      "# first: 2.0 s",
      "1..2",
      "1 passed, 1 failed in 1 s",
    ]);
    expect([report.isGood, report.hasEnded]).toEqual([false, true]);
    expect(report.summary()).toEqual({ numPassedTests: 1, numFailedTests: 1, numPendingTests: 0 });
  });

  it.each(["stopped after 1 s", "ended with SIGSEGV", "ended with status 1"])("counts a program that %s", (note) => {
    expect(reportOf([started, passed, exited(note)]).last).toBe("1 passed, 1 failed in 1 s");
  });

  it("takes a deviation of QEMU's for neither passed nor failed, until it passes", () => {
    const { what, test } = DEVIATIONS.find((deviation) => deviation.test !== undefined)!;
    const [name, title] = test!.split(/: (.*)/) as [string, string];
    const run = (result: "passed" | "failed") =>
      reportOf(
        [{ kind: "program", name }, { kind: "test", name: title, result, ms: 1 }, exited("ended with status 1")],
        [name],
      );
    expect(run("failed").printed).toContain(`ok 1 - ${test} # SKIP deviates: ${what}`);
    expect(run("failed").last).toBe("0 passed, 0 failed, 1 skipped in 1 s");
    expect(run("passed").report.isGood).toBe(false);
  });

  it("takes a deviation that shows by chance for passed when it passes", () => {
    const { what, test } = DEVIATIONS.find(({ isByChance }) => isByChance)!;
    const [name, title] = test!.split(/: (.*)/) as [string, string];
    const run = (result: "passed" | "failed") =>
      reportOf(
        [
          { kind: "program", name },
          { kind: "test", name: title, result, ms: 1 },
        ],
        [name],
      );
    expect(run("failed").printed).toContain(`ok 1 - ${test} # SKIP deviates: ${what}`);
    expect(run("passed").last).toBe("1 passed, 0 failed in 1 s");
  });

  it("counts a time-out although a test had failed before it", () => {
    expect(reportOf([started, failed, exited("stopped after 1 s")]).last).toBe("0 passed, 2 failed in 1 s");
  });

  it("counts programs that never ran", () => {
    const { last, printed } = reportOf([started, passed, exited()], ["first", "second"]);
    expect(last).toBe("1 passed, 1 failed in 1 s");
    expect(printed).toContain("    has not been run");
  });

  it("says why tests were skipped", () => {
    const printed: string[] = [];
    const report = new TestReport([program("first")], (line) => printed.push(line));
    report.skipAll("no QEMU");
    report.finish(0);
    expect(printed).toEqual(["ok 1 - first # SKIP no QEMU", "1..1", "0 passed, 0 failed, 1 skipped in 0 s"]);
    expect(report.isGood).toBe(true);
  });

  it("prints what is no line of its own, and cuts long notes", () => {
    expect(reportOf([started, "Segmentation fault", passed, exited()]).printed).toContain("# Segmentation fault");
    expect(readLine('{"kind": 3}')).toBeUndefined();
    expect(readLine("{half")).toBeUndefined();
    expect(writeLine({ ...failed, note: "x".repeat(10_000) } as ReportLine).length).toBeLessThan(5000);
  });
});

describe("deviations of QEMU", () => {
  const fixed = DEVIATIONS.find(({ fixedIn }) => fixedIn?.[0] === 8);

  it.each<[[number, number] | undefined, boolean]>([
    [undefined, true],
    [[7, 2], true],
    [[8, 1], true],
    [[8, 2], false],
    [[9, 0], false],
  ])("in version %s", (version, isThere) => {
    expect(fixed).toBeDefined();
    expect(deviationsOf(version).includes(fixed!)).toBe(isThere);
  });
});
