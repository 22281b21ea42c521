/**
 * For tests: address translation alone, without a vCPU around it, compiled or evaluated, over a few MiB of RAM. Registers
 * are set in the state block; tables are the test's.
 */

import { prepareMemory } from "../interp/core.ts";
import { type Field, i32 } from "../ir/builder.ts";
import { compileModule } from "../ir/compile.ts";
import { Evaluator } from "../ir/evaluate.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { codeHost } from "./code-mapping.ts";
import * as L from "./layout.ts";
import { updateTlbSet } from "./mode.ts";
import { loadPointers } from "./page-directory-pointers.ts";
import { translate } from "./paging.ts";
import { fillTlb, flushPage, flushTlb, flushTlbAll, tlbEntry } from "./tlb.ts";

export const BENCH_RAM_BYTES: number = 4 << 20;

/** Address of the entry of a linear address in the set in use. */
const entryOf: Routine = routine("entry_of", ["i64"], "i32", (b, va) => {
  b.return(tlbEntry(b.get(L.TLB_CURRENT), va));
});
const nothing: Routine = routine("nothing", ["i32"], "i32", (b) => b.return(i32(0)));

const EXPORTS = {
  translate,
  code_host: codeHost,
  fill_tlb: fillTlb,
  entry_of: entryOf,
  update_tlb_set: updateTlbSet,
  flush_page: flushPage,
  flush_tlb: flushTlb,
  flush_tlb_all: flushTlbAll,
  load_pointers: loadPointers,
} as const;

/** As the evaluator keeps 64-bit values. */
const unsigned = (value: number | bigint): number | bigint =>
  typeof value === "bigint" ? BigInt.asUintN(64, value) : value;

type Call = (...args: (number | bigint)[]) => number;

export class TranslationBench {
  readonly view: DataView;
  readonly ram: DataView;
  readonly call: Readonly<Record<keyof typeof EXPORTS, Call>>;
  /** Memory outside RAM: 64-bit words by physical address; 0 elsewhere. */
  readonly device: Map<number, bigint> = new Map();

  constructor(tier: "compiled" | "evaluated") {
    const map = L.memoryMap(BENCH_RAM_BYTES);
    const memory = new WebAssembly.Memory({ initial: map.wasmPages, maximum: map.wasmPages });
    this.view = new DataView(memory.buffer);
    this.ram = new DataView(memory.buffer, map.ram, map.ramBytes);
    prepareMemory(this.view, map);
    const imports = {
      mmio_read: (phys: number, bytes: number, at: number): void => {
        for (let i = 0; i < bytes; i++) {
          const byte = (phys + i) % 8;
          const word = this.device.get(phys + i - byte) ?? 0n;
          this.view.setUint8(at + i, Number((word >> BigInt(byte * 8)) & 0xffn));
        }
      },
    };
    const names = Object.keys(EXPORTS) as (keyof typeof EXPORTS)[];
    if (tier === "compiled") {
      const bytes = compileModule({ cpuBase: L.CPU_BASE, sharedMemory: false, exports: EXPORTS, table: [nothing] });
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory, ...imports } });
      this.call = instance.exports as unknown as Record<keyof typeof EXPORTS, Call>;
      return;
    }
    const evaluator = new Evaluator({ memory: this.view, cpuBase: L.CPU_BASE, imports, table: [] });
    this.call = Object.fromEntries(
      names.map((name): [string, Call] => [
        name,
        (...args) => Number(evaluator.call(EXPORTS[name], ...args.map(unsigned))),
      ]),
    ) as Record<keyof typeof EXPORTS, Call>;
  }

  put(field: Field, value: number | bigint): void {
    const at = L.CPU_BASE + field.offset;
    if (field.type === "i64") this.view.setBigInt64(at, BigInt.asIntN(64, BigInt(value)), true);
    else this.view.setInt32(at, Number(value), true);
  }
  get(field: Field): bigint {
    const at = L.CPU_BASE + field.offset;
    return field.type === "i64" ? this.view.getBigUint64(at, true) : BigInt(this.view.getUint32(at, true));
  }
}
