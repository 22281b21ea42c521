import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DEBIAN_FILES, DEBIAN_LINKS } from "./debian-files.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "twinmetal-debian-files-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

const contentOf = (path: string): string => DEBIAN_FILES.find(([name]) => name === path)?.[1] ?? "";

/** What decides on cloud-init: its own generator or, without a word of that, nothing. The guest's / is `folder`. */
function generate(commandLine: string, ...paths: string[]): string {
  for (const path of ["proc/", "sys/block/vda/", "lib/systemd/system-generators/", ...paths])
    mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, "proc/cmdline"), `${commandLine}\n`);
  const own = join(folder, "lib/systemd/system-generators/cloud-init-generator");
  writeFileSync(own, '#!/bin/sh\necho "$@"\n');
  chmodSync(own, 0o755);
  const script = contentOf("etc/systemd/system-generators/cloud-init-generator");
  const here = script.replaceAll(/\/(?:sys|var|proc|lib|run)\//g, `${folder}$&`);
  return execFileSync("sh", ["-s", "normal", "early"], { input: here, encoding: "utf8" });
}

it("leaves cloud-init off on a machine with one disk and no seed, at once", () => {
  expect(generate("console=ttyS0 quiet", "sys/block/loop0")).toBe("");
  expect(existsSync(join(folder, "run/cloud-init/disabled"))).toBe(true);
});

it.each([
  ["another disk", "quiet", "sys/block/vdb"],
  ["a seed on the disk", "quiet", "var/lib/cloud/seed/nocloud"],
  ["the kernel's command line", "quiet ds=nocloud", "sys/block/ram0"],
])("lets cloud-init look by itself where there is %s", (_what, commandLine, path) => {
  expect(generate(commandLine, path)).toBe("normal early\n");
  expect(existsSync(join(folder, "run/cloud-init"))).toBe(false);
});

it("masks units and generators, and has scripts that a shell can read", () => {
  for (const [path, target] of DEBIAN_LINKS) {
    expect(path).toMatch(/^etc\/systemd\/system(?:-generators)?\/[a-z0-9@_-]+(?:\.(?:mount|automount|service|path))?$/);
    expect(target).toBe("/dev/null");
  }
  for (const [, content, mode] of DEBIAN_FILES) if (mode === 0o755) execFileSync("sh", ["-n"], { input: content });
});
