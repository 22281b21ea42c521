/** What is in a bay, a disk or a network card, leaves it when the guest has let it go. */
import { setTimeout as sleep } from "node:timers/promises";
import type { TrayAction, TrayState } from "@twinmetal/core";
import { VmError } from "../vm/vm-error.ts";

const LET_GO_MS = 30_000;
const LOOK_MS = 50;

export interface TrayReport extends TrayState {
  /** What was done at it last is not in the machine yet, which takes it between two instructions. */
  readonly isWaiting: boolean;
}

/** At a drive's tray, or a bay; the state that it was in. Without an action it only looks. */
export type AtTray = (name: string, action?: TrayAction) => Promise<TrayReport | undefined>;

/** Asks the guest, and resolves when the bay is empty. Rejects with VmError "timeout" after 30 s; `what`: for the message. */
export async function letGo(tray: AtTray, name: string, what: string, advice: string): Promise<void> {
  await tray(name, { kind: "eject", force: false });
  const isEmpty = async (): Promise<boolean> => {
    const report = await tray(name);
    return report?.isOpen === true && !report.isWaiting;
  };
  for (const deadlineMs = performance.now() + LET_GO_MS; !(await isEmpty()); await sleep(LOOK_MS)) {
    if (performance.now() < deadlineMs) continue;
    throw new VmError(
      "timeout",
      `The guest has not let go of the ${what} ${name} within ${LET_GO_MS / 1000} s. ${advice}; a guest that is not up yet, or has no ACPI, does not hear of it.`,
    );
  }
}
