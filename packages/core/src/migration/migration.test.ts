import { describe, expect, it } from "vitest";
import { MigrationError } from "./errors.ts";
import {
  Copies,
  FAKE_COMPRESSOR,
  FAULTS,
  FakeDestination,
  FakeSource,
  FakeTime,
  type Fault,
  Wire,
} from "./fake-world.ts";
import type { CancelSignal, MigrationLink } from "./link.ts";
import { migrateVm, probeTarget } from "./source.ts";
import { DEFAULT_MIGRATION_LIMITS, type MigrateOptions, type MigrationProgress } from "./source-contract.ts";
import { receiveVm } from "./target.ts";

const ID = Uint8Array.from({ length: 16 }, (_, i) => i);

interface World {
  readonly time: FakeTime;
  readonly copies: Copies;
  readonly source: FakeSource;
  readonly destination: FakeDestination;
  readonly wire: Wire;
  readonly canBeAsked: boolean;
  readonly options: MigrateOptions;
  /** Ends when the target has dealt with every connection. */
  readonly receptions: Promise<unknown>[];
}

/** `again`: whether the target can be reached once more, after the first link. */
function world(fault?: Fault, again: "reachable" | "gone" = "reachable", pages = 128): World {
  const time = new FakeTime(() => new Promise((resolve) => void setImmediate(resolve)));
  const copies = new Copies();
  const source = new FakeSource(copies, pages);
  const destination = new FakeDestination(copies, pages);
  const wire = new Wire(fault);
  wire.onSend = () => source.work();
  const receptions: Promise<unknown>[] = [];
  let connections = 0;
  const connect = async (): Promise<MigrationLink> => {
    if (connections++ > 0 && again === "gone") throw new MigrationError("link-lost", "nobody answers there.");
    const { source: here, target: link } = connections === 1 ? wire : new Wire();
    const reception = receiveVm({
      link,
      destination,
      time,
      compressor: FAKE_COMPRESSOR,
      stallMs: 10_000,
      greetMs: 5000,
    });
    reception.catch(() => {});
    receptions.push(reception);
    return here;
  };
  const options: MigrateOptions = {
    vm: source,
    version: "1",
    id: ID,
    connect,
    time,
    compressor: FAKE_COMPRESSOR,
    limits: { ...DEFAULT_MIGRATION_LIMITS, stallMs: 3000 },
  };
  const canBeAsked = again === "reachable";
  return { time, copies, source, destination, wire, canBeAsked, options, receptions };
}

/** "migrated", or the error's code. Checks what must hold however it ends. */
async function outcome(w: World, options: MigrateOptions = w.options): Promise<string> {
  const [result] = await w.time.settle(migrateVm(options));
  await w.time.settle(...w.receptions);
  const code = result.status === "fulfilled" ? "migrated" : (result.reason as MigrationError).code;
  if (result.status === "rejected" && !(result.reason instanceof MigrationError)) throw result.reason;
  expect(w.copies.most).toBe(1);
  const { source, destination } = w;
  if (code === "migrated") {
    expect([source.state, destination.state, destination.isWhole]).toEqual(["gone", "running", true]);
    expect(destination.input).toEqual(Uint8Array.of(7, 8, 9));
  } else if (code === "undecided") {
    expect(source.state).toBe("stopped");
  } else {
    expect(source.state).toBe("running");
    expect(source.share).toBe(1);
    // One that cannot be told holds what it has, and does not run it.
    expect(["none", "discarded", ...(w.canBeAsked ? [] : ["adopted"])]).toContain(destination.state);
  }
  if (code !== "undecided") expect(w.copies.running).toBe(1);
  return code;
}

