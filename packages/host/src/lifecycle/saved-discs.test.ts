import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import { keepDiscs, savedDiscs, withDiscs } from "./saved-discs.ts";
import { type VmFolder, vmFolder } from "./vm-folder.ts";

let root = "";
let folder: VmFolder;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tm-discs-"));
  folder = vmFolder(root, "box");
  mkdirSync(folder.path);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const cd: DiskOptions = { path: "/first.iso", isCdrom: true, isReadOnly: true, bus: "ahci" };
const disks: readonly DiskOptions[] = [{ path: "/data.qcow2" }, cd, { ...cd, path: "/tools.iso" }];

it("puts the discs back that were in the drives when the VM was saved", async () => {
  await keepDiscs(folder, [
    { disk: 1, path: "/second.iso" },
    { disk: 2, path: null },
  ]);
  expect(withDiscs(disks, await savedDiscs(folder))).toEqual([
    disks[0],
    { ...cd, path: "/second.iso", format: "raw" },
    undefined,
  ]);
  await keepDiscs(folder);
  expect(withDiscs(disks, await savedDiscs(folder))).toEqual(disks);
});

it("tells of none where there is nothing that can be read", async () => {
  expect(await savedDiscs(folder)).toEqual([]);
  for (const text of ["", "{}", '[null, 7, {"disk": "1"}, {"disk": 1.5, "path": "/x"}, {"disk": 1, "path": 5}]']) {
    writeFileSync(folder.discs, text);
    expect(await savedDiscs(folder)).toEqual([]);
  }
});
