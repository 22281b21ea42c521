/**
 * How much of the host's stack a region's function takes at most. V8's first compiler gives each local of a function a
 * place in its frame, so calls from region to region are bounded by bytes, not by their number (jit/routines.ts,
 * MAX_DEPTH), or a guest could overflow the host's stack.
 */
import type { Local, Statement } from "../ir/types.ts";

export const FRAME_UNIT_BYTES = 64;
/** Of a region without locals and of the routine that called it: saved registers, spilled operands. */
const FIXED_BYTES = 640;

/** Upper bound, in units of FRAME_UNIT_BYTES, for the locals that ir/compile.ts makes of these statements. */
export function frameUnits(statements: readonly Statement[]): number {
  return Math.ceil((FIXED_BYTES + localBytes(statements)) / FRAME_UNIT_BYTES);
}

/** A list's own locals, and those of the one list inside of it that has most: they end where it ends. */
function localBytes(statements: readonly Statement[]): number {
  const own: Local[] = [];
  let bytes = 0;
  let most = 0;
  for (const s of statements) {
    if ("local" in s && s.local && s.local.index < 0) {
      s.local.index = 0;
      own.push(s.local);
      bytes += s.local.type === "v128" ? 16 : 8;
    }
    if (s.kind === "block") most = Math.max(most, localBytes(s.body));
    else if (s.kind === "if") most = Math.max(most, localBytes(s.yes), localBytes(s.no));
    else if (s.kind === "switch") most = Math.max(most, localBytes(s.otherwise), ...s.cases.map(localBytes));
  }
  for (const local of own) local.index = -1;
  return bytes + most;
}