describe("a migration", () => {
  it("carries a guest that writes all the time", async () => {
    const w = world();
    const progress: MigrationProgress[] = [];
    expect(await outcome(w, { ...w.options, onProgress: (report) => progress.push(report) })).toBe("migrated");
    expect(new Set(progress.map(({ phase }) => phase))).toEqual(
      new Set(["connect", "copy", "stop", "release", "done"]),
    );
    expect(w.time.isIdle).toBe(true);
  });

  it.each(["always", "never"] as const)("with compression %s", async (compression) => {
    const w = world();
    expect(await outcome(w, { ...w.options, limits: { ...w.options.limits, compression } })).toBe("migrated");
  });

  it("keeps a paused guest paused", async () => {
    const w = world();
    w.source.state = "paused";
    w.copies.change(-1);
    const [result] = await w.time.settle(migrateVm(w.options));
    expect(result.status).toBe("fulfilled");
    expect([w.source.state, w.destination.state, w.copies.running]).toEqual(["gone", "paused", 0]);
  });

  it("keeps to its bandwidth", async () => {
    const w = world();
    const bytesPerSecond = 256 * 1024;
    const limits = { ...w.options.limits, bytesPerSecond, compression: "never" as const, maxDowntimeMs: 2000 };
    const [result] = await w.time.settle(migrateVm({ ...w.options, limits }));
    if (result.status === "rejected") throw result.reason;
    const { sentBytes, totalMs } = result.value;
    expect(sentBytes / (totalMs / 1000)).toBeLessThan(bytesPerSecond * 2);
    expect(totalMs).toBeGreaterThan(500);
  });

  it("slows a guest down that writes faster than the link carries, and gives it all its time back", async () => {
    const w = world(undefined, "reachable", 512);
    w.source.pace = 40;
    w.wire.onSend = () => {
      w.source.work();
      w.time.advance(8);
    };
    const limits = { ...w.options.limits, maxDowntimeMs: 60 };
    const [result] = await w.time.settle(migrateVm({ ...w.options, limits }));
    if (result.status === "rejected") throw result.reason;
    expect(result.value.leastShare).toBeLessThan(1);
    expect(w.destination.isWhole).toBe(true);
  });

  it("gives up on such a guest if it may not be slowed down", async () => {
    const w = world(undefined, "reachable", 512);
    w.source.pace = 40;
    w.wire.onSend = () => {
      w.source.work();
      w.time.advance(8);
    };
    const limits = { ...w.options.limits, maxDowntimeMs: 20, mayThrottle: false };
    expect(await outcome(w, { ...w.options, limits })).toBe("not-converging");
  });

  it("is refused with every reason, and can be asked for them before", async () => {
    const w = world();
    w.destination.obstacles = [
      { code: "memory", message: "It has no 16 MiB left." },
      { code: "engine", message: "It has another engine." },
    ];
    const [probe] = await w.time.settle(probeTarget(w.options));
    expect(probe).toMatchObject({ status: "fulfilled", value: w.destination.obstacles });
    const other = world();
    other.destination.obstacles = w.destination.obstacles;
    expect(await outcome(other)).toBe("refused");
    expect(other.destination.state).toBe("none");
  });

  it("goes back when the target cannot run it after all", async () => {
    const w = world();
    w.destination.failsToRun = true;
    expect(await outcome(w)).toBe("link-lost");
  });
});

describe("cancelled", () => {
  /** After so many messages in both directions. */
  const cancelAt = (w: World, count: number): CancelSignal => {
    const listeners = new Set<() => void>();
    const signal = {
      isCancelled: false,
      onCancel: (listener: () => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    w.wire.onSend = () => {
      w.source.work();
      const { counts } = w.wire;
      if (counts["to-source"] + counts["to-target"] < count || signal.isCancelled) return;
      signal.isCancelled = true;
      for (const listener of [...listeners]) listener();
    };
    return signal;
  };

  it("at any message the guest runs on at exactly one side", async () => {
    const whole = world();
    await outcome(whole);
    const { counts } = whole.wire;
    const codes = new Map<string, number>();
    for (let at = 1; at <= counts["to-source"] + counts["to-target"]; at++) {
      const w = world();
      const code = await outcome(w, { ...w.options, cancel: cancelAt(w, at) });
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    // The last ones are the release and its answer.
    expect([...codes.keys()].sort()).toEqual(["cancelled", "migrated"]);
    expect(codes.get("migrated")).toBeLessThanOrEqual(2);
  });
});

describe("a broken link", () => {
  const cases: Fault[] = [];
  for (const kind of FAULTS)
    for (const direction of ["to-target", "to-source"] as const)
      for (let at = 0; at < 24; at++) cases.push({ kind, direction, at });

  it("at any message leaves exactly one running copy, if the target can be asked", async () => {
    for (const fault of cases) {
      const w = world(fault);
      const code = await outcome(w);
      expect([fault, code]).not.toEqual([fault, "undecided"]);
    }
  });

  it("never makes two, and says so when nobody can know", async () => {
    const undecided = new Set<string>();
    for (const fault of cases) {
      const w = world(fault, "gone");
      const code = await outcome(w);
      if (code !== "undecided") continue;
      undecided.add(`${fault.direction} ${w.destination.state}`);
    }
    expect([...undecided].sort()).toEqual(
      ["to-source adopted", "to-source running", "to-target adopted", "to-target running"].filter((text) =>
        undecided.has(text),
      ),
    );
    expect(undecided.size).toBeGreaterThan(0);
  });

  it("with any bit wrong is found out", async () => {
    let found = 0;
    for (let bit = 0; bit < 200; bit++) {
      const at = bit % 12;
      const w = world({ kind: "corrupt", direction: bit % 3 ? "to-target" : "to-source", at, bit: bit * 977 });
      if ((await outcome(w)) !== "migrated") found++;
    }
    expect(found).toBeGreaterThan(150);
  });
});
