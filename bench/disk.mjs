// Disks beside QEMU's TCG: virtio-blk in one Linux guest, the same kernel and program on both sides, raw and qcow2 images, in
// turn. `node bench/disk.mjs [--rounds N] [--ms MS] [--reps N] [--bus virtio|nvme|ahci] [--only TEST] [--side tcg|twinmetal] [--format
// raw|qcow2]`; needs a build, gcc, cpio and
// qemu-system-x86_64. Times are the guest's own, a figure is the best of all rounds; prints a table, and JSON with --json FILE.
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { convertImage, ensureTinyImage } from "../packages/host/dist/index.js";
import { initrdWith, runSide, TINY_PROGRAM_APPEND } from "./tiny-program.mjs";

const TWINMETAL = fileURLToPath(new URL("../packages/cli/bin/twinmetal.mjs", import.meta.url));
const PROGRAM = fileURLToPath(new URL("guest/dbench.c", import.meta.url));
const MIB = 2 ** 20;
const DISK_BYTES = 256 * MIB;
const FLOOR = 0.7;
const AIM = 1.5;
const DEVICES = { virtio: "vda", nvme: "nvme0n1", ahci: "sda" };
const QEMU_DEVICE = { virtio: "virtio-blk-pci,drive=d", nvme: "nvme,drive=d,serial=d", ahci: "ide-hd,drive=d" };

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    ms: { type: "string", default: "1000" },
    bus: { type: "string", default: "virtio" },
    json: { type: "string" },
    only: { type: "string" },
    reps: { type: "string", default: "2" },
    side: { type: "string" },
    format: { type: "string" },
  },
});
const { bus } = values;
if (!(bus in DEVICES)) throw new Error(`there is no bus ${bus}: give ${Object.keys(DEVICES).join(", ")}`);

function sides(kernel, initrd) {
  return {
    tcg: (disk, format) => [
      "qemu-system-x86_64",
      "-accel tcg,thread=multi -smp 1 -m 512 -nodefaults -no-reboot -display none -serial stdio -machine q35"
        .split(" ")
        .concat(["-kernel", kernel, "-initrd", initrd, "-append", TINY_PROGRAM_APPEND])
        .concat(["-drive", `file=${disk},format=${format},if=none,id=d`, "-device", QEMU_DEVICE[bus]]),
    ],
    twinmetal: (disk, format) => [
      process.execPath,
      [TWINMETAL, "run", "--engine", "jit", "--kernel", kernel, "--initrd", initrd, "--memory", "512M"]
        .concat(["--append", TINY_PROGRAM_APPEND])
        .concat(["--disk", `${disk},format=${format}${bus === "virtio" ? "" : `,bus=${bus}`}`]),
    ],
  };
}

function figureOf(name, nsPerOperation) {
  const perSecond = 1e9 / nsPerOperation;
  return name.includes("1m") ? `${Math.round(perSecond)} MiB/s` : `${Math.round(perSecond)}/s`;
}

const folder = mkdtempSync(join(tmpdir(), "twinmetal-disk-bench-"));
try {
  const image = await ensureTinyImage({ signal: AbortSignal.timeout(90_000) });
  const initrd = initrdWith(folder, image.initrdPath, {
    name: "dbench",
    source: PROGRAM,
    load: ["disk-order"],
    run: `/dbench /dev/${DEVICES[bus]} ${values.ms} ${values.reps} ${values.only ?? ""}`,
  });
  const commands = sides(image.kernelPath, initrd);
  const raw = join(folder, "full.raw");
  const bytes = Buffer.alloc(MIB);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2_654_435_761) >>> 24;
  writeFileSync(raw, Buffer.concat(Array.from({ length: DISK_BYTES / MIB }, () => bytes)));
  const masters = { raw, qcow2: join(folder, "full.qcow2") };
  await convertImage(raw, masters.qcow2, { format: "qcow2" });
  const best = {};
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const format of ["raw", "qcow2"]) {
      if (values.format && values.format !== format) continue;
      for (const side of ["tcg", "twinmetal"]) {
        if (values.side && values.side !== side) continue;
        const disk = join(folder, `disk.${format}`);
        copyFileSync(masters[format], disk);
        for (const [name, ns] of Object.entries(await runSide(commands[side](disk, format)))) {
          const test = (best[`${format} ${name}`] ??= { tcg: Number.NaN, twinmetal: Number.NaN });
          test[side] = Math.min(Number.isNaN(test[side]) ? Number.POSITIVE_INFINITY : test[side], ns);
        }
      }
    }
  }
  const rows = Object.entries(best).map(([name, { tcg, twinmetal }]) => {
    const ratio = tcg / twinmetal;
    const verdict = ratio >= AIM ? "aim" : ratio >= FLOOR ? "floor" : "BELOW";
    return {
      test: name,
      tcg: figureOf(name, tcg),
      twinmetal: figureOf(name, twinmetal),
      ratio: ratio.toFixed(2),
      verdict,
    };
  });
  console.table(rows);
  if (values.json) writeFileSync(values.json, `${JSON.stringify(best, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
