// Cases with segments that are not flat, in 32-bit and 16-bit code: accesses around each segment's limit, loads of
// segment registers, far transfers, stacks that wrap, LAR, LSL, VERR and VERW (Intel SDM volume 3, chapter 5).

import type { GeneratedCase } from "./generate.ts";
import type { Random } from "./random.ts";
import { type Extent, extentOf, LDT, selectorOf } from "./segments.ts";
import { CODE_END, DATA_BASE, DATA_SIZE, FLAG, FXSAVE, type WindowPatch } from "./subject.ts";
import { integer64 } from "./values.ts";
import { fillFxsave } from "./x87-state.ts";

const [CS, SS, DS, ES, FS, GS] = [0, 1, 2, 3, 4, 5];
const OVERRIDES: readonly (readonly [number, number])[] = [
  [0x2e, CS],
  [0x36, SS],
  [0x3e, DS],
  [0x26, ES],
  [0x64, FS],
  [0x65, GS],
];
const USER_CODE_32 = 0x23;
const USER_DATA = 0x2b;
const USER_CODE_64 = 0x33;

const codeSegments = [5, 6, 7, 8, 11].map(selectorOf);
const stackSegments = [...[0, 2, 3, 4, 10, 14].map(selectorOf), USER_DATA];
const dataSegments = [...[0, 1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 14].map(selectorOf), USER_DATA, 0];
/** Good and bad ones alike: null, the kernel's, beyond both tables, with any RPL. */
const anySelectors = [
  ...LDT.map((_, i) => selectorOf(i)),
  ...LDT.map((_, i) => selectorOf(i) & ~3),
  ...[0, 1, 2, 3, USER_CODE_32, USER_DATA, USER_CODE_64, 0x20, 0x28, 0x10, 0x18, 0x13, 0x1b],
  ...[selectorOf(LDT.length), 0xfffc, 0xffff, 0xfff8, 0x40, 0x50],
];

/** Opcode and reg field (-1: any) of instructions with a memory operand, and the operand's size. */
const MEMORY_OPERATIONS: readonly (readonly [opcode: readonly number[], reg: number, bytes: number])[] = [
  [[0x8a], -1, 1],
  [[0x8b], -1, 4],
  [[0x88], -1, 1],
  [[0x89], -1, 4],
  [[0x01], -1, 4],
  [[0x3b], -1, 4],
  [[0x87], -1, 4],
  [[0xff], 6, 4],
  [[0x8f], 0, 4],
  [[0xfe], 0, 1],
  [[0x0f, 0xb1], -1, 4],
  [[0x0f, 0xc7], 1, 8],
  [[0x0f, 0x10], -1, 16],
  [[0x0f, 0x11], -1, 16],
  [[0x0f, 0x28], -1, 16],
  [[0xdd], 0, 8],
  [[0xd9], 3, 4],
  [[0xdf], 5, 8],
  [[0x0f, 0xae], 3, 4],
  [[0x62], -1, 8],
  [[0x8c], -2, 2],
  [[0xff], 2, 4],
  [[0xff], 4, 4],
];
const STRINGS = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
const STACK_CODES: readonly (readonly number[])[] = [
  ...[0x50, 0x53, 0x55, 0x58, 0x5b, 0x5d, 0x60, 0x61, 0x9c, 0xc9, 0xc3, 0x06, 0x0e, 0x16, 0x1e].map((each) => [each]),
  ...[
    [0x6a, 0x7f],
    [0xc8, 8, 0, 0],
    [0xc8, 0, 1, 2],
    [0xc2, 8, 0],
    [0x0f, 0xa0],
    [0x0f, 0xa8],
  ],
];
/** LES LDS LSS LFS LGS. */
const FAR_POINTER_LOADS: readonly (readonly number[])[] = [[0xc4], [0xc5], [0x0f, 0xb2], [0x0f, 0xb4], [0x0f, 0xb5]];
/** POP ES SS DS FS GS. */
const SEGMENT_POPS: readonly (readonly number[])[] = [[0x07], [0x17], [0x1f], [0x0f, 0xa1], [0x0f, 0xa9]];

