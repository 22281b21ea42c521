/**
 * The exit statuses of the program: a contract that scripts rely on (docs/guide/run.md, "Exit status"). A guest's
 * command passes its own through; the rest follows what shells and timeout(1) do.
 */
import { constants } from "node:os";

export const EXIT = {
  OK: 0,
  /** Bad usage: an unknown option, a value that is none. Nothing was started. */
  USAGE: 2,
  /** --timeout ran out. */
  TIMEOUT: 124,
  /** Twinmetal failed, or the guest crashed; the reason is on standard error. */
  FAILED: 125,
  /** The guest has the command and cannot run it. */
  CANNOT_RUN: 126,
} as const;

/** 128 + n, for an end by signal n. */
export function signalStatus(name: NodeJS.Signals): number {
  return 128 + (constants.signals[name] ?? 0);
}
