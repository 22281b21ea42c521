/** Limits as a caller gives them, by name: what is possible. */
import { VmError } from "../vm/vm-error.ts";

export type LimitRanges<Limits> = { readonly [K in keyof Required<Limits>]: readonly [least: number, most: number] };

/** `whose`: "A disk". What is undefined does not hold. Throws VmError "bad-option" for other names and numbers. */
export function checkRanges<Limits extends object>(whose: string, limits: Limits, ranges: LimitRanges<Limits>): void {
  for (const [name, value] of Object.entries(limits) as [string, unknown][]) {
    const range = Object.hasOwn(ranges, name) ? ranges[name as keyof Limits] : undefined;
    if (!range) {
      throw new VmError("bad-option", `${whose} has no ${name}. It has ${Object.keys(ranges).join(", ")}.`);
    }
    const [least, most] = range;
    if (value === undefined || (typeof value === "number" && value >= least && value <= most)) continue;
    throw new VmError("bad-option", `${whose}'s ${name} is from ${least} to ${most}, not ${String(value)}.`);
  }
}
