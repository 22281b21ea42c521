// Runs the performance guest under Twinmetal and, as root, natively, and compares every checksum, output hash and exit
// status. Times are shown, not judged.
//   npm run bench:guest -- DIR [--mode all|real|micro] [--reps N]
// DIR is what bench/guest/build.sh makes: vmlinuz64, ird64.cpio and root64/ (the chroot).
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createVm } from "../packages/host/dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { mode: { type: "string", default: "all" }, reps: { type: "string", default: "1" } },
});
const [directory] = positionals;
if (!directory || !existsSync(join(directory, "vmlinuz64"))) {
  console.error(
    "usage: npm run bench:guest -- DIR [--mode all|real|micro] [--reps N]; DIR has vmlinuz64 and ird64.cpio",
  );
  process.exit(2);
}
const { mode, reps } = values;

/** name -> { checks, nanoseconds of guest time by repetition } */
function sections(text) {
  const all = new Map();
  for (const match of text.matchAll(/@@([SE]) (\S+) ([^\r\n]*)/g)) {
    const [, kind, name, rest] = match;
    const section = all.get(name) ?? { checks: [], ns: [] };
    all.set(name, section);
    const words = rest.split(" ");
    if (kind === "S") section.checks.push(words[0]);
    else {
      section.checks.push(words.filter((word) => word.includes("=")).join(" "));
      section.ns.push(Number(words[1]) / Number(words[0]));
    }
  }
  return all;
}

function native() {
  const root = join(directory, "root64");
  if (process.getuid?.() !== 0 || !existsSync(root)) return undefined;
  const run = spawnSync("chroot", [root, "/bin/sh", "/bench.sh", mode, reps], { encoding: "utf8", maxBuffer: 2 ** 28 });
  return sections(run.stdout);
}

const reference = native();
if (!reference) console.error("not root, or no root64: nothing to compare with");
const vm = await createVm({
  kernel: join(directory, "vmlinuz64"),
  initrd: join(directory, "ird64.cpio"),
  memoryBytes: 512 * 2 ** 20,
  append: `quiet nokaslr bmode=${mode} breps=${reps}`,
});
let text = "";
vm.serial.onData((bytes) => {
  text += Buffer.from(bytes).toString("latin1");
});
const start = performance.now();
await vm.start();
const exit = await vm.wait();
await vm.close();
const seconds = (performance.now() - start) / 1000;
const guest = sections(text);

let different = 0;
for (const [name, { checks, ns }] of reference ?? guest) {
  const ours = guest.get(name);
  const same = !reference || (ours !== undefined && ours.checks.join() === checks.join());
  if (!same) different++;
  const ratio = reference && ours ? `${(Math.min(...ours.ns) / Math.min(...ns)).toFixed(1)}x` : "";
  console.log(`${same ? "equal    " : "DIFFERENT"} ${name.padEnd(18)} ${ratio}`);
}
const done = text.includes("@@ALLDONE");
console.log(
  `${guest.size} sections in ${seconds.toFixed(1)} s, ${exit.kind}, ${done ? "to the end" : "NOT to the end"}, ${different} different`,
);
process.exitCode = done && different === 0 && exit.kind === "off" ? 0 : 1;
