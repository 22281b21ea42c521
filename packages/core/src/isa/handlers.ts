/**
 * Handlers: one function for each record and shape of operands, numbered; the decoder writes the number into micro-ops.
 * The hot ones (hot.ts) come first and exist in line in the dispatcher, too: those for registers alone and plain 64-bit
 * addressing, then those for 32-bit code with flat segments (MODE_FLAT). Functions are for everything else.
 */

import { ALL_FEATURES } from "../cpu/features.ts";
import * as L from "../cpu/layout.ts";
import { EXC_GP, EXC_NM, EXC_UD } from "../cpu/raise.ts";
import type { Builder, Expr } from "../ir/builder.ts";
import { type Routine, routine, type Variant } from "../ir/routine.ts";
import { Decoder } from "./decoder.ts";
import { type Form, shapeIndex, UNLOCKED_SHAPES } from "./form.ts";
import { isHot, isHotWhenFlat } from "./hot.ts";
import { operandShape } from "./operand.ts";
import { type Feature, type InstructionRecord, RECORDS } from "./record.ts";
import { type Binding, BRANCH, NEXT, Semantics, type Shape } from "./semantics.ts";

export interface Handler {
  readonly key: string;
  readonly record: InstructionRecord;
  readonly shape: Shape;
  /** (micro-op address) -> NEXT, FAULT, BRANCH, LEAVE */
  readonly routine: Routine;
}

export interface HandlerSet {
  /** Whose code its routines are: they are built in this variant. */
  readonly variant: Variant;
  readonly decoder: Decoder;
  /** Instructions of other features are #UD. */
  readonly features: ReadonlySet<Feature>;
  /** In line: numbers 0 to hot.length - 1. */
  readonly hot: readonly Handler[];
  /** Those of `hot` from here on are for MODE_FLAT. */
  readonly firstFlat: number;
  /** Functions: number hot.length + index in the table. */
  readonly table: readonly Handler[];
  /** From this number on micro-ops of functions are long ones. */
  readonly firstLong: number;
  /** How long a micro-op of each number is. */
  readonly microOpBytes: Uint8Array;
  /** Number of pseudo-instructions: block end, #UD, #GP(0) for an instruction that is too long. */
  readonly end: number;
  readonly undefined: number;
  readonly tooLong: number;
}

/** Features on XMM registers; SSSE3's MMX forms are checked as MMX, and CRC32 uses general registers alone. */
const VECTOR_FEATURES: ReadonlySet<Feature> = new Set<Feature>([
  "sse",
  "sse2",
  "sse3",
  "ssse3",
  "sse4.1",
  "sse4.2",
  "aes",
  "pclmulqdq",
  "sha",
]);

/** Checks that come before an instruction of a feature: CR0.EM, CR0.TS, CR4.OSFXSR. */
function gate(s: Semantics, feature: Feature, record: InstructionRecord): void {
  const blocked = ((): number => {
    if (feature === "mmx" || (feature === "ssse3" && s.shape.operands[0]?.kind === "p")) return 9;
    if (VECTOR_FEATURES.has(feature)) return record.name === "crc32" ? 0 : 6;
    if (feature === "fpu" && record.name !== "fwait") return 1;
    return 0;
  })();
  if (!blocked) return;
  const state = s.b.get(L.FPU_BLOCKED);
  const undefinedBits = blocked & 10;
  s.b.if(
    state.and(blocked),
    () => {
      if (undefinedBits) s.faultIf(state.and(undefinedBits), EXC_UD);
      s.fault(EXC_NM);
    },
    undefined,
    false,
  );
}

/** Emits the whole handler into `b`. Answers whether it may access memory, and so change code or raise an interrupt. */
export function buildHandler(
  b: Builder,
  handler: Pick<Handler, "record" | "shape">,
  up: Expr,
  binding: Binding,
): boolean {
  const s = new Semantics(b, handler.shape, up, binding);
  gate(s, handler.record.feature, handler.record);
  if (handler.shape.lock) s.locked(() => handler.record.semantics(s));
  else handler.record.semantics(s);
  return s.accessesMemory;
}

function makeRoutine(key: string, record: InstructionRecord, shape: Shape): Routine {
  return routine(key, ["i32"], "i32", (b, up) => {
    const binding: Binding = { leave: (code) => b.return(code), inlineAccess: false, addressing: "any" };
    b.put(L.CURRENT_UOP, up);
    buildHandler(b, { record, shape }, up, binding);
    b.return(record.ends ? BRANCH : NEXT);
  });
}

const SIZES = [16, 32, 64] as const;

/** Every shape that a form can take, with its indices: those that differ in nothing that the record uses are one. */
function shapesOf(form: Form, variant: Variant): Iterable<{ shape: Shape; indices: number[] }> {
  const uses = form.record.uses ?? [];
  const found = new Map<number, { shape: Shape; indices: number[] }>();
  for (const mode64 of [true, false]) {
    if (mode64 ? form.not64 : form.only64) continue;
    for (const osz of [0, 1, 2]) {
      if (osz === 2 && !mode64) continue;
      if (mode64 && form.force64 && osz !== 2) continue;
      if (mode64 && form.default64 && osz === 1) continue;
      for (const asz of mode64 ? [1, 2] : [0, 1]) {
        for (const memory of form.modrm ? [true, false] : [false]) {
          if (memory && form.mod === "register" && !form.operands.some((o) => o.type === "C" || o.type === "D"))
            continue;
          if (!memory && form.mod === "memory") continue;
          for (const [rep, lock] of prefixes(form, memory, variant)) {
            // Operands have widths by operand size, whether or not the record looks at it.
            const used = shapeIndex(
              osz,
              uses.includes("asz") ? asz : 1,
              uses.includes("mode") ? mode64 : true,
              memory,
              uses.includes("rep") ? rep : 0,
              lock || (variant === "parallel" && memory && form.locks),
            );
            const index = shapeIndex(osz, asz, mode64, memory, rep, lock);
            const known = found.get(used);
            if (known) {
              known.indices.push(index);
              continue;
            }
            const operands = form.operands.map((o) => operandShape(o, SIZES[osz] ?? 32, memory));
            const shape: Shape = {
              operands,
              osz: uses.includes("osz") ? (SIZES[osz] ?? 32) : 32,
              asz: uses.includes("asz") ? (SIZES[asz] ?? 32) : 32,
              mode64: uses.includes("mode") ? mode64 : true,
              rep: uses.includes("rep") ? ((["", "rep", "repne"] as const)[rep] ?? "") : "",
              ...(used >= UNLOCKED_SHAPES && { lock: true }),
              isLong: form.record.isLong === true || operands.some(({ kind, isWide }) => kind === "m" || isWide),
            };
            found.set(used, { shape, indices: [index] });
          }
        }
      }
    }
  }
  return found.values();
}

