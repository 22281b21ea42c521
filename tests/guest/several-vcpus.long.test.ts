// Linux on 4 and 8 vCPUs under load for ten minutes of the host's time: jobs that share processors, pipes, locks and files give
// the known results, each round. Then the same machine twice with a virtual clock, to one state.

import { expect, it } from "vitest";
import { createVm, type Vm } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const LOAD_MS = 600_000;

/** Each job goes from processor to processor with each of its rounds, and adds to a file under a lock. */
const ROUND = `
  cpus=$(nproc); rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w; echo 0 >count
  for job in 1 2 3 4 5 6 7 8; do
    (for i in 1 2 3 4; do
      taskset -c $(((job+i)%cpus)) sh -c 'seq 1 500 | while read n; do echo $n; done | md5sum' >>sums$job
      until mkdir lock 2>/dev/null; do :; done; read n <count; echo $((n+1)) >count; rmdir lock
    done) &
  done
  wait
  cat sums? | sort -u | wc -l; cat sums? | wc -l; cat count; dmesg | grep -icE 'BUG:|stall|lockup' || true`;
const RESULT = "1\n32\n32\n0\n";

async function round(vm: Vm): Promise<string> {
  const { stdout } = await vm.exec(["sh", "-c", ROUND]);
  return new TextDecoder().decode(stdout);
}

it.each([4, 8])("%i vCPUs compute what they shall, for ten minutes", { timeout: 2 * LOAD_MS }, async (cpus) => {
  const guest = await tinyGuest();
  if ("missing" in guest) throw new Error(guest.missing);
  await using vm = await createVm({ memoryBytes: 256 * MIB, cpus, engine: "jit", append: "quiet" });
  await vm.start();
  const endMs = performance.now() + LOAD_MS;
  let rounds = 0;
  for (; performance.now() < endMs; rounds++) expect(await round(vm), `round ${rounds}`).toBe(RESULT);
  expect(rounds).toBeGreaterThan(10);
  const stats = await vm.stats();
  for (let index = 0; index < cpus; index++) expect(stats[`vcpu${index}Retired`]).toBeGreaterThan(1e8);
});

it.each([4, 8])("%i vCPUs boot twice to the same state with a virtual clock", { timeout: LOAD_MS }, async (cpus) => {
  const boot = async (sliceNs: number): Promise<string> => {
    await using vm = await createVm({
      memoryBytes: 96 * MIB,
      cpus,
      clock: "virtual",
      seed: "0123456789abcdef",
      epochSeconds: 1_700_000_000,
      append: "quiet rdinit=/bin/busybox -- poweroff -f",
      sliceNs,
    });
    await vm.start();
    expect(await vm.wait()).toMatchObject({ kind: "off" });
    return await vm.stateHash();
  };
  const [first, second] = await Promise.all([boot(50_000), boot(1_234_567)]);
  expect(second).toBe(first);
});