/** A state being made. */
interface Draft {
  readonly random: Random;
  readonly selectors: number[];
  readonly gpr: BigUint64Array;
  readonly patches: WindowPatch[];
  readonly is16: boolean;
  readonly operand16: boolean;
  readonly address16: boolean;
}

const MASK32 = 0xffff_ffffn;
const NEAR_4G = 128n;

/**
 * An offset near one of a segment's ends, or somewhere in the window. Not near 4 GiB: whether an access that runs over
 * it faults is left to the implementation (SDM volume 3, 5.3).
 */
function offsetIn({ base, limit }: Extent, random: Random): bigint {
  const offset = anyOffset({ base, limit }, random);
  const isNear4G = offset < NEAR_4G || offset > MASK32 - NEAR_4G;
  const mayRunOver = limit > MASK32 - 0x1_0000n;
  return isNear4G && mayRunOver ? (DATA_BASE + BigInt(random.below(DATA_SIZE)) - base) & MASK32 : offset;
}

function anyOffset({ base, limit }: Pick<Extent, "base" | "limit">, random: Random): bigint {
  const near = BigInt(random.below(20) - 2);
  switch (random.below(8)) {
    case 0:
      return near & MASK32;
    case 1:
      return (0xffffn - near) & MASK32;
    case 2:
      return (MASK32 - near) & MASK32;
    case 3:
    case 4:
      return (limit - near) & MASK32;
    case 5:
      return (limit + near) & MASK32;
    default:
      return (DATA_BASE + BigInt(random.below(DATA_SIZE)) - base) & MASK32;
  }
}

const bytesOf = (value: bigint, size: number): number[] =>
  Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));

function patchAt({ patches }: Draft, linear: bigint, bytes: readonly number[]): void {
  const offset = Number((linear & MASK32) - DATA_BASE);
  const from = Math.max(0, -offset);
  const to = Math.min(bytes.length, DATA_SIZE - offset);
  if (from < to) patches.push({ offset: offset + from, bytes: Uint8Array.from(bytes.slice(from, to)) });
}

/** ModRM and displacement of [EBX+disp8] or [BX+disp8], an override now and then; the offset is put into EBX. */
function memoryOperand(draft: Draft, reg: number): { prefixes: number[]; bytes: number[]; linear: bigint } {
  const { random } = draft;
  const override = random.oneIn(2) ? random.pick(OVERRIDES) : null;
  const extent = extentOf(draft.selectors[override?.[1] ?? DS]!);
  const displacement = random.below(256);
  const mask = draft.address16 ? 0xffffn : MASK32;
  const offset = offsetIn(extent, random) & mask;
  const base = (offset - BigInt.asIntN(8, BigInt(displacement))) & mask;
  draft.gpr[3] = draft.address16 ? base | (BigInt(random.below(0x1_0000)) << 16n) : base;
  return {
    prefixes: override === null ? [] : [override[0]],
    bytes: [0x40 | (reg << 3) | (draft.address16 ? 7 : 3), displacement],
    linear: extent.base + offset,
  };
}

/** A target of a jump in code segments: mostly inside the page, or around its end. */
function codeOffset(random: Random): bigint {
  return random.pick([
    0n,
    0x10n,
    0xffen,
    0xfffn,
    0x1000n,
    0xffffn,
    0x1_0000n,
    0xf800n,
    MASK32,
    BigInt(random.uint32()),
  ]);
}

/** Stack top near the ends of SS; what is there is `words` of the operand size. */
function placeStack(draft: Draft, words: readonly bigint[] = []): void {
  const { random, gpr, selectors } = draft;
  const extent = extentOf(selectors[SS]!);
  let offset = offsetIn(extent, random);
  if (words.length > 0 && !random.oneIn(4))
    offset = (DATA_BASE + BigInt(random.below(DATA_SIZE)) - extent.base) & MASK32;
  gpr[4] = extent.is32 ? offset : (offset & 0xffffn) | (BigInt(random.below(0x1_0000)) << 16n);
  const size = draft.operand16 ? 2 : 4;
  const at = extent.is32 ? offset : offset & 0xffffn;
  for (const [i, value] of words.entries()) patchAt(draft, extent.base + at + BigInt(i * size), bytesOf(value, size));
}

