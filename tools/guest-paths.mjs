// What a guest's kernel paths cost, section by section: instructions and host CPU time per operation, and with --count how
// often each routine of the core, each hot handler and each device register was used.
//
//   node tools/guest-paths.mjs --kernel FILE --initrd FILE [--append STR] [--memory BYTES] [--count] [--top N]
//     [--tier auto|interp|jit]
//
// A section lasts from "@@B name" to "@@E name operations" on the serial port (bench/guest); what comes before the first
// one is "boot". The guest's clock is virtual, so that counts are the same in every run.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const core = (path) => import(new URL(`../packages/core/dist/${path}.js`, import.meta.url).href);
const { createBoard } = await core("machine/board");
const { Machine } = await core("machine/machine");
const { machineSpec } = await core("machine/spec");
const { JitEngine } = await core("engine/jit-engine");
const { coreExports, createCore, handlerSet } = await core("interp/core");
const { Builder, i32 } = await core("ir/builder");

const { values } = parseArgs({
  options: {
    kernel: { type: "string" },
    initrd: { type: "string" },
    append: { type: "string", default: "console=ttyS0 quiet nokaslr" },
    memory: { type: "string", default: String(512 * 2 ** 20) },
    count: { type: "boolean", default: false },
    top: { type: "string", default: "25" },
    tier: { type: "string", default: "auto" },
  },
});
if (!values.kernel || !values.initrd) {
  console.error(
    "usage: guest-paths.mjs --kernel FILE --initrd FILE [--append STR] [--memory BYTES] [--count] [--top N]",
  );
  process.exit(2);
}

/** Free memory below the block look-up (cpu/layout.ts). */
const COUNTERS = 0xc0000;
const names = [];

function count(b, name) {
  const at = COUNTERS + 8 * names.push(name) - 8;
  b.store("i64.store", "host", i32(at), b.load("i64.load", "host", i32(at)).add(1));
}

/** Puts a counter in front of every routine, and of every handler that stands in line in the dispatcher. */
function countEverything() {
  const handlers = handlerSet();
  const seen = new Set();
  const visit = (routine) => {
    // The run loop is made anew for each module.
    if (seen.has(routine) || !routine.body || routine.name === "run") return;
    seen.add(routine);
    const { statements } = routine.body();
    walk(statements);
    const b = new Builder();
    count(b, routine.name);
    statements.unshift(...b.finish());
  };
  const walk = (statements) => {
    for (const s of statements) {
      if (s.kind === "call") visit(s.routine);
      else if (s.kind === "if") for (const list of [s.yes, s.no]) walk(list);
      else if (s.kind === "block") walk(s.body);
    }
  };
  const run = coreExports(handlers).run.body();
  walk(run.statements);
  for (const routine of [...Object.values(coreExports(handlers)), ...handlers.table.map((h) => h.routine)])
    visit(routine);
  const plainSwitch = Builder.prototype.switch;
  Builder.prototype.switch = function (index, cases, otherwise) {
    const counted = cases.map((body, i) => () => {
      count(this, `hot ${handlers.hot[i]?.key ?? "(end of block)"}`);
      body();
    });
    plainSwitch.call(this, index, cases.length < handlers.hot.length ? cases : counted, otherwise);
  };
}
if (values.count) countEverything();

const accesses = new Map();
const access = (what) => accesses.set(what, (accesses.get(what) ?? 0) + 1);
let view;

class WatchedEngine extends JitEngine {
  createVcpu(index, bus) {
    if (!values.count) return super.createVcpu(index, bus);
    const kinds = { readPort: "in", writePort: "out", readMmio: "mmio read", writeMmio: "mmio write" };
    const msrs = { readMsr: "rdmsr", writeMsr: "wrmsr", readTsc: undefined };
    const watched = Object.entries({ ...kinds, ...msrs }).map(([method, name]) => [
      method,
      (...args) => {
        access(name ? `${name} ${args[0].toString(16)}` : "rdtsc");
        return bus[method](...args);
      },
    ]);
    return super.createVcpu(index, { ...bus, ...Object.fromEntries(watched) });
  }
}

