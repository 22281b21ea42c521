/**
 * The user network's proofs that take minutes: a gibibyte each way over a bad wire, and a million packets that chance has
 * changed (another run of them with MUTATION_SEED).
 */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { runMutations } from "./fake-mutations.ts";
import { Pattern, ROUGH, runTraffic, type Traffic } from "./fake-traffic.ts";

it("1 GiB each way at once has equal hashes under 2 % loss, 50 ms, repetition and reordering", () => {
  const bytes = 1 << 30;
  const [fromGuest, fromHost] = [new Pattern(1), new Pattern(2)];
  const [there, back] = [createHash("sha256"), createHash("sha256")];
  const traffic: Traffic = {
    guestSends: bytes,
    hostSends: bytes,
    fromGuest,
    fromHost,
    hostReceived: (part) => void there.update(part),
    guestReceived: (part) => void back.update(part),
  };
  const { guest, ...result } = runTraffic(1, traffic, ROUGH, 24 * 3_600_000);
  console.log(result);
  expect(there.digest("hex")).toBe(fromGuest.hash(bytes, createHash("sha256")).digest("hex"));
  expect(back.digest("hex")).toBe(fromHost.hash(bytes, createHash("sha256")).digest("hex"));
  expect(result).toMatchObject({ doneConnections: 1, peersEnded: 1 });
  expect([guest.network.statistics.tcpConnections, guest.world.timers]).toEqual([0, 0]);
});

it("a million mutated packets: nothing throws, nothing loops, every answer is well-formed, everything is bounded", async () => {
  const before = process.memoryUsage();
  const { guest, ...result } = await runMutations(1_000_000, Number(process.env["MUTATION_SEED"] ?? 1));
  const after = process.memoryUsage();
  console.log(result, (after.rss - before.rss) >> 20, "MiB more");
  expect(result.complaints).toEqual([]);
  expect(result.mostAnswers).toBeLessThan(2000);
  expect(result.mostSteps).toBeLessThan(10_000);
  expect(result.most.tcpConnections).toBeLessThanOrEqual(2048);
  expect(result.most).toMatchObject({ udpPeers: 0 });
  expect(result.most.udpSockets).toBeLessThanOrEqual(512);
  expect(result.most.leases).toBeLessThanOrEqual(64);
  expect(result.most.stations).toBeLessThanOrEqual(256);
  expect(result.most.incomplete).toBeLessThanOrEqual(32);
  guest.network.close();
  guest.world.advance(600_000);
  expect(guest.world.timers).toBe(0);
});
