// All `*.long.test.ts`, one file after the other, each within a limit, with progress:
//   npm run test:long                  all of them, those with the smallest limits first
//   npm run test:long -- jit storage   only files with one of these words in their path
//   npm run test:long -- --minutes 60  ends after an hour, and says what is missing
//   npm run test:long -- --list        names them, with their limits
// The status is 0 when every chosen file ran and passed. What a file can be told (seeds, minutes, counts) stands at its
// top, as environment variables.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SUFFIX = ".long.test.ts";
/** Minutes that a file may take on a busy host, where it is not OTHERWISE. */
const LIMITS = {
  "tests/fuzz/isolation": 60,
  "tests/guest/debian-disk": 130,
  "tests/guest/debian-image": 60,
  "tests/guest/debian-install": 120,
  "tests/guest/migration/debian": 60,
  "tests/guest/migration/soak": 360,
  "tests/guest/qemu-agent": 45,
  "tests/guest/several-vcpus": 60,
  "tests/jit/boundaries": 60,
  "tests/jit/endless-code": 82,
  "tests/jit/soak": 45,
  "tests/jit/soak-programs": 45,
  "tests/kvm/nested": 60,
  "tests/roms/planted": 60,
};
const OTHERWISE = 30;
const GRACE_MS = 10_000;

const limitOf = (file) => LIMITS[file.slice(0, -SUFFIX.length)] ?? OTHERWISE;

function findFiles(words) {
  const all = ["packages", "tests"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true }).map((name) => `${folder}/${name.replaceAll("\\", "/")}`),
  );
  return all
    .filter((file) => file.endsWith(SUFFIX) && !/(^|\/)(node_modules|dist)\//.test(file))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort((a, b) => limitOf(a) - limitOf(b) || a.localeCompare(b));
}

let stop = () => {};
let isInterrupted = false;
for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    isInterrupted = true;
    stop();
  });

/** "passed", or what was wrong. */
function runFile(file, minutes) {
  const args = ["node_modules/vitest/vitest.mjs", "run", "--project", "long", file];
  // A group of its own, so that what it starts ends with it.
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"], detached: true });
  const signalAll = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It has ended.
    }
  };
  let isLate = false;
  stop = () => {
    signalAll("SIGTERM");
    setTimeout(signalAll, GRACE_MS, "SIGKILL").unref();
  };
  const late = setTimeout(() => {
    isLate = true;
    stop();
  }, minutes * 60_000);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(`did not start: ${error.message}`));
    child.once("exit", (status) => {
      clearTimeout(late);
      resolve(isLate ? `stopped after ${minutes.toFixed(0)} min` : status === 0 ? "passed" : "failed");
    });
  });
}

function parseCommand() {
  const options = { list: { type: "boolean" }, minutes: { type: "string" } };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const minutes = Number(values.minutes ?? Number.POSITIVE_INFINITY);
  if (!(minutes > 0)) throw new Error(`--minutes takes a number above 0, not ${values.minutes}`);
  return { words: positionals, isList: values.list === true, minutes };
}

async function main() {
  const { words, isList, minutes } = parseCommand();
  const files = findFiles(words);
  if (files.length === 0) throw new Error(`no ${SUFFIX} has ${words.join(" or ")} in its path; --list names all`);
  const total = files.reduce((sum, file) => sum + limitOf(file), 0);
  console.log(`${files.length} files, at most ${Math.min(total, minutes)} minutes`);
  if (isList) {
    for (const file of files) console.log(`${String(limitOf(file)).padStart(4)} min  ${file}`);
    return 0;
  }
  const start = performance.now();
  const minutesGone = () => (performance.now() - start) / 60_000;
  const results = [];
  for (const [i, file] of files.entries()) {
    const left = minutes - minutesGone();
    if (isInterrupted || left <= 0) {
      results.push({ file, result: "not run" });
      continue;
    }
    const limit = Math.min(limitOf(file), left);
    console.log(
      `\n== ${i + 1} of ${files.length}, minute ${minutesGone().toFixed(0)}: ${file} (at most ${Math.ceil(limit)} min)`,
    );
    const from = minutesGone();
    const result = await runFile(file, limit);
    results.push({ file, result: isInterrupted ? "interrupted" : result });
    console.log(`== ${file}: ${result}, ${(minutesGone() - from).toFixed(1)} min`);
  }
  const wrong = results.filter(({ result }) => result !== "passed");
  console.log(
    `\n${files.length - wrong.length} of ${files.length} files passed in ${minutesGone().toFixed(0)} minutes`,
  );
  for (const { file, result } of wrong) console.log(`  ${result}: ${file}`);
  return wrong.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`test:long: ${error.message}`);
  process.exitCode = 2;
}
