/**
 * What a second vCPU of the jit engine is worth: `node bench/vcpus.mjs [--rounds N] [--seconds N]` (after a build; needs gcc and
 * make of the host) boots one Linux guest with one vCPU and one with two in parallel, and has both do the same, in turn:
 *
 *   pair    two processes that compute, at once
 *   make    make -j2 of 32 small jobs: shells, forks, pipes, files
 *
 * Each is done three times before it counts. Prints the median seconds of both guests and their ratio, floors beside, and as the
 * last line all of it as JSON. Status 1 below a floor, or where two results differ. Two cores that nothing else uses.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createVm } from "twinmetal";

const MIB = 2 ** 20;
const WARM_UP = 3;
const AGENT_MS = 300_000;
const JOBS = {
  pair: { floor: 1.6, size: 20, script: (_guest, size) => `/tmp/p/work ${size} & /tmp/p/work ${size}; wait` },
  make: {
    floor: 1.3,
    size: 100,
    script: ({ make }, size) => `rm -f /tmp/m/*; cd /tmp/m; ${make} -j2 LINES=${size}`,
  },
};
const MAKEFILE = `
parts := 1 2 3 4
names := $(foreach a,1 2 3 4 5 6 7 8,$(parts:%=$(a)%))
all: $(names:%=sum%)
\tcat $^ | md5sum
sum%: numbers%
\tmd5sum <$< >$@
numbers%:
\tseq 1 $(LINES) | while read n; do echo $$((n * $*)); done >$@
`;

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "4" } },
});
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "twinmetal-vcpus-"));

function run(program, ...args) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout;
}

/** The host's make, with its libraries. */
function makeFiles() {
  const make = run("sh", "-c", "command -v make").trim();
  const libraries = [...run("ldd", make).matchAll(/(\/\S+)(?= \(0x)/g)].map(([path]) => path);
  return [make, ...libraries];
}

async function start(cpus) {
  const vm = await createVm({ memoryBytes: 256 * MIB, cpus, engine: "jit", ...(cpus > 1 && { smp: "parallel" }) });
  await vm.start();
  await vm.agent.connect({ timeoutMs: AGENT_MS });
  await vm.exec(["mkdir", "-p", "/tmp/p", "/tmp/m"]);
  const mode = { mode: 0o755 };
  for (const path of makeFiles()) await vm.writeFile(`/tmp/p/${basename(path)}`, readFileSync(path), mode);
  await vm.writeFile("/tmp/p/work", readFileSync(join(folder, "work")), mode);
  await vm.writeFile("/tmp/p/makefile", new TextEncoder().encode(MAKEFILE));
  const loader = makeFiles().find((path) => /\/ld-linux/.test(path));
  const make = `/tmp/p/${basename(loader)} --library-path /tmp/p /tmp/p/make -s -f /tmp/p/makefile`;
  return { vm, make };
}

/** Seconds, and what was printed. */
async function timed({ vm }, script) {
  const startMs = performance.now();
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-ec", script], { agentTimeoutMs: AGENT_MS });
  const seconds = (performance.now() - startMs) / 1000;
  if (exitCode !== 0) throw new Error(`status ${exitCode}: ${new TextDecoder().decode(stderr)}`);
  return { seconds, text: new TextDecoder().decode(stdout).trim() };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

let isGood = true;
const guests = [];
try {
  run("gcc", "-O2", "-static", "-o", join(folder, "work"), fileURLToPath(new URL("vcpus.c", import.meta.url)));
  for (const cpus of [1, 2]) guests.push(await start(cpus));
  const figures = {};
  for (const [name, { floor, size, script }] of Object.entries(JOBS)) {
    let warm;
    for (let i = 0; i < WARM_UP; i++) {
      for (const guest of guests.toReversed()) warm = await timed(guest, script(guest, size));
      process.stderr.write(`${name}, warm-up ${i + 1} of ${WARM_UP}\n`);
    }
    // As much as takes that long on one vCPU, warm.
    const full = Math.ceil((size * Number(values.seconds)) / warm.seconds);
    const seconds = guests.map(() => []);
    const texts = new Set();
    for (let round = 1; round <= rounds; round++) {
      for (const [i, guest] of guests.entries()) {
        const result = await timed(guest, script(guest, full));
        texts.add(result.text);
        seconds[i].push(result.seconds);
      }
      process.stderr.write(`${name}, round ${round} of ${rounds}\n`);
    }
    if (texts.size !== 1) throw new Error(`${name} gave several results: ${[...texts].join(" | ")}`);
    const [one, two] = seconds.map(median);
    const ratio = one / two;
    figures[name] = { one, two, ratio, floor, size: full, seconds };
    isGood &&= ratio >= floor;
    console.log(`${name}: ${one.toFixed(2)} s, ${two.toFixed(2)} s, ${ratio.toFixed(2)}x (floor ${floor}x)`);
  }
  console.log(JSON.stringify(figures));
} finally {
  for (const { vm } of guests) await vm.stop({ force: true });
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = isGood ? 0 : 1;
