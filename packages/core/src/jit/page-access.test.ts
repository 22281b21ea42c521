/**
 * Accesses of a block that are a group, where their bytes lie in two pages of different kinds: state, memory, and the
 * accessed and dirty bits must be the interpreter's, whichever access is the first to fault.
 */
import { expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { bareMachine } from "../interp/bare-machine.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";

const [RAX, RCX, RDX, RBX, RSP] = [0, 1, 2, 3, 4];
const HLT = 0xf4;
const PAGE = 4096;
/** Of 4 KiB pages, for the linear addresses from BORDER's 2 MiB on. */
const TABLE = 0x300000;
/** entryTables' page directory, whose entries map 2 MiB each. */
const LINEAR = 0x600000;
const BORDER = LINEAR + 8 * PAGE;
const PHYSICAL = 0x400000;
const [PRESENT, WRITABLE, ACCESSED, DIRTY] = [1, 2, 0x20, 0x40];

const PAGES: Readonly<Record<string, number>> = {
  absent: 0,
  "read-only": PRESENT,
  fresh: PRESENT | WRITABLE,
  "stored to before": PRESENT | WRITABLE | ACCESSED | DIRTY,
  "a device's": (MEMORY_MAP.lowRamEnd + 0x1000_0000) | PRESENT | WRITABLE,
};
/** Each of 8 bytes around RBX or RSP. */
const ACCESSES: Readonly<Record<string, readonly number[]>> = {
  "reads upwards": [0x48, 0x8b, 0x43, 0xf0, 0x48, 0x8b, 0x53, 0x08], // mov rax, [rbx-16]; mov rdx, [rbx+8]
  "reads downwards": [0x48, 0x8b, 0x53, 0x08, 0x48, 0x8b, 0x43, 0xf0],
  "reads, then stores": [0x48, 0x8b, 0x43, 0xf0, 0x48, 0x89, 0x43, 0xf8, 0x48, 0x89, 0x43, 0x08],
  "stores, then reads": [0x48, 0x89, 0x53, 0xf0, 0x48, 0x8b, 0x43, 0x10, 0x48, 0x89, 0x53, 0x18],
  "adds across the border": [0x48, 0x01, 0x53, 0xf0, 0x48, 0x01, 0x53, 0xfc, 0x48, 0x01, 0x53, 0x08],
  "pushes, moves the stack and pops": [
    ...[0x52, 0x52, 0x48, 0x83, 0xec, 0x10, 0x48, 0x89, 0x54, 0x24, 0x18], // 2 push rdx; sub rsp, 16; mov [rsp+24], rdx
    ...[0x48, 0x83, 0xc4, 0x10, 0x58, 0x58], // add rsp, 16; 2 pop rax
  ],
};
const ROUNDS = 100;

/** What a guest that makes the accesses in a loop comes to. */
function run(tier: Tier, code: readonly number[], [below, above]: readonly [number, number]): object {
  const m = bareMachine({}, { tier });
  const directory = Number(m.memory.read64(Number(m.memory.read64(Number(m.state().cr3))) & ~0xfff)) & ~0xfff;
  m.memory.write64(directory + (LINEAR >> 21) * 8, BigInt(TABLE | PRESENT | WRITABLE));
  for (const [i, entry] of [below, above].entries()) {
    const frame = entry & ~0xfff || PHYSICAL + 2 * i * PAGE;
    m.memory.write64(TABLE + (((BORDER - LINEAR) >> 12) - 1 + i) * 8, BigInt(entry ? frame + (entry & 0xfff) : 0));
    m.memory.write(PHYSICAL + 2 * i * PAGE, new Uint8Array(PAGE).fill(0x11 * (i + 1)));
  }
  m.load([...code, 0x48, 0xff, 0xc9, 0x75, -(code.length + 5) & 0xff, HLT]);
  m.change((s) => {
    s.cr0 |= 0x10000n;
    s.gpr[RAX] = 1n;
    s.gpr[RDX] = 3n;
    s.gpr[RCX] = BigInt(ROUNDS);
    s.gpr[RBX] = BigInt(BORDER);
    s.gpr[RSP] = BigInt(BORDER + 8);
  });
  for (let i = 0; i < 1000; i++) if (m.vcpu.run(10_000).reason !== "budget") break;
  const entries = [-1, 0].map((i) => m.memory.read64(TABLE + (((BORDER - LINEAR) >> 12) + i) * 8));
  const data = [PHYSICAL + PAGE - 32, PHYSICAL + 2 * PAGE].map((at) =>
    [0, 8, 16, 24].map((o) => m.memory.read64(at + o)),
  );
  return { state: m.state(), retired: m.vcpu.retired, entries, data };
}

for (const [name, code] of Object.entries(ACCESSES))
  it(name, () => {
    for (const [below, low] of Object.entries(PAGES))
      for (const [above, high] of Object.entries(PAGES)) {
        const both = { below, above };
        expect({ both, ...run("jit", code, [low, high]) }).toEqual({ both, ...run("interp", code, [low, high]) });
      }
  });
