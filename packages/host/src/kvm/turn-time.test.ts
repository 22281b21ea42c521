import { describe, expect, it } from "vitest";
import { TscPlace } from "./guest-tsc.ts";
import { HostTime } from "./host-time.ts";
import { TurnTime } from "./turn-time.ts";

function times(vcpus: number) {
  let now = 1000;
  const time = new TurnTime(new HostTime(() => now), new TscPlace(), vcpus);
  return {
    time,
    pass: (ns: number) => (now += ns),
    counts: () => Array.from({ length: vcpus }, (_, i) => time.countOf(i)),
  };
}

describe("time of vCPUs that take turns", () => {
  it("is the one's whose turn it is, and the whole is the sum", () => {
    const { time, pass, counts } = times(3);
    pass(100);
    time.refresh();
    time.bring(1);
    pass(30);
    time.refresh();
    time.bring(2);
    pass(5);
    time.refresh();
    time.bring(0);
    pass(1);
    time.refresh();
    expect(counts()).toEqual([101, 30, 5]);
    expect(time.whole.count).toBe(136);
  });

  it("that has passed unseen is the next one's; time that is stale is looked at first", () => {
    const { time, pass, counts } = times(2);
    pass(100);
    time.bring(1);
    time.refresh();
    expect(counts()).toEqual([0, 100]);
    pass(10);
    time.isStale = true;
    time.bring(0);
    expect(counts()).toEqual([0, 110]);
  });

  it("of one that is restored is what it says, and the others' stay", () => {
    const { time, pass, counts } = times(2);
    pass(50);
    time.refresh();
    time.put(1, 700);
    expect(counts()).toEqual([50, 700]);
    time.put(0, 20);
    expect(counts()).toEqual([20, 700]);
    expect(time.whole.count).toBe(720);
  });

  it("goes on where the same is put again, as INIT does; counters stay where they are", () => {
    const { time, pass, counts } = times(2);
    pass(50);
    time.refresh();
    const { generation } = time.tsc;
    time.put(1, 0);
    pass(5);
    time.refresh();
    expect([counts(), time.tsc.generation]).toEqual([[55, 0], generation]);
    time.put(1, 1);
    expect(time.tsc.generation).toBe(generation + 1);
  });

  it("stands still over an anchor", () => {
    const { time, pass, counts } = times(2);
    time.bring(1);
    pass(50);
    time.anchor();
    pass(5);
    time.refresh();
    expect(counts()).toEqual([0, 5]);
  });
});
