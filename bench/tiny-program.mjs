// A static C program as the first of a tiny guest, for measurements of a device: how its initrd is made, and how what it
// prints is read. Lines: "@@D NAME OPERATIONS BYTES NANOSECONDS", and "@@Z" at the end.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const MIB = 2 ** 20;
const SIDE_MS = 180_000;

/** The words of a kernel's command line that start it. */
export const TINY_PROGRAM_APPEND = "quiet console=ttyS0 rdinit=/bench-init";

/** Program and script, behind the tiny image's initrd: `load` are lists of packed modules of that image. */
export function initrdWith(folder, base, { name, source, load, run }) {
  const root = join(folder, "root");
  mkdirSync(root);
  const built = spawnSync("gcc", ["-O2", "-static", "-o", join(root, name), source], { stdio: "inherit" });
  if (built.status !== 0) throw new Error("gcc failed");
  const script = `#!/bin/sh
/bin/busybox --install -s
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
for m in $(cat /lib/modules/load-order); do insmod /lib/modules/$m; done
for m in $(cat ${load.map((list) => `/lib/modules/${list}`).join(" ")}); do zcat /lib/modules/$m.gz >/m.ko; insmod /m.ko; done
sleep 1
${run} >/dev/ttyS0 2>&1
poweroff -f
`;
  writeFileSync(join(root, "bench-init"), script, { mode: 0o755 });
  const files = [name, "bench-init"].join("\n");
  const cpio = spawnSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: root, input: files, maxBuffer: 64 * MIB });
  if (cpio.status !== 0) throw new Error("cpio failed");
  const initrd = join(folder, "initrd");
  writeFileSync(initrd, Buffer.concat([readFileSync(base), cpio.stdout]));
  return initrd;
}

/** By test: the best nanoseconds for an operation. */
export function runSide([file, args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), SIDE_MS);
    let text = "";
    child.stdout.on("data", (bytes) => {
      text += bytes;
    });
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      const found = {};
      for (const [, name, operations, , ns] of text.matchAll(/@@D (\S+) (\d+) (\d+) (\d+)/g))
        found[name] = Math.min(found[name] ?? Number.POSITIVE_INFINITY, Number(ns) / Number(operations));
      if (!text.includes("@@Z")) reject(new Error(`${file} did not come to the end:\n${text.slice(-2000)}`));
      else resolve(found);
    });
  });
}
