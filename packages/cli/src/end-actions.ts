/**
 * What follows when a guest ends or reboots by itself, how long a VM lives, and whether it starts with the host: `--on-crash`,
 * `--on-poweroff`, `--on-reboot`, `--ttl`, `--autostart`. An order (stop, kill, a signal, a limit) ends a VM whatever they say.
 */
import { choice, flag, option } from "./options.ts";
import { parseDuration } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";

export const END_OPTIONS = {
  onCrash: choice(
    "on-crash",
    ["stop", "restart", "pause"],
    "With -d: what follows when the guest crashes or its kernel panics. stop (default); restart: it is started again, at first after a second, then after twice as long each time, up to 5 minutes; pause: a kernel that panicked stays, paused, to be looked at.",
  ),
  onReboot: choice(
    "on-reboot",
    ["restart", "stop"],
    "What follows when the guest reboots. restart (default): it does; stop: it is turned off. `twinmetal reset` starts it again always.",
  ),
  onPoweroff: choice(
    "on-poweroff",
    ["stop", "restart"],
    "With -d: what follows when the guest turns itself off. stop (default); restart: as with --on-crash. `twinmetal stop` turns it off always.",
  ),
  ttl: option(
    "ttl",
    "TIME",
    "With -d: how long the VM lives from its making, running or not: seconds, or 30m, 2h, 7d. Then it is turned off, and cannot be started any more; nothing of it is removed.",
    parseDuration,
  ),
  autostart: flag("autostart", "With -d: it starts when you log in, or with the host; see `twinmetal autostart`."),
};

/** What of it `twinmetal set` changes. */
export const END_KEYS: readonly string[] = ["on-crash", "on-poweroff", "on-reboot", "ttl", "autostart"];

export interface EndValues {
  readonly onCrash?: "stop" | "restart" | "pause" | undefined;
  readonly onReboot?: "restart" | "stop" | undefined;
  readonly onPoweroff?: "stop" | "restart" | undefined;
  readonly ttl?: number | undefined;
  readonly autostart?: boolean | undefined;
}

/** Whoever starts the VM again opens its files again. */
export function startsAgain({ onCrash, onPoweroff }: EndValues): boolean {
  return onCrash === "restart" || onPoweroff === "restart";
}

/** Throws UsageError. */
export function checkEndActions(values: EndValues & { readonly record?: string | undefined }, isKept: boolean): void {
  const { onCrash, onReboot, onPoweroff, ttl, record } = values;
  if (!isKept && (onCrash ?? onPoweroff) !== undefined) {
    const name = onCrash === undefined ? "on-poweroff" : "on-crash";
    throw new UsageError(`--${name} is for a VM that stays: give -d, too.`);
  }
  if (!isKept && ttl !== undefined)
    throw new UsageError("--ttl is for a VM that stays: give -d, too. On this terminal, --timeout ends a VM.");
  if (!isKept && values.autostart) throw new UsageError("--autostart is for a VM that stays: give -d, too.");
  if (record === undefined || (onReboot !== "stop" && !startsAgain(values))) return;
  throw new UsageError(
    "--record is of one run, to its end: leave it out, or --on-crash, --on-poweroff and --on-reboot.",
  );
}

const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 300_000;
/** Whoever has run that long has started well. */
const GOOD_RUN_MS = 600_000;

/** How long a VM waits that starts again by itself, so that one that crashes at once does not take the host. */
export class RestartDelay {
  #nextMs = FIRST_DELAY_MS;

  after(ranMs: number): number {
    if (ranMs >= GOOD_RUN_MS) this.#nextMs = FIRST_DELAY_MS;
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, MAX_DELAY_MS);
    return delayMs;
  }
}
