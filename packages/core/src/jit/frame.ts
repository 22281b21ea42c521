/**
 * How much of the host's stack a region's function takes at most. V8's first compiler gives each local of a function a
 * place in its frame, and a region has thousands of them; so calls from region to region are bounded by bytes, not by
 * their number (jit/routines.ts, MAX_DEPTH), or a guest could overflow the host's stack.
 */
import type { Local, Statement } from "../ir/types.ts";
import { walk } from "../ir/walk.ts";

export const FRAME_UNIT_BYTES = 64;
/** Of a region without locals and of the routine that called it: saved registers, spilled operands. */
const FIXED_BYTES = 640;

/** Upper bound, in units of FRAME_UNIT_BYTES. */
export function frameUnits(statements: readonly Statement[]): number {
  const locals = new Set<Local>();
  walk(statements, (s) => {
    if ("local" in s && s.local) locals.add(s.local);
  });
  let bytes = FIXED_BYTES;
  for (const { type } of locals) bytes += type === "v128" ? 16 : 8;
  return Math.ceil(bytes / FRAME_UNIT_BYTES);
}
