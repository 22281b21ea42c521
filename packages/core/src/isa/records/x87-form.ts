/** What all x87 instructions have in common: the check for a pending exception before, the pointers recorded after. */
import * as L from "../../cpu/layout.ts";
import { FSW_ES, recordOpcode } from "../../cpu/x87.ts";
import { fromInteger, toInteger } from "../../cpu/x87-convert.ts";
import { pendingError } from "../../cpu/x87-error.ts";
import { QUICK_ROUTINES } from "../../cpu/x87-quick.ts";
import type { Routine } from "../../ir/routine.ts";
import { define, type Feature } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";
import type { X87Stack } from "../translation.ts";

/** #MF, or a wait for the external error's interrupt, if an unmasked exception is pending: what waiting instructions do first. */
export function checkPending(s: Semantics): void {
  if (s.x87) {
    s.x87.forget();
    s.x87.requireMasks(() => s.leave(FAULT));
    return;
  }
  s.b.if(s.get(L.FSW).and(FSW_ES), () => s.check(s.b.call(pendingError)), undefined, false);
}

/** Three equal mnemonics, for records whose name has a suffix to be unique. */
export const named = (name: string): readonly [string, string, string] => [name, name, name];

/** An instruction in a translated block: false where the block knows that a register is not as it has to be. */
export type QuickSemantics = (s: Semantics, x87: X87Stack) => boolean;

export interface X87Extras {
  readonly mnemonic?: string;
  readonly feature?: Feature;
  readonly quick?: QuickSemantics;
}

/** Defines a waiting instruction that records FIP, and with an unmasked exception FOP and FDP. */
export function defineX87(
  name: string,
  forms: readonly string[],
  body: (s: Semantics) => void,
  { mnemonic = name, feature = "fpu", quick }: X87Extras = {},
): void {
  define({
    name,
    ...(mnemonic === name ? {} : { names: named(mnemonic) }),
    feature,
    forms,
    semantics: (s) => {
      if (s.x87 && quick) {
        s.x87.begin(() => s.leave(FAULT));
        if (quick(s, s.x87)) {
          s.x87.done(s.thisRip());
          return;
        }
      }
      checkPending(s);
      body(s);
      s.put(L.FIP, s.thisRip());
      // In a translated block no exception is unmasked.
      if (s.x87) return;
      s.b.if(
        s.get(L.FSW).and(FSW_ES),
        () => {
          s.b.call(recordOpcode, s.thisRip());
          if (s.shape.operands.some((o) => o.kind === "m")) s.put(L.FDP, s.offset());
        },
        undefined,
        false,
      );
    },
  });
}

/** Routines that only translated code calls: the core module has them, too. */
export const TRANSLATED_ROUTINES: Set<Routine> = new Set([...QUICK_ROUTINES, fromInteger, toInteger]);

/** i of operand ST(i), of an instruction that is being translated. */
export function stackIndex(s: Semantics, operand = 0): number {
  const index = s.register(operand).constant;
  if (index === undefined) throw new Error("a register that is not known");
  return Number(index);
}
