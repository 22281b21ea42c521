/**
 * How much of the host's stack a region's function takes at most. V8's first compiler gives each local of a function a
 * place in its frame, so calls from region to region are bounded by bytes, not by their number (jit/routines.ts,
 * MAX_DEPTH), or a guest could overflow the host's stack.
 */
import type { ValueType } from "../ir/types.ts";

export const FRAME_UNIT_BYTES = 64;
/** Of a region without locals and of the routine that called it: saved registers, spilled operands. */
const FIXED_BYTES = 640;

/** Upper bound, in units of FRAME_UNIT_BYTES, for a function with these WebAssembly locals. */
export function frameUnits(types: readonly ValueType[]): number {
  const bytes = types.reduce((sum, type) => sum + (type === "v128" ? 16 : 8), 0);
  return Math.ceil((FIXED_BYTES + bytes) / FRAME_UNIT_BYTES);
}
