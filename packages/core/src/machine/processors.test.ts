import { describe, expect, it } from "vitest";
import { resetState } from "../cpu/reset-state.ts";
import type { Vcpu, VcpuExit } from "../engine/engine.ts";
import { GuestClock } from "./guest-clock.ts";
import { Processors, TURN_NS } from "./processors.ts";

/** vCPUs that run to the end of each budget, or until `during` kicks them; who ran, and how long. */
function turns(unit: "instruction" | "nanosecond") {
  const runs: [index: number, budget: number][] = [];
  let during: (index: number) => void = () => {};
  const create = (index: number): Vcpu => {
    let retired = 0;
    let isKicked = false;
    return {
      get retired() {
        return retired;
      },
      isWaiting: false,
      run: (budget): VcpuExit => {
        runs.push([index, budget]);
        during(index);
        const wasKicked = isKicked;
        isKicked = false;
        retired += wasKicked ? 10 : budget;
        return { reason: wasKicked ? "kick" : "budget" };
      },
      requestInterrupt: () => {},
      setTaskPriority: () => {},
      interrupt: () => {},
      nmi: () => {},
      kick: () => {
        isKicked = true;
      },
      getState: () => resetState(retired),
      setState: () => {},
      reset: () => {},
      debug: () => {},
    };
  };
  const clock = new GuestClock({ epochSeconds: 0, tscFrequencyHz: 1e9, retired: () => processors.retired });
  const processors: Processors = new Processors(clock, 3, create, () => undefined, unit);
  for (const pins of processors.others) pins.startup(0x80);
  const startAll = { current: 0, turnLeft: 1000, waiting: [false, false, false] };
  processors.restore(startAll);
  return { processors, runs, use: (what: typeof during) => (during = what) };
}

describe("vCPUs whose time is the host's", () => {
  it("take turns of a millisecond, after what is left of a restored one", () => {
    const { processors, runs } = turns("nanosecond");
    processors.run(2 * TURN_NS);
    expect(runs).toEqual([
      [0, 1000],
      [1, TURN_NS],
      [2, TURN_NS - 1000],
    ]);
    expect(processors.save()).toMatchObject({ current: 2, turnLeft: 1000 });
  });

  it("give the turn up for one that gets an interrupt, in order, after a look at the machine", () => {
    const { processors, runs, use } = turns("nanosecond");
    use(() => {
      processors.others[1]!.setInterrupt(true);
      use(() => {});
    });
    expect(processors.run(TURN_NS)).toEqual({ kind: "ran" });
    expect([runs, processors.current]).toEqual([[[0, 1000]], 1]);
  });

  it("keep it where they interrupt themselves, or an interrupt is taken back", () => {
    const { processors, runs, use } = turns("nanosecond");
    use((index) => {
      processors.setInterrupt(index, true);
      processors.others[1]!.setInterrupt(false);
    });
    processors.run(1000);
    expect(runs).toEqual([[0, 1000]]);
    expect(processors.current).toBe(1);
  });
});

it("vCPUs that count instructions go on to the end of their turn", () => {
  const { processors, runs, use } = turns("instruction");
  use(() => processors.others[1]!.setInterrupt(true));
  processors.run(1500);
  expect(runs).toEqual([
    [0, 1000],
    [1, 500],
  ]);
});
