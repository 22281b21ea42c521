/**
 * What a VM's process can be asked for at its control socket, and the checks of what comes there: one request a connection,
 * JSON in a line, `{"command": C, ...}` with the command's fields. Whoever may use the socket may do all this anyway; but
 * a mistake shall be told as one.
 */
import { isAbsolute } from "node:path";
import { KEYBOARD_LAYOUTS, type KeyboardLayout } from "@twinmetal/core";
import type { UnpackPlan } from "../copy/guest-archive.ts";
import { type EndChange, isEndChange } from "../lifecycle/end-change.ts";
import type { MigrateVmOptions, MigrationChoice } from "../migration/outgoing.ts";
import type { CardLimits, ForwardOptions, NetworkOptions } from "../network/network-protocol.ts";
import { isResourceChange, type ResourceChange } from "../resources/resource-change.ts";
import { badRequest } from "./control-error.ts";
import { type ExecFields, isTerminal } from "./control-streams.ts";

/** Options of a migration; what cannot be said in JSON is not among them. */
export type ControlOptions = Omit<MigrateVmOptions, "signal" | "onProgress">;

/** Without what a card has from the start. Paths are absolute. */
export type PlugNetwork = Omit<NetworkOptions, "model" | "mac" | "mtu">;

type NoFields = Readonly<Record<never, never>>;

/** The fields of each command. */
interface ControlFields {
  /** Answers with lines of progress before its result. A connection that goes away cancels it. */
  readonly migrate: { readonly target: string; readonly options: ControlOptions };
  /** What speaks against it; the target may be an engine. */
  readonly check: { readonly target: string; readonly options: ControlOptions };
  /** The migration under way. */
  readonly cancel: NoFields;
  readonly decide: { readonly choice: MigrationChoice };
  /** The VM goes on in that engine. */
  readonly switch: { readonly engine: "jit" | "kvm" };
  /** It is recorded from here on. */
  readonly record: { readonly path: string; readonly state: string };
  readonly status: NoFields;
  /** Text, and a PNG file. */
  readonly screen: NoFields;
  readonly type: { readonly text: string; readonly layout: KeyboardLayout };
  /** Pressed together. */
  readonly press: { readonly keys: string };
  /** The tray of a CD drive opens, without its disc. */
  readonly eject: { readonly disk: string; readonly force: boolean };
  readonly insert: { readonly disk: string; readonly path: string; readonly force: boolean };
  /** A network card comes into a bay, and one leaves. */
  readonly plug: { readonly card: string; readonly network: PlugNetwork };
  readonly unplug: { readonly card: string };
  /** How much memory it has. */
  readonly resize: { readonly bytes: number };
  readonly balloon: { readonly bytes: number | "auto" };
  /** Its balloon, and what the guest says of its memory. */
  readonly memory: NoFields;
  /** What it uses and may use. */
  readonly usage: NoFields;
  /** Of the vCPU whose turn it is, between two instructions. */
  readonly registers: NoFields;
  readonly set: { readonly change: ResourceChange };
  /** Of a VM that stays: what follows its end, and when that is. */
  readonly keep: { readonly change: EndChange };
  /** Asked to turn off, and waited for. ../lifecycle/states.ts says when this and the following are allowed. */
  readonly stop: { readonly timeoutMs: number; readonly force: boolean };
  readonly pause: NoFields;
  readonly resume: NoFields;
  readonly reset: NoFields;
  readonly kill: NoFields;
  /** Its state in its folder, and it ends with that; or in another file, and it goes on. */
  readonly save: { readonly path?: string };
  /** Its state and its disks for a VM whose folder is in the making. */
  readonly clone: { readonly from: string; readonly to: string };
  /** The same of a VM in its sandbox: it stands still while the client copies them, ../lifecycle/outgoing-state.ts. */
  readonly hand: { readonly out: "state" | "clone" };
  /** Bytes flow both ways: control-streams.ts. */
  readonly console: NoFields;
  readonly exec: ExecFields;
  /** A file or a folder of the guest as a tar archive, and one into it: ../copy/guest-archive.ts. */
  readonly pack: { readonly path: string };
  readonly unpack: UnpackPlan;
}

type Command = keyof ControlFields;

export type ControlRequest = { [C in Command]: { readonly command: C } & ControlFields[C] }[Command];

type Checks<Fields> = { readonly [F in keyof Fields]-?: (value: unknown) => boolean };

const MAX_STOP_MS = 24 * 3_600_000;

const isText = (value: unknown): boolean => typeof value === "string";
const isNumber = (value: unknown): boolean => typeof value === "number";
const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isPath = (path: unknown): boolean => typeof path === "string" && isAbsolute(path);
const isOneOf =
  (...known: readonly string[]) =>
  (value: unknown): boolean =>
    known.some((one) => one === value);

