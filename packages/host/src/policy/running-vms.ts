/**
 * What this user's running VMs have been promised, named or not: a file each, DATA/running/HOST-PID.json, beside a lock that its
 * process holds (../image/file-lock.ts), so that what a killed process leaves counts for nothing. Whoever is to be taken
 * looks and enters under one lock: two that start at once are taken one after the other. A VM that migrates within the host is
 * at two places, and counts once: both know the migration's random name, and nobody else does.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, hostname, totalmem } from "node:os";
import { join } from "node:path";
import { dataDirectory } from "../data-directory.ts";
import { acquireLock, lockHolder } from "../image/file-lock.ts";
import { isSwitchCard, type SwitchCard, sharedCard } from "../network/switch-cards.ts";
import { type AdmissionFinding, admissionFindings, type HostSize, type VmPromise } from "./admission.ts";
import { type AdmissionRules, PolicyError } from "./policy.ts";

const BUSY_MS = 60_000;
const POLL_MS = 20;

export interface AdmissionOptions {
  readonly name: string;
  readonly wanted: VmPromise;
  /** At switches. No other that runs has one of them. */
  readonly cards?: readonly SwitchCard[];
  /** Default: none. */
  readonly rules?: AdmissionRules | undefined;
  readonly host?: HostSize;
  readonly directory?: string;
  /** Whose promise it is. Default: this process. */
  readonly owner?: string;
  /** By which it comes: `markMigration`. */
  readonly migration?: string | undefined;
}

export function hostSize(): HostSize {
  const constrained = process.constrainedMemory?.() ?? 0;
  const total = totalmem();
  return {
    memoryBytes: constrained > 0 && constrained < total ? constrained : total,
    processors: availableParallelism(),
  };
}

/** Without changing anything. */
export async function examineAdmission(options: AdmissionOptions): Promise<readonly AdmissionFinding[]> {
  const {
    rules = {},
    host = hostSize(),
    wanted,
    directory = runningDirectory(),
    owner = ownOwner(),
    migration,
  } = options;
  return admissionFindings(rules, host, await runningVms(directory, { owner, migration }), wanted);
}

/**
 * The VM of this process counts from here to the process's end. Rejects with PolicyError "refused". Where nothing can be
 * written, a VM without rules runs all the same.
 */
export async function admitVm(options: AdmissionOptions): Promise<readonly AdmissionFinding[]> {
  const {
    name,
    wanted,
    cards = [],
    rules = {},
    directory = runningDirectory(),
    owner = ownOwner(),
    migration,
  } = options;
  const hasRules = Object.values(rules).some((rule) => rule !== undefined);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return await locked(directory, async () => {
      const findings = await examineAdmission(options);
      if (findings.some(({ isMet }) => !isMet)) throw refused(name, findings);
      for (const other of await runningVms(directory, { owner, migration })) requireOwnCards(name, cards, other);
      const path = join(directory, owner);
      await acquireLock(path, { takesOwn: true, signal: AbortSignal.timeout(BUSY_MS) });
      await writeFile(`${path}.json`, JSON.stringify({ name, ...wanted, cards, migration }), { mode: 0o600 });
      return findings;
    });
  } catch (error) {
    if (error instanceof PolicyError) throw error;
    if (!hasRules) return [];
    const { code, message } = error as NodeJS.ErrnoException;
    throw new PolicyError(
      "refused",
      `VM ${name} was not started: what runs already cannot be told (${directory}: ${code ?? message}). Make room or rights there.`,
      { cause: error },
    );
  }
}

export interface RunningPlace {
  readonly directory?: string;
  readonly owner?: string;
}

/** The VM that was admitted does not run here after all. Idempotent; does not reject. */
export async function withdrawVm({
  directory = runningDirectory(),
  owner = ownOwner(),
}: RunningPlace = {}): Promise<void> {
  await rm(join(directory, `${owner}.json`), { force: true }).catch(() => {});
}

