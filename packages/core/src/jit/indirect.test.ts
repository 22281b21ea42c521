/**
 * Indirect jumps and calls in regions: what was seen behind them stays inside, and what was not, or was seen wrongly, or
 * cannot be reached because its way is cut, goes where the interpreter goes.
 */
import { expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { type BareMachine, bareMachine, CODE } from "../interp/bare-machine.ts";
import { handlerSet } from "../interp/core.ts";
import { FlowGraph } from "./flow-graph.ts";
import { DISPATCH } from "./indirect.ts";
import { type CodeWindow, findRegion, PAGE_BYTES } from "./region.ts";
import { LocalTranslator, type TranslationBatch } from "./translator.ts";

const TIERS: readonly Tier[] = ["interp", "jit", "auto"];
const TABLE = 0x200000;
const PROGRAM = 0x201000;
const [RAX, RBX, RCX, RDX, RSI] = [0, 3, 1, 2, 6];

/** Every block is translated before it first runs, as if `pairs` (offsets from CODE) had been seen. */
class SeenBefore extends LocalTranslator {
  readonly #pairs: Uint16Array;
  readonly windows: CodeWindow[] = [];

  constructor(pairs: readonly number[]) {
    super();
    this.#pairs = Uint16Array.from(pairs, (offset) => PAGE_BYTES + offset);
  }
  override request(batch: TranslationBatch): void {
    const windows = batch.windows.map((window) => ({ ...window, seen: this.#pairs }));
    this.windows.push(...windows);
    super.request({ ...batch, windows });
  }
}

function onEveryTier(prepare: (m: BareMachine) => void, seen?: SeenBefore): readonly BareMachine[] {
  const options = [...TIERS.map((tier) => ({ tier })), ...(seen ? [{ tier: "jit" as const, translator: seen }] : [])];
  const machines = options.map((how) => {
    const m = bareMachine({}, how);
    prepare(m);
    for (let i = 0; m.vcpu.run(20_000).reason === "budget"; i++) if (i > 5000) throw new Error("no end");
    return m;
  });
  for (const m of machines) {
    expect(m.state()).toEqual(machines[0]?.state());
    expect(m.vcpu.retired).toBe(machines[0]?.vcpu.retired);
  }
  return machines;
}

/** next: movzx eax, byte [rsi]; inc rsi; jmp (or call) [rbx + rax * 8] */
const FETCH = [0x0f, 0xb6, 0x06, 0x48, 0xff, 0xc6];
const JUMP = [...FETCH, 0xff, 0x24, 0xc3];

/** Handlers at CODE + 16 i: each does its own sum, and goes on by a jump of its own (threaded) or back to the first. */
function interpreter(isThreaded: boolean): { code: number[]; handlers: number[] } {
  const code: number[] = [...JUMP];
  const handlers: number[] = [];
  for (let i = 0; i < 20; i++) {
    while (code.length % 16) code.push(0x90);
    handlers.push(CODE + code.length);
    // imul edx, edx, 3; add edx, i; (dec ecx; jz out)
    code.push(0x6b, 0xd2, 3, 0x83, 0xc2, i, 0xff, 0xc9, 0x74, isThreaded ? 9 : 2);
    if (isThreaded) code.push(...JUMP, 0xf4);
    else code.push(0xeb, (-code.length - 2) & 0xff, 0xf4);
    if (!isThreaded && code.length > 100) break;
  }
  return { code, handlers };
}

function load(m: BareMachine, { code, handlers }: ReturnType<typeof interpreter>, rounds: number): void {
  m.load(code);
  for (const [i, handler] of handlers.entries()) m.memory.write64(TABLE + 8 * i, BigInt(handler));
  let seed = 1;
  const program = Uint8Array.from({ length: rounds }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 16) % handlers.length;
  });
  m.memory.write(PROGRAM, program);
  m.change((s) => {
    for (const [n, value] of [
      [RAX, 0],
      [RBX, TABLE],
      [RCX, rounds],
      [RDX, 1],
      [RSI, PROGRAM],
    ] as const)
      s.gpr[n] = BigInt(value);
  });
}

it.each([true, false])(
  "an interpreter whose handlers jump on (each by itself: %s) stays in its region",
  (isThreaded) => {
    const [, , auto] = onEveryTier((m) => load(m, interpreter(isThreaded), 300_000));
    const { instructionsInRegions = 0, regionEntries = 0, regionsTranslated = 0 } = auto?.engine.stats() ?? {};
    // Handlers that a region does not go on to become regions of their own.
    expect(regionsTranslated).toBeLessThan(3);
    expect(instructionsInRegions).toBeGreaterThan(1_000_000);
    expect(instructionsInRegions / regionEntries).toBeGreaterThan(100);
  },
);

it("indirect calls of small functions, some seen early, some late", () => {
  // 0: movzx eax, [rsi]; inc rsi; call [rbx + rax * 8]; dec ecx; jnz 0; hlt
  const main = [...FETCH, 0xff, 0x14, 0xc3, 0xff, 0xc9, 0x75, 0xf3, 0xf4];
  const handlers: number[] = [];
  const code = [...main];
  for (let i = 0; i < 12; i++) {
    while (code.length % 16) code.push(0x90);
    handlers.push(CODE + code.length);
    // imul edx, edx, 3; add edx, i; ret
    code.push(0x6b, 0xd2, 3, 0x83, 0xc2, i, 0xc3);
  }
  onEveryTier((m) => {
    load(m, { code, handlers }, 100_000);
    // The first half calls four of them only.
    const program = Uint8Array.from({ length: 100_000 }, (_, i) => (i < 50_000 ? i % 4 : (i * 7) % 12));
    m.memory.write(PROGRAM, program);
  });
});

/**
 * 0: dec ecx; jz 40; test cl, 1; jnz 20; 9: (dispatch) jmp [rbx + rax * 8]
 * 20: add edx, 5; (dispatch) jmp [rbx + rax * 8]
 * 40: hlt; 48: imul edx, edx, 3; jmp 0; 64: add edx, 7; jmp 20
 */
const CROSSED = ((): number[] => {
  const code = Array<number>(80).fill(0x90);
  const put = (at: number, ...bytes: readonly number[]): void => void code.splice(at, bytes.length, ...bytes);
  put(0, 0xff, 0xc9, 0x74, 36, 0xf6, 0xc1, 1, 0x75, 11, ...JUMP);
  put(20, 0x83, 0xc2, 5, ...JUMP);
  put(40, 0xf4);
  put(48, 0x6b, 0xd2, 3, 0xeb, -53 & 0xff);
  put(64, 0x83, 0xc2, 7, 0xeb, -49 & 0xff);
  return code;
})();

it("an indirect jump in the middle of a loop, whose way to the dispatch is cut, goes where it goes", () => {
  // The jump at 23 goes back to the dispatch, which the branch at 7 goes around.
  const seen = new SeenBefore([9, 48, 9, 64, 20, 48, 20, 64]);
  const load = (m: BareMachine): void => {
    m.load(CROSSED);
    for (const [i, handler] of [48, 64].entries()) m.memory.write64(TABLE + 8 * i, BigInt(CODE + handler));
    m.memory.write(
      PROGRAM,
      Uint8Array.from({ length: 40_000 }, (_, i) => (i * i + (i >> 3)) & 1),
    );
    m.change((s) => {
      for (const [n, value] of [
        [RAX, 0],
        [RBX, TABLE],
        [RCX, 10_000],
        [RDX, 1],
        [RSI, PROGRAM],
      ] as const)
        s.gpr[n] = BigInt(value);
    });
  };
  const all = onEveryTier(load, seen);
  expect(all[3]?.engine.stats()["instructionsInRegions"]).toBeGreaterThan(50_000);
  const region = findRegion(handlerSet(), seen.windows[0] as CodeWindow);
  const crossed = region?.blocks.get(PAGE_BYTES + 20);
  expect(crossed?.successors).toEqual([DISPATCH]);
  expect(region && crossed && new FlowGraph(region).successors(crossed)).toEqual([]);
});
