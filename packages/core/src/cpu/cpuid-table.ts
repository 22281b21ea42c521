/**
 * CPUID as data (SDM vol. 2, CPUID): each field with its value or the feature it comes from, and the reason. Made from
 * it: what the instruction answers (cpuid.ts), and docs/reference/cpuid.md. A register's bits without a row are 0.
 */
import { LOCAL_APIC_TIMER_HZ } from "../machine/board-map.ts";
import type { Feature } from "./features.ts";
import { MAXPHYADDR } from "./physical.ts";

export interface CpuidContext {
  /** CR4.OSXSAVE. */
  readonly osxsave: boolean;
  readonly xcr0: bigint;
  readonly apicId: number;
  /** How many vCPUs there are: cores of one package. Default 1. */
  readonly cpus?: number;
  /** IA32_APIC_BASE.EN. */
  readonly isApicEnabled: boolean;
  readonly tscFrequencyHz: number;
  /** cpu/features.ts */
  readonly features: ReadonlySet<string>;
}

export type CpuidRegister = "eax" | "ebx" | "ecx" | "edx";

export interface CpuidRow {
  readonly leaf: number;
  /** Undefined: the leaf has none, ECX is not looked at. */
  readonly subleaf?: number;
  readonly register: CpuidRegister;
  readonly bit: number;
  readonly name: string;
  /** 1 with this feature; otherwise the field's value. */
  readonly feature?: Feature;
  readonly value?: number | ((c: CpuidContext) => number);
  /** In words, where the value is computed. */
  readonly shown?: string;
  readonly reason: string;
}

export const MAX_LEAF = 0x16;
export const MAX_EXTENDED_LEAF = 0x80000008;
/** Family 6, model 60, stepping 3: also in EDX after reset. */
export const SIGNATURE = 0x000306c3;
const VENDOR = "GenuineIntel";
const BRAND = "Twinmetal Virtual CPU";
const HYPERVISOR = "TwinmetalVM\0";

const KEEPS = "The portable model has it on every engine.";
const OPT_IN = "Only where the VM's spec asks for it.";
const ARCHITECTURE = "Part of every 64-bit processor.";
const NAMES_VENDOR = "Intel's, because Linux then takes the frequencies from leaf 15H instead of measuring them.";

type Place = readonly [leaf: number, register: CpuidRegister, subleaf?: number];
const at = ([leaf, register, subleaf]: Place): Pick<CpuidRow, "leaf" | "register" | "subleaf"> =>
  subleaf === undefined ? { leaf, register } : { leaf, register, subleaf };

function flags(place: Place, reason: string, bits: Readonly<Record<string, number>>): CpuidRow[] {
  return Object.entries(bits).map(([name, bit]) => ({ ...at(place), bit, name, value: 1, reason }));
}
function features(place: Place, reason: string, bits: Readonly<Partial<Record<Feature, number>>>): CpuidRow[] {
  return (Object.entries(bits) as [Feature, number][]).map(([feature, bit]) => ({
    ...at(place),
    bit,
    name: feature.toUpperCase(),
    feature,
    reason,
  }));
}
function field(
  place: Place,
  bit: number,
  name: string,
  value: NonNullable<CpuidRow["value"]>,
  reason: string,
  shown?: string,
): CpuidRow {
  return { ...at(place), bit, name, value, reason, ...(shown === undefined ? {} : { shown }) };
}
/** Text over registers, four characters each. */
function text(
  leaf: number,
  registers: readonly CpuidRegister[],
  all: string,
  name: string,
  reason: string,
): CpuidRow[] {
  return registers.map((register, i) => {
    const part = all.slice(i * 4, i * 4 + 4);
    const word = [0, 1, 2, 3].reduce((sum, k) => sum + (part.charCodeAt(k) || 0) * 2 ** (8 * k), 0);
    return field([leaf, register], 0, name, word, reason, `"${part.replaceAll("\0", "")}"`);
  });
}

