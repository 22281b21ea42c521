/** Guests that want all of a processor, and what they get of it. */
import { setTimeout as sleep } from "node:timers/promises";
import { createVm, type Vm, type VmOptions } from "../../packages/host/src/index.ts";

export const OPTIONS: VmOptions = { memoryBytes: 128 * 2 ** 20, isQuiet: true, append: "twinmetal.shell=off" };
const SPIN = "(while :; do :; done) >/dev/null 2>&1 &";

export async function spinning(options: VmOptions = {}): Promise<Vm> {
  const vm = await createVm({ ...OPTIONS, ...options });
  await vm.start();
  await vm.exec(["sh", "-c", SPIN]);
  return vm;
}

export interface Use {
  readonly cpu: number;
  readonly waited: number;
  readonly guestTime: number;
}

/** Parts of so long a time. */
export async function useOver(vms: readonly Vm[], ms: number): Promise<readonly Use[]> {
  const look = async () => ({ nowMs: performance.now(), stats: await Promise.all(vms.map((vm) => vm.stats())) });
  const before = await look();
  await sleep(ms);
  const after = await look();
  const tookMs = after.nowMs - before.nowMs;
  return after.stats.map((stats, index) => {
    const part = (name: string): number => (stats[name]! - before.stats[index]![name]!) / tookMs;
    return { cpu: part("cpuMs"), waited: part("waitedMs"), guestTime: part("guestNs") / 1e6 };
  });
}