type Template = (draft: Draft) => number[];

const selector = (random: Random): bigint => BigInt(random.pick(anySelectors));
/** A call into 64-bit code is left out: where it pushes, below 4 GiB or not, would be the harness's own memory. */
const callSelector = (random: Random): bigint =>
  BigInt(random.pick(anySelectors.filter((each) => (each & ~3) !== (USER_CODE_64 & ~3))));
const farOffset = (draft: Draft): number[] => bytesOf(codeOffset(draft.random), draft.operand16 ? 2 : 4);

const TEMPLATES: readonly (readonly [weight: number, template: Template])[] = [
  [
    10,
    (draft) => {
      const [opcode, reg] = draft.random.pick(MEMORY_OPERATIONS);
      const field = reg === -1 ? draft.random.below(8) : reg === -2 ? draft.random.below(6) : reg;
      const { prefixes, bytes, linear } = memoryOperand(draft, field);
      if (opcode[0] === 0xff && field < 6) patchAt(draft, linear, bytesOf(codeOffset(draft.random), 4));
      if (opcode[0] === 0xff || opcode[0] === 0x8f) placeStack(draft);
      return [...prefixes, ...opcode, ...bytes];
    },
  ],
  [
    4,
    (draft) => {
      const { random } = draft;
      const override = random.oneIn(2) ? random.pick(OVERRIDES) : null;
      const mask = draft.address16 ? 0xffffn : MASK32;
      draft.gpr[6] = offsetIn(extentOf(draft.selectors[override?.[1] ?? DS]!), random) & mask;
      draft.gpr[7] = offsetIn(extentOf(draft.selectors[ES]!), random) & mask;
      return [...(override === null ? [] : [override[0]]), random.pick(STRINGS)];
    },
  ],
  [
    6,
    (draft) => {
      const code = draft.random.pick(STACK_CODES);
      if (code[0] === 0xc3 || code[0] === 0xc2) placeStack(draft, [codeOffset(draft.random)]);
      else placeStack(draft);
      if (code[0] === 0xc9 || code[0] === 0xc8) draft.gpr[5] = offsetIn(extentOf(draft.selectors[SS]!), draft.random);
      return [...code];
    },
  ],
  [
    4,
    (draft) => {
      const { random } = draft;
      const reg = random.below(6);
      if (random.oneIn(2)) {
        draft.gpr[1] = selector(random) | (BigInt(random.below(0x1_0000)) << 16n);
        return [0x8e, 0xc1 | (reg << 3)];
      }
      const { prefixes, bytes, linear } = memoryOperand(draft, reg);
      patchAt(draft, linear, bytesOf(selector(random), 2));
      return [...prefixes, 0x8e, ...bytes];
    },
  ],
  [
    2,
    (draft) => {
      placeStack(draft, [selector(draft.random) | (BigInt(draft.random.below(0x1_0000)) << 16n)]);
      return [...draft.random.pick(SEGMENT_POPS)];
    },
  ],
  [
    3,
    (draft) => {
      const { random } = draft;
      const { prefixes, bytes, linear } = memoryOperand(draft, random.below(8));
      const size = draft.operand16 ? 2 : 4;
      patchAt(draft, linear, [...bytesOf(BigInt(random.uint32()), size), ...bytesOf(selector(random), 2)]);
      return [...prefixes, ...random.pick(FAR_POINTER_LOADS), ...bytes];
    },
  ],
  [
    4,
    (draft) => {
      const { random } = draft;
      const opcode = random.pick([
        [0x0f, 0x00, 4],
        [0x0f, 0x00, 5],
        [0x0f, 0x02, -1],
        [0x0f, 0x03, -1],
      ]);
      const reg = opcode[2]! < 0 ? random.below(8) : opcode[2]!;
      if (random.oneIn(3)) {
        const { prefixes, bytes, linear } = memoryOperand(draft, reg);
        patchAt(draft, linear, bytesOf(selector(random), 2));
        return [...prefixes, opcode[0]!, opcode[1]!, ...bytes];
      }
      draft.gpr[1] = selector(random) | (BigInt(random.uint32()) << 16n);
      return [opcode[0]!, opcode[1]!, 0xc1 | (reg << 3)];
    },
  ],
  [
    3,
    (draft) => {
      placeStack(draft);
      const opcode = draft.random.pick([0xea, 0x9a]);
      const target = opcode === 0x9a ? callSelector(draft.random) : selector(draft.random);
      return [opcode, ...farOffset(draft), ...bytesOf(target, 2)];
    },
  ],
  [
    2,
    (draft) => {
      const { random } = draft;
      const { prefixes, bytes, linear } = memoryOperand(draft, random.pick([3, 5]));
      patchAt(draft, linear, [...farOffset(draft), ...bytesOf(callSelector(random), 2)]);
      placeStack(draft);
      return [...prefixes, 0xff, ...bytes];
    },
  ],
  [
    3,
    (draft) => {
      const { random } = draft;
      placeStack(draft, [codeOffset(random), selector(random)]);
      return random.oneIn(3) ? [0xca, 8, 0] : [0xcb];
    },
  ],
  [
    2,
    (draft) => {
      const { random } = draft;
      const image = FLAG.TF | FLAG.IF | 2n | (BigInt(random.uint32()) & 0xcd5n);
      placeStack(draft, [codeOffset(random), selector(random), image]);
      return [0xcf];
    },
  ],
  [
    2,
    ({ random, operand16 }) => {
      const distance = BigInt(random.pick([0, 1, -1, 0x7f, -0x80, -0x1000, -0x1001, 0x1000, 0xefff, 0xf000]));
      return random.oneIn(3) ? [0xeb, random.below(256)] : [0xe9, ...bytesOf(distance, operand16 ? 2 : 4)];
    },
  ],
];
const WEIGHTED: readonly Template[] = TEMPLATES.flatMap(([weight, template]) => Array<Template>(weight).fill(template));