interface Cache {
  readonly type: 1 | 2 | 3;
  readonly level: number;
  readonly ways: number;
  readonly sets: number;
}
/** Leaf 4: data 1, instructions 2, both 3. */
const CACHES: readonly Cache[] = [
  { type: 1, level: 1, ways: 8, sets: 64 },
  { type: 2, level: 1, ways: 8, sets: 64 },
  { type: 3, level: 2, ways: 8, sets: 512 },
  { type: 3, level: 3, ways: 16, sets: 8192 },
];
const LINE_BYTES = 64;
const CACHE_REASON = "A usual size, for guests that place data by it; no cache is modelled.";

function cacheRows(cache: Cache, subleaf: number): CpuidRow[] {
  const { type, level, ways, sets } = cache;
  const place = (register: CpuidRegister): Place => [4, register, subleaf];
  const name = `L${level} ${["", "data", "instructions", "unified"][type]}`;
  const kib = (ways * sets * LINE_BYTES) / 1024;
  return [
    field(place("eax"), 0, `${name}: type`, type, CACHE_REASON),
    field(place("eax"), 5, `${name}: level`, level, CACHE_REASON),
    field(place("eax"), 8, `${name}: self-initialising`, 1, CACHE_REASON),
    ...(level === 3
      ? [field(place("eax"), 14, `${name}: ids of threads - 1`, lastId, "The package's cores share it.", "vCPUs - 1*")]
      : []),
    field(place("eax"), 26, `${name}: ids of cores - 1`, lastId, "One package.", "vCPUs - 1*"),
    field(place("ebx"), 0, `${name}: line size - 1`, LINE_BYTES - 1, "As CLFLUSH's."),
    field(place("ebx"), 22, `${name}: ways - 1`, ways - 1, CACHE_REASON),
    field(place("ecx"), 0, `${name}: sets - 1`, sets - 1, `${kib} KiB together.`),
  ];
}

const cpusOf = (c: CpuidContext): number => c.cpus ?? 1;
/** Bits of an APIC id that tell the cores of the package apart. */
const coreBits = (c: CpuidContext): number => Math.ceil(Math.log2(cpusOf(c)));
const lastId = (c: CpuidContext): number => 2 ** coreBits(c) - 1;

const megahertz = (c: CpuidContext): number => Math.round(c.tscFrequencyHz / 1e6);

