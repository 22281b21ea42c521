/** STI holds interrupts back for one instruction, wherever that one leads: regions go on through it. */
import { expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { type BareMachine, bareMachine } from "../interp/bare-machine.ts";

const RCX = 1;
const ROUNDS = 5000;
const HLT = 0xf4;
const TIERS: readonly Tier[] = ["interp", "jit", "auto"];

function run(code: readonly number[], tier: Tier): BareMachine {
  const m = bareMachine({}, { tier });
  m.load(code);
  m.change((s) => {
    s.gpr[RCX] = BigInt(ROUNDS);
  });
  for (let i = 0; m.vcpu.run(20_000).reason === "budget"; i++) if (i > 1000) throw new Error("no end");
  return m;
}

/** 0: cli; 1: BODY; behind it: dec ecx; jnz 0; hlt. Functions start at 32. */
function loop(body: readonly number[], functions: readonly number[] = []): number[] {
  const length = 1 + body.length;
  const main = [0xfa, ...body, 0xff, 0xc9, 0x75, 256 - (length + 4), HLT];
  return [...main, ...Array<number>(32 - main.length).fill(0x90), ...functions];
}
/** call 32 from `at` */
const call = (at: number): number[] => [0xe8, 32 - at - 5, 0, 0, 0];

it.each<[string, number[]]>([
  ["straight code", loop([0xfb, 0x90])],
  ["a jump", loop([0xfb, 0xeb, 0])],
  ["a branch that is taken, or is not", loop([0xf6, 0xc1, 1, 0xfb, 0x75, 0, 0x90])],
  ["what a branch around it leads to", loop([0xf6, 0xc1, 1, 0x75, 1, 0xfb, 0xff, 0xc0])],
  ["a call", loop([0xfb, ...call(2)], [0xc3])],
  ["a call that a branch around it leads to", loop([0xf6, 0xc1, 1, 0x75, 1, 0xfb, ...call(7)], [0xff, 0xc0, 0xc3])],
  ["a return", loop([...call(1)], [0xfa, 0xfb, 0xc3])],
  ["another one", loop([0xfb, 0xfb, 0xfa, 0xfb, 0xff, 0xc0])],
])(
  "in front of %s",
  (_, code) => {
    const machines = TIERS.map((tier) => run(code, tier));
    const [reference, inRegions] = machines as [BareMachine, BareMachine];
    for (const m of machines) {
      expect(m.state()).toEqual(reference.state());
      expect(m.vcpu.retired).toBe(reference.vcpu.retired);
    }
    expect(inRegions.engine.stats()["instructionsInRegions"]).toBeGreaterThan(inRegions.vcpu.retired - 100);
  },
  60_000,
);
