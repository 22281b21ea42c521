/**
 * What of a VM that stays `twinmetal set` changes for good, whether it runs or not: what follows its end, its time to live, and
 * whether it starts by itself. It is in its spec; the process of one that runs is told.
 */
import { ensureAutostart, withMark } from "./autostart.ts";
import type { Io } from "./command.ts";
import { RUN_OPTIONS } from "./commands/run.ts";
import { checkEndActions, END_OPTIONS } from "./end-actions.ts";
import { lifeText, namedVms } from "./named-vms.ts";
import { parseLine } from "./options.ts";
import { parseDuration } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";
import { type EndChange, hasProcess, specWords, type VmSpec } from "./vm-library.ts";

const ACTIONS = { "on-crash": "onCrash", "on-poweroff": "onPoweroff", "on-reboot": "onReboot" } as const;
type Action = keyof typeof ACTIONS;

export interface KeptChange {
  readonly actions: Readonly<Partial<Record<Action, string>>>;
  /** From now on; null: it lives for ever. */
  readonly ttlMs?: number | null;
  readonly autostart?: boolean;
}

/** Throws UsageError. */
export function parseKept(words: readonly string[]): KeptChange {
  const actions: Partial<Record<Action, string>> = {};
  let ttlMs: number | null | undefined;
  let autostart: boolean | undefined;
  for (const word of words) {
    const [key = "", value = ""] = word.split(/=(.*)/s);
    if (key === "ttl") ttlMs = value === "none" ? null : parseDuration(value);
    else if (key === "autostart") autostart = onOrOff(value);
    else actions[key as Action] = END_OPTIONS[ACTIONS[key as Action]].parse!(value);
  }
  return { actions, ...(ttlMs !== undefined && { ttlMs }), ...(autostart !== undefined && { autostart }) };
}

function onOrOff(value: string): boolean {
  if (value === "on" || value === "off") return value === "on";
  throw new UsageError(`autostart is on or off, not "${value}".`);
}

/** Answers with what holds from here on, by key. Rejects with LifecycleError, and with what the VM's process says. */
export async function changeKept(io: Io, name: string, change: KeptChange): Promise<Readonly<Record<string, string>>> {
  const vms = namedVms(io);
  const { state } = await vms.observe(name);
  const expiresAt = typeof change.ttlMs === "number" ? new Date(Date.now() + change.ttlMs).toISOString() : change.ttlMs;
  const spec = await vms.change(name, async (before) => {
    const after = changed(before, change, expiresAt);
    // What cannot be at the next start is refused now.
    checkEndActions(parseLine(RUN_OPTIONS, specWords(after)).values, true);
    if (hasProcess(state)) await tell(io, name, change, expiresAt);
    return after;
  });
  if (change.autostart) await ensureAutostart(io);
  const { options } = spec;
  const set = Object.keys(change.actions).map((key) => [key, String(options[key])] as const);
  return Object.fromEntries([
    ...set,
    ...(change.ttlMs === undefined ? [] : [["lives until", untilText(spec)] as const]),
    ...(change.autostart === undefined ? [] : [["autostart", change.autostart ? "on" : "off"] as const]),
  ]);
}

function untilText({ expiresAt }: VmSpec): string {
  return expiresAt === undefined ? "it is removed" : `${expiresAt} (${lifeText(expiresAt)})`;
}

function changed(before: VmSpec, { actions, autostart }: KeptChange, expiresAt: string | null | undefined): VmSpec {
  const { expiresAt: old, ...rest } = before;
  const end = expiresAt === undefined ? old : (expiresAt ?? undefined);
  const spec = { ...rest, ...(end !== undefined && { expiresAt: end }), options: { ...rest.options, ...actions } };
  return autostart === undefined ? spec : withMark(spec, autostart);
}

async function tell(
  io: Io,
  name: string,
  { actions }: KeptChange,
  expiresAt: string | null | undefined,
): Promise<void> {
  const entries = Object.entries(actions).map(([key, value]) => [ACTIONS[key as Action], value] as const);
  const change = { ...Object.fromEntries(entries), ...(expiresAt !== undefined && { expiresAt }) } as EndChange;
  if (Object.keys(change).length > 0) await io.library.askVm(name, { command: "keep", change });
}
