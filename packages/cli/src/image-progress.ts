import type { VmProgress } from "./vm-library.ts";

/** What is told of an image that is being made: another process may be at it. */
export function imageProgress({
  phase,
  done,
  total,
  waitingForPid: pid,
}: VmProgress & { readonly waitingForPid?: number }): VmProgress {
  const waiting = `waiting for process ${pid}, which prepares the same image`;
  return { phase: pid === undefined ? phase : waiting, done, total };
}