/** The VM that was admitted, if one was, is about to leave by that migration. Does not reject: it counts twice then. */
export async function markMigration(
  migration: string,
  { directory = runningDirectory(), owner = ownOwner() }: RunningPlace = {},
): Promise<void> {
  const path = join(directory, `${owner}.json`);
  try {
    await locked(directory, async () => {
      for (const entry of await readRunning(path))
        await writeFile(path, JSON.stringify({ ...entry, migration }), { mode: 0o600 });
    });
  } catch {}
}

async function locked<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = await acquireLock(join(directory, ".lock"), { signal: AbortSignal.timeout(BUSY_MS), pollMs: POLL_MS });
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

function runningDirectory(): string {
  return join(dataDirectory(), "running");
}

function ownOwner(): string {
  return `${hostname().replace(/[^A-Za-z0-9.-]/g, "_")}-${process.pid}`;
}

interface RunningVm extends VmPromise {
  readonly name: string;
  readonly cards: readonly SwitchCard[];
  /** By which it came, or is about to leave. */
  readonly migration?: string | undefined;
}

/** All but the one that asks, each once. */
async function runningVms(
  directory: string,
  { owner, migration }: Pick<AdmissionOptions, "migration"> & { readonly owner: string },
): Promise<readonly RunningVm[]> {
  const entries = await readdir(directory).catch(() => []);
  const found: RunningVm[] = [];
  const migrations = new Set([migration]);
  for (const entry of entries) {
    const key = entry.slice(0, -".json".length);
    if (!entry.endsWith(".json") || key === owner) continue;
    const path = join(directory, entry);
    if ((await lockHolder(join(directory, key))) === undefined) {
      await rm(path, { force: true }).catch(() => {});
      await rm(join(directory, key), { force: true }).catch(() => {});
      continue;
    }
    for (const running of await readRunning(path)) {
      if (running.migration !== undefined && migrations.has(running.migration)) continue;
      migrations.add(running.migration);
      found.push(running);
    }
  }
  return found;
}

/** What is no promise is none: the VM's own process writes it. */
async function readRunning(path: string): Promise<readonly RunningVm[]> {
  try {
    const entry = JSON.parse(await readFile(path, "utf8")) as Partial<RunningVm>;
    const { name, memoryBytes, cpus, cards = [], migration } = entry;
    const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
    const isWhole = isNumber(memoryBytes) && isNumber(cpus) && Array.isArray(cards);
    return isWhole ? [{ name: String(name), memoryBytes, cpus, cards: cards.filter(isSwitchCard), migration }] : [];
  } catch {
    return [];
  }
}

function requireOwnCards(name: string, cards: readonly SwitchCard[], other: RunningVm): void {
  const card = sharedCard(cards, other.cards);
  if (card === undefined) return;
  throw new PolicyError(
    "refused",
    `VM ${name} was not started: VM ${other.name} runs with the same network address, ${card.mac}, at the switch ${card.switch}, and each would get the other's frames. A clone or a copy that goes on from a state has the original's: stop the other one first, or start this one without its state (twinmetal kill ${name}, then start), which gives it addresses of its own. Elsewhere: --net switch=${card.switch},mac=ADDRESS.`,
  );
}

function refused(name: string, findings: readonly AdmissionFinding[]): PolicyError {
  const why = findings.filter(({ isMet }) => !isMet).map(admissionText);
  return new PolicyError(
    "refused",
    `VM ${name} was not started, since the policy does not take it: ${why.join("; ")}. Stop another (twinmetal ls), or give it less.`,
  );
}

const MIB = 2 ** 20;

/** "memoryRatio: 1024 MiB run, 512 MiB more, 1200 MiB at most". */
export function admissionText({ rule, running, wanted, most }: AdmissionFinding): string {
  const [unit, scale] = rule === "memoryRatio" ? ["MiB", MIB] : [rule === "cpuRatio" ? "vCPUs" : "VMs", 1];
  const figure = (value: number): string => `${Number((value / (scale as number)).toFixed(1))} ${unit}`;
  return `${rule}: ${figure(running)} run, ${figure(wanted)} more, and ${figure(most)} at most`;
}
