import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import type { Io } from "./command.ts";
import { LIMIT, limitsOf, parseChange } from "./limit-choice.ts";
import { runProgram } from "./program.ts";
import type { VmUsage } from "./vm-library.ts";

const limits = (...texts: string[]) => limitsOf({ limit: texts.flatMap((text) => LIMIT.parse!(text)) });

it("reads limits", () => {
  expect(limits("cpu=25%,weight=300", "time=1h,cpu-time=90,output=100M")).toEqual({
    cpu: 0.25,
    cpuWeight: 300,
    wallMs: 3_600_000,
    cpuTimeMs: 90_000,
    outputBytes: 100 * 2 ** 20,
  });
  expect(limits("cpu=1.5")).toEqual({ cpu: 1.5 });
  expect(limitsOf({})).toBeUndefined();
});

it.each([
  ["cpu", /sets nothing/],
  ["cpu=", /sets nothing/],
  ["cpu=lots", /no share/],
  ["cpu=0%", /no share/],
  ["weight=0", /no weight/],
  ["memory=1G", /no limit of a VM/],
])("refuses --limit %s", (text, message) => {
  expect(() => limits(text)).toThrow(message);
});

it("reads what is to be set", () => {
  const words =
    "cpu=none weight=300 disk0.iops=500 disk.rate=20M net.latency=50 net1.loss=2% disk0.burst=none balloon=1G memory=768M cpus=3";
  expect(parseChange(words.split(" "))).toEqual({
    limits: { cpu: null, cpuWeight: 300 },
    disks: { "0": { requestsPerSecond: 500, burstBytes: null }, all: { bytesPerSecond: 20 * 2 ** 20 } },
    networks: { all: { latencyMs: 50 }, "1": { loss: 0.02 } },
    memory: { balloon: 2 ** 30, sizeBytes: 768 * 2 ** 20 },
    cpus: 3,
  });
  expect(parseChange(["balloon=auto"])).toEqual({ memory: { balloon: "auto" } });
  expect(parseChange(["balloon=none"])).toEqual({ memory: { balloon: 0 } });
});

it.each([
  ["speed=3", /nothing called "speed".*disk\.iops/],
  ["disk.speed=3", /a disk has no "speed"/],
  ["net0.mtu=1500", /a network card has no "mtu"/],
  ["cpus=9", /has 1 to 8/],
  ["disk0.iops=0", /so many requests/],
])("refuses to set %s", (text, message) => {
  expect(() => parseChange([text])).toThrow(message);
});

const USAGE: VmUsage = {
  atMs: 0,
  state: "running",
  engine: "jit",
  cpus: 1,
  maxCpus: 1,
  cpu: { cpuMs: 0, waitedMs: 0, throttledMs: 0, idleMs: 0 },
  memory: {
    promisedBytes: 2 ** 29,
    maxBytes: 2 ** 29,
    balloonBytes: 0,
    isBalloonAutomatic: false,
    residentBytes: 2 ** 28,
    sharedBytes: 2 ** 25,
  },
  disks: [{ reads: 0, writes: 0, readBytes: 0, writtenBytes: 0, heldMs: 0, limits: { requestsPerSecond: 9 } }],
  networks: [
    {
      ...{ receivedFrames: 0, sentFrames: 0, receivedBytes: 0, sentBytes: 0 },
      limits: { toGuest: { latencyMs: 50, loss: 0.02 }, fromGuest: { latencyMs: 50 } },
    },
  ],
  outputBytes: 0,
  limits: { cpu: 0.25 },
};

function setUp() {
  let out = "";
  let looks = 0;
  const asked: unknown[] = [];
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: (part: string) => void (out += part) },
    stderr: { write: (part: string) => void (out += part) },
    env: {},
    onSignal: () => () => {},
    library: {
      askVm: async (vm: string, request: unknown) => {
        asked.push(request);
        if (vm === "gone.sock") throw Object.assign(new Error("Nobody answers."), { code: "link-lost" });
        const atMs = 2000 * looks++;
        return { ...USAGE, atMs, cpu: { ...USAGE.cpu, cpuMs: atMs / 4, throttledMs: 0.75 * atMs } };
      },
    },
  } as unknown as Io;
  return { asked, out: () => out, run: (...args: string[]) => runProgram(io, args) };
}

it("sets, and tells what holds", async () => {
  const { run, asked, out } = setUp();
  expect(await run("set", "vm.sock", "cpu=25%")).toBe(0);
  expect(asked).toEqual([{ command: "set", change: { limits: { cpu: 0.25 } } }]);
  expect(out()).toMatch(/^cpu +25%\ndisk0\.iops +9\nnet0\.latency +50\nnet0\.loss +2% to the guest\n$/);
  expect(await run("set", "vm.sock")).toBe(2);
  expect(await run("set", "vm.sock", "cpu=much")).toBe(2);
});

it("looks at VMs once, and says why one is slow and that one is silent", async () => {
  const { run, out } = setUp();
  expect(await run("top", "vm.sock", "gone.sock", "--once", "--interval", "1ms")).toBe(0);
  expect(out()).toMatch(/NAME +STATE +ENGINE +CPU/);
  expect(out()).toMatch(
    /vm\.sock +running +jit +25% +0% +75% +256 MiB of 512 MiB +- +32 MiB .*rests 75 %.*limit of 25 %/,
  );
  expect(out()).toMatch(/gone\.sock +silent/);
});

it("says why the only one does not answer, and prints JSON", async () => {
  const { run, out } = setUp();
  expect(await run("top", "gone.sock", "--once")).toBe(125);
  expect(out()).toContain("Nobody answers.");
  const { run: again, out: json } = setUp();
  expect(await again("top", "vm.sock", "--once", "--json", "--interval", "1ms")).toBe(0);
  expect(JSON.parse(json())[0]).toMatchObject({ name: "vm.sock", rates: { cpu: 0.25 } });
});
