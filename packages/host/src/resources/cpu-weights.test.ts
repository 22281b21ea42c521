import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { CpuWeight, type WeightEntry, type WeightTable } from "./cpu-weights.ts";
import { monotonicMs, WeightFile } from "./weight-file.ts";

interface Guest {
  readonly pace: CpuWeight;
  /** Wants to run at this time. */
  readonly wants: (nowMs: number) => boolean;
  usedMs: number;
  restsUntilMs: number;
}

class Host {
  readonly entries: WeightEntry[] = [];
  readonly guests: Guest[] = [];

  add(weight: number, wants: Guest["wants"] = () => true): Guest {
    const own = this.guests.length;
    const table: WeightTable = {
      others: () => this.entries.filter((_entry, index) => index !== own),
      publish: (entry) => {
        this.entries[own] = entry;
      },
    };
    const guest = { pace: new CpuWeight(table, weight), wants, usedMs: 0, restsUntilMs: 0 };
    this.guests.push(guest);
    return guest;
  }

  /** One processor, divided in turns among those that can run, as a fair scheduler does. */
  run(fromMs: number, untilMs: number): void {
    const turnMs = 3;
    for (let nowMs = fromMs; nowMs < untilMs; ) {
      const ready = this.guests.filter((guest) => guest.restsUntilMs <= nowMs && guest.wants(nowMs));
      for (const guest of this.guests) if (!guest.wants(nowMs)) guest.pace.idle(nowMs);
      const roundMs = turnMs * Math.max(1, ready.length);
      nowMs += roundMs;
      for (const guest of ready) {
        guest.usedMs += turnMs;
        guest.restsUntilMs = nowMs + guest.pace.used(turnMs, roundMs - turnMs, nowMs);
      }
    }
  }
}

it("divides a processor by weight", () => {
  const host = new Host();
  const [one, three] = [host.add(100), host.add(300)];
  host.run(0, 10_000);
  expect(three.usedMs / one.usedMs).toBeGreaterThan(2.7);
  expect(three.usedMs / one.usedMs).toBeLessThan(3.3);
  expect(one.usedMs + three.usedMs).toBeGreaterThan(9500);
});

it("divides it among many", () => {
  const host = new Host();
  const guests = [100, 200, 300, 400].map((weight) => host.add(weight));
  host.run(0, 30_000);
  const shares = guests.map(({ usedMs }) => usedMs / 30_000);
  for (const [index, share] of shares.entries()) expect(share).toBeCloseTo((index + 1) / 10, 1);
});

it("gives what one leaves to the others, and takes nothing for what was before", () => {
  const host = new Host();
  const alone = host.add(100);
  const late = host.add(100, (nowMs) => nowMs > 5000);
  host.run(0, 5000);
  expect(alone.usedMs).toBeGreaterThan(4900);
  alone.usedMs = 0;
  host.run(5000, 7000);
  expect(alone.usedMs / 2000).toBeCloseTo(0.5, 1);
  expect(late.usedMs / 2000).toBeCloseTo(0.5, 1);
});

it("follows a change", () => {
  const host = new Host();
  const [one, other] = [host.add(100), host.add(300)];
  host.run(0, 3000);
  one.pace.weight = 900;
  one.usedMs = other.usedMs = 0;
  host.run(3000, 9000);
  expect(one.usedMs / other.usedMs).toBeGreaterThan(2.6);
  expect(one.usedMs / other.usedMs).toBeLessThan(3.4);
});

it("tells VMs of each other by a file", () => {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-weights-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const env = { XDG_RUNTIME_DIR: directory };
  const [one, other] = [WeightFile.open(env), WeightFile.open(env)];
  const entry = { weight: 300, virtualMs: 12.5, isContending: true, atMs: monotonicMs() };
  expect(one.others()).toEqual([]);
  one.publish(entry);
  expect(other.others()).toEqual([entry]);
  other.publish({ ...entry, weight: 5 });
  expect(one.others()).toEqual([{ ...entry, weight: 5 }]);
  one.close();
  other.close();
});

it("does without a file that others may write to, and says so", () => {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-weights-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "twinmetal"), { mode: 0o770 });
  chmodSync(join(directory, "twinmetal"), 0o770);
  expect(() => WeightFile.open({ XDG_RUNTIME_DIR: directory })).toThrow(/cannot be used.*weight away/s);
});
