/** Runs one program's tests in this process and reports each on descriptor 3. Status 1 if one failed. */

import { writeSync } from "node:fs";
import {
  type File,
  startTests,
  type Task,
  type Test,
  type VitestRunner,
  type VitestRunnerConfig,
} from "@vitest/runner";
import { type ReportLine, writeLine } from "./report.ts";

const REPORT_FD = 3;
const TEST_LIMIT_MS = 60_000;

/** More than a pipe holds may have to wait for its reader. */
function send(line: ReportLine): void {
  const bytes = Buffer.from(writeLine(line));
  for (let done = 0; done < bytes.length; ) done += writeSync(REPORT_FD, bytes, done);
}

function config(filter: string): VitestRunnerConfig {
  return {
    root: "/twinmetal",
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: filter === "" ? undefined : new RegExp(filter),
    allowOnly: true,
    sequence: { seed: 1, hooks: "stack", setupFiles: "list" },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: TEST_LIMIT_MS,
    hookTimeout: TEST_LIMIT_MS,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  };
}

const titleOf = (task: Task): string =>
  task.suite && task.suite !== task.file ? `${titleOf(task.suite)} > ${task.name}` : task.name;

/** What a test gave to `skip`: there, but not in the types. */
const reasonOf = (result: Test["result"]): string | undefined => (result as { note?: string } | undefined)?.note;

function report(test: Test): void {
  const { result, mode } = test;
  const note = result?.errors?.map(({ message, stack }) => `${message}\n${stack ?? ""}`).join("\n") ?? reasonOf(result);
  const isSkipped = mode === "skip" || mode === "todo" || result === undefined || result.state === "skip";
  send({
    kind: "test",
    name: titleOf(test),
    result: isSkipped ? "skipped" : result.state === "pass" ? "passed" : "failed",
    ms: Math.round(result?.duration ?? 0),
    note,
  });
}

const isTest = (task: Task): task is Test => task.type === "test";
const testsOf = (tasks: readonly Task[]): Test[] =>
  tasks.flatMap((task) => (isTest(task) ? [task] : "tasks" in task ? testsOf(task.tasks) : []));

const [, , program = "", filter = ""] = process.argv;
const reported = new Set<Test>();
const runner: VitestRunner = {
  config: config(filter),
  importFile: (path) => import(path),
  onAfterRunTask: (test) => {
    reported.add(test);
    report(test);
  },
};
const files: File[] = await startTests([program], runner);
const tests = testsOf(files);
// Skipped ones, those of a filter's other side excepted, and those that a failed hook kept from running.
for (const test of tests) if (!reported.has(test) && (filter === "" || test.mode !== "skip")) report(test);
const broken = files.flatMap(({ result }) => result?.errors ?? []);
for (const { message, stack } of broken)
  send({ kind: "test", name: "the program's own set-up", result: "failed", ms: 0, note: `${message}\n${stack ?? ""}` });
const isGood = broken.length === 0 && tests.every(({ result }) => result?.state !== "fail");
process.exit(isGood ? 0 : 1);