export const CPUID_ROWS: readonly CpuidRow[] = [
  field([0, "eax"], 0, "highest basic leaf", MAX_LEAF, "The last leaf that says something: frequencies."),
  ...text(0, ["ebx", "edx", "ecx"], VENDOR, "vendor", NAMES_VENDOR),

  field(
    [1, "eax"],
    0,
    "family 6, model 60, stepping 3",
    SIGNATURE,
    "Haswell, the oldest processor that has all of the model: guests expect no feature of a later one. Linux lists it under SRBDS, which costs nothing without TSX.",
  ),
  field([1, "ebx"], 8, "CLFLUSH line size / 8", LINE_BYTES / 8, "64 bytes, as every processor of the model."),
  field([1, "ebx"], 16, "ids of logical processors", (c) => lastId(c) + 1, "Cores of one package.", "vCPUs*"),
  field([1, "ebx"], 24, "initial APIC id", (c) => c.apicId, "The local APIC's id register.", "the vCPU's"),
  ...features([1, "ecx"], KEEPS, {
    sse3: 0,
    ssse3: 9,
    cx16: 13,
    "sse4.1": 19,
    "sse4.2": 20,
    movbe: 22,
    popcnt: 23,
    xsave: 26,
    rdrand: 30,
  }),
  ...features([1, "ecx"], OPT_IN, { pclmulqdq: 1, monitor: 3, pcid: 17, aes: 25 }),
  ...flags([1, "ecx"], "Interrupts by MSR need no page-table walk and no MMIO exit.", { X2APIC: 21 }),
  ...flags([1, "ecx"], "One MSR write arms the timer, in the unit that RDTSC gives.", { TSC_DEADLINE: 24 }),
  field([1, "ecx"], 27, "OSXSAVE", (c) => (c.osxsave ? 1 : 0), "As the manual says.", "CR4.OSXSAVE"),
  ...flags([1, "ecx"], "This is a virtual machine: guests skip errata of hardware and trust the TSC.", {
    HYPERVISOR: 31,
  }),
  ...features([1, "edx"], ARCHITECTURE, {
    fpu: 0,
    tsc: 4,
    msr: 5,
    cx8: 8,
    sep: 11,
    cmov: 15,
    clflush: 19,
    mmx: 23,
    fxsr: 24,
    sse: 25,
    sse2: 26,
  }),
  field([1, "edx"], 28, "HTT", (c) => (cpusOf(c) > 1 ? 1 : 0), "As the manual says.", "1 with several vCPUs"),
  ...flags([1, "edx"], ARCHITECTURE, { DE: 2, PSE: 3, PAE: 6, PGE: 13, PAT: 16, PSE36: 17 }),
  ...flags([1, "edx"], "Architecture without banks: nothing is ever reported.", { MCE: 7, MCA: 14 }),
  ...flags([1, "edx"], "State only, but Linux switches PAT off where there are none.", { MTRR: 12 }),
  field([1, "edx"], 9, "APIC", (c) => (c.isApicEnabled ? 1 : 0), "As the manual says.", "IA32_APIC_BASE.EN"),

  field([2, "eax"], 0, "descriptors 01 63 03 76", 0x76036301, "TLBs as Haswell's; leaf 4 has the caches."),
  field([2, "ebx"], 0, "descriptors FF B5 F0", 0x00f0b5ff, "FF: see leaf 4; 64-byte prefetches."),
  field([2, "edx"], 16, "descriptor C1", 0xc1, "The second-level TLB."),
  ...CACHES.flatMap(cacheRows),

  ...(
    [
      ["eax", "smallest monitor line", LINE_BYTES],
      ["ebx", "largest monitor line", LINE_BYTES],
      ["ecx", "extensions, interrupts as break events", 3],
      ["edx", "C-states: one C1", 0x10],
    ] as const
  ).map(([register, name, value]) =>
    field(
      [5, register],
      0,
      name,
      (c) => (c.features.has("monitor") ? value : 0),
      "With MONITOR only; MWAIT is a hint that is over at once.",
      `0x${value.toString(16)} with MONITOR`,
    ),
  ),
  ...flags([6, "eax"], "The local APIC's timer never stops: no broadcast timer is needed.", { ARAT: 2 }),

  field([7, "eax", 0], 0, "highest sub-leaf", 2, "Sub-leaf 2 has BHI_CTRL."),
  ...features([7, "ebx", 0], KEEPS, { fsgsbase: 0, bmi1: 3, smep: 7, bmi2: 8 }),
  ...flags([7, "ebx", 0], "Guests can move their TSC without WRMSR races.", { TSC_ADJUST: 1 }),
  ...features([7, "ebx", 0], OPT_IN, { invpcid: 10, rdseed: 18, adx: 19, smap: 20, clflushopt: 23, sha: 29 }),
  ...features([7, "ecx", 0], OPT_IN, { umip: 2, rdpid: 22 }),
  ...flags([7, "edx", 0], "IBRS_ALL needs it; with it Linux takes neither retpolines nor a write at each entry.", {
    SPEC_CTRL: 26,
  }),
  ...flags([7, "edx", 0], "IA32_ARCH_CAPABILITIES says that this processor has none of the leaks.", {
    ARCH_CAPABILITIES: 29,
  }),
  ...flags([7, "edx", 2], "Linux takes this switch, set once, instead of a loop of branches at each system call.", {
    BHI_CTRL: 4,
  }),

  ...([0, 1] as const).flatMap((subleaf) => [
    ...(subleaf === 1
      ? [
          field([0xb, "eax", 1], 0, "bits of the id below the package", coreBits, "One package.", "log2 of vCPUs*"),
          field([0xb, "ebx", 1], 0, "cores at this level", cpusOf, "One package.", "vCPUs"),
        ]
      : [field([0xb, "ebx", 0], 0, "threads at this level", 1, "A vCPU is a core.")]),
    field([0xb, "ecx", subleaf], 0, "level number", subleaf, "As the manual says."),
    field([0xb, "ecx", subleaf], 8, "level type", subleaf + 1, "1: threads, 2: cores."),
    field([0xb, "edx", subleaf], 0, "x2APIC id", (c) => c.apicId, "The local APIC's.", "the vCPU's"),
  ]),

  ...(
    [
      ["eax", "components of XCR0", 3],
      ["ebx", "bytes for the enabled components", 576],
      ["ecx", "bytes for all components", 576],
    ] as const
  ).map(([register, name, value]) =>
    field(
      [0xd, register, 0],
      0,
      name,
      (c) => (c.features.has("xsave") ? value : 0),
      "x87 and SSE; AVX is not there.",
      `${value} with XSAVE`,
    ),
  ),
  ...features([0xd, "eax", 1], KEEPS, { xsaveopt: 0 }),
  ...features([0xd, "eax", 1], OPT_IN, { xgetbv1: 2 }),

  field([0x15, "eax"], 0, "denominator of TSC / crystal", 1000, "So that every whole megahertz is exact."),
  field(
    [0x15, "ebx"],
    0,
    "numerator",
    (c) => Math.round((c.tscFrequencyHz * 1000) / LOCAL_APIC_TIMER_HZ),
    "Linux takes the TSC's frequency from here instead of measuring it.",
    "TSC frequency * 1000 / crystal",
  ),
  field([0x15, "ecx"], 0, "crystal, Hz", LOCAL_APIC_TIMER_HZ, "The APIC timer's clock: Linux does not measure it."),
  field([0x16, "eax"], 0, "base frequency, MHz", megahertz, "The TSC's.", "TSC frequency"),
  field([0x16, "ebx"], 0, "maximum frequency, MHz", megahertz, "The TSC's.", "TSC frequency"),
  field([0x16, "ecx"], 0, "bus frequency, MHz", 100, "As Haswell's."),

  field([0x40000000, "eax"], 0, "highest hypervisor leaf", 0x40000000, "No paravirtual interface is offered."),
  ...text(0x40000000, ["ebx", "ecx", "edx"], HYPERVISOR, "hypervisor", "Unknown to guests, so they assume nothing."),

  field([0x80000000, "eax"], 0, "highest extended leaf", MAX_EXTENDED_LEAF, "Address sizes."),
  ...features([0x80000001, "ecx"], KEEPS, { lahf64: 0, lzcnt: 5 }),
  ...features([0x80000001, "ecx"], OPT_IN, { prefetchw: 8 }),
  ...features([0x80000001, "edx"], ARCHITECTURE, { syscall: 11, pdpe1gb: 26, long: 29 }),
  ...flags([0x80000001, "edx"], ARCHITECTURE, { NX: 20 }),
  ...features([0x80000001, "edx"], KEEPS, { rdtscp: 27 }),
  ...[0, 1, 2].flatMap((i) =>
    text(0x80000002 + i, ["eax", "ebx", "ecx", "edx"], BRAND.slice(i * 16), "brand", "What guests print."),
  ),
  field([0x80000006, "ecx"], 0, "L2 line size", LINE_BYTES, CACHE_REASON),
  field([0x80000006, "ecx"], 12, "L2 ways: 8", 6, CACHE_REASON),
  field([0x80000006, "ecx"], 16, "L2 size, KiB", 256, CACHE_REASON),
  ...flags([0x80000007, "edx"], "The TSC runs at one rate and never stops: Linux uses it as its clock.", {
    INVARIANT_TSC: 8,
  }),
  field([0x80000008, "eax"], 0, "physical address bits", MAXPHYADDR, "What page-table entries may name."),
  field([0x80000008, "eax"], 8, "linear address bits", 48, "4-level paging."),
];
