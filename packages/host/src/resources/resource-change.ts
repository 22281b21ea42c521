/**
 * A change of everything that a VM may use at once, as `twinmetal set` asks for it: what is named changes, `null` takes a limit
 * away. All of it is looked at before any of it is done.
 */
import type { WireLimits } from "@twinmetal/network";
import { checkDiskLimits } from "../disk/disk-limits.ts";
import type { DiskLimits } from "../disk/disk-protocol.ts";
import { checkLimits as checkCardLimits } from "../network/card-limits.ts";
import type { CardLimits } from "../network/network-protocol.ts";
import type { MemoryChange, Vm } from "../vm/vm.ts";
import { VmError } from "../vm/vm-error.ts";
import { checkLimits, type VmLimitsChange } from "./vm-limits.ts";

type Change<T> = { readonly [K in keyof T]?: T[K] | null };

export interface ResourceChange {
  readonly limits?: VmLimitsChange;
  /** By the disk's place in the VM's options; "all" for each. */
  readonly disks?: Readonly<Record<string, Change<DiskLimits>>>;
  /** Of a card's wire, both ways; by the card's place, or "all". */
  readonly networks?: Readonly<Record<string, Change<WireLimits>>>;
  readonly memory?: MemoryChange;
  /** How many processors it shall have. */
  readonly cpus?: number;
}

const KEYS: Readonly<Record<keyof ResourceChange, "object" | "number">> = {
  limits: "object",
  disks: "object",
  networks: "object",
  memory: "object",
  cpus: "number",
};

/** Of what came as JSON. What is in its parts is checked when they are carried out. */
export function isResourceChange(value: unknown): value is ResourceChange {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).every(([key, part]) => {
    const type = Object.hasOwn(KEYS, key) ? KEYS[key as keyof ResourceChange] : undefined;
    if (type === undefined || typeof part !== type || part === null) return false;
    const isNested = key === "disks" || key === "networks";
    return !isNested || Object.values(part).every((each) => typeof each === "object" && each !== null);
  });
}

/** Rejects with VmError "bad-option" before anything has changed; with what a part of it says after that. */
export async function changeResources(
  { resources, disks, network, memory, cpus }: Pick<Vm, "resources" | "disks" | "network" | "memory" | "cpus">,
  change: ResourceChange,
): Promise<void> {
  checkLimits(change.limits ?? {});
  const ofDisks = merged(disks.limits, change.disks, "disk", (now, asked) => changed(now, asked));
  for (const [, limits] of ofDisks) checkDiskLimits(limits);
  const ofCards = merged(network.limits, change.networks, "network card", changedCard);
  for (const [, limits] of ofCards) checkCardLimits(limits);
  memory.check(change.memory ?? {});
  if (change.cpus !== undefined) cpus.check(change.cpus);
  if (change.limits) await resources.set(change.limits);
  for (const [index, limits] of ofDisks) await disks.limit(index, limits);
  for (const [index, limits] of ofCards) await network.limit(index, limits);
  await Promise.all([change.memory && memory.set(change.memory), change.cpus !== undefined && cpus.set(change.cpus)]);
}

function merged<T, C>(
  present: readonly T[],
  asked: Readonly<Record<string, C>> | undefined,
  what: string,
  merge: (now: T, asked: C) => T,
): (readonly [index: number, limits: T])[] {
  const found = new Map<number, T>();
  for (const [key, each] of Object.entries(asked ?? {})) {
    const indices = key === "all" ? present.map((_limits, index) => index) : [/^\d+$/.test(key) ? Number(key) : -1];
    if (indices.length === 0 || !indices.every((index) => present[index] !== undefined)) {
      const has = present.length === 0 ? `no ${what}` : `${what}s 0 to ${present.length - 1}`;
      throw new VmError("bad-option", `The VM has no ${what} ${key}. It has ${has}.`);
    }
    for (const index of indices) found.set(index, merge(found.get(index) ?? present[index]!, each));
  }
  return [...found];
}

function changed<T extends object>(now: T, asked: Change<T>): T {
  const entries = Object.entries({ ...now, ...asked }).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(entries) as T;
}

function changedCard({ toGuest = {}, fromGuest = {} }: CardLimits, asked: Change<WireLimits>): CardLimits {
  return { toGuest: changed(toGuest, asked), fromGuest: changed(fromGuest, asked) };
}
