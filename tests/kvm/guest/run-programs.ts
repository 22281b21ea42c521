/** Runs the test programs named on the kernel's command line, each in a process of its own and within its limit. */

import { spawn } from "node:child_process";
import { readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { PROGRAMS, type TestProgram } from "../programs.ts";
import { type ReportLine, writeLine } from "./report.ts";

const REPORT_FD = 3;

function send(line: ReportLine): void {
  const bytes = Buffer.from(writeLine(line));
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
}

async function run({ name, limitSeconds }: TestProgram, filter: string): Promise<void> {
  send({ kind: "program", name });
  const start = performance.now();
  const child = spawn(
    process.execPath,
    ["--no-warnings", "/twinmetal/tests/run-tests.mjs", `/twinmetal/tests/${name}.mjs`, filter],
    {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      // QEMU carries out vector instructions one helper each: without them OpenSSL hashes four times as fast in here.
      env: { ...process.env, TWINMETAL_TRANSLATION_CACHE: "off", OPENSSL_ia32cap: "0:0" },
      detached: true,
    },
  );
  for (const stream of [child.stdout!, child.stderr!])
    createInterface({ input: stream }).on("line", (text) => send({ kind: "text", text }));
  createInterface({ input: child.stdio[REPORT_FD] as Readable }).on("line", (text) => writeSync(1, `${text}\n`));
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill(-child.pid!, "SIGKILL");
  }, limitSeconds * 1000);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once("close", (...how) => resolve(how)),
  );
  clearTimeout(timer);
  const note = isLate
    ? `stopped after ${limitSeconds} s`
    : code === 0
      ? undefined
      : `ended with ${signal ?? `status ${code}`}`;
  send({ kind: "exit", name, ms: Math.round(performance.now() - start), note });
}

const words = readFileSync("/proc/cmdline", "utf8").trim().split(" ");
const argument = (key: string): string => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
const names = argument("programs").split(",");
for (const program of PROGRAMS)
  if (names.includes(program.name)) await run(program, decodeURIComponent(argument("filter")));
send({ kind: "end" });
