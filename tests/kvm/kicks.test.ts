// A vCPU that spins inside KVM_RUN is reached from another thread, every time, and is no reason for a process to hang:
// on the host's own KVM, where there is one.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import {
  createCells,
  createKicker,
  createSignal,
  type VcpuKicker,
  type VcpuSignal,
} from "../../packages/host/src/kvm/kick-cells.ts";
import { probeKvm } from "../../packages/host/src/kvm/probe.ts";

const { isUsable, findings } = probeKvm({ hasSelfTest: false });
const why = isUsable ? "" : ` (skipped: ${findings[0]?.reason})`;
const ROUNDS = 1000;
/** Of a busy host: a thread may wait for a CPU. */
const LIMIT_MS = 5000;

const SPINNING = new URL("spinning-vcpu.mjs", import.meta.url);

interface Spinning {
  readonly worker: Worker;
  readonly kicker: VcpuKicker;
  readonly third: VcpuSignal;
  readonly kicks: Int32Array<SharedArrayBuffer>;
}

async function spinning(): Promise<Spinning> {
  const cells = createCells();
  const kicker = createKicker(cells)!;
  const kicks = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(SPINNING, { workerData: { cells, counter: kicks.buffer } });
  await once(worker, "message");
  return { worker, kicker, third: createSignal(cells)!, kicks };
}

it.skipIf(!isUsable).each(["kicker", "third"] as const)(
  `of ${ROUNDS} kicks none is missed (by the %s thread)${why}`,
  async (who) => {
    const all = await spinning();
    const { worker, kicker, kicks } = all;
    let missed = 0;
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const startMs = performance.now();
      all[who].kick();
      if (Atomics.wait(kicks, 0, round, LIMIT_MS) === "timed-out") missed++;
      times.push(performance.now() - startMs);
    }
    times.sort((a, b) => a - b);
    process.stdout.write(`kicks: median ${times[ROUNDS / 2]!.toFixed(3)} ms, most ${times.at(-1)!.toFixed(1)} ms\n`);
    expect(missed).toBe(0);
    expect(kicks[0]).toBe(ROUNDS);
    kicker.stop();
    await worker.terminate();
    kicker.release();
  },
);

it.skipIf(!isUsable)(`two thousand kicks at once are few signals, and the vCPU goes on${why}`, async () => {
  const { worker, kicker, kicks } = await spinning();
  for (let i = 0; i < 2000; i++) kicker.kick();
  expect(Atomics.wait(kicks, 0, 0, LIMIT_MS)).not.toBe("timed-out");
  await new Promise((resolve) => setTimeout(resolve, 50));
  const before = kicks[0]!;
  expect(before).toBeLessThanOrEqual(2000);
  kicker.kick();
  expect(Atomics.wait(kicks, 0, before, LIMIT_MS)).not.toBe("timed-out");
  kicker.stop();
  await worker.terminate();
  kicker.release();
});

/** How a process ends whose vCPU spins, and which then does this: its status, and what it said before. */
async function endOf(action: string): Promise<readonly [said: string, status: number | null]> {
  const kickCells = new URL("../../packages/host/dist/kvm/kick-cells.js", import.meta.url);
  const script = `
    import { Worker } from "node:worker_threads";
    import { createCells, createKicker } from ${JSON.stringify(kickCells.href)};
    const cells = createCells();
    const kicker = createKicker(cells);
    const workerData = { cells, counter: new SharedArrayBuffer(4) };
    const worker = new Worker(new URL(${JSON.stringify(SPINNING.href)}), { workerData, execArgv: [] });
    worker.on("message", () => setTimeout(() => { process.stdout.write("it spins"); ${action} }, 50));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  let said = "";
  child.stdout.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  const kill = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const [status] = (await once(child, "close")) as [number | null];
  clearTimeout(kill);
  return [said, status];
}

it.skipIf(!isUsable)(`process.exit ends a process whose vCPU spins${why}`, async () => {
  expect(await endOf("process.exit(7);")).toEqual(["it spins", 7]);
});

it.skipIf(!isUsable)(`and so does an exception that nobody catches${why}`, async () => {
  expect(await endOf('throw new Error("uncaught");')).toEqual(["it spins", 1]);
});
