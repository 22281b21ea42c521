// Planted bugs as mutations of the CPU: each is built with only those records that the bug's cases need, so that a
// hundred CPUs are built in seconds. The bugs themselves are in bugs-*.ts.

import { mnemonicsOf } from "../../packages/core/src/isa/notation.ts";
import { type InstructionRecord, RECORDS } from "../../packages/core/src/isa/record.ts";
import { BASE_BUGS } from "./bugs-base.ts";
import { INTEGER_BUGS } from "./bugs-integer.ts";
import { VECTOR_BUGS } from "./bugs-vector.ts";
import { X87_BUGS } from "./bugs-x87.ts";
import type { Mutation } from "./mutate.ts";
import { type PlantedBug, recordOf } from "./planted.ts";

const BUGS: readonly PlantedBug[] = [...BASE_BUGS, ...INTEGER_BUGS, ...VECTOR_BUGS, ...X87_BUGS];

/** What the exception handlers of user-machine.ts are made of. */
const HANDLER_RECORD = "hlt";
/** Records of the mutated CPU. */
let planted: readonly InstructionRecord[] | undefined;

export function plantedRecords(): readonly InstructionRecord[] {
  if (!planted) throw new Error("no bug is planted");
  return planted;
}

/** The records that have one of the mnemonics. */
function recordsFor(mnemonics: readonly string[]): InstructionRecord[] {
  return RECORDS.filter((r) => r.name === HANDLER_RECORD || mnemonicsOf(r).some((each) => mnemonics.includes(each)));
}

function mutationOf({ what, record: name, wrong }: PlantedBug): Mutation {
  const record = recordOf(name);
  const mnemonics = mnemonicsOf(record);
  return {
    name: what,
    mnemonics,
    apply: () => {
      planted = recordsFor(mnemonics).map((r) => (r === record ? { ...r, semantics: wrong(r.semantics) } : r));
      return () => {
        planted = undefined;
      };
    },
  };
}

export const MUTATIONS: readonly Mutation[] = BUGS.map(mutationOf);

const everyMnemonic = [...new Set(BUGS.flatMap(({ record }) => mnemonicsOf(recordOf(record))))];
/** Nothing planted, but all of those records: must agree with the host, or the other results mean nothing. */
export const CONTROL: Mutation = {
  name: "nothing planted",
  mnemonics: everyMnemonic,
  apply: () => {
    planted = recordsFor(everyMnemonic);
    return () => {
      planted = undefined;
    };
  },
};