export function* segmentCases(random: Random, seed: string, count: number): Generator<GeneratedCase> {
  for (let serial = 0; serial < count; serial++) {
    const selectors = [
      random.pick(codeSegments),
      random.pick(stackSegments),
      ...Array.from({ length: 4 }, () => random.pick(dataSegments)),
    ];
    const code = extentOf(selectors[CS]!);
    const toggles = [random.oneIn(4), random.oneIn(4)] as const;
    const draft: Draft = {
      random,
      selectors,
      gpr: BigUint64Array.from({ length: 16 }, (_, i) => (i < 8 ? integer64(random) & MASK32 : 0n)),
      patches: [],
      is16: !code.is32,
      operand16: code.is32 === toggles[0],
      address16: code.is32 === toggles[1],
    };
    draft.gpr[4] = (DATA_BASE + 0x800n - extentOf(selectors[SS]!).base) & MASK32;
    const instruction = random.pick(WEIGHTED)(draft);
    const bytes = [...(toggles[0] ? [0x66] : []), ...(toggles[1] ? [0x67] : []), ...instruction];
    const fxsave = new Uint8Array(512);
    fillFxsave(fxsave, "nop", "raw", random);
    // No x87 exceptions: what their order to segment faults is, the other suites try.
    fxsave[FXSAVE.FCW]! |= 0x3f;
    fxsave[FXSAVE.FSW]! &= 0x7f;
    fxsave[FXSAVE.FSW + 1]! &= 0x7f;
    let rflags = FLAG.TF | FLAG.IF | 2n;
    for (const bit of [FLAG.CF, FLAG.PF, FLAG.ZF, FLAG.SF, FLAG.OF, FLAG.DF]) if (random.oneIn(2)) rflags |= bit;
    yield {
      form: null,
      operand: null,
      input: {
        origin: `seed ${seed} segment case ${serial}`,
        code: Uint8Array.from(bytes),
        rip: (CODE_END - BigInt(bytes.length) - code.base) & MASK32,
        untilDone: false,
        codeSize: code.is32 ? 32 : 16,
        selectors,
        rflags,
        gpr: draft.gpr,
        fxsave,
        patches: draft.patches,
      },
    };
  }
}
