/**
 * The CPUID instruction, from the table of its fields (cpuid-table.ts; docs/reference/cpuid.md). Leaves beyond the highest
 * basic and the highest extended one answer as Intel's processors do: as the highest basic leaf.
 */
import {
  CPUID_ROWS,
  type CpuidContext,
  type CpuidRegister,
  type CpuidRow,
  MAX_EXTENDED_LEAF,
  MAX_LEAF,
} from "./cpuid-table.ts";

export type { CpuidContext } from "./cpuid-table.ts";
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

const REGISTERS: readonly CpuidRegister[] = ["eax", "ebx", "ecx", "edx"];
const HYPERVISOR_LEAF = 0x40000000;
const TOPOLOGY_LEAF = 0xb;
const KEPT_SUBLEAVES = 64;
const KEPT_ANSWERS = 256;

interface Leaf {
  readonly hasSubleaves: boolean;
  readonly rows: ReadonlyMap<number, readonly CpuidRow[]>;
}

const LEAVES: ReadonlyMap<number, Leaf> = new Map(
  [...new Set(CPUID_ROWS.map(({ leaf }) => leaf))].map((leaf): [number, Leaf] => {
    const all = CPUID_ROWS.filter((row) => row.leaf === leaf);
    const subleaves = new Set(all.map(({ subleaf }) => subleaf ?? 0));
    return [
      leaf,
      {
        hasSubleaves: all.some(({ subleaf }) => subleaf !== undefined),
        rows: new Map([...subleaves].map((n) => [n, all.filter(({ subleaf }) => (subleaf ?? 0) === n)])),
      },
    ];
  }),
);

/** Each leaf that says something, and each of its sub-leaves where it has some. */
export const CPUID_LEAVES: readonly { readonly leaf: number; readonly subleaf: number | undefined }[] = [
  ...LEAVES,
].flatMap(([leaf, { hasSubleaves, rows }]) =>
  [...rows.keys()].map((subleaf) => ({ leaf, subleaf: hasSubleaves ? subleaf : undefined })),
);

/** What a row adds to its register. */
export function fieldValue(row: CpuidRow, c: CpuidContext): number {
  if (row.feature !== undefined) return c.features.has(row.feature) ? 1 : 0;
  return typeof row.value === "function" ? row.value(c) : (row.value ?? 0);
}

function isBeyond(leaf: number): boolean {
  if (leaf >= 0x80000000) return leaf > MAX_EXTENDED_LEAF;
  return leaf > MAX_LEAF && leaf !== HYPERVISOR_LEAF;
}

/** GUEST-CONTROLLED: `leaf` and `subleaf`, any 32-bit values. */
export function cpuidLeaf(leaf: number, subleaf: number, c: CpuidContext): CpuidResult {
  const known = LEAVES.get(isBeyond(leaf) ? MAX_LEAF : leaf);
  const rows = known?.rows.get(known.hasSubleaves ? subleaf : 0) ?? [];
  const [eax, ebx, ecx, edx] = REGISTERS.map((register) =>
    rows
      .filter((row) => row.register === register)
      .reduce((word, row) => (word | (fieldValue(row, c) << row.bit)) >>> 0, 0),
  ) as [number, number, number, number];
  // Behind its last level the topology still has the sub-leaf's number and the APIC id.
  if (leaf === TOPOLOGY_LEAF && rows.length === 0) return [0, 0, subleaf & 0xff, c.apicId];
  return [eax, ebx, ecx, edx];
}

/** Programs ask the same again and again: the C library of each new process dozens of times. */
export class CpuidCache {
  readonly #fixed: Pick<CpuidContext, "apicId" | "cpus" | "tscFrequencyHz" | "features">;
  #context: CpuidContext | undefined;
  readonly #answers = new Map<number, CpuidResult>();

  constructor(fixed: Pick<CpuidContext, "apicId" | "cpus" | "tscFrequencyHz" | "features">) {
    this.#fixed = fixed;
  }

  /** GUEST-CONTROLLED, as `cpuidLeaf`. `xcr0`: low half; there is nothing in the other. */
  leaf(leaf: number, subleaf: number, osxsave: boolean, xcr0: number, isApicEnabled: boolean): CpuidResult {
    let context = this.#context;
    if (
      !context ||
      context.osxsave !== osxsave ||
      Number(context.xcr0) !== xcr0 ||
      context.isApicEnabled !== isApicEnabled
    ) {
      context = { ...this.#fixed, osxsave, xcr0: BigInt(xcr0), isApicEnabled };
      this.#context = context;
      this.#answers.clear();
    }
    if (subleaf >= KEPT_SUBLEAVES) return cpuidLeaf(leaf, subleaf, context);
    const key = leaf * KEPT_SUBLEAVES + subleaf;
    const known = this.#answers.get(key);
    if (known) return known;
    if (this.#answers.size >= KEPT_ANSWERS) this.#answers.clear();
    const answer = cpuidLeaf(leaf, subleaf, context);
    this.#answers.set(key, answer);
    return answer;
  }
}
