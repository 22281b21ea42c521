/** Regions that are entered in their middle, and that go on behind instructions on the state block. */
import { describe, expect, it } from "vitest";
import { MODE_64, MODE_PROTECTED } from "../cpu/layout.ts";
import type { Tier } from "../engine/jit-engine.ts";
import { bareMachine, CODE, STACK } from "../interp/bare-machine.ts";
import { handlerSet } from "../interp/core.ts";
import { FlowGraph } from "./flow-graph.ts";
import { findRegion, PAGE_BYTES, type Region, WINDOW_BYTES } from "./region.ts";
import { resumptionAt, withResumptions } from "./resumptions.ts";

const [RAX, RCX, RSP] = [0, 1, 4];
const HLT = 0xf4;
const ROUNDS = 5000;

const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >>> 24) & 255];
const call = (at: number, target: number): number[] => [0xe8, ...le32(target - (at + 5))];
const INC_RAX = [0x48, 0xff, 0xc0];

function regionOf(code: readonly number[]): Region {
  const bytes = new Uint8Array(WINDOW_BYTES);
  bytes.set(code, PAGE_BYTES);
  const mode = MODE_64 | MODE_PROTECTED;
  const found = findRegion(handlerSet(), { bytes, entry: PAGE_BYTES, hasBefore: true, hasAfter: true, mode });
  if (!found) throw new Error("no region");
  return withResumptions(found);
}

describe("further entries", () => {
  it("stand behind calls of other regions and behind POPF", () => {
    // call far away; popf; ret
    const region = regionOf([...call(0, 0x100000), 0x9d, 0xc3]);
    expect(region.resumptions).toEqual([PAGE_BYTES + 5, PAGE_BYTES + 6]);
  });

  it("not in loops, and not behind what never comes back", () => {
    // call far away; dec rcx; jnz to the call; iretq
    const region = regionOf([...call(0, 0x100000), 0x48, 0xff, 0xc9, 0x75, 0xf6, 0x48, 0xcf, 0x90]);
    expect(region.resumptions).toEqual([]);
    expect(region.start).toBe(region.entry);
  });

  it("and not where control does not go on inside of the region: it would come back to the same place for ever", () => {
    // jnz to the call; jmp behind it; call far away; (behind) dec rcx; jnz to the call; popf; ret
    const code = [0x75, 2, 0xeb, 5, ...call(4, 0x100000), 0x48, 0xff, 0xc9, 0x75, 0xf6, 0x9d, 0xc3];
    const region = regionOf(code);
    expect(region.resumptions).toEqual([PAGE_BYTES + code.length - 1]);
    const graph = new FlowGraph(region);
    for (const offset of region.resumptions)
      expect(graph.successors(region.blocks.get(resumptionAt(offset))!)).toEqual([offset]);
  });
});

describe("a function whose callee is left for the interpreter", () => {
  const work = Array.from({ length: 24 }, () => INC_RAX).flat();
  const run = (tier: Tier): { state: unknown; retired: number; regions: number } => {
    const m = bareMachine({}, { tier });
    const [f, g] = [CODE + 0x4000, CODE + 0x8000];
    // main: call f; dec rcx; jnz; hlt. f: call g, then 24 times inc rax; ret. g: in al, 0x80; ret
    m.load([...call(f, g), ...work, 0xc3], f);
    m.load([0xe4, 0x80, 0xc3], g);
    m.load([...call(CODE, f), 0x48, 0xff, 0xc9, 0x75, 0xf6, HLT]);
    m.change((s) => {
      s.gpr[RAX] = 0n;
      s.gpr[RCX] = BigInt(ROUNDS);
      s.gpr[RSP] = BigInt(STACK);
    });
    expect(m.vcpu.run(1 << 20).reason).toBe("halt");
    return { state: m.state(), retired: m.vcpu.retired, regions: m.engine.stats()["regionsTranslated"] ?? 0 };
  };

  it("goes on in its region, with the same state and count on every tier", () => {
    const reference = run("interp");
    for (const tier of ["jit", "auto"] as const) {
      const { state, retired, regions } = run(tier);
      expect(state).toEqual(reference.state);
      expect(retired).toBe(reference.retired);
      // What stands behind the call of g needs none of its own.
      if (tier === "jit") expect(regions).toBe(4);
    }
  });
});
