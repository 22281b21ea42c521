/**
 * What a user's VMs get where nothing else is said, and how many of them the host takes: typed data, from a file (policy-file.ts)
 * or a program. Limits are those of `VmOptions`, with the same ranges.
 */
import { CPU_LIMITS, MEMORY_LIMITS, type RebootAction } from "@twinmetal/core";
import { parseEgressRule, WIRE_LIMITS, type WireLimits } from "@twinmetal/network";
import { checkDiskLimits, DISK_LIMIT_RANGES } from "../disk/disk-limits.ts";
import type { DiskLimits } from "../disk/disk-protocol.ts";
import { checkLimits as checkCardLimits } from "../network/card-limits.ts";
import type { NetworkOptions } from "../network/network-protocol.ts";
import { checkRanges } from "../resources/limit-ranges.ts";
import { checkLimits, type VmLimits } from "../resources/vm-limits.ts";

export interface Policy {
  /** Default: every VM is taken. */
  readonly admission?: AdmissionRules;
  /** Of a VM whose own options say nothing. */
  readonly defaults?: {
    readonly memoryBytes?: number;
    readonly cpus?: number;
    readonly limits?: VmLimits;
    /** Of each disk. */
    readonly disks?: DiskLimits;
    /** Of each network card's wire, both ways. */
    readonly networks?: WireLimits;
  };
  /** Where a guest on a user network may go that has no `allow` of its own: its words. [] is nowhere. */
  readonly egress?: readonly string[];
  /** How long a VM that stays lives from its making. 1000 to ten years. */
  readonly ttlMs?: number;
  /** Of a VM that stays; `onReboot` of all. */
  readonly restart?: {
    readonly onCrash?: "stop" | "restart" | "pause";
    readonly onPoweroff?: "stop" | "restart";
    readonly onReboot?: RebootAction;
  };
}

/** About all running VMs of this user on this host, with the one that is to start. */
export interface AdmissionRules {
  /** Of the host's memory, what they may be promised at most, with what they may grow to: 0.8 is four fifths. 0.01 to 100. */
  readonly memoryRatio?: number;
  /** vCPUs for each of the host's processors, at most. 0.01 to 1000. */
  readonly cpuRatio?: number;
  /** So many, at most. 0 to 100000. */
  readonly maxVms?: number;
}

export type PolicyErrorCode =
  /** It is no policy; the message names the place in it. */
  | "bad-policy"
  /** The policy does not take the VM. */
  | "refused";