/** Combinations of REP and LOCK that a form is asked for. */
function prefixes(form: Form, memory: boolean, variant: Variant): readonly (readonly [rep: number, lock: boolean])[] {
  const reps = [0, 1, 2];
  const locks = variant === "parallel" && memory && form.lock ? [false, true] : [false];
  return locks.flatMap((lock) => reps.map((rep) => [rep, lock] as const));
}

export function shapeKey(record: InstructionRecord, shape: Shape): string {
  const uses = record.uses ?? [];
  const parts = [record.name, ...shape.operands.map((o) => `${o.isWide ? "imm" : o.kind}${o.width || ""}`)];
  if (uses.includes("osz")) parts.push(`o${shape.osz}`);
  if (uses.includes("asz")) parts.push(`a${shape.asz}`);
  if (uses.includes("mode")) parts.push(shape.mode64 ? "long" : "legacy");
  if (shape.rep) parts.push(shape.rep);
  if (shape.lock) parts.push("lock");
  return parts.join(" ");
}

const PSEUDO: readonly InstructionRecord[] = [
  { name: "(end of block)", forms: [], feature: "base", ends: true, semantics: (s) => s.jump(s.anyRip()) },
  { name: "(undefined)", forms: [], feature: "base", ends: true, semantics: (s) => s.fault(EXC_UD) },
  { name: "(too long)", forms: [], feature: "base", ends: true, semantics: (s) => s.fault(EXC_GP, 0) },
];

/** Builds decoder and handler numbers from the records given (default: all). */
export function makeHandlers(records: readonly InstructionRecord[] = RECORDS, variant: Variant = "one"): HandlerSet {
  const decoder = new Decoder(records, variant === "parallel");
  const byKey = new Map<string, Handler>();
  const places: { form: Form; indices: number[]; key: string }[] = [];
  for (const form of decoder.forms())
    for (const { shape, indices } of shapesOf(form, variant)) {
      const key = shapeKey(form.record, shape);
      if (!byKey.has(key))
        byKey.set(key, { key, record: form.record, shape, routine: makeRoutine(key, form.record, shape) });
      places.push({ form, indices, key });
    }
  const pseudo = PSEUDO.map((record): Handler => {
    const shape: Shape = { operands: [], osz: 32, asz: 32, mode64: false, rep: "", isLong: false };
    return { key: record.name, record, shape, routine: makeRoutine(record.name, record, shape) };
  });
  const isLong = ({ shape }: Handler): boolean => shape.isLong;
  const [short, long] = [[...byKey.values()].filter((h) => !isLong(h)), [...byKey.values()].filter(isLong)];
  const table = [...pseudo, ...short, ...long];
  const plain = [...byKey.values()].filter((h) => isHot(h.key));
  const flat = [...byKey.values()].filter((h) => isHotWhenFlat(h.key));
  const hot = [...plain, ...flat];
  const tableNumber = new Map(table.map((h, i) => [h.key, hot.length + i]));
  const plainNumber = new Map(plain.map((h, i) => [h.key, i]));
  const flatNumber = new Map(flat.map((h, i) => [h.key, plain.length + i]));
  for (const { form, indices, key } of places)
    for (const index of indices) {
      form.handlers[index] = tableNumber.get(key) ?? -1;
      const mode64 = Math.floor(index / 6) % 2 === 1;
      const memory = Math.floor(index / 3) % 2 === 1;
      form.hotHandlers[index] = mode64 || !memory ? (plainNumber.get(key) ?? -1) : -1;
      form.flatHandlers[index] = mode64 ? -1 : (flatNumber.get(key) ?? -1);
    }
  return {
    variant,
    decoder,
    features: ALL_FEATURES,
    hot,
    firstFlat: plain.length,
    table,
    firstLong: hot.length + pseudo.length + short.length,
    microOpBytes: Uint8Array.from([...hot, ...table], (h) => (isLong(h) ? L.UOP_BYTES : L.UOP_SHORT_BYTES)),
    end: hot.length,
    undefined: hot.length + 1,
    tooLong: hot.length + 2,
  };
}

/** The same handlers for a CPU with these features only: what differs is what its decoder finds. */
export function limitHandlers(set: HandlerSet, features: ReadonlySet<Feature>): HandlerSet {
  return { ...set, decoder: set.decoder.limitedTo(features), features };
}

/** For tests and the evaluator: the handler of a number that a micro-op holds. */
export function handlerOf(set: HandlerSet, number: number): Handler {
  const handler = number < set.hot.length ? set.hot[number] : set.table[number - set.hot.length];
  if (!handler) throw new Error(`no handler ${number}`);
  return handler;
}
