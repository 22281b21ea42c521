/**
 * Which instructions regions contain: those whose semantics can be built there, and as the last one of a region also those
 * whose semantics can be built on the state block (modes, events, translations). The rest (ports, x87's far corners) is
 * left to the interpreter.
 */
import * as L from "../cpu/layout.ts";
import { i32, i64, Variable } from "../ir/builder.ts";
import { buildHandler, type Handler } from "../isa/handlers.ts";
import { registerPlace } from "../isa/operand.ts";
import { type Binding, LEAVE, NEXT } from "../isa/semantics.ts";
import { RegionFlags } from "./lazy-flags.ts";
import { PageAccess } from "./page-access.ts";
import { microOpAddress, RegionBuilder } from "./region-builder.ts";
import { RegionFloats } from "./region-floats.ts";
import { FLAGS_FIELD, typeOf } from "./registers.ts";
import { Untranslatable } from "./untranslatable.ts";
import { X87Block } from "./x87-block.ts";

/** Anywhere in a region; as its last instruction; not at all. */
export type Place = "inside" | "end" | "nowhere";

const early = new WeakSet<Handler>();

/** Whether a handler that can be translated has ways that end before its end. */
export const endsEarly = (handler: Handler): boolean => placeOf(handler) === "inside" && early.has(handler);

const known = new WeakMap<Handler, Place>();

export function placeOf(handler: Handler): Place {
  const found = known.get(handler);
  if (found) return found;
  const place = canBuild(handler) ? "inside" : canEnd(handler) ? "end" : "nowhere";
  known.set(handler, place);
  return place;
}

/**
 * Those whose handlers outside 64-bit mode end regions of flat 32-bit code, as none of them switches tasks, with whose
 * faults a region could not deal; IRET does, under NT, and is left to the interpreter then.
 */
const LEGACY_ENDS: ReadonlySet<string> = new Set([
  "popf",
  "mov_sreg",
  "pop_sreg",
  "sysenter",
  "sysexit",
  "iret",
  "invlpg",
  "mov_to_cr",
  "clts",
  "rdmsr",
  "wrmsr",
]);

/** Only what ends blocks, too: else a row of such instructions would be a row of regions. */
function canEnd(handler: Handler): boolean {
  if (!handler.record.ends) return false;
  if (!handler.shape.mode64 && !LEGACY_ENDS.has(handler.record.name)) return false;
  const b = builderFor(handler);
  let leaves = false;
  const binding: Binding = {
    leave: (code) => {
      if (code === LEAVE) leaves = true;
    },
    inlineAccess: false,
    addressing: "any",
  };
  return builds(() => b.onState(() => buildHandler(b, handler, microOpAddress(), binding))) && !leaves;
}

function builds(build: () => void): boolean {
  try {
    build();
  } catch (error) {
    if (error instanceof Untranslatable) return false;
    throw error;
  }
  return true;
}

/** For the semantics with some operands of the handler's shape. */
function builderFor(handler: Handler): RegionBuilder {
  const b = new RegionBuilder();
  b.parameter("i32");
  for (const [i, operand] of handler.shape.operands.entries())
    b.microOp.setUint16(L.UOP_OPERAND + 2 * i, registerPlace(operand.kind).first, true);
  for (const at of [L.UOP_BASE, L.UOP_INDEX, L.UOP_SEGMENT_BASE]) b.microOp.setUint16(at, L.ZERO, true);
  const variable = (type: "i32" | "i64" | "v128"): Variable =>
    new Variable(b, { type, mutable: true, version: 0, index: -1 });
  b.state = {
    registers: Array.from({ length: FLAGS_FIELD }, (_, field) => variable(typeOf(field) as "i64")),
    ripBase: i64(0),
    tlbSet: i32(L.TLB_USER),
    remaining: () => i32(0),
    rip: variable("i64"),
  };
  b.flags = new RegionFlags(b, {
    kind: variable("i32"),
    x: variable("i64"),
    y: variable("i64"),
  });
  b.lazyFlags = b.flags;
  return b;
}

function canBuild(handler: Handler): boolean {
  const b = builderFor(handler);
  const memory = new PageAccess(b, (type) => new Variable(b, { type, mutable: true, version: 0, index: -1 }));
  const x87 = new X87Block(b);
  const floats = new RegionFloats(b, (type) => new Variable(b, { type, mutable: true, version: 0, index: -1 }));
  let leaves = false;
  const ignore = (): void => {};
  const binding: Binding = {
    leave: (code) => {
      // Only faults and early ends: a region cannot follow what else an instruction may do to RIP.
      if (code > 1) leaves = true;
      if (code === NEXT) early.add(handler);
    },
    inlineAccess: true,
    addressing: "any",
    translation: {
      goTo: ignore,
      jump: ignore,
      call: ignore,
      shadow: ignore,
      x87,
      floats,
      host: (address, bytes, isWrite, leave) => memory.host(address, bytes, isWrite, leave),
      hostAlone: (address, bytes, leave) => memory.hostAlone(address, bytes, leave),
    },
  };
  // As in a block that knows more than the state block has.
  const build = (): void => {
    x87.begin(ignore);
    buildHandler(b, handler, microOpAddress(), binding);
  };
  return builds(build) && !leaves;
}
