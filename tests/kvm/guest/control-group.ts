/**
 * The VM process's control group on a real hierarchy of version 2, which the nested guest's init has mounted: the bounds
 * hold, for a process that starts in the root group and for one that has a group already.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ResourceLimits } from "@twinmetal/host";
import { describe, expect, it } from "vitest";

const ROOT = "/sys/fs/cgroup";
const MODULE = join(process.cwd(), "packages/host/dist/sandbox/control-group.js");
const LIMITS = { memoryBytes: 160 * 2 ** 20, tasks: 40, processors: 0.25 };
/** Without a bound of processor time, which makes Node slow to start. */
const QUICK = { memoryBytes: LIMITS.memoryBytes, tasks: LIMITS.tasks };
const NAME = /^twinmetal-\d+$/;

interface Outcome {
  readonly status: number | null;
  readonly signal: string | null;
  readonly told: Record<string, unknown>;
}

/** Runs `body` in a process that has entered its control group; `told` is what it gives to `tell`. */
function inGroup(
  body: string,
  { limits = QUICK, group = "" }: { limits?: ResourceLimits; group?: string } = {},
): Outcome {
  const enter = group === "" ? "" : `writeFileSync("${ROOT}${group}/cgroup.procs", String(process.pid));`;
  const script = `
    import { existsSync, readFileSync, writeFileSync } from "node:fs";
    import { spawn, spawnSync } from "node:child_process";
    import { enterControlGroup } from ${JSON.stringify(MODULE)};
    const tell = (facts) => process.stdout.write(JSON.stringify(facts) + "\\n");
    ${enter}
    const finding = enterControlGroup(${JSON.stringify(limits)});
    const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))[1];
    const file = (name) => readFileSync("${ROOT}" + own + "/" + name, "utf8").trim();
    tell({ state: finding.state, detail: finding.detail, own });
    ${body}
  `;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 60_000,
  });
  const lines = stdout.trim().split("\n");
  if (!lines[0]?.startsWith("{")) throw new Error(`nothing told: ${stdout}${stderr}`);
  return { status, signal, told: Object.assign({}, ...lines.map((line) => JSON.parse(line) as object)) };
}

const groups = (parent = ROOT): string[] => readdirSync(parent).filter((name) => NAME.test(name));

describe("a process in a control group of its own", () => {
  it("has it, with the bounds that were asked for", () => {
    const { told } = inGroup(`tell({ files: ["memory.max", "pids.max", "cpu.max"].map(file) });`, {
      limits: LIMITS,
    });
    expect(told).toMatchObject({
      state: "on",
      own: expect.stringMatching(/^\/twinmetal-\d+$/),
      files: [String(LIMITS.memoryBytes), "40", "25000 100000"],
    });
    expect(told["detail"]).toContain("memory.max 167772160, pids.max 40, cpu.max 25000 100000");
  });

  it("is killed when it takes more memory, and nobody else", { timeout: 90_000 }, () => {
    const { signal, told } = inGroup(`
      const kept = [];
      for (let i = 0; i < 40; i++) kept.push(Buffer.alloc(16 * 2 ** 20, i + 1));
      tell({ isThrough: true });
    `);
    expect([signal, told["isThrough"]]).toEqual(["SIGKILL", undefined]);
  });

  it("starts no more tasks than it may", { timeout: 90_000 }, () => {
    const { told } = inGroup(`
      const errors = new Set();
      const children = [];
      for (let i = 0; i < 60; i++) {
        const child = spawn("/bin/busybox", ["sleep", "20"]);
        child.on("error", (error) => errors.add(error.code));
        if (child.pid !== undefined) children.push(child);
      }
      setTimeout(() => {
        tell({ started: children.length, errors: [...errors], now: Number(file("pids.current")) });
        for (const child of children) child.kill("SIGKILL");
      }, 500);
    `);
    expect(told["errors"]).toEqual(["EAGAIN"]);
    expect(told["started"]).toBeLessThan(LIMITS.tasks);
    expect(told["now"]).toBeLessThanOrEqual(LIMITS.tasks);
  });

  it("gets no more of the processor than its part", { timeout: 90_000 }, () => {
    const { told } = inGroup(
      `
      const before = process.cpuUsage();
      const startMs = performance.now();
      while (performance.now() - startMs < 4000);
      const { user, system } = process.cpuUsage(before);
      tell({ part: (user + system) / 1000 / (performance.now() - startMs), stat: file("cpu.stat") });
    `,
      { limits: LIMITS },
    );
    expect(told["part"]).toBeLessThan(0.35);
    expect(told["stat"]).toMatch(/^nr_throttled [1-9]/m);
  });

  it("leaves an empty one behind, which the next removes", () => {
    inGroup("");
    const [left] = groups();
    expect(left).toMatch(NAME);
    inGroup("");
    expect(existsSync(join(ROOT, left!))).toBe(false);
    for (const name of groups()) rmdirSync(join(ROOT, name));
  });
});

describe("a process that a service manager has put into a group", () => {
  const slice = join(ROOT, "slice");

  it("gets one beside that", () => {
    for (const group of [slice, join(slice, "own")]) mkdirSync(group, { recursive: true });
    writeFileSync(join(ROOT, "cgroup.subtree_control"), "+memory +pids +cpu");
    const { told } = inGroup(`tell({ max: file("memory.max") });`, { group: "/slice/own" });
    expect(told).toMatchObject({
      state: "on",
      own: expect.stringMatching(/^\/slice\/twinmetal-\d+$/),
      max: String(LIMITS.memoryBytes),
    });
    expect(readFileSync(join(slice, "own/cgroup.procs"), "utf8")).toBe("");
    for (const name of groups(slice)) rmdirSync(join(slice, name));
  });

  it("is told which bounds are missing where the group offers less", () => {
    for (const group of [slice, ROOT]) writeFileSync(join(group, "cgroup.subtree_control"), "-memory -cpu");
    const { told } = inGroup("", { group: "/slice/own" });
    expect(told).toMatchObject({ state: "partly", detail: expect.stringContaining("not here: memory.max.") });
    for (const name of groups(slice)) rmdirSync(join(slice, name));
  });

  it("is told why there is none where the hierarchy cannot be written", () => {
    const mounts = spawnSync("/bin/busybox", ["mount", "-o", "remount,ro", ROOT], { encoding: "utf8" });
    expect(mounts.stderr).toBe("");
    try {
      const { told, status } = inGroup("");
      expect([status, told["own"]]).toEqual([0, "/"]);
      expect(told).toMatchObject({
        state: "off",
        detail: expect.stringMatching(/No control group could be made \(.*EROFS/),
      });
    } finally {
      spawnSync("/bin/busybox", ["mount", "-o", "remount,rw", ROOT]);
    }
  });
});
