import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { admitVm, examineAdmission, markMigration, withdrawVm } from "./running-vms.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-running-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const host = { memoryBytes: 1000, processors: 4 };
const wanted = { memoryBytes: 300, cpus: 1 };

it("takes so many of those that come at once as there is room for", async () => {
  const tries = Array.from({ length: 8 }, (_, i) => i);
  const results = await Promise.allSettled(
    tries.map((i) => admitVm({ name: `vm${i}`, wanted, host, directory, owner: `o${i}`, rules: { memoryRatio: 1 } })),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  const reasons = results.flatMap((result) => (result.status === "rejected" ? [result.reason as Error] : []));
  expect(reasons[0]).toMatchObject({ code: "refused" });
  expect(reasons[0]?.message).toMatch(/^VM vm\d was not started, since the policy does not take it: memoryRatio: /);
}, 30_000);

it("counts a VM once that starts again, and none whose process is gone", async () => {
  const rules = { maxVms: 1 };
  await admitVm({ name: "a", wanted, host, directory, owner: "a", rules });
  await admitVm({ name: "a", wanted, host, directory, owner: "a", rules });
  const { pid } = spawnSync("true");
  const gone = `${hostname()}-${pid}`;
  writeFileSync(join(directory, gone), JSON.stringify({ pid, startTime: "1", host: hostname() }));
  writeFileSync(join(directory, `${gone}.json`), JSON.stringify(wanted));
  const options = { name: "b", wanted, host, directory, owner: "b" };
  expect(await examineAdmission({ ...options, rules: { maxVms: 2 } })).toEqual([
    { rule: "maxVms", isMet: true, running: 1, wanted: 1, most: 2 },
  ]);
  expect(readdirSync(directory)).not.toContain(`${gone}.json`);
  await expect(admitVm({ ...options, rules })).rejects.toMatchObject({ code: "refused" });
});

it("counts a VM once that migrates within the host, and its address at a switch, too", async () => {
  const [rules, cards] = [{ maxVms: 2 }, [{ switch: "lab", mac: "02:00:00:00:00:01" }]];
  const vm = { name: "box", wanted, cards, host, directory, rules: { maxVms: 1 } };
  const another = { name: "b", wanted, host, directory, owner: "b", rules };
  const counted = async (): Promise<number | undefined> => (await examineAdmission(another))[0]?.running;
  await markMigration("0a", { directory, owner: "nobody" });
  await admitVm({ ...vm, owner: "source" });
  await markMigration("0b", { directory, owner: "source" });
  await expect(admitVm({ ...vm, owner: "target", migration: "0c" })).rejects.toMatchObject({ code: "refused" });
  await admitVm({ ...vm, owner: "target", migration: "0b" });
  expect(await counted()).toBe(1);
  // It came to nothing, and goes elsewhere.
  await withdrawVm({ directory, owner: "target" });
  expect(await counted()).toBe(1);
  await markMigration("0d", { directory, owner: "source" });
  await admitVm({ ...vm, owner: "other", migration: "0d" });
  expect(await counted()).toBe(1);
  await withdrawVm({ directory, owner: "source" });
  expect(await counted()).toBe(1);
  await withdrawVm({ directory, owner: "other" });
  expect(await counted()).toBe(0);
});

it("runs a VM without rules where nothing can be written, and none with rules", async () => {
  const file = join(directory, "file");
  writeFileSync(file, "");
  const options = { name: "a", wanted, host, directory: join(file, "below") };
  expect(await admitVm(options)).toEqual([]);
  await expect(admitVm({ ...options, rules: { maxVms: 5 } })).rejects.toMatchObject({ code: "refused" });
});

it("takes no VM with an address that another one has at the same switch while that runs", async () => {
  const card = { switch: "lab", mac: "02:00:00:00:00:01" };
  await admitVm({ name: "box", wanted, cards: [card], host, directory, owner: "a" });
  const copy = { name: "copy", wanted, host, directory, owner: "b" };
  await expect(admitVm({ ...copy, cards: [card] })).rejects.toMatchObject({
    code: "refused",
    message: expect.stringContaining("VM box runs with the same network address, 02:00:00:00:00:01, at the switch lab"),
  });
  await admitVm({ ...copy, cards: [{ ...card, switch: "other" }] });
  // It starts again, in the same process.
  await admitVm({ name: "box", wanted, cards: [card], host, directory, owner: "a" });
});
