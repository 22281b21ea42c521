import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ControlGroupPlaces, enterControlGroup } from "./control-group.ts";

const LIMITS = { memoryBytes: 2 ** 30, tasks: 100, processors: 1.5 };
let root: string;
let places: ControlGroupPlaces;

/** A directory in the place of the kernel's hierarchy: its files take whatever is written. */
function hierarchy(controllers: string): void {
  mkdirSync(join(root, "slice/own"), { recursive: true });
  for (const group of ["slice", "slice/own"]) writeFileSync(join(root, group, "cgroup.controllers"), controllers);
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "control-group-"));
  places = { mounts: join(root, "mountinfo"), own: join(root, "own") };
  writeFileSync(places.mounts!, `29 23 0:26 / ${root} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n`);
  writeFileSync(places.own!, "0::/slice/own\n");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("enterControlGroup", () => {
  it("makes a group beside the process's own, with bounds, and enters it", () => {
    hierarchy("cpuset cpu io memory pids\n");
    const finding = enterControlGroup(LIMITS, places);
    expect(finding.state).toBe("on");
    const group = join(root, "slice", `twinmetal-${process.pid}`);
    const file = (name: string): string => readFileSync(join(group, name), "utf8");
    expect(file("memory.max")).toBe("1073741824");
    expect(file("pids.max")).toBe("100");
    expect(file("cpu.max")).toBe("150000 100000");
    expect(file("cgroup.procs")).toBe(String(process.pid));
    expect(readFileSync(join(root, "slice/cgroup.subtree_control"), "utf8")).toBe("+memory +pids +cpu");
  });

  it("says which bounds are missing", () => {
    hierarchy("pids\n");
    const finding = enterControlGroup(LIMITS, places);
    expect(finding).toMatchObject({
      state: "partly",
      detail: expect.stringContaining("not here: memory.max, cpu.max"),
    });
  });

  it("removes groups that are empty, and no others", () => {
    hierarchy("pids\n");
    for (const name of ["twinmetal-1", "twinmetal-2", "other"]) mkdirSync(join(root, "slice", name));
    writeFileSync(join(root, "slice/twinmetal-2/busy"), "");
    enterControlGroup(LIMITS, places);
    expect(() => readFileSync(join(root, "slice/twinmetal-1"))).toThrow("ENOENT");
    expect(() => readFileSync(join(root, "slice/twinmetal-2"))).toThrow("EISDIR");
    expect(() => readFileSync(join(root, "slice/other"))).toThrow("EISDIR");
  });

  it("says why there is none", () => {
    expect(enterControlGroup(undefined, places)).toMatchObject({ state: "off", detail: "No bounds were asked for." });
    expect(enterControlGroup(LIMITS, places)).toMatchObject({
      state: "off",
      detail: expect.stringContaining("ENOENT"),
    });
    hierarchy("\n");
    expect(enterControlGroup(LIMITS, places).detail).toContain("none of the controllers");
    writeFileSync(places.own!, "4:memory:/\n");
    expect(enterControlGroup(LIMITS, places).detail).toContain("no control groups version 2");
    expect(enterControlGroup(LIMITS, { mounts: "/nowhere", own: "/nowhere" }).state).toBe("off");
  });
});
