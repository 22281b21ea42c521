// Typical mistakes of a translator, planted one at a time around or inside a core: state that is not right where a region
// is left, counts that are off, code or translations that outlive a change, instructions that happen twice. Each is a
// `createCore` for the engine of a subject; the product has nothing of it.

import { codeWritten } from "../../packages/core/src/cpu/code-cache.ts";
import * as L from "../../packages/core/src/cpu/layout.ts";
import { flushPage, flushTlb } from "../../packages/core/src/cpu/tlb.ts";
import type { JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { type Core, type CoreHost, createCore } from "../../packages/core/src/interp/core.ts";
import { fetchFault, instructionFault } from "../../packages/core/src/interp/dispatcher.ts";
import type { Field } from "../../packages/core/src/ir/builder.ts";
import { type Routine, routine } from "../../packages/core/src/ir/routine.ts";
import { makeHandlers } from "../../packages/core/src/isa/handlers.ts";
import { type InstructionRecord, RECORDS } from "../../packages/core/src/isa/record.ts";
import { plantedCore } from "../roms/planted.ts";

type CreateCore = NonNullable<JitEngineOptions["createCore"]>;

export interface Mistake {
  readonly name: string;
  /** Compiled when it is called. */
  readonly make: () => CreateCore;
}

type Words = Pick<DataView, "getInt32" | "setInt32">;

class Fields {
  readonly view: DataView;
  constructor(view: DataView) {
    this.view = view;
  }
  get(field: Field): number {
    return this.view.getInt32(L.CPU_BASE + field.offset, true);
  }
  put(field: Field, value: number): void {
    (this.view satisfies Words).setInt32(L.CPU_BASE + field.offset, value, true);
  }
  bytes(offset: number, length: number): Uint8Array {
    return new Uint8Array(this.view.buffer, L.CPU_BASE + offset, length);
  }
}

/** Runs right, but for what `wrong` does with the state before and after. */
function aroundRun(wrong: (fields: Fields, run: (budget: number) => number, budget: number) => number): CreateCore {
  return (...given) => {
    const core = createCore(...given);
    const fields = new Fields(core.view);
    const run = (budget: number): number => wrong(fields, core.exports.run, budget);
    return { ...core, exports: { ...core.exports, run } };
  };
}

/** Something is not written back where a run ends because its budget does. */
function notWrittenBack(offset: number, length: number): CreateCore {
  return aroundRun((fields, run, budget) => {
    const place = fields.bytes(offset, length);
    const before = place.slice();
    const exit = run(budget);
    if (exit === L.EXIT_BUDGET) place.set(before);
    return exit;
  });
}

function aroundHost(wrong: (host: CoreHost, core: () => Core) => Partial<CoreHost>): CreateCore {
  return (ramBytes, host, ...rest) => {
    const core: Core = createCore(ramBytes, { ...host, ...wrong(host, () => core) }, ...rest);
    return core;
  };
}

/** With another body in a routine. */
function withRoutine(target: Routine, wrong: Routine): CreateCore {
  const plant = (): (() => void) => {
    const place = target as { body: Routine["body"] };
    const right = place.body;
    place.body = wrong.body;
    return () => {
      place.body = right;
    };
  };
  return plantedCore({ name: target.name, plant });
}

function withRecord(name: string, wrong: (record: InstructionRecord) => InstructionRecord["semantics"]): CreateCore {
  const handlers = makeHandlers(RECORDS.map((r) => (r.name === name ? { ...r, semantics: wrong(r) } : r)));
  return (ramBytes, host, shared, given, romBytes) =>
    createCore(ramBytes, host, shared, { ...handlers, ...(given && { features: given.features }) }, romBytes);
}
const as = (name: string): InstructionRecord["semantics"] => RECORDS.find((r) => r.name === name)!.semantics;

const nothing = (name: string, parameters: "i32,i32" | "i64" | ""): Routine =>
  routine(name, parameters === "" ? [] : (parameters.split(",") as "i32"[]), undefined, () => {});

export const MISTAKES: readonly Mistake[] = [
  {
    name: "AF is wrong where the budget ends",
    make: () =>
      aroundRun((fields, run, budget) => {
        const exit = run(budget);
        if (exit === L.EXIT_BUDGET) fields.put(L.FLAG_AUX, fields.get(L.FLAG_AUX) ^ 8);
        return exit;
      }),
  },
  {
    name: "CF is lost where the budget ends",
    make: () =>
      aroundRun((fields, run, budget) => {
        const exit = run(budget);
        if (exit === L.EXIT_BUDGET) fields.put(L.FLAG_AUX, fields.get(L.FLAG_AUX) & 0x7fff_ffff);
        return exit;
      }),
  },
  {
    name: "one instruction too few is counted",
    make: () =>
      aroundRun((fields, run, budget) => {
        const exit = run(budget);
        if (budget > 20 && exit === L.EXIT_BUDGET) fields.put(L.REMAINING, fields.get(L.REMAINING) + 1);
        return exit;
      }),
  },
  {
    name: "one instruction too many is run, and not counted",
    make: () =>
      aroundRun((fields, run, budget) => {
        const exit = run(budget);
        if (exit !== L.EXIT_BUDGET || fields.get(L.REMAINING) !== 0) return exit;
        const last = run(1);
        fields.put(L.RETIRED_END, fields.get(L.RETIRED_END) - 1);
        return last;
      }),
  },
  { name: "RBX is not written back where the budget ends", make: () => notWrittenBack(L.RBX.offset, 8) },
  { name: "an upper half is not written back", make: () => notWrittenBack(L.RDI.offset + 4, 4) },
  { name: "XMM3 is not written back", make: () => notWrittenBack(L.XMM + 3 * 16, 16) },
  { name: "the x87's top is not written back", make: () => notWrittenBack(L.FTOP.offset, 1) },
  {
    name: "what is pending is not noticed before the budget ends",
    make: () =>
      aroundRun((fields, run, budget) => {
        const pending = fields.get(L.ATTENTION);
        if (budget < 2 || pending === 0) return run(budget);
        fields.put(L.ATTENTION, 0);
        const exit = run(1);
        fields.put(L.ATTENTION, fields.get(L.ATTENTION) | pending);
        return exit;
      }),
  },
  { name: "code outlives a store into it", make: () => withRoutine(codeWritten, nothing("code_written", "i32,i32")) },
  { name: "a translation outlives INVLPG", make: () => withRoutine(flushPage, nothing("flush_page", "i64")) },
  { name: "translations outlive a load of CR3", make: () => withRoutine(flushTlb, nothing("flush_tlb", "")) },
  {
    name: "a fault's RIP is that of its block",
    make: () =>
      withRoutine(
        instructionFault,
        routine("instruction_fault", ["i32"], undefined, (b, at) => {
          b.put(L.RIP, b.get(L.BLOCK_RIP));
          b.put(L.REMAINING, b.get(L.REMAINING).add(b.load("i32.load8_u", "host", at, L.UOP_LEFT)));
          b.put(L.STEP_ARMED, 0);
        }),
      ),
  },
  {
    name: "a fault does not give back the rest of its block",
    make: () =>
      withRoutine(
        instructionFault,
        routine("instruction_fault", ["i32"], undefined, (b, at) => {
          b.put(L.RIP, b.get(L.BLOCK_RIP).add(b.load("i64.load16_u", "host", at, L.UOP_START)));
          b.put(L.STEP_ARMED, 0);
        }),
      ),
  },
  {
    name: "a fault of the fetch is not counted",
    make: () =>
      withRoutine(
        fetchFault,
        routine("fetch_fault", [], undefined, (b) => b.put(L.STEP_ARMED, 0)),
      ),
  },
  {
    name: "a device is read twice",
    make: () =>
      aroundHost((host) => ({
        mmioRead: (gpa, bytes, at) => {
          host.mmioRead(gpa, bytes, at);
          host.mmioRead(gpa, bytes, at);
        },
      })),
  },
  {
    name: "the count is behind during a device access",
    make: () =>
      aroundHost((host, core) => ({
        mmioRead: (gpa, bytes, at) => {
          const fields = new Fields(core().view);
          fields.put(L.REMAINING, fields.get(L.REMAINING) + 1);
          host.mmioRead(gpa, bytes, at);
          fields.put(L.REMAINING, fields.get(L.REMAINING) - 1);
        },
      })),
  },
  { name: "ADC does not see the carry", make: () => withRecord("adc", () => as("add")) },
  { name: "a condition is inverted", make: () => withRecord("setl", () => as("setge")) },
  {
    name: "INC changes the carry",
    make: () =>
      withRecord("inc", (record) => (s) => {
        record.semantics(s);
        s.b.put(L.FLAG_AUX, s.b.get(L.FLAG_AUX).and(0x7fff_ffff));
      }),
  },
];