export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly code: PolicyErrorCode;

  constructor(code: PolicyErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Of a field, at its path. Throws PolicyError. */
type Check = (value: unknown, path: string) => void;

const MAX_TTL_MS = 3650 * 86_400_000;
const MAX_EGRESS_RULES = 1000;

const POLICY: Check = fields({
  admission: fields({ memoryRatio: number(0.01, 100), cpuRatio: number(0.01, 1000), maxVms: whole(0, 100_000) }),
  defaults: fields({
    memoryBytes: memory,
    cpus: whole(CPU_LIMITS.min, CPU_LIMITS.max),
    limits: by((part) => checkLimits(part as VmLimits)),
    disks: by(
      (part) => checkRanges("A disk", part as DiskLimits, DISK_LIMIT_RANGES),
      (all) => checkDiskLimits(all as DiskLimits),
    ),
    networks: by(
      (part) => checkRanges("A wire", part as WireLimits, WIRE_LIMITS),
      (all) => checkCardLimits({ toGuest: all as WireLimits }),
    ),
  }),
  egress,
  ttlMs: whole(1000, MAX_TTL_MS),
  restart: fields({
    onCrash: word("stop", "restart", "pause"),
    onPoweroff: word("stop", "restart"),
    onReboot: word("restart", "stop"),
  }),
});

type CardOptions = Pick<NetworkOptions, "to" | "allow" | "egress" | "limits">;

/**
 * A network card that comes while its VM runs. Where a guest may go by a user network that says nothing of that is what it may
 * by the first one of those that it was started with, or else what the policy says.
 */
export function cardUnderPolicy<Card extends CardOptions>(
  card: Card,
  { egress, defaults: { networks } = {} }: Policy,
  others: readonly NetworkOptions[],
): Card {
  const { toGuest, fromGuest } = card.limits ?? {};
  const limits = { toGuest: { ...networks, ...toGuest }, fromGuest: { ...networks, ...fromGuest } };
  const limited = networks ? { ...card, limits } : card;
  if (card.to !== "user" || (card.allow ?? card.egress) !== undefined) return limited;
  const first = others.find(({ to }) => to === "user");
  if (first)
    return { ...limited, ...(first.allow && { allow: first.allow }), ...(first.egress && { egress: first.egress }) };
  if (!egress) return limited;
  return { ...limited, ...(egress.includes("all") ? { egress: "open" } : { allow: egress }) };
}

/** Of what came from anywhere: a copy that nobody else changes. Throws PolicyError "bad-policy", with the path of what is wrong. */
export function checkPolicy(value: unknown): Policy {
  POLICY(value, "");
  return structuredClone(value) as Policy;
}

function wrong(path: string, why: string): PolicyError {
  return new PolicyError("bad-policy", path === "" ? `The policy ${why}.` : `In the policy, ${path} ${why}.`);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}

/** Absent and undefined are the same. */
function fields(known: Readonly<Record<string, Check>>): Check {
  return (value, path) => {
    if (!isPlain(value)) throw wrong(path, `has to be an object, and is ${shown(value)}`);
    for (const key of Reflect.ownKeys(value)) {
      const place = join(path, String(key));
      if (typeof key !== "string" || !Object.hasOwn(known, key)) {
        throw wrong(place, `is unknown; there are ${Object.keys(known).join(", ")}`);
      }
      if (value[key] !== undefined) known[key]!(value[key], place);
    }
  };
}

function number(least: number, most: number): Check {
  return (value, path) => {
    if (typeof value === "number" && value >= least && value <= most) return;
    throw wrong(path, `has to be a number from ${least} to ${most}, and is ${shown(value)}`);
  };
}

function whole(least: number, most: number): Check {
  return (value, path) => {
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return;
    throw wrong(path, `has to be a whole number from ${least} to ${most}, and is ${shown(value)}`);
  };
}

function memory(value: unknown, path: string): void {
  const { minBytes, maxBytes } = MEMORY_LIMITS;
  whole(minBytes, maxBytes)(value, path);
  if ((value as number) % 4096 !== 0) throw wrong(path, `has to be whole pages of 4096 bytes, and is ${shown(value)}`);
}

function word(...known: readonly string[]): Check {
  return (value, path) => {
    if (!known.includes(value as string)) throw wrong(path, `has to be ${known.join(" or ")}, and is ${shown(value)}`);
  };
}

/** Limits, by what knows the ranges of each, and how they go together. */
function by(checkPart: (part: object) => void, checkAll: (value: object) => void = () => {}): Check {
  return (value, path) => {
    if (!isPlain(value)) throw wrong(path, `has to be an object, and is ${shown(value)}`);
    for (const [key, part] of Object.entries(value)) {
      if (part !== undefined && typeof part !== "number")
        throw wrong(join(path, key), `has to be a number, and is ${shown(part)}`);
      try {
        checkPart({ [key]: part });
      } catch (error) {
        throw wrong(join(path, key), `cannot be: ${(error as Error).message}`);
      }
    }
    try {
      checkAll(value);
    } catch (error) {
      throw wrong(path, `cannot be: ${(error as Error).message}`);
    }
  };
}

function egress(value: unknown, path: string): void {
  if (!Array.isArray(value)) throw wrong(path, `has to be a list, and is ${shown(value)}`);
  if (value.length > MAX_EGRESS_RULES) throw wrong(path, `has more than ${MAX_EGRESS_RULES} rules`);
  for (const [index, rule] of [...(value as unknown[])].entries()) {
    const place = `${path}[${index}]`;
    if (typeof rule !== "string") throw wrong(place, `has to be a text, and is ${shown(rule)}`);
    if (rule === "all") continue;
    try {
      parseEgressRule(rule);
    } catch (error) {
      throw wrong(place, `cannot be: ${(error as Error).message}`);
    }
  }
}

function join(path: string, key: string): string {
  const part = /^[A-Za-z_]\w{0,63}$/.test(key) ? key : JSON.stringify(key.slice(0, 64));
  return path === "" ? part : `${path}.${part}`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "function" ? "a function" : String(value);
}
