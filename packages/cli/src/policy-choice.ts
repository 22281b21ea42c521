/**
 * `--policy FILE`: what a policy (the library's `Policy`) fills in where a VM's options say nothing, and what it says of that.
 * Without it, the user's own holds, if there is one.
 */
import { chooseImage, type RunValues, withImage } from "./boot-plan.ts";
import type { Io } from "./command.ts";
import type { RUN_OPTIONS } from "./commands/run.ts";
import { limitedDisk } from "./disk-choice.ts";
import { limitsOf } from "./limit-choice.ts";
import { option, type ParsedLine } from "./options.ts";
import { formatSize } from "./quantities.ts";
import type { NetworkOptions, Policy } from "./vm-library.ts";

export const POLICY = option(
  "policy",
  "FILE|none",
  "What holds where the other options say nothing, and whether the VM is taken: a file of JSON, or a module (.mjs, .ts). Default: policy.json beside the folder of VMs, if it is there. See `twinmetal policy` and docs/guide/policies.md.",
);

/** One rule of a policy, and what it does to a VM. */
export interface PolicyFinding {
  readonly rule: string;
  /** default: it has filled in. given: the VM's own options say something. idle: there is nothing that it is about. */
  readonly outcome: "default" | "given" | "idle";
  readonly value: unknown;
  readonly text: string;
}

export type RunLine = Omit<ParsedLine<typeof RUN_OPTIONS>, "values"> & { readonly values: RunValues };

export interface LineUnderPolicy {
  readonly line: RunLine;
  readonly path?: string;
  readonly policy: Policy;
  readonly findings: readonly PolicyFinding[];
}

/** Rejects with PolicyError "bad-policy", and with UsageError as the options alone would be. */
export async function underPolicy(io: Io, line: RunLine, isKept: boolean): Promise<LineUnderPolicy> {
  const { policy: name } = line.values;
  const found = name === "none" ? undefined : await io.library.readPolicy(name);
  if (found === undefined) return { line, policy: {}, findings: [] };
  const { path, policy } = found;
  // What comes brings its own memory, processors and answer to a reboot.
  const { admission, egress, defaults: { limits, disks, networks } = {} } = policy;
  const held =
    line.values.incoming === undefined ? policy : { admission, egress, defaults: { limits, disks, networks } };
  const { values, findings } = fillIn(line, held as Policy, isKept);
  return { line: { ...line, values: { ...values, policyPath: path } }, path, policy, findings };
}

/** What of the policy the VM gets. Throws UsageError. */
export function fillIn(
  { values: given, operands }: Pick<RunLine, "values" | "operands">,
  policy: Policy,
  isKept: boolean,
): { readonly values: RunValues; readonly findings: readonly PolicyFinding[] } {
  const { defaults = {}, egress, ttlMs } = policy;
  // A recording is of one run.
  const { restart = {} } = given.record === undefined ? policy : {};
  const findings: PolicyFinding[] = [];
  const tell = (rule: string, outcome: PolicyFinding["outcome"], value: unknown, text: string): void =>
    void findings.push({ rule, outcome, value, text });
  const pick = <T>(rule: string, own: T | undefined, standard: T | undefined, option: string): T | undefined => {
    if (standard === undefined) return own;
    if (own === undefined) tell(rule, "default", standard, `${option} is not given: ${shown(rule, standard)}`);
    else tell(rule, "given", own, `${option} is given, so ${shown(rule, standard)} does not hold`);
    return own ?? standard;
  };
  const each = <T extends object>(rule: string, own: T, standard: T, whose: string): T => {
    for (const [key, value] of Object.entries(standard)) {
      const isGiven = Object.hasOwn(own, key);
      const outcome = isGiven ? "given" : "default";
      tell(`${rule}.${key}`, outcome, value, `${whose} ${isGiven ? "has its own" : `gets ${shown(key, value)}`}`);
    }
    return { ...standard, ...own };
  };
  const keptOnly = <T>(rule: string, own: T | undefined, standard: T | undefined, option: string): T | undefined => {
    if (isKept || standard === undefined) return pick(rule, own, standard, option);
    tell(rule, "idle", standard, "it is about VMs that stay");
    return own;
  };

  const memory = defaults.memoryBytes === undefined ? undefined : { bytes: defaults.memoryBytes };
  const cpus = defaults.cpus === undefined ? undefined : { count: defaults.cpus };
  let values: RunValues = {
    ...given,
    memory: pick("defaults.memoryBytes", given.memory, memory, "--memory"),
    cpus: pick("defaults.cpus", given.cpus, cpus, "--cpus"),
    ...(defaults.limits && { limit: [each("defaults.limits", limitsOf(given) ?? {}, defaults.limits, "the VM")] }),
    ttl: keptOnly("ttlMs", given.ttl, ttlMs, "--ttl"),
    onCrash: keptOnly("restart.onCrash", given.onCrash, restart.onCrash, "--on-crash"),
    onPoweroff: keptOnly("restart.onPoweroff", given.onPoweroff, restart.onPoweroff, "--on-poweroff"),
    onReboot: pick("restart.onReboot", given.onReboot, restart.onReboot, "--on-reboot"),
  };
  const image = chooseImage(values, operands);
  values = withImage(values, image);
  if (defaults.disks) {
    const { disks } = defaults;
    const own = values.disk?.map((disk, index) =>
      limitedDisk(disk, each("defaults.disks", disk.limits ?? {}, disks, `disk ${index}`)),
    );
    values = { ...values, ...(own && { disk: own }), diskLimits: disks };
    if (image?.kind === "disk") each("defaults.disks", {}, disks, `the image's disk`);
    else if (!own) tell("defaults.disks", "idle", disks, "the VM has no disk of its own");
  }
  const cards = values.net ?? [];
  const isOnUserNetwork = cards.some((card) => card?.to === "user");
  if (defaults.networks) {
    const { networks } = defaults;
    if (cards.length === 0) tell("defaults.networks", "idle", networks, "the VM has no network card");
    else values = { ...values, net: cards.map((card, index) => card && limitedCard(card, index, networks, each)) };
  }
  if (egress && !isOnUserNetwork) tell("egress", "idle", egress, "the VM is not on a user network");
  else values = { ...values, allow: pick("egress", values.allow, egress, "--allow") };
  return { values, findings };
}

function limitedCard(
  card: NetworkOptions,
  index: number,
  standard: NonNullable<NonNullable<Policy["defaults"]>["networks"]>,
  each: <T extends object>(rule: string, own: T, standard: T, whose: string) => T,
): NetworkOptions {
  const { toGuest = {}, fromGuest = {} } = card.limits ?? {};
  const limits = each("defaults.networks", toGuest, standard, `network card ${index}`);
  return { ...card, limits: { toGuest: limits, fromGuest: { ...standard, ...fromGuest } } };
}

function shown(name: string, value: unknown): string {
  if (typeof value === "object" && value !== null && "bytes" in value) return formatSize(value.bytes as number);
  if (typeof value === "object" && value !== null && "count" in value) return String(value.count);
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  if (name.endsWith("Bytes")) return formatSize(value);
  return name.endsWith("Ms") ? `${value / 1000} s` : String(value);
}