const files = {
  kernel: new Uint8Array(readFileSync(values.kernel)),
  initrd: new Uint8Array(readFileSync(values.initrd)),
};
const reference = (bytes) => ({ sha256: "0".repeat(64), sizeBytes: bytes.length });
const spec = machineSpec({
  memoryBytes: Number(values.memory),
  clock: "virtual",
  boot: { kernel: reference(files.kernel), initrd: reference(files.initrd), commandLine: values.append },
});
const engine = new WatchedEngine({
  memoryBytes: spec.memoryBytes,
  tscFrequencyHz: spec.tscFrequencyHz,
  tier: values.tier,
  createCore: (ramBytes, host, shared, handlers, romBytes) => {
    // The prebuilt module has no counters: it is for the table of handlers as it is.
    const counted = values.count ? { ...handlers, table: [...handlers.table] } : handlers;
    const made = createCore(ramBytes, host, shared, counted, romBytes);
    view = made.view;
    return made;
  },
});

/** name -> { operations, instructions, ms, counts, accesses }, the cheapest repetition. */
const sections = new Map();
let open;
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
function snapshot() {
  return {
    instructions: machine.vcpu.retired,
    ms: cpuMs(),
    counts: names.map((_, i) => Number(view.getBigUint64(COUNTERS + 8 * i, true))),
    accesses: new Map(accesses),
  };
}
function end(name, operations) {
  const now = snapshot();
  const { start } = open;
  const used = new Map([...now.accesses].map(([what, n]) => [what, n - (start.accesses.get(what) ?? 0)]));
  for (const [i, n] of now.counts.entries()) used.set(names[i], (used.get(names[i]) ?? 0) + n - start.counts[i]);
  const section = { operations, instructions: now.instructions - start.instructions, ms: now.ms - start.ms, used };
  if (!(sections.get(name)?.ms < section.ms)) sections.set(name, section);
  open = undefined;
}

let line = "";
function serial(bytes) {
  for (const byte of bytes) {
    if (byte !== 10) {
      line += String.fromCharCode(byte);
      continue;
    }
    const [, kind, name, operations] = /@@([BE]) (\S+) ?(\d*)/.exec(line) ?? [];
    if (!kind && process.env.VERBOSE) console.error(line);
    line = "";
    if (kind && open?.boot) end("boot", 1);
    if (kind === "B") open = { start: snapshot() };
    else if (kind === "E" && open) end(name, Number(operations));
  }
}

const machine = new Machine({
  spec,
  memory: engine.memory,
  engine,
  createBoard: (wiring) => createBoard(wiring, files),
  output: (channel, bytes) => channel.startsWith("serial") && serial(bytes),
});
machine.start();
open = { boot: true, start: snapshot() };
for (;;) {
  const { kind } = machine.runSlice();
  if (kind === "stopped" || kind === "blocked") break;
}

for (const [name, { operations, instructions, ms, used }] of sections) {
  const each = (n, digits = 2) => (n / operations).toFixed(digits);
  console.log(
    `${name.padEnd(12)} ${String(operations).padStart(9)} operations  ${each(instructions, 1).padStart(12)} instructions  ${((ms * 1e6) / operations).toFixed(0).padStart(11)} ns  ${(instructions / ms / 1000).toFixed(0).padStart(4)} MIPS`,
  );
  if (!values.count) continue;
  const most = [...used].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  // Routines and devices apart: the devices are few, and each of their accesses leaves WebAssembly.
  for (const list of [most.filter(([what]) => !accesses.has(what)), most.filter(([what]) => accesses.has(what))])
    for (const [what, n] of list.slice(0, Number(values.top))) console.log(`    ${each(n).padStart(14)}  ${what}`);
}
console.log(JSON.stringify(engine.stats()));
