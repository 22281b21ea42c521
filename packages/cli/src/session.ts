/**
 * How a run ends, whatever it was: the guest's own end, its command's, the user leaving, a reader that went away, or a
 * cause from outside. Decides the exit status and what is said about it.
 */
import { EXIT, signalStatus } from "./exit-status.ts";
import { CommandError } from "./usage-error.ts";
import type { VmExit } from "./vm-library.ts";

export type Outcome =
  | { readonly kind: "guest"; readonly exit: VmExit }
  | { readonly kind: "command"; readonly status: number }
  /** Ctrl-], or a terminal that is gone. */
  | { readonly kind: "left" }
  | { readonly kind: "output-gone"; readonly code: string };

/** Throws CommandError for what is not the guest's fault. `message` is for standard error, without the program's name. */
export function concludeOutcome(outcome: Outcome): { readonly status: number; readonly message: string } {
  switch (outcome.kind) {
    case "command":
      return { status: outcome.status, message: "" };
    case "left":
      return { status: EXIT.OK, message: "" };
    case "guest":
      return concludeGuest(outcome.exit);
    case "output-gone":
      if (outcome.code === "EPIPE") return { status: signalStatus("SIGPIPE"), message: "" };
      throw new CommandError(`Standard output cannot be written (${outcome.code}); the VM was ended.`);
  }
}

function concludeGuest(exit: VmExit): { readonly status: number; readonly message: string } {
  switch (exit.kind) {
    case "off":
      if (exit.limit) return { status: EXIT.TIMEOUT, message: `the VM was ended: ${exit.reason}.` };
      return { status: EXIT.OK, message: "" };
    case "migrated":
      return { status: EXIT.OK, message: `the VM was migrated: ${exit.reason}.` };
    case "crashed":
      return { status: EXIT.FAILED, message: crashMessage(exit) };
  }
}

function crashMessage({ reason, report }: VmExit & { kind: "crashed" }): string {
  const text = report.trimEnd();
  return text.includes(reason) || text === "" ? text || reason : `${reason}\n${text}`;
}

/** Rejects as soon as something beside the guest has failed. */
export async function orTrouble<T>(promise: Promise<T>, trouble: Promise<Error>): Promise<T> {
  return await Promise.race([promise, trouble.then((error) => Promise.reject(error))]);
}
