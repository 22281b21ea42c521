// The examples of docs/guide/disks.md, run in the page's order in one folder, with the built program.

import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repository } from "../clone.ts";
import { type Folder, hasQemuTools, makeFolder, qemuCheck } from "./qemu-tools.ts";

const run = promisify(execFile);
const shim = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
/** Each line is a process of its own. */
const TIMEOUT_MS = 180_000;
let folder: Folder;
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(() => folder.remove());

interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function twinmetal(line: string): Promise<Ending> {
  const args = [shim, ...line.split(" ").slice(1)];
  return run(process.execPath, args, { cwd: folder.path }).then(
    (ending) => ({ status: 0, ...ending }),
    (error: { code: number; stdout: string; stderr: string }) => ({ ...error, status: error.code }),
  );
}

describe("docs/guide/disks.md", () => {
  it("has examples that run", { timeout: TIMEOUT_MS }, async () => {
    const page = await readFile(join(repository, "docs", "guide", "disks.md"), "utf8");
    const lines = [...page.matchAll(/```sh\n([^`]*)```/g)].flatMap(([, block]) => block!.trim().split("\n"));
    expect(lines.length).toBeGreaterThan(8);
    const outputs = new Map<string, string>();
    for (const line of lines) {
      const { status, stdout, stderr } = await twinmetal(line);
      expect({ line, status }).toEqual({ line, status: 0 });
      expect(stderr).toMatch(/^(twinmetal: (converting|checking)\n)?$/); // Only where a second has gone by.
      outputs.set(line, stdout);
    }
    expect(outputs.get("twinmetal image info disk.qcow2")).toContain("disk        20 GiB (21474836480 bytes)\n");
    expect(outputs.get("twinmetal image check disk.qcow2")).toBe("disk.qcow2: clean, 0 bytes in use.\n");
    expect(outputs.get("twinmetal image resize disk.qcow2 +10G")).toBe("disk.qcow2: a disk of 30 GiB.\n");
    const { qcow2, sizeBytes } = JSON.parse(outputs.get("twinmetal image convert monday.raw copy.qcow2 --json") ?? "");
    expect({ qcow2, sizeBytes }).toMatchObject({ qcow2: { version: 3, clusterBytes: 65536 }, sizeBytes: 2 ** 30 });
    expect((await stat(folder.file("monday.raw"))).size).toBe(2 ** 30);
    if (hasQemuTools) {
      for (const name of ["disk.qcow2", "copy.qcow2"]) expect((await qemuCheck(folder.file(name))).status).toBe(0);
    }
  });

  it("tells what is wrong and what to do", { timeout: TIMEOUT_MS }, async () => {
    const cases: readonly (readonly [string, number, RegExp])[] = [
      ["twinmetal image", 2, /create\|info\|check\|resize\|convert/],
      ["twinmetal image create again.qcow2", 2, /SIZE is missing/],
      ["twinmetal image create over.qcow2 1G --backing nowhere --backing-format raw", 125, /nowhere cannot be opened/],
      ["twinmetal image create over.qcow2 --backing disk.qcow2", 2, /--backing-format/],
      ["twinmetal image create disk.qcow2 1G", 125, /disk\.qcow2 cannot be created \(EEXIST\)/],
      ["twinmetal image info disk.qcow2 --repair all", 2, /image info has no option --repair/],
      ["twinmetal image resize disk.qcow2 1G", 125, /cannot become smaller/],
      ["twinmetal image check monday.raw", 125, /is not a qcow2 image/],
      ["twinmetal image info nowhere", 125, /nowhere cannot be opened \(ENOENT\)/],
    ];
    for (const [line, status, message] of cases) {
      const ending = await twinmetal(line);
      expect({ line, status: ending.status }).toEqual({ line, status });
      expect(ending.stderr).toMatch(message);
      expect(ending.stderr).not.toMatch(/internal|\n\s+at /);
    }
  });
});
