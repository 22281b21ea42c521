/** What all x87 instructions have in common: the check for a pending exception before, the pointers recorded after. */
import * as L from "../../cpu/layout.ts";
import { FSW_ES, recordOpcode } from "../../cpu/x87.ts";
import { pendingError } from "../../cpu/x87-error.ts";
import { define, type Feature } from "../record.ts";
import type { Semantics } from "../semantics.ts";

/** #MF, or a wait for the external error's interrupt, if an unmasked exception is pending: what waiting instructions do first. */
export function checkPending(s: Semantics): void {
  s.b.if(s.get(L.FSW).and(FSW_ES), () => s.check(s.b.call(pendingError)), undefined, false);
}

/** Three equal mnemonics, for records whose name has a suffix to be unique. */
export const named = (name: string): readonly [string, string, string] => [name, name, name];

/** Defines a waiting instruction that records FIP, and with an unmasked exception FOP and FDP. */
export function defineX87(
  name: string,
  forms: readonly string[],
  body: (s: Semantics) => void,
  mnemonic: string = name,
  feature: Feature = "fpu",
): void {
  define({
    name,
    ...(mnemonic === name ? {} : { names: named(mnemonic) }),
    feature,
    forms,
    semantics: (s) => {
      checkPending(s);
      body(s);
      s.put(L.FIP, s.thisRip());
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
