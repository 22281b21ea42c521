/** Connections at packet level: every byte of a guest's own TCP over a wire that is as bad as it gets. */
import { createHash } from "node:crypto";
import { expect, it, vi } from "vitest";
import { Pattern, ROUGH, runTraffic, type Traffic } from "./fake-traffic.ts";

const HOUR_MS = 3_600_000;
/** On a busy host. */
vi.setConfig({ testTimeout: 120_000 });

it("3 MiB each way at once arrive over a wire that loses, repeats and reorders", () => {
  const bytes = 3 << 20;
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
  const result = runTraffic(1, traffic, ROUGH, HOUR_MS);
  expect(there.digest("hex")).toBe(fromGuest.hash(bytes, createHash("sha256")).digest("hex"));
  expect(back.digest("hex")).toBe(fromHost.hash(bytes, createHash("sha256")).digest("hex"));
  expect(result.lost).toBeGreaterThan(70);
  expect([result.doneConnections, result.peersEnded, result.guest.world.timers]).toEqual([1, 1, 0]);
});

it("a thousand connections that begin at once all get through, with every byte, and leave nothing behind", () => {
  const bytes = 8000;
  const [fromGuest, fromHost] = [new Pattern(1), new Pattern(2)];
  let [there, back] = [0, 0];
  const traffic: Traffic = {
    guestSends: bytes,
    hostSends: bytes,
    fromGuest,
    fromHost,
    hostReceived: (part, offset) => void (there += fromGuest.matches(offset, part)),
    guestReceived: (part, offset) => void (back += fromHost.matches(offset, part)),
  };
  const { guest, ...result } = runTraffic(1000, traffic, ROUGH, HOUR_MS);
  expect(result).toMatchObject({ doneConnections: 1000, peersEnded: 1000, mostConnections: 1000 });
  expect([there, back]).toEqual([1000 * bytes, 1000 * bytes]);
  expect([guest.network.statistics.tcpConnections, guest.world.timers]).toEqual([0, 0]);
});