/** An object with nothing but what is known, all of which may be missing. */
const hasOnly =
  <Fields>(checks: Checks<Fields>) =>
  (value: unknown): boolean =>
    typeof value === "object" &&
    value !== null &&
    Object.entries(value).every(([key, one]) => Object.hasOwn(checks, key) && checks[key as keyof Fields](one));

// What limits, rules and ports may be is checked where they are put to use.
const isCardLimits = hasOnly<CardLimits>({ toGuest: isWireLimits, fromGuest: isWireLimits });
const isForward = hasOnly<ForwardOptions>({
  protocol: isOneOf("tcp", "udp"),
  hostAddress: isText,
  hostPort: isNumber,
  guestPort: isNumber,
});
const isPlugNetwork = hasOnly<PlugNetwork>({
  to: isOneOf("switch", "socket", "loopback", "user"),
  name: isText,
  path: isPath,
  allow: isNames,
  egress: isOneOf("public", "listed", "open"),
  forwards: (forwards) => Array.isArray(forwards) && forwards.every(isForward),
  log: isPath,
  tftp: isPath,
  bootFile: isText,
  pcap: isPath,
  limits: isCardLimits,
});

const CHECKS: { readonly [C in Command]: Checks<ControlFields[C]> } = {
  migrate: { target: isText, options: isOptions },
  check: { target: isText, options: isOptions },
  cancel: {},
  decide: { choice: isOneOf("run", "discard") },
  switch: { engine: isOneOf("jit", "kvm") },
  record: { path: isText, state: isText },
  status: {},
  screen: {},
  type: { text: isText, layout: isOneOf(...KEYBOARD_LAYOUTS) },
  press: { keys: isText },
  eject: { disk: isText, force: isBoolean },
  insert: { disk: isText, path: isText, force: isBoolean },
  plug: { card: isText, network: isPlugNetwork },
  unplug: { card: isText },
  resize: { bytes: isNumber },
  balloon: { bytes: (bytes) => isNumber(bytes) || bytes === "auto" },
  memory: {},
  usage: {},
  registers: {},
  set: { change: isResourceChange },
  keep: { change: isEndChange },
  stop: { timeoutMs: (ms) => typeof ms === "number" && ms >= 0 && ms <= MAX_STOP_MS, force: isBoolean },
  pause: {},
  resume: {},
  reset: {},
  kill: {},
  save: { path: (path) => path === undefined || isPath(path) },
  clone: { from: isPath, to: isPath },
  hand: { out: isOneOf("state", "clone") },
  console: {},
  exec: {
    words: (words) => isNames(words) && words.length > 0,
    terminal: (terminal) => terminal === undefined || isTerminal(terminal),
    isTyped: (isTyped) => isTyped === undefined || isBoolean(isTyped),
  },
  pack: { path: isPath },
  unpack: { target: isPath, names: isNames, isIntoFolder: isBoolean },
};

/** Only what the command takes is in the answer. Throws ControlError "bad-option". */
export function parseRequest(line: string): ControlRequest {
  let given: Partial<Record<string, unknown>>;
  try {
    given = JSON.parse(line) as typeof given;
  } catch {
    throw badRequest("The request is no JSON.");
  }
  if (typeof given !== "object" || given === null) throw badRequest("The request is no object.");
  const { command } = given;
  if (typeof command !== "string" || !Object.hasOwn(CHECKS, command)) throw unknownRequest();
  const request: Record<string, unknown> = { command };
  for (const [field, isValid] of Object.entries(CHECKS[command as Command])) {
    if (!isValid(given[field])) throw unknownRequest();
    if (given[field] !== undefined) request[field] = given[field];
  }
  return request as ControlRequest;
}

function unknownRequest(): Error {
  return badRequest("The request asks for nothing that is known here.");
}

function isWireLimits(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.values(value).every(isNumber);
}

const OPTION_CHECKS: Checks<ControlOptions> = {
  tls: isTls,
  insecure: isBoolean,
  maxDowntimeMs: isNumber,
  bytesPerSecond: isNumber,
  compression: isOneOf("auto", "always", "never"),
  mayThrottle: isBoolean,
  stallMs: isNumber,
  decideMs: isNumber,
};

function isOptions(options: unknown): boolean {
  return hasOnly(OPTION_CHECKS)(options);
}

function isTls(value: unknown): boolean {
  const files = value as Record<string, unknown> | null;
  return (
    typeof files === "object" &&
    files !== null &&
    ["key", "certificate", "authority"].every((name) => isText(files[name])) &&
    (files["peers"] === undefined || isNames(files["peers"]))
  );
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isText);
}
