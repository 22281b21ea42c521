// Captures what the ROMs print under Bochs and writes it beside them: NAME.expected.
//   npm run roms:capture               every ROM that has no .expected file yet
//   npm run roms:capture -- --all      every ROM
//   npm run roms:capture -- gates/     those whose path contains the text
// Needs Debian's packages bochs, bochs-term, vgabios, nasm and bsdutils (script). Lines of an .expected file that end in
// "  ; ..." were written by hand from the manual and are kept; tests/roms/README.md.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = process.env.TWINMETAL_ROMS ?? HERE;
const LIMIT_MS = 10_000;
const END = "END";
/** Of those Bochs knows; a ROM names another with a line "; bochs: cpu=NAME". */
const MODEL = "corei7_haswell_4770";

const configuration = (model) => `megs: 32
romimage: file=rom.bin, address=0xffff0000
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=${model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
display_library: term
port_e9_hack: enabled=1
log: bochs.log
panic: action=report
`;

const wanted = process.argv.slice(2);
const all = wanted.includes("--all");
const patterns = wanted.filter((word) => word !== "--all");
const roms = readdirSync(FOLDER, { recursive: true })
  .map(String)
  .filter((path) => path.endsWith(".asm"))
  .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)))
  .filter((path) => all || patterns.length > 0 || !existsSync(join(FOLDER, path.replace(/asm$/, "expected"))))
  .sort();

/** What the ROM prints, up to its END line. */
function run(source) {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-bochs-"));
  execFileSync("nasm", ["-f", "bin", "-I", `${HERE}/`, "-o", join(folder, "rom.bin"), source], { stdio: "inherit" });
  const model = /^; bochs: cpu=(\w+)/m.exec(readFileSync(source, "utf8"))?.[1] ?? MODEL;
  writeFileSync(join(folder, "bochsrc"), configuration(model));
  writeFileSync(join(folder, "commands"), "c\n");
  return new Promise((resolve, reject) => {
    const child = spawn(
      "script",
      ["-qfc", "stty -opost; exec timeout -k 1 20 bochs -q -f bochsrc -rc commands", "/dev/null"],
      {
        cwd: folder,
        detached: true,
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    let text = "";
    const stop = () => {
      clearTimeout(timer);
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {}
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`no END after ${LIMIT_MS / 1000} s:\n${text.slice(-300)}`));
    }, LIMIT_MS);
    child.stdout.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const lines = text.split("\n").map((line) => line.replaceAll("\r", ""));
      const end = lines.indexOf(END);
      if (end < 0) return;
      stop();
      // The debugger's own line "(0) [...] ..." comes last before the guest's first.
      const first = lines.findIndex((line) => line.startsWith("(0) ["));
      resolve(lines.slice(first + 1, end + 1));
    });
  });
}

/** Puts hand-written lines of the old file in place of those with the same label. */
function withKept(lines, old) {
  const kept = old.filter((line) => / {2}; /.test(line));
  const label = (line) => line.split(/[= ]/)[0];
  for (const line of kept) {
    const index = Number(/ {2}; line (\d+):/.exec(line)?.[1] ?? 0) - 1;
    const at = index >= 0 ? index : lines.findIndex((found) => label(found) === label(line));
    if (at >= 0 && at < lines.length) lines[at] = line;
    else console.warn(`  kept line has no place: ${line}`);
  }
  return lines;
}

let failed = 0;
for (const [i, rom] of roms.entries()) {
  const source = join(FOLDER, rom);
  const target = source.replace(/asm$/, "expected");
  const old = existsSync(target) ? readFileSync(target, "utf8").split("\n") : [];
  if (old.length > 0 && old.every((line) => line === "" || / {2}; /.test(line))) {
    console.log(`${i + 1}/${roms.length} ${relative(FOLDER, source)}: written by hand`);
    continue;
  }
  try {
    writeFileSync(target, `${withKept(await run(source), old).join("\n")}\n`);
    console.log(`${i + 1}/${roms.length} ${relative(FOLDER, source)}`);
  } catch (error) {
    failed++;
    console.error(`${rom}: ${error.message}`);
  }
}
process.exitCode = failed ? 1 : 0;
